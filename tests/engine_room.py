"""Run `docs/engine_room.ipynb` and write its outputs into it: `python tests/engine_room.py`.

Outputs have no times and no names of the machine, so that the notebook changes only if its numbers do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tiny_spec import environment

__all__ = ["NOTEBOOK", "executed", "texts"]

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs/engine_room.ipynb"
_TIME = re.compile(r"\b[\d,.]+ (?:s|ms|min)\b")


def executed(cache: Path) -> Any:
    """Return the notebook after running all of its cells in a new kernel. Raises CellExecutionError."""
    import nbclient
    import nbformat

    variables = {**environment(cache), "IPYTHONDIR": str(cache / "ipython"), "PYTHONWARNINGS": "default"}
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(cache)}}
    )
    with patch.dict(os.environ, variables):
        client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
        for output in cell.get("outputs", ()):
            for data in (output.get("data", {}), output):
                for kind in ("text/plain", "text/html", "text"):
                    if kind in data:
                        data[kind] = _plain(data[kind])
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def _joined(outputs: Iterable[Any]) -> list[Any]:
    """Join what was printed in several pieces, whose number is a matter of timing."""
    found: list[Any] = []
    for output in outputs:
        if found and output.output_type == "stream" and found[-1].get("name") == output.name:
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def _plain(text: str) -> str:
    """Replace times, and addresses of objects."""
    return re.sub(r" at 0x[0-9a-f]+", "", _TIME.sub("… s", text))


def texts(notebook: Any) -> list[str]:
    """Return the text of every output."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]


def main() -> None:
    """Write the notebook with its outputs."""
    import tempfile

    import nbformat

    with tempfile.TemporaryDirectory(prefix="nnspec-") as folder:
        notebook = executed(Path(folder))
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
