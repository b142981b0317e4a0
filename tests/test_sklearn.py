"""Estimators for scikit-learn: its own checks, and what they do not cover."""

from __future__ import annotations

import importlib
import multiprocessing
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

import joblib
import pandas as pd
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import nnspec
from nnspec.sklearn import NNClassifier, NNRegressor

X, Y = load_iris(return_X_y=True)
NUMBERS = X[:, 3]
FEW = {"hidden": (8,), "epochs": 4}
CHECKS = {NNClassifier: 63, NNRegressor: 60}
"""How many checks scikit-learn 1.9 has for each estimator. It must not fall."""
SPEC = """
model { Linear(8); Tanh; Linear(3) }
loss = CrossEntropy
optimizer = SGD(lr=0.1)
train { epochs = 3; batch = 16 }
"""


# scikit-learn's checks


@parametrize_with_checks([cls() for cls in CHECKS])
def test_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("cls", CHECKS)
def test_so_many_checks_of_scikit_learn_are_run(cls: Any, capsys: Any) -> None:
    count = len(list(estimator_checks_generator(cls())))
    with capsys.disabled():
        print(f" {count} checks of {cls.__name__}", end="")
    assert count >= CHECKS[cls]


# Training


def test_fit_is_a_run_of_the_spec_that_the_docstring_shows() -> None:
    for cls, y, outputs in ((NNClassifier, Y, 3), (NNRegressor, NUMBERS, 1)):
        doc = (cls.__doc__ or "").partition("        model {")[2].partition("dtype = float64")[0]
        lines = [line.strip() for line in doc.splitlines()]
        text = "\n".join(["model {" + lines[0], *lines[1:], "dtype = float64", "data = Given(test=0)"])
        assert f"Linear({outputs}) }}" in text
        estimator, result = cls().fit(X, y), nnspec.Spec.parse(text).run(data=(X, y))
        assert estimator.loss_curve_ == result["run"].history["loss"]


@pytest.mark.parametrize(
    "settings", [{}, {"optimizer": "SGD(lr=cosine(0.1))"}, {"train.standardise": False, "train.shuffle": False}]
)
def test_partial_fit_goes_the_way_of_fit(settings: dict[str, Any]) -> None:
    blank = np.hstack([X, np.zeros((len(X), 9))])
    whole, parts = NNClassifier(**FEW, settings=settings), NNClassifier(**FEW, settings=settings)
    whole.fit(blank, Y)
    for _ in range(4):
        parts.partial_fit(blank, Y, classes=[0, 1, 2])
    assert parts.loss_curve_ == whole.loss_curve_
    np.testing.assert_array_equal(parts.predict_proba(blank), whole.predict_proba(blank))
    parts.partial_fit(blank, Y)
    assert parts.n_iter_ == 5
    assert whole.partial_fit(blank, Y).loss_curve_ == parts.loss_curve_


def test_partial_fit_continues_on_other_samples_with_the_first_scaling() -> None:
    model = NNClassifier(**FEW).partial_fit(X[:70], Y[:70], classes=[0, 1, 2])
    scaling = model.result_["run"].scaling
    model.partial_fit(X[100:], Y[100:])
    np.testing.assert_array_equal(model.result_["run"].scaling, scaling)
    np.testing.assert_allclose(scaling[0], X[:70].mean(axis=0), rtol=1e-14)
    regressor = NNRegressor(**FEW).partial_fit(X[:70], NUMBERS[:70]).partial_fit(X[70:], NUMBERS[70:])
    assert regressor.result_["run"].target_scaling[0] == pytest.approx(NUMBERS[:70].mean())
    assert regressor.n_iter_ == 2


def test_partial_fit_takes_batches_whose_features_are_zero_at_other_places() -> None:
    x = np.kron(np.eye(2), np.ones((30, 20))) * np.random.default_rng(0).normal(size=(60, 40))
    y = np.arange(60) % 2
    model = NNClassifier(**FEW, settings={"train.standardise": False})
    for part in (slice(30), slice(30, None), slice(None)):
        model.partial_fit(x[part], y[part], classes=[0, 1])
    assert model.n_iter_ == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": (9,)}, "cannot continue with another network"),
        ({"optimizer": "SGD(lr=0.1, momentum=0.9)"}, "cannot continue with another network"),
        ({"settings": {"train.validation": 0.2}}, "cannot continue with another network"),
        ({"settings": {"train.repeats": 2}}, "repeats and folds cannot be continued"),
    ],
)
def test_what_cannot_be_continued_says_so(change: dict[str, Any], message: str) -> None:
    model = NNClassifier(**FEW).fit(X, Y).set_params(**change)
    with pytest.raises(ValueError, match=message):
        model.partial_fit(X, Y)
    assert model.n_iter_ == 4


def test_labels_that_are_no_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="the first call of partial_fit needs all `classes`"):
        NNClassifier().partial_fit(X, Y)
    model = NNClassifier(**FEW).partial_fit(X[:100], Y[:100], classes=[0, 1])
    with pytest.raises(ValueError, match=r"`y` has labels that are not in `classes`: \[2\]"):
        model.partial_fit(X, Y)
    with pytest.raises(ValueError, match="cannot change"):
        model.partial_fit(X[:100], Y[:100], classes=[0, 1, 2])


@pytest.mark.parametrize(("cls", "y"), [(NNClassifier, Y), (NNRegressor, NUMBERS)])
def test_a_weight_of_two_is_a_sample_twice(cls: Any, y: np.ndarray) -> None:
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    many = np.repeat(np.arange(len(X)), weights)
    weighted = cls(**FEW, batch=1000).fit(X, y, sample_weight=weights)
    repeated = cls(**FEW, batch=1000).fit(X[many], y[many])
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-10)
    assert weighted.loss_curve_ != cls(**FEW, batch=1000).fit(X, y).loss_curve_


def test_weights_of_classes_go_by_label() -> None:
    names = np.array(["setosa", "versicolor", "virginica"])[Y]
    by_name = NNClassifier(**FEW, class_weight={"setosa": 2, "virginica": 0.5}).fit(X, names)
    by_sample = NNClassifier(**FEW).fit(X, names, sample_weight=np.array([2, 1, 0.5])[Y])
    assert by_name.loss_curve_ == by_sample.loss_curve_
    rare = np.r_[0:50, 50:60, 100:150]
    balanced = NNClassifier(**FEW, class_weight="balanced").fit(X[rare], Y[rare])
    by_sample = NNClassifier(**FEW).fit(X[rare], Y[rare], sample_weight=110 / 3 / np.array([50, 10, 50])[Y[rare]])
    np.testing.assert_allclose(balanced.loss_curve_, by_sample.loss_curve_, rtol=1e-12)


def test_the_same_seed_has_the_same_bits_and_another_others() -> None:
    def curve(seed: Any) -> list[float]:
        return NNClassifier(**FEW, random_state=seed).fit(X, Y).loss_curve_

    assert curve(3) == curve(3) == curve(np.int64(3))
    assert curve(None) == curve(0) != curve(3)
    assert curve(np.random.RandomState(3)) == curve(np.random.RandomState(3))


def test_figures_validation_and_early_stopping() -> None:
    settings = {"train.validation": 0.2, "train.early_stop": "patience(2)"}
    model = NNClassifier(hidden=(8,), lr=0.1, epochs=100, settings=settings).fit(X, Y)
    assert model.validation_loss_curve_ is not None
    assert len(model.loss_curve_) == len(model.validation_loss_curve_) == model.n_iter_ < 100
    assert model.result_["run"].stopped
    assert NNClassifier(**FEW).fit(X, Y).validation_loss_curve_ is None
    assert model.gradient_error_ < 1e-7


def test_several_targets() -> None:
    targets = np.stack([NUMBERS, X[:, 0]], axis=1)
    model = NNRegressor(epochs=20).fit(X, targets)
    assert model.predict(X).shape == (150, 2)
    assert model.score(X, targets) > 0.8
    assert model.partial_fit(X, targets).predict(X[:1]).shape == (1, 2)


def test_a_training_that_diverges_is_an_error_and_leaves_nothing_fitted() -> None:
    model = NNRegressor(**FEW).fit(X, NUMBERS).set_params(optimizer="SGD(lr=1e9)")
    with pytest.raises(ValueError, match=r"NNRegressor: training diverged: .*try a smaller learning rate"):
        model.fit(X, NUMBERS)
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_ctrl_c_ends_fit(monkeypatch: Any) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nnspec.training.observer.Silent.epoch_done", interrupt)
    with pytest.raises(KeyboardInterrupt):
        NNClassifier(**FEW).fit(X, Y)


def test_nothing_is_written_or_printed_and_no_process_is_left(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = NNClassifier(epochs=2).fit(X, Y)
    model.partial_fit(X, Y)
    model.predict(100 * X)
    assert not [*tmp_path.rglob("*")]
    assert capfd.readouterr() == ("", "")
    assert not multiprocessing.active_children()


# Specs and settings


def test_a_spec_is_a_path_a_text_or_a_spec(tmp_path: Path) -> None:
    (tmp_path / "iris.nn").write_text(SPEC)
    given = [str(tmp_path / "iris.nn"), tmp_path / "iris.nn", SPEC, nnspec.Spec.parse(SPEC)]
    curves = [NNClassifier(spec).fit(X, Y).loss_curve_ for spec in given]
    assert all(curve == curves[0] for curve in curves)
    assert len(curves[0]) == 3
    assert len(NNClassifier(SPEC, epochs=2, lr=0.01, batch=8).fit(X, Y).loss_curve_) == 2


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (NNClassifier(SPEC, hidden=(4,)), ValueError, "`hidden` has no effect with a spec"),
        (NNClassifier(hidden=(4, 0)), ValueError, "`hidden` must be the widths"),
        (NNClassifier(7), TypeError, "`spec` must be a path"),
        (NNClassifier("nowhere.nn"), nnspec.SourceError, "nowhere.nn"),
        (NNClassifier(SPEC.replace("optimizer = SGD(lr=0.1)", "race { SGD; Adam }")), ValueError, "has 2 lanes: SGD"),
        (NNRegressor(SPEC), nnspec.SpecError, "CrossEntropy"),
        (NNClassifier(SPEC.replace("CrossEntropy", "MSE").replace("Linear(3)", "Linear(1)")), nnspec.SpecError, "MSE"),
        (NNClassifier(optimizer="Adem"), nnspec.SpecError, "Adam"),
        (NNClassifier(settings={"train.epoch": 3}), nnspec.SpecError, "epochs"),
        (NNClassifier(settings={"optimizer.learning": 3}), nnspec.SpecError, "lr"),
    ],
)
def test_mistakes_in_a_spec_or_a_setting_are_errors(estimator: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        estimator.fit(X, NUMBERS if isinstance(estimator, NNRegressor) else Y)


def test_settings_are_parameters() -> None:
    model = NNClassifier(hidden=(8,)).set_params(train__epochs=2, optimizer__lr=0.5)
    assert model.settings == {"train.epochs": 2, "optimizer.lr": 0.5}
    assert model.get_params()["optimizer__lr"] == 0.5
    assert "optimizer__lr" not in model.get_params(deep=False)
    before = model.settings
    assert clone(model).set_params(train__epochs=3).fit(X, Y).n_iter_ == 3
    assert model.settings is before
    assert model.fit(X, Y).n_iter_ == 2
    assert "lr=0.5" in model.result_["run"].optimizer
    with pytest.raises(ValueError, match="Invalid parameter 'epoch'"):
        model.set_params(epoch=3)


def test_one_output_for_two_classes_and_losses_without_probabilities() -> None:
    x, y = X[:100], np.array(["no", "yes"])[Y[:100]]
    one = NNClassifier(SPEC.replace("Linear(3)", "Linear(1)").replace("CrossEntropy", "BCEWithLogits")).fit(x, y)
    odds = one.predict_proba(x)
    assert odds.shape == (100, 2)
    np.testing.assert_array_equal(one.predict(x) == "yes", odds[:, 1] > 0.5)
    assert one.score(x, y) > 0.9
    hinge = NNClassifier(SPEC.replace("CrossEntropy", "Hinge")).fit(X, Y)
    assert hinge.score(X, Y) > 0.6
    assert not hasattr(hinge, "predict_proba")


# In the company of scikit-learn


@pytest.fixture(scope="module")
def table() -> tuple[pd.DataFrame, pd.Series]:
    data = load_iris(as_frame=True)
    return data.data, data.target.map(dict(enumerate(data.target_names)))


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_grid_over_settings(jobs: int) -> None:
    search = GridSearchCV(NNClassifier(**FEW), {"optimizer__lr": [1e-5, 0.03], "hidden": [(8,)]}, cv=3, n_jobs=jobs)
    with joblib.parallel_config("multiprocessing"):  # forked: loky's processes would import everything again
        search.fit(X, Y)
    assert search.best_params_ == {"optimizer__lr": 0.03, "hidden": (8,)}
    assert search.best_estimator_.settings == {"optimizer.lr": 0.03}


def test_pipelines_tables_and_cross_validation(table: tuple[pd.DataFrame, pd.Series]) -> None:
    x, y = table
    pipe = make_pipeline(StandardScaler(), NNClassifier(epochs=20)).set_output(transform="pandas").fit(x, y)
    model = pipe[-1]
    assert list(model.feature_names_in_) == list(x.columns)
    assert list(model.classes_) == ["setosa", "versicolor", "virginica"]
    assert set(pipe.predict(x)) == {*model.classes_}
    assert pipe.set_params(nnclassifier__train__epochs=3).fit(x, y)[-1].n_iter_ == 3
    assert cross_val_score(NNClassifier(epochs=20), x, y, cv=3).mean() > 0.9
    with pytest.raises(ValueError, match="feature names"):
        model.predict(x[[*reversed(x.columns)]])


def test_regression_of_a_table() -> None:
    x, y = load_diabetes(return_X_y=True, as_frame=True)
    assert cross_val_score(NNRegressor(hidden=(16,), lr=0.003, epochs=30), x, y, cv=3).mean() > 0.3


def test_copies_by_pickle_and_joblib_predict_the_same_and_continue(tmp_path: Path) -> None:
    model = NNClassifier(**FEW).fit(X, Y)
    joblib.dump(model, tmp_path / "model.joblib")
    odds, further = model.predict_proba(X), clone(model).fit(X, Y).partial_fit(X, Y).loss_curve_
    for copied in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model.joblib")):
        np.testing.assert_array_equal(copied.predict_proba(X), odds)
        assert copied.gradient_error_ == model.gradient_error_
        assert copied.partial_fit(X, Y).loss_curve_ == further
    assert len(pickle.dumps(NNClassifier(**FEW).fit(np.tile(X, (20, 1)), np.tile(Y, 20)))) < 100_000


def test_without_scikit_learn_the_import_says_what_to_install(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "nnspec.sklearn")
    with pytest.raises(ModuleNotFoundError, match=r'pip install "nnspec\[sklearn\]"'):
        importlib.import_module("nnspec.sklearn")
