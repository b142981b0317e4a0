"""Proof of the calculus: analytic gradients against central differences, tensor by tensor.

For a tensor with analytic gradient a and numerical gradient n, both taken over the entries that were checked:

    error = ‖a − n‖₂ / max(‖a‖₂ + ‖n‖₂, floor),    nᵢ = (L(θ + ε eᵢ) − L(θ − ε eᵢ)) / 2ε

A central difference in float64 carries a rounding error of about u·|L|/ε an entry, with u = 2⁻⁵². `floor` is that noise
divided by the bound 1e-7 (with a margin of 4), so that a gradient that is truly zero reads about 1e-8, not 1, while a
wrong derivative still shows as soon as it is larger than the noise.

A step that flips the side of a ReLU crosses a kink, where no derivative exists: such entries are counted and left out.
Tensors with more than 20,000 entries, and those of which each step is long, as in convolutions, are checked along
random directions, which see every entry, and in a sample of single entries, which say where.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Layer
from nnspec.engine.losses import Loss
from nnspec.engine.network import NumpyMLP
from nnspec.engine.penalties import BLOCK, Penalty, penalise

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["GradientReport", "LostStepError", "TensorCheck", "check_gradients", "numerical_gradient_check"]

EPSILON = 1e-5
BOUND = 1e-7
FULL_UP_TO = 20_000
WORTH = 50_000_000
"""Entries times numbers in the layers that each of their steps runs through, above which a tensor is sampled."""
SAMPLED_ENTRIES = 384
DIRECTIONS = 32
QUICK = 16
UNIT = 2.0**-52


class LostStepError(ValueError):
    """A number is so large that a step beside it changes nothing."""


@dataclass(frozen=True)
class TensorCheck:
    """The outcome for one tensor."""

    name: str
    shape: tuple[int, ...]
    error: float
    """The relative difference; NaN where every step crossed a kink, so that nothing was checked."""
    checked: int
    """Single entries that were compared."""
    directions: int
    """Random directions that were compared."""
    kinks: int
    """Steps that crossed a kink and were left out."""
    left_out: tuple[tuple[int, ...], ...] = ()
    """The entries whose steps crossed a kink, by their indices."""

    @property
    def kink_share(self) -> float:
        """Share of the steps that were left out."""
        steps = self.checked + self.directions + self.kinks
        return self.kinks / steps if steps else 0.0


@dataclass(frozen=True)
class GradientReport:
    """The outcome for all tensors of a network, its input and its loss."""

    tensors: tuple[TensorCheck, ...]
    samples: int
    epsilon: float
    moved: tuple[str, ...] = ()
    """Parameters that were moved a little from where they start, for there every step crossed a kink."""

    def with_others(self, others: GradientReport) -> GradientReport:
        """Return this report with the tensors of another one in place of its own."""
        known = {tensor.name: tensor for tensor in others.tensors}
        return replace(self, tensors=tuple(known.get(tensor.name, tensor) for tensor in self.tensors))

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Names of the tensors of which nothing could be checked."""
        return tuple(tensor.name for tensor in self.tensors if math.isnan(tensor.error))

    @property
    def error(self) -> float:
        """The largest relative difference of all; NaN where a tensor could not be checked at all."""
        errors = [tensor.error for tensor in self.tensors]
        return math.nan if any(math.isnan(error) for error in errors) else max(errors)


Sides = list["NDArray[Any]"]
Evaluate = Callable[[], tuple[float, Sides]]


def check_gradients(
    network: NumpyMLP,
    loss: Loss,
    x: NDArray[Any],
    targets: NDArray[Any],
    *,
    epsilon: float = EPSILON,
    full: bool = False,
    rng: Generator | None = None,
    penalties: Sequence[Penalty] = (),
    only: Collection[str] | None = None,
    quick: bool = False,
) -> GradientReport:
    """Check every parameter of `network`, its input x `(B, *in)` and the gradient of `loss` at its outputs.

    `penalties` on its weights are part of what is differentiated. `only` names parameters, where not all are wanted.
    `quick` takes a sixteenth of the entries and directions of tensors that are sampled.

    The network must be float64; its parameters and their gradients are as before afterwards, up to the last backward
    pass. `full` takes every entry of every tensor. Raises ValueError for a network in another dtype, and
    LostStepError, which is one, for numbers so large that a step beside them changes nothing.
    """

    params = network.parameters()
    weights = [p.data.reshape(-1)[part] for p in (params if penalties else ()) for part in p.decaying]

    def value(outputs: NDArray[Any]) -> float:
        return loss.forward(outputs, targets) + sum(penalty.value(w) for penalty in penalties for w in weights)

    def kinks() -> NDArray[Any] | None:
        sides = [loss.sides(), *(penalty.sides(w) for penalty in penalties for w in weights)]
        known = [side.reshape(-1) for side in sides if side is not None]
        return np.concatenate(known) if known else None

    x = np.array(x, dtype=np.float64, order="C")  # C order: it is stepped through a flat view
    with _still(network):
        probe = _Probe(network, x, value, epsilon, full, rng, kinks, QUICK if quick else 1)
        outputs = network.forward(x).copy()
        magnitude = max(abs(value(outputs)), 1.0)
        grad = loss.backward()
        input_grad = network.backward(grad)
        penalise(params, penalties, np.empty(BLOCK))
        checks = list(probe.parameters(magnitude, only))
        if only is None:
            checks.append(probe.tensor("input", x, input_grad, 0, magnitude))
            checks.append(probe.tensor("loss", outputs, grad, len(network.layers), magnitude))
    return GradientReport(tuple(checks), len(x), epsilon)


def numerical_gradient_check(layer: Layer | NumpyMLP, x: NDArray[Any], epsilon: float = EPSILON) -> float:
    """Return the largest relative difference over the parameters and the input of `layer` at x `(B, *in)`.

    The scalar that is differentiated is Σ r·f(x), with fixed random r of f(x)'s shape. Raises ValueError for a layer
    whose parameters are not float64.
    """
    network = layer if isinstance(layer, NumpyMLP) else NumpyMLP(layer)
    x = np.array(x, dtype=np.float64, order="C")  # C order: it is stepped through a flat view
    rng = np.random.default_rng(0)
    with _still(network):
        outputs = network.forward(x)
        cotangent = rng.standard_normal(outputs.shape)
        probe = _Probe(network, x, lambda y: float(np.sum(y * cotangent)), epsilon, False, rng)
        magnitude = max(float(np.sum(np.abs(outputs * cotangent))), 1.0)
        input_grad = network.backward(cotangent)
        checks = [*probe.parameters(magnitude), probe.tensor("input", x, input_grad, 0, magnitude)]
    return GradientReport(tuple(checks), len(x), epsilon).error


def _positive(epsilon: float) -> float:
    if not epsilon > 0:
        raise ValueError(f"epsilon must be greater than 0, and {epsilon!r} is not")
    return epsilon


class _still:
    """While open, the layers of a network draw no new noise: the same function at every step."""

    def __init__(self, network: NumpyMLP) -> None:
        # Compositions come before their layers, whose own state is set back after theirs.
        self.layers = [inner for layer in network.layers for inner in layer.walk()]
        for name, parameter in network.named_parameters().items():
            if parameter.data.dtype != np.float64:
                raise ValueError(
                    f"a gradient check needs float64, and {name} is {parameter.data.dtype}: "
                    "its rounding would be larger than the differences"
                )

    def __enter__(self) -> None:
        self.before = [layer.hold_noise for layer in self.layers]
        for layer in self.layers:
            layer.hold_noise = True

    def __exit__(self, *_: object) -> None:
        for layer, held in zip(self.layers, self.before, strict=True):
            layer.hold_noise = held


class _Probe:
    """Takes the steps. A step in layer k runs only the layers from k on."""

    def __init__(
        self,
        network: NumpyMLP,
        x: NDArray[Any],
        value: Callable[[NDArray[Any]], float],
        epsilon: float,
        full: bool,
        rng: Generator | None,
        kinks: Callable[[], NDArray[Any] | None] = lambda: None,
        share: int = 1,
    ) -> None:
        self.kinks = kinks
        self.entries, self.steps = max(1, SAMPLED_ENTRIES // share), DIRECTIONS // share
        self.network, self.value, self.epsilon, self.full = network, value, _positive(epsilon), full
        self.rng = rng or np.random.default_rng(0)
        self.inputs = [x]
        for layer in network.layers:
            self.inputs.append(layer.forward(self.inputs[-1]))

    def parameters(self, magnitude: float, only: Collection[str] | None = None) -> Iterator[TensorCheck]:
        """Check the parameters of every layer, against the gradients of the last backward pass."""
        for k, (prefix, layer) in enumerate(zip(self.network.names, self.network.layers, strict=True)):
            for key, parameter in layer.parameters().items():
                if only is not None and f"{prefix}.{key}" not in only:
                    continue
                grad = parameter.grad.copy()
                yield self.tensor(f"{prefix}.{key}", parameter.data, grad, k, magnitude, self.inputs[k])

    def tensor(
        self,
        name: str,
        array: NDArray[Any],
        grad: NDArray[Any],
        first: int,
        magnitude: float,
        start: NDArray[Any] | None = None,
    ) -> TensorCheck:
        """Check one tensor: `array`, stepped in place, feeds layer `first`, or is itself what enters there."""
        evaluate = self._from(first, array if start is None else start)
        flat, analytic = array.reshape(-1), grad.reshape(-1)
        numbers = sum(x.size for x in self.inputs[first:])
        long = flat.size > self.entries and flat.size * numbers > WORTH
        sampled = (flat.size > FULL_UP_TO or long) and not self.full
        entries = np.sort(self.rng.choice(flat.size, self.entries, replace=False)) if sampled else np.arange(flat.size)
        noise = UNIT * magnitude / self.epsilon
        singles = [(analytic[i], self._slope_at(flat, int(i), evaluate)) for i in entries]
        directions = list(self._directions(flat, analytic, evaluate)) if sampled else []
        kept = [(a, n) for a, n in singles if n is not None]
        crossed = [int(i) for i, (_, n) in zip(entries, singles, strict=True) if n is None]
        kept_directions = [(a, n) for a, n in directions if n is not None]
        errors = [_relative(pairs, noise) for pairs in (kept, kept_directions) if pairs]
        return TensorCheck(
            name=name,
            shape=array.shape,
            error=max(errors, default=math.nan),
            checked=len(kept),
            directions=len(kept_directions),
            kinks=len(singles) + len(directions) - len(kept) - len(kept_directions),
            left_out=tuple(tuple(int(k) for k in np.unravel_index(i, array.shape)) for i in crossed),
        )

    def _from(self, first: int, start: NDArray[Any]) -> Evaluate:
        layers = self.network.layers[first:]

        def evaluate() -> tuple[float, Sides]:
            y, sides = start, []
            for layer in layers:
                y = layer.forward(y)
                side = layer.sides()
                if side is not None:
                    sides.append(side)
            value, side = self.value(y), self.kinks()
            return value, sides if side is None else [*sides, side]

        return evaluate

    def _slope_at(self, flat: NDArray[Any], i: int, evaluate: Evaluate) -> float | None:
        """Central difference along entry i, or None across a kink. Divided by the step that was really taken."""
        here = flat[i]
        try:
            flat[i] = up = here + self.epsilon
            high, sides_up = evaluate()
            flat[i] = down = here - self.epsilon
            low, sides_down = evaluate()
        finally:
            flat[i] = here
        if up == down:
            raise LostStepError(f"a step of {self.epsilon:g} is lost beside {here:g}")
        return None if _crossed(sides_up, sides_down) else (high - low) / float(up - down)

    def _directions(
        self, flat: NDArray[Any], analytic: NDArray[Any], evaluate: Evaluate
    ) -> Iterator[tuple[float, float | None]]:
        here = flat.copy()
        try:
            for _ in range(self.steps):
                direction = self.rng.standard_normal(flat.size)
                direction /= np.linalg.norm(direction)
                np.add(here, self.epsilon * direction, out=flat)
                high, sides_up = evaluate()
                np.subtract(here, self.epsilon * direction, out=flat)
                low, sides_down = evaluate()
                crossed = _crossed(sides_up, sides_down)
                yield float(analytic @ direction), None if crossed else (high - low) / (2 * self.epsilon)
        finally:
            flat[...] = here


def _crossed(one: Sides, other: Sides) -> bool:
    return not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def _relative(pairs: list[tuple[float, float]], noise: float) -> float:
    analytic, numerical = np.array(pairs).T
    floor = 4 * noise * math.sqrt(len(pairs)) / BOUND
    scale = max(float(np.linalg.norm(analytic) + np.linalg.norm(numerical)), floor)
    return float(np.linalg.norm(analytic - numerical)) / scale
