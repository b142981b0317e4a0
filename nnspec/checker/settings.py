"""Which value each setting has in a lane: the base, then what the lane says, then what was given with `--set`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nnspec.checker.expressions import Given, article
from nnspec.checker.outline import Assignment, LaneOutline, Outline
from nnspec.checker.report import Report
from nnspec.checker.words import (
    KIND_OF_SETTING,
    LATER,
    SECTIONS,
    SETTINGS,
    TRAIN,
    did_you_mean,
    other_names,
    parts,
)
from nnspec.diagnostics import Note, Span
from nnspec.syntax import tree

__all__ = ["LaneSettings", "settle"]

_WITH_ARGUMENTS = frozenset(KIND_OF_SETTING.values())


@dataclass
class LaneSettings:
    """Every setting of one lane, not evaluated yet."""

    lets: dict[str, Given]
    values: dict[str, Given] = field(default_factory=dict)
    """`seed`, `optimizer`, `train.epochs` …"""
    arguments: dict[str, dict[str, Given]] = field(default_factory=dict)
    """Arguments of a setting's part that take the place of those given: setting, then argument."""
    layers: dict[str, dict[str, Given]] = field(default_factory=dict)
    """Arguments of layers, by the layer's name."""


def settle(
    outline: Outline, lane: LaneOutline | None, flags: Iterable[Assignment], report: Report, effective: set[Span]
) -> LaneSettings:
    """Settle a lane's settings. `effective` collects the names of those that were not replaced later."""
    settings = LaneSettings(dict(outline.lets))
    # Whole values first, so that `optimizer.lr = 0.1` may stand before `optimizer = SGD`.
    _apply(sorted(outline.assignments, key=lambda a: len(a.path)), settings, report)
    if lane is not None:
        for part in lane.parts:
            _replace(part, lane, settings, report)
        _apply(sorted(lane.assignments, key=lambda a: len(a.path)), settings, report)
    _apply(flags, settings, report)
    for changes in (*settings.arguments.values(), *settings.layers.values(), settings.values, settings.lets):
        effective.update(given.name for given in changes.values())
    return settings


def _replace(part: tree.Expression, lane: LaneOutline, settings: LaneSettings, report: Report) -> None:
    """Put a lane's part in the place of the setting of its kind."""
    path = part.path if isinstance(part, tree.Reference) else part.callee if isinstance(part, tree.Call) else None
    assert path is not None, "the outline keeps only references and calls"
    word = path.text
    known = {name: p for name, p in parts().items() if p.kind in KIND_OF_SETTING}
    if word in report.lost:
        return
    if word not in parts():
        others = other_names({name: p.also for name, p in known.items()})
        report.error(
            "NN201",
            f"there is no part `{word}`",
            path.span,
            help=did_you_mean(word, known, others) or "a lane is an optimizer, a loss or a data source",
        )
    elif word not in known:
        report.error(
            "NN305",
            f"`{word}` is {article(parts()[word].kind)}, and a lane replaces an optimizer, a loss or the data",
            path.span,
        )
    else:
        setting = KIND_OF_SETTING[known[word].kind]
        settings.values[setting] = Given(part, path.span, f"lane `{lane.name.text}`")
        settings.arguments.pop(setting, None)


def _apply(assignments: Iterable[Assignment], settings: LaneSettings, report: Report) -> None:
    seen: dict[str, Span] = {}
    for assignment in assignments:
        if assignment.text in seen:
            first = Note(seen[assignment.text], "first here")
            report.error("NN204", f"`{assignment.text}` is given twice", assignment.span, notes=(first,))
            continue
        seen[assignment.text] = assignment.span
        _assign(assignment, settings, report)


def _assign(assignment: Assignment, settings: LaneSettings, report: Report) -> None:
    words = [name.text for name in assignment.path]
    given = assignment.given
    match words:
        case [word] if word in settings.lets:
            settings.lets[word] = given
        case [word] if word in SETTINGS:
            settings.values[word] = given
            settings.arguments.pop(word, None)
        case ["train", word] if TRAIN.get(word) is not None:
            settings.values[f"train.{word}"] = given
        case ["train", word] if word in LATER["train"]:
            report.error("NN208", f"`{word}` is part of the language but has no meaning yet", assignment.span)
        case ["train", word, *_]:
            _unknown_in_train(word, assignment.span, report)
        case [word, argument] if word in _WITH_ARGUMENTS:
            settings.arguments.setdefault(word, {})[argument] = given
        case ["model", layer, argument]:
            settings.layers.setdefault(layer, {})[argument] = given
        case ["model", *_]:
            report.error(
                "NN203", "this names no argument of a layer", assignment.span, help="write `model.LAYER.ARGUMENT = …`"
            )
        case _:
            _unknown(words, assignment, settings, report)


def _unknown_in_train(word: str, span: Span, report: Report) -> None:
    others = other_names({a.name: a.also for a in TRAIN})
    help = did_you_mean(word, [a.name for a in TRAIN], others)
    if not help and (word in SETTINGS or word in SECTIONS):
        help = f"`{word}` stands at the top of the file"
    if not help and word in ("lr", "learning_rate"):
        help = "the rate belongs to the optimizer: `optimizer = Adam(lr=0.001)`"
    names = ", ".join(f"`{a.name}`" for a in TRAIN)
    report.error("NN201", f"`train` has no setting `{word}`", span, help=help or f"it has {names}")


def _unknown(words: list[str], assignment: Assignment, settings: LaneSettings, report: Report) -> None:
    word = words[0]
    if word in report.lost:
        return
    others = other_names({name: also for name, (_, also) in SETTINGS.items()} | {a.name: a.also for a in TRAIN})
    found = others.get(word, word)
    if len(words) == 1 and (TRAIN.get(found) is not None or found in LATER["train"]):
        help = f"`{found}` belongs in `train`: `train.{found} = …`"
    elif found == "lr":
        help = "the rate belongs to the optimizer: `optimizer.lr = …`"
    else:
        help = did_you_mean(word, [*SETTINGS, *settings.lets, *SECTIONS], others)
    report.error(
        "NN201",
        f"there is no setting `{assignment.text}`",
        assignment.span,
        help=help or f"there are {', '.join(f'`{name}`' for name in SETTINGS)} and `train`",
    )
