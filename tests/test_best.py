"""The best epoch of a training: kept in its checkpoint, and with `restore_best` what the lane ends with."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outcomes import Stopper, outcome
from tiny_spec import OFFLINE, command, spec

from nnspec import run, runs
from nnspec.api import compile_spec, run_into
from nnspec.records.folder import RunFolder
from nnspec.results.lane import LaneResult
from nnspec.runner.options import RunOptions
from nnspec.runner.resuming import Checkpoints
from nnspec.runner.run import run_program
from nnspec.semantics.meaning import meaning
from nnspec.training.groups import failed, trainings
from nnspec.training.observer import Silent

pytestmark = pytest.mark.usefixtures("undrawn")


def text(rule: str, *, epochs: int = 12, race: str = "", validation: float = 0.2, repeats: int = 1) -> str:
    """A spec whose training overfits: few samples, a high rate, and noise from the batches."""
    return spec(
        "Linear(16); BatchNorm; ReLU; Dropout(0.2); Linear(10)",
        optimizer="Adam(lr=0.05)",
        race=race,
        train=f"epochs = {epochs}; batch = 8; validation = {validation}; repeats = {repeats}\n{rule}",
        more="seed = 3",
    )


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.nn").write_text(text("early_stop = patience(4, restore_best=true)"))
    return tmp_path / "tiny.nn"


class Weights(Silent):
    """Keeps a copy of a lane's weights and state after every epoch."""

    def __init__(self) -> None:
        self.found: dict[str, list[dict[str, bytes]]] = {}

    def epoch_done(self, lane) -> None:
        arrays = {name: p.data.tobytes() for name, p in lane.network.named_parameters().items()}
        arrays |= {name: array.tobytes() for name, array in lane.network.state().items()}
        self.found.setdefault(lane.name, []).append(arrays)


def now(lane) -> dict[str, bytes]:
    arrays = {name: p.data.tobytes() for name, p in lane.network.named_parameters().items()}
    return arrays | {name: array.tobytes() for name, array in lane.network.state().items()}


@pytest.mark.parametrize("of", ["val_loss", "val_accuracy", "loss", "test_accuracy"])
def test_the_lane_ends_with_weights_and_figures_of_its_best_epoch(path: Path, of: str) -> None:
    path.write_text(
        text(
            f"early_stop = patience(3, of={of}, restore_best=true)", race="Adam(lr=0.05); SGD(lr=2.0); Momentum(lr=0.1)"
        )
    )
    seen = Weights()
    result = run_program(compile_spec(path), OFFLINE, seen)
    kept = []
    for lane in result.values():
        values = lane.history[of]
        best = int(np.argmax(values) if of.endswith("accuracy") else np.argmin(values))
        assert lane.final(of) == values[best]
        assert now(lane) == seen.found[lane.name][best]
        assert lane.restored_epoch == (best + 1 if best + 1 < len(values) else 0)
        assert lane.final("loss") == lane.history["loss"][best]
        kept.append(lane.restored_epoch)
    assert any(kept)


def test_without_it_the_last_epoch_counts(path: Path) -> None:
    path.write_text(text("early_stop = patience(4)"))
    seen = Weights()
    lane = run_program(compile_spec(path), OFFLINE, seen)["run"]
    assert (lane.restored_epoch, now(lane)) == (0, seen.found["run"][-1])
    assert lane.final("val_loss") == lane.history["val_loss"][-1] != min(lane.history["val_loss"])


def test_small_improvements_count_that_do_not_for_patience(path: Path) -> None:
    path.write_text(text("early_stop = patience(3, of=loss, min_delta=5, restore_best=true)"))
    lane = run(path)["run"]
    assert len(lane.history["loss"]) == 4
    assert lane.final("loss") == min(lane.history["loss"]) < lane.history["loss"][0]


def test_the_record_says_which_epoch_it_was(path: Path) -> None:
    done = command("run", "tiny.nn", "--out", "out", "-q", cwd=path.parent)
    assert done.returncode == 0, done.stderr
    summary = json.loads((path.parent / "out/summary.json").read_text())
    history = json.loads((path.parent / "out/history.json").read_text())["lanes"]["run"]["val_loss"]
    (lane,) = summary["lanes"]
    best = int(np.argmin(history)) + 1
    assert lane["kept_epoch"] == best < lane["epochs"] == len(history)
    assert lane["final"]["val_loss"] == min(history)
    assert f"– run has the weights and figures of epoch {best}, the best" in done.stdout.splitlines()
    assert command("verify", "out", "-q", cwd=path.parent).returncode == 0


def test_of_repeats_it_says_whose_epochs_are_kept(path: Path) -> None:
    path.write_text(text("early_stop = patience(3, of=val_loss, restore_best=true)", repeats=3))
    done = command("run", "tiny.nn", "--out", "out", "-q", cwd=path.parent)
    curves = json.loads((path.parent / "out/history.json").read_text())["lanes"]["run"]["repeats"]
    best = [(one["seed"], int(np.argmin(one["val_loss"])) + 1, len(one["val_loss"])) for one in curves]
    kept = {seed: epoch for seed, epoch, epochs in best if epoch < epochs}
    epochs, seeds = (", ".join(map(str, each)) for each in (kept.values(), kept))
    many = "s" if len(kept) > 1 else ""
    wanted = f"– run has the weights and figures of epoch{many} {epochs} (seed{many} {seeds}), the best"
    assert kept
    assert wanted in done.stdout.splitlines()


def test_expectations_are_judged_by_the_epoch_that_was_kept(path: Path) -> None:
    history = run(path)["run"].history["val_loss"]
    between = (min(history) + history[-1]) / 2
    path.write_text(path.read_text() + f"expect {{ val_loss < {between} }}\n")
    assert run(path).exit_code == 0
    path.write_text(path.read_text().replace("restore_best=true", "restore_best=false"))
    assert run(path).exit_code == 1


def test_repeats_have_each_their_own(path: Path) -> None:
    path.write_text(text("early_stop = patience(4, restore_best=true)", repeats=3))
    lane = run(path)["run"]
    assert lane.final("val_loss") == pytest.approx(np.mean([min(one.history["val_loss"]) for one in lane.repeats]))


def test_it_is_the_same_after_resuming_from_any_epoch(path: Path, tmp_path: Path) -> None:
    whole = run(path, out="whole")["run"]
    assert 1 < whole.restored_epoch < len(whole.epoch_seconds)
    for epoch in range(2, len(whole.epoch_seconds)):
        make = partial(RunFolder.make, "tiny.nn", tmp_path / str(epoch), resume=True)
        run_into(
            compile_spec(path), OFFLINE, Stopper(epoch), make, options=RunOptions(jobs=1, resume=True, checkpoint=0)
        )
        assert run(path, out=tmp_path / str(epoch), resume=True)["run"].restored_epoch == whole.restored_epoch
        assert outcome(tmp_path / str(epoch)) == outcome(tmp_path / "whole"), epoch
    again = run(path, out=tmp_path / "whole", resume=True)["run"]  # nothing is left to train
    assert (again.restored_epoch, again.final("val_loss")) == (whole.restored_epoch, whole.final("val_loss"))
    assert now(again) == now(whole)


def test_every_checkpoint_has_the_last_and_the_best(path: Path) -> None:
    for rule, validation, figure in (
        ("", 0.2, "val_loss"),
        ("", 0.0, "loss"),
        ("early_stop = patience(9)", 0.2, "val_loss"),
    ):
        path.write_text(text(rule, validation=validation))
        seen = Weights()
        result = run_into(
            compile_spec(path),
            OFFLINE,
            seen,
            partial(RunFolder.make, "tiny.nn", "out", force=True),
            options=RunOptions(jobs=1, checkpoint=0),
        )
        values = result["run"].history[figure]
        with np.load("out/checkpoints/run/seed-3.npz", allow_pickle=False) as archive:
            header = json.loads(archive["checkpoint"].tobytes())
            best = {name.removeprefix("best."): archive[name].tobytes() for name in archive.files if "best." in name}
        assert header["best"]["figure"] == figure
        assert header["best"]["epoch"] == int(np.argmin(values)) + 1
        assert best == seen.found["run"][int(np.argmin(values))]


BEST = text("early_stop = patience(14, restore_best=true)", epochs=14)


def best_so_far(lane: LaneResult, seen: Weights) -> None:
    """Hold a lane against the best of the epochs that it has, found in its history by hand."""
    values = lane.history["val_loss"]
    best = int(np.argmin(values))
    assert now(lane) == seen.found["run"][best]
    assert lane.final("val_loss") == min(values)
    assert lane.restored_epoch in (best + 1, 0 if best + 1 == len(values) else best + 1)


class Watching(Weights):
    """Also presses Ctrl-C after an epoch, as SIGTERM and --fail-fast do."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def epoch_done(self, lane: LaneResult) -> None:
        super().epoch_done(lane)
        if len(lane.epoch_seconds) == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("epoch", [1, 8, 13])
def test_ctrl_c_keeps_the_best_epoch(path: Path, epoch: int) -> None:
    path.write_text(BEST)
    seen = Watching(epoch)
    make = partial(RunFolder.make, "tiny.nn", "out", force=True)
    lane = run_into(compile_spec(path), OFFLINE, seen, make, options=RunOptions(jobs=1))["run"]
    assert (lane.status, len(lane.epoch_seconds)) == ("interrupted", epoch)
    best_so_far(lane, seen)
    assert bool(lane.restored_epoch) == (epoch > 1)
    assert all(one.same for one in runs.evaluate("out"))
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["lanes"][0]["final"]["val_loss"] == min(lane.history["val_loss"])


def test_ctrl_c_as_the_best_is_copied_loses_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(BEST)
    seen, copied = Weights(), 0
    copyto = np.copyto

    def interrupting(target: Any, source: Any, **more: Any) -> None:
        nonlocal copied
        copied += 1
        if copied == 60:
            raise KeyboardInterrupt
        copyto(target, source, **more)

    monkeypatch.setattr("nnspec.training.best_epoch.np.copyto", interrupting)
    lane = run_program(compile_spec(path), OFFLINE, seen)["run"]
    assert lane.status == "interrupted"
    monkeypatch.undo()
    values = lane.history["val_loss"]
    whole = Weights()
    run_program(compile_spec(path), OFFLINE, whole)
    assert now(lane) == whole.found["run"][int(np.argmin(values))]


def test_a_lane_that_diverges_keeps_its_best_epoch_and_is_not_chosen(path: Path) -> None:
    path.write_text(
        text(
            "early_stop = patience(9, restore_best=true)",
            epochs=6,
            race="bad: SGD(lr=piecewise(0.1, boundaries=[3], values=[1e30])); good: SGD(lr=1e-4)",
        ).replace("BatchNorm; ", "")
    )
    seen = Weights()
    result = run_into(
        compile_spec(path),
        OFFLINE,
        seen,
        partial(RunFolder.make, "tiny.nn", "out", force=True),
        options=RunOptions(jobs=1),
    )
    lane = result["bad"]
    assert lane.status == "diverged"
    assert len(lane.epoch_seconds) == 3
    values = lane.history["val_loss"]
    assert now(lane) == seen.found["bad"][int(np.argmin(values))]
    assert lane.final("val_loss") == min(values)
    assert result.exit_code == 1
    assert runs.load("out").lane == "good"
    assert runs.load("out", "bad").lane == "bad"
    assert all(one.same for one in runs.evaluate("out"))
    assert runs.verify("out").same
    again = run(path, out="out", resume=True)["bad"]
    assert (again.status, now(again)) == ("diverged", now(lane))


def test_what_failed_keeps_the_best_of_its_checkpoint(path: Path, tmp_path: Path) -> None:
    path.write_text(BEST)
    compiled = compile_spec(path)
    seen = Watching(9)
    run_into(
        compiled,
        OFFLINE,
        seen,
        partial(RunFolder.make, "tiny.nn", "out", force=True),
        options=RunOptions(jobs=1, checkpoint=0),
    )
    data = json.loads(Path("out/summary.json").read_text())["data"][0]["sha256"]
    checkpoints = Checkpoints(tmp_path / "out/checkpoints", meaning(compiled.program), resume=True)
    (training,), _ = checkpoints.enter(trainings(compiled), {"run": data})
    lane = failed(training, "its process was ended")
    values = lane.history["val_loss"]
    assert (lane.status, len(values), lane.restored_epoch) == ("failed", 8, 7)
    assert now(lane) == seen.found["run"][int(np.argmin(values))]
