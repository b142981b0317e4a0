"""Where a run is written: a folder of its own, and files that are either whole or not there."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnspec.errors import NnspecError
from nnspec.files import atomic
from nnspec.runner.saved import MANIFEST, RECORDS, SPEC_COPY, Manifest, RunError, read_manifest

__all__ = ["OutputError", "RunFolder"]


class OutputError(NnspecError):
    """The run cannot be written there. The message says why and what to do."""


class RunFolder:
    """The folder of one run: `runs/<spec>/<n>` under the working folder, or one that the user names."""

    def __init__(self, path: Path, *, numbered: bool, made: bool) -> None:
        self.path = path
        self._numbered, self._made = numbered, made
        self._lock: int | None = None

    @classmethod
    def make(
        cls, spec: str, out: str | os.PathLike[str] | None, force: bool = False, resume: bool = False
    ) -> RunFolder:
        """Make the folder. Raises OutputError where that cannot be done, or where it holds something already.

        With `resume` it may hold a run, which `begin` goes on with.
        """
        try:
            return cls._named(Path(out), force, resume) if out is not None else cls._numbered_folder(spec)
        except OSError as error:
            where = error.filename or out or "runs"
            raise OutputError(
                f"nothing can be written to {where}: {error.strerror}; choose another folder with --out"
            ) from None

    @classmethod
    def _named(cls, path: Path, force: bool, resume: bool) -> RunFolder:
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path} is a file, not a folder")
        try:
            path.mkdir(parents=True)
            made = True
        except FileExistsError:
            made = False
        if resume:
            _only_a_run(path)
        elif any(path.iterdir()) and not force:
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

    def begin(self, manifest: Manifest, text: str, *, resume: bool) -> Mapping[str, Any]:
        """Write down which spec is run here, or with `resume` make sure that it is the one that was.

        From here on the folder is this process's own, until `leave`. Returns the environment that the run began in.
        Raises OutputError where that cannot be written, where another experiment was run here, and where another
        process is at it.
        """
        path = self.path / MANIFEST
        try:
            self._lock_it()
            began = self._same(path, manifest) if resume and path.exists() else manifest.environment
            record = replace(manifest, environment=began).record()
            if not resume:  # with --force: of another run, and this one's may be long in coming
                for record_file in filter(Path.is_file, (self.path / name for name in RECORDS)):
                    record_file.unlink()
            for name, content in ((MANIFEST, json.dumps(record, indent=2) + "\n"), (SPEC_COPY, text)):
                with atomic(self.path / name) as file:
                    file.write(content.encode())
        except OSError as error:
            raise OutputError(f"nothing can be written to {self.path}: {error.strerror or error}") from None
        return began

    def _same(self, path: Path, manifest: Manifest) -> Mapping[str, Any]:
        """Refuse the folder of another experiment, which stays as it is."""
        try:
            known = read_manifest(path)
        except RunError as error:
            raise OutputError(f"{error}; name another folder with --out") from None
        if known.identity != manifest.identity:
            raise OutputError(
                f"{self.path} holds a run of another experiment ({known.spec}, or other settings); "
                "name another folder with --out"
            )
        return known.environment

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

    def _lock_it(self) -> None:
        """Keep other processes out, on systems that can lock a folder; the lock ends with the process at the latest."""
        try:
            import fcntl
        except ImportError:  # no such system
            return
        self._lock = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            self._lock, self._made = None, False  # what lies there is another's
            raise OutputError(
                f"another process is writing to {self.path}; wait for its end, or name another folder with --out"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL):
                raise  # those are of file systems without locks

    def leave(self) -> None:
        """Let other processes in again, and remove the folder where it was made for this run and nothing came of it."""
        self._discard_if_empty()  # before others may enter
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _discard_if_empty(self) -> None:
        with suppress(OSError):  # it may be gone
            if self._made and {child.name for child in self.path.iterdir()} <= {MANIFEST, SPEC_COPY}:
                for name in (MANIFEST, SPEC_COPY):
                    (self.path / name).unlink(missing_ok=True)
                self.path.rmdir()


def _only_a_run(path: Path) -> None:
    """Refuse a folder with something else in it than a run."""
    if any(not child.name.startswith(".") for child in path.iterdir()) and not (path / MANIFEST).exists():
        raise OutputError(f"{path} holds something else than a run ({MANIFEST} is not there); name another folder")


def _try_to_write(path: Path) -> None:
    with tempfile.TemporaryFile(dir=path):
        pass
