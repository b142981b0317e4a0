"""Numbers in files, NPY and IDX alike: a header says dtype and shape, and rows of numbers follow.

Rows are read piece by piece and written where they belong, so that an array is in memory once. No more is read than the
header says, and one byte to see that nothing follows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from nnspec.data.axes import Arrangement, arranged, colours_last
from nnspec.data.source import FileFault, Remark
from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Head", "Unusable", "arrange", "exactly", "find_unusable", "pieces", "refuse_unusable"]

_PIECE = 1 << 20
EXACT = 2**53
"""Whole numbers beyond this are not exact as float64."""


class Head(NamedTuple):
    """What the header of an array says."""

    dtype: str
    """As NumPy writes it: `<f8`, `|u1`, `<U5`."""
    shape: tuple[int, ...]
    fortran: bool = False
    """Whether the first index varies fastest, as in Fortran."""

    @property
    def kind(self) -> str:
        """NumPy's letter for the kind of dtype: b, i, u, f, or U and S for text."""
        return self.dtype.lstrip("<>|=")[0]

    @property
    def itemsize(self) -> int:
        """Bytes an element."""
        count = int(self.dtype.lstrip("<>|=")[1:])
        return 4 * count if self.kind == "U" else count

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return math.prod(self.shape) * self.itemsize


def arrange(samples: Head, axes: Sequence[str] | None, name: str, argument: str) -> tuple[Arrangement, list[Remark]]:
    """Say which axes the samples of a file have, and whether they look like others.

    Raises FileFault where `axes` do not fit, and where samples hold no numbers.
    """
    shape = samples.shape[1:] or (1,)
    if 0 in shape:
        raise FileFault(f"samples of {name} hold no numbers: they are {'×'.join(map(str, shape))}", argument=argument)
    try:
        found = arranged(shape, axes, bytes_=samples.dtype[-2:] == "u1")
    except ShapeError as error:
        raise FileFault(str(error), argument="axes", help=error.help) from None
    if axes is not None or not colours_last(shape):
        return found, []
    first, second, colours = shape
    channels = "channel" if colours == 1 else "channels"
    message = (
        f"samples of {name} are read as images of {first} channels, {second}×{colours}, "
        f"but look like {first}×{second} images of {colours} {channels}"
    )
    help = "set `axes=[rows, columns, channels]`, or `axes=[channels, rows, columns]` if the channels come first"
    return found, [Remark("NN720", message, argument, help)]


def exactly(stream: IO[bytes], count: int, name: str, suffix: str = "") -> bytes:
    """Read so many bytes of a header. Raises FileFault where there are fewer."""
    data = b""
    while len(data) < count and (more := stream.read(count - len(data))):
        data += more
    if len(data) < count:
        raise FileFault(f"{name} {'ends inside its header' if data else 'is empty'}{suffix}")
    return data


def pieces(stream: IO[bytes], head: Head, name: str) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the rows that follow a header, some at a time, in native byte order, with the number of the first of them.

    An array in Fortran's order comes in one piece. Raises FileFault unless exactly the numbers that the header
    promises are there.
    """
    dtype, rows = np.dtype(head.dtype), head.shape[0] if head.shape else 1
    whole = head.fortran and len(head.shape) > 1
    width = math.prod(head.shape[1:])
    step = max(rows, 1) if whole else max(1, _PIECE // max(width * dtype.itemsize, 1))
    done = 0
    for start in range(0, rows, step):
        count = min(step, rows - start)
        piece = np.empty(count * width, dtype)
        if piece.nbytes:
            done += _fill(stream, piece.view(np.uint8).data, f"{name} is not intact: it ends after", done, head)
        shaped = piece.reshape((count, *head.shape[1:]), order="F" if whole else "C")
        yield start, shaped.astype(dtype.newbyteorder("="), copy=False)
    if stream.read(1):
        raise FileFault(f"{name} is not intact: bytes follow its {head.nbytes:,} bytes of numbers")


def _fill(stream: IO[bytes], view: memoryview, lacking: str, done: int, head: Head) -> int:
    """Fill a view from a stream, piece by piece: what a header promises may be far more than there is."""
    at = 0
    while at < len(view):
        count = stream.readinto(view[at : at + _PIECE])  # type: ignore[attr-defined]
        if not count:
            raise FileFault(f"{lacking} {done + at:,} of {head.nbytes:,} bytes of numbers")
        at += count
    return at


@dataclass(frozen=True)
class Unusable:
    """Numbers that nothing can be computed with: NaN and infinity, and whole numbers that no float holds."""

    at: tuple[int, ...]
    """Index of the first."""
    what: str
    """What it is: `NaN`, `inf`, `-inf`, or a whole number."""
    count: int
    """How many there are."""

    def joined(self, later: Unusable | None) -> Unusable:
        """Return these and those of later rows as one."""
        return self if later is None else replace(self, count=self.count + later.count)

    def sentence(self, name: str, key: str, size: int) -> str:
        """Say where the first is and how many there are, counting from 0 as NumPy does."""
        index = ", ".join(map(str, self.at))
        place = f"row {self.at[0]:,}" + (f", column {self.at[1]:,}" if len(self.at) == 2 else "")
        kind = "NaN or infinite" if self.what in ("NaN", "inf", "-inf") else "beyond 2^53"
        many = f"{self.count:,} of {size:,} numbers {'is' if self.count == 1 else 'are'} {kind}"
        where = f"{name}: " if name else ""
        return f"{where}`{key}[{index}]` is {self.what} ({place}, counted from 0); {many}"


def find_unusable(array: NDArray[Any], start: int = 0, rows: NDArray[Any] | None = None) -> Unusable | None:
    """Find NaN and infinity among floats, and whole numbers beyond 2^53, which are not exact as floats.

    `start` is the number of the first row; `rows` says which rows count, by default all. Returns None where all
    numbers can be used.
    """
    if array.dtype.kind == "f":
        bad = ~np.isfinite(array)
    elif array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        bad = array > EXACT if array.dtype.kind == "u" else (array > EXACT) | (array < -EXACT)
    else:
        return None
    if rows is not None:
        bad[~rows] = False
    if not bad.any():
        return None
    at = np.unravel_index(int(np.argmax(bad)), bad.shape)
    value = array[at]
    what = ("NaN" if np.isnan(value) else str(value)) if array.dtype.kind == "f" else f"{int(value):,}"
    return Unusable((int(at[0]) + start, *map(int, at[1:])), what, int(np.count_nonzero(bad)))


def refuse_unusable(
    found: Unusable | None, name: str, key: str, size: int, argument: str = "path", *, can_drop: bool = False
) -> None:
    """Raise FileFault for numbers that nothing can be computed with, with the place of the first and their count.

    `can_drop` says that the source has `missing = drop`.
    """
    if found is None:
        return
    if found.what in ("NaN", "inf", "-inf"):
        help = "replace them, for example with `numpy.nan_to_num`"
        if can_drop and found.what == "NaN":
            help = f"`missing = drop` leaves out samples with NaN; {help}"
    else:
        help = (
            "a float can only store it rounded; if that is good enough, save "
            "the array as floats: `x.astype(numpy.float64)`"
        )
    raise FileFault(found.sentence(name, key, size), argument=argument, help=help)
