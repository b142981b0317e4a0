"""How long each part of a lane's training step takes, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nnspec.results.lane import LaneResult
from nnspec.view.terminal.screen import Column, table

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["profiles"]


def profiles(lanes: Sequence[LaneResult], console: Console) -> None:
    """Print the profile of each lane that has one."""
    console.print()
    console.print("– profiled: every lane was trained by itself, in one process", style="dim", soft_wrap=True)
    for lane in lanes:
        if lane.profile:
            _print(lane, console)
    console.print()


def _print(lane: LaneResult, console: Console) -> None:
    """Print one profile. The parts are in the order of a step; their microseconds add up to those of the whole step."""
    from rich.text import Text

    profile = lane.profile
    parts = profile["parts"]
    columns = [
        Column("part", [_name(part) for part in parts]),
        Column("where", [_where(part) for part in parts], 3, styles=["dim"] * len(parts)),
        Column("µs per step", [f"{part['microseconds']:,.1f}" for part in parts], 1, right=True),
        Column("share", [f"{100 * part['share']:.1f} %" for part in parts], 2, right=True),
        Column("calls", [f"{part['calls']:.3g}" for part in parts], 4, right=True),
        Column("", [_bar(part["share"], parts) for part in parts], 5),
    ]
    console.print()
    console.print(Text(lane.name, style="bold").append(f"   {_whole(profile)}", style="not bold dim"), soft_wrap=True)
    console.print(table(columns, console.width))


def _whole(profile: Mapping[str, Any]) -> str:
    """`412.3 µs per step, the mean of 240 of 480 steps, …`, with the overhead of profiling."""
    said = f"{profile['microseconds']:,.1f} µs per step, the mean of {profile['steps']:,} of {profile['of']:,} steps"
    if profile["overhead"] is None:
        return f"{said}; too few to estimate the cost of timing"
    return f"{said}; timing its parts made the median step {100 * profile['overhead']:+.1f} % longer than the others"


def _name(part: Mapping[str, Any]) -> str:
    return f"{part['what']} {part['layer']}" if "layer" in part else str(part["what"])


def _where(part: Mapping[str, Any]) -> str:
    return f"{part['file']}:{part['line']}" if "file" in part else ""


def _bar(share: float, parts: list[Mapping[str, Any]]) -> str:
    largest = max(part["share"] for part in parts)
    return "█" * round(20 * max(share, 0.0) / largest) if largest > 0 else ""
