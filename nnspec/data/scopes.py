"""Which numbers of a sample or a target a scaling rule applies to, and which of them share a scale.

Everything here is arithmetic on facts, so `check` reports a rule that does not apply before any data is read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from nnspec.data.source import Facts, Field
from nnspec.engine.layers.contract import sample_in_words
from nnspec.engine.scalers import Scaler

__all__ = ["Row", "Scope", "ScopeFault", "row_of_samples", "row_of_targets", "scopes"]


class ScopeFault(ValueError):
    """A rule that does not apply: with help, or with an unknown word and the known ones."""

    def __init__(self, message: str, *, help: str = "", word: str = "", known: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.help, self.word, self.known = help, word, tuple(known)


@dataclass(frozen=True)
class Row:
    """The numbers of a sample or a target as one row: its inputs or targets, and the columns of a table."""

    what: str
    """`sample` or `target`."""
    fields: tuple[Field, ...]
    columns: tuple[Field, ...]
    weighted: bool = False
    """Whether samples have weights."""
    windows: bool = False
    """Whether a sample is a window of a time series: a feature is then a column, with one scale for all positions."""


@dataclass(frozen=True)
class Scope:
    """The numbers that a rule applies to, as ranges of the row, and what shares a scale in them."""

    rule: Scaler
    fields: tuple[Field, ...]
    per: str
    """`feature`, `channel`, or `all` numbers of a field."""

    @property
    def size(self) -> int:
        """The number of numbers."""
        return sum(field.stop - field.start for field in self.fields)

    @property
    def groups(self) -> int:
        """The number of groups that share a scale."""
        return sum(_groups(field, self.per) for field in self.fields)


def row_of_samples(facts: Facts) -> Row:
    """Return a sample as a row of numbers."""
    whole = Field("", 0, facts.features, facts.shape, facts.tokens, axes=facts.axes)
    return Row("sample", facts.inputs or (whole,), facts.columns, facts.weighted, facts.windows is not None)


def row_of_targets(facts: Facts) -> Row:
    """Return a target as a row of numbers."""
    whole = Field("", 0, prod(facts.target), facts.target, classes=facts.classes)
    columns = tuple(Field(name, i, i + 1, ()) for i, name in enumerate(facts.target_names))
    return Row("target", facts.targets or (whole,), columns, facts.weighted)


def scopes(rules: Sequence[Scaler], row: Row) -> tuple[Scope, ...]:
    """Return what each rule applies to. Raises ScopeFault if it does not apply, or if a number is scaled twice."""
    found = tuple(_scope(rule, row) for rule in rules)
    fields = sorted((field for scope in found for field in scope.fields), key=lambda field: field.start)
    for before, after in itertools.pairwise(fields):
        if after.start < before.stop:
            name = after.name or before.name
            what = f"column `{name}` is" if name else f"{row.what}s are"
            raise ScopeFault(f"{what} scaled twice", help='say which columns each rule applies to: `columns=["a"]`')
    return found


def _scope(rule: Scaler, row: Row) -> Scope:
    if row.weighted and not rule.takes_weights:
        message = f"`{rule.spec_name}` cannot learn from samples with weights"
        raise ScopeFault(message, help="use `standard` or `min_max`, or remove the weights")
    if rule.columns is None:
        fields = tuple(field for field in row.fields if not _is_id(field))
        if not fields:
            raise ScopeFault(f"`{rule.spec_name}` scales numbers, but the {row.what}s have none")
    else:
        fields = tuple(_named(rule.columns, row))
    return Scope(rule, fields, _per(rule, fields, row))


def _is_id(field: Field) -> bool:
    return field.tokens > 0 or field.classes is not None


def _named(columns: Sequence[str | int], row: Row) -> Iterator[Field]:
    """Yield the fields that columns name, in order. Raises ScopeFault for an unknown one, ids, and one named twice."""
    if not columns:
        raise ScopeFault("`columns` is empty", help="name at least one column, or remove `columns`")
    seen: set[str | int] = set()
    for word in columns:
        if word in seen:
            raise ScopeFault(f"column `{word}` is named twice", word=str(word))
        seen.add(word)
        field = _numbered(word, row) if isinstance(word, int) else _called(word, row)
        if _is_id(field):
            raise ScopeFault(f"`{word}` holds ids, which are never scaled", word=str(word))
        yield field


def _numbered(number: int, row: Row) -> Field:
    last = row.fields[-1].stop - 1
    _refuse_several_axes(row)
    if not 0 <= number <= last:
        many = f"columns are numbered from 0 to {last}" if last else f"a {row.what} has a single number, column 0"
        raise ScopeFault(f"there is no column {number}: {many}")
    inside = next(field for field in row.fields if field.start <= number < field.stop)
    name = next((column.name for column in row.columns if column.start <= number < column.stop), str(number))
    return Field(name, number, number + 1, (), inside.tokens, inside.classes)


def _called(word: str, row: Row) -> Field:
    known = {field.name: field for field in (*row.columns, *row.fields) if field.name}
    if word in known:
        return known[word]
    _refuse_several_axes(row)
    if known:
        raise ScopeFault(f"there is no column `{word}` among the {row.what}s", word=word, known=tuple(known))
    help = "use its number, counted from 0: `columns = [0]`"
    raise ScopeFault(f"the columns of this data have no names, so there is no `{word}`", help=help)


def _refuse_several_axes(row: Row) -> None:
    if len(row.fields) == 1 and len(row.fields[0].shape) > 1:
        what = sample_in_words(row.fields[0].shape)
        help = f"to scale each {'column' if row.windows else 'channel'} on its own, use `per = channel`"
        raise ScopeFault(f"`columns` are those of a row of features, but a {row.what} is {what}", help=help)


def _per(rule: Scaler, fields: Sequence[Field], row: Row) -> str:
    """Return which numbers share a scale. Raises ScopeFault if there are no channels, or another number of groups."""
    if rule.sharing:
        sharing = "channel" if row.windows and rule.sharing == "feature" else rule.sharing
        lacking = next((field for field in fields if not _groups(field, sharing)), None)
        if lacking is None:
            return sharing
        what = f"`{lacking.name}` has" if lacking.name else f"the {row.what}s have"
        raise ScopeFault(f"{what} no channels", help="use `per = feature` or `per = all`")
    if not rule.sizes:
        return "all"
    size = rule.sizes[0]
    counts = {per: sum(_groups(field, per) for field in fields) for per in ("channel", "feature")}
    for per, count in counts.items():
        if count == size:
            return per
    words = " and ".join(f"{count:,} {per}{'s' * (count != 1)}" for per, count in counts.items() if count)
    raise ScopeFault(
        f"`{rule.spec_name}` has {size} values, but there {'is' if words.startswith('1 ') else 'are'} {words}",
        help=f"give one value for all, or a list with one per {' or per '.join(per for per in counts if counts[per])}",
    )


def _groups(field: Field, per: str) -> int:
    """Return the number of groups in a field; 0 if it has no channels."""
    if per == "feature":
        return field.stop - field.start
    return 1 if per == "all" else channels(field)


def channels(field: Field) -> int:
    """Return the number of channels of a field: of an image, or the features at each position; 0 if it has none."""
    if "channels" in field.axes:
        return field.shape[field.axes.index("channels")]
    if field.axes == ("places", "features"):
        return field.shape[1]
    return 1 if field.axes == ("rows", "columns") else 0
