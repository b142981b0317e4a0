"""Metrics: figures for people, which training does not use."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Shape
from nnspec.engine.part import PARTS, Part
from nnspec.engine.work import Borrower, Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Accuracy", "Metric", "higher_is_better", "metric_of"]


class Metric(Part, Borrower):
    """Base of the metrics: `begin`, then `add` batch after batch, then `result` over all of them."""

    kind: ClassVar[str] = "metric"
    needs_classes: ClassVar[bool] = False
    """Whether it makes sense for class labels only."""
    percent: ClassVar[bool] = False
    """Whether it is a share, which people read in percent."""
    higher_is_better: ClassVar[bool] = False
    """Whether more of it is better; as with a loss, less is unless a metric says so."""
    default: ClassVar[bool] = False
    """Whether it is measured, where it makes sense, unless a spec says otherwise."""

    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def work(cls, outputs: Shape) -> Mapping[str, Work]:
        """Return the work arrays for outputs of a shape (of one sample)."""
        return MappingProxyType({})

    def begin(self) -> None:
        """Forget all batches."""
        raise NotImplementedError

    def add(self, outputs: NDArray[Any], targets: NDArray[Any]) -> None:
        """Count a batch: outputs `(B, *out)`, which are left as they are, and the data's targets `(B, *target)`."""
        raise NotImplementedError

    def result(self) -> float:
        """Return the figure over all samples since `begin`."""
        raise NotImplementedError


class Accuracy(Metric):
    """Share of samples whose largest output is at their label, `(B, C)` and `(B,)` -> [0, 1]; ties go to the first."""

    spec_name = "accuracy"
    also = ("acc", "Accuracy", "sparse_categorical_accuracy")
    needs_classes = True
    percent = True
    higher_is_better = True
    default = True

    @classmethod
    def work(cls, outputs: Shape) -> Mapping[str, Work]:
        """The predicted class and whether it is right, for each sample."""
        return {"predicted": Work((), "index"), "right": Work((), "bool")}

    def begin(self) -> None:
        """Forget all batches."""
        self._right = self._seen = 0

    def add(self, outputs: NDArray[Any], targets: NDArray[Any]) -> None:
        """Count which samples are right."""
        rows = outputs.shape[:1]
        predicted = outputs.argmax(axis=1, out=self.work_array("predicted", rows, np.intp))
        right = np.equal(predicted, targets, out=self.work_array("right", rows, bool))
        self._right += int(np.count_nonzero(right))
        self._seen += len(outputs)

    def result(self) -> float:
        """Right ones over all."""
        return self._right / self._seen


def metric_of(figure: str) -> type[Metric] | None:
    """Return the metric that a figure of a run measures: `accuracy` for `val_accuracy`. None for losses and others."""
    metrics = PARTS.get("metric", {})
    metric = (
        metrics.get(figure) or metrics.get(figure.removeprefix("val_")) or metrics.get(figure.removeprefix("test_"))
    )
    return metric if metric is not None and issubclass(metric, Metric) else None


def higher_is_better(figure: str) -> bool:
    """Whether more of a figure of a run is better, as of `val_accuracy`; less of every loss is."""
    metric = metric_of(figure)
    return metric is not None and metric.higher_is_better
