"""Export every spec and layer to PyTorch, verified there, and write down what was verified: `exported_torch.json`.

    PYTHONPATH=.:tests python tests/oracle/exported_torch.py

takes an environment with PyTorch. A test then holds the exported code to this file, without PyTorch.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from exported_runs import CHAINS, DTYPES, SPECS, chain_of, code_of, run_of

from nnspec import runs

if __name__ == "__main__":
    found = {}
    networks = {name: run_of(name) for name in SPECS}
    networks |= {f"{name} {dtype}": (chain_of(name, dtype), None) for name in CHAINS for dtype in DTYPES}
    with tempfile.TemporaryDirectory() as folder:
        for name, (run, lane) in networks.items():
            done = runs.export(run, Path(folder, "model.py"), "torch", lane=lane, force=True)
            (verified,) = done.certificate.verified
            print(name, verified.sentence())
            found[name] = {
                "code": code_of(done.path),
                "runtime": verified.runtime,
                "values": verified.values,
                "difference": float(f"{verified.difference:.1e}"),
            }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(found, indent=1) + "\n")
