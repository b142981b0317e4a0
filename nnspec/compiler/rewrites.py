"""The passes over a list of steps, as a table. Each returns legal steps, with a note of what it did.

Those in `REWRITES` depend only on the program. Two more need further information: `drop_dead_inputs`, which features of
the data are zero throughout, and `stack_lanes`, how many lanes are trained as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from nnspec.checker.program import LayerNode
from nnspec.compiler.lower import layer_class
from nnspec.compiler.steps import Slot, Step, Steps, Way
from nnspec.compiler.verify import verify
from nnspec.engine.layers.contract import Layer

__all__ = [
    "REWRITES",
    "Rewrite",
    "batch_invariant",
    "drop_dead_inputs",
    "has_stack",
    "keep_inputs",
    "rewritten",
    "stack_lanes",
]

_FORWARD = ("forward", "add", "concat")


@dataclass(frozen=True)
class Rewrite:
    """A pass: its name in printouts, and its function."""

    name: str
    apply: Callable[[Steps], Steps]


def rewritten(steps: Steps) -> Steps:
    """Apply all passes of the table to steps, verified before and after each pass that changes them."""
    verify(steps)
    for rewrite in REWRITES:
        before, steps = steps, rewrite.apply(steps)
        if steps is not before:
            verify(steps)
    return steps


def keep_inputs(steps: Steps) -> Steps:
    """Let no step write over the samples of a batch, so that it can be evaluated again."""
    given = {name for name, slot in steps.slots.items() if slot.given}
    return replace(steps, steps=tuple(replace(s, over=s.over and s.reads[0] not in given) for s in steps))


# ReLUs before pools


def absorb(steps: Steps) -> Steps:
    """Remove layers whose work can be done by the only reader of their output: a pool absorbs a ReLU.

    Applying max(x, 0) to the maximum of a window equals the maximum over max(x, 0), bit for bit and with the same
    gradients, and there are fewer maxima.
    """
    made_by = {step.writes: step for step in steps if step.op == "forward"}
    instead: dict[str, str] = {}
    absorbed: dict[str, str] = {}
    for step in steps:
        if step.op != "forward":
            continue
        before = made_by.get(step.reads[0])
        if before is None or before.node in absorbed or before.node in absorbed.values():
            continue
        part, behind = layer_class(steps.nodes[before.node]), layer_class(steps.nodes[step.node])
        only = [other for other in steps.readers[step.reads[0]] if other.node not in (step.node, before.node)]
        if part in behind.absorbs and not only:
            absorbed[before.node] = step.node
            instead[step.reads[0]] = before.reads[0]
    if not absorbed:
        return steps
    kept, gradients = [], {}
    for step in steps:
        if step.node in absorbed and step.op == "backward":
            gradients[step.reads[0]] = (
                step.writes
            )  # the pool returns the gradient that the layer before it would have returned
    for step in steps:
        if step.node in absorbed and step.op in ("forward", "backward"):
            continue
        writes = gradients.get(step.writes, step.writes) if step.writes is not None else None
        swap = tuple(instead.get(name, name) for name in step.reads), tuple(instead.get(n, n) for n in step.keeps)
        kept.append(replace(step, reads=swap[0], keeps=swap[1], writes=writes))
    gone = {*instead, *gradients}
    slots = {name: slot for name, slot in steps.slots.items() if name not in gone}
    done = ", ".join(f"{pool} includes {relu}" for relu, pool in absorbed.items())
    return replace(steps, steps=tuple(kept), slots=slots, absorbed=absorbed).noting(done)


# The order of axes in memory


def put_samples_last(steps: Steps) -> Steps:
    """Make samples the last axis in memory for values whose writer and readers prefer it.

    A row of a window is then one run of numbers. Only memory changes, not the shapes that kernels see.
    """
    wish = {step.writes: _wish(steps, step) for step in steps if step.op in _FORWARD}
    last: dict[str, bool] = {}
    for step in steps:
        if step.op in _FORWARD and step.writes is not None:
            keeps = wish[step.writes] == "keeps" and all(last.get(read, False) for read in step.reads)
            last[step.writes] = wish[step.writes] == "prefers" or keeps
    changed = any(last.values())
    while changed:
        changed = False
        for step in reversed(steps.steps):
            if step.op in _FORWARD and step.writes is not None:
                changed |= _settle(steps, step, wish, last)
            elif step.op in ("scale", "metric", "loss"):
                changed |= last.get(step.reads[0], False)
                last[step.reads[0]] = False
    flagged = [name for name, flag in last.items() if flag]
    if not flagged:
        return steps
    moved = {
        name: replace(slot, samples_last=True) for name, slot in steps.slots.items() if last.get(slot.of or name, False)
    }
    return steps.with_slots(moved).noting(f"samples last in memory: {', '.join(flagged)}")


def _settle(steps: Steps, step: Step, wish: Mapping[str | None, str], last: dict[str, bool]) -> bool:
    """Withdraw the wish of a step if its other side does not share it; return whether anything changed."""
    out = step.writes or ""
    before = [last.get(name, False) for name in (*step.reads, out)]
    # Arrays that are added, or that may share memory, must have the same axis order.
    alike = step.op != "forward" or (step.over and steps.readers[step.reads[0]] == (step,))
    if wish[out] == "no" or (alike and not last[out]):
        last.update(dict.fromkeys(step.reads, False))
    if wish[out] == "keeps" and not all(last.get(read, False) for read in step.reads):
        last[out] = False
    return before != [last.get(name, False) for name in (*step.reads, out)]


def _wish(steps: Steps, step: Step) -> str:
    """Return how a step handles arrays whose samples are the last axis in memory: see `Layer.batch_last`."""
    if step.op != "forward":
        return "keeps"
    if len(step.reads) > 1:
        return "no"
    node = steps.nodes[step.node]
    wish: str = layer_class(node).batch_last
    if wish == "rows":
        return "takes" if len(node.incoming) == 1 else "no"
    return wish


REWRITES = (Rewrite("absorb", absorb), Rewrite("samples last", put_samples_last))


# Using facts about the data


def drop_dead_inputs(steps: Steps, alive: int) -> Steps:
    """Let only `alive` features of a sample enter in training: all others are zero in every sample.

    They add nothing to any output, and their weights have no gradient.
    """
    x = steps.slots["x"]
    note = f"{x.shape[0] - alive} of {x.shape[0]} features are zero in all training samples and are skipped"
    return verify(steps.with_slots({"x": replace(x, shape=(alive,))}).noting(note))


# Lanes


def batch_invariant(node: LayerNode) -> bool:
    """Whether the samples of all lanes may form one batch."""
    part, geometry = layer_class(node), node.geometry
    noisy = part.accepts("rng")
    return (
        part.batch_invariant
        and part.declares("batch_invariant")
        and not (geometry.parameters or geometry.state or noisy or node.branches)
    )


def has_stack(node: LayerNode) -> bool:
    """Whether a layer's class has a kernel for all lanes at once."""
    part = layer_class(node)
    return next(base for base in part.__mro__ if "stack" in vars(base)) is not Layer and part.declares("stack")


def stack_lanes(steps: Steps, lanes: int, *, shared: bool) -> Steps:
    """Add a leading axis of lanes to every value, and choose for every step how it serves all of them.

    With `shared`, all lanes use the same samples: x and the targets have no such axis.
    """
    slots = {name: slot if slot.given and shared else replace(slot, lanes=lanes) for name, slot in steps.slots.items()}
    ways: dict[str, Way] = {name: _way(node) for name, node in steps.nodes.items()}
    found: list[Step] = []
    copies: dict[str, str] = {}
    for step in steps:
        way: Way = "lanes" if step.op in ("metric", "loss", "loss gradient", "gather", "update") else "once"
        if step.op in ("forward", "backward"):
            way = ways[step.node]
        whole = way == "batch" or (way == "once" and step.op in _FORWARD) or step.op == "loss"
        for name in dict.fromkeys(step.looks_at):
            if whole and steps.slots[name].given and name not in copies:
                copies[name] = f"{name} of all lanes"
                slots[copies[name]] = Slot(copies[name], steps.slots[name].shape, steps.slots[name].dtype, lanes=lanes)
                found.append(Step("copy", name, (name,), copies[name]))
        if whole:
            step = replace(
                step,
                reads=tuple(copies.get(name, name) for name in step.reads),
                keeps=tuple(copies.get(name, name) for name in step.keeps),
            )
        found.append(replace(step, way=way))
    note = f"{lanes} lanes, {'with the same samples' if shared else 'each with its own samples'}"
    return verify(replace(steps, steps=tuple(found), slots=slots).noting(note))


def _way(node: LayerNode) -> Way:
    if node.reads or node.owners:
        return "lanes"
    return "batch" if batch_invariant(node) else "stack" if has_stack(node) else "lanes"
