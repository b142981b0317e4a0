"""What lanes get once they are trained: a predictor each, and a sample of text where they learned one."""

from __future__ import annotations

from collections.abc import Mapping

from nnspec.checker.program import Experiment, Program
from nnspec.data.source import Dataset
from nnspec.results.data_use import DataUse
from nnspec.results.lane import LaneResult
from nnspec.results.predictor import predictor_of
from nnspec.results.writer import USUAL_LENGTH, writer_of

__all__ = ["give_predictors", "write_samples"]


def write_samples(program: Program, lanes: Mapping[str, LaneResult], data: Mapping[str, Dataset]) -> bool:
    """Give each lane that learned a text its writer, and have it write; lanes that diverged write nothing.

    What is written depends on the seed and the weights alone, and nothing else draws from that stream. Returns whether
    it came to its end: Ctrl-C leaves out the samples that are not written yet.
    """
    try:
        for experiment in program.lanes:
            lane = lanes.get(experiment.name)
            if lane is not None:
                for one in (*lane.repeats, lane):
                    _write(experiment, one, data[experiment.name].alphabet)
    except KeyboardInterrupt:
        return False
    return True


def _write(experiment: Experiment, lane: LaneResult, alphabet: str | None) -> None:
    if lane.status in ("diverged", "failed") or not lane.epoch_seconds:
        return
    lane.writer = writer_of(experiment, lane.network, alphabet)
    if lane.writer is None:
        return
    length = experiment.train.sample
    lane.sample = lane.writer.write(
        USUAL_LENGTH if length is None else length, temperature=experiment.train.temperature, seed=lane.seed
    )


def give_predictors(
    lanes: Mapping[str, LaneResult], experiments: Mapping[str, Experiment], data: Mapping[str, DataUse]
) -> None:
    """Give each lane with a network what asks it; of repeats, each its own, and the lane that of the first."""
    for name, lane in lanes.items():
        for one in lane.repeats or (lane,):
            if one.has_network and one.epoch_seconds:
                scalings = one.scaling, one.target_scaling
                one.predictor = predictor_of(experiments[name], one.seed, one.network, data[name], *scalings)
        lane.predictor = next((one.predictor for one in (lane, *lane.repeats) if one.predictor), None)
