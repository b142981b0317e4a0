"""Splitting the samples of a file without its own test data: how many are used for testing, and which ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.part import Also, Range

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Seed", "Share", "TestCount", "balanced", "divided", "in_turns", "shares", "shuffled"]

Share = Annotated[float, Range(low=0, high=1, open_high=True), Also("test_size", "test_split", "split")]
"""The fraction of the samples held out for testing; 0 for none."""
TestCount = Annotated[int, Range(low=0)]
"""The number of test samples; 0 for none."""
Seed = Annotated[int, Range(low=0), Also("random_state")]
"""The seed of the order in which samples are split."""


def shares(count: int, test: float) -> tuple[int, int]:
    """Split a number of samples into (training, test): `test` is a fraction, rounded, with at least one sample each; if
    it is 0, there are no test samples."""
    if not test:
        return count, 0
    held = min(max(round(test * count), 1), count - 1)
    return count - held, held


def shuffled(count: int, seed: int) -> NDArray[Any]:
    """Return the order of samples for a seed, which is the same with every version of NumPy.

    The random words are not those of `numpy.random.default_rng(seed)`: samples drawn one after another from that very
    generator would be sorted by them, not shuffled.
    """
    words = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(0,))).random_raw(count)
    return np.argsort(words, kind="stable")


def divided(
    count: int, held: int, seed: int | None, labels: NDArray[Any] | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Split so many samples into those for training and `held` for testing: the last ones in the order of a seed, or
    without a seed in their own. With `labels`, each class has its share of both, as closely as whole samples allow.

    Both are indices, in the order of the samples in the data set.
    """
    order = np.arange(count) if seed is None else shuffled(count, seed)
    if labels is None:
        return order[: count - held], order[count - held :]
    backwards = order[::-1]
    chosen = np.zeros(count, bool)
    chosen[backwards[in_turns(labels[backwards])[:held]]] = True
    return order[~chosen[order]], order[chosen[order]]


def balanced(samples: NDArray[Any], labels: NDArray[Any], rng: Generator) -> NDArray[Any]:
    """Draw as many samples as there are, each class equally often, in random order.

    `labels` are those of the `samples`. Each of the C classes that occur gets n // C of the n draws, and n % C of them,
    drawn at random, one more. Within a class, samples are drawn without replacement until all of them have been drawn,
    and then anew: counts of two samples of a class differ by at most one.
    """
    classes, counts = np.unique(labels, return_counts=True)
    members = np.split(samples[np.argsort(labels, kind="stable")], np.cumsum(counts)[:-1])
    quotas = np.full(len(classes), len(samples) // len(classes))
    quotas[rng.permutation(len(classes))[: len(samples) % len(classes)]] += 1
    drawn = [
        np.concatenate([rng.permutation(members_of) for _ in range(-(-quota // len(members_of)))] or [members_of])[
            :quota
        ]
        for members_of, quota in zip(members, quotas.tolist(), strict=True)
    ]
    return rng.permutation(np.concatenate(drawn))


def in_turns(labels: NDArray[Any]) -> NDArray[Any]:
    """Return a stable order of labels in which every prefix has each class in proportion.

    The k-th of a class of n is at (k + 1/2) / n of the way: Sainte-Laguë's way to divide seats.
    """
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.argsort(place, kind="stable")
