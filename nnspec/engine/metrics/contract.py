"""The interface of metrics, and the figures of a run that they define."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Shape, ShapeError, shape_in_words
from nnspec.engine.part import PARTS, Part
from nnspec.engine.work import Borrower, Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Averaging", "Metric", "Places", "Tally"]

NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})


class Metric(Part, Borrower):
    """Base of the metrics: `begin`, then `add` batch after batch, then `result` over all of them."""

    kind: ClassVar[str] = "metric"
    must_define = ("begin", "add", "result")
    needs_classes: ClassVar[bool] = False
    """Whether it requires class labels."""
    takes_labels: ClassVar[bool] = False
    """Whether it also accepts multi-label targets, 0 or 1 each: outputs and targets `(B, L)`, no classes."""
    keeps_scores: ClassVar[bool] = False
    """Whether it keeps the outputs of all batches until `result`."""
    needs_numbers: ClassVar[bool] = False
    """Whether it requires numeric targets. It must be invariant to adding the same number to outputs and targets, since
    standardised targets are relative to their mean.
    """
    percent: ClassVar[bool] = False
    """Whether it is a fraction, usually shown as a percentage."""
    higher_is_better: ClassVar[bool] = False
    """Whether higher is better; the default, as for a loss, is lower."""
    default: ClassVar[bool] = False
    """Whether it is measured by default, for data that it applies to."""
    tallies: ClassVar[bool] = False
    """Whether all its state is in tallies (see `Tally`), so that updating it needs no Python."""
    converts_arguments = True
    is_figure: ClassVar[bool] = True
    """Whether it is one number, with a curve over the epochs; otherwise it is a table of the test data after the last
    epoch.
    """

    @classmethod
    def fit(
        cls, outputs: Shape, classes: int | None, target: Shape = (), arguments: Mapping[str, Any] = NO_ARGUMENTS
    ) -> None:
        """Check the network's outputs for a sample against its target, as a loss does. Raises ShapeError."""
        if cls.takes_labels and classes is None:
            if outputs != target or not outputs:
                raise ShapeError(
                    f"`{cls.spec_name}` compares {shape_in_words(target) or '1'} "
                    f"label{'' if target in ((), (1,)) else 's'} per sample with as many outputs, "
                    f"but the network has {shape_in_words(outputs)}"
                )
        elif cls.needs_classes and (outputs[:-1] != target or not outputs):
            places = f" for each of {shape_in_words(target)} positions" if target else ""
            raise ShapeError(
                f"`{cls.spec_name}` takes a row of outputs{places}, but the network has {shape_in_words(outputs)}"
            )

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """Return the work arrays for outputs of this shape (of one sample)."""
        return NO_ARGUMENTS

    def begin(self) -> None:
        """Reset."""
        raise NotImplementedError

    def add(self, outputs: NDArray[Any], targets: NDArray[Any]) -> None:
        """Add a batch: outputs `(B, *out)`, which are not modified, and the data's targets `(B, *target)`."""
        raise NotImplementedError

    def result(self) -> Any:
        """Return the figure, or the table, over all samples since `begin`."""
        raise NotImplementedError


class Places:
    """A metric of only those positions of samples whose weight is not 0: outputs `(B, *places, C)`, targets and weights
    `(B, *places)`.
    """

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._outputs: NDArray[Any] | None = None
        self._targets: NDArray[Any] | None = None

    @classmethod
    def work(
        cls, metric: type[Metric], outputs: Shape, places: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS
    ) -> Mapping[str, Work]:
        """Return the metric's work arrays for all positions of a sample, and those for the outputs and labels of
        some.
        """
        own = metric.work(outputs[len(places) :], arguments)
        return {name: Work((*places, *array.shape), array.dtype) for name, array in own.items()} | {
            "outputs of places": Work(outputs),
            "targets of places": Work(places, "index"),
        }

    def lend(self, work: Mapping[str, NDArray[Any]]) -> None:
        """Use these arrays, as `Borrower.lend`; an empty mapping revokes them."""
        places = work["targets of places"].ndim if work else 0
        flat = {name: array.reshape(-1, *array.shape[places:]) for name, array in work.items()}
        self._outputs, self._targets = flat.pop("outputs of places", None), flat.pop("targets of places", None)
        self.metric.lend(flat)

    def add(self, outputs: NDArray[Any], targets: NDArray[Any], weights: NDArray[Any]) -> None:
        """Add a batch."""
        chosen = np.flatnonzero(weights)
        rows = outputs.reshape(weights.size, *outputs.shape[weights.ndim :])
        some = None if self._outputs is None else self._outputs[: len(chosen)]
        labels = None if self._targets is None else self._targets[: len(chosen)]
        self.metric.add(
            rows.take(chosen, axis=0, out=some, mode="clip"), targets.reshape(-1).take(chosen, out=labels, mode="clip")
        )


class Tally:
    """A sum over batches, kept in an array."""

    def __init__(self, dtype: str = "float64") -> None:
        self._sum = np.zeros(1, dtype)

    def clear(self) -> None:
        """Reset to 0."""
        self._sum.fill(0)

    def add(self, amount: Any) -> None:
        """Add a batch's number."""
        if isinstance(amount, np.ndarray):  # during a recording
            amount = amount.astype(self._sum.dtype, copy=False)
        np.add(self._sum, amount, out=self._sum, casting="unsafe")

    @property
    def cell(self) -> Any:
        """The array of one number that holds it."""
        return self._sum

    @property
    def value(self) -> Any:
        """The sum so far, as a Python number."""
        return self._sum.item()


class Averaging(Metric):
    """Base of the metrics that are a total divided by a count."""

    tallies = True

    def __post_init__(self) -> None:
        self._total, self._seen = Tally(), Tally("int64")

    def begin(self) -> None:
        """Reset."""
        self._total.clear()
        self._seen.clear()

    def result(self) -> float:
        """The total divided by the count."""
        return float(self._total.value / self._seen.value) if self._seen.value else math.nan


def metric_of(figure: str) -> type[Metric] | None:
    """Return the metric that measures a figure of a run: `accuracy` for `val_accuracy`, also of one of several outputs.
    None for losses and others.
    """
    metrics = PARTS.get("metric", {})
    longest = sorted(metrics, key=len, reverse=True)  # `average_precision` before `precision`
    exact = (figure, figure.removeprefix("val_"), figure.removeprefix("test_"))
    of_output = (name for name in longest if figure.endswith(f"_{name}"))
    metric = metrics.get(next((name for name in (*exact, *of_output) if name in metrics), ""))
    return metric if metric is not None and issubclass(metric, Metric) else None


def plain_figure(figure: str) -> str:
    """Return the name of a figure in training: `accuracy` for `val_accuracy`."""
    return figure.removeprefix("val_").removeprefix("test_")


def higher_is_better(figure: str) -> bool:
    """Whether higher is better for a figure of a run, such as `val_accuracy`; for losses, lower is better."""
    metric = metric_of(figure)
    return metric is not None and metric.higher_is_better


def figure_and_target(by: str) -> tuple[str, float | None]:
    """Split `epochs_to(val_loss=0.3)`, the time to a target, into the figure and its target, which a figure itself does
    not have."""
    _, bracket, rest = by.partition("(")
    if not bracket:
        return by, None
    figure, _, target = rest.removesuffix(")").partition("=")
    return figure, float(target)
