"""Writing a run to disk: history.json, summary.json, trace.json, and the weights of each lane.

SGD/weights.npz        for a lane that was trained with one seed
Adam/seed-42.npz       for a lane that was trained with several seeds: one file per seed
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nnspec.checker.program import Experiment, Program, TrainSettings
from nnspec.compiler.proofs import Compiled
from nnspec.engine._numpy import np
from nnspec.engine.part import Part
from nnspec.environment import environment
from nnspec.files import atomic, utf8
from nnspec.records.lane_folders import folder_names
from nnspec.results.comparisons import comparison_records, interval_records
from nnspec.results.digests import array_digest
from nnspec.results.epochs import columns
from nnspec.results.fairness import fairness
from nnspec.results.health import health_records
from nnspec.results.lane import LaneResult
from nnspec.results.run import RunResult, common_loss
from nnspec.results.sweeps import best_record, point_record
from nnspec.text import finite, to_json

__all__ = ["history_record", "summary_record", "trace_record", "write_record"]

FORMAT = 1


def write_record(
    result: RunResult, folder: Path, folders: Mapping[str, str] = MappingProxyType({}), *, weights: bool = True
) -> tuple[list[str], list[str]]:
    """Write a run into its folder. `folders` are those of lanes by name; other lanes get the default ones. `weights`
    says whether those of the lanes are written.

    Returns the names of the written files, and those that could not be written with the reason:
    `SGD/weights.npz (No space left on device)`.
    """
    names = dict(zip(result.lanes, folder_names(result.lanes), strict=True)) | dict(folders)
    files: dict[str, Callable[[Path], None]] = {
        "history.json": lambda path: _write_json(path, history_record(result)),
        "summary.json": lambda path: _write_json(path, result.summary),
        "trace.json": lambda path: _write_json(path, trace_record(result)),
    }
    for lane in result.lanes.values():
        for one in lane.trainings if weights else ():
            if one.has_network:
                name = f"{names[lane.name]}/{f'seed-{one.seed}' if lane.repeats else 'weights'}.npz"
                files[name] = partial(_write_weights, one)
    written: list[str] = []
    problems: list[str] = []
    for name, write in files.items():
        try:
            (folder / name).parent.mkdir(exist_ok=True)
            write(folder / name)
        except OSError as error:
            problems.append(f"{name} ({error.strerror or error})")
        else:
            written.append(name)
    return written, problems


def _write_weights(lane: LaneResult, path: Path) -> None:
    with atomic(path) as file:
        np.savez(file, **lane.network.state_dict() | lane.scales)


def history_record(result: RunResult) -> dict[str, Any]:
    """Return the curves: for each lane and figure, a list with one value per epoch.

    `lr` is included if there is a schedule, `steps` and `epochs` say where values were measured if that is not after
    every epoch, and `gradient_norms` has a list for each tensor. For a lane with repeats
    these are means, and `repeats` has the curves of each seed in the same form.
    """
    return {"format": FORMAT, "lanes": {lane.name: _curves(lane) for lane in result.lanes.values()}}


def _curves(lane: LaneResult) -> dict[str, Any]:
    table = columns(lane.records, lane.figures)
    curves: dict[str, Any] = {name: [finite(value) for value in values] for name, values in table["history"].items()}
    curves["seconds"] = table["epoch_seconds"]
    if table["rates"]:
        curves["lr"] = table["rates"]
    if table["evaluations"]:
        curves["gradient_evaluations"] = table["evaluations"]
    curves |= lane.places
    if table["gradients"]:
        curves["gradient_norms"] = table["gradients"]
    if lane.repeats:
        curves["repeats"] = [{"seed": one.seed, **_curves(one)} for one in lane.repeats]
    return curves


def trace_record(result: RunResult) -> dict[str, Any]:
    """Return digests of each training: `start` and `order`, and one per epoch for each tensor."""
    return {
        "format": FORMAT,
        "lanes": {
            lane.name: [
                {"seed": one.seed, **one.fingerprints, "input": _scaling(one), "epochs": one.trace}
                for one in lane.trainings
            ]
            for lane in result.lanes.values()
        },
    }


def _scaling(lane: LaneResult) -> dict[str, str]:
    """Return digests of the means and deviations of standardised data."""
    return {name: array_digest(array) for name, array in lane.scales.items()}


def summary_record(result: RunResult, compiled: Compiled, started: str, data_dir: Path | None = None) -> dict[str, Any]:
    """Return settings, data, environment and results of a run. `data_dir` is the data folder that was given."""
    program, target = compiled.program, common_loss(list(result.lanes.values()))
    best = best_record(list(result.lanes.values()), program, data_dir)
    return {
        "format": FORMAT,
        "title": result.title,
        "spec": {
            "path": program.path,
            "sha256": hashlib.sha256(program.text.encode()).hexdigest(),
            "set": list(program.overrides),
            "imports": [
                {"path": source.name, "sha256": hashlib.sha256(source.text.encode()).hexdigest()}
                for source in program.files[:-1]
            ],
        },
        "seed": result.seed,
        "started": started,
        "interrupted": result.interrupted,
        **({"halted": result.halted} if result.halted else {}),
        "data": [_plain(asdict(use)) | {"stands_in": use.stands_in} for use in result.data],
        "environment": environment(program.parts()),
        "gradient_error": finite(result.gradient_error),
        "common_loss": target,
        "lanes": [
            _lane(lane, program, target) | {"data": result.data_of.get(lane.name, 0)} for lane in result.lanes.values()
        ],
        **({"best": best} if best is not None else {}),
        **comparison_records(list(result.lanes.values())),
        "fairness": fairness(result, compiled.layouts),
        "expectations": [{"text": v.text, "held": v.held, "detail": v.detail} for v in result.verdicts],
        "exit_code": result.exit_code,
    }


def _lane(lane: LaneResult, program: Program, target: float | None) -> dict[str, Any]:
    experiment = next(e for e in program.lanes if e.name == lane.name)
    epochs = lane.epochs_to(target) if target is not None else math.inf
    reached = target is not None and math.isfinite(epochs)
    return {
        "name": lane.name,
        **point_record(experiment),
        **_ending(lane),
        "dtype": experiment.dtype,
        "optimizer": lane.optimizer,
        "loss": experiment.objective,
        "batch": experiment.train.batch,
        "train": _settings(experiment.train) | _by_name(experiment),
        **({"init_from": experiment.initial.record()} if experiment.initial is not None else {}),
        "held_out": lane.held_out,
        "params": lane.params,
        "epochs_asked_for": lane.epochs if lane.length is None else lane.length.epochs,
        **({} if lane.length is None else {"steps_asked_for": lane.length.steps}),
        "epochs_to_common_loss": (int(epochs) if epochs.is_integer() else epochs) if reached else None,
        "seconds_to_common_loss": lane.seconds_to(target) if target is not None and reached else None,
        "health": health_records(lane, experiment),
        **({"profile": lane.profile} if lane.profile else {}),
        **interval_records(lane),
        **({"repeats": [_ending(one) for one in lane.repeats]} if lane.repeats else {}),
    }


def _ending(lane: LaneResult) -> dict[str, Any]:
    """Return the results of a lane or of one of its repeats."""
    return {
        "seed": lane.seed,
        "status": lane.status,
        "message": lane.message,
        "fingerprints": lane.fingerprints,
        "stopped": lane.stopped,
        **({"kept_epoch": lane.restored_epoch} if lane.restored_epoch else {}),
        **({"kept_step": lane.at(lane.restored_epoch)} if lane.restored_epoch and lane.length is not None else {}),
        **_progress(lane),
        "seconds": lane.seconds,
        **({"gradient_evaluations": sum(lane.evaluations)} if lane.evaluations else {}),
        "final": {name: lane.final(name) for name in lane.figures if math.isfinite(lane.final(name))},
        **({"dead_units": lane.dead} if lane.dead else {}),
        **({"tables": lane.tables} if lane.tables else {}),
        **({"sample": lane.sample} if lane.sample else {}),
    }


def _progress(lane: LaneResult) -> dict[str, Any]:
    """Return the number of completed epochs; for a lane that is measured by steps, also of steps and records."""
    done, length = len(lane.records), lane.length
    if length is None:
        return {"epochs": done}
    return {"epochs": length.epochs_at(done), "steps": length.steps_at(done), "records": done}


def _settings(train: TrainSettings) -> dict[str, Any]:
    """Return all settings of `train`, with parts in spec syntax."""
    values = {field.name: getattr(train, field.name) for field in fields(train)}
    return {name: _plain(value) for name, value in values.items()}


def _by_name(experiment: Experiment) -> dict[str, dict[str, float]]:
    """Return the settings of single layers and kinds of parameters, as one table per setting."""
    found: dict[str, dict[str, float]] = {}
    for setting, number in experiment.by_name.items():
        _, table, name = setting.split(".", 2)
        found.setdefault(table, {})[name] = number
    return found


def _plain(value: Any) -> Any:
    """Return a value as JSON values: lists for tuples, at any depth, and parts in spec syntax."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Part) else value


def _write_json(path: Path, record: dict[str, Any]) -> None:
    with atomic(path) as file:
        file.write(utf8(to_json(record, indent=2, ensure_ascii=False) + "\n"))
