"""Layers that change only the shape of their input, or the order of its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import (
    Geometry,
    Layer,
    Shape,
    ShapeError,
    image,
    sample_in_words,
    saved,
    shape_in_words,
)
from nnspec.engine.layers.windows import each, sizes
from nnspec.engine.part import Also, Count, Range, kept

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Flatten", "Patches", "PixelShuffle", "PixelUnshuffle", "Reshape", "Transpose"]


class _Reshaping(Layer):
    """Base of the layers that change only the shape. The result shares memory with x if possible."""

    in_place = True
    batch_invariant = True
    samples_independent = True
    batch_last = "keeps"

    _shape: tuple[int, ...] | None = kept()

    @classmethod
    def looks_ahead(cls, incoming: Shape, arguments: Mapping[str, Any]) -> bool:
        """If the numbers of a position do not stay together: later layers then have no notion of positions."""
        out = cls.geometry(incoming, arguments).out
        return len(incoming) == 2 and out[:1] != incoming[:1]

    def _leaving(self, incoming: Shape) -> Shape:
        """Return the new shape of a sample."""
        raise NotImplementedError

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Reshape each sample."""
        self._shape = x.shape
        return _reshaped(x, (len(x), *self._leaving(x.shape[1:])), out)

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Restore the shape of each sample."""
        return _reshaped(grad, saved(self._shape, self), out)


class Flatten(_Reshaping):
    """Flatten each sample to a row: `(B, *s) -> (B, Π s)`, in C order."""

    spec_name = "Flatten"

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """`s -> (Π s,)`, at no cost."""
        return Geometry(out=(prod(incoming),), flops=0)

    def _leaving(self, incoming: Shape) -> Shape:
        return (prod(incoming),)


class Reshape(_Reshaping):
    """Reshape each sample, keeping its numbers in C order: `(B, *s) -> (B, *shape)`.

    One extent may be -1, which is inferred from the others. The number of extents determines the result: one makes
    features, two a sequence of positions × features, three an image of channels × rows × columns. For example,
    `Reshape([1, 28, 28])` turns 784 features into an image of one channel, and `Reshape([120, 7])` turns 840 into a
    sequence.
    """

    spec_name = "Reshape"
    also = ("reshape", "View", "Unflatten")

    shape: Annotated[tuple[int, ...], Range(low=-1), Also("target_shape", "size")]

    def __post_init__(self) -> None:
        if problem := _shape_problem(self.shape):
            raise ValueError(f"Reshape: {problem}")
        self.shape = tuple(self.shape)

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """`s -> shape`, at no cost."""
        shape = arguments["shape"]
        if problem := _shape_problem(shape):
            raise ShapeError(problem, argument="shape", label="no shape", help="for example, `Reshape([-1])`")
        return Geometry(out=_filled(shape, incoming), flops=0)

    def _leaving(self, incoming: Shape) -> Shape:
        return _filled(self.shape, incoming)


def _shape_problem(shape: Sequence[int]) -> str:
    """Describe why this is not a valid shape, or return an empty string."""
    if not shape:
        return "`shape` cannot be empty"
    if any(n == 0 for n in shape):
        return "`shape` cannot contain 0"
    return "" if sum(n == -1 for n in shape) < 2 else "`shape` can contain -1 only once"


def _filled(shape: Sequence[int], incoming: Shape) -> Shape:
    """Return the shape with -1 replaced. Raises ShapeError if the numbers do not fit into it."""
    numbers, known = prod(incoming), prod(n for n in shape if n != -1)
    if -1 in shape and numbers % known == 0:
        return tuple(numbers // known if n == -1 else int(n) for n in shape)
    if known != numbers:
        written = f"[{', '.join(map(str, shape))}]"
        raise ShapeError(
            f"{shape_in_words(incoming)} are {numbers} numbers, but {written} holds "
            f"{'a multiple of ' if -1 in shape else ''}{known}",
            argument="shape",
            label=f"{numbers} numbers here",
            help=f"put {'`Flatten` and ' if len(incoming) > 1 else ''}`Linear({known})` before it",
        )
    return tuple(int(n) for n in shape)


def _reshaped(x: NDArray[Any], shape: tuple[int, ...], out: NDArray[Any] | None) -> NDArray[Any]:
    view = x.reshape(shape)
    if out is None:
        return view
    if not np.may_share_memory(view, out):
        np.copyto(out, view)
    return out


@dataclass(frozen=True)
class Permutation:
    """Another order of the numbers of a sample: split its axes into `factors`, permute these by `order`, and merge them
    into the axes of `out`.
    """

    factors: Shape
    order: tuple[int, ...]
    out: Shape


class Permuting(Layer):
    """Base of the layers that change the order of numbers, which costs nothing but a copy."""

    batch_invariant = True
    samples_independent = True
    image_as: ClassVar[Literal["row", "sequence", "image", "any"]] = "image"

    _shape: tuple[int, ...] | None = kept()

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """The numbers of x in another order."""
        return Geometry(out=cls.permutation(incoming, arguments).out, flops=0)

    @classmethod
    def permutation(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Permutation:
        """Return the order of the numbers of a sample. Raises ShapeError."""
        raise NotImplementedError

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Copy the numbers into their new places."""
        self._shape = x.shape
        permutation = self.permutation(x.shape[1:], self.arguments())
        y = np.empty((len(x), *permutation.out), x.dtype) if out is None else out
        factors = tuple(permutation.factors[axis] for axis in permutation.order)
        order = (0, *(1 + axis for axis in permutation.order))
        source = x.reshape(len(x), *permutation.factors).transpose(order)
        np.copyto(y.reshape(len(x), *factors), source)
        return y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Copy the gradients back."""
        shape = saved(self._shape, self)
        permutation = self.permutation(shape[1:], self.arguments())
        dx = np.empty(shape, grad.dtype) if out is None else out
        order = (0, *(1 + axis for axis in permutation.order))
        target = dx.reshape(len(grad), *permutation.factors).transpose(order)
        np.copyto(target, grad.reshape(target.shape))
        return dx


class Transpose(Permuting):
    """Swap the last two axes: positions and features `(B, T, F) -> (B, F, T)`, rows and columns `(B, C, H, W) -> (B, C,
    W, H)`.

    In a mixer, the layers between two of them work across positions. PyTorch's `x.transpose(-1, -2)`, Keras's
    `Permute((2, 1))`.
    """

    spec_name = "Transpose"
    also = ("Permute", "transpose", "SwapAxes")
    image_as = "sequence"

    @classmethod
    def permutation(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Permutation:
        """`(*s, m, n) -> (*s, n, m)`."""
        if len(incoming) < 2:
            raise ShapeError(
                f"Transpose expects a sequence or an image but got {sample_in_words(incoming)}",
                help="remove it, or put it before the layer that flattens the sample",
            )
        axes = (*range(len(incoming) - 2), len(incoming) - 1, len(incoming) - 2)
        return Permutation(incoming, axes, tuple(incoming[axis] for axis in axes))

    @classmethod
    def looks_ahead(cls, incoming: Shape, arguments: Mapping[str, Any]) -> bool:
        """Later layers work across positions."""
        return len(incoming) == 2


class Patches(Permuting):
    """Cut an image into patches, the positions of a sequence: `(B, C, H, W) -> (B, H/p · W/p, p·p·C)`.

    Positions are ordered by rows and columns of patches, the features of each by row, column and channel, as in
    Keras's `extract_patches`. `size` is p, or one for rows and one for columns; it must divide the image. With `Linear`
    after it, it is the stem of a vision transformer or a mixer: a convolution whose stride is its kernel size.
    Dosovitskiy et al. 2021.
    """

    spec_name = "Patches"
    also = ("PatchEmbed", "Patchify", "extract_patches", "PatchExtract", "ExtractPatches")

    size: Annotated[Count | tuple[Count, Count], Also("patch_size", "patch")]

    @classmethod
    def permutation(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Permutation:
        """`(C, H/p, p, W/p, p)` to `(H/p, W/p, p, p, C)`."""
        channels, height, width = image(cls, incoming)
        p, q = each(sizes(arguments["size"]), 2, cls.spec_name)
        if height % p or width % q:
            fits = [n for n in range(2, min(height, width)) if height % n == 0 and width % n == 0]
            raise ShapeError(
                f"patches of {p}×{q} do not divide {height}×{width}",
                argument="size",
                label="does not divide the image",
                help=f"`Patches({min(fits, key=lambda n: abs(n - p))})` does" if fits else "put `Resize` before it",
            )
        rows, columns = height // p, width // q
        return Permutation((channels, rows, p, columns, q), (1, 3, 2, 4, 0), (rows * columns, p * q * channels))


class PixelShuffle(Permuting):
    """Channels become rows and columns: y[c, r·h + i, r·w + j] = x[c·r² + r·i + j, h, w].

    `(B, C·r², H, W) -> (B, C, r·H, r·W)`: a convolution before it computes r² numbers for each pixel of the larger
    image. Shi et al. 2016; as in PyTorch. TensorFlow's `depth_to_space` has another order of channels.
    """

    spec_name = "PixelShuffle"
    also = ("pixel_shuffle", "DepthToSpace", "SubPixelConv")

    factor: Annotated[Count, Also("upscale_factor", "r", "block_size", "scale")]

    @classmethod
    def permutation(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Permutation:
        """`(C, r, r, H, W)` to `(C, H, r, W, r)`."""
        (channels, height, width), r = image(cls, incoming), arguments["factor"]
        if channels % (r * r):
            more = -(-channels // (r * r)) * r * r
            raise ShapeError(
                f"{channels} channels are not a multiple of {r}² = {r * r}",
                argument="factor",
                label=f"needs {r * r} channels for each of y",
                help=f"put `Conv2D({more}, 3, padding=same)` before it",
            )
        out = channels // (r * r)
        return Permutation((out, r, r, height, width), (0, 3, 1, 4, 2), (out, r * height, r * width))


class PixelUnshuffle(Permuting):
    """Rows and columns become channels: `(B, C, r·H, r·W) -> (B, C·r², H, W)`, the inverse of `PixelShuffle`.

    As in PyTorch.
    """

    spec_name = "PixelUnshuffle"
    also = ("pixel_unshuffle", "SpaceToDepth")

    factor: Annotated[Count, Also("downscale_factor", "r", "block_size", "scale")]

    @classmethod
    def permutation(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Permutation:
        """`(C, H, r, W, r)` to `(C, r, r, H, W)`."""
        (channels, height, width), r = image(cls, incoming), arguments["factor"]
        if height % r or width % r:
            raise ShapeError(
                f"{r} does not divide {height}×{width}",
                argument="factor",
                label="does not divide the image",
                help="use a factor that divides both, or put `Resize` before it",
            )
        rows, columns = height // r, width // r
        return Permutation((channels, rows, r, columns, r), (0, 2, 4, 1, 3), (channels * r * r, rows, columns))
