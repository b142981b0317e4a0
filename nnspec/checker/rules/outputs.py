"""Rules for the outputs of the last layer, the loss and the metrics."""

from __future__ import annotations

from collections.abc import Iterator

from nnspec.checker.draft import Draft
from nnspec.checker.program import Choice, Experiment, PartValue, input_as_target
from nnspec.checker.rules.common import layer_of
from nnspec.checker.rules.registry import advice, rule
from nnspec.checker.rules.subjects import Chain
from nnspec.diagnostics import Diagnostic, Note
from nnspec.engine.layers.contract import ShapeError
from nnspec.engine.losses.contract import Loss


@rule("NN402")
def outputs_fit(
    draft: Draft, layers: Chain, loss: PartValue[Loss], data: tuple[Choice, ...], target: str
) -> Iterator[Diagnostic]:
    """Outputs that the loss or a metric cannot take."""
    last, facts = layers[-1], data[0].facts
    outputs, classes, shape = last.geometry.out, facts.classes, facts.target
    if target == "input":
        classes, shape = None, input_as_target(facts, outputs)
    try:
        loss.part.fit(outputs, classes, shape, loss.values())
    except ShapeError as error:
        if facts.targets and target != "input" and last.value.name != "outputs":
            names = [field.name for field in facts.targets]
            message = (
                f"the data has the targets {', '.join(f'`{name}`' for name in names)}, but the model has one output"
            )
            source = Note(data[0].value.origin.span, "the data")
            help = f"end the model with `outputs {{ {' '.join(f'{name} {{ … }}' for name in names)} }}`"
            yield Diagnostic("NN402", message, last.span, notes=(source,), help=help)
            return
        own = loss.arguments.get(error.argument or "")
        notes = [] if own else [Note(loss.origin.span, "the loss")]
        if target == "input":
            notes.append(Note(draft.settings.values["train.target"].value.span, "the targets"))
        span = own.origin.span if own else last.span
        yield Diagnostic("NN402", str(error), span, notes=tuple(notes), help=error.help)
        return
    for metric in draft.metrics or ():
        try:
            metric.part.fit(outputs, classes, shape, metric.values())
        except ShapeError as error:
            own = metric.arguments.get(error.argument or "")
            span = own.origin.span if own else metric.origin.span
            where = () if own else (Note(last.span, "the outputs"),)
            yield Diagnostic("NN402", str(error), span, notes=where, help=error.help)


@rule("NN701")
def more_outputs(experiment: Experiment) -> Iterator[Diagnostic]:
    """More outputs than classes."""
    last, classes = experiment.layers[-1], experiment.classes
    outputs = last.geometry.out[-1]
    if classes is not None and outputs > classes:
        maker = next(node for node in reversed(experiment.layers) if node.geometry.parameters)
        message = f"{outputs} outputs for {classes} classes: the extra outputs can never be correct"
        yield advice("NN701", message, maker.span)


@rule("NN702")
def squashed_logits(experiment: Experiment) -> Iterator[Diagnostic]:
    """An activation before a loss that takes logits."""
    loss, last = experiment.loss.part, experiment.layers[-1]
    if loss.takes_logits and layer_of(last).family == "activation":
        name, bends = experiment.loss.name, last.value.name
        message = f"`{name}` expects logits, but `{bends}` distorts them"
        if layer_of(last).squashes_with == loss.squashes_with:
            message = f"`{name}` applies a {loss.squashes_with} itself, but `{bends}` has already done so"
            if layer_of(last).gives_logs:
                message = f"`{name}` applies a log-softmax itself, so `{bends}` before it has no effect"
        yield advice(
            "NN702",
            message,
            last.span,
            f"remove the last `{last.value.name}`: the loss applies a {loss.squashes_with} itself",
            (Note(experiment.loss.origin.span, "the loss"),),
        )


@rule("NN712")
def no_logs(experiment: Experiment) -> Iterator[Diagnostic]:
    """A loss that expects log-probabilities but gets something else."""
    loss, last = experiment.loss.part, experiment.layers[-1]
    if loss.takes_logs and not (layer_of(last).gives_logs or last.branches):
        yield advice(
            "NN712",
            f"`{experiment.loss.name}` expects log-probabilities, but `{last.value.name}` does not output them",
            last.span,
            "add `LogSoftmax` after it" + (", or use `CrossEntropy`" if loss.targets == "classes" else ""),
            (Note(experiment.loss.origin.span, "the loss"),),
        )


@rule("NN705")
def dropout_last(experiment: Experiment) -> Iterator[Diagnostic]:
    """Noise after the last layer."""
    last = experiment.layers[-1]
    if layer_of(last).family == "noise":
        message = f"`{last.value.name}` after the last layer zeroes outputs of the network"
        yield advice("NN705", message, last.span, "move it before the last layer")
