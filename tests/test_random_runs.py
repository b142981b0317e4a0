"""Random specs, trained alone, stacked, in processes, and ended and resumed: the same bits (see `random_runs.py`)."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from random_runs import Bench, difference, facts
from run_writer import RunWriter, data_files
from tiny_spec import ROOT, environment

from nnspec.compiler.bind import Views
from nnspec.executors.processes import Processes
from nnspec.native import library
from nnspec.training.checkpoint import Checkpoint, Keeper

FUZZ = ROOT / "tests" / "fuzz" / "fuzz_runs.py"
FIRST, COUNT = 100_000, 24
"""Numbers that nobody has seen when the fuzzer runs from 0."""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    data_files(tmp_path)
    return Bench(tmp_path)


def test_specs_have_the_same_bits_in_every_way(bench: Bench) -> None:
    stacks = 0
    for number in range(FIRST, FIRST + COUNT):
        alone = bench.alone(number)
        for way in ("stacked", "resumed"):
            result = bench.trained(number, way)
            stacks += len(result.summary["ways"]["stacks"])
            assert not difference(alone, result), (number, way, bench.text(number))
    assert stacks > COUNT // 3


@pytest.mark.skipif(not library.available(), reason="compiled steps need Numba, which is an extra")
def test_they_have_compiled(bench: Bench, kernels: Path) -> None:
    for number in range(FIRST, FIRST + 8):
        alone = bench.alone(number)
        for way in ("compiled", "late", "changed"):
            assert not bench.fault(number, way, alone), (number, way, bench.text(number))


def test_they_have_in_processes(tmp_path: Path, spawned_workers: None) -> None:
    data_files(tmp_path)
    with Processes(2) as workers:
        bench = Bench(tmp_path, workers)
        for number in range(FIRST, FIRST + 10):
            assert not bench.fault(number, "jobs", bench.alone(number)), (number, bench.text(number))


def test_a_number_is_one_spec() -> None:
    texts = [RunWriter(number).text() for number in range(40)]
    assert texts == [RunWriter(number).text() for number in range(40)]
    assert len(set(texts)) == 40


def test_without_asserts_the_bits_are_the_same(bench: Bench, tmp_path: Path) -> None:
    """`python -O` leaves every `assert` out, and no result may depend on one."""
    command = [str(FUZZ), "--first", str(FIRST), "--count", "8", "--ways", "stacked,resumed", "--digest"]
    done = subprocess.run(
        [sys.executable, "-O", "-P", *command],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lanes = [lane for number in range(FIRST, FIRST + 8) for lane in bench.alone(number).values()]
    digest = hashlib.sha256("".join(repr(facts(lane)) for lane in lanes).encode()).hexdigest()
    assert done.stdout.splitlines()[-1] == f"digest {digest}"


def test_it_would_notice(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack that works in a copy of the lanes' memory, and checkpoints with other weights."""
    numbers = range(FIRST, FIRST + 8)
    alone = {number: bench.alone(number) for number in numbers}

    def faults(way: str) -> int:
        return sum(bool(bench.fault(number, way, alone[number])) for number in numbers)

    store = Keeper.store

    def wrong(keeper: Keeper, kept: Checkpoint) -> None:
        kept.snapshot.arrays["parameters"][...] *= 1.5
        store(keeper, kept)

    with monkeypatch.context() as patch:
        honest = Views.one_batch
        patch.setattr(Views, "one_batch", lambda views, name: honest(views, name).copy())
        assert faults("stacked")
    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "store", wrong)
        assert faults("resumed")
