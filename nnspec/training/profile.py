"""Profiling training steps: the time spent in each part.

The training loop reports the time of each part (see `compiler/loop.py`) for every other batch. Of the remaining batches
only the total time is measured, which shows the overhead of profiling: how much longer the profiled batches took.
Results do not depend on profiling.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import LayerNode
from nnspec.compiler.loop import Watcher
from nnspec.compiler.plan import Plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Profiler", "merged"]

_ENOUGH = 10  # steps with and without profiling that are enough to measure its overhead


@dataclass
class _Part:
    """A part of a step: the kind of work, and the layer that does it, if any."""

    what: str
    node: LayerNode | None = None
    nanoseconds: int = 0
    calls: int = 0

    def record(self, steps: int, total: int) -> dict[str, Any]:
        """Return it as plain data: microseconds, share and calls per step, on average."""
        found: dict[str, Any] = {"what": self.what}
        if self.node is not None:
            span = self.node.span
            found |= {"layer": self.node.name, "kind": self.node.value.name}
            found |= {"file": span.source.name, "line": span.line}
        return found | {
            "microseconds": self.nanoseconds / steps / 1000,
            "share": self.nanoseconds / total,
            "calls": self.calls / steps,
        }


class Profiler:
    """Times each part of every other training step of a plan. The loop calls it after each operation."""

    def __init__(self, plan: Plan) -> None:
        self._parts = {(part.what, part.node.name if part.node else ""): part for part in _parts(plan)}
        self._timed, self._plain = array("q"), array("q")

    def batch_begins(self) -> Watcher | None:
        """Return the watcher of a batch: of every other one, None."""
        return self._look if len(self._timed) <= len(self._plain) else None

    def batch_ends(self, watched: bool, nanoseconds: int) -> None:
        """Record the time of a batch."""
        (self._timed if watched else self._plain).append(nanoseconds)

    def _look(self, op: str, node: str, nanoseconds: int, written: NDArray[Any] | None) -> None:
        part = self._parts[_WHAT.get(op, node), node if _WHAT.get(op) in ("forward", "backward") else ""]
        part.nanoseconds += nanoseconds
        part.calls += 1

    def profile(self) -> dict[str, Any]:
        """Return the profile as plain data; {} if there was no step.

        `steps` is the number of profiled steps, out of `of`; `microseconds` the mean time of a step; `overhead` the
        share by which profiling made the median step slower, None if there were too few steps; and the `parts` add up
        to the total.
        """
        from statistics import median  # imports fractions and decimal, needed only for profiled runs

        steps, total = len(self._timed), sum(self._timed)
        if not steps:
            return {}
        enough = min(steps, len(self._plain)) >= _ENOUGH
        other = _Part("other", None, total - sum(part.nanoseconds for part in self._parts.values()), steps)
        return {
            "steps": steps,
            "of": steps + len(self._plain),
            "microseconds": total / steps / 1000,
            "overhead": median(self._timed) / median(self._plain) - 1 if enough else None,
            "parts": [part.record(steps, total) for part in (*self._parts.values(), other) if part.calls],
        }


_WHAT = {
    "batch": "batch",
    "forward": "forward",
    "add": "forward",
    "concat": "forward",
    "metric": "metrics",
    "loss": "loss",
    "loss gradient": "loss backward",
    "backward": "backward",
    "split": "backward",
    "sum": "backward",
}
"""The part of a profile that an operation belongs to; operations on parameters have their own names."""


def _parts(plan: Plan) -> Iterator[_Part]:
    """Yield the parts of a step, in execution order."""
    steps = plan.layout.steps
    yield _Part("batch")
    for step in steps:
        if step.op in ("forward", "add", "concat"):
            yield _Part("forward", steps.nodes[step.node])
    yield _Part("loss")
    yield _Part("metrics")
    yield _Part("loss backward")
    for step in steps:
        if step.op in ("backward", "sum", "split"):
            yield _Part("backward", steps.nodes[step.node])
    if plan.adjusts:
        yield _Part("penalties and clipping")
    yield _Part("optimizer")


def merged(profiles: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the combined profile of several trainings of a lane: means over all of their steps."""
    found = [profile for profile in profiles if profile]
    if len(found) < 2:
        return dict(found[0]) if found else {}
    steps = sum(profile["steps"] for profile in found)
    total = sum(profile["steps"] * profile["microseconds"] for profile in found)
    parts: dict[tuple[str, str], dict[str, Any]] = {}
    for profile in found:
        for part in profile["parts"]:
            key = part["what"], part.get("layer", "")
            into = parts.setdefault(key, part | {"microseconds": 0.0, "calls": 0.0})
            into["microseconds"] += part["microseconds"] * profile["steps"] / steps
            into["calls"] += part["calls"] * profile["steps"] / steps
    for part in parts.values():
        part["share"] = part["microseconds"] * steps / total
    overheads = [profile["overhead"] for profile in found if profile["overhead"] is not None]
    return {
        "steps": steps,
        "of": sum(profile["of"] for profile in found),
        "microseconds": total / steps,
        "overhead": sum(overheads) / len(overheads) if overheads else None,
        "parts": list(parts.values()),
    }
