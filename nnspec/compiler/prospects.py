"""Whether compiled steps will do all the work of trainings: judged by what specs say, before there is any data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nnspec.checker.program import Experiment
from nnspec.compiler.repeating import is_repeated
from nnspec.compiler.replay import move_kernels
from nnspec.engine._numpy import np
from nnspec.engine.parameter import Parameter
from nnspec.native.library import available, missing

__all__ = ["calls_no_python", "replays"]


def replays(experiments: Iterable[Experiment]) -> bool:
    """Whether all of these are likely to be trained by compiled steps alone, whose kernels exist."""
    alone = [*experiments]
    if not available() or not all(map(calls_no_python, alone)):
        return False
    try:
        names = {name for experiment in alone for name in _kernels(experiment)}
    except KeyError:
        return False
    return not missing(names)


def calls_no_python(experiment: Experiment) -> bool:
    """Whether nothing in a spec is known to remain a Python call in compiled steps. Arguments of a loss may."""
    train, loss, optimizer = experiment.train, experiment.loss, experiment.optimizer.part
    layers = (node.value.part for layer in experiment.layers for node in layer.walk())
    metrics = [metric.part for metric in experiment.metrics]
    between_steps = train.penalties or train.clip_norm or train.clip_value or train.constraint or train.average
    return (
        all(part.__module__.startswith("nnspec.") for part in (*layers, loss.part, optimizer, *metrics))
        and all(metric.tallies for metric in metrics)
        and not (loss.arguments or optimizer.couples_tensors or between_steps or is_repeated(experiment))
        and not (train.augmentations or train.mixes or experiment.facts.ignores)
        and train.accumulate == 1
    )


def _kernels(experiment: Experiment) -> Iterator[str]:
    """Name some of the kernels: if these exist, the others usually do too. Raises KeyError for an optimizer without."""
    yield from ("run", "batches", "loop")
    yield from move_kernels(experiment.optimizer.make(params=[Parameter(np.zeros(1, experiment.dtype))]))
