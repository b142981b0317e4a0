"""Killed runs are resumed to the same bits, or with an error that says why not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outcomes import Stopper, outcome
from tiny_spec import COMMAND, OFFLINE, command, environment, nnspec, spec

from nnspec import run
from nnspec.api import compile_spec, run_into
from nnspec.cli import _code
from nnspec.compiler.proofs import Compiled
from nnspec.errors import NnspecError
from nnspec.records.folder import OutputError, RunFolder
from nnspec.records.saved import resume_command
from nnspec.results.run import RunResult
from nnspec.runner.drawing import NoDrawing
from nnspec.runner.options import RunOptions
from nnspec.training import checkpoint as checkpoint_module
from nnspec.training.checkpoint import CheckpointError
from nnspec.training.observer import Silent

pytestmark = pytest.mark.usefixtures("undrawn")

SPEC = spec(
    model="Linear(16); BatchNorm; ReLU; Dropout(0.3); Linear(10)",
    data="Digits(train=300, test=50)",
    race="Adam(lr=plateau(0.01, patience=1)); NAdam(lr=0.01); Momentum(lr=cosine(0.05)); wide { train.batch = 50 }",
    train="epochs = 12; batch = 16; validation = 0.2; repeats = 2; augment = noise(0.1)\n"
    "early_stop = patience(2, min_delta=0.05)",
    more="seed = 42\noptimizer = SGD(lr=0.1)",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "tiny.nn").write_text(SPEC)
    return tmp_path / "tiny.nn"


class Crash:
    """Ends this process, as if it were killed, just before its n-th change of a folder; an audit hook.

    A change is a file made, renamed or removed, or a folder made. With `torn`, a file that was about to get its name
    has lost its second half, as after a power cut.
    """

    def __init__(self, folder: Path, at: int, torn: bool) -> None:
        self.folder, self.at, self.torn, self.changes = str(folder), at, torn, []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("open", "os.mkdir", "os.rename", "os.remove") or not str(arguments[0]).startswith(self.folder):
            return
        if (event == "open" and not arguments[2] & os.O_CREAT) or (event == "os.mkdir" and os.path.isdir(arguments[0])):
            return
        self.changes.append(event)
        if len(self.changes) == self.at:
            if self.torn:
                os.truncate(arguments[0], os.path.getsize(arguments[0]) // 2)
            os._exit(DIED)


DIED = 77
SHARES = 8
SHORT = spec(
    model="Linear(6); BatchNorm; ReLU; Dropout(0.3); Linear(10)",
    data="Digits(train=40, test=20)",
    race="Adam(lr=plateau(0.01, patience=1)); wide { optimizer = Momentum(lr=cosine(0.05)); train.batch = 20 }",
    train="epochs = 3; batch = 16; validation = 0.2; repeats = 2; augment = noise(0.1)\n"
    "early_stop = patience(1, min_delta=0.05)",
    more="seed = 42\noptimizer = SGD(lr=0.1)",
)


@cache
def compile_once(path: Path, text: str) -> Compiled:
    """Write a spec with this text, and compile it."""
    return compile_spec(path)


def resumed(path: Path, out: Path, observer: Silent | None = None) -> RunResult:
    """Run, or resume, with a checkpoint after every epoch."""
    make = partial(RunFolder.make, str(path), out, resume=True)
    compiled = compile_once(path, path.read_text())
    return run_into(
        compiled,
        OFFLINE,
        observer or Silent(),
        make,
        options=RunOptions(jobs=1, resume=True, checkpoint=0),
        drawing=NoDrawing(),
    )


def dies(path: Path, out: Path, at: int, torn: bool = False) -> list[str]:
    """Run in a process that ends before a given change of its folder; return the changes if there were fewer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks beside threads
        child = os.fork()
    note = out.with_suffix(".changes")
    if child == 0:
        code = 1
        try:
            crash = Crash(out, at, torn)
            sys.addaudithook(crash)
            resumed(path, out)
            note.write_text(" ".join(crash.changes))
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == (0 if note.exists() else DIED)
    return note.read_text().split() if note.exists() else []


@dataclass(frozen=True)
class Whole:
    """An undisturbed run: its spec, its results, and the changes of its folder."""

    path: Path
    outcome: Any
    changes: list[str]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.nn").write_text(SHORT)
    changes = dies(folder / "tiny.nn", folder / "whole", at=0)
    return Whole(folder / "tiny.nn", outcome(folder / "whole"), changes)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_there_are_many_changes_of_the_disk(whole: Whole) -> None:
    counts = {change: whole.changes.count(change) for change in whole.changes}
    assert counts["open"] == counts["os.rename"] + 1 > 15  # one tries whether the folder can be written to
    assert counts["os.mkdir"] >= 6  # the run, its checkpoints, and two for each of two lanes
    assert len(whole.outcome[1]) > 25


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("share", range(SHARES))
def test_a_run_killed_before_any_write_resumes_to_the_same_bits(share: int, whole: Whole, tmp_path: Path) -> None:
    crashes = [(at, torn) for at, change in enumerate(whole.changes, 1) for torn in {False, change == "os.rename"}]
    assert len(crashes) > 50
    for at, torn in crashes[share::SHARES]:
        out = tmp_path / f"{at} {torn}"
        assert not dies(whole.path, out, at, torn)
        resumed(whole.path, out)
        assert outcome(out) == whole.outcome, (at, torn)
        assert not [*out.rglob("*.part")], (at, torn)


def test_it_resumes_from_every_epoch_with_all_its_state(path: Path, tmp_path: Path) -> None:
    path.write_text(
        spec(
            "Linear(6); Dropout(0.2); Linear(10)",
            optimizer="Adam(lr=plateau(0.02, patience=2, gamma=0.3, min_delta=0.05))",
            train="epochs = 30; batch = 16; validation = 0.2; early_stop = patience(5, min_delta=0.05)",
        )
    )
    whole = resumed(path, tmp_path / "whole")["run"]
    epochs = len(whole.epoch_seconds)
    assert 4 < epochs < 30
    assert len(set(whole.rates)) > 2  # the plateau had reason to count
    for epoch in range(2, epochs):
        out = tmp_path / str(epoch)
        stopped = resumed(path, out, Stopper(epoch))
        assert stopped.exit_code == 130
        assert resumed(path, out)["run"].rates == whole.rates, epoch
        assert outcome(out) == outcome(tmp_path / "whole"), epoch


@pytest.mark.parametrize(
    ("model", "train"),
    [
        ("Linear(8); a: Linear(8); n: BatchNorm; Tanh; same(a); same(n); Dropout(0.2); transposed(a); Linear(10)", ""),
        (
            "a: Linear(8); Tanh; Linear(8); Dropout(0.2); multiply { p { }; q { from(a) } }; Linear(10)",
            "average = ema(0.9)",
        ),
    ],
    ids=["shared", "from"],
)
def test_graphs_resume_from_every_epoch(model: str, train: str, path: Path, tmp_path: Path) -> None:
    settings = f"epochs = 4; batch = 16; validation = 0.2; accumulate = 2; {train}"
    path.write_text(spec(model, optimizer="Adam(lr=0.02)", train=settings))
    resumed(path, tmp_path / "whole")
    for epoch in range(1, 4):
        out = tmp_path / str(epoch)
        assert resumed(path, out, Stopper(epoch)).exit_code == 130
        resumed(path, out)
        assert outcome(out) == outcome(tmp_path / "whole"), epoch


def test_a_killed_command_can_be_resumed(path: Path, tmp_path: Path, forked_workers: None) -> None:
    resumed(path, tmp_path / "whole")
    words = ("run", path, "--out", tmp_path / "out", "--resume", "--checkpoint", "0", "--jobs", "2", "-q")
    process = subprocess.Popen(
        [*COMMAND, *map(str, words)], cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.DEVNULL
    )
    while not [*tmp_path.glob("out/checkpoints/*/*.npz")] and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "out/summary.json").exists()
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert outcome(tmp_path / "out") == outcome(tmp_path / "whole")


def test_what_is_done_is_not_trained_again(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(path, out=tmp_path / "out", resume=True)
    monkeypatch.setattr("nnspec.executors.in_process.Turns", lambda *rest: pytest.fail("trained"))
    second = run(path, out=tmp_path / "out", resume=True)
    assert {name: lane.history for name, lane in second.items()} == {n: lane.history for n, lane in first.items()}
    assert {name: lane.seconds for name, lane in second.items()} == {n: lane.seconds for n, lane in first.items()}


def test_another_experiment_is_not_gone_on_with(path: Path, tmp_path: Path) -> None:
    run(path, out=tmp_path / "out", set={"train.epochs": 2})
    before = outcome(tmp_path / "out")
    with pytest.raises(OutputError, match="`seed` was 42 and is now 43"):
        run(path, out=tmp_path / "out", resume=True, set={"train.epochs": 2, "seed": 43})
    assert outcome(tmp_path / "out") == before


def test_a_folder_of_something_else_is_left_alone(path: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="has no run to resume"):
        run(path, out=tmp_path / "out", resume=True)
    assert os.listdir(tmp_path / "out") == ["mine.txt"]


@pytest.mark.parametrize("at", [0.0, 0.2, 0.5, 0.8, 0.999])
def test_a_damaged_checkpoint_is_reported_and_kept(path: Path, tmp_path: Path, at: float) -> None:
    run(path, out=tmp_path / "out", set={"train.epochs": 1})
    (file,) = (tmp_path / "out/checkpoints/Adam").glob("seed-42.npz")
    data = bytearray(file.read_bytes())
    for place in range(int(at * len(data)), min(int(at * len(data)) + 40, len(data))):
        data[place] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"seed-42.npz cannot be used: it is damaged; remove it"):
        run(path, out=tmp_path / "out", resume=True, set={"train.epochs": 1})
    assert file.read_bytes() == data
    file.unlink()
    run(path, out=tmp_path / "out", resume=True, set={"train.epochs": 1})


@pytest.mark.parametrize("missing", ["best.Linear1.bias", "lane"])
def test_a_checkpoint_with_the_right_digest_and_something_missing_is_refused(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "tiny.nn"
    path.write_text(spec(model="Linear(10)", optimizer="Adam", train="epochs = 1; batch = 16", more="seed = 42"))
    run(path, out=tmp_path / "out")
    (file,) = (tmp_path / "out/checkpoints").rglob("seed-42.npz")
    with np.load(file) as archive:
        arrays = {name: archive[name] for name in archive.files if name != "sha256"}
    header = json.loads(arrays.pop("checkpoint").tobytes())
    if missing == "lane":
        del header["lane"]["epoch_seconds"]
    else:
        del arrays[missing]
    text = json.dumps(header).encode()
    digest = np.frombuffer(checkpoint_module._digest(text, arrays), np.uint8)
    np.savez(file, checkpoint=np.frombuffer(text, np.uint8), sha256=digest, **arrays)
    with pytest.raises(CheckpointError, match=r"seed-42.npz cannot be used: "):
        run(path, out=tmp_path / "out", resume=True, set={"train.epochs": 2})


def test_a_checkpoint_of_another_lane_is_refused(path: Path, tmp_path: Path) -> None:
    run(path, out=tmp_path / "out", set={"train.epochs": 1})
    there = tmp_path / "out/checkpoints"
    (there / "Adam/seed-42.npz").write_bytes((there / "NAdam/seed-42.npz").read_bytes())
    with pytest.raises(CheckpointError, match="belongs to another lane"):
        run(path, out=tmp_path / "out", resume=True, set={"train.epochs": 1})


def test_a_damaged_manifest_is_reported(path: Path, tmp_path: Path) -> None:
    run(path, out=tmp_path / "out", set={"train.epochs": 1})
    (tmp_path / "out/run.json").write_text("[")
    with pytest.raises(OutputError, match="is damaged"):
        run(path, out=tmp_path / "out", resume=True, set={"train.epochs": 1})


def test_a_full_disk_is_reported_and_training_continues(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_module, "write_checkpoint", full)
    with pytest.raises(NnspecError, match=r"the checkpoint .* cannot be written: No space left"):
        run(path, out=tmp_path / "out", set={"train.epochs": 1})
    assert (tmp_path / "out/summary.json").exists()  # what was trained is written all the same


BRIEF = ("--set", "train.epochs=1")


def test_files_may_be_no_larger_than_the_system_allows(path: Path, tmp_path: Path) -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
    done = subprocess.run(
        [sys.executable, "-P", "-c", code + COMMAND[-1], "run", str(path), "--out", "out", "-q", *BRIEF],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_resume_needs_a_folder(path: Path, tmp_path: Path) -> None:
    done = nnspec("run", path, "--resume", cwd=tmp_path)
    assert done.returncode == 2
    assert "--resume requires --out DIR" in done.stderr
    with pytest.raises(ValueError, match="requires `out`"):
        run(path, resume=True)


def test_resume_without_a_folder_names_the_last_run(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (2, 10):
        folder = Path("runs", path.stem, str(number))
        folder.mkdir(parents=True)
        (folder / "run.json").touch()
    Path("runs", path.stem, "11").mkdir()
    assert _code(["run", str(path), "--resume", "--set", "seed=2"]) == 2
    wanted = f"for the last one: nnspec run {path} --resume --out runs/{path.stem}/10 --set seed=2"
    assert wanted in capsys.readouterr().err


def test_an_import_that_says_something_else_is_another_experiment(path: Path, tmp_path: Path) -> None:
    (tmp_path / "common.nn").write_text("train { epochs = 1; batch = 16 }\n")
    path.write_text('import "common.nn"\n' + spec(train="").replace("train {  }\n", ""))
    run(path, out=tmp_path / "out")
    (tmp_path / "common.nn").write_text("train { epochs = 1; batch = 8 }\n")
    with pytest.raises(OutputError, match="contains a run of another experiment"):
        run(path, out=tmp_path / "out", resume=True)


def test_data_that_has_changed_is_not_gone_on_with(path: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {"x": rng.normal(size=(40, 3)).astype("f4"), "y": rng.integers(0, 2, 40)}
    np.savez(tmp_path / "mine.npz", **arrays)
    path.write_text(spec("Linear(2)", data='NPZ("mine.npz")', train="epochs = 1; batch = 8"))
    run(path, out=tmp_path / "out")
    arrays["x"][0, 0] += 1
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(CheckpointError, match="was trained on different data"):
        run(path, out=tmp_path / "out", resume=True)


def test_the_command_that_resumes_a_run_names_its_data() -> None:
    assert resume_command("a.nn", "out", []) == "nnspec run a.nn --resume --out out"
    assert resume_command("a.nn", "out", ["seed=2"], "my data").endswith("--set seed=2 --data-dir 'my data'")
