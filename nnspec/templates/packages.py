"""Starter packages: your own part in a module, with tests that pass, and a spec that uses it."""

from __future__ import annotations

import keyword
import os
import re
import shutil
import sys
from importlib.resources import files
from pathlib import Path
from string import Template

from nnspec.errors import NnspecError
from nnspec.files import atomic

__all__ = ["KINDS", "PackageError", "names_of", "write_package"]

_SPEC = {
    "data": "Moons(train=64, test=32)",
    "model": "Linear(8); ReLU; Linear(2)",
    "loss": "CrossEntropy",
    "optimizer": "Adam(lr=0.01)",
    "train": "epochs = 2; batch = 16",
    "more": "",
}
_NUMBERS = {"data": "Sine(train=64, test=32)", "model": "Linear(8, init=xavier_normal); Tanh; Linear(1)", "loss": "MSE"}

KINDS: dict[str, dict[str, str]] = {
    "layer": {"model": "Linear(8); $word; ReLU; Linear(2)"},
    "loss": {**_NUMBERS, "loss": "$word"},
    "optimizer": {"optimizer": "$word(lr=0.01)"},
    "schedule": {"optimizer": "Adam(lr=$word(0.01))"},
    "initializer": {"model": "Linear(8, init=$word); ReLU; Linear(2)"},
    "metric": {**_NUMBERS, "more": "metrics = [$word]"},
    "augmentation": {"train": "epochs = 2; batch = 16; augment = $word"},
    "data source": {"data": "$word"},
}
"""Kind of part -> what a spec that uses it has instead of the usual settings."""
_LOWER = ("schedule", "initializer", "metric", "augmentation")
"""Kinds whose names are in lower case."""
_FILES = {"pyproject.toml": "pyproject", "README.md": "readme", "example.nn": "example"}


class PackageError(NnspecError):
    """A starter package cannot be written."""


def names_of(path: str | os.PathLike[str], kind: str) -> dict[str, str]:
    """Return the names in a package in a folder: of the package, its module, the class, and the part in specs.

    Raises PackageError for a folder that is no name of a module, or that of one of Python's own.
    """
    module = Path(path).absolute().name.replace("-", "_").lower()
    if not re.fullmatch(r"[a-z][a-z0-9_]*", module) or keyword.iskeyword(module):
        raise PackageError(f"{Path(path).name} cannot be the name of a module; use letters, digits and _")
    if module in sys.stdlib_module_names or module in ("nnspec", "numpy", "pytest"):
        raise PackageError(f"there is a module {module} already; choose another name")
    name = "".join(word.capitalize() for word in module.split("_"))
    return {
        "package": module.replace("_", "-"),
        "module": module,
        "name": name,
        "word": module if kind in _LOWER else name,
        "a_kind": f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}",
        "pad": " " * max(2, 34 - len(f"nnspec conform {module}")),
    }


def write_package(path: str | os.PathLike[str], kind: str) -> list[Path]:
    """Write a package with a part of a kind into a new folder, and return its files.

    Raises PackageError for a name that cannot be one, a folder that exists, and a place that cannot be written to.
    """
    folder, names = Path(path), names_of(path, kind)
    settings = {name: Template(text).substitute(names) for name, text in (_SPEC | KINDS[kind]).items()}
    source = {f"{names['module']}.py": kind.replace(" ", "_"), f"test_{names['module']}.py": "test", **_FILES}
    try:
        folder.mkdir()
        for file, template in source.items():
            text = (files("nnspec.templates") / "parts" / f"{template}.txt").read_text(encoding="utf-8")
            with atomic(folder / file) as out:
                out.write(Template(text).substitute(names | settings).rstrip().encode() + b"\n")
    except FileExistsError:
        raise PackageError(f"{folder} already exists; choose another name") from None
    except FileNotFoundError:
        if folder.parent.is_dir():  # such as /proc, where no folder can be made
            raise PackageError(f"{folder} cannot be written; choose another folder") from None
        raise PackageError(f"folder not found: {folder.parent}; create it first") from None
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)  # made above, and incomplete
        raise PackageError(f"{folder} cannot be written: {error.strerror or error}") from None
    return [folder / file for file in source]
