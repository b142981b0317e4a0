"""Lowering: turn an experiment into a flat list of steps. Compositions are expanded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nnspec.checker.program import INPUT, Experiment, LayerNode
from nnspec.checker.tensor_names import frozen_layers, tensors
from nnspec.compiler.steps import Slot, Step, Steps
from nnspec.engine.layers.composition import Composition
from nnspec.engine.layers.contract import Layer, Shape, feature_axis
from nnspec.engine.layers.wiring import From
from nnspec.engine.losses.contract import weighted
from nnspec.engine.metrics.contract import Places
from nnspec.engine.work import Work
from nnspec.errors import ContractError

__all__ = ["gradient_of", "kernel_class", "layer_class", "loss_work", "lower", "metric_work", "work_slot"]


_OTHERS = ("x", "targets", "labels", "weights", "loss")
"""The values of a training step that no layer computes."""


def lower(experiment: Experiment) -> Steps:
    """Return the training step of an experiment as its layers define it, before any rewrite."""
    frozen = frozen_layers(tensors(experiment)) if experiment.train.freeze else frozenset()
    lowering = _Lowering(experiment.dtype, frozen)
    x = lowering.given("x", experiment.layers[0].incoming)
    lowering.values[INPUT] = x
    y = lowering.chain(experiment.layers, x)
    loss = experiment.loss.part
    takes_values = loss.targets == "values"
    target = experiment.outputs if takes_values else experiment.target
    index = not takes_values and experiment.classes is not None
    targets = lowering.given("targets", target, "index" if index else "float")
    labels = targets  # for an autoencoder, the sample itself
    if experiment.train.target == "labels":
        labels = lowering.given("labels", experiment.facts.target, "float" if experiment.classes is None else "index")
    measured = y
    if experiment.train.target_scalers and experiment.metrics:  # metrics compare in the unit of the targets
        measured = lowering.scale(y)
    weight = experiment.facts.weight
    weights = [] if weight is None else [lowering.given("weights", weight)]
    places = weights if experiment.facts.ignores else []  # metrics count samples once, and ignored positions never
    for number in range(len(experiment.metrics)):
        lowering.metric(f"metric{number + 1}", (measured, labels, *places), metric_work(experiment, number))
    gradient = lowering.loss(y, (targets, *weights), loss_work(experiment))
    lowering.differentiate({y: gradient})
    lowering.emit(Step("update", "optimizer", ()))
    return lowering.result()


def loss_work(experiment: Experiment) -> Mapping[str, Work]:
    """Return the work arrays of the loss."""
    own = experiment.loss.part.work(experiment.outputs, experiment.loss.values())
    weight = experiment.facts.weight
    if experiment.train.mixes:
        own = {**own, "own gradient": Work(experiment.outputs, saved=True)}
    return own if weight is None else {**own, **weighted(weight)}


def metric_work(experiment: Experiment, number: int) -> Mapping[str, Work]:
    """Return the work arrays of a metric."""
    metric = experiment.metrics[number]
    if experiment.facts.ignores:
        return Places.work(metric.part, experiment.outputs, experiment.target, metric.values())
    return metric.part.work(experiment.outputs, metric.values())


def layer_class(node: LayerNode) -> type[Layer]:
    """Return the class of a layer of the model."""
    part = node.value.part
    if not issubclass(part, Layer):
        raise TypeError(f"{node.name} is not a layer")
    return part


def kernel_class(node: LayerNode) -> type[Layer] | None:
    """Return the class of the layer that joins the branches of a composition; None for sums, concatenations and
    layers.
    """
    part = layer_class(node)
    kernel = part.make_kernel(node.value.values()) if issubclass(part, Composition) else None
    return None if kernel is None else type(kernel)


def gradient_of(value: str) -> str:
    """Name the gradient of the loss with respect to a value."""
    return f"∂{value}"


def work_slot(node: str, name: str) -> str:
    """Name a work array of a layer, loss or metric."""
    return f"{node}/{name}"


@dataclass
class _Lowering:
    """The list of steps under construction."""

    dtype: str
    frozen: frozenset[str] = frozenset()
    """Layers none of whose parameters is trained."""
    steps: list[Step] = field(default_factory=list)
    slots: dict[str, Slot] = field(default_factory=dict)
    nodes: dict[str, LayerNode] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    """The value of each layer, by the full name of the layer."""
    _readers: Counter[str] = field(default_factory=Counter)
    _uses: dict[str, list[str]] = field(default_factory=dict)
    """The layers that use the parameters of each layer and whose gradients are known, from the last to the first."""

    def result(self) -> Steps:
        return Steps(tuple(self.steps), self.slots, self.nodes)

    def emit(self, step: Step) -> None:
        self.steps.append(step)

    def given(self, name: str, shape: Shape, dtype: str = "float") -> str:
        """Declare an input value."""
        return self._slot(Slot(name, shape, self._dtype(dtype), given=True))

    def _slot(self, slot: Slot) -> str:
        if slot.name in self.slots:
            raise ValueError(f"two values are called {slot.name}")
        self.slots[slot.name] = slot
        return slot.name

    def _dtype(self, dtype: str) -> str:
        return {"float": self.dtype, "index": "intp"}.get(dtype, dtype)

    def _work(self, owner: str, work: Mapping[str, Work]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Declare work arrays; return those that live from forward to backward, and those used within a single call."""
        names = {
            name: self._slot(Slot(work_slot(owner, name), array.shape, self._dtype(array.dtype)))
            for name, array in work.items()
        }
        saved = tuple(names[name] for name, array in work.items() if array.saved)
        return saved, tuple(names[name] for name, array in work.items() if not array.saved)

    # Forward

    def chain(self, nodes: Iterable[LayerNode], x: str) -> str:
        """Emit layers in sequence; return the output of the last."""
        for node in nodes:
            x = self.values[node.name] = self.node(node, x)
        return x

    def node(self, node: LayerNode, x: str) -> str:
        """Emit one layer, or all layers of a composition."""
        part = layer_class(node)
        self.nodes[node.name] = node
        if issubclass(part, Composition):
            ends = [self.chain(branch.layers, x) for branch in node.branches]
            if len(ends) == 1:  # a residual without a shortcut adds its own input
                ends.append(x)
            y = self._output(node)
            if kernel_class(node) is not None:
                saved, scratch = self._work(node.name, node.geometry.work)
                self.emit(Step("forward", node.name, tuple(ends), y, saves=saved, scratch=scratch))
                return y
            over = not part.splits and ends[0] not in ends[1:]
            self.emit(Step("concat" if part.splits else "add", node.name, tuple(ends), y, over=over))
            return y
        others = tuple(self.values[name] for name in node.reads if node.field is None)
        if part is From:
            if node.field is None:
                return others[0]
            x = self.values[INPUT]
        if part.in_place and "input" in part.backward_reads:
            raise ContractError(f"{part.__name__} writes over its input, which its backward pass reads again")
        y = self._output(node)
        saved, scratch = self._work(node.name, node.geometry.work)
        self.emit(Step("forward", node.name, (x, *others), y, saves=saved, scratch=scratch, over=part.in_place))
        return y

    def _output(self, node: LayerNode) -> str:
        """Declare the output of a layer, by its name unless the layer has that of another value."""
        name = f"{node.name}'" if node.name in _OTHERS else node.name
        return self._slot(Slot(name, node.geometry.out, self.dtype))

    def scale(self, y: str) -> str:
        """Convert outputs to the unit that the targets had before they were standardised."""
        scaled = self._slot(Slot(f"{y} in units", self.slots[y].shape, self.dtype))
        self.emit(Step("scale", "targets", (y,), scaled))
        return scaled

    def metric(self, name: str, reads: tuple[str, ...], work: Mapping[str, Work]) -> None:
        """Update a metric with a batch: its outputs, labels and, of positions, weights."""
        saved, scratch = self._work(name, work)
        self.emit(Step("metric", name, reads, saves=saved, scratch=scratch))

    def loss(self, y: str, targets: tuple[str, ...], work: Mapping[str, Work], name: str = "loss") -> str:
        """Emit the loss and its gradient; return the gradient of the outputs, which may overwrite what the loss worked
        in.
        """
        saved, scratch = self._work(name, work)
        shape = self.slots[y].shape
        inside = self._slot(Slot(name, shape, self.dtype, of=y))
        self.emit(Step("loss", name, (y, *targets), inside, saves=saved, scratch=scratch, over=True))
        gradient = self._slot(Slot(gradient_of(y), shape, self.dtype, of=y))
        self.emit(Step("loss gradient", name, (inside,), gradient, keeps=saved, scratch=scratch, over=True))
        return gradient

    # Backward

    def differentiate(self, gradients: Mapping[str, str]) -> None:
        """Differentiate backwards from the values with known gradients to the first parameters: reverse mode, step by
        step.
        """
        forward = [step for step in self.steps if step.op in ("forward", "add", "concat")]
        needed = self._trained(forward)
        self._readers = Counter([*gradients, *(read for step in forward for read in step.reads)])
        shares: dict[str, list[str]] = {value: [gradient] for value, gradient in gradients.items()}
        for step in reversed(forward):
            value = step.writes
            if value is None or value not in needed or value not in shares:
                continue
            gradient = self._total(value, shares.pop(value))
            if step.op == "forward":
                self._back_through(step, gradient, needed, shares)
            elif step.op == "add":
                for read in step.reads:
                    if read in needed:
                        shares.setdefault(read, []).append(gradient)
            else:
                self._split(step, gradient, needed, shares)

    def _trained(self, forward: Sequence[Step]) -> set[str]:
        """Return the values that depend on trained parameters and therefore need a gradient."""
        needed: set[str] = set()
        for step in forward:
            trained = False
            if step.op == "forward":
                node = self.nodes[step.node]
                own = step.node not in self.frozen and bool(node.geometry.parameters) and not node.branches
                trained = own or any(owner not in self.frozen for owner in node.owners)
            if step.writes is not None and (trained or any(read in needed for read in step.reads)):
                needed.add(step.writes)
        return needed

    def _back_through(self, step: Step, gradient: str, needed: set[str], shares: dict[str, list[str]]) -> None:
        node = self.nodes[step.node]
        part = kernel_class(node) or layer_class(node)
        (x, *others), y = step.reads, step.writes
        kept = {"input": step.reads, "output": (y,)}
        keeps = [name for what, names in kept.items() if what in part.backward_reads for name in names if name]
        # From the last that it reads to the first: contributions are collected in the reverse order of the readers.
        if self.nodes[step.node].mask is not None:  # ids have no gradient
            others.pop()
        also = [self._share(other, step.node, shares) for other in reversed(others)][::-1]
        target = self._share(x, step.node, shares) if x in needed else None
        self.emit(
            Step(
                "backward",
                step.node,
                (gradient,),
                target,
                keeps=(*keeps, *step.saves),
                scratch=step.scratch,
                over=part.in_place,
                also=tuple(also),
            )
        )
        if step.node in self._uses:
            self.emit(Step("gather", step.node, (), uses=tuple(reversed(self._uses[step.node]))))
        for owner in node.owners:
            if owner not in self.frozen:
                self._uses.setdefault(owner, []).append(step.node)

    def _split(self, step: Step, gradient: str, needed: set[str], shares: dict[str, list[str]]) -> None:
        """Copy to every branch of a concat its own part of the gradient, as a contiguous array."""
        end = 0
        for read in step.reads:
            shape = self.slots[read].shape
            start, end = end, end + shape[feature_axis(shape)]
            if read in needed:
                target = self._share(read, step.node, shares)
                self.emit(Step("split", step.node, (gradient,), target, part=(start, end)))

    def _share(self, value: str, via: str, shares: dict[str, list[str]]) -> str:
        """Declare the contribution of one reader to the gradient of a value."""
        base = name = f"{gradient_of(value)} via {via}" if self._readers[value] > 1 else gradient_of(value)
        number = 1
        while name in self.slots:
            number += 1
            name = f"{base} ({number})"
        shares.setdefault(value, []).append(self._slot(Slot(name, self.slots[value].shape, self.dtype, of=value)))
        return name

    def _total(self, value: str, shares: list[str]) -> str:
        """Add the contributions of a value's readers, from the first reader in the program to the last."""
        if len(shares) == 1:
            return shares[0]
        reads = tuple(reversed(shares))
        target = self._slot(Slot(gradient_of(value), self.slots[value].shape, self.dtype, of=value))
        self.emit(Step("sum", value, reads, target, over=reads[0] not in reads[1:]))
        return target
