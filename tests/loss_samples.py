"""Samples of every loss, on which the contract of losses is held in `test_losses.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnspec.engine import PARTS
from nnspec.engine.losses import Loss

# Only nnspec's own parts: other tests may enter parts of theirs.
CLASSES = {name: cls for name, cls in PARTS["loss"].items() if cls.__module__.startswith("nnspec.")}


@dataclass(frozen=True)
class LossSample:
    """A loss with arguments, the shape of one sample's outputs, and what its targets are."""

    part: str
    arguments: dict[str, Any] = field(default_factory=dict)
    outputs: tuple[int, ...] = (4,)
    classes: int = 4
    """How many classes labels are of; for a loss of values, 1 for numbers, 2 for numbers in [0, 1]."""

    @property
    def cls(self) -> type[Loss]:
        return CLASSES[self.part]

    def make(self) -> Loss:
        return self.cls(**self.arguments)

    def y(self, batch: int, dtype: Any = np.float64) -> np.ndarray:
        return np.random.default_rng(1).standard_normal((batch, *self.outputs)).astype(dtype)

    def targets(self, batch: int) -> np.ndarray:
        rng = np.random.default_rng(2)
        if self.cls.targets == "classes":
            return rng.integers(0, self.classes, (batch, *self.outputs[:-1]))
        shape = (batch, *self.outputs)
        return rng.uniform(0, 1, shape) if self.classes == 2 else rng.standard_normal(shape)

    def work_arrays(self, batch: int, dtype: Any = np.float64) -> dict[str, np.ndarray]:
        kinds = {"float": dtype, "bool": np.bool_, "index": np.intp}
        return {
            name: np.full((batch, *work.shape), np.nan if work.dtype == "float" else 1, kinds[work.dtype])
            for name, work in self.cls.work(self.outputs, self.arguments).items()
        }

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.part}({arguments}) of {self.outputs}"


WEIGHTS = {"class_weights": [0.5, 2.0, 1.0, 3.0]}
SAMPLES = [
    LossSample("CrossEntropy"),
    LossSample("CrossEntropy", {}, (3, 4)),
    LossSample("CrossEntropy", {"label_smoothing": 0.1}),
    LossSample("CrossEntropy", {"label_smoothing": 1.0}),
    LossSample("CrossEntropy", WEIGHTS),
    LossSample("CrossEntropy", {"label_smoothing": 0.2} | WEIGHTS, (3, 4)),
    LossSample("NLL"),
    LossSample("NLL", {}, (3, 4)),
    LossSample("NLL", WEIGHTS),
    LossSample("NLL", WEIGHTS, (3, 4)),
    LossSample("BCEWithLogits", {}, (4,), 2),
    LossSample("BCEWithLogits", {}, (3, 1), 2),
    LossSample("KLDiv", {}, (4,), 2),
    LossSample("KLDiv", {}, (3, 4), 2),
    LossSample("MSE", {}, (4,), 1),
    LossSample("MSE", {}, (3, 2), 1),
    LossSample("MAE", {}, (4,), 1),
    LossSample("MAE", {}, (3, 2), 1),
    LossSample("Huber", {}, (4,), 1),
    LossSample("Huber", {"delta": 0.3}, (3, 2), 1),
    LossSample("Hinge"),
    LossSample("Hinge", {"margin": 0.5}, (3, 4)),
    LossSample("Hinge", {}, (1,), 2),
    LossSample("Hinge", {"margin": 2.0}, (3, 1), 2),
]
