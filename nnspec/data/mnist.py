"""MNIST: 60,000 training and 10,000 test images of handwritten digits, 28 × 28 bytes each (LeCun, Cortes, Burges).

Where the four files are looked for, in this order:

1. the folder named by `--data-dir` (`Access.data_dir`),
2. the folder named by the environment variable NNSPEC_DATA_DIR,
3. the user's cache folder, where fetched files are kept,
4. the mirrors, or those named by NNSPEC_MNIST_MIRRORS (base addresses, separated by spaces), unless offline.

A named folder is the only place that is looked into. If it is not there or lacks a file, that is a slip of whoever
named it and a plain `DataError`: `MNIST(...) or Digits(...)` does not hide a mistyped folder. `DataUnavailable`, which
lets `or` go on, is for no files and no network.

What is read is compared with its known SHA-256 each time, wherever it lies: a file that is fetched, and a file of which
all samples are asked, to the end; else as many blocks of 2,500 images as it takes to get at those that are asked.
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
        2_500,
        (
            "7398375ae2c7f2d61a28a9b6620bf9c459e6085a2ec9832096ece56de2ce1f7e",
            "a954e214d1be988b0059d714c73c322bb45063a382b8039b6eca5790e245d1b0",
            "909954736e4d1c16c094feed36588f94cf009cbca2bf10005a596dc05b59ac6d",
            "7a7156eb6c8a7a2f2dbdb8cdae8d0656f01ca5597dad8dc4b7f5b1bd64508868",
            "e2cf73e41b9eff10003de292e14492ff3a029e3649d470fdeae7d147e1425297",
            "96ac9a8fbb70d1e20024901e412721b0e56f0c9b8e077d3fb27c6ed9fd54d5f8",
            "0737790716e402b0b63032ae7171a5caa117f13596289da97f1e32facd4a3a0a",
            "f7ee973632be1663d5405ef762e3aa4be8736fc08d9545e15c0961db7bd80199",
            "eb27a7a166eaa0063a131b7459ef4308fccb07e56d28c9ddae49370995fd8022",
            "9d3f9afd2d5f6f19c576089d784957eec0dd9b61a228c8b96cd4b1bf7f0295b2",
            "d0027d32d8b63d1f31f5439089b35f9d4f0dd85f68c5ce0ed85b9a0bd240638a",
            "20f7c31a71fa09d43ac9a2b510a02044f64f80faadeabecb6cde01b4c5796e66",
            "2f25fc4c3790a76246bbb96ad382dc9779117692ab1f19da78f46ca32d66f132",
            "47b2fbeecdf0e21ac3aff8e12e8d47088fa3e10cc44b43fb16ae63fb107e2e34",
            "45afc9848890ca60f964187b26b02b0b4cca4c8699d5abbd0d1ecf2c45739a65",
            "ca11df553239fe01e545fbc57124c5695932459ad4df84864703bf7f18c517ef",
            "e4a539c413200b3478d45546568dd9276fba1511987a4e9789e522b9de45b11f",
            "55b0adf6b7203e0c2abb4abf4fa93c3ca98272c4551705813a28cda073728e9c",
            "dfddad3031fc0ce5c72703567a58ddc1e65c415d6ec9501a4e234730cd84bbc0",
            "a5057a7e2bae12886ca5b7a835c4b6cba08db0478c7a446f762cea3e7cd0f25f",
            "526457c68c9cb033d3231ea228a5bac1a132ee799a5526c9c3226c53a2ec3764",
            "c77dda5e52eaac268627c243826172c82f1da5b376797267b74797d27e9d92bf",
            "1ad0bfa68d7e9a164509db68bac26504d60b4f5b66f31703e7b225385fdcdb7f",
            "9bb450b3aebbe0445f0b9a53ec51551a72075cfb557894c284bcd940f41752bd",
        ),
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
        2_500,
        (
            "82d99da57ff8f13c04438ff6c35d74c1979c64114e1c635b4bab01c4a3a691aa",
            "ba7915b8f8804e81e99a74126ce53af7f7402de72281289e9b2eda40d91f12c1",
            "2348d40f315736717fe1eee741b829245cec464849c77065285ebc6b5c29df9d",
            "d649643026de1f1ab5cf0043df0812f4cfaba055e623b03b76f4532f446957bc",
        ),
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

    def beginning(self, samples: int) -> MNIST:
        """Read no more than these."""
        return MNIST(min(self.train, samples), min(self.test, 1))

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
        read_idx(path, file, 0, "", whole=True)
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
