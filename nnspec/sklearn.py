"""Estimators for scikit-learn: `NNClassifier` and `NNRegressor` train a spec on arrays. Needs `nnspec[sklearn]`.

    from nnspec.sklearn import NNClassifier

    NNClassifier(hidden=(64, 32), epochs=100).fit(X, y).score(X_test, y_test)
    NNClassifier("iris.nn").set_params(optimizer__lr=0.01, train__epochs=5)

A spec's own data is not read, and nothing is written or printed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

try:
    import sklearn  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'nnspec.sklearn needs scikit-learn: pip install "nnspec[sklearn]"', name="sklearn"
    ) from error

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d, validate_data

from nnspec.api import Spec, SpecError, check
from nnspec.compiler.proofs import Compiled
from nnspec.data.given import given_data
from nnspec.data.predict_inputs import Inputs
from nnspec.data.source import Access
from nnspec.results.predictor import Predictor, predicted, squashing
from nnspec.runner.gradients import prove_gradients
from nnspec.runner.options import RunOptions
from nnspec.runner.resuming import InMemory
from nnspec.runner.run import PROOF_SAMPLES, run_program
from nnspec.training.checkpoint import Checkpoint, CheckpointError
from nnspec.training.observer import Calling, Silent

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from nnspec.native import How

__all__ = ["NNClassifier", "NNRegressor"]

SHORT = """\
model {{ {layers} }}
loss = {loss}
optimizer = Adam(lr=0.01)
train {{ epochs = 50; batch = 64; standardise = true{more} }}
dtype = {dtype}
"""
"""The spec of the short form."""
HIDDEN, ACTIVATION = (64,), "ReLU"
REPEATED = "repeats and folds cannot be continued; call `fit`"


@dataclass(frozen=True, eq=False)
class _Samples:
    """What a network is trained on."""

    x: NDArray[Any]
    y: NDArray[Any]
    """Class numbers, or floats `(n,)` or `(n, outputs)`."""
    w: NDArray[Any] | None
    classes: int | None

    @property
    def given(self) -> dict[str, NDArray[Any]]:
        """The arrays as `nnspec.run` takes them."""
        arrays = {"x_train": self.x, "y_train": self.y, "w_train": self.w}
        return {name: array for name, array in arrays.items() if array is not None}

    def beginning(self, count: int) -> _Samples:
        """Return a copy of the first samples that have any weight."""
        rows = np.arange(min(count, len(self.x))) if self.w is None else np.flatnonzero(self.w)[:count]
        return replace(self, x=self.x[rows], y=self.y[rows], w=None if self.w is None else self.w[rows])

    @property
    def outputs(self) -> int:
        """The number of outputs of the short form's network."""
        return self.classes or (self.y.shape[1] if self.y.ndim > 1 else 1)


class _NNEstimator(BaseEstimator):
    """What classifier and regressor share."""

    _loss: str
    _more: str = ""

    def __init__(
        self,
        spec: str | os.PathLike[str] | Spec | None = None,
        *,
        hidden: Sequence[int] | None = None,
        activation: str | None = None,
        optimizer: str | None = None,
        lr: float | str | None = None,
        epochs: int | None = None,
        batch: int | None = None,
        random_state: Any = None,
        settings: Mapping[str, Any] | None = None,
        compiled: How = "never",
    ) -> None:
        self.spec = spec
        self.hidden = hidden
        self.activation = activation
        self.optimizer = optimizer
        self.lr = lr
        self.epochs = epochs
        self.batch = batch
        self.random_state = random_state
        self.settings = settings
        self.compiled = compiled

    # Parameters: a name with `__`, such as `optimizer__lr`, is a setting of the spec, and is kept in `settings`.

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the arguments and, with `deep`, each of the settings as `optimizer__lr`."""
        params: dict[str, Any] = super().get_params(deep=False)
        if deep and isinstance(self.settings, Mapping):
            params |= {str(name).replace(".", "__"): value for name, value in self.settings.items()}
        return params

    def set_params(self, **params: Any) -> _NNEstimator:
        """Set arguments, and settings of the spec: `set_params(optimizer__lr=0.01, train__epochs=5)`.

        Raises ValueError for an argument that does not exist. Settings are checked by `fit`.
        """
        own = {name: value for name, value in params.items() if "__" not in name}
        super().set_params(**own)
        settings = {name.replace("__", "."): value for name, value in params.items() if "__" in name}
        if settings:
            self.settings = {**(self.settings or {}), **settings}
        return self

    # Training

    def _fit(self, samples: _Samples, seed: int | None = None, start: Checkpoint | None = None, *, once: bool) -> None:
        """Train all epochs or, with `once`, one more than at `start`."""
        settings = self._overrides(samples)
        if seed is not None:
            settings["seed"] = seed
        if once:
            settings["train.early_stop"] = None
        compiled, access = self._compile(samples, settings)
        (experiment,) = compiled.program.lanes
        train = experiment.train
        if once and experiment.length.by_step:  # one more pass over the samples, whatever the spec's length
            train = replace(train, epochs=math.ceil(experiment.length.epochs), steps=None, record=None)
        if start is not None and start.epochs >= train.epochs:
            train = replace(train, epochs=start.epochs + 1)
        if train != experiment.train:
            compiled = replace(compiled, program=replace(compiled.program, lanes=(replace(experiment, train=train),)))
        memory = InMemory(start) if experiment.train.trainings == 1 else None
        if memory is None and once:
            raise ValueError(f"{type(self).__name__}.partial_fit: {REPEATED}")
        observer = Calling(Silent(), lambda *_: True) if once else Silent()
        options = RunOptions(jobs=1, compiled=self.compiled)
        result = run_program(compiled, access, observer, lambda: memory, options)
        if result.interrupted:
            raise KeyboardInterrupt
        (lane,) = result.values()
        if lane.predictor is None:
            raise ValueError(f"{type(self).__name__}: training {lane.status}: {lane.message}")
        self.result_ = result
        self._end = memory.end if memory is not None else None
        self._beginning = samples.beginning(PROOF_SAMPLES)

    def _forget(self) -> None:
        """Be unfitted, also if training fails."""
        if hasattr(self, "result_"):
            del self.result_

    def _continue(self, samples: _Samples) -> None:
        """Train for one more epoch. Raises ValueError for a spec that is trained several times."""
        start = self._end if hasattr(self, "result_") else None
        if hasattr(self, "result_") and start is None:
            raise ValueError(f"{type(self).__name__}.partial_fit: {REPEATED}")
        seed = self._seed() if start is None else int(start.lane["seed"])
        try:
            self._fit(samples, seed, start, once=True)
        except CheckpointError as error:
            raise ValueError(
                f"{type(self).__name__}.partial_fit cannot continue with another network, optimizer or figures than "
                f"before: {error}; call `fit`"
            ) from None

    def _compile(self, samples: _Samples, settings: Mapping[str, Any]) -> tuple[Compiled, Access]:
        """Check the spec with the data. Raises SpecError, and ValueError for a spec that is not one training."""
        checked = check(self._spec(samples), settings, data=samples.given)
        if not checked.ok:
            raise SpecError(checked.diagnostics)
        if checked.compiled is None:
            raise ValueError(f"{checked.path} is not a complete experiment; it can only be imported")
        lanes = [lane.name for lane in checked.compiled.program.lanes]
        if len(lanes) > 1:
            raise ValueError(
                f"an estimator trains one network, but {checked.path} has {len(lanes)} lanes: {', '.join(lanes)}; "
                "remove the race or sweep, and compare with GridSearchCV"
            )
        (experiment,) = checked.compiled.program.lanes
        if (experiment.classes is None) != (samples.classes is None):
            wanted = "class labels" if samples.classes else "numbers"
            raise ValueError(
                f"{type(self).__name__} needs a loss for {wanted}, and the loss of {checked.path} is {experiment.loss}"
            )
        return checked.compiled, Access(given=given_data(samples.given))

    def _spec(self, samples: _Samples) -> Spec:
        """Return the spec, or that of the short form. Raises ValueError for both at once."""
        if self.spec is not None:
            both = [name for name in ("hidden", "activation") if getattr(self, name) is not None]
            if both:
                raise ValueError(f"`{both[0]}` has no effect with a spec, which has a model of its own; remove one")
            return self._given_spec()
        hidden = HIDDEN if self.hidden is None else self.hidden
        widths = [hidden] if isinstance(hidden, (int, np.integer)) else list(hidden)
        if not all(isinstance(width, (int, np.integer)) and width > 0 for width in widths):
            raise ValueError(f"`hidden` must be the widths of the hidden layers, such as (64, 32), not {hidden!r}")
        activation = ACTIVATION if self.activation is None else self.activation
        layers = [*(f"Linear({width}); {activation}" for width in widths), f"Linear({samples.outputs})"]
        dtype = "float32" if samples.x.dtype == np.float32 else "float64"
        text = SHORT.format(layers="; ".join(layers), loss=self._loss, more=self._more, dtype=dtype)
        return Spec.parse(text, type(self).__name__)

    def _given_spec(self) -> Spec:
        if isinstance(self.spec, Spec):
            return self.spec
        if isinstance(self.spec, str) and ("\n" in self.spec or "{" in self.spec):
            return Spec.parse(self.spec)
        if not isinstance(self.spec, (str, os.PathLike)):
            raise TypeError(f"`spec` must be a path, a text or a nnspec.Spec, not {self.spec!r}")
        return Spec.read(self.spec)

    def _overrides(self, samples: _Samples) -> dict[str, Any]:
        """Return the settings that override those of the spec, by name."""
        given = {
            "optimizer": self.optimizer,
            "optimizer.lr": self.lr,
            "train.epochs": self.epochs,
            "train.batch": self.batch,
        }
        data = "Given(test=0)" if samples.classes is None else f"Given(test=0, classes={samples.classes})"
        found = {"data": data} | {name: value for name, value in given.items() if value is not None}
        return found | dict(self.settings or {})

    def _seed(self) -> int | None:
        """Return the seed; None for that of the spec."""
        if self.random_state is None or isinstance(self.random_state, (int, np.integer)):
            return None if self.random_state is None else int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _weights(self, sample_weight: ArrayLike | None, X: NDArray[Any]) -> NDArray[Any] | None:
        """Return valid weights. Raises ValueError."""
        if sample_weight is None:
            return None
        return _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)

    # What was trained

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a network."""
        return hasattr(self, "result_")

    def _outputs(self, X: Any) -> NDArray[Any]:
        check_is_fitted(self)
        x = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        outputs: NDArray[Any] = self._predictor.outputs_of(Inputs(x, ()))
        return outputs

    @property
    def _predictor(self) -> Predictor:
        (lane,) = self.result_.values()
        assert lane.predictor is not None, "a lane without one is not fitted"
        return lane.predictor

    def _figure(self, name: str) -> list[float] | None:
        check_is_fitted(self)
        (lane,) = self.result_.values()
        return lane.curve(name) if name in lane.figures else None

    @property
    def loss_curve_(self) -> list[float]:
        """The mean training loss of each epoch."""
        return self._figure("loss") or []

    @property
    def validation_loss_curve_(self) -> list[float] | None:
        """The loss on the held-out samples after each epoch; None without `train.validation`."""
        return self._figure("val_loss")

    @property
    def n_iter_(self) -> int:
        """The number of epochs trained."""
        return len(self.loss_curve_)

    @property
    def gradient_error_(self) -> float:
        """The largest relative difference between the gradients of the network at its initial weights and central
        differences, on the first training samples; computed when it is asked for."""
        check_is_fitted(self)
        experiment = self._predictor.experiment
        experiment = replace(experiment, train=replace(experiment.train, validation=0, stratify=False))
        dataset = experiment.data[0].source.load(Access(given=given_data(self._beginning.given)))
        return prove_gradients(experiment, dataset, samples=PROOF_SAMPLES).error


def _has_probabilities(classifier: NNClassifier) -> bool:
    """Whether the outputs determine probabilities: all but those of a hinge loss, say. Unknown before `fit`."""
    return not hasattr(classifier, "result_") or squashing(classifier._predictor.experiment) is not None


class NNClassifier(ClassifierMixin, _NNEstimator):
    """A neural network that predicts classes.

        NNClassifier(hidden=(64, 32), lr=0.01, epochs=100).fit(X, y)
        NNClassifier("iris.nn", settings={"train.epochs": 5}).fit(X, y)

    It trains a spec, or a network with `hidden` layers: the short form stands for this spec, for three classes. It is
    float32 if X is.

        model { Linear(64); ReLU; Linear(3) }
        loss = CrossEntropy
        optimizer = Adam(lr=0.01)
        train { epochs = 50; batch = 64; standardise = true }
        dtype = float64

    Args:
        spec: the path of a spec, its text, or a `nnspec.Spec`. It must describe one training: no race and no sweep.
        hidden: widths of the hidden layers; by default (64,). Only without `spec`.
        activation: the layer after each of them; by default "ReLU". Only without `spec`.
        optimizer: such as "SGD(lr=0.1, momentum=0.9)". This and the following replace what the spec says.
        lr: the learning rate: a number, or a schedule such as "cosine(0.1)".
        epochs: number of passes over the data.
        batch: number of samples in a step.
        class_weight: a weight for each class by its label, `{"rare": 5}`, or "balanced"; multiplied by `sample_weight`.
        random_state: the seed; None for that of the spec, which is 0 by default. The same seed gives the same bits.
        settings: any other settings of the spec, by name: `{"train.validation": 0.2}`. `set_params` and grids take them
            as `train__validation`.
        compiled: "never" trains by NumPy calls; "auto" and "always" use compiled steps, as in `nnspec.run`, which are
            cached on disk. The results are identical.

    Attributes:
        classes_: the labels, sorted.
        n_features_in_, feature_names_in_: the number of features, and their names if X is a DataFrame.
        loss_curve_, validation_loss_curve_: the loss of each epoch; the latter is None without `train.validation`.
        n_iter_: the number of epochs trained.
        gradient_error_: the largest relative error of the gradients, computed when it is asked for.
        result_: the `nnspec` result, with the network: `result_["run"].network`.

    Raises in `fit`: nnspec.SpecError for errors in the spec or a setting; ValueError for data that cannot be used, and
    if training diverges.
    """

    _loss = "CrossEntropy"

    def __init__(
        self,
        spec: str | os.PathLike[str] | Spec | None = None,
        *,
        hidden: Sequence[int] | None = None,
        activation: str | None = None,
        optimizer: str | None = None,
        lr: float | str | None = None,
        epochs: int | None = None,
        batch: int | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        random_state: Any = None,
        settings: Mapping[str, Any] | None = None,
        compiled: How = "never",
    ) -> None:
        super().__init__(
            spec,
            hidden=hidden,
            activation=activation,
            optimizer=optimizer,
            lr=lr,
            epochs=epochs,
            batch=batch,
            random_state=random_state,
            settings=settings,
            compiled=compiled,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> NNClassifier:
        """Train on X `(n, features)` and labels y `(n,)`. A sample of weight 2 counts as two: in the loss, in
        `standardise` and in `class_weight="balanced"`. Raises: see the class."""
        self._forget()
        x, y = self._validated(X, y, reset=True)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        self._fit(self._samples(x, y, sample_weight), self._seed(), once=False)
        return self

    def partial_fit(
        self, X: Any, y: Any, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> NNClassifier:
        """Train for one more epoch, on these samples; the first call needs all `classes`, unless `fit` came before.

        The optimizer continues where it was, and features are scaled as in the first call; early stopping is off.
        Called `epochs` times on the same samples, it does what `fit` does.
        """
        first = not hasattr(self, "result_")
        x, y = self._validated(X, y, reset=first)
        check_classification_targets(y)
        if first:
            if classes is None:
                raise ValueError("the first call of partial_fit needs all `classes`")
            self.classes_ = unique_labels(classes)
        elif classes is not None and not np.array_equal(unique_labels(classes), self.classes_):
            raise ValueError(f"`classes` are {self.classes_.tolist()} since the first call, and cannot change")
        unknown = np.setdiff1d(y, self.classes_)
        if unknown.size:
            raise ValueError(f"`y` has labels that are not in `classes`: {unknown.tolist()}")
        self._continue(self._samples(x, y, sample_weight))
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the predicted label of each sample, `(n, features) -> (n,)`."""
        outputs = self._outputs(X)
        labels: NDArray[Any] = self.classes_[predicted(outputs)]
        return labels

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probability of each class, `(n, features) -> (n, classes)`, in the order of `classes_`."""
        outputs = self._outputs(X)
        odds = self._predictor.probabilities(outputs)
        assert odds is not None, "without probabilities, there is no `predict_proba`"
        return odds

    def _validated(self, X: Any, y: Any, *, reset: bool) -> tuple[NDArray[Any], NDArray[Any]]:
        x, y = validate_data(self, X, y, dtype=[np.float64, np.float32], reset=reset)
        return x, column_or_1d(y, warn=True)

    def _samples(self, x: NDArray[Any], y: NDArray[Any], sample_weight: ArrayLike | None) -> _Samples:
        """Return what is trained on. Raises ValueError if fewer than two classes have any weight."""
        weights = self._weights(sample_weight, x)
        if self.class_weight is not None:
            of_class = compute_sample_weight(self.class_weight, y)
            weights = of_class if weights is None else weights * of_class
        numbers = np.searchsorted(self.classes_, y)
        there = np.unique(numbers if weights is None else numbers[weights > 0])
        if len(self.classes_) < 2 or not there.size:
            raise ValueError(f"a classifier needs samples of at least 2 classes, and the data has {len(there)} class")
        return _Samples(x, numbers, weights, len(self.classes_))


class NNRegressor(RegressorMixin, _NNEstimator):
    """A neural network that predicts numbers.

        NNRegressor(hidden=(64, 32), epochs=100).fit(X, y)

    Arguments and attributes are those of `NNClassifier`, without classes. The short form stands for this spec:

        model { Linear(64); ReLU; Linear(1) }
        loss = MSE
        optimizer = Adam(lr=0.01)
        train { epochs = 50; batch = 64; standardise = true; standardise_target = true }
        dtype = float64

    With several targets, y `(n, targets)`, the last layer has as many outputs.
    """

    _loss = "MSE"
    _more = "; standardise_target = true"

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> NNRegressor:
        """Train on X `(n, features)` and numbers y `(n,)` or `(n, targets)`. A sample of weight 2 counts as two, in the
        loss and in `standardise`. Raises: see `NNClassifier`."""
        self._forget()
        self._fit(self._samples(X, y, sample_weight, reset=True), self._seed(), once=False)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> NNRegressor:
        """Train for one more epoch, on these samples: see `NNClassifier`."""
        self._continue(self._samples(X, y, sample_weight, reset=not hasattr(self, "result_")))
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the predicted numbers, `(n, features) -> (n,)`, or `(n, targets)` if there are several."""
        outputs = self._outputs(X)
        return outputs.reshape(len(outputs), *self._target)

    def _samples(self, X: Any, y: Any, sample_weight: ArrayLike | None, *, reset: bool) -> _Samples:
        options = {"dtype": [np.float64, np.float32], "multi_output": True, "y_numeric": True, "reset": reset}
        x, y = validate_data(self, X, y, **options)
        y = y.astype(np.float64)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        self._target = y.shape[1:]
        return _Samples(x, y, self._weights(sample_weight, x), None)

    def __sklearn_tags__(self) -> Any:
        """Several targets are supported."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
