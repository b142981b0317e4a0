"""Which data a run used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnspec.data.source import Column

__all__ = ["DataUse"]


@dataclass(frozen=True)
class DataUse:
    """Which data a run used, and what it used it for."""

    source: str
    asked_for: str
    """The first alternative of the spec."""
    reason: str
    """Why the alternatives before were not to be had; empty where the first one was."""
    sha256: str
    origin: str
    train: int
    test: int
    classes: int | None
    shape: tuple[int, ...]
    divisor: float = 1.0
    """What stored numbers are divided by."""
    class_names: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    """Of a table, the columns that the features come from."""
    target_names: tuple[str, ...] = ()
    alphabet: str = ""
    """Of a text, its characters in order."""
    border: float | None = None
    """Of images, how bright their outermost pixels are on average, from 0 to 1."""
    notes: tuple[str, ...] = ()
    """What a reader should know of how files were read."""
    ranges: tuple[tuple[float, float], ...] = ()
    """The smallest and the largest number of the training samples, as they are stored: of each feature of a table, else
    of all together; empty for ids."""

    @property
    def stands_in(self) -> bool:
        """Whether it stands in for what was asked for."""
        return self.source != self.asked_for
