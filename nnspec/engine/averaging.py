"""Averages of the weights along a training. A rule is a frozen set of settings; `AveragedWeights` holds the average."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Layer
from nnspec.engine.network import Sequential
from nnspec.engine.part import Also, Count, PlainPart, Range
from nnspec.engine.penalties import BLOCK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.engine.optimizers import Optimizer

    Pair = tuple[NDArray[Any], NDArray[Any]]

__all__ = ["EMA", "SWA", "AveragedWeights", "Lookahead", "WeightAverage", "update_statistics"]


class WeightAverage(PlainPart):
    """Base of the rules: θ̄ ← θ̄ + s·(θ − θ̄), with a share s of the current weights that depends on how many have been
    averaged. Training continues with θ, or with θ̄ if it `returns`; θ̄ is what is evaluated and kept.
    """

    kind: ClassVar[str] = "weight average"
    must_define = ("share",)
    every_step: ClassVar[bool] = False
    """Whether weights are averaged after every step, or only after some epochs."""
    renews_statistics: ClassVar[bool] = False
    """Whether running statistics are computed for the averaged weights; otherwise, those of the training are used."""

    returns: ClassVar[bool] = False
    """Whether training continues from the average each time that it changes."""

    def share(self, averaged: int) -> float:
        """Return s for the next weights, given how many have been averaged; before the first, θ̄ is θ."""
        raise NotImplementedError

    def includes(self, epoch: int, epochs: int) -> bool:
        """Whether the weights after an epoch, counted from 0, of `epochs` are averaged."""
        return False


class EMA(WeightAverage):
    """θ̄ ← d·θ̄ + (1 − d)·θ after every step, starting from the weights after the first.

    As PyTorch's `AveragedModel` with `get_ema_multi_avg_fn(d)` and Keras's `use_ema`, which also starts from the
    weights after the first step, and evaluates them only after `finalize_variable_values`. Running statistics of
    `BatchNorm` are those of the training, which are averages themselves, as in PyTorch. Polyak & Juditsky 1992.
    """

    spec_name = "ema"
    also = ("EMA", "ExponentialMovingAverage", "use_ema", "polyak")
    every_step = True
    decay: Annotated[
        float, Range(low=0, high=1, open_high=True), Also("momentum", "ema_momentum", "beta", "ema_decay")
    ] = 0.999

    def share(self, averaged: int) -> float:
        """1 − d; 1 for the first."""
        return 1 - self.decay if averaged else 1.0


class SWA(WeightAverage):
    """θ̄ = the mean of the weights after each `every`-th epoch, from the fraction `start` of training on: θ̄ ← θ̄ + (θ −
    θ̄) / (n + 1).

    The first epoch that is averaged is the first after start · epochs whole ones, and at the latest the last. Before
    it, there is no average, and the weights themselves are evaluated.

    As PyTorch's `AveragedModel` with `update_parameters` after an epoch. Running statistics of `BatchNorm` are
    recomputed after each averaged epoch, in one pass over the training samples as they are evaluated; see
    `update_statistics`. Izmailov et al. 2018.
    """

    spec_name = "swa"
    also = ("SWA", "StochasticWeightAveraging", "swa_start")
    renews_statistics = True
    start: Annotated[float, Range(low=0, high=1, open_high=True), Also("swa_start", "swa_epoch_start")] = 0.75
    every: Annotated[Count, Also("swa_freq", "annealing_epochs")] = 1

    def share(self, averaged: int) -> float:
        """1 / (n + 1)."""
        return 1 / (averaged + 1)

    def includes(self, epoch: int, epochs: int) -> bool:
        """Each `every`-th epoch from the first after start · epochs on."""
        first = min(math.ceil(self.start * epochs), epochs - 1)
        return epoch >= first and (epoch - first) % self.every == 0


class Lookahead(WeightAverage):
    """θ̄ ← θ̄ + α·(θ − θ̄), then θ ← θ̄, after every k-th step of any optimizer; θ̄ starts from the first weights.

    θ are the fast weights and θ̄ the slow ones: the optimizer looks k steps ahead, and the training follows for the
    fraction α of the way. The optimizer keeps its state, such as momentum, when its weights return. Steps are counted
    over the whole training; what follows the last k-th one is not part of θ̄.

    Zhang et al. 2019, algorithm 1. The defaults are k = 5 and α = 0.8 in the authors' code; 5 and 0.5 in
    pytorch-optimizer and here. PyTorch has no such class. Elsewhere, as in `tfa.optimizers.Lookahead`, it wraps an
    optimizer, and the fast weights are evaluated unless the caller exchanges them.
    """

    spec_name = "lookahead"
    also = ("Lookahead", "LookAhead", "look_ahead")
    every_step = True
    returns = True
    k: Annotated[Count, Also("sync_period", "la_steps", "every")] = 5
    alpha: Annotated[float, Range(low=0, high=1, open_low=True), Also("slow_step_size", "la_alpha", "slow_lr")] = 0.5

    def share(self, averaged: int) -> float:
        """α at every k-th step, else 0."""
        return 0.0 if (averaged + 1) % self.k else self.alpha


class AveragedWeights:
    """An average of a network's weights, next to the network that is trained.

        average = AveragedWeights(model, EMA(0.99))
        for …:
            optimizer.step()
            average.update()
        with average.shown():
            model.eval()
            model(x)

    With a rule that `renews_statistics`, the state of layers besides their parameters is exchanged too: call
    `update_statistics` within the block.
    """

    def __init__(self, model: Sequential, rule: WeightAverage) -> None:
        state = model.state().values() if rule.renews_statistics else ()
        weights = [(p.data, p.data.copy()) for p in model.parameters()]
        largest = max((own for own, _ in weights), key=np.size)
        self._begin(rule, weights, [(a, a.copy()) for a in state], np.empty(min(BLOCK, largest.size), largest.dtype))

    @classmethod
    def of(cls, model: Sequential, optimizer: Optimizer) -> AveragedWeights:
        """Return the average that an optimizer computes in its steps, such as `ScheduleFreeSGD`: no `update` is needed.

        Running statistics do not fit it; call `update_statistics` as for a rule that `renews_statistics`. Raises
        TypeError for other optimizers.
        """
        if not optimizer.evaluated:
            raise TypeError(f"{type(optimizer).__name__} computes no average of the weights")
        weights = [(p.data, own[optimizer.evaluated]) for p, own in zip(optimizer.params, optimizer.state, strict=True)]
        state = [(array, array.copy()) for array in model.state().values()]
        largest = max((own for own, _ in weights), key=np.size)
        average = cls.over(None, weights, state, np.empty(min(BLOCK, largest.size), largest.dtype))
        average.averaged = 1
        return average

    @classmethod
    def over(
        cls, rule: WeightAverage | None, weights: Sequence[Pair], state: Sequence[Pair], block: NDArray[Any]
    ) -> AveragedWeights:
        """Average weights in arrays that the caller owns: pairs of an array of the network and one for its average, and
        a work array of any size. Without a rule, the optimizer computes the average.
        """
        average = cls.__new__(cls)
        average._begin(rule, weights, state, block)
        return average

    def _begin(
        self, rule: WeightAverage | None, weights: Sequence[Pair], state: Sequence[Pair], block: NDArray[Any]
    ) -> None:
        self.rule, self._weights, self._state, self._block = rule, weights, state, block
        self.averaged = 0
        """How many weights are in the average."""
        self._shown = False

    @property
    def pairs(self) -> Sequence[Pair]:
        """Each array of the network with the one of the average."""
        return (*self._weights, *self._state)

    @property
    def every_step(self) -> bool:
        """Whether `update` is needed after every step."""
        return self.rule is not None and self.rule.every_step

    def includes(self, epoch: int, epochs: int) -> bool:
        """Whether `update` is needed after an epoch, counted from 0, of `epochs`."""
        return self.rule is None or self.rule.includes(epoch, epochs)

    def update(self) -> None:
        """Add the current weights to the average. If the optimizer computes it, it is only counted."""
        share, returns = (self.rule.share(self.averaged), self.rule.returns) if self.rule else (0.0, False)
        for own, average in self._weights if share else ():
            if share == 1:
                np.copyto(average, own)
                continue
            for theta, mean, block in self._blocks(own, average):
                np.subtract(theta, mean, out=block)
                np.multiply(block, share, out=block)
                np.add(mean, block, out=mean)
                if returns:
                    np.copyto(theta, mean)
        self.averaged += 1

    def show(self) -> None:
        """Exchange the weights of the network and their average, if there is one."""
        self._exchange(shown=True)

    def hide(self) -> None:
        """Undo `show`."""
        self._exchange(shown=False)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Exchange the weights of the network and their average within a `with` block."""
        self.show()
        try:
            yield
        finally:
            self.hide()

    def _exchange(self, *, shown: bool) -> None:
        if self._shown == shown or (shown and not self.averaged):
            return
        self._shown = shown
        for own, average in self.pairs:
            for theta, mean, block in self._blocks(own, average):
                np.copyto(block, theta)
                np.copyto(theta, mean)
                np.copyto(mean, block)

    def _blocks(
        self, own: NDArray[Any], average: NDArray[Any]
    ) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
        """Yield parts of two arrays, with a work array for each."""
        theta, mean, size = own.reshape(-1), average.reshape(-1), len(self._block)
        for start in range(0, len(theta), size):
            part = slice(start, min(start + size, len(theta)))
            yield theta[part], mean[part], self._block[: part.stop - part.start]


def update_statistics(model: Sequential, batches: Iterable[NDArray[Any]]) -> None:
    """Recompute running means and variances for the current weights, as the mean of those of all `batches` of samples.

    Every other layer computes as in evaluation: nothing is dropped and no random number is drawn. (PyTorch's
    `update_bn` puts the whole network into training mode.) The network is left in evaluation mode.
    """
    with closing(renewing(model.layers)) as turns:
        for x, _ in zip(batches, turns, strict=False):
            model.forward(x)


def renewing(layers: Iterable[Layer]) -> Generator[None]:
    """Let layers' running statistics become the mean of those of the batches of a pass: yields before each batch, until
    the generator is closed. Layers with such statistics are in training mode until then, and all others are not.
    """
    every = list(layers)
    for layer in every:
        layer.training = False
    following = [inner for layer in every for inner in layer.walk() if inner.state() and not inner.children()]
    try:
        for batch in count(1):
            for layer in following:
                layer.training, layer.statistics_share = True, 1 / batch
                for array in layer.state().values() if batch == 1 else ():
                    array.fill(0)  # also where training has left inf or NaN
            yield
    finally:
        for layer in following:
            layer.training, layer.statistics_share = False, None
