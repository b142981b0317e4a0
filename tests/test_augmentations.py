"""Augmentations: what each does to a batch, how often, from which numbers, and that it allocates nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path

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


# Against PyTorch and torchvision's formulas

WANTED = json.loads((Path(__file__).parent / "oracle" / "augmentations.json").read_text())


class Drawn:
    """A generator that returns given numbers in place of random ones from 0 to 1."""

    def __init__(self, low: float, high: float, numbers: list[float]) -> None:
        self._shares = (np.array(numbers) - low) / (high - low)

    def random(self, out: np.ndarray, dtype: type) -> None:
        out[...] = self._shares


@pytest.mark.parametrize(
    ("name", "augmentation", "low", "high"),
    [
        ("rotate", nn.Rotate(90), -90, 90),
        ("zoom", nn.Zoom(0.5), 0.5, 1.5),
        ("brightness", nn.Jitter(brightness=0.5), 0.5, 1.5),
        ("contrast", nn.Jitter(contrast=2), 0, 3),
        ("saturation", nn.Jitter(saturation=0.7), 0.3, 1.7),
        ("hue", nn.Jitter(hue=0.5), -0.5, 0.5),
    ],
)
def test_images_are_those_of_pytorch(name: str, augmentation: Augmentation, low: float, high: float) -> None:
    x = np.array(WANTED["images"])
    augmentation.apply(x, Drawn(low, high, WANTED[name]["drawn"]))  # type: ignore[arg-type]
    np.testing.assert_allclose(x, WANTED[name]["images"], rtol=1e-10, atol=1e-10)
    assert np.abs(x - WANTED["images"]).max() > 0.05


def test_grey_images_have_another_contrast_about_their_mean() -> None:
    x = np.random.default_rng(0).random((3, 6, 5)) * 0.2 + 0.4
    found = applied(nn.Jitter(contrast=0.3), x)
    np.testing.assert_allclose(found.mean(axis=(1, 2)), x.mean(axis=(1, 2)))
    factors = (found - x.mean(axis=(1, 2), keepdims=True)) / (x - x.mean(axis=(1, 2), keepdims=True))
    assert ((factors > 0.7) & (factors < 1.3)).all()
    assert np.ptp(factors.reshape(3, -1), axis=1).max() < 1e-12 < np.ptp(factors[:, 0, 0])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("mode", "pads"), [("zeros", "constant"), ("reflect", "reflect"), ("edge", "edge")])
def test_crops_are_windows_of_the_padded_image(shape: tuple[int, ...], mode: str, pads: str) -> None:
    x = numbers(300, shape)
    found = applied(nn.Crop(2, mode=mode), x)  # type: ignore[arg-type]
    padded = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(2, 2), (2, 2)], mode=pads)  # type: ignore[call-overload]
    windows = np.lib.stride_tricks.sliding_window_view(padded, shape[-2:], axis=(-2, -1))  # type: ignore[call-overload]
    windows = windows.reshape(*x.shape[:-2], 25, *shape[-2:])
    same = (windows == found[..., None, :, :]).all(axis=(-2, -1)).reshape(300, -1, 25).all(axis=1)
    assert same.any(axis=1).all()
    assert same.any(axis=0).all()
    if mode == "zeros":
        np.testing.assert_array_equal(found, applied(Shift(2), x))


def test_vertical_flips_turn_images_upside_down() -> None:
    x = numbers(5, (2, 6, 5))
    np.testing.assert_array_equal(applied(Flip(1.0, axis="vertical"), x), x[..., ::-1, :])


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_square_about_every_pixel_may_be_cut_out(size: int) -> None:
    x = numbers(2000, (2, 6, 5))
    found = applied(nn.Cutout(size), x)
    holes = (found == 0).all(axis=1)
    np.testing.assert_array_equal(found, np.where(holes[:, None], 0, x))
    places = set()
    for row in range(6):  # as in the paper: a square about each pixel, cut off at the border
        for column in range(5):
            hole = np.zeros((6, 5), bool)
            top, left = row - size // 2, column - size // 2
            hole[max(top, 0) : top + size, max(left, 0) : left + size] = True
            places.add(hole.tobytes())
    assert {hole.tobytes() for hole in holes} == places


@pytest.mark.parametrize(
    ("augmentation", "shape", "says"),
    [
        (nn.Cutout(5), (6, 5), "as large as an image of 6×5"),
        (nn.Crop(5), (6, 5), "may not show an image of 6×5"),
        (nn.Jitter(saturation=0.5), (6, 5), "`saturation` needs images with three channels"),
        (nn.Jitter(hue=0.5), (1, 6, 5), "`hue` needs images with three channels"),
        (nn.Rotate(5), (30,), "`rotate` expects images"),
    ],
)
def test_images_that_do_not_suit_are_refused(augmentation: Augmentation, shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        augmentation.fit(shape)


def test_a_jitter_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="changes nothing"):
        nn.Jitter()
