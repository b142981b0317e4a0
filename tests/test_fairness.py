"""What lanes share, as digests of the arrays that they were trained with."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_spec import ALONE, TOGETHER, nnspec, run, spec

from nnspec.runner.fairness import fairness
from nnspec.runner.run import Ways

RACE = spec(race="SGD(lr=0.1); Adam(lr=0.01)", train="epochs = 2; batch = 16; validation = 0.2", more="seed = 5")


@pytest.mark.parametrize("ways", [TOGETHER, ALONE, Ways(jobs=2)], ids=["stack", "alone", "jobs"])
def test_lanes_of_a_race_share_all_three_and_ways_change_no_digest(ways: Ways) -> None:
    result = run(RACE, ways=ways)
    assert result.summary["fairness"] == {"data": True, "order": True, "start": True}
    assert result["SGD"].fingerprints == result["Adam"].fingerprints == run(RACE)["SGD"].fingerprints
    assert set(result["SGD"].fingerprints["start"]) == set(result["SGD"].network.named_parameters())


@pytest.mark.parametrize(
    ("lane", "found"),
    [
        ("other { seed = 6 }", {"data": True, "order": False, "start": False}),
        ("other { train.shuffle = false }", {"data": True, "order": False, "start": True}),
        ("other { train.epochs = 3 }", {"data": True, "order": None, "start": True}),
        ("other { data = Digits(train=50, test=20, seed=1) }", {"data": False, "order": True, "start": True}),
        ("other { model.Linear1.init = zeros }", {"data": True, "order": True, "start": False}),
        ("other { train.batch = 10 }", {"data": True, "order": True, "start": True}),
    ],
)
def test_what_lanes_do_not_share_is_said(lane: str, found: dict[str, bool | None]) -> None:
    text = spec(race=f"SGD(lr=0.1); {lane}", more="seed = 5\noptimizer = SGD(lr=0.1)")
    assert run(text).summary["fairness"] == found


def test_a_lane_alone_has_nobody_to_be_fair_to() -> None:
    assert fairness(run(spec())) is None


def test_a_run_says_what_its_lanes_shared(tmp_path: Path) -> None:
    (tmp_path / "same.nn").write_text(RACE)
    (tmp_path / "other.nn").write_text(spec(race="SGD(lr=0.1); other { seed = 6; optimizer = SGD(lr=0.1) }"))
    same, other = (nnspec("run", f"{name}.nn", "-q", cwd=tmp_path).stdout for name in ("same", "other"))
    assert "– all lanes had the same data, order of samples, starting weights" in same
    assert "– all lanes had the same data; not the same order of samples, starting weights" in other


def test_the_same_data_under_two_names_is_the_same() -> None:
    """What counts is the digest of the arrays, not what a lane asked for."""
    text = spec(
        race="SGD(lr=0.1); other { data = MNIST(train=60, test=20) or Digits(train=60, test=20); optimizer = Adam }",
        data="Digits(train=60, test=20)",
    )
    result = run(text)
    assert len(result.data) == 2
    assert len({use.sha256 for use in result.data}) == 1
    shared = fairness(result)
    assert shared is not None
    assert shared["data"] is True
