"""What to say of a token that cannot stand where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnspec.diagnostics import Diagnostic, Source, Span
from nnspec.syntax.layout import span_of

if TYPE_CHECKING:
    from lark import Token

__all__ = ["explain"]

_WORDS = {"LET", "BLOCK", "IMPORT", "TRUE", "FALSE", "NONE", "OR", "AND", "NOT"}
_OPERATORS = {"COMPARE", "POWER", "FLOORDIV", "PLUS", "MINUS", "STAR", "SLASH", "PERCENT", "OR", "AND", "NOT"}
_ENDS = {"_NEWLINE", "SEMICOLON", "RBRACE", "$END"}
_STARTS_VALUE = {"NAME", "INT", "FLOAT", "STRING", "TRUE", "FALSE", "NONE", "LPAR", "LSQB"}
_STARTS_ITEM = _STARTS_VALUE | {"NOT", "LET", "BLOCK", "IMPORT"}
_ENDS_VALUE = {"NAME", "INT", "FLOAT", "STRING", "TRUE", "FALSE", "NONE", "RPAR", "RSQB"}

_NAMES = {
    "NAME": "a name",
    "INT": "a number",
    "STRING": "a string",
    "EQUAL": "`=`",
    "COMMA": "`,`",
    "COLON": "`:`",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "RSQB": "`]`",
    "_NEWLINE": "the end of the line",
}


def explain(source: Source, tokens: Sequence[Token], i: int, first: int, accepts: set[str]) -> Diagnostic:
    """Say what is wrong with token i of the item that starts at token `first`. `accepts` are the types that fit."""
    token, before = tokens[i], tokens[i - 1] if i > first else None
    span = _place(source, token, before)
    if before is not None and token.type in _ENDS | {"RPAR", "RSQB", "COMMA"}:
        if before.type == "EQUAL":
            return Diagnostic("NN101", "a value is missing after `=`", span_of(source, before), label="needs a value")
        if before.type in _OPERATORS:
            return Diagnostic("NN101", f"something is missing after `{before}`", span_of(source, before))
        if before.type in ("LET", "BLOCK", "IMPORT"):
            return Diagnostic("NN101", f"`{before}` is a reserved word, and its {_follows(before)} is missing", span)
    if token.type in _WORDS and "NAME" in accepts and "INT" not in accepts:
        return Diagnostic("NN101", f"`{token}` is a reserved word and cannot be a name", span, help="use another name")
    if before is None and i and tokens[i - 1].type == "RBRACE" and token.type in _STARTS_ITEM:
        return Diagnostic("NN101", f"a line end or `;` is missing between `}}` and `{token}`", span)
    if i - first == 2 and tokens[first].type == tokens[first + 1].type == "NAME" and token.type in _ENDS | {"LPAR"}:
        return _two_words(source, tokens[first], tokens[first + 1])
    if before is not None and before.type in _ENDS_VALUE and token.type in _STARTS_VALUE:
        return _run_together(source, tokens, i, first)
    if token.type == "EQUAL":
        return Diagnostic(
            "NN101",
            "only a name can be given a value",
            span,
            help="a setting is `name = value`, with nothing before it",
        )
    if token.type == "COLON":
        return Diagnostic("NN101", "`:` cannot stand here", span, help="settings are written `name = value`")
    if token.type == "LBRACE":
        return Diagnostic(
            "NN101", "`{` cannot stand here", span, help='a section is a word, perhaps a name or a "title", then `{`'
        )
    text = "the line cannot end here" if token.type in _ENDS - {"RBRACE"} else f"`{token}` cannot stand here"
    return Diagnostic("NN101", text, span, help=_expected(accepts))


def _run_together(source: Source, tokens: Sequence[Token], i: int, first: int) -> Diagnostic:
    token, before = tokens[i], tokens[i - 1]
    span = span_of(source, token)
    inside = sum((t.type in ("LPAR", "LSQB")) - (t.type in ("RPAR", "RSQB")) for t in tokens[first:i])
    if inside > 0:
        return Diagnostic("NN101", f"a comma is missing between `{before}` and `{token}`", span)
    if token.type in ("LPAR", "LSQB"):
        return Diagnostic("NN101", f"`{token}` cannot stand after `{before}`", span)
    if before.type == "NAME" and i - first == 1:
        return _two_words(source, before, token)
    return Diagnostic("NN101", f"a line end or `;` is missing before `{token}`", span)


def _two_words(source: Source, one: Token, other: Token) -> Diagnostic:
    """`epochs 15`, where `=` is missing, or `ReLU ReLU`, where the line end is."""
    if other.type == "NAME" and one[0].isupper():
        return Diagnostic("NN101", f"a line end or `;` is missing before `{other}`", span_of(source, other))
    return Diagnostic(
        "NN101",
        f"`{one} {other}` is neither a setting nor a layer",
        tokens_span(source, one, other),
        help=f"write `{one} = {other}` to give it a value, or `{one}({other})` to make a part",
    )


def tokens_span(source: Source, first: Token, last: Token) -> Span:
    """Return the stretch from one token to another."""
    return span_of(source, first).to(span_of(source, last))


def _place(source: Source, token: Token, before: Token | None) -> Span:
    """Where to point: at the token, or, for the end of a line or of the file, just behind what stands before it."""
    if token.type in ("_NEWLINE", "$END") and before is not None:
        end = span_of(source, before).end
        return Span(source, end, end + 1)
    return span_of(source, token)


def _follows(word: Token) -> str:
    return {"LET": "name", "BLOCK": "name", "IMPORT": 'file, as in `import "common.nn"`,'}[word.type]


def _expected(accepts: set[str]) -> str:
    if {"INT", "LPAR", "STRING"} <= accepts:
        return "a value is expected"
    names = [text for kind, text in _NAMES.items() if kind in accepts]
    return (
        f"expected {', '.join(names[:-1])} or {names[-1]}"
        if len(names) > 1
        else f"expected {names[0]}"
        if names
        else ""
    )
