"""What a run ran on, for its record."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nnspec.engine.compiled import CompilerMissing, asked_for, compiled
from nnspec.errors import NnspecError

__all__ = ["check_compiler", "environment", "one_blas_thread"]


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run products on one thread: with more, the order of their sums depends on the machine."""
    import numpy  # noqa: F401  (a library that is not loaded yet cannot be limited)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield


def check_compiler() -> None:
    """Raise NnspecError where compiled kernels are asked for and cannot be had."""
    try:
        if asked_for():
            compiled(lambda: None)
    except (ValueError, CompilerMissing) as error:
        raise NnspecError(str(error)) from error


def environment() -> dict[str, Any]:
    """Return versions, machine and BLAS, as they are now."""
    import numpy
    from threadpoolctl import threadpool_info

    from nnspec._version import __version__

    return {
        "nnspec": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "system": platform.system(),
        "machine": platform.machine(),
        "compiled": asked_for(),
        "blas": [
            {
                "library": pool.get("internal_api"),
                "version": pool.get("version"),
                "architecture": pool.get("architecture"),
                "threads": pool.get("num_threads"),
            }
            for pool in threadpool_info()
            if pool.get("user_api") == "blas"
        ],
    }
