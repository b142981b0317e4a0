"""Small runs of every spec in `specs/` and of every layer, trained once for all tests of export."""

from __future__ import annotations

import hashlib
import re
import tempfile
from functools import cache
from pathlib import Path

from tiny_spec import ROOT, spec

from nnspec import run
from nnspec.engine.layers.activations import Activation
from nnspec.engine.part import PARTS

__all__ = ["CHAINS", "DTYPES", "OURS", "SPECS", "chain_of", "code_of", "run_of"]

_PICTURES = "data=Digits(train=60, test=30)"
_FEW = ("train.epochs=1", "train.batch=16")
SPECS = {
    "autoencoder": ("medium", _PICTURES),
    "fashion": (None, _PICTURES),
    "forecast": (None,),
    "lenet": (None, _PICTURES),
    "nano_gpt": ("tied", "context=8", "data.stride=400", "width=16", "train.sample=0"),
    "names_rnn": (None, "data.context=8", "data.stride=400"),
    "race": ("Adam", _PICTURES),
    "regression": (None,),
    "residual": ("residual", _PICTURES),
    "schedules_race": ("line", _PICTURES),
    "siamese": (None,),
    "spirals": ("mlp", "data=Spirals(train=90, test=30, classes=3)"),
    "tiny_gpt": (None, "context=16", "data.stride=2000", "width=16", "depth=2", "train.sample=0"),
    "unet": ("u_shaped", _PICTURES),
    "vae": (None, _PICTURES),
    "width_sweep": ("width=16", _PICTURES),
}
"""Each spec, with the lane that is exported (None: the only one) and the settings that make it small."""

OURS = {name: part for name, part in PARTS["layer"].items() if part.__module__.startswith("nnspec.")}
ACTIVATIONS = sorted(name for name, part in OURS.items() if issubclass(part, Activation))
CHAINS = {
    "activations": (
        "; ".join(f"Linear(7, init=normal(std=1)); {name}" for name in ACTIVATIONS)
        + "; LayerNorm; GELU(approximate=tanh); Linear(6); LeakyReLU(0.2); PReLU(6); ELU(0.5); RMSNorm;"
        " Softplus(2, threshold=1); BatchNorm; PReLU; LayerNorm(elementwise_affine=false); LayerNorm(bias=false);"
        " BatchNorm(affine=false); RMSNorm(elementwise_affine=false); Linear(5, bias=false); Softmax; Linear(10)",
        {},
    ),
    "sequences": (
        "Reshape([28, 28]); Conv1D(12, 3, padding=causal, dilation=2); Conv1D(8, 4, stride=2, padding=same, groups=2);"
        " MaxPool(3, stride=2, padding=1); SinusoidalPositions; PositionalEmbedding;"
        " MultiHeadAttention(2, causal=true); BatchNorm; MultiHeadAttention(4, bias=false);"
        " AvgPool(2, padding=1); PReLU(8); Softmax; LSTM(6); GRU(5); RNN(5); LayerNorm;"
        " RNN(4, activation=relu, bias=false); GRU(4, bias=false); LSTM(6, bias=false); LogSoftmax;"
        " LSTM(3, bidirectional=true); GRU(2, bidirectional=true, bias=false); RNN(2, bidirectional=true);"
        " concat { a { LSTM(3, return_sequences=false) } b { GRU(4, return_sequences=false) }"
        " c { RNN(2, return_sequences=false) } d { GlobalAvgPool } e { Conv1D(2, 4, bias=false); Flatten }"
        " f { RNN(2, bidirectional=true, activation=relu, return_sequences=false) }"
        " g { LSTM(2, bidirectional=true, return_sequences=false) }"
        " h { GRU(1, bidirectional=true, return_sequences=false) } };"
        " Linear(10)",
        {},
    ),
    "images": (
        "Conv2D(4, (3, 5), stride=(2, 1), padding=same); PReLU(4); BatchNorm; Softmax; MaxPool(3, stride=2, padding=1);"
        " concat { a { Conv2D(4, 3, padding=1, groups=2, bias=false) } b { AvgPool(3, stride=1, padding=same) }"
        " c { MaxPool(2, stride=1, padding=same) } }; LogSoftmax; residual { Conv2D(12, 2, dilation=2, padding=1) };"
        " add { a { } b { LayerNorm([12, 7, 14]) } c { ReLU; Dropout(0.5) } }; AvgPool((2, 3), padding=1);"
        " concat { a { GlobalAvgPool } b { Flatten; Linear(3) } }; Linear(10)",
        {},
    ),
    "resolutions": (
        "Conv2D(4, 4, stride=4); ConvTranspose2D(8, (3, 2), stride=2, padding=1, output_padding=1, groups=2);"
        " PixelShuffle(2); Upsample(2); Resize([12, 15]); Transpose; Resize(6, mode=nearest); PixelUnshuffle(2);"
        " ConvTranspose2D(3, 3, stride=2, padding=same, bias=false); Upsample((2, 1), mode=bicubic);"
        " Resize(8, antialias=true); Patches([4, 2]); Transpose; ConvTranspose1D(6, 2, stride=3, padding=same);"
        " ConvTranspose1D(4, 3, padding=1, dilation=2, groups=2, bias=false); Upsample(2); Resize(20);"
        " Resize(9, mode=bicubic); Resize(5, mode=nearest); Flatten; Linear(10)",
        {},
    ),
    "graph": (
        "wide: Linear(12); Tanh; code: Linear(5); Sigmoid; Linear(12); concat { up { } skip { from(wide) }"
        " raw { from(input); Linear(3) } }; Tanh; last: Linear(10);"
        " from(code); Linear(10); add { a { } b { from(last) } }",
        {},
    ),
    "joins": (
        "Reshape([4, 14, 14]); Conv2D(6, 5, stride=3); multiply { p { Tanh } q { GlobalAvgPool; Linear(6); Sigmoid }"
        " r { Conv2D(1, 1) } }; subtract { p { } q { GlobalAvgPool; Linear(6) } };"
        " concat { s { dot { p { } q { Conv2D(6, 1) } } } d { distance { p { } q { Conv2D(6, 1) } } }"
        " c { dot(normalise=true) { p { } q { Conv2D(6, 1) } } } };"
        " Reshape([12, 4]); multiply { p { } q { GlobalAvgPool } r { Linear(1) } };"
        " concat { p { distance { p { } q { Linear(4) } } } q { dot(normalise=true) { p { } q { Tanh } } } }; Flatten;"
        " subtract { p { } q { Linear(1) } }; concat { p { dot { p { } q { Tanh } } } q { } }; Linear(10)",
        {},
    ),
    "states": (
        "Reshape([28, 28]); Conv1D(4, 4, stride=4); x: LayerNorm; encoder: GRU(3); from(x); r: RNN(3, state=encoder);"
        " both: LSTM(2, bidirectional=true, return_cell=true, return_sequences=false); from(r);"
        " again: LSTM(2, bidirectional=true, state=both); last: LSTM(3, return_cell=true, return_sequences=false);"
        " start: Linear(3); from(again); GRU(3, state=start, return_sequences=false); ends: Linear(6); from(x);"
        " LSTM(3, state=last, return_sequences=false); p: Tanh; from(x); GRU(3, bidirectional=true, state=ends);"
        " c: MaxPool(2); from(r); Linear(6); MultiHeadAttention(2, context=c);"
        " MultiHeadAttention(3, context=c, bias=false); GlobalAvgPool; concat { a { } b { from(p) } }; Linear(10)",
        {},
    ),
    "channels": (
        "ZeroPad(2); Conv2D(8, 5, stride=3); GroupNorm(2, eps=0.1); GLU; InstanceNorm(eps=0.1); Scale(0.5, bias=true);"
        " UnitNorm(0.5); Cropping([1, 2]); SpatialDropout; GaussianNoise(0.2); ZeroPad([0, 1, 2, 0]);"
        " GroupNorm(4, eps=0.1, affine=false); InstanceNorm(eps=0.1, affine=true); Scale; concat {"
        " a { MaxPool(3, stride=2, ceil_mode=true); GlobalMaxPool }"
        " b { Patches([3, 4]); SpatialDropout(0.1); ClassToken; ZeroPad([1, 0]); Cropping([0, 1]); UnitNorm(0.5); GLU;"
        " GroupNorm(3); Select(-2) } c { Reshape([16, -1]); MaxPool(3, stride=2, ceil_mode=true); Scale(2, bias=true);"
        " InstanceNorm; GlobalMaxPool } };"
        " RepeatVector(3); Scale; Select(0); GroupNorm(2); Linear(12); UnitNorm(0.1); GLU; Linear(10)",
        {},
    ),
    "ids": ("OneHot; LSTM(4); Linear(data.classes)", {"data": 'Text("letters.txt", context=6, stride=3)'}),
    "shared": (
        "a: Linear(12); Tanh; n: BatchNorm; concat { p { t: residual { Linear(12); Sigmoid; Linear(12) } }"
        " q { Linear(12); same(n); same(concat1.p.t) } }; h: Linear(5); Tanh; transposed(h); Reshape([4, 6]);"
        " g: Linear(3); transposed(g, bias=true); same(g); Flatten; Linear(10)",
        {},
    ),
    "hinge": ("Linear(10)", {"loss": "Hinge"}),
    "sampled": ("Linear(8); Sample(kl=0.01); Linear(10)", {}),
    "softmax": ("Linear(10); LogSoftmax", {"loss": "NLL"}),
    "binary": ("Linear(4); Tanh; Linear(1)", {"loss": "BCEWithLogits", "data": "Moons(train=60, test=20)"}),
    "scaled": (
        "Linear(4); Tanh; Linear(1)",
        {
            "loss": "MSE",
            "data": "Sine(train=60, test=20)",
            "train": "epochs = 2; batch = 16; standardise = true; standardise_target = true",
        },
    ),
}
"""Chains of all layers: a model, and the other settings of its spec."""

DTYPES = ("float32", "float64")

_SHELF = tempfile.TemporaryDirectory(prefix="nnspec-tests-")


@cache
def run_of(name: str) -> tuple[Path, str | None]:
    """Train a spec in a few steps; return the folder of the run, and the lane to export."""
    lane, *settings = SPECS[name]
    shelf = Path(_SHELF.name)
    if not (shelf / "data").exists():
        (shelf / "data").symlink_to(ROOT / "specs" / "data")
    text = (ROOT / "specs" / f"{name}.nn").read_text()
    (shelf / f"{name}.nn").write_text(re.sub(r"\nexpect \{[^}]*\}", "", text))  # gradients take most of the time
    run(shelf / f"{name}.nn", [*_FEW, *filter(None, settings)], shelf / name)
    return shelf / name, lane


@cache
def chain_of(name: str, dtype: str) -> Path:
    """Train one of the CHAINS in a few steps; return the folder of the run."""
    model, more = CHAINS[name]
    path = Path(_SHELF.name, f"{name}_{dtype}.nn")
    path.with_name("letters.txt").write_text("the quick brown fox jumps over the lazy dog. " * 8)
    path.write_text(spec(model, **{"optimizer": "Adam(lr=0.003)", "more": f"dtype = {dtype}", **more}))
    run(path, out=path.with_suffix(""))
    return path.with_suffix("")


def code_of(path: Path) -> str:
    """Return a digest of the code of an exported module: without its certificate and its numbers."""
    text = re.sub(r"^CERTIFICATE = .*$", "", path.read_text(), flags=re.MULTILINE)
    _, _, code = text.partition('"""\n\n')
    code, _, _ = code.partition("_NUMBERS = ")
    return hashlib.sha256(code.encode()).hexdigest()
