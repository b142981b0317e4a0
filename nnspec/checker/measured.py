"""Whether a lane measures a figure, and whether the figure can have a value."""

from __future__ import annotations

from nnspec.checker.program import Experiment
from nnspec.checker.vocabulary import added_figures, figures, lacking, metric_figures
from nnspec.engine.metrics.contract import metric_of, plain_figure

__all__ = ["why_unmeasured", "why_unreachable"]


def why_unmeasured(figure: str, experiment: Experiment) -> tuple[str, str] | None:
    """Return why a lane does not measure a figure, as the end of a message or "", and help; None if it does."""
    if figure not in figures() and plain_figure(figure) not in experiment.measured:
        return "", f"the figures of training are {', '.join(f'`{name}`' for name in experiment.measured)}"
    metric = metric_figures().get(figure)
    if metric and metric not in {m.name for m in experiment.metrics}:
        return "", f"add `{metric}` to `metrics`"
    added = added_figures().get(figure)
    if added and added not in experiment.loss_parts:
        return "", "a layer such as `Sample` adds it to the loss"
    lack = lacking(figure, validated=bool(experiment.train.validation), tested=bool(experiment.facts.test))
    return (f": {lack[0]}", lack[1]) if lack else None


def why_unreachable(figure: str, value: float) -> tuple[str, str] | None:
    """Return why a figure never has a value, a fraction outside [0, 1], as message and help; None if it may."""
    metric = metric_of(figure)
    if metric is None or not metric.percent or 0 <= value <= 1:
        return None
    percent = f": write {value:g} % as {value / 100:g}" if 1 < value <= 100 else ""
    message = f"`{figure}` is a fraction between 0 and 1, but {value:g} is not"
    return message, f"fractions are at most 1{percent}"
