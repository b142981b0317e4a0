"""Frozen layers, and learning rates and weight decay by layer: names, error messages, training."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tiny_plan import make_plan
from tiny_spec import ALONE, compiled, noise, run, spec

from nnspec import engine as nn
from nnspec.analysis.meter import Meter
from nnspec.checker import check
from nnspec.checker.tensor_names import Idle, tensors
from nnspec.compiler.loop import plans_together
from nnspec.compiler.plan import Plan, build_network
from nnspec.compiler.proofs import prove
from nnspec.compiler.steps import Step
from nnspec.diagnostics import Diagnostic, Source
from nnspec.engine.parameter import KINDS
from nnspec.semantics.changes import Changes, Run
from nnspec.semantics.meaning import identity, meaning
from nnspec.semantics.resolved import rows
from nnspec.semantics.values import written
from nnspec.view.terminal.structure import structure_record

BLOCKS = """data = Digits(train=50, test=20)
block Hidden(units) { Linear(units, bias=false); LayerNorm; PReLU }
model {
    stem: Linear(8)
    h: Hidden(8) * 2
    body: residual { Hidden(8); last: Linear(8); Tanh; shortcut { Linear(8) } }
    Linear(10)
}
loss = CrossEntropy
optimizer = SGD(lr=0.1)
train.batch = 16
"""
ALL = [
    *("stem.weight", "stem.bias"),
    *(
        f"h{i}.{name}"
        for i in (1, 2)
        for name in ("Linear1.weight", "LayerNorm1.weight", "LayerNorm1.bias", "PReLU1.weight")
    ),
    *(f"body.Hidden1.{name}" for name in ("Linear1.weight", "LayerNorm1.weight", "LayerNorm1.bias", "PReLU1.weight")),
    *("body.last.weight", "body.last.bias", "body.shortcut.Linear1.weight", "body.shortcut.Linear1.bias"),
    *("Linear2.weight", "Linear2.bias"),
]


def checked(text: str) -> tuple[Any, list[Diagnostic]]:
    result = check(Source("tiny.nn", text))
    return result.program, [d for d in result.diagnostics if d.code not in ("NN703", "NN704", "NN713")]


def named(found: Any) -> dict[str, Any]:
    return {f"{tensor.layer}.{tensor.name}": tensor for tensor in found}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("stem", {"stem.weight", "stem.bias"}),
        ("stem.bias", {"stem.bias"}),
        ("h2", {n for n in ALL if n.startswith("h2.")}),
        ("h", {n for n in ALL if n.startswith(("h1.", "h2."))}),
        ("h.Linear1", {"h1.Linear1.weight", "h2.Linear1.weight"}),
        ("h.scale", {"h1.LayerNorm1.weight", "h2.LayerNorm1.weight"}),
        ("h2.LayerNorm1.shift", {"h2.LayerNorm1.bias"}),
        ("body", {n for n in ALL if n.startswith("body.")}),
        ("body.shortcut", {"body.shortcut.Linear1.weight", "body.shortcut.Linear1.bias"}),
        ("body.last.weight", {"body.last.weight"}),
        ("residual", {n for n in ALL if n.startswith("body.")}),
        ("residual.bias", {"body.last.bias", "body.shortcut.Linear1.bias"}),
        ("Hidden", {n for n in ALL if n.startswith(("h1.", "h2.", "body.Hidden1."))}),
        ("LayerNorm", {n for n in ALL if "LayerNorm" in n}),
        ("LayerNorm.scale", {n for n in ALL if n.endswith("LayerNorm1.weight")}),
        ("slope", {n for n in ALL if "PReLU" in n}),
        ("bias", {"stem.bias", "body.last.bias", "body.shortcut.Linear1.bias", "Linear2.bias"}),
        ("Linear2", {"Linear2.weight", "Linear2.bias"}),
        ("GRU", set()),
    ],
)
def test_a_name_selects_these_parameters(name: str, found: set[str]) -> None:
    program, _ = checked(f"{BLOCKS}train {{ lr_factor.{name} = 0.5; freeze = {name} }}\n")
    (lane,) = program.lanes
    assert list(named(tensors(lane))) == ALL
    assert {n for n, tensor in named(tensors(lane)).items() if tensor.rate == 0.5} == found
    assert {n for n, tensor in named(tensors(lane)).items() if tensor.frozen} == found
    assert [tensor.start for tensor in tensors(lane)] == list(np.cumsum([0, *(t.size for t in tensors(lane))])[:-1])


@pytest.mark.parametrize(
    ("settings", "tensor", "rate"),
    [
        ("bias = 2; Linear = 3", "stem.bias", 3),
        ("bias = 2; Linear.bias = 3; Linear = 4", "stem.bias", 3),
        ("Linear.bias = 3; stem = 4", "stem.bias", 4),
        ("stem = 4; stem.bias = 5", "stem.bias", 5),
        ("h = 2; h2 = 3", "h2.Linear1.weight", 3),
        ("h2 = 3; h = 2", "h1.Linear1.weight", 2),
        ("h2 = 3; h.Linear1 = 2", "h2.Linear1.weight", 2),
        ("h.weight = 3; h2 = 2", "h2.Linear1.weight", 2),
        ("residual = 2; Hidden = 3", "body.Hidden1.Linear1.weight", 3),
        ("body = 2; Hidden = 3", "body.Hidden1.Linear1.weight", 2),
        ("body.bias = 3; body.last = 2", "body.last.bias", 2),
        ("Linear2 = 5; weight = 2", "Linear2.weight", 5),
        ("weight = 2", "stem.bias", 1),
    ],
)
def test_the_most_specific_name_counts(settings: str, tensor: str, rate: float) -> None:
    program, _ = checked(f"{BLOCKS}train {{ lr_factor {{ {settings} }}; weight_decay {{ {settings} }} }}\n")
    found = named(tensors(program.lanes[0]))[tensor]
    assert (found.rate, found.weight_decay) == (rate, None if rate == 1 else rate)


def test_a_label_goes_before_a_kind_of_parameter() -> None:
    program, _ = checked(spec("bias: Linear(6); ReLU; Linear(10)", train="lr_factor.bias = 3"))
    assert [tensor.rate for tensor in tensors(program.lanes[0])] == [3, 3, 1, 1]


@pytest.mark.parametrize(
    ("line", "code", "message", "help"),
    [
        ("train.freeze = [stm]", "NN201", "the model has no layer `stm`", "did you mean `stem`?"),
        ("train.freeze = Hiden", "NN201", "the model has no layer `Hiden`", "did you mean `Hidden`?"),
        ("train.lr_factor.x9 = 2", "NN201", "the model has no layer `x9`", "there are `stem`, `h1`"),
        ("train.lr_factor.stem.bais = 2", "NN201", "`stem` has no `bais`", "it has `weight` and `bias`"),
        ("train.weight_decay.body.x = 2", "NN201", "`body` has no `x`", "its layers are `Hidden1`, `last`, `Tanh1`"),
        ("train.freeze = [stem, 3]", "NN301", "lists names of layers", "[h1, h2.bias]"),
        ('train.freeze = ["stem"]', "NN301", "lists names of layers", "write `stem` without quotes"),
        ("train.freeze = true", "NN301", "not true", ""),
        ("train.freeze = [weight, bias, scale, shift, slope]", "NN205", "all parameters are frozen", "remove a layer"),
        ("train.lr_factor.stem = 0", "NN302", "must be greater than 0", ""),
        ("train.lr_factor.stem = cosine(0.1)", "NN305", "`cosine` is a schedule", ""),
        ("train.lr_factor = 0.1", "NN203", "needs the name of a layer", "train.lr_factor.h1 = 0.1"),
        ("train.lr_mult.stem = 0.1", "NN201", "no setting `lr_mult`", "did you mean `lr_factor`?"),
        ("train.weight_decay = 0.1", "NN201", "no setting `weight_decay`", "optimizer.weight_decay"),
        ("train.weight_decay.stem = -1", "NN302", "must be at least 0", ""),
        ("train.trainable = [stem]", "NN201", "no setting `trainable`", "train.freeze = [h1, h2]"),
        ("model.stem.lr = 0.1", "NN202", "no argument `lr`", "`train.lr_factor.stem = …`"),
        ("model.h.Linear1.weight_decay = 0", "NN202", "no argument", "`train.weight_decay.h.Linear1 = …`"),
        ("train { lr_factor { h = 1; h = 2 } }", "NN204", "is given twice", ""),
    ],
)
def test_mistakes_are_reported(line: str, code: str, message: str, help: str) -> None:
    program, (found,) = checked(f"{BLOCKS}{line}\n")
    assert program is None
    assert found.code == code
    assert message in found.message
    assert help in (found.help or "")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("freeze = [stem, ReLU]", "`ReLU` in `train.freeze` has no effect: `ReLU` has no parameters here"),
        ("lr_factor.GRU = 2", "`train.lr_factor.GRU` has no effect: `GRU` has no parameters here"),
        ("freeze = stem; lr_factor.stem.bias = 2", "`train.lr_factor.stem.bias` has no effect: `stem.bias` is frozen"),
        (
            "weight_decay { residual.slope = 1; body = 0 }",
            "`train.weight_decay.residual.slope` has no effect: more specific settings of `weight_decay` override it",
        ),
    ],
)
def test_a_setting_without_effect_is_a_warning(settings: str, message: str) -> None:
    program, (found,) = checked(f"{BLOCKS}train {{ {settings} }}\n")
    assert program is not None
    assert (found.code, found.message) == ("NN718", message)
    assert Idle()(program.lanes[0])


def test_a_setting_with_an_effect_in_one_lane_is_not_reported() -> None:
    text = f"{BLOCKS}train.lr_factor.stem = 0.1\nrace {{ slow {{ }}\n frozen {{ train.freeze = stem }} }}\n"
    _, found = checked(text)
    assert found == []


def test_layers_make_the_parameters_that_they_declare() -> None:
    text = (
        "Reshape([28, 28]); PositionalEmbedding; MultiHeadAttention(2); LayerNorm; RMSNorm; RNN(8); GRU(8); LSTM(8); "
        "Conv1D(8, 3, padding=same); PReLU; BatchNorm; Flatten; Linear(10)"
    )
    (lane,) = compiled(spec(text)).program.lanes
    ours = named(tensors(lane))
    network = build_network(lane).named_parameters()
    assert {name: (t.shape, t.decays) for name, t in ours.items()} == {
        name: (p.shape, p.decays) for name, p in network.items()
    }
    assert {tensor.kind for tensor in ours.values()} == set(KINDS)
    assert {name for name, tensor in ours.items() if tensor.kind == "scale"} == {
        "LayerNorm1.weight",
        "RMSNorm1.weight",
        "BatchNorm1.weight",
    }


# Training

MODEL = "a: Linear(12); Tanh; b: Linear(12); Tanh; c: Linear(10)"
SETTINGS = {"a.weight": (0.5, 0.1), "a.bias": (0.5, 0.1), "b.weight": (2.0, 0.3), "b.bias": (2.0, 0.0)}


def moved_by_hand(plan: Plan, rates: dict[str, tuple[float, float]], frozen: set[str], lr: float) -> nn.NumpyMLP:
    """Train an epoch by SGD with momentum 0.9, tensor by tensor, as Polyak wrote it down."""
    other, network, loss = planned(), build_network(plan.experiment), plan.experiment.loss.make()
    velocity = {name: np.zeros(p.shape) for name, p in network.named_parameters().items()}
    other.begin(0)
    for number in range(other.batches):
        rows = other.data.train(number)
        loss.forward(network.forward(other.data.x(rows, whole=True)), other.data.targets(rows))
        network.backward(loss.backward())
        for name, p in network.named_parameters().items():
            factor, decay = rates.get(name, (1.0, 0.0))
            velocity[name] = 0.9 * velocity[name] + (p.grad + decay * p.data)
            if name not in frozen:
                p.data = p.data - lr * factor * velocity[name]
    return network


def planned(train: str = "", optimizer: str = "Momentum(lr=0.02)", model: str = MODEL) -> Plan:
    train = f"epochs = 1; batch = 16; {train}"
    return make_plan(spec(model, optimizer=optimizer, train=train, more="dtype = float64"))


def trained(plan: Plan, epochs: int = 1) -> dict[str, Any]:
    for epoch in range(epochs):
        plan.begin(epoch)
        for number in range(plan.batches):
            plan.train_batch(number)
    return {name: p.data.copy() for name, p in plan.network.named_parameters().items()}


BY_LAYER = "lr_factor { a = 0.5; b = 2 }; weight_decay { a = 0.1; b.weight = 0.3 }"


@pytest.mark.parametrize("frozen", ["none", "a", "[a.weight, c]", "b", "[b, c.bias]"])
def test_each_layer_moves_by_its_own_rate_and_decay_and_frozen_ones_stay(frozen: str) -> None:
    plan = planned(f"{BY_LAYER}; freeze = {frozen}")
    start = {name: p.data.copy() for name, p in plan.network.named_parameters().items()}
    words = frozen.strip("[]").split(", ")
    still = {name for name in start if name in words or name.partition(".")[0] in words}
    found = trained(plan)
    expected = moved_by_hand(plan, SETTINGS, still, 0.02).named_parameters()
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name].data, rtol=1e-12, atol=1e-13)
        assert np.array_equal(values, start[name]) is (name in still)


def ops(plan: Plan) -> list[str]:
    def shown(step: Step) -> str:
        return f"{step.node}{'' if step.writes else ' alone'}"

    return [shown(step) for step in plan.layout.steps if step.op == "backward"]


@pytest.mark.parametrize(
    ("freeze", "back"),
    [
        ("none", ["c", "Tanh2", "b", "Tanh1", "a alone"]),
        ("a", ["c", "Tanh2", "b alone"]),
        ("[a, b]", ["c alone"]),
        ("[a.weight, b]", ["c", "Tanh2", "b", "Tanh1", "a alone"]),
        ("[c, weight]", ["c", "Tanh2", "b", "Tanh1", "a alone"]),
    ],
)
def test_backward_ends_with_the_first_layer_that_is_trained(freeze: str, back: list[str]) -> None:
    assert ops(planned(f"freeze = {freeze}")) == back


@pytest.mark.parametrize(
    "model", [MODEL, "Reshape([1, 28, 28]); a: Conv2D(3, 5, stride=3); b: Conv2D(4, 3); Flatten; c: Linear(10)"]
)
def test_a_frozen_layer_in_between_passes_the_gradient_on_without_computing_its_own(model: str) -> None:
    free, held = planned(model=model), planned("freeze = b", model=model)
    for plan in (free, held):
        plan.begin(0)
        plan.train_batch(0)
    gradients = [{n: p.grad for n, p in plan.network.named_parameters().items()} for plan in (free, held)]
    for name, grad in gradients[0].items():
        expected = np.zeros_like(grad) if name.startswith("b.") else grad
        np.testing.assert_array_equal(gradients[1][name], expected)
    held.release()
    assert all(layer.trains for layer in held.layers.values())


def test_clipping_by_the_norm_and_penalties_leave_frozen_parameters_out() -> None:
    plan = planned("freeze = [a.weight, b]; clip_norm = 0.01; penalty = L2(0.5)", "SGD(lr=1)")
    before = {name: p.data.copy() for name, p in plan.network.named_parameters().items()}
    plan.begin(0)
    loss, _ = plan.train_batch(0)
    moved = {name: before[name] - p.data for name, p in plan.network.named_parameters().items()}
    assert {name for name, each in moved.items() if each.any()} == {"a.bias", "c.weight", "c.bias"}
    assert np.sqrt(sum((each**2).sum() for each in moved.values())) == pytest.approx(0.01, rel=1e-3)
    free = planned("freeze = [a.weight, b]", "SGD(lr=1)")
    free.begin(0)
    assert loss - free.train_batch(0)[0] == pytest.approx(0.5 * (before["c.weight"] ** 2).sum())


def test_a_constraint_leaves_frozen_weights_alone() -> None:
    plan = planned("freeze = a; constraint = max_norm(0.1)")
    before = plan.network.named_parameters()["a.weight"].data.copy()
    found = trained(plan)
    assert np.array_equal(found["a.weight"], before)
    assert (np.linalg.norm(found["b.weight"], axis=0) <= 0.1 + 1e-12).all()


def test_a_frozen_batch_norm_follows_its_batches() -> None:
    plan = planned("freeze = BatchNorm", model="Linear(8, bias=false); BatchNorm; ReLU; Linear(10)")
    start = {name: array.copy() for name, array in plan.network.state().items()}
    found = trained(plan)
    assert (found["BatchNorm1.weight"] == 1).all()
    assert all((array != start[name]).any() for name, array in plan.network.state().items())


@pytest.mark.parametrize(("lr", "half"), [("linear(0.02)", "linear(0.01)"), ("cosine(0.25)", "cosine(0.125)")])
def test_a_factor_multiplies_a_schedule(lr: str, half: str) -> None:
    found = trained(planned("lr_factor { weight = 0.5; bias = 0.5 }", f"SGD(lr={lr})"))
    for name, values in trained(planned(optimizer=f"SGD(lr={half})")).items():
        np.testing.assert_array_equal(found[name], values)


RACE = """
    plain { }
    slow { train { lr_factor { a = 0.125; bias = 2 } } }
    decays { train.weight_decay.b = 0.1; optimizer = Adam(lr=0.01) }
    held { train.freeze = a; train.lr_factor.b = 0.5 }
    other { train.freeze = [a.weight, b.bias, a.bias] }
    bias_only { train.freeze = weight }
    lamb { optimizer = LAMB(lr=0.01); train.lr_factor.a = 0.5 }
"""


def test_lanes_in_a_stack_have_the_bits_that_they_have_alone() -> None:
    text = spec(MODEL, train="epochs = 2; batch = 16", race=RACE, more="optimizer = Momentum(lr=0.02)")
    together, alone = run(text), run(text, ways=ALONE)
    assert len(together.summary["ways"]["stacks"]) == 2  # frozen alike: `a` and nothing else; nothing as a whole
    for name, lane in alone.items():
        assert together[name].history == lane.history
        for one, other in zip(together[name].network.parameters(), lane.network.parameters(), strict=True):
            assert one.data.tobytes() == other.data.tobytes()


def test_unused_features_are_skipped_unless_their_weights_decay() -> None:
    text = spec(MODEL, train="epochs = 1; batch = 16; lr_factor.a = 0.5")
    dataset = noise(compiled(text).program.lanes[0].facts)
    dataset.train.x[:, :100] = 0
    narrow = make_plan(text, dataset)
    (vector,) = narrow.optimizer.params
    assert narrow.narrowing is not None
    assert vector.segments[0].shape == (684, 12)
    assert [(group.stop - group.start, group.rate) for group in narrow.optimizer.groups] == [
        (684 * 12 + 12, 0.5),
        (12 * 12 + 12 + 12 * 10 + 10, 1.0),
    ]
    start = narrow.network.named_parameters()["a.weight"].data[:100].copy()
    assert np.array_equal(trained(narrow)["a.weight"][:100], start)
    assert make_plan(text.replace("lr_factor.a", "weight_decay.a"), dataset).narrowing is None
    assert make_plan(text.replace("lr_factor.a", "weight_decay.b"), dataset).narrowing is not None
    for optimizer in ("LAMB", "LAMB(weight_decay=0)"):
        assert make_plan(text.replace("SGD(lr=0.1)", optimizer), dataset).narrowing is None


def test_a_stack_computes_no_gradients_of_frozen_layers() -> None:
    text = spec(MODEL, train="epochs = 1; batch = 16; freeze = b", race="SGD; Momentum")
    program = compiled(text)
    lanes = [(lane, program.layouts[lane.name]) for lane in program.program.lanes]
    plans = plans_together(lanes, noise(lanes[0][0].facts))
    for plan in plans:
        plan.begin(0)
        plan.train_batch(0)
        grads = {name: bool(p.grad.any()) for name, p in plan.network.named_parameters().items()}
        assert {name for name, some in grads.items() if not some} == {"b.weight", "b.bias"}
    assert plans[0].loop is plans[1].loop


def test_the_landscape_descends_along_what_is_trained() -> None:
    text = spec(MODEL, train="epochs = 1; batch = 16; freeze = b; lr_factor.c = 0.5")
    (lane,) = compiled(text).program.lanes
    free, held = (
        Meter(each, noise(lane.facts)) for each in (replace(lane, train=replace(lane.train, freeze=None)), lane)
    )
    weights = np.concatenate([p.data.reshape(-1) for p in build_network(lane).parameters()])
    gradient, expected = held.gradient(weights), free.gradient(weights)
    start = 784 * 12 + 12
    expected[start : start + 12 * 12 + 12] = 0
    np.testing.assert_array_equal(gradient, expected)


# LAMB


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("more", ["", ", weight_decay=0", ", adapt_all=true, decay_all=true", ", betas=(0.5, 0.9)"])
def test_lamb_in_a_spec_is_lamb_in_python(more: str, dtype: str) -> None:
    model = "Linear(12); LayerNorm; residual { Linear(12); Tanh }; PReLU; Linear(10)"
    text = spec(model, optimizer=f"LAMB(lr=0.01{more})", train="epochs = 2; batch = 16", more=f"dtype = {dtype}")
    plan, other = make_plan(text), make_plan(text)
    network, loss = build_network(plan.experiment), nn.CrossEntropyLoss()
    arguments = {name: bound.value for name, bound in plan.experiment.optimizer.arguments.items()}
    optimizer = nn.LAMB(network.parameters(), **arguments)
    for epoch in range(2):
        other.begin(epoch)
        for number in range(other.batches):
            rows = other.data.train(number)
            loss.forward(network.forward(other.data.x(rows, whole=True)), other.data.targets(rows))
            network.backward(loss.backward())
            optimizer.step()
    found = trained(plan, 2)
    for name, parameter in network.named_parameters().items():
        assert found[name].tobytes() == parameter.data.tobytes(), name


def test_lamb_moves_a_weight_by_a_share_of_its_norm() -> None:
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1.0, 1e3):
        weight = nn.Parameter(scale * rng.standard_normal((6, 4)))
        bias = nn.Parameter(rng.standard_normal(5), decays=False)
        optimizer = nn.LAMB([weight, bias], lr=0.125, weight_decay=0.0)
        weight.grad, bias.grad = rng.standard_normal((6, 4)), rng.standard_normal(5)
        before = weight.data.copy(), bias.data.copy()
        optimizer.step()
        length = np.linalg.norm(before[0])
        assert np.linalg.norm(weight.data - before[0]) == pytest.approx(0.125 * length)
        # Without the ratio it is Adam, whose first step has the size of the rate in every number.
        np.testing.assert_allclose(np.abs(bias.data - before[1]), 0.125, rtol=1e-4)


def test_lamb_steps_by_the_rate_where_a_norm_is_zero() -> None:
    zero, still = nn.Parameter(np.zeros((2, 2))), nn.Parameter(np.ones((2, 2)))
    optimizer = nn.LAMB([zero, still], lr=0.5, weight_decay=0.0)
    zero.grad = np.ones((2, 2))
    optimizer.step()
    np.testing.assert_allclose(zero.data, -0.5, rtol=1e-5)
    assert (still.data == 1).all()


# What is said of it


def test_two_experiments_that_differ_by_layer_are_two() -> None:
    def of(train: str) -> str:
        return identity(meaning(compiled(spec(train=f"epochs = 1; {train}")).program))

    plain = of("")
    assert of("freeze = none") == of("freeze = []") == plain
    assert of("freeze = Linear1") == of("freeze = [Linear1]")
    texts = ("", "freeze = Linear1", "lr_factor.bias = 2", "weight_decay.bias = 2", "lr_factor.bias = 3")
    assert len({of(text) for text in texts}) == len(texts)
    assert of("lr_factor { bias = 2; weight = 3 }") == of("lr_factor { weight = 3; bias = 2 }")


def test_show_counts_what_is_trained() -> None:
    record = structure_record(compiled(spec("Linear(6); ReLU; Linear(10)", train="freeze = Linear1")))
    (lane,) = record["lanes"]
    assert (lane["params"], lane["trained_params"]) == (784 * 6 + 6 + 60 + 10, 70)
    spec_of_it = spec(train="freeze = Linear1", expect="trained_params == 70; params > trained_params")
    assert prove(compiled(spec_of_it).program)[1] == ()
    missed = prove(compiled(spec(train="freeze = Linear1", expect="trained_params > 70")).program)[1]
    assert [each.code for each in missed] == ["NN601"]
    train = "freeze = [a, b.weight]; lr_factor { b = 0.5; c.bias = 2 }; weight_decay { c = 0 }"
    (lane,) = structure_record(compiled(spec(MODEL, train=train)))["lanes"]
    assert lane["by_layer"] == {
        "a": "frozen",
        "b.weight": "frozen",
        "b.bias": "lr × 0.5",
        "c.weight": "weight decay 0",
        "c.bias": "lr × 2, weight decay 0",
    }


def test_a_record_has_settings_by_name_and_health_ignores_frozen_gradients() -> None:
    result = run(spec(train="epochs = 2; batch = 16; freeze = Linear1; lr_factor.Linear2.bias = 2"))
    (lane,) = result.summary["lanes"]
    assert lane["train"]["freeze"] == ["Linear1"]
    assert lane["train"]["lr_factor"] == {"Linear2.bias": 2}
    assert lane["health"] == []
    assert list(result["run"].gradients) == ["Linear2.weight", "Linear2.bias"]
    json.dumps(result.summary)


def test_a_sweep_varies_a_factor_and_what_is_frozen() -> None:
    more = "sweep { train.lr_factor.Linear1 = [0.1, 1]; train.freeze = [none, [Linear2], [bias, Linear2]] }"
    program = compiled(spec(more=more)).program
    found = {lane.name: (lane.by_name["train.lr_factor.Linear1"], lane.train.freeze) for lane in program.lanes}
    assert found == {
        "Linear1=0.1,freeze=none": (0.1, None),
        "Linear1=0.1,freeze=-Linear2": (0.1, ("Linear2",)),
        "Linear1=0.1,freeze=-bias,Linear2": (0.1, ("bias", "Linear2")),
        "Linear1=1,freeze=none": (1, None),
        "Linear1=1,freeze=-Linear2": (1, ("Linear2",)),
        "Linear1=1,freeze=-bias,Linear2": (1, ("bias", "Linear2")),
    }


def test_a_flag_and_a_lane_come_last() -> None:
    text = spec(race="SGD(lr=0.1); b { train.lr_factor.bias = 3 }", more="optimizer = Adam\ntrain.lr_factor.bias = 2")
    lanes = compiled(text).program.lanes
    assert [lane.by_name["train.lr_factor.bias"] for lane in lanes] == [2, 3]
    flagged = compiled(text, "b.train.lr_factor.bias=5", "train.freeze=[Linear1]").program.lanes
    assert [lane.by_name["train.lr_factor.bias"] for lane in flagged] == [2, 5]
    assert [lane.train.freeze for lane in flagged] == [("Linear1",), ("Linear1",)]


def test_show_resolved_and_diff_name_each_setting() -> None:
    text = spec(race="a: SGD; b { optimizer = SGD; train.freeze = [Linear1] }", train="epochs = 1; lr_factor.bias = 2")
    lanes = compiled(text).program.lanes
    found = [{row.name: written(row.value) for row in rows(lane) if row.name.startswith("train.")} for lane in lanes]
    assert [(each["train.freeze"], each["train.lr_factor.bias"]) for each in found] == [
        ("none", "2"),
        ("[Linear1]", "2"),
    ]
    sides = [compiled(t) for t in (text, text.replace("lr_factor.bias = 2", "lr_factor { bias = 3; weight = 4 }"))]
    old, new = (Run(side.program.lanes[1], side.layouts["b"]) for side in sides)
    assert [(change.what, change.old, change.new) for change in Changes().settings(old, new)] == [
        ("train.lr_factor.bias", "2", "3"),
        ("train.lr_factor.weight", "not set", "4"),
    ]
    assert Changes().meaning(old) != Changes().meaning(new)
