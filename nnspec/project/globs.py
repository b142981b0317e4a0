"""Globs over paths: one pattern per name, and `**` for any number of folders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Glob", "Reached"]

Reached = frozenset[int]
"""The parts of a glob that the next name on a path may match."""
_ANY = re.compile("")


class Glob(NamedTuple):
    """A glob, matched name by name from the top, so that a search skips folders where nothing can match.

    Matching takes at most (parts of the glob) × (names of the path) steps, so a hostile glob cannot slow it down.
    """

    parts: tuple[re.Pattern[str] | None, ...]
    """One pattern per name, matched from its start; None for `**`, any number of folders."""
    hidden: bool
    """Whether `**` enters hidden folders."""

    @classmethod
    def of(cls, parts: Sequence[re.Pattern[str] | None], *, hidden: bool = True) -> Glob:
        """Make a glob of its parts. A final `**` matches everything below the parts before it."""
        return cls((*parts, _ANY) if parts[-1] is None else tuple(parts), hidden)

    def start(self) -> Reached:
        """Return the parts that the first name may match."""
        return self._after({0})

    def step(self, name: str, reached: Reached) -> tuple[Reached, bool]:
        """Return the parts that the next name may match, and whether this name completes the glob."""
        further: set[int] = set()
        complete = False
        for place in reached:
            part = self.parts[place]
            if part is None:
                if self.hidden or not name.startswith("."):
                    further.add(place)
            elif part.match(name):
                if place + 1 == len(self.parts):
                    complete = True
                else:
                    further.add(place + 1)
        return self._after(further), complete

    def matches(self, names: Sequence[str]) -> bool:
        """Return whether a path, given by its names, matches."""
        first, last = self.parts[0], self.parts[-1]
        if first is not None and not first.match(names[0]):
            return False
        if (
            first is None and last is not None and len(self.parts) == 2 and self.hidden
        ):  # the usual case: any folder, then a name
            return last.match(names[-1]) is not None
        reached, complete = self.start(), False
        for name in names:
            reached, complete = self.step(name, reached)
        return complete

    def _after(self, places: set[int]) -> Reached:
        """Add the parts that can be reached without a name, since `**` also matches zero folders."""
        for place in sorted(places):
            while place < len(self.parts) and self.parts[place] is None:
                place += 1
                places.add(place)
        return frozenset(places)
