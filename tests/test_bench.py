"""`nnspec bench`: problems joined with contestants, run, resumed, planned, recorded, verified and published."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
import shutil
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tiny_spec import OFFLINE, TOGETHER, command, spec

import nnspec
from nnspec import BenchError, BenchResult
from nnspec.benchmark.plan import fit, plan_bench
from nnspec.benchmark.reading import digests_of, entries_of
from nnspec.benchmark.record import open_bench, write_views
from nnspec.benchmark.running import bench_into
from nnspec.benchmark.verifying import verify_bench
from nnspec.data.source import Access, DataError
from nnspec.records.saved import open_run
from nnspec.results.bench import MEASURES, BenchRun, Entry, Problem, Setting
from nnspec.statistics.significance import mean
from nnspec.training.observer import Silent
from nnspec.view.publication.latex import escaped, profile_latex, step_points, table_latex
from nnspec.view.terminal.bench import print_bench
from nnspec.view.terminal.screen import plain_text
from nnspec.view.wording.bench import figures as table_of_figures

MODEL = "Linear(6, init=xavier_normal); Tanh; Linear(3)"
TRAIN = "epochs = 3; batch = 16; validation = 0.2; repeats = 3"
CONTESTANTS = """race { SGD; Adam }
tune { budget = 2; SGD.optimizer.lr = loguniform(1e-3, 1); Adam.optimizer.lr = loguniform(1e-4, 0.1) }
"""


def problem(target: float | None = 0.9, data: str = "Blobs(train=80, test=30)", train: str = TRAIN) -> str:
    """Return a problem: a spec without an optimizer."""
    tune = f"tune {{ by = val_loss; {f'target = {target}' if target is not None else ''} }}"
    text = spec(MODEL, data=data, train=train, more=tune)
    return text.replace("optimizer = SGD(lr=0.1)\n", "")


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "problems").mkdir()
    (folder / "problems/easy.nn").write_text(problem())
    (folder / "problems/hard_1%.nn").write_text(problem(0.001, "Blobs(train=80, test=0, noise=1)"))
    (folder / "contestants.nn").write_text(CONTESTANTS)
    return folder


@pytest.fixture(scope="module")
def done(specs: Path) -> Iterator[BenchResult]:
    with chdir(specs):
        yield nnspec.bench("problems", "contestants.nn", "out", offline=True, jobs=1)


def test_each_problem_is_a_tuned_run(specs: Path, done: BenchResult) -> None:
    assert [each.name for each in done.problems] == ["easy", "hard_1_"]
    assert done.names == ("SGD", "Adam")
    assert (done.trials, done.asked, done.exit_code) == (2, 2, 0)
    with chdir(specs):
        saved = nnspec.runs.open_run("out/easy")
        assert saved.lanes == ["SGD", "Adam"]
        assert len(saved.trials.lanes) == 4 if saved.trials is not None else False
        assert saved.text == 'import "problems/easy.nn"\nimport "contestants.nn"\n'
        lane = saved.lane("SGD")
        history = saved.history["SGD"]["repeats"]
    entry = done["easy"]["SGD"]
    assert [run.seed for run in entry.runs] == [0, 1, 2]
    assert [run.figure for run in entry.runs] == [each["final"]["val_loss"] for each in lane["repeats"]]
    assert [run.test for run in entry.runs] == [each["final"]["test_loss"] for each in lane["repeats"]]
    assert entry.interval().mean == pytest.approx(lane["final"]["val_loss"])
    for run, curve in zip(entry.runs, history, strict=True):
        first = next((n for n, loss in enumerate(curve["val_loss"], 1) if loss <= 0.9), None)
        assert first is not None
        assert run.steps_to == run.gradient_evaluations_to == 4 * first
        assert run.seconds_to == pytest.approx(sum(curve["seconds"][:first]))
        assert (run.steps, run.seconds) == (12, pytest.approx(sum(curve["seconds"])))
    assert done["hard_1_"].test == ""
    assert all(run.test is None for entry in done["hard_1_"].entries for run in entry.runs)


def test_a_target_that_is_never_reached_counts_against_all(done: BenchResult) -> None:
    times = done["hard_1_"]["Adam"].times("steps")
    assert (times.text, times.median) == ("0 of 3 reached it", math.inf)
    for measure in MEASURES:
        assert all(profile.ratios[1] == math.inf and profile.solved == 0.5 for profile in done.profiles(measure))


def test_the_record_is_read_as_it_was_written(specs: Path, done: BenchResult) -> None:
    with chdir(specs):
        assert open_bench("out") == done
        record = json.loads(Path("out/bench.json").read_text())
    profiles = record["follows"]["profiles"]["steps"]
    assert [each["score"] for each in profiles] == [profile.score() for profile in done.profiles("steps")]
    assert record["follows"]["stability"]["easy"] == dict(done["easy"].stability.first)  # type: ignore[union-attr]


def test_what_is_done_is_not_done_again(specs: Path, done: BenchResult, tmp_path: Path) -> None:
    with chdir(specs):
        shutil.copytree("out", tmp_path / "out")
        out = tmp_path / "out"
        shutil.rmtree(out / "hard_1_")
        before = (out / "easy/summary.json").stat().st_mtime_ns
        result = command("bench", "problems", "contestants.nn", "--out", out, "--resume", "--offline", "-j1")
        assert "already done" in result.stdout
        assert result.stdout.count("already done") == 1
        assert (out / "easy/summary.json").stat().st_mtime_ns == before
        again = open_bench(out)
        assert again["easy"] == done["easy"]
        for name in done.names:
            assert [r.figure for r in again["hard_1_"][name].runs] == [r.figure for r in done["hard_1_"][name].runs]
        refused = command("bench", "problems", "contestants.nn", "--out", out)
        assert refused.returncode == 2
        assert "is not empty; continue its bench with --resume" in refused.stderr


class Interrupts(Silent):
    """Interrupts after a number of epochs."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def epoch_done(self, lane: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("epochs", [5, 20, 50])
def test_an_interrupted_bench_is_resumed(specs: Path, done: BenchResult, tmp_path: Path, epochs: int) -> None:
    """In the search and in the race of the first problem, and in the second problem."""
    with chdir(specs):
        plan = plan_bench(["problems/easy.nn", "problems/hard_1%.nn"], "contestants.nn")
        options = replace(TOGETHER, resume=True, checkpoint=0)
        halted = bench_into(plan, tmp_path / "out", OFFLINE, Interrupts(epochs), options)
        assert halted.exit_code == 130
        assert [each.status for each in halted.problems] == [
            ["interrupted", "omitted"],
            ["interrupted", "omitted"],
            ["done", "interrupted"],
        ][[5, 20, 50].index(epochs)]
        assert open_bench(tmp_path / "out") == halted
        resumed = bench_into(plan, tmp_path / "out", OFFLINE, Silent(), options)
    assert resumed.exit_code == 0
    for each in done.problems:
        for name in done.names:
            known, own = each[name], resumed[each.name][name]
            assert [(r.seed, r.figure, r.steps_to) for r in own.runs] == [
                (r.seed, r.figure, r.steps_to) for r in known.runs
            ]
            assert own.chosen == known.chosen


def entry(name: str, figures: list[float | None], studies: int = 1) -> Entry:
    each = len(figures) // studies
    runs = (
        BenchRun(1 + i // each, i, "done" if x is not None else "diverged", x, None, 9, 9, 9.0, None, None, None)
        for i, x in enumerate(figures)
    )
    return Entry(name, 2, 0, ((Setting("lr", "0.1"),),) * studies, tuple(runs))


SEARCHED_THRICE: dict[str, list[float | None]] = {
    "a": [1.0, 1.01, 2.0, 2.01, 3.0, 3.01],  # always better than b, but by less than its searches differ
    "b": [1.5, 1.51, 2.5, 2.51, 3.5, 3.51],
    "c": [99.0, 99.1, 98.0, 98.1, 97.0, 97.2],
}


@pytest.mark.parametrize(
    ("figures", "studies", "leaders"),
    [
        ({"a": [1.0, 2.0, 3.0], "b": [1.1, 1.9, 3.1], "c": [5.0, 6.1, 7.0]}, 1, "ab"),
        ({"a": [1.0, 2.0, 3.0], "b": [1.5, 2.51, 3.5], "c": [5.0, 6.1, 7.0]}, 1, "a"),  # by seed, it is always better
        ({"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, 3.0], "c": [1.5, 2.5, 3.5]}, 1, "ab"),  # equal, and apart by 0.5 always
        ({"a": [1.0, 2.0, 3.0], "b": [1.1, None, 2.9], "c": [9.0, 9.0, 9.0]}, 1, "a"),  # it diverged with a seed
        (SEARCHED_THRICE, 3, "ab"),
    ],
)
def test_those_not_shown_to_be_worse_than_the_best(
    figures: dict[str, list[float | None]], studies: int, leaders: str
) -> None:
    entries = tuple(entry(name, values, studies) for name, values in figures.items())
    problem = Problem("p", "p.nn", "", "val_loss", 1.0, "done", entries=entries)
    assert problem.best == "a"
    assert problem.leaders == {*leaders}
    (row,) = table_of_figures(replace(made_up(tuple(figures)), problems=(problem,))).rows
    assert {name for name, cell in zip(figures, row[1:], strict=True) if cell.endswith(" ≈")} == {*leaders} - {"a"}
    assert replace(problem, by="val_accuracy").best == "c" or None in figures["b"]


def test_a_search_space_that_is_too_narrow_is_named(specs: Path, tmp_path: Path) -> None:
    with chdir(tmp_path):
        shutil.copy(specs / "problems/easy.nn", "easy.nn")
        Path("narrow.nn").write_text(CONTESTANTS.replace("budget = 2;", "budget = 2; search = grid;"))
        found = nnspec.bench("easy.nn", "narrow.nn", "out", offline=True, jobs=1)
        note = found["easy"].notes[0]
        assert "SGD: the best `optimizer.lr` is at the " in note
        assert note in Path("out/report.html").read_text().replace("&#x27;", "'")
        assert "between the chosen settings" in repr(found)


def test_a_bench_is_extended_and_reduced(specs: Path, done: BenchResult, tmp_path: Path) -> None:
    """Other problems are added; those that are not given again stay, unless they have no results."""
    easy, hard, out = specs / "problems/easy.nn", specs / "problems/hard_1%.nn", tmp_path / "out"
    resume = partial(command, "bench", cwd=specs)
    rest = (specs / "contestants.nn", "--out", out, "--resume", "--offline", "-j1")
    assert resume(easy, *rest).returncode == 0
    extended = resume(hard, *rest)
    assert "easy is not given again; its results stay in the bench" in extended.stdout
    found = open_bench(out)
    assert [each.name for each in found.problems] == ["easy", "hard_1_"]
    assert found.profiles("steps") == done.profiles("steps")

    other = resume(hard, *rest, "--set", "train.repeats=2")
    assert other.returncode == 2
    assert "has results of easy with other contestants or settings than those given now" in other.stderr
    shutil.rmtree(out / "easy")
    reduced = resume(hard, *rest)
    assert "! easy is not given again and has no results; it is no longer in the bench" in reduced.stdout
    assert "already done" in reduced.stdout
    assert [each.name for each in open_bench(out).problems] == ["hard_1_"]


def test_the_page_links_to_the_reports_of_its_runs(specs: Path, done: BenchResult, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(specs / "out", out)
    nnspec.runs.report([out / "easy"])
    write_views(open_bench(out), out)
    page = (out / "report.html").read_text()
    assert 'href="easy/report.html"' in page
    assert f"nnspec report {out}/hard_1_" in page
    assert "nnspec report out/easy" not in page


def test_a_problem_that_fails_is_recorded_and_the_others_continue(specs: Path, tmp_path: Path) -> None:
    with chdir(tmp_path):
        for name in ("easy.nn", "contestants.nn"):
            shutil.copy(next(specs.rglob(name)), name)
        missing = problem(data="FashionMNIST(train=50, test=20)").replace("Linear(3)", "Linear(10)")
        Path("missing.nn").write_text(missing)
        Path("wild.nn").write_text(CONTESTANTS.replace("loguniform(1e-3, 1)", "loguniform(1e60, 1e61)"))
        result = command("bench", "missing.nn", "easy.nn", "contestants.nn", "--out", "out", "--offline", "-j1")
        found = open_bench("out")
        assert result.returncode == 1
        assert {each.name: each.status for each in found.problems} == {"missing": "failed", "easy": "done"}
        assert "FAILED" in result.stdout
        assert "missing is excluded from the results" in result.stdout
        assert "FashionMNIST" in found["missing"].message
        assert "is excluded from the results" in Path("out/report.html").read_text()
        Path("wilder.nn").write_text(Path("wild.nn").read_text().replace("loguniform(1e-4, 0.1)", "[1e200, 1e201]"))
        none = nnspec.bench("easy.nn", "wilder.nn", "none", offline=True, jobs=1)
        assert "none of the 4 trials ended with a finite val_loss" in none["easy"].message
        assert (none.exit_code, none.profiles(), none.done) == (1, (), ())
        assert "there is nothing to compare" in repr(none)
        assert write_views(none, Path("none"))


def test_a_contestant_whose_trials_all_diverge_counts_as_unsolved(specs: Path, tmp_path: Path) -> None:
    with chdir(tmp_path):
        for name in ("easy.nn", "contestants.nn"):
            shutil.copy(next(specs.rglob(name)), name)
        Path("wild.nn").write_text(CONTESTANTS.replace("loguniform(1e-3, 1)", "loguniform(1e200, 1e201)"))
        found = nnspec.bench("easy.nn", "wild.nn", "out", offline=True, jobs=1)
        assert (found["easy"].status, found["easy"].best, found.exit_code) == ("done", "Adam", 0)
        sgd, adam = found["easy"].entries
        assert (sgd.untrained, sgd.trials, sgd.diverged, sgd.chosen, sgd.lost) == (True, 2, 2, (), 3)
        assert [run.status for run in sgd.runs] == ["diverged"] * 3
        assert (adam.untrained, adam.lost) == (False, 0)
        for measure in MEASURES:
            assert [profile.ratios for profile in found.profiles(measure)] == [(math.inf,), (1.0,)]
        said = "easy: all 2 trials of SGD diverged, so it did not race"
        assert said in repr(found)
        for name in ("report.html", "table.tex"):
            assert "diverged" in Path("out", name).read_text()
        rows = [*csv.DictReader(io.StringIO(Path("out/results.csv").read_text()))]
        assert [row["status"] for row in rows if row["contestant"] == "SGD"] == ["diverged"] * 3
        assert open_bench("out") == found
        assert verify_bench("out", Silent()).same
        assert (
            command("bench", "easy.nn", "wild.nn", "--out", "out", "--resume", "-j1").stdout.count("already done") == 1
        )


FIT = "easy.nn and contestants.nn do not fit together"


@pytest.mark.parametrize(
    ("files", "messages"),
    [
        ({"easy.nn": problem(None)}, [FIT, "easy.nn has no target"]),
        ({"contestants.nn": CONTESTANTS + "train { repeats = 2 }"}, [FIT, "`train.repeats` is given twice"]),
        ({"contestants.nn": "let a = 1"}, [FIT, "have a `race` and a `tune`"]),
        ({"contestants.nn": CONTESTANTS.replace("Adam.optimizer.lr", "Adam.optimizer.mu")}, ["contestants.nn:2:60"]),
        ({"easy.nn": spec()}, ["easy.nn is a complete experiment"]),
        (
            {"contestants.nn": CONTESTANTS.replace("SGD; Adam", "SGD; Adma")},
            ["contestants.nn:1", "did you mean `Adam`?"],
        ),
    ],
)
def test_files_that_do_not_fit_together_are_named(tmp_path: Path, files: dict[str, str], messages: list[str]) -> None:
    with chdir(tmp_path):
        for name, text in {"easy.nn": problem(), "contestants.nn": CONTESTANTS, **files}.items():
            Path(name).write_text(text)
        result = command("bench", "easy.nn", "contestants.nn", "--out", "out")
        assert result.returncode == 2
        assert not Path("out").exists()
        for message in messages:
            assert message in result.stderr


def test_all_problems_that_do_not_fit_are_named(tmp_path: Path) -> None:
    for name in ("a.nn", "b.nn"):
        (tmp_path / name).write_text(problem(None))
    (tmp_path / "contestants.nn").write_text(CONTESTANTS)
    with chdir(tmp_path), pytest.raises(BenchError, match=r"(?s)a.nn has no target.*b.nn has no target"):
        nnspec.bench(["a.nn", "b.nn"], "contestants.nn", "out")


def test_a_budget_of_time_leaves_trials_out_before_problems(specs: Path, tmp_path: Path) -> None:
    with chdir(specs):
        plan = plan_bench(["problems/easy.nn", "problems/hard_1%.nn"], "contestants.nn", ["tune.budget=40"])
        all_of_it = fit(plan, math.inf)
        assert (all_of_it.plan.trials, len(all_of_it.plan.problems)) == (40, 2)
        fewest = sum(each.seconds(5) for each in plan.problems)
        fewer = fit(plan, (all_of_it.seconds + fewest) / 2)
        assert 5 < fewer.plan.trials < 40
        assert fewer.seconds <= (all_of_it.seconds + fewest) / 2
        assert fewer.plan.omitted == ()
        assert f"{fewer.plan.trials} trials instead of 40" in fewer.lines[1]
        one = fit(plan, plan.problems[0].seconds(5) * 1.01)
        assert [each.name for each in one.plan.omitted] == ["hard_1_"]
        assert one.lines[-1] == "! hard_1_ is omitted: it does not fit into the time budget"
        with pytest.raises(BenchError, match=r"no problem fits in 0.001 s: easy"):
            fit(plan, 0.001)
        result = bench_into(
            plan, tmp_path / "out", OFFLINE, Silent(), TOGETHER, budget=plan.problems[0].seconds(5) * 1.01
        )
    assert 5 <= result.trials < 40
    assert result.asked == 40
    assert {each.name: each.status for each in result.problems} == {"easy": "done", "hard_1_": "omitted"}
    assert f"{result.trials} trials per contestant instead of 40" in (tmp_path / "out/report.html").read_text()
    ended: list[tuple[str, bool]] = []
    with chdir(specs):
        rest = bench_into(
            plan,
            tmp_path / "out",
            OFFLINE,
            Silent(),
            replace(TOGETHER, resume=True),
            ends=lambda problem, before: ended.append((problem.name, before)),
        )
    assert ended == [("easy", True), ("hard_1_", False)]
    assert (rest.trials, rest.asked, rest["easy"]) == (result.trials, 40, result["easy"])
    assert all(entry.trials == result.trials for entry in rest["hard_1_"].entries)


def test_estimates_of_a_resumed_bench_are_corrected_by_what_is_done(specs: Path, done: BenchResult) -> None:
    with chdir(specs):
        plan = plan_bench(["problems/easy.nn", "problems/hard_1%.nn"], "contestants.nn")
    easy, hard = plan.problems
    took = replace(done["easy"], took=10 * easy.seconds(plan.trials))
    before = replace(done, problems=(took, replace(done["hard_1_"], status="interrupted")))
    assert fit(plan, math.inf, before).expected == {
        "easy": 0.0,
        "hard_1_": pytest.approx(10 * hard.seconds(plan.trials)),
    }
    other = replace(before, set=("seed=9",))
    assert fit(replace(plan, set=("seed=3",)), math.inf, other).expected["easy"] == easy.seconds(plan.trials)


def test_trials_are_estimated_as_often_as_spaces_have_settings(specs: Path, tmp_path: Path) -> None:
    (tmp_path / "few.nn").write_text("race { SGD; Adam }\ntune { budget = 40; optimizer.lr = [0.1, 0.2, 0.3] }\n")
    with chdir(specs):
        (planned,) = plan_bench(["problems/easy.nn"], str(tmp_path / "few.nn")).problems
    assert planned.seconds(2) < planned.seconds(3) == planned.seconds(40)


def test_a_run_that_was_changed_is_done_again(specs: Path, done: BenchResult, tmp_path: Path) -> None:
    with chdir(specs):
        shutil.copytree("out", tmp_path / "out")
        (tmp_path / "out/easy/history.json").write_bytes((tmp_path / "out/easy/history.json").read_bytes() + b" ")
        ended: list[tuple[str, bool]] = []
        again = bench_into(
            plan_bench(["problems/easy.nn", "problems/hard_1%.nn"], "contestants.nn"),
            tmp_path / "out",
            OFFLINE,
            Silent(),
            replace(TOGETHER, resume=True),
            ends=lambda problem, before: ended.append((problem.name, before)),
        )
    assert ended == [("easy", False), ("hard_1_", True)]
    assert digests_of(tmp_path / "out/easy") == again["easy"].digests


def test_only_a_problem_that_reads_files_is_given_the_data_folder(
    specs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = []

    def refuse(compiled: Any, access: Access, *others: Any, **options: Any) -> None:
        folders.append(access.data_dir)
        raise DataError("there is no data")

    monkeypatch.setattr("nnspec.benchmark.running.run_into", refuse)
    digits = problem(data="MNIST(train=80, test=30)").replace("Linear(3)", "Linear(10)")
    (tmp_path / "mnist.nn").write_text(digits)
    with chdir(specs):
        plan = plan_bench(["problems/easy.nn", str(tmp_path / "mnist.nn")], "contestants.nn")
    bench_into(plan, tmp_path / "out", Access(tmp_path, offline=True), Silent(), TOGETHER)
    assert folders == [None, tmp_path]


def test_a_training_that_diverged_has_no_figure(specs: Path, done: BenchResult, tmp_path: Path) -> None:
    with chdir(specs):
        shutil.copytree("out/easy", tmp_path / "easy")
        record = json.loads((tmp_path / "easy/summary.json").read_text())
        record["lanes"][0]["repeats"][1]["status"] = "diverged"
        (tmp_path / "easy/summary.json").write_text(json.dumps(record))
        entries = [*entries_of(open_run(tmp_path / "easy"), "val_loss", 0.9, True)]
    (entry,) = (each for each in entries if each.contestant == record["lanes"][0]["name"])
    assert [run.figure is None for run in entry.runs] == [False, True, False]
    assert [run.test is None for run in entry.runs] == [False, True, False]


@pytest.mark.parametrize("other", [["--set", "tune.budget=3"], ["--set", "seed=9"], ["contestants"]])
def test_another_bench_is_not_resumed(specs: Path, done: BenchResult, tmp_path: Path, other: list[str]) -> None:
    shutil.copytree(specs, tmp_path / "all")
    before = (tmp_path / "all/out/bench.json").read_text()
    if other == ["contestants"]:
        (tmp_path / "all/contestants.nn").write_text(CONTESTANTS.replace("race { SGD; Adam }", "race { Adam; SGD }"))
        other = []
    with chdir(tmp_path / "all"):
        result = command("bench", "problems", "contestants.nn", "--out", "out", "--resume", *other)
        assert result.returncode == 2
        assert "choose another folder with --out" in result.stderr
        assert Path("out/bench.json").read_text() == before


def test_a_bench_of_the_first_format_is_read_and_verified(specs: Path, done: BenchResult, tmp_path: Path) -> None:
    """With the names that gradient evaluations had, in the records of its runs too, and other bands."""
    out = tmp_path / "out"
    shutil.copytree(specs / "out", out)
    text = (out / "bench.json").read_text()
    record = json.loads(text.replace('"gradient_evaluations', '"evaluations')) | {"format": 1}
    for each in (each for profiles in record["follows"]["profiles"].values() for each in profiles):
        each |= {"score_low": 0.0, "low": [0.0] * len(each["tau"])}
    for name in ("easy/summary.json", "easy/trials/summary.json"):
        summary = (out / name).read_text()
        assert "gradient_evaluations" in summary
        tuned = json.loads(summary)
        for study in tuned["tuned"]["studies"]:
            for trial in study["trials"]:
                trial["evaluations"] = trial.pop("gradient_evaluations")
        for times in tuned["tuned"]["summary"].get("times", {}).values():
            times["gradients"] = times.pop("gradient_evaluations")
        (out / name).write_text(json.dumps(tuned))
    for each in record["problems"][0]["digests"]:
        each["value"] = hashlib.sha256((out / "easy" / each["name"]).read_bytes()).hexdigest()
    (out / "bench.json").write_text(json.dumps(record))
    found = open_bench(out)
    assert found["easy"].entries == done["easy"].entries
    assert found.bands() == done.bands()
    verified = verify_bench(out, Silent(), offline=True, jobs=1)
    assert verified.same, verified


def test_verify_repeats_every_run_and_every_result(specs: Path, done: BenchResult, tmp_path: Path) -> None:
    """In another place, since a bundle is there to be sent to others."""
    shutil.copytree(specs / "out", tmp_path / "out")
    good = command("verify", tmp_path / "out", cwd=tmp_path)
    assert (good.returncode, good.stderr.count("problem ")) == (0, 2)
    assert "all runs are identical, bit for bit, and all results follow from them" in good.stdout
    record = tmp_path / "out/bench.json"
    text = record.read_text()
    figure = done["easy"]["Adam"].runs[1].figure
    assert figure is not None
    record.write_text(text.replace(repr(figure), repr(figure * 0.99)))
    changed = verify_bench(tmp_path / "out", Silent(), offline=True, jobs=1)
    assert not changed.same
    assert changed.faults[0].startswith("bench.json: results.problems[easy].entries[Adam].runs[1].figure is ")
    assert "follows from the runs" in repr(changed)


@pytest.mark.parametrize("what", ["score", "history", "choice"])
def test_verify_finds_what_was_changed(specs: Path, done: BenchResult, tmp_path: Path, what: str) -> None:
    shutil.copytree(specs / "out", tmp_path / "out")
    shutil.rmtree(tmp_path / "out/hard_1_")
    path = (
        tmp_path
        / "out"
        / {"score": "bench.json", "history": "easy/history.json", "choice": "easy/trials/summary.json"}[what]
    )
    record = json.loads(path.read_text())
    if what == "score":
        record["follows"]["profiles"]["steps"][0]["score"] += 0.01
    elif what == "history":
        record["lanes"]["SGD"]["repeats"][0]["val_loss"][0] = 0.0
    else:
        record["tuned"]["studies"][0]["trials"][0]["figure"] = 0.0
    path.write_text(json.dumps(record))
    found = verify_bench(tmp_path / "out", Silent(), offline=True, jobs=1)
    assert not found.same
    texts = [*found.faults, *(fault for each in found.problems for fault in each.faults)]
    expected = {"score": "score is", "history": "history.json has changed", "choice": "summary.json has changed"}[what]
    assert any(expected in text for text in texts)
    assert any("hard_1_" in text for text in texts)


def test_csv_has_the_numbers_of_the_record(specs: Path, done: BenchResult) -> None:
    record = json.loads((specs / "out/bench.json").read_text())
    rows = [*csv.DictReader(io.StringIO((specs / "out/results.csv").read_text()))]
    runs = [
        {"problem": problem["name"], "contestant": entry["contestant"], **run}
        for problem in record["problems"]
        for entry in problem["entries"]
        for run in entry["runs"]
    ]
    assert len(rows) == len(runs) == 12
    for row, run in zip(rows, runs, strict=True):
        assert {name: row[name] for name in run} == {n: "" if v is None else str(v) for n, v in run.items()}
    profiles = [*csv.DictReader(io.StringIO((specs / "out/profile.csv").read_text()))]
    flat = [
        [measure, each["contestant"], *map(str, values)]
        for measure in MEASURES
        for each in record["follows"]["profiles"][measure]
        for values in zip(each["tau"], each["rho"], each["low"], each["high"], strict=True)
    ]
    assert [[*row.values()] for row in profiles] == flat


def made_up(names: tuple[str, ...]) -> BenchResult:
    """A bench with given results: the n-th contestant needs n times as many steps."""
    runs = [
        BenchRun(1, 0, "done", 0.1 * n, None, 9.0, 9.0, 1.0, 2.0 * n, 2.0 * n, 0.1 * n)
        for n in range(1, len(names) + 1)
    ]
    entries = tuple(Entry(name, 1, 0, (), (run,)) for name, run in zip(names, runs, strict=True))
    found = Problem("50%_{a}~b", "p.nn", "", "val_loss", 0.5, "done", entries=entries)
    return BenchResult("1", "c.nn", "", names, (), 1, 1, (found,))


def test_latex_escapes_names_and_compiles_alone() -> None:
    names = ("SGD_1 & 50% #2", "$x^2$ \\alpha", "{a}~b")
    result = made_up(names)
    for text in (table_latex(result), profile_latex(result)):
        assert text.count(r"\begin{document}") == text.count(r"\end{document}") == 1
        begun, ended = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
        assert sorted(begun) == sorted(ended)
        plain = re.sub(r"\\[{}\\]", "", text)
        assert plain.count("{") == plain.count("}")
        assert not re.search(r"\\(input|include|addplot table)\b(?!\{this)", text)
        assert r"SGD\_1 \& 50\% \#2" in text
    tiny = replace(
        result.problems[0].entries[0], runs=tuple(replace(r, figure=2.2e-4) for r in result.problems[0].entries[0].runs)
    )
    small = replace(result.problems[0], entries=(tiny, *result.problems[0].entries[1:]))
    assert r"2.2$\times10^{-4}$" in table_latex(replace(result, problems=(small, *result.problems[1:])))
    assert escaped("$x^2$ \\alpha") == r"\$x\textasciicircum{}2\$ \textbackslash{}alpha"
    rows = [line for line in table_latex(result).splitlines() if line.endswith(r" \\") and "multicolumn" not in line]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(names) + 1}


def test_profiles_are_stairs() -> None:
    assert step_points((1.0, 2.0), (0.5, 1.0), 3.0) == [(1.0, 0.5), (2.0, 0.5), (2.0, 1.0), (3.0, 1.0)]
    result = made_up(("A", "B", "C"))
    assert [profile.ratios for profile in result.profiles("steps")] == [(1.0,), (2.0,), (3.0,)]
    assert r"coordinates {(1,0) (2,0) (2,1) (3,1) (3.45,1)}" in profile_latex(result).replace("(3,1) (3,1)", "(3,1)")


def test_narrow_terminals_show_the_contestants_with_the_highest_scores() -> None:
    result = made_up(tuple(f"contestant number {n}" for n in "ABCDEF"))
    shown = plain_text(partial(print_bench, result), 80)
    assert shown.count("! 5 of 6 contestants fit in this width; report.html and results.csv have all") == 2
    assert shown.startswith("6 contestants on 1 problem, tuned with 1 trial each\n")
    assert "fit in this" not in plain_text(partial(print_bench, result), 200)


def test_the_page_says_what_follows_and_leads_to_the_runs(specs: Path, done: BenchResult) -> None:
    page = (specs / "out/report.html").read_text()
    best = max(done.profiles("steps"), key=lambda profile: profile.score())
    assert f"In steps, {best.contestant} has the highest score" in page or "have the same score" in page
    assert 'href="easy/"' in page
    assert "No contestant reaches the target of hard_1_, which counts against all of them." in page
    assert page.count('class="chart"') == 2
    assert "0 of 3 reached it" in page
    assert "val loss ≤ 0.9" in page


def test_the_files_are_drawn_again_without_training(specs: Path, done: BenchResult, tmp_path: Path) -> None:
    shutil.copytree(specs / "out", tmp_path / "out", ignore=shutil.ignore_patterns("easy", "hard_1_"))
    before = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    for name in before.keys() - {"bench.json"}:
        (tmp_path / "out" / name).unlink()
    assert command("report", "out", cwd=tmp_path).returncode == 0
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == before
    assert command("report", "out", "--out", "page.html", cwd=tmp_path).returncode == 2


def test_json_is_the_record(specs: Path, done: BenchResult, tmp_path: Path) -> None:
    with chdir(specs):
        result = command("bench", "problems/easy.nn", "contestants.nn", "--out", tmp_path / "out", "--json", "-j1")
        record = json.loads((tmp_path / "out/bench.json").read_text())
    assert json.loads(result.stdout) == {name: value for name, value in record.items() if name != "format"}
    assert "problem 1 of 1: easy" in result.stderr


@pytest.mark.parametrize(
    "change",
    [
        {"format": 3},
        {"names": ["SGD"]},
        {"problems": 3},
        {"follows": []},
        {"surprise": 1},
    ],
)
def test_damaged_records_are_refused(specs: Path, done: BenchResult, tmp_path: Path, change: dict[str, Any]) -> None:
    record = json.loads((specs / "out/bench.json").read_text())
    (tmp_path / "bench.json").write_text(json.dumps({**record, **change}))
    result = command("report", tmp_path, cwd=tmp_path)
    assert result.returncode == 2
    assert "bench.json" in result.stderr


def test_the_folder_is_numbered_by_default(specs: Path, done: BenchResult, tmp_path: Path) -> None:
    for path in (specs / "problems/easy.nn", specs / "contestants.nn"):
        shutil.copy(path, tmp_path)
    result = command("bench", "easy.nn", "contestants.nn", "-q", "--offline", "-j1", cwd=tmp_path)
    assert result.stdout.splitlines()[-1].startswith("runs/bench/1: bench.json, report.html")
    assert open_bench(tmp_path / "runs/bench/1").names == done.names
    assert command("bench", "easy.nn", "contestants.nn", "--resume", cwd=tmp_path).returncode == 2


def test_problems_cannot_lead_out_of_the_folder(specs: Path, done: BenchResult, tmp_path: Path) -> None:
    text = (specs / "out/bench.json").read_text().replace('"name": "easy"', '"name": "../easy"')
    (tmp_path / "bench.json").write_text(text)
    assert "damaged" in command("verify", tmp_path, cwd=tmp_path).stderr


def test_a_few_contestants_have_means_and_stability(done: BenchResult) -> None:
    problem = done["easy"]
    means = {name: mean(run.figure for run in problem[name].runs if run.figure is not None) for name in done.names}
    assert problem.best == min(means, key=lambda name: means[name])
    assert problem.stability is not None
    assert sum(problem.stability.first.values()) == pytest.approx(1)
    assert "score in steps" in repr(done)
