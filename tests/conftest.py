"""Fixtures for more than one test file."""

from __future__ import annotations

import gc
import hashlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray

from nnspec.data import digits as digits_module
from nnspec.environment import one_blas_thread
from nnspec.executors import processes
from nnspec.native import library
from nnspec.native.builder import Builder
from nnspec.view.pictures import drawing

if TYPE_CHECKING:
    from tiny_csv import Write

    from nnspec.data.digits import Bytes
    from nnspec.data.source import Dataset

_DATA_DIR = os.environ.get("NNSPEC_DATA_DIR")


def _plain_environment() -> None:
    """Take out whatever changes how output looks or where data comes from, for this process and those that it starts.

    The outcome of a test must not depend on the terminal, the locale or the settings of whoever runs it.
    """
    for name in [*os.environ]:
        if name.startswith(("NNSPEC_", "LC_", "PYTHON")) or name in _OF_TERMINALS:
            del os.environ[name]
    os.environ["LANG"] = "C.UTF-8"


_OF_TERMINALS = frozenset(
    {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLORTERM", "TERM", "LANGUAGE"}
    | {"TTY_COMPATIBLE", "TTY_INTERACTIVE"}
)
_plain_environment()
sys.dont_write_bytecode = False  # or each session, and each process of it, would compile all files of tests anew

# No process of a test sees what this machine has in its caches: kernels, data, findings. The fonts of matplotlib stay.
_CACHE = tempfile.TemporaryDirectory(prefix="nnspec-tests-")
os.environ["MPLCONFIGDIR"] = matplotlib.get_cachedir()
os.environ["XDG_CACHE_HOME"] = _CACHE.name


# What is made until the first test starts stays: thousands of items, and modules. The collector need not look at it.
gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage from here on, but not what all tests share."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """One BLAS thread: the products of the tests are too small to share, and numbers do not depend on the machine."""
    with one_blas_thread():
        yield


@pytest.fixture(scope="session", autouse=True)
def _not_durable() -> Iterator[None]:
    """Files need not survive a power cut, for which each write would wait for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> None:
    """Ctrl-C interrupts, also where a shell started the tests in its background, where it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _drawn_once() -> Iterator[None]:
    """The same digits are drawn once: hundreds of tests train on the first 50. What is returned is copied."""
    drawn: dict[bytes, tuple[Bytes, Bytes]] = {}

    def draw(words: NDArray[np.uint64]) -> tuple[Bytes, Bytes]:
        key = hashlib.sha256(words).digest() + repr(words.shape).encode()
        if key not in drawn:
            drawn[key] = honest(words)
        return drawn[key]

    honest = digits_module._draw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits_module, "_draw", draw)
        yield


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """Folder with the four files of the real MNIST."""
    folder = Path(_DATA_DIR) if _DATA_DIR else Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"
    if not folder.is_dir():
        pytest.skip(f"the real MNIST is not in {folder}")
    return folder


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """A few drawn digits: 50 to train on, and 20 to test."""
    from nnspec.data.digits import Digits
    from nnspec.data.source import Access

    return Digits(train=50, test=20).load(Access(offline=True))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a table into t.csv of the test's folder."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "t.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def _draws_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(drawing.Here, "finish", lambda drawing, result, path: False)
    patch.setattr(drawing, "drawing_for", lambda compiled: nullcontext(drawing.Here()))


@pytest.fixture(scope="session", autouse=True)
def _undrawn() -> Iterator[None]:
    """Runs in this process draw no picture, which takes longer than to train what tests train."""
    with pytest.MonkeyPatch.context() as patch:
        _draws_nothing(patch)
        yield


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw their pictures, as they do outside of tests."""
    monkeypatch.setattr(drawing.Here, "finish", _FINISH)
    monkeypatch.setattr(drawing, "drawing_for", _DRAWING_FOR)


_FINISH, _DRAWING_FOR = drawing.Here.finish, drawing.drawing_for


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of a module whose other tests draw, draw no picture."""
    _draws_nothing(monkeypatch)


@pytest.fixture(scope="session", autouse=True)
def _forked_workers() -> Iterator[None]:
    """Processes that train are forked from a server that has imported NumPy and nnspec, instead of started anew."""
    from forked import server

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "get_context", lambda method: server())
        yield


@pytest.fixture
def forked_workers() -> None:
    """What all tests have."""


@pytest.fixture
def spawned_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that train are started as they are outside of tests: anew, with the present environment."""
    monkeypatch.setattr(processes, "get_context", get_context)


_COMPILED: dict[str, int] = {}


@pytest.fixture(scope="session", autouse=True)
def _no_kernels() -> Iterator[None]:
    """Disable compiled kernels, even if this machine has built some before; tests that need them request them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "_loaded", _COMPILED)
        patch.setattr(library, "folder", lambda: Path(os.devnull))
        patch.setattr(Builder, "_start", lambda builder, names: None)
        patch.setattr(Builder, "_make", _not_asked_for)
        yield


def _not_asked_for(builder: Builder, names: list[str]) -> None:
    pytest.fail("this test compiles kernels anew: it must request the fixture `kernels`, which keeps them")


_START, _MAKE = Builder._start, Builder._make


def pytest_runtest_teardown() -> None:
    """Forget the kernels that a test compiled without a folder for them."""
    _COMPILED.clear()


@pytest.fixture
def kernels(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for compiled kernels that is kept from one session to the next."""
    cache = getattr(pytestconfig, "cache", None)
    folder = (cache.mkdir("nnspec") if cache is not None else Path(tempfile.gettempdir()) / "nnspec-tests") / "kernels"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    monkeypatch.setattr(library, "_loaded", {})
    monkeypatch.setattr(library, "folder", lambda: folder)
    monkeypatch.setattr(Builder, "_start", _START)
    monkeypatch.setattr(Builder, "_make", _MAKE)
    return folder
