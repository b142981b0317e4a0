"""The lexer and the LALR(1) automaton that read a text by the tables that Lark made of the grammar.

What Lark's own parser would do with the same tables, and nothing else: `?rule` gives way to an only child, the children
of a `_rule` and of repetitions become those of the rule around it, and every other rule calls the builder's method of
its name (or alias) with the children in order. A test holds it against Lark's parser.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

from nnspec.syntax.grammar import load
from nnspec.syntax.token import Token

__all__ = ["Machine", "Mark", "Unexpected", "lex"]


class Unexpected(Exception):
    """An unexpected token."""


def lex(text: str) -> Iterator[Token]:
    """Yield the tokens of a text. They cover every character except whitespace and comments."""
    pattern, ignored = _pattern()
    line, line_start = 1, 0
    for match in pattern.finditer(text):
        kind = match.lastgroup
        assert kind is not None, "every terminal is a group"
        if kind in ignored:
            continue
        start = match.start()
        yield Token(kind, match[0], start, line, start - line_start + 1)
        if kind == "_NEWLINE":  # no other token has a line end in it
            line, line_start = line + 1, match.end()


@functools.cache
def _pattern() -> tuple[re.Pattern[str], frozenset[str]]:
    tables = load()
    alternatives = "|".join(f"(?P<{name}>{expression})" for name, expression in tables["terminals"])
    return re.compile(alternatives), frozenset(tables["ignored"])


Children = list[Any]
Rule = tuple[str, int, Callable[[Children], Any] | None]
"""Name, length, and what makes its value; None for one that gives way to its only child."""


class Mark:
    """A place to go back to: the stacks of a machine.

    The children of a repetition are added to in place, so their number is kept beside them.
    """

    __slots__ = ("_lengths", "_states", "_values")

    def __init__(self, machine: Machine) -> None:
        self._states, self._values = machine.states[:], machine.values[:]
        self._lengths = [(value, len(value)) for value in machine.values if type(value) is list]

    def restore(self, machine: Machine) -> None:
        """Restore the stacks."""
        machine.states[:], machine.values[:] = self._states, self._values
        for children, length in self._lengths:
            del children[length:]


class Machine:
    """Reads one text, token by token. `builder` has a method for each rule of the grammar."""

    def __init__(self, builder: Any) -> None:
        tables = load()
        self._actions: list[dict[str, int]] = tables["states"]
        self._rules = _rules(builder)
        self._end: int = tables["end"]
        self.states: list[int] = [tables["start"]]
        self.values: list[Any] = []
        self._accepted: dict[tuple[int, ...], set[str]] = {}

    def feed(self, token: Token) -> None:
        """Take the next token. Raises Unexpected and leaves the stacks unchanged if it is not expected."""
        kind, states, values, actions, rules = token.type, self.states, self.values, self._actions, self._rules
        while True:
            action = actions[states[-1]].get(kind)
            if action is None:
                raise Unexpected
            if action >= 0:
                states.append(action)
                values.append(token)
                return
            name, size, make = rules[~action]
            if make is None:  # most reductions: a rule that gives way to its only child
                states[-1] = actions[states[-2]][name]
                continue
            if size:
                children = values[-size:]
                del states[-size:], values[-size:]
            else:
                children = []
            values.append(make(children))
            states.append(actions[states[-1]][name])

    def finish(self) -> Any:
        """Take the end of the text, and return the builder's result. Raises Unexpected if the text is incomplete."""
        end = Token("$END", "", 0)
        while self.states[-1] != self._end:
            action = self._actions[self.states[-1]].get(end.type)
            if action is None:
                raise Unexpected
            name, size, make = self._rules[~action]
            children = self.values[-size:] if size else []
            if size:
                del self.states[-size:], self.values[-size:]
            self.values.append(make(children) if make is not None else children[0])
            self.states.append(self._actions[self.states[-1]][name])
        return self.values[-1]

    def accepts(self) -> set[str]:
        """Return the token types that are expected next."""
        place = tuple(self.states)
        if place not in self._accepted:
            kinds = self._actions[self.states[-1]]
            self._accepted[place] = {kind for kind in kinds if not kind.islower() and self._takes(kind)}
        return self._accepted[place]

    def _takes(self, kind: str) -> bool:
        """Whether a token would be accepted, after the reductions that it causes."""
        states = self.states[:]
        while True:
            action = self._actions[states[-1]].get(kind)
            if action is None:
                return False
            if action >= 0 or states[-1] == self._end:
                return True
            name, size, _ = self._rules[~action]
            if size:
                del states[-size:]
            states.append(self._actions[states[-1]][name])
            if kind == "$END" and states[-1] == self._end:
                return True


@functools.cache
def _rules(builder: Any) -> list[Rule]:
    return [
        (name, size, None if only and size == 1 and not own else _maker(name, method, only, own, builder))
        for name, size, method, only, own in load()["rules"]
    ]


def _maker(name: str, method: str, only: bool, inlined: list[int], builder: Any) -> Callable[[Children], Any]:
    """Return the function that makes a rule's value from its children."""
    if name.startswith("_"):  # its children become those of the rule around it
        return functools.partial(_flat, inlined) if inlined else _itself
    make: Callable[[Children], Any] = getattr(builder, method)
    if inlined:
        whole, positions = make, inlined

        def make(children: Children) -> Any:
            return whole(_flat(positions, children))

    if only:
        several = make

        def make(children: Children) -> Any:
            return children[0] if len(children) == 1 else several(children)

    return make


def _itself(children: Children) -> Children:
    return children


def _flat(inlined: list[int], children: Children) -> Children:
    """Inline the children of `_rules`; the list of a repetition, which comes first, is extended in place."""
    result: Children = children[0] if 0 in inlined else [children[0]]
    for i, child in enumerate(children[1:], 1):
        if i in inlined:
            result += child
        else:
            result.append(child)
    return result
