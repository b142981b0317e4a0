"""The grammar, loaded from `grammars/nn.lark`, as a lexer and a fresh LALR parser state."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from lark import Lark, Token

__all__ = ["grammar_text", "parser"]


class _KeepStrays:
    """Tells Lark that these terminals are wanted although no rule uses them: the parser reports them by name."""

    always_accept: ClassVar[tuple[str, ...]] = ("OPEN_STRING", "BAD_NUMBER", "STRAY")

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        return stream


def grammar_text() -> str:
    """Read the grammar: beside the package when it is installed, at the top of the source tree otherwise."""
    installed = files("nnspec") / "grammars" / "nn.lark"
    if installed.is_file():
        return installed.read_text(encoding="utf-8")
    return (Path(__file__).parents[2] / "grammars" / "nn.lark").read_text(encoding="utf-8")


@functools.cache
def parser(builder: Any) -> Lark:
    """Build the parser whose rules call the methods of `builder`. It raises on any conflict in the grammar."""
    from lark import Lark

    return Lark(
        grammar_text(),
        parser="lalr",
        lexer="basic",
        start=["file", "expression"],
        keep_all_tokens=True,
        maybe_placeholders=False,
        transformer=builder,
        postlex=_KeepStrays(),
    )
