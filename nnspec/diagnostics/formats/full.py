"""For people: each finding with the lines that it is about."""

from __future__ import annotations

from nnspec.diagnostics.formats.base import Findings, Format
from nnspec.diagnostics.render import render_each

__all__ = ["Full"]


class Full(Format):
    """Excerpts with carets, and a line that counts them."""

    for_machines = False

    def render(self, findings: Findings, *, color: bool = False) -> str:
        blocks = render_each(findings.diagnostics, color=color, fixes=findings.fixable)
        last = findings.summary()
        safe = sum(d.fix is not None and d.fix.safe and d.fix.in_files for d in findings.diagnostics)
        if safe and findings.fixable:
            last += f"; {'' if safe == len(blocks) == 1 else f'{safe} '}fixable with `--fix`"
        return "\n\n".join([*blocks, last]) + "\n"
