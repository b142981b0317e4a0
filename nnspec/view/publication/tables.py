"""The results of a bench as CSV. Numbers have all digits, as in `bench.json`; what is null there is an empty cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nnspec.results.bench import MEASURES, BenchResult
from nnspec.text import printable
from nnspec.view.wording.bench import settings_in_words

__all__ = ["profile_csv", "results_csv"]

_RUN = (
    *("study", "seed", "status", "figure", "test"),
    *(f"{measure}_to" for measure in MEASURES),
    *MEASURES,
)


def results_csv(result: BenchResult) -> str:
    """Return a row for each training of a race."""
    head = ["problem", "contestant", "by", "target", "test_figure", "trials", "diverged_trials", "settings", *_RUN]
    rows = (
        [
            *(problem.name, entry.contestant, problem.by, problem.target, problem.test, entry.trials, entry.diverged),
            settings_in_words(entry),
            *(getattr(run, name) for name in _RUN),
        ]
        for problem in result.done
        for entry in problem.entries
        for run in entry.runs
    )
    return _csv(head, rows)


def profile_csv(result: BenchResult) -> str:
    """Return a row for each measure, contestant and ratio τ at which a profile rises: ρ(τ) and its 95 % band."""
    return _csv(["measure", "contestant", "tau", "rho", "low", "high"], _profile_rows(result))


def _profile_rows(result: BenchResult) -> Iterator[list[Any]]:
    for measure in MEASURES:
        for profile, band in zip(result.profiles(measure), result.bands(measure), strict=True):
            for tau, low, high in zip(band.taus, band.low, band.high, strict=True):
                yield [measure, profile.contestant, tau, profile.share(tau), low, high]


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([printable(value) if isinstance(value, str) else value for value in row] for row in rows)
    return text.getvalue()
