"""The command line as a person or a script meets it: exit codes, streams, words."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_spec import RACE, spec

from nnspec import engine as nn
from nnspec.cli import _code

THREE_LANES = spec(race="SGD(lr=0.1); Momentum(lr=0.1); Adam(lr=0.01)")
MISTAKE = spec("Linear(6); ReLU; Linear(64, 10)")
MISSED = spec(expect="loss < 0")
DIVERGES = spec(race="SGD(lr=1e30); Adam")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with an empty cache, plain output, and a few specs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "NNSPEC_DATA_DIR", "NNSPEC_MNIST_MIRRORS"):
        monkeypatch.delenv(name, raising=False)
    texts = {
        "good.nn": spec(),
        "three.nn": THREE_LANES,
        "mistake.nn": MISTAKE,
        "missed.nn": MISSED,
        "diverges.nn": DIVERGES,
        "mnist.nn": spec(data="MNIST(train=50, test=20)"),
        "stand_in.nn": spec(data="MNIST(train=50, test=20) or Digits(train=50, test=20)", expect="loss < 99"),
        "empty.nn": "",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "binary.nn").write_bytes(b"\x7fELF\x00\x01\xff")
    (tmp_path / "folder.nn").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    return tmp_path


CODES = [
    ("", 0, "nnspec run specs/race.nn"),
    ("--help", 0, "Start here"),
    ("--version", 0, "nnspec 0.1.0"),
    ("rum good.nn", 2, "unknown command `rum`. Did you mean `run`?"),
    ("good.nn", 2, "Did you mean `nnspec run good.nn`?"),
    ("xyzzy", 2, "unknown command `xyzzy`."),
    ("--frob", 2, "No such option"),
    ("run", 2, "Missing argument 'SPEC'"),
    ("run good.nn --ofline", 2, "No such option"),
    ("run good.nn --force", 2, "--force requires --out"),
    ("run good.nn --out full", 2, "full is not empty"),
    ("run good.nn --out full --force", 0, "full: curves.png"),
    ("run good.nn --out good.nn", 2, "good.nn is a file, not a folder"),
    ("run good.nn", 0, "runs/good/1: curves.png"),
    ("run good.nn --set train.epochs=1", 0, "run: epoch 1/1"),
    ("run good.nn --set train.epoch=1", 2, "did you mean `epochs`"),
    ("run good.nn --set nonsense", 2, "expected `path=value`"),
    ("run mistake.nn", 2, "this Linear expects 64 features but got 6"),
    ("run missed.nn", 1, "✗ loss < 0"),
    ("run diverges.nn", 1, "✗ SGD diverged: the loss became nan in epoch 1, batch 2 of 4"),
    ("run mnist.nn --offline", 2, "MNIST is not in the cache folder"),
    ("run stand_in.nn --offline", 0, "! Digits stands in for MNIST: MNIST is not in the cache"),
    ("run stand_in.nn --offline --data-dir nowhere", 2, "the data folder nowhere (--data-dir) does not exist"),
    ("check good.nn", 0, "good.nn: no findings in 1 lane"),
    ("check three.nn", 0, "three.nn: no findings in 3 lanes"),
    ("check mistake.nn", 1, "error[NN401]"),
    ("check empty.nn", 1, "`data` is missing"),
    ("check good.nn --set seed=-1", 1, "`seed`"),
    ("check", 2, "Missing argument"),
    ("check good.nn nowhere.nn", 2, "file not found: nowhere.nn"),
    ("show good.nn", 0, "parameters      4,780"),
    ("show mistake.nn", 2, "error[NN401]"),
    ("gradcheck good.nn --samples 2", 0, "✓ gradient_error"),
    ("gradcheck good.nn --samples 17", 2, "not in the range"),
    ("gradcheck mistake.nn", 2, "error[NN401]"),
    ("gradcheck mnist.nn --offline", 2, "MNIST is not in the cache folder"),
    ("data fetch", 2, "Missing argument"),
    ("data fetch Digits", 0, "Digits needs no files"),
    ("data fetch digits", 0, "digits needs no files"),
    ("data fetch MNITS", 2, "unknown data source MNITS; did you mean `MNIST`?"),
    ("data fetch MNIST --offline", 2, "MNIST is not in the cache folder"),
]
UNREADABLE = [
    ("nowhere.nn", "file not found: nowhere.nn"),
    ("folder.nn", "folder.nn is a folder, not a spec"),
    ("binary.nn", "binary.nn"),
]


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize(("line", "code", "words"), CODES)
def test_exit_codes_and_words(here: Path, capsys: pytest.CaptureFixture[str], line: str, code: int, words: str) -> None:
    found = _code(line.split())
    out, err = capsys.readouterr()
    assert (found, words in out + err) == (code, True), out + err
    # Results and findings go to stdout; what prevents a result goes to stderr.
    assert words in (err if code == 2 else out)
    assert "Traceback" not in out + err


@pytest.mark.parametrize("command", ["run", "check", "show", "gradcheck"])
@pytest.mark.parametrize(("file", "words"), UNREADABLE)
def test_an_unreadable_file_is_a_usage_error(
    here: Path, capsys: pytest.CaptureFixture[str], command: str, file: str, words: str
) -> None:
    if (command, file) == ("check", "folder.nn"):  # folders are looked through
        words = "no .nn files in folder.nn"
    assert _code([command, file]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert words in err


def test_check_looks_at_every_file_and_returns_the_worst(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(["check", "mistake.nn", "good.nn"]) == 1
    out, _ = capsys.readouterr()
    assert out.startswith("error[NN401]")
    assert out.endswith("\n1 error in 1 of 2 files\n")
    assert _code(["check", "nowhere.nn", "mistake.nn", "good.nn"]) == 2
    out, err = capsys.readouterr()
    assert err == "error: file not found: nowhere.nn\n"
    assert "error[NN401]" in out
    assert out.endswith("\n1 error in 1 of 2 files\n")


# run


@pytest.mark.usefixtures("drawn")
def test_a_pipe_gets_a_plain_line_an_epoch_and_lane_and_the_table_at_the_end(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _code(["run", "three.nn"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert "\x1b" not in out
    number = r"[\d.]+(?:e-\d+)?"
    turns = [(lane, epoch) for epoch in (1, 2) for lane in ("SGD", "Momentum", "Adam")]  # one stack
    for index, (lane, epoch) in enumerate(turns):
        figures = rf"loss {number}, accuracy {number} %, test loss {number}, test accuracy {number} %"
        assert re.fullmatch(rf"{lane}: epoch {epoch}/2, {figures}", lines[index])
    assert lines[6] == ""
    assert re.fullmatch(r"three +three\.nn · seed 0", lines[7])
    assert lines[8] == "Digits 50 train / 20 test · 784 → 6 → 10 · 4,780 parameters"
    assert lines[10].split("   ")[0] == "lane"
    assert {line.split()[0] for line in lines[11:14]} == {"SGD", "Momentum", "Adam"}
    tested = [float(line.split()[4]) for line in lines[11:14]]
    assert tested == sorted(tested)
    assert lines[-1] == "runs/three/1: curves.png, history.json, summary.json, trace.json, weights"


def test_quiet_gives_the_result_only(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(["run", "three.nn", "--quiet"]) == 0
    out, _ = capsys.readouterr()
    assert "epoch 1/2" not in out
    assert out.splitlines()[0] == ""
    assert "runs/three/1" in out


@pytest.mark.parametrize(("file", "code"), [("three.nn", 0), ("missed.nn", 1), ("diverges.nn", 1), ("stand_in.nn", 0)])
def test_json_is_a_single_document(here: Path, capsys: pytest.CaptureFixture[str], file: str, code: int) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    assert _code(["run", file, "--json", "--offline"]) == code
    out, err = capsys.readouterr()
    record = json.loads(out, parse_constant=refuse)
    assert out.count("\n") == 1
    folder = here / record["folder"]
    summary = json.loads((folder / "summary.json").read_text())
    assert {name: value for name, value in record.items() if name not in ("folder", "history")} == summary
    assert record["history"] == json.loads((folder / "history.json").read_text())["lanes"]
    assert ("stands in" in err) is (file == "stand_in.nn")


def test_a_stand_in_is_named_before_everything_else_even_when_quiet(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags in ([], ["--quiet"]):
        assert _code(["run", "stand_in.nn", "--offline", *flags]) == 0
        out, _ = capsys.readouterr()
        assert out.startswith("! Digits stands in for MNIST: ")
        assert "Digits 50 train / 20 test" in out


@pytest.mark.parametrize("columns", ["50", "30", "20"])
def test_a_narrow_terminal_has_fewer_columns_and_no_broken_lines(
    here: Path, capsys: pytest.CaptureFixture[str], columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert _code(["run", "three.nn"]) == 0
    out, _ = capsys.readouterr()
    lines = out.splitlines()
    assert all(re.match(r"(SGD|Momentum|Adam): epoch \d/2, loss .* test accuracy .* %$", line) for line in lines[:6])
    head = next(i for i, line in enumerate(lines) if line.startswith("lane"))
    assert all(len(line.rstrip()) <= int(columns) for line in lines[head : head + 4])
    assert "…" not in out
    sentence = "– all lanes had the same data, order of samples, starting weights (4 tensors, 4,780 numbers)"
    assert sentence in " ".join(out.split())
    assert all(len(line) <= int(columns) or " " not in line.strip() for line in lines[head + 4 :])


def test_the_table_of_a_single_lane_without_its_own_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(["run", "good.nn", "--out", "deep/er"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("deep/er: ")
    assert not (here / "runs").exists()


def test_a_lane_is_ranked_by_its_loss_and_last_when_it_diverged(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _code(["run", "diverges.nn", "-q"])
    lines = capsys.readouterr().out.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("lane"))
    assert [line.split()[0] for line in lines[head + 1 : head + 3]] == ["Adam", "SGD"]


# show


def test_show_is_exact(capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(["show", str(RACE), "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lanes = json.loads(out)["lanes"]
    assert [lane["name"] for lane in lanes] == ["SGD", "Momentum", "Adam"]
    for lane in lanes:
        assert (lane["params"], lane["flops"], lane["memory"]) == (
            52_650,
            105_290,
            sum(lane["memory_by_group"].values()),
        )
        assert [layer["params"] for layer in lane["layers"]] == [50_240, 0, 2_080, 0, 330]
        assert [layer["flops"] for layer in lane["layers"]] == [100_416, 64, 4_128, 32, 650]
        assert lane["layers"][0]["parameters"] == {"weight": [784, 64], "bias": [64]}
    assert lanes[2]["memory"] - lanes[0]["memory"] == 2 * 4 * 52_650


def test_show_prints_layers_once_where_lanes_share_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(["show", str(RACE)]) == 0
    out, _ = capsys.readouterr()
    for words in ("50,240", "100,416", "52,650", "105,290 a sample, forward", "race.nn:9"):
        assert words in out
    assert out.count("layers as in SGD") == 2


def test_show_shares_layers_whose_initialisers_are_written_out(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.nn").write_text(spec("Linear(6, init=xavier_normal); Tanh; Linear(10)", race="SGD; Adam"))
    assert _code(["show", "a.nn"]) == 0
    assert "layers as in SGD" in capsys.readouterr().out


# gradcheck

EVERY_KERNEL = "Linear(4); ReLU; Linear(6); Sigmoid; Linear(6); Tanh; Dropout(0.3); Linear(10)"
SLIGHTLY = 1 + 1e-5


def scaled_result(self: Any, result: Any) -> Any:
    return None if result is None else result * SLIGHTLY


def scaled_gradient(parameter: str) -> Callable[[Any, Any], Any]:
    def plant(self: Any, result: Any) -> Any:
        getattr(self, parameter).grad *= SLIGHTLY
        return result

    return plant


PLANTS = [
    ("Linear.weight", nn.Linear, scaled_gradient("weight"), "CrossEntropy", "Linear4.weight"),
    ("Linear.bias", nn.Linear, scaled_gradient("bias"), "CrossEntropy", "Linear4.bias"),
    ("Linear.input", nn.Linear, scaled_result, "CrossEntropy", "input"),
    ("ReLU", nn.ReLU, scaled_result, "CrossEntropy", "Linear1.weight"),
    ("Sigmoid", nn.Sigmoid, scaled_result, "CrossEntropy", "Linear2.weight"),
    ("Tanh", nn.Tanh, scaled_result, "CrossEntropy", "Linear3.weight"),
    ("Dropout", nn.Dropout, scaled_result, "CrossEntropy", "Linear3.bias"),
    ("CrossEntropy", nn.CrossEntropyLoss, scaled_result, "CrossEntropy", "loss"),
    ("MSE", nn.MSELoss, scaled_result, "MSE", "loss"),
]


@pytest.mark.parametrize(("cls", "plant", "loss", "tensor"), [p[1:] for p in PLANTS], ids=[p[0] for p in PLANTS])
def test_a_wrong_derivative_in_any_kernel_is_found(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    cls: Any,
    plant: Any,
    loss: str,
    tensor: str,
) -> None:
    (here / "a.nn").write_text(spec(EVERY_KERNEL, loss=loss))
    assert _code(["gradcheck", "a.nn", "--samples", "4"]) == 0, capsys.readouterr().out
    honest = cls.backward
    monkeypatch.setattr(cls, "backward", lambda self, *a, **k: plant(self, honest(self, *a, **k)))
    capsys.readouterr()
    assert _code(["gradcheck", "a.nn", "--samples", "4"]) == 1
    out, _ = capsys.readouterr()
    assert re.search(rf"✗ +{tensor} ", out), out
    assert re.search(r"✗ gradient_error \S+ ≥ 1e-07", out)


def test_gradcheck_samples_large_tensors_unless_full(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.nn").write_text(spec("Linear(26); Tanh; Linear(10)"))
    assert _code(["gradcheck", "a.nn", "--samples", "1"]) == 0
    assert "384 of 20,384 entries, 32 directions" in capsys.readouterr().out
    assert _code(["gradcheck", "a.nn", "--samples", "1", "--full"]) == 0
    assert "20,384 of 20,384 entries" in capsys.readouterr().out


@pytest.mark.parametrize(("bound", "code"), [("1e-300", 1), ("1e-3", 0)])
def test_gradcheck_holds_the_spec_to_its_own_bound(
    here: Path, capsys: pytest.CaptureFixture[str], bound: str, code: int
) -> None:
    (here / "a.nn").write_text(spec("Linear(3); Tanh; Linear(10)", expect=f"gradient_error < {bound}"))
    assert _code(["gradcheck", "a.nn", "--samples", "2"]) == code
    assert f" {'≥' if code else '<'} {float(bound):g}" in capsys.readouterr().out


def test_gradcheck_says_where_nothing_could_be_checked(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "nnspec.runner.gradients.MOVE", 0.0
    )  # nothing moves the weights off the kinks that they start on
    (here / "a.nn").write_text(spec("Linear(3, init=zeros); ReLU; Linear(10)"))
    assert _code(["gradcheck", "a.nn", "--samples", "2"]) == 1
    out, _ = capsys.readouterr()
    assert "✗ a tensor could not be checked: every step crossed a kink" in out
    assert "not checked" in out


# Faults


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (RuntimeError("boom"), 3, "a bug in nnspec: RuntimeError: boom"),
        (MemoryError(), 2, "not enough memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_faults_have_a_code_and_words(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    words: str,
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(tempfile, "tempdir", str(here))
    monkeypatch.setattr("nnspec.checking.check_source", fail)
    assert _code(["run", "good.nn"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert "Traceback" not in err
    reports = list(here.glob("nnspec-fault-*.txt"))
    assert len(reports) == (code == 3)
    for report in reports:
        assert str(report) in err
        assert "RuntimeError: boom" in report.read_text()
        assert "Traceback" in report.read_text()
