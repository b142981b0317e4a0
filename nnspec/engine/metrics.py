"""Metrics: figures for people, which training does not use."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Shape
from nnspec.engine.part import Part
from nnspec.engine.work import Borrower, Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Accuracy", "Metric"]


class Metric(Part, Borrower):
    """Base of the metrics: a sum over samples, divided by their number at the end of an epoch."""

    kind: ClassVar[str] = "metric"
    needs_classes: ClassVar[bool] = False
    """Whether it makes sense for class labels only."""
    percent: ClassVar[bool] = False
    """Whether it is a share, which people read in percent."""
    default: ClassVar[bool] = False
    """Whether it is measured, where it makes sense, unless a spec says otherwise."""

    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def work(cls, outputs: Shape) -> Mapping[str, Work]:
        """Return the work arrays for outputs of a shape (of one sample)."""
        return MappingProxyType({})

    def total(self, outputs: NDArray[Any], labels: NDArray[Any]) -> float:
        """Return the sum of the figure over a batch: outputs `(B, *out)` and labels `(B,)`."""
        raise NotImplementedError


class Accuracy(Metric):
    """Share of samples whose largest output is at their label, `(B, C)` and `(B,)` -> [0, 1]; ties go to the first."""

    spec_name = "accuracy"
    also = ("acc", "Accuracy", "sparse_categorical_accuracy")
    needs_classes = True
    percent = True
    default = True

    @classmethod
    def work(cls, outputs: Shape) -> Mapping[str, Work]:
        """The predicted class and whether it is right, for each sample."""
        return {"predicted": Work((), "index"), "right": Work((), "bool")}

    def total(self, outputs: NDArray[Any], labels: NDArray[Any]) -> float:
        """How many samples are right."""
        rows = outputs.shape[:1]
        predicted = outputs.argmax(axis=1, out=self.work_array("predicted", rows, np.intp))
        return float(np.count_nonzero(np.equal(predicted, labels, out=self.work_array("right", rows, bool))))
