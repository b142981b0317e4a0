"""Facts recorded with a run, so that its spec can be checked again without reading other files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nnspec.checker.program import PartValue
from nnspec.data.given import Given
from nnspec.data.memory import GivenData
from nnspec.data.source import DataSource, Facts
from nnspec.data.weights import Weights, WeightsFacts

__all__ = ["NOTHING", "Known", "looks_at_files"]


def looks_at_files(source: DataSource) -> bool:
    """Whether a source's facts come from the user's files or arrays; otherwise they follow from its arguments."""
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
    weights: Mapping[str, WeightsFacts] = field(default_factory=dict)
    """The known facts of files of weights, by their paths as written."""
    given: GivenData | None = None
    """The data that the caller passed, for `Given`."""

    def of(self, value: PartValue[DataSource], source: DataSource) -> Facts | None:
        """Return the known facts of a source whose facts do not follow from its arguments; None if it must look.

        Raises FileFault for given data that the source does not expect.
        """
        if isinstance(source, Given) and self.given is not None:
            return source.with_data(self.given).facts()
        return self.facts(value) if looks_at_files(source) else None

    def of_weights(self, weights: Weights) -> WeightsFacts:
        """Return the facts of a file of weights: the known ones, else those on disk. Raises FileFault."""
        return self.weights.get(weights.path.written) or weights.facts()


NOTHING = Known()
"""For a spec that is read from disk."""
