"""The gradient check: compares analytic gradients with central differences, tensor by tensor.

For a tensor with analytic gradient a and numerical gradient n, both taken over the entries that were checked:

    error = ‖a − n‖₂ / max(‖a‖₂ + ‖n‖₂, floor),    nᵢ = (L(θ + ε eᵢ) − L(θ − ε eᵢ)) / 2ε

A central difference in float64 has a rounding error of about e = u·|L|/ε per entry, with u = 2⁻⁵². `floor` is 4 ‖e‖
divided by the bound 1e-7, so that a gradient that is truly zero has an error of about 1e-8, not 1, while a wrong
derivative still shows as soon as it exceeds the noise.

**Errors of central differences.** With σ the rounding error of one evaluation of L, and R = L‴/6,

    n(h) = L′ + R h² + O(h⁴) + σ/h

The step ε suits most networks: with L‴ near 1, both terms are about 1e-11. If L curves strongly over a short distance
s, as before LayerNorm or RMSNorm on rows of one or two numbers with s = √eps, R is of the order of L′/s², and the
second term alone can exceed the bound. Therefore no tensor fails because of the differences at ε alone. Its slopes are
sharpened, largest disagreement first, until the error falls below a tenth of the bound or the sharpened slopes alone
exceed the bound. Sharpening takes central differences at steps from ε/16 to 32 ε and extrapolates them to h = 0 in h²
(Richardson 1911; Ridders 1982, Adv. Eng. Software 4(2)). Of all extrapolated values it takes the one with the smallest
predicted error

    eᵢ = the larger distance to the two values that it was extrapolated from + 2 σ / (its smallest step)

σ is measured on the function itself: for smooth L, third differences of its values at points about 1e-9 apart consist
of rounding only, with Σ T²/20 as their mean square (Hamming 1973; Moré and Wild 2011, SIAM J. Sci. Comput. 33(3)).
It therefore includes the propagation of rounding errors through the network. `floor` is then 4 ‖e‖ divided by the
bound, or by 1e-12 if that is larger.

None of this depends on the analytic gradient: a wrong one is merely compared with a more accurate number. The accuracy
limit of the differences is reported as `TensorCheck.resolution`, the predicted error of n relative to the gradient.

A step that flips the side of a ReLU crosses a kink, where no derivative exists: such entries are counted and skipped.
Tensors with more than 20,000 entries, and those whose steps are expensive, as in convolutions, are checked along random
directions, which cover every entry, and at a sample of single entries, which locate errors. A check with a known cost
is limited to `EFFORT`: beyond it, all tensors are sampled more sparsely.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.copies import Copies, Lines, Tensor, crossed, loss_of, product_with
from nnspec.engine.layers.contract import Layer
from nnspec.engine.losses import Loss
from nnspec.engine.network import Sequential
from nnspec.engine.penalties import BLOCK, Penalty, penalise

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = [
    "GradientCheck",
    "GradientReport",
    "LostStepError",
    "TensorCheck",
    "check_gradients",
    "numerical_gradient_check",
]

EPSILON = 1e-5
BOUND = 1e-7
FULL_UP_TO = 20_000
WORTH = 50_000_000
"""Entries times the numbers in the layers that each of their steps runs through, above which a tensor is sampled."""
SAMPLED_ENTRIES = 384
DIRECTIONS = 32
QUICK = 16
FEWEST_SAMPLES = 2
FEWEST_ENTRIES = 8
FEWEST_DIRECTIONS = 4
EFFORT = 5e10
"""The maximum number of operations of a check whose cost is known: about ten seconds."""
UNIT = 2.0**-52
LADDER = tuple(2.0**k for k in range(-4, 6))
"""Steps used to sharpen a slope, in units of ε."""
COLUMNS = 5
MARGIN = 4
FINEST = 1e-12
"""The tightest bound that the floor follows. Differences in float64 cannot resolve less."""
GOAL = 0.1
"""Slopes are sharpened until the error is below this share of the bound."""
NOISE_POINTS = 12
NOISE_STEP = 1e-4
"""Distance of the points at which rounding is measured, in units of ε."""


class LostStepError(ValueError):
    """A number is so large that adding a step does not change it."""


@dataclass(frozen=True)
class TensorCheck:
    """The result for one tensor."""

    name: str
    shape: tuple[int, ...]
    error: float
    """The relative difference; NaN if every step crossed a kink, so that nothing was checked."""
    checked: int
    """The number of single entries compared."""
    directions: int
    """The number of random directions compared."""
    kinks: int
    """The number of steps that crossed a kink and were skipped."""
    left_out: tuple[tuple[int, ...], ...] = ()
    """The indices of the entries whose steps crossed a kink."""
    resolution: float = 0.0
    """Predicted error of the numerical gradient relative to the gradient, if slopes had to be sharpened."""

    @property
    def kink_share(self) -> float:
        """The fraction of steps that were skipped."""
        steps = self.checked + self.directions + self.kinks
        return self.kinks / steps if steps else 0.0


@dataclass(frozen=True)
class GradientReport:
    """The result for all tensors of a network, its input and its loss."""

    tensors: tuple[TensorCheck, ...]
    samples: int
    epsilon: float
    moved: tuple[str, ...] = ()
    """Parameters that were moved slightly from their initial values, because every step there crossed a kink."""
    share: float = 1.0
    """The fraction of the usual entries and directions that were checked within the effort."""
    asked: int | None = None
    """The number of samples passed, if fewer were used to stay within the effort."""

    def with_others(self, others: GradientReport) -> GradientReport:
        """Return this report with the results of another one replacing its own for the same tensors."""
        known = {tensor.name: tensor for tensor in others.tensors}
        return replace(self, tensors=tuple(known.get(tensor.name, tensor) for tensor in self.tensors))

    @property
    def unchecked(self) -> tuple[str, ...]:
        """The names of the tensors that could not be checked at all."""
        return tuple(tensor.name for tensor in self.tensors if math.isnan(tensor.error))

    @property
    def error(self) -> float:
        """The largest relative difference of all; NaN if a tensor could not be checked at all."""
        errors = [tensor.error for tensor in self.tensors]
        return math.nan if any(math.isnan(error) for error in errors) else max(errors)


@dataclass(frozen=True, kw_only=True)
class GradientCheck:
    """The settings of a gradient check.

    Slopes are sharpened if the error is not below `bound`, or 1e-7 if that is smaller. Raises ValueError if `epsilon`
    is not greater than 0.
    """

    epsilon: float = EPSILON
    """The step of the differences."""
    bound: float = BOUND
    full: bool = False
    """Check every entry of every tensor."""
    quick: bool = False
    """Use a sixteenth of the entries and directions of sampled tensors, and of the effort."""
    rng: Generator | None = None
    """Draws the sample of entries and the directions; by default the same each time."""
    penalties: Sequence[Penalty] = ()
    """Penalties on the weights, which are included in the differentiated function."""
    only: Collection[str] | None = None
    """The parameters to check; all by default."""
    effort: Callable[[int], Sequence[float]] | None = None
    """Maps a number of samples to the operations of a forward pass in each layer. With it, and without `full`, the
    check takes about `EFFORT` operations: it uses fewer samples, at least 2, and then fewer entries and directions.
    """

    def __post_init__(self) -> None:
        if not self.epsilon > 0:
            raise ValueError(f"epsilon must be greater than 0, got {self.epsilon!r}")

    def run(
        self,
        network: Sequential,
        loss: Loss,
        x: NDArray[Any],
        targets: NDArray[Any],
        weights: NDArray[Any] | None = None,
    ) -> GradientReport:
        """Check `network` at x; see `check_gradients`."""
        x = np.array(x, dtype=np.float64, order="C")  # C order: steps are made through a flat view
        with _repeatable(network):
            copies = Copies(network, x, partial(loss_of, loss, targets, weights), self.penalties)
            outputs = copies.outputs.copy()
            terms = sum(copies.terms.values()) + copies.added_before
            magnitude = max(abs(loss(outputs, targets, weights) + terms), 1.0)
            grad = loss.backward()
            input_grad = network.backward(grad)
            penalise(network.parameters(), self.penalties, np.empty(BLOCK))
            tensors = [tensor for tensor in _parameters(network) if self.only is None or tensor.name in self.only]
            if self.only is None:
                ids = any(layer.looks_up for top in network.layers for layer in top.walk())
                tensors += [] if ids else [Tensor("input", x, input_grad, 0)]
                tensors.append(Tensor("loss", outputs, grad, len(network.layers)))
            probe = _Probe(self, copies)
            if self.effort is not None and not self.full:
                probe.limit(tensors, self.effort(len(x)), EFFORT / (QUICK if self.quick else 1))
            if probe.allowed == 1 or len(x) <= FEWEST_SAMPLES:
                checks = [probe.tensor(tensor, magnitude) for tensor in tensors]
                return GradientReport(tuple(checks), len(x), self.epsilon, share=probe.allowed)
        half = max(FEWEST_SAMPLES, len(x) // 2)
        fewer = None if weights is None else weights[:half]
        return replace(self.run(network, loss, x[:half], targets[:half], fewer), asked=len(x))


def check_gradients(
    network: Sequential,
    loss: Loss,
    x: NDArray[Any],
    targets: NDArray[Any],
    *,
    weights: NDArray[Any] | None = None,
    epsilon: float = EPSILON,
    bound: float = BOUND,
    full: bool = False,
    rng: Generator | None = None,
    penalties: Sequence[Penalty] = (),
    only: Collection[str] | None = None,
    quick: bool = False,
    effort: Callable[[int], Sequence[float]] | None = None,
) -> GradientReport:
    """Check every parameter of `network`, its input x `(B, *in)` and the gradient of `loss` with respect to its
    outputs. `weights` `(B,)` are those of the samples, if these are weighted.

    An input of ids, for a network that starts with a lookup, has no gradient and is skipped. For the keywords see
    `GradientCheck`.

    The network must be float64; its parameters and gradients are restored afterwards, up to the last backward pass.
    Raises ValueError for a network in another dtype, and its subclass LostStepError for numbers so large that adding a
    step does not change them.
    """
    how = GradientCheck(
        epsilon=epsilon,
        bound=bound,
        full=full,
        quick=quick,
        rng=rng,
        penalties=penalties,
        only=only,
        effort=effort,
    )
    return how.run(network, loss, x, targets, weights)


def numerical_gradient_check(
    layer: Layer | Sequential, x: NDArray[Any], epsilon: float = EPSILON, *, only: Collection[str] | None = None
) -> float:
    """Return the largest relative difference over the parameters and the input of `layer` at x `(B, *in)`.

    `only` names the tensors to check, `input` or parameters as a network names them (`Linear1.weight`); all by default.

    The differentiated scalar is Σ r·f(x), with a fixed random r of f(x)'s shape, plus the term that the layer adds to
    the loss, if it adds one. Raises ValueError for a layer whose
    parameters are not float64.
    """
    network = layer if isinstance(layer, Sequential) else Sequential(layer)
    x = np.array(x, dtype=np.float64, order="C")  # C order: steps are made through a flat view
    rng = np.random.default_rng(0)
    how = GradientCheck(epsilon=epsilon, rng=rng)
    with _repeatable(network):
        cotangent = rng.standard_normal(network.forward(x).shape)
        copies = Copies(network, x, lambda outputs: product_with(cotangent))
        magnitude = max(float(np.sum(np.abs(copies.outputs * cotangent))) + abs(copies.added_before), 1.0)
        input_grad = network.backward(cotangent)
        probe = _Probe(how, copies)
        tensors = [*_parameters(network), Tensor("input", x, input_grad, 0)]
        checks = [probe.tensor(tensor, magnitude) for tensor in tensors if only is None or tensor.name in only]
    return GradientReport(tuple(checks), len(x), epsilon).error


def _parameters(network: Sequential) -> Iterator[Tensor]:
    """Yield the parameters of every layer, with the gradients of the last backward pass."""
    for k, (prefix, layer) in enumerate(zip(network.names, network.layers, strict=True)):
        for key, parameter in layer.parameters().items():
            yield Tensor(f"{prefix}.{key}", parameter.data, parameter.grad.copy(), k, parameter)


class _repeatable:
    """A context in which the layers of a network draw no new noise: the same function at every step."""

    def __init__(self, network: Sequential) -> None:
        # Compositions come before their layers, whose own state is restored after theirs.
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
    """Takes the steps of a check."""

    def __init__(self, how: GradientCheck, copies: Copies) -> None:
        quick = QUICK if how.quick else 1
        self.entries, self.steps = max(1, SAMPLED_ENTRIES // quick), DIRECTIONS // quick
        self.bound, self.epsilon, self.full = max(min(how.bound, BOUND), FINEST), how.epsilon, how.full
        self.copies, self.allowed = copies, 1.0
        self.rng = how.rng or np.random.default_rng(0)

    def limit(self, tensors: Sequence[Tensor], effort: Sequence[float], most: float) -> None:
        """Sample more sparsely if the whole check would take more operations than `most`."""
        need = sum(2 * sum(self._lines(tensor)) * sum(effort[tensor.first :]) for tensor in tensors)
        self.allowed = min(1.0, most / need) if need else 1.0

    def _lines(self, tensor: Tensor) -> tuple[int, int]:
        """Return the number of entries and directions to check in a tensor."""
        size = tensor.array.size
        numbers = sum(x.size for x in self.copies.inputs[tensor.first :])
        long = size > self.entries and size * numbers > WORTH
        sampled = (size > FULL_UP_TO or long) and not self.full
        entries = self.entries if sampled else size
        fewer = max(min(FEWEST_ENTRIES, entries), int(self.allowed * entries))
        if not sampled and fewer == size:
            return size, 0
        return fewer, max(min(FEWEST_DIRECTIONS, self.steps), int(self.allowed * self.steps))

    def tensor(self, tensor: Tensor, magnitude: float) -> TensorCheck:
        """Check one tensor. `magnitude` is the size of the terms that L is the sum of."""
        shape, analytic = tensor.array.shape, tensor.grad.reshape(-1)
        count, turns = self._lines(tensor)
        entries = np.arange(analytic.size)
        if count < analytic.size:
            entries = np.sort(self.rng.choice(analytic.size, count, replace=False))
        noise = UNIT * magnitude / self.epsilon
        singles, crossing = self._slopes(tensor, Lines(entries), analytic[entries], noise)
        groups, kinks = [singles], int(crossing.sum())
        if turns:
            across = self._directions(turns, analytic.size)
            rises = np.array([analytic @ direction for direction in across])
            slopes, crossing_too = self._slopes(tensor, Lines(across), rises, noise)
            groups, kinks = [singles, slopes], kinks + int(crossing_too.sum())
        measured = [group for group in groups if len(group.lines)]
        for group in measured:
            self._sharpen(tensor, group)
        return TensorCheck(
            name=tensor.name,
            shape=shape,
            error=max((group.error for group in measured), default=math.nan),
            checked=len(singles.lines),
            directions=sum(len(group.lines) for group in groups[1:]),
            kinks=kinks,
            left_out=tuple(tuple(int(k) for k in np.unravel_index(i, shape)) for i in entries[crossing]),
            resolution=max((group.resolution for group in measured), default=0.0),
        )

    def _directions(self, count: int, size: int) -> NDArray[Any]:
        """Draw directions of length 1, `(count, size)`."""
        directions = self.rng.standard_normal((count, size))
        for direction in directions:
            np.divide(direction, np.linalg.norm(direction), out=direction)
        return directions

    def _slopes(
        self, tensor: Tensor, lines: Lines, analytic: NDArray[Any], noise: float
    ) -> tuple[_Slopes, NDArray[Any]]:
        """Take central differences along lines at ε. Return those that do not cross a kink, and which lines
        these are.
        """
        here = tensor.array.reshape(-1)
        taken = lines.taken(here, self.epsilon)
        if not taken.all():
            beside = here[lines.along[taken.argmin()]]
            raise LostStepError(f"a step of {self.epsilon:g} is lost beside {beside:g}")
        slopes, crossing = np.empty(len(lines)), np.empty(len(lines), bool)
        size = max(1, self.copies.at_once(tensor, lines) // 2)
        for start in range(0, len(lines), size):
            part = np.arange(start, min(start + size, len(lines)))
            n, t = len(part), np.repeat([self.epsilon, -self.epsilon], len(part))
            values, sides = self.copies(tensor, lines, np.tile(part, 2), t)
            slopes[part] = (values[:n] - values[n:]) / taken[part]
            crossing[part] = crossed([side[:n] for side in sides], [side[n:] for side in sides])
        kept = ~crossing
        return _Slopes(lines.only(kept), analytic[kept], slopes[kept], noise, self.bound), crossing

    def _sharpen(self, tensor: Tensor, slopes: _Slopes) -> None:
        """Sharpen slopes, largest disagreement first, until the error is below the bound or cannot get there."""
        if slopes.settled():
            return
        noise = self._noise(tensor)
        for i in np.argsort(-np.abs(slopes.apart)):
            sharper = self._sharp(tensor, slopes.lines, int(i), noise)
            if sharper:
                slopes.replace(int(i), *sharper)
            if slopes.settled():
                return

    def _noise(self, tensor: Tensor) -> float:
        """Measure the rounding error of one evaluation: root mean square of third differences, divided by √20."""
        line = Lines(self._directions(1, tensor.array.size))
        values, _ = self._along(tensor, line, 0, np.arange(NOISE_POINTS) * NOISE_STEP * self.epsilon)
        measured = float(np.sqrt(np.mean(np.diff(values, 3) ** 2) / 20))
        return max(measured, UNIT / 4 * abs(float(values[0])))

    def _along(self, tensor: Tensor, lines: Lines, line: int, t: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the values at some points of one line, and which points are across a kink from the first one."""
        size = self.copies.at_once(tensor, lines)
        values, beyond, first = np.empty(len(t)), np.zeros(len(t), bool), None
        for start in range(0, len(t), size):
            part = slice(start, start + size)
            values[part], sides = self.copies(tensor, lines, np.full(len(t[part]), line), t[part])
            first = first or [side[:1] for side in sides]
            beyond[part] = crossed(sides, first)
        return values, beyond

    def _sharp(self, tensor: Tensor, lines: Lines, line: int, noise: float) -> tuple[float, float] | None:
        """Extrapolate central differences to a step of zero; return the slope and its predicted error, or None."""
        steps = self.epsilon * np.array(LADDER)
        values, beyond = self._along(tensor, lines, line, np.concatenate([[0.0], steps, -steps]))
        best: tuple[float, float] | None = None
        before: list[float] = []
        here = tensor.array.reshape(-1)
        for k, h in enumerate(steps.tolist(), 1):
            high, low = k, k + len(steps)
            if beyond[high] or beyond[low]:
                break  # so do all longer steps
            taken = lines.taken(here, h)[line]
            if not taken:
                continue  # the step is lost to rounding; a longer one may not be
            # Neville's scheme in h²: `row[m]` uses the last m + 1 steps, of which the first is h / 2**m.
            row = [float((values[high] - values[low]) / taken)]
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
        self, lines: Lines, analytic: NDArray[Any], numerical: NDArray[Any], noise: float, bound: float
    ) -> None:
        self.lines, self.analytic, self.numerical, self.bound = lines, analytic, numerical, bound
        self.doubt = np.full(len(lines), noise)
        self.sharp = np.zeros(len(lines), dtype=bool)

    def replace(self, i: int, slope: float, doubt: float) -> None:
        """Replace a simple slope by a sharpened one."""
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
        """Whether sharpening is finished: the check passes, or the sharpened slopes alone exceed the bound."""
        beyond = float(np.linalg.norm(self.apart[self.sharp])) >= self.bound * self.scale
        return self.error < GOAL * self.bound or beyond

    @property
    def resolution(self) -> float:
        """The predicted error of sharpened slopes relative to ‖a‖ + ‖n‖."""
        return float(np.linalg.norm(self.doubt)) / self.size if self.sharp.any() and self.size else 0.0
