"""Limit the work that checking a spec may take."""

from __future__ import annotations

from nnspec.checker.findings import Findings
from nnspec.diagnostics import Span

__all__ = ["Budget"]

MAX_WORK = 1_000_000
"""The maximum number of steps for one spec, so that a short file cannot keep the checker busy for minutes."""


class Budget:
    """Counts steps: values evaluated, layers placed, settings resolved, list items created."""

    def __init__(self, findings: Findings) -> None:
        self.left = MAX_WORK
        self._findings = findings

    def work(self, amount: int, span: Span) -> bool:
        """Use steps of the budget, and return whether enough were left. Running out is reported once."""
        before, self.left = self.left, self.left - amount
        if self.left < 0 <= before and not self._findings.failed:
            message = f"checking this spec takes more than {MAX_WORK:,} steps"
            help = "each value, layer and setting of a run is a step; the limit was reached here"
            self._findings.error("NN603", message, span, help=help)
        return self.left >= 0
