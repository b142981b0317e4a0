"""Rules for preprocessing, augmentation and held-out samples."""

from __future__ import annotations

from collections.abc import Iterator

from nnspec.checker.draft import Draft
from nnspec.checker.program import Choice, Experiment, TrainSettings
from nnspec.checker.recovery import Recovery
from nnspec.checker.rules.registry import advice, rule
from nnspec.checker.vocabulary import meant
from nnspec.data.scopes import ScopeFault, row_of_samples, row_of_targets, scopes
from nnspec.diagnostics import Diagnostic, Edit, Fix, Note, Span
from nnspec.engine.augmentations import Mixing
from nnspec.engine.layers.contract import ShapeError
from nnspec.engine.losses import Loss
from nnspec.engine.part import Range
from nnspec.engine.validation import Given, Last, Validation
from nnspec.errors import some_of
from nnspec.text import quoted

MOST_AUGMENTATIONS = 16

Data = tuple[Choice, ...]


@rule("NN302")
def arithmetic_on_ids(draft: Draft, train: TrainSettings, data: Data) -> Iterator[Diagnostic]:
    """Numeric preprocessing of samples that are ids."""
    words = {"augment": train.augmentations, "standardise": train.scalers, "target": train.target == "input"}
    inputs = row_of_samples(data[0].facts).fields
    ids = [field for field in inputs if field.tokens]
    for word, used in words.items() if ids else ():
        span = _span(draft, word)
        if used and span is not None and not (word == "standardise" and len(ids) < len(inputs)):
            what = "`target = input`" if word == "target" else f"`{word}`"
            which = f"input `{ids[0].name}` contains ids" if ids[0].name else "the samples are ids"
            yield Diagnostic("NN302", f"{what} needs numbers, but {which}", span, help=f"remove `{word}`")


@rule("NN302", "NN401")
def augmentations(draft: Draft, train: TrainSettings, data: Data) -> Iterator[Diagnostic]:
    """Augmentations that do not apply to the samples."""
    span, facts = _span(draft, "augment"), data[0].facts
    if span is None or facts.tokens:
        return
    if len(train.augmentations) > MOST_AUGMENTATIONS:
        message = f"at most {MOST_AUGMENTATIONS} augmentations are allowed, got {len(train.augmentations):,}"
        yield Diagnostic("NN302", message, span)
        return
    yield from _mixing(train, data, span)
    for augmentation in train.augmentations:
        try:
            augmentation.fit(facts.shape, facts.is_image)
        except ShapeError as error:
            yield Diagnostic("NN401", str(error), span, help=error.help)


def _mixing(train: TrainSettings, data: Data, span: Span) -> Iterator[Diagnostic]:
    """Augmentations that mix targets, with targets or weights that cannot be mixed."""
    mixing = [augmentation for augmentation in train.augmentations if isinstance(augmentation, Mixing)]
    if not mixing:
        return
    what, message, help = f"`{mixing[0].spec_name}`", "", ""
    if len(mixing) > 1:
        message, help = f"{what} and `{mixing[1].spec_name}` would both mix a batch", "use one of them"
    elif train.target == "input":
        message = f"{what} mixes targets, but with `target = input` there are none"
    elif data[0].facts.targets:
        message = f"{what} mixes targets, but only of a model with a single output"
    elif data[0].facts.weight is not None:
        message = f"{what} mixes samples, but they have weights" if data[0].facts.weighted else ""
        message = message or f"{what} mixes samples, but some of their positions are ignored"
    if message:
        yield Diagnostic("NN302", message, span, help=help or f"remove {what}")


@rule("NN302")
def sample_without_text(draft: Draft, train: TrainSettings, data: Data) -> Iterator[Diagnostic]:
    """`sample` for data that is not text."""
    span = _span(draft, "sample")
    if train.sample and span is not None and not data[0].facts.predicts_next:
        message = "`sample` generates text, but the network is not trained on text"
        yield Diagnostic("NN302", message, span, help="remove it, or use `Text` data")


@rule("NN302")
def targets_to_standardise(draft: Draft, train: TrainSettings, data: Data) -> Iterator[Diagnostic]:
    """`standardise_target` if the targets are classes or samples, or the loss requires a range."""
    span, loss, reason = _span(draft, "standardise_target"), draft.loss, ""
    if not train.target_scalers or span is None:
        return
    if train.target == "input":
        reason = "with `target = input` the targets are the samples; use `standardise` to scale them"
    elif data[0].facts.classes is not None:
        reason = "`standardise_target` scales numbers, but the targets are classes"
    elif any(field.classes for field in data[0].facts.targets):
        reason = "`standardise_target` scales all numbers of a target, but some of its outputs are classes"
    elif loss is not None and issubclass(loss.part, Loss) and loss.part.target_range != Range():
        reason = f"`{loss.name}` needs targets {loss.part.target_range}, but standardised targets have no bounds"
    if reason:
        yield Diagnostic("NN302", reason, span, help="remove `standardise_target`")


@rule("NN201", "NN302")
def scaled_columns(draft: Draft, train: TrainSettings, data: Data) -> Iterator[Diagnostic]:
    """Rules for scaling that do not apply to the data."""
    of_numbers = train.target == "labels" and data[0].facts.classes is None
    settings = {
        "standardise": (train.scalers, row_of_samples, not data[0].facts.tokens),
        "standardise_target": (train.target_scalers, row_of_targets, of_numbers),
    }
    for word, (rules, row_of, applies) in settings.items():
        span = _span(draft, word)
        if span is None or not applies:
            continue
        try:
            for choice in data:
                scopes(rules, row_of(choice.facts))
        except ScopeFault as fault:
            at = span.text.find(f'"{fault.word}"') if fault.word else -1
            place = Span(span.source, span.start + at, span.start + at + len(fault.word) + 2) if at >= 0 else span
            near = meant(fault.word, fault.known) if fault.known else None
            if near is None:
                known = f"the columns are {some_of(fault.known)}" if fault.known else fault.help
                yield Diagnostic("NN201" if fault.known else "NN302", str(fault), place, help=known)
            else:
                fix = Fix(f"write `{quoted(near)}`", (Edit(place, quoted(near)),)) if at >= 0 else None
                yield Diagnostic("NN201", str(fault), place, help=f"did you mean `{near}`?", fix=fix)


@rule("NN302")
def random_windows(draft: Draft, train: TrainSettings, data: Data) -> Iterator[Diagnostic]:
    """Random validation samples among windows that share rows."""
    span, held_out = _span(draft, "validation"), train.validation
    drawn = bool(held_out) and not isinstance(held_out, (Last, Given))
    shared = next((choice for choice in data if choice.facts.overlap), None)
    if span is None or not drawn or shared is None:
        return
    message = "random validation samples would share rows with training samples, since windows overlap"
    share = held_out if isinstance(held_out, float) else 0.2
    note = Note(shared.value.origin.span, "the windows")
    fix = Fix(f"write `last({share:g})`", (Edit(span, f"last({share:g})"),))
    help = f"hold out the last ones: `validation = last({share:g})`"
    yield Diagnostic("NN302", message, span, help=help, fix=fix, notes=(note,))


@rule("NN302")
def balance(draft: Draft, train: TrainSettings, data: Data) -> Iterator[Diagnostic]:
    """`balance` without classes, or in an order that it would change."""
    span, facts = _span(draft, "balance"), data[0].facts
    if not train.balance or span is None:
        return
    if facts.classes is None or facts.target:
        yield Diagnostic("NN302", "`balance` needs a class for each sample, but the data has none", span)
    for word, given in (("carry_state", train.carry_state), ("shuffle = false", not train.shuffle)):
        if given:
            message = f"`balance` draws samples at random, which `{word}` does not allow"
            yield Diagnostic("NN302", message, span, help=f"remove `{word}`, or `balance`")
            return


@rule("NN302")
def stratify(draft: Draft, train: TrainSettings, data: Data, recovery: Recovery) -> Iterator[Diagnostic]:
    """`stratify` without classes or without random validation samples."""
    span, facts, held_out = _span(draft, "stratify"), data[0].facts, train.validation
    if not train.stratify or span is None:
        return
    if facts.classes is None or facts.target:
        yield Diagnostic("NN302", "`stratify` needs classes, but the data has none", span)
    elif not held_out and not recovery.doubts("train", "validation"):
        message, help = "`stratify` has no effect without validation samples", "for example, `validation = 0.1`"
        yield Diagnostic("NN302", message, span, help=help)
    elif isinstance(held_out, Validation) and not held_out.draws:
        message = f"`stratify` only applies to random validation samples, but `validation = {held_out!r}` is not random"
        yield Diagnostic("NN302", message, span, help="remove `stratify`")


def _span(draft: Draft, word: str) -> Span | None:
    """Return the span of a setting of `train`; None if it has its default."""
    given = draft.settings.values.get(f"train.{word}")
    return given.value.span if given is not None else None


@rule("NN733")
def shuffled_order(experiment: Experiment) -> Iterator[Diagnostic]:
    """`validation = last(…)` for data that is shuffled first."""
    held_out, origin = experiment.train.validation, experiment.origins.get("train.validation")
    if isinstance(held_out, Last) and origin is not None and any(choice.facts.shuffled for choice in experiment.data):
        name = next(choice.value.name for choice in experiment.data if choice.facts.shuffled)
        message = f"`last` holds out the last samples, but `{name}` shuffles them first"
        help = (
            f"keep their order with `shuffle = false` in `{name}`, or hold out random samples: `validation = "
            f"{held_out.share:g}`"
        )
        yield advice("NN733", message, origin.span, help)


@rule("NN720", "NN725", "NN726", "NN727", "NN735", "NN736", "NN737", "NN738")
def odd_data(experiment: Experiment) -> Iterator[Diagnostic]:
    """Suspicious files of a data source, as reported by the source."""
    for choice in experiment.data:
        for remark in choice.facts.remarks:
            bound = choice.value.arguments.get(remark.argument)
            span = bound.origin.span if bound else choice.value.origin.span
            yield advice(remark.code, remark.message, span, remark.help)
