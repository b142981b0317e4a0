"""For GitHub Actions: workflow commands that become annotations of the changed lines."""

from __future__ import annotations

from nnspec.diagnostics.diagnostic import Diagnostic
from nnspec.diagnostics.formats.base import Findings, Format, plural, sentences

__all__ = ["MOST", "GitHub"]

MOST = 10
"""GitHub shows as many annotations of each kind a step, and drops the others without a word."""

_IN_MESSAGE = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_IN_PROPERTY = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"})


class GitHub(Format):
    """`::error file=…,line=…::message`: errors first, at most ten of a kind, and how many more there are."""

    def render(self, findings: Findings, *, color: bool = False) -> str:
        lines: list[str] = []
        for kind in ("error", "warning"):
            lines += [_command(d, findings) for d in findings.diagnostics if d.severity == kind][:MOST]
        hidden = len(findings.diagnostics) - len(lines)
        if hidden:
            lines.append(f"{plural(hidden, 'finding')} not shown: GitHub shows {MOST} annotations of a kind")
        return "".join(f"{line}\n" for line in lines)


def _command(diagnostic: Diagnostic, findings: Findings) -> str:
    span = diagnostic.span
    properties: dict[str, object] = {}
    path = findings.root_path(span.source)
    if path is not None:
        (line, column), (end_line, end_column) = span.source.position(span.start), span.source.position(span.end)
        properties = {"file": path, "line": line, "endLine": end_line}
        if end_line == line:  # of several lines GitHub marks whole ones
            properties |= {"col": column, "endColumn": end_column}
    properties["title"] = diagnostic.code
    head = ",".join(f"{key}={str(value).translate(_IN_PROPERTY)}" for key, value in properties.items())
    return f"::{diagnostic.severity} {head}::{sentences(diagnostic).translate(_IN_MESSAGE)}"
