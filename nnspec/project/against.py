"""Test results compared with the baseline: what changed, what is unclear, and what to record."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nnspec.diagnostics.formats.base import plural
from nnspec.project.baseline import Baseline, SpecEntry, alone, key_of, read_baseline
from nnspec.project.remembering import Difference, Outcome, compared, differences, tests
from nnspec.project.testing import Case, SpecReport
from nnspec.statistics.significance import LEVEL
from nnspec.text import printable

__all__ = ["Record", "settled"]

_SHOWN = 6
"""Names to list in a remark."""
_LONG = 200
"""Characters of a name to show."""
_JITTER = 2.0
"""Seconds, or half of what is recorded, by which times vary: they must not show up in every diff."""
_WRONG: dict[Outcome, str] = {
    "worse": "worse than recorded",
    "not reproduced": "not reproduced, although its meaning, data and kernels match the baseline",
}
_COUNTED = ("not reproduced", "worse", "better", "unclear", "equal", "reproduced")


@dataclass(frozen=True)
class Record:
    """The specs to test, and the baseline, if there is one."""

    names: Sequence[str]
    path: Path | None = None
    baseline: Baseline = field(default_factory=Baseline)
    update: bool = False
    """Whether to record specs that pass, and with `update_failed` all that were trained."""
    update_failed: bool = False

    @classmethod
    def read(
        cls, path: Path | None, names: Sequence[str], *, update: bool = False, update_failed: bool = False
    ) -> Record:
        """Read a baseline; if it is to be written, it need not exist. Raises BaselineError."""
        update = update or update_failed
        found = Baseline() if path is None else read_baseline(path, may_be_absent=update)
        return cls(names, path, found, update, update_failed)

    def key(self, name: str) -> str:
        """Return the name of a spec in the baseline; without one, its path."""
        return name if self.path is None else key_of(name, self.path)

    @property
    def entries(self) -> dict[str, SpecEntry] | None:
        """The entries by spec; None if there is no baseline."""
        if self.path is None:
            return None
        found = {name: self.baseline.specs.get(self.key(name)) for name in self.names}
        return {name: entry for name, entry in found.items() if entry is not None}

    def settled(self, tested: Sequence[SpecReport]) -> list[SpecReport]:
        """Compare the figures of all specs; see `settled`."""
        return settled(tested, self.baseline, accept=self.update)

    def remarks(self, tested: Sequence[SpecReport]) -> Iterator[str]:
        """Yield the remaining remarks: why specs were trained, what got better, what changed without significance, what
        is new, and what is gone."""
        if self.path is None:
            return
        causes: dict[tuple[str, ...], list[str]] = {}
        for spec in tested:
            causes.setdefault(spec.memory.causes, []).append(spec.path)
        for words, paths in causes.items():
            if words:
                more = "; …" if len(words) > _SHOWN else ""
                yield f"changed: {_some(paths)}: {'; '.join(map(printable, words[:_SHOWN]))}{more}"
        for spec in tested:
            yield from _of_spec(spec, accepted=self.update)
        new = [spec.path for spec in tested if spec.memory.now is not None and spec.memory.then is None]
        if new and not self.update:
            yield f"new: {_some(new)}: not in the baseline; --update records {'it' if len(new) == 1 else 'them'}"
        known = {self.key(name) for name in self.names}
        gone = [
            name for name in self.baseline.specs if name not in known and not os.path.exists(self.path.parent / name)
        ]
        if gone:
            yield f"gone: {_some(gone)}: in the baseline, but there is no such file; delete the entry from {self._name}"

    def count(self, tested: Sequence[SpecReport]) -> str:
        """Return how many figures changed, to follow the summary: `; figures: 1 worse, 9 reproduced`."""
        found = Counter(_word(each) for spec in tested for each in spec.memory.differences)
        words = [f"{found[word]:,} {word}" for word in _COUNTED if found[word]]
        return f"; figures: {', '.join(words)}" if words else ""

    def write(self, tested: Sequence[SpecReport]) -> Iterator[str]:
        """Record what was tested, if asked to, and yield what was recorded and what was not.

        The file is read again, so that entries that others wrote in the meantime are kept. Raises BaselineError.
        """
        if self.path is None or not self.update:
            return
        with alone(self.path):
            baseline = read_baseline(self.path, may_be_absent=True)
            entries = {spec.path: now for spec in tested if (now := self._recordable(spec, baseline)) is not None}
            if entries:
                by_key = {self.key(path): now for path, now in entries.items()}
                baseline.updated(by_key, _kernels(tested)).write(self.path)
        written = [*entries]
        yield f"recorded in {self._name}: {_some(written) or 'nothing new'}"
        refused = [spec.path for spec in tested if not spec.ok and not (self.update_failed and spec.memory.now)]
        cut = [spec.path for spec in tested if spec.interrupted]
        if refused:
            how = "" if self.update_failed else "; --update-failed also records failed specs that were trained"
            yield f"not recorded: {_some(refused)}: failed{how}"
        if cut:
            yield f"not recorded: {_some(cut)}: interrupted"

    def _recordable(self, spec: SpecReport, baseline: Baseline) -> SpecEntry | None:
        """Return the new entry of a spec, if it is to be recorded and not what the baseline has."""
        if spec.memory.now is None or not (spec.ok or self.update_failed):
            return None
        now, before = replace(spec.memory.now, passed=spec.ok), baseline.specs.get(self.key(spec.path))
        if before is not None and abs(now.seconds - before.seconds) < max(_JITTER, before.seconds / 2):
            now = replace(now, seconds=before.seconds)
        return None if now == before else now

    @property
    def _name(self) -> str:
        return printable(str(self.path))


def _word(found: Difference) -> str:
    same = "reproduced" if found.change is None else "equal"
    return same if found.outcome == "same" else found.outcome


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return printable(", ".join(name if len(name) <= _LONG else f"{name[:_LONG]}…" for name in names[:_SHOWN])) + more


def settled(tested: Sequence[SpecReport], baseline: Baseline, *, accept: bool = False) -> list[SpecReport]:
    """Compare the figures of all specs, and add a case for each lane that is in the baseline.

    Each figure is tested at the level 5 % / their number (Bonferroni): of runs in which nothing changed, at most 5 %
    fail. With `accept`, figures that got worse do not fail; those that must be reproduced always do.
    """
    pairs = [(each.memory.then, each.memory.now) for each in tested]
    level = LEVEL / max(1, sum(tests(then, now) for then, now in pairs if then is not None and now is not None))
    kernels = {**baseline.kernels, **_kernels(tested)}
    return [_settled(each, level, kernels, accept) for each in tested]


def _kernels(tested: Sequence[SpecReport]) -> dict[str, Mapping[str, Any]]:
    return {each.memory.now.kernels: each.memory.environment for each in tested if each.memory.now is not None}


def _settled(tested: SpecReport, level: float, kernels: Mapping[str, Mapping[str, Any]], accept: bool) -> SpecReport:
    then, now = tested.memory.then, tested.memory.now
    if then is None or now is None:
        return tested
    found, causes = tuple(compared(then, now, level)), tuple(differences(then, now, kernels))
    cases = [
        _case(lane, [each for each in found if each.lane == lane], causes, accept)
        for lane in now.lanes
        if lane in then.lanes
    ]
    memory = replace(tested.memory, differences=found, causes=causes)
    return replace(tested, cases=(*tested.cases, *cases), memory=memory)


def _case(lane: str, found: Sequence[Difference], causes: Sequence[str], accept: bool) -> Case:
    bad = [each for each in found if each.outcome == "not reproduced" or (each.outcome == "worse" and not accept)]
    lines = [f"{each.figure} is {_WRONG[each.outcome]}: {each.text}" for each in bad]
    detail = "\n".join([*lines, *causes]) if bad else ""
    return Case("baseline", f"{lane} against the baseline", "failed" if bad else "passed", detail)


def _of_spec(spec: SpecReport, *, accepted: bool) -> Iterator[str]:
    name, found = printable(spec.path), spec.memory.differences
    for outcome in ("worse", "better") if accepted else ("better",):
        figures = [f"{printable(each.name)} {each.text}" for each in found if each.outcome == outcome]
        if figures:
            more = f"; and {plural(len(figures) - _SHOWN, 'more figure')}" if len(figures) > _SHOWN else ""
            yield f"{outcome}: {name}: {'; '.join(figures[:_SHOWN])}{more}"
    unclear = [each for each in found if each.outcome == "unclear" and each.change is not None]
    if unclear:
        nearest = min(unclear, key=lambda each: each.change.p if each.change is not None else 1.0)
        of = sum(each.change is not None for each in found)
        yield (
            f"unclear: {name}: {len(unclear):,} of {plural(of, 'figure')} changed, but not "
            f"significantly, such as {printable(nearest.name)} {nearest.text}; {nearest.lack}"
        )
    for outcome, words in (("new", "not in the baseline"), ("gone", "only in the baseline")):
        names = [each.name if each.figure else f"lane {each.name}" for each in found if each.outcome == outcome]
        if names:
            yield f"{outcome}: {name}: {_some(names)}: {words}"
