"""The columns of a table while it is read: numbers or text, and the rows that are kept."""

from __future__ import annotations

import itertools
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nnspec.data.csv_cells import Form, Quoted, in_words, listed
from nnspec.data.labels import MOST_LEVELS
from nnspec.data.source import Remark
from nnspec.data.vocabulary import most_frequent, words_of
from nnspec.engine._numpy import np

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

__all__ = ["MOST_COLUMNS", "MOST_TEXTS", "ReadColumn", "ReadTable"]

MOST_COLUMNS = 10_000
MOST_TEXTS = 100
LARGEST = 3e38
_ID = re.compile(r"(?:^|[_\W])(?:id|idx|index|uuid|guid)$|^row(?:id|num|number)?$|^unnamed: 0$", re.IGNORECASE)
_CAMEL_ID = re.compile(r"[a-z]I[dD]$")


@dataclass(eq=False)
class ReadColumn:
    """A column and, where they are kept, its cells: numbers, or indices into `texts`."""

    name: str
    index: int
    texts: dict[str, int] | None
    """Each distinct text with its index, in order of appearance; None for numbers."""
    closed: bool = False
    """Whether the texts are those of the training rows, and no others are added."""
    alone: bool = False
    """Whether it is one of several targets, which must be numbers."""
    listed: bool = False
    """Whether `categories` names it."""
    most: int = MOST_TEXTS
    values: array[float] = field(default_factory=lambda: array("d"))
    levels: set[float] | None = field(default_factory=set)
    """The distinct numbers, where they are whole and few; else None."""
    doubtful: list[str] = field(default_factory=list)
    """Unquoted texts that would mark a missing cell in a column of numbers."""
    unseen: dict[str, int] = field(default_factory=dict)
    """How often each text occurred that is not among `texts`."""
    ids: bool = False
    """Whether its texts become ids."""
    words: int = 0
    """For text that is read as words, how many of each cell; 0 for any other column."""
    units: array[int] = field(default_factory=lambda: array("i"))
    """Of text that is read as words, the words of all cells, as indices into `texts`; -1 for others."""
    long: int = 0
    """How many cells have more words than that."""
    known: tuple[str, ...] | None = None
    """The texts or words that have ids, once these are learned."""

    @property
    def learns(self) -> bool:
        """Whether it has ids, which are learned from the training rows."""
        return self.ids or self.words > 0

    @property
    def word(self) -> str:
        """Its name in messages."""
        return in_words(self.name)

    @property
    def width(self) -> int:
        """How many features it becomes."""
        return self.words or (1 if self.texts is None or self.ids else len(self.texts))

    @property
    def whole(self) -> tuple[int, ...]:
        """The distinct numbers, sorted, where they are whole and few enough to be classes."""
        return tuple(sorted(map(int, self.levels))) if self.levels and len(self.levels) > 1 else ()

    def sorted(self) -> list[str]:
        """Return its texts in order: by size where all of them are numbers."""
        texts = list(self.texts or ())
        numbers = {text: _PLAIN.number(text) for text in texts}
        if None in numbers.values():
            return sorted(texts)
        return sorted(texts, key=lambda text: (numbers[text], text))

    def take(self, cell: str | None, form: Form, keep: bool) -> tuple[str, str] | None:
        """Add a cell, None for a missing one. Returns problem and remedy if the cell does not fit, else None."""
        value = math.nan
        if cell is not None and self.texts is None:
            number = form.number(cell)
            if number is None or not -LARGEST < number < LARGEST:
                return self._no_number(cell, form, number)
            value = number
            if self.levels is not None:
                self.levels.add(value)
                if len(self.levels) > MOST_LEVELS or not value.is_integer():
                    self.levels = None
        elif cell is not None and self.words:
            value = self._take_words(cell)
        elif cell is not None:
            place, problem = self._place_of(str(cell), isinstance(cell, Quoted), form)
            if problem:
                return problem
            value = math.nan if place is None else place
        if keep:
            self.values.append(value)
        return None

    def _take_words(self, cell: str) -> int:
        """Add the words of a cell; return how many are kept."""
        assert self.texts is not None
        found = words_of(cell)
        self.long += len(found) > self.words
        kept = found[: self.words]
        if self.closed:
            self.units.extend(self.texts.get(word, -1) for word in kept)
        else:
            self.units.extend(self.texts.setdefault(word, len(self.texts)) for word in kept)
        return len(kept)

    def learn(self, trained: NDArray[Any], most: int) -> None:
        """Give ids to the texts of these rows, or to at most `most` of their words."""
        assert self.texts is not None
        values = np.frombuffer(self.values)
        names = list(self.texts)
        if self.ids:
            used = set(values[trained][~np.isnan(values[trained])].astype(int).tolist())
            self.known = tuple(text for text in self.sorted() if self.texts[text] in used)
        else:
            starts = np.cumsum([0, *np.nan_to_num(values).astype(int).tolist()]).tolist()
            words = (names[unit] for row in trained.tolist() for unit in self.units[starts[row] : starts[row + 1]])
            self.known = tuple(most_frequent(words, most))

    def numbered(self) -> NDArray[Any]:
        """Return the ids of the cells `(rows, width)`, as `Column.ids_of` does."""
        assert self.texts is not None
        first = 2 if self.words else 1
        ids = {text: place for place, text in enumerate(self.known or (), first)}
        table = np.array([*(ids.get(text, first - 1) for text in self.texts), first - 1])
        values = np.frombuffer(self.values)
        if self.ids:
            return table[np.where(np.isnan(values), len(table) - 1, values).astype(int)][:, None]
        found = np.zeros((len(values), self.words), np.int64)
        found[np.arange(self.words) < np.nan_to_num(values)[:, None]] = table[np.array(self.units, int)]
        return found

    def _no_number(self, cell: str, form: Form, number: float | None) -> tuple[str, str]:
        what = "is not a number, unlike the cells above" if number is None else "is not a usable number"
        ways = [f"`{way}` reads it" for way in form.otherwise([cell])] if number is None else []
        if self.closed:
            return f"`{in_words(cell)}` is not a number, but the training rows contain numbers", "; ".join(ways)
        return f"`{in_words(cell)}` {what}", "; ".join(
            [*ways, f'`categories = ["{self.word}"]` makes it a text column']
        )

    def _place_of(self, text: str, quoted: bool, form: Form) -> tuple[int | None, tuple[str, str] | None]:
        assert self.texts is not None
        if self.alone:
            return None, (f"`{in_words(text)}` is text, but several targets must be numbers", "name one target")
        place = self.texts.get(text)
        if place is not None:
            return place, None
        if self.closed:
            self.unseen[text] = self.unseen.get(text, 0) + 1
            return None, None
        place = len(self.texts)
        if place >= self.most:
            known = list(itertools.islice(self.texts, 200))
            ways = [f"`{way}` reads them as numbers" for way in form.otherwise([*known, text])]
            what = f"this column contains more than {self.most:,} different texts"
            return None, (what, "; ".join([*ways, "remove it from `features`, or `drop` it"]))
        self.texts[text] = place
        if not quoted and not self.listed and form.missing_words is None and form.is_word(text):
            self.doubtful.append(text)
        return place, None

    def counts_rows(self) -> bool:
        """Whether it only numbers the rows: 0, 1, 2, …, or distinct values under a name such as `id`."""
        first, count = self.values[0], len(self.values)
        if self.texts is None and first in (0, 1) and all(v == first + i for i, v in enumerate(self.values)):
            return True
        named = bool(_ID.search(self.name) or _CAMEL_ID.search(self.name))
        return named and len(set(self.values)) == count

    def settles(self, aim: ReadColumn, *, sole: bool) -> bool:
        """Whether it determines a target exactly: an equal number, a linear function of it, or one value for each."""
        if self.texts is None and aim.texts is None and _on_a_line(self.values, aim.values, only_same=sole):
            return True
        there: dict[float, float] = {}
        back: dict[float, float] = {}
        for value, wanted in zip(self.values, aim.values, strict=True):
            if there.setdefault(value, wanted) != wanted or back.setdefault(wanted, value) != value:
                return False
        return 1 < 2 * len(there) <= len(self.values) and len(there) > 1

    def mean_of(self, rows: NDArray[Any]) -> float:
        """Return the mean over some rows; 0 where they hold no number, and for text."""
        values = np.frombuffer(self.values)[rows]
        known = values[~np.isnan(values)]
        return float(known.mean()) if known.size and self.texts is None else 0.0

    def ranked(self) -> NDArray[Any]:
        """Return the index of each cell's text among the sorted ones; −1 where it is missing."""
        assert self.texts is not None
        ranks = np.full(len(self.texts) + 1, -1)
        for rank, text in enumerate(self.sorted()):
            ranks[self.texts[text]] = rank
        values = np.frombuffer(self.values)
        ranked: NDArray[Any] = ranks[np.where(np.isnan(values), len(self.texts), values).astype(np.int64)]
        return ranked


_PLAIN = Form()


def _on_a_line(values: Sequence[float], wanted: Sequence[float], *, only_same: bool) -> bool:
    """Whether all points (value, wanted) lie on a straight line, up to rounding."""
    other = next((i for i, value in enumerate(values) if value != values[0]), None)
    if other is None or any(map(math.isnan, (values[0], values[other]))):
        return False
    slope = (wanted[other] - wanted[0]) / (values[other] - values[0])
    start = wanted[0] - slope * values[0]
    if slope == 0 or (only_same and (slope, start) != (1, 0)):
        return False
    return all(
        abs(aim - (start + slope * value)) <= 1e-12 * (abs(aim) + abs(slope * value) + abs(start))
        for value, aim in zip(values, wanted, strict=True)
    )


@dataclass
class ReadTable:
    """A table: the columns in use, and how many rows were kept, filled in and dropped."""

    name: str
    """What messages call its file."""
    argument: str
    """The argument that names it."""
    width: int
    """How many columns the file has."""
    features: list[ReadColumn]
    aims: list[ReadColumn]
    """The targets."""
    rows: int = 0
    dropped: int = 0
    filled: int = 0
    """Cells that are missing in rows that are kept."""
    unnamed: list[int] = field(default_factory=list)
    """Columns without a name; those that are not empty are in `left_out`."""
    left_out: set[int] = field(default_factory=set)
    lost: dict[str, int] = field(default_factory=dict)
    """How many rows of each class were dropped."""
    remarks: tuple[Remark, ...] = ()

    @property
    def used(self) -> list[ReadColumn]:
        """All columns in use."""
        return self.features + self.aims

    def drop(self, cells: Sequence[str], gaps: Sequence[ReadColumn]) -> None:
        """Drop a row, and note its class."""
        self.dropped += 1
        aim = self.aims[0]
        if aim.texts is not None and aim not in gaps:
            word = str(cells[aim.index])
            if word in self.lost or len(self.lost) < MOST_COLUMNS:
                self.lost[word] = self.lost.get(word, 0) + 1

    def notes(self) -> Iterator[str]:
        """Yield notes on how it was read."""
        for place in sorted(self.left_out):
            yield f"column {place + 1} of {self.name} has no name and is not used as a feature"
        if self.dropped:
            lost = [word for word in self.lost if word not in (self.aims[0].texts or ())]
            also = f", including all of class {listed(lost)}" if lost else ""
            whole = self.rows + self.dropped
            yield f"{self.dropped:,} of {whole:,} rows of {self.name} have missing values and were dropped{also}"
        if self.filled:
            yield f"{self.filled:,} missing cells of {self.name} were filled with means over the training rows"
        for column in self.features:
            if column.long:
                cells = f"{column.long:,} of {self.rows:,} cells"
                yield f"{cells} of column `{column.word}` in {self.name} are cut to {column.words:,} words"
            if column.unseen and not column.learns:
                times = sum(column.unseen.values())
                yield (
                    f"{self.name} has texts in `{column.word}` that do not occur in training: "
                    f"{listed(list(column.unseen))}, in {times:,} row{'s' * (times != 1)}"
                )

    def means(self, trained: NDArray[Any]) -> list[float]:
        """Return what replaces a missing number of each feature: the mean over the `trained` rows."""
        return [column.mean_of(trained) for column in self.features]

    def samples(self, means: Sequence[float]) -> NDArray[Any]:
        """Return x `(rows, features)`."""
        x = np.zeros((self.rows, sum(column.width for column in self.features)))
        start = 0
        for column, mean in zip(self.features, means, strict=True):
            part = x[:, start : start + column.width]
            start += column.width
            if column.learns:
                part[...] = column.numbered()
                continue
            if column.texts is not None:
                part[...] = column.ranked()[:, None] == np.arange(column.width)
                continue
            values = np.frombuffer(column.values)
            part[:, 0] = np.where(np.isnan(values), mean, values)
        return x

    def targets(self) -> NDArray[Any]:
        """Return y `(rows,)`, or `(rows, targets)` where there are several."""
        if self.aims[0].texts is not None:
            return self.aims[0].ranked().astype(np.int64)
        columns = [np.frombuffer(column.values) for column in self.aims]
        return np.stack(columns, axis=1) if len(columns) > 1 else columns[0]
