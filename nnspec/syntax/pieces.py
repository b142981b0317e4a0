"""A text for the formatter: tokens, the whitespace before them, and comments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from nnspec.diagnostics import Source
from nnspec.syntax.comments import comments
from nnspec.syntax.machine import lex
from nnspec.syntax.token import Token

__all__ = ["BRACKETS", "Pieces", "pieces"]

BRACKETS = frozenset({"LPAR", "LSQB"})
_OPENS = BRACKETS | {"LBRACE"}
_CLOSES = frozenset({"RPAR", "RSQB", "RBRACE"})

# Where no blank stands. Two kinds are our own: KEYWORD, the equal sign of an argument or a default, and SIGN, a plus or
# minus with nothing on its left.
_TIGHT_BEFORE = frozenset({"COMMA", "COLON", "DOT", "KEYWORD", "RPAR", "RSQB"})
_TIGHT_AFTER = frozenset({"DOT", "KEYWORD", "SIGN", "LPAR", "LSQB"})
_TIGHT_PAIRS = frozenset({("NAME", "LPAR"), ("LBRACE", "RBRACE")})
_INDEXED = frozenset({"NAME", "STRING", "RPAR", "RSQB"})
"""What a `[` after it is an index of."""

_ENDS_VALUE = frozenset({"NAME", "INT", "FLOAT", "STRING", "TRUE", "FALSE", "NONE", "RPAR", "RSQB"})
_BLANKS = " \t\f"


@dataclass(slots=True)
class Pieces:
    """The pieces of a text in order, as columns: entry i of each list is about piece i.

    A piece is a token or a comment. Line breaks and semicolons are not pieces; their effect is in `fresh`, `blank`,
    `first` and `open`.
    """

    kind: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    """The formatted text; empty for a redundant comma."""
    lead: list[str] = field(default_factory=list)
    """The whitespace before it if everything is on one line."""
    fresh: list[bool] = field(default_factory=list)
    """Whether it is the first on its line."""
    blank: list[bool] = field(default_factory=list)
    """Whether there is an empty line before it."""
    first: list[bool] = field(default_factory=list)
    """Whether it starts an item."""
    partner: list[int] = field(default_factory=list)
    """For a bracket or brace: the index of its partner."""
    series: set[int] = field(default_factory=set)
    """Opening brackets that may have a trailing comma."""
    open: set[int] = field(default_factory=set)
    """Opening braces of sections that take more than one line."""
    flat: list[str] = field(default_factory=list)
    """Lead and text."""
    ends: list[int] = field(default_factory=list)
    """The number of characters before piece i if everything is on one line, without comments."""
    breaks: list[int] = field(default_factory=list)
    """The number of pieces before piece i that force a line break: comments, and braces that are `open`."""

    def width(self, start: int, end: int) -> int:
        """Return how many characters pieces `start` to `end` (not included) take on one line of their own."""
        return self.ends[end] - self.ends[start] - len(self.lead[start])

    def joins(self, start: int, end: int) -> bool:
        """Whether these pieces can be on one line, regardless of its length."""
        return self.breaks[start] == self.breaks[end]


def pieces(source: Source) -> Pieces:
    """Split a text into pieces. It must parse."""
    collector = _Collector()
    remarks = _remarks(source)
    start, remark = next(remarks)
    for token in lex(source.text):
        while start < token.start_pos:
            collector.add("COMMENT", remark, "", False)
            start, remark = next(remarks)
        collector.take(token)
    while remark:
        collector.add("COMMENT", remark, "", False)
        _, remark = next(remarks)
    return collector.result()


def _remarks(source: Source) -> Iterator[tuple[int, str]]:
    """Yield the offset and the formatted text of each comment, and finally an offset after all of them."""
    for comment in comments(source):
        yield comment.span.start, _tidy(comment.span.text)
    yield len(source.text) + 1, ""


def _tidy(comment: str) -> str:
    """Add a space after the `#`, unless it is part of `##` or `#!`, and strip trailing whitespace."""
    comment = comment.rstrip(_BLANKS)
    second = comment[1:2]
    return comment if second in ("", "#", "!") or second.isspace() else f"# {comment[1:]}"


@dataclass(slots=True)
class _Opened:
    """A bracket or brace without its partner so far."""

    index: int
    call: bool
    index_of: bool
    """Whether it is the bracket of an index, which takes no trailing comma."""
    line: int
    commas: list[int] = field(default_factory=list)


class _Collector:
    """Adds tokens and comments to the pieces."""

    def __init__(self) -> None:
        self.pieces = Pieces()
        self.opened: list[_Opened] = []
        self.inside = 0  # number of open round and square brackets
        self.before = ""  # the kind of the last piece that is not a comment
        self.fresh, self.blank, self.first = True, False, True  # of the next piece
        self.empty = True  # whether the line is empty so far
        self.line = 1

    def take(self, token: Token) -> None:
        kind = token.type
        if kind == "_NEWLINE":
            self.line += 1
            self.blank = self.blank or self.empty
            self.fresh = self.empty = True
            self.first = self.first or not self.inside
        elif kind == "SEMICOLON":
            self.first, self.empty = True, False
        else:
            self._piece(self._kind(kind), str(token))

    def add(self, kind: str, text: str, lead: str, first: bool) -> None:
        made = self.pieces
        made.kind.append(kind)
        made.text.append(text)
        made.lead.append(lead)
        made.fresh.append(self.fresh)
        made.blank.append(self.blank)
        made.first.append(first)
        made.partner.append(-1)
        self.fresh = self.blank = self.empty = False

    def result(self) -> Pieces:
        made = self.pieces
        made.flat = [lead + text for lead, text in zip(made.lead, made.text, strict=True)]
        remarks = [kind == "COMMENT" for kind in made.kind]
        widths = (0 if remark else len(flat) for flat, remark in zip(made.flat, remarks, strict=True))
        made.ends = [0, *accumulate(widths)]
        made.breaks = [0, *accumulate(remark or i in made.open for i, remark in enumerate(remarks))]
        return made

    def _kind(self, kind: str) -> str:
        if kind == "EQUAL" and self.inside:
            return "KEYWORD"
        if kind in ("PLUS", "MINUS") and (self.first or self.before not in _ENDS_VALUE):
            return "SIGN"
        return kind

    def _piece(self, kind: str, text: str) -> None:
        first = self.first and kind not in ("RBRACE", "STAR")  # a factor belongs to the section before it
        indexes = kind == "LSQB" and self.before in _INDEXED and not first
        i = len(self.pieces.kind)
        self.add(kind, text, "" if indexes else self._lead(kind, first), first)
        if kind in _OPENS:
            self.opened.append(_Opened(i, self.before == "NAME" and not first, indexes, self.line))
            self.inside += kind in BRACKETS
        elif kind in _CLOSES:
            self._close(i, kind)
        elif kind == "COMMA":
            self.opened[-1].commas.append(i)
        self.first = kind in ("LBRACE", "RBRACE")
        self.before = kind

    def _lead(self, kind: str, first: bool) -> str:
        if first:
            return " " if self.before == "LBRACE" else "; "
        if kind in _TIGHT_BEFORE or self.before in _TIGHT_AFTER or (self.before, kind) in _TIGHT_PAIRS:
            return ""
        return " "

    def _close(self, i: int, kind: str) -> None:
        made, opened = self.pieces, self.opened.pop()
        made.partner[i], made.partner[opened.index] = opened.index, i
        if kind == "RBRACE":
            if opened.line < self.line and self.before != "LBRACE":
                made.open.add(opened.index)
            return
        self.inside -= 1
        if (opened.call or opened.commas or kind == "RSQB") and not opened.index_of:
            made.series.add(opened.index)
        # In `(1,)` the comma makes the tuple; any other before a closing bracket is dropped here.
        if self.before == "COMMA" and (opened.call or kind == "RSQB" or len(opened.commas) > 1):
            made.text[opened.commas[-1]] = ""
