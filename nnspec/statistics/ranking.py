"""Which of several lanes is the best: one rule for every command that has to choose."""

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
    """A lane that may be chosen: its loss as a spec writes it, and its final figures by name (`val_loss`)."""

    name: str
    loss: str
    figures: Mapping[str, float] = field(default_factory=dict)
    ended_well: bool = True
    """Whether it neither diverged nor failed. One that did is chosen only where there is no other."""

    @classmethod
    def of_record(cls, lane: Mapping[str, Any]) -> Candidate:
        """Read what `summary.json` says of a lane."""
        figures = {str(name): float(value) for name, value in lane["final"].items()}
        return cls(str(lane["name"]), str(lane["loss"]), figures, lane["status"] not in ("diverged", "failed"))


@dataclass(frozen=True)
class Choice:
    """The lane that was chosen, and why."""

    name: str
    figure: str = ""
    """The figure that decided; empty where there was nothing to choose from."""
    value: float = math.nan
    among: int = 1
    """How many lanes there were."""

    @property
    def by_test(self) -> bool:
        """Whether a figure of the test data decided, which flatters the lane that it chose."""
        return self.figure.startswith("test_")

    @property
    def text(self) -> str:
        """Why it was chosen, in words; empty where there was nothing to choose from."""
        if self.among == 1:
            return ""
        extreme = "highest" if higher_is_better(self.figure) else "lowest"
        return f"the {extreme} {self.figure} of {self.among} lanes"

    @property
    def remark(self) -> str:
        """What is to be said of the choice where it was made by the test data; else empty."""
        if not self.by_test:
            return ""
        return (
            f"{self.name} was chosen by {self.figure}, since there are no validation figures, so its test figures are "
            "optimistic; set `train.validation` to choose by validation samples"
        )


def best(candidates: Sequence[Candidate]) -> Choice:
    """Choose the best of some lanes, the first of equals.

    Validation figures decide where all lanes have them, else test figures. Of either kind it is the loss, where all
    lanes have the same one; else accuracy, or the first metric that all of them have. Raises NoChoice for no
    candidates, and for lanes without a figure in common.
    """
    if not candidates:
        raise NoChoice("there are no lanes to choose from")
    candidates = [each for each in candidates if each.ended_well] or candidates
    if len(candidates) == 1:
        return Choice(candidates[0].name)
    figure = next(_common(candidates), None)
    if figure is None:
        raise NoChoice("the lanes have different losses and no metric in common")
    chosen = _in_order(candidates, figure)[0]
    return Choice(chosen.name, figure, chosen.figures[figure], len(candidates))


def ranked(candidates: Sequence[Candidate]) -> tuple[list[str], str]:
    """Return the names of lanes, the best first, and the figure that `best` would choose by.

    Lanes that diverged or failed, or have no figures, come last. Where nothing can be compared the figure is empty, and
    lanes stay in their order.
    """
    well = [each for each in candidates if each.ended_well and any(map(math.isfinite, each.figures.values()))]
    figure = next(_common(well), "") if well else ""
    first = _in_order(well, figure) if figure else well
    return [each.name for each in (*first, *(each for each in candidates if each not in well))], figure


def _in_order(candidates: Sequence[Candidate], figure: str) -> list[Candidate]:
    sign = -1.0 if higher_is_better(figure) else 1.0
    return sorted(candidates, key=lambda each: sign * each.figures[figure])


def _common(candidates: Sequence[Candidate]) -> Iterator[str]:
    """Yield the figures that all candidates can be compared by, the most telling first."""
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
