"""A run on disk: history.json, summary.json, and the weights of each lane."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from nnspec.checker.program import Program
from nnspec.engine._numpy import np
from nnspec.files import atomic
from nnspec.runner.environment import environment
from nnspec.runner.history import LaneResult, RunResult, common_loss, epochs_to

__all__ = ["history_record", "summary_record", "write_record"]

FORMAT = 1


def write_record(result: RunResult, folder: Path) -> None:
    """Write a run into its folder, and note the names of the files in it."""
    files = ["history.json", "summary.json"]
    _write_json(folder / "history.json", history_record(result))
    for lane in result.lanes.values():
        if lane.status == "diverged":
            continue  # weights that are no numbers are of no use to anyone
        (folder / lane.name).mkdir(exist_ok=True)
        with atomic(folder / lane.name / "weights.npz") as file:
            np.savez(file, **{name: p.data for name, p in lane.network.named_parameters().items()})  # type: ignore[arg-type]
        files.append(f"{lane.name}/weights.npz")
    _write_json(folder / "summary.json", result.summary)
    result.files = tuple(files)


def history_record(result: RunResult) -> dict[str, Any]:
    """Return the curves: for each lane, a list for each figure, a value an epoch."""
    return {
        "format": FORMAT,
        "lanes": {lane.name: {**lane.history, "seconds": lane.epoch_seconds} for lane in result.lanes.values()},
    }


def summary_record(result: RunResult, program: Program, started: str) -> dict[str, Any]:
    """Return what was run, on what, and what came of it."""
    target = common_loss(list(result.lanes.values()))
    return {
        "format": FORMAT,
        "title": result.title,
        "spec": {
            "path": program.path,
            "sha256": hashlib.sha256(program.text.encode()).hexdigest(),
            "set": list(program.overrides),
        },
        "seed": result.seed,
        "started": started,
        "interrupted": result.interrupted,
        "data": [
            {
                "source": use.source,
                "asked_for": use.asked_for,
                "stands_in": use.stands_in,
                "reason": use.reason,
                "sha256": use.sha256,
                "origin": use.origin,
                "train": use.train,
                "test": use.test,
            }
            for use in result.data
        ],
        "environment": environment(),
        "gradient_error": _number(result.gradient_error),
        "common_loss": target,
        "lanes": [_lane(lane, program, target) for lane in result.lanes.values()],
        "expectations": [{"text": v.text, "held": v.held, "detail": v.detail} for v in result.verdicts],
        "exit_code": result.exit_code,
    }


def _lane(lane: LaneResult, program: Program, target: float | None) -> dict[str, Any]:
    experiment = next(e for e in program.lanes if e.name == lane.name)
    epochs = epochs_to(lane.history["loss"], target) if target is not None else math.inf
    reached = math.isfinite(epochs)
    return {
        "name": lane.name,
        "status": lane.status,
        "message": lane.message,
        "seed": experiment.seed,
        "dtype": experiment.dtype,
        "optimizer": lane.optimizer,
        "loss": str(experiment.loss),
        "batch": experiment.train.batch,
        "params": lane.params,
        "epochs": len(lane.history["loss"]),
        "epochs_asked_for": lane.epochs,
        "seconds": lane.seconds,
        "final": {name: values[-1] for name, values in lane.history.items() if values},
        "epochs_to_common_loss": int(epochs) if reached else None,
        "seconds_to_common_loss": math.fsum(lane.epoch_seconds[: int(epochs)]) if reached else None,
    }


def _number(value: float | None) -> float | None:
    """JSON has no NaN: what could not be measured is null."""
    return value if value is not None and math.isfinite(value) else None


def _write_json(path: Path, record: dict[str, Any]) -> None:
    with atomic(path) as file:
        file.write(json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n")
