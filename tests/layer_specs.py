"""Specs around single layers, on random numbers of the shape that each takes."""

from __future__ import annotations

from math import prod
from typing import Annotated, Any

import numpy as np
import pytest
from samples import Composed, Sample, every_sample
from samples.wrapped import Wrapped
from tiny_spec import spec

from nnspec.data.source import Dataset, DataSource, Facts, Split
from nnspec.engine.part import PARTS, Count, Range

__all__ = ["BATCH", "EPOCHS", "SAMPLES", "TRAIN", "Arrays", "drawn", "text_of", "with_arrays"]

SAMPLES = [sample for sample in every_sample() if not isinstance(sample, (Composed, Wrapped))]
TRAIN, BATCH, EPOCHS = 8, 3, 2


class Arrays(DataSource):
    """Random numbers of any shape, or with a vocabulary whole ones below that."""

    spec_name = "ArraysOfThisTest"

    def __init__(self, shape: tuple[Count, ...], vocabulary: Annotated[int, Range(low=0)] = 0) -> None:
        self.shape, self.vocabulary = tuple(shape), vocabulary

    def facts(self) -> Facts:
        return Facts(self.shape, self.vocabulary or 4, TRAIN, 2, "float64", tokens=self.vocabulary)


def drawn(source: DataSource) -> Dataset:
    rng, facts = np.random.default_rng(3), source.facts()

    def split(count: int) -> Split:
        shape = (count, facts.features)
        x = rng.integers(0, facts.tokens, shape).astype(float) if facts.tokens else rng.normal(size=shape)
        return Split(x, rng.integers(0, facts.classes or 1, count))

    return Dataset(Arrays.spec_name, facts, split(TRAIN), split(2), 1.0, "", "random")


del PARTS["data source"][Arrays.spec_name]  # it is there only where a test asks for it


def with_arrays(patch: pytest.MonkeyPatch) -> None:
    """Let specs of a test name the source."""
    patch.setitem(PARTS["data source"], Arrays.spec_name, Arrays)


def written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(written, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def text_of(sample: Sample) -> str:
    """Write a spec around a layer: something trained before it, wherever it may stand behind something."""
    arguments = ", ".join(f"{name}={written(value)}" for name, value in sample.arguments.items())
    model = f"{sample.part}({arguments}); Flatten; Linear({sample.tokens or 4})"
    shape = sample.incoming if sample.tokens else (3,)
    if not sample.tokens:
        model = f"Linear({prod(sample.incoming)}); Reshape({written(sample.incoming)}); {model}"
    return spec(
        model,
        data=f"{Arrays.spec_name}(shape={written(shape)}, vocabulary={sample.tokens})",
        train=f"epochs = {EPOCHS}; batch = {BATCH}",
        optimizer="SGD(lr=0.05)",
        more="dtype = float64",
    )
