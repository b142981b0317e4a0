"""Reading the initial weights of lanes: `init_from`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import Experiment, Initial, Program
from nnspec.data.files import shown
from nnspec.data.source import DataError
from nnspec.engine._numpy import np
from nnspec.errors import some_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.checker.program import LoadedTensor

__all__ = ["weights_notes", "with_all_weights", "with_weights"]


def with_all_weights(program: Program) -> Program:
    """Return a program whose lanes have the values of their initial weights; lanes that load the same share them.

    Raises FileFault for a file that cannot be read, and DataError for one that has changed since it was checked, and
    for weights that the dtype of a lane cannot represent.
    """
    if all(lane.initial is None for lane in program.lanes):
        return program
    lanes: list[Experiment] = []
    for lane in program.lanes:
        twin = next((each for each in lanes if (each.initial, each.dtype) == (lane.initial, lane.dtype)), None)
        lanes.append(with_weights(lane) if twin is None else replace(lane, initial=twin.initial))
    return replace(program, lanes=tuple(lanes))


def with_weights(experiment: Experiment) -> Experiment:
    """Return a lane with the values of its initial weights. Raises DataError."""
    initial = experiment.initial
    if initial is None or initial.complete:
        return experiment
    arrays: dict[str, NDArray[Any]] = {}
    for path, facts in initial.files.items():
        tensors = [each for each in initial.tensors if each.weights.path == path]
        if not tensors:
            continue
        stored = tensors[0].weights.load(facts, (each.key for each in tensors))
        for each in tensors:
            array = stored[each.key].T if each.transposed else stored[each.key]
            _refuse_unusable(each, array, experiment.dtype)
            arrays[each.name] = np.ascontiguousarray(array)
    return replace(experiment, initial=replace(initial, arrays=arrays))


def _refuse_unusable(tensor: LoadedTensor, array: NDArray[Any], dtype: str) -> None:
    """Raise DataError for weights that are not finite, or not in this dtype."""
    with np.errstate(over="ignore"):
        bad = np.argwhere(~np.isfinite(array.astype(dtype)))
    if len(bad):
        at = tuple(bad[0].tolist())
        place = f"{tensor.name}[{', '.join(map(str, at))}]" if at else tensor.name
        value = float(array[at])
        why = f"is {value:g}" if not np.isfinite(value) else f"is {value:g}, which is too large for {dtype}"
        raise DataError(
            f"weights from {shown(tensor.weights.path)} cannot be used: {place} {why}; load other weights, or set "
            f"`init_from.{tensor.name.rpartition('.')[0]} = none`"
        )


def weights_notes(program: Program) -> Iterator[str]:
    """Say which tensors of each lane were loaded, and which were not."""
    groups: list[tuple[Initial, str, list[str]]] = []
    for lane in program.lanes:
        if lane.initial is None or not lane.initial.tensors:
            continue
        known = next(
            (names for initial, dtype, names in groups if (initial, dtype) == (lane.initial, lane.dtype)), None
        )
        if known is None:
            groups.append((lane.initial, lane.dtype, [lane.name]))
        else:
            known.append(lane.name)
    for initial, dtype, lanes in groups:
        every = len(groups) == 1 and len(lanes) == len(program.lanes)
        yield ("" if every else f"{some_of(lanes, 4)}: ") + "; ".join(_in_words(initial, dtype))


def _in_words(initial: Initial, dtype: str) -> Iterator[str]:
    for path, facts in initial.files.items():
        tensors = [each for each in initial.tensors if each.weights.path == path]
        if not tensors:
            continue
        stored = dict.fromkeys(each.stored for each in tensors)
        converted = "" if [*stored] == [dtype] else f", converted from {' and '.join(stored)} to {dtype}"
        names = some_of([each.name for each in tensors], 6)
        yield f"{len(tensors)} tensors start from {shown(path)} (sha256 {facts.sha256[:12]}{converted}): {names}"
        if unused := initial.unused(path):
            yield f"not used from the file: {some_of(unused, 6)}"
    if initial.drawn:
        yield f"newly initialised: {some_of(initial.drawn, 6)}"
