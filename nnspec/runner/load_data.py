"""Loading the data of a run: the first alternative that is available, chosen once, before all lanes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import Choice, Experiment, Program, added_by
from nnspec.compiler.preparing import divide, learned_by_loss
from nnspec.data.source import Access, DataError, Dataset, DataUnavailable, Split
from nnspec.engine._numpy import np
from nnspec.engine.part import FilePath, Range
from nnspec.results.data_use import DataUse

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["load_data"]

Loaded = tuple[Dataset, DataUse]


def load_data(program: Program, access: Access, beginning: int | None = None) -> dict[str, Loaded]:
    """Load the data of every lane; lanes with the same data share it.

    With `beginning`, only that many of the first training samples are needed.

    Raises DataUnavailable if no alternative is available, and DataError if data is unusable or has targets for which
    a lane's loss is not defined.
    """
    _useful(program, access)
    loaded: dict[tuple[Any, ...], Loaded] = {}
    found = {lane.name: _once(lane, access, loaded, beginning) for lane in program.lanes}
    for lane in program.lanes:
        _suits_the_loss(lane, found[lane.name][0])
        _suits_augmentations(lane, found[lane.name][0])
        if beginning is None:
            _weigh_something(lane, found[lane.name][0])
            _teach_the_loss(lane, found[lane.name][0])
    return found


def _useful(program: Program, access: Access) -> None:
    """Reject a data folder that no source of the program reads."""
    choices = [choice for lane in program.lanes for choice in lane.data]
    if access.data_dir is None or any(choice.source.reads_files for choice in choices):
        return
    paths = {
        (choice.value.name, word, bound.value.written)
        for choice in choices
        for word, bound in choice.value.arguments.items()
        if isinstance(bound.value, FilePath)
    }
    if paths:
        name, word, path = min(paths)
        raise DataError(
            f"--data-dir has no effect here: {name} reads the file given in the spec, {path}; remove --data-dir, "
            f"""or use another file: --set 'data.{word}="PATH"'"""
        )
    names = ", ".join(sorted({choice.source.spec_name for choice in choices}))
    raise DataError(f"--data-dir has no effect here: {names} reads no files; remove --data-dir")


def _once(
    experiment: Experiment, access: Access, loaded: dict[tuple[Any, ...], Loaded], beginning: int | None
) -> Loaded:
    plain = tuple(
        (choice.value.name, *((word, _fixed(value)) for word, value in choice.value.values().items()))
        for choice in experiment.data
    )
    key: tuple[Any, ...] = (plain, experiment.data[0].as_classes, experiment.trial is not None)
    if key not in loaded:
        if plain not in loaded:
            loaded[plain] = _load(experiment.data, access, beginning)
        loaded[key] = _of_lane(experiment, *loaded[plain])
    return loaded[key]


def _of_lane(experiment: Experiment, dataset: Dataset, use: DataUse) -> Loaded:
    """Return data as a lane takes it: numbers as classes, and for a trial no test samples."""
    if experiment.data[0].as_classes:
        dataset = dataset.as_classes()
        use = replace(use, classes=dataset.facts.classes, class_names=dataset.class_names, target_names=())
    return (dataset if experiment.trial is None else dataset.without_test()), use


def _suits_the_loss(experiment: Experiment, dataset: Dataset) -> None:
    """Reject numeric targets for which the loss is not defined; it would decrease without bound."""
    loss = experiment.loss.part
    of_input = experiment.train.target == "input"
    if loss.target_range == Range() or not (of_input or dataset.facts.classes is None):
        return
    if of_input and experiment.train.scalers:
        raise DataError(
            f"{experiment.loss} requires targets {loss.target_range}, but standardised samples are not; remove "
            "`train.standardise`, or use MSE"
        )
    for split in (dataset.train, dataset.test):
        values, divisor = (split.x, dataset.divisor) if of_input else (split.y, 1.0)
        if not values.size:
            continue
        low, high = float(values.min()) / divisor, float(values.max()) / divisor
        if not (loss.target_range.holds(low) and loss.target_range.holds(high)):
            raise DataError(
                f"{experiment.loss} requires targets {loss.target_range}, but those of {dataset.source} range from "
                f"{low:g} to {high:g}; use MSE, MAE or Huber for numeric targets"
            )


def _suits_augmentations(experiment: Experiment, dataset: Dataset) -> None:
    """Reject numbers outside 0 … 1 for an augmentation that would clip them."""
    for augmentation in experiment.train.augmentations:
        if augmentation.of_unit_range and dataset.train.x.size:
            low, high = (float(each) / dataset.divisor for each in (dataset.train.x.min(), dataset.train.x.max()))
            if low < 0 or high > 1:
                raise DataError(
                    f"`{augmentation.spec_name}` is for images with numbers from 0 to 1, but those of {dataset.source} "
                    f"range from {low:g} to {high:g}; divide them: `divisor = {high:g}`"
                )


def _weigh_something(experiment: Experiment, dataset: Dataset) -> None:
    """Refuse weights for a loss that takes none, and samples to train or to measure on that all have weight 0."""
    facts = dataset.facts
    if facts.weight is None:
        return
    if not experiment.loss.part.takes_weights():
        what = "positions that count in no loss" if facts.ignores else "weights"
        raise DataError(
            f"the samples of {dataset.source} have {what}, and {experiment.loss} takes none: its `forward` has no "
            "argument `weights`; add it" + ("" if facts.ignores else ", or remove the weights")
        )
    if added := added_by(experiment.layers):
        raise DataError(
            f"the samples of {dataset.source} have weights, and the layer that adds {added[0]} to the loss "
            "takes none; remove the weights"
        )
    for what, weights in _weights(experiment, dataset):
        if len(weights) and not weights.any():
            lack = "only ignored positions" if facts.ignores else "weight 0"
            raise DataError(f"all {len(weights)} {what} samples of {dataset.source} have {lack}")


def _teach_the_loss(experiment: Experiment, dataset: Dataset) -> None:
    """Refuse samples from which the loss cannot learn what it needs, in any of a lane's trainings."""
    loss = experiment.loss.make()
    if loss.learns(experiment.outputs):
        for number in range(experiment.train.trainings):
            one = experiment.training(number)
            trained, _ = divide(one.train, one.seed, dataset.train.y, *dataset.facts.counts[1:])
            learned_by_loss(loss, one, dataset, trained)


def _weights(experiment: Experiment, dataset: Dataset) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the weights of the samples or positions of each training, and of those that it is measured on."""

    def weights(split: Split) -> NDArray[Any] | None:
        return split.y >= 0 if dataset.facts.ignores else split.w

    train, test = weights(dataset.train), weights(dataset.test)
    if train is not None:
        for number in range(experiment.train.trainings):
            one = experiment.training(number)
            trained, held_out = divide(one.train, one.seed, dataset.train.y, *dataset.facts.counts[1:])
            yield "training", train[trained]
            yield "validation", train[held_out]
    if test is not None:
        yield "test", test


def _fixed(value: Any) -> Any:
    """Return a hashable form of a value: lists as tuples."""
    return tuple(map(_fixed, value)) if isinstance(value, (list, tuple)) else value


def _load(choices: tuple[Choice, ...], access: Access, beginning: int | None) -> Loaded:
    reasons: list[str] = []
    for choice in choices:
        try:
            source = choice.source if beginning is None else choice.source.beginning(beginning)
            dataset = source.load(access)
        except DataUnavailable as error:
            reasons.append(str(error))
            continue
        return dataset, _use(dataset, choices[0].value.name, "\n".join(reasons))
    raise DataUnavailable("\n".join(reasons))


def _use(dataset: Dataset, asked_for: str, reason: str) -> DataUse:
    return DataUse(
        source=dataset.source,
        asked_for=asked_for,
        reason=reason,
        sha256=dataset.sha256,
        origin=dataset.origin,
        train=len(dataset.train.y) - dataset.facts.validation,
        test=len(dataset.test.y),
        classes=dataset.facts.classes,
        shape=dataset.facts.shape,
        divisor=dataset.divisor,
        class_names=dataset.class_names,
        columns=dataset.columns,
        target_names=dataset.target_names,
        alphabet=dataset.alphabet or "",
        border=_border(dataset),
        notes=dataset.notes,
        ranges=_ranges(dataset),
    )


def _ranges(dataset: Dataset) -> tuple[tuple[float, float], ...]:
    """Return the minimum and maximum of the training samples: per feature for a table, else over all."""
    x = dataset.train.x.reshape(len(dataset.train.x), -1)
    if dataset.facts.tokens or not x.size:
        return ()
    if not dataset.columns:
        return ((float(x.min()), float(x.max())),)
    low, high = (each.reshape(-1, dataset.facts.shape[-1]) for each in (x.min(axis=0), x.max(axis=0)))
    return tuple(zip(low.min(axis=0).tolist(), high.max(axis=0).tolist(), strict=True))


def _border(dataset: Dataset) -> float | None:
    """Return the mean brightness of the border pixels of the first thousand images, 0 to 1; None if not images."""
    *_, height, width = (0, *dataset.facts.shape)
    if dataset.divisor != 255 or len(dataset.facts.shape) < 2 or min(height, width) < 3:
        return None
    images = dataset.train.x[:1000].reshape(-1, height, width)
    inner = images[:, 1:-1, 1:-1].sum(dtype=np.float64)
    return float((images.sum(dtype=np.float64) - inner) / (images.size - images[:, 1:-1, 1:-1].size) / 255)
