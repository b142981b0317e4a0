"""Every code is explained, every example is true, and `nnspec explain` shows both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pages import DOCS, errors_page

from nnspec.cli import cli
from nnspec.cli.explain import found_in
from nnspec.data.source import DataSource, Facts
from nnspec.diagnostics import CODES, Diagnostic
from nnspec.diagnostics.explanations import GROUPS, Explanation, code_of, completed, explanation, groups
from nnspec.diagnostics.render import render
from nnspec.engine.part import PARTS
from nnspec.project.checking import refused

EXAMPLES = [code for code in CODES if explanation(code).bad is not None]
SENTENCES = range(2, 10)


def explain(*arguments: str, color: bool = False) -> Result:
    return CliRunner().invoke(cli, ["explain", *arguments], standalone_mode=False, color=color)


def codes(found: tuple[Diagnostic, ...]) -> list[str]:
    return [diagnostic.code for diagnostic in found]


# The registry


def test_every_code_has_an_explanation_and_no_other_has() -> None:
    tables: dict[str, dict[str, Explanation]] = {}
    for _, module in GROUPS.values():
        imported = __import__(f"nnspec.diagnostics.explanations.{module}", fromlist=["EXPLANATIONS"])
        tables[module] = imported.EXPLANATIONS
    explained = [code for table in tables.values() for code in table]
    assert sorted(explained) == sorted(CODES)
    assert len(explained) == len(set(explained))
    assert [code for _, found in groups() for code in found] == sorted(CODES)


@pytest.mark.parametrize("code", ["NN000", "NN1", "", "401"])
def test_unknown_codes_have_no_explanation(code: str) -> None:
    with pytest.raises(KeyError):
        explanation(code)


@pytest.mark.parametrize("code", CODES)
def test_explanations_are_a_few_sentences(code: str) -> None:
    about = explanation(code)
    text = " ".join(about.paragraphs())
    assert text.count(". ") + text.endswith(".") in SENTENCES, text
    assert (about.bad is None) == (about.good is None) == bool(about.no_example)
    assert about.can_be_ignored == (code.startswith("NN7") and code not in ("NN790", "NN791"))


@pytest.mark.parametrize("code", EXAMPLES)
def test_the_bad_example_gets_exactly_its_code(code: str) -> None:
    bad = explanation(code).bad
    assert bad is not None
    found = found_in(bad)
    assert codes(found) == [code]
    severity = "warning" if code.startswith("NN7") else "error"
    assert found[0].severity == severity


@pytest.mark.parametrize("code", EXAMPLES)
def test_the_good_example_has_no_findings(code: str) -> None:
    good = explanation(code).good
    assert good is not None
    assert found_in(good) == ()


@pytest.mark.parametrize("code", EXAMPLES)
def test_what_is_shown_of_an_example_is_short_and_all_that_a_message_points_at(code: str) -> None:
    for example in (explanation(code).bad, explanation(code).good):
        assert example is not None
        shown = "\n".join(example.files().values())
        assert len(shown.splitlines()) <= 12
        assert max(map(len, shown.splitlines())) <= 80
        for diagnostic in () if example.shown else found_in(example):
            for span in (diagnostic.span, *(note.span for note in diagnostic.notes)):
                assert span.source.line(span.line) in shown.splitlines()


def test_a_fragment_is_completed_by_what_it_lacks() -> None:
    assert completed("model { Linear(3) }\n").count("model {") == 1
    assert completed("loss = MSE").count("loss =") == 1
    assert codes(found_in(explanation("NN205").bad)) == ["NN205"]  # type: ignore[arg-type]


# The codes that no text gets by itself


@pytest.fixture
def small() -> Iterator[None]:
    """A data source of another shape than the others."""

    class Small(DataSource):
        spec_name = "Small"

        def facts(self) -> Facts:
            return Facts(shape=(8, 8), classes=10, train=100, test=10)

    yield
    del PARTS["data source"]["Small"]


def test_codes_without_an_example_say_why_and_exist_all_the_same(small: None) -> None:
    from nnspec.api import check_text
    from nnspec.diagnostics import Source

    without = sorted(set(CODES) - set(EXAMPLES))
    data = ["NN720", "NN725", "NN726", "NN727", "NN735", "NN736", "NN737", "NN738"]
    assert without == ["NN501", "NN503", *data, "NN801", "NN901", "NN902", "NN903"]
    assert all(explanation(code).no_example.endswith(".") for code in without)
    assert codes(check_text(Source("x.nn", completed("data = Digits or Small\n"))).diagnostics) == ["NN501"]
    assert codes(refused("x.nn", "why").diagnostics) == ["NN901"]
    many = codes(check_text(Source("x.nn", "$\n" * 1_001)).diagnostics)
    assert (len(many), many[-1]) == (1_001, "NN903")


def test_a_fault_of_ours_has_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    from nnspec.diagnostics import Source
    from nnspec.project.checking import Checker

    def fail(*_: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr("nnspec.api.check_text", fail)
    outcome = Checker().text(Source("x.nn", "seed = 1\n"))
    assert codes(outcome.diagnostics) == ["NN902"]


# The command


def test_a_code_is_explained_with_what_check_says_of_the_bad_example() -> None:
    about = explanation("NN401")
    assert about.bad is not None
    assert about.good is not None
    shown = explain("NN401")
    (found,) = found_in(about.bad)
    assert shown.exit_code == 0
    assert shown.output.startswith("NN401: shape mismatch\n\n")
    assert " ".join(about.paragraphs()[0].split()[:8]) in shown.output
    assert render(found, fixes=True) in shown.output
    for example in (about.bad, about.good):
        assert "".join(f"    {line}\n" for line in example.text.splitlines()) in shown.output
    assert "\x1b" not in shown.output


@pytest.mark.parametrize("code", CODES)
def test_every_code_can_be_explained(code: str) -> None:
    shown = explain(code)
    assert shown.return_value == 0
    assert shown.output.startswith(f"{code}: {CODES[code]}\n")
    assert max(map(len, shown.output.splitlines())) <= 120


@pytest.mark.parametrize("word", ["NN702", "nn702", "702", "[NN702]", "error[NN702]", "warning[nn702]"])
def test_a_code_may_be_written_as_one_likes(word: str) -> None:
    assert code_of(word) == "NN702"
    assert explain(word).output == explain("NN702").output


def test_examples_of_several_files_are_shown_under_their_names() -> None:
    lines = explain("NN210").output.splitlines()
    assert "    # example.nn" in lines
    assert "    # other.nn" in lines


def test_without_a_code_all_are_listed_by_group() -> None:
    shown = explain()
    lines = shown.output.splitlines()
    assert shown.return_value == 0
    assert [line.split()[0] for line in lines if line.startswith("  NN")] == sorted(CODES)
    for code, title in CODES.items():
        assert f"  {code}  {title}" in lines
    assert [line for line in lines if line in [name for name, _ in GROUPS.values()]] == [n for n, _ in groups()]


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("NN441", "did you mean NN401?"),
        ("nn40", "did you mean"),
        ("xyz", "run `nnspec explain` for a list"),
        ("", "run `nnspec explain` for a list"),
    ],
)
def test_an_unknown_code_is_a_mistake_of_usage(word: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    from nnspec.cli import _code

    assert _code(["explain", word]) == 2
    message = capsys.readouterr().err
    if hint == "did you mean":
        assert hint in message or "for a list" in message
    else:
        assert f"unknown code {word}; {hint}" in message


def test_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnspec.cli.explain.colored", lambda stream: True)
    shown = explain("NN401", color=True).output
    assert "\x1b[1mNN401: shape mismatch\x1b[0m" in shown
    assert "\x1b[1;31merror[NN401]\x1b[0m" in shown
    assert "\x1b[1mSyntax\x1b[0m" in explain(color=True).output


def test_a_narrow_terminal_gets_short_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    paragraph = explain("NN702").output.split("\n\n")[1]
    assert 40 < max(map(len, paragraph.splitlines())) <= 50


# The page


def test_the_page_of_all_codes_is_what_is_generated() -> None:
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    assert page == errors_page(), "run `make docs`"


def test_links_of_the_page_lead_to_its_headings() -> None:
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    for code, title in CODES.items():
        assert f"\n### {code}: {title}\n" in page
        assert f"- [{code}](#{code.lower()}-" in page


def test_no_files_remain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert explain("NN209").return_value == 0
    assert list(tmp_path.iterdir()) == []


# Parts


def test_a_part_is_explained_with_its_arguments() -> None:
    output = explain("Dropout").output
    assert output.startswith("Dropout(p=0.5)\nKind: layer\n")
    assert "y = x · m / (1 − p)" in output


def test_every_part_is_explained() -> None:
    for name in {name for parts in PARTS.values() for name in parts}:
        assert explain(name).output.count("Kind: ") == sum(name in parts for parts in PARTS.values())


@pytest.mark.parametrize("word", ["layer", "layers", "Layers", "losses", "stopping-rule", "data_sources", "searches"])
def test_a_kind_is_a_list_of_its_parts(word: str) -> None:
    kind = word.lower().replace("-", " ").replace("_", " ")
    kind = kind.removesuffix("es") if kind in ("losses", "searches") else kind.removesuffix("s")
    output = explain(word).output
    for name, part in PARTS[kind].items():
        assert f"  {name}({part.signature()})"[:20] in output or f"  {name}\n" in output


@pytest.mark.parametrize(("word", "meant"), [("Dense", "Linear"), ("Adma", "Adam")])
def test_an_unknown_part_leads_to_the_nearest(word: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    from nnspec.cli import _code

    assert _code(["explain", word]) == 2
    assert f"unknown part {word}; did you mean {meant}?" in capsys.readouterr().err
