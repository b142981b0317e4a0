"""Many cases in one test.

pytest spends some milliseconds on each test: with thousands of small ones, more than what they test takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

__all__ = ["case", "cases"]


@contextmanager
def case(**values: Any) -> Iterator[None]:
    """Name the case in which a test fails."""
    try:
        yield
    except Exception as error:
        error.add_note("in the case " + ", ".join(f"{name}={value!s:.80}" for name, value in values.items()))
        raise


def cases(**groups: dict[str, Iterable[Any]]) -> Callable[[Callable[..., None]], Callable[[str], None]]:
    """Make one test of each group of cases, whose keyword is an argument of the test.

    All cases of a group are tried, and those that fail are reported together, each with its name.
    """
    ((argument, values),) = groups.items()

    def decorate(test: Callable[..., None]) -> Callable[[str], None]:
        @pytest.mark.parametrize("group", values)
        def test_group(group: str) -> None:
            failures = []
            for value in values[group]:
                try:
                    with case(**{argument: value}):
                        test(**{argument: value})
                except Exception as error:  # noqa: BLE001  (raised below)
                    failures.append(error)
            if failures:
                raise ExceptionGroup(f"{len(failures)} of the cases of {group}", failures)

        test_group.__name__, test_group.__doc__, test_group.__module__ = test.__name__, test.__doc__, test.__module__
        return test_group

    return decorate
