"""Evaluating a batch again, with other weights: the same function of the weights every time.

Some steps need the loss and its gradient at several points: `sam` at two, `LBFGS` wherever its line search looks. What
else a batch changes is taken back before each further evaluation, and afterwards is as the first one left it:

    random numbers         every evaluation draws the same: a dropout mask belongs to the batch
    running statistics     follow the batch once, as evaluated first
    carried states         the batch starts from those of the batch before, and passes on those of its first evaluation
    metrics                count the first evaluation

So a line search looks along one fixed function.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import Experiment
from nnspec.engine._numpy import np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Repeatable", "is_repeated"]


def is_repeated(experiment: Experiment) -> bool:
    """Whether a step evaluates its batch several times."""
    return experiment.train.sharpness is not None or experiment.optimizer.part.evaluates


class Repeatable:
    """The batch of a plan, to be evaluated several times.

    `arrays` are those that an evaluation changes, and `copies` two of each, to keep them in.
    """

    def __init__(
        self, generators: Sequence[Generator], arrays: Sequence[NDArray[Any]], copies: Sequence[NDArray[Any]]
    ) -> None:
        self._generators, self._arrays, self._copies = generators, arrays, copies
        self._states: list[Any] = []
        self._evaluations, self._started = 0, 0
        self.nanoseconds = 0
        """The duration of all further evaluations."""

    def first(self) -> None:
        """Begin a batch, before its first evaluation."""
        self._states = [rng.bit_generator.state for rng in self._generators]
        for array, (before, _) in self._kept():
            np.copyto(before, array)
        self._evaluations += 1

    def begin_again(self) -> None:
        """Begin a further evaluation."""
        self._started = time.perf_counter_ns()
        for rng, state in zip(self._generators, self._states, strict=True):
            rng.bit_generator.state = state
        for array, (before, after) in self._kept():
            np.copyto(after, array)
            np.copyto(array, before)
        self._evaluations += 1

    def end_again(self) -> None:
        """End a further evaluation."""
        for array, (_, after) in self._kept():
            np.copyto(array, after)
        self.nanoseconds += time.perf_counter_ns() - self._started

    def counted(self) -> float:
        """Return the number of evaluations since the last call."""
        count, self._evaluations = self._evaluations, 0
        return float(count)

    def _kept(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        return zip(self._arrays, self._copies, strict=True)
