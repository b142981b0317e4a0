"""Fixtures for more than one test file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nnspec.runner.environment import one_blas_thread


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """One BLAS thread: the products of the tests are too small to share, and numbers do not depend on the machine."""
    with one_blas_thread():
        yield


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """Folder with the four files of the real MNIST."""
    named = os.environ.get("NNSPEC_DATA_DIR")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"
    if not folder.is_dir():
        pytest.skip(f"the real MNIST is not in {folder}")
    return folder
