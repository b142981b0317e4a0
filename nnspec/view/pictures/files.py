"""The files of pictures: where they may be written, and writing them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nnspec.files import output
from nnspec.records.folder import OutputError
from nnspec.view.pictures.figure import save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["picture_path", "write_picture"]

_FORMATS = (".png", ".svg", ".pdf")


def picture_path(
    spec: str, out: str | os.PathLike[str] | None = None, what: str = "picture", *, force: bool = False
) -> Path:
    """Return the path of a picture: `out`, or `<spec>-<what>.png` in the current folder.

    Raises OutputError for a file that already exists, unless `force` says to replace it, for a folder that does not
    exist or is not writable, and for an unknown picture suffix.
    """
    path = Path(out) if out is not None else Path(f"{Path(spec).stem or 'spec'}-{what}.png")
    if path.suffix.lower() not in _FORMATS:
        raise OutputError(f"{path} has no picture suffix; it must end in {', '.join(_FORMATS[:-1])} or {_FORMATS[-1]}")
    if path.is_dir():
        raise OutputError(f"{path} is a folder")
    if os.path.lexists(path) and not force:
        raise OutputError(f"{path} already exists; choose another file with --out, or add --force to replace it")
    if not path.parent.is_dir():
        raise OutputError(f"folder not found: {path.parent}; create it first")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"folder not writable: {path.parent}; choose another file with --out")
    return path


def write_picture(figure: Figure, path: Path) -> None:
    """Write a figure to a file atomically. Raises OutputError if that fails."""
    try:
        with output(path) as file:
            save(figure, file, path.suffix.lower().removeprefix("."))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None
