"""Samples to predict: images, tables and arrays, converted to the form of the training data.

Every file is of unknown origin: it is read within the limits of the data sources, and nothing is unpickled.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

from nnspec.data.array_file import find_unusable, refuse_unusable
from nnspec.data.axes import Arrangement
from nnspec.data.csv_cells import Form, in_words
from nnspec.data.csv_file import MOST_BYTES, CsvFile
from nnspec.data.files import decoded, open_file, shown
from nnspec.data.images import image_files, is_image, read_image
from nnspec.data.numpy_source import read_samples
from nnspec.data.several import joined_rows
from nnspec.data.source import Column, Field, FileFault
from nnspec.data.vocabulary import lines_of
from nnspec.data.windows import Windows
from nnspec.engine._numpy import np
from nnspec.engine.part import FilePath

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Inputs", "Wanted", "array_inputs", "read_inputs", "read_table", "several_inputs", "table_inputs"]

MOST_NUMBERS = 1 << 27
LARGEST = 3e38
_NOTES = 4
"""The most notes on single images of a folder."""


@dataclass(frozen=True)
class Wanted:
    """The form that samples had in training."""

    shape: tuple[int, ...]
    divisor: float = 1.0
    """What stored numbers are divided by: 255 for bytes of images."""
    columns: tuple[Column, ...] = ()
    """Of a table, the columns that the features come from."""
    target_names: tuple[str, ...] = ()
    tokens: int = 0
    """How many distinct ids samples are made of; 0 where samples are quantities."""
    form: Form = field(default_factory=Form)
    """How the table of the training data is written."""
    border: float | None = None
    """Mean brightness of the outermost pixels of the training images, from 0 to 1."""
    ranges: tuple[tuple[float, float], ...] = ()
    """The smallest and the largest training value: of each feature of a table, else of all together."""
    arrangement: Arrangement | None = None
    """How arrays hold samples, where that is another order of axes than `shape`'s."""
    inputs: tuple[Field, ...] = ()
    """The inputs by name, where a sample has several."""
    windows: Windows | None = None
    """How samples are cut from the rows of a time series."""

    @property
    def row(self) -> int:
        """How many numbers a row of a table has."""
        return prod(self.shape) if self.windows is None else self.shape[-1]

    @property
    def is_image(self) -> bool:
        """Whether a sample is an image: grey `(height, width)`, or `(1 or 3, height, width)`."""
        return self.divisor == 255 and (len(self.shape) == 2 or (len(self.shape) == 3 and self.shape[0] in (1, 3)))

    @property
    def words(self) -> str:
        """`28×28`."""
        return "×".join(map(str, self.shape))


@dataclass(frozen=True)
class Inputs:
    """Samples `(n, features)` as they are stored, their names, and notes on what was done to them."""

    x: NDArray[Any]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_inputs(path: str, wanted: Wanted, *, invert: bool = False) -> Inputs:
    """Read the samples of a file: an image is one; a table (CSV, TSV) has one a row, an array one a first index. Of a
    folder, all images in it and in its sub-folders are samples.

    `invert` swaps dark and bright in images. Raises FileFault for a file that cannot be read or does not fit.
    """
    if not os.path.exists(path):
        raise FileFault(f"file not found: {shown(path)}")
    lower = path.lower()
    if os.path.isdir(path):
        return _folder(path, wanted, invert)
    if is_image(path):
        return _image(path, wanted, invert)
    if lower.endswith(".npz") and wanted.inputs:
        parts = {each.name: read_samples(path, (each.name,)) for each in wanted.inputs}
        found = _fit(_of_array(several_inputs(parts, wanted), path, wanted), path, wanted)
    elif lower.endswith((".npz", ".npy")):
        found = _fit(_of_array(read_samples(path), path, wanted), path, wanted)
    elif lower.endswith(".txt") and len(wanted.columns) == 1 and wanted.columns[0].words:
        found = _lines(path, wanted.columns[0])
    elif lower.endswith((".csv", ".tsv", ".tab", ".txt", ".data")):
        found = _windowed(_fit(_table(path, wanted), path, wanted), path, wanted)
    else:
        raise FileFault(
            f"the format of {shown(path)} is unknown",
            help="samples are read from images (.png, .jpg …), .csv, .tsv, .txt, .npz and .npy files",
        )
    if invert:
        if not wanted.is_image:
            raise FileFault(f"--invert is for images, and these samples are {wanted.words} numbers")
        return Inputs(wanted.divisor - found.x, found.names, found.notes)
    return found


def array_inputs(x: Any, wanted: Wanted) -> Inputs:
    """Take numbers from Python: `(n, features)`, `(n, *shape)`, or one sample. Raises FileFault for any others."""
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        raise FileFault(f"samples must be numbers, but this array contains {array.dtype}")
    refuse_unusable(find_unusable(array), "", "x", array.size)
    return _fit(_of_array(array, "the array", wanted), "the array", wanted)


def several_inputs(values: Mapping[str, Any], wanted: Wanted) -> NDArray[Any]:
    """Return samples with several inputs as rows, from an array for each. Raises FileFault for what does not fit."""
    try:
        return joined_rows(wanted.inputs, dict(values))
    except ValueError as error:
        raise FileFault(str(error)) from None


def table_inputs(table: Any, wanted: Wanted) -> Inputs:
    """Take a table from Python, a DataFrame or a mapping from columns to their values, as that of a file. A value that
    is None or NaN is missing. Raises FileFault for what does not fit."""
    header = [str(name) for name in getattr(table, "columns", table)]
    repeated = next((name for name in header if header.count(name) > 1), None)
    if repeated is not None:
        raise FileFault(f"the table has several columns `{repeated}`")
    texts = {column.name for column in wanted.columns if column.texts is not None}
    columns = []
    for name in getattr(table, "columns", table):
        values = table[name]
        if isinstance(values, str) or not hasattr(values, "__len__") or getattr(values, "ndim", 1) != 1:
            raise FileFault(f"column `{name}` of the table must be a list of values")
        columns.append([_cell(value, str(name) in texts) for value in values])
    if len({len(column) for column in columns}) > 1:
        raise FileFault("the columns of the table have different lengths")
    body = [(row, list(cells)) for row, cells in enumerate(zip(*columns, strict=True))]
    if not body:
        raise FileFault("the table has no rows")
    names = tuple(f"row {row}" for row, _ in body)
    make = _features if wanted.columns else _numbers
    plain = Form(missing_words=wanted.form.missing_words)  # numbers of Python have a point
    notes = _filled(header, body, wanted, plain)
    rows = _fit(Inputs(make("the table", header, body, wanted, plain), names, notes), "the table", wanted)
    return _windowed(rows, "the table", wanted)


def _cell(value: Any, text: bool) -> str:
    """Return a value as a cell of a file holds it. In a column of numbers, a boolean is 0 or 1."""
    if value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) or (not text and isinstance(value, (bool, np.bool_))):
        return repr(float(value))
    return str(value)


def _fit(found: Inputs, name: str, wanted: Wanted) -> Inputs:
    """Compare numbers with the training data. Raises FileFault for those that the network cannot take."""
    x, name = found.x, shown(name)
    if not x.size:
        raise FileFault(f"{name} has no samples")
    low, high = float(x.min()), float(x.max())
    if max(-low, high) > LARGEST:
        raise FileFault(f"{name} contains {low if -low > high else high:g}: the limit is {LARGEST:g}")
    if wanted.tokens and x.dtype.kind == "f" and not (x == np.floor(x)).all():
        raise FileFault(f"{name} contains numbers that are not whole, but the network expects token ids")
    if wanted.tokens and not (low >= 0 and high < wanted.tokens):
        raise FileFault(f"{name} contains ids {low:g} to {high:g}, but the network knows only 0 to {wanted.tokens - 1}")
    return Inputs(x, found.names, (*found.notes, *(f"{name} {text}" for text in _unlike(x, wanted))))


def _windowed(rows: Inputs, name: str, wanted: Wanted) -> Inputs:
    """Cut rows of a time series into windows, one up to each row, named by the row that they predict. Raises FileFault
    for too few rows, and for too many windows."""
    windows = wanted.windows
    if windows is None:
        return rows
    count = len(rows.x) - windows.reach + 1
    if count < 1:
        message = f"{shown(name)} has {len(rows.x):,} row{'s' * (len(rows.x) != 1)}"
        raise FileFault(f"{message}, and the network predicts from the last {windows.reach:,}")
    if count * prod(wanted.shape) > MOST_NUMBERS:
        raise FileFault(f"the windows of {shown(name)} have more than {MOST_NUMBERS:,} numbers")
    return Inputs(windows.latest(rows.x), tuple(windows.rows_of(rows.names)), rows.notes)


def _unlike(x: NDArray[Any], wanted: Wanted) -> Iterator[str]:
    """Yield how the range of the numbers differs from that of the training data.

    A number is out of range if its distance to the range exceeds the width of the range. A new sample may well be a
    little larger than all samples before, but numbers in another unit, such as bytes for fractions, are far outside.
    """
    ranges = wanted.ranges or (((0.0, 255.0),) if wanted.divisor == 255 else ())
    if len(ranges) > 1:
        yield from _unlike_columns(x, wanted)
        return
    for low, high in ranges:
        here, there, width = float(x.min()), float(x.max()), high - low
        if here < low - width or there > high + width or (x.size >= 10 and 0 < there - here < width / 100):
            yield (
                f"{_values(here, there)}, but the network was trained on {low:g} to {high:g}: predict expects values "
                "in the units of the training data"
            )


def _values(low: float, high: float) -> str:
    return f"contains only the value {low:g}" if low == high else f"contains values from {low:g} to {high:g}"


def _unlike_columns(x: NDArray[Any], wanted: Wanted) -> Iterator[str]:
    x, start, noted = x.reshape(-1, wanted.row), 0, 0
    for column in wanted.columns:
        width = column.width
        if column.texts is None and start < len(wanted.ranges):
            low, high = wanted.ranges[start]
            here, there = float(x[:, start].min()), float(x[:, start].max())
            if (here < low - (high - low) or there > high + (high - low)) and noted < _NOTES:
                noted += 1
                yield (
                    f"{_values(here, there)} in column `{in_words(column.name)}`, but the network was trained on "
                    f"{low:g} to {high:g}"
                )
        start += width


def _image(path: str, wanted: Wanted, invert: bool) -> Inputs:
    if not wanted.is_image:
        raise FileFault(f"{shown(path)} is an image, and the network takes {wanted.words} numbers a sample")
    shape = wanted.shape[1:] if wanted.shape[0] == 1 and len(wanted.shape) == 3 else wanted.shape
    pixels, size = read_image(path, shape)
    if invert:
        pixels = 255 - pixels
    notes = []
    if size != pixels.shape[-2:]:
        notes.append(f"{shown(path)} was scaled from {size[0]}×{size[1]} to {pixels.shape[-2]}×{pixels.shape[-1]}")
    if wanted.border is not None:
        edge = _border(pixels)
        if abs(edge - wanted.border) > 0.5:
            here, there = ("bright", "dark") if edge > wanted.border else ("dark", "bright")
            notes.append(
                f"{shown(path)}{', inverted,' if invert else ''} has a {here} border, and the images that were trained "
                f"on a {there} one; {'try without --invert' if invert else '--invert swaps dark and bright'}"
            )
    return Inputs(pixels.reshape(1, -1), (path,), tuple(notes))


def _folder(path: str, wanted: Wanted, invert: bool) -> Inputs:
    if not wanted.is_image:
        raise FileFault(f"{shown(path)} is a folder, and the network takes {wanted.words} numbers a sample")
    paths = image_files(path)
    if len(paths) * prod(wanted.shape) > MOST_NUMBERS:
        raise FileFault(f"{shown(path)} has more than {MOST_NUMBERS:,} numbers")
    images = [_image(each, wanted, invert) for each in paths]
    notes = [note for image in images for note in image.notes]
    more = f"and so on for {len(notes) - _NOTES:,} more" if len(notes) > _NOTES else ""
    names = tuple(name for image in images for name in image.names)
    return Inputs(np.concatenate([image.x for image in images]), names, (*notes[:_NOTES], *filter(None, [more])))


def _border(pixels: NDArray[Any]) -> float:
    height, width = pixels.shape[-2:]
    images = pixels.reshape(-1, height, width).astype(np.float64)
    inner = images[:, 1:-1, 1:-1]
    return float((images.sum() - inner.sum()) / max(images.size - inner.size, 1) / 255)


def _of_array(array: NDArray[Any], name: str, wanted: Wanted) -> Inputs:
    features = prod(wanted.shape)
    shape = wanted.shape if wanted.arrangement is None else wanted.arrangement.stored_shape
    if array.shape in (shape, (features,)) and array.shape[:1] != (1,):
        array = array[None]  # one sample by itself
    if array.ndim < 1 or prod(array.shape[1:]) != features or (array.ndim > 2 and array.shape[1:] != shape):
        held, words = "×".join(map(str, array.shape)) or "one number", "×".join(map(str, shape))
        raise FileFault(f"{shown(name)} holds {held}, but the network expects samples of {words}: n×{words}")
    if wanted.arrangement is not None:
        array = wanted.arrangement.of(array.reshape(len(array), *shape))
    x = array.reshape(len(array), features)
    return Inputs(x, tuple(f"{shown(name)}:{i}" for i in range(len(x))))


def _lines(path: str, column: Column) -> Inputs:
    """Read a text: each line that is not empty is a sample of words."""
    with open_file(path, MOST_BYTES) as file:
        lines = [*enumerate(lines_of(decoded(file, FilePath(path), MOST_BYTES)), 1)]
    texts = {number: text for number, text in lines if text.strip()}
    if len(texts) * column.words > MOST_NUMBERS:
        raise FileFault(f"{shown(path)} has more than {MOST_NUMBERS:,} words")
    x = np.array([column.ids_of(text) for text in texts.values()], float).reshape(len(texts), column.words)
    return Inputs(x, tuple(f"{shown(path)}:{number}" for number in texts))


def read_table(path: str, wanted: Wanted) -> tuple[list[str] | None, list[tuple[int, list[str]]], Form]:
    """Return the names of a table's columns, None where it has no line of names, its rows, and how it is written.

    Raises FileFault for what is no table.
    """
    with open_file(path, MOST_BYTES) as file:
        csv = CsvFile(file, FilePath(path), wanted.form)
        csv.detect_delimiter()
        if not csv.first[1]:
            raise FileFault(f"{csv.name} is empty")
        header = _header(path, csv.first[1], wanted, csv.form)
        body = [*([csv.first] if header is None else []), *csv.rows()]
    if not body:
        raise FileFault(f"{csv.name} has a line of names, and no sample")
    return header, body, csv.form


def _table(path: str, wanted: Wanted) -> Inputs:
    header, body, form = read_table(path, wanted)
    if len(body) * wanted.row > MOST_NUMBERS:
        raise FileFault(f"{shown(path)} has more than {MOST_NUMBERS:,} numbers")
    names = tuple(f"{shown(path)}:{line}" for line, _ in body)
    if wanted.columns:
        return Inputs(_features(path, header, body, wanted, form), names, _filled(header, body, wanted, form))
    return Inputs(_numbers(path, header, body, wanted, form), names)


def _header(path: str, cells: Sequence[str], wanted: Wanted, form: Form) -> list[str] | None:
    """Return the names of the columns, None where the first line holds numbers. Raises FileFault for both in one."""
    numbers = [cell for cell in cells if form.number(cell) is not None]
    if len(numbers) == len(cells):
        return None
    if numbers:
        odd = next(cell for cell in cells if form.number(cell) is None)
        what = f"`{in_words(odd)}`, and otherwise numbers" if odd else "an empty cell between numbers"
        raise FileFault(f"the first line of {shown(path)} holds {what}: it names the columns, or is a sample")
    used = {column.name for column in wanted.columns} or set(cells)
    twice = next((name for i, name in enumerate(cells) if name in used and name in cells[:i]), None)
    if twice is not None:
        raise FileFault(f"the first line of {shown(path)} has two columns `{in_words(twice)}`")
    return list(cells)


def _features(
    path: str, header: Sequence[str] | None, body: Sequence[tuple[int, list[str]]], wanted: Wanted, form: Form
) -> Any:
    """Turn rows into features as the table was that the network learned from: columns by their names."""
    if header is None:
        names = ", ".join(f"`{in_words(column.name)}`" for column in wanted.columns[:12])
        raise FileFault(f"the first line of {shown(path)} contains numbers, but must name the columns", help=names)
    places = {name: i for i, name in enumerate(header)}
    missing = [column.name for column in wanted.columns if column.name not in places]
    if missing:
        raise FileFault(
            f"{shown(path)} has no column `{in_words(missing[0])}`, which the network uses as a feature",
            help=f"its columns are {', '.join(f'`{in_words(name)}`' for name in header[:12])}",
        )
    x = np.zeros((len(body), wanted.row))
    start = 0
    for column in wanted.columns:
        at = places[column.name]
        for row, (line, cells) in enumerate(body):
            cell = cells[at]
            if column.tokens:
                x[row, start : start + column.width] = column.ids_of(cell)
                continue
            where = f"{shown(path)}, line {line:,}, column `{in_words(column.name)}`"
            if column.texts is not None:
                if cell in column.texts:
                    x[row, start + column.texts.index(cell)] = 1.0
                elif not form.is_missing(cell, numbers=False):
                    known = ", ".join(f"`{in_words(text)}`" for text in column.texts[:8])
                    raise FileFault(
                        f"{where}: `{in_words(cell)}` does not occur in the training data",
                        help=f"the training data has {known}",
                    )
                elif column.mean is None and not _missing_allowed(wanted):
                    raise FileFault(f"{where}: nothing is there")
                continue
            number = column.mean if form.is_missing(cell, numbers=True) else form.number(cell)
            if number is None or not math.isfinite(number):
                raise FileFault(f"{where}: `{in_words(cell)}` is not a usable number")
            x[row, start] = number
        start += column.width
    return x


def _filled(
    header: Sequence[str] | None, body: Sequence[tuple[int, list[str]]], wanted: Wanted, form: Form
) -> tuple[str, ...]:
    """Say which empty cells were filled in as in training, with the mean of their column."""
    notes = []
    for column in wanted.columns if header is not None else ():
        if column.ids and header is not None:
            at = header.index(column.name)
            unknown = sorted({cells[at] for _, cells in body} - {*(column.texts or ())})
            if unknown:
                listed = ", ".join(f"`{in_words(text)}`" for text in unknown[:8])
                more = f" and {len(unknown) - 8:,} more" if len(unknown) > 8 else ""
                notes.append(
                    f"{listed}{more} of column `{in_words(column.name)}`: not in the training data, and the embedding "
                    "of unknown ones was not trained"
                )
        if column.texts is None and column.mean is not None:
            at = header.index(column.name) if header is not None else 0
            empty = sum(form.is_missing(cells[at], numbers=True) for _, cells in body)
            if empty:
                cells_in_words = "1 empty cell" if empty == 1 else f"{empty:,} empty cells"
                name = in_words(column.name)
                notes.append(
                    f"{cells_in_words} of column `{name}`: filled with the mean of the training data, {column.mean:g}"
                )
    return tuple(notes)


def _missing_allowed(wanted: Wanted) -> bool:
    """Whether the table that was learned from had its missing cells filled in."""
    return any(column.mean is not None for column in wanted.columns)


def _numbers(
    path: str, header: Sequence[str] | None, body: Sequence[tuple[int, list[str]]], wanted: Wanted, form: Form
) -> Any:
    features = prod(wanted.shape)
    width = len(body[0][1])
    if width != features:
        hint = "leave the column of labels out" if width == features + 1 else f"a row is a sample of {wanted.words}"
        raise FileFault(
            f"{shown(path)} has {width} columns, and the network takes {features} numbers a sample", help=hint
        )
    x = np.empty((len(body), features))
    for row, (line, cells) in enumerate(body):
        for i, cell in enumerate(cells):
            number = form.number(cell)
            if number is None or not math.isfinite(number):
                name = f"`{in_words(header[i])}`" if header is not None else str(i + 1)
                raise FileFault(
                    f"{shown(path)}, line {line:,}, column {name}: `{in_words(cell)}` is not a usable number"
                )
            x[row, i] = number
    return x
