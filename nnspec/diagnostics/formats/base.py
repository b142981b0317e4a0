"""What a format is given, and what all formats need."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

from nnspec.diagnostics.diagnostic import Diagnostic
from nnspec.diagnostics.source import FLAG, Source
from nnspec.text import printable

__all__ = ["Findings", "Format", "plural", "sentences"]


class Findings:
    """All that one run found, in file order, and where it looked."""

    def __init__(
        self,
        diagnostics: Sequence[Diagnostic],
        *,
        files: int,
        clean: str = "",
        version: str = "",
        root: str = "",
        fixable: bool = True,
    ) -> None:
        self.diagnostics = sorted(diagnostics, key=lambda d: d.order)
        self.files = files
        """How many files were looked at."""
        self.clean = clean
        """What is said of a single file without findings."""
        self.version = version
        self.root = root or os.getcwd()
        """Top of the repository or project; services that read findings know files by their place below it."""
        self.fixable = fixable
        """Whether to say which findings `--fix` would settle."""

    @cached_property
    def here(self) -> str:
        """The current folder."""
        return os.getcwd()

    def count(self, severity: str) -> int:
        """Return how many findings are of a severity."""
        return sum(d.severity == severity for d in self.diagnostics)

    def summary(self) -> str:
        """Return all of it in one line: "2 errors and 1 warning in 2 of 9 files"."""
        counts = [plural(number, word) for word in ("error", "warning") if (number := self.count(word))]
        if not counts:
            return (
                self.clean if self.files == 1 and self.clean else f"{plural(self.files, 'file')} checked, no findings"
            )
        names = {d.span.source.name for d in self.diagnostics}
        if self.files <= 1 and len(names) == 1:
            where = printable(names.pop())
        else:
            where = (
                f"{len(names):,} of {plural(self.files, 'file')}"
                if len(names) < self.files
                else plural(len(names), "file")
            )
        return f"{' and '.join(counts)} in {where}"

    def shown_path(self, source: Source) -> str | None:
        """Return a file's path from the current folder where it is below it; None for what lies in no file."""
        return self._below(source, self.here)

    def root_path(self, source: Source) -> str | None:
        """Return a file's path from the top of the repository where it is below it; None for what lies in no file."""
        return self._below(source, self.root)

    def _below(self, source: Source, folder: str) -> str | None:
        if source.name == FLAG:
            return None
        if folder == self.here and not os.path.isabs(source.name):
            return source.name
        place = os.path.abspath(source.name)
        inside = os.path.relpath(place, folder)
        return (place if inside.startswith(os.pardir) else inside).replace(os.sep, "/")


class Format(ABC):
    """Turns findings into text."""

    for_machines = True
    """Whether a program reads it, so that unreadable files are told among the findings, and nothing has colours."""

    @abstractmethod
    def render(self, findings: Findings, *, color: bool = False) -> str:
        """Return the text, with a line end at its end where there is any."""


def sentences(diagnostic: Diagnostic) -> str:
    """Return all that is said, a line each, for those who show no excerpt."""
    lines = [diagnostic.message, diagnostic.label, *diagnostic.remarks]
    lines.append(f"help: {diagnostic.help}" if diagnostic.help else "")
    return "\n".join(line for line in lines if line)


def plural(number: int, one: str, many: str = "") -> str:
    """Return "1 error", "1,000 errors"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
