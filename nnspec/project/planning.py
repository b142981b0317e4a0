"""Which specs to test, and in which order: a share of them for each CI job, and those that fit in a time."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nnspec.api import check
from nnspec.errors import NnspecError
from nnspec.files import utf8
from nnspec.project.baseline import SpecEntry
from nnspec.project.remembering import Now

__all__ = ["Budget", "Planned", "planned", "shards"]

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
    """How long its test takes if it is trained. It must not depend on the machine: all CI jobs divide the same specs."""
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
class Budget:
    """A time in which as many specs as possible are tested, the most urgent first and of those the shortest."""

    seconds: float
    specs: Sequence[Planned]
    started: float = field(default_factory=time.perf_counter)
    omitted: list[Planned] = field(default_factory=list)
    """The specs for which there was not enough time."""

    @property
    def order(self) -> list[str]:
        """The paths of the specs, in the order in which they are to be tested."""
        return [each.path for each in sorted(self.specs, key=lambda each: (each.urgency, each.seconds, each.key))]

    def admits(self, path: str) -> bool:
        """Whether a spec still fits in the time that is left."""
        spec = next(each for each in self.specs if each.path == path)
        fits = time.perf_counter() - self.started + spec.expected <= self.seconds
        if not fits:
            self.omitted.append(spec)
        return fits
