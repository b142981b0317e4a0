"""A trained network of a saved run, ready to be asked: samples go in as the data has them, and classes come out."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

from nnspec.analysis.evaluate import experiment_of, predicted, put_weights, scaling_of
from nnspec.checker.program import Experiment
from nnspec.compiler.layout import prepared_in
from nnspec.compiler.plan import build_network
from nnspec.compiler.preparing import Standardiser
from nnspec.compiler.proofs import Compiled
from nnspec.data.inputs import Wanted
from nnspec.data.source import class_name
from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Layer
from nnspec.engine.losses import Loss
from nnspec.runner.choosing import Choice
from nnspec.runner.environment import one_blas_thread
from nnspec.runner.sample import Writer, writer_of
from nnspec.runner.saved import SavedRun

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.engine.network import NumpyMLP

__all__ = ["Prediction", "Predictor", "load_predictor", "probabilities"]

_BATCH = 256
"""Samples at a time: what a convolution works in grows with them."""


def probabilities(outputs: NDArray[Any], experiment: Experiment) -> NDArray[Any] | None:
    """Return the probability of each class, `(…, C) -> (…, C)`: logits bent by softmax or sigmoid as the loss bends
    them, or what the last layer gives where that is a softmax or its logarithm. Of one output for two classes, both.
    None where there are no classes, or outputs are neither."""
    loss, last = experiment.loss.part, experiment.layers[-1].value.part
    assert issubclass(loss, Loss)
    assert issubclass(last, Layer)
    if experiment.classes is None:
        return None
    z = outputs.astype(np.float64)
    with np.errstate(all="ignore"):
        if loss.takes_logits and loss.bends_by == "sigmoid":
            odds = 1 / (1 + np.exp(-z))
        elif loss.takes_logits:
            odds = np.exp(z - z.max(axis=-1, keepdims=True))
            odds /= odds.sum(axis=-1, keepdims=True)
        elif last.gives_logs:
            odds = np.exp(z)
        elif last.bends_by == "softmax":
            odds = z
        else:
            return None
    return np.concatenate([1 - odds, odds], axis=-1) if odds.shape[-1] == 1 else odds


@dataclass(frozen=True)
class Predictor:
    """A network with all that it takes to ask it."""

    lane: str
    seed: int
    network: NumpyMLP = field(repr=False)
    wanted: Wanted
    """The form of a sample."""
    experiment: Experiment = field(repr=False)
    classes: int | None
    class_names: tuple[str, ...] = ()
    scaling: tuple[NDArray[Any], NDArray[Any]] | None = field(default=None, repr=False)
    """Mean and standard deviation of each feature, where samples are standardised."""
    alphabet: str = ""
    choice: Choice | None = None
    """Why this lane was chosen, where it was."""

    @property
    def label(self) -> str:
        """`Adam, seed 42`."""
        return f"{self.lane}, seed {self.seed}"

    def outputs(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return what the network makes of samples as they are stored: `(n, features) -> (n, *out)`.

        They are divided and standardised as in training. Raises ValueError for samples of another size.
        """
        features = prod(self.wanted.shape)
        x = np.asarray(x)
        if x.ndim < 2 or prod(x.shape[1:]) != features:
            raise ValueError(f"samples are n×{features} numbers, not {'×'.join(map(str, x.shape))}")
        dtype, prepared = np.dtype(self.experiment.dtype), np.dtype(prepared_in(self.experiment))
        if self.scaling is None:
            prepared = dtype
        standardise = None if self.scaling is None else Standardiser.alone(self.scaling, prepared.name)
        found = []
        with one_blas_thread(), np.errstate(all="ignore"):
            for start in range(0, len(x), _BATCH):
                part = x[start : start + _BATCH].reshape(-1, features).astype(prepared)
                if self.wanted.divisor != 1:
                    np.multiply(part, prepared.type(1.0 / self.wanted.divisor), out=part)
                if standardise is not None:
                    standardise(part)
                part = part.astype(dtype, copy=False)
                entry = self.experiment.layers[0].incoming
                found.append(np.array(self.network.forward(part.reshape(len(part), *entry)), order="C"))
        return np.concatenate(found) if found else np.empty((0, *self.experiment.outputs), dtype)

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the class of each sample, `(n,)`; or where there are no classes, the outputs."""
        outputs = self.outputs(x)
        return predicted(outputs) if self.classes is not None else outputs

    def probabilities(self, outputs: NDArray[Any]) -> NDArray[Any] | None:
        """Return the probability of each class, `(n, C) -> (n, C)`; of one output for two classes, `(n, 2)`. None where
        outputs stand for no probabilities."""
        return probabilities(outputs, self.experiment)

    def name_of(self, label: int) -> str:
        """Return what a class is called."""
        return class_name(label, self.class_names, self.alphabet)

    @property
    def writer(self) -> Writer | None:
        """What writes text with the network, where it learned one."""
        return writer_of(self.experiment, self.network, self.alphabet)


@dataclass(frozen=True)
class Prediction:
    """What a network makes of the samples of a file."""

    names: tuple[str, ...]
    """What each sample is called: `digit.png`, `table.csv:2`."""
    outputs: NDArray[Any]
    probabilities: NDArray[Any] | None
    notes: tuple[str, ...]
    """What was done to the samples, and what looks odd about them."""


def load_predictor(saved: SavedRun, compiled: Compiled, lane: str | None = None, seed: int | None = None) -> Predictor:
    """Load the network of a lane, by default the best one, with the seed that is asked for, by default the first that
    left weights.

    Raises RunError where there is none, or its weights do not fit.
    """
    name, chosen, choice = saved.pick(lane, seed)
    experiment = experiment_of(compiled, saved, name)
    arrays = saved.weights(name, chosen)
    network = build_network(experiment)
    put_weights(network, arrays, saved.weights_file(name, chosen))
    network.eval()
    data = saved.data(name)
    return Predictor(
        lane=name,
        seed=chosen,
        network=network,
        wanted=Wanted(
            shape=experiment.facts.shape,
            divisor=data.divisor,
            tokens=experiment.facts.tokens,
            columns=data.columns,
            target_names=data.target_names,
            border=data.border,
        ),
        experiment=experiment,
        classes=experiment.classes,
        class_names=data.class_names,
        scaling=scaling_of(arrays),
        alphabet=data.alphabet,
        choice=choice,
    )
