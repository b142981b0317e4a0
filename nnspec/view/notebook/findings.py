"""Findings of `check` below a notebook cell: the lines of the cell, with carets."""

from __future__ import annotations

from importlib import import_module

from nnspec.text import printable
from nnspec.view.html import render

__all__ = ["findings_bundle", "show_findings"]


def findings_bundle(text: str) -> dict[str, str]:
    """Return findings as text, and as HTML in which nothing of the text is markup."""
    text = printable(text, keep="\n")
    return {"text/plain": text, "text/html": render("notebook/findings.html.j2", text=text)}


def show_findings(text: str) -> None:
    """Show findings below the cell."""
    import_module("IPython.display").display(findings_bundle(text), raw=True)
