"""Which training samples are held out for validation. A rule is frozen settings; what it draws depends on a seed alone.

A number in place of a rule, `validation = 0.2`, is a share that is drawn at random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.part import Also, PlainPart, Range
from nnspec.engine.random import Stream, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Folds", "Given", "Last", "Validation"]

MOST_FOLDS = 1000


def share_of(share: float, samples: int) -> int:
    """Return a share of samples, rounded (a half to even): at least one, and at least one is left."""
    if samples < 2:
        raise ValueError(f"`validation` needs at least 2 training samples, not {samples}")
    return min(max(round(share * samples), 1), samples - 1)


class Validation(PlainPart):
    """Base of the rules. `given` is how many of the training samples, the last, the data itself gives for
    validation."""

    kind: ClassVar[str] = "validation rule"
    draws: ClassVar[bool] = False
    """Whether samples are drawn, so that classes can be stratified."""
    trainings = 1
    """How many trainings each lane takes."""

    def held_out(self, samples: int, given: int) -> tuple[int, int]:
        """Return how many samples are held out, at least and at most over all trainings. Raises ValueError for too few
        samples."""
        raise NotImplementedError

    def choose(self, samples: int, given: int, seed: int, labels: NDArray[Any] | None) -> NDArray[Any]:
        """Return the indices of the samples held out, sorted. `labels` are the classes to stratify by."""
        raise NotImplementedError


class Last(Validation):
    """Holds out the last `share` of the training samples, in the order of the data: for series, where samples drawn at
    random would have neighbours among those that are trained on. As Keras's `validation_split`."""

    spec_name = "last"
    also = ("tail", "Last", "TimeSeriesSplit", "chronological")
    share: Annotated[float, Range(low=0, high=1, open_low=True, open_high=True), Also("validation_split", "size")]

    def held_out(self, samples: int, given: int) -> tuple[int, int]:
        """The share, rounded."""
        count = share_of(self.share, samples)
        return count, count

    def choose(self, samples: int, given: int, seed: int, labels: NDArray[Any] | None) -> NDArray[Any]:
        """The last samples."""
        return np.arange(samples - self.held_out(samples, given)[0], samples)


class Given(Validation):
    """Holds out the samples that the data gives for validation. It is the default where the data gives any."""

    spec_name = "given"
    also = ("validation_data", "from_data", "PredefinedSplit", "x_val")

    def held_out(self, samples: int, given: int) -> tuple[int, int]:
        """What is given."""
        if not 0 < given < samples:
            raise ValueError(f"the data holds out {given} of its {samples} training samples for validation")
        return given, given

    def choose(self, samples: int, given: int, seed: int, labels: NDArray[Any] | None) -> NDArray[Any]:
        """The samples that are given."""
        return np.arange(samples - self.held_out(samples, given)[0], samples)


class Folds(Validation):
    """Cross-validation: divides the training samples at random into `k` folds, and trains every lane k times, each time
    with another fold held out, so that each sample is held out exactly once.

    Folds differ by at most one sample, the first are the larger ones; with `stratify`, they differ by at most one
    sample of each class. Sizes are those of scikit-learn's `KFold(k, shuffle=True)` and `StratifiedKFold(k,
    shuffle=True)`; which samples are in a fold is the seed's own choice. Each training has the next seed, as repeats
    have, and thus its own starting weights.
    """

    spec_name = "folds"
    also = ("kfold", "KFold", "k_fold", "StratifiedKFold", "cross_validation", "cv", "k_folds")
    draws = True
    k: Annotated[int, Range(low=2, high=MOST_FOLDS), Also("n_splits", "n_folds", "folds")] = 5

    @property
    def trainings(self) -> int:  # type: ignore[override]
        """One for each fold."""
        return self.k

    def held_out(self, samples: int, given: int) -> tuple[int, int]:
        """⌊n/k⌋ or ⌈n/k⌉."""
        if samples < self.k:
            raise ValueError(f"`folds({self.k})` needs at least {self.k} training samples, not {samples}")
        return samples // self.k, -(-samples // self.k)

    def choose(self, samples: int, given: int, seed: int, labels: NDArray[Any] | None) -> NDArray[Any]:
        """The first fold."""
        return Fold(self, 0).choose(samples, given, seed, labels)


class Fold(Validation):
    """One of the trainings of `folds`, with the fold `number` held out, from 0; no spec can write it."""

    draws = True
    of: Folds
    number: int

    def __repr__(self) -> str:
        return f"fold {self.number + 1} of {self.of!r}"

    def held_out(self, samples: int, given: int) -> tuple[int, int]:
        """The size of this fold."""
        self.of.held_out(samples, given)
        count = samples // self.of.k + (self.number < samples % self.of.k)
        return count, count

    def choose(self, samples: int, given: int, seed: int, labels: NDArray[Any] | None) -> NDArray[Any]:
        """Deal out the samples in random order, sorted by class where that is asked for, one fold after another.

        Trainings have one seed after another, so that of the first is the same for all folds.
        """
        order = stream(seed - self.number, Stream.VALIDATION).permutation(samples)
        if labels is not None:
            order = order[np.argsort(labels[order], kind="stable")]
        fold: NDArray[Any] = np.sort(order[self.number :: self.of.k])
        return fold
