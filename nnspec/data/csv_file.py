"""A CSV file that is open: its first line, and the rows after it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cached_property
from typing import IO, TYPE_CHECKING

from nnspec.data.csv_cells import Form, lines_of, rows_of
from nnspec.data.files import decoded, shown
from nnspec.data.source import FileFault

if TYPE_CHECKING:
    from nnspec.engine.part import FilePath

__all__ = ["MOST_BYTES", "CsvFile"]

MOST_BYTES = 64 * 1024**2
"""The largest table that is read."""


class CsvFile:
    """A table in an open file. Reading starts from its first line, and every row is as wide as that.

    All methods raise FileFault for what is not UTF-8 text, and for cells that have no end.
    """

    def __init__(self, file: IO[bytes], path: FilePath, form: Form) -> None:
        self._file, self._path = file, path
        self.name = shown(path)
        """What messages call it."""
        self.form = form

    def detect_delimiter(self) -> None:
        """Use another delimiter than the form's where the first line has only that one."""
        comment = self.form.comment
        lines = (line for line in self._lines() if line.strip() and not (comment and line.startswith(comment)))
        self.form = self.form.seen_in(next(lines, ""))

    @cached_property
    def first(self) -> tuple[int, list[str]]:
        """The number and the cells of the first line; no cells where the file is empty."""
        return next(self.all_rows(), (0, []))

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the cells of each row after the first line, with the number of its line.

        A delimiter at the end of a row is ignored. Raises FileFault for a row of another width.
        """
        width = len(self.first[1])
        for line, cells in itertools.islice(self.all_rows(), 1, None):
            if len(cells) == width + 1 and not cells[-1]:
                del cells[-1]
            if len(cells) != width:
                help = self.form.delimiter_hint(",".join(cells))
                what = f"{len(cells)} cells, but the first line has {width}"
                raise FileFault(f"{self.name}, line {line:,}: {what}", help=help)
            yield line, cells

    def all_rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the cells of each row, the first line included, however many there are, with the number of its line."""
        return rows_of(self._lines(), self.form, self.name)

    def _lines(self) -> Iterator[str]:
        self._file.seek(0)
        return lines_of(decoded(self._file, self._path, MOST_BYTES))
