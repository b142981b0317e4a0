"""Kernels as loops over numbers, compiled to machine code: an extra that gives the same numbers, bit for bit.

NumPy passes over whole arrays once for each operation; a compiled loop passes once for all of them. A part that gains
by it says its kernel a second time, as a plain Python function that does to each number what the arrays do, operation
by operation and in the same order. Numba compiles it, without reordering or contracting operations, where it is
installed (`pip install "nnspec[fast]"`) and compiled kernels are asked for (`NNSPEC_COMPILED=1` in the environment):
its import and the compiling take about a second, in which a small run is done.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache

__all__ = ["CompilerMissing", "asked_for", "compiled"]

VARIABLE = "NNSPEC_COMPILED"


def asked_for() -> bool:
    """Whether the environment asks for compiled kernels, by `NNSPEC_COMPILED=1`. Raises ValueError for another word."""
    word = os.environ.get(VARIABLE, "")
    if word not in ("", "0", "1"):
        raise ValueError(f"{VARIABLE} is 1 for compiled kernels and 0 for none, not {word!r}")
    return word == "1"


class CompilerMissing(ImportError):
    """Compiled kernels are asked for, and Numba is not installed."""

    def __init__(self) -> None:
        super().__init__('compiled kernels need Numba: pip install "nnspec[fast]"', name="numba")


@cache
def compiled(loop: Callable[..., None]) -> Callable[..., None]:
    """Return a loop as machine code, made for the types of its arguments when it is first called with them.

    Raises CompilerMissing.
    """
    try:
        import numba
    except ImportError as error:
        raise CompilerMissing from error
    # NumPy's rules for division and no fast-math: what it computes must not depend on who computes it.
    result: Callable[..., None] = numba.njit(loop, error_model="numpy", fastmath=False, boundscheck=False)
    return result
