"""The results of a bench: contestants that were tuned and raced on several problems, and what follows from them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from nnspec.engine.metrics.contract import higher_is_better
from nnspec.reprs import TableRepr
from nnspec.statistics.profiles import Profile, ProfileBand, profile_bands, profiles
from nnspec.statistics.significance import LEVEL, Interval, Test, between_studies, holm, interval, paired
from nnspec.statistics.stability import Stability, over_seeds
from nnspec.statistics.targets import Times, times_to_target
from nnspec.text import finite

__all__ = ["MEASURES", "BenchResult", "BenchRun", "Entry", "Measure", "Problem", "Setting"]

Measure = Literal["steps", "gradient_evaluations", "seconds"]
MEASURES: tuple[Measure, ...] = ("steps", "gradient_evaluations", "seconds")
"""What the time to a target is measured in: steps of the optimizer, evaluations of the gradient on a batch, seconds of
training."""
_SHORTEST = 1e-9  # seconds; costs of a profile must be positive


@dataclass(frozen=True)
class Setting:
    """A setting that the search chose, and its value in spec syntax."""

    name: str
    value: str


@dataclass(frozen=True)
class BenchRun:
    """One training of a contestant in the race on a problem. Figures that there are not, or that are not finite, are
    None."""

    study: int
    seed: int
    status: str
    figure: float | None
    """The deciding figure at the end."""
    test: float | None
    """The same figure of the test data."""
    steps: float
    gradient_evaluations: float
    seconds: float
    """What the whole training took."""
    steps_to: float | None
    gradient_evaluations_to: float | None
    seconds_to: float | None
    """What it took until the target was first reached; None if it never was."""


@dataclass(frozen=True)
class Entry:
    """A contestant on a problem."""

    contestant: str
    trials: int
    """The number of trials in which its settings were searched for, over all studies."""
    diverged: int
    """How many of them did not end with a figure."""
    chosen: tuple[tuple[Setting, ...], ...]
    """The settings that each study chose."""
    runs: tuple[BenchRun, ...]

    @property
    def untrained(self) -> bool:
        """Whether it did not race, because none of its trials ended with a figure: it has not solved the problem."""
        return self.trials > 0 and not self.chosen

    @property
    def lost(self) -> int:
        """The number of trainings without a final figure."""
        return sum(run.figure is None for run in self.runs)

    @property
    def figures(self) -> list[list[float]]:
        """The final figure of each training, by study; NaN for those without one."""
        found: dict[int, list[float]] = {}
        for run in self.runs:
            found.setdefault(run.study, []).append(_number(run.figure))
        return [*found.values()]

    def interval(self, what: Literal["figure", "test"] = "figure") -> Interval:
        """Return the mean and 95 % interval of a final figure over the trainings that have one."""
        return interval(_number(getattr(run, what)) for run in self.runs)

    def times(self, measure: Measure) -> Times:
        """Return when its trainings reached the target."""
        return times_to_target(self.costs(measure), [float(getattr(run, measure)) for run in self.runs])

    def costs(self, measure: Measure) -> list[float]:
        """Return what each training took until it reached the target; infinity for those that never did."""
        return [_cost(getattr(run, f"{measure}_to")) for run in self.runs]


@dataclass(frozen=True)
class Problem:
    """A problem and what the contestants achieved on it."""

    name: str
    """The name of its folder in that of the bench."""
    path: str
    sha256: str
    """A digest of its text."""
    by: str
    """The figure by which settings are chosen, and for which the target is."""
    target: float
    status: str
    """`done`, `failed`, `interrupted`, or `omitted`: it did not fit in a budget of time, or the bench ended before
    it."""
    message: str = ""
    """Why it was not done."""
    test: str = ""
    """The same figure of the test data; empty if there is none."""
    identity: str = ""
    """The identity of its spec with the contestants: all that its results depend on."""
    digests: tuple[Setting, ...] = ()
    """The SHA-256 of each record in its folder."""
    notes: tuple[str, ...] = ()
    """Remarks on its data and on the search: other data was used, or a search space is too narrow."""
    took: float = 0.0
    """The seconds from start to end, on the machine that ran it; the only number that cannot be computed again."""
    entries: tuple[Entry, ...] = ()

    def __getitem__(self, contestant: str) -> Entry:
        """Return the results of a contestant. Raises KeyError."""
        for entry in self.entries:
            if entry.contestant == contestant:
                return entry
        raise KeyError(contestant)

    @property
    def lower_is_better(self) -> bool:
        """Whether the lowest figure is the best."""
        return not higher_is_better(self.by)

    @cached_property
    def stability(self) -> Stability | None:
        """How often the best contestant stays the best if seeds are drawn again; None with fewer than three."""
        figures = {
            entry.contestant: {number: _number(run.figure) for number, run in enumerate(entry.runs)}
            for entry in self.entries
        }
        return over_seeds(figures, self.lower_is_better) if figures else None

    @property
    def best(self) -> str:
        """The contestant with the best mean figure; one of which a training has none comes last."""
        sign = 1 if self.lower_is_better else -1
        order = {
            entry.contestant: (any(run.figure is None for run in entry.runs), sign * entry.interval().mean)
            for entry in self.entries
        }
        return min(order, key=lambda name: order[name])

    @cached_property
    def leaders(self) -> frozenset[str]:
        """The best contestant, and those whose mean figure is not shown to be worse: at 5 %, by Welch's t-test between
        the studies or, with a single one, a paired t-test over its seeds, with Holm's correction."""
        best = self[self.best]
        rivals = [entry for entry in self.entries if entry is not best and not (entry.lost or best.lost)]
        tests = [_test(best, entry) for entry in rivals]
        adjusted = holm([test.p for test in tests])
        level = [entry for entry, test, p in zip(rivals, tests, adjusted, strict=True) if _no_difference(test, p)]
        return frozenset(entry.contestant for entry in (best, *level))


def _test(one: Entry, other: Entry) -> Test:
    ours, theirs = one.figures, other.figures
    if len(ours) > 1:
        return between_studies(ours, theirs)
    return paired(dict(enumerate(ours[0])), dict(enumerate(theirs[0])))


def _no_difference(test: Test, p: float) -> bool:
    return p >= LEVEL or test.difference == 0


@dataclass(frozen=True, repr=False)
class BenchResult(TableRepr):
    """The results of a bench.

    result.profiles("steps")              # performance profiles, by Dolan & Moré
    result["quadratic"].entries           # each contestant on a problem
    """

    version: str
    """The version of nnspec."""
    contestants: str
    """The path of the file of contestants."""
    sha256: str
    """A digest of its text."""
    names: tuple[str, ...]
    """The contestants."""
    set: tuple[str, ...]
    """The settings that override those of the specs."""
    trials: int
    """The number of trials for each contestant, problem and study."""
    asked: int
    """The number of trials that the file of contestants asks for; it is larger if a budget of time left room for
    fewer."""
    problems: tuple[Problem, ...]
    environment: tuple[Setting, ...] = ()
    """Versions and machine, on which times depend."""
    folder: str = ""
    """Where it was read from, or written to; not part of the record."""

    def __getitem__(self, name: str) -> Problem:
        """Return a problem. Raises KeyError."""
        for problem in self.problems:
            if problem.name == name:
                return problem
        raise KeyError(f"unknown problem {name!r}; choose from {', '.join(each.name for each in self.problems)}")

    @property
    def done(self) -> tuple[Problem, ...]:
        """The problems that were trained to the end. All comparisons are over these."""
        return tuple(problem for problem in self.problems if problem.status == "done")

    @property
    def interrupted(self) -> bool:
        """Whether it was interrupted before all problems were done."""
        return any(problem.status == "interrupted" for problem in self.problems)

    @property
    def exit_code(self) -> int:
        """0 for success; 1 if a problem failed; 130 if interrupted."""
        if self.interrupted:
            return 130
        return 1 if any(problem.status == "failed" for problem in self.problems) else 0

    def costs(self, measure: Measure) -> dict[str, list[list[float]]]:
        """Return what the time to the target cost: contestant -> problem -> repeat; infinity if it was not reached."""
        return {
            name: [[max(cost, _SHORTEST) for cost in problem[name].costs(measure)] for problem in self.done]
            for name in self.names
        }

    def profiles(self, measure: Measure = "steps") -> tuple[Profile, ...]:
        """Return the performance profile of each contestant: on which share of the problems its median over repeats is
        at most τ times that of the best one. Empty if no problem is done."""
        return profiles(self.costs(measure)) if self.done else ()

    def bands(self, measure: Measure = "steps") -> tuple[ProfileBand, ...]:
        """Return 95 % bootstrap bands of the profiles, at all `taus`, and of the scores: problems, and repeats of each,
        are drawn again."""
        return self._bands[measure]

    @cached_property
    def _bands(self) -> dict[Measure, tuple[ProfileBand, ...]]:
        return {
            measure: profile_bands(self.costs(measure), self.taus(measure)) if self.done else () for measure in MEASURES
        }

    def taus(self, measure: Measure = "steps") -> tuple[float, ...]:
        """Return 1 and all ratios at which a profile rises."""
        found = {ratio for profile in self.profiles(measure) for ratio in profile.ratios if math.isfinite(ratio)}
        return tuple(sorted({1.0, *found}))

    def record(self) -> dict[str, Any]:
        """Return it as JSON values, with the profiles and scores that follow from the results."""
        own = {name: value for name, value in asdict(self).items() if name != "folder"}
        return {**own, "follows": self._follows()}

    def _follows(self) -> dict[str, Any]:
        """Return what is computed from the results."""
        measured = {}
        for measure in MEASURES:
            measured[measure] = [
                {
                    "contestant": profile.contestant,
                    "ratios": [finite(ratio) for ratio in profile.ratios],
                    "solved": profile.solved,
                    "score": profile.score(),
                    "score_low": band.score[0],
                    "score_high": band.score[1],
                    "best_share": band.best,
                    "tau": list(band.taus),
                    "rho": [profile.share(tau) for tau in band.taus],
                    "low": list(band.low),
                    "high": list(band.high),
                }
                for profile, band in zip(self.profiles(measure), self.bands(measure), strict=True)
            ]
        return {
            "profiles": measured,
            "stability": {
                problem.name: dict(problem.stability.first) for problem in self.done if problem.stability is not None
            },
        }


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _cost(value: float | None) -> float:
    return math.inf if value is None else value
