"""For editors and `grep`: one line a finding."""

from __future__ import annotations

from nnspec.diagnostics.diagnostic import Diagnostic
from nnspec.diagnostics.formats.base import Findings, Format
from nnspec.text import printable

__all__ = ["Concise"]


class Concise(Format):
    """`path:line:column: error[NN401] message; help`."""

    def render(self, findings: Findings, *, color: bool = False) -> str:
        return "".join(f"{_line(diagnostic)}\n" for diagnostic in findings.diagnostics)


def _line(found: Diagnostic) -> str:
    text = f"{found.message}; {found.help}" if found.help else found.message
    return f"{printable(str(found.span))}: {found.severity}[{found.code}] {printable(text)}"
