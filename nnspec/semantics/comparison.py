"""Comparing the meaning of two programs: settings, layers and sizes of all runs, and expectations.

Programs are compared after everything is resolved, so only what the results depend on counts. Formatting, comments,
explicit defaults, the names of `let`s, blocks, models and layers, the files that declare them, and titles of races make
no difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nnspec.compiler.proofs import Compiled
from nnspec.reprs import TableRepr
from nnspec.semantics.changes import Change, Changes, Run, in_full
from nnspec.semantics.statements import statements

__all__ = ["Difference", "Group", "LaneChange", "compare"]


@dataclass(frozen=True)
class Group:
    """Changes that several lanes have in common."""

    lanes: tuple[str, ...]
    """Their names in the second program."""
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class LaneChange:
    """A lane that was added, removed or renamed."""

    old: str | None
    new: str | None
    like: str = ""
    """The lane that it is compared with: of the same program, except for the first if no lane is shared."""
    changes: tuple[Change, ...] = ()
    """Its differences from that lane; without one, its optimizer."""


@dataclass(frozen=True, repr=False)
class Difference(TableRepr):
    """The differences between two programs."""

    a: str
    b: str
    lanes: tuple[LaneChange, ...]
    groups: tuple[Group, ...]
    statements: tuple[Change, ...]
    shared: tuple[str, ...]
    """The lanes that are in both, by their names in the second program."""

    @property
    def same(self) -> bool:
        """Whether there are no differences."""
        return not (self.lanes or self.groups or self.statements)


def compare(a: Compiled, b: Compiled) -> Difference:
    """Compare two programs."""
    changes = Changes()
    ours, theirs = _runs(a), _runs(b)
    pairs, gone, come = _pair(ours, theirs, changes)
    found = {new.name: tuple(changes.between(old, new)) for old, new in pairs}
    renamed = {old.experiment.lane: new.experiment.lane for old, new in pairs}
    lanes = [LaneChange(old, new) for old, new in renamed.items() if old != new]
    old, new = pairs[0] if pairs else (ours[0], theirs[0])
    for run in gone:
        lanes.append(LaneChange(run.name, None, *_apart(run, old, changes)))
    for run in come:
        if run is new:
            lanes.append(
                LaneChange(None, run.name, f"{old.name} of {a.program.path}", tuple(changes.settings(old, run)))
            )
        else:
            lanes.append(LaneChange(None, run.name, *_apart(run, new, changes)))
    return Difference(
        a.program.path,
        b.program.path,
        tuple(lanes),
        tuple(_grouped(found)),
        tuple(_expected(statements(a.program, renamed), statements(b.program, {}))),
        tuple(found),
    )


def _runs(compiled: Compiled) -> list[Run]:
    return [Run(lane, compiled.layouts[lane.name]) for lane in compiled.program.lanes]


def _pair(a: list[Run], b: list[Run], changes: Changes) -> tuple[list[tuple[Run, Run]], list[Run], list[Run]]:
    """Pair lanes by name, then lanes that mean the same, then lanes that are the only ones of their programs."""
    named = {run.name: run for run in b}
    pairs = [(run, named.pop(run.name)) for run in a if run.name in named]
    paired = {old.name for old, _ in pairs}
    alike = {changes.meaning(run): run for run in reversed(named.values())}
    gone = []
    for run in a:
        if run.name in paired:
            continue
        twin = alike.pop(changes.meaning(run), None)
        if twin is None and len(a) == len(b) == 1:
            twin = b[0]
        if twin is None:
            gone.append(run)
        else:
            pairs.append((run, named.pop(twin.name)))
    return pairs, gone, list(named.values())


def _apart(run: Run, like: Run, changes: Changes) -> tuple[str, tuple[Change, ...]]:
    """Return how a lane differs from lane `like` of the same program; for that lane itself, its optimizer."""
    if run is not like:
        return like.name, tuple(changes.settings(like, run))
    optimizer = in_full(run.experiment.optimizer)
    return "", (Change("optimizer", None, optimizer, "", None, optimizer),)


def _grouped(found: Mapping[str, Sequence[Change]]) -> Iterator[Group]:
    """Group changes by the lanes that share them; those of the most lanes come first."""
    lanes: dict[Change, list[str]] = {}
    for lane, changes in found.items():
        for change in dict.fromkeys(changes):
            lanes.setdefault(change, []).append(lane)
    groups: dict[tuple[str, ...], list[Change]] = {}
    for change, names in lanes.items():
        groups.setdefault(tuple(names), []).append(change)
    for shared, together in sorted(groups.items(), key=lambda item: -len(item[0])):
        yield Group(shared, tuple(together))


def _expected(old: Mapping[frozenset[str], str], new: Mapping[frozenset[str], str]) -> Iterator[Change]:
    gone = {key: text for key, text in old.items() if key not in new}
    come = {key: text for key, text in new.items() if key not in old}
    alike = set(gone.values()) & set(come.values())  # the same text, but a `let` in it has another value
    for key, text in gone.items():
        words = _said(key) if text in alike else text
        yield Change("expect", words, None, "", words, None)
    for key, text in come.items():
        words = _said(key) if text in alike else text
        yield Change("expect", None, words, "", None, words)


def _said(key: frozenset[str]) -> str:
    return "; ".join(sorted(words[1:-1] if words.startswith("(") else words for words in key))
