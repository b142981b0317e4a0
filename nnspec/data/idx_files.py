"""IDX files of one's own: whatever lies in four of them as MNIST does, and Fashion-MNIST, which is such a data set.

What is in such files is not known beforehand (`idx.py` is for files that are). So their headers are held against what
can be: limits, each other, and the length of what follows.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar

from nnspec.data.fetch import cache_folder
from nnspec.data.files import digest_of, open_regular, remembered, shown, size_in_words
from nnspec.data.mnist import MNIST_FILES, named_folder
from nnspec.data.source import Access, DataError, Dataset, DataSource, DataUnavailable, Facts, FileFault, Split
from nnspec.engine._numpy import np
from nnspec.engine.part import Also, Count, FilePath, Range

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["IDX", "FashionMNIST"]

MOST_BYTES = 1 << 30
MOST_LABELS = 1 << 26  # bytes of them, which `check` reads
MOST_CLASSES = 65_536
_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NAMES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
_CHUNK = 1 << 18

T = TypeVar("T")


class _Head(NamedTuple):
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class IDX(DataSource):
    """Samples and labels in IDX files, the format of MNIST, plain or gzipped: four of them in a folder, under MNIST's
    names (`train-images-idx3-ubyte`, `t10k-labels-idx1-ubyte` …), or each named by itself.

    Samples are the arrays that the image files hold, of any shape and type; bytes stand for 0 to 1 as in an image.
    Labels are whole numbers from 0 on, in as many classes as the largest of them says. `train` and `test` take the
    first samples alone.
    """

    spec_name = "IDX"
    also = ("Idx", "IdxFolder", "ubyte")

    def __init__(
        self,
        path: Annotated[FilePath | None, Also("folder", "dir", "root")] = None,
        *,
        train_images: FilePath | None = None,
        train_labels: FilePath | None = None,
        test_images: FilePath | None = None,
        test_labels: FilePath | None = None,
        train: Count | None = None,
        test: Count | None = None,
    ) -> None:
        named = {
            "train_images": train_images,
            "train_labels": train_labels,
            "test_images": test_images,
            "test_labels": test_labels,
        }
        lacking = [word for word, given in named.items() if given is None]
        if path is None and lacking:
            what = "a folder is needed, or all four files" if len(lacking) == 4 else f"`{lacking[0]}` is needed, too"
            raise ValueError(f"{what}: IDX(train_images=…, train_labels=…, test_images=…, test_labels=…)")
        self.path = None if path is None else FilePath(path)
        self.train, self.test = train, test
        self.train_images, self.train_labels, self.test_images, self.test_labels = (
            None if given is None else FilePath(given) for given in named.values()
        )

    def looks_at(self) -> tuple[str, ...]:
        """The folder, and the files."""
        return tuple(filter(None, (self.path, *(path for path, _ in self._files()))))

    def facts(self) -> Facts:
        """What the headers say, and the largest label. Raises FileFault where the files do not go together."""
        return _facts(self._files(), self.train, self.test)

    def load(self, access: Access) -> Dataset:
        """Read the files. `access` is not used: paths say where they are. Raises DataError for what `facts` does."""
        files = self._files()
        return _load(self.spec_name, files, _facts(files, self.train, self.test), os.path.dirname(files[0][0]))

    def _files(self) -> list[tuple[FilePath, str]]:
        """Return the path of each file, and the argument that names it."""
        found = []
        for word, name in _NAMES.items():
            given = getattr(self, word)
            if given is None:
                assert self.path is not None
                written = FilePath(_in_folder(Path(self.path), name) or Path(self.path) / name)
                found.append((written, "path"))
            else:
                found.append((given, word))
        return found


class FashionMNIST(DataSource):
    """Pictures of clothes (Xiao, Rasul, Vollgraf 2017): 28 × 28 grey values in bytes, ten classes, in MNIST's format.

    The first `train` and `test` in file order. The four files are looked for in the folder that `--data-dir` or
    NNSPEC_DATA_DIR names, and in nnspec's cache; they are not fetched, since what they must be is not known for
    certain: their publisher replaced them once. Their headers and lengths are checked, and that they are not
    MNIST's own.
    """

    spec_name = "FashionMNIST"
    also = ("Fashion", "FashionMnist", "fashion_mnist")
    reads_files = True
    class_names: ClassVar[tuple[str, ...]] = (
        *("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
    )

    def __init__(
        self,
        train: Annotated[int, Range(low=1, high=60_000)] = 60_000,
        test: Annotated[int, Range(low=1, high=10_000)] = 10_000,
    ) -> None:
        self.train, self.test = int(train), int(test)

    def facts(self) -> Facts:
        """Shapes and counts: samples of (28, 28), ten classes."""
        return Facts(shape=(28, 28), classes=10, train=self.train, test=self.test)

    def load(self, access: Access) -> Dataset:
        """Read the files from the folder that is named, or from the cache.

        Raises DataUnavailable where no folder is named and the cache lacks a file, DataError where a folder that is
        named does, or where a file is not what it must be.
        """
        folder, files = self._find(access)
        for (path, _), shape in zip(files, ((60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,)), strict=True):
            head = _ask(path, "path", _header)
            if head != _Head("u1", shape):
                sizes = " × ".join(f"{size:,}" for size in head.shape)
                raise DataError(f"{path} is no file of Fashion-MNIST: it holds {sizes} numbers")
        digits = {file.sha256 for file in MNIST_FILES if "images" in file.name}
        for path, _ in (files[0], files[2]):
            if _ask(path, "path", _sha256) in digits:
                raise DataError(f"{path} is MNIST's, and not Fashion-MNIST's: put the two into folders of their own")
        return _load(self.spec_name, files, self.facts(), str(folder), self.class_names)

    @classmethod
    def fetch(cls, access: Access) -> list[tuple[Path, Literal["already there", "fetched"]]]:
        """Return the files in the cache. Raises DataUnavailable where one is lacking: they are not fetched."""
        return [(Path(path), "already there") for path, _ in cls._find(Access())[1]]

    @classmethod
    def _find(cls, access: Access) -> tuple[Path, list[tuple[FilePath, str]]]:
        named = named_folder(access)
        folder, by = named or (cache_folder("fashion-mnist"), "the cache")
        for inside in ("fashion-mnist", "fashion_mnist", "FashionMNIST/raw", "FashionMNIST", "fashion", ""):
            paths = [_in_folder(folder / inside, name) for name in _NAMES.values()]
            there = [path for path in paths if path is not None]
            if len(there) == len(paths):
                return folder, [(FilePath(path), "path") for path in there]
        files = ", ".join(f"{name}[.gz]" for name in _NAMES.values())
        message = (
            f"FashionMNIST is not in the folder {folder} ({by}): {files}. nnspec does not fetch it; its publisher, "
            "github.com/zalandoresearch/fashion-mnist, has the files"
        )
        if named:
            raise DataError(f"{message}; correct {by}, or put them into its subfolder `fashion-mnist`")
        raise DataUnavailable(
            f"{message}. Put them into {folder}, or name a folder with `--data-dir` or NNSPEC_DATA_DIR"
        )


def _in_folder(folder: Path, name: str) -> Path | None:
    """Return the path of one of the four files in a folder, spelt as is usual; plain before gzipped."""
    stem, _, kind = name.rpartition("-idx")
    stems = [stem, stem.replace("t10k", "test")] if stem.startswith("t10k") else [stem]
    for spelling in [s for one in stems for s in (f"{one}-idx{kind}", f"{one}.idx{kind}")]:
        for suffix in ("", ".gz"):
            path = folder / f"{spelling}{suffix}"
            try:
                if os.path.lexists(path):
                    return path
            except ValueError:
                return None
    return None


def _facts(files: list[tuple[FilePath, str]], train: int | None, test: int | None) -> Facts:
    heads = [_ask(path, argument, _header) for path, argument in files]
    counts, largest = [], 0
    for which, asked in ((0, train), (2, test)):
        (path, argument), images, labels = files[which], heads[which], heads[which + 1]
        if len(images.shape) < 2:
            raise FileFault(f"{shown(path)} holds single numbers, and should hold samples", argument=argument)
        if images.shape[0] != labels.shape[0] or len(labels.shape) != 1:
            other, argument = files[which + 1]
            what = (
                f"{images.shape[0]:,} samples, and {shown(other)} {' × '.join(f'{n:,}' for n in labels.shape)} labels"
            )
            raise FileFault(f"{shown(path)} holds {what}", argument=argument)
        if labels.nbytes > MOST_LABELS:
            other, argument = files[which + 1]
            raise FileFault(f"{shown(other)} holds more than {size_in_words(MOST_LABELS)} of labels", argument=argument)
        if asked is not None and asked > images.shape[0]:
            message = f"{shown(path)} holds {images.shape[0]:,} samples, and {asked:,} are asked for"
            raise FileFault(message, argument="test" if which else "train")
        if not images.shape[0]:
            raise FileFault(f"{shown(path)} holds no samples", argument=argument)
        counts.append(asked or images.shape[0])
        largest = max(largest, _ask(*files[which + 1], _largest_label))
    if heads[0].shape[1:] != heads[2].shape[1:] or heads[0].dtype != heads[2].dtype:
        raise FileFault(f"{shown(files[2][0])} holds other samples than {shown(files[0][0])}", argument=files[2][1])
    if largest < 1:
        raise FileFault("all labels are 0: there is nothing to learn", argument=files[1][1])
    stored = np.dtype(heads[0].dtype).name
    return Facts(heads[0].shape[1:], largest + 1, counts[0], counts[1], stored=stored)


def _load(
    source: str, files: list[tuple[FilePath, str]], facts: Facts, origin: str, names: tuple[str, ...] = ()
) -> Dataset:
    arrays = []
    for (path, argument), count in zip(files, (facts.train, facts.train, facts.test, facts.test), strict=True):
        file, _ = open_regular(path, MOST_BYTES, argument)
        with file, _unpacked(file, path, argument) as stream:
            arrays.append(_numbers(stream, path)[:count])
    train_x, train_y, test_x, test_y = arrays
    train, test = Split(train_x.reshape(facts.train, -1), train_y), Split(test_x.reshape(facts.test, -1), test_y)
    if (train.x.shape[1], test.x.shape[1]) != (facts.features, facts.features) or train.x.dtype != facts.stored:
        raise DataError(f"{shown(origin)} was written to while it was read; run it again")
    for split, (path, _) in ((train, files[0]), (test, files[2])):
        if not np.isfinite(split.x).all():
            raise DataError(f"{shown(path)} holds a number that is infinite or none at all")
    return Dataset(
        source=source,
        facts=facts,
        train=train,
        test=test,
        divisor=255.0 if facts.stored == "uint8" else 1.0,
        sha256=digest_of((train.x, train.y, test.x, test.y)),
        origin=os.path.abspath(origin),
        class_names=names,
    )


def _ask(path: FilePath, argument: str, question: Callable[[IO[bytes], FilePath], T]) -> T:
    """Return what a function says of a file's unpacked content; the same as before where it has not changed."""

    def answer(file: IO[bytes]) -> T:
        with _unpacked(file, path, argument) as stream:
            return question(stream, path)

    try:
        return remembered(answer, path, MOST_BYTES, question.__name__)
    except FileFault as fault:
        raise FileFault(fault.message, argument=argument, help=fault.help) from None


@contextmanager
def _unpacked(file: IO[bytes], path: FilePath, argument: str) -> Iterator[IO[bytes]]:
    """Read through gzip where the content says so. What goes wrong inside is a FileFault."""
    import gzip
    import zlib

    try:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if zipped:
            with gzip.GzipFile(fileobj=file, mode="rb") as stream:
                yield stream  # type: ignore[misc]
        else:
            yield file
    except EOFError:
        raise FileFault(f"{shown(path)} is truncated: its compressed data ends early", argument=argument) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise FileFault(f"{shown(path)} is not an intact gzip file: {error}", argument=argument) from None
    except OSError as error:
        raise FileFault(f"{shown(path)} cannot be read: {error.strerror or error}", argument=argument) from None


def _header(stream: IO[bytes], path: FilePath) -> _Head:
    name = shown(path)
    head = _exactly(stream, 4, path)
    if head[:2] != b"\0\0" or head[2] not in _TYPES:
        raise FileFault(f"{name} is not an IDX file: it begins with {head.hex(' ')}")
    if not 1 <= head[3] <= 8:
        raise FileFault(f"{name} has {head[3]} dimensions, and 1 to 8 are read")
    found = _Head(_TYPES[head[2]], struct.unpack(f">{head[3]}I", _exactly(stream, 4 * head[3], path)))
    if found.nbytes > MOST_BYTES:
        sizes = " × ".join(f"{size:,}" for size in found.shape)
        raise FileFault(f"{name} says that it holds {sizes} numbers; {size_in_words(MOST_BYTES)} are the most")
    return found


def _numbers(stream: IO[bytes], path: FilePath) -> NDArray[Any]:
    """Read all numbers of a file, and not one byte more than it says it has and one."""
    head = _header(stream, path)
    kept = bytearray()
    while chunk := stream.read(min(_CHUNK, head.nbytes + 1 - len(kept))):
        kept += chunk
    if len(kept) != head.nbytes:
        what = "bytes follow its" if len(kept) > head.nbytes else f"it ends after {len(kept):,} of"
        raise FileFault(f"{shown(path)} is not intact: {what} {head.nbytes:,} bytes of numbers")
    dtype = np.dtype(head.dtype)
    return np.frombuffer(kept, dtype).reshape(head.shape).astype(dtype.newbyteorder("="), copy=False)


def _largest_label(stream: IO[bytes], path: FilePath) -> int:
    labels = _numbers(stream, path)
    if labels.dtype.kind == "f":
        raise FileFault(f"{shown(path)} holds {labels.dtype.name} numbers, and labels are whole ones")
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or high >= MOST_CLASSES:
        raise FileFault(
            f"{shown(path)} holds the label {low if low < 0 else high:,}: they go from 0 to {MOST_CLASSES - 1:,}"
        )
    return high


def _sha256(stream: IO[bytes], path: FilePath) -> str:
    import hashlib

    digest, count = hashlib.sha256(), 0
    while (chunk := stream.read(_CHUNK)) and count <= MOST_BYTES:
        digest.update(chunk)
        count += len(chunk)
    return digest.hexdigest()


def _exactly(stream: IO[bytes], count: int, path: FilePath) -> bytes:
    """Read so many bytes. Raises FileFault where there are fewer."""
    data = b""
    while len(data) < count and (more := stream.read(count - len(data))):
        data += more
    if len(data) < count:
        raise FileFault(f"{shown(path)} {'ends inside its header' if data else 'is empty'}: it is not an IDX file")
    return data
