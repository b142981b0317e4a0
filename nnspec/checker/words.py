"""The words of the language that are no parts: settings, sections, figures, and what the field calls them elsewhere.

Tables, not branches: a new setting is a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nnspec.checker.program import Seed, TrainSettings
from nnspec.diagnostics import nearest
from nnspec.engine.part import PARTS, Part, Signature

__all__ = [
    "DTYPES",
    "KIND_OF_SETTING",
    "LATER",
    "SECTIONS",
    "SETTINGS",
    "TRAIN",
    "did_you_mean",
    "figure_is_for_later",
    "figures",
    "meant",
    "metric_figures",
    "other_names",
    "parts",
]

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class SettingRow:
    """A setting of an experiment."""

    also: tuple[str, ...]
    """What the field calls it elsewhere."""
    part: str = ""
    """The kind of the one part that it takes. A lane may replace it, and its arguments are settings too."""


SETTINGS: dict[str, SettingRow] = {
    "seed": SettingRow(("random_seed", "random_state")),
    "dtype": SettingRow(("precision", "float_type")),
    "data": SettingRow(("dataset", "data_source", "input"), part="data source"),
    "model": SettingRow(("network", "net", "layers", "architecture")),
    "loss": SettingRow(("criterion", "loss_function", "objective", "cost"), part="loss"),
    "optimizer": SettingRow(("optim", "optimiser", "solver"), part="optimizer"),
    "metrics": SettingRow(("metric",)),
}

KIND_OF_SETTING = {row.part: name for name, row in SETTINGS.items() if row.part}


def _plain_settings(seed: Seed = 0) -> None:
    """Carry the declaration of `seed`."""


SEED = Signature.of(_plain_settings).arguments[0]
TRAIN = Signature.of(TrainSettings.__init__)

SECTIONS: dict[str, tuple[str, ...]] = {
    "model": ("network", "net", "layers", "sequential"),
    "train": ("training", "fit", "trainer"),
    "race": ("compare", "benchmark", "lanes"),
    "expect": ("expects", "assert", "require", "tests"),
}

# Words that are read and have no meaning yet, by place.
LATER: dict[str, frozenset[str]] = {
    "file": frozenset({"sweep"}),
    "model": frozenset({"residual", "add", "concat", "shortcut"}),
    "train": frozenset({"validation", "early_stop", "clip_norm", "clip_value", "repeats"}),
    "expect": frozenset({"val_loss"}),
}

# Figures of an expectation that are no metrics -> what it takes to know them.
_FIGURES: dict[str, str] = {
    "params": "program",
    "flops": "program",
    "memory": "program",
    "gradient_error": "calculus",
    "loss": "outcome",
    "test_loss": "outcome",
    "epochs_to": "outcome",
}


def figures() -> dict[str, str]:
    """Return every figure of an expectation -> what it takes to know it: `program`, `calculus` or `outcome`."""
    return _FIGURES | dict.fromkeys(metric_figures(), "outcome")


def metric_figures() -> dict[str, str]:
    """Return every figure that a metric gives -> the metric: over the training batches, and over the test data."""
    return {f"{prefix}{name}": name for name in parts("metric") for prefix in ("", "test_")}


def figure_is_for_later(word: str) -> bool:
    """Whether a figure is part of the language and has no meaning yet."""
    return word in LATER["expect"] or (word.removeprefix("val_") in parts("metric") and word.startswith("val_"))


def parts(*kinds: str) -> dict[str, type[Part]]:
    """Return the parts of these kinds, or of all, by name."""
    import nnspec.data
    import nnspec.engine  # noqa: F401  (declares all other parts)

    return {name: part for kind in kinds or PARTS for name, part in PARTS.get(kind, {}).items()}


def other_names(table: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Turn name -> the field's other names around."""
    return {other: name for name, others in table.items() for other in others}


def meant(word: str, candidates: Iterable[str], others: Mapping[str, str] | None = None) -> str | None:
    """Return the name that a word stands for in another framework, or that it misspells; None where none is clear."""
    others = others or {}
    plain = word.lower().replace("_", "")
    found = others.get(word) or next((others[o] for o in others if o.lower().replace("_", "") == plain), None)
    return found or nearest(word, candidates)


def did_you_mean(word: str, candidates: Iterable[str], others: Mapping[str, str] | None = None) -> str:
    """Return "did you mean `lr`?", or nothing where no candidate is clearly the one."""
    found = meant(word, candidates, others)
    return f"did you mean `{found}`?" if found and found != word else ""
