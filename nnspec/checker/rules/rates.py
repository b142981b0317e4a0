"""Learning rates."""

from __future__ import annotations

from collections.abc import Iterator

from nnspec.checker.program import Experiment
from nnspec.checker.rules.common import number_in_words
from nnspec.checker.rules.registry import advice, rule
from nnspec.diagnostics import Diagnostic
from nnspec.engine.schedules import Schedule

_CLOSE = 1.0000001  # a rate on the edge of the usual range, within rounding


@rule("NN706")
def unusual_rate(experiment: Experiment) -> Iterator[Diagnostic]:
    """A learning rate that is unusual for its optimizer."""
    optimizer = experiment.optimizer
    rate, bound = optimizer.values().get("lr"), optimizer.arguments.get("lr")
    rate = rate.largest if isinstance(rate, Schedule) else rate
    low, high = optimizer.part.usual_rates
    if bound is not None and isinstance(rate, (int, float)) and not low / _CLOSE <= rate <= high * _CLOSE:
        what = "large" if rate > high else "small"
        message = f"lr={number_in_words(rate)} is unusually {what} for {optimizer.name}"
        yield advice(
            "NN706",
            message,
            bound.origin.span,
            f"rates between {number_in_words(low)} and {number_in_words(high)} are usual",
        )
