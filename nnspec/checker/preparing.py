"""What is done to samples before the network sees them, held against what samples are."""

from __future__ import annotations

from nnspec.checker.program import PartValue, TrainSettings
from nnspec.checker.report import Report
from nnspec.checker.settle import LaneSettings
from nnspec.data.source import Facts
from nnspec.diagnostics import Span
from nnspec.engine.layers.contract import ShapeError
from nnspec.engine.losses import Loss
from nnspec.engine.part import Range
from nnspec.engine.validation import Validation

__all__ = ["prepared"]

MOST_AUGMENTATIONS = 16


def prepared(train: TrainSettings, settings: LaneSettings, facts: Facts, loss: object, report: Report) -> None:
    """Report what cannot be done to the samples of some data."""
    words = ("augment", "stratify", "standardise", "standardise_target", "target", "sample")
    given = {word: settings.values.get(f"train.{word}") for word in words}
    spans = {word: entry.value.span for word, entry in given.items() if entry is not None}
    if facts.tokens:
        _of_ids(train, spans, report)
    elif "augment" in spans:
        _augmentations(train, facts, spans["augment"], report)
    if train.sample and "sample" in spans and not facts.tokens:
        message = "`sample` asks for text that the network writes, and it learns none"
        report.error("NN302", message, spans["sample"], help="leave it out, or learn from a `Text`")
    if train.standardise_target and "standardise_target" in spans:
        _targets(train, facts, loss, spans["standardise_target"], report)
    if train.stratify and "stratify" in spans:
        _stratified(train, facts, spans["stratify"], report)


def _of_ids(train: TrainSettings, spans: dict[str, Span], report: Report) -> None:
    """Refuse to reckon with the ids of a text."""
    done = {"augment": train.augmentations, "standardise": train.standardise, "target": train.target == "input"}
    for word, asked_for in done.items():
        if asked_for and word in spans:
            what = "`target = input` compares" if word == "target" else f"`{word}` changes"
            message = f"{what} numbers, but the samples are ids of characters"
            report.error("NN302", message, spans[word], help=f"leave `{word}` out")


def _targets(train: TrainSettings, facts: Facts, loss: object, span: Span, report: Report) -> None:
    """Refuse to scale targets that are classes, samples, or bound to a range."""
    why = ""
    if train.target == "input":
        why = "with `target = input` the targets are the samples, which `standardise` scales"
    elif facts.classes is not None:
        why = "`standardise_target` scales numbers, but the targets are classes"
    elif isinstance(loss, PartValue) and issubclass(loss.part, Loss) and loss.part.target_range != Range():
        why = f"`{loss.name}` needs targets {loss.part.target_range}, but standardised targets are not"
    if why:
        report.error("NN302", why, span, help="leave `standardise_target` out")


def _augmentations(train: TrainSettings, facts: Facts, span: Span, report: Report) -> None:
    if len(train.augmentations) > MOST_AUGMENTATIONS:
        message = f"at most {MOST_AUGMENTATIONS} augmentations, and these are {len(train.augmentations):,}"
        report.error("NN302", message, span)
        return
    for augmentation in train.augmentations:
        try:
            augmentation.fit(facts.shape, facts.is_image)
        except ShapeError as error:
            report.error("NN401", str(error), span, help=error.help)


def _stratified(train: TrainSettings, facts: Facts, span: Span, report: Report) -> None:
    if facts.classes is None or facts.target:
        report.error("NN302", "`stratify` goes by the class of a sample, and the data has none", span)
    elif not train.validation and not report.doubts("train", "validation"):
        message, help = "`stratify` is about samples held out, and there are none", "for example, `validation = 0.1`"
        report.error("NN302", message, span, help=help)
    elif isinstance(train.validation, Validation) and not train.validation.draws:
        message = f"`stratify` applies to samples drawn at random, but `validation = {train.validation!r}` draws none"
        report.error("NN302", message, span, help="leave `stratify` out")
