"""Tables as they are found: words for missing values, other ways to write numbers, splits, indices, leaks, labels.

Each help text that a message gives is followed here, and leads to a clean check.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hostile_files import refused
from tiny_csv import Write, rows
from tiny_spec import run, spec

import nnspec
from nnspec import runs
from nnspec.checker import check
from nnspec.data import CSV, Access, DataError
from nnspec.data.csv_cells import Form
from nnspec.diagnostics import Diagnostic, Source

Found = Callable[..., tuple[Diagnostic, ...]]


@pytest.fixture
def found(tmp_path: Path) -> Found:
    """Check a spec about a table, and return the findings."""

    def found(content: str, arguments: str, *, loss: str = "MSE", model: str = "Linear(1)") -> tuple[Diagnostic, ...]:
        (tmp_path / "t.csv").write_text(content)
        text = spec(model, loss=loss, data=f'CSV("t.csv", {arguments})', train="batch = 1")
        return check(Source("t.nn", text, tmp_path)).diagnostics

    return found


# What is missing


DRINKS = "a,b,drink\n" + "".join(f'{i},{i % 3},"{["none", "light", "heavy"][i % 3]}"\n' for i in range(1, 13))


def test_quoted_text_is_text(write: Write) -> None:
    for more in ({}, {"categories": ["drink"]}, {"missing": "drop"}):
        data = CSV(write(DRINKS), "drink", **more).load(Access())
        assert data.class_names == ("heavy", "light", "none")
        assert data.facts.train + data.facts.test == 12
        assert data.notes == ()


def test_categories_are_text(write: Write, found: Found) -> None:
    table = "a,country,y\n1,NA,2\n3,DE,5\n4,NA,6\n"
    assert rows(write(table), "y", categories=["country"])[0] == [[1, 0, 1], [3, 1, 0], [4, 0, 1]]
    (doubt,) = found(table, '"y"')
    assert (doubt.code, doubt.severity) == ("NN727", "warning")
    assert found(table, '"y", categories=["country"]') == ()
    assert found(table, '"y", missing_words = ["NA"], missing = mean') == ()
    assert rows(write(table), "y", missing_words=["NA"], missing="mean")[0] == [[1, 0], [3, 1], [4, 0]]


def test_words_for_missing_can_be_set(write: Write) -> None:
    path = write("a,b\n-99,1\n2,2\nNA,3\n4,4\n")
    with refused("line 4, column `a`: `NA` is not a number"):
        CSV(path, "b", missing_words=["-99"], missing="drop").facts()
    assert rows(path, "b", missing_words=["-99", "na"], missing="drop")[0] == [[2], [4]]
    with refused('line 2, column `a`: `-99` marks a missing value; .*`categories = \\["a"\\]` makes it a text'):
        CSV(path, "b", missing_words=["-99"]).facts()


def test_a_first_cell_that_is_missing_does_not_say_what_a_column_holds(write: Write) -> None:
    path = write("a,k,b\nNA,none,1\n2,x,2\n3,none,3\n")
    assert rows(path, "b", missing="mean")[0] == [[2.0, 1, 0], [2, 0, 1], [3, 1, 0]]


def test_dropped_rows_are_reported(write: Write) -> None:
    path = write("a,b\n1,x\n,y\n3,z\n,z\n5,x\n")
    data = CSV(path, "b", missing="drop").load(Access())
    assert data.notes == (f"2 of 5 rows of {path} have missing values and were dropped, including all of class `y`",)
    data = CSV(path, "b", missing="mean").load(Access())
    assert data.notes == (f"2 missing cells of {path} were filled with means over the training rows",)
    result = run(spec("Linear(2)", data=f'CSV("{path.as_posix()}", "b", missing=drop)', train="epochs = 1; batch = 2"))
    assert "including all of class `y`" in result.summary["data"][0]["notes"][0]


# Numbers


@pytest.mark.parametrize(
    ("cells", "cures", "values"),
    [
        (["3,5", "4", "-0,25"], ["decimal = ,"], [3.5, 4, -0.25]),
        (["1,234", "2,000"], ["decimal = ,", "thousands = ,"], [1.234, 2.0]),
        (["1,234.5", "7"], ["thousands = ,"], [1234.5, 7]),
        (["1.234.567", "7,5"], ["decimal = ,, thousands = ."], [1234567, 7.5]),
        (["1 234", "7"], ["thousands =  "], [1234, 7]),
        (["1\u00a0234,5", "7"], ["decimal = ,, thousands =  "], [1234.5, 7]),
        (["1'234.50"], ["thousands = '"], [1234.5]),
        (["12.5%", "3 %"], ["strip = %"], [12.5, 3]),
        (["$1,299.00", "$5"], ["thousands = ,, strip = $"], [1299, 5]),
    ],
)
def test_numbers_in_other_styles(cells: list[str], cures: list[str], values: list[float]) -> None:
    ways = Form().otherwise(cells)
    assert [way.replace('"', "") for way in ways] == cures
    settings = dict(part.split(" = ") for part in ways[0].replace('", ', '"\n').split("\n"))
    form = Form(**{name: text.strip('"') for name, text in settings.items()})
    assert [form.number(cell) for cell in cells] == values


@pytest.mark.parametrize("cell", ["1,23,4", "12,34.5", "a1", "1,2345", "", ",", "1..2", "1.2.3", "--1", "2024-01-05"])
def test_what_is_a_number_in_no_style(cell: str) -> None:
    assert Form(thousands=",").number(cell) is None
    if cell:
        assert not any("thousands" in way and "decimal" not in way for way in Form().otherwise([cell, "x"]))


def test_numbers_are_never_one_hot_in_silence(found: Found) -> None:
    table = "a;b;y\n3,5;1;7\n4,25;2;8\n5;3;9\n"
    (wrong,) = found(table, '"y", delimiter=";", features=["a"]')
    assert wrong.code == "NN502"
    assert "column `a` of" in wrong.message
    assert "seems to contain numbers, such as `3,5`" in wrong.message
    assert wrong.help == '`decimal = ","` reads them as numbers; `categories = ["a"]` keeps them as text'
    assert found(table, '"y", delimiter=";", features=["a"], decimal = ","') == ()
    assert found(table, '"b", delimiter=";", features=["a"], categories = ["a"]') == ()
    (late,) = found("a;y\n3;1\n4,5;2\n", '"y", delimiter=";"')
    assert '`decimal = ","` reads it' in late.help
    many = "a;y\n" + "".join(f"{i},5;{i}\n" for i in range(150))
    (wrong,) = found(many, '"y", delimiter=";"')
    assert '`decimal = ","` reads them as numbers' in wrong.help
    assert found(many, '"y", delimiter=";", decimal=","') == ()


def test_a_word_among_numbers_is_asked_about(found: Found, write: Write) -> None:
    table = "a,y\nunknown,1\n2,3\n4,5\n6,6\n"
    (wrong,) = found(table, '"y"')
    assert "contains numbers, but also `unknown`" in wrong.message
    assert '`missing_words = ["unknown"], missing = drop`' in wrong.help
    assert found(table, '"y", missing_words = ["unknown"], missing = drop') == ()
    assert found(table, '"y", categories = ["a"]') == ()
    assert found("a,y\nS,1\n40,3\nM,5\n", '"y"') == ()  # sizes


def test_values_of_a_table_with_decimal_commas(write: Write) -> None:
    x, y, _ = rows(write('a;b;y\n"1.234,5";5 %;1,5\n"-7";2,5%;2\n'), "y", delimiter=";", decimal=",", thousands=".",
                   strip="%")  # fmt: skip
    assert x == [[1234.5, 5], [-7, 2.5]]
    assert y == [1.5, 2]


# Shapes of files


def test_a_column_without_a_name_is_not_a_feature(write: Write) -> None:
    path = write(",a,b,y\n0,1,2,3\n1,2,3,5\n2,3,4,7\n")
    data = CSV(path, "y").load(Access())
    assert data.feature_names == ("a", "b")
    assert data.notes == (f"column 1 of {path} has no name and is not used as a feature",)
    assert rows(path, "y", features=["b"])[0] == [[2], [3], [4]]


def test_delimiters_at_the_ends_of_rows(write: Write) -> None:
    for table in ("a,b,y,\n1,2,3,\n2,3,5,\n", "a,b,y\n1,2,3,\n2,3,5,\n"):
        assert rows(write(table), "y")[0] == [[1, 2], [2, 3]]
        assert CSV(write(table), "y").load(Access()).notes == ()


def test_names_that_come_twice_matter_where_they_are_used(found: Found) -> None:
    table = "a,a,b,y\n1,1,2,3\n2,2,3,5\n"
    assert found(table, '"y", features=["b"]') == ()
    (wrong,) = found(table, '"y"')
    assert wrong.help == 'rename one, or drop both: `drop = ["a"]`'
    assert found(table, '"y", drop = ["a"]') == ()
    assert "two columns `a`" in found(table, '"y", features=["a"]')[0].message


def test_white_space_between_cells(write: Write, found: Found) -> None:
    table = 'cement  water kind\n 540.0   162.0  "a b"\n  1e2\t 7   c\n'
    x, y, _ = rows(write(table), "kind", delimiter=" ")
    assert x == [[540, 162], [100, 7]]
    assert y == [0, 1]
    (wrong,) = found(table, '"water"')
    assert wrong.help == 'is it `delimiter = " "`?'
    assert found(table, '"water", delimiter = " "') == ()


def test_comments(write: Write, found: Found) -> None:
    table = "# exported by hand\na,b,y\n1,2,3\n# more\n2,3,5\n"
    (wrong,) = found(table, '"y"')
    assert wrong.help == '`comment = "#"` skips such lines'
    assert found(table, '"y", comment = "#"') == ()
    assert rows(write(table), "y", comment="#")[0] == [[1, 2], [2, 3]]


@pytest.mark.parametrize("sign", [";", "\\t", "|"])
def test_hints_at_delimiters(found: Found, sign: str) -> None:
    raw = sign.replace("\\t", "\t")
    table = "cost,weight,yt\n1,2,3\n2,3,5\n".replace(",", raw)
    (wrong,) = found(table, '"yt"')
    assert wrong.help == f'is it `delimiter = "{sign}"`?'
    assert found(table, f'"yt", delimiter = "{sign}"') == ()


def test_a_separate_table_for_testing(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a,k,y\n1,u,2\n2,v,4\n3,u,6\n")
    (tmp_path / "test.csv").write_text("y,extra,k,a\n8,0,v,4\n10,0,w,5\n")
    text = spec("Linear(1)", loss="MSE", data='CSV("train.csv", "y", test="test.csv")', train="epochs = 1; batch = 2")
    source = check(Source("t.nn", text, tmp_path)).program.lanes[0].data[0].source  # type: ignore[union-attr]
    assert source.looks_at() == (str(tmp_path / "train.csv"), str(tmp_path / "test.csv"))
    data = source.load(Access())
    assert sorted(data.train.x.tolist()) == [[1, 1, 0], [2, 0, 1], [3, 1, 0]]
    assert data.test.x.tolist() == [[4, 0, 1], [5, 0, 0]]
    assert data.test.y.tolist() == [8, 10]
    (note,) = data.notes
    assert note.endswith("test.csv has texts in `k` that do not occur in training: `w`, in 1 row")


def test_a_table_for_testing_must_fit(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a,y\n1,u\n2,v\n3,u\n")
    for content, message in {
        "a,z\n4,u\n": "test.csv has no column `y`",
        "a,y\n4,w\n": "line 2, column `y`: no training row has the class `w`",
        "a,y\nx,u\n": "line 2, column `a`: `x` is not a number, but the training rows contain numbers",
        "a,y\n": "has 0 rows of data: at least 1 needed",
    }.items():
        (tmp_path / "test.csv").write_text(content)
        with refused(message, "test"):
            CSV(tmp_path / "train.csv", "y", test=str(tmp_path / "test.csv")).facts()
    with refused("file not found", "test"):
        CSV(tmp_path / "train.csv", "y", test=str(tmp_path / "none.csv")).facts()


# Splits


def test_every_class_has_its_share_of_the_test_rows(write: Write) -> None:
    lines = [f"{i},{'rare' if i % 20 == 0 else 'usual'}" for i in range(100)]
    path = write("a,y\n" + "\n".join(lines) + "\n")
    for seed in range(5):
        data = CSV(path, "y", test=0.2, stratify=True, seed=seed).load(Access())
        # 5 of 100 are rare: 1 of 20 for testing, 4 of 80 for training, as scikit-learn's stratify=y has it.
        assert [np.bincount(split.y).tolist() for split in (data.test, data.train)] == [[1, 19], [4, 76]]
        assert sorted([*data.train.x[:, 0], *data.test.x[:, 0]]) == list(range(100))
    usual = {tuple(np.bincount(CSV(path, "y", seed=s).load(Access()).test.y, minlength=2)) for s in range(5)}
    assert len(usual) > 1
    last = CSV(path, "y", stratify=True, shuffle=False).load(Access())
    assert last.test.x[:, 0].tolist() == [80, *range(81, 100)]
    with refused("`stratify` needs classes, but `y` contains numbers that are not whole", "stratify"):
        CSV(write("a,y\n1,0.5\n2,1.5\n"), "y", stratify=True).facts()


def test_classes_that_a_part_lacks_are_named(write: Write) -> None:
    path = write("a,y\n" + "".join(f"{i},{'xyz'[i // 10 if i < 20 else 2]}\n" for i in range(22)))
    data = f'CSV("{path.as_posix()}", "y", shuffle=false, test=0.1)'
    text = spec("Linear(3)", data=data, train="epochs = 1; batch = 4; validation = 0.05")
    notes = run(text).notes
    assert notes[0] == "the training data has no sample of class `z`: the network cannot learn it"
    assert notes[1].startswith("the validation data has no sample of the classes `")
    assert notes[1].endswith(
        "validation figures do not measure them; `train.stratify = true` gives every class its share"
    )
    assert notes[2] == (
        "the test data has no sample of the classes `x`, `y`: "
        "test figures do not measure them; `data.stratify = true` gives every class its share"
    )


def test_a_class_that_a_given_table_lacks_has_no_cure_that_is_refused(write: Write) -> None:
    rows = "".join(f"{i % 5},{'xyz'[i % 3]}\n" for i in range(24))
    path = write("a,y\n" + rows)
    test = path.with_name("test.csv")
    test.write_text("a,y\n1,x\n2,y\n")
    given = f'CSV("{path.as_posix()}", "y", test="{test.as_posix()}", shuffle=false)'
    notes = run(spec("Linear(3)", data=given, train="epochs = 1; batch = 4; validation = last(0.05)")).notes
    assert "the test data has no sample of class `z`: test figures do not measure it" in notes
    assert "the validation data has no sample of the classes `x`, `y`: validation figures do not measure them" in notes


# Columns that should not be features


def test_a_column_that_numbers_the_rows(found: Found) -> None:
    body = [f"{i + 1},{i * 7 % 11}.5,{i * i % 13}" for i in range(30)]
    table = "PassengerId,a,y\n" + "\n".join(body) + "\n"
    (doubt,) = found(table, '"y"')
    assert (doubt.code, doubt.help) == ("NN725", '`drop = ["PassengerId"]`')
    assert found(table, '"y", drop = ["PassengerId"]') == ()
    assert found(table.replace("PassengerId", "minute"), '"y"')[0].code == "NN725"
    shuffled = "user_id,a,y\n" + "\n".join(f"{(i * 17 + 5) % 31 + 100},{i * 7 % 11}.5,{i * i % 13}" for i in range(30))
    assert found(shuffled, '"y"')[0].code == "NN725"
    assert found(shuffled.replace("user_id", "grid"), '"y"') == ()
    assert found(table, '"y", drop=["Id"]')[0].code == "NN201"


def test_a_column_that_gives_the_target_away(found: Found) -> None:
    head, body = "a,code,y", [(i * 7 % 11 + 0.5, i * i % 5) for i in range(30)]
    same = "\n".join([head, *(f"{a},{y},{y}" for a, y in body)])
    line = "\n".join([head, *(f"{a},{1.8 * y + 32},{y}" for a, y in body)])
    coded = "\n".join([head, *(f"{a},{7 - y},{'pqrst'[y]}" for a, y in body)])
    nearly = "\n".join([head, *(f"{a},{y + (i == 29)},{y}" for i, (a, y) in enumerate(body))])
    for table in (same, line):
        (doubt,) = found(table, '"y"')
        assert doubt.code == "NN726"
        assert doubt.message == "`code` alone determines `y` exactly in all 30 rows"
    assert found(coded, '"y"', loss="CrossEntropy", model="Linear(5)")[0].code == "NN726"
    assert found(nearly, '"y"') == ()
    assert found(same, '"y", drop = ["code"]') == ()
    assert "remove it from `features`" in found(same, '"y", features=["a", "code"]')[0].help
    only = "\n".join(["x,y", *(f"{i}.5,{2 * i + 1}" for i in range(30))])
    assert found(only, '"y"') == ()  # a straight line is what there is to learn


# Classes or numbers


def test_whole_numbers_are_classes_where_the_loss_takes_classes(write: Write) -> None:
    path = write("a,b,y\n" + "".join(f"{i % 7},{i % 3},{[0, 1, 5][i % 3 * (i % 2)]}\n" for i in range(40)))
    data = f'CSV("{path.as_posix()}", "y")'
    result = run(spec("Linear(data.classes)", data=data, train="epochs = 1"))
    (use,) = result.data
    assert (use.classes, use.class_names, use.target_names) == (3, ("0", "1", "5"), ())
    assert "test_accuracy" in result["run"].history
    both = spec("Linear(3)", data=data, train="epochs = 1", race="c { loss = CrossEntropy }; h { loss = Hinge }",
                more="optimizer = SGD")  # fmt: skip
    assert len(run(both).data) == 1
    regression = run(spec("Linear(1)", loss="MSE", data=data, train="epochs = 1"))
    assert regression.data[0].classes is None
    assert "test_accuracy" not in regression["run"].history


def test_zeros_and_ones_with_a_single_logit(write: Write, found: Found) -> None:
    path = write("a,b,y\n" + "".join(f"{i % 7},{i % 3},{i % 2}\n" for i in range(40)))
    result = run(spec("Linear(1)", loss="BCEWithLogits", data=f'CSV("{path.as_posix()}", "y")', train="epochs = 1"))
    assert "test_accuracy" in result["run"].history
    (wrong, *_) = found("a,y\n1,0.5\n2,1.5\n", '"y"', loss="CrossEntropy", model="Linear(2)")
    assert wrong.help == "for regression, use `MSE`"


def test_predict_reads_tables_as_training_did(tmp_path: Path) -> None:
    rows = [f"{i};{i % 7},5;{['none', 'ja', 'nein'][i % 3]};{2 * i},25" for i in range(30)]
    (tmp_path / "t.csv").write_text("# a\n;a;k;y\n" + "\n".join(rows) + "\n")
    arguments = '"y", delimiter=";", decimal=",", comment="#", categories=["k"], missing=mean'
    text = spec("Linear(1)", loss="MSE", data=f'CSV("t.csv", {arguments})', train="epochs = 1")
    (tmp_path / "s.nn").write_text(text)
    nnspec.run(tmp_path / "s.nn", out=tmp_path / "out")
    (tmp_path / "new.csv").write_text('# b\na;k\n1,5;none\n"2,5";ja;\nNA;nein\n')
    predictor = runs.load(tmp_path / "out")
    (found,) = runs.predict(predictor, [tmp_path / "new.csv"])
    data = CSV(tmp_path / "t.csv", "y", delimiter=";", decimal=",", comment="#", categories=["k"])
    mean = data.load(Access()).train.x[:, 0].mean()
    by_hand = [[1.5, 0, 0, 1], [2.5, 1, 0, 0], [mean, 0, 1, 0]]  # ja, nein, none
    np.testing.assert_array_equal(found.outputs, predictor.outputs(np.array(by_hand)))
    python = {"a": [1.5, 2.5, None], "k": ["none", "ja", "nein"]}
    assert "filled with the mean" in " ".join(found.notes)
    with pytest.warns(UserWarning, match="filled with the mean of the training data"):
        np.testing.assert_array_equal(found.outputs, predictor.outputs(python))
    (tmp_path / "new.csv").write_text("a;k\n1,5;NA\n")
    with refused("`NA` does not occur in the training data"):
        runs.predict(predictor, [tmp_path / "new.csv"])


def test_a_folder_of_data_is_not_for_paths_that_the_spec_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    for folder in ("here", "there"):
        (tmp_path / folder / "t.csv").write_text("a,y\n1,2\n2,3.5\n3,5\n")
    text = spec("Linear(1)", loss="MSE", data='CSV("t.csv", "y")', train="epochs = 1; batch = 2")
    (tmp_path / "here/s.nn").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"CSV reads the file given in the spec, t\.csv; remove --data-dir, or"):
        nnspec.run("here/s.nn", data_dir="there")
    result = nnspec.run("here/s.nn", set=['data.path="there/t.csv"'])  # as the message says
    assert result.data[0].origin == str(tmp_path / "there/t.csv")
    with pytest.raises(DataError, match="Digits reads no files; remove --data-dir"):
        run(spec(), access=Access(data_dir=tmp_path))
