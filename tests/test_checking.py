"""Many files in several processes: the same findings in the same order, even if one of the processes dies."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from findings import BASE

import nnspec.api
from nnspec.api import CheckResult
from nnspec.diagnostics import Source
from nnspec.diagnostics.render import render_all
from nnspec.project.checking import CLEAN, FAULT, UNUSABLE, Checker, Outcome

WRONG = BASE.replace("Linear(10)", "Linear(3, 10)").replace("lr=0.1", "learning_rate=0.1")
NAMES = [f"{i:02}.nn" for i in range(40)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with many specs: every third has errors, and the last cannot be read."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(NAMES[:-1]):
        Path(name).write_text(f"# {name}\n{BASE if number % 3 else WRONG}")
    Path(NAMES[-1]).mkdir()
    return tmp_path


def shown(outcomes: list[Outcome]) -> list[tuple[str, str, int, int]]:
    return [(o.name, render_all(o.diagnostics), o.lanes, o.code) for o in outcomes]


def test_several_processes_find_what_one_does(here: Path) -> None:
    alone = [*Checker().files(NAMES, 1)]
    assert [outcome.name for outcome in alone] == NAMES
    assert {outcome.code for outcome in alone} == {CLEAN, UNUSABLE}
    assert "NN202" in {d.code for outcome in alone for d in outcome.diagnostics}
    assert shown([*Checker().files(NAMES, 2)]) == shown(alone)


def test_flags_and_codes_to_ignore_reach_all_processes(here: Path) -> None:
    checkers = Checker(["optimizer.lr=100", "nowhere=1"], ["NN706"]), Checker(["optimizer.lr=100", "nowhere=1"])
    without, whole = ([*checker.files(NAMES[1:3], 2)] for checker in checkers)
    assert [[d.code for d in outcome.diagnostics] for outcome in without] == [["NN201"]] * 2
    assert [sorted(d.code for d in outcome.diagnostics) for outcome in whole] == [["NN201", "NN706"]] * 2


def test_few_files_stay_in_this_process(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def check(source: Source, *_: Any) -> CheckResult:
        seen.append(source.name)
        return CheckResult(source.name, (), None)

    monkeypatch.setattr(nnspec.api, "check_text", check)
    assert len([*Checker().files(NAMES)]) == len(NAMES)
    assert seen == NAMES[:-1]


def test_a_fault_in_a_process_is_reported_here(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest, faults = nnspec.api.check_text, []

    def check(source: Source, *more: Any) -> CheckResult:
        if source.name == NAMES[7]:
            raise ZeroDivisionError("planted")
        return honest(source, *more)

    monkeypatch.setattr(nnspec.api, "check_text", check)
    outcomes = [*Checker(on_fault=lambda name, error: faults.append((name, error))).files(NAMES, 2)]
    assert [outcome.name for outcome in outcomes if outcome.code == FAULT] == [NAMES[7]]
    ((name, error),) = faults
    assert (name, str(error)) == (NAMES[7], "planted")
    assert error.__traceback__ is not None


def test_what_a_killed_process_leaves_is_checked_here(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = shown([*Checker().files(NAMES, 1)])
    honest, parent = nnspec.api.check_text, os.getpid()

    def check(source: Source, *more: Any) -> CheckResult:
        if source.name == NAMES[20] and os.getpid() != parent:
            os._exit(9)
        return honest(source, *more)

    monkeypatch.setattr(nnspec.api, "check_text", check)
    assert shown([*Checker().files(NAMES, 2)]) == alone


@pytest.mark.parametrize("allowed", [0, 1])
def test_what_processes_that_cannot_be_started_would_have_checked_is_checked_here(
    here: Path, monkeypatch: pytest.MonkeyPatch, allowed: int
) -> None:
    """As where a limit on processes is reached, before the first of them or after it."""
    alone = shown([*Checker().files(NAMES, 1)])
    fork, forked = os.fork, []

    def limited() -> int:
        if len(forked) == allowed:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        forked.append(True)
        return fork()

    monkeypatch.setattr(os, "fork", limited)
    assert shown([*Checker().files(NAMES, 2)]) == alone
    assert len(forked) == allowed
    assert multiprocessing.active_children() == []


def test_no_semaphore_is_needed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are none where `/dev/shm` is missing, as in some sandboxes."""
    alone = shown([*Checker().files(NAMES, 1)])

    def missing(*_: Any, **__: Any) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", missing)
    assert shown([*Checker().files(NAMES, 2)]) == alone


def test_no_process_outlives_a_check_that_ends_early(here: Path) -> None:
    outcomes = Checker().files(NAMES, 2)
    assert next(outcomes).name == NAMES[0]
    assert len(multiprocessing.active_children()) == 2
    outcomes.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


_KILLED = """
import multiprocessing, os, signal, sys, time
import nnspec.api
from nnspec.api import CheckResult
from nnspec.project.checking import Checker

def check(source, *_):
    if os.getpid() != parent:
        os.kill(parent, signal.SIGKILL)
    return CheckResult(source.name, (), None)

parent = os.getpid()
nnspec.api.check_text = check
list(Checker().files(sys.argv[1:], 2))
"""


def test_no_process_outlives_one_that_is_killed(here: Path) -> None:
    """Each holds the pipe of stdout open, which `run` reads to its end, so this returns when all of them have ended."""
    names = [f"{i}.nn" for i in range(2000)]
    done = subprocess.run([sys.executable, "-c", _KILLED, *names], stdout=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
