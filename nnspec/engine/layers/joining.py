"""The compositions: residuals, sums of branches, and concatenations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, final

from nnspec.engine._numpy import np
from nnspec.engine.layers.composition import Composition, Layers
from nnspec.engine.layers.contract import Shape, ShapeError, feature_axis, layers_towards, shape_in_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Add", "Concat", "Outputs", "Residual"]


class _Sum(Composition):
    """Base of the compositions that add: all branches have the same output shape, and each gets the whole gradient."""

    @classmethod
    def additions(cls, out: Shape, branches: int) -> int:
        """One per element for each branch after the first."""
        return (max(branches, 2) - 1) * prod(out)

    def _joined(self, ys: Sequence[NDArray[Any]], out: NDArray[Any] | None) -> NDArray[Any]:
        first, second, *others = ys
        total = np.add(first, second, out=out)
        for y in others:
            np.add(total, y, out=total)
        return total

    def _shares(self, grad: NDArray[Any]) -> Iterator[NDArray[Any]]:
        return (grad for _ in self._branches)


@final
class Residual(_Sum):
    """y = F(x) + S(x): `(B, *in) -> (B, *out)`. F is the body; S is the identity, or a shortcut that fits x to F(x).

    dL/dx = Fᵀ g + Sᵀ g for g = dL/dy, with Fᵀ and Sᵀ the branches' own backward passes: the gradient also bypasses the
    body unchanged, which makes deep networks trainable. He et al. 2016, whose activation after the sum is a separate
    layer here.
    """

    spec_name = "residual"
    also = ("Residual", "ResidualBlock", "ResBlock", "skip")
    own_chain = "body"
    inner = ("shortcut",)
    least = 1

    def __init__(self, body: Layers, shortcut: Layers | None = None) -> None:
        super().__init__({"body": body, "shortcut": [] if shortcut is None else shortcut})

    @classmethod
    def join(cls, incoming: Shape, outs: Mapping[str, Shape]) -> Shape:
        """Body and shortcut, or body and input, must agree in shape."""
        body, around = outs["body"], outs.get("shortcut", incoming)
        if body == around:
            return body
        if around == incoming:
            raise ShapeError(
                f"the body outputs {_features(body)}, but the shortcut has {_features(incoming)}",
                argument="body",
                label=f"{_features(body)} from here",
                help=f"end the body with {layers_towards(body, incoming)}"
                + (f", or add a `shortcut {{ Linear({body[0]}) }}`" if len(body) == len(incoming) == 1 else ""),
            )
        raise ShapeError(
            f"the body outputs {_features(body)}, but the shortcut outputs {_features(around)}",
            argument="shortcut",
            label=f"{_features(around)} from here",
            help=f"end the shortcut with {layers_towards(around, body)}",
        )


@final
class Add(_Sum):
    """y = Σ fᵢ(x), two branches or more: `(B, *in) -> (B, *out)`. dL/dx = Σ fᵢᵀ g for g = dL/dy.

    Branches are passed in order, or by name: `Add(a=[Linear(4, 3)], b=[])`. Keras's `Add` is a layer with several
    inputs; in PyTorch, write the sum.
    """

    spec_name = "add"
    also = ("Add", "sum", "Sum")

    def __init__(self, /, *branches: Layers, **named: Layers) -> None:
        super().__init__(_numbered_branches(branches) | named)

    @classmethod
    def join(cls, incoming: Shape, outs: Mapping[str, Shape]) -> Shape:
        """All branches must have the same output shape."""
        (first, out), *others = outs.items()
        for name, shape in others:
            if shape != out:
                raise ShapeError(
                    f"branch `{name}` outputs {_features(shape)}, but `{first}` outputs {_features(out)}",
                    argument=name,
                    label=f"{_features(shape)} from here",
                    help=f"all branches must have the same shape: end it with {layers_towards(shape, out)}",
                )
        return out


class Concat(Composition):
    """y = [f₁(x), f₂(x), …] along the features of rows and sequences, or along the channels of images:

    fᵢ(x) `(B, nᵢ)`, `(B, T, nᵢ)` or `(B, nᵢ, H, W)` -> y `(B, Σ nᵢ)`, `(B, T, Σ nᵢ)` or `(B, Σ nᵢ, H, W)`.
    dL/dx = Σ fᵢᵀ gᵢ for dL/dy = [g₁, g₂, …]. Branches are passed as for `Add`. Szegedy et al. 2015.
    """

    spec_name = "concat"
    also = ("Concat", "Concatenate", "concatenate", "cat", "Cat")
    splits = True

    def __init__(self, /, *branches: Layers, **named: Layers) -> None:
        super().__init__(_numbered_branches(branches) | named)

    @classmethod
    def join(cls, incoming: Shape, outs: Mapping[str, Shape]) -> Shape:
        """All axes except that of the features or channels must agree."""
        (first, out), *others = outs.items()
        repeated = f"`RepeatVector({out[0]})`"
        for name, shape in others:
            if _but_features(shape) != _but_features(out):
                raise ShapeError(
                    f"branch `{name}` outputs {_features(shape)}, but `{first}` outputs {_features(out)}",
                    argument=name,
                    label=f"{_features(shape)} from here",
                    help=f"end `{name}` with {repeated if len(shape) < len(out) == 2 else layers_towards(shape, out)}",
                )
        axis = feature_axis(out)
        return (*out[:axis], sum(shape[axis] for shape in outs.values()), *out[axis + 1 :])

    @classmethod
    def additions(cls, out: Shape, branches: int) -> int:
        """None: concatenation only moves numbers."""
        return 0

    def _joined(self, ys: Sequence[NDArray[Any]], out: NDArray[Any] | None) -> NDArray[Any]:
        return np.concatenate(ys, axis=1 + feature_axis(self._shapes[1]), out=out)

    def _shares(self, grad: NDArray[Any]) -> Iterator[NDArray[Any]]:
        end, axis = 0, feature_axis(self._shapes[1])
        for shape in self._shapes[1:]:
            start, end = end, end + shape[axis]
            yield grad[(slice(None),) * (1 + axis) + (slice(start, end),)]


class Outputs(Concat):
    """y = [f₁(x), f₂(x), …], the outputs of a network by name, each a row: fᵢ(x) `(B, nᵢ)` -> y `(B, Σ nᵢ)`.

    dL/dx = Σ fᵢᵀ gᵢ for dL/dy = [g₁, g₂, …]. In a spec, it is the last element of a model, and each output has a
    loss: `loss { a = CrossEntropy; b = MSE }`. In PyTorch, `forward` returns a tuple or a dict; Keras's functional
    models have a list or a dict of `outputs`.
    """

    spec_name = "outputs"
    also = ("Outputs", "heads")  # type: ignore[assignment]

    @classmethod
    def join(cls, incoming: Shape, outs: Mapping[str, Shape]) -> Shape:
        """Every output must be a row."""
        for name, shape in outs.items():
            if len(shape) != 1:
                raise ShapeError(
                    f"output `{name}` is {_features(shape)}, but outputs are rows of numbers",
                    argument=name,
                    label=f"{_features(shape)} from here",
                    help="end it with `Flatten`",
                )
        return (sum(shape[0] for shape in outs.values()),)


def _numbered_branches(branches: Sequence[Layers]) -> dict[str, Layers]:
    return {f"branch{i}": layers for i, layers in enumerate(branches, 1)}


def _features(shape: Shape) -> str:
    return f"{shape_in_words(shape)} features" if len(shape) == 1 else shape_in_words(shape)


def _but_features(shape: Shape) -> tuple[int, Shape]:
    """Return the number of axes of a shape, and the extents of all except the features or channels."""
    axis = feature_axis(shape)
    return len(shape), shape[:axis] + shape[axis + 1 :]
