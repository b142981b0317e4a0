"""Counts the operations that NumPy carries out within kernels, to hold declared FLOPs against."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Counted", "operations"]

FREE = {"positive", "rint"}
"""Functions that only move numbers."""


class Counted(np.ndarray):
    """An array whose operations are counted, in `Counted.count`: one an element, and two a term of a product of
    matrices; what is computed from one is another."""

    count = 0

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        plain = [_plain(each) for each in inputs]
        if out is not None:
            kwargs["out"] = tuple(map(_plain, out))
        result = getattr(ufunc, method)(*plain, **kwargs)
        if ufunc.signature:  # a product of matrices or vectors: of each number of the result as many terms as x is wide
            Counted.count += 2 * np.size(result) * plain[0].shape[-1]
        elif ufunc.__name__ not in FREE:
            Counted.count += np.size(result) if method == "__call__" else np.size(plain[0])
        return result.view(Counted) if isinstance(result, np.ndarray) else result


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, Counted) else value


def operations(call: Any) -> int:
    """Return how many operations on Counted arrays a call carries out."""
    before = Counted.count
    call()
    return Counted.count - before
