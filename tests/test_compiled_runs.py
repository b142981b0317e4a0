"""Compiled steps from the user's view: output, records, failures, and training while kernels are compiled."""

from __future__ import annotations

import gc
import json
import re
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from random_runs import difference
from tiny_spec import ROOT, compiled, run, spec

import nnspec
from nnspec import runs
from nnspec.cli import cli
from nnspec.compiler import replay, shadows, switch
from nnspec.compiler.replay import Epoch, Replay
from nnspec.engine.part import PARTS
from nnspec.errors import NnspecError
from nnspec.executors import in_process
from nnspec.executors.in_process import InProcess
from nnspec.executors.processes import Processes, usual_jobs
from nnspec.native import library
from nnspec.native.recording import Recording, Traced
from nnspec.native.words import DIMS, OUTER, STEPS
from nnspec.results.lane import LaneResult
from nnspec.results.run import RunResult
from nnspec.runner.executor_choice import executor_for
from nnspec.runner.options import RunOptions
from nnspec.training.groups import trainings
from nnspec.training.observer import Silent

pytestmark = pytest.mark.skipif(not library.available(), reason="compiled steps need Numba, which is an extra")

NEVER, ALWAYS, AUTO = (
    RunOptions(jobs=1, compiled="never"),
    RunOptions(jobs=1, compiled="always"),
    RunOptions(jobs=1, compiled="auto"),
)
AUTO_JOBS = RunOptions(compiled="auto")
RACE = spec(race="SGD; Adam(lr=0.01)", train="epochs = 4; batch = 16; validation = 0.2")


TRACED = (replay.__file__, switch.__file__, shadows.__file__)


class Weights(Silent):
    """Keeps the weights of every lane at its beginning and after each epoch, and the curves up to there."""

    def __init__(self) -> None:
        self.after: dict[tuple[str, int], Any] = {}

    def lane_begins(self, lane: LaneResult) -> None:
        self.epoch_done(lane)

    def epoch_done(self, lane: LaneResult) -> None:
        self.after[lane.name, len(lane.epoch_seconds)] = state(lane)


def state(lane: LaneResult) -> Any:
    """Return all numbers of a lane."""
    arrays = {name: array.tobytes() for name, array in lane.network.state_dict().items()}
    return arrays, repr(lane.history), lane.fingerprints["order"]


@pytest.fixture(autouse=True)
def _kernels(kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels are kept from one session to the next, and the shortest run is thought to gain by them."""
    monkeypatch.setattr(switch, "GAINS", 0.0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the race in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.nn").write_text(RACE)
    return tmp_path


def ways_of(out: str) -> Any:
    return json.loads(Path(out, "summary.json").read_text())["ways"]


# Shown and recorded


def test_what_training_waits_for_is_shown_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_loaded", {})
    monkeypatch.setattr(library, "folder", lambda: tmp_path / "kernels")
    heard: list[int] = []

    class Listener(Silent):
        def compiling(self, kernels: int) -> None:
            heard.append(kernels)
            raise KeyboardInterrupt  # which compiling would take ten seconds longer to answer

    result = run(RACE, ways=ALWAYS, observer=Listener())
    assert result.interrupted
    assert len(heard) == 1
    assert heard[0] > 5
    heard.clear()
    assert run(RACE, ways=AUTO, observer=Listener())["SGD"].status == "done"
    assert heard == []


def test_the_command_says_that_it_compiles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(RACE, ways=ALWAYS)  # the kernels are there
    known = switch.missing
    asked: list[int] = []

    def missing(names: Any) -> list[str]:
        asked.append(1)
        return ["run", "loop"] if len(asked) == 1 else known(names)

    monkeypatch.setattr(switch, "missing", missing)
    shown = CliRunner().invoke(cli, ["run", "a.nn", "--offline", "--compiled", "always"])
    assert shown.exit_code == 0, shown.output
    assert "\ncompiling 2 kernels\n" in "\n" + shown.output


def test_what_was_trained_by_compiled_steps_is_recorded(folder: Path) -> None:
    run(RACE, ways=ALWAYS)
    for how in ("always", "auto", "never"):
        nnspec.run("a.nn", out=how, compiled=how, offline=True)  # type: ignore[arg-type]
    trained = {"SGD": {"since": 1, "python": {}}, "Adam": {"since": 1, "python": {}}}
    assert ways_of("always")["compiled"] == {"asked": "always", "trainings": trained}
    assert ways_of("auto")["compiled"] == {"asked": "auto", "trainings": trained}
    assert "compiled" not in ways_of("never")
    assert runs.verify("always", "never").same
    assert runs.verify("never", offline=True).same
    assert runs.verify("always", offline=True).same


def test_a_profile_times_numpy_calls(folder: Path) -> None:
    refused = CliRunner().invoke(cli, ["run", "a.nn", "--profile", "--compiled", "always"])
    assert refused.exit_code == 2
    assert "--profile cannot be used with --compiled always" in refused.output
    with pytest.raises(ValueError, match='cannot be used with `compiled="always"`'):
        RunOptions(jobs=1, profile=True, compiled="always")
    run(RACE, ways=ALWAYS)
    result = run(RACE, ways=RunOptions(jobs=1, profile=True))
    assert result["Adam"].profile
    assert result["Adam"].compiled is None


# What a run survives


@pytest.mark.parametrize("fault", ["differs", "does not load", "has no memory"])
def test_a_run_is_not_lost_over_kernels(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run(RACE, ways=ALWAYS)
    if fault == "differs":
        monkeypatch.setattr(Replay, "check", lambda self: "loss of batches of 16 (train)")
        why = "compiled steps do not give the bits of NumPy's: loss of batches of 16 (train)"
    elif fault == "does not load":

        def link(self: Replay) -> None:
            raise RuntimeError("no executable memory")

        monkeypatch.setattr(Replay, "link", link)
        why = "RuntimeError: no executable memory"
    else:

        def record(self: Replay) -> None:
            raise MemoryError

        monkeypatch.setattr(Replay, "_record", record)
        why = "MemoryError"
    result = run(RACE, ways=AUTO)
    assert not difference(run(RACE, ways=NEVER), result)
    assert result["Adam"].compiled is not None
    assert result["Adam"].compiled["refused"].startswith(why)
    (note,) = [note for note in result.notes if "compiled" in note]
    assert note.startswith(f"SGD, Adam: trained with NumPy calls instead of compiled steps: {why}")
    if fault != "has no memory":
        with pytest.raises(RuntimeError, match=r"compiled steps do not|no executable memory"):
            run(RACE, ways=ALWAYS)


def test_a_worker_without_numba_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switch, "available", lambda: False)  # and not where the run was asked for
    result = run(RACE, ways=ALWAYS)
    assert [lane.compiled for lane in result.values()] == [{"refused": "Numba is not installed there"}] * 2
    assert "SGD, Adam: trained with NumPy calls instead of compiled steps: Numba is not installed there" in result.notes


@contextmanager
def pressed(at: int) -> Iterator[list[int]]:
    """Press Ctrl-C before the line of that number of those that the main thread runs to record, check and replay."""
    lines = [0]

    def step(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            lines[0] += 1
            if lines[0] == at:
                raise KeyboardInterrupt
        return step

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        return step if frame.f_code.co_filename in TRACED else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield lines
    finally:
        sys.settrace(before)


def test_ctrl_c_at_any_line_leaves_whole_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    known, training = Weights(), [0]
    run(RACE, ways=NEVER, observer=known)
    replayed = Replay.run

    def counted(self: Replay, epoch: int) -> Epoch:
        training[0] += 1
        try:
            return replayed(self, epoch)
        finally:
            training[0] -= 1

    monkeypatch.setattr(Replay, "run", counted)
    run(RACE, ways=ALWAYS)
    with pressed(0) as lines:
        run(RACE, ways=ALWAYS)
    total, seen = lines[0], set()
    moments = {*range(1, total, max(1, total // 12)), *range(total - 280, total, 17)}
    for at in sorted(moments):
        with pressed(at):
            result = run(RACE, ways=ALWAYS)
        assert training[0] == 0, "no thread trains any more"
        for name, lane in result.items():
            done = len(lane.epoch_seconds)
            seen.add(done)
            assert lane.status == ("interrupted" if result.interrupted and done < lane.epochs else "done")
            assert state(lane) == known.after[name, done], (at, name, done)
    assert {0, 1, 2, 3} <= seen


def test_ctrl_c_waits_for_the_threads_of_other_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    run(RACE, ways=ALWAYS)
    replayed, begun, ended = Replay.run, [], []

    def slow(self: Replay, epoch: int) -> Epoch:
        if self._plan.experiment.name == "Adam":
            begun.append(epoch)
            time.sleep(0.2)
            ended.append(epoch)
        return replayed(self, epoch)

    class Presses(Silent):
        def epoch_done(self, lane: LaneResult) -> None:
            if (lane.name, len(lane.records)) == ("SGD", 3):
                raise KeyboardInterrupt  # while Adam is at an epoch of its own

    monkeypatch.setattr(Replay, "run", slow)
    result = run(RACE, ways=ALWAYS, observer=Presses())
    assert result.interrupted
    assert begun == ended
    assert begun


def test_repeats_hold_out_samples_of_their_own() -> None:
    train = "epochs = 2; batch = 3; validation = 0.3; repeats = 3"
    text = spec("Linear(3); Tanh; Linear(2)", data="XOR(train=23, test=10)", train=train)
    assert not difference(run(text, ways=NEVER), run(text, ways=ALWAYS))


# Who else trains meanwhile


def test_runs_in_threads_of_one_process() -> None:
    texts = [spec(race=f"SGD; Adam(lr={rate})", train="epochs = 4; batch = 8") for rate in (0.1, 0.01, 0.001)]
    plain = [run(text, ways=NEVER) for text in texts]
    run(texts[0], ways=ALWAYS)
    start = threading.Barrier(len(texts))

    def train(text: str) -> RunResult:
        start.wait()
        return run(text, ways=ALWAYS)

    with ThreadPoolExecutor(len(texts)) as threads:
        for one, other in zip(plain, threads.map(train, texts), strict=True):
            assert not difference(one, other)


def test_an_error_in_one_lane_leaves_no_thread_training(monkeypatch: pytest.MonkeyPatch) -> None:
    run(RACE, ways=ALWAYS)
    halted: list[int] = []
    halt = Replay.halt
    monkeypatch.setattr(Replay, "halt", lambda self: (halted.append(1), halt(self))[1])

    class Broken(Silent):
        def epoch_done(self, lane: LaneResult) -> None:
            if len(lane.epoch_seconds) == 2:
                raise NnspecError("the pipe is gone")

    with pytest.raises(NnspecError):
        run(RACE, ways=ALWAYS, observer=Broken())
    assert halted


def test_processes_train_compiled(
    kernels: Path, folder: Path, spawned_workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(RACE, ways=ALWAYS)
    monkeypatch.setenv("NNSPEC_CACHE_DIR", str(kernels.parent))
    result = run(RACE, ways=RunOptions(jobs=2, compiled="always"))
    assert not difference(run(RACE, ways=NEVER), result)
    assert [lane.compiled for lane in result.values()] == [{"since": 1, "python": {}}] * 2


# Explained


def test_the_page_tells_what_stays_python() -> None:
    page = (ROOT / "docs" / "compiled.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("- metrics that keep batches")]
    own = [part for part in PARTS["metric"].values() if part.__module__.startswith("nnspec.")]
    assert set(re.findall("`(.+?)`", line)) == {part.spec_name for part in own if not part.tallies}


def test_the_instruction_of_the_page_is_what_is_recorded() -> None:
    x, bias, out = np.zeros((16, 6), "f"), np.zeros(6, "f"), np.zeros((16, 6), "f")
    with Recording() as recording:
        np.add(x.view(Traced), bias, out=out)
    (instruction,) = recording.instructions
    words = instruction.words
    shown = (instruction.kernel, words[DIMS], words[STEPS : STEPS + 3], words[OUTER : OUTER + 5])
    assert shown == ("loop", 6, (4, 4, 4), (16, 0, 24, 0, 24))


def test_lanes_whose_layers_have_other_arguments_share_no_tapes() -> None:
    text = spec(
        "Linear(12); d: Dropout(0.1); Linear(10)",
        train="epochs = 2; batch = 16",
        race="a { optimizer = SGD } b { optimizer = SGD; model.d.p = 0.9 }",
    )
    fast, slow = (nnspec.Spec.parse(text).run(compiled=how) for how in ("always", "never"))
    assert [lane.history for lane in fast.lanes.values()] == [lane.history for lane in slow.lanes.values()]


class Diary(Silent):
    """Notes when trainings begin and which have ended an epoch; may press Ctrl-C."""

    def __init__(self, press_at: int = 0) -> None:
        self.going: dict[tuple[str, int], int] = {}
        self.most, self.joined, self.epochs, self.press_at = 0, 0, 0, press_at

    def lane_begins(self, lane: LaneResult) -> None:
        ahead = [done for done in self.going.values() if done]
        self.joined += bool(ahead)
        self.going[lane.name, lane.repeat] = 0
        self.most = max(self.most, len(self.going))

    def epoch_done(self, lane: LaneResult) -> None:
        self.epochs += 1
        if self.epochs == self.press_at:
            raise KeyboardInterrupt
        self.going[lane.name, lane.repeat] += 1
        if len(lane.records) == lane.epochs:
            del self.going[lane.name, lane.repeat]


MANY = spec(race="SGD; Adam(lr=0.01); wild { optimizer = SGD(lr=1e30) }", train="epochs = 4; batch = 16; repeats = 4")


def test_compiled_trainings_join_others_one_by_one() -> None:
    diary = Diary()
    fast, slow = run(MANY, ways=ALWAYS, observer=diary), run(MANY, ways=NEVER)
    for name, lane in slow.items():
        for one, other in zip(lane.trainings, fast[name].trainings, strict=True):
            assert (one.status, *state(one)) == (other.status, *state(other))
    assert diary.joined > 4
    assert diary.most < 12


def test_ctrl_c_keeps_trainings_that_have_joined_and_begins_no_other() -> None:
    diary = Diary(press_at=9)
    fast = run(MANY, ways=ALWAYS, observer=diary)
    statuses = [one.status for lane in fast.values() for one in lane.trainings]
    assert fast.interrupted
    assert statuses.count("interrupted") >= 2
    assert len(statuses) < 12
    whole = run(MANY, ways=NEVER)
    for lane in fast.values():
        for one in lane.trainings:
            done = len(one.records)
            other = next(each for each in whole[lane.name].trainings if each.repeat == one.repeat)
            assert [each.figures for each in one.records] == [each.figures for each in other.records[:done]]


def test_no_tapes_are_kept_for_trainings_that_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakSet[Replay] = weakref.WeakSet()
    honest = Replay.__init__

    def made(self: Replay, *arguments: Any) -> None:
        honest(self, *arguments)
        alive.add(self)

    class Counting(Silent):
        most = 0

        def lane_begins(self, lane: LaneResult) -> None:
            gc.collect()
            self.most = max(self.most, len(alive))

    monkeypatch.setattr(Replay, "__init__", made)
    model = "Linear(width); Linear(10)"
    text = "let width = 3\n" + spec(model, train="epochs = 2; batch = 16", more="sweep { width = [3, 4, 5, 6, 7, 8] }")
    counting = Counting()
    run(text, ways=ALWAYS, observer=counting)
    assert counting.most <= 2


@pytest.mark.parametrize("where", ["setup", "turn"])
def test_a_training_without_enough_memory_beside_others_is_trained_after_them(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    short: list[object] = []
    if where == "setup":
        honest, made = in_process.Turns, []

        def turns(group: Any, *rest: Any) -> Any:
            if group[0].experiment.name == "Adam" and group[0].repeat == 3:
                short.append(group)
                if any(each.going for each in made):
                    raise MemoryError
            made.append(honest(group, *rest))
            return made[-1]

        monkeypatch.setattr(in_process, "Turns", turns)
    else:
        take = in_process.Turns.take

        def taken(self: Any) -> None:
            if self.going == 1 and not short and any(plan.epoch == 2 for plan in self._going):
                short.append(self)
                raise MemoryError
            take(self)

        monkeypatch.setattr(in_process.Turns, "take", taken)
    fast = run(MANY, ways=ALWAYS)
    assert 1 <= len(short) <= 2
    slow = run(MANY, ways=NEVER)
    for name, lane in slow.items():
        assert [one.status for one in fast[name].trainings] == [one.status for one in lane.trainings]
        assert fast[name].history == lane.history


def test_the_rest_of_a_group_begins_without_compiled_steps_if_these_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnspec.compiler.switch.GAINS", -1.0)
    text = MANY.replace("wild { optimizer = SGD(lr=1e30) }", "Momentum")
    run(text, ways=ALWAYS)  # the kernels are there now
    monkeypatch.setattr("nnspec.compiler.replay.Replay.check", lambda self: "everything")
    diary = Diary()
    fast, slow = run(text, ways=AUTO, observer=diary), run(text, ways=NEVER)
    assert diary.most == 3
    for name, lane in slow.items():
        assert fast[name].history == lane.history
        assert all("do not give the bits" in (one.compiled or {}).get("refused", "") for one in fast[name].trainings)


@pytest.mark.parametrize(
    ("more", "threads"),
    [
        ({}, True),
        ({"loss": "CrossEntropy(label_smoothing=0.1)"}, False),
        ({"more": "metrics = [f1]"}, False),
        ({"race": "Prodigy"}, False),
        ({"race": "SOAP"}, False),
    ],
)
def test_small_lanes_train_in_threads_if_nothing_remains_a_python_call(
    more: dict[str, str], threads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = spec(**more, train="epochs = 100000; batch = 16; repeats = 4")
    run(text, "train.epochs=1", ways=ALWAYS)  # the kernels are there now
    everything = trainings(compiled(text))
    assert usual_jobs(everything) > 1
    executor = executor_for(AUTO_JOBS, everything)
    assert isinstance(executor, InProcess if threads else Processes)
    monkeypatch.setattr("nnspec.compiler.prospects.missing", lambda names: [*names])
    assert isinstance(executor_for(AUTO_JOBS, everything), Processes)
