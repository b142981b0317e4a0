"""What every optimizer must do whose steps evaluate the loss at several points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from nnspec.engine.optimizers import Optimizer
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import Part
from nnspec.testing.arguments import differ, other_values
from nnspec.testing.check import case, require, rule
from nnspec.testing.memory import growth
from nnspec.testing.samples import PartSample

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPES = [(4, 3), (3,), (3, 2)]
SIZE = sum(int(np.prod(shape)) for shape in SHAPES)


def evaluates(cls: type[Part]) -> bool:
    """Whether steps take a closure."""
    return cls.as_kind(Optimizer).evaluates


def _parameters(dtype: str = "float64") -> list[Parameter]:
    rng = np.random.default_rng(1)
    return [Parameter(rng.standard_normal(shape), dtype, decays=len(shape) > 1) for shape in SHAPES]


def _vector() -> Parameter:
    """Return all of them as one vector that knows its tensors, as a plan trains."""
    params, segments, end = _parameters(), [], 0
    for parameter in params:
        segments.append(replace(parameter.segments[0], start=end))
        end += parameter.size
    return Parameter.over(_numbers(params), np.zeros(end), segments)


def _numbers(params: Sequence[Parameter]) -> NDArray[Any]:
    return np.concatenate([parameter.data.ravel() for parameter in params])


def _parts(params: Sequence[Parameter]) -> Iterator[tuple[Parameter, slice]]:
    start = 0
    for parameter in params:
        yield parameter, slice(start, start + parameter.size)
        start += parameter.size


class Valley:
    """f(θ) = Σ cosh(k·(θ − m)) / k − 1/k: smooth, convex, with a different curvature k in every direction."""

    def __init__(self, params: Sequence[Parameter], seed: int = 0, sign: float = 1.0) -> None:
        rng = np.random.default_rng(seed)
        self._params, self._sign = params, sign
        self.lowest, self._steep = rng.standard_normal(SIZE), rng.uniform(0.3, 2, SIZE)
        self.evaluations = 0

    def __call__(self) -> float:
        """Return the value, and write the gradients."""
        self.evaluations += 1
        value = 0.0
        for parameter, part in _parts(self._params):
            k = self._steep[part]
            away = k * (parameter.data.ravel() - self.lowest[part])
            value += float(((np.cosh(away) - 1) / k).sum())
            parameter.grad = (self._sign * np.sinh(away)).reshape(parameter.shape)
        return value


@rule("optimizer", applies=evaluates)
def minimises(sample: PartSample) -> None:
    """Steps lead to the minimum of a smooth convex function, and say when they are there."""
    params = _parameters()
    optimizer = sample.cls.as_kind(Optimizer)(params, **sample.arguments | {"weight_decay": 0.0})
    valley = Valley(params)
    values = [optimizer.step(valley) or 0.0 for _ in range(100)]
    require(values[-1] < 1e-8 < values[0], f"the function falls from {values[0]:g} to {values[-1]:g} in 100 steps")
    assert_allclose(_numbers(params), valley.lowest, atol=1e-4)
    require(optimizer.converged, "`converged` is empty at the minimum")


@rule("optimizer", applies=evaluates)
def spoilt_gradients(sample: PartSample) -> None:
    """A gradient with the wrong sign is not taken for a minimum."""
    params = _parameters()
    optimizer, valley = sample.make(params), Valley(params, sign=-1.0)
    with np.errstate(all="ignore"):
        values = [optimizer.step(valley) for _ in range(5)]
    require(not min(values) < 1e-8, "the function falls along a gradient with the wrong sign")


@rule("optimizer", applies=evaluates)
def tensors_in_a_vector(sample: PartSample) -> None:
    """All parameters in one vector, as in a compiled plan, move as separate ones; frozen ones do not."""
    for decay in (0.0, 0.1):
        for frozen in (False, True):
            with case(weight_decay=decay, frozen=frozen):
                many, vector = _parameters(), _vector()
                before = _numbers(many)
                if frozen:
                    many[2].configure(frozen=True)
                    *others, last = vector.segments
                    vector.segments = (*others, replace(last, frozen=True))
                for params in (many, [vector]):
                    optimizer = sample.cls.as_kind(Optimizer)(params, **sample.arguments | {"weight_decay": decay})
                    valley = Valley(params)
                    for _ in range(3):
                        optimizer.step(valley)
                assert_allclose(vector.data, _numbers(many), rtol=1e-7, atol=1e-9)
                stays = np.array_equal(_numbers(many)[-many[2].size :], before[-many[2].size :])
                require(stays is frozen, "frozen numbers move" if frozen else "some numbers do not move")


@rule("optimizer", applies=evaluates)
def rates_are_shared(sample: PartSample) -> None:
    """A parameter with a rate of its own is a ValueError, unless it moves at that rate."""
    params = _parameters()
    params[0].configure(rate=0.5)
    try:
        sample.make(params).step(Valley(params))
    except ValueError as error:
        require("rate" in str(error), f"ValueError says {error}")
    else:
        require(False, "a rate of its own is ignored")


@rule("optimizer", applies=evaluates)
def resumes(sample: PartSample) -> None:
    """`state_slots`, `scalars` and the number of steps are all it takes to resume: the steps are the same bits."""
    params = _parameters()
    optimizer, valley = sample.make(params), Valley(params)
    for _ in range(2):
        optimizer.step(valley)
    again = _parameters()
    for parameter, trained in zip(again, params, strict=True):
        parameter.data = trained.data
    resumed = sample.make(again)
    resumed.steps = optimizer.steps
    resumed.keep_scalars(optimizer.scalars())
    for ours, kept in zip(resumed.state, optimizer.state, strict=True):
        for slot, array in kept.items():
            ours[slot][...] = array
    for each, where in ((optimizer, valley), (resumed, Valley(again))):
        for _ in range(3):
            each.step(where)
    assert_array_equal(_numbers(again), _numbers(params), strict=True)


@rule("optimizer", applies=evaluates)
def allocates_nothing(sample: PartSample) -> None:
    """A step allocates no arrays: all are declared as `state_slots` and `scratches`."""
    parameter = Parameter(np.ones(200_000))
    optimizer = sample.make([parameter])

    def closure() -> float:
        np.copyto(parameter.grad, parameter.data)
        return 0.5 * float(np.vdot(parameter.data, parameter.data))

    optimizer.step(closure)
    parameter.data = np.full(200_000, 2.0)
    grown = growth(lambda: optimizer.step(closure))
    require(grown < 200_000, f"a step allocates {grown:,} bytes; declare work arrays in `scratches`")


@rule("optimizer", applies=evaluates)
def single_precision(sample: PartSample) -> None:
    """With float32 parameters the state is float32, and the steps agree with float64."""
    found = []
    for dtype in ("float32", "float64"):
        params = _parameters(dtype)
        optimizer, valley = sample.make(params), Valley(params)
        optimizer.step(valley)
        found.append(_numbers(params))
        types = {array.dtype for state in optimizer.state for array in state.values()}
        require(types == {np.dtype(dtype)}, f"the state is {types}")
    require(found[0].dtype == np.float32, "parameters are not float32 after a step")
    assert_allclose(found[0], found[1], rtol=0.01, atol=0.01)


@rule("optimizer", applies=evaluates)
def state_and_evaluations(sample: PartSample) -> None:
    """State is what the class declares, and starts at zero."""
    cls, settings = sample.cls.as_kind(Optimizer), {a.name: a.default for a in sample.cls.signature()}
    optimizer = sample.make(_parameters())
    for parameter, state in zip(optimizer.params, optimizer.state, strict=True):
        require(tuple(state) == cls.state_slots(settings | sample.arguments), f"the state is {[*state]}")
        for name, array in state.items():
            require(array.shape == parameter.shape and not array.any(), f"the state {name} does not start at zero")
    require(cls.evaluations(settings | sample.arguments) >= 1, "`evaluations` is less than 1")


@rule("optimizer", applies=evaluates)
def needs_a_closure(sample: PartSample) -> None:
    """A step without a closure is a TypeError that says so; with one, it returns the value before the step."""
    params = _parameters()
    optimizer, valley = sample.make(params), Valley(params)
    value = valley()
    require(optimizer.step(valley) == value, "a step does not return the value before it")
    try:
        optimizer.step()
    except TypeError as error:
        require("closure" in str(error), f"TypeError says {error}")
    else:
        require(False, "a step without a closure is not an error")


@rule("optimizer", whole=True, applies=evaluates)
def every_argument_counts(cls: type[Optimizer], samples: Sequence[PartSample]) -> None:
    """Every argument changes the steps."""

    def steps(**changes: Any) -> list[Any]:
        params = _parameters()
        optimizer, valley = cls(params, **changes), Valley(params)
        with np.errstate(all="ignore"):
            for _ in range(6):
                optimizer.step(valley)
        return [*_numbers(params)]

    few: dict[str, Any] = {"max_iter": 4} if "max_iter" in [a.name for a in cls.signature()] else {}
    bases = [samples[0].arguments | more for more in (few, few | {"weight_decay": 0.1}, few | {"lr": 0.1}, {})]
    for argument in cls.signature():
        changed = any(
            differ(steps(**base), steps(**base | {argument.name: value}))
            for base in bases
            for value in (*other_values(argument), *([None] if argument.problem(None) is None else []))
        )
        require(changed, f"no value of `{argument.name}` changes the steps of {cls.spec_name}")
