"""Windows of a time series: which rows they have, that nothing leaks from later rows, and networks that forecast."""

from __future__ import annotations

import json
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_files import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_spec import command, compiled, run, spec

from nnspec.checker import check
from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import Plan
from nnspec.data import CSV, Access, Dataset
from nnspec.data.windows import Windows
from nnspec.diagnostics import Source
from nnspec.export.program import program_of
from nnspec.export.verify import random_samples
from nnspec.runs import load as load_network

ROWS = 60
RNG = np.random.default_rng(0)
TABLE = np.stack([np.sin(np.arange(ROWS) / 3), RNG.normal(size=ROWS), RNG.uniform(5, 9, ROWS)], axis=1).round(4)
MODEL = "GRU(4, return_sequences=false); Linear(1)"


def text(table: Any = TABLE, names: str = "temperature,wind,pressure") -> str:
    return names + "\n" + "".join(",".join(map(str, row)) + "\n" for row in np.asarray(table).tolist())


def series(folder: Path, table: Any = TABLE, **arguments: Any) -> CSV:
    (folder / "t.csv").write_text(table if isinstance(table, str) else text(table), encoding="utf-8")
    return CSV(folder / "t.csv", **({"target": "temperature", "window": 5} | arguments))


def load(source: CSV) -> Dataset:
    data = source.load(Access())
    assert data.facts == source.facts()
    assert (len(data.train.y), len(data.test.y)) == (data.facts.train, data.facts.test)
    return data


def forecast(folder: Path, arguments: str = "", train: str = "epochs = 2; batch = 8", **others: Any) -> str:
    (folder / "t.csv").write_text(text(), encoding="utf-8")
    data = f'CSV("{(folder / "t.csv").as_posix()}", target="temperature", window=5{arguments})'
    return spec(others.pop("model", MODEL), data=data, loss="MSE", train=train, **others)


def plan_of(text: str) -> Plan:
    program = compiled(text)
    (experiment,) = program.program.lanes
    return plan_alone(experiment, program.layouts["run"], experiment.data[0].source.load(Access()))


# Which rows


@pytest.mark.parametrize(
    ("window", "horizon", "stride", "sampling"),
    [(5, 1, 1, 1), (1, 1, 1, 1), (4, 3, 1, 1), (5, 1, 2, 1), (3, 1, 1, 4), (4, 2, 3, 2), (6, 1, 6, 1), (2, 9, 11, 3)],
)
def test_samples_are_windows_and_targets_later_rows(
    tmp_path: Path, window: int, horizon: int, stride: int, sampling: int
) -> None:
    data = load(series(tmp_path, window=window, horizon=horizon, stride=stride, sampling=sampling, test=0.4))
    assert data.facts.shape == (window, 3)
    assert data.facts.axes == ("places", "features")
    for split, table in ((data.train, TABLE[:36]), (data.test, TABLE[36:])):
        reach = (window - 1) * sampling + 1
        every = np.lib.stride_tricks.sliding_window_view(table[: len(table) - horizon], reach, axis=0)
        windows = every[::stride, :, ::sampling].transpose(0, 2, 1)
        np.testing.assert_array_equal(split.x.reshape(-1, window, 3), windows)
        np.testing.assert_array_equal(split.y, table[reach - 1 + horizon :: stride, 0])


@given(*(st.integers(1, 6) for _ in range(4)), st.integers(0, 40))
@settings(deadline=None)
def test_every_window_that_fits_is_a_sample(length: int, horizon: int, stride: int, sampling: int, rows: int) -> None:
    windows, table = Windows(length, horizon, stride, sampling), np.arange(rows)[:, None]
    starts = [at for at in range(0, rows, stride) if at + (length - 1) * sampling + horizon < rows]
    assert windows.count(rows) == len(starts)
    shared = [[*range(at, at + windows.span)] for at in (i * stride for i in range(windows.overlap + 2))]
    assert all({*shared[0]} & {*one} for one in shared[: windows.overlap + 1])
    assert not {*shared[0]} & {*shared[-1]}
    if starts:
        samples = windows.samples(table)
        assert samples.tolist() == [[at + place * sampling for place in range(length)] for at in starts]
        assert windows.targets(table[:, 0]).tolist() == [row[-1] + horizon for row in samples.tolist()]


def test_windows_are_views_of_one_table(tmp_path: Path) -> None:
    x = load(series(tmp_path)).train.x
    assert x.strides == (24, 8)
    assert np.shares_memory(x[0], x[1])


def test_windows_that_skip_rows_are_copied_once() -> None:
    table = np.arange(40_000.0).reshape(-1, 2)
    tracemalloc.start()
    x = Windows(100, stride=50, sampling=4).samples(table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert x.nbytes <= peak < 1.5 * x.nbytes


def test_rows_keep_their_order_and_columns_their_choice(tmp_path: Path) -> None:
    assert load(series(tmp_path)).sha256 == load(series(tmp_path, shuffle=False)).sha256
    assert [c.name for c in load(series(tmp_path)).columns] == ["temperature", "wind", "pressure"]
    assert [c.name for c in load(series(tmp_path, drop=("temperature",))).columns] == ["wind", "pressure"]
    data = load(series(tmp_path, features=("wind", "temperature"), target=("temperature", "pressure")))
    assert data.facts.shape == (5, 2)
    np.testing.assert_array_equal(data.train.x[0].reshape(5, 2), TABLE[:5, [1, 0]])
    np.testing.assert_array_equal(data.train.y[0], TABLE[5, [0, 2]])


def test_the_same_table_with_and_without_windows(tmp_path: Path) -> None:
    assert series(tmp_path).facts().shape == (5, 3)
    assert CSV(tmp_path / "t.csv", target="temperature").facts().shape == (2,)
    assert series(tmp_path).facts().shape == (5, 3)


def test_a_target_is_no_odd_feature(tmp_path: Path) -> None:
    assert not series(tmp_path).facts().remarks
    two = text(np.repeat(TABLE, 2, axis=1)[:, :2], "temperature,copy")
    assert [each.code for each in series(tmp_path, two, window=None, test=0.2).facts().remarks] == ["NN726"]
    assert not series(tmp_path, two).facts().remarks


def test_other_tables_are_cut_on_their_own(tmp_path: Path) -> None:
    for name, part in (("val", TABLE[30:42]), ("test", TABLE[42:])):
        (tmp_path / f"{name}.csv").write_text(text(part), encoding="utf-8")
    paths = {"validation": tmp_path / "val.csv", "test": tmp_path / "test.csv"}
    data = load(series(tmp_path, TABLE[:30], **paths))
    assert (data.facts.train, data.facts.validation, data.facts.test) == (25 + 7, 7, 13)
    np.testing.assert_array_equal(data.train.x[25].reshape(5, 3), TABLE[30:35])
    np.testing.assert_array_equal(data.train.y[-7:], TABLE[35:42, 0])
    np.testing.assert_array_equal(data.test.y, TABLE[47:, 0])


def test_classes_of_later_rows(tmp_path: Path) -> None:
    words = ["dry", "rain", "snow"]
    table = "sky,wind\n" + "".join(f"{words[i * i % 3]},{i / 7:.3f}\n" for i in range(30))
    data = load(series(tmp_path, table, target="sky", window=3, test=0.3))
    assert (data.facts.shape, data.facts.classes, data.class_names) == ((3, 3), 2, ("dry", "rain"))
    assert data.train.y.tolist() == [int(i * i % 3 == 1) for i in range(3, 21)]
    assert data.feature_names == ("sky=dry", "sky=rain", "wind")


# Nothing leaks


@pytest.mark.parametrize("row", [0, 7, 30, 47, 48, 59])
def test_a_row_is_only_in_the_windows_that_reach_it(tmp_path: Path, row: int) -> None:
    arguments = {"window": 4, "horizon": 3, "stride": 2}
    before = load(series(tmp_path, **arguments))
    changed = TABLE.copy()
    changed[row] += 100
    after = load(series(tmp_path, changed, **arguments))
    for one, other, first, rows in ((before.train, after.train, 0, 48), (before.test, after.test, 48, 12)):
        starts = first + 2 * np.arange(len(one.y))
        assert starts[-1] + 6 < first + rows
        reached = (starts <= row) & (row < starts + 4)
        assert ((one.x != other.x).any(axis=1) == reached).all()
        assert ((one.y != other.y) == (starts + 6 == row)).all()


def test_scales_and_means_are_of_training_rows(tmp_path: Path) -> None:
    train = "epochs = 2; batch = 8; standardise = true; standardise_target = true; validation = last(0.25)"
    plan = plan_of(forecast(tmp_path, train=train))
    trained, held_out = plan.data.order, plan.data.held_out_samples
    assert plan.data.scaling is not None
    assert plan.data.target_scaling is not None
    last = max(trained) + 5  # the row of its target
    windows = np.lib.stride_tricks.sliding_window_view(TABLE[:last], 5, axis=0)
    for found, wanted in zip(plan.data.scaling, (windows.mean((0, 2)), windows.std((0, 2))), strict=True):
        np.testing.assert_allclose(found, np.tile(wanted, 5), rtol=1e-12)
    np.testing.assert_allclose(plan.data.target_scaling[0], TABLE[5 : last + 1, 0].mean(), rtol=1e-12)
    assert last < min(held_out)


def test_later_rows_do_not_change_what_is_learned(tmp_path: Path) -> None:
    train = "epochs = 2; batch = 8; standardise = true; validation = last(0.25)"
    source = forecast(tmp_path, train=train)
    plan = plan_of(source)
    last = int(max(plan.data.order)) + 5
    weights = []
    for factor in (1.0, -1000.0):
        changed = TABLE.copy()
        changed[last + 1 :] *= factor
        (tmp_path / "t.csv").write_text(text(changed), encoding="utf-8")
        lane = run(source).lanes["run"]
        weights.append({**lane.network.state_dict()})
    for name, array in weights[0].items():
        np.testing.assert_array_equal(array, weights[1][name])


def test_missing_cells_are_filled_with_means_of_training_rows(tmp_path: Path) -> None:
    table = text().splitlines()
    for row in (3, 55):
        temperature, _, pressure = table[row + 1].split(",")
        table[row + 1] = f"{temperature},,{pressure}"
    data = load(series(tmp_path, "\n".join(table) + "\n", missing="mean", test=0.5))
    mean = np.delete(TABLE[:30, 1], 3).mean()
    assert data.train.x[0].reshape(5, 3)[3, 1] == pytest.approx(mean, rel=1e-12)
    assert data.test.x[-1].reshape(5, 3)[1, 1] == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize(("stride", "horizon"), [(1, 1), (2, 4), (6, 1), (3, 2)])
def test_training_and_validation_samples_share_no_row(tmp_path: Path, stride: int, horizon: int) -> None:
    more = f", stride={stride}, horizon={horizon}, test=0"
    plan = plan_of(forecast(tmp_path, more, train="epochs = 1; batch = 4; validation = last(0.3)"))
    trained, held_out = sorted(plan.data.order), plan.data.held_out_samples
    experiment = plan.experiment
    assert len(trained) == experiment.train.trained_on(*experiment.facts.counts)
    assert plan.batches == experiment.steps_per_epoch
    end = trained[-1] * stride + 4 + horizon
    assert end < held_out[0] * stride <= end + stride  # nothing is wasted


# Errors


def findings(source: str) -> list[tuple[str, str]]:
    return [(each.code, each.message) for each in check(Source("t.nn", source)).diagnostics]


@pytest.mark.parametrize(
    ("arguments", "message", "argument"),
    [
        ({"window": 48}, r"the training part of .*t\.csv has 48 rows, and .* its target takes 49", "window"),
        ({"window": 12}, r"the test part of .* has 12 rows, and a window with its target takes 13", "window"),
        ({"window": 8, "horizon": 5}, "the test part of .* has 12 rows, .* takes 13", "horizon"),
        ({"window": 60, "test": 0.0}, r".*t\.csv has 60 rows, and a window with its target takes 61", "window"),
        ({"window": 30, "sampling": 2}, "the training part of .* takes 60", "window"),
    ],
)
def test_too_few_rows(tmp_path: Path, arguments: dict[str, Any], message: str, argument: str) -> None:
    with refused(message, argument):
        series(tmp_path, **arguments).facts()


def test_too_many_numbers(tmp_path: Path) -> None:
    table = "a\n" + "1.5\n2.5\n" * 15_000
    with refused(r"these windows would have 216,000,000 numbers: the limit is 134,217,728", "window"):
        series(tmp_path, table, target="a", window=12_000, test=0.0).facts()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"missing": "drop"}, "`missing = drop` would leave gaps in windows"),
        ({"embed": ("wind",)}, "`embed` and `words`"),
        ({"seed": 1}, "`seed` and `stratify`"),
        ({"stratify": True}, "`seed` and `stratify`"),
        ({"window": None, "horizon": 2}, "`horizon` is for windows of a time series"),
        ({"window": None, "stride": 2}, "`stride` is for windows"),
        ({"window": None, "sampling": 2}, "`sampling` is for windows"),
        ({"window": 0}, "window"),
        ({"horizon": 0}, "horizon"),
    ],
)
def test_arguments_that_exclude_each_other(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        series(tmp_path, **arguments)


@pytest.mark.parametrize(("cells", "help"), [(",1,1", "fill it in"), ("1,,1", "`missing = mean` fills them in")])
def test_remedies_for_missing_cells_work(tmp_path: Path, cells: str, help: str) -> None:
    with refused(f"line 62, column `.*`: the cell is empty; {help}$"):
        series(tmp_path, text() + cells + "\n").facts()


def test_random_validation_samples_are_refused(tmp_path: Path) -> None:
    source = forecast(tmp_path, train="epochs = 2; validation = 0.3")
    found = check(Source("t.nn", source)).diagnostics
    assert [each.code for each in found] == ["NN302"]
    assert "would share rows with training samples" in found[0].message
    assert found[0].fix is not None
    (edit,) = found[0].fix.edits
    fixed_source = source[: edit.span.start] + edit.text + source[edit.span.end :]
    assert "validation = last(0.3)" in fixed_source
    assert not findings(fixed_source)
    assert [code for code, _ in findings(source.replace("0.3", "folds(3)"))] == ["NN302"]
    apart = source.replace("window=5", "window=5, stride=6, test=0")
    assert not [code for code, _ in findings(apart) if code == "NN302"]


def test_a_gap_must_leave_training_samples(tmp_path: Path) -> None:
    ((code, message),) = findings(forecast(tmp_path, ", horizon=4", train="epochs = 2; validation = last(0.85)"))
    assert code == "NN302"
    assert message == "no training sample is left: 34 of 40 are held out, and 8 before them share rows with those"


def test_columns_cannot_be_scaled_on_their_own(tmp_path: Path) -> None:
    ((_, message),) = findings(forecast(tmp_path, train='epochs = 2; standardise = standard(columns=["wind"])'))
    assert message == "`columns` are those of a row of features, but a sample is a sequence of 5×3"


def test_state_is_carried_where_windows_continue_one_another(tmp_path: Path) -> None:
    train = "epochs = 2; batch = 2; carry_state = true"
    ((code, message),) = findings(forecast(tmp_path, train=train))
    assert (code, message.split(":")[0]) == ("NN302", "`carry_state` cannot be used with `CSV`")
    assert not findings(forecast(tmp_path, ", stride=5", train=train))


# Networks that forecast


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forecast")
    train = "epochs = 3; batch = 8; standardise = true; validation = last(0.2)"
    source = forecast(folder, ", stride=2, horizon=3", train=train, more="metrics = [mae]")
    (folder / "t.nn").write_text(source, encoding="utf-8")
    assert command("run", "t.nn", "--out", "run", cwd=folder).returncode == 0
    return folder


def test_show_says_what_a_sample_is(trained: Path) -> None:
    shown = command("show", "t.nn", cwd=trained).stdout
    assert "a sample is 5 rows, and its target is 3 rows later; one begins every 2 rows" in shown
    assert "the 3 samples before the held-out ones share rows with them and are not used" in shown
    assert "standard scales all 15 features, per channel (3)" in shown
    resolved = command("show", "t.nn", "--resolved", cwd=trained).stdout
    assert re.search(r"window +5 ", resolved)


def test_a_prediction_for_each_window(trained: Path) -> None:
    (trained / "last.csv").write_text(text(TABLE[50:57]), encoding="utf-8")
    predictor = load_network(trained / "run")
    windows = np.lib.stride_tricks.sliding_window_view(TABLE[50:57], 5, axis=0).transpose(0, 2, 1)
    wanted = predictor.outputs(windows)
    assert wanted.shape == (3, 1)
    columns = dict(zip(("pressure", "wind", "temperature"), TABLE[50:57, [2, 1, 0]].T.tolist(), strict=True))
    np.testing.assert_array_equal(predictor.outputs(columns), wanted)
    np.testing.assert_array_equal(predictor.outputs(str(trained / "last.csv")), wanted)
    assert predictor.samples(columns).names == ("row 6 + 1", "row 6 + 2", "row 6 + 3")
    printed = command("predict", "run", "last.csv", cwd=trained).stdout
    assert [line.rsplit(maxsplit=1)[0].strip() for line in printed.splitlines()[1:4]] == [
        "last.csv:8 + 1",
        "last.csv:8 + 2",
        "last.csv:8 + 3",
    ]
    assert predictor.samples(str(trained / "t.csv")).names[0].endswith("t.csv:9")  # row 7, after the names


def test_too_few_rows_to_predict(trained: Path) -> None:
    (trained / "short.csv").write_text(text(TABLE[:4]), encoding="utf-8")
    refused_ = command("predict", "run", "short.csv", cwd=trained)
    assert refused_.returncode == 2
    assert "short.csv has 4 rows, and the network predicts from the last 5" in refused_.stderr


def test_numbers_in_another_unit_are_noted(trained: Path) -> None:
    predictor = load_network(trained / "run")
    used = TABLE[:45]  # the last window of the training rows begins at row 40
    np.testing.assert_array_equal(predictor.wanted.ranges, np.stack([used.min(0), used.max(0)], axis=1))
    odd = TABLE[:9].copy()
    odd[8, 2] = 5000
    columns = dict(zip(("temperature", "wind", "pressure"), odd.T.tolist(), strict=True))
    assert "5000 in column `pressure`" in predictor.samples(columns).notes[0]
    windows = np.lib.stride_tricks.sliding_window_view(odd, 5, axis=0).transpose(0, 2, 1)
    assert "5000 in column `pressure`" in predictor.samples(windows).notes[0]


def test_evaluating_the_test_rows_gives_the_recorded_figures(trained: Path) -> None:
    (trained / "test.csv").write_text(text(TABLE[48:]), encoding="utf-8")
    recorded, again = (
        json.loads(command("eval", "run", "--json", *more, cwd=trained).stdout) for more in ((), ("--data", "test.csv"))
    )
    first, second = (found[0] if isinstance(found, list) else found["networks"][0] for found in (recorded, again))
    assert first["same"]
    assert second["samples"] == first["samples"] == 3
    assert second["figures"] == first["figures"]
    (trained / "few.csv").write_text(text(TABLE[48:55]), encoding="utf-8")
    few = command("eval", "run", "--data", "few.csv", cwd=trained)
    assert few.returncode == 2
    assert "few.csv has 7 rows, and a window with its target takes 8" in few.stderr


def test_exported_networks_take_windows(trained: Path) -> None:
    done = command("export", "run", "net.py", "--to", "numpy", cwd=trained)
    assert done.returncode == 0, done.stderr
    code = (trained / "net.py").read_text(encoding="utf-8")
    said = re.sub(r"\s+", " ", code.replace("#", ""))
    assert "a sample is 5 rows of a table, and the numbers of a row are temperature, wind, pressure" in said
    predictor = load_network(trained / "run")
    x = random_samples(program_of(predictor), predictor, 50, np.random.default_rng(0))
    low, high = np.array(predictor.wanted.ranges).T
    assert x.shape == (50, 5, 3)
    assert ((low.astype("f4") <= x) & (x <= high.astype("f4"))).all()


@pytest.mark.parametrize(("word", "value"), [("length", 4), ("stride", 0), ("horizon", -1)])
def test_impossible_windows_in_a_record_are_refused(trained: Path, word: str, value: int) -> None:
    path = trained / "run" / "run.json"
    written = path.read_text(encoding="utf-8")
    record = json.loads(written)
    (data,) = record["data"]
    data["facts"]["windows"][word] = value
    path.write_text(json.dumps(record), encoding="utf-8")
    try:
        found = command("predict", "run", "t.csv", cwd=trained)
    finally:
        path.write_text(written, encoding="utf-8")
    assert found.returncode == 2
    assert "the windows of its data are impossible" in found.stderr
