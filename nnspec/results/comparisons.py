"""The lanes of a run compared with each other over their seeds, as the summary records it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nnspec.results.lane import LaneResult
from nnspec.statistics.comparison import Contender, among, compare
from nnspec.text import finite

__all__ = ["compared_figure", "comparison_records", "contender_of", "interval_records"]


def compared_figure(lanes: Iterable[LaneResult]) -> str:
    """Return which figure lanes are compared by: `test_loss` where every lane has it, else `loss`."""
    return "test_loss" if all("test_loss" in lane.figures for lane in lanes) else "loss"


def contender_of(lane: LaneResult) -> Contender:
    """Return a lane as it is compared with others: only its repeats that came to their end count."""
    done = [one for one in lane.repeats if one.status == "done"]
    return Contender(
        "", lane.name, lane.loss, {one.seed: {name: one.final(name) for name in one.figures} for one in done}
    )


def interval_records(lane: LaneResult) -> dict[str, Any]:
    """Return, for the summary, the interval of each figure over the repeats that finished: {} without repeats."""
    if not lane.repeats:
        return {}
    contender = contender_of(lane)
    found = {figure: contender.interval(figure) for figure in lane.figures}
    return {
        "intervals": {
            figure: {"mean": finite(one.mean), "low": finite(one.low), "high": finite(one.high), "n": one.n}
            for figure, one in found.items()
        }
    }


def comparison_records(lanes: Sequence[LaneResult]) -> dict[str, Any]:
    """Return, for the summary, the comparisons of lanes: {} where no lane has repeats."""
    if not any(lane.repeats for lane in lanes):
        return {}
    figure = compared_figure(lanes)
    return {
        "comparisons": [
            {
                "lanes": [one.one.lane, one.other.lane],
                "figure": one.figure,
                "difference": finite(one.test.difference),
                "low": finite(one.test.low),
                "high": finite(one.test.high),
                "p": finite(one.test.p),
                "p_adjusted": finite(one.adjusted),
                "n": one.test.n,
                "shown": one.shown,
                "text": one.text(),
            }
            for one in compare(among(map(contender_of, lanes), figure), figure)
        ]
    }
