"""Text to tree, with every syntax error of the text in one go.

The LALR parser is fed token by token. Its state is saved wherever an item may begin; at an error the state goes back
there, the item is left out, and reading goes on behind it. An item that opens a brace keeps its inside: its head is
read as if it were only its first word. So one mistake costs one message, and the checker sees all the rest.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nnspec.diagnostics import Diagnostic, Source, Span
from nnspec.syntax import tree
from nnspec.syntax.build import Builder
from nnspec.syntax.errors import explain
from nnspec.syntax.grammar import parser
from nnspec.syntax.layout import lay_out, span_of
from nnspec.syntax.literals import MAX_DIGITS, bad_escape, hidden_character

if TYPE_CHECKING:
    from lark import Token

__all__ = ["Parsed", "parse", "parse_expression"]

_BUILDER = Builder()
_ITEM_BEGINS_AFTER = frozenset({"_NEWLINE", "SEMICOLON", "LBRACE"})
_BEGINS_ITEM = frozenset({"NAME", "LET", "BLOCK", "IMPORT", "INT", "FLOAT", "STRING", "LPAR", "LSQB", "NOT"})


@dataclass(frozen=True)
class Parsed:
    """A tree and what was wrong with the text that it was made of."""

    file: tree.File
    diagnostics: tuple[Diagnostic, ...]
    lost: frozenset[str] = field(default_factory=frozenset)
    """Words of items that were left out: whoever misses them has been told already."""
    gaps: tuple[int, ...] = ()
    """Offsets of the items that were left out."""
    unreadable: frozenset[int] = field(default_factory=frozenset)
    """Offsets of literals whose value is not known: 1 or the text as it is stands in their place."""


def parse(source: Source) -> Parsed:
    """Read a whole file."""
    with _no_collection():
        reader = _Reader(source, "file")
        result = reader.read()
    return Parsed(
        result,
        tuple(reader.diagnostics),
        frozenset(reader.lost),
        tuple(reader.gaps),
        frozenset(reader.unreadable),
    )


def parse_expression(source: Source) -> tuple[tree.Expression | None, tuple[Diagnostic, ...]]:
    """Read a text that is one expression, such as the value of a flag."""
    reader = _Reader(source, "expression")
    result = reader.read()
    return result, tuple(reader.diagnostics)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Garbage collection off: a tree has no cycles, and looking for them takes a quarter of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Reader:
    def __init__(self, source: Source, start: str) -> None:
        self.source, self.start = source, start
        self.diagnostics: list[Diagnostic] = []
        self.lost: set[str] = set()
        self.gaps: list[int] = []
        self.unreadable: set[int] = set()

    def read(self) -> Any:
        lark = parser(_BUILDER)
        _BUILDER.source = self.source
        layout = lay_out(self.source, lark)
        self.diagnostics += layout.diagnostics
        self.told_lines, self.unreadable = layout.told_lines, layout.unreadable
        tokens = layout.tokens
        if layout.too_deep:
            self.lost.update(str(t) for t in tokens if t.type == "NAME")
            return None if self.start == "expression" else tree.File((), Span(self.source, 0, 0))
        self.diagnostics += _bad_literals(self.source, tokens, self.unreadable)
        self.interactive = lark.parse_interactive(start=self.start)
        return self._feed(tokens)

    def _feed(self, tokens: list[Token]) -> Any:
        from lark import Token, UnexpectedToken

        state = self.interactive.parser_state
        end = len(self.source.text)
        tokens = [*tokens, Token("$END", "", start_pos=end, end_pos=end)]
        mark = (0, list(state.state_stack), list(state.value_stack))
        i = 0
        while True:
            token = tokens[i]
            try:
                result = state.feed_token(token, token.type == "$END")
            except UnexpectedToken:
                self._report(tokens, i, mark[0])
                if self.start != "file":
                    return None
                state.state_stack[:], state.value_stack[:] = mark[1], mark[2]
                first = mark[0]
                if first and tokens[first - 1].type == "RBRACE":
                    # Something behind a section, on its line: read on as if it stood on the next.
                    state.feed_token(token.update(type="_NEWLINE", value="\n"))
                    mark = (i, list(state.state_stack), list(state.value_stack))
                    if token.type in _BEGINS_ITEM:
                        continue
                i = self._skip(tokens, first)
                continue
            if token.type == "$END":
                return result
            i += 1
            if token.type in _ITEM_BEGINS_AFTER or token.type == "RBRACE":
                mark = (i, list(state.state_stack), list(state.value_stack))

    def _report(self, tokens: list[Token], i: int, first: int) -> None:
        if any(token.line in self.told_lines for token in tokens[first : i + 1]):
            return  # an open bracket on this line: said when the brackets were matched
        accepts: set[str] = set(self.interactive.accepts())  # type: ignore[no-untyped-call]
        self.diagnostics.append(explain(self.source, tokens, i, first, accepts))

    def _skip(self, tokens: list[Token], first: int) -> int:
        """Return the index from which to read on after the bad item that starts at `first`."""
        for j in range(first, len(tokens)):
            kind = tokens[j].type
            if kind == "LBRACE":
                head = next((t for t in tokens[first:j] if t.type == "NAME"), None)
                # The head of a section, reduced to its first word; empty where it has none.
                word = head if head is not None else tokens[j].update(type="NAME", value="")
                self.interactive.parser_state.feed_token(word)
                return j
            if kind in ("_NEWLINE", "SEMICOLON", "RBRACE", "$END"):
                self.lost.update(str(t) for t in tokens[first:j] if t.type == "NAME")
                self.gaps.append(tokens[first].start_pos or 0)
                return j
        raise AssertionError("the list of tokens ends with $END")


def _bad_literals(source: Source, tokens: list[Token], unreadable: set[int]) -> Iterator[Diagnostic]:
    for i, token in enumerate(tokens):
        if token.type in ("INT", "FLOAT") and len(token) > MAX_DIGITS:
            yield Diagnostic("NN104", f"this number has more than {MAX_DIGITS} digits", span_of(source, token))
            unreadable.add(token.start_pos or 0)
            tokens[i] = token.update(value="1")
        elif token.type == "STRING" and (hidden := hidden_character(token)) is not None:
            unreadable.add(token.start_pos or 0)
            start = (token.start_pos or 0) + hidden
            yield Diagnostic(
                "NN103",
                f"a string cannot hold the control character U+{ord(token[hidden]):04X}",
                Span(source, start, start + 1),
            )
        elif token.type == "STRING" and (found := bad_escape(token)) is not None:
            offset, text = found
            unreadable.add(token.start_pos or 0)
            start = (token.start_pos or 0) + offset
            yield Diagnostic(
                "NN103",
                f"`{text}` is no escape",
                Span(source, start, start + len(text)),
                help="a backslash is written `\\\\`; the escapes are \\n \\t \\\\ \\\" \\'",
            )
