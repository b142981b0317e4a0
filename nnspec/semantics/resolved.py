"""An experiment as rows: every setting and argument by its full name, with its value and origin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnspec.checker.program import Bound, Experiment, LayerNode, Origin, PartValue, TrainSettings, Use
from nnspec.engine.layers.composition import Composition
from nnspec.engine.layers.tied import Transposed
from nnspec.engine.part import Part, Signature
from nnspec.semantics.values import Word, arguments, layer_arguments

__all__ = ["Row", "rows"]


@dataclass(frozen=True)
class Row:
    """A value with its name and origin; a row without an origin is a heading of the deeper rows that follow."""

    kind: str
    """`setting`, `argument`, `layer`, `block`, `branch`, `let` or `group`."""
    section: str
    """The setting or section of the spec that it belongs to: `optimizer`, `train`, `let`."""
    name: str
    """Its full name, `optimizer.lr`, as used by `--set`."""
    shown: str
    """Its name below its heading: `lr`."""
    depth: int
    value: Any = None
    origin: Origin | None = None


def rows(experiment: Experiment) -> Iterator[Row]:
    """Yield everything that a run depends on."""
    span = experiment.layers[0].span  # any span: a default has none
    default = Origin(span, "default")
    given = experiment.origins
    for name, value in (("seed", experiment.seed), ("dtype", Word(experiment.dtype))):
        yield Row("setting", name, name, name, 0, value, given.get(name, default))
    if experiment.init is not None:
        yield Row("setting", "init", "init", "init", 0, experiment.init, given.get("init", default))
    yield from _data(experiment)
    if experiment.model:
        yield Row("setting", "model", "model", "model", 0, Word(experiment.model), given.get("model", default))
    else:
        yield Row("group", "model", "model", "model", 0)
    yield from _layers(experiment.layers)
    yield from _part("loss", experiment.loss, given)
    yield from _part("optimizer", experiment.optimizer, given)
    yield from _metrics(experiment, given, default)
    yield Row("group", "train", "train", "train", 0)
    for argument in Signature.of(TrainSettings.__init__):
        name = f"train.{argument.name}"
        value = getattr(experiment.train, argument.name)
        yield Row("setting", "train", name, argument.name, 1, value, given.get(name, default))
    for name, number in experiment.by_name.items():
        yield Row("setting", ".".join(name.split(".")[:2]), name, name, 0, number, given.get(name, default))
    for name, weights in (experiment.initial.settings if experiment.initial else {}).items():
        yield Row("setting", "init_from", name, name, 0, Word(weights or "none"), given.get(name, default))
    if experiment.tune:
        yield Row("group", "tune", "tune", "tune", 0)
    for name, bound in experiment.tune.items():
        yield Row("setting", "tune", name, name.removeprefix("tune."), 1, bound.value, bound.origin)
    if experiment.lets:
        yield Row("group", "let", "let", "let", 0)
    for name, bound in experiment.lets.items():
        yield Row("let", "let", name, name, 1, bound.value, bound.origin)
        if isinstance(bound.value, PartValue):
            yield from _arguments(bound.value, "let", name, 2)


def _part(setting: str, value: PartValue[Part], given: Mapping[str, Origin]) -> Iterator[Row]:
    """Yield a setting that is a part, with its arguments."""
    yield Row("setting", setting, setting, setting, 0, value, _of_part(value, given.get(setting)))
    yield from _arguments(value, setting, setting, 1)


def _of_part(value: PartValue[Part], setting: Origin | None) -> Origin:
    """Return the origin of a part: where a setting names it, or where the part itself is written."""
    named = setting is not None and setting.span.text.isidentifier() and setting.span != value.origin.span
    return setting if named and setting is not None else value.origin


def _arguments(value: PartValue[Part], section: str, prefix: str, depth: int) -> Iterator[Row]:
    for argument, bound in arguments(value):
        yield _argument(section, prefix, argument.name, depth, bound)


def _argument(section: str, prefix: str, name: str, depth: int, bound: Bound) -> Row:
    return Row("argument", section, f"{prefix}.{name}", name, depth, bound.value, bound.origin)


def _data(experiment: Experiment) -> Iterator[Row]:
    """Yield the data; alternatives have their own names, numbered if two are the same."""
    values = [choice.value for choice in experiment.data]
    if len(values) == 1:
        yield from _part("data", values[0], experiment.origins)
        return
    count: dict[str, int] = {}
    for i, value in enumerate(values):
        count[value.name] = number = count.get(value.name, 0) + 1
        name = f"data.{value.name}{number if number > 1 else ''}"
        yield Row("setting", "data", name, "or" if i else "data", 0, value, value.origin)
        yield from _arguments(value, "data", name, 1)


def _metrics(experiment: Experiment, given: Mapping[str, Origin], default: Origin) -> Iterator[Row]:
    names = [Word(metric.name) for metric in experiment.metrics]
    yield Row("setting", "metrics", "metrics", "metrics", 0, names, given.get("metrics", default))
    for metric in experiment.metrics:
        yield from _arguments(metric, "metrics", f"metrics.{metric.name}", 1)


# Layers

_Waiting = Row | tuple[LayerNode, tuple[Use, ...], int]


def _layers(layers: Sequence[LayerNode]) -> Iterator[Row]:
    """Yield the layers of a model, below their blocks and inside their compositions.

    Iterative, since a spec may nest deeply.
    """
    waiting: list[_Waiting] = _chain(layers, (), 1)[::-1]
    while waiting:
        match waiting.pop():
            case Row() as row:
                yield row
            case (node, before, base):
                shared = sum(1 for one, other in zip(before, node.uses, strict=False) if one.name == other.name)
                for i, use in enumerate(node.uses[shared:], shared):
                    yield from _use(use, base + i)
                depth = base + len(node.uses)
                name = f"model.{node.name}"
                again = bool(node.owners) and node.value.part is not Transposed
                value = Word(f"same({node.owners[0]})") if again else node.value
                yield Row("layer", "model", name, node.name, depth, value, node.value.origin)
                for argument, bound in layer_arguments(node) if not again else ():
                    yield _argument("model", name, argument.name, depth + 1, bound)
                waiting += _branches(node, depth + 1)[::-1]


def _chain(layers: Sequence[LayerNode], uses: tuple[Use, ...], base: int) -> list[_Waiting]:
    """Return layers with the blocks that are open before each, and the depth of layers outside blocks."""
    before = [uses, *(node.uses for node in layers)]
    return [(node, opened, base) for node, opened in zip(layers, before, strict=False)]


def _branches(node: LayerNode, depth: int) -> list[_Waiting]:
    part, found = node.value.part, list[_Waiting]()
    for branch in node.branches:
        deeper = 0
        if not (issubclass(part, Composition) and branch.name == part.own_chain):
            name = f"{node.name}.{branch.name}"
            value = None if branch.layers else Word("passes its input on")
            found.append(Row("branch", "model", f"model.{name}", name, depth, value))
            deeper = 1
        found += _chain(branch.layers, node.uses, depth + deeper - len(node.uses))
    return found


def _use(use: Use, depth: int) -> Iterator[Row]:
    name = f"model.{use.name}"
    yield Row("block", "model", name, use.name, depth, Word(use.block), use.origin)
    for parameter, bound in use.parameters.items():
        yield _argument("model", name, parameter, depth + 1, bound)
