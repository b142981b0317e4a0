"""Focal losses, which give less weight to samples that are classified well already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Shape
from nnspec.engine.losses.contract import (
    NO_ARGUMENTS,
    check_labels,
    contiguous,
    positions,
    saved,
)
from nnspec.engine.losses.cross_entropy import ClassWeighted
from nnspec.engine.losses.probability import Decisions
from nnspec.engine.part import Also, Range, kept
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["BinaryFocalLoss", "FocalLoss"]

Gamma = Annotated[float, Range(low=0), Also("focusing", "focusing_parameter")]


class FocalLoss(ClassWeighted):
    """L = mean over B of −(1 − p)^γ log p, with p = softmax(z)[label], for logits z `(B, C)`, or `(B, T, C)`.

    dL/dz = (1 − p)^γ (1 − γ p log p / (1 − p)) (softmax(z) − onehot) / B. A label that has the probability 0.9 already
    counts 100 times less with γ = 2 than in `CrossEntropy`, which is γ = 0. With `class_weights` w, it is the weighted
    mean Σ w[label] … / Σ w[label]; `balanced` are those of `CrossEntropy`. Lin et al., Focal Loss for Dense Object
    Detection, 2017, where w is called α. Keras's `CategoricalFocalCrossentropy` takes probabilities unless
    `from_logits=True`, and has w = 0.25 for all classes. For labels that are independent of each other, or two classes
    and one output, use `BinaryFocal`.
    """

    spec_name = "Focal"
    also = ("FocalLoss", "CategoricalFocalCrossentropy", "SparseCategoricalFocalLoss")
    takes_logits = True

    gamma: Gamma = 2.0
    _softmax: NDArray[Any] | None = kept()
    _index: NDArray[Any] | None = kept()
    _factors: NDArray[Any] | None = kept()
    _shape: Shape = kept()

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """The softmax, and a few numbers and the index of the label for each position."""
        places = outputs[:-1]
        numbers = {name: Work(places) for name in ("log", "chance", "rest")}
        return {
            "softmax": Work(outputs, saved=True),
            "index": Work(places, "index", saved=True),
            "slope": Work(places, saved=True),
            **numbers,
        }

    def forward(
        self,
        outputs: NDArray[Any],
        targets: ArrayLike,
        out: NDArray[Any] | None = None,
        weights: ArrayLike | None = None,
    ) -> float:
        """Mean of −(1 − p)^γ log p. Raises ValueError for labels that are not classes; with `out` they are assumed
        valid.
        """
        labels = np.asarray(targets)
        if out is None:
            check_labels(self, outputs, labels, "logits")
        self.weigh(weights, outputs, check=out is None)
        places, classes = outputs.shape[:-1], outputs.shape[-1]
        self._shape = outputs.shape
        labels, rows = labels.reshape(-1), outputs.reshape(-1, classes)
        softmax = self.work_array("softmax", outputs.shape, outputs.dtype).reshape(-1, classes)
        log, chance, rest, slope = (self._places(name, outputs.dtype) for name in ("log", "chance", "rest", "slope"))
        index = self.work_array("index", places, np.intp).reshape(-1)
        self._index = positions(labels, classes, index)
        np.maximum.reduce(rows, axis=1, out=rest)
        np.subtract(rows, rest[:, None], out=softmax)
        softmax.reshape(-1).take(index, out=log, mode="clip")
        np.exp(softmax, out=softmax)
        np.add.reduce(softmax, axis=1, out=rest)
        self._softmax = np.divide(softmax, rest[:, None], out=softmax)
        np.log(rest, out=rest)
        np.subtract(log, rest, out=log)
        np.exp(log, out=chance)
        # 1 − p, as precisely near p = 1 as elsewhere. Its smallest positive number takes the place of 0, so that
        # log p / (1 − p) is defined.
        np.expm1(log, out=rest)
        np.negative(rest, out=rest)
        np.maximum(rest, np.finfo(rest.dtype).tiny, out=rest)
        np.multiply(chance, log, out=chance)
        np.divide(chance, rest, out=chance)
        np.multiply(chance, self.gamma, out=chance)
        np.subtract(1, chance, out=chance)
        np.power(rest, self.gamma, out=rest)
        self._factors = np.multiply(rest, chance, out=slope)
        np.multiply(log, rest, out=log)
        if self.class_weights is None:
            np.multiply(slope, 1.0 / log.size, out=slope)
            return self.divided(self.total(log), -log.size)
        total = self._weights_of_labels(labels, classes, chance)
        share = 1.0 / total if total else 0.0
        np.multiply(slope, np.multiply(chance, share, out=rest), out=slope)
        return self.divided(self.total(np.multiply(log, chance, out=log)) * -share, 1)

    def backward(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """A factor for each position, times softmax − onehot. Raises ValueError if `out` is not C-contiguous."""
        softmax, factors, index = saved(self._softmax, self), saved(self._factors, self), saved(self._index, self)
        contiguous(out, self)
        whole = np.empty(self._shape, softmax.dtype) if out is None else out
        grad = np.multiply(softmax, factors[:, None], out=whole.reshape(softmax.shape))
        picked = self._places("log", grad.dtype)
        flat = grad.reshape(-1)
        flat.take(index, out=picked, mode="clip")
        np.subtract(picked, factors, out=picked)
        flat.put(index, picked, mode="clip")
        return self.weighed(whole)

    def _places(self, name: str, dtype: Any) -> NDArray[Any]:
        """One number per position, all positions of all samples in one row."""
        return self.work_array(name, self._shape[:-1], dtype).reshape(-1)


class BinaryFocalLoss(Decisions):
    """L = mean of −α t (1 − p)^γ log p − (1 − α)(1 − t) p^γ log(1 − p), with p = σ(z), over all B·out logits z.

    Targets are those of `BCEWithLogits`; for t between 0 and 1 it is α_t (1 − p_t)^γ BCE(z, t), with p_t = p t +
    (1 − p)(1 − t) and α_t = α t + (1 − α)(1 − t). With `alpha = none`, positives and negatives count alike: α_t = 1.
    Lin et al., Focal Loss for Dense Object Detection, 2017. As torchvision's `sigmoid_focal_loss(reduction="mean")`,
    where α < 0 means none; Keras's `BinaryFocalCrossentropy` has α only with `apply_class_balancing=True`.
    """

    spec_name = "BinaryFocal"
    also = ("BinaryFocalLoss", "BinaryFocalCrossentropy", "SigmoidFocal", "sigmoid_focal_loss")

    gamma: Gamma = 2.0
    alpha: Annotated[float | None, Range(low=0, high=1), Also("balance")] = 0.25

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """Four numbers for each logit."""
        return {name: Work(outputs) for name in ("powers", "terms", "amounts", "other")}

    def forward(
        self,
        outputs: NDArray[Any],
        targets: ArrayLike,
        out: NDArray[Any] | None = None,
        weights: ArrayLike | None = None,
    ) -> float:
        """Mean loss. Raises ValueError if shapes differ or, without `out`, for t outside [0, 1]."""
        wanted = self.values(outputs, targets, out, weights)
        powers, terms, amounts, other = (
            self.work_array(name, outputs.shape, outputs.dtype) for name in ("powers", "terms", "amounts", "other")
        )
        np.absolute(outputs, out=powers)
        np.negative(powers, out=powers)
        np.exp(powers, out=powers)
        np.maximum(outputs, 0, out=terms)
        np.subtract(terms, np.multiply(outputs, wanted, out=amounts), out=terms)
        np.add(terms, np.log1p(powers, out=amounts), out=terms)  # BCE(z, t)
        np.add(powers, 1, out=powers)
        np.negative(outputs, out=other)
        np.minimum(other, 0, out=other)
        np.exp(other, out=other)
        np.divide(other, powers, out=other)  # 1 − p
        sigma = np.minimum(outputs, 0, out=out)
        np.exp(sigma, out=sigma)
        np.divide(sigma, powers, out=sigma)  # p
        np.subtract(1, wanted, out=amounts, casting="unsafe")
        np.multiply(amounts, sigma, out=amounts)
        np.multiply(other, wanted, out=powers)
        np.add(amounts, powers, out=amounts)
        # 1 − p_t. Its smallest positive number takes the place of 0, so that BCE / (1 − p_t) is defined.
        np.maximum(amounts, np.finfo(amounts.dtype).tiny, out=amounts)
        np.divide(terms, amounts, out=powers)
        np.multiply(powers, self.gamma, out=powers)
        np.multiply(powers, sigma, out=powers)
        np.multiply(powers, other, out=powers)
        np.multiply(wanted, -2.0, out=other, casting="unsafe")
        np.add(other, 1, out=other)
        np.multiply(powers, other, out=powers)
        np.subtract(sigma, wanted, out=sigma)
        np.add(sigma, powers, out=sigma)
        np.power(amounts, self.gamma, out=amounts)
        if self.alpha is not None:
            np.multiply(wanted, 2 * self.alpha - 1, out=other, casting="unsafe")
            np.add(other, 1 - self.alpha, out=other)
            np.multiply(amounts, other, out=amounts)
        np.multiply(terms, amounts, out=terms)
        self._slope = np.multiply(sigma, amounts, out=sigma)
        return self.divided(self.total(terms), outputs.size)
