"""Tables with columns of ids and of words: what is learned from the training rows, errors, and trained networks."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import ALONE, ROOT, run, spec

import nnspec
from nnspec.checker import check
from nnspec.data import CSV, Access, FileFault
from nnspec.data.source import Column, Field
from nnspec.diagnostics import Source
from nnspec.engine.part import FilePath

RATINGS = "user,age,film,stars\n" + "".join(
    f"u{i % 7},{20 + i % 5},{['Up', 'Brazil', 'Heat'][i % 3]},{1 + i % 4}.5\n" for i in range(40)
)
REVIEWS = "review,good\n" + "".join(
    f'"{["What a film, the best!", "Bad. Never again", "I liked the film"][i % 3]}",{["yes", "no", "yes"][i % 3]}\n'
    for i in range(30)
)


def table(folder: Path, text: str = RATINGS, **arguments: Any) -> CSV:
    (folder / "t.csv").write_text(text, encoding="utf-8")
    return CSV(folder / "t.csv", **({"target": "stars"} | arguments))


# Ids


def test_each_column_of_ids_is_an_input_of_its_own(tmp_path: Path) -> None:
    source = table(tmp_path, embed=("user", "film"), shuffle=False)
    data = source.load(Access())
    assert data.facts == source.facts()
    assert data.facts.inputs == (
        Field("numbers", 0, 1, (1,), axes=("features",)),
        Field("user", 1, 2, (), 8),
        Field("film", 2, 3, (), 4),
    )
    assert (data.facts.shape, data.facts.tokens) == ((3,), 0)
    assert data.columns[1:] == (
        Column("user", ("u0", "u1", "u2", "u3", "u4", "u5", "u6"), ids=True),
        Column("film", ("Brazil", "Heat", "Up"), ids=True),
    )
    np.testing.assert_array_equal(data.train.x[:3], [[20, 1, 3], [21, 2, 1], [22, 3, 2]])
    assert data.feature_names == ("age", "user", "film")


def test_ids_are_those_of_the_training_rows(tmp_path: Path) -> None:
    rows = "user,stars\n" + "".join(f"{user},{i}.5\n" for i, user in enumerate("baabbaab" + "cb"))
    data = table(tmp_path, rows, embed=("user",), shuffle=False).load(Access())
    assert data.columns == (Column("user", ("a", "b"), ids=True),)
    assert (data.facts.tokens, data.facts.inputs, data.facts.shape) == (3, (), (1,))  # the only input has no name
    assert data.test.x.tolist() == [[0.0], [2.0]]
    assert data.notes == ("1 of 2 test texts (50.0%) of column `user` have the id of unknown ones",)
    other = tmp_path / "test.csv"
    other.write_text("stars,user\n1.5,b\n2.5,zoe\n", encoding="utf-8")
    given = table(tmp_path, rows, embed=("user",), test=FilePath(other)).load(Access())
    assert given.columns[0].texts == ("a", "b", "c")
    assert given.test.x.tolist() == [[2.0], [0.0]]


def test_numbers_are_ids_by_their_texts_and_missing_ones_are_unknown(tmp_path: Path) -> None:
    rows = "user,age,stars\n" + "10,1,1.5\n2,2,2.5\n,3,3.5\n" * 4
    data = table(tmp_path, rows, embed=("user",), missing="mean", shuffle=False).load(Access())
    assert data.columns[1].texts == ("2", "10")
    assert data.train.x[:3, 1].tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("arguments", "argument", "message"),
    [
        ({"embed": ("usr",)}, "embed", "has no column `usr`"),
        ({"embed": ("user", "user")}, "embed", "`embed` names a column twice"),
        ({"embed": ("stars",)}, "embed", "`embed` names `stars`, which is a target"),
        (
            {"embed": ("user",), "features": ("age",)},
            "embed",
            "`embed` names `user`, which is not among the `features`",
        ),
        ({"embed": ("user",), "words": "user"}, "words", "`words` names `user`, which is read as words"),
    ],
)
def test_columns_that_cannot_be_ids(tmp_path: Path, arguments: dict[str, Any], argument: str, message: str) -> None:
    with pytest.raises(FileFault, match=message) as error:
        table(tmp_path, **arguments).facts()
    assert error.value.argument == argument


@pytest.mark.parametrize(
    ("name", "why"), [("user id", "is not a name"), ("numbers", "is the name of all other features")]
)
def test_columns_of_ids_need_names_that_a_model_can_use(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(FileFault, match=f"`{name}` would be an input of the model, and it {why}"):
        table(tmp_path, RATINGS.replace("user", name), embed=(name,)).facts()


# Words


def test_a_column_of_words_alone_is_the_only_input(tmp_path: Path) -> None:
    source = table(tmp_path, REVIEWS, target="good", words="review", length=5, vocabulary=8, shuffle=False)
    data = source.load(Access())
    assert data.facts == source.facts()
    assert (data.facts.shape, data.facts.tokens, data.facts.padding, data.facts.axes) == ((5,), 8, 0, ("places",))
    (column,) = data.columns
    assert column.texts == ("film", "the", ",", ".", "a", "again")  # after padding and unknown words
    assert data.train.x[:3].tolist() == [[1, 6, 2, 4, 3], [1, 5, 1, 7, 0], [1, 1, 3, 2, 0]]
    assert [column.ids_of(text) for text in ("What a film, the best!", "bad. never again", "I liked the film")] == (
        data.train.x[:3].tolist()
    )
    assert data.notes[0] == "10 of 30 cells of column `review` in t.csv are cut to 5 words".replace(
        "t.csv", str(tmp_path / "t.csv").replace("\\", "/")
    )
    assert "training words" in data.notes[1]


def test_words_beside_other_features_are_a_named_input(tmp_path: Path) -> None:
    text = REVIEWS.replace("review,good", "review,length,good").replace('",', '",3,')
    facts = table(tmp_path, text, target="good", words="review", length=6).facts()
    assert [(field.name, field.shape, field.padding) for field in facts.inputs] == [
        ("numbers", (1,), None),
        ("review", (6,), 0),
    ]


def test_words_are_those_of_the_training_rows(tmp_path: Path) -> None:
    rows = "text,good\n" + "a b,yes\nb c,no\n" * 4 + "d,yes\nb,no\n"
    data = table(tmp_path, rows, target="good", words="text", length=3, shuffle=False).load(Access())
    assert data.columns[0].texts == ("b", "a", "c")
    assert data.test.x.tolist() == [[1, 0, 0], [2, 0, 0]]


# Networks


FILMS = """
concat {
    a { from(user); Embedding(3) }
    b { from(film); Embedding(2) }
    c { from(numbers) }
}
Linear(1)
"""


@pytest.mark.parametrize("model", [FILMS, "add { a { from(user); Embedding(1) } b { from(film); Embedding(1) } }"])
def test_all_ways_of_training_agree(tmp_path: Path, model: str) -> None:
    table(tmp_path)
    embed = '["user", "film"]' + ("" if "numbers" in model else ', drop=["age"]')
    text = spec(
        model,
        data=f'CSV("{(tmp_path / "t.csv").as_posix()}", target="stars", embed={embed})',
        loss="MSE",
        race="SGD(lr=0.01); Adam(lr=0.01)",
        train="epochs = 2; batch = 8" + ("; standardise = true" if "numbers" in model else ""),
        expect="gradient_error < 1e-6",
    )
    alone, stacked = run(text, ways=ALONE), run(text)
    for name, lane in alone.items():
        assert (lane.history, lane.trace) == (stacked[name].history, stacked[name].trace)


def test_ids_are_not_standardised(tmp_path: Path) -> None:
    table(tmp_path)
    text = spec(
        FILMS,
        data=f'CSV("{(tmp_path / "t.csv").as_posix()}", target="stars", embed=["user", "film"])',
        loss="MSE",
        train="epochs = 1; batch = 8; standardise = true",
    )
    scaling = run(text)["run"].scaling
    assert scaling is not None
    assert [array[1:].tolist() for array in scaling] == [[0, 0], [1, 1]]
    assert scaling[0][0] == pytest.approx(22, abs=1)


@pytest.mark.parametrize(
    ("model", "data", "row", "unknown"),
    [
        (FILMS, 'CSV("t.csv", target="stars", embed=["user", "film"])',
         {"user": "u1", "film": "Up", "age": 24}, "user"),
        ("Embedding(4); LSTM(3, return_sequences=false); Linear(2)",
         'CSV("t.csv", target="good", words="review", length=4)', {"review": "the worst film"}, ""),
    ],
)  # fmt: skip
def test_new_rows_are_predicted_and_evaluated(
    tmp_path: Path, model: str, data: str, row: dict[str, Any], unknown: str
) -> None:
    table(tmp_path, RATINGS if unknown else REVIEWS)
    loss, train = ("MSE", "epochs = 1; standardise = true") if unknown else ("CrossEntropy", "epochs = 1")
    (tmp_path / "s.nn").write_text(spec(model, data=data, loss=loss, train=train), encoding="utf-8")
    result = nnspec.run(tmp_path / "s.nn", out=tmp_path / "run")["run"]
    predictor = nnspec.runs.load(tmp_path / "run")
    (tmp_path / "new.csv").write_text(",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n")
    (of_file,) = nnspec.runs.predict(predictor, [tmp_path / "new.csv"])
    assert of_file.notes == ()
    columns = {name: [value] for name, value in row.items()}
    np.testing.assert_array_equal(of_file.outputs, predictor.outputs(columns))
    np.testing.assert_array_equal(result.predict(columns), predictor.predict(columns))
    if not unknown:  # a text has a sample a line
        (tmp_path / "new.txt").write_text(f"{row['review']}\n\nbad\n", encoding="utf-8")
        (of_text,) = nnspec.runs.predict(predictor, [tmp_path / "new.txt"])
        assert [name[-1] for name in of_text.names] == ["1", "3"]
        np.testing.assert_allclose(of_text.outputs[:1], of_file.outputs, rtol=1e-5)
    if unknown:
        with pytest.warns(UserWarning, match="`u9` of column `user`: not in the training data"):
            predictor.outputs(columns | {unknown: ["u9"]})
    (evaluation,) = nnspec.runs.evaluate(tmp_path / "run", data=str(tmp_path / "t.csv"))
    assert np.isfinite(evaluation.figures["test_loss"])
    assert all(each.same for each in nnspec.runs.evaluate(tmp_path / "run"))
    with pytest.raises(nnspec.SpecError, match="`embed` or `words` cannot be exported"):
        nnspec.runs.export(tmp_path / "run", tmp_path / "out.onnx")
    nnspec.runs.export(tmp_path / "run", tmp_path / "out.npz")


def test_a_model_says_which_input_it_reads(tmp_path: Path) -> None:
    table(tmp_path)
    data = f'CSV("{(tmp_path / "t.csv").as_posix()}", target="stars", embed=["user", "film"])'
    (finding, *_) = check(Source("s.nn", spec("Linear(1)", data=data, loss="MSE"))).diagnostics
    assert finding.message == "the data has 3 inputs, and `Linear` does not say which of them it reads"


@pytest.mark.parametrize(("name", "lines"), [("ratings", 1_501), ("reviews", 701)])
def test_the_tables_of_the_specs_are_those_of_their_scripts(tmp_path: Path, name: str, lines: int) -> None:
    script = ROOT / f"specs/data/make_{name}.py"
    made = tmp_path / f"make_{name}.py"
    made.write_text(script.read_text(encoding="utf-8"), encoding="utf-8")
    runpy.run_path(str(made), run_name="__main__")
    text = (tmp_path / f"{name}.csv").read_text(encoding="utf-8")
    assert text == (script.parent / f"{name}.csv").read_text(encoding="utf-8")
    assert len(text.splitlines()) == lines
