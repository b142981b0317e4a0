"""What a network predicts for test samples: the confusion of classes, and the images with the largest loss."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from nnspec.analysis.evaluate import Evaluation
from nnspec.compiler.proofs import Compiled
from nnspec.engine._numpy import np
from nnspec.results.predictor import probabilities
from nnspec.view.wording import numbers

__all__ = ["Confusion", "Image", "Images", "confusion", "hardest_images"]

_MOST_CLASSES = 30
_MOST_IMAGES = 24


@dataclass(frozen=True)
class Confusion:
    """A table with a row per class and a column per prediction."""

    caption: str
    classes: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[int, int]]]]
    """Each class with its cells: how many samples, and how strongly the cell is tinted, in percent."""
    kind: ClassVar[str] = "confusion"


@dataclass(frozen=True)
class Image:
    """A test image with its label and prediction."""

    source: str
    """A data URI."""
    alt: str
    loss: str
    true: str = ""
    predicted: str = ""
    correct: bool = False
    probability: str = ""


@dataclass(frozen=True)
class Images:
    """Test images in a grid."""

    images: Sequence[Image]
    kind: ClassVar[str] = "images"


def confusion(evaluation: Evaluation) -> Confusion | None:
    """Return the confusion of classes; None if there are no classes, or too many for a table."""
    counts = evaluation.confusion()
    if counts is None or len(counts) > _MOST_CLASSES:
        return None
    classes = [evaluation.dataset.class_name(i) for i in range(len(counts))]
    rows = []
    for i, name in enumerate(classes):
        total = max(int(counts[i].sum()), 1)
        shares = [100 * int(count) / total * (0.55 if i == j else 2.5) for j, count in enumerate(counts[i])]
        rows.append((name, [(int(n), round(min(share, 75))) for n, share in zip(counts[i], shares, strict=True)]))
    samples = int(counts.sum())
    correct = numbers.percent(float(np.trace(counts)) / max(samples, 1))
    caption = f"{samples:,} test samples, {correct} correct: one row per class, one column per prediction"
    return Confusion(caption, classes, rows)


def hardest_images(evaluation: Evaluation, compiled: Compiled) -> Images | None:
    """Return the test images with the largest loss; None if the samples are not images."""
    data = evaluation.dataset
    shape = data.facts.shape
    if data.divisor != 255 or len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] not in (1, 3)):
        return None
    experiment = next(lane for lane in compiled.program.lanes if lane.name == evaluation.lane)
    odds = probabilities(evaluation.outputs, experiment)
    guesses = evaluation.predicted if evaluation.predicted is not None and evaluation.predicted.ndim == 1 else None
    losses = np.where(np.isfinite(evaluation.losses), evaluation.losses, np.inf)
    images = []
    for i in np.argsort(-losses, kind="stable")[:_MOST_IMAGES]:
        source, alt = _data_uri(data.test.x[i], shape), f"test sample {i}"
        loss = numbers.loss(float(evaluation.losses[i]))
        if guesses is None:
            images.append(Image(source, alt, loss))
            continue
        label, guess = int(data.test.y[i]), int(guesses[i])
        probability = numbers.percent(float(odds[i, guess])) if odds is not None else ""
        names = data.class_name(label), data.class_name(guess)
        images.append(Image(source, alt, loss, *names, label == guess, probability))
    return Images(images)


def _data_uri(pixels: Any, shape: tuple[int, ...]) -> str:
    """Return an image as a data URI."""
    from nnspec.view.pictures.figure import matplotlib_module

    matplotlib_module()
    from matplotlib import image

    array = np.asarray(pixels, np.uint8).reshape(shape)
    if array.ndim == 3:
        array = array[0] if shape[0] == 1 else array.transpose(1, 2, 0)
    if array.ndim == 2:
        array = np.stack([array] * 3, axis=-1)
    buffer = io.BytesIO()
    image.imsave(buffer, np.ascontiguousarray(array), format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
