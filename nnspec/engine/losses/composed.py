"""The loss of a network as a sum of parts, each with a figure of its own: `kl_loss`, `digit_loss`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Layer, Shape
from nnspec.engine.losses.contract import Loss
from nnspec.engine.metrics.contract import Tally

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["LossWithTerms", "added_by", "layers_that_add", "with_terms"]


def layers_that_add(layers: Iterable[Layer]) -> list[Layer]:
    """Return the layers that add a term to the loss, also those within others."""
    return [inner for layer in layers for inner in layer.walk() if inner.adds]


def added_by(layers: Iterable[Layer]) -> float:
    """Return the sum of the terms that layers added in their last forward pass, each with its factor."""
    return sum(inner.times(inner.arguments()) * inner.added for inner in layers_that_add(layers))


def with_terms(loss: Loss, layers: Iterable[Layer]) -> Loss:
    """Return the loss with the terms that these layers add; the loss itself if they add none."""
    adding = layers_that_add(layers)
    return LossWithTerms(loss, adding) if adding else loss


class Parts(Loss):
    """Base of the losses that are sums of parts, each with a figure: the mean over all samples since `begin`."""

    _names: tuple[str, ...] = ()

    def _count(self, names: Iterable[str]) -> None:
        """Begin to count the parts with these figures."""
        self._names = tuple(dict.fromkeys(names))
        for name in self._names:
            setattr(self, f"_total_{name}", Tally())
            setattr(self, f"_weight_{name}", Tally())

    def _add(self, name: str, value: float, weight: float) -> None:
        """Add the value of a part in a batch, and the weight of that in the mean."""
        getattr(self, f"_total_{name}").add(np.multiply(value, weight))
        getattr(self, f"_weight_{name}").add(weight)

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the figures of its parts."""
        return self._names

    def begin(self) -> None:
        """Reset the figures."""
        for name in self._names:
            getattr(self, f"_total_{name}").clear()
            getattr(self, f"_weight_{name}").clear()

    def figures(self) -> tuple[float, ...]:
        """Return the figures of the parts, over all samples since `begin`."""
        return tuple(map(self._figure, self._names))

    def _figure(self, name: str) -> float:
        total, weight = getattr(self, f"_total_{name}").value, getattr(self, f"_weight_{name}").value
        return float(total / weight) if weight else math.nan


class LossWithTerms(Parts):
    """L = the loss of the outputs + Σ factor · term, with the terms of layers in the forward pass before.

    dL/d(outputs) is that of the loss of the outputs: each layer adds the gradient of its own term in its `backward`.
    `figures` are the means of the terms, without factors, over the batches since `begin`.
    """

    targets = "values"  # those of the loss of the outputs

    def __init__(self, loss: Loss, layers: Sequence[Layer]) -> None:
        self.loss, self.layers = loss, layers
        self._count(layer.adds for layer in layers)

    @classmethod
    def takes_weights(cls) -> bool:
        """Never: the terms of layers are means over all samples."""
        return False

    def learn(
        self, targets: NDArray[Any], outputs: Shape, classes: int | None, weights: NDArray[Any] | None = None
    ) -> Mapping[str, NDArray[Any]]:
        """What the loss of the outputs learns."""
        return self.loss.learn(targets, outputs, classes, weights)

    def recall(self, learned: Mapping[str, NDArray[Any]]) -> None:
        """Let the loss of the outputs use what it learned."""
        self.loss.recall(learned)

    def lend(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Lend work arrays to the loss of the outputs."""
        self.loss.lend(arrays)

    def weight(self, rows: int) -> float:
        """The weight of the loss of the outputs."""
        return self.loss.weight(rows)

    def forward(
        self,
        outputs: NDArray[Any],
        targets: ArrayLike,
        out: NDArray[Any] | None = None,
        weights: ArrayLike | None = None,
    ) -> float:
        """Return the loss of the outputs plus the terms of the layers, and count them for the figures."""
        rows = len(outputs)
        total: Any = self.loss.forward(outputs, targets, out)
        added: dict[str, Any] = {}
        for layer in self.layers:
            total = total + layer.times(layer.arguments()) * layer.added
            added[layer.adds] = added.get(layer.adds, 0.0) + layer.added
        for name, value in added.items():
            self._add(name, value, rows)
        return total

    def backward(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The gradient of the loss of the outputs."""
        return self.loss.backward(out)

    def sides(self) -> NDArray[Any] | None:
        """Those of the loss of the outputs."""
        return self.loss.sides()

    @property
    def made_of(self) -> tuple[object, ...]:
        """The loss of the outputs, what that is made of, and the layers."""
        return (self.loss, *self.loss.made_of, *self.layers)

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the figures of the loss of the outputs, and of the layers."""
        return (*self.loss.parts, *self._names)

    def begin(self) -> None:
        """Reset the figures."""
        self.loss.begin()
        super().begin()

    def figures(self) -> tuple[float, ...]:
        """Return the figures of the parts, over all samples since `begin`."""
        return (*self.loss.figures(), *super().figures())
