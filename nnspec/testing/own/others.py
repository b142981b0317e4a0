"""Schedules, and other parts, with arguments that cannot be made up; no samples for those that need files."""

from __future__ import annotations

from typing import Any

from nnspec.engine.schedules import ConstantSchedule, LinearSchedule

__all__ = ["EXAMPLES"]

EXAMPLES: dict[str, tuple[dict[str, Any], ...]] = {
    "chain": (
        {"schedules": (ConstantSchedule(0.1, warmup=1), LinearSchedule(0.2)), "at": (4,)},
        {"schedules": (ConstantSchedule(0.1),), "at": ()},
    ),
    "constant": ({"start": 0.1, "warmup": 3}, {"start": 0.1, "warmup": 3, "staircase": True}),
    "piecewise": (
        {"start": 0.1, "boundaries": (2, 4), "values": (0.05, 0.01)},
        {"start": 0.1, "boundaries": (4.5,), "values": (0.05,)},
    ),
    "plateau": ({"start": 0.1, "patience": 2}, {"start": 0.1, "patience": 2, "warmup": 1}),
    "step": ({"start": 0.1, "every": 2}, {"start": 0.1, "every": 2, "warmup": 1}),
    "fixed": ({"mean": 1.0, "deviation": 2.0}, {"mean": (1.0, -1.0), "deviation": 2.0}),
    "jitter": ({"brightness": 0.4, "contrast": 0.3},),
    "Given": (),
    "IDX": (),
    "Images": (),
}
