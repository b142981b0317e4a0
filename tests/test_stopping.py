"""Early stopping: exactly when a calculation by hand says, for figures that fall and figures that rise."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_spec import run, spec

from nnspec import engine as nn
from nnspec.compiler.plan import Plan
from nnspec.engine import PARTS
from nnspec.engine.metrics.contract import higher_is_better, metric_of
from nnspec.engine.part import Part
from nnspec.training import train as train_module


def stops_after(rule: nn.Stopping, values: list[float]) -> int | None:
    """Return after how many values a fresh watcher says stop, or None where it never does."""
    watcher = rule.watch()
    return next((count for count, value in enumerate(values, 1) if watcher.stops(value)), None)


@pytest.mark.parametrize(
    ("rule", "values", "epoch"),
    [
        (nn.Patience(1), [3.0, 2.0, 1.0], None),
        (nn.Patience(1), [3.0, 3.0], 2),
        (nn.Patience(1), [3.0, 4.0, 1.0], 2),
        (nn.Patience(2), [3.0, 4.0, 3.5], 3),
        (nn.Patience(2), [3.0, 4.0, 2.9, 2.95, 2.9, 1.0], 5),
        (nn.Patience(3), [3.0, 4.0, 5.0, 2.0, 2.1, 2.2], None),
        (nn.Patience(3), [3.0, 4.0, 5.0, 2.0, 2.1, 2.2, 2.3], 7),
        # Each step improves on the one before, and the third by more than 0.5 on the best that counted, 3.
        (nn.Patience(2, min_delta=0.5), [3.0, 2.75, 2.25, 2.0, 1.9], 5),
        (nn.Patience(2, min_delta=0.5), [3.0, 2.75, 2.5, 2.25], 3),
        (nn.Patience(1, min_delta=0.5), [3.0, 2.5], 2),
        (nn.Patience(2, of="accuracy"), [0.1, 0.2, 0.3, 0.4], None),
        (nn.Patience(2, of="val_accuracy"), [0.5, 0.4, 0.3], 3),
        (nn.Patience(2, of="test_accuracy"), [0.5, 0.4, 0.6, 0.6, 0.6], 5),
        (nn.Patience(1, of="val_accuracy", min_delta=0.1), [0.5, 0.65, 0.7], 3),
        (nn.Patience(1, of="test_loss"), [0.5, 0.4, 0.6], 3),
        (nn.Patience(2), [float("inf"), float("inf"), 1.0], 2),
    ],
)
def test_patience_ends_when_a_calculation_by_hand_says(
    rule: nn.Patience, values: list[float], epoch: int | None
) -> None:
    assert stops_after(rule, values) == epoch
    assert stops_after(rule, values) == epoch, "a watcher of its own for each training"


def test_a_metric_says_whether_more_of_it_is_better() -> None:
    assert [higher_is_better(f"{prefix}accuracy") for prefix in ("", "val_", "test_")] == [True] * 3
    assert not any(higher_is_better(figure) for figure in ("loss", "val_loss", "test_loss", "params", "epochs_to"))

    class Slips(nn.Metric):
        spec_name = "val_slips"  # a name of its own with the prefix in it
        begin = add = result = nn.Metric.result

    try:
        assert metric_of("val_slips") is metric_of("test_val_slips") is Slips
        assert not higher_is_better("val_slips")
    finally:
        del PARTS["metric"]["val_slips"]


def test_the_rule_is_a_value_that_reads_as_a_spec_writes_it() -> None:
    rule = nn.Patience(5, of="val_accuracy", min_delta=0.01)
    assert (str(nn.Patience(5)), str(rule)) == ("patience(5)", "patience(5, of=val_accuracy, min_delta=0.01)")
    assert nn.Patience(5) == nn.Patience(5, of="val_loss") != rule
    assert rule.reason == "val_accuracy did not improve by more than 0.01 for 5 epochs"
    assert nn.Patience(1).reason == "val_loss did not improve for 1 epoch"
    assert str(nn.Patience.signature()) == "epochs, of=val_loss, min_delta=0.0, restore_best=false"
    assert issubclass(PARTS["stopping rule"]["patience"], Part)
    with pytest.raises(AttributeError, match="cannot be changed"):
        rule.epochs = 3


@pytest.mark.parametrize(
    "arguments", [{"epochs": 0}, {"epochs": 1.5}, {"epochs": 2, "min_delta": -1}, {"epochs": 2, "of": 3}]
)
def test_arguments_out_of_range_are_refused_by_name(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"`{list(arguments)[-1]}`"):
        nn.Patience(**arguments)


# Lanes


def scripted(monkeypatch: pytest.MonkeyPatch, **figures: list[float]) -> None:
    """Replace the figures of every lane."""
    honest = train_module._records

    def epochs(plan: Plan, done: int) -> Any:
        for epoch, (seconds, found) in enumerate(honest(plan, done)):
            yield seconds, found | {name: values[epoch] for name, values in figures.items()}

    monkeypatch.setattr(train_module, "_records", epochs)


@pytest.mark.parametrize(
    ("rule", "figures", "done", "stopped"),
    [
        (
            "patience(2)",
            {"val_loss": [3, 2, 2.5, 2.2, 1, 1]},
            4,
            "after epoch 4: val_loss did not improve for 2 epochs",
        ),
        ("patience(2)", {"val_loss": [3, 2, 2.5, 1.9, 1, 0.5]}, 6, ""),
        (
            "patience(1, of=val_accuracy)",
            {"val_accuracy": [0.5, 0.6, 0.6, 1, 1, 1]},
            3,
            "after epoch 3: val_accuracy did not improve for 1 epoch",
        ),
        (
            "patience(2, of=loss, min_delta=0.5)",
            {"loss": [3.0, 2.6, 2.5, 1, 1, 1]},
            3,
            "after epoch 3: loss did not improve by more than 0.5 for 2 epochs",
        ),
        ("patience(5)", {"val_loss": [1, 2, 3, 4, 5, 6]}, 6, ""),  # it would stop after the last epoch: not early
        ("none", {"val_loss": [1, 1, 1, 1, 1, 1]}, 6, ""),
    ],
)
def test_a_lane_stops_exactly_then_and_says_so(
    rule: str, figures: dict[str, list[float]], done: int, stopped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, **figures)
    result = run(spec(train=f"epochs = 6; batch = 16; validation = 0.2; early_stop = {rule}", expect="loss < 99"))
    lane = result["run"]
    assert (lane.status, lane.message, lane.stopped, lane.epochs) == ("done", "", stopped, 6)
    assert {len(values) for values in lane.history.values()} == {done} == {len(lane.epoch_seconds)}
    assert result.exit_code == 0
    assert result.summary["lanes"][0]["stopped"] == stopped


def test_what_is_trained_before_an_early_stop_is_what_is_trained_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = "epochs = 6; batch = 16; validation = 0.2"
    whole = run(spec(optimizer="SGD(lr=cosine(0.1))", train=settings))["run"]
    scripted(monkeypatch, val_loss=[3, 3, 3, 3, 3, 3])
    early = run(spec(optimizer="SGD(lr=cosine(0.1))", train=f"{settings}; early_stop = patience(2)"))["run"]
    assert early.history["loss"] == whole.history["loss"][:3]
    assert early.rates == whole.rates[:3], "a schedule goes on by the epochs that were asked for"


def test_lanes_of_a_race_stop_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, test_loss=[2, 1, 1, 1, 1, 1])
    text = spec(
        race="a: SGD(lr=0.1); b { SGD(lr=0.1); train.early_stop = none }",
        train="epochs = 6; batch = 16; early_stop = patience(1, of=test_loss)",
    )
    result = run(text)
    assert [len(lane.history["loss"]) for lane in result.values()] == [3, 6]
    assert [bool(lane.stopped) for lane in result.values()] == [True, False]
