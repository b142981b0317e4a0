"""The table of rules. A rule is a function that yields diagnostics:

    @rule("NN703")
    def linear_twice(chain: Chain) -> Iterator[Diagnostic]: ...

Its decorator names the codes that it may yield. Its parameters name its subjects, and it is called if all of them are
known. `nnspec.checker.rules` imports every file of this package, so a new rule is registered nowhere else.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from nnspec.checker.findings import Findings
from nnspec.diagnostics import CODES, Diagnostic, Fix, Note, Span

__all__ = ["SUBJECTS", "Rule", "advice", "apply", "rows", "rule", "verify"]

Check = Callable[..., Iterator[Diagnostic]]

SUBJECTS: dict[str, tuple[str, ...]] = {
    "settings": ("settled",),
    "lane": ("draft", "data", "layers", "loss", "optimizer", "metrics", "train", "target", "evaluator", "recovery"),
    "chain": ("chain",),
    "experiment": ("experiment",),
    "spec": ("experiments", "result", "top"),
}
"""The subjects of rules by scope; each rule belongs to one scope.

    settings    all settings of the file, once every lane has been settled
    lane        the values of one lane, even if some of them are wrong
    chain       consecutive layers: a model, or a branch in it
    experiment  one lane without errors
    spec        the whole file: the experiments of all lanes that have one, and the result if every lane has
"""

_ABOUT_COMMENTS = ("NN790", "NN791")  # reported by `ignores.py`, after all rules


@dataclass(frozen=True)
class Rule:
    """A row of the table."""

    codes: tuple[str, ...]
    """The codes that it may yield."""
    check: Check
    needs: tuple[str, ...]
    """The names of its parameters."""
    scope: str
    unless_failed: bool
    """Whether it applies only to specs without errors, which could make it repeat them or be wrong."""

    @property
    def name(self) -> str:
        """The full name of its function."""
        return f"{self.check.__module__}.{self.check.__name__}"

    @property
    def place(self) -> tuple[bool, bool]:
        """The order of rules: errors, lint, then rules that apply only to specs without errors."""
        return any(map(_is_lint, self.codes)), self.unless_failed


_RULES: dict[str, list[Rule]] = {scope: [] for scope in SUBJECTS}


def rule(*codes: str, unless_failed: bool = False) -> Callable[[Check], Check]:
    """Add a function to the table. Raises TypeError, with the name of the rule, if the row is invalid."""

    def enter(check: Check) -> Check:
        name = f"{check.__module__}.{check.__name__}"
        needs = check.__code__.co_varnames[: check.__code__.co_argcount]
        scopes = [scope for scope, subjects in SUBJECTS.items() if {*needs} <= {*subjects}]
        if not needs or not scopes:
            raise TypeError(f"rule {name}: no scope has {', '.join(needs) or 'no parameters'}")
        if not codes or not {*codes} <= CODES.keys():
            raise TypeError(f"rule {name}: unknown codes in {codes}")
        lint = {code for code in codes if _is_lint(code)}
        taken = [row.name for row in rows() if row.name == name or lint & {*row.codes}]
        if taken:
            raise TypeError(f"rule {name}: already in the table: {', '.join(taken)}")
        row = Rule(codes, check, needs, scopes[0], unless_failed)
        insort(_RULES[row.scope], row, key=lambda row: row.place)
        return check

    return enter


def verify() -> None:
    """Raise TypeError if a lint code has no rule."""
    missing = {code for code in CODES if _is_lint(code)} - {code for row in rows() for code in row.codes}
    if missing:
        raise TypeError(f"no rule for {', '.join(sorted(missing))}")


def rows() -> list[Rule]:
    """Return the whole table, in the order in which rules apply."""
    return [row for scope in _RULES.values() for row in scope]


def apply(scope: str, subjects: Mapping[str, object], findings: Findings) -> None:
    """Apply the rules of a scope whose subjects are all known (not None)."""
    for row in _RULES[scope]:
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
    """Return a warning about something legal but probably not intended."""
    return Diagnostic(code, message, span, help=help, notes=notes, severity="warning", fix=fix)


def _is_lint(code: str) -> bool:
    return code.startswith("NN7") and code not in _ABOUT_COMMENTS
