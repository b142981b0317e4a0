"""What a run came to, and runs that are ended on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from nnspec.results.lane import LaneResult
from nnspec.training.observer import Silent


def outcome(folder: Path) -> tuple[Any, dict[str, bytes]]:
    """What a run came to, without its clock times: its curves, and the bytes of every array."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: timeless(v) for k, v in value.items() if k != "seconds"}
        return [timeless(item) for item in value] if isinstance(value, list) else value

    arrays = {}
    for file in sorted(folder.glob("*/*.npz")):
        with np.load(file, allow_pickle=False) as archive:
            arrays |= {f"{file.parent.name}/{file.name}:{name}": archive[name].tobytes() for name in archive.files}
    return timeless(json.loads((folder / "history.json").read_text("utf-8"))), arrays


class Stopper(Silent):
    """Presses Ctrl-C after an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def epoch_done(self, lane: LaneResult) -> None:
        if len(lane.epoch_seconds) == self.epoch:
            raise KeyboardInterrupt
