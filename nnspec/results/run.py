"""The result of a run: its lanes, its data, and verdicts on the spec's expectations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from nnspec.reprs import TableRepr, view_function
from nnspec.results.data_use import DataUse
from nnspec.results.lane import LaneResult
from nnspec.statistics.ranking import Candidate, NoChoice, best, ranked

if TYPE_CHECKING:
    import os

    from nnspec.engine.gradcheck import GradientReport
    from nnspec.results.tuning import Tuned

__all__ = ["Place", "RunResult", "Verdict", "common_loss"]

T = TypeVar("T")


@dataclass(frozen=True)
class Verdict:
    """The verdict on an expectation. `held` is None if the run was interrupted before it could be judged."""

    text: str
    held: bool | None
    detail: str

    def __repr__(self) -> str:
        return f"<{view_function('wording.phrases.verdict')(self)}>"


@dataclass
class Place:
    """The output folder of a run."""

    folder: str
    files: list[str] = field(default_factory=list)
    """The files written, relative to the folder."""
    unwritten: str = ""
    """Why some files could not be written; empty if all were."""
    undrawn: str = ""
    """Why the plot could not be drawn; empty if it was."""


@dataclass(repr=False)
class RunResult(TableRepr, Mapping[str, LaneResult]):
    """The result of a run: a mapping from lane names to results, in order; `result["Adam"].history["loss"]`."""

    title: str
    spec: str
    lanes: dict[str, LaneResult]
    data: tuple[DataUse, ...]
    data_of: Mapping[str, int] = field(default_factory=dict)
    """The index in `data` of each lane's data."""
    verdicts: tuple[Verdict, ...] = ()
    gradients: Mapping[str, GradientReport] = field(default_factory=dict)
    """The gradient check of each lane's network, if an expectation requires one."""
    interrupted: bool = False
    halted: str = ""
    """The lane that diverged or failed and so ended the run, with `fail_fast`; empty if none did."""
    notes: tuple[str, ...] = ()
    """Remarks about how the run was carried out."""
    summary: dict[str, Any] = field(default_factory=dict)
    """The record of the run, as in `summary.json`."""
    place: Place | None = None
    """The output folder; None if the run was not written."""
    tuned: Tuned | None = None
    """The search that the settings of the lanes come from, or whose trials the lanes are."""
    trials: RunResult | None = None
    """The run of its trials, with their curves; None if it was an earlier one, or if the lanes are the trials."""

    @property
    def folder(self) -> str | None:
        """The folder of the run; None if it was not written."""
        return self.place.folder if self.place is not None else None

    def __getitem__(self, lane: str) -> LaneResult:
        if lane not in self.lanes:
            raise KeyError(f"unknown lane {lane!r}; choose from {', '.join(self.lanes)}")
        return self.lanes[lane]

    def __iter__(self) -> Iterator[str]:
        return iter(self.lanes)

    def __len__(self) -> int:
        return len(self.lanes)

    @property
    def seed(self) -> int | None:
        """The seed; None if lanes have different ones."""
        return _common([lane.seed for lane in self.lanes.values()])

    @property
    def shapes(self) -> str:
        """The chain of widths; empty if lanes have different ones."""
        return _common([lane.shapes for lane in self.lanes.values()]) or ""

    @property
    def ranked(self) -> list[LaneResult]:
        """The lanes from best to worst by `figure`; those that diverged or failed come last."""
        return [self.lanes[name] for name in ranked(self._candidates)[0]]

    @property
    def figure(self) -> str:
        """The figure that lanes are ranked by, such as `val_loss`; empty if they cannot be compared."""
        return ranked(self._candidates)[1]

    @property
    def best(self) -> LaneResult | None:
        """The lane with the best validation figure, or test figure if no samples are held out; `nnspec predict` uses
        it.

        None if there is no lane, or lanes cannot be compared. `result.summary["best"]` names the figure and, for a
        sweep, the settings that run the best point again.
        """
        try:
            return self.lanes[best(self._candidates).name]
        except NoChoice:
            return None

    @property
    def _candidates(self) -> list[Candidate]:
        return [replace(lane.candidate, name=name) for name, lane in self.lanes.items()]

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Return a matplotlib figure of all lanes' training curves; with `path`, also save it there."""
        return view_function("pictures.curves.draw_run")(self, path)

    @property
    def gradient_error(self) -> float | None:
        """The largest relative gradient error of all lanes; None if not checked, NaN if part of it could not be
        measured."""
        errors = [report.error for report in self.gradients.values()]
        return math.nan if any(map(math.isnan, errors)) else max(errors, default=None)

    @property
    def exit_code(self) -> int:
        """0 for success; 1 if an expectation was missed, or a lane diverged, failed or ended far above its initial
        loss; 130 if interrupted."""
        if self.interrupted and not self.halted:
            return 130
        missed = any(verdict.held is False for verdict in self.verdicts)
        bad = any(lane.status in ("diverged", "failed") or lane.risen for lane in self.lanes.values())
        return 1 if missed or bad else 0


def common_loss(lanes: Sequence[LaneResult]) -> float | None:
    """Return the lowest training loss that every lane, and each of its repeats, reached, rounded up to two digits.

    None if there is none, or if the lanes have different loss functions, whose values cannot be compared.
    """
    if _common([lane.loss for lane in lanes]) is None:
        return None
    counted = [one for lane in lanes for one in lane.counted]
    best = [min(one.curve("loss")) for one in counted if one.records]
    if not best or max(best) <= 0:
        return None
    loss = max(best)
    unit = 10.0 ** (math.floor(math.log10(loss)) - 1)
    return float(f"{math.ceil(loss / unit * (1 - 1e-12)) * unit:.6g}")


def _common(values: list[T]) -> T | None:
    return values[0] if values and all(value == values[0] for value in values) else None
