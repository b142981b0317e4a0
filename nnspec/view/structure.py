"""`show`: layers, shapes, parameters, FLOPs and memory of each lane, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import Experiment
from nnspec.compiler.layout import Layout
from nnspec.compiler.proofs import Compiled
from nnspec.engine.layers.contract import shape_in_words
from nnspec.view.terminal import Column, table
from nnspec.view.words import bytes_in_words

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
            console.print(_layers(lane, compiled.layouts[lane.name], console.width))
        else:
            console.print(f"layers as in {twin.name}")
        _sums(lane, compiled.layouts[lane.name], console)


def _same_layers(one: Experiment, other: Experiment) -> bool:
    return [(n.name, str(n.value), n.incoming) for n in one.layers] == [
        (n.name, str(n.value), n.incoming) for n in other.layers
    ]


def _layers(lane: Experiment, layout: Layout, width: int) -> Any:
    nodes = [layer.node for layer in layout.layers]
    writes = ["over its input" if layer.in_place else "its own buffer" for layer in layout.layers]
    return table(
        [
            Column("layer", [node.name for node in nodes], 0),
            Column("in", [shape_in_words(node.incoming) for node in nodes], 1, right=True),
            Column("out", [shape_in_words(node.geometry.out) for node in nodes], 1, right=True),
            Column("parameters", [f"{layer.size:,}" for layer in layout.layers], 2, right=True),
            Column("FLOPs", [f"{node.geometry.flops:,}" for node in nodes], 3, right=True),
            Column("writes into", writes, 5),
            Column("where", [f"{node.span.source.name}:{node.span.line}" for node in nodes], 4),
        ],
        width,
    )


def _sums(lane: Experiment, layout: Layout, console: Console) -> None:
    rows = [
        ("optimizer", str(lane.optimizer)),
        ("loss", str(lane.loss)),
        ("data", " or ".join(str(choice.value) for choice in lane.data)),
        ("train", f"{lane.train.epochs} epochs, batch {lane.train.batch}, {lane.dtype}"),
        ("parameters", f"{layout.params:,}"),
        ("FLOPs", f"{layout.flops:,} a sample, forward"),
        ("memory", bytes_in_words(layout.memory)),
        *((f"  {group}", f"{count:,} bytes") for group, count in layout.groups().items()),
    ]
    console.print()
    for name, value in rows:
        console.print(f"{name:<15} {value}", soft_wrap=True)


def structure_record(compiled: Compiled) -> dict[str, Any]:
    """Return the same as plain data."""
    return {
        "title": compiled.program.title,
        "spec": compiled.program.path,
        "lanes": [_lane_record(lane, compiled.layouts[lane.name]) for lane in compiled.program.lanes],
    }


def _lane_record(lane: Experiment, layout: Layout) -> dict[str, Any]:
    def layer(place: Any) -> dict[str, Any]:
        shapes: dict[str, Sequence[int]] = {name: list(shape) for name, (_, shape) in place.parameters.items()}
        return {
            "name": place.node.name,
            "kind": place.node.value.name,
            "in": list(place.node.incoming),
            "out": list(place.node.geometry.out),
            "parameters": shapes,
            "params": place.size,
            "flops": place.node.geometry.flops,
        }

    return {
        "name": lane.name,
        "seed": lane.seed,
        "dtype": lane.dtype,
        "optimizer": str(lane.optimizer),
        "loss": str(lane.loss),
        "data": [str(choice.value) for choice in lane.data],
        "epochs": lane.train.epochs,
        "batch": lane.train.batch,
        "layers": [layer(place) for place in layout.layers],
        "params": layout.params,
        "flops": layout.flops,
        "memory": layout.memory,
        "memory_by_group": layout.groups(),
    }
