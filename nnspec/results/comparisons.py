"""Comparisons of a run's lanes over their seeds, as recorded in the summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nnspec.results.lane import LaneResult
from nnspec.statistics.comparison import Contender, among, compare
from nnspec.text import finite

__all__ = ["compared_figure", "comparison_records", "contender_of", "interval_records"]


def compared_figure(lanes: Iterable[LaneResult]) -> str:
    """Return the figure to compare lanes by: `test_loss` if every lane has it, else `loss`."""
    return "test_loss" if all("test_loss" in lane.figures for lane in lanes) else "loss"


def contender_of(lane: LaneResult) -> Contender:
    """Return a lane as a contender in comparisons: only its finished repeats count."""
    done = [one for one in lane.repeats if one.status == "done"]
    return Contender(
        "", lane.name, lane.loss, {one.seed: {name: one.final(name) for name in one.figures} for one in done}
    )


def interval_records(lane: LaneResult) -> dict[str, Any]:
    """Return, for the summary, a confidence interval of each figure over the finished repeats; {} without repeats."""
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
    """Return, for the summary, the comparisons of lanes; {} if no lane has repeats."""
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
