"""`train.carry_state`: recurrent layers continue from batch to batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_runs import Bench, difference
from tiny_spec import OFFLINE, ROOT, compiled, run, spec

import nnspec
from nnspec import engine as nn
from nnspec.api import check_text
from nnspec.compiler.batches import in_streams
from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import Plan
from nnspec.diagnostics import Source
from nnspec.native import library
from nnspec.results.run import RunResult

pytestmark = pytest.mark.usefixtures("undrawn")

ORACLE = json.loads((ROOT / "tests/oracle/sequences.json").read_text(encoding="utf-8"))
needs_numba = pytest.mark.skipif(not library.available(), reason="compiled steps need Numba, which is an extra")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "poem.txt"
    path.write_text(ORACLE["text"], encoding="utf-8")
    return path


def carrying(
    text: Path, model: str = "Embedding(3); GRU(4); Linear(data.classes)", train: str = "", **more: Any
) -> str:
    data = f'Text("{text.as_posix()}", context={ORACLE["context"]}, test={ORACLE["test"]})'
    usual = {"epochs": "3", "batch": "5", "carry_state": "true"}
    usual |= dict(part.strip().split(" = ", 1) for part in train.split(";") if part)
    train = "; ".join(f"{name} = {value}" for name, value in usual.items())
    return spec(model, **{"data": data, "train": train} | more)


def plan_of(text: str) -> Plan:
    program = compiled(text)
    (experiment,) = program.program.lanes
    return plan_alone(experiment, program.layouts["run"], experiment.data[0].source.load(OFFLINE))


def epoch(plan: Plan, number: int) -> list[float]:
    plan.begin(number)
    return [plan.train_batch(batch)[0] for batch in range(plan.batches)]


# Order


@pytest.mark.parametrize("samples", [1, 4, 5, 6, 9, 10, 14, 15, 43])
def test_each_row_of_a_batch_continues_the_same_row_of_the_one_before(samples: int) -> None:
    order = in_streams(np.arange(samples), 5)
    assert sorted(order) == [*range(samples)]
    for before, after in zip(order[:-5], order[5:], strict=True):
        assert after == before + 1


def test_rows_that_do_not_fit_into_whole_batches_are_the_last_to_be_dropped() -> None:
    order = in_streams(np.arange(13), 5, drop=True)
    assert order.tolist() == [0, 2, 4, 6, 8, 1, 3, 5, 7, 9, 10, 11, 12]


# Against PyTorch


@pytest.mark.parametrize("case", ORACLE["cases"], ids=lambda case: case["model"])
def test_training_and_evaluation_are_those_of_pytorch(case: dict[str, Any], text: Path) -> None:
    model = f"Embedding(3); {case['model']}; Linear(data.classes)"
    plan = plan_of(carrying(text, model, optimizer=f"SGD(lr={ORACLE['rate']})", more="dtype = float64"))
    plan.network.load_state_dict({name: np.array(array) for name, array in case["start"].items()})
    losses: list[float] = []
    for number, tested in enumerate(case["tested"]):
        losses += epoch(plan, number)
        assert plan.test()[0] == pytest.approx(tested, rel=1e-12)
    np.testing.assert_allclose(losses, case["losses"], rtol=1e-12)
    for name, array in case["end"].items():
        np.testing.assert_allclose(plan.network.state_dict()[name], array, rtol=1e-10, atol=1e-14)


# States


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("places", [1, 4])
def test_a_sequence_in_parts_is_the_sequence_as_a_whole(kind: Any, places: int) -> None:
    x = np.random.default_rng(0).standard_normal((3, 2 * places, 2))
    layer = kind(2, 4)
    whole = layer.forward(x)
    carried = kind.geometry((places, 2), layer.arguments() | {"activation": "tanh"}).carried
    layer.carry({name: np.zeros((2, 3, *shape)) for name, shape in carried.items()})
    parts = [layer.forward(x[:, :places]).copy(), layer.forward(x[:, places:]).copy()]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-14)
    layer.carry({})
    np.testing.assert_array_equal(layer.forward(x), whole)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_gradients_from_a_state_that_is_not_zero(kind: Any) -> None:
    rng = np.random.default_rng(0)
    layer, x, grad = kind(2, 3), rng.standard_normal((2, 4, 2)), rng.standard_normal((2, 4, 3))
    start = {name: rng.standard_normal((2, 2, 3)) for name in layer.states}

    def value() -> float:
        layer.carry({name: array.copy() for name, array in start.items()})
        return float((layer.forward(x) * grad).sum())

    value()
    dx = np.array(layer.backward(grad))
    slopes = {"x": dx} | {name: p.grad.copy() for name, p in layer.parameters().items()}
    arrays = {"x": x} | {name: p.data for name, p in layer.parameters().items()}
    for name, array in arrays.items():
        flat = array.reshape(-1)
        for i in range(0, flat.size, 5):
            here = flat[i]
            ends = []
            for step in (1e-5, -1e-5):
                flat[i] = here + step
                ends.append(value())
            flat[i] = here
            assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slopes[name].reshape(-1)[i], rel=1e-6, abs=1e-8), name


def test_states_begin_at_zero_in_each_epoch_and_in_each_evaluation(text: Path) -> None:
    plan = plan_of(carrying(text, optimizer="SGD(lr=1e-30)"))
    first, tested = epoch(plan, 0), plan.test()[0]
    assert epoch(plan, 1) == first
    assert (plan.test()[0], plan.test()[0]) == (tested, tested)
    fresh = plan_of(carrying(text, optimizer="SGD(lr=1e-30)", train="carry_state = false; shuffle = false"))
    assert epoch(fresh, 0) != first


def test_between_epochs_the_network_begins_every_sample_anew(text: Path) -> None:
    plan = plan_of(carrying(text))
    x = plan.dataset.train.x[:5].astype(plan.layout.dtype)
    y = plan.network(x).copy()
    plan.end_sequences()
    again = plan.network(x).copy()
    plan.network(x)
    np.testing.assert_array_equal(plan.network(x), again)
    np.testing.assert_array_equal(y, again)


def test_outputs_after_an_evaluation_begin_at_zero_again(text: Path) -> None:
    plan = plan_of(carrying(text, train="batch = 3"))
    epoch(plan, 0)
    loss, _ = plan.test()
    found = [(plan.loss_of_outputs.forward(y, targets), len(y)) for y, targets, _ in plan.outputs()]
    assert len(found) > 1
    np.testing.assert_allclose(
        sum(value * rows for value, rows in found) / sum(rows for _, rows in found), loss, rtol=1e-5
    )


# Ways of training


class Texts(Bench):
    """Specs that carry states, as texts by number."""

    def text(self, number: int) -> str:
        model = "Embedding(3); LSTM(4); residual { GRU(4) }; RNN(3, activation=relu); Linear(data.classes)"
        train = ["validation = last(0.2)", "drop_last = true; repeats = 2"][number] + "; epochs = 2; sample = 8"
        other = "other { optimizer = Momentum(lr=0.05); train.clip_norm = 1 }"
        fresh = "fresh { optimizer = Adam(lr=0.02); train.carry_state = false; train.shuffle = false }"
        return carrying(self.folder / "line.txt", model, train, race=f"Adam(lr=0.02); {other}; {fresh}")


@pytest.fixture(scope="module")
def bench(text: Path) -> Texts:
    (text.parent / "line.txt").write_text(ORACLE["text"][:90], encoding="utf-8")
    return Texts(text.parent)


@pytest.fixture(scope="module")
def alone(bench: Texts) -> list[RunResult]:
    """Both specs, lane after lane by NumPy calls."""
    return [bench.alone(number) for number in (0, 1)]


WAYS = [("stacked", 0), ("stacked", 1), ("resumed", 0), ("resumed", 1), ("jobs", 0)]
WAYS += [pytest.param("compiled", number, marks=needs_numba) for number in (0, 1)]  # type: ignore[arg-type]
WAYS += [pytest.param("changed", number, marks=needs_numba) for number in (0, 1)]  # type: ignore[arg-type]


@pytest.mark.parametrize(("way", "number"), WAYS)
@pytest.mark.usefixtures("kernels")
def test_every_way_of_training_gives_the_same_bits(way: str, number: int, bench: Texts, alone: list[RunResult]) -> None:
    assert difference(alone[number], bench.trained(number, way)) == ""


def test_carrying_makes_a_difference(alone: list[RunResult]) -> None:
    for result in alone:
        assert result["Adam"].history["loss"] != result["fresh"].history["loss"]


# Checking


def findings(text: str) -> list[Any]:
    return [each for each in check_text(Source("tiny.nn", text), []).diagnostics if each.code == "NN302"]


@pytest.mark.parametrize(
    ("change", "message", "at"),
    [
        ({"train": "shuffle = true"}, "cannot be shuffled", "true"),
        ({"train": "shuffle = once"}, "cannot be shuffled", "once"),
        ({"train": "validation = 0.1"}, "would leave gaps", "0.1"),
        ({"train": "validation = folds(3)"}, "would leave gaps", "folds(3)"),
        ({"train": "batch = 500"}, "training samples fit into one batch of 500", "500"),
        ({"model": "Embedding(3); Linear(data.classes)"}, "no recurrent layer", "true"),
        (
            {"model": "Embedding(3); GRU(3, bidirectional=true); Linear(data.classes)"},
            "cannot continue it",
            "GRU(3, bidirectional=true)",
        ),
    ],
)
def test_what_cannot_be_carried_is_refused(change: dict[str, str], message: str, at: str, text: Path) -> None:
    (found,) = findings(carrying(text, **change))
    assert message in found.message
    assert found.span.text == at


def test_only_data_in_order_can_be_continued(text: Path, tmp_path: Path) -> None:
    stride = f'Text("{text.as_posix()}", context=4, stride=2)'
    np.savez(tmp_path / "waves.npz", x=np.zeros((40, 6, 2)), y=np.zeros((40, 6, 1)))
    model, waves = "GRU(3); Linear(1)", f'NPZ("{(tmp_path / "waves.npz").as_posix()}"'
    assert "`stride`" in findings(carrying(text, data=stride))[0].help
    (found,) = findings(carrying(text, model, data=f"{waves})", loss="MSE"))
    assert found.help == "keep their order with `shuffle = false` in `NPZ`"
    assert not findings(carrying(text, model, data=f"{waves}, shuffle=false)", loss="MSE"))
    (found,) = findings(carrying(text, "Reshape([28, 28]); GRU(3); Flatten; Linear(10)", data="Digits"))
    assert "Digits" in found.message


def test_a_series_of_numbers_is_continued_too(tmp_path: Path, text: Path) -> None:
    t = np.arange(40 * 6).reshape(40, 6, 1) / 5
    np.savez(tmp_path / "waves.npz", x=np.sin(t), y=np.sin(t + 0.2))
    data = f'NPZ("{(tmp_path / "waves.npz").as_posix()}", shuffle=false)'
    lane = run(carrying(text, "GRU(6); Linear(1)", "epochs = 8", data=data, loss="MSE", optimizer="Adam(lr=0.02)"))[
        "run"
    ]
    assert lane.history["loss"][-1] < lane.history["loss"][0] / 3


def test_outputs_of_an_evaluation_are_in_the_order_of_the_data(text: Path, tmp_path: Path) -> None:
    (tmp_path / "s.nn").write_text(carrying(text, train="epochs = 1"), encoding="utf-8")
    nnspec.run(tmp_path / "s.nn", out=tmp_path / "run")
    (found,) = nnspec.runs.evaluate(tmp_path / "run")
    assert found.same
    labels, loss = found.dataset.test.y, nn.CrossEntropyLoss()
    each = [loss(found.outputs[i : i + 1].astype(float), labels[i : i + 1]) for i in range(len(labels))]
    np.testing.assert_allclose(found.losses, each, rtol=1e-5)
