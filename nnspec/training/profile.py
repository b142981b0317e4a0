"""Where the time of a training step goes: measured, part by part.

The loop tells of every step that it runs (see `compiler/loop.py`), here during every other batch; of the others only
the whole is timed. So the profile says what it costs itself: how much longer the timed batches took. No number of the
training depends on it.
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

_ENOUGH = 10  # steps with and without wrappers that tell what these cost


@dataclass
class _Part:
    """A part of a step: what is done, and by which layer, where one does it."""

    what: str
    node: LayerNode | None = None
    nanoseconds: int = 0
    calls: int = 0

    def record(self, steps: int, total: int) -> dict[str, Any]:
        """Return it as plain data: microseconds, share and calls of a mean step."""
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
    """Times every other training step of a plan, part by part: the loop tells it of each step that it has run."""

    def __init__(self, plan: Plan) -> None:
        self._parts = {(part.what, part.node.name if part.node else ""): part for part in _parts(plan)}
        self._timed, self._plain = array("q"), array("q")

    def batch_begins(self) -> Watcher | None:
        """Look on during every other batch."""
        return self._look if len(self._timed) <= len(self._plain) else None

    def batch_ends(self, watched: bool, nanoseconds: int) -> None:
        """Note how long a batch took."""
        (self._timed if watched else self._plain).append(nanoseconds)

    def _look(self, op: str, node: str, nanoseconds: int, written: NDArray[Any] | None) -> None:
        part = self._parts[_WHAT.get(op, node), node if _WHAT.get(op) in ("forward", "backward") else ""]
        part.nanoseconds += nanoseconds
        part.calls += 1

    def profile(self) -> dict[str, Any]:
        """Return the profile as plain data; {} where no step was made.

        `steps` that were timed, of `of`; a mean step's `microseconds`; `overhead`, the share by which looking on made
        the median step longer, None where there were too few steps to tell; and `parts`, which add up to the whole.
        """
        from statistics import median  # with it fractions and decimal, for the runs that are profiled alone

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
"""The part of a profile that a step belongs to; what is done to the parameters goes by its own name."""


def _parts(plan: Plan) -> Iterator[_Part]:
    """Yield the parts of a step, in its order."""
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
    """Return the profile of several trainings of one lane: means over all of their steps."""
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
