"""Profiles: the numbers of a training do not depend on them, and the parts add up to the whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tiny_spec import ALONE, command, compiled, noise, run, spec

from nnspec import run as run_spec
from nnspec.compiler.loop import plan_alone
from nnspec.runner.options import RunOptions
from nnspec.training.profile import Profiler, merged
from nnspec.view.terminal.race import print_result

PROFILED = RunOptions(jobs=1, profile=True)
RACE = spec(race="SGD(lr=0.1); Adam(lr=0.01)", train="epochs = 6; batch = 16")
RICH = spec(
    "Reshape([1, 28, 28]); Conv2D(4, 3); ReLU; MaxPool(2); Flatten; "
    "Linear(8); BatchNorm; ReLU; Dropout(0.3); Linear(10)",
    train="epochs = 3; batch = 16; clip_norm = 1.0; penalty = L2(0.01); augment = noise(0.1)",
)


@pytest.mark.parametrize("text", [RACE, RICH], ids=["race", "rich"])
def test_it_changes_no_number(text: str) -> None:
    plain, profiled = run(text), run(text, ways=PROFILED)
    for name, lane in plain.items():
        other = profiled[name]
        assert (lane.history, lane.trace, lane.gradients) == (other.history, other.trace, other.gradients)
        assert other.profile
        assert not lane.profile


def test_the_parts_stand_in_the_order_of_a_step_and_add_up() -> None:
    profile = run(RACE, ways=PROFILED)["Adam"].profile
    assert [(part["what"], part.get("layer", "")) for part in profile["parts"]] == [
        ("batch", ""),
        ("forward", "Linear1"),
        ("forward", "ReLU1"),
        ("forward", "Linear2"),
        ("loss", ""),
        ("metrics", ""),
        ("loss backward", ""),
        ("backward", "Linear2"),
        ("backward", "ReLU1"),
        ("backward", "Linear1"),
        ("optimizer", ""),
        ("other", ""),
    ]
    assert all(part["calls"] == 1 and part["microseconds"] > 0 for part in profile["parts"])
    assert sum(part["microseconds"] for part in profile["parts"]) == pytest.approx(profile["microseconds"])
    assert sum(part["share"] for part in profile["parts"]) == pytest.approx(1)
    assert {part["line"] for part in profile["parts"] if "line" in part} == {2}


def test_every_other_step_is_timed_and_tests_are_not() -> None:
    profile = run(RACE, ways=PROFILED)["SGD"].profile
    assert (profile["steps"], profile["of"]) == (12, 24)  # 50 samples, 16 a batch: 4 steps an epoch
    assert isinstance(profile["overhead"], float)
    few = run(spec(train="epochs = 1; batch = 16"), ways=PROFILED)["run"].profile
    assert (few["steps"], few["of"], few["overhead"]) == (2, 4, None)


def test_what_clips_is_counted_without_the_step_inside_it() -> None:
    parts = {part["what"]: part for part in run(RICH, ways=PROFILED)["run"].profile["parts"] if "layer" not in part}
    assert parts["penalties and clipping"]["calls"] == parts["optimizer"]["calls"] == 1
    assert parts["other"]["share"] > 0, "nothing is counted twice"
    layers = [part["layer"] for part in run(RICH, ways=PROFILED)["run"].profile["parts"] if part["what"] == "forward"]
    assert "ReLU1" not in layers, "the pool fused into it"


def test_every_other_batch_is_watched_and_all_of_its_steps_are() -> None:
    program = compiled(spec("Linear(12); residual { Linear(12); ReLU }; Linear(10)", train="batch = 16"))
    experiment = program.program.lanes[0]
    plan = plan_alone(experiment, program.layouts["run"], noise(experiment.facts))
    told: list[list[tuple[str, str]]] = []

    class Listener:
        def batch_begins(self) -> Any:
            told.append([])
            return (lambda op, node, _, __: told[-1].append((op, node))) if len(told) % 2 else None

        def batch_ends(self, watched: bool, nanoseconds: int) -> None:
            assert watched is bool(told[-1])

    plan.loop.observer = Listener()
    plan.begin(0)
    for number in range(plan.batches):
        plan.train_batch(number)
    ran = [(step.op, step.node) for step in plan.layout.steps]
    assert ("add", "residual1") in ran
    assert ("forward", "residual1.ReLU1") in ran
    calls = [call for call in told[0] if call[0] not in ("batch", "metric", "update")]
    assert calls == [call for call in ran if call[0] not in ("metric", "update")]
    assert [bool(batch) for batch in told] == [True, False, True, False]


def test_a_profile_sees_inside_compositions() -> None:
    text = spec("Linear(12); residual { Linear(12); ReLU }; concat { a { Linear(4) } b { } }; Linear(10)")
    parts = run(text, ways=PROFILED)["run"].profile["parts"]
    seen = {(part["what"], part["layer"]) for part in parts if "layer" in part}
    inside = ["residual1.Linear1", "residual1.ReLU1", "concat1.a.Linear1"]
    assert {(what, layer) for what in ("forward", "backward") for layer in inside} <= seen
    assert {("forward", "residual1"), ("forward", "concat1"), ("backward", "concat1")} <= seen


def test_lanes_are_trained_alone_in_one_process() -> None:
    ways = RunOptions(jobs=4, profile=True)
    assert (ways.jobs, ways.stack) == (1, False)
    assert run(RACE, ways=ways).summary["ways"] == {"jobs": 1, "stacks": []}


def test_a_run_without_it_has_plain_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: Any, *_: Any) -> None:
        raise AssertionError("nobody asked for a profile")

    monkeypatch.setattr(Profiler, "__init__", never)
    result = run(RACE, ways=ALONE)
    assert not any(lane.profile for lane in result.values())
    assert "profile" not in result.summary["lanes"][0]


def test_what_is_trained_elsewhere_has_no_profile() -> None:
    with pytest.raises(ValueError, match="cannot be used with `cluster`"):
        RunOptions(profile=True, cluster="dask://127.0.0.1:1")


def test_of_repeats_it_is_the_mean_over_all_steps() -> None:
    lane = run(spec(train="epochs = 3; batch = 16; repeats = 2"), ways=PROFILED)["run"]
    one, other = (each.profile for each in lane.repeats)
    assert lane.profile["steps"] == one["steps"] + other["steps"]
    assert lane.profile["microseconds"] == pytest.approx((one["microseconds"] + other["microseconds"]) / 2)
    assert sum(part["share"] for part in lane.profile["parts"]) == pytest.approx(1)
    assert merged([{}, one]) == one
    assert merged([{}, {}]) == {}


def test_the_screen_has_a_table_a_lane() -> None:
    result = run(RACE, ways=PROFILED)
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        print_result(result, compiled(RACE), console)
    shown = capture.get()
    assert "– profiled: every lane was trained by itself, in one process" in shown
    lines = shown.splitlines()
    for name in ("SGD", "Adam"):
        head = next(i for i, line in enumerate(lines) if line.startswith(f"{name}   ") and "µs per step" in line)
        assert "the mean of 12 of 24 steps; timing its parts made the median step" in lines[head]
        assert lines[head + 1].split()[:2] == ["part", "where"]
        assert len(lines[head + 2 : head + 14]) == 12
        assert lines[head + 13].startswith("other")
    assert "forward Linear1    tiny.nn:2" in shown


def test_the_command_line_and_python_ask_for_it(tmp_path: Path, undrawn: None) -> None:
    (tmp_path / "race.nn").write_text(RACE)
    done = command("run", "race.nn", "--profile", "--json", "--offline", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)["lanes"]
    assert first["profile"]["of"] == second["profile"]["of"] == 24
    assert json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))["lanes"][0]["profile"] == first["profile"]
    assert run_spec(tmp_path / "race.nn", offline=True, profile=True)["Adam"].profile["steps"] == 12
