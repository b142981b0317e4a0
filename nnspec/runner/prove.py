"""The gradient check of a spec's own network, at its starting weights, on its own data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nnspec.checker.program import Experiment, Figure, Number, Operation, Program
from nnspec.compiler.plan import build_network
from nnspec.data.source import Dataset
from nnspec.engine._numpy import np
from nnspec.engine.gradcheck import BOUND, GradientReport, check_gradients
from nnspec.engine.losses import Loss
from nnspec.engine.part import Part
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
            [(node.value.name, _plain(node.arguments())) for node in experiment.layers],
            (experiment.loss.name, _plain(experiment.loss.values())),
            [(choice.value.name, _plain(choice.value.values())) for choice in experiment.data],
        )

    return key(one) == key(other)


def _plain(arguments: Mapping[str, Any]) -> dict[str, object]:
    """Arguments in a form in which equal ones are equal: each lane makes parts such as initialisers of its own."""
    return {k: (type(v), vars(v)) if isinstance(v, Part) else v for k, v in arguments.items()}


def gradient_bound(program: Program, lanes: tuple[str, ...]) -> float:
    """Return the bound that a spec sets on the gradient error of these lanes, or 1e-7 where it sets none."""
    bounds = [
        bound.value
        for expectation in program.expectations
        for case in expectation.cases
        for figure, bound in _upper_bounds(case.node)
        if figure.name == "gradient_error" and figure.lane in lanes
    ]
    return min(bounds, default=BOUND)


def _upper_bounds(node: object) -> Iterator[tuple[Figure, Number]]:
    """Yield what a statement says of a figure that is to be small: `figure < number`, or `number > figure`."""
    match node:
        case Operation(operator="<" | "<=", operands=(Figure() as figure, Number() as bound)):
            yield figure, bound
        case Operation(operator=">" | ">=", operands=(Number() as bound, Figure() as figure)):
            yield figure, bound
        case Operation(operator="and", operands=operands):
            for operand in operands:
                yield from _upper_bounds(operand)
