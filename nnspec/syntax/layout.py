"""From characters to the tokens of the grammar: matches brackets, and removes line breaks inside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice, pairwise

from nnspec.diagnostics import Diagnostic, Edit, Fix, Note, Source, Span
from nnspec.syntax.habits import plain_strings, thousands, without_commas
from nnspec.syntax.machine import lex
from nnspec.syntax.token import Token

__all__ = ["MAX_DEPTH", "MAX_LINE", "MAX_TOKENS", "Layout", "lay_out", "span_of"]

MAX_DEPTH = 100
"""Maximum nesting depth of brackets and braces."""

MAX_TOKENS = 100_000
"""Maximum number of tokens in a file."""

MAX_LINE = 200_000
"""Maximum line length in characters: the lexer needs a lot of memory for very long strings and numbers."""

_CLOSES = {")": "(", "]": "["}
_PLAIN = {"“": '"', "”": '"', "‘": "'", "’": "'", "−": "-", "×": "*"}  # automatic replacements of word processors


@dataclass
class Layout:
    """The tokens of a text, with the errors that were found before parsing."""

    tokens: list[Token]
    diagnostics: list[Diagnostic] = field(default_factory=list)
    told_lines: set[int] = field(default_factory=set)
    """Lines with an unclosed bracket or a stray character, for which the parser reports no further errors."""
    unreadable: set[int] = field(default_factory=set)
    """Offsets of literals with unknown values."""
    too_large: bool = False
    """Whether it exceeds a limit, so that it is not parsed."""


def span_of(source: Source, token: Token) -> Span:
    """Return the span of a token."""
    return Span(source, token.start_pos, token.end_pos)


def lay_out(source: Source) -> Layout:
    """Tokenise a text. Stray characters become diagnostics."""
    layout = Layout([])
    long = _long_line(source)
    if long is not None:
        layout.too_large = True
        message = f"this line has more than {MAX_LINE:,} characters"
        layout.diagnostics.append(Diagnostic("NN107", message, long))
        return layout
    raw = list(islice(lex(source.text), MAX_TOKENS + 1))
    if len(raw) > MAX_TOKENS:
        layout.too_large = True
        message = f"this file has more than {MAX_TOKENS:,} tokens"
        layout.diagnostics.append(Diagnostic("NN107", message, span_of(source, raw[-1])))
        layout.tokens = raw
        return layout
    for reading in (plain_strings, thousands):
        raw, found = reading(source, raw)
        layout.diagnostics += found
    raw = _without_strays(source, raw, layout)
    partner = _match(source, raw, layout)
    depth = 0
    outer: set[int] = set()
    for i, token in enumerate(raw):
        if token.type in ("LPAR", "LSQB", "RPAR", "RSQB") and i in partner:
            depth += 1 if partner[i] > i else -1
        if depth and token.type == "_NEWLINE":
            continue
        if token.type == "COMMA" and not depth and token.line not in layout.told_lines:
            outer.add(token.start_pos)
        layout.tokens.append(token)
    if outer:
        layout.tokens, found = without_commas(source, layout.tokens, outer)
        layout.diagnostics += found
    _join_heads(source, layout)
    layout.tokens = _balance(source, layout)
    return layout


def _long_line(source: Source) -> Span | None:
    """Return the offset of the first character beyond the maximum line length, or None."""
    if len(source.text) <= MAX_LINE:
        return None
    for start, end in pairwise([*source.line_starts, len(source.text)]):
        if end - start > MAX_LINE:
            return Span(source, start + MAX_LINE, start + MAX_LINE + 1)
    return None


def _join_heads(source: Source, layout: Layout) -> None:
    """Take out the line ends between a section's head and a `{` that begins a line, and say that it may not."""
    kept: list[Token] = []
    for token in layout.tokens:
        if token.type == "LBRACE" and kept and kept[-1].type == "_NEWLINE":
            last = len(kept) - 1
            while last >= 0 and kept[last].type == "_NEWLINE":
                last -= 1
            if _is_head(_line_up_to(kept, last)):
                del kept[last + 1 :]
                layout.diagnostics.append(
                    Diagnostic(
                        "NN101",
                        "`{` cannot start a line",
                        span_of(source, token),
                        help=f"put it after `{kept[-1]}`, on the same line",
                    )
                )
        kept.append(token)
    layout.tokens = kept


def _line_up_to(tokens: list[Token], last: int) -> list[Token]:
    first = last
    while first > 0 and tokens[first - 1].type not in ("_NEWLINE", "SEMICOLON", "LBRACE", "RBRACE"):
        first -= 1
    return tokens[first : last + 1] if last >= 0 else []


def _is_head(tokens: list[Token]) -> bool:
    """Whether a line could be the head of a section: a keyword, optionally with a name or a title."""
    kinds = [token.type for token in tokens]
    return kinds in (["NAME"], ["NAME", "NAME"], ["NAME", "STRING"])


def _without_strays(source: Source, raw: list[Token], layout: Layout) -> list[Token]:
    kept = []
    for i, token in enumerate(raw):
        if token.type not in ("STRAY", "OPEN_STRING", "BAD_NUMBER"):
            kept.append(token)
            continue
        span = span_of(source, token)
        if i and raw[i - 1].type == "STRAY" and raw[i - 1].end_pos == token.start_pos:
            continue  # one message for a run of strays
        j = i
        while raw[j + 1 : j + 2] == [token] and raw[j + 1].start_pos == raw[j].end_pos:  # `&&`, `||`
            j += 1
        span = span.to(span_of(source, raw[j]))
        layout.diagnostics.append(_stray(token, span))
        if token.type != "STRAY":
            layout.unreadable.add(span.start)
        if token.type != "BAD_NUMBER":
            layout.told_lines.add(token.line)
        if token.type == "BAD_NUMBER":
            kept.append(token.update(type="INT", value="1"))  # so that the rest of the item is read as usual
        elif token.type == "OPEN_STRING":
            kept.append(token.update(type="STRING"))
            if token.endswith("{"):  # the head of a section: its brace is no part of the title
                kept.append(token.update(type="LBRACE", value="{"))
                kept[-1].start_pos = span.end - 1
    return kept


def _stray(token: Token, span: Span) -> Diagnostic:
    if token.type == "BAD_NUMBER":
        return Diagnostic(
            "NN104", f"`{token}` is not a number", span, help="numbers are written like 64, 60_000, 0.01 or 1e-3"
        )
    if token.type == "OPEN_STRING":
        return Diagnostic("NN103", "unterminated string", span, help=f"close it with {token[0]} on the same line")
    helps = {
        "“": 'use plain quotes: "',
        "”": 'use plain quotes: "',
        "‘": 'use plain quotes: "',
        "’": 'use plain quotes: "',
        "&": "write `and`",
        "|": "write `or`",
        "→": "write one layer per line, or separate them with `;`",
        "!": "write `not`",
        "^": "powers are written `**`",
        "−": "use the plain minus sign `-`",
        "×": "write `*`",
        "%": "",
        "\0": "is this a binary file?",
    }
    text = span.text if token.isprintable() else f"U+{ord(token):04X}"
    plain = _PLAIN.get(str(token))
    fix = Fix(f"replace `{text}` with `{plain}`", (Edit(span, plain),), safe=True) if plain else None
    return Diagnostic("NN101", f"unexpected `{text}`", span, help=helps.get(str(token), ""), fix=fix)


def _match(source: Source, raw: list[Token], layout: Layout) -> dict[int, int]:
    """Match round and square brackets, and report those that are open at a brace or at the end."""
    partner: dict[int, int] = {}
    stack: list[int] = []
    braces = 0

    def leave_open() -> None:
        for i in stack:
            token = raw[i]
            layout.diagnostics.append(
                Diagnostic("NN102", f"this `{token}` is never closed", span_of(source, token), label="opened here")
            )
            layout.told_lines.add(token.line)
        stack.clear()

    for i, token in enumerate(raw):
        if token.type in ("LPAR", "LSQB"):
            stack.append(i)
        elif token.type in ("RPAR", "RSQB"):
            if stack and raw[stack[-1]] == _CLOSES[str(token)]:
                j = stack.pop()
                partner[i], partner[j] = j, i
            else:
                _astray(source, token, raw[stack.pop()] if stack else None, layout)
        elif token.type in ("LBRACE", "RBRACE"):
            leave_open()
            braces += 1 if token.type == "LBRACE" else -1
        if len(stack) + braces > MAX_DEPTH and not layout.too_large:
            layout.too_large = True
            layout.diagnostics.append(
                Diagnostic("NN106", f"nested more than {MAX_DEPTH} levels deep", span_of(source, token))
            )
    leave_open()
    return partner


def _astray(source: Source, token: Token, opener: Token | None, layout: Layout) -> None:
    span = span_of(source, token)
    layout.told_lines.add(token.line)
    if opener is None:
        layout.diagnostics.append(Diagnostic("NN102", f"unmatched `{token}`", span))
        return
    layout.told_lines.add(opener.line)
    layout.diagnostics.append(
        Diagnostic(
            "NN102",
            f"`{token}` cannot close `{opener}`",
            span,
            notes=(Note(span_of(source, opener), "opened here"),),
        )
    )


def _balance(source: Source, layout: Layout) -> list[Token]:
    """Drop unmatched closing braces and close unclosed ones, so that all braces are balanced for the grammar."""
    missing, extra = _unclosed(layout.tokens)
    kept: list[Token] = []
    stack: list[Token] = []
    margins: list[int] = []  # for each open brace, the column of the first token of its line
    margin, line = 1, 0
    lines = _Lines(kept)
    for token in layout.tokens:
        if token.line != line and token.type != "_NEWLINE":
            line, margin = token.line, token.column
            # A line as far left as the one that opened a brace, and no `}`: the brace should be closed by now; likewise
            # a `}` farther left than that.
            while missing and stack and margin < margins[-1] + (token.type != "RBRACE"):
                missing -= 1
                _close(source, stack.pop(), token, kept, layout)
                margins.pop()
        if token.type == "RBRACE":
            if not stack:
                _without_opener(source, token, lines, layout)
                continue
            # An extra `}` is one that closes a brace of another line but is not aligned with that line.
            if extra and stack[-1].line != token.line and token.column != margins[-1]:
                extra -= 1
                message = "extra `}`"
                layout.diagnostics.append(Diagnostic("NN102", message, span_of(source, token)))
                continue
            stack.pop()
            margins.pop()
        if token.type == "LBRACE" and missing and kept and kept[-1].type == "LBRACE":
            missing -= 1
            layout.diagnostics.append(Diagnostic("NN102", "extra `{`", span_of(source, token)))
            continue
        kept.append(token)
        if token.type == "LBRACE":
            stack.append(token)
            margins.append(margin)
    while stack:
        _close(source, stack.pop(), None, kept, layout)
    return kept


class _Lines:
    """Knows the last line that begins in the first column, while tokens are added to a list."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self._seen = 0
        self._end: int | None = None

    def last(self) -> int | None:
        """Return the index of the line break after it, or None."""
        for i in range(self._seen, len(self.tokens)):
            if self.tokens[i].type == "_NEWLINE":
                line = _line_up_to(self.tokens, i - 1)
                if line and line[0].column == 1:
                    self._end = i
        self._seen = len(self.tokens)
        return self._end

    def open(self, brace: Token) -> None:
        """Add a brace after it, so that it is no longer a candidate for a section head."""
        assert self._end is not None
        self.tokens.insert(self._end, brace)
        self._seen, self._end = self._seen + 1, None


def _without_opener(source: Source, token: Token, lines: _Lines, layout: Layout) -> None:
    """Report an unmatched `}`, or open the section whose head is above it with the same indentation."""
    kept = lines.tokens
    end = lines.last() if token.column == 1 else None
    line = _line_up_to(kept, end - 1) if end is not None else []
    if not _is_head(line) or line[-1].line == token.line or kept[-1].line == line[-1].line:
        layout.diagnostics.append(Diagnostic("NN102", "unmatched `}`", span_of(source, token)))
        return
    layout.diagnostics.append(
        Diagnostic(
            "NN102",
            f"missing `{{` after `{line[-1]}`",
            span_of(source, line[0]).to(span_of(source, line[-1])),
            notes=(Note(span_of(source, token), "closed here"),),
        )
    )
    opener = line[-1].update(type="LBRACE", value="{")
    opener.start_pos = opener.end_pos = line[-1].end_pos
    lines.open(opener)
    kept.append(token)


def _unclosed(tokens: list[Token]) -> tuple[int, int]:
    """Count the braces that are never closed, and those that close nothing."""
    depth = extra = 0
    for token in tokens:
        if token.type == "LBRACE":
            depth += 1
        elif token.type == "RBRACE" and depth:
            depth -= 1
        elif token.type == "RBRACE":
            extra += 1
    return depth, extra


def _close(source: Source, opener: Token, before: Token | None, kept: list[Token], layout: Layout) -> None:
    notes = (Note(span_of(source, before), "missing `}` before this line"),) if before is not None else ()
    layout.diagnostics.append(
        Diagnostic("NN102", "this `{` is never closed", span_of(source, opener), label="opened here", notes=notes)
    )
    if before is None:
        end = len(source.text)
        kept.append(opener.update(type="RBRACE", value="}"))
        kept[-1].start_pos = kept[-1].end_pos = end
        return
    closing = before.update(type="RBRACE", value="}")
    newline = before.update(type="_NEWLINE", value="\n")
    for token in (closing, newline):
        token.end_pos = token.start_pos
    kept += [closing, newline]
