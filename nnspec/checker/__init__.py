"""From the syntax tree to the program: resolve names, arguments, values and shapes, and report all errors in one run.

`passes.py` lists the passes.
"""

from __future__ import annotations

from nnspec.checker.expectations import calculate
from nnspec.checker.passes import Checked, check
from nnspec.checker.recorded import NOTHING, Known

__all__ = ["NOTHING", "Checked", "Known", "calculate", "check"]
