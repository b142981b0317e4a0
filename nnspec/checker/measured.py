"""Whether a lane measures a figure."""

from __future__ import annotations

from nnspec.checker.program import Experiment
from nnspec.checker.vocabulary import added_figures, figures, lacking, metric_figures
from nnspec.engine.metrics.contract import plain_figure

__all__ = ["why_unmeasured"]


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
