"""The baseline of `nnspec test`: what specs gave when they were recorded, as a JSON file to commit.

    {"nnspec": "baseline", "format": 1,
     "kernels": {KERNELS: the environment that it is a digest of},
     "specs": {PATH: {"passed", "seconds", "kernels", "expectations", "meaning", "lanes": {
         LANE: {"identity", "data", "sha256", "seeds", "figures": {FIGURE: a value for each seed}}}}}}

Paths are relative to the folder of the file. Figures are written with all their digits; null is a figure that is
infinite or was not measured. The file may come from anywhere, so it is read with limits.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from nnspec.errors import NnspecError
from nnspec.files import lock_folder, output, read_limited, utf8
from nnspec.semantics.meaning import Meaning
from nnspec.text import printable, to_json

__all__ = ["Baseline", "BaselineError", "LaneEntry", "SpecEntry", "alone", "fingerprint", "key_of", "read_baseline"]

T = TypeVar("T")

FORMAT = 1
_KIND = "baseline"
_LARGEST = 64 * 1024**2
_DEEPEST = 50
_LONGEST = 4096
_SEEDS = 100_000
_SECONDS = 1e9
_PATIENCE, _PAUSE = 10.0, 0.02
"""Seconds to wait for other processes that update a baseline, and between two attempts."""
_INDENTED = 6
"""Levels of the file that have a line for each value; deeper ones are on one line."""


class BaselineError(NnspecError):
    """A baseline that cannot be used. The message says why and what to do."""


@dataclass(frozen=True)
class LaneEntry:
    """What is recorded of a lane."""

    identity: str
    """The identity of its meaning."""
    data: str
    """The data source that was used."""
    sha256: str
    """The digest of the data."""
    seeds: tuple[int, ...]
    figures: Mapping[str, tuple[float, ...]]
    """Each figure of a trained lane, with a value for each seed; NaN if it is infinite or was not measured."""

    def by_seed(self, figure: str) -> dict[int, float]:
        """Return the values of a figure by seed. Raises KeyError for one that is not recorded."""
        return dict(zip(self.seeds, self.figures[figure], strict=True))


@dataclass(frozen=True)
class SpecEntry:
    """What is recorded of a spec."""

    passed: bool
    seconds: float
    """How long the test took."""
    kernels: str
    """The fingerprint of all that decides about the last bits: versions, CPU kernels, parts of other packages."""
    expectations: str
    """A digest of what is expected."""
    meaning: Meaning
    lanes: Mapping[str, LaneEntry]

    def record(self) -> dict[str, Any]:
        """Return it as JSON values."""
        values = {name: getattr(self, name) for name in ("passed", "seconds", "kernels", "expectations")}
        lanes = {name: {**vars(lane), "figures": dict(lane.figures)} for name, lane in self.lanes.items()}
        return {**values, "lanes": lanes, "meaning": self.meaning.record()}


@dataclass(frozen=True)
class Baseline:
    """The recorded results of specs, by path relative to the folder of the file."""

    specs: Mapping[str, SpecEntry] = field(default_factory=dict)
    kernels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The environment that each fingerprint is a digest of."""

    def updated(self, entries: Mapping[str, SpecEntry], kernels: Mapping[str, Mapping[str, Any]]) -> Baseline:
        """Return the baseline with some entries replaced or added. Environments that no entry names are dropped."""
        specs = {**self.specs, **entries}
        used = {entry.kernels for entry in specs.values()}
        return Baseline(specs, {name: each for name, each in {**self.kernels, **kernels}.items() if name in used})

    def text(self) -> str:
        """Return the text of the file: sorted by path, so that changes of a spec are next to each other in a diff."""
        record = {
            "nnspec": _KIND,
            "format": FORMAT,
            "kernels": {name: self.kernels[name] for name in sorted(self.kernels)},
            "specs": {path: self.specs[path].record() for path in sorted(self.specs)},
        }
        return "".join(_written(record)) + "\n"

    def write(self, path: Path) -> None:
        """Write the file atomically. Raises BaselineError if it cannot be written."""
        try:
            with output(path) as file:
                file.write(utf8(self.text()))
        except OSError as error:
            raise BaselineError(f"{path} cannot be written: {error.strerror or error}") from None


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process updates a baseline in the folder of `path`, and keep others waiting meanwhile.

    The wait ends after ten seconds: a lock that is held longer belongs to a run in this folder.
    """
    handle, end = None, time.monotonic() + _PATIENCE
    while handle is None and time.monotonic() < end:
        try:
            handle = lock_folder(path.resolve().parent)
        except BlockingIOError:
            time.sleep(_PAUSE)
            continue
        except OSError:  # the folder cannot be listed; whether it can be written to is another question
            pass
        break
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def fingerprint(environment: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return a digest of all that decides about the last bits of results, and the record that it is a digest of.

    These are the parts of an `environment` but the number of BLAS threads, since products run on one, and a digest of
    nnspec's own files, which may change without its version.
    """
    blas = [{name: value for name, value in pool.items() if name != "threads"} for pool in environment["blas"]]
    record = {**environment, "blas": blas, "code": _code()}
    return _digest(record), record


def _digest(record: Any) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]


def _code() -> str:
    """Return a digest of nnspec's Python files."""
    top = Path(__file__).parents[1]
    found = hashlib.sha256()
    for path in sorted(top.rglob("*.py")):
        found.update(utf8(path.relative_to(top).as_posix()) + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


def key_of(spec: str, baseline: Path) -> str:
    """Return the path of a spec relative to the folder of the baseline, or its absolute path on another drive."""
    place = os.path.abspath(spec)
    try:
        return Path(os.path.relpath(place, os.path.abspath(baseline.parent))).as_posix()
    except ValueError:
        return Path(place).as_posix()


# Writing


def _written(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the text of a JSON value: a line for each member of an object, lists on one line."""
    if not isinstance(value, Mapping) or not value or depth >= _INDENTED:
        yield to_json(value, ensure_ascii=False)
        return
    start = "{\n"
    for name, each in value.items():
        yield f"{start}{'  ' * (depth + 1)}{to_json(name, ensure_ascii=False)}: "
        yield from _written(each, depth + 1)
        start = ",\n"
    yield f"\n{'  ' * depth}}}"


# Reading


def read_baseline(path: Path, *, may_be_absent: bool = False) -> Baseline:
    """Read a baseline; a file that `may_be_absent` and is absent counts as an empty one. Raises BaselineError if there
    is none, or if it cannot be read or used."""
    try:
        text = read_limited(path, _LARGEST).decode("utf-8")
    except FileNotFoundError:
        if may_be_absent:
            return Baseline()
        raise BaselineError(f"{path} does not exist; --update creates it") from None
    except UnicodeDecodeError:
        raise BaselineError(f"{path} is not a baseline: it is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        raise BaselineError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        record = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
        _refuse_monsters(record)
        return _baseline(record)
    except json.JSONDecodeError as error:
        merged = any(line.startswith(("<<<<<<<", "=======", ">>>>>>>")) for line in text.splitlines())
        why = f"line {error.lineno} is not JSON: {error.msg}"
        raise BaselineError(
            f"{path} is damaged: {'it has the markers of an unfinished merge' if merged else why}; restore it, or "
            "delete it and write it again with --update"
        ) from None
    except (ValueError, TypeError, RecursionError) as error:
        why = printable(" ".join(str(error).split())[:200])
        raise BaselineError(f"{path} cannot be used as a baseline: {why}") from None


def _refuse_monsters(record: Any) -> None:
    """Raise ValueError for deeper nesting and longer names than nnspec writes: they may be compared and shown."""
    waiting = [(record, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
        if isinstance(value, dict):
            if long := next((name for name in value if len(name) > _LONGEST), None):
                raise ValueError(f"the name {_shown(long)}… has more than {_LONGEST:,} characters")
            waiting += [(each, depth + 1) for each in value.values()]
        elif isinstance(value, list):
            waiting += [(each, depth + 1) for each in value]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of an object. Raises ValueError if it has a key twice, as after a careless merge."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"it has {_shown(twice)} twice; keep one of them")
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def _shown(value: Any) -> str:
    return f"{str(value)[:60]!a}"


def _baseline(record: Any) -> Baseline:
    if _of(record, dict, "it").get("nnspec") != _KIND:
        raise ValueError('it has no `"nnspec": "baseline"`')
    if record.get("format") != FORMAT:
        newer = "a newer version of nnspec may read it"
        raise ValueError(f"its format is {_shown(record.get('format'))}, not {FORMAT}; {newer}")
    kernels = _get(record, "kernels", dict, "the file")
    return Baseline(
        {path: _spec(each, path) for path, each in _get(record, "specs", dict, "the file").items()},
        {name: _of(each, dict, f"`kernels` {_shown(name)}") for name, each in kernels.items()},
    )


def _spec(record: Any, path: str) -> SpecEntry:
    where = f"the entry of {_shown(path)}"
    if "\0" in path:
        raise ValueError(f"{where} is not a path")
    entry = _known(record, SpecEntry, where)
    lanes = {
        name: _lane(each, f"lane {_shown(name)} of {path}") for name, each in _get(entry, "lanes", dict, where).items()
    }
    try:
        meaning = Meaning.of_record(_get(entry, "meaning", dict, where))
    except (LookupError, TypeError, AttributeError, ValueError):
        raise ValueError(f"`meaning` of {where} is damaged") from None
    if set(meaning.lanes) != set(lanes) or not lanes:
        raise ValueError(f"`meaning` and `lanes` of {where} have different lanes")
    return SpecEntry(
        passed=_get(entry, "passed", bool, where),
        seconds=_seconds(_get(entry, "seconds", (int, float), where), f"`seconds` of {where}"),
        kernels=_get(entry, "kernels", str, where),
        expectations=_get(entry, "expectations", str, where),
        meaning=meaning,
        lanes=lanes,
    )


def _lane(record: Any, where: str) -> LaneEntry:
    entry = _known(record, LaneEntry, where)
    if len(_get(entry, "seeds", list, where)) > _SEEDS:
        raise ValueError(f"{where} has more than {_SEEDS:,} seeds")
    seeds = tuple(_of(seed, int, f"a seed of {where}") for seed in entry["seeds"])
    if len(set(seeds)) < len(seeds) or not seeds:
        raise ValueError(f"{where} has no seeds, or duplicate ones")
    figures: dict[str, tuple[float, ...]] = {}
    for name, values in _get(entry, "figures", dict, where).items():
        what = f"{_shown(name)} of {where}"
        if len(_of(values, list, what)) != len(seeds):
            raise ValueError(f"{what} has {len(values)} values for {len(seeds)} seeds")
        figures[name] = tuple(math.nan if value is None else _number(value, f"a value of {what}") for value in values)
    texts = {name: _get(entry, name, str, where) for name in ("identity", "data", "sha256")}
    return LaneEntry(**texts, seeds=seeds, figures=figures)


def _known(record: Any, kind: type[SpecEntry | LaneEntry], where: str) -> dict[str, Any]:
    """Return an object with no other fields than those of a dataclass: what is not read would be lost in an update."""
    entry: dict[str, Any] = _of(record, dict, where)
    unknown = next((name for name in entry if name not in {each.name for each in fields(kind)}), None)
    if unknown is not None:
        raise ValueError(f"{where} has an unknown field {_shown(unknown)}; remove it")
    return entry


def _get(record: Mapping[str, Any], name: str, kind: type[T] | tuple[type, ...], where: str) -> Any:
    if name not in record:
        raise ValueError(f"{where} has no `{name}`")
    return _of(record[name], kind, f"`{name}` of {where}")


def _of(value: Any, kind: type[T] | tuple[type, ...], what: str) -> Any:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if type(value) not in kinds:  # not isinstance: True is an int
        raise ValueError(f"{what} cannot be {_shown(value)}")
    return value


def _seconds(value: Any, what: str) -> float:
    seconds = _number(value, what)
    if not 0 <= seconds <= _SECONDS:
        raise ValueError(f"{what} cannot be {seconds:g}")
    return seconds


def _number(value: Any, what: str) -> float:
    number = float(_of(value, (int, float), what)) if not isinstance(value, int) or abs(value) < 2**1000 else math.inf
    if not math.isfinite(number):
        raise ValueError(f"{what} is not a finite number")
    return number
