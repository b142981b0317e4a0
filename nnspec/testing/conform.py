"""Run all checks of a package, and count them."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from nnspec.engine.part import Part
from nnspec.testing.check import Check, checks

__all__ = ["Conformance", "Outcome", "conform", "described", "run_check"]


@dataclass(frozen=True)
class Outcome:
    """What came of a check."""

    check: Check
    status: Literal["passed", "failed", "skipped", "expected", "unexpected"]
    """`expected` is a failure that the part expects, `unexpected` a pass where it expects a failure."""
    reason: str = ""
    """Why it was skipped, failed, or was expected to fail."""

    @property
    def good(self) -> bool:
        """Whether it counts as no failure."""
        return self.status not in ("failed", "unexpected")


@dataclass(frozen=True)
class Conformance:
    """The outcomes of all checks."""

    outcomes: tuple[Outcome, ...]

    @property
    def good(self) -> bool:
        """Whether no check failed, and none passed that was expected to fail."""
        return all(outcome.good for outcome in self.outcomes)

    def count(self, *statuses: str) -> int:
        """Return the number of checks with these statuses."""
        return sum(outcome.status in statuses for outcome in self.outcomes)

    @property
    def ran(self) -> int:
        """The number of checks that ran, whatever came of them."""
        return len(self.outcomes) - self.count("skipped")

    def by_part(self) -> dict[type[Part], Conformance]:
        """Return the outcomes of each part."""
        parts = dict.fromkeys(outcome.check.part for outcome in self.outcomes)
        return {part: Conformance(tuple(o for o in self.outcomes if o.check.part is part)) for part in parts}


def conform(*parts: type[Part] | str, report: Callable[[Outcome], None] = lambda outcome: None) -> Conformance:
    """Run all checks of parts, or of all parts in packages and modules. `report` is called after each.

    Raises ConformanceError if there are no parts, or if one has no samples.
    """

    def outcomes() -> Iterator[Outcome]:
        for check in checks(*parts):
            outcome = run_check(check)
            report(outcome)
            yield outcome

    return Conformance(tuple(outcomes()))


def run_check(check: Check) -> Outcome:
    """Run a check, and say what came of it."""
    expected = check.expected_failure
    try:
        check.run()
    except unittest.SkipTest as reason:
        return Outcome(check, "skipped", str(reason))
    except Exception as error:  # noqa: BLE001  (a part may fail in any way)
        return Outcome(check, "failed" if expected is None else "expected", expected or "\n".join(described(error)))
    if expected is not None:
        return Outcome(check, "unexpected", f"it passes; remove it from `expected_failures`: {expected}")
    return Outcome(check, "passed")


_MOST = 3
"""The number of samples of a check whose failures are described."""


def described(error: BaseException) -> Iterator[str]:
    """Describe what failed: the message, and the case."""
    errors: Sequence[BaseException] = error.exceptions if isinstance(error, ExceptionGroup) else [error]
    for each in errors[:_MOST]:
        kind = "" if isinstance(each, AssertionError) else f"{type(each).__name__}: "
        lines = [line for line in f"{kind}{each}".strip().splitlines() if line.strip()]
        yield from lines[:12]
        yield from (f"  {note}" for note in getattr(each, "__notes__", ()))
    if len(errors) > _MOST:
        yield f"and {len(errors) - _MOST} more"
