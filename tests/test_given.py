"""Data from Python: arrays, tables and files that the caller passes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnspec
from nnspec.data.given import given_data
from nnspec.data.source import Access
from nnspec.native import library

TEXT = """model { Linear(8); Tanh; Linear(3) }
loss = CrossEntropy
optimizer = Adam(lr=0.05)
train { epochs = 4; batch = 16 }
"""
NUMBERS = TEXT.replace("Linear(3)", "Linear(1)").replace("CrossEntropy", "MSE")
SPEC = nnspec.Spec.parse(TEXT)
COMPILED: dict[str, Any] = {"compiled": "always"} if library.available() else {}
NAMES = np.array(["setosa", "versicolor", "virginica"])


@pytest.fixture(scope="module")
def flowers() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 4))
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)


@pytest.fixture(scope="module")
def houses() -> Any:
    pandas = pytest.importorskip("pandas", reason="tables need pandas")
    rng = np.random.default_rng(0)
    size, town = rng.uniform(40, 200, 60), rng.choice(["Bern", "Basel"], 60)
    return pandas.DataFrame(
        {"size": size, "town": town, "new": rng.random(60) > 0.5, "price": size * 3 + (town == "Bern") * 50}
    )


def losses(result: Any) -> list[float]:
    return list(result["run"].history["loss"])


def test_arrays_train_as_the_same_arrays_in_a_file_do(flowers: Any, tmp_path: Path) -> None:
    x, y = flowers
    np.savez(tmp_path / "flowers.npz", x=x, y=y)
    there = nnspec.run(nnspec.Spec.parse(f'{TEXT}data = NPZ("flowers.npz")\n', folder=tmp_path))
    here = SPEC.run(data=(x, y))
    assert losses(here) == losses(there)
    assert here.data[0].sha256 == there.data[0].sha256
    assert losses(SPEC.run(data=tmp_path / "flowers.npz")) == losses(there)


def test_the_forms_of_the_same_data_train_alike(flowers: Any) -> None:
    x, y = flowers
    split = {"x_train": x[:60], "y_train": y[:60], "x_test": x[60:], "y_test": y[60:]}
    forms: list[Any] = [
        split,
        ((x[:60], y[:60]), (x[60:], y[60:])),
        {name: values.tolist() for name, values in split.items()},
        {name: np.asfortranarray(values) for name, values in split.items()},
        {"X": x[:60], "y": y[:60], "X_test": x[60:], "y_test": y[60:].astype(object)},
    ]
    assert len({tuple(losses(SPEC.run(data=form))) for form in forms}) == 1
    text = SPEC.run(data=split | {"y_train": NAMES[y[:60]], "y_test": NAMES[y[60:]]})
    assert losses(text) == losses(SPEC.run(data=split))
    assert {*text["run"].predict(x[:9])} <= {*NAMES}


@pytest.mark.parametrize("name", ["x_train", "x_test"])
def test_numbers_that_cannot_be_used_are_found_in_arrays_that_are_not_copied(flowers: Any, name: str) -> None:
    x, y = flowers
    data = {"x_train": x[:60].copy(), "y_train": y[:60], "x_test": x[60:].copy(), "y_test": y[60:]}
    data[name][7, 2] = np.inf
    with pytest.raises(nnspec.DataError, match=rf"`{name}\[7, 2\]` is inf"):
        SPEC.run(data=data)


def test_axes_and_splits_are_those_of_the_same_arrays_in_a_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, y = rng.integers(0, 256, (40, 5, 6, 3), np.uint8), rng.integers(0, 3, 40)
    split = {"x_train": images[:30], "y_train": y[:30], "x_test": images[30:], "y_test": y[30:]}
    np.savez(tmp_path / "images.npz", **split)
    axes = "axes=[rows, columns, channels]"
    there = nnspec.data.NPZ(str(tmp_path / "images.npz"), axes=("rows", "columns", "channels")).load(Access())
    given = nnspec.data.Given(axes=("rows", "columns", "channels"))
    here = given.load(Access(given=given_data(split)))
    assert (here.facts, here.sha256, here.divisor) == (there.facts, there.sha256, 255)
    text = f"{TEXT}data = Given(test=0, {axes})"
    assert nnspec.Spec.parse(text).run(data=(images, y)).data[0].shape == (3, 5, 6)


def test_without_a_test_set_samples_are_neither_copied_nor_shuffled(flowers: Any) -> None:
    x, y = flowers
    dataset = nnspec.data.Given(test=0.0).load(Access(given=given_data((x, y))))
    assert np.shares_memory(dataset.train.x, x)
    assert (len(dataset.test.x), dataset.facts.shuffled) == (0, False)


def test_alternatives_agree_on_whether_there_are_test_samples() -> None:
    text = f"{TEXT.replace('Linear(3)', 'Linear(2)')}data = Given(2, classes=2, test=0) or Moons(train=40, test=10)\n"
    assert "2 (features) in 2 classes, without test samples, `Moons` 2" in str(nnspec.Spec.parse(text).check())


def test_a_source_named_by_a_let_is_not_replaced(flowers: Any) -> None:
    spec = nnspec.Spec.parse(f"let own = Given(test=0.5)\n{TEXT}data = own\n")
    assert spec.run(data=flowers).data[0].test == 45


def test_texts_that_do_not_occur_in_training_are_noted(houses: Any) -> None:
    test = houses[:4].assign(town=["Bern", "Chur", "Chur", "Genf"])
    result = nnspec.Spec.parse(NUMBERS).run(data={"train": houses, "test": test}, target="price")
    assert "texts in 'town' that do not occur in training: 'Chur', 'Genf', in 3 rows" in " ".join(result.data[0].notes)


def test_objects_and_strings_of_numpy_are_labels_too(flowers: Any) -> None:
    x, y = flowers
    names = NAMES[y]
    same = [names, names.astype(np.dtypes.StringDType()), np.array([*names], object), names.astype(object)]
    assert len({tuple(losses(SPEC.run(data=(x, labels)))) for labels in same}) == 1
    two = nnspec.Spec.parse(TEXT.replace("Linear(3)", "Linear(2)"))
    booleans = np.array([*(y > 0)], object)
    assert losses(two.run(data=(x, booleans))) == losses(two.run(data=(x, y > 0)))


def test_validation_samples_are_used_for_validation(flowers: Any) -> None:
    x, y = flowers
    data = {
        "x_train": x[:50],
        "y_train": y[:50],
        "x_val": x[50:70],
        "y_val": y[50:70],
        "x_test": x[70:],
        "y_test": y[70:],
    }
    result = SPEC.run(data=data)
    assert (result.data[0].train, result["run"].held_out, result.data[0].test) == (50, 20, 20)
    assert "val_loss" in result["run"].history


def test_a_run_without_test_samples_measures_nothing_on_them(flowers: Any, kernels: Path, tmp_path: Path) -> None:
    spec = SPEC.with_({"data.test": 0})
    ways: list[dict[str, Any]] = [{}, COMPILED, {"stack": False}]
    results = [spec.run(data=flowers, out=tmp_path / "run", force=True, **way) for way in ways]
    assert len({tuple(losses(result)) for result in results}) == 1
    assert results[0]["run"].figures == ("loss", "accuracy")
    assert results[0].data[0].test == 0
    nnspec.runs.report([tmp_path / "run"])
    with pytest.raises(nnspec.SpecError, match="`test_loss` is not measured: there are no test samples"):
        spec.with_(train__early_stop="patience(2, of=test_loss)").run(data=flowers)
    with pytest.raises(nnspec.SpecError, match="`test_loss` is not measured: there are no test samples"):
        nnspec.Spec.parse(f"{TEXT}expect {{ test_loss < 1 }}", "a.nn").with_({"data.test": 0}).run(data=flowers)


def test_a_table_is_read_as_a_csv_file_is(houses: Any, tmp_path: Path) -> None:
    houses.to_csv(tmp_path / "houses.csv", index=False)
    spec = nnspec.Spec.parse(NUMBERS).with_(train__standardise=True, train__standardise_target=True)
    given = spec.run(data=houses.drop(columns="new"), target="price")
    read = spec.run(data=tmp_path / "houses.csv", target="price", set=['data.drop = ["new"]'])
    np.testing.assert_allclose(losses(given), losses(read), rtol=1e-12)
    assert given.data[0].columns == read.data[0].columns
    assert given.data[0].target_names == ("price",)
    lane = spec.run(data=houses, target="price")["run"]
    assert lane.predict(houses[:5]).shape == (5, 1)


def test_tables_of_other_libraries_are_read_alike(houses: Any) -> None:
    polars = pytest.importorskip("polars", reason="one of the tables is of polars")
    spec = nnspec.Spec.parse(NUMBERS)
    columns = {name: houses[name].tolist() for name in houses}

    class Other:
        def __dataframe__(self, *rest: Any, **more: Any) -> Any:
            return houses.__dataframe__(*rest, **more)

    assert losses(spec.run(data=polars.DataFrame(columns), target="price")) == losses(
        spec.run(data=houses, target="price")
    )
    roles = list(given_data({"train": houses, "test": houses[:9]}, "price").arrays)
    assert roles == ["x_train", "y_train", "x_test", "y_test"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda df: df.rename(columns={"price": "cost"}), "the table has no column 'price'; there are 'size'"),
        (lambda df: df.assign(date=np.datetime64("2026-01-01")), "column 'date' holds datetime64"),
        (lambda df: df.assign(town=[None] + ["Bern"] * 59), "column `town` has 1 missing values, the first in row 0"),
        (lambda df: df.assign(size=[1.0] * 59 + [np.nan]), "column `size` has 1 missing values, the first in row 59"),
        (lambda df: df.assign(town=[f"T{i}" for i in range(60)] * 1).assign(size=[[1]] * 60), "holds"),
        (lambda df: df[["price"]], "no column beside 'price'"),
        (lambda df: df.set_axis(["size", "size", "new", "price"], axis=1), "several columns 'size'"),
        (lambda df: df[[]], "no column 'price'; there are none"),
        (lambda df: df[:0], "`x_train` has no samples"),
        (lambda df: df.assign(size=[10**30] * 60), "`size` holds whole numbers beyond 64 bits"),
        (lambda df: df.assign(town=["Bern\0"] * 60), "`town` has text that ends in NUL"),
        (lambda df: df.assign(town=[Incomparable()] * 60), "`town` holds Incomparable, which is neither"),
        (lambda df: df.astype({"town": "string"}).replace("Bern", None), "column `town` has .* missing values"),
        (lambda df: df.astype({"new": "boolean"}).mask(df.new), "missing values"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(houses: Any, change: Any, message: str) -> None:
    with pytest.raises(nnspec.NnspecError, match=message):
        nnspec.Spec.parse(NUMBERS).run(data=change(houses), target="price")


class Incomparable:
    """An object that cannot be compared."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise TypeError


def test_columns_may_have_numbers_as_names_and_any_kind_of_text(houses: Any) -> None:
    numbered = houses.set_axis([0, 1, 2, 3], axis=1)
    plain = losses(nnspec.Spec.parse(NUMBERS).run(data=houses, target="price"))
    assert losses(nnspec.Spec.parse(NUMBERS).run(data=numbered, target=3)) == plain
    for town in (
        houses.town.astype("category"),
        [np.str_(name) for name in houses.town],
        houses.town.to_numpy().astype(np.dtypes.StringDType()).astype(object),
    ):
        assert losses(nnspec.Spec.parse(NUMBERS).run(data=houses.assign(town=town), target="price")) == plain


@pytest.mark.parametrize("target", [[], ["price", "price"]])
def test_targets_are_different_columns(houses: Any, target: Any) -> None:
    with pytest.raises(nnspec.DataError, match="`target` must name different columns"):
        nnspec.Spec.parse(NUMBERS).run(data=houses, target=target)


def test_a_lazy_table_is_refused() -> None:
    polars = pytest.importorskip("polars", reason="tables of polars")
    with pytest.raises(nnspec.DataError, match="a LazyFrame is computed later"):
        nnspec.Spec.parse(NUMBERS).run(data=polars.LazyFrame({"a": [1.0], "b": [2.0]}), target="b")
    wide = polars.DataFrame({"a": [1.0, 2.0], "b": [2.0, 3.0], "c": polars.Series([1, 2], dtype=polars.Int128)})
    with pytest.raises(nnspec.DataError, match="column 'c' cannot be converted to an array"):
        nnspec.Spec.parse(NUMBERS).run(data=wide, target="b")


def test_a_table_to_predict_has_columns_of_values_with_names_of_their_own(houses: Any) -> None:
    network = nnspec.Spec.parse(NUMBERS).run(data=houses, target="price")["run"]
    with pytest.raises(nnspec.DataError, match="the table has several columns `town`"):
        network.predict(houses[["size", "town", "new", "town"]])
    with pytest.raises(nnspec.DataError, match="column `size` of the table must be a list of values"):
        network.predict({"size": 100.0, "town": "Bern", "new": True})


@pytest.mark.parametrize("name", ["t\u3000\u202f\u2028.csv", "t.csv"])
def test_the_name_of_a_table_may_have_any_space(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("a,b\u3000c\n" + "\n".join(f"{i},{i % 2}" for i in range(40)))
    two = nnspec.Spec.parse(TEXT.replace("Linear(3)", "Linear(2)"))
    result = two.run(data=tmp_path / name, target="b\u3000c")
    assert (result.data[0].train, result.data[0].test) == (32, 8)
    with pytest.raises(nnspec.DataError, match="has characters that a spec cannot hold; rename it"):
        nnspec.Spec.parse(TEXT).run(data="t\x01.csv", target="b")
    with pytest.raises(nnspec.DataError, match="has characters that a spec cannot hold; rename it"):
        nnspec.Spec.parse(TEXT).run(data="t.csv", target=["b", "\udce9"])


def test_rows_with_missing_cells_are_dropped_on_request(houses: Any) -> None:
    table = houses.assign(town=[None, *houses.town[1:]], size=[*houses["size"][:59], np.nan])
    result = nnspec.Spec.parse(NUMBERS).run(data=table, target="price", set={"data.missing": "drop"})
    assert result.data[0].train + result.data[0].test == 58
    assert "2 of 60 samples contain NaN and were dropped" in " ".join(result.data[0].notes)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((np.zeros((3, 2)), [0, 1]), "`y` has 2 targets, but `X` has 3 samples"),
        ((np.zeros((0, 2)), []), "`X` has no samples"),
        (np.zeros((3, 2)), r"`data` must be \(X, y\), .*, not an ndarray"),
        (5, r"`data` must be .*, not an int"),
        (tuple(np.zeros((4, 3))), "with four arrays, say which is which"),
        ({"x_train": [[1.0]], "y_trian": [1]}, "unknown key 'y_trian'; did you mean 'y_train'"),
        ({"x_train": [[1.0]]}, "`data` has no 'y_train'"),
        ({"x_train": [[1.0]], "y_train": [1], "x_val": [[1.0]]}, "`data` has no 'y_val'"),
        ({"x": [[1.0]], "X": [[1.0]], "y": [1]}, "has both 'x' and 'X', which mean the same"),
        (([[1.0, 2.0]] * 3, [None, 1, 2]), r"`y` has missing values \(None\)"),
        (([[1.0, 2.0], [3.0]], [1, 2]), "`X` is not an array"),
        ((np.zeros((2, 2), complex), [0, 1]), "`X` holds complex128, not numbers or text"),
        ((np.zeros((2, 2), "datetime64[s]"), [0, 1]), "holds datetime64"),
        ((np.array([["a"], ["b"]]), [0, 1]), "`X` contains text, but samples must be numbers"),
        (([[np.nan], [1.0], [2.0], [3.0]], [0, 1, 0, 1]), r"`X\[0, 0\]` is NaN"),
        (([[object()], [1.0]], [0, 1]), "`X` holds float and object, which is neither numbers nor text"),
        ((np.ma.masked_equal([[1.0], [2.0]], 2.0), [0, 1]), "`X` has masked values"),
        ((np.array(1.0), [0, 1]), "`X` is a single value, not an array"),
        (([[1.0], [2.0]], np.array([10**30, 1])), "`y` holds whole numbers beyond 64 bits"),
        (([[10**400], [2]], [0, 1]), "`X` holds whole numbers beyond 64 bits"),
        (([[1.0], [2.0], [3.0]], np.array(["a\0", "a", "b"], object)), "`y` has text that ends in NUL"),
        ("flowers.parquet", "neither an .npz file nor a table"),
        ("flowers.csv", 'needs the column to predict: `target="COLUMN"`'),
    ],
)
def test_data_that_cannot_be_used_is_refused(data: Any, message: str) -> None:
    with pytest.raises(nnspec.NnspecError, match=message):
        nnspec.Spec.parse(TEXT).run(data=data)


def test_a_target_without_a_table_is_refused(flowers: Any) -> None:
    for data in (flowers, None):
        with pytest.raises(nnspec.DataError, match="`target` names a column"):
            SPEC.run(data=data, target="y")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("Given(features=5, classes=3)", "a sample of the data is 4 numbers, but the spec expects 5 numbers"),
        ("Given(4, 7)", None),
        ("Given(4, 2)", "the data has 3 classes, but the spec expects 2 classes"),
        ("Given(4, targets=1)", "the data has 3 classes, but the spec expects 1 numbers"),
    ],
)
def test_a_spec_says_what_data_it_expects(flowers: Any, source: str, message: str | None) -> None:
    model = TEXT.replace("Linear(3)", "Linear(7)")
    spec = nnspec.Spec.parse(f"{model}data = {source}\n")
    if message is None:
        assert spec.run(data=flowers).data[0].classes == 7
        return
    with pytest.raises(nnspec.SpecError, match=message) as error:
        spec.run(data=flowers)
    assert error.value.diagnostics[0].span.text in source


def test_a_spec_that_expects_data_is_checked_and_shown_without(
    flowers: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = nnspec.Spec.parse(f"{TEXT}data = Given(features=4, classes=3)\n")
    assert spec.check().ok
    spec.show()
    assert "131" not in capsys.readouterr().err
    with pytest.raises(nnspec.DataUnavailable, match=r"pass `data=\(X, y\)` to nnspec\.run"):
        spec.run()
    wrong = nnspec.Spec.parse(f"{TEXT.replace('Linear(3)', 'Linear(2)')}data = Given(features=4, classes=3)\n")
    assert not wrong.check().ok
    unknown = nnspec.Spec.parse(f"{TEXT}data = Given\n").check()
    assert "the number of features is unknown" in str(unknown)
    with pytest.raises(nnspec.SpecError, match="exclude each other"):
        nnspec.Spec.parse(f"{TEXT}data = Given(4, classes=3, targets=1)\n").run(data=flowers)


def test_a_spec_in_memory_is_not_changed_by_with_(flowers: Any) -> None:
    longer = SPEC.with_({"train.epochs": 6}, optimizer__lr=0.01).with_(train__epochs=2)
    assert longer.settings == {"train.epochs": 2, "optimizer.lr": 0.01}
    assert SPEC.settings == {}
    assert len(longer.run(data=flowers)["run"].records) == 2
    assert len(longer.run(data=flowers, set={"train.epochs": 3})["run"].records) == 3
    assert repr(longer) == "Spec(spec.nn, train.epochs = 2, optimizer.lr = 0.01)"
    with pytest.raises(nnspec.SpecError, match=r"spec\.nn:1"):
        nnspec.Spec.parse("model { Lineer(3) }").run(data=flowers)


def test_functions_of_a_path_take_a_spec_in_memory() -> None:
    spec = nnspec.Spec.parse(f"{TEXT}data = Blobs(train=40, test=10)\n")
    assert nnspec.check(spec).ok
    assert nnspec.resolved(spec) == spec.resolved()
    assert nnspec.diff(spec, spec).same
    assert nnspec.gradcheck(spec)[0].report.error < 1e-7


def test_on_epoch_is_called_and_stops_a_lane(flowers: Any, kernels: Path) -> None:
    race = nnspec.Spec.parse(f"{TEXT}race {{ A; B {{ optimizer = SGD(lr=0.1) }} }}\n".replace("A;", "A { }"))
    calls: list[tuple[str, int]] = []

    def on_epoch(lane: str, epoch: int, figures: Mapping[str, float]) -> bool:
        calls.append((lane, epoch))
        assert {"loss", "test_loss", "accuracy", "test_accuracy"} == {*figures}
        return lane == "A" and epoch == 2

    for way in ({}, {"stack": False}, COMPILED, {"jobs": 2}):
        calls.clear()
        result = race.run(data=flowers, on_epoch=on_epoch, **way)
        assert sorted(calls) == [("A", 1), ("A", 2), ("B", 1), ("B", 2), ("B", 3), ("B", 4)]
        assert (len(result["A"].records), result["A"].status) == (2, "done")
        assert result["A"].stopped == "after epoch 2: stopped by `on_epoch`"
        assert losses_of(result, "B") == losses_of(race.run(data=flowers), "B")
    with pytest.raises(TypeError, match="`on_epoch` must be a function of a lane, an epoch and its figures, not 3"):
        race.run(data=flowers, on_epoch=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`on_epoch` must return True to stop the lane, or None, not 'stop'"):
        race.run(data=flowers, on_epoch=lambda lane, epoch, figures: "stop")  # type: ignore[arg-type,return-value]
    with pytest.raises(ValueError, match="cannot be used with `cluster`"):
        race.run(data=flowers, on_epoch=on_epoch, cluster="dask://127.0.0.1:1")


def losses_of(result: Any, lane: str) -> list[float]:
    return list(result[lane].history["loss"])


def test_the_caller_s_arrays_are_neither_copied_nor_changed() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((20_000, 256), np.float32), rng.integers(0, 10, 20_000)
    before = x.copy()
    spec = nnspec.Spec.parse(TEXT.replace("Linear(3)", "Linear(10)")).with_(train__epochs=1, train__batch=64)
    data = {"x_train": x, "y_train": y, "x_test": x[:100], "y_test": y[:100]}
    spec.run(data={name: array[:200] for name, array in data.items()})  # what is imported and remembered once
    tracemalloc.start()
    spec.run(data=data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes / 4, f"{peak:,} bytes, beside the {x.nbytes:,} of the samples"
    np.testing.assert_array_equal(x, before)


def test_a_run_on_given_data_is_self_contained(flowers: Any, tmp_path: Path) -> None:
    x, y = flowers
    result = SPEC.run(data=(x, NAMES[y]), out=tmp_path / "run")
    predictor = nnspec.runs.load(tmp_path / "run")
    np.testing.assert_array_equal(predictor.predict(x), result["run"].predict(x))
    with pytest.raises(nnspec.DataUnavailable, match="data from Python"):
        nnspec.runs.verify(tmp_path / "run")
    assert nnspec.runs.verify(tmp_path / "run", data=(x, NAMES[y])).same
    assert not nnspec.runs.verify(tmp_path / "run", data=(x + 1, NAMES[y])).same
    figures = nnspec.runs.evaluate(tmp_path / "run", data=(x, NAMES[y]))[0].figures
    assert figures["test_accuracy"] == np.mean(result["run"].predict(x) == NAMES[y])
    with pytest.raises(nnspec.DataError, match="has a class `rose`, which was not in the training data"):
        nnspec.runs.evaluate(tmp_path / "run", data=(x[:2], ["rose", "setosa"]))


def test_a_run_on_a_table_is_evaluated_on_another_table(houses: Any, tmp_path: Path) -> None:
    nnspec.Spec.parse(NUMBERS).run(data=houses, target="price", out=tmp_path / "run")
    figures = nnspec.runs.evaluate(tmp_path / "run", data=houses[:20])[0].figures
    predictions = nnspec.runs.load(tmp_path / "run").predict(houses[:20])[:, 0]
    assert figures["test_loss"] == pytest.approx(np.mean((predictions - houses.price[:20]) ** 2), rel=1e-5)
    with pytest.raises(nnspec.DataError, match="the table has no column 'price'"):
        nnspec.runs.evaluate(tmp_path / "run", data=houses.drop(columns="price"))


def test_numbers_to_predict_have_no_classes() -> None:
    text = "model { Linear(data.classes) }; loss = MSE; optimizer = SGD(lr=0.1)"
    (found,) = nnspec.Spec.parse(text).check(data=(np.zeros((9, 2)), np.arange(9) / 2)).diagnostics
    assert (found.code, found.message) == ("NN305", "this data has no classes: its targets are numbers")
    assert found.span.text == "classes"


# The shape of a target


UPSCALING = """
data = Given(features=[1, 4, 4], targets=[1, 8, 8], test=0)
model { Conv2D(4, 3, padding=same); PixelShuffle(2) }
loss = MSE
optimizer = Adam
train.epochs = 1
"""
LABELLING = """
data = Given(features=7, ids=5, classes=5, targets=[4], test=0)
model { Embedding(8); LSTM(8, return_sequences=false); Reshape([4, 2]); Linear(5) }
loss = CrossEntropy
optimizer = Adam
train.epochs = 1
"""


@pytest.mark.parametrize(
    ("text", "x", "y", "wrong"),
    [
        (UPSCALING, np.ones((6, 1, 4, 4)), np.zeros((6, 1, 8, 8)), np.zeros((6, 1, 4, 16))),
        (LABELLING, np.arange(42).reshape(6, 7) % 5, np.arange(24).reshape(6, 4) % 5, np.zeros((6, 3), int)),
    ],
)
def test_targets_may_have_a_shape(text: str, x: Any, y: Any, wrong: Any) -> None:
    spec = nnspec.Spec.parse(text)
    assert spec.check().ok
    assert np.isfinite(spec.run(data=(x, y)).lanes["run"].history["loss"]).all()
    with pytest.raises(nnspec.SpecError, match="a target of the data is"):
        spec.run(data=(x, wrong))


def test_classes_and_a_number_of_targets_exclude_each_other() -> None:
    spec = nnspec.Spec.parse(LABELLING.replace("targets=[4]", "targets=4"))
    (found,) = spec.check().diagnostics
    assert "`targets` is their shape: `targets=[4]`" in found.message
