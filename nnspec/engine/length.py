"""How long a training is, in steps and in epochs, and after which steps it is recorded."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Length"]


@dataclass(frozen=True)
class Length:
    """The length of a training: `steps` of the optimizer, of which `per_epoch` are one pass over the samples.

    Figures are measured, and a record is made, after every `record` steps and after the last one: by default after
    every epoch. All counts are at least 1.
    """

    steps: int
    per_epoch: int
    record: int
    by_step: bool = False
    """Whether places in the training are named by steps instead of epochs."""

    @property
    def records(self) -> int:
        """The number of records."""
        return -(-self.steps // self.record)

    @property
    def epochs(self) -> float:
        """The number of epochs, whole or not."""
        return self.epochs_at(self.records)

    def steps_at(self, records: int) -> int:
        """Return the number of steps before the end of this many records."""
        return min(records * self.record, self.steps)

    def epochs_at(self, records: int) -> float:
        """Return the number of epochs before the end of this many records; an int if it is whole."""
        epochs, rest = divmod(self.steps_at(records), self.per_epoch)
        return epochs + rest / self.per_epoch if rest else epochs

    def at(self, records: int) -> int:
        """Return the epoch, or the step, at which this many records end."""
        return self.steps_at(records) if self.by_step else records

    @property
    def unit(self) -> str:
        """`epoch` or `step`."""
        return "step" if self.by_step else "epoch"
