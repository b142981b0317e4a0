"""Axes have names: what each layer does to features, to sequences (places × features) and to images (channels × rows ×
columns), in specs, with parameter counts by hand and numbers by PyTorch."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_plan import make_plan, train
from tiny_spec import OFFLINE, ROOT, compiled, spec

from nnspec.api import check_text
from nnspec.compiler.plan import Plan, build_network
from nnspec.data.source import Facts
from nnspec.diagnostics import Source
from nnspec.engine import PARTS
from nnspec.engine.layers.contract import Layer

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
    "residual { MultiHeadAttention(2) }": "residual { MultiHeadAttention(2, causal=true) }",
    "MultiHeadAttention(2, causal=false)": "MultiHeadAttention(2, causal=true)",
    "Conv1D(8, 3, padding=same)": "Conv1D(8, 3, padding=causal)",
    "Conv1D(8, 3, padding=1)": "Conv1D(8, 3, padding=causal)",
    "MaxPool(3, stride=1, padding=same)": "",
    "BatchNorm": "LayerNorm",
    "LayerNorm([6, 8])": "LayerNorm",
    "Flatten; Linear(48); Reshape([6, 8])": "",
}
BLIND = [
    "LSTM(8)", "Conv1D(8, 1)", "Conv1D(8, 3, padding=causal, dilation=2)", "RMSNorm", "PositionalEmbedding; GELU",
    "MaxPool(1)", "Reshape([6, 8, 1]); Reshape([6, 8])",
]  # fmt: skip


@pytest.mark.parametrize("layer", [*PEEPS, *PEEPS.values(), *BLIND])
def test_a_finding_is_told_of_exactly_the_layers_that_look_ahead(layer: str, folder: Path) -> None:
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
    for layer, instead in list(PEEPS.items())[:4]:
        text = spec(f"Embedding(8); {layer}; Linear(5)", data=data(folder, "text"))
        (found,) = [d for d in checked(text).diagnostics if d.code == "NN721"]
        assert found.fix is not None
        for edit in sorted(found.fix.edits, key=lambda edit: -edit.span.start):
            text = text[: edit.span.start] + edit.text + text[edit.span.end :]
        assert instead in text
        assert not [d for d in checked(text).diagnostics if d.code == "NN721"]


def test_places_may_see_each_other_where_the_target_is_no_next_character(folder: Path) -> None:
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
    ("sequence", "LSTM(5)", "LSTM(5); Flatten; Linear(4)"),
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


@pytest.mark.parametrize(("name", "model", "mended"), HELP, ids=[f"{name}: {model}" for name, model, _ in HELP])
def test_what_the_help_of_a_shape_error_says_makes_the_check_clean(
    name: str, model: str, mended: str, folder: Path
) -> None:
    found = [d for d in checked(spec(model, data=data(folder, name))).diagnostics if d.severity == "error"]
    assert [d.code for d in found] in (["NN401"], ["NN402"])
    first = found[0].help.partition(", or ")[0].partition(" takes the whole")[0]
    said = re.findall(r"`([^`]+)`", first)
    assert said or "leave it out" in first
    for piece in said if "padding=same" not in found[0].help else ["padding=same"]:
        assert piece in mended
    after = checked(spec(mended, data=data(folder, name))).diagnostics
    assert [d.code for d in after if d.code not in ("NN703", "NN721")] == []


def test_a_global_mean_of_features_is_left_out_or_taken_before_they_are_a_row(folder: Path) -> None:
    wrong = checked(spec("Conv2D(5, 3); Flatten; GlobalAvgPool; Linear(4)", data=data(folder, "image")))
    assert wrong.diagnostics[0].help == "leave it out, or put it before what makes a row of the sample"
    for model in ("Conv2D(5, 3); Flatten; Linear(4)", "Conv2D(5, 3); GlobalAvgPool; Flatten; Linear(4)"):
        assert not checked(spec(model, data=data(folder, "image"))).diagnostics


def test_a_model_that_labels_every_pixel_trains_as_its_help_says(folder: Path) -> None:
    model = "Conv2D(4, 1); Flatten; Linear(192); Reshape([8, 6, 4])"
    plan = plan_of(spec(model, data=data(folder, "pixels"), optimizer="Adam(lr=0.01)"))
    losses = train(plan, 30)
    assert losses[-1] < 0.5 * losses[0]


def test_only_images_are_flipped_and_shifted(folder: Path) -> None:
    for name, good in (("sequence", False), ("image", True), ("grey", True)):
        text = spec("Flatten; Linear(4)", data=data(folder, name), more="train.augment = [flip, shift(1)]")
        found = [d.message for d in checked(text).diagnostics]
        assert found == [] if good else "`flip` takes images, and a sample is a sequence of 120×7" in found


# A causal model learns what there is to learn, and no more


def test_a_causal_convolution_cannot_copy_the_next_character(folder: Path) -> None:
    rng = np.random.default_rng(1)
    letters = "".join("abcde"[i] for i in rng.integers(0, 5, 3000))
    (folder / "noise.txt").write_text(letters, encoding="utf-8")
    source = f'Text("{(folder / "noise.txt").as_posix()}", context=6)'
    losses = {}
    for padding in ("causal", "same"):
        model = f"Embedding(8); Conv1D(16, 3, padding={padding}); ReLU; Linear(5)"
        losses[padding] = train(plan_of(spec(model, data=source, optimizer="Adam(lr=0.01)")), 6)[-1]
    # Nothing about the next letter can be known: at best ln 5 = 1.609.
    assert losses["causal"] > 1.55
    assert losses["same"] < 0.8
