"""Searches by successive halving: trials that pause at rungs, of which the best continue with the same bits."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from findings import base, find
from rich.console import Console
from tiny_spec import compiled, spec
from tiny_spec import run as train

import nnspec
from nnspec.api import Spec
from nnspec.compiler.proofs import Compiled
from nnspec.engine.searches import HalvingSearch
from nnspec.engine.spaces import Choice, UniformSpace
from nnspec.results.lane import LaneResult
from nnspec.results.run import RunResult
from nnspec.results.rungs import Rungs
from nnspec.results.search_summary import search_record
from nnspec.results.tuning import tuned_by
from nnspec.runner.options import RunOptions
from nnspec.view.terminal.progress import LiveProgress, PlainProgress
from nnspec.view.terminal.quiet import QuietProgress
from nnspec.view.terminal.race import show_result
from nnspec.view.wording import numbers

HALVING = "halving(factor=2, rungs=3)"
TRIALS, KEPT = 7, [(2, 3), (4, 1)]
"""With a budget of 3 and 8 epochs: how many trials, and after which epochs how many continue."""
PLAIN = {"race": "SGD; Adam", "train": "epochs = 8; batch = 16; validation = 0.2"}
STATEFUL = {
    "model": "Linear(6); BatchNorm; ReLU; Dropout(0.3); Linear(10)",
    "race": "SGD { optimizer = Momentum(lr=cosine(rate)) }; Adam { optimizer = Adam(lr=plateau(rate, patience=1)) }",
    "train": "epochs = 8; batch = 16; validation = 0.2; average = ema(0.9); "
    "early_stop = patience(3, restore_best=true)",
}
EARLY = PLAIN | {"train": f"{PLAIN['train']}; early_stop = patience(1, restore_best=true)"}
BY_STEPS = {"race": "SGD; Adam", "train": "steps = 24; record = 3; batch = 16; validation = 0.2"}


def text(kind: dict[str, str], search: str = HALVING, budget: int = 3) -> Spec:
    setting = "rate" if kind is STATEFUL else "optimizer.lr"
    tune = f"tune {{ budget = {budget}; search = {search}; race = false; {setting} = loguniform(1e-2, 10) }}"
    return Spec.parse(spec(**kind, more=f"let rate = 0.1\n{tune}" if kind is STATEFUL else tune))


def run(kind: dict[str, str] = PLAIN, search: str = HALVING, budget: int = 3, **options: Any) -> RunResult:
    return nnspec.run(text(kind, search, budget), offline=True, **options)


def curves(lane: LaneResult) -> dict[str, Any]:
    return {**lane.history, "rates": lane.rates, **lane.trace}


def everything(result: RunResult) -> dict[str, Any]:
    return {
        name: (lane.status, lane.stopped, lane.restored_epoch, lane.final("val_loss"), curves(lane))
        for name, lane in result.lanes.items()
    }


@pytest.fixture(scope="module")
def halved() -> RunResult:
    return run()


@pytest.mark.parametrize("kind", [PLAIN, STATEFUL, BY_STEPS], ids=["plain", "stateful", "by steps"])
def test_trials_have_the_bits_of_trainings_without_a_pause(kind: dict[str, str]) -> None:
    halved, full = run(kind), run(kind, "halton", TRIALS)
    assert [*halved.lanes] == [*full.lanes]
    for name, lane in halved.lanes.items():
        done = len(lane.records)
        assert curves(lane) == {figure: values[:done] for figure, values in curves(full[name]).items()}
        assert not (lane.stopped.endswith("others were better") and lane.restored_epoch)
    lengths = {len(lane.records) for lane in halved.lanes.values()}
    assert {2, 4} < lengths <= {2, 3, 4, 5, 6, 7, 8}


@pytest.mark.parametrize(("by", "sign"), [("val_loss", 1), ("val_accuracy", -1)])
def test_the_best_of_each_rung_continue(by: str, sign: int) -> None:
    halved, full = run(set={"tune.by": by}), run(search="halton", budget=TRIALS)
    for lane in ("SGD", "Adam"):
        left = [f"{lane},trial={number}" for number in range(1, TRIALS + 1)]
        for epoch, count in KEPT:
            assert all(len(halved[name].records) >= epoch for name in left)
            best = sorted(left, key=lambda name: sign * full[name].curve(by)[epoch - 1])[:count]
            dropped = [name for name in left if name not in best]
            assert all(halved[name].stopped == f"after epoch {epoch}: others were better" for name in dropped)
            assert all(len(halved[name].records) == epoch for name in dropped)
            left = [name for name in left if name in best]
        assert [len(halved[name].records) for name in left] == [8]


def test_only_a_trial_that_was_trained_to_the_end_is_chosen(halved: RunResult) -> None:
    assert halved.tuned is not None
    for study in halved.tuned.studies:
        assert [trial.status for trial in study.trials].count("dropped") == TRIALS - 1
        assert study.chosen is not None
        assert study.chosen.epochs == 8
        assert sum(trial.epochs for trial in study.trials) <= 3 * 8


def test_dropped_trials_are_no_diverged_ones_and_say_nothing_of_other_budgets(halved: RunResult) -> None:
    assert halved.tuned is not None
    record = search_record(halved.tuned, (), {})
    assert [(lane["trials"], lane["diverged"], lane["best_after"]) for lane in record["lanes"]] == [(TRIALS, 0, [])] * 2
    assert "trials" not in record["stability"]
    assert not [remark for remark in record["remarks"] if "diverged" in remark]


@pytest.mark.parametrize(
    "options", [{"stack": False}, {"jobs": 2}, {"compiled": "never"}], ids=["apart", "processes", "numpy"]
)
def test_the_same_bits_on_every_executor(halved: RunResult, options: dict[str, Any]) -> None:
    assert everything(run(**options)) == everything(halved)


@pytest.mark.filterwarnings("ignore")  # Dask's own
def test_the_same_bits_on_a_cluster(halved: RunResult) -> None:
    distributed = pytest.importorskip("distributed", reason="takes nnspec[dask]")
    workers = {"n_workers": 2, "threads_per_worker": 1, "processes": False}
    with distributed.LocalCluster(**workers, protocol="tcp", dashboard_address=None) as cluster:
        address = "dask://" + cluster.scheduler_address.removeprefix("tcp://")
        assert everything(run(cluster=address)) == everything(halved)


@pytest.mark.parametrize(
    ("kind", "after"), [(PLAIN, 4), (PLAIN, 17), (PLAIN, 30), (EARLY, 24)], ids=["4", "17", "30", "early stopping"]
)
def test_an_interrupted_search_is_resumed_with_the_same_bits(tmp_path: Path, kind: dict[str, str], after: int) -> None:
    calls = 0

    def interrupt(lane: str, epoch: int, figures: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            raise KeyboardInterrupt

    stopped = run(kind, out=tmp_path / "run", on_epoch=interrupt, checkpoint=0, stack=False)
    assert stopped.interrupted
    assert {lane.status for lane in stopped.lanes.values()} <= {"interrupted", "done"}
    assert len(stopped.lanes) == {4: 2, 17: 9, 24: 12}.get(after, 2 * TRIALS)  # those that have begun, paused or not
    resumed = run(kind, out=tmp_path / "run", resume=True)
    assert everything(resumed) == everything(run(kind))


def test_a_search_by_halving_is_verified(tmp_path: Path) -> None:
    done = run(set={"tune.race": True}, out=tmp_path / "run")
    assert [*done.lanes] == ["SGD", "Adam"]
    found = nnspec.runs.verify(tmp_path / "run")
    assert found.same
    assert len(found.matches) == 2 * TRIALS + 2


def test_the_trials_of_each_study_compete_among_themselves() -> None:
    found = run(set={"tune.studies": 2})
    for lane in ("SGD", "Adam"):
        for study in (1, 2):
            done = [len(found[f"{lane},study={study},trial={n}"].records) for n in range(1, TRIALS + 1)]
            assert sorted(done) == [2, 2, 2, 2, 4, 4, 8]


def test_what_trials_do_after_a_rung_does_not_count_there() -> None:
    program = nnspec.api.compile_spec(text(PLAIN)).program
    assert program.tuning is not None
    full = run(search="halton", budget=TRIALS)
    lanes = {name: lane.trainings for name, lane in full.lanes.items()}
    short = {name: [replace(one, records=one.records[:2]) for one in trainings] for name, trainings in lanes.items()}
    rungs = Rungs(program.tuning, program)
    assert rungs.ahead(lanes, 1) == rungs.ahead(short, 1)


@pytest.mark.parametrize("figure", [math.inf, -math.inf, math.nan])
def test_a_trial_without_a_finite_figure_at_a_rung_ends_there(figure: float) -> None:
    """Even if its loss is finite, and fewer trials have one than would continue."""
    program = nnspec.api.compile_spec(text(PLAIN)).program
    assert program.tuning is not None
    lanes = {name: lane.trainings for name, lane in run(search="halton", budget=TRIALS).lanes.items()}
    lost = {f"SGD,trial={number}" for number in range(1, TRIALS)}
    for name in lost:
        (one,) = lanes[name]
        lanes[name] = (
            replace(one, records=[replace(each, figures={**each.figures, "val_loss": figure}) for each in one.records]),
        )
    assert {each for each in Rungs(program.tuning, program).ahead(lanes, 1) if each.startswith("SGD")} == {
        "SGD,trial=7"
    }


def test_of_equal_trials_the_first_continue() -> None:
    tune = "let a = 1\ntune { budget = 2; search = halving(factor=2, rungs=2); race = false; a = [1, 2, 3, 4] }"
    found = nnspec.run(Spec.parse(spec(**PLAIN, more=tune)), offline=True)
    for lane in ("SGD", "Adam"):
        assert [len(found[f"{lane},trial={n}"].records) for n in (1, 2, 3)] == [8, 4, 4]


def test_a_trial_that_diverges_does_not_continue() -> None:
    tune = f"tune {{ budget = 2; search = {HALVING}; race = false; optimizer.lr = [1e30, 0.1, 2e30, 3e30] }}"
    found = nnspec.run(Spec.parse(spec(**PLAIN, more=tune)), offline=True).tuned
    assert found is not None
    for study in found.studies:
        assert sorted(trial.status for trial in study.trials) == ["diverged", "diverged", "diverged", "done"]


def test_folds_of_a_trial_pause_together() -> None:
    kind = {"race": "SGD", "train": "epochs = 4; batch = 16; validation = folds(2)"}
    found = run(kind)
    for lane in found.lanes.values():
        assert len({len(one.records) for one in lane.repeats}) == 1
    assert found.tuned is not None
    assert [trial.status for trial in found.tuned.trials].count("done") == 1


def test_the_budget_is_spent_in_epochs() -> None:
    space = [UniformSpace(0, 1)]
    assert HalvingSearch(3, 3).trials(space, 20) == 80
    assert HalvingSearch(3, 3).kept(80, 20) == ((9, 26), (3, 8))
    assert HalvingSearch(2, 3).trials(space, 3) == TRIALS
    for budget in range(1, 40):
        trials = HalvingSearch(3, 3).trials(space, budget)
        assert budget <= trials <= 9 * budget
        for count, fits in ((trials, True), (trials + 1, False)):
            (_, second), (_, third) = HalvingSearch(3, 3).kept(max(count, budget + 1), budget)
            assert (count + 2 * second + 6 * third <= 9 * budget) == fits or count == budget


def test_nothing_is_dropped_if_all_settings_fit_into_the_budget() -> None:
    assert HalvingSearch().trials([Choice((1, 2, 3))], 20) == 3
    assert HalvingSearch().kept(3, 20) == ()
    tune = f"tune {{ budget = 3; search = {HALVING}; race = false; optimizer.lr = [0.1, 0.2, 0.3] }}"
    found = nnspec.run(Spec.parse(spec(**PLAIN, more=tune)), offline=True)
    assert {len(lane.records) for lane in found.lanes.values()} == {8}


def test_trainings_that_are_too_short_are_an_error() -> None:
    more = "train.validation = 0.2\ntrain.epochs = {}\ntune {{ search = halving; optimizer.lr = loguniform(0.1, 1) }}\n"
    assert ("NN302", "halving") in find(base(more=more.format(8)))
    assert not find(base(more=more.format(9)))


# Progress


def shown(view: type[QuietProgress], spec: str) -> tuple[str, QuietProgress, RunResult]:
    progress = view(
        Console(file=io.StringIO(), width=100, force_terminal=view is LiveProgress, highlight=False), compiled(spec)
    )
    result = train(spec, observer=progress)
    progress.close()
    return progress.console.file.getvalue(), progress, result  # type: ignore[attr-defined]


def test_a_search_in_a_pipe_has_few_lines_and_one_for_each_lane(halved: RunResult) -> None:
    said, progress, _ = shown(PlainProgress, text(PLAIN).text)
    assert "epoch" not in said
    lines = said.splitlines()
    assert len(lines) < 12
    assert lines[0].startswith("tuning: 1")
    best = numbers.figure("val_loss", min(t.figure for t in halved.tuned.of("SGD")[0].trials if t.counts))  # type: ignore[union-attr]
    assert f"SGD: {TRIALS} trials done, 6 of them stopped early, best val loss {best}" in lines
    assert progress.trials is not None
    assert (progress.trials.ended, progress.trials.percent) == (2 * TRIALS, 100)


def test_a_live_table_of_a_search_has_a_line_for_each_lane() -> None:
    said, progress, _ = shown(LiveProgress, text(PLAIN, "halton").text)
    assert re.search(r"tuning: \d of 6 trials done, \d+ % of the epochs", said)
    assert "trial=" not in said
    assert progress.trials is not None
    assert [(each.ended, each.running, each.dropped) for each in progress.trials.lanes.values()] == [(3, 0, 0)] * 2


def test_trials_that_diverge_or_are_cross_validated_count_once() -> None:
    train = "epochs = 3; batch = 16; validation = folds(3)"
    spec = text({"race": "SGD; Adam", "train": train}, "halton").text.replace("loguniform(1e-2, 10)", "[1e30, 0.1]")
    said, progress, _ = shown(PlainProgress, spec)
    (line,) = (line for line in said.splitlines() if line.startswith("SGD: 2"))
    assert line.startswith("SGD: 2 trials done, 1 diverged or failed, best val loss ")
    assert progress.trials is not None
    assert progress.trials.percent == 100


def test_an_interrupted_search_says_how_far_it_came_and_nothing_about_its_trials() -> None:
    class Stops(PlainProgress):
        def __init__(self, console: Console, compiled: Compiled, epochs: int) -> None:
            self.left = epochs
            super().__init__(console, compiled)

        def epoch_done(self, lane: LaneResult) -> None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt

    for epochs, words in ((0, "0 of 6 trials are done"), (28, "3 of 6 trials are done; 1 more had begun")):
        program = compiled(text(PLAIN, "halton").text)
        progress = Stops(Console(file=io.StringIO(), width=100, highlight=False), program, epochs)
        result = train(text(PLAIN, "halton").text, observer=progress, ways=RunOptions(jobs=1, stack=False))
        assert result.interrupted
        assert program.program.tuning is not None
        tuned = tuned_by(program.program.tuning, program.program, result.lanes)
        assert not any(trial.diverged for trial in tuned.trials)
        show_result(result, progress)
        said = progress.console.file.getvalue()  # type: ignore[attr-defined]
        assert f"– the search did not end: {words}" in said
        assert "diverged" not in said
        assert "trial=" not in said
        assert "Adam: " not in said
