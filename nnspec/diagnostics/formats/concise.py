"""For editors and `grep`: one line a finding."""

from __future__ import annotations

from nnspec.diagnostics.formats.base import Findings, Format, one_line

__all__ = ["Concise"]


class Concise(Format):
    """`path:line:column: error[NN401] message`."""

    def render(self, findings: Findings, *, color: bool = False) -> str:
        return "".join(
            f"{one_line(str(d.span))}: {d.severity}[{d.code}] {one_line(d.message)}\n" for d in findings.diagnostics
        )
