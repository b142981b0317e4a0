"""Samples that are ids, from arrays: what is read, what is refused, and a network that learns from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import spec

import nnspec
from nnspec.checker import check
from nnspec.data import NPZ, Access, FileFault
from nnspec.diagnostics import Source

RNG = np.random.default_rng(0)
X = RNG.integers(0, 27, (40, 3))
Y = X.sum(axis=1) % 5
LETTERS = """
data = Given(ids=27)
model { Embedding(4); Flatten; Linear(5) }
loss = CrossEntropy
optimizer = SGD(lr=0.1)
train { epochs = 2; batch = 8 }
"""


def source(path: Path, ids: int, **arrays: np.ndarray) -> NPZ:
    np.savez(path / "t.npz", **arrays)
    return NPZ(path / "t.npz", ids=ids, shuffle=False)


@pytest.mark.parametrize(
    ("ids", "stored"), [(27, "uint8"), (256, "uint8"), (257, "uint16"), (65_537, "int32"), (2**24, "int32")]
)
@pytest.mark.parametrize("dtype", ["uint8", "<i8", ">i4", "float32"])
def test_ids_are_kept_in_the_smallest_integers(tmp_path: Path, ids: int, stored: str, dtype: str) -> None:
    data = source(tmp_path, ids, x=X.astype(dtype), y=Y).load(Access())
    assert (data.facts.tokens, data.facts.axes, data.facts.stored) == (ids, ("places",), stored)
    assert (data.divisor, data.train.x.dtype, data.train.x.tolist()) == (1.0, np.dtype(stored), X[:32].tolist())


def test_one_id_a_sample_is_a_row_of_one(tmp_path: Path) -> None:
    assert source(tmp_path, 27, x=X[:, 0], y=Y).facts().shape == (1,)


@pytest.mark.parametrize(
    ("value", "message", "help"),
    [
        (
            27,
            "`x[12, 2]` is 27 (row 12, column 2, counted from 0), but 27 ids are whole numbers from 0 to 26",
            "`ids=28`",
        ),
        (-1, "`x[12, 2]` is -1", "number them from 0"),
        (1.5, "`x[12, 2]` is 1.5", "number them from 0"),
        (np.nan, "`x[12, 2]` is nan", "number them from 0"),
    ],
)
def test_a_number_that_is_no_id_is_an_error_at_its_position(
    tmp_path: Path, value: float, message: str, help: str
) -> None:
    x = X.astype(np.float64 if isinstance(value, float) else np.int64)
    x[12, 2] = value
    bad = source(tmp_path, 27, x=x, y=Y)
    for ask in (bad.facts, lambda: bad.load(Access())):
        with pytest.raises(FileFault) as error:
            ask()
        assert message in error.value.message
        assert "1 of 120 numbers is out of range" in error.value.message
        assert error.value.help.startswith(help)
        assert error.value.argument == "ids"


def test_ids_of_large_arrays_are_read_when_the_data_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = source(tmp_path, 20, x=X, y=Y)
    monkeypatch.setattr("nnspec.data.array_source.MOST_LABELS", 10)
    assert bad.facts().tokens == 20
    with pytest.raises(FileFault, match="20 ids are whole numbers"):
        bad.load(Access())


def test_dropped_samples_may_contain_anything(tmp_path: Path) -> None:
    x = X.astype(np.float64)
    x[3] = np.nan
    np.savez(tmp_path / "t.npz", x=x, y=Y)
    assert NPZ(tmp_path / "t.npz", ids=27, missing="drop", test=0.25).load(Access()).train.x.shape == (29, 3)


@pytest.mark.parametrize(("more", "word"), [({"divisor": 2}, "divisor"), ({"axes": ("features",)}, "axes")])
def test_ids_are_no_quantities(tmp_path: Path, more: dict[str, Any], word: str) -> None:
    np.savez(tmp_path / "t.npz", x=X, y=Y)
    with pytest.raises(FileFault) as error:
        NPZ(tmp_path / "t.npz", ids=27, **more).facts()
    assert error.value.message == f"`{word}` does not apply to ids, which are names and not quantities"
    assert error.value.argument == word


def test_a_sample_has_one_axis(tmp_path: Path) -> None:
    with pytest.raises(FileFault, match="but `x` is 2×3 a sample"):
        source(tmp_path, 27, x=X.reshape(20, 2, 3), y=Y[:20]).facts()


@pytest.mark.parametrize(
    ("layer", "expected"), [("Linear(5)", "got ids from 0 to 26"), ("Embedding(20, 4)", "has 20 ids")]
)
def test_layers_that_ids_do_not_fit(layer: str, expected: str) -> None:
    text = spec(f"{layer}; Flatten; Linear(5)", data="Given(features=3, ids=27, classes=5)")
    assert expected in check(Source("s.nn", text)).diagnostics[0].message


@pytest.mark.parametrize(
    "layers",
    [
        "add { a { } b { } }",
        "concat { a { Embedding(4); GlobalAvgPool } b { from(input) } }",
        "residual { Embedding(3); GlobalAvgPool }",
        "residual { Embedding(3); GlobalAvgPool; shortcut { } }",
    ],
)
def test_branches_do_not_pass_on_ids(layers: str) -> None:
    text = spec(f"{layers}; Linear(5)", data="Given(features=3, ids=27, classes=5)")
    (problem,) = [each for each in check(Source("s.nn", text)).diagnostics if each.severity == "error"]
    assert problem.code == "NN401"
    assert "passes on ids from 0 to 26" in problem.message


@pytest.mark.parametrize("layer", ["Conv2D(4, 3)", "Linear(3, 4)", "concat { a { }; b { } }", "dot { a { }; b { } }"])
def test_layers_that_one_id_does_not_fit(layer: str) -> None:
    data = 'Given(inputs=["a", "b"], ids=9, classes=2)'
    text = spec(f"concat {{ x {{ from(a); {layer} }}; y {{ from(b); Embedding(3) }} }}; Linear(2)", data=data)
    assert "ids from 0 to 8" in check(Source("s.nn", text)).diagnostics[0].message


def test_ids_from_python_train_and_predict() -> None:
    result = nnspec.run(nnspec.Spec.parse(LETTERS), data=(X, Y))["run"]
    assert result.predict(X[:2]).shape == (2,)
    with pytest.raises(FileFault, match="ids 0 to 27, but the network knows only 0 to 26"):
        result.predict(np.array([[0, 1, 27]]))
