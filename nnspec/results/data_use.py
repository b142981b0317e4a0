"""The data that a run used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnspec.data.source import Column

__all__ = ["DataUse"]


@dataclass(frozen=True)
class DataUse:
    """The data that a run used, and which alternative of the spec it is."""

    source: str
    asked_for: str
    """The first alternative of the spec."""
    reason: str
    """Why earlier alternatives were unavailable; empty if the first one was used."""
    sha256: str
    origin: str
    train: int
    test: int
    classes: int | None
    shape: tuple[int, ...]
    divisor: float = 1.0
    """The number that stored values are divided by."""
    class_names: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    """For a table, the columns that the features come from."""
    target_names: tuple[str, ...] = ()
    alphabet: str | tuple[str, ...] = ""
    """For a text, the character or word of each id, in order."""
    border: float | None = None
    """For images, the mean brightness of their outermost pixels, from 0 to 1."""
    notes: tuple[str, ...] = ()
    """Remarks about how files were read."""
    ranges: tuple[tuple[float, float], ...] = ()
    """The smallest and the largest stored value of the training samples: for each feature of a table, otherwise over
    all values; empty for ids."""

    @property
    def stands_in(self) -> bool:
        """Whether it replaces the data that the spec names first."""
        return self.source != self.asked_for
