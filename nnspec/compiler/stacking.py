"""Decide which lanes form a stack, and how wide it is: see `loop.py`."""

from __future__ import annotations

from dataclasses import fields

from nnspec.checker.program import Experiment, LayerNode, TrainSettings
from nnspec.checker.tensor_names import frozen_layers, tensors
from nnspec.compiler.layout import Layout, renews_statistics
from nnspec.compiler.repeating import is_repeated
from nnspec.compiler.rewrites import batch_invariant, has_stack
from nnspec.engine.part import comparable
from nnspec.engine.validation import Fold

__all__ = ["MOST_BYTES", "kin", "widest"]

MOST_BYTES = 6 * 1024**2
"""The maximum size of the numbers of a stack that are touched in every step. Beyond it, lanes evict each other from the
processor's caches, and stacking slows them down.
"""

TOUCHED = ("parameters", "gradients", "values")
FREE = {
    "epochs",
    "early_stop",
    "clip_norm",
    "clip_value",
    "penalty",
    "constraint",
    "repeats",
    "freeze",
    "accumulate",
    "average",
}
"""Settings of `train` that may differ between the lanes of a stack, because each lane applies its own."""
COMMON = {
    "batch",
    "steps",
    "record",
    "shuffle",
    "drop_last",
    "carry_state",
    "validation",
    "stratify",
    "balance",
    "target",
    "standardise",
    "augment",
}
"""Settings that must be the same for all lanes. A lane that uses any other setting is trained alone."""


def widest(layout: Layout) -> int:
    """Return the number of lanes of this layout in the widest stack that pays off; 1 if none does."""
    nodes = [layout.steps.nodes[step.node] for step in layout.steps if step.op == "forward"]
    if not any(batch_invariant(node) or has_stack(node) for node in nodes):
        return 1
    if any(slot.samples_last for slot in layout.steps.slots.values()):
        return 1  # convolutions, for example, are as fast alone, in an axis order that a stack does not have
    groups = layout.groups()
    return max(1, MOST_BYTES // sum(groups.get(name, 0) for name in TOUCHED))


def kin(experiment: Experiment) -> object:
    """Return what lanes must have in common to be stacked; None for a lane that cannot be stacked."""
    train, usual = experiment.train, TrainSettings()
    for field in fields(train):
        if field.name not in FREE | COMMON and getattr(train, field.name) != getattr(usual, field.name):
            return None
    if renews_statistics(experiment) or is_repeated(experiment):
        return None  # each lane evaluates samples of its own accord
    return (
        experiment.dtype,
        tuple((choice.value.name, comparable(choice.value.values())) for choice in experiment.data),
        tuple(_form(node) for node in experiment.layers),
        _frozen(experiment),
        (experiment.loss.name, comparable(experiment.loss.values())),
        tuple((metric.name, comparable(metric.values())) for metric in experiment.metrics),
        tuple(comparable(getattr(train, name)) for name in sorted(COMMON - {"validation"})),
        train.epochs if train.record is not None else None,  # the last record may be shorter
        _held_out(experiment),
    )


def _held_out(experiment: Experiment) -> object:
    """The rule by which samples are held out; for folds, their number, since each lane of a stack has its own fold."""
    train, rule = experiment.train, experiment.train.validation
    if not isinstance(rule, Fold):
        return comparable(rule)
    sizes = tuple(train.held_out(choice.facts.train, choice.facts.validation) for choice in experiment.data)
    return comparable(rule.of), sizes


def _frozen(experiment: Experiment) -> object:
    """The positions of the frozen layers: the lane's program has no steps for their gradients."""
    frozen = frozen_layers(tensors(experiment)) if experiment.train.freeze else frozenset()
    inner = (node for layer in experiment.layers for node in layer.walk())
    return tuple(place for place, node in enumerate(inner) if node.name in frozen)


def _form(node: LayerNode) -> object:
    """What two layers must have in common to be stacked; their initialisers may differ, for example."""
    shapes = tuple(node.geometry.parameters.items())
    arguments = comparable(node.arguments()) if batch_invariant(node) else ()
    inside = tuple((branch.name, tuple(map(_form, branch.layers))) for branch in node.branches)
    return (
        node.value.part,
        node.incoming,
        node.geometry.out,
        shapes,
        arguments,
        inside,
        node.reads,
        node.owners,
        node.field,
    )
