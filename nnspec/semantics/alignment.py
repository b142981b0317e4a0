"""Aligning two models: which layers were added, removed or changed.

A model is a sequence of marks: one for each layer, and marks that delimit the branches of a composition. Marks with the
same meaning are aligned by `difflib`. Between those, layers of the same kind, preferably with the same name, are taken
to be the same layer with other arguments. Names are not compared otherwise, since numbers follow from the order, and
labels do not affect results.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from nnspec.checker.program import LayerNode
from nnspec.engine.layers.composition import Composition
from nnspec.semantics.values import layer_arguments, meaning

__all__ = ["Mark", "align", "marks"]

_MOST = 40_000
"""Maximum number of pairs of equal marks to compare; if there are more, everything counts as replaced."""


@dataclass(frozen=True)
class Mark:
    """A layer, the start of a branch, or the end of a composition."""

    kind: tuple[str, str]
    """What it is: `("layer", "Linear")`, `("branch", "shortcut")`, `("end", "residual")`."""
    key: Hashable
    """Its meaning: equal for marks that mean the same."""
    name: str = field(compare=False)
    node: LayerNode = field(compare=False)


def marks(layers: Sequence[LayerNode]) -> list[Mark]:
    """Return a model as marks, in order."""
    found: list[Mark] = []
    waiting: list[LayerNode | Mark] = list(reversed(layers))
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mark):
            found.append(node)
            continue
        given = [(a.name, meaning(bound.value)) for a, bound in layer_arguments(node) if not a.inferred]
        kind = ("layer", node.value.name)
        found.append(Mark(kind, (kind, tuple(given)), node.name, node))
        waiting += reversed(list(_inside(node)))
    return found


def _inside(node: LayerNode) -> Iterator[LayerNode | Mark]:
    """Yield the contents of a composition. Names of branches only count if the branches have different roles."""
    part = node.value.part
    own = part.own_chain if issubclass(part, Composition) else ""
    for branch in node.branches:
        if branch.name != own:
            kind = ("branch", branch.name if own else "")
            yield Mark(kind, kind, f"{node.name}.{branch.name}", node)
        yield from branch.layers
    if node.branches:
        kind = ("end", node.value.name)
        yield Mark(kind, kind, node.name, node)


Pair = tuple[Mark | None, Mark | None]


def align(a: Sequence[Mark], b: Sequence[Mark]) -> Iterator[Pair]:
    """Yield the differences in order: pairs of a layer before and after, and marks without a partner."""
    start = 0
    while start < min(len(a), len(b)) and a[start].key == b[start].key:
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and a[-1 - end].key == b[-1 - end].key:
        end += 1
    yield from _middle(a[start : len(a) - end], b[start : len(b) - end])


def _middle(a: Sequence[Mark], b: Sequence[Mark]) -> Iterator[Pair]:
    ours, theirs = Counter(mark.key for mark in a), Counter(mark.key for mark in b)
    if sum(count * theirs[key] for key, count in ours.items()) <= _MOST:
        yield from _paired(a, b, [lambda mark: mark.key, lambda mark: (mark.kind, mark.name), lambda mark: mark.kind])
    else:
        yield from _paired(a, b, [])


def _paired(a: Sequence[Mark], b: Sequence[Mark], by: Sequence[Callable[[Mark], Hashable]]) -> Iterator[Pair]:
    """Pair marks that agree in the first key of `by`, and those in between by the next key; the rest has no partner."""
    if not by or not a or not b:
        yield from ((mark, None) for mark in a)
        yield from ((None, mark) for mark in b)
        return
    alike = SequenceMatcher(None, [by[0](mark) for mark in a], [by[0](mark) for mark in b], autojunk=False)
    for what, i, j, k, m in alike.get_opcodes():
        if what != "equal":
            yield from _paired(a[i:j], b[k:m], by[1:])
            continue
        yield from ((one, other) for one, other in zip(a[i:j], b[k:m], strict=True) if one.key != other.key)
