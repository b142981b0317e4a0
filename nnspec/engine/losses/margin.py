"""Losses that are zero beyond a margin: of scores, and of distances between two samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Shape
from nnspec.engine.losses.contract import (
    NO_ARGUMENTS,
    Loss,
    check_labels,
    contiguous,
    fit_classes,
    positions,
    saved,
)
from nnspec.engine.losses.probability import Decisions
from nnspec.engine.part import Positive, kept
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["ContrastiveLoss", "HingeLoss"]


class ContrastiveLoss(Decisions):
    """L = mean of ½ (1 − t) d² + ½ t max(0, m − d)² for distances d ≥ 0, with t = 0 for the same and 1 for different.

    dL/dd = ((1 − t) d − t max(0, m − d)) / (B·out): pairs with t = 0 move together, and pairs with t = 1 apart, until
    they are the margin m apart. Targets between 0 and 1 are mixtures of both. Use it after `distance { … }`. Hadsell,
    Chopra and LeCun, Dimensionality Reduction by Learning an Invariant Mapping, 2006. Without the factor ½ in Keras's
    example of a siamese network.
    """

    spec_name = "Contrastive"
    also = ("ContrastiveLoss", "contrastive_loss")
    takes_logits = False
    decides = False

    margin: Positive = 1.0
    _far: NDArray[Any] | None = kept()

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """Both distances, from 0 and from the margin, and their squares."""
        scratch = {name: Work(outputs) for name in ("near", "terms", "squares")}
        return scratch | {"far": Work(outputs, saved=True)}

    def forward(
        self,
        outputs: NDArray[Any],
        targets: ArrayLike,
        out: NDArray[Any] | None = None,
        weights: ArrayLike | None = None,
    ) -> float:
        """Mean loss. Raises ValueError if shapes differ or, without `out`, for t outside [0, 1]."""
        wanted = self.values(outputs, targets, out, weights)
        near, far, terms, squares = (
            self.work_array(name, outputs.shape, outputs.dtype) for name in ("near", "far", "terms", "squares")
        )
        np.subtract(1, wanted, out=near, casting="unsafe")
        np.multiply(near, outputs, out=near)
        np.multiply(near, outputs, out=terms)
        np.subtract(self.margin, outputs, out=far)
        self._far = np.maximum(far, 0, out=far)
        slope = np.multiply(far, wanted, out=out)
        np.add(terms, np.multiply(far, slope, out=squares), out=terms)
        np.multiply(terms, 0.5, out=terms)
        self._slope = np.subtract(near, slope, out=slope)
        return self.divided(self.total(terms), outputs.size)

    def sides(self) -> NDArray[Any] | None:
        """Which distances are below the margin, where the second derivative jumps."""
        return saved(self._far, self) > 0


class HingeLoss(Loss):
    """L = mean over B of max(0, m + max over j ≠ label of z[j] − z[label]), for scores z `(B, C)`, or `(B, T, C)`.

    If the label does not lead by the margin m, dL/dz is −1/B at the label and 1/B at its strongest rival; else 0.
    Crammer and Singer, On the Algorithmic Implementation of Multiclass Kernel-based Vector Machines, 2001; as
    scikit-learn's `hinge_loss`. PyTorch's `MultiMarginLoss` sums over all rivals and divides by C instead; Keras's
    `CategoricalHinge` clips the rivals' scores at 0.

    With one output for two classes, L = mean of max(0, m − s z) with s = ±1 for label 1 and 0 (Cortes and Vapnik,
    Support-Vector Networks, 1995).
    """

    spec_name = "Hinge"
    also = ("HingeLoss", "MultiMarginLoss", "MultiMargin", "CategoricalHinge")
    targets = "classes"

    margin: Positive = 1.0
    _slack: NDArray[Any] | None = kept()
    _own: NDArray[Any] | None = kept()
    _rival: NDArray[Any] | None = kept()
    _shape: Shape = kept()

    @classmethod
    def fit(
        cls, outputs: Shape, classes: int | None, target: Shape = (), arguments: Mapping[str, Any] = NO_ARGUMENTS
    ) -> None:
        """A row of at least as many scores as there are classes, for each position of the target; or one for two
        classes.
        """
        if classes != 2 or outputs != (*target, 1):
            fit_classes(cls, outputs, classes, target, "scores")

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """The shortfall of each label; the indices of labels and rivals in the flat scores, or the sign."""
        places = outputs[:-1]
        work = {"slack": Work(places, saved=True), "amounts": Work(places)}
        if outputs[-1] == 1:
            return work | {"signs": Work(places, saved=True)}
        indices = {name: Work(places, "index", saved=True) for name in ("own", "rival")}
        return work | indices | {"others": Work(outputs)}

    def forward(
        self,
        outputs: NDArray[Any],
        targets: ArrayLike,
        out: NDArray[Any] | None = None,
        weights: ArrayLike | None = None,
    ) -> float:
        """Mean shortfall. Raises ValueError for labels that are not classes; with `out` they are assumed valid."""
        labels = np.asarray(targets)
        if out is None:
            self._check(outputs, labels)
        self.weigh(weights, outputs, check=out is None)
        self._shape = outputs.shape
        slack, amounts = self._array("slack", outputs.dtype), self._array("amounts", outputs.dtype)
        if outputs.shape[-1] == 1:
            self._of_one(outputs.reshape(-1), labels.reshape(-1), slack)
        else:
            self._of_many(outputs, labels.reshape(-1), slack, amounts)
        self._slack = np.maximum(slack, 0, out=slack)
        return self.mean(slack)

    def _of_one(self, scores: NDArray[Any], labels: NDArray[Any], slack: NDArray[Any]) -> None:
        """m − s z."""
        signs = self._array("signs", scores.dtype)
        np.multiply(labels, 2.0, out=signs, casting="unsafe")
        np.subtract(signs, 1, out=signs)
        np.multiply(signs, scores, out=slack)
        np.subtract(self.margin, slack, out=slack)
        self._own, self._rival = signs, None

    def _of_many(self, outputs: NDArray[Any], labels: NDArray[Any], slack: NDArray[Any], amounts: NDArray[Any]) -> None:
        """m + z[rival] − z[label]; ties are resolved in favour of the first rival."""
        classes = outputs.shape[-1]
        own, rival = self._array("own", np.intp), self._array("rival", np.intp)
        positions(labels, classes, own)
        others = self.work_array("others", outputs.shape, outputs.dtype).reshape(-1, classes)
        np.copyto(others, outputs.reshape(-1, classes))
        flat = others.reshape(-1)
        flat.take(own, out=amounts, mode="clip")
        flat.put(own, -np.inf, mode="clip")
        np.maximum.reduce(others, axis=1, out=slack)
        others.argmax(axis=1, out=rival)
        np.subtract(own, labels, out=own, casting="unsafe")
        np.add(rival, own, out=rival)
        np.add(own, labels, out=own, casting="unsafe")
        np.subtract(slack, amounts, out=slack)
        np.add(slack, self.margin, out=slack)
        self._own, self._rival = own, rival

    def backward(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """−1/B at labels without their margin, 1/B at their rivals. Raises ValueError if `out` is not C-contiguous."""
        slack = saved(self._slack, self)
        contiguous(out, self)
        own = saved(self._own, self)
        grad = np.empty(self._shape, slack.dtype) if out is None else out
        amounts = np.sign(slack, out=self._array("amounts", slack.dtype))
        np.multiply(amounts, 1.0 / slack.size, out=amounts)
        if self._rival is None:
            np.multiply(amounts, own, out=amounts)
            np.negative(amounts, out=grad.reshape(-1))
            return self.weighed(grad)
        grad.fill(0)
        flat = grad.reshape(-1)
        flat.put(self._rival, amounts, mode="clip")
        flat.put(own, np.negative(amounts, out=amounts), mode="clip")
        return self.weighed(grad)

    def sides(self) -> NDArray[Any] | None:
        """Which labels lack their margin, and which rivals they have."""
        violated = (saved(self._slack, self) > 0).astype(np.intp)
        return violated if self._rival is None else np.stack([violated, self._rival])

    def _array(self, name: str, dtype: Any) -> NDArray[Any]:
        """One number per position, all positions of all samples in one row."""
        return self.work_array(name, self._shape[:-1], dtype).reshape(-1)

    def _check(self, outputs: NDArray[Any], labels: NDArray[Any]) -> None:
        if outputs.ndim > 1 and outputs.shape[-1] == 1:
            outputs = np.broadcast_to(outputs, (*outputs.shape[:-1], 2))
        check_labels(self, outputs, labels, "scores")
