"""Runs of specs with `tune`: the trials, the choice, and the race; resumed, verified, and in processes."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from tiny_spec import command, spec

import nnspec
from nnspec.analysis.verify import other_results
from nnspec.api import Spec
from nnspec.records.folder import RunFolder
from nnspec.results.run import RunResult
from nnspec.results.tuning import Tuned, TuningError
from nnspec.statistics.significance import between_studies
from nnspec.view.wording import tuning

TUNE = "tune { budget = 4; optimizer.lr = loguniform(1e-3, 1); Adam.optimizer.lr = loguniform(1e-5, 0.1) }"
TRAIN = "epochs = 2; batch = 16; validation = 0.2; repeats = 2"


def text(tune: str = TUNE, *, race: str = "SGD; Adam", train: str = TRAIN, expect: str = "") -> Spec:
    return Spec.parse(spec(race=race, train=train, expect=expect, more=tune))


def run(tune: str = TUNE, *, settings: dict[str, Any] | None = None, **options: Any) -> RunResult:
    return nnspec.run(text(tune), set=settings, offline=True, **options)


def figures(result: RunResult) -> dict[str, list[float]]:
    return {name: lane.curve("loss") + lane.curve("test_loss") for name, lane in result.lanes.items()}


@pytest.fixture(scope="module")
def tuned() -> RunResult:
    return run()


def test_each_lane_races_with_its_best_trial(tuned: RunResult) -> None:
    assert tuned.tuned is not None
    assert tuned.trials is not None
    for lane in ("SGD", "Adam"):
        (study,) = tuned.tuned.of(lane)
        assert [trial.number for trial in study.trials] == [1, 2, 3, 4]
        assert study.chosen is not None
        assert study.chosen.figure == min(trial.figure for trial in study.trials)
        assert study.chosen.figure == tuned.trials[study.chosen.name].final("val_loss")
        rate = study.chosen.settings["optimizer.lr"]
        assert f"lr={rate!r}" in tuned[lane].optimizer


def test_the_race_is_what_the_chosen_settings_train_without_a_search(tuned: RunResult) -> None:
    assert tuned.tuned is not None
    settings = dict(flag.split("=") for flag in tuned.tuned.flags())
    plain = nnspec.run(text(""), set={name: float(value) for name, value in settings.items()}, offline=True)
    assert figures(plain) == figures(tuned)


def test_trials_are_trained_once_on_other_seeds_and_see_no_test_data(tuned: RunResult) -> None:
    assert tuned.trials is not None
    assert {one.seed for lane in tuned.lanes.values() for one in lane.repeats} == {0, 1}
    assert {lane.seed for lane in tuned.trials.lanes.values()} == {2}
    assert not any(figure.startswith("test_") for lane in tuned.trials.lanes.values() for figure in lane.figures)


@pytest.mark.parametrize("validation", ["0.2", "folds(3)"])
def test_no_training_has_the_seed_of_another_one(validation: str) -> None:
    tune = "tune { budget = 1; studies = 2; optimizer.lr = [0.1, 0.2] }"
    found = nnspec.run(
        text(tune, race="SGD", train=f"epochs = 1; repeats = 2; validation = {validation}"), offline=True
    )
    assert found.trials is not None
    groups = [[one.seed for one in lane.repeats or (lane,)] for lane in found.trials.lanes.values()]
    groups.append([one.seed for one in found["SGD,study=1"].repeats])
    seeds = [seed for group in groups for seed in group]
    assert sorted(seeds) == [*range(len(seeds))]


@pytest.mark.parametrize("validation", ["0.2", "folds(3)"])
def test_the_test_data_does_not_decide(validation: str) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    given = Spec.parse(
        spec(
            "Linear(6); ReLU; Linear(2)",
            data="Given",
            train=f"epochs = 2; batch = 8; validation = {validation}; standardise = true",
            more="tune { budget = 4; optimizer.lr = loguniform(1e-3, 1) }",
        )
    )
    results = []
    for test in ((x[40:], y[40:]), (x[40:] * 100 + 7, 1 - y[40:])):
        data = {"x_train": x[:40], "y_train": y[:40], "x_test": test[0], "y_test": test[1]}
        results.append(nnspec.run(given, data=data))
    one, other = results
    assert one.tuned is not None
    assert other.tuned is not None
    assert one.trials is not None
    assert other.trials is not None
    assert one.tuned.flags() == other.tuned.flags()
    for name, lane in one.trials.lanes.items():
        assert lane.trace == other.trials.lanes[name].trace
        assert lane.history == other.trials.lanes[name].history
    assert one["run"].final("test_loss") != other["run"].final("test_loss")


def test_expectations_are_those_of_the_race() -> None:
    found = nnspec.run(text(expect="SGD.test_loss < 1000 and Adam.loss > 0"), offline=True)
    assert [verdict.held for verdict in found.verdicts] == [True]
    assert found.trials is not None
    assert not found.trials.verdicts


@pytest.mark.parametrize("options", [{"stack": False}, {"jobs": 2}], ids=["apart", "processes"])
def test_the_same_bits_however_trials_are_trained(tuned: RunResult, options: dict[str, Any]) -> None:
    again = run(**options)
    assert again.tuned is not None
    assert tuned.tuned is not None
    assert again.tuned.flags() == tuned.tuned.flags()
    assert figures(again) == figures(tuned)


def test_higher_is_better_for_an_accuracy() -> None:
    found = run(TUNE.replace("budget = 4", "budget = 4; by = val_accuracy")).tuned
    assert found is not None
    assert not found.lower_is_better
    for study in found.studies:
        assert study.chosen is not None
        assert study.chosen.figure == max(trial.figure for trial in study.trials)


def test_of_equal_trials_the_first_is_chosen() -> None:
    by_loss, by_accuracy = (
        nnspec.run(
            text(f"let a = 1\ntune {{ budget = 3; studies = 2; by = {by}; a = [1, 2, 3] }}", race="SGD"), offline=True
        )
        for by in ("val_loss", "val_accuracy")
    )
    for found in (by_loss, by_accuracy):
        assert found.tuned is not None
        assert [study.chosen and study.chosen.number for study in found.tuned.studies] == [1, 1]


def test_a_diverged_trial_counts_as_a_trial_and_does_not_win() -> None:
    found = run("tune { budget = 2; optimizer.lr = [1e30, 0.1] }").tuned
    assert found is not None
    for study in found.studies:
        assert sorted(trial.status for trial in study.trials) == ["diverged", "done"]
        assert study.chosen is not None
        assert study.chosen.settings["optimizer.lr"] == 0.1


def test_without_a_trial_that_counts_there_is_no_race(tmp_path: Path) -> None:
    with pytest.raises(TuningError, match="none of the 4 trials ended with a finite val_loss"):
        run("tune { budget = 2; optimizer.lr = [1e30, 2e30] }", out=tmp_path / "run")
    assert (tmp_path / "run" / "trials" / "summary.json").exists()


WILD = "tune { budget = 2; SGD.optimizer.lr = [1e200, 2e200]; Adam.optimizer.lr = loguniform(1e-3, 0.1) }"


def test_a_lane_whose_trials_all_diverged_is_not_trained_and_the_others_race(tmp_path: Path) -> None:
    expect = "SGD.val_loss < 9\nAdam.val_loss < 9"
    found = nnspec.run(text(WILD, expect=expect), out=tmp_path / "run", offline=True)
    why = "all 2 trials diverged, so it has no settings to race with"
    lane = found["SGD"]
    assert (lane.status, lane.message, len(lane.records), lane.has_network) == ("diverged", why, 0, False)
    assert [(one.status, one.seed) for one in lane.repeats] == [("diverged", 0), ("diverged", 1)]
    assert (found["Adam"].status, len(found["Adam"].records), found.exit_code) == ("done", 2, 1)
    missed, met = found.verdicts
    assert (missed.held, missed.detail, met.held) == (False, f"lane SGD was not trained: {why}", True)
    assert (
        "SGD: all 2 trials diverged; it needs a different search space" in found.summary["tuned"]["summary"]["remarks"]
    )
    alone = run(TUNE.replace("budget = 4", "budget = 2"), settings={"SGD.optimizer.lr": 0.1, "Adam.optimizer.lr": 0.01})
    assert alone["SGD"].status == "done"  # the same lane with a setting is trained

    resumed = nnspec.run(text(WILD, expect=expect), out=tmp_path / "run", resume=True, offline=True)
    assert figures(resumed) == figures(found)
    assert resumed["SGD"].message == why
    assert nnspec.runs.verify(tmp_path / "run").same
    assert [each.lane for each in nnspec.runs.evaluate(tmp_path / "run")] == ["Adam", "Adam"]
    assert why in nnspec.runs.report([tmp_path / "run"]).read_text()


def test_a_study_whose_trials_all_diverged_is_not_trained() -> None:
    """Two studies draw two of four rates; the one with the large ones has no settings."""
    for seed in range(20):
        spaces = "SGD.optimizer.lr = [1e200, 0.1]; Adam.optimizer.lr = [0.01, 0.02]"
        tune = f"tune {{ budget = 1; studies = 2; search = random; {spaces} }}"
        found = nnspec.run(text(tune), set={"seed": seed}, offline=True)
        assert found.tuned is not None
        chosen = [study.chosen for study in found.tuned.of("SGD")]
        if None in chosen and chosen != [None, None]:
            lanes = [found[f"SGD,study={number}"] for number in (1, 2)]
            assert [lane.status for lane in lanes] == ["diverged" if each is None else "done" for each in chosen]
            assert "its only trial diverged" in lanes[chosen.index(None)].message
            return
    raise AssertionError("no seed has one study that diverged")


def test_the_steps_to_a_target_are_counted() -> None:
    found = run(TUNE.replace("budget = 4", "budget = 4; target = 2.25")).tuned
    assert found is not None
    for trial in found.trials:
        assert trial.steps == trial.gradient_evaluations == 6
        assert trial.to_target in ((3, 6) if trial.figure <= 2.25 else (None, 3))
    assert {trial.to_target is None for trial in found.trials} == {True, False}


@pytest.mark.parametrize(("figure", "target"), [("val_loss", 2.2), ("val_accuracy", 0.2), ("loss", 2.0)])
def test_the_trial_that_reaches_a_target_first_is_chosen(tmp_path: Path, figure: str, target: float) -> None:
    by = f"epochs_to({figure}={target!r})"
    settings = {"tune.by": by, "tune.budget": 8, "train.epochs": 4, "train.record": 2}
    found = run(settings=settings, out=tmp_path / "run")
    assert found.tuned is not None
    assert found.trials is not None
    sign = -1 if figure == "val_accuracy" else 1
    for study in found.tuned.studies:
        first = {}
        for trial in study.trials:
            lane = found.trials[trial.name]
            reached = [
                e for e, v in zip(lane.places["epochs"], lane.curve(figure), strict=True) if sign * v <= sign * target
            ]
            first[trial.number] = reached[0] if reached else math.inf
            assert trial.figure == first[trial.number]
            assert trial.missed == (not reached)
            assert not trial.diverged
        if study.chosen is None:
            assert min(first.values()) == math.inf
        else:
            assert first[study.chosen.number] == min(first.values()) < math.inf
            assert study.chosen.number == min(n for n, epochs in first.items() if epochs == min(first.values()))
    assert any(study.chosen for study in found.tuned.studies)
    assert any(trial.missed for trial in found.tuned.trials)
    assert Tuned.of_record(json.loads((tmp_path / "run" / "summary.json").read_text())["tuned"]) == found.tuned
    assert nnspec.runs.verify(tmp_path / "run").same


def test_without_a_trial_that_reaches_the_target_the_best_is_told() -> None:
    with pytest.raises(
        TuningError, match=r"no trial reached the target of epochs_to\(val_loss=0.01\) \(best val_loss: 2"
    ):
        run(settings={"tune.by": "epochs_to(val_loss=0.01)"})
    race = run(
        "tune { budget = 2; by = epochs_to(loss=2.2); SGD.optimizer.lr = [1e-9, 2e-9]; Adam.optimizer.lr = [0.1, 0.2] }"
    )
    assert "none of its 2 trials reached the target (best loss: 2" in race["SGD"].message


def test_rungs_compare_the_figure_that_is_to_reach_a_target() -> None:
    settings = {"train.epochs": 9, "tune.search": "halving"}
    plain, timed = (run(settings=settings | {"tune.by": by}).tuned for by in ("val_loss", "epochs_to(val_loss=2.2)"))
    assert plain is not None
    assert timed is not None
    assert [trial.status for trial in timed.trials] == [trial.status for trial in plain.trials]


def test_every_study_chooses_and_races() -> None:
    found = run(TUNE.replace("budget = 4", "budget = 2; studies = 2"))
    assert [*found.lanes] == ["SGD,study=1", "SGD,study=2", "Adam,study=1", "Adam,study=2"]
    assert found.tuned is not None
    for lane in ("SGD", "Adam"):
        first, second = found.tuned.of(lane)
        assert first.chosen is not None
        assert second.chosen is not None
        assert f"lr={first.chosen.settings['optimizer.lr']!r}" in found[f"{lane},study=1"].optimizer
        assert f"lr={second.chosen.settings['optimizer.lr']!r}" in found[f"{lane},study=2"].optimizer
        assert {trial.places["optimizer.lr"] for trial in first.trials}.isdisjoint(
            trial.places["optimizer.lr"] for trial in second.trials
        )


def test_studies_of_a_lane_are_compared_with_those_of_another() -> None:
    found = run(TUNE.replace("budget = 4", "budget = 2; studies = 2"))
    (pair,) = found.summary["tuned"]["summary"]["between_studies"]
    assert (pair["lanes"], pair["n"]) == (["SGD", "Adam"], 2)
    figure = pair["figure"]
    raced = [[found[f"{lane},study={n}"] for n in (1, 2)] for lane in pair["lanes"]]
    finals = [[[one.final(figure) for one in lane.repeats or [lane]] for lane in lanes] for lanes in raced]
    test = between_studies(*finals)
    assert (pair["difference"], pair["p"], pair["p_adjusted"]) == (test.difference, test.p, test.p)
    assert found.tuned is not None
    said = [line for line, _ in tuning.sentences(found.tuned, found.summary["tuned"]["summary"])]
    assert any("SGD" in line and "Adam" in line and "between 2 studies" in line for line in said)


def test_the_settings_of_several_studies_are_not_compared_one_by_one() -> None:
    text = TUNE.replace("budget = 4", "budget = 2; studies = 2; target = 5")
    repeats = {"train.repeats": 2}
    one, several = run(text.replace("studies = 2", "studies = 1"), settings=repeats), run(text, settings=repeats)
    assert "comparisons" in one.summary
    assert "comparisons" not in several.summary
    assert several.tuned is not None
    times = [
        line
        for line, _ in tuning.sentences(several.tuned, several.summary["tuned"]["summary"])
        if "val_loss 5 after" in line
    ]
    assert len(times) == 2
    assert all("of 2 studies; reached with" in line and "of 4 trainings" in line for line in times)


def test_a_spec_without_a_race_is_tuned_too() -> None:
    alone = Spec.parse(spec(train=TRAIN, more="tune { budget = 3; optimizer.lr = loguniform(1e-3, 1) }"))
    found = nnspec.run(alone, offline=True)
    assert [*found.lanes] == ["run"]
    assert found.tuned is not None
    assert found.tuned.flags()[0].startswith("optimizer.lr=")


def test_a_lane_without_spaces_has_no_trials_and_races_as_written() -> None:
    found = run("tune { budget = 2; SGD.optimizer.lr = [0.1, 0.2] }")
    assert found.trials is not None
    assert [*found.trials.lanes] == ["SGD,trial=1", "SGD,trial=2"]
    assert figures(found)["Adam"] == figures(nnspec.run(text(""), offline=True))["Adam"]
    alone = run("tune { budget = 2; race = false; SGD.optimizer.lr = [0.1, 0.2] }")
    assert [*alone.lanes] == ["SGD,trial=1", "SGD,trial=2"]


def test_what_a_lane_called_run_chose_is_not_set_in_others() -> None:
    tune = "tune { budget = 2; run.optimizer.lr = [0.1, 0.2] }"
    found = nnspec.run(text(tune, race="run { optimizer = SGD(lr=1) }; Adam(lr=0.5)"), offline=True)
    assert "lr=0.5" in found["Adam"].optimizer
    assert "lr=1)" not in found["run"].optimizer


@pytest.mark.parametrize("studies", [1, 2])
@pytest.mark.parametrize(
    "values",
    [
        "[rate, 2 * rate]",
        "[cosine(rate), cosine(rate * 2)]",
        "[1 / 3, -(-0.2)]",
        "[pi / 100, 0.01]",
        "[cosine(0.1, # half\n warmup=1), cosine(0.2,\n\n warmup=1)]",
    ],
)
def test_a_race_has_exactly_the_settings_of_the_trials_that_were_chosen(values: str, studies: int) -> None:
    more = f"let rate = 0.1\ntune {{ budget = 4; studies = {studies}; rate = [1e-3, 3e-2]; optimizer.lr = {values} }}"
    found = nnspec.run(text(more, race="SGD; Adam { optimizer = Adam(lr=1); rate = 0.7 }"), offline=True)
    assert found.tuned is not None
    assert found.trials is not None
    chosen = [study.chosen for study in found.tuned.studies]
    assert [found.trials[each.name].optimizer for each in chosen if each] == [
        lane.optimizer for lane in found.lanes.values()
    ]


def test_only_the_trials_on_request() -> None:
    found = run(settings={"tune.race": False})
    assert len(found.lanes) == 8
    assert found.tuned is not None
    assert found.trials is None


def test_data_from_python_is_that_of_trials_and_race() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 5)), rng.integers(0, 3, 60)
    given = Spec.parse(
        spec("Linear(3)", data="Given()", race="SGD", train=TRAIN, more="tune { optimizer.lr = [0.1, 0.2] }")
    )
    found = nnspec.run(given, data=(x, y))
    assert found.tuned is not None
    assert len(found.tuned.trials) == 2


# On disk


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tuned") / "run"
    run(out=place)
    return place


def test_the_record_has_every_trial_and_reads_back(tmp_path: Path, tuned: RunResult) -> None:
    found = run(out=tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert Tuned.of_record(summary["tuned"]) == found.tuned
    assert (
        json.loads((tmp_path / "run" / "run.json").read_text())["set"] == found.tuned.flags() if found.tuned else None
    )
    results = [*(tmp_path / "run" / "trials").rglob("*.npz")]
    assert len(results) == 8
    assert {array for file in results for array in np.load(file)} == {"checkpoint", "sha256"}  # no weights
    saved = nnspec.runs.open_run(tmp_path / "run")
    assert saved.trials is not None
    assert len(saved.trials.lanes) == 8
    assert saved.trials.history["SGD,trial=1"]["val_loss"]


def test_a_tuned_run_is_verified_with_its_search(tmp_path: Path) -> None:
    run(out=tmp_path / "run")
    found = nnspec.runs.verify(tmp_path / "run")
    assert found.same
    assert len(found.matches) == 8 + 4


def test_identical_trials_of_a_lane_share_a_row(shared: Path, tmp_path: Path) -> None:
    def printed(path: Path) -> list[str]:
        return [" ".join(line.split()) for line in command("verify", path, shared / "trials").stdout.splitlines()]

    assert [line for line in printed(shared / "trials") if "trial" in line and "/" not in line] == [
        "SGD 2 2 4 4 trials identical, bit for bit",
        "Adam 2 2 4 4 trials identical, bit for bit",
    ]
    shutil.copytree(shared, tmp_path / "run")
    path = tmp_path / "run" / "trials" / "history.json"
    history = json.loads(path.read_text())
    history["lanes"]["SGD,trial=3"]["val_loss"][1] += 1
    path.write_text(json.dumps(history))
    assert [line for line in printed(tmp_path / "run" / "trials") if "trial" in line and "/" not in line] == [
        "SGD 2 2 4 3 trials identical, bit for bit",
        "SGD,trial=3 2 2 4 differ in epoch 2: val_loss",
        "Adam 2 2 4 4 trials identical, bit for bit",
    ]


def test_a_comparison_says_how_runs_were_tuned(shared: Path, tmp_path: Path) -> None:
    tuned = json.loads((shared / "summary.json").read_text())["tuned"]
    rates = {
        study["lane"]: study["trials"][study["chosen"] - 1]["settings"]["optimizer.lr"] for study in tuned["studies"]
    }
    nnspec.run(text(""), out=tmp_path / "plain", offline=True)
    said = " ".join(command("compare", shared, tmp_path / "plain").stdout.split())
    assert (
        f"tuned by val_loss: best of 4 trials per lane (halton search) SGD: lr = {rates['SGD']:.4g}, best val loss"
        in said
    )
    assert f" Adam: lr = {rates['Adam']:.4g}, best val loss" in said
    assert "plain: not tuned; its settings are those of the spec" in said
    one, other = json.loads(command("compare", shared, tmp_path / "plain", "--json").stdout)["runs"]
    flags = [f"{lane}.optimizer.lr={rate!r}" for lane, rate in rates.items()]
    assert one["tuned"] == {"by": "val_loss", "budget": 4, "search": "halton", "chosen": flags}
    assert other["tuned"] is None
    assert "tuned" not in command("compare", tmp_path / "plain").stdout


def test_another_choice_is_not_verified(tmp_path: Path) -> None:
    run(out=tmp_path / "run")
    path = tmp_path / "run" / "trials" / "summary.json"
    summary = json.loads(path.read_text())
    study = summary["tuned"]["studies"][0]
    study["chosen"] = next(each["number"] for each in study["trials"] if each["number"] != study["chosen"])
    path.write_text(json.dumps(summary))
    found = nnspec.runs.verify(tmp_path / "run")
    assert not found.same
    assert "has other settings than the search chooses" in found.spoilt[0]


@pytest.mark.parametrize("trials", ["", "trials"])
@pytest.mark.parametrize("name", ["figure", "places", "to_target", "steps"])
def test_every_figure_of_a_search_is_verified(shared: Path, tmp_path: Path, trials: str, name: str) -> None:
    shutil.copytree(shared, tmp_path / "run")
    path = tmp_path / "run" / trials / "summary.json"
    summary = json.loads(path.read_text())
    trial = summary["tuned"]["studies"][1]["trials"][2]
    trial[name] = {"optimizer.lr": 0.5} if name == "places" else (trial[name] or 0) + 1e-9
    path.write_text(json.dumps(summary))
    found = nnspec.runs.verify(tmp_path / "run")
    assert not found.same
    assert f"tuned.studies[1].trials[2].{name}" in found.spoilt[0]


def test_a_resumed_race_and_trials_alone_are_verified(tmp_path: Path) -> None:
    def interrupt(lane: str, epoch: int, figures: Any) -> None:
        if "trial" not in lane:
            raise KeyboardInterrupt

    run(out=tmp_path / "run", on_epoch=interrupt)
    run(out=tmp_path / "run", resume=True)
    assert nnspec.runs.verify(tmp_path / "run").same
    run("tune { race = false; budget = 2; optimizer.lr = [0.1, 0.2] }", out=tmp_path / "trials")
    assert nnspec.runs.verify(tmp_path / "trials").same


def test_without_its_trials_a_run_is_not_verified(tmp_path: Path) -> None:
    run(out=tmp_path / "run")
    (tmp_path / "run" / "trials" / "run.json").unlink()
    found = nnspec.runs.verify(tmp_path / "run")
    assert not found.same
    assert "no folder trials" in found.spoilt[0]


@pytest.mark.parametrize("after", [5, 20])
def test_an_interrupted_run_is_resumed_with_the_same_bits(tmp_path: Path, tuned: RunResult, after: int) -> None:
    calls = 0

    def interrupt(lane: str, epoch: int, figures: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            raise KeyboardInterrupt

    stopped = run(out=tmp_path / "run", on_epoch=interrupt, checkpoint=0)
    assert stopped.interrupted
    assert stopped.exit_code == 130
    resumed = run(out=tmp_path / "run", resume=True)
    assert figures(resumed) == figures(tuned)
    assert resumed.tuned is not None
    assert tuned.tuned is not None
    assert resumed.tuned.flags() == tuned.tuned.flags()
    assert (resumed.trials is None) == (after > 16)  # a finished search is not repeated


@pytest.mark.parametrize("other", [{"tune.budget": 3}, {"tune.by": "loss"}, {"train.epochs": 1}, {"seed": 1}])
def test_a_search_is_only_resumed_as_it_was(shared: Path, tmp_path: Path, other: dict[str, Any]) -> None:
    shutil.copytree(shared, tmp_path / "run")
    with pytest.raises(nnspec.OutputError, match=r"another experiment|cannot be extended"):
        run(out=tmp_path / "run", settings=other, resume=True)


def names_trained(**options: Any) -> tuple[RunResult, list[str]]:
    names: list[str] = []
    found = run(on_epoch=lambda lane, epoch, figures: names.append(lane), **options)
    return found, list(dict.fromkeys(names))


def settings_of(tuned: Tuned | None) -> list[tuple[str, Any]]:
    assert tuned is not None
    return [(trial.name, trial.settings, trial.figure, trial.steps) for trial in tuned.trials]  # type: ignore[misc]


@pytest.mark.parametrize("search", ["halton", "random"])
def test_a_larger_budget_continues_a_search(tmp_path: Path, search: str) -> None:
    for budget, options in ((2, {}), (3, {"stack": False}), (7, {"jobs": 2 if search == "random" else 1})):
        settings = {"tune.search": search, "tune.budget": budget}
        run(out=tmp_path / "run", settings=settings, resume=True, **options)
    settings = {"tune.search": search, "tune.budget": 7}
    at_once = run(out=tmp_path / "at once", settings=settings)
    for inside in (".", "trials"):
        assert nnspec.runs.verify(tmp_path / "run" / inside, tmp_path / "at once" / inside).same
    one, other = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("run", "at once"))
    assert not [*other_results(one | {"notes": []}, other, Path("summary.json"))]
    assert settings_of(Tuned.of_record(one["tuned"])) == settings_of(at_once.tuned)
    assert nnspec.runs.verify(tmp_path / "run").same


def test_only_new_trials_are_trained_and_the_lanes_whose_settings_changed(shared: Path, tmp_path: Path) -> None:
    shutil.copytree(shared, tmp_path / "run")
    before = json.loads((shared / "run.json").read_text())["set"]
    found, names = names_trained(out=tmp_path / "run", resume=True, settings={"tune.budget": 8})
    assert found.tuned is not None
    after = found.tuned.flags()
    changed = [flag.split(".")[0] for flag, old in zip(after, before, strict=True) if flag != old]
    assert len(changed) == 1  # so that the test is one of both
    assert names == [*(f"{lane},trial={n}" for lane in ("SGD", "Adam") for n in range(5, 9)), *changed]
    (note,) = [note for note in found.notes if note.startswith("the search was continued and chose `")]
    assert "trained anew" in note
    for old, new in zip(before, after, strict=True):
        assert (f"`{new}` (before: {old.split('=')[1]})" in note) == (old != new)
    assert note in json.loads((tmp_path / "run" / "summary.json").read_text())["notes"]
    assert nnspec.runs.verify(tmp_path / "run").same


def test_a_race_is_kept_if_a_larger_budget_chooses_the_same(shared: Path, tmp_path: Path) -> None:
    shutil.copytree(shared, tmp_path / "run")
    run(out=tmp_path / "run", resume=True, settings={"tune.budget": 5})
    first = json.loads((tmp_path / "run" / "summary.json").read_text())
    found, names = names_trained(out=tmp_path / "run", resume=True, settings={"tune.budget": 6})
    assert names == ["SGD,trial=6", "Adam,trial=6"]
    assert not any("continued" in note for note in found.notes)
    assert found.summary["tuned"]["budget"] == 6
    assert [lane["seconds"] for lane in found.summary["lanes"]] == [lane["seconds"] for lane in first["lanes"]]
    assert nnspec.runs.verify(tmp_path / "run").same


@pytest.mark.parametrize("where", [1, 9])
def test_a_continued_search_that_is_interrupted_keeps_the_race_until_it_chose(
    shared: Path, tmp_path: Path, where: int
) -> None:
    shutil.copytree(shared, tmp_path / "run")
    calls = 0

    def interrupt(lane: str, epoch: int, figures: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == where or "trial" not in lane:
            raise KeyboardInterrupt

    settings = {"tune.budget": 8}
    assert run(out=tmp_path / "run", resume=True, settings=settings, on_epoch=interrupt).interrupted
    assert nnspec.runs.verify(shared, tmp_path / "run").same
    run(out=tmp_path / "run", resume=True, settings=settings, on_epoch=interrupt)
    run(out=tmp_path / "run", resume=True, settings=settings)
    assert nnspec.runs.verify(tmp_path / "run").same


def test_a_search_that_was_killed_as_it_was_continued_has_not_finished(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(shared, tmp_path / "run")
    write = RunFolder._write

    def killed(folder: RunFolder, *arguments: Any) -> None:
        write(folder, *arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        run(out=tmp_path / "run", resume=True, settings={"tune.budget": 6})
    monkeypatch.undo()
    found, names = names_trained(out=tmp_path / "run", resume=True, settings={"tune.budget": 6})
    assert names[:4] == ["SGD,trial=5", "SGD,trial=6", "Adam,trial=5", "Adam,trial=6"]
    assert found.tuned is not None
    assert len(found.tuned.trials) == 12
    assert nnspec.runs.verify(tmp_path / "run").same


def test_trials_alone_are_continued(tmp_path: Path) -> None:
    settings = {"tune.race": False, "tune.budget": 2}
    run(out=tmp_path / "run", settings=settings)
    found, names = names_trained(out=tmp_path / "run", settings=settings | {"tune.budget": 4}, resume=True)
    assert names == ["SGD,trial=3", "SGD,trial=4", "Adam,trial=3", "Adam,trial=4"]
    assert len(found.lanes) == 8
    assert nnspec.runs.verify(tmp_path / "run").same


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ("grid", "`tune.search = grid` cannot be continued from 4 to 6 trials, because a larger grid has other points"),
        ("halving(factor=2, rungs=2)", "because which trials are dropped depends on the budget; search anew with --f"),
    ],
)
def test_some_searches_cannot_be_continued(tmp_path: Path, search: str, said: str) -> None:
    run(out=tmp_path / "run", settings={"tune.search": search})
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert not [*(tmp_path / "run" / "trials").rglob("*.npz")]
    with pytest.raises(nnspec.OutputError, match=re.escape(said)):
        run(out=tmp_path / "run", settings={"tune.search": search, "tune.budget": 6}, resume=True)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"tune.budget": 3}, "`tune.budget` was 4 and is now 3, but a search can only be continued with a larger"),
        ({"tune.budget": 8, "tune.by": "loss"}, "was not set and is now loss"),
        ({"tune.budget": 8, "seed": 1}, "`seed` was"),
        ({"tune.budget": 8, "Adam.optimizer.lr": 0.1}, "another experiment"),
    ],
)
def test_a_search_is_only_continued_with_the_same_settings(
    shared: Path, tmp_path: Path, other: dict[str, Any], said: str
) -> None:
    shutil.copytree(shared, tmp_path / "run")
    names: list[str] = []
    with pytest.raises(nnspec.OutputError, match=re.escape(said)):
        run(out=tmp_path / "run", settings=other, resume=True, on_epoch=lambda lane, *_: names.append(lane))
    assert not names
    assert nnspec.runs.verify(tmp_path / "run").same


@pytest.mark.parametrize("race", [True, False])
def test_a_search_is_not_continued_with_another_lane(tmp_path: Path, race: bool) -> None:
    settings = {"tune.race": race, "tune.budget": 2}
    run(out=tmp_path / "run", settings=settings)
    wider = Spec.parse(text().text.replace("SGD; Adam", "SGD; Adam; Momentum"))
    with pytest.raises(nnspec.OutputError, match=r"lane Momentum.* was added"):
        nnspec.run(wider, out=tmp_path / "run", set=settings | {"tune.budget": 4}, resume=True, offline=True)


def test_more_epochs_train_all_trials_anew(shared: Path, tmp_path: Path) -> None:
    shutil.copytree(shared, tmp_path / "run")
    longer = {"train.epochs": 4}
    _, names = names_trained(out=tmp_path / "run", settings=longer, resume=True)
    assert len(names) == 10
    run(out=tmp_path / "at once", settings=longer)
    for inside in (".", "trials"):
        assert nnspec.runs.verify(tmp_path / "run" / inside, tmp_path / "at once" / inside).same


def test_another_run_in_the_folder_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    nnspec.run(text("", race="SGD; Momentum"), out=tmp_path / "run", offline=True)
    names: list[str] = []
    with pytest.raises(nnspec.OutputError, match="contains a run of another experiment"):
        run(out=tmp_path / "run", resume=True, on_epoch=lambda lane, *_: names.append(lane))
    assert not names


def test_trials_have_no_networks(tuned: RunResult) -> None:
    assert tuned.trials is not None
    for lane in tuned.trials.lanes.values():
        assert not lane.has_network
        assert lane.curve("val_loss")
        with pytest.raises(ValueError, match="networks of trials are not kept"):
            lane.predict(np.zeros((1, 64)))
    assert all(lane.has_network for lane in tuned.lanes.values())


def test_a_run_can_be_replaced_by_a_tuned_one_and_back(tmp_path: Path, tuned: RunResult) -> None:
    out = tmp_path / "run"
    nnspec.run(text(""), out=out, offline=True)
    assert figures(run(out=out, force=True)) == figures(tuned)
    nnspec.run(text(""), out=out, force=True, offline=True)
    assert not (out / "trials").exists()


def test_an_interrupted_search_leaves_no_older_race_in_its_folder(tmp_path: Path, tuned: RunResult) -> None:
    def interrupt(lane: str, epoch: int, figures: Any) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "run"
    nnspec.run(text(""), out=out, offline=True)
    assert run(out=out, force=True, on_epoch=interrupt).interrupted
    assert not (out / "run.json").exists()
    assert figures(run(out=out, resume=True)) == figures(tuned)


def test_a_link_for_the_trials_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "trials").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(nnspec.OutputError, match="symbolic link"):
        run(out=tmp_path / "run", force=True)
    assert not [*(tmp_path / "elsewhere").iterdir()]


@pytest.mark.parametrize(
    "damage",
    [
        lambda tuned: tuned.pop("by"),
        lambda tuned: tuned["studies"][0].update(chosen=99),
        lambda tuned: tuned["studies"][0]["trials"][0].update(settings={"optimizer.lr": {}}),
        lambda tuned: tuned["studies"][1]["trials"][0].update(settings={}),
        lambda tuned: tuned["studies"][1]["trials"][0].update(lane="SGD"),
        lambda tuned: tuned["studies"][1].update(lane="x"),
        lambda tuned: tuned["spaces"]["SGD"]["optimizer.lr"].update(part="eval"),
        lambda tuned: tuned["spaces"]["SGD"]["optimizer.lr"].update(low=-1),
    ],
)
def test_a_damaged_record_is_refused(tmp_path: Path, damage: Any) -> None:
    run(out=tmp_path / "run")
    path = tmp_path / "run" / "trials" / "summary.json"
    summary = json.loads(path.read_text())
    damage(summary["tuned"])
    path.write_text(json.dumps(summary))
    with pytest.raises(nnspec.RunError, match=r"damaged.*search again with --force"):
        run(out=tmp_path / "run", resume=True)


def test_the_landscape_of_a_tuned_spec_is_that_of_its_race() -> None:
    found = nnspec.landscape(text(train="epochs = 2; batch = 16; validation = 0.2"), grid=5, offline=True)
    assert [*found.lanes] == ["SGD", "Adam"]
    assert all(len(path.points) == 3 for path in found.lanes.values())


def test_trials_write_no_text() -> None:
    model = "Embedding(4); RNN(4); Linear(data.classes)"
    written = spec(model, data='Text("text.txt", context=4)', train="epochs = 1; validation = 0.2; sample = 20")
    more = "tune { budget = 2; optimizer.lr = [0.1, 0.2] }"
    with TemporaryDirectory() as folder:
        (Path(folder) / "text.txt").write_text("a small text about nothing much, again and again. " * 8)
        found = nnspec.run(Spec.parse(f"{written}{more}", folder=folder), offline=True)
    assert found["run"].sample
    assert found.trials is not None
    assert {lane.sample for lane in found.trials.values()} == {""}
