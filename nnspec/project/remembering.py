"""What a spec gives now, compared with its entry in the baseline."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from nnspec.checker.program import Figure
from nnspec.compiler.proofs import Compiled
from nnspec.diagnostics.formats.base import plural
from nnspec.engine.metrics.contract import higher_is_better
from nnspec.environment import environment, in_words
from nnspec.project.baseline import LaneEntry, SpecEntry, fingerprint
from nnspec.results.data_use import DataUse
from nnspec.results.run import RunResult
from nnspec.runner.gradients import lanes_to_prove
from nnspec.runner.verdicts import measured, outcomes
from nnspec.semantics.meaning import Meaning, changes, identity, meaning
from nnspec.semantics.statements import statements
from nnspec.statistics.changes import Change, change, change_by_seed
from nnspec.statistics.significance import mean

__all__ = ["Difference", "Now", "Outcome", "RecordedLane", "compared", "differences", "lane_of", "same_data", "tests"]

_NEGLIGIBLE = 1e-6
"""Relative difference below which figures of other kernels or another meaning count as equal: rounding."""


@dataclass(frozen=True)
class Now:
    """A spec that is about to be tested, as far as its results depend on it."""

    compiled: Compiled

    @cached_property
    def meaning(self) -> Meaning:
        """Everything that its results depend on but data and kernels."""
        return meaning(self.compiled.program)

    @cached_property
    def identities(self) -> dict[str, str]:
        """The identity of each lane: that of a program without the others."""
        return {lane: identity(Meaning({lane: values})) for lane, values in self.meaning.lanes.items()}

    @cached_property
    def _fingerprint(self) -> tuple[str, dict[str, Any]]:
        return fingerprint(environment(self.compiled.program.parts()))

    @property
    def kernels(self) -> str:
        """The fingerprint of its kernels."""
        return self._fingerprint[0]

    @property
    def environment(self) -> dict[str, Any]:
        """What the fingerprint is a digest of."""
        return self._fingerprint[1]

    @cached_property
    def expectations(self) -> str:
        """A digest of its expectations, whatever their order and spelling."""
        found = sorted(" and ".join(sorted(each)) for each in statements(self.compiled.program, {}))
        return hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]

    def has_changed(self, entry: SpecEntry) -> bool:
        """Whether its meaning is not that of an entry."""
        lanes = {name: lane_of(name, self.identities) for name in entry.lanes}
        same = all(self.identities.get(lanes[name]) == lane.identity for name, lane in entry.lanes.items())
        return not same or {*lanes.values()} != {*self.identities}

    def is_known(self, entry: SpecEntry) -> bool:
        """Whether its results are those of an entry if its data is: a spec that failed is always trained again."""
        same = (self.kernels, self.expectations) == (entry.kernels, entry.expectations)
        return entry.passed and same and not self.has_changed(entry)

    def may_keep(self, entry: SpecEntry) -> bool:
        """Whether some of its lanes may have the results of an entry, if their data is the same."""
        recorded = {(name, lane.identity) for name, lane in entry.lanes.items()}
        return self.is_known(entry) or bool(self._reusable(entry) and recorded & {*self.identities.items()})

    def _reusable(self, entry: SpecEntry) -> bool:
        """Whether lanes of an entry can stand beside lanes that are trained now. A search is one thing, and errors of
        gradients are not recorded."""
        program = self.compiled.program
        return entry.passed and entry.kernels == self.kernels and program.tuning is None and not lanes_to_prove(program)

    def kept(self, entry: SpecEntry, uses: Mapping[str, DataUse]) -> dict[str, LaneEntry]:
        """Return the lanes that need not be trained: meaning, data and kernels are those of the entry, which has every
        figure that is expected of them."""
        wanted = measured(self.compiled.program)
        return {
            name: lane
            for name, lane in entry.lanes.items()
            if self._reusable(entry)
            and self.identities.get(name) == lane.identity
            and uses[name].sha256 == lane.sha256
            and all(figure.text in lane.figures for figure in wanted if figure.lane == name)
        }

    def without(self, lanes: Collection[str]) -> Compiled:
        """Return the program without some lanes, and then without expectations, which may speak of them."""
        if not lanes:
            return self.compiled
        program = self.compiled.program
        others = tuple(lane for lane in program.lanes if lane.name not in lanes)
        return replace(self.compiled, program=replace(program, lanes=others, expectations=()))

    def entry(
        self, result: RunResult, kept: Mapping[str, LaneEntry], *, passed: bool, seconds: float
    ) -> SpecEntry | None:
        """Return what to record of a run and the lanes that it did without; None if it was interrupted."""
        of = {name: lane_of(name, self.identities) for name in (*kept, *result.lanes)}
        if result.interrupted or {*of.values()} != {*self.identities}:
            return None
        uses = {name: result.data[index] for name, index in result.data_of.items()}
        trained = {
            name: LaneEntry(
                identity=self.identities[of[name]],
                data=uses[name].source,
                sha256=uses[name].sha256,
                seeds=tuple(next(iter(figures.values()))),
                figures={figure: tuple(map(_finite, values.values())) for figure, values in figures.items()},
            )
            for name, figures in outcomes(self.compiled.program, result.lanes).items()
        }
        lanes = {
            name: lane for each in self.identities for name, lane in {**kept, **trained}.items() if of[name] == each
        }
        rounded = float(f"{seconds:.2g}")
        meant = Meaning({name: self.meaning.lanes[of[name]] for name in lanes})
        return SpecEntry(passed, rounded, self.kernels, self.expectations, meant, lanes)


@dataclass(frozen=True)
class RecordedLane:
    """A lane that is not trained, to judge what is expected of it; with `seed`, one of its trainings."""

    entry: LaneEntry
    seed: int | None = None

    @property
    def status(self) -> str:
        """`done`, since its spec passed."""
        return "done"

    @property
    def repeats(self) -> tuple[RecordedLane, ...]:
        """The individual trainings, one per seed; empty if there was only one."""
        seeds = self.entry.seeds if self.seed is None and len(self.entry.seeds) > 1 else ()
        return tuple(RecordedLane(self.entry, seed) for seed in seeds)

    def final(self, figure: str) -> float:
        """Return a figure at the end, the mean over its seeds. Raises KeyError if it is not recorded."""
        values = self.entry.by_seed(figure)
        return mean(values.values() if self.seed is None else [values[self.seed]])

    def epochs_to(self, target: float) -> float:
        """Return a number of epochs that is recorded; infinity if the target was never reached."""
        found = self.final(Figure("", "epochs_to", target).text)
        return math.inf if math.isnan(found) else found


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.nan


def lane_of(name: str, lanes: Iterable[str]) -> str:
    """Return the lane of a program that a trained one comes from: `SGD` of `SGD,study=2`, if `SGD` has two studies."""
    return max((lane for lane in lanes if name == lane or name.startswith(f"{lane},")), key=len, default="")


def same_data(entry: SpecEntry, uses: Mapping[str, DataUse]) -> bool:
    """Whether every lane has the data that was recorded."""
    return all(uses[lane_of(name, uses)].sha256 == lane.sha256 for name, lane in entry.lanes.items())


def differences(then: SpecEntry, now: SpecEntry, kernels: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Describe what results depend on and is not as it was recorded; `kernels` describes each fingerprint."""
    if then.kernels != now.kernels:
        before, here = kernels.get(then.kernels, {}), kernels.get(now.kernels, {})
        names = [name for name in dict.fromkeys((*before, *here)) if before.get(name) != here.get(name)]
        found = [f"{name} {_short(before.get(name))}, now {_short(here.get(name))}" for name in names if before]
        yield f"different kernels: {'; '.join(found) or 'the baseline does not describe its own'}"
    for lane, entry in now.lanes.items():
        known = then.lanes.get(lane)
        if known is not None and known.sha256 != entry.sha256:
            named = f": it was {known.data} and is now {entry.data}" if known.data != entry.data else ""
            yield f"different data in lane {lane}{named}"
    yield from (each.text for each in changes(then.meaning, now.meaning))


def _short(value: Any) -> str:
    return in_words(value)[:120]


# Figures


Outcome = Literal["same", "worse", "better", "unclear", "not reproduced", "new", "gone"]


@dataclass(frozen=True)
class Difference:
    """A figure of a lane, compared with the baseline; without a figure, a lane that is new or gone."""

    lane: str
    figure: str
    outcome: Outcome
    change: Change | None = None
    old: float = math.nan
    """The mean of the finite values over the recorded seeds, and `new` over those of now."""
    new: float = math.nan
    detail: str = ""

    @property
    def name(self) -> str:
        """The figure with its lane."""
        return f"{self.lane} {self.figure}".strip()

    @property
    def text(self) -> str:
        """The comparison in words: `0.312 → 0.287, -0.025 [-0.031, -0.019], p = 0.0003, 5 seeds`."""
        if self.change is None:
            return self.detail or self.outcome
        return f"{self.old:.4g} → {self.new:.4g}{self._test(self.change)}"

    def _test(self, found: Change) -> str:
        words = [f"{found.difference:+.3g}" if math.isfinite(found.difference) else ""]
        if math.isfinite(found.low):
            words[0] += f" [{found.low:+.3g}, {found.high:+.3g}]"
        old, new = found.sizes
        tested = self.outcome != "same" and found.p < 1
        words.append("" if not tested else "p < 0.0001" if found.p < 1e-4 else f"p = {found.p:.2g}")
        words.append(plural(new, "seed") if old == new else f"{old} and {plural(new, 'seed')}")
        words += [
            f"no finite value in {lost} → {lost_now} of them"
            for lost, lost_now in (found.not_finite,)
            if lost or lost_now
        ]
        return "".join(f", {word}" for word in words if word)

    @property
    def lack(self) -> str:
        """How many seeds would detect a change of this size, if it is not significant."""
        if self.outcome != "unclear" or self.change is None:
            return ""
        if self.change.needed is not None:
            return f"about {self.change.needed:,} seeds are needed to detect a change of this size"
        if min(self.change.sizes) < 2:
            return "a test needs several seeds: set `train.repeats`"
        return "more seeds are needed to detect a change"


def compared(then: SpecEntry, now: SpecEntry, level: float) -> Iterator[Difference]:
    """Compare each figure; `level` is that of each test."""
    for lane, entry in now.lanes.items():
        if lane not in then.lanes:
            yield Difference(lane, "", "new")
            continue
        known = then.lanes[lane]
        if entry is known:  # it was not trained
            continue
        for figure in entry.figures:
            if figure not in known.figures:
                yield Difference(lane, figure, "new")
            elif _exact(then, now, lane):
                yield _reproduced(lane, figure, known, entry)
            else:
                yield _tested(lane, figure, known.by_seed(figure), entry.by_seed(figure), level)
        yield from (Difference(lane, figure, "gone") for figure in known.figures if figure not in entry.figures)
    yield from (Difference(lane, "", "gone") for lane in then.lanes if lane not in now.lanes)


def tests(then: SpecEntry, now: SpecEntry) -> int:
    """Return how many figures `compared` tests for a change: those of lanes that need not be equal to the last bit."""
    return sum(
        figure in then.lanes[lane].figures
        for lane, entry in now.lanes.items()
        if lane in then.lanes and not _exact(then, now, lane)
        for figure in entry.figures
    )


def _exact(then: SpecEntry, now: SpecEntry, lane: str) -> bool:
    """Whether a lane must give the same bits: meaning, data and kernels are those that were recorded."""
    known, entry = then.lanes[lane], now.lanes[lane]
    return (then.kernels, known.identity, known.sha256) == (now.kernels, entry.identity, entry.sha256)


def _reproduced(lane: str, figure: str, known: LaneEntry, entry: LaneEntry) -> Difference:
    old, new = known.by_seed(figure), entry.by_seed(figure)
    parted = [seed for seed in new if repr(old.get(seed)) != repr(new[seed])]
    if not parted and old.keys() == new.keys():
        return Difference(lane, figure, "same")
    seed = parted[0] if parted else next(iter(old.keys() - new.keys()))
    detail = f"seed {seed} gave {_exactly(old.get(seed))}, now {_exactly(new.get(seed))}"
    return Difference(lane, figure, "not reproduced", detail=detail)


def _exactly(value: float | None) -> str:
    return "nothing" if value is None else "no finite value" if math.isnan(value) else repr(value)


def _tested(lane: str, figure: str, old: Mapping[int, float], new: Mapping[int, float], level: float) -> Difference:
    found = change_by_seed(old, new, level=level)
    if found.paired:
        # The paired test detects small changes, because the luck of the seeds cancels; the other one detects large
        # changes, because it has twice the degrees of freedom. Both tests share the level.
        whole = change([*old.values()], [*new.values()], level=level / 2)
        found = min(change_by_seed(old, new, level=level / 2), whole, key=lambda each: each.p)
    return Difference(lane, figure, _outcome(figure, found, old, new), found, _mean(old), _mean(new))


def _outcome(figure: str, found: Change, old: Mapping[int, float], new: Mapping[int, float]) -> Outcome:
    scale = max((abs(value) for each in (old, new) for value in each.values() if math.isfinite(value)), default=0.0)
    lost, newly_lost = (sum(map(math.isnan, each.values())) / len(each) for each in (old, new))
    if lost == newly_lost and (found.same or abs(found.difference) <= _NEGLIGIBLE * scale):
        return "same"
    if not found.shown:
        return "unclear"
    if lost != newly_lost:
        return "worse" if newly_lost > lost else "better"
    return "better" if (found.difference > 0) == higher_is_better(figure) else "worse"


def _mean(values: Mapping[int, float]) -> float:
    return mean(value for value in values.values() if math.isfinite(value)) if values else math.nan
