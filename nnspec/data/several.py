"""Several arrays of samples as one: the inputs of each sample, side by side in a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from nnspec.data.array_file import Header, MemoryArray, arrange
from nnspec.data.axes import Arrangement
from nnspec.data.npy import NumpyArray
from nnspec.data.source import DataError, Field, FileFault
from nnspec.engine._numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["WHOLE", "SeveralArrays", "check_names", "each_of", "joined_rows"]


WHOLE = "input"
"""What `from(input)` reads: the sample itself."""


@dataclass(frozen=True, eq=False)
class SeveralArrays:
    """Arrays by the names of the inputs that they hold, read as one array `(n, features)`: a row has the numbers of all
    inputs, one after another.
    """

    arrays: tuple[tuple[str, NumpyArray | MemoryArray], ...]

    @property
    def first(self) -> NumpyArray | MemoryArray:
        """The first array."""
        return self.arrays[0][1]

    @property
    def key(self) -> str:
        """The names of all arrays."""
        return ", ".join(array.key for _, array in self.arrays)

    @property
    def argument(self) -> str:
        """The argument of the data source that names them."""
        return self.first.argument

    @property
    def name(self) -> str:
        """The name of the file, or of the first array in memory."""
        return self.first.name

    @property
    def element(self) -> tuple[str, str]:
        """The file, and the names of the arrays."""
        return self.first.element[0], self.key

    @property
    def origin(self) -> str:
        """Its origin, for the record of a run."""
        return self.first.origin

    def changed(self) -> DataError:
        """Return the error for arrays that changed between check and run."""
        return self.first.changed()

    def header(self) -> Header:
        """Return dtype and shape `(n, features)`. Raises FileFault for arrays that cannot be one."""
        heads = [array.header() for _, array in self.arrays]
        for head, (_, array) in zip(heads, self.arrays, strict=True):
            if head.kind not in "biuf":
                raise FileFault(
                    f"`{array.key}` contains text, but samples must be numbers",
                    argument=array.argument,
                    help="number it",
                )
            if head.shape[:1] != heads[0].shape[:1]:
                message = f"`{array.key}` has {head.rows:,} samples, but `{self.first.key}` has {heads[0].rows:,}"
                raise FileFault(message, argument=array.argument)
        bytes_ = [head.dtype.lstrip("<>|=") in ("u1", "b1") for head in heads]
        if any(bytes_) and not all(bytes_):
            mine, others = self.arrays[bytes_.index(True)][1].key, self.arrays[bytes_.index(False)][1].key
            message = f"`{mine}` holds bytes, which are scaled to [0, 1], and `{others}` other numbers"
            raise FileFault(message, argument=self.argument, help=f"save `{mine}` as floats, already scaled")
        dtype = np.result_type(*(np.dtype(head.dtype).newbyteorder("=") for head in heads))
        return Header(dtype.str, (heads[0].rows, sum(prod(head.shape[1:]) for head in heads)))

    def fields(self, ids: int | None, padding: int | None) -> tuple[Field, ...]:
        """Return each input as a range of the row; with `ids`, they are ids, of which there are so many, and rows of
        them are padded with the id `padding`.
        """
        found, start = [], 0
        shape: tuple[int, ...]
        axes: tuple[str, ...]
        for name, array in self.arrays:
            head = array.header()
            stop = start + prod(head.shape[1:])
            if ids is not None and len(head.shape) > 2:
                raise FileFault(
                    f"with `ids`, an input is an id or a row of ids, but `{array.key}` is "
                    f"{'×'.join(map(str, head.shape[1:]))} a sample",
                    argument="ids",
                )
            if ids is not None or len(head.shape) == 1:
                shape = () if ids is not None and head.shape[1:] in ((), (1,)) else head.shape[1:] or (1,)
                axes = ("places",) if ids is not None and shape else ()
            else:
                arrangement, _ = arrange(head, None, f"`{array.key}`", array.argument)
                shape, axes = arrangement.shape, arrangement.axes
            found.append(
                Field(name, start, stop, shape, tokens=ids or 0, axes=axes, padding=padding if shape else None)
            )
            start = stop
        return tuple(found)

    def rows_with(self, value: float) -> NDArray[Any]:
        """Return for each row whether one of its inputs contains `value`, which may be NaN."""
        found: NDArray[Any] = np.logical_or.reduce([array.rows_with(value) for _, array in self.arrays])
        return found

    def read(
        self,
        places: NDArray[Any] | None = None,
        count: int | None = None,
        dtype: str | None = None,
        arrangement: Arrangement | None = None,
        *,
        labels: bool = False,
        can_drop: bool = False,
    ) -> NDArray[Any]:
        """Read all rows, `(count, features)`: as `AnyArray.read`."""
        parts = [array.read(places, count, dtype, labels=labels, can_drop=can_drop) for _, array in self.arrays]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def check_names(names: tuple[str, ...] | None, what: str = "inputs") -> None:
    """Raise ValueError for names of inputs, or of targets, that a model cannot use."""
    for number, name in enumerate(names or ()):
        if not name.isidentifier():
            raise ValueError(f"`{name}` in `{what}` is not a name: use letters, digits and underscores, as in `left`")
        if name == WHOLE and what == "inputs":
            raise ValueError(
                f"`{WHOLE}` in `{what}` is the name of the sample itself, with all its inputs; choose another name"
            )
        if name in (names or ())[:number]:
            raise ValueError(f"`{what}` has `{name}` twice")
    if names is not None and len(names) < 2:
        raise ValueError(f"`{what}` names several {what}; a single one needs no name")


def each_of(x: NumpyArray | MemoryArray | SeveralArrays) -> Iterator[NumpyArray | MemoryArray]:
    """Yield the arrays that samples consist of."""
    if isinstance(x, SeveralArrays):
        yield from (array for _, array in x.arrays)
    else:
        yield x


def joined_rows(inputs: tuple[Field, ...], values: dict[str, Any]) -> NDArray[Any]:
    """Return samples as rows, `(n, features)`, from an array for each input. Raises ValueError if one is missing,
    unknown or of another size.
    """
    names = [field.name for field in inputs]
    for name in values:
        if name not in names:
            raise ValueError(f"there is no input {name!r}; the inputs are {', '.join(names)}")
    for name in names:
        if name not in values:
            raise ValueError(f"the input {name!r} is missing")
    arrays = [np.asarray(values[name]) for name in names]
    rows = len(arrays[0]) if arrays[0].ndim else 0
    for field, array in zip(inputs, arrays, strict=True):
        size = field.stop - field.start
        if not array.ndim or len(array) != rows or array.size != rows * size:
            raise ValueError(
                f"the input {field.name!r} has the shape {array.shape}, but {rows} samples of {size} numbers are needed"
            )
    return np.concatenate([array.reshape(rows, -1) for array in arrays], axis=1)
