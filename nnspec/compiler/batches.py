"""Load data into the plan: select samples, order them, convert them, and put them into the plan's buffers.

Samples are kept as stored (as bytes of images, say) and gathered batch by batch; if the network computes in another
type, they are converted as they are loaded. Nothing of the size of a batch is allocated.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import Experiment
from nnspec.compiler.layout import Layout, prepared_in
from nnspec.compiler.preparing import Preparation, divide
from nnspec.compiler.scaling import target_scaling
from nnspec.data.source import Dataset, Split
from nnspec.data.splitting import balanced
from nnspec.engine._numpy import np
from nnspec.engine.losses.mixed import Mixture
from nnspec.engine.random import Stream, stream
from nnspec.errors import ensure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Batches"]

FEW_LABELS = 1 << 22
"""The largest number of labels, over all samples, that are kept as index integers."""
WORTH_NARROWING = 0.95
"""Fraction of live features above which all are kept."""


class Batches:
    """The samples of an experiment, loaded into the buffers of its layout.

    With `narrow`, training skips the features that are zero in every training sample: `alive` are the others, or None
    if nearly all are. Samples for evaluation keep all features.
    """

    def __init__(
        self,
        experiment: Experiment,
        layout: Layout,
        dataset: Dataset,
        buffers: Mapping[str, NDArray[Any]],
        *,
        narrow: bool = False,
        scaling: tuple[NDArray[Any], NDArray[Any]] | None = None,
        target_scaling: tuple[NDArray[Any], NDArray[Any]] | None = None,
    ) -> None:
        """`scaling` and `target_scaling` standardise samples and targets if they were learned before from other
        samples.
        """
        self._train_settings, self._seed = experiment.train, experiment.seed
        self._buffers, self._batch, self._dataset = buffers, layout.batch, dataset
        self._entry = experiment.layers[0].incoming
        loss = experiment.loss.part
        self._target = experiment.outputs if loss.targets == "values" else experiment.target
        self._scale, self._ignores = 1.0 / dataset.divisor, dataset.facts.ignores
        labels: Any = buffers["labels"].dtype
        weights: Any = buffers["weights"].dtype if "weights" in buffers else None
        of_samples = weights if dataset.facts.weighted else None
        self._whole, self._test = (_Rows(split, labels, of_samples) for split in (dataset.train, dataset.test))
        self._of_input = experiment.train.target == "input"
        self._scaled, self._as_values = dataset.divisor != 1, "targets" in buffers and not self._of_input
        self._prepared_in = prepared_in(experiment)
        self._known: dict[tuple[int, _Rows], _Places] = {}
        self._epoch = -1
        self._order, self._held_out = self._split(self._whole.y)
        self._tested = self._in_turn(np.arange(len(self._test.y)))
        self.target_scaling = target_scaling
        """Shift and scale of each number of a target, if targets are scaled."""
        if experiment.train.target_scalers:
            self._standardise_targets()
        self.mixture = Mixture() if experiment.train.mixes else None
        """How the samples of the last batch are mixed, if training samples are."""
        self._prepare: Preparation | None = None
        if experiment.train.prepares or self._of_input:
            self._prepare = Preparation(experiment, buffers, dataset, self._order, scaling, self.mixture)
        self.alive = _alive(self._whole.x, self._order) if narrow else None
        self._train = self._whole if self.alive is None else self._whole.of(self.alive)
        ensure(len(self) > 0, "the checker lets no `drop_last` through that leaves nothing")
        if "identity" in buffers:
            buffers["identity"][...] = np.eye(len(buffers["identity"]))

    def apart(self, experiment: Experiment, buffers: Mapping[str, NDArray[Any]]) -> Batches:
        """Return batches of the same samples with their own buffers, which are filled with the contents of the current
        ones.
        """
        own = copy.copy(self)
        own._buffers, own._known = buffers, {}
        own._order, own._held_out = buffers["order"][: len(self._order)], self._held_out
        own.mixture = Mixture() if self.mixture is not None else None
        if self._prepare is not None:
            own._prepare = Preparation(experiment, buffers, self._dataset, own._order, self.scaling, own.mixture)
            own.draws = self.draws
        return own

    def __len__(self) -> int:
        """Steps per epoch."""
        samples = len(self._order)
        return samples // self._batch if self._train_settings.drop_last else -(-samples // self._batch)

    @property
    def held_out(self) -> int:
        """The number of training samples held out for validation."""
        return len(self._held_out)

    def rows(self) -> Iterator[NDArray[Any]]:
        """Yield the arrays that samples and targets are gathered from."""
        for split in (self._train, self._whole, self._test):
            yield from (split.x, split.y, *(() if split.w is None else (split.w,)))

    @property
    def held_out_samples(self) -> NDArray[Any]:
        """The held-out samples, as indices into the data."""
        return self._held_out

    @property
    def varies(self) -> bool:
        """Whether training samples are augmented."""
        return bool(self._train_settings.augmentations)

    @property
    def tested(self) -> int:
        """The number of test samples."""
        return len(self._test.y)

    @property
    def test_samples(self) -> NDArray[Any]:
        """The test samples, as indices into the data, in the order in which they are evaluated."""
        return self._tested

    def _split(self, labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Store the order of an epoch and the held-out samples."""
        trained, chosen = divide(self._train_settings, self._seed, labels, *self._dataset.facts.counts[1:])
        held_out = self._buffers["held_out"][: len(chosen)] if len(chosen) else chosen
        held_out[...] = self._in_turn(chosen)
        order = self._buffers["order"][: len(trained)]
        order[...] = self._in_turn(trained, drop=self._train_settings.drop_last)
        if self._train_settings.shuffle:
            self._buffers["ramp"][: len(trained)] = trained
        return order, held_out

    def _in_turn(self, samples: NDArray[Any], *, drop: bool = False) -> NDArray[Any]:
        """Return samples in the order in which batches take them, if they are not shuffled."""
        return in_streams(samples, self._batch, drop=drop) if self._train_settings.carry_state else samples

    def _standardise_targets(self) -> None:
        """Store targets minus their mean, for metrics, and the factors that convert to the loss's scale and back."""
        rules = self._train_settings.target_scalers
        self.target_scaling = self.target_scaling or target_scaling(self._dataset, self._order, rules)
        mean, deviation = self.target_scaling
        for rows, split in ((self._whole, self._dataset.train), (self._test, self._dataset.test)):
            y = split.y.reshape(len(split.y), len(mean)) - mean  # in float64, before any rounding
            rows.y = y.astype(rows.y.dtype).reshape(split.y.shape)
        self._buffers["target_deviation"].reshape(-1)[...] = deviation
        self._buffers["target_factor"].reshape(-1)[...] = 1 / deviation

    @property
    def order(self) -> NDArray[Any]:
        """The training samples, as indices into the data, in the order of this epoch."""
        return self._order

    @property
    def scaling(self) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Shift and scale of each feature, if samples are scaled: (x − shift) / scale."""
        return self._prepare.scaling if self._prepare is not None else None

    # Where samples are loaded

    def x(self, rows: int, *, whole: bool = True) -> NDArray[Any]:
        """Return the array for `rows` samples that enter the network: `(rows, *entry)`, or, without `whole`, only the
        features used in training.
        """
        x = self._places(rows, self._test if whole else self._train).x
        return x if self.alive is not None and not whole else x.reshape(rows, *self._entry)

    def targets(self, rows: int) -> NDArray[Any]:
        """Return the array for their targets in the form that the loss expects: labels, or an array like the
        outputs.
        """
        found = self._buffers["targets" if "targets" in self._buffers else "labels"][:rows]
        return found.reshape(rows, *self._target)

    def labels(self, rows: int) -> NDArray[Any]:
        """Return the array for their targets in the form that the data has, for metrics. Targets that are standardised
        for the loss are in their original unit, but relative to their mean.
        """
        return self.targets(rows) if self._of_input else self._buffers["labels"][:rows]

    def weights(self, rows: int) -> NDArray[Any] | None:
        """Return the array for their weights; None if samples are not weighted."""
        return self._buffers["weights"][:rows] if "weights" in self._buffers else None

    def _places(self, rows: int, split: _Rows) -> _Places:
        """Return the arrays for `rows` samples of a split, created once."""
        found = self._known.get((rows, split))
        if found is None:
            columns = split.x.shape[1]
            stored = x = _first(self._buffers["x"], rows, columns)
            if split.x.dtype != x.dtype:
                stored = _first(self._buffers["stored"], rows, columns)
            prepared = stored if stored.dtype == self._prepared_in else x
            if "wide" in self._buffers:
                prepared = _first(self._buffers["wide"], rows, columns)
            weights = self.weights(rows) if split.w is not None else None
            found = self._known[rows, split] = _Places(stored, prepared, x, self._buffers["labels"][:rows], weights)
        return found

    @property
    def draws(self) -> list[Any]:
        """The state of the generators that augment samples. It can be assigned, to continue an epoch."""
        return self._prepare.draws if self._prepare is not None else []

    @draws.setter
    def draws(self, states: list[Any]) -> None:
        if self._prepare is not None:
            self._prepare.draws = states

    # Loading samples

    def enter(self, epoch: int, number: int) -> None:
        """Go to a batch of an epoch: shuffle the samples, unless the epoch has begun already."""
        if not number or epoch != self._epoch:
            self.shuffle(epoch)

    def shuffle(self, epoch: int) -> None:
        """Begin an epoch: shuffle the samples into its order, which depends only on seed and epoch, or on the seed."""
        self._epoch = epoch
        if self._train_settings.shuffle:
            drawn = 0 if self._train_settings.shuffle == "once" else epoch
            ramp, rng = self._buffers["ramp"][: len(self._order)], stream(self._seed, Stream.SHUFFLE, drawn)
            if self._train_settings.balance:
                self._order[...] = balanced(ramp, self._whole.y[ramp], rng)
            else:
                np.copyto(self._order, ramp)
                rng.shuffle(self._order)
        if self._prepare is not None:
            self._prepare.begin(epoch)

    def train(self, number: int) -> int:
        """Load a batch of this epoch; return its size."""
        start = number * self._batch
        return self._gather(self._order[start : start + self._batch], self._train, training=True)

    def trained(self, most: int) -> Iterator[int]:
        """Load at most `most` training samples as for evaluation: with all features and without augmentation."""
        for start in range(0, min(most, len(self._order)), self._batch):
            yield self._gather(self._order[start : min(start + self._batch, most)], self._whole)

    def validation(self) -> Iterator[int]:
        """Load the held-out samples, batch by batch, and yield the size of each batch."""
        for start in range(0, len(self._held_out), self._batch):
            yield self._gather(self._held_out[start : start + self._batch], self._whole)

    def test(self) -> Iterator[int]:
        """Load the test samples, batch by batch, and yield the size of each batch."""
        for start in range(0, len(self._test.y), self._batch):
            part = slice(start, min(start + self._batch, len(self._test.y)))
            if self._train_settings.carry_state:
                yield self._gather(self._tested[part], self._test)
                continue
            rows = part.stop - part.start
            places = self._places(rows, self._test)
            np.copyto(places.stored, self._test.x[part])
            np.copyto(places.labels, self._test.y[part])
            if self._test.w is not None and places.weights is not None:
                np.copyto(places.weights, self._test.w[part])
            yield self._convert(rows, places)

    def bring(self, chosen: NDArray[Any], samples: str) -> int:
        """Load chosen samples of a split, those of `train` as in training; return their number."""
        split = {"train": self._train, "validation": self._whole, "test": self._test}[samples]
        return self._gather(chosen, split, training=samples == "train")

    def _gather(self, chosen: NDArray[Any], split: _Rows, *, training: bool = False) -> int:
        """Gather these samples of a split."""
        rows = len(chosen)
        places = self._places(rows, split)
        # mode="clip" because the default buffers `out`; all indices are in range.
        split.x.take(chosen, axis=0, out=places.stored, mode="clip")
        if split.y.dtype == places.labels.dtype:
            split.y.take(chosen, axis=0, out=places.labels, mode="clip")
        else:
            np.copyto(places.labels, split.y.take(chosen, axis=0, mode="clip"))
        if split.w is not None:
            split.w.take(chosen, out=places.weights, mode="clip")
        return self._convert(rows, places, training)

    def _convert(self, rows: int, places: _Places, training: bool = False) -> int:
        x = places.prepared if self._prepare is not None else places.x
        if x is not places.stored:
            np.copyto(x, places.stored)
        if self._scaled:
            np.multiply(x, x.dtype.type(self._scale), out=x)
        if self._prepare is not None:
            self._prepare(x, training=training)
        if x is not places.x:
            np.copyto(places.x, x)
        if self._ignores:  # a position without a label has weight 0, and any label
            np.greater_equal(places.labels, 0, out=self._buffers["weights"][:rows], casting="unsafe")
            np.maximum(places.labels, 0, out=places.labels)
        if self._as_values:
            self._as_numbers(places.labels, self._buffers["targets"][:rows])
        if self.mixture is not None:
            self.mixture.targets = self._partners(rows, self.mixture.order) if training else None
        return rows

    def _partners(self, rows: int, order: Any) -> NDArray[Any]:
        """Return the targets of the samples that those of this batch are mixed with."""
        targets = self.targets(rows)
        partners: NDArray[Any] = self._buffers["partners"][:rows].reshape(targets.shape)
        return targets.take(order, axis=0, out=partners, mode="clip")

    def _as_numbers(self, labels: NDArray[Any], targets: NDArray[Any]) -> None:
        """Write labels in the form that a loss of numbers expects: one-hot rows, or unchanged for a single number."""
        if "identity" in self._buffers:
            self._buffers["identity"].take(labels, axis=0, out=targets, mode="clip")
        else:
            np.copyto(targets, labels.reshape(targets.shape))
        if self.target_scaling is not None:
            np.multiply(targets, self._buffers["target_factor"], out=targets)


def in_streams(samples: NDArray[Any], batch: int, *, drop: bool = False) -> NDArray[Any]:
    """Return consecutive samples in an order in which each row of a batch continues the same row of the previous one.

    The samples are cut into `batch` runs, one for each row, that differ by at most one sample, the longer ones first:
    if a last batch is incomplete, it continues the first rows. With `drop`, all runs have the same length, and the
    samples that remain are the last of all.
    """
    length, more = divmod(len(samples), batch)
    if drop:
        whole = length * batch
        return np.concatenate([in_streams(samples[:whole], batch), samples[whole:]])
    rows = np.arange(batch)
    starts = rows * length + np.minimum(rows, more)
    places = (starts + np.arange(length + 1)[:, None]).reshape(-1)[: len(samples)]
    return samples[places]


@dataclass(frozen=True)
class _Places:
    """The arrays for batches of one size: rows as stored and as the network computes them, labels, and weights if
    samples have any.
    """

    stored: NDArray[Any]
    prepared: NDArray[Any]
    """The array in which they are prepared, before rounding to the network's dtype: one of the other two, or its
    own.
    """
    x: NDArray[Any]
    labels: NDArray[Any]
    weights: NDArray[Any] | None


class _Rows:
    """The arrays a split is gathered from: a row of stored numbers per sample, labels as index integers, and weights,
    which are 1 if only other splits have any; None if none has.
    """

    def __init__(self, split: Split, labels: Any, weights: Any) -> None:
        x = np.ascontiguousarray(split.x)
        self.x = x.reshape(len(x), prod(x.shape[1:]))
        # Labels are converted up front if they are few; those of a long text would take eight times as much memory.
        narrow = split.y.dtype.kind in "iu" and split.y.size > FEW_LABELS
        self.y = split.y if narrow else split.y.astype(labels)
        self.w: NDArray[Any] | None = None
        if weights is not None:
            self.w = np.ones(len(x), weights) if split.w is None else split.w.astype(weights)

    def of(self, features: NDArray[Any]) -> _Rows:
        """Return the same samples with only these features."""
        fewer = copy.copy(self)
        fewer.x = self.x.take(features, axis=1)
        return fewer


def _alive(x: NDArray[Any], chosen: NDArray[Any]) -> NDArray[Any] | None:
    """Return the features that are not zero in all chosen rows, if dropping the others pays off."""
    found = np.zeros(x.shape[1], bool)
    for start in range(0, len(chosen), 1024):  # in chunks, so that only a chunk is copied
        found |= x[chosen[start : start + 1024]].any(axis=0)
    alive: NDArray[Any] = np.flatnonzero(found)
    return alive if 0 < len(alive) <= len(found) * WORTH_NARROWING else None


def _first(buffer: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    """Return the first numbers of a buffer as a contiguous array of this many rows and columns."""
    return buffer.reshape(-1)[: rows * columns].reshape(rows, columns)
