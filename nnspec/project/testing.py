"""Specs as tests: check each spec, run it and check its expectations, without writing a run folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from nnspec.api import CheckResult, check, prove_the_rest, run_into
from nnspec.compiler.proofs import Compiled
from nnspec.data.source import Access
from nnspec.diagnostics import Diagnostic, render_all
from nnspec.diagnostics.formats.base import plural
from nnspec.errors import NnspecError, some_of
from nnspec.project.baseline import LaneEntry, SpecEntry
from nnspec.project.remembering import Difference, Now, RecordedLane, lane_of, same_data
from nnspec.results.data_use import DataUse
from nnspec.results.lane import LaneResult
from nnspec.results.run import RunResult, Verdict
from nnspec.runner.load_data import load_data
from nnspec.runner.options import RunOptions
from nnspec.runner.verdicts import judge
from nnspec.text import printable
from nnspec.training.observer import Observer, Silent

__all__ = [
    "Case",
    "Memory",
    "SpecReport",
    "SpecTester",
    "Status",
    "exit_code",
    "failures",
    "marks",
    "outcome",
    "summary",
]

Status = Literal["passed", "failed", "error", "skipped"]

_MARKS: dict[Status, str] = {"passed": ".", "failed": "F", "error": "E", "skipped": "s"}
_LANES: dict[str, Status] = {"done": "passed", "diverged": "failed", "failed": "failed", "interrupted": "skipped"}
_NOT_TRAINED = "the spec could not be run"
_RUN_ENDED = "the run was interrupted"
_AS_RECORDED = "not trained: unchanged since it was recorded in the baseline"
_WIDE = 78


@dataclass(frozen=True)
class Case:
    """One test of a spec."""

    kind: Literal["check", "gradients", "run", "lane", "expectation", "baseline"]
    """`run` is only used if the spec could not be run at all."""
    name: str
    """`check`, `gradients of Adam`, `run`, `Adam trains`, or the text of an expectation."""
    status: Status
    detail: str = ""
    """The outcome, in full if it failed."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Memory:
    """What the baseline has on a spec, and what there is to record of it."""

    then: SpecEntry | None = None
    now: SpecEntry | None = None
    """None if it was not trained to the end."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """What the fingerprint of `now` is a digest of."""
    unchanged: bool = False
    """Whether it was not trained, since its results are known to be those of `then`."""
    causes: tuple[str, ...] = ()
    """What results depend on and is not as it was recorded."""
    differences: tuple[Difference, ...] = ()
    """Its figures, compared with the recorded ones."""


@dataclass(frozen=True)
class SpecReport:
    """The test results of a spec."""

    path: str
    cases: tuple[Case, ...]
    seconds: float
    notes: tuple[str, ...] = ()
    """Remarks to show: why it was skipped, that it has no expectations, that other data was used."""
    diagnostics: tuple[Diagnostic, ...] = ()
    """The findings, if there are errors."""
    interrupted: bool = False
    fault: bool = False
    """Whether there was a bug in nnspec."""
    memory: Memory = Memory()

    @property
    def status(self) -> Status:
        """The worst status of its cases; `skipped` only if no case passed."""
        found = {case.status for case in self.cases}
        if "error" in found:
            return "error"
        if "failed" in found:
            return "failed"
        return "passed" if "passed" in found and not self.interrupted else "skipped"

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return self.status in ("passed", "skipped")


class SpecTester:
    """Tests one spec after another."""

    def __init__(
        self,
        overrides: Sequence[str],
        access: Access,
        *,
        jobs: int | None = None,
        observer: Observer | None = None,
        on_fault: Callable[[str, Exception], None] = lambda path, error: None,
        recorded: Mapping[str, SpecEntry] | None = None,
        retrain: bool = False,
    ) -> None:
        """`observer` follows the training of each spec; `on_fault` is called with a spec and the bug of nnspec that it
        triggered. The data folder of `access` is used by the specs that read files.

        `recorded` is the baseline, by spec; without `retrain`, what has not changed since is not trained again.
        """
        self._overrides = tuple(overrides)
        self._access = access
        self._jobs = jobs
        self._observer = observer or Silent()
        self._on_fault = on_fault
        self._recorded = recorded
        self._retrain = retrain

    def run(
        self,
        paths: Sequence[str],
        *,
        fail_fast: bool = False,
        begins: Callable[[str], None] = lambda path: None,
        admits: Callable[[str], bool] = lambda path: True,
    ) -> Iterator[SpecReport]:
        """Yield the results of each spec that `admits` accepts when its turn comes, until one is interrupted or, with
        `fail_fast`, one fails."""
        for path in paths:
            if not admits(path):
                continue
            begins(path)
            tested = self.test(path)
            yield tested
            if tested.interrupted or (fail_fast and not tested.ok):
                return

    def test(self, path: str) -> SpecReport:
        """Test a spec. All problems are part of the result; nothing is raised."""
        started = time.perf_counter()
        checked: CheckResult | None = None
        check_seconds = 0.0
        proofs: list[Case] = []
        interrupted = fault = False
        try:
            checked = check(path, self._overrides)
            check_seconds = time.perf_counter() - started
            if not checked.ok:
                case = Case("check", "check", "failed", render_all(checked.diagnostics), check_seconds)
                return SpecReport(path, (case,), check_seconds, diagnostics=checked.diagnostics)
            if checked.compiled is None:
                why = "not a complete experiment; it can only be imported"
                return SpecReport(path, (Case("check", "check", "skipped", why, check_seconds),), check_seconds, (why,))
            now = Now(checked.compiled)
            then = (self._recorded or {}).get(path)
            kept: Mapping[str, LaneEntry] = {}
            if then is not None and not self._retrain and now.may_keep(then):
                data = load_data(checked.compiled.program, self._access_for(checked.compiled))
                uses = {name: use for name, (_, use) in data.items()}
                if now.is_known(then) and same_data(then, uses):
                    return _unchanged(path, checked, uses, then, time.perf_counter() - started)
                kept = now.kept(then, uses)
            result = self._trained(now, kept, proofs)
        except NnspecError as error:
            message = str(error)
        except MemoryError:
            message = "not enough memory; `nnspec show SPEC` shows how much is needed"
        except KeyboardInterrupt:
            message, interrupted = _RUN_ENDED, True
        except Exception as error:  # noqa: BLE001  (the other specs are still tested)
            self._on_fault(path, error)
            message, fault = f"a bug in nnspec: {type(error).__name__}: {error}", True
        else:
            judged = _judged(path, checked, proofs, result, kept, check_seconds, time.perf_counter() - started)
            if self._recorded is None:
                return judged
            entry = now.entry(result, kept, passed=judged.ok, seconds=judged.seconds)
            return replace(judged, memory=Memory(then, entry, now.environment))
        cases = _unrun(checked, proofs, message, check_seconds, "skipped" if interrupted else "error")
        return SpecReport(path, cases, time.perf_counter() - started, interrupted=interrupted, fault=fault)

    def _trained(self, now: Now, kept: Mapping[str, LaneEntry], proofs: list[Case]) -> RunResult:
        """Train the lanes that are not kept, and judge all. The checks of their gradients are added to `proofs`."""
        compiled = now.without(kept)
        program = compiled.program
        result = RunResult(program.title, program.path, {}, ())
        if program.lanes:
            access = self._access_for(compiled)
            proofs += self._prove(compiled, access)
            result = run_into(compiled, access, self._observer, None, RunOptions(self._jobs))
        if kept:
            lanes = {name: RecordedLane(lane) for name, lane in kept.items()} | result.lanes
            result.verdicts = judge(now.compiled, lanes, {})
        return result

    def _prove(self, compiled: Compiled, access: Access) -> Iterator[Case]:
        started = time.perf_counter()
        proofs = prove_the_rest(compiled, access, self._observer)
        seconds = (time.perf_counter() - started) / max(1, len(proofs))
        for proof in proofs:
            status: Status = "passed" if proof.holds else "failed"
            name = f"gradients of {', '.join(proof.lanes)}"
            yield Case("gradients", name, status, "\n".join(proof.faults()), seconds)

    def _access_for(self, compiled: Compiled) -> Access:
        """Drop the data folder if no lane reads files: a run would reject it, but other specs may need it."""
        reads = any(choice.source.reads_files for lane in compiled.program.lanes for choice in lane.data)
        return self._access if reads else replace(self._access, data_dir=None)


def _judged(
    path: str,
    checked: CheckResult,
    proofs: Sequence[Case],
    result: RunResult,
    kept: Mapping[str, LaneEntry],
    check_seconds: float,
    seconds: float,
) -> SpecReport:
    assert checked.compiled is not None
    lanes = [*_lanes([lane.name for lane in checked.compiled.program.lanes], result, kept)]
    expected = [_expectation(verdict) for verdict in result.verdicts]
    cases = (Case("check", "check", "passed", seconds=check_seconds), *proofs, *lanes, *expected)
    notes = [*([f"unchanged: {some_of([*kept], 6)}"] if kept else []), *_notes(checked, result.data)]
    return SpecReport(path, cases, seconds, tuple(notes), interrupted=result.interrupted)


def _lanes(lanes: Sequence[str], result: RunResult, kept: Mapping[str, LaneEntry]) -> Iterator[Case]:
    """Yield a case for each lane of a program, or for each of its studies."""
    for lane in lanes:
        if lane in kept:
            yield Case("lane", f"{lane} trains", "passed", _AS_RECORDED)
            continue
        trained = [name for name in result.lanes if lane_of(name, lanes) == lane]
        yield from (_lane(name, result.lanes.get(name)) for name in trained or [lane])


def _notes(checked: CheckResult, data: Sequence[DataUse]) -> Iterator[str]:
    yield from (f"data: {use.source} replaces {use.asked_for}" for use in data if use.stands_in)
    if checked.compiled is not None and not checked.compiled.program.expectations:
        yield "no expectations"
    warnings = sum(found.severity == "warning" for found in checked.diagnostics)
    if warnings:
        yield f"{plural(warnings, 'warning')}; run `nnspec check` to see them"


def _unchanged(
    path: str, checked: CheckResult, uses: Mapping[str, DataUse], then: SpecEntry, seconds: float
) -> SpecReport:
    """Return the report of a spec that passed when it was recorded, and would give the same bits again."""
    assert checked.compiled is not None
    program = checked.compiled.program
    cases = (
        Case("check", "check", "passed", seconds=seconds),
        *(Case("lane", f"{lane} trains", "passed", _AS_RECORDED) for lane in then.lanes),
        *(Case("expectation", _flat(each.text), "passed", _AS_RECORDED) for each in program.expectations),
    )
    notes = _notes(checked, tuple(dict.fromkeys(uses.values())))
    return SpecReport(path, cases, seconds, tuple(notes), memory=Memory(then, unchanged=True))


def _lane(name: str, lane: LaneResult | None) -> Case:
    name = f"{name} trains"
    if lane is None:
        return Case("lane", name, "skipped", _RUN_ENDED)
    if lane.risen:
        detail = f"the loss rose from {lane.curve('loss')[0]:.3g} in epoch 1 to {lane.final('loss'):.3g} at the end"
        return Case("lane", name, "failed", detail, lane.seconds)
    detail = "" if lane.status == "done" else f"{lane.status}: {lane.message}"
    return Case("lane", name, _LANES[lane.status], detail, lane.seconds)


def _expectation(verdict: Verdict) -> Case:
    status: Status = "skipped" if verdict.held is None else "passed" if verdict.held else "failed"
    return Case("expectation", _flat(verdict.text), status, verdict.detail)


def _unrun(
    checked: CheckResult | None, proofs: Sequence[Case], message: str, check_seconds: float, status: Status
) -> tuple[Case, ...]:
    """Return the cases of a spec whose run did not finish: the one that failed, and those that were not reached."""
    if checked is None:
        return (Case("check", "check", status, message),)
    check_case, run_case = Case("check", "check", "passed", seconds=check_seconds), Case("run", "run", status, message)
    cases = [check_case, *proofs, run_case]
    if checked.compiled is not None:
        program = checked.compiled.program
        cases += [Case("lane", f"{lane.name} trains", "skipped", _NOT_TRAINED) for lane in program.lanes]
        cases += [Case("expectation", _flat(each.text), "skipped", _NOT_TRAINED) for each in program.expectations]
    return tuple(cases)


def _flat(text: str) -> str:
    return " ".join(text.split())


def exit_code(tested: Sequence[SpecReport]) -> int:
    """Return 0 if all passed, 1 if any failed, 3 after a bug in nnspec, 130 if interrupted."""
    if any(each.interrupted for each in tested):
        return 130
    if any(each.fault for each in tested):
        return 3
    return 0 if all(each.ok for each in tested) else 1


def marks(tested: SpecReport) -> str:
    """Return one mark per expectation and per other case that did not pass: `..F`."""
    return "".join(
        _MARKS[case.status] for case in tested.cases if case.kind == "expectation" or case.status != "passed"
    )


def outcome(tested: SpecReport) -> str:
    """Return the text after a spec's name: `..F FAILED (2.1 s)`."""
    word = "UNCHANGED" if tested.memory.unchanged else tested.status.upper()
    word = "INTERRUPTED" if tested.interrupted else word
    words = [marks(tested), word, f"({tested.seconds:.1f} s)"]
    return "; ".join([" ".join(filter(None, words)), *map(printable, tested.notes)])


def failures(tested: SpecReport, *, color: bool = False) -> str:
    """Return all failures of a spec in full, or an empty string."""
    found = [case for case in tested.cases if case.status in ("failed", "error")]
    if not found:
        return ""
    lines = [f" {printable(tested.path)} ".center(_WIDE, "-")]
    for case in found:
        if case.kind == "check" and tested.diagnostics:
            lines.append(render_all(tested.diagnostics, color=color))
        elif case.kind == "expectation":
            lines.append(f"missed: {printable(case.name)}")
            lines += [f"        {line}" for line in _lines(case.detail)]
        elif case.kind == "gradients":
            lines.append(f"wrong {printable(case.name)}")
            lines += [f"        {line}" for line in _lines(case.detail)]
        elif case.kind == "baseline":
            lines.append(printable(case.name))
            lines += [f"        {line}" for line in _lines(case.detail)]
        elif case.kind == "lane":
            lines.append(f"lane {printable(case.name.removesuffix(' trains'))} {printable(case.detail)}")
        else:
            lines.append("\n".join(_lines(f"error: {case.detail}")))
    return "\n".join(lines)


def _lines(text: str) -> list[str]:
    return [printable(line) for line in text.splitlines()]


def summary(tested: Sequence[SpecReport], asked: int, seconds: float) -> str:
    """Return the last line: `3 passed, 1 failed, 1 skipped in 4.2 s`. `asked` is the number of specs."""
    ended = [each for each in tested if not each.interrupted or not each.ok]
    counts = {
        "passed": sum(each.status == "passed" and not each.memory.unchanged for each in ended),
        "failed": sum(not each.ok for each in ended),
        "unchanged": sum(each.memory.unchanged for each in ended),
        "skipped": sum(each.status == "skipped" for each in ended),
        "not run": asked - len(ended),
    }
    found = [f"{number:,} {word}" for word, number in counts.items() if number]
    return f"{', '.join(found) or plural(0, 'spec')} in {seconds:.1f} s"
