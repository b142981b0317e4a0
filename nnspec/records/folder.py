"""The folder of a run. Files in it are written atomically: each is complete or does not exist."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnspec.errors import NnspecError
from nnspec.files import NotRegularError, atomic, lock_folder, open_regular, utf8
from nnspec.records.extending import BUDGET, EXTENT
from nnspec.records.lane_folders import folder_names
from nnspec.records.manifest import MANIFEST, MOST_MANIFEST, Manifest, read_manifest
from nnspec.records.reading import RunError
from nnspec.records.saved import RECORDS, SPEC_COPY, TRIALS, SavedRun
from nnspec.semantics.meaning import changes

__all__ = ["PICTURE", "REPORT", "REPORT_MARK", "OutputError", "RunFolder", "clear", "folders_of", "last_run"]

PICTURE, REPORT = "curves.png", "report.html"
REPORT_MARK = '<meta name="generator" content="nnspec report">'
"""Text that identifies a report written by nnspec."""
_WEIGHTS = re.compile(r"\.?(weights|seed-\d+)\.npz(\..*\.part)?")
"""Weights and checkpoints, including unfinished ones."""
_LISTED = 4  # differences to list in a message


class OutputError(NnspecError):
    """A run or file that cannot be written. The message says why and what to do."""


class RunFolder:
    """The folder of one run: `runs/<spec>/<n>` in the current folder, or one that the user names."""

    def __init__(self, path: Path, *, numbered: bool, made: bool) -> None:
        self.path = path
        self._numbered, self._made = numbered, made
        self._lock: int | None = None

    @classmethod
    def make(
        cls, spec: str, out: str | os.PathLike[str] | None, force: bool = False, resume: bool = False
    ) -> RunFolder:
        """Create the folder. Raises OutputError if that fails, or if the folder exists and is not empty.

        With `resume`, it may contain a run, which `begin` continues.
        """
        try:
            return cls._named(Path(out), force, resume) if out is not None else cls._numbered_folder(spec)
        except OSError as error:
            where = error.filename or out or "runs"
            raise OutputError(f"cannot write to {where}: {error.strerror}; choose another folder with --out") from None

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
            again = "continue its run with --resume, " if _has_run(path) else ""
            raise OutputError(
                f"{path} is not empty; {again}choose another folder, or write into this one with --force "
                "(from Python, force=True)"
            )
        _try_to_write(path)
        return cls(path, numbered=False, made=made)

    @classmethod
    def _numbered_folder(cls, spec: str) -> RunFolder:
        home = _home(spec)
        home.mkdir(parents=True, exist_ok=True)
        number = max(_numbers(home), default=0) + 1
        while True:
            path = home / str(number)
            try:
                path.mkdir()
            except FileExistsError:
                number += 1  # another process created it first
            else:
                return cls(path, numbered=True, made=True)

    def within(self, name: str, resume: bool) -> RunFolder:
        """Create the folder of a run that belongs to this one, or take an existing one. Raises OutputError."""
        path = self.path / name
        if path.is_symlink():
            raise OutputError(f"{path} is a symbolic link, but a run only writes into its own folder; remove the link")
        try:
            return self._named(path, True, resume)
        except OSError as error:
            raise OutputError(f"cannot write to {path}: {error.strerror}; choose another folder with --out") from None

    def renew(self) -> None:
        """Remove the run in this folder, if there is one: another one begins with something else than its record.

        Raises OutputError.
        """
        path = self.path / MANIFEST
        try:
            known = self._known(path, resume=False)
            clear(self.path, () if known is None else folders_of(SavedRun(self.path, known)))
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to {self.path}: {error.strerror or error}") from None

    def remove_checkpoints(self) -> None:
        """Remove the checkpoints of a run that will not be continued. Raises OSError."""
        _remove_weights(self.path / "checkpoints")

    def begin(
        self,
        manifest: Manifest,
        text: str,
        *,
        resume: bool,
        extends: Callable[[Mapping[str, Mapping[str, Any]]], Iterable[str]] = lambda meanings: (),
        renews: bool = False,
    ) -> Mapping[str, Any]:
        """Record which spec is run here or, with `resume`, verify that it is the same spec.

        Files of an older run are removed. With `resume`, the number of epochs, steps or trials may be larger: `extends`
        is called with the previous meaning of each lane, and yields reasons why it cannot be. With `renews`, lanes may
        also have other settings; what was trained of these lanes is removed. Until `leave`, the folder is locked
        against other processes. Returns the environment at the start of the run. Raises OutputError if the folder
        cannot be written, contains another experiment, or is in use by another process.
        """
        path = self.path / MANIFEST
        try:
            self._lock_it()
            self._refuse_links(manifest)
            self._remove_parts(manifest)
            known = self._known(path, resume=resume)
            began, older = manifest.environment, known.replaces if known is not None else None
            if resume and known is not None:
                began = self._renewed(known, manifest) if renews else self._same(known, manifest, extends)
                manifest = replace(manifest, environment=began)
                if known.identity != manifest.identity:  # they are of fewer epochs or trials than the run now has
                    _remove(self.path / name for name in RECORDS)
            elif path.exists():
                older = (*folders_of(SavedRun(self.path, known)), *(older or ())) if known is not None else ()
            self._write(replace(manifest, replaces=older), text)
            if older is not None:
                clear(self.path, older)
                self._write(manifest, text)
        except OSError as error:
            raise OutputError(f"cannot write to {self.path}: {error.strerror or error}") from None
        return began

    def _remove_parts(self, manifest: Manifest) -> None:
        """Remove unfinished files of a killed process, except for checkpoints, which are removed when they are read."""
        for name in (MANIFEST, SPEC_COPY, *RECORDS, PICTURE):
            _remove(self.path.glob(f".{name}.*.part"))
        for folder in manifest.folders.values():
            _remove(file for file in (self.path / folder).glob(".*.part") if _WEIGHTS.fullmatch(file.name))

    def _write(self, manifest: Manifest, text: str) -> None:
        record = utf8(manifest.text())
        if len(record) > MOST_MANIFEST:
            raise OutputError(
                f"the spec's imports are larger than {MOST_MANIFEST // 1024**2} MiB in total, the limit for a run"
            )
        for name, content in ((MANIFEST, record), (SPEC_COPY, text.encode())):
            with atomic(self.path / name) as file:
                file.write(content)

    def _known(self, path: Path, *, resume: bool) -> Manifest | None:
        """Return the manifest of the run in the folder; None if there is none, or without `resume` if it is damaged."""
        try:
            return read_manifest(path) if path.exists() else None
        except RunError as error:
            if not resume:
                return None
            raise OutputError(f"{error}; choose another folder with --out") from None

    def _same(
        self, known: Manifest, manifest: Manifest, extends: Callable[[Mapping[str, Mapping[str, Any]]], Iterable[str]]
    ) -> Mapping[str, Any]:
        """Reject the folder of another experiment, and leave it unchanged; one with fewer epochs is accepted."""
        where = "choose another folder with --out"
        if known.format != manifest.format or known.semantics != manifest.semantics:
            raise OutputError(
                f"{self.path} contains a run of nnspec {known.version}, which interprets specs differently, "
                f"so it cannot be resumed; {where}"
            )
        if known.identity == manifest.identity:
            return known.environment
        found = changes(known.meaning, manifest.meaning)
        continued = any(change.name == BUDGET for change in found)
        problems = list(extends(known.meaning.lanes)) if continued else []
        allowed = [change.name in EXTENT or (continued and not change.name and change.now) for change in found]
        others = [change for change, may_be in zip(found, allowed, strict=True) if not may_be]
        if (others or not found) and not problems:
            listed = "; ".join(change.text for change in (others or found)[:_LISTED])
            more = f"; and {len(others) - _LISTED} more" if len(others) > _LISTED else ""
            what = f"{listed}{more}" if listed else f"it was started with {known.spec}"
            raise OutputError(f"{self.path} contains a run of another experiment: {what}; {where}")
        if problems := problems or list(extends(known.meaning.lanes)):
            raise OutputError(f"{self.path} cannot be extended: {'; '.join(problems[:_LISTED])}; {where}")
        return known.environment

    def _renewed(self, known: Manifest, manifest: Manifest) -> Mapping[str, Any]:
        """Remove what was trained of the lanes that have other settings now, and the results of the run."""
        lanes = manifest.meaning.lanes
        changed = [name for name, values in known.meaning.lanes.items() if values != lanes.get(name)]
        for name in changed:
            _remove_weights(self.path / known.folders[name])
            _remove_weights(self.path / "checkpoints" / known.folders[name])
        if changed:
            _remove_records(self.path)
        return known.environment

    def _refuse_links(self, manifest: Manifest) -> None:
        """Reject lane folders that are files or symbolic links; through a link, the run would write elsewhere."""
        for name in ("checkpoints", *manifest.folders.values()):
            place = self.path / name
            if place.is_symlink():
                raise OutputError(
                    f"{place} is a symbolic link, but a run only writes into its own folder; remove the link, or "
                    "choose another folder with --out"
                )
            if place.exists() and not place.is_dir():
                raise OutputError(
                    f"{place} is a file, but a lane needs a folder of that name; choose another folder with --out"
                )

    def finish(self) -> None:
        """Point the link `latest` at this run, if the run is numbered and the system has symbolic links."""
        if not self._numbered:
            return
        link = self.path.parent / "latest"
        if link.exists() and not link.is_symlink():
            return  # not created by nnspec
        temporary = link.with_name(f".latest.{os.getpid()}")
        with suppress(OSError):
            temporary.symlink_to(self.path.name)
            os.replace(temporary, link)

    def _lock_it(self) -> None:
        """Lock the folder against other processes, if the system can; the lock ends with the process at the latest."""
        try:
            self._lock = lock_folder(self.path)
        except BlockingIOError:
            self._made = False  # the folder belongs to the other process
            raise OutputError(
                f"another process is writing to {self.path}; wait for it to end, or choose another folder with --out"
            ) from None

    def leave(self) -> None:
        """Unlock the folder, and remove it if it was created for this run and nothing was written."""
        self._discard_if_empty()  # before other processes can use it
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _discard_if_empty(self) -> None:
        with suppress(OSError):  # it may have been removed
            if self._made and {child.name for child in self.path.iterdir()} <= {MANIFEST, SPEC_COPY}:
                for name in (MANIFEST, SPEC_COPY):
                    (self.path / name).unlink(missing_ok=True)
                self.path.rmdir()


def last_run(spec: str) -> Path | None:
    """Return the folder of the last run of a spec in the current folder, as `RunFolder.make` numbers them."""
    home = _home(spec)
    found = [number for number in _numbers(home) if (home / str(number) / MANIFEST).is_file()] if home.is_dir() else []
    return home / str(max(found)) if found else None


def _home(spec: str) -> Path:
    return Path("runs") / (Path(spec).stem or "run")


def _numbers(home: Path) -> list[int]:
    return [int(child.name) for child in home.iterdir() if child.name.isascii() and child.name.isdigit()]


def folders_of(saved: SavedRun) -> tuple[str, ...]:
    """Return the names of the lane folders of a run, as far as its records have them."""
    if saved.manifest.folders:
        return tuple(saved.manifest.folders.values())
    found: list[str] = []
    for record in ("lanes", "history", "trace"):
        with suppress(RunError):  # a run that was killed has no records
            found += folder_names(getattr(saved, record))
    return tuple(dict.fromkeys(found))


def clear(path: Path, folders: Iterable[str]) -> None:
    """Remove the files of a run and no others: records, pictures, report, weights in `folders`, and checkpoints.

    Links are not followed. Raises OSError.
    """
    _remove_records(path)
    for name in (*folders, "checkpoints"):
        _remove_weights(path / name)
    trials = path / TRIALS
    if _is_folder(trials) and (trials / MANIFEST).is_file():
        with suppress(RunError):
            clear(trials, folders_of(SavedRun(trials, read_manifest(trials / MANIFEST))))
        _remove(trials / name for name in (MANIFEST, SPEC_COPY))
        if not any(trials.iterdir()):
            trials.rmdir()


def _remove_records(path: Path) -> None:
    """Remove the records, the picture and the report of a run."""
    _remove(path / name for name in (*RECORDS, PICTURE))
    report = path / REPORT
    with suppress(FileNotFoundError, NotRegularError), open_regular(report) as file:
        if not report.is_symlink() and REPORT_MARK.encode() in file.read(4096):
            report.unlink()


def _remove_weights(path: Path) -> None:
    """Remove the weights and checkpoints in a folder and those in it, and each folder that is empty then."""
    if _is_folder(path):
        for lane in (*(child for child in path.iterdir() if _is_folder(child)), path):
            _remove(file for file in lane.iterdir() if _WEIGHTS.fullmatch(file.name))
            if not any(lane.iterdir()):
                lane.rmdir()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove(files: Iterable[Path]) -> None:
    """Remove files. Of a symbolic link, only the link is removed; folders are not removed."""
    for file in files:
        if file.is_symlink() or file.is_file():
            file.unlink()


def _has_run(path: Path) -> bool:
    """Whether a folder has a run, or the trials of one that has not begun to race."""
    return any((folder / MANIFEST).exists() for folder in (path, path / TRIALS))


def _only_a_run(path: Path) -> None:
    """Reject a folder that is not empty and has no run in it."""
    if any(not child.name.startswith(".") for child in path.iterdir()) and not _has_run(path):
        raise OutputError(
            f"{path} is not empty, but has no run to resume ({MANIFEST} is missing); choose another folder"
        )


def _try_to_write(path: Path) -> None:
    with tempfile.TemporaryFile(dir=path):
        pass
