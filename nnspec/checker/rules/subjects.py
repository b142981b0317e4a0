"""Subjects of rules other than the program itself."""

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
"""Consecutive layers."""


@dataclass(frozen=True)
class Settled:
    """All settings of a file, once those of every lane have been resolved."""

    declared: Declarations
    flags: Sequence[Assignment]
    """The arguments of `--set`, as written."""
    by_lane: Mapping[str, Sequence[Assignment]]
    """The same for each lane, without the lane's name."""
    effective: set[Span]
    """The names of settings in the file that some lane uses unless a flag overrides them."""
    effective_flags: set[Span]
    """The names of the flags that some lane uses."""
    missing: Missing
    top: Span
    """The first token of the file."""


@dataclass(frozen=True)
class Result:
    """The results of the passes for a whole file."""

    declared: Declarations
    experiments: Sequence[Experiment]
    """The experiments of all lanes without errors."""
    expectations: Sequence[Expectation]
    complete: bool
    """Whether every lane has an experiment."""
    usage: Usage
    top: Span
