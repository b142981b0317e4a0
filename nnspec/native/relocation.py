"""Relocation: recorded instructions moved to other arrays of the same shapes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from nnspec.native.recording import Instruction

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
        self._arrays = [*arrays]
        ranges = [(old, old + 1, new - old) for old, new in addresses]
        for old, new in self._arrays:
            if (old.nbytes, old.dtype, old.strides) != (new.nbytes, new.dtype, new.strides):
                raise ValueError("memory is moved to where other numbers are")
            if old.nbytes:
                ranges.append((old.ctypes.data, old.ctypes.data + old.nbytes, new.ctypes.data - old.ctypes.data))
        self._starts, self._ends, self._shifts = np.array(sorted(ranges), np.int64).reshape(-1, 3).T

    def knows(self, array: NDArray[Any]) -> bool:
        """Whether the memory of an array is mapped."""
        address = array.ctypes.data
        place = int(np.searchsorted(self._starts, address, "right")) - 1
        return place >= 0 and bool(address < self._ends[place])

    def words(self, words: tuple[int, ...]) -> tuple[int, ...]:
        """Return words with their addresses mapped."""
        if not len(self._starts):
            return words
        found = np.array(words, np.int64)
        place = np.searchsorted(self._starts, found, "right") - 1
        within = (place >= 0) & (found < self._ends[place])
        found[within] += self._shifts[place[within]]
        return tuple(found.tolist())

    def instruction(self, each: Instruction) -> Instruction:
        """Return an instruction that works on the mapped memory."""
        parts = tuple(tuple(self.instruction(inner) for inner in part) for part in each.parts)
        return Instruction(each.kernel, self.words(each.words), parts)
