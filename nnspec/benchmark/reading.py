"""What a bench takes from the run of a problem: final figures and the time to the target of every training."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nnspec.checker.program import Experiment
from nnspec.files import read_limited
from nnspec.records.reading import usable
from nnspec.records.saved import MANIFEST, MOST_RECORD, RECORDS, TRIALS, SavedRun
from nnspec.results.bench import BenchRun, Entry, Setting
from nnspec.results.costs import costs
from nnspec.results.search_summary import edges
from nnspec.results.tuning import Tuned, in_spec_syntax
from nnspec.runs import compile_run, on_its_data
from nnspec.statistics.targets import time_to_target
from nnspec.text import finite

__all__ = ["digests_of", "entries_of", "test_figure", "weaknesses_of"]


def digests_of(folder: Path) -> tuple[Setting, ...]:
    """Return the SHA-256 of the records of a race and of its trials. Raises RunError."""
    names = [*RECORDS, MANIFEST]
    found = []
    for name in (*names, *(f"{TRIALS}/{name}" for name in names)):
        with usable(folder / name):
            found.append(Setting(name, hashlib.sha256(read_limited(folder / name, MOST_RECORD)).hexdigest()))
    return tuple(found)


def test_figure(by: str) -> str:
    """Return the name of the figure of the test data: `test_loss` for `val_loss`."""
    return f"test_{by.removeprefix('val_')}"


def weaknesses_of(saved: SavedRun) -> list[str]:
    """Return the contestants that were not tuned well enough, because their best setting is at an end of its space."""
    with usable(saved.path / "summary.json"):
        return [*edges(Tuned.of_record(saved.summary["tuned"]))]


def entries_of(saved: SavedRun, by: str, target: float, lower_is_better: bool) -> Iterator[Entry]:
    """Yield the results of each contestant in a race, from the records in its folder. Raises RunError."""
    program = on_its_data(saved, compile_run(saved)).program
    with usable(saved.path / "summary.json"):
        tuned = Tuned.of_record(saved.summary["tuned"]) if "tuned" in saved.summary else None
        for name in dict.fromkeys(lane.lane or lane.name for lane in program.lanes):
            lanes = [lane for lane in program.lanes if (lane.lane or lane.name) == name]
            studies = tuned.of(name) if tuned is not None else ()
            trials = [trial for study in studies for trial in study.trials]
            yield Entry(
                name,
                len(trials),
                sum(trial.diverged for trial in trials),
                tuple(
                    tuple(Setting(word, in_spec_syntax(value)) for word, value in study.chosen.settings.items())
                    for study in studies
                    if study.chosen is not None
                ),
                tuple(
                    run
                    for study, lane in enumerate(lanes, 1)
                    for run in _runs(saved, lane, study, by, target, lower_is_better)
                ),
            )


def _runs(
    saved: SavedRun, lane: Experiment, study: int, by: str, target: float, lower_is_better: bool
) -> Iterator[BenchRun]:
    summary, curves = saved.lane(lane.name), saved.history[lane.name]
    endings, repeats = summary.get("repeats", [summary]), curves.get("repeats", [curves])
    for ending, curve in zip(endings, repeats, strict=True):
        figures = [math.nan if value is None else float(value) for value in curve[by]]
        at = costs(lane, [*map(float, curve["seconds"])], [*map(float, curve.get("gradient_evaluations") or ())])
        spent = [places[-1] if places else 0.0 for places in at]
        reached = [finite(time_to_target(places, figures, target, lower_is_better)) for places in at]
        done = ending["status"] == "done"
        final: Mapping[str, Any] = ending["final"] if done else {}
        yield BenchRun(
            study,
            int(ending["seed"]),
            str(ending["status"]),
            _float(final.get(by)),
            _float(final.get(test_figure(by))),
            *spent,
            *reached,
        )


def _float(value: Any) -> float | None:
    return None if value is None else finite(float(value))
