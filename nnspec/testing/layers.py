"""What every layer must do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from nnspec import engine as nn
from nnspec.engine.layers.composition import Composition
from nnspec.engine.layers.contract import Layer, ShapeError
from nnspec.testing.arguments import differ, other_values
from nnspec.testing.check import BATCHES, case, require, rule, skip
from nnspec.testing.memory import growth
from nnspec.testing.mistakes import MISTAKES, clear_input, found_wrong
from nnspec.testing.operations import Counted, operations
from nnspec.testing.samples import Sample, poisoned, work_arrays
from nnspec.testing.tables import largest

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOUND = 1e-7
"""The largest relative error of a gradient that is not a mistake."""
KINDS = ("layer", "composition")
FLOPS_WITHIN = {
    **dict.fromkeys(("Dropout", "SpatialDropout"), 3.0),  # drawing the mask is not counted
    "GELU": 2.5,  # the tanh form has fewer operations, and both compute the slope as well
    **dict.fromkeys(("RNN", "GRU", "LSTM"), 1.7),  # the first step needs no product with the state
    "MaxPool": 2.0,  # the first position of a window is compared with nothing
    "BatchNorm": 1.6,  # work on one number per channel counts as work on every number
    **dict.fromkeys(("ConvTranspose1D", "ConvTranspose2D"), 1.6),  # the first product of a position is added to 0
    "GlobalAvgPool": 1.6,  # the division of a sum is not counted
}
"""The factor within which the declared FLOPs agree with the operations of a layer of nnspec, if not within a third."""


def _forward(layer: Layer, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Run forward with the same noise at every call."""
    nn.set_seed(7)
    return layer.forward(x, out=out)


def _passes(layer: Layer, sample: Sample, batch: int, dtype: Any = np.float64) -> dict[str, NDArray[Any]]:
    """Return all that one forward and one backward pass compute, by allocating calls."""
    y = _forward(layer, sample.x(batch, dtype)).copy()
    grad = layer.backward(sample.grad(batch, dtype))
    parameters = {name: parameter.grad.copy() for name, parameter in layer.parameters().items()}
    return {"output": y, "input gradient": np.array(grad)} | parameters


def _same(ours: Mapping[str, NDArray[Any]], reference: Mapping[str, NDArray[Any]]) -> None:
    require(ours.keys() == reference.keys(), f"{[*ours]} are computed, and {[*reference]} before")
    for name, values in reference.items():
        assert_array_equal(ours[name], values, err_msg=name, strict=True)


def _raises(kind: type[Exception], said: str, call: Callable[[], object]) -> None:
    try:
        call()
    except kind as error:
        require(said in str(error), f"{kind.__name__} says {str(error)!r}, without {said!r}")
    else:
        require(False, f"{kind.__name__} is not raised")


def _skip_compositions(sample: Sample) -> None:
    if issubclass(sample.cls, Composition):
        skip("a composition has no kernels of its own")


@rule(*KINDS)
def calls_check_shapes(sample: Sample) -> None:
    """Calling the layer checks the shape of x, by the rule that specs are checked with."""
    layer, x = sample.make(), sample.x(3)
    nn.set_seed(7)
    require(layer(x).shape[1:] == layer.output_shape(x.shape[1:]), "y does not have the declared shape")
    try:
        layer.output_shape((2, 3, 5, 7, 11))
    except ShapeError:
        _raises(ShapeError, "x has shape", lambda: layer(np.ones((3, 2, 3, 5, 7, 11))))


@rule(*KINDS)
def gradients(sample: Sample) -> None:
    """The gradients agree with finite differences in float64."""
    for batch in BATCHES:
        with case(batch=batch):
            error = nn.numerical_gradient_check(sample.make(), sample.x(batch))
            require(error < BOUND, f"the gradients differ from finite differences by {error:.2g}, relative")


@rule("layer", whole=True)
def spoilt_gradients(cls: type[Layer], samples: Sequence[Sample]) -> None:
    """Each derivative is spoilt on purpose in all ways of `mistakes`, and the gradient check notices."""
    sample = largest([each for each in samples if each.part == cls.spec_name])
    names = [*([] if cls.looks_up else ["input"]), *sample.geometry().parameters]
    nn.set_seed(42)
    if not nn.numerical_gradient_check(sample.build(), clear_input(sample)) < BOUND:
        skip("its gradients are wrong already")
    for which in names:
        with case(derivative=which, sample=sample):
            results = {name: found_wrong(sample, which, name, BOUND) for name in MISTAKES}
            missed = [name for name, found in results.items() if found is False]
            require(not missed, f"wrong derivatives are not noticed: {', '.join(missed)}")
            require(any(results.values()), "no mistake changes this derivative")


@rule(*KINDS)
def out_arrays(sample: Sample) -> None:
    """With `out`, forward and backward write there the same numbers, and return that array."""
    for batch in BATCHES:
        with case(batch=batch):
            layer = sample.make()
            reference = _passes(layer, sample, batch)
            for parameter in layer.parameters().values():
                parameter.grad.fill(np.nan)
            y, dx = poisoned(reference["output"].shape), poisoned((batch, *sample.incoming))
            require(_forward(layer, sample.x(batch), out=y) is y, "forward does not return `out`")
            require(layer.backward(sample.grad(batch), out=dx) is dx, "backward does not return `out`")
            grads = {name: parameter.grad for name, parameter in layer.parameters().items()}
            _same({"output": y, "input gradient": dx} | grads, reference)


@rule(*KINDS)
def in_place(sample: Sample) -> None:
    """A layer that is `in_place` may write its output over its input, and its result over the gradient."""
    if not sample.cls.in_place:
        skip("it does not declare `in_place`")
    for batch in BATCHES:
        with case(batch=batch):
            layer = sample.make()
            reference = _passes(layer, sample, batch)
            x, grad = sample.x(batch), sample.grad(batch)
            y = _forward(layer, x, out=x.reshape(reference["output"].shape))
            assert_array_equal(y, reference["output"], strict=True)
            require(np.shares_memory(y, x), "y is not written over x")
            dx = layer.backward(grad, out=grad.reshape(reference["input gradient"].shape))
            assert_array_equal(np.asarray(dx), reference["input gradient"], strict=True)
            require(np.shares_memory(np.asarray(dx), grad), "the result is not written over the gradient")


@rule(*KINDS)
def inputs_unchanged(sample: Sample) -> None:
    """Without `out`, neither x nor the gradient nor the parameters change."""
    for batch in BATCHES:
        with case(batch=batch):
            layer, x, grad = sample.make(), sample.x(batch), sample.grad(batch)
            before = {name: parameter.data.copy() for name, parameter in layer.parameters().items()}
            layer.forward(x)
            layer.backward(grad)
            assert_array_equal(x, sample.x(batch), err_msg="x")
            assert_array_equal(grad, sample.grad(batch), err_msg="the gradient")
            _same({name: parameter.data for name, parameter in layer.parameters().items()}, before)


@rule(*KINDS)
def backward_reads(sample: Sample) -> None:
    """Backward reads x and y again only if `backward_reads` says so: they may have been overwritten."""
    layer = sample.make()
    reference = _passes(layer, sample, 5)
    x, y = sample.x(5), poisoned(reference["output"].shape)
    _forward(layer, x, out=y)
    for name, array in (("input", x), ("output", y)):
        if name not in layer.backward_reads:
            array.fill(np.nan)
    assert_array_equal(np.asarray(layer.backward(sample.grad(5))), reference["input gradient"])
    for name, parameter in layer.parameters().items():
        assert_array_equal(parameter.grad, reference[name], err_msg=name)


@rule(*KINDS)
def work_arrays_change_nothing(sample: Sample) -> None:
    """The numbers are the same with work arrays that are lent for smaller, equal and larger batches."""
    reference = _passes(sample.make(), sample, 5)
    for lent_for in (3, 5, 8):
        with case(lent_for=lent_for):
            layer = sample.make()
            layer.lend(work_arrays(sample, lent_for))
            _same(_passes(layer, sample, 5), reference)


@rule(*KINDS)
def work_arrays_are_used(sample: Sample) -> None:
    """Every declared work array is used, up to the end of the batch and not beyond."""
    layer, lent = sample.make(), work_arrays(sample, 8)
    layer.lend(lent)
    for work in lent.values():
        work.fill(2)
    before = {name: work.copy() for name, work in lent.items()}
    _passes(layer, sample, 5)
    for name, work in lent.items():
        require(not np.array_equal(work[:5], before[name][:5]), f"the work array {name} is not used")
        assert_array_equal(work[5:], before[name][5:], err_msg=f"{name} beyond the batch")


@rule(*KINDS)
def memory(sample: Sample) -> None:
    """With `out` and lent work arrays nothing is allocated, so that the declared memory is all of it."""
    _skip_compositions(sample)
    batch = 10_000
    layer, x, y = sample.make(), np.ones((batch, *sample.incoming)), np.ones((batch, *sample.geometry().out))
    dx, grad = np.empty_like(x), np.ones_like(y)
    layer.lend(work_arrays(sample, batch))
    layer.forward(x, out=y)  # once before, for what is kept over batches
    layer.backward(grad, out=dx)
    grown = growth(lambda: (layer.forward(x, out=y), layer.backward(grad, out=dx)))
    # The smallest array here, one byte per sample, has 10 kB.
    require(
        grown < 9_000, f"{grown:,} bytes are allocated for a batch of {batch:,}; declare them in `geometry` as work"
    )


@rule(*KINDS)
def saved_work(sample: Sample) -> None:
    """Work arrays that are not `saved` may be overwritten between forward and backward."""
    layer = sample.make()
    reference = _passes(layer, sample, 5)
    lent = work_arrays(sample, 5)
    layer.lend(lent)
    _forward(layer, sample.x(5))
    for name, work in sample.geometry().work.items():
        if not work.saved:
            lent[name][...] = poisoned(lent[name].shape, lent[name].dtype)
    assert_array_equal(np.asarray(layer.backward(sample.grad(5))), reference["input gradient"])


@rule(*KINDS)
def geometry(sample: Sample) -> None:
    """Outputs, gradients and parameters have the shapes that `geometry` declares."""
    for batch in BATCHES:
        with case(batch=batch):
            layer, declared = sample.make(), sample.geometry()
            y = layer.forward(sample.x(batch))
            require(
                y.shape == (batch, *declared.out), f"y has shape {y.shape}, and {(batch, *declared.out)} is declared"
            )
            dx = np.asarray(layer.backward(sample.grad(batch)))
            require(dx.shape == (batch, *sample.incoming), f"dx has shape {dx.shape}, x {(batch, *sample.incoming)}")
            shapes = {name: parameter.shape for name, parameter in layer.parameters().items()}
            require(
                dict(declared.parameters) == shapes,
                f"parameters {dict(declared.parameters)} are declared, not {shapes}",
            )
            grads = {name: parameter.grad.shape for name, parameter in layer.parameters().items()}
            require(grads == shapes, f"gradients have the shapes {grads}, parameters {shapes}")


@rule(*KINDS)
def flops(sample: Sample) -> None:
    """The declared FLOPs are those that forward carries out, within a third."""
    _skip_compositions(sample)
    layer, batch = sample.make(), 5
    layer.trusts_ids = True
    layer.lend({name: work.view(Counted) for name, work in work_arrays(sample, batch).items()})
    x, out = sample.x(batch).view(Counted), poisoned((batch, *sample.geometry().out)).view(Counted)
    declared, counted = batch * sample.geometry().flops, operations(lambda: layer.forward(x, out=out))
    if "hidden_size" in sample.arguments and sample.incoming[0] == 1:
        skip("a sequence of one step has no product with the state at all")
    within = FLOPS_WITHIN.get(sample.part, 4 / 3) if sample.cls.__module__.startswith("nnspec.") else 4 / 3
    require(
        counted / within <= declared <= counted * within,
        f"{declared} FLOPs are declared for {batch} samples, {counted} are carried out",
    )


@rule(*KINDS)
def float32(sample: Sample) -> None:
    """With float32 everything is computed in float32, and agrees with float64; in training and in use."""
    layer, double = sample.make_in("float32"), sample.make()
    noisy = any(inner.family == "noise" or getattr(inner, "dropout", 0) for inner in layer.walk())
    for mode in (True, False):
        layer.training = double.training = mode and not noisy
        ours, reference = _passes(layer, sample, 5, np.float32), _passes(double, sample, 5)
        for name, values in ours.items():
            require(values.dtype == np.float32, f"{name} is {values.dtype}")
            assert_allclose(values, reference[name], rtol=1e-5, atol=1e-5, err_msg=name)
    for parameter in layer.parameters().values():
        require(parameter.data.dtype == parameter.grad.dtype == np.float32, "a parameter is not float32")


@rule(*KINDS)
def float64_by_default(sample: Sample) -> None:
    """Parameters are float64 unless a dtype is given."""
    for name, parameter in sample.make().parameters().items():
        require(parameter.data.dtype == parameter.grad.dtype == np.float64, f"{name} is {parameter.data.dtype}")


@rule(*KINDS)
def large_numbers(sample: Sample) -> None:
    """Large inputs neither overflow nor give NaN, in float32 and float64."""
    for dtype in ("float32", "float64"):
        with case(dtype=dtype), np.errstate(over="raise", invalid="raise", divide="raise"):
            layer, x = sample.make_in(dtype), sample.x(5, dtype)
            inner = [each for each in layer.walk() if each is not layer]
            if any("large_numbers" in type(each).expected_failures for each in inner):
                skip("a layer in it cannot take large numbers")
            if not sample.tokens:
                x *= 1e4
            y = layer.forward(x)
            dx = np.asarray(layer.backward(sample.grad(5, dtype)))
            for array in (y, dx, *(parameter.grad for parameter in layer.parameters().values())):
                require(np.isfinite(array).all(), "a result is not finite")


@rule(*KINDS)
def gradients_are_overwritten(sample: Sample) -> None:
    """Each backward pass overwrites the gradients of the parameters, and adds nothing to them."""
    layer = sample.make()
    reference = _passes(layer, sample, 5)
    _same(_passes(layer, sample, 5), reference)


@rule(*KINDS)
def ragged_batches(sample: Sample) -> None:
    """A batch of another size may follow, as the last batch of an epoch does."""
    layer = sample.make()
    for batch in (5, 2, 7):
        _same(_passes(layer, sample, batch), _passes(sample.make(), sample, batch))


@rule(*KINDS)
def without_input_gradient(sample: Sample) -> None:
    """With `input_grad=False` the gradients of the parameters are the same."""
    layer = sample.make()
    reference = _passes(layer, sample, 5)
    for parameter in layer.parameters().values():
        parameter.grad.fill(np.nan)
    layer.backward(sample.grad(5), input_grad=False)
    for name, parameter in layer.parameters().items():
        assert_array_equal(parameter.grad, reference[name], err_msg=name)


@rule(*KINDS)
def backward_needs_forward(sample: Sample) -> None:
    """Backward before forward is a RuntimeError that says so."""
    layer = sample.make()
    said = f"{type(layer).__name__}.backward needs a forward pass first"
    _raises(RuntimeError, said, lambda: layer.backward(sample.grad(2)))


@rule(*KINDS)
def memory_order(sample: Sample) -> None:
    """Arrays in Fortran order, and slices of larger arrays, give the same numbers."""
    layer = sample.make()
    reference = _passes(layer, sample, 5)
    orders: list[Callable[[Any], Any]] = [np.asfortranarray, lambda array: np.repeat(array, 2, axis=0)[::2]]
    for arranged in orders:
        nn.set_seed(7)
        assert_allclose(layer.forward(arranged(sample.x(5))), reference["output"], rtol=1e-13)
        dx = np.asarray(layer.backward(arranged(sample.grad(5))))
        assert_allclose(dx, reference["input gradient"], rtol=1e-13)


@rule(*KINDS)
def samples_last_in_memory(sample: Sample) -> None:
    """A layer that declares `batch_last` gives the same numbers for samples that are the last axis in memory."""
    layer = sample.make()
    wishes = {leaf.batch_last for leaf in layer.walk() if not leaf.children()}
    if "no" in wishes or ("rows" in wishes and len(sample.incoming) > 1):
        skip("it needs C order, by `batch_last`")
    leaving = _last_in_memory if wishes <= {"keeps", "prefers"} else np.ascontiguousarray
    reference = _passes(layer, sample, 5)
    x, dx = _last_in_memory(sample.x(5)), _last_in_memory(poisoned((5, *sample.incoming)))
    y, grad = leaving(poisoned(reference["output"].shape)), leaving(sample.grad(5))
    assert_allclose(_forward(layer, x, out=y), reference["output"], rtol=1e-12, atol=1e-13)
    assert_allclose(np.asarray(layer.backward(grad, out=dx)), reference["input gradient"], rtol=1e-12, atol=1e-13)
    for name, parameter in layer.parameters().items():
        assert_allclose(parameter.grad, reference[name], rtol=1e-12, atol=1e-13)


def _last_in_memory(array: NDArray[Any]) -> NDArray[Any]:
    """Return the same array with its samples along the last axis in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 0, -1)), -1, 0)


@rule(*KINDS)
def batch_invariant(sample: Sample) -> None:
    """A layer that is `batch_invariant` gives each sample the same bits at any position in a batch of any size."""
    if not sample.cls.batch_invariant or sample.geometry().parameters:
        skip("it does not declare `batch_invariant`")
    for dtype in ("float32", "float64"):
        with case(dtype=dtype):
            for rows, lanes in ((64, 3), (17, 2), (1, 5)):
                x, grad = sample.x(rows * lanes, dtype), sample.grad(rows * lanes, dtype)
                whole = sample.make_in(dtype)
                together = [whole.forward(x.copy()), np.asarray(whole.backward(grad.copy()))]
                for start in range(0, rows * lanes, rows):
                    part, layer = slice(start, start + rows), sample.make_in(dtype)
                    alone = [layer.forward(x[part].copy()), np.asarray(layer.backward(grad[part].copy()))]
                    for ours, all_of in zip(alone, together, strict=True):
                        assert_array_equal(ours, all_of[part], strict=True)


@rule(*KINDS)
def state_round_trip(sample: Sample) -> None:
    """The parameters and the state of a trained layer, loaded into a new one, give the same outputs in use."""
    trained = nn.NumpyMLP(sample.make())
    trained.forward(sample.x(5))
    other = nn.NumpyMLP(sample.build())
    other.load_state_dict({name: array.copy() for name, array in trained.state_dict().items()})
    outputs = [_forward(network.eval().layers[0], sample.x(5)) for network in (trained, other)]
    assert_array_equal(outputs[1], outputs[0], strict=True)
    declared = {name: (5, *shape)[1:] for name, shape in sample.geometry().state.items()}
    if not issubclass(sample.cls, Composition):
        state = {name: array.shape for name, array in trained.layers[0].state().items()}
        require(state == declared, f"`geometry` declares the state {declared}; `state()` returns {state}")


@rule("layer", whole=True)
def arguments_have_effects(cls: type[Layer], samples: Sequence[Sample]) -> None:
    """Every argument changes something that the layer computes."""
    for argument in cls.signature():
        # What is inferred follows from the shape that arrives; another value is an error. A layer alone has no values
        # to name.
        if not argument.inferred and not argument.takes_value and not _has_effect(cls, argument, samples):
            require(False, f"no value of `{argument.name}` changes anything that {cls.spec_name} computes")


def _has_effect(cls: type[Layer], argument: Any, samples: Sequence[Sample]) -> bool:
    for sample in samples:
        if sample.part != cls.spec_name:
            continue
        before = _computed(sample)
        for value in other_values(argument) if argument.name != "shape" else [(-1,), (1, -1)]:
            try:
                if differ(before, _computed(sample, **{argument.name: value})):
                    return True
            except (ShapeError, ValueError):
                continue  # the value does not fit this sample
    return False


def _computed(sample: Sample, **changes: Any) -> dict[str, Any]:
    """Return all that one pass of a layer computes."""
    values = sample.defaults() | sample.arguments | changes
    made = dict(sample.cls.geometry(sample.incoming, values).inferred) | sample.arguments | changes
    if any(name.endswith("init") for name in changes):
        return {name: parameter.data for name, parameter in sample.cls(**made).parameters().items()}
    nn.set_seed(3)
    layer = sample.cls(**made)
    y = layer.forward(sample.x(5) * (1 if sample.tokens else 3)).copy()
    dx = layer.backward(np.cos(np.arange(y.size)).reshape(y.shape))
    grads = {name: parameter.grad for name, parameter in layer.parameters().items()}
    return {"y": y, "dx": dx, "state": layer.state(), **grads}
