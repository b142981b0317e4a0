"""IDX, the file format of MNIST: two zero bytes, a type, the number of dimensions, their sizes, then the numbers.

A file is hostile until read. Which file it ought to be is known beforehand (`IdxFile`: shape and SHA-256), so every
byte that is used is compared with that, whether it is on disk or on its way over the network, plain or gzipped. It is
read in chunks and to one byte past its expected end: a gzip bomb has no room to go off. Where the SHA-256 of blocks of
samples is known too, reading ends with the last block that is needed.
"""

from __future__ import annotations

import errno
import math
import os
import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from nnspec.data.source import DataError
from nnspec.engine._numpy import np
from nnspec.files import NotRegularError, open_regular

if TYPE_CHECKING:
    import gzip
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["IDX_TYPES", "IdxError", "IdxFile", "read_idx", "read_verified"]

IDX_TYPES = {
    0x08: ("u1", "unsigned bytes"),
    0x09: ("i1", "signed bytes"),
    0x0B: (">i2", "16-bit integers"),
    0x0C: (">i4", "32-bit integers"),
    0x0D: (">f4", "32-bit floats"),
    0x0E: (">f8", "64-bit floats"),
}
"""The types of numbers that the format has: each as NumPy writes it, and in words."""
_UNSIGNED_BYTES = 0x08
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 18


class IdxError(Exception):
    """Bytes that are not the expected IDX file. The message continues a sentence that begins with the file's name."""


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
        return struct.pack(f">HBB{len(self.shape)}I", 0, _UNSIGNED_BYTES, len(self.shape), *self.shape)

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
        file: what must be in it; all of it is compared, unless its blocks are known and fewer are asked.
        first: how many samples to give, at most `file.shape[0]`.
        remedy: what to do when the file is unusable; it ends the message.
        whole: compare all of it, however few samples are asked.

    Returns:
        array of the shape `(first, *file.shape[1:])`, which keeps nothing else of the file alive.

    Raises:
        DataError: the file cannot be read, is corrupt, truncated, too long, or another file than `file` says.
    """
    if not 0 <= first <= file.shape[0]:
        raise ValueError(f"{file.name} holds {file.shape[0]:,} samples, and {first:,} are asked")
    shape = (first, *file.shape[1:])
    try:
        with open_regular(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > file.most_bytes:
                raise IdxError(f"is too long: {size:,} bytes, and {file.nbytes:,} are expected")
            gzipped = stream.read(2) == _GZIP_MAGIC
            stream.seek(0)
            keep = len(file.header) + math.prod(shape)
            kept = read_verified(stream, file, keep, gzipped=gzipped, whole=whole or first == file.shape[0])
    except IdxError as problem:
        raise DataError(f"{path} {problem}; {remedy}") from None
    except NotRegularError as error:
        kind = "a directory, not a file" if error.errno == errno.EISDIR else "not a regular file"
        raise DataError(f"{path} is {kind}; {remedy}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; {remedy}") from None
    del kept[: len(file.header)]
    return np.frombuffer(kept, np.uint8).reshape(shape)


def read_verified(stream: IO[bytes], file: IdxFile, keep: int, *, gzipped: bool, whole: bool = True) -> bytearray:
    """Read a stream to its end, compare all of it with `file`, and return its first `keep` uncompressed bytes.

    If it need not be the `whole` and blocks are known, read and compare as many as hold those bytes.

    Raises `IdxError` for whatever is wrong with the bytes. What `stream` itself raises passes through.
    """
    verified = _verified if whole or not file.blocks else _verified_blocks
    if not gzipped:
        return verified(stream, file, keep)

    import gzip
    import zlib

    try:
        with gzip.GzipFile(fileobj=stream, mode="rb") as unpacked:
            return verified(unpacked, file, keep)
    except EOFError:
        raise IdxError("is truncated: its compressed data ends early") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise IdxError(f"is not an intact gzip file: {error}") from None


def _read_header(stream: IO[bytes] | gzip.GzipFile, file: IdxFile) -> bytes:
    head = bytes(_read(stream, len(file.header)))
    problem = _header_problem(head, file)
    if problem:
        raise IdxError(problem)
    return head


def _read(stream: IO[bytes] | gzip.GzipFile, count: int) -> bytearray:
    """Read so many bytes, or as many as there are: a stream may give fewer at a time."""
    content = bytearray()
    while len(content) < count and (more := stream.read(count - len(content))):
        content += more
    return content


def _verified_blocks(stream: IO[bytes] | gzip.GzipFile, file: IdxFile, keep: int) -> bytearray:
    import hashlib

    kept = bytearray(_read_header(stream, file))
    sample = math.prod(file.shape[1:])
    for number, expected in enumerate(file.blocks):
        if len(kept) >= keep:
            break
        begin, end = number * file.block, min((number + 1) * file.block, file.shape[0])
        block = _read(stream, (end - begin) * sample)
        kept += block
        if len(block) < (end - begin) * sample:
            raise IdxError(f"is truncated: it ends after {len(kept):,} of {file.nbytes:,} bytes")
        found = hashlib.sha256(block).hexdigest()
        if found != expected:
            raise IdxError(
                f"is not the file expected: the SHA-256 of samples {begin:,} to {end - 1:,} is {found} and must be "
                f"{expected}"
            )
    del kept[keep:]
    return kept


def _verified(stream: IO[bytes] | gzip.GzipFile, file: IdxFile, keep: int) -> bytearray:
    import hashlib

    head = _read_header(stream, file)
    digest = hashlib.sha256(head)
    kept = bytearray(head[:keep])
    count = len(head)
    # One byte past the end tells a file that is too long, and makes gzip compare its own checksum.
    while chunk := stream.read(min(_CHUNK, file.nbytes + 1 - count)):
        count += len(chunk)
        digest.update(chunk)
        if len(kept) < keep:
            kept += memoryview(chunk)[: keep - len(kept)]
    if count < file.nbytes:
        raise IdxError(f"is truncated: it ends after {count:,} of {file.nbytes:,} bytes")
    if count > file.nbytes:
        raise IdxError(f"is too long: bytes follow its {file.nbytes:,}")
    if digest.hexdigest() != file.sha256:
        raise IdxError(f"is not the file expected: its SHA-256 is {digest.hexdigest()} and must be {file.sha256}")
    return kept


def _header_problem(head: bytes, file: IdxFile) -> str | None:
    if not head:
        return "is empty"
    if not head.startswith(b"\0\0"[: len(head)]):
        return f"is not an IDX file: it begins with {head[:4].hex(' ')} and must with {file.header[:4].hex(' ')}"
    if len(head) < 4:
        return "is truncated: it ends inside its header"
    if head[2] != _UNSIGNED_BYTES:
        _, held = IDX_TYPES.get(head[2], ("", "an unknown type"))
        wanted = IDX_TYPES[_UNSIGNED_BYTES][1]
        return f"contains {held} (0x{head[2]:02x}), but must contain {wanted} (0x{_UNSIGNED_BYTES:02x})"
    if head[3] != len(file.shape):
        return f"has {head[3]} dimensions and must have {len(file.shape)}: is it another file under this name?"
    if len(head) < len(file.header):
        return "is truncated: it ends inside its header"
    sizes = struct.unpack_from(f">{len(file.shape)}I", head, 4)
    if sizes != file.shape:
        return f"holds {_times(sizes)} numbers and must hold {_times(file.shape)}"
    return None


def _times(sizes: tuple[int, ...]) -> str:
    return " × ".join(f"{size:,}" for size in sizes)
