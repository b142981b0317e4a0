"""Samples with several inputs by name: from arrays in files and from Python, in training, prediction and records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import OFFLINE, compiled, spec

import nnspec
from nnspec import runs
from nnspec.checker import check
from nnspec.data.csv_source import CSV
from nnspec.data.given import Given, given_data
from nnspec.data.numpy_source import NPZ
from nnspec.data.source import Access, FileFault
from nnspec.diagnostics import Source
from nnspec.engine.layers.wiring import From
from nnspec.export.program import program_of

RNG = np.random.default_rng(0)
LEFT, RIGHT = RNG.normal(size=(40, 5)), RNG.normal(2, 3, (40, 3, 4))
USER, WORDS = RNG.integers(0, 7, 40), RNG.integers(0, 7, (40, 6))
Y = (LEFT.sum(axis=1) > 0).astype(int)
TOWERS = (
    "concat { l { from(left); Linear(4); Tanh }; r { from(right); LSTM(3, return_sequences=false) } };"
    " concat { all { }; raw { from(left) } }; Linear(2)"
)


def two(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "two.npz", **(arrays or {"left": LEFT, "right": RIGHT, "y": Y}))
    return f'NPZ("{folder / "two.npz"}", inputs=["left", "right"])'


def shapes(text: str) -> dict[str, tuple[Any, Any]]:
    nodes = (node for layer in compiled(text).program.lanes[0].layers for node in layer.walk())
    return {node.name: (node.incoming, node.geometry.out) for node in nodes}


def test_each_input_has_a_shape_of_its_own(tmp_path: Path) -> None:
    found = shapes(spec(TOWERS, data=two(tmp_path)))
    assert found["concat1.l.from1"] == ((17,), (5,))
    assert found["concat1.r.LSTM1"] == ((3, 4), (3,))
    assert found["Linear1"] == ((4 + 3 + 5,), (2,))


def test_ids_are_looked_up_one_or_a_row_of_them(tmp_path: Path) -> None:
    data = two(tmp_path, left=USER, right=WORDS, y=Y).replace(")", ", ids=7)")
    model = "concat { l { from(left); Embedding(3) }; r { from(right); Embedding(2); GlobalAvgPool } }; Linear(2)"
    found = shapes(spec(model, data=data))
    assert found["concat1.l.Embedding1"] == ((), (3,))
    assert found["concat1.r.Embedding1"] == ((6,), (6, 2))
    wrong = check(Source("s.nn", spec("from(left); Linear(3); Linear(2)", data=data)))
    assert "real-valued input but got ids" in wrong.diagnostics[0].message


def test_a_sample_is_dropped_if_a_number_of_any_input_is_missing(tmp_path: Path) -> None:
    left, right = LEFT.copy(), RIGHT.copy()
    left[3, 1] = right[7, 2, 0] = np.nan
    text = two(tmp_path, left=left, right=right, y=Y).replace(")", ", missing=drop)")
    dataset = compiled(spec(TOWERS, data=text)).program.lanes[0].data[0].source.load(OFFLINE)
    kept = np.concatenate([dataset.train.x, dataset.test.x])
    assert len(kept) == 38
    assert not np.isnan(kept).any()


def test_what_no_input_takes_of_a_row_has_no_gradient() -> None:
    layer = From("left")
    layer.of_row(1, 3, (2,))
    layer.forward(np.ones((2, 5)))
    passed = layer.backward(np.ones((2, 2)), np.full((2, 5), np.nan))
    assert passed is not None
    assert passed.tolist() == [[0, 1, 1, 0, 0]] * 2


def test_only_from_takes_an_input_from_its_row(tmp_path: Path) -> None:
    model = "from(right); GRU(5, state=left, return_sequences=false); Linear(2)"
    (wrong,) = check(Source("s.nn", spec(model, data=two(tmp_path)))).diagnostics
    assert (wrong.code, wrong.span.text) == ("NN203", "left")
    assert wrong.help == "write `left1: from(left)` further up, and name `left1` here"
    mended = "left1: from(left); from(right); GRU(5, state=left1, return_sequences=false); Linear(2)"
    data = two(tmp_path)
    first, second = (nnspec.Spec.parse(spec(mended, data=data, train=f"epochs = {n}")).run() for n in (1, 3))
    assert second["run"].history["loss"][-1] < first["run"].history["loss"][0]


def test_bytes_enter_as_rows_or_as_images_as_the_next_layer_wants(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (40, 8, 8)).astype(np.uint8)
    data = two(tmp_path, left=images, right=images, y=Y)
    found = shapes(
        spec("concat { l { from(left); Linear(3) }; r { from(right); Conv2D(2, 3); Flatten } }; Linear(2)", data=data)
    )
    assert found["concat1.l.from1"][1] == (64,)
    assert found["concat1.r.from1"][1] == (1, 8, 8)


def test_files_and_mappings_from_python_give_the_same_training(tmp_path: Path) -> None:
    text = spec(TOWERS, data=two(tmp_path), train="epochs = 2; batch = 8; standardise = true", more="dtype = float64\n")
    by_file = nnspec.run(nnspec.Spec.parse(text), out=tmp_path / "run")
    given = text.replace(text.splitlines()[0], 'data = Given(inputs=["left", "right"], features=[5, 12])')
    by_hand = nnspec.run(nnspec.Spec.parse(given), data=({"left": LEFT, "right": RIGHT}, Y))
    assert by_file.lanes["run"].history["loss"] == by_hand.lanes["run"].history["loss"]
    predictor = runs.load(tmp_path / "run")
    rows = np.concatenate([LEFT, RIGHT.reshape(40, -1)], axis=1)
    outputs = predictor.outputs({"right": RIGHT, "left": LEFT})
    np.testing.assert_array_equal(outputs, predictor.outputs(rows))
    np.testing.assert_array_equal(outputs, predictor.outputs(str(tmp_path / "two.npz")))
    assert runs.verify(tmp_path / "run").same
    assert [op.kind for op in program_of(predictor).ops].count("from") == 3
    with pytest.raises(FileFault, match="the input 'right' is missing"):
        predictor.outputs({"left": LEFT})
    with pytest.raises(FileFault, match="has the shape"):
        predictor.outputs({"left": LEFT, "right": RIGHT[:, :2]})


def test_a_model_must_say_which_input_it_reads(tmp_path: Path) -> None:
    found = check(Source("s.nn", spec("residual { Linear(17) }; Linear(2)", data=two(tmp_path)))).diagnostics
    assert [(d.code, d.help) for d in found] == [("NN205", "begin with `from(left)` or `from(right)`")]
    found = check(Source("s.nn", spec("add { p { from(left) }; q { } }; Linear(2)", data=two(tmp_path)))).diagnostics
    assert [d.code for d in found] == ["NN205"]
    found = check(Source("s.nn", spec("from(lef); Linear(2)", data=two(tmp_path)))).diagnostics
    assert [(d.code, d.help) for d in found] == [("NN201", "did you mean `left`?")]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"left": LEFT, "y": Y}, "has no array for the input `right`"),
        ({"left": LEFT, "right": RIGHT[:9], "y": Y}, "`right` has 9 samples, but `left` has 40"),
        ({"left": LEFT, "right": RIGHT.astype("U4"), "y": Y}, "`right` contains text"),
        ({"left": LEFT, "right": WORDS.astype(np.uint8), "y": Y}, "`right` holds bytes"),
        (
            {"left_train": LEFT, "right_train": RIGHT, "y_train": Y, "left_test": RIGHT[:, 0, :], "y_test": Y}
            | {"right_test": np.ones((40, 13))},
            "`left` is 4 a sample",
        ),
    ],
)
def test_arrays_that_are_no_inputs_are_refused(arrays: dict[str, Any], said: str, tmp_path: Path) -> None:
    two(tmp_path, **arrays)
    with pytest.raises(FileFault, match=said):
        NPZ(str(tmp_path / "two.npz"), inputs=["left", "right"]).facts()


def test_an_array_is_not_both_input_and_target(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", left=LEFT, y=Y)
    with pytest.raises(FileFault, match="`y` would be both an input and a target"):
        NPZ((tmp_path / "two.npz").as_posix(), inputs=("left", "y")).facts()


def test_no_input_has_the_name_of_the_whole_sample(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the name of the sample itself"):
        NPZ("two.npz", inputs=("left", "input"))
    rows = "input,size,kind\n" + "".join(f"{i % 3},{i},{'ab'[i % 2]}\n" for i in range(20))
    (tmp_path / "t.csv").write_text(rows, encoding="utf-8")
    with pytest.raises(FileFault, match="`input` would be an input of the model, and it is the name of the sample"):
        CSV((tmp_path / "t.csv").as_posix(), target="kind", embed=("input",)).facts()


def test_names_and_declarations_that_contradict_are_refused() -> None:
    for names, said in ((["a"], "a single one needs no name"), (["a", "a"], "twice"), (["a b", "c"], "is not a name")):
        with pytest.raises(ValueError, match=said):
            NPZ("x.npz", inputs=names)
    with pytest.raises(ValueError, match="one for each"):
        Given(inputs=["a", "b"], features=[1, 2, 3])
    data = given_data(({"b": LEFT, "a": LEFT}, Y))
    with pytest.raises(FileFault, match="the data has the inputs b, a, but the spec expects a, b"):
        Given(inputs=["a", "b"]).with_data(data).facts()
    with pytest.raises(FileFault, match="has one input"):
        Given(inputs=["a", "b"]).load(Access(given=given_data((LEFT, Y))))
