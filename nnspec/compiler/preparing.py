"""Prepare samples before the network sees them: hold some out, standardise and augment.

Everything learned from the data, such as its means, is learned from the training samples only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import Experiment, TrainSettings
from nnspec.data.source import DataError, Dataset
from nnspec.data.splitting import in_turns
from nnspec.engine._numpy import np
from nnspec.engine.random import Stream, stream
from nnspec.engine.validation import Validation
from nnspec.engine.work import Borrower

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.engine.losses import Loss

__all__ = [
    "Preparation",
    "Standardiser",
    "constant_features",
    "divide",
    "in_units",
    "learned_by_loss",
    "scaling",
    "target_scaling",
]

_CHUNK = 1024  # samples per chunk


def divide(train: TrainSettings, seed: int, labels: NDArray[Any], given: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Divide the training samples into those used for training and those held out; the choice depends only on the seed.

    Both are indices in the order of the data; a larger share holds out all samples of a smaller one, and more. `labels`
    are the targets of all training samples; in a stratified choice, each class has its share, as nearly as whole
    samples allow. `given` is the number of samples that the data itself holds out, the last ones, if `validation` says
    so.
    """
    samples = len(labels)
    ramp, count = np.arange(samples), train.held_out(samples, given)
    if not count:
        return ramp, ramp[:0]
    if isinstance(train.validation, Validation):
        chosen = train.validation.choose(samples, given, seed, labels if train.stratify else None)
        return np.delete(ramp, chosen), chosen
    chosen = stream(seed, Stream.VALIDATION).permutation(samples)
    if train.stratify:
        chosen = chosen[in_turns(labels[chosen])]
    chosen = chosen[:count]
    return np.delete(ramp, chosen), np.sort(chosen)


def scaling(dataset: Dataset, trained: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return mean and standard deviation of every feature over these training samples, float64 `(features,)`.

    The deviation of a constant feature is 1, so that it becomes 0. As in scikit-learn's `StandardScaler`, deviations
    are divided by n, and a feature is constant if it varies by no more than the rounding of float64. Weighted samples
    count by their weights.
    """
    mean, std, varies = _moments(dataset, trained)
    return mean / dataset.divisor, np.where(varies, std / dataset.divisor, 1.0)


def target_scaling(dataset: Dataset, trained: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return mean and standard deviation of every number of a target over these training samples, float64 `(targets,)`.
    The deviation of a constant one is 1.
    """
    trained, weights = _weights(dataset, trained)
    y = dataset.train.y[trained].reshape(len(trained), -1).astype(np.float64)
    if weights is None:
        mean = y[0] + (y - y[0]).mean(axis=0)
        std = np.sqrt(np.square(y - mean).mean(axis=0))
    else:
        mean = y[0] + np.average(y - y[0], axis=0, weights=weights)
        std = np.sqrt(np.average(np.square(y - mean), axis=0, weights=weights))
    return mean, np.where(std > 4 * np.finfo(np.float64).eps * np.abs(y).max(axis=0), std, 1.0)


def learned_by_loss(
    loss: Loss, experiment: Experiment, dataset: Dataset, trained: NDArray[Any]
) -> Mapping[str, NDArray[Any]]:
    """Return what a loss learns from the targets of these training samples, such as balanced weights of classes, as
    `Loss.recall` takes it. Raises DataError for a class without samples.
    """
    weights = None if dataset.train.w is None else dataset.train.w[trained]
    try:
        return loss.learn(dataset.train.y[trained], experiment.outputs, experiment.classes, weights)
    except ValueError as error:
        raise DataError(f"{experiment.loss} cannot be used with {dataset.source}: {error}") from None


def in_units(outputs: NDArray[Any], scaling: tuple[NDArray[Any], NDArray[Any]] | None) -> NDArray[Any]:
    """Return outputs `(B, *out)` in the unit of the targets, float64, if the targets were standardised; otherwise
    unchanged.
    """
    if scaling is None:
        return outputs
    mean, deviation = (each.reshape(outputs.shape[1:]) for each in scaling)
    found: NDArray[Any] = outputs.astype(np.float64) * deviation + mean
    return found


def constant_features(dataset: Dataset, trained: NDArray[Any]) -> NDArray[Any]:
    """Return the indices of the features that are constant over these training samples."""
    constant: NDArray[Any] = np.flatnonzero(~_moments(dataset, trained)[2])
    return constant


def _moments(dataset: Dataset, trained: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return mean and deviation of every feature as stored, and whether it varies."""
    trained, weights = _weights(dataset, trained)
    x = dataset.train.x.reshape(len(dataset.train.x), -1)
    parts = [slice(start, start + _CHUNK) for start in range(0, len(trained), _CHUNK)]
    first, total = x[trained[0]].astype(np.float64), np.zeros(x.shape[1])
    count = len(trained) if weights is None else math.fsum(weights)

    def summed(values: NDArray[Any], part: slice) -> NDArray[Any]:
        return (values if weights is None else values * weights[part, None]).sum(axis=0)

    for part in parts:  # relative to the first sample: exactly 0 for a constant feature
        total += summed(x[trained[part]] - first, part)
    mean = first + total / count
    square, largest = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for part in parts:
        off = x[trained[part]] - mean
        square += summed(off * off, part)
        np.maximum(largest, np.abs(x[trained[part]].astype(np.float64)).max(axis=0), out=largest)
    std = np.sqrt(square / count)
    return mean, std, std > 4 * np.finfo(np.float64).eps * largest


def _weights(dataset: Dataset, trained: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return the samples that count, and their weights; None if samples are not weighted."""
    if dataset.train.w is None:
        return trained, None
    weights = dataset.train.w[trained].astype(np.float64)
    return trained[weights > 0], weights[weights > 0]


class Standardiser:
    """x → (x − mean) / deviation in place, for batches `(B, features)` of one dtype, to the precision of that dtype.

    In float32, the mean is subtracted in two parts: the nearest float32, then the remainder. Features whose mean is
    large compared to their deviation thus lose only what float32 could not represent in the first place.
    """

    def __init__(self, scaling: tuple[NDArray[Any], NDArray[Any]], buffers: Mapping[str, NDArray[Any]]) -> None:
        """Work in the buffers `mean` and `factor`, and for float32 `rest`."""
        mean, deviation = scaling
        self._mean, self._factor, self._rest = buffers["mean"], buffers["factor"], buffers.get("rest")
        self._mean[...], self._factor[...] = mean, 1 / deviation
        if self._rest is not None:
            self._rest[...] = mean - self._mean

    @classmethod
    def alone(cls, scaling: tuple[NDArray[Any], NDArray[Any]], dtype: str) -> Standardiser:
        """Return a standardiser with arrays of its own."""
        names = ("mean", "factor", "rest")[: 3 if dtype == "float32" else 2]
        return cls(scaling, {name: np.empty(scaling[0].shape, dtype) for name in names})

    def __call__(self, x: NDArray[Any]) -> None:
        """Standardise a batch."""
        np.subtract(x, self._mean, out=x)
        if self._rest is not None:
            np.subtract(x, self._rest, out=x)
        np.multiply(x, self._factor, out=x)


class Preparation:
    """Prepares batches in place, in the buffers of a layout: first augmentations that preserve all information, then
    standardisation, then the copy that is an autoencoder's target, then augmentations that corrupt the input.
    """

    def __init__(
        self,
        experiment: Experiment,
        buffers: Mapping[str, NDArray[Any]],
        dataset: Dataset,
        trained: NDArray[Any],
        known: tuple[NDArray[Any], NDArray[Any]] | None = None,
    ) -> None:
        """`known` is the mean and the standard deviation of each feature if they were learned before."""
        train, self._seed, self._shape = experiment.train, experiment.seed, experiment.facts.shape
        self._targets = buffers["targets"] if train.target == "input" else None
        self.scaling = None
        if train.standardise:
            self.scaling = scaling(dataset, trained) if known is None else known
        """Mean and standard deviation of each feature, if samples are standardised."""
        self._standardise = Standardiser(self.scaling, buffers) if self.scaling is not None else None
        self._steps = []
        for i, augmentation in enumerate(train.augmentations):
            work = Borrower()
            work.lend({name: buffers[f"augment{i}.{name}"] for name in augmentation.work(self._shape)})
            self._steps.append((augmentation, work))
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Begin an epoch: its random draws depend only on the seed and the epoch's number."""
        self._streams = [stream(self._seed, Stream.AUGMENT, epoch, i) for i in range(len(self._steps))]

    def __call__(self, x: NDArray[Any], *, training: bool) -> None:
        """Prepare a batch `(B, features)`; samples for evaluation are not augmented."""
        if training:
            self._vary(x, blurs=False)
        if self._standardise is not None:
            self._standardise(x)
        if self._targets is not None:
            np.copyto(self._targets[: len(x)].reshape(x.shape), x)
        if training:
            self._vary(x, blurs=True)

    def _vary(self, x: NDArray[Any], *, blurs: bool) -> None:
        for (augmentation, work), rng in zip(self._steps, self._streams, strict=True):
            if augmentation.blurs == blurs:
                augmentation.apply(x.reshape(len(x), *self._shape), rng, work)
