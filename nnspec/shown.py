"""Results that show themselves as a short table, in a Python prompt and in a notebook.

What a table says is a matter of the room `view`, which is loaded when something is shown, and not before.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Shown", "view_function"]


def view_function(name: str) -> Any:
    """Return a function of the room `view`, as `notebook.tables.summary_of`; its module is loaded now."""
    module, _, function = name.rpartition(".")
    return getattr(import_module(f"nnspec.view.{module}"), function)


class Shown:
    """A result whose `repr` is a short table, however much it holds."""

    def __repr__(self) -> str:
        return str(view_function("notebook.tables.summary_of")(self).text())

    def _repr_html_(self) -> str:
        """Return the table as HTML, for notebooks."""
        return str(view_function("notebook.tables.summary_of")(self).html())
