"""Layers that add noise in training and are the identity otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY
from math import prod
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Geometry, Layer, Shape, beside_features, saved, sequence_or_image
from nnspec.engine.part import Also, Positive, Probability, kept
from nnspec.engine.random import default_generator
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Dropout", "GaussianNoise", "SpatialDropout"]


class Dropout(Layer):
    """y = x · m / (1 − p), m ~ Bernoulli(1 − p) for each element, in training; y = x otherwise.

    dL/dx = g · m / (1 − p). Srivastava et al. 2014 in the inverted form of PyTorch and Keras. p is the fraction of
    elements to drop, at least 0 and less than 1 (PyTorch also allows 1).
    """

    spec_name = "Dropout"
    with_padding = "keeps"
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
        return Geometry(out=incoming, flops=prod(incoming), work={"scale": Work(cls._masked(incoming), saved=True)})

    @classmethod
    def _masked(cls, incoming: Shape) -> Shape:
        """Return the shape of m for one sample."""
        return incoming

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """x · m / (1 − p), with a new m each time; x itself outside training."""
        shape = (len(x), *self._masked(x.shape[1:]))
        if self.hold_noise and self._scale is not None and self._scale.shape == shape:
            return np.multiply(x, self._scale, out=out)
        scale = self.work_array("scale", shape, x.dtype)
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


class SpatialDropout(Dropout):
    """`Dropout` of whole channels of an image, or of features at all positions of a sequence: y[c, h, w] = x[c, h, w] ·
    m[c] / (1 − p).

    Numbers beside each other are alike, so dropping single ones hides little. Tompson et al. 2015. In PyTorch:
    `Dropout2d`, and `Dropout1d` for `(B, F, T)`; Keras's `SpatialDropout2D` and `SpatialDropout1D`.
    """

    spec_name = "SpatialDropout"
    also = ("Dropout2d", "Dropout1d", "SpatialDropout2D", "SpatialDropout1D", "ChannelDropout")

    @classmethod
    def _masked(cls, incoming: Shape) -> Shape:
        sequence_or_image(cls, incoming, "write `Dropout` instead")
        return beside_features(incoming)


class GaussianNoise(Layer):
    """y = x + n, n ~ N(0, std²) for each element, in training; y = x otherwise. dL/dx = g. As in Keras. Bishop 1995."""

    spec_name = "GaussianNoise"
    also = ("AdditiveNoise", "Noise")
    with_padding = "keeps"
    family = "noise"
    in_place = True
    image_as = "any"

    std: Annotated[Positive, Also("stddev", "sigma", "scale")] = 0.1
    _: KW_ONLY
    rng: Generator | None = None
    _noise: NDArray[Any] | None = kept()

    @property
    def noise(self) -> Generator | None:
        """The generator; None for the one of `set_seed`."""
        return self.rng

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Any shape, unchanged; one multiplication and one addition per element."""
        return Geometry(out=incoming, flops=2 * prod(incoming), work={"noise": Work(incoming, saved=True)})

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """x + n, with a new n each time; x itself outside training."""
        if self.hold_noise and self._noise is not None and self._noise.shape == x.shape:
            return np.add(x, self._noise, out=out)
        noise = self.work_array("noise", x.shape, x.dtype)
        if self.training:
            (self.rng or default_generator()).standard_normal(out=noise, dtype=noise.dtype)
            np.multiply(noise, self.std, out=noise)
        else:
            noise.fill(0)
        self._noise = noise
        return np.add(x, noise, out=out)

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """g."""
        saved(self._noise, self)
        return np.positive(grad, out=out)
