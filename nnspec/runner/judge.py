"""Judging the expectations of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping

from nnspec.checker import calculate
from nnspec.checker.program import Case, Expectation, Figure
from nnspec.compiler.proofs import Compiled
from nnspec.engine.gradcheck import GradientReport
from nnspec.runner.history import LaneResult, Verdict, epochs_to

__all__ = ["judge"]

_EXACT = frozenset({"params", "flops", "memory"})


def judge(
    compiled: Compiled, lanes: Mapping[str, LaneResult], gradients: Mapping[str, GradientReport]
) -> tuple[Verdict, ...]:
    """Judge every expectation of a program."""

    def look(figure: Figure) -> float:
        if figure.name in _EXACT:
            return compiled.figure(figure)
        if figure.name == "gradient_error":
            return gradients[figure.lane].error if figure.lane in gradients else math.nan
        lane = lanes.get(figure.lane)
        if lane is None or lane.status != "done":
            return math.nan
        if figure.name == "epochs_to":
            assert figure.target is not None, "the checker lets no `epochs_to` through without its loss"
            return epochs_to(lane.history["loss"], figure.target)
        return lane.final(figure.name)

    return tuple(_verdict(expectation, look, lanes) for expectation in compiled.program.expectations)


def _verdict(expectation: Expectation, look: object, lanes: Mapping[str, LaneResult]) -> Verdict:
    details: list[str] = []
    for case in expectation.cases:
        values = {figure: look(figure) for figure in case.figures()}  # type: ignore[operator]
        unknown = [figure.lane for figure, value in values.items() if math.isnan(value)]
        if unknown:
            lane = lanes.get(unknown[0])
            held = False if lane is not None and lane.status == "diverged" else None
            why = f"lane {unknown[0]} {lane.status if lane is not None else 'was not trained'}"
            if lane is not None and lane.status == "done":
                held, why = False, "could not be measured"
            return Verdict(expectation.text, held, why)
        detail = _in_words(case, values)
        if not calculate(case.node, values.__getitem__):
            return Verdict(expectation.text, False, detail)
        details.append(detail)
    return Verdict(expectation.text, True, ", ".join(dict.fromkeys(details)))


def _in_words(case: Case, values: Mapping[Figure, float]) -> str:
    named = case.lane is not None and len(values) == 1
    if named and {figure.name for figure in values} <= _EXACT | {"gradient_error"}:
        return ", ".join(_number(figure, value) for figure, value in values.items())
    return ", ".join(f"{figure.lane} {_number(figure, value)}" for figure, value in values.items())


def _number(figure: Figure, value: float) -> str:
    if figure.name in _EXACT:
        return f"{value:,.0f}"
    if figure.name == "gradient_error":
        return f"{value:.1e}"
    if figure.name == "epochs_to":
        return "never" if math.isinf(value) else f"{value:.0f} epochs"
    return f"{value:.4g}"
