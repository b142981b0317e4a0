"""The environment of a run, for its record."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnspec.errors import NnspecError
from nnspec.extensions import provenance
from nnspec.native.library import available

if TYPE_CHECKING:
    from nnspec.engine.part import Part

__all__ = ["check_compiler", "cores", "differences", "environment", "in_words", "one_blas_thread", "unlike"]


class _Limits:
    """The thread limit of the process while any of its threads is inside `one_blas_thread`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._within = 0
        self._limits: Any = None

    def enter(self) -> None:
        with self._lock:
            if not self._within:
                _take_control()
                self._limits = _libraries().limit(limits=1, user_api="blas")
            self._within += 1

    def leave(self) -> None:
        with self._lock:
            self._within -= 1
            if not self._within:
                _take_control()
                self._limits.restore_original_limits()


@cache
def _libraries() -> Any:
    """Return the libraries with threads that are loaded, NumPy's among them. Looking for them takes milliseconds,
    longer than a prediction, so later ones are ignored: nnspec calls none of them.
    """
    import numpy  # noqa: F401  (only loaded libraries are found)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _take_control() -> None:
    """Let this thread limit OpenBLAS: newer threadpoolctl silently ignores all threads but the first that did, while
    successive trainings may run in different threads."""
    from threadpoolctl import OpenBLASController

    clear = getattr(OpenBLASController, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)


_limits = _Limits()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run matrix products on one thread; with more, the order of summation depends on the machine.

    The number of threads belongs to the process: it is restored when the last thread leaves this context.
    """
    _limits.enter()
    try:
        yield
    finally:
        _limits.leave()


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_compiler() -> None:
    """Raise NnspecError if steps cannot be compiled."""
    if not available():
        raise NnspecError('compiled steps require Numba: pip install "nnspec[fast]"')


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the differences between two environments that may affect results: name -> (then, now).

    The number of BLAS threads is ignored, since products run on one.
    """

    def facts(record: Mapping[str, Any]) -> dict[str, Any]:
        blas = [{k: v for k, v in pool.items() if k != "threads"} for pool in record.get("blas", ())]
        parts = {f"{each['kind']} {each['part']}": _source(each) for each in record.get("parts", ())}
        return {**{name: value for name, value in record.items() if name != "parts"}, "blas": blas, **parts}

    first, second = facts(then), facts(now)
    names = dict.fromkeys((*first, *second))
    return {name: (first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)}


def unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the differences between the environments of two runs, from their summaries: name -> (one, other).

    Lanes trained on workers had the environments of these.
    """

    def places(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        here = summary["environment"]
        workers = summary.get("ways", {}).get("workers", {}).values()
        return [{**worker, "parts": here.get("parts", ())} for worker in workers] or [here]

    found: dict[str, tuple[Any, Any]] = {}
    for first in places(one):
        for second in places(other):
            found = differences(first, second) | found
    return found


def _source(part: Mapping[str, Any]) -> str:
    """Return where a part that is not nnspec's own comes from, as a line of text."""
    package = f"{part['package']} {part['version']}" if part["package"] else part["module"]
    return f"{package}, source {part['sha256'][:12] or 'unknown'}"


def in_words(value: Any) -> str:
    """Return a value of an environment on one line."""
    if isinstance(value, list):
        return " + ".join(in_words(item) for item in value) or "none"
    if isinstance(value, dict):
        return " ".join(str(item) for item in value.values())
    return "none" if value is None else str(value)


def environment(parts: Iterable[type[Part]] = ()) -> dict[str, Any]:
    """Return versions, machine and BLAS, as they are now, and the origin of those `parts` that are not nnspec's."""
    import numpy

    from nnspec._version import __version__

    foreign = [provenance(part) for part in parts if not part.__module__.startswith("nnspec.")]
    return {
        "nnspec": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "system": platform.system(),
        "machine": platform.machine(),
        "simd": _simd(),
        "blas": [
            {
                "library": pool.get("internal_api"),
                "version": pool.get("version"),
                "architecture": pool.get("architecture"),
                "threads": pool.get("num_threads"),
            }
            for pool in _blas()
        ],
        **({"parts": foreign} if foreign else {}),
    }


def _blas() -> list[dict[str, Any]]:
    """Return the BLAS libraries that NumPy may call: not those that SciPy brings along, if it happens to be loaded."""
    pools: list[dict[str, Any]] = [pool for pool in _libraries().info() if pool.get("user_api") == "blas"]
    own = [pool for pool in pools if {"numpy", "numpy.libs"} & {*Path(pool["filepath"]).parts}]
    return own or pools


def _simd() -> list[str]:
    """Return the SIMD extensions that NumPy found beyond its baseline; they determine its kernels."""
    import numpy

    config: Any = numpy.show_config(mode="dicts")
    return list(config.get("SIMD Extensions", {}).get("found", ()))
