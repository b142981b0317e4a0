"""A run on disk: its folder, files that are whole or not there, and what they say."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info
from tiny_spec import ROOT, run, spec

import nnspec
from nnspec.environment import environment
from nnspec.files import atomic
from nnspec.records import folder as folder_module
from nnspec.records.folder import OutputError, RunFolder
from nnspec.records.write import history_record, write_record
from nnspec.results.run import RunResult

RACE = spec(
    race="SGD(lr=0.1); Adam(lr=0.01)", train="epochs = 3; batch = 16", expect="gradient_error < 1", more="seed = 5"
)


@pytest.fixture(scope="module")
def result() -> RunResult:
    return run(RACE)


def strict(path: Path) -> Any:
    """Read JSON that holds no NaN and no infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{path} holds {word}")

    return json.loads(path.read_text("utf-8"), parse_constant=refuse)


# Folders


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_runs_are_numbered_and_latest_is_the_last_finished(here: Path) -> None:
    for number in (1, 2, 3):
        made = RunFolder.make("specs/race.nn", None, False)
        assert made.path == Path("runs/race") / str(number)
        made.finish()
        assert os.readlink(here / "runs/race/latest") == str(number)
    RunFolder.make("race.nn", None, False)
    assert os.readlink(here / "runs/race/latest") == "3"
    assert sorted(os.listdir(here / "runs/race")) == ["1", "2", "3", "4", "latest"]


@pytest.mark.parametrize(("there", "number"), [([], 1), (["9", "10"], 11), (["2", "old", "x3", "٣"], 3), (["007"], 8)])
def test_the_next_number_is_one_more_than_the_highest(here: Path, there: list[str], number: int) -> None:
    for name in there:
        (here / "runs/race" / name).mkdir(parents=True)
    assert RunFolder.make("race.nn", None, False).path.name == str(number)


def test_a_number_that_somebody_else_takes_first_is_passed_over(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Path.mkdir

    def raced(path: Path, *args: Any, **more: Any) -> None:
        if path.name == "1":
            honest(path)
        honest(path, *args, **more)

    monkeypatch.setattr(Path, "mkdir", raced)
    assert RunFolder.make("race.nn", None, False).path.name == "2"


def test_somebody_elses_latest_stays(here: Path) -> None:
    (here / "runs/race/latest").mkdir(parents=True)
    RunFolder.make("race.nn", None, False).finish()
    assert not (here / "runs/race/latest").is_symlink()


def test_a_named_folder_is_made_and_has_no_latest(here: Path) -> None:
    made = RunFolder.make("race.nn", "deep/er/out", False)
    made.finish()
    assert made.path.is_dir()
    assert os.listdir(here / "deep/er") == ["out"]
    assert not (here / "runs").exists()


def test_a_named_folder_that_holds_something_needs_force(here: Path) -> None:
    (here / "out").mkdir()
    RunFolder.make("race.nn", "out", False)  # empty: fine
    (here / "out/mine.txt").write_text("mine")
    with pytest.raises(
        OutputError, match="out is not empty; choose another folder, or write into this one with --force"
    ):
        RunFolder.make("race.nn", "out", False)
    (here / "out/trials").mkdir()
    (here / "out/trials/run.json").write_text("{}")
    with pytest.raises(OutputError, match="out is not empty; continue its run with --resume, choose another folder"):
        RunFolder.make("race.nn", "out", False)
    RunFolder.make("race.nn", "out", True)
    assert (here / "out/mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("file", "out", "message"),
    [
        ("out", "out", "out is a file, not a folder"),
        ("out", "out/inside", "cannot write to out"),
        ("runs", None, "cannot write to runs"),
        ("runs/race", None, "cannot write to runs/race"),
    ],
)
def test_a_file_in_the_way_is_named(here: Path, file: str, out: str | None, message: str) -> None:
    (here / file).parent.mkdir(exist_ok=True)
    (here / file).write_text("in the way")
    with pytest.raises(OutputError, match=message):
        RunFolder.make("race.nn", out, True)
    assert (here / file).read_text() == "in the way"


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("out", ["locked", "locked/inside"])
def test_a_place_that_cannot_be_written_to_is_named(here: Path, out: str) -> None:
    (here / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match=r"cannot write to .*locked.*choose another folder with --out"):
        RunFolder.make("race.nn", out, False)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_errors_of_the_system_are_passed_on(here: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError, match=f"out: {os.strerror(code)}; choose another folder"):
        RunFolder.make("race.nn", "out", False)


def test_only_an_empty_folder_that_the_run_made_is_removed_again(here: Path) -> None:
    (here / "theirs").mkdir()
    for out, stays in (("theirs", True), ("ours", False)):
        RunFolder.make("race.nn", out, False).leave()
        assert (here / out).exists() is stays
    full = RunFolder.make("race.nn", None, False)
    (full.path / "history.json").write_text("{}")
    full.leave()
    assert (full.path / "history.json").exists()


# Files


def test_a_file_is_written_whole_with_ordinary_permissions(tmp_path: Path) -> None:
    with atomic(tmp_path / "a.txt") as file:
        file.write(b"whole")
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["a.txt"]
    (tmp_path / "b.txt").write_bytes(b"")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_a_failure_leaves_only_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "a.txt").write_bytes(b"old")

    def write_half() -> None:
        with atomic(tmp_path / "a.txt") as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        write_half()
    assert os.listdir(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"old"


def test_a_rename_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(folder_module.os, "replace", refuse)
    with pytest.raises(OSError, match="full"), atomic(tmp_path / "a.txt") as file:
        file.write(b"whole")
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fills_up_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.nn").write_text(RACE)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder_module.os, "fsync", full)
    with pytest.raises(OutputError, match=r"cannot write to .*out: No space left on device"):
        nnspec.run(tmp_path / "a.nn", out=tmp_path / "out", offline=True)
    assert not (tmp_path / "out").exists()


def test_a_disk_that_fills_up_in_training_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.nn").write_text(RACE)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nnspec.records.write.atomic", full)
    with pytest.raises(
        OutputError, match=r"the run cannot be written to .*out: history.json \(No space left on device\), "
    ):
        nnspec.run(tmp_path / "a.nn", out=tmp_path / "out", offline=True)
    assert len([*(tmp_path / "out/checkpoints").glob("*/seed-5.npz")]) == 2  # what was trained is not lost


# Records


@pytest.mark.usefixtures("drawn")
def test_a_run_leaves_history_summary_weights_and_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.nn").write_text(RACE)
    result = nnspec.run(tmp_path / "a.nn", out=tmp_path / "out", offline=True)
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*"))
    weights = ["Adam", "Adam/weights.npz", "SGD", "SGD/weights.npz"]
    kept = [f"checkpoints/{path}" for path in ("Adam", "Adam/seed-5.npz", "SGD", "SGD/seed-5.npz")]
    records = ["curves.png", "history.json", "run.json", "spec.nn", "summary.json", "trace.json"]
    assert files == sorted([*weights, "checkpoints", *kept, *records])
    assert (tmp_path / "out/spec.nn").read_text("utf-8") == RACE
    assert result.folder == (tmp_path / "out").as_posix()
    assert (tmp_path / "out/curves.png").read_bytes().startswith(b"\x89PNG")
    assert strict(tmp_path / "out/history.json") == history_record(result)
    assert strict(tmp_path / "out/summary.json") == result.summary


def test_weights_are_those_of_the_network(result: RunResult, tmp_path: Path) -> None:
    write_record(result, tmp_path)
    for lane in result.values():
        with np.load(tmp_path / lane.name / "weights.npz", allow_pickle=False) as stored:
            named = lane.network.named_parameters()
            assert list(stored) == list(named) == ["Linear1.weight", "Linear1.bias", "Linear2.weight", "Linear2.bias"]
            for name, parameter in named.items():
                assert stored[name].dtype == np.float32
                np.testing.assert_array_equal(stored[name], parameter.data)


def test_history_is_a_list_an_epoch_for_each_figure(result: RunResult, tmp_path: Path) -> None:
    write_record(result, tmp_path)
    record = strict(tmp_path / "history.json")
    assert record["format"] == 1
    for name, lane in result.items():
        norms = record["lanes"][name].pop("gradient_norms")
        assert norms == lane.gradients
        assert record["lanes"][name] == {**lane.history, "seconds": lane.epoch_seconds}
        assert {len(values) for values in (*record["lanes"][name].values(), *norms.values())} == {3}


def test_two_runs_differ_in_seconds_only(tmp_path: Path) -> None:
    texts = []
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        write_record(run(RACE), tmp_path / str(number))
        lines = (tmp_path / str(number) / "history.json").read_text().splitlines()
        record = strict(tmp_path / str(number) / "history.json")
        seconds = {repr(s) for lane in record["lanes"].values() for s in lane["seconds"]}
        texts.append([line for line in lines if line.strip(" ,") not in seconds])
        assert len(lines) - len(texts[-1]) == 6
    assert texts[0] == texts[1]
    weights = [(tmp_path / n / "Adam/weights.npz").read_bytes() for n in "12"]
    assert weights[0] == weights[1]


def test_summary_says_what_was_run_and_on_what(result: RunResult) -> None:
    summary = result.summary
    assert (summary["title"], summary["seed"], summary["exit_code"], summary["interrupted"]) == ("tiny", 5, 0, False)
    assert summary["spec"] == {
        "path": "tiny.nn",
        "sha256": hashlib.sha256(RACE.encode()).hexdigest(),
        "set": [],
        "imports": [],
    }
    (data,) = summary["data"]
    assert (data["source"], data["asked_for"], data["stands_in"], data["train"], data["test"]) == (
        *("Digits", "Digits"),
        *(False, 50, 20),
    )
    drawn = nnspec.data.Digits(train=50, test=20).load(nnspec.data.Access())
    assert (data["sha256"], data["origin"]) == (drawn.sha256, "drawn by nnspec, seed 0")
    assert summary["gradient_error"] == result.gradient_error
    assert summary["expectations"][0]["held"] is True


def test_the_blas_of_scipy_is_not_part_of_the_environment() -> None:
    pytest.importorskip("scipy.linalg", reason="scikit-learn brings SciPy, which has a BLAS of its own")
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert len(environment()["blas"]) == sum("scipy.libs" not in pool["filepath"] for pool in pools)


def test_summary_names_versions_blas_and_its_one_thread(result: RunResult) -> None:
    on = result.summary["environment"]
    assert (on["nnspec"], on["python"], on["numpy"]) == (
        nnspec.__version__,
        platform.python_version(),
        np.__version__,
    )
    assert (on["system"], on["machine"]) == (platform.system(), platform.machine())
    assert on["blas"], "NumPy has a BLAS"
    assert all(set(pool) == {"library", "version", "architecture", "threads"} for pool in on["blas"])
    assert {pool["threads"] for pool in on["blas"]} == {1}


def test_summary_says_what_came_of_each_lane(result: RunResult) -> None:
    for record, lane in zip(result.summary["lanes"], result.values(), strict=True):
        assert (record["name"], record["status"], record["epochs"]) == (lane.name, "done", 3)
        assert record["final"] == {name: values[-1] for name, values in lane.history.items()}
        count = record["epochs_to_common_loss"]
        assert lane.history["loss"][count - 1] <= result.summary["common_loss"]
        assert all(loss > result.summary["common_loss"] for loss in lane.history["loss"][: count - 1])
        assert record["seconds_to_common_loss"] == math.fsum(lane.epoch_seconds[:count])


def test_settings_from_outside_are_on_record() -> None:
    result = run(RACE, "train.epochs=1", "seed=9")
    assert result.summary["spec"]["set"] == ["train.epochs=1", "seed=9"]
    assert (result.summary["seed"], result.summary["lanes"][0]["epochs_asked_for"]) == (9, 1)


@pytest.mark.parametrize(
    "text",
    [
        spec(race="SGD(lr=1e30); Adam"),
        spec(optimizer="SGD(lr=1e30)"),
        spec("Linear(6, init=zeros); ReLU; Linear(10)", expect="gradient_error < 1"),
        spec(expect="epochs_to(loss=0) < 3"),
        spec(optimizer="Adam(lr=1.0)", loss="MSE"),
    ],
    ids=["one lane diverges", "all lanes diverge", "gradients not measured", "never reached", "large losses"],
)
def test_records_always_contain_finite_numbers(text: str, tmp_path: Path) -> None:
    result = run(text)
    write_record(result, tmp_path)
    for name in ("history.json", "summary.json"):
        strict(tmp_path / name)
    kept = {lane.name for lane in result.values() if lane.status == "done"}
    assert {path.parent.name for path in tmp_path.rglob("weights.npz")} == kept


def test_the_folder_of_runs_is_not_under_version_control() -> None:
    assert "runs/" in (ROOT / ".gitignore").read_text().splitlines()
