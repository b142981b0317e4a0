"""How much memory a call takes while it runs."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np

__all__ = ["growth"]


def growth(call: Callable[[], object]) -> int:
    """Return by how many bytes memory grows at most while a call runs.

    NumPy casts through buffers of 8,192 numbers, which are as large as small arrays. Here they have 64, so that a
    small array can be told from them, and tests need no large ones.
    """
    usual = np.setbufsize(64)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
        np.setbufsize(usual)
