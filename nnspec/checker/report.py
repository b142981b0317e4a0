"""Where the checker's findings are collected."""

from __future__ import annotations

from typing import Any, Final

from nnspec.diagnostics import Diagnostic, Span

__all__ = ["UNKNOWN", "Report", "Unknown"]


class Unknown:
    """Stands for a value that could not be known because of an error that is already reported."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


class Report:
    """Diagnostics, each once: lanes share most of a spec, and what is wrong there is wrong in all of them."""

    def __init__(self, lost: frozenset[str] = frozenset()) -> None:
        self.lost = lost
        """Words of items that could not be read: nobody is told that they are unknown or missing."""
        self._found: dict[tuple[Any, ...], Diagnostic] = {}

    def error(self, code: str, message: str, span: Span, **more: Any) -> Unknown:
        """Add an error, and return UNKNOWN for the value that it concerns."""
        self.add(Diagnostic(code, message, span, **more))
        return UNKNOWN

    def add(self, diagnostic: Diagnostic) -> None:
        """Add a diagnostic, unless the same has been said of the same characters."""
        span = diagnostic.span
        self._found.setdefault((id(span.source), span.start, span.end, diagnostic.code, diagnostic.message), diagnostic)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Everything found, in order of finding."""
        return tuple(self._found.values())

    @property
    def failed(self) -> bool:
        """Whether there is an error among the findings."""
        return any(d.severity == "error" for d in self._found.values())
