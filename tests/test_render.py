"""Diagnostics as text: what a person sees."""

from __future__ import annotations

import pytest
from findings import RACE, diagnose

from nnspec.checker import check
from nnspec.diagnostics import Diagnostic, Note, Source, Span, render, render_all

BROKEN = """\
seed = 42
data = MNIST(train=2000, test=500)
loss = CrossEntropy
optimizer = SGD

model {
    Linear(784, 64)
    ReLU
    Linear(64, 32)
    ReLU
    Linear(64, 10)
}
"""

SHAPE_ERROR = """\
error[NN401]: this Linear expects 64 features but got 32
  --> specs/race.nn:11:12
   |
 9 |     Linear(64, 32)
   |                -- 32 features from here
10 |     ReLU
11 |     Linear(64, 10)
   |            ^^ expected 64 here
   |
   = shapes: 784 → Linear 64 → ReLU 64 → Linear 32 → ReLU 32 → Linear ✗
   = help: `Linear(10)` accepts any input size"""


def at(text: str, part: str, name: str = "x.nn") -> Span:
    start = text.index(part)
    return Span(Source(name, text), start, start + len(part))


def excerpt(text: str, part: str, label: str = "") -> list[str]:
    """Return the lines of code and carets, without the margin."""
    lines = render(Diagnostic("NN101", "m", at(text, part), label=label)).splitlines()
    return [line.partition("|")[2].removeprefix(" ") for line in lines[3:]]


def test_a_shape_error_looks_as_designed() -> None:
    (found,) = check(Source("specs/race.nn", BROKEN)).diagnostics
    assert render(found) == SHAPE_ERROR


def test_the_explain_command_is_at_the_end_of_the_last_line() -> None:
    (found,) = check(Source("specs/race.nn", BROKEN)).diagnostics
    shown = render(found, hint=True)
    assert shown == f"{SHAPE_ERROR}            [nnspec explain NN401]"
    assert len(shown.splitlines()[-1]) == 80


@pytest.mark.parametrize(
    ("remarks", "help", "end"),
    [
        ((), "", ["  = see: nnspec explain NN101"]),
        (("a: b",), "", [f"  = a: b{' ' * 50}[nnspec explain NN101]"]),
        ((), "x" * 44, [f"  = help: {'x' * 44}    [nnspec explain NN101]"]),
        (("a: b",), "x" * 45, [f"  = a: b{' ' * 50}[nnspec explain NN101]", f"  = help: {'x' * 45}"]),
        ((), "x" * 45, [f"  = help: {'x' * 45}", "  = see: nnspec explain NN101"]),
    ],
)
def test_where_the_last_line_has_no_room_there_is_one_more(remarks: tuple[str, ...], help: str, end: list[str]) -> None:
    found = Diagnostic("NN101", "m", at("x", "x"), remarks=remarks, help=help)
    assert render(found, hint=True).splitlines()[6:] == end
    assert "nnspec explain" not in render(found)


def test_explain_is_mentioned_once_per_code() -> None:
    shown = render_all(diagnose("sede = 1\nepocs = 1\nmodel { Linear(10, bais=true) }\n"))
    assert [line.count("explain NN201") for line in shown.splitlines()].count(1) == 1
    assert shown.count("nnspec explain") == len({d.code for d in diagnose("sede = 1\nmodel { Linear(1, bais=1) }")})


def test_what_a_message_quotes_cannot_reach_the_terminal_either() -> None:
    found = Diagnostic("NN101", "a\x1bb", at("x", "x"), label="c\x1bd", remarks=("e\x1bf",), help="g\x1bh")
    shown = render(found)
    assert "\x1b" not in shown
    assert [shown.count(f"{a}\\x1b{b}") for a, b in ("ab", "cd", "ef", "gh")] == [1, 1, 1, 1]


def test_several_findings_stand_in_file_order_with_a_count_below() -> None:
    text = RACE.replace("seed", "sede").replace("Adam(lr", "Adam(rl")
    shown = render_all(list(reversed(diagnose(text))))
    assert shown.index("`sede`") < shown.index("`rl`")
    assert shown.endswith("\n\n2 errors in x.nn")


@pytest.mark.parametrize(
    ("severities", "names", "count"),
    [
        (["error"], ["a.nn"], "1 error in a.nn"),
        (["error", "error", "warning"], ["a.nn"] * 3, "2 errors and 1 warning in a.nn"),
        (["warning", "warning"], ["a.nn"] * 2, "2 warnings in a.nn"),
        (["error", "error"], ["a.nn", "b.nn"], "2 errors in 2 files"),
    ],
)
def test_the_last_line_counts(severities: list[str], names: list[str], count: str) -> None:
    found = [
        Diagnostic("NN101", "m", at("x", "x", name), severity=severity)  # type: ignore[arg-type]
        for severity, name in zip(severities, names, strict=True)
    ]
    assert render_all(found).splitlines()[-1] == count


@pytest.mark.parametrize(
    ("text", "part", "carets"),
    [
        ("a = bad", "bad", "    ^^^"),
        ("'日本' bad", "bad", "       ^^^"),
        ("'🙂🙂' bad", "bad", "       ^^^"),
        ("日本 = 1", "日本", "^^^^"),
        ("e\u0301e\u0301 bad", "bad", "   ^^^"),
        ("\ta\tbad", "bad", "         ^^^"),
        ("a\t= 1", "a\t=", "^^^^^^"),
        ("a = ", "", "^"),
    ],
)
def test_carets_stand_under_the_characters_however_wide_these_are(text: str, part: str, carets: str) -> None:
    assert excerpt(text, part)[1] == carets


def test_carets_at_the_end_of_a_line_are_after_it() -> None:
    text = "seed =\nx"
    shown = render(Diagnostic("NN101", "m", Span(Source("x.nn", text), 6, 7))).splitlines()
    assert shown[-2:] == ["1 | seed =", "  |       ^"]


def test_a_span_of_several_lines_is_marked_on_its_first() -> None:
    assert excerpt("f(1,\n  2)", "f(1,\n  2)") == ["f(1,", "^^^^"]


def test_control_characters_cannot_reach_the_terminal() -> None:
    text = "a = \x1b[31mred\x07\x9b\u202e bad"
    shown = render(Diagnostic("NN101", "m", at(text, "bad")))
    assert not any(ord(c) < 32 and c != "\n" for c in shown)
    assert not set(shown) & {"\x9b", "\u202e"}
    code, carets = shown.splitlines()[-2:]
    assert code.index("bad") == carets.index("^^^")


@pytest.mark.parametrize("text", ["x = '\x1b]0;pwned\x07'\n", "\x1b[2J = 1\n", "a\u202eb = 1\n", "\x9b31m\n"])
def test_what_the_checker_says_of_control_characters_holds_none(text: str) -> None:
    for color in (False, True):
        shown = render_all(diagnose(text), color=color)
        for code in ("\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[36m", *(f"\x1b[1;3{n}m" for n in range(8))):
            shown = shown.replace(code, "")
        assert all(c.isprintable() or c == "\n" for c in shown)


def test_long_lines_are_cut_and_what_is_beyond_is_named_by_its_column() -> None:
    near, far = "bad = " + "x" * 1000, "x" * 1000 + " bad"
    assert excerpt(near, "bad") == [near[:160] + "…", "^^^"]
    assert max(map(len, excerpt(near, "x" * 1000))) <= 161
    assert excerpt(far, "bad", "here")[1].strip() == "… column 1002: here"


def test_lines_between_two_marks_are_shown_or_elided() -> None:
    text = "\n".join(f"line{i}" for i in range(1, 13))

    def shown(first: str, second: str) -> list[str]:
        source = Source("x.nn", text)
        spans = [Span(source, text.index(w), text.index(w) + len(w)) for w in (first, second)]
        return render(Diagnostic("NN101", "m", spans[1], notes=(Note(spans[0], "n"),))).splitlines()[3:]

    assert [line.split("|")[0].strip() for line in shown("line2", "line5")] == ["2", "", "3", "4", "5", ""]
    assert shown("line2", "line7")[2] == "..."


def test_two_marks_on_a_line_stand_below_each_other_from_the_right() -> None:
    text = "lr = 1, lr = 2"
    source = Source("x.nn", text)
    found = Diagnostic("NN204", "m", Span(source, 8, 10), label="b", notes=(Note(Span(source, 0, 2), "a"),))
    assert render(found).splitlines()[-3:] == ["1 | lr = 1, lr = 2", "  |         ^^ b", "  | -- a"]


def test_a_note_in_another_text_has_its_own_excerpt() -> None:
    found = Diagnostic("NN204", "m", at("seed=4", "seed", "--set"), notes=(Note(at("a\nseed = 1", "seed"), "first"),))
    assert render(found).splitlines()[1:] == [
        " --> --set:1:1",
        "  |",
        "1 | seed=4",
        "  | ^^^^",
        " ::: x.nn:2:1",
        "  |",
        "2 | seed = 1",
        "  | ---- first",
    ]


def test_there_are_colours_only_where_they_are_asked_for() -> None:
    found = check(Source("specs/race.nn", BROKEN)).diagnostics
    plain, coloured = render_all(found), render_all(found, color=True)
    assert "\x1b" not in plain
    assert "\x1b[1;31merror[NN401]\x1b[0m" in coloured
    assert coloured.count("\x1b[0m") * 2 == coloured.count("\x1b[")
