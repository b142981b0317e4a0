"""Which lanes make a stack, and how wide: see `loop.py`."""

from __future__ import annotations

from dataclasses import fields

from nnspec.checker.program import Experiment, LayerNode, TrainSettings
from nnspec.checker.tensor_names import frozen_layers, tensors
from nnspec.compiler.layout import Layout
from nnspec.compiler.rewrites import batch_invariant, has_stack
from nnspec.engine.part import comparable
from nnspec.engine.validation import Fold

__all__ = ["MOST_BYTES", "kin", "widest"]

MOST_BYTES = 6 * 1024**2
"""What the numbers of a stack may take that are touched in every step. Beyond, the lanes push each other out of the
processor's caches, and stacking them is slower than it need be."""

TOUCHED = ("parameters", "gradients", "values")
FREE = {"epochs", "early_stop", "clip_norm", "clip_value", "penalty", "constraint", "repeats", "freeze"}
"""Settings of `train` that a stack's lanes may differ in, because each lane heeds its own."""
COMMON = {"batch", "shuffle", "drop_last", "validation", "stratify", "target", "standardise", "augment"}
"""Settings that they have in common. A lane that uses any other is trained alone."""


def widest(layout: Layout) -> int:
    """Return how many lanes of this layout make the widest stack that is worth its while; 1 where none is."""
    nodes = [layout.steps.nodes[step.node] for step in layout.steps if step.op == "forward"]
    if not any(batch_invariant(node) or has_stack(node) for node in nodes):
        return 1
    if any(slot.samples_last for slot in layout.steps.slots.values()):
        return 1  # convolutions, say: as fast alone, in an order of memory that a stack does not have
    groups = layout.groups()
    return max(1, MOST_BYTES // sum(groups.get(name, 0) for name in TOUCHED))


def kin(experiment: Experiment) -> object:
    """Return what lanes must have in common to be stacked; None for a lane that cannot be."""
    train, usual = experiment.train, TrainSettings()
    for field in fields(train):
        if field.name not in FREE | COMMON and getattr(train, field.name) != getattr(usual, field.name):
            return None
    return (
        experiment.dtype,
        tuple((choice.value.name, comparable(choice.value.values())) for choice in experiment.data),
        tuple(_form(node) for node in experiment.layers),
        _frozen(experiment),
        (experiment.loss.name, comparable(experiment.loss.values())),
        tuple((metric.name, comparable(metric.values())) for metric in experiment.metrics),
        tuple(comparable(getattr(train, name)) for name in sorted(COMMON - {"validation"})),
        _held_out(experiment),
    )


def _held_out(experiment: Experiment) -> object:
    """The rule by which samples are held out; of folds, how many, since each lane of a stack has its own."""
    train, rule = experiment.train, experiment.train.validation
    if not isinstance(rule, Fold):
        return comparable(rule)
    sizes = tuple(train.held_out(choice.facts.train, choice.facts.validation) for choice in experiment.data)
    return comparable(rule.of), sizes


def _frozen(experiment: Experiment) -> object:
    """Which layers are frozen, by their places: their gradients are in no step of the lane's program."""
    frozen = frozen_layers(tensors(experiment)) if experiment.train.freeze else frozenset()
    inner = (node for layer in experiment.layers for node in layer.walk())
    return tuple(place for place, node in enumerate(inner) if node.name in frozen)


def _form(node: LayerNode) -> object:
    """What two layers must have in common to stand in one place of a stack; initialisers may differ, for instance."""
    shapes = tuple(node.geometry.parameters.items())
    arguments = comparable(node.arguments()) if batch_invariant(node) else ()
    inside = tuple((branch.name, tuple(map(_form, branch.layers))) for branch in node.branches)
    return node.value.part, node.incoming, node.geometry.out, shapes, arguments, inside
