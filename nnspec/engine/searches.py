"""Searches for `tune`: they choose the points of the unit cube at which trials are placed. A search is a frozen set of
settings; its points depend only on a seed and the number of the study.

Every dimension has its own stream of random numbers, so that lanes with equally many spaces try the same points in
theirs, and a lane with more spaces tries the same points in the first of them.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Hashable, Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import Annotated, ClassVar

from nnspec.engine.part import Also, PlainPart, Range, comparable
from nnspec.engine.random import Stream, stream
from nnspec.engine.spaces import Space

__all__ = ["GridSearch", "HaltonSearch", "HalvingSearch", "RandomSearch", "Search"]

Row = tuple[float, ...]
"""A point of the unit cube [0, 1)^d: u for each space."""

PRIMES = tuple(n for n in range(2, 230) if all(n % d for d in range(2, math.isqrt(n) + 1)))
"""The first fifty, the bases of the dimensions of a Halton sequence."""
_PATIENCE = 1000
"""After how many settings in a row that were all tried before a search looks for the remaining ones in order."""
_MOST = 1000
"""The number of levels of a continuous space in that case."""


class Search(PlainPart):
    """Base of the searches."""

    kind: ClassVar[str] = "search"
    must_define = ("rows",)
    not_extended: ClassVar[str] = ""
    """Why a search cannot be continued with a larger budget; empty if it can."""

    def rows(self, spaces: Sequence[Space], budget: int, seed: int, study: int) -> Iterable[Row]:
        """Yield points of the unit cube, with a u in [0, 1) for each space, in the order in which they are tried. They
        may be endless, and some may give the same settings.
        """
        raise NotImplementedError

    def trials(self, spaces: Sequence[Space], budget: int) -> int:
        """Return the number of trials: the budget, or all settings if there are fewer."""
        return int(min(budget, _settings(spaces)))

    def kept(self, trials: int, budget: int) -> tuple[tuple[int, int], ...]:
        """Return at which places of their trainings only the best trials continue: pairs (d, n), in order, where the n
        best continue after 1/d of the training. Empty if all are trained to the end.
        """
        return ()

    def points(self, spaces: Sequence[Space], budget: int, seed: int, study: int = 1) -> tuple[Row, ...]:
        """Return the points to try, as many as `trials`: a row of u in [0, 1), one for each space.

        No setting is tried twice, so that there are fewer if the spaces have fewer settings. Raises ValueError for more
        spaces than the search can handle.
        """
        tried: dict[Hashable, Row] = {}
        count, repeated = self.trials(spaces, budget), 0
        for row in self.rows(spaces, budget, seed, study):
            repeated = 0 if _add(tried, spaces, row) else repeated + 1
            if len(tried) == count or repeated == _PATIENCE:
                break
        if repeated == _PATIENCE:
            for row in _lattice(spaces, [_MOST] * len(spaces)):
                if len(tried) == count:
                    break
                _add(tried, spaces, row)
        return tuple(tried.values())


def _settings(spaces: Sequence[Space]) -> float:
    """Return the number of settings, which may be infinite."""
    return math.prod(math.inf if space.size is None else space.size for space in spaces)


def _add(tried: dict[Hashable, Row], spaces: Sequence[Space], row: Row) -> bool:
    """Add a point to those tried, unless one of them has the same settings; return whether it was added."""
    count = len(tried)
    tried.setdefault(comparable([repr(space.at(u)) for space, u in zip(spaces, row, strict=True)]), row)
    return len(tried) > count


def _lattice(spaces: Sequence[Space], counts: Sequence[int]) -> Iterator[Row]:
    """Yield every combination of this many levels of the spaces; the last space varies fastest."""
    levels = [space.levels(count) for space, count in zip(spaces, counts, strict=True)]
    return itertools.product(*([space.place(v) for v in own] for space, own in zip(spaces, levels, strict=True)))


class HaltonSearch(Search):
    """A scrambled Halton sequence: points that cover the unit cube more evenly than random ones, whatever the budget.
    A larger budget extends a smaller one.

    Coordinate d of point i is the i-th number of the van der Corput sequence in the d-th prime base b: the digits of i
    in reverse after the point, each position with a random permutation of the digits 0 … b − 1. Each coordinate is
    uniform, and of b^k points from a multiple of b^k on, one lies in each of b^k equal intervals. As SciPy's
    `qmc.Halton(scramble=True)`. Halton 1960; Owen 2017 (arXiv 1706.02808); recommended for tuning by Bousquet et al.
    2017 (arXiv 1706.03200).

    Raises ValueError for more than 50 spaces.
    """

    spec_name = "halton"
    also: ClassVar[tuple[str, ...]] = (
        "Halton",
        "quasirandom",
        "quasi_random",
        "qmc",
        "sobol",
        "lhs",
        "QMCSampler",
        "latin_hypercube",
    )

    def rows(self, spaces: Sequence[Space], budget: int, seed: int, study: int) -> Iterator[Row]:
        """The sequence, from its first point on."""
        if len(spaces) > len(PRIMES):
            raise ValueError(f"`halton` covers at most {len(PRIMES)} settings, not {len(spaces)}; use `random`")
        return zip(*(_van_der_corput(seed, study, d) for d in range(len(spaces))), strict=True)


def _van_der_corput(seed: int, study: int, dimension: int) -> Iterator[float]:
    """Yield the scrambled van der Corput sequence of one dimension. Exact up to the last division, so that the numbers
    are the same on every machine.
    """
    base = PRIMES[dimension]
    rng = stream(seed, Stream.SEARCH, study, dimension)
    permutations = [rng.permutation(base).tolist() for _ in range(math.ceil(54 / math.log2(base)) - 1)]
    one = base ** len(permutations)
    for index in itertools.count():
        reversed_digits = 0
        for permutation in permutations:
            index, digit = divmod(index, base)
            reversed_digits = reversed_digits * base + permutation[digit]
        yield reversed_digits / one


class RandomSearch(Search):
    """Independent points, uniform in the unit cube. A larger budget extends a smaller one. Bergstra & Bengio 2012."""

    spec_name = "random"
    also = ("RandomSearch", "RandomizedSearchCV", "RandomSampler", "random_search", "Random")

    def rows(self, spaces: Sequence[Space], budget: int, seed: int, study: int) -> Iterator[Row]:
        """Uniform numbers, with a generator for each space."""
        generators = [stream(seed, Stream.SEARCH, study, d) for d in range(len(spaces))]
        return (tuple(float(rng.random()) for rng in generators) for _ in itertools.repeat(None))


class GridSearch(Search):
    """A full grid: every combination of a few levels of each space, with as many levels as fit into the budget. All
    spaces have the same number of levels, but the first ones may have one more, and none has more than it has values.

    A larger budget gives other points, and the budget is rarely used up: of 20 trials for three spaces, 18 = 3 · 3 · 2
    are made. All studies have the same points.
    """

    spec_name = "grid"
    not_extended = "a larger grid has other points"
    expected_failures = MappingProxyType(
        {"larger_budget": "a finer grid has different levels", "studies": "the levels depend on the spaces alone"}
    )
    also = ("GridSearch", "GridSearchCV", "GridSampler", "grid_search", "Grid", "BruteForceSampler")

    def rows(self, spaces: Sequence[Space], budget: int, seed: int, study: int) -> Iterator[Row]:
        """Every combination; the last space varies fastest."""
        return _lattice(spaces, level_counts(spaces, budget))

    def trials(self, spaces: Sequence[Space], budget: int) -> int:
        """The product of the numbers of levels."""
        return math.prod(len(s.levels(n)) for s, n in zip(spaces, level_counts(spaces, budget), strict=True))


def level_counts(spaces: Sequence[Space], budget: int) -> tuple[int, ...]:
    """Return the number of levels of each space in a grid of at most `budget` points, as equal as they can be."""
    counts = [1] * len(spaces)
    while True:
        product = math.prod(counts)
        for count, place in sorted((count, place) for place, count in enumerate(counts)):
            limit = spaces[place].size
            if (limit is None or count < limit) and product // count * (count + 1) <= budget:
                counts[place] += 1
                break
        else:
            return tuple(counts)


class HalvingSearch(HaltonSearch):
    """Successive halving: more trials for the same number of epochs, most of which are stopped early. All are trained
    for 1/d of their epochs with d = factor^(rungs − 1); the best 1/`factor` of them continue to 1/(d / factor), and so
    on, until the last rung is trained to the end. A trial that continues is trained as if it had never paused, with
    the schedule of the full training.

    A budget of B trainings is spent in epochs: as many trials are started as fit into B full trainings. With
    `factor = 3` and `rungs = 3`, a budget of 20 has 80 trials, of which 26 continue after 1/9 of their epochs, and 8 of
    these after 1/3. Trials are the points of `halton`. If all settings fit into the budget, all of them are trained to
    the end.

    It works well if the best settings lead early; slow starters, such as small learning rates, are dropped. Jamieson
    & Talwalkar 2016 (arXiv 1502.07943). As scikit-learn's `HalvingRandomSearchCV` with `resource` epochs, except that
    trainings continue instead of starting anew.
    """

    spec_name = "halving"
    not_extended = "which trials are dropped depends on the budget"
    also = (
        "SuccessiveHalving",
        "HalvingRandomSearchCV",
        "HalvingGridSearchCV",
        "hyperband",
        "ASHA",
        "Hyperband",
        "SHA",
    )
    factor: Annotated[int, Range(low=2, high=10), Also("reduction_factor", "eta")] = 3
    rungs: Annotated[int, Range(low=2, high=6), Also("brackets", "stages")] = 3

    @property
    def first(self) -> int:
        """d: all trials are trained for 1/d of their epochs. A training needs as many."""
        return int(self.factor ** (self.rungs - 1))

    def trials(self, spaces: Sequence[Space], budget: int) -> int:
        """As many as fit into the epochs of the budget."""
        fits = range(budget, budget * self.first + 1)
        most = fits[bisect_right(fits, budget * self.first, key=self._cost) - 1]
        return int(min(most, _settings(spaces)))

    def kept(self, trials: int, budget: int) -> tuple[tuple[int, int], ...]:
        """The best ⌊n / factor⌋, ⌊n / factor²⌋, …, but at least one."""
        if trials <= budget:
            return ()
        places = [self.factor**rung for rung in range(1, self.rungs)]
        return tuple((self.first * self.factor // place, max(1, trials // place)) for place in places)

    def _cost(self, trials: int) -> int:
        """Return the cost of trials in units of 1/d of a training."""
        kept = [max(1, trials // self.factor**rung) for rung in range(1, self.rungs)]
        return trials + sum(n * (self.factor - 1) * self.factor**rung for rung, n in enumerate(kept))
