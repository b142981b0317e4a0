"""Search spaces of hyperparameters for `tune`. A space is a frozen set of settings that maps u in [0, 1) to a value, by
the inverse of its distribution function; a search chooses u.

Numbers are rounded to about a thousandth of the space, so that the value shown, such as `lr=0.09312`, is exactly the
one that was trained, on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from nnspec.engine.part import Also, ArgumentFault, PlainPart, Range, comparable

__all__ = ["Choice", "Integers", "LogUniform", "Space", "UniformSpace"]

LAST = math.nextafter(1.0, 0.0)
"""The largest u: it is mapped to the upper end of a space."""
_EDGE = 0.05
"""The fraction of a space at either end that counts as its edge."""
_CLOSEST = 1e-10
"""The least relative difference between the ends of a space."""
_FAR = 10**12
_EXPONENT = 12
"""Numbers up to this one may be meant as exponents."""

Low = Also("min", "lower", "lower_bound", "minval", "a", "start", "from_")
High = Also("max", "upper", "upper_bound", "maxval", "b", "stop", "to")
Whole = Range(low=-_FAR, high=_FAR)


class Space(PlainPart):
    """Base of the spaces."""

    kind: ClassVar[str] = "space"
    must_define = ("at", "place", "width")

    @property
    def all_values(self) -> Sequence[Any] | None:
        """All values in order, if there are finitely many; None otherwise."""
        return None

    @property
    def ordered(self) -> bool:
        """Whether the values have an order, so that some lie at the edge of the space."""
        return True

    @property
    def scale(self) -> Literal["linear", "log", "values"]:
        """The axis on which the space is uniform; `values` if these are unrelated."""
        return "linear"

    @property
    def width(self) -> float:
        """The size of the space, to be compared with others of the same scale: high − low, decades for `log`, or the
        number of values.
        """
        raise NotImplementedError

    def at(self, u: float) -> Any:
        """Return the value at u in [0, 1): its quantile, which does not decrease with u."""
        raise NotImplementedError

    def place(self, value: Any) -> float:
        """Return a u with `at(u) == value`: the value's place in the space. Raises ValueError for a value outside."""
        raise NotImplementedError

    @property
    def size(self) -> int | None:
        """The number of values, or None if the space is continuous."""
        values = self.all_values
        return None if values is None else len(values)

    def levels(self, count: int) -> tuple[Any, ...]:
        """Return at most `count` different values for a grid: evenly spaced on the scale, both ends included, or all
        values if there are not more. A single one is the median.
        """
        values = self.all_values
        if values is not None and count >= len(values):
            return tuple(values)
        places = [min(i / (count - 1), LAST) for i in range(count)] if count > 1 else [0.5]
        return tuple(dict.fromkeys(self.at(u) for u in places))

    def edge(self, value: Any) -> Literal["low", "high", ""]:
        """Return the end that a value lies at: whether it is the first or last value, or in the outer 5 % of the space.

        A space without order, or of fewer than three values, has no edge. Raises ValueError for a value outside.
        """
        place = self.place(value)
        if not self.ordered or (self.size is not None and self.size < 3):
            return ""
        first, last = self.levels(2)
        ends: tuple[Literal["low", "high"], ...] = ("low", "high") if first < last else ("high", "low")
        if value == first or place < _EDGE:
            return ends[0]
        return ends[1] if value == last or place >= 1 - _EDGE else ""

    def _outside(self, value: object) -> ValueError:
        return ValueError(f"{value!r} is not in {self!r}")


def _ascending(low: float, high: float, space: str) -> None:
    """Raise ArgumentFault if `high` is not above `low`."""
    if low == high:
        raise ArgumentFault(
            "high",
            f"`high` must be greater than `low`, but both are {low:g}",
            "to fix a setting, write its value outside `tune`",
        )
    if low > high:
        message = f"`high` must be greater than `low`, got {low:g} and {high:g}"
        raise ArgumentFault("high", message, f"exchange them: `{space}({high:g}, {low:g})`")


def _positive(low: float, high: float) -> None:
    """Raise ArgumentFault unless both are greater than 0."""
    name, wrong = ("low", low) if low <= 0 else ("high", high)
    if wrong > 0:
        return
    help = "a logarithmic scale has no 0: use the smallest value worth trying, such as 1e-5"
    if -_EXPONENT <= low < high <= _EXPONENT and low < 0:
        ends = [f"1e{end:g}" if end == int(end) and end else f"{10.0**end:.3g}" for end in (low, high)]
        help = (
            f"the ends are values, not exponents; for 10^{low:g} to 10^{high:g}, write `loguniform({', '.join(ends)})`"
        )
    raise ArgumentFault(name, f"`{name}` must be greater than 0, got {wrong:g}", help)


class UniformSpace(Space):
    """Numbers between `low` and `high`, all equally likely: low + u · (high − low).

    For what matters by its ratio, such as a learning rate, use `loguniform`. As Optuna's `suggest_float`, SciPy's
    `uniform` (whose second argument is the width) and Ray Tune's `uniform`.

    Raises ValueError if `low` is not less than `high`.
    """

    spec_name = "uniform"
    also = ("Uniform", "suggest_float", "suggest_uniform", "uniform_float", "Float", "Real", "FloatDistribution")
    examples = ({"low": 0.8, "high": 0.99}, {"low": -2, "high": 1e6}, {"low": 0.12345678, "high": 0.12445678})
    low: Annotated[float, Low]
    high: Annotated[float, High]

    def __post_init__(self) -> None:
        _ascending(self.low, self.high, self.spec_name)
        if not math.isfinite(self.width):
            raise ArgumentFault("high", "`high` − `low` is too large for a float")
        if self.width <= _CLOSEST * max(abs(self.low), abs(self.high)):
            raise ArgumentFault("high", "`low` and `high` agree to ten digits: there is nothing to tune")

    @property
    def width(self) -> float:
        """high − low."""
        return float(self.high - self.low)

    def at(self, u: float) -> float:
        """low + u · (high − low), rounded."""
        if u >= LAST:
            return float(self.high)
        value = round(self.low + u * self.width, 4 - math.ceil(math.log10(self.width))) if u else self.low
        return float(min(max(value, self.low), self.high))

    def place(self, value: Any) -> float:
        """(value − low) / (high − low)."""
        if not self.low <= value <= self.high:
            raise self._outside(value)
        return min((value - self.low) / self.width, LAST)


class LogUniform(Space):
    """Numbers between `low` and `high`, uniform on a logarithmic scale: low · (high / low)^u. Each decade has the same
    share.

    SciPy's and Ray Tune's `loguniform`, Optuna's `suggest_float(…, log=True)`. In hyperopt, the ends of `loguniform`
    are given as their logarithms.

    Raises ValueError if `low` is not less than `high`, or not greater than 0.
    """

    spec_name = "loguniform"
    also = (
        "LogUniform",
        "log_uniform",
        "log_uniform_values",
        "reciprocal",
        "suggest_loguniform",
        "loguniform_float",
        "LogUniformDistribution",
    )
    resembles = (
        ("lognormal", "qlognormal", "qloguniform"),
        "its ends are values, not exponents: `loguniform(1e-4, 1)`",
    )
    examples = ({"low": 1e-5, "high": 0.1}, {"low": 0.1, "high": 0.11}, {"low": 1e-300, "high": 1e300})
    low: Annotated[float, Low]
    high: Annotated[float, High]

    def __post_init__(self) -> None:
        _positive(self.low, self.high)
        _ascending(self.low, self.high, self.spec_name)
        if self.width <= _CLOSEST:
            raise ArgumentFault("high", "`low` and `high` agree to ten digits: there is nothing to tune")

    @property
    def scale(self) -> Literal["log"]:
        """Its logarithm is uniform."""
        return "log"

    @property
    def width(self) -> float:
        """The number of decades: log10(high / low)."""
        return math.log10(self.high) - math.log10(self.low)

    def at(self, u: float) -> float:
        """low · (high / low)^u, rounded."""
        if u >= LAST:
            return float(self.high)
        low, high = math.log(self.low), math.log(self.high)
        digits = max(4, math.ceil(1 + math.log10(1000 / (high - low))))
        value = float(f"{math.exp(low + u * (high - low)):.{digits}g}") if u else self.low
        return float(min(max(value, self.low), self.high))

    def place(self, value: Any) -> float:
        """log(value / low) / log(high / low)."""
        if not self.low <= value <= self.high:
            raise self._outside(value)
        low, high = math.log(self.low), math.log(self.high)
        return min((math.log(value) - low) / (high - low), LAST)


class Integers(Space):
    """The integers from `low` to `high`, both included. With `log`, each is as likely as the interval of ±1/2 about it
    on a logarithmic scale, as for Optuna's `suggest_int(…, log=True)`; otherwise, all are equally likely.

    `high` is included as in Optuna; SciPy, NumPy, hyperopt and Ray Tune exclude it in `randint`.

    Raises ValueError if `low` is not less than `high`, or if `low` is less than 1 with `log`.
    """

    spec_name = "integers"
    also = (
        "randint",
        "Integers",
        "integer",
        "suggest_int",
        "uniform_int",
        "int_uniform",
        "Integer",
        "Int",
        "lograndint",
    )
    examples = ({"low": 1, "high": 3}, {"low": 16, "high": 512, "log": True}, {"low": -5, "high": 10**9})
    low: Annotated[int, Whole, Low]
    high: Annotated[int, Whole, High]
    log: Annotated[bool, Also("log_scale", "logarithmic", "log_base")] = False

    def in_spec(self) -> str:
        """Return it as written in a spec, with the name of `log`."""
        return f"{self.spec_name}({self.low}, {self.high}{', log=true' if self.log else ''})"

    def __post_init__(self) -> None:
        _ascending(self.low, self.high, self.spec_name)
        if self.log and self.low < 1:
            message = f"`low` must be at least 1 with `log`, got {self.low}"
            raise ArgumentFault("low", message, "start at 1, or use a linear scale with `log=false`")

    @property
    def all_values(self) -> range:
        """low, low + 1, …, high."""
        return range(self.low, self.high + 1)

    @property
    def scale(self) -> Literal["linear", "log"]:
        """As `log` says."""
        return "log" if self.log else "linear"

    @property
    def width(self) -> float:
        """high − low, or the number of decades."""
        return math.log10(self.high / self.low) if self.log else float(self.high - self.low)

    def at(self, u: float) -> int:
        """low + ⌊u · (high − low + 1)⌋; with `log`, (low − 1/2) · ((high + 1/2) / (low − 1/2))^u, rounded."""
        if not self.log:
            return min(self.low + math.floor(u * len(self.all_values)), self.high)
        low, high = self._ends
        return min(max(round(math.exp(low + u * (high - low))), self.low), self.high)

    def place(self, value: Any) -> float:
        """The middle of the values of u that give the integer, or its place on the logarithmic scale."""
        if type(value) is not int or value not in self.all_values:
            raise self._outside(value)
        if not self.log:
            return (value - self.low + 0.5) / len(self.all_values)
        low, high = self._ends
        return (math.log(value) - low) / (high - low)

    @property
    def _ends(self) -> tuple[float, float]:
        return math.log(self.low - 0.5), math.log(self.high + 0.5)


class Choice(Space):
    """One of several values, all equally likely: numbers, words, true, false, none, or parts such as schedules. A list
    where a space is expected is such a choice.

    A grid that has fewer levels takes values evenly spaced along the list.

    As Optuna's `suggest_categorical` and the `choice` of hyperopt and Ray Tune.

    Raises ValueError for fewer than two values, or equal ones.
    """

    spec_name = "choice"
    also = (
        "Choice",
        "categorical",
        "Categorical",
        "suggest_categorical",
        "one_of",
        "discrete",
        "CategoricalDistribution",
    )
    resembles = (
        ("quniform", "qrandint", "q_uniform", "suggest_discrete_uniform", "grid_search"),
        "it takes a list of values, such as `linspace(0, 0.5, 11)` or `range(16, 129, 16)`",
    )
    examples = ({"values": (16, 32, 64)}, {"values": (True, None)}, {"values": ("relu", 0.5, 1)})
    values: Annotated[
        tuple[int | float | bool | str | PlainPart | None, ...], Also("categories", "choices", "options", "list")
    ]

    def __post_init__(self) -> None:
        self._convert(values=tuple(self.values))
        if len(self.values) < 2:
            message = f"`values` must have at least two values to choose from, got {len(self.values)}"
            raise ArgumentFault("values", message, "to fix a setting, write its value outside `tune`")
        keys = [*map(_key, self.values)]
        twice = next((value for i, value in enumerate(self.values) if keys[i] in keys[:i]), None)
        if len({*keys}) < len(keys):
            raise ArgumentFault("values", f"`{twice!r}` is given twice")

    @property
    def all_values(self) -> tuple[Any, ...]:
        """The list."""
        return self.values

    @property
    def scale(self) -> Literal["values"]:
        """Values, in the order of the list."""
        return "values"

    @property
    def width(self) -> float:
        """The number of values."""
        return float(len(self.values))

    @property
    def ordered(self) -> bool:
        """Whether they are numbers in ascending or descending order."""
        numbers = [v for v in self.values if isinstance(v, (int, float)) and not isinstance(v, bool)]
        return len(numbers) == len(self.values) and numbers in (sorted(numbers), sorted(numbers, reverse=True))

    def at(self, u: float) -> Any:
        """The value number ⌊u · n⌋ of n, from 0."""
        return self.values[min(math.floor(u * len(self.values)), len(self.values) - 1)]

    def place(self, value: Any) -> float:
        """The middle of the values of u that give the value."""
        keys = [*map(_key, self.values)]
        if _key(value) not in keys:
            raise self._outside(value)
        return (keys.index(_key(value)) + 0.5) / len(keys)


def _key(value: object) -> tuple[bool, object]:
    """Return a key that is equal for equal values; true is not 1."""
    return isinstance(value, bool), comparable(value)
