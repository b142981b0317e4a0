"""Cross-entropy: softmax and negative log-likelihood as one loss; and weights of classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Shape
from nnspec.engine.losses.contract import (
    NO_ARGUMENTS,
    Loss,
    check_labels,
    contiguous,
    fit_classes,
    fit_weights,
    positions,
    saved,
)
from nnspec.engine.part import Also, Range, kept
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["CrossEntropyLoss", "balanced_weights"]

ClassWeights = Annotated[
    tuple[float, ...] | Literal["balanced"] | None,
    Range(low=0, open_low=True),
    Also("weight", "weights", "class_weight"),
]


def balanced_weights(labels: ArrayLike, classes: int, weights: ArrayLike | None = None) -> NDArray[Any]:
    """Return a weight for each of C classes, n / (C · n_c), float64 `(C,)`: of n labels, n_c are of the class c.

    All classes then have the same weight together. Labels of weighted samples count by their `weights` `(B,)`. As
    scikit-learn's `compute_class_weight("balanced", …)`. Raises ValueError for a class without labels.
    """
    numbers = np.asarray(labels)
    amounts = None
    if weights is not None:
        amounts = np.repeat(np.asarray(weights, np.float64), numbers.size // max(1, len(numbers)))
    counts = np.bincount(numbers.reshape(-1), amounts, classes)
    missing = np.flatnonzero(counts == 0)
    if missing.size:
        raise ValueError(f"class {missing[0]} has no training sample")
    found: NDArray[Any] = counts.sum() / (len(counts) * counts)
    return found


class ClassWeighted(Loss):
    """Base of the losses of class labels that can weight classes."""

    targets = "classes"
    scores: ClassVar[str] = "logits"
    """What the outputs are, in words."""

    _: KW_ONLY
    class_weights: ClassWeights = None
    _cast: dict[Any, NDArray[Any]] | None = kept()
    _total: float | None = kept()
    """Σ w[label] of the last forward pass, if classes are weighted and labels are not rows."""

    @classmethod
    def fit(
        cls, outputs: Shape, classes: int | None, target: Shape = (), arguments: Mapping[str, Any] = NO_ARGUMENTS
    ) -> None:
        """A row of at least as many scores as there are classes, for each position of the target."""
        fit_classes(cls, outputs, classes, target, cls.scores)
        fit_weights(outputs, arguments)

    def weight(self, rows: int) -> float:
        """Σ w[label] if classes are weighted and labels are not rows, each times the weight of its sample."""
        return super().weight(rows) if self._total is None else self._total * self._mean_weight

    def learns(self, outputs: Shape) -> Mapping[str, Shape]:
        """A weight for each class, if they are `balanced`."""
        return {"class_weights": outputs[-1:]} if self.class_weights == "balanced" else {}

    def learn(
        self, targets: NDArray[Any], outputs: Shape, classes: int | None, weights: NDArray[Any] | None = None
    ) -> Mapping[str, NDArray[Any]]:
        """The weights of classes, if they are `balanced`. Raises ValueError if a class has no sample."""
        if self.class_weights != "balanced":
            return {}
        found = np.ones(outputs[-1])  # outputs without a class are never a label
        found[:classes] = balanced_weights(targets, classes or outputs[-1], weights)
        return {"class_weights": found}

    def recall(self, learned: Mapping[str, NDArray[Any]]) -> None:
        """Use the weights that were learned."""
        if "class_weights" in learned:
            self.class_weights, self._cast = tuple(learned["class_weights"].tolist()), None

    def _weights_of_labels(self, labels: NDArray[Any], classes: int, out: NDArray[Any]) -> float:
        """Write the weight of each label's class `(B·T,)`; return their sum."""
        self._weights_in(out.dtype, classes).take(labels, out=out, mode="clip")
        self._total = total = float(np.add.reduce(out))
        self.weigh_places(out, total)
        return total

    def _weights_in(self, dtype: Any, classes: int) -> NDArray[Any]:
        """Return the weight of each class in a dtype. Raises ValueError."""
        self._cast = self._cast or {}
        if dtype not in self._cast:
            self._cast[dtype] = self._weights_of(classes).astype(dtype)
        return self._cast[dtype]

    def _weights_of(self, classes: int) -> NDArray[Any]:
        """Return the weight of each class. Raises ValueError."""
        weights, name = self.class_weights, type(self).__name__
        if isinstance(weights, str):
            raise ValueError(f"{name}: balanced weights follow from labels; pass `balanced_weights(labels, {classes})`")
        found = np.ones(classes) if weights is None else np.array(weights, np.float64)
        if len(found) != classes:
            raise ValueError(f"{name}: {len(found)} weights for {classes} classes")
        return found


class CrossEntropyLoss(ClassWeighted):
    """L = mean over B of −log softmax(z)[label], for logits z `(B, C)`; dL/dz = (softmax(z) − onehot) / B.

    For sequences, with logits `(B, T, C)` and labels `(B, T)`, it is the mean over all B·T positions. Softmax and
    logarithm are computed together, log Σ eᶻ − z[label], after subtracting the row's maximum, so that no exponential
    overflows and no logarithm sees zero. Labels are ints `(B,)`, or rows `(B, C)` that sum to 1 (one-hot).

    With `label_smoothing` ε, the target probability of the label is reduced to 1 − ε, and ε is spread over all C
    classes (Szegedy et al., Rethinking the Inception Architecture, 2016). With `class_weights` w, every logarithm is
    multiplied by the weight of its class, and L is Σ w[label] … / Σ w[label], or with rows Σ … / B. The weights
    `balanced` are n / (C · n_c) for n_c of n training samples in the class c, as scikit-learn's.

    As PyTorch's `CrossEntropyLoss(weight, label_smoothing)`, except that classes are the last axis, where PyTorch has
    `(B, C, T)`; Keras's takes probabilities unless `from_logits=True`.
    """

    spec_name = "CrossEntropy"
    also = ("CrossEntropyLoss", "SoftmaxCrossEntropy", "SoftmaxWithLoss")
    resembles = (
        ("CategoricalCrossentropy", "SparseCategoricalCrossentropy", "categorical_crossentropy"),
        "it takes logits, so the model must not end with `Softmax`",
    )
    takes_logits = True

    _: KW_ONLY
    label_smoothing: Annotated[float, Range(low=0, high=1), Also("smoothing")] = 0.0
    _softmax: NDArray[Any] | None = kept()
    _index: NDArray[Any] | None = kept()
    _rows: NDArray[Any] | None = kept()
    _places: Shape = kept()
    _share = 0.0
    _amounts: NDArray[Any] | None = kept()

    def __post_init__(self) -> None:
        self._plain = not self.label_smoothing and self.class_weights is None
        self._vectors: dict[tuple[int, Any], tuple[NDArray[Any], NDArray[Any]]] = {}

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """The softmax with a column per position, two numbers per position, and the index of each label in the flat
        logits.
        """
        places = outputs[:-1]
        work = {
            "columns": Work(outputs, saved=True),
            "sums": Work(places),
            "picked": Work(places),
            "index": Work(places, "index", saved=True),
        }
        if not arguments.get("label_smoothing") and arguments.get("class_weights") is None:
            return work
        return work | {"amounts": Work(places, saved=True), "spread": Work(places)}

    @property
    def stacks(self) -> bool:
        """Without weights and smoothing."""
        return self._plain

    def forward(
        self,
        outputs: NDArray[Any],
        targets: ArrayLike,
        out: NDArray[Any] | None = None,
        weights: ArrayLike | None = None,
    ) -> float:
        """Mean negative log-likelihood of the labels. Raises ValueError for labels that are not classes.

        With `out`, labels are assumed to be ints in range: the owner of the arrays has already checked them.
        """
        labels = np.asarray(targets)
        if out is None:
            check_labels(self, outputs, labels, "logits", rows=True)
        self.weigh(weights, outputs, check=out is None)
        places, classes = outputs.shape[:-1], outputs.shape[-1]
        columns = self.work_array("columns", outputs.shape, outputs.dtype)
        sums = self.work_array("sums", places, outputs.dtype)
        picked = self.work_array("picked", places, outputs.dtype)
        index = self.work_array("index", places, np.intp)
        if len(places) > 1:  # all positions of all samples as rows
            outputs, labels = outputs.reshape(-1, classes), labels.reshape(-1, *labels.shape[len(places) :])
            sums, picked, index = sums.reshape(-1), picked.reshape(-1), index.reshape(-1)
        # Transposed, so that maxima and sums over the classes run along the batch, many samples at a time.
        columns = columns.reshape(classes, len(outputs))
        self._places, self._share, self._total = places, self.lanes / len(outputs), None
        np.copyto(columns, outputs.T)
        np.maximum.reduce(columns, axis=0, out=sums)
        np.subtract(columns, sums, out=columns)
        if labels.ndim == 1:
            self._rows, self._index = None, positions(labels, classes, index)
            # mode="clip" because the default buffers `out`; every position is in range.
            outputs.reshape(-1).take(index, out=picked, mode="clip")
            np.subtract(picked, sums, out=picked)
        else:
            self._rows, self._index = labels if self._plain else self._spread_over(labels, columns.dtype), None
            np.einsum("cb,bc->b", columns, self._rows, out=picked)
        if not self._plain:
            return self._weighed(labels, columns, sums, picked)
        np.exp(columns, out=columns)
        np.add.reduce(columns, axis=0, out=sums)
        self._softmax = np.divide(columns, sums, out=columns)
        np.log(sums, out=sums)
        np.subtract(sums, picked, out=sums)
        return self.mean(sums)

    def backward(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """(softmax − onehot) / B. Raises ValueError if `out` is not C-contiguous."""
        softmax = saved(self._softmax, self)
        contiguous(out, self)
        classes, places = softmax.shape
        whole = np.empty((*self._places, classes), softmax.dtype) if out is None else out
        grad = whole if whole.ndim == 2 else whole.reshape(places, classes)
        share = self._share
        np.multiply(softmax.T, share, out=grad)
        if self._index is None:
            assert self._rows is not None, "labels are either positions or rows"
            np.subtract(grad, self._rows * share, out=grad)
            return self.weighed(whole)
        flat = grad.reshape(-1)
        picked = self.work_array("picked", self._places, grad.dtype)
        if picked.ndim > 1:
            picked = picked.reshape(-1)
        if not self._plain:
            np.subtract(grad, self._of_classes(classes, grad.dtype)[1] * share, out=grad)
        flat.take(self._index, out=picked, mode="clip")
        np.subtract(picked, share if self._amounts is None else self._amounts, out=picked)
        flat.put(self._index, picked, mode="clip")
        return self.weighed(whole)

    # With weights or smoothing: L = Σᵢ Σ_c q[i, c] (log Σ eᶻ − z[i, c]) · share, where row i of q has (1 − ε) w[label]
    # at its label and ε w[c] / C everywhere; dL/dz = (softmax · Σ_c q − q) · share.

    def _weighed(self, labels: NDArray[Any], columns: NDArray[Any], sums: NDArray[Any], picked: NDArray[Any]) -> float:
        """Finish forward: `columns` are z − max, `picked` its values at the labels, or Σ_c q z for rows."""
        weights, smooth = self._of_classes(len(columns), columns.dtype)
        if self._index is not None:
            amounts = self.work_array("amounts", self._places, columns.dtype).reshape(-1)
            spread = self.work_array("spread", self._places, columns.dtype).reshape(-1)
            np.matmul(smooth, columns, out=spread)
            weights.take(labels, out=amounts, mode="clip")
            total = float(np.add.reduce(amounts))
            self._share = 1.0 / total if total else 0.0
            if self.class_weights is not None:
                self._total = total
                self.weigh_places(amounts, total)
            np.multiply(amounts, 1 - self.label_smoothing, out=amounts)
            np.multiply(picked, amounts, out=picked)
            np.add(picked, spread, out=picked)
            mass = np.add(amounts, float(np.add.reduce(smooth)), out=spread)
            self._amounts = np.multiply(amounts, self._share, out=amounts)
        else:
            mass = np.add.reduce(saved(self._rows, self), axis=1)
        np.exp(columns, out=columns)
        np.add.reduce(columns, axis=0, out=sums)
        np.divide(columns, sums, out=columns)
        self._softmax = np.multiply(columns, mass, out=columns)
        np.log(sums, out=sums)
        np.multiply(sums, mass, out=sums)
        np.subtract(sums, picked, out=sums)
        return self.divided(self.total(sums) * self._share, 1)

    def _spread_over(self, rows: NDArray[Any], dtype: Any) -> NDArray[Any]:
        """Return q for labels given as rows."""
        weights, smooth = self._of_classes(rows.shape[1], dtype)
        return rows * weights * (1 - self.label_smoothing) + smooth

    def _of_classes(self, classes: int, dtype: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the weight w of each class, and the smoothing term ε w / C of each. Raises ValueError."""
        found = self._vectors.get((classes, dtype))
        if found is None:
            weights = self._weights_of(classes)
            found = weights.astype(dtype), (weights * self.label_smoothing / classes).astype(dtype)
            self._vectors[classes, dtype] = found
        return found
