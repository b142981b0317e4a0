"""Synthetic data with a chosen difficulty: condition numbers, heavy tails, rare words, long memory.

Drawn as the toy data is (`toy.py`): from PCG64's raw integers, the same bytes on every machine, and training sample i
does not depend on how many there are. Everything that is not an integer here is a product, quotient or square root,
which IEEE 754 rounds in one way, or a decimal power, which `decimal` does.
"""

from __future__ import annotations

import functools
import math
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated

from nnspec.data.source import Facts
from nnspec.data.toy import (
    NORMAL_WORDS,
    ONE,
    TURN,
    UNIT,
    Exponent,
    Features,
    Noise,
    Toy,
    fraction,
    normal,
    rounded,
    sine,
    zipf_borders,
    zipfian,
)
from nnspec.engine._numpy import np
from nnspec.engine.part import Also, Range

if TYPE_CHECKING:
    from nnspec.data.toy import Integers, Words

__all__ = ["Adding", "BagOfWords", "LeastSquares"]


class LeastSquares(Toy):
    """A linear regression with a chosen condition number: x = Q Λ^½ z and y = Σᵢ sᵢ zᵢ / √d + noise, for z ~ N(0, I).

    The covariance of x is Q Λ Qᵀ with eigenvalues λᵢ = condition^(−i / (d − 1)) from 1 down to 1/condition, for i from
    0 to d − 1 and d = features. With the loss MSE and the layer `Linear(1, bias=false)`, the Hessian of the expected
    loss is 2 Q Λ Qᵀ. The signs sᵢ are drawn; each eigenvector contributes equally to y, whose variance is 1 without
    noise. So the loss at weights of 0 is 1, and gradient descent with the rate η/2 leaves a part Σᵢ (1 − η λᵢ)^(2t) / d
    of it after t steps. Numbers are rounded to 1/65,536, which leaves a squared error of at most 4e-11 · condition.

    Q is the discrete Hartley transform, Qᵢⱼ = (cos 2πij/d + sin 2πij/d) / √d, which mixes all coordinates: scaling each
    coordinate by a number of its own, as Adam does, hardly improves the condition. With `rotate = false`, Q = I and it
    does.

    The noise of y is normal with standard deviation `noise`; with `df`, it is `noise` times Student's t with `df`
    degrees of freedom, whose tail falls as |t|^(−df − 1): its variance is infinite up to `df = 2`.
    """

    spec_name = "LeastSquares"
    also = ("LinearRegression", "Quadratic", "LinearData", "make_regression")
    _classes = None

    _: KW_ONLY
    features: Features = 10
    condition: Annotated[float, Range(low=1, high=1e6), Also("kappa", "condition_number", "cond")] = 1.0
    rotate: Annotated[bool, Also("rotated", "rotation")] = True
    df: Annotated[
        Annotated[int, Range(low=1, high=100)] | None, Also("nu", "degrees_of_freedom", "tail", "student_t")
    ] = None

    def __post_init__(self) -> None:
        self._size = self.features
        self._words = (self.features + 1 + (self.df or 0)) * NORMAL_WORDS

    def draw(self, index: Integers, words: Words) -> tuple[Integers, Integers]:
        """Draw z and the noise."""
        numbers = [normal(words[:, i : i + NORMAL_WORDS], UNIT) for i in range(0, self._words, NORMAL_WORDS)]
        z, (noise, *rest) = np.stack(numbers[: self.features], axis=1), numbers[self.features :]
        x = rounded(z * deviations(self.features, self.condition), UNIT)
        if self.rotate:
            x = rounded(x @ hartley(self.features), ONE)
        y = rounded(z @ self.signs() * math.isqrt(ONE * ONE // self.features), ONE)
        if rest:
            noise = _student(noise, rest)
        return x, y + rounded(noise * round(self.noise * UNIT), UNIT)

    def signs(self) -> Integers:
        """The signs sᵢ, `(features,)`, from a stretch of the same sequence that no sample comes from."""
        return 1 - 2 * (fraction(np.random.PCG64(self.seed).jumped(2).random_raw(self.features)) & 1)


class BagOfWords(Toy):
    """Two classes of bags of words: a sample is `length` ids of words, drawn independently, word k with a probability
    proportional to 1 / (k + 1)^zipf, as in Zipf's law for texts.

    Each word has a worth, drawn from N(0, 1) and shifted so that drawn words have a mean of 0. The class is 1 where the
    sum of the worths of a sample's words, divided by √length, plus noise is positive, else 0. With an `Embedding`, a
    word that is not in a batch has a gradient of 0, and most words are rare. Duchi, Hazan & Singer 2011.
    """

    spec_name = "BagOfWords"
    also = ("ZipfWords", "BagOfTokens", "ZipfText")

    _: KW_ONLY
    vocabulary: Annotated[int, Range(low=2, high=65_536), Also("vocab_size", "tokens", "n_words", "words")] = 1000
    length: Annotated[int, Range(low=1, high=10_000), Also("words_per_sample", "context", "sequence_length")] = 20
    zipf: Exponent = 1.0
    noise: Noise = 0.0

    def __post_init__(self) -> None:
        self._words = self.length + NORMAL_WORDS

    def facts(self) -> Facts:
        """A row of ids, with a class."""
        stored = "uint8" if self.vocabulary <= 256 else "uint16"
        return Facts((self.length,), 2, self.train, self.test, stored=stored, tokens=self.vocabulary)

    def draw(self, index: Integers, words: Words) -> tuple[Integers, Integers]:
        """Draw words, and add up their worths."""
        ids = zipfian(words[:, : self.length], self.vocabulary, self.zipf)
        total = self.worths()[ids].sum(axis=1) * math.isqrt(ONE * ONE // self.length)
        score = rounded(total, ONE) + normal(words[:, self.length :], round(self.noise * UNIT))
        return ids, (score > 0).astype(np.int64)

    def worths(self) -> Integers:
        """The worths of the words, `(vocabulary,)`, from a stretch of the same sequence that no sample comes from."""
        words = np.random.PCG64(self.seed).jumped(2).random_raw(self.vocabulary * NORMAL_WORDS)
        worths = normal(words.reshape(self.vocabulary, NORMAL_WORDS), UNIT)
        chances = np.diff(zipf_borders(self.vocabulary, self.zipf), prepend=0, append=TURN)
        return worths - rounded(worths @ chances, TURN)


class Adding(Toy):
    """The adding problem, a test of long memory: a sample is `length` positions of two numbers, a value drawn uniformly
    from [0, 1) and a mark. The mark is 1 at one position of each half and 0 elsewhere. The target is the sum of the two
    marked values, plus noise.

    Always predicting 1 has a mean squared error of 1/6. Hochreiter & Schmidhuber 1997, in the
    form of Arjovsky, Shah & Bengio 2016.
    """

    spec_name = "Adding"
    also = ("AddingProblem", "AddingTask")
    _classes = None

    _: KW_ONLY
    length: Annotated[int, Range(low=2, high=10_000), Also("sequence_length", "steps", "T")] = 50
    noise: Noise = 0.0

    def __post_init__(self) -> None:
        self._words = self.length + 2 + NORMAL_WORDS

    def facts(self) -> Facts:
        """A sequence of pairs of numbers, with a number."""
        return Facts((self.length, 2), None, self.train, self.test, stored="float32")

    def draw(self, index: Integers, words: Words) -> tuple[Integers, Integers]:
        """Draw values and two positions."""
        half, rows = self.length // 2, np.arange(len(words))
        values = fraction(words[:, : self.length]) >> 16
        first, second = (fraction(words[:, self.length + i]) for i in (0, 1))
        marks = np.zeros_like(values)
        places = first * half >> 32, half + (second * (self.length - half) >> 32)
        for place in places:
            marks[rows, place] = UNIT
        total = values[rows, places[0]] + values[rows, places[1]]
        noise = normal(words[:, self.length + 2 :], round(self.noise * UNIT))
        return np.stack([values, marks], axis=2).reshape(len(words), -1), total + noise


@functools.lru_cache(maxsize=4)
def deviations(features: int, condition: float) -> Integers:
    """The square roots of the eigenvalues condition^(−i / (features − 1)), `(features,)`."""
    import decimal  # here, since `check` draws nothing

    with decimal.localcontext(prec=20):
        least = 1 / decimal.Decimal(condition)
        powers = (least ** (decimal.Decimal(i) / (2 * max(features - 1, 1))) for i in range(features))
        return np.array([round(power * UNIT) for power in powers], dtype=np.int64)


@functools.lru_cache(maxsize=4)
def hartley(size: int) -> Integers:
    """The orthogonal and symmetric matrix of the discrete Hartley transform, `(size, size)`."""
    index = np.arange(size, dtype=np.int64)
    angles = np.outer(index, index) % size * TURN // size
    return rounded((sine(angles) + sine(angles + TURN // 4)) * math.isqrt(ONE * ONE // size), ONE)


def _student(numerator: Integers, rest: list[Integers]) -> Integers:
    """Student's t with ν degrees of freedom from 1 + ν normal numbers: z √(ν / Σₖ zₖ²)."""
    squares = np.maximum(sum(z * z for z in rest), 1)
    return np.rint(numerator * np.sqrt(len(rest) * float(UNIT * UNIT) / squares)).astype(np.int64)
