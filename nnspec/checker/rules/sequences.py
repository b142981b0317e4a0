"""Rules for state that is carried from batch to batch."""

from __future__ import annotations

from collections.abc import Iterator

from nnspec.checker.draft import Draft
from nnspec.checker.evaluator import Evaluator
from nnspec.checker.program import Choice, LayerNode, TrainSettings
from nnspec.checker.rules.registry import rule
from nnspec.diagnostics import Diagnostic, Note
from nnspec.engine.validation import Given, Last

HELP = "remove `carry_state`"


@rule("NN302")
def carried_by_no_layer(draft: Draft, train: TrainSettings, layers: tuple[LayerNode, ...]) -> Iterator[Diagnostic]:
    """`carry_state` in a model without recurrent layers, or with some that need the whole sequence."""
    given = draft.settings.values.get("train.carry_state")
    if not train.carry_state or given is None:
        return
    nodes = [node for layer in layers for node in layer.walk()]
    for node in (node for node in nodes if node.arguments().get("bidirectional")):
        message = f"`{node.value.name}` also reads from the end of the sequence, so it cannot continue it"
        note = Note(given.value.span, "the state is carried here")
        yield Diagnostic("NN302", message, node.span, help="write `bidirectional=false`", notes=(note,))
        return
    if not any(node.geometry.carried for node in nodes):
        message = "`carry_state` has no effect: the model has no recurrent layer that starts at zero"
        yield Diagnostic("NN302", message, given.value.span, help=HELP)


@rule("NN302")
def carried_over_gaps(
    draft: Draft, train: TrainSettings, data: tuple[Choice, ...], evaluator: Evaluator
) -> Iterator[Diagnostic]:
    """`carry_state` for samples that do not continue one another in this order."""
    values = draft.settings.values
    given, shuffled = values.get("train.carry_state"), values.get("train.shuffle")
    if not train.carry_state or given is None:
        return
    apart = next((choice for choice in data if not choice.facts.ordered), None)
    if apart is not None:
        reason = "its samples do not continue one another in the order of the data"
        message = f"`carry_state` cannot be used with `{apart.value.name}`: {reason}"
        help = next((f"remove `{name}`" for name in ("stride",) if name in apart.value.arguments), "")
        if apart.facts.windows is not None:
            help = f"write `stride={apart.facts.windows.length}` there, so that each window begins where one ends"
        if apart.facts.shuffled:
            help = f"keep their order with `shuffle = false` in `{apart.value.name}`"
        note = Note(apart.value.origin.span, "the data")
        yield Diagnostic("NN302", message, given.value.span, help=help or HELP, notes=(note,))
        return
    if shuffled is not None and evaluator.value(shuffled.value) is not False:
        message = "with `carry_state`, samples keep their order, so they cannot be shuffled"
        yield Diagnostic("NN302", message, shuffled.value.span, help="remove `shuffle`, or `carry_state`")
    if train.record is not None:
        message = "with `carry_state`, figures are measured after whole epochs: measuring would end the sequences"
        yield Diagnostic("NN302", message, values["train.record"].value.span, help="remove `record`, or `carry_state`")
    held_out = values.get("train.validation")
    if held_out is not None and train.validation and not isinstance(train.validation, (Last, Given)):
        message = "random validation samples would leave gaps in the sequences that `carry_state` continues"
        yield Diagnostic("NN302", message, held_out.value.span, help="write `validation = last(0.1)`")
    samples = min(train.trained_on(*choice.facts.counts) for choice in data)
    if samples <= train.batch:
        message = f"`carry_state` has no effect: {samples:,} training samples fit into one batch of {train.batch:,}"
        span = values["train.batch"].value.span if "train.batch" in values else given.value.span
        yield Diagnostic("NN302", message, span, help="use a smaller batch, or remove `carry_state`")
