"""Searches of which only the best trials are trained to the end: they pause at rungs, and those that continue do so
from their checkpoints, with the same results as without a pause.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from nnspec.results.lane import LaneResult
from nnspec.results.rungs import DROPPED, Rungs
from nnspec.runner.resuming import restored
from nnspec.training.checkpoint import Keeper
from nnspec.training.groups import Training

__all__ = ["train_in_rungs"]

Take = Callable[[Sequence[LaneResult]], None]


def train_in_rungs(
    rungs: Rungs,
    everything: Sequence[Training],
    ended: Sequence[LaneResult],
    data: Mapping[str, str],
    train: Callable[[Sequence[Training], Take], None],
    take: Take,
) -> None:
    """Train the trials of a search rung by rung. `ended` are trainings that had ended before the run was resumed, and
    `data` has the digest of each lane's data. `train` trains some of them, and `take` is called once for each when it
    has ended or was dropped.

    Trials without checkpoints have temporary ones.
    """
    with TemporaryDirectory(prefix="nnspec-") as folder:
        _Climb(rungs, ended, take).train(
            [
                each if each.keeper is not None else replace(each, keeper=_keeper(each, Path(folder) / str(n), data))
                for n, each in enumerate(everything)
            ],
            train,
        )


def _keeper(training: Training, path: Path, data: Mapping[str, str]) -> Keeper:
    return Keeper(path, "", data[training.experiment.name], math.inf, durable=False)


Key = tuple[str, int]
"""The lane and the repeat of a training."""


class _Climb:
    """What the trials did so far."""

    def __init__(self, rungs: Rungs, ended: Sequence[LaneResult], take: Take) -> None:
        self._rungs, self._take = rungs, take
        self._results: dict[Key, LaneResult] = {(one.name, one.repeat): one for one in ended}

    def train(self, everything: Sequence[Training], train: Callable[[Sequence[Training], Take], None]) -> None:
        """Train until no trial is left."""
        left = [*everything]
        for each in left:
            if each.keeper is not None and each.keeper.start is not None:
                self._results[_key(each)] = restored(each.experiment, each.keeper.start, each.keeper.path)
        rung = 0
        try:
            while left:
                left = self._continuing(left, rung)
                if rung:
                    left = [_from_checkpoint(each) for each in left]
                pauses = [self._rungs.pause(each.experiment, rung) for each in left]
                due = [replace(each, until=n) for each, n in zip(left, pauses, strict=True) if not 0 < n <= each.done]
                train(due, self._collect)
                left = [each for each in left if not _ended(self._results[_key(each)])]
                rung += 1
        except KeyboardInterrupt:
            paused = [self._results[_key(each)] for each in left if _key(each) in self._results]
            self._take([_interrupted(one) for one in paused if not _ended(one)])
            raise

    def _collect(self, results: Sequence[LaneResult]) -> None:
        self._results |= {(one.name, one.repeat): one for one in results}
        self._take([one for one in results if _ended(one)])

    def _continuing(self, left: Sequence[Training], rung: int) -> list[Training]:
        """Return the trainings that continue after this many rungs; the others end here."""
        found: dict[str, list[LaneResult]] = {}
        for (name, _), one in self._results.items():
            found.setdefault(name, []).append(one)
        names = self._rungs.ahead(found, rung)
        dropped = [self._results[_key(each)] for each in left if each.experiment.name not in names]
        self._take([replace(one, stopped=f"after {one.when(len(one.records))}: {DROPPED}") for one in dropped])
        return [each for each in left if each.experiment.name in names]


def _key(training: Training) -> Key:
    return training.experiment.name, training.repeat


def _ended(lane: LaneResult) -> bool:
    """Whether a training does not continue by itself: it is at its end, or did not get there."""
    return lane.status != "done" or bool(lane.stopped) or len(lane.records) == lane.epochs


def _interrupted(lane: LaneResult) -> LaneResult:
    done = len(lane.records)
    message = f"after {lane.at(done)} of {lane.at(lane.epochs)} {lane.unit}s"
    return replace(lane, status="interrupted", message=message)


def _from_checkpoint(training: Training) -> Training:
    """Return a training that continues from its checkpoint, or begins anew if that could not be written."""
    assert training.keeper is not None, "every trial has one"
    return replace(training, keeper=replace(training.keeper, start=training.keeper.read()))
