"""`bench.json`: the results of a bench, written after each problem and read back."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from nnspec.benchmark.plan import BenchError
from nnspec.files import atomic, utf8
from nnspec.records.folder import REPORT, OutputError
from nnspec.records.reading import from_record, read_json, rename, usable
from nnspec.results.bench import BenchResult
from nnspec.text import to_json

__all__ = ["RECORD", "is_bench", "open_bench", "read_bench", "write_bench", "write_views"]

RECORD = "bench.json"
_FORMAT = 2
"""The version of `bench.json`. In the first one, gradient evaluations had other names, and bands were bootstrap
intervals, which are computed anew when it is read."""
_BANDS = ("low", "high", "score_low", "score_high")
_MOST = 256 * 1024**2


def is_bench(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is that of a bench."""
    return os.path.isfile(os.path.join(folder, RECORD))


def write_bench(result: BenchResult, folder: Path) -> None:
    """Write the record of a bench. Raises OutputError."""
    record = {"format": _FORMAT, **result.record()}
    try:
        with atomic(folder / RECORD) as file:
            file.write(utf8(to_json(record, indent=1, ensure_ascii=False) + "\n"))
    except OSError as error:
        raise OutputError(f"{folder / RECORD} cannot be written: {error.strerror or error}") from None


def write_views(result: BenchResult, folder: Path) -> list[Path]:
    """Write the page, the tables and the files for publication, and return their paths. Raises OutputError."""
    from nnspec.view.publication.latex import profile_latex, table_latex
    from nnspec.view.publication.tables import profile_csv, results_csv
    from nnspec.view.report.bench import bench_page

    reports = [each.name for each in result.problems if (folder / each.name / REPORT).is_file()]
    views: dict[str, Callable[[BenchResult], str]] = {
        REPORT: partial(bench_page, reports=reports),
        "results.csv": results_csv,
        "profile.csv": profile_csv,
        "table.tex": table_latex,
        "profile.tex": profile_latex,
    }
    for name, view in views.items():
        try:
            with atomic(folder / name) as file:
                file.write(utf8(view(result)))
        except OSError as error:
            raise OutputError(f"{folder / name} cannot be written: {error.strerror or error}") from None
    return [folder / name for name in views]


def open_bench(folder: str | os.PathLike[str]) -> BenchResult:
    """Read the results of a bench from its folder. Raises RunError, and BenchError for a newer format."""
    return read_bench(folder)[0]


def read_bench(folder: str | os.PathLike[str]) -> tuple[BenchResult, dict[str, Any]]:
    """Return the results of a bench, and what its record says follows from them. Raises what `open_bench` does."""
    path = Path(folder) / RECORD
    with usable(path):
        record = read_json(path, _MOST)
        version = record.pop("format", None)
        if version not in (1, _FORMAT):
            raise BenchError(f"{path} has format {version!r}, which this version of nnspec does not know")
        follows = record.pop("follows")
        if not isinstance(follows, dict):
            raise TypeError("`follows` is not an object")
        if version == 1:
            _rename_fields(record, follows)
        result = from_record(BenchResult, {**record, "folder": str(folder)})
        _check(result)
        if version == 1:
            _replace_bands(result, follows)
        return result, follows


def _rename_fields(record: dict[str, Any], follows: dict[str, Any]) -> None:
    for problem in record["problems"]:
        for entry in problem["entries"]:
            for run in entry["runs"]:
                rename(run, "evaluations", "gradient_evaluations")
                rename(run, "evaluations_to", "gradient_evaluations_to")
    rename(follows["profiles"], "evaluations", "gradient_evaluations")


def _replace_bands(result: BenchResult, follows: dict[str, Any]) -> None:
    computed = json.loads(to_json(result.record()))["follows"]["profiles"]
    for measure, profiles in follows["profiles"].items():
        for old, new in zip(profiles, computed[measure], strict=True):
            old.update({name: new[name] for name in _BANDS})


def _check(result: BenchResult) -> None:
    """Raise ValueError if the parts of a record contradict each other."""
    for problem in result.done:
        if tuple(entry.contestant for entry in problem.entries) != result.names:
            raise ValueError(f"{problem.name} has different contestants")
        if len({len(entry.runs) for entry in problem.entries}) != 1 or not problem.entries[0].runs:
            raise ValueError(f"the contestants of {problem.name} differ in the number of trainings")
        if not all(cost > 0 for entry in problem.entries for cost in (*entry.costs("steps"), *entry.costs("seconds"))):
            raise ValueError(f"a training of {problem.name} took no time")
    names = [problem.name for problem in result.problems]
    odd = next((name for name in names if os.path.basename(name) != name or name in ("", ".", "..")), None)
    if odd is not None or len(set(names)) < len(names):
        raise ValueError("two of its problems have the same folder, or one has a name that is not a valid folder name")
