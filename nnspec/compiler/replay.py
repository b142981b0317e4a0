"""Training without Python: the calls of a plan recorded as tapes and replayed batch after batch.

The steps of a program are bound to NumPy calls (`bind.py`). Here these calls are recorded once for each batch size
(`native/recording.py`) and then replayed: a whole epoch is one call, which runs without the interpreter and the GIL, so
lanes train in parallel threads. Each inner loop is NumPy's own and is called with the same runs of numbers, and an
optimizer's rule does the same to each number as its array code. The results are therefore bit-identical to those of the
NumPy calls, and training may switch from one to the other between any two epochs.

What cannot be recorded remains a Python call between two tapes. Every recording is first verified against the NumPy
calls, with other weights and with memory full of garbage. A byte that differs is a fault of nnspec.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from nnspec.compiler.batches import Batches
from nnspec.compiler.bind import Calls
from nnspec.compiler.shadows import Shadows, has_shadow, scalars
from nnspec.engine._numpy import np
from nnspec.engine.losses.contract import Loss, Mean
from nnspec.engine.losses.mixed import MixedLoss
from nnspec.engine.losses.outputs import MetricOfOutput
from nnspec.engine.metrics import Metric
from nnspec.engine.metrics.contract import Places, Tally
from nnspec.engine.optimizers.contract import Group, Optimizer
from nnspec.native import recording as record
from nnspec.native.fusion import fused
from nnspec.native.library import rule_name
from nnspec.native.recording import Instruction, Recording, Traced, Untraceable
from nnspec.native.relocation import Relocation, root
from nnspec.native.tape import Batches as BatchTape
from nnspec.native.tape import Tape
from nnspec.native.words import MOST_STATES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.compiler.loop import Loop
    from nnspec.compiler.plan import Plan

__all__ = ["Epoch", "Replay", "move_kernels", "unmoved"]

_RUBBISH = 0x01
_WRONG = 77
"""Bytes and numbers that no call writes by accident."""
_PATTERN = 65_537
"""The number of different weights used in a check; a prime, so that no two rows of a matrix are equal."""
_NEVER = -1
"""The number of no batch."""
_BROUGHT = ("x", "labels", "targets", "weights", "stored", "wide", "gradients", "shared gradients")
"""Buffers that every batch overwrites."""


@dataclass(frozen=True)
class Epoch:
    """The results of an epoch: each batch's loss and weight, the metrics, the evaluations, the seconds of training."""

    losses: list[float]
    weights: list[float]
    figures: tuple[float, ...]
    measured: Mapping[str, tuple[float, tuple[float, ...]]]
    seconds: float


@dataclass(frozen=True)
class _Act:
    """A Python call, with the object that makes it."""

    owner: object
    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    is_loss: bool = False
    written: NDArray[Any] | None = None
    """The array that it writes, if it is the kernel of a layer."""
    instead: Callable[[], Any] | None = None
    """The function to call instead if it is not recorded, since its arguments change from batch to batch."""

    def __call__(self) -> Any:
        return self.call(*self.arguments) if self.instead is None else self.instead()

    @property
    def is_foreign(self) -> bool:
        """Whether it runs code from outside nnspec. Such code may have state that nnspec cannot restore, so it is
        called only for batches that are trained or evaluated, and never for recording or checking.
        """
        parts = self.owner.made_of if isinstance(self.owner, Loss) else ()
        return any(each is not None and not _is_own(each) for each in (self.owner, *parts))

    def rehearse(self) -> Any:
        """Call it outside training; foreign code is replaced by random numbers."""
        if not self.is_foreign:
            return self()
        if self.written is not None:
            self.written[...] = np.random.default_rng(0).standard_normal(self.written.shape)
        return math.nan


@dataclass
class _Program:
    """A batch of one size, as runs of instructions and the Python calls between them."""

    parts: list[list[Instruction] | _Act] = field(default_factory=list)
    arrays: list[NDArray[Any]] = field(default_factory=list)
    made: list[NDArray[Any]] = field(default_factory=list)
    loss: NDArray[Any] | None = None
    """The cell that holds the loss; None if a Python call returns it."""
    weight: float | None = None
    gaps: dict[str, str] = field(default_factory=dict)
    """The Python calls that remain, and why."""
    tapes: list[Tape | _Act] = field(default_factory=list)

    @property
    def kernels(self) -> set[str]:
        return set().union(*(each.kernels for part in self.parts if isinstance(part, list) for each in part))

    def load(self) -> None:
        """Link the instructions with their machine code."""
        self.tapes = [Tape(part, self.arrays) if isinstance(part, list) else part for part in self.parts]

    @property
    def whole(self) -> Tape | None:
        """The tape, if it is the only part."""
        (first, *rest) = self.tapes
        return first if not rest and isinstance(first, Tape) else None


class Replay:
    """The tapes of a plan that is trained alone."""

    def __init__(self, loop: Loop, like: Replay | None = None) -> None:
        """Record what `loop` does, or adopt the tapes of `like`, a plan with the same computation."""
        (self._plan,) = loop.plans
        self._loop = loop
        self._number, self._first, self._stop = (np.zeros(1, np.int64) for _ in range(3))
        self._programs: dict[tuple[int, str], _Program] = {}
        source = self._plan.data
        self._orders = {
            "train": source.order,
            "validation": np.array(source.held_out_samples),
            "test": source.test_samples.copy(),
        }
        """The training, held-out and test samples, as indices into the data."""
        self._moves: list[Instruction] | None = None
        self._losses = np.empty(self._plan.batches)
        full = {samples: len(order) // self._plan.layout.batch for samples, order in self._orders.items()}
        self._measured = {samples: np.empty(full[samples]) for samples in ("validation", "test") if full[samples]}
        """The losses of the full batches of held-out and test samples."""
        self._evaluations: dict[str, BatchTape | None] = {}
        self._full = sum(self._rows(number) == self._rows(0) for number in range(self._plan.batches))
        self._move: Tape | None = None
        self._run: BatchTape | None = None
        self._factors: list[tuple[Group, NDArray[Any]]] = []
        self._unmoved: dict[str, str] = {}
        """The Python calls that update the weights, or begin to, and why."""
        self._checked = False
        self._like: Replay | None = None
        self._relocation: Relocation | None = None
        """How the tapes of that plan are moved to the memory of this one."""
        if like is not None and like.moves_over and not noise_differs(like._plan, self._plan):
            self._take_over(like)
        else:
            self._record()

    @property
    def checked(self) -> bool:
        """Whether it was verified against the NumPy calls, or adopted from a plan that was."""
        return self._checked or (self._like is not None and self._like.checked)

    @property
    def moves_over(self) -> bool:
        """Whether another plan's memory can be substituted for this one's, that is, whether no Python call remains."""
        return not any(program.gaps for program in self._programs.values())

    @cached_property
    def _others(self) -> dict[int, NDArray[Any]]:
        """The arrays that its tapes point to besides the memory of the plan, by their id."""
        arrays = {
            id(array): array
            for program in self._programs.values()
            for array in map(root, (*program.arrays, *program.made))
        }
        memory = Relocation((each, each) for each in _memory(self))
        known = memory.knows(np.array([array.ctypes.data for array in arrays.values()], np.int64))
        return {key: array for (key, array), within in zip(arrays.items(), known, strict=True) if not within}

    @property
    def kernels(self) -> set[str]:
        """The kernels that it needs."""
        own = {each.kernel for each in self._moves or ()} | {"run", "batches"}
        programs = (self if self._like is None else self._like)._programs
        return own.union(*(program.kernels for program in programs.values()))

    @property
    def gaps(self) -> dict[str, str]:
        """The Python calls that remain, and why."""
        found: dict[str, str] = {}
        for program in self._programs.values():
            found |= program.gaps
        return found | self._unmoved

    # Recording

    def _take_over(self, like: Replay) -> None:
        """Prepare to move another plan's tapes to the memory of this one."""
        self._plan.narrow(False)
        pairs = [*zip(_memory(like), _memory(self), strict=True)]
        states = [
            (one.bit_generator.ctypes.state_address, other.bit_generator.ctypes.state_address)
            for one, other in zip(like._plan.noise, self._plan.noise, strict=True)
        ]
        own = {key: (array, array.copy(order="K")) for key, array in like._others.items()}
        self._relocation = Relocation([*pairs, *own.values()], states)
        for key, program in like._programs.items():
            found = self._programs[key] = _Program(
                made=[own[id(root(each))][1] for each in program.made if id(root(each)) in own], weight=program.weight
            )
            if program.loss is not None:
                found.loss = own[id(root(program.loss))][1].reshape(1)
        self._like = like
        self._record_moves()

    def _record(self) -> None:
        """Record all batch sizes, and verify each against the NumPy calls. Nothing of the plan changes."""
        plan, source = self._plan, self._plan.data
        kept = _Kept(self._loop)
        try:
            for samples, order in self._orders.items():
                sizes = (
                    {self._rows(0), self._rows(len(source) - 1)}
                    if samples == "train"
                    else _sizes(len(order), plan.layout.batch)
                )
                for rows in sizes:
                    self._programs[rows, samples] = self._program(rows, samples, order)
                    kept.restore()
            self._record_moves()
        finally:
            kept.restore()

    def _acts(self, rows: int, samples: str, order: NDArray[Any]) -> Iterator[_Act]:
        """Yield the calls of a batch: loading it, forward, metrics, loss and, in training, backward."""
        training, source = samples == "train", self._plan.data
        yield _Act(
            source,
            source.bring,
            (order[:rows], samples),
            instead=lambda: source.bring(order[self._first[0] :][:rows], samples),
        )
        calls: Calls = self._loop.calls_for(rows, whole=not training)
        for call, arguments, _, written in (*calls.forward, *calls.metrics):
            yield _Act(_owner(call), call, arguments, written=written)
        (loss,) = calls.losses
        yield _Act(loss.loss, loss.loss.forward, loss.arguments, is_loss=True)
        if training:
            yield _Act(loss.loss, loss.loss.backward, (loss.gradient,))
            for call, arguments, _, written in calls.backward:
                yield _Act(_owner(call), call, arguments, written=written)

    def _program(self, rows: int, samples: str, order: NDArray[Any]) -> _Program:
        """Record a batch of one size."""
        plan = self._plan
        (plan.full_network.train if samples == "train" else plan.full_network.eval)()
        plan.begin_sequences()
        try:
            plan.data.shuffle(plan.epoch)
            acts = [*self._acts(rows, samples, order)]
            refused = {id(act.owner): why for act in acts if (why := _by_hand(act.owner))}
            while True:
                _refuse_together(acts, refused)
                found = self._attempt(acts, order, refused)
                if found is not None:
                    return found
        finally:
            plan.full_network.train()

    def _attempt(self, acts: Sequence[_Act], order: NDArray[Any], refused: dict[int, str]) -> _Program | None:
        """Record calls, except those of owners that are `refused`; return None if this refuses another owner."""
        shadows, program = Shadows(), _Program()
        for act in acts:  # once without recording, after which only numbers in arrays change
            self._do(act, shadows, refused)
        before = {id(act.owner): scalars(shadows.of(act.owner)) for act in acts if act.owner is not None}
        for place, act in enumerate(acts):
            key = id(act.owner) if act.owner is not None else place
            if key in refused:
                self._do(act, shadows, refused)
                program.parts.append(act)
                program.gaps[_name(act)] = refused[key]
                continue
            recording = Recording(order, self._first.ctypes.data)
            try:
                with recording:
                    result = shadows.call(act.call, act.arguments)
                if act.is_loss and not isinstance(result, Traced):
                    raise Untraceable("its value is no number of an array")
            except Exception as error:  # noqa: BLE001  (after any error, the call is made in Python, and `gaps` says why)
                refused[key] = str(error) if isinstance(error, Untraceable) else f"{type(error).__name__}: {error}"
                return None
            if act.is_loss:
                program.loss = record.plain(result).reshape(1)
            instructions = fused(recording.instructions)
            if program.parts and isinstance(program.parts[-1], list):
                program.parts[-1] += instructions
            else:
                program.parts.append(instructions)
            program.arrays += recording.arrays
            program.made += recording.made
        for act in acts:
            changed = act.owner is not None and before[id(act.owner)] != scalars(shadows.of(act.owner))
            if changed and id(act.owner) not in refused:
                refused[id(act.owner)] = "it counts batches in Python"
                return None
        loss = next(act.owner for act in acts if act.is_loss)
        if id(loss) not in refused:
            program.weight = float(shadows.of(loss).weight(len(acts[0].arguments[0])))
        return program

    def _do(self, act: _Act, shadows: Shadows, refused: Mapping[int, str]) -> None:
        if act.owner is not None and id(act.owner) in refused:
            act.rehearse()
        else:
            shadows.call(act.call, act.arguments)

    def _record_moves(self) -> None:
        """Create the instructions that update the weights; if that is impossible, the plan updates them itself."""
        plan, optimizer = self._plan, self._plan.optimizer
        self._unmoved = unmoved(plan)
        if self._unmoved:
            return
        self._moves = []
        for kernel, group in zip(move_kernels(plan.optimizer), optimizer.groups, strict=True):
            theta, grad, *state = optimizer.arrays(group)
            table = np.empty((plan.batches, _width(optimizer, group)), theta.dtype)
            self._factors.append((group, table))
            at = [each.ctypes.data for each in (theta, grad, table, self._number, *state)]
            words = [*at[:2], theta.size, *at[2:4], table.strides[0], 0, 0, *at[4:], *(0,) * (MOST_STATES - len(state))]
            self._moves.append(Instruction(kernel, tuple(words)))
        if optimizer.couples_tensors:
            self._unmoved = {type(optimizer).__name__: "it sums over all gradients in Python before every update"}

    # Running

    def link(self) -> None:
        """Link all instructions with their machine code. Raises KeyError for kernels that have not been compiled."""
        for key, program in self._programs.items():
            if self._like is None or self._relocation is None:
                program.load()
            else:
                program.tapes = [
                    each.moved(self._relocation) for each in self._like.linked(key) if isinstance(each, Tape)
                ]
        for samples, losses in self._measured.items():
            self._evaluations[samples] = self._together_of(samples, Tape((), ()), losses, last=_NEVER)
        if self._moves is None:
            return
        self._move = Tape(self._moves, [table for _, table in self._factors])
        # A whole epoch is one call, unless the factors of an update depend on the gradients of its batch.
        if not self._plan.optimizer.couples_tensors:
            self._run = self._together_of("train", self._move, self._losses, last=self._plan.batches - 1)

    def _together_of(self, samples: str, after: Tape, losses: NDArray[Any], last: int) -> BatchTape | None:
        """Return full batches as one call, if no Python call is between them."""
        rows = self._rows(0) if samples == "train" else self._plan.layout.batch
        program = self._programs[rows, samples]
        if program.whole is None or program.loss is None or program.weight is None:
            return None
        return BatchTape(
            program.whole,
            after,
            number=self._number,
            first=self._first,
            batch=self._plan.layout.batch,
            loss=program.loss,
            losses=losses,
            stop=self._stop,
            last=last,
        )

    def linked(self, key: tuple[int, str]) -> list[Tape | _Act]:
        """Return the parts of a program, linked with machine code. Raises KeyError as `link` does."""
        program = self._programs[key]
        if not program.tapes:
            program.load()
        return program.tapes

    def check(self) -> str:
        """Verify every tape against the NumPy calls, on memory full of garbage; return what differs, or an empty
        string.
        """
        kept = _Kept(self._loop)
        try:
            for (rows, samples), program in self._programs.items():
                self._plan.data.shuffle(self._plan.epoch)
                acts = [*self._acts(rows, samples, self._orders[samples])]
                (self._plan.full_network.train if samples == "train" else self._plan.full_network.eval)()
                seen = []
                self._first[0] = 0
                for run in (partial(_called, acts), partial(self._replayed, program, _Act.rehearse)):
                    kept.restore()
                    self._plan.data.shuffle(self._plan.epoch)
                    self._plan.begin_pass()
                    kept.spoil(program.made)
                    figures = {"loss": float(run()).hex(), "metrics": repr(self._tallies())}
                    seen.append(figures | kept.digests())
                self._plan.full_network.train()
                wrong = [name for name in seen[0] if seen[0][name] != seen[1][name]]
                if wrong:
                    return f"{', '.join(wrong)} of batches of {rows} ({samples})"
        finally:
            self._plan.full_network.train()
            kept.restore()
            self._plan.begin_pass()
        self._checked = True
        return ""

    def _tallies(self) -> list[Any]:
        """Return the counts of the loss's parts and the metrics."""
        return [each.value for each in _tallies(self._plan)]

    def _replayed(self, program: _Program, called: Callable[[_Act], Any] = _Act.__call__) -> float:
        """Replay a batch; return its loss. `called` makes the Python calls in it."""
        loss = math.nan
        for part in program.tapes:
            if isinstance(part, Tape):
                part.run()
            else:
                result = called(part)
                loss = result if part.is_loss else loss
        return loss if program.loss is None else float(program.loss[0])

    def train(self, record: int) -> tuple[list[float], list[float]]:
        """Train a record; return the loss of each batch and its weight. Ends early if `halt` is called."""
        plan, span = self._plan, self._plan.span(record)
        plan.enter(record)
        plan.begin_pass()
        losses: list[float] = []
        weights: list[float] = []
        while len(losses) < len(span) and not self._stop[0] and (not losses or math.isfinite(losses[-1])):
            epoch, first = divmod(span[len(losses)], plan.batches)
            plan.epoch = epoch
            plan.data.enter(epoch, first)
            plan.narrow(True)  # an average may have been evaluated after the last epoch
            if plan.optimizer.steps == 0:
                plan.optimizer.start()
            stop = min(plan.batches, first + len(span) - len(losses))
            own, shares = self._batches(epoch, first, stop)
            losses += own
            weights += shares
            if len(own) == stop - first and math.isfinite(losses[-1]) and plan.ends_epoch(stop - 1):
                plan.end_epoch()
        return losses, weights

    def run(self, record: int) -> Epoch:
        """Train a record, then run the evaluations that follow it."""
        plan, started = self._plan, time.perf_counter()
        with np.errstate(all="ignore"):
            losses, weights = self.train(record)
            figures = plan.own_figures()
            seconds = time.perf_counter() - started
            measured = {}
            if all(map(math.isfinite, losses)) and not self._stop[0]:
                with plan.shown():
                    for samples in ("validation", "test"):
                        if len(self._orders[samples]):
                            measured[samples] = self._measure(samples)
        return Epoch(losses, weights, figures, measured, seconds)

    def clear(self) -> None:
        """Undo `halt`."""
        self._stop[0] = 0

    def halt(self) -> None:
        """End the current epoch after the current batch."""
        self._stop[0] = 1

    def _batches(self, epoch: int, first: int, stop: int) -> tuple[list[float], list[float]]:
        """Train batches of an epoch, up to one whose loss is not finite; return their losses and weights."""
        plan, losses = self._plan, self._losses
        weights = [0.0] * stop
        number = self._together(epoch, weights, first, stop)
        while number < stop and not self._stop[0] and (number == first or math.isfinite(losses[number - 1])):
            rows, program = self._rows(number), self._programs[self._rows(number), "train"]
            self._number[0], self._first[0] = number, number * plan.layout.batch
            losses[number] = self._replayed(program)
            weights[number] = self._weight(program, rows)
            losses[number] += self._moved(epoch, number, weights[number])
            number += 1
        return losses[first:number].tolist(), weights[first:number]

    def _together(self, epoch: int, weights: list[float], first: int, stop: int) -> int:
        """Train as many batches as possible in one call; return the first that remains."""
        run, program = self._run, self._programs[self._rows(0), "train"]
        # The gradients of the last batch of a record are looked at before its update.
        full = min(self._full, stop if stop == self._plan.batches else stop - 1)
        if run is None or program.weight is None or full <= first:
            return first
        optimizer = self._plan.optimizer
        steps, scalars = optimizer.steps, optimizer.scalars()
        self._fill_factors(epoch, range(first, full))
        moved = run.run(first, full)
        if moved < full:
            # The last of all, or one whose loss is not finite: its gradients are computed, its update is not.
            optimizer.steps = steps
            optimizer.keep_scalars(scalars)
            self._fill_factors(epoch, range(first, moved))
            self._losses[moved] += self._moved(epoch, moved, program.weight)
            moved += 1
        weights[first:moved] = [program.weight] * (moved - first)
        return moved

    def _moved(self, epoch: int, number: int, weight: float) -> float:
        """Update the weights with the gradients of a batch of this weight; return the penalties."""
        plan, loss = self._plan, float(self._losses[number])
        if self._move is None:
            return plan.move(number, loss, weight)
        plan.look(number, loss)
        self._fill_factors(epoch, range(number, number + 1))
        self._number[0] = number
        self._move.run()
        return 0.0

    def _fill_factors(self, epoch: int, numbers: range) -> None:
        """Compute the factors of consecutive batches, from the optimizer's next step on."""
        optimizer, count, epochs = self._plan.optimizer, self._plan.batches, self._plan.length.epochs
        for number in numbers:
            optimizer.at(epoch + number / count, epochs, count)
            optimizer.advance()
            for group, table in self._factors:
                table[number] = optimizer.factors(group)

    def _measure(self, samples: str) -> tuple[float, tuple[float, ...]]:
        """Return the mean loss and each metric over the held-out samples or the test samples."""
        plan, order, mean = self._plan, self._orders[samples], Mean()
        plan.narrow(False)
        plan.begin_pass()
        plan.full_network.eval()
        number, batch = 0, plan.layout.batch
        run = self._evaluations.get(samples)
        if run is not None:
            losses, weight = self._measured[samples], self._weight(self._programs[batch, samples], batch)
            number = min(run.run(0, len(losses)) + 1, len(losses))  # one more if a loss is not finite
            for loss in losses[:number].tolist():
                mean.add(loss, weight)
        for start in range(number * batch, len(order), batch):
            rows = min(batch, len(order) - start)
            if self._stop[0]:
                break
            program = self._programs[rows, samples]
            self._first[0] = start
            mean.add(self._replayed(program), self._weight(program, rows))
        plan.full_network.train()
        return mean.value, plan.own_figures()

    def _weight(self, program: _Program, rows: int) -> float:
        return self._plan.loss.weight(rows) if program.weight is None else program.weight

    def _rows(self, number: int) -> int:
        batch = self._plan.layout.batch
        return min(batch, len(self._plan.data.order) - number * batch)


def _memory(replay: Replay) -> Iterator[NDArray[Any]]:
    """Yield all arrays of a plan that tapes may point to, in the same order for all plans with the same computation."""
    plan, source = replay._plan, replay._plan.data
    own = ("optimizer.", "step.", "penalty", "constraint")  # not used by any batch before the update of the weights
    yield from (array for name, array in sorted(plan.buffers.items()) if not name.startswith(own))
    yield replay._loop.pool
    yield from (replay._number, replay._first, replay._stop)
    yield from source.rows()
    for order in ("validation", "test"):
        yield replay._orders[order]
    yield from (each.cell for each in _tallies(plan))


def _tallies(plan: Plan) -> Iterator[Tally]:
    """Yield the counts of the loss's parts and the metrics, in the same order for all plans with the same
    computation.
    """
    parts = (each for each in plan.loss.made_of if isinstance(each, Loss))
    inner = (metric.metric for metric in plan.metrics if isinstance(metric, MetricOfOutput))
    for owner in (plan.loss, *parts, *plan.metrics, *inner):
        yield from (each for _, each in sorted(vars(owner).items()) if isinstance(each, Tally))


def noise_differs(one: Plan, other: Plan) -> bool:
    """Whether two plans draw from generators of different kinds, or from different numbers of them."""
    kinds = [[type(rng.bit_generator) for rng in plan.noise] for plan in (one, other)]
    return kinds[0] != kinds[1]


def unmoved(plan: Plan) -> dict[str, str]:
    """Return the optimizer's name and why it updates the weights by Python calls; empty if it does not."""
    optimizer, name = plan.optimizer, type(plan.optimizer).__name__
    if optimizer.loop() is None:
        return {name: "it has no loop over numbers"}
    if plan.accumulator is not None:
        return {name: "the gradients of several batches are averaged in Python"}
    if plan.average is not None and plan.average.every_step:
        return {name: "weights are averaged after every step in Python"}
    if plan.adjusts:
        return {name: "gradients or weights are penalised, clipped or constrained in Python"}
    try:
        move_kernels(plan.optimizer)
    except KeyError:  # a rule from another module, or with more state than a kernel takes
        return {name: "its loop is no part of nnspec's own"}
    return {}


def move_kernels(optimizer: Optimizer) -> list[str]:
    """Name the kernel that updates each group of weights. Raises KeyError for an optimizer without kernels."""
    rule = optimizer.loop()
    if rule is None:
        raise KeyError(type(optimizer).__name__)
    kind, states = f"f{optimizer.params[0].data.itemsize}", len(optimizer.state[0])
    return [rule_name(rule, states, _width(optimizer, group), kind) for group in optimizer.groups]


def _width(optimizer: Optimizer, group: Group) -> int:
    """Return the number of factors of a group in every step."""
    steps = optimizer.steps
    try:
        optimizer.steps = max(1, steps)  # some factors are not defined before the first step
        return len(optimizer.factors(group))
    finally:
        optimizer.steps = steps


class _Kept:
    """A copy of all memory of a plan that a batch reads or writes, to be restored. The optimizer's memory is not
    copied, since no weights are updated.
    """

    def __init__(self, loop: Loop, like: Replay | None = None) -> None:
        """Record what `loop` does, or take it over from `like`, the tapes of a plan that computes alike."""
        (self._plan,) = loop.plans
        self._plan.narrow(False)
        buffers = {name: array for name, array in self._plan.buffers.items() if not name.startswith("optimizer.")}
        self._arrays = buffers | {"pool": loop.pool}
        self._copies = {name: array.copy() for name, array in self._arrays.items()}
        self._noise = [(rng, rng.bit_generator.state) for rng in self._plan.noise]
        self._draws = self._plan.data.draws

    def restore(self) -> None:
        self._plan.narrow(False)
        for name, array in self._arrays.items():
            np.copyto(array, self._copies[name])
        for rng, state in self._noise:
            rng.bit_generator.state = state
        self._plan.data.draws = self._draws

    def spoil(self, more: Sequence[NDArray[Any]]) -> None:
        """Fill the arrays that every batch overwrites with garbage, and the weights with non-zero numbers, so that a
        missing call is noticed.
        """
        weights = self._arrays["parameters"]
        pattern = np.random.default_rng(0).normal(0, 0.2, min(_PATTERN, weights.size)).astype(weights.dtype)
        for start in range(0, weights.size, _PATTERN):
            weights[start : start + _PATTERN] = pattern[: weights.size - start]
        for name, array in self._arrays.items():
            if name.startswith("carried."):
                array.fill(0.5)
        brought = [self._arrays[name] for name in _BROUGHT if name in self._arrays]
        rooms = [array for name, array in self._arrays.items() if name == "pool" or name.startswith("buffer")]
        for array in (*brought, *rooms):
            array.reshape(-1).view(np.uint8)[...] = _RUBBISH
        for array in more:
            array.fill(_WRONG)

    def digests(self) -> dict[str, Any]:
        """Return a digest of the current contents of each array, except work arrays of single calls and of loading
        samples.
        """
        return {name: _digest(array) for name, array in self._arrays.items() if name not in ("pool", "stored")}


def _digest(array: NDArray[Any]) -> int:
    """Return a checksum of memory. A checksum is enough: differences arise by accident, not by forgery."""
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)


def _by_hand(owner: object) -> str:
    """Return why the calls of an object must remain Python calls, or an empty string."""
    if isinstance(owner, Metric) and not owner.tallies:
        return "it remembers batches in Python"
    if isinstance(owner, Places):
        return "it picks the positions that count in Python"
    if isinstance(owner, MixedLoss):
        return "the shares of mixed samples are drawn in Python"
    if isinstance(owner, Batches) and owner.varies:
        return "augmentations draw numbers in Python"
    if owner is not None and not _is_own(owner):
        return "it is no part of nnspec's own"
    return ""


def _is_own(owner: object) -> bool:
    """Whether an object is of a class of nnspec."""
    return type(owner).__module__.startswith("nnspec.")


def _refuse_together(acts: Sequence[_Act], refused: dict[int, str]) -> None:
    """Refuse a loss and the layers whose last results it reads if one of them is refused: recorded results are in
    other memory than those of Python calls.
    """
    for loss in (act.owner for act in acts if act.is_loss and isinstance(act.owner, Loss)):
        together = [loss, *loss.made_of]
        reasons = [why for each in together if (why := refused.get(id(each)) or _by_hand(each))]
        if reasons and len(together) > 1:
            refused |= {id(each): reasons[0] for each in together if id(each) not in refused}


def _owner(call: Callable[..., Any]) -> object:
    call = call.func if isinstance(call, partial) else call
    owner = getattr(call, "__self__", None)
    return owner if has_shadow(owner) else None


def _name(act: _Act) -> str:
    owner = act.owner.metric if isinstance(act.owner, Places) else act.owner
    return type(owner).__name__ if owner is not None else str(getattr(act.call, "__name__", act.call))


def _called(acts: Sequence[_Act]) -> float:
    """Make the NumPy calls of a batch; return its loss."""
    loss = math.nan
    for act in acts:
        result = act.rehearse()
        loss = result if act.is_loss else loss
    return loss


def _sizes(samples: int, batch: int) -> set[int]:
    """Return the sizes of the batches that samples come in."""
    return {min(batch, samples - start) for start in range(0, samples, batch)}
