"""Every fix that the checker offers, put into the text: its finding is gone, and there is none in its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from findings import base, everything
from tiny_spec import command, spec

from nnspec.checker import check
from nnspec.diagnostics import Diagnostic, Source, read_source
from nnspec.diagnostics.fixes import put_in

# name -> text, what the text becomes (where it is not as it was), whether the fix is safe
Case = tuple[str, str, str, bool]

HIDDEN = "block Hidden(units, act=ReLU) { Linear(units); act }\n"

CASES: dict[str, Case] = {
    "layer of another framework": (base("ReLU", "relu"), "relu", "ReLU", True),
    "layer in other letters": (base("ReLU", "RelU"), "RelU", "ReLU", True),
    "layer, misspelt": (base("Linear(16)", "Lineer(16)"), "Lineer", "Linear", False),
    "layer with arguments": (base("Linear(16)", "Dense(16)"), "Dense", "Linear", True),
    "loss of another framework": (base("CrossEntropy", "CrossEntropyLoss"), "CrossEntropyLoss", "CrossEntropy", True),
    "optimizer, misspelt": (base("SGD(", "SDG("), "SDG", "SGD", False),
    "data source, misspelt": (base("Digits", "Digts"), "Digts", "Digits", False),
    "data source among others": (base("Digits", "Digits or MNITS"), "MNITS", "MNIST", False),
    "metric": (base(more="metrics = [acuracy]"), "acuracy", "accuracy", False),
    "argument of another framework": (base("lr=", "learning_rate="), "learning_rate", "lr", True),
    "argument, misspelt": (base("Linear(16)", "Linear(16, bais=true)"), "bais", "bias", False),
    "argument of a block": (base("Linear(16)", "Hidden(unit=16)", more=HIDDEN), "(unit=", "(units=", False),
    "argument as a setting": (base(more="optimizer.momentun = 0.5"), "momentun", "momentum", False),
    "argument as a setting, elsewhere": (base(more="optimizer.learning_rate = 0.5"), "learning_rate", "lr", True),
    "argument of a layer": (base(more="model.Linear1.biass = true"), "biass", "bias", False),
    "setting, misspelt": (base(more="sede = 1"), "sede", "seed", False),
    "setting of another framework": (base(more="random_seed = 1"), "random_seed", "seed", True),
    "setting of train, misspelt": (base(more="train { epoch = 1 }"), "epoch ", "epochs ", False),
    "setting of train, elsewhere": (base(more="train { batch_size = 1 }"), "batch_size", "batch", True),
    "setting of train at the top": (base(more="epochs = 3"), "epochs", "train.epochs", True),
    "setting of train at the top, elsewhere": (base(more="batch_size = 3"), "batch_size", "train.batch", True),
    "setting of train in a lane": (base(more="race { a { epochs = 3 }; SGD }"), "epochs", "train.epochs", True),
    "setting of train in a sweep": (base(more="sweep { batch = [3, 4] }"), "batch", "train.batch", True),
    "section, misspelt": (base(more="trian { epochs = 3 }"), "trian", "train", False),
    "section, elsewhere": (base(more="training { epochs = 3 }"), "training", "train", True),
    "section of a model": (base("    ReLU\n", "    residul { ReLU }\n"), "residul", "residual", False),
    "section of a model, elsewhere": (base("    ReLU\n", "    skip { ReLU }\n"), "skip", "residual", True),
    "let, misspelt": (base("16", "widht", more="let width = 3"), "widht", "width", False),
    "block, misspelt": (base("Linear(16)", "Hiden(16)", more=HIDDEN), "Hiden", "Hidden", False),
    "parameter, misspelt": (
        base("Linear(16)", "A(16)", more="block A(units) { Linear(unit); ReLU }"),
        "(unit)",
        "(units)",
        False,
    ),
    "function, misspelt": (base("0.1", "sqr(0.01)"), "sqr", "sqrt", False),
    "schedule, misspelt": (base("0.1", "cosin(0.1)"), "cosin", "cosine", False),
    "argument of a schedule": (base("0.1", "cosine(0.1, eta_min=0.01)"), "eta_min", "to", True),
    "initializer, misspelt": (base("16", "16, init=he_norml"), "he_norml", "he_normal", False),
    "stopping rule, misspelt": (base(more="train.early_stop = pacience(3, of=loss)"), "pacience", "patience", False),
    "figure to stop by": (base(more="train.early_stop = patience(3, of=los)"), "of=los", "of=loss", False),
    "fact of the data": (base("16", "data.clases"), "clases", "classes", False),
    "dtype": (base(more="dtype = flaot32"), "flaot32", "float32", False),
    "model, misspelt": (base("model {", "model big {", more="model = bgi"), "bgi", "big", False),
    "lane, misspelt": (base(more="race { Adma; SGD }"), "Adma", "Adam", False),
    "figure, misspelt": (base(more="seed = 1\nexpect { los < 3 }"), "los <", "loss <", False),
    "figure, elsewhere": (base(more="seed = 1\nexpect { test_acc > 0 }"), "test_acc", "test_accuracy", True),
    "lane of a figure": (base(more="seed = 1\nrace { SGD; Adam }\nexpect { Adm.loss < 3 }"), "Adm.", "Adam.", False),
    "literal, elsewhere": (base("16", "16, bias=True"), "True", "true", True),
    "whole number": (base("16", "16.0"), "16.0", "16", True),
    "whole number in a use": (base("Linear(16)", "Hidden(16.0)", more=HIDDEN), "16.0", "16", True),
    "whole number in a sweep": (
        base("16", "w", more="let w = 3\nsweep { w = [3, 4.0] }"),
        "4.0",
        "4",
        True,
    ),
    "quotes": (base("16", '"16"'), '"16"', "16", True),
    "colon for =": (base(more="seed: 3"), "seed: 3", "seed = 3", True),
    "colon for = in a section": (base(more="train { epochs: 3 }"), "epochs: 3", "epochs = 3", True),
    "colon for = in a sweep": (base(more="sweep { seed: [1, 2] }"), "seed: [", "seed = [", True),
    "title of a model": (base("model {", 'model "big" {'), '"big"', "big", True),
    "NN704": (
        base("    Linear(16)\n    ReLU\n", "    Linear(16, init=he_normal)\n    Tanh\n"),
        "he_normal",
        "xavier_normal",
        False,
    ),
    "NN708": (base(more="expect { loss < 9 }"), "data = Digits\n", "seed = 0\ndata = Digits\n", True),
    "NN790": (base(more="seed = 1  # nn: ignore[NN701]\n"), "  # nn: ignore[NN701]", "", True),
    "NN790, one of two": (
        base("Linear(10)", "Linear(12)  # nn: ignore[NN701, NN703]"),
        "[NN701, NN703]",
        "[NN701]",
        True,
    ),
    "NN791": (base("Linear(10)", "Linear(12)  # nn: ignore[NNN701]"), "NNN701", "NN701", False),
}


def fixed(source: Source, found: Diagnostic) -> str:
    assert found.fix is not None
    assert found.fix.edits
    assert all(edit.span.source is source for edit in found.fix.edits)
    return put_in(source, [found.fix])


def said(text: str) -> list[tuple[str, str]]:
    return [(d.code, d.message) for d in everything(text)]


@pytest.mark.parametrize(("text", "old", "new", "safe"), CASES.values(), ids=CASES.keys())
def test_a_fix_removes_its_finding_and_adds_none(text: str, old: str, new: str, safe: bool) -> None:
    source = Source("x.nn", text)
    (found,) = [d for d in check(source).diagnostics if d.fix is not None]
    assert found.fix is not None
    assert found.fix.safe is safe
    after = fixed(source, found)
    assert text.count(old) == 1, "the case says what is replaced"
    assert after == text.replace(old, new)
    assert set(said(after)) <= set(said(text)) - {(found.code, found.message)}


def test_a_fix_in_an_imported_file_is_one_of_that_file(tmp_path: Path) -> None:
    (tmp_path / "a.nn").write_text("sede = 3\n")
    (tmp_path / "x.nn").write_text(base(more='import "a.nn"\n'))
    (found,) = check(read_source(tmp_path / "x.nn")).diagnostics
    assert fixed(found.span.source, found) == "seed = 3\n"


def test_a_fix_of_an_import_names_the_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "common.nn").write_text("seed = 3\n")
    (tmp_path / "x.nn").write_text(base(more='import "sub/comon.nn"\n'))
    source = read_source(tmp_path / "x.nn")
    (found,) = check(source).diagnostics
    (tmp_path / "x.nn").write_text(fixed(source, found))
    assert check(read_source(tmp_path / "x.nn")).diagnostics == ()


def test_a_fix_in_a_flag_is_one_of_the_flag() -> None:
    flag = Source("--set", "trian.epochs=3")
    found = [d for d in check(Source("x.nn", base()), [flag]).diagnostics if d.fix is not None]
    assert [fixed(flag, each) for each in found] == ["train.epochs=3"]


def test_no_fix_is_offered_where_the_text_does_not_hold_what_is_wrong() -> None:
    text = base("Linear(16)", "Linear(w)", more="let w = 3\nsweep { w = logspace(1, 2, 2) }")
    assert [d.fix for d in everything(text)] == [None]


def test_a_fix_is_kept_if_it_reveals_an_error_in_the_data(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,price\n1,2\n,4\n5,6\n7,8\n")
    text = spec("Linear(1)", data='CSV("t.csv", target="prise")', loss="MSE")
    (tmp_path / "t.nn").write_text(text.replace("epochs", "epocs"))
    done = command("check", "--fix", "--unsafe-fixes", "t.nn", cwd=tmp_path)
    assert done.returncode == 1
    assert "2 fixes applied in 1 file" in done.stdout
    assert "t.csv, line 3, column `a`: the cell is empty" in done.stdout
    assert (tmp_path / "t.nn").read_text() == text.replace("prise", "price")
