"""Export every spec and layer to PyTorch, verified there, and write down what was verified: `exported_torch.json`.

    PYTHONPATH=.:tests python tests/oracle/exported_torch.py

takes an environment with PyTorch. With names of specs or chains as arguments, only these are made again. A test then
holds the exported code to this file, without PyTorch.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from exported_runs import CHAINS, DTYPES, SPECS, chain_of, code_of, run_of

from nnspec import runs

if __name__ == "__main__":
    path = Path(__file__).with_suffix(".json")
    found = json.loads(path.read_text()) if sys.argv[1:] else {}
    names = [*SPECS, *(f"{name} {dtype}" for name in CHAINS for dtype in DTYPES)]
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            if sys.argv[1:] and name.split()[0] not in sys.argv[1:]:
                continue
            run, lane = run_of(name) if name in SPECS else (chain_of(*name.split()), None)
            done = runs.export(run, Path(folder, "model.py"), "torch", lane=lane, force=True)
            (verified,) = done.certificate.verified
            print(name, verified.sentence())
            found[name] = {
                "code": code_of(done.path),
                "runtime": verified.runtime,
                "values": verified.values,
                "difference": float(f"{verified.difference:.1e}"),
            }
    path.write_text(json.dumps(found, indent=1) + "\n")
