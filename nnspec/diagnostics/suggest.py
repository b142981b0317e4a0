"""Did you mean: the one name that is clearly nearest, or none."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["nearest"]


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `word` is a misspelling of, or None where none is clearly nearest.

    Distance is Damerau-Levenshtein's (insert, delete, change, swap neighbours), blind to case; up to one slip for
    each three characters, and nobody else as near.
    """
    allowed = max(1, (len(word) + 1) // 3)
    ranked = sorted({(_distance(word.lower(), c.lower(), allowed), c.lower() != word.lower(), c) for c in candidates})
    ranked = [row for row in ranked if row[0] <= allowed]
    if not ranked or (len(word) == 1 and ranked[0][0] > 0):
        return None
    if len(ranked) > 1 and ranked[1][0] == ranked[0][0] and ranked[1][2].lower() != ranked[0][2].lower():
        return None
    return ranked[0][2]


def _distance(a: str, b: str, limit: int) -> int:
    if abs(len(a) - len(b)) > limit or len(a) > 64:
        return limit + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, last, row = row, before, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
