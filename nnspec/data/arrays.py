"""Arrays of one's own, from NumPy's files: an `.npz` with all of them, or an `.npy` for each.

Nothing in them is ever unpickled. Only headers are read by `check`: dtype and shape, before any number.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Annotated, Any, NamedTuple

from nnspec.data.files import Seed, Share, digest_of, open_regular, remembered, shares, shown, shuffled, size_in_words
from nnspec.data.source import Access, DataError, Dataset, DataSource, Facts, FileFault, Split
from nnspec.engine._numpy import np
from nnspec.engine.part import Also, FilePath, Positive

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NPY", "NPZ", "read_samples"]

MOST_BYTES = 1 << 30
MOST_LABELS = 1 << 26  # bytes of them, which `check` reads
MOST_CLASSES = 65_536
MOST_MEMBERS = 100
_HEADER = 10_000  # the most bytes that a header of NumPy's may have
_CHUNK = 1 << 18
_TAIL = 1 << 17  # where the list of an archive stands
_NUMBERS = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")
_PAIRS = (("x_train", "y_train", "x_test", "y_test"), ("x", "y"))


class _Head(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    fortran: bool
    size: int
    """Bytes before the numbers."""

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * int(self.dtype[-1])


class _Place(NamedTuple):
    """Where an array lies."""

    path: FilePath
    member: str
    """Its file in the archive; "" for a file of its own."""
    argument: str
    key: str


class _Arrays(DataSource):
    """What both have in common: samples and targets, split or to be split.

    Targets of whole numbers are classes from 0 on, as many as the largest says; all others are a regression.
    Samples are given to the network as they are stored, divided by `divisor`.
    """

    test: float
    seed: int
    shuffle: bool
    divisor: float | None

    def places(self) -> list[_Place]:
        """Return where x and y lie, or x and y for training and x and y for testing."""
        raise NotImplementedError

    def facts(self) -> Facts:
        """What the headers say, and the largest label. Raises FileFault where arrays do not go together."""
        return self._facts(self.places())

    def _facts(self, places: list[_Place]) -> Facts:
        heads = [_ask(place, _header) for place in places]
        for x, y, place in zip(heads[::2], heads[1::2], places[1::2], strict=True):
            count = y.shape[0] if y.shape else 0
            if not x.shape or x.shape[0] != count or not count:
                held = f"{x.shape[0]:,} samples" if x.shape else "a single number"
                message = f"`{place.key}` holds {count:,} targets, and its counterpart {held}"
                raise FileFault(message, argument=place.argument)
        first, targets = heads[0], heads[1]
        labels = targets.dtype[-2] in "iu"
        for head, place, of, other in zip(heads[2:], places[2:], heads, places, strict=False):
            if head.shape[1:] != of.shape[1:] or (head.dtype[-2] in "iu") != (of.dtype[-2] in "iu"):
                message = f"`{place.key}` is {_in_words(head)} a sample, and `{other.key}` {_in_words(of)}"
                raise FileFault(message, argument=place.argument)
        if len(heads) == 2 and first.shape[0] < 2:
            raise FileFault("there is one sample, and 2 are the least", argument=places[0].argument)
        counts = shares(first.shape[0], self.test) if len(heads) == 2 else (first.shape[0], heads[2].shape[0])
        classes = None
        if labels:
            classes = 1 + max(_ask(place, _largest_label) for place in places[1::2])
            if classes < 2:
                raise FileFault("all labels are 0: there is nothing to learn", argument=places[1].argument)
        shape = first.shape[1:] or (1,)
        stored = {"b1": "uint8", "f2": "float32"}.get(first.dtype[-2:], np.dtype(first.dtype[-2:]).name)
        target = () if labels and targets.shape[1:] == (1,) else targets.shape[1:]  # Keras writes labels as (n, 1)
        return Facts(shape, classes, counts[0], counts[1], stored, target)

    def load(self, access: Access) -> Dataset:
        """Read the arrays. `access` is not used: paths say where they are.

        Raises DataError for what `facts` does, for numbers that are infinite or none at all, and where a file is
        written to meanwhile.
        """
        places = self.places()
        facts = self._facts(places)
        arrays = [_ask_afresh(place) for place in places]
        if len(arrays) == 2:
            x, y = arrays
            order = np.arange(len(x))
            if self.shuffle:
                order = shuffled(len(x), self.seed)
            parts = [order[: facts.train], order[facts.train :]]
            arrays = [array[rows] for rows in parts for array in (x, y)]
        for place, array in zip([*places, *places], arrays, strict=False):
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise DataError(f"{shown(place.path)}: {place.key} holds a number that is infinite or none at all")
        train, test = (
            Split(
                np.ascontiguousarray(x.reshape(len(x), -1), dtype=facts.stored),
                np.ascontiguousarray(y.reshape(len(y), *facts.target), dtype=None if facts.classes else np.float64),
            )
            for x, y in (arrays[:2], arrays[2:])
        )
        if [len(train.x), len(test.x), train.x.shape[1]] != [facts.train, facts.test, facts.features]:
            raise DataError(f"{shown(places[0].path)} was written to while it was read; run it again")
        return Dataset(
            source=self.spec_name,
            facts=facts,
            train=train,
            test=test,
            divisor=self.divisor or (255.0 if facts.stored == "uint8" and arrays[0].dtype != bool else 1.0),
            sha256=digest_of((train.x, train.y, test.x, test.y)),
            origin=os.path.abspath(places[0].path),
        )


class NPZ(_Arrays):
    """Arrays in an `.npz` file as `numpy.savez` writes it: `x_train`, `y_train`, `x_test` and `y_test`, as Keras names
    them, or `x` and `y`, of which a random `test` is for testing (by `seed`; unless `shuffle` is false, the last).

    Whole numbers in y are classes from 0 on; other targets are numbers. Bytes stand for 0 to 1, as in an
    image, other numbers for themselves, unless `divisor` says what they are divided by. Up to 1 GiB a file and array;
    nothing is unpickled.
    """

    spec_name = "NPZ"
    also = ("Npz", "Arrays", "numpy", "savez")

    def __init__(
        self,
        path: Annotated[FilePath, Also("file", "filename")],
        *,
        test: Share = 0.2,
        shuffle: bool = True,
        seed: Seed = 0,
        divisor: Annotated[Positive | None, Also("scale")] = None,
    ) -> None:
        self.path = FilePath(path)
        self.test, self.shuffle, self.seed = test, shuffle, seed
        self.divisor = divisor

    def looks_at(self) -> tuple[str, ...]:
        """The archive."""
        return (self.path,)

    def places(self) -> list[_Place]:
        """Find the arrays in the archive."""
        members = _ask(_Place(self.path, "", "path", ""), _members)
        for names in _PAIRS:
            if all(f"{name}.npy" in members for name in names):
                return [_Place(self.path, f"{name}.npy", "path", name) for name in names]
        inside = ", ".join(f"`{name.removesuffix('.npy')}`" for name in members[:8] if name.isprintable())
        message = f"{shown(self.path)} holds neither x_train, y_train, x_test, y_test nor x, y"
        raise FileFault(message, help=f"it holds {inside or 'nothing'}")


class NPY(_Arrays):
    """Arrays in `.npy` files of their own as `numpy.save` writes them: samples `x` and targets `y`, and those for
    testing, or none, and a random `test` of the samples is for testing. All else is as with `NPZ`."""

    spec_name = "NPY"
    also = ("Npy",)

    def __init__(
        self,
        x: Annotated[FilePath, Also("x_train", "path", "inputs")],
        y: Annotated[FilePath, Also("y_train", "targets", "labels")],
        x_test: FilePath | None = None,
        y_test: FilePath | None = None,
        *,
        test: Share = 0.2,
        shuffle: bool = True,
        seed: Seed = 0,
        divisor: Annotated[Positive | None, Also("scale")] = None,
    ) -> None:
        if (x_test is None) != (y_test is None):
            raise ValueError("`x_test` and `y_test` go together")
        self.x, self.y = FilePath(x), FilePath(y)
        self.x_test = None if x_test is None else FilePath(x_test)
        self.y_test = None if y_test is None else FilePath(y_test)
        self.test, self.shuffle, self.seed = test, shuffle, seed
        self.divisor = divisor

    def looks_at(self) -> tuple[str, ...]:
        """The files."""
        return tuple(place.path for place in self.places())

    def places(self) -> list[_Place]:
        """Return the files."""
        named = {"x": self.x, "y": self.y, "x_test": self.x_test, "y_test": self.y_test}
        return [_Place(path, "", word, word) for word, path in named.items() if path is not None]


def read_samples(path: str) -> NDArray[Any]:
    """Read an array of samples: an `.npy` file, or of an `.npz` the array `x`, or `x_test`, or the only one.

    Raises FileFault for what is neither, and for numbers that are infinite or none at all.
    """
    file, _ = open_regular(path, MOST_BYTES)
    file.close()
    place = _Place(FilePath(path), "", "path", shown(path))
    if not path.lower().endswith(".npy"):
        members = _ask(place, _members)
        known = [name for name in ("x.npy", "x_test.npy") if name in members]
        if not known and len(members) != 1:
            inside = ", ".join(f"`{name.removesuffix('.npy')}`" for name in members[:8] if name.isprintable())
            raise FileFault(f"{shown(path)} holds no array `x`", help=f"it holds {inside or 'nothing'}")
        member = (known or members)[0]
        place = _Place(FilePath(path), member, "path", member.removesuffix(".npy"))
    array: NDArray[Any] = _ask_afresh(place)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise FileFault(f"{shown(path)} holds a number that is infinite or none at all")
    return array


def _in_words(head: _Head) -> str:
    kind = "whole numbers" if head.dtype[-2] in "iu" else "numbers"
    return f"{'×'.join(map(str, head.shape[1:])) or 'one of'} {kind}"


def _ask(place: _Place, question: Any) -> Any:
    """Return what a function says of an array; the same as before where its file has not changed."""

    def answer(file: IO[bytes]) -> Any:
        with _opened(file, place) as stream:
            return question(stream, place)

    try:
        return remembered(answer, place.path, MOST_BYTES, question.__name__, place.member)
    except FileFault as fault:
        raise FileFault(fault.message, argument=place.argument, help=fault.help) from None


def _ask_afresh(place: _Place) -> NDArray[Any]:
    file, _ = open_regular(place.path, MOST_BYTES, place.argument)
    with file, _opened(file, place) as stream:
        return _numbers(stream, place, MOST_BYTES)


@contextmanager
def _opened(file: IO[bytes], place: _Place) -> Iterator[IO[bytes]]:
    """Open the array inside a file. What goes wrong inside is a FileFault."""
    import zipfile
    import zlib

    try:
        if not place.member:
            yield file
            return
        with zipfile.ZipFile(file) as archive:
            if archive.getinfo(place.member).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise NotImplementedError("compressed otherwise than by deflate")
            with archive.open(place.member) as stream:
                yield stream
    except FileFault:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, RuntimeError) as error:
        raise FileFault(f"{shown(place.path)} is not an intact .npz file: {error}", argument=place.argument) from None
    except OSError as error:
        reason = error.strerror or error
        raise FileFault(f"{shown(place.path)} cannot be read: {reason}", argument=place.argument) from None


def _members(file: IO[bytes], place: _Place) -> list[str]:
    """List the files in an archive, whose list is looked at before it is read: it may be as long as the archive."""
    import zipfile

    name = shown(place.path)
    end = file.seek(0, os.SEEK_END)
    file.seek(max(end - _TAIL, 0))
    tail = file.read(_TAIL)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + 22:
        raise FileFault(f"{name} is no .npz file", help="`numpy.savez` writes one")
    if int.from_bytes(tail[at + 12 : at + 16], "little") > _TAIL or tail[max(at - 20, 0) : at].startswith(b"PK\6\7"):
        raise FileFault(f"{name} holds too many files: {MOST_MEMBERS} arrays are the most")
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise FileFault(f"{name} is no .npz file: {error}", help="`numpy.savez` writes one") from None
    if len(names) > MOST_MEMBERS:
        raise FileFault(f"{name} holds {len(names):,} arrays, and {MOST_MEMBERS} are the most")
    return names


def _header(stream: IO[bytes], place: _Place) -> _Head:
    """Read dtype and shape. Raises FileFault for what is not NumPy's, for objects, and for what is too large."""
    import ast

    name = f"{shown(place.path)}: {place.key}" if place.member else shown(place.path)
    magic = _exactly(stream, 8, name)
    if magic[:6] != b"\x93NUMPY" or magic[6] not in (1, 2, 3):
        raise FileFault(f"{name} is no array of NumPy's: it begins with {magic.hex(' ')}")
    wide = 2 if magic[6] == 1 else 4
    length = int.from_bytes(_exactly(stream, wide, name), "little")
    if length > _HEADER:
        raise FileFault(f"{name} says that its header has {length:,} bytes, and {_HEADER:,} are the most")
    text = _exactly(stream, length, name)
    try:
        said = ast.literal_eval(text.decode("utf-8" if magic[6] == 3 else "latin-1").strip())
        dtype, fortran, shape = said["descr"], said["fortran_order"], said["shape"]
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError):
        raise FileFault(f"{name} has a header that is not NumPy's") from None
    sound = type(shape) is tuple and all(type(size) is int and 0 <= size < 2**40 for size in shape)
    if type(fortran) is not bool or not sound or len(shape) > 32:
        raise FileFault(f"{name} has a header that is not NumPy's")
    if type(dtype) is not str or not _NUMBERS.fullmatch(dtype):
        what = "objects, which are never unpickled" if dtype == "|O" else "something else than numbers"
        raise FileFault(f"{name} holds {what}", help="save it as integers or floats, such as `x.astype(numpy.float32)`")
    head = _Head(dtype, shape, fortran, 8 + wide + length)
    if head.nbytes > MOST_BYTES:
        sizes = " × ".join(f"{size:,}" for size in shape)
        raise FileFault(f"{name} holds {sizes} numbers; {size_in_words(MOST_BYTES)} are the most")
    return head


def _numbers(stream: IO[bytes], place: _Place, most: int) -> NDArray[Any]:
    """Read an array, and not one byte more than it says it has and one."""
    head = _header(stream, place)
    if head.nbytes > most:
        raise FileFault(f"`{place.key}` holds more than {size_in_words(most)}", argument=place.argument)
    kept = bytearray()
    while chunk := stream.read(min(_CHUNK, head.nbytes + 1 - len(kept))):
        kept += chunk
    if len(kept) != head.nbytes:
        what = "bytes follow its" if len(kept) > head.nbytes else f"it ends after {len(kept):,} of"
        message = f"{shown(place.path)}: `{place.key}` is not intact: {what} {head.nbytes:,} bytes of numbers"
        raise FileFault(message, argument=place.argument)
    dtype = np.dtype(head.dtype)
    array: NDArray[Any] = np.frombuffer(kept, dtype).reshape(head.shape, order="F" if head.fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _largest_label(stream: IO[bytes], place: _Place) -> int:
    labels = _numbers(stream, place, MOST_LABELS)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= MOST_CLASSES:
        bad = low if low < 0 else high
        raise FileFault(
            f"`{place.key}` holds the label {bad:,}: classes go from 0 to {MOST_CLASSES - 1:,}",
            help="for a regression, save the targets as floats",
        )
    return high


def _exactly(stream: IO[bytes], count: int, name: str) -> bytes:
    """Read so many bytes. Raises FileFault where there are fewer."""
    data = b""
    while len(data) < count and (more := stream.read(count - len(data))):
        data += more
    if len(data) < count:
        raise FileFault(f"{name} {'ends inside its header' if data else 'is empty'}")
    return data
