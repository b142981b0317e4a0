"""Trainings of published models that PyTorch repeats: data and initial weights by formula, the same on every machine.

Uses NumPy only, so that `oracle/model_curves.py` can import it beside PyTorch, without nnspec.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BATCHES", "CASES", "EPOCHS", "Case", "initial", "normal", "uniform"]

EPOCHS, BATCHES = 10, 5
"""50 steps: each epoch is the same 5 batches in the same order."""


def uniform(name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return numbers in [0, 1) that depend on the name only."""
    words = np.random.PCG64(zlib.crc32(name.encode())).random_raw(math.prod(shape))
    return (np.asarray(words >> 11, np.float64) * 2.0**-53).reshape(shape)


def normal(name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return numbers of about N(0, 1), as sums of twelve uniform ones."""
    return uniform(name, (12, *shape)).sum(axis=0) - 6


def initial(name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the initial value of a parameter of this name."""
    numbers = 2 * uniform(name, shape) - 1
    kind = name.rpartition(".")[2]
    if len(shape) == 1:  # the scale of a normalisation, or a bias
        return (kind == "weight") + 0.1 * numbers
    fan = math.prod(shape[1:]) if len(shape) > 2 else shape[0]  # of a convolution (out, in, …), of a matrix (in, out)
    return numbers / math.sqrt(fan)


def _integers(name: str, shape: tuple[int, ...], below: int) -> NDArray[np.int64]:
    return (uniform(name, shape) * below).astype(np.int64)


@dataclass(frozen=True)
class Case:
    """A training of a model: a spec of `specs/models`, what is set differently, and its data."""

    spec: str
    batch: int
    data: Callable[[int], tuple[Any, Any]]
    """Samples and targets, given how many samples."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    lane: str = "run"

    def arrays(self) -> tuple[Any, Any]:
        """Return all samples and targets."""
        return self.data(self.batch * BATCHES)


def _images(name: str, n: int, *shape: int) -> NDArray[np.float64]:
    return uniform(f"{name} x", (n, *shape))


def _labels(name: str, n: int, classes: int, *shape: int) -> NDArray[np.int64]:
    return _integers(f"{name} y", (n, *shape), classes)


def _ids(name: str, n: int, places: int, ids: int) -> NDArray[np.int64]:
    return _integers(f"{name} x", (n, places), ids)


CASES: dict[str, Case] = {
    "caffe_lenet": Case(
        "caffe_lenet",
        4,
        lambda n: (_images("lenet", n, 1, 28, 28), _labels("lenet", n, 10)),
        {"data": "Given(features=[1, 28, 28], classes=10, test=0)"},
    ),
    "karpathy_mlp": Case(
        "karpathy_mlp",
        8,
        lambda n: (_ids("mlp", n, 3, 27), _labels("mlp", n, 27)),
        {"data": "Given(features=3, ids=27, classes=27, test=0)", "train.validation": 0},
    ),
    "karpathy_wavenet": Case(
        "karpathy_wavenet",
        8,
        lambda n: (_ids("wavenet", n, 8, 27), _labels("wavenet", n, 27)),
        {"data": "Given(features=8, ids=27, classes=27, test=0)", "train.validation": 0},
    ),
    "karpathy_nanogpt": Case(
        "karpathy_nanogpt",
        3,
        lambda n: (_ids("gpt", n, 12, 20), _labels("gpt", n, 20, 12)),
        {
            "data": "Given(features=12, ids=20, classes=20, targets=[12], test=0)",
            "width": 16,
            "warmup": 10,
            "drop": 0.0,
            "train.sample": 0,
        },
    ),
    "keras_siamese": Case(
        "keras_siamese",
        4,
        lambda n: (
            {"left": _images("left", n, 784), "right": _images("right", n, 784)},
            _labels("siamese", n, 2),
        ),
        {"data": 'Given(inputs=["left", "right"], features=784, classes=2, test=0)'},
    ),
    "pytorch_vae": Case(
        "pytorch_vae",
        4,
        lambda n: (_images("vae", n, 784), _labels("vae", n, 2)),
        {"data": "Given(features=784, classes=2, test=0)"},
    ),
    "keras_text_transformer": Case(
        "keras_text_transformer",
        4,
        lambda n: (
            np.where(np.arange(10) < 3 + _integers("lengths", (n, 1), 8), 1 + _ids("text", n, 10, 29), 0),
            _labels("text", n, 2),
        ),
        {"data": "Given(features=10, ids=30, padding=0, classes=2, test=0)", "words": 30, "drop": 0.0},
    ),
    "se_resnet": Case(
        "se_resnet",
        4,
        lambda n: (_images("se", n, 3, 8, 8), _labels("se", n, 10)),
        {"data": "Given(features=[3, 8, 8], classes=10, test=0)"},
    ),
    "keras_unet": Case(
        "keras_unet_segmentation",
        3,
        lambda n: (_images("unet", n, 3, 16, 16), _labels("unet", n, 3, 256)),
        {
            "data": "Given(features=[3, 16, 16], targets=[256], classes=3, test=0)",
            "size": 16,
            "width": 4,
            "train.validation": 0,
            "train.early_stop": None,
        },
    ),
    "d2l_gru": Case(
        "d2l_rnn_lm",
        4,
        lambda n: (_ids("gru", n, 9, 12), _labels("gru", n, 12, 9)),
        {"data": "Given(features=9, ids=12, classes=12, targets=[9], test=0)", "train.sample": 0},
        lane="gru",
    ),
    "keras_addition": Case(
        "keras_addition_rnn",
        4,
        lambda n: (_ids("addition", n, 7, 12), _labels("addition", n, 12, 4)),
        {"data": "Given(features=7, ids=12, classes=12, targets=[4], test=0)", "units": 16},
    ),
    "sklearn_alpha": Case(
        "sklearn_alpha",
        20,
        lambda n: (uniform("moons x", (n, 2)) * 4 - 2, _labels("moons", n, 2)),
        {
            "data": "Given(features=2, classes=2, test=0)",
            "optimizer": "LBFGS(max_iter=2)",
            "train.standardise": False,
            "alpha": 1.0,
        },
    ),
}
