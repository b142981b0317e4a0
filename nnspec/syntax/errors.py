"""Error messages for unexpected tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nnspec.diagnostics import Diagnostic, Edit, Fix, Source, Span
from nnspec.syntax.habits import FOREIGN, foreign
from nnspec.syntax.layout import span_of
from nnspec.syntax.token import Token

__all__ = ["explain"]

_WORDS = {"LET", "BLOCK", "IMPORT", "TRUE", "FALSE", "NONE", "OR", "AND", "NOT"}
_OPERATORS = {"COMPARE", "POWER", "FLOORDIV", "PLUS", "MINUS", "STAR", "SLASH", "PERCENT", "OR", "AND", "NOT"}
_ENDS = {"_NEWLINE", "SEMICOLON", "RBRACE", "$END"}
_LITERALS = {"INT", "FLOAT", "STRING", "TRUE", "FALSE", "NONE"}
_STARTS_VALUE = _LITERALS | {"NAME", "LPAR", "LSQB"}
_ENDS_VALUE = _LITERALS | {"NAME", "RPAR", "RSQB"}

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


@dataclass(frozen=True)
class _Place:
    """Where parsing failed: at token `i` of the item that starts at token `first`."""

    source: Source
    tokens: Sequence[Token]
    i: int
    first: int
    accepts: set[str]
    """The token types that were expected."""

    @property
    def token(self) -> Token:
        """The unexpected token."""
        return self.tokens[self.i]

    @property
    def before(self) -> Token | None:
        """The previous token in the same item."""
        return self.tokens[self.i - 1] if self.i > self.first else None

    @property
    def head(self) -> Token:
        """The first token of the item."""
        return self.tokens[self.first]

    @property
    def kinds(self) -> list[str]:
        """The types of the item's tokens up to this one."""
        return [token.type for token in self.tokens[self.first : self.i + 1]]

    @property
    def span(self) -> Span:
        """The span of the token. For the end of a line or of the file, it is just after the previous token."""
        if self.token.type in ("_NEWLINE", "$END") and self.before is not None:
            end = span_of(self.source, self.before).end
            return Span(self.source, end, min(end + 1, len(self.source.text)))
        return span_of(self.source, self.token)

    def stretch(self, first: Token, last: Token) -> Span:
        """Return the span from one token to another."""
        return span_of(self.source, first).to(span_of(self.source, last))

    def inside(self) -> bool:
        """Whether a bracket of the item is open at the token."""
        kinds = self.kinds[:-1]
        return sum((kind in ("LPAR", "LSQB")) - (kind in ("RPAR", "RSQB")) for kind in kinds) > 0


def explain(source: Source, tokens: Sequence[Token], i: int, first: int, accepts: set[str]) -> Diagnostic:
    """Describe what is wrong with token i of the item that starts at `first`. `accepts` are the expected types."""
    place = _Place(source, tokens, i, first, accepts)
    for rule in _RULES:
        found = rule(place)
        if found is not None:
            return found
    ends = place.token.type in _ENDS - {"RBRACE"}
    text = "unexpected end of line" if ends else f"unexpected `{place.token}`"
    return _error(text, place.span, _expected(accepts))


def _error(message: str, span: Span, help: str = "", label: str = "", fix: Fix | None = None) -> Diagnostic:
    return Diagnostic("NN101", message, span, label=label, help=help, fix=fix)


def _foreign(place: _Place) -> Diagnostic | None:
    """`for i in …`, `x if y else z`."""
    for token in (place.head, place.before, place.token):
        if token is not None and token.type == "NAME" and token in FOREIGN:
            return foreign(str(token), span_of(place.source, token))
    return None


def _comment(place: _Place) -> Diagnostic | None:
    """`// …` and `/* … */`."""
    if place.i != place.first or place.token.type not in ("FLOORDIV", "SLASH"):
        return None
    return _error(f"unexpected `{place.token}`", place.span, "comments start with `#`")


def _something_missing(place: _Place) -> Diagnostic | None:
    token, before = place.token, place.before
    if before is None or token.type not in _ENDS | {"RPAR", "RSQB", "COMMA"}:
        return None
    span = span_of(place.source, before)
    if before.type == "EQUAL":
        return _error("missing value after `=`", span, label="needs a value")
    if before.type == "PERCENT" and "INT" in place.kinds[-3:-2]:
        number = place.tokens[place.i - 2]
        whole = place.stretch(number, before)
        return _error(f"`{whole.text}` is not a number", whole, f"write {int(number.replace('_', '')) / 100:g}")
    if before.type in _OPERATORS:
        return _error(f"missing operand after `{before}`", span)
    if before.type in _FOLLOWS:
        return _error(f"`{before}` is a reserved word and must be followed by {_FOLLOWS[before.type]}", place.span)
    if place.kinds == ["LET", "NAME", token.type]:
        return _error("missing value for this `let`", place.span, f"for example, `let {before} = 64`")
    return None


_FOLLOWS = {"LET": "a name", "BLOCK": "a name", "IMPORT": 'a file, as in `import "common.nn"`'}


def _import(place: _Place) -> Diagnostic | None:
    """`import numpy`, `import common.nn`."""
    if place.before is None or place.before.type != "IMPORT":
        return None
    words = []
    for token in place.tokens[place.i :]:
        if token.type not in ("NAME", "DOT"):
            break
        words.append(token)
    name = place.stretch(words[0], words[-1]).text if words else ""
    file = f'"{name}"' if name.endswith(".nn") else '"common.nn"'
    return _error("`import` needs a file name in quotes", place.span, f"for example, `import {file}`")


def _reserved(place: _Place) -> Diagnostic | None:
    if place.token.type not in _WORDS or "NAME" not in place.accepts or "INT" in place.accepts:
        return None
    return _error(f"`{place.token}` is a reserved word and cannot be a name", place.span, "use another name")


def _two_words(place: _Place) -> Diagnostic | None:
    """`epochs 15` (missing `=`), `Linear 64` (missing brackets), `ReLU ReLU` (missing line break)."""
    kinds = place.kinds
    if kinds[:2] == ["NAME", "NAME"] and len(kinds) == 3 and place.token.type in _ENDS | {"LPAR"}:
        one, other = place.tokens[place.first], place.tokens[place.first + 1]
    elif len(kinds) == 2 and kinds[0] == "NAME" and kinds[1] in _STARTS_VALUE - {"LPAR", "LSQB"}:
        one, other = place.head, place.token
    else:
        return None
    part = one[0].isupper()
    if part and other.type == "NAME":
        return _error(f"missing line break or `;` before `{other}`", span_of(place.source, other))
    whole = place.stretch(one, other)
    if other.type == "NAME" and not other[0].isupper():
        help = f"write `{one} = {other}` to give it a value, or `{one} {other} {{` to begin a section"
    else:
        help = f"write `{one}({other})`" if part else f"write `{one} = {other}`"
    if one == "repeat":
        help = "to repeat a layer, multiply it: `Linear(64) * 3`"
    return _error(f"`{one} {other}` is neither a setting nor a layer", whole, help)


def _run_together(place: _Place) -> Diagnostic | None:
    token, before = place.token, place.before
    if before is None or before.type not in _ENDS_VALUE or token.type not in _STARTS_VALUE:
        return None
    if place.inside():
        end = Span(place.source, before.end_pos, before.end_pos)
        fix = Fix("insert a comma", (Edit(end, ","),)) if before.line == token.line else None
        return _error(f"missing comma between `{before}` and `{token}`", place.span, fix=fix)
    if token.type in ("LPAR", "LSQB"):
        square = place.kinds == ["NAME", "LSQB"] and _is_part(before)
        help = f"arguments are written in `()`: `{before}(…)`" if square else ""
        return _error(f"unexpected `{token}` after `{before}`", place.span, help)
    return _error(f"missing line break or `;` before `{token}`", place.span)


def _is_part(word: Token) -> bool:
    return word[0].isupper()


def _equal(place: _Place) -> Diagnostic | None:
    """`f(x) = 3`, `seed += 3`, `seed := 3`."""
    token, before = place.token, place.before
    if token.type != "EQUAL":
        return None
    if before is not None and before.end_pos == token.start_pos and before.type in _OPERATORS | {"COLON"}:
        sign = place.stretch(before, token)
        name = place.stretch(place.head, place.tokens[place.i - 2]).text if place.i - 2 >= place.first else ""
        if before.type == "COLON":
            return _error("unexpected `:=`", sign, f"write `{name} = …`", fix=_write(sign, "=", "write `=`"))
        return _error(f"unexpected `{sign.text}`", sign, "settings are set once, with `=`")
    return _error("only names can be assigned to", place.span, "settings are written `name = value`")


def _write(span: Span, text: str, message: str) -> Fix:
    return Fix(message, (Edit(span, text),), safe=True)


def _colon(place: _Place) -> Diagnostic | None:
    """`optimizer.lr: 0.1`, `Adam(lr: 0.1)`, `let width: int = 3`."""
    if place.token.type != "COLON":
        return None
    if place.head.type == "LET":
        return _error("unexpected `:`", place.span, "constants have no type annotation: `let width = 64`")
    if place.before is None or place.before.type != "NAME":
        return _error("unexpected `:`", place.span, "settings are written `name = value`")
    if place.inside():
        help, text = f"arguments are written `{place.before}=…`", "="
    else:
        help, text = f"settings are written `{place.stretch(place.head, place.before).text} = …`", " ="
    fix = _write(place.span, text, "replace `:` with `=`")
    return _error("unexpected `:`", place.span, help, fix=fix)


def _brace(place: _Place) -> Diagnostic | None:
    """`train = {`, `train: {`."""
    if place.token.type != "LBRACE":
        return None
    if place.before is not None and place.kinds in (["NAME", "EQUAL", "LBRACE"], ["NAME", "COLON", "LBRACE"]):
        sign = span_of(place.source, place.before)
        fix = Fix(f"remove `{place.before}`", (Edit(sign, ""),), safe=True)
        return _error(f"sections are written without `{place.before}`", sign, f"write `{place.head} {{`", fix=fix)
    help = 'a section is a keyword, an optional name or "title", then `{`'
    return _error("unexpected `{`", place.span, help)


def _square(place: _Place) -> Diagnostic | None:
    """`tune [ optimizer.lr = 0.1 ]`."""
    if place.kinds[:2] != ["NAME", "LSQB"] or _is_part(place.head) or not place.inside():
        return None
    bracket = span_of(place.source, place.tokens[place.first + 1])
    return _error(f"unexpected `[` after `{place.head}`", bracket, f"sections have braces: `{place.head} {{ … }}`")


def _arrow(place: _Place) -> Diagnostic | None:
    """`Linear(64) -> ReLU`."""
    token, before = place.token, place.before
    if before is None or (before, token) != ("-", ">") or before.end_pos != token.start_pos:
        return None
    help = "arguments are separated by `,`"
    if not place.inside():
        help = "write one layer per line, or separate them with `;`"
    return _error("unexpected `->`", place.stretch(before, token), help)


def _star(place: _Place) -> Diagnostic | None:
    """`residual { … } * 3`."""
    behind = place.tokens[place.i - 1] if place.i else None
    if place.token.type != "STAR" or place.i != place.first or behind is None or behind.type != "RBRACE":
        return None
    help = "make it a block: `block Name { … }`, then `Name * 3`"
    return _error("a section cannot be repeated", place.span, help)


_RULES: tuple[Callable[[_Place], Diagnostic | None], ...] = (
    _foreign,
    _comment,
    _something_missing,
    _import,
    _reserved,
    _two_words,
    _square,
    _run_together,
    _equal,
    _colon,
    _brace,
    _arrow,
    _star,
)
"""The rules, in the order in which they are tried."""


def _expected(accepts: set[str]) -> str:
    if {"INT", "LPAR", "STRING"} <= accepts:
        return "expected a value"
    names = [text for kind, text in _NAMES.items() if kind in accepts]
    return (
        f"expected {', '.join(names[:-1])} or {names[-1]}"
        if len(names) > 1
        else f"expected {names[0]}"
        if names
        else ""
    )
