"""Layers composed of other layers: residuals, sums of branches, and concatenations.

Every branch reads the same input x, and their outputs are joined:

    Residual    y = F(x) + S(x)             S is the identity, or a shortcut of its own
    Add         y = Σ fᵢ(x)
    Concat      y = [f₁(x), f₂(x), …]

so dL/dx is the sum of the gradients that come back through the branches. A branch without layers is the identity. In a
spec, a composition is a section of the model, with the branches in its braces; its shape rule is `combine`. The
compositions themselves are in `joining`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import indent
from typing import TYPE_CHECKING, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.layers.chain import Chain, Member
from nnspec.engine.layers.contract import Geometry, Layer, Shape, ShapeError, numbered
from nnspec.engine.part import Signature
from nnspec.engine.work import Work
from nnspec.errors import ensure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.engine.parameter import Parameter

__all__ = ["Composition"]

Layers = Sequence[Layer] | Mapping[str, Layer]
"""A branch, as written in Python: a sequence of layers, named explicitly or by kind and number."""


class Composition(Layer):
    """Base of the compositions: branches that all start at x `(B, *in)`, joined to y `(B, *out)`.

    Parameters are named by the paths of the layers: `Linear1.weight` in a residual's own chain,
    `shortcut.Linear1.weight` or `a.Linear1.weight` in a named branch. Raises ValueError for missing branches, for empty
    ones that may not be empty, for duplicate or invalid names, and for a layer that occurs twice; TypeError for
    anything that is not a layer; ShapeError at the first pass if the branches do not fit.
    """

    kind = "composition"
    # The inputs of the branches' first layers; outputs that layers read again are in buffers of their own.
    backward_reads = frozenset({"input"})
    samples_independent = True

    own_chain: ClassVar[str] = ""
    """The branch written directly in the braces of the composition; it adds nothing to the names of its layers."""
    inner: ClassVar[tuple[str, ...]] = ()
    """The allowed names of other branches; empty if any name is allowed."""
    least: ClassVar[int] = 2
    """The minimum number of branches."""
    splits: ClassVar[bool] = False
    """Whether each branch receives its own part of the gradient, instead of sharing all of it."""

    def __init__(self, branches: Mapping[str, Layers]) -> None:
        super().__init__()
        chains = {name: _named(layers, self) for name, layers in branches.items()}
        _complete(type(self), chains)
        self.kernel = self.make_kernel(self.arguments())
        self._branches: dict[str, Chain] = {}
        self._children: dict[str, Layer] = {}
        for branch, chain in chains.items():
            layers = {self.path(branch, name): layer for name, layer in chain.items()}
            self._branches[branch] = Chain(layers)
            self._children |= layers
        self._distinct(sum(map(len, chains.values())))
        self._reads_by_name = next((repr(layer) for layer in self.walk() if layer is not self and layer.read()), "")
        self._training, self._hold_noise = True, False
        self._shapes: tuple[Shape, ...] = ()

    def _distinct(self, count: int) -> None:
        names = sum(len(layer.parameters()) for layer in self._children.values())
        if len(self._children) < count or len(self.parameters()) < names:
            raise ValueError(f"two layers of this {type(self).__name__} have the same name")
        layers = list(self.walk())
        if len({id(layer) for layer in layers}) < len(layers):
            raise ValueError(
                f"a layer stands twice in this {type(self).__name__}: it keeps what its backward needs, once"
            )

    # Known before any array exists

    @classmethod
    def signature(cls) -> Signature:  # type: ignore[override]
        """Return an empty signature: in a spec, the branches of a composition are in its braces."""
        return Signature(())

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Raise ShapeError: the shape of a composition follows from its branches, by `combine`."""
        raise ShapeError(f"the shape of a `{cls.spec_name}` follows from its branches")

    @classmethod
    def path(cls, branch: str, name: str) -> str:
        """Return the path in the composition of the layer `name` of a branch."""
        return name if branch == cls.own_chain else f"{branch}.{name}"

    @classmethod
    def name_within(cls, composition: str, branch: str, full: str) -> str:
        """Return the name of a layer within its branch, given its full name, which begins with that of its composition.

        `residual1.shortcut.Linear1` is `Linear1` in the branch `shortcut` of `residual1`.
        """
        return full.removeprefix(f"{composition}.{cls.path(branch, '')}")

    @classmethod
    def join(cls, incoming: Shape, outs: Mapping[str, Shape]) -> Shape:
        """Return the shape of one sample's output, from those of the branches. Raises ShapeError, naming a branch."""
        raise NotImplementedError

    @classmethod
    def additions(cls, out: Shape, branches: int) -> int:
        """Count the FLOPs of joining one sample's outputs."""
        raise NotImplementedError

    @classmethod
    def make_kernel(cls, arguments: Mapping[str, Any]) -> Layer | None:
        """Return the layer that joins the outputs of the branches, which it reads as x and others; None for a sum and a
        concatenation.
        """
        return None

    @classmethod
    def join_flops(cls, outs: Sequence[Shape], arguments: Mapping[str, Any]) -> int:
        """Count the FLOPs of joining one sample's outputs that depend on the shapes of the branches."""
        return 0

    @classmethod
    def join_work(cls, out: Shape, outs: Sequence[Shape], arguments: Mapping[str, Any]) -> Mapping[str, Work]:
        """Return the work arrays of the kernel."""
        return {}

    @classmethod
    def combine(
        cls, incoming: Shape, branches: Mapping[str, Sequence[Member]], arguments: Mapping[str, Any] | None = None
    ) -> Geometry:
        """Return shapes, parameters and cost of branches that start at `incoming`. Raises ShapeError."""
        _complete(cls, branches)
        outs = {name: chain[-1].geometry.out if chain else incoming for name, chain in branches.items()}
        out = cls.join(incoming, outs)
        given = dict(arguments or {})
        flops = cls.additions(out, len(branches)) + cls.join_flops([*outs.values()], given)
        parameters: dict[str, Shape] = {}
        state: dict[str, Shape] = {}
        for branch, chain in branches.items():
            members = {cls.path(branch, member.name): member for member in chain}
            ensure(len(members) == len(chain), f"two layers of the branch {branch!r} have the same name")
            for path, member in members.items():
                flops += member.geometry.flops
                for name, shape in member.geometry.parameters.items():
                    ensure(f"{path}.{name}" not in parameters, f"two parameters are called {path}.{name}")
                    parameters[f"{path}.{name}"] = shape
                state |= {f"{path}.{name}": shape for name, shape in member.geometry.state.items()}
        work = cls.join_work(out, [*outs.values()], given)
        return Geometry(out=out, flops=flops, parameters=parameters, state=state, work=work)

    def output_shape(self, incoming: Shape, *others: Shape) -> Shape:
        """Return the shape of one sample's output, from those of the branches. Raises ShapeError if they do not fit."""
        self._alone()
        outs = {name: chain.output_shape(incoming) for name, chain in self._branches.items()}
        return self.join(incoming, outs)

    # The kernels

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Run every branch on x, and join the outputs: `(B, *in) -> (B, *out)`."""
        self._alone()
        return self.join_outputs(x, [chain.forward(x) for chain in self._branches.values()], out)

    def join_outputs(
        self, x: NDArray[Any], ys: Sequence[NDArray[Any]], out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Join the outputs of the branches for the input x: `(B, *outᵢ) -> (B, *out)`. Raises ShapeError if they do
        not fit.
        """
        shapes = (x.shape[1:], *(y.shape[1:] for y in ys))
        if shapes != self._shapes:
            self.join(x.shape[1:], dict(zip(self._branches, shapes[1:], strict=True)))
            self._shapes = shapes
        return self._joined(ys, out)

    def branch_gradients(self, grad: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Yield the gradient of each branch's output, dL/dyᵢ `(B, *outᵢ)`, for dL/dy `(B, *out)`."""
        if not self._shapes:
            raise RuntimeError(f"{type(self).__name__}.backward needs a forward pass first")
        return self._shares(grad)

    def _alone(self) -> None:
        """Raise ValueError if a layer inside reads a value by name, which only a network can provide."""
        if self._reads_by_name:
            raise ValueError(
                f"{self._reads_by_name} in this {type(self).__name__} reads a value by its name: call a `Sequential` "
                "that contains both"
            )

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Σ over the branches of their input gradients: `(B, *out) -> (B, *in)`; `grad` is not modified."""
        self._alone()
        parts = [
            chain.backward(share, input_grad=input_grad)
            for chain, share in zip(self._branches.values(), self.branch_gradients(grad), strict=True)
        ]
        if not input_grad:
            return None
        first, second, *others = (part for part in parts if part is not None)
        total = np.add(first, second, out=out)
        for part in others:
            np.add(total, part, out=total)
        return total

    def _joined(self, ys: Sequence[NDArray[Any]], out: NDArray[Any] | None) -> NDArray[Any]:
        raise NotImplementedError

    def _shares(self, grad: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Yield the gradient of each branch's output."""
        raise NotImplementedError

    def chains(self) -> Mapping[str, Mapping[str, Layer]]:
        """Return the layers of each branch by their paths in the composition, in order."""
        return {branch: chain.layers for branch, chain in self._branches.items()}

    def branches(self) -> Mapping[str, Sequence[Layer]]:
        """Return the layers of each branch, in order."""
        return {branch: tuple(chain.layers.values()) for branch, chain in self._branches.items()}

    def joined(self, ys: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Join the outputs of the branches for samples shaped as in the last forward pass, `(B, *outᵢ) -> (B,
        *out)`.
        """
        return self._joined(ys, None)

    # Delegated to the layers

    def lend(self, work: Mapping[str, NDArray[Any]]) -> None:
        """Lend work arrays to the layer that joins the branches, if there is one."""
        super().lend(work)
        if self.kernel is not None:
            self.kernel.lend(work)

    def children(self) -> Mapping[str, Layer]:
        """Return the layers of all branches by their paths, in order."""
        return self._children

    def parameters(self) -> dict[str, Parameter]:
        """Return the parameters of all branches, by the paths of their layers."""
        return {
            f"{path}.{name}": parameter
            for path, layer in self._children.items()
            for name, parameter in layer.parameters().items()
        }

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the state of the layers of all branches, by their paths."""
        return {f"{path}.{name}": a for path, layer in self._children.items() for name, a in layer.state().items()}

    def keep_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Hand each layer the arrays for its state."""
        for path, layer in self._children.items():
            layer.keep_state({name: arrays[f"{path}.{name}"] for name in layer.state()})

    @property
    def training(self) -> bool:
        """Whether it is in training mode; setting it sets it for all layers of the branches."""
        return self._training

    @training.setter
    def training(self, value: bool) -> None:
        self._training = value
        for layer in self._children.values():
            layer.training = value

    @property
    def hold_noise(self) -> bool:
        """Whether no new random numbers are drawn; setting it sets it for all layers of the branches."""
        return self._hold_noise

    @hold_noise.setter
    def hold_noise(self, value: bool) -> None:
        self._hold_noise = value
        for layer in self._children.values():
            layer.hold_noise = value

    def __repr__(self) -> str:
        branches = (f"{name}={_in_brackets(chain)}" for name, chain in self._branches.items())
        return f"{type(self).__name__}(" + "".join(f"\n    {branch}," for branch in branches) + "\n)"


def _in_brackets(chain: Chain) -> str:
    layers = "".join(f"\n{indent(repr(layer), ' ' * 8)}," for layer in chain.layers.values())
    return f"[{layers}\n    ]" if layers else "[]"


def _complete(composition: type[Composition], branches: Mapping[str, Sequence[Any] | Mapping[str, Any]]) -> None:
    """Raise ShapeError if branches are missing."""
    if len(branches) < composition.least:
        raise ShapeError(f"`{composition.spec_name}` needs at least {composition.least} branches")
    own = composition.own_chain
    if own and not branches.get(own):
        raise ShapeError(f"the {own} of this `{composition.spec_name}` has no layers", argument=own)


def _named(layers: Layers, composition: Composition) -> dict[str, Layer]:
    """Name the layers of a branch; raise an error for anything that is not a layer, and for invalid names."""
    title = type(composition).__name__
    if isinstance(layers, Layer) or not isinstance(layers, (Mapping, Sequence)):
        raise TypeError(f"a branch of {title} is a list of layers, not {layers!r}")
    for layer in layers.values() if isinstance(layers, Mapping) else layers:
        if not isinstance(layer, Layer):
            raise TypeError(f"{title} takes layers, not {layer!r}")
    found = dict(layers) if isinstance(layers, Mapping) else numbered(layers)
    for name in found:
        if not all(word.isidentifier() for word in name.split(".")):
            raise ValueError(f"{name!r} is not the name of a layer")
    return found
