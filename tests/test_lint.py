"""Lint: what is legal but probably not intended, reported once at its own position, and never if it is intended."""

from __future__ import annotations

import math
import re

import pytest
from findings import ROOT, base, everything

from nnspec.checker import check
from nnspec.diagnostics import Diagnostic, read_source

LAYERS = "    Linear(16)\n    ReLU\n    Linear(10)\n"


def model(*layers: str, more: str = "") -> str:
    """Return the base with these layers."""
    return base(LAYERS, "".join(f"    {layer}\n" for layer in layers), more=more)


def advice(text: str, *flags: str) -> list[tuple[str, str]]:
    """Return codes and what they point at. There is a program all the same."""
    found = everything(text, *flags)
    assert {d.severity for d in found} <= {"warning"}, found
    return [(d.code, d.span.text) for d in found]


def one(text: str) -> Diagnostic:
    (found,) = everything(text)
    return found


ONE_LEFT = model("Linear(16, bias=false)", "BatchNorm", "ReLU", "Linear(10)").replace(
    "data = Digits\n", "data = Digits(train=65, test=20)\n"
)
GIVEN = {
    "NN701 outputs": (model("Linear(12)"), [("NN701", "Linear(12)")]),
    "NN701 outputs, then an activation": (
        model("Linear(12)", "ReLU"),
        [("NN701", "Linear(12)"), ("NN702", "ReLU")],
    ),
    "NN702 ReLU": (model("Linear(10)", "ReLU"), [("NN702", "ReLU")]),
    "NN702 Sigmoid": (model("Linear(10)", "Sigmoid"), [("NN702", "Sigmoid")]),
    "NN712 NLL": (
        model("Linear(10)", more="loss = NLL").replace("loss = CrossEntropy\n", ""),
        [("NN712", "Linear(10)")],
    ),
    "NN702 Softmax": (model("Linear(10)", "Softmax"), [("NN702", "Softmax")]),
    "NN702 LogSoftmax": (model("Linear(10)", "LogSoftmax"), [("NN702", "LogSoftmax")]),
    "NN713 Linear": (
        model("Linear(16)", "BatchNorm", "ReLU", "Linear(10)"),
        [("NN713", "Linear(16)")],
    ),
    "NN713 places": (
        model("Reshape([16, 49])", "Linear(16)", "BatchNorm", "ReLU", "Flatten", "Linear(10)"),
        [("NN713", "Linear(16)")],
    ),
    "NN713 Conv2D": (
        model("Reshape([1, 28, 28])", "Conv2D(4, 3, bias=true)", "BatchNorm", "ReLU", "Flatten", "Linear(10)"),
        [("NN713", "Conv2D(4, 3, bias=true)")],
    ),
    "NN714 batches of one": (
        model("Linear(16, bias=false)", "BatchNorm", "ReLU", "Linear(10)", more="train.batch = 1"),
        [("NN714", "1")],
    ),
    "NN714 within a branch": (
        model("Linear(16)", "residual { BatchNorm; ReLU; Linear(16) }", "Linear(10)", more="train.batch = 1"),
        [("NN714", "1")],
    ),
    "NN714 after a pool": (
        model("Conv2D(4, 3)", "GlobalAvgPool", "BatchNorm", "ReLU", "Linear(10)", more="train.batch = 1"),
        [("NN714", "1")],
    ),
    "NN715 batches of 32": (ONE_LEFT, [("NN715", "BatchNorm")]),
    "NN715 what is held out": (
        ONE_LEFT.replace("65", "130") + "train { batch = 9; validation = 0.3 }\n",
        [("NN715", "9")],
    ),
    "NN702 named": (model("Linear(10)", "act", more="let act = Tanh"), [("NN702", "Tanh")]),
    "NN703 in a row": (model("Linear(16)", "Linear(10)"), [("NN703", "Linear(10)")]),
    "NN703 three": (
        model("Linear(16)", "Linear(12)", "Linear(10)"),
        [("NN703", "Linear(12)"), ("NN703", "Linear(10)")],
    ),
    "NN703 out of a block": (
        model("A", "Linear(10)", more="block A { Linear(16) }"),
        [("NN703", "Linear(10)")],
    ),
    "NN703 in a branch": (
        model("residual { Linear(16); Linear(784) }", "Linear(10)"),
        [("NN703", "Linear(784)")],
    ),
    "NN704 default": (model("Linear(16)", "Tanh", "Linear(10)"), [("NN704", "Linear(16)")]),
    "NN704 default, Sigmoid": (model("Linear(16)", "Sigmoid", "Linear(10)"), [("NN704", "Linear(16)")]),
    "NN704 written": (model("Linear(16, init=he_uniform)", "Tanh", "Linear(10)"), [("NN704", "he_uniform")]),
    "NN704 in a branch": (
        model("add { a { Linear(8); Tanh }; b { Linear(8) } }", "Linear(10)"),
        [("NN704", "Linear(8)")],
    ),
    "NN705 last": (model("Linear(10)", "Dropout(0.5)"), [("NN705", "Dropout(0.5)")]),
    "NN706 large": (base("0.1", "3"), [("NN706", "3")]),
    "NN706 small": (base("0.1", "1e-5"), [("NN706", "1e-5")]),
    "NN706 of a schedule": (base("0.1", "cosine(30)"), [("NN706", "cosine(30)")]),
    "NN706 of Adam": (base("SGD(lr=0.1)", "Adam(lr=0.1)"), [("NN706", "0.1")]),
    "NN706 as a setting": (base(more="optimizer.lr = 30"), [("NN706", "30")]),
    "NN706 in a lane": (base(more="race { SGD(lr=30); SGD2 { optimizer.lr = 0.1 } }"), [("NN706", "30")]),
    "NN706 in a sweep": (base(more="sweep { optimizer.lr = [0.1, 30] }"), [("NN706", "30")]),
    "NN707 large": (base(more="train.batch = 3000"), [("NN707", "3000")]),
    "NN708 no seed": (base(more="expect { test_accuracy > 0.1 }"), [("NN708", "test_accuracy > 0.1")]),
    "NN708 no seed, the first": (
        base(more="expect { params < 1e6; loss < 9; test_accuracy > 0.1 }"),
        [("NN708", "loss < 9")],
    ),
    "NN709 by the test": (
        base(more="train.early_stop = patience(5, of=test_accuracy)"),
        [("NN709", "patience(5, of=test_accuracy)")],
    ),
    "NN710 let": (base(more="let width = 3"), [("NN710", "width")]),
    "NN710 let of a let": (base(more="let a = 3\nlet b = a"), [("NN710", "b")]),
    "NN710 block": (base(more="block A { ReLU }"), [("NN710", "A")]),
    "NN710 block of a block": (base(more="block A { B }\nblock B { ReLU }"), [("NN710", "A")]),
    "NN710 parameter": (
        model("A(3)", "Linear(10)", more="block A(x) { ReLU }"),
        [("NN710", "x")],
    ),
}


@pytest.mark.parametrize(("text", "expected"), GIVEN.values(), ids=GIVEN.keys())
def test_advice_is_given_at_its_own_characters(text: str, expected: list[tuple[str, str]]) -> None:
    assert advice(text) == expected


NOT_GIVEN = {
    "as many outputs as classes": model("Linear(10)"),
    "more outputs inside": model("Linear(64)", "ReLU", "Linear(10)"),
    "an activation before another loss": model("Linear(10, init=zeros)", "Sigmoid").replace("CrossEntropy", "MSE"),
    "no bias before batch norm": model("Linear(16, bias=false)", "BatchNorm", "ReLU", "Linear(10)"),
    "a bias before layer norm": model("Linear(16)", "LayerNorm", "ReLU", "Linear(10)"),
    "biases within": model("LSTM(16)", "BatchNorm", "MultiHeadAttention(2)", "BatchNorm", "Flatten", "Linear(10)"),
    "several numbers a channel in one sample": model(
        "Conv2D(4, 3, bias=false)", "BatchNorm", "ReLU", "Flatten", "Linear(10)", more="train.batch = 1"
    ),
    "batches of one without batch norm": model("Linear(16)", "LayerNorm", "ReLU", "Linear(10)", more="train.batch = 1"),
    "one sample too many that is dropped": ONE_LEFT + "train.drop_last = true\n",
    "one sample too many, another batch": ONE_LEFT + "train.batch = 13\n",
    "batches of one, made larger": ONE_LEFT + "train.batch = 2\ntrain.drop_last = true\n",
    "LayerNorm instead": ONE_LEFT.replace("BatchNorm", "LayerNorm") + "train.batch = 1\n",
    "an activation between": model("Linear(16)", "ReLU", "Linear(10)"),
    "dropout between": model("Linear(16)", "ReLU", "Dropout(0.5)", "Linear(10)"),
    "two branches of one layer": model("add { a { Linear(8) }; b { Linear(8) } }", "ReLU", "Linear(10)"),
    "starts for ReLU": model("Linear(16, init=he_uniform)", "ReLU", "Linear(10)"),
    "starts for Tanh": model("Linear(16, init=xavier_normal)", "Tanh", "Linear(10)"),
    "no weights before the activation": model("Tanh", "Linear(10)"),
    "a copy of the same layer": model("Linear(10) * 3"),
    "rates that are usual": base(more="race { SGD(lr=0.0001); b: SGD(lr=2); Adam(lr=1e-6); d: Adam(lr=0.05) }"),
    "the rate of a default": base("SGD(lr=0.1)", "SGD"),
    "a batch of all": base(more="train.batch = 2000"),
    "a seed": base(more="seed = 0\nexpect { test_accuracy > 0.1 }"),
    "a seed in every lane": base(more="race { a { seed = 1 }; b { seed = 2 } }\nexpect { loss < 9 }"),
    "a seed that is swept": base(more="sweep { seed = [1, 2] }\nexpect { loss < 9 }"),
    "what is proved": base(more="expect { params < 1e6; gradient_error < 1e-4 }"),
    "stopping by the validation": base(more="train { validation = 0.1; early_stop = patience(5) }"),
    "a let in a lane": base(more="let a = 3\nrace { x { a = 4; train.batch = a }; y { seed = 1 } }"),
    "a let in a statement": base(more="let a = 1e6\nexpect { params < a }"),
    "a let in a sweep": base(more="let a = [1, 2]\nsweep { seed = a }"),
    "a let in a block": base("ReLU", "A", more="let a = 0.5\nblock A { Dropout(a) }"),
    "a let in what is repeated no time": base("ReLU", "ReLU; Dropout(a) * 0", more="let a = 0.5"),
    "a block in what is repeated no time": base("ReLU", "ReLU; A * 0", more="block A { ReLU }"),
    "a let as a default": base("ReLU", "A", more="let a = 0.5\nblock A(p=a) { Dropout(p) }"),
    "a let that a model has which no lane trains": base(
        "model {", "model other { Linear(a); ReLU; Linear(10) }\nmodel {", more="let a = 3"
    ),
}


@pytest.mark.parametrize("text", NOT_GIVEN.values(), ids=NOT_GIVEN.keys())
def test_intended_settings_have_no_findings(text: str) -> None:
    assert advice(text) == []


@pytest.mark.parametrize("spec", sorted((ROOT / "specs").rglob("*.nn")), ids=lambda path: str(path.name))
def test_the_specs_that_are_shipped_need_no_advice(spec: object) -> None:
    assert check(read_source(str(spec))).diagnostics == ()


def test_advice_that_lanes_and_points_share_is_given_once() -> None:
    more = "race { SGD; Adam }\nsweep { train.epochs = [1, 2, 3] }"
    assert advice(model("Linear(16)", "Linear(12)", more=more)) == [("NN701", "Linear(12)"), ("NN703", "Linear(12)")]


def test_advice_about_a_block_is_given_once_however_often_it_is_used() -> None:
    more = "block A { Linear(8); Tanh }"
    assert advice(model("A * 3", "A", "Linear(10)", more=more)) == [("NN704", "Linear(8)")]


def test_where_there_is_an_error_names_are_not_judged() -> None:
    found = everything(base("0.1", "0", more="let a = 3\nexpect { loss < 9 }"))
    assert [d.code for d in found] == ["NN302"]


def test_what_advice_says() -> None:
    twice = one(model("Linear(16)", "Linear(10)"))
    assert twice.message == "`Linear` followed directly by `Linear` is a single linear map"
    assert twice.help == "add an activation between them, such as `ReLU`"
    assert [(n.span.text, n.text) for n in twice.notes] == [("Linear(16)", "the first")]
    start = one(model("Linear(16)", "Tanh", "Linear(10)"))
    assert start.message == "weights are initialised with `he_normal`, meant for ReLU, but `Tanh` follows"
    assert start.help == "write `init=xavier_normal`"
    assert [(n.span.text, n.text) for n in start.notes] == [("Tanh", "the activation")]
    assert one(base("0.1", "30")).message == "lr=30 is unusually large for SGD"
    assert one(base("0.1", "1e-5")).help == "rates between 0.0001 and 2 are usual"
    assert one(base(more="train.batch = 3000")).message == (
        "a batch of 3,000 is larger than the training set of 2,000 samples"
    )
    logits = one(model("Linear(10)", "Sigmoid"))
    assert [(n.span.text, n.text) for n in logits.notes] == [("CrossEntropy", "the loss")]
    assert one(model("Linear(12)")).message == "12 outputs for 10 classes: the extra outputs can never be correct"
    assert one(base(more="let a = 3")).message == "`let a` is never used"
    assert (
        one(model("A(3)", "Linear(10)", more="block A(x) { ReLU }")).message
        == "parameter `x` of block `A` is never used"
    )


def test_a_flag_may_be_what_advice_is_about() -> None:
    assert advice(base(), "optimizer.lr=30") == [("NN706", "30")]
    assert advice(base(), "train.batch=3000") == [("NN707", "3000")]


@pytest.mark.parametrize(
    ("last", "says"),
    [
        ("Softmax", "`CrossEntropy` applies a softmax itself, but `Softmax` has already done so"),
        (
            "LogSoftmax",
            "`CrossEntropy` applies a log-softmax itself, so `LogSoftmax` before it has no effect",
        ),
        ("Sigmoid", "`CrossEntropy` expects logits, but `Sigmoid` distorts them"),
    ],
)
def test_an_activation_before_a_loss_of_logits_is_named_by_its_effect(last: str, says: str) -> None:
    assert one(model("Linear(10)", last)).message == says


@pytest.mark.parametrize(
    ("layer", "fixed"),
    [("Linear(16)", "Linear(16, bias=false)"), ("Linear(16, bias=true)", "Linear(16, bias=false)")],
)
def test_a_bias_without_effect_is_removed_by_its_fix(layer: str, fixed: str) -> None:
    text = model(layer, "BatchNorm", "ReLU", "Linear(10)")
    fix = one(text).fix
    assert fix is not None
    (edit,) = fix.edits
    assert f"{text[: edit.span.start]}{edit.text}{text[edit.span.end :]}" == text.replace(layer, fixed, 1)


# --- What waits for an epoch that never comes. ---


def acts(schedule: str, epochs: int) -> list[str]:
    """Return the codes of lint about a schedule in a training of `epochs` epochs."""
    text = base("optimizer = SGD(lr=0.1)\n", f"optimizer = SGD(lr={schedule})\n", more=f"train.epochs = {epochs}")
    return [code for code, _ in advice(text)]


@pytest.mark.parametrize("epochs", [3, 4, 5, 6, 8])
@pytest.mark.parametrize("warmup", [0, 1, 4, 7])
@pytest.mark.parametrize("every", [2, 4])
def test_a_step_is_never_taken_exactly_where_all_rates_after_the_warm_up_are_equal(
    epochs: int, warmup: int, every: int
) -> None:
    # By the formula of the documentation, at many points before the end of training.
    at = [i / 16 for i in range(16 * epochs) if i / 16 >= warmup]
    rates = {0.1 * 0.5 ** math.floor((e - warmup) / every) for e in at}
    wanted = ["NN716"] if len(rates) < 2 else []
    assert acts(f"step(0.1, every={every}, gamma=0.5, warmup={warmup})", epochs) == wanted
    assert acts(f"piecewise(0.1, boundaries=[{every}], values=[0.05], warmup={warmup})", epochs) == wanted


@pytest.mark.parametrize(
    ("schedule", "longest_without"),
    [
        ("cosine(0.1, warmup=4)", 4),
        ("chain([cosine(0.1), constant(0.1)], at=[4])", 4),
        ("inverse_sqrt(0.1, warmup=4)", 4),
        ("constant(0.1, warmup=4)", 3),
        ("one_cycle(0.1, warmup=4)", 4),
        ("cosine_restarts(0.1, every=4)", 4),
        ("piecewise(0.1, boundaries=[1, 4], values=[0.05, 0.01])", 4),
        ("plateau(0.1, of=loss, patience=3)", 4),
        ("plateau(0.1, of=loss, patience=3, warmup=2)", 6),
    ],
)
def test_the_longest_training_in_which_a_schedule_does_not_act(schedule: str, longest_without: int) -> None:
    assert acts(schedule, longest_without) == ["NN716"]
    assert acts(schedule, longest_without + 1) == []


def test_the_longest_training_that_patience_never_stops() -> None:
    def text(epochs: int, more: str = "") -> str:
        return base(more=f"train {{ epochs = {epochs}; early_stop = patience(3, of=loss{more}) }}")

    assert advice(text(4)) == [("NN717", "patience(3, of=loss)")]
    assert advice(text(5)) == []
    assert advice(text(4, ", restore_best=true")) == []


@pytest.mark.parametrize(
    "more",
    ["optimizer = SGD(lr=step(0.1, every=30))", "train.early_stop = patience(30, of=loss)"],
)
def test_the_help_about_the_length_of_training_leads_to_a_clean_check(more: str) -> None:
    text = base(
        "optimizer = SGD(lr=0.1)\n",
        "" if "optimizer" in more else "optimizer = SGD(lr=0.1)\n",
        more=more + "\ntrain.epochs = 9",
    )
    help = one(text).help
    found = re.match(r"train for at least (\d+) epochs", help)
    assert found
    assert everything(text.replace("epochs = 9", f"epochs = {found[1]}")) == ()
