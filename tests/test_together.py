"""Lanes in one stack, and side by side in processes: the numbers that each has alone, to the last bit."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_lanes import Listener
from tiny_spec import ALONE, OFFLINE, compiled, run, spec
from tiny_spec import nnspec as command

import nnspec
from nnspec.compiler.loop import plans_together
from nnspec.compiler.plan import Plan
from nnspec.compiler.stacking import MOST_BYTES, kin, widest
from nnspec.engine.layers.linear import Linear
from nnspec.engine.losses import CrossEntropyLoss, MSELoss
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import PARTS
from nnspec.executors.processes import Processes, usual_jobs
from nnspec.results.lane import LaneResult
from nnspec.results.run import RunResult
from nnspec.runner.options import RunOptions
from nnspec.testing.memory import growth
from nnspec.training.groups import group, trainings
from nnspec.training.observer import Silent

RACE = "SGD(lr=0.1); Momentum(lr=0.05, momentum=0.9); Adam(lr=0.01)"
MODEL = "Linear(12); ReLU; Linear(8, init=xavier_normal); Tanh; Linear(10)"


def facts(lane: LaneResult) -> dict[str, Any]:
    """All that must not depend on how a lane was trained."""
    return {
        "history": lane.history,
        "rates": lane.rates,
        "status": (lane.status, lane.message, lane.stopped),
        "weights": [parameter.data.tobytes() for parameter in lane.network.parameters()],
        "state": {name: array.tobytes() for name, array in lane.network.state().items()},
        "about": (lane.name, lane.seed, lane.repeat, lane.of, lane.params, lane.held_out, lane.tables),
        "repeats": [facts(one) for one in lane.repeats],
        "epochs": len(lane.epoch_seconds),
        "training": [layer.training for layer in lane.network.layers],
    }


def same(one: RunResult, other: RunResult) -> None:
    assert list(one) == list(other)
    for name in one:
        assert repr(facts(one[name])) == repr(facts(other[name])), name  # by their texts, since NaN is not NaN


def holds(text: str, *overrides: str, stacks: int = 1) -> RunResult:
    """Compare the lanes of a spec trained in `stacks` stacks with the same lanes trained alone."""
    together, alone = run(text, *overrides), run(text, *overrides, ways=ALONE)
    assert len(together.summary["ways"]["stacks"]) == stacks
    assert alone.summary["ways"] == {"jobs": 1, "stacks": []}
    same(together, alone)
    return together


CASES = {
    "a race": spec(MODEL, race=RACE),
    "ragged batches": spec(MODEL, race=RACE, train="epochs = 3; batch = 13"),
    "batches of one": spec(MODEL, race=RACE, train="epochs = 2; batch = 7"),
    "squares of one": spec(MODEL, race=RACE, loss="MSE", train="epochs = 2; batch = 7"),
    "float64": spec(MODEL, race=RACE, more="dtype = float64"),
    "held out": spec(MODEL, race=RACE, train="epochs = 3; batch = 16; validation = 0.3"),
    "clipping": spec(MODEL, race=RACE, train="epochs = 3; batch = 16; clip_norm = 0.5; clip_value = 0.1"),
    "penalties": spec(
        MODEL,
        race=f"{RACE}; bare {{ optimizer = SGD; train.penalty = none }}",
        train="epochs = 3; batch = 16; penalty = [L1(1e-4), L2(1e-3)]; constraint = max_norm(0.5)",
    ),
    "tables": spec(MODEL, race=RACE, more="metrics = [accuracy, confusion, f1]"),
    "plateau": spec(
        MODEL, race=f"{RACE}; d: SGD(lr=plateau(0.1, patience=1))", train="epochs = 6; batch = 16; validation = 0.3"
    ),
    "standardised": spec(MODEL, race=RACE, train="epochs = 2; batch = 16; standardise = true; augment = shift(1)"),
    "noise of each seed": spec(MODEL, train="epochs = 2; batch = 16; repeats = 2; augment = noise(0.1)"),
    "an autoencoder": spec("Linear(9); Tanh; Linear(784)", race=RACE, loss="MSE", train="epochs = 2; target = input"),
    "schedules": spec(MODEL, race="a: SGD(lr=cosine(0.1)); b: SGD(lr=step(0.1, every=1)); c: Adam(lr=0.01)"),
    "schedules per step": spec(
        MODEL,
        race="a: SGD(lr=inverse(0.1, gamma=0.1, per=step)); b: SGD(lr=cosine(0.1, staircase=true));"
        " c: Adam(lr=chain([constant(0.01), cosine(0.01)], at=[4], per=step))",
    ),
    "dropout": spec("Linear(12); ReLU; Dropout(0.3); Linear(10)", race=RACE),
    "noise at the head": spec("Dropout(0.3); Linear(12); Tanh; Linear(10)", race=RACE),
    "an activation at the head": spec("Sigmoid; Linear(12); Linear(10)", race=RACE),
    "batch norm": spec("Linear(12); BatchNorm; ReLU; Linear(10)", race=RACE, train="epochs = 3; batch = 13"),
    "no bias": spec("Linear(12, bias=false); ReLU; Linear(10)", race=RACE),
    "squares": spec(MODEL, race=RACE, loss="MSE"),
    "repeats": spec(MODEL, race=RACE, train="epochs = 2; batch = 16; repeats = 2"),
    "repeats of one lane": spec(MODEL, train="epochs = 2; batch = 16; repeats = 3; validation = 0.2"),
    "in place at the head, ragged": spec(
        "Dropout(0.3); ReLU; Linear(2)", data="Moons(train=44, test=20)", train="epochs = 2; batch = 8; repeats = 2"
    ),
    "all in place, ragged": spec(
        "PReLU; Dropout(0.3); ReLU", data="Moons(train=23, test=9)", train="epochs = 2; batch = 8; repeats = 3"
    ),
    "diverged when measured": spec(
        "Linear(12); ReLU; Linear(10)",
        race="a: SGD(lr=1e30); b: SGD(lr=0.1)",
        train="epochs = 1; batch = 64; validation = 0.3",
    ),
    "class weights": spec(
        MODEL,
        loss="CrossEntropy(class_weights=[1, 2, 3, 4, 5, 6, 7, 8, 9, 10])",
        train="epochs = 2; batch = 16; repeats = 2; validation = 0.2",
    ),
    "a residual": spec("Linear(12); residual { Linear(12); ReLU }; Linear(10)", race=RACE),
}


@pytest.mark.parametrize("case", CASES)
def test_a_lane_in_a_stack_is_the_lane_alone(case: str) -> None:
    text = CASES[case]
    holds(text, stacks=2 if case == "repeats" else 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("places", "shared"), [((), True), ((), False), ((5,), False)])
def test_a_stack_of_linear_layers_is_the_layers(dtype: str, places: tuple[int, ...], shared: bool) -> None:
    rng = np.random.default_rng(0)
    for rows, features, width in [(64, 784, 64), (7, 33, 10), (1, 5, 1), (64, 32, 10)]:
        layers = [Linear(features, width, dtype=dtype, rng=rng) for _ in range(3)]
        for layer in layers:
            layer.bias.data = rng.standard_normal(width)  # type: ignore[union-attr]
        stack_rooms = {"ones": np.empty((64, *places), dtype)}
        names = ("weight", "bias")
        data = {name: np.stack([layer.parameters()[name].data for layer in layers]) for name in names}
        stack = Linear.stack({name: Parameter.over(each, np.zeros_like(each)) for name, each in data.items()})
        stack.lend(stack_rooms)
        x = rng.standard_normal((rows, *places, features) if shared else (3, rows, *places, features)).astype(dtype)
        grad = rng.standard_normal((3, rows, *places, width)).astype(dtype)
        y = stack.forward(x, np.empty_like(grad))
        passed = stack.backward(grad, np.empty((3, rows, *places, features), dtype))
        assert passed is not None
        for lane, layer in enumerate(layers):
            own = layer.forward(x if shared else x[lane])
            assert own.tobytes() == y[lane].tobytes()
            assert layer.backward(grad[lane]).tobytes() == passed[lane].tobytes()  # type: ignore[union-attr]
            for name, parameter in layer.parameters().items():
                assert parameter.grad.tobytes() == stack.parameters()[name].grad[lane].tobytes(), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [64, 17, 2])
def test_a_loss_of_lanes_is_the_loss_of_each(dtype: str, rows: int) -> None:
    rng = np.random.default_rng(1)
    for loss, make in ((CrossEntropyLoss(), CrossEntropyLoss), (MSELoss(), MSELoss)):
        assert loss.stacks
        loss.lanes = 5
        outputs = rng.standard_normal((5, rows, 10)).astype(dtype)
        targets = rng.integers(0, 10, (5, rows)) if loss.targets == "classes" else outputs[::-1].copy()
        loss.forward(outputs.reshape(-1, 10), targets.reshape(-1, *targets.shape[2:]))
        grad = loss.backward().reshape(outputs.shape)
        for lane in range(5):
            alone = make()
            assert alone.forward(outputs[lane], targets[lane]) == loss.each[lane]
            assert alone.backward().tobytes() == grad[lane].tobytes()


def test_losses_that_weigh_samples_are_each_lane_s_own() -> None:
    assert not CrossEntropyLoss(label_smoothing=0.1).stacks
    holds(spec(MODEL, race=RACE, loss="CrossEntropy(label_smoothing=0.1)"))


# Lanes that leave


def test_a_lane_that_diverges_does_not_change_the_others() -> None:
    race = "wild: SGD(lr=1e10); a: SGD(lr=0.1); b: SGD(lr=0.05); c: Adam(lr=0.01)"
    model = "Linear(12); ReLU; BatchNorm; Dropout(0.1); Linear(10)"
    found = holds(spec(model, loss="MSE", race=race, train="epochs = 5; batch = 16"))
    assert [lane.status for lane in found.values()] == ["diverged", "done", "done", "done"]


def test_lanes_that_stop_early_leave_one_by_one() -> None:
    race = "; ".join(f"l{i}: SGD(lr={rate})" for i, rate in enumerate([0.001, 0.5, 1.0, 2.0, 0.3]))
    train = "epochs = 12; batch = 16; validation = 0.2; early_stop = patience(2)"
    found = holds(spec("Linear(12); BatchNorm; ReLU; Linear(10)", race=race, train=train))
    assert len({len(lane.epoch_seconds) for lane in found.values()}) > 2, "they stop at different epochs"


def test_lanes_may_train_for_different_numbers_of_epochs() -> None:
    race = (
        "a { optimizer = SGD(lr=0.1); train.epochs = 2 }; b { optimizer = SGD(lr=cosine(0.1)); train.epochs = 5 }; Adam"
    )
    found = holds(spec(MODEL, race=race, train="epochs = 4; batch = 16; validation = 0.2"))
    assert [len(lane.epoch_seconds) for lane in found.values()] == [2, 5, 4]


def test_a_lane_that_remains_within_an_epoch_continues_its_draws() -> None:
    race = "wild: SGD(lr=1e30); a: SGD(lr=0.1)"
    train = "steps = 9; record = 1; batch = 10; augment = noise(0.1)"
    found = holds(spec("Linear(8); Tanh; Linear(10)", loss="MSE", race=race, train=train))
    assert [lane.status for lane in found.values()] == ["diverged", "done"]


def test_few_remaining_lanes_continue_alone() -> None:
    one = compiled(spec(MODEL, race=RACE)).program.lanes
    plans = plans_together([(lane, compiled(spec(MODEL, race=RACE)).layouts[lane.name]) for lane in one], _data())
    together = plans[0].loop
    assert all(plan.loop is together for plan in plans)
    together.settle(plans[:1])
    assert plans[1].loop is together
    together.settle(plans[1:2])
    assert plans[2].loop is not together
    assert plans[2].loop.plans == (plans[2],)


def _data() -> Any:
    (choice,) = compiled(spec(MODEL, race=RACE)).program.lanes[0].data
    return choice.source.load(OFFLINE)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ["CrossEntropy", "MSE"])
@pytest.mark.parametrize("seeds", ["", "; train.repeats = 3"])
def test_an_epoch_of_a_stack_allocates_no_array(dtype: str, loss: str, seeds: str) -> None:
    model = "Linear(256); ReLU; BatchNorm; Dropout(0.2); Linear(128); LeakyReLU; Linear(10)"
    text = spec(
        model, loss=loss, train="batch = 256", data="Digits(train=700, test=300)", more=f"dtype = {dtype}{seeds}"
    )
    race = [] if seeds else ["race { SGD; Momentum; Adam }"]
    lanes = trainings(compiled("\n".join([text, *race])))
    data = lanes[0].experiment.data[0].source.load(OFFLINE)
    plans = plans_together([(each.experiment, each.layout) for each in lanes], data)
    assert len({plan.loop for plan in plans}) == 1

    def epoch_of_all(epoch: int) -> None:
        for plan in plans:
            plan.begin(epoch)
            for number in range(plan.batches):
                plan.train_batch(number)
            plan.test()

    for epoch in range(2):
        epoch_of_all(epoch)
    assert growth(lambda: epoch_of_all(2)) < 12 * 1024


# Which lanes make a stack


def stacks(text: str, *overrides: str, parts: int = 1) -> list[list[str]]:
    return [[each.label for each in members] for members in group(trainings(compiled(text, *overrides)), parts)]


def test_lanes_that_compute_alike_make_a_stack() -> None:
    models = "model narrow { Linear(6); ReLU; Linear(10) }\nmodel wide { Linear(9); ReLU; Linear(10) }"
    lanes = [("a", "SGD", "narrow"), ("b", "Adam", "narrow"), ("c", "SGD", "wide"), ("d", "SGD(lr=0.1)", "wide")]
    race = "; ".join(f"{name} {{ optimizer = {optimizer}; model = {model} }}" for name, optimizer, model in lanes)
    text = f"data = Digits(train=50, test=20)\n{models}\nloss = CrossEntropy\nrace {{ {race} }}\ntrain {{ epochs = 1 }}"
    assert stacks(text) == [["a", "b"], ["c", "d"]]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("train.batch = 8", [["a"], ["b"]]),
        ("train.validation = 0.2", [["a"], ["b"]]),
        ("dtype = float64", [["a"], ["b"]]),
        ("loss = MSE", [["a"], ["b"]]),
        ("seed = 5", [["a", "b"]]),
        ("train.clip_norm = 1", [["a", "b"]]),
    ],
)
def test_what_a_stack_has_in_common(settings: str, expected: list[list[str]]) -> None:
    text = spec(MODEL, race=f"a: SGD(lr=0.1); b {{ optimizer = SGD(lr=0.1); {settings} }}")
    assert stacks(text) == expected
    same(run(text), run(text, ways=ALONE))


def test_layers_that_see_the_samples_of_all_lanes_have_the_same_arguments() -> None:
    text = "let slope = 0.1\n" + spec(
        "Linear(8); LeakyReLU(slope); Linear(10)", race="a: SGD; b { optimizer = SGD; slope = 0.3 }; c: Adam"
    )
    assert stacks(text) == [["a", "c"], ["b"]]
    same(run(text), run(text, ways=ALONE))


def test_repeats_of_several_lanes_make_a_stack_for_each_seed() -> None:
    text = spec(MODEL, race="a: SGD; b: Adam", train="repeats = 2")
    assert stacks(text) == [["a, seed 0", "b, seed 0"], ["a, seed 1", "b, seed 1"]]
    assert stacks(spec(MODEL, train="repeats = 3")) == [["run, seed 0", "run, seed 1", "run, seed 2"]]


def test_stacks_are_divided_among_jobs_and_by_size() -> None:
    race = "; ".join(f"l{i}: SGD" for i in range(5))
    assert [len(members) for members in stacks(spec(MODEL, race=race), parts=2)] == [3, 2]
    assert [len(members) for members in stacks(spec(MODEL, race=race), parts=9)] == [1] * 5
    whole = compiled(spec("Linear(900); ReLU; Linear(10)", race=race))
    layout = whole.layouts["l0"]
    assert widest(layout) == 1 < layout.memory / MOST_BYTES + 1
    assert widest(compiled(spec(MODEL)).layouts["run"]) > 50
    assert widest(compiled(spec("residual { Linear(784) }; Linear(10)")).layouts["run"]) == 1


def test_a_setting_that_a_stack_does_not_know_keeps_a_lane_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import nnspec.compiler.stacking as module

    lane = compiled(spec(MODEL, train="clip_norm = 1")).program.lanes[0]
    assert kin(lane) is not None
    monkeypatch.setattr(module, "FREE", module.FREE - {"clip_norm"})
    assert kin(lane) is None


@pytest.mark.parametrize("number", range(12))
def test_random_programs_are_the_same_in_stacks(number: int) -> None:
    rng = random.Random(number)
    inner = [
        "ReLU",
        "Sigmoid",
        "Tanh",
        "Dropout(0.2)",
        "Linear(7)",
        "Linear(5, bias=false)",
        "residual { Linear(9); ReLU }",
    ]
    layers = ["Linear(9)"]
    for _ in range(rng.randrange(4)):
        picked = rng.choice(inner)
        layers += [picked, "Linear(9)"] if picked.startswith("Linear") else [picked]
    race = "; ".join(
        f"l{i}: {rng.choice(['SGD', 'Momentum', 'Adam'])}(lr={rng.choice([0.003, 0.05, 'cosine(0.1)'])})"
        for i in range(rng.randrange(2, 6))
    )
    train = f"epochs = 3; batch = {rng.choice([7, 16, 50, 64])}; shuffle = {rng.choice(['true', 'false'])}"
    train += f"; validation = {rng.choice([0, 0.2])}; drop_last = {rng.choice(['false', 'true'])}"
    batch = rng.choice(["CrossEntropy", "MSE"])
    holds(spec("; ".join([*layers, "Linear(10)"]), race=race, train=train, loss=batch, more=f"seed = {number}"))


# What goes on meanwhile


def test_an_observer_hears_the_lanes_of_a_stack_in_turns() -> None:
    listener = Listener()
    run(spec(race="SGD; Adam"), observer=listener)
    turns = [
        (event, lane, epoch) for event, epoch in (("begins", 0), ("epoch", 1), ("epoch", 2)) for lane in ("SGD", "Adam")
    ]
    ends = [("ends", "SGD", 2), ("ends", "Adam", 2)]
    assert listener.events == [("data", "Digits", 0), *turns, *ends]


@pytest.mark.parametrize(
    ("stop", "epochs"),
    [
        (("begins", "SGD", 0), {"SGD": 0}),
        (("begins", "Adam", 0), {"SGD": 0, "Adam": 0}),
        (("epoch", "SGD", 2), {"SGD": 2, "Adam": 1}),
        (("epoch", "Adam", 2), {"SGD": 2, "Adam": 2}),
    ],
)
def test_ctrl_c_ends_the_lanes_of_a_stack_together(stop: tuple[str, str, int], epochs: dict[str, int]) -> None:
    result = run(spec(race="SGD; Adam", train="epochs = 3; batch = 16"), observer=Listener(stop))
    assert {name: len(lane.epoch_seconds) for name, lane in result.items()} == epochs
    assert {lane.status for lane in result.values()} == {"interrupted"}
    assert (result.interrupted, result.exit_code) == (True, 130)
    for lane in result.values():
        assert lane.network.forward(np.zeros((3, 784))).shape == (3, 10)


def test_ctrl_c_amid_an_epoch_of_a_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    honest, steps = Plan.move, [0]

    def pressed(plan: Plan, *arguments: Any) -> float:
        steps[0] += 1
        if steps[0] == 11:
            raise KeyboardInterrupt
        return honest(plan, *arguments)

    monkeypatch.setattr(Plan, "move", pressed)
    result = run(spec(race="SGD; Adam", train="epochs = 3; batch = 16"))
    assert [(lane.status, len(lane.epoch_seconds)) for lane in result.values()] == 2 * [("interrupted", 1)]


def test_the_time_of_a_stack_is_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import nnspec.compiler.loop as module

    ticks = iter(range(10**6))
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(ticks)))
    found = run(spec(race="a: SGD; b: SGD", train="epochs = 1; batch = 50"))
    # One tick around the shuffling. Four readings around two steps of one tick each, one before and one after: 5 in
    # all. Each lane has its own step, and half of the rest: 1 + (1 + 5 - 2) / 2.
    assert [lane.epoch_seconds for lane in found.values()] == [[3.0], [3.0]]


# Side by side


def test_side_by_side_is_one_after_another(forked_workers: None) -> None:
    text = spec(
        "Linear(12); BatchNorm; residual { Linear(12); ReLU; Dropout(0.2) }; Linear(10)",
        race=f"wild: SGD(lr=1e30); rated: SGD(lr=cosine(0.1)); {RACE}",
        train="epochs = 3; batch = 16; repeats = 2",
    )

    class Reader(Listener):
        def epoch_done(self, lane: LaneResult) -> None:
            super().epoch_done(lane)
            done = len(lane.epoch_seconds)
            assert {len(values) for values in lane.history.values()} == {done}
            assert len(lane.rates) == (done if lane.name == "rated" else 0)

    listener = Reader()
    apart = run(text, ways=RunOptions(jobs=2), observer=listener)
    assert apart.summary["ways"]["jobs"] == 2
    same(apart, run(text, ways=ALONE))
    kinds = [event for event, _, _ in listener.events]
    assert (kinds.count("begins"), kinds.count("ends")) == (10, 5)
    assert kinds.count("epoch") == sum(len(one.epoch_seconds) for lane in apart.values() for one in lane.repeats)


@pytest.mark.parametrize("stop", [("begins", "SGD", 0), ("epoch", "SGD", 1), ("ends", "SGD", 2)])
def test_ctrl_c_reaches_the_workers(stop: tuple[str, str, int], forked_workers: None) -> None:
    race = "SGD; Adam { optimizer = Adam; train.epochs = 100000 }"
    result = run(spec(race=race), observer=Listener(stop), ways=RunOptions(jobs=2, stack=False))
    assert (result.interrupted, result.exit_code) == (True, 130)
    statuses = {name: lane.status for name, lane in result.items()}
    assert statuses.get("Adam", "interrupted") == "interrupted"
    if stop[0] == "ends":
        assert statuses["SGD"] == "done"


def test_what_fails_in_a_worker_fails_here(forked_workers: None) -> None:
    with Processes(1) as workers, pytest.raises(RuntimeError, match="a worker failed") as failed:
        workers.train([((trainings(compiled(spec()))[0],), "no data")], Silent(), print)  # type: ignore[list-item]
    assert "AttributeError" in str(failed.value)


def test_jobs_are_worth_their_while_where_there_is_much_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import nnspec.executors.processes as module

    monkeypatch.setattr(module, "cores", lambda: 4)
    assert usual_jobs(trainings(compiled(spec(race=RACE)))) == 1
    assert usual_jobs(trainings(compiled(spec(race=RACE), "train.epochs=100000"))) == 3
    assert usual_jobs(trainings(compiled(spec(race=RACE, train="repeats = 9"), "train.epochs=100000"))) == 4
    with pytest.raises(ValueError, match="at least 1, not 0"):
        RunOptions(jobs=0)


def test_the_command_line_and_python_have_both_ways(tmp_path: Path, undrawn: None, forked_workers: None) -> None:
    path = tmp_path / "x.nn"
    path.write_text(spec(race=RACE))
    found = command("run", str(path), "--jobs", "2", "--json", "--offline", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    alone = nnspec.run(path, stack=False, offline=True)
    import json

    record = json.loads(found.stdout)
    assert record["ways"]["jobs"] == 2
    for name, lane in alone.items():
        assert {k: record["history"][name][k] for k in lane.history} == lane.history
    assert nnspec.run(path, offline=True).summary["ways"]["stacks"] == [["SGD", "Momentum", "Adam"]]


def test_kernel_properties_are_not_inherited_by_custom_subclasses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for kind in ("layer", "loss"):
        monkeypatch.setitem(PARTS, kind, dict(PARTS[kind]))

    class Doubling(Linear):
        spec_name = "DoublingOfThisTest"

        def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
            y = super().forward(x, out=out)
            return np.multiply(y, 2, out=y)

        def backward(self, grad: np.ndarray, out: np.ndarray | None = None, *, input_grad: bool = True) -> Any:
            return super().backward(2 * grad, out, input_grad=input_grad)

    class Half(MSELoss):
        spec_name = "HalfOfThisTest"

        def forward(self, outputs: np.ndarray, targets: Any, out: np.ndarray | None = None) -> float:
            return super().forward(outputs, targets, out) / 2

        def backward(self, out: np.ndarray | None = None) -> np.ndarray:
            grad = super().backward(out)
            return np.multiply(grad, 0.5, out=grad)

    text = spec(
        "DoublingOfThisTest(6); Tanh; Linear(1)",
        data="Sine(train=40, test=20)",
        loss="HalfOfThisTest",
        race="SGD(lr=0.1); Adam(lr=0.01)",
    )
    together, alone = run(text), run(text, ways=ALONE)
    for name in together.lanes:
        assert facts(together.lanes[name]) == facts(alone.lanes[name])
    assert not Doubling.declares("stack")
    assert not Half.declares("stacks")
    assert Linear.declares("stack")
