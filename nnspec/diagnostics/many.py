"""Very many findings: the first of them, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence

from nnspec.diagnostics.diagnostic import Diagnostic
from nnspec.diagnostics.source import Span

__all__ = ["MOST_FINDINGS", "first_of"]

MOST_FINDINGS = 1000
"""How many findings of a spec are told."""


def first_of(diagnostics: Sequence[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Return findings as they are, or, of very many, the first in file order, errors before warnings, and a last one
    that says how many more there are."""
    if len(diagnostics) <= MOST_FINDINGS:
        return tuple(diagnostics)
    found = sorted(diagnostics, key=lambda d: (d.severity != "error", *d.order))
    kept, left = found[:MOST_FINDINGS], found[MOST_FINDINGS:]
    errors = sum(d.severity == "error" for d in left)
    message = f"{len(left):,} more findings are not shown" + (f", {errors:,} of them errors" if errors else "")
    place = left[0].span
    about = Diagnostic(
        "NN903", message, Span(place.source, place.start, place.start), severity="error" if errors else "warning"
    )
    return (*sorted(kept, key=lambda d: d.order), about)
