"""Rules for steps that evaluate a batch several times, or that compute an average of the weights."""

from __future__ import annotations

from collections.abc import Iterator

from nnspec.checker.program import Experiment, TrainSettings
from nnspec.checker.rules.registry import advice, rule
from nnspec.diagnostics import Diagnostic, Note

_EXCLUDED: dict[str, tuple[str, str]] = {
    "train.clip_norm": (
        "relies on the gradient of its loss, which clipping changes",
        "its line search limits the steps; remove `clip_norm`",
    ),
    "train.clip_value": (
        "relies on the gradient of its loss, which clipping changes",
        "its line search limits the steps; remove `clip_value`",
    ),
    "train.constraint": (
        "learns from its last step, which a constraint changes",
        "use a penalty instead, such as `train.penalty = L2(1e-4)`",
    ),
    "train.accumulate": ("evaluates one batch several times in every step", "use a larger `train.batch` instead"),
    "train.sharpness": ("evaluates gradients at points of its own", "use another optimizer, such as `Momentum`"),
}
"""Settings that change what an optimizer with a line search relies on: why, and what to do instead."""

_AVERAGED: dict[str, tuple[str, str]] = {
    "train.average": ("evaluates an average of its own", "remove `average`"),
    "train.constraint": (
        "evaluates an average, to which a constraint on the weights in training does not apply",
        "use a penalty instead, such as `train.penalty = L2(1e-4)`",
    ),
}
"""Settings for weights that an optimizer does not evaluate: why, and what to do instead."""


@rule("NN607")
def excluded(experiment: Experiment) -> Iterator[Diagnostic]:
    """Settings that an optimizer with a line search or an average of its own, or a step with two gradients, cannot be
    combined with.
    """
    name, origins, train = experiment.optimizer.name, experiment.origins, experiment.train
    notes = (Note(experiment.optimizer.origin.span, "the optimizer"),)
    optimizer = experiment.optimizer.part
    for setting, (why, help) in (
        _EXCLUDED if optimizer.evaluates else _AVERAGED if optimizer.evaluated else {}
    ).items():
        field = setting.removeprefix("train.")
        if getattr(train, field) != getattr(TrainSettings, field) and setting in origins:
            yield Diagnostic("NN607", f"`{name}` {why}", origins[setting].span, notes=notes, help=help)
    if optimizer.evaluates:
        if train.average is not None and train.average.returns and "train.average" in origins:
            message = f"`{name}` learns from its last step, which `{train.average.spec_name}` changes"
            help = "remove it, or use another optimizer, such as `Momentum`"
            yield Diagnostic("NN607", message, origins["train.average"].span, notes=notes, help=help)
        for setting in experiment.by_name:
            if setting.startswith("train.lr_factor.") and setting in origins:
                message = f"`{name}` moves all parameters together, so none can have a rate of its own"
                yield Diagnostic("NN607", message, origins[setting].span, notes=notes, help=f"remove `{setting}`")
    elif train.sharpness is not None and train.accumulate > 1 and "train.accumulate" in origins:
        message = f"`{train.sharpness.spec_name}` takes both gradients of a step from one batch"
        span = origins["train.accumulate"].span
        yield Diagnostic("NN607", message, span, help="remove `accumulate`, and use a larger `train.batch` instead")


@rule("NN722")
def changing_loss(experiment: Experiment) -> Iterator[Diagnostic]:
    """L-BFGS on a loss that changes from step to step, so that its history does not describe it."""
    optimizer, train = experiment.optimizer, experiment.train
    if not optimizer.part.evaluates:
        return
    nodes = (node for layer in experiment.layers for node in layer.walk())
    noisy = next((n for n in nodes if n.value.part.family == "noise" or n.arguments().get("dropout")), None)
    samples = max(train.trained_on(*choice.facts.counts) for choice in experiment.data)
    span, name = optimizer.origin.span, optimizer.name
    if train.batch < samples:
        origin = experiment.origins.get("train.batch")
        message = f"`{name}` learns the curvature of the loss, which differs from batch to batch"
        help = "write `batch = data.size`: every step then sees all samples"
        yield advice("NN722", message, origin.span if origin else span, help)
    elif noisy is not None:
        message = f"`{name}` learns the curvature of the loss, which changes with every mask of `{noisy.value.name}`"
        yield advice("NN722", message, noisy.span, "remove it, or use a penalty such as `train.penalty = L2(1e-4)`")
    elif train.augmentations:
        message = f"`{name}` learns the curvature of the loss, which changes with every augmentation"
        origin = experiment.origins.get("train.augment")
        yield advice("NN722", message, origin.span if origin else span, "remove it, or use another optimizer")
