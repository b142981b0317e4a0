"""nnspec: a small declarative text file becomes a trained neural network, with nothing but NumPy underneath.

    import nnspec

    result = nnspec.run("specs/race.nn", set={"train.epochs": 3})
    result["Adam"].history["loss"]

    from nnspec import engine as nn      # the NumPy engine, a library in its own right

Importing this module is cheap: everything behind it is loaded when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nnspec._version import __version__ as __version__

if TYPE_CHECKING:
    from nnspec import data as data
    from nnspec import engine as engine
    from nnspec import view as view
    from nnspec.api import CheckResult as CheckResult
    from nnspec.api import SpecError as SpecError
    from nnspec.api import check as check
    from nnspec.api import format_text as format_text
    from nnspec.api import gradcheck as gradcheck
    from nnspec.api import run as run
    from nnspec.data.source import DataError as DataError
    from nnspec.data.source import DataUnavailable as DataUnavailable
    from nnspec.diagnostics import SourceError as SourceError
    from nnspec.engine.random import set_seed as set_seed
    from nnspec.errors import DataWarning as DataWarning
    from nnspec.errors import NnspecError as NnspecError
    from nnspec.executors.processes import WorkerError as WorkerError
    from nnspec.formatting import format_spec as format_spec
    from nnspec.records.folder import OutputError as OutputError

# Public name -> the module that it is taken from; a module of the same name is the value itself.
_PUBLIC = {
    "CheckResult": "nnspec.api",
    "DataError": "nnspec.data.source",
    "DataUnavailable": "nnspec.data.source",
    "DataWarning": "nnspec.errors",
    "NnspecError": "nnspec.errors",
    "OutputError": "nnspec.records.folder",
    "WorkerError": "nnspec.executors.processes",
    "SourceError": "nnspec.diagnostics",
    "SpecError": "nnspec.api",
    "check": "nnspec.api",
    "data": "nnspec.data",
    "engine": "nnspec.engine",
    "format_spec": "nnspec.formatting",
    "format_text": "nnspec.api",
    "gradcheck": "nnspec.api",
    "run": "nnspec.api",
    "set_seed": "nnspec.engine.random",
    "view": "nnspec.view",
}

__all__ = [
    "CheckResult",
    "DataError",
    "DataUnavailable",
    "DataWarning",
    "NnspecError",
    "OutputError",
    "SourceError",
    "SpecError",
    "check",
    "data",
    "engine",
    "format_spec",
    "format_text",
    "gradcheck",
    "run",
    "set_seed",
    "view",
]


def __getattr__(name: str) -> Any:
    home = _PUBLIC.get(name)
    if home is None:
        raise AttributeError(f"module 'nnspec' has no attribute {name!r}")
    module = import_module(home)
    return module if home == f"nnspec.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
