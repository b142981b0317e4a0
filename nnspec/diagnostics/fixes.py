"""Fixes put into a text."""

from __future__ import annotations

from collections.abc import Iterable

from nnspec.diagnostics.diagnostic import Diagnostic, Edit, Fix
from nnspec.diagnostics.source import Source

__all__ = ["applicable", "apply", "put_in"]


def applicable(source: Source, diagnostics: Iterable[Diagnostic], unsafe: bool = False) -> list[Fix]:
    """Return the fixes that can be put into a text at once, in the order of the findings.

    A fix is taken whole or not at all: not where one of its edits is in another text, or overlaps or touches one of a
    fix that is taken already. `unsafe` takes those, too, that may make the spec mean what nobody wrote.
    """
    taken: list[Edit] = []
    result: list[Fix] = []
    for diagnostic in sorted(diagnostics, key=lambda d: d.order):
        fix = diagnostic.fix
        if fix is None or not fix.edits or not (fix.safe or unsafe):
            continue
        if all(edit.span.source is source for edit in fix.edits) and not _touch(fix.edits, taken):
            taken += fix.edits
            result.append(fix)
    return result


def put_in(source: Source, fixes: Iterable[Fix]) -> str:
    """Return a text with fixes that do not overlap."""
    text, parts, end = source.text, [], 0
    for edit in sorted((e for fix in fixes for e in fix.edits), key=lambda e: e.span.start):
        parts += [text[end : edit.span.start], edit.text]
        end = edit.span.end
    return "".join([*parts, text[end:]])


def apply(source: Source, diagnostics: Iterable[Diagnostic], unsafe: bool = False) -> str:
    """Return a text with all its fixes that do not overlap; of those that do, the first."""
    return put_in(source, applicable(source, diagnostics, unsafe))


def _touch(edits: Iterable[Edit], taken: Iterable[Edit]) -> bool:
    return any(a.span.start <= b.span.end and b.span.start <= a.span.end for a in edits for b in taken)
