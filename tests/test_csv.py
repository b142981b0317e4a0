"""Tables from CSV files: columns, targets, missing cells, and errors for files that are not tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hostile_files import HOSTILE, refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_csv import Write, rows
from tiny_spec import ROOT, run, spec

from nnspec.checker import check
from nnspec.data import CSV, Access, DataError, Facts, FileFault
from nnspec.data.source import fields_of
from nnspec.diagnostics import Source

TABLE = 'size,kind,"the ""third""",price\n1,cat,0.5,10\n2,dog,-1e3,20\n3,cat,2.5,30\n4,ant,7,40\n'


def test_numbers_and_texts(write: Write) -> None:
    x, y, source = rows(write(TABLE), "price")
    # size; ant, cat, dog; the "third"
    assert x == [[1, 0, 1, 0, 0.5], [2, 0, 0, 1, -1000], [3, 0, 1, 0, 2.5], [4, 1, 0, 0, 7]]
    assert y == [10, 20, 30, 40]
    columns = fields_of([("size", 1), ("kind", 3), ('the "third"', 1)])
    levels = (10, 20, 30, 40)
    wanted = Facts((5,), None, 3, 1, "float64", levels=levels, columns=columns, target_names=("price",))
    assert source.facts() == wanted


def test_text_as_target_means_classes(write: Write) -> None:
    path = write(TABLE)
    x, y, source = rows(path, "kind")
    assert (y, source.facts().classes) == ([1, 2, 1, 0], 3)
    assert x[0] == [1, 0.5, 10]
    assert source.load(Access()).class_names == ("ant", "cat", "dog")


def test_numbers_may_be_classes(write: Write) -> None:
    _, y, source = rows(write("a,b\n1,10\n2,9\n3,10\n"), "b", categories=["b"])
    assert (y, source.facts().classes) == ([1, 0, 1], 2)
    assert source.load(Access()).class_names == ("9", "10")


def test_several_targets(write: Write) -> None:
    x, y, source = rows(write(TABLE), ["price", "size"], features=["kind"])
    assert source.facts().target == (2,)
    assert y == [[10, 1], [20, 2], [30, 3], [40, 4]]
    assert x[3] == [1, 0, 0]
    with refused("line 2, column `kind`: `cat` is text, but several targets must be numbers"):
        CSV(write(TABLE), ["price", "kind"]).facts()


def test_features_in_the_order_given(write: Write) -> None:
    assert rows(write(TABLE), "price", features=['the "third"', "size"])[0][1] == [-1000, 2]
    assert rows(write(TABLE), "price", features=["size"], categories=["size"])[0][1] == [0, 1, 0, 0]


def test_other_delimiters_ends_and_a_mark(write: Write) -> None:
    plain = rows(write(TABLE), "price")[:2]
    other = b"\xef\xbb\xbf" + TABLE.replace(",", ";").replace("\n", "\r\n").encode()
    assert rows(write(other), "price", delimiter=";")[:2] == plain
    assert rows(write(TABLE.replace(",", "\t")), "price", delimiter="\t")[:2] == plain
    assert rows(write(TABLE.replace("\n", "\n\n").replace(",", " , ").strip()), "price")[:2] == plain


def test_line_ends_inside_a_cell(write: Write) -> None:
    _, y, source = rows(write('a,b\n1,"x\ny"\n2,z\n'), "b")
    assert (y, source.facts().classes) == ([0, 1], 2)
    with refused("line 5, column `a`: the cell is empty"):
        CSV(write('a,b\n1,"x\ny"\n2,z\n,z\n'), "b").facts()


def test_shuffling_goes_by_the_seed_alone(write: Write) -> None:
    path = write("a,b\n" + "".join(f"{i},{2 * i}\n" for i in range(50)))
    once, again, other = (CSV(path, "b", seed=s).load(Access()) for s in (1, 1, 2))
    assert once.sha256 == again.sha256 != other.sha256
    every = np.concatenate([once.train.x, once.test.x])[:, 0]
    assert sorted(every) == list(range(50)) != list(every)
    assert len(once.test.x) == 10
    assert (once.train.y == 2 * once.train.x[:, 0]).all()
    # The first numbers of PCG64 never change, nor does the order that they give.
    words = np.random.PCG64(np.random.SeedSequence(1, spawn_key=(0,))).random_raw(50)
    order = np.argsort(words, kind="stable")
    assert list(every) == list(order)


GAPS = "a,k,b\n1,x,1\n,x,2\n3,,3\n5,y,4\n9,y,5\n"


def test_what_is_missing(write: Write) -> None:
    path = write(GAPS)
    with refused("t.csv, line 3, column `a`: the cell is empty; `missing = drop` drops .*, `missing = mean` fills"):
        CSV(path, "b").facts()
    assert rows(path, "b", missing="drop")[0] == [[1, 1, 0], [5, 0, 1], [9, 0, 1]]
    # The mean is that of the rows that are trained on: 1, 3 and 5, and not 9.
    assert rows(path, "b", missing="mean")[0] == [[1, 1, 0], [3, 1, 0], [3, 0, 0], [5, 0, 1], [9, 0, 1]]
    with refused(r"line 3, column `a`: the cell is empty; `missing = drop` drops such rows$"):
        CSV(path, "a", missing="mean").facts()
    assert rows(path, "b", features=["a"], missing="drop")[0] == [[1], [3], [5], [9]]


@pytest.mark.parametrize("cell", ["", "NA", "n/a", "NaN", "?", "null", "None", "-", " "])
def test_words_for_missing(write: Write, cell: str) -> None:
    path = write(f"a,b\n1,2\n{cell},3\n4,5\n")
    assert rows(path, "b", missing="mean")[0] == [[1], [1], [4]]


BAD = {
    "empty": ("", "is empty: its first line must name"),
    "header alone": ("a,b\n", "has 0 rows of data: at least 2 needed"),
    "one row": ("a,b\n1,2\n", "has 1 row of data"),
    "short row": ("a,b\n1,2\n3\n", "line 3: 1 cells, but the first line has 2"),
    "long row": ("a,b\n1,2\n3,4,5\n", "line 3: 3 cells"),
    "no names": ("1,2\n3,4\n", "the first line of .* contains numbers"),
    "a name twice": ("a,b,a\n1,2,3\n", "has two columns `a`"),
    "mixed": (
        "a,b\n1,2\n3,4\n1o,5\n",
        "line 4, column `a`: `1o` is not a number, unlike the cells above; `categories = ",
    ),
    "infinite": ("a,b\n1,2\n-inf,4\n", "line 3, column `a`: `-inf` is not a usable number"),
    "large": ("a,b\n1e39,2\n3,4\n", "line 2, column `a`: `1e39` is not a usable number"),
    "underscore": ("a,b\n1,2\n1_0,4\n", "`1_0` is not a number"),
    "open quote": ('a,b\n1,"2\n3,4\n', "line 3: a quoted cell has no closing quote"),
    "bad quote": ('a,b\n1,"2"3\n', "line 2: `3` follows a closing quote"),
    "long cell": ("a,b\n1," + "2" * 200_000 + "\n", "line 2: a cell is longer than 131,072 characters"),
    "many texts": (
        "a,b\n" + "".join(f"t{i},{i}\n" for i in range(101)),
        "this column contains more than 100 different texts",
    ),
    "many columns": (",".join(f"c{i}" for i in range(10_001)), "has 10,001 columns, but at most 10,000 are allowed"),
    "latin-1": (b"a,b\n\xe9,1\n", "byte 4 is 0xe9"),
    "nul": (b"a,b\n\0,1\n", "contains a NUL"),
    "unprintable": ("a,b\n1,2\n\x1b[31m,5\n", r"`\\x1b\[31m` is not a number"),
}


@pytest.mark.parametrize("kind", BAD)
def test_files_that_are_not_tables(write: Write, kind: str) -> None:
    content, message = BAD[kind]
    with refused(message):
        CSV(write(content), "b").facts()


@pytest.mark.parametrize("kind", HOSTILE)
def test_paths_that_are_not_files(tmp_path: Path, kind: str) -> None:
    make, message = HOSTILE[kind]
    make(tmp_path / "x.csv")
    with refused(message):
        CSV(tmp_path / "x.csv", "b").facts()


@pytest.mark.parametrize(
    ("argument", "named", "message"),
    [
        ("delimiter", {"delimiter": ""}, "a delimiter must be one character"),
        ("delimiter", {"delimiter": '"'}, "a delimiter must be one character"),
        ("features", {"features": []}, "no column is left"),
        ("features", {"features": ["size", "size"]}, "names a column twice"),
        ("features", {"features": ["price"]}, "`price` is both a target and a feature"),
        ("categories", {"categories": ["pirce"]}, "has no column `pirce`"),
        ("features", {"features": ["Size"]}, "has no column `Size`"),
    ],
)
def test_arguments_that_do_not_fit(write: Write, argument: str, named: dict[str, object], message: str) -> None:
    with refused(message, argument):
        CSV(write(TABLE), "price", **named).facts()


def test_targets_that_do_not_fit(write: Write) -> None:
    with refused("the target `b` is the same in all rows", "target"):
        CSV(write("a,b\n1,x\n2,x\n"), "b").facts()
    with refused("there is no target", "target"):
        CSV(write(TABLE), ()).facts()
    with refused("no column is left as a feature", "target"):
        CSV(write("a\n1\n2\n"), "a").facts()


def test_tables_that_are_too_large(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnspec.data.csv_source.MOST_NUMBERS", 19)
    with refused("has 4 rows of 5 numbers: the limit is 19 numbers"):
        CSV(write(TABLE), "price").facts()


def test_written_to_between_two_looks(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(TABLE)
    source = CSV(path, "price")
    table = source._survey()
    write(TABLE + "5,cow,1,1\n")
    monkeypatch.setattr(source, "_survey", lambda: table)
    with pytest.raises(DataError, match="changed while it was being read"):
        source.load(Access())


CELLS = st.sampled_from(["1", "-2.5", "x", "y", "", "NA", '"q,"', '"', "1e400", "é"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=120)
    | st.lists(
        st.lists(CELLS, min_size=2, max_size=3).map(",".join),
        max_size=8,
    ).map(lambda lines: "\n".join(["a,b", *lines]).encode()),
    missing=st.sampled_from(["error", "drop", "mean"]),
    categories=st.sampled_from([(), ("b",), ("a", "b")]),
)
def test_any_bytes(tmp_path: Path, content: bytes, missing: str, categories: tuple[str, ...]) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(content)
    source = CSV(path, "b", missing=missing, categories=categories)
    try:
        facts = source.facts()
    except FileFault:
        return
    data = source.load(Access())
    assert data.facts == facts
    assert data.train.x.shape == (facts.train, facts.features)
    assert data.test.y.shape == (facts.test,)
    for split in (data.train, data.test):
        assert np.isfinite(split.x).all()
        assert np.isfinite(split.y).all()


# In a spec


def found(write: Write, arguments: str, content: str = TABLE) -> list[tuple[str, str, str, str]]:
    folder = write(content).parent
    text = spec("Linear(4); ReLU; Linear(1)", loss="MSE", data=f'CSV("t.csv", {arguments})', train="batch = 2")
    return [(d.code, d.span.text, d.message, d.help) for d in check(Source("t.nn", text, folder)).diagnostics]


def test_a_misspelt_column(write: Write) -> None:
    assert found(write, '"price"') == []
    (wrong,) = found(write, 'target="pirce"')
    assert wrong[0] == "NN201"
    assert wrong[1] == '"pirce"'
    assert wrong[2].endswith("t.csv has no column `pirce`")
    assert wrong[3] == 'did you mean `"price"`?'
    assert [f[:2] + f[3:] for f in found(write, '"price", features=["size", "knid"]')] == [
        ("NN201", '"knid"', 'did you mean `"kind"`?')
    ]
    assert "its columns are `size`, `kind`" in found(write, '"whatever"')[0][3]


def test_columns_of_other_files_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("user,password\nme,1234\n")
    with pytest.raises(FileFault) as caught:
        CSV(tmp_path / "secret", "nothing of it").facts()
    assert "password" not in str(caught.value)


def test_a_delimiter_that_is_another(write: Write) -> None:
    (wrong,) = found(write, '"price"', TABLE.replace(",", ";"))
    assert (wrong[1], wrong[3]) == ('"price"', 'is it `delimiter = ";"`?')
    (wrong,) = found(write, '"price"', TABLE.replace(",", "\t"))
    assert wrong[3] == 'is it `delimiter = "\\t"`?'


def test_a_cell_that_does_not_fit_is_reported_at_the_path(write: Write) -> None:
    (wrong,) = found(write, '"price"', TABLE.replace("3,cat", "three,cat"))
    assert wrong[:2] == ("NN502", '"t.csv"')
    assert "line 4, column `size`: `three` is not a number" in wrong[2]


def test_lanes_share_what_lists_name() -> None:
    data = f'CSV("{(ROOT / "specs/data/throws.csv").as_posix()}", "distance", features=["speed", "angle"])'
    result = run(
        spec(
            "Linear(4); ReLU; Linear(1)",
            loss="MSE",
            data=data,
            race="a { optimizer = SGD(lr=1e-6) }; b { optimizer = SGD(lr=1e-5) }",
        )
    )
    assert set(result.lanes) == {"a", "b"}


def test_the_table_of_throws_is_what_its_script_computes(tmp_path: Path) -> None:
    import runpy

    script = runpy.run_path(str(ROOT / "specs/data/make_throws.py"))
    lines = (ROOT / "specs/data/throws.csv").read_text().splitlines()[1:]
    for line in lines[:: len(lines) // 8]:
        ball, speed, angle, height, distance = line.split(",")
        assert f"{script['distance'](ball, float(speed), float(angle), float(height)):.2f}" == distance
    # Without air it is a parabola: v²/g at 45° from the ground.
    script["distance"].__globals__["DRAG"] = 0.0
    assert script["distance"]("golf", 20.0, 45.0, 1e-9) == pytest.approx(20.0**2 / 9.81, rel=1e-3)
