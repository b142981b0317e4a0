"""The progress of one training: its completed epochs, and how to end, rewind (after Ctrl-C) and resume it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from nnspec.checker.program import Experiment
from nnspec.compiler.layout import Layout
from nnspec.compiler.plan import Plan
from nnspec.compiler.snapshot import Snapshot, restore, take
from nnspec.engine.length import Length
from nnspec.engine.network import NumpyMLP, Sequential
from nnspec.engine.stopping import Stopping
from nnspec.errors import ensure
from nnspec.records.reading import DAMAGE
from nnspec.results.digests import next_digest
from nnspec.results.epochs import EpochRecord
from nnspec.results.lane import LaneResult, Status
from nnspec.results.stored import lane_from
from nnspec.training.best_epoch import BestEpoch, LastEpoch
from nnspec.training.checkpoint import Checkpoint, CheckpointError, Keeper
from nnspec.training.fingerprints import start_digests, tensor_digests
from nnspec.training.monitor import Monitor
from nnspec.training.profile import Profiler

__all__ = ["Progress", "begun", "figure_names"]


def figure_names(experiment: Experiment) -> list[str]:
    """Return the names of the figures measured after each epoch: on training, held-out and test data."""
    names = experiment.measured
    measured = {"val_": experiment.train.validation, "test_": experiment.facts.test}
    return [*names, *(f"{prefix}{name}" for prefix, there in measured.items() if there for name in names)]


def begun(
    experiment: Experiment, layout: Layout, network: Sequential, repeat: int, of: int, length: Length | None = None
) -> LaneResult:
    """Return the result of a training before its first epoch."""
    length = length or experiment.length
    return LaneResult(
        name=experiment.name,
        optimizer=str(experiment.optimizer),
        loss=experiment.objective,
        seed=experiment.seed,
        shapes=experiment.shapes,
        epochs=length.records,
        length=length if length.by_step else None,
        params=layout.params,
        figures=tuple(figure_names(experiment)),
        records=(),
        network=network,
        held_out=experiment.train.held_out(experiment.facts.train, experiment.facts.validation),
        repeat=repeat,
        of=of,
    )


class Progress:
    """One training in progress.

    An epoch is complete once its record is in `records`. Ctrl-C may come at any time, so everything else that belongs
    to an epoch is stored before that, for both this epoch and the previous one.
    """

    def __init__(self, plan: Plan, repeat: int, of: int, keeper: Keeper | None, until: int = 0) -> None:
        """`until` is the epoch after which it pauses; 0 for none. Raises CheckpointError if the keeper's checkpoint
        cannot be used.
        """
        rule = plan.experiment.train.early_stop
        self._plan, self._keeper, self._until, self._paused = plan, keeper, until, False
        self.records: list[EpochRecord] = []
        self.status: Status = "done"
        self.message = ""
        self.stopped = ""
        self.lane = replace(
            begun(plan.experiment, plan.layout, plan.network, repeat, of, plan.length),
            records=self.records,
            start=start_digests(plan),
            held_out=plan.held_out,
            scaling=plan.data.scaling,
            target_scaling=plan.data.target_scaling,
            learned=plan.learned,
        )
        """The result as passed to observers; it has each epoch as soon as that is complete."""
        self._tables: dict[int, dict[str, list[list[int]]]] = {}
        """Metrics that are tables, for the last and the best epoch."""
        self._stop = _EarlyStop(rule, self.lane)
        self._best = BestEpoch(rule, self.lane.figures)
        self._monitor = Monitor(plan)
        if keeper is not None and keeper.start is not None:
            self._resume(keeper.start, keeper)
        with plan.shown():
            self._last = LastEpoch(plan)

    @property
    def done(self) -> int:
        """Number of completed epochs."""
        return len(self.records)

    def add(self, seconds: float, figures: Mapping[str, float]) -> None:
        """Add a completed epoch."""
        plan, done = self._plan, self.done + 1
        plan.end_sequences()
        rate = plan.optimizer.lr if plan.optimizer.schedule is not None else None
        order = next_digest(self.records[-1].order if self.records else "", plan.data.order)
        self._tables[done] = plan.tables()
        with plan.shown():
            evaluations = plan.repeatable.counted() if plan.repeatable is not None else None
            gradients = self._monitor.gradients
            record = EpochRecord(figures, seconds, rate, order, tensor_digests(plan), evaluations, gradients)
            self._last.update(plan, done)
            self.records.append(record)
            self._follow_best()
        self._tables = {epoch: tables for epoch, tables in self._tables.items() if epoch in (done, self._best.epoch)}

    def _follow_best(self) -> None:
        if self._keeper is not None or self._best.restores:
            self._best.update(self._plan, self.records)

    def stops(self, *, on_request: bool = False) -> bool:
        """Return whether training ends now: early, on request, or because all epochs are complete; or whether it
        pauses, to be continued from its checkpoint.
        """
        if self.done == self.lane.epochs:
            return True
        self.stopped = self._stop.reason(self.records) or self._converged()
        if on_request and not self.stopped:
            self.stopped = f"after {self.lane.unit} {self.lane.at(self.done)}: stopped by `on_epoch`"
        self._paused = self.done == self._until and not self.stopped
        return bool(self.stopped) or self._paused

    def _converged(self) -> str:
        why = self._plan.converged
        return f"after epoch {self.done}: {type(self._plan.optimizer).__name__} converged, {why}" if why else ""

    def rewind(self) -> None:
        """Return to the last complete epoch after Ctrl-C."""
        self._last.restore(self._plan, self.done)
        if self._best.restores:
            self._best.update(self._plan, self.records)  # Ctrl-C may have come before this

    def save_if_due(self) -> None:
        """Write a checkpoint if they are enabled and the next one is due."""
        if self._keeper is not None and self._keeper.due():
            self._save(self._keeper, take(self._plan), self._so_far(), ended=False)

    def end(self) -> LaneResult:
        """Write the last checkpoint and return the trained lane. Called once, after `status` is set."""
        plan, keeper, diverged = self._plan, self._keeper, self.status == "diverged"
        snapshot = take(plan) if keeper is not None and self.status != "interrupted" else None
        health = self._monitor.health(self.status) if diverged else {}  # of the weights that it diverged with
        if plan.average is not None and self.status == "done":
            plan.average.show()
        restores = self._best.restores and not self._paused
        restored = self._best.epoch if restores and (diverged or self._best.epoch != self.done) else 0
        if restored:
            self._best.restore(plan)
        lane = replace(
            self._so_far(),
            tables=self._tables.get(restored or self.done, {}),
            restored_epoch=restored,
            profile=plan.loop.observer.profile() if isinstance(plan.loop.observer, Profiler) else {},
            **(health or ({} if self._paused else self._monitor.health(self.status))),
        )
        if keeper is not None and snapshot is not None:
            self._save(keeper, snapshot, lane, ended=not self._paused)
        compiled = {"refused": plan.refusal} if plan.refusal else plan.loop.compiled
        plan.release()
        network = lane.network if plan.experiment.trial is None else NumpyMLP()  # nothing uses that of a trial
        unsaved = keeper.unsaved if keeper is not None else ""
        return replace(lane, network=network, compiled=compiled, unsaved=unsaved)

    def _so_far(self) -> LaneResult:
        return replace(
            self.lane,
            records=tuple(self.records),
            status=self.status,
            message=self.message,
            stopped=self.stopped,
            tables=self._tables.get(self.done, {}),
        )

    def _save(self, keeper: Keeper, snapshot: Snapshot, lane: LaneResult, *, ended: bool) -> None:
        best = self._best.state() | {"tables": self._tables.get(self._best.epoch, {})}
        arrays = self._best.arrays
        if ended and self._plan.experiment.trial is not None:
            snapshot, arrays = Snapshot({}, {}), {}
        keeper.keep(snapshot, lane, self._stop.state(), best, arrays, ended=ended)

    def _resume(self, start: Checkpoint, keeper: Keeper) -> None:
        """Continue from a checkpoint. Raises CheckpointError."""
        try:
            restore(self._plan, start.snapshot, start.epochs)
            before = lane_from(start.lane, start.extra, self._plan.network)
            if before.figures != self.lane.figures:
                raise ValueError("it has different figures")
            self.records += before.records
            self.lane = replace(self.lane, start=before.start)
            self._tables = {self.done: before.tables}
            self._stop.load_state(start.stopping)
            self._best.load_state(start.best, start.best_arrays, self.records, self._plan.network)
            self._tables |= {self._best.epoch: start.best["tables"]}
            if start.ended:  # its last epoch was the last requested one, so the rule did not see it
                self.stopped = self._stop.reason(self.records) or self._converged()
        except DAMAGE as error:
            raise CheckpointError(f"the checkpoint {keeper.path} cannot be used: {error}") from None


class _EarlyStop:
    """Applies the early-stopping rule to a training, if there is one."""

    def __init__(self, rule: Stopping | None, lane: LaneResult) -> None:
        ensure(rule is None or rule.of in lane.figures, f"`{rule}`: its metric is not measured")
        self._rule, self._watcher = rule, rule.watch() if rule is not None else None
        self._lane = lane

    def reason(self, records: list[EpochRecord]) -> str:
        """Return why training stops after the last of these epochs; empty if it continues. Called once per epoch."""
        if self._rule is None or self._watcher is None or not self._watcher.stops(records[-1].figures[self._rule.of]):
            return ""
        reason = self._rule.reason if self._lane.length is None else self._rule.reason_by_step
        return f"after {self._lane.unit} {self._lane.at(len(records))}: {reason}"

    def state(self) -> dict[str, float] | None:
        """Return the state of the rule, if there is one."""
        return self._watcher.state() if self._watcher is not None else None

    def load_state(self, state: Mapping[str, float] | None) -> None:
        """Continue from the state of another process."""
        if self._watcher is not None and state is not None:
            self._watcher.keep_state(state)
