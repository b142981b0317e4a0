"""`show --steps`: the program of one training step, as it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from nnspec.checker.program import Experiment
from nnspec.compiler.allocate import ITEMSIZE, Memory, allocate
from nnspec.compiler.layout import Layout
from nnspec.compiler.lower import layer_class, lower
from nnspec.compiler.proofs import Compiled
from nnspec.compiler.steps import Step, Steps
from nnspec.engine.layers.contract import shape_in_words
from nnspec.view.terminal.screen import Column, table

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Stage", "print_steps", "steps_record"]

Stage = Literal["final", "raw"]
"""Which steps are shown: those that run, or those before any rewrite."""


def print_steps(compiled: Compiled, stage: Stage, console: Console) -> None:
    """Print the steps of every lane; lanes whose steps are the same share a list."""
    program = compiled.program
    console.print(program.title, style="bold", soft_wrap=True)
    shown: dict[str, list[dict[str, Any]]] = {}
    for lane in program.lanes:
        layout = compiled.layouts[lane.name]
        steps, memory = _program(layout, stage)
        rows = _rows(lane, layout, steps, memory)
        twin = next((name for name, others in shown.items() if _alike(others, rows)), None)
        console.print()
        console.print(lane.name, style="bold", soft_wrap=True)
        if twin is not None:
            console.print(f"steps as in {twin}, with the update of {lane.optimizer}", soft_wrap=True)
            continue
        shown[lane.name] = rows
        console.print(_table(rows, console.width))
        console.print()
        for line in _summary(layout, steps, memory):
            console.print(line, style="dim", soft_wrap=True)


def steps_record(compiled: Compiled, stage: Stage) -> dict[str, Any]:
    """Return the steps of every lane as plain data."""
    return {
        "stage": stage,
        "lanes": [_lane_record(lane, compiled.layouts[lane.name], stage) for lane in compiled.program.lanes],
    }


def _lane_record(lane: Experiment, layout: Layout, stage: Stage) -> dict[str, Any]:
    steps, memory = _program(layout, stage)
    return {
        "name": lane.name,
        "batch": layout.batch,
        "dtype": layout.dtype,
        "steps": _rows(lane, layout, steps, memory),
        "values": {
            name: {"shape": list(slot.shape), "dtype": slot.dtype, "samples_last": slot.samples_last}
            for name, slot in steps.slots.items()
        },
        "rewrites": list(steps.notes),
        "memory": {"rooms": dict(memory.rooms), "pool": memory.pool},
    }


def _program(layout: Layout, stage: Stage) -> tuple[Steps, Memory]:
    """Return the steps of a stage, with the memory that they take."""
    if stage == "final":
        return layout.steps, layout.values
    steps = lower(layout.experiment)
    return steps, allocate(steps, layout.batch)


def _rows(lane: Experiment, layout: Layout, steps: Steps, memory: Memory) -> list[dict[str, Any]]:
    rows = [
        {
            "number": number,
            "op": step.op,
            "node": _name(lane, step),
            "line": _line(lane, steps, step),
            "reads": list(step.reads),
            "keeps": list(step.keeps),
            "writes": step.writes,
            "place": None if step.writes is None else memory.place_of[step.writes],
            "over": _over(step, memory),
            "saves": list(step.saves),
            "scratch": sum(memory.nbytes[name] for name in step.scratch),
            "bytes": sum(memory.nbytes[name] for name in (step.writes, *step.saves) if name is not None),
            "flops": _flops(steps, step, layout),
        }
        for number, step in enumerate(steps)
    ]
    vector = {"reads": ["gradients"], "writes": "parameters", "place": "parameters"}
    return [*rows[:-1], rows[-1] | vector | {"bytes": layout.trained_params * ITEMSIZE[layout.dtype]}]


def _alike(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    """Whether two lists of steps differ in nothing but the optimizer."""
    return one[:-1] == other[:-1]


def _name(lane: Experiment, step: Step) -> str:
    """Return the layer or part that a step belongs to, by its name in the spec."""
    if step.op == "metric":
        return lane.metrics[int(step.node.removeprefix("metric")) - 1].name
    return {"loss": lane.loss.name, "loss gradient": lane.loss.name, "update": lane.optimizer.name}.get(
        step.op, step.node
    )


def _line(lane: Experiment, steps: Steps, step: Step) -> str:
    """Return the file and line that a step comes from; empty if it does not come from the spec."""
    node = steps.nodes.get(step.node)
    if node is not None:
        span = node.span
    elif step.op in ("loss", "loss gradient"):
        span = lane.loss.origin.span
    elif step.op == "update":
        span = lane.optimizer.origin.span
    elif step.op == "metric":
        span = lane.metrics[int(step.node.removeprefix("metric")) - 1].origin.span
    else:
        return ""
    return f"{span.source.name}:{span.line}" if span.source.name else ""


def _over(step: Step, memory: Memory) -> bool:
    """Whether a step overwrites its input."""
    return (
        step.writes is not None and bool(step.reads) and memory.place_of[step.writes] == memory.place_of[step.reads[0]]
    )


def _flops(steps: Steps, step: Step, layout: Layout) -> int | None:
    """Return the FLOPs for a full batch, counting a multiply-add as 2.

    A backward step counts as much as the forward step for each gradient it computes: that of its input and those of the
    layer's parameters. None for steps whose cost is not declared.
    """
    node = steps.nodes.get(step.node)
    if node is None or step.op in ("split", "sum", "copy"):
        return None
    times = 1
    if step.op == "backward":
        skips = step.node in layout.frozen and layer_class(node).skips_frozen
        times = (step.writes is not None) + bool(node.geometry.parameters and not skips)
    if step.op in ("add", "concat"):
        inner = sum(child.geometry.flops for branch in node.branches for child in branch.layers)
        return layout.batch * (node.geometry.flops - inner)
    return layout.batch * times * node.geometry.flops


def _table(rows: Sequence[dict[str, Any]], width: int) -> Any:
    return table(
        [
            Column("#", [str(row["number"]) for row in rows], 0, right=True),
            Column("step", [row["op"] for row in rows], 0),
            Column("of", [row["node"] for row in rows], 1),
            Column("reads", [", ".join(row["reads"]) for row in rows], 2),
            Column("saved", [", ".join(row["keeps"]) for row in rows], 7),
            Column("writes", [row["writes"] or "" for row in rows], 2),
            Column("buffer", [_where(row) for row in rows], 3),
            Column("bytes", [f"{row['bytes']:,}" if row["bytes"] else "" for row in rows], 4, right=True),
            Column("FLOPs", ["" if row["flops"] is None else f"{row['flops']:,}" for row in rows], 5, right=True),
            Column("line", [row["line"] for row in rows], 6),
        ],
        width,
    )


def _where(row: dict[str, Any]) -> str:
    if row["place"] is None:
        return ""
    return f"over {row['reads'][0]}" if row["over"] else str(row["place"])


def _summary(layout: Layout, steps: Steps, memory: Memory) -> list[str]:
    given = ", ".join(
        f"{name} ({shape_in_words(slot.shape) or '1'} {slot.dtype})" for name, slot in steps.slots.items() if slot.given
    )
    buffers = ", ".join(f"{name} {size:,}" for name, size in memory.rooms.items())
    lines = [f"given with each batch of up to {layout.batch:,} samples: {given}"]
    lines.append(f"bytes of the buffers: {buffers or 'none'}; of work arrays within a step: {memory.pool:,}")
    lines += [f"rewrite: {note}" for note in steps.notes]
    return lines
