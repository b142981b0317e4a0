"""The differences between two runs: settings, layers, arguments and sizes, in the order of a spec."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from nnspec.checker.program import Experiment, LayerNode, PartValue, TrainSettings
from nnspec.compiler.layout import Layout
from nnspec.engine.part import Part, Signature
from nnspec.semantics.alignment import Mark, align, marks
from nnspec.semantics.values import Word, arguments, as_json, layer_arguments, meaning, written

__all__ = ["Change", "Changes", "Run", "in_full"]

_TRAIN = Signature.of(TrainSettings.__init__)
_SIZES = (("params", "parameters"), ("flops", "FLOPs"), ("memory", "memory"))


@dataclass(frozen=True)
class Change:
    """One difference. `old` and `new` are in spec syntax, None if absent."""

    what: str
    """`optimizer.lr`, `Linear2.out_features`, `parameters`, or the name of a layer that was added or removed."""
    old: str | None
    new: str | None
    note: str = ""
    """The position of a layer (`after ReLU1`), its previous name, or the difference of a size."""
    old_value: Any = field(default=None, compare=False)
    new_value: Any = field(default=None, compare=False)

    @property
    def sign(self) -> str:
        """`+` for added, `-` for removed, `~` for changed."""
        return "+" if self.old is None else "-" if self.new is None else "~"


@dataclass(frozen=True)
class Run:
    """A lane with its layout."""

    experiment: Experiment
    layout: Layout

    @property
    def name(self) -> str:
        """The lane's name, including its point of the sweep."""
        return self.experiment.name


class Changes:
    """Compares runs. Lanes share models, so each model and each pair of models is processed once."""

    def __init__(self) -> None:
        self._marks: dict[int, list[Mark]] = {}
        self._layers: dict[tuple[int, int], tuple[Change, ...]] = {}
        self._seen: list[object] = []  # keeps objects alive that are identified by their id

    def meaning(self, run: Run) -> Hashable:
        """Return a value that is equal for runs that mean the same."""
        e = run.experiment
        return (
            (e.seed, e.dtype),
            tuple(meaning(choice.value) for choice in e.data),
            tuple(mark.key for mark in self._marked(e.layers)),
            (meaning(e.loss), meaning(e.optimizer), frozenset(map(meaning, e.metrics))),
            tuple(meaning(getattr(e.train, argument.name)) for argument in _TRAIN),
            frozenset(e.by_name.items()),
            frozenset((name, meaning(bound.value)) for name, bound in e.tune.items()),
            frozenset((name, str(weights)) for name, weights in _initial(e).items()),
        )

    def between(self, old: Run, new: Run) -> Iterator[Change]:
        """Yield the differences in settings, and the resulting differences in sizes."""
        yield from self.settings(old, new)
        for what, shown in _SIZES:
            sizes: tuple[int, int] = getattr(old.layout, what), getattr(new.layout, what)
            if sizes[0] != sizes[1]:
                unit = " bytes" if what == "memory" else ""
                more = f"{sizes[1] - sizes[0]:+,}{unit}"
                yield Change(shown, f"{sizes[0]:,}", f"{sizes[1]:,}", more, *sizes)

    def settings(self, old: Run, new: Run) -> Iterator[Change]:
        """Yield the differences in settings."""
        a, b = old.experiment, new.experiment
        yield from _value("seed", a.seed, b.seed)
        yield from _value("dtype", Word(a.dtype), Word(b.dtype))
        yield from _data(a, b)
        yield from self._between_models(a.layers, b.layers)
        yield from _part("loss", a.loss, b.loss)
        yield from _part("optimizer", a.optimizer, b.optimizer)
        if {meaning(metric) for metric in a.metrics} != {meaning(metric) for metric in b.metrics}:
            yield from _value("metrics", *(Word(", ".join(map(in_full, e.metrics)) or "none") for e in (a, b)))
        for argument in _TRAIN:
            name = argument.name
            yield from _value(f"train.{name}", getattr(a.train, name), getattr(b.train, name))
        for name in dict.fromkeys((*a.by_name, *b.by_name)):
            yield from _value(name, a.by_name.get(name, Word("not set")), b.by_name.get(name, Word("not set")))
        for name in dict.fromkeys((*a.tune, *b.tune)):
            values = (each.tune[name].value if name in each.tune else Word("not set") for each in (a, b))
            yield from _value(name, *values)

        old_weights, new_weights = _initial(a), _initial(b)
        for name in dict.fromkeys((*old_weights, *new_weights)):
            yield from _value(name, *(Word(each.get(name) or "none") for each in (old_weights, new_weights)))

    def _marked(self, layers: tuple[LayerNode, ...]) -> list[Mark]:
        if id(layers) not in self._marks:
            self._seen.append(layers)
            self._marks[id(layers)] = marks(layers)
        return self._marks[id(layers)]

    def _between_models(self, a: tuple[LayerNode, ...], b: tuple[LayerNode, ...]) -> tuple[Change, ...]:
        key = (id(a), id(b))
        if key not in self._layers:
            self._layers[key] = tuple(_layers(self._marked(a), self._marked(b)))
        return self._layers[key]


def in_full(value: PartValue[Part], beside: PartValue[Part] | None = None) -> str:
    """Return a part with all arguments, `SGD(lr=0.01, momentum=0.0)`, except for defaults shared with `beside`."""
    shared = _defaults(value).items() & _defaults(beside).items() if beside else frozenset()
    omitted = {name for name, _ in shared}
    words = [f"{a.name}={written(bound.value)}" for a, bound in arguments(value) if a.name not in omitted]
    return f"{value.name}({', '.join(words)})" if words else value.name


def _defaults(value: PartValue[Part]) -> dict[str, str]:
    return {a.name: written(bound.value) for a, bound in arguments(value) if bound.origin.via == "default"}


def _initial(experiment: Experiment) -> dict[str, str]:
    """Return each `init_from`, with the beginning of the digest of its file."""
    initial = experiment.initial
    if initial is None:
        return {}
    return {
        name: f"{weights} (sha256 {initial.files[weights.path].sha256[:12]})"
        for name, weights in initial.settings.items()
        if weights is not None
    }


def _value(what: str, old: object, new: object, note: str = "") -> Iterator[Change]:
    if meaning(old) != meaning(new):
        yield Change(what, written(old), written(new), note, as_json(old), as_json(new))


def _part(what: str, old: PartValue[Part], new: PartValue[Part]) -> Iterator[Change]:
    """Yield the arguments that differ, or the whole part if it was replaced."""
    if old.part is not new.part:
        yield from _value(what, Word(in_full(old, new)), Word(in_full(new, old)))
        return
    for (argument, before), (_, after) in zip(arguments(old), arguments(new), strict=True):
        yield from _value(f"{what}.{argument.name}", before.value, after.value)


def _data(a: Experiment, b: Experiment) -> Iterator[Change]:
    old, new = [choice.value for choice in a.data], [choice.value for choice in b.data]
    if [value.part for value in old] != [value.part for value in new]:
        yield from _value("data", *(Word(" or ".join(map(in_full, values))) for values in (old, new)))
        return
    for before, after in zip(old, new, strict=True):
        yield from _part("data" if len(old) == 1 else f"data.{before.name}", before, after)


# Models


def _layers(old: Sequence[Mark], new: Sequence[Mark]) -> Iterator[Change]:
    places = {id(mark): i for found in (old, new) for i, mark in enumerate(found)}
    for before, after in align(old, new):
        if before is not None and after is not None:
            yield from _arguments(before, after)
        elif before is not None:
            text = _in_words(before)
            yield Change(before.name, text, None, _position(old, places[id(before)]), text, None)
        elif after is not None:
            text = _in_words(after)
            yield Change(after.name, None, text, _position(new, places[id(after)]), None, text)


def _arguments(before: Mark, after: Mark) -> Iterator[Change]:
    note = "" if before.name == after.name else f"was {before.name}"
    for (argument, old), (_, new) in zip(layer_arguments(before.node), layer_arguments(after.node), strict=True):
        if not argument.inferred:
            yield from _value(f"{after.name}.{argument.name}", old.value, new.value, note)


def _in_words(mark: Mark) -> str:
    """Return a layer with the arguments that differ from their defaults."""
    if mark.kind[0] != "layer":
        return f"{mark.kind[0]} of {mark.node.value.name}"
    words = [
        f"{argument.name}={written(bound.value)}"
        for argument, bound in layer_arguments(mark.node)
        if not argument.inferred and (argument.required or meaning(bound.value) != meaning(argument.default))
    ]
    return f"{mark.node.value.name}({', '.join(words)})" if words else mark.node.value.name


def _position(found: Sequence[Mark], place: int) -> str:
    """Return the position of a layer in words."""
    if not place:
        return "at the start"
    before = found[place - 1]
    opens = before.kind[0] == "branch" or (before.kind[0] == "layer" and bool(before.node.branches))
    return f"{'first in' if opens else 'after'} {before.name}"
