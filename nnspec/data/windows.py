"""Windows over the rows of a time series: which rows are a sample, and which one holds its target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Windows"]


@dataclass(frozen=True)
class Windows:
    """Sample i is the rows i · stride + j · sampling for j = 0 … length - 1, and its target is `horizon` rows after the
    last of them. As Keras's `timeseries_dataset_from_array` with `sequence_length`, `sequence_stride` and
    `sampling_rate`, if its targets begin at row (length - 1) · sampling + horizon.
    """

    length: int
    horizon: int = 1
    stride: int = 1
    sampling: int = 1

    @property
    def reach(self) -> int:
        """The number of rows from the first row of a window to its last."""
        return (self.length - 1) * self.sampling + 1

    @property
    def span(self) -> int:
        """The number of rows from the first row of a window to that of its target."""
        return self.reach + self.horizon

    @property
    def overlap(self) -> int:
        """The number of samples after each one that share rows with it, as inputs or as the target."""
        return (self.span - 1) // self.stride

    @property
    def continues(self) -> bool:
        """Whether each window begins where the one before it ends."""
        return self.stride == self.length and self.sampling == 1

    def in_words(self) -> str:
        """`a sample is 24 rows, and its target is 1 row later`."""
        rows = f"{self.length:,} row{'s' * (self.length != 1)}"
        apart = f", {self.sampling:,} apart" if self.sampling > 1 else ""
        begins = f"; one begins every {self.stride:,} rows" if self.stride > 1 else ""
        later = f"{self.horizon:,} row{'s' * (self.horizon != 1)} later"
        return f"a sample is {rows}{apart}, and its target is {later}{begins}"

    def count(self, rows: int) -> int:
        """Return the number of windows in so many rows, each with its target."""
        return max(rows - self.span, -1) // self.stride + 1

    def samples(self, table: NDArray[Any]) -> NDArray[Any]:
        """Return the windows that have targets, `(rows, features) -> (n, length · features)`; without `sampling`, they
        are a view of the table."""
        return self._cut(table[: max(len(table) - self.horizon, 0)], self.stride)

    def latest(self, table: NDArray[Any]) -> NDArray[Any]:
        """Return a window up to each row, also those without targets: `(rows, features) -> (n, length · features)`."""
        return self._cut(table, 1)

    def targets(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return the targets of the windows, `(rows, …) -> (n, …)`."""
        return y[self.span - 1 :: self.stride]

    def rows_of(self, names: Sequence[str]) -> list[str]:
        """Return the name of the row that each of the `latest` windows predicts; `last + 2` is two rows after the
        table."""
        last = len(names) - 1
        rows = range(self.span - 1, len(names) + self.horizon)
        return [names[row] if row <= last else f"{names[last]} + {row - last}" for row in rows]

    def _cut(self, table: NDArray[Any], stride: int) -> NDArray[Any]:
        if len(table) < self.reach:
            return np.empty((0, self.length * table.shape[1]), table.dtype)
        cut = np.lib.stride_tricks.sliding_window_view(table, self.reach, axis=0)[::stride, :, :: self.sampling]
        return cut.transpose(0, 2, 1).reshape(len(cut), -1)
