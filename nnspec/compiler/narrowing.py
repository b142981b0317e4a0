"""Training without the features that are always zero.

A pixel that is black in every training sample adds nothing to any output and gives its weights no gradient: of the
first 2,000 MNIST digits, 145 of 784 pixels. Training omits their columns of x and their rows of the first weight from
every product and from the optimizer's vector; apart from the order of summation, this is exact. Test samples may have
non-zero values there, so they use the whole weight.

For this, the rows of the weight are stored in the plan's vector in one of two orders: as in the network, or with the
inactive rows first, so that everything trained is the rest of the vector.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import INPUT, Experiment
from nnspec.checker.tensor_names import tensors
from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Layer
from nnspec.engine.parameter import Parameter, Segment

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Narrowing", "may_narrow"]


def may_narrow(experiment: Experiment) -> bool:
    """Whether features that are always zero have no effect in training."""
    first, optimizer = experiment.layers[0], experiment.optimizer
    train = experiment.train
    if train.prepares or train.target == "input" or train.penalties or train.constraint is not None:
        return False
    decays = {each.layer for each in tensors(experiment) if each.weight_decay} if experiment.by_name else set()
    if first.name in decays:
        return False
    nodes = [node for layer in experiment.layers for node in layer.walk()]
    if any(INPUT in node.reads or node.field or first.name in node.owners for node in nodes):
        return False
    return bool(first.value.part.rows_of) and len(first.incoming) == 1 and optimizer.part.rests(optimizer.values())


class Narrowing:
    """The first layer without the inactive rows of its weight.

    `alive` are the remaining features. The weight and its gradient must be the first part of contiguous vectors;
    `scratch` is an array of the size of the weight, used to reorder rows. `others` are arrays like the weight that are
    reordered with it: averages of it.
    """

    def __init__(
        self, layer: Layer, alive: NDArray[Any], scratch: NDArray[Any], others: Sequence[NDArray[Any]] = ()
    ) -> None:
        weight = layer.parameters()[layer.rows_of]
        features, width = weight.shape
        resting = np.ones(features, bool)
        resting[alive] = False
        at_rest = np.flatnonzero(resting)
        self._moved = (weight.data, *(array.reshape(weight.shape) for array in others))
        self._scratch = scratch.reshape(weight.shape)
        self._narrow = np.concatenate([at_rest, alive])
        self._wide = np.argsort(self._narrow)
        self.narrowed = False
        self._at_rest = len(at_rest)
        self.start = len(at_rest) * width
        """Where the trained part of the vectors begins."""
        # The same layer, with the same kernels and bias, over fewer rows.
        self.layer = copy.copy(layer)
        rows = Parameter.over(weight.data[len(at_rest) :], weight.grad[len(at_rest) :], decays=weight.decays)
        setattr(self.layer, layer.rows_of, rows)

    def narrowed_segments(self, segments: Iterable[Segment]) -> Iterator[Segment]:
        """Yield the tensors of a vector as they are arranged in its trained part, from `start` on."""
        first, *others = segments
        yield replace(first, shape=(first.shape[0] - self._at_rest, *first.shape[1:]))
        for segment in others:
            yield replace(segment, start=segment.start - self.start)

    def narrow(self, wanted: bool) -> None:
        """Put the rows of the weight into the order of training, or back into that of the network."""
        if wanted != self.narrowed:
            for rows in self._moved:
                rows.take(self._narrow if wanted else self._wide, axis=0, out=self._scratch, mode="clip")
                np.copyto(rows, self._scratch)
            self.narrowed = wanted
