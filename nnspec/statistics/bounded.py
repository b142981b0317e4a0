"""Confidence intervals for the mean of a few values in [0, 1], such as shares of problems."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnspec.engine._numpy import np
from nnspec.engine.random import Stream, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["bounded_means"]

_DRAWS = 40_000
"""The number of draws from which quantiles are taken: for five values, the ends of an interval are then known to about
± 0.003."""


def bounded_means(
    values: NDArray[np.float64], *, level: float = 0.95, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of the confidence interval for the mean of each row: `(rows, n) -> (rows,)` and `(rows,)`.

    The upper end is the (1 + level) / 2 quantile of Σ w_i x_i, over the values and a further 1, where the n + 1
    weights w are the gaps between n sorted uniform numbers; the lower end is the same for 1 − x, that is, with a
    further 0: Gaffke (2005), Three test statistics for a nonparametric one-sided hypothesis on the mean of a
    nonnegative variable, Math. Methods Statist. 14; Learned-Miller & Thomas (2019), A New Confidence Interval for the
    Mean of a Bounded Random Variable, arXiv 1905.06208. If all values are 0 or 1, it is the interval of Clopper &
    Pearson (1934), which contains the true mean at least as often as its level says; for other values in [0, 1], that
    is a conjecture with no known counterexample. A bootstrap interval, in contrast, never extends beyond the values.
    The same arguments give the same interval.
    """
    n = values.shape[1]
    drawn = np.sort(stream(seed, Stream.RESAMPLING, n).random((_DRAWS, n)), axis=1)
    gaps = np.diff(drawn, axis=1, prepend=0.0, append=1.0)
    means = np.zeros((len(values), _DRAWS))
    for column, gap in zip(values.T, gaps.T, strict=False):  # term by term, so that every machine rounds alike
        means += column[:, None] * gap
    low, high = means, means + gaps[:, -1]
    return np.quantile(low, (1 - level) / 2, axis=1), np.quantile(high, (1 + level) / 2, axis=1)
