"""A readable PyTorch module, as one would write it by hand, with its weights in the same file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import beside_features, feature_axis
from nnspec.engine.layers.products import EPS_COSINE, EPS_DISTANCE
from nnspec.export.certificate import Certificate
from nnspec.export.names import Identifiers
from nnspec.export.program import Op, Program, keeps_cells
from nnspec.export.python_text import certificate_line, header, lines_of, state, statements
from nnspec.export.runtimes import Runtime, in_python, version_of
from nnspec.export.target import Artefact, Target

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RUNTIMES", "TARGET"]

Arrays = Mapping[str, "NDArray[Any]"]


@dataclass(frozen=True)
class _Module:
    """How a layer is made and called, and its state in PyTorch's names and layout."""

    make: str = ""
    """The constructor; "" if nothing is made."""
    call: str = "self.{name}({x})"
    """`{name}` is that of the module, `{x}` what is read first, `{last}` what is read last; `{all}`, `{product}` and
    `{items}` are all that is read.
    """
    state: Arrays = field(default_factory=dict)
    """By the names within the module; the empty name is the attribute itself."""
    buffers: Arrays = field(default_factory=dict)
    """Constants, by what follows the name of the layer."""


Emit = Callable[[Op], _Module]


def _transposed(op: Op, **names: str) -> dict[str, NDArray[Any]]:
    """Return weights `(in, out)` as `(out, in)`, by PyTorch's names, as far as the layer has them; biases are equal."""
    words = {name.replace("__", "."): own for name, own in names.items()}
    return {name: np.ascontiguousarray(op.weights[own].T) for name, own in words.items() if own in op.weights}


def _plain(make: str, *weights: str, **arguments: str) -> Emit:
    """Return an emitter of a module; `{words}` in the constructor are arguments of the layer."""

    def emit(op: Op) -> _Module:
        words = {n: repr(str(v) if isinstance(v, str) else v) for n, v in op.arguments.items()}
        return _Module(make.format_map(words), state={name: op.weights[name] for name in weights})

    return emit


def _input(op: Op) -> _Module:
    part = f"{{x}}[:, {op.arguments['start']}:{op.arguments['stop']}]"
    return _Module(call=f"{part}.reshape({', '.join(map(str, (-1, *op.writes.shape)))})")


def _reshape(op: Op) -> _Module:
    if op.kind == "Flatten":
        return _Module("nn.Flatten()")
    return _Module(call=f"{{x}}.reshape({', '.join(map(str, (-1, *op.writes.shape)))})")


def _columns(op: Op) -> _Module:
    table = [(None if texts is None else len(texts), mean) for texts, mean in op.arguments["columns"]]
    return _Module(call=f"_columns({{x}}, {table!r}, missing={op.arguments['missing']})")


def _zeros(array: NDArray[Any]) -> str:
    return f"torch.zeros({', '.join(map(str, array.shape))}, dtype=torch.{array.dtype.name})"


def _over_arrays(text: str) -> Emit:
    """Return an emitter of an expression with several arrays, each an attribute: `self.{name}_mean`."""

    def emit(op: Op) -> _Module:
        words = {name: f"self.{{name}}_{name}" for name in op.weights} | {"x": "{x}"}
        return _Module(call=text.format_map(words), buffers={f"_{name}": array for name, array in op.weights.items()})

    return emit


def _standardise(op: Op) -> _Module:
    text = "({x} - {mean} - {rest}) * {factor}" if "rest" in op.weights else "({x} - {mean}) * {factor}"
    return _over_arrays(text)(op)


def _linear(op: Op) -> _Module:
    bias = "" if "bias" in op.weights else ", bias=False"
    (fan_in, fan_out) = op.weights["weight"].shape
    return _Module(f"nn.Linear({fan_in}, {fan_out}{bias})", state=_transposed(op, weight="weight", bias="bias"))


def _size(pair: Sequence[int]) -> str:
    return str(pair[0]) if len(set(pair)) == 1 else repr(tuple(pair))


def _windowed(op: Op, make: str, fill: str = "0", last: Sequence[str] = ()) -> tuple[str, str]:
    """Return constructor and call of a layer with windows. Padding that is not the same on both sides comes before."""
    w, axes = op.windows, slice(0, 2) if len(op.incoming) == 3 else slice(1, 2)
    before, after = list(w.before)[axes], list(w.after)[axes]
    words = [_size(list(w.size)[axes]), f"stride={_size(list(w.stride)[axes])}"]
    x = "{x}" if len(op.incoming) == 3 else "{x}.transpose(1, 2)"
    if before == after and any(before):
        words.append(f"padding={_size(before)}")
    elif any(before) or any(after):
        ends = list(zip(before, after, strict=True))
        pads = [str(pad) for of_axis in reversed(ends) for pad in of_axis]
        x = f"F.pad({x}, ({', '.join(pads)}){f', value={fill}' if fill != '0' else ''})"
    call = f"self.{{name}}({x})"
    kind = f"{make}{'2d' if len(op.incoming) == 3 else '1d'}"
    return f"{kind}({', '.join([*last[:2], *words, *last[2:]])})", call if len(
        op.incoming
    ) == 3 else f"{call}.transpose(1, 2)"


def _conv(op: Op) -> _Module:
    w, groups = op.windows, op.arguments["groups"]
    words = [str(op.arguments["in_channels"]), str(op.arguments["out_channels"])]
    dilation = w.dilation if len(op.incoming) == 3 else w.dilation[1:]
    words += [f"dilation={_size(dilation)}"] if max(dilation) > 1 else []
    words += [f"groups={groups}"] if groups > 1 else []
    words += ["bias=False"] if "bias" not in op.weights else []
    make, call = _windowed(op, "nn.Conv", last=words)
    return _Module(make, call, op.weights)


def _conv_transpose(op: Op) -> _Module:
    w, a, image = op.windows, op.arguments, len(op.incoming) == 3
    axes = slice(0, 2) if image else slice(1, 2)
    pairs = (w.size, w.stride, w.dilation, w.before, w.after, w.plane, w.beyond)
    size, stride, dilation, before, after, plane, more = (list(pair)[axes] for pair in pairs)
    words = [str(a["in_channels"]), str(a["out_channels"]), _size(size), f"stride={_size(stride)}"]
    words += [f"padding={_size(before)}"] if any(before) else []
    words += [f"output_padding={_size(more)}"] if any(more) else []
    words += [f"dilation={_size(dilation)}"] if max(dilation) > 1 else []
    words += [f"groups={a['groups']}"] if a["groups"] > 1 else []
    words += ["bias=False"] if "bias" not in op.weights else []
    call = f"self.{{name}}({{x}}{'' if image else '.transpose(1, 2)'})"
    if before != after:  # Keras removes one more at the end
        call += f"[:, :, {', '.join(f':{extent}' for extent in plane)}]"
    make = f"nn.ConvTranspose{len(op.plane)}d({', '.join(words)})"
    return _Module(make, call if image else f"{call}.transpose(1, 2)", op.weights)


def _permute(op: Op) -> _Module:
    if op.kind in ("PixelShuffle", "PixelUnshuffle"):
        return _Module(f"nn.{op.kind}({op.arguments['factor']})")
    if op.kind == "Transpose":
        return _Module(call="{x}.transpose(-1, -2)")
    p = op.permutation
    order = ", ".join(str(axis) for axis in (0, *(1 + axis for axis in p.order)))
    return _Module(call=f"{{x}}.reshape{(-1, *p.factors)}.permute({order}).reshape{(-1, *p.out)}")


def _resample(op: Op) -> _Module:
    mode, image = op.arguments["mode"], len(op.incoming) == 3
    plane = op.writes.shape[1:] if image else op.writes.shape[:1]
    if "columns" in op.weights and (mode == "nearest" or (mode == "bicubic" and not image)):
        return _over_arrays("{rows} @ {x} @ {columns}.T" if image else "{columns} @ {x}")(op)
    words = [f"size={plane}", f"mode={str('linear' if mode == 'bilinear' and not image else mode)!r}"]
    words += ["align_corners=False"] if mode != "nearest" else []
    words += ["antialias=True"] if op.arguments.get("antialias") else []
    call = f"F.interpolate({{x}}{'' if image else '.transpose(1, 2)'}, {', '.join(words)})"
    return _Module(call=call if image else f"{call}.transpose(1, 2)")


def _pool(make: str, fill: str = "0") -> Emit:
    return lambda op: _Module(*_windowed(op, make, fill))


def _as_channels(op: Op, make: str, weights: Arrays) -> _Module:
    """Return a module that takes features as the second axis."""
    sequence = len(op.incoming) == 2
    call = "self.{name}({x}.transpose(1, 2)).transpose(1, 2)" if sequence else "self.{name}({x})"
    return _Module(make, call, weights)


def _batch_norm(op: Op) -> _Module:
    a = op.arguments
    more = "" if a["affine"] else ", affine=False"
    kind = "2d" if len(op.incoming) == 3 else "1d"
    make = f"nn.BatchNorm{kind}({a['num_features']}, eps={a['eps']!r}, momentum={a['momentum']!r}{more})"
    return _as_channels(op, make, {**op.weights, "num_batches_tracked": np.array(0, np.int64)})


def _group_norm(op: Op) -> _Module:
    a, channels = op.arguments, op.arguments["num_channels"]
    if op.kind == "GroupNorm":
        more = "" if a["affine"] else ", affine=False"
        return _as_channels(op, f"nn.GroupNorm({a['num_groups']}, {channels}, eps={a['eps']!r}{more})", op.weights)
    kind, more = f"{len(op.incoming) - 1}d", ", affine=True" if a["affine"] else ""
    return _as_channels(op, f"nn.InstanceNorm{kind}({channels}, eps={a['eps']!r}{more})", op.weights)


def _scale(op: Op) -> _Module:
    beside = {name: array.reshape(beside_features(op.incoming)) for name, array in op.weights.items()}
    if "bias" not in beside:
        return _Module(f"nn.Parameter({_zeros(beside['weight'])})", "{x} * self.{name}", {"": beside["weight"]})
    arrays = "".join(f"{name}={_zeros(array)}, " for name, array in beside.items())
    make = f"nn.ParameterDict(dict({arrays.removesuffix(', ')}))"
    return _Module(make, "{x} * self.{name}['weight'] + self.{name}['bias']", beside)


def _spatial_dropout(op: Op) -> _Module:
    return _as_channels(op, f"nn.Dropout{len(op.incoming) - 1}d({op.arguments['p']!r})", {})


def _frame(op: Op) -> _Module:
    if op.kind == "ZeroPad":
        pads = [str(n) for pair in reversed(op.frame) for n in pair]
        return _Module(call=f"F.pad({{x}}, ({', '.join(pads)}))")
    ends = zip(op.frame, op.incoming, strict=True)
    return _Module(call=f"{{x}}[:, {', '.join(f'{before}:{extent - after}' for (before, after), extent in ends)}]")


def _class_token(op: Op) -> _Module:
    token = op.weights["weight"]
    return _Module(
        f"nn.Parameter({_zeros(token)})", "torch.cat([self.{name}.expand(len({x}), 1, -1), {x}], dim=1)", {"": token}
    )


def _one_hot(op: Op) -> _Module:
    ids = "{x}" if op.reads[0].dtype == "int64" else "{x}.round()"
    return _Module(call=f"F.one_hot({ids}.long(), {op.arguments['num_classes']}).to(torch.{op.writes.dtype})")


def _prelu(op: Op) -> _Module:
    count = op.weights["weight"].size
    module = _as_channels(op, f"nn.PReLU({count})", op.weights)
    return module if count > 1 else _Module(module.make, state=module.state)


def _row_norm(op: Op) -> _Module:
    a = op.arguments
    shape = a["normalized_shape"]
    more = "" if a["elementwise_affine"] else ", elementwise_affine=False"
    more += ", bias=False" if "weight" in op.weights and op.kind == "LayerNorm" and "bias" not in op.weights else ""
    row = list(shape) if isinstance(shape, (list, tuple)) else shape
    return _Module(f"nn.{op.kind}({row!r}, eps={a['eps']!r}{more})", state=op.weights)


_RECURRENT = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _recurrent(op: Op) -> _Module:
    a = op.arguments
    more = "" if a["bias"] else ", bias=False"
    more += ", nonlinearity='relu'" if a.get("activation") == "relu" else ""
    more += ", bidirectional=True" if a["bidirectional"] else ""
    names = {f"{name}_l0{end}": name + end for end in ("", "_reverse") for name in _RECURRENT}
    weights = _transposed(op, **{theirs: own for theirs, own in names.items() if own in op.weights})
    cells, given = a.get("return_cell"), ""
    if len(op.reads) > 1:  # (B, n) as (directions, B, hidden), of an LSTM one for h and one for c
        given = ", {last}" + ("[:, -1]" if len(op.reads[1].shape) > 1 else "")
        given += f".unflatten(1, (-1, {1 + a['bidirectional']}, {a['hidden_size']})).permute(1, 2, 0, 3).contiguous()"
        given += ".unbind()" if op.kind == "LSTM" else "[0]"
    call = f"self.{{name}}({{x}}{given})[0]" + ("" if a["return_sequences"] else "[:, -1]")
    if (a["bidirectional"] or cells) and not a["return_sequences"]:
        states = f"self.{{name}}({{x}}{given})[1]"
        states = states if op.kind != "LSTM" or cells else f"{states}[0]"
        call = f"torch.stack({states}).permute(2, 0, 1, 3)" if cells else f"{states}.transpose(0, 1)"
        call += ".flatten(1)"
    return _Module(f"nn.{op.kind}({a['in_features']}, {a['hidden_size']}, batch_first=True{more})", call, weights)


def _attention(op: Op) -> _Module:
    a, length = op.arguments, op.incoming[0]
    names = {"in_proj_weight": "qkv_weight", "in_proj_bias": "qkv_bias"}
    names |= {"out_proj__weight": "out_weight", "out_proj__bias": "out_bias"}
    more = f", dropout={a['dropout']!r}" if a["dropout"] else ""
    more += "" if a["bias"] else ", bias=False"
    mask = f", attn_mask=_causal({length}, {{x}}.device)" if a["causal"] else ""
    make = f"nn.MultiheadAttention({a['embed_dim']}, {a['num_heads']}, batch_first=True{more})"
    call = f"self.{{name}}({{x}}, {{last}}, {{last}}, need_weights=False{mask})[0]"
    return _Module(make, call, _transposed(op, **names))


def _embedding(op: Op) -> _Module:
    (vocabulary, width), ids = op.weights["weight"].shape, "{x}" if op.reads[0].dtype == "int64" else "{x}.round()"
    return _Module(f"nn.Embedding({vocabulary}, {width})", f"self.{{name}}({ids}.long())", op.weights)


def _positions(op: Op) -> _Module:
    call, table = "{x} + self.{name}", op.weights["table"]
    if op.kind == "SinusoidalPositions":
        return _Module(call=call, buffers={"": table})
    return _Module(f"nn.Parameter({_zeros(table)})", call, {"": table})


def _along_features(kind: str) -> Emit:
    return lambda op: _Module(f"nn.{kind}(dim={1 + feature_axis(op.incoming)})")


def _dot(op: Op) -> _Module:
    axis = 1 + feature_axis(op.incoming)
    if op.arguments["normalise"]:
        return _Module(call=f"F.cosine_similarity({{items}}, dim={axis}, eps={EPS_COSINE!r}).unsqueeze({axis})")
    return _Module(call=f"({{product}}).sum({axis}, keepdim=True)")


def _over_places(method: str) -> Emit:
    return lambda op: _Module(call=f"{{x}}.{method}(dim={1 if len(op.incoming) == 2 else (2, 3)})")


_EMIT: Mapping[str, Emit] = {
    # around the layers
    "columns": _columns,
    "cast": lambda op: _Module(call=f"{{x}}.to(torch.{op.writes.dtype})"),
    "reshape": _reshape,
    "from": _input,
    "transpose": lambda op: _Module(
        call=f"{{x}}.permute({', '.join(str(1 + n) for n in (-1, *op.arguments['order']))})"
    ),
    "multiply": lambda op: _Module(call=f"{{x}} * {float(op.weights['factor'])!r}"),
    "standardise": _standardise,
    "units": _over_arrays("{x}.double() * {deviation} + {mean}"),
    "add": lambda op: _Module(call="{all}"),
    "product": lambda op: _Module(call="{product}"),
    "subtract": lambda op: _Module(call="{x} - {last}"),
    "dot": _dot,
    "distance": lambda op: _Module(
        call=f"({{x}} - {{last}} + {EPS_DISTANCE!r}).square().sum({1 + feature_axis(op.incoming)}, keepdim=True).sqrt()"
    ),
    "concat": lambda op: _Module(call=f"torch.cat([{{items}}], dim={1 + feature_axis(op.writes.shape)})"),
    # shapes
    "Flatten": _reshape,
    "Reshape": _reshape,
    "Dropout": _plain("nn.Dropout({p})"),
    "SpatialDropout": _spatial_dropout,
    "GaussianNoise": lambda op: _Module(call="{x}"),
    "RepeatVector": lambda op: _Module(call=f"{{x}}[:, None].expand(-1, {op.arguments['length']}, -1)"),
    "Select": lambda op: _Module(call=f"{{x}}[:, {op.arguments['index']}]"),
    "ZeroPad": _frame,
    "Cropping": _frame,
    **dict.fromkeys(("Transpose", "Patches", "PixelShuffle", "PixelUnshuffle"), _permute),
    "Upsample": _resample,
    "Resize": _resample,
    "Sample": lambda op: _Module(call=f"{{x}}[:, :{op.writes.shape[0]}]"),  # the means, as in evaluation
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
    "PositionalEmbedding": _positions,
    "SinusoidalPositions": _positions,
    # pools
    "MaxPool": _pool("nn.MaxPool", "-torch.inf"),
    "AvgPool": _pool("nn.AvgPool"),
    "GlobalAvgPool": _over_places("mean"),
    "GlobalMaxPool": _over_places("amax"),
    # normalisation
    "BatchNorm": _batch_norm,
    "LayerNorm": _row_norm,
    "RMSNorm": _row_norm,
    "GroupNorm": _group_norm,
    "InstanceNorm": _group_norm,
    "UnitNorm": lambda op: _Module(
        call=f"F.normalize({{x}}, dim={1 + feature_axis(op.incoming)}, eps={op.arguments['eps']!r})"
    ),
    "Scale": _scale,
    "GLU": _along_features("GLU"),
    "Softmax": _along_features("Softmax"),
    "LogSoftmax": _along_features("LogSoftmax"),
    # number by number
    "ReLU": _plain("nn.ReLU()"),
    "LeakyReLU": _plain("nn.LeakyReLU({negative_slope})"),
    "Sigmoid": _plain("nn.Sigmoid()"),
    "Tanh": _plain("nn.Tanh()"),
    "HardSigmoid": _plain("nn.Hardsigmoid()"),
    "HardTanh": _plain("nn.Hardtanh({min_val}, {max_val})"),
    "ReLU6": _plain("nn.ReLU6()"),
    "SoftSign": _plain("nn.Softsign()"),
    "LogSigmoid": _plain("nn.LogSigmoid()"),
    "CELU": _plain("nn.CELU({alpha})"),
    "ELU": _plain("nn.ELU({alpha})"),
    "SELU": _plain("nn.SELU()"),
    "PReLU": _prelu,
    "GELU": _plain("nn.GELU(approximate={approximate})"),
    "SiLU": _plain("nn.SiLU()"),
    "Mish": _plain("nn.Mish()"),
    "Softplus": _plain("nn.Softplus({beta}, {threshold})"),
    "HardSwish": _plain("nn.Hardswish()"),
}

_PROBABILITIES = {
    "Softmax": "torch.softmax({x}, dim=-1)",
    "Sigmoid": "torch.sigmoid({x})",
    "exp": "torch.exp({x})",
    "Dropout": "{x}",
    "complement": "_both({x})",
}
"""Operations after the outputs, which are no layers."""

_FUNCTIONS = {
    "_columns": '''
def _columns(x, table, missing):
    """Features of a table: numbers, and one-hot numbers for the code of a text."""
    features = []
    for i, (texts, mean) in enumerate(table):
        column = x[:, i : i + 1]
        if texts is None:
            features.append(column if mean is None else torch.where(column.isnan(), mean, column))
            continue
        if not ((column == column.floor()) & (column >= (-1 if missing else 0)) & (column < texts)).all():
            raise ValueError(f"column {i} takes codes from 0 to {texts - 1}")
        features.append((column == torch.arange(texts, device=x.device)).to(torch.float64))
    return torch.cat(features, dim=1)

''',
    "_causal": '''
def _causal(length, device):
    """True where a place must not look: at later ones."""
    return torch.ones(length, length, dtype=torch.bool, device=device).triu(1)

''',
    "_both": '''
def _both(p):
    """The probability of both classes."""
    return torch.cat([1 - p, p], dim=-1)

''',
}


class _Writer:
    """The lines of the class so far."""

    def __init__(self) -> None:
        self.makes: list[str] = []
        self.state: dict[str, NDArray[Any]] = {}
        self._names = Identifiers({"forward", "training", "probabilities", *_RESERVED})

    def emit(self, op: Op, y: str, reads: Sequence[str]) -> Sequence[str]:
        """Make what an operation needs, and return the line that computes it."""
        module = _EMIT[op.kind](op)
        name = ""
        if module.make or module.buffers:
            name = self._names[op.writes.name.removeprefix("the ")]
        if module.make:
            self.makes.append(f"self.{name} = {module.make}")
        for suffix, array in module.buffers.items():
            self.makes.append(f'self.register_buffer("{name}{suffix}", {_zeros(array)})')
            self.state[f"{name}{suffix}"] = array
        self.state |= {f"{name}.{key}" if key else name: array for key, array in module.state.items()}
        words = {"name": name, "x": reads[0], "all": " + ".join(reads), "items": ", ".join(reads)}
        words |= {"product": " * ".join(reads), "last": reads[-1]}
        return [f"{y} = {module.call.format_map(words)}"]


_RESERVED = frozenset(
    "apply buffers children compile cpu cuda double eval float half modules parameters to train type xpu".split()  # noqa: SIM905
)
"""Methods of modules, which no layer may hide."""


def write(program: Program, certificate: Certificate) -> Artefact:
    """Return the file. It needs PyTorch 2.4 or newer, and nothing else."""
    writer = _Writer()
    after = {"the odds", "the probabilities"}
    layers = replace(program, ops=tuple(op for op in program.ops if op.writes.name not in after), probabilities=None)
    body = statements(layers, writer.emit)
    lines = [f"        {line}" for each in body for line in each.lines]
    last = {program.input.name: "x"} | {each.value.name: each.variable for each in body}
    p = "None"
    for op in program.ops:
        if op.writes.name in after:
            p = _PROBABILITIES[op.kind].format(x="self(x)" if p == "None" else p)
    text = _TEMPLATE.format(
        header=header(certificate, "A trained network in PyTorch", _USE),
        certificate=certificate_line(certificate),
        shape=program.input.shape,
        functions="".join(text for name, text in _FUNCTIONS.items() if f"{name}(" in "\n".join([*lines, p])),
        makes="\n".join(f"        {line}" for line in writer.makes) or "        pass",
        dtype=program.input.dtype,
        body="\n".join(lines),
        outputs=last[program.outputs.name],
        probabilities=p,
        network="Network()" if program.dtype == "float32" else f"Network().to(torch.{program.dtype})",
        predict=_PREDICT if program.classes is not None else "return outputs(x)",
        state=state(writer.state),
    )
    return Artefact(text.encode("ascii"), lines_of(text, body))


_USE = "Use: load() returns the module; outputs(x), probabilities(x), predict(x) take arrays or tensors."

_PREDICT = """y = outputs(x)
    labels = y.argmax(dim=-1) if y.shape[-1] > 1 else (y[..., 0] > 0).long()
    return [CLASSES[label] for label in labels.tolist()] if CLASSES and labels.ndim == 1 else labels"""

_TEMPLATE = '''{header}
import base64
import functools
import json
import math

import torch
import torch.nn.functional as F
from torch import nn

{certificate}
CLASSES = CERTIFICATE["classes"]
SHAPE = {shape}  # of one sample

{functions}
class Network(nn.Module):
    """The network with its preparation: it takes samples (B, *SHAPE) as they are stored, unscaled."""

    def __init__(self):
        super().__init__()
{makes}

    def forward(self, x):
        x = x.to(torch.{dtype}).reshape(-1, *SHAPE)
{body}
        return {outputs}

    def probabilities(self, x):
        """Return the probability of each class; None if the outputs do not determine it."""
        return {probabilities}


def load():
    """Return the network with its trained weights, in evaluation mode."""
    network = {network}
    network.load_state_dict(_read(_NUMBERS))
    return network.eval()


_network = functools.cache(load)


@torch.no_grad()
def outputs(x):
    """Return the outputs for samples (n, *SHAPE)."""
    return _network()(torch.as_tensor(x))


@torch.no_grad()
def probabilities(x):
    """Return the probability of each class; None if the outputs do not determine it."""
    return _network().probabilities(torch.as_tensor(x))


def predict(x):
    """Return the class of each sample, by name if classes have names; without classes, the outputs."""
    {predict}


def _read(text):
    """Read arrays by name."""
    data, arrays, start = bytearray(base64.b64decode(text)), {{}}, 0
    for name, dtype, shape in _ARRAYS:
        dtype, count = getattr(torch, dtype), math.prod(shape)
        arrays[name] = torch.frombuffer(data, dtype=dtype, count=count, offset=start).reshape(shape).clone()
        start += count * dtype.itemsize
    return arrays


{state}'''

RUNTIMES = (Runtime(version_of("torch", "see https://pytorch.org"), in_python),)
TARGET = Target("torch", (), _EMIT, write, refuses=keeps_cells)
