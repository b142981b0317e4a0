"""Proof of the calculus: analytic gradients against central differences, tensor by tensor.

For a tensor with analytic gradient a and numerical gradient n, both taken over the entries that were checked:

    error = ‖a − n‖₂ / max(‖a‖₂ + ‖n‖₂, floor),    nᵢ = (L(θ + ε eᵢ) − L(θ − ε eᵢ)) / 2ε

A central difference in float64 carries a rounding error of about e = u·|L|/ε an entry, with u = 2⁻⁵². `floor` is 4 ‖e‖
divided by the bound 1e-7, so that a gradient that is truly zero reads about 1e-8, not 1, while a wrong derivative still
shows as soon as it is larger than the noise.

**What a central difference gets wrong.** With σ the rounding error of one evaluation of L, and R = L‴/6,

    n(h) = L′ + R h² + O(h⁴) + σ/h

The step ε suits most networks: with L‴ near 1, both terms are about 1e-11. Where L bends within a short distance s, as
below LayerNorm or RMSNorm on rows of one or two numbers with s = √eps, R is of the order of L′/s², and the second term
alone can exceed the bound. So no tensor fails by the differences at ε alone. Its slopes are sharpened, largest
disagreement first, until the error falls below a tenth of the bound or the sharpened slopes alone exceed the bound.
Sharpening takes central differences at steps from ε/16 to 32 ε and extrapolates them to h = 0 in h² (Richardson 1911;
Ridders 1982, Adv. Eng. Software 4(2)). Of all extrapolated values it takes the one with the smallest predicted error

    eᵢ = the larger distance to the two values that it was extrapolated from + 2 σ / (its smallest step)

σ is measured on the function itself: for smooth L, third differences of its values at points about 1e-9 apart are
nothing but rounding, with Σ T²/20 as their mean square (Hamming 1973; Moré and Wild 2011, SIAM J. Sci. Comput. 33(3)).
So it holds what rounding becomes on its way through the network. `floor` is then 4 ‖e‖ divided by the bound, or by
1e-12 if that is larger.

Nothing of this looks at the analytic gradient: a wrong one is compared with a better number than before. What the
differences cannot resolve is reported as `TensorCheck.resolution`, the predicted error of n as a share of the gradient.

A step that flips the side of a ReLU crosses a kink, where no derivative exists: such entries are counted and left out.
Tensors with more than 20,000 entries, and those of which each step is long, as in convolutions, are checked along
random directions, which see every entry, and in a sample of single entries, which say where. A check with a known
effort is held to `EFFORT`: beyond it, all tensors are sampled more thinly.
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
FEWEST_SAMPLES = 2
FEWEST_ENTRIES = 8
FEWEST_DIRECTIONS = 4
EFFORT = 5e10
"""Operations that a check may take, where its effort is known: some ten seconds."""
UNIT = 2.0**-52
LADDER = tuple(2.0**k for k in range(-4, 6))
"""Steps that a slope is sharpened with, in units of ε."""
COLUMNS = 5
MARGIN = 4
FINEST = 1e-12
"""The tightest bound that the floor follows. No difference in float64 resolves less, so a tighter bound is not met."""
GOAL = 0.1
"""Slopes are sharpened until the error is below this share of the bound."""
NOISE_POINTS = 12
NOISE_STEP = 1e-4
"""Distance of the points at which rounding is measured, in units of ε."""


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
    resolution: float = 0.0
    """Predicted error of the numerical gradient as a share of the gradient, where slopes had to be sharpened."""

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
    share: float = 1.0
    """The share of the usual entries and directions that the effort allowed for."""
    asked: int | None = None
    """The samples that were given, where the effort allowed for fewer."""

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
    bound: float = BOUND,
    effort: Callable[[int], Sequence[float]] | None = None,
) -> GradientReport:
    """Check every parameter of `network`, its input x `(B, *in)` and the gradient of `loss` at its outputs.

    An input of ids, for a network that looks rows up, has no gradient and is left out.

    `penalties` on its weights are part of what is differentiated. `only` names parameters, where not all are wanted.
    `quick` takes a sixteenth of the entries and directions of tensors that are sampled. Slopes are sharpened where the
    error is not below `bound`, or 1e-7 if that is smaller. `effort` says how many operations a forward pass of so many
    samples takes in each layer. With it, and without `full`, the check takes about `EFFORT` of them, or a sixteenth of
    that if `quick`: with fewer samples, at least 2, then with fewer entries and directions.

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
        probe = _Probe(
            network, x, value, epsilon, full, rng, kinks, QUICK if quick else 1, max(min(bound, BOUND), FINEST)
        )
        outputs = network.forward(x).copy()
        magnitude = max(abs(value(outputs)), 1.0)
        grad = loss.backward()
        input_grad = network.backward(grad)
        penalise(params, penalties, np.empty(BLOCK))
        asked = list(probe.parameters(only))
        if only is None:
            ids = any(layer.looks_up for layer in network.layers[0].walk()) if network.layers else False
            asked += [] if ids else [_Asked("input", x, input_grad, 0)]
            asked.append(_Asked("loss", outputs, grad, len(network.layers)))
        if effort is not None and not full:
            probe.limit(asked, effort(len(x)), EFFORT / (QUICK if quick else 1))
        if probe.allowed == 1 or len(x) <= FEWEST_SAMPLES:
            checks = [probe.tensor(each, magnitude) for each in asked]
            return GradientReport(tuple(checks), len(x), epsilon, share=probe.allowed)
    half = max(FEWEST_SAMPLES, len(x) // 2)
    report = check_gradients(
        network,
        loss,
        x[:half],
        targets[:half],
        epsilon=epsilon,
        rng=rng,
        penalties=penalties,
        only=only,
        quick=quick,
        bound=bound,
        effort=effort,
    )
    return replace(report, asked=len(x))


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
        asked = [*probe.parameters(), _Asked("input", x, input_grad, 0)]
        checks = [probe.tensor(each, magnitude) for each in asked]
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


@dataclass(frozen=True)
class _Asked:
    """A tensor to check: `array`, stepped in place, feeds layer `first`, or is itself what enters there."""

    name: str
    array: NDArray[Any]
    grad: NDArray[Any]
    first: int
    start: NDArray[Any] | None = None
    """What enters layer `first`, where that is not `array`."""


@dataclass(frozen=True)
class _Line:
    """A line θ + t·d through a tensor, with the flat view that steps along it are written to."""

    flat: NDArray[Any]
    where: int | slice
    """The entry that is stepped, or all of them."""
    direction: NDArray[Any] | float

    def step(self, here: NDArray[Any] | float, t: float) -> float | None:
        """Go to t. Return what an entry then is, which rounding moves a little."""
        self.flat[self.where] = here + t * self.direction
        return float(self.flat[self.where]) if isinstance(self.where, int) else None


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
        quick: int = 1,
        bound: float = BOUND,
    ) -> None:
        self.kinks, self.bound = kinks, bound
        self.entries, self.steps = max(1, SAMPLED_ENTRIES // quick), DIRECTIONS // quick
        self.network, self.value, self.epsilon, self.full = network, value, _positive(epsilon), full
        self.allowed = 1.0
        self.rng = rng or np.random.default_rng(0)
        self.inputs = [x]
        for layer in network.layers:
            self.inputs.append(layer.forward(self.inputs[-1]))

    def parameters(self, only: Collection[str] | None = None) -> Iterator[_Asked]:
        """Yield the parameters of every layer, with the gradients of the last backward pass."""
        for k, (prefix, layer) in enumerate(zip(self.network.names, self.network.layers, strict=True)):
            for key, parameter in layer.parameters().items():
                if only is None or f"{prefix}.{key}" in only:
                    yield _Asked(f"{prefix}.{key}", parameter.data, parameter.grad.copy(), k, self.inputs[k])

    def limit(self, asked: Sequence[_Asked], effort: Sequence[float], most: float) -> None:
        """Sample more thinly where the whole check would take more operations than `most`."""
        need = sum(2 * sum(self._lines(each)) * sum(effort[each.first :]) for each in asked)
        self.allowed = min(1.0, most / need) if need else 1.0

    def _lines(self, asked: _Asked) -> tuple[int, int]:
        """Return how many entries of a tensor are checked, and how many directions."""
        size = asked.array.size
        numbers = sum(x.size for x in self.inputs[asked.first :])
        long = size > self.entries and size * numbers > WORTH
        sampled = (size > FULL_UP_TO or long) and not self.full
        entries = self.entries if sampled else size
        fewer = max(min(FEWEST_ENTRIES, entries), int(self.allowed * entries))
        if not sampled and fewer == size:
            return size, 0
        return fewer, max(min(FEWEST_DIRECTIONS, self.steps), int(self.allowed * self.steps))

    def tensor(self, asked: _Asked, magnitude: float) -> TensorCheck:
        """Check one tensor. `magnitude` is the size of the numbers that L is the sum of."""
        array = asked.array
        evaluate = self._from(asked.first, array if asked.start is None else asked.start)
        flat, analytic = array.reshape(-1), asked.grad.reshape(-1)
        count, turns = self._lines(asked)
        entries = np.arange(flat.size)
        if count < flat.size:
            entries = np.sort(self.rng.choice(flat.size, count, replace=False))
        noise = UNIT * magnitude / self.epsilon
        lines = [_Line(flat, int(i), 1.0) for i in entries]
        singles = [self._slope(line, evaluate) for line in lines]
        kept = _Slopes(lines, analytic[entries], singles, noise, self.bound)
        groups = [kept]
        if turns:
            across = [_Line(flat, slice(None), self._direction(flat.size)) for _ in range(turns)]
            rises = np.array([analytic @ line.direction for line in across])
            groups.append(_Slopes(across, rises, [self._slope(line, evaluate) for line in across], noise, self.bound))
        groups = [group for group in groups if group.lines]
        for group in groups:
            self._sharpen(group, flat, evaluate)
        return TensorCheck(
            name=asked.name,
            shape=array.shape,
            error=max((group.error for group in groups), default=math.nan),
            checked=len(kept.lines),
            directions=sum(len(group.lines) for group in groups) - len(kept.lines),
            kinks=len(entries) + turns - sum(len(group.lines) for group in groups),
            left_out=tuple(
                tuple(int(k) for k in np.unravel_index(i, array.shape))
                for i, slope in zip(entries, singles, strict=True)
                if slope is None
            ),
            resolution=max((group.resolution for group in groups), default=0.0),
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

    def _direction(self, size: int) -> NDArray[Any]:
        direction = self.rng.standard_normal(size)
        return direction / np.linalg.norm(direction)

    def _slope(self, line: _Line, evaluate: Evaluate) -> float | None:
        """Return the central difference along a line at ε, or None across a kink."""
        (high, up), (low, down), taken = self._both_sides(line, self.epsilon, evaluate)
        if not taken:
            raise LostStepError(f"a step of {self.epsilon:g} is lost beside {line.flat[line.where]:g}")
        return None if _crossed(up, down) else (high - low) / taken

    @staticmethod
    def _both_sides(
        line: _Line, h: float, evaluate: Evaluate
    ) -> tuple[tuple[float, Sides], tuple[float, Sides], float]:
        """Evaluate at h and at -h. Return both, and the distance: of an entry, as it was really taken."""
        here = line.flat[line.where].copy()
        try:
            top = line.step(here, h)
            above = evaluate()
            bottom = line.step(here, -h)
            below = evaluate()
        finally:
            line.flat[line.where] = here
        return above, below, 2 * h if top is None or bottom is None else float(top - bottom)

    def _sharpen(self, slopes: _Slopes, flat: NDArray[Any], evaluate: Evaluate) -> None:
        """Sharpen slopes, largest disagreement first, until the error is below the bound or cannot get there."""
        if slopes.settled():
            return
        noise = self._noise(flat, evaluate)
        for i in np.argsort(-np.abs(slopes.apart)):
            sharper = self._sharp(slopes.lines[i], evaluate, noise)
            if sharper:
                slopes.replace(int(i), *sharper)
            if slopes.settled():
                return

    def _noise(self, flat: NDArray[Any], evaluate: Evaluate) -> float:
        """Measure the rounding error of one evaluation: root mean square of third differences, divided by √20."""
        line, here = _Line(flat, slice(None), self._direction(flat.size)), flat.copy()
        try:
            values = []
            for k in range(NOISE_POINTS):
                line.step(here, k * NOISE_STEP * self.epsilon)
                values.append(evaluate()[0])
        finally:
            flat[...] = here
        measured = float(np.sqrt(np.mean(np.diff(values, 3) ** 2) / 20))
        return max(measured, UNIT / 4 * abs(values[0]))

    def _sharp(self, line: _Line, evaluate: Evaluate, noise: float) -> tuple[float, float] | None:
        """Extrapolate central differences to a step of zero; return the slope and its predicted error, or None."""
        beside = evaluate()[1]
        best: tuple[float, float] | None = None
        before: list[float] = []
        for factor in LADDER:
            h = factor * self.epsilon
            (high, up), (low, down), taken = self._both_sides(line, h, evaluate)
            if _crossed(up, beside) or _crossed(down, beside):
                break  # so do all longer steps
            if not taken:
                continue  # lost beside a large number; a longer one may not be
            # Neville's scheme in h²: `row[m]` uses the last m + 1 steps, of which the first is h / 2**m.
            row = [(high - low) / taken]
            for m, finer in enumerate(before[: COLUMNS - 1], 1):
                row.append(finer + (finer - row[m - 1]) / (4.0**m - 1))
                doubt = max(abs(row[m] - row[m - 1]), abs(row[m] - finer)) + 2 * noise * 2.0**m / h
                if best is None or doubt < best[1]:
                    best = row[m], doubt
            before = row
        return best


class _Slopes:
    """Slopes along some lines of a tensor: a by the backward pass, n by differences, and the predicted error of n."""

    def __init__(
        self, lines: list[_Line], analytic: NDArray[Any], numerical: list[float | None], noise: float, bound: float
    ) -> None:
        kept = [i for i, slope in enumerate(numerical) if slope is not None]
        self.bound = bound
        self.lines = [lines[i] for i in kept]
        self.analytic = analytic[kept]
        self.numerical = np.array([numerical[i] for i in kept])
        self.doubt = np.full(len(kept), noise)
        self.sharp = np.zeros(len(kept), dtype=bool)

    def replace(self, i: int, slope: float, doubt: float) -> None:
        """Put a sharpened slope in the place of a simple one."""
        self.numerical[i], self.doubt[i], self.sharp[i] = slope, doubt, True

    @property
    def apart(self) -> NDArray[Any]:
        """a − n."""
        return self.analytic - self.numerical

    @property
    def size(self) -> float:
        """‖a‖ + ‖n‖."""
        return float(np.linalg.norm(self.analytic) + np.linalg.norm(self.numerical))

    @property
    def scale(self) -> float:
        """The larger of ‖a‖ + ‖n‖ and the floor."""
        return max(self.size, MARGIN * float(np.linalg.norm(self.doubt)) / self.bound)

    @property
    def error(self) -> float:
        """The relative error."""
        return float(np.linalg.norm(self.apart)) / self.scale

    def settled(self) -> bool:
        """Whether nothing is left to sharpen: it holds, or the sharpened slopes alone exceed the bound."""
        beyond = float(np.linalg.norm(self.apart[self.sharp])) >= self.bound * self.scale
        return self.error < GOAL * self.bound or beyond

    @property
    def resolution(self) -> float:
        """The predicted error of sharpened slopes as a share of ‖a‖ + ‖n‖."""
        return float(np.linalg.norm(self.doubt)) / self.size if self.sharp.any() and self.size else 0.0


def _crossed(one: Sides, other: Sides) -> bool:
    return not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
