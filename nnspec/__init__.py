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
    from nnspec import runs as runs
    from nnspec import view as view
    from nnspec.analysis.landscape import LandscapeError as LandscapeError
    from nnspec.api import CheckResult as CheckResult
    from nnspec.api import Spec as Spec
    from nnspec.api import SpecError as SpecError
    from nnspec.api import check as check
    from nnspec.api import diff as diff
    from nnspec.api import format_text as format_text
    from nnspec.api import gradcheck as gradcheck
    from nnspec.api import landscape as landscape
    from nnspec.api import lr_range as lr_range
    from nnspec.api import new as new
    from nnspec.api import resolved as resolved
    from nnspec.api import run as run
    from nnspec.benchmark.plan import BenchError as BenchError
    from nnspec.benchmark.running import bench as bench
    from nnspec.data.source import DataError as DataError
    from nnspec.data.source import DataUnavailable as DataUnavailable
    from nnspec.diagnostics import SourceError as SourceError
    from nnspec.engine.layers.contract import ShapeError as ShapeError
    from nnspec.engine.random import set_seed as set_seed
    from nnspec.errors import DataWarning as DataWarning
    from nnspec.errors import NnspecError as NnspecError
    from nnspec.executors.dask_cluster import ClusterError as ClusterError
    from nnspec.executors.processes import WorkerError as WorkerError
    from nnspec.export.certificate import ExportError as ExportError
    from nnspec.extensions import ExtensionError as ExtensionError
    from nnspec.formatting import WriteError as WriteError
    from nnspec.formatting import format_spec as format_spec
    from nnspec.records.folder import OutputError as OutputError
    from nnspec.records.reading import RunError as RunError
    from nnspec.results.bench import BenchResult as BenchResult
    from nnspec.results.lane import LaneResult as LaneResult
    from nnspec.results.run import RunResult as RunResult
    from nnspec.results.stored import UnstorableError as UnstorableError
    from nnspec.results.tuning import TuningError as TuningError
    from nnspec.runner.drawing import PictureError as PictureError
    from nnspec.templates import StarterError as StarterError
    from nnspec.testing.check import ConformanceError as ConformanceError
    from nnspec.training.checkpoint import CheckpointError as CheckpointError

# Public name -> the module that it is taken from; a module of the same name is the value itself.
_PUBLIC = {
    "BenchError": "nnspec.benchmark.plan",
    "BenchResult": "nnspec.results.bench",
    "CheckResult": "nnspec.api",
    "CheckpointError": "nnspec.training.checkpoint",
    "ClusterError": "nnspec.executors.dask_cluster",
    "ConformanceError": "nnspec.testing.check",
    "DataError": "nnspec.data.source",
    "DataUnavailable": "nnspec.data.source",
    "DataWarning": "nnspec.errors",
    "ExportError": "nnspec.export.certificate",
    "ExtensionError": "nnspec.extensions",
    "LandscapeError": "nnspec.analysis.landscape",
    "LaneResult": "nnspec.results.lane",
    "NnspecError": "nnspec.errors",
    "OutputError": "nnspec.records.folder",
    "PackageError": "nnspec.templates.packages",
    "PictureError": "nnspec.runner.drawing",
    "RunError": "nnspec.records.reading",
    "RunResult": "nnspec.results.run",
    "ShapeError": "nnspec.engine.layers.contract",
    "SourceError": "nnspec.diagnostics",
    "Spec": "nnspec.api",
    "SpecError": "nnspec.api",
    "StarterError": "nnspec.templates",
    "TuningError": "nnspec.results.tuning",
    "UnstorableError": "nnspec.results.stored",
    "WorkerError": "nnspec.executors.processes",
    "WriteError": "nnspec.formatting",
    "bench": "nnspec.benchmark.running",
    "check": "nnspec.api",
    "data": "nnspec.data",
    "diff": "nnspec.api",
    "engine": "nnspec.engine",
    "format_spec": "nnspec.formatting",
    "format_text": "nnspec.api",
    "gradcheck": "nnspec.api",
    "landscape": "nnspec.api",
    "lr_range": "nnspec.api",
    "new": "nnspec.api",
    "resolved": "nnspec.api",
    "run": "nnspec.api",
    "runs": "nnspec.runs",
    "set_seed": "nnspec.engine.random",
    "view": "nnspec.view",
}

__all__ = [
    "BenchError",
    "BenchResult",
    "CheckResult",
    "CheckpointError",
    "ClusterError",
    "ConformanceError",
    "DataError",
    "DataUnavailable",
    "DataWarning",
    "ExportError",
    "ExtensionError",
    "LandscapeError",
    "LaneResult",
    "NnspecError",
    "OutputError",
    "PackageError",
    "PictureError",
    "RunError",
    "RunResult",
    "ShapeError",
    "SourceError",
    "Spec",
    "SpecError",
    "StarterError",
    "TuningError",
    "UnstorableError",
    "WorkerError",
    "WriteError",
    "bench",
    "check",
    "data",
    "diff",
    "engine",
    "format_spec",
    "format_text",
    "gradcheck",
    "landscape",
    "lr_range",
    "new",
    "resolved",
    "run",
    "runs",
    "set_seed",
    "view",
]


def __getattr__(name: str) -> Any:
    home = _PUBLIC.get(name)
    if home is None:
        raise AttributeError(f"module 'nnspec' has no attribute {name!r}")
    module = import_module(home)
    return module if home == f"nnspec.{name}" else getattr(module, name)


def load_ipython_extension(ipython: Any) -> None:
    """Define the magic `%%nn`: called by `%load_ext nnspec`."""
    import_module("nnspec.notebook").load(ipython)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
