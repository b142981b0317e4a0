"""`show`: layers, shapes, parameters, FLOPs and memory of each lane, exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import groupby
from math import prod
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import Experiment, LayerNode, PartValue, TrainSettings
from nnspec.compiler.layout import Layout
from nnspec.compiler.preparing import preparation_in_words
from nnspec.compiler.proofs import Compiled
from nnspec.engine.arguments import written
from nnspec.engine.layers.contract import Shape, shape_in_words
from nnspec.engine.parameter import Segment
from nnspec.engine.spaces import Space
from nnspec.view.terminal.screen import Column, table
from nnspec.view.wording.numbers import bytes_in_words

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_structure", "structure_record"]


def print_structure(compiled: Compiled, console: Console) -> None:
    """Print every lane; lanes with the same layers share a table."""
    program = compiled.program
    console.print(program.title, style="bold", soft_wrap=True)
    console.print(f"{program.path} · seed {program.lanes[0].seed}", style="dim", soft_wrap=True)
    shown: list[Experiment] = []
    for lane in program.lanes:
        twin = next((other for other in shown if _same_layers(other, lane)), None)
        console.print()
        console.print(lane.name, style="bold")
        if twin is None:
            shown.append(lane)
            console.print(_layers(compiled.layouts[lane.name], console.width))
        else:
            console.print(f"layers as in {twin.name}")
        _sums(lane, compiled.layouts[lane.name], console)


def _same_layers(one: Experiment, other: Experiment) -> bool:
    def layers(lane: Experiment) -> list[object]:
        nodes = (node for layer in lane.layers for node in layer.walk())
        return [
            (n.name, str(n.value), n.incoming, n.reads, n.owners, [branch.name for branch in n.branches]) for n in nodes
        ]

    return layers(one) == layers(other)


@dataclass(frozen=True)
class _Row:
    """A line of the table: a layer, or a branch without layers."""

    layer: str
    incoming: Shape
    out: Shape
    size: int
    flops: int
    writes: str
    where: str
    reads: str = ""
    """What it reads besides the previous value, or instead of it, and whose parameters it uses."""


def _rows(layout: Layout) -> Iterator[_Row]:
    writes = _writes(layout)
    for place in layout.layers:
        yield _row(place.node, place.node.name, writes)
        yield from _inside(place.node, "  ", writes)


def _writes(layout: Layout) -> dict[str, str]:
    """Say where the output of each layer is stored: in a buffer, or in place of its input."""
    place_of = layout.values.place_of
    found = dict.fromkeys(layout.steps.nodes, "nothing")
    found |= {layer: f"nothing: fused into {by}" for layer, by in layout.steps.absorbed.items()}
    for step in layout.steps:
        if step.op in ("forward", "add", "concat") and step.writes is not None:
            place = place_of[step.writes]
            found[step.node] = "over its input" if place == place_of[step.reads[0]] else place
    return found


def _row(node: LayerNode, label: str, writes: Mapping[str, str]) -> _Row:
    return _Row(
        layer=label,
        incoming=node.incoming,
        out=node.geometry.out,
        size=_size(node),
        flops=node.geometry.flops,
        writes=writes[node.name],
        where=f"{node.span.source.name}:{node.span.line}",
        reads=_reads(node),
    )


def _reads(node: LayerNode) -> str:
    others = (f"input {node.field.name}",) if node.field is not None else node.reads
    owners = (f"weights of {node.owners[0]}",) if node.uses_of else ()
    return ", ".join((*others, *owners))


def _inside(parent: LayerNode, margin: str, writes: Mapping[str, str]) -> Iterator[_Row]:
    """Yield the parts of a composition, each layer by its path; the totals are those of the composition."""
    for branch in parent.branches:
        if not branch.layers:
            yield _Row(f"{margin}{branch.name}", parent.incoming, parent.incoming, 0, 0, "nothing", "")
        for node in branch.layers:
            path = node.name.removeprefix(f"{parent.name}.")
            yield _row(node, f"{margin}{path}", writes)
            yield from _inside(node, f"{margin}  ", writes)


def _size(node: LayerNode) -> int:
    return sum(prod(shape) for shape in node.geometry.parameters.values())


def _layers(layout: Layout, width: int) -> Any:
    rows = list(_rows(layout))
    return table(
        [
            Column("layer", [row.layer for row in rows], 0),
            Column("in", [_extents(row.incoming) for row in rows], 1, right=True),
            Column("out", [_extents(row.out) for row in rows], 1, right=True),
            Column("parameters", [f"{row.size:,}" for row in rows], 2, right=True),
            Column("FLOPs", [f"{row.flops:,}" for row in rows], 3, right=True),
            *([Column("reads", [row.reads for row in rows], 5)] if any(row.reads for row in rows) else []),
            Column("writes into", [row.writes for row in rows], 6),
            Column("where", [row.where for row in rows], 4),
        ],
        width,
    )


def _tuned(lane: Experiment) -> Iterator[tuple[str, str]]:
    """Say how a lane is tuned, and which settings in these rows are only the middle of a space."""
    spaces = {name: bound.value for name, bound in lane.tune.items() if isinstance(bound.value, Space)}
    if spaces:
        budget, by, search = (lane.tune[f"tune.{name}"].value for name in ("budget", "by", "search"))
        trials = f"{budget} trial{'s' * (budget != 1)}"
        yield "tune", f"{trials} by {by}, {search}; until then, settings are in the middle of their spaces"
        yield from ((f"  {name.removeprefix('tune.')}", str(space)) for name, space in spaces.items())


def _sums(lane: Experiment, layout: Layout, console: Console) -> None:
    rows = [
        ("optimizer", str(lane.optimizer)),
        *_tuned(lane),
        ("loss", str(lane.loss)),
        ("data", " or ".join(_in_spec(choice.value) for choice in lane.data)),
        ("sample", _sample(lane)),
        *zip(("preparation", *[""] * 99), preparation_in_words(lane), strict=False),
        ("train", ", ".join([_duration(lane.train), f"batch {lane.train.batch}", lane.dtype, *_more(lane)])),
        ("parameters", _parameters(layout)),
        *((f"  {name}", words) for name, words in _by_layer(layout)),
        *_loaded(lane),
        ("FLOPs", f"{layout.flops:,} a sample, forward"),
        ("memory", bytes_in_words(layout.memory)),
        *((f"  {group}", f"{count:,} bytes") for group, count in layout.groups().items()),
    ]
    console.print()
    width = max(15, *(len(name) for name, _ in rows))
    for name, value in rows:
        console.print(f"{name:<{width}} {value}", soft_wrap=True)


def _in_spec(value: PartValue[Any]) -> str:
    """Return a part with its arguments as written in a spec."""
    arguments = ", ".join(f"{name}={written(bound.value)}" for name, bound in value.arguments.items())
    return f"{value.name}({arguments})" if arguments else value.name


def _extents(shape: Shape) -> str:
    return shape_in_words(shape) or "id"


def _sample(lane: Experiment) -> str:
    """Describe the shape of a sample, of each of its inputs, and how it is stored in files if that differs."""
    facts = lane.facts
    if facts.inputs:
        return ", ".join(f"{field.name} {_extents(field.shape)}" for field in facts.inputs)
    axes = f" ({' × '.join(facts.axes)})" if facts.axes else ""
    stored = f", stored as {' × '.join(facts.stored_axes)}" if facts.stored_axes else ""
    return f"{shape_in_words(facts.shape)}{axes}{stored}"


def _duration(train: TrainSettings) -> str:
    return f"{train.epochs} epochs" if train.steps is None else f"{train.steps} steps"


def _more(lane: Experiment) -> list[str]:
    """Return the settings of `train` that differ from their defaults, in addition to those always shown."""
    train = [(field, getattr(lane.train, field.name)) for field in fields(lane.train)]
    others = [
        (f.name, value) for f, value in train if value != f.default and f.name not in ("epochs", "steps", "batch")
    ]
    return [f"{name} {_in_words(value)}" for name, value in others]


def _in_words(value: Any) -> str:
    if isinstance(value, tuple) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parameters(layout: Layout) -> str:
    frozen = layout.params - layout.trained_params
    return f"{layout.params:,}" + (f", {layout.trained_params:,} of them trained" if frozen else "")


def _by_layer(layout: Layout) -> Iterator[tuple[str, str]]:
    """Describe layers with their own learning rates or weight decay; by parameter, if these differ."""
    for layer, found in groupby(layout.tensors, key=lambda tensor: tensor.layer):
        words = {tensor.name: _move(tensor) for tensor in found}
        if len(set(words.values())) == 1:
            words = {"": next(iter(words.values()))}
        yield from ((f"{layer}.{name}".rstrip("."), text) for name, text in words.items() if text)


def _loaded(lane: Experiment) -> Iterator[tuple[str, str]]:
    """Say which tensors start from files, and which do not."""
    initial = lane.initial
    if initial is None or not initial.tensors:
        return
    yield "init from", ", ".join(f"{path.written} (sha256 {each.sha256[:12]})" for path, each in initial.files.items())
    for each in initial.tensors:
        turned = ", transposed" if each.transposed else ""
        yield f"  {each.name}", f"{each.key} in {each.weights.path.written}, {each.stored}{turned}"
    yield from ((f"  {name}", "newly initialised") for name in initial.drawn)
    for path in initial.files:
        if unused := initial.unused(path):
            yield "  not used", f"{', '.join(unused)} in {path.written}"


def _move(tensor: Segment) -> str:
    if tensor.frozen:
        return "frozen"
    rate = [f"lr × {tensor.rate:g}"] if tensor.rate != 1 else []
    return ", ".join([*rate, *([f"weight decay {tensor.weight_decay:g}"] if tensor.weight_decay is not None else [])])


def structure_record(compiled: Compiled) -> dict[str, Any]:
    """Return the same as plain data."""
    return {
        "title": compiled.program.title,
        "spec": compiled.program.path,
        "lanes": [_lane_record(lane, compiled.layouts[lane.name]) for lane in compiled.program.lanes],
    }


def _lane_record(lane: Experiment, layout: Layout) -> dict[str, Any]:
    return {
        "name": lane.name,
        "seed": lane.seed,
        "dtype": lane.dtype,
        "optimizer": str(lane.optimizer),
        **(
            {"tune": {name.removeprefix("tune."): str(each.value) for name, each in lane.tune.items()}}
            if lane.tune
            else {}
        ),
        "loss": str(lane.loss),
        "data": [str(choice.value) for choice in lane.data],
        "sample": {"shape": list(lane.facts.shape), "axes": list(lane.facts.axes)},
        "preparation": list(preparation_in_words(lane)),
        "epochs": lane.length.epochs,
        **({} if lane.train.steps is None else {"steps": lane.train.steps}),
        "batch": lane.train.batch,
        "layers": [_layer_record(node) for node in lane.layers],
        "params": layout.params,
        "trained_params": layout.trained_params,
        "by_layer": dict(_by_layer(layout)),
        **({"init_from": lane.initial.record()} if lane.initial is not None else {}),
        "flops": layout.flops,
        "memory": layout.memory,
        "memory_by_group": layout.groups(),
    }


def _layer_record(node: LayerNode) -> dict[str, Any]:
    record = {
        "name": node.name,
        "kind": node.value.name,
        "in": list(node.incoming),
        "out": list(node.geometry.out),
        "parameters": {name: list(shape) for name, shape in node.geometry.parameters.items()},
        "params": _size(node),
        "flops": node.geometry.flops,
    }
    if node.reads:
        record["reads"] = list(node.reads)
    if node.owners:
        record["parameters_of"] = list(node.owners)
    if node.branches:
        record["branches"] = [
            {"name": branch.name, "layers": [_layer_record(inner) for inner in branch.layers]}
            for branch in node.branches
        ]
    return record
