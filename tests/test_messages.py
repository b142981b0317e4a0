"""Messages about common mistakes: one message per mistake, with help that works."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from findings import base, diagnose, everything, only

from nnspec.checker import check
from nnspec.diagnostics import Source
from nnspec.diagnostics.fixes import apply

OPTIMIZER = "SGD(lr=0.1)"
_NNSPEC = f"{shlex.quote(sys.executable)} -c 'from nnspec.cli import main; main()'"

SAID = {
    "a decimal comma in an argument": (base("0.1", "0,001"), "NN104", "0,001", "write 0.001"),
    "a decimal comma": (base(more="train.validation = 0,1"), "NN104", "0,1", "write 0.1"),
    "parameters": (
        base(OPTIMIZER, "SGD(model.parameters(), lr=0.1)"),
        "NN303",
        "model.parameters()",
        "remove it: an optimizer trains the whole model",
    ),
    "a schedule's second value": (
        base("0.1", "step(0.1, 4)"),
        "NN303",
        "4",
        "pass it by name, as in `every=4`: step(start, every, gamma=0.1, warmup=0, per=epoch, staircase=false)",
    ),
    "one of two betas": (
        base(OPTIMIZER, "Adam(beta1=0.9)"),
        "NN202",
        "beta1",
        "the two are a single argument: `betas=(0.9, 0.999)`",
    ),
    "a number for true": (base("16", "16, bias=0"), "NN301", "0", "write `false`"),
    "a shortcut as a label": (
        base("    ReLU\n", "    residual { ReLU; shortcut: Linear(16) }\n"),
        "NN203",
        "shortcut",
        "write `shortcut { Linear(16) }`",
    ),
    "a setting with a colon": (
        base("loss = ", "loss: "),
        "NN203",
        "loss: CrossEntropy",
        "write `loss = CrossEntropy`",
    ),
    "a setting with two equals signs": (
        base("loss = ", "loss == "),
        "NN203",
        "loss == CrossEntropy",
        "write `loss = …` to set it",
    ),
    "a layer's argument without the model": (
        base(more="Linear1.bias = false"),
        "NN201",
        "Linear1.bias",
        "settings of a model start with `model`: `model.Linear1.bias = …`",
    ),
    "a schedule as a setting": (
        base(more="scheduler = 3"),
        "NN201",
        "scheduler",
        "pass the schedule as the learning rate: `lr=cosine(0.01)`",
    ),
    "a figure of another framework": (
        base(more="train { validation = 0.1; early_stop = patience(5, of=val_acc) }"),
        "NN201",
        "val_acc",
        "did you mean `val_accuracy`?",
    ),
}


@pytest.mark.parametrize(("text", "code", "where", "help"), SAID.values(), ids=SAID.keys())
def test_one_mistake_has_one_message_with_what_to_write(text: str, code: str, where: str, help: str) -> None:
    found = only(text)
    assert (found.code, found.span.text, found.help) == (code, where, help)


def test_a_decimal_comma_becomes_a_point_and_never_a_thousand() -> None:
    source = Source("x.nn", base("0.1", "0,001"))
    fixed = apply(source, check(source).diagnostics)
    assert "SGD(lr=0.001)" in fixed
    assert everything(fixed) == ()


def test_two_values_in_brackets_are_two_values() -> None:
    assert diagnose(base(more="sweep { optimizer.momentum = [0,0.5] }\nlet a = max(0,5)\nlet b = [0,1]")) == ()


def test_a_constant_without_let_gets_the_advice_to_use_let() -> None:
    assert only(base(more="width = 42")).help.endswith("; constants are declared with `let width = …`")


@pytest.mark.parametrize(
    ("flag", "help"),
    [
        ("SGD.lr=0.2", "`lr` belongs to the optimizer: `SGD.optimizer.lr = …`"),
        ("SGD.epochs=2", "`epochs` belongs in `train`: `SGD.train.epochs = …`"),
        ("lr=0.2", "`lr` belongs to the optimizer: `optimizer.lr = …`"),
    ],
)
def test_the_help_on_a_flag_of_one_lane_keeps_the_lane(flag: str, help: str) -> None:
    assert only(base(more="race { SGD; Adam }"), flag).help == help


@pytest.mark.parametrize("arguments", [("check", "-"), ("fmt", "-")])
def test_a_closed_standard_input_is_not_a_bug_of_nnspec(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = _nnspec(f"exec {_NNSPEC} {' '.join(arguments)} <&-", tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: standard input is closed\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_not_a_bug_of_nnspec(tmp_path: Path) -> None:
    done = _nnspec(f"exec {_NNSPEC} explain > /dev/full", tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize(("word", "command"), [("train", "run"), ("lint", "check"), ("format", "fmt")])
def test_another_tools_command_leads_to_ours(word: str, command: str, tmp_path: Path) -> None:
    done = _nnspec(f"exec {_NNSPEC} {word}", tmp_path)
    assert done.returncode == 2
    assert f"Did you mean `{command}`?" in done.stderr


def _nnspec(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True, check=False)
