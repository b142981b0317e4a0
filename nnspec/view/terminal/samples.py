"""What trained networks wrote, in lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from nnspec.results.lane import LaneResult
from nnspec.text import printable

__all__ = ["written"]


def written(lane: LaneResult) -> Iterator[str]:
    """Yield the text that a lane generated, with control characters escaped."""
    if not lane.sample:
        return
    yield f"{lane.label} writes:"
    yield ""
    for line in lane.sample.split("\n"):
        yield printable(line)
    yield ""
