"""What is found in small specs: codes with the exact characters that they point at."""

from __future__ import annotations

from pathlib import Path

from nnspec.checker import check
from nnspec.checker.program import Program
from nnspec.diagnostics import Diagnostic, Source

ROOT = Path(__file__).resolve().parents[1]
RACE = (ROOT / "specs" / "race.nn").read_text(encoding="utf-8")

BASE = """\
data = Digits
model {
    Linear(16)
    ReLU
    Linear(10)
}
loss = CrossEntropy
optimizer = SGD(lr=0.1)
"""
"""A spec without findings."""


def base(old: str = "", new: str = "", *, more: str = "") -> str:
    """Return the base with `old`, which occurs once, replaced by `new`, and `more` appended."""
    assert not old or BASE.count(old) == 1, old
    return (BASE.replace(old, new) if old else BASE) + more


def everything(text: str, *flags: str) -> tuple[Diagnostic, ...]:
    """Check a text, advice included. Whatever has no program has an error."""
    checked = check(Source("x.nn", text), [Source("--set", flag) for flag in flags])
    errors = [d for d in checked.diagnostics if d.severity == "error"]
    assert (checked.program is None) == bool(errors)
    return checked.diagnostics


def diagnose(text: str, *flags: str) -> tuple[Diagnostic, ...]:
    """Check a text, and return its errors."""
    return tuple(d for d in everything(text, *flags) if d.severity == "error")


def find(text: str, *flags: str) -> list[tuple[str, str]]:
    """Return the findings, as codes and the text that they point at."""
    return [(d.code, d.span.text) for d in diagnose(text, *flags)]


def only(text: str, *flags: str) -> Diagnostic:
    """Return the one finding of a text."""
    (found,) = diagnose(text, *flags)
    return found


def program(text: str, *flags: str) -> Program:
    """Return the program of a text without errors."""
    found = check(Source("x.nn", text), [Source("--set", flag) for flag in flags])
    assert found.program is not None, found.diagnostics
    return found.program
