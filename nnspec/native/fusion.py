"""Fusion: consecutive instructions merged into a single pass over memory. The results are identical."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnspec.native.loops import inner_loop
from nnspec.native.recording import Instruction
from nnspec.native.words import BASE, DIMS, RANK, STEPS

__all__ = ["fused"]


def fused(instructions: Sequence[Instruction]) -> list[Instruction]:
    """Return the instructions with consecutive ones fused where possible."""
    found: list[Instruction] = []
    for each in instructions:
        found.append(each)
        if len(found) >= 3:
            for place in range(len(found) - 3, max(-1, len(found) - 6), -1):  # labels may be taken in between
                joined = _gather(found[place], *found[-2:])
                if joined is not None:
                    found[place:] = [joined, *found[place + 1 : -2]]
                    break
    return found


def _gather(take: Instruction, cast: Instruction, scale: Instruction) -> Instruction | None:
    """Fuse the three steps that turn bytes into a batch: take rows, cast, and multiply by a factor.

    The buffer that the rows are taken into is read only by the cast.
    """
    kind = {"copy.u1.f4": "f4", "copy.u1.f8": "f8"}.get(cast.kernel)
    if take.kernel != "take" or kind is None or scale.kernel != "loop":
        return None
    source, index, start, count, width, rows, stored = take.words[:7]
    size, numbers = np.dtype(kind).itemsize, count * width
    x, factor = cast.words[BASE], scale.words[BASE + 1]
    function = inner_loop(np.multiply, (np.dtype(kind),) * 3)
    fits = (
        cast.words[RANK] == scale.words[RANK] == 0
        and cast.words[DIMS] == scale.words[DIMS] == numbers
        and cast.words[BASE + 1] == stored
        and cast.words[STEPS : STEPS + 2] == (size, 1)
        and scale.words[:2] == function
        and scale.words[STEPS : STEPS + 3] == (size, 0, size)
        and scale.words[BASE] == scale.words[BASE + 2] == x
    )
    return Instruction(f"gather.{kind}", (source, index, start, count, width, rows, x, factor)) if fits else None
