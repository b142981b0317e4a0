"""Ranking metrics: how well outputs rank samples, for two classes or for each of several labels.

The score of a sample is its logit z: with two outputs, z₁ − z₀; with multi-label outputs `(B, L)`, each label's own.
Only the order of scores matters, so logits and probabilities give the same figures.

They need all scores at once, and keep them until the end of the pass: one number and one byte per sample and label,
5 bytes in float32, or 3 MB for 60,000 samples with 10 labels. The figures are exact, however samples are batched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Any, Literal

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Shape, ShapeError
from nnspec.engine.metrics.contract import NO_ARGUMENTS, Metric
from nnspec.engine.part import kept
from nnspec.errors import ensure

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AUC", "AveragePrecision"]


class Ranking(Metric):
    """Base of the metrics of scores. With several labels, `macro` is the mean over labels, `weighted` is that mean
    weighted by the number of samples with each label, and `micro` pools all labels.
    """

    needs_classes = True
    takes_labels = True
    keeps_scores = True
    higher_is_better = True

    _: KW_ONLY
    average: Literal["macro", "micro", "weighted"] = "macro"
    _count = 0
    _scores: NDArray[Any] | None = kept()
    _truths: NDArray[Any] | None = kept()

    @classmethod
    def fit(
        cls, outputs: Shape, classes: int | None, target: Shape = (), arguments: Mapping[str, Any] = NO_ARGUMENTS
    ) -> None:
        """Two classes, or several labels."""
        super().fit(outputs, classes, target, arguments)
        if classes is not None and (classes != 2 or outputs[-1] > 2):
            what = f"{classes} classes" if classes != 2 else f"{outputs[-1]} outputs"
            raise ShapeError(f"`{cls.spec_name}` ranks samples of two classes, but there are {what}")

    def begin(self) -> None:
        """Reset."""
        self._count = 0

    def add(self, outputs: NDArray[Any], targets: NDArray[Any]) -> None:
        """Keep the scores of a batch."""
        labels = outputs.shape[-1] if outputs.ndim == targets.ndim else 1
        rows = targets.size // labels
        scores, truths = self._room(rows, labels, outputs.dtype)
        if outputs.ndim != targets.ndim and outputs.shape[-1] == 2:
            np.subtract(outputs[..., 1], outputs[..., 0], out=scores.reshape(targets.shape))
        else:
            np.copyto(scores, outputs.reshape(rows, labels))
        np.not_equal(targets.reshape(rows, labels), 0, out=truths)

    def _room(self, rows: int, labels: int, dtype: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the arrays for the next samples; the memory is doubled if it is too small."""
        start, self._count = self._count, self._count + rows
        if self._scores is None or self._truths is None or self._scores.shape[1:] != (labels,):
            self._scores, self._truths = np.empty((0, labels), dtype), np.empty((0, labels), bool)
        if self._count > len(self._scores):
            more = max(self._count, 2 * len(self._scores))
            scores, truths = np.empty((more, labels), dtype), np.empty((more, labels), bool)
            scores[:start], truths[:start] = self._scores[:start], self._truths[:start]
            self._scores, self._truths = scores, truths
        return self._scores[start : self._count], self._truths[start : self._count]

    def result(self) -> float:
        """The figure of all labels combined; NaN if undefined."""
        ensure(self._count > 0, "no samples were counted")
        assert self._scores is not None
        assert self._truths is not None
        scores, truths = self._scores[: self._count], self._truths[: self._count]
        if np.isnan(scores).any():
            return math.nan
        if self.average == "micro" or scores.shape[1] == 1:
            return self._figure(scores.reshape(-1), truths.reshape(-1))
        figures = [self._figure(scores[:, label], truths[:, label]) for label in range(scores.shape[1])]
        if self.average == "macro":
            return math.fsum(figures) / len(figures)
        weights = np.count_nonzero(truths, axis=0).tolist()
        total = sum(weights)
        return math.fsum(w * f for w, f in zip(weights, figures, strict=True) if w) / total if total else 0.0

    def _figure(self, scores: NDArray[Any], truths: NDArray[Any]) -> float:
        """Return the figure of one label."""
        positives, negatives = _counts(scores, truths)
        return self._of_counts(positives, negatives)

    def _of_counts(self, positives: NDArray[Any], negatives: NDArray[Any]) -> float:
        raise NotImplementedError


class AUC(Ranking):
    """Area under the ROC curve: the probability that a sample of class 1 has a higher score than one of class 0, with
    ties counting half, Σ [s⁺ > s⁻] + ½ [s⁺ = s⁻] over all P·N pairs, divided by P·N.

    1 is a perfect ranking, 0.5 is chance. It is undefined (NaN) if all samples are of one class, as is a macro mean
    that includes such a label; a weighted mean ignores labels that no sample has. As scikit-learn's `roc_auc_score`.
    """

    spec_name = "auc"
    also = ("roc_auc", "AUC", "roc_auc_score", "AUROC", "auroc", "ROCAUC", "rocauc")

    def _of_counts(self, positives: NDArray[Any], negatives: NDArray[Any]) -> float:
        p, n = int(positives.sum()), int(negatives.sum())
        if not p or not n:
            return math.nan
        above = np.cumsum(positives) - positives  # with higher scores: the highest come first
        return int((negatives * (2 * above + positives)).sum()) / (2 * p * n)


class AveragePrecision(Ranking):
    """Average precision: Σ (Rₙ − Rₙ₋₁) Pₙ, where Pₙ and Rₙ are precision and recall if the n highest distinct scores
    are classified as class 1.

    It is the area under the precision–recall curve as a step function, without linear interpolation. Chance level is
    the fraction of class 1; without samples of class 1 it is 0. As scikit-learn's `average_precision_score`.
    """

    spec_name = "average_precision"
    also = ("average_precision_score", "AP", "pr_auc", "AUPRC", "auprc", "AveragePrecision")

    def _of_counts(self, positives: NDArray[Any], negatives: NDArray[Any]) -> float:
        hits = np.cumsum(positives)
        if not hits[-1]:
            return 0.0
        precision = hits / (hits + np.cumsum(negatives))
        return math.fsum((positives * precision).tolist()) / int(hits[-1])


def _counts(scores: NDArray[Any], truths: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the number of samples of class 1 and of class 0 with each distinct score, from the highest down."""
    order = np.argsort(scores, kind="stable")[::-1]
    ordered, found = scores[order], truths[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    positives = np.add.reduceat(found, starts, dtype=np.int64)
    return positives, np.diff(np.append(starts, len(ordered))) - positives
