"""Padding within networks: what skips it, PyTorch's numbers, and networks for which it makes no difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import ALONE, compiled, run, spec

import nnspec
from nnspec import engine as nn
from nnspec.checker import check
from nnspec.diagnostics import Source
from nnspec.engine import PARTS
from nnspec.engine.layers.contract import Layer, ShapeError
from nnspec.runner.options import RunOptions

REFERENCE = json.loads((Path(__file__).parent / "oracle/padding.json").read_text(encoding="utf-8"))
IDS = np.array(REFERENCE["ids"], float)
REAL = IDS != 0
RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(1, 7, 40)
X = RNG.integers(1, 20, (40, 6)) * (np.arange(6) < LENGTHS[:, None])
Y = RNG.integers(0, 3, 40)


def layer_of(name: str, arguments: dict[str, Any], features: int = 0) -> Layer:
    sizes = {"MultiHeadAttention": "embed_dim", "LSTM": "in_features", "GRU": "in_features", "RNN": "in_features"}
    return PARTS["layer"][name](**({sizes[name]: features} if name in sizes else {}), **arguments)


@pytest.mark.parametrize(
    "case",
    REFERENCE["layers"],
    ids=lambda case: f"{case['layer']} {case['arguments']}",
)
def test_layers_that_skip_padding_agree_with_pytorch(case: dict[str, Any]) -> None:
    x = np.array(case["x"])
    layer = layer_of(case["layer"], case["arguments"], x.shape[-1]).masked("input", 0)
    for name, parameter in layer.parameters().items():
        parameter.data[...] = case["weights"][name]
    y, cotangent = layer(x, IDS), np.array(case["cotangent"])
    if case["arguments"].get("return_sequences"):  # what is at padded places is 0 there
        y = np.where(REAL[..., None], y, 0)
        cotangent = np.where(REAL[..., None], cotangent, 0)
    np.testing.assert_allclose(y, case["y"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer.backward(cotangent), case["x_grad"], rtol=1e-10, atol=1e-12)
    for name, parameter in layer.parameters().items():
        np.testing.assert_allclose(parameter.grad, case["grads"][name], rtol=1e-10, atol=1e-12)


def network(kind: str) -> nn.Sequential:
    layers: list[tuple[str, Layer]] = [("Embedding1", nn.Embedding(9, 4))]
    if kind == "MultiHeadAttention":
        layers += [(f"{kind}1", nn.MultiHeadAttention(4, 2).masked("input", 0))]
        layers += [("GlobalAvgPool1", nn.GlobalAvgPool().masked("input", 0))]
    elif kind == "LSTM":
        layers += [(f"{kind}1", nn.LSTM(4, 4, return_sequences=False).masked("input", 0))]
    found = nn.Sequential()
    for name, layer in [*layers, ("Linear1", nn.Linear(4, 3))]:
        found.add(layer, name)
    return found


@pytest.mark.parametrize(
    "case",
    REFERENCE["training"],
    ids=lambda case: case["kind"],
)
def test_training_agrees_with_pytorch_step_by_step(case: dict[str, Any]) -> None:
    model, loss = network(case["kind"]), nn.CrossEntropyLoss()
    model.load_state_dict({name: np.array(array) for name, array in case["start"].items()})
    labels = np.array(case["labels"])
    weights = REAL.astype(float) if labels.ndim > 1 else None
    for expected in case["losses"]:
        assert loss(model(IDS), labels, weights) == pytest.approx(expected, rel=1e-10)
        model.backward(loss.backward())
        for parameter in model.parameters():
            parameter.data -= 0.5 * parameter.grad
    for name, array in model.state_dict().items():
        np.testing.assert_allclose(array, case["end"][name], rtol=1e-10, atol=1e-12)


def test_samples_that_are_all_padding_give_finite_numbers() -> None:
    nothing = np.zeros((2, 5))
    x = RNG.normal(size=(2, 5, 4)) * 100
    for name, arguments in (("MultiHeadAttention", {"num_heads": 2}), ("GlobalAvgPool", {}), ("GlobalMaxPool", {})):
        layer = layer_of(name, arguments, 4).masked("input", 0)
        y = layer(x, nothing)
        assert np.isfinite(y).all()
        assert np.isfinite(np.asarray(layer.backward(np.ones_like(y)))).all()
        assert name != "GlobalAvgPool" or not y.any()


def test_large_scores_of_padding_get_no_weight() -> None:
    layer = layer_of("MultiHeadAttention", {"num_heads": 1}, 4).masked("input", 0)
    x = RNG.normal(size=(4, 5, 4))
    small = layer(x, IDS)
    x[~REAL] *= 1000
    np.testing.assert_allclose(layer(x, IDS)[REAL], small[REAL], rtol=1e-12)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_until_the_first_real_place_the_state_is_the_initial_one(kind: Any) -> None:
    layer = kind(4, 3, state="start").masked("input", 0)
    x, start = RNG.normal(size=(2, 5, 4)), RNG.normal(size=(2, 3 * len(layer.states)))
    ids = np.array([[0, 0, 1, 2, 0], [0, 0, 0, 0, 0]])
    weights = RNG.normal(size=(2, 5, 3))
    y = layer(x, start, ids)
    np.testing.assert_array_equal(y[0, 1], start[0, :3])
    _, passed = layer.backward(weights)
    for place in np.ndindex(start.shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = start.copy()
            moved[place] += step
            ends.append((layer(x, moved, ids) * weights).sum())
        assert passed[place] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-7)


def test_masks_that_do_not_fit() -> None:
    with pytest.raises(TypeError, match="Linear cannot skip padding"):
        nn.Linear(2, 2).masked("input", 0)
    layer = nn.MultiHeadAttention(4, 2).masked("input", 0)
    with pytest.raises(ShapeError, match="4 ids cannot mask a sequence of 5×4"):
        layer(np.zeros((1, 5, 4)), np.zeros((1, 4)))
    with pytest.raises(ValueError, match="MultiHeadAttention also reads 'input'"):
        layer(np.zeros((1, 5, 4)))


# Specs

MODELS = {
    "attention": "residual { LayerNorm; MultiHeadAttention(2) }; residual { Linear(4); GELU }; GlobalAvgPool",
    "positions": "PositionalEmbedding; MultiHeadAttention(2); Dropout(0.2); GlobalAvgPool",
    "lstm": "LSTM(3, return_sequences=false)",
    "both": "GRU(3, bidirectional=true); GlobalAvgPool",
    "maximum": "LayerNorm; GlobalMaxPool",
    "state": "first: GRU(3); GRU(3, state=first, return_sequences=false)",
    "deep": "RNN(3); LSTM(3); MultiHeadAttention(1); GRU(3, return_sequences=false)",
}


def saved(folder: Path, more: int = 0, before: int = 0) -> str:
    """Return a source of padded samples, with more places after and before them that are padding."""
    x = np.pad(X, [(0, 0), (before, more)])
    np.savez(folder / f"{more}{before}.npz", x=x, y=Y)
    return f'NPZ("{(folder / f"{more}{before}.npz").as_posix()}", ids=20, padding=0, shuffle=false)'


def text_of(model: str, data: str, **more: Any) -> str:
    train = more.pop("train", "epochs = 2; batch = 16; validation = 0.25")
    return spec(f"Embedding(4); {model}; Linear(3)", data=data, train=train, more="dtype = float64", **more)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "positions"])
def test_how_far_samples_are_padded_makes_no_difference(tmp_path: Path, name: str) -> None:
    found = []
    for more, before in ((0, 0), (3, 0), (0, 2)):
        found.append(run(text_of(MODELS[name], saved(tmp_path, more, before)))["run"].history)
    for other in found[1:]:
        for figure, values in found[0].items():
            np.testing.assert_allclose(other[figure], values, rtol=1e-9, err_msg=figure)


@pytest.mark.parametrize("name", MODELS)
def test_all_ways_of_training_have_the_same_bits_and_right_gradients(tmp_path: Path, name: str) -> None:
    text = text_of(MODELS[name], saved(tmp_path), race="SGD(lr=0.1); Adam(lr=0.01)")
    alone, stacked = run(text, ways=ALONE), run(text)
    for lane in alone:
        assert (alone[lane].history, alone[lane].trace) == (stacked[lane].history, stacked[lane].trace)
    if name != "positions":
        (verdict,) = run(text_of(MODELS[name], saved(tmp_path), expect="gradient_error < 1e-6")).verdicts
        assert verdict.held


def test_compiled_steps_have_the_same_bits(tmp_path: Path, kernels: Path) -> None:
    pytest.importorskip("numba", reason="compiled steps need Numba")
    text = text_of(MODELS["attention"], saved(tmp_path))
    numpy, replayed = run(text)["run"], run(text, ways=RunOptions(jobs=1, compiled="always"))["run"]
    assert (numpy.history, numpy.trace) == (replayed.history, replayed.trace)


def test_a_saved_network_predicts_and_verifies(tmp_path: Path) -> None:
    (tmp_path / "s.nn").write_text(text_of(MODELS["attention"], saved(tmp_path)), encoding="utf-8")
    result = nnspec.run(tmp_path / "s.nn", out=tmp_path / "run")["run"]
    predictor = nnspec.runs.load(tmp_path / "run")
    np.testing.assert_array_equal(predictor.outputs(X[:5]), result.predictor.outputs(X[:5]))
    one = X[:1].copy()
    assert np.isfinite(predictor.outputs(one)).all()
    assert nnspec.runs.verify(tmp_path / "run").same
    with pytest.raises(nnspec.SpecError, match="skips padding, which is not supported there yet"):
        nnspec.runs.export(tmp_path / "run", tmp_path / "out.onnx")


@pytest.mark.parametrize(
    ("model", "reported"),
    [
        ("GlobalAvgPool", []),
        ("Flatten", ["Flatten"]),
        ("Conv1D(4, 3, padding=same); GlobalAvgPool", ["Conv1D"]),  # after it, no place is known to be padding
        ("BatchNorm; LayerNorm; MultiHeadAttention(2); Flatten", ["BatchNorm"]),
        ("concat { a { GlobalAvgPool } b { Flatten } }", ["Flatten"]),
        ("residual { Conv1D(4, 3, padding=same) }; Flatten", ["Conv1D"]),
        ("concat { a { Linear(2) } b { LSTM(2) } }; Flatten", ["Flatten"]),
        ("LayerNorm([6, 4]); GlobalAvgPool", ["LayerNorm"]),
    ],
)
def test_layers_that_mix_padding_are_reported(tmp_path: Path, model: str, reported: list[str]) -> None:
    found = check(Source("s.nn", text_of(model, saved(tmp_path)))).diagnostics
    assert [each.message.split("`")[1] for each in found if each.code == "NN723"] == reported


@pytest.mark.parametrize(("inputs", "first"), [("", ""), ('inputs=["a", "b"], ', "from(a); ")])
def test_padding_is_known_before_there_is_data(inputs: str, first: str) -> None:
    data = f"Given({inputs}features={'[5, 5]' if inputs else 5}, ids=9, padding=0, classes=2)"
    second = "concat { x { }; y { from(b); Embedding(4); GlobalAvgPool } }; " if inputs else ""
    text = spec(f"{first}Embedding(4); Flatten; {second}Linear(2)", data=data)
    assert [each.code for each in check(Source("s.nn", text)).diagnostics] == ["NN723"]


def test_named_inputs_have_masks_of_their_own(tmp_path: Path) -> None:
    rows = "text,age,kind\n" + "".join(
        f'"{"a b c d e f"[: 1 + 2 * (i % 4)]}",{i % 7},{"xy"[i % 2]}\n' for i in range(40)
    )
    (tmp_path / "t.csv").write_text(rows, encoding="utf-8")
    model = "concat { a { from(numbers) } b { from(text); Embedding(3); GlobalAvgPool } }; Linear(2)"
    histories = []
    for length in (4, 7):
        data = f'CSV("{(tmp_path / "t.csv").as_posix()}", target="kind", words="text", length={length})'
        text = spec(model, data=data, train="epochs = 2; batch = 8; standardise = true", more="dtype = float64")
        (lane,) = compiled(text).program.lanes
        assert not [each for each in check(Source("s.nn", text)).diagnostics if each.code == "NN723"]
        pool = next(node for layer in lane.layers for node in layer.walk() if node.value.name == "GlobalAvgPool")
        assert pool.reads == (pool.mask.ids,) == ("concat1.b.from1",)
        histories.append(run(text)["run"].history["loss"])
    np.testing.assert_allclose(*histories, rtol=1e-12)
