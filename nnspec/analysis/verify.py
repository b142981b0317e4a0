"""Compare two runs of an experiment bit for bit, and find the first epoch and the tensors in which they differ.

The records are compared: digests of every tensor before training and after each epoch and of the orders of samples
(`trace.json`), exact figures (`history.json`), and the weights in the folder. If they agree, so must what follows from
them in `summary.json`. Timings are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnspec.environment import unlike
from nnspec.errors import some_of
from nnspec.records.saved import RunError, SavedRun, usable
from nnspec.reprs import TableRepr
from nnspec.results.digests import array_digest

__all__ = [
    "BenchVerification",
    "Match",
    "Records",
    "Verification",
    "VerifiedProblem",
    "compare_records",
    "other_results",
    "records_of",
    "spoilt_weights",
]

_NO_FIGURES = ("seconds", "repeats", "seed", "steps", "epochs")
_NOT_RESULTS = ("format", "started", "environment", "ways", "notes", "data", "gradient_error", "exit_code")
"""What `summary.json` says of how and where it was trained; and at any depth, how long it took:"""
_TIMED = ("seconds", "seconds_to_common_loss", "profile", "message", "detail", "command", "path")
_LISTED = 4


@dataclass(frozen=True)
class Records:
    """The records of a run, as plain data."""

    title: str
    summary: Mapping[str, Any]
    history: Mapping[str, Mapping[str, Any]]
    """Lane -> curves."""
    trace: Mapping[str, Sequence[Mapping[str, Any]]]
    """Lane -> trainings, each with `seed`, `start`, `order` and, by tensor, digests of the `epochs`."""


def records_of(saved: SavedRun) -> Records:
    """Read the records of a run on disk. Raises RunError if one is missing or damaged."""
    return Records(str(saved.path), saved.summary, saved.history, saved.trace)


@dataclass(frozen=True)
class Match:
    """One training in both runs, and the epoch in which they diverge: 0 is before the first step; None if they do
    not."""

    lane: str
    seed: int
    epochs: int
    """The number that both have."""
    tensors: int
    epoch: int | None = None
    parted: tuple[str, ...] = ()
    """The tensors that differ in that epoch, in the order of the network."""
    figures: tuple[str, ...] = ()
    """The figures that differ in that epoch."""
    why: str = ""
    """Other differences: one run has fewer epochs or lacks the training."""

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return self.epoch is None and not self.why

    @property
    def text(self) -> str:
        """The result in words."""
        if self.same:
            return "identical, bit for bit"
        if self.epoch is None:
            return self.why
        when = "before the first step" if self.epoch == 0 else f"in epoch {self.epoch}"
        what = [f"{some_of(self.parted, 4)} ({len(self.parted)} of {self.tensors} tensors)"] if self.parted else []
        what += [f"{', '.join(self.figures)}"] if self.figures else []
        also = f"; {self.why}" if self.why else ""
        return f"differ {when}: {'; '.join(what) or 'the order of samples'}{also}"


@dataclass(frozen=True, repr=False)
class Verification(TableRepr):
    """The result of comparing two runs."""

    one: str
    other: str
    matches: tuple[Match, ...]
    data: bool
    """Whether both had the same data, according to its digests."""
    environment: Mapping[str, tuple[Any, Any]]
    """Differences in versions, machine and BLAS: name -> (then, now)."""
    spoilt: tuple[str, ...] = ()
    """Problems with the weights in the folder."""
    left: tuple[str, ...] = ()
    """Trainings that only one run has, because the other did not get that far."""

    @property
    def same(self) -> bool:
        """Whether the runs are identical bit for bit, and the weights in the folder match the records."""
        return self.data and not self.spoilt and bool(self.matches) and all(match.same for match in self.matches)


@dataclass(frozen=True)
class VerifiedProblem:
    """A problem of a bench, verified."""

    name: str
    runs: Verification | None
    """Its run and a new run of it; None if it could not be repeated."""
    faults: tuple[str, ...] = ()
    """What else is wrong with it."""

    @property
    def same(self) -> bool:
        """Whether its trials, the choice of settings and the race are identical, bit for bit, and so are its
        records."""
        return self.runs is not None and self.runs.same and not self.faults


@dataclass(frozen=True, repr=False)
class BenchVerification(TableRepr):
    """The result of verifying a bench."""

    folder: str
    problems: tuple[VerifiedProblem, ...]
    faults: tuple[str, ...] = ()
    """How `bench.json` differs from what follows from the runs."""
    missing: tuple[str, ...] = ()
    """The problems of the bench that have no results to verify."""

    @property
    def same(self) -> bool:
        """Whether all runs are identical, bit for bit, and all results follow from them."""
        return bool(self.problems) and all(each.same for each in self.problems) and not self.faults


def compare_records(one: Records, other: Records, spoilt: Sequence[str] = ()) -> Verification:
    """Compare two runs: each training with that of the same lane and seed.

    If a run was interrupted, only its epochs are compared. Raises RunError for damaged records.
    """
    with usable(Path(f"{one.title} or {other.title}")):
        left: list[str] = []
        matches = tuple(_matches(one, other, left))
        if not matches:
            raise RunError(f"{one.title} and {other.title} have no lane and seed in common")
        return Verification(
            one=one.title,
            other=other.title,
            matches=matches,
            left=tuple(left),
            data=_data(one.summary) == _data(other.summary),
            environment=unlike(one.summary, other.summary),
            spoilt=tuple(spoilt),
        )


def _data(summary: Mapping[str, Any]) -> list[str]:
    return sorted(use["sha256"] for use in summary["data"])


def _matches(one: Records, other: Records, left: list[str]) -> Iterator[Match]:
    """Yield the matches; trainings that the other run did not get to are added to `left`."""
    for lane in dict.fromkeys((*one.trace, *other.trace)):
        first, second = ({training["seed"]: training for training in run.trace.get(lane, ())} for run in (one, other))
        for seed in dict.fromkeys((*first, *second)):
            if seed in first and seed in second:
                curves = [_curves(run.history[lane], seed) for run in (one, other)]
                yield _match(
                    lane, seed, (first[seed], second[seed]), curves, [_status(r, lane, seed) for r in (one, other)]
                )
            elif (seed in second and _unfinished(one)) or (seed in first and _unfinished(other)):
                left.append(f"{lane}, seed {seed}")
            else:
                missing = other.title if seed in first else one.title
                yield Match(lane, seed, 0, 0, why=f"not in {missing}")


def _unfinished(run: Records) -> bool:
    return bool(run.summary["interrupted"])


def _curves(history: Mapping[str, Any], seed: int) -> dict[str, list[Any]]:
    """Return the curves of one training."""
    found = next((one for one in history.get("repeats", ()) if one["seed"] == seed), history)
    norms = {f"gradient norm of {name}": values for name, values in found.get("gradient_norms", {}).items()}
    curves = {**found, **norms}.items()
    return {name: [*values] for name, values in curves if name not in _NO_FIGURES and isinstance(values, list)}


def _status(run: Records, lane: str, seed: int) -> str:
    record = next(one for one in run.summary["lanes"] if one["name"] == lane)
    return next((one["status"] for one in record.get("repeats", ()) if one["seed"] == seed), record["status"])


def _match(
    lane: str,
    seed: int,
    trainings: tuple[Mapping[str, Any], Mapping[str, Any]],
    curves: Sequence[Mapping[str, Sequence[Any]]],
    status: Sequence[str],
) -> Match:
    one, other = trainings
    if "failed" in status:
        return Match(lane, seed, 0, 0, why="failed and has no numbers to compare")
    tensors = list(dict.fromkeys((*one["start"], *one["epochs"], *other["start"], *other["epochs"])))
    lengths = [len(each["loss"]) for each in curves]
    epochs = min(lengths)
    cut = any(each in ("interrupted", "failed") for each in status)
    why = "" if lengths[0] == lengths[1] or cut else f"one has {lengths[0]} epochs, the other {lengths[1]}"
    if not why and status[0] != status[1] and not cut:
        why = f"one is {status[0]}, the other {status[1]}"
    parted = tuple(name for name in tensors if one["start"].get(name) != other["start"].get(name))
    if parted:
        return Match(lane, seed, epochs, len(tensors), 0, parted, why=why)
    for epoch in range(epochs):
        parted = tuple(t for t in tensors if _at(one["epochs"], t, epoch) != _at(other["epochs"], t, epoch))
        figures = tuple(
            name
            for name in dict.fromkeys((*curves[0], *curves[1]))
            if _at(curves[0], name, epoch) != _at(curves[1], name, epoch)
        )
        if parted or figures:
            return Match(lane, seed, epochs, len(tensors), epoch + 1, parted, figures, why)
    if one["order"] != other["order"] and lengths[0] == lengths[1]:
        why = why or "the orders of samples differ"
    return Match(lane, seed, epochs, len(tensors), why=why)


def _at(values: Mapping[str, Sequence[Any]], name: str, epoch: int) -> Any:
    found = values.get(name, ())
    return found[epoch] if epoch < len(found) else None


def other_results(recorded: Mapping[str, Any], again: Mapping[str, Any], path: Path) -> Iterator[str]:
    """Yield what a summary says otherwise than that of a new run with the same records. Summaries of other versions may
    say less, or know other statistics."""
    if recorded["environment"].get("nnspec") != again["environment"].get("nnspec") or recorded["interrupted"]:
        return
    new = json.loads(json.dumps(again))
    found = [*_differences({name: recorded[name] for name in recorded if name in new}, new)]
    for place, ours, theirs in found[:_LISTED]:
        yield f"{place} in {path} is {_short(ours)}, but a new run has {_short(theirs)}"
    if len(found) > _LISTED:
        yield f"{len(found) - _LISTED:,} more values in {path} are not those of a new run"


def _differences(one: Any, other: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        if "seconds" in str(one.get("text", "")):  # an expectation of how long it takes
            return
        for name in dict.fromkeys((*one, *other) if place else one):
            if name not in (_TIMED if place else _NOT_RESULTS):
                yield from _differences(one.get(name), other.get(name), f"{place}.{name}" if place else name)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (ours, theirs) in enumerate(zip(one, other, strict=True)):
            yield from _differences(ours, theirs, f"{place}[{number}]")
    elif one != other or isinstance(one, bool) != isinstance(other, bool):
        yield place, one, other


def _short(value: Any) -> str:
    return f"{str(value)[:60]}…" if len(str(value)) > 60 else str(value)


def spoilt_weights(saved: SavedRun) -> Iterator[str]:
    """Yield problems with the weights in a folder: missing, damaged, or different from the result of training."""
    with usable(saved.path / "trace.json"):
        for lane, trainings in saved.trace.items() if saved.keeps_weights else ():
            for training in trainings:
                seed = int(training["seed"])
                ending = saved.ending(lane, seed)
                done = ending.get("kept_epoch") or int(ending.get("records", ending["epochs"]))
                if ending["status"] in ("diverged", "failed") and not ending.get("kept_epoch"):
                    continue
                if not done:
                    continue  # interrupted before its first epoch: nothing was trained
                expected = {tensor: digests[done - 1] for tensor, digests in training["epochs"].items()}
                yield from _spoilt(saved, lane, seed, {**expected, **training["input"]})


def _spoilt(saved: SavedRun, lane: str, seed: int, expected: Mapping[str, str]) -> Iterator[str]:
    try:
        arrays = saved.weights(lane, seed)
    except RunError as error:
        yield str(error)
        return
    for name, digest in expected.items():
        found = arrays.get(name)
        if found is None:
            yield f"{saved.weights_file(lane, seed)} has no {name}"
        elif array_digest(found) != digest:
            yield f"{name} in {saved.weights_file(lane, seed)} is not the recorded result of training"
    for name in arrays:
        if name not in expected:
            yield f"{saved.weights_file(lane, seed)} has {name}, which is not in the recorded result of training"
