"""Penalties and constraints: PyTorch's training with them, by hand, in the gradient check, and in plans and specs."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_plan import make_plan
from tiny_spec import compiled, run, spec

from nnspec import engine as nn
from nnspec.checker import check
from nnspec.diagnostics import Source
from nnspec.engine import PARTS
from nnspec.engine import penalties as module
from nnspec.engine.gradcheck import BOUND
from nnspec.engine.parameter import Segment
from nnspec.engine.penalties import constrain, penalise

REFERENCE = json.loads((Path(__file__).parent / "oracle/trajectories_penalties.json").read_text(encoding="utf-8"))
PENALTIES = [nn.L1(0.1), nn.L2(0.1)]


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda case: case["case"])
def test_training_goes_as_pytorchs(case: dict[str, Any]) -> None:
    network, loss, losses = nn.NumpyMLP(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)), nn.CrossEntropyLoss(), []
    for parameter, values in zip(network.parameters(), REFERENCE["start"], strict=True):
        parameter.data = values
    x, labels = np.array(REFERENCE["x"]), np.array(REFERENCE["labels"])
    penalties = [PARTS["penalty"][name](strength) for name, strength in case["penalties"].items()]
    optimizer = PARTS["optimizer"][case["optimizer"]](network.parameters(), lr=case["lr"])
    for _ in range(40):
        value = loss.forward(network.forward(x), labels)
        network.backward(loss.backward())
        losses.append(value + penalise(network.parameters(), penalties, np.empty(7)))
        if "clip_norm" in case:
            nn.clip_grad_norm(network.parameters(), case["clip_norm"])
        optimizer.step()
        if "max_norm" in case:
            constrain(network.parameters(), nn.MaxNorm(case["max_norm"]), np.empty(5))
    # `torch.renorm` divides by norm + 1e-7, which `max_norm` does not: it holds the norm exactly.
    close = {"rtol": 1e-6, "atol": 1e-6} if "max_norm" in case else {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(losses[::10], case["losses"], **close)
    for ours, theirs in zip(network.parameters(), case["after"], strict=True):
        np.testing.assert_allclose(ours.data, theirs, **close)


def test_every_penalty_and_constraint_has_a_case() -> None:
    ours = {name for kind in ("penalty", "constraint") for name in PARTS[kind]}
    assert ours == {"L1", "L2", "max_norm"}
    assert {name for case in REFERENCE["cases"] for name in (*case["penalties"], *case)} >= ours


def test_values_and_gradients_by_hand() -> None:
    weights, scratch = np.array([[1.0, -2.0], [0.0, 0.5]]), np.empty((2, 2))
    grad = np.ones((2, 2))
    assert nn.L2(0.5).add(weights, grad, scratch) == 0.5 * 5.25 == nn.L2(0.5).value(weights)
    np.testing.assert_array_equal(grad, [[2.0, -1.0], [1.0, 1.5]])
    grad = np.ones((2, 2))
    assert nn.L1(0.5).add(weights, grad, scratch) == 0.5 * 3.5 == nn.L1(0.5).value(weights)
    np.testing.assert_array_equal(grad, [[1.5, 0.5], [1.0, 1.5]])


@pytest.mark.parametrize("block", [1, 3, 5, 100])
def test_only_weights_are_penalised_whatever_the_scratch(block: int) -> None:
    rng = np.random.default_rng(0)
    weight, bias = nn.Parameter(rng.standard_normal((4, 3))), nn.Parameter(rng.standard_normal(3), decays=False)
    sizes, decays = (2, 3, 2, 3), (False, True, False, True)
    segments = [Segment((n,), sum(sizes[:i]), decays=decays[i]) for i, n in enumerate(sizes)]
    part = nn.Parameter.over(rng.standard_normal(10), np.zeros(10), segments)
    total = penalise([weight, bias, part], [nn.L2(0.25), nn.L1(0.5)], np.empty(block))
    counted = np.concatenate([weight.data.ravel(), part.data[2:5], part.data[7:]])
    assert total == pytest.approx(0.25 * (counted**2).sum() + 0.5 * np.abs(counted).sum())
    np.testing.assert_allclose(weight.grad, 0.5 * weight.data + 0.5 * np.sign(weight.data))
    assert not bias.grad.any()
    assert [bool(g) for g in part.grad] == [i in (2, 3, 4, 7, 8, 9) for i in range(10)]


@pytest.mark.parametrize(("shape", "axis"), [((6, 4), 1), ((4, 2, 3, 3), 0), ((5, 2, 3), 0)])
def test_max_norm_holds_each_unit_and_leaves_short_ones_alone(shape: tuple[int, ...], axis: int) -> None:
    rng = np.random.default_rng(0)
    weight = nn.Parameter(
        rng.standard_normal(shape)
        * np.geomspace(0.01, 10, shape[axis]).reshape((-1,) if axis == 1 else (-1, *(1,) * (len(shape) - 1)))
    )
    bias, scales = (nn.Parameter(np.full(shape, 100.0), decays=False) for shape in (4, (2, 3)))
    before = weight.data.copy()
    constrain([weight, bias, scales], nn.MaxNorm(1.5), np.empty(8))
    rows = np.moveaxis(weight.data, axis, 0).reshape(shape[axis], -1)
    old = np.moveaxis(before, axis, 0).reshape(shape[axis], -1)
    norms = np.linalg.norm(old, axis=1)
    assert 0 < (norms > 1.5).sum() < len(norms)
    np.testing.assert_array_equal(rows[norms <= 1.5], old[norms <= 1.5])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1)[norms > 1.5], 1.5, rtol=1e-14)
    np.testing.assert_allclose(rows / np.linalg.norm(rows, axis=1)[:, None], old / norms[:, None], rtol=1e-12)
    assert (bias.data == 100).all()
    assert (scales.data == 100).all()


def test_a_vector_of_zeros_stays_one() -> None:
    weight = nn.Parameter(np.zeros((3, 2)))
    constrain([weight], nn.MaxNorm(1.0), np.empty(2))
    assert not weight.data.any()


@pytest.mark.parametrize("name", ["L1", "L2", "max_norm"])
@pytest.mark.parametrize("value", [0, -1.0, "much", None])
def test_arguments_out_of_range_are_refused_by_name(name: str, value: Any) -> None:
    part = (PARTS["penalty"] | PARTS["constraint"])[name]
    with pytest.raises(ValueError, match=r"`(strength|limit)`"):
        part(value)


def test_a_penalty_is_a_value() -> None:
    assert nn.L2(0.1) == nn.L2(0.1) != nn.L1(0.1)
    assert [repr(part) for part in (nn.L1(0.001), nn.MaxNorm(3.0))] == ["L1(0.001)", "max_norm(3.0)"]


# The gradient check


@pytest.mark.parametrize("penalties", [[nn.L1(0.01)], [nn.L2(0.01)], PENALTIES], ids=str)
def test_the_gradient_check_covers_penalties(penalties: list[nn.Penalty]) -> None:
    rng = np.random.default_rng(0)
    network = nn.NumpyMLP(nn.Linear(6, 5, rng=rng), nn.Tanh(), nn.Linear(5, 3, rng=rng))
    x, labels = rng.standard_normal((8, 6)), rng.integers(0, 3, 8)
    report = nn.check_gradients(network, nn.CrossEntropyLoss(), x, labels, penalties=penalties)
    assert report.error < BOUND


@pytest.mark.parametrize("cls", [nn.L1, nn.L2])
def test_the_gradient_check_sees_a_wrong_penalty(cls: type[nn.Penalty], monkeypatch: pytest.MonkeyPatch) -> None:
    honest = cls.add

    def wrong(self: Any, weights: Any, grad: Any, scratch: Any) -> float:
        value = honest(self, weights, grad, scratch)
        grad += 0.001 * scratch
        return value

    monkeypatch.setattr(cls, "add", wrong)
    network = nn.NumpyMLP(nn.Linear(6, 3, rng=np.random.default_rng(0)))
    x, labels = np.random.default_rng(1).standard_normal((8, 6)), np.arange(8) % 3
    report = nn.check_gradients(network, nn.CrossEntropyLoss(), x, labels, penalties=[cls(0.5)])
    assert report.error > BOUND
    found = run(spec(train=f"penalty = {cls.spec_name}(0.5)", expect="gradient_error < 1e-7"))
    assert (found.gradient_error > BOUND, found.verdicts[0].held) == (True, False)


def test_a_step_over_the_kink_of_l1_is_skipped() -> None:
    network = nn.NumpyMLP(nn.Linear(4, 3, rng=np.random.default_rng(0)))
    network.parameters()[0].data[1, 2] = 1e-7
    x, labels = np.random.default_rng(1).standard_normal((8, 4)), np.arange(8) % 3
    report = nn.check_gradients(network, nn.CrossEntropyLoss(), x, labels, penalties=[nn.L1(0.1)])
    assert report.error < BOUND
    (weight,) = [tensor for tensor in report.tensors if tensor.shape == (4, 3)]
    assert weight.left_out == ((1, 2),)


# Plans and specs

TRAINS = [
    "penalty = L2(0.01)",
    "penalty = L1(0.001)",
    "penalty = [L1(0.001), L2(0.01)]; clip_norm = 1.0",
    "constraint = max_norm(0.5)",
    "penalty = L2(0.01); constraint = max_norm(0.5)",
]


@pytest.mark.parametrize("settings", TRAINS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_plan_trains_as_the_loop_does_and_allocates_nothing(
    settings: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 1000)
    text = spec(
        "Linear(64); Tanh; Linear(10)", train=f"batch = 25; shuffle = false; {settings}", more=f"dtype = {dtype}"
    )
    plan = make_plan(text)
    train, loss = plan.experiment.train, nn.CrossEntropyLoss()
    network = nn.NumpyMLP(nn.Linear(784, 64, dtype=dtype), nn.Tanh(), nn.Linear(64, 10, dtype=dtype))
    for ours, theirs in zip(network.parameters(), plan.network.parameters(), strict=True):
        ours.data = theirs.data
    optimizer = nn.SGD(network.parameters(), lr=0.1)
    x = (plan.dataset.train.x / 255).astype(dtype)
    labels = plan.dataset.train.y.astype(int)
    for epoch in range(2):
        plan.begin(epoch)
        for number, rows in enumerate((slice(0, 25), slice(25, 50))):
            value = loss.forward(network.forward(x[rows]), labels[rows])
            network.backward(loss.backward())
            value += penalise(network.parameters(), train.penalties, np.empty(64, dtype))
            if train.clip_norm is not None:
                nn.clip_grad_norm(network.parameters(), train.clip_norm)
            optimizer.step()
            if train.constraint is not None:
                constrain(network.parameters(), train.constraint, np.empty(64, dtype))
            tracemalloc.start()
            try:
                got, _ = plan.train_batch(number)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            # NumPy's own buffers have 8,192 numbers, whatever the size of the arrays.
            assert epoch == number == 0 or peak < (64 if dtype == "float32" else 128) * 1024
            assert got == pytest.approx(value, rel=1e-4 if dtype == "float32" else 1e-12)
    close = {"rtol": 1e-3, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-12}
    for ours, theirs in zip(network.parameters(), plan.network.parameters(), strict=True):
        np.testing.assert_allclose(theirs.data, ours.data, **close)


def test_penalties_make_weights_smaller_and_count_in_the_training_loss_alone() -> None:
    settings = "epochs = 3; batch = 16; validation = 0.2"
    plain = run(spec(train=settings))["run"]
    held = run(spec(train=f"{settings}; penalty = L2(0.05)"))["run"]
    size = [np.linalg.norm(one.network.parameters()[0].data) for one in (plain, held)]
    assert size[1] < 0.95 * size[0]
    assert held.history["loss"][0] > plain.history["loss"][0] + 0.1
    assert held.history["test_loss"][0] == pytest.approx(plain.history["test_loss"][0], abs=0.1)


def test_an_l2_penalty_is_a_decay_of_twice_its_strength_for_sgd() -> None:
    penalty, decay = (
        run(spec(train=f"epochs = 2; batch = 16; {more}", optimizer=f"SGD(lr=0.1{decay})", more="dtype = float64"))[
            "run"
        ]
        for more, decay in (("penalty = L2(0.01)", ""), ("", ", weight_decay=0.02"))
    )
    for one, other in zip(penalty.network.parameters(), decay.network.parameters(), strict=True):
        np.testing.assert_allclose(one.data, other.data, rtol=1e-10, atol=1e-13)


def test_a_lane_with_a_penalty_trains_in_a_race_as_alone() -> None:
    bound = "optimizer = SGD(lr=0.1); train.penalty = L2(0.01); train.constraint = max_norm(1)"
    race = run(spec(race=f"plain: SGD(lr=0.1); bound {{ {bound} }}"))
    alone = run(spec(train="epochs = 2; batch = 16; penalty = L2(0.01); constraint = max_norm(1)"))["run"]
    assert race["bound"].history == alone.history != race["plain"].history


def test_the_plan_has_the_buffers_that_penalties_need() -> None:
    plain, held = (
        {b.name: b.shape for b in compiled(spec(train=train)).layouts["run"].buffers}
        for train in ("epochs = 1", "penalty = L1(0.1); constraint = max_norm(1)")
    )
    assert {name: held[name] for name in held.keys() - plain.keys()} == {"penalty": (4780,), "constraint": (10,)}


@pytest.mark.parametrize(
    ("train", "code", "told"),
    [
        ("penalty = L2(0)", "NN302", "`strength` must be greater than 0"),
        ("penalty = 0.1", "NN301", "`penalty` must be a penalty or a list of penalties"),
        ("penalty = max_norm(1)", "NN305", "`max_norm` is a constraint"),
        ("penalty = [L2(0.1), 3]", "NN301", "`penalty` must be a penalty or a list of penalties"),
        ("regularizer = L2(0.1)", "NN201", "`train` has no setting `regularizer`"),
        ("constraint = max_norm", "NN205", "`max_norm` needs `limit`"),
        ("penalty = l2(0.1)", "NN201", "unknown name `l2`"),
    ],
)
def test_check_says_what_is_wrong(train: str, code: str, told: str) -> None:
    (found,) = check(Source("tiny.nn", spec(train=train)), []).diagnostics
    assert found.code == code
    assert told in found.message
