"""Regression, from end to end: numbers as targets, through plan, loss, metrics, proof, record, table and picture."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from tiny_spec import command, compiled, run, spec

from nnspec import engine as nn
from nnspec.checker import check
from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import build_network
from nnspec.data.source import Access, Dataset, DataSource, Facts, Split
from nnspec.data.toy import Sine
from nnspec.diagnostics import Source
from nnspec.engine.part import PARTS
from nnspec.engine.random import Stream, stream
from nnspec.records.write import write_record
from nnspec.runner.gradients import prove_gradients
from nnspec.view.pictures.curves import draw_run

MODEL = "Linear(24); ReLU; Linear(24); ReLU; Linear(1)"


def sine(model: str = MODEL, **more: str) -> str:
    settings = {
        "data": "Sine(train=400, test=100)",
        "loss": "MSE",
        "optimizer": "Adam(lr=0.01)",
        "train": "epochs = 30; batch = 16; validation = 0.1",
    }
    return spec(model, **{**settings, **more})


def test_a_sine_is_learned_and_measured() -> None:
    expect = "gradient_error < 1e-7; test_loss < 0.1; val_r2 > 0.8; mae < 0.3; epochs_to(loss=0.2) <= 30"
    result = run(sine(more="metrics = [mse, mae, r2]", expect=expect))
    assert result.exit_code == 0, result.verdicts
    lane = result["run"]
    names = ["loss", "mse", "mae", "r2"]
    assert list(lane.history) == [prefix + name for prefix in ("", "val_", "test_") for name in names]
    for prefix in ("", "val_", "test_"):
        np.testing.assert_allclose(lane.history[f"{prefix}mse"], lane.history[f"{prefix}loss"], rtol=1e-6)


def test_figures_are_those_of_the_network() -> None:
    lane = run(sine(more="dtype = float64\nmetrics = [mae, r2]"))["run"]
    test = Sine(train=400, test=100).load(Access()).test
    outputs = lane.network.forward(test.x.astype(np.float64))
    off = outputs[:, 0] - test.y
    assert lane.final("test_loss") == pytest.approx((off**2).mean(), rel=1e-10)
    assert lane.final("test_mae") == pytest.approx(abs(off).mean(), rel=1e-10)
    assert lane.final("test_r2") == pytest.approx(1 - (off**2).mean() / test.y.astype(np.float64).var(), rel=1e-10)


@pytest.mark.parametrize("loss", ["MSE", "MAE", "Huber"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_plan_trains_as_a_loop_that_allocates(loss: str, dtype: str) -> None:
    program = compiled(
        sine(loss=loss, train="epochs = 2; batch = 32", optimizer="SGD(lr=0.05)", more=f"dtype = {dtype}")
    )
    (lane,) = program.program.lanes
    data = lane.data[0].source.load(Access())
    plan = plan_alone(lane, program.layouts[lane.name], data)
    network, by_hand = build_network(lane), lane.loss.make()
    steps = nn.SGD(network.parameters(), lr=0.05)
    for epoch in range(2):
        plan.begin(epoch)
        order = np.arange(400)
        stream(0, Stream.SHUFFLE, epoch).shuffle(order)
        for number in range(plan.batches):
            chosen = order[number * 32 : number * 32 + 32]
            x, y = (a[chosen].astype(dtype) for a in (data.train.x, data.train.y))
            wanted = by_hand.forward(network.forward(x), y[:, None])
            network.backward(by_hand.backward())
            steps.step()
            found, rows = plan.train_batch(number)
            assert rows == len(chosen)
            assert found == pytest.approx(wanted, rel=1e-5 if dtype == "float32" else 1e-12)


@pytest.fixture(params=[(), (1,), (2,), (2, 2)], ids=str)
def several(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[int, ...]:
    """A source `Several` whose targets have that shape."""
    target: tuple[int, ...] = request.param
    numbers = math.prod(target)

    class Several(DataSource):
        def __init__(self) -> None:
            pass

        def facts(self) -> Facts:
            return Facts((3,), None, 90, 30, stored="float64", target=target)

        def load(self, access: Access) -> Dataset:
            rng = np.random.default_rng(0)
            x = rng.standard_normal((120, 3))
            y = np.tanh(x @ np.arange(3 * numbers).reshape(3, numbers) / 4).reshape(120, *target)
            return Dataset("Several", self.facts(), Split(x[:90], y[:90]), Split(x[90:], y[90:]), 1.0, "", "drawn")

    Several.spec_name = "Several"
    monkeypatch.setitem(PARTS["data source"], "Several", Several)
    return target


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_targets_of_every_shape(several: tuple[int, ...], dtype: str) -> None:
    model = f"Linear(16); ReLU; Linear({math.prod(several)})"
    text = sine(model, data="Several", more=f"dtype = {dtype}\nmetrics = [mae, r2]")
    if len(several) > 1:
        (found,) = check(Source("t.nn", text), []).diagnostics
        assert found.message == "MSE compares 4 outputs with targets of 2×2"
        return
    lane = run(text)["run"]
    assert lane.history["loss"][-1] < 0.3 * lane.history["loss"][0]
    assert lane.final("r2") > 0.7
    (experiment,) = compiled(text).program.lanes
    data = experiment.data[0].source.load(Access())
    plan = plan_alone(experiment, compiled(text).layouts["run"], data)
    rows = plan.data.train(0)
    assert plan.data.labels(rows).shape == (rows, *several)
    assert plan.data.labels(rows).dtype == plan.data.targets(rows).dtype == dtype
    assert prove_gradients(experiment, data).error < 1e-7


def test_mismatches_are_reported() -> None:
    def only(text: str) -> str:
        (found,) = check(Source("t.nn", text), []).diagnostics
        return f"{found.code} {found.message}"

    assert only(sine("Linear(3)")) == "NN402 MSE compares 3 outputs with targets of 1"
    assert only(sine(loss="CrossEntropy")) == "NN402 CrossEntropy needs classes, but the data has none"
    assert only(sine(more="metrics = accuracy")) == "NN305 `accuracy` needs classes, but the data has none"
    assert only(sine(expect="test_accuracy > 0.5")) == "NN602 `test_accuracy` is not measured"
    assert "this data has no classes" in only(sine("Linear(data.classes)"))


def test_the_record_and_the_picture_do_without_accuracy(tmp_path: Path) -> None:
    result = run(sine(race="Adam(lr=0.01)\nSGD(lr=0.05)", train="epochs = 2; batch = 16; repeats = 2"))
    write_record(result, tmp_path)
    history = json.loads((tmp_path / "history.json").read_text())["lanes"]["Adam"]
    assert [name for name in history if name not in ("seconds", "repeats")] == ["loss", "test_loss"]
    final = json.loads((tmp_path / "summary.json").read_text())["lanes"][0]["final"]
    assert list(final) == ["loss", "test_loss"]
    draw_run(result, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_the_command_line_shows_it(tmp_path: Path, undrawn: None) -> None:
    path = tmp_path / "sine.nn"
    path.write_text(sine(train="epochs = 2; batch = 16", more="metrics = [r2]", expect="test_loss < 5"))
    done = command("run", path, "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Sine 400 train / 100 test · 1 → 24 → 24 → 1" in done.stdout
    assert "test r2" in done.stdout
    assert "accuracy" not in done.stdout
    assert "acc" not in done.stdout.split()
    for name in ("show", "gradcheck", "check"):
        done = command(name, path, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
