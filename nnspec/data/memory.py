"""Arrays in memory, as a caller passes them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from nnspec.data.array_file import MemoryArray
from nnspec.data.array_source import Pair
from nnspec.data.several import SeveralArrays
from nnspec.data.source import Column, DataError
from nnspec.engine._numpy import np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["GivenData", "as_array", "kind_of", "or_near"]


@dataclass(frozen=True, eq=False)
class GivenData:
    """Arrays from Python, ready to be used as data: `x_train` and `y_train`, and optionally `x_val`, `y_val`, `x_test`
    and `y_test`, and for each of these pairs weights, `w_train`. None of them is a copy, except those made from tables
    and from arrays of objects."""

    arrays: Mapping[str, MemoryArray]
    """Each array, by its role."""
    columns: tuple[Column, ...] = ()
    """The columns of a table that the features come from, in order."""
    target_names: tuple[str, ...] = ()
    """The names of the targets, if they come from a table."""
    notes: tuple[str, ...] = ()
    """Notes on how a table was read."""
    several: Mapping[str, SeveralArrays] = field(default_factory=dict)
    """For samples with several inputs, these, by role."""

    def pair(self, role: str) -> Pair | None:
        """Return samples and targets for `train`, `val` or `test`; None if there are none."""
        if f"y_{role}" not in self.arrays:
            return None
        x = self.several.get(f"x_{role}") or self.arrays[f"x_{role}"]
        return Pair(x, self.arrays[f"y_{role}"], self.arrays.get(f"w_{role}"))


def as_array(key: str, value: Any) -> NDArray[Any]:
    """Return a value as an array of numbers, booleans or text; it is not copied if it is one already.

    Raises DataError for anything else, such as dates, objects and sparse matrices.
    """
    if hasattr(value, "toarray"):
        raise DataError(f"`{key}` is a sparse matrix; pass `{key}.toarray()`")
    if isinstance(value, (str, bytes, os.PathLike)):
        raise DataError(f"`{key}` is {kind_of(value)}, not an array")
    if np.ma.isMaskedArray(value):
        if np.ma.getmaskarray(value).any():
            raise DataError(f"`{key}` has masked values; fill them in: `{key}.filled(…)`")
        value = value.data
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"`{key}` is not an array: {error}") from None
    if array.dtype.kind in "OT":  # T: NumPy's strings of variable width
        array = _of_objects(key, array.astype(object, copy=False))
    kind = array.dtype.kind
    if kind not in "biufUS":
        raise DataError(f"`{key}` holds {array.dtype.name}, not numbers or text")
    if kind == "f" and array.dtype.itemsize > 8:
        raise DataError(f"`{key}` holds {array.dtype.name}; pass `{key}.astype(float)`")
    if not array.ndim:
        raise DataError(f"`{key}` is a single value, not an array")
    return array


def _of_objects(key: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of Python objects as one of text, booleans, whole numbers or floats. Raises DataError."""
    flat = array.reshape(-1).tolist()
    types = {type(item) for item in flat}
    if flat and all(issubclass(each, str) for each in types):
        if any(item.endswith("\0") for item in flat):  # NumPy pads text with NUL, so that two would be the same
            raise DataError(f"`{key}` has text that ends in NUL, which an array of text cannot hold")
        return array.astype(np.str_)
    if flat and types <= {bool, np.bool_}:
        return array.astype(np.bool_)
    if flat and all(issubclass(each, (int, float, np.number)) and each is not bool for each in types):
        numbers = np.array(flat).reshape(array.shape)
        if numbers.dtype == object:
            raise DataError(f"`{key}` holds whole numbers beyond 64 bits; convert them to floats")
        return numbers
    missing = next((item for item in flat if item is None or type(item).__name__ in ("NAType", "NaTType")), flat)
    if missing is not flat:
        raise DataError(f"`{key}` has missing values ({missing}); drop them, or replace them")
    names = sorted(each.__name__ for each in types)
    raise DataError(f"`{key}` holds {' and '.join(names[:4]) or 'nothing'}, which is neither numbers nor text")


def or_near(word: str, known: Iterable[str]) -> str:
    """Return a question about the most similar of the known words, or if none is, a list of them."""
    known = list(known)
    near = get_close_matches(word, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(map(repr, known)) or 'none'}"


def kind_of(value: Any) -> str:
    """Return what a value is, in words: `a tuple of 4`."""
    name = type(value).__name__
    if isinstance(value, (tuple, list)):
        return f"a {name} of {len(value)}"
    return f"{'an' if name.lower().startswith((*'aeiou', 'nd')) else 'a'} {name}"
