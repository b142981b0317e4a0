"""Diagnosis of trainings that went wrong: measured, with layer and line; healthy trainings have no findings."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from rich.console import Console
from tiny_lanes import epochs
from tiny_spec import ALONE, OFFLINE, TOGETHER, compiled, noise, run, spec

from nnspec.api import compile_spec, run_into
from nnspec.compiler.loop import plan_alone
from nnspec.records.folder import RunFolder
from nnspec.records.write import history_record
from nnspec.results.epochs import EpochRecord
from nnspec.results.health import DEAD, EXPLODING, VANISHING, Finding, findings
from nnspec.results.lane import LaneResult
from nnspec.results.run import RunResult
from nnspec.runner.options import RunOptions
from nnspec.training.monitor import baseline, dead_units, norm
from nnspec.training.observer import Silent
from nnspec.view.terminal.race import print_result
from nnspec.view.wording.health import health

DATA = "Digits(train=200, test=40)"
SIGMOIDS = "Linear(16); Sigmoid; " * 10 + "Linear(10)"
DEAF = "Linear(12); ReLU; Linear(8, init=normal(std=0.01, mean=-5.0)); ReLU; Linear(10)"
HUGE = "Linear(16, init=normal(std=1.0)); " * 6 + "Linear(10, init=normal(std=1.0))"


def found(text: str, *overrides: str, ways: RunOptions = TOGETHER) -> dict[str, tuple[Finding, ...]]:
    lanes = {lane.name: lane for lane in compiled(text, *overrides).program.lanes}
    return {name: findings(lane, lanes[name]) for name, lane in run(text, *overrides, ways=ways).items()}


def kinds(text: str, ways: RunOptions = TOGETHER) -> dict[str, list[str]]:
    return {name: [finding.kind for finding in each] for name, each in found(text, ways=ways).items()}


# What is measured


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-3, 1.0, 1e30])
def test_a_norm_is_right_where_squares_overflow_and_vanish(size: float, dtype: Any) -> None:
    array = (np.random.default_rng(0).standard_normal(1000) * size).astype(dtype)
    assert norm(array) == pytest.approx(float(np.linalg.norm(array.astype("float64") / (size or 1)) * size), rel=1e-5)


def test_a_norm_of_nan_is_none() -> None:
    assert math.isnan(norm(np.array([1.0, math.nan])))
    assert math.isinf(norm(np.array([1.0, -math.inf])))


def test_gradients_are_those_that_the_backward_pass_left() -> None:
    """Against a plan whose gradients are taken by hand, before clipping and penalties change them."""
    model = "Linear(6); ReLU; Linear(10)"
    text = spec(model, train="epochs = 1; batch = 50; clip_norm = 0.001; penalty = L2(10)")
    lane = run(text)["run"]
    program = compiled(text)
    experiment = program.program.lanes[0]
    from nnspec.runner.load_data import load_data

    dataset, _ = load_data(program.program, OFFLINE)["run"]
    plan = plan_alone(experiment, program.layouts["run"], dataset)
    plan.begin(0)
    rows = plan.data.train(0)
    network = plan.network
    logits = network.forward(np.array(plan.data.x(rows)))
    network.backward(plan.loss.backward() if plan.loss.forward(logits, plan.data.targets(rows)) else logits)
    by_hand = {name: float(np.linalg.norm(p.grad)) for name, p in network.named_parameters().items()}
    assert {name: norms[0] for name, norms in lane.gradients.items()} == pytest.approx(by_hand, rel=1e-4)
    assert math.hypot(*by_hand.values()) > 0.1  # far above what clipping leaves


@pytest.mark.parametrize(
    "ways", [ALONE, RunOptions(jobs=2), RunOptions(jobs=2, stack=False)], ids=["alone", "jobs", "both"]
)
def test_it_does_not_depend_on_how_lanes_are_trained(ways: RunOptions) -> None:
    race = "SGD(lr=0.1); Adam(lr=0.01); wild { optimizer = SGD(lr=1e30) }"
    text = spec(race=race, more="optimizer = SGD(lr=0.1)")
    together, other = run(text), run(text, ways=ways)
    for name, lane in together.items():
        assert lane.gradients == other[name].gradients
        assert (lane.dead, lane.broken) == (other[name].dead, other[name].broken)
    assert len(together["Adam"].gradients["Linear1.weight"]) == 2
    assert together["wild"].broken
    assert not together["Adam"].broken


def test_it_changes_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    class Blind:
        def __init__(self, *_: object) -> None: ...

        gradients: ClassVar[dict[str, float]] = {}

        def health(self, status: str) -> dict[str, Any]:
            return {}

    text = spec(
        "Linear(8); BatchNorm; ReLU; Dropout(0.3); Linear(10)", train="epochs = 3; batch = 16; augment = noise(0.1)"
    )
    watched = run(text)["run"]
    monkeypatch.setattr("nnspec.training.progress.Monitor", Blind)
    blind = run(text)["run"]
    assert not blind.gradients
    assert watched.gradients
    assert (watched.history, watched.trace) == (blind.history, blind.trace)


def test_dead_units_are_counted_exactly() -> None:
    """Units whose bias is far below zero are dead, and no others."""
    program = compiled(spec("Linear(6); ReLU; Linear(5); ReLU; Linear(10)"))
    experiment = program.program.lanes[0]
    plan = plan_alone(experiment, program.layouts["run"], noise(experiment.facts))
    parameters = plan.network.named_parameters()
    for name in ("Linear1.bias", "Linear2.bias"):
        parameters[name].data[...] = 1000.0
    parameters["Linear1.bias"].data[[1, 4]] = -1000.0
    assert dead_units(plan) == {"ReLU1": [2, 6, 50], "ReLU2": [0, 5, 50]}
    assert plan.network.layers[0].training, "it is left ready to train"
    assert "forward" not in vars(plan.network.layers[1]), "nothing is left of the measurement"


@pytest.mark.parametrize(
    ("model", "bias", "expected"),
    [
        ("Reshape([1, 28, 28]); Conv2D(4, 3); ReLU; Flatten; Linear(10)", "Conv2D1.bias", {"ReLU1": [3, 4, 50]}),
        (
            "Reshape([1, 28, 28]); Conv2D(4, 3); ReLU; MaxPool(2); Flatten; Linear(10)",
            "Conv2D1.bias",
            {"ReLU1": [3, 4, 50]},
        ),
        ("Reshape([28, 28]); Conv1D(4, 3); ReLU; Flatten; Linear(10)", "Conv1D1.bias", {"ReLU1": [3, 4, 50]}),
        ("Reshape([28, 28]); Linear(4); ReLU; Flatten; Linear(10)", "Linear1.bias", {"ReLU1": [3, 4, 50]}),
        (
            "residual { Linear(64); ReLU; Linear(784) }; Linear(10)",
            "residual1.Linear1.bias",
            {"residual1.ReLU1": [63, 64, 50]},
        ),
        ("Linear(4); HardSwish; Linear(10)", "Linear1.bias", {"HardSwish1": [3, 4, 50]}),
    ],
    ids=["images", "pooled", "series", "places", "inside", "HardSwish"],
)
def test_units_are_channels_or_features(model: str, bias: str, expected: dict[str, list[int]]) -> None:
    program = compiled(spec(model, data="Digits(train=50, test=20)"))
    experiment = program.program.lanes[0]
    plan = plan_alone(experiment, program.layouts["run"], noise(experiment.facts))
    array = plan.network.named_parameters()[bias].data
    array[...] = -1000.0
    array[0] = 1000.0
    assert dead_units(plan) == expected


# What is said


def test_healthy_trainings_have_no_findings() -> None:
    race = "SGD(lr=0.1); Adam(lr=0.01); Momentum(lr=0.02)"
    text = spec("Linear(32); ReLU; Linear(16); ReLU; Linear(10)", race=race, data=DATA, train="epochs = 8; batch = 16")
    assert kinds(text) == {"SGD": [], "Adam": [], "Momentum": []}


def test_gradients_that_vanish() -> None:
    text = spec(SIGMOIDS, data=DATA, train="epochs = 3; batch = 32")
    (finding,) = found(text)["run"]
    assert (finding.kind, finding.layer, finding.tensor) == ("vanishing", "Linear1", "Linear1.weight")
    assert (finding.line, finding.epoch) == (2, 1)
    assert f"in 3 of 3 epochs below {VANISHING:g}" in finding.text
    assert "Linear11.weight" in finding.text


def test_gradients_that_are_small_because_all_is_learned_do_not_vanish() -> None:
    model = "Linear(32); Tanh; Linear(10)"
    text = spec(model, data="Digits(train=20, test=10)", optimizer="Adam(lr=0.05)", train="epochs = 200; batch = 20")
    lane = run(text)["run"]
    assert lane.gradients["Linear1.weight"][-1] < 0.01 * lane.gradients["Linear1.weight"][0]  # type: ignore[operator]
    assert kinds(text) == {"run": []}


def test_units_that_are_dead() -> None:
    text = spec(DEAF, data=DATA)
    (finding,) = found(text)["run"]
    assert (finding.kind, finding.layer, finding.line) == ("dead", "ReLU2", 2)
    assert finding.text == "8 of 8 units are dead (no sample of 200 makes them positive)"
    assert "LeakyReLU" in finding.advice


@pytest.mark.parametrize(("dead", "said"), [(8, 0), (9, 1)])
def test_a_layer_may_have_some_dead_units(dead: int, said: int) -> None:
    text = spec("Linear(10); ReLU; Linear(10)")
    lane, experiment = run(text)["run"], compiled(text).program.lanes[0]
    assert DEAD * 10 == 8
    assert len(findings(replace(lane, dead={"ReLU1": [dead, 10, 50]}), experiment)) == said


def test_gradients_that_explode() -> None:
    text = spec(HUGE, data=DATA, optimizer="Adam(lr=0.001)")
    (finding,) = found(text)["run"]
    assert (finding.kind, finding.epoch) == ("exploding", 1)
    assert f"above {EXPLODING:g} in 2 of 2 epochs" in finding.text
    assert "clip_norm" in finding.advice
    (clipped,) = found(text, "train.clip_norm=1.0")["run"]
    assert clipped.kind == "exploding"
    assert "clip_norm" not in clipped.advice


@pytest.mark.parametrize(
    ("norms", "text"),
    [
        ([0.1, 1.0, 150.0], "150 at the end of epoch 3, 1.5e+03 times that of epoch 1"),
        ([0.1, None, 1.0], "the gradient of Linear2.weight was NaN or inf at the end of epoch 2"),
        ([1e-9, 1e-3, 1.0], ""),
    ],
    ids=["grown", "no number", "from next to nothing"],
)
def test_gradients_that_grow(norms: list[float | None], text: str) -> None:
    source = spec(train="epochs = 3; batch = 16")
    lane, experiment = run(source)["run"], compiled(source).program.lanes[0]
    zeros: dict[str, float | None] = dict.fromkeys(lane.gradients, 0.0)
    records = [
        replace(record, gradients=zeros | {"Linear2.weight": norm})
        for record, norm in zip(lane.records, norms, strict=True)
    ]
    said = findings(replace(lane, records=records), experiment)
    exploding = [finding.text for finding in said if finding.kind == "exploding"]
    assert len(exploding) == bool(text)
    assert text in "".join(exploding)


def test_the_unit_of_the_targets_does_not_count() -> None:
    """The same regression in another unit has gradients 1,000 times as large, and is as healthy."""
    source = spec("Linear(4); ReLU; Linear(10)", loss="MSE")
    lane, experiment = run(source)["run"], compiled(source).program.lanes[0]
    record = EpochRecord({**lane.records[0].figures, "loss": 1e6}, 1.0, gradients={"Linear1.weight": 5e3})
    large = replace(lane, records=(record, record), dead={})
    assert [f.kind for f in findings(large, experiment)] == ["exploding"], "of classes, every unit counts"
    facts = replace(experiment.data[0].facts, classes=None)
    numbers = replace(experiment, data=(replace(experiment.data[0], facts=facts),))
    assert findings(large, numbers) == ()


@pytest.mark.parametrize("ways", [TOGETHER, ALONE], ids=["stack", "alone"])
def test_a_lane_that_diverges(ways: RunOptions) -> None:
    text = spec(race="SGD(lr=1e30); Adam(lr=0.01)", data=DATA)
    records = run(text, ways=ways).summary["lanes"]
    assert [[each["kind"] for each in record["health"]] for record in records] == [["diverged"], []]
    said = found(text, ways=ways)
    (finding,) = said["SGD"]
    assert (finding.kind, finding.epoch, said["Adam"]) == ("diverged", 1, ())
    assert finding.tensor.startswith("Linear")
    assert finding.tensor in finding.text


def test_over_repeats_each_finding_is_reported_once() -> None:
    text = spec(DEAF, data=DATA, train="epochs = 1; batch = 50; repeats = 3", more="seed = 5")
    result, program = run(text), compiled(text).program
    (finding,) = findings(result["run"], program.lanes[0])
    assert finding.seeds == (5, 6, 7)
    (line,) = health([result["run"]], {"run": program.lanes[0]})
    assert line.endswith("(3 of 3 seeds: 5, 6, 7)")


# Where it is shown


def screen(result: RunResult, text: str) -> str:
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        print_result(result, compiled(text), console)
    return capture.get()


def test_the_screen_says_where_and_what_to_try() -> None:
    text = spec(DEAF, data=DATA)
    shown = [line for line in screen(run(text), text).splitlines() if line.startswith("!")]
    assert shown == [
        "! run: layer ReLU2 (tiny.nn:2): 8 of 8 units are dead (no sample of 200 makes them positive); "
        "try a smaller learning rate, LeakyReLU, or init=he_normal"
    ]
    healthy = spec(data=DATA)
    assert not [line for line in screen(run(healthy), healthy).splitlines() if line.startswith("!")]


def test_few_lines_a_lane() -> None:
    text = spec("Linear(10); ReLU; " * 5 + "Linear(10)")
    lane, experiment = run(text)["run"], compiled(text).program.lanes[0]
    lines = [*health([replace(lane, dead={f"ReLU{i}": [10, 10, 50] for i in range(1, 6)})], {"run": experiment})]
    assert len(lines) == 4
    assert lines[-1] == "! run: and 2 more findings, in summary.json"


def test_the_record_has_it(tmp_path: Path) -> None:
    (tmp_path / "deaf.nn").write_text(spec(DEAF, data=DATA))
    out = tmp_path / "out"
    result = run_into(
        compile_spec(tmp_path / "deaf.nn"),
        OFFLINE,
        Silent(),
        lambda: RunFolder.make("deaf.nn", out, False),
        options=RunOptions(jobs=1),
    )
    (lane,) = json.loads((out / "summary.json").read_text("utf-8"))["lanes"]
    (record,) = lane["health"]
    assert (record["kind"], record["layer"], record["line"], record["tensor"]) == ("dead", "ReLU2", 2, "")
    assert record["file"].endswith("deaf.nn")
    assert "8 of 8 units" in record["text"]
    assert "LeakyReLU" in record["advice"]
    curves = json.loads((out / "history.json").read_text("utf-8"))["lanes"]["run"]
    assert curves["gradient_norms"] == result["run"].gradients
    assert {len(norms) for norms in curves["gradient_norms"].values()} == {2}


def test_of_repeats_each_has_its_own() -> None:
    result = run(spec(train="epochs = 2; batch = 16; repeats = 2"))
    lane = history_record(result)["lanes"]["run"]
    assert "gradient_norms" not in lane
    one, other = (each["gradient_norms"] for each in lane["repeats"])
    assert one.keys() == other.keys()
    assert one != other


def test_a_resumed_run_has_the_same_norms(tmp_path: Path) -> None:
    """Ended after its second epoch, and gone on with."""

    class Ends(Silent):
        def epoch_done(self, lane: LaneResult) -> None:
            if len(lane.epoch_seconds) == 3:
                raise KeyboardInterrupt

    (tmp_path / "tiny.nn").write_text(spec(train="epochs = 5; batch = 16"))

    def go(name: str, observer: Silent, resume: bool) -> RunResult:
        program = compile_spec(tmp_path / "tiny.nn")
        make = lambda: RunFolder.make("tiny.nn", tmp_path / name, False, resume)  # noqa: E731
        return run_into(program, OFFLINE, observer, make, options=RunOptions(jobs=1, resume=resume, checkpoint=0))

    whole = go("whole", Silent(), False)["run"]
    ended = go("parts", Ends(), False)["run"]
    assert {len(norms) for norms in ended.gradients.values()} == {3}
    on = go("parts", Silent(), True)["run"]
    assert (on.gradients, on.dead) == (whole.gradients, whole.dead)
    again = go("whole", Silent(), True)["run"]
    assert (again.gradients, again.dead) == (whole.gradients, whole.dead)


# --- Outcomes that are bad and finite. ---


REGRESSION = """seed = 1
data = CSV("house.csv", target="price", test=0.25)
model { Linear(8); ReLU; Linear(1) }
loss = MSE
optimizer = Adam(lr=0.001)
train { epochs = 2; validation = 0.25; standardise = true }
"""


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Prices near 300,000, which two epochs from weights near 0 do not reach."""
    rows = [f"{40 + 7 * i % 160},{200_000 + 1_500 * (7 * i % 160)}" for i in range(40)]
    (tmp_path / "house.csv").write_text("m2,price\n" + "\n".join(rows) + "\n")
    (tmp_path / "house.nn").write_text(REGRESSION)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "house.nn"


def test_a_regression_that_is_worse_than_the_mean_is_named(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compiled = compile_spec(str(house))
    result = run_into(compiled, OFFLINE, Silent(), None, options=RunOptions(jobs=1))
    lane, experiment = result["run"], compiled.program.lanes[0]
    found = {finding.kind: finding for finding in findings(lane, experiment)}
    finding = found["worse than the mean"]
    assert (finding.layer, finding.line, finding.epoch) == ("", 4, 2)
    assert finding.text.startswith("worse than predicting the mean of the targets: val_loss is ")
    assert "targets on a scale near 1" in finding.advice
    assert "standardise," not in finding.advice, "it is standardised already"
    (line,) = [line for line in health([lane], {"run": experiment}) if "mean" in line]
    assert line.startswith("! run: worse than predicting the mean of the targets: ")
    assert result.exit_code == 0


def test_the_loss_of_the_mean_is_that_of_plain_python(house: Path) -> None:
    compiled = compile_spec(str(house))
    from nnspec.runner.load_data import load_data

    experiment = compiled.program.lanes[0]
    dataset, _ = load_data(compiled.program, OFFLINE)["run"]
    plan = plan_alone(experiment, compiled.layouts["run"], dataset)
    targets = [float(y) for y in np.ravel(dataset.train.y)]
    trained = [targets[i] for i in plan.data.order]
    held_out = [y for i, y in enumerate(targets) if i not in set(plan.data.order)]
    tested = [float(y) for y in np.ravel(dataset.test.y)]
    mean = sum(trained) / len(trained)
    assert len(held_out) == 8
    by_hand = {name: sum((y - mean) ** 2 for y in part) / len(part) for name, part in
               (("val_loss", held_out), ("test_loss", tested))}  # fmt: skip
    assert baseline(plan) == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize("target", ["labels", "input"])
def test_only_regressions_are_compared_with_a_mean(target: str) -> None:
    model = "Linear(6); ReLU; Linear(784)" if target == "input" else "Linear(10)"
    text = spec(model, loss="MSE", train=f"epochs = 1; target = {target}")
    program = compiled(text)
    experiment = program.program.lanes[0]
    plan = plan_alone(experiment, program.layouts["run"], noise(experiment.facts))
    assert set(baseline(plan)) == ({"test_loss"} if target == "input" else set())


def test_a_regression_that_is_better_than_the_mean_is_not_named() -> None:
    text = spec("Linear(16); Tanh; Linear(1)", loss="MSE", data="Sine(train=100, test=40)", optimizer="Adam(lr=0.02)")
    assert kinds(text.replace("epochs = 2", "epochs = 20")) == {"run": []}


@pytest.mark.parametrize(("last", "code"), [(23.0, 0), (23.1, 1)])
def test_a_loss_that_ends_above_ten_times_its_start_is_named_and_exits_with_1(last: float, code: int) -> None:
    text = spec()
    result, experiment = run(text), compiled(text).program.lanes[0]
    lane = result.lanes["run"] = replace(result["run"], records=epochs({"loss": [2.3, last]}))
    assert [finding.kind for finding in findings(lane, experiment)] == ["risen"] * code
    assert result.exit_code == code
    if code:
        (line,) = health([lane], {"run": experiment})
        assert line == (
            "! run: the loss rose from 2.3 in epoch 1 to 23.1 at the end; try a smaller learning rate, clip_norm, or "
            "a warm-up"
        )
