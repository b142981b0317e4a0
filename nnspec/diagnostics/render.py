"""Diagnostics as text: the excerpt with carets below it, and the help."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nnspec.diagnostics.diagnostic import Diagnostic, Note
from nnspec.diagnostics.source import Source, Span
from nnspec.text import printable

__all__ = ["render", "render_all", "render_each"]

_STYLES = {
    "error": "\x1b[1;31m",
    "warning": "\x1b[1;33m",
    "frame": "\x1b[1;34m",
    "note": "\x1b[36m",
    "help": "\x1b[1;32m",
    "bold": "\x1b[1m",
    "quiet": "\x1b[2m",
}
_NEAR = 2  # lines between two marks that are shown rather than elided
_WIDEST = 160  # longer lines of the excerpt are truncated
_COLUMNS = 80  # the column where a hint at the end of a line ends
_GAP = 4  # minimum number of spaces before it


@dataclass(frozen=True)
class _Mark:
    start: int
    end: int
    text: str
    main: bool


def render(diagnostic: Diagnostic, *, color: bool = False, fixes: bool = False, hint: bool = False) -> str:
    """Return a diagnostic as lines of text, optionally with ANSI colours.

    `fixes` adds what `check --fix` would do, and `hint` the command that explains the code.
    """
    paint = _Paint(color)
    head = paint(diagnostic.severity, f"{diagnostic.severity}[{diagnostic.code}]") + paint(
        "bold", f": {_printable(diagnostic.message)}"
    )
    main = Note(diagnostic.span, diagnostic.label)
    groups: dict[Source, list[Note]] = {diagnostic.span.source: [main]}
    for note in diagnostic.notes:
        groups.setdefault(note.span.source, []).append(note)
    gutter = len(str(max(source.position(note.span.end)[0] for source, notes in groups.items() for note in notes)))
    lines = [head]
    for source, notes in groups.items():
        arrow = "-->" if source is diagnostic.span.source else ":::"
        where = diagnostic.span if arrow == "-->" else notes[0].span
        lines.append(f"{' ' * gutter}{paint('frame', arrow)} {_printable(str(where))}")
        lines += _excerpt(source, notes, main, gutter, paint, diagnostic.severity)
    below = _remarks(diagnostic, _COLUMNS - gutter - 3, fixes, hint, paint)
    if below:
        lines.append(f"{' ' * (gutter + 1)}{paint('frame', '|')}")
        lines += [f"{' ' * (gutter + 1)}{paint('frame', '=')} {text}" for text in below]
    return "\n".join(lines)


def render_each(diagnostics: Iterable[Diagnostic], *, color: bool = False, fixes: bool = False) -> list[str]:
    """Render each diagnostic in the given order; the first of each code mentions `nnspec explain`."""
    seen: set[str] = set()
    blocks = []
    for diagnostic in diagnostics:
        blocks.append(render(diagnostic, color=color, fixes=fixes, hint=diagnostic.code not in seen))
        seen.add(diagnostic.code)
    return blocks


def render_all(diagnostics: Sequence[Diagnostic], *, color: bool = False, most: int | None = None) -> str:
    """Render diagnostics in file order, at most the first `most` of them, followed by a line with their number."""
    ordered = sorted(diagnostics, key=lambda d: d.order)
    counts = []
    for severity in ("error", "warning"):
        number = sum(d.severity == severity for d in ordered)
        if number:
            counts.append(f"{number} {severity}{'s' if number > 1 else ''}")
    files = sorted({d.span.source.name for d in ordered})
    where = _printable(files[0]) if len(files) == 1 else f"{len(files)} files"
    last = f"{' and '.join(counts)} in {where}"
    if most is not None and len(ordered) > most:
        last += f", of which the first {most} are shown; `nnspec check` shows all"
    return "\n\n".join([*render_each(ordered[:most], color=color), last])


def _excerpt(source: Source, notes: Iterable[Note], main: Note, gutter: int, paint: _Paint, severity: str) -> list[str]:
    marks: dict[int, list[_Mark]] = {}
    for note in notes:
        number, mark = _mark(source, note.span, note.text, note is main)
        marks.setdefault(number, []).append(mark)
    bar = paint("frame", "|")
    lines = [f"{' ' * (gutter + 1)}{bar}"]
    last: int | None = None
    for number in sorted(marks):
        if last is not None and number - last > _NEAR + 1:
            lines.append(paint("frame", "..."))
        elif last is not None:
            lines += [_code(source, between, gutter, paint) for between in range(last + 1, number)]
        lines.append(_code(source, number, gutter, paint))
        for mark in sorted(marks[number], key=lambda m: m.start, reverse=True):
            lines.append(f"{' ' * (gutter + 1)}{bar} {_carets(source.line(number), mark, paint, severity)}")
        last = number
    return lines


def _mark(source: Source, span: Span, text: str, main: bool) -> tuple[int, _Mark]:
    number, column = source.position(span.start)
    line = source.line(number)
    start = min(column - 1, len(line))
    return number, _Mark(
        start, min(start + max(span.end - span.start, 1), max(len(line), start + 1)), _printable(text), main
    )


def _code(source: Source, number: int, gutter: int, paint: _Paint) -> str:
    text = _printable(source.line(number)[: _WIDEST + 1])  # avoids printing a very long line for each of its marks
    text = text if len(text) <= _WIDEST else text[:_WIDEST] + "…"
    return f"{paint('frame', f'{number:>{gutter}} |')} {text}".rstrip()


def _carets(line: str, mark: _Mark, paint: _Paint, severity: str) -> str:
    left = _printable(line[: min(mark.start, _WIDEST + 1)])
    before = _width(left)
    if max(before, len(left)) > _WIDEST:
        return f"{' ' * _WIDEST}{paint(severity, f'… column {mark.start + 1}: {mark.text}'.rstrip(': '))}"
    under = _width(_printable(line[mark.start : min(mark.end, mark.start + _WIDEST)]))
    sign = ("^" if mark.main else "-") * max(1, min(under, _WIDEST - before))
    return " " * before + paint(severity if mark.main else "note", f"{sign} {mark.text}".rstrip())


def _remarks(diagnostic: Diagnostic, columns: int, fixes: bool, hint: bool, paint: _Paint) -> list[str]:
    """Return the lines below the excerpt. The hint goes at the end of the last line with enough room, or below."""
    texts = [*diagnostic.remarks, *([f"help: {diagnostic.help}"] if diagnostic.help else [])]
    fix = diagnostic.fix
    if fixes and fix is not None and fix.in_files:
        texts.append(f"fix: {fix.message} ({'--fix' if fix.safe else '--fix --unsafe-fixes'})")
    texts = [_printable(text) for text in texts]
    lines = [_remark(text, paint) for text in texts]
    command = f"nnspec explain {diagnostic.code}"
    for i in reversed(range(len(texts))) if hint else ():
        room = columns - len(command) - 2 - _width(texts[i])
        if room >= _GAP:
            lines[i] += " " * room + paint("quiet", f"[{command}]")
            return lines
    return [*lines, _remark(f"see: {command}", paint)] if hint else lines


def _remark(text: str, paint: _Paint) -> str:
    word, colon, rest = text.partition(":")
    return paint("help" if word in ("help", "fix") else "bold", word + colon) + rest if colon else text


def _printable(text: str) -> str:
    """Expand tabs to four spaces and escape control characters, so that a file cannot send commands to the terminal."""
    return printable(text.replace("\t", "    "))


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


class _Paint:
    def __init__(self, color: bool) -> None:
        self.color = color

    def __call__(self, style: str, text: str) -> str:
        return f"{_STYLES[style]}{text}\x1b[0m" if self.color and text else text
