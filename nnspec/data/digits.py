"""Handwritten-looking digits that the package draws itself: no file, no network, the same bytes everywhere.

**Only integers.** Floating point may differ in the last bit between machines and libraries; here there is none. All
randomness is PCG64's raw 64-bit integers, `np.random.PCG64(seed).random_raw(n)`, which NumPy keeps stable over versions
and platforms, as it does not keep what `Generator` makes of them. The rest is adding, multiplying, shifting, comparing
and floor division; `//` and `>>` on negative integers round towards minus infinity in NumPy, everywhere. Nothing made
of the raw integers reaches 2**40, and arrays name their types, since NumPy's own choice depends on the platform.

**Which sample depends on what.** Training sample i is drawn from words `WORDS * i` to `WORDS * (i + 1)` of the raw
integers of `PCG64(seed)`, where WORDS is `_Forms.words`; test sample i is drawn from the same words of
`PCG64(seed).jumped()`, which is so far along the same sequence that the two never meet. So a smaller set is the
beginning of a larger one.

**From words to pixels.** A sample's words choose its digit, one of the digit's forms (`digit_strokes.py`), the traits
of the hand (`TRAITS`) and how far each point of the form strays. The pen's path is read off at `DOTS` points; a
pixel's ink depends on its distance from the nearest of them. Positions are in 1/256 pixel, x to the right and y down;
while the pen is on its way the origin is the middle of the image.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Annotated

from nnspec.data.digit_strokes import BOX, FORMS, SCALE
from nnspec.data.source import Access, Dataset, DataSource, Facts, Split
from nnspec.data.splitting import TestCount
from nnspec.engine._numpy import np
from nnspec.engine.part import Count, Range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Bytes = NDArray[np.uint8]

__all__ = ["Digits"]

SIDE = 28  # pixels along one side of an image
UNIT = 256  # positions per pixel while the pen is on its way
FINE = 32  # positions per pixel while distances are measured: coarser, so that their squares fit 16 bits
REACH = 127  # distances along one axis are cut off here, in 1/32 pixel: 127² + 127² + THINNING_MAX < 2**15
THINNING_MAX = 400  # in (1/32 pixel)²
DOTS = 80  # points at which the path is read off: mostly under a pixel apart, closer than the pen is wide
STRAY_MAX = 640  # how far a point strays at most along one axis, so that digits stay legible
WHOLE = 1024  # the integer that represents 1 in traits that are ratios
CHUNK = 128  # samples drawn at a time: few enough for a processor's cache

# Each trait is normal about its middle (see `_bell`), and held between its limits. Their order is part of the drawing.
# name: (middle, standard deviation, least, most)
TRAITS = {
    # ratios, in 1/1024
    "width": (940, 150, 520, 1300),
    "height": (960, 60, 780, 1080),
    "slant": (170, 220, -500, 700),  # to the right, per height
    "turn": (0, 80, -200, 200),  # clockwise, in radians
    "taper": (0, 110, -350, 350),  # how much wider at the foot
    "bend": (0, 90, -300, 300),  # how far foot and head are swept aside, per half height
    # positions, in 1/256 pixel
    "right": (0, 200, -520, 520),
    "down": (0, 170, -420, 420),
    "stray": (220, 110, 40, 440),  # standard deviation of the points: how sloppy the hand is
    # the pen, in 1/32 pixel
    "radius": (42, 10, 28, 70),
    "edge": (34, 7, 24, 60),  # width over which ink fades to paper
    "ink": (250, 12, 190, 255),  # the brightest that a pixel becomes
    "thin_start": (60, 200, 0, THINNING_MAX),  # how much the pen is lifted, in (1/32 pixel)²
    "thin_end": (120, 250, 0, THINNING_MAX),
}


class Digits(DataSource):
    """Images of digits, 28 × 28 and grey, drawn from pen strokes: a substitute for MNIST that needs no download.

    White on black and about as hard as MNIST for a small network. The same arguments give the same bytes on every
    machine; `Digits(train=100)` is the beginning of `Digits(train=2000)`, and `train` does not change the test samples.
    """

    spec_name = "Digits"

    train: Count = 2000
    test: TestCount = 500
    _: KW_ONLY
    seed: Annotated[int, Range(low=0)] = 0

    def facts(self) -> Facts:
        """Ten classes of images of 28 by 28."""
        return Facts(shape=(SIDE, SIDE), classes=10, train=self.train, test=self.test)

    def beginning(self, samples: int) -> Digits:
        """Draw only that many samples."""
        return Digits(min(self.train, samples), min(self.test, 1), seed=self.seed)

    def load(self, access: Access) -> Dataset:
        """Draw the images. `access` is not used: nothing is read or fetched."""
        train = _split(np.random.PCG64(self.seed), self.train)
        test = _split(np.random.PCG64(self.seed).jumped(), self.test)
        digest = hashlib.sha256()
        for part in (train.x, train.y, test.x, test.y):
            digest.update(part.tobytes())
        return Dataset(
            source=self.spec_name,
            facts=self.facts(),
            train=train,
            test=test,
            divisor=255.0,
            sha256=digest.hexdigest(),
            origin=f"drawn by nnspec, seed {self.seed}",
        )


def _split(stream: np.random.PCG64, count: int) -> Split:
    """Draw the first `count` samples of a stream of raw integers."""
    x = np.empty((count, SIDE * SIDE), dtype=np.uint8)
    y = np.empty(count, dtype=np.uint8)
    for start in range(0, count, CHUNK):
        stop = min(start + CHUNK, count)
        words = stream.random_raw((stop - start) * _forms().words)
        x[start:stop], y[start:stop] = _draw(words.reshape(stop - start, -1))
    return Split(x, y)


def _draw(words: NDArray[np.uint64]) -> tuple[Bytes, Bytes]:
    """Images `(n, 784)` and digits `(n,)` from each sample's words `(n, words)`, which are used up from the left."""
    forms = _forms()
    column = iter(words.T)
    digits = _uniform(next(column), 10)
    chosen = forms.of_digit[digits, _uniform(next(column), 100)]
    traits = {
        name: np.clip(middle + _bell(next(column), spread), least, most)
        for name, (middle, spread, least, most) in TRAITS.items()
    }
    x, y = (_path(forms, chosen, axis, column, traits["stray"]) for axis in (0, 1))
    x, y = _shaped(x, y, traits)
    return _inked(_distances(x, y, traits), traits), digits.astype(np.uint8)


def _path(
    forms: _Forms, chosen: Integers, axis: int, column: Iterator[NDArray[np.uint64]], stray: Integers
) -> Integers:
    """The dots `(n, DOTS)` along one axis, once every point of the chosen forms has strayed."""
    strayed = np.stack([_bell(next(column), stray) for _ in range(forms.most)], axis=1)
    points = forms.points[chosen, :, axis] + np.clip(strayed, -STRAY_MAX, STRAY_MAX)
    dots: Integers = np.matmul(forms.curves[chosen], points[:, :, None])[:, :, 0] // SCALE
    return dots


def _uniform(words: NDArray[np.uint64], count: int) -> Integers:
    """Integers from 0 to count - 1, from the words' upper 32 bits."""
    return (words >> np.uint64(32)).astype(np.int64) * count >> 32


def _bell(words: NDArray[np.uint64], spread: int | Integers) -> Integers:
    """Nearly normal integers with mean 0 and standard deviation `spread`, never beyond 3.5 of these.

    The sum of a word's four 16-bit quarters: its mean is 2 (2**16 - 1), its standard deviation 2**16 / sqrt(3).
    """
    total: Integers = np.zeros(len(words), dtype=np.int64)
    for shift in (0, 16, 32, 48):
        total += (words >> np.uint64(shift) & np.uint64(0xFFFF)).astype(np.int64)
    return (total - 131070) * spread // 37837


def _shaped(x: Integers, y: Integers, traits: dict[str, Integers]) -> tuple[Integers, Integers]:
    """Give paths `(n, DOTS)` the hand's proportions and its slant, and set them down near the middle of the image."""
    of = {name: values[:, None] for name, values in traits.items()}
    half = BOX * UNIT // 2
    x = x * (of["width"] + of["taper"] * y // half) // WHOLE
    x += y * y // half * of["bend"] // WHOLE
    y = y * of["height"] // WHOLE
    x, y = x - y * (of["slant"] + of["turn"]) // WHOLE, y + x * of["turn"] // WHOLE
    return _centred(x) + of["right"], _centred(y) + of["down"]


def _centred(along: Integers) -> Integers:
    """Move paths so that the middle between their ends on this axis is 0."""
    middle: Integers = (along.min(axis=1, keepdims=True) + along.max(axis=1, keepdims=True)) // 2
    return along - middle


def _distances(x: Integers, y: Integers, traits: dict[str, Integers]) -> NDArray[np.int16]:
    """Squared distance of every pixel's centre from the nearest dot `(28, 28, n)`, in (1/32 pixel)².

    Where the pen is lifted a little, a dot's distances grow by a constant, and the line is thinner there. The samples
    are the last axis, so that the inner loop is long.
    """
    dot = np.arange(DOTS, dtype=np.int64)[:, None]
    thinning = (traits["thin_start"] * (DOTS - 1 - dot) + traits["thin_end"] * dot) // (DOTS - 1)
    across = _squares(x)
    down = _squares(y) + thinning.astype(np.int16)[:, None, :]
    nearest: NDArray[np.int16] = down[0][:, None, :] + across[0][None, :, :]
    distance = np.empty_like(nearest)
    for i in range(1, DOTS):
        np.add(down[i][:, None, :], across[i][None, :, :], out=distance)
        np.minimum(nearest, distance, out=nearest)
    return nearest


def _squares(along: Integers) -> NDArray[np.int16]:
    """Squared distances along one axis of dots `(n, DOTS)` from pixel centres, `(DOTS, 28, n)` in (1/32 pixel)²."""
    centres = (np.arange(SIDE, dtype=np.int64) * 2 + 1 - SIDE) * FINE // 2
    away = along.T[:, None, :] // (UNIT // FINE) - centres[:, None]
    near = np.clip(away, -REACH, REACH).astype(np.int16)
    squares: NDArray[np.int16] = near * near
    return squares


def _inked(squared: NDArray[np.int16], traits: dict[str, Integers]) -> Bytes:
    """Images `(n, 784)` from squared distances: full ink within the pen's radius, none beyond, a ramp between."""
    distance = _roots()[squared]
    inside = traits["radius"] - distance
    ink = np.clip(inside * traits["ink"] // traits["edge"] + traits["ink"] // 2, 0, traits["ink"])
    images: Bytes = ink.astype(np.uint8).reshape(SIDE * SIDE, -1).T
    return images


@functools.cache
def _roots() -> NDArray[np.int16]:
    """The whole part of the square root of every 16-bit square: k occurs 2 k + 1 times, from k² to (k + 1)² - 1."""
    k = np.arange(182, dtype=np.int16)
    roots: NDArray[np.int16] = np.repeat(k, 2 * k.astype(np.int64) + 1)
    return roots


@dataclass(frozen=True)
class _Forms:
    """All forms as arrays. `most` is the number of points of the form that has most; the others are filled up."""

    of_digit: Integers
    """Index of a form by digit and by percent `(10, 100)`."""
    points: Integers
    """Positions of the points `(forms, most, 2)`."""
    curves: Integers
    """What each point contributes to each dot, in 1/SCALE: `(forms, DOTS, most)`."""

    @property
    def most(self) -> int:
        return int(self.points.shape[1])

    @property
    def words(self) -> int:
        """How many words one sample takes: digit, form, one per trait, two per point."""
        return 2 + len(TRAITS) + 2 * self.most


@functools.cache
def _forms() -> _Forms:
    of_digit = [[i for i, form in enumerate(FORMS) if form.digit == d for _ in range(form.share)] for d in range(10)]
    most = max(len(form.points) for form in FORMS)
    points = np.zeros((len(FORMS), most, 2), dtype=np.int64)
    curves = np.zeros((len(FORMS), DOTS, most), dtype=np.int64)
    for i, form in enumerate(FORMS):
        index = {point: k for k, point in enumerate(form.points)}
        points[i, : len(index)] = (np.array(form.points, dtype=np.int64) - BOX // 2) * UNIT
        for dot, weights in enumerate(form.path(DOTS)):
            for point, weight in weights.items():
                curves[i, dot, index[point]] = weight
    return _Forms(np.array(of_digit, dtype=np.int64), points, curves)
