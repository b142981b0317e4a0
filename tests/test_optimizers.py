"""The formula of each optimizer, weight decay, and settings of tensors; what all must do is in nnspec.testing."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from nnspec import engine as nn
from nnspec.engine import PARTS
from nnspec.engine.optimizers import Optimizer
from nnspec.engine.parameter import Parameter, Segment

SHAPES = [(6, 5), (5,), (5, 3), (3,), (1, 1)]
SIZE = sum(int(np.prod(shape)) for shape in SHAPES)

# Only nnspec's own parts: other tests may enter parts of theirs.
CLASSES = {name: cls for name, cls in PARTS["optimizer"].items() if cls.__module__.startswith("nnspec.")}


def parameters(dtype: str = "float64") -> list[nn.Parameter]:
    rng = np.random.default_rng(1)
    return [nn.Parameter(rng.standard_normal(shape), dtype) for shape in SHAPES]


def gradients(steps: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(2).standard_normal((steps, size))


def spread(values: np.ndarray, params: list[nn.Parameter]) -> None:
    """Write one long row of gradients into the parameters, in order."""
    start = 0
    for parameter in params:
        parameter.grad = values[start : start + parameter.size].reshape(parameter.shape)
        start += parameter.size


def numbers(params: list[nn.Parameter]) -> np.ndarray:
    return np.concatenate([parameter.data.ravel() for parameter in params])


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (nn.SGD, {"momentum": 1.0}),
        (nn.SGD, {"momentum": -0.1}),
        (nn.Momentum, {"momentum": 1.0}),
        (nn.Adam, {"betas": (0.9, 1.0)}),
        (nn.Adam, {"betas": (-0.1, 0.999)}),
        (nn.Adam, {"betas": 0.9}),
        (nn.Adam, {"betas": (0.9,)}),
        (nn.Adam, {"betas": (0.9, 0.99, 0.999)}),
        (nn.Adam, {"eps": 0.0}),
    ],
)
def test_other_values_out_of_range_are_refused_by_name(cls: type[Optimizer], arguments: dict[str, Any]) -> None:
    (name,) = arguments
    with pytest.raises(ValueError, match=f"`{name}`"):
        cls(parameters(), **arguments)


def one_parameter(value: float) -> nn.Parameter:
    return nn.Parameter([value])


def test_sgd_by_hand() -> None:
    theta = one_parameter(1.0)
    optimizer = nn.SGD([theta], lr=0.25)
    theta.grad = [2.0]
    optimizer.step()
    assert theta.data.item() == 0.5


@pytest.mark.parametrize("cls", [nn.SGD, nn.Momentum])
def test_momentum_by_hand(cls: type[Optimizer]) -> None:
    theta = one_parameter(1.0)
    optimizer = cls([theta], lr=0.25, momentum=0.5)
    theta.grad = [2.0]
    optimizer.step()  # v = 2
    assert theta.data.item() == 0.5
    theta.grad = [4.0]
    optimizer.step()  # v = 1 + 4
    assert theta.data.item() == 0.5 - 0.25 * 5
    theta.grad = [0.0]
    optimizer.step()  # v = 2.5: it rolls on
    assert theta.data.item() == -0.75 - 0.25 * 2.5


def test_momentum_is_sgd_with_momentum_at_nine_tenths() -> None:
    one, other = parameters(), parameters()
    first, second = nn.Momentum(one, lr=0.05), nn.SGD(other, lr=0.05, momentum=0.9)
    for row in gradients(10):
        spread(row, one)
        spread(row, other)
        first.step()
        second.step()
    np.testing.assert_array_equal(numbers(one), numbers(other))


def test_a_changed_rate_counts_from_the_next_step() -> None:
    theta = one_parameter(0.0)
    optimizer = nn.Momentum([theta], lr=1.0, momentum=0.5)
    theta.grad = [1.0]
    optimizer.step()
    optimizer.lr = 0.1
    optimizer.step()
    assert theta.data.item() == pytest.approx(-1.0 - 0.1 * 1.5)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e6])
def test_adams_first_step_is_the_rate_for_any_gradient(scale: float) -> None:
    theta = one_parameter(0.0)
    optimizer = nn.Adam([theta], lr=0.125)
    theta.grad = [-scale]
    optimizer.step()
    assert theta.data.item() == pytest.approx(0.125 * scale / (scale + 1e-8), rel=1e-14)


@pytest.mark.parametrize(
    ("lr", "betas", "eps"),
    [(0.001, (0.9, 0.999), 1e-8), (0.1, (0.5, 0.9), 1e-2), (0.1, (0.0, 0.5), 1.0), (0.1, (0.9, 0.0), 1e-8)],
)
def test_adam_is_algorithm_1_of_its_paper(lr: float, betas: tuple[float, float], eps: float) -> None:
    params = parameters()
    optimizer = nn.Adam(params, lr=lr, betas=betas, eps=eps)
    theta, m, v = numbers(params), np.zeros(SIZE), np.zeros(SIZE)
    for t, g in enumerate(gradients(100), start=1):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        theta = theta - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
        spread(g, params)
        optimizer.step()
        np.testing.assert_allclose(numbers(params), theta, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("cls", "shown"),
    [
        (nn.SGD, "lr=0.01, momentum=0.0, weight_decay=0.0, decay_all=false"),
        (nn.Momentum, "lr=0.01, momentum=0.9, weight_decay=0.0, decay_all=false"),
        (nn.Adam, "lr=0.001, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decay_all=false"),
        (nn.AdamW, "lr=0.001, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, decay_all=false"),
    ],
)
def test_a_spec_sees_these_arguments_and_defaults(cls: type[Optimizer], shown: str) -> None:
    assert str(cls.signature()) == shown


# Weight decay

DECAYING = [cls for cls in CLASSES.values() if cls.signature().get("weight_decay")]


def test_every_optimizer_knows_weight_decay() -> None:
    assert len(DECAYING) == len(CLASSES)
    for cls in CLASSES.values():
        assert [cls.signature().get(name).range for name in ("weight_decay", "lr")] != [None, None]
        with pytest.raises(ValueError, match="`weight_decay` must be at least 0"):
            cls(parameters(), weight_decay=-0.1)


def several(cls: type[Optimizer], **more: Any) -> tuple[list[nn.Parameter], Optimizer]:
    rng = np.random.default_rng(1)
    params = [nn.Parameter(rng.standard_normal(shape), decays=len(shape) > 1) for shape in SHAPES]
    return params, cls(params, lr=0.01, **more)


def test_decay_in_the_gradient_and_in_the_step_by_hand() -> None:
    theta = one_parameter(2.0)
    optimizer = nn.SGD([theta], lr=0.5, weight_decay=0.25, momentum=0.5)
    theta.grad = [1.0]
    optimizer.step()  # g = 1 + 0.25·2, v = 1.5
    assert theta.data.item() == 2 - 0.5 * 1.5
    theta = one_parameter(2.0)
    optimizer = nn.Lion([theta], lr=0.5, weight_decay=0.25)
    theta.grad = [-3.0]
    optimizer.step()
    assert theta.data.item() == 2 * (1 - 0.5 * 0.25) + 0.5


@pytest.mark.parametrize("cls", [nn.SGD, nn.Adam, nn.AdamW, nn.RMSProp, nn.NAdam])
def test_only_decay_in_the_gradient_takes_an_array(cls: type[Optimizer]) -> None:
    slots = cls.work_slots(decays=True)
    assert ("decayed" in slots) is not cls.decoupled
    assert cls.work_slots(decays=False) == cls.scratches


# Prodigy


def test_prodigy_estimates_one_distance_from_the_gradients_of_all_tensors() -> None:
    one, two = nn.Parameter([1.0, -1.0], "float64"), nn.Parameter([3.0], "float64")
    optimizer = nn.Prodigy([one, two], d0=0.5, betas=(0.0, 0.0), beta3=0.5, d_coef=2.0, eps=1e-9)
    one.grad, two.grad = [1.0, -1.0], [2.0]
    optimizer.step()  # q = 0, s = 0.5·g, θ ← θ − 0.5·sign(g)
    np.testing.assert_allclose([*one.data, *two.data], [0.5, -0.5, 2.5], rtol=1e-8)
    assert optimizer.scalars() == {"d": 0.5, "largest": 0.5, "numerator": 0.0, "moves": 1}
    optimizer.step()  # q = 0.5·⟨g, θ₁ − θ⟩ = 0.5·2, ‖s‖₁ = 0.75·4, d̂ = 2·1/3
    np.testing.assert_allclose([*one.data, *two.data], [0.0, 0.0, 2.0], atol=1e-8)
    assert optimizer.scalars()["numerator"] == pytest.approx(1)
    assert optimizer.d == pytest.approx(2 / 3)
    optimizer.step()  # with d = 2/3
    np.testing.assert_allclose([*one.data, *two.data], [-2 / 3, 2 / 3, 4 / 3], rtol=1e-7)


def test_a_rate_by_layer_scales_steps_of_prodigy_and_frozen_tensors_are_not_part_of_its_distance() -> None:
    params, row = parameters(), gradients(1)[0]
    params[0].configure(rate=0.5)
    params[2].configure(frozen=True)
    before = [p.data.copy() for p in params]
    spread(row, params)
    optimizer = nn.Prodigy(params)
    optimizer.step()
    steps = [np.abs(p.data - start).max() for p, start in zip(params, before, strict=True)]
    assert steps[0] == pytest.approx(steps[1] / 2, rel=1e-4)  # but for ε
    assert steps[2] == 0
    params[2].grad = np.full(params[2].shape, 1e6)
    optimizer.step()
    others = [p for i, p in enumerate(parameters()) if i != 2]
    others[0].configure(rate=0.5)
    spread(np.delete(row, np.s_[35:50]), others)
    same = nn.Prodigy(others)
    same.step()
    same.step()
    assert same.scalars() == optimizer.scalars()


def test_prodigy_resumes_while_its_distance_grows() -> None:
    rows, more = gradients(8) + 1, {"d0": 1e-3, "growth_rate": 1.2, "use_bias_correction": True}
    params, again = parameters(), parameters()
    optimizer, resumed = nn.Prodigy(params, **more), nn.Prodigy(again, **more)
    for row in rows[:6]:
        spread(row, params)
        optimizer.step()
    for one, other in zip(again, params, strict=True):
        one.data = other.data
    for state, kept in zip(resumed.state, optimizer.state, strict=True):
        for slot, array in kept.items():
            state[slot][...] = array
    resumed.steps = optimizer.steps
    scalars = optimizer.scalars()
    assert len({*scalars.values()}) == 4  # so that none can be taken for another
    assert 1e-3 < scalars["d"] < scalars["largest"]
    resumed.keep_scalars(json.loads(json.dumps(scalars)))
    for row in rows[6:]:
        for each in (params, again):
            spread(row, each)
        optimizer.step()
        resumed.step()
    np.testing.assert_array_equal(numbers(again), numbers(params))
    assert resumed.scalars() == optimizer.scalars()


def test_at_a_rate_of_zero_prodigy_changes_nothing() -> None:
    params, more = parameters(), {"weight_decay": 0.1, "use_bias_correction": True}
    optimizer = nn.Prodigy(params, lr=nn.ConstantSchedule(1.0, warmup=1), **more)
    same = nn.Prodigy(parameters(), lr=1.0, **more)
    for each in (params, same.params):
        spread(gradients(1)[0], each)
    optimizer.at(0, 10)
    optimizer.step()
    np.testing.assert_array_equal(numbers(params), numbers(parameters()))
    assert not any(state["gradient_sum"].any() or state["second_moment"].any() for state in optimizer.state)
    optimizer.at(1, 10)
    optimizer.step()
    same.step()
    np.testing.assert_array_equal(numbers(params), numbers(same.params))


# Tensors with settings of their own


def tensors(*settings: dict[str, Any]) -> nn.Parameter:
    """A vector of tensors of two numbers each."""
    segments = [Segment((2,), 2 * i, **each) for i, each in enumerate(settings)]
    return nn.Parameter.over(np.ones(2 * len(settings)), np.zeros(2 * len(settings)), segments)


@pytest.mark.parametrize(
    ("settings", "decay", "groups"),
    [
        ([{}, {"decays": False}, {}], 0.0, [(0, 6, 1.0, 0.0)]),
        ([{}, {"decays": False}, {}], 0.1, [(0, 2, 1.0, 0.1), (2, 4, 1.0, 0.0), (4, 6, 1.0, 0.1)]),
        ([{}, {"rate": 2.0}, {"rate": 2.0}], 0.1, [(0, 2, 1.0, 0.1), (2, 6, 2.0, 0.1)]),
        ([{"frozen": True}, {}, {"frozen": True}, {}], 0.0, [(2, 4, 1.0, 0.0), (6, 8, 1.0, 0.0)]),
        ([{"weight_decay": 0.0}, {"weight_decay": 0.3}], 0.1, [(0, 2, 1.0, 0.0), (2, 4, 1.0, 0.3)]),
        ([{"frozen": True}] * 3, 0.1, []),
    ],
)
def test_what_moves_alike_is_one_group(settings: list[dict[str, Any]], decay: float, groups: list[Any]) -> None:
    optimizer = nn.SGD([tensors(*settings)], weight_decay=decay)
    assert [(each.start, each.stop, each.rate, each.weight_decay) for each in optimizer.groups] == groups


def test_elementwise_optimizers_move_all_with_one_rate_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[int] = []
    update = nn.SGD.update
    monkeypatch.setattr(
        nn.SGD, "update", lambda self, theta, *more: (moved.append(theta.size), update(self, theta, *more))
    )
    vector = tensors({}, {"decays": False}, {"weight_decay": 0.5}, {"rate": 2.0}, {"frozen": True}, {"rate": 2.0})
    nn.SGD([vector], weight_decay=0.1).step()
    assert moved == [6, 2, 2]


def test_settings_of_a_parameter_count_from_the_next_step() -> None:
    theta = one_parameter(1.0)
    optimizer = nn.SGD([theta], lr=0.25)
    theta.grad = [1.0]
    optimizer.step()
    theta.configure(rate=2.0)
    optimizer.step()
    theta.configure(frozen=True)
    optimizer.step()
    assert theta.data.item() == 1 - 0.25 - 0.5
    theta.configure(frozen=False, weight_decay=0.5)
    optimizer.step()
    assert theta.data.item() == 0.25 - 0.5 * (1 + 0.5 * 0.25)
    assert optimizer.lr == 0.25


def test_a_factor_multiplies_what_a_schedule_gives() -> None:
    theta, other = one_parameter(0.0), one_parameter(0.0)
    other.configure(rate=0.5)
    optimizer = nn.SGD([theta, other], lr=nn.StepSchedule(1.0, every=1, gamma=0.5))
    theta.grad = other.grad = [1.0]
    for epoch in range(3):
        optimizer.at(epoch, 3)
        optimizer.step()
    assert (theta.data.item(), other.data.item()) == (-1.75, -0.875)


@pytest.mark.parametrize("name", ["rate", "weight_decay"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_setting_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"`{name}` must be at least 0"):
        one_parameter(0.0).configure(**{name: value})


@pytest.mark.parametrize(
    ("starts", "words"),
    [((0, 3), "starts at 3; the one before it ends at 2"), ((0,), "end at 2, and the parameter has 4")],
)
def test_segments_with_gaps_are_refused(starts: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        nn.Parameter.over(np.ones(4), np.zeros(4), [Segment((2,), start) for start in starts])


# What each of them is about


def test_nesterov_looks_ahead() -> None:
    theta = one_parameter(1.0)
    optimizer = nn.Nesterov([theta], lr=0.25, momentum=0.5)
    theta.grad = [2.0]
    optimizer.step()  # v = 2, direction 2 + 0.5·2
    assert theta.data.item() == 1 - 0.25 * 3
    theta.grad = [0.0]
    optimizer.step()  # v = 1, direction 0.5
    assert theta.data.item() == 0.25 - 0.25 * 0.5


def test_a_constant_gradient_never_makes_the_centered_root_a_nan() -> None:
    for value in (1.0, 0.1, 1e-3, 1 / 3):
        theta = one_parameter(0.0)
        optimizer = nn.RMSProp([theta], alpha=0.5, centered=True)
        for _ in range(200):
            theta.grad = [value]
            optimizer.step()
        assert np.isfinite(theta.data).all()


def test_amsgrad_never_forgets_a_large_gradient() -> None:
    ends = {}
    for cls in (nn.Adam, nn.AMSGrad):
        theta = one_parameter(0.0)
        optimizer = cls([theta], lr=0.1, betas=(0.0, 0.5))
        for step in range(60):
            theta.grad = [100.0 if step == 0 else 1e-3]
            optimizer.step()
        ends[cls] = -theta.data.item() - 0.1
    assert ends[nn.AMSGrad] < 1e-3 < 1 < ends[nn.Adam]


def test_lion_moves_everything_by_the_rate() -> None:
    params = parameters()
    optimizer = nn.Lion(params, lr=2.0**-10)
    for row in gradients(10):
        before = numbers(params)
        spread(row, params)
        optimizer.step()
        np.testing.assert_allclose(np.abs(numbers(params) - before), 2.0**-10, rtol=1e-10)


def test_nadam_depends_on_the_number_of_the_step_alone() -> None:
    one, other = several(nn.NAdam)[1], several(nn.NAdam)[1]
    for one.steps in range(1, 40):
        last = one._products()
    other.steps = 39
    assert other._products() == last
    other.steps = 3
    other._products()
    one.steps = 3
    assert other._products() == one._products()


def test_a_parameter_that_has_moved_to_other_arrays_is_found_there() -> None:
    parameter = Parameter(np.ones(3))
    optimizer = nn.SGD([parameter], lr=1.0)
    parameter.grad = np.ones(3)
    optimizer.step()
    data, grad = np.empty(3), np.empty(3)
    parameter.move_to(data, grad)
    optimizer.step()
    np.testing.assert_array_equal(data, -np.ones(3))
