"""Checkpoints: unfinished trainings on disk, so that one that was killed can be resumed.

A checkpoint is one NPZ file, written atomically: it is complete or does not exist. It holds the arrays of a snapshot
and, as JSON bytes, the history and identity of the training; a digest covers both. Nothing is unpickled.
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
from nnspec.compiler.snapshot import Snapshot, result
from nnspec.engine._numpy import np
from nnspec.engine.network import NumpyMLP, Sequential
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
    "HeldKeeper",
    "Keeper",
    "best_lane",
    "read_checkpoint",
    "restored_lane",
    "write_checkpoint",
]

FORMAT = 2
"""Format 1 had no digest of the data, and not the last weights of a lane that ended with its best ones."""
MOST_HEADER = 256 * 1024**2
"""Maximum size of the JSON header in bytes, far above that of a history of very many epochs."""
_HEADER = "checkpoint"


class CheckpointError(NnspecError):
    """A checkpoint that cannot be used. The message says why and what to do; the file stays as it is."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after an epoch or at its end."""

    identity: str
    """A digest of everything that the training depends on, except its data and the number of epochs."""
    data: str
    """A digest of its data."""
    ended: bool
    lane: Mapping[str, Any]
    """Its plain values, as `lane_values` returns them."""
    stopping: Mapping[str, float] | None
    """The state of its early-stopping rule."""
    snapshot: Snapshot
    """Its state; empty for a trial that ended, of which only the results are needed."""
    best: Mapping[str, Any]
    """The best epoch so far, and the figure that it was chosen by."""
    extra: Mapping[str, NDArray[Any]]
    """Arrays in addition to the snapshot: `best.…`, the network after the best epoch, and `scaling.…`."""

    @property
    def epochs(self) -> int:
        """Number of epochs, or records, completed."""
        return len(self.lane["epoch_seconds"])

    @property
    def results_only(self) -> bool:
        """Whether it holds the results of a trial that ended, but not its state, so that it cannot be continued."""
        return self.ended and not self.snapshot.arrays

    def can_extend(self, records: int) -> bool:
        """Return whether a training that ended can be extended to this many records, epochs by default: it completed
        all of a smaller number.
        """
        done, asked = self.epochs, int(self.lane["epochs"])
        return self.lane["status"] == "done" and not self.lane["stopped"] and done == asked < records

    @property
    def best_arrays(self) -> dict[str, NDArray[Any]]:
        """The network after the best epoch: parameters and other layer state, by name."""
        return {name.removeprefix("best."): array for name, array in self.extra.items() if name.startswith("best.")}


@dataclass
class Keeper:
    """Keeps the checkpoint of one training in a file: every few seconds during training, and at its end."""

    path: Path
    identity: str
    data: str
    seconds: float
    """Minimum time between two checkpoints; 0 writes one after every epoch. Results do not depend on it."""
    start: Checkpoint | None = None
    """Where the training resumes."""
    other_data: bool = False
    """Whether the training may be continued on other data. It then uses all features, even those that are always zero
    in this data."""
    unsaved: str = ""
    """Why the last checkpoint could not be written; empty if it was."""
    durable: bool = True
    """Whether a checkpoint must survive a failure of the machine."""
    _last: float | None = None

    def due(self) -> bool:
        """Return whether it is time for the next checkpoint."""
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
        """Write a checkpoint. If that fails, training continues, and `unsaved` says why.

        Raises UnstorableError.
        """
        extra = {f"best.{name}": array for name, array in best_arrays.items()} | scaling_arrays(lane)
        checkpoint = Checkpoint(self.identity, self.data, ended, lane_values(lane), stopping, snapshot, best, extra)
        self.write(checkpoint)
        self._last = time.monotonic()

    def write(self, checkpoint: Checkpoint) -> None:
        """Store a checkpoint; if that fails, `unsaved` says why."""
        self.unsaved = ""
        try:
            self.store(checkpoint)
        except OSError as error:
            self.unsaved = f"the checkpoint {self.path} cannot be written: {error.strerror or error}"

    def read(self) -> Checkpoint | None:
        """Return the last checkpoint, or None if there is none. Raises CheckpointError."""
        return read_checkpoint(self.path, self.identity, self.data)

    def store(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint to its file. Raises OSError."""
        write_checkpoint(self.path, checkpoint, self.durable)


@dataclass
class HeldKeeper(Keeper):
    """Keeps the last checkpoint of a training in memory, for another process to write or for another run to
    continue."""

    held: Checkpoint | None = None

    def due(self) -> bool:
        """Return False: only the checkpoint at the end of a training is kept."""
        return False

    def store(self, checkpoint: Checkpoint) -> None:
        """Keep it in memory."""
        self.held = checkpoint


def write_checkpoint(path: Path, checkpoint: Checkpoint, durable: bool = True) -> None:
    """Write a checkpoint atomically. Raises OSError."""
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
    with atomic(path, durable=durable) as file:
        np.savez(file, allow_pickle=False, **{_HEADER: np.frombuffer(text, np.uint8), "sha256": digest}, **arrays)


def _digest(text: bytes, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    digest = hashlib.sha256(text)
    for name in sorted(arrays):
        digest.update(f"{name}{arrays[name].dtype}{arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.digest()


def read_checkpoint(path: Path, identity: str, data: str, older: str = "") -> Checkpoint | None:
    """Return the checkpoint in a file, or None if the file does not exist. `older` is the identity of the training in
    checkpoints of older versions.

    Raises CheckpointError for a file that is damaged or belongs to another training.
    """
    with suppress(OSError):
        for left in path.parent.glob(f".{path.name}.*.part"):  # left by a process that was killed while writing
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
    for right, what in (
        (found.identity in (identity, older), "belongs to another lane, seed or experiment"),
        (found.data == data, "was trained on different data; the data has changed since"),
    ):
        if not right:
            raise CheckpointError(f"the checkpoint {path} {what}; choose another folder with --out")
    return found


def _read(file: Any) -> Checkpoint:
    arrays = stored_arrays(file)
    text, digest = arrays.pop(_HEADER).tobytes(), arrays.pop("sha256").tobytes()
    if len(text) > MOST_HEADER:
        raise ValueError("its header is too large")
    header = json.loads(text)
    if header["format"] != FORMAT:
        raise ValueError("it was written by another version of nnspec")
    if digest != _digest(text, arrays):
        raise ValueError("its digest differs")
    extra = {name: array for name, array in arrays.items() if name.startswith(("best.", "scaling."))}
    lane_from(header["lane"], extra, Sequential())  # the digest is right, but anyone can compute one
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
    checkpoint.can_extend(0)  # raises if these values are missing or of another type
    return checkpoint


def best_lane(experiment: Experiment, checkpoint: Checkpoint) -> LaneResult:
    """Return the result of an unfinished training after its best epoch."""
    best = {"kept": int(checkpoint.best["epoch"]), "tables": checkpoint.best["tables"]}
    return restored_lane(experiment, replace(checkpoint, lane={**checkpoint.lane, **best}))


def restored_lane(experiment: Experiment, checkpoint: Checkpoint) -> LaneResult:
    """Return the result of a finished training, including its network; a trial has none."""
    lane = {**checkpoint.lane, "epochs": experiment.length.records}
    if experiment.trial is not None:
        return lane_from(lane, checkpoint.extra, NumpyMLP())
    network, arrays = build_network(experiment), result(checkpoint.snapshot)
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
    return lane_from(lane, checkpoint.extra, network)
