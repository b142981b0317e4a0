"""One file of C99 without malloc: `NAME_run` computes outputs and probabilities of one sample in memory of its caller.

Values live in arenas of a struct, of the network's dtype, double and ids; where each lies follows from how long it is
needed. Linear layers sum in blocks, and means and softmax in double, so that rounding errors stay small.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Shape
from nnspec.export.c_functions import functions_used
from nnspec.export.certificate import Certificate
from nnspec.export.names import Identifiers, c_comment, c_string, identifier
from nnspec.export.program import Op, Program, Value, along
from nnspec.export.python_text import key_of
from nnspec.export.runtimes import Missing, Runtime, Values, process
from nnspec.export.target import Artefact, Target

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RUNTIMES", "TARGET", "certificate_text"]

_TYPES = {"float32": "float", "float64": "double", "int64": "int64_t"}
_ALIASES = frozenset(("reshape", "Flatten", "Reshape", "Dropout", "SpatialDropout", "GaussianNoise"))
"""Operations that do nothing to memory."""
FLAGS = ("-std=c99", "-Wall", "-Werror", "-ffp-contract=off", "-O2")

# Number by number: an expression of v. `@` is the suffix of functions and numbers of the network's dtype, and words in
# braces are arguments of the layer.
_FORMULAS = {
    "ReLU": "v < 0 ? 0 : v",
    "LeakyReLU": "v > 0 ? v : {negative_slope} * v",
    "Sigmoid": "0.5@ * tanh@(0.5@ * v) + 0.5@",
    "Tanh": "tanh@(v)",
    "HardSigmoid": "v <= -3 ? 0 : v >= 3 ? 1 : v / 6 + 0.5@",
    "HardSwish": "v <= -3 ? 0 : v >= 3 ? v : v * (v / 6 + 0.5@)",
    "HardTanh": "v < {min_val} ? {min_val} : v > {max_val} ? {max_val} : v",
    "ReLU6": "v < 0 ? 0 : v > 6 ? 6 : v",
    "SoftSign": "v / (1 + fabs@(v))",
    "LogSigmoid": "(v < 0 ? v : 0) - log1p@(exp@(-fabs@(v)))",
    "CELU": "v > 0 ? v : {alpha} * expm1@(v / {alpha})",
    "ELU": "v > 0 ? v : {alpha} * expm1@(v)",
    "SELU": "{scale} * (v > 0 ? v : {alpha} * expm1@(v))",
    "GELU": "0.5@ * v * erfc@(-0.70710678118654752@ * v)",
    "GELU tanh": "0.5@ * v * (1 + tanh@(0.79788456080286536@ * (v + 0.044715@ * v * v * v)))",
    "SiLU": "v * (0.5@ * tanh@(0.5@ * v) + 0.5@)",
    "Mish": "v > 20 ? v : v * tanh@(log1p@(exp@(v)))",
    "Softplus": "{beta} * v > {threshold} ? v : (v > 0 ? v : 0) + log1p@(exp@(-{beta} * fabs@(v))) / {beta}",
    "exp": "exp@(v)",
}


@dataclass
class _Arena:
    """Memory of one type: values have places in it for as long as they are read."""

    size: int = 0
    live: dict[str, tuple[int, int]] = field(default_factory=dict)

    def place(self, name: str, count: int) -> int:
        """Return the lowest place where nothing else is."""
        start = 0
        for low, high in sorted(self.live.values()):
            if start + count <= low:
                break
            start = max(start, high)
        self.live[name] = (start, start + count)
        self.size = max(self.size, start + count)
        return start


class _Writer:
    """The body of the function so far."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.real = _TYPES[program.dtype]
        self.suffix = "f" if self.real == "float" else ""
        self.arenas = {"float": _Arena(), "double": _Arena(), "int64_t": _Arena()}
        self.weights: dict[str, tuple[str, NDArray[Any]]] = {}
        self.names = Identifiers()
        self.lines: list[str] = []
        self.places: dict[str, str] = {program.input.name: "input"}
        self.roots: dict[str, str] = {program.input.name: program.input.name}
        self._ends = self._last_reads()

    def _last_reads(self) -> dict[str, int]:
        """Return when the memory of each value is read last, through all its aliases."""
        roots, ends = {self.program.input.name: self.program.input.name}, dict(self.program.last_readers())
        for op in self.program.ops:
            name = op.writes.name
            roots[name] = roots[op.reads[0].name] if op.kind in _ALIASES else name
        found: dict[str, int] = {}
        for name, root in roots.items():
            found[root] = max(found.get(root, -1), ends.get(name, -1))
        return found

    def write(self) -> None:
        """Write all operations."""
        taps = {value.name: i for i, value in enumerate(_tapped(self.program))}
        for i, op in enumerate(self.program.ops):
            name, value = op.writes.name, op.writes
            self.lines.append(f"    /* {c_comment(_title(op))} */")
            if op.kind in _ALIASES:
                self.roots[name], self.places[name] = self.roots[op.reads[0].name], self.places[op.reads[0].name]
            else:
                self._place(op, i)
                reads = [self.places[read.name] for read in op.reads]
                self.lines += [f"    {line}" for line in _EMIT[op.kind](self, op, reads, self.places[name])]
            if name in taps:
                self.lines.append(f"    NNSPEC_TAP({taps[name]}, {self.places[name]}, {value.numbers});")
            for arena in self.arenas.values():
                gone = [key for key in arena.live if key.startswith("/") or self._ends.get(key, -1) <= i]
                for key in gone:
                    del arena.live[key]

    def _place(self, op: Op, i: int) -> None:
        """Give what an operation writes a place: that of what it reads, if each number may replace its own."""
        name, kind = op.writes.name, _TYPES[op.writes.dtype]
        self.roots[name] = name
        if _elementwise(op) and op.reads[0].dtype == op.writes.dtype:
            root = self.roots[op.reads[0].name]
            arena = self.arenas[kind]
            if root in arena.live and self._ends[root] <= i:
                arena.live[name] = arena.live.pop(root)
                self.places[name] = self.places[op.reads[0].name]
                return
        self.places[name] = self._pointer(kind, name, op.writes.numbers)

    def _pointer(self, kind: str, name: str, count: int) -> str:
        return f"work->{kind[0]} + {self.arenas[kind].place(name, count)}"

    def scratch(self, name: str, count: int) -> str:
        """Return memory of the network's dtype for one operation."""
        return self._pointer(self.real, f"/{name}", count)

    def weight(self, op: Op, name: str, array: NDArray[Any] | None = None) -> str:
        """Return a constant array; `NULL` if the layer has none."""
        if array is None and name not in op.weights:
            return "NULL"
        word = self.names[key_of(op, name)]
        self.weights[word] = (c_comment(key_of(op, name)), op.weights[name] if array is None else array)
        return word

    def number(self, value: float) -> str:
        """Return a number of the network's dtype."""
        return _literal(value, self.real)


Emit = Callable[[_Writer, Op, Sequence[str], str], list[str]]


def _title(op: Op) -> str:
    shape = "x".join(map(str, op.writes.shape))
    return f"{op.writes.name}: {shape}" if op.node is None else f"{op.writes.name}, {op.node.value}: {shape}"


def _tapped(program: Program) -> list[Value]:
    """The values that are observed when the file is verified."""
    return [op.writes for op in program.ops if op.writes in program.compared]


def _elementwise(op: Op) -> bool:
    return op.kind in _FORMULAS or op.kind in ("multiply", "standardise", "PositionalEmbedding", "SinusoidalPositions")


def _literal(value: float, kind: str) -> str:
    """Return a number that reads back as itself."""
    if not isfinite(value):
        return "NAN" if value != value else "INFINITY" if value > 0 else "-INFINITY"
    text = f"{value:.9g}" if kind == "float" else f"{value:.17g}"
    text = text if any(sign in text for sign in ".e") else f"{text}.0"
    return f"{text}f" if kind == "float" else text


def _loop(count: int, body: str) -> list[str]:
    return [f"for (int i = 0; i < {count}; i++) {body}"]


def _formula(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    kind = "GELU tanh" if op.kind == "GELU" and op.arguments["approximate"] == "tanh" else op.kind
    text = _FORMULAS[kind].replace("@", c.suffix)
    for name, value in op.arguments.items():
        if isinstance(value, (int, float)):
            text = text.replace(f"{{{name}}}", c.number(value))
    return _loop(op.writes.numbers, f"{{ {c.real} v = ({reads[0]})[i]; ({y})[i] = {text}; }}")


def _by_number(text: str) -> Emit:
    """Return an emitter of a loop over all numbers: `x` is what is read, words in braces are arrays."""

    def emit(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
        words = {name: f"{c.weight(op, name)}[{'i' if array.ndim else 0}]" for name, array in op.weights.items()}
        return _loop(op.writes.numbers, f"({y})[i] = {text.format_map(words | {'x': f'({reads[0]})[i]'})};")

    return emit


def _call(function: str, *numbers: Callable[[Op], Any], weights: Sequence[str] = ()) -> Emit:
    """Return an emitter of a call: `function(x, weights, y, numbers)`."""

    def emit(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
        words = [reads[0], *(c.weight(op, name) for name in weights), y]
        for number in numbers:
            value = number(op)
            words += [str(int(n)) for n in value] if isinstance(value, tuple) else [str(int(value))]
        return [f"{function}({', '.join(words)});"]

    return emit


def _standardise(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    text = "({x} - {mean} - {rest}) * {factor}" if "rest" in op.weights else "({x} - {mean}) * {factor}"
    return _by_number(text)(c, op, reads, y)


def _columns(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    x, lines, start = reads[0], [], 0
    least = -1 if op.arguments["missing"] else 0
    for i, (texts, mean) in enumerate(op.arguments["columns"]):
        cell = f"({x})[{i}]"
        if texts is None:
            filled = cell if mean is None else f"isnan({cell}) ? {_literal(mean, 'double')} : {cell}"
            lines.append(f"({y})[{start}] = {filled};")
            start += 1
            continue
        lines.append(f"if (!({cell} >= {least} && {cell} < {len(texts)}) || {cell} != floor({cell})) return 1;")
        lines += _loop(len(texts), f"({y})[{start} + i] = {cell} == i;")
        start += len(texts)
    return lines


def _input(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    return _loop(op.writes.numbers, f"({y})[i] = ({reads[0]})[i + {op.arguments['start']}];")


def _transpose(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    return _permuted(op.incoming, op.arguments["order"], reads[0], y)


def _permuted(shape: Shape, order: Sequence[int], x: str, y: str) -> list[str]:
    letters, out = "abcdef"[: len(order)], [shape[axis] for axis in order]
    heads = [f"for (int {n} = 0; {n} < {out[i]}; {n}++)" for i, n in enumerate(letters)]
    source = " + ".join(f"{letters[order.index(i)]} * {prod(shape[i + 1 :])}" for i in range(len(shape)))
    target = " + ".join(f"{n} * {prod(out[i + 1 :])}" for i, n in enumerate(letters))
    return [*heads, f"    ({y})[{target}] = ({x})[{source}];"]


def _permute(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    return _permuted(op.permutation.factors, op.permutation.order, reads[0], y)


def _resample(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    wanted = op.writes.shape[1:] if len(op.incoming) == 3 else (1, op.writes.shape[0])
    planes = [*_planes(op), *wanted]
    if "columns" not in op.weights:
        return [f"repeat({', '.join(map(str, [reads[0], y, *planes, *op.repetitions]))});"]
    part = c.scratch("part", planes[1] * wanted[1])
    words = [reads[0], c.weight(op, "rows"), c.weight(op, "columns"), y, part]
    return [f"resample({', '.join(map(str, [*words, *planes]))});"]


def _conv_transpose(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    w = op.windows
    words = [reads[0], c.weight(op, "weight"), c.weight(op, "bias"), y, *_planes(op), *w.plane]
    words += [int(op.arguments[name]) for name in ("out_channels", "groups")]
    words += [*w.size, *w.stride, *w.dilation, *w.before]
    return [f"conv_transpose({', '.join(map(str, words))});"]


def _add(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    return _loop(op.writes.numbers, f"({y})[i] = {' + '.join(f'({read})[i]' for read in reads)};")


def _broadcast(sign: str) -> Emit:
    """Join the branches number by number; an axis of extent 1 is repeated."""

    def emit(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
        out = op.writes.shape
        letters = "hijklm"[: len(out)]
        heads = [f"for (int {n} = 0; {n} < {extent}; {n}++)" for n, extent in zip(letters, out, strict=True)]
        terms = [f"({read})[{_place(value.shape, letters)}]" for value, read in zip(op.reads, reads, strict=True)]
        return [*heads, f"    ({y})[{_place(out, letters)}] = {sign.join(terms)};"]

    return emit


def _place(shape: Shape, letters: str) -> str:
    steps = [prod(shape[i + 1 :]) for i in range(len(shape))]
    words = [f"{n} * {step}" for n, step, extent in zip(letters, steps, shape, strict=True) if extent > 1]
    return " + ".join(words) or "0"


def _compare(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    words = [*reads, y, *along(op.incoming)]
    if op.kind == "distance":
        return [f"distances({', '.join(map(str, words))});"]
    return [f"dots({', '.join(map(str, words))}, {int(op.arguments['normalise'])});"]


def _first(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    """The first numbers: of a `Sample`, the means."""
    return [f"memcpy({y}, {reads[0]}, {op.writes.numbers} * sizeof *({y}));"]


def _concat(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    blocks, features, inner = along(op.writes.shape)
    lines, start = [], 0
    for value, read in zip(op.reads, reads, strict=True):
        width = along(value.shape)[1] * inner
        copy = f"memcpy({y} + {start} + t * {features * inner}, {read} + t * {width}, {width} * sizeof *({y}));"
        lines.append(f"for (int t = 0; t < {blocks}; t++) {copy}")
        start += width
    return lines


def _complement(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    x = f"({reads[0]})[i]"
    return _loop(op.reads[0].numbers, f"{{ ({y})[2 * i] = 1 - {x}; ({y})[2 * i + 1] = {x}; }}")


def _windows(op: Op) -> tuple[int, ...]:
    """The numbers that describe windows: planes, their extents, windows, size, stride, dilation and padding before."""
    w = op.windows
    return (*w.out, *w.size, *w.stride, *w.dilation, *w.before)


def _planes(op: Op) -> tuple[int, ...]:
    """Channels, rows and columns, and the distances of these in memory in what is read and what is written."""
    if len(op.incoming) == 3:
        channels, rows, columns = op.incoming
        _, height, width = op.writes.shape
        return channels, rows, columns, rows * columns, columns, 1, height * width, width, 1
    (places, features), (_, out) = op.incoming, op.writes.shape
    return features, 1, places, 1, 0, features, 1, 0, out


def _conv(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    groups = int(op.arguments["groups"])
    if len(op.incoming) == 3:
        words = [reads[0], c.weight(op, "weight"), c.weight(op, "bias"), y, *op.incoming, op.writes.shape[0], groups]
        return [f"conv({', '.join(map(str, [*words, *_windows(op)]))});"]
    # (out, C / groups, k) as (k, C / groups, out), whose innermost loop runs over neighbours in memory.
    w, weight = op.windows, np.ascontiguousarray(op.weights["weight"].transpose(2, 1, 0))
    words = [reads[0], c.weight(op, "weight", weight), c.weight(op, "bias"), y, *op.incoming, *op.writes.shape, groups]
    words += [w.size[1], w.stride[1], w.dilation[1], w.before[1]]
    return [f"conv_places({', '.join(map(str, words))});"]


def _attention(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    (length, width), heads = op.incoming, int(op.arguments["num_heads"])
    weight, bias, arrays = op.weights["qkv_weight"], op.weights.get("qkv_bias"), []
    for i, name in enumerate("qkv"):
        part = slice(i * width, (i + 1) * width)
        arrays.append(c.weight(op, f"{name}_weight", np.ascontiguousarray(weight[:, part])))
        arrays.append("0" if bias is None else c.weight(op, f"{name}_bias", bias[part]))
    arrays += [c.weight(op, name) for name in ("out_weight", "out_bias")]
    keys = op.reads[-1].shape[0]
    memory = [c.scratch("q", length * width), c.scratch("k", keys * width), c.scratch("v", keys * width)]
    memory += [c.scratch("scores", keys), c.scratch("heads", length * width)]
    numbers = [str(length), str(keys), str(width), str(heads), str(int(op.arguments["causal"]))]
    scale = c.number((width // heads) ** -0.5)
    return [f"attention({', '.join([reads[0], reads[-1], *arrays, y, *memory, *numbers, scale])});"]


def _recurrent(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    (places, features), hidden = op.incoming, int(op.arguments["hidden_size"])
    gates, every = {"RNN": 1, "LSTM": 4, "GRU": 3}[op.kind], op.arguments["return_sequences"]
    memory = [c.scratch("a", gates * hidden), c.scratch("b", gates * hidden), c.scratch("h", 2 * hidden)]
    last = [int(op.arguments["activation"] == "relu")] if op.kind == "RNN" else []
    directions, width = 1 + op.arguments["bidirectional"], op.writes.shape[-1]
    lines = []
    for direction, end in enumerate(("", "_reverse")[:directions]):  # the second from the last position to the first
        back, sign = (places - 1) * direction, 1 - 2 * direction
        row = width if every else 0
        y_at, first = back * row + direction * hidden, None
        if len(reads) > 1:
            shape = op.reads[1].shape
            first = (shape[0] - 1) * shape[-1] if len(shape) > 1 else 0
            first += direction * hidden
        arrays = [c.weight(op, name + end) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        numbers = [places, features, sign * features, hidden, sign * row, *last]
        words = [f"{reads[0]} + {back * features}" if back else reads[0], *arrays, f"{y} + {y_at}" if y_at else y]
        states = ["0" if first is None else f"{reads[1]} + {first}"]
        if op.kind == "LSTM":
            states.append("0" if first is None else f"{reads[1]} + {first + directions * hidden}")
            states.append(f"{y} + {y_at + directions * hidden}" if op.arguments["return_cell"] else "0")
        lines.append(f"{op.kind.lower()}({', '.join(map(str, [*words, *memory, *numbers, *states]))});")
    return lines


def _embedding(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    vocabulary, width = op.weights["weight"].shape
    weight = c.weight(op, "weight")
    return [
        f"for (int t = 0; t < {op.reads[0].numbers}; t++) {{",
        f"    double id = rint((double)({reads[0]})[t]);",
        f"    if (!(id >= 0 && id < {vocabulary})) return 1;",
        f"    memcpy({y} + t * {width}, {weight} + (long)id * {width}, {width} * sizeof *({y}));",
        "}",
    ]


def _one_hot(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    count = int(op.arguments["num_classes"])
    return [
        f"for (int t = 0; t < {op.reads[0].numbers}; t++) {{",
        f"    double id = rint((double)({reads[0]})[t]);",
        f"    if (!(id >= 0 && id < {count})) return 1;",
        f"    for (int i = 0; i < {count}; i++) ({y})[t * {count} + i] = i == (int)id;",
        "}",
    ]


def _class_token(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    (places, width), weight = op.incoming, c.weight(op, "weight")
    return [
        f"memcpy({y}, {weight}, {width} * sizeof *({y}));",
        f"memcpy({y} + {width}, {reads[0]}, {places * width} * sizeof *({y}));",
    ]


def _repeat_vector(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    length, width = op.writes.shape
    return [f"for (int t = 0; t < {length}; t++) memcpy({y} + t * {width}, {reads[0]}, {width} * sizeof *({y}));"]


def _select(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    (places, width), index = op.incoming, int(op.arguments["index"])
    return [f"memcpy({y}, {reads[0]} + {index % places * width}, {width} * sizeof *({y}));"]


def _frame(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    """Copy what both have, row by row."""
    larger, smaller = (op.writes.shape, op.incoming) if op.kind == "ZeroPad" else (op.incoming, op.writes.shape)
    frame = [before for before, _ in op.frame]
    if len(larger) == 2:  # a sequence is an image of one row whose columns are runs
        larger, smaller = (1, 1, prod(larger)), (1, 1, prod(smaller))
        frame = [0, 0, frame[0] * op.incoming[1]]
    (_, height, width), (channels, rows, columns) = larger, smaller
    large = f"(c * {height} + {frame[1]} + i) * {width} + {frame[2]}"
    small = f"(c * {rows} + i) * {columns}"
    to, source = (large, small) if op.kind == "ZeroPad" else (small, large)
    clear = [f"memset({y}, 0, {op.writes.numbers} * sizeof *({y}));"] if op.kind == "ZeroPad" else []
    copy = f"memcpy({y} + {to}, {reads[0]} + {source}, {columns} * sizeof *({y}));"
    return [*clear, f"for (int c = 0; c < {channels}; c++)", f"    for (int i = 0; i < {rows}; i++) {copy}"]


def _group_norm(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    groups = int(op.arguments.get("num_groups", op.arguments["num_channels"]))
    words = [reads[0], c.weight(op, "weight"), c.weight(op, "bias"), y, *along(op.incoming), groups]
    return [f"group_norm({', '.join(map(str, words))}, {c.number(op.arguments['eps'])});"]


def _unit_norm(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    return [f"unit_norm({', '.join(map(str, [reads[0], y, *along(op.incoming)]))}, {c.number(op.arguments['eps'])});"]


def _batch_norm(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    mean, var = op.weights["running_mean"], op.weights["running_var"].astype(np.float64)
    scale, shift = op.weights.get("weight", np.ones_like(mean)), op.weights.get("bias", np.zeros_like(mean))
    factor = (scale / np.sqrt(var + op.arguments["eps"])).astype(mean.dtype)
    arrays = [c.weight(op, name, array) for name, array in (("mean", mean), ("factor", factor), ("shift", shift))]
    return [f"affine({', '.join(map(str, [reads[0], *arrays, y, *along(op.incoming)]))});"]


def _row_norm(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    shape = op.arguments["normalized_shape"]
    row = prod(shape) if isinstance(shape, (list, tuple)) else int(shape)
    words = [reads[0], c.weight(op, "weight"), c.weight(op, "bias"), y, str(op.writes.numbers // row), str(row)]
    return [f"normalise({', '.join(words)}, {c.number(op.arguments['eps'])}, {int(op.kind == 'LayerNorm')});"]


def _prelu(c: _Writer, op: Op, reads: Sequence[str], y: str) -> list[str]:
    blocks, features, inner = along(op.incoming)
    step = int(op.weights["weight"].size > 1)
    words = [reads[0], c.weight(op, "weight"), y, blocks, features, inner, step]
    return [f"prelu({', '.join(map(str, words))});"]


def _linear_numbers(op: Op) -> tuple[int, int, int]:
    return prod(op.incoming[:-1]), op.incoming[-1], op.writes.shape[-1]


_EMIT: Mapping[str, Emit] = {
    **dict.fromkeys(_FORMULAS, _formula),
    **dict.fromkeys(_ALIASES, _add),  # which never get so far
    # around the layers
    "columns": _columns,
    "cast": _by_number("{x}"),
    "transpose": _transpose,
    "from": _input,
    "multiply": _by_number("{x} * {factor}"),
    "standardise": _standardise,
    "units": _by_number("(double){x} * {deviation} + {mean}"),
    "complement": _complement,
    "add": _add,
    "product": _broadcast(" * "),
    "subtract": _broadcast(" - "),
    "dot": _compare,
    "distance": _compare,
    "concat": _concat,
    **dict.fromkeys(("Transpose", "Patches", "PixelShuffle", "PixelUnshuffle"), _permute),
    "RepeatVector": _repeat_vector,
    "Select": _select,
    "ZeroPad": _frame,
    "Cropping": _frame,
    "Upsample": _resample,
    "Resize": _resample,
    "Sample": _first,
    # products
    "Linear": _call("linear", _linear_numbers, weights=("weight", "bias")),
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
    "PositionalEmbedding": _by_number("{x} + {table}"),
    "SinusoidalPositions": _by_number("{x} + {table}"),
    # pools
    "MaxPool": _call("max_pool", _planes, _windows),
    "AvgPool": _call("avg_pool", _planes, _windows),
    "GlobalAvgPool": _call("means", lambda op: along(op.incoming)),
    "GlobalMaxPool": _call("maxima", lambda op: along(op.incoming)),
    # normalisation
    "BatchNorm": _batch_norm,
    "LayerNorm": _row_norm,
    "RMSNorm": _row_norm,
    "GroupNorm": _group_norm,
    "InstanceNorm": _group_norm,
    "UnitNorm": _unit_norm,
    "Scale": _call("scale", lambda op: along(op.incoming), weights=("weight", "bias")),
    "GLU": _call("glu", lambda op: along(op.incoming)),
    "Softmax": _call("softmax", lambda op: along(op.incoming)),
    "LogSoftmax": _call("log_softmax", lambda op: along(op.incoming)),
    "PReLU": _prelu,
}


def _array(name: str, comment: str, array: NDArray[Any], static: str = "static ") -> Iterator[str]:
    kind = _TYPES[array.dtype.name]
    yield f"{static}const {kind} {name}[{max(array.size, 1)}] = {{  /* {comment} */"
    form = {"float": "{:.8e}f", "double": "{:.16e}", "int64_t": "{}"}[kind].format
    finite = np.isfinite(array).all()
    numbers = [form(value) if finite else _literal(value, kind) for value in array.reshape(-1).tolist()]
    for start in range(0, len(numbers), 8):
        yield f"    {', '.join(numbers[start : start + 8])},"
    yield "};"


def _prefix(certificate: Certificate) -> str:
    return identifier(Path(certificate.spec).stem)


def _code_table(program: Program) -> Iterator[str]:
    """Say which code each text of a table has."""
    for i, column in enumerate(program.columns):
        if column.texts is None:
            yield f"input[{i}]: {column.name}"
        else:
            codes = ", ".join(f"{n} {text}" for n, text in enumerate(column.texts))
            yield f"input[{i}]: {column.name}, as a code: {codes}"


def write(program: Program, certificate: Certificate) -> Artefact:
    """Return the file."""
    c = _Writer(program)
    c.write()
    name, body = _prefix(certificate), "\n".join(c.lines)
    result, p = _TYPES[program.outputs.dtype], program.probabilities
    head = [
        "A trained network in C99.",
        *certificate.sentences(),
        f"{name}_run(input, outputs, probabilities, work) computes one sample. It returns 0, or 1 for an input with a",
        "code or an id that does not exist. `probabilities` may be NULL. `work` is memory without contents to keep.",
        f"#define {name.upper()}_DECLARATIONS and #include this file for its declarations alone. Compile with -lm;",
        f"with -D{name.upper()}_TEST it is a program that tests itself.",
        *_code_table(program),
    ]
    if certificate.input is not None:
        head.append(f"input: {certificate.input.numbers}")
    arenas = [f"    {kind} {kind[0]}[{arena.size}];" for kind, arena in c.arenas.items() if arena.size]
    words = {
        "head": "\n".join(f" * {c_comment(line)}" for line in head),
        "name": name,
        "upper": name.upper(),
        "arenas": "\n".join(arenas or ["    char none;"]),
        "input": _TYPES[program.input.dtype],
        "output": result,
        "real": c.real,
        "inputs": program.input.numbers,
        "outputs": program.outputs.numbers,
        "probabilities": p.numbers if p is not None else 0,
        "certificate": c_string(certificate.json()),
        "classes": "\n".join(f"    {c_string(text)}," for text in certificate.classes) or "    NULL,",
        "count": max(1, len(certificate.classes)),
        "weights": "\n".join(line for word, (comment, a) in c.weights.items() for line in _array(word, comment, a)),
        "functions": functions_used(body, c.suffix),
        "body": body,
        "results": "\n".join(_results(c, program)),
        "test": "\n".join(_test(program)) if program.example is not None else "",
    }
    text = re.sub(r"<<(\w+)>>", lambda match: str(words[match[1]]), _TEMPLATE)
    return Artefact(text.encode("ascii"), taps={value.name: str(i) for i, value in enumerate(_tapped(program))})


def _results(c: _Writer, program: Program) -> Iterator[str]:
    place = c.places[program.outputs.name]
    yield f"    for (int i = 0; i < {program.outputs.numbers}; i++) outputs[i] = ({place})[i];"
    if program.probabilities is None:
        yield "    (void)probabilities;"
    else:
        place, count = c.places[program.probabilities.name], program.probabilities.numbers
        yield f"    for (int i = 0; probabilities && i < {count}; i++) probabilities[i] = ({place})[i];"
    if not any(arena.size for arena in c.arenas.values()):
        yield "    (void)work;"


def _test(program: Program) -> Iterator[str]:
    if program.example is None:
        return
    x, y = program.example
    yield from _array("test_inputs", "samples", x)
    yield from _array("test_outputs", "what nnspec computes for them", y.astype(program.outputs.dtype))
    yield f"enum {{ TESTS = {len(x)} }};"


_TEMPLATE = """\
/*
<<head>>
 */
#ifndef <<upper>>_DECLARED
#define <<upper>>_DECLARED
#include <stdint.h>

enum { <<upper>>_INPUTS = <<inputs>>, <<upper>>_OUTPUTS = <<outputs>>, <<upper>>_PROBABILITIES = <<probabilities>> };

typedef struct {
<<arenas>>
} <<name>>_work;

int <<name>>_run(const <<input>> *input, <<output>> *outputs, <<real>> *probabilities, <<name>>_work *work);
extern const char <<name>>_certificate[];
extern const char *const <<name>>_classes[<<count>>];
#endif

#ifndef <<upper>>_DECLARATIONS
#include <math.h>
#include <stddef.h>
#include <string.h>

#ifndef NNSPEC_TAP
#define NNSPEC_TAP(number, values, count)
#endif

typedef <<real>> real;

const char <<name>>_certificate[] = <<certificate>>;

const char *const <<name>>_classes[<<count>>] = {
<<classes>>
};

<<weights>>
<<functions>>
int <<name>>_run(const <<input>> *input, <<output>> *outputs, real *probabilities, <<name>>_work *work)
{
<<body>>
<<results>>
    return 0;
}

#ifdef <<upper>>_TEST
#include <stdio.h>

<<test>>

int main(void)
{
    static <<name>>_work work;
    static <<output>> y[<<upper>>_OUTPUTS];
    double most = 0, scale = 0;
    for (int t = 0; t < TESTS; t++) {
        if (<<name>>_run(test_inputs + (long)t * <<upper>>_INPUTS, y, NULL, &work)) return 1;
        for (int i = 0; i < <<upper>>_OUTPUTS; i++) {
            double wanted = test_outputs[(long)t * <<upper>>_OUTPUTS + i], off = fabs(y[i] - wanted);
            if (!(off <= most)) most = off;
            if (fabs(wanted) > scale) scale = fabs(wanted);
        }
    }
    printf("<<name>>: %d samples, largest difference %.1e of %.1e\\n", TESTS, most, scale);
    return !(most <= 1e-4 * scale);
}
#endif
#endif
"""


_LITERAL = re.compile(rb'^const char \w+_certificate\[\] = "([^"\n]*)";$', re.MULTILINE)


def certificate_text(data: bytes, path: Path) -> bytes:
    """Return the certificate in a file of unknown origin; nothing in it is compiled."""
    found = _LITERAL.search(data)
    return re.sub(rb"\\([0-3][0-7]{2})", lambda m: bytes([int(m[1], 8)]), found[1]) if found is not None else b""


# Running it


def _compiler() -> list[str]:
    """Return the C compiler: `$CC`, or one that is found. Raises Missing."""
    asked = shlex.split(os.environ.get("CC", ""))
    for words in [asked] if asked else [["cc"], ["gcc"], ["clang"]]:
        if shutil.which(words[0]):
            return words
    raise Missing(
        f"$CC is {asked[0]}, which was not found" if asked else "no C compiler was found: install one, or set $CC"
    )


def _version() -> str:
    words = _compiler()
    lines = process([*words, "--version"], f"{words[0]} --version").decode(errors="replace").splitlines()
    return (lines or [words[0]])[0].strip()


def _run(path: Path, artefact: Artefact, program: Program, cases: Sequence[NDArray[Any]]) -> list[Values]:
    """Compile the file with a program around it that writes every value down, and run that."""
    with tempfile.TemporaryDirectory(prefix="nnspec-export-") as folder:
        work = Path(folder)
        name = re.findall(rb"^int (\w+)_run\(", artefact.data, re.MULTILINE)[0].decode()
        inside = _tapped(program)
        ends = [value for value in (program.outputs, program.probabilities) if value is not None]
        (work / "network.c").write_bytes(path.read_bytes())  # next to it, since its own path may be no literal of C
        (work / "harness.c").write_text(_HARNESS.replace("NAME", name))
        real, result = _TYPES[program.dtype], _TYPES[program.outputs.dtype]
        flags = [f"-DINPUT={_TYPES[program.input.dtype]}", f"-DOUTPUT={result}", f"-DREAL={real}"]
        flags += [f"-DUPPER_{word}={name.upper()}_{word}" for word in ("INPUTS", "OUTPUTS", "PROBABILITIES")]
        process(
            [*_compiler(), *FLAGS, *flags, work / "harness.c", "-o", work / "harness", "-lm"], f"compiling {path.name}"
        )
        fields = [(f"inside {v.name}", v.dtype, v.shape) for v in inside] + [(v.name, v.dtype, v.shape) for v in ends]
        one, found = np.dtype(fields), []
        for x in cases:
            data = np.ascontiguousarray(x, program.input.dtype).tobytes()
            values = np.frombuffer(process([work / "harness"], f"running {path.name}", data), one)
            found.append({field.removeprefix("inside "): np.array(values[field]) for field in one.names or ()})
    return list(found)


def _test_itself(path: Path) -> None:
    """Compile the file as a program that tests itself, and run that. Raises ExportError where it fails."""
    with tempfile.TemporaryDirectory(prefix="nnspec-export-") as folder:
        test = Path(folder, "test")
        name = re.findall(r"^int (\w+)_run\(", path.read_text("ascii"), re.MULTILINE)[0]
        flags = [flag for flag in FLAGS if flag != "-O2"]
        process([*_compiler(), *flags, f"-D{name.upper()}_TEST", path, "-o", test, "-lm"], f"compiling {path.name}")
        process([test], f"the test of {path.name}")


_HARNESS = """\
#include <stdio.h>
#define NNSPEC_TAP(number, values, count) fwrite(values, sizeof *(values), count, stdout)
#include "network.c"

int main(void)
{
    static INPUT input[UPPER_INPUTS];
    static OUTPUT outputs[UPPER_OUTPUTS];
    static REAL probabilities[UPPER_PROBABILITIES + 1];
    static NAME_work work;
    while (fread(input, sizeof input, 1, stdin) == 1) {
        if (NAME_run(input, outputs, probabilities, &work)) return 3;
        fwrite(outputs, sizeof outputs, 1, stdout);
        fwrite(probabilities, sizeof *probabilities, UPPER_PROBABILITIES, stdout);
    }
    return 0;
}
"""

RUNTIMES = (Runtime(_version, _run, test=_test_itself),)
TARGET = Target("c", (".c",), _EMIT, write)
