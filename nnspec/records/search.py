"""A search that is finished, read from the folder of its trials."""

from __future__ import annotations

from pathlib import Path

from nnspec.records.reading import RunError, usable
from nnspec.records.saved import MANIFEST, open_run
from nnspec.results.tuning import Tuned

__all__ = ["finished_search"]


def finished_search(path: Path, identity: str) -> Tuned | None:
    """Return the result of the search in a folder; None if there is none, if its identity is another one, or if it has
    not finished. Raises RunError if it is damaged."""
    if not (path / MANIFEST).is_file():
        return None
    try:
        saved = open_run(path)
        if saved.manifest.identity != identity or not (path / "summary.json").exists():
            return None
        with usable(path / "summary.json"):
            return None if saved.summary["interrupted"] else Tuned.of_record(saved.summary["tuned"])
    except RunError as error:
        raise RunError(f"{error}; search again with --force instead of --resume, or in another folder") from None
