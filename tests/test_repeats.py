"""Repeats: one training per seed, exactly as it is alone, and their means, verdicts and records."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_lanes import Listener, lane
from tiny_spec import ALONE, run, spec

from nnspec.compiler.plan import Plan
from nnspec.executors import in_process as in_process_module
from nnspec.records.lane_folders import folder_names
from nnspec.records.write import history_record, write_record
from nnspec.results.lane import LaneResult
from nnspec.results.run import RunResult, common_loss
from nnspec.runner import repeats as repeats_module
from nnspec.training import train as train_module

RACE = "SGD(lr=0.1); Adam(lr=0.01)"
TEXT = spec(
    "Linear(6); ReLU; Dropout(0.3); Linear(10)",
    race=RACE,
    train="epochs = 3; batch = 16; validation = 0.2; repeats = 3",
    more="seed = 42",
)


@pytest.fixture(scope="module")
def result() -> RunResult:
    return run(TEXT)


def weights(one: LaneResult) -> list[bytes]:
    return [parameter.data.tobytes() for parameter in one.network.parameters()]


def changed(monkeypatch: pytest.MonkeyPatch, change: Callable[[Plan, int, dict[str, float]], None]) -> None:
    """Let `change` see, and write into, the figures of every epoch."""
    honest = train_module._records

    def epochs(plan: Plan, done: int) -> Any:
        for epoch, (seconds, figures) in enumerate(honest(plan, done), 1):
            change(plan, epoch, figures)
            yield seconds, figures

    monkeypatch.setattr(train_module, "_records", epochs)


# The single trainings


def test_repeats_are_the_runs_that_those_seeds_give_alone(result: RunResult) -> None:
    for seed in (42, 43, 44):
        alone = run(TEXT, "train.repeats=1", f"seed={seed}")
        for name, whole in result.items():
            one = whole.repeats[seed - 42]
            assert (one.seed, one.repeat, one.of, one.repeats) == (seed, seed - 41, 3, ())
            assert one.history == alone[name].history
            assert weights(one) == weights(alone[name])
            assert (alone[name].repeats, alone[name].label) == ((), name)


def test_lanes_of_one_seed_share_what_they_have_in_common() -> None:
    text = spec(race="a: SGD(lr=0.1); b: SGD(lr=0.1)", train="epochs = 2; batch = 16; validation = 0.2; repeats = 2")
    one, other = run(text).values()
    assert [r.history for r in one.repeats] == [r.history for r in other.repeats]
    assert one.repeats[0].history != one.repeats[1].history


def test_the_lane_has_the_means(result: RunResult) -> None:
    for whole in result.values():
        assert (whole.status, whole.seed, whole.label, whole.of) == ("done", 42, whole.name, 1)
        assert list(whole.history) == list(whole.repeats[0].history)
        for name, values in whole.history.items():
            each = [one.history[name] for one in whole.repeats]
            np.testing.assert_allclose(values, np.mean(each, axis=0), rtol=1e-14)
            assert whole.final(name) == values[-1]
        assert whole.seconds == pytest.approx(np.mean([one.seconds for one in whole.repeats]))
        assert whole.network is whole.repeats[0].network


def test_an_observer_hears_of_every_repeat_and_of_the_end_once() -> None:
    listener = Listener()
    labels = []
    listener.lane_begins = lambda one: (labels.append(one.label), listener._note("begins", one.name, 0))  # type: ignore[method-assign]
    run(spec(train="epochs = 2; batch = 16; repeats = 2", more="seed = 42"), observer=listener, ways=ALONE)
    single = [("begins", "run", 0), ("epoch", "run", 1), ("epoch", "run", 2)]
    assert listener.events == [("data", "Digits", 0), *single, *single, ("ends", "run", 2)]
    assert labels == ["run, seed 42 (1 of 2)", "run, seed 43 (2 of 2)"]


def test_gradients_are_proved_once_at_the_first_seed() -> None:
    listener = Listener()
    repeated = run(spec(train="repeats = 3", expect="gradient_error < 1e-7"), observer=listener)
    assert [event for event, _, _ in listener.events].count("proving") == 1
    assert repeated.gradient_error == run(spec(expect="gradient_error < 1e-7")).gradient_error


# Repeats that end apart


def stopping(monkeypatch: pytest.MonkeyPatch, stops: dict[int, int]) -> RunResult:
    """Run three repeats of six epochs, of which those of `stops` end after as many."""

    def flat(plan: Plan, epoch: int, figures: dict[str, float]) -> None:
        last = stops.get(plan.experiment.seed, 6)
        figures["loss"] = 10.0 * plan.experiment.seed + epoch
        figures["test_loss"] = 5.0 if epoch >= last - 1 else 100.0 - epoch

    changed(monkeypatch, flat)
    early = "epochs = 6; batch = 16; repeats = 3; early_stop = patience(1, of=test_loss)"
    return run(spec(train=early, expect="loss < 99"))


def test_means_are_of_the_epochs_that_all_have_and_the_final_ones_of_each_ones_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = stopping(monkeypatch, {0: 5, 2: 3})["run"]
    assert [len(one.history["loss"]) for one in found.repeats] == [5, 6, 3]
    assert found.history["loss"] == [10.0 + epoch for epoch in (1, 2, 3)]
    assert len(found.epoch_seconds) == 3
    assert found.final("loss") == pytest.approx((5 + 16 + 23) / 3)
    assert found.stopped == "after epochs 5, 3 (seeds 0, 2): test_loss did not improve for 1 epoch"
    assert found.status == "done"


def test_one_repeat_that_stopped_is_named_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    result = stopping(monkeypatch, {1: 3})
    assert result["run"].stopped == "after epoch 3 (seed 1): test_loss did not improve for 1 epoch"
    assert [one["epochs"] for one in result.summary["lanes"][0]["repeats"]] == [6, 3, 6]


def test_a_repeat_that_diverges_makes_the_lane_diverge_and_the_others_are_trained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    honest = Plan.train_batch

    def broken(plan: Plan, number: int) -> Any:
        loss, size = honest(plan, number)
        return (math.nan if plan.experiment.seed == 43 else loss), size

    monkeypatch.setattr(Plan, "train_batch", broken)
    result = run(spec(train="epochs = 2; batch = 16; repeats = 3", more="seed = 42", expect="loss < 99"), ways=ALONE)
    found = result["run"]
    assert [one.status for one in found.repeats] == ["done", "diverged", "done"]
    assert found.status == "diverged"
    assert found.message.startswith("1 of 3 repeats diverged; seed 43: the loss became nan in epoch 1, batch 1 of 4")
    first, _, third = found.repeats  # the means are of those that came to their end
    pairs = zip(first.history["loss"], third.history["loss"], strict=True)
    assert found.history["loss"] == pytest.approx([(one + other) / 2 for one, other in pairs])
    interval = result.summary["lanes"][0]["intervals"]["loss"]
    assert (interval["n"], interval["mean"]) == (2, pytest.approx(found.final("loss")))
    assert (result.verdicts[0].held, result.verdicts[0].detail, result.exit_code) == (False, "lane run diverged", 1)
    write_record(result, tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*.npz")) == ["seed-42.npz", "seed-44.npz"]


@pytest.mark.parametrize(
    ("repeat", "epoch", "message", "epochs"),
    [
        (1, 2, "in repeat 1 of 3, seed 42, after 2 of 4 epochs", 2),
        (2, 1, "in repeat 2 of 3, seed 43, after 1 of 4 epochs", 4),
        (3, 0, "in repeat 3 of 3, seed 44, after 0 of 4 epochs", 4),
    ],
)
def test_ctrl_c_keeps_the_repeats_before_and_leaves_the_broken_one_out_of_the_means(
    repeat: int, epoch: int, message: str, epochs: int
) -> None:
    class Pressing(Listener):
        def lane_begins(self, lane: LaneResult) -> None:
            self.now = lane.repeat
            if (lane.repeat, epoch) == (repeat, 0):
                raise KeyboardInterrupt

        def epoch_done(self, lane: LaneResult) -> None:
            if (lane.repeat, len(lane.epoch_seconds)) == (repeat, epoch):
                raise KeyboardInterrupt

    text = spec(race=RACE, train="epochs = 4; batch = 16; repeats = 3", more="seed = 42", expect="SGD.loss < 99")
    result = run(text, observer=Pressing(), ways=ALONE)
    assert list(result) == ["SGD"]
    found = result["SGD"]
    assert (found.status, found.message, len(found.repeats)) == ("interrupted", message, repeat)
    assert len(found.history["loss"]) == epochs
    whole = [one for one in found.repeats if one.status == "done"] or found.repeats
    assert found.final("loss") == pytest.approx(np.mean([one.history["loss"][-1] for one in whole]))
    assert (result.exit_code, result.verdicts[0].held) == (130, None)


def test_ctrl_c_while_a_repeat_is_set_up_keeps_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = in_process_module.Turns

    def pressed(group: Any, *rest: Any) -> Any:
        if group[0].experiment.seed == 1:
            raise KeyboardInterrupt
        return honest(group, *rest)

    monkeypatch.setattr(in_process_module, "Turns", pressed)
    result = run(spec(race=RACE, train="epochs = 2; batch = 16; repeats = 3"), ways=ALONE)
    assert list(result) == ["SGD"]
    assert (result["SGD"].status, result["SGD"].message) == ("interrupted", "after 1 of 3 repeats")
    assert result.exit_code == 130
    assert list(run(spec(train="repeats = 2"), "seed=1", ways=ALONE)) == [], "with none there is no lane"


# Verdicts


def together(*losses: list[float]) -> LaneResult:
    """A lane of repeats with these training losses."""
    return repeats_module._together([lane(*values) for values in losses], len(losses))


def test_epochs_to_a_loss_are_the_mean_and_never_where_one_never_got_there() -> None:
    found = together([3, 1, 1], [3, 3, 1], [1, 1, 1])
    assert found.epochs_to(2) == 2
    assert found.seconds_to(2) == 2
    assert found.epochs_to(3) == 1
    assert found.epochs_to(0.5) == together([3, 1], [3, 3]).epochs_to(2) == math.inf
    assert together([3, 1], [3, 3]).seconds_to(2) == math.inf


def test_a_common_loss_is_one_that_every_repeat_reached() -> None:
    assert common_loss([together([3, 0.2], [3, 0.71]), lane(2.0, 0.5)]) == 0.71
    assert common_loss([together([3, 0.2], [3, 0.1]), lane(2.0, 0.5)]) == 0.5


@pytest.mark.parametrize(
    ("expect", "held", "detail"),
    [
        ("run.loss < 3.5", True, "run 3, worst 4 of 3"),
        ("run.loss < 2.5", False, "run 3, worst 4 of 3"),
        ("loss > 1 and test_accuracy > 0.4", True, "run 3, worst 4 of 3; run 0.5, worst 0.25 of 3"),
        ("epochs_to(loss=3) < 99", False, "run never, worst never of 3"),
        ("epochs_to(loss=4) == 1", True, "run 1 epochs, worst 1 of 3"),
        ("params == 4780 and gradient_error < 1e-7", True, ""),
    ],
)
def test_the_mean_counts_and_the_worst_is_printed(
    expect: str, held: bool, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scripted(plan: Plan, epoch: int, figures: dict[str, float]) -> None:
        seed = plan.experiment.seed
        figures |= {"loss": 2.0 + seed, "test_accuracy": (0.5, 0.75, 0.25)[seed]}

    changed(monkeypatch, scripted)
    (verdict,) = run(spec(train="epochs = 2; batch = 16; repeats = 3", expect=expect)).verdicts
    assert verdict.held is held
    assert verdict.detail == detail or (not detail and "worst" not in verdict.detail)


# Records


def test_records_have_the_means_and_the_single_ones(result: RunResult, tmp_path: Path) -> None:
    write_record(result, tmp_path)
    record = json.loads((tmp_path / "history.json").read_text())
    assert record == history_record(result)
    for name, whole in result.items():
        kept = record["lanes"][name]
        assert {figure: kept[figure] for figure in whole.history} == whole.history
        assert [one["seed"] for one in kept["repeats"]] == [42, 43, 44]
        for one, alone in zip(kept["repeats"], whole.repeats, strict=True):
            assert {figure: one[figure] for figure in alone.history} == alone.history
            assert one["seconds"] == alone.epoch_seconds
    for summary, whole in zip(result.summary["lanes"], result.values(), strict=True):
        assert summary["train"]["repeats"] == 3
        assert summary["final"] == {name: values[-1] for name, values in whole.history.items()}
        assert [(one["seed"], one["status"]) for one in summary["repeats"]] == [(s, "done") for s in (42, 43, 44)]
        assert [one["final"]["loss"] for one in summary["repeats"]] == [one.final("loss") for one in whole.repeats]
        assert summary["epochs_to_common_loss"] == whole.epochs_to(result.summary["common_loss"])


def test_weights_of_every_repeat_are_written(result: RunResult, tmp_path: Path) -> None:
    written, problems = write_record(result, tmp_path)
    weights = [f"{name}/seed-{seed}.npz" for name in ("SGD", "Adam") for seed in (42, 43, 44)]
    assert (written, problems) == (["history.json", "summary.json", "trace.json", *weights], [])
    for name, whole in result.items():
        for one in whole.repeats:
            with np.load(tmp_path / name / f"seed-{one.seed}.npz", allow_pickle=False) as stored:
                for key, parameter in one.network.named_parameters().items():
                    np.testing.assert_array_equal(stored[key], parameter.data)


@pytest.mark.parametrize(
    ("lanes", "folders"),
    [
        (["SGD", "Adam"], ["SGD", "Adam"]),
        (["Adam,lr=0.01", "Adam,lr=1e-3"], ["Adam,lr=0.01", "Adam,lr=1e-3"]),
        (["a,x=1/2", "a,x=1*2"], ["a,x=1_2", "a,x=1_2-2"]),
        (["adam", "Adam", "ADAM"], ["adam", "Adam-2", "ADAM-3"]),
        (["..", "a.", "层"], ["_", "a", "层"]),
        (["x" * 300, "x" * 300 + "y"], ["x" * 200, "x" * 200 + "-2"]),
        (["层" * 90], ["层" * 66]),
        (['w="a:b<c>|d?"'], ["w=_a_b_c__d__"]),
    ],
)
def test_every_lane_has_its_own_folder_with_a_portable_name(lanes: list[str], folders: list[str]) -> None:
    assert folder_names(lanes) == folders


# What of a lane is whose


def test_the_rate_of_a_lane_is_the_mean_of_its_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed 0 has its reduction two epochs after the others."""

    def change(plan: Plan, epoch: int, figures: dict[str, float]) -> None:
        figures["val_loss"] = float(min(epoch, 3 if plan.experiment.seed == 0 else 1)) * -1

    changed(monkeypatch, change)
    text = spec(
        optimizer="SGD(lr=plateau(0.6, patience=1, gamma=0.5))",
        train="epochs = 5; batch = 16; validation = 0.2; repeats = 3",
    )
    result = run(text)
    first, *others = ([0.6, 0.6, 0.6, 0.6, 0.3], *[[0.6, 0.6, 0.3, 0.15, 0.075]] * 2)
    assert [one.rates for one in result["run"].repeats] == [first, *others]
    means = [(a + 2 * b) / 3 for a, b in zip(first, others[0], strict=True)]
    assert history_record(result)["lanes"]["run"]["lr"] == pytest.approx(means, rel=1e-15)
    assert result["run"].rates[:2] == [0.6, 0.6]  # to the last bit, where repeats agree


def test_the_network_of_a_lane_is_that_of_a_repeat_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Plan.train_batch

    def broken(plan: Plan, number: int) -> Any:
        loss, weight = honest(plan, number)
        return (math.nan if plan.experiment.seed == 42 else loss), weight

    monkeypatch.setattr(Plan, "train_batch", broken)
    train = "epochs = 2; batch = 16; repeats = 3; standardise = true; validation = 0.5"
    found = run(spec(train=train, more="seed = 42"), ways=ALONE)["run"]
    first, second, _ = found.repeats
    assert [first.status, second.status] == ["diverged", "done"]
    assert found.network is second.network
    assert found.scaling is second.scaling
    assert found.fingerprints == first.fingerprints  # lanes are compared seed by seed
    assert (found.tables, found.trace, found.gradients, found.dead, found.restored_epoch) == ({}, {}, {}, {}, 0)
