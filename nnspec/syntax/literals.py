"""Numbers and strings: from the characters of a literal to its value, and back."""

from __future__ import annotations

import re
import unicodedata
from typing import TypeVar

__all__ = ["MAX_DIGITS", "bad_escape", "hidden_character", "number", "unquoted"]

MAX_DIGITS = 400
"""The longest number that is read; Python's own limit is of the same kind."""

_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "'": "'"}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


Number = TypeVar("Number", int, float)


def number(text: str, kind: type[Number]) -> Number:
    """Return the value of a literal."""
    return kind(text.replace("_", ""))


def unquoted(text: str) -> str:
    """Return the value of a string literal. Unknown escapes are kept literally."""
    return _ESCAPE.sub(lambda match: _ESCAPES.get(match[1], match[0]), text[1:-1])


def bad_escape(text: str) -> tuple[int, str] | None:
    """Return offset and text of the first unknown escape in a string literal, or None."""
    for match in _ESCAPE.finditer(text, 1, len(text) - 1):
        if match[1] not in _ESCAPES:
            return match.start(), match[0]
    return None


def hidden_character(text: str) -> int | None:
    """Return the offset of the first control character, or None. Tabs are allowed."""
    return next(
        (i for i, c in enumerate(text) if unicodedata.category(c) in ("Cc", "Cf") and c not in "\t\u200d"), None
    )
