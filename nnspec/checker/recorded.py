"""What is known of a spec beforehand, as of one that was run: then nothing but its text is looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nnspec.checker.program import PartValue
from nnspec.data.source import DataSource, Facts

__all__ = ["NOTHING", "Known", "looks_at_files"]


def looks_at_files(source: DataSource) -> bool:
    """Whether the facts of a source are those of the user's files; else they follow from its arguments."""
    return type(source).looks_at is not DataSource.looks_at


@dataclass(frozen=True)
class Known:
    """Files and facts of data that stand in for those on disk."""

    imports: Mapping[str, str] | None = None
    """The texts of all imports by the names that messages call them by; None for those on disk."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Other names of theirs, where links lead to one file -> the name in `imports`."""
    facts: Callable[[PartValue[DataSource]], Facts | None] = field(default=lambda value: None)
    """What the files of a data source came to, where that is known."""

    def of(self, value: PartValue[DataSource], source: DataSource) -> Facts | None:
        """Return the known facts of a source that looks at files; None where it must look itself."""
        return self.facts(value) if looks_at_files(source) else None


NOTHING = Known()
"""Of a spec that is read anew."""
