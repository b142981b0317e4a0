"""Samples of layers and losses: a part with arguments, and the shape of what it is given."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from nnspec import engine as nn
from nnspec.engine.layers.chain import Member
from nnspec.engine.layers.contract import Geometry, Layer, Shape, ShapeError
from nnspec.engine.losses import Loss
from nnspec.engine.part import PARTS, Part
from nnspec.testing.arguments import other_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Composed",
    "LossSample",
    "MakeLinear",
    "PartSample",
    "Sample",
    "Wrapped",
    "default_samples",
    "fill",
    "geometry_of",
    "lacking",
    "poisoned",
    "sample_text",
    "work_arrays",
    "wrapped",
]

MakeLinear = Callable[[int, int], Layer]
"""Makes a `Linear` in the dtype of a sample."""


def sample_text(part: str, arguments: Mapping[str, Any]) -> str:
    """Return a part with its arguments, as messages show it."""
    return f"{part}({', '.join(f'{name}={value}' for name, value in arguments.items())})"


@dataclass(frozen=True)
class Sample:
    """A layer with arguments, and the shape of one sample that it takes."""

    part: str
    """Its name in a spec."""
    arguments: dict[str, Any] = field(default_factory=dict)
    incoming: Shape = (6,)
    tokens: int = 0
    """How many distinct integers x consists of, for layers that look up; 0 for real numbers."""

    @property
    def cls(self) -> type[Layer]:
        """The class."""
        return (PARTS["composition"].get(self.part) or PARTS["layer"][self.part]).as_kind(Layer)

    def build(self, **more: Any) -> Layer:
        """Make the layer."""
        return self.cls(**dict(self.geometry().inferred) | self.arguments | more)

    def make(self, **more: Any) -> Layer:
        """Make the layer, with random parameters."""
        layer = self.build(**more)
        rng = np.random.default_rng(1)
        for parameter in layer.parameters().values():
            parameter.data = rng.standard_normal(parameter.shape)
        return layer

    def defaults(self) -> dict[str, Any]:
        """Return the defaults of its arguments."""
        return {argument.name: argument.default for argument in self.cls.signature()}

    def geometry(self) -> Geometry:
        """Return what the class declares for this sample."""
        return self.cls.geometry(self.incoming, self.defaults() | self.arguments)

    def make_in(self, dtype: str) -> Layer:
        """Make the layer, with random parameters of a dtype."""
        return self.make(dtype=dtype) if self.cls.accepts("dtype") else self.make()

    def x(self, batch: int, dtype: Any = np.float64) -> NDArray[Any]:
        """Return a batch, `(B, *incoming)`."""
        rng = np.random.default_rng(2)
        if self.tokens:
            return rng.integers(0, self.tokens, (batch, *self.incoming)).astype(dtype)
        return rng.standard_normal((batch, *self.incoming)).astype(dtype)

    def grad(self, batch: int, dtype: Any = np.float64) -> NDArray[Any]:
        """Return a gradient of the outputs, `(B, *out)`."""
        return np.random.default_rng(3).standard_normal((batch, *self.geometry().out)).astype(dtype)

    def __str__(self) -> str:
        return f"{sample_text(self.part, self.arguments)} of {self.incoming}"


@dataclass(frozen=True)
class Composed(Sample):
    """A composition, made of layers in a dtype."""

    compose: Callable[[MakeLinear], Layer] = field(default=lambda linear: nn.ReLU())

    def build(self, **more: Any) -> Layer:
        return self.compose(functools.partial(nn.Linear, **{"dtype": "float64"} | more))

    def geometry(self) -> Geometry:
        return geometry_of(self.build(), self.incoming)

    def make_in(self, dtype: str) -> Layer:
        return self.make(dtype=dtype)

    def __str__(self) -> str:
        return f"{self.part}, {self.arguments['case']}"


@dataclass(frozen=True)
class Wrapped(Sample):
    """A sample within a composition: around it, beside itself, and side by side with itself.

    Layers meet gradients there that are not contiguous, inputs that others read too, and work arrays that are lent
    under longer names.
    """

    inner: Sample = field(default_factory=lambda: Sample("ReLU"))

    def build(self, **more: Any) -> Layer:
        dtype = more.get("dtype", "float64")
        branches = [[self.inner.make_in(dtype)] for _ in range(1 if self.part == "residual" else 2)]
        return {"residual": nn.Residual, "add": nn.Add, "concat": nn.Concat}[self.part](*branches)

    def geometry(self) -> Geometry:
        composition = self.build()
        if not isinstance(composition, nn.Composition):
            raise TypeError(f"{self.part} is not a composition")
        member = Member(f"{self.inner.part}1", self.inner.cls, self.incoming, self.inner.geometry())
        branches = {branch: [member] * len(chain.layers) for branch, chain in composition._branches.items()}
        return type(composition).combine(self.incoming, branches)

    def make_in(self, dtype: str) -> Layer:
        return self.make(dtype=dtype)

    def __str__(self) -> str:
        return f"{self.part} with {self.inner}"


def wrapped(sample: Sample) -> list[Wrapped]:
    """Return a sample within a residual if its shape stays, else within a sum; and within a concatenation."""
    out = sample.geometry().out
    kinds = ["residual" if out == sample.incoming else "add", *(["concat"] if out else [])]
    return [Wrapped(kind, {}, sample.incoming, sample.tokens, inner=sample) for kind in kinds]


def geometry_of(layer: Layer, incoming: Shape) -> Geometry:
    """Return the geometry of a layer that exists already, of those that composed samples consist of."""
    if isinstance(layer, nn.Composition):
        branches = {
            name: _members(
                {path.removeprefix(layer.path(name, "")): inner for path, inner in chain.layers.items()}, incoming
            )
            for name, chain in layer._branches.items()
        }
        return type(layer).combine(incoming, branches, layer.arguments())
    width = layer.weight.shape[1] if isinstance(layer, nn.Linear) else None
    return type(layer).geometry(incoming, {"in_features": None, "out_features": width, "bias": True})


def _members(chain: dict[str, Layer], incoming: Shape) -> list[Member]:
    members = []
    for name, layer in chain.items():
        geometry = geometry_of(layer, incoming)
        members.append(Member(name, type(layer), incoming, geometry))
        incoming = geometry.out
    return members


def default_samples(cls: type[Layer], *, filled: bool = True) -> list[Sample]:
    """Return a layer with the arguments of each of its `examples`, for every one of its `example_shapes` that it
    accepts. `filled` supplies required arguments that the examples lack, if there are values for them.
    """
    samples = []
    for example in cls.examples:
        arguments = fill(cls, example) if filled else dict(example)
        if issubclass(cls, nn.Composition) or lacking(cls, arguments):
            continue
        for shape in cls.example_shapes:
            sample = Sample(cls.spec_name, arguments, shape)
            with contextlib.suppress(ShapeError):
                sample.geometry()
                samples.append(sample)
    return samples


def lacking(cls: type[Part], arguments: Mapping[str, Any]) -> list[str]:
    """Return the required arguments of a part that are not given."""
    return [a.name for a in cls.signature() if a.required and not a.inferred and a.name not in arguments]


def fill(cls: type[Part], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments with values for those that are required: the first that the declaration accepts."""
    filled = dict(arguments)
    for argument in cls.signature():
        if argument.name in lacking(cls, arguments):
            for value in islice(other_values(argument), 1):
                filled[argument.name] = value
    return filled


def poisoned(shape: Shape, dtype: Any = np.float64) -> NDArray[Any]:
    """Return an array of NaNs, so that numbers that are read from it leave a trace."""
    return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 1, dtype)


def work_arrays(sample: Sample, batch: int, dtype: Any = np.float64) -> dict[str, NDArray[Any]]:
    """Return the work arrays that a layer declares, poisoned."""
    kinds = {"float": dtype, "bool": np.bool_, "index": np.intp}
    return {name: poisoned((batch, *work.shape), kinds[work.dtype]) for name, work in sample.geometry().work.items()}


@dataclass(frozen=True)
class LossSample:
    """A loss with arguments, the shape of one sample's outputs, and the kind of its targets."""

    part: str
    arguments: dict[str, Any] = field(default_factory=dict)
    outputs: Shape = (4,)
    classes: int = 4
    """The number of classes of labels; for a loss of values, 1 for any numbers, 2 for numbers in [0, 1]."""

    @property
    def cls(self) -> type[Loss]:
        """The class."""
        return PARTS["loss"][self.part].as_kind(Loss)

    def make(self) -> Loss:
        """Make the loss."""
        return self.cls(**self.arguments)

    def y(self, batch: int, dtype: Any = np.float64) -> NDArray[Any]:
        """Return outputs of a network, `(B, *outputs)`."""
        return np.random.default_rng(1).standard_normal((batch, *self.outputs)).astype(dtype)

    def targets(self, batch: int) -> NDArray[Any]:
        """Return targets: labels, or values within the range that the loss declares."""
        rng = np.random.default_rng(2)
        if self.cls.targets == "classes":
            return rng.integers(0, self.classes, (batch, *self.outputs[:-1]))
        shape = (batch, *self.outputs)
        return rng.uniform(0, 1, shape) if self.classes == 2 else rng.standard_normal(shape)

    def work_arrays(self, batch: int, dtype: Any = np.float64) -> dict[str, NDArray[Any]]:
        """Return the work arrays that the loss declares, poisoned."""
        kinds = {"float": dtype, "bool": np.bool_, "index": np.intp}
        return {
            name: poisoned((batch, *work.shape), kinds[work.dtype])
            for name, work in self.cls.work(self.outputs, self.arguments).items()
        }

    def __str__(self) -> str:
        return f"{sample_text(self.part, self.arguments)} of {self.outputs}"


@dataclass(frozen=True)
class PartSample:
    """A part of any other kind, with arguments."""

    kind: str
    part: str
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def cls(self) -> type[Part]:
        """The class."""
        return PARTS[self.kind][self.part]

    def make(self, *more: Any) -> Any:
        """Make the part; `more` are positional arguments that a spec does not give."""
        return self.cls(*more, **self.arguments)

    def __str__(self) -> str:
        return sample_text(self.part, self.arguments)
