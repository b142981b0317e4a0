"""The user's own IDX files: any data set in four of them, laid out as MNIST is, and Fashion-MNIST.

What such files must hold is not known beforehand. So their headers are checked against limits, against each other, and
against the length of what follows.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from nnspec.data.array_file import Header, arrange
from nnspec.data.axes import Axes
from nnspec.data.fetch import cache_folder
from nnspec.data.files import digest_of
from nnspec.data.idx import IdxArray
from nnspec.data.labels import Labels
from nnspec.data.mnist import MNIST_FILES, named_folder
from nnspec.data.source import Access, DataError, Dataset, DataSource, DataUnavailable, Facts, FileFault, Split
from nnspec.engine._numpy import np
from nnspec.engine.part import Also, Count, FilePath, Range

if TYPE_CHECKING:
    pass

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
        return tuple(filter(None, (self.path, *(file.path for file in self._files()))))

    def facts(self) -> Facts:
        """What the headers say, and the largest label. Raises FileFault where the files do not go together."""
        return _facts(self._files(), self.train, self.test, self.axes)

    def load(self, access: Access) -> Dataset:
        """Read the files. `access` is not used: paths say where they are. Raises DataError for what `facts` does."""
        files = self._files()
        facts = _facts(files, self.train, self.test, self.axes)
        return _load(self.spec_name, files, facts, os.path.dirname(files[0].path), _labels(files), ())

    def _files(self) -> list[IdxArray]:
        """Return the four arrays."""
        found = []
        for word, name in _NAMES.items():
            given = getattr(self, word)
            if given is None:
                assert self.path is not None
                found.append(IdxArray(FilePath(_in_folder(Path(self.path), name) or Path(self.path) / name), "path"))
            else:
                found.append(IdxArray(given, word))
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
        for file, mnist in zip(files, MNIST_FILES, strict=True):
            if (head := file.header()) != Header("u1", mnist.shape):
                raise DataError(f"{file.path} is not a Fashion-MNIST file: it holds {head.sizes} numbers")
            if len(mnist.shape) > 1 and file.sha256() == mnist.sha256:
                what = "is MNIST's, and not Fashion-MNIST's: put the two into folders of their own"
                raise DataError(f"{file.path} {what}")
        return _load(self.spec_name, files, self.facts(), str(folder), None, self.class_names)

    @classmethod
    def fetch(cls, access: Access) -> list[tuple[Path, Literal["already there", "fetched"]]]:
        """Return the files in the cache. Raises DataUnavailable where one is lacking: they are not fetched."""
        return [(Path(file.path), "already there") for file in cls._find(Access())[1]]

    @classmethod
    def _find(cls, access: Access) -> tuple[Path, list[IdxArray]]:
        named = named_folder(access)
        folder, by = named or (cache_folder("fashion-mnist"), "the cache")
        for inside in ("fashion-mnist", "fashion_mnist", "FashionMNIST/raw", "FashionMNIST", "fashion", ""):
            paths = [_in_folder(folder / inside, name) for name in _NAMES.values()]
            there = [path for path in paths if path is not None]
            if len(there) == len(paths):
                return folder, [IdxArray(FilePath(path), "path") for path in there]
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


def _labels(files: list[IdxArray]) -> Labels:
    """Return the labels of both label files. Raises FileFault where they are not whole numbers, or all the same."""
    counts: dict[Any, int] = {}
    for file in (files[1], files[3]):
        if file.header().kind == "f":
            raise FileFault(f"{file.name} contains floats, but labels must be whole numbers", argument=file.argument)
        for label, count in file.label_counts().items():
            counts[label] = counts.get(label, 0) + count
    return Labels.of(counts, files[1].name, files[1].argument)


def _facts(files: list[IdxArray], train: int | None, test: int | None, axes: Sequence[str] | None) -> Facts:
    heads = [file.header() for file in files]
    counts = []
    for which, asked in ((0, train), (2, test)):
        file, other, images, labels = files[which], files[which + 1], heads[which], heads[which + 1]
        if len(images.shape) < 2:
            raise FileFault(f"{file.name} holds single numbers, and should hold samples", argument=file.argument)
        if images.rows != labels.rows or len(labels.shape) != 1:
            what = f"{images.rows:,} samples, and {other.name} {labels.sizes} labels"
            raise FileFault(f"{file.name} holds {what}", argument=other.argument)
        if asked is not None and asked > images.rows:
            message = f"{file.name} holds {images.rows:,} samples, and {asked:,} are asked for"
            raise FileFault(message, argument="test" if which else "train")
        if not images.rows:
            raise FileFault(f"{file.name} holds no samples", argument=file.argument)
        counts.append(asked or images.rows)
    if heads[0].shape[1:] != heads[2].shape[1:] or heads[0].dtype != heads[2].dtype:
        raise FileFault(f"{files[2].name} holds other samples than {files[0].name}", argument=files[2].argument)
    classes = _labels(files)
    cure = "if it marks samples without a label, remove them from the files"
    remarks = classes.remarks(files[1].name, files[1].argument, ignore=cure)
    found, odd = arrange(heads[0], axes, files[0].name, files[0].argument)
    return Facts(
        found.shape,
        len(classes.values),
        counts[0],
        counts[1],
        stored=np.dtype(heads[0].dtype).name,
        axes=found.axes,
        stored_axes=found.stored,
        remarks=(*remarks, *odd),
    )


def _load(
    source: str, files: list[IdxArray], facts: Facts, origin: str, labels: Labels | None, names: tuple[str, ...]
) -> Dataset:
    def split(images: IdxArray, targets: IdxArray, count: int) -> Split:
        rows = np.arange(images.header().rows)
        places = np.where(rows < count, rows, -1)
        x = images.read(places, count, facts.stored, facts.arrangement).reshape(count, -1)
        y = targets.read(places, count, labels=True)
        return Split(x, labels.classes_of(y) if labels else y)

    train, test = split(files[0], files[1], facts.train), split(files[2], files[3], facts.test)
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
