"""`nnspec test`: specs as tests."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from tiny_spec import OFFLINE, command, spec

import nnspec.engine as nn
from nnspec.data.source import Access
from nnspec.project import testing
from nnspec.project.junit import junit
from nnspec.project.testing import Case, SpecReport, SpecTester, exit_code, failures, outcome, summary

GOOD = spec(expect="loss < 100; params < 1e6")
MISS = spec(expect="loss < 100; loss < 1e-9")
BROKEN = "data = \n"
LIBRARY = "model small { Linear(10) }\n"
WILD = spec(loss="MSE", optimizer="SGD(lr=1e30)", expect="loss < 100")


def put(folder: Path, **texts: str) -> None:
    """Write specs into a folder."""
    for name, text in texts.items():
        (folder / f"{name}.nn").write_text(text, "utf-8")


def run_tests(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `nnspec test` without worker processes."""
    return command("test", "--jobs", "1", *arguments, cwd=folder)


def test_all_that_is_expected_holds(tmp_path: Path) -> None:
    put(tmp_path, good=GOOD, plain=spec())
    done = run_tests(tmp_path, ".")
    assert (done.returncode, done.stderr) == (0, "")
    first, second, empty, last = done.stdout.splitlines()
    assert first.startswith("good.nn .. PASSED (")
    assert second.startswith("plain.nn PASSED (")
    assert second.endswith("; no expectations")
    assert empty == ""
    assert last.startswith("2 passed in ")
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == ["good.nn", "plain.nn"]


def test_failures_are_shown_in_full_and_stop_nothing(tmp_path: Path) -> None:
    put(tmp_path, a=BROKEN, b=MISS, c=LIBRARY, d=WILD, e=GOOD)
    (tmp_path / "f.nn").write_bytes(b"\xff\xfe\x00")
    done = run_tests(tmp_path, "*.nn", "--junit", "report.xml")
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    for line, begin in zip(
        lines,
        ["a.nn F FAILED", "b.nn .F FAILED", "c.nn s SKIPPED", "d.nn FF FAILED", "e.nn .. PASSED", "f.nn E ERROR"],
        strict=False,
    ):
        assert line.startswith(begin)
    assert "it can only be imported" in lines[2]
    assert " --> a.nn:1:" in done.stdout
    assert "missed: loss < 1e-9" in lines
    assert any(line.startswith("lane ") and "diverged" in line for line in lines)
    assert "error: f.nn" in done.stdout
    assert lines[-1].startswith("1 passed, 4 failed, 1 skipped in ")
    assert "Traceback" not in done.stdout

    root = ET.parse(tmp_path / "report.xml").getroot()
    suites = {suite.get("name"): suite for suite in root.iter("testsuite")}
    assert [*suites] == ["a.nn", "b.nn", "c.nn", "d.nn", "e.nn", "f.nn"]
    names = [case.get("name") for case in suites["b.nn"].iter("testcase")]
    assert names == ["check", "gradients of run", "run trains", "loss < 100", "loss < 1e-9"]
    for each in (root, *suites.values()):
        assert float(each.get("time", "")) >= 0
        assert each.get("tests") == str(len([*each.iter("testcase")]))
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert each.get(attribute) == str(len([*each.iter(tag)]))
    assert {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "17",
        "failures": "4",
        "errors": "1",
        "skipped": "1",
    }


def test_unavailable_data_is_an_error_of_its_spec(tmp_path: Path) -> None:
    put(tmp_path, digits=GOOD, mnist=spec(data="MNIST(train=50, test=20)", expect="loss < 100"))
    done = run_tests(tmp_path, ".", "--offline")
    assert done.returncode == 1
    assert "\nmnist.nn Ess ERROR (" in done.stdout
    assert "\nerror: " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 passed, 1 failed in ")


def test_fail_fast_stops_at_the_first_failure(tmp_path: Path) -> None:
    put(tmp_path, a=GOOD, b=BROKEN, c=GOOD)
    done = run_tests(tmp_path, ".", "-x")
    assert done.returncode == 1
    assert "c.nn" not in done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 passed, 1 failed, 1 not run in ")


def test_settings_and_quiet(tmp_path: Path) -> None:
    put(tmp_path, a=spec(expect="epochs_to(loss=1000) < 2"))
    done = run_tests(tmp_path, "a.nn", "-q", "--set", "train.epochs=1")
    assert done.returncode == 0
    assert done.stdout.startswith("1 passed in ")
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["."], "no .nn files in ."),
        (["*.nn"], "no .nn file matches *.nn"),
        (["absent.nn"], "file not found: absent.nn"),
        ([], "Missing argument"),
        (["-"], "standard input"),
        (["a/good.nn", "--junit", "absent/report.xml"], "folder not found: absent"),
    ],
)
def test_nothing_to_test_is_a_matter_of_usage(tmp_path: Path, arguments: list[str], message: str) -> None:
    if "a/good.nn" in arguments:
        (tmp_path / "a").mkdir()
        put(tmp_path / "a", good=GOOD)
    done = run_tests(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def wrong_derivative(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the weights of Linear have half their gradient."""
    right = nn.Linear.backward

    def backward(self: nn.Linear, grad: Any, out: Any = None, *, input_grad: bool = True) -> Any:
        dx = right(self, grad, out=out, input_grad=input_grad)
        self.weight.grad *= 0.5
        return dx

    monkeypatch.setattr(nn.Linear, "backward", backward)


def cases_of(path: Path) -> list[Case]:
    """Test one spec in this process."""
    (tested,) = SpecTester((), OFFLINE, jobs=1).run([str(path)])
    print(failures(tested))
    return [*tested.cases]


def test_a_wrong_derivative_fails_every_spec_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, a=GOOD)
    assert [case.status for case in cases_of(tmp_path / "a.nn")] == ["passed"] * 5
    wrong_derivative(monkeypatch)
    found = [case for case in cases_of(tmp_path / "a.nn") if case.status != "passed"]
    assert [(case.kind, case.name, case.status) for case in found] == [("gradients", "gradients of run", "failed")]
    where = f"{tmp_path / 'a.nn'}:2"
    assert f"Linear1.weight ({where}) has a relative error of 3.3e-01, not below 1e-07" in found[0].detail
    assert f"wrong gradients of run\n        Linear1.weight ({where})" in capsys.readouterr().out


def test_gradients_that_the_spec_speaks_of_are_proved_once(tmp_path: Path) -> None:
    model = "Linear(6); ReLU; Linear(10)"
    race = "A { optimizer = SGD(lr=0.1) } B { optimizer = SGD(lr=0.2) }"
    both = spec(model, race=race, expect="A.gradient_error < 1e-7; B.loss < 100")
    other = "model other { Linear(5); Tanh; Linear(10) }"
    own = race.replace("B {", "B { model = other;")
    put(tmp_path, none=both, other=spec(model, race=own, expect="A.gradient_error < 1e-7", more=other))
    assert [case.name for case in cases_of(tmp_path / "other.nn") if case.kind == "gradients"] == ["gradients of B"]
    assert not [case for case in cases_of(tmp_path / "none.nn") if case.kind == "gradients"]


def test_numbers_too_large_to_step_from_are_an_error_with_words(tmp_path: Path) -> None:
    (tmp_path / "huge.csv").write_text("a,y\n" + "".join(f"{1e15 + i * 1e12},{i}\n" for i in range(40)))
    put(tmp_path, a=spec("Linear(1)", data='CSV("huge.csv", target="y")', loss="MSE"))
    done = run_tests(tmp_path, "a.nn")
    assert done.returncode == 1
    assert "error: the gradients of run cannot be checked: a step of 1e-05 is lost beside 1" in done.stdout
    assert command("gradcheck", "a.nn", cwd=tmp_path).returncode == 2


def test_an_interrupt_ends_it_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, a=GOOD, b=GOOD)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(testing, "run_into", interrupt)
    tester = SpecTester((), Access(offline=True), jobs=1)
    (tested,) = tester.run([str(tmp_path / "a.nn"), str(tmp_path / "b.nn")])
    assert tested.interrupted
    assert "INTERRUPTED" in outcome(tested)
    assert exit_code([tested]) == 130
    assert summary([tested], 2, 0.0) == "2 not run in 0.0 s"


def test_a_bug_is_reported_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, a=GOOD, b=LIBRARY)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("oh")

    told: list[str] = []
    monkeypatch.setattr(testing, "run_into", fail)
    tester = SpecTester((), Access(offline=True), jobs=1, on_fault=lambda path, error: told.append(f"{error}"))
    tested = [*tester.run([str(tmp_path / "a.nn"), str(tmp_path / "b.nn")])]
    assert [each.status for each in tested] == ["error", "skipped"]
    assert told == ["oh"]
    assert exit_code(tested) == 3


def test_junit_holds_what_xml_allows() -> None:
    text = "a\x00\x1b[31mb\x1b[0m\ud800\ufffe<&>\n\U0001f600é"
    data = junit([SpecReport("s\x01.nn", (Case("check", "check", "failed", text),), 0.5)], 0.5)
    failure = next(ET.fromstring(data).iter("failure"))
    assert failure.text == "ab<&>\n\U0001f600é"
    assert failure.get("message") == "ab<&>"


def test_a_folder_of_data_is_for_those_specs_that_read_files(tmp_path: Path) -> None:
    (tmp_path / "a.nn").write_text(spec(expect="loss < 100"))
    (tmp_path / "data").mkdir()
    done = command("test", "a.nn", "--data-dir", "data", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert command("run", "a.nn", "--data-dir", "data", cwd=tmp_path).returncode == 2


def test_warnings_of_a_spec_that_passes_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.nn").write_text(spec("Linear(6); Linear(10)", expect="loss < 100"))
    done = command("test", "a.nn", cwd=tmp_path)
    assert done.returncode == 0
    assert "; 2 warnings; run `nnspec check` to see them" in done.stdout


def test_a_terminal_sees_how_far_a_spec_is_and_nothing_of_it_stays(tmp_path: Path) -> None:
    import io

    from nnspec.api import compile_spec
    from nnspec.runner.run import run_program
    from nnspec.view.terminal.ticker import Ticker

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    (tmp_path / "a.nn").write_text(spec())
    for stream, seen in ((Terminal(), True), (io.StringIO(), False)):
        ticker = Ticker(stream)
        run_program(compile_spec(tmp_path / "a.nn"), OFFLINE, ticker)
        ticker.clear()
        assert ("run: epoch 1/2" in stream.getvalue()) is seen
        assert stream.getvalue().endswith("\b") is seen
