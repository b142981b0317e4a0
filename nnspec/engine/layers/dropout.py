"""Layers that add noise in training and are the identity otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY
from math import prod
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Geometry, Layer, Shape, saved
from nnspec.engine.part import Also, Probability, kept
from nnspec.engine.random import default_generator
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Dropout"]


class Dropout(Layer):
    """y = x · m / (1 − p), m ~ Bernoulli(1 − p) for each element, in training; y = x otherwise.

    dL/dx = g · m / (1 − p). Srivastava et al. 2014 in the inverted form of PyTorch and Keras. p is the fraction of
    elements to drop, at least 0 and less than 1 (PyTorch also allows 1).
    """

    spec_name = "Dropout"
    family = "noise"
    in_place = True
    batch_last = "keeps"
    image_as = "any"

    p: Annotated[Probability, Also("rate", "dropout", "prob")] = 0.5
    _: KW_ONLY
    rng: Generator | None = None
    _scale: NDArray[Any] | None = kept()

    @property
    def noise(self) -> Generator | None:
        """The generator for masks; None for the one of `set_seed`."""
        return self.rng

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Any shape, unchanged; one multiplication per element."""
        return Geometry(out=incoming, flops=prod(incoming), work={"scale": Work(incoming, saved=True)})

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """x · m / (1 − p), with a new m each time; x itself outside training."""
        if self.hold_noise and self._scale is not None and self._scale.shape == x.shape:
            return np.multiply(x, self._scale, out=out)
        scale = self.work_array("scale", x.shape, x.dtype)
        if self.training:
            # Drawn in the dtype of the network, so that nothing is allocated: floats in [0, 1).
            (self.rng or default_generator()).random(out=scale, dtype=scale.dtype)
            np.greater_equal(scale, self.p, out=scale)
            np.multiply(scale, 1.0 / (1.0 - self.p), out=scale)
        else:
            scale.fill(1)
        self._scale = scale
        return np.multiply(x, scale, out=out)

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """g · m / (1 − p) with the m of the last forward pass."""
        return np.multiply(grad, saved(self._scale, self), out=out)
