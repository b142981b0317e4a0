"""What is held out by a rule: the last samples, those that the data gives, and folds."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tiny_plan import make_plan
from tiny_spec import ALONE, command, compiled, run, spec

from nnspec import engine as nn
from nnspec.api import check_text
from nnspec.checker.program import Experiment, TrainSettings
from nnspec.compiler.preparing import divide
from nnspec.data.csv_source import CSV
from nnspec.data.numpy_source import NPY, NPZ
from nnspec.data.source import Access
from nnspec.diagnostics import Source
from nnspec.engine.part import FilePath

pytestmark = pytest.mark.usefixtures("undrawn")

SIZES = json.loads((Path(__file__).parent / "oracle" / "folds.json").read_text())


def findings(text: str) -> list[tuple[str, str, str]]:
    return [(d.code, d.message, d.help or "") for d in check_text(Source("x.nn", text)).diagnostics]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def folds_of(experiment: Experiment, labels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    each = [experiment.training(number) for number in range(experiment.train.trainings)]
    return [divide(one.train, one.seed, labels) for one in each]


# Folds


@pytest.mark.parametrize("case", SIZES, ids=lambda case: f"{case['samples']} in {case['k']}")
@pytest.mark.parametrize("stratify", ["false", "true"])
def test_each_sample_is_held_out_exactly_once_in_folds_of_the_sizes_of_scikit_learn(case: dict, stratify: str) -> None:
    text = spec(train=f"epochs = 1; validation = folds({case['k']}); stratify = {stratify}")
    (lane,) = compiled(text, "seed=3").program.lanes
    labels = np.array(case["labels"])
    found = folds_of(lane, labels)
    assert [len(held_out) for _, held_out in found] == case["sizes"]
    assert sorted(np.concatenate([held_out for _, held_out in found]).tolist()) == list(range(case["samples"]))
    for trained, held_out in found:
        assert sorted([*trained.tolist(), *held_out.tolist()]) == list(range(case["samples"]))
        assert held_out.tolist() == sorted(held_out.tolist())
    if stratify == "true":
        counts = [Counter(labels[held_out].tolist()) for _, held_out in found]
        spread = {str(c): sorted(count[c] for count in counts) for c in set(case["labels"])}
        assert spread == case["of_classes"]


def test_folds_are_drawn_by_the_seed() -> None:
    (lane,) = compiled(spec(train="validation = folds(5)"), "seed=3").program.lanes
    (other,) = compiled(spec(train="validation = folds(5)"), "seed=4").program.lanes
    labels = np.zeros(50, int)
    one, another = (folds_of(each, labels)[0][1].tolist() for each in (lane, other))
    assert one != another
    assert one != list(range(0, 50, 5))
    assert [one.seed for one in map(lane.training, range(5))] == [3, 4, 5, 6, 7]


def test_repeats_of_folds_divide_anew() -> None:
    (lane,) = compiled(spec(train="validation = folds(2); repeats = 3")).program.lanes
    found = folds_of(lane, np.zeros(50, int))
    assert len(found) == 6
    for first in (0, 2, 4):
        assert sorted(np.concatenate([found[first][1], found[first + 1][1]]).tolist()) == list(range(50))
    assert len({tuple(held_out.tolist()) for _, held_out in found}) == 6


FOLDS = spec(
    race="SGD(lr=0.1); Adam",
    data="Digits(train=53, test=20)",
    train="epochs = 2; batch = 8; validation = folds(4); standardise = true",
)


def test_lanes_of_folds_are_means_and_the_same_alone_as_in_stacks() -> None:
    together, alone = run(FOLDS), run(FOLDS, ways=ALONE)
    for name, lane in together.lanes.items():
        assert [one.held_out for one in lane.repeats] == [14, 13, 13, 13]
        assert [one.history for one in lane.repeats] == [one.history for one in alone.lanes[name].repeats]
        each = [one.history["val_loss"][-1] for one in lane.repeats]
        assert lane.history["val_loss"][-1] == pytest.approx(sum(each) / 4, rel=1e-12)
        assert len({one.scaling[0].tobytes() for one in lane.repeats if one.scaling}) == 4


def test_the_scaling_of_a_fold_is_learned_without_it() -> None:
    (lane,) = compiled(
        spec(data="Digits(train=53, test=20)", train="validation = folds(4); standardise = true")
    ).program.lanes
    data = lane.data[0].source.load(Access(offline=True))
    (result,) = run(FOLDS.replace("race { SGD(lr=0.1); Adam }", "optimizer = SGD(lr=0.1)")).lanes.values()
    for one, (trained, _) in zip(result.repeats, folds_of(lane, data.train.y), strict=True):
        assert one.scaling is not None
        np.testing.assert_allclose(one.scaling[0], (data.train.x[trained] / 255).mean(axis=0), rtol=1e-12, atol=1e-15)


def test_a_run_of_folds_is_verified_evaluated_and_resumed(tmp_path: Path) -> None:
    (tmp_path / "f.nn").write_text("seed = 1\n" + FOLDS)
    assert command("run", "f.nn", "-q", "--out", "one", cwd=tmp_path).returncode == 0
    found = command("eval", "one", "--json", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    extended = command("run", "f.nn", "-q", "--out", "two", "--jobs", "2", cwd=tmp_path)
    assert extended.returncode == 0, extended.stderr
    same = command("verify", "one", "two", cwd=tmp_path)
    assert same.stdout.count("bit for bit") == 9, same.stdout
    summary = json.loads((tmp_path / "one" / "summary.json").read_text())
    assert [one["seed"] for one in summary["lanes"][0]["repeats"]] == [1, 2, 3, 4]
    assert summary["lanes"][0]["intervals"]["val_loss"]["n"] == 4


def test_too_few_samples_for_folds() -> None:
    ((code, message, _),) = findings(spec(data="Digits(train=4, test=20)", train="validation = folds(5)"))
    assert (code, message) == ("NN302", "`folds(5)` needs at least 5 training samples, not 4")


# The last samples


@pytest.mark.parametrize(("share", "count"), [(0.2, 10), (0.25, 12), (0.001, 1), (0.999, 49)])
def test_the_last_samples_are_held_out(share: float, count: int) -> None:
    settings = TrainSettings(validation=nn.Last(share))
    trained, held_out = divide(settings, 7, np.zeros(50))
    assert (trained.tolist(), held_out.tolist()) == (list(range(50 - count)), list(range(50 - count, 50)))
    assert settings.held_out(50) == count


def test_a_plan_never_trains_on_the_last() -> None:
    plan = make_plan(spec(train="epochs = 2; batch = 16; validation = last(0.2)"))
    assert plan.data._held_out.tolist() == list(range(40, 50))
    for epoch in range(3):
        plan.begin(epoch)
        assert sorted(plan.data.order.tolist()) == list(range(40))


def test_the_last_of_data_that_is_shuffled(here: Path) -> None:
    (here / "w.csv").write_text("hour,price\n" + "".join(f"{h / 2},{h * h % 17}\n" for h in range(40)))
    text = spec("Linear(1)", data='CSV("w.csv", target="price")', loss="MSE", train="validation = last(0.2)")
    ((code, message, help),) = findings(text)
    assert (code, message) == ("NN733", "`last` holds out the last samples, but `CSV` shuffles them first")
    assert help == "keep their order with `shuffle = false` in `CSV`, or hold out random samples: `validation = 0.2`"
    for cured in (text.replace('"price"', '"price", shuffle = false'), text.replace("last(0.2)", "0.2")):
        assert findings(cured) == []
    lane = compiled(text.replace('"price"', '"price", shuffle = false')).program.lanes[0]
    data = lane.data[0].source.load(Access())
    _, held_out = divide(lane.train, lane.seed, data.train.y)
    assert data.train.x[held_out].ravel().tolist() == [h / 2 for h in range(26, 32)]  # of 40, 32 to train on


# Samples that the data gives

X = np.arange(40, dtype=np.float32).reshape(20, 2)
Y = np.arange(20) % 2


def given_arrays(here: Path) -> list[str]:
    parts = {"train": slice(0, 12), "val": slice(12, 15), "test": slice(15, 20)}
    np.savez("a.npz", **{f"{n}_{p}": a[s] for p, s in parts.items() for n, a in (("x", X), ("y", Y))})  # type: ignore[arg-type]
    for part, where in parts.items():
        np.save(f"x_{part}.npy", X[where])
        np.save(f"y_{part}.npy", Y[where])
        lines = [f"{a:g},{b:g},{'no' if y == 0 else 'yes'}\n" for (a, b), y in zip(X[where], Y[where], strict=True)]
        (here / f"{part}.csv").write_text("a,b,y\n" + "".join(lines))
    files = ", ".join(f'{n}_{p}="{n}_{p}.npy"' for p in ("test", "val") for n in "xy")
    return [
        'NPZ("a.npz")',
        f'NPY("x_train.npy", "y_train.npy", {files})',
        'CSV("train.csv", target="y", validation="val.csv", test="test.csv", shuffle=false)',
    ]


def test_samples_that_are_given_are_measured_and_scaled_as_the_training_samples(here: Path) -> None:
    mean, deviation = X[:12].mean(axis=0, dtype=np.float64), X[:12].std(axis=0, dtype=np.float64)
    for data in given_arrays(here):
        text = spec("Linear(2)", data=data, train="epochs = 3; batch = 4; standardise = true; early_stop = patience(1)")
        assert findings(text) == []
        (lane,) = run(text).lanes.values()
        assert lane.held_out == 3
        assert lane.scaling is not None
        np.testing.assert_allclose(lane.scaling, [mean, deviation], rtol=1e-12)
        assert lane.network is not None
        z = lane.network.forward(((X[12:15] - mean) / deviation).astype(np.float32)).astype(np.float64)
        wanted = np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(3), Y[12:15]])
        assert lane.history["val_loss"][-1] == pytest.approx(wanted, rel=1e-5)
        assert run(text, "train.validation=given").lanes["run"].history == lane.history


def test_given_samples_stay_when_the_others_are_split(here: Path) -> None:
    given_arrays(here)
    np.savez("b.npz", x=X[:15], y=Y[:15], x_valid=X[15:], y_valid=Y[15:])
    sources = [
        NPZ(FilePath("b.npz"), test=0.2),
        NPY(FilePath("x_train.npy"), FilePath("y_train.npy"), x_val=FilePath("x_val.npy"), y_val=FilePath("y_val.npy")),
        CSV(FilePath("train.csv"), "y", validation=FilePath("val.csv")),
    ]
    for source, (train, held_out, test) in zip(sources, [(12, 5, 3), (10, 3, 2), (10, 3, 2)], strict=True):
        data = source.load(Access())
        facts = data.facts
        assert (facts.train, facts.validation, facts.test) == (train + held_out, held_out, test)
        wanted = X[15:] if held_out == 5 else X[12:15]
        assert data.train.x[-held_out:].tolist() == wanted.tolist()
        mixed = np.concatenate([data.train.x[:-held_out], data.test.x])
        assert sorted(map(tuple, mixed.tolist())) == sorted(map(tuple, X[: len(mixed)].tolist()))


def test_other_samples_than_those_given(here: Path) -> None:
    text = spec("Linear(2)", data=given_arrays(here)[0], train="epochs = 1; validation = 0.2")
    ((code, message, help),) = findings(text)
    assert (code, help) == ("NN517", "remove `validation`")
    assert message == "the data has its own 3 validation samples, so `validation` cannot hold out more"
    assert findings(text.replace("; validation = 0.2", "")) == []
    ((code, message, help),) = findings(spec(train="validation = given"))
    assert (code, message) == ("NN517", "the data has no validation samples")
    assert findings(spec(train="epochs = 2; validation = 0.2")) == []  # as the help says
    (stratified,) = findings(text.replace("= 0.2", "= given; stratify = true"))
    assert stratified[1:] == (
        "`stratify` only applies to random validation samples, but `validation = given` is not random",
        "remove `stratify`",
    )


def test_a_word_of_a_validation_table_that_no_training_row_has(here: Path) -> None:
    given_arrays(here)
    (here / "val.csv").write_text("a,b,y\n1,2,maybe\n")
    data = 'CSV("train.csv", target="y", validation="val.csv")'
    ((code, message, _),) = findings(spec("Linear(2)", data=data))
    assert (code, message) == ("NN502", "val.csv, line 2, column `y`: no training row has the class `maybe`")


def test_lets_and_blocks_may_have_the_names_of_rules() -> None:
    text = spec(
        "last(8); Linear(10)",
        train="epochs = folds; validation = 0.2",
        more="let folds = 2\nblock last(given) { Linear(given); ReLU }",
    )
    assert findings(text) == []
    (lane,) = compiled(text).program.lanes
    assert (lane.train.epochs, lane.train.validation) == (2, 0.2)
    taken = spec(train="validation = given", more="let given = 0.3")
    assert compiled(taken).program.lanes[0].train.validation == 0.3


@pytest.mark.parametrize(
    ("word", "written"),
    [("KFold(5)", "folds"), ("TimeSeriesSplit(0.2)", "last"), ("validation_data", "given"), ("last(1.5)", "")],
)
def test_names_of_the_field(word: str, written: str) -> None:
    ((code, message, help),) = findings(spec(train=f"validation = {word}"))
    assert (f"`{written}`" in message + help) if written else "must be in (0, 1)" in message, (code, message, help)
