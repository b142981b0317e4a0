"""What trained networks wrote, in lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from nnspec.results.lane import LaneResult
from nnspec.text import printable

__all__ = ["written"]


def written(lane: LaneResult) -> Iterator[str]:
    """Yield what a lane wrote, as it stands; signs that would steer a terminal are shown as what they are."""
    if not lane.sample:
        return
    yield f"{lane.label} writes:"
    yield ""
    for line in lane.sample.split("\n"):
        yield printable(line)
    yield ""
