"""A tape: kernels and their words in memory, ready to run."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.native.library import load

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.native.recording import Instruction

__all__ = ["Batches", "Tape"]

_PROTOTYPE = ctypes.CFUNCTYPE(None, ctypes.c_int64)


class Tape:
    """Instructions with their machine code. `run` executes them in order, without the GIL.

    `arrays` are what the instructions point to: they live as long as the tape. Raises KeyError for kernels that have
    not been compiled.
    """

    def __init__(self, instructions: Sequence[Instruction], arrays: Iterable[NDArray[Any]]) -> None:
        self._arrays = [*arrays]
        self._parts: list[Tape] = []
        addresses = load(set().union(*(each.kernels for each in instructions)))
        self._words = np.array([word for each in instructions for word in self._words_of(each)], np.int64)
        self._pairs = np.empty((len(instructions), 2), np.int64)
        at = self._words.ctypes.data
        for pair, each in zip(self._pairs, instructions, strict=True):
            pair[:] = addresses[each.kernel], at
            at += 8 * len(each.words)
        self._call = np.array([self._pairs.ctypes.data, len(self._pairs)], np.int64)

    def _words_of(self, instruction: Instruction) -> tuple[int, ...]:
        if not instruction.parts:
            return instruction.words
        parts = [Tape(part, ()) for part in instruction.parts]
        self._parts += parts
        return (instruction.words[0], *(word for part in parts for word in part.pairs))

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def pairs(self) -> tuple[int, int]:
        """The address of the pairs of kernels and words, and their number."""
        return int(self._call[0]), int(self._call[1])

    def run(self) -> None:
        """Run the whole tape once."""
        _kernel("run")(self._call.ctypes.data)


class Batches:
    """Batches of one size, run in a single call: `before` computes the gradients, `after` updates the weights.

    `number` and `first` are cells that hold the index of the batch and its start in the order of samples; `loss` is the
    cell that `before` writes its loss to. It stops before the update of batch `last`, of a batch whose loss is not
    finite, and when `stop` is set.
    """

    def __init__(
        self,
        before: Tape,
        after: Tape,
        *,
        number: NDArray[Any],
        first: NDArray[Any],
        batch: int,
        loss: NDArray[Any],
        losses: NDArray[Any],
        stop: NDArray[Any],
        last: int,
    ) -> None:
        self._kept = (before, after, number, first, loss, losses, stop)
        cells = [each.ctypes.data for each in (number, first, loss, losses, stop)]
        self._words = np.array([*before.pairs, *after.pairs, *cells[:2], batch, *cells[2:], 0, 0, 0, last], np.int64)

    def run(self, start: int, end: int) -> int:
        """Run batches from `start` up to `end`; return the first whose update has not been done."""
        self._words[_START], self._words[_END] = start, end
        _kernel("batches")(self._words.ctypes.data)
        return int(self._words[_DONE])


_START, _END, _DONE = 10, 11, 12


@cache
def _kernel(name: str) -> Any:
    return _PROTOTYPE(load([name])[name])
