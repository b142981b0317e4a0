"""Weights of a trained network in a file: `.safetensors`, `.npz`, or the folder of a run.

`check` reads headers, which say names, dtypes and shapes, and the digest of the file; `load` reads arrays. Nothing is
unpickled.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from math import prod
from typing import IO, TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from nnspec.data.array_file import MOST_BYTES, FileRows, exactly
from nnspec.data.files import State, changed, open_file, remembered, shown
from nnspec.data.npy import each_array
from nnspec.data.source import DataError, FileFault
from nnspec.engine._numpy import np
from nnspec.engine.part import Also, FilePath, PlainPart
from nnspec.files import read_limited

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FLOATS", "Tensor", "Weights", "WeightsFacts"]

MOST_HEADER = 8 * 1024**2
"""The longest header of a safetensors file, in bytes."""
MOST_TENSORS = 20_000
_MOST_RUN = 64 * 1024**2
_MANIFEST = "run.json"
_WEIGHTS = re.compile(r"weights\.npz|seed-(\d+)\.npz")
_PIECE = 1 << 20
_LISTED = 3

FLOATS = ("float16", "bfloat16", "float32", "float64")
"""The dtypes of weights; each is converted to that of the network."""
_BITS = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "BOOL": "bool8",
    **{
        f"{letter}{bits}": f"{word}{bits}" for letter, word in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)
    },
    "F8_E4M3": "float8",
    "F8_E5M2": "float8",
}
"""The dtypes of safetensors -> ours, which end in the number of bits."""
_KINDS = {"f": "float", "i": "int", "u": "uint", "b": "bool"}


class Tensor(NamedTuple):
    """A tensor in a file."""

    name: str
    dtype: str
    """`float32`."""
    shape: tuple[int, ...]


@dataclass(frozen=True)
class WeightsFacts:
    """What is in a file of weights."""

    file: str
    """The file in the folder of a run, such as `Adam/weights.npz`; empty if the path is that of a file."""
    sha256: str
    """The digest of the file."""
    tensors: tuple[Tensor, ...]


class Weights(PlainPart):
    """Initial weights from a file: `.safetensors`, `.npz`, or the folder of a run or of one of its lanes. Tensors are
    found by their full names, such as `Linear1.weight`; `layer` is what the file calls the layer that is set, or the
    prefix of all names in it. With `transpose`, matrices are stored as `(out, in)`, as in PyTorch.
    """

    kind: ClassVar[str] = "weights file"
    spec_name = "Weights"
    also = ("load", "load_weights", "Checkpoint", "state_dict", "from_pretrained")
    converts_arguments = True

    path: Annotated[FilePath, Also("file", "filename", "checkpoint")]
    _: KW_ONLY
    layer: Annotated[str, Also("prefix", "name", "key", "module")] = ""
    transpose: Annotated[bool, Also("transposed", "pytorch")] = False

    def facts(self) -> WeightsFacts:
        """Read the headers of the file and its digest. Raises FileFault."""
        path = _weights_file(self.path)

        def read(file: IO[bytes]) -> tuple[tuple[Tensor, ...], str]:
            try:
                return _distinct(_format(path).tensors(file, path), path), _digest(file)
            except OSError as error:
                raise FileFault(f"{shown(path)} cannot be read: {error.strerror or error}") from None

        tensors, sha256 = remembered(read, path, MOST_BYTES)
        return WeightsFacts(os.path.relpath(path, self.path) if path != self.path else "", sha256, tensors)

    def load(self, facts: WeightsFacts, names: Iterable[str]) -> dict[str, NDArray[Any]]:
        """Return arrays in the dtype of the file, float32 for bfloat16. Raises FileFault, and DataError if the file
        does not have the digest of `facts`."""
        path = _inside(self.path, facts.file) if facts.file else self.path
        with open_file(path, MOST_BYTES) as file:
            before = State.of(file)
            if (digest := _digest(file)) != facts.sha256:
                raise DataError(
                    f"{shown(path)} has changed: its sha256 is {digest[:12]}…, not {facts.sha256[:12]}…; restore the "
                    "file, or run the spec again"
                )
            arrays = _format(path).arrays(file, path, dict.fromkeys(names))
            if State.of(file) != before:
                raise changed(path)
        return arrays


def _weights_file(path: FilePath) -> FilePath:
    """Return the file with the weights: the path itself, or the only one in the folder of a run."""
    if os.path.basename(path) == _MANIFEST:
        path = _inside(path, "..")
    if not os.path.isdir(path):
        _refuse_unknown_lane(path)
        return path
    lanes = _lanes(path) if os.path.exists(os.path.join(path, _MANIFEST)) else [""]
    found = [file for lane in lanes for file in _in_lane(path, lane)]
    if len(found) == 1:
        return _inside(path, found[0])
    if not found:
        raise FileFault(
            f"{shown(path)} contains no trained weights", help="name a file, or the folder of a finished run"
        )
    names = [json.dumps(f"{_written(path)}/{file}", ensure_ascii=False) for file in found]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    message = f"{shown(path)} contains the weights of {len(found)} networks"
    raise FileFault(message, help=f"name one of them: {', '.join(names[:_LISTED])}{more}")


def _refuse_unknown_lane(path: FilePath) -> None:
    """Raise FileFault for a path in the folder of a run that is not a lane of it."""
    folder, lane = os.path.split(path)
    if os.path.lexists(path) or "." in lane or not os.path.exists(os.path.join(folder, _MANIFEST)):
        return
    run = FilePath(folder)
    run.written = _written(path).rpartition("/")[0]
    names = [json.dumps(f"{run.written}/{name}", ensure_ascii=False) for name in _lanes(run)]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    listed = ", ".join(f"`{name}`" for name in names[:_LISTED])
    raise FileFault(f"{shown(folder)} has no lane {shown(lane)}", help=f"its weights are in {listed}{more}")


def _inside(folder: FilePath, name: str) -> FilePath:
    path = FilePath(os.path.normpath(os.path.join(folder, name)))
    path.written = f"{_written(folder)}/{name}"
    return path


def _written(path: FilePath) -> str:
    return path.written.rstrip("/")


def _lanes(run: FilePath) -> list[str]:
    """Return the folders of the lanes of a run."""
    path = os.path.join(run, _MANIFEST)
    try:
        found = json.loads(read_limited(path, _MOST_RUN))["folders"]
        folders = [str(folder) for folder in found.values()]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise FileFault(f"{shown(path)} is damaged ({type(error).__name__})", help="name a file of weights") from None
    if not all(re.fullmatch(r"[^/\\\0]+", folder) and folder not in (".", "..") for folder in folders):
        raise FileFault(f"{shown(path)} is damaged: its lanes are not in folders of the run")
    return folders


def _in_lane(run: FilePath, lane: str) -> list[str]:
    """Return the files with weights in the folder of a lane, by seed."""
    try:
        with os.scandir(os.path.join(run, lane)) as entries:
            names = [match for entry in entries if (match := _WEIGHTS.fullmatch(entry.name))]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FileFault(f"{shown(run)} cannot be read: {error.strerror or error}") from None
    return [os.path.join(lane, match[0]) for match in sorted(names, key=lambda match: int(match[1] or 0))]


# Files


def _distinct(found: Iterable[Tensor], path: FilePath) -> tuple[Tensor, ...]:
    """Return tensors with different names. Raises FileFault."""
    tensors = tuple(found)
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise FileFault(f"{shown(path)} is not intact: two tensors have the same name")
    return tensors


def _digest(file: IO[bytes]) -> str:
    import hashlib

    digest = hashlib.sha256()
    file.seek(0)
    while piece := file.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()


class _Format:
    """A format of files with weights."""

    def tensors(self, file: IO[bytes], path: FilePath) -> Iterator[Tensor]:
        """Yield the tensors in a file, by its headers. Raises FileFault."""
        raise NotImplementedError

    def arrays(self, file: IO[bytes], path: FilePath, names: Mapping[str, None]) -> dict[str, NDArray[Any]]:
        """Return the arrays with these names. Raises FileFault."""
        raise NotImplementedError


class _Npz(_Format):
    """An archive of arrays, as `numpy.savez` writes it."""

    def tensors(self, file: IO[bytes], path: FilePath) -> Iterator[Tensor]:
        for array, head, _ in each_array(file, path, MOST_TENSORS):
            kind = _KINDS.get(head.kind)
            yield Tensor(array.key, f"{kind}{8 * head.itemsize}" if kind else "text", head.shape)

    def arrays(self, file: IO[bytes], path: FilePath, names: Mapping[str, None]) -> dict[str, NDArray[Any]]:
        found = {}
        for array, head, stream in each_array(file, path, MOST_TENSORS):
            if array.key in names:
                pieces = [piece for _, piece in FileRows(array.name, head, stream)]
                found[array.key] = np.concatenate(pieces).reshape(head.shape) if pieces else np.empty(head.shape)
        return found


class _Place(NamedTuple):
    tensor: Tensor
    start: int
    """The position of its first byte in the file."""


class _Safetensors(_Format):
    """A header, JSON with the dtype, the shape and the place of each tensor, and the bytes of the tensors.

    https://huggingface.co/docs/safetensors
    """

    def tensors(self, file: IO[bytes], path: FilePath) -> Iterator[Tensor]:
        return (place.tensor for place in self._places(file, path))

    def arrays(self, file: IO[bytes], path: FilePath, names: Mapping[str, None]) -> dict[str, NDArray[Any]]:
        found = {}
        for tensor, start in self._places(file, path):
            if tensor.name in names:
                file.seek(start)
                data = exactly(file, _nbytes(tensor), shown(path))
                raw = np.frombuffer(
                    data, "<u2" if tensor.dtype == "bfloat16" else np.dtype(tensor.dtype).newbyteorder("<")
                )
                if tensor.dtype == "bfloat16":  # the upper half of a float32
                    raw = (raw.astype(np.uint32) << 16).view(np.float32)
                found[tensor.name] = raw.astype(raw.dtype.newbyteorder("=")).reshape(tensor.shape)
        return found

    def _places(self, file: IO[bytes], path: FilePath) -> list[_Place]:
        """Read the header. Its tensors must cover the rest of the file, each byte once."""
        name = shown(path)
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        length = int.from_bytes(exactly(file, 8, name), "little")
        if length > min(MOST_HEADER, size - 8):
            has = f"the file has {size - 8:,}" if length > size - 8 else f"at most {MOST_HEADER:,} are allowed"
            raise FileFault(
                f"{name} is not an intact safetensors file: its header is to have {length:,} bytes, and {has}"
            )
        try:
            head = json.loads(exactly(file, length, name), object_pairs_hook=_without_duplicates)
            head.pop("__metadata__", None)
            places = [_place(key, entry) for key, entry in head.items()]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise FileFault(f"{name} is not an intact safetensors file: its header is damaged ({error})") from None
        if len(places) > MOST_TENSORS:
            raise FileFault(f"{name} contains {len(places):,} tensors, but at most {MOST_TENSORS:,} are allowed")
        end = 0
        for place in sorted(places, key=lambda place: (place.start, _nbytes(place.tensor))):
            if place.start != end:
                fault = (
                    f"`{place.tensor.name}` begins at byte {place.start:,}, but the tensor before it ends at {end:,}"
                )
                raise FileFault(f"{name} is not an intact safetensors file: {fault}")
            end += _nbytes(place.tensor)
        if end != size - 8 - length:
            fault = f"its tensors have {end:,} bytes, but {size - 8 - length:,} follow the header"
            raise FileFault(f"{name} is not an intact safetensors file: {fault}")
        return [place._replace(start=place.start + 8 + length) for place in places]


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _place(name: str, entry: Mapping[str, Any]) -> _Place:
    """Read what a header says of a tensor. Raises ValueError, LookupError or TypeError."""
    start, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if not all(type(number) is int and 0 <= number < 2**40 for number in (start, end, *shape)) or len(shape) > 32:
        raise ValueError(f"shape or place of {name[:40]!a}")
    if entry["dtype"] not in _BITS:
        raise ValueError(f"dtype of {name[:40]!a}")
    tensor = Tensor(name, _BITS[entry["dtype"]], shape)
    if end - start != _nbytes(tensor):
        raise ValueError(f"size of {name[:40]!a}")
    return _Place(tensor, start)


def _nbytes(tensor: Tensor) -> int:
    return prod(tensor.shape) * int(re.sub(r"\D", "", tensor.dtype.replace("bfloat", "float"))) // 8


_FORMATS: dict[str, _Format] = {".safetensors": _Safetensors(), ".npz": _Npz()}
_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")


def _format(path: FilePath) -> _Format:
    """Return the format of a file, by its suffix. Raises FileFault."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in _FORMATS:
        help = "for arrays by name, `numpy.savez`; from Keras, `{v.path: v.numpy() for v in model.weights}`"
        if suffix in _PICKLES:
            help = "from PyTorch, `safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')`"
        message = f"weights are read from .safetensors and .npz files and from runs, and {shown(path)} is none of them"
        raise FileFault(message, help=help)
    return _FORMATS[suffix]
