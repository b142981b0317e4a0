"""Samples of every layer, on which the contract of layers is held in `test_layers.py`.

Every layer that can be made without arguments is given rows, sequences and images, as far as it accepts them. Each
module of this package has a list `SAMPLES` of further ones: of layers that need arguments, or with shapes of their own.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnspec import engine as nn
from nnspec.engine import PARTS
from nnspec.engine.layers.chain import Member
from nnspec.engine.layers.contract import Geometry, Layer, ShapeError

# Only nnspec's own parts: other tests may enter parts of theirs.
KINDS = PARTS["layer"] | PARTS["composition"]
CLASSES = {name: cls for name, cls in KINDS.items() if cls.__module__.startswith("nnspec.")}


SHAPES = ((6,), (2, 3), (2, 2, 3))
"""What a layer is given by default: a row, a sequence, an image."""


@dataclass(frozen=True)
class Sample:
    """A layer with arguments, and the shape of one sample that it takes."""

    part: str
    arguments: dict[str, Any] = field(default_factory=dict)
    incoming: tuple[int, ...] = (6,)
    tokens: int = 0
    """How many different whole numbers x is made of, for layers that look up; 0 for real numbers."""

    def build(self, **more: Any) -> Layer:
        return CLASSES[self.part](**dict(self.geometry().inferred) | self.arguments | more)

    def make(self, **more: Any) -> Layer:
        layer = self.build(**more)
        rng = np.random.default_rng(1)
        for parameter in layer.parameters().values():
            parameter.data = rng.standard_normal(parameter.shape)
        return layer

    def defaults(self) -> dict[str, Any]:
        return {argument.name: argument.default for argument in CLASSES[self.part].signature()}

    def geometry(self) -> Geometry:
        return CLASSES[self.part].geometry(self.incoming, self.defaults() | self.arguments)

    def make_in(self, dtype: str) -> Layer:
        return self.make(dtype=dtype) if CLASSES[self.part].accepts("dtype") else self.make()

    def x(self, batch: int, dtype: Any = np.float64) -> np.ndarray:
        rng = np.random.default_rng(2)
        if self.tokens:
            return rng.integers(0, self.tokens, (batch, *self.incoming)).astype(dtype)
        return rng.standard_normal((batch, *self.incoming)).astype(dtype)

    def grad(self, batch: int, dtype: Any = np.float64) -> np.ndarray:
        return np.random.default_rng(3).standard_normal((batch, *self.geometry().out)).astype(dtype)

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.part}({arguments}) of {self.incoming}"


@dataclass(frozen=True)
class Composed(Sample):
    """A composition, made of layers in a dtype."""

    compose: Callable[[Linear], Layer] = nn.ReLU

    def build(self, dtype: str = "float64") -> Layer:
        return self.compose(functools.partial(nn.Linear, dtype=dtype))

    def geometry(self) -> Geometry:
        return geometry_of(self.build(), self.incoming)

    def make_in(self, dtype: str) -> Layer:
        return self.make(dtype=dtype)

    def __str__(self) -> str:
        return f"{self.part}, {self.arguments['case']}"


Linear = Callable[[int, int], Layer]


def geometry_of(layer: Layer, incoming: tuple[int, ...]) -> Geometry:
    """Geometry of a layer that is made already, for those that a composition here is made of."""
    if isinstance(layer, nn.Composition):
        return type(layer).combine(incoming, {name: members(chain, incoming) for name, chain in branches_of(layer)})
    width = layer.weight.shape[1] if isinstance(layer, nn.Linear) else None
    return type(layer).geometry(incoming, {"in_features": None, "out_features": width, "bias": True})


def branches_of(layer: nn.Composition) -> list[tuple[str, dict[str, Layer]]]:
    return [
        (name, {path.removeprefix(layer.path(name, "")): inner for path, inner in chain.layers.items()})
        for name, chain in layer._branches.items()
    ]


def members(chain: dict[str, Layer], incoming: tuple[int, ...]) -> list[Member]:
    found = []
    for name, layer in chain.items():
        geometry = geometry_of(layer, incoming)
        found.append(Member(name, type(layer), incoming, geometry))
        incoming = geometry.out
    return found


def every_sample() -> list[Sample]:
    """The samples of all modules here, and those that every layer has by default."""
    table: list[Sample] = []
    for module in pkgutil.iter_modules(__path__):
        table += importlib.import_module(f"{__name__}.{module.name}").SAMPLES
    return table + [sample for name in CLASSES for sample in default_samples(name) if sample not in table]


def default_samples(part: str) -> list[Sample]:
    """A layer without arguments, given every shape of SHAPES that it accepts; none where it needs arguments."""
    cls, found = CLASSES[part], []
    if issubclass(cls, nn.Composition) or any(argument.required for argument in cls.signature()):
        return []
    for shape in SHAPES:
        with contextlib.suppress(ShapeError):
            cls.geometry(shape, Sample(part).defaults())
            found.append(Sample(part, {}, shape))
    return found


def spoilt(shape: tuple[int, ...], dtype: Any = np.float64) -> np.ndarray:
    """An array in which nothing can be read without a trace."""
    return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 1, dtype)


def work_arrays(sample: Sample, batch: int, dtype: Any = np.float64) -> dict[str, np.ndarray]:
    kinds = {"float": dtype, "bool": np.bool_, "index": np.intp}
    return {name: spoilt((batch, *work.shape), kinds[work.dtype]) for name, work in sample.geometry().work.items()}
