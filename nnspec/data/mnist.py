"""MNIST and Fashion-MNIST: 60,000 training and 10,000 test images, 28 × 28 bytes each, in four IDX files.

The four files of MNIST are looked for in this order:

1. the folder named by `--data-dir` (`Access.data_dir`),
2. the folder named by the environment variable NNSPEC_DATA_DIR,
3. the user's cache folder, where fetched files are kept,
4. the mirrors, or those named by NNSPEC_MNIST_MIRRORS (base addresses, separated by spaces), unless offline.

If a folder is named, only that folder is searched. If it does not exist or lacks a file, this is a mistake in the name
and raises a plain `DataError`, so that `MNIST(...) or Digits(...)` does not hide it. `DataUnavailable`, which makes
`or` try the next source, means that there are neither files nor network access.

Data is compared with its known SHA-256 whenever it is read: downloads, and files of which all samples are requested,
completely; otherwise as many blocks of 2,500 images as contain the requested samples.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from nnspec.data.array_file import Header
from nnspec.data.fetch import cache_folder, fetch_files, parse_mirrors, ways_out
from nnspec.data.idx import IdxArray, IdxFile, read_idx
from nnspec.data.idx_source import find_idx, first_samples, four_arrays
from nnspec.data.mnist_files import MNIST_FILES, MNIST_MIRRORS, Files
from nnspec.data.source import Access, DataError, Dataset, DataSource, DataUnavailable, Facts
from nnspec.engine.part import FilePath, Range

__all__ = ["MNIST", "FashionMNIST", "fetch_idx", "load_idx"]

# As other tools lay them out: `MNIST/raw` is torchvision's.
_SUBFOLDERS = ("", "mnist", "MNIST", "MNIST/raw")
_FASHION = ("fashion-mnist", "fashion_mnist", "FashionMNIST/raw", "FashionMNIST", "fashion", "")


class _MNISTFormat(DataSource):
    """Images of 28 × 28 bytes and ten classes, in four IDX files laid out as MNIST's."""

    reads_files = True

    train: Annotated[int, Range(low=1, high=60_000)] = 60_000
    test: Annotated[int, Range(low=0, high=10_000)] = 10_000

    def facts(self) -> Facts:
        """Shapes and counts: samples of (28, 28), ten classes."""
        return Facts(shape=(28, 28), classes=10, train=self.train, test=self.test)


class MNIST(_MNISTFormat):
    """Handwritten digits: 28 × 28 grey values in bytes, ten classes; the first `train` and `test` in file order.

    `load` gives x as bytes `(n, 784)`, row after row of an image, 0 for paper and 255 for ink, and y as bytes `(n,)`.
    """

    spec_name = "MNIST"

    def beginning(self, samples: int) -> MNIST:
        """Read no more than these."""
        return MNIST(min(self.train, samples), min(self.test, 1))

    def load(self, access: Access) -> Dataset:
        """Read the samples from a named folder or the cache, downloading the files into the cache if necessary.

        Raises:
            DataUnavailable: no folder is named, the cache lacks a file, and it cannot be downloaded.
            DataError: a named folder lacks a file, or a file is not the expected one.
        """
        return load_idx(MNIST_FILES, self.facts(), access)

    @classmethod
    def fetch(cls, access: Access) -> list[tuple[Path, Literal["already there", "fetched"]]]:
        """Download whatever the cache lacks, and verify all four files; `access.data_dir` has no effect.

        Returns each file's path and whether it was already there. An unusable cached file is replaced.
        Raises `DataUnavailable` where a file cannot be downloaded.
        """
        return fetch_idx(MNIST_FILES, access)


class FashionMNIST(_MNISTFormat):
    """Pictures of clothes (Xiao, Rasul, Vollgraf 2017): 28 × 28 grey values in bytes, ten classes, in MNIST's format.

    The first `train` and `test` in file order. The four files are looked for in the folder that `--data-dir` or
    NNSPEC_DATA_DIR names, and in nnspec's cache; they are not downloaded, because their publisher has
    replaced them once, so that no checksum is certain. Headers and lengths are checked, and that they are not MNIST's
    own files.
    """

    spec_name = "FashionMNIST"
    also = ("Fashion", "FashionMnist", "fashion_mnist")
    class_names: ClassVar[tuple[str, ...]] = (
        *("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
    )

    def load(self, access: Access) -> Dataset:
        """Read the files from the folder that is named, or from the cache.

        Raises DataUnavailable where no folder is named and the cache lacks a file, DataError where a named folder
        lacks one, or where a file is not the expected one.
        """
        folder, files = self._find(access)
        for file, mnist in zip(files, MNIST_FILES, strict=True):
            if (head := file.header()) != Header("u1", mnist.shape):
                raise DataError(f"{file.path} is not a Fashion-MNIST file: it holds {head.sizes} numbers")
            if len(mnist.shape) > 1 and file.sha256() == mnist.sha256:
                what = "is MNIST's, and not Fashion-MNIST's: put the two into folders of their own"
                raise DataError(f"{file.path} {what}")
        facts = self.facts()
        arrays = first_samples(files, facts)
        return four_arrays(self.spec_name, facts, arrays, os.path.abspath(folder), self.class_names)

    @classmethod
    def fetch(cls, access: Access) -> list[tuple[Path, Literal["already there", "fetched"]]]:
        """Return the files in the cache. Raises DataUnavailable where one is missing: they are not downloaded."""
        return [(Path(file.path), "already there") for file in cls._find(Access())[1]]

    @classmethod
    def _find(cls, access: Access) -> tuple[Path, list[IdxArray]]:
        named = named_folder(access)
        folder, by = named or (cache_folder("fashion-mnist"), "the cache")
        for inside in _FASHION:
            paths = [find_idx(folder / inside, file.name) for file in MNIST_FILES]
            there = [path for path in paths if path is not None]
            if len(there) == len(paths):
                return folder, [IdxArray(FilePath(path), "path") for path in there]
        files = ", ".join(f"{file.name}[.gz]" for file in MNIST_FILES)
        message = (
            f"FashionMNIST is not in the folder {folder} ({by}): {files}. nnspec does not fetch it; its publisher, "
            "github.com/zalandoresearch/fashion-mnist, has the files"
        )
        if named:
            raise DataError(f"{message}; correct {by}, or put them into its subfolder `fashion-mnist`")
        raise DataUnavailable(
            f"{message}. Put them into {folder}, or name a folder with `--data-dir` or NNSPEC_DATA_DIR"
        )


def load_idx(files: Files, facts: Facts, access: Access) -> Dataset:
    """Load the first samples of a data set in four IDX files. Raises what `MNIST.load` raises."""
    named = named_folder(access)
    if named:
        paths, origin = _all_in(*named, files), str(named[0])
        remedy = "put an intact one in its place, or leave the folder out and run `nnspec data fetch MNIST`"
    else:
        paths, given = _cached(files, access)
        kept = [str(_cache())] if len(given) < len(files) else []
        origin, remedy = " and ".join(dict.fromkeys([*given.values(), *kept])), "`nnspec data fetch MNIST` replaces it"
    counts = (facts.train, facts.train, facts.test, facts.test)
    arrays = [read_idx(path, file, first, remedy) for path, file, first in zip(paths, files, counts, strict=True)]
    return four_arrays(MNIST.spec_name, facts, arrays, origin)


def fetch_idx(files: Files, access: Access) -> list[tuple[Path, Literal["already there", "fetched"]]]:
    """Download whatever the cache lacks of a data set in four IDX files. See `MNIST.fetch`."""
    paths, given = _cached(files, access, verify=True)
    return [
        (path, "fetched" if file.name in given else "already there") for path, file in zip(paths, files, strict=True)
    ]


def _cache() -> Path:
    return cache_folder("mnist")


def _cached(files: Files, access: Access, *, verify: bool = False) -> tuple[list[Path], dict[str, str]]:
    """Download the files that the cache lacks, or with `verify` also those that are damaged.

    Returns the path of each, and the mirror of each downloaded file, by name.
    """
    folder = _cache()
    found = {file: path for file in files if (path := find_idx(folder, file.name, _SUBFOLDERS))}
    there = {file: path for file, path in found.items() if not verify or _intact(path, file)}
    missing = [file for file in files if file not in there]
    if missing and access.offline:
        raise DataUnavailable(
            f"MNIST is not in the cache folder {folder}, and downloads are disabled (`offline`)\n{ways_out('MNIST')}"
        )
    given: dict[str, str] = {}
    if missing:
        named = parse_mirrors(os.environ.get("NNSPEC_MNIST_MIRRORS", ""), "NNSPEC_MNIST_MIRRORS")
        given = fetch_files(missing, folder, named or MNIST_MIRRORS, source="MNIST", report=access.report)
    return [there.get(file, folder / file.name) for file in files], given


def _intact(path: Path, file: IdxFile) -> bool:
    try:
        read_idx(path, file, 0, "", whole=True)
    except DataError:
        return False
    return True


def named_folder(access: Access) -> tuple[Path, str] | None:
    """Return the folder that the user named, and the option or variable that names it; None without one."""
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
    found = [find_idx(folder, file.name, _SUBFOLDERS) for file in files]
    missing = [file.name for file, path in zip(files, found, strict=True) if path is None]
    if missing:
        inside = ", ".join(f"`{subfolder}`" for subfolder in _SUBFOLDERS if subfolder)
        raise DataError(
            f"the data folder {folder} ({by}) lacks {', '.join(missing)} "
            f"(looked for with and without `.gz`, in it and in {inside}); {ways}"
        )
    return [path for path in found if path]
