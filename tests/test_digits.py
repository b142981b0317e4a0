"""Digits: the same bytes everywhere, each sample on its own, and neither too easy nor too hard."""

import ast
import hashlib
from pathlib import Path

import numpy as np
import pytest

from nnspec.data import digit_strokes, digits
from nnspec.data.digits import Digits
from nnspec.data.source import Access


def load(*args, **kwargs):
    return Digits(*args, **kwargs).load(Access())


HONEST = digits._draw


@pytest.fixture(scope="module", autouse=True)
def _drawn_each_time():
    """Other tests draw the same digits once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits, "_draw", HONEST)
        yield


@pytest.fixture(scope="module")
def default():
    return load()


def test_bytes_are_pinned(default):
    assert default.sha256 == "9ed65d1c6c3d3ff7635ea4d7192224e0a016aa71cba25d0b215ed9b8dd53cbaf"
    assert {name: hashlib.sha256(data.tobytes()).hexdigest() for name, data in arrays(default).items()} == PINNED


def arrays(data):
    return {"train.x": data.train.x, "train.y": data.train.y, "test.x": data.test.x, "test.y": data.test.y}


PINNED = {
    "train.x": "cc1ed6886158477519f8b5e5b1a9de68e085d0d28f80e4b0c4431be289c552b2",
    "train.y": "54c1c31c871799c331be81d30f42568ccb7edec0706c7b7e62a1a7ec9ffaf194",
    "test.x": "c7138754506f816538901f44e59fe22985f19df256afc8439d615dea58ac15f3",
    "test.y": "2e27c311e9a96e5b61706028a1965f1cabe99ac79fcde87f702da46da059c11e",
}


def test_digest_is_of_all_bytes_in_order(default):
    assert default.sha256 == hashlib.sha256(b"".join(a.tobytes() for a in arrays(default).values())).hexdigest()


def test_shapes_types_and_facts(default):
    assert (default.train.x.shape, default.train.y.shape) == ((2000, 784), (2000,))
    assert (default.test.x.shape, default.test.y.shape) == ((500, 784), (500,))
    assert all(a.dtype == np.uint8 and a.flags.c_contiguous for a in arrays(default).values())
    assert default.facts == Digits().facts()
    assert (default.facts.shape, default.facts.classes) == ((28, 28), 10)
    assert (default.facts.train, default.facts.test) == (2000, 500)
    assert (default.source, default.divisor, default.origin) == ("Digits", 255.0, "drawn by nnspec, seed 0")


@pytest.mark.parametrize("count", [1, digits.CHUNK - 1, digits.CHUNK, digits.CHUNK + 1, 300])
def test_a_smaller_set_is_the_beginning_of_a_larger_one(default, count):
    small = load(count, count)
    for name, data in arrays(small).items():
        np.testing.assert_array_equal(data, arrays(default)[name][:count])


@pytest.mark.parametrize("count", [1, 16, 5000])
def test_its_beginning_is_the_same_samples_and_no_more(default, count):
    small = Digits(2000, 500).beginning(count).load(Access())
    assert len(small.train.y) == min(count, 2000)
    np.testing.assert_array_equal(small.train.x, default.train.x[:count])
    np.testing.assert_array_equal(small.train.y, default.train.y[:count])
    assert vars(Digits(3, 4, seed=7).beginning(2)) == vars(Digits(2, 1, seed=7))


def test_test_samples_are_not_training_samples(default):
    training = {image.tobytes() for image in default.train.x}
    assert len(training) == 2000
    assert not any(image.tobytes() in training for image in default.test.x)


def test_seeds_differ():
    zero, one = load(50, 50), load(50, 50, seed=1)
    assert zero.sha256 != one.sha256
    assert not any((a == b).all() for a, b in zip(zero.train.x, one.train.x, strict=True))
    assert one.origin == "drawn by nnspec, seed 1"


def test_large_seeds_are_drawn():
    assert load(5, 5, seed=2**100).sha256 != load(5, 5, seed=2**100 + 1).sha256


@pytest.mark.parametrize("arguments", [{"train": 0}, {"test": -1}, {"seed": -1}, {"train": 2.5}])
def test_impossible_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Digits(**arguments)


@pytest.mark.parametrize(("split", "count"), [("train", 2000), ("test", 500)])
def test_classes_are_roughly_balanced_and_shuffled(default, split, count):
    labels = getattr(default, split).y
    counts = np.bincount(labels, minlength=10)
    assert counts.size == 10
    assert counts.min() > 0.6 * count / 10
    assert counts.max() < 1.4 * count / 10
    assert set(labels[:100].tolist()) == set(range(10))


def test_no_image_is_blank_or_saturated(default):
    images = np.concatenate([default.train.x, default.test.x])
    assert images.max(axis=1).min() > 120
    inked = (images > 60).mean(axis=1)
    assert inked.min() > 0.02
    assert inked.max() < 0.5


def test_ink_keeps_to_the_middle(default):
    images = default.train.x.reshape(-1, 28, 28)
    border = np.ones((28, 28), dtype=bool)
    border[2:-2, 2:-2] = False
    assert images[:, border].sum() < 0.005 * images.sum()


def test_learnable_but_not_trivial(default):
    x, y = default.train.x.astype(np.float64), default.train.y
    means = np.stack([x[y == digit].mean(axis=0) for digit in range(10)])
    distances = ((default.test.x[:, None].astype(np.float64) - means) ** 2).sum(axis=2)
    accuracy = (distances.argmin(axis=1) == default.test.y).mean()
    assert 0.6 < accuracy < 0.9


@pytest.mark.parametrize("module", [digits, digit_strokes])
def test_drawing_has_no_floats(module):
    allowed = {255.0} if module is digits else set()  # the divisor that `load` states
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, (float, complex)):
            assert node.value in allowed, f"line {node.lineno}"
        if isinstance(node, (ast.BinOp, ast.AugAssign)):
            assert not isinstance(node.op, ast.Div), f"line {node.lineno}"
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        assert name not in {"mean", "sqrt", "hypot", "linspace", "true_divide", "divide", "sin", "cos", "average"}
        assert not name.startswith(("float", "complex", "double")), f"line {node.lineno}"


def test_integers_stay_integers_and_in_range(monkeypatch):
    seen = []
    distances = digits._distances

    def watched(x, y, traits):
        result = distances(x, y, traits)
        seen.extend([x, y, *traits.values()])
        assert result.dtype == np.int16
        assert result.min() >= 0  # nothing has gone round past 2**15
        return result

    monkeypatch.setattr(digits, "_distances", watched)
    load(200, 1)
    assert seen
    assert all(array.dtype == np.int64 for array in seen)
    assert max(np.abs(array).max() for array in seen) < 28 * digits.UNIT
    assert min(2**15, len(digits._roots())) > 2 * digits.REACH**2 + digits.THINNING_MAX


def test_roots_are_whole_parts_of_square_roots():
    roots = digits._roots().astype(np.int64)
    squares = np.arange(len(roots))
    assert (roots**2 <= squares).all()
    assert (squares < (roots + 1) ** 2).all()


@pytest.mark.parametrize("digit", range(10))
def test_every_digit_has_several_forms_whose_shares_make_100(digit):
    shares = [form.share for form in digit_strokes.FORMS if form.digit == digit]
    assert len(shares) > 1
    assert sum(shares) == 100


@pytest.mark.parametrize("form", digit_strokes.FORMS, ids=lambda form: f"{form.digit}-{form.share}")
def test_forms_stay_in_their_box_and_paths_begin_and_end_where_they_are_drawn(form):
    assert all(0 <= x <= digit_strokes.BOX and 0 <= y <= digit_strokes.BOX for x, y in form.points)
    path = form.path(digits.DOTS)
    assert len(path) == digits.DOTS
    assert all(sum(weights.values()) == digit_strokes.SCALE for weights in path)
    for weights, (x, y) in ((path[0], form.strokes[0][0]), (path[-1], form.strokes[-1][-1])):
        assert sum(w * p[0] for p, w in weights.items()) == x * digit_strokes.SCALE
        assert sum(w * p[1] for p, w in weights.items()) == y * digit_strokes.SCALE
