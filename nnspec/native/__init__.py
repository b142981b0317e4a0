"""Tapes: training steps recorded from NumPy calls as lists of kernels and replayed without Python."""

from __future__ import annotations

from typing import Literal

__all__ = ["How"]

How = Literal["auto", "always", "never"]
"""Whether to train with compiled steps: if they are available without waiting, always, or never."""
