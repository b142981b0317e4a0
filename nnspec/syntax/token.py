"""Tokens and their positions."""

from __future__ import annotations

__all__ = ["Token"]


class Token(str):
    """A token: its text, the terminal of the grammar that it matches, and its position.

    Offsets are in code points; `line` and `column` count from 1. `start_pos` and `end_pos` are called as Lark's are.
    """

    __slots__ = ("column", "end_pos", "line", "start_pos", "type")

    type: str
    start_pos: int
    end_pos: int
    line: int
    column: int

    def __new__(cls, type: str, text: str, start_pos: int, line: int = 1, column: int = 1) -> Token:
        """Make a token that starts at an offset."""
        token = str.__new__(cls, text)
        token.type, token.start_pos, token.end_pos = type, start_pos, start_pos + len(text)
        token.line, token.column = line, column
        return token

    def update(self, type: str | None = None, value: str | None = None) -> Token:
        """Return a token at the same position with another type or text."""
        token = str.__new__(Token, self if value is None else value)
        token.type = self.type if type is None else type
        token.start_pos, token.end_pos, token.line, token.column = self.start_pos, self.end_pos, self.line, self.column
        return token
