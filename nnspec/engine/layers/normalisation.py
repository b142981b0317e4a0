"""Normalisation over the numbers of one sample: zero mean, unit variance, then a learned scale and shift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, InitVar
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Geometry, Layer, Shape, ShapeError, sample_in_words, saved, shape_in_words
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import Also, Count, Inferred, Positive, argument, kept
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LayerNorm", "RMSNorm"]

Normalized = Inferred[Annotated[Count | tuple[Count, ...], Also("shape", "features", "dim", "normalized_dim", "axis")]]
Epsilon = Annotated[Positive, Also("epsilon", "variance_epsilon")]
Affine = Annotated[bool, Also("affine", "scale")]


class _RowNorm(Layer):
    """Base of the norms over the last axes of a sample: each row of n numbers is normalised independently.

    x̂ = (x − m) / √(v + ε), y = x̂ ∘ w + b. With ĝ = g ∘ w and means ⟨·⟩ over the row

        dL/dx = (ĝ − ⟨ĝ⟩ − x̂ ⟨ĝ ∘ x̂⟩) / √(v + ε),    dL/dw = Σ g ∘ x̂,    dL/db = Σ g

    without m and ⟨ĝ⟩ if no mean is subtracted. Sums over rows are products with ones.
    """

    family = "norm"
    with_padding = "keeps"
    samples_independent = True
    kinds = MappingProxyType({"weight": "scale", "bias": "shift"})
    in_place = True
    image_as = "any"
    centred: ClassVar[bool]

    normalized_shape: Normalized
    eps: Epsilon = 1e-5
    _: KW_ONLY
    dtype: InitVar[str] = "float64"
    weight: Parameter | None = kept()
    bias: Parameter | None = kept()
    _kept: tuple[NDArray[Any], NDArray[Any]] | None = kept()

    def __post_init__(self, dtype: str) -> None:
        self.normalized_shape = self._row = _extents(self.normalized_shape)
        learned = self._learned(self.arguments())
        if "weight" in learned:
            self.weight = Parameter(np.ones(self._row), dtype, decays=False)
        if "bias" in learned:
            self.bias = Parameter(np.zeros(self._row), dtype, decays=False)

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Any shape, unchanged; the last axes are `normalized_shape`, by default the features. The last axis of an
        image is its columns, so there the axes must be set.
        """
        given = arguments.get("normalized_shape")
        shape = incoming[-1:] if given is None else _extents(given)
        if len(incoming) > 2 and len(shape) < 2:
            raise ShapeError(
                f"{cls.spec_name} expects features but got {sample_in_words(incoming)}",
                argument="normalized_shape",
                label="one axis of an image",
                help=f"`{cls.spec_name}([{', '.join(map(str, incoming))}])` takes the whole image, and `BatchNorm` "
                "each channel",
            )
        if not shape or incoming[-len(shape) :] != shape:
            expected = shape_in_words(shape) or "nothing"
            raise ShapeError(
                f"this {cls.spec_name} expects {expected} but got {sample_in_words(incoming)}",
                argument="normalized_shape",
                label="does not match the input",
                help=f"`{cls.spec_name}` accepts any number of features"
                if len(incoming) < 3
                else f"`{cls.spec_name}([{', '.join(map(str, incoming))}])` takes the whole image",
            )
        places = prod(incoming) // prod(shape)
        learned = cls._learned(arguments)
        return Geometry(
            out=incoming,
            flops=(4 + 2 * cls.centred + len(learned)) * prod(incoming),
            parameters=dict.fromkeys(learned, shape),
            inferred={"normalized_shape": shape[0]} if given is None else {},
            work={
                "normal": Work(incoming, saved=True),
                "inverse": Work((places,), saved=True),
                "means": Work((places,)),
                "product": Work(incoming),
            }
            | ({"ones": Work((places,))} if learned else {}),
        )

    @classmethod
    def looks_ahead(cls, incoming: Shape, arguments: Mapping[str, Any]) -> bool:
        """If it normalises over whole sequences."""
        given = arguments.get("normalized_shape")
        return given is not None and len(_extents(given)) > 1

    @classmethod
    def _learned(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the parameters."""
        raise NotImplementedError

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Normalise each row, keeping x̂ and 1/√(v + ε)."""
        n = prod(self._row)
        rows = x.reshape(-1, n)
        normal = self.work_array("normal", x.shape, x.dtype).reshape(-1, n)
        places = (len(x), len(rows) // len(x))
        inverse = self.work_array("inverse", places, x.dtype).reshape(-1)
        if self.centred:
            means = self.work_array("means", places, x.dtype).reshape(-1)
            np.add.reduce(rows, axis=1, out=means)
            np.divide(means, n, out=means)
            rows = np.subtract(rows, means[:, None], out=normal)
        np.vecdot(rows, rows, out=inverse)
        np.divide(inverse, n, out=inverse)
        np.add(inverse, self.eps, out=inverse)
        np.sqrt(inverse, out=inverse)
        np.divide(1, inverse, out=inverse)
        np.multiply(rows, inverse[:, None], out=normal)
        self._kept = normal, inverse
        y = np.empty(x.shape, x.dtype) if out is None else out
        result = y.reshape(-1, n)
        if self.weight is None:
            np.copyto(result, normal)
        else:
            np.multiply(normal, self.weight.data.reshape(-1), out=result)
        if self.bias is not None:
            np.add(result, self.bias.data.reshape(-1), out=result)
        return y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """dL/dx of each row, writing dL/dw and dL/db."""
        normal, inverse = saved(self._kept, self)
        n = normal.shape[1]
        g, places = grad.reshape(-1, n), (len(grad), len(normal) // len(grad))
        product = self.work_array("product", grad.shape, grad.dtype).reshape(-1, n)
        np.multiply(g, normal, out=product)
        if self.weight is not None:
            ones = self.work_array("ones", places, grad.dtype).reshape(-1)
            ones.fill(1)
            np.matmul(ones, product, out=self.weight.grad.reshape(-1))
            if self.bias is not None:
                np.matmul(ones, g, out=self.bias.grad.reshape(-1))
        if not input_grad:
            return None
        passed = np.empty(grad.shape, grad.dtype) if out is None else out
        means = self.work_array("means", places, grad.dtype).reshape(-1)
        self._mean_with_weight(product, means)
        np.multiply(normal, means[:, None], out=product)
        if self.centred:
            self._mean_with_weight(g, means)
        dx = passed.reshape(-1, n)
        if self.weight is not None:
            g = np.multiply(g, self.weight.data.reshape(-1), out=dx)
        np.subtract(g, product, out=dx)
        if self.centred:
            np.subtract(dx, means[:, None], out=dx)
        np.multiply(dx, inverse[:, None], out=dx)
        return passed

    def _mean_with_weight(self, rows: NDArray[Any], means: NDArray[Any]) -> None:
        """Write ⟨r ∘ w⟩ of each row r."""
        if self.weight is None:
            np.add.reduce(rows, axis=1, out=means)
        else:
            np.matmul(rows, self.weight.data.reshape(-1), out=means)
        np.divide(means, rows.shape[1], out=means)


def _extents(shape: int | Sequence[int]) -> Shape:
    return tuple(int(n) for n in shape) if isinstance(shape, Sequence) else (int(shape),)


class LayerNorm(_RowNorm):
    """y = (x − m) / √(v + ε) ∘ w + b, m and v the mean and the biased variance of each row: `(B, *s) -> (B, *s)`.

    A row is the last axis, or the last axes given by `normalized_shape`. w starts at one, b at zero, both with the
    shape of a row; weight decay applies to neither. Ba, Kiros & Hinton 2016. As in PyTorch; Keras has ε = 10⁻³.
    """

    spec_name = "LayerNorm"
    also = ("LayerNormalization", "layer_norm", "layernorm")
    centred = True

    _: KW_ONLY
    elementwise_affine: Affine = True
    use_bias: Annotated[bool, Also("use_bias", "center")] = argument(alias="bias", default=True)

    @classmethod
    def _learned(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        if not arguments["elementwise_affine"]:
            return ()
        return ("weight", "bias") if arguments["bias"] else ("weight",)


class RMSNorm(_RowNorm):
    """y = x / √(⟨x²⟩ + ε) ∘ w, ⟨·⟩ the mean over each row: `(B, *s) -> (B, *s)`. No mean is subtracted, no bias added.

    A row is the last axis, or the last axes given by `normalized_shape`. w starts at one; weight decay does not apply
    to it. Zhang & Sennrich 2019. PyTorch's default ε is the machine epsilon of the dtype.
    """

    spec_name = "RMSNorm"
    also = ("RMSNormalization", "rms_norm", "rmsnorm")
    centred = False

    _: KW_ONLY
    elementwise_affine: Affine = True

    @classmethod
    def _learned(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        return ("weight",) if arguments["elementwise_affine"] else ()
