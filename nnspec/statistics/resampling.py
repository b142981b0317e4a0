"""Bootstrap resampling: how much of a result is due to chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnspec.engine._numpy import np
from nnspec.engine.random import Stream, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RESAMPLES", "resamples"]

RESAMPLES = 4000
"""Number of resamples: a share of 95 % is then known to ± 0.7 % (two standard errors)."""


def resamples(n: int, count: int = RESAMPLES, *, seed: int = 0, purpose: int = 0) -> NDArray[np.int64]:
    """Return which of n items each of `count` resamples has: `(count, n - 1)` indices, drawn with replacement.

    n − 1 items, not n, make the variance of a resampled mean s²/n, as it is estimated without bias; n of n items would
    give (n − 1)/n of it, which is too little by half for two items, by a fifth for five: Hesterberg (2015), What
    Teachers Should Know About the Bootstrap, The American Statistician 69(4). A single item is drawn always. The same
    arguments give the same indices; `purpose` tells the draws of one seed apart. Raises ValueError for no items.
    """
    if n < 1:
        raise ValueError("nothing to draw from")
    return stream(seed, Stream.RESAMPLING, purpose).integers(0, n, (count, max(n - 1, 1)))
