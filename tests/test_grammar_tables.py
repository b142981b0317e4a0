"""The parse tables that ship are those of the grammar, and reading by them is what Lark's own parser does."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from findings import BASE
from good_specs import LANES

import nnspec.syntax.grammar as grammar
from nnspec.diagnostics import Source
from nnspec.syntax import parse
from nnspec.syntax.build import Builder
from nnspec.syntax.layout import lay_out
from nnspec.syntax.machine import Machine, Unexpected, lex
from nnspec.syntax.token import Token

ROOT = Path(__file__).parents[1]
TEXTS = {
    "race": (ROOT / "specs/race.nn").read_text(encoding="utf-8"),
    "base": BASE,
    "lanes": LANES,
    "items": """\
import "a.nn"; let x = -(1 + 2) * 3 // 4 % 5 ** -2 / .5
block B(a, b=[1, (2,), (), []], c) { } block C { a { } b: b "t" { x: y }
}
block D() { not a or b and not (c < d) ; e(1, f=2,) == g.h }

x.y = ["s", 't', true, false, none,];;
""".replace("(), ", ""),
    "nothing": "",
    "blank": "\n\n# a comment\n ; ;\n",
    "one line": "a { b { c } d = 1 ; e } f",
}


def test_the_tables_are_those_of_the_grammar() -> None:
    shipped = json.loads(Path(grammar.TABLES).read_text(encoding="utf-8"))
    assert shipped["grammar"] == grammar.grammar_text(), "run python -m nnspec.syntax"
    made = grammar.tables()  # whose states may be numbered otherwise
    assert (made["terminals"], made["ignored"]) == (shipped["terminals"], shipped["ignored"])
    assert len(made["states"]) == len(shipped["states"])


def plain(node: object) -> Any:
    """Return a tree as tuples: kinds, places and values."""
    if isinstance(node, tuple):
        return tuple(plain(child) for child in node)
    if dataclasses.is_dataclass(node):
        if hasattr(node, "start"):
            return (node.start, node.end)
        return (type(node).__name__, *(plain(getattr(node, f.name)) for f in dataclasses.fields(node)))
    return node


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_tables_read_as_lark_does(text: str) -> None:
    source = Source("x.nn", text)
    builder = Builder()
    builder.source = source
    interactive = grammar.build(builder).parse_interactive()
    for token in _as_larks(lay_out(source).tokens):
        interactive.feed_token(token)
    wanted = interactive.feed_eof()
    found = parse(source)
    assert found.diagnostics == ()
    assert plain(found.file) == plain(wanted)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_lexer_sees_what_larks_does(text: str) -> None:
    wanted = [(t.type, str(t), t.start_pos, t.end_pos, t.line, t.column) for t in grammar.build().lex(text)]
    assert [(t.type, str(t), t.start_pos, t.end_pos, t.line, t.column) for t in lex(text)] == wanted


@pytest.mark.parametrize("text", ["x = ", "a {", "x = f(", "let ", "x = 1 +", "a: ", "block B(", "x = [1", "a b", ""])
def test_what_may_come_next_is_what_lark_would_take(text: str) -> None:
    lark, machine = grammar.build(Builder()).parse_interactive(), Machine(Builder())
    Builder.source = Source("x.nn", text)  # type: ignore[misc]
    for ours, larks in zip(lex(text), _as_larks(lex(text)), strict=True):
        machine.feed(ours)
        lark.feed_token(larks)
    strays = {"OPEN_STRING", "BAD_NUMBER", "STRAY"}
    assert machine.accepts() - strays == lark.accepts() - strays


def test_an_unexpected_token_is_reported() -> None:
    machine = Machine(Builder())
    with pytest.raises(Unexpected):
        machine.feed(Token("RBRACE", "}", 0))


def test_another_grammar_gets_its_own_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shipped = grammar.load()
    monkeypatch.setattr(grammar, "TABLES", str(tmp_path / "none.json"))
    grammar.load.cache_clear()
    try:
        made = grammar.load()
    finally:
        grammar.load.cache_clear()
    assert made["terminals"] == shipped["terminals"]
    assert [rule[:2] for rule in made["rules"]] == [rule[:2] for rule in shipped["rules"]]


def _as_larks(tokens: Any) -> Any:
    from lark import Token as Larks

    for token in tokens:
        yield Larks(token.type, str(token), start_pos=token.start_pos, end_pos=token.end_pos)
