"""`run.json`: which experiment a run is, with everything needed to understand its spec without other files."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

from nnspec.checker import Known
from nnspec.checker.program import Program
from nnspec.compiler.allocate import ITEMSIZE
from nnspec.data.source import Facts
from nnspec.data.weights import Tensor, WeightsFacts
from nnspec.files import utf8
from nnspec.records.lane_folders import folder_names
from nnspec.records.reading import from_record, read_json, usable
from nnspec.semantics.meaning import SEMANTICS, Meaning, canonical, identity, meaning
from nnspec.text import to_json

__all__ = ["MANIFEST", "MOST_MANIFEST", "Manifest", "manifest_of", "read_manifest"]

FORMAT = 2
"""Format 1 had no meaning, imports or facts of data: its records can be read, and its networks only exported."""
MANIFEST = "run.json"
MOST_MANIFEST = 64 * 1024**2
"""Maximum size of `run.json` in bytes; it contains the texts of all imports."""


@dataclass(frozen=True)
class Manifest:
    """The contents of `run.json`, which is written before anything is trained."""

    spec: str
    """The path of the spec, as given."""
    identity: str
    """A digest of everything that its results depend on."""
    home: str = "."
    """The folder of the spec, relative to that of the run."""
    place: str = ""
    """The folder of the spec, as an absolute path."""
    data_dir: str = ""
    """The data folder that was given, as an absolute path; empty if none was."""
    set: tuple[str, ...] = ()
    """The arguments of `--set`."""
    imports: Mapping[str, str] = field(default_factory=dict)
    """The text of each imported file by its path; in format 1, its sha256."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Other names of imported files, through symbolic links -> their paths."""
    semantics: int = SEMANTICS
    """The version of the spec semantics that it was run with."""
    meaning: Meaning = field(default_factory=lambda: Meaning({}))
    """What was run, as the values that differ from their defaults."""
    data: tuple[tuple[Any, Facts], ...] = ()
    """Each data source that reads files, as plain data, with the facts found in them."""
    weights: Mapping[str, WeightsFacts] = field(default_factory=dict)
    """What is in each file of `init_from`, by its path as written."""
    folders: Mapping[str, str] = field(default_factory=dict)
    """The folder of each lane."""
    replaces: tuple[str, ...] | None = None
    """The lane folders of an older run, while its files are being removed; otherwise None."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Versions, machine and BLAS at the start."""
    format: int = FORMAT

    @property
    def version(self) -> str:
        """The version of nnspec that started the run."""
        return str(self.environment.get("nnspec", "of an unknown version"))

    @property
    def known(self) -> Known:
        """What a checker can take from the record instead of the disk."""
        facts = {json.dumps(source, sort_keys=True): found for source, found in self.data}

        def of(value: Any) -> Facts | None:
            return facts.get(json.dumps(canonical(value), sort_keys=True))

        return Known(self.imports, self.names, of, self.weights)

    def record(self) -> dict[str, Any]:
        """Return it as JSON values."""
        values = {
            name: value for name, value in vars(self).items() if name not in ("meaning", "data", "imports", "weights")
        }
        digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in self.imports.items()}
        return {
            **values,
            "meaning": self.meaning.record() if self.meaning.lanes else {"shared": {}, "lanes": {}},
            "data": [{"source": source, "facts": asdict(facts)} for source, facts in self.data],
            **({"weights": {path: asdict(each) for path, each in self.weights.items()}} if self.weights else {}),
            "imports": {name: {"sha256": digests[name], "text": text} for name, text in self.imports.items()},
        }

    def text(self) -> str:
        """Return the text of the file."""
        return to_json(self.record(), indent=2) + "\n"


def manifest_of(program: Program, folder: Path, environment: Mapping[str, Any], data_dir: Path | None) -> Manifest:
    """Return the manifest of a program that is run in `folder`."""
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
        weights={
            path.written: facts
            for lane in program.lanes
            if lane.initial is not None
            for path, facts in lane.initial.files.items()
        },
        folders=dict(zip(lanes, folder_names(lanes), strict=True)),
        environment=environment,
    )


def _facts(program: Program) -> dict[str, tuple[Any, Facts]]:
    """Return each data source that reads files, once, with the facts found in them."""
    found = [(canonical(value), facts) for value, facts in program.looked]
    return {json.dumps(source, sort_keys=True): (source, facts) for source, facts in found}


def read_manifest(path: Path) -> Manifest:
    """Read a `run.json`. Raises RunError if it is damaged, OSError if it cannot be read."""
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
            weights={path: _weights(each) for path, each in found.get("weights", {}).items()},
            folders={} if old else {_lane(name): _folder(each) for name, each in found["folders"].items()},
            replaces=None if replaces is None else tuple(map(_folder, replaces)),
            environment=_environment(found["environment"]),
            format=int(found["format"]),
        )


def _environment(value: Any) -> dict[str, Any]:
    """Return the environment; of parts that are not nnspec's, all that their record holds is text."""
    found = dict(value)
    if "parts" in found:
        names = ("part", "kind", "package", "version", "module", "sha256")
        found["parts"] = [{name: _text(each[name]) for name in names} for each in found["parts"]]
    return found


def _text(value: Any) -> str:
    """Return a value that must be a text without NUL. Raises TypeError, ValueError."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    if "\0" in value or not utf8(value).decode().isprintable():  # a path may hold bytes that are not UTF-8
        raise ValueError(f"{value[:40]!a} is not a name")
    return value


def _path(value: Any) -> str:
    """Return a value that must be an absolute path or empty. Raises TypeError, ValueError."""
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
    """Return a value that must be the name of a folder directly in that of the run. Raises TypeError, ValueError."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    if folder_names([value]) != [value] or value in (".", ".."):
        raise ValueError(f"{value[:40]!a} is not the name of a lane folder")
    return value


def _import(value: Any, *, old: bool) -> str:
    """Return the text of an import, which must match its digest; in format 1, only the digest."""
    if old:
        return _text(value)
    text = value["text"]
    if not isinstance(text, str) or hashlib.sha256(text.encode()).hexdigest() != value["sha256"]:
        raise ValueError("the text of an import does not match its digest")
    return text


def _weights(record: Mapping[str, Any]) -> WeightsFacts:
    """Read what is in a file of weights. Raises TypeError, ValueError or LookupError."""
    facts = from_record(
        WeightsFacts, {name: value for name, value in record.items() if name != "tensors"} | {"tensors": []}
    )
    tensors = tuple(Tensor(str(name), str(dtype), tuple(map(int, shape))) for name, dtype, shape in record["tensors"])
    if facts.file and not re.fullmatch(r"([^/\\\0]+/)?[^/\\\0]+\.npz", facts.file):
        raise ValueError(f"{facts.file[:40]!a} is not a file of weights")
    return replace(facts, tensors=tensors)


def _fact(record: Mapping[str, Any]) -> Facts:
    facts = from_record(Facts, record)
    sizes = (*facts.shape, *facts.target, facts.train)
    if min(sizes) < 1 or facts.test < 0 or not 0 <= facts.validation < facts.train or not 0 <= facts.tokens < 2**31:
        raise ValueError("the facts of its data are impossible")
    windows = facts.windows
    if windows is not None and (len(facts.shape) != 2 or facts.shape[0] != windows.length or min(astuple(windows)) < 1):
        raise ValueError("the windows of its data are impossible")
    if facts.stored not in ITEMSIZE:
        raise ValueError(f"its data cannot be stored as {facts.stored[:40]!a}")
    return facts
