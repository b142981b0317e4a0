"""Digests of arrays, short enough to record one per tensor and epoch."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["array_digest", "next_digest"]

_LETTERS = 16
"""Hexadecimal digits of a digest: 64 bits distinguish arrays, unless someone constructs a collision."""


def array_digest(array: NDArray[Any]) -> str:
    """Return a digest of an array's type, shape and bytes."""
    return next_digest(f"{_name(array.dtype)}{array.shape}", array)


def next_digest(before: str, array: NDArray[Any]) -> str:
    """Return a digest that continues `before` with the bytes of an array."""
    digest = hashlib.sha256(before.encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:_LETTERS]


@cache
def _name(dtype: np.dtype[Any]) -> str:
    """Return the name of a type, which NumPy takes longer to find than a small array's digest."""
    return str(dtype)
