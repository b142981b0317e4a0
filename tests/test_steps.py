"""The program of a training step: lowering, validity, and reuse of memory."""

from __future__ import annotations

import dataclasses
import json
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_plan import MODELS
from tiny_spec import ROOT, compiled, spec

import nnspec
from nnspec import engine as nn
from nnspec.cli import cli
from nnspec.compiler import rewrites
from nnspec.compiler.allocate import ITEMSIZE, Memory, allocate
from nnspec.compiler.bind import Views, bind
from nnspec.compiler.lower import _Lowering, lower
from nnspec.compiler.rewrites import stack_lanes
from nnspec.compiler.steps import Step, Steps
from nnspec.compiler.verify import IllegalSteps, verify, verify_memory
from nnspec.engine.layers.contract import Layer

SNAPSHOTS = Path(__file__).parent / "samples" / "steps"
SPECS = sorted(path.name for path in (ROOT / "specs").glob("*.nn"))


def steps_of(model: str, **more: Any) -> Steps:
    return compiled(spec(model, **more)).layouts["run"].steps


# Lowering


def test_a_network_is_lowered_to_the_list_that_one_would_write_down() -> None:
    steps = lower(compiled(spec("Linear(12); ReLU; Linear(10)")).program.lanes[0])
    assert [(step.op, step.node, step.reads, step.writes, step.keeps) for step in steps if step.op != "metric"] == [
        ("forward", "Linear1", ("x",), "Linear1", ()),
        ("forward", "ReLU1", ("Linear1",), "ReLU1", ()),
        ("forward", "Linear2", ("ReLU1",), "Linear2", ()),
        ("loss", "loss", ("Linear2", "targets"), "loss", ()),
        ("loss gradient", "loss", ("loss",), "∂Linear2", ("loss/columns", "loss/index")),
        ("backward", "Linear2", ("∂Linear2",), "∂ReLU1", ("ReLU1",)),
        ("backward", "ReLU1", ("∂ReLU1",), "∂Linear1", ("ReLU1",)),
        ("backward", "Linear1", ("∂Linear1",), None, ("x",)),
        ("update", "optimizer", (), None, ()),
    ]


@pytest.mark.parametrize("name", ["x", "targets", "labels", "weights", "loss", "metric1"])
def test_a_layer_may_have_the_name_of_any_other_value(name: str) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(40, 4)), rng.uniform(0.5, 1, 40)
    data = {"x_train": x, "y_train": (x[:, 0] > 0).astype(int), "w_train": w}
    model = "{}: Linear(4); Dropout(0.3); residual {{ {}: LayerNorm }}; {}2: Linear(2)"
    histories = [
        [lane.history for lane in nnspec.Spec.parse(text.replace("data = Digits", "")).run(data=data).values()]
        for text in (
            spec(model.format(*[label] * 3), data="Digits", train="epochs = 2; batch = 16", race="SGD(0.1); Adam")
            for label in ("plain", name)
        )
    ]
    assert str(histories[0]) == str(histories[1])


def test_gradients_of_a_value_with_several_readers_are_summed_from_the_first_reader_to_the_last() -> None:
    steps = steps_of("Linear(12); add { a { Linear(12) } b { } c { Tanh } }; Linear(10)")
    (total,) = [step for step in steps if step.op == "sum"]
    assert total.reads == ("∂Linear1 via add1.a.Linear1", "∂Linear1 via add1.c.Tanh1", "∂add1")
    assert total.writes == "∂Linear1"


@pytest.mark.parametrize(
    ("model", "absorbed"),
    [
        ("ReLU; MaxPool", {"ReLU1": "MaxPool1"}),
        ("add { a { ReLU; MaxPool } b { MaxPool } }", {"add1.a.ReLU1": "add1.a.MaxPool1"}),
        ("ReLU; residual { MaxPool(3, stride=1, padding=1) }", {}),
        ("ReLU; concat { a { MaxPool } b { MaxPool } }", {}),
        ("ReLU; add { a { MaxPool(3, stride=1, padding=1) } b { } }", {}),
    ],
)
def test_a_pool_only_absorbs_a_relu_without_other_readers(model: str, absorbed: dict[str, str]) -> None:
    assert steps_of(f"Conv2D(2, 3, padding=same); {model}; Flatten; Linear(10)").absorbed == absorbed


def test_layers_before_the_first_parameters_have_no_backward_step() -> None:
    steps = steps_of("Tanh; Sigmoid; Linear(12); ReLU; Linear(10)")
    assert [step.node for step in steps if step.op == "backward"] == ["Linear2", "ReLU1", "Linear1"]
    assert [step.writes for step in steps if step.op == "backward"][-1] is None


@pytest.mark.parametrize("model", MODELS)
def test_every_rewrite_and_every_stack_is_legal_and_destroys_nothing(model: str) -> None:
    steps = lower(compiled(spec(model)).program.lanes[0])
    verify(steps)
    for rewrite in rewrites.REWRITES:
        steps = verify(rewrite.apply(steps))
    for program in (steps, stack_lanes(steps, 3, shared=True), stack_lanes(steps, 3, shared=False)):
        verify_memory(program, allocate(program, 16))


@pytest.mark.parametrize(
    "more",
    [
        {"more": "metrics = [f1]; dtype = float64"},
        {"loss": "MSE", "more": "dtype = float64"},
        {"optimizer": "Adam", "train": "batch = 16; weight_decay.weight = 0.1"},
        {"train": "batch = 200; penalty = L1(0.1)", "data": "Digits(train=250, test=20)"},
    ],
    ids=["metrics", "values", "decay", "penalty"],
)
@pytest.mark.parametrize("model", MODELS)
def test_the_bound_of_memory_holds_even_if_nothing_shared_memory(model: str, more: dict[str, str]) -> None:
    layout = compiled(spec(model, **more)).layouts["run"]
    steps, batch = lower(layout.experiment), layout.batch
    values = sum(batch * slot.numbers * ITEMSIZE[slot.dtype] for slot in steps.slots.values() if not slot.given)
    # The gradient of x, and outputs in the unit of the targets: no step of these networks needs them.
    spare = steps.slots["x"].numbers + prod(layout.experiment.outputs)
    values += batch * spare * ITEMSIZE[layout.dtype]
    fixed = sum(buffer.nbytes for buffer in layout.buffers if buffer.group not in ("values", "work"))
    assert max(layout.memory, fixed + values) <= layout.memory_bound < 5 * layout.memory


def test_passes_have_names_of_their_own() -> None:
    names = [rewrite.name for rewrite in rewrites.REWRITES]
    assert len(set(names)) == len(names) > 0


# What is legal


def changed(steps: Steps, number: int, **changes: Any) -> Steps:
    found = list(steps.steps)
    found[number] = dataclasses.replace(found[number], **changes)
    return dataclasses.replace(steps, steps=tuple(found))


@pytest.mark.parametrize(
    ("number", "changes", "message"),
    [
        (1, {"reads": ("Linear2",)}, "Linear2 is read before it is written"),
        (2, {"writes": "Linear1"}, "Linear1 is written twice"),
        (2, {"reads": ("x",)}, r"it takes \(12,\) to \(10,\), and is given \(784,\)"),
        (2, {"reads": ("nothing",)}, "nothing is not a slot"),
        (1, {"keeps": ("∂Linear1",)}, "∂Linear1 is read before it is written"),
    ],
)
def test_what_is_illegal_is_named_with_its_step(number: int, changes: dict[str, Any], message: str) -> None:
    steps = steps_of("Linear(12); ReLU; Linear(10)")
    with pytest.raises(IllegalSteps, match=f"step {number}, forward of .*: {message}"):
        verify(changed(steps, number, **changes))


def moved(memory: Memory, name: str, place: str) -> Memory:
    return dataclasses.replace(memory, place_of={**memory.place_of, name: place})


def test_memory_that_is_overwritten_too_early_is_found() -> None:
    steps = steps_of("Linear(12); Sigmoid; Tanh; Linear(10)")
    memory = allocate(steps, 16)
    verify_memory(steps, memory)
    # Sigmoid's backward pass reads its output again, so that Tanh may not write over it.
    with pytest.raises(IllegalSteps, match=r"Tanh1 is written over Sigmoid1|Sigmoid1 was overwritten"):
        verify_memory(steps, moved(memory, "Tanh1", memory.place_of["Sigmoid1"]))
    with pytest.raises(IllegalSteps, match=r"written over|was overwritten"):
        verify_memory(steps, moved(memory, "∂Tanh1", memory.place_of["Linear1"]))


def test_work_arrays_of_one_step_that_overlap_are_found() -> None:
    steps = steps_of("Conv2D(4, 5); MaxPool; Flatten; Linear(10)")
    memory = allocate(steps, 16)
    verify_memory(steps, memory)
    together = dataclasses.replace(memory, scratch_at=dict.fromkeys(memory.scratch_at, 0))
    with pytest.raises(IllegalSteps, match="its work arrays overlap"):
        verify_memory(steps, together)
    with pytest.raises(IllegalSteps, match="do not fit the pool"):
        verify_memory(steps, dataclasses.replace(memory, pool=8))


# Values by name


class Small:
    """A program written by hand on top of the lowering, with its own layers, to run once."""

    def __init__(self) -> None:
        self.lowering = _Lowering("float64")
        self.layers: dict[str, Layer] = {}

    def layer(self, name: str, layer: Layer, x: str, model: str) -> str:
        (node,) = compiled(spec(f"{model}; Linear(10)", more="")).program.lanes[0].layers[:1]
        self.layers[name] = layer
        return self.lowering.node(dataclasses.replace(node, name=name), x)

    def run(self, gradients: dict[str, str], given: dict[str, np.ndarray], rows: int) -> Any:
        steps = verify(self.lowering.result())
        memory = allocate(steps, rows)
        verify_memory(steps, memory)
        rooms = {name: np.full(size, 255, np.uint8) for name, size in memory.rooms.items()}
        views = Views(steps, memory, rooms, given, rows)
        return steps, views


def linear(inputs: int, outputs: int, seed: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, dtype=np.float64, rng=np.random.default_rng(seed))


def run_by_hand(steps: Steps, views: Views, layers: dict[str, Layer]) -> None:
    """Run the layers, sums and parts of a program, as a loop does."""

    class Mine:
        def layers(self, step: Step) -> Any:
            yield None, layers[step.node]

        def metrics(self, step: Step) -> Any:
            return iter(())

        def losses(self, rows: int) -> Any:
            return iter(())

    loss = Step("loss", "loss", ()), Step("loss gradient", "loss", ())
    calls = bind(dataclasses.replace(steps, steps=(*steps.steps, *loss)), views, Mine(), 1)
    for call, arguments, _, _ in (*calls.forward, *calls.backward):
        call(*arguments)


def test_two_inputs_and_two_outputs() -> None:
    """y = a·U + b·V and z = y·W: the gradient of y comes from outside and through z."""
    rng = np.random.default_rng(3)
    a, b, gy, gz = (rng.standard_normal(shape) for shape in ((5, 784), (5, 784), (5, 4), (5, 3)))
    small = Small()
    u, v, w = linear(784, 4, 0), linear(784, 4, 1), linear(4, 3, 2)
    low = small.lowering
    first = small.layer("U", u, low.given("a", (784,)), "Linear(4)")
    second = small.layer("V", v, low.given("b", (784,)), "Linear(4)")
    y = low._slot(dataclasses.replace(low.slots[first], name="y"))
    low.emit(Step("add", "y", (first, second), y))
    node = dataclasses.replace(compiled(spec("Linear(4); Linear(3); Linear(10)")).program.lanes[0].layers[1], name="W")
    small.layers["W"] = w
    z = low.node(node, y)
    low.differentiate({y: low.given("gy", (4,)), z: low.given("gz", (3,))})
    steps, views = small.run({}, {"a": a, "b": b, "gy": gy, "gz": gz}, 5)
    run_by_hand(steps, views, small.layers)
    total = gy + gz @ w.weight.data.T
    np.testing.assert_allclose(
        w.weight.grad, (a @ u.weight.data + u.bias.data + b @ v.weight.data + v.bias.data).T @ gz
    )
    np.testing.assert_allclose(u.weight.grad, a.T @ total)
    np.testing.assert_allclose(v.weight.grad, b.T @ total)


def test_a_value_can_be_referred_to_from_anywhere_later() -> None:
    """z = y·W + y, y being a labelled layer's output that is read again two layers on."""
    rng = np.random.default_rng(4)
    x, gz = rng.standard_normal((5, 784)), rng.standard_normal((5, 4))
    small = Small()
    u, w = linear(784, 4, 0), linear(4, 4, 1)
    low = small.lowering
    y = small.layer("labelled", u, low.given("x", (784,)), "Linear(4)")
    node = dataclasses.replace(compiled(spec("Linear(4); Linear(4); Linear(10)")).program.lanes[0].layers[1], name="W")
    small.layers["W"] = w
    inner = low.node(node, y)
    z = low._slot(dataclasses.replace(low.slots[inner], name="z"))
    low.emit(Step("add", "z", (inner, y), z))
    low.differentiate({z: low.given("gz", (4,))})
    steps, views = small.run({}, {"x": x, "gz": gz}, 5)
    run_by_hand(steps, views, small.layers)
    np.testing.assert_allclose(u.weight.grad, x.T @ (gz @ w.weight.data.T + gz))


def test_weights_may_be_shared_by_two_steps() -> None:
    """z = (x·W)·W with a single W: each step computes its own gradient, and that of W is their sum."""
    rng = np.random.default_rng(5)
    x, gz = rng.standard_normal((5, 4)), rng.standard_normal((5, 4))
    once, again = linear(4, 4, 7), linear(4, 4, 8)
    again.weight = nn.Parameter(once.weight.data)
    again.weight.move_to(once.weight.data, np.empty((4, 4)))
    small = Small()
    low = small.lowering
    node = compiled(spec("Linear(4); Linear(4); Linear(10)")).program.lanes[0].layers[1]
    small.layers |= {"once": once, "again": again}
    y = low.node(dataclasses.replace(node, name="once"), low.given("x", (4,)))
    z = low.node(dataclasses.replace(node, name="again"), y)
    low.differentiate({z: low.given("gz", (4,))})
    steps, views = small.run({}, {"x": x, "gz": gz}, 5)
    run_by_hand(steps, views, small.layers)
    w, hidden = once.weight.data, x @ once.weight.data + once.bias.data
    assert again.weight.data is once.weight.data
    np.testing.assert_allclose(once.weight.grad + again.weight.grad, x.T @ (gz @ w.T) + hidden.T @ gz)


# In print


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["show", *arguments], env={"NO_COLOR": "1", "COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("name", SPECS)
def test_the_steps_of_every_spec_are_those_of_its_snapshot(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python tests/pages.py` writes the snapshots anew; look at what changed before committing them."""
    monkeypatch.chdir(ROOT)
    assert printed(f"specs/{name}", "--steps") == (SNAPSHOTS / f"{name}.txt").read_text("utf-8")


def test_raw_steps_are_those_before_the_rewrites() -> None:
    raw = json.loads(printed(str(ROOT / "specs" / "lenet.nn"), "--steps=raw", "--json"))
    final = json.loads(printed(str(ROOT / "specs" / "lenet.nn"), "--steps", "--json"))
    of = [[step["node"] for step in record["lanes"][0]["steps"] if step["op"] == "forward"] for record in (raw, final)]
    assert set(of[0]) - set(of[1]) == {"ReLU1", "ReLU2"}
    assert raw["lanes"][0]["rewrites"] == []
    assert "MaxPool1 includes ReLU1" in final["lanes"][0]["rewrites"][0]


def test_the_flops_of_the_steps_are_those_of_the_products() -> None:
    record = json.loads(printed(str(ROOT / "specs" / "race.nn"), "--steps", "--json"))
    flops = {(step["op"], step["node"]): step["flops"] for step in record["lanes"][0]["steps"]}
    assert flops["forward", "Linear1"] == 64 * (2 * 784 * 64 + 64)
    assert flops["backward", "Linear1"] == 64 * (2 * 784 * 64 + 64)  # of the weights alone
    assert flops["backward", "Linear2"] == 2 * 64 * (2 * 64 * 32 + 32)  # and of what arrived


def test_the_spec_may_come_before_or_after_the_option() -> None:
    race = str(ROOT / "specs" / "race.nn")
    assert printed("--steps", race) == printed(race, "--steps") == printed(race, "--steps=final")


def test_steps_and_resolved_are_two_printouts() -> None:
    result = CliRunner().invoke(cli, ["show", str(ROOT / "specs" / "race.nn"), "--steps", "--resolved"])
    assert result.exit_code == 2
    assert "cannot be used together" in result.output
