"""Applying fixes to a text."""

from __future__ import annotations

from collections.abc import Iterable

from nnspec.diagnostics.diagnostic import Diagnostic, Edit, Fix
from nnspec.diagnostics.source import Source

__all__ = ["applicable", "apply", "put_in"]


def applicable(source: Source, diagnostics: Iterable[Diagnostic], unsafe: bool = False) -> list[Fix]:
    """Return the fixes that can be applied to a text together, in the order of the findings.

    A fix is applied entirely or not at all. It is skipped if one of its edits is in another text, or overlaps or
    touches an edit of an earlier fix. `unsafe` includes fixes that may change the meaning of the spec.
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
    """Return the text with non-overlapping fixes applied."""
    text, parts, end = source.text, [], 0
    for edit in sorted((e for fix in fixes for e in fix.edits), key=lambda e: e.span.start):
        parts += [text[end : edit.span.start], edit.text]
        end = edit.span.end
    return "".join([*parts, text[end:]])


def apply(source: Source, diagnostics: Iterable[Diagnostic], unsafe: bool = False) -> str:
    """Return the text with all fixes applied; of fixes that overlap, only the first."""
    return put_in(source, applicable(source, diagnostics, unsafe))


def _touch(edits: Iterable[Edit], taken: Iterable[Edit]) -> bool:
    return any(a.span.start <= b.span.end and b.span.start <= a.span.end for a in edits for b in taken)
