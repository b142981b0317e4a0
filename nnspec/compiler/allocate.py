"""Assign memory to values by their lifetimes: the only place where buffers are reused.

A value lives from the step that writes it to the last step that uses it. It is written in place, over the first input
of its step, if the step allows that, if the input is not used again, and if both have the same layout; otherwise into
the best-fitting free room, which is enlarged if all free rooms are too small; otherwise into a new room. Work arrays
that live within one call are packed into a pool shared by all calls. All of this is arithmetic on sizes.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, insort
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from nnspec.compiler.steps import Slot, Step, Steps

__all__ = ["ALIGNMENT", "ITEMSIZE", "Memory", "allocate"]

ALIGNMENT = 64
"""The alignment of arrays, in bytes."""
ITEMSIZE = {"float32": 4, "float64": 8, "bool": 1, "intp": struct.calcsize("n")}
ITEMSIZE |= {f"{kind}{8 * size}": size for kind in ("int", "uint") for size in (1, 2, 4, 8)}
"""Bytes per number, for buffers and for data of any type that a source may store."""


@dataclass(frozen=True)
class Memory:
    """The memory of each value of a program: a room, an input array, or the pool."""

    place_of: Mapping[str, str]
    """The room or input array whose memory each value uses."""
    rooms: Mapping[str, int]
    """Bytes of each room."""
    scratch_at: Mapping[str, int]
    """Offset in the pool of each work array of a single call, in bytes."""
    pool: int
    """Bytes of the pool."""
    nbytes: Mapping[str, int]
    """Bytes of each value, for a full batch."""

    @property
    def total(self) -> int:
        """Bytes of all rooms and the pool."""
        return sum(self.rooms.values()) + self.pool


def allocate(steps: Steps, batch: int) -> Memory:
    """Assign memory to every value of a program, for batches of at most `batch` samples."""
    nbytes = {name: batch * slot.numbers * ITEMSIZE[slot.dtype] for name, slot in steps.slots.items()}
    last: dict[str, int] = {}
    for number, step in enumerate(steps):
        for name in (*step.looks_at, *_written(step)):
            last[name] = number
    ending: dict[int, list[str]] = {}
    for name, number in last.items():
        ending.setdefault(number, []).append(name)
    rooms = _Rooms()
    place_of = {name: name for name, slot in steps.slots.items() if slot.given}
    holder = dict(place_of)  # the value that each place currently holds
    for number, step in enumerate(steps):
        for name in _written(step):
            place = _over(step, name, steps.slots, last, number, nbytes, place_of) or rooms.take(_aligned(nbytes[name]))
            place_of[name], holder[place] = place, name
        for name in ending.get(number, ()):
            place = place_of[name]
            if holder[place] == name and place in rooms.sizes:
                rooms.leave(place)
    scratch_at, pool = _pool(steps, nbytes)
    return Memory(place_of, rooms.sizes, scratch_at, pool, nbytes)


def _aligned(nbytes: int) -> int:
    """Round up, so that memory can be viewed as numbers of any size."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _written(step: Step) -> tuple[str, ...]:
    return (*step.results, *step.saves)


def _over(
    step: Step,
    name: str,
    slots: Mapping[str, Slot],
    last: Mapping[str, int],
    number: int,
    nbytes: Mapping[str, int],
    place_of: Mapping[str, str],
) -> str | None:
    """Return the memory of a step's first input if its result can be written in place."""
    if not step.over or name != step.writes:
        return None
    first = step.reads[0]
    lies_alike = slots[first].samples_last == slots[name].samples_last or 1 in (prod(slots[first].shape), 0)
    fits = nbytes[first] == nbytes[name] and slots[first].dtype == slots[name].dtype and lies_alike
    kept = first in step.keeps or first in step.reads[1:] or last[first] > number
    # Inputs with a lane axis are not contiguous if a batch is not full.
    return place_of[first] if fits and not kept and not (slots[first].given and slots[first].lanes) else None


class _Rooms:
    """Rooms of memory: taken, released, reused, and enlarged if that saves a new one."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self._free: list[tuple[int, str]] = []

    def take(self, nbytes: int) -> str:
        """Return the smallest free room that is large enough, or the largest one after enlarging it, or a new one."""
        if self._free:
            at = min(bisect_left(self._free, (nbytes, "")), len(self._free) - 1)
            size, room = self._free.pop(at)
            self.sizes[room] = max(size, nbytes)
            return room
        room = f"buffer{len(self.sizes)}"
        self.sizes[room] = nbytes
        return room

    def leave(self, room: str) -> None:
        """Release a room for later values."""
        insort(self._free, (self.sizes[room], room))


def _pool(steps: Steps, nbytes: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """Pack the work arrays of each call; all calls share the same memory."""
    at: dict[str, int] = {}
    pool = 0
    for step in steps:
        end = 0
        for name in step.scratch:
            at[name] = end
            end += _aligned(nbytes[name])
        pool = max(pool, end)
    return at, pool
