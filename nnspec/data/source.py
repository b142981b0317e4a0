"""What a data source is, and what it provides: facts, and a data set.

`facts()` is plain arithmetic on the source's arguments, so that `check` can know every shape before any byte is read;
a source of the user's own files reads their headers, or all of a small file. `load()` reads, fetches or draws.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from nnspec.data.axes import Arrangement, usual_axes
from nnspec.data.vocabulary import Alphabet, words_of
from nnspec.data.windows import Windows
from nnspec.engine._numpy import np
from nnspec.engine.part import Part
from nnspec.errors import NnspecError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Access",
    "Column",
    "DataError",
    "DataSource",
    "DataUnavailable",
    "Dataset",
    "Facts",
    "Field",
    "FileFault",
    "Remark",
    "Split",
    "class_name",
    "fields_of",
]


class DataError(NnspecError):
    """Data that exists but cannot be used: corrupt, truncated, too few samples. The message says what to do."""


class DataUnavailable(DataError):
    """Data that is not available: no file and no network. The next alternative of an `or` is used instead."""


class FileFault(DataError, ValueError):
    """A file, named by an argument, that a source cannot use: `facts` and `load` raise it."""

    def __init__(
        self, message: str, *, argument: str = "path", help: str = "", word: str = "", known: Sequence[str] = ()
    ) -> None:
        super().__init__(f"{message}; {help}" if help else message)
        self.message = message
        self.argument = argument
        """The argument at fault."""
        self.help = help
        """What to do."""
        self.word = word
        """The unknown word in the argument, if that is the fault."""
        self.known = tuple(known)
        """The known words."""

    def of(self, argument: str) -> FileFault:
        """Return the same fault with another argument at fault: the one that names the file."""
        return FileFault(self.message, argument=argument, help=self.help)


class Remark(NamedTuple):
    """Advice of `check` on something odd in the user's files, with a code of its own."""

    code: str
    message: str
    argument: str
    """The argument of the source that it is about."""
    help: str
    """What to do."""


@dataclass(frozen=True)
class Field:
    """A named range of a row of numbers: one of several inputs of a sample, or one of several targets."""

    name: str
    start: int
    stop: int
    shape: tuple[int, ...]
    """Its own shape; () for a single number, such as an id or a label."""
    tokens: int = 0
    """For an input of ids, how many distinct ones there are; 0 for quantities."""
    classes: int | None = None
    """For a target of labels, how many classes there are."""
    class_names: tuple[str, ...] = field(default=(), kw_only=True)
    """The names of these classes; empty if they are numbers from 0 on."""
    axes: tuple[str, ...] = ()
    """What the axes of `shape` are, as in `Facts`."""
    padding: int | None = None
    """For an input of ids, the one that fills the positions after the end of a sample, as in `Facts`."""

    def entering(self, image_as: str) -> Field:
        """Return the same with the shape in which it enters a layer that takes images in a form; see `Facts`."""
        facts = Facts(self.shape, None, 1, 0, axes=self.axes, tokens=self.tokens)
        return self if len(self.shape) < 2 else replace(self, shape=facts.entering(image_as))


@dataclass(frozen=True)
class Facts:
    """What a source declares about its data before reading it."""

    shape: tuple[int, ...]
    """Shape of one sample, such as (28, 28)."""
    classes: int | None
    """How many classes the labels have; None for a regression."""
    train: int
    """How many training samples."""
    test: int
    """How many test samples."""
    stored: str = "uint8"
    """dtype in which samples are kept; batches are converted on their way in."""
    target: tuple[int, ...] = ()
    """Shape of one sample's target: () for a label or a number, (64,) for a label at each of 64 positions."""
    tokens: int = 0
    """How many distinct ids samples are made of, from 0 on, such as those of the characters of a text; 0 where samples
    are quantities."""
    axes: tuple[str, ...] = ()
    """What the axes of `shape` are, one of `axes.AXES`; by default as `usual_axes` has it. () for more than three."""
    stored_axes: tuple[str, ...] = ()
    """The order in which files hold the axes, where it is another one."""
    levels: tuple[int, ...] = ()
    """The distinct targets, sorted, where numbers may be classes too: whole and few."""
    one_hot: bool = False
    """Whether a target is one-hot; its levels are then the indices of the 1."""
    remarks: tuple[Remark, ...] = ()
    """Remarks on what looks odd in the files."""
    validation: int = 0
    """How many of the training samples, the last ones, are for validation."""
    shuffled: bool = field(default=False, compare=False)
    """Whether the training samples are in no particular order, since they were shuffled before they were split."""
    ordered: bool = field(default=False, compare=False)
    """Whether samples are in the order of a text or a file, so that each may continue the one before it."""
    weighted: bool = False
    """Whether samples have weights."""
    padding: int | None = None
    """The id that fills the positions after the end of a sample; None if all samples are whole."""
    ignores: bool = False
    """Whether targets at positions may be -1, which counts in no loss and no metric: padding, and ignored labels."""
    inputs: tuple[Field, ...] = ()
    """The inputs by name, as ranges of a sample's row, where there are several; () for one without a name."""
    targets: tuple[Field, ...] = ()
    """The targets by name, as ranges of the row `target`, where there are several; () for one without a name."""
    columns: tuple[Field, ...] = ()
    """The columns of a table, as ranges of a sample's row: a column of text has one number for each of its texts."""
    target_names: tuple[str, ...] = ()
    """The columns that the numbers of a target come from, where they have names."""
    lines: bool = False
    """Whether a sample is a line of a text: id 0, its units, and 0 as the target of the last one."""
    predicts_next: bool = False
    """Whether the target of each position is the id at the next one, so that no position may see later ones."""
    windows: Windows | None = None
    """How samples are cut from the rows of a time series; None if they are not."""

    def __post_init__(self) -> None:
        """Fill in the usual axes where none are given. Raises ValueError for stored axes that are not among them."""
        if not set(self.stored_axes) <= set(self.axes):
            raise ValueError(f"{self.stored_axes} are no order of {self.axes}")
        object.__setattr__(
            self, "axes", self.axes or usual_axes(self.shape, bytes_=self.stored == "uint8", tokens=self.tokens)
        )

    @property
    def arrangement(self) -> Arrangement:
        """How samples are laid out in files."""
        return Arrangement(self.axes, self.shape, self.stored_axes)

    @property
    def is_image(self) -> bool:
        """Whether a sample has rows and columns."""
        return "rows" in self.axes

    def entering(self, image_as: str) -> tuple[int, ...]:
        """Return the shape in which samples enter a network, given what its first layer takes images as."""
        if self.axes and not self.is_image:
            return self.shape
        if image_as == "image" and self.is_image:
            return self.shape if len(self.shape) == 3 else (1, *self.shape)
        if image_as == "sequence" and self.is_image:
            return self.shape[1:] if len(self.shape) == 3 and self.shape[0] == 1 else self.shape
        return (self.features,) if image_as in ("row", "any") else self.shape

    @property
    def are_labels(self) -> bool:
        """Whether a target is a row of labels, each 0 or 1."""
        return bool(self.target) and self.classes is None and (self.levels == (0, 1) or self.one_hot)

    @property
    def weight(self) -> tuple[int, ...] | None:
        """Shape of the weights of a sample: () for one, or that of its positions; None if nothing is weighted."""
        return self.target if self.ignores else () if self.weighted else None

    def as_classes(self) -> Facts:
        """Return the same with each level of the target as a class."""
        target = () if self.one_hot or self.target == (1,) else self.target
        return replace(self, classes=len(self.levels), levels=(), one_hot=False, target=target)

    @property
    def overlap(self) -> int:
        """How many samples after each one share rows of a time series with it."""
        return 0 if self.windows is None else self.windows.overlap

    @property
    def counts(self) -> tuple[int, int, int]:
        """The number of training samples, how many of them are given for validation, and the overlap."""
        return self.train, self.validation, self.overlap

    @property
    def features(self) -> int:
        """How many numbers one sample has."""
        return prod(self.shape)


@dataclass(frozen=True)
class Split:
    """Samples with their targets: x `(n, features)` in the stored type; y `(n, *target)`, integers where there are
    classes (-1 at a position that is ignored), and floats in a regression; w `(n,)` float64, the weights of the
    samples, or None if all weigh the same."""

    x: NDArray[Any]
    y: NDArray[Any]
    w: NDArray[Any] | None = None

    def rows(self, rows: Any) -> Split:
        """Return some of the samples, by a slice or by indices."""
        return Split(self.x[rows], self.y[rows], None if self.w is None else self.w[rows])

    def followed_by(self, other: Split) -> Split:
        """Return the samples of both. If only one has weights, those of the other are 1."""
        weights = [np.ones(len(split.y)) if split.w is None else split.w for split in (self, other)]
        w = None if self.w is None and other.w is None else np.concatenate(weights)
        return Split(np.concatenate([self.x, other.x]), np.concatenate([self.y, other.y]), w)

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """All of its arrays."""
        return (self.x, self.y) if self.w is None else (self.x, self.y, self.w)


@dataclass(frozen=True)
class Column:
    """A column of a table that is a feature: how the cells of further rows become features."""

    name: str
    texts: tuple[str, ...] | None
    """The texts of a column of text, each a feature that is 0 or 1; None for a column of numbers."""
    mean: float | None = None
    """For a column of numbers, what replaces a missing cell, where missing cells are filled in."""
    ids: bool = False
    """Whether its texts are ids: 1 + the place of the text, and 0 for any other."""
    words: int = 0
    """For text that is read as words, how many: 2 + the place of each word among `texts`, 1 for any other, and 0 after
    the last one; 0 for any other column."""

    @property
    def width(self) -> int:
        """How many features it becomes."""
        return self.words or (1 if self.texts is None or self.ids else len(self.texts))

    @property
    def features(self) -> list[str]:
        """What these features are called."""
        if self.words:
            return [f"{self.name}[{place}]" for place in range(self.words)]
        return [self.name] if self.texts is None or self.ids else [f"{self.name}={text}" for text in self.texts]

    @property
    def tokens(self) -> int:
        """How many ids there are; 0 for numbers."""
        known = len(self.texts or ())
        return known + 2 if self.words else known + 1 if self.ids else 0

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {text: place for place, text in enumerate(self.texts or (), 2 if self.words else 1)}

    def ids_of(self, cell: str) -> list[int]:
        """Return the ids of a cell, `width` of them."""
        if not self.words:
            return [self._places.get(cell, 0)]
        found = [self._places.get(word, 1) for word in words_of(cell)[: self.words]]
        return found + [0] * (self.words - len(found))


def fields_of(columns: Iterable[tuple[str, int]]) -> tuple[Field, ...]:
    """Return columns as ranges of a row, from their names and widths."""
    named = [*columns]
    stops = [*itertools.accumulate(width for _, width in named)]
    return tuple(
        Field(name, stop - width, stop, () if width == 1 else (width,))
        for (name, width), stop in zip(named, stops, strict=True)
    )


def class_name(label: int, names: Sequence[str], alphabet: Alphabet | None) -> str:
    """Return the name of a class: its own, or the character or word of a text, as `'a'`; else its number."""
    if label < len(names):
        return names[label]
    return repr(alphabet[label]) if alphabet and label < len(alphabet) else str(label)


@dataclass(frozen=True)
class Dataset:
    """What `load` gives. A stored number v means v / divisor: with divisor 255, bytes of an image lie in [0, 1]."""

    source: str
    """The source's name in a spec: `MNIST`."""
    facts: Facts
    train: Split
    test: Split
    divisor: float
    sha256: str
    """Of the bytes of the arrays of `train` and `test`, in this order: equal data, equal digest."""
    origin: str
    """Where it came from, for a reader: a folder, an address, or `drawn, seed 0`."""
    alphabet: Alphabet | None = None
    """The character or word of each id, in order, where samples are text."""
    class_names: tuple[str, ...] = ()
    """The names of the classes, in order, where the data has any."""
    columns: tuple[Column, ...] = ()
    """The columns of a table that the features come from, in order."""
    target_names: tuple[str, ...] = ()
    """The names of the targets of a regression, where the data has any."""
    notes: tuple[str, ...] = ()
    """Notes on how files were read: samples that were dropped, files that were skipped."""

    def as_classes(self) -> Dataset:
        """Return the same with each level of the target as a class, and its number as the name of the class."""
        levels, facts = np.asarray(self.facts.levels), self.facts.as_classes()

        def classes(y: NDArray[Any]) -> NDArray[Any]:
            found: NDArray[Any] = y.argmax(axis=-1) if self.facts.one_hot else np.searchsorted(levels, y)
            return found.reshape(len(y), *facts.target)

        return replace(
            self,
            facts=facts,
            train=replace(self.train, y=classes(self.train.y)),
            test=replace(self.test, y=classes(self.test.y)),
            class_names=tuple(map(str, self.facts.levels)),
            target_names=(),
        )

    def without_test(self) -> Dataset:
        """Return the same without test samples."""
        return replace(self, facts=replace(self.facts, test=0), test=self.test.rows(slice(0)))

    def class_name(self, label: int) -> str:
        """Return what a class is called."""
        return class_name(label, self.class_names, self.alphabet)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """What the features are called, in order, where the data says so: `size`, and of a text `kind=cat`."""
        return tuple(name for column in self.columns for name in column.features)

    def __post_init__(self) -> None:
        """Raise DataError for a label, an id or a weight out of range: all later code trusts them."""
        classes, tokens = self.facts.classes, self.facts.tokens
        for split in (self.train, self.test):
            if tokens and split.x.size and not 0 <= split.x.min() <= split.x.max() < tokens:
                raise DataError(
                    f"{self.source}: ids run from {split.x.min()} to {split.x.max()}, "
                    f"and {tokens} of them go from 0 to {tokens - 1}"
                )
            least = -1 if self.facts.ignores else 0
            if classes is not None and split.y.size and not least <= split.y.min() <= split.y.max() < classes:
                raise DataError(
                    f"{self.source}: labels run from {split.y.min()} to {split.y.max()}, "
                    f"and {classes} classes go from 0 to {classes - 1}"
                )
            if split.w is not None and not (split.w >= 0).all() & (split.w < np.inf).all():
                raise DataError(f"{self.source}: weights of samples must be finite numbers, at least 0")


@dataclass(frozen=True)
class Access:
    """What a source may use to get its data."""

    data_dir: Path | None = None
    """Folder named on the command line; it takes precedence over all others."""
    offline: bool = False
    """Forbids the network."""
    report: Callable[[str, int, int | None], None] | None = field(default=None, compare=False)
    """Called as report(file name, bytes so far, bytes in all or None) while something is fetched."""
    given: object = field(default=None, compare=False)
    """The data that the caller passed, a `GivenData`, for `Given`."""


class DataSource(Part):
    """Base of the data sources. The constructor keeps its arguments and does nothing else."""

    kind: ClassVar[str] = "data source"
    must_define = ("facts",)
    converts_arguments = True
    reads_files: ClassVar[bool] = False
    """Whether it looks for files, so that `--data-dir` applies to it."""

    def facts(self) -> Facts:
        """Shapes and counts, from the arguments alone, or from the files that they name.

        Raises ValueError where arguments contradict each other, FileFault where a file cannot be used.
        """
        raise NotImplementedError

    def looks_at(self) -> tuple[str, ...]:
        """Return the files and folders that `facts` looks at: where one of them changes, the facts may."""
        return ()

    def load(self, access: Access) -> Dataset:
        """Return the data. Raises `DataUnavailable` where it cannot be obtained, `DataError` where it is unusable."""
        raise NotImplementedError

    def beginning(self, samples: int) -> DataSource:
        """Return a source with the same first training samples, at least `samples` or all, that may load faster;
        its test data may differ."""
        return self

    @classmethod
    def fetch(cls, access: Access) -> list[tuple[Path, Literal["already there", "fetched"]]]:
        """Download the files that it needs into the cache, and say of each whether it was already there.

        Raises DataUnavailable where a file cannot be downloaded.
        """
        return []
