"""Data from Python: arrays and tables that the caller of `nnspec.run` passes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, replace
from math import prod
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.data.array_file import Header, MemoryArray
from nnspec.data.array_source import ArraySource, Pair, Parts, stored_as
from nnspec.data.axes import Arrangement
from nnspec.data.frames import arrays_of, is_frame
from nnspec.data.labels import Labels
from nnspec.data.memory import GivenData, as_array, kind_of, or_near
from nnspec.data.named_targets import join_targets
from nnspec.data.several import SeveralArrays, check_names
from nnspec.data.source import Access, DataError, Dataset, DataUnavailable, Facts, Field, FileFault, Remark, fields_of
from nnspec.data.splitting import Share
from nnspec.engine._numpy import np
from nnspec.engine.part import Also, Count, Range

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Given", "given_data"]

_ROLES = ("train", "val", "test")
_KINDS = ("x", "y", "w")
"""Samples, targets, and weights of samples."""
_FORMS = '(X, y), {"x_train": …, "y_train": …, "x_test": …, "y_test": …}, or a DataFrame with target="COLUMN"'


class Given(ArraySource):
    """Data from Python: `nnspec.run(spec, data=(X, y))`. Without data, `check` and `show` assume `samples` training
    samples with `features` numbers each, or of that shape, in `classes` classes, or with `targets` numbers as targets.

    With data, `features`, `classes` and `targets` are what the spec expects: other data is an error. `samples` has no
    effect then. Without test samples of its own, a random fraction `test` of the samples is held out for testing (by
    `seed`; with `shuffle = false`, the last samples); with `test = 0`, there is no test set. Everything else is as in
    `NPZ`: whole numbers, booleans and text in y are classes, and all other targets are numbers to predict. X may be a
    mapping, `data=({"left": a, "right": b}, y)`: a sample then has several inputs, which a model reads by
    `from(left)`; `inputs` are their names, and `features` is how many numbers all or each of them have.
    """

    spec_name = "Given"
    also = ("FromPython", "Memory", "InMemory")

    features: Annotated[Count | tuple[Count, ...] | None, Also("shape", "n_features", "input_shape")] = None
    classes: Annotated[Count | None, Range(low=2), Also("n_classes", "num_classes", "labels")] = None
    _: KW_ONLY
    targets: Annotated[Count | tuple[Count, ...] | None, Also("outputs", "n_targets", "n_outputs")] = None
    inputs: Annotated[tuple[str, ...] | None, Also("input_names")] = None
    samples: Annotated[Count, Also("n_samples", "train")] = 1000
    test: Share = 0.2

    _data: GivenData | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for `classes` together with a number of `targets`."""
        check_names(self.inputs)
        if self.inputs and isinstance(self.features, tuple) and len(self.features) != len(self.inputs):
            raise ValueError("`features` is one number for all `inputs`, or one for each")
        if self.classes is not None and isinstance(self.targets, int):
            raise ValueError(
                "`classes` and a number of `targets` exclude each other: a target is a class, or numbers; for several "
                "labels per sample, `targets` is their shape: `targets=[4]`"
            )

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of a sample that the spec expects."""
        if self.inputs and self.features is not None:
            return (sum(self._sizes),)
        return (self.features,) if isinstance(self.features, int) else self.features

    @property
    def _sizes(self) -> tuple[int, ...]:
        """The number of numbers of each input that the spec expects."""
        given = self.features or 1
        if isinstance(given, tuple):
            return given if self.inputs else ()
        return (given,) * len(self.inputs or ())

    @property
    def target(self) -> tuple[int, ...]:
        """The shape of a target that the spec expects; () for a label or a single number."""
        return () if self.targets in (None, 1) else (self.targets,) if isinstance(self.targets, int) else self.targets

    def looks_at(self) -> tuple[str, ...]:
        """No files."""
        return ()

    def with_data(self, data: GivenData) -> Given:
        """Return the same source with data."""
        source = copy.copy(self)
        source._data = data
        return source

    def facts(self) -> Facts:
        """What the data is; without data, what the spec expects. Raises FileFault for data that the spec does not
        expect, and for arrays that do not go together."""
        return self._expected() if self._data is None else super().facts()

    def load(self, access: Access) -> Dataset:
        """Return the data that `access` holds. Raises DataUnavailable if it holds none, and what `facts` raises."""
        data = access.given
        if not isinstance(data, GivenData):
            raise DataUnavailable(
                "this spec trains on data from Python: pass `data=(X, y)` to nnspec.run, nnspec.runs.verify or "
                "nnspec.runs.evaluate; on the command line, name a data source, such as "
                """--set 'data=CSV("table.csv", target="COLUMN")'"""
            )
        dataset = super(Given, self.with_data(data)).load(access)
        return replace(
            dataset,
            columns=data.columns,
            target_names=() if dataset.facts.classes else data.target_names,
            notes=(*data.notes, *dataset.notes),
        )

    def parts(self) -> tuple[Parts, list[Remark]]:
        """Return the arrays."""
        data = self._data
        train = data.pair("train") if data is not None else None
        if data is None or train is None:
            raise TypeError("without data, there are no parts")
        self._refuse_missing_cells(data)
        return Parts(train, data.pair("val"), data.pair("test")), []

    def _survey(self) -> Any:
        survey = super()._survey()
        facts = survey.facts
        if self.shape not in (None, facts.shape):
            raise FileFault(
                f"a sample of the data is {_in_words(facts.shape)}, but the spec expects {_in_words(self.shape)}",
                argument="features",
            )
        names = tuple(each.name for each in facts.inputs)
        if self.inputs is not None and names != self.inputs:
            has = f"the inputs {', '.join(names)}" if names else "one input"
            message = f"the data has {has}, but the spec expects {', '.join(self.inputs)}"
            raise FileFault(message, argument="inputs", help='pass `({"left": …, "right": …}, y)`, in this order')
        if isinstance(self.targets, tuple) and facts.target != self.targets:
            shape = _in_words(facts.target or (1,))
            message = f"a target of the data is {shape}, but the spec expects {_in_words(self.targets)}"
            raise FileFault(message, argument="targets")
        if self.classes is not None and self.classes not in (facts.classes, len(facts.levels)):
            kind = f"{facts.classes} classes" if facts.classes else "targets that are numbers"
            raise FileFault(f"the data has {kind}, but the spec expects {self.classes} classes", argument="classes")
        count = self.targets if isinstance(self.targets, int) else None
        if count is not None and (facts.classes is not None or prod(facts.target) != count):
            kind = f"{facts.classes} classes" if facts.classes else f"{prod(facts.target)} numbers as targets"
            raise FileFault(f"the data has {kind}, but the spec expects {count} numbers", argument="targets")
        if self._data is not None and self._data.columns:
            columns = self._data.columns
            facts = replace(
                facts,
                columns=fields_of((each.name, each.width) for each in columns),
                target_names=() if facts.classes else self._data.target_names,
            )
        return survey._replace(facts=facts)

    def _labels_inside(self, targets: Header, samples: Arrangement) -> bool:
        labels = self.classes is not None and bool(self.targets)
        return (labels and targets.shape[1:] == self.targets) or super()._labels_inside(targets, samples)

    def _labels(self, pairs: Sequence[Pair], kept: Sequence[NDArray[Any] | None]) -> Labels:
        """Return the labels; if the spec names the number of classes, some of them may not occur."""
        counts = self._label_counts(pairs, kept)
        if self.classes is None or not all(type(value) is int and 0 <= value < self.classes for value in counts):
            return super()._labels(pairs, kept)
        return Labels(tuple(range(self.classes)), tuple(counts.get(value, 0) for value in range(self.classes)))

    def _expected(self) -> Facts:
        own = (len(self.inputs),) if self.inputs and self.ids is not None and self.features is None else self.shape
        if own is None:
            raise FileFault(
                "the number of features is unknown",
                argument="features",
                help="`Given(features=4, classes=3)`; or pass the data: `nnspec.run(spec, data=(X, y))`",
            )
        test = round(self.samples * self.test / (1 - self.test))
        target = self.target
        if self.ids is not None:
            header = Header("<i8", (self.samples, *own))
            shape, stored = self._arrange_ids(header, "`features`").shape, stored_as(header, self.ids)
            at_places = self.classes is not None and target != ()
            padded = self.padding is not None and target == shape
            more: dict[str, Any] = {
                "tokens": self.ids,
                "inputs": self._expected_inputs(self.ids),
                "padding": self.padding,
                "ignores": at_places and (self.ignore is not None or padded),
            }
            return Facts(shape, self.classes, self.samples, test, stored, target, ordered=True, **more)
        stored = "uint8" if self.divisor == 255 else "float64"
        more = {"axes": self.axes or (), "inputs": self._expected_inputs()}
        return Facts(own, self.classes, self.samples, test, stored, target, ordered=True, **more)

    def _expected_inputs(self, ids: int = 0) -> tuple[Field, ...]:
        fields = fields_of(zip(self.inputs or (), self._sizes, strict=True))
        if not ids:
            return tuple(replace(field, shape=field.shape or (1,)) for field in fields)
        return tuple(replace(field, tokens=ids, padding=self.padding if field.shape else None) for field in fields)

    def _refuse_missing_cells(self, data: GivenData) -> None:
        """Raise FileFault for a missing cell of a table, with its column."""
        if not data.columns or self.missing != "error":
            return
        for role in _ROLES:
            if (pair := data.pair(role)) is None:
                continue
            gaps = pair.x.rows_with(float("nan"))
            if not gaps.any():
                continue
            x = pair.x.read(labels=True)
            place = 0
            for column in data.columns:
                width = column.width
                there = np.isnan(x[:, place])
                place += width
                if there.any():
                    raise FileFault(
                        f"column `{column.name}` has {int(there.sum()):,} missing values, the first in row "
                        f"{int(np.argmax(there)):,} (counted from 0)",
                        help="`missing = drop` drops these rows; or fill them in: `df.fillna(…)`",
                    )


def _in_words(shape: tuple[int, ...] | None) -> str:
    shape = shape or ()
    return f"{shape[0]} numbers" if len(shape) == 1 else "×".join(map(str, shape))


def given_data(data: Any, target: str | Sequence[str] | None = None) -> GivenData:
    """Turn what a caller passes as `data` into arrays.

    Args:
        data: `(X, y)`; `((X, y), (X_test, y_test))`; a mapping with `x_train`, `y_train` and optionally `x_val`,
            `y_val`, `x_test` and `y_test`, and weights of samples `w_train`, `w_val` and `w_test`; a DataFrame of
            pandas, polars or another library with `__dataframe__`, or a mapping of such to `train`, `val` and `test`.
        target: the column of a DataFrame to predict, or several.

    Raises DataError for anything else, and for arrays that hold neither numbers nor text.
    """
    frames = {"train": data} if is_frame(data) else data if _are_frames(data) else None
    if frames is not None:
        if target is None:
            raise DataError('a DataFrame needs the column to predict: `target="COLUMN"`')
        return arrays_of(frames, tuple(map(str, target)) if isinstance(target, (list, tuple)) else (str(target),))
    if target is not None:
        raise DataError(f"`target` names a column of a DataFrame, and the data is {kind_of(data)}; pass it as (X, y)")
    arrays = _by_role(data)
    several = {name: _several(key, value) for name, (key, value) in arrays.items() if isinstance(value, Mapping)}
    plain = {name: pair for name, pair in arrays.items() if name not in several}
    if wrong := next((name for name in several if not name.startswith(("x_", "y_"))), None):
        raise DataError(f"`{arrays[wrong][0]}` must be an array, not {kind_of(arrays[wrong][1])}")
    found = {name: MemoryArray(key, as_array(key, value)) for name, (key, value) in plain.items()}
    return GivenData(
        found | _named_targets({name: several.pop(name) for name in [*several] if name.startswith("y_")}),
        several=several,
    )


def _named_targets(several: Mapping[str, SeveralArrays]) -> dict[str, MemoryArray]:
    """Return targets by name as rows, for each role. Raises DataError if roles have other names."""
    names = {role: [name for name, _ in each.arrays] for role, each in several.items()}
    for role, own in names.items():
        first = next(iter(names.values()))
        if own != first:
            raise DataError(f"`{role}` has the targets {', '.join(own)}, but others have {', '.join(first)}")
    if not several:
        return {}
    return dict(zip(several, join_targets([each.arrays for each in several.values()]), strict=True))


def _are_frames(data: Any) -> bool:
    return isinstance(data, Mapping) and bool(data) and all(is_frame(value) for value in data.values())


def _by_role(data: Any) -> dict[str, tuple[str, Any]]:
    """Return arrays by role, each with what messages call it. Raises DataError."""
    if isinstance(data, Mapping):
        return _of_mapping(data)
    if isinstance(data, (tuple, list)) and len(data) == 2:
        first, second = data
        if isinstance(first, tuple) and isinstance(second, tuple) and len(first) == len(second) == 2:
            (x, y), (x_test, y_test) = first, second
            named = {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}
            return {name: (name, value) for name, value in named.items()}
        return {"x_train": ("X", first), "y_train": ("y", second)}
    help = ""
    if isinstance(data, (tuple, list)) and len(data) == 4:
        help = "; with four arrays, say which is which: {'x_train': …, 'x_test': …, 'y_train': …, 'y_test': …}"
    raise DataError(f"`data` must be {_FORMS}, not {kind_of(data)}{help}")


def _several(key: str, inputs: Mapping[Any, Any]) -> SeveralArrays:
    """Return several inputs by name as one. Raises DataError."""
    names = tuple(map(str, inputs))
    try:
        check_names(names, "targets" if key.startswith("y") else "inputs")
    except ValueError as error:
        raise DataError(f"`{key}`: {error}") from None
    arrays = {name: f"{key}[{name!r}]" for name in names}
    values = zip(arrays.items(), inputs.values(), strict=True)
    return SeveralArrays(tuple((name, MemoryArray(words, as_array(words, value))) for (name, words), value in values))


def _of_mapping(data: Mapping[Any, Any]) -> dict[str, tuple[str, Any]]:
    words = {"valid": "val", "validation": "val", "dev": "val", "": "train"}
    arrays: dict[str, tuple[str, Any]] = {}
    for key, value in data.items():
        kind, _, role = str(key).lower().partition("_")
        name = f"{kind}_{words.get(role, role)}"
        if kind not in _KINDS or name.partition("_")[2] not in _ROLES:
            known = [f"{each}_{role}" for role in _ROLES for each in _KINDS]
            raise DataError(f"`data` has an unknown key {key!r}; {or_near(str(key), known)}")
        if name in arrays:
            raise DataError(f"`data` has both {arrays[name][0]!r} and {key!r}, which mean the same")
        arrays[name] = (str(key), value)
    for role in _ROLES:
        there = [name for name in (f"x_{role}", f"y_{role}") if name in arrays]
        if len(there) == 1 or (not there and (role == "train" or f"w_{role}" in arrays)):
            missing = next(name for name in (f"x_{role}", f"y_{role}") if name not in arrays)
            raise DataError(f"`data` has no {missing!r}")
    return {name: arrays[name] for name in (f"{each}_{role}" for role in _ROLES for each in _KINDS) if name in arrays}
