"""The gradient check of a spec's network, at its initial weights and on its data."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import isnan, prod
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import Experiment, Figure, LayerNode, Number, Operation, Program
from nnspec.compiler.plan import build_network
from nnspec.compiler.preparing import divide, learned_by_loss
from nnspec.compiler.scaling import scaling, target_scaling
from nnspec.data.source import Access, DataError, Dataset
from nnspec.engine._numpy import np
from nnspec.engine.gradcheck import BOUND, GradientCheck, GradientReport, LostStepError
from nnspec.engine.layers.recurrent import Recurrent
from nnspec.engine.losses import Loss
from nnspec.engine.part import comparable
from nnspec.engine.random import Stream, stream
from nnspec.environment import one_blas_thread
from nnspec.errors import ensure
from nnspec.reprs import TableRepr
from nnspec.results.data_use import DataUse
from nnspec.runner.load_data import load_data
from nnspec.runner.load_weights import with_weights
from nnspec.training.observer import Observer, Silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "MOST_SAMPLES",
    "QUICK_SAMPLES",
    "GradientProof",
    "alike_lanes",
    "gradient_bound",
    "lanes_to_prove",
    "prove_gradients",
    "prove_program",
]

MOST_SAMPLES = 16
QUICK_SAMPLES = 2
NUMBER = 10
STEP = 50_000
"""Estimated overhead of an output, and of a step of a recurrent layer, in operations beyond their FLOPs."""
PLAIN = GradientCheck()
MOVE = 0.1
"""Standard deviation of the noise added to parameters that start on kinks."""


def prove_gradients(
    experiment: Experiment, dataset: Dataset, how: GradientCheck = PLAIN, *, samples: int = MOST_SAMPLES
) -> GradientReport:
    """Check the gradients of a float64 copy of an experiment's network on its first training samples.

    Some networks start on kinks: with a bias of zero over a black background, a ReLU is exactly at its kink. Parameters
    that could not be checked at all are moved slightly and checked there, then with fewer samples, of which fewer are
    near a kink.

    Raises ValueError unless `samples` is 1 to 16, and DataError for numbers too large for finite differences.
    """
    _allow(samples)
    ensure(experiment.initial is None or experiment.initial.complete, "initial weights were not read before the check")
    loss: Loss = experiment.loss.make()
    loss.recall(learned_by_loss(loss, experiment, dataset, _trained(experiment, dataset)))
    x, targets, weights = _samples(experiment, dataset, loss, samples)
    how = replace(how, penalties=experiment.train.penalties, effort=partial(_effort, experiment))

    def check(count: int, moved: tuple[str, ...]) -> GradientReport:
        rng = stream(experiment.seed, Stream.GRADIENT_CHECK)
        network = build_network(experiment, "float64")
        for name in moved:
            parameter = network.named_parameters()[name]
            parameter.data = parameter.data + MOVE * rng.standard_normal(parameter.shape)
        try:
            some = None if weights is None else weights[:count]
            return replace(how, rng=rng, only=moved or None).run(network, loss, x[:count], targets[:count], some)
        except LostStepError as error:
            what = f"the gradients of {experiment.name} cannot be checked"
            raise DataError(f"{what}: {error}; scale the data, as train.standardise does") from error

    count = len(x)
    report = check(count, ())
    moved = tuple(name for name in report.unchecked if name not in ("input", "loss"))
    while (left := tuple(name for name in report.unchecked if name in moved)) and count:
        report = report.with_others(check(count, left))
        count //= 4
    return replace(report, moved=moved)


def _allow(samples: int) -> None:
    if not 1 <= samples <= MOST_SAMPLES:
        raise ValueError(f"the number of samples of a gradient check must be 1 to {MOST_SAMPLES}, not {samples}")


def _samples(
    experiment: Experiment, dataset: Dataset, loss: Loss, most: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """Return the first training samples as input of the network, their targets as input of the loss, and their weights,
    if they have any. Samples of weight 0 are skipped: they have no gradient.
    """
    train, w, y = experiment.train, dataset.train.w, dataset.train.y
    if dataset.facts.ignores:
        first: Any = np.flatnonzero((y >= 0).reshape(len(y), -1).any(axis=1))[:most]
    else:
        first = slice(most) if w is None else np.flatnonzero(w)[:most]
    x = dataset.train.x[first].astype(np.float64)
    count = len(x)
    x = x.reshape(count, -1) / dataset.divisor
    y = y[first]
    weights = None if w is None else w[first].astype(np.float64)
    if dataset.facts.ignores:
        weights, y = (y >= 0).astype(np.float64), np.maximum(y, 0)
    if train.scalers or train.target_scalers:
        trained = _trained(experiment, dataset)
    if train.scalers:
        mean, std = scaling(dataset, trained, train.scalers)
        x = (x - mean) / std
    x = x.reshape(count, *experiment.layers[0].incoming)
    labels = x if train.target == "input" else y
    if train.target_scalers:
        mean, std = target_scaling(dataset, trained, train.target_scalers)
        labels = (labels.reshape(count, -1) - mean) / std
    return x, _targets(experiment, loss, labels), weights


def _learns(experiment: Experiment) -> bool:
    """Whether anything besides the weights is learned from the training samples."""
    train = experiment.train
    return bool(train.scalers or train.target_scalers) or bool(experiment.loss.make().learns(experiment.outputs))


def _trained(experiment: Experiment, dataset: Dataset) -> NDArray[Any]:
    """Return the samples that are trained on."""
    return divide(experiment.train, experiment.seed, dataset.train.y, *dataset.facts.counts[1:])[0]


def _effort(experiment: Experiment, samples: int) -> list[float]:
    """Estimate the operations of a forward pass in each layer, including overhead per output and recurrent step."""
    return [
        samples * (node.geometry.flops + NUMBER * prod(node.geometry.out))
        + STEP * sum(inner.incoming[0] for inner in node.walk() if issubclass(inner.value.part, Recurrent))
        for node in experiment.layers
    ]


def _targets(experiment: Experiment, loss: Loss, labels: NDArray[Any]) -> NDArray[Any]:
    """Convert targets to the form that the loss expects."""
    if loss.targets == "classes":
        return labels.astype(np.intp if experiment.classes is not None else np.float64)
    outputs = (len(labels), *experiment.outputs)
    if experiment.classes is not None and prod(experiment.outputs) != prod(experiment.target):
        return np.eye(experiment.classes)[labels.astype(np.intp)].reshape(outputs)
    return labels.astype(np.float64).reshape(outputs)


@dataclass(frozen=True, repr=False)
class GradientProof(TableRepr):
    """The gradient check of one network: the lanes that share it, the bound on its error, and the report."""

    lanes: tuple[str, ...]
    bound: float
    report: GradientReport
    lines: Mapping[str, str]
    """The position of each layer and of the loss in the spec, as `file:line`."""
    data: str

    @property
    def holds(self) -> bool:
        """Whether every tensor was checked and is below the bound."""
        return self.report.error < self.bound

    def faults(self) -> Iterator[str]:
        """Yield each tensor that fails the check, with its position in the spec."""
        for tensor in self.report.tensors:
            if not tensor.error < self.bound:
                line = self.lines.get(tensor.name.rsplit(".", 1)[0])
                place = f"{tensor.name} ({line})" if line else tensor.name
                if isnan(tensor.error):
                    yield f"{place} could not be checked: every step crossed a kink"
                else:
                    yield f"{place} has a relative error of {tensor.error:.1e}, not below {self.bound:g}"


def prove_program(
    program: Program,
    access: Access,
    *,
    samples: int,
    full: bool = False,
    quick: bool = False,
    besides: Collection[str] = (),
    observer: Observer | None = None,
) -> tuple[GradientProof, ...]:
    """Check every network of a program once, except those of the lanes in `besides`.

    Raises ValueError unless `samples` is 1 to 16, and DataError.
    """
    _allow(samples)
    observer = observer or Silent()
    networks = [alike for alike in alike_lanes(program.lanes) if not any(lane.name in besides for lane in alike)]
    # What is learned from samples, such as their mean and deviation, is learned from the whole data.
    whole = any(_learns(lane) for lane in program.lanes)
    data = load_data(program, access, None if whole else samples) if networks else {}
    networks = [[with_weights(lane) for lane in alike[:1]] + alike[1:] for alike in networks]
    observer.data_ready(list(dict.fromkeys(use for _, use in data.values())))
    proofs = []
    for alike in networks:
        first = alike[0]
        observer.proving(first.name)
        dataset, use = data[first.name]
        with one_blas_thread():
            bound = gradient_bound(program, tuple(lane.name for lane in alike))
            how = GradientCheck(bound=bound, full=full, quick=quick)
            report = prove_gradients(first, dataset, how, samples=samples)
        proofs.append(_proof(program, alike, use, report))
    return tuple(proofs)


def lanes_to_prove(program: Program) -> set[str]:
    """Return the lanes whose `gradient_error` the spec mentions; a run checks these."""
    return {
        figure.lane
        for expectation in program.expectations
        for case in expectation.cases
        for figure in case.figures()
        if figure.name == "gradient_error"
    }


def _proof(program: Program, alike: list[Experiment], use: DataUse, report: GradientReport) -> GradientProof:
    first = alike[0]
    names = tuple(lane.name for lane in alike)
    spans = {node.name: node.span for layer in first.layers for node in layer.walk()}
    spans["loss"] = first.loss.origin.span
    return GradientProof(
        lanes=names,
        bound=gradient_bound(program, names),
        report=report,
        lines={name: f"{span.source.name}:{span.line}" for name, span in spans.items()},
        data=f"{use.source}, in place of {use.asked_for}" if use.stands_in else use.source,
    )


def alike_lanes(lanes: Iterable[Experiment]) -> list[list[Experiment]]:
    """Group lanes with the same network, loss, seed and data, so that one check suffices for each group."""
    groups: list[list[Experiment]] = []
    for lane in lanes:
        group = next((group for group in groups if _same_calculus(group[0], lane)), None)
        if group is None:
            groups.append([lane])
        else:
            group.append(lane)
    return groups


def _same_calculus(one: Experiment, other: Experiment) -> bool:

    def key(experiment: Experiment) -> object:
        return (
            experiment.seed,
            experiment.initial,
            [_plain_layer(node) for layer in experiment.layers for node in layer.walk()],
            (experiment.loss.name, comparable(experiment.loss.values())),
            [(choice.value.name, comparable(choice.value.values())) for choice in experiment.data],
            experiment.train.target,
            experiment.train.penalties,
            (train := experiment.train).scalers,
            train.target_scalers,
            (train.validation, train.stratify) if _learns(experiment) else None,
        )

    return key(one) == key(other)


def _plain_layer(node: LayerNode) -> object:
    return (
        node.value.name,
        (node.reads, node.owners),
        comparable(node.arguments()),
        [(branch.name, len(branch.layers)) for branch in node.branches],
    )


def gradient_bound(program: Program, lanes: tuple[str, ...]) -> float:
    """Return the bound that a spec sets on the gradient error of these lanes; 1e-7 if it sets none."""
    bounds = [
        bound.value
        for expectation in program.expectations
        for case in expectation.cases
        for figure, bound in _upper_bounds(case.node)
        if figure.name == "gradient_error" and figure.lane in lanes
    ]
    return min(bounds, default=BOUND)


def _upper_bounds(node: object) -> Iterator[tuple[Figure, Number]]:
    """Yield the upper bounds in a statement: `figure < number` or `number > figure`."""
    match node:
        case Operation(operator="<" | "<=", operands=(Figure() as figure, Number() as bound)):
            yield figure, bound
        case Operation(operator=">" | ">=", operands=(Number() as bound, Figure() as figure)):
            yield figure, bound
        case Operation(operator="and", operands=operands):
            for operand in operands:
                yield from _upper_bounds(operand)
