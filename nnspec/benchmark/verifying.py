"""Verify a bench: repeat every run in its folder, and compute its results again from their records."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnspec.analysis.verify import BenchVerification, Verification, VerifiedProblem
from nnspec.benchmark.reading import digests_of, entries_of
from nnspec.benchmark.record import RECORD, read_bench
from nnspec.errors import NnspecError
from nnspec.records.saved import open_run
from nnspec.results.bench import BenchResult, Problem
from nnspec.runs import access_of, compile_run, verify_again
from nnspec.text import to_json
from nnspec.training.observer import Observer

__all__ = ["verify_bench"]

_MOST = 5
"""Differences of a record that are named."""


def verify_bench(
    path: str | os.PathLike[str],
    observer: Observer,
    *,
    data_dir: Path | None = None,
    offline: bool = False,
    jobs: int | None = None,
    begins: Callable[[int, int, str], None] = lambda number, total, name: None,
) -> BenchVerification:
    """Repeat every run of a bench, and compare all results in its record with those that follow from the runs.

    Raises RunError or BenchError if the record cannot be read, and KeyboardInterrupt on Ctrl-C.
    """
    result, follows = read_bench(path)
    found, read = [], {}
    for number, problem in enumerate(result.done, 1):
        begins(number, len(result.done), problem.name)
        verified, again = _verify(problem, Path(path) / problem.name, observer, data_dir, offline, jobs)
        found.append(verified)
        read[problem.name] = again
    computed = replace(result, problems=tuple(read.get(each.name, each) for each in result.problems))
    recorded = {**_as_read(result), "follows": follows}
    differences = [f"{RECORD}: {each}" for each in _differences(recorded, _as_read(computed), "results")]
    more = [f"and {len(differences) - _MOST:,} more differences"] if len(differences) > _MOST else []
    missing = tuple(each.name for each in result.problems if each.status != "done")
    return BenchVerification(str(path), tuple(found), (*differences[:_MOST], *more), missing)


def _verify(
    problem: Problem, folder: Path, observer: Observer, data_dir: Path | None, offline: bool, jobs: int | None
) -> tuple[VerifiedProblem, Problem]:
    """Repeat a run, and return its results again, read from its records."""
    faults: list[str] = []
    runs: Verification | None = None
    try:
        saved = open_run(folder)
        compiled = compile_run(saved)
        problem = replace(
            problem, entries=tuple(entries_of(saved, problem.by, problem.target, problem.lower_is_better))
        )
        digests = digests_of(folder)
        changed = [new.name for new, old in zip(digests, problem.digests, strict=False) if new != old]
        faults += [f"{folder / name} has changed since the bench" for name in changed]
        reads = any(choice.source.reads_files for lane in compiled.program.lanes for choice in lane.data)
        access = access_of(saved, compiled, data_dir if reads else None, offline)
        runs = verify_again(saved, compiled, access, observer, jobs=jobs)
    except NnspecError as error:
        faults.append(str(error))
    return VerifiedProblem(problem.name, runs, tuple(faults)), problem


def _as_read(result: BenchResult) -> dict[str, Any]:
    """Return a record as it is after it has been written and read."""
    return dict(json.loads(to_json(result.record())))


def _differences(recorded: Any, computed: Any, where: str) -> Iterator[str]:
    """Yield where two records differ, as paths."""
    if isinstance(recorded, dict) and isinstance(computed, dict):
        for name in dict.fromkeys((*recorded, *computed)):
            yield from _differences(recorded.get(name), computed.get(name), f"{where}.{name}")
    elif isinstance(recorded, (list, tuple)) and isinstance(computed, (list, tuple)) and len(recorded) == len(computed):
        for place, (one, other) in enumerate(zip(recorded, computed, strict=True)):
            label = one.get("name") or one.get("contestant") if isinstance(one, dict) else None
            yield from _differences(one, other, f"{where}[{label or place}]")
    elif recorded != computed:
        yield f"{where} is {_short(recorded)}, but {_short(computed)} follows from the runs"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
