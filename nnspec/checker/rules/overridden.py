"""Settings that have no effect because something else replaces them."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from nnspec.checker.binding import Given, assign
from nnspec.checker.declare import Assignment, Declarations, DeclaredLane
from nnspec.checker.evaluator import called, names_in
from nnspec.checker.findings import Findings
from nnspec.checker.program import Experiment
from nnspec.checker.recovery import Recovery
from nnspec.checker.rules.registry import advice, rule
from nnspec.checker.rules.subjects import Result, Settled
from nnspec.checker.settle import LaneSettings, settle
from nnspec.checker.sweep import is_fixed, split_lane, wholes
from nnspec.checker.vocabulary import KIND_OF_SETTING, parts
from nnspec.diagnostics import Diagnostic, Note, Span
from nnspec.syntax import tree


@rule("NN204", unless_failed=True)
def swept_twice(settled: Settled) -> Iterator[Diagnostic]:
    """A setting that is set by both a lane and the sweep."""
    declared, flags = settled.declared, settled.by_lane
    sweep = declared.sweep
    reported: set[str] = set()
    lanes = {lane.name.text: lane for lane in declared.lanes}
    for name, fixed in flags.items() if sweep is not None else ():
        assert sweep is not None
        split = [(dimension, *split_lane(dimension, flags, declared.lets)) for dimension in sweep.dimensions]
        own = {setting.text for _, lane, setting in split if lane == name}
        for dimension, lane, setting in split:
            if lane not in ("", name) or (not lane and own & {*wholes(setting.text)}) or is_fixed(setting, fixed):
                continue
            clash = _clash(setting, lanes.get(name), declared, fixed, name)
            if clash is not None and dimension.text not in reported:
                reported.add(dimension.text)
                others = [other for other in flags if other != name] if not lane else []
                message, help = clash.words(name, setting.text, others)
                notes = (Note(dimension.span, "swept here"),)
                yield Diagnostic("NN204", message, clash.span, notes=notes, help=help)


@rule("NN203", unless_failed=True)
def without_effect(settled: Settled) -> Iterator[Diagnostic]:
    """An argument of a part that every lane or the sweep replaces.

    A file may override settings of files that it imports.
    """
    declared = settled.declared
    own = [*declared.assignments, *(a for lane in declared.lanes for a in lane.assignments)]
    found = [*_without_effect(own, settled.effective, declared)]
    yield from found or _without_effect(settled.flags, settled.effective_flags, declared)


def _without_effect(
    assignments: Sequence[Assignment], effective: Container[Span], declared: Declarations
) -> Iterator[Diagnostic]:
    lanes = {lane.name.text for lane in declared.lanes} or {"run"}
    dimensions = declared.sweep.dimensions if declared.sweep else ()
    swept = {split_lane(dimension, lanes, declared.lets)[1].text for dimension in dimensions}
    replacing = [place for place in (declared.race, declared.sweep) if place is not None]
    for assignment in assignments:
        whole, span = assignment.path[0].text, assignment.span
        if len(assignment.path) < 2 or whole not in KIND_OF_SETTING.values() or span in effective:
            continue
        if declared.replaced(whole, span) or any(declared.goes_before(place.head, span) for place in replacing):
            continue
        if assignment.text in swept:  # the value of a spec without its sweep
            continue
        who, where = ("the sweep", "sweep") if whole in swept else ("every lane", "lanes")
        message = f"`{assignment.text}` has no effect: {who} overrides `{whole}`"
        yield Diagnostic("NN203", message, span, help=f"set it in the {where}")


@rule("NN730", unless_failed=True)
def same_training(result: Result) -> Iterator[Diagnostic]:
    """A swept setting that has no effect on a lane, so that the same training runs twice."""
    declared = result.declared
    firsts: dict[tuple[object, ...], Experiment] = {}
    models: dict[int, object] = {}
    reported: set[str] = set()
    for each in result.experiments if declared.sweep is not None else ():
        if id(each.layers) not in models:
            nodes = [node for layer in each.layers for node in layer.walk()]
            models[id(each.layers)] = tuple((node.name, str(node.value), node.incoming) for node in nodes)
        train = tuple(str(getattr(each.train, one.name)) for one in fields(each.train))
        of_parts = tuple(
            str(part) for part in (each.loss, each.optimizer, *each.metrics, *(c.value for c in each.data))
        )
        named = frozenset(each.by_name.items())
        key = (each.lane, each.seed, each.dtype, models[id(each.layers)], of_parts, train, named)
        first = firsts.setdefault(key, each)
        idle = next((one for one in each.swept if first.point.get(one.setting, one.text) != one.text), None)
        if first is each or idle is None or idle.setting in reported:
            continue
        reported.add(idle.setting)
        word = f"{idle.lane}.{idle.setting}" if idle.lane else idle.setting
        assert declared.sweep is not None
        span = next((one.span for one in declared.sweep.dimensions if one.text == word), declared.sweep.head)
        other = next((lane.name.text for lane in declared.lanes if lane.name.text != each.lane), "")
        alone = f", or sweep only the other lanes: `{other}.{idle.setting} = […]`" if other and not idle.lane else ""
        message = f"`{first.name}` and `{each.name}` are identical runs: `{idle.setting}` has no effect on them"
        yield advice("NN730", message, span, f"remove it from the sweep{alone}")


@dataclass(frozen=True)
class _Clash:
    """A setting of a lane that is also swept."""

    word: str
    """Its name in the lane: `optimizer.lr`, or the name of a `let`."""
    span: Span
    flag: bool = False
    let: bool = False

    def words(self, lane: str, swept: str, others: Sequence[str]) -> tuple[str, str]:
        """Return message and help."""
        elsewhere = f"sweep only the other lanes: `{others[0]}.{swept} = […]`" if others else ""
        if len(others) > 1:
            elsewhere += ", and so on"
        if self.flag:
            help = f"`{self.word}=…` sets it in every lane, and replaces the sweep"
            return f"`{swept}` is swept, so it cannot be set in lane `{lane}` only", help
        if self.let:
            message = f"lane `{lane}` sets `{self.word}`, which is only used by `{swept}`, which the sweep also sets"
        else:
            message = f"both lane `{lane}` and the sweep set `{self.word}`"
        return message, f"remove it here, or {elsewhere}" if elsewhere else "remove one of them"


def _clash(
    swept: Assignment, lane: DeclaredLane | None, declared: Declarations, flags: Sequence[Assignment], name: str
) -> _Clash | None:
    """Return what a lane sets that conflicts with a swept setting: the setting, a part of it, or a `let` used only by
    it."""
    kinds = {word: KIND_OF_SETTING.get(part.kind, "") for word, part in parts().items()}
    if lane is not None:
        given = [(kinds.get(called(part), ""), part.span) for part in lane.parts]
        for word, span in given + [(assignment.text, assignment.span) for assignment in lane.assignments]:
            if swept.text in wholes(word):
                return _Clash(word, span)
    for flag in flags:
        if not flag.shared and (flag.text in wholes(swept.text) or swept.text in wholes(flag.text)):
            return _Clash(flag.text, flag.span, flag=True)
    return _clash_inside(swept, lane, declared, flags, f"lane `{name}`")


def _clash_inside(
    swept: Assignment, lane: DeclaredLane | None, declared: Declarations, flags: Sequence[Assignment], via: str
) -> _Clash | None:
    """Search values for conflicts: `SGD(lr=0.5)` for a swept rate, or a `let` used only by the swept setting."""
    settings = settle(declared, lane, flags, Findings(suggests=False), Recovery(), set())
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
    point = settle(declared, lane, flags, Findings(suggests=False), Recovery(), set(), (swept,))
    used = _used(point, declared, {id(value) for value in values})
    return next((_Clash(word, given.name, let=True) for word, given in lets.items() if word not in used), None)


def _arguments(
    expression: tree.Expression, word: str, lets: Mapping[str, Given], is_own: Callable[[Given], bool]
) -> Iterator[tuple[tree.Argument, bool]]:
    """Yield the expressions that set an argument in a part, in the value of a `let`, or in each alternative of `or`;
    and whether each was in a `let` that the lane sets."""
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
                given, _ = assign(path.text, signature, arguments, "", Findings(suggests=False))
                if word in given:
                    yield next((a, mine) for a in arguments if a.value is given[word].value)


def _within(inner: Span, outer: Span) -> bool:
    return inner.source is outer.source and outer.start <= inner.start and inner.end <= outer.end


def _followed(parts_of_tree: Sequence[object], lets: Mapping[str, Given], without: Container[int] = ()) -> set[str]:
    """Return the lets that expressions use, directly or through other lets."""
    waiting, found = [*parts_of_tree], set[str]()
    while waiting:
        for word in names_in(waiting.pop(), without):
            if word in lets and word not in found:
                found.add(word)
                waiting.append(lets[word].value)
    return found


def _used(settings: LaneSettings, declared: Declarations, without: Container[int]) -> set[str]:
    """Return the lets used in a lane, except in values that the sweep replaces."""
    given = [*settings.values.values()]
    for changes in (*settings.arguments.values(), *settings.layers.values()):
        given += changes.values()
    items: list[object] = [each.value for each in given]
    items += [model.items for model in declared.models.values()]
    items += [(block.items, tuple(p.default for p in block.parameters)) for block in declared.blocks.values()]
    return _followed([*items, *(e.value for e in declared.expectations)], settings.lets, without)
