"""Runs side by side: their figures, what they differ in, and whether that is more than their seeds do."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from tiny_spec import command, spec

from nnspec import run, runs
from nnspec.records.saved import RunError
from nnspec.statistics.comparison import Contender, best_of
from nnspec.statistics.significance import paired, welch
from nnspec.view.terminal.run_comparison import compared_record

pytestmark = pytest.mark.usefixtures("undrawn")

SPEC = spec(race="SGD(lr=0.1); Adam(lr=0.01)", train="epochs = 3; batch = 16; repeats = 4", more="seed = 1")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.nn").write_text(SPEC)
    run("tiny.nn", out="one")
    return tmp_path


def test_welchs_test_is_that_of_the_textbook() -> None:
    mpmath = pytest.importorskip("mpmath", reason="the reference takes mpmath")
    a = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4]
    b = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4]
    for one, other in ((a, b), (a[:6], b), (b, a[:7]), (a[:3], b[:3]), (a[:5], b), (b, a[:3])):
        found = welch(one, other)
        errors = [statistics.variance(values) / len(values) for values in (one, other)]
        t = (statistics.fmean(one) - statistics.fmean(other)) / math.sqrt(sum(errors))
        freedom = sum(errors) ** 2 / sum(e**2 / (len(v) - 1) for e, v in zip(errors, (one, other), strict=True))
        if len(one) != len(other) and min(len(one), len(other)) < 6:
            freedom = min(len(one), len(other)) - 1  # unlike the textbook: see below
        p = float(mpmath.betainc(freedom / 2, 0.5, 0, freedom / (freedom + t * t), regularized=True))
        assert found.p == pytest.approx(p, rel=1e-9)
        assert found.difference == pytest.approx(statistics.fmean(one) - statistics.fmean(other))
        assert (found.low < 0 < found.high) is (p > 0.05)
        assert found.n == min(len(one), len(other))
    assert round(welch(a, b).p, 3) == 0.021


@pytest.mark.parametrize("sizes", [(2, 20), (2, 3), (20, 3), (5, 3)])
@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_a_small_sample_beside_a_larger_one_raises_no_false_alarms(sizes: tuple[int, int], spread: float) -> None:
    """With Welch's degrees of freedom, 12 % of equal samples of 2 and 20 values differ significantly."""
    random = np.random.default_rng(0)
    samples = [random.normal(size=(2000, sizes[0])).tolist(), (spread * random.normal(size=(2000, sizes[1]))).tolist()]
    alarms = sum(welch(one, other).p < 0.05 for one, other in zip(*samples, strict=True))
    assert alarms / 2000 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)


def test_lanes_of_one_run_are_compared_over_their_seeds(here: Path) -> None:
    found = runs.compare_runs(["one"]).contest
    (comparison,) = found.comparisons
    history = runs.open_run("one").history
    finals = {lane: [one["test_loss"][-1] for one in history[lane]["repeats"]] for lane in ("SGD", "Adam")}
    one, other = (dict(enumerate(finals[lane], 1)) for lane in (comparison.one.lane, comparison.other.lane))
    test = paired(one, other)
    assert test.n == 4
    assert (comparison.figure, comparison.test.paired, comparison.sizes) == ("test_loss", True, (4, 4))
    assert comparison.test == test
    assert statistics.fmean(finals[comparison.one.lane]) < statistics.fmean(finals[comparison.other.lane])
    assert comparison.shown is (comparison.adjusted < 0.05)
    assert ("no difference shown" in found.text(comparison)) is not comparison.shown


def test_runs_that_differ_are_reported_with_their_differences(here: Path) -> None:
    run("tiny.nn", {"Adam.optimizer.lr": 0.05, "seed": 9}, out="two")
    run("tiny.nn", out="same")
    done = command("compare", "one", "two", "same", cwd=here)
    assert done.returncode == 0, done.stderr
    assert "0.01" in done.stdout
    assert "0.05" in done.stdout
    record = json.loads(command("compare", "one", "two", "same", "--json", cwd=here).stdout)
    assert [each["name"] for each in record["runs"]] == ["one", "two", "same"]
    assert len(record["lanes"]) == 6
    kinds = {(j["one"]["run"], j["other"]["run"]): j["test"] for j in record["comparisons"]}
    for (one, other), test in kinds.items():
        assert test == ("paired" if "two" not in (one, other) else "welch"), (one, other)
    for comparison in record["comparisons"]:
        if {comparison["one"]["run"], comparison["other"]["run"]} == {"one", "same"}:
            assert (comparison["difference"], comparison["shown"], comparison["p"]) == (0.0, False, None)
            assert "have the same test_loss with every seed (4 seeds)" in comparison["text"]


def test_runs_that_share_some_seeds_are_paired_over_these(here: Path) -> None:
    run("tiny.nn", {"seed": 3}, out="later")  # seeds 3 to 6, after 1 to 4
    for each in runs.compare_runs(["one", "later"]).contest.comparisons:
        assert (each.test.paired, each.test.n, each.sizes) == (True, 2, (4, 4))
        assert (each.test.difference, each.shown) == (0.0, False)
    record = compared_record(runs.compare_runs(["one", "later"]))
    assert [each["n"] for each in record["comparisons"]] == [[2, 2]] * 2


def test_the_best_of_lanes_with_other_losses_is_that_with_the_highest_accuracy() -> None:
    def lane(name: str, loss: str, accuracy: float) -> Contender:
        return Contender("r", name, loss, {1: {"test_loss": accuracy / 10, "test_accuracy": accuracy}})

    one, other = lane("a", "CrossEntropy", 0.9), lane("b", "MSE", 0.8)
    assert best_of([other, one], "test_loss") is one
    assert best_of([one, lane("c", "CrossEntropy", 0.5)], "test_loss").lane == "c"  # type: ignore[union-attr]
    bare = Contender("r", "d", "MSE", {1: {"test_loss": 0.0}})
    assert best_of([one, bare], "test_loss") is None
    assert best_of([], "test_loss") is None


def test_without_seeds_nothing_is_judged(here: Path) -> None:
    for name, rate in (("a", 0.1), ("b", 0.2)):
        run("tiny.nn", {"train.repeats": 1, "SGD.optimizer.lr": rate}, out=name)
    record = json.loads(command("compare", "a", "b", "--json", cwd=here).stdout)
    assert not any(comparison["shown"] for comparison in record["comparisons"])
    assert all(comparison["p"] is None or comparison["p"] >= 0 for comparison in record["comparisons"])


def test_a_run_named_twice_counts_once_and_other_folders_are_rejected(here: Path) -> None:
    assert len(runs.compare_runs(["one", here / "one"]).contest.runs) == 1
    with pytest.raises(RunError, match="run not found: nowhere"):
        runs.compare_runs(["one", "nowhere"])
    done = command("compare", "tiny.nn", cwd=here)
    assert (done.returncode, done.stdout) == (2, "")
    (here / "one/summary.json").write_text('{"lanes": [{"name": 7}]}')
    done = command("compare", "one", cwd=here)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
