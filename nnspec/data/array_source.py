"""Data sources made of arrays: samples and targets, split or to be split, in files or in memory.

`check` reads headers and targets; it reads samples only for `missing = drop`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from nnspec.data.array_file import Header, Levels, MemoryArray, arrange
from nnspec.data.axes import Arrangement, Axes
from nnspec.data.files import digest_of
from nnspec.data.labels import MOST_LABELS, Labels
from nnspec.data.named_targets import NamedTargets
from nnspec.data.npy import NumpyArray
from nnspec.data.several import SeveralArrays, each_of
from nnspec.data.source import Access, Dataset, DataSource, Facts, Field, FileFault, Remark, Split
from nnspec.data.splitting import Seed, Share, divided, shares
from nnspec.engine._numpy import np
from nnspec.engine.part import Also, Positive, Range

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ArraySource", "Pair", "Parts", "stored_as"]


MOST_IDS = 1 << 24
"""The most ids that are all distinct in float32."""

Ids = Annotated[
    int | None,
    Range(low=1, high=MOST_IDS),
    Also("vocabulary", "vocab_size", "num_embeddings", "num_words", "tokens", "input_dim"),
]
"""How many ids there are, as given in a spec; None for samples that are quantities."""


Padding = Annotated[int | None, Range(low=0), Also("padding_idx", "pad_id", "pad_token_id", "pad", "mask_zero")]
"""The id that fills the positions after the end of a sample, as given in a spec."""


class Pair(NamedTuple):
    """Samples and their targets, and the weights of the samples if they have any."""

    x: NumpyArray | MemoryArray | SeveralArrays
    y: NumpyArray | MemoryArray
    w: NumpyArray | MemoryArray | None = None

    def rows(self, keep: NDArray[Any] | None) -> int:
        """Number of rows that are kept."""
        return self.x.header().rows if keep is None else int(keep.sum())


class Parts(NamedTuple):
    """The arrays for training, validation and testing."""

    train: Pair
    validation: Pair | None
    test: Pair | None
    """None if the training samples are split."""

    @property
    def pairs(self) -> list[Pair]:
        """All existing pairs, those for training first."""
        return [pair for pair in self if pair is not None]


class _Survey(NamedTuple):
    """The facts that are known before samples are read."""

    parts: Parts
    facts: Facts
    labels: Labels | None
    kept: list[NDArray[Any] | None]
    """For each pair, which rows are kept; None for all of them."""
    notes: tuple[str, ...]


class ArraySource(DataSource):
    """Base of NPZ, NPY and Given: samples and targets, already split or to be split.

    Targets that are whole numbers, booleans or text are classes, their distinct values sorted; all others are a
    regression. Samples are given to the network as they are stored, divided by `divisor`.
    """

    _: KW_ONLY
    test: Share = 0.2
    shuffle: bool = True
    stratify: Annotated[bool, Also("stratified")] = False
    seed: Seed = 0
    divisor: Annotated[Positive | None, Also("scale")] = None
    missing: Annotated[Literal["error", "drop"], Also("na", "nan")] = "error"
    ignore: Annotated[int | None, Also("ignore_index", "ignore_class", "ignore_label")] = None
    axes: Axes = None
    ids: Ids = None
    padding: Padding = None

    def parts(self) -> tuple[Parts, list[Remark]]:
        """Find samples and targets, with remarks on what looks suspicious."""
        raise NotImplementedError

    def facts(self) -> Facts:
        """Return the facts from headers and targets. Raises FileFault if arrays do not match each other."""
        return self._survey().facts

    def load(self, access: Access) -> Dataset:
        """Read the arrays. `access` is not used, since paths lead to the files.

        Raises DataError for whatever `facts` rejects, for NaN, infinity and integers too large for a float, and if a
        file changes in the meantime.
        """
        parts, facts, labels, kept, notes = self._survey()
        if facts.tokens:
            self._refuse_other_ids(parts.pairs, kept, facts.tokens)
        splits: dict[Pair, Split] = {}
        for pair, keep in zip(parts.pairs, kept, strict=True):
            count = pair.rows(keep)
            places = None if keep is None else np.where(keep, np.cumsum(keep) - 1, -1)
            y = pair.y.read(places, count, None if labels else "float64", labels=bool(labels), can_drop=True)
            y = y.reshape(count, *facts.target)
            y = self._classes(labels, y) if labels else y
            if pair is parts.train and parts.test is None and facts.test and (self.shuffle or self.stratify):
                seed = self.seed if self.shuffle else None
                order = np.concatenate(divided(count, facts.test, seed, y.reshape(-1) if self.stratify else None))
                where = np.empty(count, np.intp)
                where[order] = np.arange(count)
                places = where if places is None else np.where(places < 0, -1, where[places])
                y = y[order]
            x = pair.x.read(places, count, facts.stored, facts.arrangement, can_drop=True)
            w = None if pair.w is None else pair.w.read(places, count, "float64", can_drop=True).reshape(count)
            x = x.reshape(count, -1)
            if facts.ignores and facts.padding is not None and facts.target == facts.shape:
                y = np.where(x == facts.padding, -1, y.astype(np.int64))
            splits[pair] = Split(x, y, w)
        train = splits[parts.train]
        if parts.test is not None:
            test = splits[parts.test]
        else:
            border = facts.train - facts.validation
            train, test = train.rows(slice(border)), train.rows(slice(border, None))
        if parts.validation is not None:
            train = train.followed_by(splits[parts.validation])
        if [len(train.x), len(test.x), train.x.shape[1]] != [facts.train, facts.test, facts.features]:
            raise parts.train.x.changed()
        truths = parts.train.x.header().kind == "b"
        return Dataset(
            source=self.spec_name,
            facts=facts,
            train=train,
            test=test,
            divisor=self.divisor or (255.0 if facts.stored == "uint8" and not truths and not facts.tokens else 1.0),
            sha256=digest_of((*train.arrays, *test.arrays)),
            origin=parts.train.x.origin,
            class_names=labels.names if labels else (),
            notes=notes,
        )

    def _survey(self) -> _Survey:
        parts, remarks = self.parts()
        pairs, split = parts.pairs, parts.test is None
        heads = [_heads(pair) for pair in pairs]
        for head, pair in zip(heads[1:], pairs[1:], strict=True):
            for here, there, place, other in zip(head, heads[0], pair[:2], pairs[0][:2], strict=True):
                if here.shape[1:] != there.shape[1:] or _role(here) != _role(there):
                    message = f"`{place.key}` is {_in_words(here)} a sample, and `{other.key}` {_in_words(there)}"
                    raise FileFault(message, argument=place.argument)
        samples, targets = heads[0]
        inputs = self._inputs(pairs)
        if 0 in targets.shape[1:]:
            raise FileFault(
                f"`{pairs[0].y.key}` holds no numbers: it is {'×'.join(map(str, targets.shape))}",
                argument=pairs[0].y.argument,
            )
        kept, notes = self._kept(pairs, targets)
        counts = [pair.rows(keep) for pair, keep in zip(pairs, kept, strict=True)]
        for count, pair in zip(counts, pairs, strict=True):
            if count < (2 if split and self.test and pair is parts.train else 1):
                have = "there is only one sample" if count else "no sample is left"
                raise FileFault(f"{have} in `{pair.x.key}`: too few to train on", argument=pair.x.argument)
        train, test = shares(counts[0], self.test) if split else (counts[0], counts[-1])
        validation = counts[1] if parts.validation is not None else 0
        if self.padding is not None and (self.ids is None or self.padding >= self.ids):
            what = (
                "names an id, but samples are not ids"
                if self.ids is None
                else f"must be an id, from 0 to {self.ids - 1:,}"
            )
            help = "say how many ids there are, for example `ids=1000`" if self.ids is None else ""
            raise FileFault(f"`padding` {what}", argument="padding", help=help)
        if self.ids is None:
            arrangement, odd = arrange(samples, self.axes, f"`{pairs[0].x.key}`", pairs[0].x.argument)
            remarks = [*remarks, *odd]
        else:
            arrangement = self._arrange_ids(samples, f"`{pairs[0].x.key}`")
            if sum(pair.x.header().nbytes for pair in pairs) <= MOST_LABELS:
                self._refuse_other_ids(pairs, kept, self.ids)
        numbers = _levels(pairs, targets, kept, self._labels_inside(targets, arrangement))
        labels = None if numbers else self._labels(pairs, kept)
        levels: tuple[int, ...] = ()
        if numbers is not None:
            if self.ignore is not None:
                raise FileFault("`ignore` is for labels, and these targets are numbers", argument="ignore")
            one_of = range(targets.shape[1]) if numbers.one_hot else numbers.values or ()
            named = isinstance(pairs[0].y, NamedTargets)
            levels = tuple(sorted(one_of)) if len(one_of) > 1 and not named else ()
        if self.stratify:
            self._check_stratified(parts, targets, bool(labels or levels))
        at_places = labels is not None and not _of_samples(targets)
        padded = self.padding is not None and targets.shape[1:] == arrangement.shape
        ignores = at_places and (self.ignore is not None or padded)
        if ignores and any(pair.w is not None for pair in pairs):
            message = "samples have weights, and some positions have no target: only one of the two is possible"
            raise FileFault(message, argument="ignore" if self.ignore is not None else "padding")
        if labels is not None:
            cure = (
                "if it marks samples without a label, `ignore = {}` drops them"
                if _of_samples(targets)
                else "if it marks positions without a label, `ignore = {}` excludes them from loss and metrics"
            )
            remarks = [*remarks, *labels.remarks(f"`{pairs[0].y.key}`", pairs[0].y.argument, ignore=cure)]
        facts = Facts(
            arrangement.shape,
            len(labels.values) if labels else None,
            train + validation,
            test,
            validation=validation,
            shuffled=split and test > 0 and self.shuffle,
            ordered=not (split and test > 0 and (self.shuffle or self.stratify)),
            stored=stored_as(samples, self.ids),
            tokens=self.ids or 0,
            padding=self.padding,
            ignores=ignores,
            target=() if labels and _of_samples(targets) else targets.shape[1:],
            levels=levels,
            one_hot=numbers is not None and numbers.one_hot,
            axes=arrangement.axes,
            stored_axes=arrangement.stored,
            remarks=tuple(remarks),
            weighted=any(pair.w is not None for pair in pairs),
            inputs=inputs,
            targets=pairs[0].y.fields if isinstance(pairs[0].y, NamedTargets) else (),
        )
        return _Survey(parts, facts, labels, kept, notes)

    def _inputs(self, pairs: Sequence[Pair]) -> tuple[Field, ...]:
        """Return the inputs of samples that have several. Raises FileFault if pairs differ in them."""
        fields = [pair.x.fields(self.ids, self.padding) if isinstance(pair.x, SeveralArrays) else () for pair in pairs]
        if fields[0] and self.axes is not None:
            message = "`axes` arranges the axes of one input, and these samples have several"
            raise FileFault(message, argument="axes", help="save the arrays with the channels first")
        for pair, own in zip(pairs, fields, strict=True):
            for here, there in zip(own, fields[0], strict=False):
                if here.shape != there.shape:
                    message = (
                        f"`{here.name}` is {_shape(here)} a sample in `{pair.x.key}`, but {_shape(there)} elsewhere"
                    )
                    raise FileFault(message, argument=pair.x.argument)
            if [field.name for field in own] != [field.name for field in fields[0]]:
                raise FileFault(f"`{pair.x.key}` are other inputs than `{pairs[0].x.key}`", argument=pair.x.argument)
        return fields[0]

    def _labels_inside(self, targets: Header, samples: Arrangement) -> bool:
        """Whether whole numbers in a target are labels: one for each position of a sequence or each pixel of an
        image.
        """
        places = {"places": samples.shape[:1], "rows": samples.shape[-2:]}
        return targets.shape[1:] in [extents for name, extents in places.items() if name in samples.axes]

    def _arrange_ids(self, samples: Header, name: str) -> Arrangement:
        """Return the axes of samples that are ids: their positions. Raises FileFault for any others."""
        for argument in ("divisor", "axes"):
            if getattr(self, argument) is not None:
                message = f"`{argument}` does not apply to ids, which are names and not quantities"
                raise FileFault(message, argument=argument, help="remove it")
        shape = samples.shape[1:] or (1,)
        if len(shape) > 1 or shape == (0,):
            message = (
                f"with `ids`, a sample is an id or a row of ids, but {name} is {'×'.join(map(str, shape))} a sample"
            )
            raise FileFault(message, argument="ids", help="save the array as (samples, positions)")
        return Arrangement(("places",), shape)

    def _refuse_other_ids(self, pairs: Sequence[Pair], kept: Sequence[NDArray[Any] | None], ids: int) -> None:
        """Raise FileFault for samples with numbers that are not ids."""
        for pair, keep in zip(pairs, kept, strict=True):
            for array in each_of(pair.x):
                bad = array.out_of_range(ids, keep)
                if bad is not None:
                    raise bad.fault(*array.element, math.prod(array.header().shape), ids, "ids")

    def _check_stratified(self, parts: Parts, targets: Header, known: bool) -> None:
        """Raise FileFault if targets have no classes to stratify by, or if nothing is split."""
        if parts.test is not None:
            message = "`stratify` applies to a split, and this data has its own test samples"
            raise FileFault(message, argument="stratify", help="remove it")
        if not known or not _of_samples(targets):
            message = f"`stratify` needs one class per sample, and `{parts.train.y.key}` has none"
            raise FileFault(message, argument="stratify", help="remove it")

    def _labels(self, pairs: Sequence[Pair], kept: Sequence[NDArray[Any] | None]) -> Labels:
        """Return the labels of all kept rows."""
        return Labels.of(self._label_counts(pairs, kept), f"`{pairs[0].y.key}`", pairs[0].y.argument)

    def _classes(self, labels: Labels, y: NDArray[Any]) -> NDArray[Any]:
        """Return the class of each label, -1 where it is ignored at a position."""
        if self.ignore is None or y.ndim == 1:
            return labels.classes_of(y)
        ignored = y == self.ignore
        classes = labels.classes_of(np.where(ignored, labels.values[0], y))
        return np.where(ignored, -1, classes.astype(np.int64))

    def _label_counts(self, pairs: Sequence[Pair], kept: Sequence[NDArray[Any] | None]) -> dict[Any, int]:
        """Return how often each label occurs."""
        counts: dict[Any, int] = {}
        for pair, keep in zip(pairs, kept, strict=True):
            for value, count in pair.y.label_counts(keep).items():
                counts[value] = counts.get(value, 0) + count
        if self.ignore is not None:
            counts.pop(self.ignore, None)
        return counts

    def _kept(self, pairs: Sequence[Pair], targets: Header) -> tuple[list[NDArray[Any] | None], tuple[str, ...]]:
        """Return which rows are kept, with notes on the number of dropped ones."""
        kept: list[NDArray[Any] | None] = []
        notes = []
        at_places = self.ignore is not None and not _of_samples(targets)
        if at_places and not any(pair.y.rows_with(self.ignore or 0).any() for pair in pairs):
            raise FileFault(f"`{pairs[0].y.key}` has no label {self.ignore} to ignore", argument="ignore")
        for pair in pairs:
            keep = None
            rows = pair.y.header().rows
            if self.ignore is not None and _of_samples(targets):
                keep = ~pair.y.rows_with(self.ignore)
                if keep.all():
                    raise FileFault(f"`{pair.y.key}` has no label {self.ignore} to ignore", argument="ignore")
                notes += [
                    f"{rows - int(keep.sum()):,} of {rows:,} samples have the label {self.ignore} and were dropped"
                ]
            if self.missing == "drop":
                gaps = pair.x.rows_with(math.nan) | pair.y.rows_with(math.nan)
                notes += [f"{int(gaps.sum()):,} of {rows:,} samples contain NaN and were dropped"] if gaps.any() else []
                keep = ~gaps if keep is None else keep & ~gaps
            kept.append(None if keep is None or keep.all() else keep)
        return kept, tuple(notes)


def stored_as(samples: Header, ids: int | None) -> str:
    """Return the dtype in which samples are stored: for ids, the smallest that has them."""
    if ids is not None:
        return "uint8" if ids <= 1 << 8 else "uint16" if ids <= 1 << 16 else "int32"
    usual = {"b1": "uint8", "f2": "float32"}.get(samples.dtype[-2:])
    return usual or np.dtype(samples.dtype).newbyteorder("=").name


def _heads(pair: Pair) -> tuple[Header, Header]:
    """Return the headers of samples and targets. Raises FileFault if they or the weights do not match each other."""
    x, y = pair.x.header(), pair.y.header()
    count = y.shape[0] if y.shape else 0
    if x.shape[:1] == y.shape[:1] == (0,):
        raise FileFault(f"{pair.x.name} has no samples", argument=pair.x.argument)
    if not x.shape or x.shape[0] != count:
        held = f"{x.shape[0]:,} samples" if x.shape else "a single number"
        message = f"`{pair.y.key}` has {count:,} targets, but `{pair.x.key}` has {held}"
        raise FileFault(message, argument=pair.y.argument)
    if x.kind in "US":
        raise FileFault(
            f"{pair.x.name} contains text, but samples must be numbers",
            argument=pair.x.argument,
            help="text can be a target",
        )
    if pair.w is not None:
        w = pair.w.header()
        if w.shape not in ((count,), (count, 1)) or w.kind not in "biuf":
            held = f"{w.sizes} {'texts' if w.kind in 'US' else 'numbers'}"
            raise FileFault(
                f"`{pair.w.key}` has {held}, but weights are one number for each of {count:,} samples",
                argument=pair.w.argument,
            )
    return x, y


def _levels(
    pairs: Sequence[Pair], targets: Header, kept: Sequence[NDArray[Any] | None], at_places: bool
) -> Levels | None:
    """Return the levels of numeric targets, in case they are classes: floats, and integers if a sample has several
    but not one per position. None for labels."""
    if _role(targets) == "text" or (_role(targets) != "numbers" and (_of_samples(targets) or at_places)):
        return None
    found = [pair.y.levels(keep) for pair, keep in zip(pairs, kept, strict=True)]
    distinct = [levels.values for levels in found if levels.values is not None]
    values = frozenset[int]().union(*distinct) if len(distinct) == len(found) else None
    return Levels(values, all(levels.one_hot for levels in found))


def _of_samples(targets: Header) -> bool:
    """Return whether there is one label per sample: `(n,)`, or `(n, 1)` as in Keras."""
    return targets.shape[1:] in ((), (1,))


def _role(head: Header) -> str:
    """Return what targets are in words: `whole numbers`, `text`, `truth values`, or `numbers`, which are not labels."""
    if head.kind in "iu":
        return "whole numbers"
    if head.kind in "US":
        return "text"
    return "truth values" if head.kind == "b" and _of_samples(head) else "numbers"


def _shape(field: Field) -> str:
    return "×".join(map(str, field.shape)) or "one number"


def _in_words(head: Header) -> str:
    return f"{'×'.join(map(str, head.shape[1:])) or 'one of'} {_role(head)}"
