"""Early stopping. A rule is a frozen set of settings; the watcher that it creates holds the state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import Annotated, ClassVar

from nnspec.engine.metrics.contract import higher_is_better
from nnspec.engine.part import Also, Count, FigureName, PlainPart, Range

__all__ = ["Patience", "Stopping"]

_VAL_LOSS = FigureName("val_loss")


class Watcher:
    """Follows one training: it receives a figure after every epoch and decides when to stop."""

    def stops(self, value: float) -> bool:
        """Return whether training stops after an epoch with this value."""
        raise NotImplementedError

    def state(self) -> dict[str, float]:
        """Return its state."""
        raise NotImplementedError

    def keep_state(self, state: Mapping[str, float]) -> None:
        """Restore a saved state."""
        raise NotImplementedError


class Stopping(PlainPart):
    """Base of the early-stopping rules. `of` is the figure that a rule monitors after every epoch."""

    kind: ClassVar[str] = "stopping rule"
    of = _VAL_LOSS
    restore_best = False
    """Whether training ends with the weights of the epoch in which `of` was best, instead of the last."""

    def watch(self) -> Watcher:
        """Return a watcher for one training."""
        raise NotImplementedError

    @property
    def reason(self) -> str:
        """The reason for stopping, in words: `val_loss did not improve for 5 epochs`."""
        raise NotImplementedError

    @property
    def reason_by_step(self) -> str:
        """The same if figures are not measured after every epoch, but after a number of steps."""
        return self.reason


class Patience(Stopping):
    """Stops after `epochs` epochs in a row in which `of` did not improve on its best by more than `min_delta`.

    Lower is better, except for metrics that say otherwise, such as accuracy. The first epoch always improves, so at
    least 1 + `epochs` are trained. As Keras's `EarlyStopping`, with the same meaning of `min_delta`; the final weights
    are those of the last epoch or, with `restore_best`, those of the best, the first of equals. Unlike Keras's
    `restore_best_weights`, this also applies if training reaches its last epoch, and it considers every improvement,
    however small. PyTorch has no equivalent. Prechelt 1998.

    Raises ValueError for arguments out of range.
    """

    spec_name = "patience"
    also = ("EarlyStopping", "early_stopping", "Patience")
    epochs: Annotated[Count, Also("patience", "n_iter_no_change")]
    _: KW_ONLY
    of: Annotated[FigureName, Also("monitor", "figure")] = _VAL_LOSS
    min_delta: Annotated[float, Range(low=0), Also("tol", "delta", "threshold")] = 0.0
    restore_best: Annotated[bool, Also("restore_best_weights")] = False

    def __post_init__(self) -> None:
        self._convert(of=FigureName(self.of))

    def watch(self) -> Watcher:
        """Return a new watcher."""
        return _Waiting(self)

    @property
    def reason(self) -> str:
        """`val_loss did not improve for 5 epochs`."""
        return self._reason("epoch")

    @property
    def reason_by_step(self) -> str:
        """`val_loss did not improve for 5 records`."""
        return self._reason("record")

    def _reason(self, unit: str) -> str:
        more = f" by more than {self.min_delta:g}" if self.min_delta else ""
        return f"{self.of} did not improve{more} for {self.epochs} {unit}{'s' if self.epochs > 1 else ''}"


class _Waiting(Watcher):
    def __init__(self, rule: Patience) -> None:
        self._rule = rule
        self._sign = -1.0 if higher_is_better(rule.of) else 1.0
        self._best, self._waited = math.inf, 0

    def stops(self, value: float) -> bool:
        """Count the epochs since the last improvement."""
        value *= self._sign
        if self._best - value > self._rule.min_delta:
            self._best, self._waited = value, 0
        else:
            self._waited += 1
        return self._waited >= self._rule.epochs

    def state(self) -> dict[str, float]:
        """The best so far, and the epochs since."""
        return {"best": self._best, "waited": self._waited}

    def keep_state(self, state: Mapping[str, float]) -> None:
        """Restore a saved state."""
        self._best, self._waited = float(state["best"]), int(state["waited"])
