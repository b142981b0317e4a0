"""Models whose chains continue from earlier values: `from`, and layers that read further values by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tiny_plan import make_plan, train
from tiny_spec import ALONE, OFFLINE, ROOT, compiled, run, spec

import nnspec
from nnspec import engine as nn
from nnspec.api import compile_spec
from nnspec.checker import check
from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import Plan, build_network
from nnspec.compiler.verify import verify, verify_memory
from nnspec.data.given import given_data
from nnspec.data.source import Access
from nnspec.diagnostics import Source
from nnspec.engine.layers.contract import Geometry, Layer, Shape, ShapeError
from nnspec.engine.part import PARTS, ValueName
from nnspec.runner.gradients import prove_program

SKIP = "a: Linear(12); Tanh; b: Linear(8); Sigmoid; Linear(12); concat { up { }; skip { from(a) } }; Linear(10)"
MODELS = {
    "a skip connection": SKIP,
    "a skip of the input": "Linear(6); Tanh; concat { a { }; raw { from(input); Linear(4) } }; Linear(10)",
    "the middle": "a: Linear(12); Tanh; b: Linear(10); from(a); Sigmoid; Linear(10); add { p { from(b) }; q { } }",
    "a branch of another branch": "add { p { a: Linear(6); Tanh; Linear(10) }; q { from(add1.p.a); Linear(10) } }",
    "in a branch": "Linear(6); residual { a: Linear(6); Tanh; Linear(6); add { p { }; q { from(a) } } }; Linear(10)",
    "read thrice": "a: Linear(10); add { p { }; q { from(a) }; r { from(a) } }; add { p { }; q { from(a); Tanh } }",
    "a composition": "Linear(6); r: residual { Linear(6); Tanh }; Linear(6); add { p { }; q { from(r) } }; Linear(10)",
    "the end": "a: Linear(10); b: Linear(10); add { p { from(a) }; q { from(b) } }; c: Linear(10); from(c)",
    "dropout": "a: Linear(12); Dropout(0.3); b: Linear(12); add { p { from(a); Dropout(0.2) }; q { } }; Linear(10)",
}


JOINS = {
    "multiply": "Linear(9); multiply { p { Linear(6); Tanh }; q { Linear(6); Sigmoid } }; Linear(10)",
    "multiply three": "Linear(6); Tanh; multiply { p { }; q { Linear(6) }; r { Linear(1); Sigmoid } }; Linear(10)",
    "the square": "Linear(6); Tanh; multiply { p { }; q { } }; Linear(10)",
    "subtract": "Linear(9); subtract { p { Linear(6) }; q { Linear(6); Tanh } }; Linear(10)",
    "subtract a number": "Linear(9); subtract { p { Linear(6) }; q { Linear(1) } }; Linear(10)",
    "dot": "Linear(9); dot { p { Linear(6); Tanh }; q { Linear(6); Tanh } }; Linear(10)",
    "cosine": "Linear(9); dot(normalise=true) { p { Linear(6) }; q { Linear(6); Tanh } }; Linear(10)",
    "distance": "Linear(9); distance { p { Linear(6) }; q { Linear(6); Tanh } }; Linear(10)",
    "no distance": "a: Linear(9); distance { p { }; q { from(a) } }; Linear(10)",
    "squeeze and excitation": "Linear(36); Reshape([4, 3, 3]); Conv2D(6, 2); Tanh; multiply { p { }; q { GlobalAvgPool;"
    " Linear(3); ReLU; Linear(6); Sigmoid } }; GlobalAvgPool; Linear(10)",
    "places": "Linear(20); Reshape([4, 5]); multiply { p { }; q { Linear(1); Sigmoid }; r { GlobalAvgPool } };"
    " dot { p { }; q { Linear(5) } }; Flatten; Linear(10)",
}
MODELS |= JOINS
SHARED = {
    "the same layer": "a: Linear(8); Tanh; b: Linear(8); Tanh; same(b); Sigmoid; same(b); Linear(10)",
    "the same composition": "Linear(8); r: residual { Linear(8); Tanh }; same(r); Dropout(0.2); same(r); Linear(10)",
    "towers": "concat { p { Linear(6); t: residual { Tanh; Linear(6) }; Linear(4) }; q { Linear(6); same(concat1.p.t);"
    " Linear(3) } }; Linear(10)",
    "norms": "Linear(8); n: BatchNorm; d: Dropout(0.3); Tanh; Linear(8); same(n); same(d); Linear(10)",
    "a skip in a tower": "Linear(8); r: residual { a: Linear(8); Tanh; Linear(8); add { p { }; q { from(a) } } };"
    " Tanh; same(r); Tanh; Linear(10)",
    "tied": "Linear(9); h: Linear(8); Tanh; transposed(h); Tanh; Linear(10)",
    "tied, biased": "Linear(9); h: Linear(8); Tanh; d: transposed(h, bias=true); Tanh; same(h); same(d); Linear(10)",
    "tied to a copy": "Linear(8); h: Linear(8); Tanh; s: same(h); Tanh; transposed(s); Linear(10)",
    "recurrent": "Linear(20); Reshape([4, 5]); l: LSTM(5); same(l); GlobalAvgPool; Linear(10)",
    "attention": "Linear(16); Tanh; Reshape([4, 4]); m: MultiHeadAttention(2); same(m); GlobalAvgPool; Linear(10)",
}
MODELS |= SHARED


@pytest.fixture
def plus() -> Iterator[type[Layer]]:
    """A layer that reads one or two further values: y = x + v · w, with a gradient for each of them."""
    before = dict(PARTS["layer"])

    class Plus(Layer):
        """y = x + v · w; w is 2 if it is not given."""

        spec_name = "Plus"
        backward_reads = frozenset({"input"})

        value: ValueName
        factor: ValueName | None = None

        @classmethod
        def geometry(cls, incoming: Shape, arguments: Any) -> Geometry:
            for name in ("value", "factor"):
                if arguments[name] not in (None, incoming):
                    raise ShapeError(f"`{name}` has the shape {arguments[name]}, not {incoming}", argument=name)
            return Geometry(incoming, 2 * incoming[0])

        def forward(self, x: Any, out: Any = None, *others: Any) -> Any:
            self._read = others
            return np.add(x, others[0] * (others[1] if others[1:] else 2), out=out)

        def backward(self, grad: Any, out: Any = None, *outs: Any, input_grad: bool = True) -> Any:
            v, *w = self._read
            found = [grad * w[0], grad * v] if w else [grad * 2]
            for mine, theirs in zip(outs, found, strict=False):
                np.copyto(mine, theirs)
            if out is not None and input_grad:
                np.copyto(out, grad)
            return (grad, *found)

    yield Plus
    PARTS["layer"].clear()
    PARTS["layer"].update(before)


PLUS = (
    "a: Linear(12); Tanh; b: Linear(12); Sigmoid; c: Linear(12); Plus(a, factor=b); Tanh; Linear(12);"
    " Tanh; Plus(c); Linear(10)"
)


def by_hand(text: str, x: Any, y: Any, batch: int, epochs: int, seed: int = 0) -> tuple[nn.Sequential, list[float]]:
    """Train a network with the teaching API, without shuffling."""
    experiment = compiled(text).program.lanes[0]
    network, loss, losses = build_network(experiment), nn.CrossEntropyLoss(), []
    network.train()
    optimizer = nn.SGD(network.parameters(), lr=0.1)
    for _ in range(epochs):
        for start in range(0, len(x), batch):
            losses.append(loss(network(x[start : start + batch]), y[start : start + batch]))
            network.backward(loss.backward())
            optimizer.step()
    return network, losses


def doubles(model: str, **more: Any) -> str:
    return spec(model, train="epochs = 2; batch = 16; shuffle = false", more="seed = 0\ndtype = float64\n", **more)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_the_compiled_program_trains_like_the_network_run_by_hand(model: str) -> None:
    text = doubles(model)
    plan = make_plan(text)
    found = train(plan, 2)
    x, y = plan.dataset.train.x * (1 / 255), plan.dataset.train.y.astype(int)
    network, losses = by_hand(text, x, y, 16, 2)
    np.testing.assert_allclose(found, losses, rtol=1e-11, atol=1e-13)
    assert list(network.named_parameters()) == list(plan.network.named_parameters())
    for mine, theirs in zip(plan.network.parameters(), network.parameters(), strict=True):
        np.testing.assert_allclose(mine.data, theirs.data, rtol=1e-10, atol=1e-12)
    verify(plan.layout.steps)
    verify_memory(plan.layout.steps, plan.layout.values)


def test_the_gradients_of_several_readers_are_added_in_one_order() -> None:
    text = doubles(MODELS["read thrice"])
    plan = make_plan(text)
    found = train(plan, 2)
    assert found == by_hand(text, plan.dataset.train.x * (1 / 255), plan.dataset.train.y.astype(int), 16, 2)[1]


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_the_gradients_are_those_of_finite_differences(model: str) -> None:
    network = build_network(compiled(doubles(model)).program.lanes[0]).eval()
    x = np.random.default_rng(0).random((3, 784))
    x[:, 6:] = 0
    report = nn.check_gradients(network, nn.CrossEntropyLoss(), x, np.array([1, 0, 3]))
    assert report.error < 1e-7


def test_a_layer_that_reads_further_values_trains_in_plans_and_by_hand(plus: type[Layer]) -> None:
    text = doubles(PLUS)
    plan = make_plan(text)
    found = train(plan, 2)
    x, y = plan.dataset.train.x * (1 / 255), plan.dataset.train.y.astype(int)
    network, losses = by_hand(text, x, y, 16, 2)
    np.testing.assert_allclose(found, losses, rtol=1e-11)
    for mine, theirs in zip(plan.network.parameters(), network.parameters(), strict=True):
        np.testing.assert_allclose(mine.data, theirs.data, rtol=1e-10, atol=1e-12)
    report = nn.check_gradients(network, nn.CrossEntropyLoss(), x[:2], y[:2])
    assert report.error < 1e-7
    verify_memory(plan.layout.steps, plan.layout.values)


def test_lanes_that_share_a_loop_have_the_bits_of_lanes_alone(plus: type[Layer]) -> None:
    for model in (SKIP, PLUS, JOINS["cosine"], SHARED["norms"], SHARED["tied, biased"]):
        text = spec(model, race="p { SGD(lr=0.1) }; q { SGD(lr=0.05) }; r { seed = 3; SGD(lr=0.1) }")
        together, alone = run(text), run(text, ways=ALONE)
        for name in "pqr":
            assert together.lanes[name].history == alone.lanes[name].history


def test_a_layer_reads_what_its_argument_names_and_says_what_does_not_fit(plus: type[Layer]) -> None:
    layer = plus(value="a", factor="b")
    assert (layer.reads(), layer.read()) == (("value", "factor"), ("a", "b"))
    one = np.ones((2, 3))
    np.testing.assert_array_equal(layer(one, 2 * one, 3 * one), 7 * one)
    with pytest.raises(ValueError, match=r"Plus also reads 'a', 'b': in a `Sequential`"):
        layer(one)
    with pytest.raises(ShapeError, match="`factor` has the shape"):
        layer(one, one, np.ones((2, 4)))
    with pytest.raises(ValueError, match="Linear reads no values besides x"):
        nn.Linear(3, 3)(one, one)
    with pytest.raises(ValueError, match=r"From\('a'\) in this Concat reads a value by its name"):
        nn.Concat(a=[nn.From("a")], b=[])(one)
    with pytest.raises(ValueError, match="from1 reads 'a', but no earlier layer has that name"):
        nn.Sequential(nn.From("a"), nn.Linear(3, 3))(one)


def test_the_network_in_python_sums_the_gradients_of_all_readers() -> None:
    network = nn.Sequential().add(nn.Linear(3, 3), "a").add(nn.Tanh()).add(nn.Add(p=[], q=[nn.From("a")]))
    network.add(nn.Concat(p=[], q=[nn.From("input")]))
    x = np.random.default_rng(0).normal(size=(2, 3))
    a = x @ network["a"].weight.data + network["a"].bias.data
    np.testing.assert_allclose(network(x), np.concatenate([np.tanh(a) + a, x], axis=1), rtol=1e-14)
    assert network.output_shape((3,)) == (6,)
    grad = np.ones((2, 6))
    da = 2 - np.tanh(a) ** 2
    np.testing.assert_allclose(network.backward(grad), da @ network["a"].weight.data.T + 1, rtol=1e-13)
    np.testing.assert_allclose(network["a"].weight.grad, x.T @ da, rtol=1e-13)


@pytest.mark.parametrize("model", [MODELS["a skip of the input"], "a: Linear(784); Sigmoid; same(a); Tanh; Linear(10)"])
def test_pixels_that_are_always_black_are_not_skipped_where_others_read_them(model: str) -> None:
    text = doubles(model)
    dataset = compiled(text).program.lanes[0].data[0].source.load(OFFLINE)
    plan = make_plan(text, dataset)
    found = train(plan, 2)
    x, y = dataset.train.x * (1 / dataset.divisor), dataset.train.y.astype(int)
    network, losses = by_hand(text, x, y, 16, 2)
    assert not dataset.train.x.any(axis=0).all()
    np.testing.assert_allclose(found, losses, rtol=1e-9)
    for mine, theirs in zip(plan.network.parameters(), network.parameters(), strict=True):
        np.testing.assert_allclose(mine.data, theirs.data, rtol=1e-8, atol=1e-11)


ORACLE = json.loads((ROOT / "tests/oracle/graphs.json").read_text(encoding="utf-8"))["cases"]


def plan_of(case: dict[str, Any]) -> Plan:
    """Make a plan of a network of PyTorch's, with its weights at the start."""
    arguments = {name: value for name, value in case["data"].items() if name != "classes"}
    if case["data"].get("classes"):
        arguments["classes"] = case["data"]["classes"]
    given = f"Given({', '.join(f'{name}={json.dumps(value)}' for name, value in arguments.items())})"
    text = spec(
        case["model"],
        loss=case["loss"],
        optimizer="SGD(lr=0.1, momentum=0.9)",
        train="epochs = 3; batch = 4; shuffle = false",
        data=given,
        more=f"dtype = float64\n{case['head']}",
    )
    inputs = {name: np.array(array) for name, array in case["x"].items()}
    x, y = inputs if len(inputs) > 1 else inputs["x"], np.array(case["y"])
    data = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    program = compile_spec(nnspec.Spec.parse(text), data=data)
    (experiment,) = program.program.lanes
    dataset = experiment.data[0].source.load(Access(given=given_data(data)))
    plan = plan_alone(experiment, program.layouts["run"], dataset)
    plan.network.load_state_dict({name: np.array(array) for name, array in case["start"].items()})
    return plan


@pytest.mark.parametrize("case", ORACLE, ids=lambda case: case["model"][:20])
def test_gradients_and_training_are_those_of_pytorch(case: dict[str, Any]) -> None:
    plan, losses, gradients = plan_of(case), [], {}
    for epoch in range(3):
        plan.begin(epoch)
        for number in range(plan.batches):
            losses.append(plan.train_batch(number)[0])
            gradients = gradients or {k: p.grad.copy() for k, p in plan.network.named_parameters().items()}
    np.testing.assert_allclose(losses, case["losses"], rtol=1e-10)
    for name, array in case["gradients"].items():
        np.testing.assert_allclose(gradients[name], array, rtol=1e-10, atol=1e-13)
    assert plan.network.state_dict().keys() == case["end"].keys()
    for name, array in case["end"].items():
        np.testing.assert_allclose(plan.network.state_dict()[name], array, rtol=1e-10, atol=1e-13)


FAULTS = {
    "an unknown name": ("Linear(9); from(code); Linear(10)", "NN201", "code", "no layer or input called `code`"),
    "a misspelt name": (
        "code: Linear(9); Tanh; add { p { }; q { from(cod) } }; Linear(10)",
        "NN201",
        "cod",
        "no layer",
    ),
    "a value further down": ("Linear(9); add { p { }; q { from(c) } }; c: Linear(10)", "NN203", "c", "further down"),
    "a value that is not finished": (
        "r: residual { Linear(784); add { p { }; q { from(r) } } }; Linear(10)",
        "NN203",
        "r",
        "not finished",
    ),
    "a repeated layer": (
        "h: Linear(9) * 2; Linear(9); add { p { }; q { from(h) } }; Linear(10)",
        "NN203",
        "h",
        "repeated",
    ),
    "a value that is not used": (
        "a: Linear(9); Linear(8); from(a); Linear(10)",
        "NN203",
        "Linear(8)",
        "`Linear2` is not used",
    ),
    "a value that a composition does not use": (
        "a: Linear(9); Linear(8); add { p { from(a) }; q { from(a); Tanh } }; Linear(10)",
        "NN203",
        "Linear(8)",
        "not used",
    ),
    "shapes that do not fit": (
        "a: Linear(9); Linear(8); add { p { }; q { from(a) } }; Linear(10)",
        "NN401",
        "q",
        "branch `q` outputs 9 features",
    ),
    "the same of a layer below": ("same(b); Linear(9); b: Linear(10)", "NN203", "b", "further down"),
    "a name of another branch": (
        "add { p { t: Linear(10) }; q { same(t) } }",
        "NN201",
        "t",
        "did you mean `add1.p.t`?",
    ),
    "the weight of nothing": ("Linear(9); transposed(h); Linear(10)", "NN201", "h", "it can use `Linear1`"),
    "a name for a list": (
        "h: Linear(9); from(h); Tanh; add { p { }; q { from(code) } }; k: Linear(10)",
        "NN201",
        "code",
        "it can read `input`, `h`, `Tanh1`",
    ),
    "the same of an input": ("Linear(10); same(input)", "NN201", "input", "no layer above called `input`"),
    "a layer above with a fault": ("h: Linear(9, bais=true); from(h); Linear(10)", "NN202", "bais", "did you mean"),
    "the same of nothing": ("Linear(9); same(h); Linear(10)", "NN201", "h", "no layer"),
    "other sizes": (
        "h: Linear(9); Linear(8); same(h); Linear(10)",
        "NN401",
        "Linear(9)",
        "expects 784 features but got 8",
    ),
    "transposed of nothing": ("Linear(9); t: transposed(h); same(t); Linear(10)", "NN201", "h", "no layer"),
    "no weight": ("h: ReLU; Linear(9); transposed(h); Linear(10)", "NN401", "h", "no weight that could be transposed"),
    "another weight": (
        "h: Linear(9); Linear(8); transposed(h); Linear(10)",
        "NN401",
        "h",
        "takes 9 features but got 8",
    ),
    "a number": ("a: Linear(9); from(3); Linear(10)", "NN301", "3", "the name of a layer above"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_are_reported_where_they_are(case: str) -> None:
    model, code, at, words = FAULTS[case]
    found = [d for d in check(Source("s.nn", spec(model))).diagnostics if d.severity == "error"]
    assert [(d.code, d.span.text.split(" {")[0]) for d in found] == [(code, at)]
    assert words in f"{found[0].message} {found[0].help}"


def test_names_in_a_block_are_those_of_the_block_first() -> None:
    model = "block B(n) { a: Linear(n); Tanh; Linear(n); add { p { }; q { from(a) } } }\n"
    text = model + spec(
        "a: Linear(9); B(7); u: B(6); Linear(9); add { p { }; q { from(a) } };"
        " concat { x { }; y { from(u) }; z { from(B1.a) } }; Linear(10)"
    )
    nodes = [node for layer in compiled(text).program.lanes[0].layers for node in layer.walk() if node.reads]
    assert [node.reads for node in nodes] == [("B1.a",), ("u.a",), ("a",), ("u.add1",), ("B1.a",)]
    assert compiled(text).program.lanes[0].layers[-1].incoming == (9 + 6 + 7,)


@pytest.mark.parametrize(
    "model",
    [
        "h: B(6); ReLU; concat { a { } b { from(h) } }; Linear(10)",
        "h: B(6) * 2; ReLU; add { a { } b { from(h1) } }; Linear(10)",
        "add { a { h: B(6) } b { Linear(6) } }; ReLU; concat { a { } b { from(add1.a.h) } }; Linear(10)",
    ],
)
def test_the_use_of_a_block_is_read_in_proofs_and_predictions_too(model: str) -> None:
    text = spec(model, more="block B(n) { Linear(n); Tanh }", train="epochs = 1; batch = 16")
    program = compiled(text)
    (proof,) = prove_program(program.program, OFFLINE, samples=2, quick=True)
    assert proof.holds
    lane = run(text)["run"]
    assert lane.predictor is not None
    assert lane.predictor.outputs(np.zeros((3, 784))).shape == (3, 10)


def test_an_input_that_no_layer_reads_is_a_finding() -> None:
    text = """data = Given(inputs=["left", "right"], features=3, classes=2)
model {{ from(left); {layers}Linear(2) }}
loss = CrossEntropy
optimizer = SGD
"""
    (found,) = check(Source("s.nn", text.format(layers=""))).diagnostics
    assert (found.code, "right" in found.message) == ("NN724", True)
    both = "concat { a { } b { from(right) } }; "
    assert check(Source("s.nn", text.format(layers=both))).diagnostics == ()
