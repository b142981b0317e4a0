"""Work arrays of kernels: declared ahead, lent by whoever owns the memory, allocated where nobody lends any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from nnspec.engine._numpy import np
from nnspec.errors import ContractError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Borrower", "Work", "decide", "samples_in"]


@dataclass(frozen=True)
class Work:
    """A work array of a kernel: its shape for one sample (the batch axis stands before it) and its dtype."""

    shape: tuple[int, ...]
    dtype: Literal["float", "bool", "index"] = "float"
    """`float` is the dtype of the network, `index` the integers that index arrays."""
    saved: bool = False
    """Whether it must live from forward to backward; otherwise kernels may share its memory."""


_NOTHING_LENT: Mapping[str, NDArray[Any]] = MappingProxyType({})


class Borrower:
    """Something with kernels that works in arrays it does not own, where it is lent any."""

    _work = _NOTHING_LENT

    def lend(self, work: Mapping[str, NDArray[Any]]) -> None:
        """Use the arrays of `work`, owned by the caller, instead of allocating; none takes them all back."""
        self._work = dict(work)

    def work_array(self, name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Return an array to work in: the lent one, cut to this batch, or a new one. Raises ContractError where the
        lent one has another shape or dtype: the kernel and its declaration disagree."""
        lent = self._work.get(name)
        if lent is None or len(lent) < shape[0]:
            return np.empty(shape, dtype)
        if lent.shape[1:] != shape[1:] or lent.dtype != dtype:
            raise ContractError(
                f"{type(self).__name__}: the work array {name!r} is declared as {lent.dtype} of shape {lent.shape[1:]} "
                f"for each sample, and asked for as {np.dtype(dtype)} of shape {shape[1:]}"
            )
        return lent[: shape[0]]


def decide(condition: Any, then: Callable[[], None], otherwise: Callable[[], None]) -> None:
    """Do one thing or the other. A condition that is being recorded has both recorded, and decides anew each time."""
    if isinstance(condition, np.ndarray) and hasattr(condition, "decides"):
        condition.decides(then, otherwise)
    else:
        (then if condition else otherwise)()


def samples_in(memory: NDArray[Any], shape: tuple[int, ...], *, batch_last: bool = False) -> NDArray[Any]:
    """Return the first numbers of an array in one piece as samples `(B, *s)`, without copying them: in C order, or
    such that the samples are the last axis in memory."""
    numbers = memory.reshape(-1)[: prod(shape)]
    return np.moveaxis(numbers.reshape(*shape[1:], shape[0]), -1, 0) if batch_last else numbers.reshape(shape)
