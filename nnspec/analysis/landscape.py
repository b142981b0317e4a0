"""The loss landscape around trained lanes, on a plane in weight space, with the path of each lane.

The lanes of a spec are trained as by `run`, and their weights are copied at the start and after every epoch. All losses
are comparable: the mean loss of the same training samples, without penalties, with layers in inference mode: dropout is
off, and batch normalisation uses its running statistics. At a point of a path these are the network's own; on the
plane, those at its centre.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nnspec.analysis.meter import Copies, Meter, Tick, Track, cosine
from nnspec.analysis.plane import Plane, principal_plane, random_plane
from nnspec.checker.program import Experiment
from nnspec.compiler.proofs import Compiled
from nnspec.data.source import Access
from nnspec.engine._numpy import np
from nnspec.engine.initializers import Initializer
from nnspec.engine.part import comparable
from nnspec.engine.random import Stream, stream
from nnspec.environment import one_blas_thread
from nnspec.errors import NnspecError
from nnspec.reprs import TableRepr, view_function
from nnspec.results.data_use import DataUse
from nnspec.results.lane import LaneResult
from nnspec.runner.load_data import load_data
from nnspec.runner.run import run_program
from nnspec.training.observer import Observer

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GRID", "MOST_GRID", "Landscape", "LandscapeError", "LanePath", "map_landscape"]

GRID = 41
"""The default number of grid points along each axis."""
MOST_GRID = 301
MOST_BYTES = 1024**3
"""The memory limit for copies of all weights, which are held twice while the plane is computed."""
_MARGIN = 0.12
"""The margin of the grid around the paths, as a fraction of the longer side of their bounding box."""
_ASPECT = 1.45
"""The ratio of width to height of the grid, for the shape of the picture."""

Kind = Literal["pca", "random"]


class LandscapeError(NnspecError):
    """Lanes cannot be shown on one plane. The message says which, and what to do."""


@dataclass(frozen=True, repr=False)
class LanePath(TableRepr):
    """The path of one lane from its starting weights, with one step per epoch.

    The path of a lane that diverged ends at the last point with finite weights and loss; that of a lane that keeps its
    best epoch ends at that epoch.
    """

    name: str
    index: int
    """Its index among all lanes of the spec, which determines its colour."""
    points: NDArray[Any] = field(repr=False)
    """The projections onto the plane, as (α, β): `(epochs + 1, 2)`."""
    losses: NDArray[Any] = field(repr=False)
    """The loss of the network itself, which need not lie in the plane, at each point: `(epochs + 1,)`."""
    steps: NDArray[Any] = field(repr=False)
    """‖θₜ₊₁ − θₜ‖, how far the weights moved in each epoch: `(epochs,)`."""
    outside: NDArray[Any] = field(repr=False)
    """The share of each step perpendicular to the plane: ‖step⊥‖ / ‖step‖, `(epochs,)`; NaN for a step of length 0."""
    distance: float
    """‖θ_end − θ_start‖."""
    cosine: float
    """Mean cosine between consecutive steps: 1 for a straight path; NaN for fewer than two steps."""
    descent: float
    """Mean cosine between each step and −∇L at its start: 1 if epochs follow steepest descent."""
    evenness: float
    """(Σ|d|)² / (P·Σd²) for d = θ_end − θ_start: 1 if all P weights moved by the same amount, 1/P if only one did."""
    status: str = "done"
    message: str = ""
    """What happened, if the lane did not finish."""

    @property
    def length(self) -> float:
        """The length of the path: Σ‖θₜ₊₁ − θₜ‖ over epochs."""
        return math.fsum(self.steps)

    @property
    def travelled(self) -> NDArray[Any]:
        """The distance travelled along the path up to each point: `(epochs + 1,)`."""
        return np.concatenate([[0.0], np.cumsum(self.steps)])


@dataclass(frozen=True, repr=False)
class Landscape(TableRepr):
    """The loss over a plane, o + α·e₁ + β·e₂ with orthonormal axes, and the lanes' paths in it.

    α and β are distances in weight space. The centre o is the end of the best lane.
    """

    title: str
    spec: str
    kind: Kind
    best: str
    """The lane with the lowest final loss."""
    alpha: NDArray[Any] = field(repr=False)
    """The α of the grid's columns, `(N,)`."""
    beta: NDArray[Any] = field(repr=False)
    """The β of its rows, `(N,)`."""
    losses: NDArray[Any] = field(repr=False)
    """The loss in each row and column, `(N, N)`; NaN where it is not finite."""
    lanes: Mapping[str, LanePath]
    """The lanes with a path, by name."""
    held: tuple[float, float]
    """The share of Σ‖θ − o‖², over all points θ of all paths, explained by each axis."""
    plane: Plane = field(repr=False)
    loss: str = ""
    """Its name in a spec: `CrossEntropy`."""
    samples: int = 0
    """The number of training samples over which losses are averaged, out of `trained_on`."""
    trained_on: int = 0
    data: DataUse | None = field(default=None, repr=False)
    params: int = 0
    without: tuple[str, ...] = ()
    """Lanes without a path because they failed."""
    repeats: int = 1
    """The maximum number of trainings of a lane in the spec; a landscape shows only the first."""

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Return a matplotlib figure of the plane with the paths of all lanes; with `path`, also save it there."""
        return view_function("pictures.landscape.plot_landscape")(self, None if path is None else Path(path))

    @property
    def centre(self) -> NDArray[Any]:
        """o, the final weights of the best lane, in the order of `network.named_parameters()`: `(P,)`."""
        return self.plane.origin

    @property
    def paths(self) -> dict[str, NDArray[Any]]:
        """The path of each lane, `(epochs + 1, 2)`."""
        return {name: lane.points for name, lane in self.lanes.items()}

    @property
    def diverged(self) -> bool:
        """Whether any lane did not finish."""
        return bool(self.without) or any(lane.status != "done" for lane in self.lanes.values())


def map_landscape(
    compiled: Compiled,
    access: Access,
    observer: Observer,
    *,
    lanes: Sequence[str] | None = None,
    kind: Kind = "pca",
    grid: int = GRID,
    tick: Tick = lambda done, total: None,
) -> Landscape:
    """Train the lanes of a program (only the first repeat), and measure the loss on a plane through their paths.

    `lanes` are the names of those to train, by default all; `tick` is called with the number of grid points done.
    Raises LandscapeError for lanes that cannot share a plane and for an invalid grid, the errors of `run_program`, and
    KeyboardInterrupt if training is interrupted.
    """
    if not 2 <= grid <= MOST_GRID:
        raise LandscapeError(f"the grid must have 2 to {MOST_GRID} points along each axis, not {grid}")
    if kind not in ("pca", "random"):
        raise LandscapeError(f"unknown plane {kind!r}; choose from pca, random")
    order = [lane.name for lane in compiled.program.lanes]
    chosen = _chosen(compiled, lanes)
    _share_a_plane(chosen)
    copies = Copies(observer)
    result = run_program(chosen, access, copies)
    if result.interrupted:
        raise KeyboardInterrupt
    first = chosen.program.lanes[0]
    data = load_data(chosen.program, access)
    with one_blas_thread(), np.errstate(all="ignore"):
        meter = Meter(first, data[first.name][0])
        tracks = {name: copies.of(lane) for name, lane in result.lanes.items() if lane.status != "failed"}
        measured = {name: meter.along(track) for name, track in tracks.items()}
        kept = {name: _finite(tracks[name], losses) for name, (losses, _) in measured.items()}
        ends = {name: float(measured[name][0][count - 1]) for name, count in kept.items() if count}
        if not ends:
            raise LandscapeError("no lane has finite weights and a finite loss at any point")
        best = min(ends, key=lambda name: ends[name])
        everything = np.stack([weights for name in ends for weights in tracks[name].weights[: kept[name]]])
        points = dict(zip(ends, np.split(everything, np.cumsum([kept[name] for name in ends])[:-1]), strict=True))
        plane = _plane(kind, meter, everything, tracks[best].weights[kept[best] - 1], first.seed)
        found = {
            name: _path(
                result.lanes[name],
                order.index(name),
                plane,
                points[name],
                measured[name][0][: kept[name]],
                measured[name][1][: kept[name]],
            )
            for name in ends
        }
        alpha, beta = _axes(np.concatenate([lane.points for lane in found.values()]), plane, grid)
        meter.remember(tracks[best].states[kept[best] - 1])
        losses = meter.over(plane, alpha, beta, tick)
        held = _held(everything, plane)
    return Landscape(
        title=chosen.program.title,
        spec=chosen.program.path,
        kind=kind,
        best=best,
        alpha=alpha,
        beta=beta,
        losses=losses,
        lanes=found,
        held=held,
        plane=plane,
        loss=str(first.loss),
        samples=meter.samples,
        trained_on=meter.trained_on,
        data=data[first.name][1],
        params=chosen.layouts[first.name].params,
        without=tuple(name for name in result.lanes if name not in found),
        repeats=max(lane.train.trainings for lane in compiled.program.lanes if lane.name in result.lanes),
    )


# Selecting lanes


def _chosen(compiled: Compiled, names: Sequence[str] | None) -> Compiled:
    """Return a program of these lanes, each trained once, without expectations and text generation."""
    program = compiled.program
    wanted = [lane for lane in program.lanes if names is None or lane.name in names]
    first = (lane.training(0) for lane in wanted)
    once = tuple(replace(lane, train=replace(lane.train, repeats=1, sample=0)) for lane in first)
    return Compiled(
        replace(program, lanes=once, expectations=()), {lane.name: compiled.layouts[lane.name] for lane in once}
    )


def _share_a_plane(compiled: Compiled) -> None:
    """Raise LandscapeError for lanes whose weights or losses are not comparable, and if weights need too much
    memory."""
    first, *others = compiled.program.lanes
    alike = [first, *(lane for lane in others if all(of(lane) == of(first) for of in _COMMON.values()))]
    for other in others:
        for what, of in _COMMON.items():
            one, another = of(first), of(other)
            if one != another:
                told = " ".join(f"--lane {_quoted(lane.name)}" for lane in alike[:4])
                raise LandscapeError(
                    f"lanes {first.name} and {other.name} cannot be shown on one plane: they have different {what}"
                    f"{_differ(one, another)}; choose lanes that have the same, such as {told}"
                )
    params = compiled.layouts[first.name].params
    if params < 2:
        raise LandscapeError(f"the network of {first.name} has {params} weights, but a plane needs at least 2")
    copies = sum(lane.length.records + 1 for lane in compiled.program.lanes)
    needed = copies * params * np.dtype(first.dtype).itemsize
    if needed > MOST_BYTES:
        raise LandscapeError(
            f"{copies:,} copies of {params:,} weights take {needed / 1024**3:.1f} GiB, more than the limit of "
            f"{MOST_BYTES // 1024**3} GiB; choose fewer lanes with --lane, "
            "or fewer epochs with --set train.epochs=N"
        )


def _differ(one: object, other: object) -> str:
    return f", {one} and {other}" if isinstance(one, str) and isinstance(other, str) else ""


def _quoted(name: str) -> str:
    return f'"{name}"' if any(not (sign.isalnum() or sign in "_-=.") for sign in name) else name


def _tensors(lane: Experiment) -> list[tuple[str, tuple[int, ...]]]:
    return [(f"{node.name}.{name}", shape) for node in lane.layers for name, shape in node.geometry.parameters.items()]


def _layers(lane: Experiment) -> object:
    """What a network computes: its layers without their initialisers."""
    return [
        (
            node.name,
            node.value.name,
            [(k, comparable(v)) for k, v in node.arguments().items() if not isinstance(v, Initializer)],
            [branch.name for branch in node.branches],
            (node.reads, node.owners),
        )
        for layer in lane.layers
        for node in layer.walk()
    ]


def _data(lane: Experiment) -> object:
    return [(choice.value.name, repr(choice.value.values())) for choice in lane.data]


def _samples(lane: Experiment) -> object:
    """The settings that determine the training samples."""
    train = lane.train
    held_out = (train.validation, train.stratify, lane.seed) if train.validation else ()
    return train.target, train.standardise, train.standardise_target, held_out


_COMMON: dict[str, Callable[[Experiment], object]] = {
    "shapes": lambda lane: lane.shapes,
    "tensors": _tensors,
    "layers": _layers,
    "losses": lambda lane: lane.objective,
    "dtypes": lambda lane: lane.dtype,
    "data": _data,
    "training samples (seed and train.validation, train.target or train.standardise)": _samples,
}
"""What lanes on one plane must share: description -> function that returns it."""


# The plane, its paths and its losses


def _finite(track: Track, losses: NDArray[Any]) -> int:
    """Return the number of points of a path before the first with non-finite weights or loss."""
    for i, weights in enumerate(track.weights):
        if not (math.isfinite(losses[i]) and np.isfinite(weights).all()):
            return i
    return len(track.weights)


def _plane(kind: Kind, meter: Meter, points: NDArray[Any], centre: NDArray[Any], seed: int) -> Plane:
    rng = stream(seed, Stream.LANDSCAPE)
    if kind == "pca":
        return principal_plane(points, centre, rng)
    plane = random_plane(meter.parameters, centre, rng)
    if not (plane.axes.any(axis=1)).all():
        raise LandscapeError("the network has no weights for a random plane; use --plane pca")
    return plane


def _path(
    lane: LaneResult,
    index: int,
    plane: Plane,
    points: NDArray[Any],
    losses: NDArray[Any],
    cosines: NDArray[Any],
) -> LanePath:
    """Measure a path: `points` `(n, P)`, with the loss and the cosine to steepest descent at each."""
    lengths, inside, turns = np.empty(len(points) - 1), np.empty(len(points) - 1), list[float]()
    before = np.zeros(points.shape[1])
    for i, (one, other) in enumerate(pairwise(points)):
        step = other.astype(np.float64) - one
        lengths[i], inside[i] = np.linalg.norm(step), np.linalg.norm(plane.along(step[None]))
        turns.append(cosine(before, step))
        before = step
    outside = np.sqrt(np.maximum(0.0, 1 - np.square(inside / lengths)))
    moved = points[-1].astype(np.float64) - points[0]
    square = float(moved @ moved)
    return LanePath(
        name=lane.name,
        index=index,
        points=plane.project(points),
        losses=losses,
        steps=lengths,
        outside=outside,
        distance=math.sqrt(square),
        cosine=_mean(turns),
        descent=_mean(cosines[:-1].tolist()),
        evenness=float(np.abs(moved).sum()) ** 2 / (moved.size * square) if square else math.nan,
        status=lane.status,
        message=lane.message,
    )


def _mean(values: Sequence[float]) -> float:
    """Return the mean without NaNs; NaN if there are no other values."""
    numbers = [value for value in values if not math.isnan(value)]
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def _held(points: NDArray[Any], plane: Plane) -> tuple[float, float]:
    """Return the share of Σ‖θ − o‖² over all points explained by each axis; 0 if all points are at the origin."""
    total = math.fsum(float(off @ off) for off in (point.astype(np.float64) - plane.origin for point in points))
    along = np.square(plane.project(points)).sum(axis=0)
    return (float(along[0]) / total, float(along[1]) / total) if total else (0.0, 0.0)


def _axes(points: NDArray[Any], plane: Plane, grid: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the coordinates of the grid's columns and rows, which cover all points in the shape of the picture."""
    low = np.minimum(points.min(axis=0), -plane.reach)
    high = np.maximum(points.max(axis=0), plane.reach)
    longest = float((high - low).max()) or 0.1 * float(np.linalg.norm(plane.origin)) or 1.0
    half = (high - low) / 2 + _MARGIN * longest
    half = np.maximum(half, [_ASPECT * half[1], half[0] / _ASPECT])
    middle = (low + high) / 2
    columns, rows = (np.linspace(middle[i] - half[i], middle[i] + half[i], grid) for i in range(2))
    return columns, rows
