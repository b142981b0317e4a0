"""The problems of a bench are right, train with every contestant, and have the targets that their record gives."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

import nnspec
from nnspec.api import compile_spec, format_text

ROOT = Path(__file__).resolve().parents[1]
SPECS = ROOT / "specs"
PROBLEMS = sorted((SPECS / "problems").glob("*.nn"))
NAMES = [path.stem for path in PROBLEMS]
TARGETS: dict[str, Any] = json.loads((ROOT / "benchmarks/targets.json").read_text(encoding="utf-8"))
SMALL: dict[str, dict[str, Any]] = {
    "logistic": {"data": "Digits(train=20, test=4)"},
    "mlp": {"data": "Digits(train=20, test=4)"},
    "transformer": {"data.stride": 2000, "data.context": 8},
}
"""What makes a problem small that does not take `data.train`, or takes a download."""
each_problem = pytest.mark.parametrize("name", NAMES)


def bench(name: str) -> nnspec.Spec:
    """Return a problem with all contestants."""
    return nnspec.Spec.parse(f'import "problems/{name}.nn"\nimport "contestants.nn"\n', f"{name}.nn", SPECS)


def alone(name: str, optimizer: str) -> nnspec.Spec:
    """Return a problem with an optimizer, and nothing to tune."""
    problem = (SPECS / f"problems/{name}.nn").read_text(encoding="utf-8")
    text = problem[: problem.index("\ntune {")] + f"\noptimizer = {optimizer}\n"
    return nnspec.Spec.parse(text, f"{name}.nn", SPECS / "problems")


@pytest.mark.parametrize("path", [*PROBLEMS, SPECS / "contestants.nn"], ids=lambda path: path.stem)
def test_a_file_has_no_findings_and_is_formatted(path: Path) -> None:
    result = nnspec.check(path)
    assert result.diagnostics == (), str(result)
    assert result.compiled is None  # it is to be imported
    text = path.read_text(encoding="utf-8")
    assert format_text(text) == text
    assert "#     nnspec bench specs/problems specs/contestants.nn" in text.splitlines()


@each_problem
def test_a_problem_says_what_is_hard_and_where_it_comes_from(name: str) -> None:
    text = (SPECS / f"problems/{name}.nn").read_text(encoding="utf-8")
    for heading in ("# What is hard: ", "# An optimizer must: ", "# Source: "):
        assert text.count(f"\n{heading}") == 1
    lines = text.splitlines()
    assert lines[0].startswith("# ")
    assert lines[0].endswith(".")
    page = (ROOT / "docs/problems.md").read_text(encoding="utf-8")
    assert f"| [{name}](../specs/problems/{name}.nn) |" in page


@each_problem
def test_every_contestant_trains_on_a_problem(name: str) -> None:
    spec = bench(name)
    result = spec.check()
    assert result.diagnostics == (), str(result)
    settings = {
        "tune.budget": 1,
        "train.epochs": 1,
        "train.repeats": 1,
        "train.batch": 8,
        **SMALL.get(name, {"data.train": 20}),
    }
    if name not in SMALL and "test=0" not in spec_text(name):
        settings["data.test"] = 4
    run = spec.with_(settings).run(jobs=1, offline=True)
    assert run.tuned is not None
    assert len(run) == len(run.tuned.lanes) >= 10
    for lane in run.values():
        assert lane.status == "done", lane.message
        assert math.isfinite(lane.final(run.tuned.by))


def spec_text(name: str) -> str:
    return (SPECS / f"problems/{name}.nn").read_text(encoding="utf-8")


def test_the_spaces_of_all_contestants_have_the_same_size() -> None:
    tuning = compile_spec(bench("quadratic")).program.tuning
    assert tuning is not None
    sizes = {
        lane: [(key, space.scale, space.width) for key, space in own.items()] for lane, own in tuning.spaces.items()
    }
    for lane, size in sizes.items():
        assert size == [("optimizer.lr", "log", pytest.approx(5))], lane
    assert {"SGD", "Momentum", "Adam", "AdamW", "RMSProp", "Muon", "Lion", "Adan", "ScheduleFreeAdamW"} <= set(sizes)


@each_problem
def test_a_target_is_that_of_its_record(name: str) -> None:
    tuning = compile_spec(bench(name)).program.tuning
    record = TARGETS[name]
    assert tuning is not None
    assert (tuning.settings.by, tuning.settings.target) == (record["by"], record["target"])
    assert len(record["reached"]) == 20
    assert float(f"{statistics.median(record['reached']):.3g}") == record["target"]
    from nnspec.semantics.meaning import identity, meaning

    now = identity(meaning(compile_spec(alone(name, "SGD").with_(seed=101, train__repeats=20)).program))
    assert now == record["identity"], f"run `python benchmarks/targets.py {name}`: the problem is another one now"


def test_a_target_can_be_derived_again() -> None:
    """The first of the 20 trainings that the target of the noisy quadratic is the median of."""
    record = TARGETS["noisy_quadratic"]
    (lane,) = alone("noisy_quadratic", record["winner"]).with_(seed=101).run(jobs=1).values()
    curve = lane.history[record["by"]]
    assert min(curve[: len(curve) * 3 // 4]) == pytest.approx(record["reached"][0], rel=1e-3)


def test_problems_and_records_are_the_same() -> None:
    assert sorted(TARGETS) == NAMES
    assert len(NAMES) >= 12
