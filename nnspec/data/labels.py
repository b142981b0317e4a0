"""Labels in files and their classes: the distinct values, sorted, as in scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnspec.data.source import FileFault, Remark
from nnspec.engine._numpy import np
from nnspec.text import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MOST_CLASSES", "MOST_LABELS", "MOST_LEVELS", "Labels", "count_labels"]

MOST_CLASSES = 65_536
MOST_LABELS = 1 << 26
"""Maximum size of labels in bytes; `check` reads them."""
MOST_LEVELS = 1_000
"""Maximum number of distinct integers for which a target may count as classes."""
_MARKS = frozenset([-100, -1, 99, 255, 999, 9999, 65_535])
"""Numbers that often mark samples without a label."""
_LISTED = 6

Value = bool | int | str


def count_labels(counts: dict[Value, int], labels: NDArray[Any], what: str, argument: str) -> None:
    """Count each distinct label. Raises FileFault for more than MOST_CLASSES."""
    values, found = np.unique(labels, return_counts=True)
    for value, count in zip(values.tolist(), found.tolist(), strict=True):
        key = _key(value)
        counts[key] = counts.get(key, 0) + count
    if len(counts) > MOST_CLASSES:
        raise FileFault(
            f"{what} has more than {MOST_CLASSES:,} different labels, too many for classes",
            argument=argument,
            help="for a regression, save the targets as floats",
        )


def _key(value: Value | bytes) -> Value:
    """Return a label in the form used for comparison and display: bytes as text."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


@dataclass(frozen=True)
class Labels:
    """The distinct labels of a data set, sorted, with the number of samples of each."""

    values: tuple[Value, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, counts: Mapping[Value, int], what: str, argument: str) -> Labels:
        """Sort counted labels. Raises FileFault if all are the same."""
        values = sorted(counts)
        if len(values) < 2:
            which = f"all labels in {what} are {_shown(values[0])}" if values else f"{what} has no label"
            raise FileFault(f"{which}: there is nothing to learn", argument=argument)
        return cls(tuple(values), tuple(counts[value] for value in values))

    @property
    def plain(self) -> bool:
        """Whether they are 0 to C − 1, and thus the classes themselves."""
        return type(self.values[0]) is int and self.values == tuple(range(len(self.values)))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes; empty if labels are the classes themselves."""
        return () if self.plain else tuple(map(str, self.values))

    def classes_of(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Return the class of each label: its index among the values."""
        if self.plain:
            return labels
        places = {value: place for place, value in enumerate(self.values)}
        distinct, inverse = np.unique(labels, return_inverse=True)
        classes = np.array([places[_key(value)] for value in distinct.tolist()], np.int64)
        return classes[inverse.reshape(labels.shape)]

    def remarks(self, what: str, argument: str, *, ignore: str) -> list[Remark]:
        """Yield what is suspicious about labels: that they are not 0 to C − 1, that one of them may mean "no label", or
        that nearly every sample has its own. `ignore` is the help for a marker."""
        remarks = []
        samples, mark = sum(self.counts), self._mark()
        if mark is not None:
            others = [value for value in self.values if value != mark]
            message = (
                f"{what} contains the label {mark} {self.counts[self.values.index(mark)]:,} times, in addition to "
                f"{others[0]} to {others[-1]}, and it counts as a class"
            )
            remarks.append(Remark("NN738", message, argument, ignore.format(mark)))
        elif type(self.values[0]) is int and not self.plain:
            shown = [_shown(value) for value in self.values[:_LISTED]]
            listed = ", ".join(shown) + (f" … {_shown(self.values[-1])}" if len(self.values) > _LISTED else "")
            message = (
                f"the labels in {what} are {listed}, not 0 to {len(self.values) - 1:,}; "
                f"they become {len(self.values):,} classes named after them"
            )
            help = "to number them from 0, save `numpy.unique(y, return_inverse=True)[1]`"
            remarks.append(Remark("NN735", message, argument, help))
        if len(self.values) > 0.5 * samples and samples > 20 and type(self.values[0]) is int:
            message = f"{what} has {len(self.values):,} different labels in {samples:,}, each its own class"
            remarks.append(Remark("NN737", message, argument, "for a regression, save the targets as floats"))
        return remarks

    def _mark(self) -> int | None:
        """Return a label that looks like a marker for unlabelled samples: a common value for that, if the other labels
        run from 0 or 1 without a gap. The labels -1, 0 and 1 have none."""
        for mark in (self.values[0], self.values[-1]):
            if type(mark) is int and mark in _MARKS:
                others = [value for value in self.values if value != mark]
                first = others[0]
                consecutive = first in (0, 1) and others == list(range(int(first), int(first) + len(others)))
                if consecutive and mark not in (first - 1, others[-1] + 1) and len(others) > 1:  # type: ignore[operator]
                    return mark
                if consecutive and mark == -1 and len(others) > 2:
                    return mark
        return None


def _shown(value: Value) -> str:
    return f"`{printable(value[:40])}`" if isinstance(value, str) else str(value)
