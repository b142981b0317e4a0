"""Resolve the settings of a lane: the base, overridden by the lane, overridden by `--set`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from nnspec.checker.binding import Given
from nnspec.checker.declare import Assignment, Declarations, DeclaredLane
from nnspec.checker.evaluator import MAX_DEPTH, article
from nnspec.checker.findings import Findings
from nnspec.checker.recovery import Recovery
from nnspec.checker.vocabulary import (
    BY_NAME,
    KIND_OF_SETTING,
    SECTIONS,
    SETTINGS,
    TRAIN,
    TUNE,
    Suggestion,
    other_names,
    parts,
    respelt,
    respelt_part,
)
from nnspec.diagnostics import Edit, Fix, Note, Span
from nnspec.engine.part import PARTS
from nnspec.errors import some_of
from nnspec.syntax import tree

__all__ = ["LaneSettings", "of_the_optimizer", "settle"]

_WITH_ARGUMENTS = frozenset(KIND_OF_SETTING.values())


@dataclass
class LaneSettings:
    """Every setting of one lane, not evaluated yet."""

    lets: dict[str, Given]
    values: dict[str, Given] = field(default_factory=dict)
    """`seed`, `optimizer`, `train.epochs` …"""
    arguments: dict[str, dict[str, Given]] = field(default_factory=dict)
    """Arguments that override those of a setting's part: setting, then argument."""
    layers: dict[str, dict[str, Given]] = field(default_factory=dict)
    """Arguments of layers and blocks, by their full names."""
    amendments: dict[str, list[Span]] = field(default_factory=dict)
    """The names of settings that changed a part inside the value of a setting, such as `optimizer.lr.start`."""
    followed: set[str] = field(default_factory=set)
    """The `let`s of parts that were changed in this way."""
    lanes: Sequence[DeclaredLane] = ()
    """All lanes of the file, for messages."""


def settle(
    declared: Declarations,
    lane: DeclaredLane | None,
    flags: Sequence[Assignment],
    findings: Findings,
    recovery: Recovery,
    effective: set[Span],
    point: Sequence[Assignment] = (),
) -> LaneSettings:
    """Resolve a lane's settings at a point of the sweep. `effective` collects the names of those not overridden."""
    settings = LaneSettings(dict(declared.lets), lanes=declared.lanes)
    seen: dict[str, Span] = {}
    for layer in declared.layers:
        # Whole values first, so that `optimizer.lr = 0.1` may come before `optimizer = SGD`.
        _apply(sorted(layer, key=lambda a: len(a.path)), settings, findings, recovery, seen, declared)
    if lane is not None:
        replaced: dict[str, Span] = {}
        for part in lane.parts:
            _replace(part, lane, settings, findings, recovery, replaced)
        for assignment in lane.assignments:
            if assignment.text in replaced:
                _twice(assignment.text, lane, assignment.span, replaced[assignment.text], findings)
        _apply(sorted(lane.assignments, key=lambda a: len(a.path)), settings, findings, recovery, {}, declared)
    for assignment in point:
        _keep_schedule(assignment, lane, settings, findings)
    _apply(sorted(point, key=lambda a: len(a.path)), settings, findings, recovery, {}, declared)
    for shared in (True, False):  # settings for this lane only come last
        chosen = [flag for flag in flags if flag.shared == shared]
        _apply(sorted(chosen, key=lambda a: len(a.path)), settings, findings, recovery, {}, declared)
    for changes in (*settings.arguments.values(), *settings.layers.values(), settings.values, settings.lets):
        effective.update(given.name for given in changes.values())
    effective.update(chain.from_iterable(settings.amendments.values()))
    return settings


def _keep_schedule(
    assignment: Assignment, lane: DeclaredLane | None, settings: LaneSettings, findings: Findings
) -> None:
    """Report a search for a number that would replace a schedule."""
    given = assignment.given
    if assignment.text != "optimizer.lr" or given.via != "tune" or not isinstance(given.value, tree.Constant):
        return
    rate = settings.arguments.get("optimizer", {}).get("lr")
    optimizer = settings.values["optimizer"].value if "optimizer" in settings.values else None
    if rate is None and isinstance(optimizer, tree.Call):
        by_name = [each.value for each in optimizer.arguments if each.name is not None and each.name.text == "lr"]
        first = [each.value for each in optimizer.arguments[:1] if each.name is None]
        expression = next(iter(by_name or first), None)
    else:
        expression = None if rate is None else rate.value
    if isinstance(expression, tree.Reference) and expression.path.text in settings.lets:
        expression = settings.lets[expression.path.text].value
    if isinstance(expression, tree.Call) and expression.callee.text in parts("schedule"):
        of = f" of lane `{lane.name.text}`" if lane is not None else ""
        message = f"`optimizer.lr`{of} is a schedule, which this space would replace by a constant rate"
        note = Note(expression.span, "the schedule")
        findings.error("NN203", message, given.value.span, notes=(note,), help=_SCHEDULE)


_SCHEDULE = "set an argument of the schedule: `optimizer.lr.start = …`"


def _twice(setting: str, lane: DeclaredLane, span: Span, first: Span, findings: Findings) -> None:
    note = Note(first, "first given here")
    findings.error("NN204", f"lane `{lane.name.text}` sets `{setting}` twice", span, notes=(note,))


def _replace(
    part: tree.Expression,
    lane: DeclaredLane,
    settings: LaneSettings,
    findings: Findings,
    recovery: Recovery,
    replaced: dict[str, Span],
) -> None:
    """Replace the setting of a kind with a lane's part."""
    path = part.path if isinstance(part, tree.Reference) else part.callee if isinstance(part, tree.Call) else None
    assert path is not None, "the declared keeps only references and calls"
    word = path.text
    known = parts(*(kind for kind in PARTS if kind in KIND_OF_SETTING))
    if word not in parts():
        others = other_names({name: p.also for name, p in known.items()})
        found = findings.nearest(word, known, others)
        if recovery.excuses(word, found):
            return
        recovery.meant.add(found or "")
        help = f"a lane is a part, such as {', '.join(f'`{p}`' for p in known)}"
        if word in settings.lets:
            found, help = None, f"`{word}` is a `let`; to use it, write `{word} {{ optimizer = {word} }}`"
        findings.error("NN201", f"unknown part `{word}`", path.span, **respelt_part(path.span, found, others, help))
    elif word not in known:
        findings.error(
            "NN305",
            f"`{word}` is {article(parts()[word].kind)}, but lanes can only replace optimizer, loss or data",
            path.span,
        )
    else:
        setting = KIND_OF_SETTING[known[word].kind]
        if setting in replaced:
            _twice(setting, lane, path.span, replaced[setting], findings)
        replaced[setting] = path.span
        settings.values[setting] = Given(part, path.span, f"lane `{lane.name.text}`")
        settings.arguments.pop(setting, None)
        settings.amendments.pop(setting, None)


def _apply(
    assignments: Iterable[Assignment],
    settings: LaneSettings,
    findings: Findings,
    recovery: Recovery,
    seen: dict[str, Span],
    declared: Declarations,
) -> None:
    for assignment in assignments:
        text = assignment.text
        if text in seen and not declared.goes_before(assignment.span, seen[text]):
            if declared.replaced(text, assignment.span) and declared.replaced(text, seen[text]):
                continue
            findings.given_twice(text, assignment.span, seen[text])
            continue
        rival = _RIVALS.get(text) if _has_value(assignment) else None
        if (
            rival in seen
            and not declared.goes_before(assignment.span, seen[rival])
            and not (declared.replaced(text, assignment.span) and declared.replaced(rival, seen[rival]))
        ):
            message = f"`{text}` and `{rival}` both say how long to train"
            notes = (Note(seen[rival], "the other one"),)
            findings.error("NN204", message, assignment.span, notes=notes, help="remove one of them")
            continue
        if rival is not None:
            settings.values.pop(rival, None)
        if _has_value(assignment) or text not in _RIVALS:
            seen[text] = assignment.span
        _assign(assignment, settings, findings, recovery)


_RIVALS = {"train.epochs": "train.steps", "train.steps": "train.epochs"}
"""Settings that replace each other."""


def _has_value(assignment: Assignment) -> bool:
    value = assignment.given.value
    return not (isinstance(value, tree.Constant) and value.value is None)


def _assign(assignment: Assignment, settings: LaneSettings, findings: Findings, recovery: Recovery) -> None:
    words, text = [name.text for name in assignment.path], assignment.text
    given = assignment.given
    match words:
        case [word] if word in settings.lets:
            settings.lets[word] = given
        case [word] if word in SETTINGS:
            settings.values[word] = given
            settings.arguments.pop(word, None)
            settings.amendments.pop(word, None)
        case ["loss_weight" | "metrics", _]:
            settings.values[text] = given
        case ["train", word] if TRAIN.get(word) is not None:
            settings.values[f"train.{word}"] = given
        case ["init_from", _, *_]:
            settings.values[text] = given
        case ["train", word, _, *_] if BY_NAME.get(word) is not None:
            settings.values[text] = given
        case ["train", word] if word == "lr_factor":
            help = "name a layer: `train.lr_factor.h1 = 0.1`; the learning rate of all layers is `optimizer.lr`"
            findings.error("NN203", "`lr_factor` needs the name of a layer", assignment.span, help=help)
        case ["train", word, *_]:
            if TRAIN.get(word) is not None:
                if _amend(f"train.{word}", assignment, 2, settings):
                    return
                help = f"`train.{word}` is a single value"
                findings.error("NN201", f"unknown setting `{assignment.text}`", assignment.span, help=help)
            else:
                _unknown_in_train(word, assignment.path[1].span, findings, recovery, by_name=len(words) > 2)
        case [word, argument] if word in _WITH_ARGUMENTS:
            settings.arguments.setdefault(word, {})[argument] = given
        case [word, _, _, *_] if word in _WITH_ARGUMENTS:
            if not _amend(word, assignment, 1, settings):
                whole = ".".join(words[:-1])
                help = "give it a schedule: `optimizer.lr = cosine(0.1)`" if whole == "optimizer.lr" else ""
                findings.error("NN203", f"`{whole}` is not a part with arguments", assignment.span, help=help)
        case ["model", *layer, argument] if layer:
            settings.layers.setdefault(".".join(layer), {})[argument] = given
        case ["model", *_]:
            findings.error(
                "NN203", "this is not an argument of a layer", assignment.span, help="write `model.LAYER.ARGUMENT = …`"
            )
        case _:
            _unknown(words, assignment, settings, findings, recovery)


def _amend(setting: str, assignment: Assignment, skipped: int, settings: LaneSettings) -> bool:
    """Set an argument of a part that is itself an argument, such as the start of a schedule; return whether there is
    such a part. The names in the path after the first `skipped` lead to it."""
    names, given = assignment.path[skipped:], assignment.given
    if setting not in settings.values:
        if setting in _WITH_ARGUMENTS:  # reported, unless a lane replaces it
            settings.arguments.setdefault(setting, {})[".".join(name.text for name in names)] = given
        return setting in _WITH_ARGUMENTS
    changed, place, key = settings.arguments.get(setting, {}), settings.values, setting
    if names[0].text in changed:
        place, key, names = changed, names[0].text, names[1:]
    value = _with_argument(place[key].value, names, given.value, settings)
    if value is None:
        return False
    place[key] = replace(place[key], value=value)
    settings.amendments.setdefault(setting, []).append(given.name)
    return True


def _with_argument(
    part: tree.Expression, names: Sequence[tree.Name], value: tree.Expression, settings: LaneSettings
) -> tree.Expression | None:
    """Return the expression of a part in which an argument, or one of a part that it holds, has another value. None if
    there is no such part."""
    whole = part
    for _ in range(MAX_DEPTH):
        match part:
            case tree.Group(inner=inner):
                part = inner
            case tree.Reference(path=path) if path.text in settings.lets:
                settings.followed.add(path.text)
                part = settings.lets[path.text].value
            case _:
                break
    callee = part.callee if isinstance(part, tree.Call) else part.path if isinstance(part, tree.Reference) else None
    known = None if callee is None else parts().get(callee.text)
    if callee is None or known is None:
        return None
    arguments = part.arguments if isinstance(part, tree.Call) else ()
    slots = iter(known.signature().names_of_positionals(sum(a.name is None for a in arguments), {}) or ())
    words = [next(slots, "") if argument.name is None else argument.name.text for argument in arguments]
    name, rest = names[0], names[1:]
    i = words.index(name.text) if name.text in words else None
    if rest:
        within = None if i is None else _with_argument(arguments[i].value, rest, value, settings)
        if within is None:
            return None
        value = within
    if i is None:
        return tree.Call(callee, (*arguments, tree.Argument(name, value, name.span)), whole.span)
    changed = replace(arguments[i], value=value)
    return tree.Call(callee, (*arguments[:i], changed, *arguments[i + 1 :]), whole.span)


def _unknown_in_train(word: str, span: Span, findings: Findings, recovery: Recovery, *, by_name: bool) -> None:
    known = [*BY_NAME] if by_name else [*TRAIN]
    others = other_names({a.name: a.also for a in known})
    help = f"`{word}` belongs at top level" if word in SETTINGS or word in SECTIONS else ""
    help = help or (f"`{word}` belongs in `tune`: `tune.{word} = …`" if TUNE.get(word) is not None else "")
    help = help or of_the_optimizer(word) or f"it has {', '.join(f'`{a.name}`' for a in (*TRAIN, *BY_NAME))}"
    near = findings.nearest(word, [a.name for a in known], others)
    recovery.meant.add(near or "")
    findings.error("NN201", f"`train` has no setting `{word}`", span, **respelt(span, near, others, help))


def _is_misspelt(name: str | None, lanes: Sequence[DeclaredLane]) -> bool:
    """Whether a lane's name is that of a part that does not exist, which is reported."""
    known = (part.path if isinstance(part, tree.Reference) else part for lane in lanes for part in lane.parts)
    heads = (part.callee if isinstance(part, tree.Call) else part for part in known)
    return any(isinstance(head, tree.Path) and head.text == name and name not in parts() for head in heads)


def _without_lane(word: str, rest: Sequence[str], lanes: Sequence[str]) -> str:
    """Suggest what to write instead of a lane that does not exist."""
    if lanes:
        return f"there is no lane `{word}`: the lanes are {some_of([f'`{lane}`' for lane in lanes], 12)}"
    return f"there are no lanes, because there is no `race`: write `{'.'.join(rest)} = …`"


def _lane_before(assignment: Assignment) -> str:
    """Return the lane before the setting in a flag, with its dot; "" if there is none."""
    written = assignment.span.text
    return written.removesuffix(assignment.text) if written.endswith(f".{assignment.text}") else ""


def of_the_optimizer(word: str, lane: str = "") -> str:
    """Suggest where an argument of an optimizer belongs, by any of its names; "" for other words."""
    for part in parts("optimizer").values():
        for argument in part.signature():
            if word == argument.name or word in argument.also:
                return f"`{argument.name}` belongs to the optimizer: `{lane}optimizer.{argument.name} = …`"
    return ""


def _unknown(
    words: list[str], assignment: Assignment, settings: LaneSettings, findings: Findings, recovery: Recovery
) -> None:
    word = words[0]
    others = other_names({name: row.also for name, row in SETTINGS.items()} | {a.name: a.also for a in TRAIN})
    found = others.get(word, word)
    known = {*SETTINGS, *SECTIONS, *(a.name for a in TRAIN)}
    lanes = [lane.name.text for lane in settings.lanes] if len(words) > 1 else []
    near = word if word in known else findings.nearest(word, chain(SETTINGS, settings.lets, SECTIONS, lanes), others)
    if recovery.excuses(word, near) or (word in parts() and near in lanes and _is_misspelt(near, settings.lanes)):
        return
    more: Suggestion = {"help": f"there are {', '.join(f'`{name}`' for name in SETTINGS)} and `train`"}
    if len(words) > 1 and words[1] in (*SETTINGS, "train"):
        more = {"help": _without_lane(word, words[1:], lanes)}
    if len(words) == 1 and not assignment.given.via:
        more["help"] += f"; constants are declared with `let {word} = …`"
    if len(words) == 1 and TRAIN.get(found) is not None:
        more = {"help": f"`{found}` belongs in `train`: `{_lane_before(assignment)}train.{found} = …`"}
        more["fix"] = Fix(f"write `train.{found}`", (Edit(assignment.span, f"train.{found}"),), safe=True)
    elif len(words) > 1 and word in SETTINGS:
        what = "has only one level of settings" if word in _WITH_ARGUMENTS else "is a single value"
        more = {"help": f"`{word}` {what}"}
    elif word == "tune":
        inner = ".".join(words[1:])
        inner = inner if TUNE.get(inner) is not None else f"LANE.{inner}"
        more = {"help": f"`tune` is a section of the spec: `tune.{inner} = …`"}
        if len(words) == 1:
            more = {"help": "it is a section; `--set optimizer.lr=0.1` fixes a setting, which is then not searched for"}
    elif len(words) == 1 and TUNE.get(word) is not None:
        more = {"help": f"`{word}` belongs in `tune`: `tune.{word} = …`"}
    elif of_the_optimizer(word):
        more = {"help": of_the_optimizer(word, _lane_before(assignment))}
    elif len(words) > 1 and word.rstrip("0123456789") in parts("layer"):
        more = {"help": f"settings of a model start with `model`: `model.{assignment.text} = …`"}
    else:
        recovery.meant.add(near or "")
        more = respelt(assignment.path[0].span, near, others, more["help"])
    findings.error("NN201", f"unknown setting `{assignment.text}`", assignment.span, **more)
