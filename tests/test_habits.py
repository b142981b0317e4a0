"""What people write who come from elsewhere: one message each, and the fix that is offered makes a spec of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from findings import BASE, base, diagnose, everything, find, only

from nnspec.checker import check
from nnspec.checker.vocabulary import FIGURES_ELSEWHERE, LITERALS, NOT_NEEDED, SECTIONS, SETTINGS, TRAIN, figures, parts
from nnspec.diagnostics import Source
from nnspec.diagnostics.fixes import apply
from nnspec.syntax import parse
from nnspec.syntax.habits import FOREIGN

FIXED = {
    "commas on a line": (base(more="train { epochs = 3, batch = 4, }"), "train { epochs = 3; batch = 4 }"),
    "commas at line ends": (
        base("    Linear(16)\n    ReLU\n", "    Linear(16),\n    ReLU,\n"),
        "Linear(16)\n    ReLU\n",
    ),
    "a comma in a number": (base("SGD(lr=0.1)", "SGD(lr=0.1)\nexpect { params < 1,000,000 }"), "params < 1_000_000"),
    "a comma in an argument": (base("= Digits", "= MNIST(train=60,000)"), "train=60_000"),
    "curly quotes": (base(more="race “a b” {\n    SGD(lr=0.1)\n}"), 'race "a b" {'),
    "single curly quotes": (base(more="race ‘a’ {\n    SGD(lr=0.1)\n}"), 'race "a" {'),
    "a colon behind a dotted name": (base(more="optimizer.lr: 0.5"), "optimizer.lr = 0.5"),
    "a colon in a call": (base("lr=0.1", "lr: 0.1"), "SGD(lr= 0.1)"),
    "a colon at the top": (base(more="seed: 3"), "seed = 3"),
    "a section with =": (base(more="train = { epochs = 3 }"), "train  { epochs = 3 }"),
    "a section with :": (base("model {", "model: {"), "model {"),
    ":=": (base(more="seed := 3"), "seed = 3"),
    "a module": (base("    Linear(16)", "    nn.Linear(16)"), "    Linear(16)"),
    "two modules": (base("= SGD", "= torch.optim.SGD"), "= SGD"),
    "another framework's name behind a module": (base("    Linear(16)", "    layers.Dense(16)"), "    Linear(16)"),
    "a loss as a string": (base("CrossEntropy", '"CrossEntropy"'), "= CrossEntropy"),
    "an optimizer as a string": (base("SGD(lr=0.1)", '"adam"'), "= Adam"),
    "a metric as a string": (base(more='metrics = ["accuracy"]'), "[accuracy]"),
    "an initializer as a string": (base("16", '16, init="he_normal"'), "init=he_normal"),
    "a number as a string": (base(more='seed = "42"'), "seed = 42"),
    "a rate as a string": (base("0.1", '"0.1"'), "lr=0.1"),
    "True": (base(more="train.shuffle = True"), "= true"),
    "None": (base(more="train.clip_norm = None"), "= none"),
    "a division": (base("Linear(16)", "Linear(width / 2)", more="let width = 32"), "width // 2"),
    "in and out": (base("Linear(16)", "Linear(in=784, out=16)"), "Linear(in_features=784, out_features=16)"),
    "a figure": (base(more="seed = 1\nexpect { test_acc > 0 }"), "test_accuracy > 0"),
}


@pytest.mark.parametrize(("text", "part"), FIXED.values(), ids=FIXED.keys())
def test_the_safe_fix_makes_a_spec_without_findings(text: str, part: str) -> None:
    source = Source("x.nn", text)
    found = check(source).diagnostics
    assert found
    assert all(d.fix is not None and d.fix.safe for d in found)
    fixed = apply(source, found)
    assert part in fixed
    assert everything(fixed) == ()


ADVISED = {
    "activation": (base("16", "16, activation=ReLU"), "activations are separate layers, such as `ReLU`"),
    "device": (base(more='device = "cuda"'), "remove it: everything is computed on the CPU"),
    "percentage": (base("    ReLU\n", "    Dropout(20)\n"), "write 20 % as 0.2"),
    "percentage of a test": (base(more="expect { accuracy > 90% }"), "write 0.9"),
    "list of optimizers": (
        base("SGD(lr=0.1)", "[SGD, Adam]"),
        "to compare them, use a race: `race { SGD; Adam }`",
    ),
    "list of layers": (base("    ReLU\n", "    [ReLU, ReLU]\n"), "write one layer per line, without brackets"),
    "layer in lower case": (base("    Linear(16)", "    linear(16)"), "did you mean `Linear`?"),
    "layer in braces": (base("Linear(16)", "Linear{16}"), "write its arguments in parentheses: `Linear(…)`"),
    "layer given a name": (base("    ReLU\n", "    a = ReLU\n"), "layers are named with `:`, as in `a: ReLU`"),
    "two comparisons": (base(more="expect { 0 < loss < 1 }"), "write `0 < loss and loss < 1`"),
    "three comparisons": (base(more="expect { 0 < loss < 1 < 2 }"), "join them with `and`"),
    "setting for a statement": (base(more="expect { params = 3 }"), "to compare, write `params == 3`"),
    "lane without a race": (
        base(more="expect { Adam.loss < 1 }"),
        "this spec has no race, so its figures have no lane",
    ),
    "lane behind its figure": (
        base(more="race { SGD(lr=0.1) }\nexpect { loss.SGD < 1 }"),
        "write the lane before the figure: `SGD.loss`",
    ),
    "number for a rule": (base(more="train.early_stop = 5"), "there is `patience(…)`"),
    "colon in a section": (base(more="train { epochs: 3 }"), "write `epochs = 3`"),
    "a list of one": (base("    ReLU\n", "    ReLU\n    Reshape(16)\n"), "write a list: `[16]`"),
    "a list without brackets": (base("    ReLU\n", "    Reshape(4, 4)\n"), "write them as a list: `Reshape([4, 4])`"),
    "Keras's wrapper": (
        base("    ReLU\n", "    Bidirectional(LSTM(3))\n"),
        "it is an argument of the layer: `LSTM(32, bidirectional=true)`",
    ),
    "a function that joins": (
        base("    ReLU\n", "    h: ReLU\n    Concatenate(h)\n"),
        "it is a section: `concat { a { } b { from(h) } }`",
    ),
    "two values read at once": (
        base("    ReLU\n", "    h: ReLU\n    from(h, input)\n"),
        "to read several values, join them: `concat { a { from(h) } b { from(input) } }`",
    ),
    "an augmentation as a layer": (
        base("    ReLU\n", "    RandomCrop(4)\n    ReLU\n"),
        "it is an augmentation: `train.augment = [crop(…)]`",
    ),
    "folds": (base(more="train.validation = 5\n"), "write 5 % as 0.05, or `folds(5)` for cross-validation"),
    "a plural in quotes": (
        base("16", '16, init=he_normal(mode="fan_ins")'),
        "did you mean `fan_in`?",
    ),
    "iterations of Caffe": (
        base(more="train.max_iter = 5\n"),
        "`train.epochs` counts passes over the data, and `train.steps` batches, as Caffe's `max_iter`",
    ),
    "no optimizer by another's name": (base("SGD(lr=0.1)", "Adafactor"), None),
    "Nesterov's momentum": (base("SGD(lr=0.1)", "SGD(nesterov=true)"), "`Nesterov` is a separate optimizer"),
    "AMSGrad": (base("SGD(lr=0.1)", "Adam(amsgrad=true)"), "`AMSGrad` is a separate optimizer"),
    "decay in train": (
        base(more="train.weight_decay = 0.1"),
        "`weight_decay` belongs to the optimizer: `optimizer.weight_decay = …`",
    ),
    "a layer's regularizer": (
        base("Linear(16)", "Linear(16, kernel_regularizer=L2(0.1))"),
        "a penalty applies to the weights of all layers: `train.penalty = L2(1e-4)`",
    ),
    "a scheduler of PyTorch's": (base("lr=0.1", "lr=ReduceLROnPlateau(0.1)"), "did you mean `plateau`?"),
    "an initializer of Keras's": (base("16", "16, init=LecunNormal"), "did you mean `lecun_normal`?"),
    "a constant": (base("16", "16, init=constant(0.1)"), "did you mean `fill`?"),
    "layer in a call": (base("ReLU", "Sequential(ReLU)"), "remove it: write the layers of a model one below the other"),
}


@pytest.mark.parametrize(("text", "help"), ADVISED.values(), ids=ADVISED.keys())
def test_the_intended_syntax_is_suggested(text: str, help: str | None) -> None:
    found = only(text)
    if help is None:
        assert "did you mean" not in found.help
    else:
        assert found.help == help


@pytest.mark.parametrize("word", FOREIGN)
@pytest.mark.parametrize("line", ["{word} x {{\n}}\n", "{word} x in y:\n", "{word} {{\n}}\n"])
def test_a_statement_of_another_language_is_one_message(word: str, line: str) -> None:
    (found,) = diagnose(BASE + line.format(word=word))
    assert (found.code, found.span.text) == ("NN101", word)
    assert found.message == f"unexpected `{word}`: {FOREIGN[word][0]}"
    assert [d.code for d in diagnose(base("    ReLU\n", f"    {word} x {{\n    }}\n"))] == ["NN101"]


@pytest.mark.parametrize("word", sorted({*FOREIGN} - {"from"}))
def test_words_of_other_languages_may_be_names(word: str) -> None:
    assert find(base("16", word, more=f"let {word} = 3\n")) == []


def test_what_is_called_otherwise_elsewhere_has_no_meaning_here() -> None:
    mine = {*parts(), *SETTINGS, *SECTIONS, *(a.name for a in TRAIN), *figures()}
    assert {*NOT_NEEDED, *LITERALS, *FIGURES_ELSEWHERE, *FOREIGN} & mine <= {
        "from"
    }  # `from(NAME)` is a layer, `from x` is no statement
    assert {*FIGURES_ELSEWHERE.values()} <= {*figures()}
    assert {*LITERALS.values()} == {"true", "false", "none"}


def test_another_frameworks_layer_has_its_arguments_looked_at_too() -> None:
    assert find(base("    ReLU\n", '    Dense(16, activation="relu", bais=true)\n')) == [
        ("NN201", "Dense"),
        ("NN202", "activation"),
        ("NN202", "bais"),
    ]


def test_nothing_is_reported_that_a_missing_import_may_contain(tmp_path: Path) -> None:
    text = """\
import "comon.nn"
model { Hidden(width); Droput(0.2); Linear(10) }
race { SGD; Adma }
decay = 3
expect { quality > 3 }
"""
    source = Source("x.nn", text, tmp_path)
    found = [(d.code, d.span.text) for d in check(source).diagnostics]
    assert found == [("NN209", '"comon.nn"'), ("NN201", "Droput"), ("NN201", "Adma")]


def test_nothing_is_reported_as_missing_in_a_file_that_is_too_large() -> None:
    assert [d.code for d in diagnose("seed = 1\n" + ";" * 100_001)] == ["NN107"]


def test_a_reserved_name_is_one_message() -> None:
    assert find(base("16", "16 * epochs", more="let epochs = 2\n")) == [("NN206", "epochs")]


@pytest.mark.parametrize(
    "text",
    ["x = f(784,128)\n", "x = [1,200]\n", "x = f(1, 000)\n", "x = (1,20)\n", "x = f(10,100,1000)\n"],
)
def test_commas_between_values_are_commas(text: str) -> None:
    assert [d.code for d in parse(Source("x.nn", text)).diagnostics] == []


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("x = “a\n", ["NN101"]),
        ("x = “a” b”\n", ["NN101", "NN101"]),
        ('x = “a "b" c”\n', ["NN101"] * 2),
        ("x = “\\q”\n", ["NN101", "NN103"]),
        ("“”\n", ["NN101"]),
    ],
)
def test_unpaired_curly_quotes_are_reported_one_by_one(text: str, codes: list[str]) -> None:
    assert [d.code for d in parse(Source("x.nn", text)).diagnostics] == codes


def test_a_comma_after_an_open_bracket_does_not_end_an_item() -> None:
    assert find(base("Linear(16)", "Linear(784, 16")) == [("NN102", "(")]


def test_each_section_has_its_own_message_about_commas() -> None:
    text = base("Linear(16)\n    ReLU\n", "Linear(16),\n    ReLU,\n", more="train { epochs = 3, batch = 4 }")
    found = diagnose(text)
    assert [(d.code, d.span.text, d.label) for d in found] == [
        ("NN101", ",", "and 1 more"),
        ("NN101", ",", ""),
    ]
