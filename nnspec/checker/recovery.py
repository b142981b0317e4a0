"""Track what is unknown because of reported errors, to suppress follow-up errors."""

from __future__ import annotations

from bisect import bisect_left

from nnspec.diagnostics import Source, Span
from nnspec.syntax import Parsed

__all__ = ["Recovery"]


class Recovery:
    """Items that could not be parsed, and what misspelt words probably mean."""

    def __init__(self) -> None:
        self.lost: set[str] = set()
        """Words of items that could not be parsed. They are not reported as unknown or missing."""
        self.meant: set[str] = set()
        """Words that were suggested for unknown ones. They are not reported as missing."""
        self.broken_blocks: set[str] = set()
        """Blocks whose parameters are wrong. Their uses are not checked."""
        self.incomplete = False
        """Whether an imported file is missing, so that any name may be declared there."""
        self.deep_lets = False
        """Whether it has been reported that `let`s are nested too deeply."""
        self._gaps: dict[Source, tuple[int, ...]] = {}
        self._unreadable: dict[Source, frozenset[int]] = {}

    def take(self, source: Source, parsed: Parsed) -> None:
        """Record what the parser could not parse."""
        self.lost |= parsed.lost
        self.incomplete = self.incomplete or parsed.unread
        self._gaps[source], self._unreadable[source] = parsed.gaps, parsed.unreadable

    def readable(self, literal: Span) -> bool:
        """Whether a literal has a value; if not, this has been reported."""
        return literal.start not in self._unreadable.get(literal.source, ())

    def has_gaps(self, span: Span) -> bool:
        """Whether an item within a span could not be parsed."""
        gaps = self._gaps.get(span.source, ())
        at = bisect_left(gaps, span.start)
        return at < len(gaps) and gaps[at] < span.end

    def excuses(self, word: str, meant: str | None = None) -> bool:
        """Whether a word may be declared in an item that could not be parsed, and so must not be reported as unknown.

        If a file is missing, any word may be, except one that looks like a misspelling of another (`meant`).
        """
        return word in self.lost or (self.incomplete and meant is None)

    def doubts(self, *words: str) -> bool:
        """Whether one of these words may be in an item that could not be parsed, or may be the meaning of a misspelt
        word."""
        return any(word in self.lost or word in self.meant for word in words)
