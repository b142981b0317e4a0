"""A trained network as plain data: operations on named arrays, from samples as they are stored to probabilities.

    input ─ preparation ─ layers ─ outputs ─ probabilities

The layers are the forward steps of the compiler (`lower`), with compositions expanded. Everything that `predict` does
before and after them is an operation too: one-hot columns, divisor, standardisation, the unit of the targets. Each
target (ONNX, C, …) is a table from the kind of an operation to its own code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import LayerNode
from nnspec.compiler.layout import prepared_in
from nnspec.compiler.lower import layer_class, lower
from nnspec.data.source import Column
from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Layer, Shape, feature_axis
from nnspec.engine.layers.products import aligned_shape
from nnspec.engine.layers.resampling import Resampling
from nnspec.engine.layers.shaping import Framing, Permutation, Permuting
from nnspec.engine.layers.tied import Transposed
from nnspec.engine.layers.transposed import WINDOW, windows_over
from nnspec.engine.layers.windows import Windows, sizes, windows_on
from nnspec.results.predictor import Predictor, squashing

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Op", "Program", "Value", "along", "layers_by_name", "program_of"]

_ENGINE = "nnspec.engine."


@dataclass(frozen=True)
class Value:
    """A named array of a batch, `(B, *shape)`. What is no layer has a name with a space, which no layer has."""

    name: str
    shape: Shape
    dtype: str

    @property
    def numbers(self) -> int:
        """How many numbers one sample has."""
        return prod(self.shape)


def along(shape: Shape) -> tuple[int, int, int]:
    """Return how many blocks a sample has, how many features or channels a block has, and how many numbers each of
    these: a sequence has a block for each position."""
    axis = feature_axis(shape)
    return prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])


@dataclass(frozen=True)
class Op:
    """One operation. Its `kind` is a layer's name in a spec, or in lower case an operation around the layers:

    | kind | y |
    |---|---|
    | `columns` | features of a table: numbers, and for columns of text the code of each text as one-hot numbers |
    | `cast` | x in another dtype |
    | `reshape`, `transpose` | x in another shape, or with its axes permuted |
    | `multiply` | x · `factor` |
    | `standardise` | ((x − `mean`) − `rest`) · `factor`, in the dtype of x |
    | `units` | x · `deviation` + `mean`, in float64 |
    | `add`, `concat` | the sum of all that is read, or all of it along the features or channels |
    | `exp`, `complement` | eˣ; [1 − x, x] |

    `product`, `subtract`, `dot` and `distance` are compositions, which read the outputs of their branches, in shapes
    that broadcast. One of several inputs is the layer `from`, with its range of the row.
    """

    kind: str
    reads: tuple[Value, ...]
    writes: Value
    weights: Mapping[str, NDArray[Any]] = field(default_factory=lambda: MappingProxyType({}))
    """Parameters and state of the layer by name, as nnspec has them."""
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    node: LayerNode | None = None
    """The layer of the spec; None for operations around the layers."""

    @property
    def incoming(self) -> Shape:
        """The shape of a sample of what it reads first."""
        return self.reads[0].shape

    @property
    def plane(self) -> Shape:
        """The extents that windows slide along: rows and columns, or positions."""
        return self.incoming[1:] if len(self.incoming) == 3 else self.incoming[:1]

    @property
    def windows(self) -> Windows:
        """The windows of a convolution or a pool."""
        a, plane = self.arguments, self.plane
        if "output_padding" in a:
            return windows_over(plane, [sizes(a[name]) for name in WINDOW], self.kind)
        stride = a["kernel_size"] if a["stride"] is None else a["stride"]
        window = (sizes(value) for value in (a["kernel_size"], stride, a["padding"], a.get("dilation", 1)))
        return windows_on(plane, *window, self.kind, ceil=bool(a.get("ceil_mode")))

    @property
    def permutation(self) -> Permutation:
        """How a layer that only changes the order of numbers does it."""
        if self.node is None or not issubclass(part := layer_class(self.node), Permuting):
            raise TypeError(f"{self.kind} is not a permutation")
        return part.permutation(self.incoming, self.arguments)

    @property
    def frame(self) -> tuple[tuple[int, int], ...]:
        """What a layer adds or removes before and after each axis of a sample."""
        if self.node is None or not issubclass(part := layer_class(self.node), Framing):
            raise TypeError(f"{self.kind} has no frame")
        return part.frame(self.incoming, self.arguments["margin"])

    @property
    def repetitions(self) -> tuple[int, int]:
        """How often a layer repeats each number along rows and columns; (1, 1) if it computes weighted means."""
        if self.node is None or not issubclass(part := layer_class(self.node), Resampling):
            raise TypeError(f"{self.kind} has no resolution")
        rows, columns = (1, 1, *part.repetitions(self.plane, self.arguments))[-2:]
        return rows, columns


def keeps_cells(op: Op) -> str:
    """Why an LSTM cannot be expressed where only its last cell is available; "" if it can."""
    every = op.kind == "LSTM" and op.arguments["return_cell"] and op.arguments["return_sequences"]
    return "returns the cell of every step, and only that of the last is available there" if every else ""


@dataclass(frozen=True)
class Program:
    """A network with its preparation, and the names of what goes in and comes out."""

    input: Value
    ops: tuple[Op, ...]
    entry: Value
    """What enters the first layer."""
    outputs: Value
    """The outputs in the unit of the targets."""
    probabilities: Value | None
    """The probability of each class, if the outputs determine one."""
    dtype: str
    """The dtype of the layers."""
    classes: int | None = None
    columns: tuple[Column, ...] = ()
    class_names: tuple[str, ...] = ()
    alphabet: str | tuple[str, ...] = ""
    tokens: int = 0
    example: tuple[NDArray[Any], NDArray[Any]] | None = None
    """Samples and their outputs, for targets that test themselves."""

    @property
    def compared(self) -> tuple[Value, ...]:
        """The values that are compared with nnspec's, in order: what enters, each layer, and what comes out."""
        layers = (op.writes for op in self.ops if op.node is not None)
        last = (self.outputs, *([self.probabilities] if self.probabilities else []))
        return tuple(dict.fromkeys((self.entry, *layers, *last)))

    @property
    def parameters(self) -> int:
        """How many numbers its layers have."""
        own = (op for op in self.ops if op.node is not None and not op.node.owners)
        tied = (op for op in self.ops if op.node is not None and op.node.owners)
        arrays = (array for op in own for array in op.weights.values())
        return sum(array.size for array in arrays) + sum(
            prod(shape) for op in tied if op.node is not None for shape in op.node.geometry.parameters.values()
        )

    def last_readers(self) -> Mapping[str, int]:
        """Return, for each value, the index of the last operation that reads it; what comes out is read at the end."""
        ends = {value.name: len(self.ops) for value in (self.outputs, self.probabilities) if value is not None}
        return {value.name: i for i, op in enumerate(self.ops) for value in op.reads} | ends


def program_of(predictor: Predictor) -> Program:
    """Return the program of a trained network, in evaluation mode."""
    building = _Building(predictor)
    entry = building.prepare()
    last = building.layers(entry)
    outputs = building.outputs(last)
    probabilities = building.probabilities(last)
    return Program(
        input=building.input,
        ops=tuple(building.ops),
        entry=entry,
        outputs=outputs,
        probabilities=probabilities,
        dtype=predictor.experiment.dtype,
        classes=predictor.classes,
        columns=building.columns,
        class_names=predictor.class_names,
        alphabet=predictor.alphabet,
        tokens=predictor.wanted.tokens,
    )


class _Building:
    """The operations so far."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor, self._experiment = predictor, predictor.experiment
        self._dtype = predictor.experiment.dtype
        self.ops: list[Op] = []
        wanted = predictor.wanted
        self.columns = wanted.columns if wanted.windows is None else ()
        """The columns of a table with a sample per row."""
        dtype = self._dtype if predictor.scaling is None else prepared_in(predictor.experiment)
        if self.columns:
            self.input = Value("the input", (len(self.columns),), "float64")
        elif wanted.tokens:
            self.input = Value("the input", wanted.shape, "int64")
        else:
            arrangement = wanted.arrangement
            shape = wanted.shape if arrangement is None else arrangement.stored_shape
            self.input = Value("the input", shape, dtype)
        self._prepared = dtype

    def _emit(self, kind: str, reads: Sequence[Value], name: str, shape: Shape, dtype: str, **more: Any) -> Value:
        value = Value(name, shape, dtype)
        self.ops.append(Op(kind, tuple(reads), value, **more))
        return value

    def _shaped(self, x: Value, shape: Shape, name: str) -> Value:
        return x if x.shape == shape else self._emit("reshape", [x], name, shape, x.dtype)

    def _cast(self, x: Value, dtype: str, name: str) -> Value:
        return x if x.dtype == dtype else self._emit("cast", [x], name, x.shape, dtype)

    # Around the layers

    def prepare(self) -> Value:
        """Turn samples as they are stored into what enters the first layer."""
        predictor, wanted, x = self._predictor, self._predictor.wanted, self.input
        entry = self._experiment.layers[0].incoming
        if self.columns:
            columns = [(column.texts, column.mean) for column in self.columns]
            arguments: dict[str, Any] = {"columns": columns, "missing": any(mean is not None for _, mean in columns)}
            x = self._emit("columns", [x], "the features", (prod(wanted.shape),), "float64", arguments=arguments)
        elif wanted.arrangement is not None and wanted.arrangement.stored:
            arrangement = wanted.arrangement
            stored = (*arrangement.stored, *(name for name in arrangement.axes if name not in arrangement.stored))
            x = self._shaped(
                x, tuple(arrangement.shape[arrangement.axes.index(name)] for name in stored), "the stored samples"
            )
            order = tuple(stored.index(name) for name in arrangement.axes)
            x = self._emit(
                "transpose", [x], "the arranged samples", arrangement.shape, x.dtype, arguments={"order": order}
            )
        x = self._shaped(x, entry, "the samples")
        if wanted.tokens:
            return x
        x = self._cast(x, self._prepared, "the numbers")
        if wanted.divisor != 1:
            factor = np.dtype(x.dtype).type(1.0 / wanted.divisor)
            x = self._emit(
                "multiply", [x], "the divided samples", entry, x.dtype, weights={"factor": np.asarray(factor)}
            )
        if predictor.scaling is not None:
            mean, deviation = (array.reshape(entry) for array in predictor.scaling)
            near = mean.astype(x.dtype)
            weights = {"mean": near, "factor": (1 / deviation).astype(x.dtype)}
            if x.dtype == "float32":
                weights["rest"] = (mean - near).astype(x.dtype)
            x = self._emit("standardise", [x], "the standardised samples", entry, x.dtype, weights=weights)
        return self._cast(x, self._dtype, "the network's input")

    def outputs(self, last: Value) -> Value:
        """Return the outputs in the unit of the targets."""
        scaling = self._predictor.target_scaling
        if scaling is None:
            return last
        mean, deviation = (array.astype(np.float64).reshape(last.shape) for array in scaling)
        weights = {"mean": mean, "deviation": deviation}
        return self._emit("units", [last], "the outputs", last.shape, "float64", weights=weights)

    def probabilities(self, last: Value) -> Value | None:
        """Return the probabilities that the outputs determine, as `predict` does."""
        how = squashing(self._experiment)
        if how is None or len(last.shape) > 2:
            return None
        kind = {"softmax": "Softmax", "sigmoid": "Sigmoid", "exp": "exp", "": "Dropout"}[how]
        single = last.shape[-1] == 1
        p = self._emit(kind, [last], "the odds" if single else "the probabilities", last.shape, last.dtype)
        if single:
            p = self._emit("complement", [p], "the probabilities", (*last.shape[:-1], 2), last.dtype)
        return p

    # The layers

    def layers(self, entry: Value) -> Value:
        """Add the forward steps of the layers; return the output of the last."""
        layers = layers_by_name(self._predictor)
        steps = lower(self._experiment)
        values = {"x": entry}
        numbers = entry
        for step in steps:
            if step.op not in ("forward", "add", "concat") or step.writes is None:
                continue
            node = steps.nodes[step.node]
            reads = [values[name] for name in step.reads]
            takes_ids = step.op == "forward" and (layer_class(node).looks_up or node.field is not None)
            if entry.dtype == "int64" and entry in reads and not takes_ids:
                if numbers is entry:
                    numbers = self._cast(entry, self._dtype, "the network's input")
                reads = [numbers if value is entry else value for value in reads]
            if node.branches and step.op == "forward":
                aligned = [aligned_shape(value.shape, node.geometry.out) for value in reads]
                words = (f"branch {number} of {step.node}" for number in range(1, len(reads) + 1))
                reads = [self._shaped(*each) for each in zip(reads, aligned, words, strict=True)]
            y = self._emit(
                _kind(node) if step.op == "forward" else step.op,
                reads,
                step.writes,
                node.geometry.out,
                self._dtype if node.field is None else reads[0].dtype,
                weights={} if node.branches else _weights(layers[step.node], node, self._dtype),
                arguments=_arguments(layers[step.node], node) if step.op == "forward" else {},
                node=node,
            )
            if node.field is not None and node.field.tokens:
                y = self._cast(y, "int64", f"the ids of {step.node}")
            values[step.writes] = y
        return values[next(step.reads[0] for step in steps if step.op == "loss")]


def _kind(node: LayerNode) -> str:
    """Name the operation of a layer. The parts of other packages have no code in any target."""
    part = layer_class(node)
    if part is Transposed:  # a linear layer, with the weight of another one
        return "Linear"
    if part.spec_name == "multiply":
        return "product"
    return part.spec_name if part.__module__.startswith(_ENGINE) else f"{part.__module__}:{part.spec_name}"


def _weights(layer: Layer, node: LayerNode, dtype: str) -> dict[str, NDArray[Any]]:
    """Return parameters and state of a layer; for positions, the table that is added; for another resolution, the
    matrix of each axis.
    """
    if node.value.name in ("PositionalEmbedding", "SinusoidalPositions"):
        return {"table": layer.forward(np.zeros((1, *node.incoming), dtype))[0]}
    if isinstance(layer, Resampling):
        plane = node.incoming[1:] if len(node.incoming) == 3 else node.incoming[:1]
        matrices = () if layer.repetitions(plane, node.arguments()) else layer.matrices(plane, node.arguments())
        names = ("rows", "columns")[-len(matrices) :]
        return {name: matrix.astype(dtype) for name, matrix in zip(names, matrices, strict=False)}
    if isinstance(layer, Transposed):
        return {name: parameter.data for name, parameter in layer.as_linear().items()}
    own = {**layer.parameters(), **layer.shared()}
    return {name: parameter.data for name, parameter in own.items()} | layer.state_in_use()


def _arguments(layer: Layer, node: LayerNode) -> dict[str, Any]:
    """Return the arguments of a layer; for SELU, also its two constants; for an input, its range of the row."""
    if isinstance(layer, Transposed):
        out = node.geometry.out[-1]
        return {"in_features": node.incoming[-1], "out_features": out, "bias": layer.bias is not None}
    if node.field is not None:
        return {"start": node.field.start, "stop": node.field.stop}
    constants = {
        name: getattr(layer, name) for name in ("alpha", "scale") if isinstance(getattr(layer, name, None), float)
    }
    return {**constants, **node.arguments()}


def layers_by_name(predictor: Predictor) -> dict[str, Layer]:
    """Return all layers, also those within compositions, by their full names."""
    stack = list(zip(predictor.network.names, predictor.network.layers, strict=True))
    found: dict[str, Layer] = {}
    while stack:
        name, layer = stack.pop()
        found[name] = layer
        stack.extend((f"{name}.{path}", child) for path, child in layer.children().items())
    return found
