"""Metrics of several labels of a sample, and of two classes with one output, in specs and runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_spec import ALONE, command, run, spec

from nnspec.api import check_text
from nnspec.diagnostics import Source

pytestmark = pytest.mark.usefixtures("undrawn")

X = np.random.default_rng(0).normal(size=(60, 4))
Y = np.stack([X[:, 0] > 0, X[:, 1] > 0.5, X[:, 2] > 1], 1)
MODEL = "Linear(8); ReLU; Linear(3)"
METRICS = "metrics = [accuracy, f1, auc, average_precision(average=weighted)]"


def findings(text: str) -> list[tuple[str, str, str]]:
    return [(d.code, d.message, d.help or "") for d in check_text(Source("x.nn", text)).diagnostics]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same labels as floats, integers, truth values and in a table; soft ones, and one of two classes."""
    monkeypatch.chdir(tmp_path)
    for name, dtype in (("f", float), ("i", int), ("b", bool)):
        np.savez(
            f"{name}.npz", x_train=X[:40], y_train=Y[:40].astype(dtype), x_test=X[40:], y_test=Y[40:].astype(dtype)
        )
    np.savez("soft.npz", x=X, y=Y * 0.9)
    np.savez("one.npz", x=X, y=(X[:, 0] > 0.8).astype(int))
    for name, part in (("train", slice(40)), ("test", slice(40, None))):
        rows = np.concatenate([X[part], Y[part]], axis=1)
        (tmp_path / f"{name}.csv").write_text(
            "a,b,c,d,p,q,r\n" + "\n".join(",".join(map(repr, row)) for row in rows.tolist())
        )
    return tmp_path


def of(data: str, model: str = MODEL, loss: str = "BCEWithLogits", more: str = METRICS) -> str:
    return spec(model, data=data, loss=loss, train="epochs = 3; batch = 7; validation = 0.2", more=more)


TABLE = 'CSV("train.csv", target=["p", "q", "r"], test="test.csv", shuffle=false)'


def test_labels_of_any_dtype_are_measured_alike(files: Path) -> None:
    lanes = []
    for data in ('NPZ("f.npz")', 'NPZ("i.npz")', 'NPZ("b.npz")', TABLE):
        assert findings(of(data)) == []
        (lane,) = run(of(data)).lanes.values()
        lanes.append(lane)
    assert len({json.dumps({n: v for n, v in lane.history.items() if n != "seconds"}) for lane in lanes}) == 1
    network = lanes[0].network
    assert network is not None
    logits = network.forward(X[40:].astype(np.float32))
    right, total = ((logits > 0) == Y[40:]).all(axis=1), 0.0
    assert lanes[0].history["test_accuracy"][-1] == right.mean()
    for z, t in zip(logits.T, Y[40:].T, strict=True):
        pairs = [(a > b) + (a == b) / 2 for a in z[t] for b in z[~t]]
        total += sum(pairs) / len(pairs) / 3
    assert lanes[0].history["test_auc"][-1] == pytest.approx(total, rel=1e-12)


def test_stacks_keep_the_scores_of_each_lane(files: Path) -> None:
    text = of('NPZ("i.npz")').replace("optimizer = SGD(lr=0.1)", "race { SGD(lr=0.1); Adam(lr=0.1) }")
    together, alone = run(text), run(text, ways=ALONE)
    for name, lane in together.lanes.items():
        assert lane.history == alone.lanes[name].history
    assert together["SGD"].history["auc"] != together["Adam"].history["auc"]


def test_two_classes_with_one_output(files: Path) -> None:
    for average in ("macro", "micro", "weighted", "binary"):
        more = f"metrics = [f1(average={average}), precision, recall, accuracy, auc, average_precision, confusion]"
        assert findings(of('NPZ("one.npz", seed=3)', "Linear(1)", more=more)) == []
    (lane,) = run(
        of('NPZ("one.npz", seed=3)', "Linear(1)", more="metrics = [confusion, f1(average=binary)]")
    ).lanes.values()
    (tn, fp), (fn, tp) = lane.tables["confusion"]
    assert tn + fp + fn + tp == 12
    assert lane.history["test_f1"][-1] == pytest.approx(2 * tp / (2 * tp + fp + fn))


@pytest.mark.parametrize(
    ("data", "loss", "metric", "message", "help", "cured"),
    [
        (
            'NPZ("i.npz")',
            "BCEWithLogits",
            "confusion",
            "`confusion` needs one class per sample, but each has several labels",
            "`accuracy`, `precision`, `recall`, `f1` and `auc` take several",
            ("confusion", "f1"),
        ),
        (
            'NPZ("i.npz")',
            "MSE",
            "f1",
            "`f1` counts a label if its logit is above 0, but `MSE` does not take logits of labels",
            "`loss = BCEWithLogits` takes several labels",
            ("MSE", "BCEWithLogits"),
        ),
        (
            'NPZ("i.npz")',
            "BCEWithLogits",
            "f1(average=binary)",
            "`binary` is the score of class 1 of two, but there are several labels: 3",
            "write `average=macro`",
            ("binary", "macro"),
        ),
        (
            'NPZ("i.npz")',
            "BCEWithLogits",
            "roc_auc",
            "unknown metric `roc_auc`",
            "did you mean `auc`?",
            ("roc_auc", "auc"),
        ),
        (
            'NPZ("soft.npz")',
            "BCEWithLogits",
            "f1",
            "`f1` needs classes, but the data has none",
            "",
            ("metrics = [f1]", "metrics = []"),
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_the_help_leads_to_a_clean_check(
    files: Path, data: str, loss: str, metric: str, message: str, help: str, cured: tuple[str, str]
) -> None:
    text = of(data, loss=loss, more=f"metrics = [{metric}]")
    ((_, found, said),) = findings(text)
    assert (found, said) == (message, help)
    assert findings(text.replace(*cured)) == []


def test_an_area_that_is_not_defined_is_as_recorded(files: Path) -> None:
    np.savez("never.npz", x_train=X[:40], y_train=Y[:40] * 1.0, x_test=X[40:], y_test=Y[40:] * [1.0, 1.0, 0.0])
    (files / "n.nn").write_text("seed = 1\n" + of('NPZ("never.npz")', more="metrics = [auc, f1]"))
    trained = command("run", "n.nn", "-q", "--out", "r", cwd=files)
    assert trained.returncode == 0, trained.stderr
    history = json.loads((files / "r" / "history.json").read_text())
    assert history["lanes"]["run"]["test_auc"] == [None, None, None]
    assert None not in history["lanes"]["run"]["auc"]
    assert "! label 3 is the same in all test samples: `auc` is not defined there\n" in trained.stdout
    again = command("eval", "r", cwd=files)
    assert (again.returncode, "as recorded, bit for bit" in again.stdout) == (0, True), again.stdout + again.stderr
