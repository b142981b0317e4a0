"""What every loss must do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from nnspec import engine as nn
from nnspec.engine.losses import Loss
from nnspec.testing.arguments import differ, other_values
from nnspec.testing.check import BATCHES, case, require, rule, skip
from nnspec.testing.memory import growth
from nnspec.testing.mistakes import MISTAKES, wrong_loss
from nnspec.testing.samples import LossSample, poisoned

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _slopes(loss: Loss, y: NDArray[Any], targets: NDArray[Any], epsilon: float = 1e-5) -> NDArray[Any]:
    """Return central differences of the loss, entry by entry."""
    slopes = np.empty_like(y)
    for i in np.ndindex(y.shape):
        step = np.zeros_like(y)
        step[i] = epsilon
        slopes[i] = (loss.forward(y + step, targets) - loss.forward(y - step, targets)) / (2 * epsilon)
    return slopes


@rule("loss")
def gradients(sample: LossSample) -> None:
    """The gradient agrees with central differences in float64."""
    for batch in BATCHES:
        with case(batch=batch):
            loss, y, targets = sample.make(), sample.y(batch), sample.targets(batch)
            numerical = _slopes(loss, y, targets)
            loss.forward(y, targets)
            assert_allclose(loss.backward(), numerical, rtol=1e-7, atol=1e-9)


@rule("loss", whole=True)
def spoilt_gradients(cls: type[Loss], samples: Sequence[LossSample]) -> None:
    """The derivative is spoilt on purpose in all ways of `mistakes`, and the gradient check notices."""
    sample = next((each for each in samples if len(each.outputs) == 1 and each.outputs[0] > 1), samples[0])
    nn.set_seed(42)
    model = nn.NumpyMLP(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, sample.outputs[-1]))
    x = np.random.default_rng(11).standard_normal((8, *sample.outputs[:-1], 6))
    report = nn.check_gradients(model, sample.make(), x, sample.targets(8))
    if not report.error < 1e-7:
        skip("its gradients are wrong already")
    for name, mistake in MISTAKES.items():
        with case(mistake=name, sample=sample), wrong_loss(cls, mistake):
            report = nn.check_gradients(model, sample.make(), x, sample.targets(8))
            (own,) = [tensor for tensor in report.tensors if tensor.name == "loss"]
            require(not own.error <= 1e-7, "a wrong derivative is not noticed")


@rule("loss")
def value_and_shape(sample: LossSample) -> None:
    """The loss is a finite float, and the gradient has the shape of the outputs."""
    for batch in BATCHES:
        with case(batch=batch):
            loss = sample.make()
            value = loss.forward(sample.y(batch), sample.targets(batch))
            require(type(value) is float, f"the loss is a {type(value).__name__}, not a float")
            require(math.isfinite(value), f"the loss is {value}")
            require(
                loss.backward().shape == (batch, *sample.outputs), f"the gradient has shape {loss.backward().shape}"
            )


@rule("loss")
def out_arrays(sample: LossSample) -> None:
    """With `out` the numbers are the same, and backward writes there and returns that array."""
    for batch in BATCHES:
        with case(batch=batch):
            loss, targets = sample.make(), sample.targets(batch)
            value = loss.forward(sample.y(batch), targets)
            grad = loss.backward()
            work, out = poisoned((batch, *sample.outputs)), poisoned((batch, *sample.outputs))
            require(loss.forward(sample.y(batch), targets, out=work) == value, "another loss with `out`")
            require(loss.backward(out=out) is out, "backward does not return `out`")
            assert_array_equal(out, grad, strict=True)


@rule("loss")
def in_place(sample: LossSample) -> None:
    """It may work in its outputs, and write the gradient over them."""
    for batch in BATCHES:
        with case(batch=batch):
            loss, targets, y = sample.make(), sample.targets(batch), sample.y(batch)
            value = loss.forward(y, targets)
            grad = loss.backward()
            require(loss.forward(y, targets, out=y) == value, "another loss with the outputs as `out`")
            require(loss.backward(out=y) is y, "backward does not return `out`")
            assert_array_equal(y, grad, strict=True)


@rule("loss")
def inputs_unchanged(sample: LossSample) -> None:
    """Without `out`, neither the outputs nor the targets change."""
    loss, y, targets = sample.make(), sample.y(5), sample.targets(5)
    loss.forward(y, targets)
    loss.backward()
    assert_array_equal(y, sample.y(5), err_msg="the outputs")
    assert_array_equal(targets, sample.targets(5), err_msg="the targets")


@rule("loss")
def backward_twice(sample: LossSample) -> None:
    """Backward gives the same gradient a second time."""
    loss = sample.make()
    loss.forward(sample.y(5), sample.targets(5))
    assert_array_equal(loss.backward(), loss.backward())


@rule("loss")
def ragged_batches(sample: LossSample) -> None:
    """A batch of another size may follow, as the last batch of an epoch does."""
    loss = sample.make()
    for batch in (5, 2, 7):
        other = sample.make()
        value = other.forward(sample.y(batch), sample.targets(batch))
        require(loss.forward(sample.y(batch), sample.targets(batch)) == value, f"another loss for {batch} samples")
        assert_array_equal(loss.backward(), other.backward())


@rule("loss")
def work_arrays_change_nothing(sample: LossSample) -> None:
    """The numbers are the same with work arrays that are lent for smaller, equal and larger batches."""
    for lent_for in (3, 5, 8):
        with case(lent_for=lent_for):
            reference, loss, targets = sample.make(), sample.make(), sample.targets(5)
            loss.lend(sample.work_arrays(lent_for))
            for _ in range(2):
                value = reference.forward(sample.y(5), targets)
                require(loss.forward(sample.y(5), targets) == value, "another loss with lent arrays")
                assert_array_equal(loss.backward(), reference.backward())


@rule("loss")
def work_arrays_are_used(sample: LossSample) -> None:
    """Every declared work array is used, up to the end of the batch and not beyond."""
    loss, lent = sample.make(), sample.work_arrays(8)
    for work in lent.values():
        work.fill(77)
    loss.lend(lent)
    loss.forward(sample.y(5), sample.targets(5))
    loss.backward()
    for name, work in lent.items():
        require(not np.any(work[:5] == 77), f"the work array {name} is not used")
        require(np.all(work[5:] == 77), f"the work array {name} is written beyond the batch")


@rule("loss")
def memory(sample: LossSample) -> None:
    """With `out` and lent work arrays nothing is allocated, so that the declared memory is all of it."""
    batch = 2_000
    loss, y, targets = sample.make(), sample.y(batch), sample.targets(batch)
    loss.lend(sample.work_arrays(batch))
    loss.forward(y.copy(), targets, out=np.empty_like(y))  # once before, for what is kept over batches
    grown = growth(lambda: (loss.forward(y, targets, out=y), loss.backward(out=y)))
    # The smallest array here, one number per sample, has 16 kB.
    require(grown < 12_000, f"{grown:,} bytes are allocated for a batch of {batch:,}; declare them in `work`")


@rule("loss")
def saved_work(sample: LossSample) -> None:
    """Work arrays that are not `saved` may be overwritten between forward and backward."""
    loss, lent = sample.make(), sample.work_arrays(5)
    loss.forward(sample.y(5), sample.targets(5))
    reference = loss.backward()
    loss.lend(lent)
    loss.forward(sample.y(5), sample.targets(5))
    for name, work in sample.cls.work(sample.outputs, sample.arguments).items():
        if not work.saved:
            lent[name][...] = poisoned(lent[name].shape, lent[name].dtype)
    assert_array_equal(loss.backward(), reference)


@rule("loss")
def memory_order(sample: LossSample) -> None:
    """Arrays in Fortran order, and slices of larger arrays, give the same numbers."""
    loss, targets = sample.make(), sample.targets(5)
    value = loss.forward(sample.y(5), targets)
    grad = loss.backward()
    orders: list[Callable[[Any], Any]] = [np.asfortranarray, lambda y: np.repeat(y, 2, axis=1)[:, ::2]]
    for arranged in orders:
        assert_allclose(loss.forward(arranged(sample.y(5)), targets), value, rtol=1e-14)
        assert_allclose(loss.backward(), grad, rtol=1e-14)


@rule("loss")
def float32(sample: LossSample) -> None:
    """With float32 outputs the gradient is float32, and agrees with float64."""
    loss, double, targets = sample.make(), sample.make(), sample.targets(5)
    single = targets.astype(np.float32) if sample.cls.targets == "values" else targets
    value = double.forward(sample.y(5), targets)
    assert_allclose(loss.forward(sample.y(5, np.float32), single), value, rtol=1e-5)
    require(loss.backward().dtype == np.float32, f"the gradient is {loss.backward().dtype}")
    assert_allclose(loss.backward(), double.backward(), rtol=1e-5, atol=1e-6)


@rule("loss")
def backward_needs_forward(sample: LossSample) -> None:
    """Backward before forward is a RuntimeError that says so."""
    try:
        sample.make().backward()
    except RuntimeError as error:
        require("backward needs a forward pass first" in str(error), f"the error says {error}")
    else:
        require(False, "RuntimeError is not raised")


@rule("loss", whole=True)
def arguments_have_effects(cls: type[Loss], samples: Sequence[LossSample]) -> None:
    """Every argument changes the loss or its gradient."""
    for argument in cls.signature():
        require(_has_effect(argument, samples), f"no value of `{argument.name}` changes what {cls.spec_name} computes")


def _has_effect(argument: Any, samples: Sequence[LossSample]) -> bool:
    for sample in samples:
        before = _computed(sample)
        for value in other_values(argument, sample.outputs[-1] - 1):
            try:
                if differ(before, _computed(sample, **{argument.name: value})):
                    return True
            except ValueError:
                continue  # weights of another number of classes
    return False


def _computed(sample: LossSample, **changes: Any) -> list[float]:
    """Return the value of a loss, and its gradient."""
    loss = sample.cls(**sample.arguments | changes)
    return [loss.forward(3 * sample.y(5), sample.targets(5)), *loss.backward().reshape(-1)]
