"""Making kernels in a process of its own, while training goes on without them."""

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
    """Has kernels made, at most one process at a time. What is left of it at the end of this process is ended too."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._attempts: dict[str, int] = {}
        atexit.register(self.close)

    def ready(self, names: Iterable[str], *, wait: bool = False) -> bool:
        """Whether all of these kernels are there. Those that are not are made: now with `wait`, else meanwhile."""
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
        """Make kernels and wait for them. Ctrl-C ends the process that makes them; a compiler in this process would
        hear of it late or not at all. What could not be kept on disk is made here."""
        self.close()
        self._start(names)
        try:
            if self._process is not None:
                self._process.wait()
        finally:
            self.close()
        make(names)

    def _start(self, names: list[str]) -> None:
        nothing = subprocess.DEVNULL
        command = [sys.executable, "-m", "nnspec.native.library", *names]
        try:
            variables = {**os.environ, "NNSPEC_CACHE_DIR": str(library.folder().parent)}
            self._process = subprocess.Popen(  # noqa: S603  (names of kernels)
                command, stdin=subprocess.PIPE, stdout=nothing, stderr=nothing, env=variables
            )
        except OSError:  # no more processes here: training goes on as it is
            self._process = None

    def close(self) -> None:
        """End the process that makes kernels, if there is one; those that it has made stay."""
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
