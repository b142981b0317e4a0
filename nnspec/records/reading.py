"""Reading the files of a run. They may come from anywhere, so contents and sizes are checked before use."""

from __future__ import annotations

import dataclasses
import json
import lzma
import math
import tokenize
import types
import typing
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from nnspec.engine._numpy import np
from nnspec.errors import NnspecError
from nnspec.files import read_limited
from nnspec.text import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "DAMAGE",
    "RunError",
    "from_record",
    "read_json",
    "rename",
    "stored_arrays",
    "usable",
]

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
"""Exceptions that reading a damaged archive or record may raise."""

T = TypeVar("T")


class RunError(NnspecError):
    """A folder without a run, or a run that cannot be used. The message says why and what to do."""


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """Turn exceptions caused by a damaged or unreadable file into a RunError that names it."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from None
    except NnspecError:
        raise
    except DAMAGE as error:
        raise RunError(f"{path} is damaged ({type(error).__name__}: {_short(error)})") from None


def _short(error: BaseException) -> str:
    """Return the message of an error on one line."""
    text = " ".join(str(error).split())[:120]
    return printable(text)


def stored_arrays(file: IO[bytes]) -> dict[str, NDArray[Any]]:
    """Return the arrays of an NPZ archive. They must be uncompressed, as nnspec writes them, so none exceeds the file.

    Raises one of DAMAGE.
    """
    with np.load(file, allow_pickle=False) as archive:
        for member in archive.zip.infolist():
            if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
                raise ValueError("it is compressed, but nnspec writes uncompressed arrays")
        arrays = {name: archive[name] for name in archive.files}
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):  # NumPy returns other files as bytes
        raise ValueError("it contains something else than arrays")
    return arrays


def read_json(path: Path, most: int) -> dict[str, Any]:
    """Read a JSON object. Raises OSError or one of DAMAGE."""
    found = json.loads(read_limited(path, most), parse_float=_finite, parse_constant=_finite)
    if not isinstance(found, dict):
        raise TypeError("it is not a JSON object")
    return found


def _finite(text: str) -> float:
    """Read a number of a record. Raises ValueError if it is not finite; nnspec never writes such numbers."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def rename(record: dict[str, Any], old: str, new: str) -> None:
    """Give a field the name that it has now, in place, if it has its `old` name. Raises TypeError for no object."""
    if old in record:
        record[new] = record.pop(old)


# Records of dataclasses


def from_record(kind: type[T], record: Mapping[str, Any], **names: type) -> T:
    """Make a dataclass from plain data, as returned by `dataclasses.asdict`; missing fields have their defaults.

    `names` are types in the annotations of fields that the module of the class does not import. Raises TypeError or
    ValueError for a value of another type and for an unknown field.
    """
    hints = typing.get_type_hints(kind, localns=names)
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = [name for name in record if name not in known]
    if unknown:
        raise ValueError(f"it has a field {unknown[0]!a} that this version of nnspec does not know")
    return kind(**{name: _value(hints[name], value, name, names) for name, value in record.items()})


def _value(hint: Any, value: Any, name: str, names: Mapping[str, type]) -> Any:
    """Convert a JSON value to the type of a field."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for option in arguments:
            try:
                return _value(option, value, name, names)
            except (TypeError, ValueError):
                continue
    elif origin is tuple and isinstance(value, list):
        if arguments[1:] == (...,):
            return tuple(_value(arguments[0], item, name, names) for item in value)
        if len(arguments) == len(value):
            return tuple(_value(option, item, name, names) for option, item in zip(arguments, value, strict=True))
    elif isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields") and isinstance(value, list):
        fields = typing.get_type_hints(hint)
        return hint(*(_value(fields[word], item, name, names) for word, item in zip(hint._fields, value, strict=True)))
    elif dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return from_record(hint, value, **names)
    elif hint is type(None):
        if value is None:
            return None
    elif hint is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    elif hint in (int, str, bool) and type(value) is hint and not (hint is int and abs(value) >= 2**63):
        return value
    raise TypeError(f"{name} cannot be {str(value)[:40]!a}")
