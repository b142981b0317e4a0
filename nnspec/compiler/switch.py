"""Switch plans from NumPy calls to compiled steps, and the loop that they use from then on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from nnspec.compiler.replay import Epoch, Replay, move_kernels, unmoved
from nnspec.compiler.stacking import kin
from nnspec.engine._numpy import np
from nnspec.engine.initializers import Initializer
from nnspec.engine.part import comparable
from nnspec.native.builder import the_builder
from nnspec.native.library import available, missing

if TYPE_CHECKING:
    from nnspec.checker.program import Experiment
    from nnspec.compiler.loop import Loop
    from nnspec.compiler.plan import Plan

__all__ = ["CompiledLoop", "Recorded", "Switch"]

Kept = TypeVar("Kept")
Recorded = dict[tuple[Hashable, ...], Replay]
"""What was recorded, by the computation: see `likeness`."""


class CompiledLoop:
    """The loop of a plan whose records, epochs by default, are replayed, each in another thread. It has the interface
    of `Loop` (`loop.py`).
    """

    observer = None

    def __init__(self, loop: Loop, replay: Replay, record: int) -> None:
        self._loop, self._replay, self._since = loop, replay, record
        self._job: Future[Epoch] | None = None
        self._done: Epoch | None = None
        self._idle, self._halts = threading.Event(), 0
        self._idle.set()

    @property
    def compiled(self) -> dict[str, Any]:
        """The epoch, from 1, since which it is replayed, and the Python calls that remain, with reasons."""
        (plan,) = self._loop.plans
        return {"since": int(plan.length.epochs_at(self._since)) + 1, "python": self._replay.gaps}

    def ahead(self, record: int) -> None:
        """Begin a record in another thread."""
        if self._job is None:
            self._job = _threads().submit(self._train, record, self._halts)

    def _train(self, record: int, halts: int) -> Epoch:
        """Train a record, unless `halt` has been called since it was requested."""
        self._idle.clear()
        try:
            if halts != self._halts:
                raise CancelledError
            return self._replay.run(record)
        finally:
            self._idle.set()

    def halt(self) -> None:
        """Stop the other thread in the middle of a record, and wait for it. Records that were requested but have not
        begun are skipped: Ctrl-C may have come before the job was known here.
        """
        self._job, self._halts = None, self._halts + 1
        self._replay.halt()
        self._idle.wait()
        self._replay.clear()

    def begin(self, record: int) -> None:
        """Train a record, then run the evaluations that follow it."""
        self._done = None
        self.ahead(record)
        self._done = ensured(self._job).result()
        self._job = None

    def train(self, number: int, lane: int) -> tuple[float, float, float]:
        """Return the loss of a batch of this record, its weight, and its share of the seconds."""
        done = ensured(self._done)
        return done.losses[number], done.weights[number], done.seconds / len(done.losses)

    def figures(self, plan: Plan) -> tuple[float, ...]:
        """Return the metrics over the batches of this record."""
        return ensured(self._done).figures

    def measured(self, samples: str, lane: int) -> tuple[float, tuple[float, ...]]:
        """Return mean loss and each metric over the held-out samples (`validation`) or those of the `test`."""
        return ensured(self._done).measured[samples]

    def alone(self, plan: Plan) -> Loop:
        """Return a loop that makes NumPy calls."""
        return self._loop

    def dissolve(self) -> None:
        """Do nothing: this loop is not shared."""

    def settle(self, leaving: Sequence[Plan]) -> None:
        """Do nothing: this loop is not shared."""

    def let_go(self, plan: Plan) -> None:
        """Stop using this plan."""
        self.halt()
        self._loop.let_go(plan)


class _Differs(RuntimeError):
    """Compiled steps give different bits than the NumPy calls. The message says where."""


class Switch:
    """Switches plans that train together to compiled steps as soon as these are available.

    With `always`, kernels are compiled at once; with `auto`, they are compiled in a separate process during training,
    if the estimated `seconds` of training make that pay off; `never` changes nothing. `tell` is called with the number
    of kernels that training waits for. `recorded` has what was recorded for other plans of the run.

    With `auto`, no run fails because of this: if kernels cannot be loaded, or give different bits than the NumPy calls,
    a plan keeps those calls, and `Plan.refusal` says why. With `always`, that is an error.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        how: str,
        seconds: float,
        tell: Callable[[int], None] = lambda kernels: None,
        recorded: Recorded | None = None,
    ) -> None:
        self._how, self._worth, self._tell = how, how == "always" or seconds > WORTH, tell
        wanted = how == "always" or (how == "auto" and seconds > GAINS)
        once = [plan for plan in plans if plan.repeatable is None]
        self._waiting: dict[Plan, Replay | None] = dict.fromkeys(once) if wanted and available() else {}
        if how == "always":
            for plan in plans:
                if plan.repeatable is not None:
                    plan.refusal = "its steps evaluate a batch several times"
        self._recorded: Recorded = {} if recorded is None else recorded
        if (
            how == "always" and not available()
        ):  # on a worker of a cluster, say; elsewhere this has already been reported
            for plan in plans:
                plan.refusal = "Numba is not installed there"

    def __call__(self, going: Sequence[Plan]) -> None:
        """Between two turns: switch the plans that can be replayed, and begin their next records."""
        waiting = [plan for plan in going if plan in self._waiting]
        if waiting and (self._how == "always" or self._ready(_all(map(likely_kernels, waiting)))):
            for plan in waiting:
                self._guarded(plan, self._record)
            recorded = {plan: replay for plan in waiting if (replay := self._waiting.get(plan)) is not None}
            self._ready(_all(replay.kernels for replay in recorded.values()))
            for plan in recorded:
                self._guarded(plan, self._try)
        if not self._worth:  # missing kernels will not be compiled
            self._waiting.clear()
        for plan in going:
            plan.loop.ahead(plan.next_record)

    @property
    def ready(self) -> bool:
        """Whether the kernels that its plans are likely to need exist, or will be compiled before they train."""
        return bool(self._waiting) and (self._how == "always" or not missing(_all(map(likely_kernels, self._waiting))))

    def _ready(self, names: set[str]) -> bool:
        if not self._worth:
            return not missing(names)
        if self._how == "always" and (lacking := missing(names)):
            self._tell(len(lacking))
        return the_builder().ready(names, wait=self._how == "always")

    def _guarded(self, plan: Plan, act: Callable[[Plan], None]) -> None:
        try:
            act(plan)
        except Exception as error:
            if self._how == "always":
                raise
            self._waiting.pop(plan, None)
            why = str(error) if isinstance(error, _Differs) else f"{type(error).__name__}: {error}"
            plan.refusal = f"{why} (please report this)"

    def _record(self, plan: Plan) -> None:
        if self._waiting[plan] is None:
            plan.loop.dissolve()
            alike = likeness(plan)
            like = None if alike is None else self._recorded.get(alike)
            found = self._waiting[plan] = Replay(plan.loop.alone(plan), like)
            if alike is not None:
                self._recorded.setdefault(alike, found)

    def _try(self, plan: Plan) -> None:
        replay = ensured(self._waiting[plan])
        if not self._ready(replay.kernels):
            return
        del self._waiting[plan]
        replay.link()
        wrong = "" if replay.checked else replay.check()
        if wrong:
            raise _Differs(f"compiled steps do not give the bits of NumPy's: {wrong}")
        plan.loop = CompiledLoop(plan.loop.alone(plan), replay, plan.next_record)


WORTH = 3.0
"""Estimated seconds of training above which compiling kernels in the background pays off."""
GAINS = 0.5
"""Seconds above which recording, which takes a tenth of a second, pays off if the kernels exist."""


def likeness(plan: Plan) -> tuple[Hashable, ...] | None:
    """Return a key that is equal for plans with the same computation, so that one can adopt the tapes of another; None
    if no other plan can."""
    alive = plan.data.alive
    sizes = (len(plan.data.order), plan.held_out, None if alive is None else len(alive))
    alike = kin(plan.experiment)
    return None if alike is None else (alike, sizes, _arguments(plan.experiment))


def _arguments(experiment: Experiment) -> Hashable:
    """Return the arguments of all layers, which instructions contain as constants: the rate of a dropout, for example.
    Initialisers have done their work before anything is recorded.
    """
    nodes = (node for layer in experiment.layers for node in layer.walk())
    return tuple(
        comparable({name: value for name, value in node.arguments().items() if not isinstance(value, Initializer)})
        for node in nodes
    )


def likely_kernels(plan: Plan) -> Iterator[str]:
    """Name kernels that a plan is likely to need, as far as is known without recording it: if these exist, the others
    usually do too.
    """
    kind = f"f{np.dtype(plan.layout.dtype).itemsize}"
    yield from ("run", "batches", "loop", f"copy.{kind}.{kind}")
    yield from () if plan.dataset.train.x.dtype == plan.layout.dtype else (f"gather.{kind}", "take")
    yield from () if plan.experiment.classes is None else (f"argmax.{kind}", f"put.{kind}", "count")
    yield from () if unmoved(plan) else move_kernels(plan.optimizer)


def _all(names: Iterable[Iterable[str]]) -> set[str]:
    return set().union(*names)


@cache
def _threads() -> ThreadPoolExecutor:
    """Return the threads that replay: as many as there are processors available to this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ThreadPoolExecutor(cores, "nnspec")


def ensured(value: Kept | None) -> Kept:
    """Return the result of an epoch. Raises RuntimeError if none was begun."""
    if value is None:
        raise RuntimeError("no epoch was begun")
    return value
