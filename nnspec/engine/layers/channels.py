"""Layers that work on groups of features or channels: normalisation of each group, gates, scales, unit length.

Kernels see a sample as (P, C, Q): C features or channels, with P positions of a sequence before them in memory, or Q
pixels of an image after them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, InitVar
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import (
    Geometry,
    Layer,
    Shape,
    ShapeError,
    beside_features,
    but_features,
    check_given,
    feature_axis,
    sample_in_words,
    saved,
)
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import Also, Count, Inferred, Positive, argument, kept
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GLU", "GroupNorm", "InstanceNorm", "Scale", "UnitNorm"]

Channels = Inferred[Annotated[Count, Also("channels", "features", "num_features", "dim")]]
Epsilon = Annotated[Positive, Also("epsilon")]


class _GroupNorm(Layer):
    """Base of the norms over groups of channels: each group of a sample is normalised independently, with mean m and
    biased variance v over its channels and all positions.

    x̂ = (x − m) / √(v + ε), y = x̂ ∘ w + b with w and b per channel. With ĝ = g ∘ w and means ⟨·⟩ over the group

        dL/dx = (ĝ − ⟨ĝ⟩ − x̂ ⟨ĝ ∘ x̂⟩) / √(v + ε),    dL/dw = Σ g ∘ x̂,    dL/db = Σ g
    """

    family = "norm"
    samples_independent = True
    kinds = MappingProxyType({"weight": "scale", "bias": "shift"})
    in_place = True
    image_as = "image"

    num_channels = 1
    eps = 1e-5
    _: KW_ONLY
    affine: Annotated[bool, Also("elementwise_affine", "scale", "center")] = True
    dtype: InitVar[str] = "float64"
    weight: Parameter | None = kept()
    bias: Parameter | None = kept()
    _kept: tuple[NDArray[Any], NDArray[Any]] | None = kept()

    def __post_init__(self, dtype: str) -> None:
        self._groups = self._count(self.num_channels, self.arguments())
        if self.affine:
            self.weight = Parameter(np.ones(self.num_channels), dtype, decays=False)
            self.bias = Parameter(np.zeros(self.num_channels), dtype, decays=False)

    @classmethod
    def _count(cls, channels: int, arguments: Mapping[str, Any]) -> int:
        """Return the number of groups."""
        raise NotImplementedError

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Any shape, unchanged."""
        channels = incoming[feature_axis(incoming)]
        check_given(cls, arguments, "num_channels", channels, "channel")
        groups = cls._count(channels, arguments)
        if channels % groups:
            fits = next(n for n in range(min(groups, channels), 0, -1) if channels % n == 0)
            raise ShapeError(
                f"{groups} groups do not divide {channels} channels",
                argument="num_groups",
                label="does not divide the channels",
                help=f"`{cls.spec_name}({fits})` does",
            )
        if prod(incoming) == groups:
            raise ShapeError(
                f"{cls.spec_name} would normalise single numbers, which makes them all 0",
                help="remove it, or use fewer groups" if len(incoming) == 1 else "use it on larger samples",
            )
        learned: dict[str, Shape] = {"weight": (channels,), "bias": (channels,)} if arguments["affine"] else {}
        return Geometry(
            out=incoming,
            flops=(5 + len(learned)) * prod(incoming) + 6 * groups,
            parameters=learned,
            inferred={"num_channels": channels},
            work={
                "normal": Work(incoming, saved=True),
                "inverse": Work((groups,), saved=True),
                "means": Work((groups,)),
                "product": Work(incoming),
            },
        )

    @classmethod
    def looks_ahead(cls, incoming: Shape, arguments: Mapping[str, Any]) -> bool:
        """It normalises over all positions of a sequence."""
        return len(incoming) == 2

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Normalise each group, keeping x̂ and 1/√(v + ε)."""
        normal = self.work_array("normal", x.shape, x.dtype)
        inverse = self.work_array("inverse", (len(x), self._groups), x.dtype)
        means = self.work_array("means", inverse.shape, x.dtype)
        groups, product = self._grouped(normal), self.work_array("product", x.shape, x.dtype)
        self._mean(x, means)
        np.subtract(self._grouped(x), self._spread(means), out=groups)
        self._mean(np.multiply(normal, normal, out=product), inverse)
        np.add(inverse, self.eps, out=inverse)
        np.sqrt(inverse, out=inverse)
        np.divide(1, inverse, out=inverse)
        np.multiply(groups, self._spread(inverse), out=groups)
        self._kept = normal, inverse
        y = np.empty(x.shape, x.dtype) if out is None else out
        if self.weight is None or self.bias is None:
            np.copyto(y, normal)
            return y
        beside = beside_features(x.shape[1:])
        np.multiply(normal, self.weight.data.reshape(beside), out=y)
        return np.add(y, self.bias.data.reshape(beside), out=y)

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """dL/dx of each group, writing dL/dw and dL/db."""
        normal, inverse = saved(self._kept, self)
        product = self.work_array("product", grad.shape, grad.dtype)
        if self.weight is not None and self.bias is not None:
            np.multiply(grad, normal, out=product)
            np.add.reduce(product, axis=but_features(grad), out=self.weight.grad)
            np.add.reduce(grad, axis=but_features(grad), out=self.bias.grad)
        if not input_grad:
            return None
        dx = np.empty(grad.shape, grad.dtype) if out is None else out
        if self.weight is not None:
            np.multiply(grad, self.weight.data.reshape(beside_features(grad.shape[1:])), out=dx)
        elif dx is not grad:
            np.copyto(dx, grad)
        means, groups = self.work_array("means", inverse.shape, grad.dtype), self._grouped(product)
        self._mean(np.multiply(dx, normal, out=product), means)
        np.multiply(self._grouped(normal), self._spread(means), out=groups)
        self._mean(dx, means)
        np.add(groups, self._spread(means), out=groups)
        np.subtract(dx, product, out=dx)
        np.multiply(self._grouped(dx), self._spread(inverse), out=self._grouped(dx))
        return dx

    def _grouped(self, x: NDArray[Any]) -> NDArray[Any]:
        """View samples as `(B, P, groups, C/groups, Q)`."""
        shape = x.shape[1:]
        axis = feature_axis(shape)
        groups = self._groups
        split = (prod(shape[:axis]), groups, shape[axis] // groups, prod(shape[axis + 1 :]))
        return x.reshape(len(x), *split)

    def _spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """View `(B, groups)` so that it broadcasts against groups."""
        return values[:, None, :, None, None]

    def _mean(self, x: NDArray[Any], means: NDArray[Any]) -> None:
        """Write the mean of each group."""
        np.add.reduce(self._grouped(x), axis=(1, 3, 4), out=means)
        np.multiply(means, self._groups / prod(x.shape[1:]), out=means)


class GroupNorm(_GroupNorm):
    """y = (x − m) / √(v + ε) ∘ w + b, m and v the mean and the biased variance of each group of channels of a sample:
    `(B, C, H, W)`, `(B, T, F)` or `(B, F)`, unchanged.

    Channels are divided into `num_groups` consecutive groups; those of a sequence are its features. w starts at one, b
    at zero, one for each channel; weight decay applies to neither. It does not depend on the batch, so it suits small
    ones. Wu & He 2018. As in PyTorch, for sequences of `(B, F, T)`; Keras has ε = 10⁻³ and 32 groups.
    """

    spec_name = "GroupNorm"
    also = ("GroupNormalization", "group_norm")

    num_groups: Annotated[Count, Also("groups", "g")]
    num_channels: Channels
    eps: Epsilon = 1e-5
    examples: ClassVar[Any] = ({"num_groups": 2}, {"num_groups": 1})

    @classmethod
    def _count(cls, channels: int, arguments: Mapping[str, Any]) -> int:
        return int(arguments["num_groups"])


class InstanceNorm(_GroupNorm):
    """y = (x − m) / √(v + ε), m and v the mean and the biased variance of each channel of a sample over its positions:
    `(B, C, H, W)` or `(B, T, F)`, unchanged.

    With `affine`, a scale and a shift for each channel follow. It is `GroupNorm` with a group for each channel. Ulyanov
    et al. 2016. As PyTorch's `InstanceNorm2d`, or `InstanceNorm1d` for `(B, F, T)`.
    """

    spec_name = "InstanceNorm"
    also = ("InstanceNorm2d", "InstanceNorm1d", "InstanceNormalization", "instance_norm")

    num_channels: Channels
    eps: Epsilon = 1e-5
    _: KW_ONLY
    affine: Annotated[bool, Also("elementwise_affine", "scale", "center")] = False

    @classmethod
    def _count(cls, channels: int, arguments: Mapping[str, Any]) -> int:
        return channels


class UnitNorm(Layer):
    """y = x / max(‖x‖, ε), the norm along the features, or along the channels of each pixel: any shape, unchanged.

    dL/dx = (g − y ⟨g, y⟩) / ‖x‖. As PyTorch's `F.normalize`, and Keras's `UnitNormalization`.
    """

    spec_name = "UnitNorm"
    also = ("UnitNormalization", "normalize", "L2Normalize", "L2Norm", "L2Normalization")
    family = "norm"
    with_padding = "keeps"
    samples_independent = True
    backward_reads = frozenset({"output"})
    in_place = True
    image_as = "any"

    eps: Epsilon = 1e-12
    _y: NDArray[Any] | None = kept()
    _inverse: NDArray[Any] | None = kept()

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Any shape, unchanged."""
        row = _one_feature(incoming)
        work = {"inverse": Work(row, saved=True), "sums": Work(row), "short": Work(row, "bool")}
        flops = 3 * prod(incoming) + 3 * prod(row)
        return Geometry(out=incoming, flops=flops, work={**work, "product": Work(incoming)})

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """x / max(‖x‖, ε)."""
        product = np.multiply(x, x, out=self.work_array("product", x.shape, x.dtype))
        inverse = self.work_array("inverse", (len(x), *_one_feature(x.shape[1:])), x.dtype)
        np.add.reduce(product, axis=1 + feature_axis(x.shape[1:]), keepdims=True, out=inverse)
        np.sqrt(inverse, out=inverse)
        np.maximum(inverse, self.eps, out=inverse)
        np.divide(1, inverse, out=inverse)
        self._inverse = inverse
        self._y = np.multiply(x, inverse, out=out)
        return self._y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """(g − y ⟨g, y⟩) / ‖x‖, without the second term where the norm is less than ε."""
        y, inverse = saved(self._y, self), saved(self._inverse, self)
        product = np.multiply(grad, y, out=self.work_array("product", y.shape, y.dtype))
        sums = self.work_array("sums", inverse.shape, y.dtype)
        np.add.reduce(product, axis=1 + feature_axis(y.shape[1:]), keepdims=True, out=sums)
        # 1/max(‖x‖, ε) is 1/ε where the norm does not depend on x.
        short = np.greater_equal(inverse, 1 / self.eps, out=self.work_array("short", inverse.shape, bool))
        np.copyto(sums, 0, where=short)
        np.multiply(y, sums, out=product)
        dx = np.subtract(grad, product, out=out)
        return np.multiply(dx, inverse, out=dx)


def _one_feature(shape: Shape) -> Shape:
    axis = feature_axis(shape)
    return (*shape[:axis], 1, *shape[axis + 1 :])


class Scale(Layer):
    """y = x ∘ w, or x ∘ w + b with `bias`; w and b have one number for each feature or channel: any shape, unchanged.

    w starts at `init`, b at zero; weight decay applies to neither. dL/dx = g ∘ w, dL/dw = Σ g ∘ x, dL/db = Σ g. After
    the last layer of a residual body, with a small `init`, it is the layer scale of Touvron et al. 2021.
    """

    spec_name = "Scale"
    also = ("LayerScale", "ScaleLayer", "Affine")
    with_padding = "keeps"
    samples_independent = True
    kinds = MappingProxyType({"weight": "scale", "bias": "shift"})
    backward_reads = frozenset({"input"})
    image_as = "any"

    init: Annotated[float, Also("init_values", "value", "gamma")] = 1.0
    _: KW_ONLY
    num_features: Inferred[Annotated[Count, Also("channels", "features", "dim")]]
    use_bias: Annotated[bool, Also("use_bias", "center")] = argument(alias="bias", default=False)
    dtype: InitVar[str] = "float64"
    bias: Parameter | None = kept()
    _x: NDArray[Any] | None = kept()

    def __post_init__(self, dtype: str) -> None:
        self.weight = Parameter(np.full(self.num_features, float(self.init)), dtype, decays=False)
        if self.use_bias:
            self.bias = Parameter(np.zeros(self.num_features), dtype, decays=False)

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Any shape, unchanged."""
        features = incoming[feature_axis(incoming)]
        check_given(cls, arguments, "num_features", features)
        bias = arguments["bias"]
        return Geometry(
            out=incoming,
            flops=(1 + bias) * prod(incoming),
            parameters={"weight": (features,)} | ({"bias": (features,)} if bias else {}),
            inferred={"num_features": features},
            work={"product": Work(incoming)},
        )

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """x ∘ w + b."""
        self._x, beside = x, beside_features(x.shape[1:])
        y = np.multiply(x, self.weight.data.reshape(beside), out=out)
        return y if self.bias is None else np.add(y, self.bias.data.reshape(beside), out=y)

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """g ∘ w, writing dL/dw and dL/db."""
        product = np.multiply(grad, saved(self._x, self), out=self.work_array("product", grad.shape, grad.dtype))
        np.add.reduce(product, axis=but_features(grad), out=self.weight.grad)
        if self.bias is not None:
            np.add.reduce(grad, axis=but_features(grad), out=self.bias.grad)
        return np.multiply(grad, self.weight.data.reshape(beside_features(grad.shape[1:])), out=out)


class GLU(Layer):
    """y = a ∘ σ(b), a and b the two halves of the features or channels: `(B, 2F) -> (B, F)`, `(B, T, 2F) -> (B, T, F)`,
    `(B, 2C, H, W) -> (B, C, H, W)`.

    dL/da = g ∘ σ(b), dL/db = g ∘ a ∘ σ(b) ∘ (1 − σ(b)). As in PyTorch. Dauphin et al. 2017.
    """

    spec_name = "GLU"
    also = ("glu", "GatedLinearUnit")
    with_padding = "keeps"
    samples_independent = True
    backward_reads = frozenset({"input"})
    image_as = "any"
    example_shapes = ((6,), (2, 4), (2, 2, 3))

    _x: NDArray[Any] | None = kept()
    _gate: NDArray[Any] | None = kept()

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Half as many features or channels."""
        axis = feature_axis(incoming)
        if incoming[axis] % 2:
            raise ShapeError(
                f"GLU halves the features, but got {sample_in_words(incoming)}",
                help=f"put `Linear({incoming[axis] + 1})` before it" if len(incoming) < 3 else "use an even number",
            )
        out = (*incoming[:axis], incoming[axis] // 2, *incoming[axis + 1 :])
        return Geometry(out=out, flops=5 * prod(out), work={"gate": Work(out, saved=True)})

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """a ∘ σ(b)."""
        self._x = x
        a, b = _halves(x)
        gate = np.multiply(b, 0.5, out=self.work_array("gate", a.shape, x.dtype))
        np.tanh(gate, out=gate)
        np.multiply(gate, 0.5, out=gate)
        self._gate = np.add(gate, 0.5, out=gate)
        return np.multiply(a, gate, out=out)

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Write the gradients of both halves."""
        x, gate = saved(self._x, self), saved(self._gate, self)
        dx = np.empty(x.shape, grad.dtype) if out is None else out
        (a, _), (da, db) = _halves(x), _halves(dx)
        np.multiply(grad, gate, out=da)
        np.subtract(1, gate, out=db)
        np.multiply(db, da, out=db)
        np.multiply(db, a, out=db)
        return dx


def _halves(x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    axis = 1 + feature_axis(x.shape[1:])
    half = x.shape[axis] // 2
    before = (slice(None),) * axis
    return x[(*before, slice(None, half))], x[(*before, slice(half, None))]
