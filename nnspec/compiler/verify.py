"""The rules for a list of steps, and for the memory that its values are assigned.

`verify` runs before and after every rewrite: each value is written once, before it is read, and no input is written;
shapes agree with the layers' own geometry, and the terms of a sum with each other.

`verify_memory` is for tests, which replay allocations: no value that a later step uses is overwritten, either by a
value that shares its memory or by scratch.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import prod

from nnspec.compiler.allocate import Memory
from nnspec.compiler.steps import Slot, Step, Steps

__all__ = ["IllegalSteps", "verified", "verify", "verify_memory"]


class IllegalSteps(RuntimeError):
    """A list of steps that breaks a rule: a fault of a rewrite, not of a spec. The text names the step and the rule."""


def verify(steps: Steps) -> Steps:
    """Return legal steps unchanged. Raises IllegalSteps for the first step that breaks a rule."""
    written = {name for name, slot in steps.slots.items() if slot.given}
    for number, step in enumerate(steps):
        for problem in _problems(steps, step, written):
            raise IllegalSteps(f"step {number}, {step.op} of {step.node}: {problem}")
        written |= {*step.results, *step.saves}
    return steps


def _problems(steps: Steps, step: Step, written: set[str]) -> Iterator[str]:
    names = (*step.looks_at, *step.saves, *step.scratch, *step.results)
    yield from (f"{name} is not a slot" for name in names if name not in steps.slots)
    yield from (f"{name} is read before it is written" for name in step.looks_at if name not in written)
    yield from (f"{name} is written twice" for name in (*step.results, *step.saves) if name in written)
    shapes = [steps.slots[name].shape for name in step.reads if name in steps.slots]
    if step.writes in steps.slots and step.writes is not None:
        yield from _shapes(steps, step, shapes, steps.slots[step.writes])
    if step.over and not step.reads:
        yield "it writes over what it reads, and reads nothing"


def _shapes(steps: Steps, step: Step, shapes: list[tuple[int, ...]], out: Slot) -> Iterator[str]:
    node = steps.nodes.get(step.node)
    if step.op in ("forward", "backward") and node is not None:
        wanted = node.incoming, node.geometry.out
        if step.op == "backward":
            wanted = wanted[1], wanted[0]
        if node.branches:  # the kernel of a composition reads the outputs of its branches
            wanted = (shapes[0], wanted[1]) if step.op == "forward" else (wanted[0], out.shape)
        found = shapes[0], out.shape
        # The first layer may take fewer features than it has: those that are not zero throughout.
        narrowed = step.reads == ("x",) and found[1] == wanted[1] and found[0] < wanted[0]
        if found != wanted and not narrowed:
            yield f"it takes {wanted[0]} to {wanted[1]}, and is given {found[0]} and {found[1]}"
    elif step.op in ("add", "sum", "loss gradient") and any(shape != out.shape for shape in shapes):
        yield f"it adds arrays of different shapes: {shapes} and {out.shape}"
    elif step.op == "concat" and sum(map(prod, shapes)) != prod(out.shape):
        yield f"it joins {shapes} to {out.shape}"


def verified(steps: Steps, memory: Memory) -> Memory:
    """Return the memory of steps unchanged if no step destroys what a later one uses. Raises IllegalSteps."""
    verify_memory(steps, memory)
    return memory


def verify_memory(steps: Steps, memory: Memory) -> None:
    """Check that no step destroys what a later one uses. Raises IllegalSteps."""
    last: dict[str, int] = {}
    for number, step in enumerate(steps):
        for name in (*step.looks_at, *step.saves, *step.results):
            last[name] = number
    holders: dict[object, str] = {memory.place_of[name]: name for name, slot in steps.slots.items() if slot.given}
    for number, step in enumerate(steps):
        for name in step.looks_at:
            if holders.get(memory.place_of[name]) != name:
                raise IllegalSteps(f"step {number}, {step.op} of {step.node}: {name} was overwritten")
        for name in (*step.saves, *step.results):
            place = memory.place_of[name]
            before = holders.get(place)
            if (
                before is not None
                and before != name
                and last[before] >= number
                and not _may_replace(step, before, name)
            ):
                raise IllegalSteps(f"step {number}, {step.op} of {step.node}: {name} is written over {before}")
            holders[place] = name
        _scratch_apart(number, step, steps, memory)


def _may_replace(step: Step, before: str, name: str) -> bool:
    """Whether a step declares that it may overwrite its first input."""
    return step.over and name == step.writes and before == step.reads[0] and before not in step.keeps


def _scratch_apart(number: int, step: Step, steps: Steps, memory: Memory) -> None:
    spans = sorted((memory.scratch_at[name], memory.scratch_at[name] + memory.nbytes[name]) for name in step.scratch)
    for (_, end), (start, _) in pairwise(spans):
        if start < end:
            raise IllegalSteps(f"step {number}, {step.op} of {step.node}: its work arrays overlap")
    if spans and spans[-1][1] > memory.pool:
        raise IllegalSteps(f"step {number}, {step.op} of {step.node}: its work arrays do not fit the pool")
