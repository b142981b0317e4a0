"""Processes that need not import anything, since they are forked from one that has.

The command line starts as a copy of this process. Its pipes, terminals, signals and exit code are real: `Popen` makes
the process, up to the point where it would execute another program. Where it matters how Python itself starts, use
`tiny_spec.nnspec`. Functions run in copies of a server.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import runpy
import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence
from multiprocessing import get_all_start_methods, get_context, resource_tracker
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, NoReturn, TextIO

from tiny_spec import COMMAND, environment

from nnspec.cli import main
from nnspec.executors import processes
from nnspec.export.certificate import ExportError
from nnspec.native.builder import the_builder

__all__ = ["forked", "python", "server", "start"]

_PRELOADED = [
    "distributed.cli.dask_scheduler",
    "distributed.cli.dask_worker",
    "nnspec.executors.dask_cluster",
    "tiny_spec",
]


def server() -> BaseContext:
    """Return the context whose processes are forked from a server that has imported Dask and nnspec."""
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def start(*arguments: str | Path, cwd: Path, variables: dict[str, str] | None = None, **options: Any) -> Any:
    """Start the command line in a folder, with the options of `subprocess.Popen`; return the `Popen`."""
    env = environment(cwd / ".cache", **(variables or {}))
    if not hasattr(os, "fork"):
        return subprocess.Popen([*COMMAND, *map(str, arguments)], cwd=cwd, env=env, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks beside threads
        return subprocess.Popen(["nnspec"], cwd=cwd, preexec_fn=lambda: _become([*map(str, arguments)], env), **options)


def forked(*arguments: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder; its output is pipes."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    with start(*arguments, cwd=cwd, variables=variables, **pipes) as process:
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def python(words: Sequence[str | Path], what: str) -> bytes:
    """Run `python -I FILE ARGUMENTS`, as `nnspec.export.runtimes.process` does, in a copy of this process."""
    _, _, *arguments = map(str, words)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks beside threads
        done = subprocess.run(["python"], capture_output=True, preexec_fn=lambda: _execute(arguments), check=False)
    if done.returncode:
        raise ExportError(f"{what} failed: {done.stderr.decode()}")
    return done.stdout


def _execute(arguments: list[str]) -> NoReturn:
    """Run a file with its arguments, as if nnspec had never been imported."""
    code = 1
    try:
        gc.freeze()
        os.closerange(3, 4096)
        sys.stdout, sys.stderr = _stream(1, "strict"), _stream(2, "backslashreplace")
        for name in [*sys.modules]:
            if name.partition(".")[0] == "nnspec":
                del sys.modules[name]
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
        code = 0
    except BaseException:  # noqa: BLE001  (it is shown as Python shows it)
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _become(arguments: Sequence[str], env: dict[str, str]) -> NoReturn:
    """Be the command line from here on, as in a process that Python has just started."""
    code: Any = 70
    try:
        the_builder.cache_clear()  # the tests may have one that compiles kernels; its pipe is closed here
        processes.get_context = get_context  # the server is a child of another process
        gc.freeze()  # garbage of the tests may hold files: collected here, it would close this process's own
        os.closerange(3, 4096)  # with it the pipe on which `Popen` waits for a program to be executed
        tracker = resource_tracker._resource_tracker  # its process was started by tests, through a pipe closed here
        tracker._fd = tracker._pid = None
        faulthandler.disable()
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(env)
        warnings.resetwarnings()
        warnings.simplefilter("error")
        sys.stdin = sys.__stdin__ = open(0, encoding="utf-8")  # type: ignore[misc]  # noqa: SIM115
        sys.stdout = sys.__stdout__ = _stream(1, "strict")  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = _stream(2, "backslashreplace")  # type: ignore[misc]
        sys.argv = ["nnspec", *arguments]
        main(arguments)
    except SystemExit as stop:
        code = stop.code
    except BaseException:  # noqa: BLE001  (it is shown as Python shows it)
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _stream(number: int, errors: str) -> TextIO:
    """Open a standard stream as Python does."""
    lines = number == 2 or os.isatty(number)
    encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
    return open(number, "w", buffering=1 if lines else -1, encoding=encoding, errors=errors)
