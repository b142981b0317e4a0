"""Training one lane, once."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping

from nnspec.checker.program import Experiment
from nnspec.compiler.layout import Layout
from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import Plan
from nnspec.compiler.snapshot import restore, take
from nnspec.compiler.switch import Switch
from nnspec.data.source import Dataset
from nnspec.engine._numpy import np
from nnspec.engine.losses.contract import Mean
from nnspec.engine.metrics import Metric
from nnspec.engine.network import NumpyMLP
from nnspec.engine.schedules import Schedule
from nnspec.engine.stopping import Stopping
from nnspec.errors import ensure
from nnspec.records.reading import DAMAGE
from nnspec.results.digests import next_digest
from nnspec.results.lane import LaneResult
from nnspec.training.best_epoch import Best, Last
from nnspec.training.checkpoint import CheckpointError, Keeper
from nnspec.training.fingerprints import start_digests, tensor_digests
from nnspec.training.monitor import Monitor
from nnspec.training.observer import Observer
from nnspec.training.profile import Profiler

__all__ = ["begun", "figure_names", "train_once", "train_plan"]

Measure = Callable[[], tuple[float, tuple[float, ...]]]


class _Diverged(Exception):
    """The loss is no number any more. The message says where."""


def train_once(
    experiment: Experiment,
    layout: Layout,
    dataset: Dataset,
    observer: Observer,
    repeat: int = 1,
    of: int = 1,
    keeper: Keeper | None = None,
    profile: bool = False,
    compiled: str = "never",
) -> LaneResult:
    """Train a lane to its end, or until it stops early, or to where its loss stops being a number, or until Ctrl-C.

    Never raises for these. With a `keeper` it goes on where that says, and keeps checkpoints. With `profile` its steps
    are timed part by part.
    """
    plan = plan_alone(experiment, layout, dataset)
    if profile:
        plan.loop.observer = Profiler(plan)
    switch = Switch([plan], "never" if profile else compiled, layout.seconds, observer.compiling)
    training = train_plan(plan, observer, repeat, of, keeper)
    # Overflow on the way to divergence is reported once, by the lane, and not by NumPy line by line.
    with np.errstate(all="ignore"):
        while True:
            try:
                next(training)
                try:
                    switch([plan])
                except KeyboardInterrupt as pressed:
                    training.throw(pressed)
            except StopIteration as end:
                lane: LaneResult = end.value
                return lane


def train_plan(
    plan: Plan,
    observer: Observer,
    repeat: int = 1,
    of: int = 1,
    keeper: Keeper | None = None,
) -> Generator[None, None, LaneResult]:
    """Train a plan as `train_once` does, pausing when the lane has begun and after every epoch but the last."""
    experiment = plan.experiment
    lane = begun(experiment, plan.layout, plan.network, repeat, of)
    lane.held_out, lane.scaling, lane.target_scaling = plan.held_out, plan.data.scaling, plan.data.target_scaling
    lane.fingerprints = {"start": start_digests(plan), "order": ""}
    stop, best = _Stop(experiment.train.early_stop, lane), Best(experiment.train.early_stop, lane)
    monitor = Monitor(plan, lane)
    if keeper is not None and keeper.start is not None:
        _go_on(plan, lane, stop, best, keeper)
    last, whole = Last(plan), (lane.tables, lane.fingerprints["order"], 0)
    try:
        observer.lane_begins(lane)
        plan.next_epoch = len(lane.epoch_seconds)
        yield
        for seconds, figures in () if lane.stopped else _epochs(plan, len(lane.epoch_seconds)):
            for name, value in figures.items():
                lane.history[name].append(value)
            if plan.optimizer.schedule is not None:
                lane.rates.append(plan.optimizer.lr)
            whole = (
                plan.tables(),
                next_digest(lane.fingerprints["order"], plan.data.order),
                len(lane.epoch_seconds) + 1,
            )
            for tensor, digest in tensor_digests(plan).items():
                lane.trace.setdefault(tensor, []).append(digest)
            monitor.epoch_done()
            last.look(plan, len(lane.epoch_seconds) + 1)
            lane.epoch_seconds.append(seconds)
            lane.tables, lane.fingerprints["order"], _ = whole
            if keeper is not None or best.restores:
                best.look(plan)
            plan.optimizer.tell(len(lane.epoch_seconds), figures)
            observer.epoch_done(lane)
            if stop.now() or len(lane.epoch_seconds) == lane.epochs:
                break
            if keeper is not None and keeper.due():
                keeper.keep(take(plan), lane, stop.state(), best, ended=False)
            plan.next_epoch = len(lane.epoch_seconds)
            yield
    except _Diverged as error:
        lane.status, lane.message = "diverged", _advice(experiment, str(error))
    except KeyboardInterrupt:
        plan.loop.halt()
        # The time of an epoch is added last: an epoch without one was interrupted while its figures were added.
        done = len(lane.epoch_seconds)
        lane.history = {name: values[:done] for name, values in lane.history.items()}
        lane.rates = lane.rates[:done]
        lane.trace = {tensor: digests[:done] for tensor, digests in lane.trace.items()}
        lane.gradients = {tensor: norms[:done] for tensor, norms in lane.gradients.items()}
        if whole[2] == done:  # what is no list is put in its place behind that
            lane.tables, lane.fingerprints["order"], _ = whole
        last.restore(plan, done)
        if best.restores:
            best.look(plan)  # Ctrl-C may have come before
        lane.status, lane.message = "interrupted", f"after {done} of {lane.epochs} epochs"
    ending = take(plan) if keeper is not None and lane.status != "interrupted" else None
    if lane.status == "diverged":
        monitor.ended()  # of the weights that it diverged with
    if best.restores:
        best.restore(plan)
    if lane.status != "diverged":
        monitor.ended()
    if isinstance(plan.loop.observer, Profiler):
        lane.profile = plan.loop.observer.profile()
    if keeper is not None and ending is not None:
        keeper.keep(ending, lane, stop.state(), best, ended=True)
    lane.compiled = {"refused": plan.refusal} if plan.refusal else plan.loop.compiled
    plan.release()
    return lane


def begun(experiment: Experiment, layout: Layout, network: NumpyMLP, repeat: int, of: int) -> LaneResult:
    """Return a training before its first epoch."""
    return LaneResult(
        name=experiment.name,
        optimizer=str(experiment.optimizer),
        loss=str(experiment.loss),
        seed=experiment.seed,
        shapes=experiment.shapes,
        epochs=experiment.train.epochs,
        params=layout.params,
        history={name: [] for name in figure_names(experiment)},
        epoch_seconds=[],
        network=network,
        held_out=experiment.train.held_out(experiment.facts.train, experiment.facts.validation),
        repeat=repeat,
        of=of,
        fingerprints={"start": {}, "order": ""},
    )


def _go_on(plan: Plan, lane: LaneResult, stop: _Stop, best: Best, keeper: Keeper) -> None:
    """Put a training where its checkpoint says. Raises CheckpointError."""
    start = keeper.start
    assert start is not None, "the keeper says where"
    try:
        restore(plan, start.snapshot)
        lane.history = {name: [*start.lane["history"][name]] for name in lane.history}
        lane.epoch_seconds, lane.rates = [*start.lane["epoch_seconds"]], [*start.lane["rates"]]
        lane.tables, lane.fingerprints = start.lane["tables"], start.lane["fingerprints"]
        lane.trace = {tensor: [*digests] for tensor, digests in start.lane["trace"].items()}
        lane.gradients = {tensor: [*norms] for tensor, norms in start.lane["gradients"].items()}
        stop.keep_state(start.stopping)
        best.keep_state(start.best, start.best_arrays)
        if start.ended:
            stop.now()  # what was the last epoch had no say in whether there are more
    except DAMAGE as error:
        raise CheckpointError(f"the checkpoint {keeper.path} cannot be used: {error}") from None


class _Stop:
    """Watches a lane by the rule that stops it early, where it has one."""

    def __init__(self, rule: Stopping | None, lane: LaneResult) -> None:
        ensure(rule is None or rule.of in lane.history, f"`{rule}`: its metric is not measured")
        self._rule, self._lane = rule, lane
        self._watcher = rule.watch() if rule is not None else None

    def now(self) -> bool:
        """Say whether the lane stops after the epoch that was added last, and note in the lane that it does."""
        lane, done = self._lane, len(self._lane.epoch_seconds)
        if self._rule is None or self._watcher is None or done == lane.epochs:
            return False
        if self._watcher.stops(lane.history[self._rule.of][-1]):
            lane.stopped = f"after epoch {done}: {self._rule.reason}"
        return bool(lane.stopped)

    def state(self) -> dict[str, float] | None:
        """Return what the rule remembers, where there is one."""
        return self._watcher.state() if self._watcher is not None else None

    def keep_state(self, state: Mapping[str, float] | None) -> None:
        """Go on where another one was."""
        if self._watcher is not None and state is not None:
            self._watcher.keep_state(state)


def _measures(plan: Plan) -> dict[str, Measure]:
    """What is measured after every epoch: which samples -> how."""
    held_out = {"validation": plan.validate} if plan.held_out else {}
    return held_out | {"test": plan.test}


def figure_names(experiment: Experiment) -> list[str]:
    """Return the names of what is measured in every epoch: of training, of what is held out, of the test."""
    metrics = [metric.part for metric in experiment.metrics]
    names = ["loss", *(part.spec_name for part in metrics if issubclass(part, Metric) and part.is_figure)]
    prefixes = ["val_", "test_"] if experiment.train.validation else ["test_"]
    return [*names, *(f"{prefix}{name}" for prefix in prefixes for name in names)]


def _epochs(plan: Plan, done: int) -> Iterator[tuple[float, dict[str, float]]]:
    """Train the epochs that are not done yet, and yield the training time and the figures of each."""
    for epoch in range(done, plan.experiment.train.epochs):
        started = plan.clock()
        means = _epoch(plan, epoch)
        seconds = plan.clock() - started
        values = [*means]
        for samples, measure in _measures(plan).items():
            loss, metrics = measure()
            if not math.isfinite(loss):
                raise _Diverged(f"the {samples} loss became {loss} after epoch {epoch + 1}")
            values += [loss, *metrics]
        yield seconds, dict(zip(figure_names(plan.experiment), values, strict=True))


def _epoch(plan: Plan, epoch: int) -> tuple[float, ...]:
    """Train one epoch; return the loss, a mean over its batches by their weights, and each metric."""
    plan.begin(epoch)
    mean = Mean()
    for number in range(plan.batches):
        loss, weight = plan.train_batch(number)
        if not math.isfinite(loss):
            raise _Diverged(f"the loss became {loss} in epoch {epoch + 1}, batch {number + 1} of {plan.batches}")
        mean.add(loss, weight)
    if not math.isfinite(mean.value):
        raise _Diverged(f"the sum of the losses became {mean.total} in epoch {epoch + 1}")
    return mean.value, *plan.figures()


def _advice(experiment: Experiment, what: str) -> str:
    """Say where the rate comes from, and a smaller one: the optimizer's default, or a tenth where that is smaller."""
    optimizer = experiment.optimizer
    rate, bound = optimizer.values().get("lr"), optimizer.arguments.get("lr")
    text = f"{what} ({optimizer}, {(bound or optimizer).origin.span})"
    usual = optimizer.part.signature().get("lr")
    start = rate.largest if isinstance(rate, Schedule) else rate
    if not isinstance(start, (int, float)) or usual is None:
        return text
    smaller = f"{usual.default if start > usual.default else start / 10:g}"
    instead = f"{rate.spec_name}({smaller}, …)" if isinstance(rate, Schedule) else smaller
    return f"{text}: try a smaller rate, such as lr={instead}"
