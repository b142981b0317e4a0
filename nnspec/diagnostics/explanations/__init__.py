"""What each diagnostic code means, with an example that triggers it and one that does not. Loaded only when needed.
Each group of codes has its own module. A test checks every example: the bad one triggers exactly its code, and the good
one has no findings."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from nnspec.diagnostics.codes import CODES
from nnspec.diagnostics.explanations.example import NAME as NAME
from nnspec.diagnostics.explanations.example import Example as Example
from nnspec.diagnostics.explanations.example import Explanation as Explanation
from nnspec.diagnostics.explanations.example import completed as completed

__all__ = ["GROUPS", "NAME", "Example", "Explanation", "code_of", "completed", "explanation", "groups", "spelled"]

GROUPS: dict[str, tuple[str, str]] = {
    "NN1": ("Syntax", "syntax"),
    "NN2": ("Names", "names"),
    "NN3": ("Values and types", "values"),
    "NN4": ("Shapes", "shapes"),
    "NN5": ("Data", "shapes"),
    "NN6": ("Training and expectations", "expectations"),
    "NN7": ("Advice", "advice"),
    "NN8": ("Export", "exporting"),
    "NN9": ("The tool itself", "tool"),
}
"""Prefix of a code -> title of its group, and the module with its explanations."""


def explanation(code: str) -> Explanation:
    """Return the explanation of a code. Raises KeyError if the code is unknown."""
    if code not in CODES:
        raise KeyError(code)
    table: dict[str, Explanation] = import_module(f"{__name__}.{GROUPS[code[:3]][1]}").EXPLANATIONS
    return table[code]


def groups() -> Iterator[tuple[str, list[str]]]:
    """Yield each group's name with its codes, in order."""
    for start, (name, _) in GROUPS.items():
        codes = sorted(code for code in CODES if code.startswith(start))
        if codes:
            yield name, codes


def code_of(word: str) -> str | None:
    """Return the code that a user means by `NN401`, `nn401`, `401` or `error[NN401]`, or None."""
    code = spelled(word)
    return code if code in CODES else None


def spelled(word: str) -> str:
    """Return a word in the spelling of a code, whether or not it exists: `nn41` becomes `NN41`."""
    bare = word.upper().removeprefix("ERROR").removeprefix("WARNING").strip("[] ")
    return f"NN{bare}" if bare[:1].isdigit() else bare
