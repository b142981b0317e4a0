"""Data sources: what a spec's `data:` line can name, and the same data as plain arrays for Python.

`load_mnist` and `load_digits` give `(x_train, y_train, x_test, y_test)`: x float64 `(n, features)` in [0, 1], y int64
`(n,)`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nnspec.data.csv_source import CSV
from nnspec.data.digits import Digits
from nnspec.data.given import Given
from nnspec.data.idx_source import IDX
from nnspec.data.images import Images
from nnspec.data.mnist import MNIST, FashionMNIST
from nnspec.data.numpy_source import NPY, NPZ
from nnspec.data.source import Access, DataError, Dataset, DataSource, DataUnavailable, Facts, FileFault, Split
from nnspec.data.synthetic import Adding, BagOfWords, LeastSquares
from nnspec.data.text import Text
from nnspec.data.toy import XOR, Blobs, Circles, Moons, Sine, Spirals
from nnspec.engine._numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]

__all__ = [
    "CSV",
    "IDX",
    "MNIST",
    "NPY",
    "NPZ",
    "XOR",
    "Access",
    "Adding",
    "BagOfWords",
    "Blobs",
    "Circles",
    "DataError",
    "DataSource",
    "DataUnavailable",
    "Dataset",
    "Digits",
    "Facts",
    "FashionMNIST",
    "FileFault",
    "Given",
    "Images",
    "LeastSquares",
    "Moons",
    "Sine",
    "Spirals",
    "Split",
    "Text",
    "load_digits",
    "load_mnist",
]


def load_mnist(
    train_size: int = 2000,
    test_size: int = 500,
    *,
    data_dir: str | Path | None = None,
    offline: bool = False,
) -> Arrays:
    """Load the first samples of MNIST as `(x_train, y_train, x_test, y_test)`, x `(n, 784)` in [0, 1].

    The files are taken from `data_dir`, the folder in NNSPEC_DATA_DIR, or the cache, or are fetched into the cache.
    Nothing else is given in their place.

    Args:
        train_size: 1 to 60,000.
        test_size: 1 to 10,000.
        data_dir: folder with the four files, plain or gzipped.
        offline: forbid the network.

    Raises:
        ValueError: a size that MNIST does not have.
        DataUnavailable: there are no files and they cannot be fetched; `load_digits` needs neither.
        DataError: `data_dir` lacks a file, or a file is corrupt.
    """
    source = MNIST(train=train_size, test=test_size)
    access = Access(data_dir=None if data_dir is None else Path(data_dir), offline=offline)
    try:
        return _arrays(source.load(access))
    except DataUnavailable as error:
        raise DataUnavailable(
            f"{error}\nIn Python, `nnspec.data.load_digits()` needs neither file nor network."
        ) from None


def load_digits(train_size: int = 2000, test_size: int = 500, *, seed: int = 0) -> Arrays:
    """Draw digits as `(x_train, y_train, x_test, y_test)`, without file and network; see `Digits`.

    Raises `ValueError` for a size below 1.
    """
    return _arrays(Digits(train=train_size, test=test_size, seed=seed).load(Access(offline=True)))


def _arrays(data: Dataset) -> Arrays:
    return (
        data.train.x / np.float64(data.divisor),
        data.train.y.astype(np.int64),
        data.test.x / np.float64(data.divisor),
        data.test.y.astype(np.int64),
    )
