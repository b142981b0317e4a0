"""Work arrays of kernels: declared in advance, lent by the owner of the memory, or allocated if none are lent."""

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

__all__ = ["Borrower", "Work", "decide", "number", "samples_in"]


@dataclass(frozen=True)
class Work:
    """A work array of a kernel: its shape for one sample (without the leading batch axis) and its dtype."""

    shape: tuple[int, ...]
    dtype: Literal["float", "bool", "index"] = "float"
    """`float` is the dtype of the network, `index` the integers that index arrays."""
    saved: bool = False
    """Whether it must live from forward to backward; otherwise kernels may share its memory."""


_NOTHING_LENT: Mapping[str, NDArray[Any]] = MappingProxyType({})


class Borrower:
    """An object with kernels that use work arrays lent to it."""

    _work = _NOTHING_LENT

    def lend(self, work: Mapping[str, NDArray[Any]]) -> None:
        """Use the arrays of `work`, owned by the caller, instead of allocating; an empty mapping revokes all of
        them.
        """
        self._work = dict(work)

    def work_array(self, name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Return a work array: the lent one, cut to this batch, or a new one. Raises ContractError if the lent one has
        a different shape or dtype, that is, if the kernel disagrees with its declaration.
        """
        lent = self._work.get(name)
        if lent is None or len(lent) < shape[0]:
            return np.empty(shape, dtype)
        if lent.shape[1:] != shape[1:] or lent.dtype != dtype:
            raise ContractError(
                f"{type(self).__name__}: the work array {name!r} is declared as {lent.dtype} of shape {lent.shape[1:]} "
                f"for each sample, and asked for as {np.dtype(dtype)} of shape {shape[1:]}"
            )
        return lent[: shape[0]]


def number(total: Any) -> float:
    """Return a NumPy sum as a Python float; during a recording, as a float64 array of one number."""
    found: Any = total.astype(np.float64) if isinstance(total, np.ndarray) else float(total)
    return found


def decide(condition: Any, then: Callable[[], None], otherwise: Callable[[], None]) -> None:
    """Call one of two functions. During a recording, both are recorded, and the condition selects one at each
    replay.
    """
    if isinstance(condition, np.ndarray) and hasattr(condition, "decides"):
        condition.decides(then, otherwise)
    else:
        (then if condition else otherwise)()


def samples_in(memory: NDArray[Any], shape: tuple[int, ...], *, batch_last: bool = False) -> NDArray[Any]:
    """Return the first numbers of a contiguous array as samples `(B, *s)`, without copying them: in C order, or with
    the samples as the last axis in memory.
    """
    numbers = memory.reshape(-1)[: prod(shape)]
    return np.moveaxis(numbers.reshape(*shape[1:], shape[0]), -1, 0) if batch_last else numbers.reshape(shape)
