"""Fixtures for more than one test file."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """Folder with the four files of the real MNIST."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"
    if not folder.is_dir():
        pytest.skip(f"the real MNIST is not in {folder}")
    return folder
