"""Files that are not specs at all get one error that says what they are and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken_specs import GALLERY

from nnspec.api import check, check_text
from nnspec.checker.other_formats import other_format
from nnspec.cli import _code
from nnspec.diagnostics import Source, Span

FORMATS = {
    "a CSV file": ["date,wind,rentals\n2023-01-01,4.6,154\n2023-01-02,3.5,119\n", "a;b\n1;2\n", "a\tb\n1\t2\n"],
    "a JSON file": ['{"data": "MNIST", "model": [64, 10]}', "[1, 2]\n", '{\n  "cells": []\n}\n'],
    "a Python script": [
        "import numpy as np\nfrom torch import nn\n\nmodel = nn.Linear(2, 3)\n",
        "import os\nimport sys\n",
    ],
    "a TOML file": ['[tool.x]\na = 1\nb = "x"\n'],
    "a YAML file": ["model:\n  layers: [64, 10]\n  name: x\n", "- a: 1\n- b\n"],
    "an XML or HTML file": ["<!DOCTYPE html>\n<html></html>\n", '<?xml version="1.0"?>\n<a/>\n'],
}

SPECS = (
    "epocs = 15\n",
    "model {\n    Linear(64)\n}\n}\n",
    "optimizer: SGD\nloss: MSE\ntrain { epochs = 15 }\n",
    "from torch import nn\nmodel { Linear(64) }\n",
    "data = Digits\nimport common\nloss = MSE\n",
    "Linear(3, 4)\nLinear(4, 5)\n",
    "[[[[[[[[\n",
    "modle { ReLU }\n",
    "",
    "# nothing\n",
)


@pytest.mark.parametrize(("what", "text"), [(what, text) for what, texts in FORMATS.items() for text in texts])
def test_a_file_of_another_format_has_one_error(what: str, text: str) -> None:
    (found,) = check_text(Source("folder/file", text)).diagnostics
    assert (found.code, found.message) == ("NN108", f"this is {what}, not a spec")
    assert found.span.start == 0
    assert found.help


@pytest.mark.parametrize("text", SPECS)
def test_a_spec_with_errors_is_still_a_spec(text: str) -> None:
    found = check_text(Source("x.nn", text)).diagnostics
    assert found
    assert all(d.code != "NN108" for d in found)


def test_no_spec_of_the_gallery_is_taken_for_another_format() -> None:
    for broken in (each for chapter in GALLERY.values() for each in chapter):
        source = Source("x.nn", broken.text)
        assert other_format(source, Span(source, 0, 0)) is None, broken.title


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("iris.csv", '"sepal length (cm)","species"\n' + '5.1,"setosa"\n4.9,"virginica"\n' * 10),
        ("walk.txt", "step;price\n" + "1;2.5\n2;3.5\n" * 10),
        ('a "b".csv', "x,y,z\n" + "1,2,3\n2,3,5\n" * 10),
    ],
)
def test_the_suggested_spec_reads_the_table(name: str, table: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(table)
    (found,) = check(tmp_path / name).diagnostics
    spec = tmp_path / "new.nn"
    spec.write_text("\n".join(found.remarks[1:]))
    assert len(found.remarks) == 6
    assert check(spec).ok, str(check(spec))


def test_a_table_without_column_names_needs_them() -> None:
    (found,) = check_text(Source("x.csv", "1,2\n3,4\n")).diagnostics
    assert found.remarks == ()
    assert "name its columns in the first line" in found.help


def test_run_shows_the_first_errors_and_how_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.nn").write_text("data = Digits\n" + "$\n" * 30)
    assert _code(["run", "x.nn"]) == 2
    shown = capsys.readouterr().err
    assert shown.count("error[") == 20
    assert shown.endswith("errors in x.nn, of which the first 20 are shown; `nnspec check` shows all\n")
