"""Search spaces."""

from __future__ import annotations

from collections.abc import Iterator

from nnspec.checker.program import Experiment
from nnspec.checker.rules.registry import advice, rule
from nnspec.diagnostics import Diagnostic
from nnspec.engine.metrics.contract import figure_and_target


@rule("NN739")
def searched_loss(experiment: Experiment) -> Iterator[Diagnostic]:
    """A loss that is tuned by its own value."""
    by = experiment.tune.get("tune.by")
    figure, _ = figure_and_target(str(by.value) if by is not None else "")
    for name, bound in experiment.tune.items():
        setting = name.removeprefix("tune.")
        if _decides(setting, figure):
            message = f"`{setting}` changes what `{figure}` measures, so trials cannot be compared by it"
            yield advice("NN739", message, bound.origin.span, "choose by a metric, such as `tune.by = val_accuracy`")


def _decides(setting: str, figure: str) -> bool:
    """Whether a setting determines what a figure measures. The loss of a single output does not have its weight."""
    first = setting.split(".")[0]
    of_loss = first == "loss" or setting == "train.target"
    return (of_loss and figure.endswith("loss")) or (first == "loss_weight" and figure in ("loss", "val_loss"))
