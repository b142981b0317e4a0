"""The samples of every part: of nnspec's own parts those of its tables, of all others those that a part declares."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import cache
from math import isfinite, prod
from typing import Any

from nnspec.engine.layers.contract import Layer, ShapeError
from nnspec.engine.losses import Loss
from nnspec.engine.optimizers import Optimizer
from nnspec.engine.part import PARTS, Part
from nnspec.testing.own import LAYERS
from nnspec.testing.own.losses import SAMPLES as LOSSES
from nnspec.testing.own.optimizers import VARIANTS
from nnspec.testing.own.others import EXAMPLES
from nnspec.testing.samples import (
    Composed,
    LossSample,
    PartSample,
    Sample,
    Wrapped,
    default_samples,
    fill,
    lacking,
    wrapped,
)

__all__ = ["every_sample", "is_own", "largest", "own_parts", "samples_of"]


def is_own(cls: type[Part]) -> bool:
    """Whether a part is one of nnspec's own."""
    return cls.__module__.startswith("nnspec.")


def own_parts(*kinds: str) -> dict[str, type[Part]]:
    """Return nnspec's own parts of these kinds, by name."""
    return {name: cls for kind in kinds for name, cls in PARTS[kind].items() if is_own(cls)}


@cache
def every_sample() -> tuple[Sample, ...]:
    """Return the samples of all of nnspec's own layers and compositions."""
    single = [*LAYERS]
    sampled = {sample.part for sample in single}
    own: dict[str, Any] = own_parts("layer", "composition")
    inner = [sample for sample in single if not isinstance(sample, Composed)]
    inner += [Sample(n) for n, cls in own_parts("layer").items() if n not in sampled and not lacking(cls, {})]
    table = [*single, *_each_kind_around_each_layer(inner)]
    return (
        *table,
        *(sample for cls in own.values() for sample in default_samples(cls, filled=False) if sample not in table),
    )


def _each_kind_around_each_layer(samples: Sequence[Sample]) -> Iterator[Wrapped]:
    """Yield samples within compositions: every layer in each kind of composition at least once, every sample in one."""
    met: set[tuple[str, str]] = set()
    for i, sample in enumerate(samples):
        around = wrapped(sample)
        new = [each for each in around if (sample.part, each.part) not in met]
        met.update((sample.part, each.part) for each in new)
        yield from new or [around[i % len(around)]]


def samples_of(cls: type[Part]) -> Sequence[Any]:
    """Return the samples of a part. Those of a layer also lie within compositions."""
    if issubclass(cls, Layer):
        if is_own(cls):
            return [sample for sample in every_sample() if sample.part == cls.spec_name]
        samples = default_samples(cls)
        return [*samples, *(around for sample in samples for around in wrapped(sample))]
    if issubclass(cls, Loss):
        return [sample for sample in LOSSES if sample.part == cls.spec_name] if is_own(cls) else _losses(cls)
    if issubclass(cls, Optimizer):
        decaying = [{"weight_decay": 1e-3} | dict(each) for each in cls.examples]
        variants = [*cls.examples, *decaying, *(VARIANTS.get(cls.spec_name, ()) if is_own(cls) else ())]
        return [PartSample(cls.kind, cls.spec_name, dict(each)) for each in variants]
    own = EXAMPLES.get(cls.spec_name, cls.examples) if is_own(cls) else cls.examples
    examples = [fill(cls, example) for example in own]
    return [PartSample(cls.kind, cls.spec_name, each) for each in examples if not lacking(cls, each)]


def _losses(cls: type[Loss]) -> list[LossSample]:
    """Return a loss with the arguments of each of its examples, for all outputs that it accepts."""
    classes = 4 if cls.targets == "classes" else 2 if isfinite(cls.target_range.low) else 1
    samples = []
    for arguments in cls.examples:
        for outputs in ((4,), (3, 4)):
            with contextlib.suppress(ShapeError):
                cls.fit(outputs, 4, outputs[:-1], dict(arguments))
                samples.append(LossSample(cls.spec_name, dict(arguments), outputs, classes))
    return samples


def largest(samples: Sequence[Sample]) -> Sample:
    """Return the sample with the most parameters, and among these the one with the most numbers in the smallest."""

    def size(sample: Sample) -> tuple[int, int, int]:
        sizes = [prod(shape) for shape in sample.geometry().parameters.values()]
        return len(sizes), min(sizes, default=0), prod(sample.incoming)

    return max(samples, key=size)
