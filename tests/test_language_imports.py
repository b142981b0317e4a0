"""Imports: which files belong to a spec, which override others, and files that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from findings import base

from nnspec import api
from nnspec.checker import Checked, check
from nnspec.diagnostics import Diagnostic, Source, read_source


def given(folder: Path, spec: str, files: dict[str, str | bytes]) -> Checked:
    """Check the base with imports, beside other files."""
    for name, text in {**files, "x.nn": spec}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return check(read_source(folder / "x.nn", "x.nn"))


def errors(folder: Path, more: str, files: dict[str, str | bytes]) -> list[Diagnostic]:
    """Check the base with something more, and return its errors. Whatever has none has a program."""
    checked = given(folder, base(more=f"{more}\n"), files)
    found = [d for d in checked.diagnostics if d.severity == "error"]
    assert (checked.program is None) == bool(found)
    return found


def only(folder: Path, more: str, files: dict[str, str | bytes]) -> Diagnostic:
    (found,) = errors(folder, more, files)
    return found


def settings(folder: Path, spec: str, files: dict[str, str | bytes]) -> dict[str, object]:
    checked = given(folder, spec, files)
    assert checked.program is not None, checked.diagnostics
    (lane,) = checked.program.lanes
    return {
        "seed": lane.seed,
        "batch": lane.train.batch,
        "epochs": lane.train.epochs,
        "shapes": lane.shapes,
        "optimizer": str(lane.optimizer),
    }


# What is had


def test_an_import_brings_everything_that_a_file_can_say(tmp_path: Path) -> None:
    common = """\
let width = 8
block Hidden(units) { Linear(units); ReLU }
data = Digits(train=50, test=20)
model { Hidden(width); Linear(10) }
loss = CrossEntropy
seed = 7
train { epochs = 3 }
race "From elsewhere" { SGD; Adam(lr=0.01) }
sweep { width = [4, 8] }
expect { params < 1e6 }
"""
    checked = given(tmp_path, 'import "common.nn"\n', {"common.nn": common})
    assert checked.diagnostics == ()
    assert checked.program is not None
    assert checked.program.title == "From elsewhere"
    assert [lane.name for lane in checked.program.lanes] == [
        "SGD,width=4",
        "SGD,width=8",
        "Adam,width=4",
        "Adam,width=8",
    ]
    assert [lane.shapes for lane in checked.program.lanes[:2]] == ["784 → 4 → 10", "784 → 8 → 10"]
    assert {(lane.seed, lane.train.epochs) for lane in checked.program.lanes} == {(7, 3)}
    assert [len(e.cases) for e in checked.program.expectations] == [4]


def test_a_file_overrides_its_imports_regardless_of_their_position(tmp_path: Path) -> None:
    common = "seed = 1\ntrain { batch = 8; epochs = 2 }\noptimizer = Adam(lr=0.01)\nlet width = 4"
    own = "data = Digits\nmodel { Linear(width); ReLU; Linear(10) }\nloss = CrossEntropy\n"
    own += "seed = 2\ntrain.epochs = 5\nlet width = 6\n"
    expected = {"seed": 2, "batch": 8, "epochs": 5, "shapes": "784 → 6 → 10", "optimizer": "Adam(lr=0.01)"}
    for spec in ('import "common.nn"\n' + own, own + 'import "common.nn"\n'):
        assert settings(tmp_path, spec, {"common.nn": common}) == expected


def test_an_imported_part_may_have_its_arguments_changed_and_an_own_part_has_none_of_the_imported(
    tmp_path: Path,
) -> None:
    files: dict[str, str | bytes] = {"a.nn": "optimizer = Adam(lr=0.01)", "b.nn": "optimizer.lr = 0.3"}
    own = "data = Digits\nmodel { Linear(10) }\nloss = CrossEntropy\n"
    assert settings(tmp_path, f'import "a.nn"\n{own}optimizer.lr = 0.02', files)["optimizer"] == "Adam(lr=0.02)"
    assert settings(tmp_path, f'import "b.nn"\n{own}optimizer = SGD(lr=0.1)', files)["optimizer"] == "SGD(lr=0.1)"


def test_own_models_blocks_lets_races_and_sweeps_take_the_place_of_imported_ones(tmp_path: Path) -> None:
    common = """\
let width = 4
block Hidden { Linear(width); ReLU }
model { Hidden; Linear(10) }
race { SGD; Momentum }
sweep { width = [4, 8] }
"""
    own = """\
import "common.nn"
data = Digits
loss = CrossEntropy
block Hidden { Linear(width); Tanh; Dropout(0.5) }
model { Hidden; Linear(12); ReLU; Linear(10) }
race { Adam }
sweep { width = [5, 6] }
"""
    checked = given(tmp_path, own, {"common.nn": common})
    assert checked.program is not None, checked.diagnostics
    assert [(lane.name, lane.shapes) for lane in checked.program.lanes] == [
        ("Adam,width=5", "784 → 5 → 12 → 10"),
        ("Adam,width=6", "784 → 6 → 12 → 10"),
    ]


def test_statements_of_all_files_must_hold(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"a.nn": "expect { params < 1e6 }", "b.nn": "expect { flops < 1e6 }"}
    checked = given(tmp_path, base(more='import "a.nn"\nimport "b.nn"\nexpect { memory < 1e9 }'), files)
    assert checked.program is not None
    assert [e.text for e in checked.program.expectations] == ["params < 1e6", "flops < 1e6", "memory < 1e9"]


def test_each_file_is_read_once_however_it_is_called(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "a.nn": 'import "sub/c.nn"',
        "b.nn": 'import "./sub/../sub/c.nn"',
        "sub/c.nn": "seed = 8\nlet width = 3\nmodel { Linear(width); ReLU; Linear(10) }",
    }
    spec = 'import "a.nn"\nimport "b.nn"\ndata = Digits\nloss = CrossEntropy\noptimizer = SGD'
    assert settings(tmp_path, spec, files)["shapes"] == "784 → 3 → 10"
    assert [source.name for source in given(tmp_path, spec, files).files] == ["sub/c.nn", "a.nn", "b.nn", "x.nn"]


def test_in_a_diamond_a_file_goes_before_what_it_imports_and_not_before_its_neighbour(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "a.nn": 'import "c.nn"\nseed = 9',
        "b.nn": 'import "c.nn"',
        "c.nn": "seed = 8\ntrain.batch = 4",
    }
    assert settings(tmp_path, base(more='import "a.nn"\nimport "b.nn"'), files)["seed"] == 9
    files["b.nn"] = 'import "c.nn"\nseed = 10'
    found = only(tmp_path, 'import "a.nn"\nimport "b.nn"', files)
    assert (found.code, str(found.span), str(found.notes[0].span)) == ("NN204", "b.nn:2:1", "a.nn:2:1")


def test_paths_are_relative_to_the_file_that_they_stand_in(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "one/a.nn": 'import "two/b.nn"',
        "one/two/b.nn": 'import "../../c.nn"\ntrain.batch = 4',
        "c.nn": "seed = 3",
    }
    found = settings(tmp_path, base(more='import "one/a.nn"'), files)
    assert (found["seed"], found["batch"]) == (3, 4)


def test_a_file_in_a_project_may_import_from_anywhere_in_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "specs").mkdir()
    (tmp_path / "common.nn").write_text("seed = 3")
    (tmp_path / "specs" / "x.nn").write_text(base(more='import "../common.nn"'))
    assert api.check(tmp_path / "specs" / "x.nn").ok
    (tmp_path / "pyproject.toml").unlink()
    assert not api.check(tmp_path / "specs" / "x.nn").ok


def test_a_spec_that_is_in_memory_imports_from_beside_where_it_would_lie(tmp_path: Path) -> None:
    (tmp_path / "a.nn").write_text("seed = 3")
    for name in ("<stdin>", "x.nn", "nowhere/x.nn"):
        checked = check(Source(name, base(more='import "a.nn"'), tmp_path))
        assert checked.program is not None
        assert checked.program.lanes[0].seed == 3


def test_what_a_file_says_goes_before_what_is_imported_through_others(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"a.nn": 'import "b.nn"', "b.nn": 'import "c.nn"', "c.nn": "seed = 3\nlet n = 3"}
    found = settings(tmp_path, base("16", "n", more='import "a.nn"\nseed = 4\nlet n = 5'), files)
    assert (found["seed"], found["shapes"]) == (4, "784 → 5 → 10")


def test_a_value_from_an_import_knows_its_file(tmp_path: Path) -> None:
    checked = given(tmp_path, base(more='import "a.nn"'), {"a.nn": "\nseed = 3"})
    assert checked.program is not None
    assert str(checked.program.lanes[0].origins["seed"].span) == "a.nn:2:8"


def test_unused_names_of_imported_files_are_not_reported(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"a.nn": "let spare = 3\nblock Spare(x) { ReLU }\noptimizer.lr = 0.5"}
    assert given(tmp_path, base(more='import "a.nn"\nrace { SGD; Adam }'), files).diagnostics == ()
    assert {d.code for d in given(tmp_path, base(more=str(files["a.nn"])), {}).diagnostics} == {"NN710"}


# What cannot be had

REFUSED = {
    "missing": ('import "comon.nn"', {"common.nn": ""}, "file not found: comon.nn", 'did you mean `"common.nn"`?'),
    "missing, nothing near": ('import "wholly/other.nn"', {"a.nn": ""}, "file not found: wholly/other.nn", ""),
    "missing, in a folder": (
        'import "sub/commn.nn"',
        {"sub/common.nn": ""},
        "file not found: sub/commn.nn",
        'did you mean `"sub/common.nn"`?',
    ),
    "a folder": ('import "a.nn"', {"a.nn/b.nn": ""}, "a.nn is a folder, not a spec", ""),
    "no name": ('import ""', {}, "missing file name in the import", 'for example, `import "common.nn"`'),
    "no ending": ('import "a"', {"a.nn": ""}, "only `.nn` files can be imported", 'did you mean `"a.nn"`?'),
    "another ending": ('import "a.txt"', {"a.txt": ""}, "only `.nn` files can be imported", ""),
    "absolute": (
        'import "/a.nn"',
        {},
        "imports must be relative paths",
        "they are relative to the importing file, so that a folder of specs can be moved",
    ),
    "of another disk": (
        'import "C:/a.nn"',
        {},
        "imports must be relative paths",
        "they are relative to the importing file, so that a folder of specs can be moved",
    ),
    "backslash": (
        'import "sub\\\\a.nn"',
        {"sub/a.nn": ""},
        "use `/` as the path separator",
        'write `import "sub/a.nn"`',
    ),
    "above": (
        'import "../a.nn"',
        {},
        "this file is outside the project",
        "the project is the closest parent folder with a pyproject.toml or .git, or else the spec's own folder",
    ),
    "above, by detours": ('import "sub/../../a.nn"', {"sub/a.nn": ""}, "this file is outside the project", None),
    "not UTF-8": ('import "a.nn"', {"a.nn": b"seed = 1 # caf\xe9"}, None, ""),
    "UTF-16": ('import "a.nn"', {"a.nn": "seed = 1".encode("utf-16")}, None, ""),
    "binary": ('import "a.nn"', {"a.nn": b"a\0b"}, None, ""),
}


@pytest.mark.parametrize(("more", "files", "message", "help"), REFUSED.values(), ids=REFUSED.keys())
def test_an_unreadable_file_is_reported_at_its_import(
    more: str, files: dict[str, str | bytes], message: str | None, help: str | None, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    found = only(tmp_path / "a" / "b", more, files)
    assert (found.code, found.span.text) == ("NN209", more.removeprefix("import "))
    assert message is None or found.message == message
    assert help is None or found.help == help


def test_a_link_does_not_lead_out_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "secret.nn").write_text("this is = = secret")
    inside = tmp_path / "project"
    inside.mkdir()
    os.symlink(tmp_path / "secret.nn", inside / "a.nn")
    os.symlink(tmp_path, inside / "sub")
    for name in ("a.nn", "sub/secret.nn"):
        found = only(inside, f'import "{name}"', {})
        assert (found.code, found.message) == ("NN209", "this file is outside the project")


def test_a_link_within_the_project_is_the_file_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "a.nn").write_text("let width = 3")
    os.symlink(tmp_path / "a.nn", tmp_path / "b.nn")
    found = only(tmp_path, 'import "a.nn"\nimport "b.nn"', {})
    assert (found.code, found.span.text, found.notes[0].span.text) == ("NN204", '"b.nn"', '"a.nn"')


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is unreadable to root")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.nn").write_text("seed = 3")
    (tmp_path / "a.nn").chmod(0)
    assert only(tmp_path, 'import "a.nn"', {}).code == "NN209"


@pytest.mark.parametrize(
    ("files", "place", "circle"),
    [
        ({"a.nn": 'import "x.nn"'}, "a.nn:1:8", "x.nn → a.nn → x.nn"),
        ({"a.nn": 'import "a.nn"'}, "a.nn:1:8", "a.nn → a.nn"),
        ({"a.nn": 'import "b.nn"', "b.nn": 'import "a.nn"'}, "b.nn:1:8", "a.nn → b.nn → a.nn"),
        (
            {"a.nn": 'import "b.nn"', "b.nn": 'import "s/c.nn"', "s/c.nn": 'import "../a.nn"'},
            "s/c.nn:1:8",
            "a.nn → b.nn → c.nn → a.nn",
        ),
    ],
)
def test_imports_do_not_go_in_a_circle(files: dict[str, str | bytes], place: str, circle: str, tmp_path: Path) -> None:
    found = only(tmp_path, 'import "a.nn"', files)
    assert (found.code, str(found.span)) == ("NN210", place)
    assert found.message == f"circular import: {circle}"


def test_a_spec_does_not_import_itself(tmp_path: Path) -> None:
    found = only(tmp_path, 'import "x.nn"', {})
    assert (found.code, found.message) == ("NN210", "circular import: x.nn → x.nn")


@pytest.mark.parametrize("second", ["a.nn", "./a.nn", "sub/../a.nn"])
def test_the_same_file_twice_in_one_is_a_slip(second: str, tmp_path: Path) -> None:
    found = only(tmp_path, f'import "a.nn"\nimport "{second}"', {"a.nn": "seed = 3", "sub/b.nn": ""})
    assert (found.code, found.span.text, found.message) == ("NN204", f'"{second}"', "this is imported twice")


def test_mistakes_of_an_imported_file_are_shown_in_it(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "sub/a.nn": "sede = 3\nloss = = 3\ntrain { epochs = 'x' }\nblock A { Linear(0) }\nexpect { los < 3 }",
    }
    found = errors(tmp_path, 'import "sub/a.nn"', files)
    assert [(d.code, str(d.span)) for d in found] == [
        ("NN201", "sub/a.nn:1:1"),
        ("NN101", "sub/a.nn:2:8"),
        ("NN301", "sub/a.nn:3:18"),
        ("NN302", "sub/a.nn:4:18"),
        ("NN602", "sub/a.nn:5:10"),
    ]


def test_nothing_is_reported_as_missing_that_a_missing_file_may_contain(tmp_path: Path) -> None:
    spec = 'import "b.nn"\nmodel { Hidden(width); Linear(data.clases) }\noptimizer = SGD\nexpect { big.loss < 3 }'
    found = [(d.code, d.span.text) for d in given(tmp_path, spec, {}).diagnostics]
    assert found == [("NN209", '"b.nn"')]
    misspelt = given(tmp_path, 'import "b.nn"\nmodel { Linaer(3) }\nsede = 3', {})
    assert [(d.code, d.span.text) for d in misspelt.diagnostics] == [
        ("NN209", '"b.nn"'),
        ("NN201", "Linaer"),
        ("NN201", "sede"),
    ]


@pytest.mark.parametrize(
    ("text", "pointed"),
    [
        ("seed = 1", "seed"),
        ("train { batch = 3 }", "batch"),
        ("let a = 1", "a"),
        ("block A { ReLU }", "A"),
        ("model m { Linear(10) }", "model m"),
        ("race { SGD; Adam }", "race"),
        ("sweep { seed = [1, 2] }", "sweep"),
    ],
)
def test_two_files_that_say_the_same_do_not_agree_unless_who_imports_both_decides(
    text: str, pointed: str, tmp_path: Path
) -> None:
    files: dict[str, str | bytes] = {"a.nn": text, "b.nn": text}
    found = only(tmp_path, 'import "a.nn"\nimport "b.nn"', files)
    assert (found.code, found.span.text, found.span.source.name) == ("NN204", pointed, "b.nn")
    assert (found.notes[0].span.text, found.notes[0].span.source.name) == (pointed, "a.nn")
    assert errors(tmp_path, f'import "a.nn"\nimport "b.nn"\n{text}', files) == []
    via = {**files, "c.nn": f'import "a.nn"\nimport "b.nn"\n{text}'}
    assert errors(tmp_path, 'import "c.nn"', via) == []


def test_train_and_expect_may_stand_in_every_file_but_a_setting_only_once(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"a.nn": "train { batch = 3 }", "b.nn": "train { epochs = 3 }"}
    assert errors(tmp_path, 'import "a.nn"\nimport "b.nn"\ntrain { shuffle = false }', files) == []


def test_an_argument_that_a_neighbour_replaces_is_not_lost_in_silence(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"a.nn": "optimizer.lr = 0.5", "b.nn": "optimizer = Adam"}
    spec = 'import "a.nn"\nimport "b.nn"\ndata = Digits\nmodel { Linear(10) }\nloss = CrossEntropy'
    checked = given(tmp_path, spec, files)
    assert [(d.code, str(d.span)) for d in checked.diagnostics] == [("NN203", "a.nn:1:1")]


def test_there_are_only_so_many_files_and_only_so_deep(tmp_path: Path) -> None:
    many: dict[str, str | bytes] = {f"a{i}.nn": "" for i in range(120)}
    found = only(tmp_path, "\n".join(f'import "{name}"' for name in many), many)
    assert (found.code, found.span.text) == ("NN603", '"a99.nn"')
    deep: dict[str, str | bytes] = {"b40.nn": ""}
    deep |= {f"b{i}.nn": f'import "b{i + 1}.nn"' for i in range(40)}
    assert only(tmp_path, 'import "b0.nn"', deep).code == "NN603"
    assert errors(tmp_path, 'import "b10.nn"', deep) == []


@pytest.mark.parametrize(
    "where", ["train {{ {} }}", "race {{ {}; SGD }}", "race {{ a {{ {} }}; SGD }}", "expect {{ {} }}", "sweep {{ {} }}"]
)
def test_imports_must_be_at_top_level(where: str, tmp_path: Path) -> None:
    found = only(tmp_path, where.format('import "a.nn"'), {"a.nn": ""})
    assert (found.code, found.span.text) == ("NN203", 'import "a.nn"')
