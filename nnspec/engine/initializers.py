"""Weight initialisers, ordered by how hard they are to understand.

fan_in and fan_out are the numbers of inputs and outputs that one weight connects: in and out of `Linear`, k²·in/groups
and k²·out/groups of a convolution (PyTorch's fan_out ignores groups). All numbers are drawn in float64 and then rounded
to the parameter's dtype, so that float32 and float64 networks start from the same numbers.

Only `truncated_normal` truncates. Keras also does in `glorot_normal`, `he_normal` and `lecun_normal`: numbers beyond
two standard deviations are drawn again, and the scale is increased by 1/0.88 to compensate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from nnspec.engine._numpy import np
from nnspec.engine.part import Also, BareWord, PlainPart, Positive, Range

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = [
    "Fill",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "LeCunNormal",
    "LeCunUniform",
    "Normal",
    "Ones",
    "Orthogonal",
    "PyTorch",
    "Sparse",
    "TruncatedNormal",
    "Uniform",
    "XavierNormal",
    "XavierUniform",
    "Zeros",
]

Std = Annotated[Positive, Also("stddev", "sigma", "scale")]
Start = Annotated[float, Range(low=-1e9, high=1e9)]
Gain = Annotated[Positive, Also("scale")]
Fan = Annotated[Literal["fan_in", "fan_out"], Also("fan")]


class Initializer(PlainPart):
    """Base of the initialisers."""

    kind: ClassVar[str] = "initializer"
    must_define = ("draw",)
    for_relu: ClassVar[bool] = False
    """Whether its variance compensates for the half of the values that a ReLU sets to zero."""

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return float64 numbers of `shape`."""
        raise NotImplementedError

    def biases(self) -> Initializer:
        """Return how biases start in a layer whose weights start in this way, if nothing else is said: at zero."""
        return ZEROS

    def of(self, starts: Mapping[str, Initializer], name: str) -> Initializer:
        """Return how the parameter `name` of a layer starts; `starts` are the layer's `pytorch_starts`."""
        return self


BiasInit = Annotated[Initializer | None, Also("bias_initializer", "b_init")]
"""How biases start; by default as `Initializer.biases` of the weights says."""


class Zeros(Initializer):
    """All zeros: right for biases; as weights, they keep all units of a layer identical forever."""

    spec_name = "zeros"
    also = ("zeros_", "Zeros")

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return zeros."""
        return np.zeros(shape)


ZEROS = Zeros()


class Ones(Initializer):
    """All ones."""

    spec_name = "ones"
    also = ("ones_", "Ones")

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return ones."""
        return np.ones(shape)


class Fill(Initializer):
    """All equal to `value`. PyTorch's `constant_`; Keras's `Constant`. (`constant` is a schedule here.)"""

    spec_name = "fill"
    also = ("constant", "constant_", "Constant")
    value: Start

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return an array filled with the value."""
        return np.full(shape, float(self.value))


class Normal(Initializer):
    """N(mean, std²), independent of the fans. PyTorch's `normal_`, whose default is std = 1; Keras's `RandomNormal`."""

    spec_name = "normal"
    also: ClassVar[tuple[str, ...]] = ("normal_", "RandomNormal", "random_normal", "gaussian")
    _: KW_ONLY
    std: Std = 0.05
    mean: Start = 0.0

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return normal numbers."""
        return rng.standard_normal(shape) * self.std + self.mean


class TruncatedNormal(Normal):
    """N(mean, std²), with values further than 2·std from the mean drawn again. The resulting deviation is 0.88·std.

    Keras's `TruncatedNormal`; PyTorch's `trunc_normal_`, whose bounds are -2 and 2 themselves instead of ±2·std.
    """

    spec_name = "truncated_normal"
    also = ("trunc_normal", "trunc_normal_", "TruncatedNormal")

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return normal numbers within two deviations."""
        values = rng.standard_normal(shape)
        far = np.abs(values) > 2
        while far.any():
            values[far] = rng.standard_normal(int(far.sum()))
            far = np.abs(values) > 2
        return values * self.std + self.mean


class Uniform(Initializer):
    """U(low, high), independent of the fans. PyTorch's `uniform_`, from 0 to 1 by default; Keras's `RandomUniform`.

    Raises ValueError if `low` is not less than `high`.
    """

    spec_name = "uniform"
    also = ("uniform_", "RandomUniform", "random_uniform")
    _: KW_ONLY
    low: Annotated[Start, Also("minval", "a", "min")] = -0.05
    high: Annotated[Start, Also("maxval", "b", "max")] = 0.05

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"uniform: `low` must be less than `high`, got {self.low:g} and {self.high:g}")

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return uniform numbers."""
        return rng.uniform(self.low, self.high, shape)


class _Gained(Initializer):
    """Base of the initialisers whose deviation follows from the fans: `gain` multiplies it."""

    _: KW_ONLY
    gain: Gain = 1.0


class XavierNormal(_Gained):
    """N(0, gain² · 2 / (fan_in + fan_out)), for tanh and sigmoid. Glorot & Bengio 2010; PyTorch's `xavier_normal_`."""

    spec_name = "xavier_normal"
    also = ("glorot_normal", "xavier_normal_", "GlorotNormal")

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return normal numbers of variance 2 / (fan_in + fan_out)."""
        return rng.standard_normal(shape) * (self.gain * math.sqrt(2.0 / (fan_in + fan_out)))


class XavierUniform(_Gained):
    """U(-a, a) with a = gain · sqrt(6 / (fan_in + fan_out)). Glorot & Bengio 2010; Keras's `glorot_uniform`."""

    spec_name = "xavier_uniform"
    also = ("glorot_uniform", "xavier_uniform_", "GlorotUniform", "xavier", "glorot")

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return uniform numbers of variance 2 / (fan_in + fan_out)."""
        limit = self.gain * math.sqrt(6.0 / (fan_in + fan_out))
        return rng.uniform(-limit, limit, shape)


class _He(_Gained):
    """Base of the initialisers for ReLU, which keep the variance of activations, or, by fan_out, of gradients."""

    for_relu = True

    _: KW_ONLY
    mode: Fan = BareWord("fan_in")  # type: ignore[assignment]

    def _fan(self, fan_in: int, fan_out: int) -> int:
        return fan_in if self.mode == "fan_in" else fan_out


class HeNormal(_He):
    """N(0, gain² · 2 / fan), for ReLU; fan is fan_in, or fan_out as `mode` says. He et al. 2015; PyTorch's
    `kaiming_normal_` for ReLU.
    """

    spec_name = "he_normal"
    also = ("kaiming_normal", "kaiming_normal_", "HeNormal")

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return normal numbers of variance 2 / fan_in."""
        return rng.standard_normal(shape) * (self.gain * math.sqrt(2.0 / self._fan(fan_in, fan_out)))


class HeUniform(_He):
    """U(-a, a) with a = gain · sqrt(6 / fan); fan is fan_in, or fan_out as `mode` says. He et al. 2015; PyTorch's
    `kaiming_uniform_` for ReLU.
    """

    spec_name = "he_uniform"
    also = ("kaiming_uniform", "kaiming_uniform_", "HeUniform")

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return uniform numbers of variance 2 / fan_in."""
        limit = self.gain * math.sqrt(6.0 / self._fan(fan_in, fan_out))
        return rng.uniform(-limit, limit, shape)


class LeCunNormal(_Gained):
    """N(0, gain² / fan_in), for SELU and for units without an activation. LeCun et al. 1998; Klambauer et al. 2017.

    PyTorch's `kaiming_normal_` for tanh has `gain=5/3`.
    """

    spec_name = "lecun_normal"
    also = ("LecunNormal", "lecun_normal_")

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return normal numbers of variance 1 / fan_in."""
        return rng.standard_normal(shape) * (self.gain * math.sqrt(1.0 / fan_in))


class LeCunUniform(_Gained):
    """U(-a, a) with a = gain · sqrt(3 / fan_in). Keras's `lecun_uniform`; `pytorch` has a = sqrt(1 / fan_in)."""

    spec_name = "lecun_uniform"
    also = ("LecunUniform", "lecun_uniform_")

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return uniform numbers of variance 1 / fan_in."""
        limit = self.gain * math.sqrt(3.0 / fan_in)
        return rng.uniform(-limit, limit, shape)


class Orthogonal(Initializer):
    """A matrix Q with QᵀQ = gain²·I, or QQᵀ if it is wider than high, drawn uniformly from all of them.

    A tensor with more than two axes is treated as a matrix of its first axis by all others: the kernels of a
    convolution are orthogonal to each other. It is Q of the QR decomposition of normal numbers, with R's diagonal made
    positive; its last digits depend on LAPACK. Saxe et al. 2014, Mezzadri 2007; PyTorch's `orthogonal_`; Keras's
    `Orthogonal`.
    """

    spec_name = "orthogonal"
    also = ("orthogonal_", "Orthogonal")
    _: KW_ONLY
    gain: Positive = 1.0

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return an orthogonal matrix in this shape."""
        rows, columns = shape[0], math.prod(shape[1:])
        q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        q *= np.where(np.diagonal(r) < 0, -self.gain, self.gain)
        return np.ascontiguousarray(q if rows >= columns else q.T).reshape(shape)


class Sparse(Initializer):
    """N(0, std²) for `nonzeros` inputs of each unit, chosen at random, and 0 for all others.

    With fewer inputs than that, no weight is 0. Units then differ from the start, however many inputs they have.
    Martens 2010. Caffe's `sparse` instead draws whether each weight is 0; PyTorch's `sparse_` has a fraction of zeros.
    """

    spec_name = "sparse"
    also = ("sparse_",)
    _: KW_ONLY
    nonzeros: Annotated[int, Range(low=1), Also("connections", "k")] = 15
    std: Std = 1.0

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return normal numbers, most of which are replaced by zeros. The inputs of a unit are a column of a matrix, or
        all but the first axis of a kernel.
        """
        values = rng.standard_normal(shape) * self.std
        units = values if len(shape) <= 2 else values.reshape(shape[0], -1).T
        ranks = rng.random(units.shape).argsort(axis=0).argsort(axis=0)
        units[ranks >= self.nonzeros] = 0
        return values


class PyTorch(Initializer):
    """As PyTorch's layer of the same name starts: biases too, unless they have a `bias_init` of their own.

    U(-a, a) with a = sqrt(1 / fan_in) for weights and biases of `Linear` and convolutions, fan_in being that of the
    weights; sqrt(1 / hidden) for recurrent layers; N(0, 1) for embeddings; and for attention, `xavier_uniform` of q, k
    and v as one matrix, and biases at zero.
    """

    spec_name = "pytorch"
    also = ("torch", "PyTorch", "reset_parameters")

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return uniform numbers of variance 1 / (3 fan_in)."""
        limit = math.sqrt(1.0 / fan_in)
        return rng.uniform(-limit, limit, shape)

    def biases(self) -> Initializer:
        """As the weights."""
        return self

    def of(self, starts: Mapping[str, Initializer], name: str) -> Initializer:
        """As PyTorch's layer starts this parameter."""
        return starts.get(name, self)
