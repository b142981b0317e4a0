"""Where each thing is in the words of a kernel that goes through arrays of several axes.

An array is gone through run by run: the innermost axis is a run, which the kernel's inner loop takes at once, and the
outer axes are counted like the wheels of an odometer.
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
    "NARGS",
    "OUTER",
    "OUTER_WORDS",
    "RANK",
    "STEPS",
]

NARGS = 2
"""How many arrays there are."""
RANK = 3
"""How many outer axes."""
DIMS = 4
"""The extents that an inner loop of NumPy is given: of a run, and of the core of a product."""
STEPS = 12
"""Bytes from one number to the next, of each array, and along the axes of its core."""
ARGS = 24
"""Where in each array the run begins that is worked on."""
GIVEN = 28
"""The same, as an inner loop is given it, which may change it."""
BASE = 32
"""Where each array begins."""
OUTER = 36
"""Of each outer axis, the outermost first: its extent, where it stands, and its stride in each array."""
MOST_ARGS = 4
OUTER_WORDS = 2 + MOST_ARGS
MOST_RANK = 8
COUNT = OUTER + MOST_RANK * OUTER_WORDS
"""How many words there are."""
