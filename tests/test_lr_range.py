"""The learning-rate range test: its losses, its suggestion, its picture and its command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_spec import OFFLINE, command, compiled, run, spec

import nnspec as package
from nnspec.analysis.rate_range import LaneRates, RateRange, find_rates
from nnspec.training.observer import Silent

RACE = spec(race="SGD; Adam(lr=cosine(0.1))", train="epochs = 1; batch = 16; validation = 0.2")


def found(text: str, **more: object) -> RateRange:
    return find_rates(compiled(text), OFFLINE, Silent(), **more)  # type: ignore[arg-type]


def rates_of(losses: list[float], diverged: bool = False, share: float = 1.0) -> LaneRates:
    return LaneRates("a", 0, "SGD", [10.0**i for i in range(len(losses))], losses, diverged, share)


@pytest.mark.parametrize("more", ["", "; accumulate = 2", "; augment = noise(0.1)"])
def test_its_losses_are_those_of_a_training_with_these_rates(more: str) -> None:
    steps, low, high = 20, 1e-4, 1.0
    rates = [low * (high / low) ** (i / (steps - 1)) for i in range(steps)]
    train = f"batch = 16{more}"
    lane = found(spec(train=train, optimizer="Momentum"), low=low, high=high, steps=steps).lanes["run"]
    by_hand = f"piecewise({low!r}, boundaries={[*range(1, steps)]}, values={rates[1:]}, per=step)"
    same = run(spec(train=f"steps = {steps}; record = 1; {train}", optimizer=f"Momentum(lr={by_hand})"))["run"]
    count = len(lane.losses)
    assert count >= 10
    assert lane.losses == pytest.approx(same.curve("loss")[:count], rel=1e-12)
    assert list(lane.rates) == rates[:count]


def test_the_moving_average_is_corrected_for_its_start() -> None:
    losses = [3.0, 1.0, 2.0, 5.0]
    weights = [[0.75**i * 0.25 for i in range(n)][::-1] for n in range(1, 5)]
    by_hand = [np.dot(w, losses[: len(w)]) / (1 - 0.75 ** len(w)) for w in weights]
    np.testing.assert_allclose(rates_of(losses, share=0.25).smoothed, by_hand, rtol=1e-14)


def test_the_suggestion_is_a_tenth_of_the_rate_with_the_lowest_loss() -> None:
    lane = rates_of([5.0, 4.9, 3.0, 2.5, 2.0, 6.0])
    assert (lane.lowest, lane.steepest, lane.suggestion) == (1e4, 100.0, 1e3)
    assert rates_of([1.0, 2.0, 3.0]).suggestion is None
    assert rates_of([]).suggestion is None
    assert rates_of([3.0, 2.0, 1.0]).still_falls
    assert not rates_of([3.0, 1.0, 2.0]).still_falls


def test_it_ends_where_the_loss_has_risen_far() -> None:
    lane = found(spec(optimizer="SGD"), low=1e-3, high=1e4, steps=60).lanes["run"]
    assert lane.diverged
    assert len(lane.losses) < 60
    assert lane.smoothed[-1] > 4 * min(lane.smoothed) or not np.isfinite(lane.losses[-1])
    assert all(loss <= 4 * min(lane.smoothed[: n + 1]) for n, loss in enumerate(lane.smoothed[:-1]))


@pytest.mark.parametrize("arguments", [{"low": 0.0}, {"low": 2.0, "high": 1.0}, {"steps": 9}, {"high": float("inf")}])
def test_impossible_ranges_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a range test needs rates 0 < from < to and at least 10 steps"):
        found(spec(), **arguments)


def test_every_lane_is_tested_and_drawn(tmp_path: Path) -> None:
    result = found(RACE, steps=30, low=1e-3)
    assert list(result.lanes) == ["SGD", "Adam"]
    figure = result.plot(tmp_path / "rates.svg")
    (axis,) = figure.axes
    assert (axis.get_xscale(), axis.get_xlim()) == ("log", (1e-3, 10.0))
    named = [text.get_text() for text in axis.texts]
    assert named == [f"{name}: {lane.suggestion:g}" for name, lane in result.lanes.items()]
    assert (tmp_path / "rates.svg").read_bytes().startswith(b"<?xml")


def test_the_command_prints_draws_and_changes_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "tiny.nn"
    path.write_text(RACE)
    done = command("lr-range", path, "--steps", "30", "--from", "1e-3", "--offline", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "suggested lr" in done.stdout
    assert done.stdout.endswith("tiny-lr-range.png\n")
    assert {file.name for file in tmp_path.iterdir()} == {"tiny.nn", "tiny-lr-range.png"}
    assert path.read_text() == RACE
    again = command("lr-range", path, cwd=tmp_path)
    assert again.returncode == 2
    assert "already exists; choose another file with --out" in again.stderr
    words = ("lr-range", path, "--lane", "Adam", "--steps", "20", "--json", "--out", tmp_path / "a.png", "-q")
    record = json.loads(command(*words, cwd=tmp_path).stdout)
    (lane,) = record["lanes"]
    assert (lane["name"], len(lane["rates"]), record["steps"]) == ("Adam", len(lane["losses"]), 20)
    assert lane["suggestion"] == package.lr_range(path, lanes=["Adam"], steps=20, offline=True).lanes["Adam"].suggestion


def test_the_command_says_what_to_try(tmp_path: Path) -> None:
    path = tmp_path / "tiny.nn"
    path.write_text(spec(data="Digits(train=400, test=20)"))
    words = ("lr-range", path, "--steps", "20", "--offline", "--force")
    late = command(*words, "--from", "1e5", "--to", "1e6", cwd=tmp_path)
    assert late.returncode == 1
    assert "run: the loss never fell; begin with smaller rates, such as --from 1000" in late.stdout
    early = command(*words, "--steps", "100", "--from", "1e-4", "--to", "0.04", cwd=tmp_path)
    assert "run: the loss was still falling at 0.04; try larger rates: --to 0.4" in early.stdout
    wrong = command(*words, "--from", "1", "--to", "0.1", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "--from must be smaller than --to" in wrong.stderr
