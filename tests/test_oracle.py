"""Our numbers against PyTorch's, in float64: layers, losses, and whole training runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference import IN_NETWORKS

from nnspec import engine as nn
from nnspec.engine import PARTS

ORACLE = Path(__file__).parent / "oracle"


def read(name: str) -> dict[str, Any]:
    return json.loads((ORACLE / name).read_text(encoding="utf-8"))


LAYERS = {"cases": [case for path in sorted(ORACLE.glob("layers*.json")) for case in read(path.name)["cases"]]}
LOSSES = {"cases": [case for path in sorted(ORACLE.glob("losses*.json")) for case in read(path.name)["cases"]]}
FAMILIES = ("100", "by_name", "packages", "matrices")
OPTIMIZERS = {"cases": [case for name in FAMILIES for case in read(f"trajectories_{name}.json")["cases"]]}
TRAJECTORIES, COMPOSITIONS = (read(name) for name in ("trajectories.json", "compositions.json"))


def cases(reference: dict[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "case", [pytest.param(case, id=f"{case['part']}, {case['case']}") for case in reference["cases"]]
    )


def agree(ours: Any, theirs: Any, what: str) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10, err_msg=what, strict=True)


@pytest.mark.parametrize(
    ("kind", "reference"),
    [
        ("layer", LAYERS),
        ("loss", LOSSES),
        ("optimizer", {"cases": [*OPTIMIZERS["cases"], *read("trajectories_optimizing.json")["cases"]]}),
        ("composition", COMPOSITIONS),
    ],
    ids=["layer", "loss", "optimizer", "composition"],
)
def test_every_part_has_a_reference_case(kind: str, reference: dict[str, Any]) -> None:
    # Only nnspec's own parts: other tests may enter parts of theirs.
    ours = {name for name, part in PARTS[kind].items() if part.__module__.startswith("nnspec.")}
    missing = ours - {case["part"] for case in reference["cases"]} - IN_NETWORKS
    assert not missing, f"`make reference` makes numbers for {kind} {sorted(missing)} where PyTorch is installed"


@cases(LAYERS)
def test_layer_agrees_forward_and_backward(case: dict[str, Any]) -> None:
    layer = PARTS["layer"][case["part"]](**case["arguments"])
    layer.training = case["training"]
    parameters = layer.parameters()
    assert parameters.keys() == case["parameters"].keys()
    for name, values in case["parameters"].items():
        parameters[name].data = values
    for name, values in case.get("state", {}).items():
        layer.state()[name][...] = values
    agree(layer.forward(np.array(case["x"])), np.array(case["y"]), "output")
    passed = layer.backward(np.array(case["r"]))
    if case["x_grad"] is not None:
        agree(passed, np.array(case["x_grad"]), "gradient of the input")
    for name, values in case["parameter_grads"].items():
        agree(parameters[name].grad, np.array(values), f"gradient of {name}")
    for name, values in case.get("state_after", {}).items():
        agree(layer.state()[name], np.array(values), f"{name} afterwards")


def composed(part: str, branches: dict[str, Any]) -> nn.Composition:
    """A composition as the reference describes it: lists of parts with their arguments or their own branches."""
    made = {
        name: [
            composed(*item) if item[0] in PARTS["composition"] else PARTS["layer"][item[0]](**item[1]) for item in items
        ]
        for name, items in branches.items()
    }
    return PARTS["composition"][part](**made)


@cases(COMPOSITIONS)
def test_composition_agrees_forward_and_backward(case: dict[str, Any]) -> None:
    composition = composed(case["part"], case["branches"])
    parameters = composition.parameters()
    for parameter, values in zip(parameters.values(), case["parameters"], strict=True):
        parameter.data = values
    agree(composition.forward(np.array(case["x"])), np.array(case["y"]), "output")
    agree(composition.backward(np.array(case["r"])), np.array(case["x_grad"]), "gradient of the input")
    for (name, parameter), values in zip(parameters.items(), case["parameter_grads"], strict=True):
        agree(parameter.grad, np.array(values), f"gradient of {name}")


@cases(LOSSES)
def test_loss_agrees_in_value_and_gradient(case: dict[str, Any]) -> None:
    loss = PARTS["loss"][case["part"]](**case.get("arguments", {}))
    value = loss(np.array(case["outputs"]), np.array(case["targets"]), case.get("weights"))
    agree(np.array(value), np.array(case["value"]), "value")
    agree(loss.backward(), np.array(case["grad"]), "gradient of the outputs")


@cases(TRAJECTORIES)
def test_training_goes_the_same_way_for_fifty_steps(case: dict[str, Any]) -> None:
    model = nn.NumpyMLP(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    for parameter, values in zip(model.parameters(), TRAJECTORIES["start"], strict=True):
        parameter.data = values
    x, labels = np.array(TRAJECTORIES["x"]), np.array(TRAJECTORIES["labels"])
    loss = nn.CrossEntropyLoss()
    optimizer = PARTS["optimizer"][case["part"]](model.parameters(), **case["arguments"])
    losses = []
    for step in range(1, 51):
        losses.append(loss.forward(model.forward(x), labels))
        model.backward(loss.backward())
        optimizer.step()
        for name, ours, theirs in zip(
            model.named_parameters(), model.parameters(), case["after"].get(str(step), []), strict=False
        ):
            agree(ours.data, np.array(theirs), f"{name} after step {step}")
    agree(np.array(losses), np.array(case["losses"]), "losses")
    assert case["after"].keys() == {"1", "2", "10", "50"}
    assert all(len(parameters) == len(model.parameters()) for parameters in case["after"].values())


def test_the_trajectories_move_and_differ() -> None:
    ends = [case["losses"][-1] for case in TRAJECTORIES["cases"] if case["case"] != "its own default"]
    assert len({round(end, 6) for end in ends}) == len(ends)
    assert all(case["losses"][-1] < case["losses"][0] - 0.01 for case in TRAJECTORIES["cases"])
