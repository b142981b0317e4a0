"""Runs are self-contained: their folder is enough, newer versions can use them, and --force leaves no old files."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import field, make_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outcomes import Stopper, outcome
from reference import DEFAULTS, changed_defaults
from tiny_spec import OFFLINE, noise, spec

from nnspec import run, runs
from nnspec.api import compile_spec, identity_of, run_into
from nnspec.checker.program import TrainSettings
from nnspec.data.source import Access, Dataset, DataUnavailable
from nnspec.errors import NnspecError
from nnspec.records.folder import OutputError, RunFolder
from nnspec.records.saved import RunError
from nnspec.runner.options import RunOptions
from nnspec.semantics.meaning import SEMANTICS
from nnspec.statistics.ranking import Candidate, NoChoice, best

pytestmark = pytest.mark.usefixtures("undrawn")

RACE = spec(
    "Linear(8); ReLU; Linear(3)", data="Blobs(train=60, test=30)", race="a: SGD(lr=0.1); b: Adam", train="epochs = 2"
)
TABLE = "kind,height,colour\n" + "\n".join(
    f"{'ab'[i % 2]},{i % 7 + (i % 2) * 5},{('red', 'blue')[i % 3 % 2]}" for i in range(40)
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str, name: str = "tiny.nn") -> str:
    Path(name).write_text(text)
    return name


# The folder is enough


def test_a_copied_folder_is_enough_for_all_but_the_original_data(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = here / "home"
    home.mkdir()
    (home / "table.csv").write_text(TABLE)
    (home / "common.nn").write_text("let width = 4\n")
    (home / "tiny.nn").write_text(
        'import "common.nn"\n'
        + spec("Linear(width); ReLU; Linear(data.classes)", data='CSV("table.csv", target="kind")')
    )
    run(home / "tiny.nn", out=home / "out")
    Path("new.csv").write_text("colour,height\nred,2\nblue,9\n")
    before = runs.predict(runs.load(home / "out"), ["new.csv"])[0].outputs
    shutil.copytree(home / "out", here / "far/away")
    shutil.rmtree(home)
    saved = runs.load("far/away")
    np.testing.assert_array_equal(runs.predict(saved, ["new.csv"])[0].outputs, before)
    assert saved.class_names == ("a", "b")
    assert runs.export_weights("far/away", "w.npz").exists()
    assert "cannot be had" not in runs.report(["far/away"], "page.html").read_text()[:200]
    assert runs.compare_runs(["far/away"]).contest.entries
    with pytest.raises(NnspecError, match=r"table\.csv"):
        runs.evaluate("far/away")


def test_a_comment_in_an_import_changes_nothing(here: Path) -> None:
    write("let width = 8\n", "common.nn")
    write('import "common.nn"\n' + RACE.replace("Linear(8)", "Linear(width)"))
    run("tiny.nn", out="out")
    before = outcome(here / "out")
    write("# the width\nlet width = 8\n", "common.nn")
    assert all(one.same for one in runs.evaluate("out"))
    run("tiny.nn", out="out", resume=True)
    assert outcome(here / "out") == before
    Path("common.nn").unlink()
    assert runs.verify("out").same


def test_imports_that_links_lead_to_are_found_again() -> None:
    write("let width = 8\n", "common.nn")
    os.symlink("common.nn", "again.nn")
    write('import "common.nn"\nlet half = width / 2\n', "other.nn")
    write('import "again.nn"\nimport "other.nn"\n' + RACE.replace("Linear(8)", "Linear(width)"))
    run("tiny.nn", out="out")
    for name in ("common.nn", "again.nn", "other.nn"):
        Path(name).unlink()
    assert runs.load("out").network.layers


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["data"][0]["facts"].update(shape=[0]),
        lambda m: m["data"][0]["facts"].update(stored="object"),
        lambda m: m["data"][0]["facts"].update(stored="uint7"),
        lambda m: m["data"][0]["facts"].update(stored="float9"),
        lambda m: m["data"][0]["facts"].update(later=1),
        lambda m: m["data"][0]["facts"].update(classes="2"),
        lambda m: m["folders"].update(run="../../etc"),
        lambda m: m["imports"]["common.nn"].update(text="let width = 5\n"),
        lambda m: m.update(data_dir="relative"),
        lambda m: m.update(meaning=[]),
        lambda m: m.update(replaces=["../other"]),
    ],
)
def test_a_hostile_record_is_refused(change: Any) -> None:
    write(TABLE, "table.csv")
    write("let width = 4\n", "common.nn")
    write('import "common.nn"\n' + spec("Linear(width); Linear(2)", data='CSV("table.csv", target="kind")'))
    run("tiny.nn", out="out", set={"train.epochs": 1})
    record = json.loads(Path("out/run.json").read_text())
    change(record)
    Path("out/run.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match=r"run\.json is damaged"):
        runs.load("out")


# Identity


def test_a_setting_that_is_added_with_a_default_leaves_old_runs_usable(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(RACE)
    make = partial(RunFolder.make, "tiny.nn", here / "out", resume=True)
    run_into(compile_spec("tiny.nn"), OFFLINE, Stopper(1), make, options=RunOptions(jobs=1, resume=True, checkpoint=0))
    old = json.loads(Path("out/run.json").read_text())
    newer = make_dataclass("TrainSettings", [("later", int, field(default=3))], bases=(TrainSettings,), frozen=True)
    for module in (
        "checker.evaluate",
        "checker.vocabulary",
        "semantics.meaning",
        "checker.program",
        "compiler.stacking",
    ):
        monkeypatch.setattr(f"nnspec.{module}.TrainSettings", newer, raising=False)
    assert hasattr(compile_spec("tiny.nn").program.lanes[0].train, "later")
    run("tiny.nn", out="out", resume=True)
    assert json.loads(Path("out/run.json").read_text())["identity"] == old["identity"]
    assert all(one.same for one in runs.evaluate("out"))
    assert runs.verify("out").same
    assert runs.load("out").lane in ("a", "b")


def test_another_version_of_the_semantics_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    write(RACE)
    run("tiny.nn", out="out", set={"train.epochs": 1})
    record = json.loads(Path("out/run.json").read_text())
    Path("out/run.json").write_text(json.dumps(record | {"semantics": 0}))
    with pytest.raises(RunError, match="with version 0 of the spec semantics, but this nnspec has version 1"):
        runs.load("out")


def test_identity_is_of_meaning() -> None:
    def identity(text: str) -> str:
        return identity_of(compile_spec(write(text)))

    base = identity(RACE)
    assert identity("# a comment\n" + RACE) == base
    assert identity(RACE.replace("epochs = 2", "epochs = 2; batch = 32; shuffle = true")) == base  # defaults
    assert identity(RACE.replace("Linear(8)", "Linear(8, bias=true)")) == base
    assert identity("let w = 8\n" + RACE.replace("Linear(8)", "Linear(w)")) == base
    assert identity(RACE.replace("lr=0.1", "lr=1e-1")) == base
    for other in ("Linear(9)", "Linear(8, bias=false)", "Linear(8); Dropout(0.1)"):
        assert identity(RACE.replace("Linear(8)", other)) != base
    assert identity(RACE.replace("epochs = 2", "epochs = 3")) != base
    assert identity("seed = 1\n" + RACE) != base


# --force


def test_a_forced_run_has_nothing_of_the_older_one(here: Path) -> None:
    write(RACE)
    run("tiny.nn", out="out")
    runs.report(["out"])
    for mine in ("out/mine.txt", "out/a/mine.npz"):
        Path(mine).write_text("mine")
    run("tiny.nn", out="out", force=True, set={"a.optimizer.lr": 1e30})
    assert not Path("out/a/weights.npz").exists()
    assert not Path("out/report.html").exists()
    assert Path("out/mine.txt").read_text() == Path("out/a/mine.npz").read_text() == "mine"
    assert [one.lane for one in runs.evaluate("out")] == ["b"]
    for use in (partial(runs.load, "out", "a"), partial(runs.export_weights, "out", "w.npz", "a")):
        with pytest.raises(RunError, match="out has no weights for a: it diverged"):
            use()


def test_weights_of_a_lane_that_diverged_never_answer() -> None:
    write(RACE)
    run("tiny.nn", out="out", set={"a.optimizer.lr": 1e30})
    Path("out/a").mkdir()
    shutil.copy("out/b/weights.npz", "out/a/weights.npz")
    with pytest.raises(RunError, match="it diverged"):
        runs.load("out", "a")


class Interrupting:
    """Presses Ctrl-C as the n-th file is removed."""

    def __init__(self, number: int) -> None:
        self.number, self.removed, self.unlink = number, 0, Path.unlink

    def __call__(self, path: Path, **more: Any) -> None:
        self.removed += 1
        if self.removed == self.number:
            raise KeyboardInterrupt
        self.unlink(path, **more)


@pytest.mark.parametrize("number", range(1, 9))
def test_a_forced_run_that_ends_amid_its_beginning_leaves_no_mix(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write(RACE)
    run("tiny.nn", out="out")
    ending = Interrupting(number)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda path, **more: ending(path, **more))
        with pytest.raises(KeyboardInterrupt):
            run("tiny.nn", out="out", force=True, set={"a.optimizer.lr": 1e30})
    with pytest.raises(RunError, match="its run has not finished"):
        runs.load("out")
    run("tiny.nn", out="out", resume=True, set={"a.optimizer.lr": 1e30})
    assert [one.lane for one in runs.evaluate("out")] == ["b"]
    assert not Path("out/a/weights.npz").exists()


def test_a_forced_run_does_not_follow_links(here: Path) -> None:
    write(RACE)
    run("tiny.nn", out="out")
    Path("elsewhere").mkdir()
    Path("elsewhere/weights.npz").write_text("mine")
    shutil.rmtree("out/a")
    os.symlink(here / "elsewhere", "out/a")
    with pytest.raises(OutputError, match="out/a is a symbolic link"):
        run("tiny.nn", out="out", force=True)
    assert Path("elsewhere/weights.npz").read_text() == "mine"
    assert runs.evaluate("out", "b")  # and the older run is as it was


# More epochs


@pytest.mark.parametrize(
    "rule",
    ["", "; validation = 0.2; early_stop = patience(2, min_delta=0.02, restore_best=true)", "; repeats = 2"],
)
def test_a_run_is_extended_to_the_bits_of_a_longer_one(here: Path, rule: str) -> None:
    text = spec(
        "Linear(16); BatchNorm; ReLU; Dropout(0.2); Linear(10)",
        race="Adam(lr=plateau(0.05, patience=1, of=loss)); Momentum(lr=step(0.1, every=2)); SGD(lr=0.05)",
        train="epochs = 8; batch = 16" + rule,
        data="Digits(train=80, test=20)",
    )
    write(text)
    run("tiny.nn", out="whole")
    for epochs in (1, 4):
        run("tiny.nn", out=f"out{epochs}", set={"train.epochs": epochs})
        run("tiny.nn", out=f"out{epochs}", resume=True, set={"train.epochs": 8})
        assert outcome(here / f"out{epochs}") == outcome(here / "whole"), epochs
        summary = json.loads(Path(f"out{epochs}/summary.json").read_text())
        assert {lane["epochs_asked_for"] for lane in summary["lanes"]} == {8}
    assert runs.verify("out4").same


def test_what_cannot_be_extended_is_refused_by_name(here: Path) -> None:
    write(RACE.replace("b: Adam", "b: Adam(lr=cosine(0.01))"))
    run("tiny.nn", out="out")
    before = {path.name: path.read_bytes() for path in (here / "out").iterdir() if path.is_file()}
    with pytest.raises(OutputError, match=r"`lr = cosine\(0.01\)` of b depends on the number of epochs"):
        run("tiny.nn", out="out", resume=True, set={"train.epochs": 5})
    with pytest.raises(OutputError, match=r"`train\.epochs` of a was 2 and is now 1"):
        run("tiny.nn", out="out", resume=True, set={"train.epochs": 1})
    with pytest.raises(
        OutputError, match=r"`optimizer\.lr` of a was 0\.1 and is now 0\.5; `train\.batch` was not set and is now 8"
    ):
        run("tiny.nn", out="out", resume=True, set={"train.batch": 8, "a.optimizer.lr": 0.5})
    assert {path.name: path.read_bytes() for path in (here / "out").iterdir() if path.is_file()} == before


# Choosing


def test_the_best_is_chosen_by_validation_else_by_test_and_reported() -> None:
    lanes = [
        Candidate("a", "CrossEntropy", {"loss": 0.1, "val_loss": 0.5, "test_loss": 0.2}),
        Candidate("b", "CrossEntropy", {"loss": 0.2, "val_loss": 0.4, "test_loss": 0.6}),
    ]
    choice = best(lanes)
    assert (choice.name, choice.figure, choice.remark) == ("b", "val_loss", "")
    blind = [Candidate(lane.name, lane.loss, {"test_loss": lane.figures["test_loss"]}) for lane in lanes]
    choice = best(blind)
    assert (choice.name, choice.text) == ("a", "the lowest test_loss of 2 lanes")
    assert "optimistic" in choice.remark
    accurate = [
        Candidate("a", "MSE", {"val_loss": 0.1, "val_accuracy": 0.6}),
        Candidate("b", "CrossEntropy", {"val_loss": 0.9, "val_accuracy": 0.7}),
    ]
    assert best(accurate).name == "b"
    with pytest.raises(NoChoice, match="different losses"):
        best([Candidate("a", "MSE", {"val_loss": 1.0}), Candidate("b", "MAE", {"val_loss": 2.0})])
    assert best(lanes[:1]).remark == ""


# The folder of the data


def test_the_folder_of_the_data_is_remembered(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(source: Any, access: Access) -> Dataset:
        if access.data_dir is None:
            raise DataUnavailable("MNIST is not here; name its folder with --data-dir")
        return replace(noise(source.facts()), source="MNIST")

    monkeypatch.setattr("nnspec.data.mnist.MNIST.load", load)
    Path("mine").mkdir()
    write(spec("Linear(10)", data="MNIST(train=50, test=20) or Digits(train=50, test=20)", train="epochs = 1"))
    run("tiny.nn", out="out", data_dir="mine")
    assert runs.verify("out").same  # and not on Digits
    assert all(one.same for one in runs.evaluate("out"))
    Path("mine").rename("moved")
    for use in (runs.verify, runs.evaluate):
        with pytest.raises(
            RunError, match=r"read its data from .*mine, which does not exist; name the folder with --data-dir DIR"
        ):
            use("out")
        assert use("out", data_dir="moved")
    run("tiny.nn", out="out", force=True, data_dir="moved")
    record = json.loads(Path("out/run.json").read_text())
    Path("out/run.json").write_text(json.dumps(record | {"data_dir": ""}))
    with pytest.raises(NnspecError, match="name its folder with --data-dir"):
        runs.verify("out")  # Digits would be there


def test_a_default_that_changes_takes_a_new_version_of_the_semantics() -> None:
    """Identities leave defaults out: raise `SEMANTICS`, and write the file anew. `make reference` adds new ones."""
    assert json.loads(DEFAULTS.read_text(encoding="utf-8"))["semantics"] == SEMANTICS
    assert not changed_defaults()


def test_runs_of_format_1_can_only_be_compared_reported_and_exported() -> None:
    write(RACE)
    run("tiny.nn", out="out")
    record = json.loads(Path("out/run.json").read_text())
    old = {name: record[name] for name in ("spec", "identity", "home", "set", "environment")}
    Path("out/run.json").write_text(json.dumps(old | {"format": 1, "imports": {}}))
    summary = json.loads(Path("out/summary.json").read_text())
    for data in summary["data"]:
        del data["ranges"], data["notes"]
    Path("out/summary.json").write_text(json.dumps(summary))
    assert runs.export_weights("out", "w.npz").exists()
    assert len(runs.compare_runs(["out"]).contest.entries) == 2
    assert runs.report(["out"], "page.html").exists()
    for use in (runs.load, runs.evaluate, runs.verify):
        with pytest.raises(RunError, match="its record is too old for this version"):
            use("out")
    with pytest.raises(OutputError, match="cannot be resumed"):
        run("tiny.nn", out="out", resume=True)
    run("tiny.nn", out="out", force=True, set={"a.optimizer.lr": 1e30})
    assert not Path("out/a").exists()  # the lanes of the older run are known by its records
