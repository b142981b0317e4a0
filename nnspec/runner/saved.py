"""Runs that lie on disk, read back. Whatever is in the folder is checked and bounded before it is used.

run.json        which experiment it is: `Manifest`
spec.nn         its text
history.json    the curves
summary.json    what was run, on what, and what came of it
trace.json      a digest of every tensor after every epoch
"""

from __future__ import annotations

import json
import lzma
import math
import os
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.errors import NnspecError
from nnspec.runner.naming import folder_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "DAMAGE",
    "MANIFEST",
    "RECORDS",
    "SPEC_COPY",
    "Manifest",
    "RunError",
    "SavedRun",
    "open_regular",
    "open_run",
    "read_manifest",
    "stored_arrays",
    "usable",
]

FORMAT = 1
MANIFEST, SPEC_COPY = "run.json", "spec.nn"
RECORDS = ("history.json", "summary.json", "trace.json")
"""What is written when a run ends."""
DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a damaged archive or record may raise."""
MOST_MANIFEST, MOST_RECORD, MOST_SPEC = 1024**2, 512 * 1024**2, 4 * 1024**2


class RunError(NnspecError):
    """A folder that holds no run, or one that cannot be used. The message says why and what to do."""


@dataclass(frozen=True)
class Manifest:
    """What `run.json` says of a run before anything is trained."""

    spec: str
    """The spec's path, as it was given."""
    identity: str
    """Names all that its numbers depend on."""
    home: str = "."
    """The folder that the spec lay in, as it is from the folder of the run."""
    set: tuple[str, ...] = ()
    """What was given with `--set`."""
    imports: Mapping[str, str] = field(default_factory=dict)
    """The sha256 of each file that the spec imports, by its path."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Versions, machine and BLAS at the start."""

    def record(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {"format": FORMAT, **asdict(self)}


def read_manifest(path: Path) -> Manifest:
    """Read a `run.json`. Raises RunError for one that is damaged, OSError for one that cannot be read."""
    with usable(path):
        found = _json(path, MOST_MANIFEST)
        if found["format"] != FORMAT:
            raise ValueError("its format is unknown")
        return Manifest(
            spec=_text(found["spec"]),
            identity=_text(found["identity"]),
            home=_text(found["home"]),
            set=tuple(_text(text) for text in found["set"]),
            imports={_text(name): _text(digest) for name, digest in found["imports"].items()},
            environment=dict(found["environment"]),
        )


def _text(value: Any) -> str:
    """Return a value that must be text, as a path may be. Raises TypeError, ValueError."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    if "\0" in value or not value.isprintable():
        raise ValueError(f"{value[:40]!a} is no name")
    return value


@dataclass(frozen=True)
class SavedRun:
    """A run on disk. Its records are read when they are asked for; RunError says where one is missing or damaged."""

    path: Path
    manifest: Manifest

    @cached_property
    def text(self) -> str:
        """The spec, as it was read."""
        path = self.path / SPEC_COPY
        with usable(path):
            return _bytes(path, MOST_SPEC).decode()

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What `summary.json` holds."""
        return self._record("summary.json")

    @cached_property
    def history(self) -> dict[str, dict[str, Any]]:
        """The curves of each lane, as `history.json` has them: figure -> a value an epoch; `repeats` lists them."""
        return self._lanes_of("history.json")

    @cached_property
    def trace(self) -> dict[str, list[dict[str, Any]]]:
        """Each lane's trainings: `seed`, and by tensor a digest an epoch."""
        return self._lanes_of("trace.json")

    @property
    def lanes(self) -> list[str]:
        """The names of its lanes, in the order of the spec."""
        with usable(self.path / "summary.json"):
            return [str(lane["name"]) for lane in self.summary["lanes"]]

    @property
    def best_lane(self) -> str:
        """The lane with the lowest `test_loss`, or where lanes have different losses the best `test_accuracy`.

        Raises RunError where no lane came to an end.
        """
        with usable(self.path / "summary.json"):
            lanes = [lane for lane in self.summary["lanes"] if lane["status"] not in ("diverged", "failed")]
            if not lanes:
                raise RunError(f"no lane of {self.path} came to its end")
            if len({lane["loss"] for lane in lanes}) > 1 and all("test_accuracy" in lane["final"] for lane in lanes):
                return str(max(lanes, key=lambda lane: lane["final"]["test_accuracy"])["name"])
            return str(min(lanes, key=lambda lane: lane["final"].get("test_loss", math.inf))["name"])

    def lane(self, name: str) -> dict[str, Any]:
        """Return what the summary says of a lane. Raises RunError where there is no such lane."""
        with usable(self.path / "summary.json"):
            for lane in self.summary["lanes"]:
                if lane["name"] == name:
                    return dict(lane)
        raise RunError(f"{self.path} has no lane {name}; there are {', '.join(self.lanes)}")

    def seeds(self, name: str) -> list[int]:
        """Return the seeds that a lane was trained with, in order."""
        with usable(self.path / "summary.json"):
            lane = self.lane(name)
            return [int(one["seed"]) for one in lane.get("repeats", [lane])]

    def weights_file(self, name: str, seed: int | None = None) -> Path:
        """Return where the weights of a lane lie; of a lane with repeats, those of a seed, by default the first."""
        folder = dict(zip(self.lanes, folder_names(self.lanes), strict=True))[self.lane(name)["name"]]
        seeds = self.seeds(name)
        if seed is not None and seed not in seeds:
            raise RunError(f"{name} in {self.path} was not trained with seed {seed}; there are {_list(seeds)}")
        several = "repeats" in self.lane(name)
        return self.path / folder / (f"seed-{seeds[0] if seed is None else seed}.npz" if several else "weights.npz")

    def weights(self, name: str, seed: int | None = None) -> dict[str, NDArray[Any]]:
        """Return the arrays of a lane by name: parameters, what layers remember, and `input.mean`, `input.deviation`
        where samples are standardised. Raises RunError where they are not there or damaged."""
        path = self.weights_file(name, seed)
        with usable(path):
            there = path.exists()
        if not there:
            status = self.lane(name).get("status")
            why = f"; the lane {status}" if status in ("diverged", "failed") else ""
            raise RunError(f"there are no weights {path}{why}")
        with usable(path), open_regular(path) as file:
            return stored_arrays(file)

    def _lanes_of(self, name: str) -> dict[str, Any]:
        record = self._record(name)
        with usable(self.path / name):
            return dict(record["lanes"])

    def _record(self, name: str) -> dict[str, Any]:
        path = self.path / name
        with usable(path):
            there = path.exists()
        if not there:
            raise RunError(f"{self.path} has no {name}: its run has not ended; go on with it by --resume")
        with usable(path):
            return _json(path, MOST_RECORD)


def open_run(path: str | os.PathLike[str]) -> SavedRun:
    """Open the folder of a run. Raises RunError where it holds none."""
    folder = Path(path)
    if folder.name == MANIFEST:
        folder = folder.parent
    try:
        if (folder / MANIFEST).is_file():
            return SavedRun(folder, read_manifest(folder / MANIFEST))
        latest = folder / "latest"
        if (latest / MANIFEST).is_file():
            raise RunError(f"{folder} is a row of runs; name one of them, such as {latest}")
        what = f"there is no {MANIFEST} in it" if folder.is_dir() else "it is no folder" if folder.exists() else ""
    except (OSError, ValueError) as error:
        raise RunError(f"{folder} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    raise RunError(f"{folder} is no run: {what}" if what else f"there is no run {folder}")


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """Within, what shows that a file is damaged becomes a RunError that names it."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from None
    except NnspecError:
        raise
    except DAMAGE as error:
        raise RunError(f"{path} is damaged ({type(error).__name__}: {_short(error)})") from None


def _short(error: BaseException) -> str:
    """What an error says, on one line."""
    text = " ".join(str(error).split())[:120]
    return text if text.isprintable() else ascii(text)[1:-1]


def _bytes(path: Path, most: int) -> bytes:
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it is larger than {most // 1024**2} MiB")
    return data


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file, and wait for nothing. Raises ValueError for what is none."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ValueError("it is no regular file")
    return os.fdopen(handle, "rb")


def stored_arrays(file: IO[bytes]) -> dict[str, NDArray[Any]]:
    """Return the arrays of an NPZ archive as nnspec writes them, which are not compressed: no more than the file holds.

    Raises one of DAMAGE.
    """
    with np.load(file, allow_pickle=False) as archive:
        for member in archive.zip.infolist():
            if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
                raise ValueError("it is compressed, and nnspec writes arrays as they are")
        return {name: archive[name] for name in archive.files}


def _json(path: Path, most: int) -> dict[str, Any]:
    found = json.loads(_bytes(path, most), parse_float=_finite, parse_constant=_finite)
    if not isinstance(found, dict):
        raise TypeError("it holds no object")
    return found


def _finite(text: str) -> float:
    """Read a number of a record. Raises ValueError for one that is not finite, which nnspec writes none of."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value


def _list(values: list[int]) -> str:
    return ", ".join(map(str, values[:12])) + (", …" if len(values) > 12 else "")
