"""Starter specs: commented `.nn` files in this folder, which check without findings and run offline."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from nnspec.errors import NnspecError
from nnspec.files import atomic, rewrite

__all__ = ["TEMPLATES", "StarterError", "template", "write_template"]

TEMPLATES = {
    "race": "a race of three optimizers on one network",
    "classify": "a classifier with held-out samples, early stopping and dropout",
    "sweep": "a sweep over widths and learning rates",
    "deep": "a deep network with and without residual connections, made of blocks",
}
"""Name -> description. The first is the default."""


class StarterError(NnspecError):
    """A starter spec cannot be written."""


def template(name: str) -> str:
    """Return the text of a starter spec. Raises StarterError if there is no template of this name."""
    if name not in TEMPLATES:
        raise StarterError(f"unknown template {name}; choose from {', '.join(TEMPLATES)}")
    return (files(__name__) / f"{name}.nn").read_text(encoding="utf-8")


def write_template(path: str | os.PathLike[str], name: str = next(iter(TEMPLATES)), *, force: bool = False) -> Path:
    """Write a starter spec, whole or not at all, and return where it lies. No folder is made.

    Raises StarterError for an unknown name, a path that is not that of a spec, a file that already exists unless
    `force` says to replace it, and a place that cannot be written to.
    """
    place, data = Path(path), template(name).encode("utf-8")
    try:
        _write(place, data, force)
    except OSError as error:
        raise StarterError(f"{place} cannot be written: {error.strerror or error}") from None
    return place


def _write(place: Path, data: bytes, force: bool) -> None:
    if place.is_dir():
        raise StarterError(f"{place} is a folder")
    if place.suffix != ".nn":
        raise StarterError(f"the name of a spec must end in .nn: {place.with_suffix('.nn')}")
    there = os.path.lexists(place)
    if there and not force:
        raise StarterError(f"{place} already exists; use --force to overwrite it")
    if not place.parent.is_dir():
        raise StarterError(f"folder not found: {place.parent}; create it first")
    if there:
        rewrite(place, data)
        return
    with atomic(place) as file:
        file.write(data)
