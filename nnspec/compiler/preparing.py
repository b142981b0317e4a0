"""Prepare samples before the network sees them: hold some out, standardise and augment.

Everything learned from the data, such as its means, is learned from the training samples only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import Experiment, TrainSettings
from nnspec.compiler.scaling import Standardiser, scaling
from nnspec.data.scopes import Scope, row_of_samples, scopes
from nnspec.data.source import DataError, Dataset
from nnspec.data.splitting import in_turns
from nnspec.engine._numpy import np
from nnspec.engine.augmentations import Mixing
from nnspec.engine.losses.mixed import Mixture
from nnspec.engine.random import Stream, stream
from nnspec.engine.validation import Validation
from nnspec.engine.work import Borrower
from nnspec.errors import some_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.engine.losses import Loss

__all__ = ["Preparation", "divide", "learned_by_loss", "preparation_in_words"]


def divide(
    train: TrainSettings, seed: int, labels: NDArray[Any], given: int = 0, overlap: int = 0
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Divide the training samples into those used for training and those held out; the choice depends only on the seed.

    Both are indices in the order of the data; a larger share holds out all samples of a smaller one, and more. `labels`
    are the targets of all training samples; in a stratified choice, each class has its share, as nearly as whole
    samples allow. `given` is the number of samples that the data itself holds out, the last ones, if `validation` says
    so, and `overlap` that of the samples after each one that share rows with it.
    """
    samples = len(labels)
    ramp, count = np.arange(samples), train.held_out(samples, given)
    if not count:
        return ramp, ramp[:0]
    if isinstance(train.validation, Validation):
        chosen = train.validation.choose(samples, given, seed, labels if train.stratify else None)
        trained = np.delete(ramp, chosen)
        return trained[: len(trained) - train.gap(overlap)], chosen
    chosen = stream(seed, Stream.VALIDATION).permutation(samples)
    if train.stratify:
        chosen = chosen[in_turns(labels[chosen])]
    chosen = chosen[:count]
    return np.delete(ramp, chosen), np.sort(chosen)


def learned_by_loss(
    loss: Loss, experiment: Experiment, dataset: Dataset, trained: NDArray[Any]
) -> Mapping[str, NDArray[Any]]:
    """Return what a loss learns from the targets of these training samples, such as balanced weights of classes, as
    `Loss.recall` takes it. Raises DataError for a class without samples.
    """
    weights = None if dataset.train.w is None else dataset.train.w[trained]
    targets = dataset.train.y[trained]
    if dataset.facts.ignores:
        targets = targets[targets >= 0]
    try:
        return loss.learn(targets, experiment.outputs, experiment.classes, weights)
    except ValueError as error:
        raise DataError(f"{experiment.loss} cannot be used with {dataset.source}: {error}") from None


class Preparation:
    """Prepares batches in place, in the buffers of a layout: first augmentations that preserve all information, then
    standardisation, then the copy that is an autoencoder's target, then augmentations that corrupt the input.
    """

    def __init__(
        self,
        experiment: Experiment,
        buffers: Mapping[str, NDArray[Any]],
        dataset: Dataset,
        trained: NDArray[Any],
        known: tuple[NDArray[Any], NDArray[Any]] | None = None,
        mixture: Mixture | None = None,
    ) -> None:
        """`known` is the shift and the scale of each feature if they were learned before. `mixture` receives how the
        samples of a batch are mixed, if they are.
        """
        train, self._seed, self._shape = experiment.train, experiment.seed, experiment.facts.shape
        self._targets = buffers["targets"] if train.target == "input" else None
        self.scaling = None
        if train.scalers:
            self.scaling = scaling(dataset, trained, train.scalers) if known is None else known
        """Shift and scale of each feature, if samples are scaled."""
        self._standardise = Standardiser(self.scaling, buffers) if self.scaling is not None else None
        self._mixture = mixture
        self._steps = []
        for i, augmentation in enumerate(train.augmentations):
            work = Borrower()
            work.lend({name: buffers[f"augment{i}.{name}"] for name in augmentation.work(self._shape)})
            self._steps.append((augmentation, work))
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Begin an epoch: its random draws depend only on the seed and the epoch's number."""
        self._streams = [stream(self._seed, Stream.AUGMENT, epoch, i) for i in range(len(self._steps))]

    @property
    def draws(self) -> list[Any]:
        """The states of these random draws, which continue an epoch if they are assigned."""
        return [rng.bit_generator.state for rng in self._streams]

    @draws.setter
    def draws(self, states: list[Any]) -> None:
        for rng, state in zip(self._streams, states, strict=True):
            rng.bit_generator.state = state

    def __call__(self, x: NDArray[Any], *, training: bool) -> None:
        """Prepare a batch `(B, features)`; samples for evaluation are not augmented."""
        if training:
            self._vary(x, blurs=False)
        if self._standardise is not None:
            self._standardise(x)
        if self._targets is not None:
            np.copyto(self._targets[: len(x)].reshape(x.shape), x)
        if training:
            self._vary(x, blurs=True)

    def _vary(self, x: NDArray[Any], *, blurs: bool) -> None:
        for (augmentation, work), rng in zip(self._steps, self._streams, strict=True):
            if augmentation.blurs != blurs:
                continue
            samples = x.reshape(len(x), *self._shape)
            if isinstance(augmentation, Mixing) and self._mixture is not None:
                self._mixture.share, self._mixture.order = augmentation.mix(samples, rng, work)
            else:
                augmentation.apply(samples, rng, work)


def preparation_in_words(experiment: Experiment) -> tuple[str, ...]:
    """Say what happens to samples before they enter the network, in order; () if nothing does."""
    train, facts, source = experiment.train, experiment.facts, experiment.data[0].source
    steps: list[str] = []
    if facts.windows is not None:
        steps.append(facts.windows.in_words())
    if train.gap(facts.overlap):
        steps.append(f"the {facts.overlap:,} samples before the held-out ones share rows with them and are not used")
    divisor = getattr(source, "divisor", None)
    if divisor is not None and divisor != 1:
        steps.append(f"stored numbers are divided by {divisor:g}")
    elif facts.stored == "uint8" and not facts.tokens:
        steps.append("bytes are divided by 255")
    steps += _in_training(train, blurs=False)
    found = scopes(train.scalers, row_of_samples(facts))
    steps += [f"{scope.rule.in_spec()} scales {_scope_in_words(scope)}" for scope in found]
    if found and sum(scope.size for scope in found) < facts.features:
        steps[-1] += "; the rest stays as it is"
    if train.target == "input":
        steps.append("the sample is its own target")
    return (*steps, *_in_training(train, blurs=True))


def _in_training(train: TrainSettings, *, blurs: bool) -> list[str]:
    found = [augmentation.in_spec() for augmentation in train.augmentations if augmentation.blurs == blurs]
    return [f"in training: {', '.join(found)}"] if found else []


def _scope_in_words(scope: Scope) -> str:
    """Say which numbers a rule scales, and which of them share a scale."""
    names = [f"`{field.name}`" for field in scope.fields if field.name]
    which = some_of(names, 8) if names else f"all {scope.size:,} features"
    if scope.per == "channel":
        return f"{which}, per channel ({scope.groups:,})"
    return which if scope.per == "feature" or scope.size == 1 else f"{which} alike"
