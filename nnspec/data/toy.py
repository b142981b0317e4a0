"""Toy data: points in the plane, drawn by nnspec itself: no file, no network, the same bytes everywhere.

**Only integers**, as in `digits.py`, and for the same reason: floating point may differ in the last bit between
machines and libraries. All randomness is PCG64's raw integers; a position is a whole number of 1/65,536; sine and
cosine are polynomials on integers (`sine`). What is drawn is stored as float32, which holds every such number exactly.

**Which sample depends on what.** Training sample i is made of the words `words · i` to `words · (i + 1)` of the raw
integers of `PCG64(seed)`, test sample i of the same words of `PCG64(seed).jumped()`, so far along that the two never
meet. So a smaller set is the beginning of a larger one, and `train` does not change the test samples.

**Classes take turns**: sample i is of class i mod classes, so every set is balanced as far as its size allows.

**Noise** is normal in each coordinate, as far as the sum of twelve uniform numbers is: its standard deviation is the
one asked for, and nothing lies beyond six of these.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated

from nnspec.data.files import digest_of
from nnspec.data.source import Access, Dataset, DataSource, Facts, Split
from nnspec.data.splitting import TestCount
from nnspec.engine._numpy import np
from nnspec.engine.part import Also, Count, Range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Words = NDArray[np.uint64]

__all__ = ["XOR", "Blobs", "Circles", "Moons", "Sine", "Spirals"]

UNIT = 1 << 16  # positions per 1.0
TURN = 1 << 32  # angles per full turn
ONE = 1 << 28  # the integer that represents 1 in sines
TAU = 1686629713  # 2π · ONE, rounded
NORMAL_WORDS = 3  # raw integers that one normal number is made of
CHUNK = 1 << 16  # raw integers drawn at a time, or a sample's where that is more

Noise = Annotated[float, Range(low=0, high=10), Also("noise_std", "std", "sigma")]
Seed = Annotated[int, Range(low=0)]
Classes = Annotated[int, Range(low=2, high=100), Also("n_classes", "num_classes", "centers", "arms")]
Features = Annotated[int, Range(low=1, high=1000), Also("n_features", "num_features", "dim")]
Exponent = Annotated[float, Range(low=0, high=4), Also("imbalance", "exponent", "power")]
Times = Annotated[float, Range(low=0, high=100, open_low=True)]


class Toy(DataSource):
    """Base of the toy sets: each sample is computed from a fixed number of random integers."""

    train: Count = 1000
    test: TestCount = 500
    _: KW_ONLY
    noise: Noise = 0.1
    seed: Seed = 0
    _words: int
    """How many raw integers a sample is made of."""
    _classes: int | None = 2
    """How many classes there are; None for a regression."""
    _size: int = 2
    """How many coordinates a sample has."""

    def facts(self) -> Facts:
        """Points, each with a class or a number as its target."""
        return Facts((self._size,), self._classes, self.train, self.test, stored="float32")

    def load(self, access: Access) -> Dataset:
        """Draw the points. `access` is not used: nothing is read or fetched."""
        train = self._split(np.random.PCG64(self.seed), self.train)
        test = self._split(np.random.PCG64(self.seed).jumped(), self.test)
        return Dataset(
            source=self.spec_name,
            facts=self.facts(),
            train=train,
            test=test,
            divisor=1.0,
            sha256=digest_of((train.x, train.y, test.x, test.y)),
            origin=f"drawn by nnspec, seed {self.seed}",
        )

    def _split(self, stream: np.random.PCG64, count: int) -> Split:
        """Draw the first `count` samples of a stream of raw integers."""
        facts = self.facts()
        x = np.empty((count, facts.features), dtype=np.dtype(facts.stored).newbyteorder("<"))
        y = np.empty(count, dtype="<f4" if self._classes is None else np.uint8)
        rows = max(CHUNK // self._words, 1)
        for start in range(0, count, rows):
            stop = min(start + rows, count)
            words = stream.random_raw((stop - start) * self._words).reshape(stop - start, self._words)
            points, targets = self.draw(np.arange(start, stop, dtype=np.int64), words)
            if facts.tokens:
                x[start:stop] = points
            else:
                np.divide(points, UNIT, out=x[start:stop], casting="unsafe")
            if self._classes is None:
                np.divide(targets, UNIT, out=y[start:stop], casting="unsafe")
            else:
                y[start:stop] = targets
        return Split(x, y)

    def draw(self, index: Integers, words: Words) -> tuple[Integers, Integers]:
        """Return positions `(n, features)` of the samples with these numbers, and their classes, or values, `(n,)`; of
        ids, the ids.
        """
        raise NotImplementedError

    def _strayed(self, points: list[Integers], words: Words) -> Integers:
        """Put coordinates side by side, each with noise of its own."""
        spread = round(self.noise * UNIT)
        columns = [c + normal(words[:, 3 * i : 3 * i + 3], spread) for i, c in enumerate(points)]
        return np.stack(columns, axis=1)


class Blobs(Toy):
    """Gaussian clouds: each class is normal around its own centre, drawn uniformly from [−10, 10] in each coordinate.

    As scikit-learn's `make_blobs`, whose `cluster_std` is `noise`. With `zipf` above 0, classes do not take turns: each
    is drawn, class k with a probability proportional to 1 / (k + 1)^zipf, as words of a text are. Kunstner et al. 2024.
    """

    spec_name = "Blobs"
    also = ("make_blobs",)

    _: KW_ONLY
    classes: Classes = 3
    features: Features = 2
    noise: Annotated[Noise, Also("cluster_std")] = 1.0
    zipf: Exponent = 0.0

    def __post_init__(self) -> None:
        self._classes, self._size = self.classes, self.features
        self._words = self.features * NORMAL_WORDS + (self.zipf > 0)

    def draw(self, index: Integers, words: Words) -> tuple[Integers, Integers]:
        """Add noise to the centre of the class."""
        labels = zipfian(words[:, -1], self.classes, self.zipf) if self.zipf else index % self.classes
        middle = self.centres()[labels]
        return self._strayed(list(middle.T), words), labels

    def centres(self) -> Integers:
        """The classes' centres `(classes, features)`, from a stretch of the same sequence that no sample comes from."""
        words = np.random.PCG64(self.seed).jumped(2).random_raw(self.classes * self.features)
        return ((fraction(words) * 20 >> 16) - 10 * UNIT).reshape(self.classes, self.features)


class XOR(Toy):
    """Points of the square [−1, 1]²: class 1 where exactly one of the two coordinates is positive, else class 0.

    No straight line separates them. The class is that of the point before noise is added.
    """

    spec_name = "XOR"
    also = ("Xor",)
    _words = 2 + 2 * NORMAL_WORDS

    _: KW_ONLY
    noise: Noise = 0.05

    def draw(self, index: Integers, words: Words) -> tuple[Integers, Integers]:
        """Draw from the four quarters of the square in turn."""
        labels, negative = index & 1, index >> 1 & 1
        x, y = (1 + (fraction(words[:, i]) >> 16) for i in (0, 1))
        x, y = np.where(negative, -x, x), np.where(negative ^ labels, -y, y)
        return self._strayed([x, y], words[:, 2:]), labels


class Circles(Toy):
    """Two circles around the origin: class 0 of radius 1, class 1 inside it, `factor` times as large.

    As scikit-learn's `make_circles`, except that points are drawn at random along the circle, not in equal steps.
    """

    spec_name = "Circles"
    also = ("make_circles",)
    _words = 1 + 2 * NORMAL_WORDS

    _: KW_ONLY
    factor: Annotated[float, Range(low=0, high=1, open_high=True)] = 0.5

    def draw(self, index: Integers, words: Words) -> tuple[Integers, Integers]:
        """Draw an angle; the class gives the radius."""
        labels = index & 1
        radius = np.where(labels, round(self.factor * UNIT), UNIT)
        return self._strayed(list(_around(radius, fraction(words[:, 0]))), words[:, 1:]), labels


class Moons(Toy):
    """Two interleaving half circles of radius 1, for an angle t in [0, π).

    Class 0 lies at (cos t, sin t), class 1 at (1 − cos t, 1/2 − sin t). As scikit-learn's `make_moons`, except that
    points are drawn at random along the moon, not in equal steps.
    """

    spec_name = "Moons"
    also = ("make_moons", "TwoMoons")
    _words = 1 + 2 * NORMAL_WORDS

    def draw(self, index: Integers, words: Words) -> tuple[Integers, Integers]:
        """Draw an angle on the upper or the lower half circle."""
        labels = index & 1
        x, y = _around(UNIT, fraction(words[:, 0]) >> 1)
        points = [np.where(labels, UNIT - x, x), np.where(labels, UNIT // 2 - y, y)]
        return self._strayed(points, words[:, 1:]), labels


class Spirals(Toy):
    """Arms of a spiral, one per class: at a position t along its arm, drawn uniformly from [0, 1), arm k of K has
    radius 0.1 + 0.9 t and angle 2π (turns · t + k/K)."""

    spec_name = "Spirals"
    also = ("Spiral", "make_spirals", "TwoSpirals")
    _words = 1 + 2 * NORMAL_WORDS

    _: KW_ONLY
    classes: Classes = 3
    turns: Times = 1.0
    noise: Noise = 0.05

    def __post_init__(self) -> None:
        self._classes = self.classes

    def draw(self, index: Integers, words: Words) -> tuple[Integers, Integers]:
        """Draw a position along the arm of the class."""
        labels = index % self.classes
        along = fraction(words[:, 0])
        radius = (UNIT + (along * 9 >> 16)) // 10
        angle = (along * round(self.turns * UNIT) >> 16) + labels * TURN // self.classes
        return self._strayed(list(_around(radius, angle)), words[:, 1:]), labels


class Sine(Toy):
    """A regression: y = sin(2π · frequency · x) plus noise, for x drawn uniformly from [−1, 1)."""

    spec_name = "Sine"
    also = ("SineWave",)
    _classes = None
    _size = 1
    _words = 1 + NORMAL_WORDS

    _: KW_ONLY
    frequency: Annotated[Times, Also("periods", "omega")] = 1.0

    def draw(self, index: Integers, words: Words) -> tuple[Integers, Integers]:
        """Draw x, and the sine of it; only y has noise."""
        x = (fraction(words[:, 0]) >> 15) - UNIT
        y = rounded(sine(x * round(self.frequency * UNIT)), ONE // UNIT)
        return x[:, None], self._strayed([y], words[:, 1:])[:, 0]


def fraction(words: Words) -> Integers:
    """Integers from 0 to 2**32 − 1, evenly: the words' upper halves."""
    return (words >> np.uint64(32)).astype(np.int64)


def zipfian(words: Words, count: int, exponent: float) -> Integers:
    """Integers k from 0 to `count` − 1 with probabilities proportional to 1 / (k + 1)**exponent, from a word each.

    Powers are decimal: `decimal` rounds correctly, so that they are the same on every machine.
    """
    return np.searchsorted(zipf_borders(count, exponent), fraction(words), side="right").astype(np.int64)


@functools.lru_cache(maxsize=4)
def zipf_borders(count: int, exponent: float) -> Integers:
    """The sums of the first 1, 2, … `count` − 1 probabilities, in 1/2**32, `(count − 1,)`."""
    import decimal  # here, since `check` draws nothing

    with decimal.localcontext(prec=20):
        rarity = -decimal.Decimal(exponent)
        sums = [*itertools.accumulate(decimal.Decimal(k + 1) ** rarity for k in range(count))]
        return np.array([int(partial * TURN // sums[-1]) for partial in sums[:-1]], dtype=np.int64)


def normal(words: Words, spread: int) -> Integers:
    """Nearly normal integers with mean 0 and standard deviation `spread`, from three words each.

    The sum of their twelve 16-bit quarters has the standard deviation 2**16, but for 1 part in 2**33.
    """
    total = np.zeros(len(words), dtype=np.int64)
    for column in words.T:
        for shift in (0, 16, 32, 48):
            total += (column >> np.uint64(shift) & np.uint64(0xFFFF)).astype(np.int64)
    return rounded((total - 6 * 0xFFFF) * spread, UNIT)


def _around(radius: int | Integers, angle: Integers) -> tuple[Integers, Integers]:
    """x and y of the points at these angles of circles about the origin."""
    return rounded(radius * sine(angle + TURN // 4), ONE), rounded(radius * sine(angle), ONE)


def sine(angle: Integers) -> Integers:
    """The sine, in 1/ONE: x (1 − x²/(2·3) (1 − x²/(4·5) (1 − …))) over the quarter turn that the angle falls back to.

    Nothing here reaches 2**62, for angles below 2**62.
    """
    quarter, rest = angle >> 30 & 3, angle & (TURN // 4 - 1)
    x = np.where(quarter & 1, TURN // 4 - rest, rest) * TAU >> 32
    square = x * x >> 28
    series = np.full(x.shape, ONE, dtype=np.int64)
    for n in (14, 12, 10, 8, 6, 4, 2):
        series = ONE - (square * series >> 28) // (n * (n + 1))
    value = x * series >> 28
    return np.where(quarter & 2, -value, value)


def rounded(numbers: Integers, unit: int) -> Integers:
    """Whole numbers of `unit`, a half upwards."""
    return (numbers + unit // 2) // unit
