"""Rules for consecutive layers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from nnspec.checker.program import Experiment
from nnspec.checker.rules.common import layer_of, with_argument
from nnspec.checker.rules.registry import advice, rule
from nnspec.checker.rules.subjects import Chain
from nnspec.checker.shapes import mixes_padding
from nnspec.diagnostics import Diagnostic, Edit, Fix, Note
from nnspec.engine.initializers import Initializer
from nnspec.engine.layers.activations import Activation


@rule("NN703")
def linear_twice(chain: Chain) -> Iterator[Diagnostic]:
    """Two linear layers without an activation between them."""
    for one, other in pairwise(chain):
        if layer_of(one).family == layer_of(other).family == "linear" and one.span != other.span:
            yield advice(
                "NN703",
                f"`{one.value.name}` followed directly by `{other.value.name}` is a single linear map",
                other.span,
                "add an activation between them, such as `ReLU`",
                (Note(one.span, "the first"),),
            )


@rule("NN704")
def start_for_relu(chain: Chain) -> Iterator[Diagnostic]:
    """Weights initialised for ReLU before another activation."""
    for one, other in pairwise(chain):
        part = layer_of(other)
        init = one.value.values().get("init")
        if isinstance(init, Initializer) and init.for_relu and issubclass(part, Activation) and part.suits:
            given = one.value.arguments.get("init")
            if given is not None and not one.span.start <= given.origin.span.start < one.span.end:
                given = None  # the setting of the whole spec, which may suit other layers
            follows = f"meant for ReLU, but `{part.spec_name}` follows"
            fix = None
            if given is not None and given.origin.span.text == init.spec_name:
                fix = Fix(
                    f"replace `{init.spec_name}` with `{part.suits[0]}`", (Edit(given.origin.span, part.suits[0]),)
                )
            yield advice(
                "NN704",
                f"`{init.spec_name}` is {follows}"
                if given
                else f"weights are initialised with `{init.spec_name}`, {follows}",
                given.origin.span if given else one.span,
                f"write `init={part.suits[0]}`",
                (Note(other.span, "the activation"),),
                fix,
            )


@rule("NN713")
def bias_before_mean(chain: Chain) -> Iterator[Diagnostic]:
    """A bias before a layer that subtracts the mean."""
    for one, other in pairwise(chain):
        linear = layer_of(one).family == "linear"
        if layer_of(other).subtracts_mean and linear and one.value.values().get("bias") is True:
            yield advice(
                "NN713",
                f"the bias of `{one.value.name}` has no effect: `{other.value.name}` subtracts it with the mean",
                one.span,
                f"write `bias=false`: `{other.value.name}` has its own shift",
                (Note(other.span, "the normalisation"),),
                with_argument(one, "bias=false", "add `bias=false`"),
            )


@rule("NN721")
def looks_ahead(experiment: Experiment) -> Iterator[Diagnostic]:
    """A layer that lets a position see the character that it has to predict."""
    if not experiment.facts.predicts_next:
        return
    for node in (node for layer in experiment.layers for node in layer.walk()):
        if node.branches or len(node.incoming) != 2 or not layer_of(node).looks_ahead(node.incoming, node.arguments()):
            continue
        argument = (
            layer_of(node).looks_ahead_unless if len(node.geometry.out) == 2 else ""
        )  # without positions, none helps
        instead = "replace it with `LayerNorm`" if layer_of(node).family == "norm" else "remove it"
        given = [name for name in layer_of(node).reads() if node.arguments()[name] is not None]
        if given:  # the value comes from layers that have read all of the sample
            argument, instead = "", f"remove `{given[0]}`"
        yield advice(
            "NN721",
            f"`{node.value.name}` lets each position see later ones, including its target",
            node.span,
            f"write `{argument}`" if argument else instead,
            (Note(experiment.data[0].value.origin.span, "the target of each position is the next one"),),
            with_argument(node, argument, f"add `{argument}`") if argument else None,
        )


@rule("NN723")
def mixed_padding(experiment: Experiment) -> Iterator[Diagnostic]:
    """A layer that mixes positions that are padding with others."""
    for node in (node for layer in experiment.layers for node in layer.walk() if mixes_padding(node)):
        yield advice(
            "NN723",
            f"`{node.value.name}` does not skip padding, but mixes it with the other positions of a sample",
            node.span,
            "put `GlobalAvgPool`, or `LSTM(16, return_sequences=false)`, before it"
            if len(node.geometry.out) == 1
            else "`MultiHeadAttention`, recurrent layers and global pools skip padding",
            (Note(experiment.data[0].value.origin.span, "samples of this data are padded"),),
        )


@rule("NN724")
def unread_inputs(experiment: Experiment) -> Iterator[Diagnostic]:
    """One of several inputs that no layer reads. For an autoencoder, all of them are targets."""
    if not experiment.facts.inputs or experiment.train.target == "input":
        return
    nodes = (node for layer in experiment.layers for node in layer.walk())
    read = {node.field.name for node in nodes if node.field is not None}
    for field in experiment.facts.inputs:
        if field.name not in read:
            yield advice(
                "NN724",
                f"no layer reads the input `{field.name}`",
                experiment.data[0].value.origin.span,
                f"read it with `from({field.name})`, or remove it from the data",
            )
