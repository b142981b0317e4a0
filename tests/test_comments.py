"""The positions of comments, as seen by the lexer, even in a text that does not parse."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnspec.diagnostics import Source
from nnspec.syntax.comments import comments
from nnspec.syntax.machine import lex


def found(text: str) -> list[tuple[int, str]]:
    return [(comment.span.start, comment.span.text) for comment in comments(Source("x.nn", text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("#", [(0, "#")]),
        ("# a\n#b \r\n#\r# c", [(0, "# a"), (4, "#b "), (9, "#"), (11, "# c")]),
        ("a = '#' # 'b'", [(8, "# 'b'")]),
        (r'"\"#" # "', [(6, '# "')]),
        (r"'\\' # a", [(5, "# a")]),
        ("'# open\n# a", [(8, "# a")]),
        ('"a\\" # "', []),
        ('"a\\" # b', []),
        ("\"'# a\" # '", [(7, "# '")]),
        ("} ] ) § # a", [(8, "# a")]),
        ("# a\u2028\x0b\x85b", [(0, "# a\u2028\x0b\x85b")]),
    ],
)
def test_comments_are_found_outside_strings(text: str, expected: list[tuple[int, str]]) -> None:
    assert found(text) == expected


@given(st.text("\"\"''##\\\\ \n\ra\t=", max_size=40))
@settings(deadline=None, max_examples=500)
def test_the_lexer_sees_the_same(text: str) -> None:
    expected, end = [], 0
    for token in [*lex(text), None]:
        start = len(text) if token is None else token.start_pos
        gap = text[end:start]
        if "#" in gap:
            expected.append((end + gap.index("#"), gap[gap.index("#") :]))
        end = len(text) if token is None else token.end_pos
    assert found(text) == expected


def test_a_line_full_of_quotes_takes_no_time() -> None:
    assert found('"' + '\\"' * 200_000 + "#") == []
    assert found("'\"" * 200_000 + "\n#") == [(400_001, "#")]
