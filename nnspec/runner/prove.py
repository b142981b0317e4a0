"""The gradient check of a spec's own network, at its starting weights, on its own data."""

from __future__ import annotations

from nnspec.checker.program import Experiment, Figure, Number, Operation, Program
from nnspec.compiler.plan import build_network
from nnspec.data.source import Dataset
from nnspec.engine._numpy import np
from nnspec.engine.gradcheck import BOUND, GradientReport, check_gradients
from nnspec.engine.losses import Loss
from nnspec.engine.random import Stream, stream

__all__ = ["MOST_SAMPLES", "gradient_bound", "prove_gradients", "same_calculus"]

MOST_SAMPLES = 16


def prove_gradients(
    experiment: Experiment, dataset: Dataset, *, samples: int = MOST_SAMPLES, full: bool = False
) -> GradientReport:
    """Check the gradients of a float64 copy of an experiment's network on its first training samples."""
    count = min(samples, MOST_SAMPLES, len(dataset.train.y))
    x = dataset.train.x[:count].astype(np.float64) / dataset.divisor
    labels = dataset.train.y[:count].astype(np.intp)
    loss: Loss = experiment.loss.make()
    classes = experiment.facts.classes
    targets = np.eye(classes)[labels] if loss.targets == "values" and classes is not None else labels
    return check_gradients(
        build_network(experiment, "float64"),
        loss,
        x,
        targets,
        full=full,
        rng=stream(experiment.seed, Stream.GRADIENT_CHECK),
    )


def same_calculus(one: Experiment, other: Experiment) -> bool:
    """Whether two lanes have the same network, loss, seed and data, so that one check serves both."""

    def key(experiment: Experiment) -> object:
        return (
            experiment.seed,
            [(node.value.name, node.arguments()) for node in experiment.layers],
            (experiment.loss.name, experiment.loss.values()),
            [(choice.value.name, choice.value.values()) for choice in experiment.data],
        )

    return key(one) == key(other)


def gradient_bound(program: Program, lanes: tuple[str, ...]) -> float:
    """Return the bound that a spec sets on the gradient error of these lanes, or 1e-7 where it sets none."""
    bounds = [
        case.node.operands[1].value
        for expectation in program.expectations
        for case in expectation.cases
        if isinstance(case.node, Operation)
        and case.node.operator in ("<", "<=")
        and isinstance(case.node.operands[0], Figure)
        and case.node.operands[0].name == "gradient_error"
        and case.node.operands[0].lane in lanes
        and isinstance(case.node.operands[1], Number)
    ]
    return min(bounds, default=BOUND)
