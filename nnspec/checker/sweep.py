"""The points of a sweep: which settings have which values at each of them, in every lane."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from nnspec.checker.binding import Given, assign
from nnspec.checker.declare import MAX_NAME, MAX_RUNS, Assignment, LaneOutline, Outline, Sweep
from nnspec.checker.evaluate import Evaluator, called, names_in
from nnspec.checker.functions import short
from nnspec.checker.program import Swept
from nnspec.checker.report import UNKNOWN, Report, Unknown
from nnspec.checker.settle import LaneSettings, settle
from nnspec.checker.vocabulary import KIND_OF_SETTING, SETTINGS, parts
from nnspec.diagnostics import Note, Span
from nnspec.syntax import tree

__all__ = ["Point", "points", "run_name", "split_lane", "swept_twice"]

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


def points(
    sweep: Sweep, flags: Mapping[str, Sequence[Assignment]], evaluator: Evaluator, report: Report
) -> dict[str, list[Point]]:
    """Return the points of every lane; `flags` has, by lane, what `--set` fixes, which is no longer swept.

    Lists that are none are reported.
    """
    axes: list[_Axis] = []
    firsts: dict[str, Span] = {}
    good = True
    for dimension in sweep.dimensions:
        if dimension.text in firsts:
            first = Note(firsts[dimension.text], "first here")
            report.error("NN204", f"`{dimension.text}` is given twice", dimension.span, notes=(first,))
            continue
        firsts[dimension.text] = dimension.span
        lane, setting = split_lane(dimension, flags, evaluator.lets)
        axis = _axis(setting, lane, evaluator, report)
        good = good and axis is not None
        if axis is not None:
            axes.append(axis)
    mine = {lane: _axes_of(lane, axes, fixed) for lane, fixed in flags.items()}
    good = good and _all_used(axes, mine, flags, report)
    if not good or not _fits(sweep, mine, report):
        return {lane: [Point()] for lane in flags}
    return {lane: _points_of(sweep, own) for lane, own in mine.items()}


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
        if (axis.lane == lane or (not axis.lane and not own & {*_wholes(axis.setting.text)}))
        and not _fixed(axis.setting, flags)
    ]


def _all_used(
    axes: Sequence[_Axis],
    mine: Mapping[str, Sequence[_Axis]],
    flags: Mapping[str, Sequence[Assignment]],
    report: Report,
) -> bool:
    """Whether every list is swept by some lane, but for those that a flag ends; where not, that is reported."""
    good = True
    for axis in axes:
        if not any(axis in own for own in mine.values()) and not any(_fixed(axis.setting, f) for f in flags.values()):
            setting, good = axis.setting, False
            message = f"`{setting.text}` has no effect: every lane has its own list"
            report.error("NN203", message, setting.span, help="remove it, or remove one of those")
    return good


def _points_of(sweep: Sweep, axes: Sequence[_Axis]) -> list[Point]:
    """Combine the lists of one lane. Those of `sweep zip` go side by side in all lanes."""
    if not axes:
        return [Point()]
    columns = [range(len(axis.values)) for axis in axes]
    rows = zip(*columns, strict=True) if sweep.zipped else itertools.product(*columns)
    return [_point(number, row, axes, sweep.zipped) for number, row in enumerate(rows, 1)]


def _fixed(dimension: Assignment, flags: Sequence[Assignment]) -> bool:
    """Whether a flag gives a setting its value, or the whole of which it is an argument.

    What one lane alone is told ends the sweep of that lane alone, and not that of all lanes.
    """
    return any(flag.text in _wholes(dimension.text) and (flag.shared or not dimension.shared) for flag in flags)


def swept_twice(
    sweep: Sweep,
    outline: Outline,
    lanes: Sequence[LaneOutline],
    flags: Mapping[str, Sequence[Assignment]],
    report: Report,
) -> None:
    """Report what a lane sets and the sweep sets again: one of them would go for nothing."""
    told: set[str] = set()
    by_name = {lane.name.text: lane for lane in lanes}
    for name, fixed in flags.items():
        split = [(dimension, *split_lane(dimension, flags, outline.lets)) for dimension in sweep.dimensions]
        own = {setting.text for _, lane, setting in split if lane == name}
        for dimension, lane, setting in split:
            if lane not in ("", name) or (not lane and own & {*_wholes(setting.text)}) or _fixed(setting, fixed):
                continue
            clash = _clash(setting, by_name.get(name), outline, fixed, name)
            if clash is not None and dimension.text not in told:
                told.add(dimension.text)
                others = [each for each in flags if each != name] if not lane else []
                message, help = clash.words(name, setting.text, others)
                report.error("NN204", message, clash.span, notes=(Note(dimension.span, "swept here"),), help=help)


@dataclass(frozen=True)
class _Clash:
    """What a lane sets although it is swept."""

    word: str
    """As the lane calls it: `optimizer.lr`, or the name of a `let`."""
    span: Span
    flag: bool = False
    let: bool = False

    def words(self, lane: str, swept: str, others: Sequence[str]) -> tuple[str, str]:
        """Return message and help."""
        elsewhere = f"sweep the other lanes only: `{others[0]}.{swept} = […]`" if others else ""
        if len(others) > 1:
            elsewhere += ", and so on"
        if self.flag:
            help = f"`{self.word}=…` sets it in every lane, and ends its sweep"
            return f"`{swept}` is swept, so it cannot be set in lane `{lane}` alone", help
        if self.let:
            message = f"lane `{lane}` sets `{self.word}`, which only `{swept}` uses, and the sweep sets that too"
        else:
            message = f"lane `{lane}` sets `{self.word}`, and so does the sweep"
        return message, f"remove it here, or {elsewhere}" if elsewhere else "remove one of them"


def _clash(
    swept: Assignment, lane: LaneOutline | None, outline: Outline, flags: Sequence[Assignment], name: str
) -> _Clash | None:
    """Return what a lane sets of a setting that the sweep sets too: itself, a part of it, or what it alone follows."""
    kinds = {word: KIND_OF_SETTING.get(part.kind, "") for word, part in parts().items()}
    if lane is not None:
        given = [(kinds.get(called(part), ""), part.span) for part in lane.parts]
        for word, span in given + [(assignment.text, assignment.span) for assignment in lane.assignments]:
            if swept.text in _wholes(word):
                return _Clash(word, span)
    for flag in flags:
        if not flag.shared and (flag.text in _wholes(swept.text) or swept.text in _wholes(flag.text)):
            return _Clash(flag.text, flag.span, flag=True)
    return _clash_inside(swept, lane, outline, flags, f"lane `{name}`")


def _clash_inside(
    swept: Assignment, lane: LaneOutline | None, outline: Outline, flags: Sequence[Assignment], via: str
) -> _Clash | None:
    """Look into the values: of `SGD(lr=0.5)` for a rate that is swept, and for a `let` that only it follows."""
    settings = settle(outline, lane, flags, Report(suggests=False), set())
    own = [a.given for a in (*(lane.assignments if lane is not None else ()), *(f for f in flags if not f.shared))]

    def is_own(given: Given) -> bool:
        return given.via == via or any(given is each for each in own)

    words = swept.text.split(".")
    values: list[tree.Expression] = []
    if len(words) == 2 and words[0] in settings.values and swept.text not in settings.values:
        change = settings.arguments.get(words[0], {}).get(words[1])
        values = [change.value] if change is not None else []
        given = settings.values[words[0]]
        for argument, mine in _arguments(given.value, words[1], settings.lets, is_own) if change is None else ():
            if mine or is_own(given):
                inside = _within(argument.span, given.value.span)
                return _Clash(swept.text, argument.span if inside or mine else given.value.span)
            values.append(argument.value)
    elif swept.text in settings.values:
        values = [settings.values[swept.text].value]
    elif swept.text in settings.lets:
        values = [settings.lets[swept.text].value]
    followed = _followed(values, settings.lets)
    lets = {word: settings.lets[word] for word in followed if is_own(settings.lets[word])}
    if not lets:
        return None
    point = settle(outline, lane, flags, Report(suggests=False), set(), (swept,))
    used = _used(point, outline, {id(value) for value in values})
    return next((_Clash(word, given.name, let=True) for word, given in lets.items() if word not in used), None)


def _arguments(
    expression: tree.Expression, word: str, lets: Mapping[str, Given], is_own: Callable[[Given], bool]
) -> Iterator[tuple[tree.Argument, bool]]:
    """Yield what gives an argument its value in a part, or in one that a `let` names, or in each alternative of `or`;
    and whether it was in a `let` that the lane sets."""
    waiting, seen = [(expression, False)], set[str]()
    while waiting:
        each, mine = waiting.pop()
        match each:
            case tree.Group(inner=inner):
                waiting.append((inner, mine))
            case tree.Logical(left=left, right=right):
                waiting += [(right, mine), (left, mine)]
            case tree.Reference(path=path) if path.text in lets and path.text not in seen:
                seen.add(path.text)
                waiting.append((lets[path.text].value, mine or is_own(lets[path.text])))
            case tree.Call(callee=path, arguments=arguments) if path.text in parts():
                signature = parts()[path.text].signature()
                given, _ = assign(path.text, signature, arguments, "", Report(suggests=False))
                if word in given:
                    yield next((a, mine) for a in arguments if a.value is given[word].value)


def _within(inner: Span, outer: Span) -> bool:
    return inner.source is outer.source and outer.start <= inner.start and inner.end <= outer.end


def _followed(parts_of_tree: Sequence[object], lets: Mapping[str, Given], without: Container[int] = ()) -> set[str]:
    """Return the lets that some expressions use, and those that these use."""
    waiting, found = [*parts_of_tree], set[str]()
    while waiting:
        for word in names_in(waiting.pop(), without):
            if word in lets and word not in found:
                found.add(word)
                waiting.append(lets[word].value)
    return found


def _used(settings: LaneSettings, outline: Outline, without: Container[int]) -> set[str]:
    """Return the lets that anything in a lane uses, but for the values that the sweep replaces."""
    given = [*settings.values.values()]
    for changes in (*settings.arguments.values(), *settings.layers.values()):
        given += changes.values()
    items: list[object] = [each.value for each in given]
    items += [model.items for model in outline.models.values()]
    items += [(block.items, tuple(p.default for p in block.parameters)) for block in outline.blocks.values()]
    return _followed([*items, *(e.value for e in outline.expectations)], settings.lets, without)


def _wholes(setting: str) -> list[str]:
    """Return a setting and all that it is a part of: `optimizer.lr` and `optimizer`."""
    words = setting.split(".")
    return [".".join(words[:i]) for i in range(len(words), 0, -1)]


def _fits(sweep: Sweep, mine: Mapping[str, Sequence[_Axis]], report: Report) -> bool:
    """Whether zipped lists are equally long, and there are not too many runs."""
    axes = list(dict.fromkeys(axis for own in mine.values() for axis in own))
    odd = next((axis for axis in axes if len(axis.values) != len(axes[0].values)), None)
    if sweep.zipped and odd is not None:
        first = axes[0]
        report.error(
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
        report.error("NN603", message, sweep.head)
        return False
    return True


def _many(count: int) -> str:
    return f"{count:,}" if count < 10**15 else short(count)


def _axis(dimension: Assignment, lane: str, evaluator: Evaluator, report: Report) -> _Axis | None:
    given = dimension.given
    expressions = _list(given.value, evaluator)
    if isinstance(expressions, Unknown):
        return None
    if expressions is None:
        help = "for example, `[16, 32, 64]` or `logspace(-4, -1, 4)`"
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
