"""The interface of optimizers: a rate that may be a schedule, state, work arrays, and weight decay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, InitVar, dataclass, replace
from itertools import groupby
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, overload

from nnspec.engine._numpy import np
from nnspec.engine.parameter import Parameter, Segment
from nnspec.engine.part import Also, ArgumentDescriptor, Part, Range, Rate, argument, kept
from nnspec.engine.schedules import Follower, Schedule

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Closure", "Group", "LearningRate", "Loop", "Optimizer"]

Loop = Callable[..., None]
Closure = Callable[[], float]
"""Computes the loss of a batch and, on the way, the gradients of all parameters."""
Decay = Annotated[float, Range(low=0), Also("wd", "l2", "weight_decay_rate")]


@dataclass(frozen=True)
class Group:
    """Adjacent numbers of one parameter that are updated alike: with the same rate and the same weight decay.

    PyTorch's parameter groups are lists of tensors; these are ranges, so that one call updates a whole group.
    """

    parameter: int
    """The index of the parameter among the optimizer's."""
    start: int
    stop: int
    shape: tuple[int, ...]
    """The shape of the tensor, for an optimizer of whole tensors, or of a parameter that is one group."""
    rate: float
    """A multiplier of the optimizer's rate."""
    weight_decay: float
    decays: bool
    """Whether its first tensor is a weight, as opposed to a bias, or the scale or shift of a normalisation."""
    looked_up: bool = False
    """Whether rows of its first tensor are looked up, as those of an embedding."""

    @property
    def part(self) -> slice:
        """Its range in the flattened parameter."""
        return slice(self.start, self.stop)


class LearningRate(ArgumentDescriptor):
    """The rate of an optimizer's next step: reading it returns a number, even if it is set by a schedule. Both can be
    assigned.

    In `update` and `numbers`, it is the rate of the group being updated.
    """

    argument_type = Rate | Schedule

    @overload
    def __get__(self, optimizer: None, cls: type) -> LearningRate: ...

    @overload
    def __get__(self, optimizer: Optimizer, cls: type) -> float: ...

    def __get__(self, optimizer: Optimizer | None, cls: type) -> LearningRate | float:
        if optimizer is None:
            return self
        moving = optimizer._moving
        return optimizer._rate if moving is None else optimizer._rate * moving.rate

    def __set__(self, optimizer: Optimizer, rate: float | Schedule) -> None:
        if isinstance(rate, Schedule):
            optimizer.schedule, optimizer.follower, optimizer._rate = rate, rate.follow(), rate.rate(0.0, 1)
        else:
            optimizer.schedule, optimizer.follower, optimizer._rate = None, None, rate


class Optimizer(Part):
    """Base of the optimizers: call `step()` after each backward pass.

    Weight decay λ is added to the gradient, g ← g + λ·θ; if it is `decoupled`, it is part of the step instead, θ ← (1 −
    lr·λ)·θ before everything else. It applies to the weights of layers, but not to biases or to scales and shifts of
    normalisations, which it would only hinder; `decay_all=True` applies it to all of them. (PyTorch's optimizers decay
    all their parameters, and leave parameter groups to the caller; so do Keras's, except for
    `exclude_from_weight_decay`.) The gradients themselves are not modified.

    A parameter may hold many tensors, its segments, some with their own rate or weight decay, or frozen. Adjacent
    tensors that are updated alike form one group, updated by one call; with `whole_tensors`, every tensor is a group.

    Parameters may have any shape; their state has the same. Raises ValueError if there are no parameters, TypeError for
    anything that is not a Parameter.
    """

    kind: ClassVar[str] = "optimizer"
    must_define = ("update",)
    always_shown = frozenset({"lr"})
    usual_rates: ClassVar[tuple[float, float]] = (1e-6, 10.0)
    """The usual range of rates; others are probably mistakes."""
    decoupled: ClassVar[bool] = False
    """Whether weight decay shrinks the weights directly, instead of being added to the gradient."""
    whole_tensors: ClassVar[bool] = False
    """Whether `update` needs each tensor separately and in its shape, because its numbers depend on each other. The
    optimizer then applies weight decay itself, as set in `self.moving`.
    """
    couples_tensors: ClassVar[bool] = False
    """Whether a step of one tensor depends on the gradients of all others."""
    evaluates: ClassVar[bool] = False
    """Whether `step` needs a closure, because it evaluates loss and gradients at several points."""
    starts_at_weights: ClassVar[tuple[str, ...]] = ()
    """The state that starts as a copy of the parameters; all other state starts from zero."""
    evaluated: ClassVar[str] = ""
    """The state that holds the weights to evaluate and keep, if these are not the parameters themselves."""
    scratches: ClassVar[tuple[str, ...]] = ("scratch",)
    """The work arrays of `update`, each of a parameter's shape, besides the state."""
    parameters: InitVar[Iterable[Parameter]] = argument(alias="params")
    lr: LearningRate = LearningRate()
    _: KW_ONLY
    weight_decay: Decay = 0.0
    decay_all: bool = False
    schedule: Schedule | None = kept()
    """The source of the rate, if it is not a plain number."""
    follower: Follower | None = kept()
    """The schedule as followed in this training, with its state."""
    _moving: Group | None = kept()
    converged = ""
    """Why the last step ended at a minimum, as far as it can tell; empty if it did not."""

    def arguments(self) -> dict[str, Any]:
        """Return its arguments by name; for `lr`, the schedule if there is one."""
        return super().arguments() | ({"lr": self.schedule} if self.schedule is not None else {})

    def __post_init__(self, parameters: Iterable[Parameter]) -> None:
        self.params = list(parameters)
        if not self.params:
            raise ValueError(f"{type(self).__name__}: got no parameters to optimize")
        for parameter in self.params:
            if not isinstance(parameter, Parameter):
                raise TypeError(f"{type(self).__name__}: takes Parameters (model.parameters()), not {parameter!r}")
        slots = self.state_slots(self.arguments())
        self.state = [{slot: np.zeros_like(p.data) for slot in slots} for p in self.params]
        for p, state in zip(self.params, self.state, strict=True):
            sizes = self.state_of_tensors(self.arguments(), p.segments)
            state |= {slot: np.zeros(size, p.data.dtype) for slot, size in sizes.items()}
        largest = max(self.params, key=lambda p: p.size).data
        own = any(segment.weight_decay for parameter in self.params for segment in parameter.segments)
        names = self.work_slots(decays=bool(self.weight_decay) or own)
        self.work = {name: np.empty(largest.size, largest.dtype) for name in names}
        self.steps = 0
        self.start()
        self._calls: dict[int, _Calls] = {}

    @property
    def moving(self) -> Group:
        """The group being updated, in `update` and `numbers`. Raises RuntimeError elsewhere."""
        if self._moving is None:
            raise RuntimeError(f"{type(self).__name__} is not moving anything now")
        return self._moving

    def at(self, epoch: float, epochs: float, steps: int = 1) -> None:
        """Set the progress of training: `epoch`, a real number from 0, of `epochs`, each of `steps` steps. A schedule
        computes its rate from it.

        Without this call, every step uses the schedule's initial rate, which with a warm-up is 0. (PyTorch's schedulers
        are separate objects, whose own `step()` advances the rate.) A rate that is a number is not changed.
        """
        if self.follower is not None:
            self._rate = self.follower.rate(epoch, epochs, steps)

    def tell(self, epochs: float, figures: Mapping[str, float], steps: int = 1) -> None:
        """Report the figures after `epochs` epochs of `steps` steps, for a schedule that depends on one of them."""
        if self.follower is not None:
            self.follower.tell(epochs, figures, steps)

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Name the state kept for each parameter, each of the parameter's size."""
        return ()

    @classmethod
    def state_of_tensor(cls, arguments: Mapping[str, Any], shape: tuple[int, ...]) -> Mapping[str, int]:
        """Name further state of a tensor, with its sizes, which depend on the shape in another way. It takes
        `whole_tensors`; the state of several tensors is one array, in their order.
        """
        return {}

    @classmethod
    def state_of_tensors(cls, arguments: Mapping[str, Any], tensors: Iterable[Segment]) -> dict[str, int]:
        """Return the sizes of `state_of_tensor` over several tensors; frozen ones have it too, as they may change."""
        sizes = dict.fromkeys(cls.state_of_tensor(arguments, (1,)), 0)
        for tensor in tensors:
            for slot, size in cls.state_of_tensor(arguments, tensor.shape).items():
                sizes[slot] += size
        return sizes

    @classmethod
    def work_slots(cls, *, decays: bool) -> tuple[str, ...]:
        """Name the work arrays, each of the largest parameter's size; their contents are not kept between steps.

        `decays` says whether any weight decays.
        """
        in_gradient = decays and not cls.decoupled and not cls.whole_tensors
        return (*cls.scratches, "decayed") if in_gradient else cls.scratches

    @classmethod
    def rests(cls, arguments: Mapping[str, Any]) -> bool:
        """Whether a number whose gradient has always been zero does not change, and does not affect others. Weight
        decay would change it.
        """
        return not arguments.get("weight_decay", 0) and not cls.whole_tensors

    # Groups

    @property
    def groups(self) -> tuple[Group, ...]:
        """All trained numbers, in as few groups as possible; frozen numbers are in none."""
        return tuple(group for i in range(len(self.params)) for group in self._groups(i))

    def _groups(self, i: int) -> Iterator[Group]:
        parameter = self.params[i]
        for (_, rate, decay, frozen), run in groupby(enumerate(parameter.segments), self._alike):
            segments = [segment for _, segment in run]
            if frozen:
                continue
            start, stop = segments[0].start, segments[-1].stop
            shape = segments[0].shape if len(segments) == 1 else (stop - start,)
            yield Group(i, start, stop, shape, rate, decay, segments[0].decays, segments[0].looked_up)

    def _alike(self, numbered: tuple[int, Segment]) -> tuple[int, float, float, bool]:
        """Return the key that the segments of a group have in common."""
        number, segment = numbered
        return number if self.whole_tensors else 0, segment.rate, self._decay_of(segment), segment.frozen

    def _decay_of(self, segment: Segment) -> float:
        if segment.weight_decay is not None:
            return segment.weight_decay
        return self.weight_decay if self.decay_all or segment.decays else 0.0

    # Steps

    def step(self, closure: Closure | None = None) -> float | None:
        """Update every parameter once, using its `.grad`. With a closure, call it first, and return its loss."""
        loss = closure() if closure is not None else None
        if self.steps == 0:
            self.start()
        self.advance()
        try:
            for move in self._moves():
                self._moving = move.group
                self.update(move.theta, self._decayed(move), *move.arrays)
        finally:
            self._moving = None
        return loss

    def start(self) -> None:
        """Copy the weights from which the first step starts into the state that starts at them."""
        for parameter, state in zip(self.params, self.state, strict=True):
            for slot in self.starts_at_weights:
                np.copyto(state[slot], parameter.data)

    def advance(self) -> None:
        """Count the next step, at the current rate; in `step`, its gradients have been computed."""
        self.steps += 1

    @classmethod
    def evaluations(cls, arguments: Mapping[str, Any]) -> int:
        """Return about how many gradients a step needs."""
        return 1

    def scalars(self) -> dict[str, Any]:
        """Return its state besides `state` and `steps`, as JSON values."""
        return {}

    def keep_scalars(self, values: Mapping[str, Any]) -> None:
        """Restore what `scalars` returned. Raises an error of `DAMAGE` for other values."""

    def loop(self) -> Loop | None:
        """Return `update` as a loop over numbers, `loop(theta, grad, *state, *factors)`, if there is one.

        A class with its own formula or `step` does not inherit the loop of another.
        """
        if type(self).step is not Optimizer.step:
            return None
        owner = next(cls for cls in type(self).__mro__ if "update" in vars(cls))
        return self.kernel() if "kernel" in vars(owner) else None

    def kernel(self) -> Loop | None:
        """Return the loop that corresponds to this class's `update`: the same operations on each number in the same
        order, including weight decay.
        """
        return None

    def arrays(self, group: Group) -> tuple[NDArray[Any], ...]:
        """Return the arrays that `loop` takes for a group: its numbers, their gradients and their state, flat."""
        parameter = self.params[group.parameter]
        found = (parameter.data, parameter.grad, *self.state[group.parameter].values())
        return tuple(array.reshape(-1)[group.part] for array in found)

    def factors(self, group: Group) -> tuple[float, ...]:
        """Return the numbers that `loop` takes for a group at this step, to be passed in the arrays' dtype.

        First come the factor of θ, 1 − lr·λ or 1, and the multiple of θ that is added to the gradient, λ or 0; then
        `numbers`.
        """
        before, self._moving = self._moving, group
        try:
            keep = 1 - self.lr * group.weight_decay if self.decoupled else 1.0
            return keep, 0.0 if self.decoupled else group.weight_decay, *self.numbers()
        finally:
            self._moving = before

    def numbers(self) -> tuple[float, ...]:
        """Return the constants of `update` at this step, with the rate `self.lr`, in the order of `loop`."""
        return ()

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """Update numbers in place, at the rate `self.lr`. `scratch` is a work array of their shape; further ones
        precede the state.

        With `whole_tensors` they are one tensor; otherwise any range of a parameter, or all of it.
        """
        raise NotImplementedError

    def _moves(self) -> Iterator[_Move]:
        """Yield the calls of a step, parameter by parameter."""
        for i, parameter in enumerate(self.params):
            calls = self._calls.get(i)
            if calls is None or not calls.hold(parameter):
                calls = self._calls[i] = self._prepared(i)
            yield from calls.moves

    def _prepared(self, i: int) -> _Calls:
        """Return the arrays for the update of a parameter, created once."""
        parameter, groups = self.params[i], tuple(self._groups(i))
        # One call of `update` handles everything with the same rate; weight decay, which may differ, is applied before
        # it.
        together = groupby(groups, lambda group: (group.rate, group.start if self.whole_tensors else 0))
        runs = [run for _, each in together for run in _without_gaps(tuple(each))]
        moves = tuple(self._move(i, run) for run in runs)
        return _Calls(parameter.data, parameter.grad, parameter.segments, moves)

    def _move(self, i: int, groups: tuple[Group, ...]) -> _Move:
        parameter, start, stop = self.params[i], groups[0].start, groups[-1].stop
        shape = groups[0].shape if len(groups) == 1 else (stop - start,)
        if stop - start == parameter.size and not self.whole_tensors:
            shape = parameter.shape
        largest = max(group.weight_decay for group in groups)
        names = self.work_slots(decays=bool(largest))
        for name in names:
            if name not in self.work:  # a parameter decays that did not when the optimizer was created
                self.work[name] = np.empty_like(self.work[names[0]])

        def cut(array: NDArray[Any]) -> NDArray[Any]:
            return array.reshape(-1)[start:stop].reshape(shape)

        work = {name: self.work[name][: prod(shape)].reshape(shape) for name in names}
        decayed = work.pop("decayed", None)
        arguments = self.arguments()
        before, own = (
            self.state_of_tensors(arguments, [s for s in parameter.segments if first <= s.start < end])
            for first, end in ((0, start), (start, stop))
        )
        state = (
            array[before[slot] : before[slot] + own[slot]] if slot in own else cut(array)
            for slot, array in self.state[i].items()
        )
        theta, grad = cut(parameter.data), cut(parameter.grad)
        move = _Move(theta, grad, (*work.values(), *state), groups[0], largest, decayed)
        if self.whole_tensors or not largest:
            return move
        flat, flat_grad, flat_decayed = (a.reshape(-1) for a in (theta, grad, theta if decayed is None else decayed))
        parts = [(slice(group.start - start, group.stop - start), group.weight_decay) for group in groups]
        pieces = [_Piece(flat[part], flat_grad[part], flat_decayed[part], decay) for part, decay in parts]
        if self.decoupled:
            return replace(move, shrinking=tuple(piece for piece in pieces if piece.weight_decay))
        return replace(
            move,
            others=tuple(piece for piece in pieces if piece.weight_decay not in (0, largest)),
            exempt=tuple(piece for piece in pieces if not piece.weight_decay),
        )

    def _decayed(self, move: _Move) -> NDArray[Any]:
        """Return the gradient including weight decay; or shrink the weights, and return the gradient unchanged."""
        for piece in move.shrinking:
            np.multiply(piece.theta, 1 - self.lr * piece.weight_decay, out=piece.theta)
        if move.decayed is None:
            return move.grad
        np.multiply(move.theta, move.weight_decay, out=move.decayed)
        for piece in move.others:
            np.multiply(piece.theta, piece.weight_decay, out=piece.decayed)
        np.add(move.decayed, move.grad, out=move.decayed)
        for piece in move.exempt:
            np.copyto(piece.decayed, piece.grad)
        return move.decayed

    def zero_grad(self) -> None:
        """Set every gradient to zero. Backward overwrites gradients, so a training loop does not need it."""
        for parameter in self.params:
            parameter.grad.fill(0)

    def keep_in(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Move the state of the only parameter, and the work arrays, to arrays of its shape that the caller owns."""
        (state,) = self.state
        for slot, values in state.items():
            arrays[slot][...] = values
            state[slot] = arrays[slot]
        self.work = {name: arrays[name] for name in self.work}
        self._calls.clear()


@dataclass(frozen=True)
class _Piece:
    """A group within a move, flat."""

    theta: NDArray[Any]
    grad: NDArray[Any]
    decayed: NDArray[Any]
    weight_decay: float


@dataclass(frozen=True)
class _Move:
    """The groups updated by one call of `update`: adjacent, with the same rate."""

    theta: NDArray[Any]
    grad: NDArray[Any]
    arrays: tuple[NDArray[Any], ...]
    """The work arrays, followed by the state."""
    group: Group
    """The first of them."""
    weight_decay: float
    """The largest of their weight decays."""
    decayed: NDArray[Any] | None
    """Receives the gradient including weight decay; None if there is none."""
    shrinking: tuple[_Piece, ...] = ()
    """Pieces that shrink before the step."""
    others: tuple[_Piece, ...] = ()
    """Pieces with a smaller weight decay in their gradient."""
    exempt: tuple[_Piece, ...] = ()
    """Pieces without weight decay."""


@dataclass(frozen=True)
class _Calls:
    """The calls that update a parameter, valid while it has these arrays and segments."""

    data: NDArray[Any]
    grad: NDArray[Any]
    segments: tuple[Segment, ...]
    moves: tuple[_Move, ...]

    def hold(self, parameter: Parameter) -> bool:
        """Whether the parameter still has them."""
        return self.data is parameter.data and self.grad is parameter.grad and self.segments is parameter.segments


def _without_gaps(groups: tuple[Group, ...]) -> Iterator[tuple[Group, ...]]:
    """Split groups at frozen numbers between them."""
    start = 0
    for i in range(1, len(groups) + 1):
        if i == len(groups) or groups[i].start != groups[i - 1].stop:
            yield groups[start:i]
            start = i
