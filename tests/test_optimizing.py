"""More than one gradient per step, and more than one set of weights: PyTorch's trajectories, the same bits in every way
of training, and the engine's classes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outcomes import Stopper
from random_runs import Bench
from tiny_plan import ALLOCATION, make_plan, peak_growth, train
from tiny_spec import OFFLINE, command, compiled, run, spec

from nnspec import engine as nn
from nnspec.checker import check
from nnspec.compiler.plan import Plan
from nnspec.compiler.proofs import Compiled
from nnspec.data.source import Dataset
from nnspec.diagnostics import Source
from nnspec.engine.penalties import BLOCK
from nnspec.native import library
from nnspec.runner.options import RunOptions

REFERENCE = json.loads((Path(__file__).parent / "oracle/trajectories_optimizing.json").read_text(encoding="utf-8"))


# PyTorch


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the samples and starting weights of the reference."""
    folder = tmp_path_factory.mktemp("reference")
    given = {name: np.array(REFERENCE[name]) for name in ("x", "y", "x_test", "y_test")}
    np.savez(folder / "data.npz", x_train=given["x"], y_train=given["y"], **{n: given[n] for n in ("x_test", "y_test")})
    for key, tensors in REFERENCE["starts"].items():
        state = {"BatchNorm1.running_mean": [0.0] * 5, "BatchNorm1.running_var": [1.0] * 5} if "norm" in key else {}
        np.savez(folder / f"{key}.npz", **{name: np.array(values) for name, values in (tensors | state).items()})
    return folder


def written(case: dict[str, Any], folder: Path) -> str:
    """Return the spec of a case."""
    settings = dict(case["optimizer"])
    name = settings.pop("name")
    optimizer = f"{name}({', '.join(f'{key}={value}' for key, value in settings.items())})"
    hidden, norm = case.get("hidden", 5), "BatchNorm; " if case.get("norm") else ""
    epochs = case.get("epochs", REFERENCE["epochs"])
    train = [f"epochs = {epochs}", f"batch = {case.get('batch', REFERENCE['batch'])}", "shuffle = false"]
    if "ema" in case:
        train.append(f"average = ema({case['ema']})")
    if "lookahead" in case:
        train.append("average = lookahead(k={}, alpha={})".format(*case["lookahead"]))
    if "swa" in case:
        start, every = case["swa"]
        train.append(f"average = swa(start={(start - 0.1) / epochs:.3f}, every={every})")
    if "rho" in case:
        train.append(f"sharpness = sam(rho={case['rho']}, adaptive={str(case.get('adaptive', False)).lower()})")
    train += [f"{name} = {case[name]}" for name in ("accumulate", "clip_norm") if name in case]
    train += [f"penalty = L2({case['l2']})"] if "l2" in case else []
    return spec(
        f"Linear({hidden}); {norm}Tanh; Linear(3)" if hidden else "Linear(3)",
        data=f'NPZ("{(folder / "data.npz").as_posix()}")',
        optimizer=optimizer,
        train="; ".join(train),
        more=f'dtype = float64\ninit_from = "{(folder / (case["start"] + ".npz")).as_posix()}"',
    )


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda case: case["case"])
def test_training_goes_as_pytorchs(case: dict[str, Any], arrays: Path) -> None:
    lane = run(written(case, arrays))["run"]
    close = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(lane.history["loss"], case["losses"], **close)
    np.testing.assert_allclose(lane.history["test_loss"], case["tested"], **close)
    if "rho" in case or case["optimizer"]["name"] == "LBFGS":
        assert lane.evaluations == case["evaluations"]
    ours = lane.network.state_dict()
    assert ours.keys() == case["after"].keys()
    for name, values in case["after"].items():
        np.testing.assert_allclose(ours[name], values, **close, err_msg=name)


# The same bits in every way


class Texts(Bench):
    """Trains given specs, by their place in a list."""

    def __init__(self, folder: Path, texts: list[str]) -> None:
        super().__init__(folder)
        self._texts = texts

    def text(self, number: int) -> str:
        return self._texts[number]

    def compiled(self, number: int) -> Compiled:
        return compiled(self._texts[number])


MIXED = "Linear(8); BatchNorm; ReLU; Dropout(0.3); Linear(10)"
RACED = spec(
    "Linear(8); ReLU; Dropout(0.2); Linear(10)",
    race="""plain: SGD(lr=0.1)
    four { optimizer = Momentum(lr=0.05); train.accumulate = 4 }
    three { optimizer = Adam(lr=cosine(0.01)); train { accumulate = 3; clip_norm = 0.5; penalty = L2(1e-3) } }""",
    train="epochs = 4; batch = 6; validation = 0.2",
)
SPECS = {
    "accumulated": RACED,
    "averaged": spec(
        "Linear(8); ReLU; Dropout(0.2); Linear(10)",
        race="""plain: SGD(lr=0.1)
        ema { optimizer = Momentum(lr=0.05); train.average = ema(0.9) }
        swa { optimizer = Adam(lr=cosine(0.01)); train.average = swa(start=0.5) }
        ahead { optimizer = Momentum(lr=0.05); train.average = lookahead(k=4); train.lr_factor.Linear2 = 0.5 }
        both { train { average = ema(0.8); accumulate = 3; early_stop = patience(2, restore_best=true) } }""",
        train="epochs = 5; batch = 6; validation = 0.2",
        data="Digits(train=80, test=20)",
        more="optimizer = Adam",
    ),
    "averaged, BatchNorm": spec(
        MIXED,
        race="ema { train.average = ema(0.9) }; swa { train.average = swa(start=0.3, every=2) }; "
        "ahead { train.average = lookahead(k=3, alpha=0.7) }; "
        "best { train { average = swa(0.3); early_stop = patience(1, restore_best=true) } }",
        train="epochs = 5; batch = 6; repeats = 2; validation = 0.2",
        more="optimizer = Adam(lr=0.02)",
    ),
    "matrices": spec(
        MIXED,
        race="""soap: SOAP(precondition_frequency=3, max_precond_dim=16)
        muon { optimizer = Muon(hidden_only=true); train.lr_factor.Linear1 = 0.5 }
        frozen { optimizer = SOAP(lr=cosine(0.01), max_precond_dim=10); train.freeze = [Linear1.weight] }
        ahead { optimizer = Muon(lr=0.01, weight_decay=0.01); train.average = lookahead(k=3) }""",
        train="epochs = 4; batch = 6; validation = 0.2",
    ),
    "by steps": spec(
        "Linear(8); BatchNorm; ReLU; Linear(10)",
        race="""swa { train.average = swa(start=0.3) }
        ema { train { average = ema(0.9); accumulate = 3 } }
        sam { train.sharpness = sam }""",
        train="steps = 23; record = 5; batch = 6",
        more="optimizer = Adam(lr=0.02)",
    ),
    "sharpness-aware": spec(
        MIXED,
        race="""plain: SGD(lr=0.1)
        sam { optimizer = Momentum(lr=0.05); train.sharpness = sam(0.1) }
        adaptive { optimizer = Adam(lr=0.01); train { sharpness = sam(1, adaptive=true); penalty = L2(1e-3) } }
        averaged { optimizer = SGD(lr=0.1); train { sharpness = sam; average = ema(0.9); clip_norm = 1 } }""",
        train="epochs = 4; batch = 6; validation = 0.2",
        data="Digits(train=80, test=20)",
    ),
    "L-BFGS": spec(
        MIXED,
        race="""full { train.batch = data.size }
        batches { train.batch = 20; optimizer.history = 3; optimizer.weight_decay = 0.01 }
        fixed { optimizer.line_search = none; optimizer.lr = 0.2; train { average = swa(0.3); penalty = L2(1e-3) } }
        frozen { train.freeze = [Linear1.bias] }""",
        train="epochs = 3; batch = data.size; validation = 0.2; repeats = 2",
        data="Digits(train=80, test=20)",
        more="optimizer = LBFGS(max_iter=3)",
    ),
    "L-BFGS, narrowed": spec(optimizer="LBFGS(max_iter=4)", train="epochs = 6; batch = data.size"),
    "activation first": spec(
        "ReLU; PReLU; Linear(10)", optimizer="LBFGS(max_iter=4)", data="Digits(train=60, test=20)"
    ),
    "Schedule-Free": spec(
        "Linear(8); ReLU; Dropout(0.2); Linear(10)",
        race="""sgd: ScheduleFreeSGD
        adam: ScheduleFreeAdamW(lr=constant(0.02, warmup=9, per=step), weight_decay=0.05)
        best { optimizer = ScheduleFreeAdamW(lr=plateau(0.05, of=loss, patience=1), r=1)
               train.early_stop = patience(2, restore_best=true) }
        frozen { optimizer = ScheduleFreeSGD; train { freeze = [Linear2.bias]; lr_factor.Linear1 = 0.5 } }
        four { optimizer = ScheduleFreeSGD; train { accumulate = 4; penalty = L2(1e-3) } }
        plain: AdamW""",
        train="epochs = 5; batch = 6; validation = 0.2",
    ),
    "Schedule-Free, BatchNorm": spec(
        MIXED,
        race="sgd: ScheduleFreeSGD; adam: ScheduleFreeAdamW(weight_decay=0.05)",
        train="steps = 23; record = 5; batch = 6; repeats = 2",
    ),
    "Prodigy": spec(
        "Linear(8); ReLU; Dropout(0.2); Linear(10)",
        race="""Prodigy
        adjusted: Prodigy(lr=cosine(1, warmup=9, per=step), weight_decay=0.05, d_coef=2, use_bias_correction=true)
        slow { optimizer = Prodigy(d0=1e-3, growth_rate=1.1, safeguard_warmup=true)
               train.early_stop = patience(2, restore_best=true) }
        frozen { optimizer = Prodigy; train { freeze = [Linear2.bias]; lr_factor.Linear1 = 0.5 } }
        four { optimizer = Prodigy; train { accumulate = 4; clip_norm = 0.5; average = ema(0.9) } }""",
        train="epochs = 5; batch = 6; validation = 0.2; repeats = 2",
    ),
    "accumulated, BatchNorm": spec(MIXED, train="epochs = 4; batch = 6; repeats = 2; accumulate = 3"),
}


@pytest.mark.parametrize("case", SPECS)
def test_lanes_have_the_same_bits_in_every_way(case: str, tmp_path: Path, kernels: Path) -> None:
    bench = Texts(tmp_path, [SPECS[case]])
    alone = bench.alone(0)
    assert {lane.status for lane in alone.lanes.values()} == {"done"}, [lane.message for lane in alone.lanes.values()]
    ways = ["stacked", "resumed"]
    if library.available() and not case.startswith(("L-BFGS", "activation")):  # these never use compiled steps
        ways += ["compiled", "lonely", "changed"]
    for way in ways:
        assert not bench.fault(0, way, alone), way


# Accumulated gradients


def batches() -> Iterator[tuple[Any, Any, Any]]:
    """Yield small batches with weights of their samples."""
    rng = np.random.default_rng(0)
    for rows in (5, 3, 1, 7):
        yield rng.standard_normal((rows, 4)), rng.integers(0, 3, rows), rng.uniform(0, 2, rows)


@pytest.mark.parametrize("weighted", [False, True])
def test_accumulated_gradients_are_those_of_one_batch(weighted: bool) -> None:
    model, loss = nn.Sequential(nn.Linear(4, 3)), nn.CrossEntropyLoss(class_weights=[1, 2, 5])
    accumulator = nn.Accumulator(model.parameters())
    for x, y, w in batches():
        loss(model(x), y, w if weighted else None)
        model.backward(loss.backward())
        accumulator.add(loss.weight(len(x)))
    total = accumulator.average()
    found = [parameter.grad.copy() for parameter in model.parameters()]
    x, y, w = (np.concatenate(parts) for parts in zip(*batches(), strict=True))
    loss(model(x), y, w if weighted else None)
    model.backward(loss.backward())
    assert total == pytest.approx(loss.weight(len(x)))
    for ours, parameter in zip(found, model.parameters(), strict=True):
        np.testing.assert_allclose(ours, parameter.grad, rtol=1e-12, atol=1e-14)


def test_a_single_batch_keeps_every_bit_and_weights_of_zero_give_a_gradient_of_zero() -> None:
    parameter = nn.Parameter(np.zeros(5))
    accumulator, grad = nn.Accumulator([parameter]), np.random.default_rng(0).standard_normal(5)
    parameter.grad = grad
    accumulator.add(3.0)
    assert accumulator.average() == 3.0
    np.testing.assert_array_equal(parameter.grad, grad)
    for _ in range(2):
        parameter.grad = grad
        accumulator.add(0.0)
    assert accumulator.average() == 0.0
    np.testing.assert_array_equal(parameter.grad, np.zeros(5))


@pytest.mark.parametrize(
    "optimizer", ["SGD(lr=cosine(0.2))", "Adam(lr=piecewise(0.01, boundaries=[1], values=[0.02]))"]
)
def test_small_batches_train_as_one_large_one(optimizer: str) -> None:
    """With all that is done once per step; the last group of an epoch is smaller."""
    more = "validation = 0.1; clip_norm = 0.3; penalty = L2(0.01); constraint = max_norm(1)"
    text = spec(optimizer=optimizer, train=f"epochs = 3; batch = 20; {more}", more="dtype = float64")
    large = run(text)["run"]
    small = run(text, "train.batch=5", "train.accumulate=4")["run"]
    for figure, values in large.history.items():
        np.testing.assert_allclose(small.history[figure], values, rtol=1e-9, err_msg=figure)
    assert small.history["loss"] != run(text, "train.batch=5", "train.accumulate=3")["run"].history["loss"]


def test_accumulating_takes_the_memory_of_a_small_batch() -> None:
    text = spec("Linear(50); ReLU; Linear(10)", data="Digits(train=500, test=20)")
    small, group = (compiled(text, *more).layouts["run"] for more in ([], ["train.accumulate=8"]))
    assert group.memory - small.memory == 4 * small.params
    assert group.groups()["values"] == small.groups()["values"]


# Averaged weights


def test_averages_by_hand() -> None:
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((5, 3, 2))
    for rule, expected in (
        (nn.SWA(), steps.mean(axis=0)),
        (
            nn.EMA(0.25),
            0.75 * (steps[4] + 0.25 * steps[3] + 0.25**2 * steps[2] + 0.25**3 * steps[1]) + 0.25**4 * steps[0],
        ),
    ):
        model = nn.Sequential(nn.Linear(3, 2, bias=False))
        average = nn.AveragedWeights(model, rule)
        with average.shown():  # nothing has been averaged
            assert average.averaged == 0
        for weights in steps:
            model[0].parameters()["weight"].data = weights
            average.update()
        with average.shown():
            np.testing.assert_allclose(model[0].parameters()["weight"].data, expected, rtol=1e-13)
        np.testing.assert_array_equal(model[0].parameters()["weight"].data, steps[-1])


@pytest.mark.parametrize(
    ("start", "every", "epochs", "expected"),
    [
        (0.75, 1, 8, [6, 7]),
        (0.5, 2, 9, [5, 7]),
        (0, 1, 3, [0, 1, 2]),
        (0.99, 1, 5, [4]),
        (0.75, 1, 1, [0]),
        (0.3, 3, 10, [3, 6, 9]),
    ],
)
def test_epochs_that_swa_averages(start: float, every: int, epochs: int, expected: list[int]) -> None:
    assert [e for e in range(epochs) if nn.SWA(start, every).includes(e, epochs)] == expected


def test_lookahead_follows_its_optimizer_from_the_first_weights_on() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False))
    (weight,) = model.parameters()
    weight.data = [[8.0]]
    average = nn.AveragedWeights(model, nn.Lookahead(k=2, alpha=0.25))
    seen = []
    for _ in range(5):
        weight.data += 8.0
        average.update()
        with average.shown():
            seen.append(weight.data.item())
        seen.append(weight.data.item())
    # Slow and fast weights: the second step returns to 8 + (24 − 8) / 4.
    assert seen == [8, 16, 12, 12, 12, 20, 16, 16, 16, 24]


def test_lookahead_by_single_steps_is_its_optimizer_at_a_smaller_rate() -> None:
    runs = [
        run(spec(optimizer=f"SGD(lr={lr})", train=f"epochs = 3; batch = 16; {more}", more="dtype = float64"))["run"]
        for lr, more in ((0.1, "average = lookahead(k=1, alpha=0.5)"), (0.05, ""))
    ]
    for figure, values in runs[0].history.items():
        if figure.endswith("loss"):
            np.testing.assert_allclose(values, runs[1].history[figure], rtol=1e-10, err_msg=figure)


def test_running_statistics_are_those_of_all_batches_and_no_noise_is_drawn() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.BatchNorm(3), nn.ReLU())
    x = np.random.default_rng(0).standard_normal((30, 4))
    nn.set_seed(1)
    nn.update_statistics(model, np.split(x, 3))
    assert [layer.training for layer in model.layers] == [False] * 4
    parts = [model[0].forward(part) for part in np.split(x, 3)]
    state = model[2].state()
    np.testing.assert_allclose(state["running_mean"], np.mean([p.mean(axis=0) for p in parts], axis=0), rtol=1e-12)
    np.testing.assert_allclose(
        state["running_var"], np.mean([p.var(axis=0, ddof=1) for p in parts], axis=0), rtol=1e-12
    )
    drawn = nn.Dropout(0.5)(np.ones((4, 4)))
    nn.set_seed(1)
    np.testing.assert_array_equal(nn.Dropout(0.5)(np.ones((4, 4))), drawn)
    before = state["running_mean"].copy()
    model.train()[2].forward(x[:, :3])  # from here on they follow the batches again
    np.testing.assert_allclose(state["running_mean"], 0.9 * before + 0.1 * x[:, :3].mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize("left", [np.nan, np.inf, 7.0])
def test_running_statistics_of_an_average_depend_on_nothing_else(left: float) -> None:
    plan, same = (make_plan(spec(MIXED, train="batch = 10; average = swa(0)")) for _ in range(2))
    for each in (plan, same):
        train(each, 1)
    for _, array in plan.average.pairs[1:]:  # type: ignore[union-attr]
        array.fill(left)
    for each in (plan, same):
        each.end_epoch()
    for (_, ours), (_, theirs) in zip(plan.average.pairs, same.average.pairs, strict=True):  # type: ignore[union-attr]
        np.testing.assert_array_equal(ours, theirs)


def test_an_average_begins_with_the_network() -> None:
    plan = make_plan(spec(MIXED, train="batch = 10; average = swa"))
    assert plan.average is not None
    assert len(plan.average.pairs) == 3
    for own, average in plan.average.pairs:
        np.testing.assert_array_equal(own, average)


AVERAGED = spec(
    MIXED,
    race="ema { train.average = ema(0.8) }; swa { train.average = swa(0.3) }; plain { }",
    train="epochs = 4; batch = 6; validation = 0.2",
    more="optimizer = SGD(lr=0.1)",
)


def test_figures_and_kept_weights_are_those_of_the_average_and_training_is_not_changed() -> None:
    lanes = run(AVERAGED).lanes
    data = lanes["ema"].predictor
    assert data is not None
    for name in ("ema", "swa"):
        # Figures of training batches are those of the weights that are trained; others are not.
        assert lanes[name].history["loss"] == lanes["plain"].history["loss"]
        assert lanes[name].history["test_loss"] != lanes["plain"].history["test_loss"]
        assert lanes[name].history["val_loss"] != lanes["plain"].history["val_loss"]
    # Before it starts, `swa` has no average.
    assert lanes["swa"].history["test_loss"][:2] == lanes["plain"].history["test_loss"][:2]
    assert lanes["ema"].trace["Linear1.weight"] != lanes["plain"].trace["Linear1.weight"]


def test_a_run_on_disk_has_averaged_weights(tmp_path: Path) -> None:
    (tmp_path / "a.nn").write_text(AVERAGED)
    done = command("run", "a.nn", "--out", "runs", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "averaged weights (ema: ema(0.8); swa: swa(0.3))" in " ".join(done.stdout.split())
    assert command("verify", "runs", cwd=tmp_path).returncode == 0
    summary = json.loads((tmp_path / "runs/summary.json").read_text())
    for record in summary["lanes"]:
        evaluated = command("eval", "runs", "--lane", record["name"], "--json", cwd=tmp_path)
        assert evaluated.returncode == 0, evaluated.stderr
        assert f"{record['final']['test_loss']}" in evaluated.stdout


def test_after_ctrl_c_the_weights_are_the_average_of_the_last_complete_epoch() -> None:
    text = spec(MIXED, train="epochs = 5; batch = 6; average = ema(0.8)")
    stopped, short = run(text, observer=Stopper(3))["run"], run(text, "train.epochs=2")["run"]
    assert stopped.status == "interrupted"
    whole = run(text, "train.epochs=3")["run"]
    ends = [{n: a.tobytes() for n, a in lane.network.state_dict().items()} for lane in (stopped, whole, short)]
    assert ends[0] == ends[1] != ends[2]


def test_a_run_with_swa_is_not_extended(tmp_path: Path) -> None:
    for name, average, code in (("swa", "swa", 2), ("ema", "ema(0.9)", 0)):
        text = spec(train=f"epochs = 4; batch = 16; average = {average}")
        (tmp_path / "a.nn").write_text(text)
        assert command("run", "a.nn", "--out", name, cwd=tmp_path).returncode == 0
        (tmp_path / "a.nn").write_text(text.replace("epochs = 4", "epochs = 6"))
        extended = command("run", "a.nn", "--out", name, "--resume", cwd=tmp_path)
        assert extended.returncode == code, extended.stderr
        assert ("depends on the number of epochs" in extended.stderr) == (code == 2)


def test_an_average_is_counted_in_memory() -> None:
    layouts = [
        compiled(spec(MIXED), *more).layouts["run"] for more in ([], ["train.average=ema"], ["train.average=swa"])
    ]
    plain, ema, swa = (layout.memory for layout in layouts)
    block = 4 * min(BLOCK, layouts[0].params)
    assert (ema - plain, swa - ema) == (4 * layouts[0].params + block, 4 * 2 * 8)
    assert layouts[2].groups()["averaged weights"] == swa - plain - block


# Schedule-Free optimizers, which evaluate an average of their own


def test_an_optimizer_that_averages_is_evaluated_at_the_average() -> None:
    text = spec(optimizer="ScheduleFreeSGD(lr=0.5, momentum=0.8)", train="epochs = 2; batch = 16", more="dtype=float64")
    lane, plan = run(text)["run"], make_plan(text, compiled(text).program.lanes[0].data[0].source.load(OFFLINE))
    start = {name: array.copy() for name, array in plan.network.state_dict().items()}
    train(plan, 2)
    assert plan.average is not None
    ((theta, average),) = plan.average.pairs
    with plan.shown():
        shown = {name: array.copy() for name, array in plan.network.state_dict().items()}
    assert plan.test()[0] == lane.history["test_loss"][-1]
    trained = plan.network.state_dict()
    for name, array in lane.network.state_dict().items():
        np.testing.assert_array_equal(array, shown[name])
        assert (array != trained[name]).any()
    plan.narrow(True)
    base = theta + (theta - average) * 0.8 / 0.2  # as θ = (1−μ)·z + μ·x
    np.testing.assert_allclose(plan.optimizer.state[0]["base"], base[-plan.optimizer.params[0].size :], atol=1e-12)
    still = np.all(start["Linear1.weight"] == trained["Linear1.weight"], axis=1)
    np.testing.assert_array_equal(start["Linear1.weight"][still], shown["Linear1.weight"][still])


def test_the_average_of_schedule_free_descent_is_the_mean_of_its_base() -> None:
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.BatchNorm(2))
    weight = model.parameters()[0]
    optimizer = nn.ScheduleFreeSGD(model.parameters(), lr=0.5)
    average = nn.AveragedWeights.of(model, optimizer)
    rng, base, bases = np.random.default_rng(0), weight.data.copy(), []
    for _ in range(5):
        weight.grad = rng.standard_normal((3, 2))
        base = base - 0.5 * weight.grad
        bases.append(base)
        optimizer.step()
    mean = np.mean(bases, axis=0)
    np.testing.assert_allclose(weight.data, 0.1 * base + 0.9 * mean, rtol=1e-6)
    x = rng.standard_normal((40, 3))
    with average.shown():
        np.testing.assert_allclose(weight.data, mean, rtol=1e-6)
        nn.update_statistics(model, [x])
        np.testing.assert_allclose(model[1].state()["running_mean"], (x @ mean).mean(axis=0), rtol=1e-5, atol=1e-6)
    assert not model[1].state()["running_mean"].any()
    with pytest.raises(TypeError, match="SGD computes no average"):
        nn.AveragedWeights.of(model, nn.SGD(model.parameters()))


def test_weights_assigned_before_the_first_step_are_where_the_average_starts() -> None:
    weight = nn.Parameter([1.0, 2.0])
    optimizer = nn.ScheduleFreeAdamW([weight])
    weight.data = [5.0, 7.0]
    weight.grad = [0.0, 0.0]
    optimizer.step()
    assert weight.data.tolist() == optimizer.state[0]["average"].tolist() == [5.0, 7.0]


def test_running_statistics_of_an_optimizers_average_are_recomputed() -> None:
    plan = make_plan(spec(MIXED, optimizer="ScheduleFreeAdamW", train="batch = 10"))
    assert plan.average is not None
    with plan.shown():  # before the first epoch ends, there are none for the average
        assert plan.average.averaged == 0
    train(plan, 1)
    (theta, average), *state = plan.average.pairs
    assert (theta != average).any()
    assert all((own != renewed).any() for own, renewed in state)


def test_an_optimizers_average_takes_no_memory_twice() -> None:
    layout = compiled(spec(optimizer="ScheduleFreeSGD")).layouts["run"]
    assert [name for name in layout.room_names if "average" in name] == []
    assert [b.name for b in layout.buffers if "average" in b.name] == ["optimizer.average"]


@pytest.mark.parametrize("setting", ["average = ema", "constraint = max_norm(1)"])
def test_an_optimizers_average_is_the_only_one(setting: str) -> None:
    for optimizer in ("ScheduleFreeSGD", "ScheduleFreeAdamW"):
        found = check(Source("a.nn", spec(optimizer=optimizer, train=setting))).diagnostics
        assert [(d.code, d.span.text) for d in found] == [("NN607", setting.split(" = ")[1])]


# Several evaluations of a batch


def noisy_plan(kind: str, folder: Path) -> Plan:
    """Return a plan whose network draws masks and keeps running statistics, or carries states from batch to batch."""
    if kind == "masks and statistics":
        model = "ReLU; Dropout(0.4); Linear(6); BatchNorm; Tanh; Linear(10)"
        return make_plan(spec(model, train="batch = 10; sharpness = sam"))
    (folder / "a.txt").write_text("the fox and the crow saw a cheese in the old tree " * 3)
    data = f'Text("{(folder / "a.txt").as_posix()}", context=5)'
    train = "batch = 4; sharpness = sam; carry_state = true; validation = last(0.1)"
    text = spec("Embedding(3); LSTM(4); Linear(data.classes)", data=data, train=train)
    return make_plan(text, compiled(text).program.lanes[0].data[0].source.load(OFFLINE))


@pytest.mark.parametrize("kind", ["masks and statistics", "carried states"])
def test_further_evaluations_are_the_same_function_and_change_nothing_else(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan, evaluated = noisy_plan(kind, tmp_path), []
    assert plan.ascent is not None
    names = [name for name in plan.buffers if name.startswith(("layer", "carried"))]
    assert names

    def state() -> list[Any]:
        """All that an evaluation may change."""
        noise = [rng.bit_generator.state["state"] for rng in plan.noise]
        return [noise, [plan.buffers[name].tolist() for name in names], plan.own_figures()]

    def move(number: int, loss: float, weight: float, again: Any, look: Any) -> float:
        before, gradients = state(), plan.buffers["gradients"].copy()
        for _ in range(2):
            evaluated.append(again())
            assert evaluated[-1] == loss
            np.testing.assert_array_equal(plan.buffers["gradients"], gradients)
            assert state() == before
        return 0.0

    monkeypatch.setattr(plan, "move", move)
    start = state()
    plan.begin(0)
    for number in range(2):
        plan.train_batch(number)
    assert len(set(evaluated)) == 2
    assert (start[0] != state()[0]) is (kind == "masks and statistics")
    assert start[1] != state()[1]


def test_ascending_and_back_by_hand() -> None:
    rng = np.random.default_rng(0)
    weight, bias = nn.Parameter(rng.standard_normal((3, 2))), nn.Parameter(rng.standard_normal(2))
    frozen = nn.Parameter(rng.standard_normal(2))
    frozen.configure(frozen=True)
    params = [weight, frozen, bias]
    for parameter in params:
        parameter.grad = rng.standard_normal(parameter.shape)
    before = [parameter.data.copy() for parameter in params]
    for adaptive in (False, True):
        scale = [np.abs(p.data) if adaptive else np.ones(p.shape) for p in (weight, bias)]
        norm = np.sqrt(sum(((s * p.grad) ** 2).sum() for s, p in zip(scale, (weight, bias), strict=True)))
        ascent = nn.Ascent(params, nn.SAM(0.3, adaptive=adaptive))
        assert ascent.up() == pytest.approx(norm)
        for s, p, start in zip(scale, (weight, bias), (before[0], before[2]), strict=True):
            np.testing.assert_allclose(p.data, start + 0.3 * s * s * p.grad / norm, rtol=1e-12)
        np.testing.assert_array_equal(frozen.data, before[1])
        ascent.down()
        for parameter, start in zip(params, before, strict=True):
            np.testing.assert_array_equal(parameter.data, start)


def test_evaluating_again_needs_memory_for_states_and_weights() -> None:
    text = spec(MIXED, train="batch = data.size")
    plain, sam, search = (
        compiled(text, *more).layouts["run"] for more in ([], ["train.sharpness=sam"], ["optimizer=LBFGS(history=3)"])
    )
    assert sam.memory - plain.memory == 4 * (plain.params + min(BLOCK, plain.params) + 2 * 2 * 8)
    assert search.groups()["optimizer"] == (2 * 3 + 2 + 4) * 4 * plain.params
    assert search.seconds > sam.seconds > plain.seconds


# L-BFGS


def test_lbfgs_finds_the_minimum_that_scipy_finds(arrays: Path) -> None:
    case = next(c for c in REFERENCE["cases"] if c["case"] == "L-BFGS, logistic regression")
    optimizer = case["optimizer"] | {"tolerance_grad": 1e-10, "tolerance_change": 1e-15}
    lane = run(written(case | {"epochs": 50, "optimizer": optimizer}, arrays))["run"]
    assert "LBFGS converged" in lane.stopped
    assert lane.history["loss"][-1] == pytest.approx(REFERENCE["scipy"]["loss"], abs=1e-12)
    np.testing.assert_allclose(lane.network.state_dict()["Linear1.weight"], REFERENCE["scipy"]["weight"], atol=1e-6)


def test_weight_decay_is_a_term_of_what_lbfgs_minimises() -> None:
    """A line search of Rosenbrock's function with the term, and of their sum."""

    def trained(decay: float, term: float) -> list[float]:
        theta = nn.Parameter(np.array([-1.2, 1.0]))

        def closure() -> float:
            a, b = theta.data
            slope = [-400 * a * (b - a * a) - 2 * (1 - a) + term * a, 200 * (b - a * a) + term * b]
            np.copyto(theta.grad, slope)
            return float(100 * (b - a * a) ** 2 + (1 - a) ** 2 + 0.5 * term * (a * a + b * b))

        optimizer = nn.LBFGS([theta], weight_decay=decay, max_iter=8)
        found = []
        for _ in range(4):
            optimizer.step(closure)
            found += theta.data.tolist()
        return found

    assert trained(5.0, 0.0) == pytest.approx(trained(0.0, 5.0), rel=1e-9)


@pytest.mark.parametrize("frozen", ["n", "Linear1.bias"])
def test_lbfgs_leaves_frozen_weights_alone(frozen: str) -> None:
    text = spec("Linear(8); n: LayerNorm; Tanh; Linear(10)", optimizer="LBFGS(max_iter=3)", train="batch = data.size")
    plan = make_plan(f"{text}train.freeze = [{frozen}]\n")
    before = {name: array.copy() for name, array in plan.network.state_dict().items()}
    train(plan, 2)
    moved = {name for name, array in plan.network.state_dict().items() if (array != before[name]).any()}
    assert before.keys() - moved == {name for name in before if name.startswith(frozen)}


CONVEX = spec("Linear(10)", optimizer="LBFGS(weight_decay=0.01)", train="epochs = 60; batch = data.size")


def test_training_ends_when_lbfgs_has_converged_also_if_it_is_resumed_or_extended(tmp_path: Path) -> None:
    (tmp_path / "a.nn").write_text(CONVEX)
    done = command("run", "a.nn", "--out", "whole", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = re.search(r"stopped after epoch (\d+): LBFGS converged, (no|the) ", done.stdout)
    assert found is not None
    assert "gradient evaluations per step: " in done.stdout
    # Ended just where it has converged, and extended: it stops at once.
    (tmp_path / "a.nn").write_text(CONVEX.replace("epochs = 60", f"epochs = {found[1]}"))
    assert command("run", "a.nn", "--out", "parts", cwd=tmp_path).returncode == 0
    (tmp_path / "a.nn").write_text(CONVEX)
    assert command("run", "a.nn", "--out", "parts", "--resume", cwd=tmp_path).returncode == 0
    histories = [
        json.loads((tmp_path / name / "history.json").read_text())["lanes"]["run"] for name in ("whole", "parts")
    ]
    assert len(histories[0]["loss"]) == int(found[1])
    for figure in ("loss", "test_loss", "gradient_evaluations"):
        assert histories[0][figure] == histories[1][figure]
    assert command("verify", "whole", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("train", ["batch = 20", "batch = data.size; augment = noise(0.1)", "batch = data.size"])
def test_a_loss_that_changes_is_never_at_its_minimum(train: str) -> None:
    model = "Dropout(0.1); Linear(10)" if train == "batch = data.size" else "Linear(10)"
    text = spec(model, optimizer="LBFGS(tolerance_change=1, max_iter=3)", train=f"epochs = 3; {train}")
    assert run(text)["run"].stopped == ""


def test_lbfgs_that_diverges_says_so() -> None:
    text = spec("Linear(10)", loss="MSE", optimizer="LBFGS(lr=1e8, line_search=none)", train="epochs = 3; batch = 10")
    lane = run(text)["run"]
    assert lane.status == "diverged"
    assert "LBFGS" in lane.message


def test_what_a_line_search_relies_on_is_not_changed() -> None:
    settings = ["clip_norm = 1", "clip_value = 1", "constraint = max_norm(1)", "accumulate = 2", "sharpness = sam"]
    for setting in [*settings, "lr_factor.Linear1 = 0.5", "average = lookahead"]:
        found = check(Source("a.nn", spec(optimizer="LBFGS", train=f"batch = data.size; {setting}"))).diagnostics
        assert [d.code for d in found if d.severity == "error"] == ["NN607"], setting
        for each in found:
            assert each.span.text in setting
    assert not check(Source("a.nn", spec(optimizer="LBFGS", train="batch = data.size; clip_norm = none"))).diagnostics


def test_notes_count_steps_where_training_is_measured_by_steps(tmp_path: Path) -> None:
    (tmp_path / "a.nn").write_text(SPECS["by steps"])
    words = " ".join(command("run", "a.nn", "--quiet", cwd=tmp_path).stdout.split())
    assert "gradient evaluations per step: 1 (swa), 3 (ema), 2 (sam)" in words
    assert "averaged weights (swa: swa(0.3); ema: ema(0.9))" in words
    (tmp_path / "a.nn").write_text(
        spec(train="epochs = 9; early_stop = patience(1, of=loss, min_delta=9); average = swa")
    )
    assert "run ended before swa averaged any weights" in command("run", "a.nn", "--quiet", cwd=tmp_path).stdout
    for k, begun in ((4, False), (3, True)):
        (tmp_path / "a.nn").write_text(spec(train=f"steps = 3; batch = 16; average = lookahead(k={k})"))
        words = command("run", "a.nn", "--quiet", cwd=tmp_path).stdout
        assert (f"run ended before lookahead({k}) averaged any weights" in words) is not begun
    (tmp_path / "a.nn").write_text(spec(race="SGD; ScheduleFreeSGD"))
    words = " ".join(command("run", "a.nn", "--quiet", cwd=tmp_path).stdout.split())
    assert "those of averaged weights (ScheduleFreeSGD)" in words


def test_a_note_says_how_many_gradients_lanes_evaluate(tmp_path: Path) -> None:
    race = "SGD; sam { optimizer = SGD; train.sharpness = sam }; four { optimizer = SGD; train.accumulate = 4 }"
    (tmp_path / "a.nn").write_text(spec(race=race, train="epochs = 1; batch = 10"))
    done = command("run", "a.nn", cwd=tmp_path)
    assert "gradient evaluations per step: 1 (SGD), 2 (sam), 4 (four)" in " ".join(done.stdout.split())
    (tmp_path / "a.nn").write_text(spec(race="SGD; Adam", train="epochs = 1; batch = 10"))
    assert "gradient evaluations" not in command("run", "a.nn", cwd=tmp_path).stdout


@pytest.mark.parametrize("average", ["ema(0.9)", "swa(0.3)", ""])
def test_features_that_are_always_zero_change_no_average(average: str, digits: Dataset) -> None:
    optimizer, setting = ("SGD", f"; average = {average}") if average else ("ScheduleFreeSGD", "")
    text = spec(optimizer=optimizer, train=f"epochs = 4; batch = 16{setting}", more="dtype = float64")
    assert make_plan(text, digits).narrowing is not None
    narrowed, whole = run(text)["run"], run(text, "train.penalty=L2(1e-99)")["run"]
    np.testing.assert_allclose(narrowed.history["test_loss"], whole.history["test_loss"], rtol=1e-9)
    for name, array in whole.network.state_dict().items():
        np.testing.assert_allclose(narrowed.network.state_dict()[name], array, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [
        ("Adam", "batch = 64; average = ema(0.9); sharpness = sam; penalty = L2(1e-3)"),
        ("Adam", "batch = 64; accumulate = 3; average = swa(0)"),
        ("ScheduleFreeAdamW(weight_decay=0.1)", "batch = 64"),
        ("LBFGS(max_iter=5)", "batch = data.size"),
    ],
)
def test_steps_allocate_no_arrays(optimizer: str, settings: str) -> None:
    model, data = "Linear(64); BatchNorm; ReLU; Dropout(0.2); Linear(10)", "Digits(train=300, test=20)"
    plan = make_plan(spec(model, optimizer=optimizer, train=settings, data=data))
    train(plan, 1)
    assert peak_growth(plan) <= 3 * ALLOCATION


def test_a_profile_times_each_evaluation_where_it_belongs() -> None:
    for settings in ("optimizer=LBFGS(max_iter=5)", "train.sharpness=sam"):
        text = spec("Linear(64); ReLU; Linear(10)", train="epochs = 4; batch = data.size; penalty = L2(1e-3)")
        lane = run(text, settings, ways=RunOptions(jobs=1, profile=True))["run"]
        parts = {f"{part['what']} {part.get('layer', '')}".strip(): part for part in lane.profile["parts"]}
        calls = sum(lane.evaluations) / len(lane.records)
        assert parts["forward Linear1"]["calls"] == pytest.approx(calls, rel=0.5)
        assert all(part["microseconds"] >= 0 for part in parts.values()), parts


def test_lbfgs_on_a_loss_that_changes_is_a_finding() -> None:
    for model, settings in (("Linear(10)", "batch = 5"), ("Dropout(0.5); Linear(10)", "batch = data.size")):
        found = check(Source("a.nn", spec(model, optimizer="LBFGS", train=settings))).diagnostics
        assert "NN722" in [each.code for each in found], settings
