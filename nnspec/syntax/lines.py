"""From pieces to lines: decides what fits on one line, where to break, and how far to indent."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from nnspec.syntax.pieces import BRACKETS, Pieces

__all__ = ["WIDTH", "lines"]

WIDTH = 100
"""Maximum line length in characters, without a trailing comment."""

_STEP = 4

# How tightly operators bind. A value in brackets that is too long for a line is broken before the loosest ones.
_BINDS = {
    "OR": 0,
    "AND": 1,
    "COMPARE": 2,
    "PLUS": 3,
    "MINUS": 3,
    "STAR": 4,
    "SLASH": 4,
    "FLOORDIV": 4,
    "PERCENT": 4,
    "POWER": 5,
}


def lines(pieces: Pieces) -> list[str]:
    """Write pieces as lines, without their ends."""
    printer = _Printer(pieces)
    printer.items(0, len(pieces.kind), 0)
    return printer.finish()


class _Printer:
    """Writes line by line. Ranges of pieces are half-open.

    Decisions depend on the pieces only, and the output has the same `fresh`, `blank`, `first` and `open`, or values
    that lead to the same decisions. So formatting is idempotent.
    """

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        self.done: list[str] = []
        self.parts: list[str] = []  # of the current line, after its indentation
        self.margin = 0
        self.column = 0
        self.remarked = True  # whether the line ends with a comment, so that nothing can follow; or there is none

    # Lines

    def finish(self) -> list[str]:
        """Return all lines."""
        if self.parts:
            self.done.append(" " * self.margin + "".join(self.parts))
            self.parts = []
        return self.done

    def _line(self, margin: int, blank: bool = False) -> None:
        """Begin a line, with an empty one before it or not."""
        self.finish()
        if blank:
            self.done.append("")
        self.margin = self.column = margin
        self.remarked = False

    def _put(self, text: str) -> None:
        self.parts.append(text)
        self.column += len(text)

    def _flat(self, start: int, end: int) -> None:
        """Put pieces on the line as they are."""
        if self.parts:
            self.parts += self.pieces.flat[start:end]
            self.column += self.pieces.ends[end] - self.pieces.ends[start]
        else:
            self.parts.append(self.pieces.text[start])
            self.parts += self.pieces.flat[start + 1 : end]
            self.column += self.pieces.width(start, end)

    def _remark(self, i: int, margin: int, blank: bool) -> bool:
        """Append a comment to the line if it is a trailing comment in the text, or else put it on a separate line."""
        alone = self.remarked or self.pieces.fresh[i]
        if alone:
            self._line(margin, blank and self.pieces.blank[i])
        self.parts.append(self.pieces.text[i] if alone else f"  {self.pieces.text[i]}")
        self.remarked = True
        return alone

    # Items

    def items(self, start: int, end: int, margin: int) -> None:
        """Write the items of a file or of a section."""
        pieces, begun, i = self.pieces, False, start
        while i < end:
            if pieces.kind[i] == "COMMENT":
                begun = self._remark(i, margin, begun) or begun
                i += 1
                continue
            brace, stop = self._extent(i, end)
            self._line(margin, begun and pieces.blank[i])
            self._item(i, brace, stop)
            begun, i = True, stop

    def _extent(self, start: int, end: int) -> tuple[int, int]:
        """Return the position of an item's brace, or its end if it has none, and its end."""
        kind, first, i = self.pieces.kind, self.pieces.first, start
        while i < end and (i == start or not first[i]) and kind[i] != "COMMENT":
            if kind[i] == "LBRACE":
                stop = self.pieces.partner[i] + 1
                while stop < end and not first[stop] and kind[stop] != "COMMENT":  # the factors after it
                    stop += 1
                return i, stop
            i = self.pieces.partner[i] + 1 if kind[i] in BRACKETS else i + 1
        return i, i

    def _item(self, start: int, brace: int, end: int) -> None:
        margin = self.margin
        if self.pieces.joins(start, end) and margin + self.pieces.width(start, end) <= WIDTH:
            self._flat(start, end)
        elif brace == end:
            self._flow(start, end, margin, 0)
        else:
            close = self.pieces.partner[brace]
            if brace + 1 == close:
                self._flow(start, brace, margin, 3)
                self._put(" {}")
            else:
                self._flow(start, brace, margin, 2)
                self._put(" {")
                self.items(brace + 1, close, margin + _STEP)
                self._line(margin)
                self._put("}")
            self._flow(close + 1, end, margin, 0)

    # Values

    def _flow(self, start: int, end: int, margin: int, tail: int) -> None:
        """Write pieces one after the other, and break the brackets that cannot stay on the line.

        `margin` is that of lines behind a comment; `tail` is how many characters will follow.
        """
        pieces, i = self.pieces, start
        while i < end:
            if pieces.kind[i] == "COMMENT":
                self._remark(i, margin, False)
                i += 1
                continue
            if self.remarked:
                self._line(margin)
            stop = self._next_break(i, end)
            if stop > i:
                self._flat(i, stop)
                i = stop
                continue
            close = pieces.partner[i]
            reach = self._next_break(close + 1, end)
            reach += reach < end and pieces.kind[reach] in BRACKETS
            length = pieces.ends[reach] - pieces.ends[i] + (tail if reach == end else 0)
            if pieces.joins(i, close) and self.column + length <= WIDTH:
                self._flat(i, close + 1)
            else:
                self._break(i, close)
            i = close + 1

    def _next_break(self, start: int, end: int) -> int:
        """Return the position of the first comment or non-empty bracket, or the end."""
        kind, partner = self.pieces.kind, self.pieces.partner
        for i in range(start, end):
            if kind[i] == "COMMENT" or (kind[i] in BRACKETS and partner[i] > i + 1):
                return i
        return end

    def _break(self, start: int, close: int) -> None:
        """Write a bracket and its contents, one part per line."""
        pieces, begun, i = self.pieces, False, start + 1
        series = start in pieces.series
        self._flat(start, start + 1)
        margin = self.margin
        while i < close:
            if pieces.kind[i] == "COMMENT":
                begun = self._remark(i, margin + _STEP, begun) or begun
            elif pieces.kind[i] != "COMMA":
                stop = self._part_end(i, close)
                self._line(margin + _STEP, begun and pieces.blank[i])
                self._part(i, stop, series)
                begun, i = True, stop
                continue
            i += 1
        self._line(margin)
        self._put(pieces.text[close])

    def _part_end(self, start: int, close: int) -> int:
        """Return the end of one part of a list or call, without trailing comments."""
        kind, end, i = self.pieces.kind, start, start
        while i < close and kind[i] != "COMMA":
            i = self.pieces.partner[i] + 1 if kind[i] in BRACKETS else i + 1
            end = i if kind[i - 1] != "COMMENT" else end
        return end

    def _part(self, start: int, end: int, series: bool) -> None:
        deeper = self.margin + _STEP if series else self.margin
        stretches = [(start, end, self.margin)]
        if not self._has_remarks(start, end):
            stretches = list(self._operands(start, end, self.margin, deeper))
        for first, stop, margin in stretches:
            if first > start:
                self._line(margin)
            self._flow(first, stop, deeper, 1 if series and stop == end else 0)
        if series:
            self._put(",")

    def _has_remarks(self, start: int, end: int) -> bool:
        """Whether there are comments between the pieces, except in brackets."""
        return any(True for i in self._level(start, end) if self.pieces.kind[i] == "COMMENT")

    def _operands(self, start: int, end: int, margin: int, deeper: int) -> Iterator[tuple[int, int, int]]:
        """Yield start, end and indentation of the lines of a value: one line if it fits, else one per operand."""
        fits = margin + self.pieces.width(start, end) < WIDTH  # with a trailing comma
        kind = self.pieces.kind
        operators = [] if fits else [i for i in self._level(start, end) if i > start and kind[i] in _BINDS]
        if not operators:
            yield start, end, margin
            return
        loosest = min(_BINDS[kind[i]] for i in operators)
        for first, stop in pairwise([start, *(i for i in operators if _BINDS[kind[i]] == loosest), end]):
            at = margin if first == start else deeper
            yield from self._operands(first, stop, at, at + _STEP)

    def _level(self, start: int, end: int) -> Iterator[int]:
        """Yield the indices of pieces that are not inside brackets."""
        i = start
        while i < end:
            yield i
            i = self.pieces.partner[i] + 1 if self.pieces.kind[i] in BRACKETS else i + 1
