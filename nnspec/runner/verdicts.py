"""Checking the expectations of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from nnspec.checker import calculate
from nnspec.checker.program import Case, Expectation, Figure, Program
from nnspec.compiler.proofs import Compiled
from nnspec.engine.gradcheck import GradientReport
from nnspec.engine.metrics.contract import higher_is_better
from nnspec.results.lane import LaneResult
from nnspec.results.run import Verdict

__all__ = ["Trained", "judge", "measured", "outcomes"]

_EXACT = frozenset({"params", "trained_params", "flops", "memory"})
_BEFORE = _EXACT | {"gradient_error"}
"""Figures known before training, which are the same for all repeats."""
_WORST = ", worst "
_SHOWN = 6  # cases of a statement to list individually


class Trained(Protocol):
    """A lane as far as expectations need it: a result, or the record of one."""

    @property
    def status(self) -> str:
        """`done` if its figures count."""

    @property
    def repeats(self) -> Sequence[Trained]:
        """The individual trainings, one per seed; empty if there was only one."""

    def final(self, figure: str) -> float:
        """Return a figure at the end."""

    def epochs_to(self, target: float) -> float:
        """Return the number of epochs until the training loss was at or below a target; infinity if it never was."""


def judge(
    compiled: Compiled,
    lanes: Mapping[str, Trained],
    gradients: Mapping[str, GradientReport],
    unsettled: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Verdict, ...]:
    """Return the verdict on every expectation of a program; for `unsettled`, see `run_program`."""

    def look(figure: Figure) -> float:
        if figure.name in _EXACT:
            return compiled.figure(figure)
        if figure.name == "gradient_error":
            return gradients[figure.lane].error if figure.lane in gradients else math.nan
        lane = lanes.get(figure.lane)
        if lane is None or lane.status != "done":
            return math.nan
        return _outcome(figure, lane)

    return tuple(_verdict(expectation, look, lanes, unsettled) for expectation in compiled.program.expectations)


def measured(program: Program) -> list[Figure]:
    """Return the figures in expectations that training decides."""
    figures = (figure for each in program.expectations for case in each.cases for figure in case.figures())
    return [figure for figure in figures if figure.name not in _BEFORE]


def outcomes(program: Program, lanes: Mapping[str, LaneResult]) -> dict[str, dict[str, dict[int, float]]]:
    """Return what training gave, by lane, figure and seed: what was measured, and what expectations mention."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for name, lane in lanes.items():
        figures = [Figure(name, figure) for figure in lane.figures]
        # `SGD,study=2` is a lane `SGD` of the program
        figures += [figure for figure in measured(program) if f"{name},".startswith(f"{figure.lane},")]
        found[name] = {figure.text: {one.seed: _outcome(figure, one) for one in lane.trainings} for figure in figures}
    return found


def _verdict(
    expectation: Expectation, look: object, lanes: Mapping[str, Trained], unsettled: Mapping[str, str]
) -> Verdict:
    details: list[list[str]] = []
    for case in expectation.cases:
        values = {figure: look(figure) for figure in case.figures()}  # type: ignore[operator]
        unknown = [figure.lane for figure, value in values.items() if math.isnan(value)]
        if unknown:
            lane = lanes.get(unknown[0])
            held = False if lane is not None and lane.status in ("diverged", "failed") else None
            why = f"lane {unknown[0]} {lane.status if lane is not None else 'was not trained'}"
            if unknown[0] in unsettled:
                why = f"lane {unknown[0]} was not trained: {unsettled[unknown[0]]}"
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


def _outcome(figure: Figure, lane: Trained) -> float:
    """Return the value of a figure after training; with repeats, the mean."""
    if figure.name == "epochs_to":
        assert figure.target is not None, "the checker rejects `epochs_to` without a loss"
        return lane.epochs_to(figure.target)
    return lane.final(figure.name)


def _joined(found: list[str]) -> str:
    """Join the findings of all cases into one line, without duplicates."""
    return ("; " if any(_WORST in words for words in found) else ", ").join(dict.fromkeys(found))


def _in_words(case: Case, values: Mapping[Figure, float], lanes: Mapping[str, Trained]) -> list[str]:
    named = case.lane is not None and len(values) == 1
    if named and {figure.name for figure in values} <= _BEFORE:
        return [_number(figure, value) for figure, value in values.items()]
    return [f"{figure.lane} {_number(figure, value)}{_worst(figure, lanes)}" for figure, value in values.items()]


def _worst(figure: Figure, lanes: Mapping[str, Trained]) -> str:
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
