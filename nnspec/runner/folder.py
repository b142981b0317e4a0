"""Where a run is written: a folder of its own, and files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from nnspec.errors import NnspecError

__all__ = ["OutputError", "RunFolder"]


class OutputError(NnspecError):
    """The run cannot be written there. The message says why and what to do."""


class RunFolder:
    """The folder of one run: `runs/<spec>/<n>` under the working folder, or one that the user names."""

    def __init__(self, path: Path, *, numbered: bool, made: bool) -> None:
        self.path = path
        self._numbered, self._made = numbered, made

    @classmethod
    def make(cls, spec: str, out: str | os.PathLike[str] | None, force: bool) -> RunFolder:
        """Make the folder. Raises OutputError where that cannot be done, or where it holds something already."""
        try:
            return cls._named(Path(out), force) if out is not None else cls._numbered_folder(spec)
        except OSError as error:
            where = error.filename or out or "runs"
            raise OutputError(
                f"nothing can be written to {where}: {error.strerror}; choose another folder with --out"
            ) from None

    @classmethod
    def _named(cls, path: Path, force: bool) -> RunFolder:
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path} is a file, not a folder")
        made = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()) and not force:
            raise OutputError(f"{path} is not empty; name another folder, or add --force to write into this one")
        _try_to_write(path)
        return cls(path, numbered=False, made=made)

    @classmethod
    def _numbered_folder(cls, spec: str) -> RunFolder:
        name = Path(spec).stem or "run"
        home = Path("runs") / name
        home.mkdir(parents=True, exist_ok=True)
        taken = [int(child.name) for child in home.iterdir() if child.name.isascii() and child.name.isdigit()]
        number = max(taken, default=0) + 1
        while True:
            path = home / str(number)
            try:
                path.mkdir()
            except FileExistsError:
                number += 1  # somebody else was faster
            else:
                return cls(path, numbered=True, made=True)

    def finish(self) -> None:
        """Point `latest` at this run, where it is one of a numbered row and the system has links."""
        if not self._numbered:
            return
        link = self.path.parent / "latest"
        if link.exists() and not link.is_symlink():
            return  # somebody's own; it stays
        temporary = link.with_name(f".latest.{os.getpid()}")
        with suppress(OSError):
            temporary.symlink_to(self.path.name)
            os.replace(temporary, link)

    def discard_if_empty(self) -> None:
        """Remove the folder again where it was made for this run and nothing was written into it."""
        if self._made:
            with suppress(OSError):
                self.path.rmdir()


def _try_to_write(path: Path) -> None:
    with tempfile.TemporaryFile(dir=path):
        pass
