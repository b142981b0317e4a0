"""Tables, progress and pictures for people."""

from __future__ import annotations

from typing import Any

__all__ = ["plot_training_curves"]


def __getattr__(name: str) -> Any:
    # Loaded when it is used: only pictures need it, and every command imports this room.
    if name != "plot_training_curves":
        raise AttributeError(f"module 'nnspec.view' has no attribute {name!r}")
    from nnspec.view.pictures.curves import plot_training_curves

    return plot_training_curves
