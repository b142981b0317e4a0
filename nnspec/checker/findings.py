"""Collect the diagnostics of the checker without duplicates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Unpack

from nnspec.checker.vocabulary import Suggestion, meant, respelt
from nnspec.diagnostics import Diagnostic, Note, Span

__all__ = ["UNKNOWN", "Findings", "Unknown"]


class Unknown:
    """Stands for a value that is unknown because of an error that has been reported."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()

MAX_COMPARED = 30_000
"""The maximum number of comparisons of unknown names with known ones, for suggestions."""

_NUMBER = re.compile(r"\d[\d,.×]*")
_LONG = re.compile(r"\S{80,}")
_LONGEST = 160  # in longer messages, the longest words are shortened


class Findings:
    """Diagnostics without duplicates: lanes and uses of a block share most of a spec, and so its errors."""

    def __init__(self, suggests: bool = True) -> None:
        self._compared = 0 if suggests else MAX_COMPARED + 1
        self._uses: list[tuple[Span, Note]] = []
        self._found: dict[tuple[int, int, int, str, str], Diagnostic] = {}

    def error(
        self, code: str, message: str, span: Span, notes: tuple[Note, ...] = (), **more: Unpack[Suggestion]
    ) -> Unknown:
        """Add an error, and return UNKNOWN for the affected value."""
        if len(message) > _LONGEST:
            message = _LONG.sub(lambda word: f"{word[0][:60]}…{word[0][-10:]}", message)
        self.add(Diagnostic(code, message, span, notes=(*notes, *self._use(span)), **more))
        return UNKNOWN

    def given_twice(self, text: str, span: Span, first: Span) -> None:
        """Add an error for what is given again; `first` is where it was given before."""
        self.error("NN204", f"`{text}` is given twice", span, notes=(Note(first, "first given here"),))

    def add(self, diagnostic: Diagnostic) -> None:
        """Add a diagnostic, unless the same span already has one that differs at most in numbers."""
        span = diagnostic.span
        key = (id(span.source), span.start, span.end, diagnostic.code, _NUMBER.sub("#", diagnostic.message))
        self._found.setdefault(key, diagnostic)

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Add several diagnostics."""
        for diagnostic in diagnostics:
            self.add(diagnostic)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """All findings, in the order in which they were added."""
        return tuple(self._found.values())

    @property
    def count(self) -> int:
        """The number of findings."""
        return len(self._found)

    @property
    def failed(self) -> bool:
        """Whether any finding is an error."""
        return any(d.severity == "error" for d in self._found.values())

    # Suggestions

    @property
    def compares(self) -> bool:
        """Whether the limit for suggestions has not been reached."""
        return self._compared <= MAX_COMPARED

    def nearest(self, word: str, candidates: Iterable[str], others: Mapping[str, str] | None = None) -> str | None:
        """Return the name that an unknown word probably means, or None. The number of comparisons is limited."""
        names = list(candidates) if self.compares else []
        self._compared += 1 + len(names) * (1 + len(word) // 12)
        return meant(word, names, others)

    def respell(
        self, span: Span, candidates: Iterable[str], others: Mapping[str, str] | None = None, otherwise: str = ""
    ) -> Suggestion:
        """Return help and fix, as `error` takes them, for the unknown word at a span; else `otherwise` as help."""
        return respelt(span, self.nearest(span.text, candidates, others), others, otherwise)

    # Blocks

    @contextmanager
    def inside(self, block: Span, use: Note) -> Iterator[None]:
        """Add a note to each error in a block, saying where the block is used."""
        self._uses.append((block, use))
        try:
            yield
        finally:
            self._uses.pop()

    def _use(self, span: Span) -> tuple[Note, ...]:
        for block, use in reversed(self._uses):
            if block.source is span.source and block.start <= span.start and span.end <= block.end:
                return (use,)
        return ()
