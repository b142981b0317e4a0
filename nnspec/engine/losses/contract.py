"""The interface of losses, and the checks of outputs against the data's targets."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Shape, ShapeError, layers_towards, shape_in_words
from nnspec.engine.part import Part, Range, kept
from nnspec.engine.work import Borrower, Work, number

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Loss"]

NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})


def weighted(shape: Shape) -> Mapping[str, Work]:
    """Return the work array that every loss has besides its own if samples or their positions are weighted, by weights
    of this shape for a sample.
    """
    return {"factors": Work(shape)}


class Loss(Part, Borrower):
    """Base of the losses: L = mean over the batch, a float; `backward` returns dL/d(outputs).

    With `weights` w `(B,)` of the samples, it is the weighted mean: with l the loss of each sample, L = Σ w·l / Σ w.
    A sample of weight 2 counts as two equal samples, and one of weight 0 not at all; if all are 0, L and its gradient
    are 0. As PyTorch's `(w * loss(…, reduction="none")).sum() / w.sum()`; Keras divides by B instead. Outputs with a
    target at each position, `(B, T, C)`, may have a weight for each position, `(B, T)`: padding has 0, as with
    PyTorch's `ignore_index`.

    `weight` is the weight of a batch in a mean over several batches: Σ w·L / Σ w is then the loss of all their samples.
    """

    kind: ClassVar[str] = "loss"
    must_define = ("fit", "forward", "backward")
    takes_logits: ClassVar[bool] = False
    """Whether it applies a softmax or sigmoid itself, so that the network must not."""
    squashes_with: ClassVar[str] = "softmax"
    """The function that it applies to logits, if it takes logits."""
    takes_logs: ClassVar[bool] = False
    """Whether it expects log-probabilities from the network."""
    decides: ClassVar[bool] = True
    """Whether its outputs are scores of classes: the largest one, or a single one above 0, decides for its class."""
    targets: ClassVar[Literal["classes", "values"]]
    """What it compares the outputs with: class labels, or an array of the outputs' shape."""
    target_range: ClassVar[Range] = Range()
    """The allowed range of the targets."""

    converts_arguments = True
    lanes = 1
    """The number of lanes that the samples are divided among, in sequence, each with its own loss: `each`."""
    each: list[float] = kept()
    """The loss of every lane after `forward`, if there are several."""
    _sample_weights: NDArray[Any] | None = kept()
    """The weight of each sample or position in the last forward pass, if they are weighted."""
    _mean_weight = 1.0
    """Their mean; if classes are weighted too, the mean over the samples by the weights of their classes."""

    @property
    def stacks(self) -> bool:
        """Whether it can process the samples of several lanes at once, with results for each lane that are
        bit-identical to those of the lane alone: it then accounts for `lanes` wherever the number of samples enters.
        The first axis of its `sides` is that of the samples.
        """
        return False

    @classmethod
    def takes_classes(cls, levels: tuple[int, ...]) -> bool:
        """Whether it treats integer targets with these values as classes, although they could be numbers too."""
        return cls.targets == "classes"

    @classmethod
    def fit(
        cls, outputs: Shape, classes: int | None, target: Shape = (), arguments: Mapping[str, Any] = NO_ARGUMENTS
    ) -> None:
        """Check the network's outputs for a sample against its target, which is a shape, of labels of `classes` classes
        or, if that is None, of numbers; and check the loss's own arguments against both. Raises ShapeError.
        """
        raise NotImplementedError

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """Return the work arrays for outputs of this shape (of one sample)."""
        return NO_ARGUMENTS

    @classmethod
    def takes_weights(cls) -> bool:
        """Whether samples can be weighted: whether `forward` has the argument `weights`."""
        return "weights" in inspect.signature(cls.forward).parameters

    def learns(self, outputs: Shape) -> Mapping[str, Shape]:
        """Return the names and shapes of the arrays of `learn`, each of positive numbers."""
        return {}

    def learn(
        self, targets: NDArray[Any], outputs: Shape, classes: int | None, weights: NDArray[Any] | None = None
    ) -> Mapping[str, NDArray[Any]]:
        """Return what the loss learns from the targets of all training samples, labels of `classes` classes or numbers,
        before training: arrays by name, which `recall` takes. Nothing, unless an argument asks for it. `weights` are
        those of the samples.
        """
        return {}

    def recall(self, learned: Mapping[str, NDArray[Any]]) -> None:
        """Use what was learned before training."""

    def __call__(self, outputs: NDArray[Any], targets: ArrayLike, weights: ArrayLike | None = None) -> float:
        """Return the loss of a batch: the same as `forward`."""
        if weights is None:
            return self.forward(outputs, targets)
        return self.forward(outputs, targets, weights=weights)

    def forward(
        self,
        outputs: NDArray[Any],
        targets: ArrayLike,
        out: NDArray[Any] | None = None,
        weights: ArrayLike | None = None,
    ) -> float:
        """Return the loss. `out`, an array like `outputs` and possibly `outputs` itself, is used as a work array.

        `weights` `(B,)` are those of the samples, or `(B, *places)` those of their positions. A loss of your own may do
        without: it then refuses weighted data.
        """
        raise NotImplementedError

    def backward(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return dL/d(outputs) of the last forward pass; `out` may be the array that forward worked in."""
        raise NotImplementedError

    def weight(self, rows: int) -> float:
        """Return the weight of the last forward pass, of a batch of `rows` samples, in a mean over batches: the sum by
        which its own mean is divided. It is `rows` unless samples or classes are weighted.
        """
        return rows * self._mean_weight

    def values(
        self, outputs: NDArray[Any], targets: ArrayLike, out: NDArray[Any] | None, weights: ArrayLike | None
    ) -> NDArray[Any]:
        """Begin a forward pass on targets of the outputs' shape; return them. Raises ValueError if shapes differ or,
        without `out`, for targets outside `target_range`.
        """
        wanted = np.asarray(targets)
        check_shape(self, outputs, wanted)
        self.weigh(weights, outputs, check=out is None)
        if out is None and wanted.size and self.target_range != Range():
            ends = float(wanted.min()), float(wanted.max())
            if not all(map(self.target_range.holds, ends)):
                raise ValueError(
                    f"{type(self).__name__}: targets are {self.target_range}, not from {ends[0]} to {ends[1]}"
                )
        return wanted

    # Weights of samples. Forward calls `weigh` or `values` first, and sums and divides by `total` and `divided`, or by
    # `mean`; backward passes the gradient of the mean without weights through `weighed`.

    def weigh(self, weights: ArrayLike | None, outputs: NDArray[Any], *, check: bool) -> None:
        """Begin a forward pass with these weights. Raises ValueError, if they are to be checked."""
        self._sample_weights, self._mean_weight = None, 1
        if weights is not None:
            if self.lanes > 1:
                raise ValueError(f"{type(self).__name__}: lanes with weighted samples are computed one by one")
            self._sample_weights = np.asanyarray(weights)  # recordings see what is computed from these
            if check:
                check_weights(self, outputs, self._sample_weights)
            total = np.add.reduce(self._sample_weights, axis=None, dtype=np.float64)
            self._mean_weight = float(total) / self._sample_weights.size

    def weigh_places(self, amounts: NDArray[Any], total: float) -> None:
        """Account for the weight of each position `(B·T,)` by its class, and their sum."""
        if self._sample_weights is not None and total:
            of_weights = amounts.reshape(self._sample_weights.size, -1)
            self._mean_weight = float(np.einsum("bt,b->", of_weights, self._sample_weights.reshape(-1))) / total

    def total(self, values: NDArray[Any]) -> float:
        """Return the sum of contributions to the loss `(B, …)`, which are weighted in place."""
        if self._sample_weights is not None:
            of_weights = values.reshape(self._sample_weights.size, -1)
            np.multiply(of_weights, self._sample_weights.reshape(-1, 1), out=of_weights)
        return number(np.add.reduce(values, axis=None))

    def divided(self, total: float, count: float) -> float:
        """Return a sum divided by what it is divided by without weights, times the mean weight."""
        if self._sample_weights is None:
            return total / count
        return total / (count * self._mean_weight) if self._mean_weight else 0.0

    def weighed(self, grad: NDArray[Any]) -> NDArray[Any]:
        """Turn dL/d(outputs) without weights into that with weights, in place: wᵢ / mean(w) times that of sample i."""
        if self._sample_weights is None:
            return grad
        factors = self.work_array("factors", self._sample_weights.shape, grad.dtype)
        np.multiply(self._sample_weights, 1 / self._mean_weight if self._mean_weight else 0.0, out=factors)
        return np.multiply(grad, factors.reshape(*factors.shape, *(1,) * (grad.ndim - factors.ndim)), out=grad)

    def mean(self, values: NDArray[Any]) -> float:
        """Return the mean of the samples' contributions to the loss; with several lanes, of the lanes' means."""
        if self.lanes == 1:
            return self.divided(self.total(values), values.size)
        rows = values.reshape(self.lanes, -1)
        self.each = [total / rows.shape[1] for total in np.add.reduce(rows, axis=1).tolist()]
        return sum(self.each) / self.lanes

    @classmethod
    def part_names(cls) -> tuple[str, ...]:
        """Return the figures of its parts, as far as its class has several."""
        return ()

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the figures of its parts, if it is a sum of several."""
        return ()

    @property
    def made_of(self) -> tuple[object, ...]:
        """The objects whose last results it reads or whose methods it calls, besides itself."""
        return ()

    def begin(self) -> None:
        """Reset the figures of its parts."""

    def figures(self) -> tuple[float, ...]:
        """Return the figures of its parts, over all samples since `begin`."""
        return ()

    def sides(self) -> NDArray[Any] | None:
        """Which side of each kink the last forward pass was on, as for layers; None for a smooth loss."""
        return None


@dataclass(slots=True)
class Mean:
    """The mean of a loss over batches: Σ w·l / Σ w, with each batch's loss l and weight w (`Loss.weight`).

    It is the loss of all samples taken as one batch, however they are divided into batches. NaN if the total weight is
    0.
    """

    total: float = 0.0
    weight: float = 0.0

    def add(self, loss: float, weight: float) -> None:
        """Add a batch."""
        self.total += loss * weight
        self.weight += weight

    @property
    def value(self) -> float:
        """Σ w·l / Σ w."""
        return self.total / self.weight if self.weight else math.nan


def saved(value: NDArray[Any] | None, loss: Loss) -> NDArray[Any]:
    """Return what forward kept for backward. Raises RuntimeError if forward has not run."""
    if value is None:
        raise RuntimeError(f"{type(loss).__name__}.backward needs a forward pass first")
    return value


def contiguous(out: NDArray[Any] | None, loss: Loss) -> None:
    """Reject an output array that has no flat view. Raises ValueError."""
    if out is not None and not out.flags.c_contiguous:
        raise ValueError(f"{type(loss).__name__}.backward: `out` must be C-contiguous")


# Shapes


def fit_values(loss: type[Loss], outputs: Shape, classes: int | None, target: Shape) -> None:
    """Numbers with the shape of the target, or one output per class, since labels are compared as one-hot rows."""
    name = loss.spec_name
    if classes is None:
        if _without_ones(outputs) != _without_ones(target):
            wanted = (*target, 1) if outputs[:-1] == target else target
            raise ShapeError(
                f"{name} compares {_outputs(outputs)} with targets of {shape_in_words(target) or '1'}",
                help=f"end the model with {layers_towards(outputs, wanted)}",
            )
    elif outputs != (*target, classes):
        raise ShapeError(
            f"{name} compares {classes} classes as one-hot vectors, but the network has {_outputs(outputs)}",
            help=f"end the model with {layers_towards(outputs, (*target, classes))}",
        )


def _outputs(shape: Shape) -> str:
    """Format a number of outputs for messages: `1 output`, `28×28 outputs`."""
    return f"{shape_in_words(shape)} output{'' if shape == (1,) else 's'}"


def _without_ones(shape: Shape) -> Shape:
    return tuple(extent for extent in shape if extent != 1)


def fit_classes(loss: type[Loss], outputs: Shape, classes: int | None, target: Shape, what: str) -> None:
    """A row of at least as many outputs as there are classes, for each position of the target."""
    name = loss.spec_name
    if classes is None:
        raise ShapeError(f"{name} needs classes, but the data has none", help="for regression, use `MSE`")
    if outputs[:-1] != target or not outputs:
        where = f" for each of {shape_in_words(target)} positions" if target else ""
        raise ShapeError(
            f"{name} needs a row of {what}{where}, but the network's outputs are {shape_in_words(outputs)}",
            help=f"end the model with `GlobalAvgPool` and `Linear({classes})`, or keep only the last state of a "
            "recurrent layer: `return_sequences=false`"
            if len(outputs) == 2 and not target
            else f"end the model with {layers_towards(outputs, (*target, classes))}",
        )
    if outputs[-1] < classes:
        raise ShapeError(
            f"the data has {classes} classes, but the network has only {_outputs(outputs[-1:])}",
            help=f"end the model with `Linear({classes})`",
        )


def fit_weights(
    outputs: Shape, arguments: Mapping[str, Any], argument: str = "class_weights", of: str = "class"
) -> None:
    """One weight per output, if an argument is a list of weights."""
    weights = arguments.get(argument)
    if isinstance(weights, (list, tuple)) and len(weights) != outputs[-1]:
        raise ShapeError(
            f"{len(weights)} weight{'s' if len(weights) != 1 else ''} for {_outputs(outputs[-1:])}",
            argument=argument,
            help=f"pass one per {of}",
        )


# Arrays


def check_shape(loss: Loss, outputs: NDArray[Any], wanted: NDArray[Any]) -> None:
    """Reject values of a different shape, instead of broadcasting. Raises ValueError."""
    if wanted.shape != outputs.shape:
        raise ValueError(f"{type(loss).__name__}: outputs have shape {outputs.shape}, targets {wanted.shape}")


def check_weights(loss: Loss, outputs: NDArray[Any], weights: NDArray[Any]) -> None:
    """Reject weights that are not one finite number, at least 0, for each sample or position. Raises ValueError."""
    name = type(loss).__name__
    fits = weights.ndim and weights.shape == outputs.shape[: max(1, min(weights.ndim, outputs.ndim - 1))]
    if not fits or weights.dtype.kind not in "fiub":
        raise ValueError(
            f"{name}: the weights of {outputs.shape[0]} samples are {outputs.shape[0]} numbers"
            f"{f', or {shape_in_words(outputs.shape[:-1])} of their positions' if outputs.ndim > 2 else ''}, "
            f"not {weights.dtype} of shape {weights.shape}"
        )
    if weights.size and not (weights.min() >= 0 and np.isfinite(weights).all()):
        raise ValueError(f"{name}: weights are finite and at least 0, not from {weights.min()} to {weights.max()}")


def check_labels(loss: Loss, outputs: NDArray[Any], labels: NDArray[Any], what: str, *, rows: bool = False) -> None:
    """Reject labels that are not classes of outputs `(B, C)` or `(B, T, C)`. Raises ValueError.

    With `rows`, a row that sums to 1 is allowed in place of each label. A single output distinguishes two classes.
    """
    name = type(loss).__name__
    if outputs.ndim < 2:
        raise ValueError(f"{name}: {what} are (B, C) or (B, T, C), not {outputs.shape}")
    places, classes = outputs.shape[:-1], outputs.shape[-1]
    if rows and labels.ndim == outputs.ndim:
        if labels.shape != outputs.shape:
            raise ValueError(f"{name}: {what} have shape {outputs.shape}, one-hot labels {labels.shape}")
        if not np.allclose(labels.sum(axis=-1), 1):
            raise ValueError(f"{name}: each row of one-hot labels must sum to 1")
        return
    if labels.shape != places or not np.issubdtype(labels.dtype, np.integer):
        otherwise = f" or rows of shape {outputs.shape}" if rows else ""
        raise ValueError(
            f"{name}: labels are {shape_in_words(places)} integers{otherwise}, "
            f"not {labels.dtype} of shape {labels.shape}"
        )
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(f"{name}: labels run from {labels.min()} to {labels.max()}, classes from 0 to {classes - 1}")


def positions(labels: NDArray[Any], classes: int, out: NDArray[Any]) -> NDArray[Any]:
    """The index of row i's label in the flat outputs: i·C + label."""
    return np.add(_starts(len(labels), classes), labels, out=out, casting="unsafe")


@lru_cache(maxsize=64)
def _starts(rows: int, classes: int) -> NDArray[Any]:
    """The index of the first entry of each row in the flat outputs: 0, C, 2·C, …; cached by size, since every batch
    uses it.
    """
    starts: NDArray[Any] = np.arange(0, rows * classes, classes, dtype=np.intp)
    starts.flags.writeable = False
    return starts
