"""Notes about the data of a run that follow from the data together with the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import Experiment, Program
from nnspec.compiler.preparing import divide, learned_by_loss
from nnspec.compiler.scaling import constant_features
from nnspec.data.source import Dataset, FileFault, class_name
from nnspec.engine._numpy import np
from nnspec.engine.metrics import AUC
from nnspec.engine.scalers import Scaler
from nnspec.engine.validation import Validation

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["remarks"]

MOST_NAMES = 8


def remarks(program: Program, datasets: Mapping[str, Dataset]) -> tuple[str, ...]:
    """Return notes about the data of all lanes and repeats, without duplicates."""
    found: dict[str, None] = {}
    known: set[tuple[Any, ...]] = set()
    for experiment in program.lanes:
        dataset, train = datasets[experiment.name], experiment.train
        for number in range(train.trainings):
            one = experiment.training(number)
            seed = one.seed if train.validation else 0
            split = (id(dataset), one.train.validation, train.stratify, train.scalers, str(one.loss), seed)
            if split not in known:
                known.add(split)
                found |= dict.fromkeys(_of_split(one, dataset))
    return tuple(found)


def _of_split(experiment: Experiment, dataset: Dataset) -> Iterator[str]:
    trained, held_out = divide(experiment.train, experiment.seed, dataset.train.y, *dataset.facts.counts[1:])
    if experiment.classes is not None and not experiment.target:
        train, source = experiment.train, experiment.data[0].source
        drawn = not isinstance(train.validation, Validation) or train.validation.draws
        parts: dict[str, tuple[NDArray[Any], Callable[[], str]]] = {
            "training": (dataset.train.y[trained], lambda: "the network cannot learn it"),
            "validation": (
                dataset.train.y[held_out],
                lambda: _not_measured("validation", "train", drawn and not train.stratify),
            ),
            "test": (dataset.test.y, lambda: _not_measured("test", "data", _may_stratify(source))),
        }
        for part, (labels, says) in parts.items():
            yield from _absent(dataset, part, labels, says)
    if dataset.facts.are_labels and any(metric.part is AUC for metric in experiment.metrics):
        yield from _alike(dataset, "training", dataset.train.y[trained])
        yield from _alike(dataset, "validation", dataset.train.y[held_out])
        yield from _alike(dataset, "test", dataset.test.y)
    if experiment.train.scalers:
        yield from _constant(dataset, trained, experiment.train.scalers)
    loss = experiment.loss.make()
    if loss.learns(experiment.outputs):
        for name, values in learned_by_loss(loss, experiment, dataset, trained).items():
            output, _, what = name.rpartition(".")
            names = next((field.class_names for field in dataset.facts.targets if field.name == output), ())
            whose = f"the loss of `{output}`" if output else experiment.loss.name
            yield f"{whose} uses {what.replace('_', ' ')} {_by_class(names, dataset, values)}"


def _by_class(names: Sequence[str], dataset: Dataset, values: NDArray[Any]) -> str:
    """Return a number for each class: `cat: 0.5, dog: 1.5`."""
    words = [
        f"{class_name(label, names, None) if names else dataset.class_name(label)}: {value:.4g}"
        for label, value in enumerate(values[:MOST_NAMES].tolist())
    ]
    return ", ".join(words) + (", …" if len(values) > MOST_NAMES else "")


def _not_measured(part: str, section: str, helps: bool) -> str:
    """Say that figures do not measure a class, and how to include it."""
    cure = f"; `{section}.stratify = true` gives every class its share" if helps else ""
    return f"{part} figures do not measure it{cure}"


def _may_stratify(source: Any) -> bool:
    """Return whether a source that does not stratify could; it cannot if it has its own test samples."""
    if getattr(source, "stratify", True):
        return False
    stratified = copy(source)
    stratified.stratify = True
    try:
        stratified.facts()
    except FileFault:
        return False
    return True


def _absent(dataset: Dataset, part: str, labels: NDArray[Any], says: Callable[[], str]) -> Iterator[str]:
    """Name the classes without samples in a part of the data."""
    if not labels.size:
        return
    counts = np.bincount(labels.astype(np.intp), minlength=dataset.facts.classes or 0)
    absent = np.flatnonzero(counts == 0).tolist()
    words = [f"`{dataset.class_name(label)}`" for label in absent[:MOST_NAMES]]
    if len(absent) == 1:
        yield f"the {part} data has no sample of class {words[0]}: {says()}"
    elif absent:
        more = f" and {len(absent) - len(words):,} more" if len(absent) > len(words) else ""
        consequence = says().replace(" it", " them", 1)
        yield f"the {part} data has no sample of the classes {', '.join(words)}{more}: {consequence}"


def _alike(dataset: Dataset, part: str, targets: NDArray[Any]) -> Iterator[str]:
    """Name the labels that are the same in all samples of a part, so that `auc` has nothing to rank."""
    if not len(targets):
        return
    alike = np.flatnonzero((targets == targets[0]).reshape(len(targets), -1).all(axis=0)).tolist()
    names = dataset.target_names
    words = [f"`{names[i]}`" if names else str(i + 1) for i in alike[:MOST_NAMES]]
    if len(alike) == 1:
        yield f"label {words[0]} is the same in all {part} samples: `auc` is not defined there"
    elif alike:
        more = f" and {len(alike) - len(words):,} more" if len(alike) > len(words) else ""
        yield f"labels {', '.join(words)}{more} are the same in all {part} samples: `auc` is not defined there"


def _constant(dataset: Dataset, trained: NDArray[Any], rules: Sequence[Scaler]) -> Iterator[str]:
    """Name the features that become a single number, 0 for most rules, when scaled."""
    constant: dict[float, list[int]] = {}
    for feature, becomes in constant_features(dataset, trained, rules):
        constant.setdefault(becomes, []).append(feature)
    names = dataset.feature_names
    for becomes, features in constant.items():
        words = [f"`{names[i]}`" if names else str(i) for i in features[:MOST_NAMES]]
        counted = "" if names else ", counted from 0,"
        if len(features) > MOST_NAMES:
            which = f"{len(features):,} of {dataset.facts.features:,} features are"
        elif len(words) == 1:
            which = f"feature {words[0]}{counted} is"
        else:
            which = f"features {', '.join(words[:-1])} and {words[-1]}{counted} are"
        become = f"become{'s' * (len(features) == 1)} {becomes:g} when standardised"
        yield f"{which} constant in the training samples and {become}"
