"""Runs of small specs, trained once and copied for each test that looks at them or changes them."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import Any

from nnspec import run

__all__ = ["trained"]

_SHELF = tempfile.TemporaryDirectory(prefix="nnspec-tests-")


def trained(text: str, **more: Any) -> Path:
    """Put a spec, as tiny.nn, and its run into the current folder; return the folder of the run, `out`.

    It is trained in another folder the first time, so it may read no files by relative names.
    """
    kept = Path(_SHELF.name) / hashlib.sha256(repr((text, sorted(more.items()))).encode()).hexdigest()[:16]
    if not kept.exists():
        kept.mkdir()
        (kept / "tiny.nn").write_text(text)
        with chdir(kept):
            run("tiny.nn", out="out", **more)
    shutil.rmtree("out", ignore_errors=True)
    shutil.copytree(kept, ".", symlinks=True, dirs_exist_ok=True)
    return Path("out")
