"""A table of one's own, from a CSV file: a row a sample, a column a feature or a target."""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

from nnspec.data.files import Seed, Share, decoded, digest_of, open_regular, remembered, shares, shown, shuffled
from nnspec.data.source import Access, Column, DataError, Dataset, DataSource, Facts, FileFault, Split
from nnspec.engine._numpy import np
from nnspec.engine.part import Also, BareWord, FilePath

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CSV"]

MOST_BYTES = 64 * 1024**2
MOST_COLUMNS = 10_000
MOST_TEXTS = 100
MOST_NUMBERS = 1 << 27
LARGEST = 3e38
_MISSING = frozenset(["", "?", "-", "na", "n/a", "#n/a", "nan", "null", "none", "missing"])
_TABLES = (".csv", ".tsv", ".tab", ".txt", ".data")


class CSV(DataSource):
    """A table: the first line names the columns, each further line is a sample; `target` names what is to be told.

    A column is numbers or text, as its first cell is; those named in `categories` are text whatever they hold. Numbers
    are kept as they are (`train.standardise` scales them). A feature of text becomes a column of 0 and 1 for each of
    its texts, sorted. A target of text means classes, its texts sorted, or by size where all of them are numbers; a
    target of numbers means a regression, and several targets are told at once. Every other column is a feature, or
    those in `features`.

    Cells that are empty, or say NA, NaN, null, none, missing, - or ?, are missing: an error that says where; or the row
    is left out (`drop`); or it is the mean of the column over the training rows (`mean`), 0 in all columns of a text.
    Rows are shuffled by `seed`, unless `shuffle` is false, and the last `test` of them are for testing.

    UTF-8, at most 64 MiB, quoted as Python's `csv` module does; y is int64 with classes, and float64 without.
    """

    spec_name = "CSV"
    also = ("Csv", "read_csv", "TSV", "Table", "CsvFile", "DataFrame")

    def __init__(
        self,
        path: Annotated[FilePath, Also("file", "filename")],
        target: Annotated[str | tuple[str, ...], Also("label", "y", "targets", "label_column")],
        *,
        test: Share = 0.2,
        features: Annotated[tuple[str, ...] | None, Also("columns", "x", "usecols")] = None,
        categories: Annotated[tuple[str, ...], Also("categorical", "text", "onehot", "one_hot", "classes")] = (),
        missing: Annotated[Literal["error", "drop", "mean"], Also("na", "nan", "fillna", "impute")] = "error",
        delimiter: Annotated[str, Also("sep", "separator")] = ",",
        shuffle: bool = True,
        seed: Seed = 0,
    ) -> None:
        self.path = FilePath(path)
        self.target = (target,) if isinstance(target, str) else tuple(target)
        self.test = test
        self.features = None if features is None else tuple(features)
        self.categories = tuple(categories)
        self.missing = BareWord(missing)
        self.delimiter = delimiter
        self.shuffle, self.seed = shuffle, seed

    def looks_at(self) -> tuple[str, ...]:
        """The table."""
        return (self.path,)

    def facts(self) -> Facts:
        """A number for each column of numbers and for each text of the others; rows in both parts.

        Raises FileFault for what is no table, an unknown column, and a cell that its column cannot hold.
        """
        return self._facts(self._survey())

    def load(self, access: Access) -> Dataset:
        """Read the table. `access` is not used: the path says where it is.

        Raises DataError for what `facts` does, and where the file is written to meanwhile.
        """
        known = self._facts(self._survey())
        file, _ = open_regular(self.path, MOST_BYTES)
        with file:
            table = self._read(file, keep=True)
        facts = self._facts(table)
        if facts != known:
            raise DataError(f"{shown(self.path)} was written to while it was read; run it again")
        order = np.arange(table.rows)
        if self.shuffle:
            order = shuffled(table.rows, self.seed)
        x, y = table.samples(order[: facts.train]), table.targets()
        train, test = (
            Split(np.ascontiguousarray(x[rows]), np.ascontiguousarray(y[rows]))
            for rows in (order[: facts.train], order[facts.train :])
        )
        return Dataset(
            source=self.spec_name,
            facts=facts,
            train=train,
            test=test,
            divisor=1.0,
            sha256=digest_of((train.x, train.y, test.x, test.y)),
            origin=os.path.abspath(self.path),
            class_names=tuple(table.aims[0].sorted()) if facts.classes else (),
            columns=tuple(self._column(column, order[: facts.train]) for column in table.features),
            target_names=() if facts.classes else self.target,
        )

    def _column(self, column: _Column, trained: NDArray[Any]) -> Column:
        """Say how a column became features."""
        if column.texts is not None:
            return Column(column.name, tuple(column.sorted()))
        return Column(column.name, None, column.mean_of(trained) if self.missing == "mean" else None)

    def _survey(self) -> _Table:
        arguments = (self.target, self.features, self.categories, self.missing, self.delimiter)
        return remembered(self._look, self.path, MOST_BYTES, *arguments)

    def _look(self, file: IO[bytes]) -> _Table:
        return self._read(file, keep=False)

    def _facts(self, table: _Table) -> Facts:
        name = shown(self.path)
        if table.rows < 2:
            left = f", and {table.dropped:,} with something missing" if table.dropped else ""
            raise FileFault(f"{name} has {table.rows} row{'s' * (table.rows != 1)} of data{left}: 2 are the least")
        features = sum(column.width for column in table.features)
        if features * table.rows > MOST_NUMBERS:
            message = (
                f"{name} comes to {table.rows:,} rows of {features:,} numbers: {MOST_NUMBERS:,} numbers are the most"
            )
            raise FileFault(message, argument="features" if self.features else "path")
        classes, shape = None, (len(self.target),) if len(self.target) > 1 else ()
        if table.aims[0].texts is not None:
            classes = len(table.aims[0].texts)
            if classes < 2:
                what = f"the target `{table.aims[0].word}` is the same in all rows"
                raise FileFault(f"{what}, and there is nothing to learn of it", argument="target")
        train, test = shares(table.rows, self.test)
        return Facts((features,), classes, train, test, stored="float64", target=shape)

    def _read(self, file: IO[bytes], *, keep: bool) -> _Table:
        rows = self._rows(file)
        line, header = next(rows, (0, []))
        header = [name.strip() for name in header]
        self._check_header(header)
        table = self._columns(header)
        for line, cells in rows:
            if not cells:
                continue  # an empty line
            if len(cells) != len(header):
                what = f"{len(cells)} cells, and the first line names {len(header)} columns"
                raise FileFault(f"{shown(self.path)}, line {line:,}: {what}")
            self._take(table, line, [cell.strip() for cell in cells], keep)
        return table

    def _take(self, table: _Table, line: int, cells: list[str], keep: bool) -> None:
        """Take over a row, unless something is missing in it and such rows are dropped."""
        for column in table.used:
            cell = cells[column.index]
            if len(cell) < 8 and cell.lower() in _MISSING:
                if self.missing == "drop":
                    table.dropped += 1
                    return
                if self.missing == "error" or column in table.aims:
                    ways = "`missing = drop` leaves such rows out"
                    ways += "" if column in table.aims else ", `missing = mean` fills them in"
                    raise FileFault(f"{self._place(line, column)}: nothing is there", help=ways)
        table.rows += 1
        for column in table.used:
            problem = column.take(cells[column.index], keep)
            if problem:
                raise FileFault(f"{self._place(line, column)}: {problem[0]}", help=problem[1])

    def _place(self, line: int, column: _Column) -> str:
        return f"{shown(self.path)}, line {line:,}, column `{column.word}`"

    def _rows(self, file: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
        import csv

        if len(self.delimiter) != 1 or self.delimiter in '"\r\n ':
            raise FileFault("a delimiter is one character", argument="delimiter", help='such as `","` or `"\\t"`')
        reader = csv.reader(_lines(decoded(file, self.path, MOST_BYTES)), delimiter=self.delimiter, strict=True)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise FileFault(
                    f"{shown(self.path)}, line {reader.line_num:,}: {error}",
                    help='a cell with a delimiter in it stands in `"…"`, and a `"` inside is doubled',
                ) from None
            yield reader.line_num, cells

    def _check_header(self, header: list[str]) -> None:
        name = shown(self.path)
        if not header:
            raise FileFault(f"{name} is empty: its first line names the columns")
        if len(header) > MOST_COLUMNS:
            raise FileFault(f"{name} has {len(header):,} columns, and {MOST_COLUMNS:,} are the most")
        if all(_number(cell) is not None for cell in header):
            message = f"the first line of {name} holds numbers, and should name the columns"
            raise FileFault(message, help="put a line of names before it, such as `width,height,kind`")
        seen: dict[str, int] = {}
        for place, column in enumerate(header):
            if not column or column in seen:
                what = f"two columns `{_word(column)}`" if column else f"a column without a name, the {place + 1}."
                raise FileFault(f"the first line of {name} has {what}")
            seen[column] = place

    def _columns(self, header: list[str]) -> _Table:
        """Make the columns that are used, each known to be text where `categories` says so."""
        places = {name: place for place, name in enumerate(header)}
        for argument in ("target", "features", "categories"):
            names: Sequence[str] = getattr(self, argument) or ()
            for name in names:
                if name not in places:
                    self._unknown(argument, name, header)
            if len(set(names)) < len(names):
                raise FileFault(f"`{argument}` names a column twice", argument=argument)
        if not self.target:
            raise FileFault("there is no target", argument="target", help="name the column that is to be told")
        names = [name for name in header if name not in self.target] if self.features is None else self.features
        twice = [name for name in names if name in self.target]
        if twice or not names:
            what = f"`{_word(twice[0])}` is a target and a feature" if twice else "no column is left as a feature"
            raise FileFault(what, argument="features" if self.features is not None else "target")
        columns = {name: _Column(name, places[name], {} if name in self.categories else None) for name in places}
        table = _Table([columns[name] for name in names], [columns[name] for name in self.target])
        for column in table.used:
            column.open = column.texts is None
            column.most = MOST_COLUMNS if column in table.aims else MOST_TEXTS
            column.alone = column in table.aims and len(table.aims) > 1
        return table

    def _unknown(self, argument: str, name: str, header: list[str]) -> None:
        help = ""
        if len(header) == 1 and self.delimiter == ",":
            help = next((f'is it `delimiter = "{d}"`?' for d in (";", "\\t", "|") if d.strip("\\") in header[0]), "")
            help = 'is it `delimiter = "\\t"`?' if "\t" in header[0] else help
        elif len(header) > 1 and self.path.lower().endswith(_TABLES):  # what else it is is nobody's business
            shown_names = ", ".join(f"`{_word(column)}`" for column in header[:12])
            help = f"its columns are {shown_names}{' …' if len(header) > 12 else ''}"
        raise FileFault(
            f"{shown(self.path)} has no column `{_word(name)}`", argument=argument, help=help, word=name, known=header
        )


@dataclass(eq=False)
class _Column:
    """What is known of a column, and its cells where they are kept: numbers, or the places of texts in `texts`."""

    name: str
    index: int
    texts: dict[str, int] | None
    """Each text with the place where it came up; None for numbers."""
    open: bool = True
    """Whether no cell has said yet what the column holds."""
    alone: bool = False
    """Whether it is one target of several, which are numbers."""
    most: int = MOST_TEXTS
    values: array[float] = field(default_factory=lambda: array("d"))

    @property
    def word(self) -> str:
        """Its name in messages."""
        return _word(self.name)

    @property
    def width(self) -> int:
        """How many features it makes."""
        return 1 if self.texts is None else len(self.texts)

    def sorted(self) -> list[str]:
        """Return its texts in order: by size where all of them are numbers."""
        texts = list(self.texts or ())
        numbers = {text: _number(text) for text in texts}
        if None in numbers.values():
            return sorted(texts)
        return sorted(texts, key=lambda text: (numbers[text], text))

    def take(self, cell: str, keep: bool) -> tuple[str, str] | None:
        """Take a cell; say what is wrong with it, and what to do, where it does not fit."""
        if len(cell) < 8 and cell.lower() in _MISSING:
            if keep:
                self.values.append(math.nan)
            return None
        if self.open:
            self.open = False
            if _number(cell) is None:
                self.texts = {}
        if self.texts is None:
            number = _number(cell)
            if number is None or not -LARGEST < number < LARGEST:
                what = "is no number, as those above are" if number is None else "is not a number that can be used"
                return f"`{_word(cell)}` {what}", f'`categories = ["{self.word}"]` makes the column text'
            if keep:
                self.values.append(number)
            return None
        if self.alone:
            return f"`{_word(cell)}` is text, and several targets are numbers", "name one target"
        place = self.texts.setdefault(cell, len(self.texts))
        if place >= self.most:
            return f"the {place + 1}. text in this column: {self.most:,} are the most", "leave it out of `features`"
        if keep:
            self.values.append(place)
        return None

    def mean_of(self, rows: NDArray[Any]) -> float:
        """Return the mean of numbers over some rows; 0 where they have none."""
        values = np.frombuffer(self.values)[rows]
        known = values[~np.isnan(values)]
        return float(known.mean()) if known.size else 0.0

    def ranked(self) -> NDArray[Any]:
        """Return the place of each cell's text among the sorted ones; −1 where it is missing."""
        assert self.texts is not None
        ranks = np.full(len(self.texts) + 1, -1)
        for rank, text in enumerate(self.sorted()):
            ranks[self.texts[text]] = rank
        values = np.frombuffer(self.values)
        ranked: NDArray[Any] = ranks[np.where(np.isnan(values), len(self.texts), values).astype(np.int64)]
        return ranked


@dataclass
class _Table:
    features: list[_Column]
    aims: list[_Column]
    """The targets."""
    rows: int = 0
    dropped: int = 0

    @property
    def used(self) -> list[_Column]:
        """All columns that matter."""
        return self.features + self.aims

    def samples(self, trained: NDArray[Any]) -> NDArray[Any]:
        """Return x `(rows, features)`. What is missing is the mean of `trained` rows; 0 where they have none."""
        x = np.zeros((self.rows, sum(column.width for column in self.features)))
        start = 0
        for column in self.features:
            part = x[:, start : start + column.width]
            start += column.width
            if column.texts is not None:
                part[...] = column.ranked()[:, None] == np.arange(column.width)
                continue
            values = np.frombuffer(column.values)
            part[:, 0] = np.where(np.isnan(values), column.mean_of(trained), values)
        return x

    def targets(self) -> NDArray[Any]:
        """Return y `(rows,)`, or `(rows, targets)` where there are several."""
        if self.aims[0].texts is not None:
            return self.aims[0].ranked().astype(np.int64)
        columns = [np.frombuffer(column.values) for column in self.aims]
        return np.stack(columns, axis=1) if len(columns) > 1 else columns[0]


def _lines(pieces: Iterator[str]) -> Iterator[str]:
    """Put pieces of a text together into its lines, each with its end."""
    rest: list[str] = []
    for piece in pieces:
        lines = piece.split("\n")
        rest.append(lines[0])
        for line in lines[1:]:
            yield "".join(rest) + "\n"
            rest = [line]
    if last := "".join(rest):
        yield last


def _number(cell: str) -> float | None:
    """Return the number that a cell holds; None where it holds none."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _word(text: str) -> str:
    """Return a cell as messages show it."""
    text = text if len(text) <= 40 else text[:39] + "…"
    return text if text.isprintable() else ascii(text)[1:-1]
