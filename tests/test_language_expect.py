"""`expect`: which figures there are, of which runs, and every statement that means nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from findings import base, find, only, program

from nnspec import api
from nnspec.checker.program import Expectation, Figure

TWO = base("model {", "model small { Linear(10) }\nmodel big {", more="model = small\n")
RACE = TWO + "race { SGD; Adam; wide { model = big } }\n"
HELD = "train.validation = 0.1\n"


def one(text: str) -> Expectation:
    (found,) = program(text).expectations
    return found


def speaks_of(text: str) -> list[tuple[str | None, list[tuple[str, str]]]]:
    """For each case of the one statement: its lane, and the figures with their runs."""
    return [(case.lane, [(f.lane, f.name) for f in case.figures()]) for case in one(text).cases]


# What a statement is of


@pytest.mark.parametrize(
    ("statement", "about"),
    [
        ("params < 1e6", "program"),
        ("flops < 1e6 and memory < 1e9", "program"),
        ("gradient_error < 1e-7", "calculus"),
        ("params < 1e6 or gradient_error < 1e-7", "calculus"),
        ("loss < 3", "outcome"),
        ("params < 1e6 and not test_loss > 3", "outcome"),
        ("accuracy > 0.1 and test_accuracy > 0.1", "outcome"),
        ("val_loss < 3 and val_accuracy > 0.1", "outcome"),
        ("epochs_to(loss=0.1) < 10", "outcome"),
    ],
)
def test_a_statement_is_about_its_latest_known_figure(statement: str, about: str) -> None:
    found = one(base(more=f"seed = 1\n{HELD}expect {{ {statement} }}"))
    assert (found.about, found.text) == (about, statement)


@pytest.mark.parametrize(
    ("statement", "cases"),
    [
        ("loss < 3", [("SGD", [("SGD", "loss")]), ("Adam", [("Adam", "loss")]), ("wide", [("wide", "loss")])]),
        ("SGD.loss < 3", [(None, [("SGD", "loss")])]),
        ("Adam.loss < wide.test_loss", [(None, [("Adam", "loss"), ("wide", "test_loss")])]),
        ("(loss) < 2 * SGD.loss", [(n, [(n, "loss"), ("SGD", "loss")]) for n in ("SGD", "Adam", "wide")]),
        ("big.params < 1e6", [("wide", [("wide", "params")])]),
        ("big.loss < 3", [("wide", [("wide", "loss")])]),
        ("small.params < 1e6", [("SGD", [("SGD", "params")]), ("Adam", [("Adam", "params")])]),
        (
            "small.params < big.params",
            [
                ("SGD", [("SGD", "params"), ("wide", "params")]),
                ("Adam", [("Adam", "params"), ("wide", "params")]),
                ("wide", [("SGD", "params"), ("wide", "params")]),
            ],
        ),
    ],
)
def test_a_figure_is_of_a_lane_of_a_model_or_of_every_lane(
    statement: str, cases: list[tuple[str | None, list[tuple[str, str]]]]
) -> None:
    assert speaks_of(RACE + f"seed = 1\nexpect {{ {statement} }}") == cases


def test_a_model_that_no_lane_trains_may_be_spoken_of_and_is_checked_with_the_base() -> None:
    found = program(TWO + "expect { big.params < 1e6 and small.params < big.params }")
    assert [(m.name, m.shapes) for m in found.models] == [("model big", "784 → 16 → 10")]
    assert [lane.shapes for lane in found.lanes] == ["784 → 10"]
    assert {f.lane for case in found.expectations[0].cases for f in case.figures()} == {"run", "model big"}


def test_a_statement_holds_at_every_point_of_a_sweep() -> None:
    text = base(more="seed = 1\nrace { SGD; Adam }\nsweep { train.batch = [8, 16] }\nexpect { Adam.loss < SGD.loss }")
    assert speaks_of(text) == [
        (None, [("Adam,batch=8", "loss"), ("SGD,batch=8", "loss")]),
        (None, [("Adam,batch=16", "loss"), ("SGD,batch=16", "loss")]),
    ]
    every = base(more="sweep { train.batch = [8, 16] }\nexpect { params < 1e6 }")
    assert [lane for lane, _ in speaks_of(every)] == ["batch=8", "batch=16"]


@pytest.mark.parametrize(
    ("bound", "value"),
    [
        ("60_000", 60_000),
        ("limit", 70_000),
        ("2 * limit", 140_000),
        ("max(1, limit)", 70_000),
        ("data.size * 10", 20_000),
        ("data.classes", 10),
        ("-(-limit)", 70_000),
    ],
)
def test_a_bound_is_an_expression(bound: str, value: float, tmp_path: Path) -> None:
    """It is proved, so that it must have the value that it seems to have."""
    for sign, holds in (("<=", True), ("<", False)):
        spec = tmp_path / "x.nn"
        text = f"let limit = 70_000\nexpect {{ {value} {sign} {bound} and params > 0 }}\ntrain.batch = 0 * limit + 8\n"
        spec.write_text(base(more=text))
        assert api.check(spec).ok is holds


def test_a_target_is_an_expression_and_keeps_its_value() -> None:
    found = one(base(more="seed = 1\nlet goal = 0.5\nexpect { epochs_to(loss=goal / 5) < 3 }"))
    assert found.cases[0].figures() == (Figure("run", "epochs_to", 0.1),)


def test_what_is_proved_is_proved_of_each_lane_with_its_own_lets(tmp_path: Path) -> None:
    spec = tmp_path / "x.nn"
    text = base("Linear(16)", "Linear(width)", more="let width = 4\nrace { SGD; big { width = 400 } }\n")
    spec.write_text(text + "expect { params < width * 1000 }")
    assert api.check(spec).ok
    spec.write_text(text + "expect { params < 4 * 1000 }")
    (found,) = api.check(spec).diagnostics
    assert (found.code, found.span.text) == ("NN601", "params < 4 * 1000")
    assert "big" in found.message + " ".join(found.remarks) + found.label


# What means nothing

WRONG = {
    "no comparison": (
        "loss",
        "NN602",
        "loss",
        "this is not a statement",
        "compare it with something, as in `test_accuracy > 0.9`",
    ),
    "a sum": ("(loss + 1)", "NN602", "(loss + 1)", "this is not a statement", None),
    "no figure": ("3 < 4", "NN602", "3 < 4", "this statement contains no figure", None),
    "misspelt": ("los < 4", "NN602", "los", "unknown figure `los`", "did you mean `loss`?"),
    "misspelt, of the validation": (
        "val_acuracy > 0",
        "NN602",
        "val_acuracy",
        "unknown figure `val_acuracy`",
        "did you mean `val_accuracy`?",
    ),
    "of another framework": (
        "val_acc > 0",
        "NN602",
        "val_acc",
        "unknown figure `val_acc`",
        "did you mean `val_accuracy`?",
    ),
    "misspelt, of a lane": ("SGD.los < 4", "NN602", "los", "unknown figure `los`", "did you mean `loss`?"),
    "lane, misspelt": ("SDG.loss < 4", "NN602", "SDG", "unknown lane or model `SDG`", "did you mean `SGD`?"),
    "lane, unknown": (
        "xyzzy.loss < 4",
        "NN602",
        "xyzzy",
        "unknown lane or model `xyzzy`",
        "the lanes are `SGD`, `Adam`, `wide`",
    ),
    "model, misspelt": (
        "bgi.params < 4e5",
        "NN602",
        "bgi",
        "unknown lane or model `bgi`",
        "did you mean `big`?",
    ),
    "the wrong way round": (
        "loss.SGD < 4",
        "NN602",
        "loss",
        "unknown lane or model `loss`",
        "write the lane before the figure: `SGD.loss`",
    ),
    "a path": ("SGD.train.loss < 4", "NN602", "SGD.train", None, None),
    "the data": ("params < data.sise", "NN201", "sise", "`data` has no `sise`", "did you mean `size`?"),
    "a setting": ("train.epochs < 4", "NN602", "train", None, None),
    "two comparisons": (
        "0 < loss < 4",
        "NN101",
        "0 < loss < 4",
        "comparisons cannot be chained",
        "write `0 < loss and loss < 4`",
    ),
    "three comparisons": (
        "0 < loss < 4 < 5",
        "NN101",
        "0 < loss < 4 < 5",
        "comparisons cannot be chained",
        "join them with `and`",
    ),
    "a string": ("loss < 'a'", "NN301", "'a'", "a statement compares numbers", ""),
    "a truth": ("loss < true", "NN301", "true", "a statement compares numbers", ""),
    "a layer": ("loss < Linear(3)", "NN301", "Linear(3)", "a statement compares numbers", ""),
    "a statement as a number": ("(loss < 1) < 2", "NN301", "(loss < 1)", "`<` takes numbers, not statements", ""),
    "a number as a statement": (
        "loss < 1 and accuracy",
        "NN301",
        "accuracy",
        "`and` takes statements, such as `loss < 0.1`",
        "",
    ),
    "no result": ("loss < 1 / 0", "NN304", "1 / 0", "cannot evaluate this: division by zero", ""),
    "too large": ("loss < 1e308 * 10", "NN304", "1e308 * 10", "the result is not a finite number", ""),
    "a figure in a function": (
        "max(loss, 3) < 4",
        "NN201",
        "loss",
        "unknown name `loss`",
        "figures of a run can be used in `expect`, outside functions; a setting takes only the name of one, "
        "as in `tune.by = val_loss`",
    ),
    "target missing": (
        "epochs_to < 4",
        "NN602",
        "epochs_to",
        "`epochs_to` needs a loss",
        "write `epochs_to(loss=0.1)`",
    ),
    "target without a name": (
        "epochs_to(0.1) < 4",
        "NN602",
        "epochs_to(0.1)",
        "`epochs_to` cannot be called like this",
        "write `epochs_to(loss=0.1)`",
    ),
    "target of another name": (
        "epochs_to(los=0.1) < 4",
        "NN602",
        "epochs_to(los=0.1)",
        None,
        "write `epochs_to(loss=0.1)`",
    ),
    "two targets": (
        "epochs_to(loss=0.1, x=2) < 4",
        "NN602",
        "epochs_to(loss=0.1, x=2)",
        None,
        "write `epochs_to(loss=0.1)`",
    ),
    "target that is no number": ("epochs_to(loss='a') < 4", "NN301", "'a'", "`loss` takes a number", ""),
    "target without end": (
        "epochs_to(loss=10**400) < 4",
        "NN302",
        "10**400",
        "this number is too large for a float",
        "",
    ),
    "a call": ("loss(3) < 4", "NN602", "loss(3)", "`loss` cannot be called like this", "write `loss`"),
    "not measured": (
        "val_loss < 4",
        "NN602",
        "val_loss",
        "`val_loss` is not measured: there are no validation samples",
        "hold out samples: `train.validation = 0.1`",
    ),
    "not measured, accuracy": (
        "val_accuracy > 0",
        "NN602",
        "val_accuracy",
        "`val_accuracy` is not measured: there are no validation samples",
        None,
    ),
    "setting": (
        "loss = 4",
        "NN203",
        "loss = 4",
        "`expect` can only contain statements",
        "to compare, write `loss == 4`",
    ),
    "label": (
        "a: loss < 4",
        "NN203",
        "a: loss < 4",
        "`expect` can only contain statements, such as `test_accuracy > 0.9`",
        "",
    ),
    "let": ("let a = 4", "NN203", "let a = 4", None, None),
    "section": ("train { }", "NN203", "train", None, None),
    "too deep": ("loss < " + "1 + " * 200 + "1", "NN106", None, None, None),
}


@pytest.mark.parametrize(("statement", "code", "pointed", "message", "help"), WRONG.values(), ids=WRONG.keys())
def test_a_meaningless_statement_is_reported_once_at_its_own_position(
    statement: str, code: str, pointed: str | None, message: str | None, help: str | None
) -> None:
    found = only(f"{RACE}expect {{ {statement} }}")
    assert found.code == code
    for said, expected in ((found.span.text, pointed), (found.message, message), (found.help, help)):
        assert expected is None or said == expected


def test_a_metric_that_is_not_wanted_is_not_measured() -> None:
    for figure in ("accuracy", "test_accuracy"):
        found = only(base(more=f"metrics = []\nexpect {{ {figure} > 0.5 }}"))
        assert (found.code, found.help) == ("NN602", "add `accuracy` to `metrics`")


def test_a_lane_without_a_race_is_called_run() -> None:
    assert speaks_of(base(more="seed = 1\nexpect { run.loss < 3 }")) == [(None, [("run", "loss")])]
    found = only(base(more="expect { Adam.loss < 3 }"))
    assert found.help == "this spec has no race, so its figures have no lane"


def test_a_model_that_no_lane_trains_has_no_outcome() -> None:
    found = only(TWO + "expect { big.loss < 3 }")
    assert (found.code, found.span.text, found.message) == ("NN602", "big", "no lane trains the model `big`")
    assert find(TWO.replace("Linear(16)", "Linear(0)") + "expect { big.params < 3e6 }") == [("NN302", "0")]


def test_a_let_does_not_bear_the_name_of_a_figure() -> None:
    for word in ("params", "val_loss", "epochs_to", "test_accuracy"):
        found = only(base(more=f"let {word} = 3\n"))
        assert (found.code, found.span.text) == ("NN206", word)


def test_a_statement_that_is_wrong_in_every_lane_is_reported_once() -> None:
    assert find(RACE + "sweep { train.batch = [8, 16] }\nexpect { los < 3 }") == [("NN602", "los")]
    assert find(RACE + "expect { loss < widht }") == [("NN602", "widht")]


# Validation and early stopping


@pytest.mark.parametrize(
    ("settings", "code", "pointed", "help"),
    [
        ("train.early_stop = patience(5)", "NN602", "patience(5)", "hold out samples: `train.validation = 0.1`"),
        (
            "train.early_stop = patience(5, of=val_loss)",
            "NN602",
            "val_loss",
            "hold out samples: `train.validation = 0.1`",
        ),
        (
            "let stop = patience(5)\ntrain.early_stop = stop",
            "NN602",
            "stop",
            "hold out samples: `train.validation = 0.1`",
        ),
        (f"{HELD}train.early_stop = patience(5, of=params)", "NN602", "params", "for example, `val_loss`"),
        (
            f"{HELD}train.early_stop = patience(5, of=val_acuracy)",
            "NN201",
            "val_acuracy",
            "did you mean `val_accuracy`?",
        ),
        (f"{HELD}train.early_stop = patience(5, of='val_los')", "NN201", "'val_los'", "did you mean `val_loss`?"),
        (f"{HELD}train.early_stop = patience(5, of=3)", "NN301", "3", ""),
        (
            f"{HELD}metrics = []\ntrain.early_stop = patience(5, of=val_accuracy)",
            "NN602",
            "val_accuracy",
            "add `accuracy` to `metrics`",
        ),
        (f"{HELD}train.early_stop = pacience(5)", "NN201", "pacience", "did you mean `patience`?"),
        (f"{HELD}train.early_stop = 5", "NN301", "5", "there is `patience(…)`"),
        (
            f"{HELD}train.early_stop = patience",
            "NN205",
            "patience",
            "patience(epochs, of=val_loss, min_delta=0.0, restore_best=false)",
        ),
        (f"{HELD}train.early_stop = patience(0)", "NN302", "0", ""),
        (
            f"{HELD}train.early_stop.epochs = 3",
            "NN201",
            "train.early_stop.epochs",
            "`train.early_stop` is a single value",
        ),
        ("train.validation = 1", "NN302", "1", ""),
        ("train.validation = 20", "NN302", "20", "write 20 % as 0.2"),
        ("train.validation = true", "NN301", "true", ""),
        ("data.train = 1\ntrain.validation = 0.5", "NN302", "0.5", ""),
        (f"data.train = 10\n{HELD}train {{ batch = 10; drop_last = true }}", "NN302", "10", None),
    ],
)
def test_validation_and_early_stopping_are_held_against_what_is_measured(
    settings: str, code: str, pointed: str, help: str | None
) -> None:
    found = only(base(more=f"{settings}\n"))
    assert (found.code, found.span.text) == (code, pointed)
    assert help is None or found.help == help


@pytest.mark.parametrize(
    "settings",
    [
        f"{HELD}train.early_stop = patience(5)",
        f"{HELD}train.early_stop = patience(5, of=val_accuracy, min_delta=0.1)",
        "train.early_stop = patience(5, of=loss)",
        "train.early_stop = patience(5, of='loss')",
        "train.early_stop = none",
        "train.validation = 0",
        "let stop = patience(5, of=loss)\ntrain.early_stop = stop",
    ],
)
def test_what_is_measured_may_stop_a_training(settings: str) -> None:
    assert find(base(more=settings)) == []


@pytest.mark.parametrize(
    ("rate", "code", "pointed"),
    [
        ("cosine(0.1, too=0.2)", "NN202", "too"),
        ("cosin(0.1)", "NN201", "cosin"),
        ("cosine", "NN205", "cosine"),
        ("cosine(0)", "NN302", "0"),
        ("step(0.1, every=0)", "NN302", "0"),
        ("patience(3)", "NN305", "patience(3)"),
        ("2 * cosine(0.1)", "NN301", "cosine(0.1)"),
    ],
)
def test_a_schedule_is_held_against_its_declaration(rate: str, code: str, pointed: str) -> None:
    assert find(base("0.1", rate)) == [(code, pointed)]
    assert find(base(more="optimizer.lr = " + rate)) == [(code, pointed)]


def test_a_schedule_can_only_replace_a_rate() -> None:
    found = only(base(more="train.batch = cosine(0.1)"))
    assert (found.code, found.message) == (
        "NN305",
        "`batch` must be an integer of at least 1, but `cosine` is a schedule",
    )
    assert find(base("0.1", "s", more="let s = cosine(0.1, to=0.01, warmup=2)")) == []


# --- A statement that no training decides. ---


@pytest.mark.parametrize(
    ("statement", "code", "pointed"),
    [
        ("loss / 0 < 1", "NN605", "0"),
        ("Adam.loss // (2 - 2) < 1", "NN605", "(2 - 2)"),
        ("0.5 > Adam.loss % zero", "NN605", "zero"),
        ("(SGD.loss - 1) / 0.0 < 1", "NN605", "0.0"),
        ("loss < 1 and loss / 0 < 1", "NN605", "0"),
        ("Adam.loss < Adam.loss", "NN606", "Adam.loss < Adam.loss"),
        ("Adam.loss <= Adam.loss", "NN606", "Adam.loss <= Adam.loss"),
        ("2 * Adam.loss == 2 * Adam.loss", "NN606", "2 * Adam.loss == 2 * Adam.loss"),
        ("loss < loss", "NN606", "loss < loss"),
        ("loss < SGD.loss", "NN606", "loss < SGD.loss"),
    ],
)
def test_a_statement_that_no_training_decides_is_an_error(statement: str, code: str, pointed: str) -> None:
    text = base(
        "optimizer = SGD(lr=0.1)\n",
        f"seed = 1\nrace {{ SGD; Adam }}\nlet zero = 0\nexpect {{ {statement}; loss > zero }}\n",
    )
    assert find(text) == [(code, pointed)]


@pytest.mark.parametrize(
    "statement",
    ["loss <= SGD.loss", "loss < SGD.loss or loss < 3", "0 / loss < 1", "loss / 1e-9 > 1", "loss < test_loss"],
)
def test_a_statement_that_some_training_decides_is_none(statement: str) -> None:
    assert find(base("optimizer = SGD(lr=0.1)\n", f"seed = 1\nrace {{ SGD; Adam }}\nexpect {{ {statement} }}\n")) == []
