"""One file of NumPy without nnspec: `outputs`, `probabilities` and `predict`, with the weights inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from nnspec.engine.gaussian import DOUBLE_TAIL
from nnspec.engine.layers.contract import feature_axis
from nnspec.engine.layers.products import EPS_COSINE, EPS_DISTANCE
from nnspec.export.certificate import Certificate
from nnspec.export.names import python_string
from nnspec.export.program import Op, Program, along
from nnspec.export.python_text import certificate_line, header, key_of, lines_of, state, statements
from nnspec.export.target import Artefact, Target

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TARGET"]


def _weight(op: Op, name: str) -> str:
    return f"W[{python_string(key_of(op, name))}]" if name in op.weights else "None"


def _formula(text: str) -> Callable[[Op, Sequence[str]], str]:
    """Return an emitter for one expression: `{x}` is what is read, `{weight}` an array, `{eps}` an argument."""

    def emit(op: Op, reads: Sequence[str]) -> str:
        words = {name: repr(value) for name, value in op.arguments.items() if isinstance(value, (int, float))}
        return text.format_map(words | {name: _weight(op, name) for name in op.weights} | {"x": reads[0]})

    return emit


def _with_bias(text: str) -> Callable[[Op, Sequence[str]], str]:
    return lambda op, reads: _formula(text + (" + {bias}" if "bias" in op.weights else ""))(op, reads)


def _call(function: str, weights: Sequence[str], arguments: Sequence[str] = ()) -> Callable[[Op, Sequence[str]], str]:
    """Return an emitter for a call of a function in the file."""

    def emit(op: Op, reads: Sequence[str]) -> str:
        words = [*reads, *(_weight(op, name) for name in weights), *(repr(op.arguments[name]) for name in arguments)]
        return f"{function}({', '.join(words)})"

    return emit


def _input(op: Op, reads: Sequence[str]) -> str:
    part = f"{reads[0]}[:, {op.arguments['start']}:{op.arguments['stop']}]"
    return f"{part}.reshape({', '.join(map(str, ('-1', *op.writes.shape)))})"


def _shape(op: Op, reads: Sequence[str]) -> str:
    return f"{reads[0]}.reshape({', '.join(map(str, ('-1', *op.writes.shape)))})"


def _features(op: Op) -> int:
    """The axis of features or channels, of a batch."""
    return 1 + feature_axis(op.incoming)


def _beside(op: Op, name: str) -> str:
    """An array of one number for each feature or channel, as it broadcasts."""
    weight, axes = _weight(op, name), len(op.incoming)
    return f"{weight}[:, None, None]" if axes == 3 and op.weights[name].size > 1 else weight


def _windows(op: Op, function: str, last: Sequence[str]) -> str:
    w = op.windows
    words = [*last, f"size={w.size}", f"stride={w.stride}", f"pad={(w.before, w.after)}"]
    return f"{function}({', '.join(words)})"


def _conv(op: Op, reads: Sequence[str]) -> str:
    more = f", dilation={op.windows.dilation}, groups={op.arguments['groups']})"
    words = [*reads, _weight(op, "weight"), _weight(op, "bias")]
    return _windows(op, "_conv", words)[:-1] + more


def _conv_transpose(op: Op, reads: Sequence[str]) -> str:
    w = op.windows
    words = [*reads, _weight(op, "weight"), _weight(op, "bias"), f"stride={w.stride}", f"dilation={w.dilation}"]
    words += [f"padded={w.padded}", f"pad={(w.before, w.after)}", f"groups={op.arguments['groups']}"]
    return f"_conv_transpose({', '.join(words)})"


def _permute(op: Op, reads: Sequence[str]) -> str:
    p = op.permutation
    text = reads[0] if p.factors == op.incoming else f"{reads[0]}.reshape{(-1, *p.factors)}"
    text += f".transpose{(0, *(1 + axis for axis in p.order))}"
    factors = tuple(p.factors[axis] for axis in p.order)
    return text if factors == p.out else f"{text}.reshape{(-1, *p.out)}"


def _resample(op: Op, reads: Sequence[str]) -> str:
    x, (rows, columns), image = reads[0], op.repetitions, len(op.incoming) == 3
    if "rows" in op.weights:
        return f"{_weight(op, 'rows')} @ {x} @ {_weight(op, 'columns')}.T"
    if "columns" in op.weights:
        return f"{_weight(op, 'columns')} @ {x}"
    text = f"{x}.repeat({columns}, axis={3 if image else 1})"
    return f"{text}.repeat({rows}, axis=2)" if image else text


def _dot(op: Op, reads: Sequence[str]) -> str:
    a, b = reads
    total = f".sum(axis={1 + feature_axis(op.incoming)}, keepdims=True)"
    if not op.arguments["normalise"]:
        return f"({a} * {b}){total}"
    norms = (f"np.maximum(np.sqrt(({x} * {x}){total}), {EPS_COSINE!r})" for x in reads)
    return f"({a} * {b}){total} / " + " / ".join(norms)


def _distance(op: Op, reads: Sequence[str]) -> str:
    axis = 1 + feature_axis(op.incoming)
    return f"np.sqrt((({reads[0]} - {reads[1]} + {EPS_DISTANCE!r}) ** 2).sum(axis={axis}, keepdims=True))"


def _glu(op: Op, reads: Sequence[str]) -> str:
    axis = _features(op)
    return f"_glu({reads[0]}, axis={axis})"


def _group_norm(op: Op, reads: Sequence[str]) -> str:
    groups = op.arguments.get("num_groups", op.arguments["num_channels"])
    blocks, channels, inner = along(op.incoming)
    shape = (-1, blocks, groups, channels // groups, inner)
    text = f"_layer_norm({reads[0]}.reshape{shape}, {op.arguments['eps']!r}, (1, 3, 4)).reshape{(-1, *op.incoming)}"
    return f"{text} * {_beside(op, 'weight')} + {_beside(op, 'bias')}" if "weight" in op.weights else text


def _scale(op: Op, reads: Sequence[str]) -> str:
    text = f"{reads[0]} * {_beside(op, 'weight')}"
    return f"{text} + {_beside(op, 'bias')}" if "bias" in op.weights else text


def _unit_norm(op: Op, reads: Sequence[str]) -> str:
    return f"_unit_norm({reads[0]}, {op.arguments['eps']!r}, axis={_features(op)})"


def _frame(op: Op, reads: Sequence[str]) -> str:
    if op.kind == "ZeroPad":
        return f"np.pad({reads[0]}, {((0, 0), *op.frame)})"
    ends = zip(op.frame, op.incoming, strict=True)
    return f"{reads[0]}[:, {', '.join(f'{before}:{extent - after}' for (before, after), extent in ends)}]"


def _prelu(op: Op, reads: Sequence[str]) -> str:
    return f"np.maximum({reads[0]}, 0) + {_beside(op, 'weight')} * np.minimum({reads[0]}, 0)"


def _batch_norm(op: Op, reads: Sequence[str]) -> str:
    mean, var = _beside(op, "running_mean"), _beside(op, "running_var")
    text = f"({reads[0]} - {mean}) / np.sqrt({var} + {op.arguments['eps']!r})"
    return f"{text} * {_beside(op, 'weight')} + {_beside(op, 'bias')}" if "weight" in op.weights else text


def _row_norm(op: Op, reads: Sequence[str]) -> str:
    shape = op.arguments["normalized_shape"]
    axes = tuple(range(-len(shape), 0)) if isinstance(shape, (list, tuple)) else -1
    function = "_layer_norm" if op.kind == "LayerNorm" else "_rms_norm"
    text = f"{function}({reads[0]}, {op.arguments['eps']!r}, {axes})"
    for sign, name in (("*", "weight"), ("+", "bias")):
        text += f" {sign} {_weight(op, name)}" if name in op.weights else ""
    return text


def _attention(op: Op, reads: Sequence[str]) -> str:
    names, numbers = ("qkv_weight", "qkv_bias", "out_weight", "out_bias"), ("num_heads", "causal")
    words = [reads[0], reads[-1], *(_weight(op, name) for name in names), *(repr(op.arguments[n]) for n in numbers)]
    return f"_attention({', '.join(words)})"


def _recurrent(op: Op, reads: Sequence[str]) -> str:
    names, hidden = ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), int(op.arguments["hidden_size"])
    both, every = bool(op.arguments["bidirectional"]), bool(op.arguments["return_sequences"])
    more = ["_relu" if op.arguments["activation"] == "relu" else "np.tanh"] if op.kind == "RNN" else []
    cells = bool(op.arguments.get("return_cell"))
    if len(reads) > 1:
        start = f"{reads[1]}[:, -1]" if len(op.reads[1].shape) > 1 else reads[1]

    def direction(x: str, end: str, place: int) -> str:
        words = [x, *(_weight(op, name + end) for name in names), *more]
        for row, name in enumerate(("h", "c")[: 1 + (op.kind == "LSTM")] if len(reads) > 1 else ()):
            first = (row * (1 + both) + place) * hidden
            words.append(f"{name}={start}[:, {first}:{first + hidden}]")
        return f"_{op.kind.lower()}({', '.join([*words, *(['cells=True'] if cells else [])])})"

    texts = [direction(reads[0], "", 0)]
    if both:
        texts.append(direction(f"{reads[0]}[:, ::-1]", "_reverse", 1) + ("[:, ::-1]" if every else ""))
    texts = texts if every else [f"{text}[:, -1]" for text in texts]
    if not both:
        return texts[0]
    text = f"np.concatenate([{', '.join(texts)}], axis=-1)"
    return f"_by_state({text}, {hidden})" if cells else text


def _columns(op: Op, reads: Sequence[str]) -> str:
    table = [(None if texts is None else len(texts), mean) for texts, mean in op.arguments["columns"]]
    return f"_columns({reads[0]}, {table!r}, missing={op.arguments['missing']})"


def _concat(op: Op, reads: Sequence[str]) -> str:
    return f"np.concatenate([{', '.join(reads)}], axis={1 + feature_axis(op.writes.shape)})"


def _along_features(function: str) -> Callable[[Op, Sequence[str]], str]:
    return lambda op, reads: f"{function}({reads[0]}, axis={_features(op)})"


def _gelu(op: Op, reads: Sequence[str]) -> str:
    return f"{'_gelu_tanh' if op.arguments['approximate'] == 'tanh' else '_gelu'}({reads[0]})"


def _over_places(function: str) -> Callable[[Op, Sequence[str]], str]:
    return lambda op, reads: f"{reads[0]}.{function}(axis={1 if len(op.incoming) == 2 else (2, 3)})"


def _elu(op: Op, reads: Sequence[str]) -> str:
    x, alpha, scale = reads[0], op.arguments["alpha"], op.arguments["scale"]
    text = f"np.maximum({x}, 0) + {alpha!r} * np.expm1(np.minimum({x}, 0))"
    return text if scale == 1 else f"{scale!r} * ({text})"


_EMIT: Mapping[str, Callable[[Op, Sequence[str]], str]] = {
    # around the layers
    "columns": _columns,
    "cast": lambda op, reads: f"{reads[0]}.astype(np.{op.writes.dtype})",
    "reshape": _shape,
    "from": _input,
    "transpose": lambda op, reads: f"{reads[0]}.transpose({(0, *(1 + axis for axis in op.arguments['order']))})",
    "multiply": _formula("{x} * {factor}"),
    "standardise": lambda op, reads: _formula(
        "({x} - {mean} - {rest}) * {factor}" if "rest" in op.weights else "({x} - {mean}) * {factor}"
    )(op, reads),
    "units": _formula("{x}.astype(np.float64) * {deviation} + {mean}"),
    "exp": _formula("np.exp({x})"),
    "complement": _formula("np.concatenate([1 - {x}, {x}], axis=-1)"),
    "add": lambda op, reads: " + ".join(reads),
    "product": lambda op, reads: " * ".join(reads),
    "subtract": lambda op, reads: " - ".join(reads),
    "dot": _dot,
    "distance": _distance,
    "concat": _concat,
    # shapes
    "Flatten": _shape,
    "Reshape": _shape,
    **dict.fromkeys(("Dropout", "SpatialDropout", "GaussianNoise"), lambda op, reads: reads[0]),
    "RepeatVector": lambda op, reads: f"{reads[0]}[:, None].repeat({op.arguments['length']}, axis=1)",
    "Select": lambda op, reads: f"{reads[0]}[:, {op.arguments['index']}]",
    "ZeroPad": _frame,
    "Cropping": _frame,
    **dict.fromkeys(("Transpose", "Patches", "PixelShuffle", "PixelUnshuffle"), _permute),
    "Upsample": _resample,
    "Resize": _resample,
    "Sample": lambda op, reads: f"{reads[0]}[:, :{op.writes.shape[0]}]",  # the means
    # products
    "Linear": _with_bias("{x} @ {weight}"),
    "Conv1D": _conv,
    "Conv2D": _conv,
    "ConvTranspose1D": _conv_transpose,
    "ConvTranspose2D": _conv_transpose,
    "MultiHeadAttention": _attention,
    "RNN": _recurrent,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    # look-up
    "Embedding": _call("_embedding", ("weight",)),
    "OneHot": lambda op, reads: (
        f"_embedding({reads[0]}, np.eye({op.arguments['num_classes']}, dtype=np.{op.writes.dtype}))"
    ),
    "ClassToken": _call("_class_token", ("weight",)),
    "PositionalEmbedding": _formula("{x} + {table}"),
    "SinusoidalPositions": _formula("{x} + {table}"),
    # pools
    "MaxPool": lambda op, reads: _windows(op, "_max_pool", reads),
    "AvgPool": lambda op, reads: _windows(op, "_avg_pool", reads),
    "GlobalAvgPool": _over_places("mean"),
    "GlobalMaxPool": _over_places("max"),
    # normalisation
    "BatchNorm": _batch_norm,
    "LayerNorm": _row_norm,
    "RMSNorm": _row_norm,
    "GroupNorm": _group_norm,
    "InstanceNorm": _group_norm,
    "UnitNorm": _unit_norm,
    "Scale": _scale,
    "GLU": _glu,
    "Softmax": _along_features("_softmax"),
    "LogSoftmax": _along_features("_log_softmax"),
    # number by number
    "ReLU": _formula("np.maximum({x}, 0)"),
    "LeakyReLU": _formula("np.maximum({x}, {negative_slope} * {x})"),
    "Sigmoid": _formula("_sigmoid({x})"),
    "Tanh": _formula("np.tanh({x})"),
    "HardSigmoid": _formula("np.clip({x} / 6 + 0.5, 0, 1)"),
    "HardTanh": _formula("np.clip({x}, {min_val}, {max_val})"),
    "ReLU6": _formula("np.clip({x}, 0, 6)"),
    "SoftSign": _formula("{x} / (1 + np.abs({x}))"),
    "LogSigmoid": _formula("np.minimum({x}, 0) - np.log1p(np.exp(-np.abs({x})))"),
    "CELU": _formula("np.maximum({x}, 0) + {alpha} * np.expm1(np.minimum({x}, 0) / {alpha})"),
    "ELU": _elu,
    "SELU": _elu,
    "PReLU": _prelu,
    "GELU": _gelu,
    "SiLU": _formula("{x} * _sigmoid({x})"),
    "Mish": _formula("_mish({x})"),
    "Softplus": _formula("_softplus({x}, {beta}, {threshold})"),
    "HardSwish": _formula("{x} * np.clip({x} / 6 + 0.5, 0, 1)"),
}

_TAIL = ", ".join(map(repr, DOUBLE_TAIL.coefficients))

# Functions that the forward pass may call, each after those that it calls itself.
_FUNCTIONS = {
    "_columns": '''
def _columns(x, table, missing):
    """Features of a table: numbers, and one-hot numbers for the code of a text."""
    features = []
    for i, (texts, mean) in enumerate(table):
        column = x[:, i : i + 1]
        if texts is None:
            features.append(column if mean is None else np.where(np.isnan(column), mean, column))
            continue
        if not ((column == np.floor(column)) & (column >= (-1 if missing else 0)) & (column < texts)).all():
            raise ValueError(f"column {i} takes codes from 0 to {texts - 1}")
        features.append((column == np.arange(texts)).astype(np.float64))
    return np.concatenate(features, axis=1)
''',
    "_embedding": '''
def _embedding(ids, weight):
    """The row of each id."""
    ids = np.rint(ids).astype(np.int64)
    if ids.size and not 0 <= ids.min() <= ids.max() < len(weight):
        raise ValueError(f"ids are from 0 to {len(weight) - 1}")
    return weight[ids]
''',
    "_class_token": '''
def _class_token(x, token):
    """One more position, before the others."""
    return np.concatenate([np.broadcast_to(token, (len(x), 1, len(token))), x], axis=1)
''',
    "_windows": '''
def _windows(x, size, stride, pad, dilation=(1, 1), fill=0):
    """Windows on images (B, C, H, W) as a view (B, C, rows, columns, *size)."""
    (top, left), (bottom, right) = pad
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation))
    views = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(2, 3))
    return views[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
''',
    "_as_image": '''
def _as_image(x):
    """Sequences (B, T, F) as images of one row (B, F, 1, T)."""
    return x if x.ndim == 4 else x.transpose(0, 2, 1)[:, :, None]
''',
    "_conv": '''
def _conv(x, weight, bias, size, stride, pad, dilation, groups):
    """Cross-correlation of images (B, C, H, W), or of sequences (B, T, F), with weights (out, C / groups, *size)."""
    views = _windows(_as_image(x), size, stride, pad, dilation)
    batch, channels, rows, columns = views.shape[:4]
    views = views.reshape(batch, groups, channels // groups, rows, columns, *size)
    weight = weight.reshape(groups, len(weight) // groups, channels // groups, *size)
    y = [np.tensordot(views[:, g], weight[g], axes=((1, 4, 5), (1, 2, 3))) for g in range(groups)]
    y = np.concatenate(y, axis=3)
    y = y if bias is None else y + bias
    return y.transpose(0, 3, 1, 2) if x.ndim == 4 else y[:, 0]
''',
    "_conv_transpose": '''
def _conv_transpose(x, weight, bias, stride, dilation, padded, pad, groups):
    """Add x times weights (C, out / groups, *size) at the positions of each window."""
    images = _as_image(x)
    weight = weight.reshape(*weight.shape[:2], -1, weight.shape[-1])
    out, (rows, columns) = weight.shape[1] * groups, images.shape[2:]
    y = np.zeros((len(x), out, *padded), x.dtype)
    parts = images.reshape(len(x), groups, -1, rows, columns)
    weight = weight.reshape(groups, -1, *weight.shape[1:])
    for i in range(weight.shape[3]):
        for j in range(weight.shape[4]):
            part = np.einsum("bgchw,gco->bgohw", parts, weight[:, :, :, i, j]).reshape(len(x), out, rows, columns)
            top, left = i * dilation[0], j * dilation[1]
            down = slice(top, top + (rows - 1) * stride[0] + 1, stride[0])
            y[:, :, down, left : left + (columns - 1) * stride[1] + 1 : stride[1]] += part
    (top, left), (bottom, right) = pad
    y = y[:, :, top : padded[0] - bottom, left : padded[1] - right]
    y = y if bias is None else y + bias[:, None, None]
    return y if x.ndim == 4 else y[:, :, 0].transpose(0, 2, 1)
''',
    "_max_pool": '''
def _max_pool(x, size, stride, pad):
    """The largest number of each window."""
    y = _windows(_as_image(x), size, stride, pad, fill=-np.inf).max(axis=(4, 5))
    return y if x.ndim == 4 else y[:, :, 0].transpose(0, 2, 1)
''',
    "_avg_pool": '''
def _avg_pool(x, size, stride, pad):
    """The mean of each window, with its padding as zeros."""
    y = _windows(_as_image(x), size, stride, pad).mean(axis=(4, 5))
    return y if x.ndim == 4 else y[:, :, 0].transpose(0, 2, 1)
''',
    "_sigmoid": '''
def _sigmoid(x):
    """1 / (1 + e^-x), without overflow."""
    return 0.5 * np.tanh(0.5 * x) + 0.5
''',
    "_relu": '''
def _relu(x):
    """max(x, 0)."""
    return np.maximum(x, 0)
''',
    "_softmax": '''
def _softmax(x, axis):
    """e^x / sum of e^x."""
    y = np.exp(x - x.max(axis=axis, keepdims=True))
    return y / y.sum(axis=axis, keepdims=True)
''',
    "_log_softmax": '''
def _log_softmax(x, axis):
    """x - log of the sum of e^x."""
    x = x - x.max(axis=axis, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=axis, keepdims=True))
''',
    "_glu": '''
def _glu(x, axis):
    """One half of the features, times the sigmoid of the other."""
    a, b = np.split(x, 2, axis=axis)
    return a * _sigmoid(b)
''',
    "_unit_norm": '''
def _unit_norm(x, eps, axis):
    """x with a norm of 1."""
    return x / np.maximum(np.sqrt((x * x).sum(axis=axis, keepdims=True)), x.dtype.type(eps))
''',
    "_gelu": f'''
def _gelu(x):
    """x times the normal distribution function, as max(x, 0) - |x| tail(|x|)."""
    u = np.minimum(np.abs(x), {DOUBLE_TAIL.furthest}).astype(np.float64)
    tail = np.zeros_like(u)
    for coefficient in _TAIL[::-1]:
        tail = tail * (1 - {2 * DOUBLE_TAIL.k} / (u + {DOUBLE_TAIL.k})) + coefficient
    tail *= np.exp(-0.5 * u * u) / (u + {DOUBLE_TAIL.k})
    return (np.maximum(x, 0) - np.abs(x) * tail).astype(x.dtype)


_TAIL = ({_TAIL})
''',
    "_gelu_tanh": '''
def _gelu_tanh(x):
    """The approximation of GELU in GPT-2."""
    return 0.5 * x * (1 + np.tanh(0.7978845608028654 * x * (1 + 0.044715 * x * x)))
''',
    "_mish": '''
def _mish(x):
    """x tanh(log(1 + e^x))."""
    w = np.exp(np.minimum(x, 20))
    n = w * (w + 2)
    return x * (n / (n + 2))
''',
    "_softplus": '''
def _softplus(x, beta, threshold):
    """log(1 + e^(beta x)) / beta, and x above the threshold."""
    more = np.log1p(np.exp(-beta * np.abs(x))) / beta
    return np.maximum(x, 0) + np.where(beta * x > threshold, 0, more)
''',
    "_layer_norm": '''
def _layer_norm(x, eps, axes):
    """Mean 0 and variance 1 over these axes."""
    x = x - x.mean(axis=axes, keepdims=True)
    return x / np.sqrt((x * x).mean(axis=axes, keepdims=True) + eps)
''',
    "_rms_norm": '''
def _rms_norm(x, eps, axes):
    """Mean square 1 over these axes."""
    return x / np.sqrt((x * x).mean(axis=axes, keepdims=True) + eps)
''',
    "_attention": '''
def _attention(x, context, qkv_weight, qkv_bias, out_weight, out_bias, heads, causal):
    """Attention of sequences x (B, T, D) to sequences (B, S, D): to themselves, or to others."""
    batch, length, width = x.shape
    q, k, v = (
        (each @ qkv_weight[:, part] + (0 if qkv_bias is None else qkv_bias[part]))
        .reshape(batch, -1, heads, width // heads)
        .transpose(0, 2, 1, 3)
        for each, part in zip((x, context, context), (slice(i * width, (i + 1) * width) for i in range(3)))
    )
    scores = q @ k.swapaxes(-1, -2) * x.dtype.type((width // heads) ** -0.5)
    if causal:
        scores = np.where(np.tri(length, dtype=bool), scores, x.dtype.type(-np.inf))
    y = (_softmax(scores, -1) @ v).transpose(0, 2, 1, 3).reshape(batch, length, width) @ out_weight
    return y if out_bias is None else y + out_bias
''',
    "_products": '''
def _products(x, weight, bias, gates):
    """x W + b of every position, as (T, gates, B, hidden)."""
    y = x @ weight if bias is None else x @ weight + bias
    return y.reshape(*y.shape[:-1], gates, -1).transpose(1, 2, 0, 3)


def _start(h, x, hidden):
    """A state to start from: h, or zeros."""
    return np.zeros((x.shape[2], hidden), x.dtype) if h is None else h


def _by_state(y, hidden):
    """h and c of one direction, then of the other, as h of both, then c of both."""
    return y.reshape(*y.shape[:-1], 2, 2, hidden).swapaxes(-3, -2).reshape(y.shape)
''',
    "_rnn": '''
def _rnn(x, weight_ih, weight_hh, bias_ih, bias_hh, f, h=None):
    """h <- f(x W_ih + b_ih + h W_hh + b_hh)."""
    steps, ys = _products(x, weight_ih, bias_ih, 1), []
    h = _start(h, steps, len(weight_hh))
    for (a,) in steps:
        a = a + h @ weight_hh
        h = f(a if bias_hh is None else a + bias_hh)
        ys.append(h)
    return np.stack(ys, axis=1)
''',
    "_lstm": '''
def _lstm(x, weight_ih, weight_hh, bias_ih, bias_hh, h=None, c=None, cells=False):
    """c <- f c + i g, h <- o tanh(c)."""
    steps, ys = _products(x, weight_ih, bias_ih, 4), []
    h, c = (_start(each, steps, len(weight_hh)) for each in (h, c))
    for a in steps:
        i, f, g, o = a + _products(h[:, None], weight_hh, bias_hh, 4)[0]
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        ys.append(np.concatenate([h, c], axis=-1) if cells else h)
    return np.stack(ys, axis=1)
''',
    "_gru": '''
def _gru(x, weight_ih, weight_hh, bias_ih, bias_hh, h=None):
    """h <- (1 - z) n + z h, with r and z sigmoids, n = tanh(x W + b + r (h W + b))."""
    steps, ys = _products(x, weight_ih, bias_ih, 3), []
    h = _start(h, steps, len(weight_hh))
    for a in steps:
        b = _products(h[:, None], weight_hh, bias_hh, 3)[0]
        r, z = _sigmoid(a[0] + b[0]), _sigmoid(a[1] + b[1])
        n = np.tanh(a[2] + r * b[2])
        h = n + z * (h - n)
        ys.append(h)
    return np.stack(ys, axis=1)
''',
}


def _used(body: str) -> str:
    """Return the functions that a body needs, with what these need."""
    found: dict[str, str] = {}
    for name, text in reversed(_FUNCTIONS.items()):
        if f"{name}(" in body or f"{name})" in body or any(f"{name}(" in other for other in found.values()):
            found[name] = text
    return "\n".join(reversed(found.values()))


def _arrays(program: Program) -> dict[str, NDArray[Any]]:
    return {key_of(op, name): array for op in program.ops for name, array in op.weights.items()}


def _emit(op: Op, y: str, reads: Sequence[str]) -> Sequence[str]:
    text = _EMIT[op.kind](op, reads)
    return [f"{y} = {text}"]


def write(program: Program, certificate: Certificate) -> Artefact:
    """Return the file. It needs NumPy 1.22 or newer, and nothing else."""
    body = statements(program, partial(_emit))
    lines = [f"    {line}" for each in body for line in each.lines]
    by_value = {each.value.name: each.variable for each in body}
    by_value.setdefault(program.input.name, "x")
    y = by_value[program.outputs.name]
    p = "None" if program.probabilities is None else by_value[program.probabilities.name]
    text = _TEMPLATE.format(
        header=header(certificate, "A trained network in NumPy", "Use: outputs(x), probabilities(x), predict(x)."),
        certificate=certificate_line(certificate),
        functions=_used("\n".join(lines)),
        dtype=program.input.dtype,
        shape=program.input.shape,
        body="\n".join(lines),
        outputs=y,
        probabilities=p,
        predict=_PREDICT if program.classes is not None else "return outputs(x)",
        table=_TABLE if program.columns else "",
        state=state(_arrays(program)),
    )
    return Artefact(text.encode("ascii"), lines_of(text, body))


_TABLE = '''

def features(table):
    """Turn a table, a mapping from columns to their values, into the numbers that `outputs` takes."""
    columns = []
    for column in CERTIFICATE["columns"]:
        values, texts = table[column["name"]], column["texts"]
        if texts is None:
            columns.append([np.nan if value is None or value == "" else float(value) for value in values])
            continue
        unknown = [value for value in values if value not in (None, "") and str(value) not in texts]
        if unknown:
            raise ValueError(f"{column['name']}: {unknown[0]!r} does not occur in the training data")
        columns.append([-1 if value in (None, "") else texts.index(str(value)) for value in values])
    return np.array(columns, dtype=np.float64).T
'''

_PREDICT = """y = outputs(x)
    labels = y.argmax(axis=-1) if y.shape[-1] > 1 else (y[..., 0] > 0).astype(int)
    return np.array(CLASSES)[labels] if CLASSES else labels"""

_TEMPLATE = '''{header}
import base64
import json

import numpy as np

{certificate}
CLASSES = CERTIFICATE["classes"]
SHAPE = {shape}  # of one sample
{table}

def forward(x):
    """Return the outputs, and the probabilities of the classes if the outputs determine them."""
    x = np.asarray(x, dtype=np.{dtype}).reshape(-1, *SHAPE)
{body}
    return {outputs}, {probabilities}


def outputs(x):
    """Return the outputs for samples (n, *SHAPE) as they are stored, unscaled."""
    return forward(x)[0]


def probabilities(x):
    """Return the probability of each class; None if the outputs do not determine it."""
    return forward(x)[1]


def predict(x):
    """Return the class of each sample, by name if classes have names; without classes, the outputs."""
    {predict}

{functions}

def _read(text):
    """Read arrays by name."""
    data, arrays, start = base64.b64decode(text), {{}}, 0
    for name, dtype, shape in _ARRAYS:
        dtype, count = np.dtype(dtype).newbyteorder("<"), int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(data, dtype, count, start).reshape(shape)
        arrays[name], start = array.astype(dtype.newbyteorder("=")), start + count * dtype.itemsize
    return arrays


{state}
W = _read(_NUMBERS)
'''

TARGET = Target("numpy", (), _EMIT, write)
