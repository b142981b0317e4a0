"""Rules for holding out training samples for validation. A rule is a frozen set of settings; its draws depend only on a
seed.

A number instead of a rule, `validation = 0.2`, is a fraction to draw at random.
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
    """Return a fraction of samples, rounded (half to even): at least one, and at least one is left for training."""
    if samples < 2:
        raise ValueError(f"`validation` needs at least 2 training samples, not {samples}")
    return min(max(round(share * samples), 1), samples - 1)


class Validation(PlainPart):
    """Base of the rules. `given` is the number of training samples, the last ones, that the data itself provides for
    validation.
    """

    kind: ClassVar[str] = "validation rule"
    draws: ClassVar[bool] = False
    """Whether samples are drawn at random, so that classes can be stratified."""
    trainings = 1
    """The number of trainings per lane."""

    def held_out(self, samples: int, given: int) -> tuple[int, int]:
        """Return the minimum and maximum number of held-out samples over all trainings. Raises ValueError for too few
        samples.
        """
        raise NotImplementedError

    def choose(self, samples: int, given: int, seed: int, labels: NDArray[Any] | None) -> NDArray[Any]:
        """Return the indices of the held-out samples, sorted. `labels` are the classes to stratify by."""
        raise NotImplementedError


class Last(Validation):
    """Holds out the last `share` of the training samples, in the order of the data: for time series, where samples
    drawn at random would have neighbours among the training samples. As Keras's `validation_split`.
    """

    spec_name = "last"
    also = ("tail", "Last", "TimeSeriesSplit", "chronological")
    share: Annotated[float, Range(low=0, high=1, open_low=True, open_high=True), Also("validation_split", "size")]

    def held_out(self, samples: int, given: int) -> tuple[int, int]:
        """The fraction, rounded."""
        count = share_of(self.share, samples)
        return count, count

    def choose(self, samples: int, given: int, seed: int, labels: NDArray[Any] | None) -> NDArray[Any]:
        """The last samples."""
        return np.arange(samples - self.held_out(samples, given)[0], samples)


class Given(Validation):
    """Holds out the samples that the data provides for validation. The default if the data provides any."""

    spec_name = "given"
    also = ("validation_data", "from_data", "PredefinedSplit", "x_val")

    def held_out(self, samples: int, given: int) -> tuple[int, int]:
        """The number that the data provides."""
        if not 0 < given < samples:
            raise ValueError(f"the data holds out {given} of its {samples} training samples for validation")
        return given, given

    def choose(self, samples: int, given: int, seed: int, labels: NDArray[Any] | None) -> NDArray[Any]:
        """The samples that the data provides."""
        return np.arange(samples - self.held_out(samples, given)[0], samples)


class Folds(Validation):
    """Cross-validation: divides the training samples at random into `k` folds, and trains every lane k times, each time
    with a different fold held out, so that each sample is held out exactly once.

    Fold sizes differ by at most one sample, the first being the larger ones; with `stratify`, they differ by at most
    one sample of each class. Sizes are those of scikit-learn's `KFold(k, shuffle=True)` and `StratifiedKFold(k,
    shuffle=True)`; the assignment of samples to folds depends on the seed. Each training uses the next seed, as repeats
    do, and thus has its own initial weights.
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
    """One of the trainings of `folds`, with the fold `number` held out, from 0; it cannot be written in a spec."""

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
        """Deal out the samples to folds in random order, sorted by class if requested.

        Consecutive trainings have consecutive seeds, so all folds use the seed of the first.
        """
        order = stream(seed - self.number, Stream.VALIDATION).permutation(samples)
        if labels is not None:
            order = order[np.argsort(labels[order], kind="stable")]
        fold: NDArray[Any] = np.sort(order[self.number :: self.of.k])
        return fold
