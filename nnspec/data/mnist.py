"""MNIST: 60,000 training and 10,000 test images of handwritten digits, 28 × 28 bytes each (LeCun, Cortes, Burges).

Where the four files are looked for, in this order:

1. the folder named by `--data-dir` (`Access.data_dir`),
2. the folder named by the environment variable NNSPEC_DATA_DIR,
3. the user's cache folder, where fetched files are kept,
4. the mirrors, or those named by NNSPEC_MNIST_MIRRORS (base addresses, separated by spaces), unless offline.

A named folder is the only place that is looked into. If it is not there or lacks a file, that is a slip of whoever
named it and a plain `DataError`: `MNIST(...) or Digits(...)` does not hide a mistyped folder. `DataUnavailable`, which
lets `or` go on, is for no files and no network.

Every file is compared to the end with its known SHA-256 each time it is read, wherever it lies and however few samples
are asked.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from nnspec.data.fetch import cache_folder, fetch_files, parse_mirrors, ways_out
from nnspec.data.idx import IdxFile, read_idx
from nnspec.data.source import Access, DataError, Dataset, DataSource, DataUnavailable, Facts, Split
from nnspec.engine.part import Range

__all__ = ["MNIST", "MNIST_FILES", "MNIST_MIRRORS", "fetch_idx", "load_idx", "named_folder"]

Files = tuple[IdxFile, IdxFile, IdxFile, IdxFile]
"""Training images and labels, then test images and labels."""

MNIST_FILES: Files = (
    IdxFile(
        "train-images-idx3-ubyte",
        (60_000, 28, 28),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    IdxFile(
        "train-labels-idx1-ubyte",
        (60_000,),
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    IdxFile(
        "t10k-images-idx3-ubyte",
        (10_000, 28, 28),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    IdxFile(
        "t10k-labels-idx1-ubyte",
        (10_000,),
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)

MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

# As other tools lay them out: `MNIST/raw` is torchvision's.
_SUBFOLDERS = ("", "mnist", "MNIST", "MNIST/raw")


class MNIST(DataSource):
    """Handwritten digits: 28 × 28 grey values in bytes, ten classes; the first `train` and `test` in file order.

    `load` gives x as bytes `(n, 784)`, row after row of an image, 0 for paper and 255 for ink, and y as bytes `(n,)`.
    """

    spec_name = "MNIST"
    reads_files = True

    def __init__(
        self,
        train: Annotated[int, Range(low=1, high=60_000)] = 60_000,
        test: Annotated[int, Range(low=1, high=10_000)] = 10_000,
    ) -> None:
        self.train = int(train)
        self.test = int(test)

    def facts(self) -> Facts:
        """Shapes and counts: samples of (28, 28), ten classes."""
        return Facts(shape=(28, 28), classes=10, train=self.train, test=self.test)

    def load(self, access: Access) -> Dataset:
        """Read the samples from a named folder or the cache, fetching the files into the cache if need be.

        Raises:
            DataUnavailable: no folder is named, the cache lacks a file, and it cannot be fetched.
            DataError: a named folder lacks a file, or a file is not what it must be.
        """
        return load_idx(MNIST_FILES, self.facts(), access)

    @classmethod
    def fetch(cls, access: Access) -> list[tuple[Path, Literal["already there", "fetched"]]]:
        """See to it that the cache holds all four files, verified; `access.data_dir` plays no part.

        Returns each file's path and whether it was there. A cached file that is unusable is replaced.
        Raises `DataUnavailable` where a file cannot be fetched.
        """
        return fetch_idx(MNIST_FILES, access)


def load_idx(files: Files, facts: Facts, access: Access) -> Dataset:
    """Load the first samples of a data set that lies in four IDX files. For what is raised see `MNIST.load`."""
    import hashlib

    paths, origin, remedy = _locate(files, access)
    counts = (facts.train, facts.train, facts.test, facts.test)
    train_x, train_y, test_x, test_y = (
        read_idx(path, file, first, remedy) for path, file, first in zip(paths, files, counts, strict=True)
    )
    train = Split(train_x.reshape(facts.train, -1), train_y)
    test = Split(test_x.reshape(facts.test, -1), test_y)
    digest = hashlib.sha256()
    for array in (train.x, train.y, test.x, test.y):
        digest.update(array.data)
    return Dataset(
        source=MNIST.spec_name,
        facts=facts,
        train=train,
        test=test,
        divisor=255.0,
        sha256=digest.hexdigest(),
        origin=origin,
    )


def fetch_idx(files: Files, access: Access) -> list[tuple[Path, Literal["already there", "fetched"]]]:
    """Complete the cache of a data set that lies in four IDX files. See `MNIST.fetch`."""
    folder = _cache()
    paths = {file: path for file in files if (path := _find(folder, file)) and _intact(path, file)}
    _fetch_missing([file for file in files if file not in paths], folder, access)
    return [(paths[file], "already there") if file in paths else (folder / file.name, "fetched") for file in files]


def _locate(files: Files, access: Access) -> tuple[list[Path], str, str]:
    """Find or fetch the files: their paths, where they come from, and what to do about one that is unusable."""
    named = named_folder(access)
    if named:
        folder, by = named
        return (
            _all_in(folder, by, files),
            str(folder),
            "put an intact one in its place, or leave the folder out and run `nnspec data fetch MNIST`",
        )
    folder = _cache()
    there = {file: path for file in files if (path := _find(folder, file))}
    given = _fetch_missing([file for file in files if file not in there], folder, access)
    origins = dict.fromkeys([*given.values(), *([str(folder)] if there else [])])
    paths = [there.get(file, folder / file.name) for file in files]
    return paths, " and ".join(origins), "`nnspec data fetch MNIST` replaces it"


def _cache() -> Path:
    return cache_folder("mnist")


def named_folder(access: Access) -> tuple[Path, str] | None:
    """Return the folder that the user named, and by what; None where there is no such folder."""
    if access.data_dir is not None:
        return Path(os.path.expanduser(access.data_dir)), "--data-dir"
    text = os.environ.get("NNSPEC_DATA_DIR")
    return (Path(os.path.expanduser(text)), "NNSPEC_DATA_DIR") if text else None


def _all_in(folder: Path, by: str, files: Files) -> list[Path]:
    """Find every file in a folder that the user named. Raises `DataError`."""
    ways = f"correct {by}, or remove it: `nnspec data fetch MNIST` gets the files"
    if not os.path.isdir(folder):
        what = "is not a folder" if os.path.lexists(folder) else "does not exist"
        raise DataError(f"the data folder {folder} ({by}) {what}; {ways}")
    if not os.access(folder, os.X_OK):
        raise DataError(f"the data folder {folder} ({by}) may not be read; {ways}")
    found = {file: path for file in files if (path := _find(folder, file))}
    missing = [file.name for file in files if file not in found]
    if missing:
        inside = ", ".join(f"`{subfolder}`" for subfolder in _SUBFOLDERS if subfolder)
        raise DataError(
            f"the data folder {folder} ({by}) lacks {', '.join(missing)} "
            f"(looked for with and without `.gz`, in it and in {inside}); {ways}"
        )
    return [found[file] for file in files]


def _find(folder: Path, file: IdxFile) -> Path | None:
    """Return the path of a file in a folder: plain before gzipped, the folder itself before those in it."""
    # `train-images.idx3-ubyte` is how the files are spelt that some archives hold.
    stem, _, kind = file.name.rpartition("-idx")
    spellings = (file.name, f"{stem}.idx{kind}")
    candidates = [
        folder / subfolder / f"{spelling}{suffix}"
        for subfolder in _SUBFOLDERS
        for spelling in spellings
        for suffix in ("", ".gz")
    ]
    # What has the name and is no file, such as a folder or a broken link, is left for reading to complain about.
    return next(filter(os.path.isfile, candidates), None) or next(filter(os.path.lexists, candidates), None)


def _intact(path: Path, file: IdxFile) -> bool:
    try:
        read_idx(path, file, 0, "")
    except DataError:
        return False
    return True


def _fetch_missing(missing: list[IdxFile], folder: Path, access: Access) -> dict[str, str]:
    if not missing:
        return {}
    if access.offline:
        raise DataUnavailable(
            f"MNIST is not in the cache folder {folder}, and `--offline` forbids fetching it\n{ways_out('MNIST')}"
        )
    mirrors = parse_mirrors(os.environ.get("NNSPEC_MNIST_MIRRORS", ""), "NNSPEC_MNIST_MIRRORS") or MNIST_MIRRORS
    return fetch_files(missing, folder, mirrors, source="MNIST", report=access.report)
