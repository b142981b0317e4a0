"""Schedules: their closed forms, PyTorch's at whole epochs, and training with a rate that changes at every step."""

from __future__ import annotations

import copy
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_plan import EPOCHS, assert_equal_training, by_hand, make_plan, train
from tiny_spec import run, spec

from nnspec import engine as nn
from nnspec.checker import check
from nnspec.data.source import Dataset
from nnspec.diagnostics import Source
from nnspec.engine import PARTS
from nnspec.engine.random import Stream, stream
from nnspec.results.epochs import EpochRecord
from nnspec.training import train as train_module

ORACLE = sorted((Path(__file__).parent / "oracle").glob("schedules*.json"))
CASES = [case for path in ORACLE for case in json.loads(path.read_text(encoding="utf-8"))["cases"]]
SCHEDULES = {
    "constant": nn.ConstantSchedule(0.1),
    "linear": nn.LinearSchedule(0.1, to=0.02),
    "step": nn.StepSchedule(0.1, every=3, gamma=0.5),
    "exponential": nn.ExponentialSchedule(0.1, gamma=0.9),
    "cosine": nn.CosineSchedule(0.1, to=0.02),
    "polynomial": nn.PolynomialSchedule(0.1, power=3, to=0.02),
    "piecewise": nn.PiecewiseSchedule(0.1, boundaries=[2, 3.5], values=(0.05, 0.01)),
    "cosine_restarts": nn.CosineRestartsSchedule(0.1, every=2, mult=2, to=0.02),
    "one_cycle": nn.OneCycleSchedule(0.1, up=0.4),
    "plateau": nn.PlateauSchedule(0.1, patience=2),
    "inverse": nn.InverseSchedule(0.1, gamma=0.3, power=0.75),
    "inverse_sqrt": nn.InverseSquareRootSchedule(0.1, warmup=2),
    "chain": nn.ChainSchedule([nn.LinearSchedule(0.1, to=0.05), nn.CosineSchedule(0.04)], at=[4]),
}
FALLING = {name: SCHEDULES[name] for name in SCHEDULES.keys() - {"cosine_restarts", "one_cycle"}}
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())


def warm(schedule: nn.Schedule, warmup: float) -> nn.Schedule:
    """The same schedule after a warm-up."""
    return type(schedule)(**{**vars(schedule), "warmup": warmup or schedule.warmup})


def test_every_schedule_is_tested_and_has_a_reference_case() -> None:
    ours = {name for name, part in PARTS["schedule"].items() if part.__module__.startswith("nnspec.")}
    assert ours == set(SCHEDULES) == {case["part"] for case in CASES}


def of_case(part: str, arguments: dict[str, Any]) -> nn.Schedule:
    """The schedule of a case of PyTorch's; the parts of a chain are pairs."""
    if part == "chain":
        arguments = arguments | {"schedules": [of_case(*each) for each in arguments["schedules"]]}
    return PARTS["schedule"][part](**arguments)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['part']}, {case['case']}")
def test_rates_are_pytorchs(case: dict[str, Any]) -> None:
    """At whole epochs; at every step where the case says how many an epoch has."""
    schedule, batches = of_case(case["part"], case["arguments"]), case.get("batches", 1)
    follower, ours = schedule.follow(), []
    for step in range(case["epochs"] * batches + 1):
        epoch, number = divmod(step, batches)
        ours.append(follower.rate(epoch + number / batches, case["epochs"], batches))
        if epoch < len(case.get("figures", ())):
            follower.tell(epoch + 1, {schedule.of: case["figures"][epoch]})
    np.testing.assert_allclose(ours, case["rates"], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("schedule", "epoch", "rate"),
    [
        (nn.ConstantSchedule(0.5), 7.25, 0.5),
        (nn.LinearSchedule(0.8), 2.5, 0.6),
        (nn.LinearSchedule(0.2, to=1.0), 2.5, 0.4),
        (nn.LinearSchedule(0.8), 10, 0.0),
        (nn.StepSchedule(1.0, every=4), 3.999, 1.0),
        (nn.StepSchedule(1.0, every=4), 4, 0.1),
        (nn.StepSchedule(1.0, every=4, gamma=0.5), 9.5, 0.25),
        (nn.ExponentialSchedule(1.0, gamma=0.25), 0.5, 0.5),
        (nn.ExponentialSchedule(3.0, gamma=0.5), 2, 0.75),
        (nn.CosineSchedule(1.0), 0, 1.0),
        (nn.CosineSchedule(1.0), 5, 0.5),
        (nn.CosineSchedule(1.0, to=0.5), 2.5, 0.75 + 0.25 * math.sqrt(0.5)),
        (nn.CosineSchedule(1.0, to=0.5), 10, 0.5),
        (nn.CosineSchedule(1.0, warmup=2), 0.5, 0.25),
        (nn.CosineSchedule(1.0, warmup=2), 6, 0.5),
        (nn.StepSchedule(1.0, every=4, warmup=0.5), 4.25, 1.0),
        (nn.StepSchedule(1.0, every=4, warmup=0.5), 4.5, 0.1),
        (nn.PolynomialSchedule(1.0), 2.5, 0.5625),
        (nn.PolynomialSchedule(1.0, power=1, to=0.5), 5, 0.75),
        (nn.PolynomialSchedule(1.0, power=3, to=0.5), 10, 0.5),
        (nn.PiecewiseSchedule(1.0, boundaries=[4, 6.5], values=[0.5, 2.0]), 3.999, 1.0),
        (nn.PiecewiseSchedule(1.0, boundaries=[4, 6.5], values=[0.5, 2.0]), 4, 0.5),
        (nn.PiecewiseSchedule(1.0, boundaries=[4, 6.5], values=[0.5, 2.0]), 6.5, 2.0),
        (nn.PiecewiseSchedule(1.0, boundaries=[], values=[]), 6.5, 1.0),
        (nn.CosineRestartsSchedule(1.0, every=2), 4, 1.0),
        (nn.CosineRestartsSchedule(1.0, every=2), 5, 0.5),
        (nn.CosineRestartsSchedule(1.0, every=1, mult=3), 2.5, 0.5),
        (nn.CosineRestartsSchedule(1.0, every=1, mult=3), 4, 1.0),
        (nn.CosineRestartsSchedule(1.0, every=1, mult=3, warmup=2), 4.5, 0.5),
        (nn.CosineRestartsSchedule(1.0, every=5, mult=10**308), 9.5, 1.0),
        (nn.OneCycleSchedule(1.0, up=0.5, div=4), 0, 0.25),
        (nn.OneCycleSchedule(1.0, up=0.5, div=4), 2.5, 0.625),
        (nn.OneCycleSchedule(1.0, up=0.5, div=4), 5, 1.0),
        (nn.OneCycleSchedule(1.0, up=0.5, div=4, final_div=5), 10, 0.05),
        (nn.OneCycleSchedule(1.0, up=0.0, div=4, final_div=5), 0, 1.0),
        (nn.OneCycleSchedule(1.0, up=0.5, div=4, warmup=2), 1, 0.125),
        (nn.OneCycleSchedule(1.0, up=0.5, div=4, warmup=2), 6, 1.0),
        (nn.PlateauSchedule(1.0), 9, 1.0),
        (nn.InverseSchedule(1.0, gamma=0.5), 2, 0.5),
        (nn.InverseSchedule(1.0, gamma=3.0, power=0.5), 1, 0.5),
        (nn.InverseSquareRootSchedule(1.0, warmup=2), 1, 0.5),
        (nn.InverseSquareRootSchedule(1.0, warmup=2), 8, 0.5),
        (nn.ChainSchedule([nn.LinearSchedule(1.0), nn.CosineSchedule(0.5)], at=[4]), 3, 0.25),
        (nn.ChainSchedule([nn.LinearSchedule(1.0), nn.CosineSchedule(0.5)], at=[4]), 4, 0.5),
        (nn.ChainSchedule([nn.LinearSchedule(1.0), nn.CosineSchedule(0.5)], at=[4]), 7, 0.25),
        (nn.ChainSchedule([nn.LinearSchedule(1.0), nn.CosineSchedule(0.5, warmup=2)], at=[4]), 5, 0.25),
        (nn.ChainSchedule([nn.LinearSchedule(1.0), nn.CosineSchedule(0.5)], at=[4], warmup=2), 5, 0.25),
        (nn.ChainSchedule([nn.LinearSchedule(1.0), nn.CosineSchedule(0.5)], at=[20]), 5, 0.75),
        (nn.CosineSchedule(1.0, staircase=True), 5.9, 0.5),
        (nn.ConstantSchedule(1.0, warmup=2, staircase=True), 1.9, 0.5),
    ],
    ids=str,
)
def test_rates_between_epochs_are_those_of_the_formula(schedule: nn.Schedule, epoch: float, rate: float) -> None:
    assert schedule.rate(epoch, 10) == pytest.approx(rate, rel=1e-14, abs=1e-16)


@every_schedule
@pytest.mark.parametrize("warmup", [0.5, 1, 3])
def test_a_warm_up_is_linear_from_zero_and_moves_what_follows(schedule: nn.Schedule, warmup: float) -> None:
    warmed = warm(schedule, warmup)
    assert warmed.rate(0.0, 10) == 0
    assert warmed.rate(warmup / 4, 10) == pytest.approx(schedule.start / 4)
    assert warmed.rate(warmup, 10) == pytest.approx(schedule.start)
    for epoch in (0.0, 0.3, 1.0, 4.5):
        assert warmed.rate(warmup + epoch, 10) == pytest.approx(warmed.after(epoch, 10 - warmup), rel=1e-12)


@every_schedule
@pytest.mark.parametrize(("epochs", "warmup"), [(10, 0), (1, 0), (3, 3), (3, 5), (1, 0.25)])
def test_rates_are_between_the_ends_at_any_time(schedule: nn.Schedule, epochs: int, warmup: float) -> None:
    warmed = warm(schedule, warmup)
    rates = [warmed.rate(epochs * i / 97, epochs) for i in range(98)]
    assert all(math.isfinite(rate) and 0 <= rate <= schedule.largest * (1 + 1e-12) for rate in rates)
    if warmed.warmup == 0 and schedule in FALLING.values():
        assert all(later <= earlier for earlier, later in pairwise(rates))


def test_a_warm_up_longer_than_training_ends_with_it() -> None:
    schedule = nn.CosineSchedule(1.0, warmup=5)
    assert [schedule.rate(epoch, 4) for epoch in range(5)] == [0, 0.2, 0.4, 0.6, 0.8]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("constant", {"start": 0}),
        ("cosine", {"start": -1.0}),
        ("cosine", {"start": 1.0, "to": -0.1}),
        ("cosine", {"start": 1.0, "warmup": -1}),
        ("step", {"start": 1.0, "every": 0}),
        ("step", {"start": 1.0, "every": 1.5}),
        ("step", {"start": 1.0, "every": 2, "gamma": 0}),
        ("exponential", {"start": 1.0, "gamma": 1.5}),
        ("linear", {"start": "fast"}),
        ("polynomial", {"start": 1.0, "power": 0}),
        ("piecewise", {"start": 1.0, "values": [1.0], "boundaries": [0]}),
        ("piecewise", {"start": 1.0, "boundaries": [1], "values": [-1.0]}),
        ("piecewise", {"start": 1.0, "boundaries": [1], "values": 0.5}),
        ("piecewise", {"start": 1.0, "values": [0.1, 0.2], "boundaries": [2, 2]}),
        ("cosine_restarts", {"start": 1.0, "every": 0}),
        ("cosine_restarts", {"start": 1.0, "every": 2, "mult": 1.5}),
        ("one_cycle", {"peak": 1.0, "up": 1.0}),
        ("one_cycle", {"peak": 1.0, "div": 0.5}),
        ("one_cycle", {"peak": 0}),
        ("plateau", {"start": 1.0, "patience": 0}),
        ("plateau", {"start": 1.0, "gamma": 0}),
        ("plateau", {"start": 1.0, "cooldown": -1}),
        ("inverse", {"start": 1.0, "gamma": 0}),
        ("inverse", {"start": 1.0, "gamma": 1, "power": 0}),
        ("inverse_sqrt", {"start": 1.0, "warmup": 0}),
        ("constant", {"start": 1.0, "per": "batch"}),
        ("constant", {"start": 1.0, "per": "step", "staircase": True}),
        ("plateau", {"start": 1.0, "per": "step", "staircase": True}),
        ("piecewise", {"start": 1.0, "boundaries": [], "values": [], "per": "step", "staircase": True}),
        ("chain", {"schedules": [nn.ConstantSchedule(1.0)], "at": [1]}),
        ("chain", {"schedules": [nn.ConstantSchedule(1.0)] * 3, "at": [2, 1]}),
        ("chain", {"schedules": [nn.ConstantSchedule(1.0)] * 2, "at": [0]}),
        ("chain", {"schedules": [nn.ConstantSchedule(1.0)], "at": [], "per": "step", "staircase": True}),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"`{list(arguments)[-1]}`"):
        PARTS["schedule"][name](**arguments)


def test_a_schedule_is_a_value() -> None:
    one, same, other = nn.CosineSchedule(0.1, to=0.01), nn.CosineSchedule(0.1, to=0.01), nn.CosineSchedule(0.1)
    assert one == same != other
    assert hash(one) == hash(same)
    assert one != nn.LinearSchedule(0.1, to=0.01)
    assert copy.deepcopy(one) == one
    with pytest.raises(AttributeError, match="cannot be changed"):
        one.to = 0.5
    assert [str(schedule) for schedule in (one, other, warm(one, 2), SCHEDULES["step"])] == [
        "cosine(0.1, to=0.01)",
        "cosine(0.1)",
        "cosine(0.1, to=0.01, warmup=2)",
        "step(0.1, every=3, gamma=0.5)",
    ]


def test_boundaries_and_values_of_different_count_are_refused() -> None:
    with pytest.raises(ValueError, match="1 boundaries and 2 values: each boundary has the rate that begins there"):
        nn.PiecewiseSchedule(0.1, boundaries=[3], values=[0.1, 0.2])


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (nn.PlateauSchedule(0.1), "`plateau` follows a figure, and cannot be part of a chain"),
        (nn.CosineSchedule(0.1, per="step"), "`per` of `cosine` has no effect: set it on the chain"),
        (nn.CosineSchedule(0.1, staircase=True), "`staircase` of `cosine` has no effect: set it on the chain"),
    ],
)
def test_parts_that_a_chain_cannot_have(part: nn.Schedule, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nn.ChainSchedule([nn.ConstantSchedule(0.1), part], at=[2])


def test_per_step_everything_counts_steps() -> None:
    schedule = nn.CosineSchedule(1.0, warmup=10, per="step")
    assert schedule.rate_at(1 + 3 / 7, 5, 7) == 1.0
    assert schedule.rate_at(5 / 7, 5, 7) == 0.5
    assert schedule.rate_at(3 + 1.5 / 7, 5, 7) == pytest.approx(schedule.rate(22, 35))
    plateau = nn.PlateauSchedule(1.0, patience=14, gamma=0.5, per="step").follow()
    rates = []
    for epoch in range(6):
        plateau.tell(epoch + 1, {"val_loss": 3.0}, 7)
        rates.append(plateau.rate(epoch + 1, 6, 7))
    assert rates == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_the_largest_rate_is_what_is_judged() -> None:
    assert nn.ChainSchedule([nn.LinearSchedule(0.1), nn.OneCycleSchedule(0.4)], at=[2]).largest == 0.4
    assert nn.CosineSchedule(0.1).largest == 0.1
    assert (nn.OneCycleSchedule(0.1).start, nn.OneCycleSchedule(0.1).largest) == (0.1 / 25, 0.1)
    assert nn.PiecewiseSchedule(0.1, boundaries=[1, 2], values=[0.5, 0.2]).largest == 0.5


# Plateau


def told(schedule: nn.PlateauSchedule, figures: list[float]) -> list[float]:
    """The rate of every epoch, and of the one after the last."""
    follower, rates = schedule.follow(), []
    for epoch, figure in enumerate(figures, 1):
        rates.append(follower.rate(epoch - 1, len(figures)))
        follower.tell(epoch, {str(schedule.of): figure, "other": 0.0})
    return [*rates, follower.rate(len(figures), len(figures))]


@pytest.mark.parametrize(
    ("arguments", "figures", "rates"),
    [
        ({"patience": 2}, [3, 2, 1, 0], [1, 1, 1, 1, 1]),
        ({"patience": 2}, [3, 3, 3], [1, 1, 1, 0.5]),
        ({"patience": 2}, [3, 3, 3, 3, 3, 3], [1, 1, 1, 0.5, 0.5, 0.25, 0.25]),
        ({"patience": 2}, [3, 4, 2, 4, 2], [1, 1, 1, 1, 1, 0.5]),
        ({"patience": 1, "to": 0.3}, [3, 3, 3, 3], [1, 1, 0.5, 0.3, 0.3]),
        ({"patience": 1, "to": 2.0}, [3, 3, 3], [1, 1, 1, 1]),
        ({"patience": 1, "min_delta": 0.5}, [3, 2.5, 2.4], [1, 1, 0.5, 0.5]),
        ({"patience": 1, "cooldown": 2}, [3, 3, 3, 3, 3], [1, 1, 0.5, 0.5, 0.5, 0.25]),
        ({"patience": 1, "of": "val_accuracy"}, [0.1, 0.2, 0.2], [1, 1, 1, 0.5]),
        ({"patience": 1, "of": "loss", "warmup": 2}, [1, 2, 3, 4], [0, 0.5, 1, 1, 0.5]),
    ],
)
def test_plateau_by_hand(arguments: dict[str, Any], figures: list[float], rates: list[float]) -> None:
    schedule = nn.PlateauSchedule(1.0, gamma=0.5, **arguments)
    assert told(schedule, figures) == rates
    assert told(schedule, figures) == rates, "a follower of its own for each training"


def test_a_follower_continues_from_the_state_of_another() -> None:
    schedule = nn.PlateauSchedule(1.0, patience=2, gamma=0.5, cooldown=1)
    figures = [float(value) for value in np.random.default_rng(3).integers(0, 20, 40)]
    whole = told(schedule, figures)
    for cut in (0, 1, 7, 20, 39):
        first, second = schedule.follow(), schedule.follow()
        for epoch, figure in enumerate(figures[:cut], 1):
            first.tell(epoch, {"val_loss": figure})
        second.keep_state(dict(first.state()))
        rates = []
        for epoch, figure in enumerate(figures[cut:], cut):
            rates.append(second.rate(epoch, 40))
            second.tell(epoch + 1, {"val_loss": figure})
        assert rates == whole[cut:-1]
    assert len(set(whole)) > 3
    assert nn.CosineSchedule(1.0).follow().state() == {}


def test_a_figure_that_is_missing_is_an_error() -> None:
    with pytest.raises(KeyError, match="val_loss"):
        nn.PlateauSchedule(1.0).follow().tell(1, {"loss": 1.0})


def scripted(monkeypatch: pytest.MonkeyPatch, **figures: list[float]) -> None:
    """Replace the figures of every lane."""
    honest = train_module._records

    def epochs(plan: Any, done: int) -> Any:
        for epoch, (seconds, found) in enumerate(honest(plan, done)):
            yield seconds, found | {name: values[epoch] for name, values in figures.items()}

    monkeypatch.setattr(train_module, "_records", epochs)


@pytest.mark.parametrize("of", ["loss", "val_loss", "accuracy", "val_accuracy", "test_loss"])
def test_a_lane_lowers_its_rate_when_its_figure_says(of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sign = -1 if "accuracy" in of else 1
    scripted(monkeypatch, **{of: [3.0 * sign, 2.0 * sign, 2.5 * sign, 2.0 * sign, 1.0 * sign, 2.0 * sign]})
    text = spec(
        optimizer=f"SGD(lr=plateau(0.5, patience=2, gamma=0.5, of={of}))",
        train="epochs = 6; batch = 16; validation = 0.2; repeats = 2",
    )
    for one in run(text)["run"].repeats:
        assert one.rates == [0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_until_its_figure_says_so_a_plateau_trains_as_the_number() -> None:
    settings = "epochs = 3; batch = 16; validation = 0.2"
    plain, plateau = (run(spec(optimizer=f"Adam(lr={lr})", train=settings))["run"] for lr in ("0.01", "plateau(0.01)"))
    assert plain.history == plateau.history
    lowered = run(spec(optimizer="Adam(lr=plateau(0.01, patience=1, min_delta=99))", train=settings))["run"]
    assert lowered.rates == pytest.approx([0.01, 0.01, 0.001])
    assert lowered.history["loss"][:2] == plain.history["loss"][:2]
    assert lowered.history["loss"][2] != plain.history["loss"][2]


@pytest.mark.parametrize(
    ("lr", "train", "code", "told"),
    [
        ("plateau(0.1)", "epochs = 20", "NN602", "`val_loss` is not measured: there are no validation samples"),
        ("plateau(0.1, of=params)", "validation = 0.2", "NN602", "`params` is not measured after each epoch"),
        ("plateau(0.1, of=test_loss)", "epochs = 20", "NN709", "lowering the rate on `test_loss` tunes the run"),
        ("piecewise(0.1, boundaries=[3], values=[])", "epochs = 2", "NN302", "1 boundaries and 0 values"),
        ("piecewise(0.1, boundaries=[3, 2], values=[1, 1])", "epochs = 2", "NN302", "`boundaries` must ascend"),
        ("one_cycle(30)", "epochs = 2", "NN706", "lr=30 is unusually large"),
        ("chain([constant(0.1)], at=[1])", "epochs = 2", "NN302", "a chain of 1 needs 0 in `at`, not 1"),
        ("chain([constant(0.1), linear(30)], at=[1])", "epochs = 2", "NN706", "lr=30 is unusually large"),
        ("piecewise(0.1, boundaries=[1], values=[50])", "epochs = 2", "NN706", "lr=50 is unusually large"),
    ],
)
def test_check_says_what_is_wrong_with_a_schedule(lr: str, train: str, code: str, told: str) -> None:
    checked = check(Source("tiny.nn", spec(optimizer=f"SGD(lr={lr})", train=train)), [])
    (found,) = checked.diagnostics
    assert found.code == code
    assert told in found.message


# Optimizers

OPTIMIZERS = [cls for cls in PARTS["optimizer"].values() if cls.__module__.startswith("nnspec.")]


@pytest.mark.parametrize("cls", OPTIMIZERS)
def test_a_rate_is_a_number_or_a_schedule(cls: type[nn.Optimizer]) -> None:
    argument = cls.signature().get("lr")
    assert argument is not None
    assert (argument.expects, argument.kinds) == ("a number greater than 0 or a schedule", ("schedule",))
    with pytest.raises(ValueError, match="`lr` must be a number greater than 0 or a schedule, not the stopping rule"):
        cls([nn.Parameter([1.0])], lr=nn.Patience(3))


@pytest.mark.parametrize("cls", [cls for cls in OPTIMIZERS if not cls.evaluates])
def test_an_optimizer_uses_the_rate_of_the_current_step(cls: type[nn.Optimizer]) -> None:
    scheduled, plain = ([nn.Parameter([1.0, -2.0])] for _ in range(2))
    schedule = nn.CosineSchedule(0.1, to=0.01)
    ours, theirs = cls(scheduled, lr=schedule), cls(plain, lr=0.5)
    assert ours.lr == 0.1, "the rate at the start, before anybody has said where training stands"
    for step in range(8):
        ours.at(step / 2, 4)
        theirs.lr = schedule.rate(step / 2, 4)
        for params, optimizer in ((scheduled, ours), (plain, theirs)):
            params[0].grad = [0.5 + step, -1.0]
            optimizer.step()
        np.testing.assert_array_equal(scheduled[0].data, plain[0].data)
    assert (ours.schedule, theirs.schedule) == (schedule, None)


def test_a_number_in_the_place_of_a_schedule_ends_it() -> None:
    optimizer = nn.SGD([nn.Parameter([1.0])], lr=nn.LinearSchedule(1.0))
    optimizer.lr = 0.25
    optimizer.at(3.0, 4)
    assert (optimizer.lr, optimizer.schedule) == (0.25, None)
    optimizer.lr = nn.LinearSchedule(1.0)
    optimizer.at(3.0, 4)
    assert optimizer.lr == 0.25


# Plans and runs

TEXTS = {
    "SGD(lr=cosine(0.1, to=0.001, warmup=1))": lambda p: nn.SGD(p, nn.CosineSchedule(0.1, to=0.001, warmup=1)),
    "Momentum(linear(0.02))": lambda p: nn.Momentum(p, nn.LinearSchedule(0.02)),
    "Adam(lr=step(0.01, every=1, gamma=0.5))": lambda p: nn.Adam(p, nn.StepSchedule(0.01, every=1, gamma=0.5)),
    "Adam(lr=exponential(0.01, gamma=0.3))": lambda p: nn.Adam(p, nn.ExponentialSchedule(0.01, gamma=0.3)),
    "Adam(lr=polynomial(0.01, power=3))": lambda p: nn.Adam(p, nn.PolynomialSchedule(0.01, power=3)),
    "SGD(one_cycle(0.1, up=0.5))": lambda p: nn.SGD(p, nn.OneCycleSchedule(0.1, up=0.5)),
    "SGD(cosine_restarts(0.1, every=1))": lambda p: nn.SGD(p, nn.CosineRestartsSchedule(0.1, every=1)),
    "SGD(piecewise(0.1, boundaries=[0.5, 1], values=[0.05, 0.01], warmup=0.25))": lambda p: nn.SGD(
        p, nn.PiecewiseSchedule(0.1, boundaries=[0.5, 1], values=[0.05, 0.01], warmup=0.25)
    ),
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_plan_with_a_schedule_trains_as_the_loop_does(text: str, digits: Dataset) -> None:
    settings = f"epochs = {EPOCHS}; batch = 16"
    plan = make_plan(
        spec("Linear(12); ReLU; Linear(10)", optimizer=text, train=settings, more="dtype = float64"), digits
    )
    network, loss, losses = by_hand("Linear(12); ReLU; Linear(10)"), nn.CrossEntropyLoss(), []
    optimizer = TEXTS[text](network.parameters())
    schedule = optimizer.schedule
    x, y = digits.train.x * (1 / 255), digits.train.y.astype(int)
    for epoch in range(EPOCHS):
        order = np.arange(len(x))
        stream(0, Stream.SHUFFLE, epoch).shuffle(order)
        for batch in range(4):
            chosen = order[16 * batch : 16 * (batch + 1)]
            losses.append(loss.forward(network.forward(x[chosen]), y[chosen]))
            network.backward(loss.backward())
            optimizer.lr = schedule.rate(epoch + batch / 4, EPOCHS)  # a plain number, set before each step
            optimizer.step()
    assert_equal_training(plan, train(plan), network, losses)


def test_a_constant_schedule_trains_bit_for_bit_as_the_number() -> None:
    plain, scheduled = (run(spec(optimizer=f"Adam(lr={lr})"))["run"] for lr in ("0.01", "constant(0.01)"))
    assert plain.history == scheduled.history
    for one, other in zip(plain.network.parameters(), scheduled.network.parameters(), strict=True):
        assert one.data.tobytes() == other.data.tobytes()
    assert (plain.rates, scheduled.rates) == ([], [0.01, 0.01])


def test_the_rate_of_the_last_step_of_each_epoch_is_kept() -> None:
    found = run(spec(optimizer="SGD(lr=linear(0.1))", train="epochs = 3; batch = 16"))["run"]
    assert found.optimizer == "SGD(lr=linear(0.1))"
    assert found.rates == pytest.approx([0.1 * (1 - (epoch + 3 / 4) / 3) for epoch in range(3)])


def test_ctrl_c_amid_the_books_of_an_epoch_keeps_them_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    records: list[EpochRecord] = []

    def pressed(*values: Any) -> EpochRecord:
        if len(records) == 2:
            raise KeyboardInterrupt
        records.append(EpochRecord(*values))
        return records[-1]

    monkeypatch.setattr("nnspec.training.progress.EpochRecord", pressed)
    found = run(spec(optimizer="SGD(lr=linear(0.1))", train="epochs = 5"))["run"]
    assert (found.status, len(found.rates), len(found.history["loss"])) == ("interrupted", 2, 2)


@pytest.mark.parametrize("steps", [3, 7, 10, 49])
def test_steps_are_counted_exactly_though_epochs_are_fractions(steps: int) -> None:
    schedule = nn.InverseSchedule(1.0, gamma=1.0, per="step")
    rates = [schedule.rate_at(epoch + batch / steps, 20, steps) for epoch in range(20) for batch in range(steps)]
    assert rates == [schedule.rate(step, 20 * steps) for step in range(20 * steps)]


def test_one_schedule_serves_several_lanes() -> None:
    text = spec(race="a: SGD(lr=cosine(0.1)); b: SGD(lr=cosine(0.1)); c: SGD(lr=0.1)")
    result = run(text)
    assert result["a"].history == result["b"].history != result["c"].history


@pytest.mark.parametrize(
    ("rate", "advice"),
    [
        ("cosine(1e30)", "try a smaller learning rate, such as lr=cosine(0.01, …)"),
        ("step(1e30, every=1)", "try a smaller learning rate, such as lr=step(0.01, …)"),
        ("1e30", "try a smaller learning rate, such as lr=0.01"),
    ],
)
def test_divergence_advises_a_smaller_start(rate: str, advice: str) -> None:
    found = run(spec(optimizer=f"SGD(lr={rate})"))["run"]
    assert found.status == "diverged"
    assert found.message.endswith(advice)
