"""`run.json`: which experiment a run is, with all that it takes to understand its spec without any other file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nnspec.checker import Known
from nnspec.checker.program import Program
from nnspec.compiler.allocate import ITEMSIZE
from nnspec.data.source import Facts
from nnspec.files import utf8
from nnspec.records.lane_folders import folder_names
from nnspec.records.reading import from_record, read_json, usable
from nnspec.semantics.meaning import SEMANTICS, Meaning, canonical, identity, meaning
from nnspec.text import to_json

__all__ = ["MANIFEST", "MOST_MANIFEST", "Manifest", "manifest_of", "read_manifest"]

FORMAT = 2
"""1 had no meaning, no copies of imports and no facts of data: its records can be read, its networks only exported."""
MANIFEST = "run.json"
MOST_MANIFEST = 64 * 1024**2
"""The most bytes of `run.json`, which holds the texts of all imports."""


@dataclass(frozen=True)
class Manifest:
    """What `run.json` says of a run before anything is trained."""

    spec: str
    """The spec's path, as it was given."""
    identity: str
    """Names all that its numbers depend on."""
    home: str = "."
    """The folder that the spec lay in, as it is from the folder of the run."""
    place: str = ""
    """The same folder, from the root."""
    data_dir: str = ""
    """The folder that was given for the data, from the root; empty where none was."""
    set: tuple[str, ...] = ()
    """What was given with `--set`."""
    imports: Mapping[str, str] = field(default_factory=dict)
    """The text of each file that the spec imports, by its path; of format 1, its sha256."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Other names by which imports are found, where links lead to them -> their paths."""
    semantics: int = SEMANTICS
    """The version of the semantics that it was run with."""
    meaning: Meaning = field(default_factory=lambda: Meaning({}))
    """What was run: values that differ from their defaults."""
    data: tuple[tuple[Any, Facts], ...] = ()
    """What files of data came to: each data source as plain data, with its facts."""
    folders: Mapping[str, str] = field(default_factory=dict)
    """The folder of each lane."""
    replaces: tuple[str, ...] | None = None
    """While the files of an older run are removed: the folders of its lanes."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Versions, machine and BLAS at the start."""
    format: int = FORMAT

    @property
    def version(self) -> str:
        """The version of nnspec that began the run."""
        return str(self.environment.get("nnspec", "of an unknown version"))

    @property
    def known(self) -> Known:
        """What a checker need not look for on disk."""
        facts = {json.dumps(source, sort_keys=True): found for source, found in self.data}
        return Known(self.imports, self.names, lambda value: facts.get(json.dumps(canonical(value), sort_keys=True)))

    def record(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        values = {name: value for name, value in vars(self).items() if name not in ("meaning", "data", "imports")}
        digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in self.imports.items()}
        return {
            **values,
            "meaning": self.meaning.record() if self.meaning.lanes else {"shared": {}, "lanes": {}},
            "data": [{"source": source, "facts": asdict(facts)} for source, facts in self.data],
            "imports": {name: {"sha256": digests[name], "text": text} for name, text in self.imports.items()},
        }

    def text(self) -> str:
        """Return what the file holds."""
        return to_json(self.record(), indent=2) + "\n"


def manifest_of(program: Program, folder: Path, environment: Mapping[str, Any], data_dir: Path | None) -> Manifest:
    """Say which experiment is run, for the folder that it is run in."""
    *imports, spec = program.files
    place = os.path.realpath(spec.folder)
    try:
        home = Path(os.path.relpath(place, os.path.realpath(folder))).as_posix()
    except ValueError:  # on another drive
        home = Path(place).as_posix()
    found = meaning(program)
    lanes = [lane.name for lane in program.lanes]
    return Manifest(
        spec=program.path,
        identity=identity(found),
        home=home,
        place=Path(place).as_posix(),
        data_dir="" if data_dir is None else Path(os.path.abspath(data_dir)).as_posix(),
        set=program.overrides,
        imports={source.name: source.text for source in imports},
        names={name: path for name, path in program.import_names.items() if name != path},
        meaning=found,
        data=tuple(_facts(program).values()),
        folders=dict(zip(lanes, folder_names(lanes), strict=True)),
        environment=environment,
    )


def _facts(program: Program) -> dict[str, tuple[Any, Facts]]:
    """Return each data source that looks at files, once, with what these come to."""
    found = [(canonical(value), facts) for value, facts in program.looked]
    return {json.dumps(source, sort_keys=True): (source, facts) for source, facts in found}


def read_manifest(path: Path) -> Manifest:
    """Read a `run.json`. Raises RunError for one that is damaged, OSError for one that cannot be read."""
    with usable(path):
        found = read_json(path, MOST_MANIFEST)
        if found["format"] not in (1, FORMAT):
            raise ValueError("its format is unknown")
        old = found["format"] == 1
        replaces = found.get("replaces")
        return Manifest(
            spec=_text(found["spec"]),
            identity=_text(found["identity"]),
            home=_text(found["home"]),
            place="" if old else _path(found["place"]),
            data_dir="" if old else _path(found["data_dir"]),
            set=tuple(_text(text) for text in found["set"]),
            imports={_text(name): _import(each, old=old) for name, each in found["imports"].items()},
            names={} if old else {_text(name): _text(each) for name, each in found["names"].items()},
            semantics=0 if old else int(found["semantics"]),
            meaning=Meaning({}) if old else Meaning.of_record(found["meaning"]),
            data=() if old else tuple((each["source"], _fact(each["facts"])) for each in found["data"]),
            folders={} if old else {_lane(name): _folder(each) for name, each in found["folders"].items()},
            replaces=None if replaces is None else tuple(map(_folder, replaces)),
            environment=dict(found["environment"]),
            format=int(found["format"]),
        )


def _text(value: Any) -> str:
    """Return a value that must be text, as a path may be. Raises TypeError, ValueError."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    if "\0" in value or not utf8(value).decode().isprintable():  # a path may hold bytes that are not UTF-8
        raise ValueError(f"{value[:40]!a} is not a name")
    return value


def _path(value: Any) -> str:
    """Return a path from the root, or an empty text. Raises TypeError, ValueError."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    if "\0" in value or (value and not os.path.isabs(value)):
        raise ValueError(f"{value[:40]!a} is not an absolute path")
    return value


def _lane(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError(f"{str(value)[:40]!a} is not the name of a lane")
    return value


def _folder(value: Any) -> str:
    """Return the name of a folder in the run's own, which leads nowhere else. Raises TypeError, ValueError."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    if folder_names([value]) != [value] or value in (".", ".."):
        raise ValueError(f"{value[:40]!a} is not the folder of a lane")
    return value


def _import(value: Any, *, old: bool) -> str:
    """Return the text of an import, which must be what its digest says; of format 1, the digest."""
    if old:
        return _text(value)
    text = value["text"]
    if not isinstance(text, str) or hashlib.sha256(text.encode()).hexdigest() != value["sha256"]:
        raise ValueError("the text of an import does not match its digest")
    return text


def _fact(record: Mapping[str, Any]) -> Facts:
    facts = from_record(Facts, record)
    sizes = (*facts.shape, *facts.target, facts.train)
    if min(sizes) < 1 or facts.test < 0 or not 0 <= facts.validation < facts.train or not 0 <= facts.tokens < 2**31:
        raise ValueError("the facts of its data are impossible")
    if facts.stored not in ITEMSIZE:
        raise ValueError(f"its data cannot be stored as {facts.stored[:40]!a}")
    return facts
