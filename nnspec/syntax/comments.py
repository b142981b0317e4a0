"""The positions of comments in a text, which the grammar ignores."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nnspec.diagnostics import Source, Span

__all__ = ["Comment", "comments"]

# Only in a string can a `#` stand for itself. A string that is not closed goes to the end of its line, as it does for
# the lexer: behind a quote that STRING does not match from, every other one on the line is escaped.
_COMMENT_OR_STRING = re.compile(r"""(#[^\r\n]*)|"(?:[^"\\\r\n]|\\[^\r\n])*"?|'(?:[^'\\\r\n]|\\[^\r\n])*'?""")


@dataclass(frozen=True, slots=True)
class Comment:
    """From a `#` up to, not including, the end of its line."""

    span: Span


def comments(source: Source) -> tuple[Comment, ...]:
    """Return the comments of a text in order, whether it parses or not."""
    return tuple(
        Comment(Span(source, match.start(), match.end()))
        for match in _COMMENT_OR_STRING.finditer(source.text)
        if match.lastindex
    )
