"""From the tree to the program: names, arguments, values and shapes, and every mistake among them in one go.

`passes.py` lists the passes.
"""

from __future__ import annotations

from nnspec.checker.expectations import calculate
from nnspec.checker.passes import Checked, check
from nnspec.checker.recorded import NOTHING, Known

__all__ = ["NOTHING", "Checked", "Known", "calculate", "check"]
