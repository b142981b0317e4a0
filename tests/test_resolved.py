"""`show --resolved`: every value that a run depends on, each with an origin that is true."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_spec import RACE, compiled, spec

from nnspec.api import SpecError, resolved
from nnspec.cli import _code
from nnspec.engine.part import PARTS
from nnspec.semantics.resolved import rows
from nnspec.semantics.values import written
from nnspec.view.terminal.resolved import LaneError

COMMON = """\
let width = 8
let rate = width / 1000
block Hidden(units, drop=0.1) {
    Linear(units)
    Dropout(drop)
}
block TwinHidden(units, drop=0.1) {
    Linear(units)
    Dropout(drop)
}
dtype = float64
optimizer = Momentum(momentum=0.5)
train.epochs = 3
"""
EVERYTHING = """\
import "parts/common.nn"
seed = 3
data = MNIST(train=60, test=20) or Digits(train=50, test=20, seed=2 + 2)
let act = ReLU
let rule = Adam(lr=cosine(0.01, to=0.0001), eps=1e-7)
model small {
    h: Hidden(width, drop=0.2) * 2
    Hidden(11)
    act
    residual {
        Linear(6)
        shortcut { Linear(6, init=xavier_normal) }
    }
    concat {
        a { Linear(3, bias=false) }
        b { }
    }
    out: Linear(data.classes)
}
model big {
    h: Hidden(12)
    out: Linear(10)
}
model.h.drop = 0.3
model = small
loss = CrossEntropy
metrics = [accuracy]
optimizer.lr = rate
train {
    epochs = 2
    batch = 8
    early_stop = patience(3, of=loss)
    clip_norm = 1.5
}
sweep {
    width = [8, 9]
    train.clip_value = logspace(-1, 1, 2)
}
race "Everything" {
    SGD(lr=0.05)
    named { optimizer = rule; data.train = 40 }
    wide { model = big; train.batch = 16; train.shuffle = false; seed = 9 }
    plain { model = small; optimizer.momentum = 0.25; model.h.units = 5; model.out.bias = false }
}
expect { params < 60_000 }
"""

TWINS = {
    "layer": ["Linear", "ReLU", "Dropout"],
    "optimizer": ["SGD", "Momentum", "Adam"],
    "loss": ["CrossEntropy"],
    "data source": ["MNIST", "Digits"],
}


@pytest.fixture
def twins() -> Iterator[None]:
    """A second part like each of those above, so that any of them can be exchanged for another that fits."""
    for kind, names in TWINS.items():
        for name in names:
            type(f"Twin{name}", (PARTS[kind][name],), {"spec_name": f"Twin{name}"})
    yield
    for kind, names in TWINS.items():
        for name in names:
            del PARTS[kind][f"Twin{name}"]


def another(row: dict[str, Any]) -> str | None:
    """Return an expression with another value, to stand where this one comes from; None where none would fit."""
    value, text = row["value"], row["origin"]["text"]
    plain = {"float64": "float32", "small": "big", "big": "small", "xavier_normal": "zeros"}
    match value:
        case "residual" | "concat":
            assert text.startswith(value)
            return None
        case str() if value in plain:
            return plain[value]
        case str() if value.startswith(("cosine", "patience")):
            return "0.5" if value.startswith("cosine") else "patience(7, of=loss)"
        case str():
            return text.replace(value, f"Twin{value}", 1) if value in text else f"Twin{value}"
        case bool():
            return str(not value).lower()
        case int():
            return str(value + 11)
        case float():
            return "[0.5, 0.6]" if text.startswith("logspace") else str(value / 2)
        case list():
            return "[]"
    raise AssertionError(row)


def here(folder: Path, origin: dict[str, Any]) -> tuple[Path, int]:
    """Return the file and the offset that an origin names."""
    path = Path(origin["file"])
    path = path if path.is_absolute() else folder / path
    lines = path.read_text().splitlines(keepends=True)
    offset = sum(map(len, lines[: origin["line"] - 1])) + origin["column"] - 1
    assert path.read_text().startswith(origin["text"], offset), origin
    return path, offset


def values(path: Path, lane: int, *flags: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = resolved(path, list(flags))["lanes"][lane]["values"]
    assert len({row["name"] for row in found}) == len(found)
    return found


def by_name(path: Path, *flags: str, lane: int = 0) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in values(path, lane, *flags)}


Place = tuple[int, int]
"""A lane and a row of it, by their numbers."""


def after_change(path: Path, file: Path, offset: int, old: str, new: str) -> list[Any] | SpecError:
    """Return the lanes of a spec as they are while a text in one of its files is another one."""
    before = file.read_text()
    file.write_text(before[:offset] + new + before[offset + len(old) :])
    try:
        lanes: list[Any] = resolved(path)["lanes"]
        return lanes
    except SpecError as error:
        return error
    finally:
        file.write_text(before)


def is_refused_there(error: SpecError, file: Path, offset: int, row: dict[str, Any]) -> bool:
    """Whether a size that must agree with others is refused, with the finger on it."""
    spans = [span for d in error.diagnostics for span in (d.span, *(note.span for note in d.notes))]
    there = any(span.start <= offset < span.end for span in spans if span.source.name.endswith(file.name))
    # Of the two sides of a sum, it is for the reader to say which is wrong.
    there = there or (
        "residual" in row["name"] and {d.code for d in error.diagnostics if d.severity == "error"} == {"NN401"}
    )
    return row["name"].endswith("_features") and there


def is_changed(before: dict[str, Any], after: dict[str, Any], text: str) -> bool:
    if text.startswith("Twin"):  # what has no name of its own is called by what it is
        return bool(after["value"] == f"Twin{before['value']}")
    return after["name"] == before["name"] and after["value"] != before["value"]


@pytest.mark.parametrize("which", ["race", "everything"])
def test_every_origin_is_true(which: str, tmp_path: Path, twins: None) -> None:
    """Change the text that a value is said to come from: it changes, in every lane that says so."""
    path = tmp_path / "a.nn"
    race = re.sub(r"^    (SGD|Momentum|Adam)\(", r"    \1: \1(", RACE.read_text(), flags=re.MULTILINE)
    path.write_text(race if which == "race" else EVERYTHING)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/common.nn").write_text(COMMON)
    lanes, seen = resolved(path)["lanes"], set[str]()
    trials: dict[tuple[Path, int, str, str], list[dict[str, Any]]] = {}
    rows_of: dict[int, Place] = {}
    for i, lane in enumerate(lanes):
        for j, row in enumerate(lane["values"]):
            origin = row["origin"]
            if row["kind"] in ("group", "branch"):
                assert origin is None
                continue
            seen.add(origin["via"])
            if origin["file"] is None:
                assert origin["via"] in ("default", "inferred")
            elif (text := another(row)) is not None:
                trials.setdefault((*here(tmp_path, origin), origin["text"], text), []).append(row)
                rows_of[id(row)] = (i, j)
    for (file, offset, old, new), found in trials.items():
        after = after_change(path, file, offset, old, new)
        for row in found:
            i, j = rows_of[id(row)]
            if isinstance(after, SpecError):
                assert is_refused_there(after, file, offset, row), (lanes[i]["name"], row, str(after))
            else:
                assert is_changed(row, after[i]["values"][j], new), (lanes[i]["name"], row, new)
    if which == "everything":
        assert seen == {"", "default", "inferred", "sweep", "default of `Hidden`"} | {
            f"lane `{name}`" for name in ("SGD", "named", "wide", "plain")
        }


GIVEN = {bool: lambda v: str(not v).lower(), int: lambda v: str(v + 1), float: lambda v: str(v + 0.25)}
WORDS = {
    "dtype": "float64",
    "metrics": "[]",
    "train.early_stop": "patience(2, of=loss)",
    "train.average": "ema",
    "train.sharpness": "sam",
    "train.clip_norm": "1.5",
    "train.clip_value": "1.5",
    "loss.class_weights": "range(1, 11)",
    "train.augment": "[shift(1), flip]",
    "train.target": "input",
    "train.sample": "0",
    "train.penalty": "L2(0.1)",
    "train.constraint": "max_norm(3)",
    "train.freeze": "bias",
    "optimizer.betas": "(0.5, 0.6)",
    "train.record": "3",
}
ELSEWHERE = {"train.steps", "train.carry_state"}
"""Settings that this spec cannot have: it says `epochs`, and has no recurrent layer."""
# What a value needs beside it, to mean anything.
TOGETHER = {
    "train.stratify": ("train.validation=0.1",),
    "train.standardise_target": (
        "data=Sine",
        "loss=MSE",
        "metrics=[]",
        "model.Linear1.in_features=1",
        "model.Linear3.out_features=1",
    ),
    "train.target": ("loss=MSE", "metrics=[]", "model.Linear3.out_features=784"),
}


@pytest.mark.parametrize(("number", "lane"), [(0, "SGD"), (1, "Momentum"), (2, "Adam")])
def test_every_default_is_one(number: int, lane: str, tmp_path: Path) -> None:
    """Nothing in the text gives it, and it takes the setting of that name to change it."""
    path = tmp_path / "a.nn"
    path.write_text(RACE.read_text().replace("MNIST(train=2000, test=500) or ", ""))
    defaults = [row for row in values(path, number) if row["origin"] and row["origin"]["via"] == "default"]
    assert len(defaults) > 12
    for row in defaults:
        name, value = row["name"], row["value"]
        if name in ELSEWHERE:
            continue
        text = "zeros" if name.endswith("init") else WORDS.get(name) or GIVEN[type(value)](value)
        beside = [f"{lane}.{setting}" for setting in TOGETHER.get(name, ())]
        after = by_name(path, f"{lane}.{name}={text}", *beside, lane=number)[name]
        assert after["value"] != value
        column = len(f"{lane}.{name}") + 2
        assert after["origin"] == {"file": None, "line": 1, "column": column, "via": "--set", "text": text}


def test_nothing_is_missing() -> None:
    """Every argument of every part in its place, every setting of `train`, every layer at any depth, every `let`."""
    program = compiled(spec("add { a { Linear(4) } b { residual { Linear(784) }; Linear(4) } }; Linear(10)")).program
    lane = program.lanes[0]
    names = [row.name for row in rows(lane)]
    for setting, value in (("data", lane.data[0].value), ("loss", lane.loss), ("optimizer", lane.optimizer)):
        assert [n for n in names if n.startswith(f"{setting}.")] == [
            f"{setting}.{a.name}" for a in value.part.signature()
        ]
    assert [n.removeprefix("train.") for n in names if n.startswith("train.")] == list(vars(lane.train))
    nodes = [node for layer in lane.layers for node in layer.walk()]
    layers = [f"model.{node.name}" for node in nodes]
    assert [n for n in names if n in layers] == layers
    for node in nodes:
        assert {f"model.{node.name}.{a}" for a in node.arguments()} <= set(names)
    assert "model.add1.b.residual1.Linear1.init" in names


def test_inferred_arguments_have_their_values(tmp_path: Path) -> None:
    (tmp_path / "a.nn").write_text(spec("Linear(6); Linear(10)"))
    found = by_name(tmp_path / "a.nn")
    assert [found[f"model.Linear{i}.in_features"]["value"] for i in (1, 2)] == [784, 6]


def test_the_value_of_a_parameter_comes_from_its_use(tmp_path: Path) -> None:
    (tmp_path / "a.nn").write_text("block H(n, p=0.5) { Linear(n); Dropout(p) }\n" + spec("H(6); H(7); Linear(10)"))
    found = by_name(tmp_path / "a.nn", "model.H2.n=9")
    assert [found[f"model.H{i}.n"]["value"] for i in (1, 2)] == [6, 9]
    assert [found[f"model.H{i}.Linear1.out_features"]["value"] for i in (1, 2)] == [6, 9]
    assert found["model.H1.n"]["origin"]["line"] == 3
    assert found["model.H2.n"]["origin"]["via"] == "--set"
    assert found["model.H2.p"]["origin"] == {"file": str(tmp_path / "a.nn"), "line": 1, "column": 14} | {
        "via": "default of `H`",
        "text": "0.5",
    }


# The words


def shown(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert _code(["show", "--resolved", *map(str, arguments)]) == 0
    out, _ = capsys.readouterr()
    assert "\x1b" not in out
    return out


def test_a_race_is_shown_once_followed_by_differences(capsys: pytest.CaptureFixture[str]) -> None:
    first, momentum, adam, expect = shown(capsys, RACE).split("\n\n")[1:]
    lines = first.splitlines()
    assert lines[0] == "lane SGD"
    assert [line.split() for line in lines[1:5]] == [
        ["seed", "42", "race.nn:5"],
        ["dtype", "float32", "default"],
        ["data", "MNIST", "race.nn:6"],
        ["train", "2000", "race.nn:6"],
    ]
    assert all(len(line) <= 80 for line in lines)
    assert len({line.index("race.nn:") for line in lines if "race.nn:" in line}) == 1
    assert "  lr                  0.01          race.nn:24 lane `SGD`" in lines
    assert momentum.splitlines() == [
        "lane Momentum: same as SGD, except for",
        "optimizer   Momentum  race.nn:25 lane `Momentum`",
        "  lr        0.01      race.nn:25 lane `Momentum`",
        "  momentum  0.9       race.nn:25 lane `Momentum`",
    ]
    assert adam.count("\n") == 6
    assert [line.split()[-1] for line in expect.splitlines()[1:]] == ["race.nn:30", "race.nn:31"]


def test_a_lane_that_changes_an_argument_shows_it_under_its_heads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "let w = 6\nseed = 1\n" + spec(
        "h: Linear(w * 2); ReLU; Linear(10)", race="SGD; b { SGD; model.h.bias = false }"
    )
    (tmp_path / "a.nn").write_text(text)
    first, other = shown(capsys, tmp_path / "a.nn").strip().split("\n\n")[1:]
    assert [line.split() for line in other.splitlines()[1:4]] == [
        ["model"],
        ["h", "Linear", "a.nn:4"],
        ["bias", "false", "a.nn:6", "lane", "`b`"],
    ]
    assert "a.nn:4 `w * 2`" in first
    assert "ReLU" not in other


def test_inferred_values_are_not_repeated_for_other_lanes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lanes = "a: SGD; b { SGD; model.Linear1.out_features = 7 }"
    (tmp_path / "a.nn").write_text(spec("Linear(6); ReLU; Linear(10)", race=lanes))
    assert shown(capsys, tmp_path / "a.nn").split("\n\n")[2].splitlines() == [
        "lane b: same as a, except for",
        "model",
        "  Linear1         Linear  a.nn:2",
        "    out_features  7       a.nn:4 lane `b`",
        "optimizer         SGD     a.nn:4 lane `b`",
    ]


def test_all_alternatives_of_data_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = "MNIST(train=50, test=20) or Digits(train=50, test=20)"
    (tmp_path / "a.nn").write_text(spec(data=data, race="a: SGD; b { SGD; data.seed = 1 }"))
    lines = shown(capsys, tmp_path / "a.nn").split("\n\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == [
        *("lane", "data", "train", "test", "or", "train", "test", "seed", "optimizer"),
    ]


def test_a_part_by_name_comes_from_the_name_and_its_arguments_from_the_part(tmp_path: Path) -> None:
    (tmp_path / "a.nn").write_text("let rule = Adam(lr=0.1)\n" + spec(optimizer="rule"))
    found = by_name(tmp_path / "a.nn")
    assert (found["optimizer"]["value"], found["optimizer"]["origin"]["text"]) == ("Adam", "rule")
    assert found["optimizer.lr"]["origin"]["line"] == 1
    assert found["rule.lr"]["origin"] == found["optimizer.lr"]["origin"]


def test_one_lane_can_be_picked_and_a_sweep_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = "sweep { seed = [1, 2] }"
    (tmp_path / "a.nn").write_text(spec(race="SGD(lr=0.1); Adam", more=more))
    out = shown(capsys, tmp_path / "a.nn", "--lane", "Adam,seed=2")
    assert out.count("lane A") == 1
    assert "a.nn:7 sweep" in out
    assert ": as " not in out
    out = shown(capsys, tmp_path / "a.nn", "--lane", "Adam")
    assert "lane Adam,seed=2: same as Adam,seed=1, except for\nseed  2  a.nn:7 sweep\n" in out
    assert "2 of 4 lanes" in out
    record = json.loads(shown(capsys, tmp_path / "a.nn", "--lane", "Adam", "--json"))
    assert [lane["point"] for lane in record["lanes"]] == [{"seed": "1"}, {"seed": "2"}]


def test_flags_win_and_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, RACE, "--set", "train.batch=2 * 8", "--set", "Adam.optimizer.lr=0.5", "--lane", "Adam")
    assert [line.split() for line in out.splitlines() if "--set" in line] == [
        ["lr", "0.5", "--set"],
        ["batch", "16", "--set", "`2", "*", "8`"],
    ]


def test_files_with_the_same_name_are_distinguished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/a.nn").write_text("seed = 5")
    (tmp_path / "a.nn").write_text('import "b/a.nn"\n' + spec())
    out = shown(capsys, tmp_path / "a.nn")
    assert f"{tmp_path}/b/a.nn:1" in out
    assert f"{tmp_path}/a.nn:2" in out


def test_wrong_arguments_are_reported(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(LaneError):
        resolved(RACE, lane="Adm")
    for line, words in (
        (["show", "--resolved", str(RACE), "--lane", "Adm"], "has no lane Adm; there are SGD, Momentum, Adam"),
        (["show", str(RACE), "--lane", "Adam"], "--lane requires --resolved"),
        (["show", "--resolved", str(tmp_path / "nowhere.nn")], "file not found"),
    ):
        assert _code(line) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert words in err


def test_values_are_written_as_a_spec_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lets = 'let a = "x\\ty"\nlet b = [1, 2.5, true]\nlet c = (none,)\nlet d = -1e-3\n'
    (tmp_path / "a.nn").write_text(lets + spec())
    tail = shown(capsys, tmp_path / "a.nn").splitlines()[-4:]
    assert [line.split("  a.nn")[0].split(maxsplit=1)[1].strip() for line in tail] == [
        '"x\\ty"',
        "[1, 2.5, true]",
        "(none,)",
        "-0.001",
    ]
    assert "`" not in "".join(tail)
    assert written("\x1b") == '"\\u001b"'


def test_a_deep_composition_is_not_slow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = "residual { " * 45 + "ReLU" + " }" * 45
    (tmp_path / "a.nn").write_text(spec(f"{deep}; Linear(10)"))
    assert "residual1." * 45 + "ReLU1" in shown(capsys, tmp_path / "a.nn")
