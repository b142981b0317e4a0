"""Problems of the lanes of a run: a line per finding, with its place and advice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from nnspec.checker.program import Experiment
from nnspec.results.health import Finding, findings
from nnspec.results.lane import LaneResult

__all__ = ["health"]

_LINES = 3  # a lane; summary.json has all


def health(lanes: Sequence[LaneResult], experiments: Mapping[str, Experiment]) -> Iterator[str]:
    """Yield lines; none for healthy lanes:

    ! Adam: layer ReLU2 (deep.nn:14): 61 of 64 units are dead (no sample of 512 makes them positive); try …
    """
    for lane in lanes:
        found = findings(lane, experiments[lane.name])
        for finding in found[:_LINES]:
            yield _line(lane, finding)
        if len(found) > _LINES:
            yield f"! {lane.name}: and {len(found) - _LINES} more findings, in summary.json"


def _line(lane: LaneResult, finding: Finding) -> str:
    where = f"layer {finding.layer} ({finding.file}:{finding.line}): " if finding.layer else ""
    return f"! {lane.name}: {where}{finding.text}; {finding.advice}{_seeds(lane, finding)}"


def _seeds(lane: LaneResult, finding: Finding) -> str:
    """Name the seeds with the problem, if there are several seeds: ` (2 of 5 seeds: 43, 45)`."""
    if not lane.repeats:
        return ""
    return f" ({len(finding.seeds)} of {len(lane.repeats)} seeds: {', '.join(map(str, finding.seeds))})"
