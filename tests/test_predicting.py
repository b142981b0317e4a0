"""What trained networks are asked: values as the data source gives them, from Python and the command line alike."""

from __future__ import annotations

import csv
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_spec import spec

from nnspec import run, runs
from nnspec.cli.eval import command as eval_command
from nnspec.cli.predict import command
from nnspec.data.source import FileFault
from nnspec.results.run import RunResult

TABLE = "colour,size,kind\n" + "\n".join(
    f"{('red', 'blue')[i % 3 % 2]},{i % 7 + (i % 2) * 5},{'ab'[i % 2]}" for i in range(40)
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A run on a table with text, standardised; its folder is `out`."""
    place = tmp_path_factory.mktemp("table")
    (place / "table.csv").write_text(TABLE)
    text = spec(
        "Linear(4); ReLU; Linear(data.classes)",
        data='CSV("table.csv", target="kind")',
        train="epochs = 2; batch = 8; standardise = true; repeats = 2; validation = 0.2",
    )
    (place / "tiny.nn").write_text(text)
    return run(place / "tiny.nn", out=place / "out")


def by_hand(lane: Any, rows: list[tuple[str, float]]) -> list[str]:
    """What the network of a lane makes of rows of colour and size, in plain float64 NumPy."""
    x = np.array([[colour == "blue", colour == "red", size] for colour, size in rows], float)
    mean, deviation = lane.scaling
    weights = {name: array.astype(float) for name, array in lane.network.state_dict().items()}
    hidden = np.maximum((x - mean) / deviation @ weights["Linear1.weight"] + weights["Linear1.bias"], 0)
    scores = hidden @ weights["Linear2.weight"] + weights["Linear2.bias"]
    return ["ab"[i] for i in scores.argmax(axis=1)]


ROWS = [("red", 2.0), ("blue", 9.0), ("red", 11.0), ("blue", 0.0)]


def test_a_lane_predicts_as_the_command_line_does(table: RunResult, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("size,colour,remark\n" + "".join(f"{size},{colour},-\n" for colour, size in ROWS))
    for one in (table["run"], *table["run"].repeats):
        assert one.predict(path).tolist() == by_hand(one, ROWS)
        columns = {"size": [size for _, size in ROWS], "colour": [colour for colour, _ in ROWS]}
        assert one.predict(columns).tolist() == by_hand(one, ROWS)
    words = [str(table.folder), str(path), "--out", str(tmp_path / "told.csv")]
    done = CliRunner().invoke(command, words, standalone_mode=False)
    assert done.exception is None, done.output
    with (tmp_path / "told.csv").open() as file:
        assert [row["class"] for row in csv.DictReader(file)] == by_hand(table["run"], ROWS)


def test_each_repeat_answers_with_its_own_scaling(table: RunResult) -> None:
    one, other = table["run"].repeats
    assert not np.array_equal(one.scaling[0], other.scaling[0])  # type: ignore[index]
    for each in (one, other):
        loaded = runs.load(str(table.folder), seed=each.seed)
        rows = {"colour": [colour for colour, _ in ROWS], "size": [size for _, size in ROWS]}
        np.testing.assert_array_equal(loaded.outputs(rows), each.predictor.outputs(rows))  # type: ignore[union-attr]


def test_classes_that_are_numbers_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{i},{3 + i % 2}\n" for i in range(20)))
    (tmp_path / "tiny.nn").write_text(spec("Linear(2)", data='CSV("t.csv", target="y", categories=["y"])'))
    found = run(tmp_path / "tiny.nn")["run"].predict([[1.0], [2.0]])
    assert found.dtype.kind == "i"
    assert set(found.tolist()) <= {3, 4}


def test_cells_that_are_filled_are_noted(tmp_path: Path) -> None:
    """An empty cell becomes the mean of the training data, as in training, and the note says so."""
    rows = "".join(f"{size},{'ab'[size % 2]}\n" for size in range(10))
    (tmp_path / "table.csv").write_text("size,kind\n" + rows + ",a\n")
    text = spec(
        "Linear(2)", data='CSV("table.csv", target="kind", missing=mean, shuffle=false)', train="epochs = 1; batch = 4"
    )
    (tmp_path / "tiny.nn").write_text(text)
    lane = run(tmp_path / "tiny.nn")["run"]
    (tmp_path / "new.csv").write_text('size\n3\n""\n')
    mean = np.mean(range(9))  # of the first nine of eleven rows; a fifth is held out for testing
    with pytest.warns(UserWarning, match=f"1 empty cell of column `size`: filled with .* the training data, {mean:g}$"):
        filled = lane.predict(tmp_path / "new.csv")
    assert filled.tolist() == lane.predict({"size": [3.0, mean]}).tolist()


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A run on an array of numbers from 0 to 1."""
    place = tmp_path_factory.mktemp("floats")
    rng = np.random.default_rng(0)
    x = rng.random((60, 4, 4)).astype("f4")
    np.savez(place / "f.npz", x_train=x, y_train=np.arange(60) % 2, x_test=x[:10], y_test=np.arange(10) % 2)
    (place / "tiny.nn").write_text(spec("Flatten; Linear(2)", data='NPZ("f.npz")', train="epochs = 1; batch = 16"))
    return run(place / "tiny.nn", out=place / "out")


def test_another_range_is_noted_in_python_and_on_the_command_line(floats: RunResult, tmp_path: Path) -> None:
    x = np.random.default_rng(1).random((5, 4, 4))
    bytes_ = (x * 255).astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        floats["run"].predict(x)
        floats["run"].predict(x * 1.2 - 0.1)  # a little more than what was trained on is the same kind
    with pytest.warns(
        UserWarning, match=r"contains values from \d+ to 2\d\d, but the network was trained on [\d.e-]+ to 0\.99"
    ):
        floats["run"].predict(bytes_)
    with pytest.warns(UserWarning, match="contains only the value 99, but"):
        floats["run"].predict(np.full((2, 4, 4), 99.0))
    np.save(tmp_path / "u8.npy", bytes_)
    done = CliRunner().invoke(command, [str(floats.folder), str(tmp_path / "u8.npy")], standalone_mode=False)
    assert "note: " in done.stderr
    assert "but the network was trained on" in done.stderr


def test_numbers_are_used_unchanged(tmp_path: Path) -> None:
    """Of images, bytes: numbers from 0 to 1 are nearly black, and noted."""
    (tmp_path / "tiny.nn").write_text(spec("Linear(10)"))
    lane = run(tmp_path / "tiny.nn")["run"]
    x = np.random.default_rng(0).integers(0, 256, (3, 784))
    weights = lane.network.state_dict()
    expected = x / 255 @ weights["Linear1.weight"].astype(float) + weights["Linear1.bias"]
    np.testing.assert_allclose(lane.predictor.outputs(x), expected, atol=1e-5)  # type: ignore[union-attr]
    with pytest.warns(UserWarning, match="trained on 0 to 255"):
        shares = lane.predictor.outputs(x / 255)  # type: ignore[union-attr]
    expected = x / 255 / 255 @ weights["Linear1.weight"].astype(float) + weights["Linear1.bias"]
    np.testing.assert_allclose(shares, expected, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_is_an_error_with_its_row_and_column(floats: RunResult, tmp_path: Path, value: float) -> None:
    x = np.zeros((3, 4, 4))
    x[2, 1, 3] = x[2, 2, 0] = value
    what = "NaN" if np.isnan(value) else "inf"
    where = rf"`x\[2, 1, 3\]` is {what} \(row 2, counted from 0\); 2 of 48 numbers are NaN or infinite"
    with pytest.raises(ValueError, match=where):
        floats["run"].predict(x)
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(FileFault, match=where):
        runs.predict(runs.load(str(floats.folder)), [tmp_path / "x.npy"])
    with pytest.raises(ValueError, match=r"`x\[0, 5\]` is .* \(row 0, column 5, counted from 0\)"):
        floats["run"].predict([[0.0] * 5 + [value] + [0.0] * 10])


def test_a_column_out_of_range_is_named(table: RunResult) -> None:
    with pytest.warns(UserWarning, match="in column `size`, but the network was trained on 0 to 11"):
        table["run"].predict({"colour": ["red"], "size": [4000.0]})


def test_what_does_not_fit_is_refused(table: RunResult, floats: RunResult) -> None:
    with pytest.raises(ValueError, match="has no column `size`"):
        table["run"].predict({"colour": ["red"]})
    with pytest.raises(ValueError, match="`green` does not occur in the training data"):
        table["run"].predict({"colour": ["green"], "size": [1]})
    with pytest.raises(ValueError, match=r"holds 3×5, but the network expects samples of 4×4"):
        floats["run"].predict(np.zeros((3, 5)))
    with pytest.raises(ValueError, match="samples must be numbers"):
        floats["run"].predict([["a", "b"]])


def test_a_lane_that_diverged_has_none(tmp_path: Path) -> None:
    (tmp_path / "tiny.nn").write_text(spec(optimizer="SGD(lr=1e30)"))
    with pytest.raises(ValueError, match="has no trained network: its status is diverged"):
        run(tmp_path / "tiny.nn")["run"].predict(np.zeros((1, 784)))


# Evaluated over given samples


def test_other_samples_are_evaluated_without_the_data_of_the_run(table: RunResult, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(str(table.folder), moved)
    labels = ["a", "b", "b", "a"]
    lines = [f"{kind},{size},{colour}\n" for (colour, size), kind in zip(ROWS, labels, strict=True)]
    (tmp_path / "new.csv").write_text("kind,size,colour\n" + "".join(lines))
    found = runs.evaluate(moved, data=tmp_path / "new.csv")
    assert len(found) == 2
    for one, lane in zip(found, table["run"].repeats, strict=True):
        weights = {name: array.astype(float) for name, array in lane.network.state_dict().items()}
        x = np.array([[colour == "blue", colour == "red", size] for colour, size in ROWS], float)
        mean, deviation = lane.scaling  # type: ignore[misc]
        hidden = np.maximum((x - mean) / deviation @ weights["Linear1.weight"] + weights["Linear1.bias"], 0)
        z = hidden @ weights["Linear2.weight"] + weights["Linear2.bias"]
        right = np.array(["ab".index(label) for label in labels])
        expected = np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(4), right])
        assert one.figures["test_loss"] == pytest.approx(expected, rel=1e-5)
        assert one.figures["test_accuracy"] == np.mean(z.argmax(axis=1) == right)
        assert one.recorded == {}
    done = CliRunner().invoke(eval_command, [str(moved), "--data", str(tmp_path / "new.csv")], standalone_mode=False)
    assert done.return_value == 0
    assert "as recorded" not in done.stdout
    (tmp_path / "new.csv").write_text("kind,size,colour\nc,1,red\n")
    with pytest.raises(
        FileFault, match="has a class `c`, which was not in the training data; its classes are `a`, `b`"
    ):
        runs.evaluate(moved, data=tmp_path / "new.csv")


def test_arrays_are_evaluated_too(floats: RunResult, tmp_path: Path) -> None:
    with np.load(Path(str(floats.folder)).parent / "f.npz") as archive:
        np.savez(tmp_path / "again.npz", x=archive["x_test"], y=archive["y_test"])
    (one,) = runs.evaluate(str(floats.folder), data=tmp_path / "again.npz")
    (own,) = runs.evaluate(str(floats.folder))
    assert one.figures == own.figures == {name: own.recorded[name] for name in own.figures}
    np.savez(tmp_path / "again.npz", x=np.zeros((2, 4, 4)))
    with pytest.raises(FileFault, match="has no array `y`"):
        runs.evaluate(str(floats.folder), data=tmp_path / "again.npz")


def test_a_folder_that_a_run_would_not_look_into_is_refused(table: RunResult, tmp_path: Path) -> None:
    with pytest.raises(
        runs.RunError, match=r"--data-dir has no effect on .* `nnspec eval RUN --data FILE` uses a different"
    ):
        runs.evaluate(str(table.folder), data_dir=tmp_path)


LABELS = {
    "text": np.array(["no", "yes"]),
    "bytes": np.array([b"no", b"yes"]),
    "truth values": np.array([False, True]),
    "large numbers": np.array([12345678, 12345679]),
    "from one on": np.array([1, 2], np.uint8),
    "whole floats": np.array([1.0, 2.0]),
    "one-hot rows": np.eye(2),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_arrays_are_evaluated_with_any_labels_that_are_trained_on(labels: np.ndarray, tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(12, 2)
    classes = np.array([0, 0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1])
    np.savez(tmp_path / "a.npz", x=x, y=labels[classes])
    (tmp_path / "tiny.nn").write_text(spec("Linear(2)", data='NPZ("a.npz")'))
    lane = run(tmp_path / "tiny.nn", out=tmp_path / "out")["run"]
    (found,) = runs.evaluate(tmp_path / "out", data=tmp_path / "a.npz")
    weights = lane.network.state_dict()
    outputs = x @ weights["Linear1.weight"] + weights["Linear1.bias"]
    assert found.figures["test_accuracy"] == np.mean(outputs.argmax(axis=1) == classes)


def test_labels_of_places_are_classes_too(tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 60).reshape(10, 3, 2)
    classes = np.arange(30).reshape(10, 3) % 7 % 2
    np.savez(tmp_path / "a.npz", x=x, y=classes + 1)
    (tmp_path / "tiny.nn").write_text(spec("Linear(2)", data='NPZ("a.npz")'))
    lane = run(tmp_path / "tiny.nn", out=tmp_path / "out")["run"]
    (found,) = runs.evaluate(tmp_path / "out", data=tmp_path / "a.npz")
    weights = lane.network.state_dict()
    outputs = x @ weights["Linear1.weight"] + weights["Linear1.bias"]
    assert found.figures["test_accuracy"] == pytest.approx(np.mean(outputs.argmax(axis=2) == classes))


def test_the_class_of_an_image_is_its_sub_folder_at_any_depth(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for kind in "ab":
        for place in (f"train/{kind}", f"test/{kind}/deep"):
            (tmp_path / "all" / place).mkdir(parents=True)
            for i in range(3):
                image.new("L", (2, 2), 10 * i + 200 * (kind == "b")).save(tmp_path / "all" / place / f"{i}.png")
    (tmp_path / "tiny.nn").write_text(spec("Linear(2)", data='Images("all")'))
    run(tmp_path / "tiny.nn", out=tmp_path / "out")
    (found,) = runs.evaluate(tmp_path / "out", data=tmp_path / "all" / "test")
    (own,) = runs.evaluate(tmp_path / "out")
    assert found.figures == own.figures
    with pytest.raises(
        FileFault, match="has a class `test`, which was not in the training data; its classes are `a`, `b`"
    ):
        runs.evaluate(tmp_path / "out", data=tmp_path / "all")
    with pytest.raises(FileFault, match=r"0\.png is not in a sub-folder of .*/a/deep"):
        runs.evaluate(tmp_path / "out", data=tmp_path / "all" / "test" / "a" / "deep")


def test_a_table_is_read_as_that_of_training_was_written(tmp_path: Path) -> None:
    rows = "".join(f"{i // 2},{5 * (i % 2)};{3 * i},25\n" for i in range(30))
    (tmp_path / "t.csv").write_text("x;y\n" + rows)
    data = 'CSV("t.csv", target="y", delimiter=";", decimal=",")'
    (tmp_path / "tiny.nn").write_text(spec("Linear(1)", loss="MSE", optimizer="SGD(lr=1e-4)", data=data))
    lane = run(tmp_path / "tiny.nn", out=tmp_path / "out")["run"]
    weights = lane.network.state_dict()
    expected = [x * float(weights["Linear1.weight"][0, 0]) + float(weights["Linear1.bias"][0]) for x in (1.5, 2.25)]
    (tmp_path / "new.csv").write_text("y;x\n1,0;1,5\n2,5;2,25\n")
    np.testing.assert_allclose(lane.predict(tmp_path / "new.csv")[:, 0], expected, rtol=1e-5)
    (one,) = runs.evaluate(tmp_path / "out", data=tmp_path / "new.csv")
    assert one.figures["test_loss"] == pytest.approx(np.mean((np.array(expected) - [1.0, 2.5]) ** 2), rel=1e-4)
