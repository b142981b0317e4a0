"""The conformance kit: nnspec's own parts pass it, and it finds the errors in others."""

from __future__ import annotations

import pytest

from nnspec.engine.part import PARTS
from nnspec.testing import Check, checks
from nnspec.testing.check import RULES

OWN = checks("nnspec.engine", "nnspec.data")


@pytest.mark.parametrize("check", OWN, ids=str)
def test_own_parts_conform(check: Check) -> None:
    check()


def test_every_part_of_a_kind_with_rules_is_checked() -> None:
    own = {cls for kind in RULES for cls in PARTS[kind].values() if cls.__module__.startswith("nnspec.")}
    assert {check.part for check in OWN} == own
    without = {check.part.spec_name for check in OWN if not check.samples}
    assert without == {"CSV", "NPZ", "NPY", "Text", "IDX", "Images", "Given"}  # sources of a user's own data
    assert len(OWN) >= 1580
    assert not any(check.part.expected_failures for check in OWN)
