"""A limit on the number of findings that are shown."""

from __future__ import annotations

from collections.abc import Sequence

from nnspec.diagnostics.diagnostic import Diagnostic
from nnspec.diagnostics.source import Span

__all__ = ["MOST_FINDINGS", "first_of"]

MOST_FINDINGS = 1000
"""How many findings of a spec are shown."""


def first_of(diagnostics: Sequence[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Return at most MOST_FINDINGS findings, errors before warnings, and one more that says how many are not shown."""
    if len(diagnostics) <= MOST_FINDINGS:
        return tuple(diagnostics)
    ranked = sorted(diagnostics, key=lambda d: (d.severity != "error", *d.order))
    shown, hidden = ranked[:MOST_FINDINGS], ranked[MOST_FINDINGS:]
    errors = sum(d.severity == "error" for d in hidden)
    message = f"{len(hidden):,} more findings are not shown" + (f", {errors:,} of them errors" if errors else "")
    place = hidden[0].span
    about = Diagnostic(
        "NN903", message, Span(place.source, place.start, place.start), severity="error" if errors else "warning"
    )
    return (*sorted(shown, key=lambda d: d.order), about)
