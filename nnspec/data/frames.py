"""Tables in memory, of pandas, polars and others: their columns become features, as those of a CSV table do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nnspec.data.array_file import MemoryArray
from nnspec.data.csv_columns import MOST_TEXTS
from nnspec.data.memory import GivenData, as_array, or_near
from nnspec.data.source import Column, DataError
from nnspec.engine._numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["arrays_of", "is_frame"]

_LISTED = 6


def is_frame(value: Any) -> bool:
    """Whether a value is a table with named columns."""
    return any(hasattr(value, name) for name in ("__dataframe__", "collect", "columns"))


def arrays_of(frames: Mapping[Any, Any], targets: tuple[str, ...]) -> GivenData:
    """Turn tables into arrays: numbers and booleans are features as they are, and text is one-hot encoded, with the
    texts of the training table sorted.

    Raises DataError for unknown columns, and for those that hold neither numbers nor text.
    """
    words = {"validation": "val", "valid": "val", "dev": "val"}
    tables = {words.get(str(role), str(role)): _columns(frame) for role, frame in frames.items()}
    if not set(tables) <= {"train", "val", "test"} or "train" not in tables:
        raise DataError(f"tables are named train, val and test, not {', '.join(map(str, frames))}")
    train = tables["train"]
    if not targets or len({*targets}) < len(targets):
        raise DataError(f"`target` must name different columns, not {list(targets)}")
    for name in targets:
        if name not in train:
            raise DataError(f"the table has no column {name!r}; {or_near(name, train)}")
    names = [name for name in train if name not in targets]
    if not names:
        raise DataError(f"the table has no column beside {', '.join(map(repr, targets))}")
    columns = tuple(Column(name, _texts(name, train[name])) for name in names)
    arrays: dict[str, MemoryArray] = {}
    notes: list[str] = []
    for role, table in tables.items():
        for name in (*names, *targets):
            if name not in table:
                raise DataError(f"the {role} table has no column {name!r}")
        arrays[f"x_{role}"] = MemoryArray(f"x_{role}", _features(columns, table, role, notes))
        arrays[f"y_{role}"] = MemoryArray(", ".join(targets), _targets(targets, table))
    return GivenData(arrays, columns, targets, tuple(notes))


def _columns(frame: Any) -> dict[str, NDArray[Any]]:
    """Return the columns of a table, by name. Raises DataError."""
    if hasattr(frame, "collect"):
        raise DataError(
            f"a {type(frame).__name__} is computed later; pass the table itself, such as `.collect()` of it"
        )
    frame = frame if hasattr(frame, "columns") else _converted(frame)
    names = [str(name) for name in frame.columns]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise DataError(f"the table has several columns {repeated!r}")
    return {str(name): _values(str(name), frame[name]) for name in frame.columns}


def _converted(frame: Any) -> Any:
    """Convert a table of another library by the interchange protocol. Raises DataError."""
    for library in ("pandas.api.interchange", "polars"):
        with suppress(ImportError):
            return import_module(library).from_dataframe(frame)
    raise DataError(f"a {type(frame).__name__} can only be read with pandas or polars, and neither is installed")


def _values(name: str, column: Any) -> NDArray[Any]:
    """Return a column as floats, with NaN where values are missing, or as objects: text, with None where it is missing.
    Raises DataError for what is neither."""
    try:
        values = np.asarray(column.to_numpy() if hasattr(column, "to_numpy") else column)
    except Exception as error:  # each library has errors of its own
        raise DataError(f"column {name!r} cannot be converted to an array: {error}") from error
    if values.ndim != 1:
        raise DataError(f"column {name!r} holds arrays, not numbers or text")
    if values.dtype.kind in "biuf":
        return values
    if values.dtype.kind in "US":
        return values.astype(np.str_).astype(object)
    if values.dtype.kind == "T":
        values = values.astype(object)
    if values.dtype.kind != "O":
        raise DataError(
            f"column {name!r} holds {values.dtype.name}, not numbers or text; drop it, or convert it to numbers"
        )
    missing = np.array([_is_missing(value) for value in values.tolist()], bool)
    rest = as_array(name, values[~missing]) if not missing.all() else np.empty(0)
    if rest.dtype.kind in "US":
        values = values.copy()
        values[missing] = None
        return values
    filled = np.full(len(values), np.nan)
    filled[~missing] = rest
    return filled if missing.any() else rest


def _is_missing(value: Any) -> bool:
    """Whether an object is None, NaN, or what pandas has for a missing value, which cannot be compared."""
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    )


def _texts(name: str, values: NDArray[Any]) -> tuple[str, ...] | None:
    """Return the distinct texts of a column, sorted; None for numbers. Raises DataError for too many."""
    if values.dtype != object:
        return None
    texts = sorted({value for value in values.tolist() if value is not None})
    if len(texts) > MOST_TEXTS:
        raise DataError(f"column {name!r} has {len(texts):,} different texts, more than {MOST_TEXTS:,}; drop it")
    return tuple(texts)


def _features(columns: Sequence[Column], table: Mapping[str, Any], role: str, notes: list[str]) -> NDArray[Any]:
    """Return x `(rows, features)`. A missing value is NaN, in all features of a text."""
    rows = len(next(iter(table.values())))
    x = np.zeros((rows, sum(1 if column.texts is None else len(column.texts) for column in columns)))
    place = 0
    for column in columns:
        values = table[column.name]
        if column.texts is None:
            if values.dtype == object:
                raise DataError(f"column {column.name!r} of the {role} table holds text, but numbers in training")
            x[:, place] = values
            place += 1
            continue
        if values.dtype != object:
            raise DataError(f"column {column.name!r} of the {role} table holds numbers, but text in training")
        index = {text: number for number, text in enumerate(column.texts)}
        unseen: dict[str, int] = {}
        for row, text in enumerate(values.tolist()):
            if text is None:
                x[row, place : place + len(index)] = np.nan
            elif text in index:
                x[row, place + index[text]] = 1
            else:
                unseen[text] = unseen.get(text, 0) + 1
        if unseen:
            listed = ", ".join(map(repr, [*unseen][:_LISTED])) + (" …" if len(unseen) > _LISTED else "")
            times = sum(unseen.values())
            notes.append(
                f"the {role} table has texts in {column.name!r} that do not occur in training: {listed}, in {times:,} "
                f"row{'s' * (times != 1)}"
            )
        place += len(index)
    return x


def _targets(targets: Sequence[str], table: Mapping[str, Any]) -> NDArray[Any]:
    """Return y `(rows,)`, or `(rows, targets)` of numbers. Raises DataError for a missing text."""
    columns = [table[name] for name in targets]
    for name, values in zip(targets, columns, strict=True):
        if values.dtype == object and (gaps := sum(value is None for value in values.tolist())):
            raise DataError(
                f"the target {name!r} is missing in {gaps:,} rows; drop them: `df.dropna(subset=[{name!r}])`"
            )
    if len(columns) == 1:
        return columns[0].astype(np.str_) if columns[0].dtype == object else columns[0]
    for name, values in zip(targets, columns, strict=True):
        if values.dtype == object:
            raise DataError(f"the target {name!r} is text, but several targets must be numbers")
    return np.stack([values.astype(np.float64) for values in columns], axis=1)
