"""Sweeps: the points, their names, what may be swept, and every way a sweep can be wrong."""

from __future__ import annotations

import pytest
from findings import base, diagnose, find, only, program

from nnspec.checker.program import Experiment

WIDTH = "let width = 16\n"


def spec(more: str) -> str:
    """Return the base with a width that is a `let`, and more."""
    return base("Linear(16)", "Linear(width)", more=f"{WIDTH}{more}\n")


def lanes(text: str, *flags: str) -> list[Experiment]:
    return list(program(text, *flags).lanes)


def runs(text: str, *flags: str) -> list[str]:
    return [lane.name for lane in lanes(text, *flags)]


# The points


def test_a_sweep_is_all_combinations_the_last_list_fastest() -> None:
    found = lanes(spec("sweep { width = [16, 32]; optimizer.lr = [0.1, 0.2] }"))
    assert [(lane.name, lane.shapes.split(" → ")[1], lane.optimizer.values()["lr"]) for lane in found] == [
        ("width=16,lr=0.1", "16", 0.1),
        ("width=16,lr=0.2", "16", 0.2),
        ("width=32,lr=0.1", "32", 0.1),
        ("width=32,lr=0.2", "32", 0.2),
    ]
    assert found[1].point == {"width": "16", "optimizer.lr": "0.2"}
    assert {lane.lane for lane in found} == {"run"}


def test_zip_takes_one_of_each_list_after_the_other() -> None:
    assert runs(spec("sweep zip { width = [16, 32]; optimizer.lr = [0.1, 0.2] }")) == [
        "width=16,lr=0.1",
        "width=32,lr=0.2",
    ]


def test_every_lane_goes_through_every_point() -> None:
    found = lanes(spec("race { SGD; fast: Adam(lr=0.01) }\nsweep { width = [4, 8] }"))
    assert [(lane.name, lane.lane) for lane in found] == [
        ("SGD,width=4", "SGD"),
        ("SGD,width=8", "SGD"),
        ("fast,width=4", "fast"),
        ("fast,width=8", "fast"),
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("[16, 32]", ["16", "32"]),
        ("(16, 32)", ["16", "32"]),
        ("([16, 32])", ["16", "32"]),
        ("[16]", ["16"]),
        ("widths", ["8", "9"]),
        ("range(8, 12, 2)", ["8", "10"]),
        ("range(data.classes, 14, 2)", ["10", "12"]),
        ("[data.classes, 2 * 8]", ["data.classes", "2-8"]),
        ("[ 16 , 32, ]", ["16", "32"]),
        ("more", ["8", "9"]),
    ],
)
def test_a_list_is_written_or_named_or_made(values: str, expected: list[str]) -> None:
    text = spec(
        f"let widths = [8, 9]\nlet more = (widths)\nsweep {{ width = {values} }}\ntrain.batch = len(widths) + len(more)"
    )
    assert runs(text) == [f"width={value}" for value in expected]


@pytest.mark.parametrize(
    ("axis", "labels"),
    [
        ("optimizer.lr = logspace(-4, -1, 4)", ["lr=0.0001", "lr=0.001", "lr=0.01", "lr=0.1"]),
        ("optimizer.lr = [0.24244620170823283, 0.019144819761]", ["lr=0.2424", "lr=0.01914"]),
        ("optimizer.lr = [0.24244620170823283, 0.24244]", ["lr=0.24245", "lr=0.24244"]),
        ("optimizer.lr = logspace(-1, -0.9, 2)", ["lr=0.1", "lr=0.1259"]),
        ("optimizer.lr = linspace(0.1, 0.3, 3)", ["lr=0.1", "lr=0.2", "lr=0.3"]),
        ("optimizer.lr = [1e-3, 1e-2]", ["lr=0.001", "lr=0.01"]),
        ("optimizer.lr = [0.1, cosine(0.1)]", ["lr=0.1", "lr=cosine-0.1"]),
        ("optimizer = [SGD(lr=0.1), Adam]", ["optimizer=SGD-lr=0.1", "optimizer=Adam"]),
        ("loss = [CrossEntropy, MSE]", ["loss=CrossEntropy", "loss=MSE"]),
        ("data = [Digits(train=50), Digits(train=60)]", ["data=Digits-train=50", "data=Digits-train=60"]),
        ("seed = [1, 2]", ["seed=1", "seed=2"]),
        ("dtype = [float32, float64]", ["dtype=float32", "dtype=float64"]),
        ("train.shuffle = [true, false]", ["shuffle=true", "shuffle=false"]),
        ("train.early_stop = [none, patience(3, of=loss)]", ["early_stop=none", "early_stop=patience-3,of=loss"]),
        ("train { batch = [8, 16] }", ["batch=8", "batch=16"]),
        ("model.Linear1.bias = [true, false]", ["bias=true", "bias=false"]),
        ("model.Linear1.init = [zeros, he_normal]", ["init=zeros", "init=he_normal"]),
        (
            "model.Linear1.bias = [true]; model.Linear2.bias = [true, false]",
            ["model.Linear1.bias=true,model.Linear2.bias=true", "model.Linear1.bias=true,model.Linear2.bias=false"],
        ),
    ],
)
def test_whatever_has_a_value_may_be_swept(axis: str, labels: list[str]) -> None:
    assert runs(spec(f"sweep {{ {axis} }}")) == labels


def test_models_may_be_swept() -> None:
    text = base("model {", "model small { Linear(10) }\nmodel big {", more="sweep { model = [small, big] }")
    assert [(lane.name, lane.shapes) for lane in lanes(text)] == [
        ("model=small", "784 → 10"),
        ("model=big", "784 → 16 → 10"),
    ]


def test_what_depends_on_a_swept_let_follows_it() -> None:
    text = base(
        "Linear(16)",
        "Linear(half)",
        more="let half = width // 2\nlet width = 2\nsweep { width = [8, 16] }\nexpect { params < half * 1000 }",
    )
    found = program(text)
    assert [lane.shapes for lane in found.lanes] == ["784 → 4 → 10", "784 → 8 → 10"]
    assert [lane.lets["half"].value for lane in found.lanes] == [4, 8]
    assert [case.lane for case in found.expectations[0].cases] == ["width=8", "width=16"]


def test_where_a_swept_value_comes_from() -> None:
    text = spec("sweep { train.batch = [8, 16]; optimizer.lr = logspace(-3, -2, 2); width = [4] }")
    for lane, batch in zip(lanes(text), ("8", "8", "16", "16"), strict=True):
        origin = lane.origins["train.batch"]
        assert (origin.span.text, origin.via) == (batch, "sweep")
        lr = lane.optimizer.arguments["lr"].origin
        assert (lr.span.text, lr.via) == ("logspace(-3, -2, 2)", "sweep")
        assert (lane.lets["width"].origin.span.text, lane.lets["width"].origin.via) == ("4", "sweep")


def test_a_sweep_goes_before_what_the_base_says() -> None:
    assert [lane.seed for lane in lanes(spec("seed = 7\nsweep { seed = [1, 2] }"))] == [1, 2]


@pytest.mark.parametrize(
    ("axes", "flag", "expected"),
    [
        ("width = [4, 8]; seed = [1, 2]", "width=3", ["seed=1", "seed=2"]),
        ("width = [4, 8]", "width=3", ["run"]),
        ("optimizer.lr = [0.1, 0.2]", "optimizer=Adam(lr=0.01)", ["run"]),
        ("optimizer.lr = [0.1, 0.2]", "optimizer.momentum=0.5", ["lr=0.1", "lr=0.2"]),
        ("train.batch = [4, 8]", "train.epochs=3", ["batch=4", "batch=8"]),
    ],
)
def test_what_a_flag_fixes_is_no_longer_swept(axes: str, flag: str, expected: list[str]) -> None:
    assert runs(spec(f"sweep {{ {axes} }}"), flag) == expected


def test_a_lane_may_bring_the_part_whose_argument_is_swept() -> None:
    found = lanes(spec("race { SGD; Adam }\nsweep { optimizer.lr = [0.01, 0.02] }"))
    assert [(lane.optimizer.name, lane.optimizer.values()["lr"]) for lane in found] == [
        ("SGD", 0.01),
        ("SGD", 0.02),
        ("Adam", 0.01),
        ("Adam", 0.02),
    ]


def test_names_of_runs_are_short_plain_and_their_own() -> None:
    long = "n" * 62
    text = spec(
        f"race {{ {long}a: SGD; {long}b: SGD; {long}c: SGD }}\nsweep {{ width = [4, 8]; loss = [CrossEntropy] }}"
    )
    found = runs(text)
    assert len(set(found)) == 6
    assert all(len(name) <= 72 and not set(name) & set("()[]\"' /") for name in found)


def test_as_many_runs_as_there_may_be() -> None:
    assert len(lanes(spec("sweep { width = range(1, 1001) }"))) == 1000
    assert find(spec("sweep { width = range(1, 1002) }")) == [("NN603", "sweep")]


# What is wrong

WRONG = {
    "no list": ("sweep { width = 3 }", "NN301", "3", "a sweep takes lists"),
    "let of no list": ("let ws = 3\nsweep { width = ws }", "NN301", "ws", "a sweep takes lists"),
    "part of no list": ("sweep { optimizer = Adam(lr=0.1) }", "NN301", "Adam(lr=0.1)", "a sweep takes lists"),
    "function of no list": ("sweep { width = max(1, 2) }", "NN301", "max(1, 2)", "a sweep takes lists"),
    "lists joined": ("sweep { width = [1] or [2] }", "NN301", "[1] or [2]", "a sweep takes lists"),
    "unknown function": ("sweep { width = rnage(1, 3) }", "NN201", "rnage", "`rnage` is not known"),
    "function that fails": ("sweep { width = range(1.5) }", "NN304", "range(1.5)", None),
    "circle": ("let a = a\nsweep { width = a }", "NN207", "a", "`a` depends on itself: a → a"),
    "empty list": ("sweep { width = [] }", "NN302", "[]", "this list is empty"),
    "empty list, made": ("sweep { width = range(3, 3) }", "NN302", "range(3, 3)", "this list is empty"),
    "empty": ("sweep { }", "NN205", "sweep", "a sweep needs lists of values"),
    "twice": ("sweep { width = [3] }\nsweep { seed = [3] }", "NN204", "sweep", "`sweep` stands here twice"),
    "setting twice": ("sweep { width = [3]; width = [4] }", "NN204", "width", "`width` is given twice"),
    "setting twice, in two ways": (
        "sweep { train.batch = [3]; train { batch = [4] } }",
        "NN204",
        "batch",
        "`train.batch` is given twice",
    ),
    "value twice": ("sweep { width = [3, 4, 3] }", "NN204", "3", "`3` is given twice"),
    "unequal lists": (
        "sweep zip { width = [3, 4]; seed = [1, 2, 3] }",
        "NN303",
        "[1, 2, 3]",
        "`sweep zip` takes lists of one length: 3 here, 2 in `width`",
    ),
    "name": ("sweep pairs { width = [3] }", "NN203", "pairs", "`pairs` means nothing behind `sweep`"),
    "title": ('sweep "pairs" { width = [3] }', "NN203", '"pairs"', None),
    "label": ("s: sweep { width = [3] }", "NN203", "s", "`sweep` takes no label"),
    "elements": ("sweep { SGD }", "NN203", "SGD", "a sweep holds settings, such as `name = [a, b]`"),
    "statement": ("sweep { loss < 3 }", "NN203", "loss < 3", "a sweep holds settings"),
    "let": ("sweep { let width = [3] }", "NN203", "let width = [3]", "`let` cannot stand in a sweep"),
    "colon": ("sweep { width: [3] }", "NN203", "width: [3]", "settings are written with `=`, not `:`"),
    "block": ("sweep { block A { ReLU } }", "NN203", "block A", "`block` cannot stand in a sweep"),
    "target, misspelt": ("sweep { widht = [3] }", "NN201", "widht", "there is no setting `widht`"),
    "target in train, misspelt": ("sweep { train.batchs = [3] }", "NN201", "batchs", "`train` has no setting `batchs`"),
    "target of train, outside": ("sweep { batch = [3] }", "NN201", "batch", "there is no setting `batch`"),
    "argument, misspelt": ("sweep { optimizer.lrr = [3] }", "NN202", "optimizer.lrr", "`SGD` has no argument `lrr`"),
    "layer, misspelt": (
        "sweep { model.Linaer1.out_features = [3] }",
        "NN201",
        "model.Linaer1.out_features",
        "the model has no layer `Linaer1`",
    ),
    "argument of a layer, misspelt": (
        "sweep { model.Linear1.out_feature = [3] }",
        "NN202",
        "model.Linear1.out_feature",
        "`Linear` has no argument `out_feature`",
    ),
    "lane as a target": (
        "race { a: SGD; Adam }\nsweep { a.optimizer.lr = [3] }",
        "NN201",
        "a.optimizer.lr",
        "there is no setting `a.optimizer.lr`",
    ),
    "too many": (
        "sweep { width = range(1, 101); seed = range(100) }",
        "NN603",
        "sweep",
        "this is 100 × 100 = 10,000 runs, and a spec may have 1,000",
    ),
    "too many of one": (
        "sweep { seed = range(2000) }",
        "NN603",
        "sweep",
        "this is 2,000 runs, and a spec may have 1,000",
    ),
    "too many with lanes": (
        "race { SGD; Adam }\nsweep { seed = range(600) }",
        "NN603",
        "sweep",
        "this is 2 × 600 = 1,200 runs, and a spec may have 1,000",
    ),
    "far too many": (
        "sweep { "
        + "; ".join(
            f"{a} = range(1, 1001)"
            for a in ("width", "seed", "train.batch", "train.epochs", "train.repeats", "optimizer.lr")
        )
        + " }",
        "NN603",
        "sweep",
        None,
    ),
    "value of the wrong type": (
        "sweep { width = [4, 1.5] }",
        "NN301",
        "1.5",
        "`out_features` takes an integer at least 1, not 1.5",
    ),
    "value out of range": (
        "sweep { optimizer.lr = [0.1, 0] }",
        "NN302",
        "0",
        "`lr` must be greater than 0, and 0 is not",
    ),
    "unknown value": ("sweep { width = [4, widht] }", "NN201", "widht", "`widht` is not known"),
    "list of lists": (
        "sweep { width = [[4]] }",
        "NN301",
        "[4]",
        "`out_features` takes an integer at least 1, not a list of 1",
    ),
    "model, misspelt": ("sweep { model = [bgi] }", "NN201", "bgi", "there is no model `bgi`"),
    "base replaced": (
        "optimizer.lr = 0.3\nsweep { optimizer = [SGD, Adam] }",
        "NN203",
        "optimizer.lr",
        "`optimizer.lr` has no effect: the sweep replaces `optimizer`",
    ),
    "lane sets it too": (
        "race { a { width = 3 }; SGD }\nsweep { width = [4, 8] }",
        "NN204",
        "width",
        "lane `a` sets `width`, and the sweep sets it again",
    ),
    "lanes are it": (
        "race { SGD; Adam }\nsweep { optimizer = [SGD, Momentum] }",
        "NN204",
        "SGD",
        "lane `SGD` sets `optimizer`, and the sweep sets it again",
    ),
    "lane sets an argument of it": (
        "race { a { optimizer.lr = 0.1 }; b { seed = 3 } }\nsweep { optimizer = [SGD, Momentum] }",
        "NN204",
        "optimizer.lr",
        "lane `a` sets `optimizer.lr`, and the sweep sets it again",
    ),
}


@pytest.mark.parametrize(("more", "code", "pointed", "message"), WRONG.values(), ids=WRONG.keys())
def test_each_mistake_is_told_once_at_its_own_characters(
    more: str, code: str, pointed: str, message: str | None
) -> None:
    found = only(spec(more))
    assert (found.code, found.span.text) == (code, pointed)
    assert message is None or found.message == message


def test_values_that_do_not_fit_are_at_fault_in_the_sweep_and_all_of_them_are_told() -> None:
    found = diagnose(spec('sweep { width = [4, 1.5, "a", -3] }'))
    assert [(d.code, d.span.text) for d in found] == [("NN301", "1.5"), ("NN301", '"a"'), ("NN302", "-3")]
    assert {(note.span.text, note.text) for d in found for note in d.notes} == {("width", "it goes here")}


def test_a_value_that_a_let_hands_on_is_at_fault_in_the_sweep_too() -> None:
    text = base("Linear(16)", "Linear(size)", more="let size = width\nlet width = 4\nsweep { width = [4, 1.5] }")
    assert find(text) == [("NN301", "1.5")]


def test_a_number_of_a_list_that_a_function_made_is_not_replaced_in_the_text() -> None:
    found = only(spec("sweep { width = logspace(1, 1, 1) }"))
    assert (found.code, found.span.text, found.fix) == ("NN301", "logspace(1, 1, 1)", None)


@pytest.mark.parametrize(
    ("race", "flag"),
    [
        ("race { SGD; Adam }", "SGD.optimizer.lr=0.5"),
        ("race { SGD; Adam }", "SGD.optimizer=Momentum"),
        ("", "run.optimizer.lr=0.5"),
    ],
)
def test_what_is_swept_cannot_be_set_in_one_lane_alone(race: str, flag: str) -> None:
    found = only(spec(f"{race}\nsweep {{ optimizer.lr = [0.01, 0.02] }}"), flag)
    assert (found.code, found.span.text) == ("NN204", flag.partition("=")[0])
    assert found.span.source.name == "--set"


def test_a_mistake_that_all_points_share_is_told_once() -> None:
    assert find(spec("train.batch = 0\nsweep { width = range(1, 500); seed = [1, 2] }")) == [("NN302", "0")]
    assert find(base("optimizer = SGD(lr=0.1)\n", "", more="sweep { seed = range(9) }")) == [("NN205", "data")]


def test_more_work_than_a_check_does_is_an_error() -> None:
    many = "; ".join(f"Linear({i + 1}); ReLU" for i in range(400))
    text = base(
        "    Linear(16)\n", f"    {many}\n    Linear(width)\n", more=f"{WIDTH}sweep {{ width = range(1, 1001) }}"
    )
    found = only(text)
    assert (found.code, found.message) == ("NN603", "checking this spec takes more than 1,000,000 steps")
