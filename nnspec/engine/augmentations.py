"""Augmentations: training samples, varied a little every time that they are met, so that none is learned by heart.

An augmentation is frozen settings. It works on a batch in place, draws from the generator that it is handed, and works
in arrays that it is lent, so that nothing of a batch's size is allocated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Shape, ShapeError, sample_in_words, shape_in_words
from nnspec.engine.part import Also, Count, PlainPart, Positive, Range
from nnspec.engine.work import Borrower, Work

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Augmentation", "Flip", "Noise", "Shift"]


class Augmentation(PlainPart):
    """Base of the augmentations."""

    kind: ClassVar[str] = "augmentation"
    of_images: ClassVar[bool] = True
    """Whether it takes images apart, whose last two axes are height and width."""
    blurs: ClassVar[bool] = False
    """Whether it spoils what there is to see. Then it is applied to samples as the network takes them, standardised
    where that is asked for, and not to what an autoencoder compares its outputs with."""

    def fit(self, shape: Shape, image: bool = True) -> None:
        """Hold it against the shape of one sample, and whether that is an `image`. Raises ShapeError."""
        if self.of_images and (len(shape) < 2 or not image):
            what = sample_in_words(shape) if len(shape) > 1 else f"a row of {sample_in_words(shape)}"
            raise ShapeError(
                f"`{self.spec_name}` expects images, but a sample is {what}",
                help="to augment data other than images, use `noise(0.1)`",
            )

    def work(self, shape: Shape) -> Mapping[str, Work]:
        """Return the work arrays for samples of a shape."""
        raise NotImplementedError

    def apply(self, x: NDArray[Any], rng: Generator, work: Borrower | None = None) -> None:
        """Vary a batch `(B, *shape)` of floats, C-contiguous, in place; each sample on its own."""
        raise NotImplementedError


class Flip(Augmentation):
    """x → x with left and right exchanged, each sample with probability p. As torchvision's `RandomHorizontalFlip`."""

    spec_name = "flip"
    also = ("RandomFlip", "RandomHorizontalFlip", "horizontal_flip", "hflip", "mirror", "Flip")
    p: Annotated[float, Range(low=0, high=1)] = 0.5

    def work(self, shape: Shape) -> Mapping[str, Work]:
        """The batch turned round, and for each sample a number and whether it is chosen."""
        return {"mirrored": Work(shape), "drawn": Work(()), "chosen": Work((), "bool")}

    def apply(self, x: NDArray[Any], rng: Generator, work: Borrower | None = None) -> None:
        """Exchange left and right of the samples that are chosen."""
        work = work or Borrower()
        mirrored = work.work_array("mirrored", x.shape, x.dtype)
        drawn = work.work_array("drawn", x.shape[:1], x.dtype)
        rng.random(out=drawn, dtype=drawn.dtype.type)
        chosen = np.less(drawn, self.p, out=work.work_array("chosen", x.shape[:1], bool))
        np.copyto(mirrored, x[..., ::-1])
        np.copyto(x, mirrored, where=chosen.reshape(-1, *(1 for _ in x.shape[1:])))


class Shift(Augmentation):
    """x → x moved by whole pixels, at most `pixels` up or down and at most `pixels` to the left or right.

    Every one of the (2 · pixels + 1)² ways is as likely as any other. What moves in from outside is 0.
    """

    spec_name = "shift"
    also = ("RandomTranslation", "RandomCrop", "translate", "RandomShift", "Shift")
    pixels: Annotated[Count, Also("max_shift", "padding")]

    def fit(self, shape: Shape, image: bool = True) -> None:
        """An image, and not moved out of itself altogether."""
        super().fit(shape, image)
        if self.pixels >= min(shape[-2:]):
            raise ShapeError(
                f"`shift` by {self.pixels} pixels moves an image of {shape_in_words(shape)} completely out of view",
                help="one or two pixels are usual for small images",
            )

    def work(self, shape: Shape) -> Mapping[str, Work]:
        """The batch with a margin around each image, and two numbers a sample."""
        *channels, height, width = shape
        padded = (*channels, height + 2 * self.pixels, width + 2 * self.pixels)
        return {"padded": Work(padded), "drawn": Work((2,)), "corners": Work((2,), "index")}

    def apply(self, x: NDArray[Any], rng: Generator, work: Borrower | None = None) -> None:
        """Cut each image out of itself with a margin, somewhere."""
        work = work or Borrower()
        by, (batch, *channels, height, width) = self.pixels, x.shape
        padded = work.work_array("padded", (batch, *channels, height + 2 * by, width + 2 * by), x.dtype)
        drawn = work.work_array("drawn", (batch, 2), x.dtype)
        rng.random(out=drawn, dtype=drawn.dtype.type)
        np.multiply(drawn, 2 * by + 1, out=drawn)
        corners = work.work_array("corners", (batch, 2), np.intp)
        np.copyto(corners, drawn, casting="unsafe")  # towards zero, which is down
        np.minimum(corners, 2 * by, out=corners)  # where a product was rounded up to the end of its range
        padded.fill(0)
        np.copyto(padded[..., by : by + height, by : by + width], x)
        for image, wide, (top, left) in zip(x, padded, corners, strict=True):
            np.copyto(image, wide[..., top : top + height, left : left + width])


class Noise(Augmentation):
    """x → x + std · N(0, 1), each number with noise of its own. As Keras's `GaussianNoise`."""

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
