"""The process that draws the picture of a run: see `drawing.py`, which starts it.

It has imported matplotlib and prepared a figure by the time that lanes are trained; so it imports no more than that.
"""

from __future__ import annotations

import io
import json
import os
import sys
from threading import Thread
from typing import IO

from nnspec.view.pictures.figure import Blank, draw_figure, matplotlib_module
from nnspec.view.pictures.panels import Panel

__all__ = ["in_words", "main"]


def in_words(error: Exception) -> str:
    """Return the type and message of an error."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def main() -> None:
    """Draw the picture that comes as JSON on stdin, and write it to stdout as PNG."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not end up in the picture
    try:
        _draw(sys.stdin.buffer, out)
        code = 0
    except Exception as error:  # noqa: BLE001  (the other process reports any error)
        print(in_words(error).replace("\n", " "), file=sys.stderr)
        code = 1
    sys.stderr.flush()
    os._exit(code)  # immediately: there is nothing to clean up


def _draw(source: IO[bytes], out: IO[bytes]) -> None:
    record: list[bytes] = []
    listening = Thread(target=lambda: record.append(source.read()), daemon=True)
    listening.start()
    matplotlib_module()
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401

    blank = Blank.warm() if listening.is_alive() else None  # no curves yet: time to get ready
    listening.join()
    if record[0]:  # else the run ended with nothing to draw
        content = io.BytesIO()
        picture = json.loads(record[0])
        panels = [Panel(**panel) for panel in picture.pop("panels")]
        draw_figure(**picture, panels=panels, path=content, blank=blank)
        out.write(content.getbuffer())
    out.close()
