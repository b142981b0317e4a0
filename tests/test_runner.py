"""Running a program: histories, verdicts, lanes that diverge, interrupts, and data that stands in for other data."""

from __future__ import annotations

import math
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_lanes import Listener, lane
from tiny_spec import ALONE, OFFLINE, compiled, run, spec

from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import Plan
from nnspec.data.source import Access, DataError, DataUnavailable
from nnspec.executors import in_process as in_process_module
from nnspec.results.lane import LaneResult, epochs_to
from nnspec.results.run import common_loss
from nnspec.runner.gradients import gradient_bound
from nnspec.training import progress as progress_module

RACE = "SGD(lr=0.1); Adam(lr=0.01)"


# Histories


def test_history_has_a_float_an_epoch_for_every_figure() -> None:
    result = run(spec(race=RACE, train="epochs = 3; batch = 16"))
    assert list(result) == ["SGD", "Adam"]
    for one in result.values():
        assert list(one.history) == ["loss", "accuracy", "test_loss", "test_accuracy"]
        assert all(len(values) == 3 for values in one.history.values())
        assert all(type(value) is float for values in one.history.values() for value in values)
        assert (len(one.epoch_seconds), one.epochs, one.status, one.message) == (3, 3, "done", "")
        assert one.seconds == math.fsum(one.epoch_seconds)


def test_a_spec_without_metrics_has_losses_only() -> None:
    assert list(run(spec(more="metrics = []"))["run"].history) == ["loss", "test_loss"]


def test_means_of_an_epoch_weigh_batches_by_their_size() -> None:
    text = spec(train="epochs = 2; batch = 16")
    found, program = run(text)["run"], compiled(text)
    data = program.program.lanes[0].data[0].source.load(OFFLINE)
    plan = plan_alone(program.program.lanes[0], program.layouts["run"], data)
    for epoch in range(2):
        plan.begin(epoch)
        steps = [plan.train_batch(number) for number in range(plan.batches)]
        assert [size for _, size in steps] == [16, 16, 16, 2]
        assert found.history["loss"][epoch] == pytest.approx(sum(loss * size for loss, size in steps) / 50, rel=1e-12)
        assert (found.history["accuracy"][epoch],) == plan.figures()


def test_an_observer_hears_of_everything_in_order() -> None:
    listener = Listener()
    run(spec(race=RACE, expect="gradient_error < 1"), observer=listener, ways=ALONE)
    trained = [(e, n, c) for n in ("SGD", "Adam") for e, c in (("begins", 0), ("epoch", 1), ("epoch", 2), ("ends", 2))]
    assert listener.events == [("data", "Digits", 0), ("proving", "SGD", 0), *trained]


def test_running_twice_gives_the_same_bits() -> None:
    text = spec("Linear(6); ReLU; Dropout(0.3); Linear(10)", race=RACE, more="seed = 3")
    one, two, other = run(text), run(text), run(text, "seed=4")
    for name in one:
        assert one[name].history == two[name].history != other[name].history
        for a, b in zip(one[name].network.parameters(), two[name].network.parameters(), strict=True):
            assert a.data.tobytes() == b.data.tobytes()


@pytest.mark.parametrize(
    ("lanes", "loss"),
    [
        ([], None),
        ([lane()], None),
        ([lane(0.5, 0.0)], None),
        ([lane(2.0, 0.511)], 0.52),
        ([lane(2.0, 0.5)], 0.5),
        ([lane(2.0, 0.1), lane(2.2, 0.587)], 0.59),
        ([lane(2.0, 0.1, 0.9), lane(1.0)], 1.0),
        ([lane(123.4)], 130.0),
        ([lane(3.14e-7)], 3.2e-7),
        ([lane(0.5), lane(status="diverged")], 0.5),
    ],
)
def test_common_loss_is_the_lowest_that_all_reached_rounded_up(lanes: list[LaneResult], loss: float | None) -> None:
    assert common_loss(lanes) == loss
    if loss is not None:
        assert all(math.isfinite(epochs_to(one.history["loss"], loss)) for one in lanes if one.history["loss"])


@pytest.mark.parametrize(
    ("losses", "target", "epochs"),
    [([3, 2, 1], 2, 2), ([3, 2, 1], 3.5, 1), ([3, 1, 2], 1.5, 2), ([3, 2], 1, math.inf), ([], 1, math.inf)],
)
def test_epochs_to_a_loss(losses: list[float], target: float, epochs: float) -> None:
    assert epochs_to(losses, target) == epochs


# Verdicts


@pytest.mark.parametrize(
    ("expect", "held", "detail"),
    [
        ("Adam.loss < 99", True, "Adam "),
        ("Adam.loss < 0", False, "Adam "),
        ("loss < 99", True, "SGD "),
        ("params == 4780", True, "4,780"),
        ("SGD.epochs_to(loss=99) == 1", True, "SGD 1 epoch"),
        ("SGD.epochs_to(loss=0) > 5", True, "SGD never"),
        ("gradient_error < 1e-7", True, "e-"),
        ("gradient_error < 1e-300 or loss < 0", False, ""),
        ("SGD.test_accuracy >= 0 and Adam.test_accuracy <= 1", True, "SGD "),
    ],
)
def test_statements_are_judged(expect: str, held: bool, detail: str) -> None:
    result = run(spec(race=RACE, expect=expect))
    (verdict,) = result.verdicts
    assert (verdict.text, verdict.held) == (expect, held)
    assert detail in verdict.detail
    assert result.exit_code == (0 if held else 1)


@pytest.mark.parametrize(
    ("expect", "held", "detail"),
    [
        ("SGD.loss < 99", False, "lane SGD diverged"),
        ("SGD.loss > 99", False, "lane SGD diverged"),
        ("SGD.epochs_to(loss=1) < 3", False, "lane SGD diverged"),
        ("Adam.loss < 99", True, "Adam "),
        ("gradient_error < 1e-7", True, "e-"),
    ],
)
def test_nothing_holds_of_a_lane_that_diverged_but_what_was_proved_before(expect: str, held: bool, detail: str) -> None:
    result = run(spec(race="SGD(lr=1e30); Adam", expect=expect))
    assert (result.verdicts[0].held, result.exit_code) == (held, 1)
    assert detail in result.verdicts[0].detail


def test_gradients_that_cannot_be_measured_miss_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    # Weights of zero put every unit of the ReLU on its kink, and here nothing moves them off it.
    monkeypatch.setattr("nnspec.runner.gradients.MOVE", 0.0)
    result = run(spec("Linear(6, init=zeros); ReLU; Linear(10)", expect="gradient_error < 1"))
    assert math.isnan(result.gradient_error or 0)
    assert (result.verdicts[0].held, result.verdicts[0].detail) == (False, "could not be measured")
    assert (result.exit_code, result.summary["gradient_error"]) == (1, None)


# Divergence


def test_a_lane_that_diverges_says_where_and_what_to_try_and_the_others_finish() -> None:
    text = spec(race="SGD(lr=1e30); Adam", train="epochs = 3; batch = 16")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = run(text)
    lost, fine = result["SGD"], result["Adam"]
    assert (lost.status, fine.status, result.exit_code) == ("diverged", "done", 1)
    assert [len(lane.history["loss"]) for lane in (lost, fine)] == [0, 3]
    for words in (
        "nan",
        "epoch 1, batch 2 of 4",
        "SGD(lr=1e+30)",
        "tiny.nn:4:15",
        "try a smaller learning rate, such as lr=0.01",
    ):
        assert words in lost.message


def test_divergence_that_only_the_test_sees_is_seen() -> None:
    result = run(spec(optimizer="SGD(lr=1e30)", train="epochs = 2; batch = 50"))
    assert result["run"].status == "diverged"
    assert "the test loss became nan after epoch 1" in result["run"].message


def test_losses_that_are_numbers_and_whose_sum_is_none_diverge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plan, "train_batch", lambda plan, number: (1e307, 50))
    result = run(spec(train="epochs = 1; batch = 50"))
    assert result["run"].status == "diverged"
    assert "the sum of the losses became inf in epoch 1" in result["run"].message


def test_finished_epochs_of_a_lane_that_diverges_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    honest, calls = Plan.train_batch, []

    def broken(plan: Plan, number: int) -> Any:
        calls.append(number)
        loss, size = honest(plan, number)
        return (math.nan if len(calls) == 6 else loss), size

    monkeypatch.setattr(Plan, "train_batch", broken)
    found = run(spec(train="epochs = 3; batch = 16"))["run"]
    assert found.status == "diverged"
    assert "epoch 2, batch 2 of 4" in found.message
    assert {len(values) for values in found.history.values()} == {1} == {len(found.epoch_seconds)}


# Ctrl-C


@pytest.mark.parametrize(
    ("stop", "statuses", "epochs"),
    [
        (("proving", "SGD", 0), [], []),
        (("begins", "SGD", 0), ["interrupted"], [0]),
        (("epoch", "SGD", 1), ["interrupted"], [1]),
        (("epoch", "Adam", 2), ["done", "interrupted"], [3, 2]),
        (("ends", "SGD", 3), ["done"], [3]),
    ],
)
def test_ctrl_c_keeps_what_was_trained(stop: tuple[str, str, int], statuses: list[str], epochs: list[int]) -> None:
    text = spec(race=RACE, train="epochs = 3; batch = 16", expect="gradient_error < 1\nAdam.loss < 99\nSGD.loss < 99")
    result = run(text, observer=Listener(stop), ways=ALONE)
    assert [one.status for one in result.values()] == statuses
    assert [len(one.history["loss"]) for one in result.values()] == epochs
    assert (result.interrupted, result.exit_code) == (True, 130)
    assert result.summary["interrupted"] is True
    judged = {verdict.text: verdict.held for verdict in result.verdicts}
    assert judged["Adam.loss < 99"] is None
    assert judged["SGD.loss < 99"] is (True if "done" in statuses else None)
    assert judged["gradient_error < 1"] is (None if stop[0] == "proving" else True)


def test_ctrl_c_while_a_lane_is_set_up_keeps_the_lanes_before(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = in_process_module.Turns

    def pressed(group: Any, *rest: Any) -> Any:
        if group[0].experiment.name == "Adam":
            raise KeyboardInterrupt
        return honest(group, *rest)

    monkeypatch.setattr(in_process_module, "Turns", pressed)
    result = run(spec(race=RACE), ways=ALONE)
    assert (list(result), result["SGD"].status, result.exit_code) == (["SGD"], "done", 130)


@pytest.mark.parametrize("stop", ["", "; early_stop = patience(9, of=loss, restore_best=true)"], ids=["last", "best"])
def test_ctrl_c_at_any_line_of_an_epochs_end_leaves_whole_epochs(stop: str) -> None:
    """Pressed before every line that adds the third epoch, one run for each: two epochs are there, or all three."""
    text = spec(train=f"epochs = 4; batch = 25{stop}", more="metrics = [accuracy, confusion]")
    whole = {epochs: run(text, f"train.epochs={epochs}")["run"] for epochs in (2, 3)}
    seen: set[int] = set()
    line = 0
    while True:
        line += 1
        found, pressed = interrupted_at(text, line)
        if not pressed:
            break
        seen.add(done := len(found.records))
        same = whole[done]
        assert (found.status, found.message) == ("interrupted", f"after {done} of 4 epochs"), line
        assert (found.history, found.trace, found.fingerprints) == (same.history, same.trace, same.fingerprints), line
        assert (found.tables, found.restored_epoch) == (same.tables, same.restored_epoch), line
        for one, other in zip(found.network.parameters(), same.network.parameters(), strict=True):
            assert one.data.tobytes() == other.data.tobytes(), line
    assert line > 12
    assert seen == {2, 3}


def interrupted_at(text: str, line: int) -> tuple[LaneResult, bool]:
    """Train, and press Ctrl-C before the n-th line that the end of the third epoch runs; say whether there were so
    many."""
    left, pressed = line, False

    def lines(frame: Any, event: str, _: Any) -> Any:
        nonlocal left, pressed
        if event == "line" and not pressed:
            left -= 1
            if left == 0:
                pressed = True
                raise KeyboardInterrupt
        return lines

    def calls(frame: Any, event: str, _: Any) -> Any:
        progress, name = frame.f_locals.get("self"), frame.f_code.co_name
        if pressed or not isinstance(progress, progress_module.Progress):
            return None
        third = (name == "add" and progress.done == 2) or (name in ("_follow_best", "stops") and progress.done == 3)
        return lines if third else None

    before = sys.gettrace()
    sys.settrace(calls)
    try:
        found = run(text)["run"]
    finally:
        sys.settrace(before)
    return found, pressed


@pytest.mark.parametrize("where", ["tensor_digests", "next_digest", "LastEpoch.update", "BestEpoch.update"])
def test_ctrl_c_amid_the_digests_of_an_epoch_leaves_those_of_the_last_whole_one(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables and the digest of orders are of as many epochs as the history has."""
    stop = "early_stop = patience(9, of=loss, restore_best=true)"
    text = spec(train=f"epochs = 5; {stop}", more="metrics = [accuracy, confusion]")
    done = 3 if where == "BestEpoch.update" else 2  # it comes when the epoch counts already
    whole = run(text, f"train.epochs={done}")["run"]
    owner, _, name = where.rpartition(".")
    holder = getattr(progress_module, owner) if owner else progress_module
    honest, calls = getattr(holder, name), iter(range(9))

    def pressed(*arguments: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return honest(*arguments)

    monkeypatch.setattr(holder, name, pressed)
    found = run(text)["run"]
    assert (found.status, found.message) == ("interrupted", f"after {done} of 5 epochs")
    assert (found.history, found.tables, found.trace) == (whole.history, whole.tables, whole.trace)
    assert found.fingerprints == whole.fingerprints


def test_an_interrupted_lane_has_a_network_that_can_be_used() -> None:
    result = run(spec(train="epochs = 9"), observer=Listener(("epoch", "run", 2)))
    assert result["run"].message == "after 2 of 9 epochs"
    assert result["run"].network.forward(np.zeros((3, 784))).shape == (3, 10)


# Data


def test_the_first_available_alternative_is_used_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("NNSPEC_DATA_DIR", raising=False)
    result = run(spec(data="MNIST(train=50, test=20) or Digits(train=40, test=20)"))
    (use,) = result.data
    assert (use.source, use.asked_for, use.stands_in, use.train) == ("Digits", "MNIST", True, 40)
    assert "MNIST is not in the cache folder" in use.reason
    assert result.summary["data"][0]["stands_in"] is True
    with pytest.raises(DataUnavailable, match="MNIST is not in the cache"):
        run(spec(data="MNIST(train=50, test=20)"))


def test_a_mistyped_folder_is_not_hidden_by_an_alternative(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist") as caught:
        run(spec(data="MNIST(train=50) or Digits(train=50)"), access=Access(tmp_path / "nowhere", offline=True))
    assert not isinstance(caught.value, DataUnavailable)


def test_the_real_thing_does_not_stand_in_for_anything(mnist_dir: Path) -> None:
    result = run(spec(data="MNIST(train=50, test=20) or Digits(train=50)"), access=Access(mnist_dir, offline=True))
    assert [(use.source, use.stands_in, use.reason) for use in result.data] == [("MNIST", False, "")]


def test_lanes_with_the_same_data_load_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from nnspec.data.digits import Digits

    honest, loads = Digits.load, []
    monkeypatch.setattr(Digits, "load", lambda source, access: (loads.append(source), honest(source, access))[1])
    run(spec(race="SGD; Momentum; Adam"))
    assert len(loads) == 1


# Proofs


@pytest.mark.parametrize(
    ("model", "race", "proofs"),
    [
        ("Linear(6); ReLU; Linear(10)", "SGD; Adam", ["SGD"]),
        ("Linear(6, init=xavier_normal); Tanh; Linear(10)", "SGD; Adam", ["SGD"]),
        ("Linear(6); ReLU; Linear(10)", "a { SGD; seed = 1 }; b { SGD; seed = 2 }", ["a", "b"]),
        ("first: Linear(6); ReLU; Linear(10)", "a { SGD; model.first.init = zeros }; b { SGD }", ["a", "b"]),
        ("Linear(6); ReLU; Linear(10)", "a { SGD; loss = MSE }; b { SGD }", ["a", "b"]),
    ],
)
def test_lanes_with_the_same_calculus_share_a_proof(model: str, race: str, proofs: list[str]) -> None:
    listener = Listener()
    result = run(spec(model, race=race, expect="gradient_error < 1"), observer=listener)
    assert [name for event, name, _ in listener.events if event == "proving"] == proofs
    assert set(result.gradients) == set(result)


@pytest.mark.parametrize(
    ("expect", "bound"),
    [
        ("", 1e-7),
        ("loss < 5", 1e-7),
        ("gradient_error < 1e-5", 1e-5),
        ("gradient_error <= 1e-9", 1e-9),
        ("1e-6 > gradient_error", 1e-6),
        ("gradient_error < 1e-6 and loss < 5", 1e-6),
        ("gradient_error < 1e-5\ngradient_error < 1e-6", 1e-6),
        ("Adam.gradient_error < 1e-3", 1e-7),
        ("SGD.gradient_error < 1e-3", 1e-3),
        ("gradient_error > 1e-12", 1e-7),
    ],
)
def test_gradients_are_held_against_the_bound_of_the_spec(expect: str, bound: float) -> None:
    program = compiled(spec(race=RACE, expect=expect)).program
    assert gradient_bound(program, ("SGD",)) == bound
