"""Advice: what is legal and hardly meant. Each rule is one function; the table at the end is all there is to add to."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import pairwise
from math import prod

from nnspec.checker.declare import Outline
from nnspec.checker.evaluate import names_in
from nnspec.checker.program import Expectation, Experiment, LayerNode
from nnspec.checker.report import Report
from nnspec.checker.tensor_names import Idle
from nnspec.diagnostics import Diagnostic, Edit, Fix, Note, Span
from nnspec.engine.initializers import Initializer
from nnspec.engine.layers.activations import Activation
from nnspec.engine.layers.contract import Layer
from nnspec.engine.losses import Loss
from nnspec.engine.optimizers import Optimizer
from nnspec.engine.schedules import ConstantSchedule, Schedule
from nnspec.engine.stopping import Patience
from nnspec.engine.validation import Last

__all__ = ["for_import", "lint", "lint_names", "lint_seed", "lint_sweep"]

_CLOSE = 1.0000001  # a rate on the edge of the usual range, within rounding


def lint(experiments: Iterable[Experiment], report: Report) -> None:
    """Report what is hardly meant in experiments; lanes share layers, and advice about them is given once."""
    seen: set[int] = set()
    experiments = list(experiments)
    _report(_idle_names(experiments), report)
    for experiment in experiments:
        for rule in _OF_EXPERIMENTS:
            _report(rule(experiment), report)
        if id(experiment.layers) not in seen:
            seen.add(id(experiment.layers))
            layers = experiment.layers[:-1] if any(_squashed_logits(experiment)) else experiment.layers
            for nodes in _chains(layers):
                for rule_of_chains in _OF_CHAINS:
                    _report(rule_of_chains(nodes), report)


def lint_names(outline: Outline, report: Report) -> None:
    """Report a `let`, a block or a parameter that nothing uses; an imported file may hold more than one needs."""
    spec, _ = outline.files.order[-1]
    unused = [(f"`let {name}`", given.name) for name, given in outline.lets.items() if name not in report.used_lets]
    unused += [(f"block `{n}`", block.name.span) for n, block in outline.blocks.items() if n not in report.used_blocks]
    unused += [
        (f"parameter `{parameter.name.text}` of block `{name}`", parameter.name.span)
        for name, block in outline.blocks.items()
        for parameter in block.parameters
        if parameter.name.text not in names_in((block.items, tuple(p.default for p in block.parameters)))
    ]
    for what, span in unused:
        if span.source is spec:
            _report([_advice("NN710", f"nothing uses {what}", span)], report)


def lint_sweep(experiments: Iterable[Experiment], outline: Outline, report: Report) -> None:
    """Report a swept setting that changes nothing in a lane, since what the lane says takes the place of all that
    follows it: the same training, twice."""
    firsts: dict[tuple[object, ...], Experiment] = {}
    models: dict[int, object] = {}
    told: set[str] = set()
    for each in experiments if outline.sweep is not None else ():
        if id(each.layers) not in models:
            nodes = [node for layer in each.layers for node in layer.walk()]
            models[id(each.layers)] = tuple((node.name, str(node.value), node.incoming) for node in nodes)
        train = tuple(str(getattr(each.train, one.name)) for one in fields(each.train))
        parts = tuple(str(part) for part in (each.loss, each.optimizer, *each.metrics, *(c.value for c in each.data)))
        named = frozenset(each.by_name.items())
        first = firsts.setdefault(
            (each.lane, each.seed, each.dtype, models[id(each.layers)], parts, train, named), each
        )
        idle = next((one for one in each.swept if first.point.get(one.setting, one.text) != one.text), None)
        if first is each or idle is None or idle.setting in told:
            continue
        told.add(idle.setting)
        word = f"{idle.lane}.{idle.setting}" if idle.lane else idle.setting
        assert outline.sweep is not None
        span = next((one.span for one in outline.sweep.dimensions if one.text == word), outline.sweep.head)
        other = next((lane.name.text for lane in outline.lanes if lane.name.text != each.lane), "")
        alone = f", or sweep the other lanes only: `{other}.{idle.setting} = […]`" if other and not idle.lane else ""
        message = f"`{first.name}` and `{each.name}` are the same training: `{idle.setting}` changes nothing there"
        _report([_advice("NN730", message, span, f"leave it out of the sweep{alone}")], report)


def for_import(top: Span) -> Diagnostic:
    """Say that a file is no experiment by itself."""
    return _advice(
        "NN711",
        "this file is not an experiment by itself: it has no `data`, no `loss` and no `optimizer`",
        top,
        "right for a file that others import; `# nn: ignore[NN711]` says so",
    )


def lint_seed(
    experiments: Iterable[Experiment], expectations: Iterable[Expectation], top: Span, report: Report
) -> None:
    """Report a test of an outcome that does not say for which seed it holds."""
    outcome = next((e for e in expectations if e.about == "outcome"), None)
    if outcome is not None and any("seed" not in experiment.origins for experiment in experiments):
        start = Span(top.source, top.start, top.start)
        fix = Fix("say that it is seed 0", (Edit(start, "seed = 0\n"),), safe=True)
        message = "this is expected of the outcome, and the spec does not say of which seed"
        _report(
            [_advice("NN708", message, outcome.span, "write `seed = 0`, which is what it is without", (), fix)], report
        )


def _report(found: Iterable[Diagnostic], report: Report) -> None:
    for diagnostic in found:
        report.add(diagnostic)


def _advice(
    code: str, message: str, span: Span, help: str = "", notes: tuple[Note, ...] = (), fix: Fix | None = None
) -> Diagnostic:
    return Diagnostic(code, message, span, help=help, notes=notes, severity="warning", fix=fix)


def _chains(nodes: tuple[LayerNode, ...]) -> Iterator[tuple[LayerNode, ...]]:
    """Go through a model's own chain and those of all branches in it."""
    waiting = [nodes]
    while waiting:
        chain = waiting.pop()
        yield chain
        waiting += [branch.layers for node in chain for branch in node.branches]


def _layer(node: LayerNode) -> type[Layer]:
    assert issubclass(node.value.part, Layer)
    return node.value.part


# Rules of a chain of layers


def _linear_twice(nodes: tuple[LayerNode, ...]) -> Iterator[Diagnostic]:
    for one, other in pairwise(nodes):
        if _layer(one).family == _layer(other).family == "linear" and one.span != other.span:
            yield _advice(
                "NN703",
                f"`{one.value.name}` and `{other.value.name}` with nothing between are one linear map",
                other.span,
                "put an activation between them, such as `ReLU`",
                (Note(one.span, "the first"),),
            )


def _start_for_relu(nodes: tuple[LayerNode, ...]) -> Iterator[Diagnostic]:
    for one, other in pairwise(nodes):
        part = _layer(other)
        init = one.value.values().get("init")
        if isinstance(init, Initializer) and init.for_relu and issubclass(part, Activation) and part.suits:
            given = one.value.arguments.get("init")
            follows = f"made for ReLU, and `{part.spec_name}` follows"
            fix = None
            if given is not None and given.origin.span.text == init.spec_name:
                fix = Fix(
                    f"replace `{init.spec_name}` with `{part.suits[0]}`", (Edit(given.origin.span, part.suits[0]),)
                )
            yield _advice(
                "NN704",
                f"`{init.spec_name}` is {follows}" if given else f"weights start `{init.spec_name}`, {follows}",
                given.origin.span if given else one.span,
                f"write `init={part.suits[0]}`",
                (Note(other.span, "the activation"),),
                fix,
            )


def _bias_before_mean(nodes: tuple[LayerNode, ...]) -> Iterator[Diagnostic]:
    for one, other in pairwise(nodes):
        linear = _layer(one).family == "linear"
        if _layer(other).subtracts_mean and linear and one.value.values().get("bias") is True:
            yield _advice(
                "NN713",
                f"the bias of `{one.value.name}` has no effect: `{other.value.name}` takes it off with the mean",
                one.span,
                f"write `bias=false`: `{other.value.name}` has a shift of its own",
                (Note(other.span, "the normalisation"),),
                _written(one, "bias=false", "leave the bias out"),
            )


def _written(node: LayerNode, argument: str, title: str) -> Fix | None:
    """Return the fix that gives a layer an argument, where its text shows how."""
    word, _, value = argument.partition("=")
    given, text = node.value.arguments.get(word), node.span.text
    if given is not None:
        bare = re.fullmatch(r"\w+", given.origin.span.text) is not None and given.origin.span.source is node.span.source
        return Fix(title, (Edit(given.origin.span, value),)) if bare else None
    if not text.endswith(")") or not text.startswith(f"{node.value.name}("):
        return None
    end = node.span.end - 1
    return Fix(title, (Edit(Span(node.span.source, end, end), f", {argument}"),))


_OF_CHAINS: tuple[Callable[[tuple[LayerNode, ...]], Iterator[Diagnostic]], ...] = (
    _linear_twice,
    _start_for_relu,
    _bias_before_mean,
)


# Rules of an experiment


def _more_outputs(experiment: Experiment) -> Iterator[Diagnostic]:
    last, classes = experiment.layers[-1], experiment.classes
    outputs = last.geometry.out[-1]
    if classes is not None and outputs > classes:
        maker = next(node for node in reversed(experiment.layers) if node.geometry.parameters)
        message = f"{outputs} outputs for {classes} classes: the others can never be right"
        yield _advice("NN701", message, maker.span)


def _squashed_logits(experiment: Experiment) -> Iterator[Diagnostic]:
    loss, last = experiment.loss.part, experiment.layers[-1]
    assert issubclass(loss, Loss)
    if loss.takes_logits and _layer(last).family == "activation":
        name, bends = experiment.loss.name, last.value.name
        message = f"`{name}` takes logits, and `{bends}` bends them"
        if _layer(last).squashes_with == loss.squashes_with:
            message = f"`{name}` applies a {loss.squashes_with} to what it gets, and `{bends}` has done so already"
            if _layer(last).gives_logs:
                message = f"`{name}` takes the logarithm of a softmax itself: `{bends}` before it changes nothing"
        yield _advice(
            "NN702",
            message,
            last.span,
            f"leave the last `{last.value.name}` out: the loss has its own {loss.squashes_with}",
            (Note(experiment.loss.origin.span, "the loss"),),
        )


def _no_logs(experiment: Experiment) -> Iterator[Diagnostic]:
    loss, last = experiment.loss.part, experiment.layers[-1]
    assert issubclass(loss, Loss)
    if loss.takes_logs and not (_layer(last).gives_logs or last.branches):
        yield _advice(
            "NN712",
            f"`{experiment.loss.name}` takes log-probabilities, and `{last.value.name}` gives others",
            last.span,
            "put `LogSoftmax` behind it" + (", or use `CrossEntropy`" if loss.targets == "classes" else ""),
            (Note(experiment.loss.origin.span, "the loss"),),
        )


def _dropout_last(experiment: Experiment) -> Iterator[Diagnostic]:
    last = experiment.layers[-1]
    if _layer(last).family == "noise":
        message = f"`{last.value.name}` behind the last layer drops outputs themselves"
        yield _advice("NN705", message, last.span, "put it before the last layer")


def _unusual_rate(experiment: Experiment) -> Iterator[Diagnostic]:
    optimizer = experiment.optimizer
    rate, bound = optimizer.values().get("lr"), optimizer.arguments.get("lr")
    assert issubclass(optimizer.part, Optimizer)
    rate = rate.largest if isinstance(rate, Schedule) else rate
    low, high = optimizer.part.usual_rates
    if bound is not None and isinstance(rate, (int, float)) and not low / _CLOSE <= rate <= high * _CLOSE:
        what = "large" if rate > high else "small"
        message = f"lr={_figure(rate)} is unusually {what} for {optimizer.name}"
        yield _advice("NN706", message, bound.origin.span, f"rates from {_figure(low)} to {_figure(high)} are usual")


def _idle_names(experiments: Sequence[Experiment]) -> Iterator[Diagnostic]:
    """What is said of layers by name and changes nothing in any lane that says it."""
    idle, used = Idle(), set[tuple[Span, str]]()
    idlers: dict[tuple[Span, str], str] = {}
    for experiment in experiments:
        reasons = idle(experiment)
        named = [(name, name) for name in experiment.by_name]
        named += [(f"train.freeze.{name}", "train.freeze") for name in experiment.train.freeze or ()]
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
        yield _advice("NN718", f"{what} has no effect: {reason}", span, "remove it")


def _figure(number: float) -> str:
    """Write a number as a spec does: `1e-6`."""
    return f"{number:g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def _large_batch(experiment: Experiment) -> Iterator[Diagnostic]:
    samples = min(choice.facts.train - choice.facts.validation for choice in experiment.data)
    origin = experiment.origins.get("train.batch")
    if origin is not None and experiment.train.batch > samples:
        message = f"a batch of {experiment.train.batch:,} is more than the {samples:,} training samples"
        yield _advice("NN707", message, origin.span, "every epoch is one step with all of them")


def _batch_of_one(experiment: Experiment) -> Iterator[Diagnostic]:
    """Batches of one sample, where a layer needs the variance of each feature over the batch."""
    train = experiment.train
    sizes = [(choice.facts.train, choice.facts.validation) for choice in experiment.data]
    trained = sorted({count for each in sizes for count in (each[0] - train.held_out(*each), train.trained_on(*each))})
    always = any(min(train.batch, count) == 1 for count in trained)
    ragged = [count for count in trained if count % train.batch == 1 and not train.drop_last]
    if not always and not ragged:
        return
    for node in (node for chain in _chains(experiment.layers) for node in chain):
        numbers = max(map(prod, node.geometry.state.values()), default=0)
        if not _layer(node).subtracts_mean or numbers != prod(node.incoming):
            continue  # with several places, a feature has several numbers in every sample
        origin = experiment.origins.get("train.batch")
        span = origin.span if origin is not None else node.span
        name = node.value.name
        notes = (Note(node.span, "the normalisation"),) if origin is not None else ()
        if always:
            message = f"a batch of one sample has no variance for `{name}` to divide by"
            yield _advice("NN714", message, span, f"use a larger batch, or `LayerNorm` instead of `{name}`", notes)
        else:
            left = f"{ragged[0]:,} training samples in batches of {train.batch:,} leave a last batch of one"
            message = f"{left}, of which `{name}` has no variance"
            yield _advice("NN715", message, span, "write `drop_last = true`, or choose another batch size", notes)


def _goes_by_test(experiment: Experiment) -> Iterator[Diagnostic]:
    stop, origin = experiment.train.early_stop, experiment.origins.get("train.early_stop")
    rate = experiment.optimizer.arguments.get("lr")
    followed = []
    if stop is not None and origin is not None:
        followed.append((stop.of, origin, "stopping"))
    if rate is not None and isinstance(rate.value, Schedule) and rate.value.of is not None:
        followed.append((rate.value.of, rate.origin, "lowering the rate"))
    for figure, where, what in followed:
        if figure.startswith("test_"):
            instead = f"val_{figure.removeprefix('test_')}"
            message = f"{what} by `{figure}` fits the run to the test data, whose figures then say too much"
            help = f"hold samples out, and {'stop' if what == 'stopping' else 'go'} by `{instead}`"
            yield _advice("NN709", message, where.span, help)


def _shuffled_order(experiment: Experiment) -> Iterator[Diagnostic]:
    rule, origin = experiment.train.validation, experiment.origins.get("train.validation")
    if isinstance(rule, Last) and origin is not None and any(choice.facts.shuffled for choice in experiment.data):
        name = next(choice.value.name for choice in experiment.data if choice.facts.shuffled)
        message = f"`last` holds out the last samples, but `{name}` shuffles them first"
        help = (
            f"keep their order with `shuffle = false` in `{name}`, or draw "
            f"a random share: `validation = {rule.share:g}`"
        )
        yield _advice("NN733", message, origin.span, help)


def _looks_ahead(experiment: Experiment) -> Iterator[Diagnostic]:
    if not experiment.facts.predicts_next:
        return
    for node in (node for layer in experiment.layers for node in layer.walk()):
        if node.branches or len(node.incoming) != 2 or not _layer(node).looks_ahead(node.incoming, node.arguments()):
            continue
        argument = _layer(node).looks_ahead_unless
        instead = "put `LayerNorm` in its place" if _layer(node).family == "norm" else "remove it"
        yield _advice(
            "NN721",
            f"`{node.value.name}` lets each position see later characters, including its target",
            node.span,
            f"write `{argument}`" if argument else instead,
            (Note(experiment.data[0].value.origin.span, "the target of each position is the next character"),),
            _written(node, argument, f"add `{argument}`") if argument else None,
        )


def _odd_data(experiment: Experiment) -> Iterator[Diagnostic]:
    for choice in experiment.data:
        for remark in choice.facts.remarks:
            bound = choice.value.arguments.get(remark.argument)
            span = bound.origin.span if bound else choice.value.origin.span
            yield _advice(remark.code, remark.message, span, remark.help)


def _never_acts(experiment: Experiment) -> Iterator[Diagnostic]:
    """Compare the epochs that a schedule and a stopping rule wait for with the end of training."""
    epochs, rate = experiment.train.epochs, experiment.optimizer.arguments.get("lr")
    trained = f"training ends after {_epochs(epochs)}"
    if rate is not None and isinstance(rate.value, Schedule) and (waits := _beyond(rate.value, epochs)):
        what, needed = waits
        yield _advice("NN716", f"{what}, and {trained}", rate.origin.span, _longer(needed), _length(experiment))
    stop, origin = experiment.train.early_stop, experiment.origins.get("train.early_stop")
    if isinstance(stop, Patience) and origin is not None and not stop.restore_best and 1 + stop.epochs >= epochs:
        message = f"`{stop.spec_name}` stops after {_epochs(1 + stop.epochs)} at the earliest, and {trained}"
        yield _advice("NN717", message, origin.span, _longer(1 + stop.epochs), _length(experiment))


def _beyond(schedule: Schedule, epochs: int) -> tuple[str, float] | None:
    """Name what a schedule waits for and training ends before, and the epochs that must be exceeded."""
    if schedule.warmup > epochs or (schedule.warmup == epochs and not isinstance(schedule, ConstantSchedule)):
        return f"the warm-up of `{schedule.spec_name}` takes {_epochs(schedule.warmup)}", schedule.warmup
    milestone = schedule.milestone()
    if milestone is not None and schedule.warmup + milestone[1] >= epochs:
        after = schedule.warmup + milestone[1]
        return f"{milestone[0]} of `{schedule.spec_name}` comes after {_epochs(after)}", after
    return None


def _longer(needed: float) -> str:
    more = math.floor(needed) + 1
    return f"train for at least {more} epochs, or choose a shorter one"


def _epochs(count: float) -> str:
    return f"{_figure(count)} epoch{'' if count == 1 else 's'}"


def _length(experiment: Experiment) -> tuple[Note, ...]:
    origin = experiment.origins.get("train.epochs")
    return (Note(origin.span, "the length of training"),) if origin is not None else ()


_OF_EXPERIMENTS: tuple[Callable[[Experiment], Iterator[Diagnostic]], ...] = (
    _more_outputs,
    _squashed_logits,
    _no_logs,
    _dropout_last,
    _unusual_rate,
    _large_batch,
    _batch_of_one,
    _goes_by_test,
    _never_acts,
    _shuffled_order,
    _looks_ahead,
    _odd_data,
)
