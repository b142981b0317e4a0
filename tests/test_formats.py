"""Machine-readable findings: checked against the schemas, and against what each service accepts."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest
from tiny_spec import ROOT

from nnspec.api import check_text
from nnspec.diagnostics import CODES, Diagnostic, Edit, Fix, Note, Source, Span
from nnspec.diagnostics.formats import FORMATS, Findings, load

SARIF = ROOT.parent / "shared/data/sarif/sarif-schema-2.1.0.json"


def findings(*diagnostics: Diagnostic, **options: Any) -> Findings:
    return Findings(diagnostics, **{"files": 1, "version": "1.2.3", **options})


def at(source: Source, text: str, code: str = "NN201", message: str = "wrong", **more: Any) -> Diagnostic:
    start = source.text.index(text)
    return Diagnostic(code, message, Span(source, start, start + len(text)), **more)


A = Source("specs/a b.nn", "seed = 1\n𝛼 = “x” # é\r\nlast", Path("specs"), bom=True)
B = Source("b.nn", "one\ntwo\n")
FLAG = Source("--set", "lr=1")
RICH = at(
    A,
    "“x”",
    message="100 % wrong,\nreally: yes",
    label="here",
    notes=(Note(Span(A, 0, 4), "first"), Note(Span(B, 4, 7), "there")),
    remarks=("shapes: 1 → 2",),
    help="write `x`",
    fix=Fix('replace `“` by `"`', (Edit(Span(A, 13, 14), '"'), Edit(Span(A, 15, 16), '"')), safe=True),
)
WARNING = at(B, "two", "NN701", "wide", severity="warning")
ABOUT_FLAG = at(FLAG, "lr", "NN201", "unknown", fix=Fix("x", (Edit(Span(FLAG, 0, 2), "y"),)))
UNREADABLE = Diagnostic("NN901", "file not found: c.nn", Span(Source("c.nn", ""), 0, 0))
EMPTY: list[Diagnostic] = []
ALL = [RICH, WARNING, ABOUT_FLAG, UNREADABLE]


def render(name: str, *diagnostics: Diagnostic, **options: Any) -> str:
    return load(name)().render(findings(*diagnostics, **options))


def validator(path: Any) -> Any:
    schema = json.loads(path.read_text(encoding="utf-8"))
    cls = jsonschema.validators.validator_for(schema)
    cls.check_schema(schema)
    return cls(schema)


def test_every_row_of_the_table_is_a_format_and_every_format_has_a_row() -> None:
    modules = {path.stem for path in (ROOT / "nnspec/diagnostics/formats").glob("*.py")} - {"__init__", "base"}
    assert {module for module, _ in FORMATS.values()} == modules
    for name in FORMATS:
        assert load(name)().render(findings(*ALL))
    with pytest.raises(KeyError):
        load("xml")


# full and concise


def test_the_last_line_counts() -> None:
    def last(*diagnostics: Diagnostic, **options: Any) -> str:
        return render("full", *diagnostics, **options).splitlines()[-1]

    assert last(RICH) == "1 error in specs/a b.nn; fixable with `--fix`"
    assert last(RICH, fixable=False) == "1 error in specs/a b.nn"
    assert last(RICH, WARNING) == "1 error and 1 warning in 2 files; 1 fixable with `--fix`"
    assert last(WARNING, files=1000) == "1 warning in 1 of 1,000 files"
    assert last(files=1000) == "1,000 files checked, no findings"
    assert last(files=1) == "1 file checked, no findings"
    assert last(files=1, clean="a.nn: no findings in 1 lane") == "a.nn: no findings in 1 lane"
    assert last(files=2, clean="a.nn: no findings in 1 lane") == "2 files checked, no findings"
    assert last(files=0) == "0 files checked, no findings"


def test_full_shows_fixes() -> None:
    text = render("full", RICH)
    assert '  = help: write `x`\n  = fix: replace `“` by `"` (--fix)' in text
    unsafe = at(B, "one", fix=Fix("do it", (Edit(Span(B, 0, 3), "1"),)))
    assert "= fix: do it (--fix --unsafe-fixes)" in render("full", unsafe)
    assert "= fix" not in render("full", ABOUT_FLAG)
    assert "= fix" not in render("full", RICH, fixable=False)
    coloured = load("full")().render(findings(RICH), color=True)
    assert "\x1b[1;31merror[NN201]\x1b[0m" in coloured
    assert "\x1b[1;32mfix:\x1b[0m" in coloured


def test_concise_is_a_line_each() -> None:
    strange = Diagnostic("NN901", "file not found: x\ny", Span(Source("x\ny\x1b[31m", ""), 0, 0))
    assert render("concise", WARNING, RICH, strange) == (
        "b.nn:2:1: warning[NN701] wide\n"
        "specs/a b.nn:2:5: error[NN201] 100 % wrong,\\nreally: yes; write `x`\n"
        "x\\ny\\x1b[31m:1:1: error[NN901] file not found: x\\ny\n"
    )
    assert render("concise") == ""


@pytest.mark.parametrize("name", ["full", "concise", "json", "github", "sarif"])
def test_every_format_has_the_suggestion(name: str) -> None:
    text = (
        "seed = 1\ndata = Digits\nmodel { Linear(8); Relu; Linear(10) }\nloss = CrossEntropy\noptimizer = SGD(lr=0.1)\n"
    )
    (found,) = check_text(Source("a.nn", text)).diagnostics
    assert "did you mean `ReLU`?" in render(name, found)


# json


@pytest.mark.parametrize("found", [EMPTY, ALL])
def test_json_is_what_its_schema_says(found: list[Diagnostic]) -> None:
    schema = validator(files("nnspec.diagnostics.formats") / "check.schema.json")
    schema.validate(json.loads(render("json", *found, files=len(found))))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.update(version=2),
        lambda d: d.update(more=1),
        lambda d: d["diagnostics"][0].pop("span"),
        lambda d: d["diagnostics"][0]["span"]["start"].update(line=0),
        lambda d: d["diagnostics"][0].update(severity="info"),
        lambda d: d["diagnostics"][0].update(code="X1"),
    ],
)
def test_the_schema_refuses_what_is_wrong(spoil: Any) -> None:
    document = json.loads(render("json", RICH))
    spoil(document)
    assert not validator(files("nnspec.diagnostics.formats") / "check.schema.json").is_valid(document)


def test_json_counts_lines_and_columns_in_code_points_and_bytes_in_the_file() -> None:
    document = json.loads(render("json", *ALL, files=3))
    assert (document["files"], document["errors"], document["warnings"]) == (3, 3, 1)
    by_path = {d["path"]: d for d in document["diagnostics"]}
    rich = by_path["specs/a b.nn"]
    file = b"\xef\xbb\xbf" + A.text.encode()
    assert rich["span"]["start"] == {"line": 2, "column": 5, "byte": file.index("“x”".encode())}
    assert rich["span"]["end"] == {"line": 2, "column": 8, "byte": file.index(b" # ")}
    assert [(note["path"], note["text"]) for note in rich["notes"]] == [("specs/a b.nn", "first"), ("b.nn", "there")]
    assert (rich["label"], rich["remarks"], rich["help"]) == ("here", ["shapes: 1 → 2"], "write `x`")
    for edit in sorted(rich["fix"]["edits"], key=lambda e: -e["span"]["start"]["byte"]):
        start, end = edit["span"]["start"]["byte"], edit["span"]["end"]["byte"]
        file = file[:start] + edit["text"].encode() + file[end:]
    assert file.decode("utf-8-sig") == 'seed = 1\n𝛼 = "x" # é\r\nlast'
    assert by_path[None]["set"] == "lr=1"
    assert by_path["b.nn"]["fix"] is None


def test_paths_in_json_are_relative_where_they_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inside, outside = Source(f"{tmp_path}/x/a.nn", "x"), Source("/elsewhere/a.nn", "x")
    document = json.loads(render("json", at(inside, "x"), at(outside, "x")))
    assert [d["path"] for d in document["diagnostics"]] == ["/elsewhere/a.nn", "x/a.nn"]


# github


def undo(text: str) -> str:
    return unquote(text)  # GitHub takes %0D, %0A, %25, %3A and %2C back


def test_github_gets_its_message_back() -> None:
    (line,) = render("github", RICH).splitlines()
    head, message = re.fullmatch(r"::(error .*?)::(.*)", line).groups()  # type: ignore[union-attr]
    properties = dict(part.split("=", 1) for part in head.removeprefix("error ").split(","))
    assert {key: undo(value) for key, value in properties.items()} == {
        "file": "specs/a b.nn",
        "line": "2",
        "endLine": "2",
        "col": "5",
        "endColumn": "8",
        "title": "NN201",
    }
    assert undo(message) == "100 % wrong,\nreally: yes\nhere\nshapes: 1 → 2\nhelp: write `x`"
    assert message.startswith("100 %25 wrong,%0Areally: yes%0A")


def test_github_is_not_led_astray_by_names() -> None:
    strange = Source("a,b:c%\r\n::error::x.nn", "x")
    assert render("github", at(strange, "x")).startswith(
        "::error file=a%2Cb%3Ac%25%0D%0A%3A%3Aerror%3A%3Ax.nn,line=1,endLine=1,col=1,endColumn=2,title=NN201::wrong\n"
    )


def test_github_marks_whole_lines_where_there_are_several_and_no_place_for_flags() -> None:
    assert "line=1,endLine=2,title=NN201::" in render("github", at(B, "one\ntwo"))
    assert render("github", ABOUT_FLAG) == "::error title=NN201::unknown\n"


def test_github_shows_ten_of_a_kind_errors_first() -> None:
    source = Source("x.nn", "x" * 40)
    spans = [Span(source, i, i + 1) for i in range(40)]
    found = [
        Diagnostic("NN201", f"{i}", span, severity="warning" if i % 3 else "error") for i, span in enumerate(spans)
    ]
    lines = render("github", *found).splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["::error"] * 10 + ["::warning"] * 10
    assert lines[-1] == "20 findings not shown: GitHub shows 10 annotations of a kind"
    assert lines[0].endswith("::0")
    assert len(render("github", *found[:10]).splitlines()) == 10
    assert render("github") == ""


# sarif


@pytest.fixture(scope="module")
def sarif_schema() -> Any:
    if not SARIF.is_file():
        pytest.skip("the SARIF schema is not in ../shared/data/sarif")
    return validator(SARIF)


@pytest.mark.parametrize("found", [EMPTY, ALL])
def test_sarif_is_what_the_official_schema_says(found: list[Diagnostic], sarif_schema: Any) -> None:
    sarif_schema.validate(json.loads(render("sarif", *found)))


def test_the_official_schema_refuses_what_is_wrong(sarif_schema: Any) -> None:
    document = json.loads(render("sarif", *ALL))
    document["runs"][0]["results"][0]["level"] = "fatal"
    assert not sarif_schema.is_valid(document)


def sarif(*diagnostics: Diagnostic, **options: Any) -> dict[str, Any]:
    (run,) = json.loads(render("sarif", *diagnostics, **options))["runs"]
    return dict(run)


def test_sarif_names_rules_places_and_fixes() -> None:
    run = sarif(*ALL)
    driver = run["tool"]["driver"]
    assert {rule["id"]: rule["shortDescription"]["text"] for rule in driver["rules"]} == CODES
    assert (driver["name"], driver["semanticVersion"], run["columnKind"]) == ("nnspec", "1.2.3", "unicodeCodePoints")
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    (rich,) = [r for r in run["results"] if "100 %" in r["message"]["text"]]
    base = {"uriBaseId": "%SRCROOT%"}
    assert rich["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "specs/a%20b.nn", **base},
                "region": {"startLine": 2, "startColumn": 5, "endLine": 2, "endColumn": 8},
            }
        }
    ]
    related = [
        (r["physicalLocation"]["artifactLocation"]["uri"], r["message"]["text"]) for r in rich["relatedLocations"]
    ]
    assert related == [("specs/a%20b.nn", "first"), ("b.nn", "there")]
    (change,) = rich["fixes"][0]["artifactChanges"]
    assert change["artifactLocation"]["uri"] == "specs/a%20b.nn"
    assert [r["insertedContent"]["text"] for r in change["replacements"]] == ['"', '"']
    assert run["invocations"] == [{"executionSuccessful": False}]
    assert sarif(RICH)["invocations"] == [{"executionSuccessful": True}]
    (unreadable,) = [r for r in run["results"] if r["ruleId"] == "NN901"]
    assert "region" not in unreadable["locations"][0]["physicalLocation"]
    (about_flag,) = [r for r in run["results"] if r["message"]["text"] == "unknown"]
    assert "locations" not in about_flag
    assert "fixes" not in about_flag


def test_sarif_paths_start_at_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    found = [at(Source(name, "x"), "x") for name in ("é %.nn", "../b.nn", "../../out.nn")]
    uris = [
        result["locations"][0]["physicalLocation"]["artifactLocation"]
        for result in sarif(*found, root=str(tmp_path))["results"]
    ]
    assert uris == [
        {"uri": f"file://{tmp_path.parent.as_posix()}/out.nn"},
        {"uri": "b.nn", "uriBaseId": "%SRCROOT%"},
        {"uri": "inner/%C3%A9%20%25.nn", "uriBaseId": "%SRCROOT%"},
    ]


def fingerprints(text: str, name: str = "x.nn", code: str = "NN201") -> list[str]:
    source = Source(name, text)
    starts = [match.start() for match in re.finditer("bad", text)]
    found = [Diagnostic(code, "m", Span(source, start, start + 3)) for start in starts]
    return [result["partialFingerprints"]["nnspec/v1"] for result in sarif(*found)["results"]]


def test_fingerprints_stay_when_lines_move_and_differ_otherwise() -> None:
    (one,) = fingerprints("a\n bad = 1\n")
    assert fingerprints("a\nb\n\n    bad = 1\nc") == [one]
    assert fingerprints("bad = 2") != [one]
    assert fingerprints("bad = 1", name="y.nn") != [one]
    assert fingerprints("bad = 1", code="NN202") != [one]
    twice = fingerprints("bad = 1\nbad = 1\n")
    assert twice[0] == one != twice[1]
    assert fingerprints("x\nbad = 1\ny\nbad = 1") == twice


@pytest.mark.parametrize("name", ["json", "sarif"])
def test_names_that_are_no_text_do_not_break_a_document(name: str) -> None:
    strange = Diagnostic("NN901", "file not found: \udcff.nn", Span(Source("\udcff.nn", ""), 0, 0))
    json.loads(render(name, strange).encode("utf-8", "replace"))
