"""Drawing the picture of a run, in this process or a separate one.

Importing matplotlib takes longer than many runs. `Apart` starts a process that imports it while lanes train; when they
are done, it receives the curves and sends back the picture. Only this process writes files, so no file is left
incomplete if the other one dies. That one ends when its input is closed, even if this process was killed.

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

from nnspec.compiler.proofs import Compiled
from nnspec.environment import cores
from nnspec.files import atomic
from nnspec.interrupts import CtrlC
from nnspec.results.run import RunResult
from nnspec.runner.drawing import Drawing, PictureError
from nnspec.view.pictures.curves import panels, picture_of, save_picture
from nnspec.view.pictures.painter import in_words

__all__ = ["Apart", "Here", "drawing_for"]

PATIENCE = 300.0
"""Maximum number of seconds for the other process to draw."""
_SOON = 600.0
"""Runs that are expected to take longer start the process when they are done, since it would only use memory."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
# Like `python -m`, but with the path of this process: the current folder may contain a file named `matplotlib.py`.
# Garbage collection is off: the process ends before it would pay off.
_CODE = (
    "import gc, json, sys; gc.disable(); sys.path[:] = json.loads(sys.argv[1])"
    "; from nnspec.view.pictures.painter import main; main()"
)


class Here:
    """Draws in this process."""

    waiting = False

    def begin(self, result: RunResult) -> None:
        """Do nothing: `finish` draws."""

    def finish(self, result: RunResult, path: Path) -> bool:
        """Draw and write the picture."""
        try:
            save_picture(picture_of(result), path)
        except OSError:
            raise
        except Exception as error:
            raise PictureError(in_words(error)) from error
        return True


class Apart:
    """Draws in a separate process. A context manager: leaving it ends the process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._talking = False
        self._talked = Event()  # Thread.join, if interrupted by Ctrl-C, takes a running thread for one that has ended
        self._png = self._said = b""
        self._why = ""

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._process is None:
            return
        self._process.kill()
        if self._talking:
            self._talked.wait()  # it has waited for the process
        else:
            self._process.communicate()

    @property
    def waiting(self) -> bool:
        """Whether the process has been started but not yet been sent the curves."""
        return self._process is not None and not self._talking

    def start(self) -> None:
        """Start the process. If that fails, `finish` says why."""
        try:
            self._process = subprocess.Popen(  # noqa: S603  (Python itself, without user input)
                [sys.executable, "-P", "-c", _CODE, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # Ctrl-C in a terminal only concerns this process: an interrupted run gets a picture too.
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
        record = json.dumps(asdict(picture) | {"panels": [asdict(panel) for panel in panels(picture.history)]}).encode()
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

    def finish(self, result: RunResult, path: Path) -> bool:
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
        return True

    def _end_in_words(self, code: int) -> str:
        if code < 0:
            return f"its process was killed by signal {-code}"
        lines = self._said.decode(errors="replace").strip().splitlines()
        return lines[-1] if code == 1 and lines else f"its process ended with exit code {code}"


def drawing_for(compiled: Compiled) -> AbstractContextManager[Drawing]:
    """Return the object that draws the picture of a run: a separate process, started immediately if the run is short.

    If that saves no time (a single core, or matplotlib already imported), this process draws.
    """
    if cores() == 1 or "matplotlib" in sys.modules:
        return nullcontext(Here())
    apart = Apart()
    if compiled.seconds < _SOON:
        with CtrlC() as pressed:  # otherwise Ctrl-C could leave an orphaned process
            apart.start()
        if pressed.pressed:
            with apart:
                pressed.check()
    return apart
