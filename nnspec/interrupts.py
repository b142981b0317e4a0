"""Ctrl-C and what means the same, held back while something must not be cut in two."""

from __future__ import annotations

import signal
import threading
from typing import Any

__all__ = ["SIGNALS", "CtrlC"]

SIGNALS = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What interrupts a run: a terminal or a scheduler may send them to the parent and all workers at once."""


class CtrlC:
    """Within, Ctrl-C waits for `check`, so that no message is cut in two; so does any other signal that interrupts.

    Signals come to the main thread alone, and those that are ignored or end the process still do.
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
        """Raise KeyboardInterrupt where it was pressed."""
        if self.pressed:
            raise KeyboardInterrupt
