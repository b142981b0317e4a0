"""The tables of `grammars/nn.lark`: Lark makes them, and they ship as `tables.json`.

Making them, and even importing Lark, takes longer than everything else that `nnspec check` does on one file. So Lark
works when the grammar changes (`python -m nnspec.syntax` writes the file anew) and `machine.py` reads what it made. A
grammar that is not the one of the shipped tables gets its own on the spot.
"""

from __future__ import annotations

import functools
import json
import os
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lark import Lark, Token

__all__ = ["TABLES", "build", "grammar_text", "load", "tables"]

_HERE = os.path.dirname(__file__)
TABLES = os.path.join(_HERE, "tables.json")
# In the package if it is installed, at the top of the source tree otherwise.
_GRAMMARS = (os.path.join(_HERE, "..", "grammars", "nn.lark"), os.path.join(_HERE, "..", "..", "grammars", "nn.lark"))


class _KeepStrays:
    """Tells Lark that these terminals are wanted although no rule uses them: the parser reports them by name."""

    always_accept: ClassVar[tuple[str, ...]] = ("OPEN_STRING", "BAD_NUMBER", "STRAY")

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        return stream


def grammar_text() -> str:
    """Read the grammar."""
    place = next(place for place in _GRAMMARS if os.path.isfile(place))
    with open(place, encoding="utf-8") as file:
        return file.read()


@functools.cache
def load() -> dict[str, Any]:
    """Return the tables of the grammar: the shipped ones, or new ones if the grammar has changed."""
    text = grammar_text()
    if os.path.isfile(TABLES):
        with open(TABLES, encoding="utf-8") as file:
            shipped: dict[str, Any] = json.load(file)
        if shipped["grammar"] == text:
            return shipped
    return tables()


def build(builder: Any = None, strict: bool = False) -> Lark:
    """Have Lark build its own parser from the grammar's text. Raises Lark's GrammarError on a conflict."""
    from lark import Lark

    return Lark(
        grammar_text(),
        parser="lalr",
        lexer="basic",
        start=["file"],
        keep_all_tokens=True,
        maybe_placeholders=False,
        transformer=builder,
        postlex=_KeepStrays(),
        strict=strict,
    )


def tables() -> dict[str, Any]:
    """Return Lark's tables as plain data: the pattern of the lexer, the automaton and the rules."""
    lark = build()
    automaton = lark.parser.parser._parse_table
    rules = list(lark.rules)
    number = {rule: i for i, rule in enumerate(rules)}
    states = []
    for state in range(len(automaton.states)):
        row = automaton.states[state]
        states.append({name: number_of(action, argument, number) for name, (action, argument) in sorted(row.items())})
    return {
        "grammar": grammar_text(),
        "terminals": _terminals(lark),
        "ignored": sorted(lark.lexer_conf.ignore),
        "start": automaton.start_states["file"],
        "end": automaton.end_states["file"],
        "rules": [_rule(rule) for rule in rules],
        "states": states,
    }


def number_of(action: Any, argument: Any, rules: dict[Any, int]) -> int:
    """Write an action of the automaton as one number: a state to go to, or, negative, a rule to reduce by."""
    return argument if action.name == "Shift" else ~rules[argument]


def _terminals(lark: Lark) -> list[list[str]]:
    """Return name and regular expression of each terminal, in the order in which Lark's lexer tries them."""
    lexer = lark._build_lexer()
    scanner = lexer._build_scanner()
    assert not lexer.callback, "no terminal is another one under a condition"
    return [[terminal.name, terminal.pattern.to_regexp()] for terminal in scanner.terminals]


def _rule(rule: Any) -> list[Any]:
    """Return name, length, the builder's method, whether an only child stands for it, and which children it absorbs."""
    inlined = [i for i, symbol in enumerate(rule.expansion) if not symbol.is_term and symbol.name.startswith("_")]
    method = str(rule.alias or rule.options.template_source or rule.origin.name)
    return [rule.origin.name, len(rule.expansion), method, bool(rule.options.expand1 and not rule.alias), inlined]
