"""Where the time of a training step goes: measured, part by part.

Every other step is timed: wrappers stand around the calls of its parts, and are taken off again for the step behind it,
of which only the whole is timed. So the profile says what it costs itself: how much longer the timed steps took. No
number of the training depends on it, and what is not profiled meets none of this.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from statistics import median
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import Experiment, LayerNode
from nnspec.compiler.layout import Layout
from nnspec.compiler.plan import Plan
from nnspec.data.source import Dataset

if TYPE_CHECKING:
    from nnspec.engine.layers.contract import Layer

__all__ = ["ProfiledPlan", "merged"]

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


class ProfiledPlan(Plan):
    """A plan like every other, that times every other one of its training steps part by part."""

    def __init__(self, experiment: Experiment, layout: Layout, dataset: Dataset) -> None:
        super().__init__(experiment, layout, dataset)
        self._parts: list[_Part] = []
        self._wrappers: list[tuple[Any, str, Callable[..., Any]]] = []
        self._inside = 0  # nanoseconds of the parts called within the part that is called now
        self._timed, self._plain = array("q"), array("q")
        self._watch_parts()

    def train_batch(self, number: int) -> tuple[float, float]:
        """Make one step, as every plan does."""
        wrapped = len(self._timed) <= len(self._plain)
        if wrapped:
            for owner, name, wrapper in self._wrappers:
                setattr(owner, name, wrapper)
        try:
            started = time.perf_counter_ns()
            result = super().train_batch(number)
            spent = time.perf_counter_ns() - started
        finally:
            if wrapped:
                for owner, name, _ in self._wrappers:
                    delattr(owner, name)
        (self._timed if wrapped else self._plain).append(spent)
        return result

    def profile(self) -> dict[str, Any]:
        """Return the profile as plain data; {} where no step was made.

        `steps` that were timed, of `of`; a mean step's `microseconds`; `overhead`, the share by which the wrappers made
        the median step longer, None where there were too few steps to tell; and `parts`, which add up to the whole.
        """
        steps, total = len(self._timed), sum(self._timed)
        if not steps:
            return {}
        enough = min(steps, len(self._plain)) >= _ENOUGH
        other = _Part("other", None, total - sum(part.nanoseconds for part in self._parts), steps)
        return {
            "steps": steps,
            "of": steps + len(self._plain),
            "microseconds": total / steps / 1000,
            "overhead": median(self._timed) / median(self._plain) - 1 if enough else None,
            "parts": [part.record(steps, total) for part in (*self._parts, other) if part.calls],
        }

    # Set-up

    def _watch_parts(self) -> None:
        """Say what is timed, in the order of a step."""
        self._watch("batch", self.data, "train")
        layers = [*zip(self._layers_by_place(), self.experiment.layers, strict=True)]
        for layers_here, node in layers:
            self._watch("forward", layers_here, "forward", node)
        self._watch("loss", self.loss, "forward")
        self._watch("metrics", self.metrics, "add")
        self._watch("loss backward", self.loss, "backward")
        for layers_here, node in reversed(layers):
            self._watch("backward", layers_here, "backward", node)
        train = self.experiment.train
        if train.penalties or train.clip_value is not None or train.clip_norm is not None or train.constraint:
            self._watch("penalties and clipping", self, "_move")
        self._watch("optimizer", self.optimizer, "step", also=("at",))

    def _layers_by_place(self) -> Iterator[tuple[Layer, ...]]:
        """Yield what computes in each place: the layer, and in the first also that which trains without dead inputs."""
        for i, layer in enumerate(self._network.layers):
            yield (layer, self._narrowing.layer) if i == 0 and self._narrowing is not None else (layer,)

    def _watch(
        self, what: str, owners: Any, name: str, node: LayerNode | None = None, also: Sequence[str] = ()
    ) -> None:
        part = _Part(what, node)
        self._parts.append(part)
        for owner in owners if isinstance(owners, tuple) else (owners,):
            for method in (name, *also):
                counts = method == name
                self._wrappers.append((owner, method, self._wrapper(getattr(owner, method), part, counts)))

    def _wrapper(self, call: Callable[..., Any], part: _Part, counts: bool) -> Callable[..., Any]:
        clock = time.perf_counter_ns

        @wraps(call)
        def timed(*arguments: Any, **named: Any) -> Any:
            before, self._inside = self._inside, 0
            started = clock()
            result = call(*arguments, **named)
            spent = clock() - started
            part.nanoseconds += spent - self._inside
            part.calls += counts
            self._inside = before + spent
            return result

        return timed


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
