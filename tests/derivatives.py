"""Every derivative that a layer of the engine computes, to be spoilt on purpose, and an input to see it at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nnspec import engine as nn
from nnspec.engine.layers.contract import Layer
from nnspec.testing.mistakes import clear_input
from nnspec.testing.samples import Sample
from nnspec.testing.tables import every_sample, largest


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(11).standard_normal(shape)


@dataclass(frozen=True)
class Derivative:
    """A derivative that a backward pass computes: of which array, seen at a sample."""

    sample: Sample
    which: str

    @property
    def part(self) -> str:
        return self.sample.part

    def make(self) -> Layer:
        return self.sample.build()

    def x(self) -> np.ndarray:
        return clear_input(self.sample)

    def __str__(self) -> str:
        return f"{self.part} {self.which}"


def _derivatives() -> Iterator[Derivative]:
    samples: dict[str, list[Sample]] = {}
    for sample in every_sample():
        if not issubclass(sample.cls, nn.Composition):
            samples.setdefault(sample.part, []).append(sample)
    for each in samples.values():
        sample = largest(each)
        yield from (Derivative(sample, which) for which in ([] if sample.cls.looks_up else ["input"]))
        yield from (Derivative(sample, which) for which in sample.geometry().parameters)


DERIVATIVES = list(_derivatives())
