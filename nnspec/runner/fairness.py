"""Whether the lanes of a race had the same data, the same order of batches and the same weights to start with.

This is measured, not concluded from the spec: digests are taken of the arrays that training used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nnspec.compiler.plan import Plan
from nnspec.engine._numpy import np
from nnspec.runner.history import RunResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["array_digest", "fairness", "next_digest", "start_digests", "tensor_digests"]

_LETTERS = 16
"""Hexadecimal digits of a digest: 64 bits tell arrays apart that nobody chose to look alike."""


def start_digests(plan: Plan) -> dict[str, str]:
    """Return a digest of each tensor of a plan's network, by full name; equal bytes and shape, equal digest."""
    parameters = plan.network.named_parameters()
    return {name: next_digest(str(p.shape), p.data) for name, p in parameters.items()}


def tensor_digests(plan: Plan) -> dict[str, str]:
    """Return a digest of each tensor as it is now, and of what layers remember beside their parameters."""
    return {name: array_digest(array) for name, array in plan.network.state_dict().items()}


def array_digest(array: NDArray[Any]) -> str:
    """Return a digest of an array: its type, its shape and its bytes."""
    return next_digest(f"{array.dtype}{array.shape}", array)


def next_digest(before: str, array: NDArray[Any]) -> str:
    """Return the digest of an array behind what was digested before."""
    digest = hashlib.sha256(before.encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:_LETTERS]


def fairness(result: RunResult) -> dict[str, bool | None] | None:
    """Say what the lanes had in common, None where there is but one. Raises nothing.

    `start` compares tensors of one name and shape, and is None where no two lanes have such. `order` compares lanes
    that trained for as many epochs, and is None where there are no two of these.
    """
    lanes = [lane for lane in result.lanes.values() if lane.epoch_seconds and lane.fingerprints["start"]]
    if len(lanes) < 2:
        return None
    shapes = [{name: p.shape for name, p in lane.network.named_parameters().items()} for lane in lanes]
    starts = [
        ((name, shapes[i][name]), digest)
        for i, lane in enumerate(lanes)
        for name, digest in lane.fingerprints["start"].items()
    ]
    orders = [(len((lane.repeats or (lane,))[0].epoch_seconds), lane.fingerprints["order"]) for lane in lanes]
    return {"data": len({use.sha256 for use in result.data}) == 1, "order": _agree(orders), "start": _agree(starts)}


def _agree(found: Iterable[tuple[Any, str]]) -> bool | None:
    """Whether those of one key are equal; None where every key stands alone."""
    by_key: dict[Any, list[str]] = {}
    for key, digest in found:
        by_key.setdefault(key, []).append(digest)
    several = [digests for digests in by_key.values() if len(digests) > 1]
    return all(len(set(digests)) == 1 for digests in several) if several else None
