"""Weights of classes and of positives: what they are learned from, where they are kept, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nnspec
from nnspec import engine as nn
from nnspec.checker import check
from nnspec.diagnostics import Source

SPEC = """
seed = 3
data = NPZ("few.npz")
model { Linear(4); Tanh; Linear(3) }
loss = CrossEntropy(class_weights=balanced)
optimizer = SGD(lr=0.1)
train { epochs = 2; batch = 8; validation = 0.25 }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [20, 8, 4])
    np.savez(
        tmp_path / "few.npz",
        x_train=rng.standard_normal((32, 2)),
        y_train=y,
        x_test=rng.standard_normal((6, 2)),
        y_test=[0, 0, 0, 1, 1, 2],
    )
    return tmp_path


def errors(text: str) -> list[str]:
    return [f"{each.code} {each.message}" for each in check(Source("a.nn", text)).diagnostics]


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    # compute_class_weight("balanced", classes=[0, 1, 2], y=…), and with sample_weight=[1, 2, 0.5, 1, 1, 3]
    labels = np.array([0, 2, 0, 1, 0, 0])
    np.testing.assert_allclose(nn.balanced_weights(labels, 3), [0.5, 2, 2], rtol=1e-15)
    weighted = nn.balanced_weights(labels, 3, [1, 2, 0.5, 1, 1, 3])
    np.testing.assert_allclose(weighted, [0.5151515151515151, 2.8333333333333335, 1.4166666666666667], rtol=1e-15)


def test_each_class_weighs_the_same_in_sequences_too() -> None:
    labels = np.array([[0, 0, 1], [0, 0, 0]])
    np.testing.assert_allclose(nn.balanced_weights(labels, 2, [2, 1]), [9 / (2 * 7), 9 / (2 * 2)], rtol=1e-15)


def test_a_class_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="class 1 has no training sample"):
        nn.balanced_weights([0, 2], 3)


def test_a_loss_that_has_learned_no_weights_says_where_they_come_from() -> None:
    with pytest.raises(ValueError, match=r"pass `balanced_weights\(labels, 3\)`"):
        nn.CrossEntropyLoss(class_weights="balanced")(np.zeros((2, 3)), [0, 1])


@pytest.mark.parametrize("loss", ["CrossEntropy", "NLL", "Focal", "CrossEntropy(label_smoothing=0.1"])
def test_balanced_weights_are_learned_from_the_samples_that_are_trained_on(folder: Path, loss: str) -> None:
    call = f"{loss}{', ' if '(' in loss else '('}class_weights=balanced)"
    text = SPEC.replace("CrossEntropy(class_weights=balanced)", call)
    spec = nnspec.Spec.parse(text, folder=str(folder))
    result = spec.run(out=str(folder / "run"))
    (lane,) = result.lanes.values()
    found = lane.learned["class_weights"]
    counts = 24 / (3 * found)  # of 24 training samples
    np.testing.assert_allclose(counts, np.round(counts), rtol=1e-12)
    assert counts.sum() == pytest.approx(24)
    assert tuple(counts) != (20, 8, 4)
    given = ", ".join(map(repr, found.tolist()))
    same = nnspec.Spec.parse(text.replace("=balanced", f"=[{given}]"), folder=str(folder)).run()
    assert next(iter(same.lanes.values())).history == lane.history
    assert any("class weights 0: " in note for note in result.notes)
    saved = nnspec.runs.open_run(folder / "run")
    np.testing.assert_array_equal(saved.weights("run")["loss.class_weights"], found)


def test_each_fold_has_its_own_weights_and_evaluation_uses_them(folder: Path) -> None:
    text = SPEC.replace("validation = 0.25", "validation = folds(3)")
    result = nnspec.Spec.parse(text, folder=str(folder)).run(out=str(folder / "run"))
    (lane,) = result.lanes.values()
    assert len({tuple(one.learned["class_weights"]) for one in lane.repeats}) > 1
    assert all(one.same for one in nnspec.runs.evaluate(folder / "run"))  # with the weights of each


def test_a_fold_without_a_class_is_refused_before_training(folder: Path) -> None:
    text = SPEC.replace("validation = 0.25", "validation = last(0.25)")
    with pytest.raises(nnspec.DataError, match=r"CrossEntropy\(class_weights=balanced\).*class 2 has no training"):
        nnspec.Spec.parse(text, folder=str(folder)).run()


BLOBS = "data = Blobs(classes={classes})\nmodel {{ Linear({outputs}) }}\nloss = {loss}\noptimizer = SGD(lr=0.1)\n"


@pytest.mark.parametrize(
    ("loss", "outputs", "classes", "message"),
    [
        ("BCEWithLogits(pos_weight=[1, 2])", 3, 3, "NN402 2 weights for 3 outputs"),
        ("BCEWithLogits(pos_weight=0)", 3, 3, "NN302 `pos_weight` must be greater than 0"),
        ("Focal(class_weights=[1, 2])", 3, 3, "NN402 2 weights for 3 outputs"),
        (
            "Focal(class_weights=uniform)",
            3,
            3,
            "NN305 `class_weights` must be a list of numbers greater than 0 or `balanced` or none",
        ),
        ("Focal(gamma=-1)", 3, 3, "NN302 `gamma` must be at least 0"),
        ("BinaryFocal(alpha=2)", 1, 2, "NN302 `alpha` must be in [0, 1]"),
        ("BinaryFocal(pos_weight=2)", 1, 2, "NN202 "),
        ("Contrastive", 1, 3, "NN402 one output can only separate 2 classes"),
    ],
)
def test_unfitting_arguments(loss: str, outputs: int, classes: int, message: str) -> None:
    assert any(each.startswith(message) for each in errors(BLOBS.format(loss=loss, outputs=outputs, classes=classes)))


def test_distances_are_ranked_but_decide_for_no_class() -> None:
    text = BLOBS.format(loss="Contrastive", outputs=1, classes=2)
    program = check(Source("a.nn", text)).program
    assert program is not None
    assert program.lanes[0].metrics == ()
    (error,) = errors(text + "metrics = [accuracy, auc]\n")
    assert error == "NN305 `accuracy` needs scores of classes, but the outputs of `Contrastive` are distances"
    assert not errors(text + "metrics = [auc]\n")
