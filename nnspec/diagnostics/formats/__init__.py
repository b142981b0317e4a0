"""Findings as text, for people and for programs: one class a format."""

from __future__ import annotations

from importlib import import_module

from nnspec.diagnostics.formats.base import Findings as Findings
from nnspec.diagnostics.formats.base import Format as Format

__all__ = ["FORMATS", "Findings", "Format", "load"]

# Name -> module and class. A new format is a class and a row; a module is loaded when its format is used.
FORMATS: dict[str, tuple[str, str]] = {
    "full": ("full", "Full"),
    "concise": ("concise", "Concise"),
    "json": ("as_json", "Json"),
    "github": ("github", "GitHub"),
    "sarif": ("sarif", "Sarif"),
}


def load(name: str) -> type[Format]:
    """Return a format by its name. Raises KeyError where there is none."""
    module, word = FORMATS[name]
    found: type[Format] = getattr(import_module(f"{__name__}.{module}"), word)
    return found
