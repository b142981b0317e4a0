"""A drawing of a network: a block per layer, from the data on the left to the loss on the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from nnspec.checker.program import Experiment, LayerNode
from nnspec.engine.layers.contract import Layer, shape_in_words

__all__ = ["LayerBlock", "NetworkDrawing", "network_drawing"]

_WIDTH, _GAP, _HEIGHT, _LINE = 118, 30, 54, 18
_ROW_GAP = 34
_PER_ROW = 7
_FAMILIES = {"linear", "activation", "norm", "noise"}
"""Families of layers that the style sheet has a colour for."""


@dataclass(frozen=True)
class LayerBlock:
    """A layer with its place in the drawing."""

    name: str
    shape: str
    size: str
    style: str
    """The family of the layer, or `data`."""
    branches: Sequence[str]
    left: int
    top: int
    wire: str
    """Where the data comes from: `left`, the `row` above, or nowhere."""

    @property
    def height(self) -> int:
        """Height of its box, which has a line for each branch."""
        return _HEIGHT + _LINE * len(self.branches)

    @property
    def captions(self) -> list[tuple[int, str, str]]:
        """The lines in the box: y, style, text."""
        lines = (("name", self.name), ("tick", self.shape), ("tick", self.size))
        return [(self.top + 17 + 15 * i, style, text) for i, (style, text) in enumerate(lines) if text]

    @property
    def branch_lines(self) -> list[tuple[int, str]]:
        """The lines of the branches: y, text."""
        return [(self.top + _HEIGHT + 8 + _LINE * i, text) for i, text in enumerate(self.branches)]


@dataclass(frozen=True)
class NetworkDrawing:
    """The blocks of a network, in rows."""

    title: str
    width: int
    height: int
    blocks: Sequence[LayerBlock]
    block_width: ClassVar[int] = _WIDTH
    block_height: ClassVar[int] = _HEIGHT
    gap: ClassVar[int] = _GAP
    kind: ClassVar[str] = "network"


def network_drawing(experiment: Experiment) -> NetworkDrawing:
    """Return the drawing of an experiment's layers, seven in a row. A composition lists its branches in words."""
    texts: list[tuple[str, str, str, str, list[str]]] = [
        ("data", shape_in_words(experiment.layers[0].incoming), "", "data", []),
        *(_texts(node) for node in experiment.layers),
        (experiment.loss.name, "loss", "", "data", []),
    ]
    row_height = _HEIGHT + _ROW_GAP + _LINE * max(len(branches) for *_, branches in texts)
    blocks = []
    for i, (name, shape, size, style, branches) in enumerate(texts):
        row, column = divmod(i, _PER_ROW)
        wire = "left" if column else "row" if row else ""
        place = 10 + column * (_WIDTH + _GAP), 8 + row * row_height
        blocks.append(LayerBlock(name, shape, size, style, branches, *place, wire))
    return NetworkDrawing(
        f"{len(experiment.layers)} layers: {experiment.shapes}",
        min(len(texts), _PER_ROW) * (_WIDTH + _GAP) - _GAP + 20,
        -(-len(texts) // _PER_ROW) * row_height + 8,
        blocks,
    )


def _texts(node: LayerNode) -> tuple[str, str, str, str, list[str]]:
    part = node.value.part
    family = part.family if issubclass(part, Layer) and part.family in _FAMILIES else "layer"
    weights = sum(map(prod, node.geometry.parameters.values()))
    branches = [f"{each.name}: {' · '.join(node.value.name for node in each.layers) or '='}" for each in node.branches]
    return (
        node.name,
        f"→ {shape_in_words(node.geometry.out)}",
        f"{weights:,} weights" if weights else "",
        family,
        branches,
    )
