"""The cells of CSV text: how they are delimited, and which are quoted, missing, or numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from nnspec.data.source import FileFault
from nnspec.text import printable

__all__ = ["MISSING_WORDS", "Form", "Quoted", "in_words", "lines_of", "listed", "rows_of"]

MISSING_WORDS = ("?", "-", "NA", "N/A", "#N/A", "NaN", "null", "none", "missing")
"""Default words for a missing cell in a column of numbers, in upper or lower case."""
LONGEST_CELL = 131_072
_QUOTED = re.compile(r'"((?:[^"]|"")*)"|(\S+)')
_SIGNS = "%$€£¥"
_STYLES = ((".", None), (",", None), (".", ","), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'"))
"""Number formats, most common first: decimal separator and thousands separator."""

_DELIMITERS = (",", ";", "\t", "|")


class Quoted(str):
    """A quoted cell."""


@dataclass(frozen=True)
class Form:
    """The format of a table."""

    delimiter: str = ","
    """The character between cells; a space means any run of white space."""
    decimal: str = "."
    thousands: str | None = None
    strip: str = ""
    """Characters next to numbers that are ignored, such as `%`."""
    comment: str | None = None
    """Lines that begin with this are skipped."""
    missing_words: tuple[str, ...] | None = None
    """Words that mark a missing cell; None for `MISSING_WORDS`."""

    def number(self, cell: str) -> float | None:
        """Return the number in a cell, or None if it is not a number."""
        if self.strip:
            cell = cell.strip(f"{self.strip} \u00a0\u202f")
        if self.thousands is not None or self.decimal != ".":
            if not _pattern(self.decimal, self.thousands or "").fullmatch(cell):
                return None
            cell = _plain(cell, self.decimal, self.thousands)
        try:
            return None if "_" in cell else float(cell)
        except ValueError:
            return None

    def is_word(self, cell: str) -> bool:
        """Return whether a cell is one of the words for a missing value, in upper or lower case."""
        return cell.lower() in _lowered(MISSING_WORDS if self.missing_words is None else self.missing_words)

    def is_missing(self, cell: str, *, numbers: bool, listed: bool = False) -> bool:
        """Return whether a cell of a column of numbers or text is missing; `listed` if it is in `categories`."""
        if not cell or numbers:
            return not cell or self.is_word(cell)
        return self.missing_words is not None and not (listed or isinstance(cell, Quoted)) and self.is_word(cell)

    def seen_in(self, line: str) -> Form:
        """Return the same form, with another delimiter if a line only has that one."""
        return self if self.delimiter in line else replace(self, delimiter=max(_DELIMITERS, key=line.count))

    def delimiter_hint(self, text: str) -> str:
        """Return a question whether a line has another delimiter; "" if none seems likely."""
        counts = {sign: text.count(sign) for sign in _DELIMITERS if sign != self.delimiter}
        best = max(counts, key=lambda sign: counts[sign])
        if not counts[best] and len(text.split()) > 1 and self.delimiter != " ":
            return 'is it `delimiter = " "`?'
        sign = "\\t" if best == "\t" else best
        return f'is it `delimiter = "{sign}"`?' if counts[best] else ""

    def otherwise(self, cells: Iterable[str]) -> list[str]:
        """Return the settings, in spec syntax, with each of which all of these cells are numbers."""
        texts = list(cells)
        signs = "".join(sign for sign in _SIGNS if any(sign in text for text in texts))
        found = []
        for decimal, thousands in _STYLES:
            form = Form(decimal=decimal, thousands=thousands, strip=self.strip + signs)
            if all(form.number(text) is not None for text in texts):
                words = [f'decimal = "{decimal}"'] if decimal != self.decimal else []
                words += [f'thousands = "{thousands}"'] if thousands and thousands != self.thousands else []
                words += [f'strip = "{form.strip}"'] if signs else []
                found.append(words)
        fewest = min(map(len, found), default=0)
        return [", ".join(words) for words in found if len(words) == fewest and words]


@lru_cache(maxsize=32)
def _pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    """Return the pattern of numbers in one format."""
    between = "[ \u00a0\u202f]" if thousands == " " else re.escape(thousands)
    whole = rf"(?:\d{{1,3}}(?:{between}\d{{3}})+|\d+)" if thousands else r"\d+"
    return re.compile(rf"[+-]?(?:{whole}(?:{re.escape(decimal)}\d*)?|{re.escape(decimal)}\d+)(?:[eE][+-]?\d+)?")


def _plain(cell: str, decimal: str, thousands: str | None) -> str:
    """Convert a number to Python's format."""
    for sign in (" ", "\u00a0", "\u202f") if thousands == " " else (thousands,) if thousands else ():
        cell = cell.replace(sign, "")
    return cell.replace(decimal, ".")


@lru_cache(maxsize=16)
def _lowered(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(word.lower() for word in words)


def in_words(text: str) -> str:
    """Format a cell or name for messages."""
    return printable(text if len(text) <= 40 else text[:39] + "…")


def listed(words: Sequence[str], most: int = 5) -> str:
    """Format cells or names for messages; if there are many, only the first ones."""
    return ", ".join(f"`{in_words(word)}`" for word in words[:most]) + (" …" if len(words) > most else "")


def lines_of(pieces: Iterable[str]) -> Iterator[str]:
    """Join the pieces of a text and yield its lines, without line endings."""
    rest: list[str] = []
    for piece in pieces:
        first, *more = piece.split("\n")
        rest.append(first)
        for line in more:
            yield "".join(rest)
            rest = [line]
    if last := "".join(rest):
        yield last


def rows_of(lines: Iterable[str], form: Form, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the stripped cells of each row with the number of its last line, skipping empty lines and comments.

    A cell may be quoted, with `""` for a quote inside. It may then contain delimiters and, unless the delimiter is
    white space, line breaks. Raises FileFault, which calls the file `name`.
    """
    numbered = enumerate(lines, 1)
    white = form.delimiter.isspace() and form.delimiter != "\t"
    for number, line in numbered:
        if not line.strip() or (form.comment and line.lstrip().startswith(form.comment)):
            continue
        if '"' in line:
            number, cells = _between_blanks(number, line, name) if white else _row(number, line, numbered, form, name)
        else:
            cells = line.split() if white else [cell.strip() for cell in line.split(form.delimiter)]
        if len(line) > LONGEST_CELL and any(len(cell) > LONGEST_CELL for cell in cells):
            raise _too_long(name, number)
        yield number, cells


def _between_blanks(number: int, line: str, name: str) -> tuple[int, list[str]]:
    cells: list[str] = []
    for quoted, plain in _QUOTED.findall(line):
        if plain.startswith('"'):
            raise FileFault(f"{name}, line {number:,}: a quoted cell has no closing quote")
        cells.append(plain or Quoted(quoted.replace('""', '"')))
    return number, cells


def _row(number: int, line: str, numbered: Iterator[tuple[int, str]], form: Form, name: str) -> tuple[int, list[str]]:
    """Split a line that contains quotes, and the lines that a quoted cell continues on."""
    cells: list[str] = []
    at = 0
    while True:
        start = at
        while line[start : start + 1].isspace() and line[start] != form.delimiter:
            start += 1
        if line[start : start + 1] == '"':
            parts, at, size = [], start + 1, 0
            while True:
                end = line.find('"', at)
                if end < 0:
                    parts += [line[at:], "\n"]
                    size += len(line) - at + 1
                    if size > LONGEST_CELL:
                        raise _too_long(name, number)
                    opened = number
                    number, line = next(numbered, (0, ""))
                    at = 0
                    if not number:
                        raise FileFault(f"{name}, line {opened:,}: a quoted cell has no closing quote")
                    continue
                parts.append(line[at:end])
                at = end + 1
                if line[at : at + 1] != '"':
                    break
                parts.append('"')
                at += 1
            cells.append(Quoted("".join(parts).strip()))
            end = line.find(form.delimiter, at)
            after = line[at:] if end < 0 else line[at:end]
            if after.strip():
                raise FileFault(
                    f"{name}, line {number:,}: `{in_words(after.strip())}` follows a closing quote",
                    help='write a quote inside a quoted cell twice: `""`',
                )
        else:
            end = line.find(form.delimiter, at)
            cells.append((line[at:] if end < 0 else line[at:end]).strip())
        if end < 0:
            return number, cells
        at = end + len(form.delimiter)


def _too_long(name: str, number: int) -> FileFault:
    return FileFault(f"{name}, line {number:,}: a cell is longer than {LONGEST_CELL:,} characters")
