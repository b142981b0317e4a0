"""Resolve the points of a sweep: the values of the swept settings, for every lane."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Protocol, TypeVar

from nnspec.checker.binding import Given
from nnspec.checker.declare import MAX_NAME, MAX_RUNS, Assignment, Sweep
from nnspec.checker.evaluator import Evaluator
from nnspec.checker.findings import UNKNOWN, Findings, Unknown
from nnspec.checker.functions import short
from nnspec.checker.program import Swept
from nnspec.checker.vocabulary import SETTINGS, parts
from nnspec.diagnostics import Note, Span
from nnspec.syntax import tree

__all__ = [
    "Axis",
    "Point",
    "all_used",
    "applying_to",
    "by_lane",
    "exact_text",
    "is_fixed",
    "items_of",
    "points",
    "run_name",
    "split_lane",
    "text_of",
    "wholes",
]

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-=,")


@dataclass(frozen=True)
class Point:
    """One point of a sweep. Without a sweep, there is one that sets nothing."""

    assignments: tuple[Assignment, ...] = ()
    swept: tuple[Swept, ...] = ()
    """The same, as text."""
    label: str = ""
    """`width=16,lr=0.01`."""
    number: int = 1
    """Its index among the lane's points."""
    shared: Mapping[str, int] = field(default_factory=dict)
    """The index into each list shared by several lanes. Runs of two lanes are at the same point if these agree."""


@dataclass(frozen=True, eq=False)
class Axis:
    """A setting with its list of values."""

    setting: Assignment
    """The setting, without a lane's name."""
    lane: str
    """The lane if only one is swept; "" for all lanes."""
    values: Sequence[tree.Expression]
    texts: Sequence[str]
    """Each value as written in a spec."""
    names: Sequence[str]
    """The same for the names of points: floats have four significant digits if that keeps them distinct."""


def points(sweep: Sweep, flags: Mapping[str, Sequence[Assignment]], evaluator: Evaluator) -> dict[str, list[Point]]:
    """Return the points of every lane; `flags` are the settings fixed by `--set` for each lane, which are not swept.

    Values that are not lists are reported.
    """
    findings = evaluator.findings
    axes: list[Axis] = []
    firsts: dict[str, Span] = {}
    good = True
    for dimension in sweep.dimensions:
        if dimension.text in firsts:
            findings.given_twice(dimension.text, dimension.span, firsts[dimension.text])
            continue
        firsts[dimension.text] = dimension.span
        lane, setting = split_lane(dimension, flags, evaluator.lets)
        axis = _axis(setting, lane, evaluator)
        good = good and axis is not None
        if axis is not None:
            axes.append(axis)
    mine = {lane: applying_to(lane, axes, fixed) for lane, fixed in flags.items()}
    good = good and all_used(axes, mine, flags, is_fixed, "list", findings)
    if not good or not _fits(sweep, mine, findings):
        return {lane: [Point()] for lane in flags}
    return {lane: _points_of(sweep, own) for lane, own in mine.items()}


def by_lane(flags: Iterable[Assignment], lanes: Iterable[str], lets: Container[str]) -> dict[str, list[Assignment]]:
    """Group flags by lane: `Adam.optimizer.lr=0.1` applies to one lane, a flag without a lane to all."""
    result: dict[str, list[Assignment]] = {name: [] for name in lanes}
    for flag in flags:
        lane, assignment = split_lane(flag, result, lets)
        for assigned in (result[lane],) if lane else result.values():
            assigned.append(assignment)
    return result


def split_lane(assignment: Assignment, lanes: Container[str], lets: Container[str]) -> tuple[str, Assignment]:
    """Split a setting such as `Adam.optimizer.lr` into lane and setting. Without a lane, the lane is ""."""
    word = assignment.path[0].text
    if word not in lanes or len(assignment.path) == 1 or word in SETTINGS or word in lets:
        return "", assignment
    return word, Assignment(assignment.path[1:], assignment.given, shared=False)


class Varied(Protocol):
    """A setting that several values are tried for, in one lane or (`lane` "") in all."""

    @property
    def setting(self) -> Assignment: ...

    @property
    def lane(self) -> str: ...


V = TypeVar("V", bound=Varied)


def applying_to(lane: str, axes: Sequence[V], flags: Sequence[Assignment]) -> list[V]:
    """Return what is varied in a lane: its own settings, and those for all lanes that it does not override."""
    own = {axis.setting.text for axis in axes if axis.lane == lane}
    return [
        axis
        for axis in axes
        if (axis.lane == lane or (not axis.lane and not own & {*wholes(axis.setting.text)}))
        and not is_fixed(axis.setting, flags)
    ]


def all_used(
    axes: Sequence[V],
    mine: Mapping[str, Sequence[V]],
    flags: Mapping[str, Sequence[Assignment]],
    is_fixed: Callable[[Assignment, Sequence[Assignment]], bool],
    what: str,
    findings: Findings,
) -> bool:
    """Whether everything, except what is fixed by flags, is varied in some lane; report what is not. `what` is a list
    or a space."""
    good = True
    for axis in axes:
        setting = axis.setting
        if not any(axis in own for own in mine.values()) and not any(is_fixed(setting, f) for f in flags.values()):
            good = False
            message = f"`{setting.text}` has no effect: every lane has its own {what}"
            findings.error("NN203", message, setting.span, help=f"remove it, or the {what} of one lane")
    return good


def _points_of(sweep: Sweep, axes: Sequence[Axis]) -> list[Point]:
    """Combine the lists of one lane. Lists of `sweep zip` advance together in all lanes."""
    if not axes:
        return [Point()]
    columns = [range(len(axis.values)) for axis in axes]
    rows = zip(*columns, strict=True) if sweep.zipped else itertools.product(*columns)
    return [_point(number, row, axes, sweep.zipped) for number, row in enumerate(rows, 1)]


def is_fixed(dimension: Assignment, flags: Sequence[Assignment]) -> bool:
    """Whether a flag sets a setting, or the part of which it is an argument.

    A flag for one lane ends the sweep of that lane only.
    """
    return any(flag.text in wholes(dimension.text) and (flag.shared or not dimension.shared) for flag in flags)


def wholes(setting: str) -> list[str]:
    """Return a setting and its parents: `optimizer.lr` and `optimizer`."""
    words = setting.split(".")
    return [".".join(words[:i]) for i in range(len(words), 0, -1)]


def _fits(sweep: Sweep, mine: Mapping[str, Sequence[Axis]], findings: Findings) -> bool:
    """Whether zipped lists have equal lengths, and there are not too many runs."""
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


def _axis(dimension: Assignment, lane: str, evaluator: Evaluator) -> Axis | None:
    findings = evaluator.findings
    given = dimension.given
    expressions = items_of(given.value, evaluator)
    if isinstance(expressions, Unknown):
        return None
    if expressions is None:
        help = "for example, `[16, 32, 64]` or `logspace(-4, -1, 4)`"
        if isinstance(given.value, tree.Call) and given.value.callee.text in parts("space"):
            help = f"{help}; `tune` takes spaces"
        findings.error("NN301", "a sweep needs lists", given.value.span, help=help)
        return None
    if not expressions:
        findings.error("NN302", "this list is empty", given.value.span)
        return None
    if not evaluator.budget.work(len(expressions), given.value.span):
        return None
    texts = [text_of(expression) for expression in expressions]
    firsts: dict[str, Span] = {}
    for text, expression in zip(texts, expressions, strict=True):
        if text in firsts:
            findings.given_twice(text, expression.span, firsts[text])
            return None
        firsts[text] = expression.span
    return Axis(dimension, lane, expressions, texts, _names(expressions, texts))


def items_of(expression: tree.Expression, evaluator: Evaluator) -> Sequence[tree.Expression] | Unknown | None:
    """Return the items of a list literal, of a `let`, or of a list created by a function.

    UNKNOWN if the list is wrong, which is reported; None if it is not a list.
    """
    match expression:
        case tree.Group(inner=inner):
            return items_of(inner, evaluator)
        case tree.ListOf(items=items) | tree.TupleOf(items=items):
            return items
        case tree.Reference(path=path) if path.text in evaluator.lets:
            value = evaluator.value(expression)  # finds a `let` that depends on itself
            return UNKNOWN if value is UNKNOWN else items_of(evaluator.lets[path.text].value, evaluator)
        case tree.Call(callee=callee) if callee.text not in parts():
            value = evaluator.value(expression)
            if value is UNKNOWN:
                return UNKNOWN
            if isinstance(value, (list, tuple)):
                return [tree.Constant(item, expression.span) for item in value]
    return None


def text_of(expression: tree.Expression) -> str:
    """Format a value as short as possible."""
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
    """Round floats to four significant digits, or to as many as keep all values of the list distinct."""
    for digits in range(4, 17):
        names = [_rounded(expression, text, digits) for expression, text in zip(expressions, texts, strict=True)]
        if len(set(names)) == len(names):
            return names
    return texts


def _rounded(expression: tree.Expression, text: str, digits: int) -> str:
    if isinstance(expression, tree.Constant) and isinstance(expression.value, float):
        return min(f"{expression.value:.{digits}g}", text, key=len)
    return text


def _point(number: int, row: Sequence[int], axes: Sequence[Axis], zipped: bool) -> Point:
    words = [axis.setting.path[-1].text for axis in axes]
    assignments, swept, labels = [], [], []
    for place, axis, word in zip(row, axes, words, strict=True):
        setting, value = axis.setting, axis.values[place]
        assignments.append(Assignment(setting.path, Given(value, setting.given.name, "sweep")))
        swept.append(Swept(setting.text, axis.texts[place], exact_text(value, axis.texts[place]), axis.lane))
        labels.append(f"{word if words.count(word) == 1 else setting.text}={axis.names[place]}")
    shared = {axis.setting.text: place for place, axis in zip(row, axes, strict=True) if not axis.lane}
    return Point(tuple(assignments), tuple(swept), ",".join(labels), number, {"": row[0]} if zipped else shared)


def exact_text(value: tree.Expression, text: str) -> str:
    """Format a value so that a flag reproduces it; empty if it names a file: in a flag it is relative to the working
    folder, in a spec to the spec."""
    if isinstance(value, tree.Constant) and not isinstance(value.value, str):
        return repr(value.value) if isinstance(value.value, float) and float(text) != value.value else text
    written = value.span.text  # with the original comments and line ends
    names_files = '"' in written or "'" in written
    return "" if names_files and value.span.source.folder.resolve() != Path.cwd() else written


def run_name(lane: str, point: Point, several: bool) -> str:
    """Name a run after its lane and point: `Adam,lr=0.01`. The folder of its weights has the same name."""
    if not point.label:
        return lane
    plain = "".join(c if c in _PLAIN else "" if c in " \"')]" else "-" for c in point.label)
    name = f"{lane},{plain}" if several else plain
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 6]}~{point.number}"
