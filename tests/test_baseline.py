"""`nnspec test --baseline`: what changed, what need not be trained again, what to record, and which specs to test."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import signal
import string
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
from markdown_it import MarkdownIt
from tiny_spec import command, compiled, spec
from tiny_spec import run as train

from nnspec.files import lock_folder, output
from nnspec.project import against, testing
from nnspec.project.against import Record, settled
from nnspec.project.baseline import (
    Baseline,
    BaselineError,
    LaneEntry,
    SpecEntry,
    alone,
    fingerprint,
    key_of,
    read_baseline,
)
from nnspec.project.junit import ReportError
from nnspec.project.markdown import LARGEST, page, write_page
from nnspec.project.planning import Planned, Schedule, planned, shards
from nnspec.project.remembering import Now, RecordedLane, compared
from nnspec.project.testing import Case, Memory, SpecReport
from nnspec.semantics.meaning import Meaning

RACE = "SGD { optimizer = SGD(lr=0.1) }; Adam { optimizer = Adam(lr=0.01) }"
TRAIN = "epochs = 1; batch = 16; repeats = 4"
DATA = "Blobs(train=40, test=20)"
SPEC = spec("Linear(3)", data=DATA, race=RACE, train=TRAIN, expect="loss < 100; Adam.epochs_to(loss=50) < 3")


def run(folder: Path, *arguments: str, code: int = 0) -> str:
    """Run `nnspec test`, and return what it prints."""
    done = command("test", ".", "--jobs", "1", "--baseline", "base.json", *arguments, cwd=folder)
    assert (done.returncode, done.stderr if code != 2 else "") == (code, ""), done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of the baseline of SPEC."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "a.nn").write_text(SPEC)
    assert "recorded in base.json: a.nn" in run(folder, "--update")
    return (folder / "base.json").read_text()


@pytest.fixture
def folder(tmp_path: Path, recorded: str) -> Path:
    """A folder with SPEC and its baseline."""
    (tmp_path / "a.nn").write_text(SPEC)
    (tmp_path / "base.json").write_text(recorded)
    return tmp_path


def edit(folder: Path, change: Any) -> None:
    """Change the baseline: `change` is given the entry of a.nn."""
    found = json.loads((folder / "base.json").read_text())
    change(found["specs"]["a.nn"])
    (folder / "base.json").write_text(json.dumps(found))


def moved(by: float, lane: str = "Adam", figure: str = "test_loss") -> Any:
    """Return a change of the baseline: other kernels, with which a figure was larger."""

    def change(entry: dict[str, Any]) -> None:
        entry["kernels"] = "0" * 16
        figures = entry["lanes"][lane]["figures"]
        figures[figure] = [value + by * (1 + n / 100) for n, value in enumerate(figures[figure])]

    return change


# What need not be trained again


def test_what_has_not_changed_is_not_trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any) -> None:
        raise AssertionError("it is trained")

    monkeypatch.setattr(testing, "run_into", refuse)
    monkeypatch.setattr(testing, "prove_the_rest", refuse)
    (folder / "a.nn").write_text("# a comment\n" + SPEC)
    out = run(folder, "--junit", "j.xml")
    assert out.startswith("a.nn .. UNCHANGED (")
    assert out.splitlines()[-1].startswith("1 unchanged in ")
    cases = [*ET.parse(folder / "j.xml").getroot().iter("testcase")]
    assert [case.get("name") for case in cases][1:4] == ["SGD trains", "Adam trains", "loss < 100"]


@pytest.mark.parametrize(
    ("change", "said", "kept"),
    [
        (lambda entry: entry.update(kernels="0" * 16), "different kernels", ""),
        (
            lambda entry: entry["lanes"]["SGD"].update(sha256="0" * 64, data="Digits"),
            "it was Digits and is now Blobs",
            "Adam",
        ),
        (lambda entry: entry["lanes"]["SGD"].update(sha256="0" * 64), "different data in lane SGD", "Adam"),
        (lambda entry: entry.update(passed=False), "1 passed in", ""),
        (lambda entry: entry.update(expectations=""), "1 passed in", "SGD, Adam"),
    ],
    ids=["kernels", "other data", "data", "it failed", "expectations"],
)
def test_what_has_changed_is_trained(folder: Path, change: Any, said: str, kept: str) -> None:
    edit(folder, change)
    out = run(folder)
    assert out.startswith("a.nn .. PASSED (")
    assert re.findall("unchanged: ([^;]*);", out) == ([kept] if kept else [])
    assert said in out
    assert "worse" not in out
    assert "unclear" not in out


def test_another_meaning_is_trained_and_named(folder: Path) -> None:
    (folder / "a.nn").write_text(f"seed = 100\n{SPEC}")
    out = run(folder)
    assert "changed: a.nn: `seed` was 0 and is now 100" in out
    assert re.search(r"unclear: a\.nn: \d of 9 figures .* seeds are needed to detect a change", out)
    (folder / "a.nn").write_text(SPEC.replace("0.01", "0.1"))
    out = run(folder, "--retrain")
    assert "changed: a.nn: `optimizer.lr` of Adam was 0.01 and is now 0.1" in out
    assert re.search(r"; figures: .*, 4 reproduced$", out.splitlines()[-1])  # SGD has the meaning that it had


def test_only_lanes_that_changed_are_trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[list[str]] = []

    def watched(compiled: Any, *given: Any) -> Any:
        trained.append([lane.name for lane in compiled.program.lanes])
        return run_into(compiled, *given)

    run_into = testing.run_into
    monkeypatch.setattr(testing, "run_into", watched)
    text = SPEC.replace("0.01", "0.1").replace("loss < 100", "SGD.loss < Adam.loss + 100; SGD.loss > 1e9")
    (folder / "a.nn").write_text(text)
    out = run(folder, "--junit", "j.xml", code=1)
    assert "a.nn .F. FAILED" in out
    assert "; unchanged: SGD;" in out
    assert re.search(r"missed: SGD.loss > 1e9\n +SGD \S+, worst \S+ of 4", out)
    assert "reproduced" not in out  # it was not trained
    names = [case.get("name") for case in ET.parse(folder / "j.xml").getroot().iter("testcase")]
    assert names[:4] == ["check", "gradients of Adam", "SGD trains", "Adam trains"]
    (folder / "a.nn").write_text(text.replace("> 1e9", "> 0"))
    run(folder, "--update")
    assert trained == [["Adam"], ["Adam"]]
    assert "9 reproduced" in run(folder, "--retrain")  # what was recorded is what a run of both gives
    (folder / "a.nn").write_text(text.replace("> 1e9", "> 0").replace("loss=50", "loss=60"))
    run(folder)
    assert trained[3:] == [["Adam"]]  # the baseline does not know when its loss was 60
    (folder / "a.nn").write_text(text.replace("> 1e9", "> 1"))
    run(folder)
    assert len(trained) == 4  # new bounds are judged by recorded figures
    (folder / "a.nn").write_text(text.replace("> 1e9", "> 0; SGD.gradient_error < 1"))
    run(folder)
    assert trained[4:] == [["SGD", "Adam"]]


def test_a_recorded_lane_has_the_figures_of_a_trained_one() -> None:
    entry = entry_of({"loss": [1.0, 2.0], "epochs_to(loss=0.5)": [3.0, math.nan]}).lanes["run"]
    lane = RecordedLane(entry)
    assert (lane.final("loss"), lane.epochs_to(0.5)) == (1.5, math.inf)
    assert [one.epochs_to(0.5) for one in lane.repeats] == [3.0, math.inf]
    assert [one.repeats for one in lane.repeats] == [(), ()]
    assert RecordedLane(entry_of({"loss": [1.0]}).lanes["run"]).repeats == ()


def test_the_fingerprint_covers_what_decides_about_the_last_bits() -> None:
    here = {"nnspec": "1", "numpy": "2", "blas": [{"library": "a", "threads": 1}]}
    first, record = fingerprint(here)
    assert record["code"]
    assert fingerprint({**here, "blas": [{"library": "a", "threads": 8}]})[0] == first
    others: list[Mapping[str, Any]] = [
        {**here, "numpy": "3"},
        {**here, "parts": [{"sha256": "f"}]},
        {**here, "nnspec": "2"},
    ]
    assert all(fingerprint(other)[0] != first for other in (*others, {**here, "blas": [{"library": "b"}]}))


def test_lanes_of_several_studies_are_recorded(tmp_path: Path) -> None:
    tune = "tune { studies = 2; budget = 1; by = loss; SGD.optimizer.lr = uniform(0.01, 0.1) }"
    text = spec(
        "Linear(3)",
        data=DATA,
        race=RACE.split(";")[0],
        train="epochs = 1",
        expect="SGD.epochs_to(loss=50) < 3",
        more=tune,
    )
    (tmp_path / "a.nn").write_text(text)
    assert "recorded in base.json: a.nn" in run(tmp_path, "--update")
    lanes = read_baseline(tmp_path / "base.json").specs["a.nn"].lanes
    assert [*lanes] == ["SGD,study=1", "SGD,study=2"]
    assert all("epochs_to(loss=50.0)" in lane.figures for lane in lanes.values())
    assert "UNCHANGED" in run(tmp_path, "--junit", "j.xml")
    names = [case.get("name") for case in ET.parse(tmp_path / "j.xml").getroot().iter("testcase")]
    assert names == ["check", "SGD,study=1 trains", "SGD,study=2 trains", "SGD.epochs_to(loss=50) < 3"]
    (tmp_path / "a.nn").write_text(text.replace("0.01, 0.1", "0.01, 0.2"))
    assert "`tune.optimizer.lr` was uniform(low=0.01, high=0.1) and is now uniform(" in run(tmp_path)


def test_a_search_is_not_divided(tmp_path: Path) -> None:
    tune = "tune { budget = 1; by = loss; optimizer.lr = uniform(0.01, 0.1) }"
    text = spec("Linear(3)", data=DATA, race=RACE, train="epochs = 1", more=tune)
    (tmp_path / "a.nn").write_text(text)
    run(tmp_path, "--update")
    (tmp_path / "a.nn").write_text(text.replace("SGD(lr=0.1)", "SGD(lr=0.1, momentum=0.5)"))
    out = run(tmp_path)
    assert "of SGD was" in out
    assert "unchanged" not in out


# What changed


def test_trained_again_the_bits_are_the_same(folder: Path) -> None:
    out = run(folder, "--retrain")
    assert "a.nn .. PASSED" in out
    assert "; figures: 9 reproduced" in out.splitlines()[-1]

    edit(folder, lambda entry: entry["lanes"]["SGD"]["figures"]["loss"].__setitem__(2, 1.5))
    before = (folder / "base.json").read_bytes()
    out = run(folder, "--retrain", "--update", code=1)
    assert (
        "SGD against the baseline\n        loss is not reproduced, although its meaning, data and kernels match" in out
    )
    assert "seed 2 gave 1.5, now " in out
    assert "not recorded: a.nn: failed; --update-failed" in out
    assert (folder / "base.json").read_bytes() == before
    assert "recorded in base.json: a.nn" in run(folder, "--retrain", "--update-failed", code=1)
    assert "a.nn .. PASSED" in run(folder)  # it failed when it was recorded, so it is trained again


def test_worse_fails_and_an_update_accepts_it(folder: Path) -> None:
    edit(folder, moved(-0.5))
    out = run(folder, "--junit", "j.xml", "--summary", "s.md", code=1)
    found = re.search(
        r"Adam against the baseline\n +test_loss is worse than recorded: \S+ → \S+, \+0.5.*, 4 seeds", out
    )
    assert found
    assert "        different kernels: the baseline does not describe its own" in out.splitlines()
    assert "1 failed" in out.splitlines()[-1]
    assert "1 worse" in out.splitlines()[-1]
    cases = {case.get("name"): case for case in ET.parse(folder / "j.xml").getroot().iter("testcase")}
    assert cases["Adam against the baseline"].find("failure") is not None
    assert cases["SGD against the baseline"].find("failure") is None
    assert "| worse |" in (folder / "s.md").read_text()

    out = run(folder, "--update")
    assert "worse: a.nn: Adam test_loss" in out
    assert "recorded in base.json: a.nn" in out
    assert "UNCHANGED" in run(folder)


def test_better_is_said_and_passes(folder: Path) -> None:
    edit(folder, moved(0.5))
    out = run(folder)
    assert "better: a.nn: Adam test_loss " in out
    assert "1 better" in out.splitlines()[-1]
    edit(folder, moved(-0.5, figure="accuracy"))
    assert "better: a.nn: Adam accuracy " in run(folder).replace("Adam test_loss", "")


def test_what_is_new_and_what_is_gone(folder: Path) -> None:
    def change(entry: dict[str, Any]) -> None:
        entry["lanes"]["Old"] = entry["lanes"].pop("SGD")
        entry["meaning"]["lanes"]["Old"] = entry["meaning"]["lanes"].pop("SGD")
        entry["lanes"]["Adam"]["figures"]["past"] = entry["lanes"]["Adam"]["figures"].pop("loss")

    edit(folder, change)
    (folder / "b.nn").write_text(spec("Linear(3)", data=DATA, train="epochs = 1"))
    found = json.loads((folder / "base.json").read_text())
    found["specs"] |= dict.fromkeys(("sub/old.nn", "x" * 4000, "\x1b[31m"), found["specs"]["a.nn"])
    (folder / "base.json").write_text(json.dumps(found))
    out = run(folder)
    assert "new: a.nn: lane SGD, Adam loss: not in the baseline" in out
    assert "gone: a.nn: Adam past, lane Old: only in the baseline" in out
    assert "new: b.nn: not in the baseline; --update records it" in out
    assert f"gone: sub/old.nn, {'x' * 200}…, \\x1b[31m: in the baseline, but there is no such file" in out


def test_an_update_keeps_everything_else(folder: Path, recorded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against, "_JITTER", 1000.0)
    (folder / "b.nn").write_text(spec("Linear(3)", data=DATA, train="epochs = 1", expect="loss < 100"))
    (folder / "c.nn").write_text(spec("Linear(3)", data=DATA, train="epochs = 1", expect="loss < 1e-9"))
    out = run(folder, "--update", code=1)
    assert "recorded in base.json: b.nn" in out
    assert "not recorded: c.nn: failed" in out
    text = (folder / "base.json").read_text()
    assert [*read_baseline(folder / "base.json").specs] == ["a.nn", "b.nn"]
    assert recorded.rstrip("}\n ") in text  # to the byte
    (folder / "c.nn").unlink()
    assert "recorded in base.json: nothing new" in run(folder, "--update", "--retrain")
    assert (folder / "base.json").read_text() == text


def test_the_file_reads_as_it_was_written(tmp_path: Path) -> None:
    lane = LaneEntry("i", "Digits", "d", (3, 1), {"loss": (0.1, math.nan), "epochs_to(loss=0.1)": (1e300, 2.0)})
    odd = 'we"ird\n\u202e|<b>.nn'
    entry = SpecEntry(True, 1.5, "k", "e", Meaning({'L"': {"a": [1, {"part": "x"}], "b": "\x1b"}}), {'L"': lane})
    kernels = {"k": {"simd": ["A"], "blas": []}, "unused": {}}
    whole = Baseline().updated({odd: entry, "a.nn": entry}, kernels)
    whole.write(tmp_path / "base.json")
    assert read_baseline(tmp_path / "base.json") == whole
    assert [*whole.kernels] == ["k"]
    assert whole.specs[odd].lanes['L"'].by_seed("loss")[3] == 0.1
    assert "\x1b" not in (tmp_path / "base.json").read_text()


@pytest.mark.parametrize(("seconds", "written"), [(9.0, 10.0), (14.9, 10.0), (16.0, 16.0), (4.0, 4.0)])
def test_times_are_recorded_anew_if_they_differ_much(tmp_path: Path, seconds: float, written: float) -> None:
    place = tmp_path / "base.json"
    then = replace(entry_of({"loss": LOSSES}), seconds=10.0)
    Baseline({"a.nn": then}).write(place)
    path = str(tmp_path / "a.nn")
    tested = [report(path, now=replace(then, seconds=seconds, expectations="other"))]
    assert [*Record.read(place, [], update=True).write(tested)] == [f"recorded in {place}: {path}"]
    assert read_baseline(place).specs["a.nn"].seconds == written


def test_specs_are_named_relative_to_the_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ci").mkdir()
    monkeypatch.chdir(tmp_path / "ci")
    assert key_of("../specs/a.nn", Path("base.json")) == "../specs/a.nn"
    monkeypatch.chdir(tmp_path)
    assert key_of("specs/a.nn", Path("ci/base.json")) == "../specs/a.nn"


# The tests of figures


def entry_of(figures: Mapping[str, list[float]], *, kernels: str = "k", lane: str = "run") -> SpecEntry:
    """Return an entry with a lane of these figures."""
    count = len(next(iter(figures.values())))
    found = LaneEntry("i", "Digits", "d", tuple(range(count)), {name: tuple(each) for name, each in figures.items()})
    return SpecEntry(True, 1.0, kernels, "e", Meaning({lane: {"seed": 0}}), {lane: found})


def report(path: str = "a.nn", *, then: SpecEntry | None = None, now: SpecEntry | None = None) -> SpecReport:
    """Return the report of a spec that passed."""
    return SpecReport(path, (Case("check", "check", "passed"),), 1.0, memory=Memory(then, now))


LOSSES = [0.30, 0.31, 0.29, 0.32, 0.30]


@pytest.mark.parametrize(
    ("figure", "new", "outcome"),
    [
        ("test_loss", [0.50, 0.52, 0.48, 0.51, 0.50], "worse"),
        ("test_loss", [0.10, 0.12, 0.08, 0.11, 0.10], "better"),
        ("test_accuracy", [0.10, 0.12, 0.08, 0.11, 0.10], "worse"),
        ("test_accuracy", [0.50, 0.52, 0.48, 0.51, 0.50], "better"),
        ("test_loss", [0.31, 0.29, 0.31, 0.30, 0.33], "unclear"),
        ("test_loss", [value * (1 + 1e-8) for value in LOSSES], "same"),
        ("test_loss", LOSSES, "same"),
        ("test_loss", [0.5], "worse"),
        ("test_loss", [0.305], "unclear"),
        ("epochs_to(loss=0.3)", [math.nan] * 5, "worse"),
        ("test_loss", [0.31, 0.29, math.nan, 0.30, 0.33], "unclear"),
    ],
)
def test_a_figure_fails_only_if_a_test_shows_it(figure: str, new: list[float], outcome: str) -> None:
    (found,) = compared(entry_of({figure: LOSSES}), entry_of({figure: new}, kernels="other"), 0.05)
    assert found.outcome == outcome, found
    assert bool(found.lack) == (outcome == "unclear")


def test_a_lost_training_is_no_rounding_error() -> None:
    then, now = entry_of({"loss": [0.3] * 5}), entry_of({"loss": [0.3] * 4 + [math.nan]}, kernels="other")
    assert [each.outcome for each in compared(then, now, 0.05)] == ["unclear"]


def test_a_seed_that_is_missing_is_not_reproduced() -> None:
    (found,) = compared(entry_of({"loss": LOSSES}), entry_of({"loss": LOSSES[:4]}), 0.05)
    assert (found.outcome, found.text) == ("not reproduced", "seed 4 gave 0.3, now nothing")


def test_an_interrupted_run_is_not_recorded_even_if_all_lanes_had_begun() -> None:
    now, result = Now(compiled(SPEC)), train(SPEC)
    assert now.entry(result, {}, passed=True, seconds=1.0) is not None
    result.interrupted = True
    assert now.entry(result, {}, passed=True, seconds=1.0) is None


def test_large_changes_are_found_among_many_figures_whatever_the_seeds_have_in_common() -> None:
    """One of 90 figures gets far worse, by another amount for each seed: a paired test, p = 0.004, does not show it."""
    then = entry_of({"loss": [0.31, 0.25, 0.40, 0.28, 0.35]})
    now = entry_of({"loss": [1.9, 2.6, 1.2, 2.3, 1.7]}, kernels="other")
    (found,) = compared(then, now, 0.05 / 90)
    assert found.outcome == "worse"


def test_small_changes_are_found_seed_by_seed() -> None:
    then = entry_of({"loss": [0.31, 0.95, 0.40, 0.68, 0.35]})
    now = entry_of({"loss": [0.33, 0.971, 0.419, 0.70, 0.372]}, kernels="other")
    (found,) = compared(then, now, 0.05)
    assert found.outcome == "worse"
    assert found.change is not None
    assert found.change.paired


def test_one_seed_cannot_tell_and_says_what_can() -> None:
    (found,) = compared(entry_of({"loss": [0.3]}), entry_of({"loss": [9.0]}, kernels="other"), 0.05)
    assert (found.outcome, found.lack) == ("unclear", "a test needs several seeds: set `train.repeats`")
    assert found.text == "0.3 → 9, +8.7, 1 seed"


def test_figures_of_other_data_are_tested_not_reproduced() -> None:
    then, now = entry_of({"loss": [0.3]}), entry_of({"loss": [9.0]})
    assert [each.outcome for each in compared(then, now, 0.05)] == ["not reproduced"]
    other = replace(now, lanes={"run": replace(now.lanes["run"], sha256="other")})
    assert [each.outcome for each in compared(then, other, 0.05)] == ["unclear"]


def test_the_level_is_shared_by_all_figures_of_a_run() -> None:
    """A change with p = 0.02 fails alone, but not among 40 figures: otherwise runs would fail by chance."""
    then, now = entry_of({"loss": LOSSES}), entry_of({"loss": [0.33, 0.325, 0.31, 0.33, 0.335]}, kernels="other")
    alone = settled([report(then=then, now=now)], Baseline())
    assert not alone[0].ok
    change = alone[0].memory.differences[0].change
    assert change is not None
    assert 0.05 / 40 < change.p < 0.05
    among = settled([report(f"{n}.nn", then=then, now=now) for n in range(40)], Baseline())
    assert all(each.ok for each in among)


# Files that come from elsewhere


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[: len(text) // 2], "is not JSON"),
        (lambda text: text.replace('  "specs"', '<<<<<<< ours\n  "specs"'), "unfinished merge"),
        (lambda text: text.replace('"format": 1', '"format": 2'), "its format is '2'"),
        (lambda text: text.replace('"nnspec": "baseline"', '"nnspec": "run"'), 'no `"nnspec": "baseline"`'),
        (lambda text: text.replace('"passed"', '"a.nn": 1, "passed"', 1), "unknown field 'a.nn'"),
        (lambda text: text.replace('"seeds"', '"seeds": [0], "seeds"', 1), "'seeds' twice"),
        (lambda text: text.replace('"seeds": [0, 1, 2, 3]', '"seeds": [0, 0, 2, 3]', 1), "duplicate ones"),
        (lambda text: text.replace('"seeds": [0, 1, 2, 3]', '"seeds": [0, 1]', 1), "4 values for 2 seeds"),
        (lambda text: text.replace('"seeds": [0, 1, 2, 3]', '"seeds": [0, 1, 2, true]', 1), "cannot be 'True'"),
        (lambda text: text.replace('"passed": true', '"passed": 1'), "`passed` of the entry of 'a.nn' cannot be '1'"),
        (lambda text: re.sub(r'"seconds": [\d.]+', '"seconds": 1e999', text), "not a finite number"),
        (lambda text: re.sub(r'"seconds": [\d.]+', f'"seconds": {"9" * 400}', text), "not a finite number"),
        (lambda text: re.sub(r'"seconds": [\d.]+', '"seconds": NaN', text), "NaN is not a JSON number"),
        (lambda text: re.sub(r'"seconds": [\d.]+', f'"seconds": {"9" * 5000}', text), "cannot be used as a baseline"),
        (
            lambda text: re.sub(r'"seconds": [\d.]+', '"seconds": -1', text),
            "`seconds` of the entry of 'a.nn' cannot be -1",
        ),
        (lambda text: re.sub(r'"seconds": [\d.]+', '"seconds": 1e308', text), "cannot be 1e+308"),
        (
            lambda text: text.replace('"seeds": [0, 1, 2, 3]', f'"seeds": {[*range(100_001)]}', 1),
            "more than 100,000 seeds",
        ),
        (lambda text: text.replace('"shared"', '"other"'), "`meaning` of the entry of 'a.nn' is damaged"),
        (lambda text: text.replace('"lanes": {', '"lanes": {"X": 3, ', 1), "lane 'X' of a.nn cannot be '3'"),
        (lambda text: text.replace('"SGD": {', '"Sgd": {', 1), "of the entry of 'a.nn' have different lanes"),
        (lambda text: text.replace('"a.nn"', '"a\\u0000.nn"'), "is not a path"),
        (lambda text: "[" * 100_000, "cannot be used as a baseline"),
        (
            lambda text: text.replace('"shared": {', '"shared": {"x": ' + "[" * 60 + "]" * 60 + ", ", 1),
            "50 levels deep",
        ),
        (lambda text: text.replace('"passed"', f'"{"x" * 5000}": 1, "passed"', 1), "more than 4,096 characters"),
        (lambda text: "[]", "it cannot be '[]'"),
        (lambda text: '{"nnspec": "baseline", "format": 1, "specs": {}}', "no `kernels`"),
    ],
)
def test_damaged_baselines_are_refused(folder: Path, change: Any, said: str) -> None:
    text = (folder / "base.json").read_text()
    assert change(text) != text
    (folder / "base.json").write_text(change(text))
    out = run(folder, "--update", code=2)
    assert said in out
    assert out.startswith("error: base.json")
    assert (folder / "base.json").read_text() == change(text)


def test_absent_binary_and_huge_baselines_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "base.json").write_bytes(b"\xff\xfe")
    assert "not UTF-8 text" in run(folder, code=2)
    monkeypatch.setattr("nnspec.project.baseline._LARGEST", 1)
    assert "larger than" in run(folder, code=2)
    (folder / "base.json").unlink()
    assert "base.json does not exist; --update creates it" in run(folder, code=2)
    (folder / "base.json").mkdir()
    assert "it is a folder" in run(folder, "--update", code=2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--update"], "--update needs --baseline"),
        (["--retrain"], "--retrain needs --baseline"),
        (["--budget", "10"], "not a time such as"),
        (["--budget", ""], "not a time such as"),
        (["--budget", "0s"], "not a time such as"),
        (["--shard", "0/2"], "not a shard such as"),
        (["--shard", "3/2"], "not a shard such as"),
        (["--shard", "1"], "not a shard such as"),
        (["--summary", "no/s.md"], "folder not found"),
        (["--summary", "a.nn/s.md"], "folder not found"),
        (["--summary", "x" * 300], "cannot be written: "),
        (["--baseline", "x" * 300], "cannot be read: "),
        (["--baseline", "x" * 300, "--update"], "cannot be written: "),
        (["--summary", "sealed.md"], "sealed.md cannot be written: it is read-only"),
        (["--summary", "./a.nn"], "--summary a.nn is one of the specs"),
        (["--baseline", "a.nn", "--update"], "--baseline a.nn is one of the specs"),
        (["--baseline", "base.json", "--summary", "base.json"], "--summary base.json is also the file of --baseline"),
        (["--junit", "r", "--summary", "link"], "--summary link is also the file of --junit"),
    ],
)
def test_wrong_options(folder: Path, arguments: list[str], said: str) -> None:
    (folder / "link").symlink_to("r")
    (folder / "sealed.md").touch(0o444)
    done = command("test", ".", *arguments, cwd=folder)
    assert done.returncode == 2
    assert said in done.stderr


# The page


NAMES = [
    "<script>alert(1)</script>.nn",
    "a|b`c`*d*_e_[f](http://x.y).nn",
    "\\|![i](j) &lt; <!-- .nn",
    "www.evil.com https://evil.com @all #1 :smile: ~~x~~ $x$.nn",
    "two\nlines\r\x1b[31m\u202e.nn",
]


def test_names_are_shown_as_they_are() -> None:
    """The page, rendered by a parser of Markdown with tables and HTML, has the names as text and nothing else."""
    then, now = entry_of({"loss": LOSSES}), entry_of({"loss": [1.0] * 5}, kernels="other")
    tested = [
        SpecReport(name, (Case("lane", f"{name} trains", "failed", name),), 1.0, memory=Memory(then, now))
        for name in NAMES
    ]
    text = page(settled(tested, Baseline()), NAMES, NAMES[0])
    html = MarkdownIt("gfm-like", {"linkify": False}).render(text)
    root = ET.fromstring(f"<page>{html.replace('<br>', '<br/>')}</page>")
    tags = {each.tag for each in root.iter()}
    assert tags <= {"page", "h2", "h3", "p", "table", "thead", "tbody", "tr", "th", "td", "strong", "br"}
    rows = [*root.iter("tr")]
    assert {len(row) for row in rows if len(row) > 1} <= {3, 4, 5}
    for index, name in enumerate(NAMES):
        cells = ["".join(cell.itertext()) for row in rows for cell in row]
        shown = name if index < 4 else "twolines\\x1b[31m\\u202e.nn"
        assert shown in cells
    assert not re.search(r"www\.|://|@|:smile:|\\x1b|\x1b", text.replace("\\", "")) or "www&#46;evil.com" in text


def test_no_character_of_a_name_is_markup() -> None:
    (row,) = (
        line for line in page([], [string.punctuation], "1 passed").splitlines() if "!" in line or "&#33;" in line
    )
    assert set(re.sub(r"&#\d+;", "", row.strip("| "))) <= set("%()+,-./=")


def test_a_page_is_never_larger_than_its_limit() -> None:
    tested = [
        SpecReport(f"{number}.nn", (Case("lane", "x trains", "failed", "<" * 5000),), 1.0) for number in range(40)
    ]
    for room in (8_000, 60_000, 150_000):
        text = page(tested, ["é" * 300] * 70, "40 failed", room)
        assert len(text.encode()) <= room
        counted = [int(each.replace(",", "")) for each in re.findall(r"… and ([\d,]+) more", text)]
        assert counted
        assert sum(counted) + text.count("\n| ") - 2 * text.count("\n### ") == 40 + 70 + 40
    assert "more" not in page(tested, [], "40 failed")
    assert 6_000 < len(page([], ["<" * 300] * 70, "<" * 1000, 8_000).encode()) <= 8_000
    assert LARGEST < 1024**2


def test_the_page_is_appended_to_the_summary_of_a_step_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "s.md"
    place.write_text("# before\n")
    write_page(place, [report()], [], "1 passed")
    assert "before" not in place.read_text()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place))
    place.write_text("# before\n")
    write_page(place, [report()], [], "1 passed")
    assert place.read_text().startswith("# before\n## nnspec test\n")
    place.write_text("x" * (1024**2 - 10_000))
    write_page(place, [report(f"{number}.nn") for number in range(1000)], [], "1,000 passed")
    assert 1024**2 - 5_000 < place.stat().st_size <= 1024**2
    with pytest.raises(ReportError, match="is full"):
        write_page(place, [], [], "")


# Which specs to test


def plans(count: int, seed: int = 0) -> list[Planned]:
    """Return specs that take from 0.2 s to some 20 s."""
    return [
        Planned(f"{n}.nn", f"{n}.nn", 0.2 * 10 ** (((n * 7919 + seed * 104729) % 1000) / 500), 0) for n in range(count)
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("number", [0, 1, 7, 60])
def test_shards_are_a_division(count: int, number: int) -> None:
    specs = plans(number)
    divided = shards(specs, count)
    assert len(divided) == count
    assert sorted(each.path for shard in divided for each in shard) == sorted(each.path for each in specs)
    assert shards(specs[::-1], count) == divided
    longest = max((each.seconds for each in specs), default=0.0)
    share = sum(each.seconds for each in specs) / count
    assert all(sum(each.seconds for each in shard) <= max(1.25 * share, share + longest) + 1e-9 for shard in divided)


def test_an_addition_moves_few_specs() -> None:
    """Of 60 specs in 4 shards; a division that is made anew would move 45."""
    moves = []
    for seed in range(20):
        specs = plans(60, seed)
        before = {each.path: n for n, shard in enumerate(shards(specs, 4)) for each in shard}
        more = [*specs, Planned("new.nn", "new.nn", 3.0, 0)]
        after = {each.path: n for n, shard in enumerate(shards(more, 4)) for each in shard}
        moves.append(sum(before[path] != after[path] for path in before))
    assert sum(moves) / len(moves) < 6


def test_shards_of_the_command_are_a_division_whatever_the_kernels(folder: Path) -> None:
    for name in "bcd":
        (folder / f"{name}.nn").write_text(spec("Linear(3)", data=DATA, train="epochs = 1"))
    seen: list[str] = []
    for number in (1, 2):
        out = run(folder, "--shard", f"{number}/2")
        assert f"shard {number} of 2: " in out
        seen += re.findall(r"^(\w\.nn) ", out, re.MULTILINE)
        edit(folder, lambda entry: entry.update(kernels="0" * 16))  # as in a job on another machine
    assert sorted(seen) == ["a.nn", "b.nn", "c.nn", "d.nn"]


def test_a_budget_tests_what_changed_first_and_says_what_it_omits(folder: Path) -> None:
    edit(folder, lambda entry: entry.update(seconds=0.0))  # what is unchanged comes last, however short it is
    (folder / "big.nn").write_text(spec("Linear(3)", data=DATA, train="epochs = 10_000_000"))
    (folder / "new.nn").write_text(spec("Linear(3)", data=DATA, train="epochs = 1"))
    (folder / "wrong.nn").write_text("data =\n")
    out = run(folder, "--budget", "20s", code=1)
    assert [line.split()[0] for line in out.splitlines()[:3]] == ["wrong.nn", "new.nn", "a.nn"]
    assert "UNCHANGED" in out
    assert re.search(r"not tested for lack of time: 1 spec, about [\d,]+ min: big\.nn", out)
    assert out.splitlines()[-1].startswith("1 passed, 1 failed, 1 unchanged, 1 not run in ")
    (folder / "wrong.nn").unlink()
    assert "1 not run" in run(folder, "--budget", "20s", code=4)
    (folder / "big.nn").unlink()
    assert "not run" not in run(folder, "--budget", "1h1m1s")


def test_what_is_most_useful_is_most_urgent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    entry = read_baseline(Path("base.json")).specs["a.nn"]

    def urgency(entry: SpecEntry | None, *overrides: str, retrain: bool = False) -> int:
        return planned("a.nn", "a.nn", overrides, entry, retrain=retrain).urgency

    assert urgency(None) == urgency(entry, "Adam.optimizer.lr=1") == urgency(replace(entry, passed=False)) == 0
    assert urgency(replace(entry, kernels="")) == urgency(entry, retrain=True) == 1
    assert urgency(entry) == 2
    (folder / "a.nn").write_text("data =")
    assert urgency(entry) == 0
    monkeypatch.chdir("/")
    assert urgency(entry) == 0


def test_a_budget_counts_the_time_that_has_passed_and_learns_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr("nnspec.project.planning.time.perf_counter", lambda: clock)
    specs = {name: Planned(name, name, 10.0, 0) for name in "abcd"} | {"u": Planned("u", "u", 10.0, 2)}
    plan = Schedule([*specs], specs, budget=110.0)
    assert plan.admits("a")
    clock = 30.0  # it took three times as long as was expected, so `b` and `c` will take 30 s as well
    assert plan.admits("b")
    clock = 60.0
    assert plan.admits("c")
    clock = 90.0
    assert not plan.admits("d")
    assert plan.admits("u")  # time was kept for what needs no training
    assert [each.path for each in plan.omitted] == ["d"]
    clock = 69.9
    assert not Schedule(["a"], specs, budget=80.0).admits("a")
    assert Schedule(["a"], specs).admits("a")


def test_without_a_baseline_nothing_is_compared() -> None:
    record = Record(["a.nn"])
    assert record.entries is None
    assert [*record.remarks([report()])] == []
    assert [*record.write([report()])] == []


@pytest.mark.parametrize("lost", ["base.json", "j.xml", "s.md"])
def test_a_file_that_cannot_be_written_costs_no_other(folder: Path, lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def full(path: Path) -> Iterator[IO[bytes]]:
        if path.name == lost:
            raise OSError(errno.ENOSPC, "No space left on device")
        with output(path) as file:
            yield file

    for module in ("baseline", "junit", "markdown"):
        monkeypatch.setattr(f"nnspec.project.{module}.output", full)
    (folder / "base.json").unlink()
    out = run(folder, "--update", "--junit", "j.xml", "--summary", "s.md", code=2)
    assert f"error: {lost} cannot be written: No space left on device" in out
    assert "\n1 passed in " in out
    files = {"base.json", "j.xml", "s.md"}
    assert {each.name for each in folder.iterdir()} & files == files - {lost}


def test_ctrl_c_between_specs_loses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def admits(schedule: Schedule, path: str) -> bool:
        if path == "b.nn":
            raise KeyboardInterrupt
        return True

    monkeypatch.setattr(Schedule, "admits", admits)
    (folder / "b.nn").write_text(SPEC)
    (folder / "base.json").unlink()
    done = command("test", ".", "--jobs", "1", "--baseline", "base.json", "--update", "--junit", "j.xml", cwd=folder)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    assert "1 passed, 1 not run in " in done.stdout
    assert [*read_baseline(folder / "base.json").specs] == ["a.nn"]
    assert (folder / "j.xml").exists()


def test_ctrl_c_while_a_baseline_is_written_waits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Baseline.write

    def pressed(baseline: Baseline, path: Path) -> None:
        signal.raise_signal(signal.SIGINT)
        write(baseline, path)

    monkeypatch.setattr(Baseline, "write", pressed)
    (folder / "base.json").unlink()
    done = command("test", ".", "--jobs", "1", "--baseline", "base.json", "--update", "--summary", "s.md", cwd=folder)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    assert "recorded in base.json: a.nn\n\n1 passed in " in done.stdout
    assert [*read_baseline(folder / "base.json").specs] == ["a.nn"]
    assert (folder / "s.md").exists()


def test_an_update_excludes_others_from_reading_to_writing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fcntl", reason="the system cannot lock a folder")
    write = Baseline.write

    def watched(baseline: Baseline, path: Path) -> None:
        with pytest.raises(BlockingIOError):
            lock_folder(folder)
        write(baseline, path)

    monkeypatch.setattr(Baseline, "write", watched)
    (folder / "base.json").unlink()
    assert "recorded in base.json: a.nn" in run(folder, "--update")
    handle = lock_folder(folder)  # it is free again
    assert handle is not None
    os.close(handle)


def test_an_update_waits_for_others_but_not_for_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fcntl", reason="the system cannot lock a folder")
    handle = lock_folder(tmp_path)
    assert handle is not None
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        os.close(handle)

    monkeypatch.setattr("nnspec.project.baseline.time.sleep", sleep)
    with alone(tmp_path / "base.json"):
        assert len(slept) == 1
        with pytest.raises(BlockingIOError):
            lock_folder(tmp_path)
        monkeypatch.setattr("nnspec.project.baseline._PATIENCE", 0.0)
        with alone(tmp_path / "base.json"):  # the other one takes too long
            assert len(slept) == 1


def test_a_baseline_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="cannot be written"):
        Baseline().write(tmp_path / "no" / "base.json")
