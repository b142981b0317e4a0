"""Linear, dropout and the layers that change shapes."""

from __future__ import annotations

from nnspec.testing.samples import Sample

SAMPLES = [
    Sample("Linear", {"in_features": 4, "out_features": 3}, (4,)),
    Sample("Linear", {"in_features": 3, "out_features": 7, "bias": False}, (3,)),
    Sample("Linear", {"in_features": 1, "out_features": 1}, (1,)),
    Sample("Linear", {"in_features": 4, "out_features": 3}, (5, 4)),
    Sample("ReLU"),
    Sample("ReLU", {}, (2, 3, 2)),
    Sample("Dropout"),
    Sample("Dropout", {"p": 0.0}, (2, 3)),
    Sample("Dropout", {"p": 0.9}, (2, 3)),
    Sample("Flatten", {}, (2, 3)),
    Sample("Flatten", {}, (4,)),
    Sample("Reshape", {"shape": (3, 2)}),
    Sample("Reshape", {"shape": [-1]}, (2, 3)),
    Sample("Reshape", {"shape": (1, 2, -1)}, (3, 4)),
]
