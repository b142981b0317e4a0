"""The resolved program of a spec: immutable, and every value with its origin. All later stages see only this."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar, cast

from nnspec.data.source import DataSource, Facts, Field
from nnspec.data.weights import Weights, WeightsFacts
from nnspec.diagnostics import Source, Span
from nnspec.engine.augmentations import Augmentation, Mixing
from nnspec.engine.averaging import WeightAverage
from nnspec.engine.initializers import Initializer
from nnspec.engine.layers.contract import Geometry, Mask, Shape
from nnspec.engine.length import Length
from nnspec.engine.part import Also, BareWord, Count, FigureName, FilePath, Part, Positive, Range, TensorName
from nnspec.engine.penalties import Constraint, Penalty
from nnspec.engine.scalers import Scaler, scalers_of
from nnspec.engine.searches import HaltonSearch, Search
from nnspec.engine.sharpness import SAM
from nnspec.engine.spaces import Space
from nnspec.engine.stopping import Stopping
from nnspec.engine.validation import Fold, Folds, Last, Validation, share_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.engine.layers.contract import Layer
    from nnspec.engine.losses.contract import Loss
    from nnspec.engine.metrics.contract import Metric
    from nnspec.engine.optimizers.contract import Optimizer

__all__ = [
    "INPUT",
    "Bound",
    "Branch",
    "Case",
    "Choice",
    "Expectation",
    "Experiment",
    "Figure",
    "Initial",
    "LayerNode",
    "LoadedTensor",
    "Number",
    "Operation",
    "Origin",
    "PartValue",
    "Program",
    "Swept",
    "TrainSettings",
    "Trial",
    "TuneSettings",
    "Tuning",
    "Use",
    "input_as_target",
]


INPUT = "input"
"""The name of the sample itself among the values of a model, unless a layer has it."""


@dataclass(frozen=True)
class Origin:
    """The origin of a value: its span and its source (`""`, "lane `wide`", "`--set`", "default")."""

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
    """A part and its arguments, before it is built. `arguments` contains only those given in the spec."""

    part: type[P_co]
    arguments: Mapping[str, Bound]
    origin: Origin

    @property
    def name(self) -> str:
        """The part's name in a spec."""
        return self.part.spec_name

    def values(self) -> dict[str, Any]:
        """Return the value of every argument, including defaults; None for one that has not been inferred yet."""
        given = {name: bound.value for name, bound in self.arguments.items()}
        return {a.name: given.get(a.name, a.default) for a in self.part.signature()}

    def of(self, kind: type[K]) -> PartValue[K]:
        """Return it typed as the value of a part of a kind. Raises TypeError if it is a part of another kind."""
        self.part.as_kind(kind)
        return cast("PartValue[K]", self)

    def make(self, **more: Any) -> P_co:
        """Build the part."""
        return self.part(**{name: bound.value for name, bound in self.arguments.items()} | more)

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={_in_words(bound.value)}" for name, bound in self.arguments.items())
        return f"{self.name}({arguments})" if arguments else self.name


def _in_words(value: object) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else repr(value)


@dataclass(frozen=True)
class TrainSettings:
    """The settings of `train`. The checker reads their annotations."""

    epochs: Annotated[Count, Also("num_epochs", "n_epochs", "max_epochs")] = 10
    """Number of passes over the training data."""
    steps: Annotated[Count | None, Also("max_steps", "iterations", "total_steps", "num_steps", "train_steps")] = None
    """Number of optimizer steps; it replaces `epochs`, and training may end within an epoch."""
    record: Annotated[
        Count | None, Also("eval_steps", "eval_every", "test_interval", "eval_interval", "val_check_interval")
    ] = None
    """Number of steps after which figures are measured and recorded; by default those of an epoch."""
    batch: Annotated[Count, Also("batch_size", "minibatch")] = 32
    """Samples per step."""
    shuffle: Annotated[bool | Literal["once"], Also("reshuffle_each_iteration")] = True
    """Whether samples are shuffled anew in every epoch, or once, into an order that all epochs repeat."""
    drop_last: bool = False
    """Whether to drop the last batch if it is incomplete."""
    carry_state: Annotated[bool, Also("stateful", "truncated_bptt", "tbptt", "keep_state", "carry_hidden")] = False
    """Whether each row of a batch continues the same row of the previous one, in recurrent layers."""
    validation: Annotated[
        float | Validation,
        Range(low=0, high=1, open_high=True),
        Also("validation_split", "val_split", "validation_data", "cv", "cross_validation"),
    ] = 0.0
    """Training samples held out for validation, which is measured after every epoch: a random fraction, or as a rule
    says."""
    early_stop: Annotated[Stopping | None, Also("early_stopping", "callbacks")] = None
    """When to stop training early."""
    clip_norm: Annotated[Positive | None, Also("max_norm", "clipnorm", "global_clipnorm", "max_grad_norm")] = None
    """Maximum L2 norm of all gradients together."""
    clip_value: Annotated[Positive | None, Also("clipvalue", "max_grad_value")] = None
    """Maximum absolute value of each gradient entry; applied before `clip_norm`."""
    accumulate: Annotated[
        Count,
        Also("gradient_accumulation_steps", "accumulate_grad_batches", "accumulation_steps", "iter_size"),
    ] = 1
    """Batches per step: the step follows the mean of their gradients."""
    average: Annotated[
        WeightAverage | None,
        Also("averaging", "use_ema", "ema", "swa", "lookahead", "model_averaging", "weight_averaging"),
    ] = None
    """The average of weights that is evaluated and kept; with `lookahead`, training continues with it."""
    sharpness: Annotated[
        SAM | None,
        Also("sam", "sharpness_aware", "rho"),
    ] = None
    """Where gradients are taken instead of at the weights themselves."""
    repeats: Annotated[Count, Also("runs", "n_repeats", "num_repeats", "n_runs")] = 1
    """Number of trainings of each lane, each with the next seed."""
    stratify: Annotated[bool, Also("stratified")] = False
    """Whether held-out samples keep the proportions of the classes."""
    balance: Annotated[
        bool,
        Also("oversample", "undersample", "balanced", "class_balance", "WeightedRandomSampler", "weighted_sampler"),
    ] = False
    """Whether each class is drawn equally often in every epoch."""
    target: Annotated[Literal["labels", "input"], Also("targets", "label")] = BareWord("labels")  # type: ignore[assignment]
    """The target of the loss: the sample's label in the data, or the sample itself."""
    standardise: Annotated[
        bool | Scaler | tuple[Scaler, ...],
        Also("standardize", "normalise", "normalize", "scale", "scaler", "preprocess", "preprocessing"),
    ] = False
    """How numbers of samples are scaled: true for mean 0 and standard deviation 1 of each feature over the training
    samples, or rules."""
    standardise_target: Annotated[
        bool | Scaler | tuple[Scaler, ...],
        Also("standardize_target", "standardise_targets", "scale_target", "normalise_target", "normalize_target"),
    ] = False
    """How targets are scaled for the loss: true for mean 0 and standard deviation 1 of each number, or rules."""
    augment: Annotated[
        Augmentation | tuple[Augmentation, ...] | None, Also("augmentation", "augmentations", "transform", "transforms")
    ] = None
    """Random transformations of training samples, drawn anew every time."""

    penalty: Annotated[
        Penalty | tuple[Penalty, ...] | None,
        Also("regularizer", "regularization", "kernel_regularizer", "weight_regularizer", "penalties"),
    ] = None
    """Penalty on large weights, added to the training loss."""
    freeze: Annotated[
        TensorName | tuple[TensorName, ...] | None,
        Also("frozen", "frozen_layers", "freeze_layers"),
    ] = None
    """Layers and parameters that are not trained."""
    constraint: Annotated[Constraint | None, Also("kernel_constraint", "constraints", "weight_constraint")] = None
    """Constraint on weights, applied after every step."""
    sample: Annotated[int | None, Range(low=0, high=100_000), Also("generate", "max_new_tokens", "sample_length")] = (
        None
    )
    """Number of characters to generate after training; by default 400 if the data is text."""
    temperature: Annotated[float, Range(low=0)] = 0.8
    """Sampling temperature: 1 samples from the predicted distribution, lower values prefer likelier characters, and 0
    always takes the likeliest."""

    def __post_init__(self) -> None:
        """Store lists as tuples, since settings are frozen."""
        for name in ("augment", "penalty", "freeze", "standardise", "standardise_target"):
            if isinstance(getattr(self, name), (list, tuple)):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.carry_state:
            object.__setattr__(self, "shuffle", False)
        frozen = self.freeze
        object.__setattr__(self, "freeze", (frozen,) if isinstance(frozen, str) else frozen or None)

    @property
    def penalties(self) -> tuple[Penalty, ...]:
        """The penalties added to the training loss."""
        return self.penalty if isinstance(self.penalty, tuple) else (self.penalty,) if self.penalty else ()

    @property
    def augmentations(self) -> tuple[Augmentation, ...]:
        """The augmentations of samples, in order."""
        return self.augment if isinstance(self.augment, tuple) else (self.augment,) if self.augment else ()

    @property
    def scalers(self) -> tuple[Scaler, ...]:
        """The rules by which samples are scaled."""
        return scalers_of(self.standardise)

    @property
    def target_scalers(self) -> tuple[Scaler, ...]:
        """The rules by which targets are scaled."""
        return scalers_of(self.standardise_target)

    @property
    def mixes(self) -> bool:
        """Whether training samples are mixed with others, and the loss with them."""
        return any(isinstance(augmentation, Mixing) for augmentation in self.augmentations)

    @property
    def prepares(self) -> bool:
        """Whether samples are transformed before they enter the network."""
        return bool(self.scalers or self.augmentations)

    @property
    def trainings(self) -> int:
        """Number of trainings of a lane: repeats × folds."""
        return self.repeats * (self.validation.trainings if isinstance(self.validation, Validation) else 1)

    def held_out(self, samples: int, given: int = 0) -> int:
        """Return how many of `samples` training samples are held out, of folds that differ in size the largest. The
        last `given` samples are the data's own validation samples.

        A fraction is rounded (half to even) to at least one sample, and leaves at least one to train on; without
        `validation`, the result is 0. Raises ValueError if there are not enough samples.
        """
        return self._held_out(samples, given)[1]

    def trained_on(self, samples: int, given: int = 0, overlap: int = 0) -> int:
        """Return the maximum number of samples trained on. `overlap` is the number of samples after each one that share
        rows with it: with `last`, those before the held-out ones are not trained on."""
        return samples - self._held_out(samples, given)[0] - self.gap(overlap)

    def trained_on_least(self, samples: int, given: int = 0, overlap: int = 0) -> int:
        """Return the minimum number of samples trained on, of folds that differ in size."""
        return samples - self._held_out(samples, given)[1] - self.gap(overlap)

    def gap(self, overlap: int) -> int:
        """Return how many samples before the held-out ones are not trained on, since they share rows with them."""
        return overlap if isinstance(self.validation, Last) else 0

    def steps_per_epoch(self, samples: int, given: int = 0, overlap: int = 0) -> int:
        """Return the number of optimizer steps per epoch, of folds that differ in size the largest."""
        trained = self.trained_on(samples, given, overlap)
        batches = trained // self.batch if self.drop_last else -(-trained // self.batch)
        return -(-batches // self.accumulate)

    def length(self, steps_per_epoch: int) -> Length:
        """Return the length of a training whose epochs have this many steps."""
        steps = self.epochs * steps_per_epoch if self.steps is None else self.steps
        by_step = self.steps is not None or self.record is not None
        return Length(steps, steps_per_epoch, self.record or steps_per_epoch, by_step)

    def _held_out(self, samples: int, given: int) -> tuple[int, int]:
        if isinstance(self.validation, Validation):
            return self.validation.held_out(samples, given)
        count = share_of(self.validation, samples) if self.validation else 0
        return count, count


_VAL_LOSS = FigureName("val_loss")
_HALTON = HaltonSearch()


@dataclass(frozen=True)
class TuneSettings:
    """The settings of `tune`. The checker reads their annotations."""

    budget: Annotated[
        Count, Range(low=1, high=1000), Also("trials", "n_trials", "max_trials", "num_samples", "n_iter", "iterations")
    ] = 20
    """Number of trials per lane and study."""
    studies: Annotated[Count, Range(low=1, high=100), Also("n_studies")] = 1
    """Number of independent searches per lane, each of which chooses its own settings."""
    by: Annotated[FigureName, Also("metric", "objective", "scoring", "monitor", "criterion")] = _VAL_LOSS
    """The final figure that trials are compared by: a validation or a training figure."""
    target: Annotated[float | None, Also("goal", "threshold")] = None
    """A value of that figure. The time that each training takes to reach it is measured."""
    search: Annotated[Search, Also("method", "algorithm", "sampler", "strategy")] = _HALTON
    """How trials are placed in the search spaces."""
    race: Annotated[bool, Also("retrain", "refit", "final")] = True
    """Whether the lanes race with the chosen settings; otherwise, only the trials are trained."""
    chosen: bool = False
    """Whether each space is a list of the values that the studies chose, in order: then there is no search."""

    def __post_init__(self) -> None:
        """Keep `by` the name of a figure, not a text."""
        object.__setattr__(self, "by", FigureName(self.by))


def input_as_target(facts: Facts, outputs: Shape) -> Shape:
    """Return the shape in which outputs are compared with the sample: that of the outputs, if its size matches."""
    return outputs if prod(outputs) == facts.features else (facts.features,)


Seed = Annotated[int, Range(low=0, high=2**63 - 1)]


@dataclass(frozen=True)
class Choice:
    """One alternative of `data`, built, with its facts."""

    value: PartValue[DataSource]
    source: DataSource
    facts: Facts
    as_classes: bool = False
    """Whether numeric targets of the source are classes here, because the loss takes classes."""


@dataclass(frozen=True)
class Use:
    """A use of a block in a model: its name and the values of its parameters."""

    name: str
    block: str
    parameters: Mapping[str, Bound]
    origin: Origin


@dataclass(frozen=True)
class LayerNode:
    """A layer of a model, with input shape `incoming` and output shape `geometry.out`."""

    name: str
    value: PartValue[Layer]
    incoming: Shape
    geometry: Geometry

    shared: str = ""
    """Its name with the labels of repeated layers and blocks as written: `h.Linear1` for `h2.Linear1`."""
    branches: tuple[Branch, ...] = ()
    """The branches of a composition (residual, add, concat, multiply, …); empty for other layers."""
    uses: tuple[Use, ...] = ()
    """The blocks that contain it, outermost first."""
    reads: tuple[str, ...] = ()
    """The further values that it reads: full names of layers whose outputs they are, or `INPUT`."""
    owners: tuple[str, ...] = ()
    """The layers above whose parameters it uses: that which it repeats, or whose weight it transposes."""
    uses_of: Mapping[str, Shape] = field(default_factory=dict)
    """Shapes of the parameters of others that it uses; its own are in the geometry."""
    field: Field | None = None
    """For a `from` of one of several inputs: the range of the sample's row that it takes."""
    padded: Mask | None = None
    """Which positions of what it reads first are padding, if any are."""
    mask: Mask | None = None
    """Which positions it skips as padding, if it does: those of what it reads first, or of another value that it
    attends to. Then the last of `reads` are the ids.
    """

    @property
    def span(self) -> Span:
        """The span of the layer in the spec."""
        return self.value.origin.span

    def arguments(self) -> dict[str, Any]:
        """Return the value of every argument, including inferred ones."""
        return self.value.values() | dict(self.geometry.inferred)

    def walk(self) -> Iterator[LayerNode]:
        """Iterate over this layer and the layers inside it, in pre-order."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed([inner for branch in node.branches for inner in branch.layers]))


@dataclass(frozen=True)
class Branch:
    """A chain of layers in a composition: `body` or `shortcut` of a residual, or a named branch."""

    name: str
    layers: tuple[LayerNode, ...]


@dataclass(frozen=True)
class Swept:
    """A setting that a sweep sets."""

    setting: str
    """`optimizer.lr`."""
    text: str
    """The value, as written."""
    exact: str
    """The value as text with which `--set` reproduces it exactly."""
    lane: str = ""
    """The lane if only one is swept; "" for all lanes."""


@dataclass(frozen=True)
class LoadedTensor:
    """A tensor of a network whose initial values are read from a file."""

    name: str
    """Its full name, such as `Linear1.weight`."""
    weights: Weights
    key: str
    """Its name in the file."""
    stored: str
    """Its dtype in the file."""
    transposed: bool


@dataclass(frozen=True)
class Initial:
    """The initial weights of a network that are not all drawn at random: `init_from`."""

    settings: Mapping[str, Weights | None]
    """As given: `init_from`, `init_from.head`; None for what is drawn nevertheless."""
    tensors: tuple[LoadedTensor, ...]
    drawn: tuple[str, ...]
    """The other tensors, which start as if nothing were loaded."""
    files: Mapping[FilePath, WeightsFacts]
    """What is in the files, by their paths."""
    idle: Mapping[str, str] = field(default_factory=dict)
    """Settings without effect, and the reason."""
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict, compare=False, repr=False)
    """The values of `tensors`, once they have been read; empty while only headers have."""

    @property
    def complete(self) -> bool:
        """Whether all values have been read."""
        return len(self.arrays) == len(self.tensors)

    def record(self) -> dict[str, Any]:
        """Return it as JSON values: which tensors are loaded from which files, and what is not."""
        return {
            "files": [
                {"path": path.written, "file": facts.file, "sha256": facts.sha256, "unused": self.unused(path)}
                for path, facts in self.files.items()
            ],
            "loaded": [
                {
                    "tensor": each.name,
                    "path": each.weights.path.written,
                    "name": each.key,
                    "dtype": each.stored,
                    "transposed": each.transposed,
                }
                for each in self.tensors
            ],
            "not_loaded": list(self.drawn),
        }

    def unused(self, path: FilePath) -> list[str]:
        """Return the tensors of a file that are not loaded."""
        used = {each.key for each in self.tensors if each.weights.path == path}
        return [tensor.name for tensor in self.files[path].tensors if tensor.name not in used]


@dataclass(frozen=True)
class Trial:
    """A trial of a search: one training with settings from the spaces of a lane."""

    study: int
    """The number of the study, from 1."""
    number: int
    """Its number in the study, from 1."""
    settings: Mapping[str, Any]
    """Setting -> its value; parts in spec syntax."""
    places: Mapping[str, float]
    """Setting -> where its value lies in its space, in [0, 1)."""


@dataclass(frozen=True)
class Tuning:
    """The search for the best settings of each lane: `tune`."""

    settings: TuneSettings
    spaces: Mapping[str, Mapping[str, Space]]
    """Lane -> setting -> search space. A lane without spaces races with the settings in the spec."""
    trials: Mapping[str, tuple[Trial, ...]]
    """Lane -> its trials, of all studies."""
    span: Span = field(compare=False)
    """Where `tune` is written."""

    @property
    def count(self) -> int:
        """The number of trials of all lanes."""
        return sum(map(len, self.trials.values()))


@dataclass(frozen=True)
class Experiment:
    """One lane: everything that its training depends on."""

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
    """The name of the lane; with a sweep, several experiments share it, one for each point."""
    swept: tuple[Swept, ...] = ()
    """The settings of the sweep here."""
    model: str = ""
    """The name of its model; "" if unnamed."""
    by_name: Mapping[str, float] = field(default_factory=dict)
    """Settings per layer and kind of parameter: `train.lr_factor.h1`; see `tensors`."""
    init: Initializer | None = None
    """`init`, which the arguments of the layers already include."""
    initial: Initial | None = None
    """The initial weights that are read from files; None if all are drawn."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """The origin of each setting in the spec: `seed`, `train.epochs`, `optimizer` …"""
    lets: Mapping[str, Bound] = field(default_factory=dict)
    """The value of each `let` and its origin."""
    tune: Mapping[str, Bound] = field(default_factory=dict)
    """The settings of its search, `tune.budget`, and its search spaces, `tune.optimizer.lr`; {} if it is not tuned."""
    trial: Trial | None = None
    """Which trial of the search it is; None for a lane that races."""

    @property
    def point(self) -> dict[str, str]:
        """The settings of the sweep here, as written: setting -> value."""
        return {swept.setting: swept.text for swept in self.swept}

    @property
    def facts(self) -> Facts:
        """Facts of the data, in which all alternatives agree except for the number of samples."""
        return self.data[0].facts

    def training(self, number: int) -> Experiment:
        """Return one of its trainings, counted from 0: each has the next seed or holds out the next fold."""
        if not number and not isinstance(self.train.validation, Folds):
            return self
        train = self.train
        if isinstance(train.validation, Folds):
            train = replace(train, validation=Fold(train.validation, number % train.validation.k))
        return replace(self, seed=self.seed + number, train=train)

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps per epoch, of alternatives of the data the largest; at least 1."""
        return max(1, *(self.train.steps_per_epoch(*choice.facts.counts) for choice in self.data))

    @property
    def length(self) -> Length:
        """The length of its training, with the steps per epoch of the largest alternative of the data."""
        return self.train.length(self.steps_per_epoch)

    @property
    def classes(self) -> int | None:
        """Number of classes of the targets; None if they are numbers."""
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
    def loss_parts(self) -> tuple[str, ...]:
        """The figures of the parts of the loss: the losses of several outputs, and terms that layers add."""
        return (*self.loss.part.part_names(), *added_by(self.layers))

    @property
    def measured(self) -> tuple[str, ...]:
        """The figures of training: the loss, its parts, and each metric that is a number."""
        metrics = (metric.part for metric in self.metrics)
        return ("loss", *self.loss_parts, *(part.spec_name for part in metrics if part.is_figure))

    @property
    def objective(self) -> str:
        """What is minimised, in spec syntax: `MSE`, `MSE + 0.1 kl_loss`."""
        terms = [f" + {factor:g} {name}" for name, factor in _added(self.layers) if factor]
        return f"{self.loss}{''.join(terms)}"

    @property
    def shapes(self) -> str:
        """The chain of widths: `784 → 64 → 32 → 10`."""
        widths = [self.layers[0].incoming, *(node.geometry.out for node in self.layers if node.geometry.parameters)]
        return " → ".join("×".join(map(str, shape)) for shape in widths)


def added_by(layers: tuple[LayerNode, ...]) -> tuple[str, ...]:
    """Return the figures of the terms that layers add to the loss, each once."""
    return tuple(dict.fromkeys(name for name, _ in _added(layers)))


def _added(layers: tuple[LayerNode, ...]) -> Iterator[tuple[str, float]]:
    """Yield the figure of each term that a layer adds to the loss, and its factor."""
    for node in (inner for layer in layers for inner in layer.walk()):
        if node.value.part.adds:
            yield node.value.part.adds, node.value.part.times(node.arguments())


# Expectations: expressions of numbers, figures and operations, whether they are proved before a run or after.


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

    @property
    def text(self) -> str:
        """The figure as in a spec, without its lane."""
        return self.name if self.target is None else f"{self.name}(loss={self.target!r})"


@dataclass(frozen=True)
class Operation:
    """An operator and its operands."""

    operator: str
    operands: tuple[Node, ...]


Node = Number | Figure | Operation
Look = Callable[[Figure], float]


@dataclass(frozen=True)
class Case:
    """An expectation for one lane, or (`lane` None) for the lanes that it names."""

    lane: str | None
    node: Node

    def figures(self) -> tuple[Figure, ...]:
        """Return every figure in it."""
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
    """A statement that must hold in each of its cases."""

    text: str
    span: Span
    cases: tuple[Case, ...]
    about: str
    """What is needed to evaluate it: the `program`, the `calculus` or the `outcome`."""


@dataclass(frozen=True)
class Program:
    """A spec: its lanes and expectations."""

    path: str
    title: str
    text: str
    """The spec as it was read."""
    lanes: tuple[Experiment, ...]
    expectations: tuple[Expectation, ...]
    overrides: tuple[str, ...] = ()
    """The arguments of `--set`, as written."""
    models: tuple[Experiment, ...] = ()
    """Models that only expectations use, each with the settings of the base."""
    files: tuple[Source, ...] = ()
    """The sources: the imports and, last, the spec."""
    import_names: Mapping[str, str] = field(default_factory=dict)
    """Each name of an import -> the name of its file in `files`."""
    looked: tuple[tuple[PartValue[DataSource], Facts], ...] = ()
    """The data sources that read files, and their facts."""
    tuning: Tuning | None = None
    """The search that comes before the race, whose lanes then have other settings than `lanes`; if `lanes` are its
    trials, the search itself."""

    def parts(self) -> list[type[Part]]:
        """Return the classes of all parts that its lanes use, each once."""
        return list(dict.fromkeys(parts_in(self.lanes)))


def parts_in(value: object) -> Iterator[type[Part]]:
    """Yield the classes of the parts within a value of a program."""
    match value:
        case PartValue():
            yield value.part
            yield from parts_in([bound.value for bound in value.arguments.values()])
        case Part():
            yield type(value)
            yield from parts_in(vars(value))
        case LayerNode():
            yield from parts_in([value.value, *(branch.layers for branch in value.branches)])
        case Choice():
            yield from parts_in(value.value)
        case Experiment():
            yield from parts_in([value.data, value.layers, value.loss, value.optimizer, value.metrics])
            yield from parts_in(vars(value.train))
        case Mapping():
            yield from parts_in([*value.values()])
        case list() | tuple():
            for item in value:
                yield from parts_in(item)
