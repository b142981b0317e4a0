"""The results of repeats as text: the interval of each lane, and which lanes differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nnspec.results.comparisons import compared_figure, interval_records
from nnspec.results.lane import LaneResult
from nnspec.view.wording import numbers
from nnspec.view.wording.folds import is_cross_validated

__all__ = ["spread"]

_INTERVALS, _COMPARISONS = 12, 6  # that are printed; summary.json has all


def spread(lanes: Sequence[LaneResult], summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield lines, each with its style: `– Adam: test_loss 0.318 ± 0.012 (95 %, 5 seeds)`; none without repeats."""
    figure = compared_figure(lanes)
    validated = {lane["name"] for lane in summary.get("lanes", ()) if is_cross_validated(lane)}
    for lane in lanes[:_INTERVALS]:
        found = interval_records(lane).get("intervals", {}).get(figure)
        if found and found["low"] is not None and found["high"] is not None:
            half = (found["high"] - found["low"]) / 2
            trained = f"95 %, {found['n']} {'folds' if lane.name in validated else 'seeds'}"
            yield f"– {lane.name}: {figure} {found['mean']:.4g} ± {numbers.two_digits(half)} ({trained})", ""
    if len(lanes) > _INTERVALS and any(lane.repeats for lane in lanes):
        yield f"– and the intervals of {len(lanes) - _INTERVALS} more lanes, in summary.json", "dim"
    comparisons: Sequence[Mapping[str, Any]] = summary.get("comparisons", ())
    for comparison in comparisons[:_COMPARISONS]:
        yield f"– {comparison['text']}", "" if comparison["shown"] else "dim"
    if len(comparisons) > _COMPARISONS:
        yield f"– and {len(comparisons) - _COMPARISONS} more comparisons, in summary.json", "dim"
