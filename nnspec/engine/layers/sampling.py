"""The layer that samples from a normal distribution whose mean and variance a network computes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Geometry, Layer, Shape, ShapeError, sample_in_words, saved
from nnspec.engine.part import Also, Range, kept
from nnspec.engine.random import default_generator
from nnspec.engine.work import Work, number

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Sample"]


class Sample(Layer):
    """z = μ + σ·ε with ε ~ N(0, 1) in training, z = μ otherwise; x = [μ, log σ²], `(B, 2D) -> (B, D)`.

    The layer between the encoder and the decoder of a variational autoencoder. It adds kl · KL(N(μ, σ²) ‖ N(0, 1)) to
    the loss, in training and in evaluation: KL = ½ Σ (μ² + σ² − log σ² − 1), summed over the D numbers, and the mean
    over the batch; `kl_loss` is its figure, without the factor kl. With a loss that is the mean over N outputs, kl =
    1/N weighs both as in the paper, where the loss is their sum. dL/dμ = g + kl·μ/B, dL/d(log σ²) = ½ (g·ε·σ + kl·(σ² −
    1)/B). Kingma and Welling, Auto-Encoding Variational Bayes, 2014; kl ≠ 1 as in Higgins et al., β-VAE, 2017. PyTorch
    and Keras have it in their examples of this network, with the mean of the sums.
    """

    spec_name = "Sample"
    also = ("Sampling", "Reparameterize", "Reparametrize", "GaussianSample", "KLDivergenceLayer")
    family = "noise"
    backward_reads = frozenset({"input"})
    adds = "kl_loss"
    expected_failures = MappingProxyType({"large_numbers": "the variance is the exponential of its input"})
    example_shapes = ((6,),)

    kl: Annotated[float, Range(low=0), Also("beta", "kl_weight")] = 1.0
    _: KW_ONLY
    rng: Generator | None = None
    _x: NDArray[Any] | None = kept()
    _noise: NDArray[Any] | None = kept()
    _deviation: NDArray[Any] | None = kept()

    def __post_init__(self) -> None:
        self._term = np.zeros(1)

    @property
    def added(self) -> float:
        """KL of the last forward pass."""
        return number(np.add.reduce(self._term))

    @property
    def noise(self) -> Generator | None:
        """The generator for ε; None for the one of `set_seed`."""
        return self.rng

    @classmethod
    def times(cls, arguments: Mapping[str, Any]) -> float:
        """kl."""
        return float(arguments["kl"])

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Half as many numbers. Raises ShapeError for anything but a row of means and as many log-variances."""
        if len(incoming) != 1 or incoming[0] % 2:
            raise ShapeError(
                f"Sample expects a row of means and as many log-variances, but got {sample_in_words(incoming)}",
                help="put a `Linear` with twice as many outputs as latent variables before it: `Linear(16)` for 8",
            )
        out = (incoming[0] // 2,)
        scratch = {"draws": Work(incoming), "terms": Work(out), "squares": Work(out)}
        work = {"noise": Work(out, saved=True), "deviation": Work(out, saved=True)}
        return Geometry(out=out, flops=17 * out[0], work=work | scratch)

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """μ + σ·ε, with a new ε each time; μ outside training."""
        size = x.shape[-1] // 2
        mean, log_variance = x[:, :size], x[:, size:]
        self._x = x
        noise = self._draw(x)
        deviation = np.multiply(log_variance, 0.5, out=self.work_array("deviation", mean.shape, x.dtype))
        self._deviation = np.exp(deviation, out=deviation)
        terms = np.expm1(log_variance, out=self.work_array("terms", mean.shape, x.dtype))
        np.subtract(terms, log_variance, out=terms)
        np.add(terms, np.multiply(mean, mean, out=self.work_array("squares", mean.shape, x.dtype)), out=terms)
        np.multiply(number(np.add.reduce(terms, axis=None)), 0.5 / len(x), out=self._term)
        if not self.training and not self.hold_noise:  # a deviation may be infinite, and 0 · ∞ is not a number
            return np.add(mean, noise, out=out)
        y = np.multiply(deviation, noise, out=out)
        return np.add(y, mean, out=y)

    def _draw(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return ε `(B, D)`: 0 outside training, and the last one if noise is held."""
        shape = (len(x), x.shape[-1] // 2)
        if self.hold_noise and self._noise is not None and self._noise.shape == shape:
            return self._noise
        self._noise = noise = self.work_array("noise", shape, x.dtype)
        if not self.training:
            noise.fill(0)
            return noise
        # ε = √(−2 log u) cos(2π v) for u, v uniform in (0, 1] (Box and Muller 1958).
        draws = self.work_array("draws", x.shape, x.dtype)
        (self.rng or default_generator()).random(out=draws, dtype=draws.dtype)
        np.subtract(1, draws, out=draws)
        length, angle = draws[:, : shape[1]], draws[:, shape[1] :]
        np.log(length, out=length)
        np.multiply(length, -2, out=length)
        np.sqrt(length, out=length)
        np.multiply(angle, 2 * math.pi, out=angle)
        np.cos(angle, out=angle)
        return np.multiply(length, angle, out=noise)

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """[g + kl·μ/B, ½ (g·ε·σ + kl·(σ² − 1)/B)]."""
        x, noise, deviation = saved(self._x, self), saved(self._noise, self), saved(self._deviation, self)
        size, share = noise.shape[1], self.kl / len(x)
        found = np.empty(x.shape, x.dtype) if out is None else out
        of_mean, of_variance = found[:, :size], found[:, size:]
        # ½ (ε·σ·g + share·expm1(log σ²))
        np.expm1(x[:, size:], out=of_variance)
        np.multiply(of_variance, 0.5 * share, out=of_variance)
        slope = np.multiply(noise, deviation, out=self.work_array("terms", noise.shape, x.dtype))
        np.multiply(slope, 0.5, out=slope)
        np.add(of_variance, np.multiply(slope, grad, out=slope), out=of_variance)
        np.multiply(x[:, :size], share, out=of_mean)
        np.add(of_mean, grad, out=of_mean)
        return found
