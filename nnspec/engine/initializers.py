"""How weights start. Ordered by how hard they are to understand.

fan_in and fan_out are the numbers of inputs and outputs that one weight connects; every draw is made in float64 and
rounded to the parameter's dtype afterwards, so that float32 and float64 networks start from the same numbers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.part import Part

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["HeNormal", "HeUniform", "Initializer", "XavierNormal", "XavierUniform", "Zeros"]


class Initializer(Part):
    """Base of the initialisers."""

    kind: ClassVar[str] = "initializer"
    for_relu: ClassVar[bool] = False
    """Whether its variance makes up for the half of the values that a ReLU cuts off."""

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return float64 numbers of `shape`."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.spec_name


class Zeros(Initializer):
    """All zero: right for biases; for weights it keeps every unit of a layer equal for ever."""

    spec_name = "zeros"

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return zeros."""
        return np.zeros(shape)


class XavierNormal(Initializer):
    """N(0, 2 / (fan_in + fan_out)), for tanh and sigmoid. Glorot & Bengio 2010; Keras's `glorot_normal` truncates."""

    spec_name = "xavier_normal"
    also = ("glorot_normal",)

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return normal numbers of variance 2 / (fan_in + fan_out)."""
        return rng.standard_normal(shape) * math.sqrt(2.0 / (fan_in + fan_out))


class XavierUniform(Initializer):
    """U(-a, a) with a = sqrt(6 / (fan_in + fan_out)). Glorot & Bengio 2010; Keras's `glorot_uniform`."""

    spec_name = "xavier_uniform"
    also = ("glorot_uniform",)

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return uniform numbers of variance 2 / (fan_in + fan_out)."""
        limit = math.sqrt(6.0 / (fan_in + fan_out))
        return rng.uniform(-limit, limit, shape)


class HeNormal(Initializer):
    """N(0, 2 / fan_in), for ReLU. He et al. 2015; PyTorch's `kaiming_normal_`; Keras's `he_normal` truncates."""

    spec_name = "he_normal"
    for_relu = True
    also = ("kaiming_normal",)

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return normal numbers of variance 2 / fan_in."""
        return rng.standard_normal(shape) * math.sqrt(2.0 / fan_in)


class HeUniform(Initializer):
    """U(-a, a) with a = sqrt(6 / fan_in). He et al. 2015; PyTorch's `kaiming_uniform_` for ReLU."""

    spec_name = "he_uniform"
    for_relu = True
    also = ("kaiming_uniform",)

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: Generator) -> NDArray[Any]:
        """Return uniform numbers of variance 2 / fan_in."""
        limit = math.sqrt(6.0 / fan_in)
        return rng.uniform(-limit, limit, shape)
