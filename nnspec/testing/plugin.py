"""A pytest plugin, for those who ask for it: `pytest -p nnspec.testing.plugin --conform my_package`.

It adds the checks of a package to the tests, and their counts to the summary. Without `--conform` it does nothing.
"""

from __future__ import annotations

import pytest

from nnspec.testing.check import Check, checks

__all__: list[str] = []

_ADDED = pytest.StashKey[set[str]]()
"""The tests that were added."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--conform` and `--conform-at-least`."""
    group = parser.getgroup("nnspec")
    group.addoption("--conform", action="append", default=[], metavar="PACKAGE", help="Check the parts of a package.")
    group.addoption(
        "--conform-at-least", type=int, default=0, metavar="N", help="Fail if fewer checks of parts are collected."
    )


class ConformanceItem(pytest.Item):
    """A check as a test."""

    check: Check

    def runtest(self) -> None:
        """Run it."""
        self.check()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """Describe a failure as `nnspec conform` does."""
        from nnspec.testing.conform import described

        return "\n".join([self.check.rule.promise, *described(excinfo.value)])

    def reportinfo(self) -> tuple[str, None, str]:
        """Name the part, for the summary."""
        return self.check.part.__module__, None, str(self.check)


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add a test for each check. Raises UsageError if there are fewer than there must be."""
    packages = config.getoption("--conform")
    if not packages:
        return
    found = checks(*packages)
    least = config.getoption("--conform-at-least")
    if len(found) < least:
        raise pytest.UsageError(f"{len(found)} checks are fewer than the {least} of --conform-at-least")
    for check in found:
        item = ConformanceItem.from_parent(session, name=f"conform {check}")
        item.check = check
        items.append(item)
        config.stash.setdefault(_ADDED, set()).add(item.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print how many checks ran."""
    packages, added = config.getoption("--conform"), config.stash.get(_ADDED, set())
    if packages:
        counts = {
            status: sum(report.nodeid in added for report in terminalreporter.stats.get(status, ()))
            for status in ("passed", "failed", "skipped")
        }
        words = ", ".join(f"{count} {status}" for status, count in counts.items())
        terminalreporter.write_line(f"checks of {', '.join(packages)}: {words}")
