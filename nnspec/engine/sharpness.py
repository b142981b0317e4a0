"""Sharpness-aware steps: the gradient is taken where the loss is higher, a small distance uphill."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import Also, PlainPart, Positive
from nnspec.engine.penalties import BLOCK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]

__all__ = ["SAM", "Ascent"]

EPSILON = 1e-12
"""Added to the norm before dividing, so that it never divides by zero."""


class SAM(PlainPart):
    """Steps from θ with the gradient at θ + ε, where ε = ρ·g / (‖g‖ + 10⁻¹²) and g is the gradient at θ.

    ‖g‖ is the L2 norm over all trained parameters. If `adaptive`, the distance is measured relative to each weight: ε =
    ρ·θ²·g / (‖|θ|·g‖ + 10⁻¹²). Foret et al. 2021; Kwon et al. 2021 for adaptive steps (ASAM).

    Both gradients are of the same batch with the same dropout masks, so that they differ only by ε, and running
    statistics of `BatchNorm` follow the batch once, at θ. (PyTorch and Keras have no such class. The usual port draws
    new masks for the second gradient, and leaves it to the caller to disable running statistics.)
    """

    kind: ClassVar[str] = "sharpness"
    spec_name = "sam"
    also = ("SAM", "sharpness_aware", "ASAM", "asam")
    rho: Annotated[Positive, Also("radius", "perturbation")] = 0.05
    adaptive: bool = False


class Ascent:
    """The way up to θ + ε, and back.

        ascent = Ascent(model.parameters(), SAM(0.05))
        model.backward(loss.backward())
        ascent.up()
        loss(model(x), y)
        model.backward(loss.backward())
        ascent.down()
        optimizer.step()

    `arrays` are those to keep θ in, one of each parameter's shape, and `block` is a work array of any size; by default,
    they are allocated.
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        rule: SAM,
        arrays: Sequence[NDArray[Any]] = (),
        block: NDArray[Any] | None = None,
    ) -> None:
        self.params, self.rule = list(params), rule
        self._before = list(arrays) or [np.empty_like(parameter.data) for parameter in self.params]
        largest = max((parameter.data for parameter in self.params), key=np.size)
        self._block = np.empty(min(BLOCK, largest.size), largest.dtype) if block is None else block

    def up(self) -> float:
        """θ ← θ + ε, with the current gradients; frozen parameters are not changed. Returns ‖g‖, or ‖|θ|·g‖."""
        norm = self._norm()
        scale = self.rule.rho / (norm + EPSILON)
        for parameter, before in zip(self.params, self._before, strict=True):
            np.copyto(before, parameter.data)
        for theta, grad, _, block in self._blocks():
            np.multiply(grad, scale, out=block)
            if self.rule.adaptive:
                np.multiply(block, theta, out=block)
                np.multiply(block, theta, out=block)
            np.add(theta, block, out=theta)
        return norm

    def down(self) -> None:
        """Restore θ."""
        for parameter, before in zip(self.params, self._before, strict=True):
            np.copyto(parameter.data, before)

    def _norm(self) -> float:
        """Return the norm; squares are summed in the dtype of the parameters, block by block."""
        total = 0.0
        for theta, grad, _, block in self._blocks():
            values = np.multiply(grad, theta, out=block) if self.rule.adaptive else grad
            total += float(np.vdot(values, values))
        return math.sqrt(total) if total >= 0 else total

    def _blocks(self) -> Iterator[Arrays]:
        """Yield parts of the trained numbers, their gradients and their places in `arrays`, and a work array."""
        for parameter, before in zip(self.params, self._before, strict=True):
            flat = [array.reshape(-1) for array in (parameter.data, parameter.grad, before)]
            for part in parameter.trained:
                for start in range(part.start, part.stop, len(self._block)):
                    stop = min(start + len(self._block), part.stop)
                    theta, grad, own = (array[start:stop] for array in flat)
                    yield theta, grad, own, self._block[: stop - start]
