"""Helpers for several rules."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nnspec.checker.program import LayerNode
from nnspec.checker.rules.subjects import Chain
from nnspec.diagnostics import Edit, Fix, Span
from nnspec.engine.layers.contract import Layer

__all__ = ["chains", "layer_of", "number_in_words", "with_argument"]


def layer_of(node: LayerNode) -> type[Layer]:
    """Return the class of a layer."""
    return node.value.part


def chains(layers: Chain) -> Iterator[Chain]:
    """Yield a model, then every branch in it."""
    waiting = [layers]
    while waiting:
        chain = waiting.pop()
        yield chain
        waiting += [branch.layers for node in chain for branch in node.branches]


def with_argument(node: LayerNode, argument: str, title: str) -> Fix | None:
    """Return the fix that adds an argument to a layer, if it can be inserted into its text."""
    word, _, value = argument.partition("=")
    given, text = node.value.arguments.get(word), node.span.text
    if given is not None:
        bare = re.fullmatch(r"\w+", given.origin.span.text) is not None and given.origin.span.source is node.span.source
        return Fix(title, (Edit(given.origin.span, value),)) if bare else None
    if not text.endswith(")") or not text.startswith(f"{node.value.name}("):
        return None
    end = node.span.end - 1
    return Fix(title, (Edit(Span(node.span.source, end, end), f", {argument}"),))


def number_in_words(number: float) -> str:
    """Format a number as in a spec: `1e-6`."""
    return f"{number:g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
