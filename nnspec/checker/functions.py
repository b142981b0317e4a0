"""The functions and constants of expressions: a fixed set of pure functions with bounded results."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["CONSTANTS", "FUNCTIONS", "MAX_ITEMS", "OPERATORS", "Unfit", "reason", "short"]

_MAX_BITS = 4096
_MAX_DIGITS = 400
MAX_ITEMS = 10_000


class Unfit(Exception):
    """A computation without a result. The message says why."""


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (OverflowError, "the result is too large"),
    (ZeroDivisionError, "division by zero"),
    (ValueError, "it is undefined there"),
)


def reason(error: Exception) -> str:
    """Say why a computation has no result, without Python's message."""
    return next((text for kind, text in _REASONS if isinstance(error, kind)), str(error))


def short(number: float) -> str:
    """Format a number; a very long one in words."""
    return str(number) if abs(number) < 10**15 else f"about 10 to the {len(str(int(abs(number)))) - 1}"


def _checked_power(base: float, exponent: float) -> float:
    if isinstance(base, int) and isinstance(exponent, int) and exponent > 0:
        if abs(base) > 1 and base.bit_length() * exponent > _MAX_BITS:
            raise Unfit(f"{short(base)} ** {short(exponent)} is too large")
        return base**exponent
    result = base**exponent
    if isinstance(result, complex):
        raise Unfit(f"{short(base)} ** {short(exponent)} is not a real number")
    return result


def _checked_sum(left: float, right: float) -> float:
    return _bounded(left + right)


def _checked_difference(left: float, right: float) -> float:
    return _bounded(left - right)


def _bounded(result: float) -> float:
    """Return a result. Raises Unfit for an integer with so many digits that it cannot be printed."""
    if isinstance(result, int) and result.bit_length() > _MAX_BITS:
        raise Unfit("the result is too large")
    return result


def _checked_product(left: float, right: float) -> float:
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > _MAX_BITS:
        raise Unfit("the product is too large")
    return left * right


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": _checked_sum,
    "-": _checked_difference,
    "*": _checked_product,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": _checked_power,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def _count(number: Any) -> int:
    if not isinstance(number, int) or not 1 <= number <= MAX_ITEMS:
        raise Unfit(f"a list has 1 to {MAX_ITEMS:,} items, not {short(number) if _is_number(number) else 'that'}")
    return number


def _range(*bounds: int) -> list[int]:
    if not all(isinstance(b, int) for b in bounds):
        raise Unfit("`range` takes integers")
    values = range(*bounds)
    if values[MAX_ITEMS:]:  # its length may be larger than Python counts
        raise Unfit(f"a list has at most {MAX_ITEMS:,} items")
    return list(values)


def _round(number: float, digits: int | None = None) -> float:
    if digits is not None and (not isinstance(digits, int) or abs(digits) > _MAX_DIGITS):
        raise Unfit(f"digits are an integer from -{_MAX_DIGITS} to {_MAX_DIGITS}")
    return round(number) if digits is None else round(number, digits)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _linspace(start: float, stop: float, count: int) -> list[float]:
    steps = _count(count) - 1
    values = [start + (stop - start) * i / steps if steps else start for i in range(count)]
    if not all(map(math.isfinite, values)):
        raise OverflowError
    return values


def _logspace(start: float, stop: float, count: int) -> list[float]:
    return [10.0**exponent for exponent in _linspace(start, stop, count)]


def _of_numbers(function: Callable[[Sequence[float]], float], least: int) -> Callable[..., float]:
    """Return a function of a list of numbers, or of at least `least` numbers. It rejects nested lists: comparing them
    could take arbitrarily long."""

    def checked(*values: Any) -> float:
        numbers = values if len(values) >= least else values[0] if values else None
        if not isinstance(numbers, (list, tuple)) or not all(isinstance(number, (int, float)) for number in numbers):
            raise TypeError
        return _bounded(function(numbers))

    return checked


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "exp": math.exp,
    "floor": math.floor,
    "int": int,
    "len": len,
    "linspace": _linspace,
    "log": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "logspace": _logspace,
    "max": _of_numbers(max, least=2),
    "min": _of_numbers(min, least=2),
    "range": _range,
    "round": _round,
    "sqrt": math.sqrt,
    "sum": _of_numbers(sum, least=MAX_ITEMS),
}

CONSTANTS: dict[str, float] = {"pi": math.pi}
