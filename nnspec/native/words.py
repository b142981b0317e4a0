"""The layout of the words of a kernel that iterates over multi-axis arrays.

An array is processed run by run: the innermost axis is a run, which the kernel's inner loop handles in one call, and
the outer axes advance like the wheels of an odometer.
"""

from __future__ import annotations

__all__ = [
    "ARGS",
    "BASE",
    "COUNT",
    "DIMS",
    "GIVEN",
    "MOST_ARGS",
    "MOST_RANK",
    "MOST_STATES",
    "NARGS",
    "OUTER",
    "OUTER_WORDS",
    "RANK",
    "STEPS",
]

NARGS = 2
"""The number of arrays."""
RANK = 3
"""The number of outer axes."""
DIMS = 4
"""The extents passed to one of NumPy's inner loops: of a run, and of the core of a product."""
STEPS = 12
"""Bytes from one number to the next, for each array, and along the axes of its core."""
ARGS = 24
"""Where the current run begins in each array."""
GIVEN = 28
"""A copy of these for the inner loop, which may modify it."""
BASE = 32
"""Where each array begins."""
OUTER = 36
"""For each outer axis, the outermost first: its extent, its current index, and its stride in each array."""
MOST_ARGS = 4
OUTER_WORDS = 2 + MOST_ARGS
MOST_RANK = 8
MOST_STATES = 4
"""The maximum number of arrays in the state of an optimizer."""
COUNT = OUTER + MOST_RANK * OUTER_WORDS
"""The number of words."""
