"""The grammar, loaded from `grammars/nn.lark`, as a lexer and an LALR parser.

Building the parse tables takes longer than everything else that `nnspec check` does on one file. So they ship as
`tables.json`, which holds for one grammar and one version of Lark; with another version they are built on the spot.
`python -m nnspec.syntax` writes the file anew.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from lark import Lark, Token

__all__ = ["TABLES", "build", "grammar_text", "parser", "tables"]

TABLES = Path(__file__).with_name("tables.json")


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
    """Return the parser whose rules call the methods of `builder`."""
    import lark

    shipped = json.loads(TABLES.read_text(encoding="utf-8")) if TABLES.is_file() else {}
    made = (
        _revive(shipped, builder)
        if (shipped.get("lark"), shipped.get("grammar")) == (lark.__version__, _digest())
        else build(builder)
    )
    made.lexer = made._build_lexer()  # or every text would build its own
    return made


def build(builder: Any) -> Lark:
    """Build the parser from the grammar's text. Raises Lark's GrammarError on a conflict."""
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


def tables() -> dict[str, Any]:
    """Return the tables as plain data, with the grammar and the version of Lark that they are for."""
    import lark
    from lark.grammar import Rule
    from lark.lexer import TerminalDef

    data, memo = build(None).memo_serialize([TerminalDef, Rule])
    data["options"]["postlex"] = None
    return {"lark": lark.__version__, "grammar": _digest(), "data": data, "memo": memo}


def _revive(shipped: dict[str, Any], builder: Any) -> Lark:
    """Make a parser of tables that were JSON, which knows neither integers as keys nor tuples."""
    from lark import Lark

    automaton = shipped["data"]["parser"]["parser"]
    automaton["states"] = {
        int(state): {token: tuple(action) for token, action in row.items()}
        for state, row in automaton["states"].items()
    }
    memo = {int(key): value for key, value in shipped["memo"].items()}
    made: Lark = Lark._load_from_dict(  # type: ignore[no-untyped-call]
        shipped["data"], memo, transformer=builder, postlex=_KeepStrays()
    )
    return made


def _digest() -> str:
    import hashlib

    return hashlib.sha256(grammar_text().encode()).hexdigest()
