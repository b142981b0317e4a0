"""Layers that begin with the state of another layer, or attend to its outputs: `state` and `context`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import OFFLINE, ROOT, compiled, spec

from nnspec import engine as nn
from nnspec.api import check_text
from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import Plan
from nnspec.compiler.replay import Replay
from nnspec.compiler.verify import verify, verify_memory
from nnspec.diagnostics import Source
from nnspec.native import library
from nnspec.runner.gradients import prove_gradients

GRAPHS = json.loads((ROOT / "tests/oracle/sequences.json").read_text(encoding="utf-8"))["graphs"]
every_graph = pytest.mark.parametrize("case", GRAPHS, ids=range(len(GRAPHS)))
needs_numba = pytest.mark.skipif(not library.available(), reason="compiled steps need Numba, which is an extra")


def text_of(case: dict[str, Any], folder: Path, **more: str) -> str:
    x, y = np.array(case["x"]), np.array(case["y"])
    np.savez(folder / "data.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    usual = {
        "data": f'NPZ("{(folder / "data.npz").as_posix()}")',
        "loss": "MSE",
        "optimizer": "SGD(lr=0.2)",
        "train": "epochs = 3; batch = 4; shuffle = false",
        "more": "dtype = float64",
    }
    return spec(case["model"], **(usual | more))


def plan_of(case: dict[str, Any], folder: Path) -> Plan:
    program = compiled(text_of(case, folder))
    (experiment,) = program.program.lanes
    plan = plan_alone(experiment, program.layouts["run"], experiment.data[0].source.load(OFFLINE))
    plan.network.load_state_dict({name: np.array(array) for name, array in case["start"].items()})
    return plan


@every_graph
def test_training_is_that_of_pytorch(case: dict[str, Any], tmp_path: Path) -> None:
    plan, losses = plan_of(case, tmp_path), []
    for epoch in range(3):
        plan.begin(epoch)
        losses += [plan.train_batch(number)[0] for number in range(plan.batches)]
    np.testing.assert_allclose(losses, case["losses"], rtol=1e-12)
    for name, array in case["end"].items():
        np.testing.assert_allclose(plan.network.state_dict()[name], array, rtol=1e-10, atol=1e-14)
    verify(plan.layout.steps)
    verify_memory(plan.layout.steps, plan.layout.values)


@every_graph
def test_the_network_run_by_hand_has_the_same_gradients(case: dict[str, Any], tmp_path: Path) -> None:
    plan = plan_of(case, tmp_path)
    x, y = np.array(case["x"])[:4], np.array(case["y"])[:4]
    loss = nn.MSELoss()
    assert loss(plan.network(x), y) == pytest.approx(case["losses"][0], rel=1e-12)
    plan.network.backward(loss.backward())
    optimizer = nn.SGD(plan.network.parameters(), lr=0.2)
    optimizer.step()
    assert loss(plan.network(np.array(case["x"])[4:]), np.array(case["y"])[4:]) == pytest.approx(case["losses"][1])
    assert prove_gradients(plan.experiment, plan.dataset, samples=2).error < 1e-7


@needs_numba
@every_graph
@pytest.mark.usefixtures("kernels")
def test_it_is_recorded(case: dict[str, Any], tmp_path: Path) -> None:
    replay = Replay((plan := plan_of(case, tmp_path)).loop.alone(plan))
    library.make(replay.kernels)
    replay.link()
    assert (replay.gaps, replay.check()) == ({}, "")
