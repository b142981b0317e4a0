"""The validation split: the held-out samples, that nothing is learned from them, and the figures on them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_plan import ALLOCATION, SIZES, by_hand, make_plan, peak_growth, train
from tiny_spec import compiled, noise, run, spec

from nnspec import engine as nn
from nnspec.checker.program import TrainSettings
from nnspec.compiler.loop import plan_alone
from nnspec.data.source import Dataset, Split
from nnspec.engine.random import Stream, stream
from nnspec.records.write import history_record, write_record

SAMPLES = 50


def settings(share: float, more: str = "") -> str:
    return f"epochs = 2; batch = 16; validation = {share}; {more}"


@pytest.mark.parametrize(
    ("share", "samples", "held_out"),
    [
        (0.0, 50, 0),
        (0.1, 50, 5),
        (0.1, 54, 5),
        (0.1, 56, 6),
        (0.25, 50, 12),  # a half goes to the even side
        (0.27, 50, 14),
        (0.001, 50, 1),
        (0.999, 50, 49),
        (0.5, 2, 1),
        (0.1, 2, 1),
        (0, 1, 0),
    ],
)
def test_how_many_samples_are_held_out(share: float, samples: int, held_out: int) -> None:
    assert TrainSettings(validation=share).held_out(samples) == held_out


def test_one_sample_is_too_few_to_hold_any_out() -> None:
    with pytest.raises(ValueError, match="`validation` needs at least 2 training samples, not 1"):
        TrainSettings(validation=0.1).held_out(1)


def test_every_epoch_has_an_order_of_its_own_that_depends_on_the_seed_alone() -> None:
    plan, other = (make_plan(spec(train="batch = 7", more=f"seed = {seed}")) for seed in (3, 4))
    orders = []
    for epoch in (0, 1, 5, 0):
        plan.data.enter(epoch, 0)
        orders.append(plan.data.order.tolist())
        drawn = sorted(orders[-1])
        stream(3, Stream.SHUFFLE, epoch).shuffle(drawn)
        assert orders[-1] == drawn
    assert orders[0] == orders[3]
    assert orders[0] != orders[1] != orders[2]
    other.data.enter(0, 0)
    assert other.data.order.tolist() != orders[0]


@pytest.mark.parametrize("shuffle", ["true", "false"])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9])
def test_samples_are_either_trained_on_or_held_out(share: float, shuffle: str) -> None:
    plan = make_plan(spec(train=settings(share, f"shuffle = {shuffle}")))
    held_out = plan.data._held_out.tolist()
    assert len(held_out) == plan.held_out == round(share * SAMPLES)
    for epoch in range(3):
        plan.begin(epoch)
        assert sorted(plan.data._order.tolist() + held_out) == list(range(SAMPLES))
        assert (plan.data._order.tolist() == sorted(plan.data._order)) is (shuffle == "false")
    assert plan.data._held_out.tolist() == held_out == sorted(held_out)
    assert [plan.train_batch(number)[1] for number in range(plan.batches)][-1] == (SAMPLES - len(held_out)) % 16 or 16


def test_the_choice_is_one_of_the_seed_alone() -> None:
    def held_out(share: float = 0.2, lane: str = "a", more: str = "") -> set[int]:
        race = "a: SGD; b { Adam; model = other; train.batch = 7; train.epochs = 9; train.shuffle = false }"
        text = spec(race=race, train=settings(share), more=f"model other {{ Linear(10) }}\nmodel = main\n{more}")
        return set(make_plan(text.replace("model {", "model main {"), lane=lane).data._held_out.tolist())

    chosen = held_out()
    assert chosen == held_out() == held_out(lane="b")
    assert chosen != held_out(more="seed = 1")
    assert chosen == set(stream(0, Stream.VALIDATION).permutation(SAMPLES)[:10].tolist())
    assert held_out(0.1) < chosen < held_out(0.5)


def test_the_numbers_of_the_streams_are_stable() -> None:
    assert {purpose.name: int(purpose) for purpose in Stream} == {
        "WEIGHTS": 0,
        "SHUFFLE": 1,
        "NOISE": 2,
        "GRADIENT_CHECK": 3,
        "VALIDATION": 4,
        "AUGMENT": 5,
        "SAMPLE": 6,
        "LANDSCAPE": 7,
        "SEARCH": 8,
        "RESAMPLING": 9,
    }


def test_nothing_is_learned_from_what_is_held_out(digits: Dataset) -> None:
    text = spec("Linear(12); ReLU; Dropout(0.3); Linear(10)", optimizer="Adam(lr=0.01)", train=settings(0.3))
    clean = make_plan(text, digits)
    x, y = digits.train.x.copy(), digits.train.y.copy()
    x[clean.data._held_out], y[clean.data._held_out] = 255 - x[clean.data._held_out], (y[clean.data._held_out] + 1) % 10
    changed = make_plan(text, replace(digits, train=Split(x, y)))
    assert train(clean) == train(changed)
    np.testing.assert_array_equal(clean.buffers["parameters"], changed.buffers["parameters"])
    assert clean.validate() != changed.validate()
    assert clean.test() == changed.test()


def test_training_goes_as_on_a_data_set_of_the_others_alone(digits: Dataset) -> None:
    text = spec("Linear(12); ReLU; Linear(10)", train=settings(0.3, "shuffle = false"), more="dtype = float64")
    plan = make_plan(text, digits)
    rest = np.setdiff1d(np.arange(SAMPLES), plan.data._held_out)
    fewer = compiled(text, "train.validation=0", f"data=Digits(train={len(rest)}, test=20)")
    alone = replace(digits, train=Split(digits.train.x[rest], digits.train.y[rest]))
    other = plan_alone(fewer.program.lanes[0], fewer.layouts["run"], alone)
    assert train(plan) == train(other)


def test_figures_are_those_of_the_network_on_the_samples_held_out(digits: Dataset) -> None:
    model = "Linear(12); ReLU; Dropout(0.5); Linear(10)"
    plan = make_plan(spec(model, train="batch = 8; validation = 0.5", more="dtype = float64"), digits)
    train(plan)
    loss, (accuracy,) = plan.validate()
    plan.release()
    outputs = plan.network.forward(digits.train.x[plan.data._held_out] / 255)
    labels = digits.train.y[plan.data._held_out].astype(int)
    assert loss == pytest.approx(nn.CrossEntropyLoss().forward(outputs, labels), rel=1e-12)
    assert accuracy == np.mean(outputs.argmax(axis=1) == labels)


def test_measuring_in_between_changes_nothing_of_the_training(digits: Dataset) -> None:
    text = spec("Linear(12); ReLU; Dropout(0.5); Linear(10)", train=settings(0.2))
    once, often = make_plan(text, digits), make_plan(text, digits)
    for epoch in range(3):
        for plan in (once, often):
            plan.begin(epoch)
            for number in range(plan.batches):
                plan.train_batch(number)
                if plan is often:
                    plan.validate()
    for mine, theirs in zip(once.network.parameters(), often.network.parameters(), strict=True):
        np.testing.assert_array_equal(mine.data, theirs.data)


def test_mse_is_measured_against_one_hot_rows(digits: Dataset) -> None:
    plan = make_plan(spec("Linear(10)", loss="MSE", train=settings(0.2), more="dtype = float64"), digits)
    network = by_hand("Linear(10)")
    rows = plan.data._held_out
    expected = nn.MSELoss().forward(network.forward(digits.train.x[rows] / 255), np.eye(10)[digits.train.y[rows]])
    assert plan.validate()[0] == pytest.approx(expected, rel=1e-12)


# Layout


@pytest.mark.parametrize(
    "train", [settings(0.1), settings(0.9), settings(0.3, "shuffle = false"), "batch = 5000; validation = 0.3"]
)
@pytest.mark.parametrize("loss", ["CrossEntropy", "MSE"])
def test_memory_is_exact(train: str, loss: str) -> None:
    plan = make_plan(spec(train=train, loss=loss))
    assert plan.layout.memory == sum(array.nbytes for array in plan.buffers.values())
    assert {name: (array.shape, str(array.dtype)) for name, array in plan.buffers.items()} == {
        buffer.name: (buffer.shape, "int64" if buffer.dtype == "intp" else buffer.dtype)
        for buffer in plan.layout.buffers
    }
    assert plan.layout.batch <= SAMPLES - plan.held_out


def test_an_index_costs_no_copy_of_the_data() -> None:
    plain, split = (compiled(spec(train=f"batch = 16; validation = {share}")).layouts["run"] for share in (0, 0.2))
    assert plain.memory - split.memory == 8 * 10, "10 indices less in the order, 10 in the ramp, and 10 of their own"


def test_alternatives_of_different_size_fit_the_same_buffers() -> None:
    text = spec(data="MNIST(train=10, test=5) or Digits(train=50, test=20)", train="batch = 30; validation = 0.2")
    program = compiled(text)
    layout = program.layouts["run"]
    shapes = {buffer.name: buffer.shape for buffer in layout.buffers}
    assert (shapes["order"], shapes["held_out"]) == ((40,), (10,)), "as many as the largest needs"
    for choice, held_out in zip(program.program.lanes[0].data, (2, 10), strict=True):
        plan = plan_alone(program.program.lanes[0], layout, noise(choice.facts))
        plan.begin(0)
        assert plan.held_out == held_out
        assert sum(plan.train_batch(number)[1] for number in range(plan.batches)) == choice.facts.train - held_out
        plan.validate()


@pytest.mark.parametrize("size", SIZES)
def test_training_with_all_of_it_allocates_no_arrays(size: str) -> None:
    batch, width, samples = SIZES[size]
    model = f"Linear({width}); ReLU; Dropout(0.2); Linear(32); Sigmoid; Tanh; Linear(10)"
    everything = f"batch = {batch}; validation = 0.2; clip_norm = 0.1; clip_value = 0.01; accumulate = 2"
    data = f"Digits(train={samples}, test={batch + 7})"
    plan = make_plan(spec(model, optimizer="Adam(lr=cosine(0.01, warmup=1))", train=everything, data=data))
    train(plan, 1)
    plan.validate()

    measured = plan.test
    plan.test = lambda: (plan.validate(), measured())[1]  # type: ignore[method-assign]
    assert peak_growth(plan) <= ALLOCATION


# Runs


def test_history_has_the_figures_of_all_three(tmp_path: Path) -> None:
    result = run(spec(train="epochs = 3; batch = 16; validation = 0.2"))
    lane = result["run"]
    names = ["loss", "accuracy", "val_loss", "val_accuracy", "test_loss", "test_accuracy"]
    assert list(lane.history) == names
    assert {len(values) for values in lane.history.values()} == {3}
    assert all(type(value) is float for values in lane.history.values() for value in values)
    assert lane.held_out == 10
    write_record(result, tmp_path)
    record = json.loads((tmp_path / "history.json").read_text())
    assert record == history_record(result)
    assert list(record["lanes"]["run"]) == [*names, "seconds", "gradient_norms"]
    (summary,) = result.summary["lanes"]
    assert (summary["held_out"], summary["train"]["validation"]) == (10, 0.2)
    assert summary["final"]["val_loss"] == lane.history["val_loss"][-1]


def test_expectations_speak_of_it() -> None:
    result = run(spec(train=settings(0.2), expect="val_loss < 99\nval_accuracy <= 1\nrun.val_loss < 0"))
    assert [verdict.held for verdict in result.verdicts] == [True, True, False]
    assert result.verdicts[2].detail == f"run {result['run'].final('val_loss'):.4g}"


def test_divergence_that_only_the_validation_sees_is_seen() -> None:
    found = run(spec(optimizer="SGD(lr=1e30)", train="epochs = 2; batch = 50; validation = 0.1"))["run"]
    assert found.status == "diverged"
    assert "the validation loss became nan after epoch 1" in found.message


def test_without_a_share_nothing_changes() -> None:
    plain, none = run(spec())["run"], run(spec(train="epochs = 2; batch = 16; validation = 0"))["run"]
    assert plain.history == none.history
    assert not make_plan(spec()).data._held_out.size
