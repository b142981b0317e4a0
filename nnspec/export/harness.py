"""Run an exported file of Python in a process of its own, and write down every value inside.

    python -I harness.py FILE WORK

WORK holds `cases.npz` (x0, x1, …) and `lines.json` ([value, line, variable], …); the values of case i are written to
`values.npz` as `i/value`. nnspec is not imported: the file must work without it.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def _array(value: Any) -> Any:
    return np.array(value.detach().cpu().numpy() if hasattr(value, "detach") else value)


def main(file: str, work: str) -> None:
    """Run all cases."""
    spec = importlib.util.spec_from_file_location("exported", file)
    if spec is None or spec.loader is None:
        raise ImportError(file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    lines = {line: (value, name) for value, line, name in json.loads(Path(work, "lines.json").read_text())}
    found: dict[str, Any] = {}
    values: dict[str, Any] = {}

    def in_function(frame: Any, event: str, _: object) -> Any:
        """After each line of the forward pass, keep the value that is complete."""
        value, name = lines.get(done[0], ("", ""))
        if value and event in ("line", "return"):
            values[value] = _array(frame.f_locals[name])
        done[0] = frame.f_lineno if event == "line" else 0
        return in_function

    def at_call(frame: Any, event: str, _: object) -> Any:
        if event == "call" and frame.f_code.co_name == "forward" and frame.f_code.co_filename == file:
            done[0] = 0
            return in_function
        return None

    done = [0]
    with np.load(Path(work, "cases.npz"), allow_pickle=False) as cases:
        for number in range(len(cases.files)):
            x = cases[f"x{number}"]
            values.clear()
            sys.settrace(at_call)
            try:
                outputs = module.outputs(x)
            finally:
                sys.settrace(None)
            p = module.probabilities(x)
            found |= {f"{number}/{name}": value for name, value in values.items()}
            found[f"{number}/outputs()"] = _array(outputs)
            if p is not None:
                found[f"{number}/probabilities()"] = _array(p)
    if "nnspec" in sys.modules:
        raise ImportError("the exported file imports nnspec")
    np.savez(Path(work, "values.npz"), allow_pickle=False, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
