"""Published models train exactly as PyTorch trains them, from the same weights and on the same batches: 50 steps."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_runs import BATCHES, CASES, EPOCHS, Case, initial, normal

import nnspec
from nnspec.api import compile_spec
from nnspec.checker.program import Experiment
from nnspec.engine.layers.sampling import Sample
from nnspec.results.lane import LaneResult

ROOT = Path(__file__).resolve().parents[1]
CURVES = json.loads((ROOT / "tests/oracle/model_curves.json").read_text(encoding="utf-8"))

LENGTH = dict.fromkeys(("caffe_lenet", "karpathy_mlp", "karpathy_wavenet", "karpathy_nanogpt"), "train.steps")
"""The setting that says how long to train, if it is not epochs."""


def starting(experiment: Experiment) -> dict[str, Any]:
    """Return the initial value of every parameter by its name, and of running statistics."""
    layers = [layer for top in experiment.layers for layer in top.walk() if not layer.branches]
    shapes = {f"{layer.name}.{name}": s for layer in layers for name, s in layer.geometry.parameters.items()}
    state = {f"{layer.name}.{name}": s for layer in layers for name, s in layer.geometry.state.items()}
    statistics = {name: np.ones(shape) if "var" in name else np.zeros(shape) for name, shape in state.items()}
    return {name: initial(name, shape) for name, shape in shapes.items()} | statistics


def trained(case: Case, folder: Path) -> LaneResult:
    """Train a model from the initial weights."""
    settings = {
        "dtype": "float64",
        "train.batch": case.batch,
        LENGTH.get(case.spec, "train.epochs"): EPOCHS * (BATCHES if case.spec in LENGTH else 1),
        "train.shuffle": False,
        **case.settings,
    }
    spec = nnspec.Spec.read(ROOT / "specs/models" / f"{case.spec}.nn").with_(settings)
    compiled = compile_spec(spec)
    experiment = next(each for each in compiled.program.lanes if each.name == case.lane)
    np.savez(folder / "weights.npz", **starting(experiment))
    lane = f"{case.lane}." if experiment.lane != "" and len(compiled.program.lanes) > 1 else ""
    run = spec.with_({f"{lane}init_from": f'"{(folder / "weights.npz").as_posix()}"'}).run(data=case.arrays())
    return run.lanes[case.lane]


@pytest.fixture
def known_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `Sample` use the noise of the reference, which numbers its forward passes."""
    passes = count()

    def draw(self: Sample, x: Any) -> Any:
        shape = (len(x), x.shape[-1] // 2)
        self._noise = normal(f"noise {next(passes)}", shape) if self.training else np.zeros(shape)
        return self._noise

    monkeypatch.setattr(Sample, "_draw", draw)


@pytest.mark.usefixtures("known_noise")
@pytest.mark.parametrize("name", CURVES)
def test_a_model_trains_as_in_pytorch(name: str, tmp_path: Path) -> None:
    lane, reference = trained(CASES[name], tmp_path), CURVES[name]
    assert lane.predictor is not None
    network = lane.predictor.network
    np.testing.assert_allclose(lane.history["loss"], reference["losses"], rtol=1e-8)
    parameters = {
        name: parameter.data for name, parameter in network.named_parameters().items() if name in reference["final"]
    }
    assert sum(value.size for value in parameters.values()) == reference["parameters"]
    for key, (total, squares) in reference["final"].items():
        assert parameters[key].sum() == pytest.approx(total, rel=1e-7, abs=1e-8)
        assert (parameters[key] ** 2).sum() == pytest.approx(squares, rel=1e-7)


def test_every_case_has_a_curve() -> None:
    assert CASES.keys() == CURVES.keys()
