"""What becomes of a lane that was trained as often as its settings say: once, or with one seed after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nnspec.results.epochs import EpochRecord
from nnspec.results.lane import LaneResult, Status
from nnspec.statistics.significance import mean
from nnspec.training.profile import merged

__all__ = ["lane_of"]


def lane_of(repeats: Sequence[LaneResult], asked: int) -> LaneResult:
    """Return a lane of its trainings: of one, as it is; of repeats, with their means, and those that are there.

    Each is exactly the run that its seed gives alone. One that diverges does not keep the others from being trained.
    """
    return repeats[0] if asked == 1 else _together(repeats, asked)


def _together(repeats: Sequence[LaneResult], asked: int) -> LaneResult:
    """Return a lane of the means over its repeats, in those epochs that all of them have.

    Beyond these, a mean would be one over those repeats that happened to go on, and jump where one of them ends.
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
        kept=0,
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
    )


def _mean(records: Sequence[EpochRecord], figures: Sequence[str]) -> EpochRecord:
    """Return the mean of one epoch of several trainings, without what belongs to a single one."""
    rates = [record.rate for record in records if record.rate is not None]
    return EpochRecord(
        {name: mean(record.figures[name] for record in records) for name in figures},
        mean(record.seconds for record in records),
        mean(rates) if rates else None,
    )


def _outcome(repeats: Sequence[LaneResult], asked: int) -> tuple[Status, str]:
    """Say how the lane ended: as its worst repeat did. The message begins with that one's seed."""
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
    """Say which repeats stopped early, and why: `after epochs 7, 9 (seeds 42, 44): val_loss did not improve …`."""
    early = [one for one in repeats if one.stopped]
    if not early:
        return ""
    epochs = ", ".join(str(len(one.records)) for one in early)
    seeds = ", ".join(str(one.seed) for one in early)
    which = f"epoch {epochs} (seed {seeds})" if len(early) == 1 else f"epochs {epochs} (seeds {seeds})"
    return f"after {which}: {early[0].stopped.partition(': ')[2]}"
