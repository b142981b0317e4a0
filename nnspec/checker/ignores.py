"""Comments that silence lint: `# nn: ignore[NN701]`, at the end of the line it is about or on the line before."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from nnspec.diagnostics import CODES, Diagnostic, Edit, Fix, Source, Span, nearest
from nnspec.syntax.comments import comments

__all__ = ["silence"]

_COMMENT = re.compile(r"#\s*nn:\s*ignore\b\s*(?:\[([^\]]*)(\])?)?")
_MOST_HELPS = 1000
_ABOUT_COMMENTS = ("NN790", "NN791")


@dataclass
class _Ignore:
    """One comment: the codes it names, the line it is about, and what it has silenced."""

    span: Span
    codes: tuple[Span, ...]
    line: int
    names: frozenset[str]
    used: set[str] = field(default_factory=set)


def silence(diagnostics: Iterable[Diagnostic], files: Sequence[Source], judge: bool = True) -> tuple[Diagnostic, ...]:
    """Return the findings that are not ignored, and diagnostics about the comments themselves.

    `files` are the imports and, last, the spec. Unused comments are reported in the spec only (those of an import are
    reported when it is checked itself), and only if the whole spec was checked without errors and flags (`judge`),
    since these can hide what a comment is about, as does what a file to be imported is without.
    """
    found = tuple(diagnostics)
    unread = {d.span.source for d in found if d.code == "NN107"}
    read = [source for source in files if "ignore" in source.text and source not in unread]
    ignores = [ignore for source in read for ignore in _ignores(source)]
    if not ignores:
        return found
    by_line: dict[tuple[Source, int], list[_Ignore]] = {}
    for ignore in ignores:
        by_line.setdefault((ignore.span.source, ignore.line), []).append(ignore)
    kept = [d for d in found if not (_is_lint(d.code) and _silenced(d, by_line))]
    helps = iter(range(_MOST_HELPS))
    about = [d for ignore in ignores for d in _misnamed(ignore, helps)]
    if judge and not any(d.severity == "error" for d in found):
        about += [_unused(ignore) for ignore in ignores if ignore.span.source is files[-1] and _unneeded(ignore)]
    return (*kept, *about)


def _is_lint(code: str) -> bool:
    return code.startswith("NN7") and code not in _ABOUT_COMMENTS


def _ignores(source: Source) -> Iterator[_Ignore]:
    found = comments(source)
    about = {line: line + 1 for c in found if source.line(line := c.span.line).lstrip().startswith("#")}
    for line in sorted(about, reverse=True):  # other comments may come between a comment and its line
        about[line] = about.get(line + 1, line + 1)
    for comment in found:
        match = _COMMENT.match(comment.span.text)
        if match is None:
            continue
        line = about.get(comment.span.line, comment.span.line)
        codes = []
        if match[1] is not None and match[2]:
            start = comment.span.start + match.start(1)
            codes = [Span(source, start + m.start(), start + m.end()) for m in re.finditer(r"[^\s,]+", match[1])]
        span = Span(source, comment.span.start, comment.span.start + match.end())
        yield _Ignore(span, tuple(codes), line, frozenset(code.text for code in codes))


def _silenced(diagnostic: Diagnostic, by_line: dict[tuple[Source, int], list[_Ignore]]) -> bool:
    silenced = False
    for ignore in by_line.get((diagnostic.span.source, diagnostic.span.line), ()):
        if diagnostic.code in ignore.names:
            ignore.used.add(diagnostic.code)
            silenced = True
    return silenced


def _misnamed(ignore: _Ignore, helps: Iterator[int]) -> Iterator[Diagnostic]:
    """Yield the errors of a comment that do not depend on the findings. A code is suggested at most `helps` times."""
    if not ignore.codes:
        help = "name the codes: `# nn: ignore[NN701]`"
        yield Diagnostic("NN791", "this ignore comment names no codes", ignore.span, help=help, severity="warning")
    for code in ignore.codes:
        if code.text not in CODES:
            known = [c for c in CODES if _is_lint(c)]
            right = nearest(code.text, known) if next(helps, None) is not None else None
            fix = Fix(f"replace `{code.text}` with `{right}`", (Edit(code, right),)) if right else None
            help = f"did you mean `{right}`?" if right else "codes are the part in brackets after `error` or `warning`"
            yield Diagnostic("NN791", f"unknown code `{code.text}`", code, help=help, severity="warning", fix=fix)
        elif not _is_lint(code.text):
            message = f"`{code.text}` cannot be ignored: {CODES[code.text]}"
            help = "only advice (NN7xx) can be ignored, except advice about ignore comments"
            yield Diagnostic("NN791", message, code, help=help, severity="warning")


def _unneeded(ignore: _Ignore) -> list[Span]:
    return [
        code for code in ignore.codes if _is_lint(code.text) and code.text in CODES and code.text not in ignore.used
    ]


def _unused(ignore: _Ignore) -> Diagnostic:
    unneeded = _unneeded(ignore)
    names = " and no ".join(f"`{code.text}`" for code in unneeded)
    span = unneeded[0].to(unneeded[-1]) if len(unneeded) < len(ignore.codes) else ignore.span
    return Diagnostic(
        "NN790",
        f"unused ignore comment: no {names} on line {ignore.line}",
        span,
        severity="warning",
        fix=_without(ignore, unneeded),
    )


def _without(ignore: _Ignore, unneeded: list[Span]) -> Fix:
    source, without = ignore.span.source, set(unneeded)
    kept = [code.text for code in ignore.codes if code not in without]
    if kept:
        inside = ignore.codes[0].to(ignore.codes[-1])
        return Fix("remove the unused codes", (Edit(inside, ", ".join(kept)),), safe=True)
    line = ignore.span.line
    first, text = source.line_starts[line - 1], source.line(line)
    start, end = ignore.span.start, first + len(text)
    before = text[: start - first]
    if before.strip():
        start -= len(before) - len(before.rstrip())
    else:  # remove a line of its own with its line end
        start = first
        end = source.line_starts[line] if line < len(source.line_starts) else len(source.text)
    return Fix("remove the comment", (Edit(Span(source, start, end), ""),), safe=True)
