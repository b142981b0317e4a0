"""Makes everything that follows from the parts that are registered: `make reference`, after a part was added.

docs/parts.md, the defaults that identities of runs rely on, and PyTorch's numbers where PyTorch is installed. Says what
could not be made, and then ends with exit code 1.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import nnspec.data  # noqa: F401  (declares the data sources)
from nnspec.checker.program import TrainSettings
from nnspec.engine import PARTS
from nnspec.semantics.meaning import SEMANTICS, canonical

TESTS = Path(__file__).resolve().parent
DEFAULTS, ORACLE = TESTS / "samples/defaults.json", TESTS / "oracle"
TABLES = {"layer": "layers*.json", "loss": "losses*.json", "optimizer": "trajectories_*.json"}
"""Where PyTorch's numbers are, for the kinds of parts that need some."""
BY_NAME = {"layer": "layers_by_name", "optimizer": "trajectories_by_name"}
"""What makes them for a part whose counterpart in PyTorch has one of its names."""


IN_NETWORKS = {"from", "same", "transposed", "multiply", "subtract", "dot", "distance", "outputs"}
"""Parts that mean something only in a network: `test_graph` and `test_outputs` compare networks with PyTorch's."""


def defaults() -> dict[str, Any]:
    """Every setting of `train` and every argument of a part that has a default, with it."""
    found = {f"train.{each.name}": canonical(each.default) for each in fields(TrainSettings)}
    for kind, known in PARTS.items():
        for name, part in known.items():
            if part.__module__.startswith("nnspec."):
                for argument in part.signature():
                    if not argument.required and not argument.inferred:
                        found[f"{kind} {name}.{argument.name}"] = canonical(argument.default)
    return found


def changed_defaults() -> set[str]:
    """The defaults that differ from those of the file: they would change the meaning of recorded runs."""
    known, now = json.loads(DEFAULTS.read_text(encoding="utf-8")), defaults()
    return {name for name, value in known["defaults"].items() if now.get(name, "gone") != value}


def without_reference(kind: str) -> list[str]:
    """The parts of a kind without reference numbers from PyTorch."""
    tables = (json.loads(path.read_text(encoding="utf-8")) for path in ORACLE.glob(TABLES[kind]))
    known = {case["part"] for table in tables for case in table["cases"] if "part" in case}
    ours = [name for name, part in PARTS[kind].items() if part.__module__.startswith("nnspec.")]
    return [name for name in ours if name not in known | IN_NETWORKS]


def main() -> int:
    """Make everything, and say what could not be made."""
    from pages import DOCS, parts_page

    (DOCS / "parts.md").write_text(parts_page(), encoding="utf-8")
    print("made docs/parts.md")
    missing = [*_defaults(), *_oracle()]
    for line in missing:
        print(f"NOT MADE: {line}", file=sys.stderr)
    return 1 if missing else 0


def _defaults() -> Iterator[str]:
    changed = changed_defaults()
    if changed:
        yield (
            f"tests/samples/defaults.json: the default of {', '.join(sorted(changed))} has changed, so that runs "
            "recorded before would mean something else: raise SEMANTICS, and delete the file's entry"
        )
        return
    content = {"semantics": SEMANTICS, "defaults": dict(sorted(defaults().items()))}
    DEFAULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print("made tests/samples/defaults.json")


def _oracle() -> Iterator[str]:
    installed = importlib.util.find_spec("torch") is not None
    for kind in TABLES:
        missing = without_reference(kind)
        if missing and installed and kind in BY_NAME:
            subprocess.run([sys.executable, ORACLE / "make_reference.py", BY_NAME[kind]], check=True)
            print(f"made tests/oracle/{BY_NAME[kind]}.json")
        for name in without_reference(kind):
            numbers = f"PyTorch's numbers for {name}"
            if installed or kind not in BY_NAME:
                yield f"{numbers}: no class of PyTorch's has one of its names; write a row in tests/oracle"
            else:
                yield f"{numbers}: PyTorch is not installed here; run `make reference` where it is"


if __name__ == "__main__":
    sys.exit(main())
