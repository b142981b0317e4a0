"""How often the statistics of a race mislead, and how often they find a difference: simulated contestants.

The tables of docs/statistics.md come from here: `python tests/false_alarms.py` makes them again in a few minutes, and a
test compares them with shorter simulations. Figures are simulated, not trained, so that the truth is known.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnspec.statistics.budgets import expected_best
from nnspec.statistics.changes import change
from nnspec.statistics.comparison import Contender, among, compare
from nnspec.statistics.profiles import profile_bands
from nnspec.statistics.profiles import profiles as performance_profiles
from nnspec.statistics.sensitivity import sensitivity
from nnspec.statistics.significance import LEVEL, mean, paired, welch
from nnspec.statistics.stability import over_seeds, over_trials

PAGE = Path(__file__).resolve().parents[1] / "docs" / "statistics.md"
SHOWN = 0.95
"""The share of resamples in which the winner stays first that is taken as a claim."""
RESAMPLES = 1000

Random = np.random.Generator
SPREADS: dict[str, Callable[[Random, tuple[int, ...]], np.ndarray]] = {
    "normal": lambda random, shape: random.normal(size=shape),
    "heavy-tailed": lambda random, shape: random.standard_t(3, size=shape) / math.sqrt(3),
    "skewed": lambda random, shape: np.exp(random.normal(size=shape)) / math.sqrt((math.e - 1) * math.e),
}
"""Figures over seeds with a standard deviation of 1: normal, Student's t with 3 degrees of freedom, log-normal."""


@dataclass(frozen=True)
class Table:
    """Numbers by row and column. `repeats` is the number of simulations that a share is taken of; 0 for no shares."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    repeats: int = 0

    def lines(self) -> Iterable[str]:
        """The table in Markdown, without its head."""
        for label, numbers in self.rows:
            cells = (f"{100 * x:.0f} %" if self.repeats else f"{x:.2f}" for x in numbers)
            yield f"| {label} | {' | '.join(cells)} |"


def share(hits: Iterable[bool]) -> float:
    counted = [*hits]
    return sum(counted) / len(counted)


# Lanes over seeds


def stays(figures: Sequence[Sequence[float]], winner: int | None = None) -> bool:
    """Whether the winner (that lane, if one is given) stays first in 95 % of resamples of the seeds."""
    lanes = {str(lane): dict(enumerate(each)) for lane, each in enumerate(figures)}
    stability = over_seeds(lanes, True, count=RESAMPLES)
    return stability is not None and stability.share >= SHOWN and winner in (None, int(stability.winner))


def differs(a: Sequence[float], b: Sequence[float]) -> bool:
    return paired(dict(enumerate(a)), dict(enumerate(b))).p < LEVEL


def any_pair(figures: Sequence[Sequence[float]]) -> bool:
    """Whether a race would say that any two of its lanes differ."""
    lanes = [
        Contender("", str(lane), "CrossEntropy", {seed: {"loss": x} for seed, x in enumerate(each)})
        for lane, each in enumerate(figures)
    ]
    return any(comparison.shown for comparison in compare(among(lanes, "loss"), "loss"))


def equal(repeats: int) -> Table:
    """Lanes that do not differ."""
    random, rows = np.random.default_rng(1), []
    for name, draw in SPREADS.items():
        for seeds in (3, 5, 10, 20):
            two, five = (draw(random, (repeats, lanes, seeds)).tolist() for lanes in (2, 5))
            numbers = share(differs(a, b) for a, b in two), share(map(any_pair, five)), share(map(stays, two))
            rows.append((f"{name}, {seeds} seeds", (*numbers, share(map(stays, five)))))
    return Table(
        ("t-test, 2 lanes", "t-tests, 5 lanes", "≥ 95 % first, 2 lanes", "≥ 95 % first, 5 lanes"), tuple(rows), repeats
    )


def better(repeats: int) -> Table:
    """The first of two lanes is better by one deviation, or by two."""
    random, rows = np.random.default_rng(2), []
    for name, draw in SPREADS.items():
        for seeds in (3, 5, 10, 20):
            numbers = []
            for by in (1.0, 2.0):
                figures = draw(random, (repeats, 2, seeds))
                figures[:, 0] -= by
                lanes = figures.tolist()
                numbers += [
                    share(differs(a, b) and mean(a) < mean(b) for a, b in lanes),
                    share(stays(x, 0) for x in lanes),
                ]
            rows.append((f"{name}, {seeds} seeds", tuple(numbers)))
    columns = "1 deviation: t-test", "≥ 95 % first", "2 deviations: t-test", "≥ 95 % first"
    return Table(columns, tuple(rows), repeats)


# Tuned lanes

NOISE = 0.02


@dataclass(frozen=True)
class Optimizer:
    """A lane whose loss is known: 0.3 − 0.02 by + 0.4 (x − c)² + 0.1 z², with x in decades of the rate.

    The best rate c lies somewhere in a space of four decades, and rates beyond c + 1 diverge; z in [−1, 1] is another
    hyperparameter. Seeds have a deviation of 0.02.
    """

    random: Random
    by: float = 0.0

    def tuned(self, budget: int, seeds: int = 5) -> tuple[list[float], list[float]]:
        """The figures of random trials, and the final figures of the best setting over seeds."""
        c = self.random.uniform(1, 3)
        x, z = self.random.uniform(0, 4, budget), self.random.uniform(-1, 1, budget)
        loss = np.where(x > c + 1, math.nan, 0.3 - self.by * NOISE + 0.4 * (x - c) ** 2 + 0.1 * z**2)
        trials = loss + NOISE * self.random.normal(size=budget)
        if np.isnan(trials).all():
            return trials.tolist(), [math.nan] * seeds
        return trials.tolist(), (loss[np.nanargmin(trials)] + NOISE * self.random.normal(size=seeds)).tolist()


def tuned(repeats: int) -> Table:
    """Two tuned lanes, of which the first is better by so many deviations of the seeds."""
    random, rows = np.random.default_rng(3), []
    for by in (0.0, 1.0, 2.0):
        for budget in (5, 20, 50):
            lanes = Optimizer(random, by), Optimizer(random)
            hits = [_verdicts(lanes, budget, by) for _ in range(repeats)]
            label = f"better by {by:.0f} deviation{'s' if by > 1 else ''}" if by else "equal"
            rows.append((f"{label}, budget {budget}", tuple(share(column) for column in zip(*hits, strict=True))))
    columns = "t-test, 1 study", "≥ 95 % first, trials", "both", "t-test, 5 studies"
    return Table(columns, tuple(rows), repeats)


def _verdicts(lanes: tuple[Optimizer, Optimizer], budget: int, by: float) -> tuple[bool, bool, bool, bool]:
    studies = [[lane.tuned(budget) for lane in lanes] for _ in range(5)]
    (a_trials, a), (b_trials, b) = studies[0]
    test = differs(a, b) and (not by or mean(a) < mean(b))
    stability = over_trials({"a": a_trials, "b": b_trials}, True)
    stable = stability is not None and stability.share >= SHOWN and (not by or stability.winner == "a")
    means = [[mean(study[lane][1]) for study in studies] for lane in (0, 1)]
    between = welch(*means)
    return test, stable, test and stable, between.p < LEVEL and (not by or between.difference < 0)


# Changes


def changes(repeats: int) -> Table:
    """New figures beside recorded ones: nothing changed, or the mean by two or three deviations."""
    random, rows = np.random.default_rng(4), []
    for name, draw in SPREADS.items():
        for old, new in ((3, 1), (5, 1), (5, 5), (10, 1), (20, 1), (20, 3)):
            numbers = []
            for by in (0.0, 2.0, 3.0):
                figures = draw(random, (repeats, old + new))
                figures[:, old:] += by
                numbers.append(share(change(row[:old], row[old:]).shown for row in figures.tolist()))
            rows.append((f"{name}, {old} recorded, {new} new", tuple(numbers)))
    return Table(("no change", "2 deviations worse", "3 deviations worse"), tuple(rows), repeats)


# Trials


def bands(repeats: int) -> Table:
    """How often the best of k other random trials lies within the band of the best of k of n trials."""
    random, rows = np.random.default_rng(5), []
    for n in (10, 20, 50):
        numbers = []
        for part in (0.1, 0.25, 0.5, 1.0):
            k = max(1, round(part * n))
            draws = np.exp(random.normal(size=(repeats, n))).tolist()
            others = np.exp(random.normal(size=(repeats, k))).min(axis=1).tolist()
            found = [expected_best(row, True)[k - 1] for row in draws]
            numbers.append(share(best.low <= other <= best.high for best, other in zip(found, others, strict=True)))
        rows.append((f"{n} trials", tuple(numbers)))
    return Table(("k = n/10", "k = n/4", "k = n/2", "k = n"), tuple(rows), repeats)


def factors(repeats: int) -> Table:
    """The logarithm of the factor of `sensitivity`, divided by the true one, on 1 + (x/w)² + Σ z² with noise."""
    random, rows = np.random.default_rng(6), []
    for trials in (10, 20, 50):
        for others in (0, 1, 2):
            for noise in (0.05, 0.2):
                rows.append(
                    (
                        f"{trials} trials, {others + 1} tuned, noise {100 * noise:.0f} %",
                        _factor(random, repeats, trials, others, noise),
                    )
                )
    return Table(("median", "10 %", "90 %", "no estimate"), tuple(rows))


def _factor(random: Random, repeats: int, trials: int, others: int, noise: float) -> tuple[float, ...]:
    ratios = []
    for _ in range(repeats):
        x, width, best = random.uniform(0, 5, trials), random.uniform(0.4, 1.0), random.uniform(1.5, 3.5)
        losses = 1 + ((x - best) / width) ** 2 + (random.uniform(-1, 1, (others, trials)) ** 2).sum(axis=0)
        figures = losses * np.exp(noise * random.normal(size=trials))
        figures[x > best + 1.5 * width] = math.nan
        factor = sensitivity((10.0**x).tolist(), figures.tolist(), True).factor
        ratios += [math.log10(factor) / width] if factor is not None else []
    return (*np.quantile(ratios, [0.5, 0.1, 0.9]).tolist(), 1 - len(ratios) / repeats)


# Benches


RIVALS = {"": (0.2, 0.4), ", a clear winner": (1.5, 1.5, 1.5, 1.5), ", a weak contestant": (-1.0, -1.0, -1.0, -1.0)}
"""By how much the logarithmic costs of other contestants are higher than those of the first one."""


def profiles(repeats: int) -> Table:
    """How often a band of 95 % holds the profile at τ = 2, and the score, that infinitely many problems would give; and
    how often the percentile bootstrap over the problems would."""
    random, rows = np.random.default_rng(7), []
    for what, rivals in RIVALS.items():
        true = performance_profiles(_costs(random, rivals, 10_000))[0]
        for problems in (5, 10, 20):
            hits = []
            for _ in range(repeats):
                costs = _costs(random, rivals, problems)
                band = profile_bands(costs, (2.0,), count=2)[0]
                ratios = np.array(performance_profiles(costs)[0].ratios)
                hits.append(
                    (
                        band.low[0] <= true.share(2) <= band.high[0],
                        band.score[0] <= true.score() <= band.score[1],
                        _in_bootstrap(random, (ratios <= 2).astype(float), true.share(2)),
                        _in_bootstrap(random, np.maximum(0, 4 - ratios) / 3, true.score()),
                    )
                )
            rows.append((f"{problems} problems{what}", tuple(share(each) for each in zip(*hits, strict=True))))
    return Table(("ρ(2)", "score", "ρ(2), bootstrap", "score, bootstrap"), tuple(rows), repeats)


def _in_bootstrap(random: Random, values: np.ndarray, true: float) -> bool:
    means = values[random.integers(0, len(values), (RESAMPLES, len(values) - 1))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return bool(low <= true <= high)


def _costs(random: Random, rivals: Sequence[float], problems: int) -> dict[str, list[list[float]]]:
    """Contestants whose costs vary by a factor of about two from problem to problem; one in ten fails."""
    shape = (1 + len(rivals), problems)
    costs = np.exp(0.7 * random.normal(size=shape) + np.array([0.0, *rivals])[:, None])
    costs[random.random(shape) < 0.1] = math.inf
    return {str(lane): row[:, None].tolist() for lane, row in enumerate(costs)}


TABLES: dict[str, tuple[Callable[[int], Table], int]] = {
    "equal": (equal, 2000),
    "better": (better, 2000),
    "tuned": (tuned, 2000),
    "changes": (changes, 4000),
    "bands": (bands, 2000),
    "factors": (factors, 1000),
    "profiles": (profiles, 250),
}
"""Name of a table -> what simulates it, and how many repeats its page shows."""


def published(name: str) -> dict[str, list[float]]:
    """The numbers of a table of the page, by row."""
    found = re.search(rf"<!-- {name} -->\n((?:\|.*\n)+)", PAGE.read_text(encoding="utf-8"))
    if found is None:
        raise LookupError(f"{PAGE.name} has no table {name}")
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in found[1].splitlines()[2:]]
    return {row[0]: [float(cell[:-2]) / 100 if cell.endswith("%") else float(cell) for cell in row[1:]] for row in rows}


def main(names: Sequence[str]) -> None:
    for name in names or TABLES:
        simulate, repeats = TABLES[name]
        _publish(name, simulate(repeats))
        print(name, flush=True)


def _publish(name: str, table: Table) -> None:
    head = f"| | {' | '.join(table.columns)} |", f"|---|{'---|' * len(table.columns)}"
    body = "".join(f"{line}\n" for line in (f"<!-- {name} -->", *head, *table.lines()))
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(rf"<!-- {name} -->\n(\|.*\n)*", lambda _: body, page), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
