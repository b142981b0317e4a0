"""Synthetic data has the spectrum, tails and frequencies that it is asked for, and the same bytes everywhere."""

import hashlib
import math

import numpy as np
import pytest
from tiny_spec import run, spec

from nnspec.data import synthetic, toy
from nnspec.data.source import Access
from nnspec.data.synthetic import Adding, BagOfWords, LeastSquares
from nnspec.data.toy import Blobs

# What is drawn, and the digest of it: equal on every machine, or something rounds in two ways.
PINNED = [
    (LeastSquares(), "68471506"),
    (LeastSquares(50, 20, features=7, condition=1000, rotate=False, noise=1, df=2, seed=3), "c0e40e83"),
    (BagOfWords(), "36d5eb4b"),
    (BagOfWords(50, 20, vocabulary=200, length=5, zipf=1.3, noise=0.5, seed=3), "0099168b"),
    (Adding(), "97dca26b"),
    (Adding(50, 20, length=7, noise=0.1, seed=3), "72edd471"),
    (Blobs(zipf=1.0), "9e139785"),
]
SOURCES = [source for source, _ in PINNED]
MANY = 20_000


def load(source):
    return source.load(Access())


def numbers(split):
    return split.x.astype(np.float64), split.y.astype(np.float64)


def kolmogorov(values, cdf):
    """Return the largest gap between a sample and a distribution; a true one exceeds 2.7 / √n with p ≈ 1e-6."""
    ranks = cdf(np.sort(values))
    steps = np.arange(len(ranks) + 1) / len(ranks)
    return max(abs(ranks - steps[1:]).max(), abs(ranks - steps[:-1]).max())


def test_every_source_here_is_tested():
    assert {type(source) for source in SOURCES} - {Blobs} == {getattr(synthetic, name) for name in synthetic.__all__}


@pytest.mark.parametrize(("source", "digest"), PINNED)
def test_bytes_are_pinned(source, digest):
    data = load(source)
    assert data.sha256.startswith(digest)
    held = (data.train.x, data.train.y, data.test.x, data.test.y)
    assert data.sha256 == hashlib.sha256(b"".join(array.tobytes() for array in held)).hexdigest()


@pytest.mark.parametrize("source", SOURCES)
def test_facts_are_those_of_the_data(source):
    data, facts = load(source), source.facts()
    assert data.facts == facts
    assert (data.train.x.shape, data.test.x.shape) == ((facts.train, facts.features), (facts.test, facts.features))
    assert data.train.x.dtype == np.dtype(facts.stored)
    assert data.train.y.dtype == (np.float32 if facts.classes is None else np.uint8)


@pytest.mark.parametrize("source", SOURCES)
def test_a_smaller_set_is_the_beginning_of_a_larger_one(source, monkeypatch):
    whole = load(source)
    monkeypatch.setattr(toy, "CHUNK", 64)
    part = load(type(source)(**source.arguments() | {"train": 31, "test": 5}))
    for split, larger in ((part.train, whole.train), (part.test, whole.test)):
        np.testing.assert_array_equal(split.x, larger.x[: len(split.x)])
        np.testing.assert_array_equal(split.y, larger.y[: len(split.y)])


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("features", [1, 2, 9])
def test_the_covariance_has_the_eigenvalues_and_y_is_linear_in_x(features, rotate):
    x, y = numbers(load(LeastSquares(MANY, 1, features=features, condition=100, rotate=rotate, noise=0)).train)
    covariance = x.T @ x / len(x)
    wanted = 100.0 ** (-np.arange(features) / max(features - 1, 1))
    index = np.arange(features)
    turns = 2 * math.pi * np.outer(index, index) / features
    q = (np.cos(turns) + np.sin(turns)) / math.sqrt(features) if rotate else np.eye(features)
    seen = q.T @ covariance @ q
    deviations = np.sqrt(wanted)
    np.testing.assert_allclose(seen / np.outer(deviations, deviations), np.eye(features), atol=6 * math.sqrt(2 / MANY))
    weights, *_ = np.linalg.lstsq(x, y, rcond=None)
    assert np.mean((x @ weights - y) ** 2) < 4e-11 * 100
    signs = LeastSquares(features=features).signs()
    np.testing.assert_allclose(q.T @ weights * deviations * math.sqrt(features), signs, atol=1e-3)
    assert abs(y.var() - 1) < 6 * math.sqrt(2 / MANY)


def test_the_hartley_transform_is_orthogonal_and_mixes_all_coordinates():
    for size in (1, 3, 16, 100):
        q = synthetic.hartley(size) / toy.ONE
        np.testing.assert_allclose(q @ q, np.eye(size), atol=1e-7)
        np.testing.assert_array_equal(q, q.T)
    x, _ = numbers(load(LeastSquares(5000, 1, features=16, condition=1e4)).train)
    covariance = x.T @ x / len(x)
    scale = 1 / np.sqrt(np.diag(covariance))
    assert np.linalg.cond(scale[:, None] * covariance * scale) > 5e3  # whatever each coordinate is multiplied by


def test_gradient_descent_takes_as_long_as_the_docstring_says():
    steps, rate = 20, 0.5
    text = spec(
        "Linear(1, bias=false, init=zeros)",
        data="LeastSquares(train=20000, test=0, features=8, condition=50, noise=0)",
        loss="MSE",
        optimizer=f"SGD(lr={rate})",
        train=f"steps = {steps}; batch = 20000",
    )
    (lane,) = run(text).values()
    values = 50.0 ** (-np.arange(8) / 7)
    wanted = np.mean((1 - 2 * rate * values) ** (2 * np.arange(steps)[:, None]), axis=1)
    np.testing.assert_allclose(lane.history["loss"][-1], wanted[-1], rtol=0.1)


def normal_cdf(values):
    return np.array([math.erfc(-value / math.sqrt(2)) / 2 for value in values])


CDFS = {  # Student's t with 1, 2 and 3 degrees of freedom, in closed form
    1: lambda t: 0.5 + np.arctan(t) / math.pi,
    2: lambda t: 0.5 + t / (2 * np.sqrt(2 + t * t)),
    3: lambda t: 0.5 + (np.arctan(t / math.sqrt(3)) + math.sqrt(3) * t / (3 + t * t)) / math.pi,
    None: normal_cdf,
}


@pytest.mark.parametrize("df", CDFS)
def test_noise_has_the_distribution_that_is_asked_for(df):
    still, moved = (load(LeastSquares(MANY, 1, features=2, noise=noise, df=df)).train for noise in (0, 0.5))
    np.testing.assert_array_equal(still.x, moved.x)
    noise = (moved.y.astype(np.float64) - still.y) / 0.5
    assert kolmogorov(noise, CDFS[df]) < 2.7 / math.sqrt(MANY)
    others = [kolmogorov(noise, cdf) for other, cdf in CDFS.items() if other != df]
    assert min(others) > 2.7 / math.sqrt(MANY)


@pytest.mark.parametrize("zipf", [0.0, 1.0, 1.5])
def test_words_have_the_frequencies_of_zipf(zipf):
    data = load(BagOfWords(MANY // 5, 1, vocabulary=500, length=10, zipf=zipf))
    chances = np.arange(1, 501) ** -zipf
    chances /= chances.sum()
    counts = np.bincount(data.train.x.ravel(), minlength=500)
    expected = chances * data.train.x.size
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_square - 499) < 5 * math.sqrt(2 * 499) + 0.5 * (1 / expected).sum()
    balance = data.train.y.mean()
    assert 0.4 < balance < 0.6


def test_the_class_of_a_bag_is_the_sign_of_its_worth():
    source = BagOfWords(2000, 1, vocabulary=300, length=9)
    data, worths = load(source), source.worths() / toy.UNIT
    np.testing.assert_array_equal(data.train.y, worths[data.train.x].sum(axis=1) > 0)
    assert abs(worths.std() - 1) < 0.2
    noisy = load(BagOfWords(2000, 1, vocabulary=300, length=9, noise=1.0))
    np.testing.assert_array_equal(noisy.train.x, data.train.x)
    share = (noisy.train.y != data.train.y).mean()
    spread = worths[data.train.x].sum(axis=1).std() / 3
    assert abs(share - math.atan(1 / spread) / math.pi) < 0.05  # of two correlated normal numbers


def test_classes_have_the_frequencies_of_zipf():
    data = load(Blobs(MANY, 1, classes=4, zipf=1.0))
    expected = np.array([12, 6, 4, 3]) / 25 * MANY
    assert ((np.bincount(data.train.y) - expected) ** 2 / expected).sum() < 30
    centres = Blobs(classes=4, zipf=1.0).centres() / toy.UNIT
    for label in range(4):
        cloud = data.train.x[data.train.y == label].astype(np.float64)
        assert abs(cloud.mean(axis=0) - centres[label]).max() < 5 / math.sqrt(len(cloud))


@pytest.mark.parametrize("length", [2, 7, 20])
def test_the_target_is_the_sum_of_the_two_marked_values(length):
    data = load(Adding(4000, 1, length=length))
    x, y = numbers(data.train)
    values, marks = x[:, 0::2], x[:, 1::2]
    assert ((values >= 0) & (values < 1)).all()
    assert set(np.unique(marks)) <= {0.0, 1.0}
    half = length // 2
    np.testing.assert_array_equal(marks[:, :half].sum(axis=1), 1)
    np.testing.assert_array_equal(marks[:, half:].sum(axis=1), 1)
    for part in (marks[:, :half], marks[:, half:]):
        expected = 4000 / part.shape[1]
        assert ((part.sum(axis=0) - expected) ** 2 / expected).sum() < part.shape[1] + 5 * math.sqrt(2 * length) + 5
    np.testing.assert_allclose((values * marks).sum(axis=1), y, rtol=0, atol=1e-7)
    assert abs(np.mean((y - 1) ** 2) - 1 / 6) < 0.02
    noisy = load(Adding(4000, 1, length=length, noise=0.2)).train.y - y
    assert abs(noisy.std() - 0.2) < 0.02


@pytest.mark.parametrize(
    ("source", "arguments"),
    [
        (LeastSquares, {"condition": 0.5}),
        (LeastSquares, {"condition": 1e7}),
        (LeastSquares, {"df": 0}),
        (LeastSquares, {"noise": -1.0}),
        (BagOfWords, {"vocabulary": 1}),
        (BagOfWords, {"vocabulary": 65_537}),
        (BagOfWords, {"zipf": -0.5}),
        (Adding, {"length": 1}),
        (Blobs, {"zipf": 5.0}),
    ],
)
def test_impossible_arguments_are_refused(source, arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        source(**arguments)


def test_the_largest_arguments_stay_in_range():
    data = load(LeastSquares(20, 1, features=1000, condition=1e6, noise=10.0, df=1))
    assert np.isfinite(data.train.y).all()
    assert abs(data.train.x).max() < 10
    rare = load(BagOfWords(20, 1, vocabulary=65_536, length=100, zipf=0.0))
    assert rare.train.x.max() > 60_000


@pytest.mark.parametrize(
    ("source", "model", "loss"),
    [
        ("LeastSquares(train=300, test=100)", "Linear(1)", "MSE"),
        ("BagOfWords(train=300, test=100, vocabulary=50)", "Embedding(4); GlobalAvgPool; Linear(2)", "CrossEntropy"),
        ("Adding(train=300, test=100, length=4)", "RNN(8, return_sequences=false); Linear(1)", "MSE"),
        ("Blobs(train=300, test=100, zipf=1)", "Linear(data.classes)", "CrossEntropy"),
    ],
)
def test_a_spec_trains_on_it(source, model, loss):
    text = spec(
        model,
        data=source,
        loss=loss,
        optimizer="Adam(lr=0.02)",
        train="epochs = 10; batch = 16; validation = 0.1",
        expect="gradient_error < 1e-7",
    )
    result = run(text)
    (lane,) = result.values()
    assert result.exit_code == 0
    assert lane.history["loss"][-1] < 0.6 * lane.history["loss"][0]
