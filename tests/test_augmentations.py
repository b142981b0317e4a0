"""Augmentations: what each does to a batch, how often, from which numbers, and that it allocates nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnspec import engine as nn
from nnspec.engine.augmentations import Augmentation, Flip, Noise, Shift
from nnspec.engine.layers.contract import ShapeError
from nnspec.engine.random import Stream, stream
from nnspec.engine.work import Borrower

SHAPES = [(6, 5), (2, 6, 5)]
DTYPES = {"float": np.float32, "bool": np.bool_, "index": np.intp}


def numbers(count: int, shape: tuple[int, ...], dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(5).standard_normal((count, *shape)).astype(dtype)


def applied(augmentation: Augmentation, x: np.ndarray, seed: int = 0, work: Borrower | None = None) -> np.ndarray:
    found = x.copy()
    augmentation.apply(found, np.random.default_rng(seed), work)
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_flip_turns_round_its_share(shape: tuple[int, ...]) -> None:
    x = numbers(4000, shape)
    for p in (0.0, 0.3, 1.0):
        found = applied(Flip(p), x)
        turned = (found == x[..., ::-1]).reshape(4000, -1).all(axis=1)
        stayed = (found == x).reshape(4000, -1).all(axis=1)
        assert (turned ^ stayed).all()
        assert abs(turned.mean() - p) <= 5 * math.sqrt(p * (1 - p) / 4000)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pixels", [1, 2])
def test_every_shift_is_as_likely_as_any_other(shape: tuple[int, ...], pixels: int) -> None:
    count = 8000
    one = numbers(1, shape)[0]
    wide = np.pad(one, [*[(0, 0)] * (len(shape) - 2), (pixels, pixels), (pixels, pixels)])
    height, width = shape[-2:]
    ways = {
        wide[..., top : top + height, left : left + width].tobytes(): 0
        for top in range(2 * pixels + 1)
        for left in range(2 * pixels + 1)
    }
    assert len(ways) == (2 * pixels + 1) ** 2
    for image in applied(Shift(pixels), np.broadcast_to(one, (count, *shape)).copy()):
        ways[image.tobytes()] += 1
    wanted = count / len(ways)
    squares = sum((found - wanted) ** 2 / wanted for found in ways.values())
    free = len(ways) - 1
    assert squares < free + 6 * math.sqrt(2 * free)  # χ²


def test_noise_is_normal_and_each_number_has_its_own() -> None:
    x = numbers(2000, (40,))
    strayed = applied(Noise(0.2), x) - x
    assert abs(strayed.mean()) < 5 * 0.2 / math.sqrt(x.size)
    assert abs(strayed.std() - 0.2) < 5 * 0.2 / math.sqrt(2 * x.size)
    assert abs((strayed**4).mean() / strayed.std() ** 4 - 3) < 0.1
    assert abs(np.corrcoef(strayed[:, 0], strayed[:, 1])[0, 1]) < 0.12
    assert abs(np.corrcoef(strayed[0], strayed[1])[0, 1]) < 0.7


def test_what_does_not_fit_is_refused() -> None:
    for augmentation in (Flip(), Shift(1)):
        augmentation.fit((28, 28))
        augmentation.fit((3, 28, 28))
        with pytest.raises(ShapeError, match="expects images, but a sample is a row of 784 features"):
            augmentation.fit((784,))
    with pytest.raises(ShapeError, match="moves an image of 28×20 completely out of view"):
        Shift(20).fit((28, 20))
    Shift(19).fit((28, 20))
    Noise(1.0).fit((784,))
    for wrong in (lambda: Flip(1.1), lambda: Shift(0), lambda: Noise(0)):
        with pytest.raises(ValueError, match="must be"):
            wrong()


def test_augmentations_are_frozen_and_equal_where_their_arguments_are() -> None:
    assert Shift(2) == Shift(pixels=2) != Shift(1)
    assert repr([Flip(), Shift(2), Noise(0.5)]) == "[flip, shift(2), noise(0.5)]"
    with pytest.raises(AttributeError):
        Shift(2).pixels = 3


def test_the_engine_offers_them() -> None:
    x = np.ones((4, 5, 5))
    nn.Shift(1).apply(x, stream(0, Stream.AUGMENT, 0))
    assert set(np.unique(x)) <= {0.0, 1.0}
