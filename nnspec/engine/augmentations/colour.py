"""Augmentations that change the brightness and colours of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.augmentations.contract import Augmentation, uniform
from nnspec.engine.layers.contract import Shape, ShapeError, shape_in_words
from nnspec.engine.part import Range
from nnspec.engine.work import Borrower, Work

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Jitter"]

_GREY = (0.2989, 0.587, 0.114)
"""The shares of red, green and blue in grey."""
_PLANES = ("plane", "largest", "chroma", "hue", "divisor")

Strength = Annotated[float, Range(low=0)]


class Jitter(Augmentation):
    """x → x with random brightness, contrast, saturation and hue, in this order, for images of numbers from 0 to 1. As
    torchvision's `ColorJitter`, which shuffles the order.

    With a strength s, a factor f is drawn from max(0, 1 − s) to 1 + s for each image. Brightness: f · x. Contrast:
    f · x + (1 − f) · the mean of the grey image. Saturation: f · x + (1 − f) · the grey image, which is 0.2989 red +
    0.587 green + 0.114 blue. Each result is clipped to 0 … 1. The hue, as part of a circle, moves by at most `hue` in
    either direction. Saturation and hue need three channels.
    """

    spec_name = "jitter"
    also = ("ColorJitter", "colour_jitter", "color_jitter", "RandomBrightness", "RandomContrast", "Jitter")
    of_unit_range = True
    _: KW_ONLY
    brightness: Strength = 0.0
    contrast: Strength = 0.0
    saturation: Strength = 0.0
    hue: Annotated[float, Range(low=0, high=0.5)] = 0.0

    def __post_init__(self) -> None:
        """Raise ValueError if nothing changes."""
        if not (self.brightness or self.contrast or self.saturation or self.hue):
            raise ValueError("`jitter` changes nothing: give it a `brightness`, `contrast`, `saturation` or `hue`")

    def fit(self, shape: Shape, image: bool = True) -> None:
        """Require colours, if colours change."""
        super().fit(shape, image)
        word = "saturation" if self.saturation else "hue" if self.hue else ""
        if word and (len(shape) < 3 or shape[-3] != 3):
            raise ShapeError(
                f"`{word}` needs images with three channels, but a sample is {shape_in_words(shape)}",
                help="grey images can have another `brightness` and `contrast`",
            )

    def work(self, shape: Shape) -> Mapping[str, Work]:
        """A factor per image, and planes for grey and for hue."""
        plane = shape[-2:]
        planes = {name: Work(plane) for name in _PLANES[: 5 if self.hue else 1]}
        mask = {"mask": Work(plane, "bool")} if self.hue else {}
        return {"drawn": Work(()), "rest": Work(()), "planes": Work(plane), **planes, **mask}

    def apply(self, x: NDArray[Any], rng: Generator, work: Borrower | None = None) -> None:
        """Change each image by factors of its own."""
        work = work or Borrower()
        images = x.reshape(len(x), -1, *x.shape[-2:])
        if self.brightness:
            factor = self._factor(self.brightness, images, rng, work)
            np.multiply(images, factor[:, None, None, None], out=images)
            _clip(images)
        if self.contrast:
            factor = self._factor(self.contrast, images, rng, work)
            rest = work.work_array("rest", factor.shape, factor.dtype)
            grey = _grey(images, work)
            np.add.reduce(grey.reshape(len(grey), -1), axis=1, out=rest)
            _blend(images, rest[:, None, None], factor, 1 / grey[0].size)
        if self.saturation:
            factor = self._factor(self.saturation, images, rng, work)
            _blend(images, _grey(images, work), factor)
        if self.hue:
            turn = uniform(rng, work, "drawn", (len(x),), x.dtype, -6 * self.hue, 6 * self.hue)
            _turn(images, turn[:, None, None], work)

    def _factor(self, strength: float, images: NDArray[Any], rng: Generator, work: Borrower) -> NDArray[Any]:
        return uniform(rng, work, "drawn", (len(images),), images.dtype, max(0.0, 1 - strength), 1 + strength)


def _clip(images: NDArray[Any]) -> None:
    np.maximum(images, 0, out=images)
    np.minimum(images, 1, out=images)


def _blend(images: NDArray[Any], other: NDArray[Any], factor: NDArray[Any], scale: float = 1.0) -> None:
    """x ← f · x + (1 − f) · scale · other, clipped; `other` `(B, …)` is overwritten, and so is `factor`."""
    np.multiply(images, factor[:, None, None, None], out=images)
    np.subtract(1, factor, out=factor)
    np.multiply(factor, scale, out=factor)
    np.multiply(other, factor[:, None, None], out=other)
    np.add(images, other[:, None], out=images)
    _clip(images)


def _grey(images: NDArray[Any], work: Borrower) -> NDArray[Any]:
    """Return the grey images `(B, height, width)`."""
    grey = work.work_array("planes", (len(images), *images.shape[-2:]), images.dtype)
    if images.shape[1] != 3:
        np.add.reduce(images, axis=1, out=grey)
        np.divide(grey, images.shape[1], out=grey)
        return grey
    plane = work.work_array("plane", grey.shape, grey.dtype)
    grey.fill(0)
    for channel, share in enumerate(_GREY):
        np.multiply(images[:, channel], share, out=plane)
        np.add(grey, plane, out=grey)
    return grey


def _turn(images: NDArray[Any], turn: NDArray[Any], work: Borrower) -> None:
    """Move the hue of each image by sixths of the circle: to HSV and back. Foley & van Dam 1982.

    With the largest channel v and the chroma c = v − the smallest, a colour of hue h has v − c · t in each channel,
    with t = min(k, 4 − k) within 0 … 1, and k = (5 + h) mod 6 for red, 3 + h for green and 1 + h for blue.
    """
    red, green, blue = (images[:, channel] for channel in range(3))
    shape, dtype = red.shape, images.dtype
    plane, largest, chroma, hue, divisor = (work.work_array(name, shape, dtype) for name in _PLANES)
    mask = work.work_array("mask", shape, bool)
    np.minimum(np.minimum(red, green, out=chroma), blue, out=chroma)
    np.maximum(np.maximum(red, green, out=largest), blue, out=largest)
    np.subtract(largest, chroma, out=chroma)
    np.copyto(divisor, chroma)
    np.copyto(divisor, 1, where=np.equal(chroma, 0, out=mask))
    for start, first, second, of in ((4, red, green, blue), (2, blue, red, green), (0, green, blue, red)):
        np.subtract(first, second, out=plane)
        np.divide(plane, divisor, out=plane)
        np.add(plane, start, out=plane)
        np.copyto(hue, plane, where=np.equal(of, largest, out=mask))
    np.add(hue, turn, out=hue)
    for channel, start in enumerate((5, 3, 1)):
        np.add(hue, start, out=plane)
        np.mod(plane, 6, out=plane)
        np.subtract(4, plane, out=divisor)
        np.minimum(plane, divisor, out=plane)
        _clip(plane)
        np.multiply(plane, chroma, out=plane)
        np.subtract(largest, plane, out=images[:, channel])
