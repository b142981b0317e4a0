"""Rules for scaling samples and targets. A rule is a frozen set of settings; what it learns is a shift m and a scale d
of each number: x → (x − m) / d.

`standardise = true` is `standard`. A rule applies to all numbers, or to some columns of a table; those that no rule
names stay as they are. Ids are never scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

from nnspec.engine._numpy import np
from nnspec.engine.part import Also, PlainPart, Range

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Fixed", "MinMax", "Numbers", "Robust", "Scaler", "Standard", "scalers_of"]

Per = Annotated[Literal["feature", "channel", "all"], Also("axis", "by", "over")]


class Numbers(Protocol):
    """What a rule learns from: the numbers that it applies to in the training samples, in groups that share a scale.
    Statistics have the shape `(groups,)` and are float64, in the unit of the samples.
    """

    @property
    def groups(self) -> int:
        """The number of groups."""

    def moments(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return mean, standard deviation (divided by n), and whether the numbers vary by more than rounding."""

    def extremes(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return minimum and maximum."""

    def quantiles(self, shares: Sequence[float]) -> NDArray[Any]:
        """Return quantiles `(shares, groups)`, interpolated linearly as in `numpy.quantile`."""


class Scaler(PlainPart):
    """Base of the rules. `columns` are columns of a table or named inputs, or numbers of features, counted from 0."""

    kind: ClassVar[str] = "scaling rule"
    must_define = ("learn",)
    takes_weights: ClassVar[bool] = True
    """Whether it can learn from weighted samples."""
    _: KW_ONLY
    columns: Annotated[tuple[str | int, ...] | None, Also("features", "cols", "on", "apply_to", "inputs")] = None

    def __post_init__(self) -> None:
        """Store lists as tuples, since rules are frozen."""
        if self.columns is not None:
            self._convert(columns=tuple(self.columns))

    @property
    def sharing(self) -> str:
        """Which numbers share a scale: each `feature` has its own, those of a `channel`, or `all`; "" if that follows
        from the number of given values."""
        return ""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The lengths of the lists of given values."""
        return ()

    def learn(self, numbers: Numbers) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return shift and scale of each group, float64 `(groups,)`. Scales are above 0."""
        raise NotImplementedError


class _Learned(Scaler):
    """Base of the rules that learn from the training samples."""

    _: KW_ONLY
    per: Per = "feature"

    @property
    def sharing(self) -> str:
        """As the rule says."""
        return str(self.per)


class Standard(_Learned):
    """x → (x − μ) / σ: mean 0 and standard deviation 1 over the training samples. As scikit-learn's `StandardScaler`.

    The deviation is divided by n, and is 1 for what is constant up to rounding. `per = channel` pools all pixels of a
    channel, or all positions of a feature of a sequence, and `per = all` all numbers of an input.
    """

    spec_name = "standard"
    also = ("StandardScaler", "standardise", "standardize", "zscore", "z_score", "Standard", "Normalization")

    def learn(self, numbers: Numbers) -> tuple[NDArray[Any], NDArray[Any]]:
        """Mean and standard deviation."""
        mean, deviation, varies = numbers.moments()
        return mean, np.where(varies, deviation, 1.0)


class MinMax(_Learned):
    """x → low + (high − low) · (x − min) / (max − min): from `low` to `high` over the training samples. As
    scikit-learn's `MinMaxScaler`.

    Other samples may lie outside; they are not clipped. What is constant becomes `low`.
    """

    spec_name = "min_max"
    also = ("MinMaxScaler", "minmax", "min_max_scaler", "MinMax", "rescale", "normalise", "normalize")
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError if `high` is not above `low`."""
        super().__post_init__()
        if not self.low < self.high:
            raise ValueError(f"`high` must be above `low`, got {self.low:g} and {self.high:g}")

    def learn(self, numbers: Numbers) -> tuple[NDArray[Any], NDArray[Any]]:
        """d = (max − min) / (high − low), m = min − low · d."""
        least, most = numbers.extremes()
        scale = np.where(most > least, most - least, 1.0) / (self.high - self.low)
        return least - self.low * scale, scale


class Robust(_Learned):
    """x → (x − median) / IQR, where IQR is the range between the quartiles: outliers have little influence. As
    scikit-learn's `RobustScaler`.

    The range is 1 where both quartiles are equal. Samples must not be weighted.
    """

    spec_name = "robust"
    also = ("RobustScaler", "robust_scale", "iqr", "median", "Robust")
    takes_weights = False

    def learn(self, numbers: Numbers) -> tuple[NDArray[Any], NDArray[Any]]:
        """Median, and the range between the quartiles."""
        low, middle, high = numbers.quantiles((0.25, 0.5, 0.75))
        return middle, np.where(high > low, high - low, 1.0)


class Fixed(Scaler):
    """x → (x − mean) / deviation, with given numbers: one for all, one per channel, or one per feature. As
    torchvision's `Normalize` after its `ToTensor`: bytes of images are divided by 255 before.
    """

    spec_name = "fixed"
    also = ("Normalize", "given_scale", "mean_std", "constant_scale", "Fixed")
    mean: Annotated[float | tuple[float, ...], Also("means", "mu", "shift", "center")]
    deviation: Annotated[float | tuple[float, ...], Range(low=0, open_low=True), Also("std", "stds", "sigma", "scale")]

    def __post_init__(self) -> None:
        """Raise ValueError if there are several means and another number of deviations."""
        super().__post_init__()
        for name in ("mean", "deviation"):
            if isinstance(getattr(self, name), (list, tuple)):
                self._convert(**{name: tuple(getattr(self, name))})
        if len({*self.sizes}) > 1 or 0 in self.sizes:
            raise ValueError("`mean` and `deviation` must be single numbers, or lists of the same length")

    @property
    def sizes(self) -> tuple[int, ...]:
        """The lengths of `mean` and `deviation`."""
        return tuple(len(each) for each in (self.mean, self.deviation) if isinstance(each, tuple))

    def learn(self, numbers: Numbers) -> tuple[NDArray[Any], NDArray[Any]]:
        """The given numbers."""
        given = (np.asarray(each, np.float64) for each in (self.mean, self.deviation))
        shift, scale = (np.broadcast_to(each, numbers.groups) for each in given)
        return shift, scale


def scalers_of(setting: bool | Scaler | tuple[Scaler, ...]) -> tuple[Scaler, ...]:
    """Return the rules of `standardise`: `true` is `standard`."""
    if isinstance(setting, bool):
        return (Standard(),) if setting else ()
    return setting if isinstance(setting, tuple) else (setting,)
