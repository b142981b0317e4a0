"""What every optimizer must do."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from nnspec.engine.optimizers import Optimizer
from nnspec.engine.parameter import Parameter, Segment
from nnspec.engine.part import Part
from nnspec.testing.arguments import differ, other_values
from nnspec.testing.check import case, require, rule, skip
from nnspec.testing.memory import growth
from nnspec.testing.samples import PartSample

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPES = [(6, 5), (5,), (5, 3), (3,), (1, 1)]
SIZE = sum(int(np.prod(shape)) for shape in SHAPES)


def _parameters(dtype: str = "float64", *, biases: bool = False) -> list[Parameter]:
    """Return random parameters; with `biases`, those of one axis do not decay."""
    rng = np.random.default_rng(1)
    return [Parameter(rng.standard_normal(s), dtype, decays=not biases or len(s) > 1) for s in SHAPES]


def _gradients(steps: int) -> NDArray[Any]:
    return np.random.default_rng(2).standard_normal((steps, SIZE))


def _spread(values: NDArray[Any], params: Sequence[Parameter]) -> None:
    """Write one long row of gradients into the parameters, in order."""
    start = 0
    for parameter in params:
        parameter.grad = values[start : start + parameter.size].reshape(parameter.shape)
        start += parameter.size


def _numbers(params: Sequence[Parameter]) -> NDArray[Any]:
    return np.concatenate([parameter.data.ravel() for parameter in params])


def _vector_of(params: Sequence[Parameter]) -> Parameter:
    """Return all of them as one vector that knows its tensors, as a plan trains."""
    segments, end = [], 0
    for parameter in params:
        (own,) = parameter.segments
        segments.append(replace(own, start=end))
        end += parameter.size
    return Parameter.over(_numbers(params), np.zeros(end), segments)


def _settings(sample: PartSample) -> dict[str, Any]:
    return {argument.name: argument.default for argument in sample.cls.signature()} | sample.arguments


def _class(sample: PartSample) -> type[Optimizer]:
    return sample.cls.as_kind(Optimizer)


def _train(optimizer: Optimizer, rows: NDArray[Any]) -> None:
    for row in rows:
        _spread(row, optimizer.params)
        optimizer.step()


def steps_once(cls: type[Part]) -> bool:
    """Whether a step needs one gradient and no more; see `closures.py` for others."""
    return not cls.as_kind(Optimizer).evaluates


@rule("optimizer", applies=steps_once)
def one_vector(sample: PartSample) -> None:
    """All parameters in one vector, as in a compiled plan, move exactly as separate ones, with and without decay."""
    for decays in ({}, {"weight_decay": 0.05}, {"weight_decay": 0.05, "decay_all": True}):
        for settled in (False, True):
            with case(settings=decays, each_its_own=settled):
                many = _parameters(biases=True)
                if settled:
                    _configure(many)
                vector = _vector_of(many)
                several, single = (_class(sample)(p, **sample.arguments | decays) for p in (many, [vector]))
                for row in _gradients(8):
                    _spread(row, many)
                    vector.grad = row
                    several.step()
                    single.step()
                assert_array_equal(vector.data, _numbers(many), strict=True)


def _configure(params: Sequence[Parameter]) -> None:
    """Have some move at half the rate, one frozen, and one with a weight decay of its own."""
    params[1].configure(rate=0.5)
    params[2].configure(frozen=True)
    params[3].configure(weight_decay=0.2)
    params[4].configure(rate=0.5)


@rule("optimizer", applies=steps_once)
def each_tensor_alone(sample: PartSample) -> None:
    """Each tensor moves as it would alone, at its own rate and weight decay; frozen ones do not move."""
    make, decay = _class(sample), _settings(sample)["weight_decay"]
    every = bool(_settings(sample)["decay_all"])
    if "lr" in sample.arguments:
        skip("the rate is varied here")
    if make.couples_tensors:
        skip("its steps depend on the gradients of all tensors")
    given = {name: value for name, value in sample.arguments.items() if name not in ("weight_decay", "decay_all")}
    together, alone = _parameters(biases=True), _parameters(biases=True)
    _configure(together)
    optimizer = make(together, lr=0.01, weight_decay=decay, decay_all=every, **given)
    rates, own = (0.01, 0.01 * 0.5, 0, 0.01, 0.01 * 0.5), (decay, decay, 0, 0.2, decay)
    single = [
        make([p], lr=rates[i], weight_decay=own[i], decay_all=every or i == 3, **given) if rates[i] else None
        for i, p in enumerate(alone)
    ]
    for row in _gradients(8):
        _spread(row, together)
        _spread(row, alone)
        optimizer.step()
        for each in single:
            if each is not None:
                each.step()
    for ours, reference in zip(together, alone, strict=True):
        assert_array_equal(ours.data, reference.data, strict=True)


@rule("optimizer", applies=steps_once)
def writes_in_place(sample: PartSample) -> None:
    """A step writes into the arrays of the parameters, moves every number, and leaves the gradients alone."""
    params = _parameters()
    arrays, before, row = [(p.data, p.grad) for p in params], _numbers(params), _gradients(1)[0]
    _spread(row, params)
    optimizer = sample.make(params)
    optimizer.step()
    kept = all(p.data is data and p.grad is grad for p, (data, grad) in zip(params, arrays, strict=True))
    require(kept, "a parameter has other arrays after a step")
    require(not np.any(_numbers(params) == before), "some numbers do not move although they have gradients")
    optimizer.step()
    assert_array_equal(np.concatenate([p.grad.ravel() for p in params]), row, err_msg="gradients")


@rule("optimizer", applies=steps_once)
def memory(sample: PartSample) -> None:
    """A step allocates nothing: all arrays are declared as `state_slots` and `scratches`."""
    optimizer = sample.make([Parameter(np.ones(20_000)), Parameter(np.ones(10_000))])
    optimizer.step()
    grown = growth(optimizer.step)
    require(grown < 10_000, f"a step allocates {grown:,} bytes; declare work arrays in `scratches`")


@rule("optimizer", applies=steps_once)
def descends(sample: PartSample) -> None:
    """The first step goes against the gradient: each number, or each tensor if the optimizer takes whole tensors."""
    params, row = _parameters(), _gradients(1)[0]
    before = [p.data.copy() for p in params]
    _spread(row, params)
    sample.make(params).step()
    for parameter, start in zip(params, before, strict=True):
        step = parameter.data - start
        if _class(sample).whole_tensors:
            require(np.vdot(step, parameter.grad) < 0, "a step does not go downhill")
        else:
            assert_array_equal(np.sign(step), -np.sign(parameter.grad), err_msg="signs of step and gradient")


@rule("optimizer", whole=True, applies=steps_once)
def spoilt_steps(cls: type[Optimizer], samples: Sequence[PartSample]) -> None:
    """The update is spoilt on purpose, by its sign and by forgetting its state, and the checks notice."""
    sample = samples[0]
    right = cls.update

    def uphill(self: Any, theta: Any, grad: Any, *more: Any) -> None:
        right(self, theta, -grad, *more)

    def forgetful(self: Any, theta: Any, grad: Any, *more: Any) -> None:
        count = len(self.state[0])
        for state in more[len(more) - count :]:
            state.fill(0)
        right(self, theta, grad, *more)

    def private(self: Any, theta: Any, grad: Any, *more: Any) -> None:
        seen = self.__dict__.setdefault("_seen", {})
        key = theta.shape
        seen[key] = 0.5 * seen.get(key, 0) + grad
        right(self, theta, seen[key], *more)

    with patch.object(cls, "update", uphill):
        require(_fails(descends, sample), "an update with the wrong sign is not noticed")
    with patch.object(cls, "update", private):
        require(_fails(checkpoint, sample), "state that is kept outside of `state_slots` is not noticed")
    if any(array.size for state in sample.make(_parameters()).state for array in state.values()):
        params, wrong = _parameters(), _parameters()
        _train(sample.make(params), _gradients(8))
        with patch.object(cls, "update", forgetful):
            _train(sample.make(wrong), _gradients(8))
        require(not np.array_equal(_numbers(params), _numbers(wrong)), "the declared state has no effect on the steps")


def _fails(test: Callable[[PartSample], None], sample: PartSample) -> bool:
    try:
        test(sample)
    except AssertionError:
        return True
    return False


@rule("optimizer", applies=steps_once)
def checkpoint(sample: PartSample) -> None:
    """The state in `state_slots`, the number of steps and `scalars` are all it takes to resume: the steps are the same
    bits.
    """
    params = _parameters()
    optimizer = sample.make(params)
    _train(optimizer, _gradients(8)[:4])
    again = _parameters()
    for parameter, trained in zip(again, params, strict=True):
        parameter.data = trained.data
    resumed = sample.make(again)
    resumed.steps = optimizer.steps
    resumed.keep_scalars(json.loads(json.dumps(optimizer.scalars())))
    for ours, kept in zip(resumed.state, optimizer.state, strict=True):
        for slot, array in kept.items():
            ours[slot][...] = array
    for each in (optimizer, resumed):
        _train(each, _gradients(8)[4:])
    assert_array_equal(_numbers(again), _numbers(params), strict=True)


@rule("optimizer", applies=steps_once)
def rests(sample: PartSample) -> None:
    """Numbers whose gradients have always been zero do not move, unless weights decay; `rests` says so."""
    params = _parameters()
    before, optimizer = _numbers(params), sample.make(params)
    for _ in range(3):
        optimizer.step()
    moved, decay = _numbers(params) != before, _settings(sample)["weight_decay"]
    if decay:
        require(moved.all(), "weights do not decay")
    else:
        require(not moved.any(), "numbers move without gradients and without weight decay")
    declared = _class(sample).rests(_settings(sample))
    require(declared is bool(not moved.any() and not _class(sample).whole_tensors), f"`rests` returns {declared}")


@rule("optimizer")
def zero_grad(sample: PartSample) -> None:
    """`zero_grad` sets every gradient to zero."""
    params = _parameters()
    _spread(_gradients(1)[0], params)
    sample.make(params).zero_grad()
    require(all(not parameter.grad.any() for parameter in params), "a gradient is not zero")


@rule("optimizer", applies=steps_once)
def assigned_weights(sample: PartSample) -> None:
    """Weights that are assigned between steps are where the next step starts."""
    if _class(sample).whole_tensors or _class(sample).starts_at_weights:
        skip("its steps depend on where they start")
    arguments = sample.arguments | {"weight_decay": 0.0}  # with it, a step depends on where it starts
    params, row = _parameters(), _gradients(1)[0]
    optimizer = _class(sample)(params, **arguments)
    _spread(row, params)
    optimizer.step()
    moved = _numbers(params)
    optimizer.step()
    second = _numbers(params) - moved
    params = _parameters()
    optimizer = _class(sample)(params, **arguments)
    _spread(row, params)
    optimizer.step()
    for parameter in params:
        parameter.data = np.zeros(parameter.shape)
    optimizer.step()
    assert_allclose(_numbers(params), second, rtol=1e-9, atol=1e-15)


@rule("optimizer", applies=steps_once)
def float32(sample: PartSample) -> None:
    """With float32 parameters the state is float32, and the steps agree with float64."""
    single, double = _parameters("float32"), _parameters()
    optimizers = sample.make(single), sample.make(double)
    for optimizer in optimizers:
        _train(optimizer, _gradients(5))
    types = {array.dtype for state in optimizers[0].state for array in state.values()}
    require(types <= {np.dtype("float32")}, f"the state is {types}")
    require(_numbers(single).dtype == np.float32, "parameters are not float32 after a step")
    assert_allclose(_numbers(single), _numbers(double), rtol=1e-4, atol=1e-5)


@rule("optimizer", applies=steps_once)
def declared_state(sample: PartSample) -> None:
    """State and work arrays are those that the class declares; the state starts at zero, or at the weights."""
    params, cls, settings = _parameters(), _class(sample), _settings(sample)
    optimizer = sample.make(params)
    for parameter, state in zip(params, optimizer.state, strict=True):
        further = cls.state_of_tensors(settings, parameter.segments)
        require(tuple(state) == (*cls.state_slots(settings), *further), f"the state is {[*state]}")
        for name, array in state.items():
            shape = (further[name],) if name in further else parameter.shape
            start, where = (parameter.data, "the weights") if name in cls.starts_at_weights else (0, "zero")
            right = array.shape == shape and bool((array == start).all())
            require(right, f"the state {name} does not start at {where}")
    slots = cls.work_slots(decays=bool(settings["weight_decay"]))
    shared = {*slots} & {*cls.state_slots(settings), *cls.state_of_tensors(settings, ())}
    require(not shared, f"{', '.join(shared)}: a name of a state and of a work array, which must be different arrays")
    require(tuple(optimizer.work) == slots, f"the work arrays are {[*optimizer.work]}; {slots} are declared")
    sizes = {array.size for array in optimizer.work.values()}
    require(sizes <= {max(parameter.size for parameter in params)}, f"the work arrays have {sizes} numbers")


@rule("optimizer")
def parameters_are_checked(sample: PartSample) -> None:
    """Parameters may come from a generator; none, or something else, is an error."""
    params = _parameters()
    require(sample.make(parameter for parameter in params).params == params, "a generator is not accepted")
    for wrong, kind, said in (([], ValueError, "no parameters"), ([np.zeros(3)], TypeError, "model.parameters()")):
        try:
            sample.make(wrong)
        except kind as error:
            require(said in str(error), f"{kind.__name__} says {error}")
        else:
            require(False, f"{wrong} is accepted as parameters")


@rule("optimizer", whole=True)
def rates_are_checked(cls: type[Optimizer], samples: Sequence[PartSample]) -> None:
    """A rate that is not a positive number is a ValueError that names it; so is a negative weight decay."""
    for name, value in [*(("lr", v) for v in (0, -0.1, np.nan, np.inf, "fast", None, True)), ("weight_decay", -0.1)]:
        with case(**{name: value}):
            try:
                cls(_parameters(), **samples[0].arguments | {name: value})
            except ValueError as error:
                require(f"{cls.__name__}: `{name}`" in str(error), f"ValueError says {error}")
            else:
                require(False, "ValueError is not raised")


@rule("optimizer", whole=True, applies=steps_once)
def weight_decay(cls: type[Optimizer], samples: Sequence[PartSample]) -> None:
    """Weights decay and biases do not, unless `decay_all` says so."""
    given = {name: value for name, value in samples[0].arguments.items() if name not in ("weight_decay", "decay_all")}
    runs = []
    for decay, every in ((0.0, False), (0.1, False), (0.1, True)):
        runs.append(_parameters(biases=True))
        _train(cls(runs[-1], **given | {"lr": 0.01, "weight_decay": decay, "decay_all": every}), _gradients(5))
    for free, partly, wholly in zip(*runs, strict=True):
        require(np.array_equal(free.data, partly.data) is not partly.decays, "weights and biases are not told apart")
        require(np.array_equal(partly.data, wholly.data) is partly.decays, "`decay_all` has no effect on biases")


@rule("optimizer")
def loop(sample: PartSample) -> None:
    """The `kernel`, a loop over numbers for compiled steps, gives the bits of `update`; also in machine code."""
    if sample.make([Parameter(np.zeros(1))]).loop() is None:
        skip("it has no `kernel`; in compiled runs its steps are NumPy calls")
    for dtype in ("float32", "float64"):
        for how in ("python", "compiled") if _numba() else ("python",):
            with case(dtype=dtype, how=how):
                require(_looped(sample, dtype, how) == _looped(sample, dtype, "arrays"), "other bits than `update`")


@cache
def _numba() -> bool:
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


@cache
def _in_machine_code(loop: Any) -> Any:
    """Compile a loop, which optimizers with other arguments may share, once for each type of numbers."""
    import numba

    return numba.njit(loop, error_model="numpy")


def _looped(sample: PartSample, dtype: str, how: str) -> list[bytes]:
    """Take some steps by arrays, by the loop in plain Python, or by the loop compiled, and return all bits.

    One parameter is a plain matrix; one does not decay; one is a vector of tensors with rates and decays of their own.
    """
    rng = np.random.default_rng(3)
    rates = [(1.0, None, False), (0.5, None, False), (0.5, 0.03, False), (1.0, None, True), (0.5, 0.0, False)]
    segments = [
        Segment((2, 2), 4 * i, rate=rate, weight_decay=decay, frozen=frozen)
        for i, (rate, decay, frozen) in enumerate(rates)
    ]
    params = [
        Parameter(rng.normal(size=(7, 5)), dtype),
        Parameter(rng.normal(size=11), dtype, decays=False),
        Parameter.over(rng.normal(size=20).astype(dtype), np.zeros(20, dtype), segments),
    ]
    optimizer = _class(sample)(params, **{"lr": 0.05} | sample.arguments)
    loop: Any = optimizer.loop() if how != "arrays" else None
    if how == "compiled":
        loop = _in_machine_code(loop)
    for _ in range(5):
        for parameter in params:
            parameter.grad = rng.normal(size=parameter.shape) * 10.0 ** rng.integers(-4, 3, parameter.shape)
            parameter.grad[..., 0] = 0
        if loop is None:
            optimizer.step()
            continue
        optimizer.advance()
        for group in optimizer.groups:
            loop(*optimizer.arrays(group), *map(np.dtype(dtype).type, optimizer.factors(group)))
    arrays = [*(p.data for p in params), *(array for own in optimizer.state for array in own.values())]
    return [array.tobytes() for array in arrays]


@rule("optimizer", whole=True, applies=steps_once)
def arguments_have_effects(cls: type[Optimizer], samples: Sequence[PartSample]) -> None:
    """Every argument changes the steps, at a rate that is doubled on the way."""

    def steps(**changes: Any) -> list[Any]:
        rng = np.random.default_rng(0)
        weight = Parameter(rng.standard_normal((2, 3)), "float64")
        bias = Parameter(rng.standard_normal(3), "float64", decays=False)
        optimizer = cls([weight, bias], **changes)
        for step in range(12):
            if step == 5:
                optimizer.lr = 2 * optimizer.lr
            for parameter in (weight, bias):
                parameter.grad[...] = rng.standard_normal(parameter.shape) + 1  # mostly in one direction
            optimizer.step()
        return [*weight.data.reshape(-1), *bias.data]

    bases = [sample.arguments | more for sample in samples[:1] for more in ({}, {"weight_decay": 0.1})]
    for argument in cls.signature():
        changed = any(
            differ(steps(**base), steps(**base | {argument.name: value}))
            for base in bases
            for value in other_values(argument)
        )
        require(changed, f"no value of `{argument.name}` changes the steps of {cls.spec_name}")
