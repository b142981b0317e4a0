"""Rules for scaling samples and targets: what they learn, what they apply to, and where they are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import compiled, spec

import nnspec
from nnspec import runs
from nnspec.checker import check
from nnspec.compiler.preparing import preparation_in_words
from nnspec.compiler.scaling import Standardiser, scaling, target_scaling
from nnspec.data.scopes import Row, ScopeFault, scopes
from nnspec.data.source import Dataset, Facts, Field, Split
from nnspec.diagnostics import Source
from nnspec.engine.scalers import Fixed, MinMax, Robust, Standard

pytestmark = pytest.mark.usefixtures("undrawn")

WANTED = json.loads((Path(__file__).parent / "oracle" / "scalers.json").read_text())
TABLE, IMAGES, WEIGHTS = (np.array(WANTED[name]) for name in ("table", "images", "weights"))


def rules(text: str, shape: tuple[int, ...]) -> Any:
    """Return the rules of a setting, for samples of a shape."""
    data = f"Given(features={list(shape)}, targets=1)"
    (lane,) = compiled(spec("Flatten; Linear(1)", loss="MSE", train=f"standardise = {text}", data=data)).program.lanes
    return lane.train.scalers


def dataset(x: np.ndarray, weights: np.ndarray | None = None) -> Dataset:
    """Return samples, followed by ten that are not trained on."""
    divisor = 255.0 if x.dtype == np.uint8 else 1.0
    whole = np.concatenate([x, np.full((10, *x.shape[1:]), 77, x.dtype)])
    w = None if weights is None else np.concatenate([weights, np.full(10, 5.0)])
    facts = Facts(x.shape[1:], None, len(whole), len(whole), str(x.dtype), weighted=w is not None)
    split = Split(whole.reshape(len(whole), -1), np.zeros(len(whole)), w)
    return Dataset("T", facts, split, split, divisor, "", "")


def learned(text: str, x: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    found: tuple[np.ndarray, np.ndarray] = scaling(dataset(x, weights), np.arange(len(x)), rules(text, x.shape[1:]))
    return found


def with_arguments(rule: str, more: str) -> str:
    return f"{rule[:-1]}, {more})" if rule.endswith(")") else f"{rule}({more})"


# Against scikit-learn


@pytest.mark.parametrize("rule", WANTED["feature"])
def test_features_are_scaled_as_by_scikit_learn(rule: str) -> None:
    shift, scale = learned(rule, TABLE)
    np.testing.assert_allclose(shift, WANTED["feature"][rule]["shift"], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scale, WANTED["feature"][rule]["scale"], rtol=1e-12)
    x = TABLE.copy()
    Standardiser.alone((shift, scale), "float64")(x)
    np.testing.assert_allclose(x, WANTED["feature"][rule]["scaled"], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("per", ["channel", "all"])
@pytest.mark.parametrize("rule", WANTED["channel"])
def test_channels_are_scaled_as_by_scikit_learn(rule: str, per: str) -> None:
    wanted = WANTED[per][rule]
    shift, scale = learned(with_arguments(rule, f"per={per}"), IMAGES.astype(np.uint8))
    for found, numbers in ((shift, wanted["shift"]), (scale, wanted["scale"])):
        pixels = np.broadcast_to(np.reshape(numbers, (-1, 1)), (2, 12)).reshape(-1)
        np.testing.assert_allclose(found, pixels, rtol=1e-12, atol=1e-14)


def test_features_of_sequences_are_channels() -> None:
    x = np.random.default_rng(0).standard_normal((7, 5, 3)) * [1, 10, 100]
    shift, scale = scaling(dataset(x), np.arange(7), rules("standard(per=channel)", (5, 3)))
    np.testing.assert_allclose(shift.reshape(5, 3), np.tile(x.mean(axis=(0, 1)), (5, 1)), rtol=1e-12)
    np.testing.assert_allclose(scale.reshape(5, 3), np.tile(x.std(axis=(0, 1)), (5, 1)), rtol=1e-12)


def test_weighted_samples_count_by_their_weights() -> None:
    shift, scale = learned("standard", TABLE, WEIGHTS)
    np.testing.assert_allclose(shift, WANTED["weighted"]["standard"]["shift"], rtol=1e-12)
    np.testing.assert_allclose(scale, WANTED["weighted"]["standard"]["scale"], rtol=1e-12)
    ignored = np.r_[0.0, np.ones(12)]
    low, width = learned("min_max", TABLE, ignored)
    np.testing.assert_array_equal(low, TABLE[1:].min(axis=0))
    np.testing.assert_allclose(width[:3], np.ptp(TABLE[1:], axis=0)[:3])


def test_true_is_standard() -> None:
    for ours, theirs in zip(learned("true", TABLE), learned("standard", TABLE), strict=True):
        np.testing.assert_array_equal(ours, theirs)


# Given numbers


def test_given_numbers_are_one_for_all_one_per_channel_or_one_per_feature() -> None:
    images = IMAGES.astype(np.uint8)
    shift, scale = learned("fixed(0.5, [0.25, 0.5])", images)
    np.testing.assert_array_equal(shift, np.full(24, 0.5))
    np.testing.assert_array_equal(scale, np.repeat([0.25, 0.5], 12))
    shift, _ = learned("fixed(mean=[1, 2, 3, 4], deviation=2)", TABLE)
    np.testing.assert_array_equal(shift, [1, 2, 3, 4])
    shift, scale = learned("fixed(3, 2, columns=[1])", TABLE)
    np.testing.assert_array_equal([shift, scale], [[0, 3, 0, 0], [1, 2, 1, 1]])


# What rules apply to


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("table")
    lines = [f"{i % 7},{'xyz'[i % 3]},{i * 10},{i * 0.5},{100 - i}" for i in range(40)]
    (folder / "t.csv").write_text("\n".join(["age,kind,height,price,stock", *lines]) + "\n")
    return folder


def of_table(table: Path, settings: str, *, target: str = '["price", "stock"]', model: str = "Linear(2)") -> str:
    data = f'CSV("{(table / "t.csv").as_posix()}", {target}, test=0.25)'
    return spec(model, loss="MSE", data=data, train=f"epochs = 1; {settings}", more="dtype = float64\nmetrics = [mae]")


def test_rules_scale_their_columns_and_leave_the_others_as_they_are(table: Path) -> None:
    text = of_table(table, 'standardise = [min_max(-1, 1, columns=["height"]), standard(columns=["age"])]')
    (lane,) = compiled(text).program.lanes
    data = lane.data[0].source.load(None)
    chosen = np.arange(20)
    shift, scale = scaling(data, chosen, lane.train.scalers)
    age, height = data.train.x[chosen, 0], data.train.x[chosen, 4]
    assert data.feature_names == ("age", "kind=x", "kind=y", "kind=z", "height")
    np.testing.assert_allclose(shift, [age.mean(), 0, 0, 0, (height.min() + height.max()) / 2])
    np.testing.assert_allclose(scale, [age.std(), 1, 1, 1, np.ptp(height) / 2])
    shift, scale = scaling(data, chosen, rules("standard(columns=[0])", (5,)))
    np.testing.assert_allclose(scale, [age.std(), 1, 1, 1, 1])


def test_a_column_of_text_is_scaled_as_a_whole(table: Path) -> None:
    (lane,) = compiled(of_table(table, 'standardise = fixed(0.5, 0.5, columns=["kind"])')).program.lanes
    shift, _ = scaling(lane.data[0].source.load(None), np.arange(20), lane.train.scalers)
    np.testing.assert_array_equal(shift, [0, 0.5, 0.5, 0.5, 0])


def test_rules_for_targets_apply_by_name_and_predictions_are_in_their_unit(table: Path, tmp_path: Path) -> None:
    text = of_table(
        table, 'standardise = min_max; standardise_target = [standard(columns=["price"]), min_max(columns=["stock"])]'
    )
    (tmp_path / "s.nn").write_text(text)
    result = nnspec.run(tmp_path / "s.nn", out=tmp_path / "out")
    (lane,) = compiled(text).program.lanes
    data = lane.data[0].source.load(None)
    shift, scale = target_scaling(data, np.arange(30), lane.train.target_scalers)
    y = data.train.y
    np.testing.assert_allclose(shift, [y[:, 0].mean(), y[:, 1].min()])
    np.testing.assert_allclose(scale, [y[:, 0].std(), np.ptp(y[:, 1])])
    kept = result["run"].target_scaling
    np.testing.assert_allclose(kept, [shift, scale])
    predictor = result["run"].predictor
    assert predictor is not None
    mae = np.abs(predictor.outputs(data.test.x) - data.test.y).mean()
    np.testing.assert_allclose(result["run"].final("test_mae"), mae, rtol=1e-9)
    assert all(each.same for each in runs.evaluate(tmp_path / "out"))


@pytest.mark.parametrize(
    ("setting", "code", "says", "help"),
    [
        ('standardise = standard(columns=["agge"])', "NN201", "there is no column `agge`", "did you mean `age`?"),
        (
            'standardise = standard(columns=["price"])',
            "NN201",
            "no column `price`",
            "the columns are age, kind, height",
        ),
        ("standardise = standard(columns=[5])", "NN302", "there is no column 5", ""),
        ("standardise = standard(columns=[])", "NN302", "`columns` is empty", "name at least one"),
        (
            'standardise = [standard, min_max(columns=["age"])]',
            "NN302",
            "column `age` is scaled twice",
            "columns",
        ),
        ('standardise = standard(columns=["age", 0])', "NN302", "column `age` is scaled twice", ""),
        ('standardise = standard(columns=["age", "age"])', "NN302", "column `age` is named twice", ""),
        ("standardise = standard(per=channel)", "NN302", "the samples have no channels", "`per = feature`"),
        (
            "standardise = fixed([1, 2], 1)",
            "NN302",
            "`fixed` has 2 values, but there are 5 features",
            "one value for all",
        ),
        ("standardise = fixed([1, 2], [1, 2, 3])", "NN302", "lists of the same length", ""),
        ("standardise = fixed(0, 0)", "NN302", "`deviation` must be greater than 0", ""),
        ("standardise = min_max(1, 0)", "NN302", "`high` must be above `low`", ""),
        ("standardise = [min_max(1, 1, columns=[0])]", "NN302", "`high` must be above `low`", ""),
        ('standardise_target = standard(columns=["stok"])', "NN201", "no column `stok`", "did you mean `stock`?"),
        ("standardise_target = standard(per=channel)", "NN302", "the targets have no channels", ""),
        ("standardise = StandardScaler", "NN201", "StandardScaler", "standard"),
    ],
)
def test_rules_that_do_not_apply_are_reported(table: Path, setting: str, code: str, says: str, help: str) -> None:
    text = of_table(table, setting)
    found = check(Source("s.nn", text)).diagnostics
    (problem,) = [each for each in found if each.severity == "error"]
    assert (problem.code, says in problem.message, help in problem.help) == (code, True, True), problem
    line = next(n for n, line in enumerate(text.splitlines(), 1) if setting in line)
    assert problem.span.line == line


def test_robust_scaling_refuses_weights(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).standard_normal((20, 3)), np.arange(20.0)
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, w_train=np.ones(20))
    data = f'NPZ("{(tmp_path / "d.npz").as_posix()}")'
    found = check(Source("s.nn", spec("Linear(1)", loss="MSE", data=data, train="standardise = robust"))).diagnostics
    assert any("cannot learn from samples with weights" in each.message for each in found)


def test_rules_apply_to_named_inputs_and_never_to_ids(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(5, 2, (30, 3)), rng.normal(50, 9, (30, 4))
    np.savez(tmp_path / "two.npz", left_train=left, right_train=right, y_train=rng.normal(size=30))
    data = f'NPZ("{(tmp_path / "two.npz").as_posix()}", inputs=["left", "right"], test=0)'
    model = "concat { a { from(left) } b { from(right) } }; Linear(1)"
    text = spec(model, loss="MSE", data=data, train='standardise = min_max(columns=["right"], per=all)')
    (lane,) = compiled(text).program.lanes
    shift, scale = scaling(lane.data[0].source.load(None), np.arange(30), lane.train.scalers)
    np.testing.assert_allclose(shift, [0, 0, 0, *[right.min()] * 4])
    np.testing.assert_allclose(scale, [1, 1, 1, *[np.ptp(right)] * 4])
    found = check(Source("s.nn", text.replace('["right"]', '["rihgt"]'))).diagnostics
    assert [each.help for each in found if each.severity == "error"] == ["did you mean `right`?"]
    ids = Field("film", 0, 2, (2,), tokens=9)
    row = Row("sample", (ids, Field("size", 2, 4, (2,))), ())
    assert [field.name for field in scopes([Standard()], row)[0].fields] == ["size"]
    with pytest.raises(ScopeFault, match="`film` holds ids, which are never scaled"):
        scopes([Standard(columns=("film",))], row)


def test_show_says_what_happens_to_samples_in_order(table: Path) -> None:
    text = of_table(table, 'standardise = standard(columns=["age", "kind"]); augment = noise(0.1)')
    (lane,) = compiled(text).program.lanes
    assert preparation_in_words(lane) == (
        'standard(columns=["age", "kind"]) scales `age`, `kind`; the rest stays as it is',
        "in training: noise(0.1)",
    )
    images = spec(train="standardise = fixed(0.5, 0.2); augment = [cutout(4), flip, mixup]")
    (lane,) = compiled(images).program.lanes
    assert preparation_in_words(lane) == (
        "bytes are divided by 255",
        "in training: flip, mixup",
        "fixed(0.5, 0.2) scales all 784 features alike",
        "in training: cutout(4)",
    )


@pytest.mark.parametrize(("file", "to"), [("net.py", "numpy"), ("net.c", "c")])
def test_what_is_exported_scales_likewise(file: str, to: str, tmp_path: Path) -> None:
    train = "epochs = 1; batch = 16; standardise = robust(per=channel); augment = [cutout(5), mixup]"
    (tmp_path / "s.nn").write_text(spec("Conv2D(3, 5, stride=3); ReLU; Flatten; Linear(10)", train=train))
    nnspec.run(tmp_path / "s.nn", out=tmp_path / "out")
    # Exporting runs the file, and compares all layers.
    done = runs.export(tmp_path / "out", tmp_path / file, to=to)
    assert done.certificate.preparation == (
        "stored numbers are divided by 255",
        "features are scaled by robust(per=channel)",
    )
    assert done.certificate.verified


@pytest.mark.parametrize(
    "text", ["min_max(high=2)", "min_max(-1, 2)", 'robust(columns=["a", 1], per=channel)', "fixed([0.1, 0.2], 2)"]
)
def test_rules_are_shown_as_a_spec_has_them(text: str) -> None:
    rule = {"min_max(high=2)": MinMax(high=2), "min_max(-1, 2)": MinMax(-1, 2)}.get(text)
    rule = rule or (Fixed([0.1, 0.2], 2) if "fixed" in text else Robust(columns=["a", 1], per="channel"))  # type: ignore[arg-type]
    assert rule.in_spec().replace("(0.1, 0.2)", "[0.1, 0.2]") == text
