"""Axes have names: what each layer does to features, to sequences (places × features) and to images (channels × rows ×
columns), in specs, with parameter counts by hand and numbers by PyTorch."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from tiny_idx import NAMES, idx_bytes
from tiny_plan import make_plan, train
from tiny_spec import OFFLINE, ROOT, compiled, spec

import nnspec
from nnspec import runs
from nnspec.api import check_text
from nnspec.compiler.plan import Plan, build_network
from nnspec.data.predict_inputs import read_inputs
from nnspec.data.source import Facts
from nnspec.diagnostics import Source
from nnspec.engine import PARTS
from nnspec.engine.layers.contract import Layer
from nnspec.view.terminal.structure import print_structure

pytestmark = pytest.mark.usefixtures("undrawn")

CASES = json.loads((ROOT / "tests" / "oracle" / "axes.json").read_text(encoding="utf-8"))["cases"]
CHANNELS, ROWS, COLUMNS = 3, 8, 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of every kind: what a sample is, in the name of its file."""
    found = tmp_path_factory.mktemp("axes")
    rng = np.random.default_rng(0)
    shapes = {"features": (12,), "sequence": (120, 7), "short": (6, 3), "image": (CHANNELS, ROWS, COLUMNS)}
    for name, shape in shapes.items():
        np.savez(found / f"{name}.npz", x=rng.standard_normal((20, *shape)), y=np.arange(20) % 4)
    np.savez(found / "grey.npz", x=rng.integers(0, 256, (20, ROWS, COLUMNS)).astype(np.uint8), y=np.arange(20) % 4)
    labels = rng.integers(0, 4, (20, ROWS, COLUMNS))
    np.savez(found / "pixels.npz", x=np.eye(4)[labels].transpose(0, 3, 1, 2) + 0.1, y=labels)
    np.savez(found / "places.npz", x=rng.standard_normal((20, 6, 3)), y=rng.integers(0, 4, (20, 6)))
    (found / "poem.txt").write_text("abcdeabdec" * 30, encoding="utf-8")
    return found


def data(folder: Path, name: str) -> str:
    if name == "text":
        return f'Text("{(folder / "poem.txt").as_posix()}", context=6)'
    return f'NPZ("{(folder / name).as_posix()}.npz")'


def checked(text: str) -> Any:
    return check_text(Source("tiny.nn", text), [])


def shapes(text: str) -> list[tuple[int, ...]]:
    layers = compiled(text).layouts["run"].layers
    return [layers[0].node.incoming, *(layer.node.geometry.out for layer in layers)]


def plan_of(text: str) -> Plan:
    """A plan with the data that the spec names."""
    return make_plan(text, compiled(text).program.lanes[0].data[0].source.load(OFFLINE))


# Against PyTorch


@pytest.mark.parametrize("case", CASES, ids=[case["model"] for case in CASES])
def test_models_of_sequences_compute_what_pytorch_does(case: dict[str, Any], folder: Path) -> None:
    source = data(folder, "text" if case["ids"] else "short")
    more = "" if "Flatten" in case["model"] or "Global" in case["model"] else "; Flatten; Linear(4)"
    head = case["model"] if case["ids"] else case["model"] + more
    text = spec(head if not case["ids"] else f"{head}; Linear(5)", data=source, more="dtype = float64")
    network = build_network(compiled(text.replace("Linear(2) }", "Linear(2); ReLU; Linear(4) }")).program.lanes[0])
    layers = case["model"].count(";") + 1
    del network.layers[layers:], network.names[layers:]
    own = network.named_parameters()
    assert sorted(own) == sorted(case["parameters"])
    for name, value in case["parameters"].items():
        own[name].data = np.array(value)
    x = np.array(case["x"], dtype=np.float64)
    y = network.forward(x)
    np.testing.assert_allclose(y, case["y"], rtol=1e-10, atol=1e-12)
    dx = network.backward(np.array(case["g"]))
    for name, value in case["gradients"].items():
        np.testing.assert_allclose(own[name].grad, value, rtol=1e-9, atol=1e-11, err_msg=name)
    if case["input_gradient"] is not None:
        np.testing.assert_allclose(dx, case["input_gradient"], rtol=1e-9, atol=1e-11)


# Shapes and parameters, by hand


@pytest.mark.parametrize(
    ("name", "model", "expected", "params"),
    [
        ("sequence", "Linear(16); Tanh; Flatten; Linear(4)", [(120, 7), (120, 16), (120, 16), (1920,), (4,)], 7812),
        ("sequence", "Dropout; Linear(16); GlobalAvgPool", [(120, 7), (120, 7), (120, 16), (16,)], 128),
        ("sequence", "Conv1D(16, 3, padding=same); GlobalAvgPool", [(120, 7), (120, 16), (16,)], 352),
        ("sequence", "Conv1D(16, 3, stride=2); GlobalAvgPool", [(120, 7), (59, 16), (16,)], 352),
        (
            "sequence",
            "concat { a { LSTM(8) } b { GRU(8) } }; GlobalAvgPool",
            [(120, 7), (120, 16), (16,)],
            4 * (7 * 8 + 8 * 8 + 16) + 3 * (7 * 8 + 8 * 8 + 16),
        ),
        ("sequence", "LSTM(16); GlobalAvgPool", [(120, 7), (120, 16), (16,)], 4 * (7 * 16 + 16 * 16 + 32)),
        ("sequence", "LSTM(16); BatchNorm; GlobalAvgPool", [(120, 7), (120, 16), (120, 16), (16,)], 1632),
        ("sequence", "LSTM(8); MaxPool(3); AvgPool; GlobalAvgPool", [(120, 7), (120, 8), (40, 8), (20, 8), (8,)], 544),
        ("sequence", "Linear(8); PReLU(8); GlobalAvgPool", [(120, 7), (120, 8), (120, 8), (8,)], 72),
        ("text", "Embedding(8); Conv1D(16, 3, padding=causal); Linear(5)", [(6,), (6, 8), (6, 16), (6, 5)], 525),
        ("image", "Conv2D(5, 3); BatchNorm; Flatten; Linear(4)", [(3, 8, 6), (5, 6, 4), (5, 6, 4), (120,), (4,)], 634),
        ("image", "Linear(16)", [(144,), (16,)], 2320),
        ("image", "Dropout; Conv2D(5, 3); GlobalAvgPool", [(3, 8, 6), (3, 8, 6), (5, 6, 4), (5,)], 140),
        (
            "image",
            "MaxPool; concat { a { } b { Conv2D(5, 1) } }; GlobalAvgPool",
            [(3, 8, 6), (3, 4, 3), (8, 4, 3), (8,)],
            20,
        ),
        ("grey", "Conv2D(5, 3); GlobalAvgPool", [(1, 8, 6), (5, 6, 4), (5,)], 50),
        ("grey", "Dropout; Conv2D(5, 3); GlobalAvgPool", [(1, 8, 6), (1, 8, 6), (5, 6, 4), (5,)], 50),
        ("grey", "Dropout; LSTM(4); GlobalAvgPool", [(8, 6), (8, 6), (8, 4), (4,)], 192),
        ("grey", "LSTM(4); GlobalAvgPool", [(8, 6), (8, 4), (4,)], 192),
        ("grey", "Tanh; Dropout; Linear(16)", [(48,), (48,), (48,), (16,)], 784),
        ("grey", "BatchNorm; Linear(16)", [(48,), (48,), (16,)], 880),
        ("grey", "residual { ReLU }; Conv2D(5, 3); GlobalAvgPool", [(1, 8, 6), (1, 8, 6), (5, 6, 4), (5,)], 50),
        ("features", "BatchNorm; Linear(16)", [(12,), (12,), (16,)], 232),
    ],
)
def test_layers_work_on_the_axis_that_they_mean(
    name: str, model: str, expected: list[tuple[int, ...]], params: int, folder: Path
) -> None:
    text = spec(model, data=data(folder, name))
    assert shapes(text) == expected
    assert compiled(text).layouts["run"].params == params


def test_the_rows_of_an_image_are_places_of_a_recurrent_layer_in_order() -> None:
    digits = compiled(spec("RNN(3); Flatten; Linear(10)"))
    assert digits.layouts["run"].layers[0].node.incoming == (28, 28)


@pytest.mark.parametrize(
    ("shape", "stored", "image_as", "expected"),
    [
        ((28, 28), "uint8", "row", (784,)),
        ((28, 28), "uint8", "any", (784,)),
        ((28, 28), "uint8", "image", (1, 28, 28)),
        ((28, 28), "uint8", "sequence", (28, 28)),
        ((1, 28, 28), "uint8", "sequence", (28, 28)),
        ((3, 32, 32), "uint8", "image", (3, 32, 32)),
        ((3, 32, 32), "float32", "row", (3072,)),
        ((120, 7), "float32", "row", (120, 7)),
        ((120, 7), "float32", "image", (120, 7)),
        ((9,), "float32", "image", (9,)),
        ((2, 3, 4, 5), "float32", "row", (120,)),
    ],
)
def test_images_enter_as_the_first_layer_takes_them(
    shape: tuple[int, ...], stored: str, image_as: str, expected: tuple[int, ...]
) -> None:
    assert Facts(shape, 2, 10, 10, stored).entering(image_as) == expected


# What looks ahead


PEEPS = {
    **{f"{kind}(4, bidirectional=true)": f"{kind}(4, bidirectional=false)" for kind in ("RNN", "GRU", "LSTM")},
    "residual { MultiHeadAttention(2) }": "residual { MultiHeadAttention(2, causal=true) }",
    "MultiHeadAttention(2, causal=false)": "MultiHeadAttention(2, causal=true)",
    "Conv1D(8, 3, padding=same)": "Conv1D(8, 3, padding=causal)",
    "Conv1D(8, 3, padding=1)": "Conv1D(8, 3, padding=causal)",
    "MaxPool(3, stride=1, padding=same)": "",
    "BatchNorm": "LayerNorm",
    "LayerNorm([6, 8])": "LayerNorm",
    "Flatten; Linear(48); Reshape([6, 8])": "",
    "ConvTranspose1D(8, 3, padding=1)": "ConvTranspose1D(8, 1)",
    "Upsample(2, mode=bilinear); Resize(6)": "Upsample(1); Resize(6)",
    "Transpose; Linear(6); Transpose": "",
    "GroupNorm(2)": "LayerNorm",
    "InstanceNorm": "",
    "Cropping([1, 0]); ZeroPad([0, 1])": "ZeroPad([1, 0]); Cropping([0, 1])",
    "GlobalMaxPool; RepeatVector(6)": "",
    "Select(-1); RepeatVector(6)": "ClassToken; Cropping([0, 1])",
    "GRU(8, return_sequences=false); RepeatVector(6)": "GRU(8)",
}
BLIND = [
    "LSTM(8)", "Conv1D(8, 1)", "Conv1D(8, 3, padding=causal, dilation=2)", "RMSNorm", "PositionalEmbedding; GELU",
    "MaxPool(1)", "Reshape([6, 8, 1]); Reshape([6, 8])",
]  # fmt: skip


@pytest.mark.parametrize("layer", [*PEEPS, *PEEPS.values(), *BLIND])
def test_exactly_the_layers_that_look_ahead_are_reported(layer: str, folder: Path) -> None:
    text = spec("; ".join(filter(None, ["Embedding(8)", layer, "Linear(5)"])), data=data(folder, "text"))
    found = [d for d in checked(text).diagnostics if d.code == "NN721"]
    assert bool(found) == (layer in PEEPS)
    # What a place gives, when the ids behind it change: computed, not declared.
    plan = plan_of(text)
    x = plan.dataset.train.x[:4].reshape(4, 6).astype(plan.layout.dtype)
    changed = x.copy()
    changed[:, 3:] = (changed[:, 3:] + 1) % 5
    first, second = (plan.network.forward(each).copy() for each in (x, changed))
    assert (not np.array_equal(first[:, :3], second[:, :3])) == (layer in PEEPS)


def test_the_help_against_looking_ahead_can_be_applied(folder: Path) -> None:
    for layer, instead in list(PEEPS.items())[:7]:
        text = spec(f"Embedding(8); {layer}; Linear(5)", data=data(folder, "text"))
        (found,) = [d for d in checked(text).diagnostics if d.code == "NN721"]
        assert found.fix is not None
        for edit in sorted(found.fix.edits, key=lambda edit: -edit.span.start):
            text = text[: edit.span.start] + edit.text + text[edit.span.end :]
        assert instead in text
        assert not [d for d in checked(text).diagnostics if d.code == "NN721"]


def test_positions_may_attend_to_later_ones_if_the_target_is_not_the_next_character(folder: Path) -> None:
    text = spec("MultiHeadAttention(1); Conv1D(8, 3); GlobalAvgPool; Linear(4)", data=data(folder, "sequence"))
    assert not checked(text).diagnostics


def test_every_layer_says_whether_it_looks_ahead() -> None:
    """Layers of the registry that keep places but mix them must be in the tables above."""
    tested = " ".join([*PEEPS, *PEEPS.values(), *BLIND])
    declared = {
        name
        for name, part in PARTS["layer"].items()
        if part.__module__.startswith("nnspec.")
        and "looks_ahead" in {k for c in part.__mro__[:-1] if c is not Layer for k in vars(c)}
    }
    assert {name for name in declared if name in tested} >= declared - {"AvgPool", "GlobalAvgPool", "RMSNorm"}


# Help that helps


HELP = [
    ("features", "Conv2D(5, 3); Flatten; Linear(4)", "Reshape([1, 3, 4]); Conv2D(5, 3); Flatten; Linear(4)"),
    (
        "features",
        "Linear(7); ReLU; Conv2D(5, 3); Flatten; Linear(4)",
        "Linear(7); ReLU; Reshape([1, 1, 7]); Conv2D(5, 3, padding=same); Flatten; Linear(4)",
    ),
    (
        "features",
        "Reshape([2, 2, 1, 3]); Conv2D(5, 1); Flatten; Linear(4)",
        "Reshape([2, 2, 1, 3]); Reshape([4, 1, 3]); Conv2D(5, 1); Flatten; Linear(4)",
    ),
    ("sequence", "Conv2D(5, 3); Flatten; Linear(4)", "Reshape([1, 120, 7]); Conv2D(5, 3); Flatten; Linear(4)"),
    ("features", "Conv1D(5, 3); Flatten; Linear(4)", "Reshape([12, 1]); Conv1D(5, 3); Flatten; Linear(4)"),
    ("image", "Conv1D(5, 3); Flatten; Linear(4)", "Reshape([24, 6]); Conv1D(5, 3); Flatten; Linear(4)"),
    ("sequence", "Conv1D(5, 121); Flatten; Linear(4)", "Conv1D(5, 121, padding=same); Flatten; Linear(4)"),
    ("image", "Conv2D(4, 3, groups=2); Flatten; Linear(4)", "Conv2D(4, 3, groups=1); Flatten; Linear(4)"),
    ("features", "LSTM(5); Flatten; Linear(4)", "Reshape([12, 1]); LSTM(5); Flatten; Linear(4)"),
    ("features", "Dropout; LSTM(5); Flatten; Linear(4)", "Dropout; Reshape([12, 1]); LSTM(5); Flatten; Linear(4)"),
    ("image", "Dropout; GRU(5); Flatten; Linear(4)", "Dropout; Reshape([24, 6]); GRU(5); Flatten; Linear(4)"),
    (
        "sequence",
        "LSTM(5, return_sequences=false); GRU(5); Flatten; Linear(4)",
        "LSTM(5, return_sequences=false); Reshape([5, 1]); GRU(5); Flatten; Linear(4)",
    ),
    (
        "features",
        "MultiHeadAttention(3); Flatten; Linear(4)",
        "Reshape([12, 1]); Linear(12); MultiHeadAttention(3); Flatten; Linear(4)",
    ),
    ("sequence", "MultiHeadAttention(4); Flatten; Linear(4)", "MultiHeadAttention(1); Flatten; Linear(4)"),
    (
        "features",
        "PositionalEmbedding; Flatten; Linear(4)",
        "Reshape([12, 1]); PositionalEmbedding; Flatten; Linear(4)",
    ),
    ("image", "SinusoidalPositions; Flatten; Linear(4)", "Reshape([24, 6]); SinusoidalPositions; Flatten; Linear(4)"),
    ("features", "MaxPool; Flatten; Linear(4)", "Reshape([12, 1]); MaxPool; Flatten; Linear(4)"),
    ("sequence", "AvgPool([2, 2]); Flatten; Linear(4)", "Reshape([1, 120, 7]); AvgPool([2, 2]); Flatten; Linear(4)"),
    ("short", "MaxPool(9); Flatten; Linear(4)", "MaxPool(9, padding=same); Flatten; Linear(4)"),
    ("short", "MaxPool(3, padding=2); Flatten; Linear(4)", "MaxPool(3, padding=1); Flatten; Linear(4)"),
    ("image", "Conv2D(5, 3); Linear(4)", "Conv2D(5, 3); Flatten; Linear(4)"),
    ("sequence", "Linear(840, 16); Flatten; Linear(4)", "Linear(16); Flatten; Linear(4)"),
    ("sequence", "BatchNorm(120); Flatten; Linear(4)", "BatchNorm; Flatten; Linear(4)"),
    ("image", "Conv2D(5, 3); LayerNorm; Flatten; Linear(4)", "Conv2D(5, 3); LayerNorm([5, 6, 4]); Flatten; Linear(4)"),
    ("image", "Conv2D(5, 3); RMSNorm(4); Flatten; Linear(4)", "Conv2D(5, 3); RMSNorm([5, 6, 4]); Flatten; Linear(4)"),
    ("sequence", "LayerNorm(120); Flatten; Linear(4)", "LayerNorm; Flatten; Linear(4)"),
    ("sequence", "PReLU(120); Flatten; Linear(4)", "PReLU(7); Flatten; Linear(4)"),
    ("sequence", "Reshape([5, 7]); Flatten; Linear(4)", "Flatten; Linear(35); Reshape([5, 7]); Flatten; Linear(4)"),
    ("sequence", "residual { Linear(5) }; Flatten; Linear(4)", "residual { Linear(5); Linear(7) }; Flatten; Linear(4)"),
    (
        "image",
        "residual { Conv2D(5, 3, padding=same) }; Flatten; Linear(4)",
        "residual { Conv2D(5, 3, padding=same); Conv2D(3, 1) }; Flatten; Linear(4)",
    ),
    (
        "short",
        "residual { Conv1D(5, 3) }; Flatten; Linear(4)",
        "residual { Conv1D(5, 3); Flatten; Linear(18); Reshape([6, 3]) }; Flatten; Linear(4)",
    ),
    (
        "short",
        "residual { LSTM(5); shortcut { LSTM(4) } }; Flatten; Linear(4)",
        "residual { LSTM(5); shortcut { LSTM(4); Linear(5) } }; Flatten; Linear(4)",
    ),
    (
        "short",
        "add { a { LSTM(5) } b { LSTM(4, return_sequences=false) } }; Flatten; Linear(4)",
        "add { a { LSTM(5) } b { LSTM(4, return_sequences=false); Linear(30); Reshape([6, 5]) } }; Flatten; Linear(4)",
    ),
    (
        "short",
        "concat { a { LSTM(5) } b { Conv1D(5, 3) } }; Flatten; Linear(4)",
        "concat { a { LSTM(5) } b { Conv1D(5, 3); Flatten; Linear(30); Reshape([6, 5]) } }; Flatten; Linear(4)",
    ),
    ("sequence", "LSTM(5)", "LSTM(5); GlobalAvgPool; Linear(4)"),
    ("image", "Conv2D(5, 3); ReLU", "Conv2D(5, 3); ReLU; Flatten; Linear(4)"),
    ("text", "Linear(5)", "Embedding(16); Linear(5)"),
    ("text", "LSTM(8); Linear(5)", "Embedding(16); LSTM(8); Linear(5)"),
    ("text", "Conv1D(8, 3, padding=causal); Linear(5)", "Embedding(16); Conv1D(8, 3, padding=causal); Linear(5)"),
    (
        "text",
        "Embedding(8); LSTM(8, return_sequences=false)",
        "Embedding(8); LSTM(8, return_sequences=false); Linear(30); Reshape([6, 5])",
    ),
    ("sequence", "Embedding(8); Flatten; Linear(4)", "Linear(8); Flatten; Linear(4)"),
    ("pixels", "Conv2D(4, 1)", "Conv2D(4, 1); Flatten; Linear(192); Reshape([8, 6, 4])"),
    ("places", "LSTM(4, return_sequences=false)", "LSTM(4, return_sequences=false); Linear(24); Reshape([6, 4])"),
]


@pytest.mark.parametrize(("name", "model", "fixed"), HELP, ids=[f"{name}: {model}" for name, model, _ in HELP])
def test_what_the_help_of_a_shape_error_says_makes_the_check_clean(
    name: str, model: str, fixed: str, folder: Path
) -> None:
    found = [d for d in checked(spec(model, data=data(folder, name))).diagnostics if d.severity == "error"]
    assert [d.code for d in found] in (["NN401"], ["NN402"])
    first = re.split(", or (?:keep )?|; if | takes the whole", found[0].help)[0]
    said = re.findall(r"`([^`]+)`", first)
    assert said or "remove it" in first
    for piece in said if "padding=same" not in found[0].help else ["padding=same"]:
        assert piece in fixed
    after = checked(spec(fixed, data=data(folder, name))).diagnostics
    assert [d.code for d in after if d.code not in ("NN703", "NN721")] == []


def test_the_help_for_a_global_mean_of_features_works(folder: Path) -> None:
    wrong = checked(spec("Conv2D(5, 3); Flatten; GlobalAvgPool; Linear(4)", data=data(folder, "image")))
    assert wrong.diagnostics[0].help == "remove it, or put it before the layer that flattens the sample"
    for model in ("Conv2D(5, 3); Flatten; Linear(4)", "Conv2D(5, 3); GlobalAvgPool; Flatten; Linear(4)"):
        assert not checked(spec(model, data=data(folder, "image"))).diagnostics


def test_a_model_that_labels_every_pixel_trains_as_its_help_says(folder: Path) -> None:
    model = "Conv2D(4, 1); Flatten; Linear(192); Reshape([8, 6, 4])"
    plan = plan_of(spec(model, data=data(folder, "pixels"), optimizer="Adam(lr=0.01)", train="epochs = 30"))
    losses = train(plan, 30)
    assert losses[-1] < 0.5 * losses[0]


def test_only_images_are_flipped_and_shifted(folder: Path) -> None:
    for name, good in (("sequence", False), ("image", True), ("grey", True)):
        text = spec("Flatten; Linear(4)", data=data(folder, name), more="train.augment = [flip, shift(1)]")
        found = [d.message for d in checked(text).diagnostics]
        assert found == [] if good else "`flip` expects images, but a sample is a sequence of 120×7" in found


# Arrays of one's own


def saved(folder: Path, name: str, x: np.ndarray, y: np.ndarray | None = None) -> str:
    """Save samples with labels; return the source that reads them in order."""
    np.savez(folder / f"{name}.npz", x=x, y=np.arange(len(x)) % 4 if y is None else y)
    return f'NPZ("{(folder / name).as_posix()}.npz", shuffle=false, AXES)'


def loaded(source: str) -> tuple[Facts, np.ndarray]:
    found = compiled(spec("Flatten; Linear(4)", data=source, loss="CrossEntropy")).program.lanes[0].data[0]
    return found.facts, found.source.load(OFFLINE).train.x.reshape(-1, *found.facts.shape)


STORED = np.random.default_rng(2).integers(0, 256, (20, 8, 6, 3))


@pytest.mark.parametrize(
    ("axes", "x", "named", "expected"),
    [
        ("", STORED[..., 0].astype(np.uint8), "rows columns", STORED[..., 0]),
        ("", STORED[..., 0].astype(np.float32), "places features", STORED[..., 0]),
        ("", STORED[..., 0].astype(np.int16), "places features", STORED[..., 0]),
        ("", STORED[..., 0] > 99, "places features", STORED[..., 0] > 99),
        ("", STORED[:, 0, :, 0].astype(np.uint8), "features", STORED[:, 0, :, 0]),
        ("", STORED.transpose(0, 3, 1, 2).astype(np.uint8), "channels rows columns", STORED.transpose(0, 3, 1, 2)),
        ("[rows, columns, channels]", STORED.astype(np.uint8), "channels rows columns", STORED.transpose(0, 3, 1, 2)),
        ("[columns, channels, rows]", STORED.astype(">f8"), "channels rows columns", STORED.transpose(0, 2, 3, 1)),
        ("[rows, columns]", STORED[..., 0].astype(np.float64), "rows columns", STORED[..., 0]),
        ("[columns, rows]", STORED[..., 0].astype(np.uint8), "rows columns", STORED[..., 0].transpose(0, 2, 1)),
        ("[places, features]", STORED[..., 0].astype(np.uint8), "places features", STORED[..., 0]),
        ("[features, places]", STORED[..., 0].astype(np.float64), "places features", STORED[..., 0].transpose(0, 2, 1)),
        ("[places]", STORED[:, 0, :, 0].astype(np.float64), "places features", STORED[:, 0, :, :1]),
    ],
)
def test_arrays_have_the_axes_that_their_number_says_or_those_that_are_given(
    axes: str, x: np.ndarray, named: str, expected: np.ndarray, folder: Path
) -> None:
    source = saved(folder, "any", x).replace("AXES", f"axes={axes}" if axes else "test=0.2")
    facts, train_x = loaded(source)
    assert facts.axes == tuple(named.split())
    np.testing.assert_array_equal(train_x, expected[: facts.train])


def test_columns_in_fortran_order_and_dropped_rows_are_transposed_too(folder: Path) -> None:
    x = np.asfortranarray(STORED.astype(np.float64))
    source = saved(folder, "fortran", x).replace("AXES", "axes=[rows, columns, channels], missing=drop")
    np.testing.assert_array_equal(loaded(source)[1], STORED.transpose(0, 3, 1, 2)[:16])
    x[3, 1, 2, 0] = np.nan
    saved(folder, "fortran", x)
    expected = np.delete(STORED, 3, axis=0).transpose(0, 3, 1, 2)[:15]
    np.testing.assert_array_equal(loaded(source)[1], expected)


def test_idx_files_take_axes(tmp_path: Path) -> None:
    for name, array in zip(NAMES, (STORED[:12], np.arange(12) % 4, STORED[12:], np.arange(8) % 4), strict=True):
        (tmp_path / name).write_bytes(idx_bytes(array.shape, array.astype(np.uint8).tobytes()))
    source = f'IDX("{tmp_path.as_posix()}")'
    (odd,) = checked(spec("Flatten; Linear(4)", data=source, train="batch = 4")).diagnostics
    assert odd.code == "NN720"
    facts, x = loaded(source.replace(")", ", axes=[rows, columns, channels])"))
    assert facts.axes == ("channels", "rows", "columns")
    np.testing.assert_array_equal(x, STORED[:12].transpose(0, 3, 1, 2))
    right = source.replace(")", ", axes=[rows, columns, channels])")
    assert not checked(spec("Conv2D(4, 3); GlobalAvgPool", data=right, train="batch = 4")).diagnostics


def test_colours_that_come_last_are_a_finding_whose_help_works(folder: Path) -> None:
    source = saved(folder, "colours", STORED.astype(np.uint8))
    model = "Conv2D(5, 3); GlobalAvgPool; Linear(4)"
    wrong = spec(model.replace("5, 3", "5, [3, 1]"), data=source.replace(", AXES", ""))
    (odd,) = checked(wrong).diagnostics
    assert odd.code == "NN720"
    assert "look like 8×6 images of 3 channels" in odd.message
    for axes in re.findall(r"`(axes=[^`]+)`", odd.help):
        assert not checked(wrong.replace("shuffle=false", f"shuffle=false, {axes}")).diagnostics
    right = source.replace("AXES", "axes=[rows, columns, channels]")
    assert shapes(spec(model, data=right))[0] == (3, 8, 6)


@pytest.mark.parametrize(
    ("axes", "message", "help"),
    [
        ("[rows, columns]", "`axes` names 2, but a sample has 3: 8×6×3", "axes=[rows, columns, channels]"),
        ("[rows, rows, channels]", "`axes` names the axes of one sample", "axes=[rows, columns, channels]"),
        ("[row, columns, channels]", "not `row`", "did you mean `rows`?"),
        ("3", "`axes` must be a list of", ""),
    ],
)
def test_axes_that_do_not_fit_are_an_error_at_their_characters(
    axes: str, message: str, help: str, folder: Path
) -> None:
    source = saved(folder, "colours", STORED.astype(np.uint8)).replace("AXES", f"axes={axes}")
    finding, *_ = checked(spec("Flatten; Linear(4)", data=source)).diagnostics
    assert message in finding.message
    assert help in finding.help
    assert finding.span.text in axes


def test_rows_of_whole_numbers_are_labels_only_where_samples_have_as_many_places(folder: Path) -> None:
    rng = np.random.default_rng(3)
    several = rng.integers(0, 2, (20, 3))

    def facts(x: np.ndarray, y: np.ndarray, model: str, loss: str) -> Facts:
        source = saved(folder, "several", x, y).replace(", AXES", "")
        return compiled(spec(model, data=source, loss=loss)).program.lanes[0].facts

    found = facts(rng.standard_normal((20, 4)), several, "Linear(3)", "BCEWithLogits")
    assert (found.classes, found.target) == (None, (3,))
    found = facts(rng.standard_normal((20, 3, 4)), several, "Linear(2)", "CrossEntropy")
    assert (found.classes, found.target) == (2, (3,))
    pixels = rng.integers(0, 2, (20, 4, 5))
    found = facts(pixels.astype(np.uint8), pixels, "Linear(40); Reshape([4, 5, 2])", "CrossEntropy")
    assert (found.classes, found.target) == (2, (4, 5))


def test_show_says_which_axes_were_taken(folder: Path) -> None:
    source = saved(folder, "colours", STORED.astype(np.uint8)).replace("AXES", "axes=[rows, columns, channels]")
    for data_of, line in (
        (source, "sample          3×8×6 (channels × rows × columns), stored as rows × columns × channels"),
        (data(folder, "sequence"), "sample          120×7 (places × features)"),
        ("Digits(train=50, test=20)", "sample          28×28 (rows × columns)"),
    ):
        console = Console(width=200, record=True, file=io.StringIO())
        print_structure(compiled(spec("Flatten; Linear(10)", data=data_of)), console)
        assert line in console.export_text()


def test_a_trained_network_takes_arrays_as_its_source_holds_them(tmp_path: Path, folder: Path) -> None:
    source = saved(folder, "colours", STORED.astype(np.uint8)).replace("AXES", "axes=[rows, columns, channels]")
    text = spec("Conv2D(5, 3); ReLU; GlobalAvgPool; Linear(4)", data=source, train="epochs = 1; batch = 8")
    (tmp_path / "s.nn").write_text(text, encoding="utf-8")
    result = nnspec.run(tmp_path / "s.nn", out=tmp_path / "run")
    x = STORED[:6].astype(np.uint8)
    np.save(tmp_path / "x.npy", x)
    predictor = runs.load(tmp_path / "run")
    expected = result["run"].network.eval().forward(x.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))
    np.testing.assert_allclose(predictor.outputs(x), expected, rtol=1e-5)
    read = read_inputs(str(tmp_path / "x.npy"), predictor.wanted)
    np.testing.assert_array_equal(read.x.reshape(6, 3, 8, 6), x.transpose(0, 3, 1, 2))
    with pytest.raises(ValueError, match="holds 6×3×8×6, but the network expects samples of 8×6×3"):
        predictor.outputs(x.transpose(0, 3, 1, 2))


# A causal model learns what there is to learn, and no more


def test_a_causal_convolution_cannot_copy_the_next_character(folder: Path) -> None:
    rng = np.random.default_rng(1)
    letters = "".join("abcde"[i] for i in rng.integers(0, 5, 3000))
    (folder / "noise.txt").write_text(letters, encoding="utf-8")
    source = f'Text("{(folder / "noise.txt").as_posix()}", context=6)'
    losses = {}
    for padding in ("causal", "same"):
        model = f"Embedding(8); Conv1D(16, 3, padding={padding}); ReLU; Linear(5)"
        text = spec(model, data=source, optimizer="Adam(lr=0.01)", train="epochs = 6; batch = 16")
        losses[padding] = train(plan_of(text), 6)[-1]
    # Nothing about the next letter can be known: at best ln 5 = 1.609.
    assert losses["causal"] > 1.55
    assert losses["same"] < 0.8
