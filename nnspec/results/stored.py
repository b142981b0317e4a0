"""A lane as plain values and arrays: its form in checkpoints and in messages between processes.

Values are JSON types, so they are the same in a file, in a pipe and on a cluster. The network is not stored: it is
rebuilt from the experiment, and its arrays are loaded into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.length import Length
from nnspec.errors import NnspecError
from nnspec.results.epochs import columns, from_columns, number, text
from nnspec.results.lane import LaneResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.engine.network import Sequential

__all__ = ["UnstorableError", "lane_from", "lane_values", "learned_from", "plain", "scaling_arrays", "scaling_from"]

_ARRAYS = frozenset({"scaling", "target_scaling", "learned"})
_REBUILT = frozenset({"network", "predictor", "writer", "repeats"})
_COLUMNS = frozenset({"records", "figures", "start"})
"""Fields stored as columns and as `fingerprints`."""

_PLAIN = {"str": str, "int": int, "dict": dict, "Status": str}
"""The JSON types for fields of these types."""


_STORED_AS = {"restored_epoch": "kept"}
"""Fields that have another name in stored values, so that older checkpoints can be read."""


class UnstorableError(NnspecError):
    """A value that can neither be stored nor sent to another process. The message names its field."""


def plain(value: Any, field: str) -> Any:
    """Return a value as JSON types: None, bool, int, float, str, lists, and dicts with text keys.

    NumPy scalars become Python's, tuples become lists. Raises UnstorableError for any other type.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.generic) and value.dtype.kind in "biufU":
        return value.item()
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{field}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise UnstorableError(f"`{field}` has the key {wrong[0]!r}; results have text as keys")
        return {key: plain(item, f"{field}[{key!r}]") for key, item in value.items()}
    raise UnstorableError(
        f"`{field}` is of type {type(value).__name__}, which cannot be stored or sent to another process: "
        "use numbers, text, lists or dicts"
    )


def lane_values(lane: LaneResult) -> dict[str, Any]:
    """Return the plain values of a lane that has no repeats. Raises UnstorableError."""
    others = [field.name for field in fields(lane) if field.name not in _ARRAYS | _REBUILT | _COLUMNS | {"length"}]
    length = {} if lane.length is None else {"length": asdict(lane.length)}
    values = (
        length
        | {_STORED_AS.get(name, name): getattr(lane, name) for name in others}
        | {"fingerprints": lane.fingerprints}
    )
    return {name: plain(value, name) for name, value in (values | columns(lane.records, lane.figures)).items()}


def scaling_arrays(lane: LaneResult) -> dict[str, NDArray[Any]]:
    """Return mean and standard deviation of what is standardised, and what the loss has learned, by names that begin
    with `scaling.`."""
    return {f"scaling.{name}": array for name, array in lane.scales.items()}


def scaling_from(arrays: Mapping[str, NDArray[Any]], what: str) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return mean and standard deviation of the `input` or `target` from `scaling_arrays`; None if it is not
    standardised."""
    name = f"scaling.{what}"
    return (arrays[f"{name}.mean"], arrays[f"{name}.deviation"]) if f"{name}.mean" in arrays else None


def learned_from(arrays: Mapping[str, NDArray[Any]], prefix: str = "scaling.loss.") -> dict[str, NDArray[Any]]:
    """Return what the loss has learned, from `scaling_arrays` or from a file of weights."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def lane_from(values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], network: Sequential) -> LaneResult:
    """Return the lane of `lane_values` and `scaling_arrays`; `network` already has its weights.

    Raises LookupError, TypeError, OverflowError or AttributeError for damaged values.
    """
    table = {name: values[name] for name in ("history", "epoch_seconds", "rates", "trace", "gradients")}
    table["evaluations"] = values.get("evaluations", [])  # checkpoints of older versions have none
    fields_of = {stored: name for name, stored in _STORED_AS.items()}
    skipped = table.keys() | {"fingerprints"}
    others = {fields_of.get(name, name): value for name, value in values.items() if name not in skipped}
    for field in fields(LaneResult):
        annotation, name = str(field.type), field.name
        kind = None if annotation.endswith("| None") else _PLAIN.get(annotation.partition("[")[0])
        if kind is not None and name in others and type(others[name]) is not kind:
            raise TypeError(f"`{name}` cannot be {str(others[name])[:40]!a}")
    start = {tensor: text(digest) for tensor, digest in values["fingerprints"]["start"].items()}
    if start and (missing := network.named_parameters().keys() - start):
        raise LookupError(f"it has no digest of the initial {min(missing)}")
    for name, counts in values["dead"].items():
        if type(counts) is not list or [type(count) for count in counts] != [int, int, int]:
            raise TypeError(f"`dead[{name!a}]` cannot be {str(counts)[:40]!a}")
    for value in (*values["baseline"].values(), *values["broken"].values()):
        if value is not None:
            number(value)
    if (length := others.pop("length", None)) is not None:
        others["length"] = _length(length)
    return LaneResult(
        network=network,
        figures=tuple(table["history"]),
        records=tuple(from_columns(table, text(values["fingerprints"]["order"]))),
        start=start,
        scaling=scaling_from(arrays, "input"),
        target_scaling=scaling_from(arrays, "target"),
        learned=learned_from(arrays),
        **others,
    )


def _length(values: Mapping[str, Any]) -> Length:
    """Return a length from its plain values. Raises TypeError or LookupError for damaged ones."""
    counts = [values[name] for name in ("steps", "per_epoch", "record")]
    if any(type(count) is not int or count < 1 for count in counts) or values["by_step"] is not True:
        raise TypeError(f"`length` cannot be {str(values)[:80]!a}")
    return Length(counts[0], counts[1], counts[2], by_step=True)
