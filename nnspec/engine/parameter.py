"""A trainable array with its gradient, and the settings of the tensors in it that optimizers use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Parameter", "Segment"]

KINDS = ("weight", "bias", "scale", "shift", "slope")
"""The kinds of parameters: weights and biases; scales and shifts of normalisations; slopes of `PReLU`."""


@dataclass(frozen=True)
class Segment:
    """A tensor as a part of a flattened parameter: all of it, or one of many in the vector that a plan trains.

    It says how an optimizer treats the tensor: `rate` multiplies the optimizer's own rate, `weight_decay` replaces the
    optimizer's, and a frozen tensor is not updated. `decays` says whether the optimizer's own weight decay applies.
    """

    shape: tuple[int, ...]
    start: int = 0
    layer: str = ""
    """The layer's full name, such as `residual1.body.Linear2`."""
    name: str = ""
    """The layer's name for it: `weight`, `bias`, `weight_ih`."""
    kind: str = "weight"
    """One of `KINDS`: the `weight` of a normalisation is a scale."""
    decays: bool = True
    rate: float = 1.0
    weight_decay: float | None = None
    frozen: bool = False
    looked_up: bool = False
    """Whether its rows are looked up by an id or a position, as those of embeddings, instead of being multiplied."""

    @property
    def size(self) -> int:
        """Its number of elements."""
        return prod(self.shape)

    @property
    def stop(self) -> int:
        """The end of its range."""
        return self.start + self.size

    @property
    def part(self) -> slice:
        """Its range in the flattened parameter."""
        return slice(self.start, self.stop)


class Parameter:
    """A trainable array: `.data` and `.grad`, of equal shape and dtype, float64 unless the data has another float
    dtype.

    Assigning to either copies into the existing array, so that all views of it (in an optimizer or a compiled plan) see
    the new numbers. Raises ValueError if the shape differs.

    `segments` are the tensors that it holds, in order and without gaps: one, the parameter itself, unless it is a
    vector of many. `decays` says whether an optimizer's weight decay and penalties apply: to weights, but not to biases
    or to scales and shifts of normalisations, which layers create with `decays=False`. `looked_up` says that its rows
    are looked up, as those of embeddings.

    `trained` is the part of the flattened array that is not frozen, in as few ranges as possible, and `decaying` are
    the trained tensors that penalties apply to.

    `configure` sets its own rate or weight decay, or freezes it. It corresponds to PyTorch's parameter groups and
    `requires_grad`, Keras's `trainable` and Caffe's `lr_mult`.
    """

    __slots__ = ("_data", "_grad", "_segments", "decaying", "trained")

    def __init__(
        self, data: ArrayLike, dtype: str | None = None, *, decays: bool = True, looked_up: bool = False
    ) -> None:
        values = np.array(data, dtype=dtype, order="C")
        self._data: NDArray[Any] = values if np.issubdtype(values.dtype, np.floating) else values.astype(np.float64)
        self._grad: NDArray[Any] = np.zeros_like(self._data)
        self.segments = (Segment(self._data.shape, decays=decays, looked_up=looked_up),)

    @classmethod
    def over(
        cls, data: NDArray[Any], grad: NDArray[Any], segments: Iterable[Segment] = (), *, decays: bool = True
    ) -> Parameter:
        """Make a parameter from two arrays that the caller owns, without copying them.

        Raises ValueError if the segments do not cover the data in order and without gaps.
        """
        parameter = cls.__new__(cls)
        parameter._data, parameter._grad = data, grad
        parameter.segments = tuple(segments) or (Segment(data.shape, decays=decays),)
        end = 0
        for segment in parameter.segments:
            if segment.start != end:
                raise ValueError(f"a segment starts at {segment.start}; the one before it ends at {end}")
            end = segment.stop
        if end != data.size:
            raise ValueError(f"the segments end at {end}, and the parameter has {data.size} numbers")
        return parameter

    def configure(
        self, *, rate: float | None = None, weight_decay: float | None = None, frozen: bool | None = None
    ) -> None:
        """Set how optimizers treat it from their next step on.

        `rate` multiplies the optimizer's rate, `weight_decay` replaces its weight decay, and a frozen parameter is not
        updated. Settings that are not passed are not changed. Raises ValueError for a rate or a weight decay that is
        negative or not finite.
        """
        given = {"rate": rate, "weight_decay": weight_decay}
        for name, value in given.items():
            if value is not None and not 0 <= value < float("inf"):
                raise ValueError(f"Parameter.configure: `{name}` must be at least 0 and finite, not {value!r}")
        changes: dict[str, Any] = {
            name: value for name, value in (given | {"frozen": frozen}).items() if value is not None
        }
        self.segments = tuple(replace(segment, **changes) for segment in self.segments)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The tensors that it holds."""
        return self._segments

    @segments.setter
    def segments(self, segments: tuple[Segment, ...]) -> None:
        self._segments = segments
        self.decaying = tuple(segment.part for segment in segments if segment.decays and not segment.frozen)
        self.trained = tuple(_joined(segment.part for segment in segments if not segment.frozen))

    @property
    def decays(self) -> bool:
        """Whether weight decay applies to any of it."""
        return any(segment.decays for segment in self.segments)

    @property
    def frozen(self) -> bool:
        """Whether all of it is frozen."""
        return all(segment.frozen for segment in self.segments)

    @property
    def data(self) -> NDArray[Any]:
        """The numbers of the parameter."""
        return self._data

    @data.setter
    def data(self, values: ArrayLike) -> None:
        _write(self._data, values, "data")

    @property
    def grad(self) -> NDArray[Any]:
        """dL/d(data), overwritten by each backward pass (PyTorch accumulates instead)."""
        return self._grad

    @grad.setter
    def grad(self, values: ArrayLike) -> None:
        _write(self._grad, values, "grad")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self._data.shape

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._data.size

    def move_to(self, data: NDArray[Any], grad: NDArray[Any]) -> None:
        """Move the numbers to `data` and `grad`, two arrays that the caller owns."""
        data[...] = self._data
        grad[...] = self._grad
        self._data, self._grad = data, grad

    def __repr__(self) -> str:
        return f"Parameter(shape={self.shape}, dtype={self._data.dtype})"


class Shared(Parameter):
    """A parameter of another layer as used by one more: the same numbers, wherever these are moved, with a gradient of
    its own, which is added to that of the owner.
    """

    __slots__ = ("owner",)

    def __init__(self, owner: Parameter) -> None:
        self.owner: Parameter = owner.owner if isinstance(owner, Shared) else owner
        self._grad = np.zeros_like(self.owner.data)
        self.segments = self.owner.segments

    @property
    def _data(self) -> NDArray[Any]:  # type: ignore[override]
        return self.owner.data

    def keep_gradient_in(self, array: NDArray[Any]) -> None:
        """Write the gradient into an array of its shape that the caller owns."""
        self._grad = array


def _joined(parts: Iterable[slice]) -> list[slice]:
    """Join consecutive ranges that are adjacent."""
    found: list[slice] = []
    for part in parts:
        start = found.pop().start if found and found[-1].stop == part.start else part.start
        found.append(slice(start, part.stop))
    return found


def _write(target: NDArray[Any], values: ArrayLike, name: str) -> None:
    source = np.asarray(values)
    if source.shape != target.shape:
        raise ValueError(f"Parameter.{name} has shape {target.shape}; an array of shape {source.shape} does not fit")
    target[...] = source
