"""What each diagnostic code means, with a spec that gets it and one that does not. Loaded only where that is asked for.

The texts stand in a module for each group of codes. A test checks every example: the bad one gets its code and nothing
else, the good one nothing at all.
"""

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
    "NN9": ("The tool itself", "tool"),
}
"""First characters of a code -> what its group is about, and the module that explains it."""


def explanation(code: str) -> Explanation:
    """Return the explanation of a code. Raises KeyError where there is no such code."""
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
    """Return the code that a word stands for, however it is written: `NN401`, `nn401`, `401`, `error[NN401]`."""
    code = spelled(word)
    return code if code in CODES else None


def spelled(word: str) -> str:
    """Return a word as codes are written, if it were one: `nn41` is `NN41`."""
    bare = word.upper().removeprefix("ERROR").removeprefix("WARNING").strip("[] ")
    return f"NN{bare}" if bare[:1].isdigit() else bare
