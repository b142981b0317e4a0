"""Ids of a text on their way into a network, and what the checker says of layers that look them up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_spec import spec

import nnspec
from nnspec import engine as nn
from nnspec.data.source import DataError, Dataset, Facts, Split
from nnspec.diagnostics import Diagnostic

TEXT = "abcd\n" * 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


def check(
    folder: Path, model: str, train: str = "epochs = 1", data: str = 'Text("text.txt", context=8)'
) -> list[Diagnostic]:
    path = folder / "text.nn"
    path.write_text(spec(model, data=data, train=train), encoding="utf-8")
    return list(nnspec.check(path).diagnostics)


def layers(folder: Path, model: str) -> list[dict[str, tuple[int, ...]]]:
    assert check(folder, model) == []
    compiled = nnspec.check(folder / "text.nn").compiled
    assert compiled is not None
    (lane,) = compiled.program.lanes
    return [dict(node.geometry.parameters) for node in lane.layers]


def test_the_vocabulary_follows_from_the_data(folder: Path) -> None:
    assert layers(folder, "Embedding(6); Linear(5)")[0] == {"weight": (5, 6)}


def test_a_larger_vocabulary_may_be_given(folder: Path) -> None:
    assert layers(folder, "Embedding(9, 6); Linear(5)")[0] == {"weight": (9, 6)}


def test_a_smaller_vocabulary_is_an_error(folder: Path) -> None:
    (finding,) = check(folder, "Embedding(4, 6); Linear(5)")
    assert finding.code == "NN401"
    assert finding.message == "this Embedding has 4 ids, but the data has 5"
    assert finding.span.text == "4"
    assert finding.help == "omit `num_embeddings`: it is inferred from the data"


def test_branches_at_the_head_may_each_look_up(folder: Path) -> None:
    (both, _) = layers(folder, "add { a { Embedding(6) } b { Embedding(6); PositionalEmbedding } }; Linear(5)")
    assert both == {
        "a.Embedding1.weight": (5, 6),
        "b.Embedding1.weight": (5, 6),
        "b.PositionalEmbedding1.weight": (8, 6),
    }


@pytest.mark.parametrize("model", ["Linear(8); Embedding(6); Linear(5)", "ReLU; Embedding(6); Linear(5)"])
def test_activations_cannot_be_token_ids(folder: Path, model: str) -> None:
    finding, *_ = check(folder, model)
    assert finding.code == "NN401"
    first = model.partition(";")[0].partition("(")[0]
    assert finding.message == f"{first} expects real-valued input but got ids from 0 to 4"
    assert finding.help == "add `Embedding(16)` before it"


def test_measurements_cannot_be_token_ids(folder: Path) -> None:
    for model in ("Embedding(6); Flatten; Linear(10)", "Embedding(300, 6); Flatten; Linear(10)"):
        finding, *_ = check(folder, model, data="Digits(train=50, test=20)")
        assert finding.message == "Embedding expects ids but got numbers"
        assert "`NPZ(…, ids=1000)`" in finding.help


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("Embedding(8); LSTM(4, return_sequences=false); Embedding(6)", "Embedding expects ids but got numbers"),
        ("Embedding(6); MultiHeadAttention(4); Linear(5)", "4 heads do not share a width of 6 evenly"),
        ("Embedding(6); MultiHeadAttention(8, 2); Linear(5)", "this MultiHeadAttention expects 8 features but got 6"),
        ("MultiHeadAttention(2); Linear(5)", "MultiHeadAttention expects real-valued input but got ids from 0 to 4"),
        ("PositionalEmbedding; Linear(5)", "PositionalEmbedding expects real-valued input but got ids from 0 to 4"),
        (
            "Embedding(6); PositionalEmbedding(9, 6); Linear(5)",
            "this PositionalEmbedding expects 9 positions but got 8",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_reported(folder: Path, model: str, message: str) -> None:
    finding, *_ = check(folder, model)
    assert finding.code == "NN401"
    assert message in finding.message


@pytest.mark.parametrize("wrong", [-1.0, 5.0, 4.6, float("nan"), float("inf")])
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_an_id_that_is_none_is_refused(wrong: float) -> None:
    layer = nn.Embedding(5, 2)
    with pytest.raises(ValueError, match="ids from 0 to 4"):
        layer.forward(np.array([[0.0, wrong]]), out=np.empty((1, 2, 2)))
    with pytest.raises(RuntimeError, match="forward"):
        layer.backward(np.ones((1, 2, 2)))


def test_ids_of_any_dtype_are_the_same() -> None:
    layer = nn.Embedding(300, 2)
    ids = np.array([[0, 299, 7]])
    for dtype in (np.uint16, np.int64, np.float32, np.float64):
        np.testing.assert_array_equal(layer.forward(ids.astype(dtype)), layer.weight.data[ids])


def test_ids_of_the_largest_vocabulary_are_exact_in_float32() -> None:
    arguments = {"num_embeddings": 2**24, "embedding_dim": 1}
    assert nn.Embedding.geometry((3,), arguments).parameters["weight"] == (2**24, 1)
    assert np.float32(2**24 - 1) != np.float32(2**24 - 2)
    with pytest.raises(nn.ShapeError, match="at most 16,777,216"):
        nn.Embedding.geometry((3,), arguments | {"num_embeddings": 2**24 + 1})


@pytest.mark.parametrize("vocabulary", [256, 257])
def test_gradients_add_up_at_each_id(vocabulary: int) -> None:
    """On both sides of where the way of doing it changes."""
    rng = np.random.default_rng(0)
    ids, grad = rng.integers(0, vocabulary, (7, 50)), rng.standard_normal((7, 50, 3))
    layer = nn.Embedding(vocabulary, 3)
    layer.forward(ids)
    layer.backward(grad)
    expected = np.zeros((vocabulary, 3))
    for i, g in zip(ids.reshape(-1), grad.reshape(-1, 3), strict=True):
        expected[i] += g
    np.testing.assert_allclose(layer.weight.grad, expected, rtol=1e-12, atol=1e-12)


def test_data_with_ids_beyond_its_vocabulary_is_refused() -> None:
    good, bad = (Split(np.array([[0, n]]), np.array([0])) for n in (2, 3))
    facts = Facts((2,), 2, 1, 1, tokens=3)
    Dataset("Text", facts, good, good, 1.0, "", "")
    with pytest.raises(DataError, match="ids run from 0 to 3, and 3 of them go from 0 to 2"):
        Dataset("Text", facts, good, bad, 1.0, "", "")


def test_no_place_sees_what_comes_later() -> None:
    layer = nn.MultiHeadAttention(4, 2, causal=True, rng=np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((2, 6, 4))
    before = layer.forward(x).copy()
    x[:, 3:] += 1
    np.testing.assert_array_equal(layer.forward(x)[:, :3], before[:, :3])
    grad = np.zeros((2, 6, 4))
    grad[:, 2] = 1
    passed = layer.backward(grad)
    assert passed is not None
    assert not passed[:, 3:].any()
    assert passed[:, :3].all()


@pytest.mark.parametrize("causal", [False, True])
def test_scores_of_any_size_give_finite_numbers(causal: bool) -> None:
    """Where exp would overflow, and where it would not but a sum of it might."""
    x = np.random.default_rng(1).standard_normal((2, 5, 4))
    for dtype in ("float32", "float64"):
        for scale in (1.0, 10.0, 100.0, 1e4):
            layer = nn.MultiHeadAttention(4, 2, causal=causal, dtype=dtype, rng=np.random.default_rng(0))
            y = layer.forward((x * scale).astype(dtype))
            passed = layer.backward(np.ones_like(y))
            assert passed is not None
            assert np.isfinite(y).all()
            assert np.isfinite(passed).all()


def test_both_ways_of_taking_exponentials_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    from nnspec.engine.layers import attention

    x, results = np.random.default_rng(1).standard_normal((2, 5, 4)), []
    for bound in (30.0, -1.0):
        monkeypatch.setattr(attention, "UNSHIFTED", bound)
        layer = nn.MultiHeadAttention(4, 2, causal=True, rng=np.random.default_rng(0))
        results.append((layer.forward(x), layer.backward(np.ones_like(x)), layer.qkv_weight.grad))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)
