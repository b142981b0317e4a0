"""Every spec that ships is free of mistakes, and runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_spec import ROOT

import nnspec

SPECS = sorted((ROOT / "specs").rglob("*.nn"))


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NNSPEC_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


def test_there_are_specs() -> None:
    assert ROOT / "specs" / "race.nn" in SPECS


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_that_ships_has_no_findings(path: Path) -> None:
    result = nnspec.check(path)
    assert result.ok, str(result)
    assert result.diagnostics == ()


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_that_ships_runs_without_a_network(path: Path, tmp_path: Path) -> None:
    result = nnspec.run(path, set={"train.epochs": 1}, out=tmp_path / "out", offline=True)
    assert {lane.status for lane in result.values()} == {"done"}
    assert all(len(lane.history["loss"]) == 1 for lane in result.values())
    assert json.loads((tmp_path / "out/summary.json").read_text())["exit_code"] in (0, 1)
    assert (tmp_path / "out/curves.png").is_file()
