"""The table of a cross-validation: a row per fold, mean and standard deviation."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from tiny_spec import command, run, spec

from nnspec.statistics.significance import deviation
from nnspec.view.wording import numbers
from nnspec.view.wording.folds import fold_tables

TRAIN = "epochs = 1; batch = 16; validation = folds(3)"


def test_each_fold_has_a_row_and_their_mean_and_deviation_follow() -> None:
    result = run(spec(train=TRAIN))
    (table,) = fold_tables(result.summary, ["run"])
    assert table.title == "run: cross-validation with 3 folds"
    assert table.head[:4] == ("fold", "seed", "val loss", "val accuracy")
    assert [row[0] for row in table.rows] == ["1", "2", "3", "mean", "deviation"]
    losses = [one.final("val_loss") for one in result["run"].repeats]
    assert [row[2] for row in table.rows] == [
        *map(numbers.loss, losses),
        numbers.loss(statistics.fmean(losses)),
        numbers.loss(statistics.stdev(losses)),
    ]
    assert result["run"].deviation("val_loss") == pytest.approx(statistics.stdev(losses), rel=1e-12)


def test_splits_that_are_repeated_are_numbered() -> None:
    (table,) = fold_tables(run(spec(train=f"{TRAIN}; repeats = 2")).summary, ["run"])
    assert table.title == "run: cross-validation with 3 folds, 2 times"
    assert [row[0] for row in table.rows[:4]] == ["1 of split 1", "2 of split 1", "3 of split 1", "1 of split 2"]


def test_a_fold_that_diverged_is_named_and_not_counted() -> None:
    summary = run(spec(train=TRAIN)).summary
    summary["lanes"][0]["repeats"][1]["status"] = "diverged"
    (table,) = fold_tables(summary, ["run"])
    done = [summary["lanes"][0]["repeats"][i]["final"]["val_loss"] for i in (0, 2)]
    assert table.rows[1][0] == "2 (diverged)"
    assert table.rows[3][2] == numbers.loss(statistics.fmean(done))


def test_lanes_without_folds_have_no_table() -> None:
    assert [*fold_tables(run(spec(train="epochs = 1; repeats = 2")).summary, ["run"])] == []


def test_the_deviation_of_a_sample() -> None:
    assert deviation([1.0, 2.0, 4.0]) == pytest.approx(statistics.stdev([1.0, 2.0, 4.0]), rel=1e-15)
    assert deviation([0.1, 0.1, 0.1]) == 0
    assert str(deviation([1.0])) == "nan"


def test_terminal_and_report_show_it(tmp_path: Path) -> None:
    (tmp_path / "tiny.nn").write_text(spec(train=TRAIN))
    done = command("run", "tiny.nn", "--offline", "--out", "out", cwd=tmp_path)
    assert "run: cross-validation with 3 folds" in done.stdout
    assert "deviation" in done.stdout
    assert command("report", "out", "--out", "page.html", cwd=tmp_path).returncode == 0
    assert "cross-validation with 3 folds" in (tmp_path / "page.html").read_text("utf-8")


def test_a_run_without_test_samples_has_a_report_but_nothing_to_evaluate(tmp_path: Path) -> None:
    (tmp_path / "tiny.nn").write_text(spec(train=TRAIN, data="Digits(train=60, test=0)"))
    done = command("run", "tiny.nn", "--offline", "--out", "out", cwd=tmp_path)
    assert "(95 %, 3 folds)" in done.stdout
    assert command("report", "out", "--out", "page.html", cwd=tmp_path).returncode == 0
    evaluated = command("eval", "out", cwd=tmp_path)
    assert evaluated.returncode == 2
    assert "has no test samples" in evaluated.stderr
