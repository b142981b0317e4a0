"""Small tables as CSV files, and what is read from them. The fixture `write` is in conftest.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from nnspec.data import CSV, Access

Write = Callable[[str | bytes], Path]
"""Writes the text of a table to a file, and returns its path."""


def rows(path: Path, target: str | tuple[str, ...], **more: object) -> tuple[list[list[float]], list[object], CSV]:
    """Load all rows in the order of the file."""
    source = CSV(path, target, shuffle=False, **more)
    data = source.load(Access())
    assert data.facts == source.facts()
    x = np.concatenate([data.train.x, data.test.x])
    y = np.concatenate([data.train.y, data.test.y])
    assert x.dtype == data.facts.stored
    assert x.shape == (data.facts.train + data.facts.test, data.facts.features)
    return x.tolist(), y.tolist(), source
