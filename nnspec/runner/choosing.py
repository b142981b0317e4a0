"""Which of several lanes is the best: one rule for every command that has to choose."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nnspec.engine.metrics import higher_is_better

__all__ = ["Candidate", "Choice", "NoChoice", "best"]

_PREFIXES = ("val_", "test_")


class NoChoice(ValueError):
    """Candidates that cannot be compared. The message says why."""


@dataclass(frozen=True)
class Candidate:
    """A lane that may be chosen: its loss as a spec writes it, and its final figures by name (`val_loss`)."""

    name: str
    loss: str
    figures: Mapping[str, float] = field(default_factory=dict)


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
            f"{self.name} was chosen by {self.figure}, for lack of validation figures, so its test figures are "
            "optimistic; set `train.validation` to choose by held-out samples"
        )


def best(candidates: Sequence[Candidate]) -> Choice:
    """Choose the best of some lanes, the first of equals.

    Validation figures decide where all lanes have them, else test figures. Of either kind it is the loss, where all
    lanes have the same one; else accuracy, or the first metric that all of them have. Raises NoChoice for no
    candidates, and for lanes without a figure in common.
    """
    if not candidates:
        raise NoChoice("there is no lane to choose from")
    if len(candidates) == 1:
        return Choice(candidates[0].name)
    figure = next(_common(candidates), None)
    if figure is None:
        raise NoChoice("the lanes have different losses and no metric in common")
    sign = -1.0 if higher_is_better(figure) else 1.0
    chosen = min(candidates, key=lambda each: sign * each.figures[figure])
    return Choice(chosen.name, figure, chosen.figures[figure], len(candidates))


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
