"""The words of the language other than parts: settings, sections and figures, and their names in other frameworks.

Tables, not branches: a new setting is a row.
"""

from __future__ import annotations

import functools
from collections import ChainMap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, TypedDict

import nnspec.data
import nnspec.engine  # noqa: F401  (both declare parts)
from nnspec.checker.program import Seed, TrainSettings, TuneSettings
from nnspec.data.weights import Weights
from nnspec.diagnostics import Edit, Fix, Span, nearest
from nnspec.engine.initializers import Initializer
from nnspec.engine.layers.contract import Layer
from nnspec.engine.metrics import Metric
from nnspec.engine.part import PARTS, Also, FilePath, Part, Positive, Range, Signature
from nnspec.engine.spaces import Space
from nnspec.extensions import not_loaded

__all__ = [
    "BY_NAME",
    "DTYPES",
    "FIGURES_ELSEWHERE",
    "INIT_FROM",
    "KIND_OF_SETTING",
    "LITERALS",
    "NOT_NEEDED",
    "SECTIONS",
    "SETTINGS",
    "SPACE",
    "TRAIN",
    "TUNE",
    "Suggestion",
    "did_you_mean",
    "figures",
    "is_reserved",
    "kinds",
    "lacking",
    "meant",
    "metric_figures",
    "options",
    "other_names",
    "part_called",
    "parts",
    "respelt",
    "respelt_part",
]

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class SettingRow:
    """A setting of an experiment."""

    also: tuple[str, ...]
    """Its names in other frameworks."""
    part: str = ""
    """The kind of part that it takes. A lane may replace the part, and its arguments are settings too."""


SETTINGS: dict[str, SettingRow] = {
    "seed": SettingRow(("random_seed", "random_state")),
    "dtype": SettingRow(("precision", "float_type")),
    "data": SettingRow(("dataset", "data_source", "input"), part="data source"),
    "model": SettingRow(("network", "net", "layers", "architecture")),
    "loss": SettingRow(("criterion", "loss_function", "objective", "cost"), part="loss"),
    "loss_weight": SettingRow(("loss_weights",)),
    "optimizer": SettingRow(("optim", "optimiser", "solver"), part="optimizer"),
    "metrics": SettingRow(("metric",)),
    "init": SettingRow(("initializer", "weight_init", "kernel_initializer", "initialization")),
    "init_from": SettingRow(("load_weights", "load_state_dict", "pretrained", "weights", "checkpoint", "warm_start")),
}

KIND_OF_SETTING = {row.part: name for name, row in SETTINGS.items() if row.part}


def _plain_settings(
    seed: Seed = 0, init_from: FilePath | Weights | None = None, init: Initializer | None = None
) -> None:
    """Holds the declarations of `seed`, `init_from` and `init`."""


SEED, INIT_FROM, INIT = Signature.of(_plain_settings).arguments
TRAIN = Signature.of(TrainSettings.__init__)
TUNE = Signature.of(TuneSettings.__init__)


def _space(space: Space) -> None:
    """Holds the declaration of what `tune` takes for a setting."""


(SPACE,) = Signature.of(_space).arguments


def _by_name(
    lr_factor: Annotated[Positive, Also("lr_mult", "lr_multiplier", "lr_scale", "learning_rates", "lr")] = 1.0,
    weight_decay: Annotated[float, Range(low=0), Also("decay_mult", "decay", "wd")] = 0.0,
) -> None:
    """Holds the declarations of settings per layer and kind of parameter."""


BY_NAME = Signature.of(_by_name)

SECTIONS: dict[str, tuple[str, ...]] = {
    "model": ("network", "net", "layers", "sequential"),
    "train": ("training", "fit", "trainer"),
    "race": ("compare", "benchmark", "lanes"),
    "expect": ("expects", "assert", "require", "tests"),
    "sweep": ("grid", "search", "gridsearch"),
    "tune": ("tuning", "hyperparameters", "hparams", "optuna", "hyperopt", "study", "hyperparameter_search"),
}

# Names in other frameworks that specs do not need -> what to do.
NOT_NEEDED: dict[str, str] = {
    "Activation": "activations are separate layers, such as `ReLU`",
    "activation": "activations are separate layers, such as `ReLU`",
    "Input": "remove it: the data determines the input shape",
    "InputLayer": "remove it: the data determines the input shape",
    "input_shape": "remove it: the data determines the input shape",
    "Lambda": "a spec contains no code; `nnspec new --part layer` writes a layer of your own",
    "Sequential": "remove it: write the layers of a model one below the other",
    "from_logits": "remove it: `CrossEntropy` always takes logits",
    "inplace": "remove it: nnspec decides itself which arrays can be overwritten",
    "device": "remove it: everything is computed on the CPU",
    "verbose": "remove it: use `nnspec run --quiet` for less output",
    "beta1": "the two are a single argument: `betas=(0.9, 0.999)`",
    "beta2": "the two are a single argument: `betas=(0.9, 0.999)`",
    "beta_1": "the two are a single argument: `betas=(0.9, 0.999)`",
    "beta_2": "the two are a single argument: `betas=(0.9, 0.999)`",
    "nesterov": "`Nesterov` is a separate optimizer",
    "amsgrad": "`AMSGrad` is a separate optimizer",
    "kernel_regularizer": "a penalty applies to the weights of all layers: `train.penalty = L2(1e-4)`",
    "kernel_constraint": "a constraint applies to the weights of all layers: `train.constraint = max_norm(3)`",
    "scheduler": "pass the schedule as the learning rate: `lr=cosine(0.01)`",
    "schedule": "pass the schedule as the learning rate: `lr=cosine(0.01)`",
    "lr_scheduler": "pass the schedule as the learning rate: `lr=cosine(0.01)`",
    "trainable": "`train.freeze = [h1, h2]` excludes layers from training",
    "requires_grad": "`train.freeze = [h1, h2]` excludes layers from training",
    "lr_mult": "`train.lr_factor.h1 = 0.1` scales the learning rate of layer `h1`",
    "decay_mult": "`train.weight_decay.h1 = 0` sets the weight decay of layer `h1`",
    "param_groups": "`train.lr_factor.h1 = 0.1` scales the learning rate of layer `h1`",
    "clip": "use `clip_norm` for the global norm, or `clip_value` for each entry",
    "grad_clip": "use `clip_norm` for the global norm, or `clip_value` for each entry",
    "gradient_clip": "use `clip_norm` for the global norm, or `clip_value` for each entry",
    "lr_policy": "pass the schedule as the learning rate: `lr=inverse(0.01, gamma=1e-4, power=0.75, per=step)`",
    "clipnorm": "`train.clip_norm = 1` limits the norm of all gradients together",
    "clipvalue": "`train.clip_value = 1` limits each entry of the gradients",
    "max_iter": "`train.epochs` counts passes over the data, and `train.steps` batches, as Caffe's `max_iter`",
    "full": "`data.size` is the number of training samples: `batch = data.size`",
    "ignore_index": "it is an argument of the data: `NPZ(…, ignore=-100)`",
    "class_weight": "it is an argument of the loss: `CrossEntropy(class_weights=balanced)`",
    "class_weights": "it is an argument of the loss: `CrossEntropy(class_weights=balanced)`",
    "pos_weight": "it is an argument of the loss: `BCEWithLogits(pos_weight=9)`",
    "text": '`words = "review"` reads a column of text as words; other columns of text are one-hot encoded',
    "mask_zero": "remove it: recurrent layers, attention and global pools skip padding, which the data knows",
    "padding_idx": "remove it: the data says which id is padding, for example `NPZ(…, padding=0)`",
    "num_layers": "repeat the layer: `LSTM(32) * 2`",
    "key_dim": "remove it: each head has an equal share of the features",
    "feature_range": "its ends are two arguments: `min_max(low=0, high=1)`",
    "sparsity": "`nonzeros` is the number of inputs of each unit whose weights are not zero",
    "warmup_steps": "a warm-up is part of a schedule: `lr=constant(0.01, warmup=100, per=step)`",
    "swa_lr": "remove it: averaging does not change the rate, which is the optimizer's",
    "embeddings_regularizer": "a penalty applies to the weights of all layers: `train.penalty = L2(1e-4)`",
    "activity_regularizer": "there is no such layer; `train.penalty = L2(1e-4)` penalises large weights",
    "Bidirectional": "it is an argument of the layer: `LSTM(32, bidirectional=true)`",
    "TimeDistributed": "remove it: `Linear` is applied at each position of a sequence",
    "Identity": "remove it: an empty branch, `a { }`, passes its input on",
    "cosine_similarity": "it is a section: `dot(normalise=true) { a { from(h1) } b { from(h2) } }`",
    "CosineSimilarity": "it is a section: `dot(normalise=true) { a { from(h1) } b { from(h2) } }`",
    "TransformerEncoderLayer": "write two sections: `residual { LayerNorm; MultiHeadAttention(4) }` and "
    "`residual { LayerNorm; Linear(128); GELU; Linear(32) }`",
    "TransformerDecoderLayer": "write sections: `residual { LayerNorm; MultiHeadAttention(4, causal=true) }` and "
    "`residual { LayerNorm; Linear(128); GELU; Linear(32) }`",
    "Lookahead": "it is a setting beside any optimizer: `train.average = lookahead(k=5, alpha=0.5)`",
    "SAM": "it is a setting beside any optimizer: `train.sharpness = sam(rho=0.05)`",
    "seeds": "`train.repeats = 3` trains with three different seeds",
}

# Distinct names that are never taken for misspellings of each other.
_DISTINCT = frozenset(
    (
        "Adafactor",
        "LARS",
        "float16",
        "bfloat16",
        "int8",
        "int32",
    )
)

# Names of literals in other languages -> here.
LITERALS: dict[str, str] = {
    **dict.fromkeys(("True", "TRUE", "yes", "Yes", "on", "On"), "true"),
    **dict.fromkeys(("False", "FALSE", "no", "No", "off", "Off"), "false"),
    **dict.fromkeys(("None", "NONE", "null", "nil", "Null"), "none"),
}

# Names of figures in other frameworks -> here.
FIGURES_ELSEWHERE: dict[str, str] = {
    "acc": "accuracy",
    "val_acc": "val_accuracy",
    "test_acc": "test_accuracy",
    "train_loss": "loss",
    "train_accuracy": "accuracy",
    "parameters": "params",
    "num_params": "params",
    "n_params": "params",
    "trainable_params": "trained_params",
    "num_trainable_params": "trained_params",
    "grad_error": "gradient_error",
    "validation_loss": "val_loss",
    "validation_accuracy": "val_accuracy",
    "valid_loss": "val_loss",
    "valid_accuracy": "val_accuracy",
    "eval_loss": "val_loss",
    "eval_accuracy": "val_accuracy",
}

# Figures of an expectation other than metrics -> what they require.
_FIGURES: dict[str, str] = {
    "params": "program",
    "trained_params": "program",
    "flops": "program",
    "memory": "program",
    "gradient_error": "calculus",
    "loss": "outcome",
    "val_loss": "outcome",
    "test_loss": "outcome",
    "epochs_to": "outcome",
}


def figures() -> Mapping[str, str]:
    """Return every figure of an expectation -> what it requires: `program`, `calculus` or `outcome`."""
    return _known_figures(tuple(parts("metric").values()), tuple(parts("layer").values()))


def metric_figures() -> Mapping[str, str]:
    """Return every figure of a metric -> the metric: over training batches, held-out samples and test data."""
    return _figures_of(tuple(parts("metric").values()))


def added_figures() -> Mapping[str, str]:
    """Return every figure of a term that layers add to the loss -> its name in training: `val_kl_loss` -> `kl_loss`."""
    return _figures_added(tuple(parts("layer").values()))


@functools.cache
def _known_figures(metrics: tuple[type[Part], ...], layers: tuple[type[Part], ...]) -> Mapping[str, str]:
    measured = [*_figures_of(metrics), *_figures_added(layers)]
    return MappingProxyType(_FIGURES | dict.fromkeys(measured, "outcome"))


@functools.cache
def _figures_added(layers: tuple[type[Part], ...]) -> Mapping[str, str]:
    names = sorted({part.adds for part in layers if issubclass(part, Layer) and part.adds})
    return MappingProxyType({f"{prefix}{name}": name for name in names for prefix in ("", "val_", "test_")})


@functools.cache
def _figures_of(metrics: tuple[type[Part], ...]) -> Mapping[str, str]:
    names = [part.spec_name for part in metrics if issubclass(part, Metric) and part.is_figure]
    return MappingProxyType({f"{prefix}{name}": name for name in names for prefix in ("", "val_", "test_")})


def lacking(figure: str, *, validated: bool, tested: bool) -> tuple[str, str] | None:
    """Return what a figure lacks if there are no samples to measure it on, and help; None if nothing is lacking."""
    if figure.startswith("val_") and not validated:
        return "there are no validation samples", "hold out samples: `train.validation = 0.1`"
    if figure.startswith("test_") and not tested:
        return "there are no test samples", "`data.test = 0.2` splits them off"
    return None


def parts(*kinds: str) -> Mapping[str, type[Part]]:
    """Return the parts of these kinds, or of all, by name."""
    if len(kinds) == 1 and kinds[0] in PARTS:
        return PARTS[kinds[0]]
    # A name of two kinds, such as `uniform`, refers to the first of them.
    return ChainMap(*[PARTS.get(kind, {}) for kind in kinds or tuple(PARTS)])


def part_called(word: str, kinds: tuple[str, ...] | None, positional: int) -> type[Part] | None:
    """Return the part that a call refers to. If parts of two kinds have the name, it is one of `kinds` or, where any
    kind fits, the first that takes this many positional arguments: `uniform(0, 1)` is a space, as the arguments of the
    initialiser are given by name.
    """
    named = [known[word] for known in PARTS.values() if word in known]
    if len(named) > 1:
        fits = [part for part in named if kinds is not None and part.kind in kinds]
        takes = [part for part in named if part.signature().names_of_positionals(positional, {}) is not None]
        named = [*fits, *takes, *named]
    return named[0] if named else None


def kinds() -> tuple[str, ...]:
    """Return the kinds of parts."""
    return tuple(PARTS)


def is_reserved(word: str) -> bool:
    """Whether a name is reserved for a part. Rules for validation and scaling, augmentations, spaces and searches are
    common words such as `last`, `fixed`, `crop`, `choice` and `grid`: a `let`, block or parameter may have the same
    name, and hides the part.
    """
    part = parts().get(word)
    return part is not None and part.kind not in ("validation rule", "scaling rule", "augmentation", "space", "search")


def options() -> set[str]:
    """Return the words that arguments of parts and settings take, such as `same` and `valid`."""
    arguments = (*TRAIN, *(argument for part in parts().values() for argument in part.signature()))
    return {word for argument in arguments for word in (*argument.words, *argument.listed_words)}


def other_names(table: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Invert name -> aliases."""
    return {other: name for name, others in table.items() for other in others}


@functools.lru_cache(maxsize=4096)
def _plain(word: str) -> str:
    """Normalise a name: `BatchSize`, `batch_size` and `batchsize` are the same."""
    return word.lower().replace("_", "")


def meant(word: str, candidates: Iterable[str], others: Mapping[str, str] | None = None) -> str | None:
    """Return the name that a word is an alias or a misspelling of; None if it is unclear."""
    others = others or {}
    plain = _plain(word)
    found = others.get(word) or next((name for other, name in others.items() if _plain(other) == plain), None)
    return found or (None if word in _DISTINCT or word in NOT_NEEDED else nearest(word, candidates))


def did_you_mean(word: str, candidates: Iterable[str], others: Mapping[str, str] | None = None) -> str:
    """Return "did you mean `lr`?", or "" if no candidate is clear."""
    found = meant(word, candidates, others)
    return f"did you mean `{found}`?" if found and found != word else ""


class Suggestion(TypedDict, total=False):
    """Help and fix of a message, as `Findings.error` takes them."""

    label: str
    remarks: tuple[str, ...]
    help: str
    fix: Fix | None


def respelt_part(span: Span, found: str | None, others: Mapping[str, str], otherwise: str = "") -> Suggestion:
    """Return help and fix for the name of an unknown part, which may be one of an installed package."""
    word = span.text
    elsewhere = not_loaded(word)
    if elsewhere:
        return {"help": elsewhere}
    similar = next((part for known in PARTS.values() for part in known.values() if word in part.resembles[0]), None)
    if similar is None:
        return respelt(span, found, others, otherwise)
    fix = Fix(f"replace `{word}` with `{similar.spec_name}`", (Edit(span, similar.spec_name),), safe=False)
    return {"help": f"`{similar.spec_name}` is similar: {similar.resembles[1]}", "fix": fix}


def respelt(span: Span, found: str | None, others: Mapping[str, str] | None = None, otherwise: str = "") -> Suggestion:
    """Return help and fix that replace the word at a span with `found`; without `found`, `otherwise` as help.

    Replacing an alias or different letter case is a safe fix; replacing a misspelling is not.
    """
    word = span.text
    if not found or found == word:
        return {"help": NOT_NEEDED.get(word, otherwise)}
    safe = (others or {}).get(word) == found or found.lower() == word.lower()
    fix = Fix(f"replace `{word}` with `{found}`", (Edit(span, found),), safe)
    return {"help": f"did you mean `{found}`?", "fix": fix}
