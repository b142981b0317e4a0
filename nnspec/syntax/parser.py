"""The parser: text to tree, reporting all syntax errors at once.

The LALR parser is fed token by token. Its state is saved wherever an item may start. On an error, the state is
restored, the item is skipped, and parsing continues after it. If the item opens a brace, its contents are kept, and its
head is parsed as if it were only its first word. So each mistake gets one message, and the checker sees everything
else.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from nnspec.diagnostics import Diagnostic, Source, Span
from nnspec.syntax import tree
from nnspec.syntax.build import Builder
from nnspec.syntax.errors import explain
from nnspec.syntax.layout import lay_out, span_of
from nnspec.syntax.literals import MAX_DIGITS, bad_escape, hidden_character
from nnspec.syntax.machine import Machine, Mark, Unexpected
from nnspec.syntax.token import Token

__all__ = ["Parsed", "no_collection", "parse"]

_BUILDER = Builder()
_ITEM_BEGINS_AFTER = frozenset({"_NEWLINE", "SEMICOLON", "LBRACE", "RBRACE"})


@dataclass(frozen=True)
class Parsed:
    """A tree and the syntax errors of its text."""

    file: tree.File
    diagnostics: tuple[Diagnostic, ...]
    lost: frozenset[str] = field(default_factory=frozenset)
    """Words of items that were skipped, about which no further errors should be reported."""
    gaps: tuple[int, ...] = ()
    """Offsets of the items that were skipped."""
    unreadable: frozenset[int] = field(default_factory=frozenset)
    """Offsets of literals with unknown values, which are replaced by 1 or the literal text."""
    tokens: int = 0
    """The number of tokens."""
    unread: bool = False
    """Whether it exceeds a limit and was not parsed."""


def parse(source: Source) -> Parsed:
    """Read a whole file."""
    with no_collection():
        reader = _Reader(source)
        result = reader.read()
    return Parsed(
        result,
        tuple(reader.diagnostics),
        frozenset(reader.lost),
        tuple(reader.gaps),
        frozenset(reader.unreadable),
        reader.count,
        reader.unread,
    )


@contextmanager
def no_collection() -> Iterator[None]:
    """Disable garbage collection: a tree or program has no cycles, and looking for them takes a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.diagnostics: list[Diagnostic] = []
        self.lost: set[str] = set()
        self.gaps: list[int] = []
        self.unreadable: set[int] = set()
        self.count = 0
        self.unread = False

    def read(self) -> tree.File:
        _BUILDER.source = self.source
        layout = lay_out(self.source)
        self.diagnostics += layout.diagnostics
        self.told_lines, self.unreadable = layout.told_lines, layout.unreadable
        tokens = layout.tokens
        self.count = len(tokens)
        self.unread = layout.too_large
        if layout.too_large:
            self.lost.update(str(t) for t in tokens if t.type == "NAME")
            return tree.File((), Span(self.source, 0, 0))
        self.diagnostics += _bad_literals(self.source, tokens, self.unreadable)
        self.machine = Machine(_BUILDER)
        return self._feed([*tokens, Token("$END", "", len(self.source.text))])

    def _feed(self, tokens: list[Token]) -> tree.File:
        machine, feed = self.machine, self.machine.feed
        first, mark = 0, Mark(machine)
        i, end = 0, len(tokens) - 1
        while True:
            token = tokens[i]
            try:
                if i == end:
                    result: tree.File = machine.finish()
                    return result
                feed(token)
            except Unexpected:
                self._report(tokens, i, first)
                mark.restore(machine)
                i = self._skip(tokens, first)
                continue
            i += 1
            if token.type in _ITEM_BEGINS_AFTER:
                first, mark = i, Mark(machine)

    def _report(self, tokens: list[Token], i: int, first: int) -> None:
        if any(token.line in self.told_lines for token in tokens[first : i + 1]):
            return  # an open bracket on this line: said when the brackets were matched
        self.diagnostics.append(explain(self.source, tokens, i, first, self.machine.accepts()))

    def _skip(self, tokens: list[Token], first: int) -> int:
        """Return the index from which to read on after the bad item that starts at `first`."""
        for j in range(first, len(tokens)):
            kind = tokens[j].type
            if kind == "LBRACE":
                # The head of a section, reduced to its first word, if any.
                names = [t for t in tokens[first:j] if t.type == "NAME"]
                if tokens[first].type == "BLOCK":
                    self.machine.feed(tokens[first])
                    self.gaps.append(tokens[first].start_pos)  # its parameters are not known
                self.machine.feed(names[0] if names else tokens[j].update(type="NAME", value=""))
                self.lost.update(str(name) for name in names[1:])
                return j
            if kind in ("_NEWLINE", "SEMICOLON", "RBRACE", "$END"):
                self.lost.update(str(t) for t in tokens[first:j] if t.type == "NAME")
                self.gaps.append(tokens[first].start_pos)
                return j
        raise AssertionError("the list of tokens ends with $END")


def _bad_literals(source: Source, tokens: list[Token], unreadable: set[int]) -> Iterator[Diagnostic]:
    for i, token in enumerate(tokens):
        if token.type in ("INT", "FLOAT") and len(token) > MAX_DIGITS:
            yield Diagnostic("NN104", f"this number has more than {MAX_DIGITS} digits", span_of(source, token))
            unreadable.add(token.start_pos)
            tokens[i] = token.update(value="1")
        elif token.type == "STRING" and (hidden := hidden_character(token)) is not None:
            unreadable.add(token.start_pos)
            start = token.start_pos + hidden
            yield Diagnostic(
                "NN103",
                f"strings cannot contain the control character U+{ord(token[hidden]):04X}",
                Span(source, start, start + 1),
            )
        elif token.type == "STRING" and (found := bad_escape(token)) is not None:
            offset, text = found
            unreadable.add(token.start_pos)
            start = token.start_pos + offset
            yield Diagnostic(
                "NN103",
                f"`{text}` is not a valid escape sequence",
                Span(source, start, start + len(text)),
                help="a backslash is written `\\\\`; the escapes are \\n \\t \\\\ \\\" \\'",
            )
