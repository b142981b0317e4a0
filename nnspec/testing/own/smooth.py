"""Activations that keep their slope, where it is not the same as in other samples."""

from __future__ import annotations

from nnspec.testing.samples import Sample

SAMPLES = [
    Sample("GELU", {}, (2, 3, 2)),
    Sample("SiLU", {}, (2, 3, 2)),
    Sample("Softplus", {"beta": 2.0, "threshold": 1.0}, (2, 3)),
]
