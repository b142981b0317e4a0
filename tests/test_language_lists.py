"""Items of lists, words as values of `let` and of blocks' parameters, and repeated compositions."""

from __future__ import annotations

import pytest
from findings import diagnose, program

from nnspec.checker.program import Experiment
from nnspec.diagnostics import Source
from nnspec.syntax.format import format_source

IMAGES = """
data = Digits(train=20, test=5)
{more}
model {{
    {model}
    GlobalAvgPool
    Linear(10)
}}
loss = CrossEntropy
optimizer = SGD
"""


def lane(model: str, more: str = "", *flags: str) -> Experiment:
    return program(IMAGES.format(model=model, more=more), *flags).lanes[0]


def arguments(experiment: Experiment, name: str) -> dict[str, object]:
    node = next(node for top in experiment.layers for node in top.walk() if node.name == name)
    return node.arguments()


@pytest.mark.parametrize(
    ("index", "channels"), [("0", 8), ("1", 16), ("-1", 32), ("-3", 8), ("len(widths) - 2", 16), ("int(1.0)", 16)]
)
def test_an_index_takes_an_item_of_a_list(index: str, channels: int) -> None:
    experiment = lane(f"Conv2D(widths[{index}], 3)", "let widths = [8, 16, 32]")
    assert arguments(experiment, "Conv2D1")["out_channels"] == channels


def test_lists_of_lists_tuples_and_shapes_have_items() -> None:
    experiment = lane("Conv2D(grid[1][0], 3)\nConv2D((4, 5)[1], data.shape[0] // 14)", "let grid = [[1, 2], [3, 4]]")
    assert arguments(experiment, "Conv2D1")["out_channels"] == 3
    assert arguments(experiment, "Conv2D2")["out_channels"] == 5
    assert arguments(experiment, "Conv2D2")["kernel_size"] == 2


def test_rows_and_columns_arrive_as_they_are() -> None:
    experiment = lane("Reshape([1, 14, 56])\nConv2D(incoming.rows, 1)\nConv2D(incoming.columns, 1)")
    assert [arguments(experiment, f"Conv2D{i}")["out_channels"] for i in (1, 2)] == [14, 56]


def test_an_item_may_be_a_layer() -> None:
    experiment = lane("Conv2D(4, 3)\nacts[1]\nacts[0] * 2", "let acts = [ReLU, ELU(alpha=0.5)]")
    assert [node.name for node in experiment.layers[:4]] == ["Conv2D1", "ELU1", "ReLU1", "ReLU2"]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("widths[3]", "there is no item 3: this list has 3 items"),
        ("widths[-4]", "there is no item -4: this list has 3 items"),
        ("[][0]", "there is no item 0: this list has 0 items"),
        ("widths[1.0]", "an index must be an integer"),
        ("widths[true]", "an index must be an integer"),
        ("width[0]", "only a list can be indexed with `[…]`"),
        ('"abc"[0]', "only a list can be indexed with `[…]`"),
    ],
)
def test_a_wrong_index_is_an_error(item: str, message: str) -> None:
    text = IMAGES.format(model=f"Conv2D({item}, 3)", more="let widths = [8, 16, 32]\nlet width = 8")
    assert message in [found.message for found in diagnose(text)]


def test_a_let_and_a_parameter_may_be_a_word() -> None:
    more = "let pad = same\nlet pads = [valid, same]\nblock B(p=same) { Conv2D(4, 3, padding=p) }"
    experiment = lane("Conv2D(4, 3, padding=pad)\nConv2D(4, 3, padding=pads[0])\nB\nB(valid)", more)
    names = ("Conv2D1", "Conv2D2", "B1.Conv2D1", "B2.Conv2D1")
    assert [arguments(experiment, name)["padding"] for name in names] == ["same", "valid", "same", "valid"]


def test_a_word_can_be_overridden_and_swept() -> None:
    assert arguments(lane("Conv2D(4, 3, padding=pad)", "let pad = same", "pad=valid"), "Conv2D1")["padding"] == "valid"
    text = IMAGES.format(model="Conv2D(4, 3, padding=pad)", more="let pad = same\nsweep { pad = [same, valid] }")
    lanes = program(text).lanes
    assert [arguments(experiment, "Conv2D1")["padding"] for experiment in lanes] == ["same", "valid"]
    assert [experiment.name for experiment in lanes] == ["pad=same", "pad=valid"]


@pytest.mark.parametrize(
    ("more", "model", "message"),
    [
        ("let pad = smae2", "Conv2D(4, 3, padding=pad)", "unknown name `smae2`"),
        ("let pad = same", "Conv2D(pad, 3)", '`out_channels` must be an integer of at least 1, not the string "same"'),
        ("let pad = macro", "Conv2D(4, 3, padding=pad)", "`padding` must be"),
    ],
)
def test_a_word_that_does_not_fit_is_an_error(more: str, model: str, message: str) -> None:
    assert any(found.message.startswith(message) for found in diagnose(IMAGES.format(model=model, more=more)))


def test_a_repeated_composition_has_numbered_copies_with_parameters_of_their_own() -> None:
    model = "Conv2D(4, 3)\nr: residual { Conv2D(4, 3, padding=same) } * 2\nresidual { Conv2D(4, 3, padding=same) } * n"
    experiment = lane(model, "let n = 2\nmodel.r.Conv2D1.bias = false\nmodel.r2.Conv2D1.kernel_size = 5")
    assert [node.name for node in experiment.layers[:5]] == ["Conv2D1", "r1", "r2", "residual3", "residual4"]
    assert [arguments(experiment, f"r{i}.Conv2D1")["bias"] for i in (1, 2)] == [False, False]
    assert [arguments(experiment, f"r{i}.Conv2D1")["kernel_size"] for i in (1, 2)] == [3, 5]
    without = lane("Conv2D(4, 3)\nresidual { Conv2D(4, 3, padding=same) } * 0")
    assert [node.name for node in without.layers[:2]] == ["Conv2D1", "GlobalAvgPool1"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("GlobalAvgPool", "residual { ReLU } * 1.5", "a layer can only be repeated an integer number of times"),
        ("GlobalAvgPool", "residual { ReLU } * 30_000", "a layer can be repeated 0 to 20,000 times, not 30000"),
        ("GlobalAvgPool", "residual(3) { ReLU }", "`residual` takes no positional arguments, but 1 was given"),
        ("GlobalAvgPool", "add { a { ReLU } * 2; b { } }", "`a { … }` cannot be repeated"),
        ("GlobalAvgPool", "add { a(1) { ReLU } b { } }", "`a { … }` takes no arguments"),
        ("optimizer = SGD", "optimizer = SGD\ntrain { epochs = 1 } * 2", "`train { … }` cannot be repeated"),
        ("optimizer = SGD", "optimizer = SGD\ntrain(3) { epochs = 1 }", "`train { … }` takes no arguments"),
        ("GlobalAvgPool", "residual { Nonsense } * 0", "unknown layer `Nonsense`"),
    ],
)
def test_what_cannot_be_repeated_or_takes_no_arguments(old: str, new: str, message: str) -> None:
    text = IMAGES.format(model="Conv2D(4, 3)", more="").replace(old, new)
    assert message in [found.message for found in diagnose(text)]


@pytest.mark.parametrize(
    ("written", "formatted"),
    [
        ("let a = b [ 0 ]\n", "let a = b[0]\n"),
        ("let a = [1,2][ -1 ]\n", "let a = [1, 2][-1]\n"),
        ("let a = f(x) [0] [1]\n", "let a = f(x)[0][1]\n"),
        ("model {\nresidual { ReLU }*2\n}\n", "model {\n    residual { ReLU } * 2\n}\n"),
        (
            "model {\nr : residual {\nReLU\n} * 2 * n # twice\nReLU }\n",
            "model {\n    r: residual {\n        ReLU\n    } * 2 * n  # twice\n    ReLU\n}\n",
        ),
        ("model { dot ( a=1 ) { a {} } }\n", "model { dot(a=1) { a {} } }\n"),
    ],
)
def test_the_formatter_writes_them(written: str, formatted: str) -> None:
    assert format_source(Source("a.nn", written)).text == formatted
    assert format_source(Source("a.nn", formatted)).text == formatted


def test_a_long_index_is_broken_without_a_trailing_comma() -> None:
    written = f"let a = something[{' + '.join(f'number_{i}' for i in range(12))}]\n"
    formatted = format_source(Source("a.nn", written)).text
    assert ",\n" not in formatted
    assert format_source(Source("a.nn", formatted)).text == formatted


def test_a_word_that_is_also_the_name_of_a_layer_with_arguments_is_a_word() -> None:
    experiment = lane("B\nB(valid)", "block B(p=same) { Conv2D(4, 3, padding=p) }")
    assert [arguments(experiment, f"B{i}.Conv2D1")["padding"] for i in (1, 2)] == ["same", "valid"]


# What arrives


def outs(model: str, more: str = "", data: str = "Digits(train=20, test=5)") -> list[tuple[str, tuple[int, ...]]]:
    text = f"data = {data}\n{more}\nmodel {{\n{model}\nLinear(data.classes)\n}}\nloss = CrossEntropy\noptimizer = SGD\n"
    return [(node.name, node.geometry.out) for top in program(text).lanes[0].layers for node in top.walk()]


def test_an_argument_may_depend_on_what_arrives() -> None:
    found = dict(outs("Conv2D(8 * incoming.channels, 3)\nConv2D(2 * incoming.channels, 3) * 2\nGlobalAvgPool"))
    assert found["Conv2D1"] == (8, 26, 26)
    assert [found[f"Conv2D{i}"][0] for i in (2, 3)] == [16, 32]
    assert dict(outs("Linear(incoming.features // 7)"))["Linear1"] == (112,)
    assert dict(outs("LSTM(incoming.places); GlobalAvgPool"))["LSTM1"] == (28, 28)
    assert dict(outs("Flatten; Linear(incoming.size // 2); Linear(len(incoming.shape))"))["Linear2"] == (1,)


def test_in_a_block_it_is_what_arrives_at_each_layer_and_in_a_default_at_the_block() -> None:
    block = """block SE(channels=incoming.channels) {
        multiply { gate { GlobalAvgPool; Linear(incoming.features // 4); Linear(channels) } input { } }
    }"""
    found = dict(outs("Conv2D(8, 3); SE; Conv2D(16, 3); SE; GlobalAvgPool", block))
    assert found["SE1.multiply1.gate.Linear1"] == (2,)
    assert found["SE1.multiply1.gate.Linear2"] == (8,)
    assert found["SE2.multiply1.gate.Linear2"] == (16,)


def test_it_follows_branches_and_values_read_by_name() -> None:
    found = dict(outs("a: Linear(64); ReLU; Linear(32); add { x { from(a); Linear(incoming.features // 2) } y { } }"))
    assert found["add1.x.Linear1"] == (32,)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ReLU", "Conv2D(incoming.features, 3)", "`incoming` has no `features` here, where its shape is 4×26×26"),
        ("3)\n", "incoming.chanels)\n", "`incoming` has no `chanels` here, where its shape is 784"),
        ("SGD", "SGD(lr=incoming.features)", "`incoming` is only known in a model"),
        ("SGD", "SGD\nlet incoming = 3", "a `let` cannot be called `incoming`: that name is reserved"),
    ],
)
def test_what_does_not_arrive_is_an_error(old: str, new: str, message: str) -> None:
    text = IMAGES.format(model="Conv2D(4, 3)\nReLU", more="").replace(old, new)
    assert message in [found.message for found in diagnose(text)]
