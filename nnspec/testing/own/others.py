"""Schedules, and other parts, with arguments that cannot be made up; no samples for those that need files."""

from __future__ import annotations

from typing import Any

__all__ = ["EXAMPLES"]

EXAMPLES: dict[str, tuple[dict[str, Any], ...]] = {
    "piecewise": (
        {"start": 0.1, "boundaries": (2, 4), "values": (0.05, 0.01)},
        {"start": 0.1, "boundaries": (5,), "values": (0.05,)},
    ),
    "plateau": ({"start": 0.1, "patience": 2},),
    "Given": (),
    "IDX": (),
    "Images": (),
}
