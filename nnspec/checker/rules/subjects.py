"""What rules look at, apart from the program itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnspec.checker.declare import Assignment, Declarations
from nnspec.checker.missing import Missing
from nnspec.checker.program import Expectation, Experiment, LayerNode
from nnspec.checker.usage import Usage
from nnspec.diagnostics import Span

__all__ = ["Chain", "Result", "Settled"]

Chain = tuple[LayerNode, ...]
"""Layers that follow each other."""


@dataclass(frozen=True)
class Settled:
    """All settings of a file, after every lane has been settled."""

    declared: Declarations
    flags: Sequence[Assignment]
    """What `--set` gives, as written."""
    by_lane: Mapping[str, Sequence[Assignment]]
    """The same for each lane, without the lane's name."""
    effective: set[Span]
    """The names of the settings of the file that some lane uses when no flag replaces them."""
    effective_flags: set[Span]
    """The names of the flags that some lane uses."""
    missing: Missing
    top: Span
    """The first word of the file."""


@dataclass(frozen=True)
class Result:
    """What the passes have made of a whole file."""

    declared: Declarations
    experiments: Sequence[Experiment]
    """Those of all lanes without mistakes."""
    expectations: Sequence[Expectation]
    complete: bool
    """Whether every lane has an experiment."""
    usage: Usage
    top: Span
