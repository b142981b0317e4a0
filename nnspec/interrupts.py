"""Delaying Ctrl-C and equivalent signals during work that must not be interrupted."""

from __future__ import annotations

import signal
import threading
from typing import Any

__all__ = ["SIGNALS", "CtrlC"]

SIGNALS = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that interrupt a run. A terminal or scheduler may send them to the parent and all workers at once."""


class CtrlC:
    """Delay Ctrl-C and other interrupting signals until `check`, so that messages are not cut off.

    Only the main thread receives signals. Signals that are ignored, or that end the process, still are or do.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> CtrlC:
        if threading.current_thread() is threading.main_thread():
            for each in SIGNALS:
                if callable(before := signal.getsignal(each)) and not isinstance(before, signal.Handlers):
                    self._before[each] = signal.signal(each, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for each, before in self._before.items():
            signal.signal(each, before)

    def _note(self, *_: object) -> None:
        self.pressed = True

    def check(self) -> None:
        """Raise KeyboardInterrupt if it was pressed."""
        if self.pressed:
            raise KeyboardInterrupt
