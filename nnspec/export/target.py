"""What a target is: a kind of file, and a table of the operations that it can express."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from nnspec.export.certificate import Certificate
from nnspec.export.program import Op, Program
from nnspec.export.python_text import Line

__all__ = ["Artefact", "Target"]


@dataclass(frozen=True)
class Artefact:
    """The contents of an exported file, and how to observe the values inside when it runs."""

    data: bytes
    lines: tuple[Line, ...] = ()
    """For a file of Python: where each value is complete."""
    taps: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """For others: the name of each value in the file."""


@dataclass(frozen=True)
class Target:
    """A kind of file that a network can be exported to."""

    name: str
    """As for `--to`."""
    suffixes: tuple[str, ...]
    kinds: Collection[str]
    """The operations that it can express."""
    write: Callable[[Program, Certificate], Artefact]
    text: bool = True
    """Whether a file is text."""
    refuses: Callable[[Op], str] = lambda op: ""
    """Why it cannot express an operation of these kinds after all; "" if it can."""
    opset: int | None = None
    """For ONNX: the usual opset."""
