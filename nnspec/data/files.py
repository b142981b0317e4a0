"""Reading the files that a spec names, within limits.

Such a file is untrusted, and `check` reads it too. So only regular files are opened, never a pipe or a device; nothing
larger than a limit is read; and messages show no more of a file's contents than its header.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeVar

from nnspec.data.source import DataError, FileFault
from nnspec.engine._numpy import np
from nnspec.files import NotRegularError, open_regular
from nnspec.text import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.engine.part import FilePath

__all__ = [
    "State",
    "changed",
    "decoded",
    "digest_of",
    "open_file",
    "remembered",
    "shown",
    "size_in_words",
]

_MOST_REMEMBERED = 64
_MIB = 1024**2
_CHUNK = 1 << 20
_ROWS = 1024

T = TypeVar("T")


class State(NamedTuple):
    """The state of a file; if the file changes, so does this."""

    device: int
    inode: int
    changed: int
    size: int

    @classmethod
    def of(cls, file: IO[bytes]) -> State:
        """Return the state of an open file."""
        status = os.fstat(file.fileno())
        return cls(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)


def open_file(path: FilePath | str, most: int, argument: str = "path") -> IO[bytes]:
    """Open a regular file of at most `most` bytes, which the caller closes.

    Raises FileFault if it does not exist, is not a regular file, or is larger.
    """
    try:
        file = open_regular(path)
    except FileNotFoundError:
        raise FileFault(f"file not found: {shown(path)}", argument=argument, help=_beside(path)) from None
    except NotRegularError as error:
        kind = "a folder, not a file" if error.errno == errno.EISDIR else "not a regular file"
        raise FileFault(f"{shown(path)} is {kind}", argument=argument) from None
    except OSError as error:
        raise FileFault(f"{shown(path)} cannot be read: {error.strerror or error}", argument=argument) from None
    except ValueError:
        raise FileFault("this cannot be the name of a file", argument=argument) from None
    if State.of(file).size > most:
        file.close()
        message = f"{shown(path)} is larger than {size_in_words(most)}, the maximum for such files"
        raise FileFault(message, argument=argument)
    return file


def shown(path: FilePath | str) -> str:
    """Return a path as messages show it: on one line, with unprintable characters escaped."""
    return printable(str(path).replace(os.sep, "/")[-200:])


def changed(path: FilePath | str) -> DataError:
    """Return the error for a file that changed between two reads."""
    return DataError(f"{shown(path)} changed while it was being read; run again")


def size_in_words(count: int) -> str:
    """`64 MiB`, `1 GiB`."""
    return f"{count / _MIB / 1024:g} GiB" if count >= 1024 * _MIB else f"{count / _MIB:g} MiB"


def _beside(path: FilePath | str) -> str:
    """Suggest a file with a similar name, or say what paths are relative to."""
    import difflib

    folder, name = os.path.split(path)
    try:
        with os.scandir(folder or ".") as entries:
            names = [entry.name for entry, _ in zip(entries, range(1000), strict=False)]
    except (OSError, ValueError):
        return "paths are relative to the folder of the spec"
    found = difflib.get_close_matches(name, names, 1, 0.7)
    if found and found[0].isprintable():
        written = getattr(path, "written", str(path))
        return f'did you mean `"{written[: len(written) - len(name)]}{found[0]}"`?'
    return "paths are relative to the folder of the spec"


_caches: dict[tuple[str, str], dict[tuple[object, ...], Any]] = {}
"""The cached results, by the function that computed them."""


def remembered(
    make: Callable[[IO[bytes]], T],
    path: FilePath | str,
    most: int,
    *key: object,
    argument: str = "path",
    entries: int = _MOST_REMEMBERED,
) -> T:
    """Return `make(file)`, cached for as long as the file does not change.

    `key` is whatever else the result depends on, and `entries` how many results of the function are kept. Errors are
    not cached.
    """
    cache = _caches.setdefault((make.__module__, make.__qualname__), {})
    with open_file(path, most, argument) as file:
        whole = (str(path), State.of(file), *key)
        if whole in cache:
            return cache[whole]
        value = make(file)
    if len(cache) >= entries:
        cache.pop(next(iter(cache)))
    cache[whole] = value
    return value


def decoded(file: IO[bytes], path: FilePath, most: int) -> Iterator[str]:
    """Read UTF-8 text piece by piece, each line end as "\\n". Raises FileFault for anything but text."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    lines = io.IncrementalNewlineDecoder(None, translate=True)
    offset, more, mark, line = 0, True, 0, 1
    while more:
        try:
            piece = file.read(min(_CHUNK, most + 1 - offset))
        except OSError as error:
            raise FileFault(f"{shown(path)} cannot be read: {error.strerror or error}") from None
        more = bool(piece)
        if not offset and piece.startswith(codecs.BOM_UTF8):
            mark = len(codecs.BOM_UTF8)
        held = len(decoder.getstate()[0])
        try:
            text = decoder.decode(piece, final=not more)
        except UnicodeDecodeError as error:
            at = offset - held + error.start + (0 if offset else mark)
            line += error.object[: error.start].count(b"\n")
            raise FileFault(
                f"{shown(path)} is not UTF-8 text: byte {at:,} is 0x{error.object[error.start]:02x} (line {line:,})",
                help="save it as UTF-8",
            ) from None
        if "\0" in text:
            raise FileFault(
                f"{shown(path)} contains a NUL byte: it is not a text file", help="name a text file, saved as UTF-8"
            )
        offset += len(piece)
        line += piece.count(b"\n")
        if offset > most:
            raise FileFault(f"{shown(path)} changed while it was being read")
        if text := lines.decode(text, final=not more):
            yield text


def digest_of(arrays: Iterable[NDArray[Any]]) -> str:
    """Return the SHA-256 of the bytes of arrays, one after the other."""
    import hashlib

    digest = hashlib.sha256()
    for array in arrays:
        step = max(len(array), 1) if array.flags.c_contiguous else _ROWS  # windows that overlap are not copied at once
        for start in range(0, len(array), step):
            digest.update(np.ascontiguousarray(array[start : start + step]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
