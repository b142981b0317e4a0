"""Fixes: put into a text, to a fixpoint, and only where they make it better."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from nnspec import api
from nnspec.diagnostics import Diagnostic, Edit, Fix, Source, Span
from nnspec.diagnostics.fixes import apply
from nnspec.project.fixing import MOST_ROUNDS, apply_fixes, difference, write


def finding(source: Source, start: int, end: int, text: str | None, safe: bool = True, **more: str) -> Diagnostic:
    fix = None if text is None else Fix(f"{start}", (Edit(Span(source, start, end), text),), safe)
    return Diagnostic("NN201", more.pop("message", "m"), Span(source, start, max(end, start + 1)), fix=fix, **more)  # type: ignore[arg-type]


def applied(text: str, *edits: tuple[int, int, str], unsafe: bool = False) -> str:
    source = Source("x.nn", text)
    return apply(source, [finding(source, *edit) for edit in edits], unsafe)


def test_edits_are_put_in_whatever_their_lengths_and_order() -> None:
    assert applied("abcdef", (4, 5, "five"), (0, 1, ""), (2, 2, "-")) == "b-cdfivef"
    assert applied("abc") == "abc"


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([(0, 2, "X"), (1, 3, "Y")], "Xcdef"),
        ([(1, 3, "Y"), (0, 2, "X")], "Xcdef"),  # the first in the text, not the first told
        ([(0, 4, "X"), (1, 2, "Y")], "Xef"),
        ([(2, 2, "X"), (2, 2, "Y")], "abXcdef"),
        ([(0, 2, "X"), (2, 3, "Y")], "Xcdef"),  # touching: the next round takes it
        ([(0, 2, "X"), (3, 4, "Y")], "XcYef"),
    ],
)
def test_of_those_that_overlap_the_first_wins(edits: list[tuple[int, int, str]], expected: str) -> None:
    assert applied("abcdef", *edits) == expected


def test_a_fix_is_taken_whole_or_not_at_all_and_in_its_own_text_only() -> None:
    source, other = Source("x.nn", "abcdef"), Source("y.nn", "abcdef")
    two = Fix("two", (Edit(Span(source, 1, 2), "X"), Edit(Span(source, 4, 5), "Y")), safe=True)
    across = Fix("across", (Edit(Span(source, 0, 1), "X"), Edit(Span(other, 0, 1), "Y")), safe=True)
    first = finding(source, 4, 5, "first")
    assert apply(source, [Diagnostic("NN201", "m", Span(source, 1, 2), fix=two)]) == "aXcdYf"
    assert apply(source, [first, Diagnostic("NN201", "m", Span(source, 5, 6), fix=two)]) == "abcdfirstf"
    assert apply(source, [Diagnostic("NN201", "m", Span(source, 0, 1), fix=across)]) == "abcdef"
    assert apply(source, [Diagnostic("NN201", "m", Span(source, 0, 1), fix=Fix("", (), safe=True))]) == "abcdef"


def test_unsafe_ones_are_taken_on_demand() -> None:
    source = Source("x.nn", "abc")
    found = [finding(source, 0, 1, "X", safe=False)]
    assert apply(source, found) == "abc"
    assert apply(source, found, unsafe=True) == "Xbc"


# To a fixpoint. The language of these tests: each capital is an error, and `rules` says what it is replaced by.


def checker(rules: dict[str, str | None]) -> Callable[[Source], Sequence[Diagnostic]]:
    def check(source: Source) -> list[Diagnostic]:
        capitals = re.finditer("[A-Z]", source.text)
        return [finding(source, m.start(), m.end(), rules.get(m[0]), message=m[0]) for m in capitals]

    return check


def fixed(text: str, rules: dict[str, str | None]) -> tuple[str, int]:
    check = checker(rules)
    source = Source("x.nn", text)
    result = apply_fixes(source, check(source), check)
    assert [d.message for d in result.diagnostics] == [d.message for d in check(result.source)]
    return result.source.text, len(result.applied)


def test_a_fix_may_need_a_second_round() -> None:
    assert fixed("AAb", {"A": "a"}) == ("aab", 2)


def test_a_fix_that_brings_an_error_is_dropped_and_the_others_are_kept() -> None:
    assert fixed("A b C d", {"A": "a", "C": "X"}) == ("a b C d", 1)
    assert fixed("C", {"C": "CC"}) == ("C", 0)


def test_nothing_is_changed_where_the_number_of_errors_does_not_fall() -> None:
    assert fixed("A", {"A": "A"}) == ("A", 0)
    assert fixed("A B", {"A": "B", "B": "A"}) == ("A B", 0)


def test_two_fixes_that_undo_each_other_end() -> None:
    calls = 0

    def check(source: Source) -> list[Diagnostic]:
        nonlocal calls
        calls += 1
        return [finding(source, 0, 1, "b" if source.text == "a" else "a", severity="warning")]

    source = Source("x.nn", "a")
    assert apply_fixes(source, check(source), check).source is source
    assert calls <= MOST_ROUNDS + 1


def test_warnings_are_fixed_without_an_error_to_fix() -> None:
    def check(source: Source) -> list[Diagnostic]:
        return [finding(source, m.start(), m.end(), "", severity="warning") for m in re.finditer("w", source.text)]

    source = Source("x.nn", "awb")
    assert apply_fixes(source, check(source), check).source.text == "ab"


def test_what_is_pasted_from_a_word_processor_is_fixed() -> None:
    text = "data = Digits\nmodel { Linear(2 × 5) }\nloss = CrossEntropy\nrace “T” { SGD(lr=1e−1); Adam }\n"
    source = Source("x.nn", text)
    result = apply_fixes(source, api.check_text(source).diagnostics, lambda s: api.check_text(s).diagnostics)
    assert result.source.text == text.replace("×", "*").replace("“", '"').replace("”", '"').replace("−", "-")
    assert api.check_text(result.source).ok


# Files


def test_a_file_keeps_its_mode_its_mark_its_line_ends_and_its_link(tmp_path: Path) -> None:
    file, link = tmp_path / "real.nn", tmp_path / "link.nn"
    file.write_bytes(b"")
    file.chmod(0o751)
    link.symlink_to("real.nn")
    write(Source(str(link), "a\r\nb", tmp_path, bom=True))
    assert file.read_bytes() == b"\xef\xbb\xbfa\r\nb"
    assert file.stat().st_mode & 0o777 == 0o751
    assert link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link.nn", "real.nn"]


def test_a_difference_is_one_that_patch_reads() -> None:
    old, new = Source("x.nn", "a\nb\u2028c\nd"), Source("x.nn", "a\nB\u2028c\nd")
    assert difference(old, new) == (
        "--- x.nn\n+++ x.nn\n@@ -1,3 +1,3 @@\n a\n-b\u2028c\n+B\u2028c\n d\n\\ No newline at end of file\n"
    )
    assert difference(old, old) == ""
