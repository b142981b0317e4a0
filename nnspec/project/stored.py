"""Findings as plain data and back, so that they can be kept in a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nnspec.diagnostics.diagnostic import Diagnostic, Edit, Fix, Note
from nnspec.diagnostics.source import Source, Span

__all__ = ["Unstorable", "pack", "unpack"]

_SEVERITIES = ("error", "warning")


class Unstorable(Exception):
    """A finding about a text that is none of those at hand, or data that is no finding."""


def pack(diagnostics: Sequence[Diagnostic], number: Callable[[Source], int]) -> list[Any]:
    """Return findings as lists, strings and numbers; `number` says which one stands for a text.

    Raises Unstorable where `number` does: for a text that will not be at hand again.
    """

    def span(of: Span) -> list[int]:
        return [number(of.source), of.start, of.end]

    return [
        [
            d.code,
            _SEVERITIES.index(d.severity),
            d.message,
            span(d.span),
            d.label,
            [[span(note.span), note.text] for note in d.notes],
            list(d.remarks),
            d.help,
            d.fix and [d.fix.message, [[span(e.span), e.text] for e in d.fix.edits], d.fix.safe],
        ]
        for d in diagnostics
    ]


def unpack(data: Any, sources: Sequence[Source]) -> tuple[Diagnostic, ...]:
    """Return findings from data of whatever origin. Raises Unstorable for what `pack` would not have made."""
    try:
        return tuple(_diagnostic(row, sources) for row in _list(data))
    except (TypeError, ValueError, IndexError):
        raise Unstorable from None


def _diagnostic(row: Any, sources: Sequence[Source]) -> Diagnostic:
    code, severity, message, span, label, notes, remarks, help, fix = _list(row)
    return Diagnostic(
        _text(code),
        _text(message),
        _span(span, sources),
        _text(label),
        tuple(Note(_span(place, sources), _text(text)) for place, text in _list(notes)),
        tuple(_text(remark) for remark in _list(remarks)),
        _text(help),
        "warning" if _truth(severity) else "error",
        None if fix is None else _fix(fix, sources),
    )


def _fix(row: Any, sources: Sequence[Source]) -> Fix:
    message, edits, safe = _list(row)
    return Fix(
        _text(message), tuple(Edit(_span(place, sources), _text(text)) for place, text in _list(edits)), _truth(safe)
    )


def _span(row: Any, sources: Sequence[Source]) -> Span:
    number, start, end = _list(row)
    if not all(type(value) is int for value in (number, start, end)) or number < 0:
        raise ValueError
    source = sources[number]
    if not 0 <= start <= end <= len(source.text) + 1:
        raise ValueError
    return Span(source, start, end)


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise ValueError
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError
    return value


def _truth(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError
    return bool(value)
