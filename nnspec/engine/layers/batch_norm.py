"""Batch normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, InitVar
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import (
    Geometry,
    Layer,
    Shape,
    beside_features,
    but_features,
    check_given,
    feature_axis,
    saved,
)
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import Also, Count, Inferred, Positive, Range, kept
from nnspec.engine.work import Work, samples_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BatchNorm"]


class BatchNorm(Layer):
    """y = γ·x̂ + β with x̂ = (x − mean) / √(var + ε), for each feature or channel over all other axes:

    `(B, F)` over the batch, `(B, T, F)` over batch and positions, `(B, C, H, W)` over batch, rows and columns.

    In training, mean and variance (divided by n) are those of the batch, with n numbers per channel, and the running
    statistics are updated: r ← (1 − momentum)·r + momentum·batch, with the variance divided by n − 1; in evaluation,
    the running statistics are used. A batch with a single number per channel has no variance: it is normalised by the
    running statistics too, which are not updated. (PyTorch raises ValueError; in Keras x̂ is 0.)

    dL/dx = γ / √(var + ε) · (g − Σg/n − x̂·Σ(g·x̂)/n), reduced to the first term if running statistics are used; dL/dγ
    = Σ g·x̂, dL/dβ = Σ g. `momentum` and running variance follow PyTorch's definition; in Keras `momentum` is 1 minus
    this one, and the running variance is divided by n. Ioffe & Szegedy 2015.
    """

    spec_name = "BatchNorm"
    family = "norm"
    kinds = MappingProxyType({"weight": "scale", "bias": "shift"})
    subtracts_mean = True
    batch_last = "keeps"
    image_as = "any"
    also = ("BatchNorm1d", "BatchNorm2d", "BatchNormalization", "batch_norm", "BatchNorm1D", "BatchNorm2D")

    num_features: Inferred[Annotated[Count, Also("channels", "features")]]
    _: KW_ONLY
    eps: Annotated[Positive, Also("epsilon")] = 1e-5
    momentum: Annotated[float, Range(low=0, high=1)] = 0.1
    affine: Annotated[bool, Also("elementwise_affine", "scale")] = True
    dtype: InitVar[str] = "float64"
    _normalised: NDArray[Any] | None = kept()

    def __post_init__(self, dtype: str) -> None:
        num_features = self.num_features
        self.weight = Parameter(np.ones(num_features), dtype, decays=False) if self.affine else None
        self.bias = Parameter(np.zeros(num_features), dtype, decays=False) if self.affine else None
        self._state = {"running_mean": np.zeros(num_features, dtype), "running_var": np.ones(num_features, dtype)}
        # One number per channel each, used as work arrays by every pass.
        self._inverse, self._sums, self._products = (np.empty(num_features, dtype) for _ in range(3))
        self._by_batch = False

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Any shape, unchanged; 8 FLOPs per number."""
        channels = incoming[feature_axis(incoming)]
        check_given(cls, arguments, "num_features", channels, "channel" if len(incoming) > 2 else "feature")
        return Geometry(
            out=incoming,
            flops=8 * prod(incoming),
            parameters=dict.fromkeys(("weight", "bias"), (channels,)) if arguments.get("affine", True) else {},
            inferred={"num_features": channels},
            work={"normalised": Work(incoming, saved=True), "term": Work(incoming)},
            state={"running_mean": (channels,), "running_var": (channels,)},
        )

    @classmethod
    def looks_ahead(cls, incoming: Shape, arguments: Mapping[str, Any]) -> bool:
        """In training, mean and variance are taken over all positions."""
        return True

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """γ·(x − mean) / √(var + ε) + β."""
        axes, beside = but_features(x), beside_features(x.shape[1:])
        normalised, term = self._in_order_of(x, "normalised"), self._in_order_of(x, "term")
        mean, var = self._state["running_mean"], self._state["running_var"]
        count = x.size // len(self._inverse)
        self._by_batch = self.training and count > 1
        if self._by_batch:
            mean = np.add.reduce(x, axis=axes, out=self._sums)
            np.multiply(mean, 1 / count, out=mean)
            np.subtract(x, mean.reshape(beside), out=normalised)
            np.multiply(normalised, normalised, out=term)
            var = np.add.reduce(term, axis=axes, out=self._products)
            np.multiply(var, 1 / count, out=var)
            if not self.hold_noise:
                self._follow(mean, var, count)
        else:
            np.subtract(x, mean.reshape(beside), out=normalised)
        np.add(var, self.eps, out=self._inverse)
        np.sqrt(self._inverse, out=self._inverse)
        np.divide(1, self._inverse, out=self._inverse)
        self._normalised = np.multiply(normalised, self._inverse.reshape(beside), out=normalised)
        if self.weight is None or self.bias is None:
            return np.positive(normalised, out=out)
        y = np.multiply(normalised, self.weight.data.reshape(beside), out=out)
        return np.add(y, self.bias.data.reshape(beside), out=y)

    def _follow(self, mean: NDArray[Any], var: NDArray[Any], count: int) -> None:
        """Update the running mean and variance with those of a batch."""
        momentum = self.momentum if self.statistics_share is None else self.statistics_share
        for running, now, factor in (
            (self._state["running_mean"], mean, 1.0),
            (self._state["running_var"], var, count / (count - 1)),
        ):
            np.multiply(running, 1 - momentum, out=running)
            share = np.multiply(now, momentum * factor, out=self._inverse)
            np.add(running, share, out=running)

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """γ / √(var + ε) · (g − Σg/n − x̂·Σ(g·x̂)/n), writing dL/dγ and dL/dβ."""
        normalised = saved(self._normalised, self)
        axes, beside, count = but_features(grad), beside_features(grad.shape[1:]), grad.size // len(self._inverse)
        term = np.multiply(grad, normalised, out=self._in_order_of(grad, "term"))
        products = np.add.reduce(term, axis=axes, out=self._products)
        sums = np.add.reduce(grad, axis=axes, out=self._sums)
        if self.weight is not None and self.bias is not None:
            np.copyto(self.weight.grad, products)
            np.copyto(self.bias.grad, sums)
        if not input_grad:
            return None
        factor = self._inverse
        if self._by_batch:
            np.multiply(sums, 1 / count, out=sums)
            np.multiply(products, 1 / count, out=products)
            np.multiply(normalised, products.reshape(beside), out=term)
            np.add(term, sums.reshape(beside), out=term)
            passed = np.subtract(grad, term, out=out)
        else:
            passed = np.positive(grad, out=out)
        if self.weight is not None:
            factor = np.multiply(factor, self.weight.data, out=sums)
        return np.multiply(passed, factor.reshape(beside), out=passed)

    def _in_order_of(self, x: NDArray[Any], name: str) -> NDArray[Any]:
        """Return a work array with the same memory order as x, so that both are traversed in one run."""
        return samples_in(self.work_array(name, x.shape, x.dtype), x.shape, batch_last=not x.flags.c_contiguous)
