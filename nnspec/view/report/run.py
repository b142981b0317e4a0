"""The run that a report is about: its records, and what can be derived from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnspec.analysis.evaluate import Evaluation
from nnspec.compiler.proofs import Compiled
from nnspec.records.saved import SavedRun
from nnspec.view.palette import slots
from nnspec.view.wording.sweep import ranked_records

__all__ = ["ReportRun"]


@dataclass(frozen=True)
class ReportRun:
    """A run, its program and its evaluations."""

    saved: SavedRun
    compiled: Compiled | None
    """Its program; None if the spec no longer compiles."""
    why: str = ""
    """Why the spec does not compile."""
    evaluations: tuple[Evaluation, ...] = ()
    """The first network of each lane, evaluated on the test data."""
    unseen: str = ""
    """Why there are none."""

    @property
    def summary(self) -> Mapping[str, Any]:
        """The content of `summary.json`."""
        return self.saved.summary

    @property
    def ranked(self) -> list[Mapping[str, Any]]:
        """The records of the lanes, the best first."""
        return ranked_records(self.summary)[0]

    @property
    def slots(self) -> dict[str, int]:
        """The place in the palette of each lane that has one."""
        return slots({str(lane["name"]): _loss(lane) for lane in self.summary["lanes"]})

    @property
    def curves(self) -> Mapping[str, Mapping[str, Any]]:
        """The figures of each lane by epoch, as `history.json` holds them."""
        return self.saved.history


def _loss(lane: Mapping[str, Any]) -> float:
    loss = lane["final"].get("loss")
    return math.inf if loss is None or lane["status"] in ("diverged", "failed") else float(loss)
