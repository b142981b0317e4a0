"""Rules for a whole file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nnspec.checker.missing import EXAMPLES
from nnspec.checker.program import Experiment
from nnspec.checker.rules.registry import advice, rule
from nnspec.checker.rules.subjects import Result, Settled
from nnspec.diagnostics import Diagnostic, Edit, Fix, Span

MAX_TRAININGS = 10_000
"""The maximum number of trainings of a spec."""


@rule("NN205")
def missing_settings(settled: Settled) -> Iterator[Diagnostic]:
    """Missing settings of an experiment, reported at the top if all lanes lack one, else at the first lane that
    does."""
    lanes = {lane.name.text: lane.name.span for lane in settled.declared.lanes}
    if _only_declares(settled) or is_half(settled):
        return
    for setting, without in settled.missing.lanes.items():
        everywhere = len(without) >= len(lanes)
        where = f" in lane{'s' if len(without) > 1 else ''} " + ", ".join(f"`{lane}`" for lane in without)
        message = f"`{setting}` is missing" + ("" if everywhere else where)
        span = settled.top if everywhere else lanes[without[0]]
        yield Diagnostic("NN205", message, span, help=EXAMPLES[setting])


@rule("NN711")
def for_import(settled: Settled) -> Iterator[Diagnostic]:
    """A file that only contains declarations for other files."""
    if _only_declares(settled):
        message = "this file is not a complete experiment: it has no `data`, `loss` or `optimizer`"
        help = "if it is only meant to be imported, add `# nn: ignore[NN711]`"
        yield advice("NN711", message, settled.top, help)


def _only_declares(settled: Settled) -> bool:
    declared = settled.declared
    declares = declared.lets or declared.blocks or declared.models
    runs = declared.race or declared.sweep or declared.expectations
    return bool(declares) and not runs and settled.missing.lanes.keys() >= {"data", "loss", "optimizer"}


def is_half(settled: Settled) -> bool:
    """Whether a file is one half of a bench: a problem, which has everything but an optimizer, or its contestants,
    which have nothing else. Either says how settings are searched for."""
    declared, missing = settled.declared, settled.missing.lanes.keys()
    if declared.tune is None or declared.expectations:
        return False
    problem = missing == {"optimizer"} and declared.race is None
    contestants = missing >= {"data", "loss"} and declared.race is not None and not declared.models
    return problem or contestants


@rule("NN603")
def too_many_trainings(experiments: Sequence[Experiment], top: Span) -> Iterator[Diagnostic]:
    """Too many trainings, including repeats and folds."""
    trainings = sum(experiment.train.trainings for experiment in experiments)
    if trainings > MAX_TRAININGS:
        message = f"this is {trainings:,} trainings, including repeats and folds; the limit is {MAX_TRAININGS:,}"
        origins = next((e.origins for e in experiments if e.train.trainings > 1), experiments[0].origins)
        given = next((origins[word] for word in ("train.repeats", "train.validation") if word in origins), None)
        span = given.span if given is not None else top
        yield Diagnostic("NN603", message, span, help="use fewer repeats, folds, lanes or points")


@rule("NN708", unless_failed=True)
def no_seed(result: Result) -> Iterator[Diagnostic]:
    """An expectation about the outcome of training in a spec without a seed."""
    outcome = next((e for e in result.expectations if e.about == "outcome"), None)
    if outcome is not None and any("seed" not in experiment.origins for experiment in result.experiments):
        start = Span(result.top.source, result.top.start, result.top.start)
        fix = Fix("add `seed = 0`", (Edit(start, "seed = 0\n"),), safe=True)
        message = "this expectation depends on the seed, but the spec does not set one"
        yield advice("NN708", message, outcome.span, "write `seed = 0`, the default", (), fix)
