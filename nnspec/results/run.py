"""What came of a run: its lanes, its data, and the verdicts on what the spec expects."""

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

__all__ = ["Place", "RunResult", "Verdict", "common_loss"]

T = TypeVar("T")


@dataclass(frozen=True)
class Verdict:
    """An expectation, judged. `held` is None where it could not be judged because the run was interrupted."""

    text: str
    held: bool | None
    detail: str

    def __repr__(self) -> str:
        return f"<{view_function('wording.phrases.verdict')(self)}>"


@dataclass
class Place:
    """Where a run was written."""

    folder: str
    files: list[str] = field(default_factory=list)
    """The files written, relative to the folder."""
    unwritten: str = ""
    """Why some of it could not be written, if so."""
    undrawn: str = ""
    """Why the plot could not be drawn, if so."""


@dataclass(repr=False)
class RunResult(TableRepr, Mapping[str, LaneResult]):
    """A run: its lanes by name, in order; `result["Adam"].history["loss"]`."""

    title: str
    spec: str
    lanes: dict[str, LaneResult]
    data: tuple[DataUse, ...]
    data_of: Mapping[str, int] = field(default_factory=dict)
    """Which of `data` each lane had."""
    verdicts: tuple[Verdict, ...] = ()
    gradients: Mapping[str, GradientReport] = field(default_factory=dict)
    """The gradient check of each lane's network, where an expectation asked for it."""
    interrupted: bool = False
    halted: str = ""
    """Which lane did not end well, where the run ended with it, as it was told to."""
    notes: tuple[str, ...] = ()
    """What a reader should know of how it ran."""
    summary: dict[str, Any] = field(default_factory=dict)
    """The record of the run, as `summary.json` holds it."""
    place: Place | None = None
    """Where the run was written, if it was."""

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
        """The seed, where all lanes have the same."""
        return _common([lane.seed for lane in self.lanes.values()])

    @property
    def shapes(self) -> str:
        """The chain of widths, where all lanes have the same; empty otherwise."""
        return _common([lane.shapes for lane in self.lanes.values()]) or ""

    @property
    def ranked(self) -> list[LaneResult]:
        """The lanes, the best first: by the figure that `best` chooses by. Those that diverged or failed come last."""
        return [self.lanes[name] for name in ranked(self._candidates)[0]]

    @property
    def figure(self) -> str:
        """The figure that lanes are ordered by, such as `val_loss`; empty where they cannot be compared."""
        return ranked(self._candidates)[1]

    @property
    def best(self) -> LaneResult | None:
        """The lane with the best validation figure, or test figure where no samples are held out, as `nnspec predict`
        chooses.

        None where there is no lane, or lanes cannot be compared. `result.summary["best"]` says by which figure, and
        of a sweep with which settings to run it again.
        """
        try:
            return self.lanes[best(self._candidates).name]
        except NoChoice:
            return None

    @property
    def _candidates(self) -> list[Candidate]:
        return [replace(lane.candidate, name=name) for name, lane in self.lanes.items()]

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw the training curves of all lanes as a matplotlib figure; with `path` it is saved there too."""
        return view_function("pictures.curves.draw_run")(self, path)

    @property
    def gradient_error(self) -> float | None:
        """The largest relative gradient error of all lanes; None where it was not asked for, NaN where not all of it
        could be measured."""
        errors = [report.error for report in self.gradients.values()]
        return math.nan if any(map(math.isnan, errors)) else max(errors, default=None)

    @property
    def exit_code(self) -> int:
        """0 good; 1 an expectation missed, or a lane diverged, failed or ended far above its start; 130 interrupted."""
        if self.interrupted and not self.halted:
            return 130
        missed = any(verdict.held is False for verdict in self.verdicts)
        bad = any(lane.status in ("diverged", "failed") or lane.risen for lane in self.lanes.values())
        return 1 if missed or bad else 0


def common_loss(lanes: Sequence[LaneResult]) -> float | None:
    """Return the lowest training loss that every lane, and each of its repeats, reached, rounded up to two digits.

    None where there is none, or where the lanes have different losses, which cannot be compared.
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
