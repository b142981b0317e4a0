"""Which declarations a spec uses."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Usage"]


@dataclass
class Usage:
    """The names in use. Everything else is checked separately, and lint reports it."""

    models: set[str] = field(default_factory=set)
    """Models that a lane trains."""
    blocks: set[str] = field(default_factory=set)
    """Blocks that a model uses."""
    lets: set[str] = field(default_factory=set)
    """`let`s that an expression uses."""
