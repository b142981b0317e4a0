"""Cross-validation as a table: the figures of each fold, their mean and their standard deviation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnspec.statistics.significance import deviation, mean
from nnspec.view.wording import numbers

__all__ = ["FoldTable", "fold_tables", "is_cross_validated"]


@dataclass(frozen=True)
class FoldTable:
    """The folds of a lane, as text: a row per fold, then `mean` and `deviation`."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def is_cross_validated(lane: Mapping[str, Any]) -> bool:
    """Whether the trainings of a lane, as recorded in the summary of a run, have different folds held out."""
    return str(lane.get("train", {}).get("validation", "")).startswith("folds")


def fold_tables(summary: Mapping[str, Any], names: Sequence[str]) -> Iterator[FoldTable]:
    """Yield the table of each of these lanes that is cross-validated, from the record of a run."""
    lanes = {str(lane["name"]): lane for lane in summary.get("lanes", ())}
    for lane in (lanes[name] for name in names if name in lanes):
        trainings = lane.get("repeats", ())
        if len(trainings) > 1 and is_cross_validated(lane):
            yield _table(str(lane["name"]), trainings, len(trainings) // max(1, int(lane["train"]["repeats"])))


def _table(name: str, trainings: Any, folds: int) -> FoldTable:
    """Return the table of a lane; means are over the trainings that are done, as everywhere."""
    several = len(trainings) > folds
    known = dict.fromkeys(figure for one in trainings for figure in one["final"])
    figures = sorted(known, key=lambda figure: (not figure.startswith("val_"), figure.startswith("test_")))
    rows = []
    for number, one in enumerate(trainings):
        fold = f"{number % folds + 1}" + (f" of split {number // folds + 1}" if several else "")
        status = "" if one["status"] == "done" else f" ({one['status']})"
        cells = [numbers.figure(figure, one["final"].get(figure, math.nan)) for figure in figures]
        rows.append((f"{fold}{status}", str(one["seed"]), *cells))
    done = [one["final"] for one in trainings if one["status"] == "done"]
    for word, of in (("mean", mean), ("deviation", deviation)):
        values = [[final[figure] for final in done if figure in final] for figure in figures]
        rows.append(
            (word, "", *(numbers.figure(f, of(v) if v else math.nan) for f, v in zip(figures, values, strict=True)))
        )
    splits = f", {len(trainings) // folds} times" if several else ""
    head = ("fold", "seed", *(figure.replace("_", " ") for figure in figures))
    return FoldTable(f"{name}: cross-validation with {folds} folds{splits}", head, tuple(rows))
