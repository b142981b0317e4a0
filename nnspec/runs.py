"""Runs that lie on disk: opened, and turned into programs again. For Python callers and the command line alike.

saved = nnspec.runs.open_run("runs/race/latest")
saved.summary["lanes"]; saved.history["Adam"]["loss"]; saved.weights("Adam")
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from nnspec.api import SpecError, check_text, identity_of
from nnspec.diagnostics import Source
from nnspec.runner.saved import RunError, SavedRun, open_run

if TYPE_CHECKING:
    from nnspec.compiler.proofs import Compiled

__all__ = ["RunError", "SavedRun", "compile_run", "open_run"]


def compile_run(saved: SavedRun) -> Compiled:
    """Turn a run's spec, as it was then and with the settings of then, into a program again.

    Its text is the copy in the run's folder; imports and data files are read from where they were. Raises RunError
    where what it comes to is not what was run: an import that changed, another version of nnspec.
    """
    manifest = saved.manifest
    folder = Path(os.path.normpath(saved.path / manifest.home))
    result = check_text(Source(manifest.spec, saved.text, folder), manifest.set)
    changed = [name for name, digest in manifest.imports.items() if _digest(result.files, name) != digest]
    if changed:
        raise RunError(
            f"{saved.path} cannot be taken up: {', '.join(changed)}, which its spec imports from {folder}, "
            "changed or is gone since it was run"
        )
    if not result.ok:
        raise SpecError(result.diagnostics)
    if result.compiled is None or identity_of(result.compiled) != manifest.identity:
        version = manifest.environment.get("nnspec")
        raise RunError(
            f"{saved.path} cannot be taken up: its spec comes to other values now than when it was run, "
            f"with nnspec {version}; run the spec again"
        )
    return result.compiled


def _digest(files: tuple[Source, ...], name: str) -> str | None:
    found = next((source for source in files if source.name == name), None)
    return hashlib.sha256(found.text.encode()).hexdigest() if found is not None else None
