"""Which specs to test, and in which order: one shard for each CI job, and the specs that fit into a time budget."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nnspec.api import check
from nnspec.diagnostics.formats.base import plural
from nnspec.errors import NnspecError, some_of
from nnspec.files import utf8
from nnspec.project.against import Record
from nnspec.project.baseline import SpecEntry
from nnspec.project.remembering import Now
from nnspec.text import printable

__all__ = ["Planned", "Schedule", "planned", "schedule", "shards"]

_OVERHEAD = 0.2
"""Seconds to check a spec, its gradients and its data."""
_ROOM = 1.25
"""A shard is full with this many times its fair share of the time."""


@dataclass(frozen=True)
class Planned:
    """A spec to test, and what is known about it before."""

    path: str
    key: str
    """Its name in the baseline."""
    seconds: float
    """How long its test takes if it is trained; the same on every machine, since all CI jobs divide the same specs."""
    urgency: int
    """0 if its meaning changed, it failed or it is not recorded; 1 if it is trained for another reason; 2 if it is
    probably not trained at all."""

    @property
    def expected(self) -> float:
        """How long its test will probably take here."""
        return _OVERHEAD if self.urgency == 2 else self.seconds


def planned(
    path: str, key: str, overrides: Sequence[str], entry: SpecEntry | None, *, retrain: bool = False
) -> Planned:
    """Look at a spec without training it. One with errors is urgent, and takes no time."""
    try:
        compiled = check(path, tuple(overrides)).compiled
    except NnspecError:
        compiled = None
    if compiled is None:
        return Planned(path, key, _OVERHEAD, 0)
    now = Now(compiled)
    if entry is None or now.has_changed(entry):
        return Planned(path, key, _OVERHEAD + float(f"{compiled.seconds:.2g}"), 0)
    known = not retrain and now.is_known(entry)
    return Planned(path, key, _OVERHEAD + entry.seconds, 2 if known else 1 if entry.passed else 0)


def shards(specs: Sequence[Planned], count: int) -> list[list[Planned]]:
    """Divide specs into shards that take about equally long: every spec is in exactly one.

    The longest come first, and each goes to the shard that it prefers of those that are not full. Preferences are
    digests of its name and the shard (rendezvous hashing: Thaler & Ravishankar, 1998), so that an addition moves few of
    the others: those whose shard has become full, or no longer is (bounded loads: Mirrokni et al., 2018). A spec that
    fits nowhere goes to the shard with the least to do.
    """
    room = _ROOM * math.fsum(each.seconds for each in specs) / count
    found: list[list[Planned]] = [[] for _ in range(count)]
    loads = [0.0] * count
    for spec in sorted(specs, key=lambda each: (-each.seconds, each.key)):
        order = sorted(range(count), key=lambda shard: hashlib.sha256(utf8(f"{shard}/{spec.key}")).digest())
        free = (shard for shard in order if loads[shard] + spec.seconds <= room)
        shard = next(free, min(order, key=loads.__getitem__))
        loads[shard] += spec.seconds
        found[shard].append(spec)
    return found


@dataclass
class Schedule:
    """The specs to test, in order, and the time in which to do it."""

    paths: Sequence[str]
    specs: Mapping[str, Planned] = field(default_factory=dict)
    budget: float = math.inf
    started: float = 0.0
    shard: str = ""
    """What this shard has, in words; empty if specs are not divided."""
    omitted: list[Planned] = field(default_factory=list)
    """The specs for which there was not enough time."""
    _running: tuple[float, Planned] | None = None
    """The spec that is being tested, and when it began. All that were tested `took` and were `expected` to take:"""
    _took: float = 0.0
    _expected: float = 0.0

    def admits(self, path: str) -> bool:
        """Whether a spec probably fits in the time that is left, without those that need no training.

        If specs took longer than expected so far, so will the others.
        """
        if math.isinf(self.budget):
            return True
        now, spec = time.perf_counter(), self.specs[path]
        if self._running is not None:
            began, last = self._running
            self._took += now - began
            self._expected += last.expected
            self._running = None
        slowness = max(1.0, self._took / self._expected) if self._expected else 1.0
        reserved = sum(each.expected for each in self.specs.values() if each.urgency == 2 and spec.urgency < 2)
        if now - self.started + spec.expected * slowness + reserved > self.budget:
            self.omitted.append(spec)
            return False
        if spec.urgency < 2 and spec.seconds > _OVERHEAD:
            self._running = now, spec
        return True

    def remarks(self) -> Iterator[str]:
        """Yield what was not tested, and why."""
        if self.shard:
            yield self.shard
        if self.omitted:
            paths = printable(some_of([each.path for each in self.omitted], 12))
            seconds = sum(each.expected for each in self.omitted)
            needed = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"
            number = plural(len(self.omitted), "spec")
            yield f"not tested for lack of time: {number}, about {needed}: {paths}"


def schedule(
    record: Record,
    overrides: Sequence[str],
    *,
    retrain: bool = False,
    shard: tuple[int, int] | None = None,
    budget: float | None = None,
    started: float = 0.0,
) -> Schedule:
    """Choose the specs of a shard, and order them for a budget: the most urgent first, and of those the shortest."""
    if shard is None and budget is None:
        return Schedule(record.names)
    entries = record.entries or {}
    specs = [planned(name, record.key(name), overrides, entries.get(name), retrain=retrain) for name in record.names]
    words = ""
    if shard is not None:
        number, count = shard
        chosen = {each.path for each in shards(specs, count)[number - 1]}
        specs = [each for each in specs if each.path in chosen]
        words = f"shard {number} of {count}: {len(specs):,} of {plural(len(record.names), 'spec')}"
    if budget is not None:
        specs.sort(key=lambda each: (each.urgency, each.seconds, each.key))
    paths = [each.path for each in specs]
    return Schedule(paths, {each.path: each for each in specs}, math.inf if budget is None else budget, started, words)
