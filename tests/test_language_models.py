"""Models: repeats, compositions, labels, and settings of layers, right and wrong."""

from __future__ import annotations

import pytest
from findings import base, diagnose, find, only, program

from nnspec.checker.program import Experiment, LayerNode

BLOCK = "\nblock Hidden(units, drop=0.0) { Linear(units); ReLU; Dropout(drop) }\n"


def spec(model: str, more: str = BLOCK) -> str:
    """Return the base with other layers before the last."""
    return base("    Linear(16)\n    ReLU\n", "".join(f"    {line}\n" for line in model.splitlines()), more=more)


def lane(text: str, *flags: str) -> Experiment:
    return program(text, *flags).lanes[0]


def layers(text: str, *flags: str) -> list[LayerNode]:
    return [node for top in lane(text, *flags).layers for node in top.walk()]


def names(text: str, *flags: str) -> list[str]:
    return [node.name for node in layers(text, *flags)]


def tree(nodes: tuple[LayerNode, ...]) -> list[object]:
    """Names with branches: `["residual1", {"body": ["residual1.Linear1"], "shortcut": []}]`."""
    found: list[object] = []
    for node in nodes:
        found.append(node.name)
        if node.branches:
            found.append({branch.name: tree(branch.layers) for branch in node.branches})
    return found


# Repeats


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ("ReLU * 3", ["ReLU1", "ReLU2", "ReLU3"]),
        ("3 * ReLU", ["ReLU1", "ReLU2", "ReLU3"]),
        ("(ReLU) * 3", ["ReLU1", "ReLU2", "ReLU3"]),
        ("(ReLU * 3)", ["ReLU1", "ReLU2", "ReLU3"]),
        ("ReLU * 1", ["ReLU1"]),
        ("ReLU * 0", []),
        ("ReLU * 2 * 2", ["ReLU1", "ReLU2", "ReLU3", "ReLU4"]),
        ("2 * (ReLU * 2)", ["ReLU1", "ReLU2", "ReLU3", "ReLU4"]),
        ("ReLU * (1 + 1)", ["ReLU1", "ReLU2"]),
        ("ReLU * n", ["ReLU1", "ReLU2"]),
        ("n * ReLU", ["ReLU1", "ReLU2"]),
        ("act * n", ["ReLU1", "ReLU2"]),
        ("n * act", ["ReLU1", "ReLU2"]),
        ("ReLU * len([1, 2])", ["ReLU1", "ReLU2"]),
        ("ReLU * (data.classes // 5)", ["ReLU1", "ReLU2"]),
        ("r: ReLU * 2", ["r1", "r2"]),
        ("r: ReLU * 1", ["r"]),
        ("r: ReLU * 0", []),
        ("r: (ReLU * 2) * 2", ["r1", "r2", "r3", "r4"]),
        ("ReLU; ReLU * 2; ReLU", ["ReLU1", "ReLU2", "ReLU3", "ReLU4"]),
        ("a: ReLU; ReLU * 2", ["a", "ReLU2", "ReLU3"]),
        ("Empty * 2; ReLU", ["ReLU1"]),
    ],
)
def test_a_repeat_is_so_many_layers_with_numbers(element: str, expected: list[str]) -> None:
    more = "\nlet n = 2\nlet act = ReLU\ntrain.epochs = n * len([1])\nblock Empty { }\n"
    assert names(spec(f"{element}\nact", more))[: len(expected)] == expected
    assert len(names(spec(f"{element}\nact", more))) == len(expected) + 2


def test_a_repeated_block_is_opened_as_often_and_each_copy_is_numbered() -> None:
    found = layers(spec("Hidden(64) * 2\nh: Hidden(32) * 2"))
    assert [n.name for n in found if n.value.name == "Linear"] == [
        "Hidden1.Linear1",
        "Hidden2.Linear1",
        "h1.Linear1",
        "h2.Linear1",
        "Linear1",
    ]
    assert lane(spec("Hidden(64) * 2\nh: Hidden(32) * 2")).shapes == "784 → 64 → 64 → 32 → 32 → 10"


def test_repeats_in_blocks_multiply() -> None:
    text = spec("A * 2", "\nblock A { B * 2; ReLU }\nblock B { ReLU * 2 }\n")
    assert names(text)[:5] == ["A1.B1.ReLU1", "A1.B1.ReLU2", "A1.B2.ReLU1", "A1.B2.ReLU2", "A1.ReLU1"]
    assert len(names(text)) == 11


def test_how_often_may_be_a_parameter() -> None:
    text = spec("Deep(8, 3)\nDeep(8, 0)\nDeep(8)", "\nblock Deep(units, times=1) { Hidden(units) * times }" + BLOCK)
    assert [n for n in names(text) if n.endswith("Linear1")] == [
        "Deep1.Hidden1.Linear1",
        "Deep1.Hidden2.Linear1",
        "Deep1.Hidden3.Linear1",
        "Deep3.Hidden1.Linear1",
        "Linear1",
    ]


WRONG_REPEATS = {
    "fraction": ("ReLU * 2.5", "NN301", "2.5", "a layer can only be repeated an integer number of times"),
    "truth": ("ReLU * true", "NN301", "true", "a layer can only be repeated an integer number of times"),
    "string": ('ReLU * "3"', "NN301", '"3"', "a layer can only be repeated an integer number of times"),
    "layer by layer": ("ReLU * Tanh", "NN301", "Tanh", "a layer can only be repeated an integer number of times"),
    "negative": ("ReLU * -1", "NN302", "-1", "a layer can be repeated 0 to 20,000 times, not -1"),
    "too often": ("ReLU * 20_001", "NN302", "20_001", "a layer can be repeated 0 to 20,000 times, not 20001"),
    "far too often": (
        "ReLU * 10**12",
        "NN302",
        "10**12",
        "a layer can be repeated 0 to 20,000 times, not 1000000000000",
    ),
    "more digits than anyone reads": (
        "ReLU * 10**300",
        "NN302",
        "10**300",
        "a layer can be repeated 0 to 20,000 times, not about 10 to the 300",
    ),
    "too often in all": ("ReLU * 20_000 * 20_000", "NN603", "ReLU", "the model has more than 20,000 layers here"),
    "too often in blocks": ("A * 20_000", "NN603", "B * 20_000", None),
    "unknown": ("ReLU * widht", "NN201", "widht", "unknown name `widht`"),
    "what is unknown": ("Foo * 3", "NN201", "Foo", "unknown layer `Foo`"),
    "what is unknown, behind": ("3 * (Foo(1))", "NN201", "Foo", "unknown layer `Foo`"),
    "optimizer": ("Adam * 3", "NN305", "Adam", "expected a layer, but `Adam` is an optimizer"),
    "added": ("ReLU + 3", "NN305", "ReLU + 3", "expected a layer"),
    "number": ("3 * 4", "NN305", "3", "expected a layer"),
    "in a value": (
        "Linear(ReLU * 3)",
        "NN305",
        "ReLU",
        "only a layer or a block in a model can be repeated",
    ),
    "argument": ("Linear(3.5) * 3", "NN301", "3.5", "`out_features` must be an integer of at least 1, not 3.5"),
    "argument, of none": (
        "Linear(3.5) * 0",
        "NN301",
        "3.5",
        "`out_features` must be an integer of at least 1, not 3.5",
    ),
    "unknown, of none": ("Foo * 0", "NN201", "Foo", "unknown layer `Foo`"),
}


@pytest.mark.parametrize(("element", "code", "pointed", "message"), WRONG_REPEATS.values(), ids=WRONG_REPEATS.keys())
def test_a_wrong_repeat_is_reported_once(element: str, code: str, pointed: str, message: str | None) -> None:
    found = only(spec(element, "\nblock A { B * 20_000 }\nblock B { }\n"))
    assert found.code == code
    assert found.span.text == (pointed if message else pointed.partition(" ")[0])
    assert message is None or found.message == message


# Compositions


def test_a_residual_is_its_layers_and_the_identity() -> None:
    found = lane(spec("Linear(8)\nresidual { Linear(8); ReLU }")).layers
    assert tree(found) == ["Linear1", "residual1", {"body": ["residual1.Linear1", "residual1.ReLU1"]}, "Linear2"]
    assert [node.geometry.out for node in found] == [(8,), (8,), (10,)]
    assert found[1].value.name == "residual"
    assert found[1].span.text == "residual"


def test_a_residual_may_have_a_shortcut_at_any_position() -> None:
    for inner in (
        "shortcut { Linear(5) }; Linear(8); ReLU; Linear(5)",
        "Linear(8); ReLU; Linear(5); shortcut { Linear(5) }",
    ):
        found = lane(spec(f"r: residual {{ {inner} }}")).layers
        assert tree(found) == [
            "r",
            {"body": ["r.Linear1", "r.ReLU1", "r.Linear2"], "shortcut": ["r.shortcut.Linear1"]},
            "Linear1",
        ]
        assert found[0].geometry.out == (5,)
        assert set(found[0].geometry.parameters) >= {"Linear1.weight", "shortcut.Linear1.weight"}


def test_add_and_concat_join_branches_of_any_name() -> None:
    text = spec("add { a { Linear(6) }; b { Linear(6); ReLU } }\nconcat { left { Linear(3) }; right { } }")
    found = lane(text).layers
    assert tree(found) == [
        "add1",
        {"a": ["add1.a.Linear1"], "b": ["add1.b.Linear1", "add1.b.ReLU1"]},
        "concat1",
        {"left": ["concat1.left.Linear1"], "right": []},
        "Linear1",
    ]
    assert [node.geometry.out for node in found] == [(6,), (9,), (10,)]


def test_compositions_stand_in_each_other_and_hold_blocks_and_repeats() -> None:
    text = spec("Linear(4)\nresidual { add { a { residual { Hidden(4) * 2 } }; b { } } }")
    assert [n for n in names(text) if "Linear" in n] == [
        "Linear1",
        "residual1.add1.a.residual1.Hidden1.Linear1",
        "residual1.add1.a.residual1.Hidden2.Linear1",
        "Linear2",
    ]
    assert lane(text).layers[1].geometry.out == (4,)


def test_a_block_may_hold_compositions() -> None:
    text = spec("Linear(4)\nRes(8) * 2", "\nblock Res(inner) { residual { Linear(inner); ReLU; Linear(4) } }\n")
    assert names(text)[1:3] == ["Res1.residual1", "Res1.residual1.Linear1"]
    assert sum(node.geometry.parameters != {} for node in lane(text).layers) == 4


@pytest.mark.parametrize(
    ("setting", "name", "value"),
    [
        ("model.residual1.Linear1.out_features = 8", "residual1.Linear1", 8),
        ("model.residual1.shortcut.Linear1.bias = false", "residual1.shortcut.Linear1", False),
        ("model.residual1.shortcut.s.bias = false", "residual1.shortcut.s", False),
        ("model.residual1.h.units = 8", "residual1.h1.Linear1", 8),
    ],
)
def test_layers_in_compositions_have_settings(setting: str, name: str, value: object) -> None:
    text = spec("residual { Linear(4); h: Hidden(5) * 2; Linear(4); shortcut { Linear(4); s: Linear(4) } }")
    (found,) = [n for n in layers(text, setting) if n.name == name]
    assert found.arguments()[setting.split(".")[-1].partition(" ")[0].replace("units", "out_features")] == value


WRONG_COMPOSITIONS = {
    "body does not fit": (
        "residual { Linear(5) }",
        "NN401",
        "residual",
        "end the body with `Linear(784)`, or add a `shortcut { Linear(5) }`",
    ),
    "shortcut does not fit": (
        "residual { Linear(5); shortcut { Linear(6) } }",
        "NN401",
        "shortcut",
        "end the shortcut with `Linear(5)`",
    ),
    "branch does not fit": (
        "add { a { Linear(5) }; b { Linear(6) } }",
        "NN401",
        "b",
        "all branches must have the same shape: end it with `Linear(5)`",
    ),
    "layer in a branch does not fit": (
        "add { a { Linear(5) }; b { Linear(7, 5) } }",
        "NN401",
        "7",
        "`Linear(5)` accepts any input size",
    ),
    "empty": ("residual { }", "NN205", "residual", ""),
    "shortcut alone": ("residual { shortcut { Linear(784) } }", "NN205", "residual", ""),
    "no branch": ("concat { }", "NN205", "concat", "for example, `concat { a { Linear(64) }; b { } }`"),
    "one branch": ("add { a { Linear(64) } }", "NN205", "add", "for example, `add { a { Linear(64) }; b { } }`"),
    "layers for branches": (
        "concat { Linear(5); Linear(3) }",
        "NN203",
        "Linear(5)",
        "write each branch as a section: `a { Linear(5) }`",
    ),
    "layer between branches": (
        "add { a { }; ReLU; b { } }",
        "NN203",
        "ReLU",
        "write each branch as a section: `a { ReLU }`",
    ),
    "two shortcuts": ("residual { ReLU; shortcut { }; shortcut { ReLU } }", "NN204", "shortcut", ""),
    "two branches of a name": ("add { a { }; a { ReLU }; b { } }", "NN204", "a", ""),
    "shortcut of nothing": ("shortcut { ReLU }", "NN201", "shortcut", "a `shortcut` belongs in a `residual`"),
    "misspelt": ("residul { ReLU }", "NN201", "residul", "did you mean `residual`?"),
    "of another framework": ("skip { ReLU }", "NN201", "skip", "did you mean `residual`?"),
    "shortcut, misspelt": ("residual { ReLU; shortcutt { ReLU } }", "NN201", "shortcutt", "did you mean `shortcut`?"),
    "unknown": (
        "foo { ReLU }",
        "NN201",
        "foo",
        "it can contain layers and the sections residual, add, concat, outputs, multiply, subtract, dot, distance",
    ),
    "name": ("residual foo { ReLU }", "NN203", "foo", "put the label before it: `foo: residual {`"),
    "title": ('residual "foo" { ReLU }', "NN203", '"foo"', "put the label before it: `foo: residual {`"),
    "as a layer": ("residual", "NN305", "residual", "it is a section: `residual { … }`"),
    "as a call": ("concat(3)", "NN305", "concat", "it is a section: `concat { … }`"),
    "argument of one": ("r: residual { ReLU }", "NN202", "model.r.units", "it takes no arguments"),
    "argument of a branch": ("add { a { ReLU }; b { } }", "NN201", "model.add1.a.p", None),
    "setting in a branch": ("add { a { epochs = 3 }; b { } }", "NN203", "epochs = 3", "`epochs` belongs in `train`"),
    "layer in a branch": ("add { a { Foo }; b { } }", "NN201", "Foo", None),
}


@pytest.mark.parametrize(
    ("model", "code", "pointed", "help"), WRONG_COMPOSITIONS.values(), ids=WRONG_COMPOSITIONS.keys()
)
def test_a_wrong_composition_is_reported_once_at_its_own_position(
    model: str, code: str, pointed: str, help: str | None
) -> None:
    found = only(spec(model, f"\n{pointed} = 3\n" if pointed.startswith("model.") else "\n"))
    assert (found.code, found.span.text) == (code, pointed)
    assert help is None or found.help == help


def test_a_chain_of_shapes_ends_at_the_composition_and_begins_anew_in_a_branch() -> None:
    found = only(spec("Linear(8)\nresidual { Linear(5) }"))
    assert found.message == "the body outputs 5 features, but the shortcut has 8 features"
    assert found.remarks == ("shapes: 784 → Linear 8 → residual ✗",)
    inside = only(spec("Linear(8)\nadd { a { ReLU; Linear(9, 3) }; b { } }"))
    assert inside.remarks == ("in branch `a` of `add1`, shapes: 784 → Linear 8 → ReLU 8 → Linear ✗",)
    assert [(note.span.text, note.text) for note in inside.notes] == [("8", "8 features from here")]


def test_sections_that_stand_too_deep_in_each_other_are_an_error() -> None:
    def deep(count: int) -> str:
        return spec("residual { " * count + "ReLU" + " }" * count, "\n")

    assert find(deep(50)) == []
    assert find(deep(51)) == [("NN106", "residual")]


def test_the_parameters_of_compositions_count_once() -> None:
    text = spec("Linear(8)\nresidual { Linear(8) }\nconcat { a { Linear(8) }; b { } }", "\nexpect { params < 1e6 }")
    (found,) = program(text).lanes
    count = sum(a * (b or 1) for n in found.layers for a, b in ((*s, 0)[:2] for s in n.geometry.parameters.values()))
    assert count == (784 * 8 + 8) + 2 * (8 * 8 + 8) + (16 * 10 + 10)


# Labels and settings of layers


@pytest.mark.parametrize(
    ("settings", "widths"),
    [
        ("", [64, 64, 64]),
        ("model.h.units = 32", [32, 32, 32]),
        ("model.h2.units = 32", [64, 32, 64]),
        ("model.h.units = 32\nmodel.h2.units = 16", [32, 16, 32]),
        ("model.h2.units = 16\nmodel.h.units = 32", [32, 16, 32]),
        ("model.h2.Linear1.out_features = 9", [64, 9, 64]),
        ("model.h.Linear1.out_features = 9", [9, 9, 9]),
        ("model.h.Linear1.out_features = 9\nmodel.h3.Linear1.out_features = 8", [9, 9, 8]),
        ("model.h.units = 32\nmodel.h1.Linear1.out_features = 8", [8, 32, 32]),
        ("model { h { units = 32 } }", None),
    ],
)
def test_a_label_reaches_all_copies_and_a_number_one_of_them(settings: str, widths: list[int] | None) -> None:
    text = spec("h: Hidden(64) * 3")
    if widths is None:
        assert find(text + settings) == [("NN204", "model")]
        return
    for found in (lane(text + settings), lane(text, *settings.splitlines())):
        assert [n.geometry.out[0] for n in found.layers if n.value.name == "Linear"] == [*widths, 10]


def test_a_label_inside_a_block_reaches_all_copies_in_all_copies() -> None:
    text = spec("o: Outer * 2", "\nblock Outer { i: Hidden(8) * 2 }" + BLOCK)

    def widths(*flags: str) -> list[int]:
        return [n.geometry.out[0] for n in lane(text, *flags).layers if n.value.name == "Linear"][:-1]

    assert widths("model.o.i.units = 5") == [5, 5, 5, 5]
    assert widths("model.o1.i.units = 5") == [5, 5, 8, 8]
    assert widths("model.o.i2.units = 5") == [8, 5, 8, 5]
    assert widths("model.o2.i1.units = 5") == [8, 8, 5, 8]
    assert widths("model.o.i.units = 5", "model.o2.i1.units = 6") == [5, 5, 6, 5]


def test_copies_without_a_label_have_numbers_too() -> None:
    text = spec("Hidden(64) * 2")
    assert lane(text, "model.Hidden2.units = 5").shapes == "784 → 64 → 5 → 10"


def test_a_label_with_zero_copies_can_be_referred_to() -> None:
    text = spec("h: Hidden(64) * n", BLOCK + "let n = 0\nmodel.h.units = 32\nmodel.h.Linear1.bias = false\n")
    assert lane(text).shapes == "784 → 10"
    assert lane(text, "n = 2").shapes == "784 → 32 → 32 → 10"


def test_the_copies_may_depend_on_the_lane() -> None:
    text = spec(
        "h: Hidden(8) * n", f"{BLOCK}let n = 2\nrace {{ a {{ n = 1 }}; b {{ n = 3; model.h3.units = 4 }}; SGD }}"
    )
    assert [found.shapes for found in program(text).lanes] == [
        "784 → 8 → 10",
        "784 → 8 → 8 → 4 → 10",
        "784 → 8 → 8 → 10",
    ]


WRONG_NAMES = {
    "label twice": ("h: ReLU\nh: Tanh", "", "NN204", "h", ""),
    "label of copies twice": ("h: ReLU * 2\nh: Tanh * 3", "", "NN204", "h", ""),
    "label of copies and of one": ("h: ReLU * 2\nh: Tanh", "", "NN204", "h", ""),
    "label and number of a copy": ("h: ReLU * 2\nh1: Tanh", "", "NN204", "h1", ""),
    "label and number": ("Linear(8)\nReLU1: Tanh\nReLU", "", "NN204", "ReLU", ""),
    "unknown layer": ("ReLU", "model.h.p = 3", "NN201", "model.h.p", "its layers are `ReLU1`, `Linear1`"),
    "misspelt layer": ("hidden: ReLU", "model.hiden.p = 3", "NN201", "model.hiden.p", "did you mean `hidden`?"),
    "copy that is not there": ("h: Dropout * 2", "model.h3.p = 0.3", "NN201", "model.h3.p", None),
    "misspelt argument": ("h: Dropout", "model.h.pp = 0.3", "NN202", "model.h.pp", "did you mean `p`?"),
    "argument of all copies": ("h: Dropout * 3", "model.h.pp = 0.3", "NN202", "model.h.pp", "did you mean `p`?"),
    "no argument": ("h: Dropout", "model.h = 0.3", "NN203", "model.h", "write `model.LAYER.ARGUMENT = …`"),
    "value": ("h: Dropout * 2", "model.h.p = 3", "NN302", "3", "write 3 % as 0.03"),
    "twice": ("h: Dropout", "model.h.p = 0.3\nmodel.h.p = 0.2", "NN204", "model.h.p", ""),
    "in a lane": ("h: Dropout", "race { a { model.h.q = 1 }; SGD }", "NN202", "model.h.q", None),
}


@pytest.mark.parametrize(("model", "more", "code", "pointed", "help"), WRONG_NAMES.values(), ids=WRONG_NAMES.keys())
def test_a_wrong_name_is_reported_once(model: str, more: str, code: str, pointed: str, help: str | None) -> None:
    found = only(spec(model, f"\n{more}\n"))
    assert (found.code, found.span.text) == (code, pointed)
    assert help is None or found.help == help


def test_what_could_not_be_read_elsewhere_does_not_excuse_a_wrong_name() -> None:
    text = "seed = 1 2\n" + spec("h: ReLU", "\nmodel.g.p = 3\n")
    assert find(text) == [("NN101", "2"), ("NN201", "model.g.p")]


@pytest.mark.parametrize(
    "flag", ["model.h.unitz=3", "model.g.units=3", "model.h.units=-3", "model.h4.units=3", "model.h=3"]
)
def test_a_mistake_in_a_flag_for_a_layer_is_shown_in_the_flag(flag: str) -> None:
    (found,) = diagnose(spec("h: Hidden(64) * 3"), flag)
    assert found.span.source.name == "--set"
