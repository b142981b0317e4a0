"""Formatting specs, for Python callers, the command line and editors. Cheap to import."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from nnspec.diagnostics import Diagnostic, Source, read_source
from nnspec.errors import NnspecError
from nnspec.files import rewrite
from nnspec.syntax import format as formatter

__all__ = ["FormatResult", "WriteError", "format_source", "format_spec"]


class WriteError(NnspecError):
    """A spec cannot be written."""


@dataclass(frozen=True)
class FormatResult:
    """A spec before and after formatting."""

    path: str
    before: str
    after: str
    """Equal to `before` if there are diagnostics."""
    diagnostics: tuple[Diagnostic, ...] = ()
    """The syntax errors that prevent formatting."""

    @property
    def changed(self) -> bool:
        """Whether formatting changes the text."""
        return self.before != self.after


def format_source(source: Source) -> FormatResult:
    """Format a spec in memory. Raises `nnspec.syntax.format.FormatFault` on a bug in nnspec."""
    before = "\ufeff" * source.bom + source.text
    formatted = formatter.format_source(source)
    return FormatResult(source.name, before, before if formatted.diagnostics else formatted.text, formatted.diagnostics)


def format_spec(path: str | os.PathLike[str], *, write: bool = True) -> FormatResult:
    """Format a spec in place, or with `write=False` only say how it should look.

    A spec that does not parse stays as it is, and so does one over which this raises.

    Raises:
        SourceError: the spec cannot be read as text.
        WriteError: the spec cannot be written.
        FormatFault: formatting would have changed what the spec says, which is a bug in nnspec.
    """
    result = format_source(read_source(path))
    if write and result.changed:
        try:
            rewrite(Path(path), result.after.encode("utf-8"))
        except OSError as error:
            raise WriteError(f"{result.path} cannot be written: {error.strerror or error}") from None
    return result
