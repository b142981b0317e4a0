"""Reporting bugs in nnspec."""

from __future__ import annotations

import sys

import click

from nnspec._version import __version__

__all__ = ["report_fault"]


def report_fault(error: Exception, about: str = "") -> int:
    """Print a bug report request on stderr, write the details to a file, and return the exit code."""
    import tempfile
    import traceback

    trace = "".join(traceback.format_exception(error))
    text = f"nnspec {__version__}, Python {sys.version}\n{' '.join(sys.argv)}\n\n{trace}"
    where = f"{about}: " if about else ""
    click.echo(f"error: {where}a bug in nnspec: {type(error).__name__}: {error}", err=True)
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="nnspec-fault-",
            suffix=".txt",
            delete=False,
            encoding="utf-8",
            errors="backslashreplace",
        ) as file:
            file.write(text)
        click.echo(f"Please report it, with the file {file.name}", err=True)
    except OSError:
        click.echo(text, err=True)
    return 3
