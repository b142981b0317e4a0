"""From the tree to the program: names, arguments, values and shapes, and every mistake among them in one go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnspec.checker.expectations import calculate as calculate
from nnspec.checker.expectations import expectation
from nnspec.checker.experiment import evaluate
from nnspec.checker.expressions import Evaluator, Given
from nnspec.checker.model import chain
from nnspec.checker.outline import Assignment, Outline, outline
from nnspec.checker.program import Experiment, Program
from nnspec.checker.report import Report
from nnspec.checker.settings import settle
from nnspec.checker.words import KIND_OF_SETTING, SETTINGS
from nnspec.diagnostics import Diagnostic, Source, Span
from nnspec.syntax import parse, tree

__all__ = ["Checked", "calculate", "check"]


@dataclass(frozen=True)
class Checked:
    """What checking a spec gives: findings, and the program where none of them is an error."""

    program: Program | None
    diagnostics: tuple[Diagnostic, ...]


def check(source: Source, flags: Sequence[Source] = ()) -> Checked:
    """Check a spec. `flags` are texts such as `train.epochs=3` that take the place of what the spec says."""
    parsed = parse(source)
    report = Report()
    report.take(source, parsed)
    sorted_items = outline(parsed.file, report)
    overrides = [a for flag in flags for a in _flag(flag, report)]
    lanes = _lanes(sorted_items, overrides, report, _top(source))
    expectations = [expectation(e, lanes, report) for e in sorted_items.expectations]
    experiments = [experiment for experiment, _ in lanes.values()]
    diagnostics = tuple(sorted(report.diagnostics, key=lambda d: d.order))
    if report.failed or None in experiments or None in expectations:
        return Checked(None, diagnostics)
    program = Program(
        path=source.name,
        title=_title(sorted_items, source),
        text=source.text,
        lanes=tuple(e for e in experiments if e is not None),
        expectations=tuple(e for e in expectations if e is not None),
        overrides=tuple(flag.text for flag in flags),
    )
    return Checked(program, diagnostics)


def _lanes(
    items: Outline, overrides: list[Assignment], report: Report, top: Span
) -> dict[str, tuple[Experiment | None, Evaluator]]:
    """Evaluate every lane; a file without a race has one, called `run`."""
    from_spec: set[Span] = set()
    from_flags: set[Span] = set()
    result: dict[str, tuple[Experiment | None, Evaluator]] = {}
    names = [lane.name.text for lane in items.lanes] or ["run"]
    per_lane = _by_lane(overrides, names, items)
    if items.race is not None:
        # The base by itself, for mistakes in what every lane happens to replace.
        evaluate("", items, settle(items, None, [], report, set()), report, top, complete=False)
    for name in names:
        lane = next((lane for lane in items.lanes if lane.name.text == name), None)
        settings = settle(items, lane, per_lane[name], report, from_flags)
        settle(items, lane, [], Report(), from_spec)  # a flag may replace whatever it likes
        result[name] = evaluate(name, items, settings, report, top)
    _unchosen_models(items, result[names[0]][1], report)
    report.report_absent({lane.name.text: lane.name.span for lane in items.lanes}, top)
    own = [*items.assignments, *(a for lane in items.lanes for a in lane.assignments)]
    _without_effect(own, from_spec, report)
    _without_effect(overrides, from_flags, report)
    return result


def _unchosen_models(items: Outline, evaluator: Evaluator, report: Report) -> None:
    """Look for mistakes in models that no lane has chosen: nothing in a file goes unread."""
    for name, section in items.models.items():
        if name not in report.chosen_models:
            chain(section, {}, evaluator, evaluator.data, report)


def _by_lane(overrides: list[Assignment], names: list[str], items: Outline) -> dict[str, list[Assignment]]:
    """Share the flags out: `Adam.optimizer.lr=0.1` goes to one lane, all others go to every lane."""
    result: dict[str, list[Assignment]] = {name: [] for name in names}
    for override in overrides:
        word = override.path[0].text
        if word in result and len(override.path) > 1 and word not in SETTINGS and word not in items.lets:
            result[word].append(Assignment(override.path[1:], override.given, shared=False))
        else:
            for assigned in result.values():
                assigned.append(override)
    return result


def _without_effect(assignments: list[Assignment], effective: set[Span], report: Report) -> None:
    """Report arguments that were set for a part which every lane then replaces: nothing is ignored in silence."""
    for assignment in assignments:
        of_a_part = len(assignment.path) == 2 and assignment.path[0].text in KIND_OF_SETTING.values()
        if not report.failed and of_a_part and assignment.span not in effective:
            report.error(
                "NN203",
                f"`{assignment.text}` has no effect: every lane replaces `{assignment.path[0].text}`",
                assignment.span,
                help="set it in the lanes",
            )


def _flag(source: Source, report: Report) -> list[Assignment]:
    parsed = parse(source)
    report.take(source, parsed)
    items = parsed.file.items
    if len(items) == 1 and isinstance(items[0], tree.Setting):
        setting = items[0]
        return [Assignment(setting.path.names, Given(setting.value, setting.path.span, source.name))]
    if not parsed.diagnostics:
        report.error(
            "NN101",
            "this is not `path=value`",
            Span(source, 0, len(source.text)),
            help="such as `train.epochs=3` or `optimizer.lr=0.1`",
        )
    return []


def _title(items: Outline, source: Source) -> str:
    if items.race is not None and items.race.title is not None:
        return str(items.race.title.value)
    return source.name.rsplit("/", 1)[-1].removesuffix(".nn")


def _top(source: Source) -> Span:
    """The first word of a file: where it is said that something is missing in all of it."""
    for line in range(1, len(source.line_starts) + 1):
        content = source.line(line)
        if content.strip() and not content.lstrip().startswith("#"):
            start = source.line_starts[line - 1] + len(content) - len(content.lstrip())
            word = content.split()[0]
            return Span(source, start, start + len(word))
    return Span(source, 0, 1)
