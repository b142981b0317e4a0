"""A hundred steps of every optimizer as those of other packages in float64 or 50 digits, and in plans and specs."""

from __future__ import annotations

import json
import tracemalloc
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_plan import make_plan
from tiny_spec import run, spec

from nnspec import engine as nn
from nnspec.engine import PARTS

ORACLE = Path(__file__).parent / "oracle"
REFERENCE = json.loads((ORACLE / "trajectories_100.json").read_text(encoding="utf-8"))
# Of optimizers whose counterpart is found by its name, of other packages, and of matrices; the network is the same.
for family in ("by_name", "packages", "matrices"):
    REFERENCE["cases"] += json.loads((ORACLE / f"trajectories_{family}.json").read_text(encoding="utf-8"))["cases"]
OURS = {name: part for name, part in PARTS["optimizer"].items() if part.__module__.startswith("nnspec.")}


def model() -> nn.NumpyMLP:
    network = nn.NumpyMLP(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Sigmoid(), nn.Linear(4, 3))
    for parameter, values in zip(network.parameters(), REFERENCE["start"], strict=True):
        parameter.data = values
    return network


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda case: f"{case['part']}, {case['case']}")
def test_a_hundred_steps_go_the_same_way(case: dict[str, Any]) -> None:
    network, loss, losses = model(), nn.CrossEntropyLoss(), []
    x, labels = np.array(REFERENCE["x"]), np.array(REFERENCE["labels"])
    arguments = dict(case["arguments"])
    if "warmup" in case:
        arguments["lr"] = nn.ConstantSchedule(arguments["lr"], warmup=case["warmup"])
    optimizer = OURS[case["part"]](network.parameters(), **arguments)
    for step in range(100):
        optimizer.at(step + 1, 100)
        losses.append(loss.forward(network.forward(x), labels))
        network.backward(loss.backward())
        optimizer.step()
    np.testing.assert_allclose(losses[::10], case["losses"], rtol=1e-10, atol=1e-10)
    with nn.AveragedWeights.of(network, optimizer).shown() if optimizer.evaluated else nullcontext():
        for ours, theirs in zip(network.parameters(), case["after"]["100"], strict=True):
            np.testing.assert_allclose(ours.data, theirs, rtol=1e-10, atol=1e-10)


def test_every_optimizer_has_trajectories_with_and_without_decay_that_move_and_differ() -> None:
    found: dict[str, set[tuple[bool, bool]]] = {}
    for case in REFERENCE["cases"]:
        decay = bool(case["arguments"]["weight_decay"]), bool(case["arguments"].get("decay_all"))
        found.setdefault(case["part"], set()).add(decay)
        moved = [np.abs(np.subtract(a, b)).min() for a, b in zip(case["after"]["100"], REFERENCE["start"], strict=True)]
        assert max(moved) > 1e-3, case["case"]
    assert found.keys() == OURS.keys() - {"LBFGS"}  # see test_optimizing
    assert set(map(frozenset, found.values())) == {frozenset({(False, False), (True, False), (True, True)})}
    same = ("AdamW", 0.0)  # without decay it is Adam
    kept = [case for case in REFERENCE["cases"] if (case["part"], case["arguments"]["weight_decay"]) != same]
    ends = [case["losses"][-1] for case in kept]
    assert len({round(end, 8) for end in ends}) == len(ends)


# In plans and specs

SMALLER = {"SOAP": ", max_precond_dim=32"}
"""Arguments that save the time of large decompositions."""
TEXTS = [f"{name}(lr=0.01{SMALLER.get(name, '')}{decay})" for name in OURS for decay in ("", ", weight_decay=0.01")]


@pytest.mark.parametrize("text", TEXTS)
def test_a_plan_trains_with_it_and_allocates_nothing(text: str) -> None:
    plan = make_plan(spec("Linear(256); Tanh; Linear(10)", optimizer=text))
    plan.begin(0)
    plan.train_batch(0)
    tracemalloc.start()
    try:
        for number in range(1, plan.batches):
            plan.train_batch(number)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024
    assert all(parameter.data.dtype == np.float32 for parameter in plan.network.parameters())


@pytest.mark.parametrize("text", ["AdamW(lr=0.01, weight_decay=0.1)", "SGD(lr=0.1, momentum=0.9, weight_decay=0.1)"])
@pytest.mark.parametrize("whole", [False, True])
def test_a_plan_decays_the_weights_that_the_layers_say(text: str, whole: bool) -> None:
    text = text.replace(")", f", decay_all={str(whole).lower()})")
    network = "Linear(6); residual { Linear(6); Tanh }; Linear(10)"
    plan = make_plan(spec(network, optimizer=text, more="dtype = float64"))
    for parameter in plan.network.parameters():
        parameter.data = np.ones(parameter.shape)
        parameter.grad.fill(0)
    plan.optimizer.step()
    moved = [bool((parameter.data != 1).all()) for parameter in plan.network.parameters()]
    assert moved == [True, whole] * 3


@pytest.mark.parametrize("more", ["", ", weight_decay=0.01", ", weight_decay=0.01, decay_all=true"])
@pytest.mark.parametrize("lr", ["0.01", "plateau(0.01, patience=1, of=loss, min_delta=0.1)"])
def test_in_a_race_of_all_optimizers_each_trains_as_alone(lr: str, more: str) -> None:
    texts = {name: f"{name}(lr={lr}{more}{SMALLER.get(name, '')})" for name in OURS}
    result = run(spec(race="; ".join(texts.values()), train="epochs = 3; batch = 16"))
    assert {lane.status for lane in result.values()} == {"done"}
    assert result.keys() == OURS.keys()
    for name, text in texts.items():
        alone = run(spec(optimizer=text, train="epochs = 3; batch = 16"))["run"]
        assert (result[name].history, result[name].rates) == (alone.history, alone.rates)
        for one, other in zip(result[name].network.parameters(), alone.network.parameters(), strict=True):
            assert one.data.tobytes() == other.data.tobytes()
