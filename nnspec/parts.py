"""What it takes to write parts: the base classes, and the declarations of their arguments, shapes and memory.

    from nnspec.parts import Optimizer

docs/own_parts.md has a complete example.
"""

from nnspec.data.source import Access, Dataset, DataSource, DataUnavailable, Facts, Split
from nnspec.engine.augmentations import Augmentation
from nnspec.engine.initializers import Initializer
from nnspec.engine.layers.activations import Activation
from nnspec.engine.layers.contract import Geometry, Layer, Shape, ShapeError, image, saved, sequence
from nnspec.engine.losses.contract import Loss, fit_classes, fit_values
from nnspec.engine.losses.contract import saved as saved_loss
from nnspec.engine.metrics.contract import Averaging, Metric
from nnspec.engine.optimizers.contract import LearningRate, Optimizer
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import (
    Also,
    ArgumentFault,
    Count,
    FilePath,
    Inferred,
    PlainPart,
    Positive,
    Probability,
    Range,
    Rate,
    argument,
    kept,
)
from nnspec.engine.schedules import Schedule
from nnspec.engine.searches import Search
from nnspec.engine.spaces import Space
from nnspec.engine.work import Borrower, Work

__all__ = [
    "Access",
    "Activation",
    "Also",
    "ArgumentFault",
    "Augmentation",
    "Averaging",
    "Borrower",
    "Count",
    "DataSource",
    "DataUnavailable",
    "Dataset",
    "Facts",
    "FilePath",
    "Geometry",
    "Inferred",
    "Initializer",
    "Layer",
    "LearningRate",
    "Loss",
    "Metric",
    "Optimizer",
    "Parameter",
    "PlainPart",
    "Positive",
    "Probability",
    "Range",
    "Rate",
    "Schedule",
    "Search",
    "Shape",
    "ShapeError",
    "Space",
    "Split",
    "Work",
    "argument",
    "fit_classes",
    "fit_values",
    "image",
    "kept",
    "saved",
    "saved_loss",
    "sequence",
]
