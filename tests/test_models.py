"""The specs of published models are right, say where they come from, and train."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_runs import uniform
from numpy.typing import NDArray
from pages import DOCS, models_page

import nnspec
from nnspec.api import compile_spec
from nnspec.data.source import Facts

MODELS = sorted((Path(__file__).resolve().parents[1] / "specs/models").glob("*.nn"))
SAMPLES = 12
LARGEST = 100_000
"""The number of parameters up to which a model is trained here."""
SLOW = {"pytorch_time_sequence": "evaluates 999 positions 20 times in each step"}


@pytest.fixture(autouse=True)
def without_mnist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Find no data sets in the cache."""
    monkeypatch.setenv("NNSPEC_DATA_DIR", str(tmp_path))


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_model_is_right(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == ["# source", "# model", "# faithful"]
    assert lines[2] == "# faithful: yes" or lines[2].startswith("# faithful: partly: ")
    result = nnspec.check(path)
    assert result.diagnostics == (), str(result)


def given(facts: Facts) -> tuple[Any, NDArray[Any]]:
    """Return samples and targets of these shapes."""

    def numbers(name: str, shape: tuple[int, ...], ids: int) -> NDArray[Any]:
        found = uniform(name, (SAMPLES, *shape))
        return (found * ids).astype(np.int64) if ids else found

    inputs = {field.name: numbers(field.name, field.shape, field.tokens) for field in facts.inputs}
    x: Any = inputs or numbers("x", facts.shape, facts.tokens)
    return x, numbers("y", facts.target, facts.classes or 0)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_model_trains(path: Path) -> None:
    spec = nnspec.Spec.read(path)
    (first, *_) = compile_spec(spec).program.lanes
    params = sum(prod(shape) for layer in first.layers for shape in layer.geometry.parameters.values())
    if params > LARGEST or path.stem in SLOW:
        pytest.skip(SLOW.get(path.stem, f"has {params:,} parameters, which takes long"))
    settings: dict[str, Any] = {"train.steps" if first.train.steps else "train.epochs": 1, "train.drop_last": False}
    if len(first.data) > 1:  # `MNIST or Digits`
        settings |= {"data": f"Digits(train={SAMPLES}, test=4)", "train.batch": 4}
    if first.data[0].value.name == "Text" and "stride=1" in path.read_text(encoding="utf-8"):
        settings |= {"data.stride": 64, "train.batch": 64, "train.sample": 8}
    data = None
    if first.data[0].value.name == "Given":
        data = given(first.facts)
        settings["train.batch"] = 4
    run = spec.with_(settings).run(data=data)
    for lane in run.lanes.values():
        assert lane.status == "done"
        assert np.isfinite(lane.history["loss"]).all()


def test_the_page_is_what_is_generated() -> None:
    assert (DOCS / "models.md").read_text(encoding="utf-8") == models_page()
