"""Recognising a file of another format, such as CSV or Python, so that it gets one error instead of hundreds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from itertools import islice

from nnspec.checker.vocabulary import SECTIONS, SETTINGS
from nnspec.diagnostics import Diagnostic, Source, Span
from nnspec.text import quoted

__all__ = ["other_format"]

_SPEC = re.compile(
    rf"^[ \t]*(?:(?:{'|'.join({*SETTINGS, *SECTIONS})})\s*(?:[=.{{\"]|\w+\s*\{{)|let\s+\w|block\s+\w|import\s+[\"'])",
    re.MULTILINE,
)
"""Anything that only a spec has."""

_PYTHON = re.compile(
    r"^[ \t]*(?:import \w+(?:\.\w+)*(?: as \w+)?|from [\w.]+ import .+|(?:def \w+|class \w+).*:)[ \t]*$", re.MULTILINE
)
_YAML = re.compile(r"[ \t]*(?:#.*|-(?: .*)?|---|[\w.\"'-]+:(?: .*)?)")
_TOML_HEAD = re.compile(r"^\[[\w.\"-]+\][ \t]*$", re.MULTILINE)
_MARKUP = re.compile(r"\s*<[?!A-Za-z][^<>]*>")
_CALL = re.compile(r"[ \t]*\w+[ \t]*\(")
_NUMBER = re.compile(r"[+-]?\d[\d.,]*(?:[eE][+-]?\d+)?")
_DELIMITERS = ",;\t|"
_ROWS = 20
"""Number of lines that are examined."""


def other_format(source: Source, top: Span) -> Diagnostic | None:
    """Return an error about a file with errors that is not a spec at all; None if it may be one.

    Args:
        source: the file.
        top: its first word.
    """
    if len(_PYTHON.findall(source.text)) < 2 and _SPEC.search(source.text):
        return None
    what = next((what for what, test in _FORMATS if test(source.text)), None)
    if what is None:
        return None
    example: tuple[str, ...] = ()
    help = "to start from an example, run `nnspec new`"
    if what == _CSV:
        example, help = _reading(source)
    return Diagnostic("NN108", f"this is {what}, not a spec", top, remarks=example, help=help)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), (dict, list))
    except (ValueError, RecursionError):
        return False


def _is_toml(text: str) -> bool:
    import tomllib  # only needed here, and slow to import

    try:
        return bool(_TOML_HEAD.search(text) and tomllib.loads(text))
    except (ValueError, RecursionError):
        return False


def _is_yaml(text: str) -> bool:
    lines = _lines(text)
    return len(lines) > 1 and all(map(_YAML.fullmatch, lines))


def _is_table(text: str) -> bool:
    return len(_table(text)[1]) > 1 and not all(map(_CALL.match, _lines(text)))


_CSV = "a CSV file"
_FORMATS: tuple[tuple[str, Callable[[str], object]], ...] = (
    ("a Python script", lambda text: len(_PYTHON.findall(text)) > 1),
    ("a JSON file", _is_json),
    ("an XML or HTML file", _MARKUP.match),
    ("a TOML file", _is_toml),
    ("a YAML file", _is_yaml),
    (_CSV, _is_table),
)
"""What a file is, and how to tell."""


def _lines(text: str) -> list[str]:
    """Return the first lines that are not blank."""
    return list(islice((line for line in text.splitlines() if line.strip()), _ROWS))


def _table(text: str) -> tuple[str, Sequence[list[str]]]:
    """Return the delimiter and the first rows of a table; no rows if they have different numbers of cells."""
    import csv

    lines = _lines(text)
    for delimiter in _DELIMITERS:
        try:
            rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
        except csv.Error:
            continue
        if (
            rows
            and len(rows[0]) > 1
            and {*map(len, rows)} == {len(rows[0])}
            and not any("=" in cell for cell in rows[0])
        ):
            return delimiter, rows
    return "", ()


def _reading(source: Source) -> tuple[tuple[str, ...], str]:
    """Return the lines of a spec that reads a table and predicts its last column, and what to do with them."""
    delimiter, (header, first, *_) = _table(source.text)
    name = source.name.replace("\\", "/").rsplit("/", 1)[-1]
    if all(map(_NUMBER.fullmatch, map(str.strip, header))):
        return (), "to train on it, name its columns in the first line, and write a spec that reads it with `CSV`"
    target = header[-1].strip()
    outputs, loss = ("1", "MSE") if _NUMBER.fullmatch(first[-1].strip()) else ("data.classes", "CrossEntropy")
    how = "" if delimiter == "," else f", delimiter={quoted(delimiter)}"
    lines = (
        f"data = CSV({quoted(name)}, target={quoted(target)}{how})",
        f"model {{ Linear(32); ReLU; Linear({outputs}) }}",
        f"loss = {loss}",
        "optimizer = Adam",
        "train.standardise = true",
    )
    head = f"a spec that reads it, with {quoted(target)} as the column to predict:"
    return (head, *(f"    {line}" for line in lines)), "save these lines as a .nn file next to it"
