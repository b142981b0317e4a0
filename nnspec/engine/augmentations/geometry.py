"""Augmentations that move the pixels of images: mirrored, shifted, rotated and zoomed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from nnspec.engine._numpy import np
from nnspec.engine.augmentations.contract import Augmentation, uniform, whole_numbers
from nnspec.engine.layers.contract import Shape, ShapeError, shape_in_words
from nnspec.engine.part import Also, Count, Range
from nnspec.engine.work import Borrower, Work

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Crop", "Flip", "Rotate", "Shift", "Zoom"]


class Flip(Augmentation):
    """x → x mirrored, each sample with probability p: horizontally, left and right swapped, or vertically. As
    torchvision's `RandomHorizontalFlip` and `RandomVerticalFlip`.
    """

    spec_name = "flip"
    also = (
        "RandomFlip", "RandomHorizontalFlip", "RandomVerticalFlip", "horizontal_flip", "vertical_flip", "hflip",
        "vflip", "mirror", "Flip",
    )  # fmt: skip
    p: Annotated[float, Range(low=0, high=1)] = 0.5
    axis: Annotated[Literal["horizontal", "vertical"], Also("direction", "mode")] = "horizontal"

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
        np.copyto(mirrored, x[..., ::-1] if self.axis == "horizontal" else x[..., ::-1, :])
        np.copyto(x, mirrored, where=chosen.reshape(-1, *(1 for _ in x.shape[1:])))


class Shift(Augmentation):
    """x → x shifted by whole pixels, at most `pixels` up or down and at most `pixels` to the left or right.

    All (2 · pixels + 1)² shifts are equally likely. Pixels that enter from outside are 0.
    """

    spec_name = "shift"
    also = ("RandomTranslation", "translate", "RandomShift", "Shift")
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
        return {"padded": Work(_padded(shape, self.pixels)), "drawn": Work((2,)), "corners": Work((2,), "index")}

    def apply(self, x: NDArray[Any], rng: Generator, work: Borrower | None = None) -> None:
        """Crop each image at a random position from itself with a margin."""
        work, by = work or Borrower(), self.pixels
        padded = work.work_array("padded", (len(x), *_padded(x.shape[1:], by)), x.dtype)
        padded.fill(0)
        np.copyto(padded[..., by : by + x.shape[-2], by : by + x.shape[-1]], x)
        _crop(x, padded, rng, work)


class Crop(Augmentation):
    """x → a random crop, of its own size, from the image with a margin of `padding` pixels. As torchvision's
    `RandomCrop(32, padding=4)`, the usual augmentation of CIFAR.

    All (2 · padding + 1)² positions are equally likely. The margin is `zeros`, a reflection of the image without its
    border pixels (`reflect`), or a repetition of these (`edge`). With zeros, it is `shift(padding)`.
    """

    spec_name = "crop"
    also = ("RandomCrop", "random_crop", "Crop", "pad_and_crop")
    padding: Annotated[Count, Also("pad", "margin")] = 4
    mode: Annotated[Literal["zeros", "reflect", "edge"], Also("padding_mode", "fill_mode")] = "zeros"

    def fit(self, shape: Shape, image: bool = True) -> None:
        """Require an image that is larger than the margin."""
        super().fit(shape, image)
        if self.padding >= min(shape[-2:]):
            raise ShapeError(
                f"`crop` with a padding of {self.padding} may not show an image of {shape_in_words(shape)} at all",
                help="an eighth of its side is usual",
            )

    def work(self, shape: Shape) -> Mapping[str, Work]:
        """The batch with a margin at the top and bottom, and around each image; two numbers per sample."""
        *channels, height, width = shape
        tall = {} if self.mode == "zeros" else {"tall": Work((*channels, height + 2 * self.padding, width))}
        return {
            "padded": Work(_padded(shape, self.padding)),
            **tall,
            "drawn": Work((2,)),
            "corners": Work((2,), "index"),
        }

    def apply(self, x: NDArray[Any], rng: Generator, work: Borrower | None = None) -> None:
        """Crop each image at a random position from itself with a margin."""
        if self.mode == "zeros":
            Shift(self.padding).apply(x, rng, work)
            return
        work, by = work or Borrower(), self.padding
        *front, height, width = x.shape
        tall = work.work_array("tall", (*front, height + 2 * by, width), x.dtype)
        padded = work.work_array("padded", (len(x), *_padded(x.shape[1:], by)), x.dtype)
        np.take(x, self._margin(height), axis=-2, out=tall, mode="clip")
        np.take(tall, self._margin(width), axis=-1, out=padded, mode="clip")
        _crop(x, padded, rng, work)

    def _margin(self, side: int) -> NDArray[Any]:
        """Return which pixel of a side is at each place of the side with its margins."""
        places = np.abs(np.arange(-self.padding, side + self.padding))
        if self.mode == "edge":
            return np.clip(np.arange(-self.padding, side + self.padding), 0, side - 1)
        found: NDArray[Any] = np.where(places < side, places, 2 * (side - 1) - places)
        return found


def _padded(shape: Shape, by: int) -> Shape:
    *channels, height, width = shape
    return (*channels, height + 2 * by, width + 2 * by)


def _crop(x: NDArray[Any], padded: NDArray[Any], rng: Generator, work: Borrower) -> None:
    """Crop each image at a random position from itself with a margin."""
    height, width = x.shape[-2:]
    margins = padded.shape[-2] - height + 1, padded.shape[-1] - width + 1
    corners = whole_numbers(rng, work, (len(x), 2), x.dtype, margins, "corners")
    for image, wide, (top, left) in zip(x, padded, corners, strict=True):
        np.copyto(image, wide[..., top : top + height, left : left + width])


class _Warp(Augmentation):
    """Base of the augmentations that are linear maps about the centre of an image.

    The pixel at p, relative to the centre, becomes the value of the image at M p: interpolated between the four pixels
    around it (bilinear), and 0 outside. As PyTorch's `grid_sample` of an `affine_grid`, with their defaults.
    """

    def map(self, matrix: NDArray[Any], rng: Generator, work: Borrower) -> None:
        """Write the map M of each image, `(B, 2, 2)`: from (row, column) to (row, column)."""
        raise NotImplementedError

    def work(self, shape: Shape) -> Mapping[str, Work]:
        """The batch in a frame of zeros; the places of pixels and what lies there."""
        height, width = shape[-2:]
        plane = Work((height, width))
        return {
            "framed": Work((math.prod(shape[:-2]), height + 3, width + 3)),
            "drawn": Work(()),
            "matrix": Work((2, 2)),
            "down": Work((height,)),
            "across": Work((width,)),
            **dict.fromkeys(("rows", "columns", "above", "below", "corner"), plane),
            "places": Work((height, width), "index"),
            "starts": Work((), "index"),
        }

    def apply(self, x: NDArray[Any], rng: Generator, work: Borrower | None = None) -> None:
        """Resample every image."""
        work = work or Borrower()
        height, width = x.shape[-2:]
        images = x.reshape(len(x), -1, height, width)
        count, channels = images.shape[:2]

        def array(name: str, shape: Shape, dtype: Any = x.dtype) -> NDArray[Any]:
            return work.work_array(name, (count, *shape), dtype)

        framed, matrix = array("framed", (channels, height + 3, width + 3)), array("matrix", (2, 2))
        framed.fill(0)
        np.copyto(framed[..., 1 : height + 1, 1 : width + 1], images)
        self.map(matrix, rng, work)
        plane = (height, width)
        rows, columns = array("rows", plane), array("columns", plane)
        for i, (places, side) in enumerate(((rows, height), (columns, width))):
            down, across = array("down", (height,)), array("across", (width,))
            np.multiply(matrix[:, i, 0, None], np.arange(height, dtype=x.dtype) - (height - 1) / 2, out=down)
            np.multiply(matrix[:, i, 1, None], np.arange(width, dtype=x.dtype) - (width - 1) / 2, out=across)
            np.add(down[:, :, None], across[:, None, :], out=places)
            np.add(places, (side - 1) / 2 + 1, out=places)  # in the frame, whose border is 1 pixel wide
            np.clip(places, 0, side + 1, out=places)
        self._sample(images, framed, rows, columns, work)

    def _sample(
        self, images: NDArray[Any], framed: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any], work: Borrower
    ) -> None:
        """Interpolate the framed images at places `(B, height, width)`."""
        count, channels, tall, wide = framed.shape
        above, below, corner = (work.work_array(name, rows.shape, rows.dtype) for name in ("above", "below", "corner"))
        places = work.work_array("places", rows.shape, np.intp)
        starts = work.work_array("starts", (count,), np.intp)
        starts.fill(channels * tall * wide)
        starts[:1] = 0
        np.add.accumulate(starts, out=starts)  # of the numbers of each sample
        np.floor(rows, out=above)
        np.subtract(rows, above, out=rows)
        np.floor(columns, out=corner)
        np.subtract(columns, corner, out=columns)
        np.multiply(above, wide, out=above)
        np.add(above, corner, out=above)
        np.copyto(places, above, casting="unsafe")
        np.add(places, starts[:, None, None], out=places)
        flat = framed.reshape(-1)
        for channel in range(channels):
            plane = flat[channel * tall * wide :]
            for out, offset in ((above, 0), (below, wide)):  # between left and right
                np.take(plane[offset:], places, out=out, mode="clip")
                np.take(plane[offset + 1 :], places, out=corner, mode="clip")
                np.subtract(corner, out, out=corner)
                np.multiply(corner, columns, out=corner)
                np.add(out, corner, out=out)
            np.subtract(below, above, out=below)
            np.multiply(below, rows, out=below)
            np.add(above, below, out=images[:, channel])


class Rotate(_Warp):
    """x → x rotated about its centre by a random angle of at most `degrees` in either direction. As torchvision's
    `RandomRotation(degrees, InterpolationMode.BILINEAR)`.

    Pixels are interpolated between their four neighbours; those that enter from outside are 0.
    """

    spec_name = "rotate"
    also = ("RandomRotation", "rotation", "rotation_range", "Rotate", "random_rotation")
    degrees: Annotated[float, Range(low=0, high=180, open_low=True), Also("angle", "factor", "max_angle")]

    def map(self, matrix: NDArray[Any], rng: Generator, work: Borrower) -> None:
        """[[cos θ, sin θ], [−sin θ, cos θ]]: the content turns by θ, counter-clockwise if θ > 0."""
        most = math.radians(self.degrees)
        angle = uniform(rng, work, "drawn", (len(matrix),), matrix.dtype, -most, most)
        np.cos(angle, out=matrix[:, 0, 0])
        np.sin(angle, out=matrix[:, 0, 1])
        np.copyto(matrix[:, 1, 1], matrix[:, 0, 0])
        np.negative(matrix[:, 0, 1], out=matrix[:, 1, 0])


class Zoom(_Warp):
    """x → x enlarged about its centre by a random factor from 1 − `share` to 1 + `share`. As torchvision's
    `RandomAffine(0, scale=(1 - share, 1 + share), interpolation=InterpolationMode.BILINEAR)`.

    Pixels are interpolated between their four neighbours; those that enter from outside are 0.
    """

    spec_name = "zoom"
    also = ("RandomZoom", "zoom_range", "scale", "Zoom", "RandomResizedCrop")
    share: Annotated[float, Range(low=0, high=1, open_low=True, open_high=True), Also("factor", "range", "scale")]

    def map(self, matrix: NDArray[Any], rng: Generator, work: Borrower) -> None:
        """1 / s for a factor s."""
        factor = uniform(rng, work, "drawn", (len(matrix),), matrix.dtype, 1 - self.share, 1 + self.share)
        matrix.fill(0)
        np.divide(1, factor, out=matrix[:, 0, 0])
        np.copyto(matrix[:, 1, 1], matrix[:, 0, 0])
