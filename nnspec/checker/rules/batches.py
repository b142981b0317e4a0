"""Rules for batch sizes."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from nnspec.checker.draft import Draft
from nnspec.checker.program import Choice, Experiment, TrainSettings
from nnspec.checker.rules.common import chains, layer_of
from nnspec.checker.rules.registry import advice, rule
from nnspec.diagnostics import Diagnostic, Note


@rule("NN302")
def drop_last_leaves_nothing(draft: Draft, train: TrainSettings, data: tuple[Choice, ...]) -> Iterator[Diagnostic]:
    """`drop_last` with a batch that is larger than the training set."""
    facts = min((choice.facts for choice in data), key=lambda each: each.train)
    smallest = train.trained_on_least(*facts.counts)
    if train.drop_last and train.batch > smallest:
        values = draft.settings.values
        given = values.get("train.batch") or values["train.drop_last"]
        message = f"`drop_last` drops all {smallest} samples, which are fewer than a batch of {train.batch}"
        yield Diagnostic("NN302", message, given.value.span, help="use a smaller batch, or `drop_last = false`")


@rule("NN707")
def large_batch(experiment: Experiment) -> Iterator[Diagnostic]:
    """A batch that is larger than the training set."""
    samples = min(choice.facts.train - choice.facts.validation for choice in experiment.data)
    origin = experiment.origins.get("train.batch")
    if origin is not None and experiment.train.batch > samples:
        message = f"a batch of {experiment.train.batch:,} is larger than the training set of {samples:,} samples"
        yield advice("NN707", message, origin.span, "every epoch is a single step on all samples")
    train, group = experiment.train, experiment.origins.get("train.accumulate")
    batches = -(-samples // train.batch)
    if group is not None and train.accumulate > max(batches, 1):
        message = f"a step follows {train.accumulate:,} batches, but an epoch has only {batches:,}"
        yield advice("NN707", message, group.span, "every epoch is a single step on all samples")


@rule("NN714", "NN715")
def batch_of_one(experiment: Experiment) -> Iterator[Diagnostic]:
    """Batches of one sample, where a layer needs the variance of each feature over the batch."""
    train = experiment.train
    sizes = [choice.facts.counts for choice in experiment.data]
    trained = sorted({count for each in sizes for count in (train.trained_on_least(*each), train.trained_on(*each))})
    always = any(min(train.batch, count) == 1 for count in trained)
    ragged = [count for count in trained if count % train.batch == 1 and not train.drop_last]
    if not always and not ragged:
        return
    for node in (node for chain in chains(experiment.layers) for node in chain):
        numbers = max(map(prod, node.geometry.state.values()), default=0)
        if not layer_of(node).subtracts_mean or numbers != prod(node.incoming):
            continue  # with several positions, each sample has several values of a feature
        origin = experiment.origins.get("train.batch")
        span = origin.span if origin is not None else node.span
        name = node.value.name
        notes = (Note(node.span, "the normalisation"),) if origin is not None else ()
        if always:
            message = f"a batch of one sample has no variance for `{name}` to divide by"
            yield advice("NN714", message, span, f"use a larger batch, or `LayerNorm` instead of `{name}`", notes)
        else:
            left = f"{ragged[0]:,} training samples in batches of {train.batch:,} leave a last batch of one"
            message = f"{left}: `{name}` needs at least two"
            yield advice("NN715", message, span, "write `drop_last = true`, or choose another batch size", notes)
