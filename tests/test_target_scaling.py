"""Targets that the loss sees standardised: figures and predictions are in their own unit all the same."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import compiled, run, spec

import nnspec
from nnspec import runs
from nnspec.checker import check
from nnspec.diagnostics import Source
from nnspec.runner import gradients as prove

pytestmark = pytest.mark.usefixtures("undrawn")

TRAIN = [(1, 1.7e9 + 10, 5), (2, 1.7e9 + 40, 5.5), (3, 1.7e9 + 20, 9), (4, 1.7e9 + 90, 1)]
TEST = [(5, 1.7e9 + 70, 2), (0, 1.7e9, 8), (2, 1.7e9 + 30, 4)]
"""A feature and two targets: one whose mean is so large beside its deviation that float32 could not tell it apart."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, table in (("train.csv", TRAIN), ("test.csv", TEST)):
        (tmp_path / name).write_text("a,t,u\n" + "".join(f"{a},{t:.1f},{u}\n" for a, t, u in table))
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose samples and targets are scaled."""
    folder = tmp_path_factory.mktemp("scaled")
    (folder / "train.csv").write_text("a,t\n" + "".join(f"{a},{t}\n" for a, t, _ in TRAIN * 2))
    data = f'CSV("{(folder / "train.csv").as_posix()}", "t", test=0.25)'
    settings = "epochs = 1; standardise = true; standardise_target = true"
    (folder / "s.nn").write_text(spec("Linear(1)", loss="MSE", data=data, train=settings))
    nnspec.run(folder / "s.nn", out=folder / "out")
    return folder / "out"


def table(folder: Path, targets: str) -> str:
    return f'CSV("{(folder / "train.csv").as_posix()}", {targets}, test="{(folder / "test.csv").as_posix()}")'


def step(target: int) -> tuple[float, float, float, float]:
    """Return weight and bias after one step of size 0.1 from zero, and mean and deviation, in plain Python."""
    values = [row[target] for row in TRAIN]
    mean, deviation = statistics.fmean(values), statistics.pstdev(values)
    z = [(value - mean) / deviation for value in values]
    weight = 0.1 * 2 / (4 * 2) * sum(row[0] * each for row, each in zip(TRAIN, z, strict=True))
    return weight, 0.1 * 2 / (4 * 2) * sum(z), mean, deviation


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_step_by_hand(folder: Path, dtype: str) -> None:
    text = spec(
        "Linear(2, init=zeros)",
        loss="MSE",
        data=table(folder, '["t", "u"]'),
        train="epochs = 1; batch = 4; standardise_target = true",
        more=f"metrics = [mae, mse, r2]\ndtype = {dtype}",
    )
    (folder / "s.nn").write_text(text)
    result = nnspec.run(folder / "s.nn", out=folder / "out")
    lane = result["run"]
    off: list[float] = []
    wanted, shares = [], []
    for target in (1, 2):
        weight, bias, mean, deviation = step(target)
        told = [(weight * row[0] + bias) * deviation + mean for row in TEST]
        true = [row[target] for row in TEST]
        wanted.append(told)
        errors = [a - b for a, b in zip(told, true, strict=True)]
        off += errors
        shares.append(1 - sum(e * e for e in errors) / sum((t - statistics.fmean(true)) ** 2 for t in true))
    close = pytest.approx if dtype == "float64" else lambda value: pytest.approx(value, rel=2e-6)
    assert lane.final("loss") == close(1.0)  # of zeros, the variance of what is standardised
    assert lane.final("test_mae") == close(statistics.fmean(map(abs, off)))
    assert lane.final("test_mse") == close(statistics.fmean(e * e for e in off))
    assert lane.final("test_r2") == close(statistics.fmean(shares))
    scaled = [error / step(1 + (i >= 3))[3] for i, error in enumerate(off)]
    assert lane.final("test_loss") == close(statistics.fmean(e * e for e in scaled))
    # What is written beside the weights gives predictions in the targets' unit.
    with np.load(folder / "out/run/weights.npz") as file:
        np.testing.assert_allclose(file["target.mean"], [step(1)[2], step(2)[2]], rtol=1e-15)
        np.testing.assert_allclose(file["target.deviation"], [step(1)[3], step(2)[3]], rtol=1e-12)
    (found,) = runs.predict(runs.load(folder / "out"), [folder / "test.csv"])
    np.testing.assert_allclose(found.outputs, np.transpose(wanted), rtol=1e-14 if dtype == "float64" else 1e-8)
    np.testing.assert_allclose(found.outputs[:, 0] - 1.7e9, np.array(wanted[0]) - 1.7e9, atol=1e-5)
    (one,) = runs.evaluate(folder / "out")
    assert one.same
    np.testing.assert_array_equal(one.outputs, found.outputs)


def test_repeats_have_their_own_scales_and_resume_from_checkpoints(tmp_path: Path) -> None:
    text = spec(
        "Linear(4); Tanh; Linear(1)",
        loss="MSE",
        data="Sine(train=60, test=20)",
        train="epochs = 2; batch = 16; repeats = 2; validation = 0.3; standardise = true; standardise_target = true",
        more="metrics = [r2]",
    )
    (tmp_path / "s.nn").write_text(text)
    first = nnspec.run(tmp_path / "s.nn", out=tmp_path / "out")["run"]
    deviations = [one.target_scaling[1] for one in first.repeats]
    assert deviations[0] != deviations[1]
    assert all(one.same for one in runs.evaluate(tmp_path / "out"))
    again = nnspec.run(tmp_path / "s.nn", out=tmp_path / "out", resume=True)["run"]
    for one, other in zip(first.repeats, again.repeats, strict=True):
        np.testing.assert_array_equal(one.target_scaling, other.target_scaling)
        np.testing.assert_array_equal(one.scaling, other.scaling)


def test_a_target_that_is_constant_is_shifted_and_not_divided(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{i},0.1\n" for i in range(12)))
    text = spec("Linear(1)", loss="MSE", data=f'CSV("{(tmp_path / "t.csv").as_posix()}", "y")',
                train="epochs = 1; standardise_target = true", optimizer="SGD(lr=1e-3)")  # fmt: skip
    assert [*map(float, np.ravel(run(text)["run"].target_scaling))] == [0.1, 1]


def test_gradients_are_proved_of_the_loss_that_is_trained() -> None:
    text = spec(
        "Linear(3); Tanh; Linear(1)",
        loss="MSE",
        data="Sine(train=50, test=10)",
        train="epochs = 1",
        race="a { train.standardise_target = true }; b { train.epochs = 1 }",
        more="optimizer = SGD",
    )
    lanes = compiled(text).program.lanes
    assert [len(group) for group in prove.alike_lanes(lanes)] == [1, 1]
    dataset = lanes[0].data[0].source.load(None)
    assert prove.prove_gradients(lanes[0], dataset).error < 1e-7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "`standardise_target` scales numbers, but the targets are classes"),
        ({"loss": "BCEWithLogits", "data": "Sine", "model": "Linear(1)"}, "needs targets in [0, 1], but standardised"),
        ({"loss": "MSE", "model": "Linear(784)", "train": "target = input"}, "the targets are the samples"),
    ],
)
def test_targets_that_cannot_be_scaled(change: dict[str, str], message: str) -> None:
    settings = dict(change)
    train = f"{settings.pop('train', 'epochs = 1')}; standardise_target = true"
    text = spec(settings.pop("model", "Linear(10)"), train=train, **settings)
    (found,) = check(Source("t.nn", text)).diagnostics
    assert found.code == "NN302"
    assert message in found.message
    assert found.span.text == "true"
    assert check(Source("t.nn", text.replace("; standardise_target = true", ""))).diagnostics == ()


@pytest.mark.parametrize("what", ["input", "target"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays, what: arrays.pop(f"{what}.deviation"), "deviation is missing"),
        (lambda arrays, what: arrays.pop(f"{what}.mean"), "mean is missing"),
        (lambda arrays, what: arrays.update({f"{what}.deviation": np.ones(7)}), r"deviation is float64 \(7,\), not 1 "),
        (lambda arrays, what: arrays.update({f"{what}.deviation": np.zeros(1)}), "contains invalid scales"),
        (lambda arrays, what: arrays.update({f"{what}.mean": np.full(1, np.nan)}), "contains invalid scales"),
    ],
)
def test_scales_that_cannot_be_used_are_damage(
    trained: Path, tmp_path: Path, what: str, change: Any, message: str
) -> None:
    shutil.copytree(trained, tmp_path / "out")
    weights = tmp_path / "out" / "run" / "weights.npz"
    with np.load(weights) as archive:
        arrays = dict(archive)
    change(arrays, what)
    np.savez(weights, **arrays)
    for use in (runs.evaluate, lambda folder: runs.load(folder).predict([[1.0]])):
        with pytest.raises(runs.RunError, match=rf"weights\.npz is damaged: {what}\..*{message}"):
            use(tmp_path / "out")
