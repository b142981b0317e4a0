"""Resolve names to tensors of a network, and how each is trained: `train.freeze`, `train.lr_factor`,
`train.weight_decay`.

    h1, residual1.Linear2     a layer, composition or block, with everything inside
    h                         every copy of `h: Hidden(64) * 3`
    Embedding, Hidden         every layer of a kind; everything inside uses of a block or compositions of a kind
    bias                      every parameter of a kind
    h1.bias, LayerNorm.scale  the parameters of a kind in those

If several names match a tensor, the most specific one applies: a path over a kind of layer over a kind of parameter; a
longer path over a shorter one; a copy over all copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from nnspec.checker.findings import Findings
from nnspec.checker.model_items import some
from nnspec.checker.program import Experiment, LayerNode
from nnspec.checker.vocabulary import parts, respelt
from nnspec.diagnostics import Span
from nnspec.engine.layers.contract import Layer
from nnspec.engine.parameter import KINDS, Segment

__all__ = ["TABLES", "Idle", "Name", "Names", "frozen_layers", "is_known", "tensors"]

TABLES = ("lr_factor", "weight_decay")
"""The settings of `train` that refer to tensors by name; `train.freeze` is a list of names."""

Score = tuple[int, ...]
"""How specific a name is; compared lexicographically."""


@dataclass(frozen=True)
class _Place:
    """A layer that computes, described by what names can match."""

    words: tuple[str, ...]
    """Its full name, word by word."""
    shared: tuple[str, ...]
    """The same with the labels of repeated layers, without the numbers of copies."""
    kinds: tuple[str, ...]
    """The kinds of the enclosing blocks and compositions, outermost first, then its own."""
    segments: tuple[Segment, ...]
    state: tuple[Segment, ...]
    """What it remembers besides, such as running means."""


@dataclass(frozen=True)
class Name:
    """A resolved name: a path, a kind of layer or neither, and optionally a kind of parameter."""

    path: tuple[str, ...] = ()
    layers: str = ""
    parameters: str = ""

    def __str__(self) -> str:
        return ".".join(word for word in (*self.path, self.layers, self.parameters) if word)

    def score(self, place: _Place) -> Score:
        """Return how specific it is for the parameters of a layer that it matches."""
        if self.path:
            exact = 0
            for word, own in zip(self.path, place.words, strict=False):
                exact = 2 * exact + (word == own)
            return len(self.path), exact, 0, bool(self.parameters)
        if self.layers:
            depth = max(i for i, kind in enumerate(place.kinds, 1) if kind == self.layers)
            return 0, 0, depth, bool(self.parameters)
        return 0, 0, 0, 1


@dataclass
class _Node:
    """The contents of a path in a model, by name and by the label of all copies."""

    own: dict[str, _Node] = field(default_factory=dict)
    shared: dict[str, list[_Node]] = field(default_factory=dict)

    def at(self, word: str) -> Iterable[_Node]:
        """Return the contents with a name."""
        nodes = self.shared.get(word, [])
        return [self.own[word], *nodes] if word in self.own else nodes


class Names:
    """The scope of names in a model. A label hides a kind of layer, and that hides a kind of parameter."""

    def __init__(self, layers: Iterable[LayerNode], blocks: Iterable[str] = ()) -> None:
        self.places = list(_places(layers))
        self._kinds = {*parts("layer"), *parts("composition"), *blocks, *(k for p in self.places for k in p.kinds)}
        root = _Node()
        for place in self.places:
            node = root
            for own, shared in zip(place.words, place.shared, strict=True):
                if own not in node.own:
                    node.own[own] = _Node()
                    if shared != own:
                        node.shared.setdefault(shared, []).append(node.own[own])
                node = node.own[own]
        self._at: dict[tuple[str, ...], list[_Node]] = {(): [root]}
        self._words: dict[tuple[str, ...], dict[str, None]] = {}

    def find(self, text: str) -> Name | None:
        """Resolve a name; None if it is unknown."""
        words = tuple(text.split("."))
        *before, last = words
        kind = last if last in KINDS else ""
        if self._leads_somewhere(words):
            return Name(path=words)
        if kind and self._leads_somewhere(tuple(before)):
            return Name(path=tuple(before), parameters=kind)
        if len(words) == 1 and last in self._kinds:
            return Name(layers=last)
        if kind and len(words) == 2 and before[0] in self._kinds:
            return Name(layers=before[0], parameters=kind)
        return Name(parameters=kind) if kind and len(words) == 1 else None

    def _leads_somewhere(self, path: tuple[str, ...]) -> bool:
        return bool(path) and all(word in self._below(path[:i]) for i, word in enumerate(path))

    def _below(self, path: tuple[str, ...]) -> dict[str, None]:
        """Return the names that may follow a valid path, including labels of all copies."""
        if path not in self._words:
            if path not in self._at:
                self._below(path[:-1])
                self._at[path] = [node for around in self._at[path[:-1]] for node in around.at(path[-1])]
            self._words[path] = {word: None for node in self._at[path] for word in (*node.own, *node.shared)}
        return self._words[path]

    def below(self, text: str) -> list[str]:
        """Return the names directly inside a composition or a block."""
        return list(self._below(tuple(text.split("."))))

    def kinds_of(self, name: Name) -> list[str]:
        """Return the kinds of the parameters that a name matches."""
        index = _Index([name])
        return list(dict.fromkeys(s.kind for p in self.places for s in p.segments if index.of(p, s)))

    def all_frozen(self, freeze: Iterable[str]) -> bool:
        """Whether everything is frozen."""
        index = _Index(name for text in freeze if (name := self.find(text)) is not None)
        return all(index.of(place, segment) for place in self.places for segment in place.segments)

    @cached_property
    def known(self) -> list[str]:
        """All valid names, for suggestions."""
        found: dict[str, None] = {}
        for place in self.places:
            for words in (place.words, place.shared):
                found |= dict.fromkeys(".".join(words[:n]) for n in range(1, len(words) + 1))
        layers = {kind for place in self.places for kind in place.kinds}
        return [*found, *sorted(layers), *KINDS]

    def tensors(self, moves: _Moves) -> Iterator[Segment]:
        """Yield all tensors in the order of the network, each with its settings."""
        start, freeze, rates, decays = 0, _Index(moves.freeze), _Index(moves.rates), _Index(moves.decays)
        for place in self.places:
            for segment in place.segments:
                rate, decay = rates.best(place, segment), decays.best(place, segment)
                yield replace(
                    segment,
                    start=start,
                    rate=1.0 if rate is None else float(moves.rates[rate]),
                    weight_decay=None if decay is None else float(moves.decays[decay]),
                    frozen=bool(freeze.of(place, segment)),
                )
                start += segment.size

    def chosen(self, names: Iterable[Name]) -> Iterator[tuple[Segment, list[Name]]]:
        """Yield every tensor and all state of the network, with the names that match it, the most specific first."""
        index = _Index(names)
        for place in self.places:
            for segment in (*place.segments, *place.state):
                matching = index.of(place, segment)
                yield segment, sorted(matching, key=lambda name: name.score(place), reverse=True)

    def idle(self, moves: _Moves) -> Iterator[tuple[str, str]]:
        """Yield the settings without effect, as written, with the reason."""
        every = [(place, segment) for place in self.places for segment in place.segments]
        freeze = _Index(moves.freeze)
        trained = [each for each in every if not freeze.of(*each)]
        there = {name for each in every for name in freeze.of(*each)}
        for name, text in moves.freeze.items():
            if name not in there:
                yield f"train.freeze.{text}", f"`{text}` has no parameters here"
        for table, names in zip(TABLES, (moves.rates, moves.decays), strict=True):
            index = _Index(names)
            there, free = ({name for each in some for name in index.of(*each)} for some in (every, trained))
            used = {index.best(*each) for each in trained}
            for name in (name for name in names if name not in used):
                reason = f"more specific settings of `{table}` override it"
                if name not in there:
                    reason = f"`{name}` has no parameters here"
                elif name not in free:
                    reason = f"`{name}` is frozen"
                yield f"train.{table}.{name}", reason


def is_known(text: str, span: Span, names: Names, findings: Findings) -> bool:
    """Whether a name refers to something in the model; if not, report it."""
    if names.find(text) is not None:
        return True
    before, _, last = text.rpartition(".")
    inside = names.find(before) if before else None
    below = names.below(before) if inside is not None else []
    if inside is not None and last not in below:
        kinds = names.kinds_of(inside)
        has = f"it has {' and '.join(f'`{kind}`' for kind in kinds)}" if kinds else "it has no parameters"
        layers = f"; its layers are {some(below)}" if below else ""
        findings.error("NN201", f"`{before}` has no `{last}`", span, help=has + layers)
        return False
    near = findings.nearest(text, names.known)
    known = f"there are {some(names.known[:20])}"
    findings.error("NN201", f"the model has no layer `{text}`", span, **respelt(span, near, otherwise=known))
    return False


class _Index:
    """Names indexed by layer."""

    def __init__(self, names: Iterable[Name]) -> None:
        self._paths: dict[str, Any] = {}
        self._layers: dict[str, list[Name]] = {}
        self._others: list[Name] = []
        for name in names:
            if name.path:
                node = self._paths
                for word in name.path:
                    node = node.setdefault(word, {})
                node.setdefault("", []).append(name)
            elif name.layers:
                self._layers.setdefault(name.layers, []).append(name)
            else:
                self._others.append(name)
        self._place: _Place | None = None
        self._names: list[Name] = []

    def of(self, place: _Place, segment: Segment) -> list[Name]:
        """Return the names that match a tensor."""
        if place is not self._place:
            self._place, self._names = place, [*self._matching(place)]
        return [name for name in self._names if name.parameters in ("", segment.kind)]

    def best(self, place: _Place, segment: Segment) -> Name | None:
        """Return the most specific name that matches a tensor; None if there is none."""
        return max(self.of(place, segment), key=lambda name: name.score(place), default=None)

    def _matching(self, place: _Place) -> Iterator[Name]:
        nodes = [self._paths]
        for own, shared in zip(place.words, place.shared, strict=True):
            nodes = [node[word] for node in nodes for word in dict.fromkeys((own, shared)) if word in node]
            for node in nodes:
                yield from node.get("", ())
        for kind in dict.fromkeys(place.kinds) if self._layers else ():
            yield from self._layers.get(kind, ())
        yield from self._others


@dataclass(frozen=True)
class _Moves:
    """The settings of an experiment that refer to tensors by name."""

    freeze: Mapping[Name, str]
    """Each with its text."""
    rates: Mapping[Name, float]
    decays: Mapping[Name, float]


def _moves(experiment: Experiment, names: Names) -> _Moves:
    tables: dict[str, dict[Name, float]] = {table: {} for table in TABLES}
    for setting, value in experiment.by_name.items():
        _, table, text = setting.split(".", 2)
        if (name := names.find(text)) is not None:
            tables[table][name] = value
    freeze = {name: text for text in experiment.train.freeze or () if (name := names.find(text)) is not None}
    return _Moves(freeze, *tables.values())


def tensors(experiment: Experiment) -> tuple[Segment, ...]:
    """Return every tensor of an experiment's network: its place in the vector of all parameters, and how it is
    trained."""
    names = Names(experiment.layers)
    return tuple(names.tensors(_moves(experiment, names)))


def frozen_layers(found: Iterable[Segment]) -> frozenset[str]:
    """Return the full names of layers whose parameters are all frozen."""
    known = list(found)
    return frozenset(s.layer for s in known) - {s.layer for s in known if not s.frozen}


class Idle:
    """Finds settings without effect; experiments with the same names and model are examined once."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], dict[str, str]] = {}
        self._names: dict[int, Names] = {}

    def __call__(self, experiment: Experiment) -> dict[str, str]:
        """Return settings without effect and the reason: `train.lr_factor.h1`, `train.freeze.h1`."""
        if not experiment.by_name and not experiment.train.freeze:
            return {}
        model = id(experiment.layers)
        key = (model, *experiment.by_name, None, *(experiment.train.freeze or ()))
        if key not in self._known:
            names = self._names.setdefault(model, Names(experiment.layers))
            self._known[key] = dict(names.idle(_moves(experiment, names)))
        return self._known[key]


def _places(layers: Iterable[LayerNode]) -> Iterator[_Place]:
    """Yield the layers that compute, in the order of their parameters. Not recursive, since a spec can nest deeply."""
    waiting: list[tuple[LayerNode, tuple[tuple[int, str], ...]]] = [(node, ()) for node in reversed([*layers])]
    while waiting:
        node, around = waiting.pop()
        part = node.value.part
        if node.branches:
            inner = [layer for branch in node.branches for layer in branch.layers]
            waiting += [(layer, (*around, (node.name.count("."), part.spec_name))) for layer in reversed(inner)]
            continue
        blocks = ((use.name.count("."), use.block) for use in node.uses)
        kinds = [kind for _, kind in sorted((*around, *blocks), key=lambda each: each[0])]
        yield _Place(
            tuple(node.name.split(".")),
            tuple((node.shared or node.name).split(".")),
            (*kinds, part.spec_name),
            tuple(_segment(part, node.name, name, shape) for name, shape in node.geometry.parameters.items()),
            tuple(Segment(shape, 0, node.name, name, "state") for name, shape in node.geometry.state.items()),
        )


def _segment(part: type[Layer], layer: str, name: str, shape: tuple[int, ...]) -> Segment:
    kind = part.kind_of_parameter(name)
    return Segment(shape, 0, layer, name, kind, decays=kind == "weight", looked_up=name in part.tables)
