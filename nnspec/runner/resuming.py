"""Resuming a run: which trainings are finished, and from which epoch the others continue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from nnspec.checker.program import Experiment
from nnspec.records.extending import EXTENT, LENGTHS
from nnspec.records.lane_folders import folder_names
from nnspec.records.reading import DAMAGE
from nnspec.results.lane import LaneResult
from nnspec.semantics.meaning import Meaning, identity
from nnspec.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    HeldKeeper,
    Keeper,
    read_checkpoint,
    restored_lane,
)
from nnspec.training.groups import Training

__all__ = ["Checkpoints", "Continuation", "InMemory", "restored"]


def restored(experiment: Experiment, start: Checkpoint, path: Path) -> LaneResult:
    """Return the result of a training up to its checkpoint. Raises CheckpointError."""
    try:
        return restored_lane(experiment, start)
    except DAMAGE as error:
        raise CheckpointError(f"the checkpoint {path} cannot be used: {error}") from None


class Continuation(Protocol):
    """Says which trainings of a run remain, and from where they continue."""

    def enter(self, everything: Sequence[Training], data: Mapping[str, str]) -> tuple[list[Training], list[LaneResult]]:
        """Return the unfinished trainings, each with its keeper, and the results of the finished ones. `data` has the
        digest of each lane's data."""


@dataclass
class InMemory:
    """Keeps the state of a run's only training in memory, for a run that continues it, possibly on other data."""

    start: Checkpoint | None = None
    """Where the training continues; None to begin."""
    _keeper: HeldKeeper | None = None

    def enter(self, everything: Sequence[Training], data: Mapping[str, str]) -> tuple[list[Training], list[LaneResult]]:
        """Give the training a keeper. Raises ValueError for several trainings."""
        (training,) = everything
        digest = data[training.experiment.name]
        self._keeper = HeldKeeper(Path("in memory"), "", digest, 0, self.start, other_data=True)
        return [replace(training, keeper=self._keeper)], []

    @property
    def end(self) -> Checkpoint | None:
        """The state at the end; None if there is none, as after Ctrl-C."""
        return self._keeper.held if self._keeper is not None else None


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often a run writes checkpoints."""

    folder: Path
    meaning: Meaning
    """The meaning of the spec."""
    seconds: float = 10.0
    """Minimum time between two checkpoints of a training, in seconds."""
    resume: bool = False
    """Whether trainings continue from existing checkpoints; otherwise these are removed."""

    def enter(self, everything: Sequence[Training], data: Mapping[str, str]) -> tuple[list[Training], list[LaneResult]]:
        """Return the unfinished trainings, each with its keeper, and the results of the finished ones.

        `data` has the digest of each lane's data. All checkpoints are read before anything is trained. Raises
        CheckpointError.
        """
        names = list(dict.fromkeys(each.experiment.name for each in everything))
        folders = dict(zip(names, folder_names(names), strict=True))
        left: list[Training] = []
        ended: list[LaneResult] = []
        for each in everything:
            name, seed = each.experiment.name, each.experiment.seed
            path = self.folder / folders[name] / f"seed-{seed}.npz"
            own, older = (self._identity(name, seed, skipped) for skipped in (EXTENT, LENGTHS))
            if not self.resume:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise CheckpointError(
                        f"the old checkpoint {path} cannot be removed: {error.strerror or error}; choose another folder"
                    ) from None
            start = read_checkpoint(path, own, data[name], older) if self.resume else None
            own = own if start is None else start.identity
            if start is not None and start.ended and not start.can_extend(each.experiment.length.records):
                ended.append(restored(each.experiment, start, path))
            else:
                start = None if start is not None and start.results_only else start
                left.append(replace(each, keeper=Keeper(path, own, data[name], self.seconds, start)))
        return left, ended

    def _identity(self, lane: str, seed: int, skipped: Sequence[str]) -> str:
        """Return a digest of everything that a training depends on, except its data and these settings."""
        values = {name: value for name, value in self.meaning.lanes[lane].items() if name not in skipped}
        return identity(Meaning({lane: {**values, "seed": seed}}))
