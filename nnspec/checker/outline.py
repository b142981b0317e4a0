"""What stands where: the items of a file, each put in its place or reported. No values yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from nnspec.checker.expressions import Given
from nnspec.checker.functions import CONSTANTS, FUNCTIONS
from nnspec.checker.report import Report
from nnspec.checker.words import LATER, SECTIONS, SETTINGS, TRAIN, did_you_mean, meant, other_names, parts
from nnspec.diagnostics import Note, Span
from nnspec.syntax import tree

__all__ = ["Assignment", "LaneOutline", "Outline", "assignments", "outline"]

_RESERVED = {*SETTINGS, *SECTIONS, *FUNCTIONS, *CONSTANTS, *(a.name for a in TRAIN)}


MAX_NAME = 64
"""The longest name of a lane: weights are kept in a folder of that name."""


@dataclass(frozen=True)
class Assignment:
    """A dotted name that is given a value: `train.epochs`, `optimizer.lr`, `width`."""

    path: tuple[tree.Name, ...]
    given: Given
    shared: bool = True
    """Whether it is meant for every lane, and not for one that it names."""

    @property
    def text(self) -> str:
        """The dotted name."""
        return ".".join(name.text for name in self.path)

    @property
    def span(self) -> Span:
        """Where the name stands, as far as it is written there."""
        return self.given.name


@dataclass(frozen=True)
class LaneOutline:
    """A lane of a race: parts that take their setting's place, and assignments."""

    name: tree.Name
    parts: tuple[tree.Expression, ...] = ()
    assignments: tuple[Assignment, ...] = ()


@dataclass
class Outline:
    """A file, sorted."""

    lets: dict[str, Given] = field(default_factory=dict)
    assignments: list[Assignment] = field(default_factory=list)
    models: dict[str, tree.Section] = field(default_factory=dict)
    """By name; a model without one is called ""."""
    race: tree.Section | None = None
    lanes: list[LaneOutline] = field(default_factory=list)
    expectations: list[tree.Element] = field(default_factory=list)


def outline(file: tree.File, report: Report) -> Outline:
    """Sort the items of a file."""
    result = Outline()
    firsts: dict[str, Span] = {}
    for item in file.items:
        _ITEMS[type(item)](item, result, report, firsts)
    return result


def assignments(
    items: tuple[tree.Item, ...], prefix: tuple[tree.Name, ...], via: str, report: Report
) -> Iterator[Assignment]:
    """Yield the settings of a section, and of sections in it, by their full names. Other items are reported."""
    place = f"`{'.'.join(name.text for name in prefix)}`" if prefix else "a lane"
    for item in items:
        match item:
            case tree.Setting(path=path, value=value):
                yield Assignment((*prefix, *path.names), Given(value, path.span, via))
            case tree.Section(label=None, keyword=keyword, name=None, title=None, items=()) if keyword.text:
                report.error("NN203", f"`{keyword.text}` sets nothing here", item.head)
            case tree.Section(label=None, keyword=keyword, name=None, title=None, items=inner):
                # Without a word its head could not be read: what is inside is taken for the section around it.
                yield from assignments(inner, (*prefix, keyword) if keyword.text else prefix, via, report)
            case tree.Element(label=tree.Name() as label):
                report.error(
                    "NN203", f"{place} holds settings", item.span, help=f"write `{label.text} = …` with `=`, not `:`"
                )
            case tree.Element(value=tree.Compare()):
                report.error("NN203", f"{place} holds settings", item.span, help="statements belong in `expect`")
            case tree.Element():
                report.error("NN203", f"{place} holds settings, such as `name = value`", item.span)
            case _:
                report.error("NN203", f"this cannot stand in {place}", _head(item))


def _setting(item: tree.Setting, result: Outline, report: Report, firsts: dict[str, Span]) -> None:
    result.assignments.append(Assignment(item.path.names, Given(item.value, item.path.span)))


def _let(item: tree.Let, result: Outline, report: Report, firsts: dict[str, Span]) -> None:
    word = item.name.text
    if word in _RESERVED or word in parts():
        report.error(
            "NN206",
            f"a `let` cannot be called `{word}`, which has a meaning already",
            item.name.span,
            help="use another name",
        )
    elif word in result.lets:
        first = Note(result.lets[word].name, "first here")
        report.error("NN204", f"`{word}` is given twice", item.name.span, notes=(first,))
    else:
        result.lets[word] = Given(item.value, item.name.span)


def _later(item: tree.Block | tree.Import, result: Outline, report: Report, firsts: dict[str, Span]) -> None:
    word = "block" if isinstance(item, tree.Block) else "import"
    report.error("NN208", f"`{word}` is part of the language but has no meaning yet", _head(item))


def _element(item: tree.Element, result: Outline, report: Report, firsts: dict[str, Span]) -> None:
    value = item.value
    path = value.path if isinstance(value, tree.Reference) else value.callee if isinstance(value, tree.Call) else None
    help = ""
    if item.label is not None and item.label.text in SETTINGS:
        help = f"write `{item.label.text} = …` with `=`, not `:`"
    elif isinstance(value, tree.Compare):
        help = "statements belong in `expect { … }`"
    elif isinstance(value, tree.Reference) and value.path.text in SECTIONS and item.label is None:
        help = f"a section is written `{value.path.text} {{ … }}`"
        report.meant.add(value.path.text)
    elif isinstance(value, tree.Reference) and value.path.text in SETTINGS and item.label is None:
        help = f"write `{value.path.text} = …`"
        report.meant.add(value.path.text)
    elif path is not None and path.text in parts():
        kind = parts()[path.text].kind
        help = {
            "layer": "layers belong in `model { … }`",
            "optimizer": f"write `optimizer = {value.span.text}`, or put it in `race {{ … }}`",
            "loss": f"write `loss = {value.span.text}`",
            "data source": f"write `data = {value.span.text}`",
        }.get(kind, "")
    report.error("NN203", "this stands for nothing at the top of a file", item.span, help=help)


def _section(item: tree.Section, result: Outline, report: Report, firsts: dict[str, Span]) -> None:
    word = item.keyword.text
    if not word:
        return  # its head could not be read, and that has been said
    if word in LATER["file"]:
        report.error("NN208", f"`{word}` is part of the language but has no meaning yet", item.head)
        return
    if word in SECTIONS and item.label is not None:
        report.error("NN203", f"`{word}` takes no label", item.label.span, help=f"write `{word} {item.label.text} {{`")
    if word == "model":
        _model(item, result, report, firsts)
    elif word in SECTIONS:
        if _once(word, item, report, firsts):
            _SECTIONS[word](item, result, report)
    elif word in SETTINGS and item.name is None and item.title is None:
        result.assignments += assignments(item.items, (item.keyword,), "", report)
    else:
        others = other_names(SECTIONS)
        report.meant.add(meant(word, SECTIONS, others) or "")
        belongs = "this belongs inside `model`" if word in LATER["model"] else ""
        report.error(
            "NN201",
            f"there is no section `{word}`",
            item.keyword.span,
            help=belongs or did_you_mean(word, SECTIONS, others) or f"there are {', '.join(SECTIONS)}",
        )


def _model(item: tree.Section, result: Outline, report: Report, firsts: dict[str, Span]) -> None:
    if item.title is not None:
        report.error("NN203", "a model has a name, not a title", item.title.span, help="write it without quotes")
    name = item.name.text if item.name else ""
    if _once(f"model {name}".strip(), item, report, firsts):
        result.models[name] = item


def _once(what: str, item: tree.Section, report: Report, firsts: dict[str, Span]) -> bool:
    if what in firsts:
        report.error("NN204", f"`{what}` stands here twice", item.head, notes=(Note(firsts[what], "first here"),))
        return False
    firsts[what] = item.head
    return True


def _train(item: tree.Section, result: Outline, report: Report) -> None:
    _no_name(item, report)
    result.assignments += assignments(item.items, (item.keyword,), "", report)


def _expect(item: tree.Section, result: Outline, report: Report) -> None:
    _no_name(item, report)
    for inner in item.items:
        if isinstance(inner, tree.Element) and inner.label is None:
            result.expectations.append(inner)
        elif isinstance(inner, tree.Setting):
            report.error(
                "NN203", "`expect` holds statements", inner.span, help=f"to compare, write `{inner.path.text} == …`"
            )
        else:
            report.error("NN203", "`expect` holds statements, such as `test_accuracy > 0.9`", _head(inner))


def _no_name(item: tree.Section, report: Report) -> None:
    extra = item.name.span if item.name else item.title.span if item.title else None
    if extra is not None:
        report.error("NN203", f"`{item.keyword.text}` takes no name", extra)


def _race(item: tree.Section, result: Outline, report: Report) -> None:
    result.race = item
    if item.name is not None:
        report.error(
            "NN203", "a race has a title, in quotes", item.name.span, help=f'write `race "{item.name.text}" {{`'
        )
    names: dict[str, Span] = {}
    for inner in item.items:
        lane = _lane(inner, report)
        if lane is None:
            continue
        word = lane.name.text
        if len(word) > MAX_NAME:
            report.error("NN302", f"a lane's name has at most {MAX_NAME} characters", lane.name.span)
            continue
        if word in names:
            report.error(
                "NN204",
                f"two lanes are called `{word}`",
                lane.name.span,
                notes=(Note(names[word], "first here"),),
                help=f"give one a label: `fast: {word}(…)`",
            )
            continue
        names[word] = lane.name.span
        result.lanes.append(lane)
    if not item.items:
        report.error("NN205", "a race needs lanes", item.head, help="such as `Adam(lr=0.001)`")


def _lane(item: tree.Item, report: Report) -> LaneOutline | None:
    match item:
        case (
            tree.Element(label=label, value=tree.Reference(path=path) as value)
            | tree.Element(label=label, value=tree.Call(callee=path) as value)
        ):
            return LaneOutline(label or path.names[0], (value,))
        case tree.Section(label=None, keyword=keyword, name=None, title=None, items=items) if keyword.text:
            inside = tuple(i.value for i in items if isinstance(i, tree.Element) and _is_part(i))
            rest = tuple(i for i in items if not (isinstance(i, tree.Element) and _is_part(i)))
            return LaneOutline(keyword, inside, tuple(assignments(rest, (), f"lane `{keyword.text}`", report)))
        case tree.Section(keyword=keyword) if not keyword.text:
            return None
        case tree.Setting(path=path):
            help = "settings that all lanes share stand outside the race"
            report.error("NN203", f"`{path.text}` cannot be set between the lanes", item.span, help=help)
        case _:
            report.error("NN203", "a lane is a part such as `Adam(lr=0.001)`, or `name { … }`", _head(item))
    return None


def _is_part(item: tree.Item) -> bool:
    return isinstance(item, tree.Element) and item.label is None and isinstance(item.value, (tree.Reference, tree.Call))


def _head(item: tree.Item) -> Span:
    return item.head if isinstance(item, (tree.Section, tree.Block)) else item.span


_ITEMS: dict[type, Callable[..., None]] = {
    tree.Setting: _setting,
    tree.Let: _let,
    tree.Block: _later,
    tree.Import: _later,
    tree.Element: _element,
    tree.Section: _section,
}

_SECTIONS: dict[str, Callable[[tree.Section, Outline, Report], None]] = {
    "train": _train,
    "race": _race,
    "expect": _expect,
}
