"""The values of a lane, as far as they are valid. Rules for errors look at them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nnspec.checker.program import Bound, Choice, LayerNode, PartValue, TrainSettings
from nnspec.checker.settle import LaneSettings
from nnspec.data.weights import Weights
from nnspec.engine.losses.contract import Loss
from nnspec.engine.metrics.contract import Metric
from nnspec.engine.optimizers.contract import Optimizer
from nnspec.syntax import tree

__all__ = ["Draft"]


@dataclass(frozen=True)
class Draft:
    """An experiment under construction. None for values that are missing or wrong, which have been reported."""

    name: str
    settings: LaneSettings
    """The expressions of the values, whose spans messages point at."""
    data: tuple[Choice, ...] | None
    seed: int | None
    dtype: str | None
    train: TrainSettings | None
    target: str | None
    """`train.target`, which may be valid even if another setting of `train` is not."""
    loss: PartValue[Loss] | None
    optimizer: PartValue[Optimizer] | None
    metrics: tuple[PartValue[Metric], ...] | None
    by_name: Mapping[str, float] | None
    """`train.lr_factor.NAME` and `train.weight_decay.NAME`."""
    init: Bound | None
    """`init`: how the weights of layers start that do not say so themselves; its value is None if it is not given."""
    init_from: Mapping[str, Weights | None] | None
    """`init_from` and `init_from.NAME`, as far as they are given."""
    section: tree.Section | None
    """The model that the lane trains."""
    layers: tuple[LayerNode, ...] | None = None
    """The layers of that model, once their shapes are inferred."""

    def subjects(self) -> dict[str, object]:
        """Return the subjects of rules by name; None for unknown ones."""
        return {"draft": self, **{name: getattr(self, name) for name in _SUBJECTS}}


_SUBJECTS = ("data", "layers", "loss", "optimizer", "metrics", "train", "target")
