"""`diff`: how two specs differ, in meaning; and nothing where they only read differently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_spec import RACE, compiled, spec

from nnspec.api import SpecError, diff
from nnspec.cli import _code
from nnspec.semantics.changes import Change
from nnspec.semantics.comparison import Difference, compare


def held(a: str, b: str, *flags: str) -> Difference:
    return compare(compiled(a, *flags), compiled(b, *flags))


def told(found: Difference) -> list[tuple[str, ...]]:
    """Return every change of the lanes that both have: sign, name, what was and is."""
    return [row(change) for group in found.groups for change in group.changes]


def row(change: Change) -> tuple[str, ...]:
    return (change.sign, change.what, *(text for text in (change.old, change.new) if text is not None))


def between(a: str, b: str, **more: Any) -> list[tuple[str, ...]]:
    """Return what differs between two models."""
    return [each for each in told(held(spec(a, **more), spec(b, **more))) if each[1] not in SIZES]


SIZES = ("parameters", "FLOPs", "memory")
BASE = spec(
    "Linear(6); ReLU; Linear(10)",
    race="SGD; fast: SGD(lr=0.1)",
    expect="fast.loss < SGD.loss; params < 9000",
    more="seed = 0",
)

SAME = {
    "comments and blanks": f"# hello\n\n{BASE.replace(';', chr(10)).replace('=', ' = ').replace(' =  = ', ' == ')}",
    "defaults written out": BASE.replace("SGD;", "SGD(lr=0.01, momentum=0);").replace(
        "Linear(6)", "Linear(6, bias=true)"
    ),
    "an initialiser written out": BASE.replace("Linear(6)", "Linear(6, init=he_normal)"),
    "the incoming size written out": BASE.replace("Linear(6)", "Linear(784, 6)"),
    "a setting outside of its section": BASE.replace(
        "train { epochs = 2; batch = 16 }", "train.epochs = 2\ntrain.batch = 16"
    ),
    "a setting that is the default": BASE + "train.shuffle = true\ndtype = float32\nmetrics = [accuracy]",
    "another notation of numbers": BASE.replace("lr=0.1", "lr=1e-1")
    .replace("9000", "9_000")
    .replace("batch = 16", "batch = 8 * 2"),
    "a let": f"let wide = 3\n{BASE.replace('Linear(6)', 'Linear(wide * 2)')}",
    "a block": f"block H(n) {{ Linear(n); ReLU }}\n{BASE.replace('Linear(6); ReLU', 'H(6)')}",
    "labels": BASE.replace("Linear(6)", "first: Linear(6)"),
    "a name for the model": BASE.replace("model {", "model net {"),
    "a model that nothing uses": BASE
    + "model other { Linear(10) }\nmodel net { Linear(6); ReLU; Linear(10) }\nmodel = net",
    "the title": BASE.replace("race {", 'race "Title" {'),
    "the order of lanes": BASE.replace("SGD; fast: SGD(lr=0.1)", "fast: SGD(lr=0.1); SGD"),
    "a lane as a section": BASE.replace("fast: SGD(lr=0.1)", "fast { SGD; optimizer.lr = 0.1 }"),
    "the order of statements": BASE.replace(
        "fast.loss < SGD.loss; params < 9000", "9000 > params; SGD.loss > fast.loss"
    ),
    "a statement twice": BASE.replace("params < 9000", "params < 9000; params < 9000"),
}


@pytest.mark.parametrize("what", SAME)
def test_what_only_reads_differently_makes_no_difference(what: str) -> None:
    assert SAME[what] != BASE
    found = held(BASE, SAME[what])
    assert (found.lanes, found.groups, found.statements) == ((), (), ())
    assert found.same


def test_blocks_and_lets_may_have_other_names_and_lie_in_other_files(tmp_path: Path) -> None:
    (tmp_path / "common.nn").write_text("block Other(m) { Linear(m); ReLU }\nlet size = 5\nseed = 0\n")
    (tmp_path / "a.nn").write_text("block H(n) { Linear(n); ReLU }\nlet width = 5\n" + spec("H(width) * 2; Linear(10)"))
    (tmp_path / "b.nn").write_text('import "common.nn"\n' + spec("Other(size); Other(5); Linear(10)"))
    assert diff(tmp_path / "a.nn", tmp_path / "b.nn").same


def test_a_sweep_over_a_let_may_call_it_otherwise() -> None:
    a, b = (f"let {w} = 3\nsweep {{ {w} = [4, 5] }}\n" + spec(f"Linear({w}); Linear(10)") for w in ("w", "size"))
    assert held(a, b).same


DIFFERENT = [
    ("seed = 0", "seed = 1", [("~", "seed", "0", "1")]),
    ("seed = 0", "seed = 0\ndtype = float64", [("~", "dtype", "float32", "float64")]),
    ("lr=0.1", "lr=0.2", [("~", "optimizer.lr", "0.1", "0.2")]),
    (
        "lr=0.1",
        "lr=cosine(0.1)",
        [("~", "optimizer.lr", "0.1", "cosine(0.1, to=0, warmup=0, per=epoch, staircase=false)")],
    ),
    (
        "SGD;",
        "SGD: Adam;",
        [("~", "optimizer", "SGD(lr=0.01, momentum=0.0)", "Adam(lr=0.001, betas=(0.9, 0.999), eps=1e-08)")],
    ),
    (
        "CrossEntropy",
        "MSE",
        [("~", "loss", "CrossEntropy(label_smoothing=0.0, class_weights=none)", "MSE")],
    ),
    ("train=50", "train=60", [("~", "data.train", "50", "60")]),
    (
        "Digits(train=50, test=20)",
        "MNIST(train=50, test=20) or Digits(train=50, test=20)",
        [
            (
                "~",
                "data",
                "Digits(train=50, test=20, seed=0)",
                "MNIST(train=50, test=20) or Digits(train=50, test=20, seed=0)",
            )
        ],
    ),
    ("seed = 0", "seed = 0\nmetrics = []", [("~", "metrics", "accuracy", "none")]),
    ("batch = 16", "batch = 8", [("~", "train.batch", "16", "8")]),
    (
        "batch = 16",
        "batch = 16; early_stop = patience(2, of=loss)",
        [("~", "train.early_stop", "none", "patience(2, of=loss, min_delta=0.0, restore_best=false)")],
    ),
    ("Linear(6)", "Linear(6, bias=false)", [("~", "Linear1.bias", "true", "false")]),
    ("Linear(6)", "Linear(6, init=zeros)", [("~", "Linear1.init", "he_normal", "zeros")]),
]


@pytest.mark.parametrize(("old", "new", "changes"), DIFFERENT, ids=[f"{row[1]}" for row in DIFFERENT])
def test_exactly_the_differences_are_reported(old: str, new: str, changes: list[tuple[str, ...]]) -> None:
    assert BASE.count(old) == 1
    found = held(BASE, BASE.replace(old, new))
    assert [each for each in told(found) if each[1] not in SIZES] == changes
    assert not found.lanes
    assert not found.statements
    back = held(BASE.replace(old, new), BASE)
    assert [each for each in told(back) if each[1] not in SIZES] == [(*c[:2], c[3], c[2]) for c in changes]


# Models

BODY = "Linear(64); ReLU; Linear(32); ReLU; Linear(10)"
MODELS = {
    "a layer put in": (
        BODY.replace("ReLU; Linear(32)", "ReLU; Dropout(0.2); Linear(32)"),
        [("+", "Dropout1", "Dropout(p=0.2)")],
    ),
    "two put in": (
        BODY.replace("64); ReLU", "64); ReLU; Linear(64); ReLU"),
        [("+", "Linear2", "Linear(out_features=64)"), ("+", "ReLU2", "ReLU")],
    ),
    "one at the start": (f"Linear(9); {BODY}", [("+", "Linear1", "Linear(out_features=9)")]),
    "one taken away": (BODY.replace("32); ReLU", "32)"), [("-", "ReLU2", "ReLU")]),
    "another width": (BODY.replace("32", "48"), [("~", "Linear2.out_features", "32", "48")]),
    "another kind": (
        BODY.replace("ReLU; Linear(10)", "Tanh; Linear(10)"),
        [("-", "ReLU2", "ReLU"), ("+", "Tanh1", "Tanh")],
    ),
    "width and a layer": (
        BODY.replace("Linear(32); ReLU", "Linear(48); ReLU; Dropout"),
        [("~", "Linear2.out_features", "32", "48"), ("+", "Dropout1", "Dropout")],
    ),
    "numbers shift": (
        f"Linear(9); {BODY.replace('32', '48')}",
        [("+", "Linear1", "Linear(out_features=9)"), ("~", "Linear3.out_features", "32", "48")],
    ),
}


@pytest.mark.parametrize("what", MODELS)
def test_one_layer_is_one_line(what: str) -> None:
    model, changes = MODELS[what]
    assert sorted(between(BODY, model)) == sorted(changes)


def test_a_layer_with_another_argument_is_known_by_its_label() -> None:
    assert between("h: Linear(5); Tanh; Linear(10)", "Linear(4); h: Linear(6); Tanh; Linear(10)") == [
        ("+", "Linear1", "Linear(out_features=4)"),
        ("~", "h.out_features", "5", "6"),
    ]


def test_a_layer_that_is_called_otherwise_says_so() -> None:
    (group,) = held(spec(BODY), spec(f"Linear(9); {BODY.replace('32', '48')}")).groups
    assert [change.note for change in group.changes][:2] == ["at the start", "was Linear2"]


def test_the_position_of_a_layer_is_shown() -> None:
    def notes(model: str) -> list[str]:
        return [
            c.note for group in held(spec("Linear(10)"), spec(model)).groups for c in group.changes if c.sign == "+"
        ]

    assert notes("ReLU; Tanh; Linear(10)") == ["at the start", "after ReLU1"]
    assert notes("residual { ReLU; shortcut { Tanh } }; Sigmoid; Linear(10)") == [
        "at the start",
        "first in residual1",
        "after residual1.ReLU1",
        "first in residual1.shortcut",
        "after residual1.shortcut.Tanh1",
        "after residual1",
    ]


def test_an_argument_of_one_of_several_sources_is_named_with_its_source() -> None:
    data = "MNIST(train=50, test=20) or Digits(train=50, test=20)"
    assert told(held(spec(data=data), spec(data=data.replace("50, test=20) or", "50, test=19) or")))) == [
        ("~", "data.MNIST.test", "20", "19"),
    ]


@pytest.mark.parametrize(
    ("a", "b", "changes"),
    [
        (
            "residual { Linear(784) }",
            "residual { Linear(784); ReLU }",
            [("+", "residual1.ReLU1", "ReLU")],
        ),
        ("Linear(4)", "residual { Linear(784) }; Linear(4)", None),
        (
            "ReLU; Tanh",
            "residual { ReLU }; Tanh",
            [("+", "residual1", "residual"), ("+", "residual1", "end of residual")],
        ),
        (
            "residual { ReLU }; Tanh",
            "residual { ReLU; Tanh }",
            [("+", "residual1.Tanh1", "Tanh"), ("-", "Tanh1", "Tanh")],
        ),
        (
            "residual { ReLU }",
            "residual { ReLU; shortcut { Linear(784) } }",
            [
                ("+", "residual1.shortcut", "branch of residual"),
                ("+", "residual1.shortcut.Linear1", "Linear(out_features=784)"),
            ],
        ),
        ("add { a { ReLU } b { } }", "add { c { ReLU } d { } }", []),
        ("add { a { ReLU } b { } }", "add { a { ReLU } b { } c { } }", [("+", "add1.c", "branch of add")]),
        ("add { a { ReLU } b { } }", "add { a { } b { ReLU } }", None),
        ("add { a { ReLU } b { } }", "concat { a { ReLU } b { } }", None),
    ],
)
def test_compositions_are_seen_into(a: str, b: str, changes: list[tuple[str, ...]] | None) -> None:
    found = between(f"{a}; Linear(10)", f"{b}; Linear(10)")
    assert found == changes if changes is not None else found


def test_sizes_follow() -> None:
    a, b = compiled(spec("Linear(6); Linear(10)")), compiled(spec("Linear(7); Linear(10)"))
    sizes = {change.what: change for change in compare(a, b).groups[0].changes[1:]}
    assert (sizes["parameters"].old, sizes["parameters"].new, sizes["parameters"].note) == ("4,780", "5,575", "+795")
    for what, attribute in (("parameters", "params"), ("FLOPs", "flops"), ("memory", "memory")):
        assert sizes[what].old_value == getattr(a.layouts["run"], attribute)
        assert sizes[what].new_value == getattr(b.layouts["run"], attribute)


def test_models_of_thousands_of_layers_are_compared_too() -> None:
    a, b = spec("Linear(5) * 1500; Linear(10)"), spec("Linear(5) * 700; Tanh; Linear(5) * 700; Linear(10)")
    ready = compiled(a), compiled(b)
    assert ("+", "Tanh1", "Tanh") in told(compare(*ready))
    for count in (190, 1200):
        one, other = "ReLU; " * count, "ReLU; Tanh; " * count
        both = (compiled(spec(f"Sigmoid; {each} Linear(10)")) for each in (f"{one}Dropout;", other))
        assert not compare(*both).same


# Lanes and statements


def test_changes_that_lanes_share_are_reported_once() -> None:
    lanes = "SGD; b: SGD(lr=0.1); c: SGD(lr=0.1)"
    found = held(spec(race=lanes), spec(race=lanes.replace("0.1", "0.2"), train="epochs = 3; batch = 16"))
    assert [(group.lanes, [row(change) for change in group.changes]) for group in found.groups] == [
        (("SGD", "b", "c"), [("~", "train.epochs", "2", "3")]),
        (("b", "c"), [("~", "optimizer.lr", "0.1", "0.2")]),
    ]


def test_lanes_that_come_and_go_are_held_against_another() -> None:
    found = held(spec(race="SGD; Adam"), spec(race="SGD; slow { SGD; optimizer.lr = 0.001 }"))
    gone, come = found.lanes
    assert (gone.old, gone.new, gone.like, [c.what for c in gone.changes]) == ("Adam", None, "SGD", ["optimizer"])
    assert (come.old, come.new, come.like) == (None, "slow", "SGD")
    assert [row(change) for change in come.changes] == [("~", "optimizer.lr", "0.01", "0.001")]
    assert not found.groups


def test_a_lane_that_is_called_otherwise_is_the_same_lane() -> None:
    expect = "Adam.loss < SGD.loss"
    a = spec(race="SGD; Adam", expect=expect)
    b = spec(race="SGD; quick: Adam", expect=expect.replace("Adam", "quick"))
    found = held(a, b)
    assert [(lane.old, lane.new) for lane in found.lanes] == [("Adam", "quick")]
    assert not found.groups
    assert not found.statements


@pytest.mark.parametrize(
    "settings",
    [
        ("seed = 1", "seed = 2"),
        ("dtype = float32", "dtype = float64"),
        ("data.train = 40", "data.train = 41"),
        ("model.Linear1.out_features = 7", "model.Linear1.out_features = 8"),
        ("loss = CrossEntropy", "loss = MSE"),
        ("optimizer.lr = 0.1", "optimizer.lr = 0.2"),
        ("metrics = []", "metrics = [accuracy]"),
        ("train.batch = 8", "train.batch = 9"),
    ],
)
def test_a_lane_of_another_name_is_another_where_anything_differs(settings: tuple[str, str]) -> None:
    a, b = (f"SGD; {name} {{ SGD; {each} }}" for name, each in zip("xy", settings, strict=True))
    found = held(spec(race=a), spec(race=b))
    assert [(lane.old, lane.new) for lane in found.lanes] == [("x", None), (None, "y")]
    other = held(spec(race=a), spec(race=a.replace("x", "y")))
    assert [(lane.old, lane.new) for lane in other.lanes] == [("x", "y")]


def test_the_only_lanes_of_two_specs_are_held_against_each_other() -> None:
    found = held(spec(optimizer="Adam"), spec(race="Adam(lr=0.1)"))
    assert [(lane.old, lane.new) for lane in found.lanes] == [("run", "Adam")]
    assert told(found) == [("~", "optimizer.lr", "0.001", "0.1")]


def test_without_a_shared_lane_other_differences_are_still_reported() -> None:
    found = held(spec(race="SGD; Adam"), spec("Linear(7); ReLU; Linear(10)", race="a: SGD; b: Adam"))
    (first, second) = [lane for lane in found.lanes if lane.old is None]
    assert first.like == "SGD of tiny.nn"
    assert [row(change) for change in first.changes] == [("~", "Linear1.out_features", "6", "7")]
    assert second.like == "a"


def test_statements_are_compared_by_what_they_say() -> None:
    found = held(
        f"let most = 9000\n{spec(expect='params < most; loss < 3')}",
        f"let most = 8000\n{spec(expect='params < most; not loss > 3')}",
    )
    assert sorted(row(change) for change in found.statements) == [
        ("+", "expect", "not loss > 3"),
        ("+", "expect", "params < 8,000"),
        ("-", "expect", "loss < 3"),
        ("-", "expect", "params < 9,000"),
    ]
    assert held(spec(race="SGD", expect="loss < 3"), spec(race="SGD; Adam", expect="loss < 3")).statements == ()
    assert len(held(spec(expect="epochs_to(loss=1) < 3"), spec(expect="epochs_to(loss=2) < 3")).statements) == 2


# The command


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    monkeypatch.chdir(tmp_path)
    wider = RACE.read_text().replace("32", "48").replace("lr=0.001", "lr=0.01").replace("    SGD(lr=0.01)\n", "")
    Path("race.nn").write_text(RACE.read_text())
    Path("wider.nn").write_text(wider.replace("Adam.loss < SGD.loss", "Adam.loss < Momentum.loss"))
    Path("mistake.nn").write_text("seed = -1")
    Path("binary.nn").write_bytes(b"\x7fELF\x00")
    return "race.nn", "wider.nn"


def test_the_words_of_a_difference(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(["diff", *pair]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[:5] == [
        "--- race.nn",
        "+++ wider.nn",
        "",
        "every lane",
        "~ Linear2.out_features  32 → 48",
    ]
    assert lines[5].startswith("~ parameters            52,650 → 53,850  +1,200")
    assert "- lane SGD: same as Momentum, except for" in lines
    assert "lane Adam\n~ optimizer.lr  0.001 → 0.01\n" in out
    assert lines[-2:] == ["- expect  Adam.loss < SGD.loss", "+ expect  Adam.loss < Momentum.loss"]
    assert "\x1b" not in out
    assert all(len(line) <= 80 for line in lines)


def test_what_is_too_long_for_a_line_takes_two(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("drawn.nn").write_text(RACE.read_text().replace("MNIST(train=2000, test=500) or ", ""))
    assert _code(["diff", "race.nn", "drawn.nn"]) == 1
    assert capsys.readouterr().out.splitlines()[4:6] == [
        "~ data  MNIST(train=2000, test=500) or Digits(train=2000, test=500, seed=0)",
        "      → Digits(train=2000, test=500, seed=0)",
    ]


def test_of_many_lanes_a_few_are_named(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    lanes = "; ".join(f"a{i}: SGD(lr=0.1)" for i in range(9))
    Path("many.nn").write_text(spec(race=f"SGD; {lanes}"))
    Path("other.nn").write_text(spec(race=f"SGD; {lanes.replace('0.1', '0.2')}"))
    assert _code(["diff", "many.nn", "other.nn"]) == 1
    assert "\nlanes a0, a1, a2, a3, a4, a5 and 3 more\n" in capsys.readouterr().out


def test_equal_specs_are_reported_and_exit_with_0(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(["diff", pair[0], pair[0]]) == 0
    assert capsys.readouterr().out == "race.nn and race.nn mean the same\n"


def test_json_holds_values(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(["diff", *pair, "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert (record["a"], record["b"], record["same"]) == (*pair, False)
    every, adam = record["changes"][0], next(g for g in record["changes"] if g["lanes"] == ["Adam"])
    assert every["lanes"] == ["Momentum", "Adam"]
    assert every["changes"][0] == {"sign": "~", "what": "Linear2.out_features", "a": 32, "b": 48}
    assert adam["changes"][0] == {"sign": "~", "what": "optimizer.lr", "a": 0.001, "b": 0.01}
    assert [lane["a"] for lane in record["lanes"]] == ["SGD"]
    assert _code(["diff", pair[0], pair[0], "--json"]) == 0
    same = json.loads(capsys.readouterr().out)
    assert (same["same"], same["lanes"], same["changes"], same["expect"]) == (True, [], [], [])


def test_flags_go_to_both(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(["diff", *pair, "--set", "Adam.optimizer.lr=0.5", "--set", "model.Linear2.out_features=5"]) == 2
    capsys.readouterr()
    assert _code(["diff", *pair, "--set", "Adam.optimizer.lr=0.5"]) == 1
    assert "optimizer.lr" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("diff race.nn", ["Missing argument 'B'"]),
        ("diff race.nn nowhere.nn", ["file not found: nowhere.nn"]),
        ("diff binary.nn race.nn", ["binary.nn"]),
        ("diff mistake.nn race.nn", ["`seed` must be"]),
        ("diff race.nn wider.nn --set seed=-1", ["`seed` must be"]),
    ],
)
def test_what_cannot_be_compared_exits_with_2(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str], line: str, words: list[str]
) -> None:
    assert _code(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert all(word in err for word in words)
    assert "Traceback" not in err


def test_errors_of_both_specs_are_reported(tmp_path: Path) -> None:
    for name in ("a.nn", "b.nn"):
        (tmp_path / name).write_text("seed = -1")
    with pytest.raises(SpecError) as caught:
        diff(tmp_path / "a.nn", tmp_path / "b.nn")
    assert {d.span.source.name for d in caught.value.diagnostics} == {str(tmp_path / n) for n in ("a.nn", "b.nn")}


def test_a_warning_is_not_a_difference(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("warned.nn").write_text(RACE.read_text().replace("seed = 42", ""))
    assert _code(["diff", "warned.nn", "race.nn"]) == 1
    assert "~ seed  0 → 42" in capsys.readouterr().out


def test_colours_are_for_terminals(pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    _code(["diff", *pair])
    out = capsys.readouterr().out
    assert "\x1b[31m- lane SGD" in out
    assert "\x1b[33m~ Linear2.out_features" in out
    monkeypatch.setenv("NO_COLOR", "1")
    _code(["diff", *pair])
    assert "\x1b[3" not in capsys.readouterr().out
