"""What a search says, on searches made by hand, and the words of it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from findings import base, program
from tiny_spec import OFFLINE, TOGETHER, compiled, spec

import nnspec
from nnspec.api import run_into
from nnspec.checker.program import Experiment
from nnspec.engine.spaces import LogUniform, Space, UniformSpace
from nnspec.results.search_summary import ranges, search_record
from nnspec.results.tuning import Study, TrialResult, Tuned
from nnspec.runner.search import race_of
from nnspec.statistics.significance import Test as TTest
from nnspec.training.observer import Silent
from nnspec.view.terminal.screen import plain_text
from nnspec.view.terminal.search import print_search
from nnspec.view.wording import tuning

RATE = LogUniform(1e-3, 1)


def race(*optimizers: str) -> tuple[Experiment, ...]:
    return program(base(more=f"race {{ {'; '.join(optimizers)} }}")).lanes


def study(lane: str, figures: dict[float, float], *, setting: str = "optimizer.lr") -> Study:
    """A study that tried rates; a figure of NaN is one that diverged."""
    trials = tuple(
        TrialResult(
            f"{lane},trial={n}", lane, 1, n, {setting: value}, {setting: 0.5}, figure,
            "diverged" if math.isnan(figure) else "done", 2, 20, 20.0, 0.5,
        )
        for n, (value, figure) in enumerate(figures.items(), 1)
    )  # fmt: skip
    best = min((trial for trial in trials if trial.counts), key=lambda trial: trial.figure, default=None)
    return Study(lane, 1, trials, best)


def search(*studies: Study, spaces: dict[str, dict[str, Space]] | None = None) -> Tuned:
    own = {each.lane: {"optimizer.lr": RATE} for each in studies}
    return Tuned("val_loss", None, 4, "halton", {**own, **(spaces or {})}, studies)


def remarks(tuned: Tuned, *optimizers: str) -> list[str]:
    return list(search_record(tuned, race(*optimizers), {})["remarks"])


INSIDE = {0.01: 0.9, 0.05: 0.4, 0.2: 0.7, 0.5: 1.5}


def test_a_search_inside_its_spaces_raises_no_doubt() -> None:
    assert remarks(search(study("SGD", INSIDE), study("Lion", INSIDE)), "SGD", "Lion") == []


def test_a_lane_or_an_eps_that_is_not_tuned_is_remarked_on() -> None:
    found = remarks(search(study("Adam", INSIDE)), "SGD", "Adam")
    assert [each.split(";")[0] for each in found] == [
        "SGD was not tuned",
        "Adam: `eps` was not tuned, although it can decide a comparison: with a large eps, Adam approaches Momentum",
    ]


def test_an_eps_matters_to_a_comparison_only() -> None:
    assert remarks(search(study("Adam", INSIDE)), "Adam") == []


@pytest.fixture(scope="module")
def raced() -> tuple[nnspec.RunResult, tuple[Experiment, ...]]:
    """The race of three lanes with two studies each."""
    more = "tune { budget = 2; studies = 2; optimizer.lr = loguniform(0.01, 0.1) }"
    train = "epochs = 3; batch = 10; validation = 0.2; repeats = 3"
    text = spec("Linear(10)", race="SGD; Momentum; Adam", train=train, more=more)
    found = compiled(text)
    result = run_into(found, OFFLINE, Silent(), None, TOGETHER)
    assert result.tuned is not None
    return result, race_of(found, result.tuned, OFFLINE).program.lanes


def test_differences_between_studies_are_adjusted_for_their_number(
    raced: tuple[nnspec.RunResult, tuple[Experiment, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    result, lanes = raced
    assert result.tuned is not None
    monkeypatch.setattr(
        "nnspec.results.search_summary.between_studies", lambda one, other: TTest(0.1, 0.0, 0.2, 0.03, 2, False)
    )
    pairs = search_record(result.tuned, lanes, result.lanes)["between_studies"]
    assert [(each["p"], each["p_adjusted"], each["shown"]) for each in pairs] == [
        (0.03, pytest.approx(0.09), False)
    ] * 3


def test_lanes_with_one_study_are_not_compared_between_studies(
    raced: tuple[nnspec.RunResult, tuple[Experiment, ...]],
) -> None:
    result, lanes = raced
    assert result.tuned is not None
    first = {name: lane for name, lane in result.lanes.items() if name.endswith("study=1")}
    assert len(first) == 3
    assert search_record(result.tuned, lanes, first)["between_studies"] == []


def test_trainings_that_miss_the_target_cost_their_whole_time(
    raced: tuple[nnspec.RunResult, tuple[Experiment, ...]],
) -> None:
    result, lanes = raced
    assert result.tuned is not None
    name, lane = next(iter(result.lanes.items()))
    best = sorted(min(one.curve("val_loss")) for one in lane.repeats)
    found = search_record(replace(result.tuned, target=best[0]), lanes, result.lanes)["times"][name]["steps"]
    assert (found["reached"], found["of"]) == (1, 3)
    steps = [step for step in found["seeds"].values() if step is not None]
    whole = 3 * math.ceil(40 / 10)
    assert found["expected"] == steps[0] + 2 * whole


def test_the_target_by_which_settings_are_chosen_is_also_that_of_the_race(
    raced: tuple[nnspec.RunResult, tuple[Experiment, ...]],
) -> None:
    result, lanes = raced
    assert result.tuned is not None
    by_time = replace(result.tuned, by="epochs_to(val_loss=2.0)")
    to_target = replace(result.tuned, target=2.0)
    times = [search_record(each, lanes, result.lanes)["times"] for each in (by_time, to_target)]
    assert times[0] == times[1]
    said = [line for line, _ in tuning.sentences(by_time, search_record(by_time, lanes, result.lanes))]
    assert any("val_loss 2" in line and "reach" in line for line in said)


def test_times_to_a_target_under_a_schedule_are_remarked_on() -> None:
    tuned = replace(search(study("SGD", INSIDE)), target=0.5)
    (found,) = remarks(tuned, "SGD(lr=cosine(0.1))")
    assert found.startswith("SGD: the time to the target depends on the length of the schedule, `cosine(0.1)`")
    assert remarks(tuned, "SGD(lr=constant(0.1, warmup=1))") == []


@pytest.mark.parametrize(("rates", "end"), [((0.001, 0.01), "lower"), ((1.0, 0.5), "upper")])
def test_a_best_setting_at_the_edge_of_its_space_is_remarked_on(rates: tuple[float, float], end: str) -> None:
    (found,) = remarks(search(study("SGD", {rates[0]: 0.1, rates[1]: 0.2})), "SGD")
    assert found.startswith(
        f"SGD: the best `optimizer.lr` is at the {end} end of its search space, loguniform(0.001, 1)"
    )


def test_an_optimizer_that_loses_to_its_special_case_is_not_tuned_well_enough() -> None:
    worse = {rate: figure + 0.1 for rate, figure in INSIDE.items()}
    (found,) = remarks(search(study("plain", INSIDE), study("heavy", worse)), "plain: SGD", "heavy: Momentum")
    assert found.startswith("Momentum includes SGD (momentum = 0), yet the best trial of heavy is worse: val_loss 0.5")
    assert remarks(search(study("plain", worse), study("heavy", INSIDE)), "plain: SGD", "heavy: Momentum") == []
    by_accuracy = replace(search(study("plain", worse), study("heavy", INSIDE)), by="val_accuracy")
    (found,) = remarks(by_accuracy, "plain: SGD", "heavy: Momentum")
    assert "is worse: val_accuracy 0.4" in found


def test_spaces_with_different_numbers_of_settings_are_remarked_on() -> None:
    sizes = {"Adam": {"optimizer.lr": RATE, "optimizer.eps": RATE}}
    adam = study("Adam", INSIDE)
    trials = tuple(replace(t, settings={**t.settings, "optimizer.eps": 0.01}) for t in adam.trials)
    chosen = next(t for t in trials if adam.chosen is not None and t.number == adam.chosen.number)
    found = remarks(
        search(study("SGD", INSIDE), replace(adam, trials=trials, chosen=chosen), spaces=sizes), "SGD", "Adam"
    )
    assert [each for each in found if "(SGD 1, Adam 2)" in each]


def test_mostly_diverged_trials_are_remarked_on() -> None:
    found = remarks(search(study("SGD", {0.05: 0.4, 0.2: math.nan, 0.5: math.nan})), "SGD")
    assert found == ["SGD: 2 of 3 trials diverged; a narrower search space would waste fewer trials"]


@pytest.mark.parametrize("status", ["diverged", "failed", "interrupted", "dropped"])
def test_a_trial_that_is_not_done_does_not_count(status: str) -> None:
    trial = study("SGD", INSIDE).trials[0]
    assert trial.counts
    assert not replace(trial, status=status).counts


def test_a_range_does_not_reach_to_a_trial_that_failed_with_a_good_figure() -> None:
    found = study("SGD", {10 ** (-n / 4): 1 + abs(n - 5) / 10 for n in range(1, 11)})
    failed = [replace(each, status="failed") if each.number > 7 else each for each in found.trials]
    (whole,), (range_,) = (
        ranges(replace(found, trials=tuple(trials)), search(found)).values() for trials in (found.trials, failed)
    )
    assert whole.low == pytest.approx(10**-2.5)
    assert range_.low == pytest.approx(10**-1.75)


def test_the_best_of_fewer_trials_counts_diverged_ones() -> None:
    record = search_record(search(study("SGD", {0.05: 0.4, 0.2: math.nan})), race("SGD"), {})
    first, second = record["lanes"][0]["best_after"]
    assert (first["expected"], first["none"]) == (None, 0.5)
    assert (second["expected"], second["none"]) == (0.4, 0.0)
    assert (record["lanes"][0]["diverged"], record["lanes"][0]["trials"]) == (1, 2)


def test_how_far_a_rate_may_be_off_is_on_the_scale_of_its_space() -> None:
    figures = {10 ** (-3 + 3 * i / 9): 0.2 + (i - 4) ** 2 * 0.1 for i in range(10)}
    rates = search_record(search(study("SGD", figures)), race("SGD"), {})["lanes"][0]["ranges"]["optimizer.lr"]
    assert rates["factor"] == pytest.approx(math.sqrt(rates["high"] / rates["low"]))
    linear = {"SGD": {"optimizer.momentum": UniformSpace(0, 1)}}
    lane = search(study("SGD", figures, setting="optimizer.momentum"), spaces=linear)
    momentum = search_record(lane, race("SGD"), {})["lanes"][0]["ranges"]["optimizer.momentum"]
    assert momentum["factor"] is None
    assert momentum["margin"] > 0


def test_the_record_is_json_and_its_table_and_sentences_fit(capsys: Any) -> None:
    figures = {10 ** (-3 + 3 * i / 9): 0.2 + (i - 4) ** 2 * 0.1 for i in range(10)}
    tuned = search(study("SGD", figures), study("Adam", INSIDE))
    record = json.loads(json.dumps(search_record(tuned, race("SGD", "Adam"), {})))
    assert [row.lane for row in tuning.rows(tuned, record)] == ["SGD", "Adam"]
    for width in (60, 80, 140):
        shown = plain_text(lambda console: print_search(tuned, record, console), width)
        assert "tuned by val_loss: best of 4 to 10 trials per lane (halton search)" in shown
        assert "! lanes have different numbers of trials" in shown
        assert all(len(line) <= width for line in shown.splitlines() if "  " in line)


def test_what_a_search_says_of_its_studies() -> None:
    """With one study, what seeds do not show; with several, the test between them."""
    stability = {"seeds": {"winner": "SGD", "share": 0.9}}
    summary: dict[str, Any] = {"lanes": [], "stability": stability, "remarks": [], "between_studies": []}

    def said(**between: Any) -> str:
        pair = {"lanes": ["SGD", "Adam"], "figure": "loss", "difference": -0.2, "low": -0.3, "high": -0.1, "n": 5}
        pairs = [pair | between] if between else []
        tuned = search(study("SGD", INSIDE))
        return [line for line, _ in tuning.sentences(tuned, summary | {"between_studies": pairs})][-1]

    assert said().startswith("the t-tests over seeds compare the chosen settings, not the optimizers")
    how = "(Welch's t-test between 5 studies)"
    assert said(p_adjusted=0.012, shown=True) == f"SGD is lower than Adam in loss, -0.2 [-0.3, -0.1], p = 0.012 {how}"
    shown = said(p_adjusted=0.4, shown=False)
    assert shown == f"no difference shown between SGD and Adam in loss: -0.2 [-0.3, -0.1], p = 0.4 {how}"
    assert "it does not vary between studies" in said(p_adjusted=None, shown=False)
