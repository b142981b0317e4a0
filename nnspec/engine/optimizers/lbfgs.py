"""L-BFGS: a quasi-Newton method with a line search, for losses that can be evaluated on all samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from nnspec.engine._numpy import np
from nnspec.engine.optimizers.contract import Closure, LearningRate, Optimizer
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import Also, BareWord, Count, Range, kept

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = list[NDArray[Any]]  # a flat array for each parameter

__all__ = ["LBFGS"]

ARMIJO, CURVATURE = 1e-4, 0.9
"""c₁ and c₂ of the strong Wolfe conditions: f(t) ≤ f(0) + c₁·t·f′(0) and |f′(t)| ≤ c₂·|f′(0)|."""
LEAST_CURVATURE = 1e-10
"""Pairs of a step and a change of the gradient whose product is not larger do not enter the history."""

Tolerance = Annotated[float, Range(low=0)]


class LBFGS(Optimizer):
    """θ ← θ + t·d with d = −H·g, where H approximates the inverse Hessian from the last `history` steps.

    H follows from the pairs of a step s and the change of the gradient y along it, by the two-loop recursion, starting
    from sᵀy / yᵀy times the identity. A step repeats this `max_iter` times, or until it has evaluated the loss
    `max_eval` times (1.25 · `max_iter` by default), or until it has converged: no gradient is larger than
    `tolerance_grad`, or loss or weights change by no more than `tolerance_change`. With `line_search=strong_wolfe`, t
    satisfies the strong Wolfe conditions, and `lr` is the first t to be tried; with `none`, t = lr. In the very first
    iteration d = −g, and the first t is divided by Σ|g| if that is above 1.

    Loss and gradient are needed at several points, so `step` takes a function that computes both:

        def closure() -> float:
            value = loss(model(x), y)
            model.backward(loss.backward())
            return value

        optimizer.step(closure)

    As PyTorch's `LBFGS`, whose `line_search_fn` is None by default; here weight decay λ adds ½·λ·‖θ‖² to what is
    minimised, so that loss and gradient agree. All parameters move together: none can have a rate of its own. Keras has
    no L-BFGS; scikit-learn's `solver="lbfgs"` is SciPy's L-BFGS-B. Liu & Nocedal 1989; Nocedal & Wright 2006,
    algorithms 3.5, 3.6 and 7.4.
    """

    spec_name = "LBFGS"
    also = ("lbfgs", "L_BFGS", "BFGS", "bfgs", "l_bfgs_b")
    usual_rates = (1e-3, 2.0)
    evaluates = True
    scratches = ("start", "trial0", "trial1", "trial2")  # where a line starts, and gradients at three of its points

    lr: LearningRate = LearningRate(1.0)
    _: KW_ONLY
    history: Annotated[Count, Range(low=1, high=1000), Also("history_size", "m", "maxcor")] = 10
    max_iter: Annotated[Count, Also("maxiter", "iterations")] = 20
    max_eval: Annotated[Count | None, Also("maxfun", "max_fun")] = None
    tolerance_grad: Annotated[Tolerance, Also("gtol", "pgtol")] = 1e-7
    tolerance_change: Annotated[Tolerance, Also("ftol", "tol")] = 1e-9
    line_search: Annotated[Literal["strong_wolfe"] | None, Also("line_search_fn")] = BareWord("strong_wolfe")  # type: ignore[assignment]
    iterations: int = kept()
    """Iterations so far, over all steps."""

    def __post_init__(self, parameters: Iterable[Parameter]) -> None:
        super().__post_init__(parameters)
        total = sum(parameter.size for parameter in self.params)
        self.work = {name: np.empty(total, array.dtype) for name, array in self.work.items()}
        self.iterations = 0
        self._pairs: list[int] = []  # the slots of the history, oldest first
        self._inverses: list[float] = []  # 1 / yᵀs of each
        self._scale, self._t = 1.0, 0.0

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """The direction and gradient of the last iteration, and the history: a step and a change for each entry."""
        pairs = range(arguments["history"])
        return ("direction", "previous", *(f"s{i}" for i in pairs), *(f"y{i}" for i in pairs))

    @classmethod
    def evaluations(cls, arguments: Mapping[str, Any]) -> int:
        """About one per iteration."""
        return int(arguments["max_iter"])

    def scalars(self) -> dict[str, Any]:
        """Iterations, the order of the history and its constants, and why it converged."""
        return {
            "iterations": self.iterations,
            "pairs": [*self._pairs],
            "inverses": [*self._inverses],
            "scale": self._scale,
            "t": self._t,
            "converged": self.converged,
        }

    def keep_scalars(self, values: Mapping[str, Any]) -> None:
        """Restore them. Raises ValueError for values of other arguments."""
        pairs, inverses = [int(i) for i in values["pairs"]], [float(value) for value in values["inverses"]]
        if sorted(pairs) != [*range(len(pairs))] or len(pairs) > self.history or len(inverses) != len(pairs):
            raise ValueError("the history of LBFGS is damaged")
        self.iterations, self._pairs, self._inverses = int(values["iterations"]), pairs, inverses
        self._scale, self._t, self.converged = float(values["scale"]), float(values["t"]), str(values["converged"])

    # A step

    def step(self, closure: Closure | None = None) -> float:
        """Minimise the loss that `closure` computes together with the gradients. Returns it as it was before.

        Raises TypeError without a closure, ValueError if a parameter has a rate of its own.
        """
        if closure is None:
            raise TypeError("LBFGS.step needs a closure: a function that returns the loss and computes its gradients")
        if any(segment.rate != 1 for parameter in self.params for segment in parameter.segments):
            raise ValueError("LBFGS moves all parameters together: none can have a rate of its own")
        self.steps += 1
        line = _Line(self, closure)
        first = closure()
        point = _Point(0.0, *line.measured(first, self._of("trial0")), slope=0.0)
        self.converged = self._settled(point)
        if not self.converged and math.isfinite(point.value):
            self._iterate(line, point)
        return first

    def _iterate(self, line: _Line, point: _Point) -> None:
        direction, previous = self._of("direction"), self._of("previous")
        most = self.max_iter * 5 // 4 if self.max_eval is None else self.max_eval
        for iteration in range(1, self.max_iter + 1):
            self._turn(point, direction, previous)
            _copy(point.gradient, previous)
            before = point.value
            first = self.iterations == 1
            self._t = min(1.0, 1.0 / _sum(point.gradient)) * self.lr if first else self.lr
            slope = _dot(point.gradient, direction)
            if slope > -self.tolerance_change:
                self.converged = "no direction leads further down"
                return
            line.begin()
            if self.line_search is not None:
                origin = _Point(0.0, before, previous, slope)
                point = _searched(line, origin, self._t, most - line.evaluations, self.tolerance_change)
                self._t = point.t
                line.go(self._t)
            else:
                line.go(self._t)
                if iteration < self.max_iter:
                    point = line.here(self._t)
            if iteration == self.max_iter or line.evaluations >= most:
                return
            self.converged = self._settled(point)
            if not self.converged and _largest(direction) * abs(self._t) <= self.tolerance_change:
                self.converged = f"no weight changed by more than {self.tolerance_change:g}"
            if not self.converged and abs(point.value - before) < self.tolerance_change:
                self.converged = f"the loss changed by less than {self.tolerance_change:g}"
            if self.converged or not math.isfinite(point.value):
                return

    def _settled(self, point: _Point) -> str:
        largest = _largest(point.gradient)
        return f"no gradient is larger than {self.tolerance_grad:g}" if largest <= self.tolerance_grad else ""

    def _turn(self, point: _Point, direction: Vector, previous: Vector) -> None:
        """Compute the direction from a gradient, after the last step has entered the history."""
        self.iterations += 1
        if self.iterations == 1:
            self._pairs, self._inverses, self._scale = [], [], 1.0
            for d, g in zip(direction, point.gradient, strict=True):
                np.negative(g, out=d)
            return
        self._remember(point, direction, previous)
        for d, g in zip(direction, point.gradient, strict=True):
            np.negative(g, out=d)
        shares = [0.0] * len(self._pairs)
        (work, *_) = self._others(point)
        history = [(self._of(f"s{i}"), self._of(f"y{i}")) for i in self._pairs]
        for place in reversed(range(len(history))):
            s, y = history[place]
            shares[place] = _dot(s, direction) * self._inverses[place]
            _add(direction, y, -shares[place], work)
        for d in direction:
            np.multiply(d, self._scale, out=d)
        for place, (s, y) in enumerate(history):
            _add(direction, s, shares[place] - _dot(y, direction) * self._inverses[place], work)

    def _remember(self, point: _Point, direction: Vector, previous: Vector) -> None:
        """Add the last step and the change of the gradient to the history, if the curvature along it is positive."""
        change, step = self._others(point)
        for y, g, before, s, d in zip(change, point.gradient, previous, step, direction, strict=True):
            np.subtract(g, before, out=y)
            np.multiply(d, self._t, out=s)
        curvature = _dot(change, step)
        if not curvature > LEAST_CURVATURE:
            return
        slot = len(self._pairs)
        if slot == self.history:
            slot = self._pairs.pop(0)
            self._inverses.pop(0)
        _copy(step, self._of(f"s{slot}"))
        _copy(change, self._of(f"y{slot}"))
        self._pairs.append(slot)
        self._inverses.append(1.0 / curvature)
        self._scale = curvature / _dot(change, change)

    # Vectors

    def _of(self, name: str) -> Vector:
        """Return state or a work array as a flat array for each parameter."""
        if name in self.state[0]:
            return [own[name].reshape(-1) for own in self.state]
        ends = np.cumsum([parameter.size for parameter in self.params])[:-1]
        return np.split(self.work[name].reshape(-1), ends)

    def scratch(self, size: int) -> NDArray[Any]:
        """Return a work array for weight decay."""
        array = self.work.setdefault("decayed", self.work["start"][:0])
        if array.size < size:  # a parameter decays that did not when the optimizer was created
            array = self.work["decayed"] = np.empty_like(self.work["start"])
        return array.reshape(-1)[:size]

    def _others(self, *points: _Point) -> list[Vector]:
        """Return the work arrays for gradients that are not those of the points."""
        used = [point.gradient[0].ctypes.data for point in points]
        return [v for i in range(3) if (v := self._of(f"trial{i}"))[0].ctypes.data not in used]


@dataclass(frozen=True)
class _Point:
    """A point of a line search: how far along the direction, and what is there."""

    t: float
    value: float
    gradient: Vector
    slope: float
    """The derivative along the direction."""


class _Line:
    """The line from the weights along a direction."""

    def __init__(self, optimizer: LBFGS, closure: Closure) -> None:
        self._optimizer, self._closure = optimizer, closure
        self._thetas = [parameter.data.reshape(-1) for parameter in optimizer.params]
        self._start, self._direction = optimizer._of("start"), optimizer._of("direction")
        self.evaluations = 1
        """Evaluations of the loss in this step."""

    @property
    def reach(self) -> float:
        """The largest entry of the direction."""
        return _largest(self._direction)

    def begin(self) -> None:
        """Begin a line at the current weights."""
        _copy(self._thetas, self._start)

    def go(self, t: float) -> None:
        """Move the weights to a point of the line."""
        for theta, start, d in zip(self._thetas, self._start, self._direction, strict=True):
            np.multiply(d, t, out=theta)
            np.add(start, theta, out=theta)

    def here(self, t: float, *points: _Point) -> _Point:
        """Evaluate the loss at the current weights, which are those of t, without forgetting other points."""
        self.evaluations += 1
        value, gradient = self.measured(self._closure(), self._optimizer._others(*points)[0])
        return _Point(t, value, gradient, _dot(gradient, self._direction))

    def at(self, t: float, *points: _Point) -> _Point:
        """Evaluate the loss at a point of the line."""
        self.go(t)
        return self.here(t, *points)

    def measured(self, value: float, into: Vector) -> tuple[float, Vector]:
        """Add weight decay to a loss, infinite instead of NaN, and to its gradient; frozen numbers have none."""
        for parameter, gradient in zip(self._optimizer.params, into, strict=True):
            np.copyto(gradient, parameter.grad.reshape(-1))
            for segment in parameter.segments:
                if segment.frozen:
                    gradient[segment.part] = 0
        for group in self._optimizer.groups:
            if group.weight_decay:
                theta = self._thetas[group.parameter][group.part]
                decayed = np.multiply(theta, group.weight_decay, out=self._optimizer.scratch(theta.size))
                np.add(into[group.parameter][group.part], decayed, out=into[group.parameter][group.part])
                value += 0.5 * group.weight_decay * float(np.vdot(theta, theta))
        return (math.inf if math.isnan(value) else value), into


# The line search


def _searched(line: _Line, origin: _Point, t: float, most: int, tolerance: float) -> _Point:
    """Return a point that satisfies the strong Wolfe conditions, or the lowest one if none of t and at most `most`
    further points does.
    """

    def too_high(point: _Point) -> bool:
        return point.value > origin.value + ARMIJO * point.t * origin.slope

    def flat(point: _Point) -> bool:
        return abs(point.slope) <= -CURVATURE * origin.slope

    # Move outwards until two points are known to have such a point between them.
    before, point = origin, line.at(t)
    trials, ends = 0, None
    while trials < most:
        if too_high(point) or (trials > 1 and point.value >= before.value):
            ends = [before, point]
            break
        if flat(point):
            return point
        if point.slope >= 0:
            ends = [before, point]
            break
        t = _lowest(before, point, (point.t + 0.01 * (point.t - before.t), point.t * 10))
        before, point = point, line.at(t, point)
        trials += 1
    ends = ends or [origin, point]

    # Move the two towards each other.
    low = 0 if ends[0].value <= ends[1].value else 1
    stalled = False
    while trials < most and abs(ends[1].t - ends[0].t) * line.reach >= tolerance:
        t, stalled = _inside(ends, stalled)
        point = line.at(t, *ends)
        trials += 1
        if too_high(point) or point.value >= ends[low].value:
            ends[1 - low] = point
            low = 0 if ends[0].value <= ends[1].value else 1
            continue
        if flat(point):
            return point
        if point.slope * (ends[1 - low].t - ends[low].t) >= 0:
            ends[1 - low] = ends[low]
        ends[low] = point
    return ends[low]


def _inside(ends: Sequence[_Point], stalled: bool) -> tuple[float, bool]:
    """Return the next point to try between two, and whether it is close to one of them: not twice in a row."""
    left, right = sorted(point.t for point in ends)
    t, margin = _lowest(ends[0], ends[1], (left, right)), 0.1 * (right - left)
    if min(right - t, t - left) >= margin:
        return t, False
    if not stalled and left < t < right:
        return t, True
    return (right - margin if abs(t - right) < abs(t - left) else left + margin), False


def _lowest(one: _Point, other: _Point, bounds: tuple[float, float]) -> float:
    """Return the minimum of the cubic through two points with their slopes, within bounds, or else their middle."""
    low, high = bounds
    first, second = (one, other) if one.t <= other.t else (other, one)
    width = second.t - first.t
    d1 = first.slope + second.slope - 3 * (first.value - second.value) / (first.t - second.t)
    square = d1**2 - first.slope * second.slope
    if not square >= 0:
        return (low + high) / 2
    d2 = math.sqrt(square)
    below = second.slope - first.slope + 2 * d2
    t = second.t - width * ((second.slope + d2 - d1) / below) if below else math.nan
    return min(max(t, low), high) if not math.isnan(t) else (low + high) / 2


# Vectors


def _copy(source: Vector, target: Vector) -> None:
    for values, array in zip(source, target, strict=True):
        np.copyto(array, values)


def _dot(one: Vector, other: Vector) -> float:
    return sum(float(np.vdot(a, b)) for a, b in zip(one, other, strict=True))


def _add(target: Vector, values: Vector, factor: float, work: Vector) -> None:
    """target ← target + factor · values."""
    for array, more, scratch in zip(target, values, work, strict=True):
        np.multiply(more, factor, out=scratch)
        np.add(array, scratch, out=array)


def _largest(vector: Vector) -> float:
    """The largest absolute value."""
    return max(max(float(array.max()), -float(array.min())) for array in vector)


def _sum(vector: Vector) -> float:
    """The sum of absolute values."""
    return sum(float(np.linalg.norm(array, 1)) for array in vector)
