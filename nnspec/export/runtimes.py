"""Running exported files: where each kind of file runs, and how the values inside are observed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.export import harness
from nnspec.export.certificate import ExportError
from nnspec.export.program import Program
from nnspec.export.target import Artefact
from nnspec.text import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Missing", "Runtime", "Values"]

Values = Mapping[str, "NDArray[Any]"]
"""What an exported file computed, by the names of the program's values."""
_SECONDS = 600
_GRACE = 2
"""Seconds until a program that does not end is killed."""


class Missing(ExportError):
    """A runtime that is not installed, so that the file cannot be verified in it."""


@dataclass(frozen=True)
class Runtime:
    """Where an exported file runs."""

    version: Callable[[], str]
    """Return name and version. Raises Missing."""
    run: Callable[[Path, Artefact, Program, Sequence[NDArray[Any]]], list[Values]]
    """Run the file on batches of samples as they are stored, and return all values for each. Raises ExportError."""
    most: int = 256
    """The most samples of a batch: some runtimes are slow."""
    lacks: Callable[[Program], str] = lambda program: ""
    """Why it cannot run a program, though others can; "" if it can."""
    test: Callable[[Path], None] = lambda path: None
    """Run the file's test of itself, if it has one. Raises ExportError."""


def process(words: Sequence[str | Path], what: str, stdin: bytes | None = None) -> bytes:
    """Run a program and return its output. Raises ExportError if it fails, with the last of what it says."""
    pipe = subprocess.PIPE
    try:
        running = subprocess.Popen(  # noqa: S603
            [str(word) for word in words], stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except OSError as error:
        raise ExportError(f"{what} cannot be started: {error.strerror or error}") from None
    with running:
        try:
            output, errors = running.communicate(stdin, _SECONDS)
        except subprocess.TimeoutExpired:
            _end(running)
            raise ExportError(f"{what} did not end within {_SECONDS} seconds") from None
        except BaseException:
            _end(running)
            raise
    if running.returncode:
        last = [printable(line) for line in errors.decode(errors="replace").strip().splitlines()[-8:]]
        raise ExportError("\n".join([f"{what} failed with exit code {running.returncode}:", *last]))
    return output


def _end(running: subprocess.Popen[bytes]) -> None:
    """End a program with all that it has started, such as the passes of a compiler; first so that it can clean up."""
    if not hasattr(os, "killpg"):
        running.kill()
        return
    for each in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(running.pid, each)
        with suppress(subprocess.TimeoutExpired):
            running.wait(_GRACE)


def in_python(path: Path, artefact: Artefact, program: Program, cases: Sequence[NDArray[Any]]) -> list[Values]:
    """Run a file of Python in a process of its own, without nnspec."""
    with tempfile.TemporaryDirectory(prefix="nnspec-export-") as work:
        np.savez(Path(work, "cases.npz"), allow_pickle=False, **{f"x{i}": x for i, x in enumerate(cases)})
        lines = [(line.value, line.line, line.variable) for line in artefact.lines]
        Path(work, "lines.json").write_text(json.dumps(lines))
        process([sys.executable, "-I", harness.__file__, path.resolve(), work], f"running {path.name}")
        with np.load(Path(work, "values.npz"), allow_pickle=False) as found:
            values: list[dict[str, NDArray[Any]]] = [{} for _ in cases]
            for key in found.files:
                number, _, name = key.partition("/")
                values[int(number)][name] = found[key]
    for each in values:  # what the functions return counts, not what is inside
        each[program.outputs.name] = each.pop("outputs()")
        if program.probabilities is not None:
            each[program.probabilities.name] = each.pop("probabilities()")
    return list(values)


def version_of(package: str, extra: str) -> Callable[[], str]:
    """Return a function that returns name and version of an installed package. It raises Missing."""

    def version() -> str:
        if importlib.util.find_spec(package) is None:
            raise Missing(f"{package} is not installed: {extra}")
        return f"{package} {importlib.metadata.version(package)}"

    return version


def python_version() -> str:
    """Return the versions of Python and NumPy."""
    return f"Python {sys.version.split()[0]} with NumPy {np.__version__}"
