"""A data set in four tiny IDX files, for tests of what else takes the 11 MB of MNIST."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

from nnspec.data.idx import IdxFile

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
SHAPES = ((12, 4, 3), (12,), (6, 4, 3), (6,))


def idx_bytes(shape: tuple[int, ...], numbers: bytes, type_code: int = 8) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, type_code, len(shape), *shape) + numbers


def numbers_of(shape: tuple[int, ...], salt: int = 0) -> bytes:
    """As many bytes as `shape` has places, hardly compressible."""
    count = 1
    for extent in shape:
        count *= extent
    return hashlib.shake_128(bytes([len(shape), salt])).digest(count)


def idx_file(name: str, content: bytes, shape: tuple[int, ...]) -> IdxFile:
    return IdxFile(name, shape, hashlib.sha256(content).hexdigest())


CONTENTS = tuple(idx_bytes(shape, numbers_of(shape)) for shape in SHAPES)
FILES = tuple(idx_file(*row) for row in zip(NAMES, CONTENTS, SHAPES, strict=True))


def fill(folder: Path, *, gz: bool = False, without: tuple[str, ...] = ()) -> Path:
    """Write the files into a folder, but for those called `without`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in zip(NAMES, CONTENTS, strict=True):
        if name not in without:
            (folder / (f"{name}.gz" if gz else name)).write_bytes(gzip.compress(content) if gz else content)
    return folder
