"""Two programs held against each other in what they mean: every run's settings, layers and sizes, and what must hold.

Compared is what a run depends on, after everything is resolved. So formatting, comments, defaults that are written out,
what a `let`, a block, a model or a layer is called, and which file says it make no difference. The titles of races make
none either: no number depends on them.
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
    """What changed in the same way in several lanes."""

    lanes: tuple[str, ...]
    """Their names in the second program."""
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class LaneChange:
    """A lane that came, went, or is called otherwise."""

    old: str | None
    new: str | None
    like: str = ""
    """The lane that it is held against: of the same program, but for the first one where no lane is shared."""
    changes: tuple[Change, ...] = ()
    """What sets it apart from that one; without one, its optimizer."""


@dataclass(frozen=True, repr=False)
class Difference(TableRepr):
    """What two programs differ in."""

    a: str
    b: str
    lanes: tuple[LaneChange, ...]
    groups: tuple[Group, ...]
    statements: tuple[Change, ...]
    shared: tuple[str, ...]
    """The lanes that both have, by their names in the second program."""

    @property
    def same(self) -> bool:
        """Whether there is none."""
        return not (self.lanes or self.groups or self.statements)


def compare(a: Compiled, b: Compiled) -> Difference:
    """Hold two programs against each other."""
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
    """Pair lanes by name; of the rest, those that mean the same, and those that are the only ones of their program."""
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
    """Say what sets a lane apart from another one of its program; of that one itself, its optimizer."""
    if run is not like:
        return like.name, tuple(changes.settings(like, run))
    optimizer = in_full(run.experiment.optimizer)
    return "", (Change("optimizer", None, optimizer, "", None, optimizer),)


def _grouped(found: Mapping[str, Sequence[Change]]) -> Iterator[Group]:
    """Tell what several lanes share once; what most of them share comes first."""
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
    alike = set(gone.values()) & set(come.values())  # a `let` in it has another value
    for key, text in gone.items():
        words = _said(key) if text in alike else text
        yield Change("expect", words, None, "", words, None)
    for key, text in come.items():
        words = _said(key) if text in alike else text
        yield Change("expect", None, words, "", None, words)


def _said(key: frozenset[str]) -> str:
    return "; ".join(sorted(words[1:-1] if words.startswith("(") else words for words in key))
