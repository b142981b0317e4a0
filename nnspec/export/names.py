"""Names and texts from a spec, made safe for generated code."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

from nnspec.text import to_json

__all__ = ["Identifiers", "c_comment", "c_string", "identifier", "python_string"]


def identifier(text: str) -> str:
    """Return a name as a lower-case identifier of Python: `residual1.Conv2D1` is `residual1_conv2d1`."""
    word = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "value"
    word = f"_{word}" if word[0].isdigit() else word
    return f"{word}_" if keyword.iskeyword(word) else word


class Identifiers:
    """Gives each name an identifier of its own."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._known: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        """Return the identifier of a name: the same one each time."""
        if name not in self._known:
            self._known[name] = self.new(name)
        return self._known[name]

    def new(self, name: str) -> str:
        """Return an identifier like a name that nothing else has."""
        word = base = identifier(name)
        number = 1
        while word in self._taken:
            number += 1
            word = f"{base}_{number}"
        self._taken.add(word)
        return word


def python_string(text: str) -> str:
    """Return text as a literal of Python, in ASCII."""
    return ascii(text)


def c_string(text: str) -> str:
    r"""Return text as UTF-8 in a literal of C. Bytes that are not plain are octal, and `?` is escaped: `??/` would be a
    backslash."""
    data = text.encode("utf-8", "backslashreplace")
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}" for byte in data)
    return '"' + "".join(plain) + '"'


def c_comment(text: str) -> str:
    """Return text that cannot end a comment of C or continue its line: in ASCII, without `*/`, `/*` and backslashes."""
    plain = to_json(text)[1:-1].replace("\\", "/").replace("?", ".")
    return plain.replace("*/", "* /").replace("/*", "/ *")
