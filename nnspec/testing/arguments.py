"""Other values of arguments, to see whether an argument has an effect."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import numpy as np

from nnspec.engine.initializers import Normal
from nnspec.engine.part import Argument, FigureName
from nnspec.engine.schedules import ConstantSchedule

__all__ = ["differ", "other_values"]

_NUMBERS = (0.3, 0.9, 2, 3, 0.05, 0, 5, 1)


def other_values(argument: Argument, count: int = 0) -> Iterator[Any]:
    """Yield values that an argument accepts; `count` is the number of weights in a list of weights."""
    words = (word for option in typing.get_args(argument.type) for word in (typing.get_args(option) or (option,)))
    normal = Normal(std=3.0)
    candidates = [True, False, *_NUMBERS, *argument.words, *words, normal, (0.5, 0.7), (0.5, 0.7, 0.6), (3,), (3.5, 4)]
    candidates += [(ConstantSchedule(0.3),) * length for length in (1, 2)]
    if argument.type is FigureName:
        candidates = [FigureName("val_loss"), FigureName("loss")]
    for value in [*candidates, (3.0, *(1.0,) * count)]:
        right = isinstance(value, (bool, int, float, str, tuple, Normal)) and argument.problem(value) is None
        if right and not isinstance(value, type):
            yield value


def differ(values: Any, others: Any) -> bool:
    """Whether two nests of arrays and numbers are not the same."""
    if isinstance(values, dict):
        return values.keys() != others.keys() or any(differ(values[name], others[name]) for name in values)
    return not (np.shape(values) == np.shape(others) and np.array_equal(values, others))
