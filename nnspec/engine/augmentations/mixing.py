"""Augmentations that mix samples of a batch; the loss is mixed likewise, as λ · l(y, a) + (1 − λ) · l(y, b)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.augmentations.contract import Augmentation
from nnspec.engine.layers.contract import Shape
from nnspec.engine.part import Also, Positive
from nnspec.engine.work import Borrower, Work

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["CutMix", "Mixing", "Mixup"]

Alpha = Annotated[Positive, Also("beta", "mixup_alpha", "cutmix_alpha", "strength")]


class Mixing(Augmentation):
    """Base of the augmentations that mix each sample with a partner, another sample of the batch."""

    alpha: Alpha = 1.0

    def work(self, shape: Shape) -> Mapping[str, Work]:
        """The partners, and their order."""
        return {"partners": Work(shape), "order": Work((), "index")}

    def apply(self, x: NDArray[Any], rng: Generator, work: Borrower | None = None) -> None:
        """Mix a batch."""
        self.mix(x, rng, work)

    def mix(self, x: NDArray[Any], rng: Generator, work: Borrower | None = None) -> tuple[float, NDArray[Any]]:
        """Mix a batch in place. Return λ, the share of each sample, and the index of its partner `(B,)`."""
        work = work or Borrower()
        order = work.work_array("order", (len(x),), np.intp)
        order.fill(1)
        order[:1] = 0
        np.add.accumulate(order, out=order)
        rng.shuffle(order)
        partners = work.work_array("partners", x.shape, x.dtype)
        np.take(x, order, axis=0, out=partners, mode="clip")
        return self.blend(x, partners, rng.beta(self.alpha, self.alpha), rng), order

    def blend(self, x: NDArray[Any], partners: NDArray[Any], share: float, rng: Generator) -> float:
        """Mix samples with their partners in place, by a share drawn from Beta(α, α); return the share as applied."""
        raise NotImplementedError


class Mixup(Mixing):
    """x → λ · x + (1 − λ) · x′, where x′ is another sample of the batch, and the loss is mixed likewise. Zhang et al.
    2018.

    λ is drawn for each batch from Beta(α, α). The larger of λ and 1 − λ is taken: partners are drawn at random, so this
    makes no difference to the loss, and metrics of training compare with the target that has the larger share.
    """

    spec_name = "mixup"
    also = ("MixUp", "Mixup", "mix_up", "mix")
    of_images = False

    def blend(self, x: NDArray[Any], partners: NDArray[Any], share: float, rng: Generator) -> float:
        """λ · x + (1 − λ) · x′."""
        share = max(share, 1 - share)
        np.multiply(partners, 1 - share, out=partners)
        np.multiply(x, share, out=x)
        np.add(x, partners, out=x)
        return share


class CutMix(Mixing):
    """x → x with a rectangle from another image of the batch, at the same place in all; the loss is mixed by the area.
    Yun et al. 2019.

    With λ from Beta(α, α), the sides of the rectangle are √(1 − λ) of those of the image, rounded down; its centre is a
    random pixel, and what reaches over the border is cut off. λ is then the share of pixels that stay.
    """

    spec_name = "cutmix"
    also = ("CutMix", "cut_mix")

    def blend(self, x: NDArray[Any], partners: NDArray[Any], share: float, rng: Generator) -> float:
        """Replace a rectangle."""
        sides = x.shape[-2:]
        ranges = []
        for side in sides:
            half, centre = int(side * math.sqrt(1 - share)) // 2, int(rng.integers(side))
            ranges.append(slice(max(centre - half, 0), min(centre + half, side)))
        rows, columns = ranges
        np.copyto(x[..., rows, columns], partners[..., rows, columns])
        return 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / math.prod(sides)
