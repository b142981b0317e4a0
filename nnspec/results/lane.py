"""The result of one lane of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from nnspec.engine.metrics.contract import higher_is_better
from nnspec.reprs import TableRepr
from nnspec.results.epochs import EpochRecord, columns
from nnspec.statistics.ranking import Candidate
from nnspec.statistics.significance import deviation, mean

if TYPE_CHECKING:
    from nnspec.engine.length import Length
    from nnspec.engine.network import NumpyMLP
    from nnspec.results.predictor import Predictor
    from nnspec.results.writer import Writer

__all__ = ["LaneResult", "Status", "epochs_to"]

Status = Literal["done", "diverged", "interrupted", "failed"]

RISEN = 10.0
"""Ratio of the final training loss to that of the first epoch above which a training counts as failed."""


@dataclass(frozen=True, repr=False, eq=False)
class LaneResult(TableRepr):
    """The result of one trained lane. If it was trained with several seeds, its figures are means over `repeats`."""

    name: str
    optimizer: str
    """The optimizer in spec syntax: `Adam(lr=0.001)`."""
    loss: str
    """The loss in spec syntax: `CrossEntropy`."""
    seed: int
    shapes: str
    """The chain of widths: `784 → 64 → 10`."""
    epochs: int
    """Number of epochs requested; `len(records)` is the number completed. With `length`, both count records."""
    params: int
    figures: tuple[str, ...]
    """Names of the figures measured each epoch: `loss`, `test_loss`, and each metric with and without `test_`; with
    held-out samples, also `val_loss` and so on."""
    records: Sequence[EpochRecord]
    """One record per epoch, in order: a list that grows during training, a tuple once it has ended. With repeats, means
    over the epochs that all of them completed."""
    network: NumpyMLP
    """The trained network. `network.forward(x)` takes x `(B, *in)` already divided and standardised as in training;
    `predict` does this for you. With repeats, the network of the first in `counted`; likewise `scaling`. A trial of a
    search has an empty one."""
    status: Status = "done"
    message: str = ""
    """Why the lane did not finish; empty if it did."""
    stopped: str = ""
    """The epoch after which training stopped early, and why; empty if it did not. With repeats, which of them stopped,
    and when."""
    held_out: int = 0
    """Number of training samples held out for validation, the same in each repeat."""
    scaling: tuple[Any, Any] | None = None
    """Mean and standard deviation of each feature; None if samples are not standardised. The network's input is (x −
    mean) / deviation."""
    target_scaling: tuple[Any, Any] | None = None
    """Mean and standard deviation of each target component; None if targets are not standardised. The network's output
    estimates (target − mean) / deviation."""
    learned: Mapping[str, Any] = field(default_factory=dict)
    """What the loss has learned from the targets of the training samples, as arrays by name: `class_weights` if they
    are `balanced`."""
    writer: Writer | None = None
    """Generates text with a character model: `lane.writer.write(200, prompt="The ")`. None for other networks."""
    sample: str = ""
    """Text that `writer` generated at the end of the run."""
    tables: dict[str, list[list[int]]] = field(default_factory=dict)
    """Metrics that are tables, such as `confusion`, on the test data after the last or the restored epoch: one row per
    label. Empty for a lane with repeats, as are `trace`, `gradients`, `dead` and `broken`; `restored_epoch` is then 0.
    See each repeat."""
    start: Mapping[str, str] = field(default_factory=dict)
    """A digest of each tensor's initial values, by full name."""
    dead: dict[str, list[int]] = field(default_factory=dict)
    """After training, for each layer whose activation has a flat region, such as ReLU: the number of dead units, of
    units, and of samples examined."""
    baseline: dict[str, float] = field(default_factory=dict)
    """For a regression, the `test_loss` and `val_loss` of predicting the mean training target for every sample."""
    broken: dict[str, float | None] = field(default_factory=dict)
    """The L2 norm of each tensor when the lane diverged; None for NaN or inf."""
    profile: dict[str, Any] = field(default_factory=dict)
    """Time spent in each part of a training step, if requested with `profile`: see `training/profile.py`."""
    compiled: dict[str, Any] | None = None
    """How compiled steps were used: from which epoch, counted from 1 (`since`), and which parts remained NumPy calls,
    and why (`python`); or why available kernels were not used (`refused`). None if compilation was not attempted.
    Results do not depend on it."""
    restored_epoch: int = 0
    """The epoch, counted from 1, whose weights were restored and whose figures are reported; 0 for the last epoch."""
    unsaved: str = ""
    """Why the last checkpoint could not be written; empty if it was."""
    predictor: Predictor | None = None
    """Predicts with the trained network: `lane.predict(x)`, `lane.predictor.outputs(x)`."""
    repeat: int = 1
    """The number of this repeat, counted from 1; `of` is the number of repeats."""
    of: int = 1
    length: Length | None = None
    """The length in steps, if training is measured by steps (`train.steps` or `train.record`): `records` then has a
    record after every `length.record` steps instead of every epoch."""
    repeats: tuple[LaneResult, ...] = ()
    """The individual trainings, one per seed; empty if there was only one."""

    @property
    def history(self) -> dict[str, list[float]]:
        """The values of each figure, one per epoch. With repeats, their means."""
        return {name: self.curve(name) for name in self.figures}

    def curve(self, figure: str) -> list[float]:
        """Return the values of one figure, one per epoch. Raises KeyError for a name not in `figures`."""
        if figure not in self.figures:
            raise KeyError(figure)
        return [record.figures[figure] for record in self.records]

    @property
    def unit(self) -> str:
        """What places in its training are counted in: `epoch`, or `step` if it is measured by steps."""
        return self.length.unit if self.length is not None else "epoch"

    def at(self, records: int) -> int:
        """Return the number of epochs, or of steps if it is measured by steps, after this many records."""
        return self.length.at(records) if self.length is not None else records

    def when(self, records: int) -> str:
        """Return the end of a record in words, `epoch 3` or `step 1500`."""
        return f"{self.unit} {self.at(records)}"

    @property
    def places(self) -> dict[str, list[float]]:
        """Where its records end, in `steps` and in `epochs`; empty if there is one record per epoch."""
        length, counts = self.length, range(1, len(self.records) + 1)
        if length is None:
            return {}
        return {"steps": [length.steps_at(n) for n in counts], "epochs": [length.epochs_at(n) for n in counts]}

    @property
    def epoch_seconds(self) -> list[float]:
        """Training time of each epoch in seconds: forward, backward and optimizer steps, without evaluation."""
        return [record.seconds for record in self.records]

    @property
    def rates(self) -> list[float]:
        """The learning rate of the last step of each epoch; empty without a schedule.

        With repeats, the mean: `plateau` lowers the rate of each repeat by that repeat's own figures.
        """
        return [record.rate for record in self.records if record.rate is not None]

    @property
    def evaluations(self) -> list[float]:
        """The number of gradients computed in each epoch; empty if it is one per batch. With repeats, the mean."""
        return [record.evaluations for record in self.records if record.evaluations is not None]

    @property
    def trace(self) -> dict[str, list[str]]:
        """A digest of each tensor after each epoch: parameters and other layer state, by full name."""
        return columns(self.records, ())["trace"]

    @property
    def gradients(self) -> dict[str, list[float | None]]:
        """The L2 norm of each tensor's gradient after the last batch of each epoch, before penalties and clipping; None
        for NaN or inf."""
        return columns(self.records, ())["gradients"]

    @property
    def fingerprints(self) -> dict[str, Any]:
        """Digests of the initial tensors (`start`) and of the sample order of all epochs (`order`).

        With repeats, those of the first that has not failed, since lanes are compared seed by seed.
        """
        first = next((one for one in self.repeats if one.status != "failed"), (*self.repeats, self)[0])
        return {"start": dict(first.start), "order": first.records[-1].order if first.records else ""}

    @property
    def label(self) -> str:
        """The lane's name, with the seed and number of the repeat if there are several: `Adam, seed 43 (2 of 5)`."""
        return f"{self.name}, seed {self.seed} ({self.repeat} of {self.of})" if self.of > 1 else self.name

    def predict(self, x: Any) -> Any:
        """Return the predicted class of each sample, `(n,)`, by name if classes have names; without classes, the
        outputs; with several outputs, a dict of these by their names.

            result["Adam"].predict(x)            # (n, features), or a DataFrame, or a path -> (n,)

        Pass samples as the data source stores them (image bytes, table cells), as with `nnspec predict`; they are
        divided, standardised and encoded as in training. Warns if their range is not that of the training data. Raises
        ValueError for samples that do not fit or contain NaN, and for a lane without a network.
        """
        if self.predictor is None:
            why = f"its status is {self.status}" if self.status != "done" else "networks of trials are not kept"
            raise ValueError(f"{self.name} has no trained network: {why}")
        return self.predictor.predict(x)

    @property
    def candidate(self) -> Candidate:
        """The lane as a candidate for ranking and for choosing the best."""
        figures = {name: self.final(name) for name in self.figures}
        return Candidate(self.name, self.loss, figures, self.status not in ("diverged", "failed"))

    @property
    def has_network(self) -> bool:
        """Whether the lane has usable weights: it is no trial, and neither diverged nor failed, or its best epoch was
        restored."""
        usable = self.status not in ("diverged", "failed") or bool(self.restored_epoch)
        return usable and len(self.network) > 0

    @property
    def scales(self) -> dict[str, Any]:
        """Mean and standard deviation of what is standardised, and what the loss has learned, by the names used in
        weight files."""
        pairs = {"input": self.scaling, "target": self.target_scaling}
        return {f"loss.{name}": array for name, array in self.learned.items()} | {
            f"{what}.{name}": array
            for what, pair in pairs.items()
            for name, array in zip(("mean", "deviation"), pair or (), strict=False)
        }

    @property
    def trainings(self) -> tuple[LaneResult, ...]:
        """The individual trainings: its repeats or, without any, the lane itself."""
        return self.repeats or (self,)

    @property
    def counted(self) -> tuple[LaneResult, ...]:
        """The trainings that means are taken over: the repeats that finished; if none did, those that diverged; failing
        that, all repeats. Without repeats, the lane itself."""
        done, diverged = (tuple(one for one in self.repeats if one.status == status) for status in ("done", "diverged"))
        return done or diverged or self.trainings

    @property
    def seconds(self) -> float:
        """Training time in seconds, without evaluation, set-up and reports. With repeats, the mean."""
        return mean(math.fsum(one.epoch_seconds) for one in self.counted)

    @property
    def risen(self) -> bool:
        """Whether the lane, or one of its repeats, ended with a training loss far above that of its first epoch."""
        return any(one.status == "done" and _risen(one.curve("loss")) for one in self.counted)

    def final(self, figure: str) -> float:
        """Return a figure after the last epoch, or after the one that was kept; NaN if no epoch was completed.

        With repeats, the mean of their final values, even if they stopped after different epochs. Raises KeyError for a
        name not in `figures`.
        """
        return mean(_last(one.curve(figure)[: one.restored_epoch or None]) for one in self.counted)

    def deviation(self, figure: str) -> float:
        """Return the standard deviation of a figure's final values over repeats or folds, with n − 1 in the
        denominator; NaN for fewer than two.

        Raises KeyError for a name not in `figures`.
        """
        return deviation(one.final(figure) for one in self.counted)

    def epochs_to(self, target: float, figure: str = "loss") -> float:
        """Return the number of epochs until a figure, by default the training loss, was first at or below `target`, or
        above it if higher is better; a mean over repeats.

        It need not be whole if the lane is measured by steps.

        Infinity if any of them never reached it.
        """
        sign = -1.0 if higher_is_better(figure) else 1.0
        curves = [(one, [sign * value for value in one.curve(figure)]) for one in self.counted]
        return mean(one._epochs_at(epochs_to(curve, sign * target)) for one, curve in curves)

    def _epochs_at(self, records: float) -> float:
        return float(self.length.epochs_at(int(records))) if self.length and math.isfinite(records) else records

    def seconds_to(self, target: float) -> float:
        """Return the training time in seconds until the loss was first at or below `target`; infinity as in
        `epochs_to`."""
        if math.isinf(self.epochs_to(target)):
            return math.inf
        ends = [(one, int(epochs_to(one.curve("loss"), target))) for one in self.counted]
        return mean(math.fsum(one.epoch_seconds[:end]) for one, end in ends)


def _risen(losses: Sequence[float]) -> bool:
    return len(losses) > 1 and 0 < RISEN * losses[0] < losses[-1]


def _last(values: Sequence[float]) -> float:
    return values[-1] if values else math.nan


def epochs_to(losses: Sequence[float], target: float) -> float:
    """Return the number of epochs until the training loss was first at or below `target`; infinity if it never was."""
    return next((float(epoch) for epoch, loss in enumerate(losses, 1) if loss <= target), math.inf)
