"""What nnspec promises of every text, however broken: to check, to format and to read it.

Each function raises AssertionError where a promise is broken; any other exception breaks the first of them, that there
is no traceback. The fuzzers and the tests of hostile texts hold texts against these.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nnspec.api import CheckResult, check_text
from nnspec.compiler.proofs import prove
from nnspec.diagnostics import CODES, Diagnostic, Source, SourceError, Span, read_source, render, render_all
from nnspec.diagnostics.fixes import applicable, put_in
from nnspec.diagnostics.formats import FORMATS, Findings, load
from nnspec.project.fixing import apply_fixes
from nnspec.syntax import parse, tree
from nnspec.syntax.comments import comments
from nnspec.syntax.format import format_source

__all__ = ["checks", "formats", "reads"]


_MOST_FIXED = 15  # findings: fixing may check the text once for each


# check


def checks(text: str, flags: Sequence[str] = (), folder: Path | None = None) -> CheckResult:
    """Check a text, and verify that its findings can be shown, sent and fixed."""
    source = Source("x.nn", text, folder or Path())
    result = check_text(source, list(flags))
    errors = [d for d in result.diagnostics if d.severity == "error"]
    for_import = any(d.code == "NN711" for d in result.diagnostics) or "nn: ignore" in text
    assert (result.compiled is None) == bool(errors) or for_import, (
        "a text has a program or an error, or it is for others to import"
    )
    if result.compiled is not None:
        again, _ = prove(result.compiled.program)
        assert again.layouts.keys() == result.compiled.layouts.keys()
        for layout in again.layouts.values():
            assert layout.memory <= layout.memory_bound
    for found in result.diagnostics:
        _is_sound(found)
    _can_be_shown(result.diagnostics)
    _can_be_sent(result.diagnostics)
    _can_be_fixed(source, result.diagnostics, flags)
    return result


def _is_sound(found: Diagnostic) -> None:
    assert found.code in CODES
    assert found.message
    for span in _spans(found):
        assert 0 <= span.start <= span.end <= len(span.source.text), f"{found.code} lies outside its text: {span}"
    assert found.fix is None or found.fix.edits, "a fix changes something"


def _spans(found: Diagnostic) -> Iterator[Span]:
    yield found.span
    yield from (note.span for note in found.notes)
    yield from (edit.span for edit in found.fix.edits if found.fix) if found.fix else ()


def _can_be_shown(found: Sequence[Diagnostic]) -> None:
    for each in found:
        assert render(each, color=True, fixes=True, hint=True)
    if not found:
        return
    shown = render_all(found)
    assert all(c.isprintable() or c == "\n" for c in shown), "no text plays with the terminal"
    findings = Findings(found, files=1, clean="fine", version="0")
    for name in FORMATS:
        text = load(name)().render(findings)
        if name in ("json", "sarif"):
            assert json.loads(text)


def _can_be_sent(found: Sequence[Diagnostic]) -> None:
    """With many files, findings come from other processes."""
    assert render_all(pickle.loads(pickle.dumps(found))) == render_all(found)


def _can_be_fixed(source: Source, found: Sequence[Diagnostic], flags: Sequence[str]) -> None:
    for unsafe in (False, True):
        fixes = applicable(source, found, unsafe)
        if not fixes or len(found) > _MOST_FIXED:
            continue
        fixed = apply_fixes(source, found, lambda new: check_text(new, list(flags)).diagnostics, unsafe)
        errors = [sum(d.severity == "error" for d in each) for each in (found, fixed.diagnostics)]
        assert errors[1] <= errors[0], "a fix makes nothing worse"
        for fix in fixes:
            parse(Source(source.name, put_in(source, [fix])))


# fmt


def formats(text: str) -> str:
    """Format a text, and see that it says the same, and that formatting it again changes nothing."""
    source = Source("x.nn", text)
    plain = Source("x.nn", text.removeprefix("\ufeff"))  # which is dropped
    parsed = parse(plain)
    _fits(parsed.file, plain, strict=not parsed.diagnostics)
    result = format_source(source)
    if result.diagnostics:
        assert parsed.diagnostics or [d.code for d in result.diagnostics] == ["NN107"]
        assert result.text == text
        assert render_all(result.diagnostics)
        for found in result.diagnostics:
            _is_sound(found)
        return text
    assert not parsed.diagnostics
    again = Source("x.nn", result.text)
    assert _words(again) == _words(plain), "formatting keeps the tree"
    assert _remarks(again) == _remarks(plain), "formatting keeps the comments"
    assert format_source(again).text == result.text, "formatting twice is formatting once"
    return result.text


def _words(source: Source) -> list[str]:
    """Return a text's tree as words: what each node is, how much is in it, and its name or literal."""
    parsed = parse(source)
    assert not parsed.diagnostics
    found: list[str] = []
    for node in _walk(parsed.file):
        found.append(type(node).__name__)
        found += [str(len(value)) for value in _values(node) if isinstance(value, tuple)]
        if isinstance(node, tree.Name):
            found.append(node.text)
        elif isinstance(node, tree.Constant):
            found += [node.span.text, repr(node.value)]
    return found


def _walk(file: tree.File) -> Iterator[Any]:
    """Go through a tree without recursion: it may be thousands of operations deep."""
    waiting: list[Any] = [file]
    while waiting:
        node = waiting.pop()
        yield node
        for value in _values(node):
            if isinstance(value, tuple):
                waiting += value
            elif hasattr(value, "__dataclass_fields__") and not isinstance(value, Span):
                waiting.append(value)


def _values(node: Any) -> list[Any]:
    return [getattr(node, name) for name in node.__dataclass_fields__]


def _fits(file: tree.File, source: Source, strict: bool) -> None:
    """Hold every node's characters against the text; strictly, where nothing in it had to be guessed."""
    for node in _walk(file):
        span = node.span
        assert span.source is source
        assert 0 <= span.start <= span.end <= len(source.text)
        if strict and isinstance(node, tree.Name):
            assert span.text == node.text


def _remarks(source: Source) -> list[str]:
    return [comment.span.text.lstrip("#").strip(" \t\f") for comment in comments(source)]


# read


def reads(data: bytes, path: Path) -> Source | None:
    """Read the bytes of a file, and see that they are refused or that none of them is lost."""
    path.write_bytes(data)
    try:
        source = read_source(path)
    except SourceError as error:
        if str(path) not in str(error):
            raise AssertionError(f"{error} does not say which file") from error
        return None
    assert ("\ufeff" * source.bom + source.text).encode("utf-8") == data
    assert "\0" not in source.text
    assert [source.position(start)[1] for start in source.line_starts[:100]] == [1] * len(source.line_starts[:100])
    return source
