"""Draw the picture of a run, in this process or a separate one.

Importing matplotlib takes longer than many runs train. `Apart` starts a process that imports it while lanes train; when
they are done it is sent the curves and sends back the picture. This process alone writes files, so whatever becomes of
the other one, no file is half-written. It ends when its input is closed, also where this process was killed.

    this process                          the other one
    Apart()          starts it            imports matplotlib, draws something small
    begin(result)    JSON to its stdin →  draws
    finish(path)     ← PNG on its stdout  ends
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Protocol

from nnspec.compiler.proofs import Compiled
from nnspec.environment import cores
from nnspec.errors import NnspecError
from nnspec.files import atomic
from nnspec.interrupts import CtrlC
from nnspec.results.run import RunResult
from nnspec.view.pictures.curves import panels, picture_of, save_picture
from nnspec.view.pictures.painter import in_words

__all__ = ["Apart", "Drawing", "Here", "PictureError", "drawing_for"]

PATIENCE = 300.0
"""Maximum number of seconds for the other process to draw."""
_SOON = 600.0
"""Runs that are expected to train longer start the process when they are done: it would only take up memory."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
# As `python -m` does it, but with the path of this process: the current folder may hold a file named `matplotlib.py`.
# Garbage is not looked for: the process ends before that would pay off.
_CODE = (
    "import gc, json, sys; gc.disable(); sys.path[:] = json.loads(sys.argv[1])"
    "; from nnspec.view.pictures.painter import main; main()"
)


class PictureError(NnspecError):
    """A picture could not be drawn. The message says why."""


class Drawing(Protocol):
    """Draws the picture of one run."""

    @property
    def waiting(self) -> bool:
        """Whether a process waits for the curves, and draws as soon as it has them."""

    def begin(self, result: RunResult) -> None:
        """Begin to draw a run whose lanes are done, if it has curves; once. Raises nothing."""

    def finish(self, result: RunResult, path: Path) -> None:
        """Write the picture to a file. Raises PictureError where it cannot be drawn, OSError where it cannot be
        written."""


class Here:
    """Draws in this process."""

    waiting = False

    def begin(self, result: RunResult) -> None:
        """Do nothing: `finish` draws."""

    def finish(self, result: RunResult, path: Path) -> None:
        """Draw and write the picture."""
        try:
            save_picture(picture_of(result), path)
        except OSError:
            raise
        except Exception as error:
            raise PictureError(in_words(error)) from error


class Apart:
    """Draws in a separate process. A context manager: leaving it ends the process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._talking = False
        self._talked = Event()  # Thread.join, interrupted by Ctrl-C, takes a thread that runs for one that has ended
        self._png = self._said = b""
        self._why = ""

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._process is None:
            return
        self._process.kill()
        if self._talking:
            self._talked.wait()  # which has waited for the process
        else:
            self._process.communicate()

    @property
    def waiting(self) -> bool:
        """Whether the process has been started but not yet been sent the curves."""
        return self._process is not None and not self._talking

    def start(self) -> None:
        """Start the process. If that fails, `finish` says why."""
        try:
            self._process = subprocess.Popen(  # noqa: S603  (Python itself, and no text of a user's)
                [sys.executable, "-P", "-c", _CODE, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # Ctrl-C in a terminal is for this process alone: a run that is interrupted has a picture too.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            self._why = f"cannot start a process to draw it: {error.strerror or error}"

    def begin(self, result: RunResult) -> None:
        """Send the curves; the process draws from now on."""
        picture = picture_of(result)
        if self._talking or not picture.curves:
            return
        record = json.dumps(asdict(picture) | {"panels": [asdict(panel) for panel in panels()]}).encode()
        if self._process is None and not self._why:
            self.start()
        if self._process is not None:
            try:
                Thread(target=self._talk, args=(self._process, record), daemon=True).start()
                self._talking = True
            except RuntimeError as error:
                self._why = f"cannot start a thread to draw it: {error}"

    def _talk(self, process: subprocess.Popen[bytes], record: bytes) -> None:
        try:
            self._png, self._said = process.communicate(record)
        finally:
            self._talked.set()

    def finish(self, result: RunResult, path: Path) -> None:
        """Wait for the picture, and write it."""
        if self._process is None or not self._talking:
            raise PictureError(self._why)
        if not self._talked.wait(PATIENCE):
            raise PictureError(f"it was not finished after {PATIENCE:.0f} s")
        picture = self._png[max(self._png.find(_PNG), 0) :]
        code = self._process.returncode
        if code or not (picture.startswith(_PNG) and picture.endswith(_PNG_END)):
            raise PictureError(self._end_in_words(code))
        with atomic(path) as file:
            file.write(picture)

    def _end_in_words(self, code: int) -> str:
        if code < 0:
            return f"its process was killed by signal {-code}"
        lines = self._said.decode(errors="replace").strip().splitlines()
        return lines[-1] if code == 1 and lines else f"its process ended with exit code {code}"


def drawing_for(compiled: Compiled) -> AbstractContextManager[Drawing]:
    """Return what draws the picture of a run: a process of its own, which starts at once where the run is short.

    This process draws by itself where that saves no time: on a single core, or with matplotlib imported already.
    """
    if cores() == 1 or "matplotlib" in sys.modules:
        return nullcontext(Here())
    apart = Apart()
    if compiled.seconds < _SOON:
        with CtrlC() as pressed:  # or a process could be orphaned
            apart.start()
        if pressed.pressed:
            with apart:
                pressed.check()
    return apart
