"""Texts that nobody would write: whatever they are, nnspec keeps its promises (`promises.py`).

`tests/fuzz/fuzz_check.py` looks for more such texts, guided by coverage and for as long as one likes; what it finds
goes into CASES. `tests/fuzz/sizes.py` measures what large ones cost.
"""

from __future__ import annotations

import os
import random
import re
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import promises
import pytest
from hostile_texts import BASE, BYTES, TEXTS
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from promises import checks, formats, reads
from spec_writer import SpecWriter, edited, soup
from vocabulary import KEYWORDS, NAMES, SIGNS, STRANGE, VALUES, vocabulary

from nnspec.api import check_text
from nnspec.checker import sweep
from nnspec.checker.findings import Findings
from nnspec.diagnostics import MOST_FINDINGS, Source, SourceError, read_source, render
from nnspec.diagnostics.suggest import nearest
from nnspec.syntax import format as formatter
from nnspec.syntax import lines, parse
from nnspec.syntax.layout import MAX_LINE

STEADY = settings(
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=False,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
"""The same examples on every machine and every day."""

Strategies = dict[str, st.SearchStrategy[Any]]

# What was found, each once. A name says what was wrong.
CASES: dict[str, str] = {
    "a span behind the end, of what is missing there": "seed =",
    "a span behind the end, of a brace that is missing there": "a { block b",
    "a span in an empty text": "",
    "a byte order mark before a mistake, taken off though nothing was formatted": "\ufeff\x01",
    "a byte order mark alone": "\ufeff",
    "a value of infinity in a list": BASE + "sweep { optimizer.lr = linspace(-1e308, 1e308, 3) }",
    "integers that grow until they cannot be shown": (
        BASE + "let a0 = 2 ** 2000\n" + "".join(f"let a{i + 1} = a{i} + a{i}\n" for i in range(3000)) + "dtype = a3000"
    ),
    "lists that take for ever to compare": (
        BASE
        + "let a0 = [1]\nlet b0 = [1]\n"
        + "".join(f"let a{i + 1} = [a{i}, a{i}]\nlet b{i + 1} = [b{i}, b{i}]\n" for i in range(60))
        + "let c = max(a60, b60)"
    ),
    "a list of lists that are added up": (
        BASE + f"let a = range(10000)\nlet b = [{'a, ' * 5000}]\nseed = sum(b, [])\n"
    ),
    "quotes that are looked for to the end of the line, each": "“" * 5_000,
    "braces that look back for a head, each": "}\n" * 5_000,
    "a line in which each finding is shown": "$ " * 5_000,
    "settings that are given again, each held against all others": 'a = "b"\n' * 1_200,
    "blocks that are listed for each wrong layer": (
        BASE + "".join(f"block b{i}(a) {{ Linera(a) }}\n" for i in range(500))
    ),
    "comments that look for the next line, each": BASE + "# nn: ignore[NN701]\n" * 5_000,
    "a comment with very many codes": BASE + f"# nn: ignore[{'NN701,' * 4_000}]\n",
    "a comment with very many codes that there are not": BASE + f"# nn: ignore[{'NN7O1,' * 4_000}]\n",
    "a path of very many folders": 'import "' + "a/" * 10_000 + 'b.nn"',
    "lanes that are all named for each that is unknown": (
        BASE
        + "race { "
        + "".join(f"{'l' * 50}{i}: SGD; " for i in range(400))
        + "}\n"
        + "expect { "
        + "".join(f"q{i}.loss < 1; " for i in range(500))
        + "}\n"
    ),
}

FLAGS: dict[str, list[str]] = {}


@pytest.mark.parametrize("name", CASES)
def test_bugs_found_earlier_stay_fixed(name: str, tmp_path: Path) -> None:
    checks(CASES[name], FLAGS.get(name, ()), tmp_path)
    formats(CASES[name])


# Any text


CHARACTERS = st.text(alphabet=st.characters(codec="utf-8"), max_size=120)
LINE_ENDS = st.lists(CHARACTERS | st.sampled_from(["\n", "\r", "\r\n", "\x0b", "\x85", "\u2028"]), max_size=8).map(
    "".join
)
CONTROLS = st.text(alphabet=st.characters(max_codepoint=0xFF), max_size=120)


ANY: Strategies = {"text": CHARACTERS | LINE_ENDS | CONTROLS, "flag": st.none() | CHARACTERS}


@settings(STEADY, max_examples=75)
@given(**ANY)
def test_any_text(text: str, flag: str | None) -> None:
    checks(text, [] if flag is None else [flag])
    formats(text)


# The language's own words in any order


def words(chance: float = 0.8) -> st.SearchStrategy[str]:
    word = st.one_of([st.sampled_from(kind) for kind in (KEYWORDS, SIGNS, SIGNS, NAMES, NAMES, VALUES, STRANGE)])
    ends = st.sampled_from(["\n", ";", " { ", " }", " = ", "(", ")"])
    return st.lists(word | word | ends, max_size=40).flatmap(
        lambda found: st.sampled_from([" ", " ", " ", ""]).map(lambda blank: blank.join(found))
    )


INSIDE = st.sampled_from(
    [
        "{}",
        "model {{ {} }}",
        "train {{ {} }}",
        "race {{ {} }}",
        "expect {{ {} }}",
        "sweep {{ {} }}",
        "seed = {}",
        "let x = {}",
    ]
)


WORDS: Strategies = {"text": words(), "around": INSIDE, "base": st.booleans()}


@settings(STEADY, max_examples=120)
@given(**WORDS)
def test_any_words_of_the_language(text: str, around: str, base: bool) -> None:
    whole = BASE * base + around.format(text)
    checks(whole)
    formats(whole)


# Specs that are right, and what a few edits make of them


def written(chance: random.Random, folder: Path) -> str:
    writer = SpecWriter(chance)
    text = writer.text()
    for name, content in writer.files.items():
        (folder / name).write_text(content, encoding="utf-8", newline="")
    return text


RIGHT: Strategies = {"chance": st.randoms(use_true_random=False)}
EDITED: Strategies = {**RIGHT, "count": st.integers(1, 3)}


@settings(STEADY, max_examples=30)
@given(**RIGHT)
def test_a_spec_that_is_right_has_a_program(chance: random.Random) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = written(chance, folder)
        found = [render(d) for d in checks(text, folder=folder).diagnostics if d.severity == "error"]
        assert found == []
        formatted = formats(text)
        assert checks(formatted, folder=folder).compiled is not None


@settings(STEADY, max_examples=80)
@given(**EDITED)
def test_a_spec_with_a_few_edits(chance: random.Random, count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = edited(written(chance, folder), chance, count)
        for path in folder.iterdir():
            if chance.random() < 0.3:
                path.write_text(edited(path.read_text("utf-8"), chance, 1), encoding="utf-8", errors="replace")
        checks(text, folder=folder)
        formats(text)


# Any bytes


def _encoded(text: str) -> st.SearchStrategy[bytes]:
    codecs = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252"]
    return st.sampled_from(codecs).map(lambda codec: text.encode(codec, "replace"))


TEXT_BYTES = (CHARACTERS | LINE_ENDS).flatmap(_encoded)
CUT_BYTES = st.tuples(TEXT_BYTES, st.integers(0, 40)).map(lambda cut: cut[0][: len(cut[0]) - cut[1]])


BYTES_OF_ANY_KIND: Strategies = {
    "data": st.binary(max_size=200) | TEXT_BYTES | CUT_BYTES | st.sampled_from(sorted(BYTES.values(), key=len)[:18])
}


@settings(STEADY, max_examples=100)
@given(**BYTES_OF_ANY_KIND)
def test_any_bytes(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = reads(data, Path(folder) / "x.nn")
    if source is not None:
        checks(source.text)
        formats(source.text)


@pytest.mark.parametrize("name", BYTES)
def test_bytes_that_are_hard(name: str, tmp_path: Path) -> None:
    source = reads(BYTES[name], tmp_path / "x.nn")
    fine = {"nothing", "a mark", "only a mark", "two marks", "many marks", "CRLF", "CR", "all line ends"}
    assert (source is not None) == (name in fine)


@pytest.mark.parametrize("place", ["/proc/self/mem", "/dev/zero", "/proc/self/fd", "/dev/full"])
def test_places_that_are_no_files(place: str) -> None:
    if not os.path.exists(place):
        pytest.skip(f"there is no {place} here")
    with pytest.raises(SourceError):
        read_source(place)


# Large and hostile texts, small


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_texts(name: str, tmp_path: Path) -> None:
    text = TEXTS[name](400)
    checks(text, folder=tmp_path)
    formats(text)


def test_a_line_has_a_longest_length() -> None:
    assert [d.code for d in parse(Source("x.nn", "#" * MAX_LINE)).diagnostics] == []
    (found,) = parse(Source("x.nn", f"# a\n#{'b' * MAX_LINE}\n")).diagnostics
    assert (found.code, found.message) == ("NN107", f"this line has more than {MAX_LINE:,} characters")
    assert found.span.source.position(found.span.start) == (2, MAX_LINE + 1)
    assert "… column 200001" in render(found)


@pytest.mark.parametrize(("errors", "advice"), [(1_000, 0), (1_001, 0), (999, 3), (4, 1_200), (0, 1_500)])
def test_of_very_many_findings_the_first_are_shown_and_the_others_counted(errors: int, advice: int) -> None:
    text = "model {\n" + "Linear(10)\n" * (advice + 1) + "}\n" + "$\n" * errors
    text = f"seed = 1\ndata = Digits\nloss = CrossEntropy\noptimizer = SGD\n{text}"
    found = check_text(Source("x.nn", text)).diagnostics
    left = errors + advice - MOST_FINDINGS
    if left <= 0:
        assert len(found) == errors + advice
        return
    more = max(0, errors - MOST_FINDINGS)
    assert len(found) == MOST_FINDINGS + 1
    assert sum(d.severity == "error" for d in found[:-1]) == min(errors, MOST_FINDINGS)
    assert found[-1].message == f"{left:,} more findings are not shown" + (f", {more} of them errors" if more else "")
    assert (found[-1].code, found[-1].severity) == ("NN903", "error" if more else "warning")


def test_the_nearest_name_is_the_one_that_the_plain_definition_finds() -> None:
    chance = random.Random(3)
    for _ in range(150):
        word, *others = ("".join(chance.choices("abcd", k=chance.randrange(1, 7))) for _ in range(6))
        ranked = sorted((_distance(word, other), other) for other in set(others))
        allowed = max(1, (len(word) + 1) // 3)
        clear = ranked[0][0] <= allowed and (len(ranked) == 1 or ranked[1][0] > ranked[0][0])
        expected = ranked[0][1] if clear and (len(word) > 1 or ranked[0][0] == 0) else None
        assert nearest(word, others) == expected


def _distance(a: str, b: str) -> int:
    """Count the slips between two words: by the definition, with no short cut."""
    if not a or not b:
        return len(a) + len(b)
    steps = [_distance(a[1:], b) + 1, _distance(a, b[1:]) + 1, _distance(a[1:], b[1:]) + (a[0] != b[0])]
    if len(a) > 1 and len(b) > 1 and a[:2] == b[1::-1]:
        steps.append(_distance(a[2:], b[2:]) + 1)
    return min(steps)


# The vocabulary, and what is made of it


def test_the_vocabulary_has_all_words_and_signs() -> None:
    assert set(KEYWORDS) == {"let", "block", "import", "true", "false", "none", "or", "and", "not"}
    assert {"{", "}", "(", ")", "[", "]", "**", "//", "==", ";", ":"} <= set(SIGNS)
    assert {"Linear", "lr", "EarlyStopping", "sweep", "val_loss", "logspace", "shortcut", "float64"} <= set(NAMES)
    assert all(vocabulary())


def test_random_specs_have_all_that_the_language_has() -> None:
    writers = [SpecWriter(random.Random(seed)) for seed in range(200)]
    texts = [writer.text() for writer in writers]
    joined = "\n".join([*texts, *(text for writer in writers for text in writer.files.values())])
    for word in (
        *("import", "let", "block", "residual", "shortcut", "add", "concat", "race", "sweep", "zip", "expect", "train"),
        "\r\n",
        "# about",
    ):
        assert word in joined
    assert len({edited(text, random.Random(1), 3) for text in texts} & set(texts)) < 20
    assert soup(random.Random(1), 30) != soup(random.Random(2), 30)


# What is planted is found


def lose_a_comment(pieces: Any) -> list[str]:
    return [re.sub("  # about what stands before", "", line) for line in lines.lines(pieces)]


def fail_at_a_zip(*arguments: Any, **more: Any) -> Any:
    found = sweep.points(*arguments, **more)
    if arguments[0] is not None and arguments[0].zipped:
        raise KeyError("planted")
    return found


def fail(*_: Any) -> Any:
    raise ZeroDivisionError("planted")


def forget(findings: Any, diagnostic: Any) -> None:
    if not diagnostic.code.startswith("NN2"):
        ADD(findings, diagnostic)


ADD = Findings.add

# Name -> module, what in it, the fault, and the property that finds it.
PLANTS: dict[str, tuple[str, str, Any, Callable[..., None], Strategies]] = {
    "a crash at a rare word": ("checker.passes", "points", fail_at_a_zip, test_a_spec_with_a_few_edits, EDITED),
    "a crash in advice": ("checker.lint", "chains", fail, test_a_spec_that_is_right_has_a_program, RIGHT),
    "an error that is lost": ("checker.findings", "Findings.add", forget, test_a_spec_with_a_few_edits, EDITED),
    "a bare exception": (
        "diagnostics.source",
        "_decode",
        lambda data, _: data.decode(),
        test_any_bytes,
        BYTES_OF_ANY_KIND,
    ),
    "a lost comment": ("syntax.format", "lines", lose_a_comment, test_a_spec_that_is_right_has_a_program, RIGHT),
    "characters that act": ("diagnostics.render", "_printable", str, test_any_text, ANY),
    "spans too long": ("syntax.token", "len", lambda text: len(text) + 1, test_any_words_of_the_language, WORDS),
}


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_fault_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, place, fault, test, strategies = PLANTS[name]
    owner: Any = import_module(f"nnspec.{module}")
    *inside, attribute = place.split(".")
    for word in inside:
        owner = getattr(owner, word)
    monkeypatch.setattr(owner, attribute, fault, raising=False)
    monkeypatch.setattr(formatter, "_hold", lambda *_: None)  # fmt itself would notice, too

    @settings(STEADY, max_examples=1500, phases=[Phase.generate], report_multiple_bugs=False)
    @given(**strategies)
    def search(**drawn: Any) -> None:
        test.hypothesis.inner_test(**drawn)  # type: ignore[attr-defined]

    with pytest.raises((AssertionError, KeyError, ZeroDivisionError, UnicodeDecodeError)):
        search()


def test_the_promises_see_what_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promises, "format_source", lambda source: formatter.Formatted(source.text + "a = 1\n"))
    with pytest.raises(AssertionError, match="keeps the tree"):
        formats("b = 1\n")
    monkeypatch.setattr(promises, "format_source", lambda source: formatter.Formatted(f"# c\n{source.text}"))
    with pytest.raises(AssertionError, match="keeps the comments"):
        formats("b = 1\n")
    monkeypatch.setattr(promises, "format_source", lambda source: formatter.Formatted(f"{source.text}\n"))
    with pytest.raises(AssertionError, match="twice"):
        formats("b = 1\n")
