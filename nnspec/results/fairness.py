"""Whether the lanes of a run had the same data, the same batch order and the same initial weights.

This is measured, not inferred from the spec: it compares digests of the arrays that training used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

from nnspec.compiler.layout import Layout
from nnspec.results.run import RunResult

__all__ = ["fairness"]


def fairness(result: RunResult, layouts: Mapping[str, Layout]) -> dict[str, Any] | None:
    """Return what the lanes had in common; None if there is only one. `layouts` has the layout of each lane.

    `data` is a bool. `order` compares lanes that trained for the same number of epochs, and is None if no two did.
    `start` is true if every tensor has the same initial values in all lanes, false if two lanes differ in one, and None
    if some tensors could not be compared and the others were equal. `weights` counts tensors, matched by name, and
    their elements:

        shared          in every lane, of one shape and with the same numbers
        different       of one shape in two lanes, with different numbers
        not_compared    neither: a lane lacks it, or its shape differs
    """
    lanes = [lane for lane in result.lanes.values() if lane.epoch_seconds and lane.fingerprints["start"]]
    if len(lanes) < 2:
        return None
    starts = [
        {f"{t.layer}.{t.name}": (t.shape, digests[f"{t.layer}.{t.name}"]) for t in layouts[lane.name].tensors}
        for lane in lanes
        for digests in (lane.fingerprints["start"],)
    ]
    orders = [(len(lane.trainings[0].records), lane.fingerprints["order"]) for lane in lanes]
    weights = _weights(starts)
    different, apart = weights["different"]["tensors"], weights["not_compared"]["tensors"]
    return {
        "data": len({use.sha256 for use in result.data}) == 1,
        "order": _agree(orders),
        "start": False if different else None if apart else True,
        "weights": weights,
    }


def _weights(starts: Sequence[Mapping[str, tuple[tuple[int, ...], str]]]) -> dict[str, dict[str, int]]:
    """Count the tensors with equal initial values, given the shape and digest of each."""
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
    """Whether digests with the same key are equal; None if no key occurs twice."""
    by_key: dict[Any, list[str]] = {}
    for key, digest in found:
        by_key.setdefault(key, []).append(digest)
    several = [digests for digests in by_key.values() if len(digests) > 1]
    return all(len(set(digests)) == 1 for digests in several) if several else None
