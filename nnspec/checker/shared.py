"""Values that the lanes of a spec share, computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from nnspec.checker.binding import Given
from nnspec.checker.evaluator import Evaluator
from nnspec.checker.program import Bound, Choice, LayerNode, PartValue
from nnspec.checker.tensor_names import Names
from nnspec.data.source import DataSource, Facts
from nnspec.data.weights import Weights, WeightsFacts
from nnspec.engine.initializers import Initializer
from nnspec.syntax import tree

__all__ = ["Changes", "Shared"]

Changes = Mapping[str, Mapping[str, Given]]
"""Arguments that override those in a model: layer, then argument."""


class Shared:
    """The data and models of all lanes, shared by lanes with the same expressions."""

    def __init__(
        self,
        facts: Callable[[PartValue[DataSource], DataSource], Facts],
        weights: Callable[[Weights], WeightsFacts] = Weights.facts,
    ) -> None:
        self.facts, self.weights = facts, weights
        """Describe a data source and a file of weights. Raise the same errors as their `facts`."""
        self._data: dict[object, tuple[Choice, ...] | None] = {}
        self._layers: dict[object, tuple[LayerNode, ...] | None] = {}
        self._started: dict[object, tuple[LayerNode, ...]] = {}
        self._names: dict[int, Names] = {}

    def data(
        self,
        given: Given,
        changes: Mapping[str, Given],
        evaluator: Evaluator,
        make: Callable[[], tuple[Choice, ...] | None],
    ) -> tuple[Choice, ...] | None:
        """Return the data that a setting names."""
        key = (id(given), _ids({"": changes}), _lets(evaluator))
        if key not in self._data:
            self._data[key] = make()
        return self._data[key]

    def layers(
        self,
        section: tree.Section,
        changes: Changes,
        evaluator: Evaluator,
        make: Callable[[], tuple[LayerNode, ...] | None],
    ) -> tuple[LayerNode, ...] | None:
        """Return the layers of a model, with the arguments of some of them changed."""
        data = tuple((choice.value.name, choice.facts) for choice in evaluator.data or ())
        key = (id(section), _ids(changes), _lets(evaluator), data)
        if key not in self._layers:
            self._layers[key] = make()
        return self._layers[key]

    def started(self, layers: tuple[LayerNode, ...], init: Bound) -> tuple[LayerNode, ...]:
        """Return layers, those that have no `init` of their own with this one."""
        key = (id(layers), init.value, init.origin)
        if key not in self._started:
            self._started[key] = tuple(_started(node, init) for node in layers)
        return self._started[key]

    def names(self, layers: tuple[LayerNode, ...], blocks: Iterable[str]) -> Names:
        """Return the scope of the names of layers and parameters in a model."""
        if id(layers) not in self._names:
            self._names[id(layers)] = Names(layers, blocks)
        return self._names[id(layers)]


def _started(node: LayerNode, init: Bound) -> LayerNode:
    """Return a layer, and those in it, with an initialiser unless they have one."""
    if node.branches:
        branches = (
            replace(branch, layers=tuple(_started(inner, init) for inner in branch.layers)) for branch in node.branches
        )
        return replace(node, branches=tuple(branches))
    argument = node.value.part.signature().get("init")
    if argument is None or Initializer.kind not in argument.kinds or "init" in node.value.arguments:
        return node
    return replace(node, value=replace(node.value, arguments={**node.value.arguments, "init": init}))


# Expressions are compared by identity: they live as long as the check does.


def _ids(changes: Changes) -> tuple[tuple[str, str, int], ...]:
    return tuple((name, word, id(given)) for name, each in changes.items() for word, given in each.items())


def _lets(evaluator: Evaluator) -> tuple[int, ...]:
    return tuple(map(id, evaluator.lets.values()))
