"""Relocation: tapes moved to other arrays of the same shapes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Relocation", "root"]


def root(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array that owns the memory of a view."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class Relocation:
    """A mapping of memory: pairs of arrays, and pairs of addresses such as that of a generator's state.

    A word that lies in mapped memory is an address: words that are plain numbers are far smaller.
    """

    def __init__(
        self, arrays: Iterable[tuple[NDArray[Any], NDArray[Any]]], addresses: Iterable[tuple[int, int]] = ()
    ) -> None:
        """Raises ValueError for arrays of different sizes."""
        self.arrays = [*arrays]
        ranges = [(old, old + 1, new - old) for old, new in addresses]
        for old, new in self.arrays:
            if (old.nbytes, old.dtype, old.strides) != (new.nbytes, new.dtype, new.strides):
                raise ValueError("memory is moved to where other numbers are")
            if old.nbytes:
                start = old.ctypes.data
                ranges.append((start, start + old.nbytes, new.ctypes.data - start))
        self._starts, self._ends, self._shifts = np.array(sorted(ranges), np.int64).reshape(-1, 3).T

    def knows(self, words: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return for each word whether it is an address in mapped memory."""
        return self._find(words)[0]

    def words(self, words: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return words with their addresses mapped."""
        known, place = self._find(words)
        return np.where(known, words + self._shifts[place], words)

    def _find(self, words: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        place = np.maximum(np.searchsorted(self._starts, words, "right") - 1, 0)
        return (words >= self._starts[place]) & (words < self._ends[place]), place
