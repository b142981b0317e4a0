"""What trained lanes get: a predictor and, if they were trained on text, a text sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from nnspec.checker.program import Experiment, Program
from nnspec.data.source import Dataset
from nnspec.data.vocabulary import Alphabet
from nnspec.results.data_use import DataUse
from nnspec.results.lane import LaneResult
from nnspec.results.predictor import Predictor, predictor_of
from nnspec.results.writer import writer_of

__all__ = ["with_predictor", "write_samples"]


def write_samples(program: Program, lanes: dict[str, LaneResult], data: Mapping[str, Dataset]) -> bool:
    """Give each lane that was trained on text a writer and a text sample; lanes that diverged and trials get none.

    The text depends only on the seed and the weights, and nothing else uses that random stream. Returns whether all
    samples were written: Ctrl-C skips the remaining ones.
    """
    try:
        for experiment in program.lanes:
            if experiment.name in lanes and experiment.trial is None:
                lane, alphabet = lanes[experiment.name], data[experiment.name].alphabet
                repeats = tuple(_with_sample(experiment, one, alphabet) for one in lane.repeats)
                lanes[lane.name] = _with_sample(experiment, replace(lane, repeats=repeats), alphabet)
    except KeyboardInterrupt:
        return False
    return True


def _with_sample(experiment: Experiment, lane: LaneResult, alphabet: Alphabet | None) -> LaneResult:
    if lane.status in ("diverged", "failed") or not lane.records:
        return lane
    writer = writer_of(experiment, lane.network, alphabet)
    if writer is None:
        return lane
    length = writer.usual_length if experiment.train.sample is None else experiment.train.sample
    sample = writer.write(length, temperature=experiment.train.temperature, seed=lane.seed)
    return replace(lane, writer=writer, sample=sample)


def with_predictor(lane: LaneResult, experiment: Experiment, data: DataUse) -> LaneResult:
    """Return a lane with a predictor, if it has a network. Each repeat has its own, and the lane has the first one."""

    def predictor(one: LaneResult) -> Predictor | None:
        scalings = one.scaling, one.target_scaling
        useful = one.has_network and one.records
        return predictor_of(experiment, one.seed, one.network, data, *scalings) if useful else None

    repeats = tuple(replace(one, predictor=predictor(one)) for one in lane.repeats)
    first = next((one.predictor for one in repeats if one.predictor), None) if repeats else predictor(lane)
    return replace(lane, repeats=repeats, predictor=first)
