"""Arrays of samples and targets, read in pieces, from files (NPY and IDX) or from memory.

`check` reads the header and labels of an array, and `load` its rows. Rows are read in pieces and written directly to
their destination, so there is only one copy of an array in memory. A file has a header with dtype and shape, followed
by the numbers. Only as many bytes are read as the header specifies, and one more to verify that nothing follows.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from nnspec.data.axes import Arrangement, arranged, colours_last
from nnspec.data.files import changed, open_file, remembered, shown, size_in_words
from nnspec.data.labels import MOST_LABELS, MOST_LEVELS, count_labels
from nnspec.data.source import DataError, FileFault, Remark
from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.engine.part import FilePath

__all__ = [
    "MOST_BYTES",
    "AnyArray",
    "ArrayFile",
    "FileRows",
    "Header",
    "Levels",
    "MemoryArray",
    "OutOfRange",
    "arrange",
    "exactly",
    "find_unusable",
    "refuse_unusable",
]

MOST_BYTES = 1 << 30
"""Maximum size of files and arrays."""
_PIECE = 1 << 20
EXACT = 2**53
"""Larger integers are not exact as float64."""

T = TypeVar("T")


class Header(NamedTuple):
    """The header of an array: dtype, shape and order."""

    dtype: str
    """In NumPy's notation: `<f8`, `|u1`, `<U5`."""
    shape: tuple[int, ...]
    fortran: bool = False
    """Whether the first index varies fastest, as in Fortran."""

    @property
    def kind(self) -> str:
        """NumPy's code for the kind of dtype: b, i, u, f, or U and S for text."""
        return self.dtype.lstrip("<>|=")[0]

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        count = int(self.dtype.lstrip("<>|=")[1:])
        return 4 * count if self.kind == "U" else count

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return math.prod(self.shape) * self.itemsize

    @property
    def rows(self) -> int:
        """Number of rows; 1 for a scalar."""
        return self.shape[0] if self.shape else 1

    @property
    def sizes(self) -> str:
        """The shape in messages: `60,000 × 28 × 28`."""
        return " × ".join(f"{size:,}" for size in self.shape)


class Rows(Protocol):
    """The rows of an array in pieces, in native byte order, each with the index of its first row."""

    @property
    def header(self) -> Header:
        """Dtype and shape of the array."""

    def __iter__(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Raises FileFault if the array does not match its header."""


class Levels(NamedTuple):
    """Numeric targets seen as possible classes."""

    values: frozenset[int] | None
    """The distinct numbers; None if some are not whole or there are too many."""
    one_hot: bool
    """Whether each row is one-hot: a single 1, otherwise 0."""


class OutOfRange(NamedTuple):
    """Numbers of an array that are not ids."""

    at: tuple[int, ...]
    """Index of the first one."""
    value: float
    """The first one."""
    number: int
    """How many there are."""
    largest: float
    """The largest number of the array."""
    only_large: bool
    """Whether all numbers are whole and at least 0."""

    def fault(self, name: str, key: str, size: int, ids: int, argument: str) -> FileFault:
        """Return the error with the position of the first one, counted from 0 as NumPy does."""
        index = ", ".join(map(str, self.at))
        place = f"row {self.at[0]:,}" + (f", column {self.at[1]:,}" if len(self.at) == 2 else "")
        where = f"{name}: " if name else ""
        value = (
            f"{int(self.value):,}" if math.isfinite(self.value) and self.value == int(self.value) else f"{self.value}"
        )
        many = f"{self.number:,} of {size:,} numbers {'is' if self.number == 1 else 'are'} out of range"
        message = (
            f"{where}`{key}[{index}]` is {value} ({place}, counted from 0), but {ids:,} ids are whole numbers "
            f"from 0 to {ids - 1:,}; {many}"
        )
        help = "number them from 0, for example with `numpy.unique(x, return_inverse=True)[1]`"
        if self.only_large and self.largest < EXACT:
            help = f"`ids={int(self.largest) + 1:_}` includes all of them"
        return FileFault(message, argument=argument, help=help)


@dataclass(frozen=True)
class FileRows:
    """The rows of an array in a file: its header, and a stream of the numbers after it."""

    name: str
    """Its name in messages."""
    header: Header
    stream: IO[bytes]

    def __iter__(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the rows in pieces, in native byte order, each with the index of its first row.

        An array in Fortran order is a single piece. Raises FileFault if there are more or fewer numbers than the header
        specifies.
        """
        head = self.header
        dtype = np.dtype(head.dtype)
        whole = head.fortran and len(head.shape) > 1
        width = math.prod(head.shape[1:])
        step = max(head.rows, 1) if whole else max(1, _PIECE // max(width * dtype.itemsize, 1))
        done = 0
        for start in range(0, head.rows, step):
            count = min(step, head.rows - start)
            piece = np.empty(count * width, dtype)
            if piece.nbytes:
                self._fill(piece.view(np.uint8).data, done)
                done += piece.nbytes
            shaped = piece.reshape((count, *head.shape[1:]), order="F" if whole else "C")
            yield start, shaped.astype(dtype.newbyteorder("="), copy=False)
        if self.stream.read(1):
            raise FileFault(f"{self.name} is not intact: bytes follow its {head.nbytes:,} bytes of numbers")

    def _fill(self, view: memoryview, done: int) -> None:
        """Fill a view from the stream in pieces, since a header may specify far more than there is."""
        at = 0
        while at < len(view):
            count = self.stream.readinto(view[at : at + _PIECE])  # type: ignore[attr-defined]
            if not count:
                ends = f"it ends after {done + at:,} of {self.header.nbytes:,} bytes of numbers"
                raise FileFault(f"{self.name} is not intact: {ends}")
            at += count


@dataclass(frozen=True)
class MemoryRows:
    """The rows of an array in memory."""

    name: str
    header: Header
    array: NDArray[Any]

    def __iter__(self) -> Iterator[tuple[int, NDArray[Any]]]:
        array = self.array
        native = array.dtype.newbyteorder("=")
        step = max(1, _PIECE // max(array[:1].nbytes, 1))
        for start in range(0, len(array), step):
            yield start, array[start : start + step].astype(native, copy=False)


class AnyArray(ABC):
    """An array that is read in pieces, from a file or from memory.

    Methods raise FileFault for an array that cannot be read or used, with the argument that names it.
    """

    argument: str
    """The argument of the data source that names it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Its full name in messages."""

    @property
    @abstractmethod
    def title(self) -> str:
        """Its short name in messages about labels, which show the file elsewhere."""

    @property
    @abstractmethod
    def element(self) -> tuple[str, str]:
        """The file and the array in messages about one of its numbers: `data.npz` and `x`, as in `x[0, 1]`."""

    @property
    @abstractmethod
    def origin(self) -> str:
        """Its origin, for the record of a run."""

    @property
    def in_memory(self) -> NDArray[Any] | None:
        """The array itself, if it is in memory."""
        return None

    @abstractmethod
    def changed(self) -> DataError:
        """Return the error for an array that changed between check and run."""

    @abstractmethod
    def _ask(self, question: Callable[[Rows], T], *key: str) -> T:
        """Apply a function to the rows; the result may be cached by function and `key`."""

    @abstractmethod
    def _ask_now(self, question: Callable[[Rows], T]) -> T:
        """Apply a function to the rows, without the cache."""

    def header(self) -> Header:
        """Return the header."""
        return self._ask(_header_of)

    def label_counts(self, keep: NDArray[Any] | None = None) -> dict[Any, int]:
        """Count each distinct label, of all rows or those to keep. Raises FileFault for more than MOST_LABELS bytes."""

        def count(rows: Rows) -> dict[Any, int]:
            if rows.header.nbytes > MOST_LABELS:
                raise FileFault(f"{self.title} holds more than {size_in_words(MOST_LABELS)} of labels")
            counts: dict[Any, int] = {}
            for start, piece in rows:
                count_labels(counts, _kept(piece, start, keep), self.title, self.argument)
            return counts

        return self._ask(count) if keep is None else self._ask_now(count)

    def levels(self, keep: NDArray[Any] | None = None) -> Levels:
        """Return the distinct numbers of all rows, or those to keep, if they are whole and few."""

        def distinct(rows: Rows) -> Levels:
            shape = rows.header.shape
            levels: set[int] | None = set()
            one_hot = len(shape) == 2 and shape[1] > 1
            if rows.header.nbytes > MOST_LABELS:
                return Levels(None, False)
            for start, piece in rows:
                used = _kept(piece, start, keep)
                if levels is None or not np.isfinite(used).all():
                    return Levels(None, False)
                values = np.unique(used)
                whole = len(values) <= MOST_LEVELS and bool((values == np.floor(values)).all())
                levels = levels | set(map(int, values.tolist())) if whole else None
                levels = levels if levels is None or len(levels) <= MOST_LEVELS else None
                one_hot = one_hot and levels is not None and levels <= {0, 1} and bool((used.sum(axis=1) == 1).all())
            return Levels(None if levels is None else frozenset(levels), one_hot)

        return self._ask(distinct) if keep is None else self._ask_now(distinct)

    def rows_with(self, value: float) -> NDArray[Any]:
        """Return for each row whether it contains `value`, which may be NaN."""

        def search(rows: Rows) -> NDArray[Any]:
            found = np.zeros(rows.header.rows, bool)
            if math.isnan(value) and rows.header.kind != "f":
                return found
            for start, piece in rows:
                there = np.isnan(piece) if math.isnan(value) else piece == value
                found[start : start + len(piece)] = there.reshape(len(piece), -1).any(axis=1)
            return found

        return self._ask(search, str(value))

    def out_of_range(self, ids: int, keep: NDArray[Any] | None = None) -> OutOfRange | None:
        """Return the numbers that are not whole numbers from 0 to `ids` - 1, in all rows or those to keep."""

        def search(rows: Rows) -> OutOfRange | None:
            first: tuple[tuple[int, ...], float] | None = None
            count, largest, only_large = 0, 0.0, True
            for start, piece in rows:
                with np.errstate(invalid="ignore"):
                    whole = piece == np.floor(piece) if piece.dtype.kind == "f" else np.ones(piece.shape, bool)
                    bad = ~whole | (piece < 0) | (piece >= ids)
                    if keep is not None:
                        bad &= keep[start : start + len(piece)].reshape(-1, *(1,) * (piece.ndim - 1))
                    if not bad.any():
                        continue
                    count += int(np.count_nonzero(bad))
                    largest = max(largest, float(piece[bad].max()))
                    only_large = only_large and bool((whole & (piece >= 0))[bad].all())
                if first is None:
                    row, *others = map(int, np.unravel_index(int(np.argmax(bad)), bad.shape))
                    first = (start + row, *others), float(piece[(row, *others)])
            return None if first is None else OutOfRange(*first, count, largest, only_large)

        return self._ask(search, str(ids)) if keep is None else self._ask_now(search)

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
        """Read all rows `(count, *shape)`. Row i becomes row places[i] of `count`, and is skipped if places[i] < 0.

        If the data source has `missing = drop` (`can_drop`), messages suggest it. Raises FileFault for numbers that
        cannot be used, except for labels, which are only compared; DataError if the rows do not match the header.
        """

        def gather(rows: Rows) -> NDArray[Any]:
            head = rows.header
            size = head.rows if count is None else count
            if head.rows != (size if places is None else len(places)):
                raise self.changed()
            stored = np.dtype(head.dtype).newbyteorder("=") if dtype is None else np.dtype(dtype)
            if arrangement is not None and arrangement.stored_shape != (head.shape[1:] or (1,)):
                raise self.changed()
            own, copied = self.in_memory, None
            if own is None or places is not None or own.dtype != stored or (arrangement and arrangement.stored):
                copied = np.empty((size, *(arrangement.shape if arrangement else head.shape[1:])), stored)
            whole = np.ascontiguousarray(own) if copied is None else copied
            if copied is not None and arrangement is not None:  # rows are written in another order of axes
                copied = arrangement.as_stored(copied).reshape(size, *head.shape[1:])
            unusable: Unusable | None = None
            for start, piece in rows:
                to = None if places is None else places[start : start + len(piece)]
                keep = None if to is None or (to >= 0).all() else to >= 0
                bad = None if labels else find_unusable(piece, start, keep)
                unusable = unusable.joined(bad) if unusable else bad
                if copied is not None:
                    rows_there = slice(start, start + len(piece)) if to is None else to[to >= 0]
                    copied[rows_there] = piece if keep is None else piece[keep]
            refuse_unusable(unusable, *self.element, math.prod(head.shape), self.argument, can_drop=can_drop)
            return whole

        return self._ask_now(gather)


@dataclass(frozen=True)
class ArrayFile(AnyArray):
    """An array in a file. Subclasses implement a format: how to unpack the file and read its header.

    Results are cached as long as the file does not change.
    """

    path: FilePath
    argument: str

    @property
    def name(self) -> str:
        """The path."""
        return shown(self.path)

    @property
    def title(self) -> str:
        """The path."""
        return self.name

    @property
    def origin(self) -> str:
        """The absolute path."""
        return os.path.abspath(self.path)

    def changed(self) -> DataError:
        """Return the error for a file that changed between check and run."""
        return changed(self.path)

    @abstractmethod
    def unpacked(self, file: IO[bytes]) -> AbstractContextManager[IO[bytes]]:
        """Open the array in a file. In this context, exceptions caused by damage to the file become a FileFault."""

    @abstractmethod
    def read_header(self, stream: IO[bytes]) -> Header:
        """Read the header. Raises FileFault if it is invalid, and for an array of more than MOST_BYTES."""

    def _ask(self, question: Callable[[Rows], T], *key: str) -> T:
        """Apply a function to the rows, or return the cached result if the file has not changed."""

        def answer(file: IO[bytes]) -> T:
            return self._answer(file, question)

        named = (question.__qualname__, *self.element, *key)
        return remembered(answer, self.path, MOST_BYTES, *named, argument=self.argument)

    def _ask_now(self, question: Callable[[Rows], T]) -> T:
        """Apply a function to the rows."""
        with open_file(self.path, MOST_BYTES, self.argument) as file:
            return self._answer(file, question)

    def _answer(self, file: IO[bytes], question: Callable[[Rows], T]) -> T:
        with blaming(self.argument), self.unpacked(file) as stream:
            return question(FileRows(self.name, self.read_header(stream), stream))


@dataclass(frozen=True, eq=False)
class MemoryArray(AnyArray):
    """An array in memory."""

    key: str
    array: NDArray[Any]
    argument: str = ""

    @property
    def name(self) -> str:
        """Its key in backticks."""
        return f"`{self.key}`"

    @property
    def title(self) -> str:
        """Its key in backticks."""
        return self.name

    @property
    def element(self) -> tuple[str, str]:
        """An empty file name, and the key."""
        return "", self.key

    @property
    def origin(self) -> str:
        """`memory`."""
        return "memory"

    @property
    def in_memory(self) -> NDArray[Any]:
        """The array."""
        return self.array

    def changed(self) -> DataError:
        """Return the error for an array that changed between check and run."""
        return DataError(f"`{self.key}` changed while it was read; run it again")

    def _ask(self, question: Callable[[Rows], T], *key: str) -> T:
        return self._ask_now(question)

    def _ask_now(self, question: Callable[[Rows], T]) -> T:
        with blaming(self.argument):
            return question(MemoryRows(self.name, Header(self.array.dtype.str, self.array.shape), self.array))


@contextmanager
def blaming(argument: str) -> Iterator[None]:
    """Attribute any FileFault in this context to an argument."""
    try:
        yield
    except FileFault as fault:
        raise fault.of(argument) from None


def _header_of(rows: Rows) -> Header:
    return rows.header


def _kept(piece: NDArray[Any], start: int, keep: NDArray[Any] | None) -> NDArray[Any]:
    """Return the rows of a piece that are kept; `keep` covers all rows."""
    return piece if keep is None else piece[keep[start : start + len(piece)]]


def arrange(samples: Header, axes: Sequence[str] | None, name: str, argument: str) -> tuple[Arrangement, list[Remark]]:
    """Return the axes of the samples in a file, with a remark if they look like other axes.

    Raises FileFault if `axes` do not fit, or if samples are empty.
    """
    shape = samples.shape[1:] or (1,)
    if 0 in shape:
        raise FileFault(
            f"samples of {name} contain no numbers: their shape is {'×'.join(map(str, shape))}", argument=argument
        )
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


def exactly(stream: IO[bytes], count: int, name: str) -> bytes:
    """Read `count` bytes of a header; a stream may return fewer at a time. Raises FileFault if it ends earlier."""
    data = b""
    while len(data) < count and (more := stream.read(count - len(data))):
        data += more
    if len(data) < count:
        raise FileFault(f"{name} {'ends inside its header' if data else 'is empty'}")
    return data


@dataclass(frozen=True)
class Unusable:
    """Unusable numbers: NaN, infinity, and integers that are not exact as floats."""

    at: tuple[int, ...]
    """Index of the first one."""
    what: str
    """The first one: `NaN`, `inf`, `-inf`, or an integer."""
    count: int
    """Number of unusable numbers."""

    def joined(self, later: Unusable | None) -> Unusable:
        """Combine these with those of later rows."""
        return self if later is None else replace(self, count=self.count + later.count)

    def sentence(self, name: str, key: str, size: int) -> str:
        """Return the position of the first one and their number, counting from 0 as NumPy does."""
        index = ", ".join(map(str, self.at))
        place = f"row {self.at[0]:,}" + (f", column {self.at[1]:,}" if len(self.at) == 2 else "")
        kind = "NaN or infinite" if self.what in ("NaN", "inf", "-inf") else "beyond 2^53"
        many = f"{self.count:,} of {size:,} numbers {'is' if self.count == 1 else 'are'} {kind}"
        where = f"{name}: " if name else ""
        return f"{where}`{key}[{index}]` is {self.what} ({place}, counted from 0); {many}"


def find_unusable(array: NDArray[Any], start: int = 0, rows: NDArray[Any] | None = None) -> Unusable | None:
    """Find NaN and infinity among floats, and integers beyond 2^53, which are not exact as floats.

    `start` is the index of the first row; `rows` selects the rows that count, by default all. Returns None if all
    numbers are usable.
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
    """Raise FileFault for unusable numbers, with the position of the first one and their number.

    `can_drop` says whether the source has `missing = drop`.
    """
    if found is None:
        return
    if found.what in ("NaN", "inf", "-inf"):
        help = "replace them, for example with `numpy.nan_to_num`"
        if can_drop and found.what == "NaN":
            help = f"`missing = drop` drops samples with NaN; {help}"
    else:
        help = (
            "a float can only store it rounded; if that is precise enough, save "
            "the array as floats: `x.astype(numpy.float64)`"
        )
    raise FileFault(found.sentence(name, key, size), argument=argument, help=help)
