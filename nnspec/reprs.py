"""Reprs of results: a short table, in a Python prompt and in a notebook.

The room `view` makes the table. It is imported when a result is shown, and not before.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["ResolvedSpec", "TableRepr", "view_function"]


def view_function(name: str) -> Any:
    """Return a function of the room `view` by its name, such as `notebook.tables.summary_of`; import its module."""
    module, _, function = name.rpartition(".")
    return getattr(import_module(f"nnspec.view.{module}"), function)


class TableRepr:
    """A result whose `repr` is a short table, however much data it holds."""

    def __repr__(self) -> str:
        return str(view_function("notebook.tables.summary_of")(self).text())

    def _repr_html_(self) -> str:
        """Return the table as HTML, for notebooks."""
        return str(view_function("notebook.tables.summary_of")(self).html())


class ResolvedSpec(dict[str, Any]):
    """The resolved values of a spec as plain data, shown as a table in notebooks."""

    def _repr_html_(self) -> str:
        """Return the table as HTML."""
        return str(view_function("notebook.tables.summary_of")(self).html())
