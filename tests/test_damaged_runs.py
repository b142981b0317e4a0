"""Run folders whose records were changed at random: commands say so in words, or have no need of what was changed."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from tiny_spec import spec

from nnspec import run, runs
from nnspec.errors import NnspecError
from nnspec.view.terminal.run_comparison import compared_record, print_compared
from nnspec.view.terminal.verification import print_verification, verification_record

INSTEAD = [None, -1, 0, 1e308, "", "x", "<script>", [], {}, [None], {"a": 1}, True, 10**400, "\x1b[31m", "a\nb", 1e999]
ROUNDS = 12
DATA = "Digits(train=20, test=5)"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged")
    race, train = "SGD(lr=0.1); Adam(lr=0.01)", "epochs = 2; batch = 16; repeats = 2"
    (folder / "tiny.nn").write_text(spec(race=race, train=train, data=DATA))
    run(folder / "tiny.nn", out=folder / "honest")
    np.save(folder / "x.npy", np.zeros((2, 784)))
    return folder


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything in a record; of lists, to the first few."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 3)):
            yield from places(value[index], (*path, index))


def change(record: Any, rng: random.Random) -> None:
    *way, last = rng.choice(list(places(record)))
    for key in way:
        record = record[key]
    if rng.random() < 0.25:
        del record[last]
    else:
        record[last] = rng.choice(INSTEAD)


def show(*folders: str) -> None:
    with open(os.devnull, "w", errors="replace") as nowhere:
        console = Console(width=80, file=nowhere)
        compared = runs.compare_runs(folders)
        print_compared(compared, console)
        json.dumps(compared_record(compared), allow_nan=False)
        verified = runs.verify(*folders)
        print_verification(verified, console)
        json.dumps(verification_record(verified), allow_nan=False)


@pytest.mark.parametrize("name", ["summary.json", "history.json", "trace.json", "run.json"])
def test_no_record_makes_a_fault(name: str, honest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(honest)
    rng, refused = random.Random(name), 0
    commands = [
        lambda: runs.report(["damaged"], "page.html", force=True),
        lambda: runs.report(["honest", "damaged"], "page.html", force=True),
        lambda: show("damaged", "honest"),
        lambda: show("honest", "damaged"),
        lambda: runs.evaluate("damaged"),
        lambda: runs.predict(runs.load("damaged"), ["x.npy"]),
        lambda: runs.export_weights("damaged", "w.npz", force=True),
    ]
    for _ in range(ROUNDS):
        shutil.rmtree("damaged", ignore_errors=True)
        shutil.copytree("honest", "damaged")
        record = json.loads(Path("damaged", name).read_text())
        change(record, rng)
        Path("damaged", name).write_text(json.dumps(record))
        for command in commands:
            try:
                command()
            except NnspecError:
                refused += 1
        if Path("page.html").exists():
            assert "<script" not in Path("page.html").read_text("utf-8", "replace")
    assert refused, "what was needed is missed"
