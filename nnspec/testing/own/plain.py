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
    Sample("SpatialDropout", {}, (2, 3)),
    Sample("SpatialDropout", {"p": 0.3}, (2, 3, 2)),
    Sample("GaussianNoise", {"std": 0.5}, (2, 3)),
    Sample("RepeatVector", {"length": 3}, (4,)),
    Sample("Select", {"index": 0}, (3, 2)),
    Sample("Select", {"index": -1}, (3, 2)),
    Sample("ZeroPad", {"margin": 1}, (2, 3, 2)),
    Sample("ZeroPad", {"margin": [0, 2]}, (2, 2, 3)),
    Sample("ZeroPad", {"margin": [0, 1, 2, 0]}, (1, 2, 2)),
    Sample("ZeroPad", {"margin": [2, 1]}, (3, 2)),
    Sample("Cropping", {"margin": 1}, (2, 4, 3)),
    Sample("Cropping", {"margin": [0, 1, 2, 0]}, (1, 3, 4)),
    Sample("Cropping", {"margin": [1, 0]}, (4, 2)),
    Sample("Flatten", {}, (2, 3)),
    Sample("Flatten", {}, (4,)),
    Sample("Reshape", {"shape": (3, 2)}),
    Sample("Reshape", {"shape": [-1]}, (2, 3)),
    Sample("Reshape", {"shape": (1, 2, -1)}, (3, 4)),
]
