"""Choosing the best of several lanes, by the same rule for every command."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nnspec.engine.metrics.contract import higher_is_better

__all__ = ["Candidate", "Choice", "NoChoice", "best", "ranked"]

_PREFIXES = ("val_", "test_")


class NoChoice(ValueError):
    """Candidates that cannot be compared. The message says why."""


@dataclass(frozen=True)
class Candidate:
    """A lane to choose from: its loss in spec syntax, and its final figures by name (`val_loss`)."""

    name: str
    loss: str
    figures: Mapping[str, float] = field(default_factory=dict)
    ended_well: bool = True
    """Whether it neither diverged nor failed. A lane that did is only chosen if there is no other."""

    @classmethod
    def of_record(cls, lane: Mapping[str, Any]) -> Candidate:
        """Make a candidate from the entry of a lane in `summary.json`."""
        figures = {str(name): float(value) for name, value in lane["final"].items()}
        return cls(str(lane["name"]), str(lane["loss"]), figures, lane["status"] not in ("diverged", "failed"))


@dataclass(frozen=True)
class Choice:
    """The lane that was chosen, and why."""

    name: str
    figure: str = ""
    """The figure that decided; empty if there was only one lane."""
    value: float = math.nan
    among: int = 1
    """Number of lanes to choose from."""

    @property
    def by_test(self) -> bool:
        """Whether it was chosen by a test figure, which makes its test figures optimistic."""
        return self.figure.startswith("test_")

    @property
    def text(self) -> str:
        """Why it was chosen, in words; empty if there was only one lane."""
        if self.among == 1:
            return ""
        extreme = "highest" if higher_is_better(self.figure) else "lowest"
        return f"the {extreme} {self.figure} of {self.among} lanes"

    @property
    def remark(self) -> str:
        """A warning if the lane was chosen by test data; otherwise empty."""
        if not self.by_test:
            return ""
        return (
            f"{self.name} was chosen by {self.figure}, since there are no validation figures, so its test figures are "
            "optimistic; set `train.validation` to choose by validation samples"
        )


def best(candidates: Sequence[Candidate]) -> Choice:
    """Choose the best lane; of equal ones, the first.

    Lanes are compared by validation figures if all have them, else by test figures: by the loss if it is the same for
    all lanes, else by accuracy, else by the first metric that all of them have. Raises NoChoice if there are no
    candidates, or if they have no figure in common.
    """
    if not candidates:
        raise NoChoice("no lanes to choose from")
    candidates = [each for each in candidates if each.ended_well] or candidates
    if len(candidates) == 1:
        return Choice(candidates[0].name)
    figure = next(_common(candidates), None)
    if figure is None:
        raise NoChoice("the lanes have different losses and no metric in common")
    chosen = _in_order(candidates, figure)[0]
    return Choice(chosen.name, figure, chosen.figures[figure], len(candidates))


def ranked(candidates: Sequence[Candidate]) -> tuple[list[str], str]:
    """Return the names of lanes, best first, and the figure that `best` would choose by.

    Lanes that diverged, failed or have no figures come last. If lanes cannot be compared, the figure is empty, and they
    keep their order.
    """
    well = [each for each in candidates if each.ended_well and any(map(math.isfinite, each.figures.values()))]
    figure = next(_common(well), "") if well else ""
    first = _in_order(well, figure) if figure else well
    return [each.name for each in (*first, *(each for each in candidates if each not in well))], figure


def _in_order(candidates: Sequence[Candidate], figure: str) -> list[Candidate]:
    sign = -1.0 if higher_is_better(figure) else 1.0
    return sorted(candidates, key=lambda each: sign * each.figures[figure])


def _common(candidates: Sequence[Candidate]) -> Iterator[str]:
    """Yield the figures that all candidates can be compared by, in order of preference."""
    same_loss = len({each.loss for each in candidates}) == 1
    for prefix in _PREFIXES:
        shared = [
            name
            for name in candidates[0].figures
            if name.startswith(prefix) and all(math.isfinite(each.figures.get(name, math.nan)) for each in candidates)
        ]
        loss, accuracy = f"{prefix}loss", f"{prefix}accuracy"
        ranked = [loss] if same_loss else []
        ranked += [accuracy, *(name for name in shared if name not in (loss, accuracy))]
        yield from (name for name in ranked if name in shared)
