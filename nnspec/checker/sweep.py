"""The points of a sweep: which settings have which values at each of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from nnspec.checker.binding import Given
from nnspec.checker.expressions import Evaluator
from nnspec.checker.functions import FUNCTIONS
from nnspec.checker.outline import MAX_NAME, Assignment, Sweep
from nnspec.checker.report import UNKNOWN, Report
from nnspec.diagnostics import Note, Span
from nnspec.syntax import tree

__all__ = ["MAX_RUNS", "Point", "points", "run_name"]

MAX_RUNS = 1000
"""The most runs, lanes times points, that a spec may have."""

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-=,")


@dataclass(frozen=True)
class Point:
    """One point of a sweep. Without a sweep there is one, at which nothing is set."""

    number: int = 1
    assignments: tuple[Assignment, ...] = ()
    values: dict[str, str] = field(default_factory=dict)
    """Setting -> value, as written."""
    label: str = ""
    """`width=16,lr=0.01`."""


@dataclass(frozen=True)
class _Axis:
    setting: Assignment
    values: tuple[tuple[Assignment, str], ...]


def points(
    sweep: Sweep | None, fixed: Sequence[Assignment], lanes: int, evaluator: Evaluator, report: Report
) -> list[Point]:
    """Return every point; what `--set` fixes is no longer swept. Lists that are none are reported."""
    if sweep is None:
        return [Point()]
    flags = {flag.text for flag in fixed}
    axes: list[_Axis] = []
    firsts: dict[str, Span] = {}
    good = True
    for dimension in sweep.dimensions:
        if dimension.text in firsts:
            first = Note(firsts[dimension.text], "first here")
            report.error("NN204", f"`{dimension.text}` is given twice", dimension.span, notes=(first,))
            continue
        firsts[dimension.text] = dimension.span
        axis = _axis(dimension, evaluator, report)
        good = good and axis is not None
        if axis is not None and dimension.text not in flags:
            axes.append(axis)
    if not good or not axes or not _fits(sweep, axes, lanes, report):
        return [Point()]
    rows = zip(*(a.values for a in axes), strict=True) if sweep.zipped else itertools.product(*(a.values for a in axes))
    return [_point(number, row, axes) for number, row in enumerate(rows, 1)]


def _fits(sweep: Sweep, axes: list[_Axis], lanes: int, report: Report) -> bool:
    """Whether zipped lists are equally long, and there are not too many runs."""
    lengths = [len(axis.values) for axis in axes]
    odd = next((axis for axis in axes if len(axis.values) != lengths[0]), None)
    if sweep.zipped and odd is not None:
        report.error(
            "NN303",
            f"`sweep zip` takes lists of one length: {len(odd.values)} here, {lengths[0]} in `{axes[0].setting.text}`",
            odd.setting.given.value.span,
            notes=(Note(axes[0].setting.given.value.span, f"{lengths[0]} values"),),
        )
        return False
    count = lengths[0] if sweep.zipped else 1
    for length in () if sweep.zipped else lengths:
        count *= length
    if count * lanes > MAX_RUNS:
        what = " × ".join(f"{n:,}" for n in ([lanes] if lanes > 1 else []) + ([count] if sweep.zipped else lengths))
        message = f"this is {what} = {count * lanes:,} runs, and a spec may have {MAX_RUNS:,}"
        report.error("NN603", message, sweep.head)
        return False
    return True


def _axis(dimension: Assignment, evaluator: Evaluator, report: Report) -> _Axis | None:
    given = dimension.given
    expressions = _list(given.value, evaluator, report)
    if expressions is None:
        return None
    if not expressions:
        report.error("NN302", "this list is empty", given.value.span)
        return None
    texts = [_text(expression) for expression in expressions]
    for i, text in enumerate(texts):
        if text in texts[:i]:
            first = Note(expressions[texts.index(text)].span, "first here")
            report.error("NN204", f"`{text}` is given twice", expressions[i].span, notes=(first,))
            return None
    values = tuple(
        (Assignment(dimension.path, Given(expression, given.name, "sweep")), text)
        for expression, text in zip(expressions, texts, strict=True)
    )
    return _Axis(dimension, values)


def _list(expression: tree.Expression, evaluator: Evaluator, report: Report) -> Sequence[tree.Expression] | None:
    """Return the items of a list that is written, named by a `let`, or made by a function; None where it is none."""
    match expression:
        case tree.Group(inner=inner):
            return _list(inner, evaluator, report)
        case tree.ListOf(items=items) | tree.TupleOf(items=items):
            return items
        case tree.Reference(path=path) if path.text in evaluator.lets:
            value = evaluator.value(expression)  # finds a `let` that depends on itself
            return None if value is UNKNOWN else _list(evaluator.lets[path.text].value, evaluator, report)
        case tree.Call(callee=callee) if callee.text in FUNCTIONS:
            value = evaluator.value(expression)
            if isinstance(value, (list, tuple)):
                return [tree.Constant(item, expression.span) for item in value]
            if value is UNKNOWN:
                return None
    report.error(
        "NN301", "a sweep takes lists", expression.span, help="such as `[16, 32, 64]` or `logspace(-4, -1, 4)`"
    )
    return None


def _text(expression: tree.Expression) -> str:
    """Write a value as short as it can be told from others."""
    if isinstance(expression, tree.Constant) and isinstance(expression.value, float):
        short = f"{expression.value:.6g}"
        return (
            short
            if float(short) == expression.value or abs(float(short) / expression.value - 1) < 1e-12
            else repr(expression.value)
        )
    if isinstance(expression, tree.Constant) and not isinstance(expression.value, str):
        return str(expression.value).lower()
    return " ".join(expression.span.text.split())


def _point(number: int, row: Sequence[tuple[Assignment, str]], axes: Sequence[_Axis]) -> Point:
    words = [axis.setting.path[-1].text for axis in axes]
    parts = []
    for (assignment, text), word in zip(row, words, strict=True):
        parts.append(f"{word if words.count(word) == 1 else assignment.text}={text}")
    values = {assignment.text: text for assignment, text in row}
    return Point(number, tuple(assignment for assignment, _ in row), values, ",".join(parts))


def run_name(lane: str, point: Point, several: bool) -> str:
    """Name a run after its lane and its point: `Adam,lr=0.01`. Weights are kept in a folder of that name."""
    if not point.label:
        return lane
    plain = "".join(c if c in _PLAIN else "" if c in " \"'" else "-" for c in point.label)
    name = f"{lane},{plain}" if several else plain
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 6]}~{point.number}"
