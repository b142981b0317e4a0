"""Toy data: the same bytes everywhere, each sample on its own, and the distribution that the docstring promises."""

import ast
import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
from tiny_spec import run, spec

from nnspec.data import toy
from nnspec.data.source import Access
from nnspec.data.toy import XOR, Blobs, Circles, Moons, Sine, Spirals

# Source -> the digest of what it draws by default: equal on every machine, or the drawing is not done in integers.
PINNED = {
    Blobs: "8e6fa42c",
    XOR: "e543b0b0",
    Circles: "db11e721",
    Moons: "92985a22",
    Spirals: "c97550d1",
    Sine: "8c6faabb",
}
SOURCES = list(PINNED)
POINTS = [source for source in SOURCES if source is not Sine]
MANY = 20_000


def load(source, *args, **kwargs):
    return source(*args, **kwargs).load(Access())


def arrays(data):
    return {"train.x": data.train.x, "train.y": data.train.y, "test.x": data.test.x, "test.y": data.test.y}


def test_every_source_here_is_tested():
    assert {getattr(toy, name) for name in toy.__all__} == set(SOURCES)


@pytest.mark.parametrize("source", SOURCES)
class TestEverySource:
    def test_bytes_are_pinned(self, source):
        data = load(source)
        assert data.sha256.startswith(PINNED[source])
        assert data.sha256 == hashlib.sha256(b"".join(a.tobytes() for a in arrays(data).values())).hexdigest()

    def test_shapes_types_and_facts(self, source):
        data = load(source, 70, 30)
        facts = source(70, 30).facts()
        assert data.facts == facts
        assert data.train.x.shape == (70, *facts.shape)
        assert data.test.x.shape == (30, *facts.shape)
        assert (data.train.y.shape, data.test.y.shape) == ((70,), (30,))
        assert data.train.x.dtype == np.dtype(facts.stored) == np.float32
        assert data.train.y.dtype == (np.float32 if facts.classes is None else np.uint8)
        assert all(np.isfinite(array).all() for array in arrays(data).values())
        assert (data.source, data.divisor, data.origin) == (source.spec_name, 1, "drawn by nnspec, seed 0")

    @pytest.mark.parametrize("count", [1, 299])
    def test_a_smaller_set_is_the_beginning_of_a_larger_one(self, source, count, monkeypatch):
        whole = load(source, 300, 300)
        monkeypatch.setattr(toy, "CHUNK", 64)
        for name, data in arrays(load(source, count, count)).items():
            np.testing.assert_array_equal(data, arrays(whole)[name][:count])

    def test_train_and_test_and_seeds_differ(self, source):
        data, other = load(source, 200, 200), load(source, 200, 200, seed=1)
        seen = {tuple(row) for row in data.train.x.tolist()}
        assert len(seen) > 195
        assert len(seen & {tuple(row) for row in data.test.x.tolist()}) < 5
        assert len(seen & {tuple(row) for row in other.train.x.tolist()}) < 5
        assert data.sha256 != other.sha256

    def test_numbers_are_whole_in_their_unit_and_noise_moves_them(self, source):
        still, moved = load(source, 100, 100, noise=0), load(source, 100, 100, noise=0.5)
        for data in (still, moved):
            for array in (data.train.x, data.train.y):
                units = array.astype(np.float64) * toy.UNIT
                assert (units == np.round(units)).all()
        assert still.sha256 != moved.sha256

    def test_noise_has_the_deviation_that_is_asked_for(self, source):
        still, moved = load(source, MANY, 1, noise=0), load(source, MANY, 1, noise=0.25)
        strayed = (moved.train.y - still.train.y)[:, None] if source is Sine else moved.train.x - still.train.x
        spread = strayed.astype(np.float64).std(axis=0)
        np.testing.assert_allclose(spread, 0.25, rtol=4 / math.sqrt(2 * MANY))
        assert (abs(strayed.mean(axis=0)) < 4 * 0.25 / math.sqrt(MANY)).all()
        fourth = (strayed.astype(np.float64) ** 4).mean(axis=0) / spread**4
        assert (abs(fourth - 2.9) < 0.2).all()  # of a normal number 3, of a sum of twelve uniform ones 2.9

    def test_impossible_arguments_are_refused(self, source):
        for arguments in ({"train": 0}, {"test": -1}, {"seed": -1}, {"noise": -0.1}, {"noise": math.inf}):
            with pytest.raises(ValueError, match=next(iter(arguments))):
                source(**arguments)


@pytest.mark.parametrize("source", POINTS)
def test_classes_take_turns(source):
    labels = load(source, 100, 100).train.y
    classes = source().facts().classes
    np.testing.assert_array_equal(labels, np.arange(100) % classes)


@pytest.mark.parametrize("source", POINTS)
def test_classes_can_be_learned_by_their_neighbours_and_not_by_a_line(source):
    data = load(source, 1000, 500)
    x = data.test.x.astype(np.float64)
    near = ((x[:, None] - data.train.x) ** 2).sum(axis=2).argmin(axis=1)
    assert (data.train.y[near] == data.test.y).mean() > 0.9
    if source is not Blobs:
        rows = np.column_stack([data.train.x, np.ones(1000)])
        line = np.linalg.lstsq(rows, np.eye(data.facts.classes)[data.train.y], rcond=None)[0]
        guess = (np.column_stack([x, np.ones(500)]) @ line).argmax(axis=1)
        assert (guess == data.test.y).mean() < 0.92


# Where the points lie


def polar(points):
    return np.hypot(*points.T), np.arctan2(points[:, 1], points[:, 0])


def even(values, low, high):
    """Whether numbers lie evenly in an interval, by the largest gap of their distribution (Kolmogorov, p ≈ 1e-6)."""
    ranks = (np.sort(values.astype(np.float64)) - low) / (high - low)
    steps = np.arange(len(ranks) + 1) / len(ranks)
    gap = max(abs(ranks - steps[1:]).max(), abs(ranks - steps[:-1]).max())
    return gap < 2.7 / math.sqrt(len(ranks))


def test_circles():
    data = load(Circles, MANY, 1, noise=0, factor=0.3)
    radius, angle = polar(data.train.x.astype(np.float64))
    for label, wanted in ((0, 1), (1, 0.3)):
        chosen = data.train.y == label
        assert abs(radius[chosen] - wanted).max() < 2e-5
        assert even(angle[chosen], -math.pi, math.pi)


def test_moons():
    data = load(Moons, MANY, 1, noise=0)
    points, labels = data.train.x.astype(np.float64), data.train.y
    upper = points[labels == 0]
    lower = np.array([1, 0.5]) - points[labels == 1]
    for half in (upper, lower):
        radius, angle = polar(half)
        assert abs(radius - 1).max() < 2e-5
        assert half[:, 1].min() > -2e-5
        assert even(angle, 0, math.pi)


def test_spirals():
    data = load(Spirals, MANY, 1, noise=0, classes=4, turns=1.5)
    radius, angle = polar(data.train.x.astype(np.float64))
    along = (radius - 0.1) / 0.9
    assert even(along, 0, 1)
    wanted = 2 * math.pi * (1.5 * along + data.train.y / 4)
    off = (angle - wanted + math.pi) % (2 * math.pi) - math.pi
    assert (abs(off) * radius).max() < 3e-4


def test_xor():
    data = load(XOR, MANY, 1, noise=0)
    x, y = data.train.x.T
    np.testing.assert_array_equal(data.train.y, (x > 0) != (y > 0))
    assert even(x, -1, 1)
    assert even(y, -1, 1)


def test_blobs():
    source = Blobs(MANY, 1, classes=5, features=3, noise=0.5, seed=2)
    data, centres = source.load(Access()), source.centres() / toy.UNIT
    assert centres.shape == (5, 3)
    assert abs(centres).max() <= 10
    for label in range(5):
        cloud = data.train.x[data.train.y == label].astype(np.float64)
        assert abs(cloud.mean(axis=0) - centres[label]).max() < 5 * 0.5 / math.sqrt(len(cloud))
        together = np.cov(cloud.T)
        assert abs(together - 0.25 * np.eye(3)).max() < 0.25 * 6 / math.sqrt(len(cloud))
    many = Blobs(1, 1, classes=100, features=100).centres() / toy.UNIT
    assert even(many.ravel(), -10, 10)


def test_sine():
    data = load(Sine, MANY, 1, noise=0, frequency=2.5)
    x, y = data.train.x[:, 0].astype(np.float64), data.train.y
    assert even(x, -1, 1)
    assert abs(y - np.sin(2 * math.pi * 2.5 * x)).max() < 1.6e-5
    assert data.facts.classes is None
    assert data.facts.target == ()


def test_the_sine_of_integers_is_that_of_numbers():
    angles = np.concatenate([np.arange(-toy.TURN, 2 * toy.TURN, 99991), np.arange(-8, 9) * toy.TURN // 8])
    found = toy.sine(angles) / toy.ONE
    assert abs(found - np.sin(angles * (2 * math.pi / toy.TURN))).max() < 1e-8
    far = np.array([100 * toy.UNIT**2, -100 * toy.UNIT**2])
    np.testing.assert_array_equal(toy.sine(far), toy.sine(far % toy.TURN))


def test_the_largest_arguments_stay_in_range():
    for source, arguments in ((Spirals, {"turns": 100.0}), (Sine, {"frequency": 100.0}), (Blobs, {})):
        data = load(source, 1000, 1, noise=10, **arguments)
        assert abs(data.train.x).max() < 256  # where float32 holds every unit
        assert abs(data.train.y.astype(np.float64)).max() < 256


def test_drawing_has_no_floats():
    """All arithmetic is on integers, but for the division by the unit that puts a position into its float32."""
    for node in ast.walk(ast.parse(Path(toy.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, (ast.BinOp, ast.AugAssign)):
            assert not isinstance(node.op, ast.Div), f"line {node.lineno}"
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        assert name not in {"mean", "sqrt", "hypot", "linspace", "true_divide", "sin", "cos", "exp", "average"}


# In a spec


@pytest.mark.parametrize("source", SOURCES)
def test_a_spec_trains_on_it(source):
    regression = source is Sine
    data = f"{source.spec_name}(train=300, test=100)"
    model = f"Linear(24); ReLU; Linear(24); ReLU; Linear({1 if regression else 'data.classes'})"
    text = spec(
        model,
        data=data,
        loss="MSE" if regression else "CrossEntropy",
        optimizer="Adam(lr=0.01)",
        train="epochs = 30; batch = 16; validation = 0.1",
        expect="gradient_error < 1e-7",
    )
    result = run(text)
    (lane,) = result.values()
    assert lane.status == "done"
    assert result.exit_code == 0
    assert lane.history["loss"][-1] < 0.6 * lane.history["loss"][0]
    assert ("accuracy" in lane.history) == (not regression)
