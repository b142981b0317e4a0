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
    from nnspec.native.relocation import Relocation

__all__ = ["Batches", "Tape"]

_PROTOTYPE = ctypes.CFUNCTYPE(None, ctypes.c_int64)


class Tape:
    """Instructions with their machine code. `run` executes them in order, without the GIL.

    `arrays` are what the instructions point to: they live as long as the tape. Raises KeyError for kernels that have
    not been compiled.
    """

    def __init__(self, instructions: Sequence[Instruction], arrays: Iterable[NDArray[Any]]) -> None:
        addresses = load(set().union(*(each.kernels for each in instructions)))
        words: list[int] = []
        starts: list[int] = []
        self._parts: dict[int, Tape] = {}
        """The tapes that an instruction selects from, by the index of the word with their address."""
        for each in instructions:
            starts.append(len(words))
            words += each.words[:1] if each.parts else each.words
            for part in each.parts:
                self._parts[len(words)] = tape = Tape(part, ())
                words += tape.pairs
        self._keep(
            np.array(words, np.int64), np.array(starts), [addresses[each.kernel] for each in instructions], arrays
        )

    def _keep(
        self, words: NDArray[np.int64], starts: NDArray[Any], kernels: Sequence[int], arrays: Iterable[NDArray[Any]]
    ) -> None:
        self._words, self._starts, self._kernels, self._arrays = words, starts, kernels, [*arrays]
        self._running = words.copy()  # kernels count runs in their words, also while this tape is being moved
        self._pairs = np.empty((len(starts), 2), np.int64)
        self._pairs[:, 0] = kernels
        self._pairs[:, 1] = self._running.ctypes.data + 8 * starts
        self._call = np.array([self._pairs.ctypes.data, len(self._pairs)], np.int64)

    def moved(self, relocation: Relocation) -> Tape:
        """Return the tape that does the same on other arrays."""
        words = relocation.words(self._words)
        tape = Tape.__new__(Tape)
        tape._parts = {place: part.moved(relocation) for place, part in self._parts.items()}
        for place, part in tape._parts.items():
            words[place : place + 2] = part.pairs
        tape._keep(words, self._starts, self._kernels, [new for _, new in relocation.arrays])
        return tape

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
