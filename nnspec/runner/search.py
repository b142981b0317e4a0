"""The run of a spec with `tune`: first its trials, in the folder `trials` of the run, then the race with the settings
that they chose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from nnspec.checking import SpecError, check_text, compiled_of
from nnspec.compiler.proofs import Compiled
from nnspec.data.source import Access
from nnspec.records.extending import LENGTHS
from nnspec.records.folder import OutputError, RunFolder
from nnspec.records.manifest import MANIFEST, manifest_of, read_manifest
from nnspec.records.reading import RunError
from nnspec.records.saved import TRIALS, TRIALS_ONLY
from nnspec.records.search import finished_search
from nnspec.results.run import Place, RunResult
from nnspec.results.tuning import Tuned, TuningError
from nnspec.runner.drawing import NoDrawing
from nnspec.runner.recorder import Recorder, by_setting
from nnspec.semantics.meaning import SEMANTICS, changes, identity, meaning

if TYPE_CHECKING:
    from nnspec.data.memory import GivenData

__all__ = ["race_of", "run_with_search", "search"]


def run_with_search(compiled: Compiled, recorder: Recorder) -> RunResult:
    """Run a program, after its search if it has one. If the search is interrupted, it is the result."""
    tuning = compiled.program.tuning
    if tuning is None:
        return recorder.run(compiled)
    if not tuning.settings.race:
        return replace(recorder, drawing=NoDrawing()).run(compiled)
    folder = recorder.make_folder() if recorder.make_folder is not None else None
    try:
        earlier = _earlier_choice(compiled, recorder.access, folder) if folder and recorder.options.resume else {}
        tuned, trials = search(compiled, recorder, folder)
        if trials is not None and (trials.interrupted or trials.halted):
            recorder.show(trials)
            return trials
        race = race_of(compiled, tuned, recorder.access)
        result = replace(recorder, make_folder=None if folder is None else lambda: folder).run(race, tuned, earlier)
        result.trials = trials
        return result
    finally:
        if folder is not None:
            folder.leave()


def search(compiled: Compiled, recorder: Recorder, folder: RunFolder | None = None) -> tuple[Tuned, RunResult | None]:
    """Run the trials of a search, in the folder `trials` of its run if it has one. With `resume`, a finished
    search is not run again, and there is no result of its run."""
    options, make = recorder.options, None
    trials = _checked_again(compiled, [TRIALS_ONLY], recorder.access)
    if folder is not None:
        if not options.resume:
            folder.renew()
        elif (known := finished_search(folder.path / TRIALS, identity(meaning(trials.program)))) is not None:
            return known, None
        make = partial(folder.within, TRIALS, options.resume)
    result = Recorder(recorder.access, recorder.observer, make, options).run(trials)
    if folder is not None and result.interrupted and result.place is not None:
        result.place = Place(folder.path.as_posix(), [f"{TRIALS}/{file}" for file in result.place.files])
    assert result.tuned is not None, "its lanes are trials"
    return result.tuned, result


def _earlier_choice(compiled: Compiled, access: Access, folder: RunFolder) -> Mapping[str, str]:
    """Return the settings of the race in the folder of a searched spec, each with its argument of `--set`; {} if there
    is no race. Raises OutputError if that differs from the race of the spec in more than what its search chose."""
    try:
        known = read_manifest(folder.path / MANIFEST) if (folder.path / MANIFEST).is_file() else None
        if known is None or known.semantics != SEMANTICS:
            return {}
        given = by_setting(compiled.program.overrides)
        chosen = {name: flag for name, flag in by_setting(known.set).items() if name not in given}
        race = _checked_again(compiled, [*chosen.values()], access).program
    except (RunError, SpecError):  # `RunFolder.begin` says that it cannot be resumed
        return {}
    others = [each for each in changes(known.meaning, meaning(race)) if each.name not in LENGTHS]
    if others:
        listed = "; ".join(change.text for change in others[:4])
        raise OutputError(
            f"{folder.path} contains a run of another experiment: {listed}; choose another folder with --out"
        )
    return chosen


def race_of(compiled: Compiled, tuned: Tuned, access: Access) -> Compiled:
    """Return the race of a searched spec, with the settings that its search chose. Raises TuningError if there are none
    for any lane."""
    if all(study.chosen is None for study in tuned.studies):
        count = len(tuned.trials)
        none = f"none of the {count} trials ended" if count > 1 else "the only trial did not end"
        if closest := tuned.closest(tuned.trials):
            raise TuningError(
                f"no trial reached the target of {tuned.by}{closest}, so there are no settings to race with; choose an "
                "easier target, or train for more epochs"
            )
        raise TuningError(
            f"{none} with a finite {tuned.by}, so there are no settings to race with; use different search spaces"
        )
    return _checked_again(compiled, tuned.flags(), access)


def _checked_again(compiled: Compiled, flags: Sequence[str], access: Access) -> Compiled:
    """Check a spec again, with more settings. Files are not read again."""
    program = compiled.program
    known = replace(manifest_of(program, Path(), {}, None).known, given=cast("GivenData | None", access.given))
    return compiled_of(check_text(program.files[-1], [*program.overrides, *flags], known))
