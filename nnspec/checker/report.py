"""Where the checker's findings are collected."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from nnspec.checker.vocabulary import meant, respelt
from nnspec.diagnostics import Diagnostic, Note, Source, Span
from nnspec.syntax import Parsed

__all__ = ["UNKNOWN", "Report", "Unknown"]


class Unknown:
    """Stands for a value that could not be known because of an error that is already reported."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()

_NUMBER = re.compile(r"\d[\d,.×]*")
_LONG = re.compile(r"\S{80,}")

_LONGEST = 160  # a message that is longer has its longest words cut

MAX_WORK = 1_000_000
"""The most steps that a spec may ask the checker for, so that no small text keeps it busy for minutes."""

MAX_COMPARED = 30_000
"""The most names that unknown ones are compared with, for suggestions."""


class Report:
    """Diagnostics, each once: lanes, and uses of a block, share most of a spec and its mistakes."""

    def __init__(self, suggests: bool = True) -> None:
        self.lost: set[str] = set()
        """Words of items that could not be read: nobody is told that they are unknown or missing."""
        self.meant: set[str] = set()
        """Words that were suggested for unknown ones: nobody is told that they are missing."""
        self.chosen_models: set[str] = set()
        """Names of the models that some lane trains."""
        self.used_blocks: set[str] = set()
        """Names of the blocks that some model uses."""
        self.incomplete = False
        """Whether a whole file is missing in the spec, so that nothing can be said of what is not there."""
        self.used_lets: set[str] = set()
        """Names of the lets that some expression uses."""
        self.broken_blocks: set[str] = set()
        """Names of the blocks whose parameters are wrong, which is reported: nobody is told what they lack."""
        self.deep_lets = False
        """Whether it has been said that lets are too deep in each other."""
        self.looked_at: dict[str, None] = {}
        """Data files and folders that the findings depend on."""
        self.left = MAX_WORK
        """What may still be done: layers placed, settings evaluated, items of lists."""
        self._compared = 0 if suggests else MAX_COMPARED + 1
        self._uses: list[tuple[Span, Note]] = []
        self._gaps: dict[Source, tuple[int, ...]] = {}
        self._absent: dict[str, tuple[str, list[str]]] = {}
        self._unreadable: dict[Source, frozenset[int]] = {}
        self._found: dict[tuple[int, int, int, str, str], Diagnostic] = {}

    def take(self, source: Source, parsed: Parsed) -> None:
        """Take over what was found when a text was read."""
        self.lost |= parsed.lost
        self.incomplete = self.incomplete or parsed.unread
        self._gaps[source], self._unreadable[source] = parsed.gaps, parsed.unreadable
        for diagnostic in parsed.diagnostics:
            self.add(diagnostic)

    def readable(self, literal: Span) -> bool:
        """Whether a literal has a value; where not, that is reported already."""
        return literal.start not in self._unreadable.get(literal.source, ())

    def excuses(self, word: str, meant: str | None = None) -> bool:
        """Whether nobody is to be told that a word is unknown: it may stand in what could not be read.

        Where a whole file is missing that goes for every word, but for one that misspells another (`meant`).
        """
        return word in self.lost or (self.incomplete and meant is None)

    def doubts(self, *words: str) -> bool:
        """Whether one of these words may stand in what could not be read, or is the one that is meant by another."""
        return any(word in self.lost or word in self.meant for word in words)

    def has_gaps(self, span: Span) -> bool:
        """Whether an item that stands here could not be read."""
        gaps = self._gaps.get(span.source, ())
        at = bisect_left(gaps, span.start)
        return at < len(gaps) and gaps[at] < span.end

    def absent(self, word: str, lane: str, help: str) -> None:
        """Note that a setting is missing in a lane: it is reported once for all of them."""
        without = self._absent.setdefault(word, (help, []))[1]
        if lane not in without:  # it may be missing at every point of a sweep
            without.append(lane)

    @property
    def absent_words(self) -> frozenset[str]:
        """The settings that are missing in some lane."""
        return frozenset(self._absent)

    def report_absent(self, lanes: Mapping[str, Span], top: Span) -> None:
        """Report what is missing: at the top where all lanes lack it, else at the first lane that does."""
        for word, (help, without) in self._absent.items():
            everywhere = len(without) >= len(lanes)
            where = f" in lane{'s' if len(without) > 1 else ''} " + ", ".join(f"`{lane}`" for lane in without)
            message = f"`{word}` is missing" + ("" if everywhere else where)
            self.error("NN205", message, top if everywhere else lanes[without[0]], help=help)

    def work(self, amount: int, span: Span) -> bool:
        """Take from the work that a spec may ask for; whether there was enough. Where it ends, that is reported."""
        before, self.left = self.left, self.left - amount
        if self.left < 0 <= before and not self.failed:
            message = f"checking this spec takes more than {MAX_WORK:,} steps"
            self.error("NN603", message, span, help="a step is a value, a layer or a setting in a run; they end here")
        return self.left >= 0

    def respell(
        self, span: Span, candidates: Iterable[str], others: Mapping[str, str] | None = None, otherwise: str = ""
    ) -> dict[str, Any]:
        """Return help and fix for the unknown word at a span, to be handed to `error`; else `otherwise` as help."""
        return respelt(span, self.nearest(span.text, candidates, others), others, otherwise)

    @property
    def compares(self) -> bool:
        """Whether names are still looked for."""
        return self._compared <= MAX_COMPARED

    def nearest(self, word: str, candidates: Iterable[str], others: Mapping[str, str] | None = None) -> str | None:
        """Return the name that is meant by an unknown word, or None. A spec has only so many of them looked for."""
        names = list(candidates) if self.compares else []
        self._compared += 1 + len(names) * (1 + len(word) // 12)
        return meant(word, names, others)

    @contextmanager
    def inside(self, whole: Span, use: Note) -> Iterator[None]:
        """Say of every mistake in a block, whose characters are `whole`, where the block is used."""
        self._uses.append((whole, use))
        try:
            yield
        finally:
            self._uses.pop()

    def _use(self, span: Span) -> tuple[Note, ...]:
        for whole, use in reversed(self._uses):
            if whole.source is span.source and whole.start <= span.start and span.end <= whole.end:
                return (use,)
        return ()

    def error(self, code: str, message: str, span: Span, notes: tuple[Note, ...] = (), **more: Any) -> Unknown:
        """Add an error, and return UNKNOWN for the value that it concerns."""
        if len(message) > _LONGEST:
            message = _LONG.sub(lambda word: f"{word[0][:60]}…{word[0][-10:]}", message)
        self.add(Diagnostic(code, message, span, notes=(*notes, *self._use(span)), **more))
        return UNKNOWN

    def add(self, diagnostic: Diagnostic) -> None:
        """Add a diagnostic, unless the same, numbers aside, has been said of the same characters."""
        span = diagnostic.span
        key = (id(span.source), span.start, span.end, diagnostic.code, _NUMBER.sub("#", diagnostic.message))
        self._found.setdefault(key, diagnostic)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Everything found, in order of finding."""
        return tuple(self._found.values())

    @property
    def count(self) -> int:
        """How many findings there are."""
        return len(self._found)

    @property
    def failed(self) -> bool:
        """Whether there is an error among the findings."""
        return any(d.severity == "error" for d in self._found.values())
