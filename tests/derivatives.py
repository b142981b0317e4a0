"""Every derivative that a layer of the engine computes, to be spoilt on purpose, and an input to see it at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
from samples import CLASSES, Sample, every_sample

from nnspec import engine as nn
from nnspec.engine.layers.contract import Layer

BATCH = 5


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
        shape, tokens = (BATCH, *self.sample.incoming), self.sample.tokens
        return np.arange(prod(shape)).reshape(shape) % tokens if tokens else normal(*shape)

    def __str__(self) -> str:
        return f"{self.part} {self.which}"


def _derivatives() -> Iterator[Derivative]:
    """Each at the sample of its layer with the most parameters, and the most numbers in the least of these."""
    largest: dict[str, tuple[tuple[int, ...], Sample]] = {}
    for sample in every_sample():
        if issubclass(CLASSES[sample.part], nn.Composition):
            continue
        geometry = sample.geometry()
        sizes = [prod(shape) for shape in geometry.parameters.values()]
        size = (len(sizes), min(sizes, default=0), prod(sample.incoming))
        if sample.part not in largest or size > largest[sample.part][0]:
            largest[sample.part] = (size, sample)
    for part, (_, sample) in largest.items():
        named = sample.geometry().parameters
        yield from (Derivative(sample, which) for which in ([] if CLASSES[part].looks_up else ["input"]))
        yield from (Derivative(sample, which) for which in named)


DERIVATIVES = list(_derivatives())
