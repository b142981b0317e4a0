"""Losses."""

from __future__ import annotations

from nnspec.testing.samples import LossSample

WEIGHTS = {"class_weights": [0.5, 2.0, 1.0, 3.0]}
SAMPLES = [
    LossSample("CrossEntropy"),
    LossSample("CrossEntropy", {}, (3, 4)),
    LossSample("CrossEntropy", {"label_smoothing": 0.1}),
    LossSample("CrossEntropy", {"label_smoothing": 1.0}),
    LossSample("CrossEntropy", WEIGHTS),
    LossSample("CrossEntropy", {"label_smoothing": 0.2} | WEIGHTS, (3, 4)),
    LossSample("NLL"),
    LossSample("NLL", {}, (3, 4)),
    LossSample("NLL", WEIGHTS),
    LossSample("NLL", WEIGHTS, (3, 4)),
    LossSample("BCEWithLogits", {}, (4,), 2),
    LossSample("BCEWithLogits", {}, (3, 1), 2),
    LossSample("BCEWithLogits", {"pos_weight": 3.0}, (4,), 2),
    LossSample("BCEWithLogits", {"pos_weight": [0.5, 2.0, 1.0, 3.0]}, (3, 4), 2),
    LossSample("Focal"),
    LossSample("Focal", {"gamma": 0.5}, (3, 4)),
    LossSample("Focal", {"gamma": 1.5} | WEIGHTS, (3, 4)),
    LossSample("BinaryFocal", {}, (4,), 2),
    LossSample("BinaryFocal", {"gamma": 0.5, "alpha": None}, (3, 1), 2),
    LossSample("Contrastive", {}, (1,), 2),
    LossSample("Contrastive", {"margin": 0.5}, (3, 1), 2),
    LossSample("KLDiv", {}, (4,), 2),
    LossSample("KLDiv", {}, (3, 4), 2),
    LossSample("MSE", {}, (4,), 1),
    LossSample("MSE", {}, (3, 2), 1),
    LossSample("MAE", {}, (4,), 1),
    LossSample("MAE", {}, (3, 2), 1),
    LossSample("Huber", {}, (4,), 1),
    LossSample("Huber", {"delta": 0.3}, (3, 2), 1),
    LossSample("Hinge"),
    LossSample("Hinge", {"margin": 0.5}, (3, 4)),
    LossSample("Hinge", {}, (1,), 2),
    LossSample("Hinge", {"margin": 2.0}, (3, 1), 2),
]
