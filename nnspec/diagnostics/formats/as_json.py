"""For programs: everything that is known of each finding. `check.schema.json` beside this file describes it."""

from __future__ import annotations

from typing import Any

from nnspec.diagnostics.diagnostic import Diagnostic, Fix
from nnspec.diagnostics.formats.base import Findings, Format
from nnspec.diagnostics.source import Source, Span
from nnspec.text import to_json

__all__ = ["VERSION", "Json"]

VERSION = 1
"""Grows when a key changes its meaning or goes; new keys do not count."""


class Json(Format):
    """One document with a version."""

    def render(self, findings: Findings, *, color: bool = False) -> str:
        document = {
            "version": VERSION,
            "tool": {"name": "nnspec", "version": findings.version},
            "files": findings.files,
            "errors": findings.count("error"),
            "warnings": findings.count("warning"),
            "diagnostics": [_diagnostic(d, findings) for d in findings.diagnostics],
        }
        return to_json(document, ensure_ascii=False, indent=2) + "\n"


def _diagnostic(diagnostic: Diagnostic, findings: Findings) -> dict[str, Any]:
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        **_place(diagnostic.span, findings),
        "label": diagnostic.label,
        "notes": [{**_place(note.span, findings), "text": note.text} for note in diagnostic.notes],
        "remarks": list(diagnostic.remarks),
        "help": diagnostic.help or None,
        "fix": None if diagnostic.fix is None else _fix(diagnostic.fix, findings),
    }


def _fix(fix: Fix, findings: Findings) -> dict[str, Any]:
    edits = [{**_place(edit.span, findings), "text": edit.text} for edit in fix.edits]
    return {"message": fix.message, "safe": fix.safe, "edits": edits}


def _place(span: Span, findings: Findings) -> dict[str, Any]:
    """Return path and span; what lies in a `--set` has no path, and the text of the flag instead."""
    path = findings.shown_path(span.source)
    where = {"path": path} if path is not None else {"path": None, "set": span.source.text}
    return {**where, "span": {"start": _position(span.source, span.start), "end": _position(span.source, span.end)}}


def _position(source: Source, offset: int) -> dict[str, int]:
    line, column = source.position(offset)
    mark = 3 if source.bom else 0
    return {"line": line, "column": column, "byte": mark + source.byte(offset)}
