"""Compositions that multiply and compare: products, differences, dot products and distances of branches.

A branch of one number per feature or channel, or of a single number, is repeated over the positions or pixels of the
others: `(C,)` and `(1,)` beside `(C, H, W)`, `(T, 1)` beside `(T, F)`. Its gradient is the sum over them.

Each is a composition, which runs the branches, and a kernel, which joins their outputs and, unlike a sum, reads them
again in the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, final

from nnspec.engine._numpy import np
from nnspec.engine.layers.composition import Composition, Layers
from nnspec.engine.layers.contract import (
    Layer,
    Shape,
    ShapeError,
    feature_axis,
    layers_towards,
    saved,
    shape_in_words,
)
from nnspec.engine.part import Also, Signature
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EPS_COSINE", "EPS_DISTANCE", "Distance", "Dot", "Multiply", "Subtract", "aligned_shape"]

EPS_COSINE = 1e-8
EPS_DISTANCE = 1e-6


class _Kernel(Layer):
    """Base of the kernels: y `(B, *out)` of the outputs of the branches, x `(B, *s₁)` and others `(B, *sᵢ)`."""

    backward_reads = frozenset({"input"})
    samples_independent = True
    _read: tuple[NDArray[Any], ...] | None = None

    def _outs(
        self, grad: NDArray[Any], out: NDArray[Any] | None, outs: Sequence[NDArray[Any]], input_grad: bool
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the number of each branch whose gradient is wanted, with the array to write it into."""
        arrays = (out, *outs) if outs else (out, *[None] * (len(saved(self._read, self)) - 1))
        for number, (array, value) in enumerate(zip(arrays, saved(self._read, self), strict=True)):
            if number or input_grad:
                yield number, np.empty(value.shape, grad.dtype) if array is None else array

    def _temporary(self, like: NDArray[Any]) -> NDArray[Any]:
        return self.work_array("terms", like.shape, like.dtype)


class _Product(_Kernel):
    """y = Π xᵢ: dL/dxᵢ = g · Π xⱼ over j ≠ i, summed over what xᵢ is repeated along."""

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None, *others: NDArray[Any]) -> NDArray[Any]:
        """The product of all."""
        self._read = (x, *others)
        first, second, *more = _aligned(self._read)
        y = np.multiply(first, second, out=out)
        for value in more:
            np.multiply(y, value, out=y)
        return y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *outs: NDArray[Any], input_grad: bool = True
    ) -> Any:
        """g times the product of the others."""
        values = _aligned(saved(self._read, self))
        found: list[NDArray[Any] | None] = [None] * len(values)
        for number, array in self._outs(grad, out, outs, input_grad):
            first, *more = (value for other, value in enumerate(values) if other != number)
            whole = array.shape == grad.shape
            target = array if whole else self._temporary(grad)
            np.multiply(grad, first, out=target)
            for value in more:
                np.multiply(target, value, out=target)
            if not whole:
                _sum_into(array, target)
            found[number] = array
        return tuple(found)


class _Difference(_Kernel):
    """y = x₁ − x₂: dL/dx₁ = g and dL/dx₂ = −g, each summed over what it is repeated along."""

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None, *others: NDArray[Any]) -> NDArray[Any]:
        """The first minus the second."""
        self._read = (x, *others)
        first, second = _aligned(self._read)
        return np.subtract(first, second, out=out)

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *outs: NDArray[Any], input_grad: bool = True
    ) -> Any:
        """g, and −g."""
        found: list[NDArray[Any] | None] = [None, None]
        for number, array in self._outs(grad, out, outs, input_grad):
            if array.shape == grad.shape:
                np.copyto(array, grad)
            else:
                _sum_into(array, grad)
            if number:
                np.negative(array, out=array)
            found[number] = array
        return tuple(found)


class _Dot(_Kernel):
    """y = a·b over the features: dL/da = g b and dL/db = g a.

    Normalised, y = a·b / (α β) with α = max(‖a‖, ε), β = max(‖b‖, ε), ε = 1e-8, as in PyTorch's `cosine_similarity`:
    dL/da = g (b / (α β) − y a / α² where ‖a‖ > ε), and likewise for b.
    """

    def __init__(self, normalise: bool) -> None:
        super().__init__()
        self._normalise = normalise
        self._kept: tuple[NDArray[Any], ...] | None = None

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None, *others: NDArray[Any]) -> NDArray[Any]:
        """a·b, or the cosine of the angle between a and b."""
        (b,) = others
        self._read, axis = (x, b), _features_of(x)
        terms = self._temporary(x)
        np.multiply(x, b, out=terms)
        y = np.sum(terms, axis=axis, keepdims=True, out=out)
        if self._normalise:
            alpha, beta, cosine = (self.work_array(name, y.shape, y.dtype) for name in ("alpha", "beta", "cosine"))
            for value, norm in ((x, alpha), (b, beta)):
                np.multiply(value, value, out=terms)
                np.sum(terms, axis=axis, keepdims=True, out=norm)
                np.sqrt(norm, out=norm)
                np.maximum(norm, EPS_COSINE, out=norm)
            np.divide(y, alpha, out=y)
            np.divide(y, beta, out=y)
            np.copyto(cosine, y)
            self._kept = (alpha, beta, cosine)
        return y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *outs: NDArray[Any], input_grad: bool = True
    ) -> Any:
        """g times the other, normalised if the forward pass was."""
        values, found = saved(self._read, self), [None, None]
        for number, array in self._outs(grad, out, outs, input_grad):
            mine, other = values[number], values[1 - number]
            if self._normalise:
                self._normalised(number, array, mine, other)
                np.multiply(array, grad, out=array)
            else:
                np.multiply(other, grad, out=array)
            found[number] = array  # type: ignore[call-overload]
        return tuple(found)

    def _normalised(self, number: int, array: NDArray[Any], mine: NDArray[Any], other: NDArray[Any]) -> None:
        alpha, beta, cosine = saved(self._kept, self)
        own, far = (beta, alpha) if number else (alpha, beta)
        factor, terms = self.work_array("factor", own.shape, own.dtype), self._temporary(mine)
        np.divide(other, own, out=array)
        np.divide(array, far, out=array)
        np.greater(own, EPS_COSINE, out=factor)  # a shorter vector is divided by ε, which does not depend on it
        np.multiply(factor, cosine, out=factor)
        np.divide(factor, own, out=factor)
        np.divide(factor, own, out=factor)
        np.multiply(mine, factor, out=terms)
        np.subtract(array, terms, out=array)


class _Distance(_Kernel):
    """y = ‖a − b + ε‖₂ over the features, ε = 1e-6: dL/da = g (a − b + ε) / y = −dL/db, and 0 where y is 0."""

    _kept: tuple[NDArray[Any], NDArray[Any]] | None = None

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None, *others: NDArray[Any]) -> NDArray[Any]:
        """The Euclidean distance."""
        (b,) = others
        self._read = (x, b)
        apart, terms = self.work_array("apart", x.shape, x.dtype), self._temporary(x)
        np.subtract(x, b, out=apart)
        np.add(apart, EPS_DISTANCE, out=apart)
        np.multiply(apart, apart, out=terms)
        y = np.sum(terms, axis=_features_of(x), keepdims=True, out=out)
        np.sqrt(y, out=y)
        far = self.work_array("far", y.shape, y.dtype)
        np.maximum(y, np.finfo(y.dtype).tiny, out=far)
        self._kept = (apart, far)
        return y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *outs: NDArray[Any], input_grad: bool = True
    ) -> Any:
        """g times the unit vector from b to a, and its opposite."""
        apart, far = saved(self._kept, self)
        found: list[NDArray[Any] | None] = [None, None]
        for number, array in self._outs(grad, out, outs, input_grad):
            np.divide(apart, far, out=array)
            np.multiply(array, grad, out=array)
            if number:
                np.negative(array, out=array)
            found[number] = array
        return tuple(found)


class _Joined(Composition):
    """Base of these compositions."""

    exactly: ClassVar[int | None] = None
    """The number of branches, if there is only one possible."""

    def __init__(self, /, *branches: Layers, **named: Layers) -> None:
        super().__init__({f"branch{i}": layers for i, layers in enumerate(branches, 1)} | named)
        self._check()

    def _check(self) -> None:
        if self.exactly not in (None, len(self.chains())):
            raise ShapeError(f"`{self.spec_name}` has {self.exactly} branches, not {len(self.chains())}")

    @classmethod
    def _two(cls, outs: Mapping[str, Shape]) -> None:
        if cls.exactly not in (None, len(outs)):
            message = f"`{cls.spec_name}` has {cls.exactly} branches, not {len(outs)}"
            raise ShapeError(message, argument=[*outs][cls.exactly or 0], label="one too many")

    def _joined(self, ys: Sequence[NDArray[Any]], out: NDArray[Any] | None) -> NDArray[Any]:
        kernel: Any = self.kernel
        joined: NDArray[Any] = kernel.forward(ys[0], out, *ys[1:])
        return joined

    def _shares(self, grad: NDArray[Any]) -> Iterator[NDArray[Any]]:
        kernel: Any = self.kernel
        yield from kernel.backward(np.ascontiguousarray(grad))


class _Elementwise(_Joined):
    """Base of those that work number by number, with branches repeated where they are smaller."""

    @classmethod
    def join(cls, incoming: Shape, outs: Mapping[str, Shape]) -> Shape:
        """Every branch must have the shape of the largest one, or be repeated to it."""
        cls._two(outs)
        largest = max(outs, key=lambda name: (len(outs[name]), prod(outs[name])))
        out = outs[largest]
        for name, shape in outs.items():
            if not _repeats(shape, out):
                raise ShapeError(
                    f"branch `{name}` outputs {shape_in_words(shape)}, but `{largest}` outputs {shape_in_words(out)}",
                    argument=name,
                    label=f"{shape_in_words(shape)} from here",
                    help=f"end it with {layers_towards(shape, out)}",
                )
        return out

    @classmethod
    def additions(cls, out: Shape, branches: int) -> int:
        """One operation per element for each branch after the first."""
        return (branches - 1) * prod(out)


@final
class Multiply(_Elementwise):
    """y = Π fᵢ(x), two branches or more: `(B, *in) -> (B, *out)`. dL/dfᵢ = g · Π fⱼ over j ≠ i for g = dL/dy.

    A branch of one number per channel, or of a single number, is repeated: squeeze-and-excitation multiplies `(C, H,
    W)` by `(C,)` (Hu et al. 2018), a gate by a number in [0, 1]. Branches are passed as for `Add`. In PyTorch, write
    the product; Keras's `Multiply` is a layer with several inputs.
    """

    spec_name = "multiply"
    also = ("Multiply", "mul", "product", "Product", "gate")

    @classmethod
    def make_kernel(cls, arguments: Mapping[str, Any]) -> Layer:
        """The product of arrays."""
        return _Product()

    @classmethod
    def join_work(cls, out: Shape, outs: Sequence[Shape], arguments: Mapping[str, Any]) -> Mapping[str, Work]:
        """Where a branch is repeated, the terms of the sum that is its gradient."""
        return {"terms": Work(out)} if any(shape != out for shape in outs) else {}


@final
class Subtract(_Elementwise):
    """y = f₁(x) − f₂(x): `(B, *in) -> (B, *out)`. dL/df₁ = g, dL/df₂ = −g for g = dL/dy.

    A branch of one number per channel, or of a single number, is repeated. Keras's `Subtract` is a layer with two
    inputs.
    """

    spec_name = "subtract"
    also = ("Subtract", "sub", "minus", "difference")
    exactly = 2

    @classmethod
    def make_kernel(cls, arguments: Mapping[str, Any]) -> Layer:
        """The difference of two arrays."""
        return _Difference()


class _Comparison(_Joined):
    """Base of those that reduce two branches of one shape to one number: `(F,)` to `(1,)`, at each position of a
    sequence `(T, F)` to `(T, 1)`, at each pixel of an image `(C, H, W)` to `(1, H, W)`."""

    exactly = 2

    @classmethod
    def join(cls, incoming: Shape, outs: Mapping[str, Shape]) -> Shape:
        """Both branches must have the same shape."""
        cls._two(outs)
        (first, one), (second, other) = outs.items()
        if one != other or not one:
            raise ShapeError(
                f"branch `{second}` outputs {shape_in_words(other) or 'a number'}, but `{first}` outputs "
                f"{shape_in_words(one) or 'a number'}",
                argument=second,
                label=f"{shape_in_words(other) or 'a number'} from here",
                help=f"both must have the same shape: end it with {layers_towards(other, one)}",
            )
        return tuple(1 if axis == feature_axis(one) else extent for axis, extent in enumerate(one))


@final
class Dot(_Comparison):
    """y = f₁(x)·f₂(x) over the features or channels: `(B, *in) -> (B, 1)`, `(B, T, 1)` or `(B, 1, H, W)`.

    dL/df₁ = g f₂, dL/df₂ = g f₁ for g = dL/dy. With `normalise`, the cosine of the angle between them, f₁·f₂ / (‖f₁‖
    ‖f₂‖), with norms of at least 1e-8: PyTorch's `cosine_similarity`; Keras's `Dot(normalize=True)`.
    """

    spec_name = "dot"
    also = ("Dot", "inner", "bmm")

    def __init__(self, /, *branches: Layers, normalise: bool = False, **named: Layers) -> None:
        self.normalise = normalise
        super().__init__(*branches, **named)

    @classmethod
    def signature(cls) -> Signature:  # type: ignore[override]
        """`normalise`: the branches are in its braces."""
        return _OF_DOT

    def arguments(self) -> dict[str, Any]:
        """Return `normalise`."""
        return {"normalise": self.normalise}

    @classmethod
    def make_kernel(cls, arguments: Mapping[str, Any]) -> Layer:
        """The dot product of rows."""
        return _Dot(arguments["normalise"])

    @classmethod
    def additions(cls, out: Shape, branches: int) -> int:
        """Counted with the branches' shapes, by `join_flops`."""
        return 0

    @classmethod
    def join_flops(cls, outs: Sequence[Shape], arguments: Mapping[str, Any]) -> int:
        """Two per number; normalised, six."""
        return (6 if arguments["normalise"] else 2) * prod(outs[0])

    @classmethod
    def join_work(cls, out: Shape, outs: Sequence[Shape], arguments: Mapping[str, Any]) -> Mapping[str, Work]:
        """The products; normalised, also both norms and the cosine."""
        if not arguments["normalise"]:
            return {"terms": Work(outs[0])}
        kept = {name: Work(out, saved=True) for name in ("alpha", "beta", "cosine")}
        return {"terms": Work(outs[0]), "factor": Work(out), **kept}


@final
class Distance(_Comparison):
    """y = ‖f₁(x) − f₂(x) + ε‖₂ over the features or channels, ε = 1e-6: `(B, *in) -> (B, 1)`, `(B, T, 1)` or `(B, 1,
    H, W)`.

    dL/df₁ = g (f₁ − f₂ + ε) / y = −dL/df₂ for g = dL/dy. ε keeps the gradient finite for equal branches, as in
    PyTorch's `pairwise_distance`.
    """

    spec_name = "distance"
    also = ("Distance", "pairwise_distance", "PairwiseDistance", "euclidean")

    @classmethod
    def make_kernel(cls, arguments: Mapping[str, Any]) -> Layer:
        """The distance of rows."""
        return _Distance()

    @classmethod
    def additions(cls, out: Shape, branches: int) -> int:
        """Counted with the branches' shapes, by `join_flops`."""
        return 0

    @classmethod
    def join_flops(cls, outs: Sequence[Shape], arguments: Mapping[str, Any]) -> int:
        """Four per number."""
        return 4 * prod(outs[0])

    @classmethod
    def join_work(cls, out: Shape, outs: Sequence[Shape], arguments: Mapping[str, Any]) -> Mapping[str, Work]:
        """The differences, their squares, and the distance."""
        return {"terms": Work(outs[0]), "apart": Work(outs[0], saved=True), "far": Work(out, saved=True)}


def _dot(normalise: Annotated[bool, Also("normalize", "cosine")] = False) -> None:
    """Holds the declaration of the argument of `Dot`."""


_OF_DOT = Signature.of(_dot)


def _repeats(shape: Shape, out: Shape) -> bool:
    """Whether a branch has the shape of the result, or is repeated to it."""
    if shape == out or shape == (1,):
        return True
    if len(shape) == 1:
        return len(out) > 1 and shape == (out[feature_axis(out)],)
    return len(shape) == len(out) and all(one in (1, extent) for one, extent in zip(shape, out, strict=True))


def _aligned(values: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """View arrays so that they broadcast against the largest: `(B, C)` as `(B, C, 1, 1)` beside `(B, C, H, W)`."""
    out = max((value.shape[1:] for value in values), key=len)
    return [
        value if value.ndim == 1 + len(out) else value.reshape(len(value), *aligned_shape(value.shape[1:], out))
        for value in values
    ]


def aligned_shape(shape: Shape, out: Shape) -> Shape:
    """Return the shape of a branch with as many axes as the result: one number per feature or channel stays on that
    axis.
    """
    if len(shape) == len(out) or len(shape) != 1:
        return shape
    return tuple(shape[0] if axis == feature_axis(out) else 1 for axis in range(len(out)))


def _sum_into(array: NDArray[Any], terms: NDArray[Any]) -> None:
    """Sum terms `(B, *out)` over what an array `(B, *s)` was repeated along."""
    (target, _) = _aligned((array, terms))
    axes = tuple(axis for axis in range(1, terms.ndim) if target.shape[axis] == 1 and terms.shape[axis] != 1)
    np.sum(terms, axis=axes, keepdims=True, out=target)


def _features_of(x: NDArray[Any]) -> int:
    return 1 + feature_axis(x.shape[1:])
