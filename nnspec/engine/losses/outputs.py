"""The loss of a network with several outputs, and metrics of one of them."""

from __future__ import annotations

import copy
import copyreg
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, cast

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Shape, ShapeError
from nnspec.engine.losses.composed import Parts
from nnspec.engine.losses.contract import NO_ARGUMENTS, Loss
from nnspec.engine.metrics.contract import Metric
from nnspec.engine.part import Argument, Range, Signature
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["LossOfOutputs", "MetricOfOutput", "Output", "loss_of_outputs", "metric_of_output"]


@dataclass(frozen=True)
class Output:
    """One of several outputs: its range of the row of all outputs, and that of its target in the row of all targets."""

    name: str
    start: int
    stop: int
    shape: Shape
    """The shape in which losses and metrics take it."""
    target_start: int
    target_stop: int
    target: Shape
    """The shape of its target; () for a label or a single number."""
    classes: int | None
    """How many classes its labels have; None for numbers."""
    class_names: tuple[str, ...] = ()
    """The names of these classes; empty if they are numbers from 0 on."""

    def of(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return the view of this output in the row of all, `(B, N) -> (B, *shape)`."""
        return outputs[:, self.start : self.stop].reshape(len(outputs), *self.shape)

    def target_of(self, targets: NDArray[Any], shape: Shape) -> NDArray[Any]:
        """Return the view of its target in the row of all, `(B, M) -> (B, *shape)`."""
        return targets[:, self.target_start : self.target_stop].reshape(len(targets), *shape)

    def work(self, *, labels: bool, saved: bool) -> dict[str, Work]:
        """Return the arrays that hold the output and its target while a loss or a metric uses them; a loss has them
        from forward to backward.
        """
        target = Work(self.target, "index", saved) if labels else Work(self.shape, saved=saved)
        return {"outputs": Work(self.shape, saved=saved), "target": target}


class _Made(type):
    """The class of classes that are made from outputs; they are pickled as the call that makes them."""

    made_by: tuple[Any, ...]


copyreg.dispatch_table[_Made] = lambda cls: cls.made_by


class LossOfOutputs(Parts):
    """L = Σ w · the loss of each output, for rows of outputs `(B, N)` and of targets `(B, M)`.

    Each output and each target is a range of its row. dL/d(outputs) is the row of w times each loss's gradient.
    `figures` are the losses of the outputs, without weights, over the samples since `begin`.
    """

    targets = "classes"  # compared with the data's targets as they are
    fields: ClassVar[tuple[Output, ...]] = ()

    def __init__(self, **arguments: Any) -> None:
        names = [field.name for field in self.fields]
        self._losses: dict[str, Loss] = {name: copy.deepcopy(arguments[name]) for name in names}
        self._factors = {name: float(arguments.get(f"{name}_weight", 1.0)) for name in names}
        self._count(self.part_names())
        self._rows = 0
        self._dtype: Any = None

    @classmethod
    def signature(cls) -> Signature:  # type: ignore[override]
        """A loss for each output, and its weight."""
        found = []
        for field in cls.fields:
            found.append(Argument(field.name, Loss, None, (), False, True, True, None))
        for field in cls.fields:
            found.append(Argument(f"{field.name}_weight", float, Range(low=0), (), False, False, True, 1.0))
        return Signature(tuple(found))

    @classmethod
    def fit(
        cls, outputs: Shape, classes: int | None, target: Shape = (), arguments: Mapping[str, Any] = NO_ARGUMENTS
    ) -> None:
        """Every output and its target fit its loss. Raises ShapeError, naming the output."""
        for field in cls.fields:
            loss = arguments[field.name]
            try:
                type(loss).fit(field.shape, field.classes, field.target, loss.arguments())
            except ShapeError as error:
                message = f"output `{field.name}`: {error}"
                raise ShapeError(message, argument=field.name, label=error.label, help=error.help) from None

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """Each output with its target, and the work arrays of its loss."""
        found: dict[str, Work] = {}
        for field in cls.fields:
            loss = arguments[field.name]
            own = type(loss).work(field.shape, loss.arguments())
            if loss.takes_weights():
                own = {**own, "factors": Work(())}
            own = {**own, **field.work(labels=loss.targets == "classes", saved=True)}
            found |= {f"{field.name}.{name}": array for name, array in own.items()}
        return found

    def lend(self, work: Mapping[str, NDArray[Any]]) -> None:
        """Pass on the work arrays of each loss."""
        super().lend(work)
        for name, loss in self._losses.items():
            loss.lend({word.removeprefix(f"{name}."): a for word, a in work.items() if word.startswith(f"{name}.")})

    def learns(self, outputs: Shape) -> Mapping[str, Shape]:
        """What each loss learns, by `output.name`."""
        each = ((field, self._losses[field.name].learns(field.shape)) for field in self.fields)
        return {f"{field.name}.{name}": shape for field, learned in each for name, shape in learned.items()}

    def learn(
        self, targets: NDArray[Any], outputs: Shape, classes: int | None, weights: NDArray[Any] | None = None
    ) -> Mapping[str, NDArray[Any]]:
        """What each loss learns, by `output.name`."""
        found: dict[str, NDArray[Any]] = {}
        for field in self.fields:
            own = field.target_of(targets, field.target)
            own = own.astype(np.intp) if field.classes is not None else own
            learned = self._losses[field.name].learn(own, field.shape, field.classes, weights)
            found |= {f"{field.name}.{name}": array for name, array in learned.items()}
        return found

    def recall(self, learned: Mapping[str, NDArray[Any]]) -> None:
        """Let each loss use what it learned."""
        for name, loss in self._losses.items():
            own = {word.removeprefix(f"{name}."): a for word, a in learned.items() if word.startswith(f"{name}.")}
            loss.recall(own)

    @classmethod
    def part_names(cls) -> tuple[str, ...]:
        """The losses of the outputs."""
        return tuple(f"{field.name}_loss" for field in cls.fields)

    @property
    def made_of(self) -> tuple[object, ...]:
        """The losses of the outputs."""
        return tuple(self._losses.values())

    def _parts(self, outputs: NDArray[Any], targets: NDArray[Any]) -> Iterator[tuple[Output, Loss, Any, Any]]:
        """Yield each output and its loss, with contiguous copies of output and target."""
        for field in self.fields:
            loss, prefix = self._losses[field.name], field.name
            y = self.work_array(f"{prefix}.outputs", (len(outputs), *field.shape), outputs.dtype)
            np.copyto(y, field.of(outputs))
            labels = loss.targets == "classes"
            shape, dtype = (field.target, np.intp) if labels else (field.shape, outputs.dtype)
            t = self.work_array(f"{prefix}.target", (len(outputs), *shape), dtype)
            if not labels and prod(shape) != prod(field.target):  # labels as one-hot rows
                np.equal(field.target_of(targets, (*field.target, 1)), np.arange(shape[-1]), out=t, casting="unsafe")
            else:
                np.copyto(t, field.target_of(targets, shape), casting="unsafe")
            yield field, loss, y, t

    def forward(
        self,
        outputs: NDArray[Any],
        targets: ArrayLike,
        out: NDArray[Any] | None = None,
        weights: ArrayLike | None = None,
    ) -> float:
        """Return Σ w · the loss of each output, and count each of them for its figure."""
        rows = len(outputs)
        self._rows, self._dtype = rows, outputs.dtype
        self.weigh(weights, outputs, check=out is None)
        total: Any = 0.0
        for field, loss, y, t in self._parts(outputs, np.asarray(targets)):
            worked_in = None if out is None else y
            value = loss.forward(y, t, worked_in) if weights is None else loss.forward(y, t, worked_in, weights=weights)
            self._add(f"{field.name}_loss", value, loss.weight(rows))
            total = total + self._factors[field.name] * value
        return total

    def backward(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the row of the gradients, each times its weight."""
        width = self.fields[-1].stop
        whole = np.empty((self._rows, width), self._dtype) if out is None else out
        for field in self.fields:
            loss = self._losses[field.name]
            own = self.work_array(f"{field.name}.outputs", (self._rows, *field.shape), whole.dtype)
            grad = loss.backward(own)
            np.multiply(grad, self._factors[field.name], out=field.of(whole))
        return whole

    def sides(self) -> NDArray[Any] | None:
        """The sides of all losses, one after another."""
        found = [side.reshape(-1) for loss in self._losses.values() if (side := loss.sides()) is not None]
        return np.concatenate(found) if found else None


class MetricOfOutput(Metric):
    """A metric of one of several outputs, for rows of outputs `(B, N)` and of targets `(B, M)`."""

    field: ClassVar[Output]
    inner: ClassVar[type[Metric]]

    def __init__(self, **arguments: Any) -> None:
        self.metric = self.inner(**arguments)

    @classmethod
    def signature(cls) -> Signature:  # type: ignore[override]
        """The arguments of the metric."""
        return cls.inner.signature()

    @classmethod
    def fit(
        cls, outputs: Shape, classes: int | None, target: Shape = (), arguments: Mapping[str, Any] = NO_ARGUMENTS
    ) -> None:
        """The output and its target fit the metric."""
        cls.inner.fit(cls.field.shape, cls.field.classes, cls.field.target, arguments)

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """The output with its target, and the work arrays of the metric."""
        own = cls.inner.work(cls.field.shape, arguments)
        return {f"inner.{name}": array for name, array in own.items()} | cls.field.work(
            labels=cls.field.classes is not None, saved=False
        )

    def lend(self, work: Mapping[str, NDArray[Any]]) -> None:
        """Pass on the work arrays of the metric."""
        super().lend(work)
        self.metric.lend({name.removeprefix("inner."): a for name, a in work.items() if name.startswith("inner.")})

    def begin(self) -> None:
        """Reset."""
        self.metric.begin()

    def add(self, outputs: NDArray[Any], targets: NDArray[Any]) -> None:
        """Add the output and its target in a batch."""
        field, labels = self.field, self.field.classes is not None
        y = self.work_array("outputs", (len(outputs), *field.shape), outputs.dtype)
        np.copyto(y, field.of(outputs))
        shape, dtype = (field.target, np.intp) if labels else (field.shape, outputs.dtype)
        t = self.work_array("target", (len(outputs), *shape), dtype)
        np.copyto(t, field.target_of(targets, shape), casting="unsafe")
        self.metric.add(y, t)

    def result(self) -> Any:
        """Return the figure, or the table."""
        return self.metric.result()


@functools.cache
def loss_of_outputs(fields: tuple[Output, ...]) -> type[LossOfOutputs]:
    """Return the class of losses of these outputs."""
    made = _Made("LossOfOutputs", (LossOfOutputs,), {"fields": fields, "__module__": __name__})
    made.spec_name, made.made_by = "outputs", (loss_of_outputs, (fields,))  # type: ignore[attr-defined]
    return made  # type: ignore[return-value]


def metric_of_output(field: Output, inner: type[Metric]) -> type[MetricOfOutput]:
    """Return the class of a metric of this output; its figure is `output_metric`."""
    made: type[MetricOfOutput] = _metrics_made(field, cast("Any", inner))
    return made


@functools.cache
def _metrics_made(field: Output, inner: Any) -> type[MetricOfOutput]:
    same = ("needs_classes", "takes_labels", "keeps_scores", "needs_numbers", "percent", "higher_is_better", "tallies")
    more = {name: getattr(inner, name) for name in (*same, "is_figure")}
    made = _Made("MetricOfOutput", (MetricOfOutput,), {**more, "field": field, "inner": inner, "__module__": __name__})
    made.spec_name = f"{field.name}_{inner.spec_name}"  # type: ignore[attr-defined]
    made.made_by = (metric_of_output, (field, inner))
    return made  # type: ignore[return-value]
