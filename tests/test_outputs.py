"""Models with several outputs: losses, weights, metrics, figures and predictions by name, and several targets."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnspec
from nnspec import engine as nn
from nnspec import runs
from nnspec.engine.losses.outputs import Output, loss_of_outputs, metric_of_output
from nnspec.native import library

ORACLE = json.loads((Path(__file__).parent / "oracle/several_outputs.json").read_text())

SPEC = """
seed = 1
dtype = float64
data = NPZ("multi.npz", targets=["kind", "parity", "size"])
model {
    Linear(5)
    Tanh
    outputs {
        kind { Linear(3) }
        parity { Linear(1) }
        size { Linear(2) }
    }
}
loss { kind = CrossEntropy; parity = BCEWithLogits; size = Huber(delta=0.7) }
loss_weight { parity = 0.3; size = 2 }
metrics { kind = [accuracy, confusion]; size = [mae] }
optimizer = SGD(lr=0.2)
train { epochs = 2; batch = 5; validation = 0.25 }
"""
GIVEN = SPEC.replace('NPZ("multi.npz", targets=["kind", "parity", "size"])', "Given")


def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 4))
    return {
        "x": x,
        "kind": np.argmax(x[:, :3], axis=1),
        "parity": np.where(x[:, 3] > 0, "odd", "even"),
        "size": x @ rng.standard_normal((4, 2)),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = arrays()
    parts = {"train": slice(0, 30), "test": slice(30, 40)}
    np.savez(tmp_path / "multi.npz", **{f"{k}_{w}": v[s] for k, v in data.items() for w, s in parts.items()})
    return tmp_path


def errors(text: str, folder: Path) -> list[str]:
    path = folder / "a.nn"
    path.write_text(text)
    found = nnspec.check(path).diagnostics
    return [f"{each.code} {each.message}" for each in found if each.severity == "error"]


def parsed(folder: Path, text: str = SPEC) -> nnspec.Spec:
    return nnspec.Spec.parse(text, folder=str(folder))


def test_a_training_is_that_of_pytorch(tmp_path: Path) -> None:
    data = {name: np.array(ORACLE[name]) for name in ("x", "kind", "parity", "size")}
    y = {name: data[name] for name in ("kind", "parity", "size")}
    text = GIVEN.replace("epochs = 2; batch = 5; validation = 0.25", "epochs = 10; batch = 12; shuffle = false")
    np.savez(tmp_path / "start.npz", **{name: np.array(array) for name, array in ORACLE["start"].items()})
    spec = parsed(tmp_path, text + 'init_from = "start.npz"\n')
    result = spec.run({"x_train": data["x"], "y_train": y, "x_test": data["x"], "y_test": y})
    (lane,) = result.lanes.values()
    names = ("loss", "kind_loss", "parity_loss", "size_loss")
    found = np.array([lane.curve(name) for name in names]).T
    np.testing.assert_allclose(found, ORACLE["losses"], rtol=1e-10)
    for name, array in lane.network.state_dict().items():
        np.testing.assert_allclose(array, ORACLE["end"][name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_figures_are_named_after_outputs_and_hold_in_every_way(folder: Path, kernels: Path) -> None:
    ways: list[dict[str, Any]] = [{}, {"jobs": 2}, {"compiled": "never"}]
    ways += [{"compiled": "always"}] if library.available() else []
    text = SPEC + "race { a { } b { optimizer.lr = 0.1 } c { loss.size = MSE } }\n"
    found = [parsed(folder, text).run(**how) for how in ways]
    histories = [{name: lane.history for name, lane in result.lanes.items()} for result in found]
    assert all(history == histories[0] for history in histories)
    plain = ("loss", "kind_loss", "parity_loss", "size_loss", "kind_accuracy", "parity_accuracy", "size_mae")
    assert found[0]["a"].figures == (*plain, *(f"val_{n}" for n in plain), *(f"test_{n}" for n in plain))
    assert len({repr(history) for history in histories[0].values()}) == 3
    last = {name: found[0]["a"].final(f"test_{name}") for name in plain}
    total = last["kind_loss"] + 0.3 * last["parity_loss"] + 2 * last["size_loss"]
    assert last["loss"] == pytest.approx(total, rel=1e-12)
    assert found[0]["a"].tables.keys() == {"kind_confusion"}


def test_gradients_hold(folder: Path) -> None:
    (proof,) = nnspec.gradcheck(_written(folder))
    assert proof.report.error < 1e-7


def _written(folder: Path) -> Path:
    path = folder / "written.nn"
    path.write_text(SPEC)
    return path


def test_runs_are_resumed_verified_evaluated_and_predict_by_name(folder: Path) -> None:
    path = _written(folder)
    nnspec.run(path, out=folder / "run")
    assert runs.verify(folder / "run").same
    (one,) = runs.evaluate(folder / "run")
    assert one.same
    assert one.figures.keys() >= {"test_kind_loss", "test_size_mae"}
    predictor = runs.load(folder / "run")
    x = arrays()["x"][:6]
    found = predictor.predict(x)
    assert found.keys() == {"kind", "parity", "size"}
    outputs = predictor.outputs(x)
    np.testing.assert_array_equal(found["kind"], outputs[:, :3].argmax(axis=1))
    np.testing.assert_array_equal(found["parity"], np.where(outputs[:, 3] > 0, "odd", "even"))
    np.testing.assert_array_equal(found["size"], outputs[:, 4:])


def test_balanced_weights_belong_to_an_output(folder: Path) -> None:
    text = SPEC.replace("parity = BCEWithLogits", "parity = Focal(class_weights=balanced)").replace(
        "parity { Linear(1) }", "parity { Linear(2) }"
    )
    result = parsed(folder, text).run(out=folder / "run")
    (lane,) = result.lanes.values()
    assert lane.learned.keys() == {"parity.class_weights"}
    assert any("the loss of `parity` uses class weights even: " in note for note in result.notes)
    assert all(one.same for one in runs.evaluate(folder / "run"))


def test_classes_of_outputs_are_pickled() -> None:
    field = Output("a", 0, 2, (2,), 0, 1, (), 2)
    loss = loss_of_outputs((field,))
    assert pickle.loads(pickle.dumps(loss)) is loss
    metric = metric_of_output(field, nn.Accuracy)
    assert pickle.loads(pickle.dumps(metric)) is metric
    assert (metric.spec_name, metric.percent, metric.higher_is_better) == ("a_accuracy", True, True)
    assert "a_accuracy" not in nn.PARTS["metric"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "outputs { s { Linear(1) } t { Linear(1) } }",
            "Linear(1)",
            "the data has the targets `s`, `t`, but the model has",
        ),
        ("loss_weight {", "loss_weights {", "did you mean `loss_weight`?"),
        ("outputs { s { Linear(1) } t { Linear(1) } }", "Linear(2)", "losses by name are those of `outputs { … }`"),
        ("test_s_loss", "s_acc", "did you mean `s_accuracy`?"),
    ],
)
def test_the_help_about_outputs_says_what_to_write(old: str, new: str, message: str, tmp_path: Path) -> None:
    rows = "\n".join(f"{i % 7},{i % 5},{i % 3},{i % 2}" for i in range(40))
    (tmp_path / "t.csv").write_text(f"p,q,s,t\n{rows}\n")
    text = """
        data = CSV("t.csv", target=["s", "t"])
        model { Linear(4); ReLU; outputs { s { Linear(1) } t { Linear(1) } } }
        loss { s = MSE; t = MAE }
        loss_weight { s = 2 }
        optimizer = Adam
        expect { test_s_loss < 100 }
    """.replace(old, new)
    if new == "Linear(1)":
        np.savez(tmp_path / "t.npz", x=np.ones((20, 3)), s=np.arange(20) % 3, t=np.arange(20) % 2)
        text = text.replace('CSV("t.csv", target', 'NPZ("t.npz", targets').replace("loss_weight { s = 2 }", "")
        text = text.replace("loss { s = MSE; t = MAE }", "loss = CrossEntropy")
    found = parsed(tmp_path, text).check().diagnostics
    assert message in "; ".join(f"{each.message}; {each.help}" for each in found)


def test_columns_of_a_table_are_targets(tmp_path: Path) -> None:
    rows = "\n".join(f"{i % 7},{i % 5},{i % 3},{i % 2}" for i in range(40))
    (tmp_path / "t.csv").write_text(f"p,q,s,t\n{rows}\n")
    text = """
        data = CSV("t.csv", target=["s", "t"])
        model { Linear(4); ReLU; outputs { t { Linear(1) } s { Linear(1) } } }
        loss { s = MSE; t = MAE }
        optimizer = Adam
        train { epochs = 1 }
        expect { test_s_loss < 100; gradient_error < 1e-7 }
    """
    result = parsed(tmp_path, text).run()
    assert [verdict.held for verdict in result.verdicts] == [True, True]
    assert "test_t_loss" in next(iter(result.lanes.values())).figures


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("size = Huber(delta=0.7) }", "}", "NN205 output `size` has no loss"),
        ("loss { kind =", "loss { other = MSE; kind =", "NN201 unknown output `other`"),
        ("metrics { kind", "metrics { other = [mae]; kind", "NN201 unknown output `other`"),
        ("loss_weight { parity", "loss_weight { other = 1; parity", "NN201 unknown output `other`"),
        (
            "batch = 5;",
            "batch = 5; augment = mixup;",
            "NN302 `mixup` mixes targets, but only of a model with a single output",
        ),
        (
            "batch = 5;",
            "batch = 5; standardise_target = true;",
            "NN302 `standardise_target` scales all numbers of a target",
        ),
        ("parity = 0.3;", "parity = -0.3;", "NN302 `loss_weight` must be at least 0"),
        ("size { Linear(2) }", "size { Linear(3) }", "NN402 output `size`: Huber compares 3 outputs"),
        ("kind { Linear(3) }", "kind { Linear(2) }", "NN402 output `kind`: the data has 3 classes"),
        ("        size {", "        wrong {", "NN203 the data has no target `wrong`; it has `kind`"),
        ("        size {", "        val_a {", "NN206 an output cannot be called `val_a`"),
        ("size = [mae]", "size = [accuracy]", "NN305 `accuracy` needs classes, but the target `size` has none"),
        ("kind = [accuracy, confusion]", "kind = [mae]", "NN305 `mae` compares numbers, but the target `kind` has"),
        (
            "metrics { kind",
            "metrics = [accuracy]\nlet unused = 1 #",
            "NN203 the model has several outputs",
        ),
        ("loss { kind", "loss = MSE #", "NN203 the model has several outputs, each with a loss"),
        (
            "size { Linear(2) }",
            "size { Linear(4); Reshape([2, 2]) }",
            "NN401 output `size` is 2×2",
        ),
        (
            "optimizer = SGD",
            "expect { test_wrong_loss < 1 }\noptimizer = SGD",
            "NN602 unknown figure",
        ),
        ("optimizer = SGD", "expect { test_size_r2 < 1 }\noptimizer = SGD", "NN602 `test_size_r2` is not measured"),
    ],
)
def test_mistakes(folder: Path, old: str, new: str, message: str) -> None:
    assert old in SPEC
    found = errors(SPEC.replace(old, new), folder)
    assert any(each.startswith(message) for each in found), found


@pytest.mark.parametrize("setting", ["loss_weight.a = 1", "metrics.a = [accuracy]", "loss_weight = 2"])
def test_settings_by_output_of_a_model_without_outputs(folder: Path, setting: str) -> None:
    text = f"data = Digits\nmodel {{ Linear(10) }}\nloss = CrossEntropy\noptimizer = SGD\n{setting}\n"
    assert errors(text, folder)[0].startswith("NN203 ")


def test_outputs_are_the_end_of_a_model(folder: Path) -> None:
    text = SPEC.replace("        size { Linear(2) }\n    }", "        size { Linear(2) }\n    }\n    ReLU")
    assert any("is the last element of a model" in each for each in errors(text, folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size_test": np.zeros((10, 3))}, "differ in shape or kind from"),
        ({"kind_train": np.zeros(29, int)}, "`kind_train` has 29"),
        ({"kind_train": np.zeros(30, int), "kind_test": np.zeros(10, int)}, "all labels in .* are 0"),
        ({"parity_train": None}, "has no samples, or no array for one of the targets"),
    ],
)
def test_targets_that_do_not_fit(folder: Path, change: dict[str, Any], message: str) -> None:
    with np.load(folder / "multi.npz") as data:
        named = {**data} | change
    np.savez(folder / "multi.npz", **{name: array for name, array in named.items() if array is not None})
    import re

    found = errors(SPEC, folder)
    assert any(re.search(message, each) for each in found), found
