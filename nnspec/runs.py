"""Runs on disk: open them and recreate their programs, for Python callers and the command line.

saved = nnspec.runs.open_run("runs/race/latest")
saved.summary["lanes"]; saved.history["Adam"]["loss"]; saved.weights("Adam")
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnspec.checking import SpecError, check_text
from nnspec.diagnostics import Source
from nnspec.errors import NnspecError
from nnspec.files import NotRegularError, open_regular
from nnspec.records.reading import usable
from nnspec.records.saved import MANIFEST, TRIALS, TRIALS_ONLY, RunError, SavedRun, open_run, require_parts
from nnspec.results.tuning import Tuned
from nnspec.semantics.meaning import SEMANTICS, changes, identity, meaning

if TYPE_CHECKING:
    from nnspec.analysis.evaluate import Evaluation
    from nnspec.analysis.predict import Prediction
    from nnspec.analysis.verify import Verification
    from nnspec.compiler.proofs import Compiled
    from nnspec.data.source import Access, Split
    from nnspec.export.exporting import Exported
    from nnspec.results.predictor import Predictor
    from nnspec.results.run import RunResult
    from nnspec.semantics.comparison import Difference
    from nnspec.training.observer import Observer
    from nnspec.view.report.page import ReportRun
    from nnspec.view.terminal.run_comparison import ComparedRuns

__all__ = [
    "RunError",
    "SavedRun",
    "access_of",
    "check_export",
    "compare_runs",
    "compile_run",
    "evaluate",
    "evaluate_networks",
    "evaluate_over",
    "export",
    "export_weights",
    "load",
    "networks",
    "on_its_data",
    "open_run",
    "plot",
    "predict",
    "report",
    "verify",
    "verify_again",
    "verify_with",
    "write_on",
]

_EVALUATED = 6
"""Number of best lanes that a report evaluates again."""

PathLike = str | os.PathLike[str]


def compile_run(saved: SavedRun) -> Compiled:
    """Recreate the program of a run from its recorded spec and settings.

    Only the run's folder is read: it has the texts of spec and imports, and the facts of data files. Raises RunError if
    the program differs from the one that was run.
    """
    manifest = saved.manifest
    what = f"{saved.path} was run with nnspec {manifest.version}"
    if manifest.format == 1:
        raise RunError(
            f"{what}, and its record is too old for this version: only `compare`, `report` and `export` work; "
            f"otherwise, run {manifest.spec} again"
        )
    if manifest.semantics != SEMANTICS:
        raise RunError(
            f"{what} with version {manifest.semantics} of the spec semantics, but this nnspec has version {SEMANTICS}: "
            f"install that nnspec, or run {manifest.spec} again"
        )
    require_parts(saved)
    result = check_text(Source(manifest.spec, saved.text, _home(saved)), manifest.set, manifest.known)
    if not result.ok:
        raise SpecError(result.diagnostics)
    now = None if result.compiled is None else meaning(result.compiled.program)
    if result.compiled is None or now is None or identity(now) != manifest.identity:
        found = [change.text for change in changes(manifest.meaning, now)] if now is not None else []
        raise RunError(
            f"{saved.path} cannot be used: its spec no longer matches the run"
            f"{': ' + '; '.join(found[:4]) if found else ''}; run the spec again"
        )
    return result.compiled


def _home(saved: SavedRun) -> Path:
    """Return the folder that paths in a run's spec are relative to.

    It is looked up relative to the run, since both may have moved, then at its absolute path, if only the run has.
    """
    manifest = saved.manifest
    from_run = Path(os.path.relpath(os.path.join(os.path.realpath(saved.path), manifest.home)))
    name = os.path.basename(manifest.spec)
    places = [from_run, Path(manifest.place)] if manifest.place else [from_run]
    return next((place for place in places if (place / name).is_file()), from_run)


def access_of(
    saved: SavedRun,
    compiled: Compiled,
    data_dir: PathLike | None = None,
    offline: bool = False,
    report: Callable[[str, int, int | None], None] | None = None,
) -> Access:
    """Return access to the data of a run: in `data_dir`, by default the folder that the run used.

    Raises RunError if that folder no longer exists, or if no source of the run reads `data_dir`.
    """
    from nnspec.data.source import Access

    folder = None if data_dir is None else Path(data_dir)
    choices = [choice for lane in on_its_data(saved, compiled).program.lanes for choice in lane.data]
    looks = any(choice.source.reads_files for choice in choices)
    if folder is not None and not looks:
        raise RunError(
            f"--data-dir has no effect on {saved.path}: it only applies to MNIST and FashionMNIST. Other files are "
            "read from the paths in the spec; `nnspec eval RUN --data FILE` uses a different file"
        )
    if folder is None and saved.manifest.data_dir and looks:
        folder = Path(saved.manifest.data_dir)
        if not folder.is_dir():
            raise RunError(
                f"{saved.path} read its data from {folder}, which does not exist; name the folder with --data-dir DIR"
            )
    return Access(folder, offline, report)


def on_its_data(saved: SavedRun, compiled: Compiled) -> Compiled:
    """Return a run's program with only the data that the run used, since an alternative would silently give other
    results. Raises RunError."""
    lanes = []
    for lane in compiled.program.lanes:
        used = saved.data(lane.name).source if lane.name in saved.lanes else ""
        data = tuple(choice for choice in lane.data if choice.value.name == used)
        lanes.append(replace(lane, data=data or lane.data))
    return replace(compiled, program=replace(compiled.program, lanes=tuple(lanes)))


def evaluate(
    path: PathLike,
    lane: str | None = None,
    *,
    data_dir: PathLike | None = None,
    offline: bool = False,
    data: Any = None,
) -> tuple[Evaluation, ...]:
    """Evaluate the networks of a run on its test data or on other `data`, for each lane and seed or for one lane.

        nnspec.runs.evaluate("runs/race/latest", "Adam")[0].figures["test_loss"]

    Raises RunError, DataError. Lanes that diverged or failed have no network and are skipped.
    """
    saved = open_run(path)
    if data is not None:
        return evaluate_over(saved, compile_run(saved), data, lane)
    compiled = compile_run(saved)
    return evaluate_networks(saved, compiled, access_of(saved, compiled, data_dir, offline), lane)


def evaluate_networks(
    saved: SavedRun, compiled: Compiled, access: Access, lane: str | None = None, seed: int | None = None
) -> tuple[Evaluation, ...]:
    """Evaluate the selected networks of a run, loading its data once."""
    from nnspec.analysis.evaluate import Evaluator

    asked = networks(saved, lane, seed)
    evaluator = Evaluator(saved, on_its_data(saved, compiled), access)
    return tuple(evaluator(name, number) for name, number in asked)


def evaluate_over(
    saved: SavedRun, compiled: Compiled, data: Any, lane: str | None = None, seed: int | None = None
) -> tuple[Evaluation, ...]:
    """Evaluate networks of a run on other samples and targets, without the data of the run.

        nnspec.runs.evaluate("runs/race/latest", data="new.csv")[0].figures["test_loss"]

    `data` is `(X, y)`, a DataFrame, or the path of a table, both with the target's column, of an .npz with `x` and `y`,
    or of a folder with a sub-folder of images for each class. Raises DataError if it does not match the run.
    """
    from nnspec.analysis.evaluate import evaluate_given

    data = os.fspath(data) if isinstance(data, os.PathLike) else data
    asked = networks(saved, lane, seed)
    return tuple(evaluate_given(saved, compiled, name, number, data) for name, number in asked)


def networks(saved: SavedRun, lane: str | None = None, seed: int | None = None) -> list[tuple[str, int]]:
    """Return lane and seed of all networks of a run, or of the selected ones. Raises RunError if there are none."""
    names = saved.lanes if lane is None else [str(saved.lane(lane)["name"])]
    found = [(name, each) for name in names for each in saved.trained(name) if seed is None or each == seed]
    if not found:
        what = "" if seed is None else f" with seed {seed}"
        raise RunError(f"{saved.path} has no weights{f' of {lane}' if lane else ''}{what}")
    return found


def load(path: PathLike, lane: str | None = None, seed: int | None = None) -> Predictor:
    """Load a trained network for predictions: of the best lane, or of a given one.

        nnspec.runs.load("runs/race/latest").predict(x)     # x: (n, 784), bytes as in MNIST -> (n,)

    Raises RunError.
    """
    from nnspec.analysis.predict import load_predictor

    saved = open_run(path)
    return load_predictor(saved, compile_run(saved), lane, seed)


def predict(predictor: Predictor, files: Sequence[PathLike], *, invert: bool = False) -> list[Prediction]:
    """Predict the samples in files: images, tables or arrays. Raises DataError if a file cannot be read."""
    from nnspec.analysis.predict import Prediction
    from nnspec.data.predict_inputs import read_inputs

    found = []
    for file in files:
        inputs = read_inputs(os.fspath(file), predictor.wanted, invert=invert)
        outputs = predictor.outputs_of(inputs)
        found.append(Prediction(inputs.names, outputs, predictor.probabilities(outputs), inputs.notes))
    return found


def write_on(predictor: Predictor, prompt: str, length: int = 400) -> str:
    """Generate text with a network that was trained on text. Raises RunError if it was not."""
    writer = predictor.writer
    if writer is None:
        raise RunError(f"{predictor.lane} was not trained on text")
    try:
        return writer.write(length, prompt, temperature=predictor.experiment.train.temperature, seed=predictor.seed)
    except ValueError as error:
        raise RunError(str(error)) from None


def export_weights(
    path: PathLike, out: PathLike, lane: str | None = None, seed: int | None = None, *, force: bool = False
) -> Path:
    """Export the weights of a network as `.safetensors` or `.npz`, and return the path.

    Raises RunError, and OutputError if the file cannot be written, or exists and `force` is false.
    """
    from nnspec.export.certificate import ExportError
    from nnspec.export.weights import WEIGHTS

    if Path(out).suffix.removeprefix(".") not in WEIGHTS:
        raise ExportError(f"weights are written as .safetensors or .npz, and {out} ends in neither")
    return export(path, out, lane=lane, seed=seed, force=force).path


def export(
    path: PathLike,
    out: PathLike,
    to: str | None = None,
    *,
    lane: str | None = None,
    seed: int | None = None,
    opset: int | None = None,
    unverified: bool = False,
    force: bool = False,
    data_dir: PathLike | None = None,
    offline: bool = False,
) -> Exported:
    """Export a network with its preparation, verified: run in the target's own runtime, and compared layer by layer.

        nnspec.runs.export("runs/race/latest", "race.onnx").certificate.verified

    The target is that of the suffix, or `to`: `onnx`, `torch`, `numpy`, `c`, `safetensors` or `npz`. Raises RunError,
    SpecError for a layer that the target cannot express, ExportError if the file computes something else or cannot be
    verified, and OutputError if it cannot be written, or exists and `force` is false.
    """
    from nnspec.export import exporting

    saved, place = open_run(path), Path(out)
    target = exporting.target_of(place, to)
    exporting.refuse_opset(target, opset)
    if target in exporting.WEIGHTS:
        return exporting.export_weights(saved, place, lane, seed, target=target, force=force)
    exporting.refuse_existing(place, force)
    predictor, test, notes = _network_and_samples(saved, lane, seed, data_dir, offline)
    found = exporting.refusals(predictor, target)
    if found:
        raise SpecError(found)
    certificate = exporting.certificate_of(
        saved, predictor.lane, predictor.seed, saved.weights(predictor.lane, predictor.seed), target
    )
    done = exporting.export_network(predictor, certificate, place, test, unverified=unverified, opset=opset)
    return replace(done, notes=(*notes, *done.notes))


def check_export(
    file: PathLike, run: PathLike | None = None, *, data_dir: PathLike | None = None, offline: bool = False
) -> Exported:
    """Verify an exported file again, with the run that its certificate names or with `run`.

    Raises ExportError if the file computes something else, was changed, or is of another network; and RunError.
    """
    from nnspec.export import exporting

    place = Path(file)
    certificate, data = exporting.certificate_in(place)
    try:
        saved = open_run(certificate.run if run is None else run)
    except RunError as error:
        raise RunError(f"{error}; name the run of {place} with --run" if run is None else str(error)) from None
    arrays = saved.weights(certificate.lane, certificate.seed)
    ours = exporting.refuse_other_run(place, certificate, saved, arrays)
    if certificate.target in exporting.WEIGHTS:
        return exporting.check_weights(place, data, certificate, ours, arrays)
    predictor, test, notes = _network_and_samples(saved, certificate.lane, certificate.seed, data_dir, offline)
    done = exporting.check_network(place, data, certificate, ours, predictor, test)
    return replace(done, notes=(*notes, *done.notes))


def _network_and_samples(
    saved: SavedRun, lane: str | None, seed: int | None, data_dir: PathLike | None, offline: bool
) -> tuple[Predictor, Split | None, tuple[str, ...]]:
    """Return a network, the test samples of its run as stored if they are at hand, and what to say of them."""
    from nnspec.analysis.predict import load_predictor
    from nnspec.data.source import DataError
    from nnspec.runner.load_data import load_data

    compiled = compile_run(saved)
    predictor = load_predictor(saved, compiled, lane, seed)
    notes = [] if predictor.choice is None or not predictor.choice.remark else [predictor.choice.remark]
    try:
        program = on_its_data(saved, compiled).program
        program = replace(program, lanes=tuple(each for each in program.lanes if each.name == predictor.lane))
        dataset, _ = load_data(program, access_of(saved, compiled, data_dir, offline))[predictor.lane]
    except (DataError, RunError) as error:
        if data_dir is not None:
            raise
        return predictor, None, (*notes, f"verified without the test data of the run: {error}")
    return predictor, dataset.test, tuple(notes)


def verify(
    path: PathLike,
    other: PathLike | None = None,
    *,
    data_dir: PathLike | None = None,
    offline: bool = False,
    jobs: int | None = 1,
    data: Any = None,
    target: str | Sequence[str] | None = None,
) -> Verification:
    """Repeat an experiment and report whether the results are identical; with `other`, compare two runs on disk.

    A run on data from Python needs that `data` again, and the `target`, as `nnspec.run` takes them.

        nnspec.runs.verify("runs/race/1").same

    Raises RunError if the folder is not a run or the run cannot be repeated, and what `nnspec.run` raises.
    """
    from nnspec.data.given import given_data
    from nnspec.training.observer import Silent

    saved = open_run(path)
    if other is not None:
        return verify_with(saved, open_run(other))
    compiled = compile_run(saved)
    access = access_of(saved, compiled, data_dir, offline)
    if data is not None:
        access = replace(access, given=given_data(data, target))
    return verify_again(saved, compiled, access, Silent(), jobs=jobs)


def verify_again(
    saved: SavedRun, compiled: Compiled, access: Access, observer: Observer, *, jobs: int | None = 1
) -> Verification:
    """Repeat a saved run and compare. Raises KeyboardInterrupt on Ctrl-C, since half a run proves nothing."""
    trials = saved.trials if "tuned" in saved.summary and saved.keeps_weights else None
    if trials is None:
        found, _ = _repeated(saved, compiled, access, observer, jobs)
        if "tuned" not in saved.summary or not saved.keeps_weights:
            return found
        gone = f"{saved.path} has no folder {TRIALS}, so it cannot be verified how its settings were chosen"
        return replace(found, spoilt=(*found.spoilt, gone))
    searched, again = _repeated(trials, compile_run(trials), access, observer, jobs)
    found, _ = _repeated(saved, compiled, access, observer, jobs, again.tuned)
    return replace(
        found,
        matches=(*searched.matches, *found.matches),
        data=found.data and searched.data,
        left=(*searched.left, *found.left),
        spoilt=(*_other_choice(saved, trials, again), *searched.spoilt, *found.spoilt),
    )


def _other_choice(saved: SavedRun, trials: SavedRun, again: RunResult) -> Iterator[str]:
    """Yield how the settings of a race differ from those that its search chooses when it is repeated."""
    if again.tuned is None:
        return
    with usable(trials.path / "summary.json"):
        recorded = Tuned.of_record(trials.summary["tuned"])
    given = [each for each in trials.manifest.set if each != TRIALS_ONLY]
    raced = [each for each in saved.manifest.set if each not in given]
    for name, flags in (("the record of the search", recorded.flags()), ("the race", raced)):
        if flags != again.tuned.flags():
            yield (
                f"{name} in {saved.path} has other settings than the search chooses: {', '.join(flags)}, not "
                f"{', '.join(again.tuned.flags())}"
            )


def _repeated(
    saved: SavedRun,
    compiled: Compiled,
    access: Access,
    observer: Observer,
    jobs: int | None,
    tuned: Tuned | None = None,
) -> tuple[Verification, RunResult]:
    """Repeat one run and compare; `tuned` is the search that the settings of a race come from."""
    from nnspec.analysis.verify import Records, compare_records, other_results, records_of, spoilt_weights
    from nnspec.records.write import history_record, trace_record
    from nnspec.results.search_summary import tuned_record
    from nnspec.results.tuning import tuned_by
    from nnspec.runner.options import RunOptions
    from nnspec.runner.run import run_program

    known, spoilt = records_of(saved), list(spoilt_weights(saved))
    if identity(saved.manifest.meaning) != saved.manifest.identity:
        spoilt.append(f"`meaning` in {saved.path / MANIFEST} is not what `identity` is a digest of")
    program = on_its_data(saved, compiled)
    unsettled = tuned.unsettled(program.program) if tuned is not None else {}
    result = run_program(program, access, observer, options=RunOptions(jobs), unsettled=unsettled)
    if result.interrupted:
        raise KeyboardInterrupt
    if program.program.tuning is not None:
        tuned = tuned_by(program.program.tuning, program.program, result.lanes)
    if tuned is not None:
        result.tuned, result.summary["tuned"] = tuned, tuned_record(tuned, program.program, result.lanes)
    again = Records("a new run of it", result.summary, history_record(result)["lanes"], trace_record(result)["lanes"])
    found = compare_records(known, again, spoilt)
    if not found.same:
        return found, result
    with usable(saved.path / "summary.json"):
        return replace(
            found, spoilt=tuple(other_results(saved.summary, again.summary, saved.path / "summary.json"))
        ), result


def verify_with(saved: SavedRun, other: SavedRun) -> Verification:
    """Compare the lanes and seeds that two runs on disk have in common. Their specs may differ."""
    from nnspec.analysis.verify import compare_records, records_of, spoilt_weights

    spoilt = list(dict.fromkeys((*spoilt_weights(saved), *spoilt_weights(other))))
    return compare_records(records_of(saved), records_of(other), spoilt)


def report(
    paths: Sequence[PathLike],
    out: PathLike | None = None,
    *,
    force: bool = False,
    data_dir: PathLike | None = None,
    offline: bool = False,
) -> Path:
    """Write a self-contained page about runs, and return its path: in the folder of the run, or for several runs
    `report.html` in the current folder.

    An existing report is overwritten; any other file only with `force`. If the spec or the data is no longer available,
    the page says why and shows everything else. Raises RunError, and OutputError if the file cannot be written.
    """
    from nnspec.files import atomic, output, utf8
    from nnspec.records.folder import REPORT, REPORT_MARK, OutputError
    from nnspec.view.report.page import report_page

    saved = [open_run(path) for path in paths]
    place = Path(out) if out is not None else (saved[0].path if len(saved) == 1 else Path()) / REPORT
    try:
        if os.path.lexists(place) and not force and not _holds(place, REPORT_MARK):
            raise OutputError(f"{place} already exists and is not a report; name another file, or add --force")
        found = [_for_report(run, data_dir, offline) for run in saved]
        page = report_page(found, compare_runs(paths) if len(saved) > 1 else None)
        with (atomic if out is None else output)(place) as out_file:  # no link in the folder of a run is followed
            out_file.write(utf8(page))
    except OSError as error:
        raise OutputError(f"{place} cannot be written: {error.strerror or error}") from None
    return place


def _holds(path: Path, mark: str) -> bool:
    """Whether a file begins with a text that has a mark in it. Raises OSError."""
    try:
        with open_regular(path) as file:
            return mark.encode() in file.read(4096)
    except (FileNotFoundError, NotRegularError):  # a link to nothing; a folder, a pipe or a device
        return False


def _for_report(saved: SavedRun, data_dir: PathLike | None, offline: bool) -> ReportRun:
    """Compute what a report shows in addition to the records: the program, and the best networks on the test data."""
    from nnspec.analysis.evaluate import Evaluator
    from nnspec.view.report.page import ReportRun, best_first

    try:
        compiled = compile_run(saved)
    except NnspecError as error:
        why = str(error).splitlines()[0]
        return ReportRun(saved, None, why, (), why)
    try:
        first = dict(reversed(networks(saved)))
        access = access_of(saved, compiled, data_dir, offline)
        evaluator = Evaluator(saved, on_its_data(saved, compiled), access)
        chosen = [lane for lane in best_first(saved) if lane in first][:_EVALUATED]
        return ReportRun(saved, compiled, "", tuple(evaluator(lane, first[lane]) for lane in chosen))
    except NnspecError as error:
        return ReportRun(saved, compiled, "", (), str(error).splitlines()[0])


def plot(path: PathLike, out: PathLike | None = None, *, force: bool = False) -> Path:
    """Plot the recorded curves of a run and return the path: `curves.png` in its folder, or `out`, which must end in
    `.png`, `.svg` or `.pdf`.

    An existing `out` is only overwritten with `force`. Raises RunError, and OutputError if the file cannot be written.
    """
    from nnspec.records.folder import PICTURE, OutputError
    from nnspec.view.pictures.curves import picture_of_saved, save_picture
    from nnspec.view.pictures.files import picture_path

    saved = open_run(path)
    place = saved.path / PICTURE if out is None else picture_path("", out, force=force)
    picture = picture_of_saved(saved, compile_run(saved))
    if not picture.curves:
        raise RunError(f"{saved.path} has no curves: no lane finished an epoch")
    try:
        if out is None:
            save_picture(picture, place)
        else:
            picture.draw(place)
    except OSError as error:
        raise OutputError(f"{place} cannot be written: {error.strerror or error}") from None
    return place


def compare_runs(paths: Sequence[PathLike]) -> ComparedRuns:
    """Compare runs on disk, or the lanes of a single run.

        nnspec.runs.compare_runs(["runs/race/1", "runs/race/2"]).contest.comparisons

    Duplicate runs are ignored. Raises RunError.
    """
    from nnspec.analysis.contest import contest
    from nnspec.semantics.comparison import compare
    from nnspec.view.terminal.run_comparison import ComparedRuns

    saved = list({os.path.realpath(run.path): run for run in map(open_run, paths)}.values())
    found = contest(saved)
    specs: list[Difference | str] = []
    for run in saved[1:]:
        try:
            specs.append(compare(compile_run(saved[0]), compile_run(run)))
        except NnspecError as error:
            specs.append(str(error))
    return ComparedRuns(found, tuple(specs))
