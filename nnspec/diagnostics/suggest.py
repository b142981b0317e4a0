"""Suggestions for misspelt names ("did you mean")."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["nearest"]

_LONGEST = 64
"""Longer words get no suggestion."""

_MOST_SLIPS = 5
_SYLLABLE = 3
_DIGIT = re.compile(r"(?<!\d)\d(?!\d)")
"""A number of one digit, as in `Conv2D`."""


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `word` is probably a misspelling of, or None if no candidate is clearly the nearest.

    The distance is case-insensitive Damerau-Levenshtein (insert, delete, substitute, swap neighbours). It may be at
    most one edit per three characters and at most five, and no other candidate may be as near. `GlobalMaxPool` is not a
    misspelling of `GlobalAvgPool`, nor `Conv3D` of `Conv2D`.
    """
    allowed = min(max(1, (len(word) + 1) // 3), _MOST_SLIPS)
    ranked = sorted({(_distance(word.lower(), c.lower(), allowed), c.lower() != word.lower(), c) for c in candidates})
    ranked = [row for row in ranked if row[0] <= allowed and not _says_otherwise(word.lower(), row[2].lower())]
    if not ranked or (len(word) == 1 and ranked[0][0] > 0):
        return None
    if len(ranked) > 1 and ranked[1][0] == ranked[0][0] and ranked[1][2].lower() != ranked[0][2].lower():
        return None
    return ranked[0][2]


def _says_otherwise(a: str, b: str) -> bool:
    """Whether two words differ in a digit, or in a syllable that has nothing in common with that of the other."""
    if _DIGIT.sub("", a) == _DIGIT.sub("", b) and a != b:
        return True
    for _ in range(2):  # remove what is the same at the beginning, and then at the end
        start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        a, b = a[start:][::-1], b[start:][::-1]
    return min(len(a), len(b)) >= _SYLLABLE and _distance(a, b, len(a) + len(b)) == max(len(a), len(b))


def _distance(a: str, b: str, limit: int) -> int:
    """Return the distance, or a number above the limit if the distance exceeds it."""
    beyond = limit + 1
    if abs(len(a) - len(b)) > limit or len(a) > _LONGEST:
        return beyond
    last: list[int] = []
    before: list[int] = []
    row = [j if j <= limit else beyond for j in range(len(b) + 1)]
    for i, x in enumerate(a, 1):
        last, before, row = before, row, [beyond] * (len(b) + 1)
        if i <= limit:
            row[0] = i
        for j in range(max(1, i - limit), min(len(b), i + limit) + 1):  # elsewhere the distance exceeds the limit
            y = b[j - 1]
            cost = before[j - 1] if x == y else before[j - 1] + 1
            if before[j] < cost:
                cost = before[j] + 1
            if row[j - 1] < cost:
                cost = row[j - 1] + 1
            if i > 1 and j > 1 and x != y and x == b[j - 2] and a[i - 2] == y and last[j - 2] < cost:
                cost = last[j - 2] + 1
            row[j] = cost
        if min(row) > limit and min(before) > limit:
            return beyond
    return min(row[-1], beyond)
