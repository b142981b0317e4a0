"""Wrong derivatives, to prove that checks notice them: each is a subtle or a common mistake in a backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np

from nnspec import engine as nn
from nnspec.engine.layers.contract import Layer
from nnspec.engine.losses import Loss
from nnspec.testing.samples import Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BATCH", "MISTAKES", "Mistake", "clear_input", "found_wrong", "wrong_layer", "wrong_loss"]

BATCH = 5
Mistake = Callable[["NDArray[Any]"], object]
"""Writes a wrong gradient over the right one."""


def _flip_one(grad: NDArray[Any]) -> None:
    """Flip the smallest entry that exceeds the noise of rounding: it is the hardest to see."""
    flat = grad.reshape(-1)
    sizes = np.abs(flat)
    flat[np.where(sizes > 1e-9 * sizes.max(), sizes, np.inf).argmin()] *= -1


def _shift_one(grad: NDArray[Any]) -> None:
    grad.reshape(-1)[0] += 1e-5


MISTAKES: dict[str, Mistake] = {
    "too large by 1e-5": lambda grad: np.multiply(grad, 1 + 1e-5, out=grad),
    "too small by 1e-5": lambda grad: np.multiply(grad, 1 - 1e-5, out=grad),
    "one sign flipped": _flip_one,
    "one entry off by 1e-5": _shift_one,
    "forgotten": lambda grad: grad.fill(0),
    "of opposite sign": lambda grad: np.negative(grad, out=grad),
    "mixed up": lambda grad: np.copyto(grad, np.roll(grad.reshape(-1), 1).reshape(grad.shape)),
    "doubled": lambda grad: np.multiply(grad, 2, out=grad),
    "averaged over the batch": lambda grad: np.divide(grad, BATCH, out=grad),
}


@contextmanager
def wrong_layer(cls: type[Layer], which: str, mistake: Mistake) -> Iterator[None]:
    """Make a mistake in a layer's derivative: by `input`, or by the parameter of that name."""
    right = cls.backward

    def backward(self: Layer, grad: Any, out: Any = None, *, input_grad: bool = True) -> Any:
        dx = right(self, grad, out=out, input_grad=input_grad)
        if which != "input":
            mistake(self.parameters()[which].grad)
        elif dx is not None:
            dx = dx.copy()
            mistake(dx)
        return dx

    with patch.object(cls, "backward", backward):
        yield


@contextmanager
def wrong_loss(cls: type[Loss], mistake: Mistake) -> Iterator[None]:
    """Make a mistake in the derivative of a loss."""
    right = cls.backward

    def backward(self: Loss, out: Any = None) -> Any:
        grad = right(self, out=out)
        mistake(grad)
        return grad

    with patch.object(cls, "backward", backward):
        yield


def clear_input(sample: Sample) -> NDArray[Any]:
    """Return a batch at which every entry of every derivative matters: normal numbers, or all ids in turn."""
    shape = (BATCH, *sample.incoming)
    if sample.tokens:
        return np.arange(prod(shape)).reshape(shape) % sample.tokens
    return np.random.default_rng(11).standard_normal(shape)


def found_wrong(sample: Sample, which: str, mistake: str, bound: float) -> bool | None:
    """Whether the gradient check finds a mistake in one of a layer's derivatives; None if it changes nothing there."""
    changed = False

    def spoil(grad: NDArray[Any]) -> None:
        nonlocal changed
        before = grad.copy()
        MISTAKES[mistake](grad)
        changed = changed or not np.array_equal(before, grad)

    nn.set_seed(42)
    layer = sample.build()
    network = nn.Sequential(layer)
    spoilt = which if which == "input" else f"{network.names[0]}.{which}"
    with wrong_layer(type(layer), which, spoil):
        nn.set_seed(42)
        error = nn.numerical_gradient_check(network, clear_input(sample), only=[spoilt])
    return not error <= bound if changed else None
