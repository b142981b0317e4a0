"""Normalisation within a sample."""

from __future__ import annotations

from nnspec.testing.samples import Sample

SAMPLES = [
    Sample("LayerNorm"),
    Sample("LayerNorm", {}, (3, 4)),
    Sample("LayerNorm", {"normalized_shape": (2, 3)}, (4, 2, 3)),
    Sample("LayerNorm", {"normalized_shape": 5, "eps": 0.1}, (2, 5)),
    Sample("LayerNorm", {"bias": False}, (3, 4)),
    Sample("LayerNorm", {"elementwise_affine": False}, (2, 4)),
    Sample("RMSNorm"),
    Sample("RMSNorm", {"normalized_shape": (2, 3)}, (4, 2, 3)),
    Sample("RMSNorm", {"elementwise_affine": False, "eps": 0.1}, (2, 4)),
]
