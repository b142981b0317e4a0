"""What docs/statistics.md says of false alarms and power, simulated again at a small size."""

from __future__ import annotations

import math

import false_alarms
import pytest
from false_alarms import TABLES, published

from nnspec.statistics.power import seeds_needed

REPEATS = {"equal": 25, "better": 25, "tuned": 25, "changes": 60, "bands": 80, "factors": 80, "profiles": 8}


@pytest.mark.parametrize("name", TABLES)
def test_the_published_figures_are_found_again(name: str) -> None:
    """Within 4.5 standard errors of the small simulation; medians and quantiles within 0.3."""
    simulate, many = TABLES[name]
    few = REPEATS[name]
    rows = published(name)
    table = simulate(few)
    assert list(rows) == [label for label, _ in table.rows]
    for label, numbers in table.rows:
        for column, number, shown in zip(table.columns, numbers, rows[label], strict=True):
            error = math.sqrt(max(shown * (1 - shown), 0.01) * (1 / few + 1 / many)) if table.repeats else 0.3 / 4.5
            assert abs(number - shown) < 4.5 * error + 0.005, (label, column)


def test_the_tests_raise_no_more_false_alarms_than_they_say() -> None:
    """The t-tests and Holm's correction at 5 %, within three standard errors of 2000 races."""
    for label, (two, five, *_) in published("equal").items():
        assert max(two, five) <= 0.065, label
    normal = {label: row[0] for label, row in published("changes").items() if label.startswith("normal")}
    assert max(normal.values()) <= 0.06
    between = {label: row[3] for label, row in published("tuned").items() if label.startswith("equal")}
    assert max(between.values()) <= 0.07


def test_the_numbers_of_seeds_of_the_page() -> None:
    """Two lanes whose seeds are independent: their differences have √2 times the deviation of one."""
    page = " ".join(false_alarms.PAGE.read_text(encoding="utf-8").split())
    two, one = (seeds_needed(size, math.sqrt(2), paired=True) for size in (2, 1))
    assert f"two standard deviations takes about **{two} seeds**" in page
    assert f"a difference of one about **{one}**" in page


def test_a_page_without_a_table_is_a_mistake() -> None:
    with pytest.raises(LookupError, match=r"statistics\.md has no table nothing"):
        false_alarms.published("nothing")
