"""The notebook of the documentation runs in a new kernel, and prints what its committed outputs show."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from engine_room import NOTEBOOK, executed, texts
from page_runner import assert_alike

nbformat = pytest.importorskip("nbformat", reason="notebooks need nbformat")
pytest.importorskip("nbclient", reason="running notebooks needs nbclient")
pytest.importorskip("ipykernel", reason="running notebooks needs ipykernel")


def test_the_engine_room_runs_and_prints_what_it_shows(tmp_path: Path) -> None:
    shown, printed = (texts(each) for each in (nbformat.read(NOTEBOOK, as_version=4), executed(tmp_path)))
    assert len(shown) == len(printed) > 8
    for i, (before, now) in enumerate(zip(shown, printed, strict=True)):
        assert_alike(before, now, f"output {i + 1}")
    together = "".join(printed)
    assert "✓ gradient_error < 1e-7" in together
    assert "✗" not in together


def test_its_outputs_name_no_machine_and_no_times() -> None:
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    assert all(cell.get("execution_count", 1) for cell in notebook["cells"]), "it is committed executed"
    for cell in notebook["cells"]:
        assert "execution" not in cell["metadata"]
        for output in cell.get("outputs", ()):
            assert output["output_type"] != "error"
            data = {name: value for name, value in output.get("data", {}).items() if not name.startswith("image/")}
            text = json.dumps({**output, "data": data}, ensure_ascii=False)
            assert not re.search(r"/(tmp|home|root|work)/|0x[0-9a-f]{6}|\d s\b|stderr", text), text
    outputs = [output.get("data", {}) for cell in notebook["cells"] for output in cell.get("outputs", ())]
    assert sum("image/png" in data for data in outputs) == 5
