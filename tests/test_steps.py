"""Trainings that are measured in steps: the same bits as by epochs, however they are trained, recorded and resumed."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked import forked
from outcomes import Stopper, outcome
from tiny_spec import OFFLINE, compiled, run, spec

from nnspec.api import compile_spec, run_into
from nnspec.checker import check
from nnspec.diagnostics import Source
from nnspec.engine.length import Length
from nnspec.records.folder import OutputError, RunFolder
from nnspec.results.lane import LaneResult
from nnspec.results.run import RunResult
from nnspec.runner.options import RunOptions
from nnspec.training.observer import Silent

MODEL = "Linear(6); BatchNorm; ReLU; Dropout(0.3); Linear(10)"
OTHERS = "batch = 8; validation = 0.2; augment = noise(0.1)"
BATCHES = 5
"""Per epoch: 40 training samples in batches of 8."""


def text(train: str, **more: Any) -> str:
    settings = {"optimizer": "Adam(lr=cosine(0.01, warmup=3, per=step))"} | more
    return spec(MODEL, train=f"{train}; {OTHERS}", **settings)


def weights(lane: LaneResult) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in lane.network.state_dict().items()}


# The arithmetic of lengths


def test_a_length_in_records_steps_and_epochs() -> None:
    length = Length(steps=23, per_epoch=5, record=4, by_step=True)
    assert (length.records, length.epochs, length.unit) == (6, 4.6, "step")
    assert [length.steps_at(n) for n in range(8)] == [0, 4, 8, 12, 16, 20, 23, 23]
    assert [length.epochs_at(n) for n in (0, 1, 5, 6)] == [0, 0.8, 4, 4.6]
    assert isinstance(length.epochs_at(5), int)
    assert [length.at(n) for n in (1, 6)] == [4, 23]
    assert [Length(15, 5, 5).at(n) for n in (1, 3)] == [1, 3]


def test_a_plan_divides_its_batches_into_records() -> None:
    from tiny_plan import make_plan

    plan = make_plan(text("steps = 12; record = 4"))
    assert [plan.span(n) for n in range(4)] == [range(4), range(4, 8), range(8, 12), range(12, 12)]
    plan = make_plan(text("steps = 5; record = 2; accumulate = 2"))  # three steps an epoch: of two batches, two and one
    assert [plan.span(n) for n in range(3)] == [range(4), range(4, 7), range(7, 9)]


# Bits


def test_steps_are_epochs() -> None:
    by_epoch, by_step = (run(text(train))["run"] for train in ("epochs = 3", f"steps = {3 * BATCHES}"))
    assert by_epoch.history == by_step.history
    assert weights(by_epoch) == weights(by_step)
    assert by_epoch.rates == by_step.rates
    assert by_epoch.fingerprints == by_step.fingerprints
    assert (by_epoch.length, by_step.length) == (None, Length(15, BATCHES, BATCHES, by_step=True))


@pytest.mark.parametrize("record", [1, 2, 3, 7, 10, 14, 40])
def test_records_change_no_bit_of_training(record: int) -> None:
    whole, lane = run(text("epochs = 3"))["run"], run(text(f"epochs = 3; record = {record}"))["run"]
    assert weights(lane) == weights(whole)
    assert len(lane.records) == math.ceil(15 / record)
    assert lane.places["steps"] == [min(record * n, 15) for n in range(1, len(lane.records) + 1)]
    counts = np.diff([0, *lane.places["steps"]])  # all batches have the same number of samples
    means = [np.mean(whole.curve("loss")), np.average(lane.curve("loss"), weights=counts)]
    np.testing.assert_allclose(*means, rtol=1e-6)
    assert lane.final("val_loss") == whole.final("val_loss")


def test_a_training_that_ends_within_an_epoch_is_the_beginning_of_a_longer_one() -> None:
    rate = "Adam(lr=0.01)"
    longer = run(text("steps = 15; record = 1", optimizer=rate))["run"]
    shorter = run(text("steps = 8", optimizer=rate))["run"]
    assert shorter.places == {"steps": [5, 8], "epochs": [1, 1.6]}
    assert {name: digests[1] for name, digests in shorter.trace.items()} == {
        name: digests[7] for name, digests in longer.trace.items()
    }
    assert {name: norms[1] for name, norms in shorter.gradients.items()} == {
        name: norms[7] for name, norms in longer.gradients.items()
    }
    assert shorter.curve("val_loss") == [longer.curve("val_loss")[n] for n in (4, 7)]


def test_a_schedule_ends_where_training_does() -> None:
    lane = run(text("steps = 8; record = 1", optimizer="SGD(lr=linear(0.8))"))["run"]
    assert lane.rates == pytest.approx([0.8 - 0.1 * step for step in range(8)])


@pytest.mark.parametrize("more", ["", "; accumulate = 2", "; drop_last = true; shuffle = false"])
def test_lanes_are_the_same_alone_and_stacked(more: str) -> None:
    racing = text(
        f"steps = 13; record = 3{more}", race="a: SGD(lr=0.1); b: Adam(lr=inverse(0.01, gamma=0.1, per=step))"
    )
    together, alone = (run(racing, ways=RunOptions(jobs=1, stack=stack)) for stack in (True, False))
    assert together.summary["ways"]["stacks"]
    for name in ("a", "b"):
        assert together[name].history == alone[name].history
        assert weights(together[name]) == weights(alone[name])


def test_lanes_of_other_lengths_are_not_stacked_where_their_records_differ() -> None:
    racing = text("epochs = 2; record = 3", race="a: SGD(lr=0.1); b { optimizer = SGD(lr=0.1); train.epochs = 3 }")
    result = run(racing)
    assert result["a"].places["steps"] == [3, 6, 9, 10]
    assert result["b"].places["steps"] == [3, 6, 9, 12, 15]
    assert not result.summary["ways"]["stacks"]


# Stopping


def test_patience_counts_records() -> None:
    stopping = text("steps = 40; record = 2; early_stop = patience(2, min_delta=9, restore_best=true)")
    lane = run(stopping)["run"]
    assert lane.stopped == "after step 6: val_loss did not improve by more than 9 for 2 records"
    assert (len(lane.records), lane.at(lane.restored_epoch)) == (3, 2 * lane.restored_epoch)


def test_epochs_to_a_loss_need_not_be_whole() -> None:
    lane = run(text("steps = 40; record = 2"))["run"]
    reached = next(n for n, loss in enumerate(lane.curve("loss"), 1) if loss <= lane.curve("loss")[2])
    assert lane.epochs_to(lane.curve("loss")[2]) == reached * 2 / BATCHES


def test_a_loss_that_diverges_names_its_batch() -> None:
    lane = run(text("steps = 40; record = 2", optimizer="SGD(lr=1e30)"))["run"]
    assert lane.status == "diverged"
    assert "in epoch 1, batch 2 of 5" in lane.message


# Resuming


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "tiny.nn").write_text(text("steps = 13; record = 3; repeats = 2", optimizer="Adam(lr=0.01)"))
    return tmp_path / "tiny.nn"


def resumed(path: Path, out: Path, observer: Silent | None = None, **settings: object) -> RunResult:
    """Run, or resume, with a checkpoint after every record."""
    return run_into(
        compile_spec(path, {name.replace("__", "."): value for name, value in settings.items()}),
        OFFLINE,
        observer or Silent(),
        partial(RunFolder.make, str(path), out, resume=True),
        options=RunOptions(jobs=1, resume=True, checkpoint=0),
    )


@pytest.mark.usefixtures("undrawn")
def test_it_resumes_within_an_epoch(path: Path, tmp_path: Path) -> None:
    resumed(path, tmp_path / "whole")
    for record in (1, 2, 3, 4):
        out = tmp_path / str(record)
        assert resumed(path, out, Stopper(record)).exit_code == 130
        resumed(path, out)
        assert outcome(out) == outcome(tmp_path / "whole"), record


@pytest.mark.usefixtures("undrawn")
def test_it_is_extended_by_more_steps(path: Path, tmp_path: Path) -> None:
    resumed(path, tmp_path / "whole")
    for steps in (3, 12):
        out = tmp_path / str(steps)
        resumed(path, out, train__steps=steps)
        resumed(path, out)
        assert outcome(out) == outcome(tmp_path / "whole"), steps


@pytest.mark.usefixtures("undrawn")
def test_what_cannot_be_extended_is_refused(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    resumed(path, out)
    with pytest.raises(OutputError, match=r"run ended after 13 steps, within the steps between two records of 3, so"):
        resumed(path, out, train__steps=20)
    with pytest.raises(OutputError, match=r"`train.steps` of run was 13 and is now 12"):
        resumed(path, out, train__steps=12)
    with pytest.raises(OutputError, match=r"the number of steps of run was 13 and is now 5"):
        resumed(path, out, train__epochs=1)


# What the spec says


def diagnostics(train: str, *flags: str) -> list[tuple[str, str]]:
    checked = check(Source("tiny.nn", spec(train=train)), [Source("--set", flag) for flag in flags])
    return [(each.code, each.message) for each in checked.diagnostics]


def test_epochs_and_steps_together_are_an_error() -> None:
    told = [("NN204", "`train.steps` and `train.epochs` both say how long to train")]
    assert diagnostics("epochs = 3; steps = 10") == told
    assert diagnostics("epochs = 3", "train.steps=10", "train.epochs=2")[0][0] == "NN204"
    assert diagnostics("epochs = 3; steps = none") == []


@pytest.mark.parametrize(
    ("train", "flags", "steps"),
    [
        ("epochs = 3", ["train.steps=7"], 7),
        ("steps = 7", ["train.epochs=2"], 8),
        ("epochs = 2", ["train.steps=none"], 8),
        ("steps = 7", [], 7),
    ],
)
def test_the_later_of_epochs_and_steps_counts(train: str, flags: list[str], steps: int) -> None:
    (experiment,) = compiled(spec(train=f"{train}; batch = 16"), *flags).program.lanes
    assert experiment.length.steps == steps


def test_steps_are_swept_and_raced() -> None:
    lanes = compiled(spec(race="a { train.steps = 3; optimizer = SGD }; b { optimizer = SGD }")).program.lanes
    assert [lane.length.steps for lane in lanes] == [3, 8]
    swept = spec(train="epochs = 2; batch = 16", more="sweep { train.steps = [3, 5] }")
    assert [lane.length.steps for lane in compiled(swept).program.lanes] == [3, 5]


def test_lint_counts_steps_and_records() -> None:
    late = spec(optimizer="SGD(lr=step(0.1, every=30, per=step))", train="steps = 30; batch = 16")
    checked = check(Source("tiny.nn", late), [])
    assert [each.message for each in checked.diagnostics] == [
        "the first step of `step` comes after 30 steps, but training ends after 30 steps"
    ]
    stop = "steps = 30; record = 10; batch = 16; validation = 0.2; early_stop = patience(2)"
    assert diagnostics(stop) == [
        ("NN717", "`patience` stops after 3 records at the earliest, but training ends after 3 records")
    ]


# What is shown and recorded


def test_records_and_screens_speak_of_steps(path: Path, tmp_path: Path) -> None:
    done = forked("run", path, "--out", tmp_path / "out", "--offline", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "13/13" in done.stdout
    assert " step " in done.stdout
    assert "epoch" not in done.stdout
    (lane,) = json.loads((tmp_path / "out/summary.json").read_text())["lanes"]
    assert (lane["steps"], lane["steps_asked_for"], lane["epochs"], lane["epochs_asked_for"]) == (13, 13, 2.6, 2.6)
    history = json.loads((tmp_path / "out/history.json").read_text())["lanes"]["run"]
    assert history["steps"] == [3, 6, 9, 12, 13]
    assert history["epochs"] == [0.6, 1.2, 1.8, 2.4, 2.6]
    for command in ("verify", "report", "plot", "eval"):
        done = forked(command, tmp_path / "out", cwd=tmp_path)
        assert done.returncode == 0, (command, done.stderr)
    page = next(tmp_path.rglob("report.html")).read_text()
    assert ">step</text>" in page
    assert "13/13" in page


def test_lanes_in_steps_and_in_epochs_share_an_axis_of_epochs() -> None:
    racing = spec(race="a: SGD(lr=0.1); b { optimizer = SGD(lr=0.1); train.steps = 6 }", train="epochs = 2; batch = 16")
    result = run(racing)
    assert result["b"].places == {"steps": [4, 6], "epochs": [1, 1.5]}
    figure = result.plot()
    assert {axis.get_xlabel() for axis in figure.axes} == {"epoch"}
