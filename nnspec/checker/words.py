"""The words of the language that are no parts: settings, sections, figures, and what the field calls them elsewhere.

Tables, not branches: a new setting is a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nnspec.checker.program import Seed, TrainSettings
from nnspec.diagnostics import nearest
from nnspec.engine.part import PARTS, Part, Signature

__all__ = [
    "DTYPES",
    "FIGURES",
    "KIND_OF_SETTING",
    "LATER",
    "SECTIONS",
    "SETTINGS",
    "TRAIN",
    "did_you_mean",
    "meant",
    "other_names",
    "parts",
]

DTYPES = ("float32", "float64")

# Setting of an experiment -> the kind of part that it takes ("" for another value), and the field's other names.
SETTINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "seed": ("", ("random_seed", "random_state")),
    "dtype": ("", ("precision", "float_type")),
    "data": ("data source", ("dataset", "data_source", "input")),
    "model": ("", ("network", "net", "layers", "architecture")),
    "loss": ("loss", ("criterion", "loss_function", "objective", "cost")),
    "optimizer": ("optimizer", ("optim", "optimiser", "solver")),
    "metrics": ("metric", ("metric",)),
}

KIND_OF_SETTING = {kind: name for name, (kind, _) in SETTINGS.items() if kind}


def _top_level_arguments(seed: Seed = 0) -> None:
    """Carry the declaration of the plain settings."""


SEED = Signature.of(_top_level_arguments).arguments[0]
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
    "expect": frozenset({"val_loss", "val_accuracy"}),
}

# Figure of an expectation -> what it takes to know it.
FIGURES: dict[str, str] = {
    "params": "program",
    "flops": "program",
    "memory": "program",
    "gradient_error": "calculus",
    "loss": "outcome",
    "accuracy": "outcome",
    "test_loss": "outcome",
    "test_accuracy": "outcome",
    "epochs_to": "outcome",
}


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
    return f"did you mean `{found}`?" if found else ""
