"""Text that is safe to hand on: to a terminal without control characters, to a parser of JSON without NaN."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from typing import Any

__all__ = ["finite", "is_package_name", "printable", "quoted", "to_json"]


def printable(text: str, keep: str = "") -> str:
    r"""Escape every character that a terminal would obey or not show, as Python does: `\x1b[31m`, `\n`, `\u202e`.

    Text from files and specs must not move a cursor, end a line or hide what it says. `keep` lists characters that are
    not escaped, such as `"\n\t"` where lines are meant to be lines.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def quoted(text: str) -> str:
    r"""Return text as a string of a spec, in double quotes: `"a\tb"`. Specs hold no other characters that are hidden:
    those are escaped as in JSON."""
    hidden = any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in text)
    return json.dumps(text, ensure_ascii=hidden)


def is_package_name(text: str) -> bool:
    """Whether a package can have this name, by the specification of package metadata: no path, option or command."""
    return re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", text) is not None


def finite(value: float | None) -> float | None:
    """Return a number that JSON can hold, and None for NaN and infinity."""
    return value if value is not None and math.isfinite(value) else None


def to_json(value: object, *, indent: int | None = None, ensure_ascii: bool = True) -> str:
    """Return plain data as JSON (RFC 8259). NaN and infinity, which JSON lacks, become null."""
    return json.dumps(_without_nan(value), indent=indent, ensure_ascii=ensure_ascii, allow_nan=False)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return value
