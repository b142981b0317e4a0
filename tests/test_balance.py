"""Classes that are drawn equally often: `train.balance`."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from tiny_plan import make_plan
from tiny_spec import run, spec

from nnspec.checker import check
from nnspec.data.source import Dataset, Facts, Split
from nnspec.data.splitting import balanced
from nnspec.diagnostics import Source
from nnspec.runner.options import RunOptions

TRAIN = "epochs = 2; batch = 7; balance = true"


@pytest.mark.parametrize("counts", [[1, 5, 30], [12], [3, 3], [1, 1, 1, 40], [2, 98]])
def test_each_class_is_drawn_equally_often(counts: list[int]) -> None:
    labels = np.repeat(np.arange(len(counts)) * 2, counts)  # classes that do not occur get nothing
    samples = np.random.default_rng(0).permutation(len(labels)) + 100
    drawn = balanced(samples, labels, np.random.default_rng(1))
    label_of = dict(zip(samples.tolist(), labels.tolist(), strict=True))
    classes = Counter(label_of[each] for each in drawn.tolist())
    assert len(drawn) == len(samples)
    assert set(classes) == set(label_of.values())
    assert max(classes.values()) - min(classes.values()) <= 1
    for label in classes:
        times = Counter(each for each in drawn.tolist() if label_of[each] == label)
        often = [times[each] for each in label_of if label_of[each] == label]
        assert max(often) - min(often) <= 1
    assert balanced(samples, labels, np.random.default_rng(1)).tolist() == drawn.tolist()
    if len(counts) > 1:
        assert balanced(samples, labels, np.random.default_rng(2)).tolist() != drawn.tolist()


def rare(facts: Facts) -> Dataset:
    """Random samples, of which one in ten is of class 1."""
    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        return Split(
            rng.standard_normal((count, facts.features)).astype("f4"), (np.arange(count) % 10 == 0).astype(int)
        )

    return Dataset("rare", facts, split(facts.train), split(facts.test), 1.0, "", "random")


def test_a_plan_draws_anew_in_every_epoch() -> None:
    text = spec("Linear(2)", data="Moons(train=100, test=20)", train=f"{TRAIN}; validation = 0.2")
    plan = make_plan(text)
    plan = make_plan(text, rare(plan.experiment.facts))
    labels, orders = plan.dataset.train.y, []
    for epoch in range(3):
        plan.begin(epoch)
        orders.append(plan.data.order.tolist())
        assert np.bincount(labels[orders[-1]]).tolist() == [40, 40]
        assert not set(orders[-1]) & set(plan.data.held_out_samples.tolist())
    assert len({tuple(order) for order in orders}) == 3
    frequent = {each for order in orders for each in order if labels[each] == 0}
    assert len(frequent) > 60  # each epoch draws other samples of the frequent class
    plan.begin(1)
    assert plan.data.order.tolist() == orders[1]


@pytest.mark.parametrize("how", [{"stack": False}, {"jobs": 2}])
def test_lanes_have_the_same_bits_in_every_way(how: dict[str, object], forked_workers: None) -> None:
    racing = spec(race="SGD; Adam", train=f"{TRAIN}; repeats = 2; validation = 0.2")
    one, other = run(racing), run(racing, ways=RunOptions(**{"jobs": 1} | how))  # type: ignore[arg-type]
    assert one.summary["ways"]["stacks"]
    for name, lane in one.lanes.items():
        assert lane.history == other[name].history
    assert one["SGD"].history != run(racing.replace("balance = true", "balance = false"))["SGD"].history


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data": "Sine", "loss": "MSE", "model": "Linear(1)"},
            "`balance` needs a class for each sample, but the data",
        ),
        ({"train": f"{TRAIN}; shuffle = false"}, "`balance` draws samples at random, which `shuffle = false` does not"),
    ],
)
def test_what_cannot_be_balanced_is_an_error(changes: dict[str, str], message: str) -> None:
    checked = check(Source("tiny.nn", spec(**{"train": TRAIN} | changes)), [])  # type: ignore[arg-type]
    (found,) = checked.diagnostics
    assert found.code == "NN302"
    assert found.message.startswith(message)
