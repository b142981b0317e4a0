"""Compare runs on disk: the figures of their lanes, how the runs differ, and which lanes are better.

Lanes of one run are compared with each other; of several runs, lanes of the same name are, or the best lane of each if
two runs share no name. The t-test is paired if both share seeds, otherwise Welch's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from nnspec.environment import in_words, unlike
from nnspec.errors import some_of
from nnspec.records.saved import SavedRun, usable
from nnspec.results.epochs import number
from nnspec.statistics.comparison import Comparison, Contender, among, best_of, compare

__all__ = ["Contest", "Entry", "Unlike", "contest"]


@dataclass(frozen=True)
class Entry(Contender):
    """A lane of a run."""

    status: str
    epochs: float
    epochs_asked_for: float
    params: int
    seconds: float
    """Training time; for repeats, the mean."""
    seeds: tuple[int, ...]
    final: Mapping[str, float]
    """Final figures; for repeats, the means."""


@dataclass(frozen=True)
class Unlike:
    """A difference between a run and the first one, apart from the spec."""

    run: str
    what: str
    first: str
    here: str


@dataclass(frozen=True)
class Contest:
    """Runs side by side."""

    runs: tuple[str, ...]
    """The name of each run: the shortest unique end of its path."""
    saved: tuple[SavedRun, ...]
    entries: tuple[Entry, ...]
    """All lanes, grouped by name."""
    figure: str
    comparisons: tuple[Comparison, ...]
    """The largest differences first."""
    unlike: tuple[Unlike, ...]
    notes: tuple[str, ...]
    """Caveats about the figures."""

    def name(self, lane: Contender) -> str:
        """Return the name of a lane, with its run if there are several."""
        return f"`{lane.lane}` of {lane.run}" if len(self.runs) > 1 else f"`{lane.lane}`"

    def text(self, comparison: Comparison) -> str:
        """Return the result of a comparison in words."""
        return comparison.text(self.name)


def contest(saved: Sequence[SavedRun]) -> Contest:
    """Compare runs, or the lanes of a single run. Raises RunError if a record is missing or damaged."""
    names = _names([run.path for run in saved])
    entries = [entry for name, run in zip(names, saved, strict=True) for entry in _entries(name, run)]
    lanes = list(dict.fromkeys(entry.lane for entry in entries))
    entries.sort(key=lambda entry: lanes.index(entry.lane))
    figure = "test_loss" if all("test_loss" in entry.final for entry in entries if entry.final) else "loss"
    unlike = [each for name, run in zip(names[1:], saved[1:], strict=True) for each in _unlike(name, saved[0], run)]
    comparisons = tuple(compare(_pairs(entries, names, figure), figure))
    notes = tuple(_notes(entries, unlike, comparisons))
    return Contest(tuple(names), tuple(saved), tuple(entries), figure, comparisons, tuple(unlike), notes)


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest unique end of each path, but not a number alone."""
    parts = [path.absolute().parts for path in paths]
    longest = max(map(len, parts))
    for count in range(1, longest + 1):
        names = ["/".join(part[-count:]) for part in parts]
        if len(set(names)) == len(names) and not any(n.isdigit() or n == "latest" for n in names):
            return names
    return [str(path) for path in paths]


def _entries(name: str, run: SavedRun) -> Iterator[Entry]:
    with usable(run.path / "summary.json"):
        for lane in run.summary["lanes"]:
            each = {int(one["seed"]): one for one in lane.get("repeats", [lane])}
            yield Entry(
                run=name,
                lane=str(lane["name"]),
                loss=str(lane["loss"]),
                status=str(lane["status"]),
                epochs=_count(lane["epochs"]),
                epochs_asked_for=_count(lane["epochs_asked_for"]),
                params=int(lane["params"]),
                seconds=float(lane["seconds"]),
                seeds=tuple(each),
                final={str(figure): float(value) for figure, value in lane["final"].items()},
                each={
                    seed: {str(figure): float(value) for figure, value in one["final"].items()}
                    for seed, one in each.items()
                    if one["status"] == "done"
                },
            )


def _count(value: object) -> float:
    """Return a number of epochs, which may be fractional. Raises TypeError for any other value."""
    return value if type(value) is int else number(value)


def _pairs(entries: Sequence[Entry], names: Sequence[str], figure: str) -> Iterator[tuple[Contender, Contender]]:
    """Yield the pairs of lanes to compare."""
    if len(names) == 1:
        yield from among(entries, figure)
        return
    for one, other in combinations(names, 2):
        ours, theirs = ({e.lane: e for e in entries if e.run == name} for name in (one, other))
        shared = [(ours[lane], theirs[lane]) for lane in ours if lane in theirs]
        best, other_best = (best_of(list(lanes.values()), figure) for lanes in (ours, theirs))
        if shared:
            yield from shared
        elif best is not None and other_best is not None:
            yield best, other_best


# Differences between the runs


def _unlike(name: str, first: SavedRun, run: SavedRun) -> Iterator[Unlike]:
    with usable(first.path / "summary.json"):
        before = _facts(first.summary)
        unlike(first.summary, first.summary)  # so that damage in it is not blamed on the other run
    with usable(run.path / "summary.json"):
        after = _facts(run.summary)
        facts = {what: (before[what], after[what]) for what in after if before[what] != after[what]}
        for what, (then, here) in (facts | unlike(first.summary, run.summary)).items():
            yield Unlike(name, what, in_words(then), in_words(here))


def _facts(summary: Mapping[str, Any]) -> dict[str, str]:
    uses = [f"{use['source']} {use['train']:,}/{use['test']:,} ({use['sha256'][:12]})" for use in summary["data"]]
    seeds = {int(one["seed"]) for lane in summary["lanes"] for one in lane.get("repeats", [lane])}
    return {"data": ", ".join(uses), "seeds": _list(sorted(seeds))}


def _list(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return some_of(seeds)


def _notes(entries: Sequence[Entry], unlike: Sequence[Unlike], comparisons: Sequence[Comparison]) -> Iterator[str]:
    if any(each.what == "data" for each in unlike):
        yield "the runs used different data, so their test figures are not comparable"
    if len(entries) > 1 and not comparisons:
        if any(len(entry.each) < 2 for entry in entries):
            yield (
                "differences cannot be tested with one seed per lane: "
                "use `--set train.repeats=5` to train each with five"
            )
        elif len({entry.loss for entry in entries}) > 1:
            yield "the lanes have different losses and no metric in common"
    for entry in entries:
        if entry.status != "done":
            yield f"`{entry.lane}` of {entry.run} {entry.status}"
