"""Compile kernels in a separate process while training continues without them."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from collections.abc import Iterable
from functools import cache

from nnspec.native import library
from nnspec.native.library import available, make, missing

__all__ = ["Builder", "the_builder"]

_MOST_ATTEMPTS = 2


class Builder:
    """Compiles kernels in at most one child process at a time. The child is ended when this process ends."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._attempts: dict[str, int] = {}
        atexit.register(self.close)

    def ready(self, names: Iterable[str], *, wait: bool = False) -> bool:
        """Whether all of these kernels are compiled. Others are compiled: now if `wait`, else in the background."""
        if not available():
            return False
        lacking = missing(names)
        if not lacking:
            return True
        if wait:
            self._make(lacking)
            return not missing(names)
        if self._process is not None and self._process.poll() is None:
            return False
        lacking = [name for name in lacking if self._attempts.get(name, 0) < _MOST_ATTEMPTS]
        if lacking:
            for name in lacking:
                self._attempts[name] = self._attempts.get(name, 0) + 1
            self._start(lacking)
        return False

    def _make(self, names: list[str]) -> None:
        """Compile kernels and wait for them. Ctrl-C ends the child process; a compiler in this process would react late
        or not at all. Kernels that could not be saved to disk are compiled in this process.
        """
        self._start(names)
        try:
            if self._process is not None:
                self._process.wait()
        finally:
            self.close()
        make(names)

    def _start(self, names: list[str]) -> None:
        self.close()
        nothing = subprocess.DEVNULL
        command = [sys.executable, "-m", "nnspec.native.library", *names]
        try:
            variables = {**os.environ, "NNSPEC_CACHE_DIR": str(library.folder().parent)}
            self._process = subprocess.Popen(  # noqa: S603  (names of kernels)
                command, stdin=subprocess.PIPE, stdout=nothing, stderr=nothing, env=variables
            )
        except OSError:  # the process limit is reached: training continues without kernels
            self._process = None

    def close(self) -> None:
        """End the child process, if there is one; the kernels it has finished are kept."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()


@cache
def the_builder() -> Builder:
    """Return the builder of this process."""
    return Builder()
