"""NumPy files: an array in an `.npy` file, or in an `.npz` file, which is a ZIP archive of `.npy` files.

Nothing in them is ever unpickled.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from nnspec.data.array_file import MOST_BYTES, ArrayFile, Header, exactly
from nnspec.data.files import remembered, shown, size_in_words
from nnspec.data.source import FileFault

if TYPE_CHECKING:
    from zipfile import ZipFile

    from nnspec.engine.part import FilePath

__all__ = ["NumpyArray", "array_names", "each_array", "listed_names"]

MOST_MEMBERS = 100
_HEADER = 10_000  # maximum size of a NumPy header in bytes
_TAIL = 1 << 17  # the directory of a ZIP archive is at its end
_ENTRY = 256  # bytes of the directory for each array
_LISTED = 8
_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|[US][1-9][0-9]{0,3})")
_UNLIKE = {
    "|O": ("Python objects, which are never unpickled", "`x.astype(numpy.float32)`, or for text `y.astype(str)`"),
    "c": ("complex numbers", "real and imaginary parts: `numpy.stack([x.real, x.imag], axis=-1)`"),
    "M": ("dates", "`(x - x.min()) / numpy.timedelta64(1, 'D')`"),
    "m": ("durations", "`x / numpy.timedelta64(1, 's')`"),
    "f": ("floats of more than 64 bits", "`x.astype(numpy.float64)`"),
}
"""Unsupported dtypes: the start of their codes, what they are, and what to save instead."""


@dataclass(frozen=True)
class NumpyArray(ArrayFile):
    """An array in an `.npy` file, or in an `.npz` file."""

    key: str
    """Its name in messages: that in the archive, or the argument that names its file."""
    in_archive: bool = False

    @property
    def name(self) -> str:
        """`data.npz: `x``, or the path of an `.npy`."""
        return f"{shown(self.path)}: `{self.key}`" if self.in_archive else shown(self.path)

    @property
    def title(self) -> str:
        """`x` in backticks."""
        return f"`{self.key}`"

    @property
    def element(self) -> tuple[str, str]:
        """The path, and the name of the array."""
        return shown(self.path), self.key

    @contextmanager
    def unpacked(self, file: IO[bytes]) -> Iterator[IO[bytes]]:
        """Open the array, inside its archive if there is one."""
        import zipfile

        with _intact(self.path):
            if not self.in_archive:
                yield file
                return
            with zipfile.ZipFile(file) as archive, _member(archive, self.key) as stream:
                yield stream

    def read_header(self, stream: IO[bytes]) -> Header:
        """Read dtype and shape. Raises FileFault if it is not a NumPy array, contains objects, or is too large."""
        import ast

        name = self.name
        magic = exactly(stream, 8, name)
        if magic[:6] != b"\x93NUMPY" or magic[6] not in (1, 2, 3):
            raise FileFault(f"{name} is not a NumPy array: it begins with {magic.hex(' ')}")
        wide = 2 if magic[6] == 1 else 4
        length = int.from_bytes(exactly(stream, wide, name), "little")
        if length > _HEADER:
            raise FileFault(f"{name} says that its header has {length:,} bytes, but at most {_HEADER:,} are allowed")
        text = exactly(stream, length, name)
        try:
            said = ast.literal_eval(text.decode("utf-8" if magic[6] == 3 else "latin-1").strip())
            dtype, fortran, shape = said["descr"], said["fortran_order"], said["shape"]
        except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError):
            raise FileFault(f"{name} has a header that is not NumPy's") from None
        sound = type(shape) is tuple and all(type(size) is int and 0 <= size < 2**40 for size in shape)
        if type(fortran) is not bool or not sound or len(shape) > 32:
            raise FileFault(f"{name} has a header that is not NumPy's")
        if type(dtype) is not str or not _DTYPE.fullmatch(dtype):
            raise _unlike(name, dtype)
        head = Header(dtype, shape, fortran)
        if head.nbytes > MOST_BYTES:
            raise FileFault(f"{name} contains {head.sizes} numbers; the limit is {size_in_words(MOST_BYTES)}")
        return head


@contextmanager
def _intact(path: FilePath) -> Iterator[None]:
    """Turn whatever shows that a file is damaged into a FileFault."""
    import zipfile
    import zlib

    try:
        yield
    except FileFault:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, RuntimeError) as error:
        raise FileFault(f"{shown(path)} is not an intact .npz file: {error}") from None
    except OSError as error:
        raise FileFault(f"{shown(path)} cannot be read: {error.strerror or error}") from None


def _member(archive: ZipFile, key: str) -> IO[bytes]:
    """Open an array in an archive. Raises one of the errors that `_intact` reports."""
    import zipfile

    member = f"{key}.npy"
    if archive.getinfo(member).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise NotImplementedError("compressed otherwise than by deflate")
    return archive.open(member)


def each_array(file: IO[bytes], path: FilePath, most: int) -> Iterator[tuple[NumpyArray, Header, IO[bytes]]]:
    """Yield every array of an archive of at most `most`, with its header and the stream of its numbers.

    Raises FileFault.
    """
    import zipfile

    keys = _members(file, shown(path), most)
    with _intact(path), zipfile.ZipFile(file) as archive:
        for key in keys:
            array = NumpyArray(path, "path", key, in_archive=True)
            with _member(archive, key) as stream:
                yield array, array.read_header(stream), stream


def array_names(path: FilePath) -> list[str]:
    """Return the names of the arrays in an `.npz` file. Raises FileFault for any other file."""

    def list_members(file: IO[bytes]) -> list[str]:
        with NumpyArray(path, "path", "").unpacked(file):
            return _members(file, shown(path))

    return remembered(list_members, path, MOST_BYTES)


def listed_names(names: Sequence[str]) -> str:
    """Format names for messages; if there are many, only the first ones."""
    printable = [f"`{name}`" for name in names[:_LISTED] if name.isprintable()]
    return ", ".join(printable) + (" …" if len(names) > _LISTED else "") if printable else "nothing"


def _members(file: IO[bytes], name: str, most: int = MOST_MEMBERS) -> list[str]:
    """List the arrays in an archive. The size of its directory is checked first: it may be as large as the archive."""
    import zipfile

    longest = max(_TAIL, most * _ENTRY)
    end = file.seek(0, os.SEEK_END)
    file.seek(max(end - longest, 0))
    tail = file.read(longest)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + 22:
        raise FileFault(f"{name} is not an .npz file", help="`numpy.savez` writes one")
    if int.from_bytes(tail[at + 12 : at + 16], "little") > longest or tail[max(at - 20, 0) : at].startswith(b"PK\6\7"):
        raise FileFault(f"{name} contains too many files; the limit is {most:,} arrays")
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise FileFault(f"{name} is not an .npz file: {error}", help="`numpy.savez` writes one") from None
    if len(names) > most:
        raise FileFault(f"{name} contains {len(names):,} arrays, but at most {most:,} are allowed")
    return [member.removesuffix(".npy") for member in names if member.endswith(".npy")]


def _unlike(name: str, dtype: Any) -> FileFault:
    """Return an error for an array that contains neither numbers nor text."""
    if isinstance(dtype, list):
        fields = [str(field[0]) for field in dtype if isinstance(field, tuple) and field]
        help = "save the fields as columns: `numpy.stack([r[name] for name in r.dtype.names], axis=-1)`"
        return FileFault(f"{name} contains records with the fields {listed_names(fields)}", help=help)
    word = str(dtype)
    start = word if word in _UNLIKE else word.lstrip("<>|=")[:1]
    what, instead = _UNLIKE.get(start, ("something other than numbers", "`x.astype(numpy.float32)`"))
    return FileFault(f"{name} contains {what}", help=f"save {instead}")
