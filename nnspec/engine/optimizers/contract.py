"""What every optimizer has: a rate that may be a schedule, state, arrays to work in, and weight decay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.compiled import compiled
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import Also, Part, Range
from nnspec.engine.schedules import Follower, Schedule

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Decay", "Loop", "Optimizer"]

Loop = Callable[..., None]
Decay = Annotated[float, Range(low=0), Also("wd", "l2", "weight_decay_rate")]


class Optimizer(Part):
    """Base of the optimizers: `step()` after each backward pass.

    Weight decay λ is part of the gradient, g ← g + λ·θ; where it is `decoupled`, it is a part of the step instead,
    θ ← (1 − lr·λ)·θ before all else. It applies to what `Parameter.decaying` names, the weights of layers, and not to
    biases and to scales and shifts of normalisations, which it would only hinder; `decay_all=True` takes all of them.
    (PyTorch's optimizers decay all that they are given, and leave it to the caller to make groups of parameters; so do
    Keras's, but for `exclude_from_weight_decay`.) The gradients themselves stay as they are.

    Every parameter may have any shape; its state has the same. Raises ValueError for no parameters, TypeError for
    what are no Parameters.
    """

    kind: ClassVar[str] = "optimizer"
    usual_rates: ClassVar[tuple[float, float]] = (1e-6, 10.0)
    """Rates outside of these are rarely meant."""
    decoupled: ClassVar[bool] = False
    """Whether weight decay shrinks the weights, rather than being a part of the gradient."""
    scratches: ClassVar[tuple[str, ...]] = ("scratch",)
    """The arrays of a parameter's shape that `update` works in, besides the state."""
    schedule: Schedule | None
    """What gives the rate, where it is not a plain number."""
    follower: Follower | None
    """The schedule in this training, with all that it remembers of it."""

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float | Schedule,
        slots: tuple[str, ...],
        *,
        weight_decay: float = 0.0,
        decay_all: bool = False,
    ) -> None:
        self.params = list(params)
        if not self.params:
            raise ValueError(f"{type(self).__name__}: there are no parameters to optimize")
        for parameter in self.params:
            if not isinstance(parameter, Parameter):
                raise TypeError(f"{type(self).__name__}: takes Parameters (model.parameters()), not {parameter!r}")
        self.lr = lr
        self.weight_decay = weight_decay
        self.decay_all = decay_all
        self.state = [{slot: np.zeros_like(p.data) for slot in slots} for p in self.params]
        largest = max(self.params, key=lambda p: p.size).data
        names = self.work_slots({"weight_decay": weight_decay})
        self.work = {name: np.empty(largest.size, largest.dtype) for name in names}
        self.steps = 0
        self._calls: dict[int, _Call] = {}
        self._compiled: Loop | None = None
        whole = (slice(None),)
        self._decaying = [whole if decay_all else parameter.decaying for parameter in self.params]
        self._exempt = [_gaps(parts, p.size) for parts, p in zip(self._decaying, self.params, strict=True)]

    @property
    def lr(self) -> float:
        """The rate of the next step: a number, also where a schedule gives it. Set to either, it counts from there."""
        return self._rate

    @lr.setter
    def lr(self, rate: float | Schedule) -> None:
        if isinstance(rate, Schedule):
            self.schedule, self.follower, self._rate = rate, rate.follow(), rate.rate(0.0, 1)
        else:
            self.schedule, self.follower, self._rate = None, None, rate

    def at(self, epoch: float, epochs: int) -> None:
        """Say that training stands at `epoch`, a real number from 0, of `epochs`: a schedule gives its rate for that.

        Without it, every step has the schedule's rate at the start, which with a warm-up is 0. (PyTorch's schedulers
        are objects beside the optimizer, whose own `step()` moves the rate on.) A rate that is a number stays as it is.
        """
        if self.follower is not None:
            self._rate = self.follower.rate(epoch, epochs)

    def tell(self, epochs: int, figures: Mapping[str, float]) -> None:
        """Say which figures there are after so many epochs: a schedule that goes by one takes note of it."""
        if self.follower is not None:
            self.follower.tell(epochs, figures)

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Name the state that is kept for each parameter, each of the parameter's size."""
        raise NotImplementedError

    @classmethod
    def work_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Name the arrays that are worked in, each of the largest parameter's size; they hold nothing between steps."""
        decays = bool(arguments.get("weight_decay", 0)) and not cls.decoupled
        return (*cls.scratches, "decayed") if decays else cls.scratches

    @classmethod
    def rests(cls, arguments: Mapping[str, Any]) -> bool:
        """Whether a number stays as it is while its gradient has always been zero. Weight decay would move it."""
        return not arguments.get("weight_decay", 0)

    def step(self) -> None:
        """Move every parameter once, along its `.grad`."""
        self.steps += 1
        for i, parameter in enumerate(self.params):
            call = self._calls.get(i)
            if call is None or call.theta is not parameter.data:
                call = self._calls[i] = self._call(i)
            grad = self._decayed(i, parameter, call.decayed) if self.weight_decay else parameter.grad
            if self._compiled is None:
                self.update(call.theta, grad, *call.arrays)
            else:
                factors = map(call.theta.dtype.type, self.factors())
                self._compiled(call.flat, grad.reshape(-1), *call.state, *factors)

    def _call(self, i: int) -> _Call:
        """Return the arrays with which a parameter is moved, made once."""
        theta = self.params[i].data
        work = {name: array[: theta.size].reshape(theta.shape) for name, array in self.work.items()}
        decayed, state = work.pop("decayed", None), [*self.state[i].values()]
        return _Call(
            theta, decayed, (*work.values(), *state), theta.reshape(-1), tuple(array.reshape(-1) for array in state)
        )

    def compile(self) -> None:
        """Move parameters by compiled code from now on, where `loop` knows how. Raises CompilerMissing."""
        loop = self.loop()
        self._compiled = compiled(loop) if loop is not None else None

    def loop(self) -> Loop | None:
        """Return `update` as a loop over numbers, `loop(theta, grad, *state, *factors)`, where there is one."""
        return None

    def factors(self) -> tuple[float, ...]:
        """Return the numbers that `loop` takes at this step."""
        return ()

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """Move one parameter in place. `scratch` is an array of its shape to work in; others come before the state."""
        raise NotImplementedError

    def _decayed(self, i: int, parameter: Parameter, out: NDArray[Any] | None) -> NDArray[Any]:
        """Return the gradient with weight decay in it, in `out`; or shrink the weights, and return it as it is."""
        if out is None:
            theta = parameter.data.reshape(-1)
            for part in self._decaying[i]:
                np.multiply(theta[part], 1 - self.lr * self.weight_decay, out=theta[part])
            return parameter.grad
        np.multiply(parameter.data, self.weight_decay, out=out)
        for gap in self._exempt[i]:
            out.reshape(-1)[gap] = 0
        return np.add(out, parameter.grad, out=out)

    def zero_grad(self) -> None:
        """Set every gradient to zero. Backward overwrites gradients, so a training loop does not need it."""
        for parameter in self.params:
            parameter.grad.fill(0)

    def keep_in(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep the state of the only parameter, and the work arrays, in arrays of its shape that the caller owns."""
        (state,) = self.state
        for slot, values in state.items():
            arrays[slot][...] = values
            state[slot] = arrays[slot]
        self.work = {name: arrays[name] for name in self.work}
        self._calls.clear()


@dataclass(frozen=True)
class _Call:
    """The arrays with which a parameter is moved: as `update` takes them, and flat, as loops do."""

    theta: NDArray[Any]
    decayed: NDArray[Any] | None
    arrays: tuple[NDArray[Any], ...]
    flat: NDArray[Any]
    state: tuple[NDArray[Any], ...]


def _gaps(parts: Iterable[slice], size: int) -> tuple[slice, ...]:
    """Return what ranges of a vector of `size` leave out, as ranges."""
    found, end = [], 0
    for start, stop, _ in sorted(part.indices(size) for part in parts):
        if start > end:
            found.append(slice(end, start))
        end = max(end, stop)
    return (*found, slice(end, size)) if end < size else tuple(found)
