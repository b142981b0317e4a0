"""What a person sees: tables, progress, pictures."""

from __future__ import annotations

from nnspec.view.curves import plot_training_curves

__all__ = ["plot_training_curves"]
