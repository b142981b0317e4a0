"""Softmax and its logarithm."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Geometry, Layer, Shape, feature_axis, saved
from nnspec.engine.part import kept
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LogSoftmax", "Softmax"]


class _Shares(Layer):
    """Base of the two. Both run along the features of a sample, or along the channels of an image."""

    backward_reads = frozenset({"output"})
    in_place = True
    family = "activation"
    with_padding = "keeps"
    samples_independent = True
    squashes_with = "softmax"
    image_as = "any"
    suits = ("xavier_normal", "xavier_uniform")

    _y: NDArray[Any] | None = kept()

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Any shape, unchanged."""
        return Geometry(
            out=incoming,
            flops=5 * prod(incoming),
            work={"row": Work(_without_features(incoming)), "term": Work(incoming)},
        )

    def _row(self, x: NDArray[Any]) -> NDArray[Any]:
        return self.work_array("row", (len(x), *_without_features(x.shape[1:])), x.dtype)

    def _term(self, x: NDArray[Any]) -> NDArray[Any]:
        return self.work_array("term", x.shape, x.dtype)


class Softmax(_Shares):
    """yᵢ = e^xᵢ / Σⱼ e^xⱼ along the features or channels; dL/dxᵢ = yᵢ·(gᵢ − Σⱼ gⱼ·yⱼ).

    The maximum of x is subtracted first, so that nothing overflows. `CrossEntropy` includes a softmax and expects
    logits instead. As PyTorch's `Softmax(dim=-1)`, or `Softmax(dim=1)` for images.
    """

    spec_name = "Softmax"
    also = ("softmax", "SoftMax")

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """e^xᵢ / Σⱼ e^xⱼ."""
        row = np.maximum.reduce(x, axis=_axis(x), keepdims=True, out=self._row(x))
        y = np.subtract(x, row, out=out)
        np.exp(y, out=y)
        np.add.reduce(y, axis=_axis(y), keepdims=True, out=row)
        self._y = np.divide(y, row, out=y)
        return self._y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """yᵢ·(gᵢ − Σⱼ gⱼ·yⱼ)."""
        y = saved(self._y, self)
        row = np.add.reduce(np.multiply(grad, y, out=self._term(y)), axis=_axis(y), keepdims=True, out=self._row(y))
        passed = np.subtract(grad, row, out=out)
        return np.multiply(passed, y, out=passed)


class LogSoftmax(_Shares):
    """yᵢ = xᵢ − log Σⱼ e^xⱼ along the features or channels; dL/dxᵢ = gᵢ − e^yᵢ·Σⱼ gⱼ.

    The maximum of x is subtracted first, so that nothing overflows. Use it with `NLL`. As PyTorch's
    `LogSoftmax(dim=-1)`, or `LogSoftmax(dim=1)` for images.
    """

    spec_name = "LogSoftmax"
    gives_logs = True
    also = ("log_softmax", "logsoftmax")

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """xᵢ − log Σⱼ e^xⱼ."""
        row = np.maximum.reduce(x, axis=_axis(x), keepdims=True, out=self._row(x))
        y = np.subtract(x, row, out=out)
        np.add.reduce(np.exp(y, out=self._term(x)), axis=_axis(x), keepdims=True, out=row)
        np.log(row, out=row)
        self._y = np.subtract(y, row, out=y)
        return self._y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """gᵢ − e^yᵢ·Σⱼ gⱼ."""
        y = saved(self._y, self)
        shares = np.exp(y, out=self._term(y))
        row = np.add.reduce(grad, axis=_axis(grad), keepdims=True, out=self._row(y))
        np.multiply(shares, row, out=shares)
        return np.subtract(grad, shares, out=out)


def _axis(x: NDArray[Any]) -> int:
    return 1 + feature_axis(x.shape[1:])


def _without_features(shape: Shape) -> Shape:
    return tuple(1 if axis == feature_axis(shape) else extent for axis, extent in enumerate(shape))
