"""IDX, the file format of MNIST: two zero bytes, a type, the number of dimensions, their sizes, then the numbers.

`IdxArray` reads any such file, plain or gzipped. Of published data sets it is known beforehand what a file must be
(`IdxFile`: shape and SHA-256), so `read_idx` compares every byte that is used with that, on disk and on its way over
the network. It reads to one byte past the expected end: a gzip bomb has no room to go off. Where the SHA-256 of blocks
of samples is known too, reading ends with the last block that is needed.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from nnspec.data.array_file import MOST_BYTES, ArrayFile, Header, exactly
from nnspec.data.files import open_file, remembered, size_in_words
from nnspec.data.source import DataError, FileFault
from nnspec.engine._numpy import np
from nnspec.engine.part import FilePath

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["IdxArray", "IdxFile", "read_idx", "read_verified", "unpacked"]

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""The types of numbers that the format has, as NumPy writes them."""
_CHUNK = 1 << 18


@dataclass(frozen=True)
class IdxArray(ArrayFile):
    """The array in an IDX file, plain or gzipped."""

    @property
    def element(self) -> tuple[str, str]:
        """The name of the file alone, for it holds one array."""
        return "", os.path.basename(self.path)

    @contextmanager
    def unpacked(self, file: IO[bytes]) -> Iterator[IO[bytes]]:
        """Read through gzip where the content says so."""
        try:
            gzipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            with unpacked(file, self.name, gzipped=gzipped) as stream:
                yield stream
        except OSError as error:
            raise FileFault(f"{self.name} cannot be read: {error.strerror or error}") from None

    def read_header(self, stream: IO[bytes]) -> Header:
        """Read type and sizes."""
        return read_header(stream, self.name)

    def sha256(self) -> str:
        """Return the SHA-256 of the unpacked file, header and all."""

        def digest(file: IO[bytes]) -> str:
            import hashlib

            found, count = hashlib.sha256(), 0
            with self.unpacked(file) as stream:
                while (chunk := stream.read(_CHUNK)) and count <= MOST_BYTES:
                    found.update(chunk)
                    count += len(chunk)
            return found.hexdigest()

        return remembered(digest, self.path, MOST_BYTES, argument=self.argument)


@contextmanager
def unpacked(file: IO[bytes], name: str, *, gzipped: bool) -> Iterator[IO[bytes]]:
    """Read a file, through gzip if need be. Within, whatever shows that gzip's data is damaged becomes a FileFault."""
    if not gzipped:
        yield file
        return
    import gzip
    import zlib

    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as stream:
            yield stream  # type: ignore[misc]
    except EOFError:
        raise FileFault(f"{name} is truncated: its compressed data ends early") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise FileFault(f"{name} is not an intact gzip file: {error}") from None


def read_header(stream: IO[bytes], name: str) -> Header:
    """Read type and sizes. Raises FileFault for what is no IDX file, and for an array of more than MOST_BYTES."""
    start = exactly(stream, 4, name)
    if start[:2] != b"\0\0" or start[2] not in _TYPES:
        raise FileFault(f"{name} is not an IDX file: it begins with {start.hex(' ')}")
    if not 1 <= start[3] <= 8:
        raise FileFault(f"{name} has {start[3]} dimensions, but 1 to 8 are supported")
    head = Header(_TYPES[start[2]], struct.unpack(f">{start[3]}I", exactly(stream, 4 * start[3], name)))
    if head.nbytes > MOST_BYTES:
        raise FileFault(f"{name} says that it holds {head.sizes} numbers; the limit is {size_in_words(MOST_BYTES)}")
    return head


# Files that are known


@dataclass(frozen=True)
class IdxFile:
    """One row of a data set's table of files: what a file is called and what must be in it."""

    name: str
    """Without `.gz`, such as `t10k-labels-idx1-ubyte`."""
    shape: tuple[int, ...]
    """Its dimensions, samples first."""
    sha256: str
    """Of the uncompressed file, header and all."""
    block: int = 0
    """Samples of a block, where blocks are known."""
    blocks: tuple[str, ...] = ()
    """SHA-256 of each block of samples, in order."""

    @property
    def header(self) -> bytes:
        """The bytes that the file must begin with."""
        return struct.pack(f">HBB{len(self.shape)}I", 0, 0x08, len(self.shape), *self.shape)

    @property
    def nbytes(self) -> int:
        """Length of the uncompressed file."""
        return len(self.header) + math.prod(self.shape)

    @property
    def most_bytes(self) -> int:
        """Length that even a badly compressed file stays under; what is longer is refused unread."""
        # Deflate stores what it cannot shrink at 5 bytes a 16 kB block; the rest is room for gzip's own header.
        return self.nbytes + self.nbytes // 1000 + 1024


def read_idx(path: Path, file: IdxFile, first: int, remedy: str, *, whole: bool = False) -> NDArray[np.uint8]:
    """Read the first samples of an IDX file of unsigned bytes, plain or gzipped, and verify them.

    Plain or gzipped is decided by the content and not by the name: browsers unpack `.gz` files and keep their names.

    Args:
        path: the file.
        file: what must be in it; all of it is compared, unless its blocks are known and fewer are asked for.
        first: how many samples to give, at most `file.shape[0]`.
        remedy: what to do when the file is unusable; it ends the message.
        whole: compare all of it, however few samples are asked for.

    Returns:
        array of the shape `(first, *file.shape[1:])`, which keeps nothing else of the file alive.

    Raises:
        DataError: the file cannot be read, is corrupt, truncated, too long, or another file than `file` says.
    """
    if not 0 <= first <= file.shape[0]:
        raise ValueError(f"{file.name} holds {file.shape[0]:,} samples, but {first:,} were requested")
    shape, array = (first, *file.shape[1:]), IdxArray(FilePath(path), "path")
    keep = len(file.header) + math.prod(shape)
    try:
        with open_file(array.path, MOST_BYTES) as raw:
            if (size := os.fstat(raw.fileno()).st_size) > file.most_bytes:
                raise FileFault(f"{array.name} is too long: {size:,} bytes, and {file.nbytes:,} are expected")
            with array.unpacked(raw) as stream:
                kept = read_verified(stream, file, keep, array.name, whole=whole or first == file.shape[0])
    except FileFault as fault:
        raise DataError(f"{fault.message}; {remedy}") from None
    del kept[: len(file.header)]
    return np.frombuffer(kept, np.uint8).reshape(shape)


def read_verified(stream: IO[bytes], file: IdxFile, keep: int, name: str, *, whole: bool = True) -> bytearray:
    """Read a stream to its end, compare all of it with `file`, and return its first `keep` bytes.

    If it need not be the `whole` and blocks are known, read and compare as many as hold those bytes.

    Raises FileFault, which calls the file by `name`, for whatever is wrong with the bytes. What `stream` itself raises
    passes through.
    """
    head = read_header(stream, name)
    if head != Header("u1", file.shape):
        wanted = " × ".join(f"{size:,}" for size in file.shape)
        what = f"holds {head.sizes} numbers of type {np.dtype(head.dtype).name}"
        raise FileFault(
            f"{name} {what}, but must contain {wanted} of type uint8: is it a different file with this name?"
        )
    return (_read_blocks if file.blocks and not whole else _read_whole)(stream, file, keep, name)


def _read_blocks(stream: IO[bytes], file: IdxFile, keep: int, name: str) -> bytearray:
    import hashlib

    kept = bytearray(file.header)
    sample = math.prod(file.shape[1:])
    for number, expected in enumerate(file.blocks):
        if len(kept) >= keep:
            break
        begin, end = number * file.block, min((number + 1) * file.block, file.shape[0])
        block = _read(stream, (end - begin) * sample)
        kept += block
        if len(block) < (end - begin) * sample:
            raise FileFault(f"{name} is truncated: it ends after {len(kept):,} of {file.nbytes:,} bytes")
        found = hashlib.sha256(block).hexdigest()
        if found != expected:
            what = f"the SHA-256 of samples {begin:,} to {end - 1:,} is {found} and must be {expected}"
            raise FileFault(f"{name} is not the expected file: {what}")
    del kept[keep:]
    return kept


def _read_whole(stream: IO[bytes], file: IdxFile, keep: int, name: str) -> bytearray:
    import hashlib

    kept = bytearray(file.header)
    digest, count = hashlib.sha256(kept), len(kept)
    # One byte past the end tells a file that is too long, and makes gzip compare its own checksum.
    while chunk := stream.read(min(_CHUNK, file.nbytes + 1 - count)):
        count += len(chunk)
        digest.update(chunk)
        if len(kept) < keep:
            kept += memoryview(chunk)[: keep - len(kept)]
    if count < file.nbytes:
        raise FileFault(f"{name} is truncated: it ends after {count:,} of {file.nbytes:,} bytes")
    if count > file.nbytes:
        raise FileFault(f"{name} is too long: bytes follow its {file.nbytes:,}")
    if digest.hexdigest() != file.sha256:
        what = f"its SHA-256 is {digest.hexdigest()} and must be {file.sha256}"
        raise FileFault(f"{name} is not the expected file: {what}")
    return kept[:keep]


def _read(stream: IO[bytes], count: int) -> bytearray:
    """Read so many bytes, or as many as there are: a stream may give fewer at a time."""
    content = bytearray()
    while len(content) < count and (more := stream.read(count - len(content))):
        content += more
    return content
