"""Combining the trainings of a lane, one per seed, into its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nnspec.results.epochs import EpochRecord
from nnspec.results.lane import LaneResult, Status
from nnspec.statistics.significance import mean
from nnspec.training.profile import merged

__all__ = ["lane_of"]


def lane_of(repeats: Sequence[LaneResult], asked: int) -> LaneResult:
    """Return the result of a lane: its only training, or the means over its repeats.

    Each repeat is exactly the same as a run with its seed alone. If one diverges, the others continue.
    """
    return repeats[0] if asked == 1 else _together(repeats, asked)


def _together(repeats: Sequence[LaneResult], asked: int) -> LaneResult:
    """Return a lane of the means over its repeats, over the epochs that all of them have.

    Beyond these, means would only be over the repeats that continued, and jump whenever one of them ends.
    """
    first = next((one for one in repeats if one.status != "failed"), repeats[0])
    status, message = _outcome(repeats, asked)
    lane = replace(
        first,
        status=status,
        message=message,
        stopped=_stopped(repeats),
        profile=merged([one.profile for one in repeats]),
        repeat=1,
        of=1,
        repeats=tuple(repeats),
        # each repeat has its own of these
        restored_epoch=0,
        tables={},
        dead={},
        baseline={},
        broken={},
    )
    counted = lane.counted
    epochs = zip(*(one.records for one in counted), strict=False)
    return replace(
        lane,
        records=tuple(_mean(records, first.figures) for records in epochs),
        network=counted[0].network,
        scaling=counted[0].scaling,
        target_scaling=counted[0].target_scaling,
        learned=counted[0].learned,
    )


def _mean(records: Sequence[EpochRecord], figures: Sequence[str]) -> EpochRecord:
    """Return the mean of one epoch over several trainings, without values that belong to a single one."""
    rates = [record.rate for record in records if record.rate is not None]
    evaluations = [record.evaluations for record in records if record.evaluations is not None]
    return EpochRecord(
        {name: mean(record.figures[name] for record in records) for name in figures},
        mean(record.seconds for record in records),
        mean(rates) if rates else None,
        evaluations=mean(evaluations) if evaluations else None,
    )


def _outcome(repeats: Sequence[LaneResult], asked: int) -> tuple[Status, str]:
    """Return the status and message of a lane: those of its worst repeat, with the seed of that."""
    last = repeats[-1]
    bad = [one for one in repeats if one.status in ("failed", "diverged")]
    bad.sort(key=lambda one: one.status == "diverged")
    kinds = {one.status: sum(other.status == one.status for other in bad) for one in bad}
    counts = " and ".join(f"{count} of {len(repeats)} repeats {kind}" for kind, count in kinds.items())
    if last.status == "interrupted":
        return "interrupted", f"in repeat {last.repeat} of {asked}, seed {last.seed}, {last.message}"
    if len(repeats) < asked:
        return "interrupted", f"after {len(repeats)} of {asked} repeats"
    return (bad[0].status, f"{counts}; seed {bad[0].seed}: {bad[0].message}") if bad else ("done", "")


def _stopped(repeats: Sequence[LaneResult]) -> str:
    """Return which repeats stopped early and why: `after epochs 7, 9 (seeds 42, 44): val_loss did not improve …`."""
    early = [one for one in repeats if one.stopped]
    if not early:
        return ""
    ends, unit = ", ".join(str(one.at(len(one.records))) for one in early), early[0].unit
    seeds = ", ".join(str(one.seed) for one in early)
    which = f"{unit} {ends} (seed {seeds})" if len(early) == 1 else f"{unit}s {ends} (seeds {seeds})"
    return f"after {which}: {early[0].stopped.partition(': ')[2]}"
