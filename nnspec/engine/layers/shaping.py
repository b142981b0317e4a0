"""Layers that change only the shape of their input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Geometry, Layer, Shape, ShapeError, saved, shape_in_words
from nnspec.engine.part import Also, Range, kept

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Flatten", "Reshape"]


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
