"""Trainings on disk while they go on, so that one that was ended from outside goes on where it was.

A checkpoint is one NPZ file, written under another name and renamed: it is whole or not there. It holds the arrays of a
snapshot, and as JSON bytes the history and the identity of the training; a digest covers both. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnspec.compiler.plan import build_network
from nnspec.compiler.snapshot import Snapshot
from nnspec.engine._numpy import np
from nnspec.engine.network import Sequential
from nnspec.errors import NnspecError
from nnspec.files import atomic, open_regular, utf8
from nnspec.records.reading import DAMAGE, stored_arrays
from nnspec.results.lane import LaneResult
from nnspec.results.stored import lane_from, lane_values, scaling_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.checker.program import Experiment

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Keeper",
    "best_lane",
    "read_checkpoint",
    "restored_lane",
    "write_checkpoint",
]

FORMAT = 2
"""1 named neither the data nor, of a lane that ended with its best weights, the last ones."""
MOST_HEADER = 256 * 1024**2
"""The most bytes of JSON that are read: histories of very many epochs are far below."""
_HEADER = "checkpoint"


class CheckpointError(NnspecError):
    """A checkpoint that cannot be used. The message says why and what to do; the file stays as it is."""


@dataclass(frozen=True)
class Checkpoint:
    """A training as it stood after an epoch, or at its end."""

    identity: str
    """Names all that the training depends on, but its data and the number of epochs."""
    data: str
    """The digest of its data."""
    ended: bool
    lane: Mapping[str, Any]
    """Its plain values, as `lane_values` returns them."""
    stopping: Mapping[str, float] | None
    """What the rule remembers that stops it early."""
    snapshot: Snapshot
    best: Mapping[str, Any]
    """Which epoch is the best so far, and by which figure."""
    extra: Mapping[str, NDArray[Any]]
    """Arrays beside the snapshot: `best.…`, what the network was after the best epoch, and `scaling.…`."""

    @property
    def epochs(self) -> int:
        """How many were done."""
        return len(self.lane["epoch_seconds"])

    def goes_on(self, epochs: int) -> bool:
        """Whether a training that ended goes on if so many epochs are asked for now: it came to the last of fewer."""
        done, asked = self.epochs, int(self.lane["epochs"])
        return self.lane["status"] == "done" and not self.lane["stopped"] and done == asked < epochs

    @property
    def best_arrays(self) -> dict[str, NDArray[Any]]:
        """What the network was after the best epoch: parameters and what layers remember, by name."""
        return {name.removeprefix("best."): array for name, array in self.extra.items() if name.startswith("best.")}


@dataclass
class Keeper:
    """Keeps one training's checkpoint at a place: at its end, and on the way every so many seconds."""

    path: Path
    identity: str
    data: str
    seconds: float
    """Least time between two on the way; 0 keeps every epoch. No number of the run depends on it."""
    start: Checkpoint | None = None
    """Where the training resumes."""
    unsaved: str = ""
    """Why the last one could not be written, where that is so."""
    _last: float | None = None

    def due(self) -> bool:
        """Whether it is time for another one."""
        now = time.monotonic()
        self._last = self._last if self._last is not None else now
        return now - self._last >= self.seconds

    def keep(
        self,
        snapshot: Snapshot,
        lane: LaneResult,
        stopping: Mapping[str, float] | None,
        best: Mapping[str, Any],
        best_arrays: Mapping[str, NDArray[Any]],
        *,
        ended: bool,
    ) -> None:
        """Write a checkpoint. Where that fails, training continues, and `unsaved` says why.

        Raises UnstorableError.
        """
        extra = {f"best.{name}": array for name, array in best_arrays.items()} | scaling_arrays(lane)
        checkpoint = Checkpoint(self.identity, self.data, ended, lane_values(lane), stopping, snapshot, best, extra)
        self.write(checkpoint)
        self._last = time.monotonic()

    def write(self, checkpoint: Checkpoint) -> None:
        """Put a checkpoint in its place; where that fails, `unsaved` says why."""
        self.unsaved = ""
        try:
            self.store(checkpoint)
        except OSError as error:
            self.unsaved = f"the checkpoint {self.path} cannot be written: {error.strerror or error}"

    def read(self) -> Checkpoint | None:
        """Return what was kept last; None where nothing was. Raises CheckpointError."""
        return read_checkpoint(self.path, self.identity, self.data)

    def store(self, checkpoint: Checkpoint) -> None:
        """Put it in its place. Raises OSError."""
        write_checkpoint(self.path, checkpoint)


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint: all of it, or nothing. Raises OSError."""
    header = {
        "format": FORMAT,
        "identity": checkpoint.identity,
        "data": checkpoint.data,
        "ended": checkpoint.ended,
        "lane": checkpoint.lane,
        "stopping": checkpoint.stopping,
        "best": checkpoint.best,
        "values": checkpoint.snapshot.values,
    }
    text = utf8(json.dumps(header, ensure_ascii=False))
    arrays = {**checkpoint.snapshot.arrays, **checkpoint.extra}
    digest = np.frombuffer(_digest(text, arrays), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as file:
        np.savez(file, allow_pickle=False, **{_HEADER: np.frombuffer(text, np.uint8), "sha256": digest}, **arrays)


def _digest(text: bytes, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    digest = hashlib.sha256(text)
    for name in sorted(arrays):
        digest.update(f"{name}{arrays[name].dtype}{arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.digest()


def read_checkpoint(path: Path, identity: str, data: str) -> Checkpoint | None:
    """Return the checkpoint at a place, None where there is none.

    Raises CheckpointError for a file that is damaged, or that belongs to another training.
    """
    with suppress(OSError):
        for left in path.parent.glob(f".{path.name}.*.part"):  # of a process that was killed while it wrote
            left.unlink()
    try:
        with open_regular(path) as file:
            found = _read(file)
    except FileNotFoundError:
        return None
    except (OSError, *DAMAGE) as error:
        why = getattr(error, "strerror", None) or "it is damaged"
        raise CheckpointError(
            f"the checkpoint {path} cannot be used: {why}; remove it to train its lane from the start"
        ) from None
    for known, own, what in (
        (found.identity, identity, "belongs to another lane, seed or experiment"),
        (found.data, data, "was trained on different data; the data has changed since"),
    ):
        if known != own:
            raise CheckpointError(f"the checkpoint {path} {what}; choose another folder with --out")
    return found


def _read(file: Any) -> Checkpoint:
    arrays = stored_arrays(file)
    text, digest = arrays.pop(_HEADER).tobytes(), arrays.pop("sha256").tobytes()
    if len(text) > MOST_HEADER:
        raise ValueError("its header is too large")
    header = json.loads(text)
    if header["format"] != FORMAT:
        raise ValueError("another version of nnspec wrote it")
    if digest != _digest(text, arrays):
        raise ValueError("its digest differs")
    extra = {name: array for name, array in arrays.items() if name.startswith(("best.", "scaling."))}
    lane_from(header["lane"], extra, Sequential())  # their digest is right, but anyone can compute one
    checkpoint = Checkpoint(
        identity=str(header["identity"]),
        data=str(header["data"]),
        ended=bool(header["ended"]),
        lane=dict(header["lane"]),
        stopping=header["stopping"],
        snapshot=Snapshot({name: array for name, array in arrays.items() if name not in extra}, header["values"]),
        best=dict(header["best"]),
        extra=extra,
    )
    checkpoint.goes_on(0)  # whether it can say
    return checkpoint


def best_lane(experiment: Experiment, checkpoint: Checkpoint) -> LaneResult:
    """Return a training that has not ended as it was after its best epoch."""
    best = {"kept": int(checkpoint.best["epoch"]), "tables": checkpoint.best["tables"]}
    return restored_lane(experiment, replace(checkpoint, lane={**checkpoint.lane, **best}))


def restored_lane(experiment: Experiment, checkpoint: Checkpoint) -> LaneResult:
    """Return a training that has ended, network and all, as it was when it ended."""
    network, arrays = build_network(experiment), checkpoint.snapshot.arrays
    start = 0
    for parameter in network.parameters():
        part = arrays["parameters"][start : start + parameter.size]
        parameter.data = part.reshape(parameter.shape).copy()
        start += parameter.size
    for name, array in network.state().items():
        np.copyto(array, arrays[f"layer.{name}"])
    if checkpoint.lane["kept"]:
        network.load_state_dict(checkpoint.best_arrays)
    network.eval()
    return lane_from({**checkpoint.lane, "epochs": experiment.train.epochs}, checkpoint.extra, network)
