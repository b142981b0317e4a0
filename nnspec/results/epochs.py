"""One epoch of a training, and epochs as columns, their form in files and messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict, cast

__all__ = ["Columns", "EpochRecord", "columns", "from_columns", "number", "text"]


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """The measurements of one epoch."""

    figures: Mapping[str, float]
    """`loss`, `test_loss`, and each metric with and without `test_`; with held-out samples, also `val_loss` and so
    on."""
    seconds: float
    """Training time in seconds: forward, backward and optimizer steps, without evaluation."""
    rate: float | None = None
    """The learning rate of the last step; None without a schedule."""
    order: str = ""
    """A digest of the sample order of this epoch and all earlier ones; in a training read from a file, only its last
    epoch has one."""
    trace: Mapping[str, str] = field(default_factory=dict)
    """A digest of each tensor: parameters and other layer state, by full name."""
    evaluations: float | None = None
    """The number of gradients computed; None if it is one per batch."""
    gradients: Mapping[str, float | None] = field(default_factory=dict)
    """The L2 norm of each tensor's gradient after the last batch, before penalties and clipping; None for NaN or
    inf."""


class Columns(TypedDict):
    """Epochs as lists with one value per epoch."""

    history: dict[str, list[float]]
    epoch_seconds: list[float]
    rates: list[float]
    """Empty without a schedule."""
    evaluations: list[float]
    """Empty if gradients are computed once per batch."""
    trace: dict[str, list[str]]
    gradients: dict[str, list[float | None]]


def columns(records: Sequence[EpochRecord], figures: Iterable[str]) -> Columns:
    """Return epochs as columns; `figures` are the keys of `history`, even before the first epoch."""
    first = records[0] if records else EpochRecord({}, 0.0)
    return {
        "history": {name: [record.figures[name] for record in records] for name in figures},
        "epoch_seconds": [record.seconds for record in records],
        "rates": [record.rate for record in records if record.rate is not None],
        "evaluations": [record.evaluations for record in records if record.evaluations is not None],
        "trace": {tensor: [record.trace[tensor] for record in records] for tensor in first.trace},
        "gradients": {tensor: [record.gradients[tensor] for record in records] for tensor in first.gradients},
    }


def from_columns(table: Mapping[str, Any], order: str = "") -> list[EpochRecord]:
    """Return the epochs stored in columns; `order` is the digest of sample order of the last one.

    Raises LookupError, TypeError, OverflowError or AttributeError for damaged columns.
    """
    seconds, rates, evaluations = table["epoch_seconds"], table["rates"], table.get("evaluations")
    return [
        EpochRecord(
            {name: number(values[epoch]) for name, values in table["history"].items()},
            number(seconds[epoch]),
            number(rates[epoch]) if rates else None,
            order if epoch == len(seconds) - 1 else "",
            {tensor: text(digests[epoch]) for tensor, digests in table["trace"].items()},
            number(evaluations[epoch]) if evaluations else None,
            {
                tensor: None if norms[epoch] is None else number(norms[epoch])
                for tensor, norms in table["gradients"].items()
            },
        )
        for epoch in range(len(seconds))
    ]


def number(value: object) -> float:
    """Return a number, which may be NaN, as a float. Raises TypeError for any other value, OverflowError for a huge
    integer."""
    if type(value) not in (int, float):
        raise TypeError(f"{str(value)[:40]!a} is not a number")
    return float(cast("float", value))


def text(value: object) -> str:
    """Return a value that must be text. Raises TypeError for any other."""
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]!a} is not text")
    return value
