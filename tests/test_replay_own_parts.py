"""Parts of a user's own stay Python calls in compiled steps: as many as without these, and in the same order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_runs import difference
from tiny_spec import run, spec

from nnspec.engine.layers.contract import Geometry, Layer, Shape
from nnspec.engine.losses import MSELoss
from nnspec.engine.metrics import Metric
from nnspec.engine.optimizers import SGD
from nnspec.engine.part import PARTS
from nnspec.native import library
from nnspec.runner.options import RunOptions

pytestmark = pytest.mark.skipif(not library.available(), reason="compiled steps need Numba, which is an extra")

CALLS: list[str] = []
"""What was called, by all parts below."""


@pytest.fixture(autouse=True)
def _parts(kernels: Path) -> Iterator[None]:
    """Parts of a user's own, for one test."""
    before = {kind: dict(parts) for kind, parts in PARTS.items()}

    class Fading(Layer):
        """y = x / (1 + c), c being how many training batches it has seen: it remembers them in Python."""

        spec_name = "Fading"

        def __init__(self) -> None:
            super().__init__()
            self._seen: list[int] = []
            self._scale = 1.0

        @classmethod
        def geometry(cls, shape: Shape, arguments: Any) -> Geometry:
            return Geometry(shape, 0)

        def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
            CALLS.append(f"forward {len(x)}")
            if self.training:
                self._seen.append(len(x))
            self._scale = 1 / (1 + 0.1 * len(self._seen))
            return np.multiply(x, self._scale, out=out)

        def backward(self, grad: np.ndarray, out: np.ndarray | None = None, *, input_grad: bool = True) -> np.ndarray:
            CALLS.append(f"backward {len(grad)}")
            return np.multiply(grad, self._scale, out=out)

    class Louder(MSELoss):
        """The mean squared error, and louder with every batch."""

        spec_name = "Louder"
        also = ()
        stacks = False  # its lanes are not told apart

        def __init__(self) -> None:
            super().__init__()
            self._batches = 0

        def forward(self, outputs: Any, targets: Any, out: Any = None) -> float:
            CALLS.append(f"loss {len(outputs)}")
            self._batches += 1
            return super().forward(outputs, targets, out) * (1 + 0.01 * self._batches)

    class Widest(Metric):
        """The widest output so far."""

        spec_name = "widest"

        def begin(self) -> None:
            self._widest = 0.0

        def add(self, outputs: np.ndarray, targets: np.ndarray) -> None:
            CALLS.append(f"metric {len(outputs)}")
            self._widest = max(self._widest, float(np.abs(outputs).max()))

        def result(self) -> float:
            return self._widest

    class Backwards(SGD):
        """Goes up and down in turn, by a step of its own."""

        spec_name = "Backwards"

        def step(self) -> None:
            CALLS.append("step")
            for parameter in self.params:
                parameter.grad *= (-1) ** self.steps
            super().step()

    yield
    for kind, parts in before.items():
        PARTS[kind].clear()
        PARTS[kind].update(parts)


def both_ways(text: str, python: set[str]) -> None:
    """Train a spec with NumPy calls and compiled: the same bits, and the same calls of custom code."""
    for stacked in (False, True):
        CALLS.clear()
        plain = run(text, ways=RunOptions(jobs=1, stack=stacked, compiled="never"))
        called = [*CALLS]
        CALLS.clear()
        fast = run(text, ways=RunOptions(stack=stacked, compiled="always", jobs=1))
        if not stacked:
            assert called == CALLS
        assert called
        assert not difference(plain, fast)
        for lane in fast.lanes.values():
            assert lane.compiled is not None
            assert set(lane.compiled["python"]) == python


def test_a_custom_layer() -> None:
    both_ways(spec("Linear(6); Fading; ReLU; Linear(10)", race="SGD; Adam", train="epochs = 3; batch = 16"), {"Fading"})


def test_a_custom_loss() -> None:
    text = spec("Linear(6); Tanh; Linear(1)", loss="Louder", data="Sine(train=30, test=12)", race="SGD; Adam")
    both_ways(text, {"Louder"})


def test_a_custom_metric() -> None:
    both_ways(spec(more="metrics = [accuracy, widest]", race="SGD; Adam"), {"Widest"})


def test_a_custom_optimizer() -> None:
    both_ways(spec(optimizer="Backwards(lr=0.1)", train="epochs = 3; batch = 16"), {"Backwards"})
