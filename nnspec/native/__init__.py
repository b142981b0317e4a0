"""Tapes: training steps as lists of kernels, recorded from NumPy calls and replayed without Python."""

from __future__ import annotations

from typing import Literal

__all__ = ["How"]

How = Literal["auto", "always", "never"]
"""Whether lanes are trained by compiled steps: where they can be had without waiting, always, or never."""
