"""Random number generators.

Layers created in Python draw from one generator, which `set_seed` restarts. Everything created by the compiler draws
from streams: one independent generator for each purpose, so that changing one layer, or adding a lane to a race, does
not change the numbers that others draw.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from nnspec.engine._numpy import np

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["Stream", "default_generator", "set_seed", "stream"]

_default: Generator | None = None


def set_seed(seed: int) -> None:
    """Restart the default generator: the same seed gives the same weights to layers created in Python."""
    global _default
    _default = np.random.default_rng(seed)


def default_generator() -> Generator:
    """Return the generator of layers that are created without their own."""
    global _default
    if _default is None:
        _default = np.random.default_rng()
    return _default


class Stream(IntEnum):
    """The purpose of a stream of random numbers. The values are part of every recorded run: never change them."""

    WEIGHTS = 0
    SHUFFLE = 1
    NOISE = 2
    GRADIENT_CHECK = 3
    VALIDATION = 4
    AUGMENT = 5
    SAMPLE = 6
    LANDSCAPE = 7
    SEARCH = 8
    RESAMPLING = 9


def stream(seed: int, purpose: Stream, *index: int) -> Generator:
    """Return the generator of one purpose (and one layer, say), independent of all others of the same seed."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(int(purpose), *index))))
