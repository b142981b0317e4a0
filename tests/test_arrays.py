"""Arrays as people have them: every dtype, labels that do not start at 0, names of arrays, numbers that are missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hostile_files import refused
from tiny_idx import NAMES, idx_bytes
from tiny_spec import run, spec

import nnspec
from nnspec import runs
from nnspec.checker import check
from nnspec.cli import _code as main_code
from nnspec.data import NPY, NPZ, Access, DataError
from nnspec.data.labels import Labels
from nnspec.data.numpy_source import read_samples
from nnspec.diagnostics import Source
from nnspec.engine.part import FilePath

pytestmark = pytest.mark.usefixtures("undrawn")

X = np.arange(48).reshape(12, 4) * 7 % 23  # 0 to 22: every type holds them
Y = X.sum(axis=1) % 3
INTEGERS = ["i1", "<i2", ">i2", "<i4", ">i4", "<i8", ">i8", "<u2", ">u2", "<u4", ">u4", "<u8", ">u8"]
FLOATS = ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def of(data: str, **more: str) -> str:
    train = more.pop("train", "epochs = 2; batch = 5; validation = 0.2")
    return spec("Linear(3); ReLU; Linear(data.classes)", data=data, train=train, **more)


def losses(text: str) -> list[float]:
    (lane,) = run(text).lanes.values()
    return [*lane.history["loss"], *lane.history["test_loss"], *lane.history["val_loss"]]


def save(kind: str, x: np.ndarray, y: np.ndarray) -> str:
    """Write arrays as a kind of file; return the source that reads it without shuffling."""
    if kind == "npz":
        np.savez("a.npz", x=x, y=y)
        return 'NPZ("a.npz", shuffle=false)'
    if kind == "npy":
        np.save("x.npy", x)
        np.save("y.npy", y)
        return 'NPY("x.npy", "y.npy", shuffle=false)'
    codes = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
    for name, array in zip(NAMES, (x[:10], y[:10], x[10:], y[10:]), strict=True):
        big = array.astype(array.dtype.newbyteorder(">"))
        Path(name).write_bytes(idx_bytes(array.shape, big.tobytes(), codes[array.dtype.str[1:]]))
    return 'IDX(".")'


@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_whole_numbers_stand_for_themselves_in_every_type(kind: str) -> None:
    # What PyTorch would be given: the same numbers as float64.
    expected = losses(of(save(kind, X.astype("<f8"), Y)))
    for dtype in [*INTEGERS, *FLOATS]:
        assert losses(of(save(kind, X.astype(dtype), Y))) == expected, dtype
    wide = "epochs = 2; batch = 5; standardise = true; validation = 0.2"
    expected_of_wide = losses(of(save(kind, X.astype("<f8"), Y), train=wide))
    for dtype in ("i1", "<u8"):
        found = losses(of(save(kind, X.astype(dtype), Y), train=wide))
        assert found == pytest.approx(expected_of_wide, rel=1e-5), dtype
    for dtype in ["u1", *INTEGERS]:
        assert losses(of(save(kind, X.astype("<f8"), Y.astype(dtype)))) == expected, dtype


def test_whole_numbers_of_idx_files_stand_for_themselves() -> None:
    expected = losses(of(save("idx", X.astype("<f8"), Y.astype("u1"))))
    for dtype in ("i1", "i2", "i4", "f4"):
        assert losses(of(save("idx", X.astype(dtype), Y.astype("u1")))) == expected, dtype
        if dtype != "f4":
            assert losses(of(save("idx", X.astype("<f8"), Y.astype(dtype)))) == expected, dtype


def test_bytes_are_divided_by_255_and_by_nothing_with_divisor_1() -> None:
    plain = "epochs = 2; batch = 5; validation = 0.2"
    as_bytes, as_floats = X.astype("u1"), X.astype("f4")
    expected = losses(of(save("npz", as_floats * np.float32(1 / 255), Y), train=plain))
    assert losses(of(save("npz", as_bytes, Y), train=plain)) == expected
    expected = losses(of(save("npz", as_floats, Y), train=plain))
    source = save("npz", as_bytes, Y).replace("shuffle", "divisor=1, shuffle")
    assert losses(of(source, train=plain)) == expected
    truth = X > 10
    expected = losses(of(save("npz", truth.astype("f4"), Y), train=plain))
    assert losses(of(save("npz", truth, Y), train=plain)) == expected


def test_whole_numbers_with_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    train = "epochs = 2; batch = 5; validation = 0.2; standardise = true"
    text = of(save("npz", X.astype(">i8"), Y), race="SGD; Adam", optimizer="", train=train)
    Path("a.nn").write_text(text)
    nnspec.run("a.nn", out="out", stack=False, jobs=2)
    for command in ("check a.nn", "show a.nn", "gradcheck a.nn", "eval out", "predict out a.npz"):
        assert main_code(command.split()) == 0, (command, capsys.readouterr())
    predictions = runs.predict(runs.load("out"), ["a.npz"])[0]
    np.savez("floats.npz", x=X.astype("f8"))
    same = runs.predict(runs.load("out"), ["floats.npz"])[0]
    assert predictions.outputs.tolist() == same.outputs.tolist()


# Labels


def found(text: str) -> list[tuple[str, str, str]]:
    """Return the findings of a spec: code, message and help."""
    return [(d.code, d.message, d.help) for d in check(Source("a.nn", text)).diagnostics]


def classes(y: np.ndarray, **arguments: object) -> tuple[list[int], tuple[str, ...]]:
    """Return the class of every sample, and what the classes are called."""
    np.savez("y.npz", x=np.arange(len(y)), y=y)
    data = NPZ(FilePath("y.npz"), shuffle=False, **arguments).load(Access())
    return [*data.train.y, *data.test.y], data.class_names


def test_labels_are_classes_as_scikit_learn_has_them() -> None:
    # classes_ and transform of sklearn.preprocessing.LabelEncoder, by hand
    assert classes(np.array([2, 1, 1, 2])) == ([1, 0, 0, 1], ("1", "2"))
    assert classes(np.array([0, 999, 0, 999])) == ([0, 1, 0, 1], ("0", "999"))
    assert classes(np.array([1, -1, 1, -1], "i1")) == ([1, 0, 1, 0], ("-1", "1"))
    assert classes(np.array(["dog", "ant", "cat", "dog"])) == ([2, 0, 1, 2], ("ant", "cat", "dog"))
    assert classes(np.array([b"dog", b"ant", b"dog", b"b\xff"])) == ([2, 0, 2, 1], ("ant", "b\\xff", "dog"))
    assert classes(np.array([True, False, True, True])) == ([1, 0, 1, 1], ("False", "True"))
    assert classes(np.array([0, 2**60 + 1, 2**60, 0])) == ([0, 2, 1, 0], ("0", str(2**60), str(2**60 + 1)))
    assert classes(np.array([2**64 - 1, 0, 0], "u8")) == ([1, 0, 0], ("0", str(2**64 - 1)))
    assert classes(np.array([2, 0, 1, 2])) == ([2, 0, 1, 2], ())


def test_labels_of_places_are_classes_too() -> None:
    masks = np.arange(24).reshape(6, 4) % 2 * 255
    np.savez("m.npz", x=masks, y=masks)
    data = NPZ(FilePath("m.npz"), shuffle=False, axes=("places",)).load(Access())
    assert (data.facts.classes, data.facts.target) == (2, (4,))
    assert data.train.y.tolist() == (masks[:5] // 255).tolist()
    assert data.class_names == ("0", "255")


def test_labels_that_do_not_start_at_0_are_reported_with_correct_help() -> None:
    text = of('NPZ("a.npz")', loss="CrossEntropy(class_weights=[1, 5])")
    np.savez("a.npz", x=X, y=Y % 2 + 1)
    ((code, message, help),) = found(text)
    assert code == "NN735"
    assert message == ("the labels in `y` are 1, 2, not 0 to 1; they become 2 classes named after them")
    assert help == "to number them from 0, save `numpy.unique(y, return_inverse=True)[1]`"
    np.savez("a.npz", x=X, y=np.unique(Y % 2 + 1, return_inverse=True)[1])
    assert found(text) == []


def test_a_label_that_marks_samples_without_one() -> None:
    y = np.where(np.arange(12) % 6 == 0, 255, Y % 2)
    np.savez("a.npz", x=X, y=y)
    text = of('NPZ("a.npz", shuffle=false)')
    ((code, message, help),) = found(text)
    assert (code, message) == (
        "NN738",
        "`y` contains the label 255 2 times, in addition to 0 to 1, and it counts as a class",
    )
    assert help == "if it marks samples without a label, `ignore = 255` drops them"
    text = text.replace("shuffle", "ignore = 255, shuffle")
    assert found(text) == []
    # Expected: the same as from a file without these samples.
    data = run(text).data[0]
    assert (data.train, data.test, data.classes) == (8, 2, 2)
    assert data.notes == ("2 of 12 samples have the label 255 and were dropped",)
    left = losses(text)
    np.savez("a.npz", x=X[y != 255], y=y[y != 255])
    assert losses(of('NPZ("a.npz", shuffle=false)')) == left
    with refused("`y` has no label 255 to ignore", "ignore"):
        NPZ(FilePath("a.npz"), ignore=255).facts()


@pytest.mark.parametrize(
    ("labels", "mark"),
    [
        ([-1, 0, 1], None),  # three classes, as of sentiments
        ([-1, 1], None),
        ([-1, 0, 1, 2], -1),
        ([-100, 0, 1], -100),
        ([1, 2, 255], 255),
        ([0, 255], None),
        ([253, 254, 255], None),
        ([0, 1, 3, 255], None),
        ([*range(256)], None),
    ],
)
def test_which_labels_look_like_marks(labels: list[int], mark: int | None) -> None:
    remarks = Labels(tuple(labels), (3,) * len(labels)).remarks("`y`", "path", ignore="{}")
    marks = [int(remark.help) for remark in remarks if remark.code == "NN738"]
    assert marks == ([] if mark is None else [mark])


def test_whole_numbers_that_measure() -> None:
    np.savez("a.npz", x=np.zeros((40, 2)), y=np.arange(40))
    ((code, message, help),) = found(spec("Linear(data.classes)", data='NPZ("a.npz")'))
    assert (code, message) == ("NN737", "`y` has 40 different labels in 40, each its own class")
    assert help == "for a regression, save the targets as floats"
    np.savez("a.npz", x=np.zeros((40, 2)), y=np.arange(40.0))
    assert found(spec("Linear(1)", data='NPZ("a.npz")', loss="MSE")) == []
    np.savez("a.npz", x=np.zeros(70_000), y=np.arange(70_000))
    with refused("`y` has more than 65,536 different labels, .*; for a regression, save the targets as floats"):
        NPZ(FilePath("a.npz")).facts()


# Names of arrays


@pytest.mark.parametrize(
    ("names", "counts"),
    [
        (("X", "y"), (9, 3)),
        (("data", "target"), (9, 3)),
        (("Features", "Labels"), (9, 3)),
        (("x_train", "y_train"), (9, 3)),
        (("X_train", "y_train", "X_test", "y_test"), (12, 12)),
        (("train_images", "train_labels", "test_images", "test_labels"), (12, 12)),  # as MedMNIST
    ],
)
def test_usual_names(names: tuple[str, ...], counts: tuple[int, int]) -> None:
    np.savez("a.npz", **dict(zip(names, (X, Y, X, Y), strict=False)))
    facts = NPZ(FilePath("a.npz"), test=0.25).facts()
    assert (facts.train, facts.test, facts.shape, facts.classes, facts.remarks) == (*counts, (4,), 3, ())
    np.savez("x.npz", **{names[0]: X})
    assert read_samples("x.npz").tolist() == X.tolist()


def test_arrays_that_nothing_uses_are_named() -> None:
    np.savez("a.npz", x_train=X, y_train=Y, x_test=X, y_test=Y, x_val=X, valid=Y)
    text = of('NPZ("a.npz")')
    ((code, message, help),) = found(text)
    assert (code, message) == ("NN736", "a.npz contains `x_val`, `valid`, which nothing uses")
    assert help == "name validation samples `x_val` and their targets `y_val`, or save the file without them"
    np.savez("a.npz", x_train=np.concatenate([X, X]), y_train=np.concatenate([Y, Y]), x_test=X, y_test=Y)
    assert found(text) == []
    np.savez("a.npz", x=X, X=X, y=Y)
    with refused("contains both `x` and `X`: which one is meant"):
        NPZ(FilePath("a.npz")).facts()


# Numbers that nothing can be computed with


@pytest.mark.parametrize("piece", [1 << 20, 3200])
def test_the_first_nan_has_its_place_and_all_are_counted(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnspec.data.array_file._PIECE", piece)
    x = np.random.default_rng(0).normal(size=(600, 40))
    y = (x[:, 0] > 0).astype(int)
    x[417, 23], x[500, 1] = np.nan, -np.inf
    np.savez("n.npz", x=x, y=y)
    place = r"n\.npz: `x\[417, 23\]` is NaN \(row 417, column 23, counted from 0\); 2 of 24,000 numbers are NaN"
    with pytest.raises(DataError, match=f"{place} or infinite; `missing = drop` drops samples with NaN"):
        NPZ(FilePath("n.npz")).load(Access())
    with pytest.raises(DataError, match=place):
        read_samples("n.npz")
    np.save("x.npy", np.asfortranarray(x.astype("f4")))
    np.save("y.npy", np.linspace(0, 1, 600))
    with pytest.raises(DataError, match=r"x\.npy: `x\[417, 23\]` is NaN"):
        NPY(FilePath("x.npy"), FilePath("y.npy")).load(Access())
    np.save("y.npy", np.where(np.arange(600) == 7, np.inf, 1.0))
    with pytest.raises(DataError, match=r"y\.npy: `y\[7\]` is inf \(row 7, counted from 0\); 1 of 600 numbers is"):
        NPY(FilePath("x.npy"), FilePath("y.npy")).load(Access())


def test_samples_with_nan_can_be_dropped() -> None:
    x = X.astype("f8")
    x[3, 1] = x[3, 2] = x[8, 0] = np.nan
    np.savez("a.npz", x=x, y=Y)
    text = of('NPZ("a.npz", shuffle=false, missing=drop)')
    assert found(text) == []
    use = run(text).data[0]
    assert use.notes == ("2 of 12 samples contain NaN and were dropped",)
    left = losses(text)
    kept = ~np.isnan(x).any(axis=1)
    np.savez("a.npz", x=x[kept], y=Y[kept])
    assert losses(of('NPZ("a.npz", shuffle=false)')) == left
    x[5, 3] = np.inf
    np.savez("a.npz", x=x, y=Y)
    with pytest.raises(DataError, match=r"`x\[5, 3\]` is inf .* 1 of 48 numbers"):
        NPZ(FilePath("a.npz"), missing="drop").load(Access())
    np.savez("a.npz", x=np.full((12, 4), np.nan), y=Y)
    with refused("no sample is left in `x`"):
        NPZ(FilePath("a.npz"), missing="drop").facts()


def test_shuffling_leaves_each_sample_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnspec.data.array_file._PIECE", 64)  # many pieces
    x = np.arange(100.0)
    x[[3, 50, 99]] = np.nan
    for order in ("C", "F"):
        np.savez("a.npz", x=np.asarray(np.stack([x, x], axis=1), order=order), y=np.arange(100) * 2)
        data = NPZ(FilePath("a.npz"), missing="drop", seed=4).load(Access())
        together = np.concatenate([data.train.x, data.test.x])
        labels = [int(data.class_names[y]) for y in (*data.train.y, *data.test.y)]
        assert (together[:, 0] * 2).tolist() == (together[:, 1] * 2).tolist() == labels
        assert sorted(labels) == [2 * i for i in range(100) if i not in (3, 50, 99)] != labels


def test_whole_numbers_that_no_float_holds() -> None:
    for dtype, value in (("i8", 2**53 + 1), ("u8", 2**63), ("i8", -(2**53) - 1)):
        x = X.astype(dtype)
        x[2, 1] = value
        np.savez("a.npz", x=x, y=Y)
        with pytest.raises(DataError, match=rf"`x\[2, 1\]` is {value:,} .* 1 of 48 numbers is beyond 2\^53; .*float64"):
            NPZ(FilePath("a.npz")).load(Access())
        x[2, 1] = 2**53
        np.savez("a.npz", x=x, y=Y)
        assert NPZ(FilePath("a.npz"), shuffle=False).load(Access()).train.x[2, 1] == 2**53


# Classes or numbers


@pytest.mark.parametrize(
    ("y", "loss", "outputs", "facts"),
    [
        (Y.astype("f8"), "CrossEntropy", 3, (3, ())),  # whole floats
        (Y.astype("f8")[:, None], "CrossEntropy", 3, (3, ())),
        (Y.astype("f8"), "MSE", 1, (None, ())),
        (Y > 1, "CrossEntropy", 2, (2, ())),
        (Y > 1, "BCEWithLogits", 1, (2, ())),
        (np.eye(3)[Y], "CrossEntropy", 3, (3, ())),  # one-hot rows
        (np.eye(3)[Y].astype(int), "CrossEntropy", 3, (3, ())),
        (np.eye(3)[Y].astype(bool), "CrossEntropy", 3, (3, ())),
        (np.eye(3)[Y], "BCEWithLogits", 3, (None, (3,))),
        (np.eye(2)[Y % 2], "BCEWithLogits", 2, (None, (2,))),
        (X[:, :3] % 2, "BCEWithLogits", 3, (None, (3,))),  # several labels a sample
        (X[:, :3] % 2 > 0, "BCEWithLogits", 3, (None, (3,))),
    ],
)
def test_targets_are_what_the_loss_takes(
    y: np.ndarray, loss: str, outputs: int, facts: tuple[int | None, tuple[int, ...]]
) -> None:
    np.savez("a.npz", x=X, y=y)
    train = "epochs = 1; batch = 4"
    text = spec(f"Linear({outputs})", data='NPZ("a.npz", shuffle=false)', loss=loss, train=train, more="metrics = []")
    checked = check(Source("a.nn", text))
    assert checked.diagnostics == ()
    assert checked.program is not None
    experiment = checked.program.lanes[0]
    assert (experiment.classes, experiment.target) == facts
    dataset = experiment.data[0].source.load(Access())
    dataset = dataset.as_classes() if experiment.data[0].as_classes else dataset
    expected = (y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 and facts[0] else y).reshape(12, *facts[1])
    assert [*dataset.train.y.tolist(), *dataset.test.y.tolist()] == expected.astype(float).tolist()
    assert len(run(text)["run"].history["loss"]) == 1


def test_labels_of_0_and_1_at_places_are_classes_to_a_loss_of_classes() -> None:
    np.savez("a.npz", x=X.reshape(12, 4, 1).astype("f4"), y=X % 2)
    text = spec("LSTM(3); Linear(2)", data='NPZ("a.npz")', train="epochs = 1; batch = 4")
    assert found(text) == []
    assert run(text).data[0].classes == 2


def test_a_stratified_split_has_each_class_in_its_share() -> None:
    y = np.repeat([0, 1, 2], [60, 30, 10])
    np.savez("a.npz", x=np.arange(100), y=y)
    for shuffle in (True, False):
        data = NPZ(FilePath("a.npz"), stratify=True, shuffle=shuffle).load(Access())
        assert np.bincount(data.test.y).tolist() == [12, 6, 2]
        together = np.concatenate([data.train.x, data.test.x])[:, 0]
        assert y[together].tolist() == [*data.train.y, *data.test.y]
        assert sorted(together) == list(range(100))
    np.savez("a.npz", x=np.arange(100), y=np.linspace(0, 1, 100))
    with refused("`stratify` needs one class per sample, and `y` has none", "stratify"):
        NPZ(FilePath("a.npz"), stratify=True).facts()
    np.savez("a.npz", x_train=X, y_train=Y, x_test=X, y_test=Y)
    with refused("`stratify` applies to a split, and this data has its own test samples", "stratify"):
        NPZ(FilePath("a.npz"), stratify=True).facts()


def test_dropped_samples_are_printed_and_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    x = X.astype("f8")
    x[3, 1] = np.nan
    np.savez("a.npz", x=x, y=np.array(["ant", "bee", "cat"])[Y])
    Path("a.nn").write_text(of('NPZ("a.npz", missing=drop)'))
    note = "1 of 12 samples contain NaN and were dropped"
    assert main_code(["run", "a.nn", "-q", "--out", "out"]) == 0
    assert f"– {note}\n" in capsys.readouterr().out
    record = json.loads(Path("out/summary.json").read_text())["data"][0]
    assert (record["notes"], record["class_names"]) == ([note], ["ant", "bee", "cat"])
    np.savez("x.npz", x=X)
    assert main_code(["predict", "out", "x.npz"]) == 0
    assert {line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("x.npz")} <= {
        *("ant", "bee", "cat")
    }
    assert main_code(["report", "out"]) == 0
    assert note in Path("out/report.html").read_text()
