"""Facts recorded with a run, so that its spec can be checked again without reading other files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nnspec.checker.program import PartValue
from nnspec.data.source import DataSource, Facts

__all__ = ["NOTHING", "Known", "looks_at_files"]


def looks_at_files(source: DataSource) -> bool:
    """Whether a source's facts come from the user's files; otherwise they follow from its arguments."""
    return type(source).looks_at is not DataSource.looks_at


@dataclass(frozen=True)
class Known:
    """Files and facts of data used instead of those on disk."""

    imports: Mapping[str, str] | None = None
    """The text of each import, by its name in messages; None to read from disk."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Other names of imports (links to the same file) -> the name in `imports`."""
    facts: Callable[[PartValue[DataSource]], Facts | None] = field(default=lambda value: None)
    """The known facts of data sources."""

    def of(self, value: PartValue[DataSource], source: DataSource) -> Facts | None:
        """Return the known facts of a source that reads files; None if it must read them."""
        return self.facts(value) if looks_at_files(source) else None


NOTHING = Known()
"""For a spec that is read from disk."""
