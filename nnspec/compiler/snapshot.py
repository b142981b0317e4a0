"""The complete state of a plan between two records, saved and restored: training continues bit for bit.

Everything else is derived again from the seed and the epoch's number: the order of samples, and batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnspec.compiler.plan import Plan
from nnspec.engine._numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Snapshot", "restore", "result", "take"]


@dataclass(frozen=True)
class Snapshot:
    """Arrays by name (parameters, state of layers, state of the optimizer) and, as plain data, everything else."""

    arrays: Mapping[str, NDArray[Any]]
    values: Mapping[str, Any]


def take(plan: Plan) -> Snapshot:
    """Copy the state of a plan, between two epochs."""
    arrays = {name: array.copy() for name, array in _arrays(plan).items()}
    follower = plan.optimizer.follower
    return Snapshot(
        arrays,
        {
            "steps": plan.optimizer.steps,
            "schedule": follower.state() if follower is not None else None,
            "noise": [rng.bit_generator.state for rng in plan.noise],
            "draws": plan.data.draws,
            **({"optimizer": scalars} if (scalars := plan.optimizer.scalars()) else {}),
            **({"averaged": plan.average.averaged} if plan.average is not None else {}),
        },
    )


def restore(plan: Plan, snapshot: Snapshot, records: int) -> None:
    """Set an untrained plan to the state of another one of the same experiment, after this many records.

    Raises ValueError for a snapshot of another experiment, before anything is changed.
    """
    arrays, generators, values = _arrays(plan), plan.noise, snapshot.values
    if arrays.keys() != snapshot.arrays.keys() or len(generators) != len(values["noise"]):
        raise ValueError("it holds other arrays")
    for name, array in arrays.items():
        found = snapshot.arrays[name]
        if found.shape != array.shape or found.dtype != array.dtype:
            raise ValueError(f"{name} is {found.dtype} {found.shape}, not {array.dtype} {array.shape}")
    for name, array in arrays.items():
        np.copyto(array, snapshot.arrays[name])
    for rng, state in zip(generators, values["noise"], strict=True):
        rng.bit_generator.state = state
    epoch, number = divmod(plan.span(records).start, plan.batches)
    if number:  # in the middle of an epoch; otherwise everything is derived again where the next one begins
        plan.data.shuffle(epoch)
        plan.data.draws = values["draws"]
    plan.optimizer.steps = int(values["steps"])
    if "optimizer" in values:
        plan.optimizer.keep_scalars(values["optimizer"])
    if plan.average is not None:
        plan.average.averaged = int(values["averaged"])
    if plan.optimizer.follower is not None:
        plan.optimizer.follower.keep_state(values["schedule"])


def _arrays(plan: Plan) -> dict[str, NDArray[Any]]:
    """Name the arrays in the state of a plan; parameters are in the order of the network, not of training."""
    network = plan.network
    state = {f"layer.{name}": array for name, array in network.state().items()}
    evaluated = plan.optimizer.evaluated  # among the averages
    moments = {f"optimizer.{name}": array for name, array in plan.optimizer.state[0].items() if name != evaluated}
    averages = {f"average.{name}": array for name, array in plan.averages().items()}
    return {"parameters": plan.buffers["parameters"], **state, **moments, **averages}


def result(snapshot: Snapshot) -> dict[str, NDArray[Any]]:
    """Return the `parameters` of a snapshot and its `layer.…` state as they are evaluated: averaged, if there is an
    average.
    """
    prefix = "average."
    averages = {name.removeprefix(prefix): a for name, a in snapshot.arrays.items() if name.startswith(prefix)}
    return {**snapshot.arrays, **(averages if snapshot.values.get("averaged") else {})}
