"""Source texts and spans in them. Offsets are in code points; lines and columns count from 1."""

from __future__ import annotations

import bisect
import codecs
import errno
import os
import re
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path

from nnspec.errors import NnspecError
from nnspec.files import NotRegularError, open_regular

__all__ = ["FLAG", "MAX_BYTES", "Source", "SourceError", "Span", "read_source", "source_of"]

FLAG = "--set"
"""Name of sources that come from the command line rather than from a file."""

MAX_BYTES = 4 * 1024 * 1024
"""Maximum size of a spec."""

_LINE_END = re.compile(r"\r\n|\n|\r")


class SourceError(NnspecError):
    """A spec that cannot be read as text."""


@dataclass(frozen=True, eq=False)
class Source:
    """A text and its name in messages: a path, or the command-line flag that contains it."""

    name: str
    text: str = field(repr=False)
    folder: Path = field(default_factory=Path)
    """Relative paths in the text are relative to this folder."""
    bom: bool = False
    """Whether a byte order mark was removed, to be restored when the text is written back."""

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
        """The offset of each line in UTF-8 bytes."""
        text, starts = self.text, self.line_starts
        sizes = (len(text[start:end].encode("utf-8", "replace")) for start, end in pairwise(starts))
        return list(accumulate(sizes, initial=0))

    def byte(self, offset: int) -> int:
        """Convert an offset to UTF-8 bytes."""
        if self.text.isascii():
            return min(offset, len(self.text))
        line = bisect.bisect_right(self.line_starts, offset) - 1
        return self._byte_starts[line] + len(self.text[self.line_starts[line] : offset].encode("utf-8", "replace"))

    def line(self, number: int) -> str:
        """Return a line without its line break."""
        start = self.line_starts[number - 1]
        end = self.line_starts[number] if number < len(self.line_starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n")


@dataclass(frozen=True, slots=True)
class Span:
    """The characters from `start` up to but not including `end`."""

    source: Source
    start: int
    end: int

    def to(self, other: Span) -> Span:
        """Return the span from the start of this span to the end of `other`."""
        return Span(self.source, self.start, other.end)

    @property
    def text(self) -> str:
        """The text of the span."""
        return self.source.text[self.start : self.end]

    @property
    def line(self) -> int:
        """The line number of its start."""
        return self.source.position(self.start)[0]

    def __str__(self) -> str:
        line, column = self.source.position(self.start)
        return f"{self.source.name}:{line}:{column}"


_LONGEST = 4096  # characters of a path


def read_source(path: str | os.PathLike[str], shown: str | None = None) -> Source:
    """Read a spec: UTF-8 text of at most 4 MiB from a regular file. A byte order mark is removed.

    `shown` is its name in messages, if different from the path.

    Raises SourceError if the file does not exist, is not a regular file, is too large or is not UTF-8 text, and if
    `path` is the text of a spec rather than a path.
    """
    place = os.fspath(path)
    if isinstance(place, str) and ("\n" in place or "{" in place) and not os.path.lexists(place[:_LONGEST]):
        start = place.strip().splitlines()[0][:40] if place.strip() else ""
        raise SourceError(
            f"expected the path of a spec, got the text of a spec: `{start} …`; pass `nnspec.Spec.parse(text)`"
        )
    name = shown if shown is not None else place
    try:
        with open_regular(place) as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SourceError(f"file not found: {name}") from None
    except NotRegularError as error:
        kind = "a folder, not a spec" if error.errno == errno.EISDIR else "not a regular file"
        raise SourceError(f"{name} is {kind}") from None
    except OSError as error:  # reading may fail too: /proc/self/mem calls itself a regular file
        raise SourceError(f"{name} cannot be read: {error.strerror}") from None
    return source_of(data, name, Path(place).parent)


def source_of(data: bytes, name: str, folder: Path) -> Source:
    """Make a source from the bytes of a file. Raises SourceError if they are too many or are not UTF-8 text."""
    if len(data) > MAX_BYTES:
        raise SourceError(f"{name} is larger than {MAX_BYTES // 1024**2} MiB, the maximum size of a spec")
    return Source(Path(name).as_posix(), _decode(data, name), folder, data.startswith(codecs.BOM_UTF8))


def _decode(data: bytes, name: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SourceError(f"{name} is encoded in UTF-16, but specs must be UTF-8: save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{name} is not UTF-8 text (byte {error.start} is 0x{data[error.start]:02x}); is it a spec?"
        ) from None
    if "\0" in text:
        raise SourceError(f"{name} contains a NUL byte at offset {text.index(chr(0))}: it is a binary file, not a spec")
    return text
