"""Augmentations that corrupt samples as the network receives them: noise and holes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.augmentations.contract import Augmentation, whole_numbers
from nnspec.engine.layers.contract import Shape, ShapeError, shape_in_words
from nnspec.engine.part import Also, Count, Positive
from nnspec.engine.work import Borrower, Work

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Cutout", "Noise"]


class Noise(Augmentation):
    """x → x + std · N(0, 1), with independent noise for each number. As Keras's `GaussianNoise`."""

    spec_name = "noise"
    also = ("GaussianNoise", "gaussian_noise", "RandomNoise", "Noise")
    of_images = False
    blurs = True
    std: Annotated[Positive, Also("stddev", "sigma", "scale")]

    def work(self, shape: Shape) -> Mapping[str, Work]:
        """The noise."""
        return {"drawn": Work(shape)}

    def apply(self, x: NDArray[Any], rng: Generator, work: Borrower | None = None) -> None:
        """Add noise."""
        drawn = (work or Borrower()).work_array("drawn", x.shape, x.dtype)
        rng.standard_normal(out=drawn, dtype=drawn.dtype.type)
        np.multiply(drawn, self.std, out=drawn)
        np.add(x, drawn, out=x)


class Cutout(Augmentation):
    """x → x with a square of `size` × `size` pixels set to 0, centred at a random pixel. DeVries & Taylor 2017.

    The square may reach over the border. It is cut after standardising, where 0 is the mean. torchvision's
    `RandomErasing` cuts rectangles of random sizes that lie within the image instead.
    """

    spec_name = "cutout"
    also = ("Cutout", "RandomErasing", "random_erasing", "RandomErase", "CoarseDropout", "erase")
    blurs = True
    size: Annotated[Count, Also("length", "pixels", "mask_size")]

    def fit(self, shape: Shape, image: bool = True) -> None:
        """Require a square that is smaller than the image."""
        super().fit(shape, image)
        if self.size >= min(shape[-2:]):
            raise ShapeError(
                f"`cutout` of {self.size}×{self.size} pixels is as large as an image of {shape_in_words(shape)}",
                help="half of its side is usual",
            )

    def work(self, shape: Shape) -> Mapping[str, Work]:
        """The centre of each square."""
        return {"drawn": Work((2,)), "centres": Work((2,), "index")}

    def apply(self, x: NDArray[Any], rng: Generator, work: Borrower | None = None) -> None:
        """Cut a square out of each image."""
        height, width = x.shape[-2:]
        centres = whole_numbers(rng, work or Borrower(), (len(x), 2), x.dtype, (height, width), "centres")
        half = self.size // 2
        for image, (row, column) in zip(x, centres, strict=True):
            top, left = row - half, column - half
            image[..., max(top, 0) : top + self.size, max(left, 0) : left + self.size] = 0
