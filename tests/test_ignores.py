"""Comments that silence lint, and findings about those that do not."""

from __future__ import annotations

from pathlib import Path

import pytest

import nnspec
from nnspec.checker import check
from nnspec.checker.ignores import silence
from nnspec.diagnostics import Diagnostic, Source, Span
from nnspec.diagnostics.fixes import apply

SPEC = """\
seed = 1
data = Digits
model {{
    Linear(16)
    ReLU
    {before}
    Linear(20){after}
}}
loss = CrossEntropy
optimizer = SGD(lr=0.1)
"""
"""With more outputs than classes, which is NN701."""


def found(before: str = "", after: str = "", *flags: str) -> list[tuple[str, str]]:
    source = Source("x.nn", SPEC.format(before=before, after=after))
    checked = check(source, [Source("--set", flag) for flag in flags])
    return [(d.code, d.span.text) for d in checked.diagnostics]


LINT = ("NN701", "Linear(20)")
NOTHING = "# nn: ignore"
CASES: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("", "", [LINT]),
    ("", "  # nn: ignore[NN701]", []),
    ("", "#nn:ignore[ NN701 ,]  because it is an example", []),
    ("# nn: ignore[NN701]", "", []),
    ("# nn: ignore[NN701]\n    # why", "", []),
    ("# why\n    # nn: ignore[NN701]", "", []),
    ("# nn: ignore[NN701]\n", "", [("NN790", "# nn: ignore[NN701]"), LINT]),
    ("# nn: ignore[NN701]", "  # nn: ignore[NN701]", []),
    ("Tanh  # nn: ignore[NN701]", "", [("NN790", "# nn: ignore[NN701]"), LINT]),
    ("", "  # nn: ignore[NN701, NN703]", [("NN790", "NN703")]),
    ("", "  # nn: ignore[NN703, NN701, NN704]", [("NN790", "NN703, NN701, NN704")]),
    ("", "  # nn: ignore[NN703, NN704]", [LINT, ("NN790", "# nn: ignore[NN703, NN704]")]),
    ("", "  # nn: ignore", [LINT, ("NN791", NOTHING)]),
    ("", "  # nn: ignore[]", [LINT, ("NN791", "# nn: ignore[]")]),
    ("", "  # nn: ignore[NN701", [LINT, ("NN791", "# nn: ignore[NN701")]),
    ("", "  # nn: ignore[NN999]", [LINT, ("NN791", "NN999")]),
    ("", "  # nn: ignore[NN401, NN701]", [("NN791", "NN401")]),
    ("", "  # nn: ignore[NN790, NN701]", [("NN791", "NN790")]),
    ("", "  # nn: ignored", [LINT]),
    ("", "  # the nn: ignore[NN701]", [LINT]),
]


@pytest.mark.parametrize(("before", "after", "expected"), CASES)
def test_comments_and_what_is_left(before: str, after: str, expected: list[tuple[str, str]]) -> None:
    assert found(before, after) == expected


def test_a_string_is_not_a_comment() -> None:
    text = SPEC.format(before="", after="").replace("optimizer = SGD(lr=0.1)", 'race "# nn: ignore[NN701]" { SGD }')
    assert [d.code for d in check(Source("x.nn", text)).diagnostics if d.code[:3] == "NN7"] == ["NN701"]


def test_an_unused_comment_is_not_reported_if_the_checker_did_not_finish() -> None:
    comment = "  # nn: ignore[NN703]"
    assert ("NN790", comment.strip()) in found("", comment)
    assert "NN790" not in dict(found("Lineer(3)", comment))
    assert "NN790" not in dict(found("", comment, "seed=2"))
    imported = check(Source("x.nn", f"model {{\n    Linear(8)\n    Linear(8){comment}\n}}\n"))
    assert "NN790" not in [d.code for d in imported.diagnostics]


def test_errors_are_never_silenced() -> None:
    assert ("NN201", "Lineer") in found("Lineer(3)  # nn: ignore[NN201]")


def test_a_comment_holds_for_its_own_file_and_is_judged_there(tmp_path: Path) -> None:
    (tmp_path / "model.nn").write_text("model {\n    Linear(20)  # nn: ignore[NN701]\n    # nn: ignore[NN703]\n}\n")
    main = tmp_path / "main.nn"
    rest = 'import "model.nn"\nseed = 1\ndata = Digits\nloss = CrossEntropy\noptimizer = SGD\n'
    main.write_text(rest + "# nn: ignore[NN701]\ntrain { epochs = 1 }\n")
    assert [(d.code, Path(d.span.source.name).name) for d in nnspec.check(main).diagnostics] == [("NN790", "main.nn")]


def test_the_same_line_of_another_file_is_not_silenced() -> None:
    here, there = Source("a.nn", "x  # nn: ignore[NN701]"), Source("b.nn", "x")
    lint = [Diagnostic("NN701", "m", Span(source, 0, 1), severity="warning") for source in (here, there)]
    assert silence(lint, [there, here]) == (lint[1],)


REMOVED = [
    ("    Linear(20)  # nn: ignore[NN703]\n", "    Linear(20)\n"),
    ("    # nn: ignore[NN703]\n    Linear(20)\n", "    Linear(20)\n"),
    ("    Linear(20)  # nn: ignore[NN703] why\n", "    Linear(20)\n"),
    ("    Linear(20)  # nn: ignore[NN703,NN701 , NN704] why\n", "    Linear(20)  # nn: ignore[NN701] why\n"),
    ("    Linear(20)\n} # nn: ignore[NN703]", "    Linear(20)\n}"),
    ("    Linear(20)\r\n    # nn: ignore[NN703]\r\n}", "    Linear(20)\r\n}"),
]


@pytest.mark.parametrize(("text", "expected"), REMOVED)
def test_what_is_not_needed_can_be_taken_out(text: str, expected: str) -> None:
    start = "seed = 1; data = Digits; loss = CrossEntropy; optimizer = SGD\nmodel {\n"
    end = "" if "}" in text else "}\n"
    source = Source("x.nn", start + text + end)
    unneeded = [d for d in check(source).diagnostics if d.code == "NN790"]
    assert apply(source, unneeded) == start + expected + end


def test_a_misspelt_code_can_be_replaced_on_demand() -> None:
    source = Source("x.nn", SPEC.format(before="", after="  # nn: ignore[N701]"))
    wrong = [d for d in check(source).diagnostics if d.code == "NN791"]
    assert "did you mean `NN701`?" in [d.help for d in wrong]
    assert apply(source, wrong) == source.text
    assert "ignore[NN701]" in apply(source, wrong, unsafe=True)
