"""Evaluate networks of saved runs on the test data again: figures bit for bit, and outputs for each sample."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import Experiment
from nnspec.compiler.layout import lay_out
from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import Plan
from nnspec.compiler.proofs import Compiled
from nnspec.compiler.scaling import in_units
from nnspec.data.eval_inputs import Targets, read_given
from nnspec.data.source import Access, DataError, Dataset, FileFault
from nnspec.engine._numpy import np
from nnspec.environment import one_blas_thread
from nnspec.records.saved import RunError, SavedRun, usable
from nnspec.reprs import TableRepr
from nnspec.results.predictor import predicted, wanted_of
from nnspec.results.stored import learned_from
from nnspec.runner.load_data import load_data

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.engine.network import NumpyMLP

__all__ = [
    "Evaluation",
    "Evaluator",
    "check_scaling",
    "evaluate_given",
    "experiment_of",
    "measuring",
    "put_weights",
    "scaling_of",
]


@dataclass(frozen=True, repr=False)
class Evaluation(TableRepr):
    """A trained network evaluated on the test data."""

    lane: str
    seed: int
    figures: Mapping[str, float]
    """`test_loss`, and every metric that is a figure, with the prefix `test_`."""
    recorded: Mapping[str, float]
    """The same figures from the summary of the run."""
    tables: Mapping[str, list[list[int]]]
    outputs: NDArray[Any]
    """The output for each sample, in the unit of the targets: `(n, *out)`."""
    losses: NDArray[Any]
    """The loss of each sample, `(n,)`. Class weights cancel in a mean over one sample."""
    dataset: Dataset = field(repr=False)
    same_data: bool
    """Whether the data is the same as in the run."""
    classes: int | None
    """The number of classes that the outputs predict; None if they are numbers."""
    status: str = "done"
    """The status of the lane."""
    given: str = ""
    """The file of the samples, if they are not those of the run."""

    @property
    def same(self) -> bool:
        """Whether every figure equals the recorded one, bit for bit; always True for samples of a file."""

        def alike(name: str, value: float) -> bool:
            return self.recorded.get(name) == value if math.isfinite(value) else name not in self.recorded

        return bool(self.given) or all(alike(name, value) for name, value in self.figures.items())

    @property
    def predicted(self) -> NDArray[Any] | None:
        """The predicted class of each sample, `(n,)` or `(n, positions)`; None without classes."""
        return None if self.classes is None else predicted(self.outputs)

    def confusion(self) -> NDArray[Any] | None:
        """Return the confusion matrix, one row per label and one column per prediction; None without classes or with
        more than a hundred."""
        classes, guess = self.classes, self.predicted
        labels = self.dataset.test.y.reshape(-1)
        if classes is None or classes > 100 or guess is None or guess.size != labels.size or guess.max() >= classes:
            return None
        known = labels >= 0
        pairs = labels[known].astype(np.int64) * classes + guess.reshape(-1)[known]
        counts = np.bincount(pairs, minlength=classes * classes)
        return counts.reshape(classes, classes)


def put_weights(network: NumpyMLP, arrays: Mapping[str, NDArray[Any]], source: Path) -> None:
    """Copy saved parameters and state of layers into a network. Raises RunError if they do not match."""
    own = {name: arrays[name] for name in network.state_dict() if name in arrays}  # without the scales of the input
    try:
        network.load_state_dict(own)
    except ValueError as error:
        raise RunError(f"the weights {source} do not match the network of the spec: {error}") from None


def scaling_of(arrays: Mapping[str, NDArray[Any]], what: str = "input") -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return the saved mean and standard deviation of each feature or of the `target`; None if it is not scaled."""
    return (arrays[f"{what}.mean"], arrays[f"{what}.deviation"]) if f"{what}.mean" in arrays else None


def check_scaling(experiment: Experiment, arrays: Mapping[str, NDArray[Any]], source: Path) -> None:
    """Check the saved scales of samples and targets. Raises RunError if they are missing or unusable."""
    train = experiment.train
    scaled = {"input": (bool(train.scalers), experiment.facts.features)}
    scaled["target"] = bool(train.target_scalers), prod(experiment.outputs)
    for what, (wanted, size) in scaled.items():
        for name in (f"{what}.mean", f"{what}.deviation"):
            array = arrays.get(name)
            if array is None and not wanted:
                continue
            if array is None or not wanted:
                raise RunError(f"{source} is damaged: {name} is {'missing' if wanted else 'not part of this spec'}")
            if array.size != size or array.dtype.kind != "f":
                raise RunError(f"{source} is damaged: {name} is {array.dtype} {array.shape}, not {size:,} numbers")
            if not np.isfinite(array).all() or (name.endswith("deviation") and not (array > 0).all()):
                raise RunError(f"{source} is damaged: {name} contains invalid scales")
    learned, expected = learned_from(arrays, "loss."), experiment.loss.make().learns(experiment.outputs)
    for name in sorted({*learned, *expected}):
        array = learned.get(name)
        if array is None or name not in expected:
            what = "missing" if array is None else "not part of this spec"
            raise RunError(f"{source} is damaged: loss.{name} is {what}")
        if array.shape != expected[name] or array.dtype.kind != "f":
            raise RunError(f"{source} is damaged: loss.{name} is {array.dtype} {array.shape}")
        if not (np.isfinite(array) & (array > 0)).all():
            raise RunError(f"{source} is damaged: loss.{name} contains invalid weights")


def measuring(experiment: Experiment, batch: int, dataset: Dataset, arrays: Mapping[str, NDArray[Any]]) -> Plan:
    """Return a plan that evaluates only test samples, in batches of the same size as in training.

    Samples and targets are standardised with the scales in `arrays`, saved with the weights. So the result does not
    depend on the seed or the training samples.
    """
    count = len(dataset.test.y)
    facts = replace(experiment.facts, train=max(batch, count), test=count, validation=0)
    alone = replace(
        experiment,
        train=replace(experiment.train, batch=batch, validation=0.0, drop_last=False),
        data=(replace(experiment.data[0], facts=facts),),
    )
    return plan_alone(
        alone,
        lay_out(alone),
        replace(dataset, train=dataset.test),
        scaling=scaling_of(arrays),
        target_scaling=scaling_of(arrays, "target"),
        learned=learned_from(arrays, "loss."),
    )


def experiment_of(compiled: Compiled, saved: SavedRun, lane: str) -> Experiment:
    """Return a lane of the program. Raises RunError if the record names a lane that the spec does not have."""
    found = next((each for each in compiled.program.lanes if each.name == lane), None)
    if found is None:
        raise RunError(f"{saved.path / 'summary.json'} is damaged: its spec has no lane {lane}")
    return found


class Evaluator:
    """Loads the data of a saved run once, and evaluates any of its networks on it."""

    def __init__(self, saved: SavedRun, compiled: Compiled, access: Access) -> None:
        """Raises DataError if the data is unavailable or unusable."""
        self._saved, self._compiled = saved, compiled
        self._data = load_data(compiled.program, access)

    def __call__(self, lane: str, seed: int) -> Evaluation:
        """Evaluate the network of a lane that was trained with a seed. Raises DataError if the data has no test
        samples, and RunError if its weights do not match.
        """
        dataset, use = self._data[lane]
        if not len(dataset.test.y):
            raise DataError("the data of this run has no test samples; pass other data with --data")
        same = use.sha256 == self._saved.data(lane).sha256
        return _evaluation(self._saved, self._compiled, lane, seed, dataset, same_data=same)


def evaluate_given(saved: SavedRun, compiled: Compiled, lane: str, seed: int, data: Any) -> Evaluation:
    """Evaluate the network of a lane on samples and targets in a file or from Python, without the run's own data.

    Raises FileFault if the file does not match, RunError if the weights do not.
    """
    experiment, use = experiment_of(compiled, saved, lane), saved.data(lane)
    facts = experiment.facts
    path = data if isinstance(data, str) else "data from Python"
    columns = getattr(experiment.data[0].source, "targets", None)
    columns = columns if isinstance(columns, tuple) else use.target_names
    ignore = getattr(experiment.data[0].source, "ignore", None) if facts.ignores else None
    targets = Targets(facts.classes, use.class_names, columns, facts.target, ignore)
    split, notes = read_given(data, wanted_of(experiment, use), targets)
    stored = split.x.astype(facts.stored, copy=False)
    if stored.dtype.kind in "iu" and not np.array_equal(stored, split.x):
        raise FileFault(f"{path} contains numbers that are not {facts.stored}, unlike {use.source}")
    split = replace(split, x=stored)
    if facts.ignores and facts.padding is not None and facts.target == facts.shape:
        split = replace(split, y=np.where(split.x.reshape(split.y.shape) == facts.padding, -1, split.y))
    dataset = Dataset(
        source=use.source,
        facts=replace(facts, test=len(split.y)),
        train=split,
        test=split,
        divisor=use.divisor,
        sha256="",
        origin=path,
        alphabet=use.alphabet or None,
        class_names=use.class_names,
        columns=use.columns,
        target_names=use.target_names,
        notes=notes,
    )
    return _evaluation(saved, compiled, lane, seed, dataset, given=path)


def _evaluation(
    saved: SavedRun,
    compiled: Compiled,
    lane: str,
    seed: int,
    dataset: Dataset,
    *,
    same_data: bool = True,
    given: str = "",
) -> Evaluation:
    experiment = experiment_of(compiled, saved, lane)
    with usable(saved.path / "summary.json"):
        ending = saved.ending(lane, seed)
        final = {str(name): float(value) for name, value in ending["final"].items()}
        status = str(ending["status"])
    arrays = saved.weights(lane, seed)
    check_scaling(experiment, arrays, saved.weights_file(lane, seed))
    with one_blas_thread(), np.errstate(all="ignore"):
        plan = measuring(experiment, compiled.layouts[lane].batch, dataset, arrays)
        put_weights(plan.network, arrays, saved.weights_file(lane, seed))
        loss, metrics = plan.test()
        tables = plan.tables()
        pairs = list(plan.outputs())
    in_order = np.argsort(plan.data.test_samples)
    names = [f"test_{name}" for name in experiment.measured]
    return Evaluation(
        lane=lane,
        seed=seed,
        figures=dict(zip(names, (loss, *metrics), strict=True)),
        recorded={} if given else final,
        tables=tables,
        outputs=in_units(np.concatenate([outputs for outputs, *_ in pairs])[in_order], scaling_of(arrays, "target")),
        losses=np.fromiter(_each(plan.loss_of_outputs, pairs), np.float64)[in_order],
        dataset=dataset,
        classes=experiment.classes if experiment.loss.part.decides else None,
        status=status,
        same_data=same_data,
        given=given,
    )


def _each(loss: Any, batches: Sequence[tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]]) -> Iterator[float]:
    """Yield the loss of each sample."""
    with np.errstate(all="ignore"):
        for outputs, targets, weights in batches:
            of_places = None if weights is None or weights.ndim == 1 else weights
            for i in range(len(outputs)):
                one = outputs[i : i + 1].copy(), targets[i : i + 1]
                yield loss.forward(*one) if of_places is None else loss.forward(*one, weights=of_places[i : i + 1])
