"""A lane whose values are known, as far as they are right: what the error rules look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nnspec.checker.program import Choice, LayerNode, PartValue, TrainSettings
from nnspec.checker.settle import LaneSettings
from nnspec.engine.losses.contract import Loss
from nnspec.engine.metrics.contract import Metric
from nnspec.engine.optimizers.contract import Optimizer
from nnspec.syntax import tree

__all__ = ["Draft"]


@dataclass(frozen=True)
class Draft:
    """An experiment in the making. None stands for what is missing or wrong, which has been reported."""

    name: str
    settings: LaneSettings
    """The expressions of the values, for the spans of messages."""
    data: tuple[Choice, ...] | None
    seed: int | None
    dtype: str | None
    train: TrainSettings | None
    target: str | None
    """`train.target`, which may be right although another setting of `train` is wrong."""
    loss: PartValue[Loss] | None
    optimizer: PartValue[Optimizer] | None
    metrics: tuple[PartValue[Metric], ...] | None
    by_name: Mapping[str, float] | None
    """`train.lr_factor.NAME` and `train.weight_decay.NAME`."""
    section: tree.Section | None
    """The model that the lane trains."""
    layers: tuple[LayerNode, ...] | None = None
    """The layers of that model, once their shapes are inferred."""

    def subjects(self) -> dict[str, object]:
        """Return what rules may ask for by name; None for what is unknown."""
        return {"draft": self, **{name: getattr(self, name) for name in _SUBJECTS}}


_SUBJECTS = ("data", "layers", "loss", "optimizer", "metrics", "train", "target")
