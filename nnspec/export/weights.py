"""Weights alone, for other frameworks: NPZ, and safetensors, which is a length, JSON and bytes.

https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.export.certificate import Certificate, ExportError, Verified
from nnspec.records.reading import stored_arrays, usable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["WEIGHTS", "read_weights", "verify_weights", "weights_file"]

WEIGHTS = ("safetensors", "npz")
METADATA = "__metadata__"
_DTYPES = {"float64": "F64", "float32": "F32", "int64": "I64"}
_LONGEST = 64 * 1024**2

Arrays = Mapping[str, "NDArray[Any]"]


def weights_file(arrays: Arrays, certificate: Certificate) -> bytes:
    """Return the contents of a file with these arrays, and with the certificate as its metadata."""
    return {"safetensors": _safetensors, "npz": _npz}[certificate.target](arrays, certificate)


def _npz(arrays: Arrays, certificate: Certificate) -> bytes:
    data = io.BytesIO()
    np.savez(data, allow_pickle=False, **{**arrays, METADATA: np.array(certificate.json())})
    return data.getvalue()


def _safetensors(arrays: Arrays, certificate: Certificate) -> bytes:
    words = {
        "format": "np",
        "lane": certificate.lane,
        "seed": str(certificate.seed),
        "spec": certificate.spec.encode("utf-8", "backslashreplace").decode(),
        "identity": certificate.identity,
        "nnspec": certificate.nnspec,
        "certificate": certificate.json(),
    }
    head: dict[str, Any] = {METADATA: words}
    parts, end = [], 0
    # Larger numbers first, so that every array begins at a multiple of their size.
    for name, array in sorted(arrays.items(), key=lambda item: -item[1].itemsize):
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
        start, end = end, end + little.nbytes
        head[name] = {"dtype": _DTYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": [start, end]}
        parts.append(little.tobytes())
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *parts])


def read_weights(data: bytes, where: Path) -> tuple[dict[str, NDArray[Any]], str]:
    """Return the arrays of a file of unknown origin, and its certificate as JSON. Raises ExportError."""
    if where.suffix == ".npz":
        with usable(where):
            arrays = stored_arrays(io.BytesIO(data))
        text = arrays.pop(METADATA, None)
        return arrays, "" if text is None else str(text)
    try:
        if len(data) < 8:
            raise ValueError(f"it has {len(data)} bytes")
        (length,) = struct.unpack("<Q", data[:8])
        if length > _LONGEST:
            raise ValueError("its header is too long")
        head = json.loads(data[8 : 8 + length])
        words = head.pop(METADATA, {})
        return {name: _tensor(entry, data[8 + length :]) for name, entry in head.items()}, words.get("certificate", "")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, struct.error) as error:
        raise ExportError(f"{where} is not an intact safetensors file: {error}") from None


def _tensor(entry: Mapping[str, Any], data: bytes) -> NDArray[Any]:
    dtype = np.dtype({word: name for name, word in _DTYPES.items()}[entry["dtype"]])
    start, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if not all(type(number) is int for number in (start, end, *shape)):
        raise ValueError("a shape or a place is not whole")
    if not 0 <= start <= end <= len(data) or end - start != prod(shape) * dtype.itemsize or min(shape, default=0) < 0:
        raise ValueError("an array lies outside the file")
    return np.frombuffer(data[start:end], dtype.newbyteorder("<")).reshape(shape).astype(dtype)


def verify_weights(data: bytes, where: Path, arrays: Arrays) -> Verified:
    """Read a file back and compare all arrays, bit for bit. Raises ExportError where one differs."""
    found, _ = read_weights(data, where)
    for name in dict.fromkeys([*arrays, *found]):
        if name not in found or name not in arrays:
            raise ExportError(f"{where}: {name} is {'missing' if name in arrays else 'not an array of the run'}")
        if found[name].dtype != arrays[name].dtype or not np.array_equal(found[name], arrays[name], equal_nan=True):
            raise ExportError(f"{where}: {name} differs from the run's")
    return Verified(f"NumPy {np.__version__}", (), len(arrays), 0.0, "")
