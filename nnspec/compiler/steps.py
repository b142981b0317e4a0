"""A training step as a program: steps over named values, plain data before any array exists.

    lower       the layers of an experiment, its loss and the backward pass, as a list of steps (lower.py)
    rewrite     a table of passes, each from steps to steps, verified in between                (rewrites.py, verify.py)
    allocate    memory for each value, by its lifetime                                          (allocate.py)
    bind        NumPy calls on views of that memory, for batches of one size                    (bind.py)

Every value is written by exactly one step (or is an input), so its name identifies it: `Linear1` is the output of the
layer `Linear1`, `∂Linear1` the gradient of the loss with respect to it. Steps do not say whether two values share
memory; `allocate` decides that from what is read later.

**Order of summation.** If a value is read by several steps, its gradient is the sum of their contributions, from the
first reader in the program to the last: ((g₁ + g₂) + g₃) + …, however the program is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import Literal

from nnspec.checker.program import LayerNode
from nnspec.engine.layers.contract import Shape

__all__ = ["Op", "Slot", "Step", "Steps", "Way"]

Op = Literal[
    "copy",
    "forward",
    "add",
    "concat",
    "scale",
    "metric",
    "loss",
    "loss gradient",
    "backward",
    "sum",
    "split",
    "gather",
    "update",
]
Way = Literal["once", "batch", "stack", "lanes"]
"""How a step serves several lanes: `once`, on arrays that hold all of them; `batch`, with the samples of all lanes as
one batch; `stack`, with a kernel that has a lane axis; `lanes`, lane by lane.
"""


@dataclass(frozen=True)
class Slot:
    """A named array of a batch: `(B, *shape)`, or `(L, B, *shape)` with a leading axis of L lanes."""

    name: str
    shape: Shape
    dtype: str
    given: bool = False
    """Whether it is an input, loaded batch by batch."""
    of: str = ""
    """For a gradient, the value that it belongs to, which has the same axis order in memory."""
    lanes: int = 0
    samples_last: bool = False
    """Whether the samples are the last axis in memory."""

    @property
    def numbers(self) -> int:
        """The number of numbers per sample, over all lanes."""
        return max(1, self.lanes) * prod(self.shape)


@dataclass(frozen=True)
class Step:
    """A call of one kernel: what it reads and what it writes."""

    op: Op
    node: str
    """The layer's full name, such as `residual1.Linear1`; the name of the loss, metric or optimizer."""
    reads: tuple[str, ...]
    writes: str | None = None
    """None if no value of a batch's size is written: by metrics, and before the first trained layer, where no gradient
    is needed.
    """
    also: tuple[str, ...] = ()
    """Further values that it writes: the gradients of the further values that its layer reads."""
    keeps: tuple[str, ...] = ()
    """Earlier values that it reads again."""
    saves: tuple[str, ...] = ()
    """Arrays that it fills for a later step of its node, which `keeps` them."""
    scratch: tuple[str, ...] = ()
    """Work arrays; their contents before and after the step do not matter."""
    over: bool = False
    """Whether it may overwrite the first value that it reads."""
    uses: tuple[str, ...] = ()
    """For a `gather`, the layers that use parameters of its node: their gradients are added to its own, in order."""
    part: tuple[int, int] | None = None
    """For a `split`, the range on the joined axis."""
    way: Way = "once"

    @property
    def looks_at(self) -> tuple[str, ...]:
        """All values that it uses."""
        return (*self.reads, *self.keeps)

    @property
    def results(self) -> tuple[str, ...]:
        """All values of a batch's size that it writes, apart from what it saves."""
        return (*([] if self.writes is None else [self.writes]), *self.also)


@dataclass(frozen=True)
class Steps:
    """The program of one training step, in execution order."""

    steps: tuple[Step, ...]
    slots: Mapping[str, Slot]
    nodes: Mapping[str, LayerNode] = field(default_factory=lambda: MappingProxyType({}))
    """All layers and compositions, also those within compositions, by full name."""
    absorbed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Layers that need not run, and the layer that does the work of each."""
    notes: tuple[str, ...] = ()
    """What each rewrite did."""

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    @cached_property
    def readers(self) -> Mapping[str, tuple[Step, ...]]:
        """The steps that use each value, in order."""
        found: dict[str, list[Step]] = {}
        for step in self.steps:
            for name in dict.fromkeys(step.looks_at):
                found.setdefault(name, []).append(step)
        return {name: tuple(steps) for name, steps in found.items()}

    @cached_property
    def work_of(self) -> Mapping[str, tuple[tuple[str, Slot], ...]]:
        """The work arrays of each layer, loss and metric, by the names used in its class."""
        found: dict[str, list[tuple[str, Slot]]] = {}
        for step in self.steps:
            for slot in (*step.saves, *step.scratch):
                node, _, name = slot.rpartition("/")
                if (name, self.slots[slot]) not in found.setdefault(node, []):
                    found[node].append((name, self.slots[slot]))
        return {node: tuple(arrays) for node, arrays in found.items()}

    def with_slots(self, changed: Mapping[str, Slot]) -> Steps:
        """Return the program with the slots of these names replaced."""
        return replace(self, slots={**self.slots, **changed})

    def noting(self, note: str) -> Steps:
        """Return the program with one more note."""
        return replace(self, notes=(*self.notes, note))
