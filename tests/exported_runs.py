"""A small run of every spec in `specs/`, trained once for all tests of export."""

from __future__ import annotations

import re
import tempfile
from functools import cache
from pathlib import Path

from tiny_spec import ROOT

from nnspec import run

__all__ = ["SPECS", "run_of"]

_PICTURES = "data=Digits(train=60, test=30)"
_FEW = ("train.epochs=1", "train.batch=16")
SPECS = {
    "autoencoder": ("medium", _PICTURES),
    "fashion": (None, _PICTURES),
    "lenet": (None, _PICTURES),
    "names_rnn": (None, "data.context=8", "data.stride=400"),
    "race": ("Adam", _PICTURES),
    "regression": (None,),
    "residual": ("residual", _PICTURES),
    "schedules_race": ("line", _PICTURES),
    "spirals": ("mlp", "data=Spirals(train=90, test=30, classes=3)"),
    "tiny_gpt": (None, "context=16", "data.stride=2000", "width=16", "depth=2", "train.sample=0"),
    "width_sweep": ("width=16", _PICTURES),
}
"""Each spec, with the lane that is exported (None: the only one) and the settings that make it small."""

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
