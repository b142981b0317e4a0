"""What a run leaves behind, as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from nnspec.shown import Shown, view_function
from nnspec.statistics.ranking import Candidate, NoChoice, best, ranked
from nnspec.statistics.significance import mean

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from nnspec.data.source import Column
    from nnspec.engine.gradcheck import GradientReport
    from nnspec.engine.network import NumpyMLP
    from nnspec.results.predictor import Predictor
    from nnspec.results.writer import Writer

__all__ = ["DataUse", "LaneResult", "RunResult", "Verdict", "common_loss", "epochs_to"]

Status = Literal["done", "diverged", "interrupted", "failed"]

RISEN = 10.0
"""Training loss at the end to that of the first epoch, above which a training has failed."""


@dataclass(repr=False)
class LaneResult(Shown):
    """One trained lane. Of a lane that was trained several times over, the means, and `repeats` has the single ones."""

    name: str
    optimizer: str
    """As a spec writes it: `Adam(lr=0.001)`."""
    loss: str
    """As a spec writes it: `CrossEntropy`."""
    seed: int
    shapes: str
    """The chain of widths: `784 → 64 → 10`."""
    epochs: int
    """How many were asked for."""
    params: int
    history: dict[str, list[float]]
    """A value an epoch for `loss`, `test_loss` and each metric with and without `test_`; where samples are held out,
    for `val_loss` and so on too. Over repeats, their means in those epochs that all of them have."""
    epoch_seconds: list[float]
    """Training time of each epoch: forward, backward and steps, without the test."""
    network: NumpyMLP
    """The trained network. `network.forward(x)` takes x `(B, *in)` prepared as in training: `predict` does that. Of
    repeats, that of the first of those that count, and `scaling` with it."""
    status: Status = "done"
    message: str = ""
    """What happened, where the lane did not finish."""
    stopped: str = ""
    """After which epoch training stopped early, and why, where it did; of repeats, which ones did, and when."""
    rates: list[float] = field(default_factory=list)
    """The rate of the last step of each epoch, where a schedule gives it. Over repeats, the mean, as of any figure:
    `plateau` lowers the rate of each by its own figures."""
    held_out: int = 0
    """How many of the training samples were held out for validation; of each repeat, as many."""
    scaling: tuple[Any, Any] | None = None
    """Mean and standard deviation of each feature, where samples are standardised: what the network takes is
    (x − mean) / deviation."""
    target_scaling: tuple[Any, Any] | None = None
    """Mean and standard deviation of each number of a target, where targets are standardised: what the network gives
    is (target − mean) / deviation."""
    writer: Writer | None = None
    """Writes text with the trained network, where it learned one: `lane.writer.write(200, prompt="The ")`."""
    sample: str = ""
    """What it wrote at the end of the run."""
    tables: dict[str, list[list[int]]] = field(default_factory=dict)
    """Metrics that are tables, such as `confusion`, of the test data after the last epoch: a row a label. Empty for a
    lane with repeats, as are `trace`, `gradients`, `dead`, `broken` and `kept`: each repeat has its own."""
    fingerprints: dict[str, Any] = field(default_factory=dict)
    """Digests: `start`, by tensor, of the weights that it began with; `order`, of every epoch's order of samples; of a
    lane with repeats, those of the first, since lanes are compared seed by seed."""
    trace: dict[str, list[str]] = field(default_factory=dict)
    """A digest an epoch of each tensor: parameters by full name, and what layers remember beside them."""
    gradients: dict[str, list[float | None]] = field(default_factory=dict)
    """The L2 norm of each tensor's gradient after the last batch of each epoch, before penalties and clipping; None
    where it was no number."""
    dead: dict[str, list[int]] = field(default_factory=dict)
    """For each layer with flat ends, as ReLU has one, at the end: its dead units, all of them, samples looked at."""
    baseline: dict[str, float] = field(default_factory=dict)
    """Of a regression, `test_loss` and `val_loss` of predicting the mean of the training targets for every sample."""
    broken: dict[str, float | None] = field(default_factory=dict)
    """The L2 norm of each tensor when the lane diverged; None where it was no number."""
    profile: dict[str, Any] = field(default_factory=dict)
    """Where the time of its training steps went, where that was asked for: see `training/profile.py`."""
    compiled: dict[str, Any] | None = None
    """Since which epoch, from 1 on, it was trained by compiled steps (`since`), and which parts stayed NumPy calls, and
    why (`python`); or why it was not, though the kernels were there (`refused`). None where nobody tried. No number
    depends on it."""
    kept: int = 0
    """The epoch, from 1 on, whose weights and figures are those of the lane, where it is not the last."""
    unsaved: str = ""
    """Why its last checkpoint could not be written, where that is so."""
    predictor: Predictor | None = None
    """Asks the trained network: `lane.predict(x)`, `lane.predictor.outputs(x)`."""
    repeat: int = 1
    """Which of the repeats of its lane it is, and `of` how many."""
    of: int = 1
    repeats: tuple[LaneResult, ...] = ()
    """The single trainings, where there were several: one a seed."""

    @property
    def label(self) -> str:
        """Its name, and which repeat it is where there are several: `Adam, seed 43 (2 of 5)`."""
        return f"{self.name}, seed {self.seed} ({self.repeat} of {self.of})" if self.of > 1 else self.name

    def predict(self, x: Any) -> NDArray[Any]:
        """Return the class of each sample as the data calls it, `(n,)`; where there are no classes, the outputs.

            result["Adam"].predict(x)            # (n, features), or a DataFrame, or a path -> (n,)

        Samples have the values that the data source gives (bytes of images, cells of a table), as for `nnspec predict`,
        and are divided, standardised and turned into features as in training. Warns where their range is not that of
        the training data. Raises ValueError for samples that do not fit or hold NaN, and for a lane without a network.
        """
        if self.predictor is None:
            raise ValueError(f"{self.name} has no trained network: its status is {self.status}")
        return self.predictor.predict(x)

    @property
    def candidate(self) -> Candidate:
        """What a choice between lanes knows of it."""
        figures = {name: self.final(name) for name in self.history}
        return Candidate(self.name, self.loss, figures, self.status not in ("diverged", "failed"))

    @property
    def has_network(self) -> bool:
        """Whether it has weights of use: not where it diverged or failed, unless those of its best epoch were kept."""
        return self.status not in ("diverged", "failed") or bool(self.kept)

    @property
    def scales(self) -> dict[str, Any]:
        """Mean and deviation of all that is standardised, under the names that they have beside the weights."""
        pairs = {"input": self.scaling, "target": self.target_scaling}
        return {
            f"{what}.{name}": array
            for what, pair in pairs.items()
            for name, array in zip(("mean", "deviation"), pair or (), strict=False)
        }

    @property
    def counted(self) -> tuple[LaneResult, ...]:
        """The trainings that means are taken over: the repeats that came to their end; where there are none, those that
        diverged, and else all of them. Without repeats, the only one."""
        done, diverged = (tuple(one for one in self.repeats if one.status == status) for status in ("done", "diverged"))
        return done or diverged or self.repeats or (self,)

    @property
    def seconds(self) -> float:
        """Training time, without tests, set-up and reports."""
        return mean(math.fsum(one.epoch_seconds) for one in self.counted)

    @property
    def risen(self) -> bool:
        """Whether a training, or one of its repeats, ended with a training loss far above that of its first epoch."""
        return any(one.status == "done" and _risen(one.history["loss"]) for one in self.counted)

    def final(self, figure: str) -> float:
        """Return a figure after the last epoch, or the one that was kept; NaN where no epoch was finished.

        Over repeats, the mean of each one's own, also where they stopped after different ones. Raises KeyError for no
        figure.
        """
        return mean(_last(one.history[figure][: one.kept or None]) for one in self.counted)

    def epochs_to(self, target: float) -> float:
        """Return after how many epochs the training loss was first at or below `target`, on average over repeats.

        Infinity where it never was, in any one of them.
        """
        return mean(epochs_to(one.history["loss"], target) for one in self.counted)

    def seconds_to(self, target: float) -> float:
        """Return the training time until the training loss was at or below `target`, as `epochs_to` counts."""
        if math.isinf(self.epochs_to(target)):
            return math.inf
        ends = [(one, int(epochs_to(one.history["loss"], target))) for one in self.counted]
        return mean(math.fsum(one.epoch_seconds[:end]) for one, end in ends)


@dataclass(frozen=True)
class DataUse:
    """Which data a run used, and what it used it for."""

    source: str
    asked_for: str
    """The first alternative of the spec."""
    reason: str
    """Why the alternatives before were not to be had; empty where the first one was."""
    sha256: str
    origin: str
    train: int
    test: int
    classes: int | None
    shape: tuple[int, ...]
    divisor: float = 1.0
    """What stored numbers are divided by."""
    class_names: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    """Of a table, the columns that the features come from."""
    target_names: tuple[str, ...] = ()
    alphabet: str = ""
    """Of a text, its characters in order."""
    border: float | None = None
    """Of images, how bright their outermost pixels are on average, from 0 to 1."""
    notes: tuple[str, ...] = ()
    """What a reader should know of how files were read."""
    ranges: tuple[tuple[float, float], ...] = ()
    """The smallest and the largest number of the training samples, as they are stored: of each feature of a table, else
    of all together; empty for ids."""

    @property
    def stands_in(self) -> bool:
        """Whether it stands in for what was asked for."""
        return self.source != self.asked_for


@dataclass(frozen=True)
class Verdict:
    """An expectation, judged. `held` is None where it could not be judged because the run was interrupted."""

    text: str
    held: bool | None
    detail: str

    def __repr__(self) -> str:
        return f"<{view_function('wording.phrases.verdict')(self)}>"


@dataclass(repr=False)
class RunResult(Shown, Mapping[str, LaneResult]):
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
    folder: str | None = None
    """Where the run was written, if it was."""
    files: tuple[str, ...] = ()
    """What was written there."""
    unwritten: str = ""
    """Why not all of it could be written, where that is so."""
    undrawn: str = ""
    """Why there is no picture, where it could not be drawn."""
    summary: dict[str, Any] = field(default_factory=dict)

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


T = TypeVar("T")


def _risen(losses: Sequence[float]) -> bool:
    return len(losses) > 1 and 0 < RISEN * losses[0] < losses[-1]


def _last(values: Sequence[float]) -> float:
    return values[-1] if values else math.nan


def _common(values: list[T]) -> T | None:
    return values[0] if values and all(value == values[0] for value in values) else None


def common_loss(lanes: Sequence[LaneResult]) -> float | None:
    """Return the lowest training loss that every lane, and each of its repeats, reached, rounded up to two digits.

    None where there is none, or where the lanes have different losses, which cannot be compared.
    """
    if _common([lane.loss for lane in lanes]) is None:
        return None
    counted = [one for lane in lanes for one in lane.counted]
    best = [min(one.history["loss"]) for one in counted if one.history.get("loss")]
    if not best or max(best) <= 0:
        return None
    loss = max(best)
    unit = 10.0 ** (math.floor(math.log10(loss)) - 1)
    return float(f"{math.ceil(loss / unit * (1 - 1e-12)) * unit:.6g}")


def epochs_to(losses: Sequence[float], target: float) -> float:
    """Return after how many epochs the training loss was first at or below `target`; infinity where it never was."""
    return next((float(epoch) for epoch, loss in enumerate(losses, 1) if loss <= target), math.inf)
