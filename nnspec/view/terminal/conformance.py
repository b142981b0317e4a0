"""`conform`: a table of parts with the counts of their checks, what failed, and why others did not run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnspec.testing import Conformance, Outcome
from nnspec.view.terminal.screen import Column, table

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_conformance"]


def print_conformance(conformance: Conformance, console: Console, at_least: int | None = None) -> None:
    """Print the table, the failures, the reasons, and the verdict; `at_least` is the number of checks that must run."""
    parts = conformance.by_part()
    rows = list(parts.values())
    good = [row.good for row in rows]
    console.print(
        table(
            [
                Column("", ["✓" if g else "✗" for g in good], 0, styles=["green" if g else "bold red" for g in good]),
                Column("part", [part.spec_name for part in parts], 0),
                Column("kind", [part.kind for part in parts], 1),
                Column("passed", [_number(row.count("passed")) for row in rows], 0, right=True),
                Column("failed", [_number(row.count("failed", "unexpected")) for row in rows], 0, right=True),
                Column("expected to fail", [_number(row.count("expected")) for row in rows], 2, right=True),
                Column("skipped", [_number(row.count("skipped")) for row in rows], 3, right=True),
            ],
            console.width,
        )
    )
    console.print()
    for outcome in conformance.outcomes:
        if not outcome.good:
            console.print(f"✗ {outcome.check}", style="bold red", soft_wrap=True)
            if promise := outcome.check.rule.promise:
                console.print(f"  {promise}", style="dim", soft_wrap=True)
            for line in outcome.reason.splitlines():
                console.print(f"  {line}", soft_wrap=True)
            console.print()
    for title, status in (("expected to fail", "expected"), ("skipped", "skipped")):
        for reason, names in _grouped(conformance, status):
            console.print(f"{title}: {reason} ({', '.join(names)})", style="dim", soft_wrap=True)
    mark, style = ("✓", "green") if conformance.good else ("✗", "bold red")
    console.print(f"{mark} {_verdict(conformance)}", style=style, soft_wrap=True)
    if at_least is not None and conformance.ran < at_least:
        console.print(
            f"✗ {conformance.ran} checks ran, fewer than the {at_least} of --at-least", style="bold red", soft_wrap=True
        )


def _number(count: int) -> str:
    return str(count) if count else ""


def _grouped(conformance: Conformance, status: str) -> Iterator[tuple[str, list[str]]]:
    """Yield every reason with the checks that it holds for."""
    reasons: dict[str, list[Outcome]] = {}
    for outcome in conformance.outcomes:
        if outcome.status == status:
            reasons.setdefault(outcome.reason.split("\n")[0], []).append(outcome)
    for reason, outcomes in reasons.items():
        names = [str(outcome.check) for outcome in outcomes]
        yield reason, names[:3] + ([f"{len(names) - 3} more"] if len(names) > 3 else [])


def _verdict(conformance: Conformance) -> str:
    failed, expected = conformance.count("failed", "unexpected"), conformance.count("expected")
    words = [f"{conformance.ran} checks ran", f"{failed} failed"]
    words += [f"{expected} failed as expected"] if expected else []
    return ", ".join([*words, f"{conformance.count('skipped')} skipped"])
