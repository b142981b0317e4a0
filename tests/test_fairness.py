"""What lanes share, as digests of the arrays that they were trained with."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_spec import ALONE, TOGETHER, command, run, spec

from nnspec.runner.options import RunOptions
from nnspec.view.wording.fairness import shared_in_words

RACE = spec(race="SGD(lr=0.1); Adam(lr=0.01)", train="epochs = 2; batch = 16; validation = 0.2", more="seed = 5")


KEYS = ("data", "order", "start")


@pytest.mark.parametrize("ways", [TOGETHER, ALONE, RunOptions(jobs=2)], ids=["stack", "alone", "jobs"])
def test_lanes_of_a_race_share_all_three_and_ways_change_no_digest(ways: RunOptions, forked_workers: None) -> None:
    result = run(RACE, ways=ways)
    found = result.summary["fairness"]
    assert {key: found[key] for key in KEYS} == {"data": True, "order": True, "start": True}
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
def test_differences_between_lanes_are_reported(lane: str, found: dict[str, bool | None]) -> None:
    text = spec(race=f"SGD(lr=0.1); {lane}", more="seed = 5\noptimizer = SGD(lr=0.1)")
    said = run(text).summary["fairness"]
    assert {key: said[key] for key in KEYS} == found


def test_a_single_lane_has_no_fairness_check() -> None:
    assert run(spec()).summary["fairness"] is None


def test_a_run_says_what_its_lanes_shared(tmp_path: Path, undrawn: None) -> None:
    (tmp_path / "same.nn").write_text(RACE)
    (tmp_path / "other.nn").write_text(spec(race="SGD(lr=0.1); other { seed = 6; optimizer = SGD(lr=0.1) }"))
    same, other = (command("run", f"{name}.nn", "-q", cwd=tmp_path).stdout for name in ("same", "other"))
    assert "– all lanes had the same data, order of samples, starting weights (" in same
    assert "– all lanes had the same data; not the same order of samples, starting weights; " in other


def weights(shared: tuple[int, int], different: tuple[int, int], not_compared: int) -> dict[str, dict[str, int]]:
    return {
        "shared": {"tensors": shared[0], "numbers": shared[1]},
        "different": {"tensors": different[0], "numbers": different[1]},
        "not_compared": {"tensors": not_compared},
    }


MODELS = """seed = 1
data = Blobs(train=12, test=4)
model one { Linear(4); ReLU; Linear(3) }
model wide { Linear(8); ReLU; Linear(3) }
model short { Linear(3) }
model zero { Linear(4, init=zeros); ReLU; Linear(3) }
loss = CrossEntropy
optimizer = SGD
train.epochs = 1
model = one
"""


@pytest.mark.parametrize(
    ("lanes", "start", "counts", "words"),
    [
        (
            "model = one",
            True,
            weights((4, 2 * 4 + 4 + 4 * 3 + 3), (0, 0), 0),
            "starting weights (4 tensors, 27 numbers)",
        ),
        (
            "model = wide",
            None,
            weights((1, 3), (0, 0), 3),
            "1 of 4 tensors starts with the same numbers (3 numbers), "
            "3 cannot be compared, because shapes or layers differ",
        ),
        (
            "model = short",
            None,
            weights((0, 0), (0, 0), 4),
            "none of 4 tensors start with the same numbers, 4 cannot be compared, because shapes or layers differ",
        ),
        (
            "model = zero",
            False,
            weights((3, 4 + 12 + 3), (1, 8), 0),
            "not the same starting weights; 3 of 4 tensors start with the same numbers (19 numbers), "
            "1 with different ones",
        ),
    ],
)
def test_tensors_and_numbers_that_start_alike_are_counted(
    lanes: str, start: bool | None, counts: dict[str, dict[str, int]], words: str
) -> None:
    summary = run(f"{MODELS}race {{ a {{ train.epochs = 1 }}; b {{ {lanes} }} }}\n").summary
    assert (summary["fairness"]["start"], summary["fairness"]["weights"]) == (start, counts)
    assert shared_in_words(summary["fairness"]).endswith(words)


def test_a_summary_without_counts_says_what_it_has() -> None:
    old = {"data": True, "order": False, "start": True}
    assert shared_in_words(old) == "all lanes had the same data, starting weights; not the same order of samples"


def test_the_same_data_under_two_names_is_the_same() -> None:
    """What counts is the digest of the arrays, not what a lane asked for."""
    text = spec(
        race="SGD(lr=0.1); other { data = MNIST(train=60, test=20) or Digits(train=60, test=20); optimizer = Adam }",
        data="Digits(train=60, test=20)",
    )
    result = run(text)
    assert len(result.data) == 2
    assert len({use.sha256 for use in result.data}) == 1
    assert result.summary["fairness"]["data"] is True
