"""Lanes that fail: either the others continue, or the run ends with the first failure."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
from forked import forked, start
from outcomes import outcome
from tiny_spec import ALONE, OFFLINE, command, environment, reach_epoch, run, spec

import nnspec as package
from nnspec.api import compile_spec, run_into
from nnspec.executors import in_process as in_process_module
from nnspec.executors import processes as workers_module
from nnspec.executors.processes import WorkerError
from nnspec.records.folder import OutputError, RunFolder
from nnspec.results.lane import LaneResult
from nnspec.runner.options import RunOptions
from nnspec.training.observer import Silent

pytestmark = pytest.mark.usefixtures("forked_workers")

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


def text(more: str = "", train: str = "epochs = 3; batch = 16") -> str:
    return spec(
        race="SGD(lr=0.1); wild { optimizer = SGD(lr=1e30) }; Adam(lr=0.01); last { train.batch = 10 }",
        more="optimizer = SGD(lr=0.1)\n" + more,
        train=train,
    )


class Killer(Silent):
    """Kills every process of the run, or those that train a lane, after an epoch of it."""

    def __init__(self, lane: str, epoch: int = 2) -> None:
        self.lane, self.epoch, self.begun = lane, epoch, []
        self.ended: list[LaneResult] = []

    def epoch_done(self, lane: LaneResult) -> None:
        import multiprocessing

        if (lane.name, len(lane.epoch_seconds)) == (self.lane, self.epoch):
            for process in multiprocessing.active_children():
                assert process.pid is not None
                os.kill(process.pid, KILL)

    def lane_ends(self, lane: LaneResult) -> None:
        self.ended.append(lane)


@pytest.mark.parametrize("ways", [RunOptions(jobs=1), ALONE, RunOptions(jobs=2)])
def test_a_lane_that_diverges_does_not_keep_the_others_from_their_end(ways: RunOptions) -> None:
    result = run(text(), ways=ways)
    assert {name: lane.status for name, lane in result.items()} == {
        "SGD": "done",
        "wild": "diverged",
        "Adam": "done",
        "last": "done",
    }
    assert (result.halted, result.interrupted, result.exit_code) == ("", False, 1)


@pytest.mark.parametrize("ways", [RunOptions(jobs=1, fail_fast=True), RunOptions(jobs=1, stack=False, fail_fast=True)])
def test_with_fail_fast_the_run_ends_with_it(ways: RunOptions) -> None:
    result = run(text(train="epochs = 50; batch = 16"), ways=ways)
    assert result.halted == "wild, which diverged"
    assert result["wild"].status == "diverged"
    statuses = {name: lane.status for name, lane in result.items()}
    assert "last" not in statuses
    assert statuses["SGD"] == ("interrupted" if ways.stack else "done")
    assert (result.exit_code, result.summary["halted"]) == (1, "wild, which diverged")


def test_fail_fast_stops_the_other_processes() -> None:
    endless = spec(race="wild { optimizer = SGD(lr=1e30) }; Adam { optimizer = Adam; train.epochs = 100000 }")
    result = run(endless, ways=RunOptions(jobs=2, stack=False, fail_fast=True))
    assert (result["wild"].status, result.exit_code) == ("diverged", 1)
    if (
        "Adam" in result and result["Adam"].status != "interrupted"
    ):  # on a busy machine, its process is killed after 10 s
        assert result["Adam"].message == "its process did not stop within 10 s"


def test_the_command_has_both(tmp_path: Path, undrawn: None) -> None:
    (tmp_path / "tiny.nn").write_text(text())
    done = command("run", "tiny.nn", "--fail-fast", "--no-stack", "-q", cwd=tmp_path)
    assert done.returncode == 1
    assert "– not trained: Adam, last" in done.stdout
    assert "– the run ended with wild, which diverged" in done.stdout
    done = command("run", "tiny.nn", "--keep-going", "-q", cwd=tmp_path)
    assert done.returncode == 1
    assert "not trained" not in done.stdout


@pytest.mark.parametrize("victim", ["SGD", "Adam"])
def test_a_killed_process_fails_its_lane_and_the_others_continue(victim: str) -> None:
    race = f"SGD; Momentum; Adam; {victim}2 {{ optimizer = {victim}; train.epochs = 100000 }}"
    killer = Killer(f"{victim}2", 5)
    result = run(spec(race=race), observer=killer, ways=RunOptions(jobs=2, stack=False))
    lost = result[f"{victim}2"]
    assert (lost.status, lost.message) == ("failed", f"its process was killed by signal {int(KILL)}")
    assert len(lost.history["loss"]) >= 5
    same = run(spec(race="SGD; Momentum; Adam"))
    for name in ("SGD", "Momentum", "Adam"):
        assert result[name].status in ("done", "failed")  # the killer may hit one that trains beside
        if result[name].status == "done":
            assert result[name].history == same[name].history
    assert [lane.name for lane in killer.ended].count(f"{victim}2") == 1
    assert result.exit_code == 1
    assert result.interrupted is False
    json.dumps(result.summary, allow_nan=False)


def test_another_process_takes_the_place_of_one_that_was_killed() -> None:
    race = "; ".join(f"lane{i} {{ optimizer = SGD; train.epochs = {100000 if i == 0 else 2} }}" for i in range(6))

    class Sniper(Killer):
        def epoch_done(self, lane: LaneResult) -> None:
            if lane.name == "lane0" and len(lane.epoch_seconds) == 3:
                super().epoch_done(replace(lane, name=self.lane, records=self.epoch * [*lane.records[:1]]))

    result = run(spec(race=race), observer=Sniper("x"), ways=RunOptions(jobs=2, stack=False))
    assert result["lane0"].status == "failed"
    assert sum(lane.status == "done" for lane in result.values()) >= 4


class Doomed:
    """Makes those of the processes that are started, by number, die before they are ready."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
        self.started = 0
        process = workers_module._Worker

        def start() -> workers_module._Worker:
            worker = process()
            if self.started in numbers:
                worker._process.kill()
                worker._process.join()
            self.started += 1
            return worker

        monkeypatch.setattr(workers_module, "_Worker", start)


TWO = RunOptions(jobs=2, stack=False)


@pytest.mark.parametrize("dead", [(0,), (1,), (0, 1)])
def test_a_process_that_dies_at_its_start_loses_nothing(dead: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    text = spec(race="SGD; Momentum; Adam; RMSProp")
    Doomed(monkeypatch, *dead)
    if len(dead) == 2:  # nothing says that processes can be started here at all
        with pytest.raises(WorkerError, match=r"the process that trained .* was killed by signal 9; --jobs 1 trains"):
            run(text, ways=TWO)
        return
    result = run(text, ways=TWO)
    assert [lane.status for lane in result.values()] == ["done"] * 4
    monkeypatch.undo()
    assert {name: lane.history for name, lane in result.items()} == {n: x.history for n, x in run(text).items()}


def test_after_one_was_ready_early_deaths_never_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is killed while it trains, and four in its place before they are ready; another dies at the start."""
    race = "; ".join(f"lane{i} {{ optimizer = SGD; train.epochs = {100000 if i == 0 else 2} }}" for i in range(4))
    doomed = Doomed(monkeypatch, 1, 2, 3)
    result = run(spec(race=race), observer=Killer("lane0"), ways=TWO)
    # The last in the list is given first where one comes back, so lane1 meets every process that dies.
    statuses = {name: lane.status for name, lane in result.items()}
    assert statuses.pop("lane0") == "failed"
    assert set(statuses.values()) <= {"done", "failed"}
    # Another one may train already when all processes are killed.
    assert list(statuses.values()).count("done") >= 1
    assert doomed.started >= 5


def test_a_group_that_no_process_survives_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Proved(workers_module.Processes):
        def __init__(self, slots: int, *, script: bool) -> None:
            super().__init__(slots, script=script)
            self._proved = True

    monkeypatch.setattr("nnspec.runner.executor_choice.Processes", Proved)
    doomed = Doomed(monkeypatch, *range(100))
    result = run(spec(race="SGD; Adam"), ways=TWO)
    message = "3 processes died before they could train it; the last one was killed by signal 9"
    assert {(lane.status, lane.message) for lane in result.values()} == {("failed", message)}
    assert doomed.started == 6


def test_a_worker_whose_parent_is_done_says_nothing(tmp_path: Path) -> None:
    """Even if it is not ready yet: its message that it is then has no receiver."""
    code = """
from nnspec.executors.processes import Processes
if __name__ == "__main__":
    with Processes(2) as workers:
        first, second = workers._workers
        first.connection.close()
        second.connection.recv()
        second.connection.close()
        print([worker._process.join(60) or worker._process.exitcode for worker in (first, second)])
"""
    (tmp_path / "script.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[1, 1]\n", "")


def test_a_system_that_cannot_start_processes_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(workers_module, "_Worker", full)
    with pytest.raises(
        WorkerError, match="cannot start a process: Resource temporarily unavailable; --jobs 1 needs none"
    ):
        run(spec(race="SGD; Adam { train.batch = 7; optimizer = Adam }"), ways=TWO)


@pytest.mark.usefixtures("drawn")
def test_failed_trainings_are_repeated_when_the_run_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    race = "SGD(lr=0.1); Adam(lr=0.01); slow { optimizer = SGD(lr=0.05); train.epochs = 400 }"
    (tmp_path / "tiny.nn").write_text(spec(race=race))
    make = partial(RunFolder.make, "tiny.nn", tmp_path / "out", resume=True)
    result = run_into(
        compile_spec("tiny.nn"),
        OFFLINE,
        Killer("slow"),
        make,
        options=RunOptions(jobs=2, stack=False, resume=True, checkpoint=0),
    )
    assert result["slow"].status == "failed"
    assert not (tmp_path / "out/slow").exists()
    assert json.loads((tmp_path / "out/summary.json").read_text())["exit_code"] == 1
    assert (tmp_path / "out/curves.png").exists()
    package.run("tiny.nn", out="whole")
    again = package.run("tiny.nn", out="out", resume=True)
    assert again.exit_code == 0
    assert outcome(tmp_path / "out") == outcome(tmp_path / "whole")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_lane_without_memory_fails_alone(jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if jobs == 1:
        honest = in_process_module.Turns

        def short(members, *rest):
            if members[0].experiment.name == "big":
                raise MemoryError
            return honest(members, *rest)

        monkeypatch.setattr(in_process_module, "Turns", short)
    big = "optimizer = Adam; train.batch = 7" if jobs == 1 else "optimizer = SGD; model = wide"
    race = f"SGD; big {{ {big} }}"
    model = "" if jobs == 1 else "model wide { Linear(500000); ReLU; Linear(10) }"
    if jobs == 2:
        resource = pytest.importorskip("resource", reason="the system has no limits of memory")
        monkeypatch.setattr(workers_module, "get_context", get_context)  # forked ones have the limits of their server
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
        limit = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (3 * 1024**3, limit[1]))
    try:
        result = run(spec(race=race, more=model), ways=RunOptions(jobs=jobs, stack=False))
    finally:
        if jobs == 2:
            resource.setrlimit(resource.RLIMIT_AS, limit)
    assert {name: lane.status for name, lane in result.items()} == {"SGD": "done", "big": "failed"}
    assert result["big"].message.startswith("not enough memory")
    assert result.exit_code == 1


def test_repeats_that_failed_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = in_process_module.Turns

    def short(members, *rest):
        if members[0].repeat == 1:
            raise MemoryError
        return honest(members, *rest)

    monkeypatch.setattr(in_process_module, "Turns", short)
    lane = run(spec(train="epochs = 2; batch = 16; repeats = 3", more="seed = 1"), ways=ALONE)["run"]
    assert (lane.status, [one.status for one in lane.repeats]) == ("failed", ["failed", "done", "done"])
    assert lane.message.startswith("1 of 3 repeats failed; seed 1: not enough memory")
    monkeypatch.undo()
    others = [run(spec(more=f"seed = {seed}"))["run"].final("loss") for seed in (2, 3)]
    assert lane.final("loss") == pytest.approx(sum(others) / 2)


def script(folder: Path, text: str, race: str = "SGD; Adam") -> subprocess.CompletedProcess[str]:
    (folder / "tiny.nn").write_text(spec(race=race))
    (folder / "script.py").write_text(text)
    words = [sys.executable, "script.py"]
    return subprocess.run(words, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=100)


def test_a_script_needs_no_main_guard(tmp_path: Path) -> None:
    code = "import nnspec\nprint(nnspec.run('tiny.nn', jobs=2, stack=False).summary['ways']['jobs'])\n"
    done = script(tmp_path, code)
    assert (done.stdout, done.stderr) == ("2\n", "")


OWN_PART = """
import nnspec
from nnspec import engine
from nnspec.executors import processes

class Mine(engine.SGD):
    spec_name = "Mine"

processes.WORTH = 1e-9
if GUARD:
    result = nnspec.run("tiny.nn", jobs=JOBS, stack=False)
    print(result.summary["ways"]["jobs"], result["Mine"].status)
"""


@pytest.mark.parametrize(
    ("guard", "jobs", "said"), [("True", "None", "1 done\n"), ("__name__ == '__main__'", "2", "2 done\n")]
)
def test_a_script_that_defines_parts(guard: str, jobs: str, said: str, tmp_path: Path) -> None:
    """It trains by itself, since processes would import it; they do where it asks for them."""
    done = script(tmp_path, OWN_PART.replace("GUARD", guard).replace("JOBS", jobs), "Mine(lr=0.1); Adam")
    assert (done.stdout, done.stderr) == (said, "")


def test_such_a_script_with_jobs_but_without_a_main_guard_gets_advice(tmp_path: Path) -> None:
    done = script(tmp_path, OWN_PART.replace("GUARD", "True").replace("JOBS", "2"), "Mine(lr=0.1); Adam")
    assert done.returncode != 0
    assert "WorkerError: the process that trained" in done.stderr
    assert 'call `nnspec.run` below `if __name__ == "__main__":`' in done.stderr
    assert WorkerError.__name__ in done.stderr


# One folder, one process


def test_two_processes_do_not_write_into_one_folder(tmp_path: Path, undrawn: None) -> None:
    pytest.importorskip("fcntl", reason="the system cannot lock a folder")
    (tmp_path / "tiny.nn").write_text(spec(train="epochs = 100000; batch = 16"))
    words = ("run", "tiny.nn", "--out", "out", "--resume")
    first = start(*words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        reach_epoch(first, 1)
        second = forked(*words, cwd=tmp_path)
        assert second.returncode == 2
        assert (
            "another process is writing to out; wait for it to end, or choose another folder with --out"
            in second.stderr
        )
    finally:
        first.kill()
        first.communicate()
    third = start(*words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert third.stdout is not None
        assert any("epoch" in third.stdout.readline() for _ in range(5))
    finally:
        third.kill()
        third.communicate()


def test_a_folder_is_free_again_after_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.nn").write_text(spec())
    for _ in range(2):
        package.run("tiny.nn", out="out", resume=True)
    (tmp_path / "tiny.nn").write_text(spec(optimizer="SGD(lr=0.2)"))
    for _ in range(2):
        with pytest.raises(OutputError, match="another experiment"):
            package.run("tiny.nn", out="out", resume=True)


# Another environment


def test_resuming_under_other_versions_is_reported(tmp_path: Path, undrawn: None) -> None:
    (tmp_path / "tiny.nn").write_text(spec())
    assert command("run", "tiny.nn", "--out", "out", "-q", cwd=tmp_path).returncode == 0
    record = json.loads((tmp_path / "out/run.json").read_text())
    now = record["environment"]["numpy"]
    record["environment"]["numpy"] = "1.0"
    (tmp_path / "out/run.json").write_text(json.dumps(record))
    done = command("run", "tiny.nn", "--out", "out", "--resume", "-q", cwd=tmp_path)
    note = f"the run began with numpy 1.0, now {now}: its results may differ from those of an uninterrupted run"
    assert f"! {note}" in done.stdout.splitlines()
    assert json.loads((tmp_path / "out/summary.json").read_text())["notes"][-1] == note
    assert json.loads((tmp_path / "out/run.json").read_text())["environment"]["numpy"] == "1.0"
