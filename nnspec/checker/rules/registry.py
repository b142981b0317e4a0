"""The table of rules. A rule is a function that yields diagnostics:

    @rule("NN703")
    def linear_twice(chain: Chain) -> Iterator[Diagnostic]: ...

Its decorator names the codes that it may yield. Its parameters name what it looks at, and it is called where all of
these are known. `nnspec.checker.rules` imports every file of this package, so a new rule needs no line anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from nnspec.checker.findings import Findings
from nnspec.diagnostics import CODES, Diagnostic, Fix, Note, Span

__all__ = ["SUBJECTS", "Rule", "advice", "apply", "rule", "table", "verify"]

Check = Callable[..., Iterator[Diagnostic]]

SUBJECTS: dict[str, tuple[str, ...]] = {
    "settings": ("settled",),
    "lane": ("draft", "data", "layers", "loss", "optimizer", "metrics", "train", "target", "evaluator", "recovery"),
    "chain": ("chain",),
    "experiment": ("experiment",),
    "spec": ("experiments", "result", "top"),
}
"""What rules may ask for, by scope: each rule looks at one scope.

    settings    all settings of the file, once every lane has been settled
    lane        the values of one lane, even if some of them are wrong
    chain       layers that follow each other: a model, or a branch in it
    experiment  one lane without mistakes
    spec        the whole file: the experiments of all lanes that have one, and the result if every lane has
"""

_ABOUT_COMMENTS = ("NN790", "NN791")  # found by `ignores.py`, after all rules


@dataclass(frozen=True)
class Rule:
    """A row of the table."""

    codes: tuple[str, ...]
    """All that it may yield."""
    check: Check
    needs: tuple[str, ...]
    """The names of its parameters."""
    scope: str
    unless_failed: bool
    """Whether it applies only to a spec without errors, since it would repeat or misjudge what they are about."""


_RULES: dict[str, Rule] = {}


def rule(*codes: str, unless_failed: bool = False) -> Callable[[Check], Check]:
    """Enter a function in the table. Raises TypeError for a row that is wrong, naming it."""

    def enter(check: Check) -> Check:
        name = f"{check.__module__}.{check.__name__}"
        needs = check.__code__.co_varnames[: check.__code__.co_argcount]
        scopes = [scope for scope, subjects in SUBJECTS.items() if {*needs} <= {*subjects}]
        if not needs or not scopes:
            raise TypeError(f"rule {name}: no scope has {', '.join(needs) or 'no parameters'}")
        if not codes or not {*codes} <= CODES.keys():
            raise TypeError(f"rule {name}: unknown codes in {codes}")
        taken = [other for other, row in _RULES.items() if {c for c in codes if _is_lint(c)} & {*row.codes}]
        if name in _RULES or taken:
            raise TypeError(f"rule {name}: already in the table: {', '.join(taken) or name}")
        _RULES[name] = Rule(codes, check, needs, scopes[0], unless_failed)
        return check

    return enter


def verify() -> None:
    """Raise TypeError if a code of lint has no rule."""
    missing = {code for code in CODES if _is_lint(code)} - {code for row in _RULES.values() for code in row.codes}
    if missing:
        raise TypeError(f"no rule for {', '.join(sorted(missing))}")


def table(scope: str) -> list[Rule]:
    """Return the rules of a scope: errors before lint, and last those that apply only where nothing has failed."""
    rows = [row for row in _RULES.values() if row.scope == scope]
    return sorted(rows, key=lambda row: (any(map(_is_lint, row.codes)), row.unless_failed))


def apply(scope: str, subjects: Mapping[str, object], findings: Findings) -> None:
    """Apply the rules of a scope whose subjects are known, that is, not None."""
    for row in table(scope):
        if row.unless_failed and findings.failed:
            continue
        arguments = [subjects.get(name) for name in row.needs]
        if any(argument is None for argument in arguments):
            continue
        for diagnostic in row.check(*arguments):
            if diagnostic.code not in row.codes:
                raise TypeError(f"rule {row.check.__name__} may not yield {diagnostic.code}")
            findings.add(diagnostic)


def advice(
    code: str, message: str, span: Span, help: str = "", notes: tuple[Note, ...] = (), fix: Fix | None = None
) -> Diagnostic:
    """Return a warning: what is legal, and probably not intended."""
    return Diagnostic(code, message, span, help=help, notes=notes, severity="warning", fix=fix)


def _is_lint(code: str) -> bool:
    return code.startswith("NN7") and code not in _ABOUT_COMMENTS
