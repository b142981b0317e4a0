"""The pipeline from text to result (parse, check, plan, train) for Python callers and the command line."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, cast

from nnspec.checker import NOTHING, Known
from nnspec.checker import check as check_source
from nnspec.compiler.proofs import Compiled, prove
from nnspec.data.source import Access, DataError
from nnspec.diagnostics import Diagnostic, Source, first_of, read_source, render_all
from nnspec.errors import NnspecError
from nnspec.native import How
from nnspec.reprs import ResolvedSpec, TableRepr
from nnspec.syntax.literals import bad_escape
from nnspec.text import quoted

if TYPE_CHECKING:
    from nnspec.analysis.landscape import Kind, Landscape
    from nnspec.analysis.meter import Tick
    from nnspec.analysis.rate_range import RateRange
    from nnspec.data.memory import GivenData
    from nnspec.engine.part import Part
    from nnspec.records.folder import RunFolder
    from nnspec.results.run import Place, RunResult
    from nnspec.results.tuning import Tuned
    from nnspec.runner.gradients import GradientProof
    from nnspec.runner.options import RunOptions
    from nnspec.runner.resuming import Checkpoints
    from nnspec.semantics.comparison import Difference
    from nnspec.training.observer import Observer
    from nnspec.view.pictures.drawing import Drawing

__all__ = [
    "CheckResult",
    "Spec",
    "SpecError",
    "check",
    "check_resumable",
    "check_text",
    "compile_spec",
    "diff",
    "fetch",
    "flags_of",
    "format_text",
    "gradcheck",
    "gradcheck_of",
    "identity_of",
    "landscape",
    "landscape_of",
    "lr_range",
    "lr_range_of",
    "new",
    "new_part",
    "passed",
    "resolved",
    "run",
    "run_into",
]

PathLike = str | os.PathLike[str]
Overrides = Mapping[str, Any] | Sequence[str] | Sequence[Source] | None
OnEpoch = Callable[[str, int, Mapping[str, float]], bool | None]


class SpecError(NnspecError):
    """A spec has errors. They are in `diagnostics`, and the message shows them all."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__(render_all(diagnostics))
        self.diagnostics = tuple(diagnostics)


@dataclass(frozen=True, repr=False)
class CheckResult(TableRepr):
    """The result of checking a spec."""

    path: str
    diagnostics: tuple[Diagnostic, ...]
    compiled: Compiled | None
    """The program with its layout; None if there are errors, or if the file can only be imported."""
    files: tuple[Source, ...] = ()
    """The files that were read: the imports and, last, the spec."""

    @property
    def ok(self) -> bool:
        """Whether there are no errors. Warnings are allowed."""
        return not any(d.severity == "error" for d in self.diagnostics)

    def __str__(self) -> str:
        return render_all(self.diagnostics) if self.diagnostics else f"{self.path}: no findings"


@dataclass(frozen=True, eq=False, repr=False)
class Spec:
    """A spec in memory, and settings that override those in its text. It does not change: `with_` returns another one.

        spec = nnspec.Spec.parse("model { Linear(data.classes) }; loss = CrossEntropy; optimizer = SGD(lr=0.1)")
        spec.run(data=(X, y))["run"].accuracy
        spec.with_(train__epochs=50).run(data=(X, y))

    Functions that take the path of a spec take a Spec too.
    """

    source: Source
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that override those in the text, as in `run`."""

    @classmethod
    def parse(cls, text: str, name: str = "spec.nn", folder: PathLike = ".") -> Spec:
        """Make a spec of a text. `name` is its name in messages and records; paths in it are relative to `folder`.

        Mistakes are found by `check` and by whatever uses the spec.
        """
        return cls(Source(name, text, Path(folder)))

    @classmethod
    def read(cls, path: PathLike) -> Spec:
        """Read a spec from a file. Raises SourceError if it cannot be read as text."""
        return cls(read_source(path))

    @property
    def text(self) -> str:
        """The text, without the settings that override it."""
        return self.source.text

    @property
    def name(self) -> str:
        """The name in messages and records: the path of a spec that was read."""
        return self.source.name

    def with_(self, settings: Mapping[str, Any] | None = None, /, **more: Any) -> Spec:
        """Return the spec with other settings: `spec.with_({"train.epochs": 5}, optimizer__lr=0.01)`. In a keyword, two
        underscores are a dot. A setting that was overridden before is replaced."""
        given = {**(settings or {}), **{name.replace("__", "."): value for name, value in more.items()}}
        return Spec(self.source, {**self.settings, **given})

    def check(self, data: Any = None, target: str | Sequence[str] | None = None) -> CheckResult:
        """Find every mistake, as `nnspec.check` does."""
        return check(self, data=data, target=target)

    def run(self, data: Any = None, target: str | Sequence[str] | None = None, **options: Any) -> RunResult:
        """Train every lane, as `nnspec.run` does, with the same options."""
        return run(self, data=data, target=target, **options)

    def show(self, data: Any = None, target: str | Sequence[str] | None = None) -> None:
        """Print the layers, shapes, parameters, FLOPs and memory of each lane, as `nnspec show` does.

        Raises SpecError, and DataError for data that cannot be used.
        """
        from nnspec.view.terminal.screen import console
        from nnspec.view.terminal.structure import print_structure

        print_structure(compile_spec(self, data=data, target=target), console())

    def resolved(self, lane: str | None = None) -> ResolvedSpec:
        """Return every value that a run depends on, as `nnspec.resolved` does."""
        return resolved(self, lane=lane)

    def __repr__(self) -> str:
        """Show the name and the settings."""
        return f"Spec({', '.join([self.name, *(f'{key} = {value}' for key, value in self.settings.items())])})"


SpecLike = PathLike | Spec
GIVEN = Source("data=…", "data = Given()")
"""The setting that stands for data that a caller passes."""


def check(
    spec: SpecLike, set: Overrides = None, *, data: Any = None, target: str | Sequence[str] | None = None
) -> CheckResult:
    """Find every mistake in a spec without training. Of the data, only the user's own files are read, such as tables.

    `set`, `data` and `target` are as in `run`. Raises SourceError if the file cannot be read as text, and DataError for
    data that is not of a form that `run` takes.
    """
    source, flags, known = passed(spec, set, data, target)
    return check_text(source, flags, known)


def passed(
    spec: SpecLike, set: Overrides, data: Any = None, target: str | Sequence[str] | None = None
) -> tuple[Source, list[Source], Known]:
    """Return what the checker needs: the text, the settings that override it, and the data."""
    from nnspec.data.given import given_data

    if not isinstance(spec, Spec):
        spec = Spec.read(spec)
    flags = flags_of(set)
    again = {flag.text.partition("=")[0].strip() for flag in flags}
    flags = [*flags_of({name: value for name, value in spec.settings.items() if name not in again}), *flags]
    if isinstance(data, (str, os.PathLike)):
        return spec.source, [_file_flag(data, target), *flags], NOTHING
    if data is None:
        if target is not None:
            raise DataError("`target` names a column of `data`, and no data was given")
        return spec.source, flags, NOTHING
    return spec.source, flags, Known(given=given_data(data, target))


def _file_flag(path: PathLike, target: str | Sequence[str] | None) -> Source:
    """Return the setting that reads a file. Raises DataError."""
    place = os.fspath(path)
    parts = [place, *((target,) if isinstance(target, str) else target or ())]
    odd = next((part for part in parts if bad_escape(quoted(part))), None)
    if odd is not None:
        raise DataError(f"{odd!a} has characters that a spec cannot hold; rename it, or read the data in Python")
    if place.lower().endswith(".npz") and target is None:
        return Source("data=…", f"data = NPZ({quoted(place)})")
    if place.lower().endswith((".csv", ".tsv", ".txt", ".data")):
        if target is None:
            raise DataError('a table needs the column to predict: `target="COLUMN"`')
        names = quoted(target) if isinstance(target, str) else f"[{', '.join(map(quoted, target))}]"
        more = ', delimiter="\\t"' if place.lower().endswith(".tsv") else ""
        return Source("data=…", f"data = CSV({quoted(place)}, target={names}{more})")
    raise DataError(
        f"`data` is the path {place}, which is neither an .npz file nor a table with a `target`; name its data source "
        "instead, such as `set={'data': 'Images(\"folder\")'}`"
    )


def known_parts() -> Mapping[str, Mapping[str, type[Part]]]:
    """Return every part that a spec can name, by name, by kind."""
    from nnspec.checker.vocabulary import kinds, parts

    return {kind: parts(kind) for kind in kinds()}


def part_meant(word: str) -> str | None:
    """Return the name of the part that a word is another name or a misspelling of, or None."""
    from nnspec.checker.vocabulary import meant, other_names, parts

    return meant(word, parts(), other_names({name: part.also for name, part in parts().items()}))


def check_text(source: Source, set: Overrides = None, known: Known = NOTHING) -> CheckResult:
    """Check a spec in memory. Imports and data files are read relative to `source.folder`, unless they are `known`.

    Data that is given replaces the data of the spec, unless a lane takes it already.
    """
    flags = flags_of(set)
    checked = check_source(source, flags, known)
    if known.given is not None and not checked.takes_given:
        checked = check_source(source, [GIVEN, *flags], known)
    if checked.program is None:
        return CheckResult(source.name, first_of(checked.diagnostics), None, checked.files)
    compiled, proofs = prove(checked.program)
    found = (*checked.diagnostics, *proofs)
    failed = any(d.severity == "error" for d in found)
    return CheckResult(source.name, first_of(found), None if failed else compiled, checked.files)


def compile_spec(
    spec: SpecLike,
    set: Overrides = None,
    warn: Callable[[Sequence[Diagnostic]], None] = lambda found: None,
    *,
    data: Any = None,
    target: str | Sequence[str] | None = None,
) -> Compiled:
    """Check a spec and return what follows from it. `warn` is given the warnings, if there are any.

    Raises SpecError for a spec with errors, SourceError for a file that cannot be read as text, NnspecError for one
    that is no experiment.
    """
    return _compiled(check(spec, set, data=data, target=target), warn)


def _compiled(result: CheckResult, warn: Callable[[Sequence[Diagnostic]], None] = lambda found: None) -> Compiled:
    if not result.ok:
        raise SpecError(result.diagnostics)
    compiled = _experiment(result)
    if result.diagnostics:
        warn(result.diagnostics)
    return compiled


def _experiment(result: CheckResult) -> Compiled:
    """Return the program of a file without errors. Raises NnspecError if the file can only be imported."""
    if result.compiled is None:
        raise NnspecError(f"{result.path} is not a complete experiment; it can only be imported")
    return result.compiled


def run(
    spec: SpecLike,
    set: Overrides = None,
    out: PathLike | None = None,
    *,
    data: Any = None,
    target: str | Sequence[str] | None = None,
    on_epoch: OnEpoch | None = None,
    force: bool = False,
    data_dir: PathLike | None = None,
    offline: bool = False,
    jobs: int | None = None,
    stack: bool = True,
    cluster: str | None = None,
    compiled: How = "auto",
    resume: bool = False,
    checkpoint: float = 10.0,
    fail_fast: bool = False,
    profile: bool = False,
    progress: bool = False,
) -> RunResult:
    """Train every lane of a spec, and return its curves, networks and expectations.

        result = nnspec.run("specs/race.nn", set={"train.epochs": 3})
        result["Adam"].history["loss"]       # one float per epoch; also "accuracy", "test_loss", "test_accuracy"
        result["Adam"].predict(x)            # (n, 784), raw values as in the data source -> (n,)
        result["Adam"].seconds               # training time only

        nnspec.run("iris.nn", data=(X, y))                   # arrays
        nnspec.run("houses.nn", data=df, target="price")     # a DataFrame

    Args:
        spec: the path of a spec, or a `Spec`.
        set: settings that override those of the spec, such as `{"train.epochs": 3, "optimizer": "Adam(lr=0.01)"}`;
            strings are parsed as `.nn` expressions.
        out: folder for the record, the weights and the plot; None writes nothing.
        data: the data to train on, instead of that of the spec: `(X, y)`; a mapping with `x_train`, `y_train` and
            optionally `x_val`, `y_val`, `x_test` and `y_test`, and the weights of samples, `w_train`; a DataFrame of
            pandas, polars or another library with `__dataframe__`; or the path of a table or an `.npz` file. Arrays are
            not copied, except where a test set is split off: see `Given`, whose arguments are settings, such as
            `{"data.test": 0}`.
        target: the column of a DataFrame or table to predict, or several.
        on_epoch: called as `on_epoch(lane, epoch, figures)` after each epoch, counted from 1, with the figures of the
            epoch by name: `{"loss": …, "test_loss": …}`. If it returns True, training of the lane stops. Lanes are then
            trained in this process, whatever `jobs` says.
        force: write into `out` even if it is not empty.
        data_dir: folder with the files of a data source.
        offline: do not download anything.
        jobs: number of parallel processes; None for as many as pay off, as `nnspec run` does. The results are
            identical. A script that defines parts of its own and asks for more than one job must call this under
            `if __name__ == "__main__":`, because each process imports it; without `jobs`, it trains in its own process.
        stack: train similar lanes as one stack, which is faster. With False, every lane is trained and timed
            separately. The results are identical.
        cluster: the scheduler of a Dask cluster to train on, `dask://HOST:PORT` (needs `nnspec[dask]`).
        resume: resume the interrupted run in `out`, or start it. The results are those of an uninterrupted run.
        checkpoint: minimum time between two checkpoints of a lane in `out`, in seconds; 0 for one after every epoch.
        fail_fast: stop the run when a lane diverges or fails, instead of continuing with the others.
        profile: profile every other training step: `result["Adam"].profile`. Lanes are then trained separately in this
            process, whatever `jobs` and `stack` say. The results are identical.
        compiled: whether to use compiled training steps, which need `nnspec[fast]`. `auto` uses them once the kernels
            are compiled; if training is long enough to gain by it, they are compiled in the background and cached.
            `always` compiles them first, `never` uses NumPy. The results are identical, bit for bit.
        progress: print what `nnspec run` prints: progress, and the table at the end. Without it, replaced data, such as
            `Digits` for `MNIST`, is a `DataWarning`.

    Raises:
        ClusterError: the cluster cannot be used, or is gone.
        CheckpointError: a checkpoint in `out` is damaged.
        SpecError: the spec has errors.
        SourceError: the spec cannot be read as text.
        DataError: the data is not available or not usable.
        OutputError: `out` cannot be written to.
        WorkerError: a worker process could not be started.
        ValueError: fewer than one job, `resume` without `out`, `profile` or `on_epoch` together with `cluster`.
    """
    from nnspec.records.folder import OutputError, RunFolder
    from nnspec.runner.options import RunOptions
    from nnspec.training.observer import Calling
    from nnspec.view.terminal.quiet import Warns
    from nnspec.view.terminal.race import print_files, progress_for, show_result
    from nnspec.view.terminal.screen import console

    if resume and out is None:
        raise ValueError("`resume` requires `out`, the folder of the run")
    if resume and out is not None:
        check_resumable(out)
    if on_epoch is not None and not callable(on_epoch):
        raise TypeError(f"`on_epoch` must be a function of a lane, an epoch and its figures, not {on_epoch!r}")
    if on_epoch is not None and cluster is not None:
        raise ValueError("`on_epoch` is called in this process, so it cannot be used with `cluster`")
    jobs = jobs if on_epoch is None else 1
    options = RunOptions(jobs, stack, cluster, compiled, fail_fast, profile, resume, checkpoint)
    source, flags, known = passed(spec, set, data, target)
    program = _compiled(check_text(source, flags, known))
    shown = progress_for(console(), program) if progress else None
    place = Path(data_dir) if data_dir is not None else None
    access = Access(place, offline, shown.fetching if shown is not None else None, known.given)
    folder = None if out is None else lambda: RunFolder.make(source.name, out, force, resume)
    observer = shown or Warns()

    try:
        result = run_into(
            program,
            access,
            observer if on_epoch is None else Calling(observer, on_epoch),
            folder,
            options,
            show=partial(show_result, progress=shown) if shown is not None else None,
        )
    finally:
        if shown is not None:
            shown.close()
    if shown is not None:
        print_files(result, shown.console)
    if result.place is not None and result.place.undrawn:
        warnings.warn(result.place.undrawn, RuntimeWarning, stacklevel=2)
    if result.place is not None and result.place.unwritten:
        raise OutputError(result.place.unwritten)
    return result


def check_resumable(folder: PathLike) -> None:
    """Raise RunError if a run to resume used parts of other packages that are not loaded: which, and what to do."""
    from nnspec.records.reading import RunError
    from nnspec.records.saved import MANIFEST, open_run, require_parts

    if (Path(folder) / MANIFEST).is_file():
        try:
            saved = open_run(folder)
        except RunError:  # `RunFolder.begin` says so, and what to do
            return
        require_parts(saved)


def run_into(
    compiled: Compiled,
    access: Access,
    observer: Observer,
    make_folder: Callable[[], RunFolder] | None,
    options: RunOptions,
    *,
    drawing: Drawing | None = None,
    show: Callable[[RunResult], None] | None = None,
) -> RunResult:
    """Run a compiled program; `make_folder` is called, where given, once the data is there. A spec with `tune` is
    searched first: its trials are a run of their own, in the folder `trials` of the run.

    `drawing` draws the picture, by default in this process. `show` is called when the record is written, and before the
    picture is waited for. What was trained is returned even where it cannot be written or drawn; its `place` says
    why.
    """
    tuning = compiled.program.tuning
    if tuning is None or not tuning.settings.race:
        return _run_into(compiled, access, observer, make_folder, options, drawing, show)
    folder = make_folder() if make_folder is not None else None
    try:
        tuned, trials = _searched(compiled, access, observer, folder, options)
        if trials is not None and (trials.interrupted or trials.halted):
            if show is not None:
                show(trials)
            return trials
        race = raced_by(compiled, tuned, access)
        make = None if folder is None else lambda: folder
        result = _run_into(race, access, observer, make, options, drawing, show, tuned)
        result.trials = trials
        return result
    finally:
        if folder is not None:
            folder.leave()


def _searched(
    compiled: Compiled, access: Access, observer: Observer, folder: RunFolder | None, options: RunOptions
) -> tuple[Tuned, RunResult | None]:
    """Run the trials of a search, in the folder `trials` of its run if it has one. A finished search is not run again
    with `resume`: there is no result of its run then."""
    from nnspec.records.saved import TRIALS, TRIALS_ONLY
    from nnspec.records.search import finished_search
    from nnspec.results.run import Place

    program, make = _again(compiled, [TRIALS_ONLY], access), None
    if folder is not None:
        if not options.resume:
            folder.renew()
        elif (known := finished_search(folder.path / TRIALS, identity_of(program))) is not None:
            return known, None
        make = partial(folder.within, TRIALS, options.resume)
    trials = _run_into(program, access, observer, make, options)
    if folder is not None and trials.interrupted and trials.place is not None:
        trials.place = Place(folder.path.as_posix(), [f"{TRIALS}/{file}" for file in trials.place.files])
    assert trials.tuned is not None, "its lanes are trials"
    return trials.tuned, trials


def raced_by(compiled: Compiled, tuned: Tuned, access: Access) -> Compiled:
    """Return the race of a searched spec, with the settings that its search chose. Raises TuningError if there are none
    for any lane."""
    from nnspec.results.tuning import TuningError

    if all(study.chosen is None for study in tuned.studies):
        count = len(tuned.trials)
        none = f"none of the {count} trials ended" if count > 1 else "the only trial did not end"
        raise TuningError(
            f"{none} with a finite {tuned.by}, so there are no settings to race with; use different search spaces"
        )
    return _again(compiled, tuned.flags(), access)


def _again(compiled: Compiled, flags: Sequence[str], access: Access) -> Compiled:
    """Check a spec again, with more settings. Files are not read again."""
    from nnspec.records.manifest import manifest_of

    program = compiled.program
    known = replace(manifest_of(program, Path(), {}, None).known, given=cast("GivenData | None", access.given))
    return _compiled(check_text(program.files[-1], [*program.overrides, *flags], known))


def _run_into(
    compiled: Compiled,
    access: Access,
    observer: Observer,
    make_folder: Callable[[], RunFolder] | None,
    options: RunOptions,
    drawing: Drawing | None = None,
    show: Callable[[RunResult], None] | None = None,
    tuned: Tuned | None = None,
) -> RunResult:
    """Run a program without a search before it; `tuned` is the search that its settings come from.

    Of trials, neither pictures nor weights are written, and their checkpoints are removed when all of them are done.
    """
    from nnspec.environment import environment
    from nnspec.interrupts import CtrlC
    from nnspec.records.extending import obstacles
    from nnspec.records.folder import PICTURE
    from nnspec.records.manifest import manifest_of
    from nnspec.records.write import write_record
    from nnspec.results.run import Place
    from nnspec.runner.resuming import Checkpoints
    from nnspec.runner.run import run_program
    from nnspec.view.pictures.drawing import Here

    drawing, show = drawing or Here(), show or (lambda result: None)
    made: list[RunFolder] = []
    notes: list[str] = []
    folders: dict[str, str] = {}

    def prepare() -> Checkpoints | None:
        if make_folder is None:
            return None
        made.append(make_folder())
        manifest = manifest_of(compiled.program, made[0].path, environment(compiled.program.parts()), access.data_dir)
        folders.update(manifest.folders)
        lanes = {lane.name: lane for lane in compiled.program.lanes}
        began = made[0].begin(
            manifest, compiled.program.text, resume=options.resume, extends=lambda before: obstacles(lanes, before)
        )
        notes.extend(_moved(began, manifest.environment))
        return Checkpoints(made[0].path / "checkpoints", manifest.meaning, options.checkpoint, options.resume)

    # Where a process waits to draw, it does so while gradients are proved.
    trained = drawing.begin if drawing.waiting and make_folder is not None and compiled.program.tuning is None else None
    try:
        unsettled = tuned.unsettled(compiled.program) if tuned is not None else {}
        result = run_program(compiled, access, observer, prepare, options, trained, unsettled)
        searches = compiled.program.tuning is not None
        if compiled.program.tuning is not None:
            from nnspec.results.tuning import tuned_by

            tuned = tuned_by(compiled.program.tuning, compiled.program, result.lanes)
        if tuned is not None:
            from nnspec.results.search_summary import tuned_record

            result.tuned, result.summary["tuned"] = tuned, tuned_record(tuned, compiled.program, result.lanes)
        notes.extend(_elsewhere(result.summary["ways"]))
        result.notes = (*result.notes, *notes)
        if result.notes:
            result.summary["notes"] = list(result.notes)
        for folder in made:
            place = result.place = Place(folder.path.as_posix())
            problems: list[str] = []
            try:
                with CtrlC() as pressed:  # the record is written before anything is given up
                    if not searches:
                        drawing.begin(result)
                    place.files, problems = write_record(result, folder.path, folders, weights=not searches)
                    if searches and not (result.interrupted or problems):
                        folder.remove_checkpoints()
                pressed.check()
                try:
                    show(result)
                finally:
                    if not searches:
                        problems += _draw(result, place, drawing, folder.path / PICTURE)
                    folder.finish()
            except KeyboardInterrupt:
                result.interrupted = True
            place.unwritten = "; ".join(_unwritten(result, place, problems))
        if not made:
            show(result)
    finally:
        for folder in made:
            folder.leave()
    return result


def _draw(result: RunResult, place: Place, drawing: Drawing, path: Path) -> Iterator[str]:
    """Plot the curves of a run, if any, and yield the files that could not be written with the reasons."""
    from nnspec.view.pictures.drawing import PictureError

    if not any(lane.curve("loss") for lane in result.lanes.values()):
        return
    try:
        drawing.finish(result, path)
    except PictureError as error:
        place.undrawn = f"the plot was not written: {error}; `nnspec plot {quote(str(path.parent))}` draws it"
    except OSError as error:
        yield f"{path.name} ({error.strerror or error})"
    else:
        place.files = [path.name, *place.files]


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
    from nnspec.environment import differences, in_words

    found = [f"{name} {in_words(then)}, now {in_words(here)}" for name, (then, here) in differences(began, now).items()]
    if found:
        yield f"the run began with {'; '.join(found)}: its results may differ from those of an uninterrupted run"


def _elsewhere(ways: Mapping[str, Any]) -> Iterator[str]:
    """Describe which workers of a cluster were not used, and which differ so that their results may differ."""
    from nnspec.environment import in_words

    for worker, why in ways.get("left_out", {}).items():
        yield f"worker {worker} was not used: it {why}"
    for worker, found in ways.get("differences", {}).items():
        unlike = "; ".join(f"{name} {in_words(o['there'])}, here {in_words(o['here'])}" for name, o in found.items())
        yield f"worker {worker} differs from this machine ({unlike}), so results may differ in the last digits"


def identity_of(compiled: Compiled) -> str:
    """Name all that the numbers of a run depend on: every value of every lane that differs from its default, and the
    version of what values mean. Comments, the order of what is written and where it is written, and what is expected do
    not count."""
    from nnspec.semantics.meaning import identity, meaning

    return identity(meaning(compiled.program))


def gradcheck(
    spec: SpecLike,
    set: Overrides = None,
    *,
    full: bool = False,
    samples: int = 16,
    data_dir: PathLike | None = None,
    offline: bool = False,
) -> tuple[GradientProof, ...]:
    """Check the gradients of a spec's networks, each once, against central differences in float64.

    Raises what `run` raises, and ValueError for a number of samples that is not 1 to 16.
    """
    from nnspec.view.terminal.quiet import Warns

    access = Access(Path(data_dir) if data_dir is not None else None, offline)
    return gradcheck_of(compile_spec(spec, set), access, Warns(), full=full, samples=samples)


def gradcheck_of(
    compiled: Compiled, access: Access, observer: Observer, *, full: bool = False, samples: int = 16
) -> tuple[GradientProof, ...]:
    """Check the gradients of a compiled program; for the rest see `gradcheck`."""
    from nnspec.runner.gradients import prove_program

    return prove_program(compiled.program, access, samples=samples, full=full, observer=observer)


def prove_the_rest(compiled: Compiled, access: Access, observer: Observer) -> tuple[GradientProof, ...]:
    """Check the gradients of those networks that a run does not check by itself: quickly, with few
    samples and few entries of large tensors. Raises DataError."""
    from nnspec.runner.gradients import QUICK_SAMPLES, lanes_to_prove, prove_program

    program = compiled.program
    besides = lanes_to_prove(program)
    return prove_program(program, access, samples=QUICK_SAMPLES, quick=True, besides=besides, observer=observer)


def landscape(
    spec: SpecLike,
    set: Overrides = None,
    *,
    lanes: Sequence[str] = (),
    plane: Kind = "pca",
    grid: int = 41,
    data_dir: PathLike | None = None,
    offline: bool = False,
) -> Landscape:
    """Train the lanes of a spec, and evaluate the loss on a plane in weight space close to their paths.

        found = nnspec.api.landscape("specs/race.nn")
        found.losses                         # (41, 41): rows are found.beta, columns found.alpha
        found.lanes["Adam"].points           # (epochs + 1, 2)

    Args:
        spec: the path of a spec, or a `Spec`.
        set: settings that override those of the spec, as in `run`.
        lanes: lanes to train, by default all. They must have the same layers, loss and data.
        plane: `pca`, the plane that holds most of the paths' variance around where the best lane ended; `random`, one
            along two filter-normalised random directions.
        grid: number of points along each axis.
        data_dir: folder with the files of a data source.
        offline: do not download anything.

    Raises what `run` raises, LandscapeError if the lanes cannot share a plane, and LaneError for an unknown lane.
    """
    from nnspec.view.terminal.quiet import Warns

    access = Access(Path(data_dir) if data_dir is not None else None, offline)
    return landscape_of(compile_spec(spec, set), access, Warns(), lanes=lanes, plane=plane, grid=grid)


def landscape_of(
    compiled: Compiled,
    access: Access,
    observer: Observer,
    *,
    lanes: Sequence[str] = (),
    plane: Kind = "pca",
    grid: int = 41,
    tick: Tick = lambda done, total: None,
) -> Landscape:
    """Do what `landscape` does for a compiled program. `tick` is called with the number of finished grid points. A spec
    with `tune` is searched first."""
    from nnspec.analysis.landscape import map_landscape
    from nnspec.runner.options import IN_PROCESS
    from nnspec.view.terminal.resolved import pick

    tuning = compiled.program.tuning
    if tuning is not None and tuning.settings.race:
        tuned, trials = _searched(compiled, access, observer, None, IN_PROCESS)
        if trials is not None and trials.interrupted:
            raise KeyboardInterrupt
        compiled = raced_by(compiled, tuned, access)
    chosen = [lane.name for name in lanes for lane in pick(compiled.program, name)] if lanes else None
    return map_landscape(compiled, access, observer, lanes=chosen, kind=plane, grid=grid, tick=tick)


def lr_range(
    spec: SpecLike,
    set: Overrides = None,
    *,
    lanes: Sequence[str] = (),
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 200,
    data_dir: PathLike | None = None,
    offline: bool = False,
) -> RateRange:
    """Train each lane of a spec for some steps while its learning rate grows from `low` to `high` (Smith 2017).

        found = nnspec.lr_range("specs/race.nn")
        found.lanes["Adam"].suggestion       # a tenth of the rate at which the smoothed loss was lowest
        found.plot("rates.png")

    Args:
        spec: the path of a spec, or a `Spec`.
        set: settings that override those of the spec, as in `run`.
        lanes: lanes to train, by default all.
        low: the rate of the first step.
        high: the rate of the last step.
        steps: number of steps of each lane, at least 10.
        data_dir: folder with the files of a data source.
        offline: do not download anything.

    Raises what `run` raises, ValueError for an invalid range, and LaneError for an unknown lane.
    """
    from nnspec.view.terminal.quiet import Warns

    access = Access(Path(data_dir) if data_dir is not None else None, offline)
    return lr_range_of(compile_spec(spec, set), access, Warns(), lanes=lanes, low=low, high=high, steps=steps)


def lr_range_of(
    compiled: Compiled,
    access: Access,
    observer: Observer,
    *,
    lanes: Sequence[str] = (),
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 200,
    tick: Tick = lambda done, total: None,
) -> RateRange:
    """Do what `lr_range` does for a compiled program. `tick` is called with the number of finished steps."""
    from nnspec.analysis.rate_range import find_rates
    from nnspec.view.terminal.resolved import pick

    chosen = [lane.name for name in lanes for lane in pick(compiled.program, name)] if lanes else None
    return find_rates(compiled, access, observer, lanes=chosen, low=low, high=high, steps=steps, tick=tick)


def diff(a: SpecLike, b: SpecLike, set: Overrides = None) -> Difference:
    """Compare the meaning of two specs; `set` applies to both.

        nnspec.diff("race.nn", "wider.nn").same

    Raises SpecError with the errors of both specs, and SourceError if a file cannot be read as text.
    """
    from nnspec.semantics.comparison import compare

    found = [check(spec, set) for spec in (a, b)]
    if not all(each.ok for each in found):
        raise SpecError([d for each in found if not each.ok for d in each.diagnostics])
    return compare(*map(_experiment, found))


def resolved(spec: SpecLike, set: Overrides = None, *, lane: str | None = None) -> ResolvedSpec:
    """Return the resolved spec as plain data: every value of every lane, or of one lane, with its origin.

    Raises SpecError, SourceError, and LaneError for an unknown lane.
    """
    from nnspec.view.terminal.resolved import pick, resolved_record

    program = compile_spec(spec, set).program
    return ResolvedSpec(resolved_record(program, pick(program, lane)))


def new(path: PathLike, template: str = "race", *, force: bool = False) -> Path:
    """Write a starter spec and return its path. An existing file is only overwritten with `force`.

    Raises StarterError where that cannot be done.
    """
    from nnspec.templates import write_template

    return write_template(path, template, force=force)


def new_part(path: PathLike, kind: str) -> list[Path]:
    """Write a package with a part of a kind, its tests and a spec into a new folder, and return its files.

    Raises PackageError where that cannot be done, as for a name that a part has already.
    """
    from nnspec.checker.evaluator import article
    from nnspec.checker.vocabulary import parts
    from nnspec.templates.packages import PackageError, names_of, write_package

    word = names_of(path, kind)["word"]
    if word in parts():
        raise PackageError(f"there is already {article(parts()[word].kind)} `{word}`; choose another name")
    return write_package(path, kind)


def fetch(name: str, access: Access) -> list[tuple[Path, str]]:
    """Download the files of a data source into the cache and verify them. Each is returned with its status.

    Raises DataError for an unknown name, and DataUnavailable if a file cannot be downloaded.
    """
    from nnspec.checker.vocabulary import did_you_mean, parts
    from nnspec.data.source import DataSource

    sources = parts("data source")
    source = next((part for word, part in sources.items() if word.lower() == name.lower()), None)
    if source is None:
        known = f"there are {', '.join(sources)}"
        raise DataError(f"unknown data source {name}; {did_you_mean(name, sources) or known}")
    return [(path, how) for path, how in source.as_kind(DataSource).fetch(access)]


def format_text(text: str) -> str:
    """Return the formatted text of a spec. Raises SpecError if it does not parse."""
    from nnspec.formatting import format_source

    result = format_source(Source("text", text))
    if result.diagnostics:
        raise SpecError(result.diagnostics)
    return result.after


def flags_of(overrides: Overrides) -> list[Source]:
    """Turn overrides into sources for the checker, named after their origin."""
    if overrides is None:
        return []
    if isinstance(overrides, str):
        overrides = [overrides]
    if isinstance(overrides, Mapping):
        return [Source(f"set={{{key!r}: …}}", f"{key} = {_as_text(value)}") for key, value in overrides.items()]
    return [text if isinstance(text, Source) else Source("--set", text) for text in overrides]


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    value = value.item() if hasattr(value, "item") and not hasattr(value, "__len__") else value
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_as_text(item) for item in value) + "]"
    if isinstance(value, (int, float)):
        return repr(value)
    raise TypeError(f"a setting must be a number, a string, true, false, none or a list of these, not {value!r}")
