"""Augmentations: random variations of training samples, different in every epoch, against overfitting.

An augmentation is a frozen set of settings. It works on a batch in place, draws from the generator passed to it, and
uses work arrays lent to it, so that nothing of the size of a batch is allocated.
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
    must_define = ("work", "apply")
    of_images: ClassVar[bool] = True
    """Whether it needs images, whose last two axes are height and width."""
    blurs: ClassVar[bool] = False
    """Whether it corrupts samples. If so, it is applied to samples as the network receives them, after any
    standardisation, and not to the target of an autoencoder.
    """

    def fit(self, shape: Shape, image: bool = True) -> None:
        """Check it against the shape of one sample, and whether that is an `image`. Raises ShapeError."""
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
        """Augment a batch `(B, *shape)` of C-contiguous floats in place, each sample independently."""
        raise NotImplementedError


class Flip(Augmentation):
    """x → x mirrored horizontally, each sample with probability p. As torchvision's `RandomHorizontalFlip`."""

    spec_name = "flip"
    also = ("RandomFlip", "RandomHorizontalFlip", "horizontal_flip", "hflip", "mirror", "Flip")
    p: Annotated[float, Range(low=0, high=1)] = 0.5

    def work(self, shape: Shape) -> Mapping[str, Work]:
        """The mirrored batch, and for each sample a random number and whether it is chosen."""
        return {"mirrored": Work(shape), "drawn": Work(()), "chosen": Work((), "bool")}

    def apply(self, x: NDArray[Any], rng: Generator, work: Borrower | None = None) -> None:
        """Mirror the chosen samples."""
        work = work or Borrower()
        mirrored = work.work_array("mirrored", x.shape, x.dtype)
        drawn = work.work_array("drawn", x.shape[:1], x.dtype)
        rng.random(out=drawn, dtype=drawn.dtype.type)
        chosen = np.less(drawn, self.p, out=work.work_array("chosen", x.shape[:1], bool))
        np.copyto(mirrored, x[..., ::-1])
        np.copyto(x, mirrored, where=chosen.reshape(-1, *(1 for _ in x.shape[1:])))


class Shift(Augmentation):
    """x → x shifted by whole pixels, at most `pixels` up or down and at most `pixels` to the left or right.

    All (2 · pixels + 1)² shifts are equally likely. Pixels that enter from outside are 0.
    """

    spec_name = "shift"
    also = ("RandomTranslation", "RandomCrop", "translate", "RandomShift", "Shift")
    pixels: Annotated[Count, Also("max_shift", "padding")]

    def fit(self, shape: Shape, image: bool = True) -> None:
        """Require an image that cannot be shifted out of its frame."""
        super().fit(shape, image)
        if self.pixels >= min(shape[-2:]):
            raise ShapeError(
                f"`shift` by {self.pixels} pixels moves an image of {shape_in_words(shape)} completely out of view",
                help="one or two pixels are usual for small images",
            )

    def work(self, shape: Shape) -> Mapping[str, Work]:
        """The batch with a margin around each image, and two numbers per sample."""
        *channels, height, width = shape
        padded = (*channels, height + 2 * self.pixels, width + 2 * self.pixels)
        return {"padded": Work(padded), "drawn": Work((2,)), "corners": Work((2,), "index")}

    def apply(self, x: NDArray[Any], rng: Generator, work: Borrower | None = None) -> None:
        """Crop each image at a random position from itself with a margin."""
        work = work or Borrower()
        by, (batch, *channels, height, width) = self.pixels, x.shape
        padded = work.work_array("padded", (batch, *channels, height + 2 * by, width + 2 * by), x.dtype)
        drawn = work.work_array("drawn", (batch, 2), x.dtype)
        rng.random(out=drawn, dtype=drawn.dtype.type)
        np.multiply(drawn, 2 * by + 1, out=drawn)
        corners = work.work_array("corners", (batch, 2), np.intp)
        np.copyto(corners, drawn, casting="unsafe")  # truncates, which rounds down
        np.minimum(corners, 2 * by, out=corners)  # if a product was rounded up to the end of its range
        padded.fill(0)
        np.copyto(padded[..., by : by + height, by : by + width], x)
        for image, wide, (top, left) in zip(x, padded, corners, strict=True):
            np.copyto(image, wide[..., top : top + height, left : left + width])


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
