"""Whether the lanes of a race had the same data, the same order of batches and the same weights to start with.

This is measured, not concluded from the spec: digests are taken of the arrays that training used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from nnspec.results.run import RunResult

if TYPE_CHECKING:
    pass

__all__ = ["fairness"]


def fairness(result: RunResult) -> dict[str, Any] | None:
    """Say what the lanes had in common, None where there is but one. Raises nothing.

    `data` is a truth. `order` compares lanes that trained for as many epochs, and is None where there are no two of
    these. `start` is true where every tensor that any lane trains started with the same numbers in all of them, false
    where two lanes started the same tensor differently, and None where tensors could not be compared and all that
    could were equal. `weights` counts the tensors, by name, and their numbers:

        shared          in every lane, of one shape and with the same numbers
        different       of one shape in two lanes that started it with different numbers
        not_compared    neither: a lane lacks it, or has it in another shape
    """
    lanes = [lane for lane in result.lanes.values() if lane.epoch_seconds and lane.fingerprints["start"]]
    if len(lanes) < 2:
        return None
    starts = [
        {name: (p.shape, lane.fingerprints["start"][name]) for name, p in lane.network.named_parameters().items()}
        for lane in lanes
    ]
    orders = [(len((lane.repeats or (lane,))[0].records), lane.fingerprints["order"]) for lane in lanes]
    weights = _weights(starts)
    different, apart = weights["different"]["tensors"], weights["not_compared"]["tensors"]
    return {
        "data": len({use.sha256 for use in result.data}) == 1,
        "order": _agree(orders),
        "start": False if different else None if apart else True,
        "weights": weights,
    }


def _weights(starts: Sequence[Mapping[str, tuple[tuple[int, ...], str]]]) -> dict[str, dict[str, int]]:
    """Count the tensors that lanes share to start with, of the shape and the digest of each."""
    counts = {kind: {"tensors": 0, "numbers": 0} for kind in ("shared", "different")}
    not_compared = 0
    for name in dict.fromkeys(name for start in starts for name in start):
        found = [start[name] for start in starts if name in start]
        if len(found) == len(starts) and len(set(found)) == 1:
            kind = "shared"
        elif _agree(found) is False:
            kind = "different"
        else:
            not_compared += 1
            continue
        counts[kind]["tensors"] += 1
        counts[kind]["numbers"] += prod(found[0][0])
    return {**counts, "not_compared": {"tensors": not_compared}}


def _agree(found: Iterable[tuple[Any, str]]) -> bool | None:
    """Whether those of one key are equal; None where every key stands alone."""
    by_key: dict[Any, list[str]] = {}
    for key, digest in found:
        by_key.setdefault(key, []).append(digest)
    several = [digests for digests in by_key.values() if len(digests) > 1]
    return all(len(set(digests)) == 1 for digests in several) if several else None
