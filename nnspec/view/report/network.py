"""A drawing of a network: a block a layer, from the data on the left to the outputs on the right."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from math import prod

from nnspec.checker.program import Experiment, LayerNode
from nnspec.engine.layers.contract import Layer, shape_in_words
from nnspec.view.report.html import escape

__all__ = ["network_drawing"]

_BLOCK, _GAP, _HEIGHT, _ROW = 118, 30, 54, 18
_A_ROW = 7
_HUES = {"linear": "block linear", "activation": "block bend", "norm": "block norm", "noise": "block noise"}
_numbers = count()


def network_drawing(experiment: Experiment) -> str:
    """Return the layers of an experiment as SVG, at most seven in a row; branches of compositions stand in words."""
    blocks = [("data", shape_in_words(experiment.layers[0].incoming), "", "block data")]
    blocks += [_block(node) for node in experiment.layers]
    blocks.append((str(experiment.loss.name), "loss", "", "block data"))
    rows = [blocks[i : i + _A_ROW] for i in range(0, len(blocks), _A_ROW)]
    lines = max(len(_inner(node)) for node in experiment.layers)
    tall = _HEIGHT + _ROW * lines
    width = max(len(row) for row in rows) * (_BLOCK + _GAP) - _GAP + 20
    height = len(rows) * (tall + 34) + 8
    number = next(_numbers)
    told = f"{len(experiment.layers)} layers: {experiment.shapes}"
    parts = [
        f'<svg class="network" style="max-width:{width}px" viewBox="0 0 {width} {height}" role="img" '
        f'aria-labelledby="network{number}"><title id="network{number}">{escape(told)}</title>'
    ]
    nodes: list[LayerNode | None] = [None, *experiment.layers, None]
    for place, (name, shape, size, kind) in enumerate(blocks):
        column, row = place % _A_ROW, place // _A_ROW
        left, top = 10 + column * (_BLOCK + _GAP), 8 + row * (tall + 34)
        if column:
            middle = top + _HEIGHT / 2
            parts.append(f'<path class="wire" d="M{left - _GAP + 2} {middle}h{_GAP - 8}m-5 -4l5 4l-5 4"/>')
        elif row:
            parts.append(f'<text class="tick" x="{left}" y="{top - 8}">↳ goes on</text>')
        inside = _inner(nodes[place])
        box = _HEIGHT + _ROW * len(inside)
        parts.append(f'<rect class="{kind}" x="{left}" y="{top}" width="{_BLOCK}" height="{box}" rx="7"/>')
        for i, (text, style) in enumerate(((name, "name"), (shape, "tick"), (size, "tick"))):
            if text:
                parts.append(
                    f'<text class="{style}" x="{left + _BLOCK / 2}" y="{top + 17 + 15 * i}" text-anchor="middle">'
                    f"{escape(_short(text))}</text>"
                )
        for i, text in enumerate(inside):
            parts.append(
                f'<text class="tick" x="{left + 8}" y="{top + _HEIGHT + 8 + _ROW * i}">{escape(_short(text))}'
                f"<title>{escape(text)}</title></text>"
            )
    return "\n".join([*parts, "</svg>"])


def _block(node: LayerNode) -> tuple[str, str, str, str]:
    part = node.value.part
    assert issubclass(part, Layer)
    size = sum(prod(shape) for shape in node.geometry.parameters.values())
    shape = f"→ {shape_in_words(node.geometry.out)}"
    return node.name, shape, f"{size:,} weights" if size else "", _HUES.get(part.family, "block")


def _inner(node: LayerNode | None) -> Sequence[str]:
    """What a composition is made of: a line a branch."""
    if node is None:
        return ()
    return [
        f"{branch.name}: {' · '.join(inner.value.name for inner in branch.layers) or '='}" for branch in node.branches
    ]


def _short(text: str) -> str:
    return text if len(text) <= 18 else f"{text[:17]}…"
