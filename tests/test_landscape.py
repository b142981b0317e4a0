"""The loss around the solutions of lanes: planes, paths, losses on them, and captions."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import ALONE, OFFLINE, TOGETHER, compiled, run, spec

from nnspec import engine as nn
from nnspec.analysis import landscape as module
from nnspec.analysis.landscape import Landscape, LandscapeError, LanePath, map_landscape
from nnspec.analysis.meter import Copies, Meter, Track
from nnspec.analysis.plane import Plane, filter_normalised, principal_plane, random_plane
from nnspec.api import landscape
from nnspec.cli import _code
from nnspec.compiler.proofs import Compiled
from nnspec.engine.parameter import Parameter
from nnspec.engine.random import Stream, stream
from nnspec.runner.load_data import load_data
from nnspec.runner.run import run_program
from nnspec.training.observer import Silent
from nnspec.view.pictures.labels import Label, place_labels
from nnspec.view.pictures.landscape import plot_landscape
from nnspec.view.terminal.resolved import LaneError
from nnspec.view.wording.landscape import caption, notes

MODELS = """
model narrow { Linear(6); ReLU; Linear(10) }
model wide { Linear(7); ReLU; Linear(10) }
model bent { Linear(6); Tanh; Linear(10) }
"""
BASE = "optimizer = SGD(lr=0.1)"
THREE = "SGD(lr=0.1); Momentum(lr=0.1); Adam(lr=0.01)"


def mapped(text: str, *overrides: str, grid: int = 3, **more: Any) -> Landscape:
    return map_landscape(compiled(text, *overrides), OFFLINE, Silent(), grid=grid, **more)


GRAPHS = {
    "a skip connection": "a: Linear(6); Tanh; Linear(6); concat { p { }; q { from(a) } }; Linear(10)",
    "a tied layer": "Linear(5); h: Linear(4); Tanh; transposed(h); Tanh; same(h); Linear(10)",
    "states": "rows: Reshape([28, 28]); e: GRU(3); from(rows); GRU(3, state=e); MultiHeadAttention(1, context=e);"
    " GlobalAvgPool; Linear(10)",
    "a term of the loss": "Linear(6); Sample(kl=0.1); Linear(10)",
}


@pytest.mark.parametrize("case", GRAPHS)
def test_the_gradient_of_a_graph_is_that_of_its_loss(case: str) -> None:
    loss = "CrossEntropy(class_weights=balanced)" if case == "a skip connection" else "CrossEntropy"
    text = spec(GRAPHS[case], loss=loss, train="epochs = 1; batch = 50", more="dtype = float64")
    program = compiled(text)
    copies = Copies(Silent())
    result = run_program(program, OFFLINE, copies, options=TOGETHER)
    lane = program.program.lanes[0]
    meter, weights = Meter(lane, load_data(program.program, OFFLINE)["run"][0]), copies.of(result["run"]).weights[0]
    assert meter(weights) == pytest.approx(result["run"].history["loss"][0], rel=1e-9) or "Sample" in GRAPHS[case]
    direction = np.random.default_rng(0).standard_normal(len(weights))
    slope = (meter(weights + 1e-6 * direction) - meter(weights - 1e-6 * direction)) / 2e-6
    assert meter.gradient(weights) @ direction == pytest.approx(slope, rel=1e-6)
    assert np.isfinite(mapped(text).losses).all()


# Planes


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("count", "size"), [(5, 40), (12, 7), (3, 2)])
def test_principal_axes_are_the_first_right_singular_vectors(
    count: int, size: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnspec.analysis.plane._BLOCK", 3)  # several parts
    rng = np.random.default_rng(seed)
    points, origin = rng.standard_normal((count, size)) + 3, rng.standard_normal(size)
    plane = principal_plane(points, origin, rng)
    _, _, rows = np.linalg.svd(points - origin)
    for axis, row in zip(plane.axes, rows, strict=False):
        assert abs(axis @ row) == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(plane.axes @ plane.axes.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(plane.project(points), (points - origin) @ plane.axes.T, atol=1e-12)
    found = plane.project(points)
    assert found[0, 0] <= 0
    assert found[np.abs(found[:, 1]).argmax(), 1] >= 0


def test_axes_that_points_do_not_tell_are_drawn() -> None:
    origin = np.arange(6.0)
    direction = np.array([0, 3, 0, 4, 0, 0.0]) / 5
    plane = principal_plane(origin + np.outer([-2, 1, 0], direction), origin, np.random.default_rng(0))
    assert abs(plane.axes[0] @ direction) == pytest.approx(1)
    np.testing.assert_allclose(plane.axes @ plane.axes.T, np.eye(2), atol=1e-12)
    one_point = principal_plane(np.stack([origin, origin]), origin, np.random.default_rng(0))
    np.testing.assert_allclose(one_point.axes @ one_point.axes.T, np.eye(2), atol=1e-12)


def test_directions_have_the_norm_of_every_filter() -> None:
    rng = np.random.default_rng(0)
    own = {
        "Linear1.weight": Parameter(rng.standard_normal((5, 3))),
        "Linear1.bias": Parameter(np.ones(3), decays=False),
        "Conv1.weight": Parameter(rng.standard_normal((4, 2, 3, 3))),
        "BatchNorm1.scale": Parameter(np.ones(4), decays=False),
    }
    weights = np.concatenate([p.data.reshape(-1) for p in own.values()])
    direction = filter_normalised(own, weights, rng)
    parts = np.split(direction, np.cumsum([p.size for p in own.values()])[:-1])
    linear, bias, kernels, scale = (part.reshape(p.shape) for part, p in zip(parts, own.values(), strict=True))
    columns = np.linalg.norm(own["Linear1.weight"].data, axis=0)
    np.testing.assert_allclose(np.linalg.norm(linear, axis=0), columns)
    assert not np.allclose(linear, own["Linear1.weight"].data)
    each = np.linalg.norm(own["Conv1.weight"].data.reshape(4, -1), axis=1)
    np.testing.assert_allclose(np.linalg.norm(kernels.reshape(4, -1), axis=1), each)
    assert not bias.any()
    assert not scale.any()


def test_a_random_plane_holds_its_two_directions() -> None:
    own = {"Linear1.weight": Parameter(np.random.default_rng(1).standard_normal((6, 4)))}
    weights = own["Linear1.weight"].data.reshape(-1)
    plane = random_plane(own, weights, np.random.default_rng(2))
    rng = np.random.default_rng(2)
    for _ in range(2):
        direction = filter_normalised(own, weights, rng)
        assert np.linalg.norm(plane.project((weights + direction)[None])) == pytest.approx(np.linalg.norm(direction))
        assert np.linalg.norm(direction) <= plane.reach * (1 + 1e-12)
    np.testing.assert_allclose(plane.axes @ plane.axes.T, np.eye(2), atol=1e-12)


# A problem of two weights, whose loss is known


X = np.array([-1.0, -0.5, 0.25, 0.5, 1.0, 2.0])
Y = 3 * X - 1 + np.array([0.1, -0.2, 0.05, 0.1, -0.1, 0.02])


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A spec of y = w·x + b on six points, of which five are trained on, by steps along the whole gradient."""
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(f"{x},{y}" for x, y in zip(X, Y, strict=True))
    (tmp_path / "line.csv").write_text(f"x,y\n{rows}\n")
    return spec(
        "Linear(1)",
        loss="MSE",
        race="SGD(lr=0.1); Adam(lr=0.1)",
        data='CSV("line.csv", target="y", test=0.2, shuffle=false)',
        train="epochs = 6; batch = 8",
        more="dtype = float64",
    )


def mse(weights: Any, count: int) -> float:
    return float(np.mean((weights[0] * X[:count] + weights[1] - Y[:count]) ** 2))


def test_in_a_plane_that_holds_all_there_is_losses_are_the_known_ones(line: str) -> None:
    found = mapped(line, grid=7)
    count = found.trained_on
    assert found.samples == count == 5
    for row, beta in enumerate(found.beta):
        for column, alpha in enumerate(found.alpha):
            expected = mse(found.plane.at(float(alpha), float(beta)), count)
            assert found.losses[row, column] == pytest.approx(expected, rel=1e-12)
    assert sum(found.held) == pytest.approx(1)
    for lane in found.lanes.values():
        assert lane.points.shape == (7, 2)
        assert lane.outside.max() < 1e-6
        for point, loss in zip(lane.points, lane.losses, strict=True):
            assert mse(found.plane.at(*point), count) == pytest.approx(loss, rel=1e-9)
            assert found.alpha[0] < point[0] < found.alpha[-1]
            assert found.beta[0] < point[1] < found.beta[-1]


def test_paths_end_where_a_run_does_and_the_best_is_the_centre(line: str) -> None:
    found, result = mapped(line), run(line)
    for name, lane in found.lanes.items():
        own = np.concatenate([p.data.reshape(-1) for p in result[name].network.parameters()])
        np.testing.assert_allclose(found.plane.at(*lane.points[-1]), own, atol=1e-12)
        assert lane.losses[-1] == pytest.approx(mse(own, 5), rel=1e-12)
    best = min(found.lanes.values(), key=lambda lane: lane.losses[-1])
    assert found.best == best.name
    np.testing.assert_allclose(best.points[-1], 0, atol=1e-12)
    assert mse(found.centre, 5) == pytest.approx(best.losses[-1], rel=1e-12)


def test_what_is_measured_of_a_path(line: str) -> None:
    found = mapped(line)
    for lane in found.lanes.values():
        steps = np.diff(lane.points, axis=0)  # the plane is all there is
        np.testing.assert_allclose(lane.steps, np.linalg.norm(steps, axis=1))
        assert lane.length == pytest.approx(np.linalg.norm(steps, axis=1).sum())
        assert lane.travelled[-1] == pytest.approx(lane.length)
        assert lane.distance == pytest.approx(np.linalg.norm(lane.points[-1] - lane.points[0]))
        units = steps / np.linalg.norm(steps, axis=1, keepdims=True)
        assert lane.cosine == pytest.approx(np.mean((units[1:] * units[:-1]).sum(axis=1)))
        moved = found.plane.at(*lane.points[-1]) - found.plane.at(*lane.points[0])
        assert lane.evenness == pytest.approx(np.abs(moved).sum() ** 2 / (2 * moved @ moved))
    # One step an epoch on all samples: SGD goes along −∇L exactly, by lr·‖∇L‖, and Adam first by lr in each weight.
    sgd, adam = found.lanes["SGD"], found.lanes["Adam"]
    assert sgd.descent == pytest.approx(1, abs=1e-9)
    assert adam.descent < 0.999
    assert adam.steps[0] == pytest.approx(0.1 * math.sqrt(2), rel=1e-6)
    start = found.plane.at(*sgd.points[0])
    off = start[0] * X[:5] + start[1] - Y[:5]
    gradient = np.array([2 * np.mean(off * X[:5]), 2 * np.mean(off)])
    assert sgd.steps[0] == pytest.approx(0.1 * np.linalg.norm(gradient), rel=1e-9)


# Weights of any network


class Tracks(Copies):
    """Records what is copied."""

    def __init__(self) -> None:
        super().__init__(Silent())

    @property
    def weights(self) -> dict[str, Any]:
        return {name: np.stack(track.weights) for name, track in self._tracks.items()}


def test_copies_in_a_stack_are_those_of_each_alone_to_the_last_bit() -> None:
    """Digits have pixels that are always black, so that training leaves rows of the first weight out and reorders."""
    text = spec(race=THREE, train="epochs = 3; batch = 16")
    found = {}
    for ways in (TOGETHER, ALONE):
        tracks = Tracks()
        result = run(text, observer=tracks, ways=ways)
        stacks = result.summary["ways"]["stacks"]
        assert stacks == ([["SGD", "Momentum", "Adam"]] if ways is TOGETHER else [])
        found[ways.stack] = tracks.weights
        for name, lane in result.items():
            own = np.concatenate([p.data.reshape(-1) for p in lane.network.parameters()])
            np.testing.assert_array_equal(tracks.weights[name][-1], own)
    for name in found[True]:
        one, other = found[True][name], found[False][name]
        assert one.shape[0] == 4
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one[0], found[True]["SGD"][0])  # all begin with the same weights
        rows = one[:, : 784 * 6].reshape(4, 784, 6)
        at_rest = (rows == rows[:1]).all(axis=(0, 2))
        assert 0.05 * 784 < at_rest.sum() < 784  # there is something to narrow, and it stays in its place


def test_a_lane_has_the_same_path_by_itself() -> None:
    text = spec(race=THREE)
    together = mapped(text)
    for name in ("SGD", "Adam"):
        alone = mapped(text, lanes=[name])
        assert list(alone.lanes) == [name]
        assert alone.lanes[name].index == {"SGD": 0, "Adam": 2}[name] == together.lanes[name].index  # and its colour
        for figure in ("losses", "steps"):
            np.testing.assert_array_equal(getattr(alone.lanes[name], figure), getattr(together.lanes[name], figure))


def test_losses_are_those_of_the_network_in_use() -> None:
    text = spec(
        "Linear(12, bias=false); BatchNorm; ReLU; Dropout(0.5); Linear(10)",
        race="SGD(lr=0.1); Adam(lr=0.01)",
        train="epochs = 3; batch = 16; standardise = true",
        data="Digits(train=60, test=20)",
    )
    program = compiled(text)
    found, result = mapped(text), run(text)
    data = program.program.lanes[0].data[0].source.load(OFFLINE).train
    x = data.x.reshape(60, 784) / 255
    for name, lane in found.lanes.items():
        mean, deviation = result[name].scaling  # type: ignore[misc]
        outputs = result[name].network.forward(((x - mean) / deviation).astype(np.float32))
        loss = nn.CrossEntropyLoss().forward(outputs, data.y.astype(np.intp))
        assert lane.losses[-1] == pytest.approx(loss, rel=1e-5)
    middle = mapped(text, grid=3)
    assert np.isfinite(middle.losses).all()


def test_penalties_do_not_count_and_held_out_samples_neither() -> None:
    plain = mapped(spec(train="epochs = 1; batch = 16"))
    heavy = mapped(spec(train="epochs = 1; batch = 16; penalty = L2(0.5)"))
    assert heavy.lanes["run"].losses[0] == plain.lanes["run"].losses[0]
    held_out = mapped(spec(train="epochs = 1; batch = 16; validation = 0.2"))
    assert (held_out.samples, held_out.trained_on) == (40, 40)
    assert held_out.lanes["run"].losses[0] != plain.lanes["run"].losses[0]


def test_of_many_samples_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnspec.analysis.meter.SAMPLES", 10)
    found = mapped(spec())
    assert (found.samples, found.trained_on) == (10, 50)
    data = compiled(spec()).program.lanes[0].data[0].source.load(OFFLINE).train
    rows = np.sort(stream(0, Stream.LANDSCAPE, 1).permutation(50)[:10])
    assert len(set(np.diff(rows))) > 2  # at no even distances: data may alternate
    outputs = run(spec())["run"].network.forward((data.x.reshape(50, 784)[rows] / 255).astype(np.float32))
    loss = nn.CrossEntropyLoss().forward(outputs, data.y[rows].astype(np.intp))
    assert found.lanes["run"].losses[-1] == pytest.approx(loss, rel=1e-5)


def test_shares_of_distances_and_of_steps_are_those_of_the_whole_space(monkeypatch: pytest.MonkeyPatch) -> None:
    text = spec(race=THREE)
    tracks = Tracks()
    run(text, observer=tracks)
    found = mapped(text)
    off = np.concatenate(list(tracks.weights.values())).astype(np.float64) - found.centre
    _, lengths, _ = np.linalg.svd(off, full_matrices=False)
    np.testing.assert_allclose(found.held, (lengths**2 / (lengths**2).sum())[:2], rtol=1e-6)
    steps = np.diff(tracks.weights["SGD"].astype(np.float64), axis=0)
    upright = steps - (steps @ found.plane.axes.T) @ found.plane.axes
    expected = np.linalg.norm(upright, axis=1) / np.linalg.norm(steps, axis=1)
    np.testing.assert_allclose(found.lanes["SGD"].outside, expected, rtol=1e-6)


def test_a_random_plane_is_the_same_every_time_and_reaches_as_far_as_the_weights() -> None:
    one, other = (mapped(spec(), kind="random") for _ in range(2))
    np.testing.assert_array_equal(one.losses, other.losses)
    assert one.alpha[-1] >= one.plane.reach > 0
    assert sum(one.held) < 0.1


def test_of_repeats_the_first_is_shown_and_of_a_kept_epoch_the_way_there() -> None:
    once, repeated = mapped(spec()), mapped(spec(train="epochs = 2; batch = 16; repeats = 3"))
    np.testing.assert_array_equal(once.lanes["run"].losses, repeated.lanes["run"].losses)
    stop = "epochs = 8; batch = 16; early_stop = patience(2, of=test_loss, restore_best=true)"
    text = spec(optimizer="SGD(lr=2.0)", train=stop)
    kept = run(text)["run"].restored_epoch
    assert 0 < kept < 8
    assert len(mapped(text).lanes["run"].steps) == kept


@pytest.mark.parametrize("rate", ["1e30", "1e4"])
def test_a_lane_that_diverges_has_its_way_up_to_there(rate: str) -> None:
    found = mapped(spec(race=f"SGD(lr={rate}); Adam"))
    sgd, adam = found.lanes["SGD"], found.lanes["Adam"]
    assert found.best == "Adam"
    assert len(adam.steps) == 2
    assert np.isfinite(sgd.points).all()
    assert np.isfinite(sgd.losses).all()
    if rate == "1e30":
        assert (sgd.status, len(sgd.steps), found.diverged) == ("diverged", 0, True)
        assert "the loss became" in sgd.message
    plot_landscape(found)


def test_a_path_ends_before_the_first_point_that_is_none() -> None:
    weights = [np.array([1.0, 2.0]), np.array([1.0, 3.0]), np.array([1.0, math.inf]), np.array([1.0, 2.0])]
    track = Track(weights, [{}] * 4)
    assert module._finite(track, np.array([1.0, 1.0, 1.0, 1.0])) == 2
    assert module._finite(track, np.array([1.0, math.nan, 1.0, 1.0])) == 1
    assert module._finite(Track(weights[:2], [{}] * 2), np.array([1.0, 1.0])) == 2


def test_a_lane_whose_loss_is_lost_is_shown_up_to_there(monkeypatch: pytest.MonkeyPatch) -> None:
    measure = Meter.along

    def lose(self: Any, track: Any) -> Any:
        losses, cosines = measure(self, track)
        losses[2:] = math.nan
        return losses, cosines

    monkeypatch.setattr(Meter, "along", lose)
    found = mapped(spec(train="epochs = 3; batch = 16"))
    assert found.lanes["run"].points.shape == (2, 2)
    assert found.lanes["run"].losses.shape == (2,)
    monkeypatch.setattr(Meter, "along", lambda self, track: (np.full(4, math.nan), np.full(4, math.nan)))
    with pytest.raises(LandscapeError, match="no lane has finite weights and a finite loss at any point"):
        mapped(spec(train="epochs = 3; batch = 16"))


# What cannot be shown


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        ("model = narrow", "model = wide", "shapes, 784 → 6 → 10 and 784 → 7 → 10"),
        ("model = narrow", "model = bent", "layers"),
        ("loss = CrossEntropy", "loss = MSE", "losses, CrossEntropy and MSE"),
        ("dtype = float32", "dtype = float64", "dtypes, float32 and float64"),
        ("data = Digits(train=50, test=20)", "data = Digits(train=60, test=20)", "data"),
        ("train.standardise = true", "train.standardise = false", "training samples"),
    ],
)
def test_lanes_without_a_shared_plane_are_named_before_training(
    one: str, other: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = spec(race=f"first {{ {one} }}; second {{ {other} }}; third {{ {one} }}", more=f"{BASE}\n{MODELS}")
    with monkeypatch.context() as patch:
        patch.setattr(module, "run_program", None)
        with pytest.raises(LandscapeError) as error:
            mapped(text)
    told = str(error.value)
    assert told.startswith(f"lanes first and second cannot be shown on one plane: they have different {what}")
    assert told.endswith("choose lanes that have the same, such as --lane first --lane third")
    assert list(mapped(text, lanes=["first", "third"]).lanes) == ["first", "third"]


def test_lanes_may_start_elsewhere() -> None:
    text = spec(race="first { seed = 1 }; second { seed = 2 }", more=BASE)
    found = mapped(text)
    assert not np.allclose(found.lanes["first"].points[0], found.lanes["second"].points[0])
    with pytest.raises(LandscapeError, match="different training samples"):
        mapped(text, "train.validation=0.2")


def test_too_much_memory_is_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    monkeypatch.setattr(module, "run_program", None)
    with pytest.raises(LandscapeError, match=r"3 copies of 4,780 weights take .* --set train\.epochs=N"):
        mapped(spec())


def test_one_weight_and_no_grid_are_refused(line: str) -> None:
    with pytest.raises(LandscapeError, match="has 1 weights, but a plane needs at least 2"):
        mapped(line.replace("Linear(1)", "Linear(1, bias=false)"))
    with pytest.raises(LandscapeError, match="2 to 301 points"):
        mapped(line, grid=1)
    with pytest.raises(LandscapeError, match="unknown plane 'flat'"):
        mapped(line, kind="flat")


def test_an_interrupted_run_has_no_landscape(monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient(Silent):
        def epoch_done(self, lane: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        map_landscape(compiled(spec()), OFFLINE, Impatient())


def test_nan_losses_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MARGIN", 1e30)
    found = mapped(spec(loss="MSE"))  # (1e30)² overflows
    assert np.isnan(found.losses).any()
    assert not np.isinf(found.losses).any()


# In words


def path(name: str, losses: list[float], steps: list[float], descent: float = 0.5, evenness: float = 0.5) -> LanePath:
    points = np.stack([np.append(0, np.cumsum(steps)), np.zeros(len(steps) + 1)], axis=1)
    return LanePath(
        name=name,
        index=0 if name == "A" else 1,
        points=points,
        losses=np.array(losses),
        steps=np.array(steps),
        outside=np.zeros(len(steps)),
        distance=float(sum(steps)),
        cosine=1.0,
        descent=descent,
        evenness=evenness,
    )


def surface(*lanes: LanePath, losses: Any = None) -> Landscape:
    axis = np.linspace(-1, 4, 5)
    return Landscape(
        title="T",
        spec="t.nn",
        kind="pca",
        best=lanes[0].name,
        alpha=axis,
        beta=axis,
        losses=np.add.outer(axis**2, axis**2) + 0.1 if losses is None else losses,
        lanes={lane.name: lane for lane in lanes},
        held=(0.7, 0.2),
        plane=Plane(np.zeros(3), np.eye(2, 3)),
    )


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        (
            path("A", [2, 1.5, 0.1], [3, 3], 0.2, 0.6),
            path("B", [2, 1.0], [2], 0.9, 0.2),
            "A's path is 3.0 times as long as B's (6 against 2); at length 2, the end of B's path, A had loss 1.667, "
            "B 1.000: a longer path, not a steeper one. Its steps followed the direction of steepest descent less "
            "closely (mean cosine 0.20 against 0.90) and moved all weights more evenly (evenness 0.60 against 0.20).",
        ),
        (
            path("A", [2, 0.4, 0.1], [2, 2], 0.9),
            path("B", [2, 1.0], [2], 0.2, 0.51),
            "A had loss 0.400, B 1.000: a path that is both longer and steeper. Its steps followed the direction of "
            "steepest descent more closely (mean cosine 0.90 against 0.20) and moved all weights as evenly",
        ),
        (
            path("A", [2, 0.1], [1], evenness=0.1),
            path("B", [2, 1.5, 1], [2, 2]),
            "A's path is only 25 % as long as B's (1 against 4); at length 1, the end of A's path, B had loss 1.750, "
            "A 0.100: a steeper path. Its steps followed the direction of steepest descent equally closely (mean "
            "cosine 0.50 against 0.50) and moved all weights less evenly",
        ),
        (
            path("A", [2, 0.1], [2]),
            path("B", [2, 1], [2.1]),
            "A's path is about as long as B's (2 against 2.1): steeper, not longer.",
        ),
        (
            path("A", [2, 1.0, 0.1], [2, 3]),
            path("B", [2, 1.01], [2]),
            "A had loss 1.000, B 1.010: a longer path that is about as steep.",
        ),
        (
            path("A", [1, 0.1], [2]),
            path("B", [2, 1], [2.1]),
            "A's path is about as long as B's (2 against 2.1); A started at loss 1.000, B at 2.000. Its",
        ),
        (
            path("A", [2, 0.1], [3]),
            path("B", [1.5, 1], [1]),
            "A's path is 3.0 times as long as B's (3 against 1); A started at loss 2.000, B at 1.500. Its",
        ),
        (
            path("A", [2, 0.1], [2]),
            path("B", [2, 0.05, 1], [2, 1]),
            "at length 2, the end of A's path, B had loss 0.0500, A 0.100: B was as low there, then rose again.",
        ),
    ],
)
def test_the_caption_follows_from_the_numbers(one: LanePath, other: LanePath, told: str) -> None:
    for lanes in ((one, other), (other, one)):
        said = " ".join(caption(surface(*lanes)))
        assert said.startswith("A ended lowest, at loss 0.100, B highest, at 1.0")
        assert told in said


def test_the_caption_of_lanes_with_equal_ends_and_of_a_single_lane() -> None:
    said = caption(surface(path("A", [2, 0.5], [1]), path("B", [2, 0.51], [3])))
    assert said[0] == "All lanes ended at about the same loss, 0.500 to 0.510."
    assert said[1].startswith(
        "B's path is 3.0 times as long as A's (3 against 1); at length 1, the end of A's path, B had"
    )
    assert ":" not in said[1]  # no reason, because neither lane is ahead
    alone = caption(surface(path("A", [1, 2], [1], descent=-0.4)))
    assert alone[0].startswith("A's loss rose from 1.000 to 2.000 in 1 epoch, along a path of length 1 ")
    assert alone[1] == "Its steps do not follow the direction of steepest descent (mean cosine -0.40)."
    assert caption(surface(path("A", [1], []))) == ("No lane finished an epoch.",)


# The picture


@pytest.mark.parametrize("dpi", [130, 72])
def test_names_in_the_picture_do_not_cover_each_other(dpi: int) -> None:
    figure = plot_landscape(mapped(spec(race=THREE, train="epochs = 6; batch = 16"), grid=9))
    figure.set_dpi(dpi)  # as a PDF has it
    figure.draw_without_rendering()
    surface_axis, *others = figure.axes
    for axis in (surface_axis, *others):
        boxes = [text.get_window_extent() for text in axis.texts if text.get_zorder() == 9]
        assert len(boxes) == (4 if axis is surface_axis else 3)
        assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
        assert all(axis.bbox.y0 <= box.y0 and box.y1 <= axis.bbox.y1 for box in boxes)
    texts = [text.get_text() for text in surface_axis.texts]
    assert "start" in texts
    numbers = [text for text in surface_axis.texts if text.get_zorder() < 9]
    assert numbers
    for text in numbers:
        assert float(text.get_text()) > 0
        own = text.get_window_extent()
        assert not any(own.overlaps(other.get_window_extent()) for other in surface_axis.texts if other is not text)
    assert any(text.startswith(("Adam 0.", "Adam 1.", "Adam 2.")) for text in texts)
    assert surface_axis.get_xlabel().startswith("PC 1 (")
    assert surface_axis.get_xlabel().endswith(" % of the squared distances)")


@pytest.mark.parametrize(
    "losses",
    [
        np.full((5, 5), np.nan),
        np.full((5, 5), 0.3),
        np.where(np.eye(5) > 0, np.nan, np.arange(25.0).reshape(5, 5) - 9),
        10.0 ** np.arange(25).reshape(5, 5),
        np.full((5, 5), 0.3) + 1e-12 * np.arange(25).reshape(5, 5),
    ],
    ids=["none", "flat", "below zero", "steep", "nearly flat"],
)
def test_any_surface_can_be_drawn(losses: Any, tmp_path: Path) -> None:
    lanes = [path("A", [2, 1.5, 0.1], [1, 1]), replace(path("$B_{", [2, math.pi], [0.0]), status="diverged")]
    plot_landscape(surface(*lanes, losses=losses), tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_bytes().lstrip().startswith(b"<?xml")
    assert [file.name for file in tmp_path.iterdir()] == ["a.svg"]


def test_many_lanes_are_drawn_and_the_best_are_named() -> None:
    lanes = [path(f"lane {i}", [2, 1 / (i + 1)], [1 + 0.1 * i]) for i in range(14)]
    figure = plot_landscape(surface(*lanes))
    named = {text.get_text().rsplit(" ", 1)[0] for text in figure.axes[0].texts if text.get_zorder() == 9}
    assert named - {"start"} == {f"lane {i}" for i in range(2, 14)} - {"start"}


# The command


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "NNSPEC_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "three.nn").write_text(spec(race=THREE))
    (tmp_path / "diverges.nn").write_text(spec(race="SGD(lr=1e30); Adam"))
    (tmp_path / "differ.nn").write_text(spec(race="a { loss = MSE }; b { loss = CrossEntropy }", more=BASE))
    return tmp_path


def test_the_command_draws_a_picture_and_tells_what_it_shows(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(["landscape", "three.nn", "--grid", "5", "--set", "train.epochs=3"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert (here / "three-landscape.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert "Adam: epoch 3/3" in out
    found = landscape("three.nn", {"train.epochs": 3}, grid=5)
    lines = out.splitlines()
    assert lines[-1] == "three-landscape.png"
    for name, lane in found.lanes.items():
        (row,) = [
            line.split() for line in lines if line.startswith(f"{name} ") and ":" not in line and "ended" not in line
        ]
        assert row[1] == "3"
        assert row[4] == f"{lane.length:.3g}"
    assert all(sentence in lines for sentence in caption(found))


def test_a_picture_that_is_there_stays_and_nothing_is_trained(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = here / "three-landscape.png"
    file.write_text("mine")
    assert _code(["landscape", "three.nn", "--grid", "3"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "three-landscape.png already exists; choose another file with --out, or add --force" in err
    assert file.read_text() == "mine"
    assert _code(["landscape", "three.nn", "--grid", "3", "--force", "--quiet"]) == 0
    assert "epoch 1" not in capsys.readouterr().out
    assert file.read_bytes().startswith(b"\x89PNG")


def test_json_is_one_document_of_the_numbers(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(["landscape", "three.nn", "--grid", "4", "--json", "--out", "a.pdf", "--lane", "SGD"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    record = json.loads(out)
    found = landscape("three.nn", lanes=["SGD"], grid=4)
    assert record["losses"] == found.losses.tolist()
    assert list(record["lanes"]) == ["SGD"]
    assert record["lanes"]["SGD"]["points"] == found.paths["SGD"].tolist()
    assert record["lanes"]["SGD"]["length"] == found.lanes["SGD"].length
    assert record["file"] == "a.pdf"
    assert (here / "a.pdf").read_bytes().startswith(b"%PDF")


CODES = [
    ("three.nn --out a.bmp", 2, "a.bmp has no picture suffix; it must end in .png, .svg or .pdf"),
    ("three.nn --out nowhere/a.png", 2, "folder not found: nowhere; create it first"),
    ("three.nn --lane Adan", 2, "three.nn has no lane Adan; there are SGD, Momentum, Adam"),
    ("three.nn --grid 1", 2, "'--grid'"),
    ("three.nn --plane flat", 2, "'--plane'"),
    ("differ.nn", 2, "lanes a and b cannot be shown on one plane: they have different losses, MSE and CrossEntropy"),
    ("nowhere.nn", 2, "file not found: nowhere.nn"),
    ("diverges.nn --grid 3", 1, "! SGD diverged; its path ends at the start"),
    ("three.nn --grid 3 --plane random", 0, "two filter-normalised random directions"),
]


@pytest.mark.parametrize(("words", "code", "text"), CODES, ids=[row[0] for row in CODES])
def test_exit_codes_and_words(here: Path, capsys: pytest.CaptureFixture[str], words: str, code: int, text: str) -> None:
    assert _code(["landscape", *words.split()]) == code
    out, err = capsys.readouterr()
    assert text in (err if code == 2 else out)
    assert "Traceback" not in out + err


def test_python_names_a_lane_that_is_not_there(here: Path) -> None:
    with pytest.raises(LaneError, match="no lane Sgd"):
        landscape("three.nn", lanes=["Sgd"])


def test_a_program_is_not_changed_by_it() -> None:
    program: Compiled = compiled(spec(race=THREE, expect="Adam.loss < 99"))
    before = program.program
    map_landscape(program, OFFLINE, Silent(), grid=2)
    assert program.program == before
    assert program.program.expectations


def test_repeats_that_are_not_shown_are_named() -> None:
    once = surface(path("SGD", [3.0, 1.0], [1.0]))
    assert not any("first seed" in note for note in notes(once))
    several = replace(once, repeats=5)
    assert "each lane is trained once, with its first seed; the spec asks for 5 trainings" in list(notes(several))


@pytest.mark.parametrize(("crowded", "connected"), [(False, 0), (True, 1)])
def test_a_name_that_is_not_next_to_its_point_is_connected_to_it(crowded: bool, connected: int) -> None:
    from matplotlib.figure import Figure

    axis = Figure().add_subplot()
    axis.set(xlim=(0, 1), ylim=(0, 1))
    x, y = axis.transData.transform((0.5, 0.5))
    around = [(x + dx, y + dy) for dx in range(-90, 91, 3) for dy in range(-28, 29, 3)] if crowded else []
    place_labels(axis, [Label("Adam", (0.5, 0.5), "green")], around)
    assert [line.get_color() for line in axis.lines] == ["green"] * connected
    if connected:
        assert axis.transAxes.transform(axis.lines[0].get_xydata()[1]) == pytest.approx((x, y))
