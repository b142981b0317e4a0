"""Digests of arrays, short enough for a record that has one for each tensor and epoch."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["array_digest", "next_digest"]

_LETTERS = 16
"""Hexadecimal digits of a digest: 64 bits tell arrays apart that nobody chose to look alike."""


def array_digest(array: NDArray[Any]) -> str:
    """Return a digest of an array: its type, its shape and its bytes."""
    return next_digest(f"{array.dtype}{array.shape}", array)


def next_digest(before: str, array: NDArray[Any]) -> str:
    """Return the digest of an array behind what was digested before."""
    digest = hashlib.sha256(before.encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:_LETTERS]
