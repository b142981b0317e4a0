"""Phrases about runs that every view uses: seeds, data, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from nnspec.errors import some_of
from nnspec.results.data_use import DataUse
from nnspec.results.lane import LaneResult
from nnspec.results.run import RunResult, Verdict

__all__ = [
    "compiled_in_words",
    "compiling",
    "data_in_words",
    "in_unit",
    "progress",
    "restored",
    "seeds",
    "seeds_in_words",
    "stand_in",
    "unit",
    "verdict",
]


def seeds(result: RunResult) -> str:
    """`seed 42`, or over repeats `seeds 42 to 46`; nothing where lanes have different ones."""
    lanes = result.lanes.values()
    return seeds_in_words({lane.seed for lane in lanes}, {lane.trainings[-1].seed for lane in lanes})


def seeds_in_words(first: Set[int], last: Set[int]) -> str:
    """The same, from the first and the last seed of each lane."""
    if len(first) != 1 or len(last) != 1:
        return ""
    (low,), (high,) = first, last
    return f"seeds {low} to {high}" if high > low else f"seed {low}"


def data_in_words(use: DataUse) -> str:
    """`MNIST 2,000 train / 500 test`."""
    return f"{use.source} {use.train:,} train / {use.test:,} test"


def verdict(found: Verdict) -> str:
    """`✓ Adam.loss < SGD.loss: Adam 0.123; SGD 0.456`."""
    mark = {True: "✓", False: "✗", None: "–"}[found.held]
    return f"{mark} {found.text}" + (f": {found.detail}" if found.detail else "")


def stand_in(use: DataUse) -> str:
    """Say that data replaces other data."""
    return f"{use.source} stands in for {use.asked_for}"


def fetching(name: str, done: int, total: int | None) -> str:
    """Say how much of a file has arrived: `fetching train-images: 3.1 of 9.9 MB`."""
    return f"fetching {name}: {done / 1e6:.1f}{f' of {total / 1e6:.1f}' if total else ''} MB"


def compiling(kernels: int) -> str:
    """Say that kernels are being compiled."""
    return f"compiling {kernels} {'kernels' if kernels > 1 else 'kernel'}"


def restored(ends: Mapping[int, int], unit: str, *, several: bool) -> str:
    """Return the restored epoch, or step, of each seed, with the seeds if there are `several`: `epochs 2, 3 (seeds 0,
    1)`.
    """
    which = f"{unit}{'s' if len(ends) > 1 else ''} {', '.join(map(str, ends.values()))}"
    return f"{which} (seed{'s' if len(ends) > 1 else ''} {', '.join(map(str, ends))})" if several else which


def unit(lanes: Sequence[LaneResult]) -> str:
    """Return what a column of the progress of lanes counts: `step` if all are measured by steps, else `epoch`."""
    return "step" if lanes and all(lane.length is not None for lane in lanes) else "epoch"


def progress(lane: LaneResult) -> str:
    """`7/20`, or where repeats stopped after different epochs or steps `7–9/20`."""
    done = {lane.at(len(one.records)) for one in lane.counted}
    return f"{'–'.join(map(str, sorted({min(done), max(done)})))}/{lane.at(lane.epochs)}"


def in_unit(lane: LaneResult, progress: str, lanes: Sequence[LaneResult]) -> str:
    """Return the progress of a lane, with its unit if that is not the one of the column."""
    return progress if lane.unit == unit(lanes) else f"{progress} {lane.unit}s"


def compiled_in_words(record: Mapping[str, Any] | None) -> str:
    """Say which trainings used compiled steps, from `ways.compiled` of a summary; empty if none did.

    Compiled steps trained Adam, SGD from epoch 2 on; F1 stayed in Python (it remembers batches in Python).
    """
    trainings = record["trainings"] if record else {}
    starts: dict[int, list[str]] = {}
    for label, training in trainings.items():
        if "since" in training:
            starts.setdefault(int(training["since"]), []).append(str(label))
    if not starts:
        return ""
    spans = [
        f"{'every lane' if len(labels) == len(trainings) > 1 else some_of(labels, 6)} from epoch {since} on"
        for since, labels in sorted(starts.items())
    ]
    parts = dict.fromkeys(
        f"{part} stayed in Python ({why})"
        for training in trainings.values()
        for part, why in training.get("python", {}).items()
    )
    return f"Compiled steps trained {'; '.join([', '.join(spans), *parts])}."
