"""Layers that begin with the state of another layer, or attend to its outputs: `state` and `context`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import OFFLINE, ROOT, compiled, run, spec

import nnspec
from nnspec import engine as nn
from nnspec import runs
from nnspec.api import SpecError, check_text
from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import Plan
from nnspec.compiler.replay import Replay
from nnspec.compiler.verify import verify, verify_memory
from nnspec.diagnostics import Source
from nnspec.native import library
from nnspec.runner.gradients import prove_gradients

ORACLE = json.loads((ROOT / "tests/oracle/sequences.json").read_text(encoding="utf-8"))
GRAPHS, REVERSALS = ORACLE["graphs"], ORACLE["reversals"]
every_graph = pytest.mark.parametrize("case", GRAPHS, ids=range(len(GRAPHS)))
needs_numba = pytest.mark.skipif(not library.available(), reason="compiled steps need Numba, which is an extra")


def text_of(case: dict[str, Any], folder: Path, **more: str) -> str:
    x, y = np.array(case["x"]), np.array(case["y"])
    np.savez(folder / "data.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    usual = {
        "data": f'NPZ("{(folder / "data.npz").as_posix()}")',
        "loss": "MSE",
        "optimizer": "SGD(lr=0.2)",
        "train": "epochs = 3; batch = 4; shuffle = false",
        "more": "dtype = float64",
    }
    return spec(case["model"], **(usual | more))


def plan_of(case: dict[str, Any], folder: Path) -> Plan:
    program = compiled(text_of(case, folder))
    (experiment,) = program.program.lanes
    plan = plan_alone(experiment, program.layouts["run"], experiment.data[0].source.load(OFFLINE))
    plan.network.load_state_dict({name: np.array(array) for name, array in case["start"].items()})
    return plan


@every_graph
def test_training_is_that_of_pytorch(case: dict[str, Any], tmp_path: Path) -> None:
    plan, losses = plan_of(case, tmp_path), []
    for epoch in range(3):
        plan.begin(epoch)
        losses += [plan.train_batch(number)[0] for number in range(plan.batches)]
    np.testing.assert_allclose(losses, case["losses"], rtol=1e-12)
    for name, array in case["end"].items():
        np.testing.assert_allclose(plan.network.state_dict()[name], array, rtol=1e-10, atol=1e-14)
    verify(plan.layout.steps)
    verify_memory(plan.layout.steps, plan.layout.values)


@every_graph
def test_the_network_run_by_hand_has_the_same_gradients(case: dict[str, Any], tmp_path: Path) -> None:
    plan = plan_of(case, tmp_path)
    x, y = np.array(case["x"])[:4], np.array(case["y"])[:4]
    loss = nn.MSELoss()
    assert loss(plan.network(x), y) == pytest.approx(case["losses"][0], rel=1e-12)
    plan.network.backward(loss.backward())
    optimizer = nn.SGD(plan.network.parameters(), lr=0.2)
    optimizer.step()
    assert loss(plan.network(np.array(case["x"])[4:]), np.array(case["y"])[4:]) == pytest.approx(case["losses"][1])
    assert prove_gradients(plan.experiment, plan.dataset, samples=2).error < 1e-7


@needs_numba
@every_graph
@pytest.mark.usefixtures("kernels")
def test_it_is_recorded(case: dict[str, Any], tmp_path: Path) -> None:
    replay = Replay((plan := plan_of(case, tmp_path)).loop.alone(plan))
    library.make(replay.kernels)
    replay.link()
    assert (replay.gaps, replay.check()) == ({}, "")


def test_a_layer_alone_takes_the_state_as_an_argument() -> None:
    rng = np.random.default_rng(0)
    x, h = rng.standard_normal((2, 5, 3)), rng.standard_normal((2, 4))
    layer = nn.GRU(3, 4, state="h")
    y = layer(x, h)
    np.testing.assert_array_equal(layer(x, np.stack([9 * h, h], axis=1)), y)  # the row at the last position
    dx, dh = layer.backward(np.ones_like(y))
    assert (dx.shape, dh.shape) == (x.shape, (2, 2, 4))
    assert not dh[:, 0].any()
    assert dh[:, 1].any()
    with pytest.raises(ValueError, match="also reads 'h'"):
        layer(x)


FAULTS = {
    "units": ("e: GRU(3); from(input); GRU(4, state=e)", "has 4 numbers, but this is a sequence of 5×3"),
    "directions": ("e: GRU(4); from(input); GRU(4, bidirectional=true, state=e)", "has 8 numbers"),
    "no cell": ("e: LSTM(4); from(input); LSTM(4, state=e)", "has 8 numbers, 4 for h and 4 for c, but"),
    "a row": (
        "e: GRU(4, return_sequences=false); from(input); Linear(4); MultiHeadAttention(2, context=e)",
        "name a whole sequence",
    ),
    "a width": (
        "e: GRU(3); from(input); Linear(4); MultiHeadAttention(2, context=e)",
        "needs a context with 4 features per position",
    ),
    "causal": ("e: GRU(4); from(input); Linear(4); MultiHeadAttention(2, context=e, causal=true)", "does not apply"),
    "no such layer": (
        "e: LSTM(4); from(input); LSTM(4, state=f)",
        "no layer or input called `f` it can read `input`, `e`",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_values_that_are_no_state_are_refused(case: str, tmp_path: Path) -> None:
    model, message = FAULTS[case]
    found = check_text(Source("s.nn", text_of(GRAPHS[0] | {"model": f"{model}; Linear(2)"}, tmp_path)), []).diagnostics
    (error,) = [each for each in found if each.severity == "error"]
    assert message in f"{error.message} {error.help}"
    assert error.span.text in ("e", "f", "true")


def test_the_help_for_a_missing_cell_can_be_followed(tmp_path: Path) -> None:
    model = "e: LSTM(4, return_cell=true); from(input); LSTM(4, state=e); Linear(2)"
    checked = check_text(Source("s.nn", text_of(GRAPHS[0] | {"model": model}, tmp_path)), [])
    assert not [each for each in checked.diagnostics if each.severity == "error"]


def test_a_state_from_the_same_text_gives_the_next_characters_away(tmp_path: Path) -> None:
    (tmp_path / "poem.txt").write_text("abcdeabdec" * 30, encoding="utf-8")
    data = f'Text("{(tmp_path / "poem.txt").as_posix()}", context=6)'
    text = spec("x: Embedding(4); e: GRU(3); from(x); GRU(3, state=e); Linear(data.classes)", data=data)
    (found,) = [each for each in check_text(Source("s.nn", text), []).diagnostics if each.code == "NN721"]
    assert (found.span.text, found.help) == ("GRU(3, state=e)", "remove `state`")


def test_cells_of_every_step_are_exported_where_they_can_be_had(tmp_path: Path) -> None:
    (tmp_path / "s.nn").write_text(text_of(GRAPHS[7], tmp_path, train="epochs = 1"), encoding="utf-8")
    run_folder = tmp_path / "run"
    nnspec.run(tmp_path / "s.nn", out=run_folder)
    for target in ("numpy", "c"):
        runs.export(run_folder, tmp_path / f"model.{'c' if target == 'c' else 'py'}", target)
    with pytest.raises(SpecError, match="NN801"):
        runs.export(run_folder, tmp_path / "model.onnx", "onnx")


# Sequence to sequence


def reversing(model: str, folder: Path, source: Any, shifted: Any, labels: Any, **more: str) -> str:
    """A spec of two inputs: a sequence, and the target shifted by one, with a first symbol of its own."""
    arrays = {"source": source, "shifted": shifted, "y": labels}
    parts = {
        f"{name}_{part}": np.array(a)[: None if part == "train" else 40] for name, a in arrays.items() for part in PARTS
    }
    np.savez(folder / "pairs.npz", **parts)
    data = f'NPZ("{(folder / "pairs.npz").as_posix()}", inputs=["source", "shifted"], ids={np.max(shifted) + 1})'
    return spec(model, data=data, **more)


PARTS = ("train", "test")


@pytest.mark.parametrize("case", REVERSALS, ids=["attention", "lstm"])
def test_an_encoder_and_a_decoder_train_as_in_pytorch(case: dict[str, Any], tmp_path: Path) -> None:
    more = {"optimizer": "SGD(lr=0.2)", "train": "epochs = 3; batch = 4; shuffle = false", "more": "dtype = float64"}
    text = reversing(case["model"], tmp_path, case["source"], case["shifted"], case["labels"], **more)
    program = compiled(text)
    (experiment,) = program.program.lanes
    plan = plan_alone(experiment, program.layouts["run"], experiment.data[0].source.load(OFFLINE))
    names = {name.split(".")[-2] + "." + name.split(".")[-1]: name for name in plan.network.state_dict()}
    assert names.keys() == case["start"].keys()
    plan.network.load_state_dict({names[name]: np.array(array) for name, array in case["start"].items()})
    losses = []
    for epoch in range(3):
        plan.begin(epoch)
        losses += [plan.train_batch(number)[0] for number in range(plan.batches)]
    np.testing.assert_allclose(losses, case["losses"], rtol=1e-12)
    for name, array in case["end"].items():
        np.testing.assert_allclose(plan.network.state_dict()[names[name]], array, rtol=1e-10, atol=1e-14)


def test_sequences_can_be_reversed(tmp_path: Path) -> None:
    source = np.random.default_rng(0).integers(0, 5, (400, 3))
    labels = source[:, ::-1]
    shifted = np.concatenate([np.full((400, 1), 5), labels[:, :-1]], axis=1)
    model = (
        "from(source); Embedding(8); encoder: GRU(24, return_sequences=false);"
        " from(shifted); Embedding(8); GRU(24, state=encoder); Linear(data.classes)"
    )
    more = {"optimizer": "Adam(lr=0.02)", "train": "epochs = 12; batch = 40"}
    lane = run(reversing(model, tmp_path, source, shifted, labels, **more))["run"]
    assert lane.history["test_accuracy"][-1] > 0.9


def test_numbers_can_be_added_as_in_the_example_of_keras() -> None:
    """Keras's addition RNN: 12 symbols, questions of 7 characters, answers of 4."""
    data = "Given(features=[7, 12], targets=[4], classes=12)"
    text = spec("LSTM(128, return_sequences=false); RepeatVector(4); LSTM(128); Linear(12)", data=data)
    keras = 72_192 + 131_584 + 1_548
    assert compiled(text).layouts["run"].params == keras + 2 * 4 * 128  # one bias more in each LSTM


def test_attention_skips_the_padding_of_its_context_and_not_that_of_its_queries(tmp_path: Path) -> None:
    source, shifted = np.array([[1, 2, 0, 0], [3, 4, 1, 0]] * 2), np.array([[3, 0, 2], [1, 1, 0]] * 2)
    arrays = {"source": source, "shifted": shifted, "y": shifted % 2}
    np.savez(tmp_path / "pairs.npz", **{f"{name}_{part}": a for name, a in arrays.items() for part in PARTS})
    data = f'NPZ("{(tmp_path / "pairs.npz").as_posix()}", inputs=["source", "shifted"], ids=5, padding=0)'
    model = (
        "from(source); c: Embedding(4); from(shifted); q: Embedding(4); a: MultiHeadAttention(2, context=c); Linear(2)"
    )
    program = compiled(spec(model, data=data, train="epochs = 1; batch = 2", more="dtype = float64"))
    (experiment,) = program.program.lanes
    plan = plan_alone(experiment, program.layouts["run"], experiment.data[0].source.load(OFFLINE))
    x = np.concatenate([source, shifted], axis=1).astype(float)
    network = plan.network.eval()
    before = network(x).copy()
    state = network.state_dict()
    next(array for name, array in state.items() if name.endswith("c.weight"))[0] += 5
    np.testing.assert_array_equal(network(x), before)
    next(array for name, array in state.items() if name.endswith("q.weight"))[0] += 5
    changed = (network(x) != before).any(axis=-1)
    np.testing.assert_array_equal(changed, shifted == 0)
