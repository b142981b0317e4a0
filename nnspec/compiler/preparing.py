"""What becomes of samples before the network sees them: which are held out, how they are standardised and varied.

Everything that is learned of the data, such as its means, is learned of the samples that are trained on, and of no
others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import Experiment, TrainSettings
from nnspec.data.source import Dataset
from nnspec.engine._numpy import np
from nnspec.engine.random import Stream, stream
from nnspec.engine.work import Borrower

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Preparation", "divide", "scaling"]

_CHUNK = 1024  # samples that are looked at at a time


def divide(train: TrainSettings, seed: int, labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Divide the training samples into those that are trained on and those held out, a choice of the seed alone.

    Both are indices in the order of the data; a larger share holds out what a smaller one does, and more. `labels` are
    the targets of all training samples; of a stratified choice, each class has its share, as near as whole samples
    allow.
    """
    samples = len(labels)
    ramp, count = np.arange(samples), train.held_out(samples)
    if not count:
        return ramp, ramp[:0]
    chosen = stream(seed, Stream.VALIDATION).permutation(samples)
    if train.stratify:
        chosen = chosen[_turns(labels[chosen])]
    chosen = chosen[:count]
    return np.delete(ramp, chosen), np.sort(chosen)


def _turns(labels: NDArray[Any]) -> NDArray[Any]:
    """Return an order of labels whose every beginning has each class in its share, else as they stand.

    The k-th of a class of n is at (k + 1/2) / n of the way: Sainte-Laguë's way to divide seats.
    """
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.argsort(place, kind="stable")


def scaling(dataset: Dataset, trained: NDArray[Any], dtype: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return mean and standard deviation of every feature over these training samples, float64 `(features,)`.

    A feature that does not vary, as far as numbers of `dtype` tell, has 1 for its deviation: it becomes 0, and where
    it differs in the test data, no more than it differs. The deviation is that of the samples (divided by n), as in
    scikit-learn's `StandardScaler`.
    """
    x = dataset.train.x.reshape(len(dataset.train.x), -1)
    parts = [trained[start : start + _CHUNK] for start in range(0, len(trained), _CHUNK)]
    total = np.zeros(x.shape[1])
    for part in parts:
        total += x[part].sum(axis=0, dtype=np.float64)
    mean = total / len(trained)
    square, largest = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for part in parts:
        off = x[part] - mean
        square += (off * off).sum(axis=0)
        np.maximum(largest, np.abs(x[part].astype(np.float64)).max(axis=0), out=largest)
    std = np.sqrt(square / len(trained))
    varies = std > 4 * np.finfo(dtype).eps * largest
    return mean / dataset.divisor, np.where(varies, std / dataset.divisor, 1.0)


class Preparation:
    """Prepares batches in place, in the buffers of a layout: first augmentations that leave all there is to see, then
    standardisation, then the copy that an autoencoder is held against, then augmentations that blur."""

    def __init__(
        self,
        experiment: Experiment,
        buffers: Mapping[str, NDArray[Any]],
        dataset: Dataset,
        trained: NDArray[Any],
        known: tuple[NDArray[Any], NDArray[Any]] | None = None,
    ) -> None:
        """`known` is the mean and the standard deviation of each feature, where they were learned before."""
        train, self._seed, self._shape = experiment.train, experiment.seed, experiment.facts.shape
        self._targets = buffers["targets"] if train.target == "input" else None
        self.scaling = None
        if train.standardise:
            self.scaling = scaling(dataset, trained, experiment.dtype) if known is None else known
        """Mean and standard deviation of each feature, where samples are standardised."""
        if self.scaling is not None:
            self._mean, self._factor = buffers["mean"], buffers["factor"]
            self._mean[...], self._factor[...] = self.scaling[0], 1 / self.scaling[1]
        self._steps = []
        for i, augmentation in enumerate(train.augmentations):
            work = Borrower()
            work.lend({name: buffers[f"augment{i}.{name}"] for name in augmentation.work(self._shape)})
            self._steps.append((augmentation, work))
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Begin an epoch: what is drawn in it depends on the seed and on its number alone."""
        self._streams = [stream(self._seed, Stream.AUGMENT, epoch, i) for i in range(len(self._steps))]

    def __call__(self, x: NDArray[Any], *, training: bool) -> None:
        """Prepare a batch `(B, features)`; samples that only measure are not varied."""
        if training:
            self._vary(x, blurs=False)
        if self.scaling is not None:
            np.subtract(x, self._mean, out=x)
            np.multiply(x, self._factor, out=x)
        if self._targets is not None:
            np.copyto(self._targets[: len(x)].reshape(x.shape), x)
        if training:
            self._vary(x, blurs=True)

    def _vary(self, x: NDArray[Any], *, blurs: bool) -> None:
        for (augmentation, work), rng in zip(self._steps, self._streams, strict=True):
            if augmentation.blurs == blurs:
                augmentation.apply(x.reshape(len(x), *self._shape), rng, work)
