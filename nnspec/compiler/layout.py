"""Everything known before the first number is computed: shapes, buffers, bytes and FLOPs.

No array is created here, so `check` and `show` can report all of it. The plan allocates exactly these buffers.

    parameters, gradients      one vector each; the layers' weights are views
    state of layers            everything else that they keep: running means and variances
    optimizer                  its state vectors and its work vectors
    batch                      samples as stored and as floats, labels; the order of an epoch, held-out samples
    values                     rooms for what the steps read and write: activations, gradients, and what kernels keep
                               from forward to backward; each room is reused once its value is no longer needed
    work                       one pool for the work arrays of kernels within a call
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

from nnspec.checker.program import Experiment, LayerNode
from nnspec.checker.tensor_names import frozen_layers, tensors
from nnspec.compiler.allocate import ALIGNMENT, ITEMSIZE, Memory, allocate
from nnspec.compiler.lower import kernel_class, loss_work, lower, metric_work
from nnspec.compiler.repeating import is_repeated
from nnspec.compiler.rewrites import keep_inputs, rewritten
from nnspec.compiler.steps import Steps
from nnspec.compiler.verify import verified
from nnspec.engine.layers.contract import Shape
from nnspec.engine.parameter import Segment
from nnspec.engine.penalties import BLOCK, units
from nnspec.engine.work import Work

__all__ = ["Buffer", "LayerLayout", "Layout", "averaged_in", "dtype_of", "lay_out", "prepared_in", "renews_statistics"]

FLOPS = 20e9
"""Approximate FLOPs per second of a core, and the overhead of a step's calls in seconds; used only for estimates."""
SECONDS_A_STEP = 5e-5
_WIDE = frozenset(["float64", "int32", "int64", "uint32", "uint64"])


@dataclass(frozen=True)
class Buffer:
    """An array of the plan. `group` is its line in the memory summary."""

    name: str
    group: str
    shape: Shape
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes of array data."""
        return prod(self.shape) * ITEMSIZE[self.dtype]


@dataclass(frozen=True)
class LayerLayout:
    """A layer of the model, with the position of its parameters in the vector that holds all of them."""

    node: LayerNode
    parameters: Mapping[str, tuple[int, Shape]]
    """Offset in the vector and shape of each parameter."""

    @property
    def size(self) -> int:
        """Its number of parameters."""
        return sum(prod(shape) for _, shape in self.parameters.values())


@dataclass(frozen=True)
class Layout:
    """The layout of an experiment. Steps and buffers are computed on first access."""

    experiment: Experiment
    batch: int
    """Rows of the buffers: the batch size, or the size of the data if that is smaller."""
    layers: tuple[LayerLayout, ...]

    @property
    def dtype(self) -> str:
        """The dtype of the network."""
        return self.experiment.dtype

    @cached_property
    def params(self) -> int:
        """The number of parameters."""
        return sum(layer.size for layer in self.layers)

    @cached_property
    def flops(self) -> int:
        """FLOPs of the forward pass of one sample; a multiply-add is 2."""
        return sum(layer.node.geometry.flops for layer in self.layers)

    @property
    def seconds(self) -> float:
        """The estimated duration of one training: forward and backward together cost three times the forward pass."""
        samples = self.experiment.facts.train
        epoch = samples * 3 * self.flops / FLOPS + samples / self.batch * SECONDS_A_STEP
        experiment = self.experiment
        repeated = experiment.optimizer.part.evaluations(experiment.optimizer.values())
        return experiment.length.epochs * epoch * repeated * (1 if experiment.train.sharpness is None else 2)

    @cached_property
    def tensors(self) -> tuple[Segment, ...]:
        """All parameters, in the order of the vector that holds them, and how each of them is updated."""
        return tensors(self.experiment)

    @cached_property
    def trained_params(self) -> int:
        """The number of trained parameters, that is, those that are not frozen."""
        return sum(tensor.size for tensor in self.tensors if not tensor.frozen)

    @cached_property
    def frozen(self) -> frozenset[str]:
        """The full names of the layers none of whose parameters is trained."""
        return frozen_layers(self.tensors)

    @cached_property
    def first_trained(self) -> int:
        """Index of the first layer with trained parameters: no gradient is needed before it."""
        trained = {tensor.layer for tensor in self.tensors if not tensor.frozen}
        return next(i for i, layer in enumerate(self.layers) if trained & {node.name for node in layer.node.walk()})

    @cached_property
    def steps(self) -> Steps:
        """The program of a training step, after all rewrites."""
        steps = rewritten(lower(self.experiment))
        return keep_inputs(steps) if is_repeated(self.experiment) else steps

    @cached_property
    def values(self) -> Memory:
        """The memory of the values that the steps read and write."""
        return verified(self.steps, allocate(self.steps, self.batch))

    @property
    def room_names(self) -> tuple[str, ...]:
        """The buffers that a loop allocates for the values of its steps."""
        return (*self.values.rooms, *(["pool"] if self.values.pool else []))

    @property
    def batch_names(self) -> tuple[str, ...]:
        """The buffers that batches are loaded into, and those used for loading."""
        return tuple(buffer.name for buffer in self.buffers if buffer.group == "batch")

    @cached_property
    def buffers(self) -> tuple[Buffer, ...]:
        """Every array that training needs."""
        decays = any(tensor.weight_decay for tensor in self.tensors)
        own = (*_vectors(self, decays=decays), *_batch(self), *_rooms(self.values))
        return (*own, *_copies(own)) if is_repeated(self.experiment) else own

    @cached_property
    def memory(self) -> int:
        """Bytes of all buffers."""
        return sum(buffer.nbytes for buffer in self.buffers)

    @property
    def memory_bound(self) -> int:
        """Bytes that `memory` never exceeds: no two values share memory. Needs no steps, so it is quick to compute."""
        buffers = (*_vectors(self, decays=True), *_batch(self))
        buffers = (*buffers, *_copies(buffers))
        return sum(buffer.nbytes for buffer in buffers) + sum(_unshared(self.experiment, self.batch))

    def groups(self) -> dict[str, int]:
        """Return the memory summary: bytes by group, in order."""
        account: dict[str, int] = {}
        for buffer in self.buffers:
            account[buffer.group] = account.get(buffer.group, 0) + buffer.nbytes
        return account

    def parameters_of(self, name: str) -> dict[str, tuple[int, Shape]]:
        """Return offset and shape of each parameter of a layer, by the layer's full name, also within a composition."""
        for layer in self.layers:
            if layer.node.name == name:
                return dict(layer.parameters)
            for node in layer.node.walk():
                if node.name == name:
                    prefix = f"{name.removeprefix(f'{layer.node.name}.')}."
                    return {
                        parameter.removeprefix(prefix): place
                        for parameter, place in layer.parameters.items()
                        if parameter.startswith(prefix)
                    }
        raise KeyError(name)


def lay_out(experiment: Experiment) -> Layout:
    """Lay out an experiment. Raises ValueError if there are too few samples to hold any out."""
    batch = min(experiment.train.batch, _split(experiment)[0])
    return Layout(experiment, batch, tuple(_layers(experiment.layers)))


def _layers(nodes: tuple[LayerNode, ...]) -> Iterator[LayerLayout]:
    offset = 0
    for node in nodes:
        parameters = {}
        for name, shape in node.geometry.parameters.items():
            parameters[name] = (offset, shape)
            offset += prod(shape)
        yield LayerLayout(node, parameters)


def _rooms(values: Memory) -> Iterator[Buffer]:
    for name, size in values.rooms.items():
        yield Buffer(name, "values", (size,), "uint8")
    if values.pool:
        yield Buffer("pool", "work", (values.pool,), "uint8")


def _unshared(experiment: Experiment, batch: int) -> Iterator[int]:
    """Yield the bytes of all that the steps of `lower` write and work in, and of some values that no step needs."""

    def values(*shapes: Shape, dtype: str = experiment.dtype) -> int:
        return sum(batch * prod(shape) * ITEMSIZE[dtype] + ALIGNMENT for shape in shapes)

    def work(arrays: Mapping[str, Work]) -> int:
        return sum(values(array.shape, dtype=dtype_of(array, experiment.dtype)) for array in arrays.values())

    for layer in experiment.layers:
        for node in layer.walk():
            out, incoming = node.geometry.out, node.incoming
            if node.branches:  # its output; the gradient of each part of that; the sum of the branches' gradients
                yield values(out, out, incoming) + len(node.branches) * ALIGNMENT + work(node.geometry.work)
                ends = (branch.layers[-1].geometry.out if branch.layers else incoming for branch in node.branches)
                yield values(*ends) if kernel_class(node) is not None else 0
            else:  # its output and the gradient of its input
                yield values(out, incoming) + work(node.geometry.work)
    outputs = experiment.outputs
    yield work(loss_work(experiment))
    for number in range(len(experiment.metrics)):
        yield work(metric_work(experiment, number))
    yield values(outputs, outputs, outputs)  # what the loss keeps, its gradient, and outputs in the targets' unit


def _vectors(layout: Layout, *, decays: bool) -> Iterator[Buffer]:
    """Yield what does not depend on the batch; `decays` says whether the weights of any layer do, by name."""
    experiment, optimizer = layout.experiment, layout.experiment.optimizer.part
    size = (layout.params,)
    yield Buffer("parameters", "parameters", size, layout.dtype)
    yield Buffer("gradients", "gradients", size, layout.dtype)
    uses = [shape for layer in layout.layers for node in layer.node.walk() for shape in node.uses_of.values()]
    if uses:
        yield Buffer("shared gradients", "gradients", (sum(map(prod, uses)),), layout.dtype)
    for i, layer in enumerate(layout.layers):
        for name, shape in layer.node.geometry.state.items():
            yield Buffer(f"layer{i}.{name}", "state of layers", shape, layout.dtype)
        for node in layer.node.walk() if experiment.train.carry_state else ():
            for name, shape in node.geometry.carried.items():  # before and after a batch
                yield Buffer(carried_name(node, name), "state of layers", (2, layout.batch, *shape), layout.dtype)
    arguments = experiment.optimizer.values()
    for slot in optimizer.state_slots(arguments):
        yield Buffer(f"optimizer.{slot}", "optimizer", size, layout.dtype)
    for slot, count in optimizer.state_of_tensors(arguments, layout.tensors).items():
        yield Buffer(f"optimizer.{slot}", "optimizer", (count,), layout.dtype)
    for name in optimizer.work_slots(decays=decays or bool(arguments.get("weight_decay"))):
        yield Buffer(f"optimizer.{name}", "optimizer", size, layout.dtype)
    if experiment.train.sharpness is not None:
        yield Buffer("step.before", "optimizer", size, layout.dtype)
    if experiment.train.sharpness is not None or averaged_in(experiment):
        yield Buffer("step.block", "optimizer", (min(BLOCK, layout.params),), layout.dtype)
    if experiment.train.accumulate > 1:
        yield Buffer("step.accumulated", "optimizer", size, layout.dtype)
    if experiment.train.average is not None:
        yield Buffer("step.average", "averaged weights", size, layout.dtype)
    for i, layer in enumerate(layout.layers) if renews_statistics(experiment) else ():
        for name, shape in layer.node.geometry.state.items():
            yield Buffer(f"step.average.layer{i}.{name}", "averaged weights", shape, layout.dtype)
    if experiment.train.penalties:
        yield Buffer("penalty", "optimizer", (min(BLOCK, layout.params),), layout.dtype)
    if experiment.train.constraint is not None:
        shapes = [shape for layer in layout.layers for _, shape in layer.parameters.values()]
        yield Buffer("constraint", "optimizer", (max(units(shape)[0] for shape in shapes),), layout.dtype)


KEPT = "step.kept."


def _copies(buffers: Iterable[Buffer]) -> Iterator[Buffer]:
    """Yield two copies of the state of layers, for batches that are evaluated several times."""
    for buffer in buffers:
        if buffer.group == "state of layers":
            yield Buffer(f"{KEPT}{buffer.name}", buffer.group, (2, *buffer.shape), buffer.dtype)


def carried_name(node: LayerNode, name: str) -> str:
    """Name the buffer of a state that a layer carries from batch to batch."""
    return f"carried.{node.name}.{name}"


def _batch(layout: Layout) -> Iterator[Buffer]:
    experiment, loss = layout.experiment, layout.experiment.loss.part
    facts, rows = experiment.facts, layout.batch
    trained, held_out = _split(experiment)
    if facts.stored != layout.dtype:
        yield Buffer("stored", "batch", (rows, facts.features), facts.stored)
    yield Buffer("x", "batch", (rows, facts.features), layout.dtype)
    yield Buffer("labels", "batch", (rows, *facts.target), layout.dtype if facts.classes is None else "intp")
    if loss.targets == "values" and (experiment.classes is not None or experiment.train.target == "input"):
        yield Buffer("targets", "batch", (rows, *experiment.outputs), layout.dtype)
        if experiment.classes is not None and prod(experiment.outputs) != prod(experiment.target):
            yield Buffer("identity", "batch", (experiment.classes, experiment.classes), layout.dtype)
    if experiment.train.target_scalers:
        yield Buffer("targets", "batch", (rows, *experiment.outputs), layout.dtype)
        yield Buffer("target_factor", "batch", experiment.outputs, layout.dtype)
        yield Buffer("target_deviation", "batch", experiment.outputs, layout.dtype)
    if facts.weight is not None:
        yield Buffer("weights", "batch", (rows, *facts.weight), layout.dtype)
    yield Buffer("order", "batch", (trained,), "intp")
    if experiment.train.shuffle:
        yield Buffer("ramp", "batch", (trained,), "intp")
    if held_out:
        yield Buffer("held_out", "batch", (held_out,), "intp")
    prepared = prepared_in(experiment)
    if experiment.train.prepares and prepared not in (facts.stored, layout.dtype):
        yield Buffer("wide", "batch", (rows, facts.features), prepared)
    if experiment.train.scalers:
        names = ("mean", "factor", "rest") if prepared == "float32" else ("mean", "factor")
        for name in names:
            yield Buffer(name, "batch", (facts.features,), prepared)
    for i, augmentation in enumerate(experiment.train.augmentations):
        for name, array in augmentation.work(facts.shape).items():
            dtype = dtype_of(array, prepared)
            yield Buffer(f"augment{i}.{name}", "batch", (rows, *array.shape), dtype)
    if experiment.train.mixes:
        index = loss.targets == "classes"
        shape = experiment.target if index else experiment.outputs
        yield Buffer("partners", "batch", (rows, *shape), "intp" if index else layout.dtype)


def prepared_in(experiment: Experiment) -> str:
    """Return the dtype in which samples are prepared: float64 if the network's dtype cannot represent the stored
    type.
    """
    return "float64" if experiment.facts.stored in _WIDE else experiment.dtype


def _split(experiment: Experiment) -> tuple[int, int]:
    """The maximum numbers of training samples and held-out samples: alternatives of the data differ in size."""
    sizes = [choice.facts.counts for choice in experiment.data]
    train = experiment.train
    return max(train.trained_on(*each) for each in sizes), max(train.held_out(*each[:2]) for each in sizes)


def renews_statistics(experiment: Experiment) -> bool:
    """Whether running statistics are computed for averaged weights, in a pass over the training samples."""
    rule = experiment.train.average
    renews = bool(averaged_in(experiment)) if rule is None else rule.renews_statistics
    return renews and any(n.geometry.state for n in experiment.layers)


def averaged_in(experiment: Experiment) -> str:
    """Return the buffer of the average of the weights that is evaluated instead of them; empty if there is none."""
    if experiment.train.average is not None:
        return "step.average"
    slot = experiment.optimizer.part.evaluated
    return f"optimizer.{slot}" if slot else ""


def dtype_of(work: Work, float_dtype: str) -> str:
    """Return the dtype of a work array, given the dtype of the network."""
    return {"float": float_dtype, "index": "intp"}.get(work.dtype, work.dtype)
