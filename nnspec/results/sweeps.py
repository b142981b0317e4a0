"""The best of several runs, and the command that runs the best point of a sweep again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnspec.checker.program import Experiment, Program
from nnspec.results.lane import LaneResult
from nnspec.statistics.ranking import Choice, NoChoice, best, ranked

__all__ = ["Grid", "best_record", "choice_of", "grids", "point_record"]


def best_record(lanes: Sequence[LaneResult], program: Program, data_dir: Path | None) -> dict[str, Any] | None:
    """Return the best run and the figure it was chosen by; for a sweep, also the `--set` flags that run its point
    again.

    None if there is only one run, or they cannot be compared.
    """
    try:
        choice = best([lane.candidate for lane in lanes])
    except NoChoice:
        return None
    if len(lanes) < 2 or not choice.figure:
        return None
    record: dict[str, Any] = {"lane": choice.name, "figure": choice.figure, "value": choice.value}
    record |= {"among": choice.among, "by_test": choice.by_test}
    swept = _settings(choice.name, lanes, program.lanes)
    if swept is not None:
        flags = [*program.overrides, *swept]
        place = ["--data-dir", str(data_dir)] if data_dir is not None else []
        words = ["nnspec", "run", program.path, *(word for flag in flags for word in ("--set", flag)), *place]
        record |= {"set": flags, "command": shlex.join(words)}
    return record


def choice_of(record: Mapping[str, Any]) -> Choice:
    """Return the choice stored in a record."""
    return Choice(str(record["lane"]), str(record["figure"]), float(record["value"]), int(record["among"]))


def _settings(name: str, lanes: Sequence[LaneResult], experiments: Sequence[Experiment]) -> list[str] | None:
    """Return the settings that select the point of a run: those swept in all lanes as in that run, and every other lane
    at its own best point.

    None without a sweep, or if a value cannot be given with `--set`.
    """
    order, _ = ranked([lane.candidate for lane in lanes])
    by_name = {each.name: each for each in experiments}
    runs = [by_name[name], *(by_name[each] for each in order if each != name)]
    general: dict[str, str] = {}
    own: dict[str, str] = {}
    settled: set[str] = set()
    for run in runs:
        shared = {swept.setting: swept.exact for swept in run.swept if not swept.lane}
        if run.lane in settled or any(general.get(setting, value) != value for setting, value in shared.items()):
            continue
        settled.add(run.lane)
        general |= shared
        own |= {f"{swept.lane}.{swept.setting}": swept.exact for swept in run.swept if swept.lane}
    values = {**general, **own}
    return [f"{setting}={value}" for setting, value in values.items()] if values and all(values.values()) else None


def point_record(experiment: Experiment) -> dict[str, Any]:
    """Return the lane and the point of a run in a sweep; {} without a sweep."""
    return {"lane": experiment.lane, "point": experiment.point} if experiment.swept else {}


@dataclass(frozen=True)
class Grid:
    """The runs of one lane at all combinations of two swept settings."""

    lane: str
    rows: tuple[str, Sequence[str]]
    """The setting with more values, and its values."""
    columns: tuple[str, Sequence[str]]
    runs: Mapping[tuple[str, str], str]
    """Maps a row's and a column's value to the name of the run."""


def grids(lanes: Iterable[Mapping[str, Any]]) -> list[Grid]:
    """Return a grid for each lane of `summary.json` in which exactly two settings are swept, in all combinations."""
    by_lane: dict[str, list[Mapping[str, Any]]] = {}
    for lane in lanes:
        if "point" in lane:
            by_lane.setdefault(str(lane["lane"]), []).append(lane)
    found = []
    for name, runs in by_lane.items():
        settings = list(runs[0]["point"])
        if len(settings) != 2:
            continue
        values = {setting: list(dict.fromkeys(str(run["point"][setting]) for run in runs)) for setting in settings}
        down, across = sorted(settings, key=lambda setting: -len(values[setting]))
        at = {(str(run["point"][down]), str(run["point"][across])): str(run["name"]) for run in runs}
        if len(at) > max(len(values[down]), len(values[across])):  # else they are zipped
            found.append(Grid(name, (down, values[down]), (across, values[across]), at))
    return found
