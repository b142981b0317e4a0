"""Where random numbers come from.

Layers that are made by hand draw from one generator, which `set_seed` restarts. What the compiler makes draws from
streams: one independent generator for each purpose, so that a change to one layer, or one more lane in a race, does
not change the numbers that another one sees.
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
    """Restart the generator of layers that are made by hand: the same seed gives the same weights."""
    global _default
    _default = np.random.default_rng(seed)


def default_generator() -> Generator:
    """Return the generator of layers that are made without one of their own."""
    global _default
    if _default is None:
        _default = np.random.default_rng()
    return _default


class Stream(IntEnum):
    """What a stream of random numbers is for. The numbers are part of every recorded run: never change them."""

    WEIGHTS = 0
    SHUFFLE = 1
    NOISE = 2
    GRADIENT_CHECK = 3
    VALIDATION = 4
    AUGMENT = 5
    SAMPLE = 6
    LANDSCAPE = 7


def stream(seed: int, purpose: Stream, *index: int) -> Generator:
    """Return the generator of one purpose (and one layer, say), independent of all others of the same seed."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(int(purpose), *index))))
