"""What was found in files before: where nothing has changed, nothing is read anew.

One file of JSON for each project, in the user's cache folder. An entry holds for the bytes of the spec, for those of
all that it imports, for what was looked for in vain, and for the flags. Another nnspec, or one byte of its source files
changed, is another cache. What cannot be read or makes no sense is taken for an empty cache; what cannot be
written is not written.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnspec._version import __version__
from nnspec.diagnostics.source import FLAG, MAX_BYTES, Source, SourceError, source_of
from nnspec.project.stored import Unstorable, pack, unpack

if TYPE_CHECKING:
    from nnspec.diagnostics.diagnostic import Diagnostic

__all__ = ["Cache", "Known", "digest", "read_bytes"]

_LARGEST = 64 * 1024 * 1024
_MOST = 20_000  # entries of a project
_KEPT_DAYS = 30
_TOUCHED_DAYS = 7  # an entry's day is written anew when it is as old as that
_MOST_PROJECTS = 100
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_OURS = re.compile(r"[0-9a-f]{32}\.json$|\.[0-9a-f]{32}\.json\..*\.part$")
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Known:
    """What is known of an unchanged file."""

    __slots__ = ("diagnostics", "lanes")

    def __init__(self, lanes: int, diagnostics: tuple[Diagnostic, ...]) -> None:
        self.lanes = lanes
        """How many lanes its program has; 0 where it has an error."""
        self.diagnostics = diagnostics


class Cache:
    """The known results of one project, with one set of flags, seen from one folder.

    Messages hold paths as they look from the current folder, so what was found from another is not taken over.
    """

    def __init__(self, root: str, flags: Sequence[str] = (), *, enabled: bool = True) -> None:
        self.hits = 0
        self._root, self._flags = root, list(flags)
        self._path = _path(root) if enabled else ""
        self._stamp = _stamp() if enabled else ""
        document = _load(self._path, self._stamp, root)
        self._runs: dict[str, dict[str, list[Any]]] = document["runs"]
        self._entries = self._runs.setdefault(json.dumps([os.getcwd(), *flags]), {})
        self._imports: dict[str, tuple[str, bytes]] = {}
        self._day = int(time.time() // 86_400)
        self._changed = False

    def find(self, name: str, data: bytes) -> Known | None:
        """Return what is known of a file with these bytes; None where that is nothing, or no longer true."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        try:
            content, lanes, imports, missing, findings, day = entry
            if content != digest(data) or type(lanes) is not int:
                return None
            if imports and not all(self._read(path)[0] == known for path, known, _ in imports):
                return None
            if missing and not all(_traces(path) == known for path, known in missing):
                return None
            diagnostics = unpack(findings, self._sources(name, data, imports)) if findings else ()
        except (Unstorable, SourceError, OSError, TypeError, ValueError):
            return None
        if day != self._day:
            entry[5] = self._day
            self._changed |= type(day) is not int or not self._day - _TOUCHED_DAYS < day < self._day
        self.hits += 1
        return Known(lanes, diagnostics)

    def store(
        self,
        name: str,
        data: bytes,
        known: Known,
        files: Sequence[Source],
        missing: Sequence[str],
        looked_at: Sequence[str] = (),
    ) -> None:
        """Keep what was found in a file.

        `files` are its imports and, last, itself; `missing` what was not there; `looked_at` the data files that were
        looked at, or for: whether they changed is told by time and size, since they may be large.
        """
        if not files or digest(data.removeprefix(codecs.BOM_UTF8)) != _digest_of(files[-1]):
            return  # it has been written to meanwhile
        if not missing and any(d.code == "NN209" for d in known.diagnostics):
            return  # why an import was refused may lie anywhere
        numbers = {source: i for i, source in enumerate([files[-1], *files[:-1]])}

        def number(source: Source) -> int:
            if source.name == FLAG and source.text in self._flags:
                return len(files) + self._flags.index(source.text)
            if source not in numbers:
                raise Unstorable
            return numbers[source]

        try:
            findings = pack(known.diagnostics, number)
        except Unstorable:
            return
        imports = [[_place(file), _digest_of(file), file.name] for file in files[:-1]]
        self._entries[name] = [
            digest(data),
            known.lanes,
            imports,
            [[path, _traces(path)] for path in (*missing, *looked_at)],
            findings,
            self._day,
        ]
        self._changed = True

    def reread(self) -> None:
        """Forget what imports held when they were read first: they have been written to."""
        self._imports.clear()

    def save(self) -> None:
        """Write what is new, if there is anything and it can be written."""
        if not self._path or not self._changed:
            return
        document = {"stamp": self._stamp, "root": self._root, "runs": self._kept()}
        with suppress(OSError):
            from nnspec.files import atomic

            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            with atomic(Path(self._path)) as file:
                file.write(json.dumps(document, separators=(",", ":")).encode("ascii"))
            _tidy(os.path.dirname(self._path))

    def _sources(self, name: str, data: bytes, imports: Sequence[Any]) -> list[Source]:
        """Return the texts that findings may be about, in the order of their numbers."""
        files = [source_of(data, name, Path(name).parent)]
        files += [source_of(self._read(path)[1], shown, Path(path).parent) for path, _, shown in imports]
        return [*files, *(Source(FLAG, flag) for flag in self._flags)]

    def _read(self, path: str) -> tuple[str, bytes]:
        """Return digest and bytes of an import; it is read once for all that import it."""
        if path not in self._imports:
            data = read_bytes(path)
            if data is None:
                raise OSError
            self._imports[path] = digest(data.removeprefix(codecs.BOM_UTF8)), data
        return self._imports[path]

    def _kept(self) -> dict[str, dict[str, list[Any]]]:
        """Return the entries that were of use lately, at most so many."""
        rows = [(entry[5], run, name) for run, entries in self._runs.items() for name, entry in entries.items()]
        rows = [row for row in rows if type(row[0]) is int and self._day - _KEPT_DAYS < row[0] <= self._day]
        kept: dict[str, dict[str, list[Any]]] = {}
        for _, run, name in sorted(rows, reverse=True)[:_MOST]:
            kept.setdefault(run, {})[name] = self._runs[run][name]
        return kept


def digest(data: bytes) -> str:
    """Return what stands for the content of a file."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def read_bytes(path: str, largest: int = MAX_BYTES) -> bytes | None:
    """Return the bytes of a regular file that is not larger than a spec may be; None for whatever else it is."""
    try:
        handle = os.open(path, _READ)
    except (OSError, ValueError):
        return None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > largest:
            return None
        data = os.read(handle, status.st_size + 1)
        return data if len(data) == status.st_size else None
    except OSError:
        return None
    finally:
        os.close(handle)


def _digest_of(source: Source) -> str:
    return digest(source.text.encode("utf-8"))


def _place(source: Source) -> str:
    return os.path.join(source.folder, source.name.rsplit("/", 1)[-1])


def _traces(path: str) -> list[int] | None:
    """Return what changes when a file that could not be read, or one beside it that was suggested, changes."""
    traces: list[int] = []
    for place in (os.path.dirname(path), path):
        try:
            status = os.stat(place)
        except OSError:
            traces.append(0)
        else:
            traces += [status.st_mtime_ns, status.st_size, status.st_mode]
    return traces


def _path(root: str) -> str:
    named = os.environ.get("NNSPEC_CACHE_DIR")
    if not named:
        import platformdirs

        named = platformdirs.user_cache_dir("nnspec", appauthor=False)
    return os.path.join(os.path.abspath(named), "check", f"{digest(os.fsencode(root))}.json")


def _stamp() -> str:
    """Return what changes with whatever has a say in the findings: our own files, Lark's version, Python's."""
    parts = ["2", __version__, sys.version]
    lark = find_spec("lark")
    if lark is not None and lark.origin is not None:
        with open(lark.origin, "rb") as file:  # says the version; asking for it in the proper way takes 20 ms
            parts.append(digest(file.read()))
    # The grammar lies in the package when it is installed, and beside it in the source tree.
    folders = [_PACKAGE, os.path.join(os.path.dirname(_PACKAGE), "grammars")]
    for folder in folders:
        with suppress(OSError):
            parts += _states(folder)
    return digest("\0".join(parts).encode())


def _states(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if entry.is_dir():
                if entry.name != "__pycache__":
                    yield from _states(entry.path)
            else:
                status = entry.stat()
                yield f"{entry.name} {status.st_mtime_ns} {status.st_size}"


def _load(path: str, stamp: str, root: str) -> dict[str, Any]:
    """Read a cache. Whatever is not as we write it makes it an empty one."""
    empty: dict[str, Any] = {"runs": {}}
    data = read_bytes(path, _LARGEST) if path else None
    if data is None:
        return empty
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return empty
    return document if _is_ours(document, stamp, root) else empty


def _is_ours(document: Any, stamp: str, root: str) -> bool:
    if type(document) is not dict or document.get("stamp") != stamp or document.get("root") != root:
        return False
    runs = document.get("runs")
    return type(runs) is dict and all(
        type(entries) is dict and all(type(e) is list and len(e) == 6 for e in entries.values())
        for entries in runs.values()
    )


def _tidy(folder: str) -> None:
    """Remove the caches of the projects that were checked longest ago, and what a process left behind that died."""
    with os.scandir(folder) as listing:
        files = sorted((e.stat().st_mtime, e.path) for e in listing if _OURS.match(e.name))
    surplus = [path for _, path in files if path.endswith(".json")][:-_MOST_PROJECTS]
    dead = [path for changed, path in files if path.endswith(".part") and changed < time.time() - 86_400]
    for path in [*surplus, *dead]:
        os.unlink(path)
