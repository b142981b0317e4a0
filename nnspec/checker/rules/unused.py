"""Rules for declarations and settings without effect."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from nnspec.checker.evaluator import names_in
from nnspec.checker.program import Experiment
from nnspec.checker.rules.registry import advice, rule
from nnspec.checker.rules.subjects import Result
from nnspec.checker.tensor_names import Idle
from nnspec.diagnostics import Diagnostic, Span


@rule("NN710", unless_failed=True)
def unused_names(result: Result) -> Iterator[Diagnostic]:
    """An unused `let`, block or parameter. Imported files are exempt."""
    declared, usage = result.declared, result.usage
    spec, _ = declared.files.order[-1]
    unused = [(f"`let {name}`", given.name) for name, given in declared.lets.items() if name not in usage.lets]
    unused += [(f"block `{n}`", block.name.span) for n, block in declared.blocks.items() if n not in usage.blocks]
    unused += [
        (f"parameter `{parameter.name.text}` of block `{name}`", parameter.name.span)
        for name, block in declared.blocks.items()
        for parameter in block.parameters
        if parameter.name.text not in names_in((block.items, tuple(p.default for p in block.parameters)))
    ]
    for what, span in unused:
        if span.source is spec:
            yield advice("NN710", f"{what} is never used", span)


@rule("NN718")
def idle_names(experiments: Sequence[Experiment]) -> Iterator[Diagnostic]:
    """A setting for layers that has no effect in any lane."""
    idle, used = Idle(), set[tuple[Span, str]]()
    idlers: dict[tuple[Span, str], str] = {}
    for experiment in experiments:
        initial = experiment.initial
        reasons = idle(experiment) | (dict(initial.idle) if initial else {})
        named = [(name, name) for name in (*experiment.by_name, *(initial.settings if initial else ()))]
        named += [(f"train.freeze.{name}", "train.freeze") for name in experiment.train.freeze or ()]
        if experiment.init is not None:
            named.append(("init", "init"))
            starts = (n.value.arguments.get("init") for layer in experiment.layers for n in layer.walk())
            if not any(start and start.origin == experiment.origins.get("init") for start in starts):
                reasons |= {"init": "all layers that take an `init` have their own"}
        for name, setting in named:
            origin = experiment.origins.get(setting)
            if origin is None:
                continue
            if name in reasons:
                idlers.setdefault((origin.span, name), reasons[name])
            else:
                used.add((origin.span, name))
    places: dict[Span, dict[str, int]] = {}
    for (span, name), reason in idlers.items():
        if (span, name) in used:
            continue
        text, what = name.removeprefix("train.freeze."), f"`{name}`"
        if text != name:
            what = f"`{text}` in `train.freeze`"
            if span not in places:
                places[span] = {word.group(): word.start() for word in re.finditer(r"[\w.]+", span.text)}
            start = span.start + places[span].get(text, 0)
            span = Span(span.source, start, start + len(text)) if text in places[span] else span
        yield advice("NN718", f"{what} has no effect: {reason}", span, "remove it")
