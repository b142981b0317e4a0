"""The loss of mixed samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.losses.contract import Loss, saved
from nnspec.engine.part import kept

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__: list[str] = []


@dataclass
class Mixture:
    """How the samples of a batch are mixed with others of it, their partners."""

    share: float = 1.0
    """The share λ of a sample itself."""
    order: NDArray[Any] | None = None
    """The index of the partner of each sample."""
    targets: NDArray[Any] | None = None
    """The targets of the partners; None if the samples of this batch are not mixed."""


class MixedLoss(Loss):
    """λ · l(y, a) + (1 − λ) · l(y, b) for samples that are mixed with partners, whose targets are b; l(y, a) otherwise.

    This applies to every loss l, also to one that is not linear in its targets. Besides the work arrays of l, it has
    `own gradient`, like the outputs.
    """

    def __init__(self, loss: Loss, mixture: Mixture) -> None:
        self.loss, self.mixture, self.targets = loss, mixture, loss.targets  # type: ignore[misc]
        self._weight = 0.0

    _own: NDArray[Any] | None = kept()

    def lend(self, work: Mapping[str, NDArray[Any]]) -> None:
        """Pass on the work arrays of the loss."""
        super().lend(work)
        self.loss.lend(work)

    def forward(
        self,
        outputs: NDArray[Any],
        targets: ArrayLike,
        out: NDArray[Any] | None = None,
        weights: ArrayLike | None = None,
    ) -> float:
        """Return the loss; the gradient for the samples' own targets is computed at once."""
        if self.mixture.targets is None:
            self._own = None
            value = self.loss.forward(outputs, targets, out)
            self._weight = self.loss.weight(len(outputs))
            return value
        share, rows = self.mixture.share, len(outputs)
        own = self.work_array("own gradient", outputs.shape, outputs.dtype)
        value = self.loss.forward(outputs, targets, own)
        weight = self.loss.weight(rows)
        gradient = self.loss.backward(own)
        self._own = np.multiply(gradient, share, out=own)
        other = self.loss.forward(outputs, self.mixture.targets, out)
        self._weight = share * weight + (1 - share) * self.loss.weight(rows)
        return share * value + (1 - share) * other

    def backward(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return dL/d(outputs)."""
        gradient = self.loss.backward(out)
        if self.mixture.targets is not None:
            np.multiply(gradient, 1 - self.mixture.share, out=gradient)
            np.add(gradient, saved(self._own, self), out=gradient)
        return gradient

    def weight(self, rows: int) -> float:
        """Return the weight of the batch, mixed as the loss."""
        return self._weight
