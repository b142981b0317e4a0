"""Runs on disk. Contents and sizes of all files are checked before use.

run.json        the experiment: see `Manifest`
spec.nn         the text of the spec
history.json    the curves
summary.json    settings, data, environment and results
trace.json      a digest of every tensor after every epoch
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from nnspec.data.source import Column
from nnspec.errors import some_of
from nnspec.extensions import missing_parts
from nnspec.files import open_regular, read_limited
from nnspec.records.lane_folders import folder_names
from nnspec.records.manifest import MANIFEST, Manifest, read_manifest
from nnspec.records.reading import (
    DAMAGE,
    RunError,
    from_record,
    read_json,
    rename,
    stored_arrays,
    usable,
)
from nnspec.results.data_use import DataUse
from nnspec.statistics.ranking import Candidate, Choice, NoChoice, best

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "DAMAGE",
    "MANIFEST",
    "RECORDS",
    "SPEC_COPY",
    "TRIALS",
    "TRIALS_ONLY",
    "Manifest",
    "RunError",
    "SavedRun",
    "check_resumable",
    "data_use",
    "open_run",
    "read_manifest",
    "require_parts",
    "resume_command",
    "stored_arrays",
    "usable",
]

SPEC_COPY = "spec.nn"
TRIALS, TRIALS_ONLY = "trials", "tune.race=false"
"""The folder, in that of a run, of the trials of its search; and the setting that they are run with."""
RECORDS = ("history.json", "summary.json", "trace.json")
"""The files that are written when a run ends."""
MOST_RECORD, MOST_SPEC = 512 * 1024**2, 4 * 1024**2


@dataclass(frozen=True)
class SavedRun:
    """A run on disk. Records are read on first access, which raises RunError if one is missing or damaged."""

    path: Path
    manifest: Manifest

    @property
    def trials(self) -> SavedRun | None:
        """The run of the trials of its search; None if its settings were not searched for, or if it is gone."""
        path = self.path / TRIALS
        with usable(path):
            there = (path / MANIFEST).is_file()
        return SavedRun(path, read_manifest(path / MANIFEST)) if there else None

    @property
    def keeps_weights(self) -> bool:
        """Whether the weights of its lanes are in its folder; those of trials are not."""
        lanes = self.manifest.meaning.lanes.values()
        return not any(name.startswith("tune.") for values in lanes for name in values)

    @cached_property
    def text(self) -> str:
        """The text of the spec."""
        path = self.path / SPEC_COPY
        with usable(path):
            return read_limited(path, MOST_SPEC).decode()

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The contents of `summary.json`."""
        with usable(self.path / "summary.json"):
            return _with_new_names(self._record("summary.json"))

    @cached_property
    def history(self) -> dict[str, dict[str, Any]]:
        """The curves of each lane from `history.json`: figure -> values by epoch; `repeats` has those of each seed."""
        return self._lanes_of("history.json")

    @cached_property
    def trace(self) -> dict[str, list[dict[str, Any]]]:
        """The trainings of each lane: the `seed`, and one digest per epoch for each tensor."""
        return self._lanes_of("trace.json")

    @property
    def lanes(self) -> list[str]:
        """The names of its lanes, in the order of the spec."""
        with usable(self.path / "summary.json"):
            return [str(lane["name"]) for lane in self.summary["lanes"]]

    def choose(self) -> Choice:
        """Choose the best lane with a network; see `statistics.ranking.best`.

        A lane that diverged or failed is only chosen if there is no other. Raises RunError if there is no lane, or if
        lanes cannot be compared.
        """
        with usable(self.path / "summary.json"):
            left = [lane for lane in self.summary["lanes"] if self.trained(str(lane["name"]))]
            found = [Candidate.of_record(lane) for lane in left]
        if not found:
            raise RunError(f"no lane in {self.path} has a trained network")
        try:
            return best(found)
        except NoChoice as error:
            names = some_of([each.name for each in found])
            raise RunError(f"{error}: choose one with --lane: {names}") from None

    def pick(self, lane: str | None = None, seed: int | None = None) -> tuple[str, int, Choice]:
        """Return the lane and seed of a network, and the choice.

        By default, this is the best lane, and its first seed with a network. Raises RunError if there is no such
        network.
        """
        choice = self.choose() if lane is None else Choice(str(self.lane(lane)["name"]))
        left = self.trained(choice.name)
        chosen = seed if seed is not None else left[0] if left else self.seeds(choice.name)[0]
        if chosen not in left:
            self._refuse(choice.name, chosen)
        return choice.name, chosen, choice

    def _refuse(self, name: str, seed: int) -> None:
        """Raise a RunError that says why a training has no network."""
        path, status = self.weights_file(name, seed), self.ending(name, seed).get("status")
        why = f": it {status}" if status in ("diverged", "failed") else f": {path} is missing"
        several = f", seed {seed}" if "repeats" in self.lane(name) else ""
        raise RunError(f"{self.path} has no weights for {name}{several}{why}")

    def ending(self, name: str, seed: int) -> Mapping[str, Any]:
        """Return the summary of a lane, or of its repeat with that seed."""
        record = self.lane(name)
        return next((one for one in record.get("repeats", ()) if one["seed"] == seed), record)

    def trained(self, name: str) -> list[int]:
        """Return the seeds of a lane that have a network, in order.

        A training that diverged or failed has none, unless its best epoch was restored.
        """
        with usable(self.path / "summary.json"):
            return [seed for seed in self.seeds(name) if self._left(name, seed)]

    def _left(self, name: str, seed: int) -> bool:
        ending = self.ending(name, seed)
        lost = ending["status"] in ("diverged", "failed") and not ending.get("kept_epoch")
        return not lost and self.weights_file(name, seed).exists()

    def data(self, name: str) -> DataUse:
        """Return the recorded data of a lane."""
        with usable(self.path / "summary.json"):
            return data_use(self.summary["data"][self.lane(name)["data"]])

    def lane(self, name: str) -> dict[str, Any]:
        """Return the summary of a lane. Raises RunError if there is no such lane."""
        with usable(self.path / "summary.json"):
            for lane in self.summary["lanes"]:
                if lane["name"] == name:
                    return dict(lane)
        raise RunError(f"{self.path} has no lane {name}; its lanes are {some_of(self.lanes)}")

    def seeds(self, name: str) -> list[int]:
        """Return the seeds that a lane was trained with, in order."""
        with usable(self.path / "summary.json"):
            lane = self.lane(name)
            return [int(one["seed"]) for one in lane.get("repeats", [lane])]

    def weights_file(self, name: str, seed: int | None = None) -> Path:
        """Return the path of a lane's weights; for a lane with repeats, of a seed, by default the first."""
        name = str(self.lane(name)["name"])
        folders = self.manifest.folders or dict(zip(self.lanes, folder_names(self.lanes), strict=True))
        folder = folders.get(name)
        if folder is None:
            raise RunError(f"{self.path / MANIFEST} is damaged: it has no lane {name}")
        seeds = self.seeds(name)
        if seed is not None and seed not in seeds:
            raise RunError(f"{name} in {self.path} was not trained with seed {seed}, but with {some_of(seeds)}")
        several = "repeats" in self.lane(name)
        return self.path / folder / (f"seed-{seeds[0] if seed is None else seed}.npz" if several else "weights.npz")

    def weights(self, name: str, seed: int | None = None) -> dict[str, NDArray[Any]]:
        """Return the arrays of a lane by name: parameters and other layer state, and `input.mean`, `input.deviation`,
        `target.mean`, `target.deviation` if samples or targets are standardised.

        For a lane with repeats, these are the arrays of a seed, by default the first that has any. Raises RunError if
        they are missing or damaged.
        """
        name, seed, _ = self.pick(name, seed)
        path = self.weights_file(name, seed)
        with usable(path), open_regular(path) as file:
            return stored_arrays(file)

    def _lanes_of(self, name: str) -> dict[str, Any]:
        record = self._record(name)
        with usable(self.path / name):
            return dict(record["lanes"])

    def _record(self, name: str) -> dict[str, Any]:
        path = self.path / name
        with usable(path):
            there = path.exists() and self.manifest.replaces is None
        if not there:
            manifest = self.manifest
            command = resume_command(manifest.spec, self.path, manifest.set, manifest.data_dir)
            raise RunError(f"{self.path} has no {name}: its run has not finished; continue it with `{command}`")
        with usable(path):
            return read_json(path, MOST_RECORD)


def _with_new_names(summary: dict[str, Any]) -> dict[str, Any]:
    """Rename in place what older versions called `evaluations` and `gradients` in the record of a search. Raises
    TypeError, LookupError or AttributeError for a damaged record."""
    tuned = summary.get("tuned") or {"studies": (), "summary": {}}
    for study in tuned["studies"]:
        for trial in study["trials"]:
            rename(trial, "evaluations", "gradient_evaluations")
    for costs in tuned["summary"].get("times", {}).values():
        rename(costs, "gradients", "gradient_evaluations")
    return summary


def resume_command(
    spec: str, folder: str | os.PathLike[str], overrides: Iterable[str], data_dir: str | os.PathLike[str] = ""
) -> str:
    """Return the command that resumes a run in a folder; `data_dir` is the data folder that was given, if any."""
    more = "".join(f" --set {quote(override)}" for override in overrides)
    more += f" --data-dir {quote(os.fspath(data_dir))}" if data_dir else ""
    return f"nnspec run {quote(spec)} --resume --out {quote(os.fspath(folder))}{more}"


def open_run(path: str | os.PathLike[str]) -> SavedRun:
    """Open the folder of a run. Raises RunError if it contains none."""
    folder = Path(path)
    if folder.name == MANIFEST:
        folder = folder.parent
    try:
        if (folder / MANIFEST).is_file():
            return SavedRun(folder, read_manifest(folder / MANIFEST))
        latest = folder / "latest"
        if (latest / MANIFEST).is_file():
            raise RunError(f"{folder} contains several runs; name one of them, such as {latest}")
        if (folder / TRIALS / MANIFEST).is_file():
            begun = read_manifest(folder / TRIALS / MANIFEST)
            settings = [each for each in begun.set if each != TRIALS_ONLY]
            raise RunError(
                f"the search of {folder} has not finished; continue it with "
                f"`{resume_command(begun.spec, folder, settings, begun.data_dir)}`"
            )
        what = f"it has no {MANIFEST}" if folder.is_dir() else "it is not a folder" if folder.exists() else ""
    except (OSError, ValueError) as error:
        raise RunError(f"{folder} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    raise RunError(f"{folder} is not a run: {what}" if what else f"run not found: {folder}")


def require_parts(saved: SavedRun) -> None:
    """Raise RunError if parts of other packages that a run used are not loaded: which, and how to load them."""
    missing = missing_parts(saved.manifest.environment.get("parts", ()))
    if missing:
        raise RunError(f"{saved.path} used {'; and '.join(missing)}")


def check_resumable(folder: str | os.PathLike[str]) -> None:
    """Raise RunError if a run to resume used parts of other packages that are not loaded: which, and what to do."""
    if (Path(folder) / MANIFEST).is_file():
        try:
            saved = open_run(folder)
        except RunError:  # `RunFolder.begin` says so, and what to do
            return
        require_parts(saved)


def data_use(record: Mapping[str, Any]) -> DataUse:
    """Read the data entry of a summary; missing fields have defaults. Raises TypeError, ValueError or LookupError."""
    use = from_record(DataUse, {name: value for name, value in record.items() if name != "stands_in"}, Column=Column)
    if not 0 < use.divisor < math.inf:
        raise ValueError(f"the divisor is {use.divisor}")
    return use
