"""A trainable array with its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Parameter"]


class Parameter:
    """A weight: `.data` and `.grad`, two arrays of equal shape and dtype, float64 unless the data is another float.

    Assigning to either copies into the array that is there, so that whoever holds a view of it (an optimizer, the
    compiled plan) sees the new numbers. ValueError where the shape differs.

    `decaying` are the ranges of the flattened array that an optimizer's weight decay applies to: all of a weight, and
    nothing of a bias or of the scale and shift of a normalisation, which layers make with `decays=False`.
    """

    __slots__ = ("_data", "_grad", "decaying")

    def __init__(self, data: ArrayLike, dtype: str | None = None, *, decays: bool = True) -> None:
        values = np.array(data, dtype=dtype, order="C")
        self._data: NDArray[Any] = values if np.issubdtype(values.dtype, np.floating) else values.astype(np.float64)
        self._grad: NDArray[Any] = np.zeros_like(self._data)
        self.decaying: tuple[slice, ...] = (slice(None),) if decays else ()

    @classmethod
    def over(cls, data: NDArray[Any], grad: NDArray[Any], decaying: tuple[slice, ...] = (slice(None),)) -> Parameter:
        """Make a parameter of two arrays that the caller owns, without copying them."""
        parameter = cls.__new__(cls)
        parameter._data, parameter._grad, parameter.decaying = data, grad, decaying
        return parameter

    @property
    def decays(self) -> bool:
        """Whether weight decay applies to any of it."""
        return bool(self.decaying)

    @property
    def data(self) -> NDArray[Any]:
        """The numbers themselves."""
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
        """How many numbers it holds."""
        return self._data.size

    def move_to(self, data: NDArray[Any], grad: NDArray[Any]) -> None:
        """Keep the numbers from now on in `data` and `grad`, two arrays that the caller owns."""
        data[...] = self._data
        grad[...] = self._grad
        self._data, self._grad = data, grad

    def __repr__(self) -> str:
        return f"Parameter(shape={self.shape}, dtype={self._data.dtype})"


def _write(target: NDArray[Any], values: ArrayLike, name: str) -> None:
    source = np.asarray(values)
    if source.shape != target.shape:
        raise ValueError(f"Parameter.{name} has shape {target.shape}; an array of shape {source.shape} does not fit")
    target[...] = source
