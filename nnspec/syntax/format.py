"""The formatter of `.nn` files: it keeps the tree and the comments, and normalises whitespace.

There are no options: an indentation of four spaces, one item per line, lines of at most 100 characters where the
language allows a line break, at most one empty line in a row. A section that stands on one line stays there while it
fits and holds no comment. What stands in round or square brackets is on one line where it fits and holds no comment,
else there is one part a line. Strings and numbers are left as they are. All lines end as most of them did: LF, CRLF or
CR. A byte order mark is dropped.

What comes out is read again and held against what went in; see `FormatFault`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from nnspec.diagnostics import Diagnostic, Source, Span, first_of
from nnspec.diagnostics.source import MAX_BYTES
from nnspec.syntax import tree
from nnspec.syntax.comments import comments
from nnspec.syntax.lines import lines
from nnspec.syntax.parser import Parsed, parse
from nnspec.syntax.pieces import pieces

__all__ = ["FormatFault", "Formatted", "format_source"]

_BLANKS = " \t\f"

# The fields that equal nodes have in common: all except their spans.
_PARTS: dict[type, tuple[str, ...]] = {
    kind: tuple(field.name for field in fields(kind) if field.name not in ("span", "head"))
    for kind in vars(tree).values()
    if is_dataclass(kind) and isinstance(kind, type)
}


class FormatFault(Exception):
    """The formatter would have changed the meaning of a file: a bug in nnspec. Nothing is written."""


@dataclass(frozen=True)
class Formatted:
    """The result of formatting a text."""

    text: str
    """The formatted text, or the original text if there are diagnostics."""
    diagnostics: tuple[Diagnostic, ...] = ()
    """Why it cannot be formatted."""


def format_source(source: Source) -> Formatted:
    """Format a text.

    Raises FormatFault if the result does not have the tree and the comments of the text.
    """
    given = source.text
    if given.startswith("\ufeff"):
        source = Source(source.name, given[1:], source.folder)
    before = parse(source)
    if before.diagnostics:
        return Formatted(given, first_of(before.diagnostics))
    end = _line_end(source.text)
    text = "".join(f"{line}{end}" for line in lines(pieces(source)))
    if text == source.text:
        return Formatted(text)
    result = Source(source.name, text, source.folder)
    after = parse(result)
    over = [found for found in after.diagnostics if found.code == "NN107"]
    if over or len(text.encode("utf-8", "replace")) > MAX_BYTES:
        return Formatted(given, (_too_large(source),))
    _hold(source, before, result, after)
    return Formatted(text)


def _line_end(text: str) -> str:
    pairs = text.count("\r\n")
    counts = {"\n": text.count("\n") - pairs, "\r\n": pairs, "\r": text.count("\r") - pairs}
    return max(counts, key=lambda end: counts[end])


def _too_large(source: Source) -> Diagnostic:
    """A text within the limits whose lines, once broken, are not: it stays as it is."""
    return Diagnostic(
        "NN107", "formatted, this file would be larger than what is read", Span(source, 0, 0), help="split it"
    )


# The guard


def _hold(source: Source, before: Parsed, result: Source, after: Parsed) -> None:
    """Raise FormatFault unless two texts say the same."""
    if after.diagnostics:
        place = after.diagnostics[0].span
        raise FormatFault(f"formatting {source.name} made a text that does not parse: its line {place.line}")
    changed = _changed(before.file, after.file)
    if changed is not None:
        raise FormatFault(f"formatting {source.name} changed what line {changed.span.line} says")
    if _remarks(source) != _remarks(result):
        raise FormatFault(f"formatting {source.name} lost, changed or moved a comment")


def _remarks(source: Source) -> list[str]:
    """Return the texts of all comments without whitespace after the `#` and at the end."""
    return [comment.span.text[1:].strip(_BLANKS) for comment in comments(source)]


def _changed(before: tree.File, after: tree.File) -> Any:
    """Return a node of one tree that is another in the other, or None. Trees may be deep, so this does not recurse."""
    pairs: list[tuple[Any, Any]] = [(before, after)]
    while pairs:
        old, new = pairs.pop()
        if type(old) is not type(new):
            return old
        if isinstance(old, tree.Constant):
            if old.span.text != new.span.text:  # not the value: 1_000 is not to become 1000
                return old
            continue
        for name in _PARTS[type(old)]:
            one, other = getattr(old, name), getattr(new, name)
            if isinstance(one, tuple):
                if len(one) != len(other):
                    return old
                pairs += zip(one, other, strict=True)
            elif one is None or other is None or isinstance(one, str):
                if one != other:
                    return old
            else:
                pairs.append((one, other))
    return None
