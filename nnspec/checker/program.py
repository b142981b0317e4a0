"""What a spec means: frozen, resolved, every value with where it came from. The rooms behind see only this."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar, cast

from nnspec.data.source import DataSource, Facts
from nnspec.diagnostics import Source, Span
from nnspec.engine.augmentations import Augmentation
from nnspec.engine.layers.contract import Geometry, Shape
from nnspec.engine.part import Also, BareWord, Count, Part, Positive, Range, TensorName
from nnspec.engine.penalties import Constraint, Penalty
from nnspec.engine.stopping import Stopping
from nnspec.engine.validation import Fold, Folds, Validation, share_of

if TYPE_CHECKING:
    from nnspec.engine.layers.contract import Layer
    from nnspec.engine.losses.contract import Loss
    from nnspec.engine.metrics.contract import Metric
    from nnspec.engine.optimizers.contract import Optimizer

__all__ = [
    "Bound",
    "Branch",
    "Case",
    "Choice",
    "Expectation",
    "Experiment",
    "Figure",
    "LayerNode",
    "Number",
    "Operation",
    "Origin",
    "PartValue",
    "Program",
    "Swept",
    "TrainSettings",
    "Use",
    "input_as_target",
]


@dataclass(frozen=True)
class Origin:
    """Where a value came from: its characters, and what put it there (`""`, "lane `wide`", "`--set`", "default")."""

    span: Span
    via: str = ""


@dataclass(frozen=True)
class Bound:
    """A value and its origin."""

    value: Any
    origin: Origin


P_co = TypeVar("P_co", bound=Part, covariant=True)
K = TypeVar("K", bound=Part)


@dataclass(frozen=True)
class PartValue(Generic[P_co]):
    """A part of a kind with its arguments, not made yet. Arguments that were not given are not in `arguments`."""

    part: type[P_co]
    arguments: Mapping[str, Bound]
    origin: Origin

    @property
    def name(self) -> str:
        """The part's name in a spec."""
        return self.part.spec_name

    def values(self) -> dict[str, Any]:
        """Return the value of every argument, defaults included; None for one that is still to be inferred."""
        given = {name: bound.value for name, bound in self.arguments.items()}
        return {a.name: given.get(a.name, a.default) for a in self.part.signature()}

    def of(self, kind: type[K]) -> PartValue[K]:
        """Return it as what it is: the value of a part of a kind. Raises TypeError for a part of another one."""
        self.part.as_kind(kind)
        return cast("PartValue[K]", self)

    def make(self, **more: Any) -> P_co:
        """Make the part."""
        return self.part(**{name: bound.value for name, bound in self.arguments.items()} | more)

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={_in_words(bound.value)}" for name, bound in self.arguments.items())
        return f"{self.name}({arguments})" if arguments else self.name


def _in_words(value: object) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else repr(value)


@dataclass(frozen=True)
class TrainSettings:
    """The settings of `train`. Their annotations are what the checker knows of them."""

    epochs: Annotated[Count, Also("num_epochs", "n_epochs", "max_epochs", "max_iter")] = 10
    """How often the training data is gone through."""
    batch: Annotated[Count, Also("batch_size", "minibatch")] = 32
    """Samples a step."""
    shuffle: bool = True
    """Whether every epoch has its own order."""
    drop_last: bool = False
    """Whether a last batch that is not full is left out."""
    validation: Annotated[
        float | Validation,
        Range(low=0, high=1, open_high=True),
        Also("validation_split", "val_split", "validation_data", "cv", "cross_validation"),
    ] = 0.0
    """Which training samples are held out, never trained on and measured after every epoch: a share of them, drawn at
    random, or as a rule says."""
    early_stop: Annotated[Stopping | None, Also("early_stopping", "callbacks")] = None
    """When training stops before its time."""
    clip_norm: Annotated[Positive | None, Also("max_norm", "clipnorm", "global_clipnorm", "max_grad_norm")] = None
    """The most that the L2 norm of all gradients together may be."""
    clip_value: Annotated[Positive | None, Also("clipvalue", "max_grad_value")] = None
    """The most that the size of each entry of the gradients may be; applied before `clip_norm`."""
    repeats: Annotated[Count, Also("runs", "n_repeats", "num_repeats", "n_runs")] = 1
    """How often a lane is trained, each time with the next seed."""
    stratify: Annotated[bool, Also("stratified")] = False
    """Whether the samples held out have every class in its share."""
    target: Annotated[Literal["labels", "input"], Also("targets", "label")] = BareWord("labels")  # type: ignore[assignment]
    """What the loss compares with: what the data tells of a sample, or the sample itself."""
    standardise: Annotated[bool, Also("standardize", "normalise", "normalize", "scale")] = False
    """Whether every feature is shifted and scaled to mean 0 and standard deviation 1, as the training samples tell."""
    standardise_target: Annotated[
        bool,
        Also("standardize_target", "standardise_targets", "scale_target", "normalise_target", "normalize_target"),
    ] = False
    """Whether the loss compares targets that are shifted and scaled to mean 0 and standard deviation 1."""
    augment: Annotated[
        Augmentation | tuple[Augmentation, ...] | None, Also("augmentation", "augmentations", "transform", "transforms")
    ] = None
    """How training samples are varied every time that they are met."""

    penalty: Annotated[
        Penalty | tuple[Penalty, ...] | None,
        Also("regularizer", "regularization", "kernel_regularizer", "weight_regularizer", "penalties"),
    ] = None
    """What is added to the training loss for large weights."""
    freeze: Annotated[
        TensorName | tuple[TensorName, ...] | None,
        Also("frozen", "frozen_layers", "freeze_layers"),
    ] = None
    """What is not trained."""
    constraint: Annotated[Constraint | None, Also("kernel_constraint", "constraints", "weight_constraint")] = None
    """What weights are held to after every step."""
    sample: Annotated[int | None, Range(low=0, high=100_000), Also("generate", "max_new_tokens", "sample_length")] = (
        None
    )
    """How many characters the trained network writes at the end; none is 400 where it learns a text."""
    temperature: Annotated[float, Range(low=0)] = 0.8
    """How freely it writes: 1 draws characters as the network gives them odds, less keeps to the likelier ones, and 0
    takes the likeliest."""

    def __post_init__(self) -> None:
        """Keep lists as tuples, since settings are frozen."""
        for name in ("augment", "penalty", "freeze"):
            if isinstance(getattr(self, name), (list, tuple)):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        frozen = self.freeze
        object.__setattr__(self, "freeze", (frozen,) if isinstance(frozen, str) else frozen or None)

    @property
    def penalties(self) -> tuple[Penalty, ...]:
        """What is added to the training loss."""
        return self.penalty if isinstance(self.penalty, tuple) else (self.penalty,) if self.penalty else ()

    @property
    def augmentations(self) -> tuple[Augmentation, ...]:
        """How samples are varied, one way after another."""
        return self.augment if isinstance(self.augment, tuple) else (self.augment,) if self.augment else ()

    @property
    def prepares(self) -> bool:
        """Whether samples enter the network otherwise than the data has them."""
        return self.standardise or bool(self.augmentations)

    @property
    def trainings(self) -> int:
        """How often a lane is trained: for each repeat, once or for each fold."""
        return self.repeats * (self.validation.trainings if isinstance(self.validation, Validation) else 1)

    def held_out(self, samples: int, given: int = 0) -> int:
        """Return how many of `samples` training samples are held out, at most, where folds differ. The data itself
        gives `given` of them, the last.

        A share is rounded (a half to even). It is at least one, and leaves at least one to train on; none where nothing
        is asked for. Raises ValueError where there are not enough samples for that.
        """
        return self._held_out(samples, given)[1]

    def trained_on(self, samples: int, given: int = 0) -> int:
        """Return how many of the training samples are trained on, at most."""
        return samples - self._held_out(samples, given)[0]

    def _held_out(self, samples: int, given: int) -> tuple[int, int]:
        if isinstance(self.validation, Validation):
            return self.validation.held_out(samples, given)
        count = share_of(self.validation, samples) if self.validation else 0
        return count, count


def input_as_target(facts: Facts, outputs: Shape) -> Shape:
    """Return the shape in which outputs are compared with the sample itself: their own, where that holds as many."""
    return outputs if prod(outputs) == facts.features else (facts.features,)


Seed = Annotated[int, Range(low=0, high=2**63 - 1)]


@dataclass(frozen=True)
class Choice:
    """One alternative of `data`, made, with its facts."""

    value: PartValue[DataSource]
    source: DataSource
    facts: Facts
    as_classes: bool = False
    """Whether targets that the source gives as numbers are classes here, since the loss takes such."""


@dataclass(frozen=True)
class Use:
    """A block that was opened in a model: its name there, and what its parameters are."""

    name: str
    block: str
    parameters: Mapping[str, Bound]
    origin: Origin


@dataclass(frozen=True)
class LayerNode:
    """A layer in its place: what arrives is `incoming`, what leaves is `geometry.out`."""

    name: str
    value: PartValue[Layer]
    incoming: Shape
    geometry: Geometry

    shared: str = ""
    """Its name with the labels of repeated layers and blocks as they are written: `h.Linear1` for `h2.Linear1`."""
    branches: tuple[Branch, ...] = ()
    """What a composition (residual, add, concat) is made of; no branches for every other layer."""
    uses: tuple[Use, ...] = ()
    """The blocks that it comes out of, outermost first."""

    @property
    def span(self) -> Span:
        """Where the layer stands in the spec."""
        return self.value.origin.span

    def arguments(self) -> dict[str, Any]:
        """Return every argument's value, inferred ones included."""
        return self.value.values() | dict(self.geometry.inferred)

    def walk(self) -> Iterator[LayerNode]:
        """Go through this layer and all that it is made of, each before those inside it."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed([inner for branch in node.branches for inner in branch.layers]))


@dataclass(frozen=True)
class Branch:
    """One chain of layers inside a composition: a residual's `body` and `shortcut`, or a branch by its own name."""

    name: str
    layers: tuple[LayerNode, ...]


@dataclass(frozen=True)
class Swept:
    """A setting that a sweep gives a value."""

    setting: str
    """`optimizer.lr`."""
    text: str
    """The value, as written."""
    exact: str
    """The same so that `--set` comes to the same value, to the last bit."""
    lane: str = ""
    """The lane that alone is swept; "" where all are."""


@dataclass(frozen=True)
class Experiment:
    """One lane: everything that one training run depends on."""

    name: str
    seed: int
    dtype: str
    data: tuple[Choice, ...]
    layers: tuple[LayerNode, ...]
    loss: PartValue[Loss]
    optimizer: PartValue[Optimizer]
    metrics: tuple[PartValue[Metric], ...]
    train: TrainSettings
    lane: str = ""
    """The lane's own name; with a sweep, several experiments share one, each at a point of its own."""
    swept: tuple[Swept, ...] = ()
    """What a sweep sets here."""
    model: str = ""
    """The name of its model; "" for one without."""
    by_name: Mapping[str, float] = field(default_factory=dict)
    """What is said of layers and kinds of parameters by their names: `train.lr_factor.h1`; see `tensors`."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """Where each setting that was given comes from: `seed`, `train.epochs`, `optimizer` …"""
    lets: Mapping[str, Bound] = field(default_factory=dict)
    """The value of each `let`, and where it comes from."""

    @property
    def point(self) -> dict[str, str]:
        """What a sweep sets here, as written: setting -> value."""
        return {swept.setting: swept.text for swept in self.swept}

    @property
    def facts(self) -> Facts:
        """Facts of the data, on which all alternatives agree but for their counts."""
        return self.data[0].facts

    def training(self, number: int) -> Experiment:
        """Return one of its trainings, from 0: each has the next seed, and of folds, the next one held out."""
        if not number and not isinstance(self.train.validation, Folds):
            return self
        train = self.train
        if isinstance(train.validation, Folds):
            train = replace(train, validation=Fold(train.validation, number % train.validation.k))
        return replace(self, seed=self.seed + number, train=train)

    @property
    def classes(self) -> int | None:
        """How many classes the targets have that the loss compares with; None where they are numbers."""
        return None if self.train.target == "input" else self.facts.classes

    @property
    def target(self) -> Shape:
        """Shape of one sample's target that the loss compares with."""
        return input_as_target(self.facts, self.outputs) if self.train.target == "input" else self.facts.target

    @property
    def outputs(self) -> Shape:
        """Shape of the network's output for one sample."""
        return self.layers[-1].geometry.out

    @property
    def shapes(self) -> str:
        """The chain of widths: `784 → 64 → 32 → 10`."""
        widths = [self.layers[0].incoming, *(node.geometry.out for node in self.layers if node.geometry.parameters)]
        return " → ".join("×".join(map(str, shape)) for shape in widths)


# Expectations: a small language of numbers, figures and operations, the same for what is proved before a run and after.


@dataclass(frozen=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True)
class Figure:
    """A figure of a lane, such as `loss` or `epochs_to(loss=0.1)`."""

    lane: str
    name: str
    target: float | None = None


@dataclass(frozen=True)
class Operation:
    """An operator and its operands."""

    operator: str
    operands: tuple[Node, ...]


Node = Number | Figure | Operation
Look = Callable[[Figure], float]


@dataclass(frozen=True)
class Case:
    """An expectation for one lane, or for those lanes that it names itself (`lane` None)."""

    lane: str | None
    node: Node

    def figures(self) -> tuple[Figure, ...]:
        """Return every figure that it speaks of."""
        found: list[Figure] = []
        stack: list[Node] = [self.node]
        while stack:
            node = stack.pop()
            if isinstance(node, Figure):
                found.append(node)
            elif isinstance(node, Operation):
                stack.extend(reversed(node.operands))
        return tuple(found)


@dataclass(frozen=True)
class Expectation:
    """A statement that must hold, once for each of its cases."""

    text: str
    span: Span
    cases: tuple[Case, ...]
    about: str
    """What it takes to judge it: the `program`, the `calculus`, or the `outcome`."""


@dataclass(frozen=True)
class Program:
    """A spec: its lanes and what must hold of them."""

    path: str
    title: str
    text: str
    """The spec as it was read."""
    lanes: tuple[Experiment, ...]
    expectations: tuple[Expectation, ...]
    overrides: tuple[str, ...] = ()
    """What was given with `--set`, as written."""
    models: tuple[Experiment, ...] = ()
    """Models that no lane trains and an expectation speaks of, each with the settings of the base."""
    files: tuple[Source, ...] = ()
    """What was read: the imports and, last, the spec."""
    import_names: Mapping[str, str] = field(default_factory=dict)
    """Every name that an import goes by -> the name of its file in `files`."""
    looked: tuple[tuple[PartValue[DataSource], Facts], ...] = ()
    """The data sources that look at files, and what these came to."""
