"""Required settings that a lane lacks."""

from __future__ import annotations

from nnspec.checker.recovery import Recovery
from nnspec.checker.vocabulary import SETTINGS, parts

__all__ = ["Missing"]

EXAMPLES = {
    "data": "for example, `data = MNIST(train=2000, test=500) or Digits(train=2000, test=500)`",
    "model": "for example, `model { Linear(64); ReLU; Linear(10) }`",
    "loss": "for example, `loss = CrossEntropy`",
    "optimizer": "for example, `optimizer = Adam(lr=0.001)`",
}


class Missing:
    """Collects missing settings over all lanes, so that each is reported once."""

    def __init__(self, recovery: Recovery) -> None:
        self.lanes: dict[str, list[str]] = {}
        """The lanes that lack each setting."""
        self._recovery = recovery

    def add(self, setting: str, lane: str) -> None:
        """Record that a lane lacks a setting, unless the setting may be in an item that could not be parsed."""
        if not self.excused(setting):
            lanes = self.lanes.setdefault(setting, [])
            if lane not in lanes:  # once per lane, since it is missing at every point of a sweep
                lanes.append(lane)

    def excused(self, setting: str) -> bool:
        """Whether an unknown item or one that could not be parsed may set the setting."""
        if self._recovery.incomplete:
            return True
        kind = SETTINGS[setting].part or ("metric" if setting == "metrics" else "")
        return self._recovery.doubts(setting, "race", *(parts(kind) if kind else ()))
