"""A diagnostic: an error or a warning about a spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nnspec.diagnostics.codes import CODES
from nnspec.diagnostics.source import FLAG, Span

__all__ = ["Diagnostic", "Edit", "Fix", "Note"]


@dataclass(frozen=True)
class Note:
    """A label on a secondary span, such as the first definition of a name."""

    span: Span
    text: str


@dataclass(frozen=True)
class Edit:
    """A replacement of the text of a span."""

    span: Span
    text: str


@dataclass(frozen=True)
class Fix:
    """A change of the text that resolves a diagnostic. A safe fix cannot give the spec an unintended meaning."""

    message: str
    """What it does, in the imperative: "replace `learning_rate` with `lr`"."""
    edits: tuple[Edit, ...]
    safe: bool = False

    @property
    def in_files(self) -> bool:
        """Whether it only edits files. Flags on the command line are for the user to change."""
        return all(edit.span.source.name != FLAG for edit in self.edits)


@dataclass(frozen=True)
class Diagnostic:
    """What is wrong (`message`), where (`span`, with `label` next to the carets), and what to do (`help`)."""

    code: str
    message: str
    span: Span
    label: str = ""
    notes: tuple[Note, ...] = ()
    remarks: tuple[str, ...] = ()
    """Lines below the excerpt, such as the chain of shapes."""
    help: str = ""
    severity: Literal["error", "warning"] = "error"
    fix: Fix | None = None

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"unknown diagnostic code {self.code}")

    @property
    def order(self) -> tuple[str, int, str]:
        """Sort key: by file, then by position."""
        return self.span.source.name, self.span.start, self.code
