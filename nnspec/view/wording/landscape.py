"""Describe the paths of a landscape, in sentences derived from the measurements and as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from nnspec.analysis.landscape import Landscape, LanePath
from nnspec.view.wording import numbers

__all__ = ["axis_name", "caption", "landscape_record", "notes", "number", "outside", "share", "what_is_shown"]

_ALIKE = 1.1
"""Figures whose ratio is smaller than this are described as equal."""
_APART = 0.05
"""Cosines and shares that differ by less than this are described as equal."""


def number(value: float) -> str:
    """Format to three significant digits, `12.2`, `0.0571`; NaN and inf are a dash."""
    if not math.isfinite(value):
        return "–"
    return f"{value:.3g}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.2e}"


def share(value: float) -> str:
    """Format as `93.2 %`, and positive values that would round to zero as `< 0.1 %`."""
    if not math.isfinite(value):
        return "–"
    return "< 0.1 %" if 0 < value < 0.0005 else numbers.percent(value)


def outside(found: Landscape) -> float:
    """Return the mean, over all steps of all lanes, of the share of a step that is perpendicular to the plane."""
    parts = [float(part) for lane in found.lanes.values() for part in lane.outside if math.isfinite(part)]
    return math.fsum(parts) / len(parts) if parts else math.nan


def axis_name(found: Landscape, axis: int) -> str:
    """`PC 1 (78.3 % of the squared distances)`."""
    name = "PC" if found.kind == "pca" else "random direction"
    return f"{name} {axis + 1} ({share(found.held[axis])} of the squared distances)"


def what_is_shown(found: Landscape) -> tuple[str, str]:
    """Return how the losses are measured, and how much of the paths the projection shows."""
    along = (
        "the paths' first two principal components"
        if found.kind == "pca"
        else "two filter-normalised random directions"
    )
    off = outside(found)
    steps = f"; on average {share(off)} of a step's length lies outside it" if math.isfinite(off) else ""
    all_of = found.samples == found.trained_on
    samples = f"all {found.samples:,}" if all_of else f"{found.samples:,} of {found.trained_on:,}"
    use = "" if found.data is None else f"{found.data.source} · "
    measured = (
        f"{use}{found.params:,} weights · mean {found.loss} of {samples} training samples, layers in inference mode"
    )
    return (
        measured,
        f"This is a projection onto 2 of {found.params:,} dimensions: the plane through the end of {found.best} along "
        f"{along}. It holds {share(sum(found.held))} of the paths, by squared distance from that point{steps}.",
    )


def notes(found: Landscape) -> Iterator[str]:
    """Yield remarks on lanes that did not finish, and on trainings that are not shown."""
    if found.repeats > 1:
        yield f"each lane is trained once, with its first seed; the spec asks for {found.repeats} trainings"
    for lane in found.lanes.values():
        if lane.status != "done":
            count = len(lane.steps)
            where = f"epoch {count}" if count else "the start"
            yield f"{lane.name} {lane.status}; its path ends at {where}, the last point with finite numbers"
    for name in found.without:
        yield f"{name} has no path: it has no epoch with finite numbers"


def caption(found: Landscape) -> tuple[str, ...]:
    """Explain by lengths, directions and losses why the best lane ended lower than the worst.

    If all lanes ended at about the same loss, the longest path is compared with the shortest.
    """
    lanes = [lane for lane in found.lanes.values() if len(lane.steps)]
    if not lanes:
        return ("No lane finished an epoch.",)
    if len(lanes) == 1:
        return _alone(lanes[0])
    low, high = (choose(lanes, key=_end) for choose in (min, max))
    if _alike(_end(low), _end(high)):
        far, near = (choose(lanes, key=lambda lane: lane.length) for choose in (max, min))
        ends = f"All lanes ended at about the same loss, {numbers.loss(_end(low))} to {numbers.loss(_end(high))}."
        return (ends, *_compared(far, near, ahead=False)) if far is not near else (ends,)
    lowest, highest = numbers.loss(_end(low)), numbers.loss(_end(high))
    ends = f"{low.name} ended lowest, at loss {lowest}, {high.name} highest, at {highest}."
    return (ends, *_compared(low, high, ahead=True))


def _end(lane: LanePath) -> float:
    return float(lane.losses[-1])


def _alone(lane: LanePath) -> tuple[str, ...]:
    start, end = float(lane.losses[0]), _end(lane)
    verb = "fell" if end < start else "rose" if end > start else "stayed"
    epochs = f"{len(lane.steps)} epoch{'s' if len(lane.steps) > 1 else ''}"
    first = (
        f"{lane.name}'s loss {verb} from {numbers.loss(start)} to {numbers.loss(end)} in {epochs}, along a path of "
        f"length {number(lane.length)} that ends {number(lane.distance)} from its start."
    )
    return (first,) if math.isnan(lane.descent) else (first, f"Its steps {_in_words(lane.descent)}.")


def _in_words(descent: float) -> str:
    """Describe a mean cosine to steepest descent."""
    bounds = ((0.9, "closely follow"), (0.5, "mostly follow"), (0.1, "partly follow"), (-1.1, "do not follow"))
    how = next(how for bound, how in bounds if descent > bound)
    return f"{how} the direction of steepest descent (mean cosine {descent:.2f})"


def _compared(one: LanePath, other: LanePath, *, ahead: bool) -> Iterator[str]:
    """Compare the paths of two lanes; `ahead` means that `one` ended lower."""
    yield _distance(one, other, ahead=ahead)
    told = [text for text in (_direction(one, other), _spread(one, other)) if text]
    if told:
        yield f"Its steps {' and '.join(told)}."


def _distance(one: LanePath, other: LanePath, *, ahead: bool) -> str:
    """Say which path is longer, and compare the losses at the length of the shorter one.

    Steepness is only compared if both lanes started at about the same loss.
    """
    lengths = f"({number(one.length)} against {number(other.length)})"
    starts = (
        f"{one.name} started at loss {numbers.loss(one.losses[0])}, {other.name} at {numbers.loss(other.losses[0])}"
    )
    together = _alike(float(one.losses[0]), float(other.losses[0]))
    if _alike(one.length, other.length):
        way = f"{one.name}'s path is about as long as {other.name}'s {lengths}"
        if ahead and not together:
            return f"{way}; {starts}."
        return f"{way}: steeper, not longer." if ahead else f"{way}."
    if min(one.length, other.length) == 0:
        far, near = (one, other) if one.length else (other, one)
        return f"{far.name}'s path is {number(far.length)} long; {near.name} did not move."
    ratio = one.length / other.length
    times = f"{ratio:.1f} times" if ratio > 1 else f"only {100 * ratio:.0f} %"
    way = f"{one.name}'s path is {times} as long as {other.name}'s {lengths}"
    if not together:
        return f"{way}; {starts}."
    longer, shorter = (one, other) if ratio > 1 else (other, one)
    between, end = _loss_at(longer, shorter.length), _end(shorter)
    after = f"at length {number(shorter.length)}, the end of {shorter.name}'s path, {longer.name} had loss "
    after += f"{numbers.loss(between)}, {shorter.name} {numbers.loss(end)}"
    if not ahead:
        return f"{way}; {after}."
    if ratio < 1:
        why = "a steeper path" if between > end else f"{longer.name} was as low there, then rose again"
    elif _alike(between, end):
        why = "a longer path that is about as steep"
    else:
        why = "a longer path, not a steeper one" if between > end else "a path that is both longer and steeper"
    return f"{way}; {after}: {why}."


def _loss_at(lane: LanePath, length: float) -> float:
    """Return a lane's loss after a length of its path, interpolated linearly between epochs."""
    travelled, losses = lane.travelled.tolist(), lane.losses.tolist()
    for i in range(1, len(travelled)):
        if length <= travelled[i]:
            step = travelled[i] - travelled[i - 1]
            part = (length - travelled[i - 1]) / step if step else 1.0
            return float(losses[i - 1] + part * (losses[i] - losses[i - 1]))
    return float(losses[-1])


def _direction(one: LanePath, other: LanePath) -> str:
    first, second = one.descent, other.descent
    if math.isnan(first) or math.isnan(second):
        return ""
    how = "equally" if abs(first - second) < _APART else "more" if first > second else "less"
    return f"followed the direction of steepest descent {how} closely (mean cosine {first:.2f} against {second:.2f})"


def _spread(one: LanePath, other: LanePath) -> str:
    first, second = one.evenness, other.evenness
    if math.isnan(first) or math.isnan(second):
        return ""
    how = "as evenly" if abs(first - second) < _APART else "more evenly" if first > second else "less evenly"
    return f"moved all weights {how} (evenness {first:.2f} against {second:.2f})"


def _alike(one: float, other: float) -> bool:
    """Whether two figures differ by less than a factor of `_ALIKE`."""
    if one == other:
        return True
    return one * other > 0 and max(one / other, other / one) < _ALIKE


# As plain data


def landscape_record(found: Landscape) -> dict[str, Any]:
    """Return the landscape as plain data."""
    return {
        "title": found.title,
        "spec": found.spec,
        "plane": found.kind,
        "best": found.best,
        "loss": found.loss,
        "samples": found.samples,
        "trained_on": found.trained_on,
        "params": found.params,
        "held": list(map(float, found.held)),
        "alpha": found.alpha.tolist(),
        "beta": found.beta.tolist(),
        "losses": found.losses.tolist(),
        "lanes": {name: _lane_record(lane) for name, lane in found.lanes.items()},
        "without": list(found.without),
        "caption": list(caption(found)),
    }


def _lane_record(lane: LanePath) -> dict[str, Any]:
    figures = ("length", "distance", "cosine", "descent", "evenness")
    arrays = ("points", "losses", "steps", "outside")
    return {
        "status": lane.status,
        "message": lane.message,
        **{name: float(getattr(lane, name)) for name in figures},
        **{name: getattr(lane, name).tolist() for name in arrays},
    }
