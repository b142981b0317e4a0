"""Blocks: parameters, defaults, layers as parameters, blocks in blocks, and every way they can be wrong."""

from __future__ import annotations

import pytest
from findings import base, diagnose, everything, find, only, program

from nnspec.checker.program import Experiment, LayerNode
from nnspec.diagnostics import Diagnostic

HIDDEN = """
block Hidden(units, act=ReLU, drop=0.0) {
    Linear(units)
    act
    Dropout(drop)
}
"""


def spec(model: str, more: str = HIDDEN) -> str:
    """Return the base with other layers before the last."""
    return base("    Linear(16)\n    ReLU\n", "".join(f"    {line}\n" for line in model.splitlines()), more=more)


def lane(text: str, *flags: str) -> Experiment:
    return program(text, *flags).lanes[0]


def names(text: str, *flags: str) -> list[str]:
    return [node.name for node in lane(text, *flags).layers]


def layer(text: str, name: str, *flags: str) -> LayerNode:
    (found,) = [node for node in lane(text, *flags).layers if node.name == name]
    return found


def told(found: Diagnostic) -> tuple[str, str, list[tuple[str, str]]]:
    """Return the text that is pointed at, the message, and the notes on other positions."""
    return found.span.text, found.message, [(note.span.text, note.text) for note in found.notes]


# What becomes of it


def test_a_block_is_opened_in_its_place_and_its_layers_bear_its_name() -> None:
    found = lane(spec("Hidden(64)"))
    assert [(n.name, n.geometry.out) for n in found.layers] == [
        ("Hidden1.Linear1", (64,)),
        ("Hidden1.ReLU1", (64,)),
        ("Hidden1.Dropout1", (64,)),
        ("Linear1", (10,)),
    ]
    assert found.shapes == "784 → 64 → 10"


@pytest.mark.parametrize(
    ("use", "units", "activation", "drop"),
    [
        ("Hidden(8)", 8, "ReLU", 0.0),
        ("Hidden(8, Tanh)", 8, "Tanh", 0.0),
        ("Hidden(8, Tanh, 0.5)", 8, "Tanh", 0.5),
        ("Hidden(units=8)", 8, "ReLU", 0.0),
        ("Hidden(drop=0.5, units=2 * 4)", 8, "ReLU", 0.5),
        ("Hidden(8, drop=0.5)", 8, "ReLU", 0.5),
        ("(Hidden(8))", 8, "ReLU", 0.0),
        ("Hidden(data.classes - 2, act=Sigmoid())", 8, "Sigmoid", 0.0),
    ],
)
def test_arguments_are_given_as_to_a_layer(use: str, units: int, activation: str, drop: float) -> None:
    linear, act, dropout, _ = lane(spec(use)).layers
    assert linear.arguments()["out_features"] == units
    assert act.value.name == activation
    assert dropout.arguments()["p"] == drop


def test_each_use_has_its_own_values_and_layers_are_numbered_in_each_block() -> None:
    text = spec("Hidden(8)\nLinear(9)\nHidden(7, Tanh)")
    assert [(n.name, n.geometry.out) for n in lane(text).layers if n.geometry.parameters] == [
        ("Hidden1.Linear1", (8,)),
        ("Linear1", (9,)),
        ("Hidden2.Linear1", (7,)),
        ("Linear2", (10,)),
    ]


def test_blocks_use_blocks_wherever_these_stand_in_the_file() -> None:
    text = spec("Two(8)", "block Two(units) { Hidden(units); Hidden(units // 2, Tanh) }" + HIDDEN)
    assert names(text) == [
        "Two1.Hidden1.Linear1",
        "Two1.Hidden1.ReLU1",
        "Two1.Hidden1.Dropout1",
        "Two1.Hidden2.Linear1",
        "Two1.Hidden2.Tanh1",
        "Two1.Hidden2.Dropout1",
        "Linear1",
    ]
    assert lane(text).shapes == "784 → 8 → 4 → 10"


def test_a_default_may_use_the_parameters_before_it() -> None:
    text = spec("A(8)\nA(8, 3)", "\nblock A(a, b=a // 2) { Linear(a); ReLU; Linear(b); ReLU }")
    assert lane(text).shapes == "784 → 8 → 4 → 8 → 3 → 10"


def test_a_block_sees_lets_and_a_parameter_hides_a_let_but_not_in_other_lets() -> None:
    more = "\nlet width = 8\nlet twice = 2 * width\nblock A(width=3) { Linear(width); ReLU; Linear(twice); ReLU }"
    assert lane(spec("A\nLinear(width)\nReLU", more)).shapes == "784 → 3 → 16 → 8 → 10"


def test_a_let_sees_no_parameter_of_the_blocks_around_its_use() -> None:
    more = "\nlet width = 8\nlet twice = 2 * width\nblock Outer(width) { Inner }\nblock Inner { Linear(twice); ReLU }"
    assert lane(spec("Outer(3)", more)).shapes == "784 → 16 → 10"


def test_an_argument_is_evaluated_where_the_block_is_used() -> None:
    more = "\nblock Outer(units) { Inner(units + 1) }\nblock Inner(units) { Linear(units); ReLU }"
    assert lane(spec("Outer(4)", more)).shapes == "784 → 5 → 10"


def test_a_parameter_may_be_a_part_with_arguments() -> None:
    more = "\nblock A(last, init=he_normal) { Linear(8, init=init); last }"
    found = lane(spec("A(Dropout(0.25), init=zeros)", more)).layers
    assert [n.value.name for n in found] == ["Linear", "Dropout", "Linear"]
    assert found[1].arguments()["p"] == 0.25
    assert found[0].arguments()["init"].spec_name == "zeros"


def test_a_let_may_be_a_layer_and_be_handed_on() -> None:
    text = spec("wide\nact\nHidden(8, act)", HIDDEN + "let act = Tanh\nlet wide = Linear(32)\n")
    assert names(text)[:3] == ["Linear1", "Tanh1", "Hidden1.Linear1"]
    assert layer(text, "Hidden1.Tanh1").value.name == "Tanh"


def test_an_empty_block_is_nothing() -> None:
    assert names(spec("A\nReLU", "\nblock A { }")) == ["ReLU1", "Linear1"]


def test_every_layer_knows_the_blocks_that_it_comes_out_of() -> None:
    text = spec("Two(8)", "\nblock Two(units) { Hidden(units) }" + HIDDEN)
    linear = layer(text, "Two1.Hidden1.Linear1")
    assert [(use.name, use.block, use.origin.span.text) for use in linear.uses] == [
        ("Two1", "Two", "Two(8)"),
        ("Two1.Hidden1", "Hidden", "Hidden(units)"),
    ]
    outer, inner = (use.parameters for use in linear.uses)
    assert (outer["units"].value, outer["units"].origin.span.text) == (8, "8")
    assert (inner["drop"].value, inner["drop"].origin.via) == (0.0, "default of `Hidden`")
    assert lane(text).layers[-1].uses == ()


@pytest.mark.parametrize(
    ("setting", "shapes"),
    [
        ("model.h.units = 32", "784 → 32 → 10"),
        ("model.h.Linear1.out_features = 9", "784 → 9 → 10"),
        ("model.h.units = 32\nmodel.h.Linear1.out_features = 9", "784 → 9 → 10"),
        ("model.h.units = width", "784 → 5 → 10"),
    ],
)
def test_arguments_of_blocks_and_of_layers_in_them_are_settings(setting: str, shapes: str) -> None:
    text = spec("h: Hidden(64)", f"{HIDDEN}let width = 5\n")
    assert lane(f"{text}{setting}\n").shapes == shapes
    assert lane(text, *setting.splitlines()).shapes == shapes


def test_a_setting_that_gives_a_block_its_argument_knows_no_parameters() -> None:
    text = spec("Outer(4)", "\nblock Outer(units) { h: Inner(units) }\nblock Inner(units) { Linear(units); ReLU }\n")
    assert lane(text, "model.Outer1.h.units = 6").shapes == "784 → 6 → 10"
    assert find(text, "model.Outer1.h.units = units") == [("NN201", "units")]


def test_where_a_changed_argument_comes_from() -> None:
    found = layer(spec("h: Hidden(64)"), "h.Linear1", "model.h.Linear1.out_features = 9")
    origin = found.value.arguments["out_features"].origin
    assert (str(origin.span), origin.via) == ("--set:1:32", "--set")
    (use,) = layer(spec("h: Hidden(64)"), "h.Linear1", "model.h.units = 9").uses
    assert (use.parameters["units"].value, use.parameters["units"].origin.via) == (9, "--set")


def test_a_layer_that_is_a_parameter_may_have_its_arguments_changed() -> None:
    text = spec("h: A(Dropout(0.25))", "\nblock A(last) { Linear(8); ReLU; last }\nmodel.h.Dropout1.p = 0.75\n")
    assert layer(text, "h.Dropout1").arguments()["p"] == 0.75


# What is wrong

WRONG = {
    "argument, misspelt": ("Hidden(64, droop=0.3)", HIDDEN, "NN202", "droop", "did you mean `drop`?"),
    "argument, unknown": (
        "Hidden(64, xyz=0.3)",
        HIDDEN,
        "NN202",
        "xyz",
        "it takes units, act=ReLU, drop=0.0",
    ),
    "argument, needed": ("Hidden()", HIDDEN, "NN205", "Hidden", "Hidden(units, act=ReLU, drop=0.0)"),
    "argument, needed, no brackets": ("Hidden", HIDDEN, "NN205", "Hidden", "Hidden(units, act=ReLU, drop=0.0)"),
    "argument, twice": ("Hidden(64, units=3)", HIDDEN, "NN204", "units", ""),
    "arguments, too many": (
        "Hidden(64, Tanh, 0.1, 3, 4)",
        HIDDEN,
        "NN303",
        "3, 4",
        "Hidden(units, act=ReLU, drop=0.0)",
    ),
    "argument of none": ("A(3)", "\nblock A { Linear(8); ReLU }", "NN303", "3", "A()"),
    "block, misspelt": ("Hiden(64)", HIDDEN, "NN201", "Hiden", "did you mean `Hidden`?"),
    "block, as a section": ("Hidden { ReLU }", HIDDEN, "NN201", "Hidden", "use a block like a layer: `Hidden(…)`"),
    "block, as a value": ("Linear(Hidden)", HIDDEN, "NN305", "Hidden", ""),
    "parameter, misspelt inside": (
        "A(4)",
        "\nblock A(units) { Linear(unit); ReLU }",
        "NN201",
        "unit",
        "did you mean `units`?",
    ),
    "parameter, called": ("A(4)", "\nblock A(units) { Linear(units(3)); ReLU }", "NN305", "units", ""),
    "parameter, outside": ("A(4)\nLinear(units)", "\nblock A(units) { Linear(units); ReLU }", "NN201", "units", ""),
    "number as a layer": ("Hidden(64, act=3)", HIDDEN, "NN305", "3", ""),
    "optimizer as a layer": ("Hidden(64, act=Adam)", HIDDEN, "NN305", "Adam", ""),
    "value, wrong": ("Hidden(64.5)", HIDDEN, "NN301", "64.5", ""),
    "value, out of range": ("Hidden(64, drop=1.5)", HIDDEN, "NN302", "1.5", "write 1.5 % as 0.015"),
    "value, unknown": ("Hidden(widht)", HIDDEN + "let width = 3\n", "NN201", "widht", "did you mean `width`?"),
    "default, wrong": ("A", "\nblock A(p=1.5) { Linear(8); Dropout(p) }", "NN302", "1.5", "write 1.5 % as 0.015"),
    "default, no result": ("A", "\nblock A(p=1 / 0) { Linear(8); Dropout(p) }", "NN304", "1 / 0", ""),
    "default, of a later one": ("A", "\nblock A(a=b, b=3) { Linear(a); ReLU; Linear(b); ReLU }", "NN201", "b", ""),
    "itself": ("A", "\nblock A { ReLU; A }", "NN207", "A", None),
    "itself, through others": ("A", "\nblock A { B }\nblock B { C }\nblock C { A }", "NN207", "A", None),
    "layer inside": ("A", "\nblock A { Linear(8); Foo }", "NN201", "Foo", None),
    "setting inside": (
        "A",
        "\nblock A { Linear(8); epochs = 3 }",
        "NN203",
        "epochs = 3",
        "`epochs` belongs in `train`",
    ),
    "let inside": ("A", "\nblock A { Linear(8); let a = 3 }", "NN203", "let a = 3", "move it out of the braces"),
    "block inside": (
        "A",
        "\nblock A { Linear(8); block B { ReLU } }",
        "NN203",
        "block B",
        "",
    ),
    "import inside": (
        "A",
        '\nblock A { Linear(8); import "a.nn" }',
        "NN203",
        'import "a.nn"',
        "",
    ),
    "two of a name": ("A", "\nblock A { ReLU }\nblock A { Tanh }", "NN204", "A", ""),
    "name of a layer": ("ReLU", "\nblock ReLU { Tanh }", "NN206", "ReLU", "use another name"),
    "name of a let": ("Linear(A)\nReLU", "\nlet A = 3\nblock A { Tanh }", "NN204", "A", ""),
    "name of a setting": ("ReLU", "\nblock loss { Tanh }", "NN206", "loss", "use another name"),
    "name of a figure": ("ReLU", "\nblock params { Tanh }", "NN206", "params", "use another name"),
    "parameter, twice": ("A(3)", "\nblock A(x, x) { Linear(x); ReLU }", "NN204", "x", ""),
    "parameter, name of a layer": ("A(3)", "\nblock A(ReLU) { ReLU }", "NN206", "ReLU", "use another name"),
    "parameter, name of a function": ("A(3)", "\nblock A(max) { ReLU }", "NN206", "max", "use another name"),
    "parameter, name of the data": ("A(3)", "\nblock A(data) { ReLU }", "NN206", "data", "use another name"),
    "too many parameters": (
        "A",
        "\nblock A(" + ", ".join(f"p{i}=1" for i in range(101)) + ") { Linear(8); ReLU }",
        "NN603",
        "A",
        "",
    ),
    "in a race": ("ReLU", HIDDEN + "race { Hidden(3); SGD }", "NN201", "Hidden", None),
    "setting, misspelt": (
        "h: Hidden(64)",
        HIDDEN + "model.h.unit = 3",
        "NN202",
        "model.h.unit",
        "did you mean `units`?",
    ),
    "setting, of a layer inside": (
        "h: Hidden(64)",
        HIDDEN + "model.h.Linaer1.out_features = 3",
        "NN201",
        "model.h.Linaer1.out_features",
        "did you mean `h.Linear1`?",
    ),
    "setting, wrong value": ("h: Hidden(64)", HIDDEN + "model.h.units = 1.5", "NN301", "1.5", ""),
    "setting, wrong value inside": (
        "h: Hidden(64)",
        HIDDEN + "model.h.Linear1.out_features = 0",
        "NN302",
        "0",
        "",
    ),
}


@pytest.mark.parametrize(("model", "more", "code", "pointed", "help"), WRONG.values(), ids=WRONG.keys())
def test_each_mistake_is_reported_once_at_its_own_position(
    model: str, more: str, code: str, pointed: str, help: str | None
) -> None:
    found = only(spec(model, more))
    assert (found.code, found.span.text) == (code, pointed)
    assert help is None or found.help == help


def test_a_mistake_in_a_block_is_reported_once_with_its_use() -> None:
    found = only(spec("A * 2\nA\nB", "\nblock A { Linear(8); Dropout(2) }\nblock B { A }"))
    assert told(found) == ("2", "`p` must be in [0, 1), got 2", [("A", "in this `A`")])
    assert found.notes[0].span.line == 3


def test_a_wrong_value_is_reported_at_each_use_that_passes_it() -> None:
    first, second = diagnose(spec("Hidden(64.5)\nHidden(8)\nHidden(0)"))
    assert told(first) == (
        "64.5",
        "`out_features` must be an integer of at least 1, not 64.5",
        [("units", "used here")],
    )
    assert told(second) == ("0", "`out_features` must be at least 1, got 0", [("units", "used here")])


def test_a_value_that_goes_through_several_blocks_is_at_fault_where_it_was_written() -> None:
    found = only(spec("Outer(2.5)", "\nblock Outer(size) { Hidden(size) }" + HIDDEN))
    assert told(found)[0] == "2.5"
    assert told(found)[2] == [("units", "used here")]


def test_what_is_computed_of_a_parameter_is_at_fault_in_the_block() -> None:
    found = only(spec("A(3)", "\nblock A(n) { Linear(n / 2); ReLU }"))
    assert told(found) == (
        "n / 2",
        "`out_features` must be an integer of at least 1, not 1.5",
        [("A(3)", "in this `A`")],
    )


def test_a_shape_that_does_not_fit_says_in_which_use() -> None:
    found = only(spec("A(8)\nA(9)", "\nblock A(n) { Linear(n); ReLU; Linear(8, n); ReLU }"))
    assert (found.code, found.span.text) == ("NN401", "8")
    assert [(note.span.text, note.text) for note in found.notes][-1] == ("A(9)", "in this `A`")


def test_a_value_of_a_flag_is_at_fault_in_the_flag() -> None:
    found = only(spec("h: Hidden(64)"), "model.h.units = 1.5")
    assert (found.code, str(found.span)) == ("NN301", "--set:1:17")


def test_a_block_that_no_model_uses_is_read_too_and_its_parameters_may_be_anything() -> None:
    block = "block A(n, act, m=1.5 // 1) { Linear(n); act; Linear(0); Linear(n * 2, bias=n); Foo; B }"
    more = f"\n{block}\nblock B {{ Dropout(2) }}"
    assert find(spec("ReLU", more)) == [("NN302", "0"), ("NN201", "Foo"), ("NN302", "2")]


@pytest.mark.parametrize("count", ["A * 0", "0 * A", "A * 0 * 3", "A * none"])
def test_what_is_repeated_no_time_is_read_too(count: str) -> None:
    text = spec(count.replace("none", "n"), "\nblock A { Linear(0) }\nlet n = 0\nlet m = n\ntrain.epochs = m + 1\n")
    assert find(text) == [("NN302", "0")]


@pytest.mark.parametrize(
    ("model", "setting"),
    [
        ("h: Hiden(64)", "model.h.units = 3"),
        ("Hiden(64)", "model.Hidden1.units = 3"),
        ("Hidden(64 3)", "model.Hidden1.units = 3"),
        ("h: A", "model.h.Linear1.bias = false"),
    ],
)
def test_a_layer_in_an_unreadable_block_is_not_reported_as_missing(model: str, setting: str) -> None:
    broken = "block A(x, x) { Linear(x) }\n" if model.endswith("A") else ""
    assert len(diagnose(spec(model, f"{HIDDEN}{broken}{setting}\n"))) == 1


def test_the_nesting_of_blocks_is_limited() -> None:
    chain = "".join(f"block A{i} {{ A{i + 1} }}\n" for i in range(60)) + "block A60 { Linear(8); ReLU }\n"
    assert find(spec("A11", "\n" + chain)) == []
    found = only(spec("A0", "\n" + chain))
    assert (found.code, found.span.text) == ("NN106", "A50")


@pytest.mark.parametrize("inner", ["ReLU", ""])
def test_blocks_that_double_each_other_are_too_many_layers(inner: str) -> None:
    chain = "".join(f"block A{i} {{ A{i + 1}; A{i + 1} }}\n" for i in range(40)) + f"block A40 {{ {inner} }}\n"
    assert [d.code for d in diagnose(spec("A0", "\n" + chain))] == ["NN603"]
    assert not diagnose(spec("ReLU", "\n" + chain))  # that nobody uses them is no error


@pytest.mark.parametrize(
    ("more", "unused"),
    [
        ("block A(x, y=0.5) { Dropout(y) }", ["x"]),
        ("block A(x, y=x) { Dropout(y) }", []),
        ("block A(x) { residual { Dropout(x) } }", []),
        ("block A(x) { B(x) * 2 }\nblock B(x) { Dropout(x / 2) }", []),
        ("block A(x) { Dropout(p=0.5) }", ["x"]),
        ("block A(x) { x: Dropout(0.5) }", ["x"]),
    ],
)
def test_a_parameter_that_nothing_uses_is_worth_a_warning(more: str, unused: list[str]) -> None:
    found = everything(spec("Linear(8)\nReLU\nA(0.5)", f"\n{more}\n"))
    assert [(d.code, d.span.text) for d in found] == [("NN710", word) for word in unused]
