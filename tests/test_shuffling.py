"""Orders of samples: drawn anew in every epoch, drawn once, or that of the data."""

from __future__ import annotations

import pytest
from tiny_plan import make_plan
from tiny_spec import run, spec

from nnspec.checker import check
from nnspec.diagnostics import Source
from nnspec.runner.options import RunOptions

TRAIN = "epochs = 3; batch = 7; validation = 0.2; shuffle = "


def orders(shuffle: str, seed: int = 0) -> list[list[int]]:
    """Return the order of the training samples in each of three epochs."""
    plan = make_plan(spec(train=TRAIN + shuffle, more=f"seed = {seed}"))
    found = []
    for epoch in range(3):
        plan.begin(epoch)
        found.append(plan.data.order.tolist())
    return found


def test_an_order_is_drawn_in_every_epoch_or_once_or_never() -> None:
    anew, once, never = orders("true"), orders("once"), orders("false")
    assert len({tuple(order) for order in anew}) == 3
    assert once == [anew[0]] * 3
    assert never == [sorted(anew[0])] * 3
    assert orders("once", seed=1)[0] != once[0]


@pytest.mark.parametrize("how", [{"stack": False}, {"jobs": 2}])
def test_lanes_have_the_same_bits_in_every_way(how: dict[str, object], forked_workers: None) -> None:
    racing = spec(race="SGD; Adam", train=f"{TRAIN}once; repeats = 2")
    together, apart = run(racing), run(racing, ways=RunOptions(**{"jobs": 1} | how))  # type: ignore[arg-type]
    assert together.summary["ways"]["stacks"]
    for name, lane in together.lanes.items():
        assert lane.history == apart[name].history
    assert together["SGD"].history != run(racing.replace("once", "true"))["SGD"].history


def test_a_lane_that_continues_has_the_same_order() -> None:
    plan = make_plan(spec(train=f"{TRAIN}once"))
    plan.begin(2)  # as after a checkpoint
    assert plan.data.order.tolist() == orders("once")[0]


@pytest.mark.parametrize(("wrong", "named"), [("twice", "`twice`"), ("1", "1"), ("none", "none")])
def test_other_words_are_errors(wrong: str, named: str) -> None:
    (found,) = check(Source("tiny.nn", spec(train=TRAIN + wrong)), []).diagnostics
    assert (found.code, found.message) == ("NN301", f"`shuffle` must be true or false or `once`, not {named}")
