"""Sweeps: the points, their names, what may be swept, and every way a sweep can be wrong."""

from __future__ import annotations

import pytest
from findings import base, diagnose, everything, find, only, program

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
def test_every_setting_can_be_swept(axis: str, labels: list[str]) -> None:
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
    assert rates(lanes(spec("optimizer.lr = 0.3\nsweep { optimizer.lr = [1, 2] }"))) == [("lr=1", 1), ("lr=2", 2)]


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


@pytest.mark.parametrize(
    ("lane", "pointed"), [("model.Linear1.out_features = 4", "width"), ("model = small", "width"), ("seed = 4", None)]
)
def test_a_lane_unaffected_by_the_sweep_is_reported(lane: str, pointed: str | None) -> None:
    text = spec(f"race {{ a {{ {lane} }}; b {{ metrics = [] }} }}\nmodel small {{ Linear(10) }}\n%s")
    found = [d for d in everything(text % "sweep { width = [8, 9] }") if d.code == "NN730"]
    assert [(d.span.text, d.severity) for d in found] == [(pointed, "warning")] * (pointed is not None)
    for each in found:
        assert each.message == "`a,width=8` and `a,width=9` are identical runs: `width` has no effect on them"
        assert each.help == "remove it from the sweep, or sweep only the other lanes: `b.width = […]`"
    assert not [d for d in everything(text % "sweep { b.width = [8, 9] }") if d.code == "NN730"]


# A list for one lane

RATES = "race { SGD; Adam; still: SGD(lr=0.3) }\n"


def rates(found: list[Experiment]) -> list[tuple[str, float]]:
    return [(lane.name, lane.optimizer.values()["lr"]) for lane in found]


@pytest.mark.parametrize(
    "sweep",
    [
        "sweep { SGD.optimizer.lr = [0.1, 0.2]; Adam.optimizer.lr = [0.01, 0.02] }",
        "sweep { SGD { optimizer.lr = [0.1, 0.2] }; Adam { optimizer.lr = [0.01, 0.02] } }",
        "sweep zip { SGD.optimizer.lr = [0.1, 0.2]; Adam.optimizer.lr = [0.01, 0.02] }",
    ],
)
def test_a_lane_may_have_its_own_lists_and_a_lane_without_is_trained_once(sweep: str) -> None:
    assert rates(lanes(spec(f"{RATES}{sweep}"))) == [
        ("SGD,lr=0.1", 0.1),
        ("SGD,lr=0.2", 0.2),
        ("Adam,lr=0.01", 0.01),
        ("Adam,lr=0.02", 0.02),
        ("still", 0.3),
    ]


def test_a_list_of_a_lane_goes_with_those_of_all_lanes_and_before_that_of_the_same_setting() -> None:
    text = "race { SGD; Adam }\nsweep { train.batch = [8, 16]; optimizer.lr = [0.1]; Adam.optimizer.lr = [0.01, 0.02] }"
    assert runs(spec(text)) == [
        "SGD,batch=8,lr=0.1",
        "SGD,batch=16,lr=0.1",
        "Adam,batch=8,lr=0.01",
        "Adam,batch=8,lr=0.02",
        "Adam,batch=16,lr=0.01",
        "Adam,batch=16,lr=0.02",
    ]


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("SGD.optimizer.lr=0.5", [("SGD", 0.5), ("Adam,lr=0.01", 0.01), ("Adam,lr=0.02", 0.02), ("still", 0.3)]),
        ("SGD.optimizer=SGD(lr=0.4)", [("SGD", 0.4), ("Adam,lr=0.01", 0.01), ("Adam,lr=0.02", 0.02), ("still", 0.3)]),
        ("optimizer.lr=0.5", [("SGD", 0.5), ("Adam", 0.5), ("still", 0.5)]),
    ],
)
def test_a_flag_ends_the_sweep_of_one_lane_or_of_all(flag: str, expected: list[tuple[str, float]]) -> None:
    sweep = "sweep { SGD.optimizer.lr = [0.1, 0.2]; Adam.optimizer.lr = [0.01, 0.02] }"
    assert rates(lanes(spec(f"{RATES}{sweep}"), flag)) == expected


OWN = (
    "race { SGD; Adam }\nsweep { train.batch = [8, 16]; SGD.optimizer.lr = [0.1, 0.2]; Adam.optimizer.lr = [0.3, 0.4] }"
)


def figures_of(text: str) -> list[tuple[str | None, list[str]]]:
    (found,) = program(text).expectations
    return [(case.lane, [figure.lane for figure in case.figures()]) for case in found.cases]


def test_a_statement_must_hold_for_each_point_of_one_lane_with_each_of_the_other() -> None:
    wanted = [
        (None, [f"SGD,batch={batch},lr={sgd}", f"Adam,batch={batch},lr={adam}"])
        for batch in (8, 16)
        for sgd in (0.1, 0.2)
        for adam in (0.3, 0.4)
    ]
    found = figures_of(spec(f"seed = 1\n{OWN}\nexpect {{ SGD.loss < Adam.loss }}"))
    assert sorted(map(repr, found)) == sorted(map(repr, wanted))


def test_points_that_are_zipped_are_compared_side_by_side() -> None:
    text = "seed = 1\nrace { SGD; Adam }\nsweep zip { SGD.optimizer.lr = [0.1, 0.2]; Adam.optimizer.lr = [0.3, 0.4] }"
    assert figures_of(spec(f"{text}\nexpect {{ SGD.loss < Adam.loss }}")) == [
        (None, ["SGD,lr=0.1", "Adam,lr=0.3"]),
        (None, ["SGD,lr=0.2", "Adam,lr=0.4"]),
    ]


def test_a_statement_without_a_lane_must_hold_once_for_every_run() -> None:
    found = figures_of(spec(f"seed = 1\n{OWN}\nexpect {{ loss < 1 }}"))
    assert found == [(name, [name]) for name in runs(spec(OWN))]
    found = figures_of(spec(f"seed = 1\n{OWN}\nexpect {{ SGD.loss < 1 }}"))
    assert found == [(None, [name]) for name in runs(spec(OWN)) if name.startswith("SGD")]


# What a lane sets and the sweep sets again

BASE = (
    "let rate = 0.1\nlet quick = SGD(lr=0.5)\noptimizer.lr = rate\nrace { a { %s }; b { metrics = [] } }\nsweep { %s }"
)
CLASHES = {
    "argument": ("optimizer = SGD(lr=0.5)", "optimizer.lr = [0.1, 0.2]", "lr=0.5"),
    "argument, without its name": ("optimizer = SGD(0.5)", "optimizer.lr = [0.1, 0.2]", "0.5"),
    "argument, in parentheses": ("optimizer = (SGD(lr=0.5))", "optimizer.lr = [0.1, 0.2]", "lr=0.5"),
    "part": ("SGD(lr=0.5)", "optimizer.lr = [0.1, 0.2]", "lr=0.5"),
    "part that a let names": ("optimizer = quick", "optimizer.lr = [0.1, 0.2]", "quick"),
    "setting": ("optimizer.lr = 0.5", "optimizer.lr = [0.1, 0.2]", "optimizer.lr"),
    "let that it alone follows": ("rate = 0.5", "optimizer.lr = [0.1, 0.2]", "rate"),
    "let": ("width = 4", "width = [8, 16]", "width"),
    "argument of the loss": ("loss = CrossEntropy(label_smoothing=0.1)", "loss.label_smoothing = [0.2]", None),
    "argument of the data": ("data = Digits(train=50)", "data.train = [60, 70]", "train=50"),
    "argument of an alternative": ("data = Digits(train=50) or MNIST", "data.train = [60, 70]", "train=50"),
    "setting of train": ("train.batch = 4", "train.batch = [8, 16]", "train.batch"),
    "argument of a layer": ("model.Linear1.bias = false", "model.Linear1.bias = [true]", "model.Linear1.bias"),
    "seed": ("seed = 4", "seed = [1, 2]", "seed"),
}


@pytest.mark.parametrize(("lane", "sweep", "pointed"), CLASHES.values(), ids=CLASHES.keys())
def test_what_a_lane_sets_is_not_replaced_by_the_sweep_and_the_help_is_a_cure(
    lane: str, sweep: str, pointed: str | None
) -> None:
    found = only(spec(BASE % (lane, sweep)))
    setting = sweep.partition(" = ")[0]
    assert found.code == "NN204"
    assert pointed is None or found.span.text == pointed
    assert [note.span.text for note in found.notes] == [setting]
    assert found.help == f"remove it here, or sweep only the other lanes: `b.{setting} = […]`"
    assert not diagnose(spec(BASE % (lane, f"b.{sweep}")))
    assert [run for run in runs(spec(BASE % (lane, f"b.{sweep}"))) if "," not in run] == ["a"]
    assert not diagnose(spec(BASE % ("metrics = []", sweep)))  # left out


def test_a_lane_may_set_a_let_that_more_follows_than_what_is_swept() -> None:
    race = "race { a { width = 4 }; b { metrics = [] } }\nsweep { train.batch = [8, 16] }"
    assert not diagnose(spec(f"let half = width // 2\ntrain.batch = half\n{race}"))


def test_a_value_and_a_list_of_one_lane_clash_too() -> None:
    found = only(spec("race { SGD(lr=0.5); Adam }\nsweep { SGD.optimizer.lr = [0.1, 0.2] }"))
    assert (found.code, found.span.text, found.help) == ("NN204", "lr=0.5", "remove one of them")


def test_a_let_of_a_flag_for_one_lane_clashes_too() -> None:
    found = only(spec(BASE % ("metrics = []", "optimizer.lr = [0.1, 0.2]")), "a.rate=0.5")
    assert (found.code, found.span.text) == ("NN204", "a.rate")


def test_a_list_in_place_of_a_value_gets_the_advice_to_use_sweep() -> None:
    text = spec("sweep { optimizer.lr = [0.01, 0.02] }")
    found = only(text, "optimizer.lr=[0.1, 0.2]")
    advice = (
        "this setting takes a single value; to try several, write `sweep { optimizer.lr = [0.1, 0.2] }` in the spec"
    )
    assert (found.code, found.help) == ("NN301", advice)
    assert not diagnose(spec("sweep { optimizer.lr = [0.1, 0.2] }"))
    found = only(spec("optimizer.lr = [0.1, 0.2]"))
    assert found.help == "to try several values, put the list into a sweep: `sweep { optimizer.lr = [0.1, 0.2] }`"
    assert only(spec("optimizer.lr = [0.1, true]")).help == ""


# What is wrong

WRONG = {
    "no list": ("sweep { width = 3 }", "NN301", "3", "a sweep needs lists"),
    "let of no list": ("let ws = 3\nsweep { width = ws }", "NN301", "ws", "a sweep needs lists"),
    "part of no list": ("sweep { optimizer = Adam(lr=0.1) }", "NN301", "Adam(lr=0.1)", "a sweep needs lists"),
    "function of no list": ("sweep { width = max(1, 2) }", "NN301", "max(1, 2)", "a sweep needs lists"),
    "lists joined": ("sweep { width = [1] or [2] }", "NN301", "[1] or [2]", "a sweep needs lists"),
    "unknown function": ("sweep { width = rnage(1, 3) }", "NN201", "rnage", "unknown name `rnage`"),
    "function that fails": ("sweep { width = range(1.5) }", "NN304", "range(1.5)", None),
    "circle": ("let a = a\nsweep { width = a }", "NN207", "a", "`a` depends on itself: a → a"),
    "empty list": ("sweep { width = [] }", "NN302", "[]", "this list is empty"),
    "empty list, made": ("sweep { width = range(3, 3) }", "NN302", "range(3, 3)", "this list is empty"),
    "empty": ("sweep { }", "NN205", "sweep", "a sweep needs lists of values"),
    "twice": ("sweep { width = [3] }\nsweep { seed = [3] }", "NN204", "sweep", "duplicate `sweep`"),
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
        "`sweep zip` needs lists of equal length: 3 here, 2 in `width`",
    ),
    "name": ("sweep pairs { width = [3] }", "NN203", "pairs", "`pairs` is not allowed after `sweep`"),
    "title": ('sweep "pairs" { width = [3] }', "NN203", '"pairs"', None),
    "label": ("s: sweep { width = [3] }", "NN203", "s", "`sweep` takes no label"),
    "elements": ("sweep { SGD }", "NN203", "SGD", "a sweep can only contain settings, such as `name = [a, b]`"),
    "statement": ("sweep { loss < 3 }", "NN203", "loss < 3", "a sweep can only contain settings"),
    "let": ("sweep { let width = [3] }", "NN203", "let width = [3]", "`let` is not allowed in a sweep"),
    "colon": ("sweep { width: [3] }", "NN203", "width: [3]", "settings use `=`, not `:`"),
    "block": ("sweep { block A { ReLU } }", "NN203", "block A", "`block` is not allowed in a sweep"),
    "target, misspelt": ("sweep { widht = [3] }", "NN201", "widht", "unknown setting `widht`"),
    "target in train, misspelt": ("sweep { train.batchs = [3] }", "NN201", "batchs", "`train` has no setting `batchs`"),
    "target of train, outside": ("sweep { batch = [3] }", "NN201", "batch", "unknown setting `batch`"),
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
    "lists of one lane that differ from another's, zipped": (
        "race { SGD; Adam }\nsweep zip { SGD.optimizer.lr = [3, 4]; Adam.optimizer.lr = [1, 2, 3] }",
        "NN303",
        "[1, 2, 3]",
        "`sweep zip` needs lists of equal length: 3 here, 2 in `optimizer.lr`",
    ),
    "list that no lane goes through": (
        "race { SGD; Adam }\nsweep { optimizer.lr = [3]; SGD.optimizer.lr = [1]; Adam.optimizer = [Adam(lr=1)] }",
        "NN203",
        "optimizer.lr",
        "`optimizer.lr` has no effect: every lane has its own list",
    ),
    "list of one lane, twice": (
        "race { SGD; Adam }\nsweep { SGD.optimizer.lr = [3]; SGD { optimizer.lr = [1] } }",
        "NN204",
        "optimizer.lr",
        "`SGD.optimizer.lr` is given twice",
    ),
    "lane, misspelt": (
        "race { SGD; Adam }\nsweep { Adan.optimizer.lr = [3] }",
        "NN201",
        "Adan.optimizer.lr",
        "unknown setting `Adan.optimizer.lr`",
    ),
    "too many in lanes of their own": (
        "race { SGD; Adam }\nsweep { SGD.seed = range(600); Adam.seed = range(401) }",
        "NN603",
        "sweep",
        "this is 1,001 runs; the limit is 1,000",
    ),
    "too many": (
        "sweep { width = range(1, 101); seed = range(100) }",
        "NN603",
        "sweep",
        "this is 100 × 100 = 10,000 runs; the limit is 1,000",
    ),
    "too many of one": (
        "sweep { seed = range(2000) }",
        "NN603",
        "sweep",
        "this is 2,000 runs; the limit is 1,000",
    ),
    "too many with lanes": (
        "race { SGD; Adam }\nsweep { seed = range(600) }",
        "NN603",
        "sweep",
        "this is 2 × 600 = 1,200 runs; the limit is 1,000",
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
        "`out_features` must be an integer of at least 1, not 1.5",
    ),
    "value out of range": (
        "sweep { optimizer.lr = [0.1, 0] }",
        "NN302",
        "0",
        "`lr` must be greater than 0, got 0",
    ),
    "unknown value": ("sweep { width = [4, widht] }", "NN201", "widht", "unknown name `widht`"),
    "list of lists": (
        "sweep { width = [[4]] }",
        "NN301",
        "[4]",
        "`out_features` must be an integer of at least 1, not a list of 1",
    ),
    "model, misspelt": ("sweep { model = [bgi] }", "NN201", "bgi", "unknown model `bgi`"),
    "base replaced": (
        "optimizer.lr = 0.3\nsweep { optimizer = [SGD, Adam] }",
        "NN203",
        "optimizer.lr",
        "`optimizer.lr` has no effect: the sweep overrides `optimizer`",
    ),
    "lane sets it too": (
        "race { a { width = 3 }; SGD }\nsweep { width = [4, 8] }",
        "NN204",
        "width",
        "both lane `a` and the sweep set `width`",
    ),
    "lanes are it": (
        "race { SGD; Adam }\nsweep { optimizer = [SGD, Momentum] }",
        "NN204",
        "SGD",
        "both lane `SGD` and the sweep set `optimizer`",
    ),
    "lane sets an argument of it": (
        "race { a { optimizer.lr = 0.1 }; b { seed = 3 } }\nsweep { optimizer = [SGD, Momentum] }",
        "NN204",
        "optimizer.lr",
        "both lane `a` and the sweep set `optimizer.lr`",
    ),
}


@pytest.mark.parametrize(("more", "code", "pointed", "message"), WRONG.values(), ids=WRONG.keys())
def test_each_mistake_is_reported_once_at_its_own_position(
    more: str, code: str, pointed: str, message: str | None
) -> None:
    found = only(spec(more))
    assert (found.code, found.span.text) == (code, pointed)
    assert message is None or found.message == message


def test_all_invalid_values_are_reported_in_the_sweep() -> None:
    found = diagnose(spec('sweep { width = [4, 1.5, "a", -3] }'))
    assert [(d.code, d.span.text) for d in found] == [("NN301", "1.5"), ("NN301", '"a"'), ("NN302", "-3")]
    assert {(note.span.text, note.text) for d in found for note in d.notes} == {("width", "used here")}


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


def test_a_mistake_shared_by_all_points_is_reported_once() -> None:
    assert find(spec("train.batch = 0\nsweep { width = range(1, 500); seed = [1, 2] }")) == [("NN302", "0")]
    assert find(base("optimizer = SGD(lr=0.1)\n", "", more="sweep { seed = range(9) }")) == [("NN205", "data")]


def test_more_work_than_a_check_does_is_an_error() -> None:
    many = "; ".join(f"Linear({i + 1}); ReLU" for i in range(400))
    text = base(
        "    Linear(16)\n", f"    {many}\n    Linear(width)\n", more=f"{WIDTH}sweep {{ width = range(1, 1001) }}"
    )
    found = only(text)
    assert (found.code, found.message) == ("NN603", "checking this spec takes more than 1,000,000 steps")
