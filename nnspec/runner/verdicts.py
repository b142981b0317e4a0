"""Checking the expectations of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping

from nnspec.checker import calculate
from nnspec.checker.program import Case, Expectation, Figure, Program
from nnspec.compiler.proofs import Compiled
from nnspec.engine.gradcheck import GradientReport
from nnspec.engine.metrics.contract import higher_is_better
from nnspec.results.lane import LaneResult
from nnspec.results.run import Verdict

__all__ = ["judge", "outcomes"]

_EXACT = frozenset({"params", "trained_params", "flops", "memory"})
_BEFORE = _EXACT | {"gradient_error"}
"""Figures known before training, which are the same for all repeats."""
_WORST = ", worst "
_SHOWN = 6  # cases of a statement to list individually


def judge(
    compiled: Compiled, lanes: Mapping[str, LaneResult], gradients: Mapping[str, GradientReport]
) -> tuple[Verdict, ...]:
    """Return the verdict on every expectation of a program."""

    def look(figure: Figure) -> float:
        if figure.name in _EXACT:
            return compiled.figure(figure)
        if figure.name == "gradient_error":
            return gradients[figure.lane].error if figure.lane in gradients else math.nan
        lane = lanes.get(figure.lane)
        if lane is None or lane.status != "done":
            return math.nan
        return _outcome(figure, lane)

    return tuple(_verdict(expectation, look, lanes) for expectation in compiled.program.expectations)


def outcomes(program: Program, lanes: Mapping[str, LaneResult]) -> dict[str, dict[str, dict[int, float]]]:
    """Return what training gave, by lane, figure and seed: what was measured, and what expectations mention."""
    mentioned = [figure for each in program.expectations for case in each.cases for figure in case.figures()]
    found: dict[str, dict[str, dict[int, float]]] = {}
    for name, lane in lanes.items():
        figures = [Figure(name, measured) for measured in lane.figures]
        figures += [
            figure
            for figure in mentioned
            if f"{name},".startswith(f"{figure.lane},") and figure.name not in _BEFORE  # `SGD` has `SGD,study=2`
        ]
        found[name] = {
            figure.text: {one.seed: _outcome(figure, one) for one in lane.repeats or (lane,)} for figure in figures
        }
    return found


def _verdict(expectation: Expectation, look: object, lanes: Mapping[str, LaneResult]) -> Verdict:
    details: list[list[str]] = []
    for case in expectation.cases:
        values = {figure: look(figure) for figure in case.figures()}  # type: ignore[operator]
        unknown = [figure.lane for figure, value in values.items() if math.isnan(value)]
        if unknown:
            lane = lanes.get(unknown[0])
            held = False if lane is not None and lane.status in ("diverged", "failed") else None
            why = f"lane {unknown[0]} {lane.status if lane is not None else 'was not trained'}"
            if lane is not None and lane.status == "done":
                held, why = False, "could not be measured"
            return Verdict(expectation.text, held, why)
        found = _in_words(case, values, lanes)
        if not calculate(case.node, values.__getitem__):
            return Verdict(expectation.text, False, _joined(found))
        details.append(found)
    if len(details) > _SHOWN:
        detail = f"{_joined(details[0])}, … and likewise in all {len(details)} cases"
        return Verdict(expectation.text, True, detail)
    return Verdict(expectation.text, True, _joined([words for found in details for words in found]))


def _outcome(figure: Figure, lane: LaneResult) -> float:
    """Return the value of a figure after training; with repeats, the mean."""
    if figure.name == "epochs_to":
        assert figure.target is not None, "the checker rejects `epochs_to` without a loss"
        return lane.epochs_to(figure.target)
    return lane.final(figure.name)


def _joined(found: list[str]) -> str:
    """Join the findings of all cases into one line, without duplicates."""
    return ("; " if any(_WORST in words for words in found) else ", ").join(dict.fromkeys(found))


def _in_words(case: Case, values: Mapping[Figure, float], lanes: Mapping[str, LaneResult]) -> list[str]:
    named = case.lane is not None and len(values) == 1
    if named and {figure.name for figure in values} <= _BEFORE:
        return [_number(figure, value) for figure, value in values.items()]
    return [f"{figure.lane} {_number(figure, value)}{_worst(figure, lanes)}" for figure, value in values.items()]


def _worst(figure: Figure, lanes: Mapping[str, LaneResult]) -> str:
    """Return the value of the worst repeat, `, worst 0.081 of 5`; an empty string if there are no repeats."""
    repeats = lanes[figure.lane].repeats if figure.name not in _BEFORE else ()
    if not repeats:
        return ""
    found = [_outcome(figure, one) for one in repeats]
    worst = min(found) if higher_is_better(figure.name) else max(found)
    return f"{_WORST}{_number(figure, worst).removesuffix(' epochs')} of {len(repeats)}"


def _number(figure: Figure, value: float) -> str:
    if figure.name in _EXACT:
        return f"{value:,.0f}"
    if figure.name == "gradient_error":
        return f"{value:.1e}"
    if figure.name == "epochs_to":
        return "never" if math.isinf(value) else f"{value:.{0 if value.is_integer() else 1}f} epochs"
    return f"{value:.4g}"
