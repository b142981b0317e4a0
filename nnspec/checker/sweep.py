"""The points of a sweep: which settings have which values at each of them, in every lane."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from nnspec.checker.binding import Given
from nnspec.checker.declare import MAX_NAME, MAX_RUNS, Assignment, Sweep
from nnspec.checker.evaluator import Evaluator
from nnspec.checker.findings import UNKNOWN, Findings, Unknown
from nnspec.checker.functions import short
from nnspec.checker.program import Swept
from nnspec.checker.vocabulary import SETTINGS, parts
from nnspec.diagnostics import Note, Span
from nnspec.syntax import tree

__all__ = ["Point", "by_lane", "is_fixed", "points", "run_name", "split_lane", "wholes"]

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-=,")


@dataclass(frozen=True)
class Point:
    """One point of a sweep. Without a sweep there is one, at which nothing is set."""

    assignments: tuple[Assignment, ...] = ()
    swept: tuple[Swept, ...] = ()
    """The same, as text."""
    label: str = ""
    """`width=16,lr=0.01`."""
    number: int = 1
    """Which of its lane's points it is."""
    shared: Mapping[str, int] = field(default_factory=dict)
    """Which value of each list that several lanes go through. Runs of two lanes are at one point of the sweep where
    these agree."""


@dataclass(frozen=True, eq=False)
class _Axis:
    setting: Assignment
    """Its path has no lane before it."""
    lane: str
    """The one lane that is swept; "" for all of them."""
    values: Sequence[tree.Expression]
    texts: Sequence[str]
    """Each value as it would be written."""
    names: Sequence[str]
    """The same, for the names of points: floats with four significant digits where that tells them apart."""


def points(sweep: Sweep, flags: Mapping[str, Sequence[Assignment]], evaluator: Evaluator) -> dict[str, list[Point]]:
    """Return the points of every lane; `flags` has, by lane, what `--set` fixes, which is no longer swept.

    Lists that are none are reported.
    """
    findings = evaluator.findings
    axes: list[_Axis] = []
    firsts: dict[str, Span] = {}
    good = True
    for dimension in sweep.dimensions:
        if dimension.text in firsts:
            first = Note(firsts[dimension.text], "first given here")
            findings.error("NN204", f"`{dimension.text}` is given twice", dimension.span, notes=(first,))
            continue
        firsts[dimension.text] = dimension.span
        lane, setting = split_lane(dimension, flags, evaluator.lets)
        axis = _axis(setting, lane, evaluator)
        good = good and axis is not None
        if axis is not None:
            axes.append(axis)
    mine = {lane: _axes_of(lane, axes, fixed) for lane, fixed in flags.items()}
    good = good and _all_used(axes, mine, flags, findings)
    if not good or not _fits(sweep, mine, findings):
        return {lane: [Point()] for lane in flags}
    return {lane: _points_of(sweep, own) for lane, own in mine.items()}


def by_lane(flags: Iterable[Assignment], lanes: Iterable[str], lets: Container[str]) -> dict[str, list[Assignment]]:
    """Sort flags by lane: `Adam.optimizer.lr=0.1` goes to one lane, a flag that names none to all of them."""
    result: dict[str, list[Assignment]] = {name: [] for name in lanes}
    for flag in flags:
        lane, assignment = split_lane(flag, result, lets)
        for assigned in (result[lane],) if lane else result.values():
            assigned.append(assignment)
    return result


def split_lane(assignment: Assignment, lanes: Container[str], lets: Container[str]) -> tuple[str, Assignment]:
    """Take the lane off a setting that begins with one: `Adam.optimizer.lr`. No lane is ""."""
    word = assignment.path[0].text
    if word not in lanes or len(assignment.path) == 1 or word in SETTINGS or word in lets:
        return "", assignment
    return word, Assignment(assignment.path[1:], assignment.given, shared=False)


def _axes_of(lane: str, axes: Sequence[_Axis], flags: Sequence[Assignment]) -> list[_Axis]:
    """Return what a lane goes through: its own lists, and those for all lanes of which it has none of its own."""
    own = {axis.setting.text for axis in axes if axis.lane == lane}
    return [
        axis
        for axis in axes
        if (axis.lane == lane or (not axis.lane and not own & {*wholes(axis.setting.text)}))
        and not is_fixed(axis.setting, flags)
    ]


def _all_used(
    axes: Sequence[_Axis],
    mine: Mapping[str, Sequence[_Axis]],
    flags: Mapping[str, Sequence[Assignment]],
    findings: Findings,
) -> bool:
    """Whether every list is swept by some lane, but for those that a flag ends; where not, that is reported."""
    good = True
    for axis in axes:
        if not any(axis in own for own in mine.values()) and not any(is_fixed(axis.setting, f) for f in flags.values()):
            setting, good = axis.setting, False
            message = f"`{setting.text}` has no effect: every lane has its own list"
            findings.error("NN203", message, setting.span, help="remove it, or remove one of those")
    return good


def _points_of(sweep: Sweep, axes: Sequence[_Axis]) -> list[Point]:
    """Combine the lists of one lane. Those of `sweep zip` go side by side in all lanes."""
    if not axes:
        return [Point()]
    columns = [range(len(axis.values)) for axis in axes]
    rows = zip(*columns, strict=True) if sweep.zipped else itertools.product(*columns)
    return [_point(number, row, axes, sweep.zipped) for number, row in enumerate(rows, 1)]


def is_fixed(dimension: Assignment, flags: Sequence[Assignment]) -> bool:
    """Whether a flag gives a setting its value, or the whole of which it is an argument.

    What one lane alone is told ends the sweep of that lane alone, and not that of all lanes.
    """
    return any(flag.text in wholes(dimension.text) and (flag.shared or not dimension.shared) for flag in flags)


def wholes(setting: str) -> list[str]:
    """Return a setting and all that it is a part of: `optimizer.lr` and `optimizer`."""
    words = setting.split(".")
    return [".".join(words[:i]) for i in range(len(words), 0, -1)]


def _fits(sweep: Sweep, mine: Mapping[str, Sequence[_Axis]], findings: Findings) -> bool:
    """Whether zipped lists are equally long, and there are not too many runs."""
    axes = list(dict.fromkeys(axis for own in mine.values() for axis in own))
    odd = next((axis for axis in axes if len(axis.values) != len(axes[0].values)), None)
    if sweep.zipped and odd is not None:
        first = axes[0]
        findings.error(
            "NN303",
            f"`sweep zip` needs lists of equal length: {len(odd.values)} here, {len(first.values)} in "
            f"`{first.setting.text}`",
            odd.setting.given.value.span,
            notes=(Note(first.setting.given.value.span, f"{len(first.values)} values"),),
        )
        return False
    lengths = [[len(axis.values) for axis in own] for own in mine.values()]
    counts = [prod(each[:1] if sweep.zipped else each) for each in lengths]
    if sum(counts) > MAX_RUNS:
        factors = [f"{n:,}" for n in ([len(mine)] if len(mine) > 1 else []) + lengths[0][: 1 if sweep.zipped else None]]
        alike = all(each == lengths[0] for each in lengths)
        product = f"{' × '.join(factors)} = " if len(factors) > 1 and alike else ""
        message = f"this is {product}{_many(sum(counts))} runs; the limit is {MAX_RUNS:,}"
        findings.error("NN603", message, sweep.head)
        return False
    return True


def _many(count: int) -> str:
    return f"{count:,}" if count < 10**15 else short(count)


def _axis(dimension: Assignment, lane: str, evaluator: Evaluator) -> _Axis | None:
    findings = evaluator.findings
    given = dimension.given
    expressions = _list(given.value, evaluator)
    if isinstance(expressions, Unknown):
        return None
    if expressions is None:
        help = "for example, `[16, 32, 64]` or `logspace(-4, -1, 4)`"
        findings.error("NN301", "a sweep needs lists", given.value.span, help=help)
        return None
    if not expressions:
        findings.error("NN302", "this list is empty", given.value.span)
        return None
    if not evaluator.budget.work(len(expressions), given.value.span):
        return None
    texts = [_text(expression) for expression in expressions]
    firsts: dict[str, Span] = {}
    for text, expression in zip(texts, expressions, strict=True):
        if text in firsts:
            first = Note(firsts[text], "first given here")
            findings.error("NN204", f"`{text}` is given twice", expression.span, notes=(first,))
            return None
        firsts[text] = expression.span
    return _Axis(dimension, lane, expressions, texts, _names(expressions, texts))


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


def _point(number: int, row: Sequence[int], axes: Sequence[_Axis], zipped: bool) -> Point:
    words = [axis.setting.path[-1].text for axis in axes]
    assignments, swept, labels = [], [], []
    for place, axis, word in zip(row, axes, words, strict=True):
        setting, value = axis.setting, axis.values[place]
        assignments.append(Assignment(setting.path, Given(value, setting.given.name, "sweep")))
        swept.append(Swept(setting.text, axis.texts[place], _exact(value, axis.texts[place]), axis.lane))
        labels.append(f"{word if words.count(word) == 1 else setting.text}={axis.names[place]}")
    shared = {axis.setting.text: place for place, axis in zip(row, axes, strict=True) if not axis.lane}
    return Point(tuple(assignments), tuple(swept), ",".join(labels), number, {"": row[0]} if zipped else shared)


def _exact(value: tree.Expression, text: str) -> str:
    """Write a value so that a flag with it comes to the same; empty where it names a file, which a flag looks for in
    the working folder and the spec beside itself."""
    if isinstance(value, tree.Constant) and not isinstance(value.value, str):
        return repr(value.value) if isinstance(value.value, float) and float(text) != value.value else text
    written = value.span.text  # its comments and line ends, too, are what they were
    names_files = '"' in written or "'" in written
    return "" if names_files and value.span.source.folder.resolve() != Path.cwd() else written


def run_name(lane: str, point: Point, several: bool) -> str:
    """Name a run after its lane and its point: `Adam,lr=0.01`. Weights are kept in a folder of that name."""
    if not point.label:
        return lane
    plain = "".join(c if c in _PLAIN else "" if c in " \"')]" else "-" for c in point.label)
    name = f"{lane},{plain}" if several else plain
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 6]}~{point.number}"
