"""For code scanning services: SARIF 2.1.0."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from typing import Any
from urllib.parse import quote

from nnspec.diagnostics.codes import CODES
from nnspec.diagnostics.diagnostic import Diagnostic, Fix
from nnspec.diagnostics.explanations import explanation
from nnspec.diagnostics.formats.base import Findings, Format, sentences
from nnspec.diagnostics.source import Source, Span
from nnspec.text import to_json

__all__ = ["Sarif"]

_BASE = "%SRCROOT%"
_FAULTS = ("NN901", "NN902")


class Sarif(Format):
    """One run with a rule for every code."""

    def render(self, findings: Findings, *, color: bool = False) -> str:
        seen: Counter[str] = Counter()
        driver = {
            "name": "nnspec",
            "semanticVersion": findings.version,
            "rules": [_rule(code, text) for code, text in CODES.items()],
        }
        run = {
            "tool": {"driver": driver},
            "columnKind": "unicodeCodePoints",
            "originalUriBaseIds": {_BASE: {"description": {"text": "The top of the repository."}}},
            "invocations": [{"executionSuccessful": all(d.code not in _FAULTS for d in findings.diagnostics)}],
            "results": [_result(d, findings, seen) for d in findings.diagnostics],
        }
        document = {
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [run],
        }
        return to_json(document, ensure_ascii=False, indent=2) + "\n"


def _rule(code: str, text: str) -> dict[str, Any]:
    return {
        "id": code,
        "shortDescription": {"text": text},
        "help": {"text": "\n\n".join(explanation(code).paragraphs())},
        "defaultConfiguration": {"level": "warning" if code.startswith("NN7") else "error"},
    }


def _result(diagnostic: Diagnostic, findings: Findings, seen: Counter[str]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": diagnostic.code,
        "ruleIndex": list(CODES).index(diagnostic.code),
        "level": diagnostic.severity,
        "message": {"text": sentences(diagnostic)},
        "partialFingerprints": {"nnspec/v1": _fingerprint(diagnostic, findings, seen)},
    }
    location = _location(diagnostic.span, findings)
    if location is not None:
        result["locations"] = [location]
    related = [(_location(note.span, findings), note.text) for note in diagnostic.notes]
    if related:
        result["relatedLocations"] = [
            {"id": i, **(place or {}), "message": {"text": text}} for i, (place, text) in enumerate(related, 1)
        ]
    if diagnostic.fix is not None and diagnostic.fix.in_files:
        result["fixes"] = [_fix(diagnostic.fix, findings)]
    return result


def _fingerprint(diagnostic: Diagnostic, findings: Findings, seen: Counter[str]) -> str:
    """Return what stays the same when a finding moves with its line: the line's text, and which of its like it is."""
    source = diagnostic.span.source
    text = source.line(diagnostic.span.line).strip()
    parts = [diagnostic.code, findings.root_path(source) or source.name, text]
    alike = "\0".join(parts)
    seen[alike] += 1
    whole = f"{alike}\0{seen[alike]}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(whole, digest_size=16).hexdigest()


def _fix(fix: Fix, findings: Findings) -> dict[str, Any]:
    changes: dict[Source, list[dict[str, Any]]] = {}
    for edit in fix.edits:
        replacement = {"deletedRegion": _region(edit.span), "insertedContent": {"text": edit.text}}
        changes.setdefault(edit.span.source, []).append(replacement)
    return {
        "description": {"text": fix.message},
        "artifactChanges": [
            {"artifactLocation": _artifact(findings.root_path(source) or source.name), "replacements": replacements}
            for source, replacements in changes.items()
        ],
    }


def _location(span: Span, findings: Findings) -> dict[str, Any] | None:
    path = findings.root_path(span.source)
    if path is None:
        return None
    place: dict[str, Any] = {"artifactLocation": _artifact(path)}
    if span.source.text:  # of a file that could not be read there is nothing to show
        place["region"] = _region(span)
    return {"physicalLocation": place}


def _artifact(path: str) -> dict[str, str]:
    uri = quote(os.fsencode(path))
    return {"uri": f"file://{uri}"} if path.startswith("/") else {"uri": uri, "uriBaseId": _BASE}


def _region(span: Span) -> dict[str, int]:
    (line, column), (end_line, end_column) = span.source.position(span.start), span.source.position(span.end)
    return {"startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column}
