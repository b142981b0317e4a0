"""The meaning of an experiment, as plain data: everything that its results depend on, and nothing else.

A meaning contains the values that differ from their defaults, so adding a setting with a default does not change the
meaning of existing experiments. `SEMANTICS` covers what names and defaults mean.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from nnspec.checker.program import Experiment, LayerNode, PartValue, Program, TuneSettings
from nnspec.engine.part import FilePath, Part
from nnspec.errors import some_of

__all__ = ["SEMANTICS", "Change", "Meaning", "canonical", "changes", "identity", "in_words", "meaning"]

SEMANTICS = 1
"""The version of the semantics of specs. It increases by one whenever the same text gives different results: a default
changes, a layer computes something else, random numbers are drawn in another order. Runs of another version cannot be
resumed, evaluated or verified. Adding a setting whose default changes nothing does not need a new version."""

Values = dict[str, Any]


@dataclass(frozen=True)
class Meaning:
    """The values of every lane that differ from their defaults, by full name (`optimizer.lr`, `model.Linear1.bias`)."""

    lanes: Mapping[str, Mapping[str, Any]]

    def record(self) -> dict[str, Any]:
        """Return it as JSON values: what all lanes share, and the rest for each lane."""
        first, *others = self.lanes.values()
        shared = {k: v for k, v in first.items() if all(k in each and each[k] == v for each in others)}
        own = {lane: {k: v for k, v in values.items() if k not in shared} for lane, values in self.lanes.items()}
        return {"shared": shared, "lanes": own}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Meaning:
        """Read what `record` returns. Raises TypeError or LookupError for anything else."""
        shared = dict(record["shared"])
        return cls({str(lane): shared | dict(values) for lane, values in record["lanes"].items()})


def meaning(program: Program) -> Meaning:
    """Return the meaning of a program.

    Titles, comments, expectations, the position of declarations, the names of `let`s, blocks and models, and facts that
    follow from the data do not count.
    """
    return Meaning({lane.name: dict(_values(lane)) for lane in program.lanes})


def identity(found: Meaning, semantics: int = SEMANTICS) -> str:
    """Return a digest of a meaning and the version of the semantics: equal for experiments with the same results."""
    words = json.dumps([semantics, found.lanes], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(words.encode()).hexdigest()


def _values(experiment: Experiment) -> Iterator[tuple[str, Any]]:
    yield "seed", experiment.seed
    yield "dtype", str(experiment.dtype)
    for i, choice in enumerate(experiment.data):
        yield from _part(f"data.or{i}" if i else "data", choice.value)
    yield "model", [*_structure(experiment.layers)]
    for layer in experiment.layers:
        for node in layer.walk():
            yield from _arguments(f"model.{node.name}", node.value, node.geometry.inferred)
    yield from _part("loss", experiment.loss)
    yield from _part("optimizer", experiment.optimizer)
    yield "metrics", [metric.name for metric in experiment.metrics]
    for metric in experiment.metrics:
        yield from _arguments(f"metrics.{metric.name}", metric)
    for field in fields(experiment.train):
        value = canonical(getattr(experiment.train, field.name))
        if value != canonical(field.default):
            yield f"train.{field.name}", value
    for name, number in experiment.by_name.items():
        yield name, canonical(number)
    for name, bound in experiment.tune.items():
        default = getattr(TuneSettings, name.removeprefix("tune."), None)
        if default is None or canonical(bound.value) != canonical(default):
            yield name, canonical(bound.value)
    if experiment.initial is not None and experiment.initial.tensors:
        for name, weights in experiment.initial.settings.items():
            yield name, "none" if weights is None else canonical(weights)
            if weights is not None:
                yield f"{name}.sha256", experiment.initial.files[weights.path].sha256


def _structure(layers: Sequence[LayerNode]) -> Iterator[Any]:
    """Yield each layer by name and part, and the branches of a composition. Iterative, since a spec may nest deeply."""
    waiting: list[Any] = [*reversed(layers)]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
            continue
        owner = f" of {item.owners[0]}" if item.owners else ""
        yield f"{item.name}: {item.value.name}{owner}"
        for branch in reversed(item.branches):
            waiting += ["}", *reversed(branch.layers), f"{branch.name} {{"]


def _part(name: str, value: PartValue[Part]) -> Iterator[tuple[str, Any]]:
    yield name, value.name
    yield from _arguments(name, value)


def _arguments(
    name: str, value: PartValue[Part], inferred: Mapping[str, Any] | None = None
) -> Iterator[tuple[str, Any]]:
    """Yield the arguments that differ from their defaults and inferred values."""
    filled = inferred or {}
    for argument in value.part.signature():
        if argument.name in value.arguments:
            given = canonical(value.arguments[argument.name].value)
            if given != canonical(filled.get(argument.name, argument.default)):
                yield f"{name}.{argument.name}", given


def canonical(value: Any) -> Any:
    """Return a value as JSON values, equal for values that mean the same: 1.0 as 1, a tuple as a list, a part as its
    name and the arguments that differ from their defaults, a path as written."""
    match value:
        case PartValue():
            return {"part": value.name, **{name.removeprefix("."): each for name, each in _arguments("", value)}}
        case Part():
            given = {a.name: canonical(getattr(value, a.name)) for a in value.signature() if hasattr(value, a.name)}
            defaults = {a.name: canonical(a.default) for a in value.signature() if not a.required}
            return {
                "part": value.spec_name,
                **{name: each for name, each in given.items() if name not in defaults or each != defaults[name]},
            }
        case FilePath():
            return value.written
        case None | bool():
            return value
        case int():
            return int(value)
        case float():
            if not math.isfinite(value):
                return str(value)
            return int(value) if value.is_integer() else float(value)
        case list() | tuple():
            return [canonical(item) for item in value]
        case _:
            return str(value)


# Differences


@dataclass(frozen=True)
class Change:
    """A value that changed; None is its default. Without a name, it is a lane that was added or removed."""

    name: str
    then: Any
    now: Any
    lanes: tuple[str, ...]
    """The lanes in which it changed; empty for all of them."""

    @property
    def text(self) -> str:
        """The change in words."""
        if not self.name:
            return f"lane {some_of(self.lanes, 6)} was {'added' if self.now else 'removed'}"
        of = f" of {some_of(self.lanes, 6)}" if self.lanes else ""
        return f"`{self.name}`{of} was {in_words(self.then)} and is now {in_words(self.now)}"


def changes(then: Meaning, now: Meaning) -> list[Change]:
    """Return the differences between two meanings, each one once with the lanes that it affects."""
    common = [lane for lane in now.lanes if lane in then.lanes]
    found: dict[str, list[tuple[Any, Any, list[str]]]] = {}
    for lane in common:
        old, new = then.lanes[lane], now.lanes[lane]
        for name in dict.fromkeys((*old, *new)):
            pair = (old.get(name), new.get(name))
            if pair[0] == pair[1]:
                continue
            known = next((each for each in found.get(name, ()) if each[:2] == pair), None)
            if known is None:
                found.setdefault(name, []).append((*pair, [lane]))
            else:
                known[2].append(lane)
    result = [
        Change(name, old, new, () if len(lanes) == len(common) == len(now.lanes) else tuple(lanes))
        for name, each in found.items()
        for old, new, lanes in each
    ]
    gone = tuple(lane for lane in then.lanes if lane not in now.lanes)
    new_lanes = tuple(lane for lane in now.lanes if lane not in then.lanes)
    if gone:
        result.append(Change("", True, None, gone))
    if new_lanes:
        result.append(Change("", None, True, new_lanes))
    return result


def in_words(value: Any) -> str:
    """Return a value of a meaning on one line, truncated if it is long."""
    if value is None:
        return "not set"
    if isinstance(value, dict):
        arguments = ", ".join(f"{name}={in_words(each)}" for name, each in value.items() if name != "part")
        return f"{value.get('part', '')}({arguments})"[:120]
    if isinstance(value, list):
        text = f"[{', '.join(map(in_words, value[:20]))}]"
        return text if len(text) <= 120 else f"{text[:119]}…"
    return str(value).lower() if isinstance(value, bool) else str(value)[:120]
