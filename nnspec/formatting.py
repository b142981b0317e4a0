"""Specs in the one style there is: for Python callers, the command line and editors. Importing this is light."""

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
    """A spec that cannot be written. The message says why."""


@dataclass(frozen=True)
class FormatResult:
    """A spec before and after formatting."""

    path: str
    before: str
    after: str
    """The same as `before` where there are diagnostics."""
    diagnostics: tuple[Diagnostic, ...] = ()
    """Why it cannot be formatted: what in it does not parse."""

    @property
    def changed(self) -> bool:
        """Whether formatting makes a difference."""
        return self.before != self.after


def format_source(source: Source) -> FormatResult:
    """Format a spec that is in memory. Raises `nnspec.syntax.format.FormatFault` where nnspec is at fault."""
    before = "\ufeff" * source.bom + source.text
    formatted = formatter.format_source(source)
    return FormatResult(source.name, before, before if formatted.diagnostics else formatted.text, formatted.diagnostics)


def format_spec(path: str | os.PathLike[str], *, write: bool = True) -> FormatResult:
    """Format a spec in place, or with `write=False` only say how it should look.

    A spec that does not parse stays as it is, and so does one over which this raises.

    Raises:
        SourceError: the spec cannot be read as text.
        WriteError: the spec cannot be written.
        FormatFault: formatting would have changed what the spec says, which is a fault of nnspec.
    """
    result = format_source(read_source(path))
    if write and result.changed:
        try:
            rewrite(Path(path), result.after.encode("utf-8"))
        except OSError as error:
            raise WriteError(f"{result.path} cannot be written: {error.strerror or error}") from None
    return result
