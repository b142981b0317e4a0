"""The user's own IDX files: any data set in four files laid out as MNIST is.

Since their contents are not known in advance, headers are checked against limits, against each other, and against the
length of the data.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import KW_ONLY
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.data.array_file import arrange
from nnspec.data.axes import Axes
from nnspec.data.files import digest_of
from nnspec.data.idx import IdxArray
from nnspec.data.labels import Labels
from nnspec.data.source import Access, Dataset, DataSource, Facts, FileFault, Split
from nnspec.data.splitting import TestCount
from nnspec.engine._numpy import np
from nnspec.engine.part import Also, Count, FilePath

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["IDX", "find_idx", "first_samples", "four_arrays"]

_NAMES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


class IDX(DataSource):
    """Samples and labels in IDX files, the format of MNIST, plain or gzipped: four files in a folder, named as MNIST's
    (`train-images-idx3-ubyte`, `t10k-labels-idx1-ubyte` …), or four paths.

    Samples may have any shape and type; bytes are scaled to [0, 1] as in an image. Samples with two axes are images if
    they are bytes, and sequences otherwise; `axes` overrides this. Labels are whole numbers, and each distinct one is a
    class. `train` and `test` limit how many samples are used, from the first on.
    """

    spec_name = "IDX"
    also = ("Idx", "IdxFolder", "ubyte")

    path: Annotated[FilePath | None, Also("folder", "dir", "root")] = None
    _: KW_ONLY
    train_images: FilePath | None = None
    train_labels: FilePath | None = None
    test_images: FilePath | None = None
    test_labels: FilePath | None = None
    train: Count | None = None
    test: TestCount | None = None
    axes: Axes = None

    def __post_init__(self) -> None:
        """Raise ValueError where neither a folder nor all four files are given."""
        missing = [name for name in _NAMES if getattr(self, name) is None]
        if self.path is None and missing:
            what = "either a folder or all four files are needed" if len(missing) == 4 else f"`{missing[0]}` is missing"
            raise ValueError(f"{what}: IDX(train_images=…, train_labels=…, test_images=…, test_labels=…)")

    def looks_at(self) -> tuple[str, ...]:
        """The folder, and the files."""
        return tuple(filter(None, (self.path, *(file.path for file in self._files()))))

    def facts(self) -> Facts:
        """Read the headers and the labels. Raises FileFault where the files do not match each other."""
        return _facts(self._files(), self.train, self.test, self.axes)

    def load(self, access: Access) -> Dataset:
        """Read the files. `access` is not used: paths say where they are. Raises DataError for what `facts` does."""
        files = self._files()
        facts, labels = _facts(files, self.train, self.test, self.axes), _labels(files)
        arrays = first_samples(files, facts)
        arrays[1::2] = (labels.classes_of(y) for y in arrays[1::2])
        origin = os.path.abspath(os.path.dirname(files[0].path))
        return four_arrays(self.spec_name, facts, arrays, origin, labels.names)

    def _files(self) -> list[IdxArray]:
        """Return training images and labels, then test images and labels."""
        found = []
        for word, name in _NAMES.items():
            given = getattr(self, word)
            if given is None:
                assert self.path is not None
                found.append(IdxArray(FilePath(find_idx(Path(self.path), name) or Path(self.path) / name), "path"))
            else:
                found.append(IdxArray(given, word))
        return found


def find_idx(folder: Path, name: str, subfolders: Sequence[str] = ("",)) -> Path | None:
    """Return the path of one of the four files in a folder, in any common spelling; plain before gzipped.

    A folder or a broken link of that name is returned only if there is no such file.
    """
    stem, _, kind = name.rpartition("-idx")
    stems = dict.fromkeys([stem, stem.replace("t10k", "test")])
    spellings = [f"{spelt}{sign}idx{kind}" for spelt in stems for sign in "-."]
    paths = [folder / inside / f"{spelt}{gz}" for inside in subfolders for spelt in spellings for gz in ("", ".gz")]
    return next(filter(os.path.isfile, paths), None) or next(filter(os.path.lexists, paths), None)


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
            raise FileFault(f"{file.name} contains single numbers, but must contain samples", argument=file.argument)
        if images.rows != labels.rows or len(labels.shape) != 1:
            what = f"{images.rows:,} samples, and {other.name} {labels.sizes} labels"
            raise FileFault(f"{file.name} holds {what}", argument=other.argument)
        if asked is not None and asked > images.rows:
            message = f"{file.name} holds {images.rows:,} samples, but {asked:,} were requested"
            raise FileFault(message, argument="test" if which else "train")
        if not images.rows:
            raise FileFault(f"{file.name} contains no samples", argument=file.argument)
        counts.append(images.rows if asked is None else asked)
    if heads[0].shape[1:] != heads[2].shape[1:] or heads[0].dtype != heads[2].dtype:
        raise FileFault(
            f"the samples of {files[2].name} differ in shape from {files[0].name}", argument=files[2].argument
        )
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


def first_samples(files: Sequence[IdxArray], facts: Facts) -> list[NDArray[Any]]:
    """Read training images and labels, then test images and labels: the first of each file."""
    arrays = []
    for file, count in zip(files, (facts.train, facts.train, facts.test, facts.test), strict=True):
        rows = np.arange(file.header().rows)
        images = file in (files[0], files[2])
        how = (facts.stored, facts.arrangement) if images else ()
        arrays.append(file.read(np.where(rows < count, rows, -1), count, *how, labels=not images))
    return arrays


def four_arrays(
    source: str, facts: Facts, arrays: Sequence[NDArray[Any]], origin: str, class_names: Sequence[str] = ()
) -> Dataset:
    """Return the data set of training images and labels, then test images and labels."""
    train_x, train_y, test_x, test_y = arrays
    train, test = (
        Split(train_x.reshape(facts.train, facts.features), train_y),
        Split(test_x.reshape(facts.test, facts.features), test_y),
    )
    return Dataset(
        source=source,
        facts=facts,
        train=train,
        test=test,
        divisor=255.0 if facts.stored == "uint8" else 1.0,
        sha256=digest_of((train.x, train.y, test.x, test.y)),
        origin=origin,
        class_names=tuple(class_names),
    )
