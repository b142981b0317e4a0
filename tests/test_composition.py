"""Compositions: shapes, names, kernels at the edges, mistakes that must be found, and the way from spec to plan.

What holds for every layer is held against compositions by nnspec.testing; PyTorch's numbers are in test_oracle; that a
plan trains as a loop does, in test_plan.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tiny_plan import make_plan, train
from tiny_spec import OFFLINE, compiled, noise, spec

from nnspec import engine as nn
from nnspec.checker.expand_blocks import MAX_DEPTH
from nnspec.compiler.layout import lay_out
from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import build_network
from nnspec.engine import PARTS
from nnspec.engine.layers.chain import Chain, Member
from nnspec.engine.layers.contract import Layer, ShapeError
from nnspec.engine.random import Stream, stream
from nnspec.runner.gradients import alike_lanes, prove_program
from nnspec.testing.own.compositions import SAMPLES as COMPOSED
from nnspec.testing.samples import Composed, geometry_of, poisoned, work_arrays
from nnspec.view.terminal.screen import console
from nnspec.view.terminal.structure import print_structure, structure_record

BOUND = 1e-7
every_composition = pytest.mark.parametrize("sample", COMPOSED, ids=str)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape)


# --- Shapes ---


def test_a_spec_knows_them_apart_from_other_layers() -> None:
    ours = {name: cls for name, cls in PARTS["composition"].items() if cls.__module__.startswith("nnspec.")}
    assert ours == {
        "residual": nn.Residual,
        "add": nn.Add,
        "concat": nn.Concat,
        "outputs": nn.Outputs,
        "multiply": nn.Multiply,
        "subtract": nn.Subtract,
        "dot": nn.Dot,
        "distance": nn.Distance,
    }
    assert not ours.keys() & PARTS["layer"].keys()
    assert [name for name, cls in ours.items() if cls.signature().arguments] == ["dot"]


@pytest.mark.parametrize(
    ("cls", "incoming", "outs", "out"),
    [
        (nn.Residual, (64,), {"body": (64,)}, (64,)),
        (nn.Residual, (64,), {"body": (32,), "shortcut": (32,)}, (32,)),
        (nn.Residual, (3, 4, 4), {"body": (3, 4, 4)}, (3, 4, 4)),
        (nn.Add, (64,), {"a": (9,), "b": (9,), "c": (9,)}, (9,)),
        (nn.Concat, (64,), {"a": (9,), "b": (1,), "c": (64,)}, (74,)),
        (nn.Concat, (3, 4, 5), {"a": (3, 4, 5), "b": (8, 4, 5)}, (11, 4, 5)),
    ],
)
def test_branches_that_fit_are_joined(cls: type, incoming: tuple, outs: dict, out: tuple) -> None:
    assert cls.join(incoming, outs) == out


@pytest.mark.parametrize(
    ("cls", "incoming", "outs", "argument", "words", "help"),
    [
        (
            nn.Residual,
            (64,),
            {"body": (32,)},
            "body",
            "the body outputs 32 features, but the shortcut has 64 features",
            "end the body with `Linear(64)`, or add a `shortcut { Linear(32) }`",
        ),
        (
            nn.Residual,
            (64,),
            {"body": (32,), "shortcut": (16,)},
            "shortcut",
            "the body outputs 32 features, but the shortcut outputs 16 features",
            "end the shortcut with `Linear(32)`",
        ),
        (
            nn.Residual,
            (3, 4, 4),
            {"body": (48,)},
            "body",
            "the body outputs 48 features, but the shortcut has 3×4×4",
            "end the body with `Linear(48)` and `Reshape([3, 4, 4])`",
        ),
        (
            nn.Add,
            (64,),
            {"a": (9,), "b": (9,), "c": (8,)},
            "c",
            "branch `c` outputs 8 features, but `a` outputs 9 features",
            "all branches must have the same shape: end it with `Linear(9)`",
        ),
        (
            nn.Concat,
            (3, 4, 5),
            {"a": (3, 4, 5), "b": (3, 4, 6)},
            "b",
            "branch `b` outputs 3×4×6, but `a` outputs 3×4×5",
            "end `b` with `Flatten`, `Linear(60)` and `Reshape([3, 4, 5])`",
        ),
        (
            nn.Concat,
            (120, 7),
            {"a": (120, 8), "b": (118, 8)},
            "b",
            "branch `b` outputs 118×8, but `a` outputs 120×8",
            "end `b` with `Flatten`, `Linear(960)` and `Reshape([120, 8])`",
        ),
    ],
)
def test_branches_that_do_not_fit_are_named(
    cls: type, incoming: tuple, outs: dict, argument: str, words: str, help: str
) -> None:
    with pytest.raises(ShapeError) as caught:
        cls.join(incoming, outs)
    assert (str(caught.value), caught.value.argument, caught.value.help) == (words, argument, help)
    assert caught.value.label


def member(name: str, part: type[Layer], incoming: tuple, width: int | None = None) -> Member:
    arguments = {"in_features": None, "out_features": width, "bias": True}
    return Member(name, part, incoming, part.geometry(incoming, arguments))


def test_cost_and_parameters_are_those_of_the_layers_and_the_additions() -> None:
    body = [member("Linear1", nn.Linear, (6,), 4), member("ReLU1", nn.ReLU, (4,))]
    shortcut = [member("Linear1", nn.Linear, (6,), 4)]
    geometry = nn.Residual.combine((6,), {"body": body, "shortcut": shortcut})
    linear = 2 * 6 * 4 + 4
    assert geometry.out == (4,)
    assert geometry.flops == linear + 4 + linear + 4
    assert dict(geometry.parameters) == {
        "Linear1.weight": (6, 4),
        "Linear1.bias": (4,),
        "shortcut.Linear1.weight": (6, 4),
        "shortcut.Linear1.bias": (4,),
    }
    added = nn.Add.combine((6,), {"a": body, "b": shortcut, "c": shortcut})
    assert added.flops == 3 * linear + 4 + 2 * 4
    assert list(added.parameters)[::2] == ["a.Linear1.weight", "b.Linear1.weight", "c.Linear1.weight"]
    joined = nn.Concat.combine((6,), {"a": body, "b": [], "c": shortcut})
    assert (joined.out, joined.flops) == ((14,), 2 * linear + 4)
    identity = nn.Residual.combine((6,), {"body": [member("Tanh1", nn.Tanh, (6,))]})
    assert identity.flops == 6 + 6


def test_a_branch_of_a_plan_reuses_buffers_that_are_not_read_again() -> None:
    """Linear's input and Tanh's output are read again; what the last Linear writes is only added."""
    model = "Linear(12); residual { Linear(4); Dropout(0.2); Tanh; ReLU; Linear(12) }; Linear(10)"
    layout = lay_out(lane_of(model))
    place_of = layout.values.place_of
    places = [place_of[f"residual1.{name}"] for name in ("Linear1", "Dropout1", "Tanh1", "ReLU1", "Linear2")]
    assert places[0] == places[1] == places[2]  # Dropout and Tanh write over it
    assert len({place_of["Linear1"], *places[2:]}) == 4  # ReLU may not write over Tanh's output
    assert place_of["residual1"] == places[4]  # the sum is written over what it adds


def test_branches_that_are_missing_are_an_error() -> None:
    linear = member("Linear1", nn.Linear, (6,), 4)
    for wrong in (
        lambda: nn.Residual.combine((6,), {"body": []}),
        lambda: nn.Residual.combine((6,), {"shortcut": [linear]}),
        lambda: nn.Residual.combine((6,), {}),
        lambda: nn.Add.combine((6,), {"a": [linear]}),
        lambda: nn.Concat.combine((6,), {}),
        lambda: nn.Residual([]),
        lambda: nn.Add([nn.ReLU()]),
        lambda: nn.Concat(),
    ):
        with pytest.raises(ShapeError, match=r"branches|has no layers"):
            wrong()


def test_branches_that_do_not_fit_are_an_error_in_a_program_too() -> None:
    x = normal(3, 6)
    for composition in (nn.Residual([nn.Linear(6, 1)]), nn.Add([], [nn.Linear(6, 1)])):
        with pytest.raises(ShapeError):
            composition.forward(x)  # NumPy would broadcast
    with pytest.raises(ShapeError):
        nn.Concat([], [nn.Flatten()]).forward(normal(3, 2, 4))


# --- Names ---


def test_layers_are_named_by_branch_kind_and_number() -> None:
    inner = nn.Concat([nn.Linear(4, 2), nn.Linear(2, 2)], [nn.ReLU()])
    residual = nn.Residual([nn.Linear(6, 4), nn.Tanh(), inner], shortcut=[nn.Linear(6, 6)])
    model = nn.NumpyMLP(nn.Linear(6, 6), residual, nn.Residual([nn.Linear(6, 6)]))
    assert model.names == ["Linear1", "residual1", "residual2"]
    assert [name for name in model.named_parameters() if name.endswith("weight")] == [
        "Linear1.weight",
        "residual1.Linear1.weight",
        "residual1.concat1.branch1.Linear1.weight",
        "residual1.concat1.branch1.Linear2.weight",
        "residual1.shortcut.Linear1.weight",
        "residual2.Linear1.weight",
    ]
    assert list(residual.children()) == ["Linear1", "Tanh1", "concat1", "shortcut.Linear1"]
    assert [type(layer).__name__ for layer in residual.walk()] == [
        *("Residual", "Linear", "Tanh", "Concat", "Linear", "Linear", "ReLU", "Linear")
    ]


def test_layers_and_branches_may_be_given_names() -> None:
    layer = nn.Add(left={"h": nn.Linear(6, 3)}, self=[nn.Linear(6, 3)], branches=[nn.Linear(6, 3)])
    assert list(layer.parameters())[::2] == ["left.h.weight", "self.Linear1.weight", "branches.Linear1.weight"]


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (lambda: nn.Residual(), TypeError, "Residual: missing a required argument: 'body'$"),
        (lambda: nn.Residual(nn.ReLU()), TypeError, "a branch of Residual is a list of layers"),
        (lambda: nn.Add(nn.ReLU(), nn.ReLU()), TypeError, "a branch of Add is a list of layers"),
        (lambda: nn.Residual([nn.ReLU]), TypeError, "Residual takes layers, not <class"),
        (lambda: nn.Concat([nn.ReLU()], ["ReLU"]), TypeError, "Concat takes layers, not 'ReLU'"),
        (lambda: nn.Residual({"a/b": nn.ReLU()}), ValueError, "'a/b' is not the name of a layer"),
        (lambda: nn.Residual({"": nn.ReLU()}), ValueError, "'' is not the name of a layer"),
    ],
)
def test_invalid_branches_are_rejected(wrong: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        wrong()


def test_a_name_may_be_taken_once() -> None:
    with pytest.raises(ValueError, match="the same name"):
        nn.Residual({"shortcut.Linear1": nn.Linear(6, 6)}, shortcut=[nn.Linear(6, 6)])
    with pytest.raises(ValueError, match="the same name"):
        nn.Residual({"shortcut": nn.Residual([nn.Linear(6, 6)])}, shortcut=[nn.Linear(6, 6)])


def test_a_layer_may_stand_in_one_place_only() -> None:
    shared = nn.Linear(6, 6)
    with pytest.raises(ValueError, match="stands twice"):
        nn.Add([shared], [shared])
    with pytest.raises(ValueError, match="stands twice"):
        nn.Residual([shared, nn.Residual([shared])])
    with pytest.raises(ValueError, match="already in the network"):
        nn.NumpyMLP(shared, nn.Residual([nn.Residual([shared])]))
    with pytest.raises(ValueError, match="already in the network"):
        nn.NumpyMLP(nn.Residual([shared]), shared)


def test_the_network_shows_branches_and_their_layers() -> None:
    model = nn.NumpyMLP(nn.Linear(2, 3), nn.Residual([nn.Add([nn.Linear(3, 3)], []), nn.ReLU()], [nn.Tanh()]))
    assert repr(model) == (
        """\
Sequential(
    Linear1: Linear(2, 3)
    residual1: Residual(
        body=[
            Add(
                branch1=[
                    Linear(3, 3),
                ],
                branch2=[],
            ),
            ReLU(),
        ],
        shortcut=[
            Tanh(),
        ],
    )
)"""
    )


# --- Kernels ---


def test_the_sums_by_hand() -> None:
    x = np.array([[1.0, -2.0]])
    doubled = nn.Linear(2, 2, bias=False)
    doubled.weight.data = 2 * np.eye(2)
    np.testing.assert_array_equal(nn.Residual([doubled]).forward(x), [[3, -6]])
    np.testing.assert_array_equal(nn.Add([nn.ReLU()], [], []).forward(x), [[3, -4]])
    np.testing.assert_array_equal(nn.Concat([nn.ReLU()], []).forward(x), [[1, 0, 1, -2]])
    residual = nn.Residual([nn.ReLU()])
    residual.forward(x)
    np.testing.assert_array_equal(residual.backward(np.array([[10.0, 100.0]])), [[20, 100]])
    concat = nn.Concat([nn.ReLU()], [])
    concat.forward(x)
    np.testing.assert_array_equal(concat.backward(np.array([[1.0, 10.0, 100.0, 1000.0]])), [[101, 1000]])


def test_samples_of_another_shape_may_follow() -> None:
    concat = nn.Concat([nn.ReLU()], [])
    for width in (3, 5):
        x = -np.ones((2, width))
        concat.forward(x)
        np.testing.assert_array_equal(
            concat.backward(np.arange(4.0 * width).reshape(2, -1))[0], np.arange(width, 2 * width)
        )


@every_composition
@pytest.mark.parametrize("batch", [1, 5])
def test_with_lent_arrays_input_and_gradient_are_left_alone(sample: Composed, batch: int) -> None:
    layer, x, grad = sample.make(), sample.x(batch), sample.grad(batch)
    layer.lend(work_arrays(sample, 5))
    y, dx = poisoned(grad.shape), poisoned(x.shape)
    nn.set_seed(7)
    layer.forward(x, out=y)
    np.testing.assert_array_equal(x, sample.x(batch))
    kept = y.copy()
    layer.backward(grad, out=dx)
    np.testing.assert_array_equal(x, sample.x(batch))
    np.testing.assert_array_equal(grad, sample.grad(batch))
    np.testing.assert_array_equal(y, kept)


@every_composition
@pytest.mark.parametrize("input_grad", [True, False])
def test_with_everything_lent_the_numbers_are_the_same(sample: Composed, input_grad: bool) -> None:
    """Work arrays of NaNs, one batch after another of different sizes, and a pass without training between them."""
    eager, lent = sample.make(), sample.make()
    arrays = work_arrays(sample, 5)
    lent.lend(arrays)
    for batch in (5, 2, 5, 1):
        for layer in (eager, lent):
            layer.training = False
            layer.forward(sample.x(batch))
            layer.training = True
        for array in arrays.values():
            array[...] = poisoned(array.shape, array.dtype)
        found = []
        for layer in (eager, lent):
            out = None if layer is eager else poisoned((batch, *sample.geometry().out))
            nn.set_seed(7)
            y = layer.forward(sample.x(batch), out=out)
            into = None if layer is eager or not input_grad else poisoned((batch, *sample.incoming))
            dx = layer.backward(sample.grad(batch), into, input_grad=input_grad)
            grads = [parameter.grad.copy() for parameter in layer.parameters().values()]
            found.append([y, *grads, *([dx] if input_grad else [])])
        for one, other in zip(*found, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("sample", [sample for sample in COMPOSED if sample.incoming == (6,)], ids=str)
def test_gradients_are_right_in_the_middle_of_a_network(sample: Composed) -> None:
    nn.set_seed(3)
    (width,) = sample.geometry().out
    model = nn.NumpyMLP(nn.Linear(4, 6), sample.make(), nn.Tanh(), nn.Linear(width, 3))
    report = nn.check_gradients(model, nn.CrossEntropyLoss(), normal(6, 4), np.array([0, 1, 2, 2, 1, 0]))
    assert report.error < BOUND
    assert [tensor.name for tensor in report.tensors] == [*model.named_parameters(), "input", "loss"]


def test_training_and_noise_are_settings_of_all_layers_inside() -> None:
    inner = nn.Dropout(0.5)
    model = nn.NumpyMLP(nn.Residual([nn.Concat([nn.Linear(6, 3)], [nn.Linear(6, 3), inner])]))
    x = normal(20, 6)
    assert not np.array_equal(model.forward(x), model.forward(x))
    model.eval()
    assert not inner.training
    assert not model.layers[0].training
    np.testing.assert_array_equal(model.forward(x), model.forward(x))
    model.train()
    model.layers[0].hold_noise = True
    assert inner.hold_noise
    assert model.layers[0].hold_noise
    np.testing.assert_array_equal(model.forward(x), model.forward(x))


def test_a_check_holds_noise_and_gives_each_layer_its_own_setting_back() -> None:
    held, free = nn.Dropout(0.5), nn.Dropout(0.5)
    layer = nn.Residual([held, nn.Residual([free])])
    held.hold_noise = True
    assert nn.numerical_gradient_check(layer, normal(5, 6)) < BOUND
    assert (held.hold_noise, free.hold_noise, layer.hold_noise) == (True, False, False)


def test_kinks_inside_of_branches_are_seen() -> None:
    x = np.array([[0.0, 1.0, -1.0, 3e-6]])
    for layer in (
        nn.Residual([nn.ReLU()]),
        nn.Add([], [nn.Residual([nn.ReLU()])]),
        nn.Concat([nn.Tanh()], [nn.ReLU()]),
    ):
        report = nn.check_gradients(nn.NumpyMLP(layer), nn.MSELoss(), x, np.zeros_like(layer.forward(x)))
        checked = {tensor.name: tensor for tensor in report.tensors}["input"]
        assert (checked.kinks, checked.checked) == (2, 2)
        assert report.error < BOUND
        assert nn.check_gradients(nn.NumpyMLP(nn.Residual([nn.Tanh()])), nn.MSELoss(), x, x).error < BOUND


def test_branches_of_sequences_are_joined_along_their_features() -> None:
    layer = nn.Concat([nn.Tanh()], [nn.Linear(3, 2)])
    assert layer.forward(normal(2, 4, 3)).shape == (2, 4, 5)
    assert nn.numerical_gradient_check(layer, normal(2, 4, 3)) < BOUND


# --- Mistakes: each is found by the gradient check. ---


def is_second(chain: Chain) -> bool:
    return isinstance(next(iter(chain.layers.values())), nn.Tanh)


def without_identity(self: Chain, grad: np.ndarray, *, input_grad: bool) -> Any:
    return right(self, grad, input_grad=input_grad) if self.layers else np.zeros_like(grad)


def without_second(self: Chain, grad: np.ndarray, *, input_grad: bool) -> Any:
    passed = right(self, grad, input_grad=input_grad)
    return np.zeros_like(passed) if is_second(self) else passed


def without_weights_of_the_second(self: Chain, grad: np.ndarray, *, input_grad: bool) -> Any:
    passed = right(self, grad, input_grad=input_grad)
    for layer in self.layers.values() if is_second(self) else ():
        for parameter in layer.parameters().values():
            parameter.grad.fill(0)
    return passed


def over_its_gradient(self: Chain, grad: np.ndarray, *, input_grad: bool) -> Any:
    passed = right(self, grad, input_grad=input_grad)
    grad *= 2
    return passed


right = Chain.backward
MISTAKES = [without_identity, without_second, without_weights_of_the_second, over_its_gradient]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_wrong_gradient_is_found(mistake: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    plain = nn.Residual([nn.Linear(6, 6), nn.Tanh()])
    both = nn.Residual([nn.Linear(6, 4)], shortcut=[nn.Tanh(), nn.Linear(6, 4)])
    wrong = plain if mistake is without_identity else both
    assert nn.numerical_gradient_check(wrong, normal(5, 6)) < BOUND
    monkeypatch.setattr(Chain, "backward", mistake)
    assert nn.numerical_gradient_check(wrong, normal(5, 6)) > BOUND


def test_a_layer_that_writes_over_what_is_shared_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: nn.Tanh, x: np.ndarray, out: Any = None) -> np.ndarray:
        self._y = np.tanh(x, out=x)
        return self._y

    layer = nn.Residual([nn.Tanh(), nn.Linear(6, 6)])
    monkeypatch.setattr(nn.Tanh, "forward", forward)
    assert nn.numerical_gradient_check(layer, normal(5, 6)) > BOUND


# --- Depth ---

DEEP = MAX_DEPTH  # as deep as compositions may stand in each other


def deep(depth: int) -> Layer:
    layer: Layer = nn.Residual([nn.Tanh(), nn.Linear(4, 4)])
    for level in range(depth - 1):
        layer = (
            nn.Residual([layer]),
            nn.Add([layer], [nn.Tanh()]),
            nn.Concat([layer, nn.Linear(4, 2)], [nn.Linear(4, 2)]),
        )[level % 3]
    return layer


def test_compositions_a_hundred_deep_are_no_larger_than_what_they_hold() -> None:
    layer, x = deep(100), normal(3, 4)
    for parameter in layer.parameters().values():
        parameter.data *= 0.1
    geometry = geometry_of(layer, (4,))
    assert sum(np.prod(shape) for shape in geometry.parameters.values()) == sum(
        p.size for p in layer.parameters().values()
    )
    y = layer.forward(x)
    assert layer.backward(np.ones_like(y)).shape == x.shape
    layer.training = layer.hold_noise = False
    assert repr(layer).count("Linear(") == 1 + 2 * 33


def test_a_spec_may_nest_as_deep_as_the_language_lets_it() -> None:
    model = "Linear(4); " + "residual { " * DEEP + "Tanh; Linear(4)" + " }" * DEEP + "; Linear(10)"
    program = compiled(spec(model, train="batch = 16"))
    lane, layout = program.program.lanes[0], program.layouts["run"]
    plan = plan_alone(lane, layout, noise(lane.facts))
    assert layout.memory == sum(array.nbytes for array in plan.buffers.values())
    plan.begin(0)
    plan.train_batch(0)
    plan.test()
    plan.release()
    assert np.isfinite(plan.network.forward(normal(2, 784))).all()
    print_structure(program, console())
    record = structure_record(program)["lanes"][0]["layers"][1]
    for _ in range(DEEP - 1):
        (branch,) = record["branches"]
        (record,) = branch["layers"]
    assert [layer["kind"] for layer in record["branches"][0]["layers"]] == ["Tanh", "Linear"]


# --- From the spec to the plan ---

MODEL = """
Linear(12)
residual {
    Linear(12)
    ReLU
    shortcut { Linear(12) }
}
add {
    a { Linear(8); Dropout(0.2) }
    b { residual { Dropout(0.3) }; Linear(8) }
}
concat {
    left { Linear(4); Tanh }
    same { }
}
Linear(10)
"""


def lane_of(model: str, **more: Any) -> Any:
    return compiled(spec(model, more="dtype = float64", **more)).program.lanes[0]


def test_layers_of_a_model_are_called_by_their_paths() -> None:
    network = build_network(lane_of(MODEL))
    assert network.names == ["Linear1", "residual1", "add1", "concat1", "Linear2"]
    assert [name for name in network.named_parameters() if name.endswith("weight")] == [
        "Linear1.weight",
        "residual1.Linear1.weight",
        "residual1.shortcut.Linear1.weight",
        "add1.a.Linear1.weight",
        "add1.b.Linear1.weight",
        "concat1.left.Linear1.weight",
        "Linear2.weight",
    ]


def test_layers_of_blocks_inside_keep_the_names_of_their_uses() -> None:
    text = spec("residual { Wide(9); Wide(784) }; Linear(10)") + "block Wide(n) { Linear(n); ReLU }\n"
    (lane,) = compiled(text).program.lanes
    assert list(build_network(lane).named_parameters())[::2] == [
        "residual1.Wide1.Linear1.weight",
        "residual1.Wide2.Linear1.weight",
        "Linear1.weight",
    ]


def test_every_layer_has_a_random_stream_for_its_position() -> None:
    network = build_network(lane_of(MODEL))
    weights = network.named_parameters()
    for name, place, shape in [
        ("Linear1", (0,), (784, 12)),
        ("residual1.Linear1", (1, 0, 0), (12, 12)),
        ("residual1.shortcut.Linear1", (1, 1, 0), (12, 12)),
        ("add1.a.Linear1", (2, 0, 0), (12, 8)),
        ("add1.b.Linear1", (2, 1, 1), (12, 8)),
        ("Linear2", (4,), (12, 10)),
    ]:
        drawn = nn.Linear(*shape, rng=stream(0, Stream.WEIGHTS, *place)).weight.data
        np.testing.assert_array_equal(weights[f"{name}.weight"].data, drawn, err_msg=name)
    inner = network.layers[2].children()["b.residual1"].children()["Dropout1"]
    other = nn.Dropout(0.3, rng=stream(0, Stream.NOISE, 2, 1, 0, 0, 0))
    np.testing.assert_array_equal(inner.forward(np.ones((4, 12))), other.forward(np.ones((4, 12))))


def test_places_with_nothing_but_noughts_have_streams_of_their_own() -> None:
    draws = [stream(0, Stream.WEIGHTS, *(0,) * count).random(4).tolist() for count in range(1, 9)]
    assert len({tuple(draw) for draw in draws}) == len(draws)


def test_a_change_in_one_branch_leaves_the_weights_of_the_others() -> None:
    one = build_network(lane_of(MODEL)).named_parameters()
    other = build_network(lane_of(MODEL.replace("a { Linear(8)", "a { Tanh; Linear(8)"))).named_parameters()
    assert one.keys() == other.keys()
    changed = [name for name in one if not np.array_equal(one[name].data, other[name].data)]
    assert changed == ["add1.a.Linear1.weight"]


def test_the_layout_counts_what_is_inside() -> None:
    layout = lay_out(lane_of(MODEL))
    widths = [(784, 12), (12, 12), (12, 12), (12, 8), (12, 8), (8, 4), (12, 10)]
    products = sum(2 * n * m + m for n, m in widths)
    assert layout.params == sum(n * m + m for n, m in widths)
    # ReLU and the sum; dropout, dropout, the sum within and the sum; tanh
    assert layout.flops == products + 12 + 12 + 8 + 12 + 12 + 8 + 4


def test_work_of_branches_shares_the_pool() -> None:
    """Each derivative of a ReLU lives within one call; a hundred of them take no more room than two."""
    one, many = (
        lay_out(lane_of(f"Linear(64); residual {{ {'; '.join(['Linear(64); ReLU'] * count)} }}; Linear(10)"))
        for count in (2, 100)
    )
    assert one.values.pool == many.values.pool


def test_a_composition_with_weights_in_one_branch_may_come_first() -> None:
    plan = make_plan(spec("add { a { Tanh }; b { Linear(784) }; c { } }; Linear(10)"))
    assert plan.layout.first_trained == 0
    assert plan.layout.layers[0].node.name == "add1"
    assert np.isfinite(train(plan, 1)).all()


def test_proof_names_lines_of_layers_inside(tmp_path: Any) -> None:
    text = spec(MODEL.strip(), loss="MSE", train="batch = 8")
    (proof,) = prove_program(compiled(text).program, OFFLINE, samples=3, full=False)
    assert proof.holds
    line = {name: int(where.rsplit(":", 1)[1]) for name, where in proof.lines.items()}
    lines = text.splitlines()
    assert "Linear(12)" in lines[line["residual1.Linear1"] - 1]
    assert "shortcut" in lines[line["residual1.shortcut.Linear1"] - 1]
    assert "b {" in lines[line["add1.b.Linear1"] - 1]
    assert {tensor.name.rsplit(".", 1)[0] for tensor in proof.report.tensors} - {"input", "loss"} <= line.keys()


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        (MODEL, True),
        (MODEL.replace("shortcut { Linear(12) }", ""), False),
        (MODEL.replace("    ReLU", "    Tanh"), False),
        (MODEL.replace("Dropout(0.3)", "Dropout(0.4)"), False),
        (MODEL.replace("same { }", "same { ReLU }"), False),
        (MODEL.replace("{ Linear(4); Tanh }\n    same { }", "{ Linear(4) }\n    same { Tanh }"), False),
    ],
)
def test_lanes_are_alike_where_what_is_inside_is_alike(other: str, alike: bool) -> None:
    assert len(alike_lanes([lane_of(MODEL), lane_of(other)])) == (1 if alike else 2)


def test_show_has_what_is_inside_under_its_composition(capsys: pytest.CaptureFixture[str]) -> None:
    program = compiled(spec(MODEL.strip()))
    print_structure(program, console())
    rows = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    start = next(i for i, row in enumerate(rows) if row.startswith("Linear1"))
    names = [row[: len(row) - len(row.lstrip())] + row.split()[0] for row in rows[start : start + 16]]
    assert names == [
        "Linear1",
        "residual1",
        "  Linear1",
        "  ReLU1",
        "  shortcut.Linear1",
        "add1",
        "  a.Linear1",
        "  a.Dropout1",
        "  b.residual1",
        "    Dropout1",
        "  b.Linear1",
        "concat1",
        "  left.Linear1",
        "  left.Tanh1",
        "  same",
        "Linear2",
    ]
    relu, residual = (rows[start + i].split() for i in (3, 1))
    assert relu[1:5] == ["12", "12", "0", "12"]
    assert "over its input" in rows[start + 3]
    assert "buffer" in rows[start + 9]
    assert residual[3:5] == [f"{2 * 156}", f"{2 * 300 + 24}"]
    assert program.program.lanes[0].shapes == "784 → 12 → 12 → 8 → 12 → 10"


def test_the_record_of_show_is_nested() -> None:
    residual = structure_record(compiled(spec(MODEL.strip())))["lanes"][0]["layers"][1]
    assert (residual["name"], residual["kind"], residual["params"]) == ("residual1", "residual", 312)
    assert [branch["name"] for branch in residual["branches"]] == ["body", "shortcut"]
    (inner,) = residual["branches"][1]["layers"]
    assert inner == {
        "name": "residual1.shortcut.Linear1",
        "kind": "Linear",
        "in": [12],
        "out": [12],
        "parameters": {"weight": [12, 12], "bias": [12]},
        "params": 156,
        "flops": 300,
    }
