"""What is particular to recurrent layers, besides the contract of layers and PyTorch's numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tiny_plan import ALLOCATION, peak_growth, train
from tiny_spec import OFFLINE, compiled, spec

from nnspec import engine as nn
from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import Plan
from nnspec.engine.layers.contract import ShapeError
from nnspec.runner.gradients import prove_gradients

KINDS = (nn.RNN, nn.GRU, nn.LSTM)
every_kind = pytest.mark.parametrize("kind", KINDS)


def arguments(**more: Any) -> dict[str, Any]:
    given = {"in_features": None, "hidden_size": 3, "return_sequences": True, "bias": True, "activation": "tanh"}
    return given | {"bidirectional": False, "return_cell": False, "forget_bias": None} | more


@every_kind
def test_the_last_row_is_the_last_of_all_rows(kind: Any) -> None:
    x = np.random.default_rng(0).standard_normal((4, 6, 2))
    nn.set_seed(1)
    every = kind(2, 3)
    nn.set_seed(1)
    last = kind(2, 3, return_sequences=False)
    np.testing.assert_array_equal(every.forward(x)[:, -1], last.forward(x))


@every_kind
def test_a_step_knows_nothing_of_those_after_it(kind: Any) -> None:
    layer, x = kind(2, 3), np.random.default_rng(0).standard_normal((4, 6, 2))
    y = layer.forward(x)
    x[:, 4:] = 9
    np.testing.assert_array_equal(layer.forward(x)[:, :4], y[:, :4])
    assert not np.allclose(layer.forward(x)[:, 4:], y[:, 4:])


@every_kind
def test_it_starts_as_pytorch_does(kind: Any) -> None:
    for parameter in kind(300, 100).parameters().values():
        assert 0.09 < np.abs(parameter.data).max() <= 0.1
        assert abs(parameter.data.std() * np.sqrt(3) - 0.1) < 0.015


def test_the_forget_gate_may_start_open() -> None:
    nn.set_seed(0)
    usual = nn.LSTM(2, 3, bidirectional=True).parameters()
    nn.set_seed(0)
    opened = nn.LSTM(2, 3, bidirectional=True, forget_bias=1).parameters()
    for end in ("", "_reverse"):
        total = opened[f"bias_ih{end}"].data + opened[f"bias_hh{end}"].data
        np.testing.assert_array_equal(total[3:6], 1)
        for name in ("bias_ih", "bias_hh", "weight_ih", "weight_hh"):
            kept = np.r_[0:3, 6:12]
            mine, theirs = (each[name + end].data[..., kept] for each in (opened, usual))
            np.testing.assert_array_equal(mine, theirs)
    with pytest.raises(ValueError, match="`forget_bias` needs biases"):
        nn.LSTM(2, 3, forget_bias=1, bias=False)
    with pytest.raises(ShapeError, match="no effect without biases"):
        nn.LSTM.geometry((7, 2), arguments(forget_bias=1.0, bias=False))


@every_kind
def test_biases_do_not_decay(kind: Any) -> None:
    decay = {name: parameter.decays for name, parameter in kind(2, 3).parameters().items()}
    assert decay == {"weight_ih": True, "weight_hh": True, "bias_ih": False, "bias_hh": False}


@every_kind
def test_shapes_that_are_not_sequences_of_rows_are_rejected(kind: Any) -> None:
    assert kind.geometry((7, 2), arguments()).out == (7, 3)
    assert kind.geometry((7, 2), arguments(return_sequences=False)).out == (3,)
    with pytest.raises(ShapeError, match="places × features, but got 20 features") as caught:
        kind.geometry((20,), arguments())
    assert caught.value.help == "add `Reshape([20, 1])` before it"
    with pytest.raises(ShapeError, match="an image of 3×28×28") as caught:
        kind.geometry((3, 28, 28), arguments())
    assert caught.value.help == "add `Reshape([84, 28])` before it"
    with pytest.raises(ShapeError, match="expects 5 features but got 2") as caught:
        kind.geometry((7, 2), arguments(in_features=5))
    assert caught.value.argument == "in_features"


@every_kind
def test_both_directions_are_two_layers_of_which_one_reads_the_sequence_from_its_end(kind: Any) -> None:
    x, grad = np.random.default_rng(0).standard_normal((4, 6, 2)), np.random.default_rng(1).standard_normal((4, 6, 6))
    nn.set_seed(1)
    both = kind(2, 3, bidirectional=True)
    nn.set_seed(1)
    one, other = kind(2, 3), kind(2, 3)
    y = np.concatenate([one.forward(x), other.forward(x[:, ::-1])[:, ::-1]], axis=-1)
    np.testing.assert_array_equal(both.forward(x), y)
    dx = one.backward(grad[..., :3]) + other.backward(grad[:, ::-1, 3:])[:, ::-1]
    np.testing.assert_array_equal(both.backward(grad), dx)
    names = list(both.parameters())
    assert names[4:] == [f"{name}_reverse" for name in names[:4]]
    for name, parameter in one.parameters().items():
        np.testing.assert_array_equal(both.parameters()[name].grad, parameter.grad)
        np.testing.assert_array_equal(both.parameters()[f"{name}_reverse"].grad, other.parameters()[name].grad)
    assert kind.geometry((6, 2), arguments(bidirectional=True)).out == (6, 6)
    assert kind.geometry((6, 2), arguments(bidirectional=True, return_sequences=False)).out == (6,)


@every_kind
def test_the_last_states_of_both_directions_are_those_at_both_ends(kind: Any) -> None:
    x = np.random.default_rng(0).standard_normal((4, 6, 2))
    nn.set_seed(1)
    every = kind(2, 3, bidirectional=True).forward(x)
    nn.set_seed(1)
    last = kind(2, 3, bidirectional=True, return_sequences=False).forward(x)
    np.testing.assert_array_equal(last, np.concatenate([every[:, -1, :3], every[:, 0, 3:]], axis=-1))


def test_flops_are_those_of_the_products_and_a_few_a_unit() -> None:
    for kind, gates in zip(KINDS, (1, 3, 4), strict=True):
        flops = kind.geometry((10, 64), arguments(hidden_size=128)).flops
        products = 10 * 2 * gates * 128 * (64 + 128)
        assert products < flops < 1.1 * products


def test_far_inputs_saturate_in_silence() -> None:
    for kind in KINDS:
        layer = kind(2, 3)
        assert np.isfinite(layer.forward(np.full((2, 4, 2), 1e4))).all()
        assert np.isfinite(layer.backward(np.ones((2, 4, 3)))).all()


def plan_of(model: str, **more: Any) -> Plan:
    program = compiled(spec(model, **more))
    (experiment,) = program.program.lanes
    return plan_alone(experiment, program.layouts["run"], experiment.data[0].source.load(OFFLINE))


MODELS = (
    "RNN(8, return_sequences=false); Linear(10)",
    "GRU(6); residual { RNN(6, activation=relu) }; GRU(5, return_sequences=false); Linear(10)",
    "LSTM(6); Tanh; concat { a { LSTM(4) }; b { GRU(4) } }; Linear(2); Flatten; Linear(10)",
    "RNN(5, bidirectional=true); LSTM(6, bidirectional=true); GRU(8, bidirectional=true, return_sequences=false);"
    " Linear(10)",
    "add { a { LSTM(6, return_sequences=false) }; b { GRU(6, return_sequences=false) } }; Linear(10)",
)


@pytest.mark.parametrize("model", MODELS)
def test_it_can_be_used_in_models_and_trains_without_allocating(model: str) -> None:
    data = "Digits(train=300, test=70)"
    plan = plan_of(model, data=data, optimizer="Adam(lr=0.01)", train="batch = 64; clip_norm = 1")
    first = train(plan, 1)[0]
    assert peak_growth(plan) <= ALLOCATION
    assert train(plan, 3)[-1] < first


@pytest.mark.parametrize("model", MODELS)
def test_gradients_hold_in_models(model: str) -> None:
    plan = plan_of(model)
    assert prove_gradients(plan.experiment, plan.dataset, samples=3).error < 1e-7
