"""Prediction with a trained network: from samples as the data source stores them to classes.

On the command line and in Python alike, samples have the values that the data source stores: bytes from 0 to 255 for
images, numbers and texts for a table, the contents of the file for an array. They are divided, standardised and encoded
here, as in training.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from nnspec.checker.program import Experiment
from nnspec.compiler.layout import prepared_in
from nnspec.compiler.scaling import Standardiser, in_units
from nnspec.data.csv_cells import Form
from nnspec.data.predict_inputs import Inputs, Wanted, array_inputs, read_inputs, several_inputs, table_inputs
from nnspec.data.source import class_name
from nnspec.engine._numpy import np
from nnspec.engine.losses.outputs import LossOfOutputs, Output
from nnspec.environment import one_blas_thread
from nnspec.results.data_use import DataUse
from nnspec.results.writer import Writer, writer_of
from nnspec.statistics.ranking import Choice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.data.vocabulary import Alphabet
    from nnspec.engine.losses import Loss
    from nnspec.engine.network import NumpyMLP

__all__ = ["Predictor", "predicted", "predictor_of", "probabilities", "squashing", "wanted_of"]

_BATCH = 256
"""Samples per forward pass: the workspace of a convolution grows with the batch."""


def predicted(outputs: NDArray[Any]) -> NDArray[Any]:
    """Return the class of each row of outputs, `(…, C) -> (…)`, as the metrics do: the index of the largest, the first
    of equals; for a single output, 1 if it is above 0."""
    return outputs.argmax(axis=-1) if outputs.shape[-1] > 1 else (outputs[..., 0] > 0).astype(np.intp)


def squashing(experiment: Experiment) -> Literal["softmax", "sigmoid", "exp", ""] | None:
    """Return the function that turns outputs into probabilities of classes: the softmax or sigmoid of logits, as in the
    loss; e^x of a final log-softmax; none ("") of a final softmax. None if there are no classes, or the outputs are
    neither logits nor probabilities."""
    loss, last = experiment.loss.part, experiment.layers[-1].value.part
    if experiment.classes is None:
        return None
    if loss.takes_logits:
        return "sigmoid" if loss.squashes_with == "sigmoid" else "softmax"
    if last.gives_logs:
        return "exp"
    return "" if last.squashes_with == "softmax" else None


def probabilities(outputs: NDArray[Any], experiment: Experiment) -> NDArray[Any] | None:
    """Return the probability of each class, `(…, C) -> (…, C)`, or `(…, 1) -> (…, 2)`: the function `squashing` of the
    outputs. None if they do not determine probabilities."""
    how = squashing(experiment)
    if how is None:
        return None
    odds = outputs.astype(np.float64)
    with np.errstate(all="ignore"):
        if how == "sigmoid":
            odds = 1 / (1 + np.exp(-odds))
        elif how == "softmax":
            odds = np.exp(odds - odds.max(axis=-1, keepdims=True))
            odds /= odds.sum(axis=-1, keepdims=True)
        elif how == "exp":
            odds = np.exp(odds)
    return np.concatenate([1 - odds, odds], axis=-1) if odds.shape[-1] == 1 else odds


@dataclass(frozen=True)
class Predictor:
    """A trained network with everything needed to predict with it."""

    lane: str
    seed: int
    network: NumpyMLP = field(repr=False)
    wanted: Wanted
    """The form of a sample."""
    experiment: Experiment = field(repr=False)
    classes: int | None
    class_names: tuple[str, ...] = ()
    scaling: tuple[NDArray[Any], NDArray[Any]] | None = field(default=None, repr=False)
    """Mean and standard deviation of each feature; None if samples are not standardised."""
    target_scaling: tuple[NDArray[Any], NDArray[Any]] | None = field(default=None, repr=False)
    """Mean and standard deviation of each target component; None if targets are not standardised."""
    alphabet: Alphabet = ""
    choice: Choice | None = None
    """Why this lane was chosen; None if it was named."""

    @property
    def label(self) -> str:
        """`Adam, seed 42`."""
        return f"{self.lane}, seed {self.seed}"

    def samples(self, x: Any) -> Inputs:
        """Convert samples to the form of the data, `(n, features)`: an array or lists of numbers, a table (a DataFrame,
        or a mapping from columns to values), or the path of a file.

        Table columns are matched by name; others, such as the target, are ignored. Raises ValueError for samples that
        do not fit, and for NaN, with its row and column.
        """
        if isinstance(x, (str, os.PathLike)):
            return read_inputs(os.fspath(x), self.wanted)
        if isinstance(x, Mapping) and self.wanted.inputs and not self.wanted.columns:
            return array_inputs(several_inputs(x, self.wanted), self.wanted)
        if isinstance(x, Mapping) or hasattr(x, "columns"):
            return table_inputs(x, self.wanted)
        return array_inputs(x, self.wanted)

    def outputs(self, x: Any) -> NDArray[Any]:
        """Return the network's outputs for samples as the data source stores them, `(n, …) -> (n, *out)`.

        They are prepared as in training; `x` may be anything that `samples` accepts. Warns if their range is not that
        of the training data.
        """
        inputs = self.samples(x)
        for note in inputs.notes:
            warnings.warn(note, stacklevel=2)
        return self.outputs_of(inputs)

    def outputs_of(self, inputs: Inputs) -> NDArray[Any]:
        """Return the network's outputs for samples converted by `samples`, in the unit of the targets."""
        x, found = inputs.x, []
        with one_blas_thread(), np.errstate(all="ignore"):
            for start in range(0, len(x), _BATCH):
                found.append(np.array(self.network.forward(self.prepared(x[start : start + _BATCH])), order="C"))
        empty = np.empty((0, *self.experiment.outputs), np.dtype(self.experiment.dtype))
        return in_units(np.concatenate(found) if found else empty, self.target_scaling)

    def prepared(self, x: NDArray[Any]) -> NDArray[Any]:
        """Turn stored samples `(n, features)` into what enters the network, `(n, *in)`: divided and standardised."""
        dtype, prepared = np.dtype(self.experiment.dtype), np.dtype(prepared_in(self.experiment))
        if self.scaling is None:
            prepared = dtype
        part = x.reshape(len(x), -1).astype(prepared)
        if self.wanted.divisor != 1:
            np.multiply(part, prepared.type(1.0 / self.wanted.divisor), out=part)
        if self.scaling is not None:
            Standardiser.alone(self.scaling, prepared.name)(part)
        return part.astype(dtype, copy=False).reshape(len(part), *self.experiment.layers[0].incoming)

    @property
    def several(self) -> tuple[Output, ...]:
        """The outputs by name, as ranges of the row of all; () for one output without a name."""
        part = self.experiment.loss.part
        return part.fields if issubclass(part, LossOfOutputs) else ()

    def by_output(self, outputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the prediction of each of several outputs by its name, for outputs `(n, N)`: the class, or the
        numbers.
        """
        found = {}
        for one in self.several:
            loss: Loss = self.experiment.loss.arguments[one.name].value
            values = np.ascontiguousarray(one.of(outputs))
            if one.classes is not None and loss.decides:
                labels = predicted(values)
                values = _names_as_labels(one.class_names)[labels] if one.class_names else labels
            found[one.name] = values
        return found

    def predict(self, x: Any) -> Any:
        """Return the predicted class of each sample, `(n,)`, by name if classes have names; without classes, the
        outputs; with several outputs, these by their names. `x` may be anything that `samples` accepts."""
        outputs = self.outputs(x)
        if self.several:
            return self.by_output(outputs)
        if self.classes is None:
            return outputs
        labels = predicted(outputs)
        return self._labels[labels] if len(self.class_names) >= self.classes else labels

    @property
    def _labels(self) -> NDArray[Any]:
        """The names of the classes, as integers if all of them are integers."""
        return _names_as_labels(self.class_names)

    def probabilities(self, outputs: NDArray[Any]) -> NDArray[Any] | None:
        """Return the probability of each class, `(n, C) -> (n, C)`, or `(n, 1) -> (n, 2)`; None if the outputs do not
        determine probabilities."""
        return probabilities(outputs, self.experiment)

    def name_of(self, label: int) -> str:
        """Return the name of a class."""
        return class_name(label, self.class_names, self.alphabet)

    @property
    def writer(self) -> Writer | None:
        """Generates text with a character model; None for other networks."""
        return writer_of(self.experiment, self.network, self.alphabet)


def _names_as_labels(names: Sequence[str]) -> NDArray[Any]:
    whole = all(name.lstrip("-").isdecimal() and str(int(name)) == name for name in names)
    return np.array([int(name) for name in names] if whole else names)


def wanted_of(experiment: Experiment, data: DataUse) -> Wanted:
    """Return the form of the samples in training."""
    return Wanted(
        shape=experiment.facts.shape,
        arrangement=experiment.facts.arrangement,
        divisor=data.divisor,
        tokens=experiment.facts.tokens,
        inputs=experiment.facts.inputs,
        windows=experiment.facts.windows,
        form=getattr(experiment.data[0].source, "form", Form()),
        columns=data.columns,
        target_names=data.target_names,
        border=data.border,
        ranges=data.ranges,
    )


def predictor_of(
    experiment: Experiment,
    seed: int,
    network: NumpyMLP,
    data: DataUse,
    scaling: tuple[NDArray[Any], NDArray[Any]] | None,
    target_scaling: tuple[NDArray[Any], NDArray[Any]] | None,
    choice: Choice | None = None,
) -> Predictor:
    """Return a predictor for a network trained on `data`."""
    return Predictor(
        lane=experiment.name,
        seed=seed,
        network=network,
        wanted=wanted_of(experiment, data),
        experiment=experiment,
        classes=experiment.classes if experiment.loss.part.decides else None,
        class_names=data.class_names,
        scaling=scaling,
        target_scaling=target_scaling,
        alphabet=data.alphabet,
        choice=choice,
    )
