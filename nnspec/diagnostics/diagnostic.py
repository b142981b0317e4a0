"""One thing that is said about a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nnspec.diagnostics.codes import CODES
from nnspec.diagnostics.source import FLAG, Span

__all__ = ["Diagnostic", "Edit", "Fix", "Note"]


@dataclass(frozen=True)
class Note:
    """A remark on another stretch of text, such as where a name was given first."""

    span: Span
    text: str


@dataclass(frozen=True)
class Edit:
    """New characters in the place of others."""

    span: Span
    text: str


@dataclass(frozen=True)
class Fix:
    """A change of the text that would settle a finding. A safe one cannot make the spec mean what nobody wrote."""

    message: str
    """What it does, as an order: "replace `learning_rate` by `lr`"."""
    edits: tuple[Edit, ...]
    safe: bool = False

    @property
    def in_files(self) -> bool:
        """Whether all that it changes lies in files: what was given on the command line is for the user to change."""
        return all(edit.span.source.name != FLAG for edit in self.edits)


@dataclass(frozen=True)
class Diagnostic:
    """What is wrong (`message`), where (`span`, with `label` beside its carets), and what to do (`help`)."""

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
            raise ValueError(f"there is no diagnostic code {self.code}")

    @property
    def order(self) -> tuple[str, int, str]:
        """Sort key: by file, then by position."""
        return self.span.source.name, self.span.start, self.code
