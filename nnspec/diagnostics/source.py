"""A text with a name, and a stretch of it. Positions are in code points; lines and columns count from 1."""

from __future__ import annotations

import bisect
import codecs
import os
import re
import stat
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path

from nnspec.errors import NnspecError

__all__ = ["FLAG", "MAX_BYTES", "Source", "SourceError", "Span", "read_source", "source_of"]

FLAG = "--set"
"""Name of the texts that come from the command line, and lie in no file."""

MAX_BYTES = 4 * 1024 * 1024
"""The largest spec that is read."""

_LINE_END = re.compile(r"\r\n|\n|\r")


class SourceError(NnspecError):
    """A spec that cannot be read as text. The message says what and what to do."""


@dataclass(frozen=True, eq=False)
class Source:
    """A text and the name that messages call it by: a path, or the flag that it was given in."""

    name: str
    text: str = field(repr=False)
    folder: Path = field(default_factory=Path)
    """Relative paths in the text start here."""
    bom: bool = False
    """Whether a byte order mark was taken off the front; whoever writes the text again puts it back."""

    @cached_property
    def line_starts(self) -> list[int]:
        """Offset of the first character of each line."""
        return [0, *(match.end() for match in _LINE_END.finditer(self.text))]

    def position(self, offset: int) -> tuple[int, int]:
        """Return (line, column) of an offset."""
        line = bisect.bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    @cached_property
    def _byte_starts(self) -> list[int]:
        """How many bytes of UTF-8 stand before each line."""
        text, starts = self.text, self.line_starts
        sizes = (len(text[start:end].encode("utf-8", "replace")) for start, end in pairwise(starts))
        return list(accumulate(sizes, initial=0))

    def byte(self, offset: int) -> int:
        """Return how many bytes of UTF-8 stand before an offset."""
        if self.text.isascii():
            return min(offset, len(self.text))
        line = bisect.bisect_right(self.line_starts, offset) - 1
        return self._byte_starts[line] + len(self.text[self.line_starts[line] : offset].encode("utf-8", "replace"))

    def line(self, number: int) -> str:
        """Return a line without its end."""
        start = self.line_starts[number - 1]
        end = self.line_starts[number] if number < len(self.line_starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n")


@dataclass(frozen=True, slots=True)
class Span:
    """The characters from `start` up to, not including, `end`."""

    source: Source
    start: int
    end: int

    def to(self, other: Span) -> Span:
        """Return the stretch from the start of this one to the end of `other`."""
        return Span(self.source, self.start, other.end)

    @property
    def text(self) -> str:
        """The characters themselves."""
        return self.source.text[self.start : self.end]

    @property
    def line(self) -> int:
        """The line on which it starts."""
        return self.source.position(self.start)[0]

    def __str__(self) -> str:
        line, column = self.source.position(self.start)
        return f"{self.source.name}:{line}:{column}"


_LONGEST = 4096  # characters of a path


def read_source(path: str | os.PathLike[str], shown: str | None = None) -> Source:
    """Read a spec: UTF-8 text, at most 4 MiB, from a regular file. A byte order mark is taken off.

    `shown` is what messages call it, where that is not the path.

    Raises SourceError for what is missing, no regular file, too large, or no text, and for the text of a spec itself.
    """
    place = os.fspath(path)
    if isinstance(place, str) and ("\n" in place or "{" in place) and not os.path.lexists(place[:_LONGEST]):
        start = place.strip().splitlines()[0][:40] if place.strip() else ""
        raise SourceError(
            f"expected the path of a spec, but this is the text of one: `{start} …`; write the text to a file "
            "and pass its path, or check it with `nnspec.api.check_text(nnspec.diagnostics.Source(name, text))`"
        )
    name = shown if shown is not None else place
    try:
        # Not to wait for ever on a pipe that nobody writes to; whatever is no regular file is refused below.
        handle = os.open(place, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise SourceError(f"there is no file {name}") from None
    except OSError as error:
        raise SourceError(f"{name} cannot be read: {error.strerror}") from None
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise SourceError(f"{name} is {'a folder, not a spec' if stat.S_ISDIR(mode) else 'not a regular file'}")
    try:
        with os.fdopen(handle, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:  # such as of /proc/self/mem, which calls itself a regular file
        raise SourceError(f"{name} cannot be read: {error.strerror}") from None
    return source_of(data, name, Path(place).parent)


def source_of(data: bytes, name: str, folder: Path) -> Source:
    """Make a source of the bytes of a file. Raises SourceError for what is too large, or no text."""
    if len(data) > MAX_BYTES:
        raise SourceError(f"{name} is larger than {MAX_BYTES // 1024**2} MiB, the most that a spec may be")
    return Source(Path(name).as_posix(), _decode(data, name), folder, data.startswith(codecs.BOM_UTF8))


def _decode(data: bytes, name: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SourceError(f"{name} is UTF-16 text; specs are UTF-8: save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{name} is not UTF-8 text (byte {error.start} is 0x{data[error.start]:02x}); is it a spec?"
        ) from None
    if "\0" in text:
        raise SourceError(f"{name} holds a NUL byte at offset {text.index(chr(0))}: it is a binary file, not a spec")
    return text
