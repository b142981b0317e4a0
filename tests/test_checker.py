"""Every rule of the checker: a spec that breaks it, and the exact characters that the message points at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from findings import BASE, RACE, base, diagnose, everything, find, only

from nnspec import api, checker
from nnspec.data.source import DataSource, Facts
from nnspec.diagnostics import CODES, Source
from nnspec.engine.part import PARTS

LAYER = "    ReLU\n"  # of BASE: where other items of a model are put
TWO_MODELS = base("model {", "model small { Linear(10) }\nmodel big {")

Case = tuple[str, list[tuple[str, str]]]

SYNTAX: dict[str, Case] = {
    "a word too much": (base("= Digits", "= Digits Digits"), [("NN101", "Digits")]),
    "two comparisons": (base(more="expect { 0 < loss < 1 }"), [("NN101", "0 < loss < 1")]),
    "open brace": (base("    Linear(10)\n}", "    Linear(10)\n"), [("NN102", "{")]),
    "open string": (base(more='race "x { SGD }'), [("NN103", '"x { SGD }')]),
    "open string before a brace": (base(more='race "x {\n    SGD\n}\n'), [("NN103", '"x {')]),
    "escape": (base(more=r'race "\q" { SGD }'), [("NN103", r"\q")]),
    "no number": (base("16", "0x10"), [("NN104", "0x10")]),
    "too many digits": (base("16", "1" * 401), [("NN104", "1" * 401)]),
    "too deep": (base("16", "(" * 99 + "16" + ")" * 99), [("NN106", "(")]),
    "too many steps": (base("16", "1" + "+1" * 200), [("NN106", "1" + "+1" * 50)]),
    "too many words": (base(more="metrics = [" + "1, " * 50_001 + "]"), [("NN107", ",")]),
}

NAMES: dict[str, Case] = {
    "setting": (base(more="sede = 1"), [("NN201", "sede")]),
    "setting of train": (base(more="train { epoch = 1 }"), [("NN201", "epoch")]),
    "dotted setting of train": (base(more="train.epoch = 1"), [("NN201", "epoch")]),
    "section in train": (base(more="train { fit { a = 1 } }"), [("NN201", "fit")]),
    "section": (base(more="trian { }"), [("NN201", "trian")]),
    "misspelt section that is needed": (base("model {", "modle {"), [("NN201", "modle")]),
    "section in a model": (base(LAYER, "residul { }\n"), [("NN201", "residul")]),
    "section of a model at the top": (base(more="residual { ReLU }"), [("NN201", "residual")]),
    "layer": (base(LAYER, "Foo(3)\n"), [("NN201", "Foo")]),
    "layer of an override": (base(more="model.h1.out_features = 3"), [("NN201", "model.h1.out_features")]),
    "data source": (base("Digits", "MNIST or Digts"), [("NN201", "Digts")]),
    "data's fact": (base("16", "data.feature"), [("NN201", "feature")]),
    "metric": (base(more="metrics = [acc]"), [("NN201", "acc")]),
    "model": (base(more="model = wide"), [("NN201", "wide")]),
    "let": (base("16", "widht", more="let width = 3"), [("NN201", "widht")]),
    "initializer": (base("16", "16, init=he"), [("NN201", "he")]),
    "function": (base("0.1", "cosin(1)"), [("NN201", "cosin")]),
    "figure in a function": (base(more="expect { max(params, 3) > 1 }"), [("NN201", "params")]),
    "lane": (base(more="race { Adm }"), [("NN201", "Adm")]),
    "argument of a layer": (base("16", "16, bais=true"), [("NN202", "bais")]),
    "argument that is needed, misspelt": (base("16", "out_featurs=16"), [("NN202", "out_featurs")]),
    "argument of an override": (base(more="optimizer.momentun = 0.5"), [("NN202", "optimizer.momentun")]),
    "named argument of a function": (base("0.1", "sqrt(x=1)"), [("NN202", "x=1")]),
}

PLACES: dict[str, Case] = {
    "element at the top": (base(more="Linear(3)"), [("NN203", "Linear(3)")]),
    "statement at the top": (base(more="loss < 3"), [("NN203", "loss < 3")]),
    "setting in a model": (base(LAYER, "epochs = 3\n"), [("NN203", "epochs = 3")]),
    "let in a model": (base(LAYER, "let w = 3\n"), [("NN203", "let w = 3")]),
    "import in a model": (base(LAYER, 'import "a"\n'), [("NN203", 'import "a"')]),
    "title of a model": (base("model {", 'model "a" {'), [("NN203", '"a"')]),
    "label of a section": (base("model {", "h: model {"), [("NN203", "h")]),
    "name of train": (base(more="train t { }"), [("NN203", "t")]),
    "name of a race": (base(more="race r { SGD }"), [("NN203", "r")]),
    "layer in train": (base(more="train { ReLU }"), [("NN203", "ReLU")]),
    "colon for =": (base(more="train { epochs: 3 }"), [("NN203", "epochs: 3")]),
    "let in train": (base(more="train { let a = 3 }"), [("NN203", "let a = 3")]),
    "empty section in a lane": (base(more="race { a { optimizer { } } }"), [("NN203", "optimizer")]),
    "setting between lanes": (base(more="race { SGD; epochs = 3 }"), [("NN203", "epochs = 3")]),
    "let between lanes": (base(more="race { SGD; let a = 3 }"), [("NN203", "let a = 3")]),
    "setting in expect": (base(more="expect { loss = 3 }"), [("NN203", "loss = 3")]),
    "label in expect": (base(more="expect { a: loss < 3 }"), [("NN203", "a: loss < 3")]),
    "argument of no layer": (base(more="model.Linear1 = 3"), [("NN203", "model.Linear1")]),
    "the data, in itself": (base("Digits", "Digits(data.size)"), [("NN203", "size")]),
    "argument that no lane keeps": (base(more="optimizer.lr = 1\nrace { SGD; Adam }"), [("NN203", "optimizer.lr")]),
    "setting": (base(more="seed = 1\nseed = 2"), [("NN204", "seed")]),
    "setting, in two ways": (base(more="train.batch = 1\ntrain { batch = 2 }"), [("NN204", "batch")]),
    "let": (base(more="let a = 1\nlet a = 2"), [("NN204", "a")]),
    "argument": (base("lr=0.1", "lr=0.1, lr=0.2"), [("NN204", "lr")]),
    "label": (base(LAYER, "a: ReLU; a: Tanh\n"), [("NN204", "a")]),
    "label and number": (base(LAYER, "Linear1: ReLU\n"), [("NN204", "Linear1")]),
    "section": (base(more="train { }\ntrain { }"), [("NN204", "train")]),
    "nameless model": (base(more="model { Linear(10) }"), [("NN204", "model")]),
    "lane": (base(more="race { SGD; SGD }"), [("NN204", "SGD")]),
    "optimizer of a lane": (base(more="race { a { SGD; Adam } }"), [("NN204", "Adam")]),
    "optimizer of a lane, as a setting": (base(more="race { a { SGD; optimizer = Adam } }"), [("NN204", "optimizer")]),
    "metric": (base(more="metrics = [accuracy, accuracy]"), [("NN204", "accuracy")]),
    "everything": (
        "seed = 1\n",
        [("NN205", "seed")] * 4,
    ),
    "layers": ("data = Digits; loss = MSE; optimizer = SGD; model { }", [("NN205", "model")]),
    "anything to train": (base("    Linear(16)\n    ReLU\n    Linear(10)\n", "ReLU\n"), [("NN205", "ReLU")]),
    "argument needed": (base("(16)", "()"), [("NN205", "Linear")]),
    "lanes": (base(more="race { }"), [("NN205", "race")]),
    "has several models": (TWO_MODELS, [("NN205", "data")]),
    "loss in every lane, once": (
        base("loss = CrossEntropy\n", "", more="race { SGD; Adam }"),
        [("NN205", "data")],
    ),
    "loss in one lane": (base("loss = CrossEntropy\n", "", more="race { MSE; Adam }"), [("NN205", "Adam")]),
    "let with a setting's name": (base(more="let seed = 1"), [("NN206", "seed")]),
    "let with a function's name": (base(more="let max = 1"), [("NN206", "max")]),
    "let with a part's name": (base(more="let Linear = 1"), [("NN206", "Linear")]),
    "circle": (base(more="let a = b\nlet b = 2 * a"), [("NN207", "a")]),
    "circle of one": (base(more="let a = a"), [("NN207", "a")]),
    "import of no file": (base(more='import "nowhere.nn"'), [("NN209", '"nowhere.nn"')]),
    "import of itself": (base(more='import "x.nn"'), [("NN210", '"x.nn"')]),
}

VALUES: dict[str, Case] = {
    "string for a count": (base("16", '"16"'), [("NN301", '"16"')]),
    "fraction for a count": (base("16", "64.7"), [("NN301", "64.7")]),
    "truth for a count": (base("16", "true"), [("NN301", "true")]),
    "number for a truth": (base(more="train { shuffle = 1 }"), [("NN301", "1")]),
    "one number for two": (base("SGD(lr=0.1)", "Adam(betas=0.9)"), [("NN301", "0.9")]),
    "number for an initializer": (base("16", "16, init=3"), [("NN301", "3")]),
    "dtype": (base(more="dtype = float16"), [("NN301", "float16")]),
    "seed": (base(more="seed = 1.5"), [("NN301", "1.5")]),
    "sum with a string": (base("0.1", "'a' + 1"), [("NN301", "'a'")]),
    "or of numbers": (base("0.1", "1 or 2"), [("NN301", "1"), ("NN301", "2")]),
    "not of a number": (base("0.1", "not 3"), [("NN301", "3")]),
    "statement about truth": (base(more="expect { loss < true }"), [("NN301", "true")]),
    "statement about a layer": (base(more="expect { params < Linear(3) }"), [("NN301", "Linear(3)")]),
    "figure joined by and": (base(more="expect { loss < 1 and accuracy }"), [("NN301", "accuracy")]),
    "not of a figure": (base(more="expect { not loss }"), [("NN301", "loss")]),
    "sum of a statement": (base(more="expect { (loss < 1) + 1 > 1 }"), [("NN301", "(loss < 1)")]),
    "target that is no number": (base(more='expect { epochs_to(loss="a") < 3 }'), [("NN301", '"a"')]),
    "negative count": (base("16", "-3"), [("NN302", "-3")]),
    "probability": (base(LAYER, "Dropout(1.5)\n"), [("NN302", "1.5")]),
    "rate of 0": (base("0.1", "0"), [("NN302", "0")]),
    "one of two": (base("SGD(lr=0.1)", "Adam(betas=(0.9, 1.0))"), [("NN302", "(0.9, 1.0)")]),
    "no epochs": (base(more="train { epochs = 0 }"), [("NN302", "0")]),
    "negative seed": (base(more="seed = -1"), [("NN302", "-1")]),
    "more than there are": (base("Digits", "MNIST(train=60_001)"), [("NN302", "60_001")]),
    "too large for a float": (base("0.1", "1e400"), [("NN302", "1e400")]),
    "nothing left of a batch": (base(more="train { batch = 5000; drop_last = true }"), [("NN302", "5000")]),
    "too many values": (base("(16)", "(1, 2, 3, 4)"), [("NN303", "3, 4")]),
    "too many values for a block": (
        base("Linear(16)", "H(16, 3)", more="block H(n) { Linear(n) }"),
        [("NN303", "3")],
    ),
    "values for none": (base("ReLU", "ReLU(3)"), [("NN303", "3")]),
    "function without arguments": (base("0.1", "sqrt"), [("NN303", "sqrt")]),
    "function with too many": (base("0.1", "sqrt(1, 2)"), [("NN303", "sqrt(1, 2)")]),
    "division by zero": (base("0.1", "1 / 0"), [("NN304", "1 / 0")]),
    "root of a negative": (base("0.1", "sqrt(-1)"), [("NN304", "sqrt(-1)")]),
    "root as a power": (base("0.1", "(-1) ** 0.5"), [("NN304", "(-1) ** 0.5")]),
    "infinite": (base("0.1", "1e308 * 10"), [("NN304", "1e308 * 10")]),
    "tower of powers": (base("16", "10**10**10"), [("NN304", "10**10**10")]),
    "long range": (base("0.1", "max(range(10**9))"), [("NN304", "range(10**9)")]),
    "constant of a statement": (base(more="expect { loss < 1 / 0 }"), [("NN304", "1 / 0")]),
    "optimizer among layers": (base("ReLU", "Adam"), [("NN305", "Adam")]),
    "number among layers": (base("ReLU", "3"), [("NN305", "3")]),
    "or of optimizers": (base("SGD(lr=0.1)", "SGD or Adam"), [("NN305", "SGD or Adam")]),
    "loss as optimizer": (base("SGD(lr=0.1)", "MSE"), [("NN305", "MSE")]),
    "layer as lane": (base(more="race { ReLU; SGD }"), [("NN305", "ReLU")]),
    "loss as rate": (base("0.1", "MSE"), [("NN305", "MSE")]),
    "let as layer": (base("ReLU", "w", more="let w = 3"), [("NN305", "w")]),
    "call of a let": (base("0.1", "w(3)", more="let w = 3"), [("NN305", "w")]),
}

SHAPES: dict[str, Case] = {
    "in_features": (base("Linear(10)", "Linear(64, 10)"), [("NN401", "64")]),
    "each by itself": (
        base("Linear(16)\n    ReLU\n", "Linear(7, 16)\n    Linear(8, 9)\n"),
        [("NN401", "7"), ("NN401", "8")],
    ),
    "in_features by name": (base("(10)", "(10, in_features=64)"), [("NN401", "64")]),
    "outputs": (base("Linear(10)", "Linear(9)"), [("NN402", "Linear(9)")]),
    "outputs of MSE": (base("CrossEntropy", "MSE").replace("(10)", "(11)"), [("NN402", "Linear(11)")]),
    "alternatives": (base("Digits", "Digits or Small"), [("NN501", "Small")]),
    "data file": (base("= Digits", '= Text("none.txt")'), [("NN502", '"none.txt"')]),
    "validation": (base(more="train.validation = given"), [("NN517", "given")]),
    "too wide": (base("Linear(16)", "Linear(10**9)"), [("NN603", "Linear(10**9)")]),
}

STATEMENTS: dict[str, Case] = {
    "by zero": (base(more="expect { params / 0 < 1 }"), [("NN605", "0")]),
    "itself": (base(more="expect { params < params }"), [("NN606", "params < params")]),
    "is not a statement": (base(more="expect { loss }"), [("NN602", "loss")]),
    "no figure": (base(more="expect { 3 < 4 }"), [("NN602", "3 < 4")]),
    "figure": (base(more="expect { los < 4 }"), [("NN602", "los")]),
    "lane": (base(more="expect { Adam.loss < 1 }"), [("NN602", "Adam")]),
    "figure of a lane": (base(more="expect { run.los < 1 }"), [("NN602", "los")]),
    "epochs_to what": (base(more="expect { epochs_to < 3 }"), [("NN602", "epochs_to")]),
    "epochs_to, unnamed": (base(more="expect { epochs_to(0.1) < 3 }"), [("NN602", "epochs_to(0.1)")]),
    "call of a figure": (base(more="expect { loss(3) < 3 }"), [("NN602", "loss(3)")]),
    "not measured": (base(more="metrics = []\nexpect { accuracy > 0 }"), [("NN602", "accuracy")]),
    "percent": (base(more="expect { test_accuracy > 90 }"), [("NN604", "90")]),
    "less than nothing": (base(more="expect { -0.5 < run.accuracy }"), [("NN604", "-0.5")]),
}

PROOFS: dict[str, Case] = {
    "params": (base(more="expect { params < 10 }"), [("NN601", "params < 10")]),
    "flops and memory": (base(more="expect { flops > 1e9 or memory < 1 }"), [("NN601", "flops > 1e9 or memory < 1")]),
    "no result": (base(more="expect { params / (flops - flops) != 1 }"), [("NN601", "params / (flops - flops) != 1")]),
    "memory": (base("Digits", "Digits(train=10**10)"), [("NN603", "Linear(16)")]),
}

ADVICE: dict[str, Case] = {
    "outputs": (base("Linear(10)", "Linear(11)"), [("NN701", "Linear(11)")]),
    "logits": (base("    Linear(10)\n", "    Linear(10)\n    Sigmoid\n"), [("NN702", "Sigmoid")]),
    "linear twice": (base(LAYER, ""), [("NN703", "Linear(10)")]),
    "start": (base("ReLU", "Tanh"), [("NN704", "Linear(16)")]),
    "dropout": (base("    Linear(10)\n", "    Linear(10)\n    Dropout\n"), [("NN705", "Dropout")]),
    "rate": (base("0.1", "30"), [("NN706", "30")]),
    "batch": (base(more="train.batch = 5000"), [("NN707", "5000")]),
    "seed": (base(more="expect { loss < 9 }"), [("NN708", "loss < 9")]),
    "batches": (base("SGD(lr=0.1)", "LBFGS"), [("NN722", "LBFGS")]),
    "stopping": (base(more="train.early_stop = patience(3, of=test_loss)"), [("NN709", "patience(3, of=test_loss)")]),
    "step": (base("0.1", "step(0.1, every=10)"), [("NN716", "step(0.1, every=10)")]),
    "patience": (base(more="train.early_stop = patience(9, of=loss)"), [("NN717", "patience(9, of=loss)")]),
    "unused": (base(more="let a = 1"), [("NN710", "a")]),
    "loss tuned by itself": (
        base(more="train.validation = 0.2\ntune { budget = 2; loss.label_smoothing = [0, 0.3] }"),
        [("NN739", "[0, 0.3]")],
    ),
    "swept in vain": (base(more="let a = 1\nlet b = a\nsweep { a = [2, 3] }"), [("NN710", "b"), ("NN730", "a")]),
    "bias": (base("ReLU", "BatchNorm\n    ReLU"), [("NN713", "Linear(16)")]),
    "logarithms": (base("CrossEntropy", "NLL"), [("NN712", "Linear(10)")]),
    "ignored, and not there": (base(more="seed = 1  # nn: ignore[NN701]"), [("NN790", "# nn: ignore[NN701]")]),
    "ignored, what cannot be": (base(more="seed = 1  # nn: ignore[NN201]"), [("NN791", "NN201")]),
}

TABLES = {
    "syntax": SYNTAX, "names": NAMES, "places": PLACES, "values": VALUES, "shapes": SHAPES,
    "statements": STATEMENTS,
}  # fmt: skip
CASES = {f"{table}: {name}": case for table, cases in TABLES.items() for name, case in cases.items()}


@pytest.fixture(autouse=True)
def small() -> Iterator[None]:
    """A data source of another shape than the others."""

    class Small(DataSource):
        spec_name = "Small"

        def facts(self) -> Facts:
            return Facts(shape=(8, 8), classes=10, train=100, test=10)

    yield
    del PARTS["data source"]["Small"]


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_each_rule_is_reported_at_its_own_characters_and_nothing_else(
    text: str, expected: list[tuple[str, str]]
) -> None:
    assert find(text) == expected


@pytest.mark.parametrize(("text", "expected"), PROOFS.values(), ids=PROOFS.keys())
def test_what_can_be_proved_is_judged_by_check(text: str, expected: list[tuple[str, str]], tmp_path: Path) -> None:
    spec = tmp_path / "x.nn"
    spec.write_text(text, encoding="utf-8")
    assert find(text) == []
    assert [(d.code, d.span.text) for d in api.check(spec).diagnostics] == expected


@pytest.mark.parametrize(("text", "expected"), ADVICE.values(), ids=ADVICE.keys())
def test_advice_is_given_at_its_own_characters_and_a_program_all_the_same(
    text: str, expected: list[tuple[str, str]]
) -> None:
    found = everything(text)
    assert [(d.code, d.span.text) for d in found] == expected
    assert {d.severity for d in found} == {"warning"}


def test_every_code_is_triggered_by_a_case() -> None:
    tables = (*TABLES.values(), PROOFS, ADVICE)
    triggered = {code for table in tables for _, expected in table.values() for code, _ in expected}
    checked = checker.check(Source("x.nn", "block H(n) { Linear(n) }\n"))  # no error, and no program
    assert checked.program is None
    triggered |= {d.code for d in checked.diagnostics}
    # Others take files, sweeps or texts, and have cases beside what they are about.
    others = [path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py") if path.name not in GENERAL]
    missing = {code for code in CODES if not code.startswith("NN9")} - triggered
    assert {code for code in missing if not any(f'"{code}"' in text for text in others)} == set()


GENERAL = {"test_checker.py", "test_explain.py"}
"""Tests that name codes without a case of their own."""


def test_the_base_of_the_cases_has_no_findings() -> None:
    assert find(BASE) == []


def test_all_mistakes_of_a_file_are_reported_in_one_go_and_in_order() -> None:
    text = """\
sede = 1
data = Digits(train=0)
model {
    Linear(16
    Dropot(0.5)
    Linear(10, bias=3)
}
loss = CrossEntropy
optimizer = SGD(rate=0.1)
train { epochs = "x"; validation = 2 }
expect { accurcy > 0.5 }
"""
    assert find(text) == [
        ("NN201", "sede"),
        ("NN302", "0"),
        ("NN102", "("),
        ("NN201", "Dropot"),
        ("NN301", "3"),
        ("NN202", "rate"),
        ("NN301", '"x"'),
        ("NN302", "2"),
        ("NN602", "accurcy"),
    ]


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        (base("ReLU", "Dense(3)"), "Linear"),
        (base("ReLU", "relu"), "ReLU"),
        (base("ReLU", "Droput"), "Dropout"),
        (base("lr=", "learning_rate="), "lr"),
        (base("lr=", "Lr="), "lr"),
        (base("SGD(", "adam("), "Adam"),
        (base("CrossEntropy", "CrossEntropyLoss"), "CrossEntropy"),
        (base("CrossEntropy", "MeanSquaredError"), "MSE"),
        (base("Digits", "digits"), "Digits"),
        (base(more="criterion = MSE"), "loss"),
        (base(more="dataset = Digits"), "data"),
        (base(more="optimiser = SGD"), "optimizer"),
        (base(more="random_state = 1"), "seed"),
        (base(more="training { }"), "train"),
        (base(more="train { batch_size = 3 }"), "batch"),
        (base(more="train { batchsize = 3 }"), "batch"),
        (base(more="train { num_epochs = 3 }"), "epochs"),
        (base(more="train { shufle = true }"), "shuffle"),
        (base(more="metrics = [acc]"), "accuracy"),
        (base(more="dtype = flaot32"), "float32"),
        (base("16", "data.featurs"), "features"),
        (base("16", "widht", more="let width = 3"), "width"),
        (base("0.1", "sqr(4)"), "sqrt"),
        (base(more="model.Linar1.bias = true"), "Linear1"),
        (TWO_MODELS + "model = smal", "small"),
        (base(more="race { Adma }"), "Adam"),
        (base(more="expect { test_acuracy > 0 }"), "test_accuracy"),
        (base(more="expect { rn.loss < 1 }"), "run"),
    ],
)
def test_a_name_that_is_clearly_meant_is_suggested(text: str, suggestion: str) -> None:
    assert only(text).help == f"did you mean `{suggestion}`?"


@pytest.mark.parametrize(
    ("text", "help"),
    [
        (base(more="epochs = 3"), "`epochs` belongs in `train`: `train.epochs = …`"),
        (base(more="batch_size = 3"), "`batch` belongs in `train`: `train.batch = …`"),
        (base(more="learning_rate = 3"), "`lr` belongs to the optimizer: `optimizer.lr = …`"),
        (base(more="train { lr = 3 }"), "`lr` belongs to the optimizer: `optimizer.lr = …`"),
        (base(more="train { momentum = 3 }"), "`momentum` belongs to the optimizer: `optimizer.momentum = …`"),
        (base(more="train { loss = MSE }"), "`loss` belongs at top level"),
        (base(LAYER, "epochs = 3\n"), "`epochs` belongs in `train`"),
        (base(LAYER, "seed = 3\n"), "`seed` belongs at top level"),
        (base(more="Linear(3)"), "layers belong in `model { … }`"),
        (base(more="Adam"), "write `optimizer = Adam`, or put it in `race { … }`"),
        (base(more="seed: 3"), "write `seed = 3`"),
        (base(more="seed.x = 3"), "`seed` is a single value"),
        (base("16", "16.0"), "write 16"),
        (base("Linear(10)", "Linear(64, 10)"), "`Linear(10)` accepts any input size"),
        (base("Linear(10)", "Linear(9)"), "end the model with `Linear(10)`"),
    ],
)
def test_a_mistake_that_is_understood_gets_its_remedy(text: str, help: str) -> None:
    assert only(text).help == help


@pytest.mark.parametrize("word", ["Foo", "Transformer", "Xy", "e"])
def test_nothing_is_suggested_where_nothing_is_near(word: str) -> None:
    assert "did you mean" not in only(base("ReLU", word)).help


def test_a_letter_is_not_a_misspelling_of_another() -> None:
    assert only(base("16", "y", more="let x = 3")).help == ""


def test_a_shape_error_shows_the_chain_up_to_where_it_breaks() -> None:
    found = only(RACE.replace("Linear(32, 10)", "Linear(64, 10)"))
    assert found.message == "this Linear expects 64 features but got 32"
    assert found.remarks == ("shapes: 784 → Linear 64 → ReLU 64 → Linear 32 → ReLU 32 → Linear ✗",)
    assert [(note.span.text, note.text) for note in found.notes] == [("32", "32 features from here")]


def test_a_long_chain_of_shapes_is_cut_in_the_middle() -> None:
    found = only(base(LAYER, "ReLU\n" * 50 + "Linear(7, 10)\n"))
    assert found.remarks[0].count("→") < 15
    assert "…" in found.remarks[0]


def test_nothing_is_ignored_each_word_of_the_race_misspelt_is_reported() -> None:
    code = re.sub(r'#[^\n]*|"[^"\n]*"', lambda comment: " " * len(comment[0]), RACE)
    words = [match for match in re.finditer(r"[A-Za-z_]\w*", code) if match[0] != "e"]
    assert len(words) > 30
    for word in words:
        for wrong in (word[0] + "q", "q" + word[0], word[0][:-1] + "q"):
            text = RACE[: word.start()] + wrong + RACE[word.end() :]
            assert diagnose(text), f"{wrong} for {word[0]} at {word.start()}"


EVERYTHING = """\
let width = 32
let act = Tanh
let rates = [0.01, 0.02]
let opt = Momentum(lr=0.05, momentum=0.8)
data = MNIST(train=200, test=50) or Digits(train=200, test=50, seed=3)
data.train = 100
seed = 3
dtype = float64
metrics = [accuracy]
block Hidden(units, fn=ReLU, drop=0.1) { Linear(units, bias=true, init=xavier_normal); fn; Dropout(drop) }
block Deep(size, times=2) { Hidden(size, fn=act) * times }
model small { Linear(width); ReLU; Linear(data.classes) }
model big {
    h: Hidden(width, drop=0.2) * 2
    Deep(width // 2)
    residual { Linear(16); act; shortcut { Linear(16) } }
    Flatten
    Linear(max(10, data.classes), init=he_normal)
}
model = small
loss = CrossEntropy
optimizer = SGD(lr=0.1)
train {
    epochs = 5; batch = 16; shuffle = true; drop_last = false; repeats = 2
    validation = 0.2; early_stop = patience(3, of=val_loss, min_delta=0.01)
    clip_norm = 1.0; clip_value = 2.0
}
race "All of it" {
    SGD(lr=0.2)
    fast: Adam(lr=cosine(0.01, to=0.001, warmup=1), betas=(0.9, 0.99))
    wide { model = big; model.h.units = 24; model.h2.Linear1.out_features = 20; train.batch = 8; width = 40 }
    named { optimizer = opt }
    other { MSE; Adam; dtype = float32 }
}
sweep { seed = range(1, len(rates)); train { epochs = [3] } }
expect {
    big.params < 1e6 and flops < 1e7 * width
    gradient_error < 1e-5
    fast.loss < SGD.loss and test_accuracy > 0.1
    wide.epochs_to(loss=0.5) < 9 or val_accuracy > 0.1 or memory < 1e9
    named.loss < other.loss
}
"""


def test_nothing_is_ignored_each_word_of_everything_misspelt_is_reported() -> None:
    assert find(EVERYTHING) == []
    code = re.sub(r'#[^\n]*|"[^"\n]*"', lambda comment: " " * len(comment[0]), EVERYTHING)
    words = [match for match in re.finditer(r"[A-Za-z_]\w*", code) if not re.fullmatch(r"e\d?", match[0])]
    assert len(words) > 150
    for word in words:
        text = EVERYTHING[: word.end()] + "q" + EVERYTHING[word.end() :]
        assert diagnose(text), f"{word[0]}q at {word.start()}"


ONE_FAULT = {
    "section of a model, misspelt": (TWO_MODELS.replace("model small", "modle small") + "model = small", "modle"),
    "section of train, misspelt": (base(more="trian { validation = 0.1 }\nexpect { val_loss < 3 }"), "trian"),
    "validation, misspelt": (
        base(more="train { validaton = 0.1; early_stop = patience(3) }\nexpect { val_loss < 3 }"),
        "validaton",
    ),
    "model in a lane, misspelt": (
        TWO_MODELS + "model = small\nrace { a { modle = big; model.Linear2.bias = false }; SGD }",
        "modle",
    ),
    "figure of an argument, misspelt": (base(more="train.early_stop = patience(3, off=loss)"), "off"),
    "argument that no alternative has": (base("Digits", "MNIST or Digits", more="data.trian = 3"), "data.trian"),
}


@pytest.mark.parametrize(("text", "pointed"), ONE_FAULT.values(), ids=ONE_FAULT.keys())
def test_one_fault_is_one_message(text: str, pointed: str) -> None:
    assert only(text).span.text == pointed


@pytest.mark.parametrize(
    ("text", "pointed"),
    [
        (base("0.1", "widht", more="let width = 3\noptimizer.lr = 0.2\ntrain.batch = width"), "widht"),
        (base("0.1", "-1", more="optimizer.lr = 0.2"), "-1"),
        (base("Linear(16)", "h: Linear(widht)", more="model.h.out_features = 3"), "widht"),
        (base("Linear(16)", "h: A(widht)", more="block A(n) { Linear(n) }\nmodel.h.n = 3"), "widht"),
    ],
)
def test_what_is_replaced_is_looked_at_too(text: str, pointed: str) -> None:
    assert only(text).span.text == pointed


@pytest.mark.parametrize(
    ("call", "pointed"), [("SGD(0.1, lr=0.2)", "lr"), ("Momentum(0.1, 0.9, momentum=0.5)", "momentum")]
)
def test_a_place_and_a_name_for_one_argument_are_one_too_many(call: str, pointed: str) -> None:
    found = only(base("SGD(lr=0.1)", call))
    assert (found.code, found.span.text) == ("NN204", pointed)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("round(5, -10**9)", "cannot evaluate `round`: digits are an integer from -400 to 400"),
        ("range(10**30)", "cannot evaluate `range`: a list has at most 10,000 items"),
        ("linspace(0, 1, 10**9)", "cannot evaluate `linspace`: a list has 1 to 10,000 items, not 1000000000"),
        ("sqrt(-1)", "cannot evaluate `sqrt`: it is undefined there"),
        ("max([])", "cannot evaluate `max`: it is undefined there"),
        ("exp(10**6)", "cannot evaluate `exp`: the result is too large"),
        ("2.0 ** 10 ** 5", "cannot evaluate this: the result is too large"),
        ("10 ** 400 / 3.0", "cannot evaluate this: the result is too large"),
        ("0.0 ** -1", "cannot evaluate this: division by zero"),
        ("(10 ** 1000) ** 9", "cannot evaluate this: about 10 to the 1000 ** 9 is too large"),
        ("7 % 0", "cannot evaluate this: division by zero"),
    ],
)
def test_errors_in_expressions_do_not_quote_python(expression: str, message: str) -> None:
    found = only(base(more=f"let a = {expression}"))
    assert (found.code, found.message) == ("NN304", message)


@pytest.mark.parametrize(
    "inner",
    [
        "Linear(" + " + ".join(["1"] * 140) + ")",
        "Linear(" + "abs(" * 60 + "1" + ")" * 60 + ")",
        "Linear(3, init=" + "Linear(3, init=" * 30 + "zeros" + ")" * 30 + ")",
        "Linear(3, bias=" + "not " * 140 + "true)",
        "Linear(3, bias=" + " or ".join(["true"] * 140) + ")",
    ],
)
def test_the_deepest_that_is_allowed_does_not_exhaust_the_stack(inner: str) -> None:
    blocks = "".join(f"block A{i} {{ A{i + 1} }}\n" for i in range(48)) + f"block A48 {{ {inner} }}\n"
    text = base("ReLU", "A0", more=blocks)

    def below(frames: int) -> None:
        if frames:
            below(frames - 1)
        else:
            diagnose(text)

    below(150)
