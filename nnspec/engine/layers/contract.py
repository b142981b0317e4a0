"""The interface of layers.

A layer's class states on one screen: its arguments (the constructor), its shape rule, parameters, cost and work arrays
(`geometry`, plain arithmetic on the arguments), what its backward pass reads, and its two kernels. Kernels follow
NumPy's convention: without `out` they allocate; with `out` they write into an array that the caller owns.

**Layers that read further values.** An argument of the type `ValueName` names a value of the model: `state=encoder` is
the output of the layer `encoder`. In `geometry`, that argument is the shape of the value (None if it is omitted). The
kernels take one more array for each such argument that is given, in the order of the signature:

    forward(x, out, *others) -> y
    backward(grad, out, *outs, input_grad=True) -> (dL/dx, *dL/dothers)

`outs` are the arrays to write the gradients of the others into; without them, `backward` allocates. With
`input_grad=False`, dL/dx is not needed, and None takes its place. `backward_reads` "input" includes the others. In
Python, a `Sequential` passes the values by name; a single layer is called as `layer(x, *others)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from math import isqrt, prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar

from nnspec.engine._numpy import np
from nnspec.engine.parameter import Parameter, Shared
from nnspec.engine.part import Part
from nnspec.engine.work import Borrower, Work
from nnspec.errors import ContractError

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from nnspec.engine.initializers import Initializer

__all__ = ["Geometry", "Layer", "Mask", "Shape", "ShapeError"]

Kept = TypeVar("Kept")

Shape = tuple[int, ...]
"""Shape of one sample, without the leading batch axis B. The number of axes determines its kind: features `(F,)`, a
sequence of positions and features `(T, F)`, an image of channels, rows and columns `(C, H, W)`.
"""


class ShapeError(ValueError):
    """The input does not fit a layer. `argument` names the argument at fault, if there is one."""

    def __init__(self, message: str, *, argument: str | None = None, label: str = "", help: str = "") -> None:
        super().__init__(message)
        self.argument = argument
        self.label = label
        self.help = help


@dataclass(frozen=True)
class Geometry:
    """Everything that follows from a layer's arguments and its input shape, known before any array exists."""

    out: Shape
    flops: int
    """FLOPs of the forward pass of one sample; a multiply-add is 2."""
    parameters: Mapping[str, Shape] = field(default_factory=lambda: MappingProxyType({}))
    inferred: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Inferred values of arguments that a spec may omit."""
    work: Mapping[str, Work] = field(default_factory=lambda: MappingProxyType({}))
    state: Mapping[str, Shape] = field(default_factory=lambda: MappingProxyType({}))
    """The state of the layer besides its parameters, in the network's dtype: running means and variances, say."""
    carried: Mapping[str, Shape] = field(default_factory=lambda: MappingProxyType({}))
    """What `train.carry_state` carries from each sample to the sample in the same row of the next batch."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle read-only mappings, which Python cannot pickle, as dicts, and restore them."""
        values = [getattr(self, each.name) for each in fields(self)]
        frozen = [isinstance(value, MappingProxyType) for value in values]
        plain = [dict(value) if is_frozen else value for value, is_frozen in zip(values, frozen, strict=True)]
        return _restored, (plain, frozen)


@dataclass(frozen=True)
class Mask:
    """Which positions of a sequence are padding: those at which the value `ids` `(B, T)` has the id `padding`."""

    ids: str
    """The name of the value, as in `Layer.read`."""
    padding: int


def _restored(values: list[Any], frozen: list[bool]) -> Geometry:
    """Return a geometry from what `Geometry.__reduce__` gives."""
    pairs = zip(values, frozen, strict=True)
    restored: list[Any] = [MappingProxyType(value) if is_frozen else value for value, is_frozen in pairs]
    return Geometry(*restored)


_NOT_SEEN: tuple[Shape, ...] | None = None
_OWN_SHARE: float | None = None
_NO_PADDING: Mask | None = None
_NO_SOURCES: tuple[str, ...] = ()
_NO_STATE: Mapping[str, NDArray[Any]] = MappingProxyType({})


class Layer(Part, Borrower):
    """Base of the layers: y = f(x) with x `(B, *in)` and y `(B, *out)`."""

    kind: ClassVar[str] = "layer"
    must_define = ("geometry", "forward", "backward")
    backward_reads: ClassVar[frozenset[Literal["input", "output"]]] = frozenset()
    """The values that the backward pass reads again; everything else may be overwritten in the meantime."""
    in_place: ClassVar[bool] = False
    """Whether forward may write its output over its input, and backward its result over its gradient."""

    image_as: ClassVar[Literal["row", "sequence", "image", "any"]] = "row"
    """How an image enters a model that starts with this layer: as a `row` of numbers, as a `sequence` of its rows, or
    unchanged, as an `image`. `any` leaves the choice to the next layer. Features and sequences always enter unchanged.
    """
    batch_last: ClassVar[Literal["no", "rows", "takes", "keeps", "prefers"]] = "no"
    """How it handles arrays whose first axis, the samples, is the last in memory, for x, y and their gradients: `no`,
    it needs C order; `takes`, x may have that order, and y is in C order; `rows`, the same, if a sample is a row of
    numbers; `keeps`, y has the order of x; `prefers`, it is fastest if both have that order. Results do not depend on
    it, up to rounding.
    """
    rows_of: ClassVar[str] = ""
    """The parameter whose row i is only ever multiplied by feature i of a sample, if there is one, for inputs `(in,)`:
    a feature that is always zero then has no effect, and its row has no gradient.
    """
    batch_invariant: ClassVar[bool] = False
    """Whether every sample is computed independently, by operations that give the same bits at any position in a batch
    of any size, without parameters, noise or state. The samples of several lanes may then form one batch.
    """
    samples_independent = False
    """Whether the output for a sample depends only on that sample and the parameters; a composition declares this for
    itself. The gradient check then evaluates many copies of a network as one batch; otherwise, it calls the layer for
    each copy. BatchNorm mixes samples, and a dropout mask belongs to a position in the batch.
    """
    units_independent: ClassVar[bool] = False
    """Whether entry j of the last axis of y depends only on x and on entry j of the last axes of its parameters: the
    layer is then equivalent to many layers with one unit each, and to a `stack` of these.
    """
    absorbs: ClassVar[tuple[type[Layer], ...]] = ()
    """Classes of layers whose work it can also do if it is the only reader of their outputs: see `absorb`."""
    gives_logs: ClassVar[bool] = False
    """Whether its outputs are logarithms of probabilities."""
    squashes_with: ClassVar[str] = ""
    """The function that it applies and that losses of logits may already include: `softmax` or `sigmoid`."""
    subtracts_mean: ClassVar[bool] = False
    """Whether it subtracts the mean of each channel, which cancels any bias added before it."""
    family: ClassVar[Literal["", "linear", "activation", "noise", "norm"]] = ""
    """Its family as commonly understood in the field, for advice about which layers go together."""

    with_padding: ClassVar[Literal["mixes", "keeps", "skips"]] = "mixes"
    """What it does with positions of a sequence that are padding: it `keeps` them apart, since each position of y
    depends on the same position of x only; it `skips` them, where `mask` says which they are; or it `mixes` them with
    others.
    """
    skips_in: ClassVar[str] = ""
    """The argument that names the value whose padding it skips, if that is given; otherwise, it is that of x."""
    looks_ahead_unless: ClassVar[str] = ""
    """The argument that makes it causal, as written in a spec: `causal=true`; "" if there is none."""

    kinds: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Kinds of parameters by name. The defaults are `bias` for names that contain it, and `weight` for all others. Only
    weights decay.
    """
    tables: ClassVar[tuple[str, ...]] = ()
    """Names of the parameters whose rows are looked up, by an id or a position."""

    pytorch_starts: ClassVar[Mapping[str, Initializer]] = MappingProxyType({})
    """How `init=pytorch` starts its parameters, by name, where PyTorch does not draw them uniformly in ±1/√fan_in."""

    skips_frozen: ClassVar[bool] = False
    """Whether backward skips the gradients of its parameters if `trains` is false."""

    looks_up: ClassVar[str] = ""
    """The argument that sets the number of ids, for a layer that looks up rows by integers: the checker infers it from
    the data. The input of such a layer must come from the data, not from other layers.
    """

    adds: ClassVar[str] = ""
    """The figure of the term that the layer adds to the loss of a network, such as `kl_loss`; "" if it adds none.
    Forward computes the term, `added`, a mean over the batch; its `backward` includes the gradient of `times · added`.
    """

    example_shapes: ClassVar[tuple[Shape, ...]] = ((6,), (2, 3), (2, 2, 3))
    """Shapes of samples to try it with, as far as it accepts them: by default a row, a sequence and an image."""

    trusts_ids = False
    """For a layer that looks up rows: whether all its ids are known to be in range."""

    training = True
    trains = True
    """Whether the gradients of its parameters are needed; false if all of them are frozen."""
    hold_noise = False
    """Draw no new random numbers: the gradient check needs the same function at every step."""
    statistics_share = _OWN_SHARE
    """The share of a batch in running statistics, instead of the layer's own; None for its own."""
    converts_arguments = True
    sources = _NO_SOURCES
    """The full names of the layers whose outputs it reads, where the compiler knows them; else those of `read` are
    looked up from the inside out."""
    mask = _NO_PADDING
    """Which positions of x are padding, if any, for a layer that `skips` them: see `masked`."""
    _state = _NO_STATE
    _shares_state = False
    _carried = _NO_STATE
    _fits = _NOT_SEEN
    """The shapes of what it reads that were last checked successfully."""

    @classmethod
    @cache
    def reads(cls) -> tuple[str, ...]:
        """The arguments that name further values that the layer reads, in order."""
        return tuple(argument.name for argument in cls.signature() if argument.takes_value)

    @classmethod
    @cache
    def owners(cls) -> tuple[str, ...]:
        """The arguments that name layers whose parameters it uses, in order."""
        return tuple(argument.name for argument in cls.signature() if argument.takes_layer)

    def read(self) -> tuple[str, ...]:
        """Return the names of the further values that this layer reads, in order."""
        arguments = self.arguments() if self.reads() else {}
        named = tuple(str(arguments[name]) for name in self.reads() if arguments[name] is not None)
        return named if self.mask is None else (*named, self.mask.ids)

    def masked(self, ids: str, padding: int) -> Self:
        """Skip positions that are padding from now on: those at which the value `ids` of the network, such as `input`,
        has the id `padding`. The layer reads it after all others, in a `Sequential` or as `layer(x, *others, ids)`, and
        returns itself. Raises TypeError if its class cannot skip positions.
        """
        if self.with_padding != "skips":
            raise TypeError(f"{type(self).__name__} cannot skip padding")
        self.mask = Mask(ids, padding)
        return self

    def real_places(self, others: tuple[NDArray[Any], ...]) -> NDArray[Any] | None:
        """Return which positions are not padding, `(B, T)`, from the values that forward reads after x; None if there
        is no padding.
        """
        return None if self.mask is None else others[-1] != self.mask.padding

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Return shapes, parameters and cost for the sample shape `incoming`. Raises ShapeError."""
        raise NotImplementedError

    @classmethod
    def kind_of_parameter(cls, name: str) -> str:
        """Return which of `KINDS` a parameter is."""
        return cls.kinds.get(name, "bias" if "bias" in name else "weight")

    @classmethod
    def looks_ahead(cls, incoming: Shape, arguments: Mapping[str, Any]) -> bool:
        """Whether a position of its output depends on later positions of a sequence `incoming`."""
        return False

    @classmethod
    def stack(cls, parameters: Mapping[str, Parameter]) -> Layer | None:
        """Return a layer that computes this class's layers of L lanes at once, bit for bit, or None if there is none.

        `parameters` have a leading lane axis. Its kernels map x `(L, B, *in)`, or `(B, *in)` if all lanes share it, to
        y `(L, B, *out)`. If there is none, each lane's own layer is called.
        """
        return None

    def output_shape(self, incoming: Shape, *others: Shape) -> Shape:
        """Return the shape of one sample's output for the shape of one sample, and of the further values that the
        layer reads. Raises ShapeError if it does not fit, ValueError for another number of values.
        """
        arguments = self.arguments()
        named = [name for name in self.reads() if arguments[name] is not None]
        if len(others) != len(named) + (self.mask is not None):
            raise ValueError(
                f"{type(self).__name__} also reads {', '.join(map(repr, self.read()))}: in a `Sequential` with layers "
                "of these names, or passed as `layer(x, *others)`"
                if self.read()
                else f"{type(self).__name__} reads no values besides x"
            )
        read = dict(zip(named, others, strict=False))
        masked = read.get(self.skips_in, incoming)
        if self.mask is not None and (len(masked) != 2 or others[-1] != masked[:1]):
            raise ShapeError(f"{shape_in_words(others[-1])} ids cannot mask {sample_in_words(masked)}")
        return type(self).geometry(incoming, arguments | read).out

    def __call__(self, x: NDArray[Any], *others: NDArray[Any]) -> NDArray[Any]:
        """Compute y = f(x), `(B, *in) -> (B, *out)`: check the shape of x, then call `forward`.

        Raises ShapeError if samples of that shape do not fit the layer.
        """
        x = np.asarray(x)
        shapes = x.shape[1:], *(other.shape[1:] for other in others)
        if shapes != self._fits:
            try:
                self.output_shape(*shapes)
            except ShapeError as error:
                if x.ndim < 2:
                    message = f"{type(self).__name__} expects a batch of samples; x has shape {x.shape}"
                    raise ShapeError(f"{message}, so one sample is `x[None]`" if x.ndim else message) from None
                raise ShapeError(f"{error}; x has shape {x.shape}", argument=error.argument) from None
            except NotImplementedError:
                pass  # a layer without a shape rule, which no spec can name
            self._fits = shapes
        forward: Callable[..., NDArray[Any]] = self.forward
        return forward(x, None, *others) if others else forward(x)

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Compute y = f(x), `(B, *in) -> (B, *out)`, and store what `backward` needs."""
        raise NotImplementedError

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Turn dL/dy `(B, *out)` into dL/dx `(B, *in)`, and write the parameters' `.grad`.

        With `input_grad=False`, only the parameters' gradients are computed, and the return value is meaningless.
        """
        raise NotImplementedError

    def parameters(self) -> dict[str, Parameter]:
        """Return the trainable parameters by name: the attributes that are Parameters, without those of other
        layers.
        """
        return {
            name: value
            for name, value in vars(self).items()
            if isinstance(value, Parameter) and not isinstance(value, Shared)
        }

    def share(self, owner: Layer) -> None:
        """Use the parameters and the state of another layer of the same kind from now on, each with a gradient of its
        own.
        """
        for name, value in vars(owner).items():
            if isinstance(value, Parameter):
                setattr(self, name, Shared(value))
        self._state, self._shares_state = owner._state, True

    def shared(self) -> dict[str, Shared]:
        """Return the parameters of other layers that it uses, by the names of its attributes."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Shared)}

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the layer's state besides its parameters, by name; forward writes to them."""
        return {} if self._shares_state else dict(self._state)

    def state_in_use(self) -> dict[str, NDArray[Any]]:
        """Return the same, also for a layer that uses the state of another one."""
        return dict(self._state)

    def keep_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Move that state, with its contents, to arrays of the same shapes that the caller owns."""
        for name, array in arrays.items():
            np.copyto(array, self._state[name])
        if isinstance(self._state, dict):  # in place: layers that share it see it too
            self._state.update(arrays)

    def carry(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """From now on, begin each sample with the final state of the same row in the previous batch: one array `(2,
        rows, *shape)` for each entry of `Geometry.carried`, where forward keeps the states before ([0]) and after ([1])
        the batch. Without arrays, each sample begins anew. No gradient passes from batch to batch.
        """
        self._carried = arrays

    @property
    def added(self) -> float:
        """The term of the last forward pass, if it adds one; during a recording, an array of one number."""
        return 0.0

    @classmethod
    def times(cls, arguments: Mapping[str, Any]) -> float:
        """Return the factor of its term in the loss, given its arguments."""
        return 1.0

    @property
    def noise(self) -> Generator | None:
        """The generator used in training, if it has one of its own."""
        return None

    def absorb(self, before: Layer) -> None:
        """From now on, also do the work of `before`, a layer of one of the classes in `absorbs`.

        A plan then runs only this layer, on the input of `before`, which must preserve its shape. The result is
        bit-identical, and remains so if both layers run. Raises TypeError for any other layer.
        """
        raise TypeError(f"{type(self).__name__} cannot absorb {type(before).__name__}")

    def children(self) -> Mapping[str, Layer]:
        """Return the layers that this one is composed of, by their paths in it."""
        return {}

    def walk(self) -> Iterator[Layer]:
        """Iterate over this layer and all layers within it, each before its own children."""
        stack: list[Layer] = [self]
        while stack:
            layer = stack.pop()
            yield layer
            stack.extend(reversed([*layer.children().values()]))

    def sides(self) -> NDArray[Any] | None:
        """Which side of each kink the last forward pass was on, or None if there are none except in its `children`.

        A finite difference across a kink is no derivative; the gradient check compares sides and skips such steps. With
        `samples_independent`, the first axis is that of the samples.
        """
        return None


def numbered(layers: Iterable[Layer]) -> dict[str, Layer]:
    """Name unlabelled layers as in a spec, by kind and number: `Linear1`, `ReLU1`, `Linear2`."""
    found: dict[str, Layer] = {}
    counts: dict[str, int] = {}
    for layer in layers:
        kind = kind_of(layer)
        counts[kind] = counts.get(kind, 0) + 1
        found[f"{kind}{counts[kind]}"] = layer
    return found


def kind_of(layer: Layer) -> str:
    """Return the name of this layer's class in a spec, or the name of a class that is unknown to specs."""
    return str(vars(type(layer)).get("spec_name", type(layer).__name__))


def shape_in_words(shape: Shape) -> str:
    """Format a shape for messages: `64`, or `28×28`."""
    return "×".join(str(extent) for extent in shape)


def sample_in_words(shape: Shape) -> str:
    """Describe a sample for messages: `784 features`, `a sequence of 120×7`, `an image of 3×32×32`."""
    kinds = {
        1: f"{shape_in_words(shape)} feature{'' if shape == (1,) else 's'}",
        2: f"a sequence of {shape_in_words(shape)}",
    }
    kinds[3] = f"an image of {shape_in_words(shape)}"
    return kinds.get(len(shape), f"an array of {shape_in_words(shape)}")


def feature_axis(shape: Shape) -> int:
    """Return the axis of features or channels in a sample: the last of `(F,)` and `(T, F)`, the first of `(C, H,
    W)`.
    """
    return 1 if len(shape) == 2 else 0


def beside_features(shape: Shape) -> Shape:
    """Return the shape in which one number per feature or channel broadcasts against a sample: `(1, F)` against `(T,
    F)`, `(C, 1, 1)` against `(C, H, W)`.
    """
    return tuple(extent if axis == feature_axis(shape) else 1 for axis, extent in enumerate(shape))


def but_features(x: NDArray[Any]) -> tuple[int, ...]:
    """Return all axes of an array of samples except that of the features or channels."""
    features = 1 + feature_axis(x.shape[1:])
    return tuple(axis for axis in range(x.ndim) if axis != features)


def sequence(layer: type[Layer], incoming: Shape, before: str = "") -> tuple[int, int]:
    """Return the numbers of positions and features of a sequence `(T, F)`. Raises ShapeError for other samples;
    `before` are layers required between a `Reshape` and this layer.
    """
    if len(incoming) == 2:
        return incoming[0], incoming[1]
    *places, last = (*incoming, 1) if len(incoming) == 1 else incoming
    raise ShapeError(
        f"{layer.spec_name} expects a sequence, places × features, but got {sample_in_words(incoming)}",
        help=f"add {reshape((prod(places), last))}{before} before it",
    )


def sequence_or_image(layer: type[Layer], incoming: Shape, otherwise: str = "remove it") -> None:
    """Raise ShapeError for a sample with fewer than two axes."""
    if len(incoming) < 2:
        raise ShapeError(
            f"{layer.spec_name} expects a sequence or an image but got {sample_in_words(incoming)}",
            help=f"{otherwise}, or put it before the layer that flattens the sample",
        )


def check_given(
    layer: type[Layer],
    arguments: Mapping[str, Any],
    argument: str,
    arriving: int,
    what: str = "feature",
    without: str = "",
) -> None:
    """Raise ShapeError if a size is given that would otherwise be inferred, and another one arrives. `without` is the
    layer in a spec without it.
    """
    given = arguments.get(argument)
    if given is not None and given != arriving:
        raise ShapeError(
            f"this {layer.spec_name} expects {given} {what}{'' if given == 1 else 's'} but got {arriving}",
            argument=argument,
            label=f"expected {given} here",
            help=f"`{without or layer.spec_name}` accepts any input size",
        )


def image(layer: type[Layer], incoming: Shape, least: int = 1) -> tuple[int, int, int]:
    """Return channels, rows and columns of an image `(C, H, W)`. Raises ShapeError for other samples, and says how to
    turn them into an image, with at least `least` rows if possible.
    """
    if len(incoming) == 3:
        return incoming[0], incoming[1], incoming[2]
    wanted: Shape = (1, *incoming)
    if len(incoming) == 1:
        rows = next(n for n in range(isqrt(incoming[0]), 0, -1) if incoming[0] % n == 0)
        wanted = (1, rows, incoming[0] // rows)
    elif len(incoming) > 3:
        wanted = (prod(incoming[:-2]), *incoming[-2:])
    padding = "" if min(wanted[1:]) >= least else ", and write `padding=same` here"
    raise ShapeError(
        f"{layer.spec_name} expects an image, channels × rows × columns, but got {sample_in_words(incoming)}",
        help=f"add {reshape(wanted)} before it{padding}",
    )


def reshape(shape: Shape) -> str:
    """Write the layer that reshapes samples to a shape."""
    return f"`Reshape([{', '.join(map(str, shape))}])`"


def layers_towards(shape: Shape, wanted: Shape) -> str:
    """Write the layers that convert samples of one shape to the wanted shape; () is a single number."""
    wanted = wanted or (1,)
    if len(shape) == len(wanted) < 3 and shape[:-1] == wanted[:-1]:
        return f"`Linear({wanted[-1]})`"
    if len(shape) == len(wanted) == 3 and shape[1:] == wanted[1:]:
        return f"`Conv2D({wanted[0]}, 1)`"
    layers = ["`Flatten`"] if len(shape) > 1 else []
    layers.append(f"`Linear({prod(wanted)})`")
    layers += [reshape(wanted)] if len(wanted) > 1 else []
    return " and ".join(filter(None, [", ".join(layers[:-1]), layers[-1]]))


def saved(value: Kept | None, layer: Layer) -> Kept:
    """Return what forward kept for backward. Raises RuntimeError if forward has not run."""
    if value is None:
        raise RuntimeError(f"{type(layer).__name__}.backward needs a forward pass first")
    return value


def passed_on(grad: NDArray[Any] | None, layer: Layer) -> NDArray[Any]:
    """Return the gradient that backward computed for the previous layer. Raises ContractError if it is None."""
    if grad is None:
        raise ContractError(
            f"{type(layer).__name__}.backward returns nothing where the gradient of its input is wanted"
        )
    return grad


def rows_of_places(array: NDArray[Any]) -> NDArray[Any]:
    """View the positions of all samples as rows: `(B, T, n)` as `(B·T, n)`."""
    return array.reshape(-1, array.shape[-1])
