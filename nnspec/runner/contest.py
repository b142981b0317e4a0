"""Runs on disk held against each other: lanes with their figures, what the runs differ in, and who is better.

Lanes of one run are compared with each other; of several runs, those of the same name, or where two runs share none,
the best lane of each. Where both were trained with the same seeds the test is paired, and else it is Welch's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from nnspec.engine.metrics import higher_is_better
from nnspec.runner.environment import differences, in_words
from nnspec.runner.history import mean
from nnspec.runner.saved import SavedRun, usable
from nnspec.runner.significance import LEVEL, Interval, Paired, holm, interval, paired, welch

__all__ = ["Contest", "Entry", "Judgement", "Unlike", "contest"]

_MOST = 10  # lanes of one run, the best ones, that are compared with each other


@dataclass(frozen=True)
class Entry:
    """A lane of a run."""

    run: str
    """What its run is called beside the others."""
    lane: str
    loss: str
    """As a spec writes it: `CrossEntropy`."""
    status: str
    epochs: int
    epochs_asked_for: int
    params: int
    seconds: float
    """Training time; of repeats, on average."""
    seeds: tuple[int, ...]
    final: Mapping[str, float]
    """Each figure at the end; of repeats, the means."""
    each: Mapping[int, Mapping[str, float]]
    """Seed -> the figures of those trainings that came to their end."""

    def values(self, figure: str) -> dict[int, float]:
        """Return a figure by seed, where there is one."""
        return {seed: final[figure] for seed, final in self.each.items() if figure in final}

    def interval(self, figure: str) -> Interval:
        """Return the 95 % interval of a figure's mean over the seeds."""
        return interval(self.values(figure).values())


@dataclass(frozen=True)
class Judgement:
    """Two lanes, the one with the better mean first, compared by a figure."""

    one: tuple[str, str]
    """Run and lane."""
    other: tuple[str, str]
    figure: str
    test: Paired
    same_seeds: bool
    """Whether the test is paired, seed by seed; else it is Welch's."""
    sizes: tuple[int, int]
    """How many seeds each has."""
    adjusted: float
    """p after Holm."""
    pairs: int
    """How many pairs were compared with it, itself among them."""

    @property
    def shown(self) -> bool:
        """Whether there is a difference, at 5 %."""
        return self.adjusted < LEVEL

    def text(self, name: Callable[[tuple[str, str]], str]) -> str:
        """Return what came of it, in words; `name` says what a lane is called."""
        one, other, test = name(self.one), name(self.other), self.test
        seeds = "{}" if self.sizes[0] == self.sizes[1] else "{} and {}"
        how = "paired t-test over {} seeds" if self.same_seeds else f"Welch's t-test over {seeds} seeds"
        how = how.format(*self.sizes) + (f", Holm over {self.pairs} pairs" if self.pairs > 1 else "")
        p = "p < 0.0001" if self.adjusted < 1e-4 else f"p = {self.adjusted:.2g}"
        if not self.shown:
            found = f"{test.difference:.3g} [{test.low:.3g}, {test.high:.3g}]"
            return f"no difference shown between {one} and {other} in {self.figure}: {found}, {p} ({how})"
        word = "lower" if test.difference < 0 else "higher"
        low, high = (test.low, test.high) if word == "higher" else (-test.high, -test.low)
        found = f"{abs(test.difference):.3g} [{low:.3g}, {high:.3g}]"
        return f"{one} is {word} than {other} in {self.figure} by {found}, {p} ({how})"


@dataclass(frozen=True)
class Unlike:
    """Something beside the spec that a run has otherwise than the first one."""

    run: str
    what: str
    first: str
    here: str


@dataclass(frozen=True)
class Contest:
    """Runs side by side."""

    runs: tuple[str, ...]
    """What each run is called: as little of its path as tells it from the others."""
    saved: tuple[SavedRun, ...]
    entries: tuple[Entry, ...]
    """All lanes, those of the same name together."""
    figure: str
    judgements: tuple[Judgement, ...]
    """Those that differ most first."""
    unlike: tuple[Unlike, ...]
    notes: tuple[str, ...]
    """What a reader should know before he believes the figures."""

    def name(self, lane: tuple[str, str]) -> str:
        """Return what a lane is called: with its run, where there are several."""
        return f"`{lane[1]}` of {lane[0]}" if len(self.runs) > 1 else f"`{lane[1]}`"

    def text(self, judgement: Judgement) -> str:
        """Return a judgement in words."""
        return judgement.text(self.name)


def contest(saved: Sequence[SavedRun]) -> Contest:
    """Hold runs against each other; of one run, its lanes. Raises RunError for a record that is missing or damaged."""
    names = _names([run.path for run in saved])
    entries = [entry for name, run in zip(names, saved, strict=True) for entry in _entries(name, run)]
    lanes = list(dict.fromkeys(entry.lane for entry in entries))
    entries.sort(key=lambda entry: lanes.index(entry.lane))
    figure = "test_loss" if all("test_loss" in entry.final for entry in entries if entry.final) else "loss"
    unlike = [each for name, run in zip(names[1:], saved[1:], strict=True) for each in _unlike(name, saved[0], run)]
    judgements = tuple(_judged(_pairs(entries, names, figure), figure))
    notes = tuple(_notes(entries, unlike, judgements))
    return Contest(tuple(names), tuple(saved), tuple(entries), figure, judgements, tuple(unlike), notes)


def _names(paths: Sequence[Path]) -> list[str]:
    """Return as many of the last parts of each path as tell it from the others; a number alone says too little."""
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
                epochs=int(lane["epochs"]),
                epochs_asked_for=int(lane["epochs_asked_for"]),
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


# Judging


def _pairs(entries: Sequence[Entry], names: Sequence[str], figure: str) -> Iterator[tuple[Entry, Entry]]:
    """Yield which lanes are compared."""
    if len(names) == 1:
        repeated = [entry for entry in entries if len(entry.values(figure)) >= 2]
        yield from combinations(sorted(repeated, key=lambda entry: _order(figure, _mean(entry, figure)))[:_MOST], 2)
        return
    for one, other in combinations(names, 2):
        ours, theirs = ({e.lane: e for e in entries if e.run == name} for name in (one, other))
        shared = [(ours[lane], theirs[lane]) for lane in ours if lane in theirs]
        best = [_best(list(lanes.values()), figure) for lanes in (ours, theirs)]
        yield from shared or ([(best[0], best[1])] if best[0] is not None and best[1] is not None else [])


def _best(entries: Sequence[Entry], figure: str) -> Entry | None:
    found = [entry for entry in entries if entry.values(figure)]
    return min(found, key=lambda entry: _order(figure, _mean(entry, figure)), default=None)


def _judged(pairs: Iterator[tuple[Entry, Entry]], figure: str) -> list[Judgement]:
    tested = []
    for one, other in pairs:
        by = figure if one.loss == other.loss else "test_accuracy"
        test, same_seeds = _test(one, other, by)
        if test.n >= 2 and _order(by, test.difference) > 0:
            one, other = other, one
            test, _ = _test(one, other, by)
        if test.n >= 2:
            tested.append((one, other, by, test, same_seeds))
    adjusted = holm([test.p for *_, test, _ in tested])
    found = [
        Judgement(
            (one.run, one.lane),
            (other.run, other.lane),
            by,
            test,
            same_seeds,
            (len(one.values(by)), len(other.values(by))),
            p,
            len(tested),
        )
        for (one, other, by, test, same_seeds), p in zip(tested, adjusted, strict=True)
    ]
    return sorted(found, key=lambda each: (each.adjusted, each.test.p))


def _test(one: Entry, other: Entry, figure: str) -> tuple[Paired, bool]:
    ours, theirs = one.values(figure), other.values(figure)
    if ours.keys() == theirs.keys():
        return paired(ours, theirs), True
    return welch([*ours.values()], [*theirs.values()]), False


def _mean(entry: Entry, figure: str) -> float:
    return mean(entry.values(figure).values())


def _order(figure: str, value: float) -> float:
    """What sorts the best value first."""
    return -value if higher_is_better(figure) else value


# What the runs differ in


def _unlike(name: str, first: SavedRun, run: SavedRun) -> Iterator[Unlike]:
    with usable(first.path / "summary.json"):
        before = [_facts(first.summary), first.summary["environment"]]
    with usable(run.path / "summary.json"):
        after = [_facts(run.summary), run.summary["environment"]]
        facts = {what: (before[0][what], after[0][what]) for what in after[0] if before[0][what] != after[0][what]}
        for what, (then, here) in (facts | differences(before[1], after[1])).items():
            yield Unlike(name, what, in_words(then), in_words(here))


def _facts(summary: Mapping[str, Any]) -> dict[str, str]:
    uses = [f"{use['source']} {use['train']:,}/{use['test']:,} ({use['sha256'][:12]})" for use in summary["data"]]
    seeds = {int(one["seed"]) for lane in summary["lanes"] for one in lane.get("repeats", [lane])}
    return {"data": ", ".join(uses), "seeds": _list(sorted(seeds))}


def _list(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds[:12])) + (", …" if len(seeds) > 12 else "")


def _notes(entries: Sequence[Entry], unlike: Sequence[Unlike], judgements: Sequence[Judgement]) -> Iterator[str]:
    if any(each.what == "data" for each in unlike):
        yield "the runs had other data: their test figures are not of the same samples"
    if len(entries) > 1 and not judgements:
        if any(len(entry.each) < 2 for entry in entries):
            yield (
                "nothing can be said of differences where a lane has one seed: "
                "`--set train.repeats=5` trains each with five"
            )
        elif len({entry.loss for entry in entries}) > 1:
            yield "the lanes have other losses, and nothing else in common to be compared by"
    for entry in entries:
        if entry.status != "done":
            yield f"`{entry.lane}` of {entry.run} {entry.status}"
