"""Apply the rules for lint: advice about code that is legal but probably not intended."""

from __future__ import annotations

from nnspec.checker.findings import Findings
from nnspec.checker.rules import apply
from nnspec.checker.rules.common import chains
from nnspec.checker.rules.outputs import squashed_logits
from nnspec.checker.rules.subjects import Result

__all__ = ["lint"]


def lint(result: Result, findings: Findings) -> None:
    """Apply the rules that look at experiments and at the whole file."""
    seen: set[int] = set()
    for experiment in result.experiments:
        apply("experiment", {"experiment": experiment}, findings)
        if id(experiment.layers) not in seen:  # lanes share layers
            seen.add(id(experiment.layers))
            # Report a superfluous activation after the last layer only once.
            layers = experiment.layers[:-1] if any(squashed_logits(experiment)) else experiment.layers
            for chain in chains(layers):
                apply("chain", {"chain": chain}, findings)
    subjects = {"experiments": result.experiments, "result": result if result.complete else None, "top": result.top}
    apply("spec", subjects, findings)
