"""Where everything stands before the first number is computed: shapes, buffers, bytes and FLOPs, by plain arithmetic.

No array is made here, so that `check` and `show` can know all of it. The plan allocates exactly these buffers.

    parameters, gradients      one vector each; the layers' weights are views
    state of layers            what they remember besides: running means and variances
    optimizer                  its state vectors, and those that it works in
    batch                      samples as stored, as floats, their labels; the order of an epoch, and what is held out
    activations                one buffer a layer, but for layers that write over their input
    backward                   two buffers, used in turn
    work                       what kernels work in, activations inside of compositions among it: arrays that live from
                               forward to backward, and one pool for those that live within a call
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from nnspec.checker.program import Experiment, LayerNode
from nnspec.engine.layers.contract import Layer, Shape
from nnspec.engine.losses import Loss
from nnspec.engine.metrics import Metric
from nnspec.engine.optimizers import Optimizer
from nnspec.engine.penalties import BLOCK, units
from nnspec.engine.work import Work
from nnspec.errors import ensure

__all__ = ["Buffer", "LayerLayout", "Layout", "WorkLayout", "dtype_of", "lay_out", "prepared_in"]

ALIGNMENT = 64
_WIDE = frozenset(["float64", "int32", "int64", "uint32", "uint64"])
ITEMSIZE = {"float32": 4, "float64": 8, "bool": 1, "intp": struct.calcsize("n")}
ITEMSIZE |= {f"{kind}{8 * size}": size for kind in ("int", "uint") for size in (1, 2, 4, 8)}
"""Bytes a number, of buffers and of data in any type that a source may store it in."""


@dataclass(frozen=True)
class Buffer:
    """An array of the plan. `group` is its line in the account of memory."""

    name: str
    group: str
    shape: Shape
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes of array data."""
        return prod(self.shape) * ITEMSIZE[self.dtype]


@dataclass(frozen=True)
class WorkLayout:
    """The work arrays of one layer, loss or metric."""

    saved: Mapping[str, Work]
    """Those with a buffer of their own."""
    pooled: Mapping[str, tuple[int, Work]]
    """Those in the pool, with their offset in bytes: nothing there outlives one call of one kernel."""
    pool: int
    """Bytes of the pool that they take."""


@dataclass(frozen=True)
class LayerLayout:
    """A layer in the plan."""

    node: LayerNode
    parameters: Mapping[str, tuple[int, Shape]]
    """Offset in the vector and shape of each parameter."""
    in_place: bool
    """Whether it writes its output over its input."""
    work: WorkLayout
    batch_last: bool = False
    """Whether the samples are the last axis of its output in memory."""

    @property
    def size(self) -> int:
        """How many parameters it has."""
        return sum(prod(shape) for _, shape in self.parameters.values())


@dataclass(frozen=True)
class Layout:
    """All of it."""

    batch: int
    """Rows of the buffers: the batch, or the data where that is smaller."""
    dtype: str
    layers: tuple[LayerLayout, ...]
    buffers: tuple[Buffer, ...]
    loss_in_place: bool
    """Whether the loss may work in the buffer of the outputs."""
    loss_work: WorkLayout
    metric_work: tuple[WorkLayout, ...]
    first_trained: int
    """Index of the first layer with parameters: no gradient is needed before it."""

    @cached_property
    def params(self) -> int:
        """How many parameters there are."""
        return sum(layer.size for layer in self.layers)

    @cached_property
    def flops(self) -> int:
        """FLOPs of one sample's forward pass, a multiply-add being 2."""
        return sum(layer.node.geometry.flops for layer in self.layers)

    @cached_property
    def memory(self) -> int:
        """Bytes of all buffers."""
        return sum(buffer.nbytes for buffer in self.buffers)

    def groups(self) -> dict[str, int]:
        """Return the account of memory: bytes by group, in order."""
        account: dict[str, int] = {}
        for buffer in self.buffers:
            account[buffer.group] = account.get(buffer.group, 0) + buffer.nbytes
        return account


def lay_out(experiment: Experiment) -> Layout:
    """Lay out an experiment. Raises ContractError where the parts contradict their own declarations, and ValueError
    where there are too few samples to hold any out."""
    batch = min(experiment.train.batch, _split(experiment)[0])
    place = _Placing(batch, experiment.dtype)
    layers = _ordered(tuple(_layers(experiment.layers, place)))
    last = experiment.layers[-1].value.part
    loss, optimizer = experiment.loss.part, experiment.optimizer.part
    assert issubclass(last, Layer)
    assert issubclass(loss, Loss)
    assert issubclass(optimizer, Optimizer)
    layout = Layout(
        batch=batch,
        dtype=experiment.dtype,
        layers=layers,
        buffers=(),
        loss_in_place="output" not in last.backward_reads,
        loss_work=place(loss.work(experiment.outputs, experiment.loss.values())),
        metric_work=tuple(
            place(m.part.work(experiment.outputs, m.values())) for m in experiment.metrics if issubclass(m.part, Metric)
        ),
        first_trained=next(i for i, layer in enumerate(layers) if layer.parameters),
    )
    buffers = [*_vectors(layout, optimizer, experiment), *_batch(layout, experiment, loss), *_passes(layout)]
    ensure(len({buffer.name for buffer in buffers}) == len(buffers), "two buffers have the same name")
    return replace(layout, buffers=tuple(buffers))


@dataclass(frozen=True)
class _Placing:
    """Divides work arrays into those with a buffer of their own and those in the pool."""

    batch: int
    dtype: str

    def __call__(self, work: Mapping[str, Work]) -> WorkLayout:
        pooled: dict[str, tuple[int, Work]] = {}
        pool = self._pool({name: array for name, array in work.items() if not array.saved}, 0, 0, pooled)
        return WorkLayout({name: array for name, array in work.items() if array.saved}, pooled, pool)

    def _pool(self, work: Mapping[str, Work], depth: int, start: int, pooled: dict[str, tuple[int, Work]]) -> int:
        """Place arrays from `start` on and return where they end: those in use within different kernels overlap."""
        inside: dict[str, dict[str, Work]] = {}
        for name, array in work.items():
            if len(array.inside) > depth:
                inside.setdefault(array.inside[depth], {})[name] = array
                continue
            pooled[name] = (start, array)
            nbytes = self.batch * prod(array.shape) * ITEMSIZE[dtype_of(array, self.dtype)]
            start += -(-nbytes // ALIGNMENT) * ALIGNMENT
        end = start
        for part in inside.values():
            end = max(end, self._pool(part, depth + 1, start, pooled))
        return end


def _layers(nodes: tuple[LayerNode, ...], place: _Placing) -> Iterator[LayerLayout]:
    offset, before = 0, None
    for node in nodes:
        part = node.value.part
        assert issubclass(part, Layer)
        ensure(
            not (part.in_place and "input" in part.backward_reads), f"{part.__name__} overwrites what it reads again"
        )
        parameters = {}
        for name, shape in node.geometry.parameters.items():
            parameters[name] = (offset, shape)
            offset += prod(shape)
        yield LayerLayout(
            node=node,
            parameters=parameters,
            in_place=part.in_place and (before is None or "output" not in before.backward_reads),
            work=place(node.geometry.work),
        )
        before = part


def _ordered(layers: tuple[LayerLayout, ...]) -> tuple[LayerLayout, ...]:
    """Say of each output how it lies in memory: as its layer would have it, where the next one takes it so.

    Samples enter in C order, and what goes to the loss is in C order.
    """
    last: list[bool] = []
    for layer in layers:
        wish = _wish(layer.node)
        last.append(wish == "prefers" or (wish == "keeps" and any(last[-1:])))
    for i in reversed(range(len(layers))):
        behind = layers[i + 1] if i + 1 < len(layers) else None
        taken = behind is not None and _wish(behind.node) != "no"
        same_memory = behind is not None and behind.in_place
        last[i] = last[i] and taken and (last[i + 1] if same_memory else True)
    return tuple(replace(layer, batch_last=flag) for layer, flag in zip(layers, last, strict=True))


def _wish(node: LayerNode) -> str:
    """Return what a layer makes of arrays whose samples are the last axis in memory."""
    assert issubclass(node.value.part, Layer)
    wish: str = node.value.part.batch_last
    if node.branches:
        inner = {_wish(child) for branch in node.branches for child in branch.layers}
        return "no" if inner - {"keeps", "prefers"} else "prefers" if "prefers" in inner else "keeps"
    if wish == "rows":
        return "takes" if len(node.incoming) == 1 else "no"
    return wish


def _vectors(layout: Layout, optimizer: type[Optimizer], experiment: Experiment) -> Iterator[Buffer]:
    size = (layout.params,)
    yield Buffer("parameters", "parameters", size, layout.dtype)
    yield Buffer("gradients", "gradients", size, layout.dtype)
    for i, layer in enumerate(layout.layers):
        for name, shape in layer.node.geometry.state.items():
            yield Buffer(f"layer{i}.{name}", "state of layers", shape, layout.dtype)
    for slot in optimizer.state_slots(experiment.optimizer.values()):
        yield Buffer(f"optimizer.{slot}", "optimizer", size, layout.dtype)
    for name in optimizer.work_slots(experiment.optimizer.values()):
        yield Buffer(f"optimizer.{name}", "optimizer", size, layout.dtype)
    if experiment.train.penalties:
        yield Buffer("penalty", "optimizer", (min(BLOCK, layout.params),), layout.dtype)
    if experiment.train.constraint is not None:
        shapes = [shape for layer in layout.layers for _, shape in layer.parameters.values()]
        yield Buffer("constraint", "optimizer", (max(units(shape)[0] for shape in shapes),), layout.dtype)


def _batch(layout: Layout, experiment: Experiment, loss: type[Loss]) -> Iterator[Buffer]:
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
    if experiment.train.standardise_target:
        yield Buffer("targets", "batch", (rows, *experiment.outputs), layout.dtype)
        yield Buffer("in_units", "batch", (rows, *experiment.outputs), layout.dtype)
        yield Buffer("target_factor", "batch", experiment.outputs, layout.dtype)
        yield Buffer("target_deviation", "batch", experiment.outputs, layout.dtype)
    yield Buffer("order", "batch", (trained,), "intp")
    if experiment.train.shuffle:
        yield Buffer("ramp", "batch", (trained,), "intp")
    if held_out:
        yield Buffer("held_out", "batch", (held_out,), "intp")
    prepared = prepared_in(experiment)
    if experiment.train.prepares and prepared not in (facts.stored, layout.dtype):
        yield Buffer("wide", "batch", (rows, facts.features), prepared)
    if experiment.train.standardise:
        names = ("mean", "factor", "rest") if prepared == "float32" else ("mean", "factor")
        for name in names:
            yield Buffer(name, "batch", (facts.features,), prepared)
    for i, augmentation in enumerate(experiment.train.augmentations):
        for name, array in augmentation.work(facts.shape).items():
            dtype = dtype_of(array, prepared)
            yield Buffer(f"augment{i}.{name}", "batch", (rows, *array.shape), dtype)


def prepared_in(experiment: Experiment) -> str:
    """Return the dtype in which samples are prepared: float64 where the network's does not hold what is stored."""
    return "float64" if experiment.facts.stored in _WIDE else experiment.dtype


def _split(experiment: Experiment) -> tuple[int, int]:
    """How many samples are trained on, and how many held out, at most: alternatives of the data differ in size."""
    sizes = [choice.facts.train for choice in experiment.data]
    held_out = [experiment.train.held_out(size) for size in sizes]
    return max(size - held for size, held in zip(sizes, held_out, strict=True)), max(held_out)


def _passes(layout: Layout) -> Iterator[Buffer]:
    rows = layout.batch
    for i, layer in enumerate(layout.layers):
        if not layer.in_place:
            yield Buffer(f"y{i}", "activations", (rows, *layer.node.geometry.out), layout.dtype)
    if not layout.loss_in_place:
        yield Buffer("loss", "activations", (rows, *layout.layers[-1].node.geometry.out), layout.dtype)
    widths = [
        prod(layer.node.incoming)
        for layer in layout.layers[layout.first_trained + 1 :]
        if not _writes_over_gradient(layer.node)
    ]
    for i in range(min(2, len(widths))):
        yield Buffer(f"g{i}", "backward", (rows * max(widths),), layout.dtype)
    works = {f"layer{i}": layer.work for i, layer in enumerate(layout.layers)} | {"loss": layout.loss_work}
    works |= {f"metric{i}": work for i, work in enumerate(layout.metric_work)}
    for owner, work in works.items():
        for name, array in work.saved.items():
            yield Buffer(f"{owner}.{name}", "work", (rows, *array.shape), dtype_of(array, layout.dtype))
    pool = max(work.pool for work in works.values())
    if pool:
        yield Buffer("pool", "work", (pool,), "uint8")


def _writes_over_gradient(node: LayerNode) -> bool:
    """Whether backward writes its result over the gradient that arrives, also where forward may not do the like."""
    assert issubclass(node.value.part, Layer)
    return node.value.part.in_place


def dtype_of(work: Work, float_dtype: str) -> str:
    """Return the dtype of a work array in a network of a dtype."""
    return {"float": float_dtype, "index": "intp"}.get(work.dtype, work.dtype)
