"""Every other sample within compositions: around it, beside itself, and side by side with itself.

Layers meet gradients there that are no contiguous arrays, inputs that others read too, and work arrays that are lent
under longer names.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path

from nnspec import engine as nn
from nnspec.engine.layers.chain import Member
from nnspec.engine.layers.contract import Geometry, Layer
from samples import CLASSES, Composed, Sample

HOW = {"residual": nn.Residual, "add": nn.Add, "concat": nn.Concat}


@dataclass(frozen=True)
class Wrapped(Sample):
    """A sample in a composition, in a dtype."""

    inner: Sample | None = None

    def member(self, dtype: str) -> Layer:
        assert self.inner is not None
        return self.inner.make_in(dtype)

    def build(self, dtype: str = "float64") -> Layer:
        branches = [[self.member(dtype)]] if self.part == "residual" else [[self.member(dtype)], [self.member(dtype)]]
        return HOW[self.part](*branches)

    def geometry(self) -> Geometry:
        assert self.inner is not None
        composition, layer = self.build(), CLASSES[self.inner.part]
        assert isinstance(composition, nn.Composition)
        member = Member(f"{self.inner.part}1", layer, self.incoming, self.inner.geometry())
        branches = {branch: [member] * len(chain.layers) for branch, chain in composition._branches.items()}
        return type(composition).combine(self.incoming, branches)

    def make_in(self, dtype: str) -> Layer:
        return self.make(dtype=dtype)

    def __str__(self) -> str:
        return f"{self.part} with {self.inner}"


def wrapped(sample: Sample) -> list[Wrapped]:
    """A residual where the shape stays, else a sum; and what stands side by side."""
    out = sample.geometry().out
    kinds = ["residual" if out == sample.incoming else "add", *(["concat"] if out else [])]
    return [Wrapped(kind, {}, sample.incoming, sample.tokens, inner=sample) for kind in kinds]


def others() -> list[Sample]:
    """One sample of each class, and the first of those with arguments or shapes of their own."""
    found: list[Sample] = []
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name not in ("compositions", Path(__file__).stem):
            found += importlib.import_module(f"samples.{module.name}").SAMPLES
    sampled = {sample.part for sample in found}
    for name, cls in CLASSES.items():
        if name not in sampled and not issubclass(cls, nn.Composition) and not any(a.required for a in cls.signature()):
            found.append(Sample(name))
    return [sample for sample in found if not isinstance(sample, Composed)]


SAMPLES = [wrap for sample in others() for wrap in wrapped(sample)]
