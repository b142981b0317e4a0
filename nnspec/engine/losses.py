"""Losses: how wrong the network's outputs are, as one number, and its gradient with respect to the outputs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Shape, ShapeError, shape_in_words
from nnspec.engine.part import Part
from nnspec.engine.work import Borrower, Work

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["CrossEntropyLoss", "Loss", "MSELoss"]


class Loss(Part, Borrower):
    """Base of the losses: L = mean over the batch, a float; `backward` gives dL/d(outputs)."""

    kind: ClassVar[str] = "loss"
    takes_logits: ClassVar[bool] = False
    """Whether it applies the softmax itself, so that the network's outputs must not be squashed before."""
    targets: ClassVar[Literal["classes", "values"]]
    """What it compares the outputs with: class numbers, or an array of the outputs' shape."""

    @classmethod
    def fit(cls, outputs: Shape, classes: int | None, target: Shape = ()) -> None:
        """Hold the network's outputs for a sample against its target: a shape, of labels of so many classes or, with
        None, of numbers. Raises ShapeError."""
        raise NotImplementedError

    @classmethod
    def work(cls, outputs: Shape) -> Mapping[str, Work]:
        """Return the work arrays for outputs of a shape (of one sample)."""
        return MappingProxyType({})

    def forward(self, outputs: NDArray[Any], targets: ArrayLike, out: NDArray[Any] | None = None) -> float:
        """Return the loss. `out`, an array like `outputs` and possibly `outputs` itself, is used to work in."""
        raise NotImplementedError

    def backward(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return dL/d(outputs) of the last forward pass; `out` may be the array that forward worked in."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class MSELoss(Loss):
    """L = mean (y − t)² over all B·out numbers; dL/dy = 2 (y − t) / (B·out). As PyTorch's default reduction.

    Class numbers as targets mean one-hot rows, when the outputs have as many columns as there are classes.
    """

    spec_name = "MSE"
    also = ("MeanSquaredError", "MSELoss", "L2")
    targets = "values"

    def __init__(self) -> None:
        super().__init__()
        self._difference: NDArray[Any] | None = None

    @classmethod
    def fit(cls, outputs: Shape, classes: int | None, target: Shape = ()) -> None:
        """One output for each class, since class labels are compared as one-hot rows."""
        if classes is not None and outputs != (classes,):
            raise ShapeError(
                f"MSE compares {classes} classes as one-hot rows, and there are {shape_in_words(outputs)} outputs",
                help=f"end the model with `Linear({classes})`",
            )

    @classmethod
    def work(cls, outputs: Shape) -> Mapping[str, Work]:
        """One array for the squares."""
        return {"squares": Work(outputs)}

    def forward(self, outputs: NDArray[Any], targets: ArrayLike, out: NDArray[Any] | None = None) -> float:
        """Mean of the squared differences. Raises ValueError where the shapes differ."""
        wanted = np.asarray(targets)
        if wanted.shape != outputs.shape:
            raise ValueError(f"MSELoss: outputs have shape {outputs.shape}, targets {wanted.shape}")
        self._difference = np.subtract(outputs, wanted, out=out)
        squares = self.work_array("squares", outputs.shape, outputs.dtype)
        np.multiply(self._difference, self._difference, out=squares)
        return float(np.add.reduce(squares, axis=None)) / squares.size

    def backward(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """2 (y − t) / (B·out)."""
        if self._difference is None:
            raise RuntimeError("MSELoss.backward needs a forward pass first")
        return np.multiply(self._difference, 2.0 / self._difference.size, out=out)


class CrossEntropyLoss(Loss):
    """L = mean over B of −log softmax(z)[label], for logits z `(B, C)`; dL/dz = (softmax(z) − onehot) / B.

    Softmax and logarithm are one step, log Σ eᶻ − z[label] with the row's maximum taken off first, so that no
    exponential overflows and no logarithm sees zero. Labels are ints `(B,)`, or rows `(B, C)` that sum to 1 (one-hot).
    As PyTorch's `CrossEntropyLoss`; Keras's takes probabilities unless told `from_logits=True`.
    """

    spec_name = "CrossEntropy"
    also = ("CrossEntropyLoss", "CategoricalCrossentropy", "SparseCategoricalCrossentropy", "SoftmaxCrossEntropy")
    targets = "classes"
    takes_logits = True

    def __init__(self) -> None:
        super().__init__()
        self._softmax: NDArray[Any] | None = None
        self._index: NDArray[Any] | None = None
        self._rows: NDArray[Any] | None = None

    @classmethod
    def fit(cls, outputs: Shape, classes: int | None, target: Shape = ()) -> None:
        """A row of at least as many logits as there are classes."""
        if classes is None:
            raise ShapeError("CrossEntropy needs classes, and the data has none", help="a regression takes `MSE`")
        if len(outputs) != 1:
            raise ShapeError(
                f"CrossEntropy takes a row of logits, and the network's outputs are {shape_in_words(outputs)}",
                help=f"end the model with `Flatten` and `Linear({classes})`",
            )
        if outputs[0] < classes:
            raise ShapeError(
                f"the data has {classes} classes, and the network only {outputs[0]} outputs",
                help=f"end the model with `Linear({classes})`",
            )

    @classmethod
    def work(cls, outputs: Shape) -> Mapping[str, Work]:
        """The softmax with a column a sample, two numbers a sample, and where each label stands in the flat logits."""
        return {
            "columns": Work(outputs, saved=True),
            "sums": Work(()),
            "picked": Work(()),
            "index": Work((), "index", saved=True),
        }

    def forward(self, outputs: NDArray[Any], targets: ArrayLike, out: NDArray[Any] | None = None) -> float:
        """Mean negative log-likelihood of the labels. Raises ValueError for labels that are no classes.

        With `out` the labels are trusted to be ints in range, because whoever owns the arrays has checked them once.
        """
        labels = np.asarray(targets)
        if out is None:
            _check_labels(outputs, labels)
        batch, classes = outputs.shape
        # Transposed, so that maxima and sums over the classes run along the batch, many samples at a time.
        columns = self.work_array("columns", outputs.shape, outputs.dtype).reshape(classes, batch)
        sums = self.work_array("sums", (batch,), outputs.dtype)
        picked = self.work_array("picked", (batch,), outputs.dtype)
        np.copyto(columns, outputs.T)
        np.maximum.reduce(columns, axis=0, out=sums)
        np.subtract(columns, sums, out=columns)
        if labels.ndim == 1:
            self._rows, self._index = None, self._positions(labels, classes)
            # mode="clip" because the default buffers `out`; every position is in range.
            outputs.reshape(-1).take(self._index, out=picked, mode="clip")
            np.subtract(picked, sums, out=picked)
        else:
            self._rows, self._index = labels, None
            np.einsum("cb,bc->b", columns, labels, out=picked)
        np.exp(columns, out=columns)
        np.add.reduce(columns, axis=0, out=sums)
        self._softmax = np.divide(columns, sums, out=columns)
        np.log(sums, out=sums)
        np.subtract(sums, picked, out=sums)
        return float(np.add.reduce(sums)) / batch

    def backward(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """(softmax − onehot) / B. Raises ValueError for an `out` that is not C-contiguous."""
        if self._softmax is None:
            raise RuntimeError("CrossEntropyLoss.backward needs a forward pass first")
        if out is not None and not out.flags.c_contiguous:
            raise ValueError("CrossEntropyLoss.backward: `out` must be C-contiguous")
        share = 1.0 / self._softmax.shape[1]
        # C order, because the flat view below must be a view.
        grad = np.multiply(self._softmax.T, share, out=out, order="C")
        if self._index is None:
            assert self._rows is not None, "labels are either positions or rows"
            return np.subtract(grad, self._rows * share, out=grad)
        flat = grad.reshape(-1)
        picked = self.work_array("picked", self._index.shape, grad.dtype)
        flat.take(self._index, out=picked, mode="clip")
        np.subtract(picked, share, out=picked)
        flat.put(self._index, picked, mode="clip")
        return grad

    def _positions(self, labels: NDArray[Any], classes: int) -> NDArray[Any]:
        """Where row i's label stands in the flat logits: i·C + label. The running sum of C, C, … counts the rows."""
        index = self.work_array("index", labels.shape, np.intp)
        index.fill(classes)
        np.add.accumulate(index, out=index)
        np.subtract(index, classes, out=index)
        return np.add(index, labels, out=index, casting="unsafe")


def _check_labels(logits: NDArray[Any], labels: NDArray[Any]) -> None:
    if logits.ndim != 2:
        raise ValueError(f"CrossEntropyLoss: logits are (B, C), not {logits.shape}")
    batch, classes = logits.shape
    if labels.ndim == 2:
        if labels.shape != logits.shape:
            raise ValueError(f"CrossEntropyLoss: logits have shape {logits.shape}, one-hot labels {labels.shape}")
        if not np.allclose(labels.sum(axis=1), 1):
            raise ValueError("CrossEntropyLoss: each row of one-hot labels must sum to 1")
        return
    if labels.shape != (batch,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"CrossEntropyLoss: labels are {batch} integers or rows of shape {logits.shape}, "
            f"not {labels.dtype} of shape {labels.shape}"
        )
    if batch and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(
            f"CrossEntropyLoss: labels run from {labels.min()} to {labels.max()}, classes from 0 to {classes - 1}"
        )
