"""The parse tables that ship are those of the grammar that ships."""

from __future__ import annotations

import json
import re
from pathlib import Path

import lark
import pytest

import nnspec.syntax.grammar as grammar
from nnspec.diagnostics import Source
from nnspec.syntax import parse, parser

SHIPPED = json.loads(Path(grammar.__file__).with_name("tables.json").read_text(encoding="utf-8"))
RACE = (Path(__file__).parents[1] / "specs" / "race.nn").read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_grammar() -> None:
    assert SHIPPED["grammar"] == grammar._digest(), "run python -m nnspec.syntax"


def test_the_tables_read_as_the_grammar_does(monkeypatch: pytest.MonkeyPatch) -> None:
    # The numbers of the states differ from build to build, so it is the trees that are compared.
    if SHIPPED["lark"] != lark.__version__:
        pytest.skip(f"the tables are for lark {SHIPPED['lark']}, not {lark.__version__}: they are not used")
    broken = RACE.replace("}", "", 1).replace("Linear(64, 32)", "Linear(64 32)")
    shipped = [parse(Source("race.nn", text)) for text in (RACE, broken)]
    monkeypatch.setattr(parser, "parser", grammar.build)
    for text, wanted in zip((RACE, broken), shipped, strict=True):
        found = parse(Source("race.nn", text))
        assert _plain(found.file) == _plain(wanted.file)
        assert [d.message for d in found.diagnostics] == [d.message for d in wanted.diagnostics]


def _plain(node: object) -> str:
    return re.sub(r"source=Source\(.*?folder=[^)]*\)\)", "", repr(node), flags=re.DOTALL)


def test_another_version_of_lark_builds_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = parse(Source("race.nn", RACE))
    monkeypatch.setattr(lark, "__version__", "0.0")
    grammar.parser.cache_clear()
    try:
        found = parse(Source("race.nn", RACE))
    finally:
        grammar.parser.cache_clear()
    assert not wanted.diagnostics
    assert not found.diagnostics
    assert [type(item) for item in found.file.items] == [type(item) for item in wanted.file.items]
