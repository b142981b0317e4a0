"""Classification metrics, for outputs `(B, C)` with labels `(B,)`, or `(B, T, C)` with `(B, T)`, over all positions.

The predicted class is that of the largest output, the first of equal ones; for a single output and two classes, it is 1
if the output is greater than 0, where the sigmoid is ½. Some metrics also accept multi-label targets: outputs `(B, L)`
with targets `(B, L)` of 0 and 1, where a label is predicted if its output is greater than 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated, Any, Literal

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Shape, ShapeError
from nnspec.engine.losses.contract import positions
from nnspec.engine.metrics.contract import NO_ARGUMENTS, Averaging, Metric
from nnspec.engine.part import Also, Count, kept
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["F1", "Accuracy", "Confusion", "Perplexity", "Precision", "Recall", "TopK"]

MOST_IN_TABLE = 100
"""The maximum number of classes in a confusion table."""


class Predicting(Metric):
    """Base of the metrics that compare predicted classes."""

    needs_classes = True

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """The predicted class of each position, and whether it is right."""
        places = outputs[:-1]
        return {"predicted": Work(places, "index"), "right": Work(places, "bool")}

    def _predict(self, outputs: NDArray[Any]) -> NDArray[Any]:
        places = outputs.shape[:-1]
        predicted = self.work_array("predicted", places, np.intp)
        if outputs.shape[-1] > 1:
            return outputs.argmax(axis=-1, out=predicted)
        return np.greater(outputs[..., 0], 0, out=predicted)

    def _right(self, predicted: NDArray[Any], targets: NDArray[Any]) -> NDArray[Any]:
        return np.equal(predicted, targets, out=self.work_array("right", predicted.shape, bool))


class Accuracy(Predicting, Averaging):
    """Fraction of positions whose largest output is at their label, `(B, C)` and `(B,)` -> [0, 1]; ties go to the
    first.

    For multi-label targets, the fraction of samples with all labels right, as in scikit-learn's `accuracy_score`.
    Keras's `BinaryAccuracy` is the fraction of right labels.
    """

    spec_name = "accuracy"
    also = ("acc", "Accuracy", "sparse_categorical_accuracy", "categorical_accuracy", "binary_accuracy")
    percent = True
    higher_is_better = True
    default = True
    takes_labels = True

    def add(self, outputs: NDArray[Any], targets: NDArray[Any]) -> None:
        """Count the correct positions."""
        if outputs.ndim == targets.ndim:
            right = self._all_right(outputs, targets)
        else:
            right = self._right(self._predict(outputs), targets)
        self._total.add(np.count_nonzero(right))
        self._seen.add(right.size)

    def _all_right(self, outputs: NDArray[Any], targets: NDArray[Any]) -> NDArray[Any]:
        """Return which samples have all their labels right."""
        places = outputs.shape[:-1]
        right, wrong = self.work_array("right", places, bool), self.work_array("predicted", places, np.intp)
        right.fill(True)
        for label in range(outputs.shape[-1]):
            np.greater(outputs[..., label], 0, out=wrong)
            np.not_equal(wrong, targets[..., label], out=wrong)
            np.greater(right, wrong, out=right)
        return right


class TopK(Averaging):
    """Fraction of positions whose label is among the k largest outputs; ties are resolved in favour of the first.

    With k = 1, it equals accuracy. scikit-learn's `top_k_accuracy_score` resolves ties in favour of the last.
    """

    spec_name = "top_k"
    also = ("top_k_accuracy", "TopKCategoricalAccuracy", "top5", "top_5")
    needs_classes = True
    percent = True
    higher_is_better = True

    k: Annotated[Count, Also("n", "top")] = 5
    _classes: NDArray[Any] | None = kept()

    @classmethod
    def fit(
        cls, outputs: Shape, classes: int | None, target: Shape = (), arguments: Mapping[str, Any] = NO_ARGUMENTS
    ) -> None:
        """More outputs than k, since otherwise every prediction would be right."""
        super().fit(outputs, classes, target, arguments)
        k = arguments.get("k", 5)
        if k >= outputs[-1]:
            raise ShapeError(f"`top_k` of {outputs[-1]} outputs is always correct with k={k}", argument="k")

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """Which outputs rank before the label's, and their number."""
        places = outputs[:-1]
        return {
            "before": Work(outputs, "bool"),
            "alike": Work(outputs, "bool"),
            "index": Work(places, "index"),
            "own": Work(places),
        }

    def add(self, outputs: NDArray[Any], targets: NDArray[Any]) -> None:
        """Count the labels with fewer than k outputs ranked before them."""
        index = self.work_array("index", targets.shape, np.intp)
        own = _at_labels(outputs, targets, index, self.work_array("own", targets.shape, outputs.dtype))
        alike = np.equal(outputs, own[..., None], out=self.work_array("alike", outputs.shape, bool))
        before = self.work_array("before", outputs.shape, bool)
        if self._classes is None or len(self._classes) != outputs.shape[-1]:
            self._classes = np.arange(outputs.shape[-1])
        np.less(self._classes, targets[..., None], out=before)
        np.logical_and(alike, before, out=alike)
        np.greater(outputs, own[..., None], out=before)
        np.logical_or(before, alike, out=before)
        rank = np.add.reduce(before, axis=-1, out=index, dtype=np.intp)
        self._total.add(np.count_nonzero(np.less(rank, self.k, out=alike[..., 0])))
        self._seen.add(targets.size)


class Rates(Predicting):
    """Base of the rates of a class k, from its true positives, false positives and false negatives.

    `macro` is their mean over the classes that occur among labels or predictions; `weighted` is that mean weighted by
    the number of samples of each class; `micro` uses sums over all classes, which for single labels equals accuracy;
    `binary` is the rate of class 1 of two classes. For multi-label targets, each label is one k, and all are included,
    even those that never occur. A rate without a denominator is 0. As scikit-learn's with the same `average` and
    `zero_division=0`; its default is `binary`.
    """

    percent = True
    higher_is_better = True
    takes_labels = True

    _: KW_ONLY
    average: Literal["macro", "micro", "weighted", "binary"] = "macro"
    _now: NDArray[Any] | None = kept()
    _each_label = False

    def __post_init__(self) -> None:
        self._counts: dict[int, NDArray[Any]] = {}

    @classmethod
    def fit(
        cls, outputs: Shape, classes: int | None, target: Shape = (), arguments: Mapping[str, Any] = NO_ARGUMENTS
    ) -> None:
        """Two classes for `binary`."""
        super().fit(outputs, classes, target, arguments)
        if arguments.get("average") == "binary" and (classes != 2 or outputs[-1] > 2):
            what = f"several labels: {outputs[-1]}" if classes is None else f"{max(classes, outputs[-1])} classes"
            raise ShapeError(
                f"`binary` is the score of class 1 of two, but there are {what}",
                argument="average",
                help="write `average=macro`",
            )

    def begin(self) -> None:
        """Reset."""
        self._now = None

    def add(self, outputs: NDArray[Any], targets: NDArray[Any]) -> None:
        """Count labels, predictions and hits of each class."""
        self._each_label = outputs.ndim == targets.ndim
        if self._now is None:
            classes = outputs.shape[-1] if self._each_label else max(outputs.shape[-1], 2)
            self._now = self._counts.setdefault(classes, np.zeros((3, classes), np.intp))
            self._now.fill(0)
        labels, predictions, hits = self._now
        if self._each_label:
            self._count_labels(outputs, targets)
            return
        predicted = self._predict(outputs)
        right = self._right(predicted, targets)
        np.add.at(labels, targets.reshape(-1), 1)
        np.add.at(predictions, predicted.reshape(-1), 1)
        np.add.at(hits, targets.reshape(-1), right.reshape(-1))

    def _count_labels(self, outputs: NDArray[Any], targets: NDArray[Any]) -> None:
        """Count label by label, since each may be present or not."""
        assert self._now is not None
        places = outputs.shape[:-1]
        predicted, true = self.work_array("predicted", places, np.intp), self.work_array("right", places, bool)
        for label, counts in enumerate(self._now.T):
            np.greater(outputs[..., label], 0, out=predicted)
            np.not_equal(targets[..., label], 0, out=true)
            counts[0] += np.count_nonzero(true)
            counts[1] += np.count_nonzero(predicted)
            counts[2] += np.count_nonzero(np.multiply(predicted, true, out=predicted))

    def result(self) -> float:
        """The mean over classes, or the rate of the sums."""
        assert self._now is not None, "no samples were counted"
        rows = self._now.T.tolist()
        if self.average == "micro":
            rows = [[sum(column) for column in zip(*rows, strict=True)]]
        elif self.average == "binary":
            rows = rows[1:]
        elif not self._each_label:
            rows = [row for row in rows if row[0] or row[1]]
        rates = [
            self._rate(hits, labels, predictions) if labels or predictions else 0.0
            for labels, predictions, hits in rows
        ]
        weights = [labels if self.average == "weighted" else 1 for labels, _, _ in rows]
        return math.fsum(w * rate for w, rate in zip(weights, rates, strict=True)) / (sum(weights) or 1)

    def _rate(self, hits: int, labels: int, predictions: int) -> float:
        raise NotImplementedError


class Precision(Rates):
    """Fraction of the predictions of a class that are right: TP / (TP + FP); combined over classes by `average`."""

    spec_name = "precision"
    also = ("precision_score", "Precision")

    def _rate(self, hits: int, labels: int, predictions: int) -> float:
        return hits / predictions if predictions else 0.0


class Recall(Rates):
    """Fraction of the positions of a class that are predicted as such: TP / (TP + FN); combined over classes by
    `average`.
    """

    spec_name = "recall"
    also = ("recall_score", "Recall", "sensitivity")

    def _rate(self, hits: int, labels: int, predictions: int) -> float:
        return hits / labels if labels else 0.0


class F1(Rates):
    """Harmonic mean of precision and recall of a class: 2 TP / (2 TP + FP + FN); combined over classes by `average`."""

    spec_name = "f1"
    also = ("f1_score", "F1", "F1Score", "fscore")

    def _rate(self, hits: int, labels: int, predictions: int) -> float:
        return 2 * hits / (labels + predictions)


class Confusion(Predicting):
    """The confusion matrix: a table with a row for each label and a column for each prediction.

    It is not a figure: the run stores the table of the test data after the last epoch.
    """

    spec_name = "confusion"
    also = ("confusion_matrix", "ConfusionMatrix")
    is_figure = False

    _now: NDArray[Any] | None = kept()

    def __post_init__(self) -> None:
        self._tables: dict[int, NDArray[Any]] = {}

    @classmethod
    def fit(
        cls, outputs: Shape, classes: int | None, target: Shape = (), arguments: Mapping[str, Any] = NO_ARGUMENTS
    ) -> None:
        """Few enough outputs for a table."""
        super().fit(outputs, classes, target, arguments)
        if outputs[-1] > MOST_IN_TABLE:
            raise ShapeError(
                f"`confusion` of {outputs[-1]:,} outputs is too large for a table: {MOST_IN_TABLE} at most"
            )

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """The predicted class of each position, and the entry of the flat table to increment."""
        return {"predicted": Work(outputs[:-1], "index"), "entries": Work(outputs[:-1], "index")}

    def begin(self) -> None:
        """Reset."""
        self._now = None

    def add(self, outputs: NDArray[Any], targets: NDArray[Any]) -> None:
        """Count each pair of a label and a prediction."""
        classes = max(outputs.shape[-1], 2)
        if self._now is None:
            self._now = self._tables.setdefault(classes, np.zeros((classes, classes), np.intp))
            self._now.fill(0)
        entries = np.multiply(
            targets, classes, out=self.work_array("entries", targets.shape, np.intp), casting="unsafe"
        )
        np.add(entries, self._predict(outputs), out=entries)
        np.add.at(self._now.reshape(-1), entries.reshape(-1), 1)

    def result(self) -> NDArray[Any]:
        """Counts `(C, C)`: row the label, column the prediction."""
        assert self._now is not None, "no samples were counted"
        return self._now.copy()


class Perplexity(Averaging):
    """exp of the mean over all positions of −log softmax(z)[label]: the effective number of equally likely classes.

    Outputs are logits, or log-probabilities, which the softmax leaves unchanged. It is 1 for a certain, right
    prediction.
    """

    spec_name = "perplexity"
    also = ("ppl", "Perplexity")
    needs_classes = True

    @classmethod
    def fit(
        cls, outputs: Shape, classes: int | None, target: Shape = (), arguments: Mapping[str, Any] = NO_ARGUMENTS
    ) -> None:
        """One output per class."""
        super().fit(outputs, classes, target, arguments)
        if outputs[-1] < 2:
            raise ShapeError("`perplexity` needs one output per class, but there is only one", help="end with two")

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """The exponentials, and two numbers and an index per position."""
        places = outputs[:-1]
        return {"powers": Work(outputs), "top": Work(places), "own": Work(places), "index": Work(places, "index")}

    def add(self, outputs: NDArray[Any], targets: NDArray[Any]) -> None:
        """Add −log softmax(z)[label] of each position: log Σ eᶻ⁻ᵐ + m − z[label] with m the maximum."""
        places, dtype = targets.shape, outputs.dtype
        own = self.work_array("own", places, dtype)
        _at_labels(outputs, targets, self.work_array("index", places, np.intp), own)
        top = np.maximum.reduce(outputs, axis=-1, out=self.work_array("top", places, dtype))
        powers = np.subtract(outputs, top[..., None], out=self.work_array("powers", outputs.shape, dtype))
        np.exp(powers, out=powers)
        np.subtract(top, own, out=own)
        self._total.add(np.add.reduce(own, axis=None))
        np.add.reduce(powers, axis=-1, out=top)
        self._total.add(np.add.reduce(np.log(top, out=top), axis=None))
        self._seen.add(targets.size)

    def result(self) -> float:
        """exp of the mean; infinity if it overflows."""
        mean = self._total.value / self._seen.value if self._seen.value else math.nan
        return math.exp(mean) if mean < 709 else math.inf


def _at_labels(outputs: NDArray[Any], labels: NDArray[Any], index: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
    """The output at each label."""
    positions(labels.reshape(-1), outputs.shape[-1], index.reshape(-1))
    return outputs.reshape(-1).take(index, out=out, mode="clip")
