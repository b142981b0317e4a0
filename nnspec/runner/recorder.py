"""Running a program and keeping its results in a folder: records, weights and the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from types import MappingProxyType
from typing import Any

from nnspec.checker.program import Program
from nnspec.compiler.proofs import Compiled
from nnspec.data.source import Access
from nnspec.environment import differences, environment, in_words
from nnspec.interrupts import CtrlC
from nnspec.records.extending import obstacles
from nnspec.records.folder import PICTURE, RunFolder
from nnspec.records.manifest import manifest_of
from nnspec.records.write import write_record
from nnspec.results.run import Place, RunResult
from nnspec.results.search_summary import tuned_record
from nnspec.results.tuning import Tuned, tuned_by
from nnspec.runner.drawing import Drawing, NoDrawing, PictureError
from nnspec.runner.options import IN_PROCESS, RunOptions
from nnspec.runner.resuming import Checkpoints
from nnspec.runner.run import run_program
from nnspec.training.observer import Observer

__all__ = ["Recorder", "by_setting"]


@dataclass(frozen=True)
class Recorder:
    """How programs are run, and what becomes of their results."""

    access: Access
    observer: Observer
    make_folder: Callable[[], RunFolder] | None = None
    """Called once the data is there; None writes nothing."""
    options: RunOptions = IN_PROCESS
    drawing: Drawing = field(default_factory=NoDrawing)
    show: Callable[[RunResult], None] = lambda result: None
    """Called when the record is written, and before the picture is waited for."""

    def run(
        self, compiled: Compiled, tuned: Tuned | None = None, earlier: Mapping[str, str] = MappingProxyType({})
    ) -> RunResult:
        """Run a program without a search before it; `tuned` is the search that its settings come from, and `earlier`
        has those that it chose before it was continued, as `by_setting` returns them.

        What was trained is returned even where it cannot be written or drawn; its `place` says why. Of trials, no
        weights are written, and the checkpoints of those that ended hold only results. These remain if the search can
        be continued.
        """
        chosen = by_setting(tuned.flags()) if tuned is not None else {}
        renewed = {flag: earlier[name] for name, flag in chosen.items() if earlier.get(name, flag) != flag}
        program, record = compiled.program, _Record(compiled.program, self, renewed)
        # Where a process waits to draw, it does so while gradients are proved.
        trained = self.drawing.begin if self.drawing.waiting and self.make_folder is not None else None
        try:
            unsettled = tuned.unsettled(program) if tuned is not None else {}
            result = run_program(compiled, self.access, self.observer, record.begin, self.options, trained, unsettled)
            if program.tuning is not None:
                tuned = tuned_by(program.tuning, program, result.lanes)
            if tuned is not None:
                result.tuned, result.summary["tuned"] = tuned, tuned_record(tuned, program, result.lanes)
                if any(study.number > 1 for study in tuned.studies):  # these are compared as a whole
                    result.summary.pop("comparisons", None)
            result.notes = (*result.notes, *record.notes, *_elsewhere(result.summary["ways"]))
            if result.notes:
                result.summary["notes"] = list(result.notes)
            if record.folder is None:
                self.show(result)
            else:
                record.write(result, record.folder)
        finally:
            if record.folder is not None:
                record.folder.leave()
        return result


class _Record:
    """The record of one run, in its folder if it has one."""

    def __init__(self, program: Program, recorder: Recorder, renewed: Mapping[str, str]) -> None:
        """`renewed` has each setting that a search now chooses otherwise, with the earlier one."""
        self._program, self._recorder, self._renewed = program, recorder, renewed
        self.folder: RunFolder | None = None
        self.notes: tuple[str, ...] = ()
        self._lane_folders: Mapping[str, str] = {}

    def begin(self) -> Checkpoints | None:
        """Make the folder and write what is known before training; return where checkpoints are kept."""
        program, recorder, options = self._program, self._recorder, self._recorder.options
        if recorder.make_folder is None:
            return None
        folder = self.folder = recorder.make_folder()
        manifest = manifest_of(program, folder.path, environment(program.parts()), recorder.access.data_dir)
        self._lane_folders = manifest.folders
        lanes = {lane.name: lane for lane in program.lanes}
        began = folder.begin(
            manifest,
            program.text,
            resume=options.resume,
            extends=lambda before: obstacles(lanes, before),
            renews=bool(self._renewed),
        )
        self.notes = (*_moved(began, manifest.environment), *_chosen_anew(self._renewed))
        return Checkpoints(folder.path / "checkpoints", manifest.meaning, options.checkpoint, options.resume)

    def write(self, result: RunResult, folder: RunFolder) -> None:
        """Write the results, show them, and draw their picture."""
        place = result.place = Place(folder.path.as_posix())
        drawing, tuning = self._recorder.drawing, self._program.tuning
        problems: list[str] = []
        try:
            with CtrlC() as pressed:  # the record is written before anything is given up
                drawing.begin(result)
                place.files, problems = write_record(result, folder.path, self._lane_folders, weights=tuning is None)
                if tuning and tuning.settings.search.not_extended and not (result.interrupted or problems):
                    folder.remove_checkpoints()
            pressed.check()
            try:
                self._recorder.show(result)
            finally:
                problems += _draw(result, place, drawing, folder.path / PICTURE)
                folder.finish()
        except KeyboardInterrupt:
            result.interrupted = True
        place.unwritten = "; ".join(_unwritten(result, place, problems))


def _draw(result: RunResult, place: Place, drawing: Drawing, path: Path) -> Iterator[str]:
    """Draw the curves of a run, if any, and yield the files that could not be written with the reasons."""
    if not any(lane.curve("loss") for lane in result.lanes.values()):
        return
    try:
        if drawing.finish(result, path):
            place.files = [path.name, *place.files]
    except PictureError as error:
        place.undrawn = f"the plot was not written: {error}; `nnspec plot {quote(str(path.parent))}` draws it"
    except OSError as error:
        yield f"{path.name} ({error.strerror or error})"


def _unwritten(result: RunResult, place: Place, problems: Sequence[str]) -> Iterator[str]:
    """Describe what could not be written to disk, and how to write it."""
    if problems:
        yield (
            f"the run cannot be written to {place.folder}: {', '.join(problems)}; all other files were written; fix "
            f"this and run again with --out {place.folder} --resume"
        )
    yield from dict.fromkeys(
        one.unsaved for lane in result.lanes.values() for one in (lane, *lane.repeats) if one.unsaved
    )


def _moved(began: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Describe what has changed in the environment since a resumed run started."""
    found = [f"{name} {in_words(then)}, now {in_words(here)}" for name, (then, here) in differences(began, now).items()]
    if found:
        yield f"the run began with {'; '.join(found)}: its results may differ from those of an uninterrupted run"


def by_setting(flags: Sequence[str]) -> dict[str, str]:
    """Return arguments of `--set` by the settings that they set."""
    return {flag.partition("=")[0].strip(): flag for flag in flags}


def _chosen_anew(renewed: Mapping[str, str]) -> Iterator[str]:
    """Describe which settings a search chose after it was continued."""
    listed = ", ".join(f"`{now}` (before: {then.partition('=')[2]})" for now, then in renewed.items())
    if listed:
        yield f"the search was continued and chose {listed}; these lanes were trained anew"


def _elsewhere(ways: Mapping[str, Any]) -> Iterator[str]:
    """Describe which workers of a cluster were not used, and which differ so that their results may differ."""
    for worker, why in ways.get("left_out", {}).items():
        yield f"worker {worker} was not used: it {why}"
    for worker, found in ways.get("differences", {}).items():
        unlike = "; ".join(f"{name} {in_words(o['there'])}, here {in_words(o['here'])}" for name, o in found.items())
        yield f"worker {worker} differs from this machine ({unlike}), so results may differ in the last digits"
