"""Normalisations."""

from __future__ import annotations

from nnspec.testing.samples import Sample

SAMPLES = [
    Sample("BatchNorm", {}, (4,)),
    Sample("BatchNorm", {"momentum": 0.3, "eps": 0.01}, (3, 4)),
    Sample("BatchNorm", {"affine": False}, (2, 3, 2)),
    Sample("BatchNorm", {}, (2, 2, 3)),
]
