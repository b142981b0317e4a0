"""The table of rules: a row that is wrong, missing or there twice fails at once, by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nnspec.checker import check, rules
from nnspec.checker.findings import Findings
from nnspec.checker.rules import registry
from nnspec.checker.rules.registry import SUBJECTS, Rule, advice, apply, rows, rule, verify
from nnspec.diagnostics import CODES, Diagnostic, Source, Span

TOP = Span(Source("x.nn", "data = Digits\n", Path()), 0, 4)


@pytest.fixture(autouse=True)
def scopes(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Rule]]:
    """The table, as a copy that a test may change."""
    copy = {scope: rows[:] for scope, rows in registry._RULES.items()}
    monkeypatch.setattr(registry, "_RULES", copy)
    return copy


def test_every_code_of_lint_has_one_rule() -> None:
    codes = [code for row in rows() for code in row.codes if code.startswith("NN7")]
    assert sorted(codes) == sorted(code for code in CODES if code.startswith("NN7") and code < "NN790")
    verify()


def test_a_rule_that_is_missing_is_named(scopes: dict[str, list[Rule]]) -> None:
    scopes["chain"] = [row for row in scopes["chain"] if "NN703" not in row.codes]
    with pytest.raises(TypeError, match="no rule for NN703"):
        verify()


def test_every_file_of_the_package_is_read() -> None:
    files = {path.stem for path in Path(rules.__path__[0]).glob("[a-z]*.py")}
    assert {row.check.__module__.rpartition(".")[2] for row in rows()} == files - {
        "registry",
        "subjects",
        "common",
    }


def anything(chain: Any) -> Iterator[Diagnostic]:
    """A rule."""
    yield advice("NN703", "planted", TOP)


def twice(chain: Any) -> Iterator[Diagnostic]:
    """Another rule."""
    yield advice("NN713", "planted", TOP)


def of_nothing() -> Iterator[Diagnostic]:
    """A rule that looks at nothing."""
    yield advice("NN703", "planted", TOP)


def of_two_scopes(chain: Any, experiment: Any) -> Iterator[Diagnostic]:
    """A rule whose subjects are not known at the same time."""
    yield advice("NN703", "planted", TOP)


@pytest.mark.parametrize(
    ("check", "codes", "message"),
    [
        (
            anything,
            ("NN703",),
            "rule test_rules.anything: already in the table: nnspec.checker.rules.layers.linear_twice",
        ),
        (anything, ("NN001",), "rule test_rules.anything: unknown codes in ('NN001',)"),
        (anything, (), "rule test_rules.anything: unknown codes in ()"),
        (of_nothing, ("NN302",), "rule test_rules.of_nothing: no scope has no parameters"),
        (of_two_scopes, ("NN302",), "rule test_rules.of_two_scopes: no scope has chain, experiment"),
    ],
)
def test_a_row_that_is_wrong_is_named(check: Any, codes: tuple[str, ...], message: str) -> None:
    with pytest.raises(TypeError) as error:
        rule(*codes)(check)
    assert str(error.value) == message


def test_a_function_is_in_the_table_once() -> None:
    rule("NN302")(anything)
    with pytest.raises(TypeError, match=r"already in the table: test_rules\.anything"):
        rule("NN303")(anything)


def test_a_rule_yields_only_the_codes_of_its_row() -> None:
    rule("NN302")(anything)
    with pytest.raises(TypeError, match="rule anything may not yield NN703"):
        apply("chain", {"chain": ()}, Findings())


def test_a_rule_is_called_where_everything_that_it_asks_for_is_known(scopes: dict[str, list[Rule]]) -> None:
    scopes["lane"].clear()
    seen = []

    def sees(train: Any, data: Any) -> Iterator[Diagnostic]:
        seen.append((train, data))
        yield Diagnostic("NN302", "planted", TOP)

    rule("NN302")(sees)
    findings = Findings()
    apply("lane", {"train": None, "data": 1}, findings)
    apply("lane", {"train": 2}, findings)
    assert (seen, findings.count) == ([], 0)
    apply("lane", {"train": 2, "data": 1}, findings)
    assert (seen, findings.count) == ([(2, 1)], 1)


def test_errors_come_first_and_some_rules_need_a_spec_without_errors(scopes: dict[str, list[Rule]]) -> None:
    scopes["chain"].clear()

    def last(chain: Any) -> Iterator[Diagnostic]:
        yield Diagnostic("NN204", "planted", TOP)

    rule("NN713")(twice)
    rule("NN204", unless_failed=True)(last)
    assert [row.codes for row in scopes["chain"]] == [("NN204",), ("NN713",)]
    good, failed = Findings(), Findings()
    failed.error("NN302", "an error", TOP)
    for findings in (good, failed):
        apply("chain", {"chain": ()}, findings)
    assert [d.code for d in good.diagnostics] == ["NN204", "NN713"]
    assert [d.code for d in failed.diagnostics] == ["NN302", "NN713"]


def test_every_subject_belongs_to_one_scope() -> None:
    subjects = [subject for scope in SUBJECTS.values() for subject in scope]
    assert len(set(subjects)) == len(subjects)


def test_a_new_rule_takes_part_in_check() -> None:
    text = "data = Digits\nmodel { Linear(8); ReLU; Linear(10) }\nloss = CrossEntropy\noptimizer = SGD(lr=0.1)\n"

    def too_narrow(chain: Any) -> Iterator[Diagnostic]:
        for node in chain:
            if node.geometry.out == (8,):
                yield Diagnostic("NN302", "planted", node.span)

    assert check(Source("x.nn", text, Path())).program is not None
    rule("NN302")(too_narrow)
    checked = check(Source("x.nn", text, Path()))
    assert checked.program is None
    assert [(d.code, d.span.text) for d in checked.diagnostics] == [("NN302", "Linear(8)"), ("NN302", "ReLU")]
