"""The contract of optimizers, held against every optimizer that is registered, and each one's formula."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
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
# Each by default, and with what changes its way of working.
VARIANTS: list[tuple[type[Optimizer], dict[str, Any]]] = [
    *((cls, {}) for cls in CLASSES.values()),
    (nn.SGD, {"lr": 0.1, "momentum": 0.9}),
    (nn.Momentum, {"momentum": 0.0}),
    (nn.Adam, {"betas": (0.0, 0.0)}),
    (nn.Adam, {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-2}),
    (nn.Nesterov, {"momentum": 0.0}),
    (nn.RMSProp, {"alpha": 0.0}),
    (nn.RMSProp, {"centered": True, "eps": 1e-2}),
    (nn.RMSProp, {"momentum": 0.9}),
    (nn.RMSProp, {"momentum": 0.5, "centered": True, "alpha": 0.9}),
    (nn.NAdam, {"momentum_decay": 0.1}),
    (nn.RAdam, {"betas": (0.9, 0.9)}),
    *((cls, {"weight_decay": 1e-3}) for cls in CLASSES.values()),
    (nn.AdamW, {"weight_decay": 0.0}),
    (nn.LAMB, {"weight_decay": 0.0}),
    (nn.LAMB, {"betas": (0.5, 0.9), "eps": 1e-2, "adapt_all": True}),
    (nn.SGD, {"momentum": 0.9, "weight_decay": 1e-3, "decay_all": True}),
]

every_optimizer = pytest.mark.parametrize(
    ("cls", "arguments"), VARIANTS, ids=[f"{cls.spec_name} {arguments or ''}".strip() for cls, arguments in VARIANTS]
)


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


def vector_of(params: list[nn.Parameter]) -> nn.Parameter:
    """All of them as one vector that knows its tensors."""
    segments, end = [], 0
    for parameter in params:
        (own,) = parameter.segments
        segments.append(replace(own, start=end))
        end += parameter.size
    return nn.Parameter.over(numbers(params), np.zeros(end), segments)


@every_optimizer
def test_one_vector_moves_exactly_as_many_parameters(cls: type[Optimizer], arguments: dict[str, Any]) -> None:
    many = parameters()
    one = [vector_of(many)]
    several, single = cls(many, **arguments), cls(one, **arguments)
    for row in gradients(20):
        spread(row, many)
        spread(row, one)
        several.step()
        single.step()
        np.testing.assert_array_equal(numbers(many), numbers(one), strict=True)


@every_optimizer
def test_a_step_writes_into_the_arrays_that_are_there(cls: type[Optimizer], arguments: dict[str, Any]) -> None:
    params = parameters()
    arrays = [(parameter.data, parameter.grad) for parameter in params]
    before = numbers(params)
    spread(gradients(1)[0], params)
    cls(params, **arguments).step()
    assert all(p.data is data and p.grad is grad for p, (data, grad) in zip(params, arrays, strict=True))
    assert not np.any(numbers(params) == before)


@every_optimizer
def test_a_step_allocates_no_array(cls: type[Optimizer], arguments: dict[str, Any]) -> None:
    optimizer = cls([nn.Parameter(np.ones(20_000)), nn.Parameter(np.ones(10_000))], **arguments)
    tracemalloc.start()
    try:
        optimizer.step()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000


@every_optimizer
def test_a_step_leaves_the_gradients_alone(cls: type[Optimizer], arguments: dict[str, Any]) -> None:
    params, row = parameters(), gradients(1)[0]
    spread(row, params)
    optimizer = cls(params, **arguments)
    optimizer.step()
    optimizer.step()
    np.testing.assert_array_equal(np.concatenate([p.grad.ravel() for p in params]), row)


@every_optimizer
def test_a_step_goes_downhill(cls: type[Optimizer], arguments: dict[str, Any]) -> None:
    params, row = parameters(), gradients(1)[0]
    before = numbers(params)
    spread(row, params)
    cls(params, **arguments).step()
    np.testing.assert_array_equal(np.sign(numbers(params) - before), -np.sign(row))


@every_optimizer
def test_zero_gradients_from_the_start_move_nothing_unless_weights_decay(
    cls: type[Optimizer], arguments: dict[str, Any]
) -> None:
    params = parameters()
    before, optimizer = numbers(params), cls(params, **arguments)
    for _ in range(3):
        optimizer.step()
    defaults = {argument.name: argument.default for argument in cls.signature()}
    np.testing.assert_array_equal(numbers(params) == before, not (defaults | arguments)["weight_decay"])
    assert cls.rests(defaults | arguments) is bool((numbers(params) == before).all() and not cls.whole_tensors)


@every_optimizer
def test_zero_grad_empties_every_gradient(cls: type[Optimizer], arguments: dict[str, Any]) -> None:
    params = parameters()
    spread(gradients(1)[0], params)
    cls(params, **arguments).zero_grad()
    assert all(not parameter.grad.any() for parameter in params)


@every_optimizer
def test_weights_that_are_assigned_between_steps_are_where_the_next_step_starts(
    cls: type[Optimizer], arguments: dict[str, Any]
) -> None:
    if cls.whole_tensors:
        pytest.skip("its steps depend on where they start")
    arguments = arguments | {"weight_decay": 0.0}  # with it, a step depends on where it starts
    params, row = parameters(), gradients(1)[0]
    optimizer = cls(params, **arguments)
    spread(row, params)
    optimizer.step()
    moved = numbers(params)
    optimizer.step()
    second = numbers(params) - moved
    params = parameters()
    optimizer = cls(params, **arguments)
    spread(row, params)
    optimizer.step()
    for parameter in params:
        parameter.data = np.zeros(parameter.shape)
    optimizer.step()
    np.testing.assert_allclose(numbers(params), second, rtol=1e-9, atol=1e-15)


@every_optimizer
def test_float32_is_followed(cls: type[Optimizer], arguments: dict[str, Any]) -> None:
    single, double = parameters("float32"), parameters()
    optimizers = cls(single, **arguments), cls(double, **arguments)
    for row in gradients(5):
        spread(row, single)
        spread(row, double)
        for optimizer in optimizers:
            optimizer.step()
    assert all(array.dtype == np.float32 for state in optimizers[0].state for array in state.values())
    assert numbers(single).dtype == np.float32
    np.testing.assert_allclose(numbers(single), numbers(double), rtol=1e-4, atol=1e-5)


@every_optimizer
def test_the_declared_state_is_the_state(cls: type[Optimizer], arguments: dict[str, Any]) -> None:
    params = parameters()
    optimizer = cls(params, **arguments)
    defaults = {argument.name: argument.default for argument in cls.signature()}
    slots = cls.state_slots(defaults | arguments)
    for parameter, state in zip(params, optimizer.state, strict=True):
        assert tuple(state) == slots
        assert all(array.shape == parameter.shape and not array.any() for array in state.values())
    decays = bool((defaults | arguments)["weight_decay"])
    assert tuple(optimizer.work) == cls.work_slots(decays=decays)
    assert {array.size for array in optimizer.work.values()} == {max(parameter.size for parameter in params)}


@every_optimizer
def test_parameters_may_come_from_a_generator(cls: type[Optimizer], arguments: dict[str, Any]) -> None:
    params = parameters()
    assert cls((parameter for parameter in params), **arguments).params == params


@every_optimizer
def test_nothing_to_optimize_is_an_error(cls: type[Optimizer], arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no parameters"):
        cls([], **arguments)
    with pytest.raises(TypeError, match=r"model\.parameters\(\)"):
        cls([np.zeros(3)], **arguments)


@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES.keys())
@pytest.mark.parametrize("lr", [0, -0.1, float("nan"), float("inf"), "fast", None, True])
def test_a_rate_that_is_no_positive_number_is_refused(cls: type[Optimizer], lr: Any) -> None:
    with pytest.raises(ValueError, match=f"{cls.__name__}: `lr`"):
        cls(parameters(), lr=lr)


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
def test_adams_first_step_is_the_rate_whatever_the_gradient(scale: float) -> None:
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


@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES.keys())
def test_weights_decay_and_biases_do_not_unless_all_shall(cls: type[Optimizer]) -> None:
    (plain, without), (some, weights), (every, all_of) = (
        several(cls, weight_decay=decay, decay_all=whole) for decay, whole in ((0.0, False), (0.1, False), (0.1, True))
    )
    for row in gradients(5):
        for params, optimizer in ((plain, without), (some, weights), (every, all_of)):
            spread(row, params)
            optimizer.step()
    for free, partly, wholly in zip(plain, some, every, strict=True):
        assert np.array_equal(free.data, partly.data) is not partly.decays
        assert np.array_equal(partly.data, wholly.data) is partly.decays


@pytest.mark.parametrize("decay_all", [False, True])
@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES.keys())
def test_one_vector_decays_where_the_parameters_that_it_holds_do(cls: type[Optimizer], decay_all: bool) -> None:
    many, optimizer = several(cls, weight_decay=0.05, decay_all=decay_all)
    one = vector_of(many)
    single = cls([one], lr=0.01, weight_decay=0.05, decay_all=decay_all)
    for row in gradients(20):
        spread(row, many)
        one.grad = row
        optimizer.step()
        single.step()
        np.testing.assert_array_equal(numbers(many), one.data, strict=True)


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


# Tensors with settings of their own


def settled(cls: type[Optimizer], **more: Any) -> tuple[list[nn.Parameter], Optimizer]:
    """Parameters of which one moves at half the rate, one is frozen, and one has a weight decay of its own."""
    params, _ = several(cls)
    params[1].configure(rate=0.5)
    params[2].configure(frozen=True)
    params[3].configure(weight_decay=0.2)
    params[4].configure(rate=0.5)
    return params, cls(params, lr=0.01, **more)


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES.keys())
def test_each_moves_as_it_would_alone_with_its_rate_and_its_decay(cls: type[Optimizer], decay: float) -> None:
    together, optimizer = settled(cls, weight_decay=decay)
    alone, _ = several(cls)
    one = [
        cls([alone[0]], lr=0.01, weight_decay=decay),
        cls([alone[1]], lr=0.01 * 0.5, weight_decay=decay),
        None,
        cls([alone[3]], lr=0.01, weight_decay=0.2, decay_all=True),
        cls([alone[4]], lr=0.01 * 0.5, weight_decay=decay),
    ]
    for row in gradients(10):
        spread(row, together)
        spread(row, alone)
        optimizer.step()
        for each in one:
            if each is not None:
                each.step()
    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_array_equal(ours.data, theirs.data, strict=True)


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES.keys())
def test_one_vector_moves_each_of_its_tensors_by_its_own_settings(cls: type[Optimizer], decay: float) -> None:
    many, optimizer = settled(cls, weight_decay=decay)
    one = vector_of(many)
    single = cls([one], lr=0.01, weight_decay=decay)
    for row in gradients(10):
        spread(row, many)
        one.grad = row
        optimizer.step()
        single.step()
        np.testing.assert_array_equal(numbers(many), one.data, strict=True)


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
