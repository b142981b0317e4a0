"""What came of one lane of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from nnspec.reprs import TableRepr
from nnspec.results.epochs import EpochRecord, columns
from nnspec.statistics.ranking import Candidate
from nnspec.statistics.significance import mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.engine.network import NumpyMLP
    from nnspec.results.predictor import Predictor
    from nnspec.results.writer import Writer

__all__ = ["LaneResult", "Status", "epochs_to"]

Status = Literal["done", "diverged", "interrupted", "failed"]

RISEN = 10.0
"""Training loss at the end to that of the first epoch, above which a training has failed."""


@dataclass(frozen=True, repr=False, eq=False)
class LaneResult(TableRepr):
    """One trained lane. Where it was trained with several seeds, the means; `repeats` has the single trainings."""

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
    figures: tuple[str, ...]
    """What is measured after each epoch: `loss`, `test_loss`, and each metric with and without `test_`; where samples
    are held out, `val_loss` and so on too."""
    records: Sequence[EpochRecord]
    """The epochs, in order: a tuple once training has ended, and a list that grows until then. Over repeats, the means
    of those epochs that all of them have."""
    network: NumpyMLP
    """The trained network. `network.forward(x)` takes x `(B, *in)` prepared as in training: `predict` does that. Of
    repeats, that of the first of those that count, and `scaling` with it."""
    status: Status = "done"
    message: str = ""
    """What happened, where the lane did not finish."""
    stopped: str = ""
    """After which epoch training stopped early, and why, where it did; of repeats, which ones did, and when."""
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
    start: Mapping[str, str] = field(default_factory=dict)
    """A digest of each tensor that training began with, by full name."""
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
    def history(self) -> dict[str, list[float]]:
        """A value per epoch for each of the `figures`. Over repeats, their means."""
        return {name: self.curve(name) for name in self.figures}

    def curve(self, figure: str) -> list[float]:
        """Return one of the `figures`, a value per epoch. Raises KeyError for any other name."""
        if figure not in self.figures:
            raise KeyError(figure)
        return [record.figures[figure] for record in self.records]

    @property
    def epoch_seconds(self) -> list[float]:
        """Training time of each epoch: forward, backward and steps, without the test."""
        return [record.seconds for record in self.records]

    @property
    def rates(self) -> list[float]:
        """The learning rate of the last step of each epoch; empty where no schedule sets it.

        Over repeats, the mean, as of any figure: `plateau` lowers the rate of each by its own figures.
        """
        return [record.rate for record in self.records if record.rate is not None]

    @property
    def trace(self) -> dict[str, list[str]]:
        """A digest per epoch of each tensor: parameters by full name, and the state that layers keep beside them."""
        return columns(self.records, ())["trace"]

    @property
    def gradients(self) -> dict[str, list[float | None]]:
        """The L2 norm of each tensor's gradient after the last batch of each epoch, before penalties and clipping; None
        for NaN or inf."""
        return columns(self.records, ())["gradients"]

    @property
    def fingerprints(self) -> dict[str, Any]:
        """Digests: `start`, of each tensor that training began with, and `order`, of every epoch's order of samples.

        Of a lane with repeats, those of the first, since lanes are compared seed by seed.
        """
        first = next((one for one in self.repeats if one.status != "failed"), (*self.repeats, self)[0])
        return {"start": dict(first.start), "order": first.records[-1].order if first.records else ""}

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
        figures = {name: self.final(name) for name in self.figures}
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
        return any(one.status == "done" and _risen(one.curve("loss")) for one in self.counted)

    def final(self, figure: str) -> float:
        """Return a figure after the last epoch, or the one that was kept; NaN where no epoch was finished.

        Over repeats, the mean of each one's own, also where they stopped after different ones. Raises KeyError for no
        figure.
        """
        return mean(_last(one.curve(figure)[: one.kept or None]) for one in self.counted)

    def epochs_to(self, target: float) -> float:
        """Return after how many epochs the training loss was first at or below `target`, on average over repeats.

        Infinity where it never was, in any one of them.
        """
        return mean(epochs_to(one.curve("loss"), target) for one in self.counted)

    def seconds_to(self, target: float) -> float:
        """Return the training time until the training loss was at or below `target`, as `epochs_to` counts."""
        if math.isinf(self.epochs_to(target)):
            return math.inf
        ends = [(one, int(epochs_to(one.curve("loss"), target))) for one in self.counted]
        return mean(math.fsum(one.epoch_seconds[:end]) for one, end in ends)


def _risen(losses: Sequence[float]) -> bool:
    return len(losses) > 1 and 0 < RISEN * losses[0] < losses[-1]


def _last(values: Sequence[float]) -> float:
    return values[-1] if values else math.nan


def epochs_to(losses: Sequence[float], target: float) -> float:
    """Return after how many epochs the training loss was first at or below `target`; infinity where it never was."""
    return next((float(epoch) for epoch, loss in enumerate(losses, 1) if loss <= target), math.inf)
