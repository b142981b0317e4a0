"""An ONNX model: preparation, network and probabilities as one graph, of standard operators of opset 17.

Newer operators, such as Gelu (20), Mish (18) and RMSNormalization (23), are written out in older ones, so that old
runtimes run the file too.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import beside_features, feature_axis
from nnspec.engine.layers.products import EPS_COSINE, EPS_DISTANCE
from nnspec.export.certificate import Certificate, ExportError
from nnspec.export.program import Op, Program, Value, along, keeps_cells
from nnspec.export.runtimes import Runtime, Values, version_of
from nnspec.export.target import Artefact, Target

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KEY", "RUNTIMES", "TARGET", "certificate_text"]

KEY = "nnspec.certificate"
"""Where the certificate is in the metadata of a model."""
_INSTALL = 'pip install "nnspec[onnx]"'
_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""The order of the gates in ONNX: i, o, f, c; and z, r, h."""


def _onnx() -> Any:
    if importlib.util.find_spec("onnx") is None:
        raise ExportError(f"ONNX files take the package onnx: {_INSTALL}")
    import onnx

    return onnx


@dataclass
class _Graph:
    """The graph so far: nodes in order, and constants."""

    opset: int
    names: Mapping[str, str]
    """The tensor of each value of the program."""
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    prefix: str = ""

    def node(self, kind: str, *reads: str, **attributes: Any) -> str:
        """Add a node; return its first output."""
        return self.node_of(kind, *reads, **attributes)[0]

    def node_of(self, kind: str, *reads: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """Add a node; return all its outputs."""
        base = f"{self.prefix}/{kind}_{len(self.nodes)}"
        names = [base if i == 0 else f"{base}_{i}" for i in range(outputs)]
        self.nodes.append(_onnx().helper.make_node(kind, list(reads), names, name=base, **attributes))
        return names

    def constant(self, array: Any, dtype: str | None = None) -> str:
        """Add a constant."""
        name = f"{self.prefix}/constant_{len(self.constants)}"
        self.constants.append(_onnx().numpy_helper.from_array(np.array(array, dtype, order="C"), name))
        return name

    def weight(self, op: Op, name: str) -> str:
        """Add an array of a layer as it is; the empty name, which means none, if there is none."""
        return self.constant(op.weights[name]) if name in op.weights else ""

    def integers(self, *values: int) -> str:
        """Add integers."""
        return self.constant(values, "int64")

    def cast(self, x: str, dtype: str) -> str:
        """Convert to another dtype."""
        return self.node("Cast", x, to=_element(dtype))

    def reduce(self, kind: str, x: str, *axes: int, keepdims: int = 1) -> str:
        """Take a mean, a maximum or a sum over axes; of the first two, they are an attribute before opset 18."""
        if self.opset < 18 and kind != "ReduceSum":
            return self.node(kind, x, axes=list(axes), keepdims=keepdims)
        return self.node(kind, x, self.integers(*axes), keepdims=keepdims)

    def name_last(self, tensor: str) -> None:
        """Name the first output of the last node."""
        last = self.nodes[-1]
        for node in self.nodes:
            if any(read == last.output[0] for read in node.input):
                raise ValueError(f"{tensor} is read inside its own operation")
        last.output[0] = tensor


Emit = Callable[[_Graph, Op, Sequence[str]], object]
"""Adds nodes, the last of which returns the value."""


def _element(dtype: str) -> int:
    return int(_onnx().helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _one(kind: str, **words: str) -> Emit:
    """Return an emitter of one node of one input; `alpha="negative_slope"` names an argument."""
    return lambda g, op, reads: g.node(kind, reads[0], **{name: float(op.arguments[w]) for name, w in words.items()})


def _with(kind: str, name: str) -> Emit:
    """Return an emitter of a node with the array `name` as its second input."""
    return lambda g, op, reads: g.node(kind, reads[0], g.weight(op, name))


def _number(g: _Graph, op: Op, value: float) -> str:
    return g.constant(value, op.reads[0].dtype)


def _columns(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    parts = []
    for i, (texts, mean) in enumerate(op.arguments["columns"]):
        column = g.node("Gather", reads[0], g.integers(i), axis=1)
        if texts is None:
            if mean is not None:
                column = g.node("Where", g.node("IsNaN", column), g.constant(mean, "float64"), column)
            parts.append(column)
            continue
        # A code that is none has no row in the table, which is an error when the model runs; -1 is the last row.
        code = g.cast(g.node("Squeeze", column, g.integers(1)), "int64")
        rows = np.eye(len(texts), dtype=np.float64)
        if op.arguments["missing"]:
            rows = np.concatenate([rows, np.zeros((1, len(texts)))])
        else:
            code = _refuse_negative(g, code, len(texts))
        parts.append(g.node("Gather", g.constant(rows), code))
    g.node("Concat", *parts, axis=1)


def _refuse_negative(g: _Graph, ids: str, beyond: int) -> str:
    """Replace negative ids, which would count from the end, by one that is too large."""
    zero = g.constant(0, "int64")
    return g.node("Where", g.node("Less", ids, zero), g.constant(beyond, "int64"), ids)


def _standardise(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    x = g.node("Sub", reads[0], g.weight(op, "mean"))
    if "rest" in op.weights:
        x = g.node("Sub", x, g.weight(op, "rest"))
    g.node("Mul", x, g.weight(op, "factor"))


def _units(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    x = g.node("Mul", g.cast(reads[0], "float64"), g.weight(op, "deviation"))
    g.node("Add", x, g.weight(op, "mean"))


def _complement(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    g.node("Concat", g.node("Sub", _number(g, op, 1), reads[0]), reads[0], axis=-1)


def _input(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    start, stop = op.arguments["start"], op.arguments["stop"]
    part = g.node("Slice", reads[0], g.integers(start), g.integers(stop), g.integers(1))
    g.node("Reshape", part, g.integers(-1, *op.writes.shape))


def _reshape(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    g.node("Reshape", reads[0], g.integers(-1, *op.writes.shape))


def _product(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    total = reads[0]
    for read in reads[1:]:
        total = g.node("Mul", total, read)


def _dot(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    axis, (a, b) = 1 + feature_axis(op.incoming), reads
    y = g.reduce("ReduceSum", g.node("Mul", a, b), axis)
    if op.arguments["normalise"]:
        for x in reads:
            norm = g.node("Sqrt", g.reduce("ReduceSum", g.node("Mul", x, x), axis))
            y = g.node("Div", y, g.node("Max", norm, _number(g, op, EPS_COSINE)))


def _distance(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    apart = g.node("Add", g.node("Sub", *reads), _number(g, op, EPS_DISTANCE))
    g.node("Sqrt", g.reduce("ReduceSum", g.node("Mul", apart, apart), 1 + feature_axis(op.incoming)))


def _add(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    total = reads[0]
    for read in reads[1:]:
        total = g.node("Add", total, read)


def _linear(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    if len(op.incoming) == 1:
        inputs = [reads[0], g.weight(op, "weight"), *([g.weight(op, "bias")] if "bias" in op.weights else [])]
        g.node("Gemm", *inputs)
    else:
        _affine(g, op, reads[0], "weight", "bias")


def _affine(g: _Graph, op: Op, x: str, weight: str, bias: str) -> str:
    y = g.node("MatMul", x, g.weight(op, weight))
    return g.node("Add", y, g.weight(op, bias)) if bias in op.weights else y


def _windowed(g: _Graph, op: Op, kind: str, x: str, *arrays: str, **more: Any) -> None:
    """Add a convolution or a pool over images, or over sequences with their features as channels."""
    w, axes = op.windows, slice(0, 2) if len(op.incoming) == 3 else slice(1, 2)
    before, after = list(w.before)[axes], list(w.after)[axes]
    if len(op.incoming) != 3:
        x = g.node("Transpose", x, perm=[0, 2, 1])
    if kind != "Conv" and before != after:  # not every runtime pools over uneven padding as it should
        fill = _number(g, op, -np.inf if kind == "MaxPool" else 0)
        x = g.node("Pad", x, g.integers(0, 0, *before, 0, 0, *after), fill)
        before = after = [0] * len(before)
    attributes: dict[str, Any] = {"kernel_shape": list(w.size)[axes], "strides": list(w.stride)[axes]}
    attributes |= {"pads": before + after, **more}
    if kind == "Conv":
        attributes["dilations"] = list(w.dilation)[axes]
    y = g.node(kind, x, *arrays, **attributes)
    if len(op.incoming) != 3:
        g.node("Transpose", y, perm=[0, 2, 1])


def _conv(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    arrays = [g.weight(op, name) for name in ("weight", "bias") if name in op.weights]
    _windowed(g, op, "Conv", reads[0], *arrays, group=int(op.arguments["groups"]))


def _conv_transpose(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    w, axes = op.windows, slice(0, 2) if len(op.incoming) == 3 else slice(1, 2)
    pairs = (w.size, w.stride, w.dilation, w.before, w.after, w.beyond)
    size, stride, dilation, before, after, more = (list(pair)[axes] for pair in pairs)
    x = reads[0] if len(op.incoming) == 3 else g.node("Transpose", reads[0], perm=[0, 2, 1])
    attributes = {"kernel_shape": size, "strides": stride, "dilations": dilation, "pads": before + after}
    attributes |= {"output_padding": more}
    groups, weight, bias = int(op.arguments["groups"]), op.weights["weight"], op.weights.get("bias")
    parts = [x]
    if groups > 1:  # one node for each group: not every runtime computes groups as it should
        parts = g.node_of("Split", x, g.integers(*[len(weight) // groups] * groups), outputs=groups, axis=1)
    ys = []
    for i, part in enumerate(parts):
        arrays = [np.split(array, groups)[i] for array in (weight, bias) if array is not None]
        ys.append(g.node("ConvTranspose", part, *map(g.constant, arrays), **attributes))
    y = g.node("Concat", *ys, axis=1) if groups > 1 else ys[0]
    if len(op.incoming) != 3:
        g.node("Transpose", y, perm=[0, 2, 1])


def _permute(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    p = op.permutation
    x = reads[0] if p.factors == op.incoming else g.node("Reshape", reads[0], g.integers(-1, *p.factors))
    x = g.node("Transpose", x, perm=[0, *(1 + axis for axis in p.order)])
    if tuple(p.factors[axis] for axis in p.order) != p.out:
        g.node("Reshape", x, g.integers(-1, *p.out))


def _resample(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    """Products with the matrices of both axes: runtimes differ in what they understand by a mode of `Resize`."""
    x = reads[0]
    if "rows" in op.weights:
        x = g.node("MatMul", g.weight(op, "rows"), x)
        g.node("MatMul", x, g.constant(op.weights["columns"].T))
    elif "columns" in op.weights:
        g.node("MatMul", g.weight(op, "columns"), x)
    else:
        image, (channels, (height, width)) = len(op.incoming) == 3, (op.incoming[0], (1, *op.plane)[-2:])
        rows, columns = op.repetitions
        split = (channels, height, 1, width, 1) if image else (*op.incoming[:1], 1, *op.incoming[1:])
        times = (1, 1, 1, rows, 1, columns) if image else (1, 1, columns, 1)
        x = g.node("Tile", g.node("Reshape", x, g.integers(-1, *split)), g.integers(*times))
        g.node("Reshape", x, g.integers(-1, *op.writes.shape))


def _over_places(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    if len(op.incoming) == 3 and op.writes.dtype == "float32":
        g.node("Flatten", g.node("GlobalAveragePool", reads[0]), axis=1)
    else:
        g.reduce("ReduceMean", reads[0], *([1] if len(op.incoming) == 2 else [2, 3]), keepdims=0)


def _attention(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    (length, width), heads, dtype = op.incoming, op.arguments["num_heads"], op.writes.dtype
    if len(reads) == 1:
        qkv = _affine(g, op, reads[0], "qkv_weight", "qkv_bias")
        parts = g.node_of("Split", qkv, g.integers(width, width, width), outputs=3, axis=2)
    else:  # keys and values of the second sequence
        weight, bias = op.weights["qkv_weight"], op.weights.get("qkv_bias")
        parts = []
        for i, read in enumerate((reads[0], reads[1], reads[1])):
            part = slice(i * width, (i + 1) * width)
            y = g.node("MatMul", read, g.constant(weight[:, part]))
            parts.append(y if bias is None else g.node("Add", y, g.constant(bias[part])))
    q, k, v = (
        g.node("Transpose", g.node("Reshape", part, g.integers(0, 0, heads, width // heads)), perm=perm)
        for part, perm in zip(parts, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
    )
    scores = g.node("Mul", g.node("MatMul", q, k), g.constant((width // heads) ** -0.5, dtype))
    if op.arguments["causal"]:
        mask = np.where(np.tri(length, dtype=bool), 0.0, -np.inf)
        scores = g.node("Add", scores, g.constant(mask, dtype))
    y = g.node("MatMul", g.node("Softmax", scores, axis=-1), v)
    y = g.node("Reshape", g.node("Transpose", y, perm=[0, 2, 1, 3]), g.integers(-1, length, width))
    _affine(g, op, y, "out_weight", "out_bias")


def _recurrent(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    hidden, order = int(op.arguments["hidden_size"]), _GATES[op.kind]

    directions = ["", "_reverse"] if op.arguments["bidirectional"] else [""]

    def gates(*names: str) -> str:
        """For each direction, weights `(in, gates·hidden)` as `(gates·hidden, in)`, or biases, one after another, with
        the gates in the order of ONNX."""

        def ordered(array: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([array.T[gate * hidden : (gate + 1) * hidden] for gate in order])

        found = [np.concatenate([ordered(op.weights[name + end]) for name in names]) for end in directions]
        return g.constant(np.stack(found))

    inputs = [g.node("Transpose", reads[0], perm=[1, 0, 2]), gates("weight_ih"), gates("weight_hh")]
    inputs.append(gates("bias_ih", "bias_hh") if "bias_ih" in op.weights else "")
    if len(reads) > 1:  # (B, n) as (states, directions, B, hidden)
        first = reads[1]
        if len(op.reads[1].shape) > 1:
            first = g.node("Gather", first, g.constant(op.reads[1].shape[0] - 1, "int64"), axis=1)
        shape = g.integers(0, -1, len(directions), hidden)
        first = g.node("Transpose", g.node("Reshape", first, shape), perm=[1, 2, 0, 3])
        states = [g.node("Gather", first, g.constant(i, "int64"), axis=0) for i in range(1 + (op.kind == "LSTM"))]
        inputs += ["", *states]
    more: dict[str, Any] = {"linear_before_reset": 1} if op.kind == "GRU" else {}
    if op.kind == "RNN":
        more["activations"] = [str(op.arguments["activation"]).capitalize()] * len(directions)
    if len(directions) > 1:
        more["direction"] = "bidirectional"
    cells = bool(op.arguments.get("return_cell"))
    while not inputs[-1]:
        inputs.pop()
    every, last, *cell = g.node_of(op.kind, *inputs, outputs=2 + cells, hidden_size=hidden, **more)
    # (T, directions, B, hidden), and (directions, B, hidden)
    if op.arguments["return_sequences"]:
        by_sample = g.node("Transpose", every, perm=[2, 0, 1, 3])
        g.node("Reshape", by_sample, g.integers(0, 0, len(directions) * hidden))
    else:
        states = [g.node("Transpose", each, perm=[1, 0, 2]) for each in (last, *cell)]
        rows = [g.node("Reshape", each, g.integers(0, len(directions) * hidden)) for each in states]
        if cells:
            g.node("Concat", *rows, axis=1)


def _embedding(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    ids = reads[0] if op.reads[0].dtype == "int64" else g.cast(g.node("Round", reads[0]), "int64")
    weight = op.weights["weight"]
    g.node("Gather", g.constant(weight), _refuse_negative(g, ids, len(weight)))


def _batch_norm(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    mean, var, eps = op.weights["running_mean"], op.weights["running_var"], float(op.arguments["eps"])
    scale, shift = op.weights.get("weight", np.ones_like(mean)), op.weights.get("bias", np.zeros_like(mean))
    if len(op.incoming) != 2:  # features or channels are the second axis
        g.node("BatchNormalization", reads[0], *map(g.constant, (scale, shift, mean, var)), epsilon=eps)
        return
    factor = (scale / np.sqrt(var.astype(np.float64) + eps)).astype(mean.dtype)
    x = g.node("Mul", g.node("Sub", reads[0], g.constant(mean)), g.constant(factor))
    g.node("Add", x, g.constant(shift))


def _layer_norm(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    shape = _row(op)
    scale = op.weights.get("weight", np.ones(shape, op.writes.dtype))
    arrays = [scale, *([op.weights["bias"]] if "bias" in op.weights else [])]
    eps = float(op.arguments["eps"])
    g.node("LayerNormalization", reads[0], *map(g.constant, arrays), axis=-len(shape), epsilon=eps)


def _rms_norm(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    x, axes = reads[0], range(-len(_row(op)), 0)
    square = g.reduce("ReduceMean", g.node("Mul", x, x), *axes)
    y = g.node("Div", x, g.node("Sqrt", g.node("Add", square, _number(g, op, op.arguments["eps"]))))
    if "weight" in op.weights:
        g.node("Mul", y, g.weight(op, "weight"))


def _row(op: Op) -> tuple[int, ...]:
    shape = op.arguments["normalized_shape"]
    return tuple(shape) if isinstance(shape, (list, tuple)) else (int(shape),)


def _group_norm(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    groups = int(op.arguments.get("num_groups", op.arguments["num_channels"]))
    blocks, channels, inner = along(op.incoming)
    x = g.node("Reshape", reads[0], g.integers(-1, blocks, groups, channels // groups, inner))
    x = g.node("Sub", x, g.reduce("ReduceMean", x, 1, 3, 4))
    square = g.reduce("ReduceMean", g.node("Mul", x, x), 1, 3, 4)
    x = g.node("Div", x, g.node("Sqrt", g.node("Add", square, _number(g, op, op.arguments["eps"]))))
    x = g.node("Reshape", x, g.integers(-1, *op.incoming))
    if "weight" in op.weights:
        _scale(g, op, [x])


def _scale(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    beside = {name: g.constant(array.reshape(beside_features(op.incoming))) for name, array in op.weights.items()}
    y = g.node("Mul", reads[0], beside["weight"])
    if "bias" in beside:
        g.node("Add", y, beside["bias"])


def _unit_norm(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    x = reads[0]
    norm = g.node("Sqrt", g.reduce("ReduceSum", g.node("Mul", x, x), 1 + feature_axis(op.incoming)))
    g.node("Div", x, g.node("Where", g.node("Less", norm, eps := _number(g, op, op.arguments["eps"])), eps, norm))


def _glu(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    axis = 1 + feature_axis(op.incoming)
    half = op.incoming[axis - 1] // 2
    a, b = g.node_of("Split", reads[0], g.integers(half, half), outputs=2, axis=axis)
    g.node("Mul", a, g.node("Sigmoid", b))


def _frame(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    before, after = ([0, *(pair[side] for pair in op.frame)] for side in (0, 1))
    if op.kind == "ZeroPad":
        g.node("Pad", reads[0], g.integers(*before, *after), _number(g, op, 0))
    else:
        ends = [extent - after for extent, after in zip(op.incoming, after[1:], strict=True)]
        axes = range(1, 1 + len(ends))
        g.node("Slice", reads[0], g.integers(*before[1:]), g.integers(*ends), g.integers(*axes))


def _repeat_vector(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    g.node("Tile", g.node("Unsqueeze", reads[0], g.integers(1)), g.integers(1, op.arguments["length"], 1))


def _select(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    index = int(op.arguments["index"]) % op.incoming[0]
    g.node("Gather", reads[0], g.constant(index, "int64"), axis=1)


def _class_token(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    """The token, added to zeros in the shape of a position of each sample."""
    first = g.node("Gather", reads[0], g.integers(0), axis=1)
    zeros = g.node("Mul", first, _number(g, op, 0))
    g.node("Concat", g.node("Add", zeros, g.weight(op, "weight")), reads[0], axis=1)


def _one_hot(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    ids = reads[0] if op.reads[0].dtype == "int64" else g.cast(g.node("Round", reads[0]), "int64")
    rows = np.eye(int(op.arguments["num_classes"]), dtype=op.writes.dtype)
    g.node("Gather", g.constant(rows), _refuse_negative(g, ids, len(rows)))


def _clip(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    low, high = (op.arguments["min_val"], op.arguments["max_val"]) if op.kind == "HardTanh" else (0, 6)
    g.node("Clip", reads[0], _number(g, op, low), _number(g, op, high))


def _soft_sign(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    g.node("Div", reads[0], g.node("Add", g.node("Abs", reads[0]), _number(g, op, 1)))


def _log_sigmoid(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    """min(x, 0) - log(1 + e^-|x|), which has no operation that some runtime lacks."""
    x = reads[0]
    more = g.node("Exp", g.node("Neg", g.node("Abs", x)))
    more = g.node("Log", g.node("Add", more, _number(g, op, 1)))
    g.node("Sub", g.node("Neg", g.node("Relu", g.node("Neg", x))), more)


def _celu(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    x, alpha = reads[0], _number(g, op, op.arguments["alpha"])
    below = g.node("Div", g.node("Neg", g.node("Relu", g.node("Neg", x))), alpha)
    below = g.node("Mul", g.node("Sub", g.node("Exp", below), _number(g, op, 1)), alpha)
    g.node("Add", g.node("Relu", x), below)


def _prelu(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    slope = op.weights["weight"]
    g.node("PRelu", reads[0], g.constant(slope.reshape(beside_features(op.incoming)) if slope.size > 1 else slope))


def _elu(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    alpha, scale = float(op.arguments["alpha"]), float(op.arguments["scale"])
    if op.kind == "SELU":
        g.node("Selu", reads[0], alpha=alpha, gamma=scale)
    else:
        g.node("Elu", reads[0], alpha=alpha)


def _gelu(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    x, half, one = reads[0], _number(g, op, 0.5), _number(g, op, 1)
    if op.arguments["approximate"] == "tanh":
        cubic = g.node("Mul", g.node("Mul", x, x), _number(g, op, 0.044715))
        inner = g.node("Mul", g.node("Mul", x, g.node("Add", cubic, one)), _number(g, op, 0.7978845608028654))
        share = g.node("Tanh", inner)
    else:
        share = g.node("Erf", g.node("Mul", x, _number(g, op, 0.7071067811865476)))
    g.node("Mul", g.node("Mul", x, half), g.node("Add", share, one))


def _mish(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    g.node("Mul", reads[0], g.node("Tanh", g.node("Softplus", reads[0])))


def _softplus(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    beta, threshold = op.arguments["beta"], op.arguments["threshold"]
    scaled = reads[0] if beta == 1 else g.node("Mul", reads[0], _number(g, op, beta))
    y = g.node("Softplus", scaled)
    y = y if beta == 1 else g.node("Div", y, _number(g, op, beta))
    if threshold < 20:  # beyond, the two differ by less than 3e-9
        g.node("Where", g.node("Greater", scaled, _number(g, op, threshold)), reads[0], y)


def _log_softmax(g: _Graph, op: Op, reads: Sequence[str]) -> None:
    """Written out: some runtimes take the logarithm of the softmax, which is -inf where that underflows."""
    axis = 1 + feature_axis(op.incoming)
    x = g.node("Sub", reads[0], g.reduce("ReduceMax", reads[0], axis))
    g.node("Sub", x, g.node("Log", g.reduce("ReduceSum", g.node("Exp", x), axis)))


_EMIT: Mapping[str, Emit] = {
    # around the layers
    "columns": _columns,
    "cast": lambda g, op, reads: g.cast(reads[0], op.writes.dtype),
    "reshape": _reshape,
    "from": _input,
    "transpose": lambda g, op, reads: g.node("Transpose", reads[0], perm=[0, *(1 + n for n in op.arguments["order"])]),
    "multiply": _with("Mul", "factor"),
    "standardise": _standardise,
    "units": _units,
    "exp": _one("Exp"),
    "complement": _complement,
    "add": _add,
    "product": _product,
    "subtract": lambda g, op, reads: g.node("Sub", *reads),
    "dot": _dot,
    "distance": _distance,
    "concat": lambda g, op, reads: g.node("Concat", *reads, axis=1 + feature_axis(op.writes.shape)),
    # shapes
    "Flatten": _reshape,
    "Reshape": _reshape,
    **dict.fromkeys(("Dropout", "SpatialDropout", "GaussianNoise"), _one("Identity")),
    "RepeatVector": _repeat_vector,
    "Select": _select,
    "ZeroPad": _frame,
    "Cropping": _frame,
    **dict.fromkeys(("Transpose", "Patches", "PixelShuffle", "PixelUnshuffle"), _permute),
    "Upsample": _resample,
    "Resize": _resample,
    "Sample": lambda g, op, reads: g.node(  # the means
        "Slice", reads[0], g.integers(0), g.integers(op.writes.shape[0]), g.integers(1)
    ),
    # products
    "Linear": _linear,
    "Conv1D": _conv,
    "Conv2D": _conv,
    "ConvTranspose1D": _conv_transpose,
    "ConvTranspose2D": _conv_transpose,
    "MultiHeadAttention": _attention,
    "RNN": _recurrent,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    # look-up
    "Embedding": _embedding,
    "OneHot": _one_hot,
    "ClassToken": _class_token,
    "PositionalEmbedding": _with("Add", "table"),
    "SinusoidalPositions": _with("Add", "table"),
    # pools
    "MaxPool": lambda g, op, reads: _windowed(g, op, "MaxPool", reads[0]),
    "AvgPool": lambda g, op, reads: _windowed(g, op, "AveragePool", reads[0], count_include_pad=1),
    "GlobalAvgPool": _over_places,
    "GlobalMaxPool": lambda g, op, reads: g.reduce(
        "ReduceMax", reads[0], *([1] if len(op.incoming) == 2 else [2, 3]), keepdims=0
    ),
    # normalisation
    "BatchNorm": _batch_norm,
    "LayerNorm": _layer_norm,
    "RMSNorm": _rms_norm,
    "GroupNorm": _group_norm,
    "InstanceNorm": _group_norm,
    "UnitNorm": _unit_norm,
    "Scale": _scale,
    "GLU": _glu,
    "Softmax": lambda g, op, reads: g.node("Softmax", reads[0], axis=1 + feature_axis(op.incoming)),
    "LogSoftmax": _log_softmax,
    # number by number
    "ReLU": _one("Relu"),
    "LeakyReLU": _one("LeakyRelu", alpha="negative_slope"),
    "Sigmoid": _one("Sigmoid"),
    "Tanh": _one("Tanh"),
    "HardSigmoid": lambda g, op, reads: g.node("HardSigmoid", reads[0], alpha=1 / 6, beta=0.5),
    "HardTanh": _clip,
    "ReLU6": _clip,
    "SoftSign": _soft_sign,
    "LogSigmoid": _log_sigmoid,
    "CELU": _celu,
    "ELU": _elu,
    "SELU": _elu,
    "PReLU": _prelu,
    "GELU": _gelu,
    "SiLU": lambda g, op, reads: g.node("Mul", reads[0], g.node("Sigmoid", reads[0])),
    "Mish": _mish,
    "Softplus": _softplus,
    "HardSwish": _one("HardSwish"),
}


_ONLY_FLOAT32 = frozenset(
    "AvgPool Conv1D Conv2D ConvTranspose1D ConvTranspose2D ELU HardSigmoid HardSwish LeakyReLU Mish".split()  # noqa: SIM905
) | {"PReLU", "RNN", "LSTM", "GRU", "SELU", "Softplus"}
"""What onnxruntime has in float32 alone."""


def _refuses(op: Op) -> str:
    erf = op.kind == "GELU" and op.arguments["approximate"] != "tanh"
    if op.writes.dtype == "float64" and (op.kind in _ONLY_FLOAT32 or erf):
        return "exists in onnxruntime in float32 only; train with `dtype = float32`"
    return keeps_cells(op)


def _tensors(program: Program) -> dict[str, str]:
    """Name the tensor of each value: layers by their full names, what goes in and comes out in the usual words."""
    ends = {"the input": "input", "the probabilities": "probabilities", "the outputs": "outputs"}
    values = [program.input, *(op.writes for op in program.ops)]
    taken = set(ends.values())
    return {v.name: ends.get(v.name) or (f"layer {v.name}" if v.name in taken else v.name) for v in values}


def write(program: Program, certificate: Certificate) -> Artefact:
    """Return the model. Raises ExportError without the package onnx."""
    onnx = _onnx()
    helper, opset, tensors = onnx.helper, certificate.opset or 17, _tensors(program)
    g = _Graph(opset, tensors)
    for op in program.ops:
        g.prefix = tensors[op.writes.name]
        _EMIT[op.kind](g, op, [tensors[value.name] for value in op.reads])
        g.name_last(tensors[op.writes.name])
    if tensors[program.outputs.name] != "outputs":
        g.prefix = "outputs"
        g.node("Identity", tensors[program.outputs.name])
        g.name_last("outputs")

    def info(name: str, value: Value) -> Any:
        return helper.make_tensor_value_info(name, _element(value.dtype), ["batch", *value.shape])

    results = [info("outputs", program.outputs)]
    if program.probabilities is not None:
        results.append(info("probabilities", program.probabilities))
    text = "\n".join(certificate.sentences())
    graph = helper.make_graph(g.nodes, "network", [info("input", program.input)], results, g.constants, doc_string=text)
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(
        graph,
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="nnspec",
        producer_version=certificate.nnspec,
        doc_string=text,
    )
    helper.set_model_props(model, {KEY: certificate.json()})
    layers = {op.writes.name: tensors[op.writes.name] for op in program.ops}
    return Artefact(model.SerializeToString(deterministic=True), taps=layers)


def certificate_text(data: bytes, path: Path) -> str:
    """Return the certificate in a model of unknown origin. Raises ExportError."""
    onnx = _onnx()
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # noqa: BLE001  (whatever its parser raises, the file is no model)
        raise ExportError(f"{path} is not an ONNX model ({type(error).__name__})") from None
    return next((str(prop.value) for prop in model.metadata_props if prop.key == KEY), "")


# Running it


def _tapped(data: bytes, artefact: Artefact) -> Any:
    """Return the model with all its layers as outputs."""
    onnx = _onnx()
    model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(data))
    known = {info.name: info for info in model.graph.value_info}
    have = {info.name for info in model.graph.output}
    model.graph.output.extend(known[name] for name in artefact.taps.values() if name in known and name not in have)
    return model


def _by_value(program: Program, artefact: Artefact, found: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    values = {value: found[tensor] for value, tensor in artefact.taps.items() if tensor in found}
    values[program.outputs.name] = found["outputs"]
    return values


def _in_onnxruntime(path: Path, artefact: Artefact, program: Program, cases: Sequence[NDArray[Any]]) -> list[Values]:
    """Run the model as it is, and once more with all its layers as outputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    try:
        model = _tapped(path.read_bytes(), artefact)
        whole, tapped = (
            onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
            for source in (path.read_bytes(), model.SerializeToString())
        )
        names = [info.name for info in model.graph.output]
        found = []
        for x in cases:
            values = dict(zip(names, tapped.run(names, {"input": x}), strict=True))
            ends = [output.name for output in whole.get_outputs()]
            found.append(
                _by_value(program, artefact, values | dict(zip(ends, whole.run(ends, {"input": x}), strict=True)))
            )
    except Exception as error:  # noqa: BLE001  (onnxruntime has no base of its errors)
        raise ExportError(f"onnxruntime cannot run {path.name}: {str(error)[:400]}") from None
    return list(found)


def _in_reference(path: Path, artefact: Artefact, program: Program, cases: Sequence[NDArray[Any]]) -> list[Values]:
    """Check the model, and run it by the definitions of its operators."""
    onnx = _onnx()
    from onnx.reference import ReferenceEvaluator

    try:
        onnx.checker.check_model(str(path), full_check=True)
        model = _tapped(path.read_bytes(), artefact)
        evaluator = ReferenceEvaluator(model)
        names = [info.name for info in model.graph.output]
        with np.errstate(all="ignore"):
            runs = [dict(zip(names, evaluator.run(names, {"input": x}), strict=True)) for x in cases]
    except Exception as error:  # noqa: BLE001  (whatever an operator raises)
        raise ExportError(f"onnx.reference cannot run {path.name}: {str(error)[:400]}") from None
    return [_by_value(program, artefact, values) for values in runs]


def _lacking_in_reference(program: Program) -> str:
    relu = any(op.kind == "RNN" and op.arguments["activation"] == "relu" for op in program.ops)
    return "onnx.reference has no RNN with relu: verified in onnxruntime alone" if relu else ""


RUNTIMES = (
    Runtime(version_of("onnxruntime", _INSTALL), _in_onnxruntime),
    Runtime(
        lambda: version_of("onnx", _INSTALL)().replace("onnx", "onnx.reference", 1),
        _in_reference,
        most=4,
        lacks=_lacking_in_reference,
    ),
)
TARGET = Target("onnx", (".onnx",), _EMIT, write, text=False, refuses=_refuses, opset=17)
