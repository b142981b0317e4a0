"""Several targets by name: arrays of labels and of numbers, side by side in one row of numbers for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from nnspec.data.array_file import Header, MemoryArray
from nnspec.data.labels import Labels
from nnspec.data.npy import NumpyArray
from nnspec.data.source import Field, FileFault
from nnspec.engine._numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NamedTargets", "join_targets"]

Target = NumpyArray | MemoryArray


@dataclass(frozen=True, eq=False)
class NamedTargets(MemoryArray):
    """The rows of all targets, with the range of each."""

    fields: tuple[Field, ...] = ()


def join_targets(roles: Sequence[Sequence[tuple[str, Target]]], argument: str = "") -> list[NamedTargets]:
    """Return the rows of the targets of each role (training, validation, test): float64 `(n, numbers)`.

    Whole numbers, booleans and text, one for each sample, are classes: their distinct values in all roles, sorted. All
    others are numbers. Raises FileFault for targets that differ in form between roles, or in the number of samples.
    """
    columns: list[list[NDArray[Any]]] = [[] for _ in roles]
    fields: list[Field] = []
    start = 0
    for number, (name, first) in enumerate(roles[0]):
        arrays = [role[number][1] for role in roles]
        heads = [array.header() for array in arrays]
        for array, head, role in zip(arrays, heads, roles, strict=True):
            if head.shape[1:] != heads[0].shape[1:] or _has_labels(head) != _has_labels(heads[0]):
                raise FileFault(
                    f"the targets in `{array.key}` differ in shape or kind from those in `{first.key}`",
                    argument=argument,
                )
            others = role[0][1]
            if head.rows != others.header().rows:
                message = f"`{array.key}` has {head.rows:,} targets, but `{others.key}` has {others.header().rows:,}"
                raise FileFault(message, argument=argument)
        labels = _labels(arrays, argument) if _has_labels(heads[0]) else None
        shape = () if heads[0].shape[1:] in ((), (1,)) else heads[0].shape[1:]
        width = prod(shape)
        for column, array, head in zip(columns, arrays, heads, strict=True):
            values = array.read(labels=labels is not None)
            values = labels.classes_of(values.reshape(-1)) if labels is not None else values
            column.append(np.asarray(values, np.float64).reshape(head.rows, width))
        classes = len(labels.values) if labels is not None else None
        names = labels.names if labels is not None else ()
        fields.append(Field(name, start, start + width, shape, classes=classes, class_names=names))
        start += width
    keys = [", ".join(array.key for _, array in role) for role in roles]
    rows = [np.concatenate(column, axis=1) for column in columns]
    return [NamedTargets(key, row, argument, tuple(fields)) for key, row in zip(keys, rows, strict=True)]


def _has_labels(head: Header) -> bool:
    """Whether an array has a label for each sample: a whole number, a truth value or a text."""
    return head.kind in "US" or (head.kind in "iub" and head.shape[1:] in ((), (1,)))


def _labels(arrays: Sequence[Target], argument: str) -> Labels:
    counts: dict[Any, int] = {}
    for array in arrays:
        for value, count in array.label_counts(None).items():
            counts[value] = counts.get(value, 0) + count
    return Labels.of(counts, f"`{arrays[0].key}`", argument)
