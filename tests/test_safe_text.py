"""Text for a terminal and for a parser of JSON."""

from __future__ import annotations

import json
import math

import pytest

from nnspec.text import finite, printable, quoted, to_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Größe 10 µm", "Größe 10 µm"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc\0", "a\\nb\\tc\\x00"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("naïve\x07", "naïve\\x07"),
    ],
)
def test_only_what_a_terminal_obeys_or_hides_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_lines_may_be_kept() -> None:
    assert printable("a\n\tb\r\x1b", keep="\n\t") == "a\n\tb\\r\\x1b"


def test_a_quoted_string_is_one_that_a_spec_reads() -> None:
    assert quoted('a "b"\n') == '"a \\"b\\"\\n"'
    assert quoted("é") == '"é"'
    assert quoted("é\x1b") == '"\\u00e9\\u001b"'


def test_json_has_null_for_nan_and_infinity() -> None:
    record = {"a": math.nan, "b": [1.5, -math.inf, (math.inf, None, True)], "c": {"d": "é\ud800"}}
    text = to_json(record)
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a": None,
        "b": [1.5, None, [None, None, True]],
        "c": {"d": "é\ud800"},
    }
    assert text.isascii()
    assert "é" in to_json("é", ensure_ascii=False)
    assert (finite(None), finite(math.nan), finite(2.0)) == (None, None, 2.0)
