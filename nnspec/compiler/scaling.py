"""Scale samples and targets: learn shift and scale of each number from the training samples, and apply them to batches.

Whatever the rules are, they become one shift m and one scale d for each number of a sample: (x − m) / d. These are
kept with the weights, as `input.mean` and `input.deviation`; numbers without a rule have the shift 0 and the scale 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nnspec.data.scopes import Row, Scope, channels, row_of_samples, row_of_targets, scopes
from nnspec.data.source import Dataset
from nnspec.engine._numpy import np
from nnspec.engine.scalers import Fixed, Scaler

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Scaling", "Standardiser", "constant_features", "in_units", "scaling", "target_scaling"]

Scaling = tuple[Any, Any]
"""Shift and scale of each number, float64 `(numbers,)`."""
_CHUNK = 1024  # samples per chunk
_MOST_AT_ONCE = 1 << 22  # numbers that are sorted at once


def scaling(dataset: Dataset, trained: NDArray[Any], rules: Sequence[Scaler]) -> Scaling:
    """Return shift and scale of every feature, float64 `(features,)`, learned from these training samples.

    As in scikit-learn, deviations are divided by n, and a feature is constant if it varies by no more than the rounding
    of float64. Weighted samples count by their weights; those of weight 0 do not count.
    """
    return _learned(rules, row_of_samples(dataset.facts), _samples(dataset, trained), dataset.facts.features)


def target_scaling(dataset: Dataset, trained: NDArray[Any], rules: Sequence[Scaler]) -> Scaling:
    """Return shift and scale of every number of a target over these training samples, float64 `(targets,)`."""
    trained, weights = _weights(dataset, trained)
    y = dataset.train.y.reshape(len(dataset.train.y), -1)
    return _learned(rules, row_of_targets(dataset.facts), _Targets(y, trained, weights), y.shape[1])


def in_units(outputs: NDArray[Any], scaling: Scaling | None) -> NDArray[Any]:
    """Return outputs `(B, *out)` in the unit of the targets, float64, if the targets were scaled; otherwise
    unchanged.
    """
    if scaling is None:
        return outputs
    mean, deviation = (each.reshape(outputs.shape[1:]) for each in scaling)
    found: NDArray[Any] = outputs.astype(np.float64) * deviation + mean
    return found


def constant_features(dataset: Dataset, trained: NDArray[Any], rules: Sequence[Scaler]) -> Iterator[tuple[int, float]]:
    """Yield the features that are constant over these training samples and scaled on their own, by a rule that learns
    from them, and the number that they become."""
    found = scopes(rules, row_of_samples(dataset.facts))
    learned = [scope for scope in found if scope.per == "feature" and not isinstance(scope.rule, Fixed)]
    if learned:
        varies = _varies(*_samples(dataset, trained).moments[1:])
        for scope in learned:
            places = _places(scope)
            yield from ((int(i), getattr(scope.rule, "low", 0.0)) for i in places[~varies[places]])


def _learned(rules: Sequence[Scaler], row: Row, numbers: _Numbers, count: int) -> Scaling:
    shift, scale = np.zeros(count), np.ones(count)
    for scope in scopes(rules, row):
        places, group = _places(scope), _group_of(scope)
        of_group = scope.rule.learn(_Groups(numbers, places, group, scope.groups))
        shift[places], scale[places] = (each[group] for each in of_group)
    return shift, scale


def _places(scope: Scope) -> NDArray[Any]:
    """Return the indices of the numbers that a rule applies to."""
    return np.concatenate([np.arange(field.start, field.stop) for field in scope.fields])


def _group_of(scope: Scope) -> NDArray[Any]:
    """Return the group of each of these numbers."""
    found, before = [], 0
    for field in scope.fields:
        size = field.stop - field.start
        group = np.arange(size)
        if scope.per == "all":
            group = np.zeros(size, np.intp)
        elif scope.per == "channel":
            among = np.arange(channels(field))
            last = field.axes and field.axes[-1] == "features"
            group = np.tile(among, size // len(among)) if last else np.repeat(among, size // len(among))
        found.append(group + before)
        before = int(found[-1][-1]) + 1
    return np.concatenate(found)


# What rules learn from


def _samples(dataset: Dataset, trained: NDArray[Any]) -> _Numbers:
    x = dataset.train.x
    return _Numbers(x.reshape(len(x), -1), *_weights(dataset, trained), dataset.divisor)


def _weights(dataset: Dataset, trained: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return the samples that count, and their weights; None if samples are not weighted."""
    if dataset.train.w is None:
        return trained, None
    weights = dataset.train.w[trained].astype(np.float64)
    return trained[weights > 0], weights[weights > 0]


@dataclass(frozen=True)
class _Numbers:
    """Rows of numbers `(n, numbers)` as stored, which of them are trained on, and their statistics, per number as
    stored. `divisor` converts them to the unit of the samples.
    """

    rows: NDArray[Any]
    trained: NDArray[Any]
    weights: NDArray[Any] | None
    divisor: float = 1.0

    @cached_property
    def moments(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Mean, standard deviation, and the largest absolute value."""
        first, total = self.rows[self.trained[0]].astype(np.float64), np.zeros(self.rows.shape[1])
        count = len(self.trained) if self.weights is None else math.fsum(self.weights)

        def summed(values: NDArray[Any], part: slice) -> NDArray[Any]:
            return (values if self.weights is None else values * self.weights[part, None]).sum(axis=0)

        for part, x in self._chunks():  # relative to the first sample: exactly 0 for a constant feature
            total += summed(x - first, part)
        mean = first + total / count
        square, largest = np.zeros(len(mean)), np.zeros(len(mean))
        for part, x in self._chunks():
            off = x - mean
            square += summed(off * off, part)
            np.maximum(largest, np.abs(x.astype(np.float64)).max(axis=0), out=largest)
        return mean, np.sqrt(square / count), largest

    @cached_property
    def extremes(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Minimum and maximum."""
        pairs = [(x.min(axis=0), x.max(axis=0)) for _, x in self._chunks()]
        return np.min([low for low, _ in pairs], axis=0), np.max([high for _, high in pairs], axis=0)

    def _chunks(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        for start in range(0, len(self.trained), _CHUNK):
            part = slice(start, start + _CHUNK)
            yield part, self.rows[self.trained[part]]


class _Targets(_Numbers):
    """Targets, which are few: their moments are computed at once."""

    @cached_property
    def moments(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """As for samples."""
        y = self.rows[self.trained].astype(np.float64)
        if self.weights is None:
            mean = y[0] + (y - y[0]).mean(axis=0)
            deviation = np.sqrt(np.square(y - mean).mean(axis=0))
        else:
            mean = y[0] + np.average(y - y[0], axis=0, weights=self.weights)
            deviation = np.sqrt(np.average(np.square(y - mean), axis=0, weights=self.weights))
        return mean, deviation, np.abs(y).max(axis=0)


def _varies(deviation: NDArray[Any], largest: NDArray[Any]) -> NDArray[Any]:
    """Return which numbers vary by more than the rounding of float64."""
    found: NDArray[Any] = deviation > 4 * np.finfo(np.float64).eps * largest
    return found


@dataclass(frozen=True)
class _Groups:
    """The numbers that a rule applies to, and the group of each: what the rule learns from."""

    numbers: _Numbers
    places: NDArray[Any]
    group: NDArray[Any]
    groups: int

    def moments(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return mean, standard deviation, and whether the numbers vary."""
        mean, deviation, largest = (each[self.places] for each in self.numbers.moments)
        if self.groups < len(self.places):
            size, each = np.bincount(self.group), mean
            mean = np.bincount(self.group, each) / size
            square = np.square(deviation) + np.square(each - mean[self.group])
            deviation = np.sqrt(np.bincount(self.group, square) / size)
            largest = self._pooled(np.maximum, largest)
        unit = self.numbers.divisor
        return mean / unit, deviation / unit, _varies(deviation, largest)

    def extremes(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return minimum and maximum."""
        low, high = (each[self.places].astype(np.float64) / self.numbers.divisor for each in self.numbers.extremes)
        return self._pooled(np.minimum, low), self._pooled(np.maximum, high)

    def _pooled(self, larger: Any, each: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = np.full(self.groups, -np.inf if larger is np.maximum else np.inf)
        larger.at(found, self.group, each)
        return found

    def quantiles(self, shares: Sequence[float]) -> NDArray[Any]:
        """Return quantiles `(shares, groups)`."""
        rows, trained, found = self.numbers.rows, self.numbers.trained, np.empty((len(shares), self.groups))
        if self.groups == len(self.places):
            step = max(_MOST_AT_ONCE // len(trained), 1)
            for start in range(0, self.groups, step):
                part = slice(start, start + step)
                found[:, part] = np.quantile(rows[np.ix_(trained, self.places[part])], shares, axis=0)
        else:
            for i in range(self.groups):
                found[:, i] = np.quantile(rows[np.ix_(trained, self.places[self.group == i])], shares)
        return found / self.numbers.divisor


# Applying a scaling


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
