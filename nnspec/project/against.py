"""Specs that were tested, against the baseline: what changed, what cannot be told, and what to record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnspec.diagnostics.formats.base import plural
from nnspec.errors import some_of
from nnspec.project.baseline import Baseline, key_of, read_baseline
from nnspec.project.remembering import Difference, Outcome, compared, differences, tests
from nnspec.project.testing import Case, SpecReport
from nnspec.statistics.significance import LEVEL
from nnspec.text import printable

__all__ = ["count", "record", "remarks", "settled"]

_SHOWN = 20
"""Figures that got better to list on a terminal."""
_WRONG: dict[Outcome, str] = {
    "worse": "worse than recorded",
    "not reproduced": "not reproduced, though meaning, data and kernels are those of the baseline",
}


def settled(tested: Sequence[SpecReport], baseline: Baseline, *, accept: bool = False) -> list[SpecReport]:
    """Compare the figures of all specs, and add a case for each lane that is in the baseline.

    Each figure is tested at the level 5 % / their number (Bonferroni), so that of runs in which nothing changed, at
    most 5 % fail. With `accept`, figures that got worse do not fail; those that must be reproduced always do.
    """
    pairs = [(each.memory.then, each.memory.now) for each in tested]
    level = LEVEL / max(1, sum(tests(then, now) for then, now in pairs if then is not None and now is not None))
    kernels = {**baseline.kernels, **_kernels(tested)}
    return [_settled(each, level, kernels, accept) for each in tested]


def _kernels(tested: Sequence[SpecReport]) -> dict[str, Mapping[str, Any]]:
    return {each.memory.now.kernels: each.memory.environment for each in tested if each.memory.now is not None}


def _settled(
    tested: SpecReport, level: float, kernels: Mapping[str, Mapping[str, Any]], accept: bool
) -> SpecReport:
    then, now = tested.memory.then, tested.memory.now
    if then is None or now is None:
        return tested
    found = tuple(compared(then, now, level))
    causes = tuple(differences(then, now, kernels))
    memory = replace(tested.memory, differences=found, causes=causes)
    cases = [_case(lane, [each for each in found if each.lane == lane], causes, accept) for lane in now.lanes if lane in then.lanes]
    return replace(tested, cases=(*tested.cases, *cases), memory=memory)


def _case(lane: str, found: Sequence[Difference], causes: Sequence[str], accept: bool) -> Case:
    bad = [each for each in found if each.outcome == "not reproduced" or (each.outcome == "worse" and not accept)]
    name = f"{lane} against the baseline"
    if not bad:
        return Case("baseline", name, "passed")
    lines = [f"{each.figure} is {_WRONG[each.outcome]}: {each.text}" for each in bad]
    return Case("baseline", name, "failed", "\n".join([*lines, *causes]))


def remarks(tested: Sequence[SpecReport], baseline: Baseline, path: Path) -> Iterator[str]:
    """Yield what else is to be said: what got better, what cannot be told, what is new, and what is gone."""
    better = [(spec, each) for spec in tested for each in spec.memory.differences if each.outcome == "better"]
    for spec, each in better[:_SHOWN]:
        yield f"better: {printable(spec.path)}, {printable(each.name)}: {each.text}"
    if len(better) > _SHOWN:
        yield f"better: {plural(len(better) - _SHOWN, 'more figure')}"
    for spec in tested:
        yield from _of_spec(spec)
    causes: dict[tuple[str, ...], list[str]] = {}
    for spec in tested:
        causes.setdefault(spec.memory.causes, []).append(spec.path)
    for words, paths in causes.items():
        if words:
            yield f"changed: {printable(some_of(paths, 6))}: {printable(some_of(words, 6))}"
    known = {key_of(spec.path, path) for spec in tested}
    gone = [name for name in baseline.specs if name not in known and not (path.parent / name).exists()]
    if gone:
        names = printable(some_of(gone, 6))
        yield f"gone: {names}: in the baseline, but there is no such file; delete the entry from {printable(str(path))}"


def _of_spec(spec: SpecReport) -> Iterator[str]:
    name, memory = printable(spec.path), spec.memory
    if memory.now is None:
        return
    if memory.then is None:
        yield f"new: {name} is not in the baseline; --update records it"
    unclear = [each for each in memory.differences if each.outcome == "unclear"]
    if unclear:
        of = sum(each.change is not None for each in memory.differences)
        worst = min(unclear, key=lambda each: each.change.p if each.change is not None else 1.0)
        yield (
            f"cannot tell: {name}, {len(unclear)} of {plural(of, 'figure')}, such as {printable(worst.name)}: "
            f"{worst.text}; {worst.lack}"
        )
    for outcome, words in (("new", "is not in the baseline; --update records it"), ("gone", "is in the baseline only")):
        found = [each.name if each.figure else f"lane {each.name}" for each in memory.differences if each.outcome == outcome]
        if found:
            yield f"{outcome}: {name}, {printable(some_of(found, 6))} {words}"


def count(tested: Sequence[SpecReport]) -> str:
    """Return how many figures changed, for the summary line; empty if none were compared."""
    words = {"not reproduced": 0, "worse": 0, "better": 0, "unclear": 0, "same": 0}
    for each in (each for spec in tested for each in spec.memory.differences):
        if each.outcome in words:
            words[each.outcome] += 1
    shown = {**words}
    shown["cannot tell"], shown["the same"] = shown.pop("unclear"), shown.pop("same")
    return ", ".join(f"{number:,} {word}" for word, number in shown.items() if number)


def record(tested: Sequence[SpecReport], path: Path, *, failed: bool = False) -> tuple[list[str], list[str]]:
    """Write what was tested into the baseline; return the specs whose entries changed, and those that were not recorded
    because they failed (unless `failed`).

    The file is read again, so that entries written in the meantime are kept. Raises BaselineError.
    """
    baseline = read_baseline(path) if path.exists() else Baseline()
    given = [each for each in tested if each.memory.now is not None]
    entries = {}
    for each in given:
        now, key = each.memory.now, key_of(each.path, path)
        assert now is not None
        if each.ok or failed:
            before = baseline.specs.get(key)
            if before is not None and before.seconds / 2 <= now.seconds <= before.seconds * 2:
                now = replace(now, seconds=before.seconds)  # times vary, and would show up in every diff
            if now != before:
                entries[key] = now
    if entries:
        baseline.updated(entries, _kernels(tested)).write(path)
    refused = [each.path for each in tested if not each.ok and not (failed and each.memory.now is not None)]
    return [*entries], refused
