"""What an augmentation is, and how it draws.

An augmentation is a frozen set of settings. It works on a batch in place, draws from the generator passed to it, and
uses work arrays lent to it, so that nothing of the size of a batch is allocated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Shape, ShapeError, sample_in_words
from nnspec.engine.part import PlainPart
from nnspec.engine.work import Borrower, Work

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Augmentation"]


class Augmentation(PlainPart):
    """Base of the augmentations."""

    kind: ClassVar[str] = "augmentation"
    must_define = ("work", "apply")
    of_images: ClassVar[bool] = True
    """Whether it needs images, whose last two axes are height and width."""
    of_unit_range: ClassVar[bool] = False
    """Whether it needs numbers from 0 to 1, as bytes of images are once they are divided by 255."""
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


def uniform(
    rng: Generator, work: Borrower, name: str, shape: Shape, dtype: Any, low: float = 0.0, high: float = 1.0
) -> NDArray[Any]:
    """Return numbers drawn uniformly from [low, high), in the work array `name`."""
    drawn = work.work_array(name, shape, dtype)
    rng.random(out=drawn, dtype=drawn.dtype.type)
    drawn *= high - low
    drawn += low
    return drawn


def whole_numbers(
    rng: Generator, work: Borrower, shape: Shape, dtype: Any, counts: tuple[int, ...], name: str
) -> NDArray[Any]:
    """Return whole numbers `(B, n)`, drawn uniformly from 0 to count − 1 of each column, in the work array `name`. The
    work array of the draws is `drawn`.
    """
    drawn = work.work_array("drawn", shape, dtype)
    rng.random(out=drawn, dtype=drawn.dtype.type)
    found = work.work_array(name, shape, np.intp)
    for column, count in enumerate(counts):
        drawn[:, column] *= count
        np.copyto(found[:, column], drawn[:, column], casting="unsafe")  # truncates, which rounds down
        # A product may have been rounded up to the end of its range.
        np.minimum(found[:, column], count - 1, out=found[:, column])
    return found
