"""The pipeline from text to result (parse, check, plan, train) for Python callers and the command line."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnspec.checker import NOTHING, Known
from nnspec.checking import (
    CheckResult,
    Overrides,
    PathLike,
    SpecError,
    check_text,
    compiled_of,
    experiment_of,
    file_flag,
    flags_of,
)
from nnspec.compiler.proofs import Compiled
from nnspec.data.source import Access, DataError
from nnspec.diagnostics import Diagnostic, Source, read_source
from nnspec.native import How
from nnspec.reprs import ResolvedSpec

if TYPE_CHECKING:
    from nnspec.analysis.landscape import Kind, Landscape
    from nnspec.analysis.meter import Tick
    from nnspec.analysis.rate_range import RateRange
    from nnspec.engine.part import Part
    from nnspec.records.folder import RunFolder
    from nnspec.results.run import RunResult
    from nnspec.runner.drawing import Drawing
    from nnspec.runner.gradients import GradientProof
    from nnspec.runner.options import RunOptions
    from nnspec.semantics.comparison import Difference
    from nnspec.training.observer import Observer

__all__ = [
    "CheckResult",
    "Spec",
    "SpecError",
    "check",
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

OnEpoch = Callable[[str, int, Mapping[str, float]], bool | None]


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
        return spec.source, [file_flag(data, target), *flags], NOTHING
    if data is None:
        if target is not None:
            raise DataError("`target` names a column of `data`, and no data was given")
        return spec.source, flags, NOTHING
    return spec.source, flags, Known(given=given_data(data, target))


def known_parts() -> Mapping[str, Mapping[str, type[Part]]]:
    """Return every part that a spec can name, by name, by kind."""
    from nnspec.checker.vocabulary import kinds, parts

    return {kind: parts(kind) for kind in kinds()}


def part_meant(word: str) -> str | None:
    """Return the name of the part that a word is another name or a misspelling of, or None."""
    from nnspec.checker.vocabulary import meant, other_names, parts

    return meant(word, parts(), other_names({name: part.also for name, part in parts().items()}))


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
    return compiled_of(check(spec, set, data=data, target=target), warn)


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
    from nnspec.records.saved import check_resumable
    from nnspec.runner.options import RunOptions
    from nnspec.training.observer import Calling
    from nnspec.view.terminal.progress import progress_for
    from nnspec.view.terminal.quiet import Warns
    from nnspec.view.terminal.race import print_files, show_result
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
    program = compiled_of(check_text(source, flags, known))
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
    from nnspec.runner.recorder import Recorder
    from nnspec.runner.search import run_with_search
    from nnspec.view.pictures.drawing import Here

    recorder = Recorder(access, observer, make_folder, options, drawing or Here(), show or (lambda result: None))
    return run_with_search(compiled, recorder)


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
    from nnspec.runner.recorder import Recorder
    from nnspec.runner.search import race_of, search
    from nnspec.view.terminal.resolved import pick

    tuning = compiled.program.tuning
    if tuning is not None and tuning.settings.race:
        tuned, trials = search(compiled, Recorder(access, observer))
        if trials is not None and trials.interrupted:
            raise KeyboardInterrupt
        compiled = race_of(compiled, tuned, access)
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
    return compare(*map(experiment_of, found))


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
