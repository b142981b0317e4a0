"""Layers that work on groups of features or channels."""

from __future__ import annotations

from nnspec.testing.samples import Sample

SAMPLES = [
    Sample("GroupNorm", {"num_groups": 2}, (4, 2, 3)),
    Sample("GroupNorm", {"num_groups": 3, "eps": 0.1}, (2, 6)),
    Sample("GroupNorm", {"num_groups": 1}, (5,)),
    Sample("GroupNorm", {"num_groups": 2, "affine": False}, (2, 2, 3)),
    Sample("InstanceNorm", {}, (3, 2, 3)),
    Sample("InstanceNorm", {"affine": True}, (4, 2)),
    Sample("UnitNorm"),
    Sample("UnitNorm", {}, (2, 3)),
    Sample("UnitNorm", {"eps": 2.0}, (3, 2, 2)),
    Sample("Scale"),
    Sample("Scale", {"init": 0.1, "bias": True}, (2, 3)),
    Sample("Scale", {"bias": True}, (3, 2, 2)),
    Sample("GLU"),
    Sample("GLU", {}, (3, 4)),
    Sample("GLU", {}, (4, 2, 2)),
]
