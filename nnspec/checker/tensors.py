"""Which tensors of a network a name stands for, and how each of them moves: `train.freeze`, `train.lr_factor`,
`train.weight_decay`.

    h1, residual1.Linear2     a layer, a composition or a block, with all that is in it
    h                         every copy of `h: Hidden(64) * 3`
    Embedding, Hidden         every layer of a kind; everything in the uses of a block, in compositions of a kind
    bias                      every parameter of a kind
    h1.bias, LayerNorm.scale  the parameters of a kind in those

Of several names that stand for a tensor the most specific one counts: a path before a kind of layer, and that before a
kind of parameter; a longer path before a shorter one; a copy before all copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from nnspec.checker.program import Experiment, LayerNode
from nnspec.checker.words import parts
from nnspec.engine.layers.contract import Layer
from nnspec.engine.parameter import KINDS, Segment

__all__ = ["TABLES", "Name", "Names", "frozen_layers", "idle", "tensors"]

TABLES = ("lr_factor", "weight_decay")
"""The settings of `train` that say something of tensors by name; `train.freeze` is a list of names."""

Score = tuple[int, ...]
"""How specific a name is: compared from left to right, more is more."""


@dataclass(frozen=True)
class _Place:
    """A layer that computes, as names see it."""

    words: tuple[str, ...]
    """Its full name, word by word."""
    shared: tuple[str, ...]
    """The same with the labels of repeated layers, without the number of the copy."""
    kinds: tuple[str, ...]
    """Its kind, after those of the blocks and compositions that it is in, outermost first."""
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Name:
    """What stands for tensors: a path, a kind of layer or neither, and a kind of parameter or none."""

    path: tuple[str, ...] = ()
    layers: str = ""
    parameters: str = ""

    def __str__(self) -> str:
        return ".".join(word for word in (*self.path, self.layers, self.parameters) if word)

    def score(self, place: _Place, segment: Segment) -> Score | None:
        """Return how specific it is for a tensor; None where it does not stand for it."""
        if self.parameters and segment.kind != self.parameters:
            return None
        if self.path:
            exact = _follows(self.path, place)
            return None if exact is None else (len(self.path), exact, 0, bool(self.parameters))
        if self.layers:
            if self.layers not in place.kinds:
                return None
            depth = max(i for i, kind in enumerate(place.kinds, 1) if kind == self.layers)
            return 0, 0, depth, bool(self.parameters)
        return 0, 0, 0, 1


def _follows(path: Sequence[str], place: _Place) -> int | None:
    """Return how exact a path is, more where its words name one copy and not all of them; None where it leads
    elsewhere."""
    if len(path) > len(place.words):
        return None
    score = 0
    for word, own, shared in zip(path, place.words, place.shared, strict=False):
        if word not in (own, shared):
            return None
        score = 2 * score + (word == own)
    return score


class Names:
    """What names mean in a model. A label goes before a kind of layer, and that before a kind of parameter."""

    def __init__(self, layers: Iterable[LayerNode], blocks: Iterable[str] = ()) -> None:
        self._places = list(_places(layers))
        self._kinds = {*parts("layer"), *parts("composition"), *blocks, *(k for p in self._places for k in p.kinds)}
        self.paths = {p.words[:n]: None for p in self._places for n in range(1, len(p.words) + 1)}
        self._shared = {p.shared[:n] for p in self._places for n in range(1, len(p.shared) + 1)}

    def find(self, text: str) -> Name | None:
        """Return what a name means; None where it means nothing."""
        words = tuple(text.split("."))
        *before, last = words
        kind = last if last in KINDS else ""
        if self._leads_somewhere(words):
            return Name(path=words)
        if kind and self._leads_somewhere(before):
            return Name(path=tuple(before), parameters=kind)
        if len(words) == 1 and last in self._kinds:
            return Name(layers=last)
        if kind and len(words) == 2 and before[0] in self._kinds:
            return Name(layers=before[0], parameters=kind)
        return Name(parameters=kind) if kind and len(words) == 1 else None

    def _leads_somewhere(self, path: Sequence[str]) -> bool:
        return bool(path) and (
            tuple(path) in self.paths
            or tuple(path) in self._shared
            or any(_follows(path, place) is not None for place in self._places)
        )

    def below(self, text: str) -> list[str]:
        """Return the names of what stands directly in a composition or a block."""
        path = tuple(text.split("."))
        found = (p.words[len(path)] for p in self._places if len(p.words) > len(path) and _follows(path, p) is not None)
        return list(dict.fromkeys(found))

    def kinds_of(self, name: Name) -> list[str]:
        """Return the kinds of the parameters that a name stands for."""
        found = (s.kind for p in self._places for s in p.segments if name.score(p, s) is not None)
        return list(dict.fromkeys(found))

    def all_frozen(self, freeze: Iterable[str]) -> bool:
        """Whether nothing is left to train."""
        names = [name for text in freeze if (name := self.find(text)) is not None]
        return all(_any(names, place, segment) for place in self._places for segment in place.segments)

    @property
    def known(self) -> list[str]:
        """Everything that a name may be, for suggestions."""
        layers = {kind for place in self._places for kind in place.kinds}
        return [*map(".".join, self.paths), *map(".".join, self._shared), *sorted(layers), *KINDS]

    def tensors(self, moves: _Moves) -> Iterator[Segment]:
        """Yield all tensors in the order of the network, each with what is said of it."""
        start = 0
        for place in self._places:
            for segment in place.segments:
                rate, decay = (_best(table, place, segment) for table in (moves.rates, moves.decays))
                yield replace(
                    segment,
                    start=start,
                    rate=1.0 if rate is None else float(moves.rates[rate]),
                    weight_decay=None if decay is None else float(moves.decays[decay]),
                    frozen=_any(moves.freeze, place, segment),
                )
                start += segment.size

    def idle(self, moves: _Moves) -> Iterator[tuple[str, str]]:
        """Yield the settings that change nothing, as they are written, with the reason."""
        segments = [(place, segment) for place in self._places for segment in place.segments]
        for name, text in moves.freeze.items():
            if not any(name.score(*each) is not None for each in segments):
                yield f"train.freeze.{text}", f"`{text}` has no parameters here"
        trained = [each for each in segments if not _any(moves.freeze, *each)]
        for table, names in zip(TABLES, (moves.rates, moves.decays), strict=True):
            used = {_best(names, *each) for each in trained}
            for name in (name for name in names if name not in used):
                reason = f"other settings of `{table}` are more specific"
                if not any(name.score(*each) is not None for each in segments):
                    reason = f"`{name}` has no parameters here"
                elif not any(name.score(*each) is not None for each in trained):
                    reason = f"`{name}` is frozen"
                yield f"train.{table}.{name}", reason


@dataclass(frozen=True)
class _Moves:
    """What an experiment says of tensors by name."""

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
    """Return every tensor of an experiment's network: its place in the vector of all parameters, and how it moves."""
    names = Names(experiment.layers)
    return tuple(names.tensors(_moves(experiment, names)))


def frozen_layers(found: Iterable[Segment]) -> frozenset[str]:
    """Return the layers by full name that have parameters, all of them frozen."""
    known = list(found)
    return frozenset(s.layer for s in known) - {s.layer for s in known if not s.frozen}


def idle(experiment: Experiment) -> dict[str, str]:
    """Return what is said of tensors by name and changes nothing, and why: `train.lr_factor.h1`, `train.freeze.h1`."""
    if not experiment.by_name and not experiment.train.freeze:
        return {}
    names = Names(experiment.layers)
    return dict(names.idle(_moves(experiment, names)))


def _any(names: Iterable[Name], place: _Place, segment: Segment) -> bool:
    return any(name.score(place, segment) is not None for name in names)


def _best(names: Iterable[Name], place: _Place, segment: Segment) -> Name | None:
    """Return the most specific of the names that stand for a tensor; None where none does."""
    scores = [(score, name) for name in names if (score := name.score(place, segment)) is not None]
    return max(scores, key=lambda each: each[0])[1] if scores else None


def _places(layers: Iterable[LayerNode]) -> Iterator[_Place]:
    """Yield the layers that compute, in the order of their parameters. No recursion: how deep is up to the spec."""
    waiting: list[tuple[LayerNode, tuple[tuple[int, str], ...]]] = [(node, ()) for node in reversed([*layers])]
    while waiting:
        node, around = waiting.pop()
        part = node.value.part
        if node.branches:
            inner = [layer for branch in node.branches for layer in branch.layers]
            waiting += [(layer, (*around, (node.name.count("."), part.spec_name))) for layer in reversed(inner)]
            continue
        assert issubclass(part, Layer)
        blocks = ((use.name.count("."), use.block) for use in node.uses)
        kinds = [kind for _, kind in sorted((*around, *blocks), key=lambda each: each[0])]
        yield _Place(
            tuple(node.name.split(".")),
            tuple((node.shared or node.name).split(".")),
            (*kinds, part.spec_name),
            tuple(_segment(part, node.name, name, shape) for name, shape in node.geometry.parameters.items()),
        )


def _segment(part: type[Layer], layer: str, name: str, shape: tuple[int, ...]) -> Segment:
    kind = part.kind_of_parameter(name)
    return Segment(shape, 0, layer, name, kind, decays=kind == "weight")
