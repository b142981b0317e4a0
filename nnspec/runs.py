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
    from nnspec.data.source import Access
    from nnspec.runner.observer import Observer
    from nnspec.runner.verify import Verification

__all__ = ["RunError", "SavedRun", "compile_run", "open_run", "verify", "verify_again", "verify_with"]


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


def verify(
    path: str | os.PathLike[str],
    other: str | os.PathLike[str] | None = None,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    jobs: int | None = 1,
) -> Verification:
    """Run an experiment again and say whether it comes to the same bits; with `other`, compare two runs on disk.

        nnspec.runs.verify("runs/race/1").same

    Raises RunError for a folder that holds no run, or one that cannot be run again, and what `nnspec.run` raises.
    """
    from nnspec.data.source import Access
    from nnspec.runner.observer import Silent

    saved = open_run(path)
    if other is not None:
        return verify_with(saved, open_run(other))
    access = Access(Path(data_dir) if data_dir is not None else None, offline)
    return verify_again(saved, compile_run(saved), access, Silent(), jobs=jobs)


def verify_again(
    saved: SavedRun, compiled: Compiled, access: Access, observer: Observer, *, jobs: int | None = 1
) -> Verification:
    """Run a saved run's program again, and compare. Raises KeyboardInterrupt on Ctrl-C: half a run proves nothing."""
    from nnspec.runner.record import history_record, trace_record
    from nnspec.runner.run import Ways, run_program
    from nnspec.runner.verify import Records, compare_records, records_of, spoilt_weights

    known, spoilt = records_of(saved), list(spoilt_weights(saved))
    result = run_program(compiled, access, observer, ways=Ways(jobs))
    if result.interrupted:
        raise KeyboardInterrupt
    again = Records("a new run of it", result.summary, history_record(result)["lanes"], trace_record(result)["lanes"])
    return compare_records(known, again, spoilt)


def verify_with(saved: SavedRun, other: SavedRun) -> Verification:
    """Compare two runs on disk, which may be of different specs, as far as lanes and seeds are the same."""
    from nnspec.runner.verify import compare_records, records_of, spoilt_weights

    spoilt = [*spoilt_weights(saved), *spoilt_weights(other)]
    return compare_records(records_of(saved), records_of(other), spoilt)
