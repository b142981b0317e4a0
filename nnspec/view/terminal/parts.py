"""Explains parts: what one computes, and which there are of a kind."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping

from nnspec.engine.part import Part

__all__ = ["kind_page", "part_page"]

Known = Mapping[str, Mapping[str, type[Part]]]
"""The parts by name, by kind."""


def kind_page(word: str, known: Known, columns: int, bold: Callable[[str], str]) -> list[str]:
    """List the parts of the kind that a word names, in the singular or plural; [] if it names none."""
    plain = word.lower().replace("-", " ").replace("_", " ")
    kind = next((kind for kind in known if plain in (kind, _plural(kind))), None)
    if kind is None:
        return []
    lines = [bold(_plural(kind).capitalize())]
    for _, part in sorted(known[kind].items()):
        lines += textwrap.wrap(_call(part), columns, initial_indent="  ", subsequent_indent="      ")
    return [*lines, "", "Run `nnspec explain NAME` for what one of them computes."]


def part_page(word: str, known: Known, columns: int, bold: Callable[[str], str]) -> list[str]:
    """Explain the parts of a name: their arguments, and what their docstrings say; [] if there are none."""
    lines: list[str] = []
    for kind, parts in known.items():
        if word in parts:
            call, *more = textwrap.wrap(_call(parts[word]), columns, subsequent_indent="    ")
            about = inspect.cleandoc(parts[word].__doc__ or "")
            lines += [*([""] if lines else []), bold(call), *map(bold, more), f"Kind: {kind}", "", about]
    return lines


def _call(part: type[Part]) -> str:
    signature = part.signature()
    return f"{part.spec_name}({signature})" if signature.arguments else part.spec_name


def _plural(kind: str) -> str:
    return f"{kind}es" if kind.endswith(("s", "ch")) else f"{kind}s"
