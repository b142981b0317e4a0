"""What a spec means: lanes, overrides, lets, expectations, limits, and where every value came from."""

from __future__ import annotations

import pytest
from findings import RACE, base, diagnose, find, only, program

from nnspec.checker import calculate
from nnspec.checker.program import Experiment, Figure, Program
from nnspec.compiler.proofs import prove
from nnspec.engine.part import Part

LANES = base(
    more="""\
let width = 16
race {
    SGD
    fast: Adam(lr=0.01)
    long { train.epochs = 50; optimizer.lr = 0.5; model.Linear1.out_features = width + 1 }
    other { Momentum; train { batch = 7 } loss = MSE }
}
""".replace("} loss", "}; loss")
)


def rate(lane: Experiment) -> object:
    return lane.optimizer.values()["lr"]


def lanes(found: Program) -> dict[str, Experiment]:
    return {lane.name: lane for lane in found.lanes}


def test_the_race_is_three_lanes_that_differ_in_their_optimizer_alone() -> None:
    race = program(RACE)
    assert race.title == "Optimizer Benchmark (NumPy Engine)"
    assert [(lane.name, lane.optimizer.name, rate(lane)) for lane in race.lanes] == [
        ("SGD", "SGD", 0.01),
        ("Momentum", "Momentum", 0.01),
        ("Adam", "Adam", 0.001),
    ]
    for lane in race.lanes:
        assert (lane.seed, lane.dtype, lane.shapes) == (42, "float32", "784 → 64 → 32 → 10")
        assert [node.name for node in lane.layers] == ["Linear1", "ReLU1", "Linear2", "ReLU2", "Linear3"]
        assert [node.geometry.out for node in lane.layers] == [(64,), (64,), (32,), (32,), (10,)]
        assert [choice.value.name for choice in lane.data] == ["MNIST", "Digits"]
        assert (lane.loss.name, lane.train.epochs, lane.train.batch) == ("CrossEntropy", 15, 64)
        assert [metric.name for metric in lane.metrics] == ["accuracy"]
    assert [(e.text, e.about, len(e.cases)) for e in race.expectations] == [
        ("gradient_error < 1e-7", "calculus", 3),
        ("Adam.loss < SGD.loss", "outcome", 1),
    ]


def test_every_value_knows_the_characters_that_it_came_from() -> None:
    for lane in program(RACE).lanes:
        origin = lane.optimizer.arguments["lr"].origin
        line = next(i for i, text in enumerate(RACE.splitlines(), 1) if text.startswith(f"    {lane.name}("))
        assert str(origin.span) == f"x.nn:{line}:{RACE.splitlines()[line - 1].index('0.0') + 1}"
        assert origin.via == f"lane `{lane.name}`"
        assert lane.layers[0].value.arguments["in_features"].origin.span.text == "784"
    flagged = program(RACE, "Adam.optimizer.lr = 0.5").lanes[2].optimizer.arguments["lr"]
    assert (str(flagged.origin.span), flagged.origin.via) == ("--set:1:21", "--set")


def test_a_file_without_a_race_has_one_lane_named_run_and_the_files_name_for_title() -> None:
    found = program(base())
    assert ([lane.name for lane in found.lanes], found.title) == (["run"], "x")
    assert found.lanes[0].seed == 0


def test_lanes_replace_parts_or_override_at_any_depth() -> None:
    found = lanes(program(LANES))
    assert {name: rate(lane) for name, lane in found.items()} == {"SGD": 0.01, "fast": 0.01, "long": 0.5, "other": 0.01}
    assert [found["long"].train.epochs, found["SGD"].train.epochs] == [50, 10]
    assert [found["long"].shapes, found["SGD"].shapes] == ["784 → 17 → 10", "784 → 16 → 10"]
    assert (found["other"].optimizer.name, found["other"].train.batch, found["other"].loss.name) == (
        "Momentum",
        7,
        "MSE",
    )


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), {"a": 0.2, "b": 0.3, "c": 0.1}),
        (("optimizer.lr = 0.9",), {"a": 0.9, "b": 0.9, "c": 0.9}),
        (("a.optimizer.lr = 0.9",), {"a": 0.9, "b": 0.3, "c": 0.1}),
        (("optimizer = SGD(lr=0.7)",), {"a": 0.7, "b": 0.7, "c": 0.7}),
        (("optimizer = SGD(lr=0.7)", "optimizer.lr = 0.8"), {"a": 0.8, "b": 0.8, "c": 0.8}),
    ],
)
def test_the_flag_goes_before_the_lane_and_the_lane_before_the_base(
    flags: tuple[str, ...], expected: dict[str, float]
) -> None:
    text = base(more="race { a { optimizer.lr = 0.2 }; b { SGD(lr=0.3) }; c { train.epochs = 1 } }")
    assert {name: rate(lane) for name, lane in lanes(program(text, *flags)).items()} == expected


def test_an_argument_may_be_set_before_the_part_that_it_belongs_to() -> None:
    text = base("optimizer = SGD(lr=0.1)\n", "optimizer.lr = 0.3\noptimizer = SGD(lr=0.1)\n")
    assert rate(program(text).lanes[0]) == 0.3


def test_lets_are_bound_after_overrides() -> None:
    text = base("16", "width", more="let half = 8\nlet width = 2 * half\nrace { a { half = 4 }; SGD; b { width = 5 } }")
    assert [lane.shapes.split(" → ")[1] for lane in program(text).lanes] == ["8", "16", "5"]
    assert [lane.shapes.split(" → ")[1] for lane in program(text, "half = 3").lanes] == ["6", "6", "5"]


def test_several_models_stand_in_a_file_and_a_lane_picks_one() -> None:
    text = base("model {", "model small { Linear(10) }\nmodel {", more="race { a { model = small }; SGD }")
    assert [lane.shapes for lane in program(text).lanes] == ["784 → 10", "784 → 16 → 10"]


def test_labels_name_layers_and_the_rest_is_numbered_by_kind() -> None:
    text = base("    ReLU\n", "    mid: ReLU\n    Linear(12)\n    mid2: Linear(11)\n")
    assert [n.name for n in program(text).lanes[0].layers] == ["Linear1", "mid", "Linear2", "mid2", "Linear4"]


@pytest.mark.parametrize(
    "layer",
    ["Linear(10)", "Linear(16, 10)", "Linear(10, in_features=16)", "Linear(in_features=16, out_features=10)"],
)
def test_one_positional_of_linear_is_its_output(layer: str) -> None:
    node = program(base("Linear(10)", layer)).lanes[0].layers[-1]
    assert (node.arguments()["in_features"], node.arguments()["out_features"]) == (16, 10)


@pytest.mark.parametrize(
    "data", ["MNIST or Digits", "(MNIST or Digits) or Digits(train=3)", "MNIST or (Digits or MNIST)"]
)
def test_alternatives_of_data_are_tried_in_order_however_they_are_grouped(data: str) -> None:
    names = [choice.value.name for choice in program(base("Digits", data)).lanes[0].data]
    assert names == [word for word in data.replace("(", " ").replace(")", " ").split() if word in ("MNIST", "Digits")]


def test_facts_of_the_data_are_values() -> None:
    text = base("Linear(10)", "Linear(data.classes)", more="let half = data.features // 2 + data.size - 2000\n")
    assert program(text.replace("Linear(16)", "Linear(half)")).lanes[0].shapes == "784 → 392 → 10"


@pytest.mark.parametrize(
    ("flag", "code", "pointed"),
    [
        ("train.epoch=3", "NN201", "epoch"),
        ("epochs=3", "NN201", "epochs"),
        ("optimizer.lr=-1", "NN302", "-1"),
        ("optimizer.momntum=3", "NN202", "optimizer.momntum"),
        ("Adm.optimizer.lr=3", "NN201", "Adm.optimizer.lr"),
        ("run.optimizer.foo=3", "NN202", "run.optimizer.foo"),
        ("optimizer=SGD(lr=)", "NN101", "="),
        ("seed=", "NN101", "="),
        ("seed=1e", "NN104", "1e"),
        ("seed", "NN101", "seed"),
        ("", "NN101", ""),
        ("let a = 3", "NN101", "let a = 3"),
        ("seed=1; dtype=float32", "NN101", "seed=1; dtype=float32"),
    ],
)
def test_a_mistake_in_a_flag_is_shown_in_the_flag(flag: str, code: str, pointed: str) -> None:
    found = only(base(), flag)
    assert (found.code, found.span.text, found.span.source.name) == (code, pointed, "--set")


def test_a_mistake_in_a_lane_is_reported_once_and_in_the_lane() -> None:
    text = base(more="race { a { optimizer.lr = 0; train.batch = 1.5; model.Linear1.bias = 3 }; Adam(lr=-1); SGD }")
    assert find(text) == [("NN302", "0"), ("NN301", "1.5"), ("NN301", "3"), ("NN302", "-1")]


def test_a_mistake_shared_by_all_lanes_is_reported_once() -> None:
    assert find(RACE.replace("Linear(64, 32)", "Linear(63, 32)")) == [("NN401", "63")]


def test_a_mistake_in_a_setting_that_every_lane_overrides_is_reported() -> None:
    assert find(base("0.1", "-1", more="race { SGD; Adam }")) == [("NN302", "-1")]


@pytest.mark.parametrize(
    ("statement", "cases"),
    [
        ("loss < 1", ["SGD", "Adam"]),
        ("SGD.loss < 1", [None]),
        ("Adam.loss < SGD.loss", [None]),
        ("loss <= SGD.loss", ["SGD", "Adam"]),
        ("epochs_to(loss=0.5) < 3 and not test_accuracy < 0.5", ["SGD", "Adam"]),
    ],
)
def test_a_statement_without_a_lane_holds_every_lane_to_it(statement: str, cases: list[str | None]) -> None:
    (found,) = program(base(more=f"race {{ SGD; Adam }}\nexpect {{ {statement} }}")).expectations
    assert [case.lane for case in found.cases] == cases
    assert {f.lane for case in found.cases for f in case.figures()} <= {"SGD", "Adam"}


@pytest.mark.parametrize(
    ("statement", "holds"),
    [
        ("params == 10", True),
        ("params != 10", False),
        ("2 * params - 1 < 20 and not flops > 5", True),
        ("flops / params < 0.5 or params ** 2 >= 100", True),
        ("-params < -9 + +1", True),
        ("params % 3 == 1 and params // 3 == 3", True),
        ("params / flops < 1", False),
        ("params / flops != 1", False),
        ("params < 10**400", True),
    ],
)
def test_statements_are_arithmetic_and_what_has_no_result_does_not_hold(statement: str, holds: bool) -> None:
    figures = {"params": 10.0, "flops": 0.0}
    (found,) = program(base(more=f"expect {{ {statement} }}")).expectations

    def look(figure: Figure) -> float:
        return figures[figure.name]

    assert calculate(found.cases[0].node, look) is holds


def test_metrics_follow_the_data_and_none_may_be_wanted() -> None:
    assert [m.name for m in program(base()).lanes[0].metrics] == ["accuracy"]
    assert program(base(more="metrics = []")).lanes[0].metrics == ()


LIMITS = {
    "layer": (base("Linear(16)", "Linear(10**9)"), "NN603"),
    "sum of layers": (base("Linear(16)", "Linear(30_000)\nLinear(30_000)"), "NN603"),
    "power": (base("16", "10**10**10"), "NN304"),
    "product": (base("16", "*".join(["10**1000"] * 4)), "NN304"),
    "repeat": (base("Linear(16)", "Linear(16) * 10**12"), "NN302"),
    "repeat of a repeat": (base("Linear(16)", "Linear(16) * 10_000 * 10_000"), "NN603"),
    "list": (base("0.1", "sum(linspace(0, 1, 10**12))"), "NN304"),
    "depth of an expression": (base("0.1", "+".join(["1"] * 5000)), "NN106"),
    "depth of a statement": (base(more="expect { loss < " + "+".join(["1"] * 5000) + " }"), "NN106"),
    "depth of lets": (
        base(
            "0.1", "a0", more="".join(f"let a{i} = {'(' * 90}a{i + 1}{')' * 90}\n" for i in range(200)) + "let a200=1"
        ),
        "NN106",
    ),
}


@pytest.mark.parametrize(("text", "code"), LIMITS.values(), ids=LIMITS.keys())
def test_what_is_larger_than_the_limits_is_an_error_and_nothing_is_allocated(
    text: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(part: type[Part], **arguments: object) -> None:
        raise AssertionError(f"{part} was made")

    layer = program(base()).lanes[0].layers[0].value.part
    monkeypatch.setattr(layer, "__init__", make)
    assert {d.code for d in diagnose(text)} == {code}


def test_a_batch_larger_than_the_data_is_all_of_the_data() -> None:
    compiled, findings = prove(program(base(more="train { batch = 10**12 }")))
    assert (findings, compiled.layouts["run"].batch) == ((), 2000)


def test_ten_thousand_layers_are_checked_like_three() -> None:
    assert len(program(base("    ReLU\n", "    ReLU\n" * 10_000)).lanes[0].layers) == 10_002


MODELS = """data = Digits(train=50, test=20)
model small { Linear(8); Linear(10) }
model wide { Linear(16); Linear(10) }
loss = CrossEntropy
"""


def test_every_lane_may_choose_its_model() -> None:
    found = program(MODELS + "race { a { model = small; SGD }\n b { model = wide; SGD } }")
    assert [lane.shapes for lane in found.lanes] == ["784 → 8 → 10", "784 → 16 → 10"]


def test_a_model_that_no_lane_chooses_is_checked_too() -> None:
    text = MODELS.replace("Linear(16)", "Linear(16.5)") + "model = small\noptimizer = SGD"
    assert find(text) == [("NN301", "16.5")]


def test_an_argument_goes_to_the_alternatives_that_have_it() -> None:
    found = program(base("data = Digits", "data = MNIST(train=50) or Digits(train=50)", more="data.seed = 7"))
    mnist, digits = found.lanes[0].data
    assert "seed" not in mnist.value.arguments
    assert digits.value.arguments["seed"].value == 7


@pytest.mark.parametrize("flags", [("train.epochs=3", "b.train.epochs=1"), ("b.train.epochs=1", "train.epochs=3")])
def test_a_flag_for_one_lane_goes_before_one_for_all(flags: tuple[str, ...]) -> None:
    found = program(MODELS + "model = small\nrace { a { SGD }\n b { SGD } }", *flags)
    assert [lane.train.epochs for lane in found.lanes] == [3, 1]


@pytest.mark.parametrize("flags", [("optimizer=Adam", "optimizer.lr=0.5"), ("optimizer.lr=0.5", "optimizer=Adam")])
def test_a_flag_for_an_argument_finds_its_part_in_any_order(flags: tuple[str, ...]) -> None:
    (lane,) = program(base(), *flags).lanes
    assert (lane.optimizer.name, lane.optimizer.arguments["lr"].value) == ("Adam", 0.5)


@pytest.mark.parametrize(
    ("text", "code", "at"),
    [
        (base(more="metrics.nonsense = true"), "NN203", "metrics.nonsense"),
        (base(more="race { accuracy }"), "NN305", "accuracy"),
    ],
)
def test_metrics_cannot_be_lanes_and_have_no_arguments(text: str, code: str, at: str) -> None:
    assert (code, at) in find(text)
