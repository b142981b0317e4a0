"""Published results beside ours: docs/reproduced.md, its figures, and the specs that make them."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from reproductions import MEASURED, PAGE, PUBLISHED, ROOT, TABLES, best_of_three, grid, page, prediction, verdict

from nnspec.checker import check
from nnspec.diagnostics import read_source

HOME = ROOT / "benchmarks/reproduced"
SPECS = sorted(HOME.glob("*.nn"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the specs, with the data of `deepobs_quadratic.nn`."""
    folder = tmp_path_factory.mktemp("reproduced")
    for path in [*SPECS, HOME / "make_deepobs_quadratic.py"]:
        shutil.copy(path, folder)
    runpy.run_path(str(folder / "make_deepobs_quadratic.py"), run_name="__main__")
    return folder


def test_the_page_shows_what_the_files_say() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(), "run `make reference`"
    assert [*TABLES] == sorted(TABLES, key=lambda name: text.index(f"<!-- table: {name} -->"))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_the_specs_are_right(path: Path, home: Path) -> None:
    source = read_source(str(home / path.name))
    assert check(source).diagnostics == ()


def test_the_quadratic_is_the_published_one(home: Path) -> None:
    data, start = np.load(home / "deepobs_quadratic.npz"), np.load(home / "deepobs_quadratic_start.npz")
    outputs = (data["x_test"] @ start["shift.weight"] + start["shift.bias"]) @ start["curve.weight"]
    assert np.mean(outputs**2) == pytest.approx(PUBLISHED["deepobs"]["initial_test_loss"], rel=1e-8)


def test_intervals() -> None:
    low, high = prediction([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 4.302653 * (4 / 3) ** 0.5, 2 + 4.302653 * (4 / 3) ** 0.5), rel=1e-6)
    assert verdict([1.0], (0, 2)) == "agrees"
    assert verdict([3.0, -1.0], (0, 2)) == "differs"
    assert verdict([1.0, 3.0], (0, 2)) == "1 of 2 agree"
    drawn = np.random.default_rng(0).normal(2, 3, (20_000, 3)).max(axis=1)
    reach = best_of_three(np.random.default_rng(1).normal(2, 3, 5000).tolist())
    assert np.mean(drawn < reach[0]) == pytest.approx(0.025, abs=0.012)
    assert np.mean(drawn > reach[1]) == pytest.approx(0.025, abs=0.012)


def test_a_figure_that_is_off_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = PUBLISHED["deepobs"]["grid"]["SGD"]
    before = {exponent: said for exponent, _, _, said in grid("SGD")}
    assert before[-1.6] == "agrees"
    assert before[-1.0] == "both diverge"
    monkeypatch.setitem(lane, "-1.6", lane["-1.6"] * 1.05)
    monkeypatch.setitem(lane, "-1.0", 90.0)
    after = {exponent: said for exponent, _, _, said in grid("SGD")}
    assert (after[-1.6], after[-1.0]) == ("differs", "differs")


def test_measured_figures_are_of_the_protocols() -> None:
    deepobs = MEASURED["deepobs"]
    assert all(len(rates) == 36 and {*map(len, rates.values())} == {5} for rates in deepobs["grid"].values())
    assert all(len(runs["test_loss"]) == 10 for key in ("theirs", "anew") for runs in deepobs[key].values())
    assert all(len(run) == 30 for runs in MEASURED["nielsen"].values() for run in runs)
    assert all(len(run) == 45 for lane in MEASURED["adam"].values() for run in lane["loss"])
    assert json.dumps(MEASURED).count("NaN") == 0
