"""Every spec that ships is free of mistakes, well formed, right in its calculus, and runs, small, without a network.

No spec is named here: what lies in `specs/` is tested; `test_models` tests those in `specs/models`, and `test_problems`
those in `specs/problems` with `specs/contestants.nn`. To be run in a moment each program is made small after it was
checked: few samples, one epoch, one repeat; its networks, losses, optimizers and lanes stay what they are. Whether its
statements hold at full size is for `nnspec run` to say.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_spec import OFFLINE, ROOT

import nnspec
from nnspec.api import format_text, run_into
from nnspec.checker import check
from nnspec.checker.program import Bound, Choice, Experiment, Program
from nnspec.compiler.proofs import Compiled, prove
from nnspec.diagnostics import Source, read_source
from nnspec.records.folder import RunFolder
from nnspec.runner.gradients import prove_program
from nnspec.runner.options import RunOptions
from nnspec.training.observer import Silent

SPECS = sorted(path for path in (ROOT / "specs").glob("*.nn") if path.stem != "contestants")
each_spec = pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)

FEW = {"train": 96, "test": 32}
"""Samples that a source is asked for where it takes a number: enough for two batches and a few held out."""
BATCH = 32
SIZES = {"width": 8, "context": 8, "depth": 1}
"""What makes networks small that have lets of all these names. What is expected of their size is then left out."""


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NNSPEC_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


def small(program: Program) -> Program:
    """Return the same program with less to do. Its gradients are proved by a test of their own, and not again."""
    return replace(
        program,
        lanes=tuple(map(_quick, program.lanes)),
        models=tuple(map(_quick, program.models)),
        expectations=tuple(e for e in program.expectations if e.about != "calculus"),
    )


def _quick(lane: Experiment) -> Experiment:
    train = replace(lane.train, epochs=1, repeats=1, batch=min(lane.train.batch, BATCH))
    return replace(lane, data=tuple(map(_fewer, lane.data)), train=train)


SEARCH = ("tune.budget=2", "train.epochs=1", "train.repeats=2", "data=Digits(train=60, test=20)")
"""What makes a search small."""


def _fewer(choice: Choice) -> Choice:
    """Ask a source for few samples, where it can be asked for a number."""
    values = choice.value.values()
    fewer = {
        name: Bound(min(values[name], most), choice.value.origin)
        for name, most in FEW.items()
        if isinstance(values.get(name), int) and not isinstance(values[name], bool)
    }
    if not fewer:
        return choice
    value = replace(choice.value, arguments={**choice.value.arguments, **fewer})
    source = value.make()
    return Choice(value, source, source.facts())


def _kind(lane: Experiment) -> tuple[str, ...]:
    return (*(node.value.name for layer in lane.layers for node in layer.walk()), lane.loss.name, lane.train.target)


def sized(path: Path) -> Program:
    """Return the program of a spec, with a small network where the spec has words for that."""
    program = check(read_source(path)).program
    assert program is not None
    if program.tuning is not None:  # a search checks the text again, so only settings make it small
        program = check(read_source(path), [Source("--set", flag) for flag in SEARCH]).program
        assert program is not None
    if not all(SIZES.keys() <= lane.lets.keys() for lane in program.lanes):
        return program
    program = check(read_source(path), [Source("--set", f"{name}={size}") for name, size in SIZES.items()]).program
    assert program is not None
    return replace(program, expectations=tuple(e for e in program.expectations if e.about != "program"))


def compiled(path: Path) -> Compiled:
    return prove(small(sized(path)))[0]


def test_there_are_specs() -> None:
    assert ROOT / "specs" / "race.nn" in SPECS


@each_spec
def test_a_spec_that_ships_has_no_findings(path: Path) -> None:
    result = nnspec.check(path)
    assert result.ok, str(result)
    assert result.diagnostics == ()


@each_spec
def test_a_spec_that_ships_is_formatted(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert format_text(text) == text


@each_spec
def test_a_spec_that_ships_says_what_it_is_and_what_must_hold(path: Path) -> None:
    title, *lines = path.read_text(encoding="utf-8").splitlines()
    assert title.startswith("# ")
    assert title.endswith((".", ":", "?"))
    assert f"#     nnspec run {path.relative_to(ROOT).as_posix()}" in lines
    found = nnspec.check(path)
    assert found.compiled is not None
    assert found.compiled.program.expectations


@each_spec
def test_the_gradients_of_a_spec_that_ships_hold(path: Path) -> None:
    program = sized(path)
    # One lane of each kind of network: those of a sweep over widths differ in nothing that the calculus knows.
    kinds = {_kind(lane): _quick(lane) for lane in reversed(program.lanes)}
    program = replace(program, lanes=tuple(kinds.values()))
    for proof in prove_program(program, OFFLINE, samples=2, quick=True):
        assert proof.holds, (proof.lanes, proof.report.error)


@pytest.mark.usefixtures("drawn")
@each_spec
def test_a_spec_that_ships_runs_without_a_network(path: Path, tmp_path: Path) -> None:
    program = compiled(path)
    out = tmp_path / "out"
    result = run_into(
        program, OFFLINE, Silent(), lambda: RunFolder.make(str(path), out, False), options=RunOptions(jobs=1)
    )
    assert not result.place.unwritten
    assert list(result) == [lane.name for lane in program.program.lanes]
    for lane in result.values():
        assert lane.status == "done", (lane.name, lane.message)
        assert all(len(values) == 1 for values in lane.history.values())
    assert json.loads((out / "summary.json").read_text(encoding="utf-8"))["exit_code"] in (0, 1)
    assert (out / "curves.png").is_file()
