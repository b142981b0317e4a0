"""Losses of probabilities other than softmax cross-entropy: of independent logits, and of log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY
from math import prod
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Shape, ShapeError, shape_in_words
from nnspec.engine.losses.contract import (
    NO_ARGUMENTS,
    Loss,
    check_labels,
    contiguous,
    fit_values,
    fit_weights,
    positions,
    saved,
)
from nnspec.engine.losses.cross_entropy import ClassWeighted
from nnspec.engine.part import Also, Range, kept
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["BCEWithLogitsLoss", "KLDivLoss", "NLLLoss"]


class Decisions(Loss):
    """Base of the losses of independent yes/no decisions: each output is the logit z of a target t in [0, 1]."""

    targets = "values"
    target_range = Range(0, 1)
    takes_logits = True
    squashes_with = "sigmoid"

    _slope: NDArray[Any] | None = kept()
    """The derivative of each term."""

    @classmethod
    def takes_classes(cls, levels: tuple[int, ...]) -> bool:
        """0 and 1 are the labels of two classes."""
        return levels == (0, 1)

    @classmethod
    def fit(
        cls, outputs: Shape, classes: int | None, target: Shape = (), arguments: Mapping[str, Any] = NO_ARGUMENTS
    ) -> None:
        """The shape of the target; one output for two classes; or one output per class."""
        fit_weights(outputs, arguments, "pos_weight", "output")
        if classes == 2 and outputs == (*target, 1):
            return
        if classes is not None and outputs == (*target, 1):
            raise ShapeError(
                f"one output can only separate 2 classes, but the data has {classes}",
                help=f"end with `Linear({classes})`",
            )
        fit_values(cls, outputs, classes, target)

    def backward(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The derivative of each term, divided by B·out."""
        slope = saved(self._slope, self)
        return self.weighed(np.multiply(slope, 1.0 / slope.size, out=out))


class BCEWithLogitsLoss(Decisions):
    """L = mean of −t log σ(z) − (1 − t) log(1 − σ(z)) over all B·out logits z; dL/dz = (σ(z) − t) / (B·out).

    Each output is an independent yes/no decision with target t in [0, 1]. For data with two classes and one output, t
    is the label; with one output per class, labels are one-hot rows: each class against all others. Computed as max(z,
    0) − z t + log(1 + e^−|z|), which neither overflows nor takes the logarithm of zero. As PyTorch's
    `BCEWithLogitsLoss`; Keras's `BinaryCrossentropy` takes probabilities unless `from_logits=True`.

    With `pos_weight` p, one number or one for each output, the first term is multiplied by p: L = mean of −p t log σ(z)
    − (1 − t) log(1 − σ(z)). If a label has a positive for every nine negatives, p = 9 gives both the same weight.
    """

    spec_name = "BCEWithLogits"
    also = ("BCEWithLogitsLoss", "SigmoidCrossEntropy")
    resembles = (
        ("BCE", "BCELoss", "BinaryCrossEntropy", "BinaryCrossentropy"),
        "it takes logits, so the model must not end with `Sigmoid`",
    )

    _: KW_ONLY
    pos_weight: Annotated[float | tuple[float, ...] | None, Range(low=0, open_low=True), Also("scale_pos_weight")] = (
        None
    )

    def __post_init__(self) -> None:
        self._positives: dict[Any, NDArray[Any]] = {}

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """The exponentials, and one array for the sums; with `pos_weight`, one for the weights."""
        work = {"powers": Work(outputs), "terms": Work(outputs)}
        return work if arguments.get("pos_weight") is None else work | {"amounts": Work(outputs)}

    def forward(
        self,
        outputs: NDArray[Any],
        targets: ArrayLike,
        out: NDArray[Any] | None = None,
        weights: ArrayLike | None = None,
    ) -> float:
        """Mean negative log-likelihood. Raises ValueError if shapes differ or, without `out`, for t outside [0, 1]."""
        wanted = self.values(outputs, targets, out, weights)
        powers = self.work_array("powers", outputs.shape, outputs.dtype)
        terms = self.work_array("terms", outputs.shape, outputs.dtype)
        if self.pos_weight is not None:
            return self._with_positives_weighted(outputs, wanted, out, powers, terms)
        np.multiply(outputs, wanted, out=powers)
        np.maximum(outputs, 0, out=terms)
        np.subtract(terms, powers, out=terms)
        total = self.total(terms)
        np.absolute(outputs, out=powers)
        np.negative(powers, out=powers)
        np.exp(powers, out=powers)
        # σ(z) = e^min(z, 0) / (1 + e^−|z|), to the last digit in both tails.
        sigma = np.minimum(outputs, 0, out=out)
        np.exp(sigma, out=sigma)
        np.divide(sigma, np.add(powers, 1, out=terms), out=sigma)
        self._slope = np.subtract(sigma, wanted, out=sigma)
        total += self.total(np.log1p(powers, out=powers))
        return self.divided(total, outputs.size)

    def _with_positives_weighted(
        self,
        outputs: NDArray[Any],
        wanted: NDArray[Any],
        out: NDArray[Any] | None,
        powers: NDArray[Any],
        terms: NDArray[Any],
    ) -> float:
        """L = mean of (1 − t) z + f log(1 + e^−z) with f = 1 − t + p t; dL/dz = (1 − t) σ(z) − p t σ(−z)."""
        amounts, positive = self.work_array("amounts", outputs.shape, outputs.dtype), self._positive(outputs.dtype)
        np.multiply(wanted, positive - 1, out=amounts, casting="unsafe")
        np.add(amounts, 1, out=amounts)
        np.subtract(1, wanted, out=terms, casting="unsafe")
        np.multiply(terms, outputs, out=terms)
        # log(1 + e^−z) = log(1 + e^−|z|) − min(z, 0), which neither overflows nor takes the logarithm of zero.
        np.minimum(outputs, 0, out=powers)
        np.multiply(powers, amounts, out=powers)
        np.subtract(terms, powers, out=terms)
        total = self.total(terms)
        np.absolute(outputs, out=powers)
        np.negative(powers, out=powers)
        np.exp(powers, out=powers)
        np.log1p(powers, out=terms)
        np.multiply(terms, amounts, out=terms)
        total += self.total(terms)
        np.add(powers, 1, out=powers)
        np.minimum(outputs, 0, out=terms)
        np.exp(terms, out=terms)
        np.divide(terms, powers, out=terms)
        np.multiply(terms, np.subtract(1, wanted, out=amounts, casting="unsafe"), out=terms)
        sigma = np.negative(outputs, out=out)
        np.minimum(sigma, 0, out=sigma)
        np.exp(sigma, out=sigma)
        np.divide(sigma, powers, out=sigma)
        np.multiply(sigma, np.multiply(wanted, positive, out=amounts, casting="unsafe"), out=sigma)
        self._slope = np.subtract(terms, sigma, out=sigma)
        return self.divided(total, outputs.size)

    def _positive(self, dtype: Any) -> NDArray[Any]:
        """Return `pos_weight`: one number, or one for each output."""
        found = self._positives.get(dtype)
        if found is None:
            found = self._positives[dtype] = np.array(self.pos_weight, dtype)
        return found


class NLLLoss(ClassWeighted):
    """L = mean of −y[label] over log-probabilities y `(B, C)`, or `(B, T, C)`; dL/dy = −onehot / B.

    Its inputs must be log-probabilities: use it after `LogSoftmax`. `CrossEntropy` takes logits, does both in one step,
    and is faster. With `class_weights` w, it is the weighted mean Σ −w[label] y[label] / Σ w[label]. As PyTorch's
    `NLLLoss`, except that classes are the last axis.
    """

    spec_name = "NLL"
    also = ("NLLLoss", "NegativeLogLikelihood")
    scores = "log-probabilities"
    takes_logs = True

    _index: NDArray[Any] | None = kept()
    _amounts: NDArray[Any] | float = kept()
    _shape: Shape = kept()
    _dtype: Any = kept()

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """The index of each label in the flat outputs, the output there, and its weight, if classes are weighted."""
        places = outputs[:-1]
        work = {"index": Work(places, "index", saved=True), "picked": Work(places)}
        return work if arguments.get("class_weights") is None else work | {"amounts": Work(places, saved=True)}

    def forward(
        self,
        outputs: NDArray[Any],
        targets: ArrayLike,
        out: NDArray[Any] | None = None,
        weights: ArrayLike | None = None,
    ) -> float:
        """Mean of −y[label]. Raises ValueError for labels that are not classes; with `out` they are assumed valid."""
        labels = np.asarray(targets)
        if out is None:
            check_labels(self, outputs, labels, "log-probabilities")
        self.weigh(weights, outputs, check=out is None)
        places, classes = outputs.shape[:-1], outputs.shape[-1]
        self._shape, self._dtype = outputs.shape, outputs.dtype
        index = self.work_array("index", places, np.intp).reshape(-1)
        picked = self.work_array("picked", places, outputs.dtype).reshape(-1)
        labels = labels.reshape(-1)
        self._index = positions(labels, classes, index)
        outputs.reshape(-1).take(index, out=picked, mode="clip")
        if self.class_weights is None:
            self._amounts = -1.0 / picked.size
            return self.divided(self.total(picked), -picked.size)
        amounts = self.work_array("amounts", places, outputs.dtype).reshape(-1)
        total = self._weights_of_labels(labels, classes, amounts)
        self._amounts = np.multiply(amounts, -1.0 / total if total else 0.0, out=amounts)
        return self.divided(self.total(np.multiply(picked, amounts, out=picked)), 1)

    def backward(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """−onehot / B, or each −w[label] / Σ w[label]. Raises ValueError if `out` is not C-contiguous."""
        index = saved(self._index, self)
        contiguous(out, self)
        grad = np.empty(self._shape, self._dtype) if out is None else out
        grad.fill(0)
        grad.reshape(-1).put(index, self._amounts, mode="clip")
        return self.weighed(grad)


class KLDivLoss(Loss):
    """L = mean over B (and positions T) of Σ t (log t − y), for log-probabilities y `(B, C)` and probabilities t.

    dL/dy = −t / B; a term with t = 0 is 0. Its inputs must be log-probabilities: use it after `LogSoftmax`. Class
    labels as targets are converted to one-hot rows. As PyTorch's `KLDivLoss(reduction="batchmean")`; its default also
    divides by C, and its `batchmean` does not divide by T. Kullback and Leibler, On Information and Sufficiency, 1951.
    """

    spec_name = "KLDiv"
    also = ("KLDivLoss", "KLDivergence", "KullbackLeibler")
    targets = "values"
    target_range = Range(0)
    takes_logs = True

    _negative: NDArray[Any] | None = kept()

    @classmethod
    def fit(
        cls, outputs: Shape, classes: int | None, target: Shape = (), arguments: Mapping[str, Any] = NO_ARGUMENTS
    ) -> None:
        """The shape of the target, or one output per class."""
        if not outputs:
            raise ShapeError(f"KLDiv takes rows of log-probabilities, not {shape_in_words(outputs)}")
        fit_values(cls, outputs, classes, target)

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """One array for the terms."""
        return {"terms": Work(outputs)}

    def forward(
        self,
        outputs: NDArray[Any],
        targets: ArrayLike,
        out: NDArray[Any] | None = None,
        weights: ArrayLike | None = None,
    ) -> float:
        """Mean divergence. Raises ValueError if shapes differ or, without `out`, for negative probabilities."""
        wanted = self.values(outputs, targets, out, weights)
        terms = self.work_array("terms", outputs.shape, outputs.dtype)
        # The smallest number with a finite logarithm, which t = 0 multiplies by zero.
        np.maximum(wanted, np.finfo(terms.dtype).tiny, out=terms)
        np.log(terms, out=terms)
        np.subtract(terms, outputs, out=terms)
        np.multiply(terms, wanted, out=terms)
        negative = np.empty(outputs.shape, outputs.dtype) if out is None else out
        self._negative = np.negative(wanted, out=negative, casting="unsafe")
        return self.divided(self.total(terms), prod(outputs.shape[:-1]))

    def backward(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """−t / B."""
        negative = saved(self._negative, self)
        return self.weighed(np.multiply(negative, 1.0 / prod(negative.shape[:-1]), out=out))
