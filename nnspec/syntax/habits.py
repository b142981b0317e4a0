"""Recognising syntax of other languages, to suggest the equivalent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from nnspec.diagnostics import Diagnostic, Edit, Fix, Source, Span
from nnspec.syntax.token import Token

__all__ = ["FOREIGN", "foreign", "plain_strings", "thousands", "without_commas"]

_LOOP = ("specs have no loops", "repeat layers with `* 3`, or try several values with a `sweep`")
_CONDITION = ("specs have no conditions", "to compare variants, make them lanes of a `race`")
_FUNCTION = ("specs have no functions", "group layers in a block: `block Name(units) { … }`")
_CONSTANT = ("constants are declared with `let`", "for example, `let width = 64`")

FOREIGN: dict[str, tuple[str, str]] = {
    "for": _LOOP,
    "while": _LOOP,
    "if": _CONDITION,
    "elif": _CONDITION,
    "else": _CONDITION,
    "switch": _CONDITION,
    "def": _FUNCTION,
    "fn": _FUNCTION,
    "func": _FUNCTION,
    "function": _FUNCTION,
    "lambda": _FUNCTION,
    "class": _FUNCTION,
    "const": _CONSTANT,
    "var": _CONSTANT,
    "include": ("use `import` to include a file", 'for example, `import "common.nn"`'),
    "from": ("an import always includes the whole file", 'for example, `import "common.nn"`'),
}
"""Keywords of other languages -> why they are an error, and what to use instead."""

_DIGITS_AND_COMMA = re.compile("[0-9],[0-9]")
_CURLY = {"“": "”", "‘": "’", "„": "“", "”": "”", "’": "’", "«": "»"}  # opening quote -> closing quote


def foreign(word: str, span: Span) -> Diagnostic:
    """Suggest an equivalent for a statement of another language."""
    why, help = FOREIGN[word]
    return Diagnostic("NN101", f"unexpected `{word}`: {why}", span, help=help)


def plain_strings(source: Source, raw: Sequence[Token]) -> tuple[list[Token], list[Diagnostic]]:
    """Replace curly quotes on one line with plain ones, and report them."""
    if not any(quote in source.text for quote in _CURLY):
        return list(raw), []
    kept: list[Token] = []
    found: list[Diagnostic] = []
    closings = _closings(raw)
    i = 0
    while i < len(raw):
        token = raw[i]
        closing = closings.get(i)
        if closing is None:
            kept.append(token)
            i += 1
            continue
        last = raw[closing]
        inside = source.text[token.end_pos : last.start_pos]
        kept.append(token.update(type="STRING", value=f'"{inside}"'))
        kept[-1].end_pos = last.end_pos
        edits = tuple(Edit(Span(source, t.start_pos, t.end_pos), '"') for t in (token, last))
        fix = Fix("use plain quotes", edits, safe=True)
        span = Span(source, token.start_pos, last.end_pos)
        message = f"`{token}` and `{last}` cannot be used as quotes"
        found.append(Diagnostic("NN101", message, span, help=f'write `"{inside}"`', fix=fix))
        i = closing + 1
    return kept, found


def _closings(raw: Sequence[Token]) -> dict[int, int]:
    """Return opening -> closing curly quote, by index: on the same line and with no other string between."""
    found: dict[int, int] = {}
    behind: dict[str, int] = {}  # the next of each quote
    for i in range(len(raw) - 1, -1, -1):
        token = raw[i]
        if token.type in ("_NEWLINE", "STRING", "OPEN_STRING"):
            behind.clear()
        elif token.type == "STRAY":
            closing = behind.get(_CURLY.get(str(token), ""))
            if closing is not None:
                found[i] = closing
            behind[str(token)] = i
    return found


def thousands(source: Source, raw: Sequence[Token]) -> tuple[list[Token], list[Diagnostic]]:
    """Read `60,000` and `0,001` as one number, and report the correct spelling.

    In brackets a comma separates values, so there only a group such as `000`, which is not a valid number, is replaced.
    """
    if not _DIGITS_AND_COMMA.search(source.text):
        return list(raw), []
    kept: list[Token] = []
    found: list[Diagnostic] = []
    i = depth = 0
    while i < len(raw):
        depth = _depth(raw[i], depth)
        decimal = _decimal(source, raw, i, depth > 0)
        if decimal is not None:
            found.append(decimal)
            kept.append(raw[i].update(type="FLOAT", value=decimal.span.text.replace(",", ".")))
            kept[-1].end_pos = decimal.span.end
            i += 3
            continue
        end = i
        while end + 2 < len(raw) and _is_group(raw[end], raw[end + 1], raw[end + 2], depth > 0):
            end += 2
        if end == i:
            kept.append(raw[i])
            i += 1
            continue
        span = Span(source, raw[i].start_pos, raw[end].end_pos)
        number = span.text.replace(",", "_")
        commas = tuple(Edit(Span(source, c.start_pos, c.end_pos), "_") for c in raw[i + 1 : end : 2])
        fix = Fix(f"write {number}", commas, safe=True)
        found.append(Diagnostic("NN104", f"`{span.text}` is not a number", span, help=f"write {number}", fix=fix))
        kept.append(raw[i].update(value=number))
        kept[-1].end_pos = span.end
        i = end + 1
    return kept, found


def _depth(token: Token, depth: int) -> int:
    """The number of open brackets after a token; a brace closes them all."""
    if token.type in ("LBRACE", "RBRACE"):
        return 0
    return max(0, depth + (token.type in ("LPAR", "LSQB")) - (token.type in ("RPAR", "RSQB")))


def _decimal(source: Source, raw: Sequence[Token], i: int, inside: bool) -> Diagnostic | None:
    """Report a decimal comma, as in `0,5`; return None if it may separate two values."""
    if i + 2 >= len(raw) or raw[i] != "0" or not _touch(*raw[i : i + 3]):
        return None
    zero = len(raw[i + 2]) > 1 and raw[i + 2][0] == "0"
    if inside and not zero and (i == 0 or raw[i - 1].type != "EQUAL"):
        return None
    span = Span(source, raw[i].start_pos, raw[i + 2].end_pos)
    number = span.text.replace(",", ".")
    edit = Edit(Span(source, raw[i + 1].start_pos, raw[i + 1].end_pos), ".")
    fix = Fix(f"write {number}", (edit,), safe=zero)
    return Diagnostic("NN104", f"`{span.text}` is not a number", span, help=f"write {number}", fix=fix)


def _touch(one: Token, comma: Token, other: Token) -> bool:
    """Whether these are two integers with a comma and no whitespace in between."""
    kinds = (one.type, comma.type, other.type) == ("INT", "COMMA", "INT")
    return kinds and one.end_pos == comma.start_pos and comma.end_pos == other.start_pos


def _is_group(one: Token, comma: Token, other: Token, inside: bool) -> bool:
    return _touch(one, comma, other) and len(other) == 3 and (other[0] == "0" or not inside)


def without_commas(source: Source, tokens: Sequence[Token], outer: set[int]) -> tuple[list[Token], list[Diagnostic]]:
    """Replace commas between items, at offsets `outer`, with `;`. There is one message for all commas of a section."""
    kept: list[Token] = []
    sections: dict[int, list[tuple[Token, bool]]] = {}
    stack = [-1]
    for token, after in [*pairwise(tokens), *((t, t) for t in tokens[-1:])]:
        if token.type == "LBRACE":
            stack.append(token.start_pos)
        elif token.type == "RBRACE" and len(stack) > 1:
            stack.pop()
        if token.type == "COMMA" and token.start_pos in outer:
            needed = after.type not in ("_NEWLINE", "SEMICOLON", "RBRACE") and after is not token
            sections.setdefault(stack[-1], []).append((token, needed))
            kept.append(token.update(type="SEMICOLON"))
        else:
            kept.append(token)
    return kept, list(_about_commas(source, sections.values()))


def _about_commas(source: Source, sections: Iterable[list[tuple[Token, bool]]]) -> Iterator[Diagnostic]:
    for commas in sections:
        edits = [Edit(Span(source, t.start_pos, t.end_pos), ";" if needed else "") for t, needed in commas]
        more = f"and {len(commas) - 1} more" if len(commas) > 1 else ""
        lines = all(not needed for _, needed in commas)
        help = "remove it: an item ends at the end of the line" if lines else "use `;` or a line break"
        fix = Fix("remove the commas" if lines else "write `;`", tuple(edits), safe=True)
        yield Diagnostic("NN101", "items are not separated by commas", edits[0].span, label=more, help=help, fix=fix)
