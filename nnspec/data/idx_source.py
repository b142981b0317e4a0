"""IDX files of one's own: whatever lies in four of them as MNIST does, and Fashion-MNIST, which is such a data set.

What is in such files is not known beforehand (`idx.py` is for files that are). So their headers are held against what
can be: limits, each other, and the length of what follows.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from nnspec.data.array_reader import Head, Unusable, arrange, exactly, find_unusable, pieces, refuse_unusable
from nnspec.data.axes import Axes
from nnspec.data.fetch import cache_folder
from nnspec.data.files import changed, digest_of, open_file, remembered, shown, size_in_words
from nnspec.data.idx import IDX_TYPES
from nnspec.data.labels import MOST_LABELS, Labels, count_labels
from nnspec.data.mnist import MNIST_FILES, named_folder
from nnspec.data.source import Access, DataError, Dataset, DataSource, DataUnavailable, Facts, FileFault, Split
from nnspec.engine._numpy import np
from nnspec.engine.part import Also, Count, FilePath, Range

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["IDX", "FashionMNIST"]

MOST_BYTES = 1 << 30
_NAMES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
_CHUNK = 1 << 18

T = TypeVar("T")


class IDX(DataSource):
    """Samples and labels in IDX files, the format of MNIST, plain or gzipped: four of them in a folder, under MNIST's
    names (`train-images-idx3-ubyte`, `t10k-labels-idx1-ubyte` …), or each named by itself.

    Samples are the arrays that the image files hold, of any shape and type; bytes stand for 0 to 1 as in an image.
    Those of two axes are images where they are bytes, and sequences otherwise; `axes` says which they are. Labels are
    whole numbers, and each distinct one is a class. `train` and `test` take the first samples alone.
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
        axes: Axes = None,
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
        self.train, self.test, self.axes = train, test, axes
        self.train_images, self.train_labels, self.test_images, self.test_labels = (
            None if given is None else FilePath(given) for given in named.values()
        )

    def looks_at(self) -> tuple[str, ...]:
        """The folder, and the files."""
        return tuple(filter(None, (self.path, *(path for path, _ in self._files()))))

    def facts(self) -> Facts:
        """What the headers say, and the largest label. Raises FileFault where the files do not go together."""
        return _facts(self._files(), self.train, self.test, self.axes)

    def load(self, access: Access) -> Dataset:
        """Read the files. `access` is not used: paths say where they are. Raises DataError for what `facts` does."""
        files = self._files()
        facts = _facts(files, self.train, self.test, self.axes)
        return _load(self.spec_name, files, facts, os.path.dirname(files[0][0]), _labels(files), ())

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
            if head != Head("u1", shape):
                sizes = " × ".join(f"{size:,}" for size in head.shape)
                raise DataError(f"{path} is not a Fashion-MNIST file: it holds {sizes} numbers")
        digits = {file.sha256 for file in MNIST_FILES if "images" in file.name}
        for path, _ in (files[0], files[2]):
            if _ask(path, "path", _sha256) in digits:
                raise DataError(f"{path} is MNIST's, and not Fashion-MNIST's: put the two into folders of their own")
        return _load(self.spec_name, files, self.facts(), str(folder), None, self.class_names)

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


def _labels(files: list[tuple[FilePath, str]]) -> Labels:
    """Return the labels of both label files. Raises FileFault where they are not whole numbers, or all the same."""
    counts: dict[Any, int] = {}
    for path, argument in (files[1], files[3]):
        for label, count in _ask(path, argument, _label_counts).items():
            counts[label] = counts.get(label, 0) + count
    return Labels.of(counts, shown(files[1][0]), files[1][1])


def _facts(files: list[tuple[FilePath, str]], train: int | None, test: int | None, axes: Sequence[str] | None) -> Facts:
    heads = [_ask(path, argument, _header) for path, argument in files]
    counts = []
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
    if heads[0].shape[1:] != heads[2].shape[1:] or heads[0].dtype != heads[2].dtype:
        raise FileFault(f"{shown(files[2][0])} holds other samples than {shown(files[0][0])}", argument=files[2][1])
    classes = _labels(files)
    cure = "if it marks samples without a label, remove them from the files"
    remarks = classes.remarks(shown(files[1][0]), files[1][1], ignore=cure)
    stored = np.dtype(heads[0].dtype).name
    found, odd = arrange(heads[0], axes, shown(files[0][0]), files[0][1])
    return Facts(
        found.shape,
        len(classes.values),
        counts[0],
        counts[1],
        stored=stored,
        axes=found.axes,
        stored_axes=found.stored,
        remarks=(*remarks, *odd),
    )


def _load(
    source: str,
    files: list[tuple[FilePath, str]],
    facts: Facts,
    origin: str,
    labels: Labels | None,
    names: tuple[str, ...],
) -> Dataset:
    counts = (facts.train, facts.train, facts.test, facts.test)
    train_x, train_y, test_x, test_y = (_first(*file, count) for file, count in zip(files, counts, strict=True))
    train_x, test_x = (facts.arrangement.of(x) for x in (train_x, test_x))
    train, test = Split(train_x.reshape(facts.train, -1), train_y), Split(test_x.reshape(facts.test, -1), test_y)
    if (train.x.shape[1], test.x.shape[1]) != (facts.features, facts.features) or train.x.dtype != facts.stored:
        raise changed(origin)
    if labels is not None:
        train, test = (Split(split.x, labels.classes_of(split.y)) for split in (train, test))
    return Dataset(
        source=source,
        facts=facts,
        train=train,
        test=test,
        divisor=255.0 if facts.stored == "uint8" else 1.0,
        sha256=digest_of((train.x, train.y, test.x, test.y)),
        origin=os.path.abspath(origin),
        class_names=names or (labels.names if labels else ()),
    )


def _first(path: FilePath, argument: str, count: int) -> NDArray[Any]:
    """Read the first rows of a file, and see that the rest is there. Raises FileFault for NaN and infinity."""
    unusable: Unusable | None = None
    with open_file(path, MOST_BYTES, argument) as file, _unpacked(file, path, argument) as stream:
        head = _header(stream, path)
        found = np.empty((count, *head.shape[1:]), np.dtype(head.dtype).newbyteorder("="))
        for start, rows in pieces(stream, head, shown(path)):
            bad = find_unusable(rows[: max(count - start, 0)], start)
            unusable = unusable.joined(bad) if unusable else bad
            found[start : start + len(rows)] = rows[: max(count - start, 0)]
    refuse_unusable(unusable, "", os.path.basename(path), found.size, argument)
    return found


def _ask(path: FilePath, argument: str, question: Callable[[IO[bytes], FilePath], T]) -> T:
    """Return what a function says of a file's unpacked content; the same as before where it has not changed."""

    def answer(file: IO[bytes]) -> T:
        with _unpacked(file, path, argument) as stream:
            return question(stream, path)

    try:
        return remembered(answer, path, MOST_BYTES, question.__name__)
    except FileFault as fault:
        raise fault.of(argument) from None


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


def _header(stream: IO[bytes], path: FilePath) -> Head:
    name, no_idx = shown(path), ": it is not an IDX file"
    start = exactly(stream, 4, name, no_idx)
    if start[:2] != b"\0\0" or start[2] not in IDX_TYPES:
        raise FileFault(f"{name} is not an IDX file: it begins with {start.hex(' ')}")
    if not 1 <= start[3] <= 8:
        raise FileFault(f"{name} has {start[3]} dimensions, but 1 to 8 are supported")
    sizes = struct.unpack(f">{start[3]}I", exactly(stream, 4 * start[3], name, no_idx))
    head = Head(IDX_TYPES[start[2]][0], sizes)
    if head.nbytes > MOST_BYTES:
        shape = " × ".join(f"{size:,}" for size in sizes)
        raise FileFault(f"{name} says that it holds {shape} numbers; {size_in_words(MOST_BYTES)} are the most")
    return head


def _label_counts(stream: IO[bytes], path: FilePath) -> dict[Any, int]:
    """Count each distinct label."""
    head = _header(stream, path)
    if head.kind == "f":
        raise FileFault(f"{shown(path)} contains floats, but labels must be whole numbers")
    counts: dict[Any, int] = {}
    for _, labels in pieces(stream, head, shown(path)):
        count_labels(counts, labels, shown(path), "path")
    return counts


def _sha256(stream: IO[bytes], path: FilePath) -> str:
    import hashlib

    digest, count = hashlib.sha256(), 0
    while (chunk := stream.read(_CHUNK)) and count <= MOST_BYTES:
        digest.update(chunk)
        count += len(chunk)
    return digest.hexdigest()
