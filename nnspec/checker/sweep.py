"""The points of a sweep: which settings have which values at each of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nnspec.checker.binding import Given
from nnspec.checker.expressions import Evaluator, called
from nnspec.checker.functions import short
from nnspec.checker.outline import MAX_NAME, MAX_RUNS, Assignment, LaneOutline, Sweep
from nnspec.checker.report import UNKNOWN, Report, Unknown
from nnspec.checker.words import KIND_OF_SETTING, parts
from nnspec.diagnostics import Note, Span
from nnspec.syntax import tree

__all__ = ["Point", "points", "run_name", "swept_twice"]

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
    values: Sequence[tree.Expression]
    texts: Sequence[str]
    """Each value as it would be written."""
    names: Sequence[str]
    """The same, for the names of points: floats with four significant digits where that tells them apart."""


def points(
    sweep: Sweep | None, fixed: Sequence[Assignment], lanes: int, evaluator: Evaluator, report: Report
) -> list[Point]:
    """Return every point; what `--set` fixes is no longer swept. Lists that are none are reported."""
    if sweep is None:
        return [Point()]
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
        if axis is not None and not _fixed(dimension, fixed):
            axes.append(axis)
    if not good or not axes or not _fits(sweep, axes, lanes, report):
        return [Point()]
    columns = [_column(axis) for axis in axes]
    rows = zip(*columns, strict=True) if sweep.zipped else itertools.product(*columns)
    return [_point(number, row, axes) for number, row in enumerate(rows, 1)]


def _column(axis: _Axis) -> list[tuple[Assignment, str, str]]:
    setting, name = axis.setting, axis.setting.given.name
    given = [Assignment(setting.path, Given(value, name, "sweep")) for value in axis.values]
    return list(zip(given, axis.texts, axis.names, strict=True))


def _fixed(dimension: Assignment, flags: Sequence[Assignment]) -> bool:
    """Whether a flag gives a setting its value, or the whole of which it is an argument."""
    return any(flag.text in _wholes(dimension.text) for flag in flags)


def swept_twice(
    sweep: Sweep,
    fixed: Sequence[Assignment],
    lanes: Sequence[LaneOutline],
    own_flags: Mapping[str, Sequence[Assignment]],
    report: Report,
) -> None:
    """Report what a lane sets and the sweep sets again: one of them would go for nothing."""
    swept = {dimension.text: dimension for dimension in sweep.dimensions if not _fixed(dimension, fixed)}
    told: set[str] = set()
    kinds = {name: KIND_OF_SETTING.get(part.kind, "") for name, part in parts().items()}
    for lane in lanes:
        given = [(kinds.get(called(part), ""), part.span) for part in lane.parts]
        for word, span in given + [(assignment.text, assignment.span) for assignment in lane.assignments]:
            dimension = next((swept[whole] for whole in _wholes(word) if whole in swept), None)
            if dimension is not None and dimension.text not in told:
                told.add(dimension.text)
                message = f"lane `{lane.name.text}` sets `{word}`, and the sweep sets it again"
                report.error("NN204", message, span, notes=(Note(dimension.span, "swept here"),))
    for name, flags in own_flags.items():
        for flag in flags:
            if flag.shared:
                continue
            inside = [d for d in swept.values() if flag.text in _wholes(d.text) or d.text in _wholes(flag.text)]
            for dimension in inside[:1]:
                message = f"`{dimension.text}` is swept, and cannot be set in lane `{name}` alone"
                help = f"`{flag.text}=…` sets it in every lane, and ends its sweep"
                report.error("NN204", message, flag.span, notes=(Note(dimension.span, "swept here"),), help=help)


def _wholes(setting: str) -> list[str]:
    """Return a setting and all that it is a part of: `optimizer.lr` and `optimizer`."""
    words = setting.split(".")
    return [".".join(words[:i]) for i in range(len(words), 0, -1)]


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
        factors = [f"{n:,}" for n in ([lanes] if lanes > 1 else []) + ([count] if sweep.zipped else lengths)]
        product = f"{' × '.join(factors)} = " if len(factors) > 1 else ""
        message = f"this is {product}{_many(count * lanes)} runs, and a spec may have {MAX_RUNS:,}"
        report.error("NN603", message, sweep.head)
        return False
    return True


def _many(count: int) -> str:
    return f"{count:,}" if count < 10**15 else short(count)


def _axis(dimension: Assignment, evaluator: Evaluator, report: Report) -> _Axis | None:
    given = dimension.given
    expressions = _list(given.value, evaluator)
    if isinstance(expressions, Unknown):
        return None
    if expressions is None:
        help = "such as `[16, 32, 64]` or `logspace(-4, -1, 4)`"
        report.error("NN301", "a sweep takes lists", given.value.span, help=help)
        return None
    if not expressions:
        report.error("NN302", "this list is empty", given.value.span)
        return None
    if not report.work(len(expressions), given.value.span):
        return None
    texts = [_text(expression) for expression in expressions]
    firsts: dict[str, Span] = {}
    for text, expression in zip(texts, expressions, strict=True):
        if text in firsts:
            first = Note(firsts[text], "first here")
            report.error("NN204", f"`{text}` is given twice", expression.span, notes=(first,))
            return None
        firsts[text] = expression.span
    return _Axis(dimension, expressions, texts, _names(expressions, texts))


def _list(expression: tree.Expression, evaluator: Evaluator) -> Sequence[tree.Expression] | Unknown | None:
    """Return the items of a list that is written, named by a `let`, or made by a function.

    UNKNOWN for one that is wrong, which is reported, and None for what is no list.
    """
    match expression:
        case tree.Group(inner=inner):
            return _list(inner, evaluator)
        case tree.ListOf(items=items) | tree.TupleOf(items=items):
            return items
        case tree.Reference(path=path) if path.text in evaluator.lets:
            value = evaluator.value(expression)  # finds a `let` that depends on itself
            return UNKNOWN if value is UNKNOWN else _list(evaluator.lets[path.text].value, evaluator)
        case tree.Call(callee=callee) if callee.text not in parts():
            value = evaluator.value(expression)
            if value is UNKNOWN:
                return UNKNOWN
            if isinstance(value, (list, tuple)):
                return [tree.Constant(item, expression.span) for item in value]
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


def _names(expressions: Sequence[tree.Expression], texts: Sequence[str]) -> Sequence[str]:
    """Shorten floats to four significant digits, or as many as tell all values of the list apart."""
    for digits in range(4, 17):
        names = [_rounded(expression, text, digits) for expression, text in zip(expressions, texts, strict=True)]
        if len(set(names)) == len(names):
            return names
    return texts


def _rounded(expression: tree.Expression, text: str, digits: int) -> str:
    if isinstance(expression, tree.Constant) and isinstance(expression.value, float):
        return min(f"{expression.value:.{digits}g}", text, key=len)
    return text


def _point(number: int, row: Sequence[tuple[Assignment, str, str]], axes: Sequence[_Axis]) -> Point:
    words = [axis.setting.path[-1].text for axis in axes]
    parts = []
    for (assignment, _, name), word in zip(row, words, strict=True):
        parts.append(f"{word if words.count(word) == 1 else assignment.text}={name}")
    values = {assignment.text: text for assignment, text, _ in row}
    return Point(number, tuple(assignment for assignment, *_ in row), values, ",".join(parts))


def run_name(lane: str, point: Point, several: bool) -> str:
    """Name a run after its lane and its point: `Adam,lr=0.01`. Weights are kept in a folder of that name."""
    if not point.label:
        return lane
    plain = "".join(c if c in _PLAIN else "" if c in " \"')]" else "-" for c in point.label)
    name = f"{lane},{plain}" if several else plain
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 6]}~{point.number}"
